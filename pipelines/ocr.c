/* SPDX-License-Identifier: Apache-2.0
 *
 * Text lines: picture -> tensor -> tokens -> text with confidences. */
#include "pipelines/ocr.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "pipelines/util.h"

struct TnOcr {
    TnContext *context;
    uint32_t width, height;
    TnResample resample;
    float scale, mean[3], std[3], min_confidence;
    char **vocab; /* [n_vocab]; NULL: no such id */
    uint32_t n_vocab;
    bool *special; /* [n_vocab] */
    float *planes;
    size_t planes_cap;
    TnGenerated *generated;
    uint32_t generated_cap;
    char *text; /* of all lines of the last call, one after another */
    const char **chars;
    float *char_confidence;
    size_t text_cap, chars_cap;
};

/* The plan's metadata `key` as JSON, NULL when it is absent; the caller releases it. */
static TnStatus meta_json(TnPlan *plan, const char *key, json_t **out, TnError *err) {
    size_t n;
    const void *data = tn_plan_meta(plan, key, &n);
    json_error_t why;
    *out = NULL;
    if (data == NULL)
        return TN_OK;
    *out = json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
    if (*out == NULL || !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return tnp_fail(err, TN_ERR_PARSE, "metadata '%s' of the plan is no JSON object: %s (line %d)", key, why.text, why.line);
    }
    return TN_OK;
}

static TnStatus read_triple(const json_t *o, const char *key, float out[3], TnError *err) {
    json_t *a = json_object_get(o, key);
    if (a == NULL)
        return TN_OK;
    for (size_t i = 0; i < 3; i++) {
        json_t *v = json_array_get(a, i);
        if (!json_is_number(v))
            return tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: '%s' must be three numbers", key);
        out[i] = (float)json_number_value(v);
    }
    return TN_OK;
}

/* Reads preprocessor_config.json: resample, rescale_factor, image_mean, image_std; do_* switches; size when the plan leaves it open. */
static TnStatus read_processor(TnOcr *o, TnPlan *plan, TnError *err) {
    json_t *cfg;
    TnStatus st = meta_json(plan, "preprocessor_config.json", &cfg, err);
    if (st != TN_OK || cfg == NULL)
        return st;
    int resample = (int)json_integer_value(json_object_get(cfg, "resample"));
    if (json_object_get(cfg, "resample") != NULL && resample != TN_RESAMPLE_BILINEAR && resample != TN_RESAMPLE_BICUBIC)
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: resample %d; 2 (bilinear) and 3 (bicubic) are supported", resample);
    else if (resample != 0)
        o->resample = resample == TN_RESAMPLE_BICUBIC ? TN_RESAMPLE_BICUBIC : TN_RESAMPLE_BILINEAR;
    json_t *factor = json_object_get(cfg, "rescale_factor");
    if (json_is_number(factor))
        o->scale = (float)json_number_value(factor);
    if (json_is_false(json_object_get(cfg, "do_rescale")))
        o->scale = 1.0f;
    if (st == TN_OK)
        st = read_triple(cfg, "image_mean", o->mean, err);
    if (st == TN_OK)
        st = read_triple(cfg, "image_std", o->std, err);
    if (json_is_false(json_object_get(cfg, "do_normalize"))) {
        for (size_t i = 0; i < 3; i++) {
            o->mean[i] = 0.0f;
            o->std[i] = 1.0f;
        }
    }
    if (st == TN_OK && json_is_true(json_object_get(cfg, "do_center_crop")))
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: do_center_crop is not supported for text lines");
    json_t *size = json_object_get(cfg, "size");
    if (o->width == 0 && json_is_object(size)) {
        o->width = (uint32_t)json_integer_value(json_object_get(size, "width"));
        o->height = (uint32_t)json_integer_value(json_object_get(size, "height"));
    } else if (o->width == 0 && json_is_integer(size)) {
        o->width = o->height = (uint32_t)json_integer_value(size);
    }
    json_decref(cfg);
    return st;
}

