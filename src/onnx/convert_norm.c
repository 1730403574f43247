/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of normalisations. Statistics are computed in float32 or wider whatever stash_type says. */
#include "onnx/convert.h"

#define DEFAULT_EPSILON 1e-5f

static TnStatus norm_params(OnnxCall *c, TnNormParams *p) {
    memset(p, 0, sizeof *p);
    p->epsilon = DEFAULT_EPSILON;
    p->axis = -1;
    (void)tni_onnx_attr(c, "stash_type");
    return tni_onnx_attr_f32(c, "epsilon", &p->epsilon);
}

TnStatus tni_onnx_convert_layer_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(norm_params(c, &p));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_only_outputs(c, 1));
    return tni_onnx_emit_n(c, TN_OP_layer_norm, &p, c->in, c->n_in, 1);
}

TnStatus tni_onnx_convert_rms_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(norm_params(c, &p));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    return tni_onnx_emit(c, TN_OP_rms_norm, &p, c->in, 2);
}

TnStatus tni_onnx_convert_batch_norm(OnnxCall *c) {
    TnNormParams p;
    uint32_t training = 0, spatial = 1;
    TN_TRY(norm_params(c, &p));
    (void)tni_onnx_attr(c, "momentum"); /* training only */
    TN_TRY(tni_onnx_attr_bool(c, "training_mode", &training));
    TN_TRY(tni_onnx_attr_bool(c, "spatial", &spatial));
    if (training || !spatial)
        return ONNX_UNSUPPORTED(c, "%s is not supported; export the model for inference", training ? "training_mode = 1" : "spatial = 0");
    p.axis = 1;
    TN_TRY(tni_onnx_only_outputs(c, 1));
    return tni_onnx_emit_n(c, TN_OP_batch_norm, &p, c->in, 5, 1);
}

TnStatus tni_onnx_convert_instance_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(norm_params(c, &p));
    p.axis = 1;
    return tni_onnx_emit(c, TN_OP_instance_norm, &p, c->in, 3);
}

static TnStatus group_params(OnnxCall *c, TnNormParams *p) {
    int32_t groups = 0;
    TN_TRY(norm_params(c, p));
    TN_TRY(tni_onnx_attr_i32(c, "num_groups", 0, INT32_MAX, &groups));
    if (groups < 1)
        return ONNX_BAD(c, "attribute 'num_groups' is required and must be at least 1");
    p->axis = 1;
    p->groups = (uint32_t)groups;
    return TN_OK;
}

TnStatus tni_onnx_convert_group_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(group_params(c, &p));
    return tni_onnx_emit(c, TN_OP_group_norm, &p, c->in, 3);
}

/* Opset 18: scale and bias have an element a group, not a channel:
 * y = reshape(instance_norm(reshape(x, [0, groups, -1]), scale, bias), shape(x)). */
TnStatus tni_onnx_convert_group_norm18(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(group_params(c, &p));
    int64_t grouped[3] = {0, p.groups, -1};
    IrValueId shape = 0, x = 0, y = 0;
    TN_TRY(tni_onnx_const_i64s(c, "grouped_shape", grouped, 3, &shape));
    TN_TRY(tni_onnx_reshape_to(c, "grouped", c->in[0], shape, &x));
    p.groups = 0;
    IrValueId in[3] = {x, c->in[1], c->in[2]};
    TN_TRY(tni_onnx_temp(c, "normalised", TN_OP_instance_norm, &p, in, 3, &y));
    TnShapeParams all = {.start = 0, .end = INT32_MAX};
    TN_TRY(tni_onnx_temp(c, "shape", TN_OP_shape, &all, c->in, 1, &shape));
    TnReshapeParams r;
    memset(&r, 0, sizeof r);
    r.kind = TN_RESHAPE_SHAPE;
    IrValueId back[2] = {y, shape};
    return tni_onnx_emit(c, TN_OP_reshape, &r, back, 2);
}

/* y = (x - mean) / (sqrt(mean(x^2) - mean^2) + 1e-9), means over `axes`, kept. */
TnStatus tni_onnx_convert_mean_variance(OnnxCall *c) {
    TnReduceParams r;
    memset(&r, 0, sizeof r);
    bool given = false;
    r.fn = TN_REDUCE_mean;
    r.keepdims = 1;
    TN_TRY(tni_onnx_axes(c, UINT32_MAX, r.axes, &r.n_axes, &given));
    if (!given) {
        r.n_axes = 3;
        r.axes[0] = 0;
        r.axes[1] = 2;
        r.axes[2] = 3;
    }
    TnUnaryParams square = {.fn = TN_UNARY_square}, root = {.fn = TN_UNARY_sqrt};
    TnBinaryParams div = {.fn = TN_BINARY_div};
    IrValueId mean = 0, mean2 = 0, x2 = 0, variance = 0, deviation = 0, tiny = 0, in[2];
    TN_TRY(tni_onnx_temp(c, "mean", TN_OP_reduce, &r, c->in, 1, &mean));
    TN_TRY(tni_onnx_temp(c, "mean_squared", TN_OP_unary, &square, &mean, 1, &mean2));
    TN_TRY(tni_onnx_temp(c, "squares", TN_OP_unary, &square, c->in, 1, &x2));
    TN_TRY(tni_onnx_temp(c, "mean_square", TN_OP_reduce, &r, &x2, 1, &x2));
    TN_TRY(tni_onnx_binary(c, "variance", TN_BINARY_sub, x2, mean2, &variance));
    TN_TRY(tni_onnx_temp(c, "deviation", TN_OP_unary, &root, &variance, 1, &deviation));
    TN_TRY(tni_onnx_const_f64(c, "epsilon", tni_onnx_dtype_or(c, 0, TN_F32), 1e-9, &tiny));
    TN_TRY(tni_onnx_binary(c, "divisor", TN_BINARY_add, deviation, tiny, &in[1]));
    TN_TRY(tni_onnx_binary(c, "centred", TN_BINARY_sub, c->in[0], mean, &in[0]));
    return tni_onnx_emit(c, TN_OP_binary, &div, in, 2);
}
