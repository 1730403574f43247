/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a bound frame: one loop over its steps. Kernels are called without checks; what depends on contents is checked where
 * contents are made while running. */
#include "runtime/bind.h"
#include "runtime/device.h"
#include "runtime/profile.h"

/* Where a resize callback finds its frame again. */
typedef struct Host {
    TnContext *ctx;
    RtFrame *f;
    uint32_t step;
} Host;

static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    Host *h = call->host;
    const PlanStep *st = &h->f->prog->steps[h->step];
    if (i >= st->n_out || rank < 0 || rank > TN_MAX_RANK)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "a kernel resized output %u of %u to rank %d", i, st->n_out, rank);
    uint32_t id = h->ctx->plan->p.operands[st->first_out + i];
    TnTensor *out = &call->out[i];
    if (id == PLAN_NONE) {
        out->rank = rank;
        if (rank > 0)
            memcpy(out->dims, dims, (size_t)rank * sizeof *dims);
        out->data = NULL;
        return TN_OK;
    }
    TN_TRY(tni_rt_place_dynamic(h->ctx, h->f, id, rank, dims, call->err));
    *out = h->f->t[id];
    return TN_OK;
}

static TnStatus call_kernel(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const RtStep *rt = &f->prog->rt[s];
    RtCall *c = &f->calls[s];
    Host host = {ctx, f, s};
    const RtBuffer *scratch = rt->memory == RT_DEVICE && ctx->device->scratch ? ctx->device->scratch : &ctx->scratch[rt->memory];
    TnKernelCall call = {.params = ctx->plan->p.params + st->params,
                         .in = c->in,
                         .n_in = st->n_in,
                         .out = c->out,
                         .n_out = st->n_out,
                         .packed = c->packed,
                         .scratch = scratch->p,
                         .scratch_bytes = scratch->cap,
                         .threads = ctx->threads,
                         .dim_values = f->exprs,
                         .stream = rt->memory == RT_DEVICE ? ctx->device->stream : NULL,
                         .code = rt->code,
                         .resize = resize,
                         .host = &host,
                         .err = err};
    TnStatus status = rt->check_run ? tni_rt_check_step(ctx, f, s, err) : TN_OK;
    if (status == TN_OK)
        status = c->kernel->run(&call);
    return tni_rt_name_step(ctx, f, s, status, err);
}

void tni_rt_show_step(TnContext *ctx, const RtFrame *f, uint32_t s, uint64_t ns) {
    const PlanStep *st = &f->prog->steps[s];
    const Plan *p = &ctx->plan->p;
    const char *kernel = f->calls[s].kernel ? f->calls[s].kernel->name : "";
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = p->operands[st->first_out + i];
        if (id != PLAN_NONE)
            ctx->on_step(ctx->on_step_ctx, f->prog->g->first_step + s, p->strings + st->name, p->strings + st->op, kernel,
                         p->strings + f->prog->values[id].name, &f->t[id], ns);
    }
    if (st->n_out == 0)
        ctx->on_step(ctx->on_step_ctx, f->prog->g->first_step + s, p->strings + st->name, p->strings + st->op, kernel, "", NULL, ns);
}

/* Tensors of the pool that die with step s. */
void tni_rt_give_dead(TnContext *ctx, RtFrame *f, uint32_t s) {
    for (uint32_t i = 0; i < f->prog->g->n_values; i++)
        if (f->block[i] != PLAN_NONE && f->prog->values[i].last_step == s)
            tni_rt_pool_give(ctx, &f->block[i]);
}

