/* SPDX-License-Identifier: Apache-2.0
 *
 * Contexts: all tables of all frames are allocated here, once, from one arena; tensors' memory grows at bind to the largest shapes seen. */
#include "runtime/device.h"

/* Zeroed array of n elements in the context's arena, or out of memory. */
#define TAKE(p, n)                                                                                                                         \
    do {                                                                                                                                   \
        (p) = tni_arena_calloc(ctx->mem, (size_t)(n) + 1, sizeof *(p));                                                                    \
        if (!(p))                                                                                                                          \
            return TN_OOM(err, ((size_t)(n) + 1) * sizeof *(p));                                                                           \
    } while (0)

TnStatus tni_rt_grow(const TnContext *ctx, RtBuffer *b, size_t bytes, bool zero, TnError *err) {
    if (bytes <= b->cap)
        return TN_OK;
    tni_free(ctx->alloc, b->p);
    b->cap = 0;
    b->p = tni_alloc_aligned(ctx->alloc, bytes, PLAN_ALIGN);
    if (!b->p)
        return TN_OOM(err, bytes);
    b->cap = bytes;
    if (zero)
        memset(b->p, 0, bytes);
    return TN_OK;
}

TnStatus tni_rt_grow_in(TnContext *ctx, uint32_t memory, RtBuffer *b, size_t bytes, bool zero, const char *what, TnError *err) {
    if (bytes <= b->cap)
        return TN_OK;
    return memory == RT_DEVICE ? tni_rt_device_grow(ctx, b, bytes, zero, what, err) : tni_rt_grow(ctx, b, bytes, zero, err);
}

/* The slots of an arena in order of their values, with the layout that the plan brings. */
static TnStatus frame_slots(TnContext *ctx, RtFrame *f, uint32_t memory, TnError *err) {
    const RtProgram *r = f->prog;
    RtLayout *l = &f->arena[memory];
    uint32_t most = r->n_slots[memory];
    TAKE(l->value, most);
    TAKE(l->bytes, most);
    TAKE(l->offset, most);
    TAKE(l->first, most);
    TAKE(l->last, most);
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        const PlanValue *v = &r->values[i];
        if (v->place != PLAN_AT_ARENA || r->kept[i] || (v->device ? RT_DEVICE : RT_HOST) != memory)
            continue;
        l->value[l->n] = i;
        l->bytes[l->n] = v->bytes;
        l->offset[l->n] = v->offset;
        l->first[l->n] = v->first_step;
        l->last[l->n++] = v->last_step;
    }
    l->total = memory == RT_DEVICE ? r->g->device_arena_bytes : r->g->arena_bytes;
    l->laid_out = l->total > 0;
    l->scratch = tni_arena_alloc_aligned(ctx->mem, tni_plan_arena_scratch(most, r->g->n_steps), 64);
    return l->scratch ? TN_OK : TN_OOM(err, tni_plan_arena_scratch(most, r->g->n_steps));
}

static TnStatus frame_calls(TnContext *ctx, RtFrame *f, TnError *err) {
    const RtProgram *r = f->prog;
    TnTensor *t;
    TAKE(f->calls, r->g->n_steps);
    TAKE(t, r->n_operands);
    for (uint32_t s = 0; s < r->g->n_steps; s++) {
        f->calls[s].kernel = r->rt[s].kernel;
        f->calls[s].in = t;
        f->calls[s].out = t + r->steps[s].n_in;
        t += r->steps[s].n_in + r->steps[s].n_out;
        if (r->steps[s].first_packed != PLAN_NONE)
            TAKE(f->calls[s].packed, r->steps[s].n_in);
    }
    TAKE(f->query_in, r->max_in);
    return TN_OK;
}

static TnStatus frame_create(TnContext *ctx, uint32_t index, TnError *err) {
    RtFrame *f = &ctx->frames[index];
    const Plan *p = &ctx->plan->p;
    const RtProgram *r = &ctx->plan->programs[index];
    f->prog = r;
    TAKE(f->symbols, p->n_symbols);
    TAKE(f->symbol_known, p->n_symbols);
    TAKE(f->preset, p->n_symbols);
    TAKE(f->preset_known, p->n_symbols);
    TAKE(f->exprs, p->n_exprs);
    TAKE(f->expr_known, p->n_exprs);
    TAKE(f->t, r->g->n_values);
    TAKE(f->bytes, r->g->n_values);
    TAKE(f->block, r->g->n_values);
    TAKE(f->bound_in, r->g->n_inputs);
    TAKE(f->user_out, r->g->n_outputs);
    for (uint32_t i = 0; i < r->g->n_values; i++)
        f->block[i] = PLAN_NONE;
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        TN_TRY(frame_slots(ctx, f, m, err));
    if (ctx->device)
        TN_TRY(tni_rt_device_frame(ctx, f, err));
    return frame_calls(ctx, f, err);
}

