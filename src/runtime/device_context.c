/* SPDX-License-Identifier: Apache-2.0
 *
 * What a context has on a device: stream, memory, marks; and how failures of the device are kept to the context that met them. */
#include <stdio.h>

#include "backend/device.h"
#include "runtime/bind.h"
#include "runtime/device.h"

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

/* ---- failures ---- */

TnStatus tni_rt_device_usable(const TnContext *ctx, TnError *err) {
    if (!ctx->device->lost)
        return TN_OK;
    return TN_RAISE(err, TN_ERR_DEVICE, "this context cannot be used any more since the device failed (%s); destroy it and make another",
                    ctx->device->why);
}

TnStatus tni_rt_device_note(TnContext *ctx, TnStatus st, const TnError *err) {
    RtDeviceContext *d = ctx->device;
    if (st == TN_ERR_DEVICE && !d->lost) {
        d->lost = true;
        snprintf(d->why, sizeof d->why, "%.500s", err ? err->message : "no details");
    }
    return st;
}

/* ---- waiting ---- */

/* Notes that step s has been enqueued, so that one that hangs can be named. */
TnStatus tni_rt_device_trail(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    RtDeviceContext *d = ctx->device;
    if (f->calls[s].skip || d->n_trail == ctx->plan->p.n_steps)
        return TN_OK;
    RtTrail *t = &d->trail[d->n_trail];
    if (!t->mark)
        TN_TRY(library(ctx)->mark_create(ctx->plan->device->dev, false, &t->mark, err));
    t->frame = f;
    t->step = s;
    TN_TRY(library(ctx)->mark_set(t->mark, d->stream, err));
    d->n_trail++;
    return TN_OK;
}

/* What hangs is the first step of the trail that is not done, or something enqueued later. */
static TnStatus name_hung(const TnContext *ctx, TnError *err) {
    const RtDeviceContext *d = ctx->device;
    for (uint32_t i = 0; i < d->n_trail; i++) {
        const RtTrail *t = &d->trail[i];
        bool done = false;
        if (library(ctx)->mark_done(t->mark, &done, NULL) != TN_OK || done)
            continue;
        const TnKernel *k = t->frame->calls[t->step].kernel;
        if (k)
            tni_error_prefix(err, TN_ERR_DEVICE, "kernel %s", k->name);
        return tni_rt_name_step(ctx, t->frame, t->step, TN_ERR_DEVICE, err);
    }
    return d->pending ? tni_error_prefix(err, TN_ERR_DEVICE, "program '%s'", ctx->plan->p.strings + d->pending->prog->g->name) : TN_ERR_DEVICE;
}

/* On a stream of the caller's there may be work that is none of ours and takes as long as it likes. */
TnStatus tni_rt_device_wait(TnContext *ctx, TnError *err) {
    RtDeviceContext *d = ctx->device;
    bool hung = false;
    TnStatus st = d->users ? library(ctx)->synchronize(d->stream, err) : tni_device_wait(library(ctx), d->stream, &hung, err);
    if (hung) {
        st = name_hung(ctx, err);
        library(ctx)->give_up(ctx->plan->device->dev);
    }
    d->n_trail = 0;
    return tni_rt_device_note(ctx, st, err);
}

/* Kernels note faults in the stream that they were enqueued on; those of a graph in the one it was captured on. */
TnStatus tni_rt_device_fault(TnContext *ctx, bool *fault, int64_t *index, int64_t *limit, TnError *err) {
    const RtDeviceContext *d = ctx->device;
    *fault = false;
    TnStatus st = library(ctx)->take_fault(d->own, fault, index, limit, err);
    if (st == TN_OK && !*fault && d->users)
        st = library(ctx)->take_fault(d->users, fault, index, limit, err);
    for (uint32_t k = 1; k < RT_MOST_LANES && st == TN_OK; k++) { /* all of them: none may be left for the next run */
        bool other = false;
        int64_t i = 0, n = 0;
        if (d->side[k].stream)
            st = library(ctx)->take_fault(d->side[k].stream, &other, &i, &n, err);
        if (other && !*fault) {
            *fault = true;
            *index = i;
            *limit = n;
        }
    }
    return tni_rt_device_note(ctx, st, err);
}

