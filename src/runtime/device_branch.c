/* SPDX-License-Identifier: Apache-2.0
 *
 * Graphs whose steps run beside each other: a program is recorded on up to RT_MOST_LANES streams, joined by marks, so that small kernels which
 * need nothing of each other share the device.
 *
 * Two looks. When a frame is bound for the first time, branch.c finds lanes from the values that steps read and write and from the estimates of
 * their kernels; if that pays, the arena is laid out again, such that values which may be alive at once on different lanes lie apart
 * (otherwise reuse of memory would order the lanes, step by step). When a graph is recorded, waits are found from the addresses: exact, whatever the
 * arena, the caller's buffers or states look like, so that a result never depends on what the first look assumed. What runs step by step
 * runs on one stream, in the order of the plan.
 *
 * Every stream has scratch memory and a fault word of its own. Steps with states or copies between memories stay on the first stream. */
#include <stdlib.h>

#include "runtime/bind.h"
#include "runtime/device.h"

#define MOST_GROWTH 1.75 /* of the arena */
#define LEAST_GAIN 0.03 /* of the estimated time */

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

/* TENON_CUDA_BRANCHES: 0 or 1 keeps graphs on one stream; 2 or 3 streams are used also where the estimates see no gain. Not set: 2, where it
 * pays. */
static void ask(RtDeviceContext *d) {
    const char *wish = getenv("TENON_CUDA_BRANCHES");
    long n = wish && *wish ? strtol(wish, NULL, 10) : 2;
    d->lanes = n < 1 ? 1 : (uint32_t)TN_MIN(n, (long)RT_MOST_LANES);
    d->lanes_always = wish && n > 1;
}

/* ---- what takes part ---- */

/* Is enqueued when the program is recorded. */
static bool takes_part(const RtFrame *f, uint32_t s) {
    const RtStep *rt = &f->prog->rt[s];
    if (rt->kept || rt->from_input || f->calls[s].skip)
        return false;
    return rt->transfer || rt->memory == RT_DEVICE;
}

static bool is_possible(const TnContext *ctx, const RtFrame *f) {
    const RtProgram *r = f->prog;
    if (ctx->device->lanes < 2 || !r->graph || r->dynamic || f->device->then || r->g->n_steps > RT_MOST_BRANCHED)
        return false;
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        if (r->rt[s].memory == RT_DEVICE && (r->rt[s].late || r->rt[s].control || (tni_op_info(r->rt[s].op)->flags & TN_OPF_DATA_SHAPE)))
            return false;
    return true;
}

/* The steps that take part; accesses are still missing. */
static TnStatus collect(const TnContext *ctx, const RtFrame *f, RtBranches **out, uint32_t *step, TnError *err) {
    const RtProgram *r = f->prog;
    uint32_t n = 0, most = 0;
    for (uint32_t s = 0; s < r->g->n_steps; s++) {
        if (!takes_part(f, s))
            continue;
        if (step)
            step[n] = s;
        n++;
        most += r->steps[s].n_in + r->steps[s].n_out;
    }
    return tni_rt_branches_create(ctx->alloc, n, most, out, err);
}

/* An operand that the step may write: results, and what is updated in place. */
static bool is_written(const RtFrame *f, uint32_t s, bool is_output) {
    return is_output || (tni_op_info(f->prog->rt[s].op)->flags & TN_OPF_STATE);
}

/* ---- the first look: values ---- */

/* Values that nobody writes while the graph runs conflict with nothing; all others are one unit a root. */
static void touch_values(const TnContext *ctx, const RtFrame *f, RtBranches *b, uint32_t k, uint32_t s) {
    const PlanStep *st = &f->prog->steps[s];
    const uint32_t *ops = ctx->plan->p.operands;
    for (uint32_t i = 0; i < st->n_in + st->n_out; i++) {
        uint32_t id = i < st->n_in ? ops[st->first_in + i] : ops[st->first_out + i - st->n_in];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = tni_rt_root(f, id), place = f->prog->values[root].place;
        if (place == PLAN_AT_WEIGHT || place == PLAN_AT_PACKED || f->prog->kept[root])
            continue;
        tni_rt_branch_touch(b, k, (const void *)((uintptr_t)root + 1), 1, is_written(f, s, i >= st->n_in));
    }
}

