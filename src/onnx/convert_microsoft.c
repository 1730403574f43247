/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators of the domain com.microsoft, which ONNX Runtime's and optimum's optimisers put into transformers, as what they stand for: the
 * passes fuse them again in their own way. */
#include "onnx/express.h"
#include "onnx/window.h"

#include <math.h>

#define TN_QLINEAR_PARTS 64 /* of one QLinearConcat */

static IrValueId plus(OnnxX *x, IrValueId v, uint32_t operand) {
    return tni_onnx_has(x->c, operand) ? tni_x_binary(x, TN_BINARY_add, v, x->c->in[operand]) : v;
}

/* c->arg: TnUnaryFn of x + bias (operand 1, optional). */
TnStatus tni_onnx_convert_ms_gelu(OnnxCall *c) {
    OnnxX x = {.c = c};
    float alpha = 1.702f;
    if (c->arg == TN_UNARY_silu)
        TN_TRY(tni_onnx_attr_f32(c, "alpha", &alpha));
    return tni_x_finish(&x, 0, tni_x_unary_ab(&x, (TnUnaryFn)c->arg, plus(&x, c->in[0], 1), (double)alpha, 0));
}

/* The function that a fused product ends with, by its ONNX name. */
static IrValueId activation(OnnxX *x, IrValueId v) {
    static const char *const names[] = {"", "Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Clip", "HardSwish"};
    static const TnUnaryFn fns[] = {TN_UNARY_relu,    TN_UNARY_relu,       TN_UNARY_tanh,
                                    TN_UNARY_sigmoid, TN_UNARY_leaky_relu, TN_UNARY_hard_sigmoid};
    OnnxCall *c = x->c;
    uint32_t which = 0, n = 0;
    const float *p = NULL;
    float alpha = 0.01f, beta = 0;
    if (x->st == TN_OK)
        x->st = tni_onnx_attr_word(c, "activation", names, TN_COUNT(names), &which);
    if (x->st == TN_OK)
        x->st = tni_onnx_attr_floats(c, "activation_params", &p, &n);
    if (x->st == TN_OK)
        x->st = tni_onnx_attr_f32(c, "activation_alpha", &alpha);
    if (x->st == TN_OK)
        x->st = tni_onnx_attr_f32(c, "activation_beta", &beta);
    if (n > 0)
        alpha = p[0];
    if (n > 1)
        beta = p[1];
    if (which == 0 || x->st != TN_OK)
        return v;
    if (which == 7)
        return tni_x_unary(x, TN_UNARY_hard_swish, v);
    if (which != 6)
        return tni_x_unary_ab(x, fns[which], v, (double)alpha, (double)beta);
    IrValueId in[3] = {v, tni_x_number(x, TN_F32, (double)alpha), tni_x_number(x, TN_F32, (double)beta)};
    return tni_x_op(x, TN_OP_clip, NULL, in, 3);
}

TnStatus tni_onnx_convert_ms_fused_conv(OnnxCall *c) {
    OnnxX x = {.c = c};
    TnConvParams p;
    TN_TRY(tni_onnx_conv_params(c, 1, &p));
    IrValueId in[3] = {c->in[0], c->in[1], tni_onnx_in(c, 2)}, y = tni_x_op(&x, TN_OP_conv, &p, in, 3);
    return tni_x_finish(&x, 0, activation(&x, plus(&x, y, 3)));
}

TnStatus tni_onnx_convert_ms_fused_gemm(OnnxCall *c) {
    OnnxX x = {.c = c};
    TnGemmParams p;
    memset(&p, 0, sizeof p);
    p.alpha = p.beta = 1;
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &p.alpha));
    TN_TRY(tni_onnx_attr_f32(c, "beta", &p.beta));
    TN_TRY(tni_onnx_attr_bool(c, "transA", &p.trans_a));
    TN_TRY(tni_onnx_attr_bool(c, "transB", &p.trans_b));
    return tni_x_finish(&x, 0, activation(&x, tni_x_op(&x, TN_OP_gemm, &p, c->in, c->n_in)));
}

