/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators that are short formulas: Hardmax, LpNormalization, ReverseSequence, TensorScatter, CumProd, BitCast, SwiGLU, Det,
 * RotaryEmbedding, CausalConvWithState. */
#include "onnx/express.h"

/* one_hot(argmax(x)). Before opset 13 all axes from `axis` (1 by default) on count as one. */
TnStatus tni_onnx_convert_hardmax(OnnxCall *c) {
    OnnxX x = {.c = c};
    const bool flat = c->opset < 13;
    int32_t axis = flat ? 1 : -1;
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    TnDtype t = tni_x_need_dtype(&x, 0);
    IrValueId v = c->in[0];
    if (flat) {
        TnReshapeParams p;
        memset(&p, 0, sizeof p);
        p.kind = TN_RESHAPE_FLATTEN;
        p.axis = axis;
        v = tni_x_op(&x, TN_OP_reshape, &p, &v, 1);
        axis = -1;
    }
    TnArgReduceParams first = {.axis = axis, .is_max = 1, .keepdims = 0, .select_last = 0};
    TnAxisParams hot = {.axis = axis, .n = 0};
    const double off_on[2] = {0, 1};
    IrValueId in[3] = {tni_x_op(&x, TN_OP_arg_reduce, &first, &v, 1), tni_x_dim_scalar(&x, v, axis), tni_x_floats(&x, t, off_on, 2)};
    IrValueId y = tni_x_op(&x, TN_OP_one_hot, &hot, in, 3);
    if (flat)
        y = tni_x_reshape(&x, y, tni_x_shape(&x, c->in[0]));
    return tni_x_finish(&x, 0, y);
}

/* x / norm, 0 where the norm is 0. */
TnStatus tni_onnx_convert_lp_norm(OnnxCall *c) {
    int32_t axis = -1, p = 2;
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    TN_TRY(tni_onnx_attr_i32(c, "p", 1, 2, &p));
    OnnxX x = {.c = c};
    TnDtype t = tni_x_need_dtype(&x, 0);
    IrValueId norm = tni_x_reduce(&x, p == 1 ? TN_REDUCE_l1 : TN_REDUCE_l2, c->in[0], &axis, 1, true), zero = tni_x_number(&x, t, 0);
    norm = tni_x_where(&x, tni_x_binary(&x, TN_BINARY_equal, norm, zero), tni_x_number(&x, t, 1), norm);
    return tni_x_finish(&x, 0, tni_x_binary(&x, TN_BINARY_div, c->in[0], norm));
}

/* With the batch in front: y[b] = x[b][t < len[b] ? len[b] - 1 - t : t]. */
TnStatus tni_onnx_convert_reverse_sequence(OnnxCall *c) {
    int32_t time = 0, batch = 1;
    TN_TRY(tni_onnx_attr_i32(c, "time_axis", 0, 1, &time));
    TN_TRY(tni_onnx_attr_i32(c, "batch_axis", 0, 1, &batch));
    if (time == batch)
        return ONNX_BAD(c, "time_axis and batch_axis are both %d", time);
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    const uint8_t swap[TN_MAX_RANK] = {1, 0, 2, 3, 4, 5, 6, 7};
    IrValueId v = batch == 0 ? c->in[0] : tni_x_transpose(&x, c->in[0], swap, (uint32_t)rank);
    IrValueId t = tni_x_count(&x, tni_x_dim_scalar(&x, v, 1)), len = tni_x_unsqueeze(&x, tni_x_cast(&x, c->in[1], TN_I64), 1);
    IrValueId back = tni_x_binary(&x, TN_BINARY_sub, tni_x_binary(&x, TN_BINARY_sub, len, tni_x_int(&x, 1)), t);
    IrValueId index = tni_x_where(&x, tni_x_binary(&x, TN_BINARY_less, t, len), back, t);
    TnGatherNdParams p = {.batch_dims = 1};
    IrValueId in[2] = {v, tni_x_unsqueeze(&x, index, 2)}, y = tni_x_op(&x, TN_OP_gather_nd, &p, in, 2);
    return tni_x_finish(&x, 0, batch == 0 ? y : tni_x_transpose(&x, y, swap, (uint32_t)rank));
}

