/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation (plan/generation.h): encoder once, decoder once a token over the rows that are still active. In: the encoder's inputs. Out:
 * tokens and log probabilities a line. A row's cache is found through its lane table, so choosing other parents copies a row of integers
 * and never a cache, and lines that are finished simply stop being rows. */
#include "runtime/device.h"
#include "runtime/generation.h"

#include <math.h>

#include "backend/registry.h"

typedef struct RtGeneration Gen;

bool tni_rt_gen_is_stop(const Gen *s, int32_t token) {
    for (uint32_t i = 0; i < s->g->g.n_eos; i++)
        if (s->g->g.eos_id[i] == token)
            return true;
    return false;
}

void tni_rt_gen_copy(const Gen *s, GenSequence *to, const GenSequence *from) {
    memcpy(to->tokens, from->tokens, from->n * sizeof *to->tokens);
    memcpy(to->log_probs, from->log_probs, from->n * sizeof *to->log_probs);
    memcpy(to->lanes, from->lanes, s->positions * sizeof *to->lanes);
    to->n = from->n;
    to->score = from->score;
    to->finished = from->finished;
}

void tni_rt_gen_push(GenSequence *q, int32_t token, float log_prob) {
    q->tokens[q->n] = token;
    q->log_probs[q->n++] = log_prob;
}

/* ---- rules ---- */

static void only(const Gen *s, float *scores, int32_t token) {
    for (uint32_t v = 0; v < s->g->g.vocab_size; v++)
        scores[v] = -INFINITY;
    scores[token] = 0;
}

/* A token in the line already gets a lower score, once however often it is there. */
static void repetition(const Gen *s, const GenSequence *q, float *scores) {
    float p = s->g->g.repetition_penalty;
    for (uint32_t i = 0; i < q->n; i++) {
        bool before = false;
        for (uint32_t k = 0; k < i && !before; k++)
            before = q->tokens[k] == q->tokens[i];
        float *x = &scores[q->tokens[i]];
        if (!before)
            *x = *x < 0 ? *x * p : *x / p;
    }
}

/* What would complete an n-gram that the line has already. */
static void no_repeats(const Gen *s, const GenSequence *q, float *scores) {
    uint32_t n = s->g->g.no_repeat_ngram;
    if (q->n < n)
        return;
    const int32_t *suffix = q->tokens + q->n - (n - 1);
    for (uint32_t i = 0; i + n <= q->n; i++)
        if (memcmp(q->tokens + i, suffix, (n - 1) * sizeof *suffix) == 0)
            scores[q->tokens[i + n - 1]] = -INFINITY;
}

void tni_rt_gen_rules(const Gen *s, const GenSequence *q, float *scores) {
    const PlanGeneration *g = &s->g->g;
    if (g->repetition_penalty != 1.0f)
        repetition(s, q, scores);
    if (g->no_repeat_ngram > 0)
        no_repeats(s, q, scores);
    if (q->n - 1 < s->min_new)
        for (uint32_t i = 0; i < g->n_eos; i++)
            scores[g->eos_id[i]] = -INFINITY;
    if (g->forced_bos_id >= 0 && q->n == 1)
        only(s, scores, g->forced_bos_id);
    if (g->forced_eos_id >= 0 && q->n == s->max_length - 1)
        only(s, scores, g->forced_eos_id);
}

/* ---- a decoder step ---- */

static void put_ids(const TnContext *ctx, const Gen *s, uint32_t input, int64_t *dst, uint32_t i, int32_t v) {
    const RtProgram *d = &ctx->plan->programs[s->g->decoder];
    if (d->values[d->inputs[input]].dtype == TN_I64)
        dst[i] = v;
    else
        ((int32_t *)(void *)dst)[i] = v;
}

static void set_input(const TnContext *ctx, const Gen *s, uint32_t input, void *data, int64_t d0, int64_t d1) {
    const RtProgram *d = &ctx->plan->programs[s->g->decoder];
    if (input == PLAN_NONE)
        return;
    const PlanValue *v = &d->values[d->inputs[input]];
    s->inputs[input] = (TnTensor){.data = data, .dtype = (TnDtype)v->dtype, .rank = v->rank, .dims = {d0, d1}};
    if (v->rank == 1)
        s->inputs[input].dims[1] = 0;
}

