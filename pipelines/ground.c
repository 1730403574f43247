/* SPDX-License-Identifier: Apache-2.0
 *
 * Phrases and regions to tensors, runs, and logits to answers. */
#include "pipelines/ground.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipelines/util.h"

#define DEFAULT_BATCH 8
#define DEFAULT_TOKENS 20
#define MAX_SIDE 4096 /* tokens or regions */

typedef enum Input { IDS, FEATURES, SPATIALS, SEGMENTS, TEXT_MASK, IMAGE_MASK, TASK, CO_MASK, INPUTS } Input;

/* Names by which exports of the authors' code know an input, the first as Tenon's importer. */
static const struct {
    const char *names[6];
    int32_t rank;
    bool needed;
} inputs[INPUTS] = {
    [IDS] = {{"input_ids", "question", "input_txt", "input_text", "tokens"}, 2, true},
    [FEATURES] = {{"features", "input_imgs", "image_feat", "image_features", "visual_feats"}, 3, true},
    [SPATIALS] = {{"spatials", "image_loc", "image_location", "locations"}, 3, true},
    [SEGMENTS] = {{"segment_ids", "token_type_ids"}, 2, false},
    [TEXT_MASK] = {{"input_mask", "attention_mask"}, 2, true},
    [IMAGE_MASK] = {{"image_mask", "image_attention_mask"}, 2, true},
    [TASK] = {{"task_ids", "task_tokens"}, 2, false},
    [CO_MASK] = {{"co_attention_mask"}, 3, false},
};

struct TnGround {
    TnContext *context;
    const TnWordPiece *vocabulary;
    TnWordPiece *owned;
    TnGroundOptions options;
    uint32_t input[INPUTS]; /* place in the plan; UINT32_MAX: it has none */
    TnDtype type[INPUTS];
    uint32_t output, width;
    uint32_t least_tokens, least_regions, least_batch, batch_step; /* a plan may want more than there is */
    int32_t start, end, pad;
    TnTokens tokens;
    void *data[INPUTS]; /* of a batch, as float32 or int64, then in the input's own type */
    size_t room;        /* rows of tokens + regions that data holds */
    float *logits;
    size_t cap_logits;
    double preprocess_ms, run_ms;
};

TnGroundOptions tn_ground_options_default(void) { return (TnGroundOptions){.task = 10}; }

/* ---- creation ---- */

static bool numeric(TnDtype t) { return t == TN_I64 || t == TN_I32 || t == TN_F32 || t == TN_BOOL; }

static TnStatus match_inputs(TnGround *g, TnPlan *plan, TnIoInfo *info, TnError *err) {
    const uint32_t n = tn_plan_input_count(plan);
    TnIoInfo x;
    memset(g->input, 0xff, sizeof g->input);
    for (uint32_t i = 0; i < n; i++) {
        TnStatus st = tn_plan_input(plan, i, &x, err);
        if (st != TN_OK)
            return st;
        bool found = false;
        for (uint32_t k = 0; k < INPUTS && !found; k++) {
            for (size_t a = 0; a < sizeof inputs[k].names / sizeof *inputs[k].names && inputs[k].names[a] != NULL && !found; a++)
                found = strcmp(x.name, inputs[k].names[a]) == 0;
            if (!found)
                continue;
            bool text = k == IDS || k == SEGMENTS || k == TASK;
            if (g->input[k] != UINT32_MAX || x.rank != inputs[k].rank || !numeric(x.dtype) || ((k == FEATURES || k == SPATIALS) && x.dtype != TN_F32) ||
                (text && x.dtype != TN_I64 && x.dtype != TN_I32))
                return tnp_fail(err, TN_ERR_REQUEST, "the plan's input '%s' (%s, rank %d) is not what a grounding model has by this name: rank %d, %s", x.name,
                                tn_dtype_name(x.dtype), x.rank, inputs[k].rank, text ? "integers" : k == FEATURES || k == SPATIALS ? "float32" : "a mask");
            g->input[k] = i;
            g->type[k] = x.dtype;
            info[k] = x;
        }
        if (!found)
            return tnp_fail(err, TN_ERR_REQUEST, "the plan's input '%s' is not known: a grounding model has input_ids, features, spatials, segment_ids, "
                            "input_mask, image_mask and perhaps task_ids (or the names of the authors' code)", x.name);
    }
    for (uint32_t k = 0; k < INPUTS; k++) {
        if (inputs[k].needed && g->input[k] == UINT32_MAX)
            return tnp_fail(err, TN_ERR_REQUEST, "the plan has no input '%s': it is no grounding model", inputs[k].names[0]);
    }
    return TN_OK;
}

