/* SPDX-License-Identifier: Apache-2.0
 *
 * Binding: from the shapes of inputs to the value of every dim, a place for every tensor, and every step checked with numbers. In: tensors
 * of a program's inputs. Out: calls that run.c makes without looking. Nothing is allocated when shapes were seen before. */
#include <inttypes.h>
#include <stdio.h>

#include "backend/registry.h"
#include "runtime/runtime.h"

uint32_t tni_rt_root(const RtFrame *f, uint32_t value) {
    const PlanValue *v = &f->prog->values[value];
    return v->place == PLAN_AT_ALIAS ? v->place_arg : value;
}

const char *tni_rt_step_name(const RtFrame *f, const TnContext *ctx, uint32_t step) {
    return ctx->plan->p.strings + f->prog->steps[step].name;
}

static const char *value_name(const TnContext *ctx, const RtFrame *f, uint32_t id) {
    return ctx->plan->p.strings + f->prog->values[id].name;
}

/* ---- dims ---- */

static TnStatus check_range(const TnContext *ctx, const RtFrame *f, uint32_t input, int32_t axis, uint32_t sym, int64_t v, TnError *err) {
    const TnSymbol *s = &ctx->plan->p.symbols[sym];
    char upto[32] = "any size";
    if (v >= s->min && v <= s->max)
        return TN_OK;
    if (s->max != INT64_MAX)
        snprintf(upto, sizeof upto, "%" PRId64, s->max);
    return TN_RAISE(err, TN_ERR_SHAPE,
                    "input '%s' dim %d (%s) is %" PRId64 "; this plan was built for %" PRId64 "..%s; rebuild with --shapes %s=%" PRId64 ":%" PRId64
                    ":%" PRId64,
                    value_name(ctx, f, f->prog->inputs[input]), axis, s->name, v, s->min, upto, s->name, TN_MIN(s->min, v), s->opt,
                    s->max == INT64_MAX ? TN_MAX(v, s->opt) : TN_MAX(s->max, v));
}

/* Symbols from the dims of inputs, rank and type of which are compared; the rest is filled from presets. */
static TnStatus bind_symbols(const TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known, TnError *err) {
    const Plan *p = &ctx->plan->p;
    memset(f->symbol_known, 0, p->n_symbols);
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        uint32_t id = f->prog->inputs[i];
        const PlanValue *v = &f->prog->values[id];
        const TnTensor *t = &inputs[i];
        if (t->dtype != (TnDtype)v->dtype)
            return TN_RAISE(err, TN_ERR_TYPE, "input '%s' is %s, expected %s", value_name(ctx, f, id), tn_dtype_name(t->dtype),
                            tn_dtype_name((TnDtype)v->dtype));
        if (t->rank != v->rank)
            return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' has rank %d, expected %d", value_name(ctx, f, id), t->rank, v->rank);
        for (int32_t d = 0; d < v->rank; d++) {
            const TnDimExpr *e = &p->exprs[v->dims[d]];
            if (e->op != TN_DIM_SYMBOL)
                continue;
            uint32_t sym = (uint32_t)e->value;
            if (f->symbol_known[sym] && f->symbols[sym] != t->dims[d])
                return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' dim %d is %" PRId64 ", but %s is %" PRId64 " in an input before it",
                                value_name(ctx, f, id), d, t->dims[d], p->symbols[sym].name, f->symbols[sym]);
            if (!p->symbols[sym].data_dependent && f->top)
                TN_TRY(check_range(ctx, f, i, d, sym, t->dims[d], err));
            f->symbols[sym] = t->dims[d];
            f->symbol_known[sym] = 1;
        }
    }
    for (uint32_t s = 0; known && s < p->n_symbols; s++) {
        if (known[s] && !f->symbol_known[s]) {
            f->symbols[s] = preset[s];
            f->symbol_known[s] = 1;
        }
    }
    return TN_OK;
}

