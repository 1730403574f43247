/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: recurrences, and what samples or folds images. */
#include "shape/rule.h"

#include <inttypes.h>

/* Operand i (if there) has these dims (TN_DIM_NONE: any) and the type of input 0. */
static TnStatus expect(ShapeRule *r, uint32_t i, int32_t rank, const TnDim *dims, const char *what) {
    const IrValue *v = in_at(r, i);
    if (v == NULL)
        return TN_OK;
    TN_TRY(tni_shape_rule_same_type(r, i, 0));
    TN_TRY(tni_shape_rule_rank(r, i, rank, rank));
    for (int32_t a = 0; a < rank; a++)
        TN_TRY(tni_shape_rule_equal(r, v->dims[a], dims[a], what));
    return TN_OK;
}

TnStatus tni_shape_recurrent(ShapeRule *r) {
    const TnRecurrentParams *p = r->n->params;
    static const int64_t gates[TN_CELL_COUNT] = {1, 3, 4};
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 3, 3));
    if (p->kind >= TN_CELL_COUNT || p->hidden < 1 || p->hidden > INT32_MAX / 8 || p->directions < 1 || p->directions > 2)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "hidden size %" PRIu32 " and %" PRIu32 " directions are not possible", p->hidden,
                                   p->directions);
    for (uint32_t i = 0; i < 3 * p->directions; i++)
        if (p->act[i] >= TN_CELL_ACT_COUNT)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "activation %" PRIu32 " does not exist", p->act[i]);
    int32_t bf = p->batch_first != 0;
    TnDim s = x->dims[bf], b = x->dims[1 - bf], d = d_num(r, p->directions), h = d_num(r, p->hidden);
    TnDim g = d_num(r, gates[p->kind] * (int64_t)p->hidden), state[3] = {bf ? b : d, bf ? d : b, h};
    TN_TRY(expect(r, 1, 3, (TnDim[]){d, g, x->dims[2]}, "W must be [directions, gates * hidden, input]: its dimensions"));
    TN_TRY(expect(r, 2, 3, (TnDim[]){d, g, h}, "R must be [directions, gates * hidden, hidden]: its dimensions"));
    TN_TRY(expect(r, 3, 2, (TnDim[]){d, d_mul(r, g, d_num(r, 2))}, "B must be [directions, 2 * gates * hidden]: its dimensions"));
    if (in_at(r, 4) != NULL) {
        TN_TRY(tni_shape_rule_type(r, 4, T_BIT(TN_I32)));
        TN_TRY(tni_shape_rule_vector(r, 4, b, "the lengths and the batch"));
    }
    TN_TRY(expect(r, 5, 3, state, "the dimensions of the initial state"));
    TN_TRY(expect(r, 6, 3, state, "the dimensions of the initial cell"));
    TN_TRY(expect(r, 7, 2, (TnDim[]){d, d_mul(r, h, d_num(r, 3))}, "peepholes must be [directions, 3 * hidden]: their dimensions"));
    TnDim y[4] = {bf ? b : s, bf ? s : d, bf ? d : b, h};
    tni_shape_rule_set(r, 0, x->dtype, 4, y);
    tni_shape_rule_set(r, 1, x->dtype, 3, state);
    tni_shape_rule_set(r, 2, x->dtype, 3, state);
    return TN_OK;
}

/* Divides a width by heads: [.., heads * d] -> d. */
static TnStatus per_head(ShapeRule *r, uint32_t i, uint32_t heads, TnDim *d) {
    int64_t w;
    TnDim width = in_at(r, i)->dims[2];
    if (tni_ir_dim_is_const(r->m, width, &w) && w % (int64_t)heads != 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " heads do not divide the last dimension of input %" PRIu32, heads, i);
    *d = d_floordiv(r, width, d_num(r, heads));
    return TN_OK;
}

TnStatus tni_shape_linear_attention(ShapeRule *r) {
    const TnLinearAttentionParams *p = r->n->params;
    const IrValue *q = in_at(r, 0), *g = in_at(r, 4);
    TnDim dk, dv, dq;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    if (p->rule >= TN_LINEAR_COUNT || p->kv_heads < 1 || p->q_heads < 1 || p->q_heads % p->kv_heads != 0 || p->q_heads > 65536)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "%" PRIu32 " query heads must be a multiple of %" PRIu32 " key heads", p->q_heads,
                                   p->kv_heads);
    for (uint32_t i = 0; i < 6; i++) {
        if (i == 3 || in_at(r, i) == NULL)
            continue;
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        TN_TRY(tni_shape_rule_rank(r, i, 3, 3));
        for (int32_t a = 0; a < 2; a++)
            TN_TRY(tni_shape_rule_equal(r, in_at(r, i)->dims[a], q->dims[a], "batch and length of the inputs"));
    }
    TN_TRY(per_head(r, 0, p->q_heads, &dq));
    TN_TRY(per_head(r, 1, p->kv_heads, &dk));
    TN_TRY(per_head(r, 2, p->kv_heads, &dv));
    TN_TRY(tni_shape_rule_equal(r, dq, dk, "the sizes of query and key heads"));
    bool gated = p->rule == TN_LINEAR_GATED || p->rule == TN_LINEAR_GATED_DELTA, delta = p->rule >= TN_LINEAR_DELTA;
    if ((gated && g == NULL) || (delta && in_at(r, 5) == NULL))
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "the update rule needs input %d", gated && g == NULL ? 4 : 5);
    TnDim state[4] = {q->dims[0], d_num(r, p->kv_heads), dk, dv}, y[3] = {q->dims[0], q->dims[1], d_mul(r, dv, d_num(r, p->q_heads))};
    TN_TRY(expect(r, 3, 4, state, "the dimensions of the state"));
    tni_shape_rule_set(r, 0, q->dtype, 3, y);
    tni_shape_rule_set(r, 1, q->dtype, 4, state);
    return TN_OK;
}

