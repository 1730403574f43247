/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of quantised tensors, exactly as they are defined: zero points are subtracted in wider integers, sums are exact, the result is
 * scaled once and rounded half to even with saturation (by quantize_linear).
 *
 *     MatMulInteger = matmul_integer, or matmul(i32(a) - za, i32(b) - zb) with zero points of other shapes
 *     ConvInteger   = conv_integer, or i32(conv(f64(x - zx), f64(w - zw)))
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

/* Is zero point i absent, one number, or (columns) a vector? */
static bool simple_zero(OnnxCall *c, uint32_t i, bool columns) {
    const OnnxKnown k = tni_onnx_in_known(c, i);
    return !tni_onnx_has(c, i) || k.rank == 0 || (k.rank == 1 && (columns || k.len == 1));
}

/* One node where A has one zero point and B one or one for each column. */
IrValueId tni_onnx_integer_product(OnnxX *x, uint32_t a, uint32_t za, uint32_t b, uint32_t zb) {
    OnnxCall *c = x->c;
    if (simple_zero(c, za, false) && simple_zero(c, zb, tni_onnx_in_known(c, b).rank >= 2)) {
        const IrValueId in[4] = {c->in[a], c->in[b], tni_onnx_in(c, za), tni_onnx_in(c, zb)};
        return tni_x_op(x, TN_OP_matmul_integer, NULL, in, in[3] != TN_NO_VALUE ? 4 : in[2] != TN_NO_VALUE ? 3 : 2);
    }
    const IrValueId left = centred(x, a, za, 0, 2), right = centred(x, b, zb, 0, 1);
    return tni_x_matmul(x, left, right);
}

TnStatus tni_onnx_convert_matmul_integer(OnnxCall *c) {
    OnnxX x = {.c = c};
    return tni_x_finish(&x, 0, tni_onnx_integer_product(&x, 0, 2, 1, 3));
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
    IrValueId y = tni_onnx_integer_product(&x, 0, 2, 3, 5);
    IrValueId scale = tni_x_binary(&x, TN_BINARY_mul, along(&x, 1, 0, 2), along(&x, 4, 0, 1));
    return requantise(&x, y, scale, 6, 7);
}

/* Convolution of operands xi and wi with their zero points, int32. */
static IrValueId convolution(OnnxX *x, uint32_t xi, uint32_t zx, uint32_t wi, uint32_t zw) {
    OnnxCall *c = x->c;
    TnConvParams p;
    if (x->st == TN_OK)
        x->st = tni_onnx_conv_params(c, wi, &p);
    if (x->st != TN_OK)
        return TN_NO_VALUE;
    if (simple_zero(c, zx, false) && simple_zero(c, zw, true)) {
        const IrValueId in[4] = {c->in[xi], c->in[wi], tni_onnx_in(c, zx), tni_onnx_in(c, zw)};
        return tni_x_op(x, TN_OP_conv_integer, &p, in, in[3] != TN_NO_VALUE ? 4 : in[2] != TN_NO_VALUE ? 3 : 2);
    }
    const int32_t rank = tni_x_need_rank(x, xi);
    const IrValueId v = centred(x, xi, zx, 0, 1), w = centred(x, wi, zw, 0, rank);
    const IrValueId in[2] = {tni_x_cast(x, v, TN_F64), tni_x_cast(x, w, TN_F64)}; /* exact there */
    return tni_x_cast(x, tni_x_op(x, TN_OP_conv, &p, in, 2), TN_I32);
}

TnStatus tni_onnx_convert_conv_integer(OnnxCall *c) {
    OnnxX x = {.c = c};
    return tni_x_finish(&x, 0, convolution(&x, 0, 2, 1, 3));
}

/* in: x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias (int32, scale x_scale * w_scale). */
TnStatus tni_onnx_convert_qlinear_conv(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    IrValueId y = convolution(&x, 0, 2, 3, 5);
    IrValueId scale = tni_x_binary(&x, TN_BINARY_mul, along(&x, 1, 0, 1), along(&x, 4, 1, rank));
    if (tni_onnx_has(c, 8)) {
        IrValueId bias = c->in[8];
        for (int32_t i = 2; i < rank; i++)
            bias = tni_x_unsqueeze(&x, bias, -1);
        y = tni_x_binary(&x, TN_BINARY_add, y, bias);
    }
    return requantise(&x, y, scale, 6, 7);
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
