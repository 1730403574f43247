/* SPDX-License-Identifier: Apache-2.0
 *
 * Dims of a frame as numbers: symbols from the shapes of inputs, expressions from symbols, sizes of tensors from expressions. */
#include <inttypes.h>
#include <stdio.h>

#include "runtime/bind.h"

const char *tni_rt_value_name(const TnContext *ctx, const RtFrame *f, uint32_t id) {
    return ctx->plan->p.strings + f->prog->values[id].name;
}

static TnStatus check_range(const TnContext *ctx, const RtFrame *f, uint32_t input, int32_t axis, uint32_t sym, int64_t v, TnError *err) {
    const TnSymbol *s = &ctx->plan->p.symbols[sym];
    char upto[32] = "any size";
    if (v >= s->min && v <= s->max)
        return TN_OK;
    if (s->max != INT64_MAX)
        snprintf(upto, sizeof upto, "%" PRId64, s->max);
    return TN_RAISE(err, TN_ERR_SHAPE,
                    "input '%s' dim %d (%s) is %" PRId64 "; this plan was built for %" PRId64 "..%s; rebuild with --shapes %s=%" PRId64
                    ":%" PRId64 ":%" PRId64,
                    tni_rt_value_name(ctx, f, f->prog->inputs[input]), axis, s->name, v, s->min, upto, s->name, TN_MIN(s->min, v), s->opt,
                    s->max == INT64_MAX ? TN_MAX(v, s->opt) : TN_MAX(s->max, v));
}

/* Symbols from the dims of inputs, rank and type of which are compared; the rest is filled from presets. */
TnStatus tni_rt_bind_symbols(const TnContext *ctx, RtFrame *f, const TnTensor *inputs, const int64_t *preset, const uint8_t *known,
                             TnError *err) {
    const Plan *p = &ctx->plan->p;
    memset(f->symbol_known, 0, p->n_symbols);
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        uint32_t id = f->prog->inputs[i];
        const PlanValue *v = &f->prog->values[id];
        const TnTensor *t = &inputs[i];
        if (t->dtype != (TnDtype)v->dtype)
            return TN_RAISE(err, TN_ERR_TYPE, "input '%s' is %s, expected %s", tni_rt_value_name(ctx, f, id), tn_dtype_name(t->dtype),
                            tn_dtype_name((TnDtype)v->dtype));
        if (t->rank != v->rank)
            return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' has rank %d, expected %d", tni_rt_value_name(ctx, f, id), t->rank, v->rank);
        for (int32_t d = 0; d < v->rank; d++) {
            const TnDimExpr *e = &p->exprs[v->dims[d]];
            if (e->op != TN_DIM_SYMBOL)
                continue;
            uint32_t sym = (uint32_t)e->value;
            if (f->symbol_known[sym] && f->symbols[sym] != t->dims[d])
                return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' dim %d is %" PRId64 ", but %s is %" PRId64 " in an input before it",
                                tni_rt_value_name(ctx, f, id), d, t->dims[d], p->symbols[sym].name, f->symbols[sym]);
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
TnStatus tni_rt_evaluate(const TnContext *ctx, RtFrame *f, uint8_t kind, TnError *err) {
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
bool tni_rt_value_dims(RtFrame *f, uint32_t id) {
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

TnStatus tni_rt_value_size(const TnContext *ctx, RtFrame *f, uint32_t id, TnError *err) {
    TnTensor *t = &f->t[id];
    size_t bytes;
    char text[96];
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, &bytes) || bytes > PTRDIFF_MAX)
        return TN_RAISE(err, TN_ERR_SHAPE, "tensor '%s' would be %s for these inputs", tni_rt_value_name(ctx, f, id),
                        tni_shape_str(text, sizeof text, t->rank, t->dims));
    f->bytes[id] = bytes;
    return TN_OK;
}

TnStatus tni_rt_bind_dims(const TnContext *ctx, RtFrame *f, TnError *err) {
    const RtProgram *r = f->prog;
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        if (r->late_value[i])
            continue;
        if (!tni_rt_value_dims(f, i))
            return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' has a dimension that no input gives", tni_rt_value_name(ctx, f, i));
        TN_TRY(tni_rt_value_size(ctx, f, i, err));
    }
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        uint32_t root = tni_rt_root(f, i);
        if (!r->late_value[i] && !r->late_value[root] && f->bytes[i] > f->bytes[root])
            return TN_RAISE(err, TN_ERR_PLAN, "tensor '%s' is larger than '%s', whose bytes it shares", tni_rt_value_name(ctx, f, i),
                            tni_rt_value_name(ctx, f, root));
    }
    return TN_OK;
}

/* Inputs against the evaluated dims of their declaration. */
TnStatus tni_rt_check_inputs(const TnContext *ctx, const RtFrame *f, const TnTensor *inputs, TnError *err) {
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        uint32_t id = f->prog->inputs[i];
        const TnTensor *t = &inputs[i], *want = &f->t[id];
        for (int32_t d = 0; d < want->rank; d++) {
            if (t->dims[d] == want->dims[d])
                continue;
            char text[256];
            return TN_RAISE(err, TN_ERR_SHAPE, "input '%s' dim %d is %" PRId64 ", expected %" PRId64 " (%s)", tni_rt_value_name(ctx, f, id),
                            d, t->dims[d], want->dims[d],
                            tni_dim_str(text, sizeof text, ctx->plan->p.exprs, ctx->plan->p.symbols, f->prog->values[id].dims[d]));
        }
    }
    return TN_OK;
}
