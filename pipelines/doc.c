/* SPDX-License-Identifier: Apache-2.0
 *
 * A reader of pages: what a plan says about it, and a page made ready: words -> tokens and boxes. doc_run.c runs it. */
#include "pipelines/doc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "pipelines/doc_internal.h"
#include "pipelines/util.h"

#define COORDINATES 1000
#define MAX_LABELS 1024
#define DEFAULT_WINDOW 512
#define DEFAULT_BATCH 4

TnDocOptions tn_doc_options_default(void) {
    return (TnDocOptions){.overlap = 128};
}

/* ---- creation ---- */

static TnStatus meta_json(TnPlan *plan, const char *key, json_t **out, TnError *err) {
    size_t n;
    json_error_t why;
    const void *data = tn_plan_meta(plan, key, &n);
    *out = data == NULL ? NULL : json_loadb(data, n, 0, &why);
    if (data != NULL && !json_is_object(*out)) {
        json_decref(*out);
        *out = NULL;
        return tnp_fail(err, TN_ERR_PARSE, "metadata '%s' of the plan is no JSON object", key);
    }
    return TN_OK;
}

static TnStatus read_triple(const json_t *o, const char *key, float out[3], TnError *err) {
    const json_t *a = json_object_get(o, key);
    for (size_t i = 0; a != NULL && i < 3; i++) {
        if (!json_is_number(json_array_get(a, i)))
            return tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: '%s' must be three numbers", key);
        out[i] = (float)json_number_value(json_array_get(a, i));
    }
    return TN_OK;
}

static TnStatus read_processor(TnDoc *d, TnPlan *plan, TnError *err) {
    json_t *c;
    TnStatus st = meta_json(plan, "preprocessor_config.json", &c, err);
    if (st != TN_OK || c == NULL)
        return st;
    const json_t *resample = json_object_get(c, "resample"), *factor = json_object_get(c, "rescale_factor");
    if (json_is_integer(resample) && json_integer_value(resample) != TN_RESAMPLE_BILINEAR &&
        json_integer_value(resample) != TN_RESAMPLE_BICUBIC)
        st = tnp_fail(err, TN_ERR_UNSUPPORTED, "preprocessor_config.json: resample %d; 2 (bilinear) and 3 (bicubic) are supported",
                      (int)json_integer_value(resample));
    else if (json_is_integer(resample))
        d->resample = (TnResample)json_integer_value(resample);
    if (json_is_number(factor))
        d->scale = (float)json_number_value(factor);
    if (st == TN_OK)
        st = read_triple(c, "image_mean", d->mean, err);
    if (st == TN_OK)
        st = read_triple(c, "image_std", d->std, err);
    if (json_is_false(json_object_get(c, "do_rescale")))
        d->scale = 1.0f;
    for (size_t i = 0; json_is_false(json_object_get(c, "do_normalize")) && i < 3; i++) {
        d->mean[i] = 0.0f;
        d->std[i] = 1.0f;
    }
    for (size_t i = 0; st == TN_OK && i < 3; i++) {
        if (!(d->std[i] != 0.0f))
            st = tnp_fail(err, TN_ERR_PARSE, "preprocessor_config.json: 'image_std' must not be 0");
    }
    json_decref(c);
    return st;
}

/* Names from config.json's id2label; FUNSD's where seven labels have no names of their own. */
static TnStatus read_labels(TnDoc *d, TnPlan *plan, TnError *err) {
    static const char *const funsd[] = {"O", "B-HEADER", "I-HEADER", "B-QUESTION", "I-QUESTION", "B-ANSWER", "I-ANSWER"};
    json_t *c;
    TnStatus st = meta_json(plan, "config.json", &c, err);
    const json_t *map = json_object_get(c, "id2label");
    d->tags = calloc(d->n_labels, sizeof *d->tags);
    d->types = calloc(d->n_labels, sizeof *d->types);
    if (st == TN_OK && (d->tags == NULL || d->types == NULL))
        st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", d->n_labels);
    for (uint32_t i = 0; st == TN_OK && i < d->n_labels; i++) {
        char key[16];
        snprintf(key, sizeof key, "%u", i);
        const char *name = json_string_value(json_object_get(map, key));
        if ((name == NULL || strncmp(name, "LABEL_", 6) == 0) && d->n_labels == 7)
            name = funsd[i];
        if (name == NULL)
            st = tnp_fail(err, TN_ERR_PARSE, "config.json: 'id2label' has no name for label %u of %u", i, d->n_labels);
        else if ((d->tags[i] = strdup(name)) == NULL || (d->types[i] = strdup(tnp_doc_tag(name).type)) == NULL)
            st = tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u labels", d->n_labels);
        for (char *p = st == TN_OK ? d->types[i] : NULL; p != NULL && *p != '\0'; p++)
            *p = (char)(*p >= 'A' && *p <= 'Z' ? *p + 32 : *p);
    }
    json_decref(c);
    return st;
}

