/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of element-by-element operators. */
#include "onnx/express.h"

static TnStatus emit_unary(OnnxCall *c, TnUnaryFn fn, float alpha, float beta) {
    TnUnaryParams p = {.fn = fn, .alpha = alpha, .beta = beta};
    return tni_onnx_emit(c, TN_OP_unary, &p, c->in, 1);
}

/* c->arg: TnUnaryFn, without parameters. */
TnStatus tni_onnx_convert_unary(OnnxCall *c) {
    return emit_unary(c, (TnUnaryFn)c->arg, 0, 0);
}

/* Functions with attributes: which ones become alpha and beta, and their defaults. */
static const struct UnaryAttrs {
    TnUnaryFn fn;
    const char *alpha, *beta;
    float alpha_default, beta_default;
} unary_attrs[] = {
    {TN_UNARY_leaky_relu, "alpha", NULL, 0.01f, 0},
    {TN_UNARY_elu, "alpha", NULL, 1, 0},
    {TN_UNARY_celu, "alpha", NULL, 1, 0},
    {TN_UNARY_selu, "alpha", "gamma", 1.67326319217681884765625f, 1.05070102214813232421875f},
    {TN_UNARY_hard_sigmoid, "alpha", "beta", 0.2f, 0.5f},
    {TN_UNARY_thresholded_relu, "alpha", NULL, 1, 0},
    {TN_UNARY_shrink, "bias", "lambd", 0, 0.5f},
    {TN_UNARY_silu, "alpha", NULL, 1, 0},
};

/* c->arg: TnUnaryFn with a row above. */
TnStatus tni_onnx_convert_unary_attrs(OnnxCall *c) {
    for (size_t i = 0; i < TN_COUNT(unary_attrs); i++) {
        const struct UnaryAttrs *u = &unary_attrs[i];
        if (u->fn != (TnUnaryFn)c->arg)
            continue;
        float alpha = u->alpha_default, beta = u->beta_default;
        TN_TRY(tni_onnx_attr_f32(c, u->alpha, &alpha));
        if (u->beta != NULL)
            TN_TRY(tni_onnx_attr_f32(c, u->beta, &beta));
        return emit_unary(c, u->fn, alpha, beta);
    }
    return tni_onnx_fail(c, TN_ERR_INTERNAL, "no attribute row");
}

TnStatus tni_onnx_convert_gelu(OnnxCall *c) {
    static const char *const words[] = {"none", "tanh"};
    uint32_t word = 0;
    TN_TRY(tni_onnx_attr_word(c, "approximate", words, TN_COUNT(words), &word));
    return emit_unary(c, word == 0 ? TN_UNARY_gelu : TN_UNARY_gelu_tanh, 0, 0);
}

TnStatus tni_onnx_convert_isinf(OnnxCall *c) {
    uint32_t negative = 1, positive = 1;
    TN_TRY(tni_onnx_attr_bool(c, "detect_negative", &negative));
    TN_TRY(tni_onnx_attr_bool(c, "detect_positive", &positive));
    return emit_unary(c, TN_UNARY_isinf, (float)negative, (float)positive);
}

/* Before opset 7 operand 1 stands for the dimensions of operand 0 from attribute `axis` on, when `broadcast` is set. */
static TnStatus old_broadcast(OnnxCall *c, IrValueId *b) {
    uint32_t broadcast = 0;
    int32_t axis = 0;
    TN_TRY(tni_onnx_attr_bool(c, "broadcast", &broadcast));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    if (broadcast == 0 || !tni_onnx_has_attr(c, "axis"))
        return TN_OK;
    OnnxX x = {.c = c};
    int32_t ra = tni_x_need_rank(&x, 0), rb = tni_x_need_rank(&x, 1);
    for (int32_t i = (axis < 0 ? axis + ra : axis) + rb; i < ra; i++)
        *b = tni_x_unsqueeze(&x, *b, -1);
    return x.st;
}

static TnStatus emit_binary(OnnxCall *c, TnBinaryFn fn) {
    TnBinaryParams p = {.fn = fn};
    if (c->opset < 7 && fn == TN_BINARY_prelu) { /* a slope for each channel */
        OnnxX x = {.c = c};
        int32_t rank = tni_x_need_rank(&x, 0);
        const OnnxKnown slope = tni_onnx_in_known(c, 1);
        for (int32_t i = 2; i < rank && slope.rank == 1 && slope.len != 1; i++)
            c->in[1] = tni_x_unsqueeze(&x, c->in[1], -1);
        TN_TRY(x.st);
    } else if (c->opset < 7) {
        TN_TRY(old_broadcast(c, &c->in[1]));
    }
    return tni_onnx_emit(c, TN_OP_binary, &p, c->in, 2);
}

