/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of quantised tensors, exactly as they are defined: zero points are subtracted in wider integers, sums are exact, the result is
 * scaled once and rounded half to even with saturation (by quantize_linear).
 *
 *     MatMulInteger = matmul(i32(a) - za, i32(b) - zb)
 *     ConvInteger   = i32(conv(f64(x - zx), f64(w - zw)))     sums of products of bytes are exact in float64
 *     QLinear...    = quantize_linear(f32(product) * (sa * sb), sy, zy) */
#include "onnx/express.h"
#include "onnx/window.h"

/* i32(v) - i32(zero point); a zero point of one element, or one for each index of axis (of rank `rank`). */
static IrValueId centred(OnnxX *x, uint32_t i, uint32_t zero, int32_t axis, int32_t rank) {
    OnnxCall *c = x->c;
    IrValueId v = tni_x_cast(x, c->in[i], TN_I32);
    if (!tni_onnx_has(c, zero))
        return v;
    OnnxKnown k = tni_onnx_in_known(c, zero);
    IrValueId z = tni_x_cast(x, c->in[zero], TN_I32);
    if (k.rank == 1 && k.len != 1)
        for (int32_t a = axis + 1; a < rank; a++)
            z = tni_x_unsqueeze(x, z, -1);
    else if (k.rank == 1)
        z = tni_x_squeeze(x, z, 0);
    return tni_x_binary(x, TN_BINARY_sub, v, z);
}

TnStatus tni_onnx_convert_matmul_integer(OnnxCall *c) {
    OnnxX x = {.c = c};
    IrValueId a = centred(&x, 0, 2, 0, 2), b = centred(&x, 1, 3, 0, 1);
    return tni_x_finish(&x, 0, tni_x_matmul(&x, a, b));
}

/* A scale or zero point as it broadcasts with the product: a vector stands for index `axis` of `rank`. */
static IrValueId along(OnnxX *x, uint32_t i, int32_t axis, int32_t rank) {
    OnnxKnown k = tni_onnx_in_known(x->c, i);
    IrValueId v = x->c->in[i];
    if (k.rank == 1 && k.len == 1)
        return tni_x_squeeze(x, v, 0);
    for (int32_t a = axis + 1; k.rank == 1 && a < rank; a++)
        v = tni_x_unsqueeze(x, v, -1);
    return v;
}

/* quantize_linear(f32(product) * sa * sb, sy, zy). */
static TnStatus requantise(OnnxX *x, IrValueId product, IrValueId scale, uint32_t y_scale, uint32_t y_zero) {
    OnnxCall *c = x->c;
    IrValueId factor = tni_x_binary(x, TN_BINARY_div, tni_x_cast(x, scale, TN_F32), tni_x_cast(x, along(x, y_scale, 0, 0), TN_F32));
    IrValueId v = tni_x_binary(x, TN_BINARY_mul, tni_x_cast(x, product, TN_F32), factor);
    TnQuantizeParams p = {.axis = 1, .block_size = 0, .saturate = 1, .output_dtype = TN_UNDEFINED};
    IrValueId in[3] = {v, tni_x_number(x, TN_F32, 1), along(x, y_zero, 0, 0)};
    (void)c;
    return tni_x_finish(x, 0, tni_x_op(x, TN_OP_quantize_linear, &p, in, 3));
}

/* in: a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point. */
TnStatus tni_onnx_convert_qlinear_matmul(OnnxCall *c) {
    OnnxX x = {.c = c};
    IrValueId a = centred(&x, 0, 2, 0, 2), b = centred(&x, 3, 5, 0, 1);
    IrValueId scale = tni_x_binary(&x, TN_BINARY_mul, along(&x, 1, 0, 2), along(&x, 4, 0, 1));
    return requantise(&x, tni_x_matmul(&x, a, b), scale, 6, 7);
}

/* Convolution of integers in float64. */
static IrValueId conv_exact(OnnxX *x, IrValueId v, IrValueId w, IrValueId bias, uint32_t w_operand) {
    TnConvParams p;
    if (x->st == TN_OK)
        x->st = tni_onnx_conv_params(x->c, w_operand, &p);
    if (x->st != TN_OK)
        return TN_NO_VALUE;
    IrValueId in[3] = {tni_x_cast(x, v, TN_F64), tni_x_cast(x, w, TN_F64), bias == TN_NO_VALUE ? bias : tni_x_cast(x, bias, TN_F64)};
    return tni_x_op(x, TN_OP_conv, &p, in, 3);
}

TnStatus tni_onnx_convert_conv_integer(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    IrValueId v = centred(&x, 0, 2, 0, 1), w = centred(&x, 1, 3, 0, rank);
    return tni_x_finish(&x, 0, tni_x_cast(&x, conv_exact(&x, v, w, TN_NO_VALUE, 1), TN_I32));
}

/* in: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias (int32, scale x_scale * w_scale). */
TnStatus tni_onnx_convert_qlinear_conv(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    IrValueId v = centred(&x, 0, 2, 0, 1), w = centred(&x, 3, 5, 0, rank);
    IrValueId scale = tni_x_binary(&x, TN_BINARY_mul, along(&x, 1, 0, 1), along(&x, 4, 1, rank));
    return requantise(&x, conv_exact(&x, v, w, tni_onnx_in(c, 8), 3), scale, 6, 7);
}

/* scale = (max(x, 0) - min(x, 0)) / 255 (1 / 255 for a tensor of zeros); zero = saturate(round(-min / scale)). */
TnStatus tni_onnx_convert_dynamic_quantize(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0), axes[TN_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    IrValueId zero = tni_x_number(&x, TN_F32, 0), one = tni_x_number(&x, TN_F32, 1);
    IrValueId hi = tni_x_binary(&x, TN_BINARY_max, tni_x_reduce(&x, TN_REDUCE_max, c->in[0], axes, (uint32_t)rank, false), zero);
    IrValueId lo = tni_x_binary(&x, TN_BINARY_min, tni_x_reduce(&x, TN_REDUCE_min, c->in[0], axes, (uint32_t)rank, false), zero);
    IrValueId span = tni_x_where(&x, tni_x_binary(&x, TN_BINARY_equal, hi, lo), one, tni_x_binary(&x, TN_BINARY_sub, hi, lo));
    IrValueId scale = tni_x_binary(&x, TN_BINARY_div, span, tni_x_number(&x, TN_F32, 255));
    IrValueId z[3] = {tni_x_binary(&x, TN_BINARY_sub, zero, tni_x_binary(&x, TN_BINARY_div, lo, scale)), zero,
                      tni_x_number(&x, TN_F32, 255)};
    IrValueId point = tni_x_cast(&x, tni_x_unary(&x, TN_UNARY_round, tni_x_op(&x, TN_OP_clip, NULL, z, 3)), TN_U8);
    TnQuantizeParams p = {.axis = 1, .block_size = 0, .saturate = 1, .output_dtype = TN_UNDEFINED};
    IrValueId in[3] = {c->in[0], scale, point};
    TN_TRY(tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_quantize_linear, &p, in, 3)));
    TN_TRY(tni_x_finish(&x, 1, scale));
    return tni_x_finish(&x, 2, point);
}
