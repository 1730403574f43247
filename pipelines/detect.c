/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection: picture -> scaled, normalised -> boxes, scores, labels, masks -> on the original picture. */
#include "pipelines/detect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "pipelines/util.h"

#define MAX_LABEL_BYTES ((size_t)16 << 20)
#define MAX_LABEL 1000000

enum { BOXES, SCORES, LABELS, MASKS, N_OUTPUTS };
static const char *const output_names[N_OUTPUTS] = {"boxes", "scores", "labels", "masks"};
#define NO_OUTPUT UINT32_MAX

struct TnDetector {
    TnContext *context;
    uint32_t outputs[N_OUTPUTS];
    int32_t rank;           /* of the input: 3 or 4 */
    uint32_t height, width; /* of the input; 0: any */
    bool torchvision;
    bool as_is; /* pictures keep their size */
    uint32_t long_side, short_side;
    float min_score;
    float levels[3][256]; /* what a pixel's value becomes */
    char *label_text;
    const char **labels; /* into label_text; NULL among them: no name */
    uint32_t n_labels;
    uint32_t classes; /* 0: the plan does not tell */
    bool coco;
    float *planes;
    size_t planes_cap;
    uint32_t fed_width, fed_height;
    TnDetection *items;
    uint32_t n_items, items_cap;
};

TnDetectOptions tn_detect_options_default(void) {
    return (TnDetectOptions){0};
}

/* ---- the plan ---- */

static bool fits(const TnIoInfo *io, int kind) {
    switch (kind) {
    case BOXES:
        return io->dtype == TN_F32 && io->rank == 2 && (io->dims[1] == 4 || io->dims[1] < 0);
    case SCORES:
        return io->dtype == TN_F32 && io->rank == 1;
    case LABELS:
        return io->dtype == TN_I64 && io->rank == 1;
    default:
        return io->dtype == TN_F32 && (io->rank == 3 || io->rank == 4);
    }
}

/* By name, else the first of fitting type and shape. */
static TnStatus find_outputs(TnDetector *d, TnPlan *plan, TnError *err) {
    static const char *const forms[N_OUTPUTS] = {"float32 [n,4]", "float32 [n]", "int64 [n]", "float32 [n,m,m]"};
    for (int kind = 0; kind < N_OUTPUTS; kind++) {
        d->outputs[kind] = NO_OUTPUT;
        for (int pass = 0; pass < 2 && d->outputs[kind] == NO_OUTPUT; pass++) {
            for (uint32_t i = 0; i < tn_plan_output_count(plan) && d->outputs[kind] == NO_OUTPUT; i++) {
                TnIoInfo io;
                TnStatus st = tn_plan_output(plan, i, &io, err);
                if (st != TN_OK)
                    return st;
                if (fits(&io, kind) && (pass == 1 || strcmp(io.name, output_names[kind]) == 0))
                    d->outputs[kind] = i;
            }
        }
        if (d->outputs[kind] == NO_OUTPUT && kind != MASKS)
            return tnp_fail(err, TN_ERR_REQUEST, "the plan detects nothing: it has no output '%s', %s", output_names[kind], forms[kind]);
    }
    return TN_OK;
}

/* A dimension that can have one value only; 0: it can have several. */
static uint32_t only_size(const TnIoInfo *io, int32_t axis) {
    int64_t n = io->dims[axis] > 0 ? io->dims[axis] : io->min[axis] == io->max[axis] ? io->min[axis] : 0;
    return n > 0 && n <= INT32_MAX ? (uint32_t)n : 0;
}

