/* SPDX-License-Identifier: Apache-2.0
 *
 * Exported encoder and decoder, step by step: the decoder sees the whole prefix each time, without a cache, and the likeliest token is appended until
 * the stop token, as trocr-chinese's demonstration does. Lines that are finished leave the batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/ocr_internal.h"
#include "pipelines/util.h"

#define MAX_STEPS 100 /* of the demonstration */
#define MAX_LENGTH 4096
#define NONE UINT32_MAX

struct OcrSteps {
    TnContext *encoder, *decoder; /* encoder: the reader's */
    TnDtype id_type;              /* int64 or int32 */
    uint32_t ids, states, mask, cross_mask, logits; /* inputs of the decoder (NONE: it has none), its output */
    uint32_t states_out;                            /* of the encoder */
    bool one_by_one;                                /* exported for one picture */
    int32_t *tokens;                                /* [lines, cap] */
    float *log_probs;
    void *id_data, *mask_data, *cross_mask_data; /* of the lines that go on */
    float *state_data;
    uint32_t *active; /* [lines] which line each row of the batch is */
    size_t lines, length, state_size, state_tokens; /* capacities, and sizes of one line's states */
};

void tnp_ocr_steps_destroy(OcrSteps **steps) {
    OcrSteps *s = *steps;
    if (s == NULL)
        return;
    tn_context_destroy(&s->decoder);
    free(s->tokens);
    free(s->log_probs);
    free(s->id_data);
    free(s->mask_data);
    free(s->cross_mask_data);
    free(s->state_data);
    free(s->active);
    free(s);
    *steps = NULL;
}

static bool integer(TnDtype t) { return t == TN_I64 || t == TN_I32; }

/* Which input is which, by name and type. */
static TnStatus find_inputs(OcrSteps *s, const TnPlan *decoder, TnError *err) {
    int64_t length = 0;
    s->ids = s->states = s->mask = s->cross_mask = NONE;
    for (uint32_t i = 0; i < tn_plan_input_count(decoder); i++) {
        TnIoInfo in;
        TnStatus st = tn_plan_input(decoder, i, &in, err);
        if (st != TN_OK)
            return st;
        uint32_t *slot = NULL;
        if (integer(in.dtype) && in.rank == 2)
            slot = strstr(in.name, "input_ids") != NULL                ? &s->ids
                   : strcmp(in.name, "encoder_attention_mask") == 0    ? &s->cross_mask
                   : strstr(in.name, "attention_mask") != NULL         ? &s->mask
                                                                       : NULL;
        else if (in.dtype == TN_F32 && in.rank == 3)
            slot = &s->states;
        if (slot == NULL || *slot != NONE)
            return tnp_fail(err, TN_ERR_REQUEST, "the decoder's input '%s' is not known; it must take input_ids (or decoder_input_ids), encoder_hidden_states "
                                                 "and at most attention_mask and encoder_attention_mask: export it without a cache", in.name);
        *slot = i;
        if (slot == &s->ids) {
            s->id_type = in.dtype;
            length = in.dims[1];
        }
        s->one_by_one = s->one_by_one || in.dims[0] == 1;
    }
    if (s->ids == NONE || s->states == NONE)
        return tnp_fail(err, TN_ERR_REQUEST, "the decoder has no input %s", s->ids == NONE ? "input_ids of integers [batch,length]"
                                                                                           : "encoder_hidden_states, float32 [batch,tokens,width]");
    if (length > 0)
        return tnp_fail(err, TN_ERR_REQUEST, "the decoder's ids are exported for %lld tokens; export it with the length as a dynamic axis", (long long)length);
    return TN_OK;
}

static TnStatus find_outputs(OcrSteps *s, const TnOcrParts *parts, uint32_t *vocab, TnError *err) {
    TnIoInfo out;
    uint32_t k;
    TnError ignored = {0};
    s->logits = tn_plan_output_index(parts->decoder, "logits", &k, &ignored) == TN_OK ? k : 0;
    s->states_out = tn_plan_output_index(parts->plan, "last_hidden_state", &k, &ignored) == TN_OK ? k : 0;
    TnStatus st = tn_plan_output(parts->plan, s->states_out, &out, err);
    if (st == TN_OK && (out.dtype != TN_F32 || out.rank != 3))
        return tnp_fail(err, TN_ERR_REQUEST, "the encoder's output '%s' must be float32 [batch,tokens,width]", out.name);
    if (st == TN_OK)
        st = tn_plan_output(parts->decoder, s->logits, &out, err);
    if (st == TN_OK && (out.dtype != TN_F32 || out.rank != 3))
        return tnp_fail(err, TN_ERR_REQUEST, "the decoder's output '%s' must be float32 [batch,length,vocabulary]", out.name);
    *vocab = st == TN_OK && out.dims[2] > 0 ? (uint32_t)out.dims[2] : 0;
    return st;
}

