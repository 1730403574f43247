/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: convolutions and pooling.
 * In: x [B, C, spatial...] (or channels last), weights, window parameters. Out: [B, M, spatial...]. Windows are checked here: counts,
 * strides and dilations of at least 1, no negative padding, a window that is not larger than the padded input where that is known. */
#include "shape/rule.h"

#include <inttypes.h>

/* A window along one spatial axis. */
typedef struct Window {
    int64_t kernel, stride, dilation, begin, end;
} Window;

static TnStatus check_window(ShapeRule *r, const Window *w, uint32_t axis) {
    if (w->kernel < 1 || w->stride < 1 || w->dilation < 1 || w->begin < 0 || w->end < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                   "spatial axis %" PRIu32 ": kernel %" PRId64 ", stride %" PRId64 ", dilation %" PRId64 ", pads %" PRId64
                                   " and %" PRId64 " are not possible",
                                   axis, w->kernel, w->stride, w->dilation, w->begin, w->end);
    return TN_OK;
}

/* in + pads - (dilation * (kernel - 1) + 1): how far the window can move. */
static TnDim slack(ShapeRule *r, const Window *w, TnDim in) {
    return d_add(r, in, d_num(r, w->begin + w->end - w->dilation * (w->kernel - 1) - 1));
}

static TnStatus check_slack(ShapeRule *r, TnDim s, uint32_t axis) {
    int64_t lo, hi;
    tni_ir_dim_range(r->m, s, &lo, &hi);
    if (s != TN_DIM_NONE && hi < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "spatial axis %" PRIu32 ": the window is larger than the padded input", axis);
    return TN_OK;
}

static TnStatus window_out(ShapeRule *r, const Window *w, uint32_t auto_pad, uint32_t axis, TnDim in, TnDim *out) {
    Window x = *w;
    if (auto_pad == TN_PAD_SAME_UPPER || auto_pad == TN_PAD_SAME_LOWER) {
        *out = d_ceildiv(r, in, d_num(r, w->stride));
        return TN_OK;
    }
    if (auto_pad == TN_PAD_VALID)
        x.begin = x.end = 0;
    TnDim s = slack(r, &x, in);
    TN_TRY(check_slack(r, s, axis));
    *out = d_add(r, d_floordiv(r, s, d_num(r, x.stride)), d_num(r, 1));
    return TN_OK;
}

static TnStatus check_conv_params(ShapeRule *r, const TnConvParams *p) {
    if (p->n_spatial < 1 || p->n_spatial > 3 || p->group < 1 || p->auto_pad > TN_PAD_VALID || p->act >= TN_ACT_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                   "%" PRIu32 " spatial axes (1 to 3 are supported), group %" PRIu32
                                   " (at least 1) or another parameter is not possible",
                                   p->n_spatial, p->group);
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        Window w = {p->kernel[i], p->stride[i], p->dilation[i], p->pads[i], p->pads[p->n_spatial + i]};
        TN_TRY(check_window(r, &w, i));
    }
    return TN_OK;
}

/* Operands that convolutions share: ranks, and the kernel's size. */
static TnStatus check_conv_ranks(ShapeRule *r, const TnConvParams *p) {
    const IrValue *w = in_at(r, 1);
    int32_t rank = (int32_t)p->n_spatial + 2;
    TN_TRY(tni_shape_rule_rank(r, 0, rank, rank));
    TN_TRY(tni_shape_rule_rank(r, 1, rank, rank));
    for (uint32_t i = 0; i < p->n_spatial; i++)
        TN_TRY(tni_shape_rule_equal(r, w->dims[2 + i], d_num(r, p->kernel[i]), "the kernel's size and that of the weights"));
    return TN_OK;
}

/* conv and conv_transpose: floats of one type. */
static TnStatus check_conv_operands(ShapeRule *r, const TnConvParams *p) {
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    for (uint32_t i = 1; i < r->n->n_in; i++)
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
    return check_conv_ranks(r, p);
}

