/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at single steps on a device: the step hook sees outputs in host memory and the time that the step took there; the step that met an
 * index out of range is found by running again, step by step. What runs and where tensors lie is the same as ever. */
#include "runtime/bind.h"
#include "runtime/device.h"

enum { MAX_OUT = 512 }; /* of any operator (kernel/ops.inc) */

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

TnStatus tni_rt_device_watch_begin(TnContext *ctx, TnError *err) {
    return tni_rt_device_note(ctx, library(ctx)->mark_set(ctx->device->from, ctx->device->stream, err), err);
}

/* Outputs of step s where the host can read them; f->t is as before when the hook has been called. */
static TnStatus show(TnContext *ctx, RtFrame *f, uint32_t s, uint64_t ns, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const uint32_t *ops = ctx->plan->p.operands;
    size_t bytes = 0, at = 0;
    for (uint32_t i = 0; i < st->n_out; i++)
        if (ops[st->first_out + i] != PLAN_NONE && f->prog->values[ops[st->first_out + i]].device)
            bytes += tni_align_up((size_t)f->bytes[ops[st->first_out + i]], RT_DEVICE_ALIGN) + RT_DEVICE_ALIGN;
    TN_TRY(tni_rt_pinned_grow(ctx, &ctx->device->watch, bytes, "looking at steps", err));
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id == PLAN_NONE || !f->prog->values[id].device)
            continue;
        if (f->bytes[id])
            TN_TRY(library(ctx)->to_host(ctx->device->stream, ctx->device->watch.p + at, f->t[id].data, (size_t)f->bytes[id], err));
        at += tni_align_up((size_t)f->bytes[id], RT_DEVICE_ALIGN) + RT_DEVICE_ALIGN;
    }
    TN_TRY(tni_rt_device_wait(ctx, err));
    void *bound[MAX_OUT] = {NULL};
    at = 0;
    for (uint32_t i = 0; i < st->n_out && i < MAX_OUT; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id == PLAN_NONE || !f->prog->values[id].device)
            continue;
        bound[i] = f->t[id].data;
        f->t[id].data = ctx->device->watch.p + at;
        at += tni_align_up((size_t)f->bytes[id], RT_DEVICE_ALIGN) + RT_DEVICE_ALIGN;
    }
    tni_rt_show_step(ctx, f, s, ns);
    for (uint32_t i = 0; i < st->n_out && i < MAX_OUT; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id != PLAN_NONE && f->prog->values[id].device)
            f->t[id].data = bound[i];
    }
    return TN_OK;
}

static TnStatus raise_fault(const TnContext *ctx, const RtFrame *f, uint32_t s, int64_t index, int64_t limit, TnError *err) {
    return tni_rt_name_step(ctx, f, s,
                            TN_RAISE(err, TN_ERR_RUN, "index %lld is out of range: it must be from %lld to %lld", (long long)index,
                                     -(long long)limit, (long long)limit - 1),
                            err);
}

TnStatus tni_rt_device_watch_end(TnContext *ctx, RtFrame *f, uint32_t s, uint64_t host_ns, TnError *err) {
    RtDeviceContext *d = ctx->device;
    bool fault, on_device = f->prog->rt[s].memory == RT_DEVICE || f->prog->rt[s].transfer;
    int64_t index = 0, limit = 0;
    double ns = 0;
    TN_TRY(tni_rt_device_note(ctx, library(ctx)->mark_set(d->to, d->stream, err), err));
    TN_TRY(tni_rt_device_wait(ctx, err));
    TN_TRY(tni_rt_device_fault(ctx, &fault, &index, &limit, err));
    if (fault)
        return raise_fault(ctx, f, s, index, limit, err);
    if (!ctx->on_step)
        return TN_OK;
    if (on_device)
        TN_TRY(tni_rt_device_note(ctx, library(ctx)->mark_elapsed(d->from, d->to, &ns, err), err));
    return show(ctx, f, s, on_device ? (uint64_t)ns : host_ns, err);
}

TnStatus tni_rt_device_name_fault(TnContext *ctx, RtFrame *f, int64_t index, int64_t limit, TnError *err) {
    RtDeviceContext *d = ctx->device;
    TnStepFn on_step = ctx->on_step;
    ctx->on_step = NULL;
    d->naming = true;
    TnStatus st = tni_rt_run_frame(ctx, f, err);
    d->naming = false;
    ctx->on_step = on_step;
    if (st != TN_OK)
        return tni_rt_device_note(ctx, st, err);
    return TN_RAISE(err, TN_ERR_RUN, "index %lld is out of range: it must be from %lld to %lld (in one of the steps that gather or scatter)",
                    (long long)index, -(long long)limit, (long long)limit - 1);
}