static void fill_inputs(const TnContext *ctx, Gen *s, uint32_t at) {
    int64_t rows = s->n_rows;
    for (uint32_t r = 0; r < s->n_rows; r++) {
        const GenSequence *q = s->row[r];
        put_ids(ctx, s, s->g->tokens, s->tokens, r, q->tokens[q->n - 1]);
        s->where[2 * r] = q->lanes[at];
        s->where[2 * r + 1] = (int32_t)at;
        memcpy(s->lanes + (size_t)r * s->positions, q->lanes, s->positions * sizeof *q->lanes);
        s->cross_lanes[r] = (int32_t)s->row_line[r];
    }
    s->length = (int32_t)at + 1;
    if (s->g->positions != PLAN_NONE)
        put_ids(ctx, s, s->g->positions, s->position, 0, (int32_t)at);
    set_input(ctx, s, s->g->tokens, s->tokens, rows, 1);
    set_input(ctx, s, s->g->positions, s->position, 1, 0);
    set_input(ctx, s, s->g->where, s->where, rows, 2);
    set_input(ctx, s, s->g->lanes, s->lanes, rows, s->positions);
    set_input(ctx, s, s->g->length, &s->length, 1, 0);
    set_input(ctx, s, s->g->cross_lanes, s->cross_lanes, rows, 1);
    set_input(ctx, s, s->g->cross_length, &s->cross_length, 1, 0);
}

static void preset(Gen *s, uint32_t symbol, int64_t value) {
    if (symbol == PLAN_NONE)
        return;
    s->preset[symbol] = value;
    s->known[symbol] = 1;
}

static TnStatus log_softmax(TnContext *ctx, Gen *s, const float *logits, TnError *err) {
    TnSoftmaxParams p = {.axis = 1, .log = 1, .scale = 1};
    TnTensor x = {.data = (void *)(uintptr_t)logits, .dtype = TN_F32, .rank = 2, .dims = {s->n_rows, s->g->g.vocab_size}}, y = x;
    y.data = s->log_probs;
    TnTensor shape = x;
    shape.data = NULL;
    TnKernelQuery q = {TN_OP_softmax, &p, &shape, 1, &y, 1, tni_threads_count(ctx->threads), NULL};
    TN_TRY(tni_rt_grow(ctx, &s->scratch, TN_MAX(s->log_softmax->scratch ? s->log_softmax->scratch(&q) : 0, (size_t)64), false, err));
    TnKernelCall call = {.params = &p,
                         .in = &x,
                         .n_in = 1,
                         .out = &y,
                         .n_out = 1,
                         .scratch = s->scratch.p,
                         .scratch_bytes = s->scratch.cap,
                         .threads = ctx->threads,
                         .err = err};
    return s->log_softmax->run(&call);
}

static TnStatus check_logits(const Gen *s, const RtFrame *f, TnError *err) {
    const TnTensor *y = &f->t[f->prog->outputs[s->g->logits]];
    size_t v = s->g->g.vocab_size;
    char text[96];
    if (y->dtype == TN_F32 && tn_tensor_numel(y) == (int64_t)s->n_rows * (int64_t)v && y->dims[0] == s->n_rows)
        return TN_OK;
    return TN_RAISE(err, TN_ERR_PLAN, "logits are %s; expected %u rows of %zu", tni_shape_str(text, sizeof text, y->rank, y->dims), s->n_rows,
                    v);
}

/* Binds and runs a program of the generator on tensors in host memory (on_device: or there); on a device the run is pending then. */
static TnStatus run_program(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const uint8_t *on_device, const int64_t *symbols,
                            const uint8_t *known, TnError *err) {
    if (!ctx->device) {
        TN_TRY(tni_rt_bind(ctx, f, inputs, symbols, known, err));
        return tni_rt_run_frame(ctx, f, err);
    }
    TN_TRY(tni_rt_device_finish(ctx, err)); /* the program before has read its inputs, and its results are there */
    TN_TRY(tni_rt_device_place(ctx, f, inputs, on_device, err));
    TN_TRY(tni_rt_bind(ctx, f, f->device->placed, symbols, known, err));
    TN_TRY(tni_rt_device_bring(ctx, f, inputs, err));
    return tni_rt_device_run_frame(ctx, f, err);
}