/* A program that no step calls is run by the host; those share one arena, since they never run at once. */
static void find_top_programs(TnContext *ctx) {
    const Plan *p = &ctx->plan->p;
    for (uint32_t i = 0; i < p->n_programs; i++)
        ctx->frames[i].top = true;
    for (uint32_t s = 0; s < p->n_steps; s++) {
        TnControlParams c;
        if (!ctx->plan->steps[s].control)
            continue;
        memcpy(&c, p->params + p->steps[s].params, sizeof c);
        ctx->frames[c.graph[0]].top = false;
        if (ctx->plan->steps[s].op == TN_OP_if_)
            ctx->frames[c.graph[1]].top = false;
    }
    for (uint32_t i = 0; i < p->n_programs; i++)
        for (uint32_t m = 0; m < RT_MEMORIES; m++)
            ctx->frames[i].arena[m].buffer = ctx->frames[i].top ? &ctx->arena[m] : &ctx->frames[i].arena[m].own;
}

static TnStatus context_fill(TnContext *ctx, uint32_t threads, TnError *err) {
    const Plan *p = &ctx->plan->p;
    TN_TRY(tni_arena_create(ctx->alloc, &ctx->mem, err));
    TN_TRY(tni_threads_create(ctx->alloc, threads, &ctx->threads, err));
    TAKE(ctx->frames, p->n_programs);
    TAKE(ctx->states, p->n_states);
    TAKE(ctx->inputs, p->programs[0].n_inputs);
    TAKE(ctx->input_on_device, p->programs[0].n_inputs);
    TAKE(ctx->user, p->programs[0].n_outputs);
    for (uint32_t i = 0; i < p->n_states; i++)
        ctx->states[i].t.rank = -1;
    for (uint32_t i = 0; i < p->n_values; i++)
        if (p->values[i].place == PLAN_AT_STATE && p->values[i].device)
            ctx->states[p->values[i].place_arg].memory = RT_DEVICE;
    if (ctx->plan->device)
        TN_TRY(tni_rt_device_context(ctx, err));
    for (uint32_t i = 0; i < p->n_programs; i++)
        TN_TRY(frame_create(ctx, i, err));
    find_top_programs(ctx);
    return TN_OK;
}

TnStatus tni_rt_context_create(TnPlan *plan, uint32_t threads, const TnAllocator *a, TnContext **out, TnError *err) {
    if (plan->p.header->device != TN_DEVICE_CPU && !plan->device)
        return TN_RAISE(err, TN_ERR_STATE, "the plan was opened to be looked at (TnPlanOptions.inspect); open it without that to run it");
    TnContext *ctx = tni_calloc(a, 1, sizeof *ctx);
    if (!ctx)
        return TN_OOM(err, sizeof *ctx);
    ctx->plan = plan;
    ctx->alloc = a;
    ctx->loop_limit = INT64_MAX;
    TnStatus st = context_fill(ctx, threads, err);
    if (st != TN_OK) {
        tni_rt_context_destroy(&ctx);
        return st;
    }
    *out = ctx;
    return TN_OK;
}

void tni_rt_context_destroy(TnContext **pctx) {
    TnContext *ctx = *pctx;
    if (!ctx)
        return;
    const TnAllocator *a = ctx->alloc;
    tni_rt_generation_free(ctx);
    tni_threads_destroy(&ctx->threads);
    if (ctx->device)
        tni_rt_device_context_destroy(ctx); /* and its memory everywhere, whose pointers are then NULL */
    for (uint32_t i = 0; ctx->frames && i < ctx->plan->p.n_programs; i++)
        tni_free(a, ctx->frames[i].arena[RT_HOST].own.p);
    for (uint32_t i = 0; ctx->frames && i < ctx->plan->p.n_programs; i++)
        tni_free(a, ctx->frames[i].kept[RT_HOST].p);
    for (uint32_t i = 0; ctx->states && i < ctx->plan->p.n_states; i++)
        tni_free(a, ctx->states[i].buf.p);
    for (uint32_t i = 0; i < ctx->n_pool; i++)
        tni_free(a, ctx->pool[i].p);
    tni_free(a, ctx->arena[RT_HOST].p);
    tni_free(a, ctx->scratch[RT_HOST].p);
    tni_arena_destroy(&ctx->mem);
    tni_free(a, ctx);
    *pctx = NULL;
}

size_t tni_rt_context_bytes(const TnContext *ctx) {
    size_t n = ctx->arena[RT_HOST].cap + ctx->scratch[RT_HOST].cap + tni_arena_bytes(ctx->mem);
    for (uint32_t i = 0; i < ctx->plan->p.n_programs; i++)
        n += ctx->frames[i].arena[RT_HOST].own.cap + ctx->frames[i].kept[RT_HOST].cap;
    for (uint32_t i = 0; i < ctx->plan->p.n_states; i++)
        n += ctx->states[i].memory == RT_HOST ? ctx->states[i].buf.cap : 0;
    for (uint32_t i = 0; i < ctx->n_pool; i++)
        n += ctx->pool[i].memory == RT_HOST ? ctx->pool[i].cap : 0;
    return n;
}