/* Evaluates needed expressions of a kind (1: fixed at bind, 2: known while running) as far as their symbols are known. */
static TnStatus evaluate(const TnContext *ctx, RtFrame *f, uint8_t kind, TnError *err) {
    const Plan *p = &ctx->plan->p;
    const uint8_t *need = f->prog->need_expr;
    for (uint32_t i = 0; i < p->n_exprs; i++) {
        const TnDimExpr *e = &p->exprs[i];
        if (need[i] != kind)
            continue;
        f->expr_known[i] = 0;
        if (e->op == TN_DIM_CONST) {
            f->exprs[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            if (!f->symbol_known[e->value])
                continue;
            f->exprs[i] = f->symbols[e->value];
        } else {
            int64_t third = 0;
            if (!f->expr_known[e->a] || !f->expr_known[e->b])
                continue;
            if (e->op == TN_DIM_SELECT) {
                if (!f->expr_known[e->c])
                    continue;
                third = f->exprs[e->c];
            }
            if (!tni_dim_apply((TnDimOp)e->op, f->exprs[e->a], f->exprs[e->b], third, &f->exprs[i])) {
                char text[256];
                return TN_RAISE(err, TN_ERR_SHAPE, "the dimension %s overflows or divides by zero for these inputs",
                                tni_dim_str(text, sizeof text, p->exprs, p->symbols, i));
            }
        }
        f->expr_known[i] = 1;
    }
    return TN_OK;
}

/* dims and bytes of a value from the expressions; false: some dim is not known yet. */
static bool value_dims(RtFrame *f, uint32_t id) {
    const PlanValue *v = &f->prog->values[id];
    TnTensor *t = &f->t[id];
    t->dtype = (TnDtype)v->dtype;
    t->rank = v->rank;
    for (int32_t d = 0; d < v->rank; d++) {
        if (!f->expr_known[v->dims[d]])
            return false;
        t->dims[d] = f->exprs[v->dims[d]];
    }
    return true;
}

static TnStatus value_size(const TnContext *ctx, RtFrame *f, uint32_t id, TnError *err) {
    TnTensor *t = &f->t[id];
    size_t bytes;
    char text[96];
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, &bytes) || bytes > PTRDIFF_MAX)
        return TN_RAISE(err, TN_ERR_SHAPE, "tensor '%s' would be %s for these inputs", value_name(ctx, f, id),
                        tni_shape_str(text, sizeof text, t->rank, t->dims));
    f->bytes[id] = bytes;
    return TN_OK;
}

static TnStatus bind_dims(const TnContext *ctx, RtFrame *f, TnError *err) {
    const RtProgram *r = f->prog;
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        if (r->late_value[i])
            continue;
        if (!value_dims(f, i))
            return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' has a dimension that no input gives", value_name(ctx, f, i));
        TN_TRY(value_size(ctx, f, i, err));
    }
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        uint32_t root = tni_rt_root(f, i);
        if (!r->late_value[i] && !r->late_value[root] && f->bytes[i] > f->bytes[root])
            return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' is larger than '%s', whose bytes it shares", value_name(ctx, f, i),
                            value_name(ctx, f, root));
    }
    return TN_OK;
}

/* Inputs against the evaluated dims of their declaration. */
static TnStatus check_inputs(const TnContext *ctx, const RtFrame *f, const TnTensor *inputs, TnError *err) {
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        uint32_t id = f->prog->inputs[i];
        const TnTensor *t = &inputs[i], *want = &f->t[id];
        for (int32_t d = 0; d < want->rank; d++) {
            if (t->dims[d] == want->dims[d])
                continue;
            char text[256];
            return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' dim %d is %" PRId64 ", expected %" PRId64 " (%s)", value_name(ctx, f, id), d, t->dims[d],
                            want->dims[d],
                            tni_dim_str(text, sizeof text, ctx->plan->p.exprs, ctx->plan->p.symbols, f->prog->values[id].dims[d]));
        }
    }
    return TN_OK;
}

/* ---- places ---- */