/* c->arg: TnBinaryFn. */
TnStatus tni_onnx_convert_binary(OnnxCall *c) {
    return emit_binary(c, (TnBinaryFn)c->arg);
}

TnStatus tni_onnx_convert_mod(OnnxCall *c) {
    uint32_t f = 0;
    TN_TRY(tni_onnx_attr_bool(c, "fmod", &f));
    return emit_binary(c, f ? TN_BINARY_fmod : TN_BINARY_mod);
}

TnStatus tni_onnx_convert_bit_shift(OnnxCall *c) {
    static const char *const words[] = {"LEFT", "RIGHT"};
    uint32_t word = 0;
    if (!tni_onnx_has_attr(c, "direction"))
        return ONNX_BAD(c, "attribute 'direction' is required");
    TN_TRY(tni_onnx_attr_word(c, "direction", words, TN_COUNT(words), &word));
    return emit_binary(c, word == 0 ? TN_BINARY_shift_left : TN_BINARY_shift_right);
}

/* Any number of operands, c->arg: TnBinaryFn; folded from the left. mean (as add) divides by their number. */
static TnStatus fold(OnnxCall *c, bool mean) {
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] == TN_NO_VALUE)
            return ONNX_BAD(c, "operand %u is missing", i);
    if (c->n_in == 1)
        return tni_onnx_emit_identity(c, c->in[0]);
    TnBinaryParams p = {.fn = c->arg};
    IrValueId acc = c->in[0];
    for (uint32_t i = 1; i + (mean ? 0 : 1) < c->n_in; i++)
        TN_TRY(tni_onnx_binary(c, "partial", (TnBinaryFn)c->arg, acc, c->in[i], &acc));
    IrValueId last[2] = {acc, c->in[c->n_in - 1]};
    if (mean) {
        p.fn = TN_BINARY_div;
        TN_TRY(tni_onnx_const_f64(c, "count", tni_onnx_dtype_or(c, 0, TN_F32), c->n_in, &last[1]));
    }
    return tni_onnx_emit(c, TN_OP_binary, &p, last, 2);
}

TnStatus tni_onnx_convert_fold(OnnxCall *c) {
    return fold(c, false);
}

TnStatus tni_onnx_convert_mean(OnnxCall *c) {
    return fold(c, true);
}

TnStatus tni_onnx_convert_where(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_where, NULL, c->in, 3);
}

TnStatus tni_onnx_convert_clip(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_clip, NULL, c->in, c->n_in);
}

/* Before opset 11 the bounds are attributes. */
TnStatus tni_onnx_convert_clip6(OnnxCall *c) {
    IrValueId in[3] = {c->in[0], TN_NO_VALUE, TN_NO_VALUE};
    static const char *const names[] = {"min", "max"};
    for (uint32_t i = 0; i < 2; i++) {
        float v = 0;
        if (!tni_onnx_has_attr(c, names[i]))
            continue;
        TN_TRY(tni_onnx_attr_f32(c, names[i], &v));
        TN_TRY(tni_onnx_const_f64(c, names[i], tni_onnx_dtype_or(c, 0, TN_F32), v, &in[1 + i]));
    }
    return tni_onnx_emit(c, TN_OP_clip, NULL, in, 3);
}

static TnStatus emit_cast(OnnxCall *c, uint32_t to) {
    TnCastParams p = {.to = to, .saturate = 1};
    TN_TRY(tni_onnx_attr_bool(c, "saturate", &p.saturate));
    static const char *const rounding[] = {"up"}; /* of float8e8m0 */
    uint32_t up = 0;
    if (to == TN_F8E8M0 && !p.saturate)
        return ONNX_UNSUPPORTED(c, "casts to float8e8m0 that do not saturate are not supported");
    if (to == TN_F8E8M0)
        TN_TRY(tni_onnx_attr_word(c, "round_mode", rounding, TN_COUNT(rounding), &up));
    else
        (void)tni_onnx_attr(c, "round_mode");
    return tni_onnx_emit(c, TN_OP_cast, &p, c->in, 1);
}

TnStatus tni_onnx_convert_cast(OnnxCall *c) {
    uint32_t to = 0;
    TN_TRY(tni_onnx_attr_dtype(c, "to", &to));
    if (to == 0)
        return ONNX_BAD(c, "attribute 'to' is required");
    return emit_cast(c, to);
}

TnStatus tni_onnx_convert_cast_like(OnnxCall *c) {
    TnDtype to = tni_onnx_in_known(c, 1).dtype;
    if (to == TN_UNDEFINED)
        return ONNX_UNSUPPORTED(c, "the type of operand 1 is not known at import; use Cast instead");
    return emit_cast(c, to);
}
