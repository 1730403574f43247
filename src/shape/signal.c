/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: Fourier transforms, determinants, random numbers, reductions over axes that are computed, running products, bit casts. */
#include "shape/rule.h"

#include <inttypes.h>

TnStatus tni_shape_cumprod(ShapeRule *r) {
    return tni_shape_cumsum(r);
}

TnStatus tni_shape_bit_cast(ShapeRule *r) {
    const TnCastParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    if (p->to > TN_I2 || (T_DATA >> p->to & 1u) == 0 || tn_dtype_bits((TnDtype)p->to) != tn_dtype_bits(x->dtype))
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "the bits of %s cannot be taken as %s: both must have the same width",
                                   tn_dtype_name(x->dtype), tn_dtype_name((TnDtype)p->to));
    tni_shape_rule_set(r, 0, (TnDtype)p->to, x->rank, x->dims);
    return TN_OK;
}

/* Axes whose values are known: the dims follow. */
static TnStatus known_axes(ShapeRule *r, const TnReduceAxesParams *p, int32_t *axes, uint32_t n) {
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    int32_t rank = 0;
    uint32_t reduced = 0;
    TN_TRY(tni_shape_rule_axes(r, axes, n, x->rank));
    for (uint32_t i = 0; i < n; i++)
        reduced |= 1u << axes[i];
    if (n == 0 && !p->noop)
        reduced = UINT32_MAX;
    for (int32_t i = 0; i < x->rank; i++) {
        if ((reduced >> i & 1u) == 0)
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = d_num(r, 1);
    }
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_reduce_axes(ShapeRule *r) {
    const TnReduceAxesParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *axes = in_at(r, 1);
    ShapeKnown k;
    int64_t n = 0, v;
    int32_t at[TN_MAX_RANK];
    TnDim dims[TN_MAX_RANK], largest = d_num(r, 1);
    if (p->fn >= TN_REDUCE_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "function %" PRIu32 " does not exist", p->fn);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT | (p->fn == TN_REDUCE_max || p->fn == TN_REDUCE_min ? T_BOOL : 0)));
    TN_TRY(tni_shape_rule_type(r, 1, T_INDEX));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, 1));
    if (!tni_ir_dim_is_const(r->m, axes->dims[0], &n) || n > x->rank)
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED, "the number of axes must be known, and at most the rank of the input");
    bool known = n == 0 || (tni_shape_known(r, 1, &k) && k.n == n);
    for (int64_t i = 0; i < n && known; i++) {
        known = tni_shape_known_int(r, &k, (uint32_t)i, &v);
        if (known && (v < -x->rank || v >= x->rank))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId64 " is outside a tensor of rank %" PRId32, v, x->rank);
        at[i] = known ? (int32_t)v : 0;
    }
    if (known)
        return known_axes(r, p, at, (uint32_t)n);
    for (int32_t i = 0; i < x->rank; i++)
        largest = d_max(r, largest, x->dims[i]);
    int32_t rank = p->keepdims ? x->rank : x->rank - (int32_t)n;
    for (int32_t i = 0; i < rank; i++)
        dims[i] = tni_shape_rule_data(r, 0, i, p->keepdims ? d_max(r, x->dims[i], d_num(r, 1)) : largest);
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_det(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_equal(r, x->dims[x->rank - 2], x->dims[x->rank - 1], "the last two dimensions"));
    tni_shape_rule_set(r, 0, x->dtype, x->rank - 2, x->dims);
    return TN_OK;
}

/* Scalar operand i as a dim; TN_DIM_NONE: absent or unknown. */
static TnDim scalar_dim(ShapeRule *r, uint32_t i) {
    ShapeKnown k;
    return tni_shape_known(r, i, &k) && k.n == 1 ? tni_shape_known_dim(&k, 0) : TN_DIM_NONE;
}

TnStatus tni_shape_dft(ShapeRule *r) {
    TnDftParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    int64_t v = p->axis, last;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, TN_MAX_RANK));
    TnDim length = TN_DIM_NONE, dims[TN_MAX_RANK];
    for (uint32_t i = 1; i < 3; i++) {
        if (in_at(r, i) == NULL)
            continue;
        TN_TRY(tni_shape_rule_type(r, i, T_INDEX));
        TN_TRY(tni_shape_rule_scalar(r, i));
    }
    bool known_axis = in_at(r, 2) == NULL || tni_ir_dim_is_const(r->m, scalar_dim(r, 2), &v);
    if (known_axis) {
        if (v < -x->rank || v >= x->rank)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId64 " is outside a tensor of rank %" PRId32, v, x->rank);
        v += v < 0 ? x->rank : 0;
        if (v == x->rank - 1)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "the transform cannot run along the last axis, which holds real and imaginary parts");
        if (in_at(r, 2) == NULL)
            p->axis = (int32_t)v;
    }
    if (tni_ir_dim_is_const(r->m, x->dims[x->rank - 1], &last) && last != 1 && last != 2)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the last dimension is %" PRId64 ", expected 1 (real) or 2 (complex)", last);
    memcpy(dims, x->dims, sizeof dims);
    dims[x->rank - 1] = d_num(r, p->inverse && p->onesided ? 1 : 2);
    if (!known_axis) {
        for (int32_t i = 0; i + 1 < x->rank; i++)
            dims[i] = TN_DIM_NONE;
    } else {
        length = in_at(r, 1) != NULL ? scalar_dim(r, 1) : dims[v];
        if (in_at(r, 1) == NULL && p->inverse && p->onesided)
            length = d_mul(r, d_sub(r, dims[v], d_num(r, 1)), d_num(r, 2));
        dims[v] = p->onesided && !p->inverse ? d_add(r, d_floordiv(r, length, d_num(r, 2)), d_num(r, 1)) : length;
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_random(ShapeRule *r) {
    const TnRandomParams *p = r->n->params;
    const IrValue *s = in_at(r, 0);
    ShapeKnown k;
    int64_t n;
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_INDEX));
    TN_TRY(tni_shape_rule_rank(r, 0, 1, 1));
    if (p->kind > TN_RANDOM_NORMAL || p->dtype > TN_I2 || (T_FLOAT >> p->dtype & 1u) == 0)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "random numbers of type %s are not supported", tn_dtype_name((TnDtype)p->dtype));
    if (!tni_ir_dim_is_const(r->m, s->dims[0], &n) || n > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the rank of the result must be known and at most %d", TN_MAX_RANK);
    bool known = tni_shape_known(r, 0, &k) && k.n == n;
    for (int64_t i = 0; i < n; i++)
        dims[i] = known ? tni_shape_known_dim(&k, (uint32_t)i) : TN_DIM_NONE;
    tni_shape_rule_set(r, 0, (TnDtype)p->dtype, (int32_t)n, dims);
    return TN_OK;
}