/* Offsets stay while every tensor fits its slot; else slots grow and are laid out again. */
static TnStatus bind_arena(TnContext *ctx, RtFrame *f, TnError *err) {
    const RtProgram *r = f->prog;
    bool fits = f->laid_out;
    uint64_t total, bound;
    for (uint32_t k = 0; k < r->n_slots && fits; k++)
        fits = f->bytes[f->slot_value[k]] <= f->slot_bytes[k];
    if (!fits) {
        for (uint32_t k = 0; k < r->n_slots; k++)
            f->slot_bytes[k] = TN_MAX(f->laid_out ? f->slot_bytes[k] : 0, f->bytes[f->slot_value[k]]);
        f->laid_out = false;
        if (!tni_plan_arena(r->n_slots, r->g->n_steps, f->slot_bytes, f->slot_first, f->slot_last, true, f->arena_scratch, f->slot_offset, &total,
                            &bound))
            return TN_RAISE(err, TN_ERR_SHAPE, "the tensors of these shapes do not fit into memory");
        f->arena_bytes = total;
        f->laid_out = true;
    }
    return tni_rt_grow(ctx, f->arena, TN_MAX((size_t)f->arena_bytes, (size_t)1), false, err);
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
            TN_TRY(tni_rt_grow(ctx, &s->buf, TN_MAX((size_t)f->bytes[i], (size_t)1), true, err));
        s->t = f->t[i];
        s->t.data = s->buf.p;
    }
    return TN_OK;
}

static void *place_of(const TnContext *ctx, const RtFrame *f, uint32_t id) {
    const PlanValue *v = &f->prog->values[id];
    switch (v->place) {
    case PLAN_AT_WEIGHT:
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
    for (uint32_t k = 0; k < r->n_slots; k++)
        f->t[f->slot_value[k]].data = f->arena->p + f->slot_offset[k];
    for (uint32_t i = 0; i < r->g->n_outputs; i++)
        if (f->user_out[i])
            f->t[tni_rt_root(f, r->outputs[i])].data = f->user_out[i];
    for (uint32_t i = 0; i < r->g->n_values; i++)
        if (r->values[i].place == PLAN_AT_ALIAS)
            f->t[i].data = f->t[r->values[i].place_arg].data;
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        refresh_step(f, ctx, s);
}

/* ---- steps ---- */

static bool overlap(const void *a, uint64_t na, const void *b, uint64_t nb) {
    uintptr_t pa = (uintptr_t)a, pb = (uintptr_t)b;
    return na > 0 && nb > 0 && pa < pb + nb && pb < pa + na;
}

/* Outputs share memory with inputs only as the operator allows, lie where writing is allowed, and apart from each other. */
static TnStatus check_memory(const TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const uint32_t *ops = ctx->plan->p.operands;
    uint32_t flags = tni_op_info(f->prog->rt[s].op)->flags;
    RtCall *c = &f->calls[s];
    c->skip = false;
    for (uint32_t j = 0; j < st->n_out; j++) {
        uint32_t id = ops[st->first_out + j];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = tni_rt_root(f, id), place = f->prog->values[root].place;
        uint32_t first = ops[st->first_in];
        if ((flags & TN_OPF_VIEW) && j == 0 && first != PLAN_NONE && tni_rt_root(f, first) == root && f->bytes[id] == f->bytes[first]) {
            c->skip = true;
            continue;
        }
        if (place != PLAN_AT_ARENA && place != PLAN_AT_DYNAMIC && place != PLAN_AT_STATE)
            return TN_RAISE(err, TN_ERR_PLAN, "output %u lies in memory that may not be written", j);
        for (uint32_t i = 0; i < st->n_in; i++) {
            uint32_t in = ops[st->first_in + i];
            if (in == PLAN_NONE || !overlap(f->t[id].data, f->bytes[id], f->t[in].data, f->bytes[in]))
                continue;
            if (!(flags & TN_OPF_INPLACE) || j != 0 || f->t[id].data != f->t[in].data || f->bytes[id] != f->bytes[in])
                return TN_RAISE(err, TN_ERR_PLAN, "output %u overlaps input %u", j, i);
        }
        for (uint32_t k = 0; k < j; k++) {
            uint32_t other = ops[st->first_out + k];
            if (other != PLAN_NONE && overlap(f->t[id].data, f->bytes[id], f->t[other].data, f->bytes[other]))
                return TN_RAISE(err, TN_ERR_PLAN, "outputs %u and %u overlap", k, j);
        }
    }
    if (f->prog->rt[s].op == TN_OP_cache_append) {
        uint32_t cache = tni_rt_root(f, ops[st->first_in + 1]);
        if (f->prog->values[cache].place != PLAN_AT_STATE)
            return TN_RAISE(err, TN_ERR_PLAN, "the cache is not a state");
        for (uint32_t i = 0; i < 3; i += 2)
            if (overlap(c->in[i].data, tn_tensor_bytes(&c->in[i]), c->in[1].data, tn_tensor_bytes(&c->in[1])))
                return TN_RAISE(err, TN_ERR_PLAN, "input %u overlaps the cache", i);
    }
    return TN_OK;
}

/* What the kernel is asked: data of constants only. */
static TnKernelQuery make_query(const TnContext *ctx, RtFrame *f, uint32_t s) {
    const PlanStep *st = &f->prog->steps[s];
    const RtCall *c = &f->calls[s];
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = ctx->plan->p.operands[st->first_in + i];
        f->query_in[i] = c->in[i];
        f->query_in[i].data = NULL;
        if (id == PLAN_NONE)
            continue;
        uint32_t place = f->prog->values[tni_rt_root(f, id)].place;
        if (place == PLAN_AT_WEIGHT)
            f->query_in[i].data = c->in[i].data;
        else if (place == PLAN_AT_PACKED && c->packed) /* a constant: there is no other form to show */
            f->query_in[i].data = (void *)(uintptr_t)c->packed[i];
    }
    return (TnKernelQuery){.op = f->prog->rt[s].op,
                           .params = ctx->plan->p.params + st->params,
                           .in = f->query_in,
                           .n_in = st->n_in,
                           .out = c->out,
                           .n_out = st->n_out,
                           .threads = tni_threads_count(ctx->threads)};
}

