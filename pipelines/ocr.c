/* SPDX-License-Identifier: Apache-2.0
 *
 * Text lines: picture -> tensor -> tokens -> text with confidences. */
#include "pipelines/ocr.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "pipelines/ocr_internal.h"
#include "pipelines/util.h"

#define EXPORT_SIZE 384 /* of trocr-chinese's pictures */
#define SPARE_IDS 127   /* models round their vocabularies up; a word piece that never comes is no harm */

/* A JSON file that the plan carries, or that lies in the folder; NULL when there is none. The caller releases it. */
static TnStatus meta_json(const TnOcrParts *parts, const char *key, json_t **out, TnError *err) {
    size_t n;
    const void *data = tn_plan_meta(parts->plan, key, &n);
    void *file = NULL;
    json_error_t why;
    char path[4096];
    *out = NULL;
    if (data == NULL && parts->folder != NULL && snprintf(path, sizeof path, "%s/%s", parts->folder, key) < (int)sizeof path &&
        access(path, R_OK) == 0) {
        TnStatus st = tnp_read_file(path, (size_t)64 << 20, &file, &n, err);
        if (st != TN_OK)
            return st;
        data = file;
    }
    if (data == NULL)
        return TN_OK;
    *out = json_loadb(data, n, JSON_REJECT_DUPLICATES, &why);
    free(file);
    if (*out == NULL || !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return tnp_fail(err, TN_ERR_PARSE, "'%s' of the model is no JSON object: %s (line %d)", key, why.text, why.line);
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
static TnStatus read_processor(TnOcr *o, const TnOcrParts *parts, TnError *err) {
    json_t *cfg;
    TnStatus st = meta_json(parts, "preprocessor_config.json", &cfg, err);
    if (st != TN_OK || cfg == NULL)
        return st;
    o->as_cv2 = false;
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

/* Ids that generation_config.json or config.json give; what they leave out stays. Also the model's vocabulary, unless it is known. */
static TnStatus read_ids(TnOcr *o, const TnOcrParts *parts, TnError *err) {
    static const char *const names[] = {"config.json", "generation_config.json"};
    for (size_t i = 0; i < 2; i++) {
        json_t *cfg;
        TnStatus st = meta_json(parts, names[i], &cfg, err);
        if (st != TN_OK)
            return st;
        json_t *start = json_object_get(cfg, "decoder_start_token_id"), *stop = json_object_get(cfg, "eos_token_id");
        json_t *least = json_object_get(cfg, "min_confidence"), *size = json_object_get(json_object_get(cfg, "decoder"), "vocab_size");
        if (json_is_integer(start))
            o->start = (int32_t)json_integer_value(start);
        if (json_is_integer(stop))
            o->stop = (int32_t)json_integer_value(stop);
        if (json_is_number(least))
            o->min_confidence = (float)json_number_value(least);
        if (json_is_integer(size) && o->model_vocab == 0)
            o->model_vocab = (uint32_t)json_integer_value(size);
        json_decref(cfg);
    }
    return TN_OK;
}

TnStatus tnp_ocr_check_vocabulary(const TnOcr *o, TnError *err) {
    uint32_t have = tn_vocabulary_size(o->vocabulary), spare = tn_vocabulary_kind(o->vocabulary) == TN_VOCABULARY_CHARACTERS ? 0 : SPARE_IDS;
    if (o->model_vocab == 0 || (have <= o->model_vocab && o->model_vocab - have <= spare))
        return TN_OK;
    return tnp_fail(err, TN_ERR_DATA, "the vocabulary has %u tokens, but the model writes %u: it is another model's; put the model's own vocab.json, "
                                      "tokenizer.json or sentencepiece.bpe.model beside it (or give it with --tokenizer)", have, o->model_vocab);
}

static TnStatus check_picture(TnOcr *o, TnPlan *plan, TnError *err) {
    TnIoInfo info;
    TnStatus st = tn_plan_input(plan, 0, &info, err);
    if (st != TN_OK)
        return st;
    if (info.dtype != TN_F32 || info.rank != 4 || (info.dims[1] >= 0 && info.dims[1] != 3))
        return tnp_fail(err, TN_ERR_REQUEST, "the plan's first input '%s' is no picture (float32 [batch,3,height,width])", info.name);
    if (info.dims[2] > 0 && info.dims[3] > 0) {
        o->height = (uint32_t)info.dims[2];
        o->width = (uint32_t)info.dims[3];
    }
    return TN_OK;
}

/* What the plans do not tell: how pictures are made, what tokens are. */
static TnStatus settle(TnOcr *o, const TnOcrParts *parts, TnError *err) {
    TnStatus st = check_picture(o, parts->plan, err);
    if (st == TN_OK)
        st = read_processor(o, parts, err);
    if (st == TN_OK && o->width == 0 && parts->decoder != NULL)
        o->width = o->height = EXPORT_SIZE;
    if (st == TN_OK && (o->width == 0 || o->height == 0 || o->width > 1u << 14 || o->height > 1u << 14))
        st = tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: 'size' must give width and height, from 1 to 16384");
    o->vocabulary = parts->vocabulary;
    if (st == TN_OK && o->vocabulary == NULL) {
        st = tn_vocabulary_from_plan(parts->plan, &o->own_vocabulary, err);
        o->vocabulary = o->own_vocabulary;
    }
    if (st != TN_OK)
        return st;
    o->start = tn_vocabulary_id(o->vocabulary, "<s>");
    o->stop = tn_vocabulary_id(o->vocabulary, "</s>");
    st = read_ids(o, parts, err);
    if (st == TN_OK && parts->decoder != NULL)
        st = tnp_ocr_steps_create(o, parts, err);
    return st == TN_OK ? tnp_ocr_check_vocabulary(o, err) : st;
}

TnStatus tn_ocr_create_from(const TnOcrParts *parts, TnOcr **out, TnError *err) {
    *out = NULL;
    if (parts->decoder == NULL && !tn_plan_is_generator(parts->plan))
        return tnp_fail(err, TN_ERR_REQUEST, "the plan generates no text: build it from a folder with a VisionEncoderDecoder checkpoint");
    TnOcr *o = calloc(1, sizeof *o);
    if (o == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    *o = (TnOcr){.resample = TN_RESAMPLE_BICUBIC, .as_cv2 = parts->decoder != NULL, .scale = 1.0f / 255.0f, .mean = {0.5f, 0.5f, 0.5f},
                 .std = {0.5f, 0.5f, 0.5f}, .min_confidence = 0.45f};
    TnContextOptions co = tn_context_options_default();
    co.threads = o->threads = parts->threads;
    TnStatus st = settle(o, parts, err);
    if (st == TN_OK)
        st = tn_context_create(parts->plan, &co, &o->context, err);
    if (st != TN_OK)
        tn_ocr_destroy(&o);
    *out = o;
    return st;
}

TnStatus tn_ocr_create(TnPlan *plan, uint32_t threads, TnOcr **out, TnError *err) {
    return tn_ocr_create_from(&(TnOcrParts){.plan = plan, .threads = threads}, out, err);
}

void tn_ocr_destroy(TnOcr **ocr) {
    TnOcr *o = *ocr;
    if (o == NULL)
        return;
    tn_context_destroy(&o->context);
    tnp_ocr_steps_destroy(&o->steps);
    tn_vocabulary_destroy(&o->own_vocabulary);
    free(o->planes);
    free(o->generated);
    tnp_ocr_lines_free(&o->lines);
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
    TnStatus st = ocr->as_cv2 ? tn_image_resize_linear(image, ocr->width, ocr->height, &resized, err)
                              : tn_image_resize(image, ocr->width, ocr->height, ocr->resample, &resized, err);
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

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

typedef struct Prepare {
    const TnOcr *ocr;
    const TnImage *images;
    size_t per; /* floats of a picture */
} Prepare;

static TnStatus prepare_one(void *context, uint32_t i, TnError *err) {
    const Prepare *p = context;
    return tn_ocr_preprocess(p->ocr, &p->images[i], p->ocr->planes + p->per * i, err);
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
    Prepare prepare = {ocr, images, per};
    TnStatus st = tnp_parallel(n, ocr->threads, prepare_one, &prepare, err);
    if (st != TN_OK)
        return st;
    double t1 = now_ms();
    TnTensor x = {.data = ocr->planes, .dtype = TN_F32, .rank = 4, .dims = {n, 3, ocr->height, ocr->width}};
    st = ocr->steps != NULL ? tnp_ocr_steps_generate(ocr, &x, options, ocr->generated, err)
                            : tn_context_generate(ocr->context, &x, 1, options, ocr->generated, n, err);
    if (st != TN_OK)
        return st;
    if (times != NULL)
        *times = (TnOcrTimes){t1 - t0, now_ms() - t1};
    return tnp_ocr_lines(&ocr->lines, ocr->vocabulary, ocr->generated, n, lines, err);
}