/* The size to use for a dimension: what was asked for, else what the plan fixes, else `otherwise` within the plan's range. */
static TnStatus settle(uint32_t asked, uint32_t otherwise, const TnIoInfo *x, int32_t dim, const char *what, uint32_t *most, uint32_t *least, TnError *err) {
    const bool fixed = x->dims[dim] >= 0;
    const int64_t low = fixed ? x->dims[dim] : x->min[dim], high = fixed ? x->dims[dim] : x->max[dim];
    int64_t use = asked != 0 ? asked : fixed ? low : otherwise;
    if (asked == 0)
        use = use < low ? low : use > high ? high : use;
    if (use < low || use > high || use < 2 || use > MAX_SIDE)
        return tnp_fail(err, TN_ERR_REQUEST, "%lld %s cannot be used: the plan takes %lld to %lld, Tenon 2 to %d", (long long)use, what, (long long)low,
                        (long long)high, MAX_SIDE);
    *most = (uint32_t)use;
    *least = (uint32_t)(low < 2 ? 2 : low);
    return TN_OK;
}

static TnStatus read_sizes(TnGround *g, const TnIoInfo *info, TnError *err) {
    const TnIoInfo *f = &info[FEATURES];
    if (f->dims[2] < 1 || f->dims[2] > 65536 || info[SPATIALS].dims[2] != 5)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan's features are %lld wide and its spatials %lld; expected a fixed width and 5", (long long)f->dims[2],
                        (long long)info[SPATIALS].dims[2]);
    g->width = (uint32_t)f->dims[2];
    TnStatus st = settle(g->options.tokens, DEFAULT_TOKENS, &info[IDS], 1, "tokens", &g->options.tokens, &g->least_tokens, err);
    if (st == TN_OK)
        st = settle(g->options.regions, g->options.beta ? 100 : 101, f, 1, "regions", &g->options.regions, &g->least_regions, err);
    if (st != TN_OK)
        return st;
    const bool fixed = f->dims[0] >= 0;
    const int64_t low = fixed ? f->dims[0] : f->min[0], high = fixed ? f->dims[0] : f->max[0];
    int64_t batch = g->options.batch == 0 ? DEFAULT_BATCH : g->options.batch;
    batch = batch < low ? low : batch > high ? high : batch;
    g->options.batch = (uint32_t)(batch > 65536 ? 65536 : batch);
    g->least_batch = (uint32_t)(low < 1 ? 1 : low);
    if (low > 65536)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan wants %lld phrases at once", (long long)low);
    return TN_OK;
}

/* The output with a score for every region; of several outputs the one of this name. A head for pairs of pictures wants an even batch. */
static TnStatus find_output(TnGround *g, TnPlan *plan, TnError *err) {
    TnIoInfo x;
    bool found = false;
    g->batch_step = 1;
    for (uint32_t i = 0; i < tn_plan_output_count(plan); i++) {
        TnStatus st = tn_plan_output(plan, i, &x, err);
        if (st != TN_OK)
            return st;
        if (strcmp(x.name, "vision_logit") == 0 && x.dtype == TN_F32) {
            g->output = i;
            found = true;
        }
        if (strcmp(x.name, "vil_binary_prediction") == 0)
            g->batch_step = 2;
    }
    return found ? TN_OK
                 : tnp_fail(err, TN_ERR_REQUEST, "the plan has no float32 output 'vision_logit', which scores regions; build the model with that head");
}

static TnStatus read_vocabulary(TnGround *g, TnPlan *plan, const TnWordPiece *vocabulary, TnError *err) {
    TnStatus st = vocabulary == NULL ? tn_wordpiece_from_plan(plan, &g->owned, err) : TN_OK;
    if (st != TN_OK)
        return st;
    g->vocabulary = vocabulary == NULL ? g->owned : vocabulary;
    g->start = tn_wordpiece_id(g->vocabulary, "[CLS]");
    g->end = tn_wordpiece_id(g->vocabulary, "[SEP]");
    g->pad = 0; /* the authors' loader pads with 0 whatever the vocabulary says */
    if (g->start < 0 || g->end < 0)
        return tnp_fail(err, TN_ERR_PARSE, "the vocabulary lacks [CLS] or [SEP]: it is not BERT's");
    return TN_OK;
}

