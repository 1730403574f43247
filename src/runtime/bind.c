/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding: from the shapes of inputs to the value of every dim (dims.c), a place for every tensor, and every step checked with numbers
 * (step.c). In: tensors of a program's inputs. Out: calls that run.c makes without looking. Nothing is allocated when shapes were seen
 * before. */
#include "runtime/bind.h"
#include "runtime/device.h"

uint32_t tni_rt_root(const RtFrame *f, uint32_t value) {
    const PlanValue *v = &f->prog->values[value];
    return v->place == PLAN_AT_ALIAS ? v->place_arg : value;
}

/* ---- places ---- */

/* Offsets stay while every tensor fits its slot; else slots grow and are laid out again. */
static TnStatus bind_arena(TnContext *ctx, RtFrame *f, uint32_t memory, TnError *err) {
    RtLayout *l = &f->arena[memory];
    bool fits = l->laid_out;
    uint64_t total, bound;
    for (uint32_t k = 0; k < l->n && fits; k++)
        fits = f->bytes[l->value[k]] <= l->bytes[k];
    if (!fits) {
        for (uint32_t k = 0; k < l->n; k++)
            l->bytes[k] = TN_MAX(l->laid_out ? l->bytes[k] : 0, f->bytes[l->value[k]]);
        l->laid_out = false;
        bool done = memory == RT_DEVICE
                        ? tni_rt_branch_arena(f, l, &total)
                        : tni_plan_arena(l->n, f->prog->g->n_steps, l->bytes, l->first, l->last, true, l->scratch, l->offset, &total, &bound);
        if (!done)
            return TN_RAISE(err, TN_ERR_SHAPE, "the tensors of these shapes do not fit into memory");
        l->total = total;
        l->laid_out = true;
        if (memory == RT_DEVICE)
            ctx->device->epoch++;
    }
    return TN_OK;
}

/* Arenas and scratch; cheap when they are large enough. */
static TnStatus take_memory(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        TN_TRY(tni_rt_grow_in(ctx, m, f->arena[m].buffer, TN_MAX((size_t)f->arena[m].total, (size_t)1), false, "intermediate tensors", err));
    return TN_OK;
}

static TnStatus take_scratch(TnContext *ctx, const RtFrame *f, TnError *err) {
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        TN_TRY(tni_rt_grow_in(ctx, m, &ctx->scratch[m], f->scratch[m], false, "scratch", err));
    return TN_OK;
}

static TnStatus bind_states(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t i = 0; i < f->prog->g->n_values; i++) {
        const PlanValue *v = &f->prog->values[i];
        if (v->place != PLAN_AT_STATE)
            continue;
        RtState *s = &ctx->states[v->place_arg];
        if (s->t.rank >= 0 && s->buf.cap >= f->bytes[i] && memcmp(s->t.dims, f->t[i].dims, sizeof s->t.dims) == 0)
            continue;
        ctx->states_epoch++; /* also when it fails: the old bytes are gone */
        if (s->buf.cap < f->bytes[i] || !s->buf.p)
            TN_TRY(tni_rt_grow_in(ctx, s->memory, &s->buf, TN_MAX((size_t)f->bytes[i], (size_t)1), true, "a state", err));
        s->t = f->t[i];
        s->t.data = s->buf.p;
    }
    return TN_OK;
}

static void *place_of(const TnContext *ctx, const RtFrame *f, uint32_t id) {
    const PlanValue *v = &f->prog->values[id];
    switch (v->place) {
    case PLAN_AT_WEIGHT:
        if (v->device)
            return (uint8_t *)ctx->plan->device->weights + ctx->plan->device->weight_at[f->prog->g->first_value + id];
        if (v->bytes == 0)
            return (void *)(uintptr_t)ctx->plan->p.strings;
        /* Kernels never write inputs, and no output lies in the weights (plan/verify.c). */
        return (void *)(uintptr_t)(ctx->plan->p.weights + v->offset);
    case PLAN_AT_INPUT:
        return f->bound_in[v->place_arg].data;
    case PLAN_AT_STATE:
        return ctx->states[v->place_arg].buf.p;
    case PLAN_AT_DYNAMIC:
        return f->block[id] == PLAN_NONE ? NULL : ctx->pool[f->block[id]].p;
    default:
        return NULL;
    }
}