/* cache with the update at positions write_indices[b] + s of `axis` (modulo its length: circular). */
TnStatus tni_onnx_convert_tensor_scatter(OnnxCall *c) {
    static const char *const modes[] = {"linear", "circular"};
    uint32_t mode = 0;
    int32_t axis = -2;
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &mode));
    TN_TRY(tni_onnx_attr_axis(c, "axis", &axis));
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    TN_TRY(x.st);
    axis += axis < 0 ? rank : 0;
    if (axis < 1 || axis >= rank)
        return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d; axis 0 is the batch", axis, rank);
    IrValueId at = tni_x_count(&x, tni_x_dim_scalar(&x, c->in[1], axis));
    if (tni_onnx_has(c, 2))
        at = tni_x_binary(&x, TN_BINARY_add, tni_x_unsqueeze(&x, tni_x_cast(&x, c->in[2], TN_I64), 1), at);
    else
        at = tni_x_unsqueeze(&x, at, 0);
    if (mode == 1)
        at = tni_x_binary(&x, TN_BINARY_mod, at, tni_x_dim_scalar(&x, c->in[0], axis));
    for (int32_t a = 1; a < axis; a++)
        at = tni_x_unsqueeze(&x, at, 1);
    for (int32_t a = axis + 1; a < rank; a++)
        at = tni_x_unsqueeze(&x, at, -1);
    TnScatterParams p = {.axis = axis, .reduction = TN_SCATTER_NONE};
    IrValueId in[3] = {c->in[0], tni_x_expand(&x, at, tni_x_shape(&x, c->in[1])), c->in[1]};
    return tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_scatter_elements, &p, in, 3));
}

TnStatus tni_onnx_convert_cumprod(OnnxCall *c) {
    TnCumsumParams p = {.exclusive = 0, .reverse = 0};
    TN_TRY(tni_onnx_attr_bool(c, "exclusive", &p.exclusive));
    TN_TRY(tni_onnx_attr_bool(c, "reverse", &p.reverse));
    return tni_onnx_emit(c, TN_OP_cumprod, &p, c->in, 2);
}

TnStatus tni_onnx_convert_bit_cast(OnnxCall *c) {
    TnCastParams p = {.to = TN_UNDEFINED, .saturate = 1};
    TN_TRY(tni_onnx_attr_dtype(c, "to", &p.to));
    if (p.to == TN_UNDEFINED)
        return ONNX_BAD(c, "attribute 'to' is required");
    return tni_onnx_emit(c, TN_OP_bit_cast, &p, c->in, 1);
}

TnStatus tni_onnx_convert_swiglu(OnnxCall *c) {
    float alpha = 1;
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &alpha));
    OnnxX x = {.c = c};
    IrValueId gate = tni_x_unary_ab(&x, TN_UNARY_silu, c->in[0], (double)alpha, 0);
    return tni_x_finish(&x, 0, tni_x_binary(&x, TN_BINARY_mul, gate, c->in[1]));
}

TnStatus tni_onnx_convert_det(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_det, NULL, c->in, 1);
}

/* ---- RotaryEmbedding ----
 * x [B, S, H, D]; the first r elements of each head are rotated: pairs are (even, odd) or (first half, second half):
 *     y1 = cos * x1 - sin * x2     y2 = sin * x1 + cos * x2     cos, sin: [B, S, 1, r / 2], taken at position_ids when these are given. */

typedef struct Rotary {
    int32_t heads, rotated, rank;
    uint32_t interleaved;
} Rotary;

/* cos or sin as [B, S, 1, r / 2] of x's type. */
static IrValueId cache(OnnxX *x, uint32_t i) {
    IrValueId v = x->c->in[i];
    if (tni_onnx_has(x->c, 3))
        v = tni_x_gather(x, v, x->c->in[3], 0);
    return tni_x_unsqueeze(x, v, 2);
}

static IrValueId rotate(OnnxX *x, const Rotary *r, IrValueId v) {
    IrValueId cos = cache(x, 1), sin = cache(x, 2), part[2];
    const int64_t pairs[5] = {0, 0, 0, -1, 2}, flat[4] = {0, 0, 0, -1};
    if (r->interleaved) {
        IrValueId p = tni_x_reshape_to(x, v, pairs, 5);
        part[0] = tni_x_squeeze(x, tni_x_cut(x, p, 4, 0, 1), 4);
        part[1] = tni_x_squeeze(x, tni_x_cut(x, p, 4, 1, 2), 4);
    } else {
        TnAxisParams halves = {.axis = 3, .n = 2};
        tni_x_op_n(x, TN_OP_split, &halves, &v, 1, part, 2);
    }
    IrValueId y[2] = {
        tni_x_binary(x, TN_BINARY_sub, tni_x_binary(x, TN_BINARY_mul, cos, part[0]), tni_x_binary(x, TN_BINARY_mul, sin, part[1])),
        tni_x_binary(x, TN_BINARY_add, tni_x_binary(x, TN_BINARY_mul, sin, part[0]), tni_x_binary(x, TN_BINARY_mul, cos, part[1]))};
    if (!r->interleaved)
        return tni_x_concat(x, y, 2, 3);
    for (int i = 0; i < 2; i++)
        y[i] = tni_x_unsqueeze(x, y[i], 4);
    return tni_x_reshape_to(x, tni_x_concat(x, y, 2, 4), flat, 4);
}