TnStatus tn_ground_create(TnPlan *plan, const TnWordPiece *vocabulary, const TnGroundOptions *options, TnGround **out, TnError *err) {
    TnIoInfo *info = calloc(INPUTS, sizeof *info);
    TnGround *g = calloc(1, sizeof *g);
    *out = NULL;
    TnStatus st = info == NULL || g == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory") : TN_OK;
    if (st == TN_OK) {
        g->options = options == NULL ? tn_ground_options_default() : *options;
        st = match_inputs(g, plan, info, err);
    }
    if (st == TN_OK)
        st = read_sizes(g, info, err);
    if (st == TN_OK)
        st = find_output(g, plan, err);
    if (st == TN_OK)
        st = read_vocabulary(g, plan, vocabulary, err);
    if (st == TN_OK) {
        TnContextOptions co = tn_context_options_default();
        co.threads = g->options.threads;
        st = tn_context_create(plan, &co, &g->context, err);
    }
    free(info);
    if (st != TN_OK)
        tn_ground_destroy(&g);
    *out = g;
    return st;
}

static void release_data(TnGround *g) {
    for (uint32_t k = 0; k < INPUTS; k++) {
        free(g->data[k]);
        g->data[k] = NULL;
    }
    g->room = 0;
}

void tn_ground_destroy(TnGround **ground) {
    TnGround *g = *ground;
    if (g == NULL)
        return;
    release_data(g);
    tn_context_destroy(&g->context);
    tn_wordpiece_destroy(&g->owned);
    free(g->tokens.ids);
    free(g->logits);
    free(g);
    *ground = NULL;
}

uint32_t tn_ground_tokens(const TnGround *g) { return g->options.tokens; }
uint32_t tn_ground_regions(const TnGround *g) { return g->options.regions; }
uint32_t tn_ground_width(const TnGround *g) { return g->width; }
double tn_ground_preprocess_ms(const TnGround *g) { return g->preprocess_ms; }
double tn_ground_run_ms(const TnGround *g) { return g->run_ms; }

/* ---- rows ---- */

/* Pieces of a phrase into g->tokens. */
static TnStatus tokenize(TnGround *g, const char *phrase, TnError *err) {
    g->tokens.n = 0;
    TnStatus st = tn_wordpiece_encode(g->vocabulary, phrase, strlen(phrase), &g->tokens, err);
    if (st == TN_OK && g->tokens.n == 0)
        st = tnp_fail(err, TN_ERR_DATA, "phrase '%.60s' is empty: it has no letters, numbers or signs", phrase);
    return st;
}

/* Tokens of a phrase that fit, [CLS] and what is left of [SEP] included. */
static uint32_t kept_tokens(const TnGround *g) {
    size_t n = g->tokens.n + 2;
    return n > g->options.tokens ? g->options.tokens : (uint32_t)n;
}

static void fill_text(const TnGround *g, uint32_t length, int64_t *ids, int64_t *mask) {
    const uint32_t n = kept_tokens(g);
    const bool cut = g->tokens.n + 2 > n;
    for (uint32_t i = 0; i < length; i++) {
        const bool last = i + 1 == n && !(cut && g->options.beta);
        if (ids != NULL)
            ids[i] = i == 0 ? g->start : i >= n ? g->pad : last ? g->end : g->tokens.ids[i - 1];
        if (mask != NULL)
            mask[i] = i < n;
    }
}

static uint32_t kept_regions(const TnGround *g, const TnRegions *r) { return r->n + 1 > g->options.regions ? g->options.regions : r->n + 1; }

