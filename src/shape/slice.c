/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: slice, pad, concat, split.
 * In: tensors and positions (constants or known contents). Out: dims; positions are clamped as ONNX says, with min and max only where the
 * ranges do not decide. */
#include "shape/rule.h"

#include <inttypes.h>

/* Which elements a slice takes of one axis. */
typedef struct Cut {
    TnDim start, count; /* TN_DIM_NONE: unknown */
    int64_t step;
} Cut;

/* A position that may count from the end: p < 0 ? p + d : p. A size never is negative, whatever its expression allows. */
static TnDim from_end(ShapeRule *r, TnDim p, TnDim d) {
    int64_t lo, hi;
    if (p == TN_DIM_NONE || tni_ir_dim_equal(r->m, p, d))
        return p;
    tni_ir_dim_range(r->m, p, &lo, &hi);
    if (lo >= 0)
        return p;
    TnDim moved = d_add(r, p, d);
    if (hi < 0)
        return moved;
    return tni_ir_dim_select(r->m, tni_ir_dim_op(r->m, TN_DIM_LT, p, d_num(r, 0)), moved, p);
}

/* min(max(p, lo), hi) for lo <= hi. */
static TnDim clamp(ShapeRule *r, TnDim p, TnDim lo, TnDim hi) {
    if (p == TN_DIM_NONE || tni_ir_dim_equal(r->m, p, lo) || tni_ir_dim_equal(r->m, p, hi))
        return p;
    return d_max(r, d_min(r, p, hi), lo);
}

/* Positions beyond any size mean "to the end". */
static bool is_huge(const ShapeRule *r, TnDim p) {
    int64_t v;
    return tni_ir_dim_is_const(r->m, p, &v) && v >= INT32_MAX;
}

static bool is_tiny(const ShapeRule *r, TnDim p) {
    int64_t v;
    return tni_ir_dim_is_const(r->m, p, &v) && v <= -(int64_t)INT32_MAX;
}

static TnDim position(ShapeRule *r, TnDim p, TnDim d, TnDim lo, TnDim hi) {
    if (is_huge(r, p) && !r->concrete)
        return hi;
    if (is_tiny(r, p) && !r->concrete)
        return lo;
    return clamp(r, from_end(r, p, d), lo, hi);
}

static void cut_axis(ShapeRule *r, TnDim d, TnDim start, TnDim end, int64_t step, Cut *c) {
    TnDim zero = d_num(r, 0), one = d_num(r, 1);
    TnDim first = step > 0 ? zero : d_num(r, -1), last = step > 0 ? d : d_sub(r, d, one);
    c->step = step;
    if (d_is(r, d, 0)) {
        c->start = c->count = zero;
        return;
    }
    c->start = position(r, start, d, zero, last);
    TnDim stop = position(r, end, d, first, last);
    TnDim span = step > 0 ? d_sub(r, stop, c->start) : d_sub(r, c->start, stop);
    if (tni_ir_dim_equal(r->m, span, d)) /* all of it: a size, so not negative */
        c->count = step == INT64_MIN ? one : d_ceildiv(r, d, d_num(r, step > 0 ? step : -step));
    else
        c->count = d_max(r, d_ceildiv(r, span, d_num(r, step > 0 ? step : step == INT64_MIN ? INT64_MAX : -step)), zero);
}

static TnStatus slice_axes(ShapeRule *r, int64_t n, int32_t *axes) {
    const IrValue *x = in_at(r, 0);
    int64_t given[TN_MAX_RANK];
    uint32_t seen = 0, count;
    for (int32_t i = 0; i < (int32_t)n; i++)
        axes[i] = i;
    if (in_at(r, 3) != NULL) {
        TN_TRY(tni_shape_rule_ints(r, 3, TN_MAX_RANK, given, &count));
        if (count != n)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " axes for %" PRId64 " starts", count, n);
        for (uint32_t i = 0; i < count; i++) {
            if (given[i] < -x->rank || given[i] >= x->rank)
                return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId64 " is outside a tensor of rank %" PRId32, given[i], x->rank);
            axes[i] = (int32_t)(given[i] < 0 ? given[i] + x->rank : given[i]);
        }
    }
    for (int32_t i = 0; i < (int32_t)n; i++) {
        if (axes[i] >= x->rank || (seen >> axes[i] & 1u) != 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is out of range or named twice", axes[i]);
        seen |= 1u << axes[i];
    }
    return TN_OK;
}

/* Contents of a slice whose starts are numbers. */
static void slice_known(ShapeRule *r, const Cut *cuts) {
    const IrValue *x = in_at(r, 0);
    int64_t strides[TN_MAX_RANK], base = 0, start;
    if (tni_shape_wants(r, 0) < 0 || !tni_shape_strides(r, x->dims, x->rank, strides))
        return;
    for (int32_t i = 0; i < x->rank; i++) {
        if (cuts[i].step == 0)
            continue;
        if (!tni_ir_dim_is_const(r->m, cuts[i].start, &start) || cuts[i].step > TN_DIMS_MAX || cuts[i].step < -TN_DIMS_MAX)
            return;
        base += start * strides[i];
        strides[i] *= cuts[i].step;
    }
    tni_shape_known_strided(r, 0, 0, base, strides);
}

