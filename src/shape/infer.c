/* SPDX-License-Identifier: Apache-2.0
 *
 * The driver: runs the rule of every node in order and stores what it found.
 * In: a module whose inputs and constants have types and dims. Out: all values have them. Invariants: a value whose rule gives the same
 * answer again keeps its ids (data-dependent symbols included); dims that are numbers are >= 0 and their product fits int64. */
#include "shape/rule.h"

#include <inttypes.h>

static const ShapeFn rules[TN_OP_COUNT] = {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) [TN_OP_##name] = tni_shape_##name,
#include "kernel/ops.inc"
#undef OP
};

ShapeFn tni_shape_rule_of(TnOp op) {
    return rules[op];
}

/* Arithmetic on numbers that overflowed (or divided by 0) is left as it stands by src/ir: such a dim has no value. */
static bool impossible(const ShapeRule *r, TnDim d) {
    const TnDimExpr *e = &r->m->exprs[d];
    int64_t v;
    if (e->op == TN_DIM_CONST || e->op == TN_DIM_SYMBOL)
        return false;
    return r->concrete || (tni_ir_dim_is_const(r->m, e->a, &v) && tni_ir_dim_is_const(r->m, e->b, &v) && e->op != TN_DIM_SELECT);
}

/* Numbers among the dims: not negative, and the tensor's bits count in int64. */
static TnStatus check_dims(ShapeRule *r, uint32_t o) {
    const ShapeOut *x = &r->out[o];
    int64_t product = (int64_t)TN_MAX(tn_dtype_bits(x->dtype), 8u), d, lo, hi; /* in bits, as sizes are counted */
    if (x->dtype == TN_UNDEFINED || x->rank < 0 || x->rank > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the result would have rank %" PRId32 "; at most %d is supported", x->rank,
                                   TN_MAX_RANK);
    for (int32_t i = 0; i < x->rank; i++) {
        if (tni_ir_dim_is_const(r->m, x->dims[i], &d)) {
            if (d < 0)
                return tni_shape_rule_fail(r, TN_ERR_SHAPE, "dimension %" PRId32 " of output %" PRIu32 " would be %" PRId64, i, o, d);
            if (d > 0 && (!tni_mul_i64(product, d, &product) || product > INT64_MAX - 7))
                return tni_shape_rule_fail(r, TN_ERR_SHAPE, "output %" PRIu32 " would not fit the address space", o);
            continue;
        }
        if (impossible(r, x->dims[i]))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "dimension %" PRId32 " of output %" PRIu32 " overflows or divides by zero", i, o);
        tni_ir_dim_range(r->m, x->dims[i], &lo, &hi);
        if (hi < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "dimension %" PRId32 " of output %" PRIu32 " would always be negative", i, o);
    }
    return TN_OK;
}

/* Contents go to the arena only when they changed. */
static TnStatus store_known(ShapeRule *r, const ShapeOut *x, IrValue *v) {
    const ShapeKnown *k = &x->known;
    bool some = false, all = true;
    for (uint32_t i = 0; x->has_known && i < k->n; i++) {
        some = some || k->num[i] != TN_DIM_NONE;
        all = all && k->num[i] != TN_DIM_NONE && k->den[i] == 1;
    }
    if (!x->has_known || (!some && k->n > 0)) {
        v->known = NULL;
        v->elems = NULL;
        v->n_elems = 0;
        return TN_OK;
    }
    bool same = v->known != NULL && v->known->n == k->n && memcmp(v->known->num, k->num, k->n * sizeof k->num[0]) == 0 &&
                memcmp(v->known->den, k->den, k->n * sizeof k->den[0]) == 0;
    if (!same) {
        ShapeKnown *copy = tni_arena_calloc(r->m->arena, 1, sizeof *copy);
        if (copy == NULL)
            return TN_OOM(r->err, sizeof *copy);
        copy->n = k->n;
        memcpy(copy->num, k->num, k->n * sizeof k->num[0]);
        memcpy(copy->den, k->den, k->n * sizeof k->den[0]);
        v->known = copy;
    }
    bool elems = all && v->rank <= 1 && ((T_INT | T_BOOL) >> v->dtype & 1u) != 0;
    v->elems = elems ? v->known->num : NULL;
    v->n_elems = elems ? k->n : 0;
    return TN_OK;
}

TnStatus tni_shape_store(ShapeRule *r, uint32_t o, IrValue *v) {
    ShapeOut *x = &r->out[o];
    TN_TRY(tni_ir_dims_check(r->m, r->err));
    for (int32_t i = 0; i < x->rank && x->rank <= TN_MAX_RANK; i++) {
        if (x->dims[i] == TN_DIM_NONE)
            x->dims[i] = tni_shape_rule_data(r, o, i, TN_DIM_NONE);
        if (x->dims[i] == TN_DIM_NONE && r->concrete)
            return tni_shape_rule_fail(r, TN_ERR_RUN, "dimension %" PRId32 " of output %" PRIu32 " cannot be computed from the operands", i,
                                       o);
    }
    TN_TRY(tni_ir_dims_check(r->m, r->err));
    TN_TRY(check_dims(r, o));
    v->dtype = x->dtype;
    v->rank = x->rank;
    for (int32_t i = 0; i < TN_MAX_RANK; i++)
        v->dims[i] = i < x->rank ? x->dims[i] : TN_DIM_NONE;
    return r->concrete ? TN_OK : store_known(r, x, v);
}