static TnStatus find_input(TnDetector *d, TnPlan *plan, TnError *err) {
    TnIoInfo in;
    TnStatus st = tn_plan_input(plan, 0, &in, err);
    if (st != TN_OK)
        return st;
    int32_t c = in.rank - 3;
    if (tn_plan_is_generator(plan) || tn_plan_input_count(plan) != 1 || in.dtype != TN_F32 || c < 0 || c > 1 ||
        (in.dims[c] >= 0 && in.dims[c] != 3) || (c == 1 && in.dims[0] > 1))
        return tnp_fail(err, TN_ERR_REQUEST, "the plan detects nothing on pictures: its input must be one, float32 [1,3,height,width]");
    d->rank = in.rank;
    d->height = only_size(&in, c + 1);
    d->width = only_size(&in, c + 2);
    if ((d->height == 0) != (d->width == 0))
        return tnp_fail(err, TN_ERR_REQUEST,
                        "input '%s' leaves one of height and width open and not the other; build it with both open or both given", in.name);
    d->torchvision = c == 0 || strcmp(in.name, "image") != 0;
    return TN_OK;
}

static TnStatus triple(const json_t *o, const char *key, double out[3], TnError *err) {
    json_t *a = json_object_get(o, key);
    for (size_t i = 0; a != NULL && i < 3; i++) {
        json_t *v = json_array_get(a, i);
        if (!json_is_number(v))
            return tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: '%s' must be three numbers", key);
        out[i] = json_number_value(v);
    }
    return TN_OK;
}

static bool side(const json_t *size, const char *key, uint32_t *out) {
    const json_t *v = json_object_get(size, key);
    json_int_t n = json_integer_value(v);
    if (v == NULL)
        return true;
    if (!json_is_integer(v) || n < 1 || n > 65536)
        return false;
    *out = (uint32_t)n;
    return true;
}

static TnStatus meta_json(TnPlan *plan, const char *key, json_t **out, TnError *err) {
    size_t n;
    json_error_t why;
    const void *data = tn_plan_meta(plan, key, &n);
    *out = data == NULL ? NULL : json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
    if (data == NULL || json_is_object(*out))
        return TN_OK;
    TnStatus st = tnp_fail(err, TN_ERR_PARSE, "metadata '%s' of the plan is no JSON object%s%s", key, *out == NULL ? ": " : "",
                           *out == NULL ? why.text : "");
    json_decref(*out);
    *out = NULL;
    return st;
}

/* mean and std are of values 0 to 255, or, where a rescale_factor stands, of values times it. */
static TnStatus read_processor(TnDetector *d, TnPlan *plan, TnError *err) {
    double mean[3] = {123.675, 116.28, 103.53}, std[3] = {58.395, 57.12, 57.375}, scale = 1;
    json_t *cfg;
    TnStatus st = meta_json(plan, "preprocessor_config.json", &cfg, err);
    if (st == TN_OK && cfg != NULL) {
        const json_t *size = json_object_get(cfg, "size"), *factor = json_object_get(cfg, "rescale_factor");
        d->torchvision = false;
        d->as_is = json_is_false(json_object_get(cfg, "do_resize"));
        st = triple(cfg, "image_mean", mean, err);
        if (st == TN_OK)
            st = triple(cfg, "image_std", std, err);
        if (st == TN_OK && (!side(size, "shortest_edge", &d->short_side) || !side(size, "longest_edge", &d->long_side)))
            st = tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: 'size' must have whole numbers 'shortest_edge' and 'longest_edge'");
        if (json_is_number(factor))
            scale = json_number_value(factor);
    }
    json_decref(cfg);
    for (int c = 0; c < 3; c++) {
        for (int v = 0; v < 256; v++)
            d->levels[c][v] = d->torchvision ? (float)v / 255.0f : (float)((v * scale - mean[c]) / std[c]);
    }
    return st;
}