TnStatus tni_onnx_convert_rotary(OnnxCall *c) {
    static const uint8_t swap[4] = {0, 2, 1, 3};
    Rotary r = {0};
    TN_TRY(tni_onnx_attr_i32(c, "num_heads", 0, 65536, &r.heads));
    TN_TRY(tni_onnx_attr_i32(c, "rotary_embedding_dim", 0, INT32_MAX, &r.rotated));
    TN_TRY(tni_onnx_attr_bool(c, "interleaved", &r.interleaved));
    OnnxX x = {.c = c};
    r.rank = tni_x_need_rank(&x, 0);
    TN_TRY(x.st);
    if (r.rank != 4 && (r.rank != 3 || r.heads < 1))
        return ONNX_BAD(c, "operand 0 has rank %d; expected 4, or 3 with the attribute num_heads", r.rank);
    const int64_t split[4] = {0, 0, r.heads, -1};
    IrValueId v = r.rank == 4 ? tni_x_transpose(&x, c->in[0], swap, 4) : tni_x_reshape_to(&x, c->in[0], split, 4);
    IrValueId part[2] = {v, TN_NO_VALUE};
    if (r.rotated > 0) {
        part[0] = tni_x_cut(&x, v, 3, 0, r.rotated);
        part[1] = tni_x_cut(&x, v, 3, r.rotated, INT64_MAX);
    }
    part[0] = rotate(&x, &r, part[0]);
    v = tni_x_concat(&x, part, r.rotated > 0 ? 2 : 1, 3);
    if (r.rank == 4)
        return tni_x_finish(&x, 0, tni_x_transpose(&x, v, swap, 4));
    return tni_x_finish(&x, 0, tni_x_reshape(&x, v, tni_x_shape(&x, c->in[0])));
}

/* p = concat(past or zeros [B, C, k - 1], x); y = depthwise conv(p) [then silu]; present = the last k - 1 positions of p. */
TnStatus tni_onnx_convert_causal_conv(OnnxCall *c) {
    static const char *const words[] = {"none", "silu", "swish"};
    uint32_t act = 0;
    int64_t dims[TN_MAX_RANK];
    TN_TRY(tni_onnx_attr_word(c, "activation", words, TN_COUNT(words), &act));
    OnnxX x = {.c = c};
    TnDtype t = tni_x_need_dtype(&x, 0);
    TN_TRY(x.st);
    if (!tni_ir_static_dims(c->imp->m, c->scope->target->g, c->in[1], dims) || tni_onnx_in_known(c, 1).rank != 3 || dims[0] < 1 ||
        dims[2] < 1 || dims[0] > INT32_MAX || dims[2] > INT32_MAX)
        return ONNX_UNSUPPORTED(c, "operand 1 (weight) must be [channels, 1, k] of known size");
    int64_t tail = dims[2] - 1;
    IrValueId past = tni_onnx_in(c, 3), both[2];
    if (past == TN_NO_VALUE) {
        IrValueId shape[2] = {tni_x_cut(&x, tni_x_shape(&x, c->in[0]), 0, 0, 2), tni_x_ints(&x, &tail, 1)};
        past = tni_x_fill(&x, tni_x_concat(&x, shape, 2, 0), t, 0);
    }
    both[0] = past;
    both[1] = c->in[0];
    IrValueId padded = tni_x_concat(&x, both, 2, 2);
    TnConvParams p;
    memset(&p, 0, sizeof p);
    p.n_spatial = 1;
    p.group = (uint32_t)dims[0];
    p.kernel[0] = (int32_t)dims[2];
    for (int i = 0; i < 3; i++)
        p.stride[i] = p.dilation[i] = 1;
    IrValueId in[3] = {padded, c->in[1], tni_onnx_in(c, 2)}, y = tni_x_op(&x, TN_OP_conv, &p, in, 3);
    if (act != 0)
        y = tni_x_unary_ab(&x, TN_UNARY_silu, y, 1, 0);
    TN_TRY(tni_x_finish(&x, 0, y));
    if (!tni_onnx_wants(c, 1))
        return TN_OK;
    IrValueId length = tni_x_dim(&x, padded, 2), from = tni_x_binary(&x, TN_BINARY_sub, length, tni_x_ints(&x, &tail, 1));
    return tni_x_finish(&x, 1, tni_x_slice(&x, padded, 2, from, length));
}