TnStatus tni_shape_slice(ShapeRule *r) {
    const IrValue *x = in_at(r, 0), *s = in_at(r, 1);
    int32_t axes[TN_MAX_RANK];
    int64_t n;
    ShapeKnown starts, ends, steps;
    TnDim dims[TN_MAX_RANK];
    Cut cuts[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    for (uint32_t i = 1; i < r->n->n_in; i++) {
        if (in_at(r, i) == NULL)
            continue;
        TN_TRY(tni_shape_rule_type(r, i, T_INDEX));
        TN_TRY(tni_shape_rule_same_type(r, i, 1));
        TN_TRY(tni_shape_rule_vector(r, i, s->dims[0], "lengths of starts, ends, axes and steps"));
    }
    if (!tni_ir_dim_is_const(r->m, s->dims[0], &n) || n > x->rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the number of starts must be a number up to the input's rank");
    TN_TRY(slice_axes(r, n, axes));
    bool ks = tni_shape_known(r, 1, &starts), ke = tni_shape_known(r, 2, &ends), kt = tni_shape_known(r, 4, &steps);
    memcpy(dims, x->dims, sizeof dims);
    memset(cuts, 0, sizeof cuts);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        int64_t step = 1;
        bool known_step = in_at(r, 4) == NULL || (kt && tni_shape_known_int(r, &steps, i, &step));
        if (step == 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the step of axis %" PRId32 " is 0", axes[i]);
        Cut *c = &cuts[axes[i]];
        c->count = c->start = TN_DIM_NONE;
        c->step = step;
        if (known_step)
            cut_axis(r, x->dims[axes[i]], ks ? tni_shape_known_dim(&starts, i) : TN_DIM_NONE,
                     ke ? tni_shape_known_dim(&ends, i) : TN_DIM_NONE, step, c);
        dims[axes[i]] = c->count != TN_DIM_NONE ? c->count : tni_shape_rule_data(r, 0, axes[i], x->dims[axes[i]]);
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    slice_known(r, cuts);
    return TN_OK;
}

/* Reflection needs a source inside the input. */
static TnStatus check_pad(ShapeRule *r, uint32_t mode, TnDim d, TnDim begin, TnDim end, int32_t axis) {
    int64_t n, v;
    TnDim both[2] = {begin, end};
    for (int i = 0; i < 2; i++) {
        if (!tni_ir_dim_is_const(r->m, both[i], &v) || !tni_ir_dim_is_const(r->m, d, &n) || v <= 0)
            continue;
        if ((mode == TN_PADDING_REFLECT && v >= n) || (mode != TN_PADDING_CONSTANT && n == 0))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "axis %" PRId32 " of %" PRId64 " elements cannot be padded by %" PRId64 " in this mode", axis, n, v);
    }
    return TN_OK;
}

TnStatus tni_shape_pad(ShapeRule *r) {
    const TnPadParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    int64_t axes[TN_MAX_RANK];
    uint32_t n = (uint32_t)x->rank, seen = 0;
    TnDim dims[TN_MAX_RANK];
    ShapeKnown k;
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_same_type(r, 2, 0));
    TN_TRY(tni_shape_rule_scalar(r, 2));
    if (p->mode > TN_PADDING_WRAP)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "mode %" PRIu32 " does not exist", p->mode);
    for (uint32_t i = 0; i < n; i++)
        axes[i] = i;
    if (in_at(r, 3) != NULL)
        TN_TRY(tni_shape_rule_ints(r, 3, TN_MAX_RANK, axes, &n));
    TN_TRY(tni_shape_rule_vector(r, 1, d_num(r, 2 * (int64_t)n), "the number of pads and twice the number of axes"));
    bool known = tni_shape_known(r, 1, &k) && k.n == 2 * n;
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t i = 0; i < n; i++) {
        if (axes[i] < -x->rank || axes[i] >= x->rank)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId64 " is outside a tensor of rank %" PRId32, axes[i], x->rank);
        int32_t a = (int32_t)(axes[i] < 0 ? axes[i] + x->rank : axes[i]);
        if ((seen >> a & 1u) != 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is named twice", a);
        seen |= 1u << a;
        TnDim begin = known ? tni_shape_known_dim(&k, i) : TN_DIM_NONE, end = known ? tni_shape_known_dim(&k, n + i) : TN_DIM_NONE;
        TN_TRY(check_pad(r, p->mode, x->dims[a], begin, end, a));
        dims[a] = d_add(r, d_add(r, x->dims[a], begin), end);
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

/* Contents of a concatenation along the first axis, or of vectors. */
static void concat_known(ShapeRule *r, int32_t axis) {
    ShapeOut *o = &r->out[0];
    int64_t n = tni_shape_wants(r, 0), d = 1, inner = 1, row, at = 0;
    if (n < 0)
        return;
    for (int32_t i = axis; i < o->rank; i++) {
        if (tni_ir_dim_is_const(r->m, o->dims[i], &d))
            inner *= d; /* elements of one outer index */
    }
    o->known.n = (uint32_t)n;
    for (int64_t e = 0; e < n; e++) {
        o->known.num[e] = TN_DIM_NONE;
        o->known.den[e] = 1;
    }
    o->has_known = true;
    for (uint32_t i = 0; i < r->n->n_in; i++) {
        ShapeKnown k;
        const IrValue *x = in_at(r, i);
        row = 1;
        for (int32_t a = axis; a < x->rank; a++) {
            if (tni_ir_dim_is_const(r->m, x->dims[a], &d))
                row *= d;
        }
        bool known = tni_shape_known(r, i, &k);
        for (int64_t e = 0; known && row > 0 && e < (int64_t)k.n; e++) {
            int64_t to = e / row * inner + at + e % row;
            if (to < n) {
                o->known.num[to] = k.num[e];
                o->known.den[to] = k.den[e];
            }
        }
        at += row;
    }
}

TnStatus tni_shape_concat(ShapeRule *r) {
    TnAxisParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t i = 1; i < r->n->n_in; i++) {
        const IrValue *v = in_at(r, i);
        int64_t c;
        if (v == NULL)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "input %" PRIu32 " is required", i);
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        TN_TRY(tni_shape_rule_rank(r, i, x->rank, x->rank));
        for (int32_t a = 0; a < x->rank; a++) {
            if (a == p->axis)
                continue;
            TN_TRY(tni_shape_rule_equal(r, dims[a], v->dims[a], "dimensions off the axis"));
            if (tni_ir_dim_is_const(r->m, v->dims[a], &c)) /* a number says more than a symbol */
                dims[a] = v->dims[a];
        }
        dims[p->axis] = d_add(r, dims[p->axis], v->dims[p->axis]);
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    concat_known(r, p->axis);
    return TN_OK;
}

