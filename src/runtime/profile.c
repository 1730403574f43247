/* SPDX-License-Identifier: Apache-2.0
 *
 * Times of the steps of program 0. In: a context whose inputs are set. Out: a record a step, with the median over the runs. On a device each step
 * stands between two marks; before the first one the device is given something to do, so that the steps have all been enqueued when their turn
 * comes, and what is measured is the device and not the host. */
#include <stdio.h>
#include <stdlib.h>

#include "runtime/device.h"
#include "runtime/profile.h"

#define BUSY_BYTES ((size_t)256 << 20) /* of one fill: tens of microseconds */
#define STEPS_A_FILL 12u

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device ? ctx->plan->device->lib : NULL;
}

static bool on_device(const RtFrame *f, uint32_t s) {
    return f->prog->rt[s].memory == RT_DEVICE || f->prog->rt[s].transfer;
}

/* ---- called around each step (run.c) ---- */

static TnStatus keep_busy(TnContext *ctx, const RtProfile *p, TnError *err) {
    for (uint32_t k = 0; p->busy && k < p->n / STEPS_A_FILL + 4; k++)
        TN_TRY(library(ctx)->fill(ctx->device->stream, p->busy, 0, BUSY_BYTES, err));
    return TN_OK;
}

TnStatus tni_rt_profile_begin(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    RtProfile *p = ctx->profile;
    if (s == 0) {
        TN_TRY(keep_busy(ctx, p, err));
        p->began = tni_now_ns();
        if (ctx->device)
            TN_TRY(library(ctx)->mark_set(p->first, ctx->device->stream, err));
    }
    if (ctx->device)
        library(ctx)->range(tni_rt_step_name(f, ctx, s));
    if (on_device(f, s))
        return library(ctx)->mark_set(p->mark[2 * s], ctx->device->stream, err);
    p->start[s] = tni_now_ns() - p->began;
    return TN_OK;
}

TnStatus tni_rt_profile_end(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    RtProfile *p = ctx->profile;
    if (ctx->device)
        library(ctx)->range(NULL);
    if (on_device(f, s))
        return library(ctx)->mark_set(p->mark[2 * s + 1], ctx->device->stream, err);
    p->ns[(size_t)s * p->runs + p->run] = tni_now_ns() - p->began - p->start[s];
    return TN_OK;
}

/* ---- after a run ---- */

static TnStatus read_marks(TnContext *ctx, RtProfile *p, TnError *err) {
    const RtFrame *f = &ctx->frames[0];
    for (uint32_t s = 0; s < p->n; s++) {
        double start, ns;
        if (!on_device(f, s))
            continue;
        TN_TRY(library(ctx)->mark_elapsed(p->first, p->mark[2 * s], &start, err));
        TN_TRY(library(ctx)->mark_elapsed(p->mark[2 * s], p->mark[2 * s + 1], &ns, err));
        p->start[s] = (uint64_t)TN_MAX(start, 0.0);
        p->ns[(size_t)s * p->runs + p->run] = (uint64_t)TN_MAX(ns, 0.0);
    }
    return TN_OK;
}

