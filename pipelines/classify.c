/* SPDX-License-Identifier: Apache-2.0
 *
 * Classification: picture -> resized, cut, normalised -> logits -> probabilities in order. */
#include "pipelines/classify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "pipelines/util.h"

#define MAX_LABEL_BYTES ((size_t)64 << 20)

struct TnClassifier {
    TnContext *context;
    uint32_t threads; /* as in TnContextOptions */
    uint32_t width, height, edge, classes;
    uint32_t fixed_batch; /* 0: any */
    TnResample resample;
    float scale, mean[3], std[3];
    char *label_text;
    const char **labels; /* [classes], into label_text; NULL among them: no name */
    float *planes;
    size_t planes_cap;
};

/* ---- the plan ---- */

static TnStatus triple(const json_t *o, const char *key, float out[3], TnError *err) {
    json_t *a = json_object_get(o, key);
    for (size_t i = 0; a != NULL && i < 3; i++) {
        json_t *v = json_array_get(a, i);
        if (!json_is_number(v))
            return tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: '%s' must be three numbers", key);
        out[i] = (float)json_number_value(v);
    }
    return TN_OK;
}

static uint32_t positive(const json_t *v) {
    json_int_t n = json_integer_value(v);
    return json_is_integer(v) && n > 0 && n <= 65536 ? (uint32_t)n : 0;
}

static TnStatus use_processor(TnClassifier *c, const json_t *cfg, TnError *err) {
    json_t *resample = json_object_get(cfg, "resample"), *size = json_object_get(cfg, "size"), *crop = json_object_get(cfg, "crop_size");
    if (resample != NULL) {
        json_int_t r = json_integer_value(resample);
        if (r != TN_RESAMPLE_BILINEAR && r != TN_RESAMPLE_BICUBIC)
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: resample %lld; 2 (bilinear) and 3 (bicubic) are supported",
                            (long long)r);
        c->resample = r == TN_RESAMPLE_BICUBIC ? TN_RESAMPLE_BICUBIC : TN_RESAMPLE_BILINEAR;
    }
    if (size != NULL && (c->edge = positive(json_is_object(size) ? json_object_get(size, "shortest_edge") : size)) == 0)
        return tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: 'size' must be a number or {\"shortest_edge\": number}");
    if (json_is_object(crop)) {
        uint32_t h = positive(json_object_get(crop, "height")), w = positive(json_object_get(crop, "width"));
        c->height = c->height == 0 ? h : c->height;
        c->width = c->width == 0 ? w : c->width;
        if (c->height != h || c->width != w)
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: 'crop_size' is %u x %u, the plan's input %u x %u", h, w,
                            c->height, c->width);
    }
    if (json_is_number(json_object_get(cfg, "rescale_factor")))
        c->scale = (float)json_number_value(json_object_get(cfg, "rescale_factor"));
    TnStatus st = triple(cfg, "image_mean", c->mean, err);
    return st == TN_OK ? triple(cfg, "image_std", c->std, err) : st;
}

static TnStatus read_processor(TnClassifier *c, TnPlan *plan, TnError *err) {
    size_t n;
    json_error_t why;
    const void *data = tn_plan_meta(plan, "preprocessor_config.json", &n);
    TnStatus st = TN_OK;
    if (data != NULL) {
        json_t *cfg = json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
        if (!json_is_object(cfg))
            st = tnp_fail(err, TN_ERR_PARSE, "metadata 'preprocessor_config.json' of the plan is no JSON object: %s (line %d)", why.text,
                          why.line);
        else
            st = use_processor(c, cfg, err);
        json_decref(cfg);
    }
    if (st == TN_OK && (c->width == 0 || c->height == 0))
        st = tnp_fail(err, TN_ERR_REQUEST,
                      "the plan leaves the size of pictures open, and no preprocessor_config.json settles it; build it with --shapes");
    uint32_t longer = c->width > c->height ? c->width : c->height;
    if (st == TN_OK && c->edge == 0) /* as the official evaluation, int(256 / 224 * size) */
        c->edge = (uint32_t)((256.0 / 224.0) * longer);
    if (st == TN_OK && c->edge < longer)
        st = tnp_fail(err, TN_ERR_UNSUPPORTED,
                      "preprocessor_config.json: the shorter side becomes %u, less than the %u x %u that are cut out", c->edge, c->width,
                      c->height);
    return st;
}

static TnStatus check_plan(TnClassifier *c, TnPlan *plan, TnError *err) {
    TnIoInfo in, out;
    TnStatus st = tn_plan_input(plan, 0, &in, err);
    if (st == TN_OK)
        st = tn_plan_output(plan, 0, &out, err);
    if (st != TN_OK)
        return st;
    if (tn_plan_is_generator(plan) || tn_plan_input_count(plan) != 1 || in.dtype != TN_F32 || in.rank != 4 || in.dims[1] != 3)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan classifies no pictures: its input must be one, float32 [batch,3,height,width]");
    if (out.dtype != TN_F32 || out.rank != 2 || out.dims[1] <= 0)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan classifies no pictures: its first output '%s' must be float32 [batch,classes]",
                        out.name);
    c->classes = (uint32_t)out.dims[1];
    c->fixed_batch = in.dims[0] > 0 ? (uint32_t)in.dims[0] : 0;
    c->height = in.dims[2] > 0 ? (uint32_t)in.dims[2] : 0;
    c->width = in.dims[3] > 0 ? (uint32_t)in.dims[3] : 0;
    return read_processor(c, plan, err);
}