/* Every operand that is there has been inferred. */
static TnStatus check_inputs(ShapeRule *r) {
    const TnOpInfo *info = tni_op_info(r->n->op);
    if (r->n->n_in < info->min_in || r->n->n_in > info->max_in || r->n->n_out < info->min_out || r->n->n_out > info->max_out)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "wrong number of operands");
    for (uint32_t i = 0; i < r->n->n_in; i++) {
        const IrValue *v = in_at(r, i);
        if (v == NULL) {
            if (i < info->min_in && (info->flags & TN_OPF_CONTROL) == 0)
                return tni_shape_rule_fail(r, TN_ERR_GRAPH, "input %" PRIu32 " is required", i);
            continue;
        }
        if (v->rank < 0 || v->dtype == TN_UNDEFINED)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " ('%s') has no known type or rank", i, v->name);
        for (int32_t k = 0; k < v->rank; k++) {
            if (v->dims[k] == TN_DIM_NONE)
                return tni_shape_rule_fail(r, TN_ERR_SHAPE, "dimension %" PRId32 " of input %" PRIu32 " ('%s') is not set", k, i, v->name);
        }
    }
    return TN_OK;
}

static TnStatus infer_into(ShapeRule *r) {
    TN_TRY(check_inputs(r));
    TN_TRY(rules[r->n->op](r));
    TN_TRY(tni_ir_dims_check(r->m, r->err));
    for (uint32_t i = 0; i < r->n->n_out; i++) {
        if (r->n->out[i] != TN_NO_VALUE)
            TN_TRY(tni_shape_store(r, i, &r->g->values[r->n->out[i]]));
    }
    return TN_OK;
}

TnStatus tni_shape_infer_node(IrModule *m, IrGraph *g, IrNodeId n, TnError *err) {
    ShapeOut few[4];
    const TnAllocator *a = tni_arena_allocator(m->arena);
    ShapeRule r = {m, g, &g->nodes[n], few, false, err};
    uint32_t n_out = r.n->n_out;
    if (n_out > TN_COUNT(few)) {
        r.out = tni_calloc(a, n_out, sizeof *r.out);
        if (r.out == NULL)
            return TN_OOM(err, n_out * sizeof *r.out);
    }
    for (uint32_t i = 0; i < n_out; i++) {
        r.out[i].dtype = TN_UNDEFINED;
        r.out[i].rank = -1;
        r.out[i].has_known = false;
    }
    TnStatus st = infer_into(&r);
    if (r.out != few)
        tni_free(a, r.out);
    return st;
}

TnStatus tni_shape_graph(IrModule *m, IrGraph *g, TnError *err) {
    for (IrNodeId n = 0; n < g->n_nodes; n++) {
        if (!g->nodes[n].dead)
            TN_TRY(tni_shape_infer_node(m, g, n, err));
    }
    return TN_OK;
}

TnStatus tni_shape_value_copy(IrModule *m, IrValue *dst, const IrValue *src, TnError *err) {
    dst->dtype = src->dtype;
    dst->rank = src->rank;
    memcpy(dst->dims, src->dims, sizeof dst->dims);
    dst->known = src->known;
    dst->elems = src->elems;
    dst->n_elems = src->n_elems;
    if (src->kind == IR_CONST) { /* contents of constants are read when asked for; a captured one has no data here */
        ShapeRule r = {m, NULL, NULL, NULL, false, err};
        ShapeKnown k;
        dst->known = NULL;
        if (tni_shape_known_value(&r, src, &k)) {
            ShapeKnown *copy = tni_arena_calloc(m->arena, 1, sizeof *copy);
            if (copy == NULL)
                return TN_OOM(err, sizeof *copy);
            *copy = k;
            dst->known = copy;
        }
    }
    return TN_OK;
}

/* Graphs that no control node owns are roots: main, or the named programs of a generator. */
TnStatus tni_shape_infer(IrModule *m, TnError *err) {
    const TnAllocator *a = tni_arena_allocator(m->arena);
    uint8_t *owned = tni_calloc(a, (size_t)m->n_graphs + 1, 1);
    TnStatus st = TN_OK;
    if (owned == NULL)
        return TN_OOM(err, m->n_graphs);
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const IrGraph *g = m->graphs[i];
        for (IrNodeId n = 0; n < g->n_nodes; n++) {
            if (g->nodes[n].dead || (tni_op_info(g->nodes[n].op)->flags & TN_OPF_CONTROL) == 0)
                continue;
            const TnControlParams *p = g->nodes[n].params;
            for (uint32_t k = 0; k < (g->nodes[n].op == TN_OP_loop ? 1u : 2u); k++) {
                if (p->graph[k] < m->n_graphs)
                    owned[p->graph[k]] = 1;
            }
        }
    }
    m->dims_oom = false;
    for (uint32_t i = 0; i < m->n_graphs && st == TN_OK; i++) {
        IrGraph *g = m->graphs[i];
        if (owned[i])
            continue;
        for (uint32_t k = 0; k < g->n_inputs && st == TN_OK; k++) {
            const IrValue *v = &g->values[g->inputs[k]];
            if (v->rank < 0 || v->dtype == TN_UNDEFINED)
                st =
                    TN_RAISE(err, TN_ERR_SHAPE, "input '%s' of graph '%s' has no declared type or rank; export the model with typed inputs",
                             v->name, g->name);
        }
        if (st == TN_OK)
            st = tni_shape_graph(m, g, err);
    }
    tni_free(a, owned);
    return st;
}