static IrValueId swap_last(OnnxX *x, IrValueId v, uint32_t operand) {
    uint8_t perm[TN_MAX_RANK];
    int32_t rank = tni_x_need_rank(x, operand);
    for (int32_t i = 0; i < rank; i++)
        perm[i] = (uint8_t)(i < rank - 2 ? i : i == rank - 2 ? rank - 1 : rank - 2);
    return rank < 2 ? v : tni_x_transpose(x, v, perm, (uint32_t)rank);
}

TnStatus tni_onnx_convert_ms_fused_matmul(OnnxCall *c) {
    OnnxX x = {.c = c};
    float alpha = 1;
    uint32_t ta = 0, tb = 0, ba = 0, bb = 0;
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &alpha));
    TN_TRY(tni_onnx_attr_bool(c, "transA", &ta));
    TN_TRY(tni_onnx_attr_bool(c, "transB", &tb));
    TN_TRY(tni_onnx_attr_bool(c, "transBatchA", &ba));
    TN_TRY(tni_onnx_attr_bool(c, "transBatchB", &bb));
    if (ba || bb)
        return ONNX_UNSUPPORTED(c, "transBatchA and transBatchB are not supported");
    IrValueId y = tni_x_matmul(&x, ta ? swap_last(&x, c->in[0], 0) : c->in[0], tb ? swap_last(&x, c->in[1], 1) : c->in[1]);
    if (alpha != 1.0f)
        y = tni_x_binary(&x, TN_BINARY_mul, y, tni_x_number(&x, tni_x_need_dtype(&x, 0), (double)alpha));
    return tni_x_finish(&x, 0, y);
}

/* ---- normalisations ---- */

static IrValueId normalise(OnnxX *x, TnOp op, IrValueId v, uint32_t scale, uint32_t bias) {
    TnNormParams p;
    memset(&p, 0, sizeof p);
    p.epsilon = op == TN_OP_rms_norm ? 1e-6f : 1e-5f;
    p.axis = -1;
    if (x->st == TN_OK)
        x->st = tni_onnx_attr_f32(x->c, "epsilon", &p.epsilon);
    IrValueId in[3] = {v, tni_onnx_in(x->c, scale), bias == UINT32_MAX ? TN_NO_VALUE : tni_onnx_in(x->c, bias)};
    return tni_x_op(x, op, &p, in, op == TN_OP_rms_norm ? 2 : 3);
}

/* in: input, skip, gamma, beta (layer_norm only, optional), bias (optional); output 3: the sum that is normalised. c->arg: TN_OP_layer_norm
 * or TN_OP_rms_norm. */
TnStatus tni_onnx_convert_ms_skip_norm(OnnxCall *c) {
    OnnxX x = {.c = c};
    const bool rms = c->arg == TN_OP_rms_norm;
    IrValueId sum = plus(&x, tni_x_binary(&x, TN_BINARY_add, c->in[0], c->in[1]), rms ? 3 : 4);
    TN_TRY(tni_x_finish(&x, 0, normalise(&x, (TnOp)c->arg, sum, 2, rms ? UINT32_MAX : 3)));
    if (tni_onnx_wants(c, 1) || tni_onnx_wants(c, 2))
        return ONNX_UNSUPPORTED(c, "outputs 1 and 2 (mean and deviation) are not supported");
    return tni_x_finish(&x, 3, sum);
}