static TnStatus read_vocab(TnOcr *o, TnPlan *plan, TnError *err) {
    json_t *v, *id;
    const char *token;
    TnStatus st = meta_json(plan, "vocab.json", &v, err);
    if (st != TN_OK)
        return st;
    if (v == NULL)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan carries no vocab.json, so tokens cannot become text; put vocab.json (token -> id) beside "
                                             "config.json and build again");
    json_int_t top = -1;
    json_object_foreach(v, token, id) {
        json_int_t k = json_is_integer(id) ? json_integer_value(id) : -1;
        if (k < 0 || k > 10000000)
            st = tnp_fail(err, TN_ERR_PARSE, "vocab.json: the id of token '%s' must be a number from 0 to 10000000", token);
        top = k > top ? k : top;
    }
    if (st == TN_OK) {
        o->n_vocab = (uint32_t)(top + 1);
        o->vocab = calloc(o->n_vocab + 1u, sizeof *o->vocab);
        o->special = calloc(o->n_vocab + 1u, sizeof *o->special);
        if (o->vocab == NULL || o->special == NULL)
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: a vocabulary of %u tokens", o->n_vocab);
    }
    static const char *const specials[] = {"<s>", "<pad>", "</s>", "<unk>", "<mask>"};
    json_object_foreach(v, token, id) {
        json_int_t k = json_integer_value(id);
        if (st != TN_OK)
            break;
        if (o->vocab[k] != NULL)
            st = tnp_fail(err, TN_ERR_PARSE, "vocab.json: tokens '%s' and '%s' have the same id %lld", o->vocab[k], token, (long long)k);
        else if ((o->vocab[k] = strdup(token)) == NULL)
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: a vocabulary of %u tokens", o->n_vocab);
        for (size_t i = 0; st == TN_OK && i < sizeof specials / sizeof *specials; i++)
            o->special[k] = o->special[k] || strcmp(token, specials[i]) == 0;
    }
    json_decref(v);
    return st;
}

static TnStatus read_min_confidence(TnOcr *o, TnPlan *plan, TnError *err) {
    json_t *cfg;
    TnStatus st = meta_json(plan, "generation_config.json", &cfg, err);
    if (st != TN_OK || cfg == NULL)
        return st;
    json_t *v = json_object_get(cfg, "min_confidence");
    if (json_is_number(v))
        o->min_confidence = (float)json_number_value(v);
    json_decref(cfg);
    return TN_OK;
}

TnStatus tn_ocr_create(TnPlan *plan, uint32_t threads, TnOcr **out, TnError *err) {
    *out = NULL;
    TnIoInfo info;
    if (!tn_plan_is_generator(plan))
        return tnp_fail(err, TN_ERR_REQUEST, "the plan generates no text: build it from a folder with a VisionEncoderDecoder checkpoint");
    TnStatus st = tn_plan_input(plan, 0, &info, err);
    if (st != TN_OK)
        return st;
    if (info.dtype != TN_F32 || info.rank != 4 || info.dims[1] != 3)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan's first input '%s' is no picture (float32 [batch,3,height,width])", info.name);
    TnOcr *o = calloc(1, sizeof *o);
    if (o == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    *o = (TnOcr){.resample = TN_RESAMPLE_BICUBIC, .scale = 1.0f / 255.0f, .mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f},
                 .min_confidence = 0.45f};
    if (info.dims[2] > 0 && info.dims[3] > 0) {
        o->height = (uint32_t)info.dims[2];
        o->width = (uint32_t)info.dims[3];
    }
    if (st == TN_OK)
        st = read_processor(o, plan, err);
    if (st == TN_OK && (o->width == 0 || o->height == 0))
        st = tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: 'size' must give width and height");
    if (st == TN_OK)
        st = read_vocab(o, plan, err);
    if (st == TN_OK)
        st = read_min_confidence(o, plan, err);
    if (st == TN_OK) {
        TnContextOptions co = tn_context_options_default();
        co.threads = threads;
        st = tn_context_create(plan, &co, &o->context, err);
    }
    if (st != TN_OK)
        tn_ocr_destroy(&o);
    *out = o;
    return st;
}

void tn_ocr_destroy(TnOcr **ocr) {
    TnOcr *o = *ocr;
    if (o == NULL)
        return;
    tn_context_destroy(&o->context);
    for (uint32_t i = 0; o->vocab != NULL && i < o->n_vocab; i++)
        free(o->vocab[i]);
    free(o->vocab);
    free(o->special);
    free(o->planes);
    free(o->generated);
    free(o->text);
    free(o->chars);
    free(o->char_confidence);
    free(o);
    *ocr = NULL;
}