static void refresh_step(const RtFrame *f, const TnContext *ctx, uint32_t s) {
    const PlanStep *st = &f->prog->steps[s];
    const uint32_t *ops = ctx->plan->p.operands;
    RtCall *c = &f->calls[s];
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = ops[st->first_in + i];
        if (id == PLAN_NONE)
            c->in[i] = (TnTensor){.dtype = TN_UNDEFINED};
        else
            c->in[i] = f->t[id];
    }
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id == PLAN_NONE)
            c->out[i] = (TnTensor){.dtype = TN_UNDEFINED};
        else
            c->out[i] = f->t[id];
    }
    for (uint32_t i = 0; c->packed && i < st->n_in; i++) {
        uint32_t id = ops[st->first_packed + i];
        c->packed[i] = id == PLAN_NONE ? NULL : place_of(ctx, f, id);
    }
}

/* Addresses of all tensors and of the operands of all steps. */
static void set_addresses(const TnContext *ctx, RtFrame *f) {
    const RtProgram *r = f->prog;
    for (uint32_t i = 0; i < r->g->n_values; i++)
        if (r->values[i].place != PLAN_AT_ARENA && r->values[i].place != PLAN_AT_ALIAS)
            f->t[i].data = place_of(ctx, f, i);
    for (uint32_t m = 0; m < RT_MEMORIES; m++) {
        const RtLayout *l = &f->arena[m];
        for (uint32_t k = 0; k < l->n; k++)
            f->t[l->value[k]].data = l->buffer->p + l->offset[k];
    }
    tni_rt_kept_addresses(f);
    for (uint32_t i = 0; i < r->g->n_outputs; i++)
        if (f->user_out[i])
            f->t[tni_rt_root(f, r->outputs[i])].data = f->user_out[i];
    for (uint32_t i = 0; i < r->g->n_values; i++)
        if (r->values[i].place == PLAN_AT_ALIAS)
            f->t[i].data = f->t[r->values[i].place_arg].data;
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        refresh_step(f, ctx, s);
}

/* ---- the whole ---- */

static bool same_shapes(const TnContext *ctx, const RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known) {
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++)
        if (!tni_plan_same(&inputs[i], &f->bound_in[i]))
            return false;
    for (uint32_t s = 0; s < ctx->plan->p.n_symbols; s++)
        if ((known && known[s]) != (f->preset_known[s] != 0) || (f->preset_known[s] && preset[s] != f->preset[s]))
            return false;
    return true;
}

static bool same_addresses(const TnContext *ctx, const RtFrame *f, const TnTensor *inputs) {
    if (f->bound_states != ctx->states_epoch)
        return false;
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        if (f->arena[m].bound != f->arena[m].buffer->p)
            return false;
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++)
        if (inputs[i].data != f->bound_in[i].data)
            return false;
    return true;
}

static void remember(const TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known) {
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++)
        f->bound_in[i] = inputs[i];
    for (uint32_t s = 0; s < ctx->plan->p.n_symbols; s++) {
        f->preset_known[s] = known && known[s];
        f->preset[s] = f->preset_known[s] ? preset[s] : 0;
    }
}

/* Forgets what the last run learned: symbols that steps define and tensors in the pool. */
static TnStatus reset_late(TnContext *ctx, RtFrame *f, TnError *err) {
    const Plan *p = &ctx->plan->p;
    for (uint32_t s = 0; s < f->prog->g->n_steps; s++)
        for (uint32_t i = 0; i < f->prog->steps[s].n_symbols; i++)
            f->symbol_known[p->operands[f->prog->steps[s].first_symbol + 2 * i]] = 0;
    return tni_rt_evaluate(ctx, f, 2, err);
}

void tni_rt_release(TnContext *ctx, RtFrame *f) {
    for (uint32_t i = 0; f->prog->dynamic && i < f->prog->g->n_values; i++)
        tni_rt_pool_give(ctx, &f->block[i]);
}