/* in: input_ids, segment_ids, word, position, segment embeddings, gamma, beta, mask, position_ids. */
TnStatus tni_onnx_convert_ms_embed_norm(OnnxCall *c) {
    OnnxX x = {.c = c};
    int64_t mask_type = 0;
    int32_t row = 1;
    TN_TRY(tni_onnx_attr_i64(c, "mask_index_type", &mask_type));
    IrValueId at = tni_onnx_in(c, 8);
    if (at == TN_NO_VALUE)
        at = tni_x_count(&x, tni_x_dim_scalar(&x, c->in[0], 1));
    IrValueId sum = tni_x_binary(&x, TN_BINARY_add, tni_x_gather(&x, c->in[2], c->in[0], 0), tni_x_gather(&x, c->in[3], at, 0));
    if (tni_onnx_has(c, 1) && tni_onnx_has(c, 4))
        sum = tni_x_binary(&x, TN_BINARY_add, sum, tni_x_gather(&x, c->in[4], c->in[1], 0));
    TN_TRY(tni_x_finish(&x, 0, normalise(&x, TN_OP_layer_norm, sum, 5, 6)));
    if (tni_onnx_has(c, 7))
        TN_TRY(tni_x_finish(&x, 1, tni_x_reduce(&x, TN_REDUCE_sum, tni_x_cast(&x, c->in[7], TN_I32), &row, 1, false)));
    else
        TN_TRY(tni_x_finish(&x, 1, tni_x_fill(&x, tni_x_dim(&x, c->in[0], 0), TN_I32, 0)));
    return tni_x_finish(&x, 2, sum);
}

/* ---- quantised ---- */

/* f32(i32(a - za) i32(b - zb)) * sa * sb + bias. */
TnStatus tni_onnx_convert_ms_matmul_to_float(OnnxCall *c) {
    OnnxX x = {.c = c};
    IrValueId y = tni_x_cast(&x, tni_onnx_integer_product(&x, 0, 4, 1, 5), TN_F32);
    y = tni_x_binary(&x, TN_BINARY_mul, y, tni_x_binary(&x, TN_BINARY_mul, c->in[2], c->in[3]));
    return tni_x_finish(&x, 0, plus(&x, y, 6));
}

/* in: x, scale, zero -> (x - zero) * scale. */
static IrValueId dequantise(OnnxX *x, uint32_t first) {
    TnQuantizeParams p = {.axis = 1, .saturate = 1};
    IrValueId in[3] = {x->c->in[first], x->c->in[first + 1], tni_onnx_in(x->c, first + 2)};
    return tni_x_op(x, TN_OP_dequantize_linear, &p, in, 3);
}

static TnStatus quantised(OnnxX *x, IrValueId y, uint32_t scale, TnDtype t) {
    TnQuantizeParams p = {.axis = 1, .saturate = 1, .output_dtype = tni_onnx_has(x->c, scale + 1) ? TN_UNDEFINED : t};
    IrValueId in[3] = {y, x->c->in[scale], tni_onnx_in(x->c, scale + 1)};
    return tni_x_finish(x, 0, tni_x_op(x, TN_OP_quantize_linear, &p, in, 3));
}

/* c->arg: TnBinaryFn. */
TnStatus tni_onnx_convert_ms_qlinear_binary(OnnxCall *c) {
    OnnxX x = {.c = c};
    TnDtype t = tni_x_need_dtype(&x, 0);
    return quantised(&x, tni_x_binary(&x, (TnBinaryFn)c->arg, dequantise(&x, 0), dequantise(&x, 3)), 6, t);
}

/* c->arg: TnUnaryFn. */
TnStatus tni_onnx_convert_ms_qlinear_unary(OnnxCall *c) {
    OnnxX x = {.c = c};
    float alpha = 0.01f;
    TnDtype t = tni_x_need_dtype(&x, 0);
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &alpha));
    return quantised(&x, tni_x_unary_ab(&x, (TnUnaryFn)c->arg, dequantise(&x, 0), (double)alpha, 0), 3, t);
}