/* Copies names[i] for i < n; NULL where at(i) has none. */
static TnStatus set_names(TnDetector *d, uint32_t n, const char *(*at)(const json_t *names, uint32_t i), const json_t *names,
                          TnError *err) {
    size_t bytes = 1;
    for (uint32_t i = 0; i < n; i++)
        bytes += at(names, i) == NULL ? 0 : strlen(at(names, i)) + 1;
    d->label_text = malloc(bytes);
    d->labels = calloc(n + 1u, sizeof *d->labels);
    if (d->label_text == NULL || d->labels == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", n);
    char *to = d->label_text;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = at(names, i);
        if (name == NULL)
            continue;
        d->labels[i] = strcpy(to, name);
        to += strlen(name) + 1;
    }
    d->n_labels = n;
    return TN_OK;
}

static const char *in_list(const json_t *names, uint32_t i) {
    return json_string_value(json_array_get(names, i));
}

static const char *by_number(const json_t *names, uint32_t i) {
    char key[16];
    snprintf(key, sizeof key, "%u", i);
    return json_string_value(json_object_get(names, key));
}

/* detection.json: num_classes, and perhaps their names as the list classes; or Hugging Face's config.json: id2label. */
static TnStatus read_names(TnDetector *d, TnPlan *plan, TnError *err) {
    json_t *cfg;
    TnStatus st = meta_json(plan, "detection.json", &cfg, err);
    if (st == TN_OK && cfg != NULL) {
        const json_t *classes = json_object_get(cfg, "classes"), *count = json_object_get(cfg, "num_classes");
        if (count != NULL && (!json_is_integer(count) || json_integer_value(count) < 1 || json_integer_value(count) > MAX_LABEL))
            st = tnp_fail(err, TN_ERR_PARSE, "detection.json: 'num_classes' must be a whole number from 1");
        d->classes = st == TN_OK ? (uint32_t)json_integer_value(count) : 0;
        d->coco = d->classes == 80;
        if (st == TN_OK && json_array_size(classes) > 0) {
            d->coco = false;
            st = json_array_size(classes) == d->classes || d->classes == 0
                     ? set_names(d, (uint32_t)json_array_size(classes), in_list, classes, err)
                     : tnp_fail(err, TN_ERR_PARSE, "detection.json: %zu names of %u classes", json_array_size(classes), d->classes);
        }
    }
    json_decref(cfg);
    if (st != TN_OK || d->n_labels > 0)
        return st;
    st = meta_json(plan, "config.json", &cfg, err);
    const json_t *names = json_object_get(cfg, "id2label");
    if (st == TN_OK && json_object_size(names) > 0)
        st = set_names(d, (uint32_t)json_object_size(names), by_number, names, err);
    d->coco = d->coco && d->n_labels == 0;
    json_decref(cfg);
    return st;
}

