/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation whose search runs on the device too (kernel/search.h). In: the state of a generation whose encoder has run. Out: sequences in pinned
 * memory. The decoder and the step of the search behind it are one graph; the host launches it once a token, a few ahead of the device, and
 * stops when the device has said that no line is active any more: no token is waited for. */
#include "runtime/device.h"
#include "runtime/generation.h"

#include "kernel/search.h"

#define AHEAD 3u /* launches under way at most */

_Static_assert(TNS_MAX_STOP == PLAN_GENERATION_MAX_EOS, "stop tokens");
_Static_assert(TNS_MAX_BEAMS <= TNS_MAX_KEEP / 2, "room for the candidates of all beams");

typedef struct RtGeneration Gen;

/* Of a context. */
typedef struct RtDeviceSearch {
    RtBuffer memory; /* of the device: state, from the start; scratch behind it */
    RtBuffer pinned; /* the state's image: what it begins with, what it ends with; then `left` */
    size_t state_bytes;
    TnSearch s; /* device addresses */
    TnSearch h; /* addresses of the image */
    TnMark *mark[AHEAD];
} RtDeviceSearch;

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

/* ---- whether ---- */

static bool input_there(const RtProgram *d, uint32_t input) {
    return input == PLAN_NONE || d->values[d->inputs[input]].device != 0;
}

bool tni_rt_device_can_search(const TnContext *ctx, const Gen *s) {
    const RtGenerator *g = s->g;
    if (!ctx->device || !library(ctx)->search_step || ctx->on_step)
        return false;
    const RtProgram *d = &ctx->plan->programs[g->decoder];
    if (s->beams > TNS_MAX_BEAMS || s->n_keep > TNS_MAX_KEEP || g->g.vocab_size > TNS_MAX_VOCABULARY || s->n_keep > g->g.vocab_size)
        return false;
    if (!d->graph || d->n_after || d->values[d->outputs[g->logits]].device == 0)
        return false;
    const uint32_t inputs[] = {g->tokens, g->positions, g->where, g->lanes, g->length, g->cross_lanes, g->cross_length};
    for (size_t i = 0; i < TN_COUNT(inputs); i++)
        if (!input_there(d, inputs[i]))
            return false;
    for (uint32_t k = 0; k < d->g->n_steps; k++) /* the host would have to see what the device writes */
        if (d->rt[k].from_input)
            return false;
    return true;
}

/* ---- memory ---- */

/* Hands out pieces of the state, in the device and in its image; measuring when both are NULL. */
typedef struct Carver {
    uint8_t *device, *image;
    size_t at;
    bool overflow;
} Carver;

static void carve(Carver *c, size_t n, size_t size, void *device, void *image) {
    size_t bytes, end;
    void *d = c->device ? c->device + c->at : NULL, *h = c->image ? c->image + c->at : NULL;
    memcpy(device, &d, sizeof d);
    memcpy(image, &h, sizeof h);
    if (!tni_mul_size(n, size, &bytes) || !tni_add_size(c->at, bytes, &end) || end > PTRDIFF_MAX / 2)
        c->overflow = true;
    else
        c->at = tni_align_up(end, RT_DEVICE_ALIGN);
}
#define CARVE(c, r, field, n) carve((c), (n), sizeof *(r)->s.field, &(r)->s.field, &(r)->h.field)

static void carve_beams(Carver *c, RtDeviceSearch *r, TnSearchBeams *s, TnSearchBeams *h, size_t rows, size_t length) {
    (void)r;
    carve(c, rows * length, sizeof *s->tokens, &s->tokens, &h->tokens);
    carve(c, rows * length, sizeof *s->log_probs, &s->log_probs, &h->log_probs);
    carve(c, rows, sizeof *s->n, &s->n, &h->n);
    carve(c, rows, sizeof *s->score, &s->score, &h->score);
}