/* in: y_scale, y_zero, then x, scale, zero of each part. */
TnStatus tni_onnx_convert_ms_qlinear_concat(OnnxCall *c) {
    OnnxX x = {.c = c};
    IrValueId parts[TN_QLINEAR_PARTS];
    int32_t axis = 1;
    const uint32_t n = (c->n_in - 2) / 3;
    TN_TRY(tni_onnx_attr_i32(c, "axis", -TN_MAX_RANK, TN_MAX_RANK - 1, &axis));
    if ((c->n_in - 2) % 3 != 0 || n > TN_QLINEAR_PARTS)
        return ONNX_UNSUPPORTED(c, "%u inputs; a scale, a zero point and then three for each of up to %u parts are supported", c->n_in,
                                (unsigned)TN_QLINEAR_PARTS);
    const TnDtype t = tni_x_need_dtype(&x, 2);
    for (uint32_t i = 0; i < n; i++)
        parts[i] = dequantise(&x, 2 + 3 * i);
    return quantised(&x, tni_x_concat(&x, parts, n, axis), 0, t);
}

/* in: x, x_scale, x_zero, y_scale, y_zero. c->arg: 1 for the whole spatial extent. */
TnStatus tni_onnx_convert_ms_qlinear_pool(OnnxCall *c) {
    OnnxX x = {.c = c};
    TnPoolParams p;
    int64_t last = 0;
    const TnDtype t = tni_x_need_dtype(&x, 0);
    TN_TRY(tni_onnx_attr_i64(c, "channels_last", &last));
    if (last != 0)
        return ONNX_UNSUPPORTED(c, "channels_last is not supported");
    TN_TRY(c->arg != 0 ? tni_onnx_global_pool_params(c, TN_POOL_AVG, &p) : tni_onnx_pool_params(c, TN_POOL_AVG, &p));
    const IrValueId v = dequantise(&x, 0);
    return quantised(&x, tni_x_op(&x, TN_OP_pool, &p, &v, 1), 3, t);
}

