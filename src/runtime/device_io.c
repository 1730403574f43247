/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors that come from the caller and go to the caller. Inputs in host memory that the program wants on the device are packed into one
 * pinned block and copied to one block of the device, whose addresses stay (graphs know them); large ones in pieces, so that packing and
 * copying overlap. Outputs on the device that the caller wants on the host come through a pinned block, from which they are handed out. */
#include "runtime/device.h"

#define PIECE ((size_t)4 << 20)       /* bytes packed before they are sent */
#define PACK_TASK ((size_t)256 << 10) /* bytes a thread packs at a time */

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

static const char *name_of(const TnContext *ctx, const RtFrame *f, uint32_t id) {
    return ctx->plan->p.strings + f->prog->values[id].name;
}

/* ---- inputs ---- */

/* Offsets of inputs that lie in the other memory; those for the device stand first. */
static TnStatus lay_out_inputs(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const uint8_t *on_device, size_t *pinned, TnError *err) {
    RtDeviceFrame *d = f->device;
    size_t at = 0, bytes;
    for (uint32_t memory = 0; memory < RT_MEMORIES; memory++) {
        for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
            uint32_t id = f->prog->inputs[i];
            bool want = f->prog->values[id].device != 0, have = on_device && on_device[i];
            if (memory == 0)
                d->in_at[i] = UINT64_MAX;
            if (want == have || want != (memory == 0))
                continue;
            if (inputs[i].rank < 0 || inputs[i].rank > TN_MAX_RANK ||
                !tni_shape_bytes(inputs[i].dtype, inputs[i].rank, inputs[i].dims, NULL, &bytes) || bytes > PTRDIFF_MAX / 2 - at)
                return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' has a shape that no tensor has", name_of(ctx, f, id));
            d->in_at[i] = at;
            at = tni_align_up(at + TN_MAX(bytes, (size_t)1), RT_DEVICE_ALIGN);
        }
        if (memory == 0)
            d->in_bytes = at;
    }
    *pinned = at;
    return TN_OK;
}

TnStatus tni_rt_device_place(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const uint8_t *on_device, TnError *err) {
    RtDeviceFrame *d = f->device;
    size_t pinned = 0;
    bool wait = false;
    TN_TRY(lay_out_inputs(ctx, f, inputs, on_device, &pinned, err));
    TN_TRY(tni_rt_pinned_grow(ctx, &d->in_pinned, pinned, "inputs", err));
    TN_TRY(tni_rt_device_grow(ctx, &d->in_device, d->in_bytes, false, "inputs", err));
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        d->placed[i] = inputs[i];
        d->on_host[i] = on_device && on_device[i] ? NULL : inputs[i].data;
        if (d->in_at[i] == UINT64_MAX)
            continue;
        if (f->prog->values[f->prog->inputs[i]].device) {
            d->placed[i].data = d->in_device.p + d->in_at[i];
            continue;
        }
        d->placed[i].data = d->in_pinned.p + d->in_at[i];
        size_t bytes = tn_tensor_bytes(&inputs[i]);
        if (bytes)
            TN_TRY(library(ctx)->to_host(ctx->device->stream, d->placed[i].data, inputs[i].data, bytes, err));
        wait = true;
    }
    return wait ? tni_rt_device_wait(ctx, err) : TN_OK;
}

typedef struct Pack {
    uint8_t *to;
    const uint8_t *from;
    size_t n;
} Pack;

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    const Pack *p = ctx;
    size_t at = (size_t)task * PACK_TASK;
    (void)worker;
    memcpy(p->to + at, p->from + at, TN_MIN(p->n - at, PACK_TASK));
}

/* Packs n bytes and sends what lies in [*sent, packed) when it is enough. */
static TnStatus pack_input(TnContext *ctx, RtDeviceFrame *d, size_t at, const void *from, size_t n, size_t *sent, TnError *err) {
    for (size_t done = 0; done < n;) {
        size_t part = TN_MIN(n - done, PIECE);
        Pack p = {d->in_pinned.p + at + done, (const uint8_t *)from + done, part};
        tni_parallel_for(ctx->threads, (int64_t)((part + PACK_TASK - 1) / PACK_TASK), pack_task, &p);
        done += part;
        if (at + done - *sent >= PIECE) {
            TN_TRY(library(ctx)->to_device(ctx->device->stream, d->in_device.p + *sent, d->in_pinned.p + *sent, at + done - *sent, err));
            *sent = at + done;
        }
    }
    return TN_OK;
}

TnStatus tni_rt_device_bring(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err) {
    RtDeviceFrame *d = f->device;
    size_t sent = 0, end = 0;
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        if (d->in_at[i] == UINT64_MAX || !f->prog->values[f->prog->inputs[i]].device)
            continue;
        size_t bytes = tn_tensor_bytes(&inputs[i]);
        if (!bytes)
            continue;
        TN_TRY(pack_input(ctx, d, (size_t)d->in_at[i], inputs[i].data, bytes, &sent, err));
        end = (size_t)d->in_at[i] + bytes;
    }
    return end > sent ? library(ctx)->to_device(ctx->device->stream, d->in_device.p + sent, d->in_pinned.p + sent, end - sent, err) : TN_OK;
}