static TnStatus bind_shapes(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err) {
    const RtProgram *r = f->prog;
    TN_TRY(tni_rt_evaluate(ctx, f, 1, err));
    TN_TRY(tni_rt_bind_dims(ctx, f, err));
    TN_TRY(tni_rt_check_inputs(ctx, f, inputs, err));
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        TN_TRY(bind_arena(ctx, f, m, err));
    TN_TRY(take_memory(ctx, f, err));
    TN_TRY(tni_rt_kept_memory(ctx, f, err));
    TN_TRY(bind_states(ctx, f, err));
    set_addresses(ctx, f);
    f->bucket = tni_plan_bucket(&ctx->plan->p, f->symbols, f->symbol_known);
    f->scratch[RT_HOST] = f->scratch[RT_DEVICE] = PLAN_ALIGN; /* never NULL, so that kernels may add to it */
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        if (!r->rt[s].late)
            TN_TRY(tni_rt_bind_step(ctx, f, s, err));
    return take_scratch(ctx, f, err);
}

/* Branches are found among bound steps, and may want the arena laid out anew: then everything gets its place once more. */
static TnStatus bind_all(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err) {
    bool again = false;
    TN_TRY(bind_shapes(ctx, f, inputs, err));
    if (ctx->device)
        TN_TRY(tni_rt_branch_plan(ctx, f, &again, err));
    return again ? bind_shapes(ctx, f, inputs, err) : TN_OK;
}

TnStatus tni_rt_bind(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known, TnError *err) {
    tni_rt_release(ctx, f);
    if (f->bound && same_shapes(ctx, f, inputs, preset, known)) {
        bool moved = !same_addresses(ctx, f, inputs);
        if (moved && f->bound_states != ctx->states_epoch)
            TN_TRY(bind_states(ctx, f, err));
        /* Another program may have tried to grow what is shared, in vain. */
        TN_TRY(take_memory(ctx, f, err));
        TN_TRY(take_scratch(ctx, f, err));
        moved |= !same_addresses(ctx, f, inputs);
        remember(ctx, f, inputs, preset, known);
        if (moved)
            set_addresses(ctx, f);
    } else {
        f->bound = false;
        remember(ctx, f, inputs, preset, known);
        TN_TRY(tni_rt_bind_symbols(ctx, f, inputs, preset, known, err));
        TN_TRY(bind_all(ctx, f, inputs, err));
        f->bound = true;
    }
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        f->arena[m].bound = f->arena[m].buffer->p;
    f->bound_states = ctx->states_epoch;
    return reset_late(ctx, f, err);
}

/* ---- while running ---- */

TnStatus tni_rt_place_dynamic(TnContext *ctx, RtFrame *f, uint32_t id, int32_t rank, const int64_t *dims, TnError *err) {
    const PlanValue *v = &f->prog->values[id];
    TnTensor *t = &f->t[id];
    if (v->place != PLAN_AT_DYNAMIC || rank != v->rank)
        return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' has a fixed place or another rank than %d", tni_rt_value_name(ctx, f, id), rank);
    t->dtype = (TnDtype)v->dtype;
    t->rank = rank;
    if (rank > 0)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    TN_TRY(tni_rt_value_size(ctx, f, id, err));
    tni_rt_pool_give(ctx, &f->block[id]);
    TN_TRY(tni_rt_pool_take(ctx, v->device ? RT_DEVICE : RT_HOST, (size_t)f->bytes[id], &f->block[id], err));
    t->data = ctx->pool[f->block[id]].p;
    return TN_OK;
}