TnStatus tni_rt_gen_begin(TnContext *ctx, Gen *s, RtFrame *f, TnError *err) {
    s->n_rows = 0;
    for (uint32_t i = 0; i < s->lines; i++) {
        for (uint32_t b = 0; b < s->beams; b++) {
            s->row[s->n_rows] = &s->line[i].running[b];
            s->row_line[s->n_rows++] = i;
        }
    }
    preset(s, s->g->sym_rows, s->n_rows);
    fill_inputs(ctx, s, 0);
    TN_TRY(tni_rt_device_place(ctx, f, s->inputs, NULL, err));
    TN_TRY(tni_rt_bind(ctx, f, f->device->placed, s->preset, s->known, err));
    TN_TRY(check_logits(s, f, err));
    return tni_rt_device_bring(ctx, f, s->inputs, err);
}

/* The logits of the step that was run, in host memory. */
static TnStatus fetch_logits(TnContext *ctx, const Gen *s, RtFrame *f, const void **data, TnError *err) {
    uint32_t i = s->g->logits;
    *data = f->t[f->prog->outputs[i]].data;
    if (!ctx->device)
        return TN_OK;
    bool there = f->prog->values[f->prog->outputs[i]].device != 0;
    if (there) {
        memset(s->wanted, 0, f->prog->g->n_outputs);
        s->wanted[i] = 1;
        TN_TRY(tni_rt_device_fetch_begin(ctx, f, s->wanted, err));
        *data = tni_rt_device_fetched(f, i);
    }
    return tni_rt_device_finish(ctx, err);
}

TnStatus tni_rt_gen_step(TnContext *ctx, Gen *s, uint32_t at, TnError *err) {
    RtFrame *f = &ctx->frames[s->g->decoder];
    preset(s, s->g->sym_rows, s->n_rows);
    fill_inputs(ctx, s, at);
    TN_TRY(run_program(ctx, f, s->inputs, NULL, s->preset, s->known, err));
    const void *logits;
    size_t v = s->g->g.vocab_size;
    TN_TRY(check_logits(s, f, err));
    TN_TRY(fetch_logits(ctx, s, f, &logits, err));
    memcpy(s->scores, logits, s->n_rows * v * sizeof(float));
    return log_softmax(ctx, s, s->scores, err);
}

/* ---- memory of a call ---- */

/* Hands out pieces of one block; measuring when p is NULL. */
typedef struct Carver {
    uint8_t *p;
    size_t at;
    bool overflow;
} Carver;

static void *carve(Carver *c, size_t n, size_t size) {
    size_t bytes, end;
    if (!tni_mul_size(n, size, &bytes) || !tni_add_size(c->at, bytes, &end) || end > PTRDIFF_MAX - 64) {
        c->overflow = true;
        return NULL;
    }
    void *p = c->p ? c->p + c->at : NULL;
    c->at = tni_align_up(end, 64);
    return p;
}

static void carve_sequences(Carver *c, const Gen *s, GenSequence **out) {
    GenSequence *q = *out = carve(c, s->beams, sizeof *q);
    for (uint32_t b = 0; b < s->beams; b++) {
        int32_t *tokens = carve(c, s->max_length, sizeof *tokens), *lanes = carve(c, s->positions, sizeof *lanes);
        float *log_probs = carve(c, s->max_length, sizeof *log_probs);
        if (c->p)
            q[b] = (GenSequence){.tokens = tokens, .log_probs = log_probs, .lanes = lanes};
    }
}