static TnStatus find_input(TnPlan *plan, const char *const *names, size_t n, TnDtype type, int32_t rank, uint32_t *at, TnIoInfo *info,
                           TnError *err) {
    for (uint32_t i = 0; i < tn_plan_input_count(plan); i++) {
        TnStatus st = tn_plan_input(plan, i, info, err);
        if (st != TN_OK)
            return st;
        for (size_t k = 0; k < n; k++) {
            if (strcmp(info->name, names[k]) == 0 && info->dtype == type && info->rank == rank) {
                *at = i;
                return TN_OK;
            }
        }
    }
    return tnp_fail(err, TN_ERR_REQUEST, "the plan has no input '%s' (%s, rank %d): it is no LayoutLMv3 for words, boxes and a picture",
                    names[0], tn_dtype_name(type), rank);
}

static TnStatus read_inputs(TnDoc *d, TnPlan *plan, TnError *err) {
    static const char *const ids[] = {"input_ids"}, *const boxes[] = {"bbox", "boxes"}, *const mask[] = {"attention_mask"};
    static const char *const pixels[] = {"pixel_values", "images", "image"};
    TnIoInfo info, out;
    TnStatus st = find_input(plan, boxes, 2, TN_I64, 3, &d->input[BOXES], &info, err);
    if (st == TN_OK)
        st = find_input(plan, mask, 1, TN_I64, 2, &d->input[MASK], &info, err);
    if (st == TN_OK)
        st = find_input(plan, pixels, 3, TN_F32, 4, &d->input[PIXELS], &info, err);
    if (st == TN_OK && (info.dims[1] != 3 || info.dims[2] < 1 || info.dims[3] < 1))
        st =
            tnp_fail(err, TN_ERR_REQUEST, "the plan's input '%s' must be [batch, 3, height, width] with known height and width", info.name);
    if (st == TN_OK) {
        d->height = (uint32_t)info.dims[2];
        d->width = (uint32_t)info.dims[3];
        st = find_input(plan, ids, 1, TN_I64, 2, &d->input[IDS], &info, err);
    }
    if (st != TN_OK || (st = tn_plan_output(plan, 0, &out, err)) != TN_OK)
        return st;
    if (tn_plan_input_count(plan) != INPUTS || out.dtype != TN_F32 || out.rank != 3 || out.dims[2] < 1 || out.dims[2] > MAX_LABELS)
        return tnp_fail(err, TN_ERR_REQUEST,
                        "the plan must have %d inputs and logits [batch, tokens, labels] as its first output: a LayoutLMv3 with a token "
                        "classification head",
                        INPUTS);
    d->n_labels = (uint32_t)out.dims[2];
    bool fixed = info.dims[1] > 0;
    int64_t most = fixed ? info.dims[1] : info.max[1] <= 1 << 20 ? info.max[1] : info.opt[1] > 2 ? info.opt[1] : DEFAULT_WINDOW;
    d->window = (uint32_t)(most < 0 ? 0 : most);
    d->least = (uint32_t)(fixed ? most : info.min[1] < most ? info.min[1] : most);
    bool one = info.dims[0] > 0;
    uint32_t want = d->options.batch == 0 ? DEFAULT_BATCH : d->options.batch;
    int64_t batch = one ? info.dims[0] : info.max[0] < want ? info.max[0] : want;
    d->batch = (uint32_t)(batch < 1 ? 1 : batch);
    d->least_batch = (uint32_t)(one ? info.dims[0] : info.min[0] < batch ? info.min[0] : batch);
    if (d->window < 3)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan was built for %u tokens; 3 are the least: build it with -s sequence=1:512:512",
                        d->window);
    if (d->options.overlap * 2 > d->window - 2)
        return tnp_fail(err, TN_ERR_ARGUMENT, "an overlap of %u tokens is more than half a window of %u", d->options.overlap,
                        d->window - 2);
    return TN_OK;
}