TnStatus tn_detector_create(TnPlan *plan, const TnDetectOptions *options, TnDetector **out, TnError *err) {
    *out = NULL;
    TnDetector *d = calloc(1, sizeof *d);
    if (d == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    *d = (TnDetector){.long_side = 1333, .short_side = 800, .min_score = options->min_score};
    TnStatus st = find_input(d, plan, err);
    if (st == TN_OK)
        st = find_outputs(d, plan, err);
    if (st == TN_OK)
        st = read_processor(d, plan, err);
    if (st == TN_OK)
        st = read_names(d, plan, err);
    d->as_is = d->as_is && options->long_side == 0 && options->short_side == 0;
    d->long_side = options->long_side != 0 ? options->long_side : d->long_side;
    d->short_side = options->short_side != 0 ? options->short_side : d->short_side;
    if (st == TN_OK) {
        TnContextOptions co = tn_context_options_default();
        co.threads = options->threads;
        st = tn_context_create(plan, &co, &d->context, err);
    }
    if (st != TN_OK)
        tn_detector_destroy(&d);
    *out = d;
    return st;
}

static void drop_items(TnDetector *d) {
    for (uint32_t i = 0; i < d->n_items; i++)
        tn_rle_free(&d->items[i].mask);
    d->n_items = 0;
}

void tn_detector_destroy(TnDetector **detector) {
    TnDetector *d = *detector;
    if (d == NULL)
        return;
    tn_context_destroy(&d->context);
    drop_items(d);
    free(d->items);
    free(d->label_text);
    free(d->labels);
    free(d->planes);
    free(d);
    *detector = NULL;
}

bool tn_detector_has_masks(const TnDetector *d) {
    return d->outputs[MASKS] != NO_OUTPUT;
}

bool tn_detector_labels_are_ids(const TnDetector *d) {
    return d->torchvision;
}

/* ---- labels ---- */

TnStatus tn_detector_read_labels(TnDetector *d, const char *path, TnError *err) {
    void *data;
    size_t bytes;
    uint32_t n = 0, lines = 1;
    if (strcmp(path, "coco") == 0) {
        d->coco = true;
        d->n_labels = 0;
        return TN_OK;
    }
    TnStatus st = tnp_read_file(path, MAX_LABEL_BYTES, &data, &bytes, err);
    if (st != TN_OK)
        return st;
    for (const char *p = data; *p != '\0'; p++)
        lines += *p == '\n';
    const char **labels = calloc(lines, sizeof *labels);
    if (labels == NULL || bytes == 0) {
        free(data);
        free(labels);
        return labels == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", lines)
                              : tnp_fail(err, TN_ERR_DATA, "'%s' is empty; names of classes are expected, one a line", path);
    }
    for (char *p = data; *p != '\0'; n++) {
        size_t len = strcspn(p, "\n");
        char *next = p + len + (p[len] != '\0');
        p[len - (len > 0 && p[len - 1] == '\r')] = '\0';
        labels[n] = p;
        p = next;
    }
    if (d->classes != 0 && n != d->classes) {
        free(data);
        free(labels);
        return tnp_fail(err, TN_ERR_DATA, "'%s' has %u lines, and the model has %u classes; one name a line is expected", path, n,
                        d->classes);
    }
    free(d->label_text);
    free(d->labels);
    d->label_text = data;
    d->labels = labels;
    d->n_labels = n;
    d->coco = false;
    return TN_OK;
}

const char *tn_detector_label(const TnDetector *d, uint32_t label) {
    if (!d->coco)
        return label < d->n_labels ? d->labels[label] : NULL;
    for (uint32_t i = 0; d->torchvision && i < 80; i++) {
        if (tn_coco_class_id(i) == label)
            return tn_coco_class_name(i);
    }
    return d->torchvision ? NULL : tn_coco_class_name(label);
}

/* ---- preprocessing ---- */

/* The size that the picture gets. mmdet: the factor of the tighter limit, sides rounded half up. */
static TnStatus new_size(const TnDetector *d, const TnImage *m, uint32_t *width, uint32_t *height, TnError *err) {
    uint32_t longer = m->width > m->height ? m->width : m->height, shorter = m->width > m->height ? m->height : m->width;
    if (shorter == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "a picture without pixels");
    if (d->torchvision) { /* these models scale by themselves */
        *width = d->width != 0 ? d->width : m->width;
        *height = d->height != 0 ? d->height : m->height;
        return TN_OK;
    }
    uint32_t high = d->long_side > d->short_side ? d->long_side : d->short_side,
             low = d->long_side > d->short_side ? d->short_side : d->long_side;
    double factor = fmin((double)high / longer, (double)low / shorter);
    if (d->as_is)
        factor = 1;
    if (d->width != 0)
        factor = fmin((double)d->width / m->width, (double)d->height / m->height);
    double w = floor(m->width * factor + 0.5), h = floor(m->height * factor + 0.5);
    if (w < 1 || h < 1)
        return tnp_fail(err, TN_ERR_LIMIT,
                        "a picture of %u x %u pixels is too long and narrow: scaled to at most %u x %u nothing of it is left", m->width,
                        m->height, d->width != 0 ? d->width : high, d->width != 0 ? d->height : low);
    if (w * h > TN_IMAGE_MAX_PIXELS)
        return tnp_fail(err, TN_ERR_LIMIT, "a picture of %u x %u pixels would be scaled to %.0f x %.0f; at most %u pixels are possible",
                        m->width, m->height, w, h, TN_IMAGE_MAX_PIXELS);
    *width = (uint32_t)w;
    *height = (uint32_t)h;
    return TN_OK;
}

static void fill_planes(const TnDetector *d, const TnImage *m, float *planes) {
    size_t plane = (size_t)d->fed_width * d->fed_height;
    for (size_t y = 0; y < m->height; y++) {
        const uint8_t *src = m->rgb + y * m->width * 3;
        for (size_t c = 0; c < 3; c++) {
            float *dst = planes + c * plane + y * d->fed_width;
            for (size_t x = 0; x < m->width; x++)
                dst[x] = d->levels[c][src[x * 3 + c]];
        }
    }
}

TnStatus tn_detector_preprocess(TnDetector *d, const TnImage *image, const float **planes, uint32_t *width, uint32_t *height,
                                float scale[2], TnError *err) {
    uint32_t w = 0, h = 0;
    TnImage resized = {0};
    TnStatus st = new_size(d, image, &w, &h, err);
    if (st == TN_OK && (w != image->width || h != image->height))
        st = tn_image_resize_linear(image, w, h, &resized, err);
    if (st != TN_OK)
        return st;
    d->fed_width = d->width != 0 ? d->width : w;
    d->fed_height = d->height != 0 ? d->height : h;
    size_t n = (size_t)3 * d->fed_width * d->fed_height;
    if (n > d->planes_cap) {
        free(d->planes);
        d->planes = malloc(n * sizeof *d->planes);
        d->planes_cap = d->planes == NULL ? 0 : n;
    }
    if (n > d->planes_cap) {
        tn_image_free(&resized);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a picture of %u x %u pixels for the model", w, h);
    }
    if (w != d->fed_width || h != d->fed_height)
        memset(d->planes, 0, n * sizeof *d->planes); /* padding, right and below */
    fill_planes(d, resized.rgb != NULL ? &resized : image, d->planes);
    tn_image_free(&resized);
    scale[0] = (float)((double)w / image->width);
    scale[1] = (float)((double)h / image->height);
    *planes = d->planes;
    *width = d->fed_width;
    *height = d->fed_height;
    return TN_OK;
}

/* ---- running ---- */

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* The outputs of a run, and that they belong together. */
static TnStatus fetch(TnDetector *d, TnTensor out[N_OUTPUTS], TnError *err) {
    for (int kind = 0; kind < N_OUTPUTS; kind++) {
        out[kind] = (TnTensor){0};
        if (d->outputs[kind] == NO_OUTPUT)
            continue;
        TnStatus st = tn_context_output(d->context, d->outputs[kind], &out[kind], err);
        if (st != TN_OK)
            return st;
        const TnTensor *t = &out[kind];
        bool ok = t->dims[0] == out[BOXES].dims[0] && (kind != BOXES || t->dims[1] == 4) && (t->rank != 4 || t->dims[1] == 1) &&
                  (kind != MASKS || (t->dims[t->rank - 1] > 0 && t->dims[t->rank - 2] > 0 && t->dims[t->rank - 1] < INT32_MAX / 2 &&
                                     t->dims[t->rank - 2] < INT32_MAX / 2));
        if (!ok && !(kind == MASKS && t->dims[0] == 0))
            return tnp_fail(err, TN_ERR_DATA, "the model's output '%s' does not fit %lld boxes: its first dimensions are %lld and %lld",
                            output_names[kind], (long long)out[BOXES].dims[0], (long long)t->dims[0],
                            (long long)(t->rank > 1 ? t->dims[1] : 1));
    }
    return TN_OK;
}

static TnStatus add_mask(const TnDetector *d, const TnTensor *masks, uint32_t i, const TnImage *image, TnDetection *item, TnError *err) {
    uint32_t mh = (uint32_t)masks->dims[masks->rank - 2], mw = (uint32_t)masks->dims[masks->rank - 1];
    const float *mask = (const float *)masks->data + (size_t)i * mh * mw;
    const float whole[4] = {0, 0, (float)image->width, (float)image->height};
    bool full = masks->rank == 4 && mh == d->fed_height && mw == d->fed_width; /* of the picture already */
    return tn_detect_paste(mask, mh, mw, full ? whole : item->box, image->width, image->height, &item->mask, err);
}

static int best_first(const void *a, const void *b) {
    const TnDetection *x = a, *y = b;
    return (x->score < y->score) - (x->score > y->score);
}

/* Stable, and quick on what is in order already, as detections are. */
static void sort_items(TnDetection *items, uint32_t n) {
    for (uint32_t i = 1; i < n; i++) {
        TnDetection item = items[i];
        uint32_t at = i;
        for (; at > 0 && best_first(&items[at - 1], &item) > 0; at--)
            items[at] = items[at - 1];
        items[at] = item;
    }
}

static TnStatus collect(TnDetector *d, const TnTensor t[N_OUTPUTS], const TnImage *image, const float scale[2], TnError *err) {
    uint32_t n = (uint32_t)t[BOXES].dims[0];
    const float *boxes = t[BOXES].data, *scores = t[SCORES].data;
    const int64_t *labels = t[LABELS].data;
    if (n > d->items_cap) {
        TnDetection *grown = realloc(d->items, n * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u detections", n);
        d->items = grown;
        d->items_cap = n;
    }
    for (uint32_t i = 0; i < n; i++) {
        if (!(scores[i] >= d->min_score))
            continue;
        if (labels[i] < 0 || labels[i] > MAX_LABEL)
            return tnp_fail(err, TN_ERR_DATA, "detection %u has the label %lld", i, (long long)labels[i]);
        TnDetection *item = &d->items[d->n_items++];
        *item = (TnDetection){.score = scores[i], .label = (uint32_t)labels[i], .name = tn_detector_label(d, (uint32_t)labels[i])};
        for (int k = 0; k < 4; k++)
            item->box[k] = boxes[(size_t)i * 4 + (size_t)k] / scale[k % 2];
        TnStatus st = t[MASKS].data != NULL && t[MASKS].rank > 0 ? add_mask(d, &t[MASKS], i, image, item, err) : TN_OK;
        if (st != TN_OK)
            return st;
    }
    sort_items(d->items, d->n_items);
    return TN_OK;
}

TnStatus tn_detector_run(TnDetector *d, const TnImage *image, TnDetections *out, TnError *err) {
    const float *planes;
    uint32_t w, h;
    float scale[2];
    TnTensor outputs[N_OUTPUTS];
    double t0 = now_ms();
    drop_items(d);
    *out = (TnDetections){0};
    TnStatus st = tn_detector_preprocess(d, image, &planes, &w, &h, scale, err);
    if (st != TN_OK)
        return st;
    TnTensor x = {.data = d->planes, .dtype = TN_F32, .rank = 4, .dims = {1, 3, h, w}};
    if (d->rank == 3)
        x = (TnTensor){.data = d->planes, .dtype = TN_F32, .rank = 3, .dims = {3, h, w}};
    double t1 = now_ms();
    st = tn_context_set_input(d->context, 0, &x, err);
    if (st == TN_OK)
        st = tn_context_run(d->context, err);
    if (st == TN_OK)
        st = fetch(d, outputs, err);
    double t2 = now_ms();
    if (st == TN_OK)
        st = collect(d, outputs, image, scale, err);
    if (st == TN_OK)
        *out = (TnDetections){d->items, d->n_items, image->width, image->height, t1 - t0, t2 - t1, now_ms() - t2};
    return st;
}