/* Packed bytes that the plan has of input i, 0 = none. */
static size_t packed_bytes(const TnContext *ctx, const RtFrame *f, uint32_t s, uint32_t i) {
    uint32_t id = f->calls[s].packed ? ctx->plan->p.operands[f->prog->steps[s].first_packed + i] : PLAN_NONE;
    return id == PLAN_NONE ? 0 : (size_t)f->prog->values[id].bytes;
}

/* The constants are stored as k wants them. */
static bool packing_fits(const TnContext *ctx, const RtFrame *f, uint32_t s, const TnKernel *k, const TnKernelQuery *q, uint32_t *bad) {
    for (*bad = 0; *bad < q->n_in; ++*bad) {
        bool constant = q->in[*bad].data != NULL;
        size_t want = k->packed_bytes && constant ? k->packed_bytes(q, *bad) : 0;
        if (want != packed_bytes(ctx, f, s, *bad))
            return false;
    }
    return true;
}

/* The kernel of the plan was chosen for other sizes and cannot do these: the cheapest of those that can, with constants as they are
 * stored. NULL: none. */
static const TnKernel *other_kernel(const TnContext *ctx, const RtFrame *f, uint32_t s, const TnKernelQuery *q) {
    const TnKernel *was = f->prog->rt[s].kernel, *best = NULL;
    double least = 0;
    uint32_t n, bad;
    const TnKernel *all = tni_kernels(&n);
    for (uint32_t i = 0; i < n; i++) {
        const TnKernel *k = &all[i];
        bool packs = f->calls[s].packed != NULL;
        if (k->op != was->op || (k->cpu & ~ctx->plan->p.header->cpu_flags) || (k->supports && !k->supports(q)))
            continue;
        if (packs && (!k->packing || !was->packing || strcmp(k->packing, was->packing) != 0))
            continue;
        double cost = k->cost ? k->cost(q) : 1e30;
        if (!packing_fits(ctx, f, s, k, q, &bad) || (best && cost >= least))
            continue;
        best = k;
        least = cost;
    }
    return best;
}