static TnStatus read_tokens(TnDoc *d, TnPlan *plan, const TnBpe *tokenizer, TnError *err) {
    d->bpe = tokenizer;
    if (tokenizer == NULL) {
        TnStatus st = tn_bpe_from_plan(plan, &d->owned, err);
        if (st != TN_OK)
            return st;
        d->bpe = d->owned;
    }
    d->start_id = tn_bpe_id(d->bpe, "<s>");
    d->end_id = tn_bpe_id(d->bpe, "</s>");
    d->pad_id = tn_bpe_id(d->bpe, "<pad>");
    if (d->start_id < 0 || d->end_id < 0 || d->pad_id < 0)
        return tnp_fail(err, TN_ERR_PARSE, "the tokenizer lacks <s>, </s> or <pad>: it is not LayoutLMv3's");
    return TN_OK;
}

TnStatus tn_doc_create(TnPlan *plan, const TnBpe *tokenizer, const TnDocOptions *options, TnDoc **out, TnError *err) {
    *out = NULL;
    TnDoc *d = calloc(1, sizeof *d);
    if (d == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    *d = (TnDoc){.options = options == NULL ? tn_doc_options_default() : *options,
                 .resample = TN_RESAMPLE_BILINEAR,
                 .scale = 1.0f / 255.0f,
                 .mean = {0.5f, 0.5f, 0.5f},
                 .std = {0.5f, 0.5f, 0.5f}};
    TnStatus st = read_inputs(d, plan, err);
    if (st == TN_OK)
        st = read_tokens(d, plan, tokenizer, err);
    if (st == TN_OK)
        st = read_processor(d, plan, err);
    if (st == TN_OK)
        st = read_labels(d, plan, err);
    if (st == TN_OK) {
        TnContextOptions co = tn_context_options_default();
        co.threads = d->options.threads;
        st = tn_context_create(plan, &co, &d->context, err);
    }
    if (st != TN_OK)
        tn_doc_destroy(&d);
    *out = d;
    return st;
}

void tnp_doc_release(TnDoc *d) {
    tnp_doc_entities_free(&d->result);
    free(d->word);
    free(d->box);
    free(d->first);
    free(d->label);
    free(d->score);
    free(d->word_label);
    free(d->word_score);
    d->word = d->first = d->label = d->word_label = NULL;
    d->box = NULL;
    d->score = d->word_score = NULL;
    d->tokens.n = 0;
}

void tn_doc_destroy(TnDoc **doc) {
    TnDoc *d = *doc;
    if (d == NULL)
        return;
    tnp_doc_release(d);
    tnp_doc_release_many(d);
    tn_context_destroy(&d->context);
    tn_bpe_destroy(&d->owned);
    for (uint32_t i = 0; i < d->n_labels; i++) {
        if (d->tags != NULL)
            free(d->tags[i]);
        if (d->types != NULL)
            free(d->types[i]);
    }
    free(d->tags);
    free(d->types);
    free(d->tokens.ids);
    free(d);
    *doc = NULL;
}

uint32_t tn_doc_label_count(const TnDoc *doc) {
    return doc->n_labels;
}
const char *tn_doc_label(const TnDoc *doc, uint32_t id) {
    return id < doc->n_labels ? doc->tags[id] : NULL;
}
uint32_t tn_doc_sequence(const TnDoc *doc) {
    return doc->window;
}
void tn_doc_size(const TnDoc *doc, uint32_t *width, uint32_t *height) {
    *width = doc->width;
    *height = doc->height;
}

/* ---- a page ---- */

static TnStatus check_box(const TnDoc *d, const TnDocWord *w, uint32_t at, const TnImage *image, int32_t box[4], TnError *err) {
    const int32_t limit[4] = {(int32_t)image->width, (int32_t)image->height, (int32_t)image->width, (int32_t)image->height};
    memcpy(box, w->box, 4 * sizeof *box);
    if (box[0] > box[2] || box[1] > box[3])
        return tnp_fail(err, TN_ERR_DATA, "word %u ('%.60s'): box %d %d %d %d is inverted; a box is left, top, right, bottom", at, w->text,
                        box[0], box[1], box[2], box[3]);
    for (int k = 0; k < 4; k++) {
        int32_t inside = box[k] < 0 ? 0 : box[k] > limit[k] ? limit[k] : box[k];
        if (inside != box[k] && !d->options.clip)
            return tnp_fail(err, TN_ERR_DATA,
                            "word %u ('%.60s'): box %d %d %d %d leaves the picture of %u x %u pixels; clip cuts boxes at its edge", at,
                            w->text, box[0], box[1], box[2], box[3], image->width, image->height);
        box[k] = inside;
    }
    return TN_OK;
}

/* Boxes in thousandths of the picture, each cut to a whole number; of a segment the box around its words. */
static TnStatus normalize_boxes(TnDoc *d, const TnImage *image, const TnDocPage *page, TnError *err) {
    for (uint32_t i = 0; i < page->n; i++) {
        int32_t box[4];
        TnStatus st = check_box(d, &page->words[i], i, image, box, err);
        if (st != TN_OK)
            return st;
        for (int k = 0; k < 4; k++)
            d->box[4 * i + (uint32_t)k] = (int32_t)((int64_t)COORDINATES * box[k] / (k % 2 == 0 ? image->width : image->height));
    }
    for (uint32_t from = 0, to; !d->options.word_boxes && from < page->n; from = to) {
        int32_t box[4];
        memcpy(box, d->box + 4 * from, sizeof box);
        for (to = from; to < page->n && page->words[to].segment == page->words[from].segment; to++) {
            for (uint32_t k = 0; k < 4; k++) {
                int32_t v = d->box[4 * to + k];
                box[k] = k < 2 ? (v < box[k] ? v : box[k]) : (v > box[k] ? v : box[k]);
            }
        }
        for (uint32_t i = from; i < to; i++)
            memcpy(d->box + 4 * i, box, sizeof box);
    }
    return TN_OK;
}

static TnStatus tokenize(TnDoc *d, const TnDocPage *page, TnError *err) {
    for (uint32_t i = 0; i < page->n; i++) {
        d->first[i] = (uint32_t)d->tokens.n;
        TnStatus st = tn_bpe_encode(d->bpe, page->words[i].text, strlen(page->words[i].text), true, &d->tokens, err);
        if (st != TN_OK)
            return st;
        if (d->tokens.n > 1u << 28)
            return tnp_fail(err, TN_ERR_LIMIT, "word %u: the page has too many tokens", i);
        if (d->tokens.n == d->first[i])
            return tnp_fail(err, TN_ERR_DATA, "word %u ('%.60s') makes no token: the vocabulary lacks its bytes", i, page->words[i].text);
    }
    d->first[page->n] = (uint32_t)d->tokens.n;
    d->word = malloc(d->tokens.n * sizeof *d->word);
    d->label = calloc(d->tokens.n, sizeof *d->label);
    d->score = calloc(d->tokens.n, sizeof *d->score);
    if (d->word == NULL || d->label == NULL || d->score == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu tokens", d->tokens.n);
    for (uint32_t i = 0; i < page->n; i++) {
        for (uint32_t t = d->first[i]; t < d->first[i + 1]; t++)
            d->word[t] = i;
    }
    return TN_OK;
}

TnStatus tnp_doc_prepare(TnDoc *d, const TnImage *image, const TnDocPage *page, TnError *err) {
    tnp_doc_release(d);
    d->result = (TnDocResult){0};
    if (image->rgb == NULL || image->width == 0 || image->height == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "the picture has no pixels");
    if (page->n == 0)
        return tnp_fail(err, TN_ERR_DATA,
                        page->n_blank == 0 ? "the page has no words" : "the page has no words with text: all %u are blank", page->n_blank);
    d->box = malloc(4 * (size_t)page->n * sizeof *d->box);
    d->first = malloc((page->n + 1u) * sizeof *d->first);
    d->word_label = calloc(page->n, sizeof *d->word_label);
    d->word_score = calloc(page->n, sizeof *d->word_score);
    if (d->box == NULL || d->first == NULL || d->word_label == NULL || d->word_score == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u words", page->n);
    TnStatus st = normalize_boxes(d, image, page, err);
    return st == TN_OK ? tokenize(d, page, err) : st;
}