/* ---- outputs ---- */

TnStatus tni_rt_device_fetch_begin(TnContext *ctx, RtFrame *f, const uint8_t *wanted, TnError *err) {
    RtDeviceFrame *d = f->device;
    size_t at = 0;
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        uint32_t id = f->prog->outputs[i];
        d->out_at[i] = UINT64_MAX;
        if (!wanted[i] || !f->prog->values[id].device)
            continue;
        d->out_at[i] = at;
        at = tni_align_up(at + TN_MAX((size_t)f->bytes[id], (size_t)1), RT_DEVICE_ALIGN);
    }
    TN_TRY(tni_rt_pinned_grow(ctx, &d->out_pinned, at, "outputs", err));
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        uint32_t id = f->prog->outputs[i];
        if (d->out_at[i] != UINT64_MAX && f->bytes[id])
            TN_TRY(library(ctx)->to_host(ctx->device->stream, d->out_pinned.p + d->out_at[i], f->t[id].data, (size_t)f->bytes[id], err));
    }
    return TN_OK;
}

const void *tni_rt_device_fetched(const RtFrame *f, uint32_t i) {
    return f->device->out_at[i] == UINT64_MAX ? NULL : f->device->out_pinned.p + f->device->out_at[i];
}

static TnStatus check_room(const TnContext *ctx, const RtFrame *f, uint32_t i, TnError *err) {
    uint32_t id = f->prog->outputs[i];
    const RtUserOut *u = &ctx->user[i];
    if (!u->data || u->cap >= f->bytes[id])
        return TN_OK;
    return TN_RAISE(err, TN_ERR_SHAPE, "output '%s' has %llu bytes, its buffer only %zu", name_of(ctx, f, id),
                    (unsigned long long)f->bytes[id], u->cap);
}

TnStatus tni_rt_device_outputs_begin(TnContext *ctx, RtFrame *f, TnError *err) {
    uint8_t *wanted = ctx->device->wanted;
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        uint32_t id = f->prog->outputs[i];
        const RtUserOut *u = &ctx->user[i];
        wanted[i] = !u->on_device;
        if (!f->prog->values[id].device)
            continue;
        TN_TRY(check_room(ctx, f, i, err));
        if (u->on_device && u->data && u->data != f->t[id].data && f->bytes[id])
            TN_TRY(library(ctx)->on_device(ctx->device->stream, u->data, f->t[id].data, (size_t)f->bytes[id], err));
    }
    return tni_rt_device_fetch_begin(ctx, f, wanted, err);
}

TnStatus tni_rt_device_outputs_end(TnContext *ctx, RtFrame *f, TnError *err) {
    bool wait = false;
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        uint32_t id = f->prog->outputs[i];
        const RtUserOut *u = &ctx->user[i];
        const void *fetched = tni_rt_device_fetched(f, i);
        if (fetched && u->data && f->bytes[id])
            memcpy(u->data, fetched, (size_t)f->bytes[id]);
        if (f->prog->values[id].device || !u->on_device || !u->data)
            continue;
        TN_TRY(check_room(ctx, f, i, err));
        if (f->bytes[id])
            TN_TRY(library(ctx)->to_device(ctx->device->stream, u->data, f->t[id].data, (size_t)f->bytes[id], err));
        wait = true;
    }
    TN_TRY(tni_rt_copy_outputs(ctx, f, err));
    return wait ? tni_rt_device_wait(ctx, err) : TN_OK;
}

TnTensor tni_rt_device_output(const TnContext *ctx, uint32_t i) {
    const RtFrame *f = &ctx->frames[0];
    TnTensor t = f->t[f->prog->outputs[i]];
    const void *fetched = tni_rt_device_fetched(f, i);
    if (ctx->user[i].data)
        t.data = ctx->user[i].data;
    else if (fetched)
        t.data = (void *)(uintptr_t)fetched;
    return t;
}

bool tni_rt_device_output_there(const TnContext *ctx, uint32_t i) {
    const RtFrame *f = &ctx->frames[0];
    return ctx->user[i].on_device && (ctx->user[i].data || f->prog->values[f->prog->outputs[i]].device);
}

/* ---- copies between memories ---- */

const void *tni_rt_device_on_host(const TnContext *ctx, const RtFrame *f, uint32_t s) {
    uint32_t id = ctx->plan->p.operands[f->prog->steps[s].first_in];
    return f->device->on_host[f->prog->values[id].place_arg];
}

TnStatus tni_rt_device_transfer(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const RtCall *c = &f->calls[s];
    size_t bytes = tn_tensor_bytes(&c->in[0]);
    if (bytes == 0)
        return TN_OK;
    if (f->prog->rt[s].transfer == RT_TO_DEVICE)
        return library(ctx)->to_device(ctx->device->stream, c->out[0].data, c->in[0].data, bytes, err);
    const void *given = f->prog->rt[s].from_input ? tni_rt_device_on_host(ctx, f, s) : NULL;
    if (given) {
        memcpy(c->out[0].data, given, bytes);
        return TN_OK;
    }
    TN_TRY(library(ctx)->to_host(ctx->device->stream, c->out[0].data, c->in[0].data, bytes, err));
    return tni_rt_device_wait(ctx, err);
}