/* The mean goes over all regions, also those that are cut; rows are added one after another in float32, as NumPy's sum over the first axis does. */
static void fill_features(const TnGround *g, const TnRegions *r, uint32_t length, float *out) {
    const uint32_t w = g->width, rows = kept_regions(g, r);
    memcpy(out, r->features, w * sizeof *out);
    for (uint32_t i = 1; i < r->n; i++) {
        for (uint32_t k = 0; k < w; k++)
            out[k] += r->features[(size_t)i * w + k];
    }
    for (uint32_t k = 0; k < w; k++)
        out[k] /= (float)r->n;
    memcpy(out + w, r->features, (size_t)(rows - 1) * w * sizeof *out);
    memset(out + (size_t)rows * w, 0, (size_t)(length - rows) * w * sizeof *out);
}

static void fill_places(const TnGround *g, const TnRegions *r, uint32_t length, float *out) {
    const uint32_t rows = kept_regions(g, r);
    const float w = (float)r->image_width, h = (float)r->image_height, area = (float)(r->image_width * r->image_height);
    static const float whole[5] = {0, 0, 1, 1, 1};
    memset(out, 0, (size_t)length * 5 * sizeof *out);
    memcpy(out, whole, sizeof whole);
    for (uint32_t i = 1; i < rows; i++) {
        const float *b = r->boxes + 4 * (size_t)(i - 1);
        float *p = out + 5 * (size_t)i;
        p[0] = b[0] / w;
        p[1] = b[1] / h;
        p[2] = b[2] / w;
        p[3] = b[3] / h;
        p[4] = (b[3] - b[1]) * (b[2] - b[0]) / area;
    }
}

static TnStatus check_query(const TnGround *g, const TnGroundQuery *q, TnError *err) {
    const TnRegions *r = q->regions;
    if (r->n == 0 || r->features == NULL || r->boxes == NULL)
        return tnp_fail(err, TN_ERR_DATA, "there are no regions");
    if (r->width != g->width)
        return tnp_fail(err, TN_ERR_DATA, "features have %u numbers a region, the model takes %u; they come from another detector", r->width, g->width);
    if (!(r->image_width >= 1 && r->image_height >= 1))
        return tnp_fail(err, TN_ERR_DATA, "the picture's size is not known");
    return TN_OK;
}

TnStatus tn_ground_assemble(TnGround *g, const TnGroundQuery *q, int64_t *ids, int64_t *mask, float *features, float *spatials, int64_t *image_mask, TnError *err) {
    TnStatus st = check_query(g, q, err);
    if (st == TN_OK)
        st = tokenize(g, q->phrase, err);
    if (st != TN_OK)
        return st;
    fill_text(g, g->options.tokens, ids, mask);
    if (features != NULL)
        fill_features(g, q->regions, g->options.regions, features);
    if (spatials != NULL)
        fill_places(g, q->regions, g->options.regions, spatials);
    for (uint32_t i = 0; image_mask != NULL && i < g->options.regions; i++)
        image_mask[i] = i < kept_regions(g, q->regions);
    return TN_OK;
}

/* ---- batches ---- */

typedef struct Sizes {
    uint32_t rows, tokens, regions;
} Sizes;

/* Bytes of an input of a batch, in the wide type that it is filled in. */
static size_t bytes_of(const TnGround *g, Input k, Sizes s) {
    const size_t rows = s.rows;
    switch (k) {
    case IDS:
    case SEGMENTS:
    case TEXT_MASK: return rows * s.tokens * 8;
    case FEATURES: return rows * s.regions * g->width * sizeof(float);
    case SPATIALS: return rows * s.regions * 5 * sizeof(float);
    case IMAGE_MASK: return rows * s.regions * 8;
    case TASK: return rows * 8;
    case CO_MASK: return rows * s.regions * s.tokens * 8;
    case INPUTS: break;
    }
    return 0;
}

static TnStatus reserve(TnGround *g, TnError *err) {
    const Sizes most = {(g->options.batch + g->batch_step - 1) / g->batch_step * g->batch_step, g->options.tokens, g->options.regions};
    if (g->room >= most.rows)
        return TN_OK;
    for (uint32_t k = 0; k < INPUTS; k++) {
        if (g->input[k] == UINT32_MAX)
            continue;
        g->data[k] = calloc(bytes_of(g, (Input)k, most), 1);
        if (g->data[k] == NULL) {
            release_data(g);
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a batch of %u phrases", most.rows);
        }
    }
    g->room = most.rows;
    return TN_OK;
}

