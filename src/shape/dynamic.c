/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: operators whose result's size depends on values.
 * In: the tensors that are searched. Out: data-dependent dims with an upper bound wherever there is one. */
#include "shape/rule.h"

#include <inttypes.h>

TnStatus tni_shape_topk(ShapeRule *r) {
    TnTopkParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK], count = TN_DIM_NONE;
    ShapeKnown k;
    int64_t v, n;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_scalar(r, 1));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    if (tni_shape_known(r, 1, &k) && k.n == 1)
        count = tni_shape_known_dim(&k, 0);
    if (tni_ir_dim_is_const(r->m, count, &v) && (v < 0 || (tni_ir_dim_is_const(r->m, x->dims[p->axis], &n) && v > n)))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "k is %" PRId64 ", expected 0 to the number of elements of axis %" PRId32, v, p->axis);
    memcpy(dims, x->dims, sizeof dims);
    if (count == TN_DIM_NONE) {
        uint32_t o = r->n->out[0] != TN_NO_VALUE ? 0 : 1;
        count = tni_shape_rule_data(r, o, p->axis, x->dims[p->axis]);
    }
    dims[p->axis] = count;
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    tni_shape_rule_set(r, 1, TN_I64, x->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_nonzero(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT | T_BOOL));
    TnDim dims[2] = {d_num(r, TN_MAX(x->rank, 1)), tni_shape_rule_data(r, 0, 1, tni_shape_rule_numel(r, x->dims, x->rank))};
    tni_shape_rule_set(r, 0, TN_I64, 2, dims);
    return TN_OK;
}

TnStatus tni_shape_compress(ShapeRule *r) {
    TnCompressParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *c = in_at(r, 1);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_BOOL));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, 1));
    if (p->flatten) {
        TnDim n = d_min(r, tni_shape_rule_numel(r, x->dims, x->rank), c->dims[0]);
        dims[0] = tni_shape_rule_data(r, 0, 0, n);
        tni_shape_rule_set(r, 0, x->dtype, 1, dims);
        return TN_OK;
    }
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    memcpy(dims, x->dims, sizeof dims);
    dims[p->axis] = tni_shape_rule_data(r, 0, p->axis, d_min(r, x->dims[p->axis], c->dims[0]));
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

/* The data-dependent dim that several outputs share lives on the first of them that somebody wants: (output, axis) pairs in order. */
TnStatus tni_shape_unique(ShapeRule *r) {
    TnUniqueParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK], total = tni_shape_rule_numel(r, x->dims, x->rank), all = total;
    int32_t rank = 1, axis = 0;
    uint32_t o = 0;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT | T_BOOL));
    if (!p->flatten) {
        TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
        rank = x->rank;
        axis = p->axis;
        memcpy(dims, x->dims, sizeof dims);
        all = x->dims[axis];
    }
    while (o < r->n->n_out && (r->n->out[o] == TN_NO_VALUE || o == 2)) /* output 2 has one entry an element */
        o++;
    TnDim n = o < r->n->n_out ? tni_shape_rule_data(r, o, o == 0 ? axis : 0, all) : all;
    dims[axis] = n;
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    tni_shape_rule_set(r, 1, TN_I64, 1, &n);
    tni_shape_rule_set(r, 2, TN_I64, 1, &all);
    tni_shape_rule_set(r, 3, TN_I64, 1, &n);
    return TN_OK;
}

TnStatus tni_shape_non_max_suppression(ShapeRule *r) {
    const IrValue *boxes = in_at(r, 0), *scores = in_at(r, 1);
    ShapeKnown k;
    TN_TRY(tni_shape_rule_type(r, 0, T_BIT(TN_F32)));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_F32)));
    TN_TRY(tni_shape_rule_rank(r, 0, 3, 3));
    TN_TRY(tni_shape_rule_rank(r, 1, 3, 3));
    TN_TRY(tni_shape_rule_equal(r, boxes->dims[0], scores->dims[0], "batches of boxes and scores"));
    TN_TRY(tni_shape_rule_equal(r, boxes->dims[1], scores->dims[2], "numbers of boxes and scores"));
    TN_TRY(tni_shape_rule_equal(r, boxes->dims[2], d_num(r, 4), "columns of the boxes and 4"));
    for (uint32_t i = 2; i < 5; i++) {
        if (in_at(r, i) != NULL)
            TN_TRY(tni_shape_rule_type(r, i, i == 2 ? T_BIT(TN_I64) : T_BIT(TN_F32)));
        TN_TRY(tni_shape_rule_scalar(r, i));
    }
    /* At most max_output_boxes_per_class (default 0: none) of each class of each picture. */
    TnDim each = in_at(r, 2) == NULL ? d_num(r, 0) : TN_DIM_NONE;
    if (tni_shape_known(r, 2, &k) && k.n == 1)
        each = tni_shape_known_dim(&k, 0);
    each = each == TN_DIM_NONE ? boxes->dims[1] : d_max(r, d_min(r, each, boxes->dims[1]), d_num(r, 0));
    TnDim bound = d_mul(r, d_mul(r, scores->dims[0], scores->dims[1]), each);
    TnDim dims[2] = {tni_shape_rule_data(r, 0, 0, bound), d_num(r, 3)};
    tni_shape_rule_set(r, 0, TN_I64, 2, dims);
    return TN_OK;
}