/* config.json's id2label, where the plan carries one that names classes. */
static TnStatus read_names(TnClassifier *c, TnPlan *plan, TnError *err) {
    size_t n, bytes = 1;
    const void *data = tn_plan_meta(plan, "config.json", &n);
    json_t *cfg = data == NULL ? NULL : json_loadb(data, n, 0, NULL), *names = json_object_get(cfg, "id2label");
    const char *key;
    json_t *name;
    TnStatus st = TN_OK;
    json_object_foreach(names, key, name)
        bytes += json_string_length(name) + 1;
    if (json_object_size(names) > 0) {
        c->label_text = malloc(bytes);
        c->labels = calloc(c->classes + 1u, sizeof *c->labels);
        if (c->label_text == NULL || c->labels == NULL)
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", c->classes);
    }
    char *to = c->label_text;
    json_object_foreach(names, key, name) {
        char *end;
        unsigned long i = strtoul(key, &end, 10);
        if (st != TN_OK || !json_is_string(name) || *end != '\0' || i >= c->classes || c->labels[i] != NULL)
            continue;
        c->labels[i] = strcpy(to, json_string_value(name));
        to += json_string_length(name) + 1;
    }
    json_decref(cfg);
    return st;
}

TnStatus tn_classifier_create(TnPlan *plan, uint32_t threads, TnClassifier **out, TnError *err) {
    *out = NULL;
    TnClassifier *c = calloc(1, sizeof *c);
    if (c == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    *c = (TnClassifier){
        .resample = TN_RESAMPLE_BICUBIC, .scale = 1.0f / 255.0f, .mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}};
    TnStatus st = check_plan(c, plan, err);
    if (st == TN_OK)
        st = read_names(c, plan, err);
    if (st == TN_OK) {
        TnContextOptions co = tn_context_options_default();
        co.threads = threads;
        c->threads = threads;
        st = tn_context_create(plan, &co, &c->context, err);
    }
    if (st != TN_OK)
        tn_classifier_destroy(&c);
    *out = c;
    return st;
}

void tn_classifier_destroy(TnClassifier **classifier) {
    TnClassifier *c = *classifier;
    if (c == NULL)
        return;
    tn_context_destroy(&c->context);
    free(c->label_text);
    free(c->labels);
    free(c->planes);
    free(c);
    *classifier = NULL;
}

uint32_t tn_classifier_classes(const TnClassifier *classifier) {
    return classifier->classes;
}

void tn_classifier_size(const TnClassifier *classifier, uint32_t *width, uint32_t *height) {
    *width = classifier->width;
    *height = classifier->height;
}

/* ---- labels ---- */

TnStatus tn_classifier_read_labels(TnClassifier *c, const char *path, TnError *err) {
    void *data;
    size_t bytes;
    uint32_t n = 0;
    TnStatus st = tnp_read_file(path, MAX_LABEL_BYTES, &data, &bytes, err);
    if (st != TN_OK)
        return st;
    const char **labels = calloc(c->classes + 1u, sizeof *labels);
    if (labels == NULL) {
        free(data);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", c->classes);
    }
    for (char *p = data; *p != '\0'; n++) {
        size_t len = strcspn(p, "\r\n");
        char *next = p + len + (p[len] == '\r' && p[len + 1] == '\n' ? 2 : p[len] != '\0');
        p[len] = '\0';
        if (n < c->classes)
            labels[n] = p;
        p = next;
    }
    if (n != c->classes) {
        free(data);
        free(labels);
        return tnp_fail(err, TN_ERR_DATA, "'%s' has %u lines, and the model has %u classes; one name a line is expected", path, n,
                        c->classes);
    }
    free(c->label_text);
    free(c->labels);
    c->label_text = data;
    c->labels = labels;
    return TN_OK;
}

const char *tn_classifier_label(const TnClassifier *c, uint32_t index) {
    return c->labels != NULL && index < c->classes ? c->labels[index] : NULL;
}

/* ---- pictures ---- */

/* round((size - part) / 2) as Python does it: half to even. */
static uint32_t middle(uint32_t size, uint32_t part) {
    uint32_t d = size - part, half = d / 2;
    return d % 2 == 1 && half % 2 == 1 ? half + 1 : half;
}