/* ---- memory ---- */

TnStatus tni_rt_device_grow(TnContext *ctx, RtBuffer *b, size_t bytes, bool zero, const char *what, TnError *err) {
    const RtDevice *d = ctx->plan->device;
    void *p = NULL;
    if (bytes <= b->cap)
        return TN_OK;
    ctx->device->epoch++;
    if (b->p) { /* it may be in use */
        TN_TRY(tni_rt_device_wait(ctx, err));
        d->lib->free(d->dev, b->p);
    }
    *b = (RtBuffer){NULL, 0};
    TnStatus st = d->lib->alloc(d->dev, bytes, &p, err);
    if (st != TN_OK) {
        tni_error_prefix(err, st, "%zu bytes for %s on %s", bytes, what, d->info.name);
        return tni_rt_device_note(ctx, st, err);
    }
    *b = (RtBuffer){p, bytes};
    return zero ? tni_rt_device_note(ctx, d->lib->fill(ctx->device->stream, p, 0, bytes, err), err) : TN_OK;
}

TnStatus tni_rt_pinned_grow(TnContext *ctx, RtBuffer *b, size_t bytes, const char *what, TnError *err) {
    const RtDevice *d = ctx->plan->device;
    void *p = NULL;
    if (bytes <= b->cap)
        return TN_OK;
    if (b->p) {
        TN_TRY(tni_rt_device_wait(ctx, err));
        d->lib->free_host(d->dev, b->p);
    }
    *b = (RtBuffer){NULL, 0};
    TnStatus st = d->lib->alloc_host(d->dev, bytes, &p, err);
    if (st != TN_OK) {
        tni_error_prefix(err, st, "%zu bytes of pinned memory for %s", bytes, what);
        return tni_rt_device_note(ctx, st, err);
    }
    *b = (RtBuffer){p, bytes};
    return TN_OK;
}

static void give_device(const TnContext *ctx, RtBuffer *b) {
    if (b->p)
        library(ctx)->free(ctx->plan->device->dev, b->p);
    *b = (RtBuffer){NULL, 0};
}

static void give_pinned(const TnContext *ctx, RtBuffer *b) {
    if (b->p)
        library(ctx)->free_host(ctx->plan->device->dev, b->p);
    *b = (RtBuffer){NULL, 0};
}

size_t tni_rt_device_bytes(const TnContext *ctx) {
    size_t n = ctx->arena[RT_DEVICE].cap + ctx->scratch[RT_DEVICE].cap;
    for (uint32_t k = 1; k < RT_MOST_LANES; k++)
        n += ctx->device->side[k].scratch.cap;
    for (uint32_t i = 0; i < ctx->plan->p.n_programs; i++)
        n += ctx->frames[i].arena[RT_DEVICE].own.cap + ctx->frames[i].kept[RT_DEVICE].cap + ctx->frames[i].device->in_device.cap;
    for (uint32_t i = 0; i < ctx->plan->p.n_states; i++)
        n += ctx->states[i].memory == RT_DEVICE ? ctx->states[i].buf.cap : 0;
    for (uint32_t i = 0; i < ctx->n_pool; i++)
        n += ctx->pool[i].memory == RT_DEVICE ? ctx->pool[i].cap : 0;
    return n;
}

/* ---- life ---- */

#define TAKE(p, n)                                                                                                                         \
    do {                                                                                                                                   \
        (p) = tni_arena_calloc(ctx->mem, (size_t)(n) + 1, sizeof *(p));                                                                    \
        if (!(p))                                                                                                                          \
            return TN_OOM(err, ((size_t)(n) + 1) * sizeof *(p));                                                                           \
    } while (0)

TnStatus tni_rt_device_context(TnContext *ctx, TnError *err) {
    const RtDevice *dev = ctx->plan->device;
    TAKE(ctx->device, 1);
    RtDeviceContext *d = ctx->device;
    TAKE(d->wanted, ctx->plan->p.programs[0].n_outputs);
    TAKE(d->trail, ctx->plan->p.n_steps);
    TN_TRY(dev->lib->stream_create(dev->dev, &d->own, err));
    d->stream = d->own;
    d->epoch = 1;
    TN_TRY(dev->lib->mark_create(dev->dev, true, &d->from, err));
    return dev->lib->mark_create(dev->dev, true, &d->to, err);
}