TnStatus tni_rt_run_step(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const RtStep *rt = &f->prog->rt[s];
    if (rt->late)
        TN_TRY(tni_rt_bind_late(ctx, f, s, err));
    if (f->calls[s].skip)
        return TN_OK;
    if (rt->control)
        return tni_rt_control(ctx, f, s, err);
    if (rt->transfer)
        return tni_rt_name_step(ctx, f, s, tni_rt_device_transfer(ctx, f, s, err), err);
    TN_TRY(call_kernel(ctx, f, s, err));
    if (f->prog->steps[s].n_symbols && (tni_op_info(rt->op)->flags & TN_OPF_DATA_SHAPE))
        TN_TRY(tni_rt_define_symbols(ctx, f, s, err));
    return TN_OK;
}

TnStatus tni_rt_run_frame(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t s = 0; s < f->prog->g->n_steps; s++) {
        uint64_t start = ctx->on_step ? tni_now_ns() : 0;
        bool watched = ctx->device && (ctx->on_step || ctx->device->naming), timed = ctx->profile && f == ctx->frames;
        if (watched)
            TN_TRY(tni_rt_device_watch_begin(ctx, err));
        if (timed)
            TN_TRY(tni_rt_profile_begin(ctx, f, s, err));
        if (!f->prog->rt[s].kept || !f->kept_done || ctx->on_step) /* the hook sees every step */
            TN_TRY(tni_rt_run_step(ctx, f, s, err));
        if (ctx->device && (watched || !f->device->seen) && f->prog->rt[s].memory == RT_DEVICE)
            TN_TRY(tni_rt_device_trail(ctx, f, s, err));
        if (timed)
            TN_TRY(tni_rt_profile_end(ctx, f, s, err));
        if (watched)
            TN_TRY(tni_rt_device_watch_end(ctx, f, s, tni_now_ns() - start, err));
        else if (ctx->on_step)
            tni_rt_show_step(ctx, f, s, tni_now_ns() - start);
        if (f->prog->dynamic)
            tni_rt_give_dead(ctx, f, s);
    }
    f->kept_done = true;
    if (ctx->device)
        f->device->seen = true;
    return TN_OK;
}

static bool apart(const void *a, size_t na, const void *b, size_t nb) {
    uintptr_t pa = (uintptr_t)a, pb = (uintptr_t)b;
    return pa + na <= pb || pb + nb <= pa;
}

bool tni_rt_in_context(const TnContext *ctx, const void *p, size_t n) {
    bool in = false;
    for (uint32_t m = 0; n > 0 && m < RT_MEMORIES; m++)
        in |= !apart(p, n, ctx->arena[m].p, ctx->arena[m].cap) || !apart(p, n, ctx->scratch[m].p, ctx->scratch[m].cap);
    for (uint32_t i = 0; n > 0 && i < ctx->n_pool; i++)
        in |= !apart(p, n, ctx->pool[i].p, ctx->pool[i].cap);
    return in;
}

/* Output i can be computed where the user wants it: its bytes are a slot of their own in that memory, and the buffer holds no input. */
static bool direct(const TnContext *ctx, const RtFrame *f, uint32_t i) {
    const RtProgram *r = f->prog;
    uint32_t id = r->outputs[i], root = tni_rt_root(f, id);
    const RtUserOut *u = &ctx->user[i];
    if (!u->data || r->values[root].place != PLAN_AT_ARENA || f->bytes[root] != f->bytes[id] || u->cap < f->bytes[root] ||
        u->on_device != (r->values[root].device != 0) || (uintptr_t)u->data % PLAN_ALIGN || tni_rt_in_context(ctx, u->data, u->cap))
        return false;
    for (uint32_t k = 0; k < r->g->n_outputs; k++) {
        if (k != i && tni_rt_root(f, r->outputs[k]) == root)
            return false;
        if (k != i && ctx->user[k].data && !apart(u->data, u->cap, ctx->user[k].data, ctx->user[k].cap))
            return false;
    }
    for (uint32_t k = 0; k < r->g->n_inputs; k++)
        if (!apart(u->data, u->cap, ctx->inputs[k].data, tn_tensor_bytes(&ctx->inputs[k])))
            return false;
    return true;
}