TnStatus tnp_ocr_steps_create(TnOcr *o, const TnOcrParts *parts, TnError *err) {
    TnIoInfo in;
    OcrSteps *s = o->steps = calloc(1, sizeof *s);
    if (s == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    if (o->start < 0 || o->stop < 0)
        return tnp_fail(err, TN_ERR_DATA, "the vocabulary has no %s, and no generation_config.json names the %s token", o->start < 0 ? "<s>" : "</s>",
                        o->start < 0 ? "first" : "last");
    TnStatus st = tn_plan_input(parts->plan, 0, &in, err);
    if (st == TN_OK)
        st = find_inputs(s, parts->decoder, err);
    if (st != TN_OK)
        return st;
    s->one_by_one = s->one_by_one || in.dims[0] == 1;
    if (in.dims[0] > 1)
        return tnp_fail(err, TN_ERR_REQUEST, "the encoder is exported for batches of %lld; export it with a dynamic batch, or of 1", (long long)in.dims[0]);
    st = find_outputs(s, parts, &o->model_vocab, err);
    TnContextOptions co = tn_context_options_default();
    co.threads = parts->threads;
    return st == TN_OK ? tn_context_create(parts->decoder, &co, &s->decoder, err) : st;
}

/* Memory for n lines of `length` tokens. */
static TnStatus reserve(OcrSteps *s, size_t n, size_t length, TnError *err) {
    if (n <= s->lines && length <= s->length)
        return TN_OK;
    free(s->tokens);
    free(s->log_probs);
    free(s->id_data);
    free(s->mask_data);
    free(s->active);
    s->tokens = malloc(n * length * sizeof *s->tokens);
    s->log_probs = malloc(n * length * sizeof *s->log_probs);
    s->id_data = malloc(n * length * sizeof(int64_t));
    s->mask_data = malloc(n * length * sizeof(int64_t));
    s->active = malloc(n * sizeof *s->active);
    bool ok = s->tokens != NULL && s->log_probs != NULL && s->id_data != NULL && s->mask_data != NULL && s->active != NULL;
    s->lines = ok ? n : 0;
    s->length = ok ? length : 0;
    return ok ? TN_OK : tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu lines of %zu tokens", n, length);
}

static void put_id(const OcrSteps *s, void *data, size_t at, int32_t id) {
    if (s->id_type == TN_I64)
        ((int64_t *)data)[at] = id;
    else
        ((int32_t *)data)[at] = id;
}

/* Encodes lines [from, from + n) of x; their states go to state_data. */
static TnStatus encode(TnOcr *o, const TnTensor *x, size_t from, size_t n, TnError *err) {
    OcrSteps *s = o->steps;
    TnTensor part = *x, states;
    size_t per = (size_t)x->dims[1] * (size_t)x->dims[2] * (size_t)x->dims[3];
    part.dims[0] = (int64_t)n;
    part.data = (float *)x->data + per * from;
    TnStatus st = tn_context_set_input(o->context, 0, &part, err);
    if (st == TN_OK)
        st = tn_context_run(o->context, err);
    if (st == TN_OK)
        st = tn_context_output(o->context, s->states_out, &states, err);
    if (st != TN_OK)
        return st;
    s->state_tokens = (size_t)states.dims[1];
    s->state_size = (size_t)(states.dims[1] * states.dims[2]);
    free(s->state_data);
    free(s->cross_mask_data);
    s->state_data = malloc(n * s->state_size * sizeof(float) + 1);
    s->cross_mask_data = malloc(n * s->state_tokens * sizeof(int64_t) + 1);
    if (s->state_data == NULL || s->cross_mask_data == NULL || (size_t)states.dims[0] != n)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: states of %zu lines", n);
    memcpy(s->state_data, states.data, n * s->state_size * sizeof(float));
    for (size_t i = 0; i < n * s->state_tokens; i++)
        put_id(s, s->cross_mask_data, i, 1);
    return TN_OK;
}

/* The decoder on prefixes of `length` tokens of the k active lines. */
static TnStatus step(OcrSteps *s, size_t k, size_t length, size_t stride, TnTensor *logits, TnError *err) {
    for (size_t i = 0; i < k; i++) {
        for (size_t j = 0; j < length; j++) {
            put_id(s, s->id_data, i * length + j, s->tokens[s->active[i] * stride + j]);
            put_id(s, s->mask_data, i * length + j, 1);
        }
    }
    const int64_t rows = (int64_t)k, tokens = (int64_t)s->state_tokens;
    TnTensor ids = {.data = s->id_data, .dtype = s->id_type, .rank = 2, .dims = {rows, (int64_t)length}}, mask = ids, cross = ids;
    TnTensor states = {.data = s->state_data, .dtype = TN_F32, .rank = 3, .dims = {rows, tokens, tokens == 0 ? 0 : (int64_t)s->state_size / tokens}};
    mask.data = s->mask_data;
    cross.data = s->cross_mask_data;
    cross.dims[1] = tokens;
    TnStatus st = tn_context_set_input(s->decoder, s->ids, &ids, err);
    if (st == TN_OK)
        st = tn_context_set_input(s->decoder, s->states, &states, err);
    if (st == TN_OK && s->mask != NONE)
        st = tn_context_set_input(s->decoder, s->mask, &mask, err);
    if (st == TN_OK && s->cross_mask != NONE)
        st = tn_context_set_input(s->decoder, s->cross_mask, &cross, err);
    if (st == TN_OK)
        st = tn_context_run(s->decoder, err);
    if (st == TN_OK)
        st = tn_context_output(s->decoder, s->logits, logits, err);
    if (st == TN_OK && (logits->dims[0] != rows || logits->dims[1] != (int64_t)length || logits->dims[2] < 1))
        return tnp_fail(err, TN_ERR_SHAPE, "the decoder gives logits [%lld,%lld,%lld] for %zu lines of %zu tokens", (long long)logits->dims[0],
                        (long long)logits->dims[1], (long long)logits->dims[2], k, length);
    return st;
}

/* The likeliest token (of equal ones the first) and the log of its probability. */
static int32_t likeliest(const float *row, size_t n, float *log_prob) {
    size_t best = 0;
    double sum = 0;
    for (size_t i = 1; i < n; i++)
        best = row[i] > row[best] ? i : best;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)row[i] - (double)row[best]);
    *log_prob = (float)-log(sum);
    return (int32_t)best;
}