/* Channels and dims of a convolution's result. */
static TnStatus conv_dims(ShapeRule *r, const TnConvParams *p, TnDim *dims) {
    const IrValue *x = in_at(r, 0), *w = in_at(r, 1);
    int64_t m;
    int32_t c_axis = p->channels_last ? x->rank - 1 : 1, first = p->channels_last ? 1 : 2;
    TN_TRY(tni_shape_rule_equal(r, x->dims[c_axis], d_mul(r, w->dims[1], d_num(r, p->group)),
                                "input channels and group times the weights' channels"));
    if (tni_ir_dim_is_const(r->m, w->dims[0], &m) && m % (int64_t)p->group != 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "group %" PRIu32 " does not divide the %" PRId64 " output channels", p->group, m);
    dims[0] = x->dims[0];
    dims[c_axis] = w->dims[0];
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        Window win = {p->kernel[i], p->stride[i], p->dilation[i], p->pads[i], p->pads[p->n_spatial + i]};
        TN_TRY(window_out(r, &win, p->auto_pad, i, x->dims[first + (int32_t)i], &dims[first + (int32_t)i]));
    }
    return TN_OK;
}

TnStatus tni_shape_conv(ShapeRule *r) {
    const TnConvParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *res = in_at(r, 3);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(check_conv_params(r, p));
    TN_TRY(check_conv_operands(r, p));
    TN_TRY(conv_dims(r, p, dims));
    TN_TRY(tni_shape_rule_vector(r, 2, in_at(r, 1)->dims[0], "the bias and the number of output channels"));
    if (res != NULL) {
        TN_TRY(tni_shape_rule_rank(r, 3, x->rank, x->rank));
        for (int32_t i = 0; i < x->rank; i++)
            TN_TRY(tni_shape_rule_equal(r, res->dims[i], dims[i], "dimensions of the residual and the result"));
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_conv_integer(ShapeRule *r) {
    const TnConvParams *p = r->n->params;
    TnDim dims[TN_MAX_RANK];
    int64_t n;
    TN_TRY(check_conv_params(r, p));
    if (p->channels_last || p->act != TN_ACT_NONE)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "convolutions of integers have no channels-last form and no activation");
    for (uint32_t i = 0; i < 2; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_BIT(TN_U8) | T_BIT(TN_I8)));
        if (in_at(r, i + 2) == NULL)
            continue;
        TN_TRY(tni_shape_rule_same_type(r, i + 2, i));
        TN_TRY(tni_shape_rule_rank(r, i + 2, 0, 1));
    }
    TN_TRY(check_conv_ranks(r, p));
    TN_TRY(conv_dims(r, p, dims));
    const IrValue *x = in_at(r, 0), *zx = in_at(r, 2), *zw = in_at(r, 3);
    if (zx != NULL && zx->rank == 1 && !(tni_ir_dim_is_const(r->m, zx->dims[0], &n) && n == 1))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the zero point of the input must be one number");
    if (zw != NULL && zw->rank == 1 && !(tni_ir_dim_is_const(r->m, zw->dims[0], &n) && n == 1))
        TN_TRY(tni_shape_rule_equal(r, zw->dims[0], in_at(r, 1)->dims[0], "zero points and output channels"));
    tni_shape_rule_set(r, 0, TN_I32, x->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_conv_transpose(ShapeRule *r) {
    const TnConvParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *w = in_at(r, 1);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(check_conv_params(r, p));
    TN_TRY(check_conv_operands(r, p));
    if (p->channels_last)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "channels-last transposed convolutions do not exist");
    TN_TRY(tni_shape_rule_equal(r, x->dims[1], w->dims[0], "input channels and rows of the weights"));
    int64_t c;
    if (tni_ir_dim_is_const(r->m, x->dims[1], &c) && c % (int64_t)p->group != 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "group %" PRIu32 " does not divide the %" PRId64 " input channels", p->group, c);
    dims[0] = x->dims[0];
    dims[1] = d_mul(r, w->dims[1], d_num(r, p->group));
    TN_TRY(tni_shape_rule_vector(r, 2, dims[1], "the bias and the number of output channels"));
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        int64_t extent = (int64_t)p->dilation[i] * (p->kernel[i] - 1) + 1, grow = p->output_pads[i];
        int64_t pads = (int64_t)p->pads[i] + p->pads[p->n_spatial + i];
        if (grow < 0 || grow >= TN_MAX(p->stride[i], p->dilation[i]) || p->output_shape[i] < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "spatial axis %" PRIu32 ": output padding %" PRId64 " or output shape %" PRId32 " is not possible",
                                       i, grow, p->output_shape[i]);
        TnDim in = x->dims[2 + i], stride = d_num(r, p->stride[i]);
        if (p->output_shape[i] > 0)
            dims[2 + i] = d_num(r, p->output_shape[i]);
        else if (p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER)
            dims[2 + i] = d_mul(r, in, stride);
        else
            dims[2 + i] =
                d_add(r, d_mul(r, d_sub(r, in, d_num(r, 1)), stride), d_num(r, grow + extent - (p->auto_pad == TN_PAD_VALID ? 0 : pads)));
        int64_t lo, hi;
        tni_ir_dim_range(r->m, dims[2 + i], &lo, &hi);
        if (hi < 1)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "spatial axis %" PRIu32 ": the result would be empty", i);
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}