/* When slots are born, and who touches them last on each lane. */
static void find_lives(const RtFrame *f, const RtBranches *b, RtBranching *br) {
    const RtLayout *l = &f->arena[RT_DEVICE];
    for (uint32_t i = 0; i < l->n; i++)
        br->birth[i] = PLAN_NONE;
    for (uint32_t k = 0; k < b->n; k++) {
        for (uint32_t a = 0; a < b->steps[k].n; a++) {
            uint32_t id = (uint32_t)(b->accesses[b->steps[k].first + a].from - 1), lo = 0, hi = l->n;
            while (hi - lo > 1) { /* l->value ascends */
                uint32_t mid = lo + (hi - lo) / 2;
                if (l->value[mid] <= id)
                    lo = mid;
                else
                    hi = mid;
            }
            if (l->n == 0 || l->value[lo] != id)
                continue;
            if (br->birth[lo] == PLAN_NONE)
                br->birth[lo] = k;
            br->done[lo][b->lane[k]] = k + 1;
        }
    }
}

/* Slots i and j are never alive at once: one is done with before the other is born, whatever the lanes do meanwhile. */
static bool is_before(const RtBranching *br, uint32_t i, uint32_t j) {
    if (br->birth[i] == PLAN_NONE || br->birth[j] == PLAN_NONE)
        return false;
    for (uint32_t k = 0; k < RT_MOST_LANES; k++)
        if (br->done[i][k] > br->b->known[br->birth[j]][k])
            return false;
    return true;
}

static bool are_apart(const void *ctx, uint32_t i, uint32_t j) {
    return is_before(ctx, i, j) || is_before(ctx, j, i);
}

bool tni_rt_branch_arena(const RtFrame *f, RtLayout *l, uint64_t *total) {
    const RtBranching *br = &f->device->branching;
    uint64_t bound;
    return tni_plan_arena_apart(l->n, f->prog->g->n_steps, l->bytes, l->first, l->last, br->b ? are_apart : NULL, br, true, l->scratch,
                                l->offset, total, &bound);
}

static void give_up(const TnContext *ctx, RtBranching *br) {
    tni_rt_branches_destroy(ctx->alloc, &br->b);
    tni_free(ctx->alloc, br->step);
    tni_free(ctx->alloc, br->done);
    tni_free(ctx->alloc, br->birth);
    *br = (RtBranching){.tried = true};
}

void tni_rt_branch_free_frame(TnContext *ctx, RtFrame *f) {
    give_up(ctx, &f->device->branching);
}

static TnStatus find_branches(TnContext *ctx, RtFrame *f, TnError *err) {
    RtBranching *br = &f->device->branching;
    size_t n = (size_t)f->prog->g->n_steps + 1, slots = (size_t)f->arena[RT_DEVICE].n + 1;
    br->step = tni_calloc(ctx->alloc, n, sizeof *br->step);
    br->done = tni_calloc(ctx->alloc, slots, sizeof *br->done);
    br->birth = tni_calloc(ctx->alloc, slots, sizeof *br->birth);
    if (!br->step || !br->done || !br->birth)
        return TN_OOM(err, n * sizeof *br->step);
    TN_TRY(collect(ctx, f, &br->b, br->step, err));
    for (uint32_t k = 0; k < br->b->n; k++) {
        uint32_t s = br->step[k];
        const RtStep *rt = &f->prog->rt[s];
        br->b->steps[k].first_lane = rt->transfer || (tni_op_info(rt->op)->flags & TN_OPF_STATE);
        br->b->steps[k].ns = tni_rt_step_ns(ctx, f, s);
        touch_values(ctx, f, br->b, k, s);
    }
    TN_TRY(tni_rt_branch_assign(br->b, ctx->device->lanes, ctx->alloc, err));
    find_lives(f, br->b, br);
    return TN_OK;
}

/* Lays the arena out for the lanes, unless it grows too much: then it is left as it was. */
static TnStatus lay_out(TnContext *ctx, RtFrame *f, bool *done, uint64_t *wanted, TnError *err) {
    RtBranching *br = &f->device->branching;
    RtLayout *l = &f->arena[RT_DEVICE];
    uint64_t total = 0, was = l->total, *offset = tni_calloc(ctx->alloc, (size_t)l->n + 1, sizeof *offset);
    if (!offset)
        return TN_OOM(err, ((size_t)l->n + 1) * sizeof *offset);
    memcpy(offset, l->offset, l->n * sizeof *offset);
    *done = tni_rt_branch_arena(f, l, &total) && (double)total <= MOST_GROWTH * (double)was;
    *wanted = total;
    if (*done) {
        br->chain_bytes = was;
        l->total = total;
        ctx->device->epoch++;
    } else {
        memcpy(l->offset, offset, l->n * sizeof *offset);
        give_up(ctx, br);
    }
    tni_free(ctx->alloc, offset);
    return TN_OK;
}

