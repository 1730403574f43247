/* SPDX-License-Identifier: Apache-2.0
 *
 * if_ and loop: programs called by steps. The called frame is bound to the actual operands, so its shapes may differ from call to call;
 * results are copied into the caller's tensors, carried values into blocks of the pool that take turns. */
#include "runtime/bind.h"

/* A tensor in a block of the pool that can grow. */
typedef struct Held {
    TnTensor t;
    uint32_t block;
} Held;

static TnStatus hold(TnContext *ctx, Held *h, const TnTensor *t, TnError *err) {
    size_t bytes = tn_tensor_bytes(t);
    uint32_t block;
    TN_TRY(tni_rt_pool_take(ctx, RT_HOST, bytes, &block, err));
    if (bytes)
        memcpy(ctx->pool[block].p, t->data, bytes);
    tni_rt_pool_give(ctx, &h->block);
    h->block = block;
    h->t = *t;
    h->t.data = ctx->pool[block].p;
    return TN_OK;
}

/* Result t into output i of a step, whose dims must be those the plan expects or are now known. */
static TnStatus deliver(TnContext *ctx, RtFrame *f, uint32_t s, uint32_t i, const TnTensor *t, TnError *err) {
    uint32_t id = ctx->plan->p.operands[f->prog->steps[s].first_out + i];
    if (id == PLAN_NONE)
        return TN_OK;
    const PlanValue *v = &f->prog->values[id];
    const char *name = ctx->plan->p.strings + v->name;
    char a[96], b[96];
    if ((TnDtype)v->dtype != t->dtype)
        return TN_RAISE(err, TN_ERR_TYPE, "output '%s' is %s, expected %s", name, tn_dtype_name(t->dtype),
                        tn_dtype_name((TnDtype)v->dtype));
    if (v->place == PLAN_AT_DYNAMIC) {
        TN_TRY(tni_rt_place_dynamic(ctx, f, id, t->rank, t->dims, err));
    } else if (!tni_plan_same(&f->t[id], t) || v->place != PLAN_AT_ARENA) {
        return TN_RAISE(err, TN_ERR_SHAPE, "output '%s' is %s, expected %s", name, tni_shape_str(a, sizeof a, t->rank, t->dims),
                        tni_shape_str(b, sizeof b, f->t[id].rank, f->t[id].dims));
    }
    if (f->bytes[id])
        memcpy(f->t[id].data, t->data, (size_t)f->bytes[id]);
    f->calls[s].out[i] = f->t[id];
    return TN_OK;
}

static TnStatus call_program(TnContext *ctx, RtFrame *f, RtFrame *sub, const TnTensor *inputs, TnError *err) {
    TN_TRY(tni_rt_bind(ctx, sub, inputs, f->symbols, f->symbol_known, err));
    return tni_rt_run_frame(ctx, sub, err);
}

static TnStatus scalar(const TnTensor *t, TnDtype dtype, const char *what, TnError *err) {
    if (t->dtype != dtype || tn_tensor_numel(t) != 1)
        return TN_RAISE(err, TN_ERR_TYPE, "the %s is not one %s", what, tn_dtype_name(dtype));
    return TN_OK;
}

static TnStatus run_if(TnContext *ctx, RtFrame *f, uint32_t s, const TnControlParams *p, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const TnTensor *in = f->calls[s].in;
    TN_TRY(scalar(&in[0], TN_BOOL, "condition", err));
    bool taken = *(const uint8_t *)in[0].data != 0;
    RtFrame *sub = &ctx->frames[p->graph[taken ? 0 : 1]];
    TN_TRY(call_program(ctx, f, sub, in + 1, err));
    for (uint32_t i = 0; i < st->n_out; i++)
        TN_TRY(deliver(ctx, f, s, i, &sub->t[sub->prog->outputs[i]], err));
    tni_rt_release(ctx, sub);
    return TN_OK;
}

/* ---- loop ---- */

typedef struct Loop {
    const TnControlParams *p;
    TnTensor *inputs; /* of the body */
    Held *carried, *scan;
    int64_t iteration;
    uint8_t cond;
} Loop;

/* One more row for a scan output. */
static TnStatus scan_append(TnContext *ctx, Held *h, const TnTensor *t, int64_t iteration, TnError *err) {
    size_t row = tn_tensor_bytes(t), have, need;
    if (t->rank >= TN_MAX_RANK)
        return TN_RAISE(err, TN_ERR_SHAPE, "a scan output of rank %d", t->rank + 1);
    if (iteration > 0 &&
        (h->t.dtype != t->dtype || h->t.rank != t->rank + 1 || memcmp(h->t.dims + 1, t->dims, (size_t)t->rank * sizeof *t->dims) != 0))
        return TN_RAISE(err, TN_ERR_SHAPE, "a scan output changes its shape in iteration %lld", (long long)iteration);
    if (!tni_mul_size(row, (size_t)iteration, &have) || !tni_add_size(have, row, &need))
        return TN_OOM(err, row);
    if (h->block == PLAN_NONE || ctx->pool[h->block].cap < need) {
        uint32_t block;
        TN_TRY(tni_rt_pool_take(ctx, RT_HOST, need * 2, &block, err));
        if (have)
            memcpy(ctx->pool[block].p, ctx->pool[h->block].p, have);
        tni_rt_pool_give(ctx, &h->block);
        h->block = block;
    }
    h->t.dtype = t->dtype;
    h->t.rank = t->rank + 1;
    h->t.dims[0] = iteration + 1;
    memcpy(h->t.dims + 1, t->dims, (size_t)t->rank * sizeof *t->dims);
    h->t.data = ctx->pool[h->block].p;
    if (row)
        memcpy(ctx->pool[h->block].p + have, t->data, row);
    return TN_OK;
}