/* Lines [from, from + n): at most `length` tokens each, the start token counted. */
static TnStatus generate(TnOcr *o, const TnTensor *x, size_t from, size_t n, size_t length, TnGenerated *results, TnError *err) {
    OcrSteps *s = o->steps;
    size_t k = n, stride = s->length;
    TnStatus st = encode(o, x, from, n, err);
    for (size_t i = 0; i < n; i++) {
        size_t line = from + i;
        s->active[i] = (uint32_t)line;
        s->tokens[line * stride] = o->start;
        s->log_probs[line * stride] = 0;
        results[line] = (TnGenerated){.tokens = s->tokens + line * stride, .log_probs = s->log_probs + line * stride, .n = 1};
    }
    for (size_t t = 1; st == TN_OK && k > 0 && t < length; t++) {
        TnTensor logits;
        size_t kept = 0;
        st = step(s, k, t, stride, &logits, err);
        if (st == TN_OK && o->model_vocab == 0) { /* told by the first step alone */
            o->model_vocab = (uint32_t)logits.dims[2];
            st = tnp_ocr_check_vocabulary(o, err);
        }
        for (size_t i = 0; st == TN_OK && i < k; i++) {
            const size_t vocab = (size_t)logits.dims[2], line = s->active[i];
            TnGenerated *g = &results[line];
            float *p = &s->log_probs[line * stride + t];
            int32_t id = likeliest((const float *)logits.data + (i * t + t - 1) * vocab, vocab, p);
            s->tokens[line * stride + t] = id;
            g->n++;
            g->score += *p;
            if (id == o->stop)
                continue;
            if (kept < i) {
                memcpy(s->state_data + kept * s->state_size, s->state_data + i * s->state_size, s->state_size * sizeof(float));
                s->active[kept] = s->active[i];
            }
            kept++;
        }
        k = kept;
    }
    return st;
}

TnStatus tnp_ocr_steps_generate(TnOcr *o, const TnTensor *x, const TnGenerateOptions *options, TnGenerated *results, TnError *err) {
    OcrSteps *s = o->steps;
    size_t n = (size_t)x->dims[0], length = options == NULL || options->max_length == 0 ? MAX_STEPS + 1 : options->max_length;
    if (options != NULL && options->num_beams > 1)
        return tnp_fail(err, TN_ERR_REQUEST, "an exported encoder and decoder read greedily; %u beams need the checkpoint itself", options->num_beams);
    if (length < 2 || length > MAX_LENGTH)
        return tnp_fail(err, TN_ERR_REQUEST, "a line has from 2 to %d tokens, not %zu", MAX_LENGTH, length);
    TnStatus st = reserve(s, n, length, err);
    size_t group = s->one_by_one ? 1 : n;
    for (size_t from = 0; st == TN_OK && from < n; from += group)
        st = generate(o, x, from, group, length, results, err);
    return st;
}