TnStatus tni_rt_branch_plan(TnContext *ctx, RtFrame *f, bool *again, TnError *err) {
    RtBranching *br = &f->device->branching;
    const char *name = ctx->plan->p.strings + f->prog->g->name;
    *again = false;
    if (br->tried)
        return TN_OK;
    br->tried = true;
    if (!ctx->device->lanes)
        ask(ctx->device);
    if (!is_possible(ctx, f))
        return TN_OK;
    TnStatus st = find_branches(ctx, f, err);
    if (st != TN_OK || br->b->n_beside == 0) {
        give_up(ctx, br);
        return st;
    }
    RtBranches b = *br->b;
    uint64_t was = f->arena[RT_DEVICE].total, wanted = 0;
    TN_TRY(lay_out(ctx, f, again, &wanted, err));
    if (*again)
        tni_log(&ctx->plan->log, TN_LOG_DEBUG,
                "program '%s': %u of %u steps beside the others, %u waits, estimated %.0f us instead of %.0f us; arena %llu bytes instead of %llu",
                name, b.n_beside, b.n, b.n_waits, b.beside_ns / 1e3, b.chain_ns / 1e3, (unsigned long long)wanted, (unsigned long long)was);
    else
        tni_log(&ctx->plan->log, TN_LOG_DEBUG, "program '%s' stays on one stream: branches would need an arena of %llu bytes instead of %llu", name,
                (unsigned long long)wanted, (unsigned long long)was);
    return TN_OK;
}

/* ---- the second look: addresses ---- */

static void touch_addresses(const RtFrame *f, RtBranches *b, uint32_t k, uint32_t s) {
    const PlanStep *st = &f->prog->steps[s];
    const RtCall *c = &f->calls[s];
    for (uint32_t i = 0; i < st->n_in + st->n_out; i++) {
        const TnTensor *t = i < st->n_in ? &c->in[i] : &c->out[i - st->n_in];
        if (t->dtype != TN_UNDEFINED)
            tni_rt_branch_touch(b, k, t->data, tn_tensor_bytes(t), is_written(f, s, i >= st->n_in));
    }
}

/* The same steps take part as in the first look; which of them are views may depend on shapes. */
static bool are_same(const RtFrame *f) {
    const RtBranching *br = &f->device->branching;
    uint32_t n = 0;
    for (uint32_t s = 0; s < f->prog->g->n_steps; s++)
        if (takes_part(f, s) && (n == br->b->n || br->step[n++] != s))
            return false;
    return n == br->b->n;
}

/* Waits between the lanes of the first look, and what these shapes gain. */
static TnStatus find_waits(TnContext *ctx, RtFrame *f, RtBranches **out, TnError *err) {
    const RtBranching *br = &f->device->branching;
    TN_TRY(collect(ctx, f, out, NULL, err));
    RtBranches *b = *out;
    for (uint32_t k = 0; k < b->n; k++) {
        b->lane[k] = br->b->lane[k];
        b->steps[k].ns = tni_rt_step_ns(ctx, f, br->step[k]);
        touch_addresses(f, b, k, br->step[k]);
    }
    return tni_rt_branch_assign(b, 0, ctx->alloc, err);
}

static TnStatus make_sides(TnContext *ctx, const RtFrame *f, const RtBranches *b, TnError *err) {
    RtDeviceContext *d = ctx->device;
    uint32_t lanes = 1, marks = 2; /* the beginning; the end */
    for (uint32_t k = 0; k < b->n; k++) {
        lanes = TN_MAX(lanes, b->lane[k] + 1u);
        marks += b->told[k];
    }
    for (uint32_t k = 1; k < lanes; k++) {
        bool fresh = !d->side[k].scratch.p;
        uint64_t epoch = d->epoch;
        if (!d->side[k].stream)
            TN_TRY(library(ctx)->stream_create(ctx->plan->device->dev, &d->side[k].stream, err));
        TN_TRY(tni_rt_device_grow(ctx, &d->side[k].scratch, TN_MAX(f->scratch[RT_DEVICE], (size_t)PLAN_ALIGN), false, "scratch", err));
        if (fresh)
            d->epoch = epoch; /* no graph knows the address */
    }
    if (!d->marks) {
        d->marks = tni_calloc(ctx->alloc, RT_MOST_BRANCHED + 2u, sizeof(TnMark *));
        if (!d->marks)
            return TN_OOM(err, (RT_MOST_BRANCHED + 2u) * sizeof(TnMark *));
    }
    for (; d->n_marks < marks; d->n_marks++)
        TN_TRY(library(ctx)->mark_create(ctx->plan->device->dev, false, &d->marks[d->n_marks], err));
    return TN_OK;
}

