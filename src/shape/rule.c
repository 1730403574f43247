/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks and helpers that the shape rules share.
 * In: a rule's context. Out: normalised parameters, dims, or an error that names the node, its operands and the rule broken.
 *
 * Broadcasting two dims that are not proven equal: 1 gives way to the other; a number greater than 1 wins over a symbol (which must then be
 * that number or 1 at run time); of two symbolic dims the one that is at least 2 wins; else both are taken to be equal, and the one that
 * does not depend on data, then the simpler one, then the first is the result. Runs whose sizes break that are refused by the runtime. */
#include "shape/rule.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

static size_t append(char *buf, size_t cap, size_t n, const char *fmt, ...) TN_PRINTF(4, 5);
static size_t append(char *buf, size_t cap, size_t n, const char *fmt, ...) {
    va_list ap;
    if (n + 1 >= cap)
        return n;
    va_start(ap, fmt);
    int k = vsnprintf(buf + n, cap - n, fmt, ap);
    va_end(ap);
    return k < 0 ? n : TN_MIN(n + (size_t)k, cap - 1);
}

static void operands_text(const ShapeRule *r, char *buf, size_t cap) {
    char dim[64];
    size_t n = 0;
    buf[0] = '\0';
    for (uint32_t i = 0; i < r->n->n_in && i < 6; i++) {
        const IrValue *v = in_at(r, i);
        n = append(buf, cap, n, i > 0 ? ", " : "");
        if (v == NULL) {
            n = append(buf, cap, n, "none");
            continue;
        }
        n = append(buf, cap, n, "'%.60s' %s[", v->name, tn_dtype_name(v->dtype));
        for (int32_t k = 0; k < v->rank; k++)
            n = append(buf, cap, n, "%s%s", k > 0 ? "," : "", tni_dim_str(dim, sizeof dim, r->m->exprs, r->m->symbols, v->dims[k]));
        n = append(buf, cap, n, "]");
    }
    if (r->n->n_in > 6)
        append(buf, cap, n, ", ...");
}

TnStatus tni_shape_rule_fail(ShapeRule *r, TnStatus code, const char *fmt, ...) {
    char message[512], operands[640];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    operands_text(r, operands, sizeof operands);
    const char *op = tni_op_info(r->n->op)->name;
    if (r->n->name == NULL)
        return TN_RAISE(r->err, code, "%s: %s; inputs: %s", op, message, operands);
    return tni_raise_node(r->err, code, r->n->name, "%s: %s; inputs: %s", op, message, operands);
}

TnStatus tni_shape_rule_type(ShapeRule *r, uint32_t i, uint32_t set) {
    const IrValue *v = in_at(r, i);
    if (v == NULL)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "input %" PRIu32 " is required", i);
    if (((set >> v->dtype) & 1u) != 0)
        return TN_OK;
    char names[256];
    size_t n = 0;
    names[0] = '\0';
    for (uint32_t t = 1; t <= TN_I2; t++) {
        if (((set >> t) & 1u) != 0)
            n = append(names, sizeof names, n, "%s%s", n > 0 ? ", " : "", tn_dtype_name((TnDtype)t));
    }
    return tni_shape_rule_fail(r, TN_ERR_TYPE, "input %" PRIu32 " is %s, expected one of %s", i, tn_dtype_name(v->dtype), names);
}

TnStatus tni_shape_rule_same_type(ShapeRule *r, uint32_t i, uint32_t j) {
    const IrValue *a = in_at(r, i), *b = in_at(r, j);
    if (a == NULL || b == NULL || a->dtype == b->dtype)
        return TN_OK;
    return tni_shape_rule_fail(r, TN_ERR_TYPE, "inputs %" PRIu32 " and %" PRIu32 " must have the same type, found %s and %s", j, i,
                               tn_dtype_name(b->dtype), tn_dtype_name(a->dtype));
}

TnStatus tni_shape_rule_rank(ShapeRule *r, uint32_t i, int32_t lo, int32_t hi) {
    const IrValue *v = in_at(r, i);
    if (v == NULL || (v->rank >= lo && v->rank <= hi))
        return TN_OK;
    if (lo == hi)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " has rank %" PRId32 ", expected %" PRId32, i, v->rank, lo);
    return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " has rank %" PRId32 ", expected %" PRId32 " to %" PRId32, i, v->rank, lo,
                               hi);
}