static void split_known(ShapeRule *r, uint32_t o, int32_t axis, int64_t from) {
    const IrValue *x = in_at(r, 0);
    int64_t strides[TN_MAX_RANK];
    if (tni_shape_wants(r, o) >= 0 && tni_shape_strides(r, x->dims, x->rank, strides))
        tni_shape_known_strided(r, o, 0, from * strides[axis], strides);
}

/* Size of part i without explicit sizes: ceil(d / n) each, the last one what is left. */
static TnStatus equal_part(ShapeRule *r, TnDim d, uint32_t n, uint32_t i, TnDim *part) {
    int64_t v;
    TnDim each = d_ceildiv(r, d, d_num(r, n));
    *part = i + 1 < n ? each : d_sub(r, d, d_mul(r, each, d_num(r, (int64_t)n - 1)));
    if (tni_ir_dim_is_const(r->m, *part, &v) && v < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the axis cannot be split in %" PRIu32 " parts", n);
    return TN_OK;
}

TnStatus tni_shape_split(ShapeRule *r) {
    TnAxisParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *sizes = in_at(r, 1);
    uint32_t n = r->n->n_out;
    ShapeKnown k;
    int64_t v, from = 0;
    bool from_known = true;
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    TnDim dims[TN_MAX_RANK], axis_dim = x->dims[p->axis], sum = d_num(r, 0);
    memcpy(dims, x->dims, sizeof dims);
    if (sizes == NULL && p->n != 0 && p->n != n)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " parts for %" PRIu32 " outputs", p->n, n);
    if (sizes != NULL) {
        TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
        TN_TRY(tni_shape_rule_vector(r, 1, d_num(r, n), "the number of sizes and of outputs"));
    }
    bool known = sizes != NULL && tni_shape_known(r, 1, &k) && k.n == n;
    bool direct = sizes != NULL && !known && sizes->kind == IR_CONST && sizes->data != NULL; /* more parts than contents are kept of */
    for (uint32_t i = 0; i < n; i++) {
        TnDim part = TN_DIM_NONE;
        if (sizes == NULL)
            TN_TRY(equal_part(r, axis_dim, n, i, &part));
        else if (direct)
            part = d_num(r, tni_load_i64(TN_I64, sizes->data, i));
        else if (known)
            part = tni_shape_known_dim(&k, i);
        if (tni_ir_dim_is_const(r->m, part, &v) && v < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "part %" PRIu32 " would have %" PRId64 " elements", i, v);
        sum = d_add(r, sum, part);
        dims[p->axis] = part != TN_DIM_NONE ? part : tni_shape_rule_data(r, i, p->axis, axis_dim);
        tni_shape_rule_set(r, i, x->dtype, x->rank, dims);
        if (from_known)
            split_known(r, i, p->axis, from);
        from_known = from_known && tni_ir_dim_is_const(r->m, part, &v) && tni_add_i64(from, v, &from);
    }
    return sizes != NULL ? tni_shape_rule_equal(r, sum, axis_dim, "the sum of the sizes and the axis") : TN_OK;
}