static TnStatus loop_iterations(TnContext *ctx, RtFrame *f, uint32_t s, Loop *l, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const TnTensor *in = f->calls[s].in;
    RtFrame *body = &ctx->frames[l->p->graph[0]];
    uint32_t n = l->p->n_carried;
    int64_t trips = INT64_MAX;
    l->cond = 1;
    if (in[0].dtype != TN_UNDEFINED) {
        TN_TRY(scalar(&in[0], TN_I64, "trip count", err));
        trips = *(const int64_t *)in[0].data;
    }
    if (in[1].dtype != TN_UNDEFINED) {
        TN_TRY(scalar(&in[1], TN_BOOL, "condition", err));
        l->cond = *(const uint8_t *)in[1].data;
    }
    l->inputs[0] = (TnTensor){.data = &l->iteration, .dtype = TN_I64, .rank = 0};
    l->inputs[1] = (TnTensor){.data = &l->cond, .dtype = TN_BOOL, .rank = 0};
    for (uint32_t i = 0; i < n; i++)
        TN_TRY(hold(ctx, &l->carried[i], &in[2 + i], err));
    for (uint32_t i = 2 + n; i < st->n_in; i++)
        l->inputs[i] = in[i];
    for (l->iteration = 0; l->cond && l->iteration < trips; l->iteration++) {
        if (l->iteration >= ctx->loop_limit)
            return TN_RAISE(err, TN_ERR_LIMIT, "the loop does not end within %lld iterations", (long long)ctx->loop_limit);
        for (uint32_t i = 0; i < n; i++)
            l->inputs[2 + i] = l->carried[i].t;
        TN_TRY(call_program(ctx, f, body, l->inputs, err));
        const TnTensor *c = &body->t[body->prog->outputs[0]];
        TN_TRY(scalar(c, TN_BOOL, "condition", err));
        l->cond = *(const uint8_t *)c->data;
        for (uint32_t i = 0; i < l->p->n_scan; i++)
            TN_TRY(scan_append(ctx, &l->scan[i], &body->t[body->prog->outputs[1 + n + i]], l->iteration, err));
        for (uint32_t i = 0; i < n; i++)
            TN_TRY(hold(ctx, &l->carried[i], &body->t[body->prog->outputs[1 + i]], err));
        tni_rt_release(ctx, body);
    }
    return TN_OK;
}

/* A scan output of no iterations has no rows; its other dims are those of the plan where they are known. */
static void empty_scan(const RtFrame *f, const TnContext *ctx, uint32_t s, uint32_t i, Held *h) {
    uint32_t id = ctx->plan->p.operands[f->prog->steps[s].first_out + i];
    if (id == PLAN_NONE)
        return;
    const PlanValue *v = &f->prog->values[id];
    h->t = (TnTensor){.dtype = (TnDtype)v->dtype, .rank = v->rank};
    for (int32_t d = 1; d < v->rank; d++)
        h->t.dims[d] = f->expr_known[v->dims[d]] ? f->exprs[v->dims[d]] : 0;
}

static TnStatus run_loop(TnContext *ctx, RtFrame *f, uint32_t s, const TnControlParams *p, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    uint32_t n_held = p->n_carried + p->n_scan;
    uint32_t block;
    size_t bytes = n_held * sizeof(Held) + st->n_in * sizeof(TnTensor);
    TN_TRY(tni_rt_pool_take(ctx, RT_HOST, bytes, &block, err));
    Held *held = (Held *)(void *)ctx->pool[block].p;
    memset(held, 0, bytes);
    for (uint32_t i = 0; i < n_held; i++)
        held[i].block = PLAN_NONE;
    Loop l = {.p = p, .carried = held, .scan = held + p->n_carried, .inputs = (TnTensor *)(void *)(held + n_held)};
    TnStatus status = loop_iterations(ctx, f, s, &l, err);
    for (uint32_t i = 0; i < n_held && status == TN_OK; i++) {
        if (i >= p->n_carried && l.iteration == 0)
            empty_scan(f, ctx, s, i, &held[i]);
        status = deliver(ctx, f, s, i, &held[i].t, err);
    }
    for (uint32_t i = 0; i < n_held; i++)
        tni_rt_pool_give(ctx, &held[i].block);
    tni_rt_release(ctx, &ctx->frames[p->graph[0]]);
    tni_rt_pool_give(ctx, &block);
    return status;
}

TnStatus tni_rt_control(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    TnControlParams p;
    memcpy(&p, ctx->plan->p.params + f->prog->steps[s].params, sizeof p);
    TnStatus status = f->prog->rt[s].op == TN_OP_if_ ? run_if(ctx, f, s, &p, err) : run_loop(ctx, f, s, &p, err);
    if (status == TN_OK)
        status = tni_rt_define_symbols(ctx, f, s, err);
    return tni_rt_name_step(ctx, f, s, status, err);
}