/* ceil_mode: a last window that would start in the end padding is dropped. */
static TnStatus pool_out(ShapeRule *r, const TnPoolParams *p, const Window *w, uint32_t axis, TnDim in, TnDim *out) {
    if (!p->ceil_mode || p->auto_pad != TN_PAD_EXPLICIT)
        return window_out(r, w, p->auto_pad, axis, in, out);
    TnDim s = slack(r, w, in);
    TN_TRY(check_slack(r, s, axis));
    TnDim moves = d_ceildiv(r, s, d_num(r, w->stride)); /* the last window starts at moves * stride - begin */
    TnDim inside = tni_ir_dim_op(r->m, TN_DIM_LT, d_mul(r, moves, d_num(r, w->stride)), d_add(r, in, d_num(r, w->begin)));
    *out = d_add(r, moves, inside);
    return TN_OK;
}

TnStatus tni_shape_pool(ShapeRule *r) {
    TnPoolParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    if (p->global && p->n_spatial == 0 && x->rank > 2) /* the importer did not know the rank */
        p->n_spatial = (uint32_t)x->rank - 2;
    if (p->kind > TN_POOL_LP || p->n_spatial < 1 || p->n_spatial > 3 || p->auto_pad > TN_PAD_VALID || (p->kind == TN_POOL_LP && p->p < 1))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                   "kind %" PRIu32 ", %" PRIu32 " spatial axes (1 to 3 are supported) or another parameter is not possible",
                                   p->kind, p->n_spatial);
    int32_t rank = (int32_t)p->n_spatial + 2, first = p->channels_last ? 1 : 2;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | (p->kind == TN_POOL_MAX ? T_BIT(TN_I8) | T_BIT(TN_U8) : 0)));
    TN_TRY(tni_shape_rule_rank(r, 0, rank, rank));
    memcpy(dims, x->dims, sizeof dims);
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        TnDim *d = &dims[first + (int32_t)i];
        if (p->global) {
            *d = d_num(r, 1);
            continue;
        }
        Window w = {p->kernel[i], p->stride[i], p->dilation[i], p->pads[i], p->pads[p->n_spatial + i]};
        TN_TRY(check_window(r, &w, i));
        int64_t extent = w.dilation * (w.kernel - 1) + 1;
        if (w.begin >= extent || w.end >= extent)
            return tni_shape_rule_fail(
                r, TN_ERR_SHAPE, "spatial axis %" PRIu32 ": pads %" PRId64 " and %" PRId64 " must be smaller than the window (%" PRId64 ")",
                i, w.begin, w.end, extent);
        TN_TRY(pool_out(r, p, &w, i, *d, d));
    }
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    if (r->n->n_out > 1) {
        if (p->kind != TN_POOL_MAX)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "only max pooling has a second output");
        tni_shape_rule_set(r, 1, TN_I64, rank, dims);
    }
    return TN_OK;
}