float tn_ocr_min_confidence(const TnOcr *ocr) { return ocr->min_confidence; }

TnContext *tn_ocr_context(TnOcr *ocr) { return ocr->context; }

void tn_ocr_size(const TnOcr *ocr, uint32_t *width, uint32_t *height) {
    *width = ocr->width;
    *height = ocr->height;
}

TnStatus tn_ocr_preprocess(const TnOcr *ocr, const TnImage *image, float *planes, TnError *err) {
    TnImage resized;
    TnStatus st = tn_image_resize(image, ocr->width, ocr->height, ocr->resample, &resized, err);
    if (st != TN_OK)
        return st;
    tn_image_normalize(&resized, ocr->scale, ocr->mean, ocr->std, planes);
    tn_image_free(&resized);
    return TN_OK;
}

/* Makes *buf hold n elements; contents are not kept. */
static bool ensure(void *buf, size_t *cap, size_t n, size_t size) {
    if (n <= *cap)
        return true;
    void **p = buf;
    free(*p);
    *p = malloc(n * size);
    *cap = *p == NULL ? 0 : n;
    return *p != NULL;
}

/* Text and confidences of all lines of o->generated into o's buffers. */
static TnStatus decode(TnOcr *o, uint32_t n, TnOcrLine *lines, TnError *err) {
    size_t bytes = n, chars = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 1; k < o->generated[i].n; k++) {
            uint32_t id = (uint32_t)o->generated[i].tokens[k];
            bytes += id < o->n_vocab && o->vocab[id] != NULL ? strlen(o->vocab[id]) : 0;
            chars++;
        }
    }
    size_t cap = o->chars_cap;
    if (!ensure(&o->text, &o->text_cap, bytes, 1) || !ensure(&o->chars, &o->chars_cap, chars + 1, sizeof *o->chars) ||
        !ensure(&o->char_confidence, &cap, chars + 1, sizeof *o->char_confidence))
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: the text of %u lines", n);
    char *text = o->text;
    size_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        const TnGenerated *g = &o->generated[i];
        double sum = 0;
        lines[i] = (TnOcrLine){.text = text, .chars = o->chars + at, .char_confidence = o->char_confidence + at};
        for (uint32_t k = 1; k < g->n; k++) {
            uint32_t id = (uint32_t)g->tokens[k];
            sum += (double)g->log_probs[k];
            if (id >= o->n_vocab || o->vocab[id] == NULL || o->special[id])
                continue;
            size_t m = strlen(o->vocab[id]);
            memcpy(text, o->vocab[id], m);
            text += m;
            o->chars[at] = o->vocab[id];
            o->char_confidence[at++] = expf(g->log_probs[k]);
            lines[i].n_chars++;
        }
        *text++ = '\0';
        lines[i].confidence = g->n > 1 ? (float)exp(sum / (g->n - 1)) : 0.0f;
    }
    return TN_OK;
}

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

TnStatus tn_ocr_read(TnOcr *ocr, const TnImage *images, uint32_t n, const TnGenerateOptions *options, TnOcrLine *lines, TnOcrTimes *times,
                     TnError *err) {
    size_t per = (size_t)3 * ocr->width * ocr->height, cap = ocr->generated_cap;
    double t0 = now_ms();
    if (n == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "no picture to read");
    if (!ensure(&ocr->planes, &ocr->planes_cap, per * n, sizeof(float)) || !ensure(&ocr->generated, &cap, n, sizeof *ocr->generated))
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a batch of %u pictures", n);
    ocr->generated_cap = (uint32_t)cap;
    for (uint32_t i = 0; i < n; i++) {
        TnStatus st = tn_ocr_preprocess(ocr, &images[i], ocr->planes + per * i, err);
        if (st != TN_OK)
            return st;
    }
    double t1 = now_ms();
    TnTensor x = {.data = ocr->planes, .dtype = TN_F32, .rank = 4, .dims = {n, 3, ocr->height, ocr->width}};
    TnStatus st = tn_context_generate(ocr->context, &x, 1, options, ocr->generated, n, err);
    if (st != TN_OK)
        return st;
    if (times != NULL)
        *times = (TnOcrTimes){t1 - t0, now_ms() - t1};
    return decode(ocr, n, lines, err);
}