static int by_time(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static size_t add_shapes(char *buf, size_t cap, size_t at, const TnTensor *t, uint32_t n) {
    char one[96];
    for (uint32_t i = 0; i < n && at < cap; i++) {
        if (t[i].dtype == TN_UNDEFINED)
            continue;
        int k = snprintf(buf + at, cap - at, "%s%s", at ? " " : "", tni_shape_str(one, sizeof one, t[i].rank, t[i].dims));
        at += k > 0 ? (size_t)k : 0;
    }
    return TN_MIN(at, cap - 1);
}

static void report(const TnContext *ctx, const RtProfile *p, TnStepProfileFn fn, void *fn_ctx) {
    const RtFrame *f = &ctx->frames[0];
    const Plan *plan = &ctx->plan->p;
    for (uint32_t s = 0; s < p->n; s++) {
        const PlanStep *st = &f->prog->steps[s];
        const RtCall *c = &f->calls[s];
        char shapes[512];
        if (c->skip)
            continue;
        shapes[0] = 0;
        size_t at = add_shapes(shapes, sizeof shapes - 4, 0, c->in, st->n_in);
        at += (size_t)snprintf(shapes + at, sizeof shapes - at, " ->");
        add_shapes(shapes, sizeof shapes, at, c->out, st->n_out);
        uint64_t *ns = p->ns + (size_t)s * p->runs;
        qsort(ns, p->runs, sizeof *ns, by_time);
        TnStepProfile r = {.step = f->prog->g->first_step + s,
                           .node_name = plan->strings + st->name,
                           .op = plan->strings + st->op,
                           .kernel = c->kernel ? c->kernel->name : "",
                           .shapes = shapes,
                           .dtype = st->n_in && c->in[0].dtype != TN_UNDEFINED ? c->in[0].dtype : st->n_out ? c->out[0].dtype : TN_UNDEFINED,
                           .on_device = on_device(f, s),
                           .start_ns = p->start[s],
                           .ns = ns[p->runs / 2]};
        tni_rt_work(plan, f, s, &r.bytes, &r.flops);
        fn(fn_ctx, &r);
    }
}

/* ---- the whole ---- */

static TnStatus make_marks(TnContext *ctx, RtProfile *p, TnError *err) {
    const RtDevice *d = ctx->plan->device;
    void *busy = NULL;
    TN_TRY(d->lib->mark_create(d->dev, true, &p->first, err));
    for (uint32_t i = 0; i < 2 * p->n; i++)
        if (on_device(&ctx->frames[0], i / 2))
            TN_TRY(d->lib->mark_create(d->dev, true, &p->mark[i], err));
    if (d->lib->alloc(d->dev, BUSY_BYTES, &busy, NULL) == TN_OK) /* without it, times of short steps are those of the host */
        p->busy = busy;
    return TN_OK;
}

static void drop_marks(TnContext *ctx, RtProfile *p) {
    const RtDevice *d = ctx->plan->device;
    if (p->first)
        d->lib->mark_destroy(&p->first);
    for (uint32_t i = 0; i < 2 * p->n; i++)
        if (p->mark[i])
            d->lib->mark_destroy(&p->mark[i]);
    if (p->busy)
        d->lib->free(d->dev, p->busy);
}

static TnStatus run_all(TnContext *ctx, RtProfile *p, TnError *err) {
    TN_TRY(tni_rt_run(ctx, err)); /* memory */
    for (p->run = 0; p->run < p->runs; p->run++) {
        ctx->profile = p;
        TnStatus st = tni_rt_run(ctx, err);
        ctx->profile = NULL;
        TN_TRY(st);
        if (ctx->device)
            TN_TRY(tni_rt_device_note(ctx, read_marks(ctx, p, err), err));
    }
    return TN_OK;
}

TnStatus tni_rt_profile(TnContext *ctx, uint32_t runs, TnStepProfileFn fn, void *fn_ctx, TnError *err) {
    RtProfile p = {.n = ctx->frames[0].prog->g->n_steps, .runs = runs};
    if (ctx->plan->gen)
        return TN_RAISE(err, TN_ERR_REQUEST, "a generator's programs run as parts of tn_context_generate; use tn_context_on_step");
    if (ctx->device)
        TN_TRY(tni_rt_device_usable(ctx, err));
    size_t n = (size_t)p.n + 1;
    p.ns = tni_calloc(ctx->alloc, n * runs, sizeof *p.ns);
    p.start = tni_calloc(ctx->alloc, n, sizeof *p.start);
    p.mark = tni_calloc(ctx->alloc, 2 * n, sizeof(TnMark *));
    TnStatus st = p.ns && p.start && p.mark ? TN_OK : TN_OOM(err, n * runs * sizeof *p.ns);
    if (st == TN_OK && ctx->device)
        st = tni_rt_device_note(ctx, make_marks(ctx, &p, err), err);
    if (st == TN_OK)
        st = run_all(ctx, &p, err);
    if (st == TN_OK)
        report(ctx, &p, fn, fn_ctx);
    if (ctx->device && p.mark)
        drop_marks(ctx, &p);
    tni_free(ctx->alloc, p.ns);
    tni_free(ctx->alloc, p.start);
    tni_free(ctx->alloc, p.mark);
    return st;
}