/* State first, then what needs no beginning. */
static void carve_all(Carver *c, RtDeviceSearch *r, const Gen *g) {
    size_t rows = (size_t)g->lines * g->beams, length = g->max_length;
    CARVE(c, r, at, 1);
    CARVE(c, r, line, g->lines);
    carve_beams(c, r, &r->s.half[0], &r->h.half[0], rows, length);
    carve_beams(c, r, &r->s.half[1], &r->h.half[1], rows, length);
    if (g->beams > 1)
        carve_beams(c, r, &r->s.done, &r->h.done, rows, length);
    r->state_bytes = c->at;
    c->image = NULL;
    CARVE(c, r, best, rows * g->n_keep);
    CARVE(c, r, old_lanes, g->beams > 1 ? rows * g->positions : 1);
}

static TnStatus take_memory(TnContext *ctx, RtDeviceSearch *r, const Gen *g, TnError *err) {
    Carver c = {NULL, NULL, 0, false};
    carve_all(&c, r, g);
    size_t left = tni_align_up(g->max_length * sizeof *r->s.left, RT_DEVICE_ALIGN);
    if (c.overflow)
        return TN_RAISE(err, TN_ERR_REQUEST, "%u lines with %u beams of %u tokens do not fit into memory", g->lines, g->beams, g->max_length);
    TN_TRY(tni_rt_device_grow(ctx, &r->memory, c.at, false, "the search", err));
    TN_TRY(tni_rt_pinned_grow(ctx, &r->pinned, r->state_bytes + left, "the search", err));
    c = (Carver){r->memory.p, r->pinned.p, 0, false};
    carve_all(&c, r, g);
    r->s.left = (int32_t *)(void *)(r->pinned.p + r->state_bytes);
    return TN_OK;
}

/* ---- the beginning ---- */

static void *input_at(const RtFrame *f, uint32_t input) {
    return input == PLAN_NONE ? NULL : f->device->placed[input].data;
}

static bool is_wide(const RtFrame *f, uint32_t input) {
    return input != PLAN_NONE && f->prog->values[f->prog->inputs[input]].dtype == TN_I64;
}

/* The rules, and where the decoder's operands are. */
static void describe(const RtFrame *f, const Gen *g, TnSearch *s) {
    const PlanGeneration *p = &g->g->g;
    s->lines = g->lines;
    s->beams = g->beams;
    s->vocabulary = p->vocab_size;
    s->max_length = g->max_length;
    s->positions = g->positions;
    s->n_keep = g->beams == 1 ? 1 : g->n_keep;
    s->min_new = g->min_new;
    s->no_repeat = p->no_repeat_ngram;
    s->early = g->early;
    s->n_stop = p->n_eos;
    memcpy(s->stop, p->eos_id, sizeof s->stop);
    s->forced_first = p->forced_bos_id;
    s->forced_last = p->forced_eos_id;
    s->repetition = p->repetition_penalty;
    s->length_penalty = g->length_penalty;
    s->logits = f->t[f->prog->outputs[g->g->logits]].data;
    s->tokens = input_at(f, g->g->tokens);
    s->wide_tokens = is_wide(f, g->g->tokens);
    s->position = input_at(f, g->g->positions);
    s->wide_position = is_wide(f, g->g->positions);
    s->where = input_at(f, g->g->where);
    s->lanes = input_at(f, g->g->lanes);
    s->length = input_at(f, g->g->length);
}

static void fill_state(RtDeviceSearch *r, const Gen *g) {
    memset(r->pinned.p, 0, r->state_bytes);
    for (uint32_t i = 0; i < g->lines; i++) {
        r->h.line[i].active = 1;
        for (uint32_t b = 0; b < g->beams; b++) {
            size_t row = (size_t)i * g->beams + b;
            r->h.half[0].tokens[row * g->max_length] = g->g->g.start_id;
            r->h.half[0].n[row] = 1;
            r->h.half[0].score[row] = b == 0 ? 0 : TNS_NEVER;
        }
    }
}

/* ---- the loop ---- */

static TnStatus wait_mark(TnContext *ctx, TnMark *m, TnError *err) {
    const uint64_t began = tni_now_ns();
    bool done = false;
    for (uint32_t turn = 1; !done; turn++) {
        TN_TRY(library(ctx)->mark_done(m, &done, err));
        if (!done && turn % 1024 == 0 && tni_now_ns() - began > 100000000u) /* unusual: it may be for ever, which the next finds out */
            return tni_rt_device_wait(ctx, err);
    }
    return TN_OK;
}