/* x [B, M, K] quantised to bytes as DynamicQuantizeLinear does, times b [K, N] (bytes). in: x, b, b_scale, b_zero, bias. */
TnStatus tni_onnx_convert_ms_dynamic_matmul(OnnxCall *c) {
    OnnxX s = {.c = c}, *x = &s;
    int32_t rank = tni_x_need_rank(x, 0), axes[TN_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    IrValueId zero = tni_x_number(x, TN_F32, 0), top = tni_x_number(x, TN_F32, 255), one = tni_x_number(x, TN_F32, 1);
    IrValueId hi = tni_x_binary(x, TN_BINARY_max, tni_x_reduce(x, TN_REDUCE_max, c->in[0], axes, (uint32_t)rank, false), zero);
    IrValueId lo = tni_x_binary(x, TN_BINARY_min, tni_x_reduce(x, TN_REDUCE_min, c->in[0], axes, (uint32_t)rank, false), zero);
    IrValueId span = tni_x_where(x, tni_x_binary(x, TN_BINARY_equal, hi, lo), one, tni_x_binary(x, TN_BINARY_sub, hi, lo));
    IrValueId scale = tni_x_binary(x, TN_BINARY_div, span, top);
    IrValueId z[3] = {tni_x_binary(x, TN_BINARY_sub, zero, tni_x_binary(x, TN_BINARY_div, lo, scale)), zero, top};
    IrValueId point = tni_x_cast(x, tni_x_unary(x, TN_UNARY_round, tni_x_op(x, TN_OP_clip, NULL, z, 3)), TN_U8);
    TnQuantizeParams p = {.axis = 1, .saturate = 1};
    IrValueId in[3] = {c->in[0], scale, point}, q = tni_x_op(x, TN_OP_quantize_linear, &p, in, 3);
    IrValueId factors[4] = {q, c->in[1], point, tni_onnx_in(c, 3)};
    IrValueId y = tni_x_cast(x, tni_x_op(x, TN_OP_matmul_integer, NULL, factors, factors[3] != TN_NO_VALUE ? 4 : 3), TN_F32);
    y = tni_x_binary(x, TN_BINARY_mul, y, tni_x_binary(x, TN_BINARY_mul, scale, c->in[2]));
    return tni_x_finish(x, 0, plus(x, y, 4));
}

/* Bytes [..., n] as their halves [..., 2n], the low one first. */
static IrValueId nibbles(OnnxX *x, IrValueId v, const int64_t *shape, uint32_t n) {
    IrValueId low = tni_x_binary(x, TN_BINARY_bitwise_and, v, tni_x_number(x, TN_U8, 15));
    IrValueId high = tni_x_binary(x, TN_BINARY_shift_right, v, tni_x_number(x, TN_U8, 4));
    IrValueId both[2] = {tni_x_unsqueeze(x, low, -1), tni_x_unsqueeze(x, high, -1)};
    return tni_x_reshape_to(x, tni_x_concat(x, both, 2, -1), shape, n);
}

/* b [N, blocks, bytes] of 4-bit or 8-bit numbers, a scale [N * blocks] for each block, zero points (half of the range without them) packed by rows:
 * y = x ((b - zero) * scale)^T + bias. */
TnStatus tni_onnx_convert_ms_matmul_nbits(OnnxCall *c) {
    OnnxX s = {.c = c}, *x = &s;
    int32_t k = 0, n = 0, bits = 4, block = 0;
    TN_TRY(tni_onnx_attr_i32(c, "K", 1, INT32_MAX, &k));
    TN_TRY(tni_onnx_attr_i32(c, "N", 1, INT32_MAX, &n));
    TN_TRY(tni_onnx_attr_i32(c, "bits", 2, 8, &bits));
    TN_TRY(tni_onnx_attr_i32(c, "block_size", 16, 1 << 20, &block));
    (void)tni_onnx_attr(c, "accuracy_level");
    if ((bits != 4 && bits != 8) || k < 1 || n < 1 || block < 16 || tni_onnx_has(c, 4))
        return ONNX_UNSUPPORTED(c, "bits %d, K %d, N %d, block_size %d%s; 4 and 8 bits without g_idx are supported", bits, k, n, block,
                                tni_onnx_has(c, 4) ? " and g_idx" : "");
    TnDtype t = tni_x_need_dtype(x, 0);
    const int64_t blocks = (k + block - 1) / block, cube[3] = {n, blocks, block}, ones[3] = {n, blocks, 1}, flat[2] = {n, blocks * block};
    const int64_t row[2] = {n, (blocks + 1) / 2 * 2};
    IrValueId b = tni_x_cast(x, bits == 8 ? c->in[1] : nibbles(x, c->in[1], cube, 3), t), zero = tni_x_number(x, t, bits == 8 ? 128 : 8);
    if (tni_onnx_has(c, 3) && (bits == 8 || tni_onnx_in_known(c, 3).dtype != TN_U8))
        zero = tni_x_cast(x, tni_x_reshape_to(x, c->in[3], ones, 3), t);
    else if (tni_onnx_has(c, 3))
        zero = tni_x_cast(x, tni_x_reshape_to(x, tni_x_cut(x, nibbles(x, c->in[3], row, 2), 1, 0, blocks), ones, 3), t);
    IrValueId scale = tni_x_reshape_to(x, c->in[2], ones, 3);
    IrValueId w = tni_x_binary(x, TN_BINARY_mul, tni_x_binary(x, TN_BINARY_sub, b, zero), scale);
    w = tni_x_cut(x, tni_x_reshape_to(x, w, flat, 2), 1, 0, k);
    const uint8_t turn[2] = {1, 0};
    return tni_x_finish(x, 0, plus(x, tni_x_matmul(x, c->in[0], tni_x_transpose(x, w, turn, 2)), 5));
}

/* ---- attention ---- */

typedef struct Heads {
    int32_t n;
    float scale, hidden; /* scale 0: 1 / sqrt(size); hidden: what masked scores get */
    uint32_t causal;
} Heads;

static TnStatus head_attributes(OnnxCall *c, Heads *h) {
    *h = (Heads){.hidden = -10000.0f};
    TN_TRY(tni_onnx_attr_i32(c, "num_heads", 1, 65536, &h->n));
    TN_TRY(tni_onnx_attr_f32(c, "scale", &h->scale));
    TN_TRY(tni_onnx_attr_f32(c, "mask_filter_value", &h->hidden));
    TN_TRY(tni_onnx_attr_bool(c, "unidirectional", &h->causal));
    return h->n < 1 ? ONNX_BAD(c, "attribute 'num_heads' is required") : TN_OK;
}

static const uint8_t swap_heads[4] = {0, 2, 1, 3}, swap_rows[4] = {0, 1, 3, 2};

/* [B, S, heads * D] -> [B, heads, S, D]. */
static IrValueId split_heads(OnnxX *x, const Heads *h, IrValueId v) {
    const int64_t dims[4] = {0, 0, h->n, -1};
    return tni_x_transpose(x, tni_x_reshape_to(x, v, dims, 4), swap_heads, 4);
}

/* The mask of operand i as something to add to scores [B, heads, S, T]: [B] lengths, [B, T], [B, S, T] or [B, 1, S, T] of 1 and 0. */
static IrValueId mask_of(OnnxX *x, const Heads *h, uint32_t i, IrValueId keys, TnDtype t) {
    if (!tni_onnx_has(x->c, i))
        return TN_NO_VALUE;
    int32_t rank = tni_x_need_rank(x, i);
    IrValueId m = x->c->in[i], zero = tni_x_number(x, t, 0), hidden = tni_x_number(x, t, (double)h->hidden), keep;
    const int64_t column[4] = {-1, 1, 1, 1};
    if (rank == 1) {
        IrValueId length = tni_x_reshape_to(x, tni_x_cast(x, m, TN_I64), column, 4);
        keep = tni_x_binary(x, TN_BINARY_less, tni_x_count(x, tni_x_dim_scalar(x, keys, 2)), length);
    } else {
        keep = tni_x_cast(x, m, TN_BOOL);
        if (rank < 4)
            keep = tni_x_unsqueeze(x, keep, 1);
        if (rank < 3)
            keep = tni_x_unsqueeze(x, keep, 1);
    }
    return tni_x_where(x, keep, zero, hidden);
}

/* softmax(scale q k^T + masks) v, heads merged: [B, S, heads * D]. */
static IrValueId attend(OnnxX *x, const Heads *h, const IrValueId *qkv, IrValueId mask, uint32_t bias, TnDtype t) {
    IrValueId s = tni_x_matmul(x, qkv[0], tni_x_transpose(x, qkv[1], swap_rows, 4));
    if (h->scale != 0)
        s = tni_x_binary(x, TN_BINARY_mul, s, tni_x_number(x, t, (double)h->scale));
    else
        s = tni_x_binary(x, TN_BINARY_div, s, tni_x_unary(x, TN_UNARY_sqrt, tni_x_cast(x, tni_x_dim(x, qkv[0], 3), t)));
    s = plus(x, s, bias);
    if (mask != TN_NO_VALUE)
        s = tni_x_binary(x, TN_BINARY_add, s, mask);
    if (h->causal) {
        IrValueId n = tni_x_dim_scalar(x, qkv[0], 2), m = tni_x_dim_scalar(x, qkv[1], 2), row = tni_x_unsqueeze(x, tni_x_count(x, n), 1);
        row = tni_x_binary(x, TN_BINARY_add, row, tni_x_binary(x, TN_BINARY_sub, m, n));
        IrValueId keep = tni_x_binary(x, TN_BINARY_less_equal, tni_x_count(x, m), row);
        s = tni_x_where(x, keep, s, tni_x_number(x, t, -INFINITY));
    }
    const int64_t merged[3] = {0, 0, -1};
    IrValueId y = tni_x_matmul(x, tni_x_softmax(x, s, -1, false), qkv[2]);
    return tni_x_reshape_to(x, tni_x_transpose(x, y, swap_heads, 4), merged, 3);
}

/* in: input [B, S, W], weights [W, 3 * D], bias [3 * D], mask, past, attention_bias. */
TnStatus tni_onnx_convert_ms_attention(OnnxCall *c) {
    Heads h;
    OnnxX s = {.c = c}, *x = &s;
    const int64_t *sizes = NULL;
    uint32_t n = 0;
    TN_TRY(head_attributes(c, &h));
    TN_TRY(tni_onnx_attr_ints(c, "qkv_hidden_sizes", &sizes, &n));
    (void)tni_onnx_attr(c, "past_present_share_buffer");
    if (tni_onnx_has(c, 4) || tni_onnx_wants(c, 1) || (sizes != NULL && n != 3))
        return ONNX_UNSUPPORTED(c, "a past (operand 4) and a present (output 1) are not supported");
    TnDtype t = tni_x_need_dtype(x, 0);
    IrValueId merged = plus(x, tni_x_matmul(x, c->in[0], c->in[1]), 2), qkv[3];
    TnAxisParams split = {.axis = 2, .n = 3};
    IrValueId in[2] = {merged, sizes == NULL ? TN_NO_VALUE : tni_x_ints(x, sizes, 3)};
    tni_x_op_n(x, TN_OP_split, &split, in, sizes == NULL ? 1 : 2, qkv, 3);
    for (int i = 0; i < 3; i++)
        qkv[i] = split_heads(x, &h, qkv[i]);
    return tni_x_finish(x, 0, attend(x, &h, qkv, mask_of(x, &h, 3, qkv[1], t), 5, t));
}

/* in: query, key, value [B, S, D] (key and value may be [B, heads, T, D / heads]), bias [3 * D], key padding mask, attention_bias,
 * past_key, past_value; outputs 1, 2: the keys and values with the past. */
TnStatus tni_onnx_convert_ms_multi_head(OnnxCall *c) {
    Heads h;
    OnnxX s = {.c = c}, *x = &s;
    IrValueId qkv[3], bias[3] = {TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE};
    TN_TRY(head_attributes(c, &h));
    TnDtype t = tni_x_need_dtype(x, 0);
    if (x->st == TN_OK && (tni_onnx_in_known(c, 0).rank != 3 || !tni_onnx_has(c, 1) || !tni_onnx_has(c, 2)))
        return ONNX_UNSUPPORTED(c, "query, key and value must be separate tensors of rank 3; packed ones are not supported");
    if (tni_onnx_has(c, 3)) {
        /* [Dq + Dk + Dv]: the first two are as wide as the query. */
        IrValueId w = tni_x_dim(x, c->in[0], 2), all = tni_x_dim(x, c->in[3], 0), two = tni_x_binary(x, TN_BINARY_add, w, w);
        const int64_t none = 0;
        bias[0] = tni_x_slice(x, c->in[3], 0, tni_x_ints(x, &none, 1), w);
        bias[1] = tni_x_slice(x, c->in[3], 0, w, two);
        bias[2] = tni_x_slice(x, c->in[3], 0, two, all);
    }
    for (uint32_t i = 0; i < 3; i++) {
        qkv[i] = c->in[i];
        if (tni_onnx_in_known(c, i).rank == 4)
            continue;
        if (bias[i] != TN_NO_VALUE)
            qkv[i] = tni_x_binary(x, TN_BINARY_add, qkv[i], bias[i]);
        qkv[i] = split_heads(x, &h, qkv[i]);
    }
    for (uint32_t i = 1; i < 3; i++) {
        IrValueId both[2] = {tni_onnx_in(c, 5 + i), qkv[i]};
        if (tni_onnx_has(c, 5 + i))
            qkv[i] = tni_x_concat(x, both, 2, 2);
        TN_TRY(tni_x_finish(x, i, qkv[i]));
    }
    return tni_x_finish(x, 0, attend(x, &h, qkv, mask_of(x, &h, 4, qkv[1], t), 5, t));
}