TnStatus tn_classifier_preprocess(const TnClassifier *c, const TnImage *image, float *planes, TnError *err) {
    bool wide = image->width >= image->height;
    uint32_t shorter = wide ? image->height : image->width, longer = wide ? image->width : image->height;
    if (shorter == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "a picture without pixels");
    uint64_t stretched = (uint64_t)c->edge * longer / shorter;
    if (stretched > TN_IMAGE_MAX_PIXELS / c->edge)
        return tnp_fail(err, TN_ERR_LIMIT,
                        "a picture of %u x %u pixels is too long and narrow: with a shorter side of %u it would have more than %u pixels",
                        image->width, image->height, c->edge, TN_IMAGE_MAX_PIXELS);
    uint32_t w = wide ? (uint32_t)stretched : c->edge, h = wide ? c->edge : (uint32_t)stretched;
    TnImage resized;
    TnStatus st = tn_image_resize(image, w, h, c->resample, &resized, err);
    if (st != TN_OK)
        return st;
    uint32_t x = middle(w, c->width), y = middle(h, c->height);
    for (uint32_t row = 0; row < c->height; row++) /* to the front, in place: rows only move up */
        memmove(resized.rgb + (size_t)row * c->width * 3, resized.rgb + ((size_t)(y + row) * w + x) * 3, (size_t)c->width * 3);
    resized.width = c->width;
    resized.height = c->height;
    tn_image_normalize(&resized, c->scale, c->mean, c->std, planes);
    tn_image_free(&resized);
    return TN_OK;
}

/* ---- running ---- */

/* The k best of logits, by selection: k is small. */
static void best(const TnClassifier *c, const float *logits, uint32_t k, TnClassScore *top) {
    double sum = 0;
    float max = -INFINITY;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->classes; i++)
        max = logits[i] > max ? logits[i] : max;
    for (uint32_t i = 0; i < c->classes; i++)
        sum += exp((double)logits[i] - (double)max);
    for (uint32_t i = 0; i < c->classes; i++) {
        uint32_t at = n;
        while (at > 0 && logits[i] > logits[top[at - 1].index])
            at--;
        if (at >= k)
            continue;
        n = n < k ? n + 1 : k;
        memmove(&top[at + 1], &top[at], (n - 1 - at) * sizeof *top);
        top[at] = (TnClassScore){i, (float)(exp((double)logits[i] - (double)max) / sum), tn_classifier_label(c, i)};
    }
}

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static TnStatus run_batch(TnClassifier *c, const float *planes, uint32_t batch, uint32_t n, uint32_t k, TnClassScore *top, TnError *err) {
    TnTensor x = {.data = (void *)(uintptr_t)planes, .dtype = TN_F32, .rank = 4, .dims = {batch, 3, c->height, c->width}}, y;
    TnStatus st = tn_context_set_input(c->context, 0, &x, err);
    if (st == TN_OK)
        st = tn_context_run(c->context, err);
    if (st == TN_OK)
        st = tn_context_output(c->context, 0, &y, err);
    for (uint32_t i = 0; st == TN_OK && i < n; i++)
        best(c, (const float *)y.data + (size_t)i * c->classes, k, top + (size_t)i * k);
    return st;
}

typedef struct Prepare {
    const TnClassifier *classifier;
    const TnImage *images;
    size_t per; /* floats of a picture */
} Prepare;

static TnStatus prepare_one(void *context, uint32_t i, TnError *err) {
    const Prepare *p = context;
    return tn_classifier_preprocess(p->classifier, &p->images[i], p->classifier->planes + p->per * i, err);
}

TnStatus tn_classifier_run(TnClassifier *c, const TnImage *images, uint32_t n, uint32_t k, TnClassScore *top, TnClassifyTimes *times,
                           TnError *err) {
    size_t per = (size_t)3 * c->width * c->height;
    if (n == 0 || k == 0 || k > c->classes)
        return tnp_fail(err, TN_ERR_ARGUMENT, "%u pictures, %u classes of each: at least one picture and 1 to %u classes are possible", n,
                        k, c->classes);
    uint32_t batch = c->fixed_batch == 0 ? n : c->fixed_batch, rounded = (n + batch - 1) / batch * batch;
    double t0 = now_ms();
    if (per * rounded > c->planes_cap) {
        free(c->planes);
        c->planes = calloc(per * rounded, sizeof *c->planes);
        c->planes_cap = c->planes == NULL ? 0 : per * rounded;
        if (c->planes == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a batch of %u pictures", rounded);
    }
    Prepare prepare = {c, images, per};
    TnStatus ready = tnp_parallel(n, c->threads, prepare_one, &prepare, err);
    if (ready != TN_OK)
        return ready;
    double t1 = now_ms();
    for (uint32_t at = 0; at < n; at += batch) {
        uint32_t part = n - at < batch ? n - at : batch;
        TnStatus st = run_batch(c, c->planes + per * at, batch, part, k, top + (size_t)at * k, err);
        if (st != TN_OK)
            return st;
    }
    if (times != NULL)
        *times = (TnClassifyTimes){t1 - t0, now_ms() - t1};
    return TN_OK;
}