TnStatus tni_rt_branch_begin(TnContext *ctx, RtFrame *f, TnError *err) {
    RtDeviceContext *d = ctx->device;
    RtBranches *b = NULL;
    if (!f->device->branching.b || d->lanes < 2 || f->device->then || !are_same(f))
        return TN_OK;
    TnStatus st = find_waits(ctx, f, &b, err);
    if (st == TN_OK && b->n_beside > 0 && (d->lanes_always || b->beside_ns < b->chain_ns * (1 - LEAST_GAIN)))
        st = make_sides(ctx, f, b, err);
    else if (b)
        b->n_beside = 0;
    if (st != TN_OK || b->n_beside == 0) {
        tni_rt_branches_destroy(ctx->alloc, &b);
        return st;
    }
    d->recording = b;
    d->at = 0;
    return TN_OK;
}

/* ---- while recording ---- */

/* Marks of told steps follow the first, which is the beginning. */
static TnMark *mark_of(const RtDeviceContext *d, uint32_t k) {
    uint32_t at = 1;
    for (uint32_t i = 0; i < k; i++)
        at += d->recording->told[i];
    return d->marks[at];
}

static TnStream *stream_of(const RtDeviceContext *d, uint32_t lane) {
    return lane ? d->side[lane].stream : d->own;
}

TnStatus tni_rt_branch_enter(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    RtDeviceContext *d = ctx->device;
    const RtBranches *b = d->recording;
    uint32_t k = d->at;
    if (!b || !takes_part(f, s))
        return TN_OK;
    uint32_t lane = b->lane[k];
    TnStream *stream = stream_of(d, lane);
    bool waits = false, begun = lane == 0;
    if (k == 0) /* where a stream begins that waits for nothing else */
        TN_TRY(library(ctx)->mark_set(d->marks[0], d->own, err));
    for (uint32_t o = 0; o < RT_MOST_LANES; o++)
        waits = waits || b->waits[k][o];
    for (uint32_t i = 0; i < k && !begun; i++)
        begun = b->lane[i] == lane;
    if (!begun && !waits)
        TN_TRY(library(ctx)->mark_wait(d->marks[0], stream, err));
    for (uint32_t o = 0; o < RT_MOST_LANES; o++)
        if (b->waits[k][o])
            TN_TRY(library(ctx)->mark_wait(mark_of(d, b->waits[k][o] - 1), stream, err));
    d->stream = stream;
    d->scratch = lane ? &d->side[lane].scratch : NULL;
    return TN_OK;
}

TnStatus tni_rt_branch_leave(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    RtDeviceContext *d = ctx->device;
    if (!d->recording || !takes_part(f, s))
        return TN_OK;
    uint32_t k = d->at++;
    TnStatus st = d->recording->told[k] ? library(ctx)->mark_set(mark_of(d, k), d->stream, err) : TN_OK;
    d->stream = d->own;
    d->scratch = NULL;
    return st;
}

TnStatus tni_rt_branch_join(TnContext *ctx, TnError *err) {
    RtDeviceContext *d = ctx->device;
    const RtBranches *b = d->recording;
    for (uint32_t o = 1; b && o < RT_MOST_LANES; o++)
        if (b->waits[b->n][o])
            TN_TRY(library(ctx)->mark_wait(mark_of(d, b->waits[b->n][o] - 1), d->own, err));
    return TN_OK;
}

void tni_rt_branch_end(TnContext *ctx) {
    RtDeviceContext *d = ctx->device;
    tni_rt_branches_destroy(ctx->alloc, &d->recording);
    d->scratch = NULL;
}

void tni_rt_branch_free(TnContext *ctx) {
    RtDeviceContext *d = ctx->device;
    for (uint32_t i = 0; i < d->n_marks; i++)
        library(ctx)->mark_destroy(&d->marks[i]);
    tni_free(ctx->alloc, d->marks);
    d->marks = NULL;
    d->n_marks = 0;
    for (uint32_t k = 1; k < RT_MOST_LANES; k++)
        if (d->side[k].stream)
            library(ctx)->stream_destroy(&d->side[k].stream);
}
