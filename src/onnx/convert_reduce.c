/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of reductions and of softmax. */
#include "onnx/dynamic.h"
#include "onnx/express.h"

static void sort_axes(int32_t *axes, uint32_t n) {
    for (uint32_t i = 1; i < n; i++)
        for (uint32_t k = i; k > 0 && axes[k] < axes[k - 1]; k--) {
            int32_t t = axes[k];
            axes[k] = axes[k - 1];
            axes[k - 1] = t;
        }
}

/* Axes against a rank, when it is known. */
static TnStatus normalise_axes(OnnxCall *c, int32_t *axes, uint32_t n, int32_t rank) {
    for (uint32_t i = 0; rank >= 0 && i < n; i++) {
        if (axes[i] < -rank || axes[i] >= rank)
            return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d", axes[i], rank);
        axes[i] += axes[i] < 0 ? rank : 0;
    }
    sort_axes(axes, n);
    for (uint32_t i = 1; i < n; i++)
        if (axes[i] == axes[i - 1])
            return ONNX_BAD(c, "axis %d is given twice", axes[i]);
    return TN_OK;
}

/* Over all axes of an operand whose rank is not known here: as a vector; with keepdims the result gets rank ones in front:
 * y = reshape(reduce(reshape(x, [-1]), 0), ones(shape(shape(x)))). */
static TnStatus reduce_flat(OnnxCall *c, TnReduceParams *p) {
    bool keep = p->keepdims != 0;
    int64_t minus_one = -1;
    IrValueId shape = 0, flat = 0, total = 0;
    TN_TRY(tni_onnx_const_i64s(c, "flat_shape", &minus_one, 1, &shape));
    TN_TRY(tni_onnx_reshape_to(c, "flat", c->in[0], shape, &flat));
    p->keepdims = 0;
    p->n_axes = 1;
    if (!keep)
        return tni_onnx_emit(c, TN_OP_reduce, p, &flat, 1);
    TnShapeParams all = {.start = 0, .end = INT32_MAX};
    TnFillParams ones;
    memset(&ones, 0, sizeof ones);
    ones.dtype = TN_I64;
    ones.value[0] = 1;
    TN_TRY(tni_onnx_temp(c, "total", TN_OP_reduce, p, &flat, 1, &total));
    TN_TRY(tni_onnx_temp(c, "shape", TN_OP_shape, &all, c->in, 1, &shape));
    TN_TRY(tni_onnx_temp(c, "rank", TN_OP_shape, &all, &shape, 1, &shape));
    TN_TRY(tni_onnx_temp(c, "ones", TN_OP_constant_of_shape, &ones, &shape, 1, &shape));
    TnReshapeParams r;
    memset(&r, 0, sizeof r);
    r.kind = TN_RESHAPE_SHAPE;
    IrValueId in[2] = {total, shape};
    return tni_onnx_emit(c, TN_OP_reshape, &r, in, 2);
}

/* c->arg: TnReduceFn. Axes are an attribute, or operand 1 (ReduceSum from opset 13, the others from 18). */
TnStatus tni_onnx_convert_reduce(OnnxCall *c) {
    TnReduceParams p;
    memset(&p, 0, sizeof p);
    p.fn = c->arg;
    p.keepdims = 1;
    uint32_t noop = 0;
    bool given = false;
    TN_TRY(tni_onnx_attr_bool(c, "keepdims", &p.keepdims));
    TN_TRY(tni_onnx_attr_bool(c, "noop_with_empty_axes", &noop));
    if (tni_onnx_axes_computed(c, 1))
        return tni_onnx_dynamic_reduce(c, p.fn, p.keepdims != 0, noop != 0);
    TN_TRY(tni_onnx_axes(c, 1, p.axes, &p.n_axes, &given));
    int32_t rank = tni_onnx_in_known(c, 0).rank;
    if (p.n_axes == 0 && !noop) {
        if (rank < 0)
            return reduce_flat(c, &p);
        p.n_axes = (uint32_t)rank;
        for (int32_t i = 0; i < rank; i++)
            p.axes[i] = i;
    }
    TN_TRY(normalise_axes(c, p.axes, p.n_axes, rank));
    return tni_onnx_emit(c, TN_OP_reduce, &p, c->in, 1);
}

/* c->arg: 1 for ArgMax. */
TnStatus tni_onnx_convert_arg_reduce(OnnxCall *c) {
    TnArgReduceParams p = {.axis = 0, .is_max = c->arg, .keepdims = 1, .select_last = 0};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_bool(c, "keepdims", &p.keepdims));
    TN_TRY(tni_onnx_attr_bool(c, "select_last_index", &p.select_last));
    return tni_onnx_emit(c, TN_OP_arg_reduce, &p, c->in, 1);
}

TnStatus tni_onnx_convert_cumsum(OnnxCall *c) {
    TnCumsumParams p = {.exclusive = 0, .reverse = 0};
    TN_TRY(tni_onnx_attr_bool(c, "exclusive", &p.exclusive));
    TN_TRY(tni_onnx_attr_bool(c, "reverse", &p.reverse));
    return tni_onnx_emit(c, TN_OP_cumsum, &p, c->in, 2);
}

/* c->arg: 1 for LogSoftmax. */
TnStatus tni_onnx_convert_softmax(OnnxCall *c) {
    TnSoftmaxParams p = {.axis = -1, .log = c->arg, .scale = 1};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    return tni_onnx_emit(c, TN_OP_softmax, &p, c->in, 1);
}

/* Before opset 13: over all axes from `axis` on, as one. The same as softmax over the last axis where that is `axis`; else
 * y = reshape(softmax(flatten(x, axis)), shape(x)). */
TnStatus tni_onnx_convert_softmax1(OnnxCall *c) {
    int32_t axis = 1, rank = tni_onnx_in_known(c, 0).rank;
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    if (rank >= 0 && (axis < -rank || axis > rank))
        return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d", axis, rank);
    TnSoftmaxParams p = {.axis = -1, .log = c->arg, .scale = 1};
    if (axis == -1 || (rank > 0 && axis == rank - 1))
        return tni_onnx_emit(c, TN_OP_softmax, &p, c->in, 1);
    TnShapeParams all = {.start = 0, .end = INT32_MAX};
    TnReshapeParams flatten, back;
    memset(&flatten, 0, sizeof flatten);
    memset(&back, 0, sizeof back);
    flatten.kind = TN_RESHAPE_FLATTEN;
    flatten.axis = axis;
    back.kind = TN_RESHAPE_SHAPE;
    IrValueId flat = 0, in[2] = {0, 0};
    TN_TRY(tni_onnx_temp(c, "flat", TN_OP_reshape, &flatten, c->in, 1, &flat));
    TN_TRY(tni_onnx_temp(c, "softmax", TN_OP_softmax, &p, &flat, 1, &in[0]));
    TN_TRY(tni_onnx_temp(c, "shape", TN_OP_shape, &all, c->in, 1, &in[1]));
    return tni_onnx_emit(c, TN_OP_reshape, &back, in, 2);
}