static void carve_all(Carver *c, const TnContext *ctx, Gen *s) {
    size_t rows = (size_t)s->lines * s->beams, v = s->g->g.vocab_size;
    s->line = carve(c, s->lines, sizeof *s->line);
    for (uint32_t i = 0; i < s->lines; i++) {
        GenLine l = {.lane = i * s->beams, .active = true};
        carve_sequences(c, s, &l.running);
        if (s->beams > 1) {
            carve_sequences(c, s, &l.next);
            carve_sequences(c, s, &l.done);
        }
        if (c->p)
            s->line[i] = l;
    }
    s->row = carve(c, rows, sizeof *s->row);
    s->row_line = carve(c, rows, sizeof *s->row_line);
    s->where = carve(c, rows * 2, sizeof *s->where);
    s->lanes = carve(c, rows * s->positions, sizeof *s->lanes);
    s->cross_lanes = carve(c, rows, sizeof *s->cross_lanes);
    s->tokens = carve(c, rows, sizeof *s->tokens);
    s->position = carve(c, 1, sizeof *s->position);
    s->scores = carve(c, rows * v, sizeof *s->scores);
    s->log_probs = carve(c, rows * v, sizeof *s->log_probs);
    s->best = carve(c, rows * s->n_keep, sizeof *s->best);
    s->inputs = carve(c, ctx->plan->programs[s->g->decoder].g->n_inputs, sizeof *s->inputs);
    s->preset = carve(c, ctx->plan->p.n_symbols, sizeof *s->preset);
    s->known = carve(c, ctx->plan->p.n_symbols, sizeof *s->known);
    s->on_device = carve(c, ctx->plan->programs[s->g->encoder].g->n_inputs, sizeof *s->on_device);
    s->wanted = carve(c, ctx->plan->programs[s->g->decoder].g->n_outputs, sizeof *s->wanted);
}

static TnStatus allocate(TnContext *ctx, Gen *s, TnError *err) {
    Carver c = {NULL, 0, false};
    carve_all(&c, ctx, s);
    if (c.overflow)
        return TN_RAISE(err, TN_ERR_REQUEST, "%u lines with %u beams of %u tokens do not fit into memory", s->lines, s->beams,
                        s->max_length);
    TN_TRY(tni_rt_grow(ctx, &s->block, c.at, false, err));
    c = (Carver){s->block.p, 0, false};
    carve_all(&c, ctx, s);
    return TN_OK;
}

/* The cheapest log-softmax for f32 rows; chosen once, so that results do not depend on the number of rows. */
static const TnKernel *find_log_softmax(const Gen *s, uint32_t flags) {
    TnSoftmaxParams p = {.axis = 1, .log = 1, .scale = 1};
    TnTensor x = {.dtype = TN_F32, .rank = 2, .dims = {1, s->g->g.vocab_size}};
    TnKernelQuery q = {TN_OP_softmax, &p, &x, 1, &x, 1, 1, NULL};
    const TnKernel *best = tni_kernel_ref(TN_OP_softmax), *all;
    uint32_t n;
    double cost = 1e30;
    all = tni_kernels(&n);
    for (uint32_t i = 0; i < n; i++) {
        const TnKernel *k = &all[i];
        if (k->op != TN_OP_softmax || (k->cpu & ~flags) || !k->cost || k->packed_bytes || (k->supports && !k->supports(&q)))
            continue;
        if (k->cost(&q) < cost) {
            cost = k->cost(&q);
            best = k;
        }
    }
    return best;
}

/* ---- the call ---- */

