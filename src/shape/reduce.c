/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: reductions, arg-reductions, running sums, softmax.
 * In: a tensor and axes. Out: dims without (or with 1 for) the reduced axes, and small contents. */
#include "shape/rule.h"

#include <inttypes.h>

/* sum, prod, max and min of known elements when everything is reduced. */
static void reduce_known(ShapeRule *r, uint32_t fn) {
    static const struct {
        uint32_t reduce, binary;
    } pairs[] = {
        {TN_REDUCE_sum, TN_BINARY_add}, {TN_REDUCE_prod, TN_BINARY_mul}, {TN_REDUCE_max, TN_BINARY_max}, {TN_REDUCE_min, TN_BINARY_min}};
    ShapeKnown k;
    if (tni_shape_wants(r, 0) != 1 || !tni_shape_known(r, 0, &k))
        return;
    for (uint32_t i = 0; i < TN_COUNT(pairs); i++) {
        if (pairs[i].reduce != fn)
            continue;
        ShapeNum v = {d_num(r, fn == TN_REDUCE_prod), 1};
        if (k.n == 0 && fn != TN_REDUCE_sum && fn != TN_REDUCE_prod)
            return;
        for (uint32_t e = 0; e < k.n; e++) {
            ShapeNum x = {k.num[e], k.den[e]};
            v = e == 0 ? x : tni_shape_num_binary(r->m, pairs[i].binary, in_at(r, 0)->dtype, v, x);
        }
        r->out[0].has_known = true;
        r->out[0].known.n = 1;
        r->out[0].known.num[0] = v.num;
        r->out[0].known.den[0] = v.den;
    }
}

TnStatus tni_shape_reduce(ShapeRule *r) {
    TnReduceParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    int32_t rank = 0;
    uint32_t reduced = 0;
    if (p->fn >= TN_REDUCE_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "function %" PRIu32 " does not exist", p->fn);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT | (p->fn == TN_REDUCE_max || p->fn == TN_REDUCE_min ? T_BOOL : 0)));
    TN_TRY(tni_shape_rule_axes(r, p->axes, p->n_axes, x->rank));
    for (uint32_t i = 0; i < p->n_axes; i++)
        reduced |= 1u << p->axes[i];
    for (int32_t i = 0; i < x->rank; i++) {
        if ((reduced >> i & 1u) == 0)
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = d_num(r, 1);
    }
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    bool plain =
        p->fn == TN_REDUCE_sum || p->fn == TN_REDUCE_prod || p->fn == TN_REDUCE_max || p->fn == TN_REDUCE_min || p->fn == TN_REDUCE_mean;
    if (p->n_axes == 0 && plain)
        tni_shape_known_copy(r, 0, 0);
    else if (p->n_axes == (uint32_t)x->rank)
        reduce_known(r, p->fn);
    return TN_OK;
}

TnStatus tni_shape_arg_reduce(ShapeRule *r) {
    TnArgReduceParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    int32_t rank = 0;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    for (int32_t i = 0; i < x->rank; i++) {
        if (i != p->axis)
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = d_num(r, 1);
    }
    if (d_is(r, x->dims[p->axis], 0))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " has no elements to choose from", p->axis);
    tni_shape_rule_set(r, 0, TN_I64, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_cumsum(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    ShapeKnown k;
    int64_t axis;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_type(r, 1, T_INDEX));
    TN_TRY(tni_shape_rule_scalar(r, 1));
    if (tni_shape_known(r, 1, &k) && tni_shape_known_int(r, &k, 0, &axis) && (axis < -x->rank || axis >= x->rank))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId64 " is outside a tensor of rank %" PRId32, axis, x->rank);
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

TnStatus tni_shape_softmax(ShapeRule *r) {
    TnSoftmaxParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}