static TnStatus check_kernel(const TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const TnKernel *k = f->prog->rt[s].kernel;
    TnKernelQuery q = make_query(ctx, f, s);
    uint32_t bad;
    if (k->supports && !k->supports(&q)) {
        const TnKernel *other = other_kernel(ctx, f, s, &q);
        if (!other)
            return TN_RAISE(err, TN_ERR_SHAPE, "kernel %s was chosen when the plan was built and cannot do these shapes, nor can another; rebuild "
                            "with other --shapes", k->name);
        k = other;
    } else if (!packing_fits(ctx, f, s, k, &q, &bad)) {
        return TN_RAISE(err, TN_ERR_PLAN, "kernel %s wants other packed bytes of input %u than the %zu that the plan has", k->name, bad,
                        packed_bytes(ctx, f, s, bad));
    }
    f->calls[s].kernel = k;
    size_t scratch = k->scratch ? k->scratch(&q) : 0;
    if (scratch > PTRDIFF_MAX)
        return TN_RAISE(err, TN_ERR_MEMORY, "kernel %s needs %zu bytes of scratch", k->name, scratch);
    f->scratch = TN_MAX(f->scratch, scratch);
    return TN_OK;
}

TnStatus tni_rt_check_step(const TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const RtCall *c = &f->calls[s];
    PlanCheck pc = {.op = f->prog->rt[s].op,
                    .params = ctx->plan->p.params + st->params,
                    .in = c->in,
                    .n_in = st->n_in,
                    .out = c->out,
                    .n_out = st->n_out,
                    .n_exprs = ctx->plan->p.n_exprs,
                    .err = err};
    return tni_plan_check(&pc);
}

static TnStatus name_step(const TnContext *ctx, const RtFrame *f, uint32_t s, TnStatus st, TnError *err) {
    if (st != TN_OK && err) {
        tni_error_prefix(err, st, "node '%s'", tni_rt_step_name(f, ctx, s));
        snprintf(err->node, sizeof err->node, "%s", tni_rt_step_name(f, ctx, s));
    }
    return st;
}

static TnStatus bind_step(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const RtStep *rt = &f->prog->rt[s];
    TnStatus st = check_memory(ctx, f, s, err);
    if (st == TN_OK && rt->kernel && !rt->check_run)
        st = tni_rt_check_step(ctx, f, s, err);
    if (st == TN_OK && rt->kernel && !f->calls[s].skip)
        st = check_kernel(ctx, f, s, err);
    return name_step(ctx, f, s, st, err);
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
    if (f->bound_arena != f->arena->p || f->bound_states != ctx->states_epoch)
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
    return evaluate(ctx, f, 2, err);
}

void tni_rt_release(TnContext *ctx, RtFrame *f) {
    for (uint32_t i = 0; f->prog->dynamic && i < f->prog->g->n_values; i++)
        tni_rt_pool_give(ctx, &f->block[i]);
}

static TnStatus bind_all(TnContext *ctx, RtFrame *f, const TnTensor *inputs, TnError *err) {
    const RtProgram *r = f->prog;
    TN_TRY(evaluate(ctx, f, 1, err));
    TN_TRY(bind_dims(ctx, f, err));
    TN_TRY(check_inputs(ctx, f, inputs, err));
    TN_TRY(bind_arena(ctx, f, err));
    TN_TRY(bind_states(ctx, f, err));
    set_addresses(ctx, f);
    f->scratch = 0;
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        if (!r->rt[s].late)
            TN_TRY(bind_step(ctx, f, s, err));
    return tni_rt_grow(ctx, &ctx->scratch, f->scratch, false, err);
}

TnStatus tni_rt_bind(TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known, TnError *err) {
    tni_rt_release(ctx, f);
    if (f->bound && same_shapes(ctx, f, inputs, preset, known)) {
        bool moved = !same_addresses(ctx, f, inputs);
        if (moved && f->bound_states != ctx->states_epoch)
            TN_TRY(bind_states(ctx, f, err));
        /* Another program may have tried to grow what is shared, in vain. */
        TN_TRY(tni_rt_grow(ctx, f->arena, TN_MAX((size_t)f->arena_bytes, (size_t)1), false, err));
        TN_TRY(tni_rt_grow(ctx, &ctx->scratch, f->scratch, false, err));
        moved |= f->bound_arena != f->arena->p;
        remember(ctx, f, inputs, preset, known);
        if (moved)
            set_addresses(ctx, f);
    } else {
        f->bound = false;
        remember(ctx, f, inputs, preset, known);
        TN_TRY(bind_symbols(ctx, f, inputs, preset, known, err));
        TN_TRY(bind_all(ctx, f, inputs, err));
        f->bound = true;
    }
    f->bound_arena = f->arena->p;
    f->bound_states = ctx->states_epoch;
    return reset_late(ctx, f, err);
}