TnStatus tni_rt_define_symbols(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const Plan *p = &ctx->plan->p;
    if (!st->n_symbols)
        return TN_OK;
    for (uint32_t i = 0; i < st->n_symbols; i++) {
        uint32_t sym = p->operands[st->first_symbol + 2 * i], at = p->operands[st->first_symbol + 2 * i + 1];
        f->symbols[sym] = f->calls[s].out[at >> 8].dims[at & 255];
        f->symbol_known[sym] = 1;
    }
    TN_TRY(tni_rt_evaluate(ctx, f, 2, err));
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = p->operands[st->first_out + i];
        if (id == PLAN_NONE)
            continue;
        TnTensor got = f->calls[s].out[i];
        got.dtype = (TnDtype)f->prog->values[id].dtype;
        void *data = f->t[id].data;
        char a[96], b[96];
        if (!tni_rt_value_dims(f, id) || !tni_plan_same(&got, &f->t[id]))
            return tni_rt_name_step(ctx, f, s,
                                    TN_RAISE(err, TN_ERR_SHAPE, "output '%s' is %s; the plan expects %s", tni_rt_value_name(ctx, f, id),
                                             tni_shape_str(a, sizeof a, got.rank, got.dims),
                                             tni_shape_str(b, sizeof b, f->t[id].rank, f->t[id].dims)),
                                    err);
        f->t[id].data = data;
        TN_TRY(tni_rt_value_size(ctx, f, id, err));
    }
    return TN_OK;
}

/* Outputs of a step whose contents decide their dims. */
static TnStatus infer_outputs(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    RtCall *c = &f->calls[s];
    PlanCheck pc = {.op = f->prog->rt[s].op,
                    .params = ctx->plan->p.params + st->params,
                    .in = c->in,
                    .n_in = st->n_in,
                    .out = c->out,
                    .n_out = st->n_out,
                    .n_exprs = ctx->plan->p.n_exprs,
                    .hidden = f->prog->rt[s].hidden,
                    .device = f->prog->rt[s].memory == RT_DEVICE,
                    .infer = true,
                    .err = err};
    TN_TRY(tni_rt_name_step(ctx, f, s, tni_plan_check(&pc), err));
    return tni_rt_define_symbols(ctx, f, s, err);
}

TnStatus tni_rt_bind_late(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const RtStep *rt = &f->prog->rt[s];
    const uint32_t *ops = ctx->plan->p.operands;
    bool by_kernel = rt->control || (tni_op_info(rt->op)->flags & TN_OPF_DATA_SHAPE);
    refresh_step(f, ctx, s);
    if (st->n_symbols && !by_kernel)
        TN_TRY(infer_outputs(ctx, f, s, err));
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = tni_rt_root(f, id);
        if (f->prog->late_value[id] && !by_kernel) {
            if (!tni_rt_value_dims(f, id))
                return tni_rt_name_step(
                    ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' has dims that nothing defines", tni_rt_value_name(ctx, f, id)), err);
            TN_TRY(tni_rt_value_size(ctx, f, id, err));
        }
        if (root != id) {
            if (by_kernel || f->bytes[id] > f->bytes[root])
                return tni_rt_name_step(
                    ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' does not fit what it shares", tni_rt_value_name(ctx, f, id)), err);
            f->t[id].data = f->t[root].data;
        } else if (f->prog->values[id].place == PLAN_AT_DYNAMIC && !by_kernel) {
            TnTensor t = f->t[id];
            TN_TRY(tni_rt_place_dynamic(ctx, f, id, t.rank, t.dims, err));
        }
    }
    refresh_step(f, ctx, s);
    if (by_kernel) {
        /* Outputs have no memory yet: type and rank are what the rule compares; resize() in run.c gives them a place of their own. */
        for (uint32_t i = 0; i < st->n_out; i++) {
            uint32_t id = ops[st->first_out + i];
            f->calls[s].out[i].data = NULL;
            if (id != PLAN_NONE) {
                f->calls[s].out[i].dtype = (TnDtype)f->prog->values[id].dtype;
                f->calls[s].out[i].rank = f->prog->values[id].rank;
                if (!rt->control && f->prog->values[id].place != PLAN_AT_DYNAMIC)
                    return tni_rt_name_step(
                        ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' has a fixed place", tni_rt_value_name(ctx, f, id)), err);
            }
        }
        f->calls[s].skip = false;
        if (rt->control)
            return TN_OK;
        TN_TRY(tni_rt_name_step(ctx, f, s, tni_rt_check_step(ctx, f, s, err), err));
        TN_TRY(tni_rt_name_step(ctx, f, s, tni_rt_check_kernel(ctx, f, s, err), err));
    } else {
        TN_TRY(tni_rt_bind_step(ctx, f, s, err));
    }
    return take_scratch(ctx, f, err);
}