static TnStatus launch_all(TnContext *ctx, RtFrame *f, RtDeviceSearch *r, uint32_t steps, TnError *err) {
    for (uint32_t at = 0; at < steps; at++) {
        TN_TRY(tni_rt_device_run_frame(ctx, f, err));
        TN_TRY(library(ctx)->mark_set(r->mark[at % AHEAD], ctx->device->stream, err));
        if (at + 1 < AHEAD)
            continue;
        uint32_t past = at + 1 - AHEAD;
        TN_TRY(wait_mark(ctx, r->mark[past % AHEAD], err));
        if (r->s.left[past] == 0)
            break;
    }
    return TN_OK;
}

static TnStatus prepare(TnContext *ctx, RtDeviceSearch **out, TnError *err) {
    if (!ctx->device->search) {
        ctx->device->search = tni_arena_calloc(ctx->mem, 1, sizeof *ctx->device->search);
        if (!ctx->device->search)
            return TN_OOM(err, sizeof *ctx->device->search);
    }
    RtDeviceSearch *r = *out = ctx->device->search;
    for (uint32_t i = 0; i < AHEAD; i++)
        if (!r->mark[i])
            TN_TRY(library(ctx)->mark_create(ctx->plan->device->dev, false, &r->mark[i], err));
    return TN_OK;
}

/* The program that a frame runs, with the step of the search behind it (device_run.c). */
TnStatus tni_rt_device_search_step(TnContext *ctx, TnError *err) {
    return library(ctx)->search_step(ctx->device->stream, &ctx->device->search->s, err);
}

const void *tni_rt_device_search_key(const TnContext *ctx, size_t *bytes) {
    *bytes = sizeof ctx->device->search->s;
    return &ctx->device->search->s;
}

static void collect(const RtDeviceSearch *r, const Gen *g, TnGenerated *results) {
    uint32_t half = (uint32_t)r->h.at[0] & 1u;
    for (uint32_t i = 0; i < g->lines; i++) {
        const TnSearchLine *l = &r->h.line[i];
        const TnSearchBeams *b = g->beams > 1 && l->n_done ? &r->h.done : &r->h.half[half];
        size_t row = (size_t)i * g->beams + (g->beams > 1 && l->n_done ? (uint32_t)l->order[0] : 0);
        results[i] = (TnGenerated){b->tokens + row * g->max_length, b->log_probs + row * g->max_length, (uint32_t)b->n[row], b->score[row]};
    }
}

TnStatus tni_rt_device_search(TnContext *ctx, Gen *g, TnGenerated *results, TnError *err) {
    RtFrame *f = &ctx->frames[g->g->decoder];
    RtDeviceSearch *r = NULL;
    TN_TRY(prepare(ctx, &r, err));
    TN_TRY(tni_rt_device_finish(ctx, err));
    TN_TRY(take_memory(ctx, r, g, err));
    TN_TRY(tni_rt_gen_begin(ctx, g, f, err)); /* all rows, on the start token */
    describe(f, g, &r->s);
    fill_state(r, g);
    TN_TRY(library(ctx)->to_device(ctx->device->stream, r->memory.p, r->pinned.p, r->state_bytes, err));
    f->device->then = tni_rt_device_search_step;
    TnStatus st = launch_all(ctx, f, r, g->max_length - 1, err);
    f->device->then = NULL;
    if (st == TN_OK)
        st = library(ctx)->to_host(ctx->device->stream, r->pinned.p, r->memory.p, r->state_bytes, err);
    if (st == TN_OK)
        st = tni_rt_device_finish(ctx, err);
    if (st == TN_OK)
        collect(r, g, results);
    return st;
}

void tni_rt_device_search_free(TnContext *ctx) {
    RtDeviceSearch *r = ctx->device->search;
    if (!r)
        return;
    if (r->memory.p)
        library(ctx)->free(ctx->plan->device->dev, r->memory.p);
    if (r->pinned.p)
        library(ctx)->free_host(ctx->plan->device->dev, r->pinned.p);
    for (uint32_t i = 0; i < AHEAD; i++)
        if (r->mark[i])
            library(ctx)->mark_destroy(&r->mark[i]);
    r->memory = r->pinned = (RtBuffer){NULL, 0};
}