/* ---- while running ---- */

TnStatus tni_rt_place_dynamic(TnContext *ctx, RtFrame *f, uint32_t id, int32_t rank, const int64_t *dims, TnError *err) {
    const PlanValue *v = &f->prog->values[id];
    TnTensor *t = &f->t[id];
    if (v->place != PLAN_AT_DYNAMIC || rank != v->rank)
        return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' has a fixed place or another rank than %d", value_name(ctx, f, id), rank);
    t->dtype = (TnDtype)v->dtype;
    t->rank = rank;
    if (rank > 0)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    TN_TRY(value_size(ctx, f, id, err));
    tni_rt_pool_give(ctx, &f->block[id]);
    TN_TRY(tni_rt_pool_take(ctx, (size_t)f->bytes[id], &f->block[id], err));
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
    TN_TRY(evaluate(ctx, f, 2, err));
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = p->operands[st->first_out + i];
        if (id == PLAN_NONE)
            continue;
        TnTensor got = f->calls[s].out[i];
        got.dtype = (TnDtype)f->prog->values[id].dtype;
        void *data = f->t[id].data;
        char a[96], b[96];
        if (!value_dims(f, id) || !tni_plan_same(&got, &f->t[id]))
            return name_step(ctx, f, s,
                             TN_RAISE(err, TN_ERR_SHAPE, "output '%s' is %s; the plan expects %s", value_name(ctx, f, id),
                                      tni_shape_str(a, sizeof a, got.rank, got.dims), tni_shape_str(b, sizeof b, f->t[id].rank, f->t[id].dims)),
                             err);
        f->t[id].data = data;
        TN_TRY(value_size(ctx, f, id, err));
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
                    .infer = true,
                    .err = err};
    TN_TRY(name_step(ctx, f, s, tni_plan_check(&pc), err));
    return tni_rt_define_symbols(ctx, f, s, err);
}

TnStatus tni_rt_bind_late(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const RtStep *rt = &f->prog->rt[s];
    const uint32_t *ops = ctx->plan->p.operands;
    bool by_kernel = !rt->kernel || (tni_op_info(rt->op)->flags & TN_OPF_DATA_SHAPE);
    refresh_step(f, ctx, s);
    if (st->n_symbols && !by_kernel)
        TN_TRY(infer_outputs(ctx, f, s, err));
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = ops[st->first_out + i];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = tni_rt_root(f, id);
        if (f->prog->late_value[id] && !by_kernel) {
            if (!value_dims(f, id))
                return name_step(ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' has dims that nothing defines", value_name(ctx, f, id)), err);
            TN_TRY(value_size(ctx, f, id, err));
        }
        if (root != id) {
            if (by_kernel || f->bytes[id] > f->bytes[root])
                return name_step(ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' does not fit what it shares", value_name(ctx, f, id)), err);
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
                if (rt->kernel && f->prog->values[id].place != PLAN_AT_DYNAMIC)
                    return name_step(ctx, f, s, TN_RAISE(err, TN_ERR_PLAN, "output '%s' has a fixed place", value_name(ctx, f, id)), err);
            }
        }
        f->calls[s].skip = false;
        if (!rt->kernel)
            return TN_OK;
        TN_TRY(name_step(ctx, f, s, tni_rt_check_step(ctx, f, s, err), err));
        TN_TRY(name_step(ctx, f, s, check_kernel(ctx, f, s, err), err));
    } else {
        TN_TRY(bind_step(ctx, f, s, err));
    }
    return tni_rt_grow(ctx, &ctx->scratch, f->scratch, false, err);
}