TnStatus tni_shape_rule_scalar(ShapeRule *r, uint32_t i) {
    const IrValue *v = in_at(r, i);
    for (int32_t k = 0; v != NULL && k < v->rank; k++) {
        int64_t n;
        if (tni_ir_dim_is_const(r->m, v->dims[k], &n) && n != 1)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " must be a single number", i);
    }
    return TN_OK;
}

TnStatus tni_shape_rule_axis(ShapeRule *r, int32_t *axis, int32_t rank) {
    if (*axis < -rank || *axis >= rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is outside a tensor of rank %" PRId32, *axis, rank);
    if (*axis < 0)
        *axis += rank;
    return TN_OK;
}

TnStatus tni_shape_rule_axes(ShapeRule *r, int32_t *axes, uint32_t n, int32_t rank) {
    if (n > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " axes; a tensor has at most %d", n, TN_MAX_RANK);
    for (uint32_t i = 0; i < n; i++)
        TN_TRY(tni_shape_rule_axis(r, &axes[i], rank));
    for (uint32_t i = 1; i < n; i++) { /* insertion sort of at most 8 */
        for (uint32_t k = i; k > 0 && axes[k - 1] > axes[k]; k--) {
            int32_t t = axes[k];
            axes[k] = axes[k - 1];
            axes[k - 1] = t;
        }
    }
    for (uint32_t i = 1; i < n; i++) {
        if (axes[i] == axes[i - 1])
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is named twice", axes[i]);
    }
    return TN_OK;
}

TnStatus tni_shape_rule_equal(ShapeRule *r, TnDim a, TnDim b, const char *what) {
    int64_t lo, hi;
    if (a == TN_DIM_NONE || b == TN_DIM_NONE || a == b)
        return TN_OK;
    tni_ir_dim_range(r->m, d_sub(r, a, b), &lo, &hi);
    if (lo <= 0 && hi >= 0)
        return TN_OK;
    char x[96], y[96];
    return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%s must be equal, found %s and %s", what,
                               tni_dim_str(x, sizeof x, r->m->exprs, r->m->symbols, a),
                               tni_dim_str(y, sizeof y, r->m->exprs, r->m->symbols, b));
}

TnStatus tni_shape_rule_vector(ShapeRule *r, uint32_t i, TnDim n, const char *what) {
    const IrValue *v = in_at(r, i);
    if (v == NULL)
        return TN_OK;
    TN_TRY(tni_shape_rule_rank(r, i, 1, 1));
    return tni_shape_rule_equal(r, v->dims[0], n, what);
}

bool tni_shape_is_data(const IrModule *m, TnDim d) {
    return d != TN_DIM_NONE && m->exprs[d].op == TN_DIM_SYMBOL && m->symbols[m->exprs[d].value].data_dependent != 0;
}

static bool depends_rec(const IrModule *m, TnDim d, uint32_t *budget) {
    const TnDimExpr *e = &m->exprs[d];
    if (e->op == TN_DIM_CONST)
        return false;
    if (e->op == TN_DIM_SYMBOL)
        return m->symbols[e->value].data_dependent != 0;
    if (*budget == 0)
        return true;
    --*budget;
    return depends_rec(m, e->a, budget) || depends_rec(m, e->b, budget) || (e->op == TN_DIM_SELECT && depends_rec(m, e->c, budget));
}

bool tni_shape_depends_on_data(const IrModule *m, TnDim d) {
    uint32_t budget = 256;
    return depends_rec(m, d, &budget);
}

static bool prefer_second(const IrModule *m, TnDim a, TnDim b) {
    bool da = tni_shape_depends_on_data(m, a), db = tni_shape_depends_on_data(m, b);
    if (da != db)
        return da;
    return m->exprs[a].op != TN_DIM_SYMBOL && m->exprs[b].op == TN_DIM_SYMBOL;
}

