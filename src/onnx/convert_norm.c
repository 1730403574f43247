/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of normalisations. Statistics are computed in float32 or wider whatever stash_type says. */
#include "onnx/express.h"

#define DEFAULT_EPSILON 1e-5f

static TnStatus norm_params(OnnxCall *c, TnNormParams *p) {
    memset(p, 0, sizeof *p);
    p->epsilon = DEFAULT_EPSILON;
    p->axis = -1;
    (void)tni_onnx_attr(c, "stash_type");
    return tni_onnx_attr_f32(c, "epsilon", &p->epsilon);
}

/* Outputs 1 and 2 of LayerNormalization: mean and 1 / sqrt(variance + epsilon) of every row, in float32 (a float64 input: float64). */
static TnStatus row_statistics(OnnxCall *c, const TnNormParams *p) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0), axes[TN_MAX_RANK];
    uint32_t n = 0;
    for (int32_t a = p->axis < 0 ? p->axis + rank : p->axis; a >= 0 && a < rank; a++)
        axes[n++] = a;
    TnDtype t = tni_x_need_dtype(&x, 0) == TN_F64 ? TN_F64 : TN_F32;
    IrValueId v = tni_x_cast(&x, c->in[0], t), mean = tni_x_reduce(&x, TN_REDUCE_mean, v, axes, n, true);
    TN_TRY(tni_x_finish(&x, 1, mean));
    IrValueId square = tni_x_unary(&x, TN_UNARY_square, tni_x_binary(&x, TN_BINARY_sub, v, mean));
    IrValueId variance = tni_x_reduce(&x, TN_REDUCE_mean, square, axes, n, true);
    variance = tni_x_binary(&x, TN_BINARY_add, variance, tni_x_number(&x, t, (double)p->epsilon));
    return tni_x_finish(&x, 2, tni_x_unary(&x, TN_UNARY_rsqrt, variance));
}

TnStatus tni_onnx_convert_layer_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(norm_params(c, &p));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_emit_n(c, TN_OP_layer_norm, &p, c->in, c->n_in, 1));
    return tni_onnx_wants(c, 1) || tni_onnx_wants(c, 2) ? row_statistics(c, &p) : TN_OK;
}

TnStatus tni_onnx_convert_rms_norm(OnnxCall *c) {
    TnNormParams p;
    TN_TRY(norm_params(c, &p));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    return tni_onnx_emit(c, TN_OP_rms_norm, &p, c->in, 2);
}

/* Statistics of this batch normalise it; outputs 1 and 2 are the operands 3 and 4 (running statistics) moved towards them. */
static TnStatus batch_norm_training(OnnxCall *c, const TnNormParams *p) {
    OnnxX x = {.c = c};
    float momentum = 0.9f;
    TN_TRY(tni_onnx_attr_f32(c, "momentum", &momentum));
    int32_t rank = tni_x_need_rank(&x, 0), axes[TN_MAX_RANK];
    uint32_t n = 0;
    for (int32_t a = 0; a < rank; a++)
        if (a != 1)
            axes[n++] = a;
    TnDtype t = tni_onnx_dtype_or(c, 3, TN_F32);
    IrValueId v = tni_x_cast(&x, c->in[0], t), mean = tni_x_reduce(&x, TN_REDUCE_mean, v, axes, n, true), stats[2];
    IrValueId square = tni_x_unary(&x, TN_UNARY_square, tni_x_binary(&x, TN_BINARY_sub, v, mean));
    const int64_t flat = -1;
    stats[0] = tni_x_reshape_to(&x, mean, &flat, 1);
    stats[1] = tni_x_reduce(&x, TN_REDUCE_mean, square, axes, n, false);
    IrValueId in[5] = {c->in[0], c->in[1], c->in[2], stats[0], stats[1]};
    TN_TRY(tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_batch_norm, p, in, 5)));
    for (uint32_t i = 0; i < 2; i++) {
        IrValueId old = tni_x_binary(&x, TN_BINARY_mul, c->in[3 + i], tni_x_number(&x, t, (double)momentum));
        IrValueId now = tni_x_binary(&x, TN_BINARY_mul, stats[i], tni_x_number(&x, t, 1.0 - (double)momentum));
        TN_TRY(tni_x_finish(&x, 1 + i, tni_x_binary(&x, TN_BINARY_add, old, now)));
    }
    return x.st;
}

TnStatus tni_onnx_convert_batch_norm(OnnxCall *c) {
    TnNormParams p;
    uint32_t training = 0, spatial = 1;
    TN_TRY(norm_params(c, &p));
    (void)tni_onnx_attr(c, "momentum"); /* training only */
    if (c->opset < 7) {
        uint32_t is_test = 0;
        TN_TRY(tni_onnx_attr_bool(c, "is_test", &is_test));
        training = !is_test;
    }
    TN_TRY(tni_onnx_attr_bool(c, "training_mode", &training));
    TN_TRY(tni_onnx_attr_bool(c, "spatial", &spatial));
    if (!spatial || (training && c->opset < 14))
        return ONNX_UNSUPPORTED(c, "%s is not supported; export the model for inference",
                                !training      ? "spatial = 0"
                                : c->opset < 7 ? "is_test = 0"
                                               : "training_mode = 1 before opset 14");
    p.axis = 1;
    if (training)
        return batch_norm_training(c, &p);
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