static TnStatus read_options(const TnContext *ctx, Gen *s, const TnGenerateOptions *o, TnError *err) {
    const PlanGeneration *g = &s->g->g;
    const Plan *p = &ctx->plan->p;
    s->max_length = o->max_length ? o->max_length : g->max_length;
    s->beams = o->num_beams ? o->num_beams : g->num_beams;
    s->length_penalty = isnan(o->length_penalty) ? g->length_penalty : o->length_penalty;
    s->early = o->early_stopping < 0 ? g->early_stopping : (uint32_t)o->early_stopping;
    s->min_new = TN_MAX(o->min_new_tokens, g->min_new_tokens);
    if (s->max_length < 2 || s->max_length > g->max_positions + 1)
        return TN_RAISE(err, TN_ERR_REQUEST, "max_length %u; this model can make lines of 2 to %u tokens", s->max_length,
                        g->max_positions + 1);
    uint32_t most = g->max_beams ? g->max_beams : 1024;
    if (s->beams > most)
        return TN_RAISE(err, TN_ERR_REQUEST, "num_beams %u; this plan allows 1 to %u", s->beams, most);
    if (s->early > PLAN_EARLY_NEVER)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "early_stopping %d; expected -1 (the plan's), 0 (no), 1 (yes) or 2 (never)",
                        o->early_stopping);
    if (!isfinite(s->length_penalty))
        return TN_RAISE(err, TN_ERR_ARGUMENT, "length_penalty %g is not finite", (double)s->length_penalty);
    s->n_keep = TN_MAX(2u, 1 + g->n_eos) * s->beams;
    if (s->g->sym_batch != PLAN_NONE && s->lines > p->symbols[s->g->sym_batch].max)
        return TN_RAISE(err, TN_ERR_REQUEST, "%u lines; this plan was built for at most %lld; rebuild with --shapes batch=1:4:%u", s->lines,
                        (long long)p->symbols[s->g->sym_batch].max, s->lines);
    uint64_t lanes = (uint64_t)s->lines * s->beams;
    uint32_t limits[2] = {s->g->sym_lanes, s->g->sym_rows};
    for (uint32_t i = 0; i < 2; i++)
        if (limits[i] != PLAN_NONE && lanes > (uint64_t)p->symbols[limits[i]].max)
            return TN_RAISE(
                err, TN_ERR_REQUEST,
                "%u lines with %u beams need %llu %s; this plan was built for at most %lld; rebuild with --shapes %s=1:%llu:%llu", s->lines,
                s->beams, (unsigned long long)lanes, p->symbols[limits[i]].name, (long long)p->symbols[limits[i]].max,
                p->symbols[limits[i]].name, (unsigned long long)lanes, (unsigned long long)lanes);
    return lanes > INT32_MAX ? TN_RAISE(err, TN_ERR_REQUEST, "%u lines with %u beams", s->lines, s->beams) : TN_OK;
}

/* Positions of the caches: those of this call, unless the model fixes them. */
static TnStatus find_positions(const TnContext *ctx, Gen *s, TnError *err) {
    const RtProgram *d = &ctx->plan->programs[s->g->decoder];
    s->positions = s->max_length - 1;
    if (s->g->lanes == PLAN_NONE)
        return TN_OK;
    const TnDimExpr *e = &ctx->plan->p.exprs[d->values[d->inputs[s->g->lanes]].dims[1]];
    if (e->op != TN_DIM_CONST)
        return TN_OK;
    if (e->value < s->positions || e->value > INT32_MAX)
        return TN_RAISE(err, TN_ERR_REQUEST, "max_length %u needs %u positions; this plan has %lld", s->max_length, s->positions,
                        (long long)e->value);
    s->positions = (uint32_t)e->value;
    return TN_OK;
}

static TnStatus run_encoder(TnContext *ctx, Gen *s, const TnTensor *inputs, TnError *err) {
    RtFrame *f = &ctx->frames[s->g->encoder];
    memset(f->user_out, 0, f->prog->g->n_outputs * sizeof *f->user_out);
    f->arena[RT_HOST].bound = NULL;
    TN_TRY(run_program(ctx, f, inputs, s->on_device, NULL, NULL, err));
    for (uint32_t i = 0; i < ctx->plan->p.n_symbols; i++) {
        s->known[i] = f->symbol_known[i];
        s->preset[i] = f->symbol_known[i] ? f->symbols[i] : 0;
    }
    preset(s, s->g->sym_batch, s->lines);
    preset(s, s->g->sym_lanes, (int64_t)s->lines * s->beams);
    preset(s, s->g->sym_positions, s->positions);
    if (s->g->cross_state != PLAN_NONE)
        s->cross_length = (int32_t)ctx->states[s->g->cross_state].t.dims[1];
    tni_rt_release(ctx, f);
    return TN_OK;
}