TnStatus tni_shape_rule_broadcast_dim(ShapeRule *r, TnDim a, TnDim b, TnDim *out) {
    int64_t x = 0, y = 0, lo, hi;
    *out = a;
    if (a == b)
        return TN_OK;
    if (a == TN_DIM_NONE || b == TN_DIM_NONE) {
        *out = TN_DIM_NONE;
        return TN_OK;
    }
    bool ca = tni_ir_dim_is_const(r->m, a, &x), cb = tni_ir_dim_is_const(r->m, b, &y);
    if (cb && y == 1)
        return TN_OK;
    if (ca && x == 1) {
        *out = b;
        return TN_OK;
    }
    if (ca && cb)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                   "dimensions %" PRId64 " and %" PRId64 " do not broadcast: they must be equal, or one of them 1", x, y);
    if (ca || cb) { /* the other one is a symbol: it can be the number, or 1 */
        TnDim s = ca ? b : a;
        int64_t c = ca ? x : y;
        tni_ir_dim_range(r->m, s, &lo, &hi);
        if ((lo > c || hi < c) && !(lo <= 1 && hi >= 1))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "dimension %" PRId64 " does not broadcast with one in %" PRId64 "..%" PRId64, c, lo,
                                       hi);
        *out = ca ? a : b;
        return TN_OK;
    }
    tni_ir_dim_range(r->m, a, &lo, &hi);
    if (lo >= 2)
        return TN_OK;
    tni_ir_dim_range(r->m, b, &lo, &hi);
    if (lo >= 2 || prefer_second(r->m, a, b))
        *out = b;
    return TN_OK;
}

TnStatus tni_shape_rule_broadcast(ShapeRule *r, int32_t *rank, TnDim *dims, const IrValue *b) {
    int32_t n = TN_MAX(*rank, b->rank);
    TnDim res[TN_MAX_RANK];
    for (int32_t i = 0; i < n; i++) {
        int32_t ia = i - (n - *rank), ib = i - (n - b->rank);
        if (ia < 0)
            res[i] = b->dims[ib];
        else if (ib < 0)
            res[i] = dims[ia];
        else
            TN_TRY(tni_shape_rule_broadcast_dim(r, dims[ia], b->dims[ib], &res[i]));
    }
    *rank = n;
    memcpy(dims, res, (size_t)n * sizeof *dims);
    return TN_OK;
}

TnStatus tni_shape_rule_broadcasts_to(ShapeRule *r, uint32_t i, int32_t rank, const TnDim *dims) {
    const IrValue *v = in_at(r, i);
    if (v == NULL)
        return TN_OK;
    if (v->rank > rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " has rank %" PRId32 ", more than the %" PRId32 " it is broadcast to",
                                   i, v->rank, rank);
    for (int32_t k = 0; k < v->rank; k++) {
        TnDim d = v->dims[k];
        if (!d_is(r, d, 1))
            TN_TRY(tni_shape_rule_equal(r, d, dims[rank - v->rank + k], "a dimension and the one it is broadcast to"));
    }
    return TN_OK;
}

TnDim tni_shape_rule_numel(ShapeRule *r, const TnDim *dims, int32_t rank) {
    TnDim n = d_num(r, 1);
    for (int32_t i = 0; i < rank; i++)
        n = d_mul(r, n, dims[i]);
    return n;
}

TnDim tni_shape_rule_data(ShapeRule *r, uint32_t o, int32_t i, TnDim bound) {
    if (r->concrete)
        return bound;
    const IrValue *v = r->n->out[o] != TN_NO_VALUE ? &r->g->values[r->n->out[o]] : NULL;
    if (v != NULL && i < v->rank && tni_shape_is_data(r->m, v->dims[i])) {
        TnSymbol *s = &r->m->symbols[r->m->exprs[v->dims[i]].value];
        bool from_input = false; /* a symbol that an operand brought is somebody else's */
        for (uint32_t k = 0; k < r->n->n_in && !from_input; k++) {
            const IrValue *x = in_at(r, k);
            for (int32_t j = 0; x != NULL && j < x->rank; j++)
                from_input = from_input || x->dims[j] == v->dims[i];
        }
        if (!from_input) {
            int64_t lo, hi;
            tni_ir_dim_range(r->m, bound, &lo, &hi);
            s->bound = bound;
            s->max = hi < 0 ? INT64_MAX : hi;
            return v->dims[i];
        }
    }
    return tni_ir_dim_data(r->m, bound);
}

void tni_shape_rule_set(ShapeRule *r, uint32_t o, TnDtype t, int32_t rank, const TnDim *dims) {
    if (o >= r->n->n_out)
        return;
    r->out[o].dtype = t;
    r->out[o].rank = rank;
    for (int32_t i = 0; i < rank; i++)
        r->out[o].dims[i] = dims[i];
}

void tni_shape_rule_like(ShapeRule *r, uint32_t o, const IrValue *v) {
    tni_shape_rule_set(r, o, v->dtype, v->rank, v->dims);
}