TnStatus tni_shape_deform_conv(ShapeRule *r) {
    const TnDeformConvParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *w = in_at(r, 1);
    TnDim out[2];
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 4, 4));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    TN_TRY(tni_shape_rule_rank(r, 1, 4, 4));
    if (p->group < 1 || p->offset_groups < 1)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "groups must be at least 1");
    for (int32_t i = 0; i < 2; i++) {
        if (p->stride[i] < 1 || p->dilation[i] < 1 || p->pads[i] < 0 || p->pads[2 + i] < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "stride, dilation or pads of spatial axis %d are not possible", i);
        TnDim window = d_add(r, d_mul(r, d_num(r, p->dilation[i]), d_sub(r, w->dims[2 + i], d_num(r, 1))), d_num(r, 1));
        TnDim slack = d_sub(r, d_add(r, x->dims[2 + i], d_num(r, (int64_t)p->pads[i] + p->pads[2 + i])), window);
        out[i] = d_add(r, d_floordiv(r, slack, d_num(r, p->stride[i])), d_num(r, 1));
    }
    TN_TRY(tni_shape_rule_equal(r, x->dims[1], d_mul(r, w->dims[1], d_num(r, p->group)), "the channels of input and weights"));
    TnDim taps = d_mul(r, d_mul(r, w->dims[2], w->dims[3]), d_num(r, p->offset_groups));
    TN_TRY(expect(r, 2, 4, (TnDim[]){x->dims[0], d_mul(r, taps, d_num(r, 2)), out[0], out[1]}, "the dimensions of the offsets"));
    TN_TRY(expect(r, 3, 1, (TnDim[]){w->dims[0]}, "the bias and the output channels"));
    TN_TRY(expect(r, 4, 4, (TnDim[]){x->dims[0], taps, out[0], out[1]}, "the dimensions of the mask"));
    TnDim y[4] = {x->dims[0], w->dims[0], out[0], out[1]};
    tni_shape_rule_set(r, 0, x->dtype, 4, y);
    return TN_OK;
}

TnStatus tni_shape_roi_pool(ShapeRule *r) {
    const TnRoiPoolParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *rois = in_at(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 4, 4));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    TN_TRY(tni_shape_rule_rank(r, 1, 2, 2));
    TN_TRY(tni_shape_rule_equal(r, rois->dims[1], d_num(r, 5), "the numbers of a region (batch, x1, y1, x2, y2) and 5"));
    if (p->height < 1 || p->width < 1)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the pooled size is %" PRId32 " by %" PRId32 ", expected at least 1", p->height,
                                   p->width);
    TnDim y[4] = {rois->dims[0], x->dims[1], d_num(r, p->height), d_num(r, p->width)};
    tni_shape_rule_set(r, 0, x->dtype, 4, y);
    return TN_OK;
}

TnStatus tni_shape_col2im(ShapeRule *r) {
    const TnCol2ImParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    ShapeKnown image, block;
    TnDim dims[TN_MAX_RANK], n = d_num(r, p->n_spatial), taps = d_num(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_rank(r, 0, 3, 3));
    if (p->n_spatial < 1 || p->n_spatial > 3)
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED, "%" PRIu32 " spatial axes; 1 to 3 are supported", p->n_spatial);
    for (uint32_t i = 0; i < p->n_spatial; i++)
        if (p->stride[i] < 1 || p->dilation[i] < 1 || p->pads[i] < 0 || p->pads[p->n_spatial + i] < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "stride, dilation or pads of spatial axis %" PRIu32 " are not possible", i);
    for (uint32_t i = 1; i < 3; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_INDEX));
        TN_TRY(tni_shape_rule_vector(r, i, n, "the number of sizes and of spatial axes"));
    }
    bool ki = tni_shape_known(r, 1, &image) && image.n == p->n_spatial, kb = tni_shape_known(r, 2, &block) && block.n == p->n_spatial;
    dims[0] = x->dims[0];
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        dims[2 + i] = ki ? tni_shape_known_dim(&image, i) : TN_DIM_NONE;
        taps = kb ? d_mul(r, taps, tni_shape_known_dim(&block, i)) : TN_DIM_NONE;
    }
    dims[1] = taps == TN_DIM_NONE || d_is(r, taps, 0) ? TN_DIM_NONE : d_floordiv(r, x->dims[1], taps);
    tni_shape_rule_set(r, 0, x->dtype, 2 + (int32_t)p->n_spatial, dims);
    return TN_OK;
}

TnStatus tni_shape_grid_sample(ShapeRule *r) {
    const TnGridSampleParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *g = in_at(r, 1);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 3, 5));
    TN_TRY(tni_shape_rule_type(r, 1, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 1, x->rank, x->rank));
    if (p->mode > TN_GRID_CUBIC || p->padding > TN_GRID_REFLECTION)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "mode %" PRIu32 " or padding %" PRIu32 " does not exist", p->mode, p->padding);
    TN_TRY(tni_shape_rule_equal(r, x->dims[0], g->dims[0], "the batches of input and grid"));
    TN_TRY(tni_shape_rule_equal(r, g->dims[x->rank - 1], d_num(r, x->rank - 2), "the grid's coordinates and the spatial axes"));
    dims[0] = x->dims[0];
    dims[1] = x->dims[1];
    for (int32_t i = 2; i < x->rank; i++)
        dims[i] = g->dims[i - 1];
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}