static void start_lines(Gen *s) {
    for (uint32_t i = 0; i < s->lines; i++) {
        for (uint32_t b = 0; b < s->beams; b++) {
            GenSequence *q = &s->line[i].running[b];
            q->n = 0;
            q->score = b == 0 ? 0 : -1e9f;
            q->finished = false;
            tni_rt_gen_push(q, s->g->g.start_id, 0);
            for (uint32_t p = 0; p < s->positions; p++)
                q->lanes[p] = (int32_t)(s->line[i].lane + b);
        }
    }
}

static TnStatus search(TnContext *ctx, Gen *s, const TnTensor *inputs, TnGenerated *results, TnError *err) {
    TN_TRY(run_encoder(ctx, s, inputs, err));
    start_lines(s);
    if (tni_rt_device_can_search(ctx, s))
        return tni_rt_device_search(ctx, s, results, err);
    TN_TRY(s->beams == 1 ? tni_rt_greedy(ctx, s, err) : tni_rt_beams(ctx, s, err));
    for (uint32_t i = 0; i < s->lines; i++) {
        /* No finished line at all: every continuation was forbidden, or the scores are no numbers. What there is is returned. */
        const GenSequence *q = s->line[i].n_done ? s->line[i].done : s->line[i].running;
        results[i] = (TnGenerated){q->tokens, q->log_probs, q->n, q->score};
    }
    return TN_OK;
}

TnStatus tni_rt_generate(TnContext *ctx, const TnTensor *inputs, uint32_t n_inputs, const TnGenerateOptions *o, TnGenerated *results,
                         uint32_t n_results, TnError *err) {
    const RtGenerator *g = ctx->plan->gen;
    if (!g)
        return TN_RAISE(err, TN_ERR_REQUEST, "this plan is no generator; use tn_context_run");
    const RtProgram *e = &ctx->plan->programs[g->encoder];
    if (n_inputs != e->g->n_inputs)
        return TN_RAISE(err, TN_ERR_ARGUMENT, "%u inputs; this plan takes %u", n_inputs, e->g->n_inputs);
    if (inputs[0].rank < 1 || inputs[0].dims[0] < 1 || inputs[0].dims[0] > 65536)
        return TN_RAISE(err, TN_ERR_SHAPE, "the first dimension of input 0 is the number of lines, 1 or more");
    if (n_results != (uint32_t)inputs[0].dims[0])
        return TN_RAISE(err, TN_ERR_ARGUMENT, "%u results for %lld lines", n_results, (long long)inputs[0].dims[0]);
    if (!ctx->gen) {
        ctx->gen = tni_arena_calloc(ctx->mem, 1, sizeof *ctx->gen);
        if (!ctx->gen)
            return TN_OOM(err, sizeof *ctx->gen);
        ctx->gen->g = g;
        ctx->gen->log_softmax = find_log_softmax(ctx->gen, ctx->plan->p.header->cpu_flags);
    }
    Gen *s = ctx->gen;
    if (ctx->device) {
        TN_TRY(tni_rt_device_usable(ctx, err));
        TN_TRY(tni_rt_device_finish(ctx, err));
    }
    ctx->ran = false;
    s->lines = (uint32_t)inputs[0].dims[0];
    TN_TRY(read_options(ctx, s, o, err));
    TN_TRY(find_positions(ctx, s, err));
    TN_TRY(allocate(ctx, s, err));
    memset(s->on_device, o->inputs_on_device != 0, n_inputs);
    TnStatus st = search(ctx, s, inputs, results, err);
    if (st == TN_OK || !ctx->device)
        return st;
    tni_rt_device_note(ctx, st, err);
    tni_rt_device_abandon(ctx);
    return st;
}

void tni_rt_generation_free(TnContext *ctx) {
    if (!ctx->gen)
        return;
    tni_free(ctx->alloc, ctx->gen->block.p);
    tni_free(ctx->alloc, ctx->gen->scratch.p);
    ctx->gen->block = ctx->gen->scratch = (RtBuffer){NULL, 0};
}