/* Buffers of the last run may be gone, and inputs may lie where they were: until tni_rt_place_outputs has looked again, only what is still bound and apart
 * from every input is written directly. */
void tni_rt_forget_outputs(const TnContext *ctx, RtFrame *f) {
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        const RtUserOut *u = &ctx->user[i];
        bool keep = f->user_out[i] == u->data;
        for (uint32_t k = 0; keep && u->data && k < f->prog->g->n_inputs; k++)
            keep = apart(u->data, u->cap, ctx->inputs[k].data, tn_tensor_bytes(&ctx->inputs[k]));
        if (keep || !f->user_out[i])
            continue;
        f->user_out[i] = NULL;
        f->arena[RT_HOST].bound = NULL; /* addresses are set again */
    }
}

/* Addresses change when the set of directly written buffers does. */
TnStatus tni_rt_place_outputs(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err) {
    bool changed = false;
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        void *p = direct(ctx, f, i) ? ctx->user[i].data : NULL;
        changed |= p != f->user_out[i];
        f->user_out[i] = p;
    }
    if (!changed)
        return TN_OK;
    f->arena[RT_HOST].bound = NULL;
    return tni_rt_bind(ctx, f, inputs, NULL, NULL, err);
}

TnStatus tni_rt_copy_outputs(const TnContext *ctx, const RtFrame *f, TnError *err) {
    for (uint32_t i = 0; i < f->prog->g->n_outputs; i++) {
        uint32_t id = f->prog->outputs[i];
        const RtUserOut *u = &ctx->user[i];
        if (!u->data || u->data == f->t[id].data || u->on_device || f->prog->values[id].device)
            continue;
        if (u->cap < f->bytes[id])
            return TN_RAISE(err, TN_ERR_SHAPE, "output '%s' has %llu bytes, its buffer only %zu",
                            ctx->plan->p.strings + f->prog->values[id].name, (unsigned long long)f->bytes[id], u->cap);
        if (f->bytes[id])
            memmove(u->data, f->t[id].data, (size_t)f->bytes[id]);
    }
    return TN_OK;
}

TnStatus tni_rt_check_set(const TnContext *ctx, TnError *err) {
    const RtFrame *f = &ctx->frames[0];
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++)
        if (ctx->inputs[i].dtype == TN_UNDEFINED)
            return TN_RAISE(err, TN_ERR_STATE, "input '%s' has not been set",
                            ctx->plan->p.strings + f->prog->values[f->prog->inputs[i]].name);
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++)
        if (tni_rt_in_context(ctx, ctx->inputs[i].data, tn_tensor_bytes(&ctx->inputs[i])))
            return TN_RAISE(
                err, TN_ERR_ARGUMENT,
                "input '%s' lies in this context's own memory (an output of an earlier run), which the run writes over; copy it, or give "
                "that output a buffer of its own",
                ctx->plan->p.strings + f->prog->values[f->prog->inputs[i]].name);
    return TN_OK;
}

TnStatus tni_rt_run(TnContext *ctx, TnError *err) {
    RtFrame *f = &ctx->frames[0];
    if (ctx->device) {
        TN_TRY(tni_rt_device_start(ctx, err));
        return tni_rt_device_finish(ctx, err);
    }
    ctx->ran = false;
    for (uint32_t i = 0; i < ctx->plan->p.n_programs; i++)
        tni_rt_release(ctx, &ctx->frames[i]); /* what a failed run left behind */
    TN_TRY(tni_rt_check_set(ctx, err));
    tni_rt_forget_outputs(ctx, f);
    TN_TRY(tni_rt_bind(ctx, f, ctx->inputs, NULL, NULL, err));
    TN_TRY(tni_rt_place_outputs(ctx, f, ctx->inputs, err));
    TN_TRY(tni_rt_run_frame(ctx, f, err));
    TN_TRY(tni_rt_copy_outputs(ctx, f, err));
    ctx->ran = true;
    return TN_OK;
}