TnStatus tni_rt_device_frame(TnContext *ctx, RtFrame *f, TnError *err) {
    const RtProgram *r = f->prog;
    TAKE(f->device, 1);
    TAKE(f->device->in_at, r->g->n_inputs);
    TAKE(f->device->placed, r->g->n_inputs);
    TAKE(f->device->on_host, r->g->n_inputs);
    TAKE(f->device->stage_at, r->n_stages);
    TAKE(f->device->out_at, r->g->n_outputs);
    for (uint32_t i = 0; i < r->g->n_outputs; i++)
        f->device->out_at[i] = UINT64_MAX;
    return TN_OK;
}

static void free_frame(TnContext *ctx, RtFrame *f) {
    give_device(ctx, &f->arena[RT_DEVICE].own);
    give_device(ctx, &f->kept[RT_DEVICE]);
    if (!f->device)
        return;
    tni_rt_device_graphs_free(ctx, f);
    tni_rt_branch_free_frame(ctx, f);
    give_device(ctx, &f->device->in_device);
    give_pinned(ctx, &f->device->in_pinned);
    give_pinned(ctx, &f->device->stage);
    give_pinned(ctx, &f->device->out_pinned);
}

void tni_rt_device_context_destroy(TnContext *ctx) {
    RtDeviceContext *d = ctx->device;
    const TnDeviceLibrary *lib = library(ctx);
    if (d->stream)
        tni_rt_device_wait(ctx, NULL); /* nothing that is given back is in use; failures have no one to hear them */
    for (uint32_t i = 0; ctx->frames && i < ctx->plan->p.n_programs; i++)
        free_frame(ctx, &ctx->frames[i]);
    for (uint32_t i = 0; ctx->states && i < ctx->plan->p.n_states; i++)
        if (ctx->states[i].memory == RT_DEVICE)
            give_device(ctx, &ctx->states[i].buf);
    for (uint32_t i = 0; i < ctx->n_pool; i++) {
        RtBuffer b = {ctx->pool[i].p, ctx->pool[i].cap};
        if (ctx->pool[i].memory == RT_DEVICE) {
            give_device(ctx, &b);
            ctx->pool[i].p = NULL;
        }
    }
    give_device(ctx, &ctx->arena[RT_DEVICE]);
    give_device(ctx, &ctx->scratch[RT_DEVICE]);
    for (uint32_t k = 1; k < RT_MOST_LANES; k++)
        give_device(ctx, &d->side[k].scratch);
    tni_rt_branch_free(ctx);
    give_pinned(ctx, &d->watch);
    tni_rt_device_search_free(ctx);
    tni_free(ctx->alloc, d->key.p);
    for (uint32_t i = 0; d->trail && i < ctx->plan->p.n_steps; i++)
        if (d->trail[i].mark)
            lib->mark_destroy(&d->trail[i].mark);
    if (d->from)
        lib->mark_destroy(&d->from);
    if (d->to)
        lib->mark_destroy(&d->to);
    if (d->users)
        lib->stream_destroy(&d->users);
    if (d->own)
        lib->stream_destroy(&d->own);
    ctx->device = NULL;
}

/* A stream of the caller's (NULL: the context's own again). Graphs stay: they are captured on the context's own. */
TnStatus tni_rt_device_set_stream(TnContext *ctx, void *stream, TnError *err) {
    RtDeviceContext *d = ctx->device;
    TnStream *wrapped = NULL;
    TN_TRY(tni_rt_device_usable(ctx, err));
    TN_TRY(tni_rt_device_finish(ctx, err));
    TN_TRY(tni_rt_device_wait(ctx, err));
    if (stream)
        TN_TRY(library(ctx)->stream_wrap(ctx->plan->device->dev, stream, &wrapped, err));
    if (d->users)
        library(ctx)->stream_destroy(&d->users);
    d->users = wrapped;
    d->stream = wrapped ? wrapped : d->own;
    return TN_OK;
}