/* int64 to the type of the input, in place: narrower, so from the front. */
static void narrow(void *data, size_t n, TnDtype to) {
    for (size_t i = 0; to != TN_I64 && i < n; i++) {
        int64_t v;
        memcpy(&v, (char *)data + 8 * i, 8);
        if (to == TN_F32) {
            float f = (float)v;
            memcpy((char *)data + 4 * i, &f, 4);
        } else if (to == TN_I32) {
            int32_t w = (int32_t)v;
            memcpy((char *)data + 4 * i, &w, 4);
        } else {
            ((uint8_t *)data)[i] = v != 0;
        }
    }
}

static TnStatus fill_row(TnGround *g, const TnGroundQuery *q, uint32_t row, Sizes s, TnError *err) {
    TnStatus st = tokenize(g, q->phrase, err);
    if (st != TN_OK)
        return st;
    fill_text(g, s.tokens, (int64_t *)g->data[IDS] + (size_t)row * s.tokens, (int64_t *)g->data[TEXT_MASK] + (size_t)row * s.tokens);
    fill_features(g, q->regions, s.regions, (float *)g->data[FEATURES] + (size_t)row * s.regions * g->width);
    fill_places(g, q->regions, s.regions, (float *)g->data[SPATIALS] + (size_t)row * s.regions * 5);
    for (uint32_t i = 0; i < s.regions; i++)
        ((int64_t *)g->data[IMAGE_MASK])[(size_t)row * s.regions + i] = i < kept_regions(g, q->regions);
    if (g->data[TASK] != NULL)
        ((int64_t *)g->data[TASK])[row] = g->options.task;
    return TN_OK;
}

static TnStatus bind(TnGround *g, Sizes s, TnError *err) {
    for (uint32_t k = 0; k < INPUTS; k++) {
        if (g->input[k] == UINT32_MAX)
            continue;
        TnTensor t = {.data = g->data[k], .dtype = g->type[k], .rank = inputs[k].rank, .dims = {s.rows, k == TASK ? 1 : s.tokens}};
        if (k == FEATURES || k == SPATIALS || k == IMAGE_MASK || k == CO_MASK)
            t.dims[1] = s.regions;
        t.dims[2] = k == FEATURES ? g->width : k == SPATIALS ? 5 : k == CO_MASK ? s.tokens : 0;
        if (k == SEGMENTS || k == CO_MASK)
            memset(g->data[k], 0, bytes_of(g, (Input)k, s));
        else if (k != FEATURES && k != SPATIALS)
            narrow(g->data[k], bytes_of(g, (Input)k, s) / 8, g->type[k]);
        TnStatus st = tn_context_set_input(g->context, g->input[k], &t, err);
        if (st != TN_OK)
            return st;
    }
    return TN_OK;
}

/* What the phrases of a batch need; padding beyond it changes no logit, as masked scores are 0 after the softmax. */
static TnStatus measure(TnGround *g, const TnGroundQuery *queries, uint32_t n, TnGroundAnswer *answers, Sizes *s, TnError *err) {
    *s = (Sizes){n < g->least_batch ? g->least_batch : n, g->least_tokens, g->least_regions};
    s->rows = (s->rows + g->batch_step - 1) / g->batch_step * g->batch_step;
    for (uint32_t i = 0; i < n; i++) {
        TnStatus st = check_query(g, &queries[i], err);
        if (st == TN_OK)
            st = tokenize(g, queries[i].phrase, err);
        if (st != TN_OK)
            return st;
        const uint32_t tokens = kept_tokens(g), regions = kept_regions(g, queries[i].regions);
        answers[i] = (TnGroundAnswer){.rows = regions, .pieces = (uint32_t)g->tokens.n, .pieces_cut = (uint32_t)g->tokens.n + 2 - tokens,
                                      .regions_cut = queries[i].regions->n + 1 - regions};
        s->tokens = tokens > s->tokens ? tokens : s->tokens;
        s->regions = regions > s->regions ? regions : s->regions;
    }
    s->tokens = (s->tokens + 3) / 4 * 4 > g->options.tokens ? g->options.tokens : (s->tokens + 3) / 4 * 4;
    s->regions = (s->regions + 7) / 8 * 8 > g->options.regions ? g->options.regions : (s->regions + 7) / 8 * 8;
    return TN_OK;
}

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

static TnStatus take(TnGround *g, uint32_t n, Sizes s, float *logits, TnGroundAnswer *answers, TnError *err) {
    TnTensor y;
    TnStatus st = tn_context_output(g->context, g->output, &y, err);
    if (st != TN_OK)
        return st;
    if (y.rank < 2 || y.dims[0] != s.rows || y.dims[1] != s.regions || tn_tensor_numel(&y) != (int64_t)s.rows * s.regions)
        return tnp_fail(err, TN_ERR_REQUEST, "the plan's vision_logit does not have a score for each of %u regions", s.regions);
    for (uint32_t i = 0; i < n; i++) {
        float *to = logits + (size_t)i * g->options.regions;
        memcpy(to, (const float *)y.data + (size_t)i * s.regions, answers[i].rows * sizeof *to);
        answers[i].logits = to;
        answers[i].best = 0;
        for (uint32_t k = 0; k < answers[i].rows; k++) {
            if (!isfinite(to[k]))
                return tnp_fail(err, TN_ERR_RUN, "the score of region %u is %g: the plan's precision does not bear these features", k, (double)to[k]);
            answers[i].best = to[k] > to[answers[i].best] ? k : answers[i].best;
        }
    }
    return TN_OK;
}

static TnStatus run_batch(TnGround *g, const TnGroundQuery *queries, uint32_t n, float *logits, TnGroundAnswer *answers, TnError *err) {
    Sizes s;
    double t0 = now_ms();
    TnStatus st = measure(g, queries, n, answers, &s, err);
    for (uint32_t i = 0; i < s.rows && st == TN_OK; i++) /* a plan for more rows gets the last one again */
        st = fill_row(g, &queries[i < n ? i : n - 1], i, s, err);
    if (st == TN_OK)
        st = bind(g, s, err);
    double t1 = now_ms();
    if (st == TN_OK)
        st = tn_context_run(g->context, err);
    if (st == TN_OK)
        st = take(g, n, s, logits, answers, err);
    g->preprocess_ms += t1 - t0;
    g->run_ms += now_ms() - t1;
    return st;
}

TnStatus tn_ground_run(TnGround *g, const TnGroundQuery *queries, uint32_t n, TnGroundAnswer *answers, TnError *err) {
    const size_t need = (size_t)n * g->options.regions;
    TnStatus st = reserve(g, err);
    g->preprocess_ms = g->run_ms = 0;
    if (need > g->cap_logits) {
        float *grown = realloc(g->logits, need * sizeof *grown);
        if (grown == NULL)
            return tnp_fail(err, TN_ERR_MEMORY, "out of memory: scores of %u phrases", n);
        g->logits = grown;
        g->cap_logits = need;
    }
    for (uint32_t at = 0; at < n && st == TN_OK; at += g->options.batch) {
        const uint32_t k = n - at < g->options.batch ? n - at : g->options.batch;
        st = run_batch(g, queries + at, k, g->logits + (size_t)at * g->options.regions, answers + at, err);
    }
    return st;
}

/* ---- answers ---- */

void tn_ground_box(const TnRegions *r, uint32_t row, float box[4]) {
    const float whole[4] = {0, 0, (float)r->image_width, (float)r->image_height};
    memcpy(box, row == 0 || row > r->n ? whole : r->boxes + 4 * (size_t)(row - 1), sizeof whole);
}

double tn_ground_score(const TnGroundAnswer *a, uint32_t row) { return 1.0 / (1.0 + exp(-(double)a->logits[row])); }

double tn_ground_share(const TnGroundAnswer *a, uint32_t row) {
    double sum = 0;
    for (uint32_t i = 0; i < a->rows; i++)
        sum += exp((double)a->logits[i] - (double)a->logits[row]);
    return 1.0 / sum;
}

uint32_t tn_ground_top(const TnGroundAnswer *a, uint32_t k, uint32_t *rows) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->rows; i++) {
        uint32_t at = n < k ? n++ : k;
        for (; at > 0 && a->logits[i] > a->logits[rows[at - 1]]; at--) {
            if (at < k)
                rows[at] = rows[at - 1];
        }
        if (at < k)
            rows[at] = i;
    }
    return n;
}
