/* SPDX-License-Identifier: Apache-2.0
 *
 * ONNX Attention (opset 23 and newer) in primitive operators, which the passes fuse again:
 *
 *     Q, K, V --(rank 3: reshape [0, 0, heads, -1], transpose)--> [B, H, S, D]    K, V = concat(past, K | V) -> present
 *     p = softmax(softcap(scale * Q K^T) + mask [+ causal, window, padding]),  rows with nothing to attend to are zero
 *     Y = p V --(rank 3: transpose, reshape)--> [B, S, H * D]
 *
 * Grouped queries (kv heads < q heads) repeat K and V along the heads. */
#include "onnx/express.h"

#include <math.h>

typedef struct Attention {
    int32_t q_heads, kv_heads; /* 0: operands have rank 4 */
    int32_t groups, repeats;   /* of K and V: groups heads, each for `repeats` heads of Q; 1: none is repeated */
    float scale, softcap;
    bool has_scale;
    uint32_t causal;
    int64_t left, right; /* keys j with p - left <= j <= p + right are visible to the query at position p; -1: no bound */
    uint32_t output;     /* what output 3 shows: 0, 1 scores, 2 with mask, 3 probabilities */
    TnDtype dtype;
} Attention;

/* Rank 4: heads are a dimension, which need not be known here; then K and V must have as many as Q, or one. */
static TnStatus find_groups(OnnxCall *c, Attention *a) {
    const IrGraph *g = c->scope->target->g;
    const IrValue *q = &g->values[c->in[0]], *k = &g->values[c->in[1]];
    int64_t heads[2] = {a->q_heads, a->kv_heads};
    a->repeats = 1;
    if (a->q_heads == 0 && (q->rank != 4 || k->rank != 4 || !tni_ir_dim_is_const(c->imp->m, q->dims[1], &heads[0]) ||
                            !tni_ir_dim_is_const(c->imp->m, k->dims[1], &heads[1])))
        return TN_OK;
    if (heads[0] == heads[1])
        return TN_OK;
    if (heads[0] < 1 || heads[1] < 1 || heads[0] > 65536 || heads[0] % heads[1] != 0)
        return ONNX_BAD(c, "Q has %lld heads and K %lld; the first must be a multiple of the second", (long long)heads[0],
                        (long long)heads[1]);
    a->groups = (int32_t)heads[1];
    a->repeats = (int32_t)(heads[0] / heads[1]);
    return TN_OK;
}

static TnStatus attributes(OnnxCall *c, Attention *a) {
    int64_t mode = 0;
    memset(a, 0, sizeof *a);
    a->left = a->right = -1;
    TN_TRY(tni_onnx_attr_i32(c, "q_num_heads", 0, 65536, &a->q_heads));
    TN_TRY(tni_onnx_attr_i32(c, "kv_num_heads", 0, 65536, &a->kv_heads));
    a->has_scale = tni_onnx_has_attr(c, "scale");
    TN_TRY(tni_onnx_attr_f32(c, "scale", &a->scale));
    TN_TRY(tni_onnx_attr_f32(c, "softcap", &a->softcap));
    TN_TRY(tni_onnx_attr_bool(c, "is_causal", &a->causal));
    TN_TRY(tni_onnx_attr_i64(c, "left_window_size", &a->left));
    TN_TRY(tni_onnx_attr_i64(c, "right_window_size", &a->right));
    TN_TRY(tni_onnx_attr_i64(c, "qk_matmul_output_mode", &mode));
    (void)tni_onnx_attr(c, "softmax_precision"); /* sums are float32 or wider anyway */
    if (a->left < -1 || a->right < -1 || mode < 0 || mode > 3)
        return ONNX_BAD(c, "left_window_size is %lld, right_window_size %lld, qk_matmul_output_mode %lld; expected -1 or more, and 0..3",
                        (long long)a->left, (long long)a->right, (long long)mode);
    a->output = (uint32_t)mode;
    if ((a->q_heads == 0) != (a->kv_heads == 0) || (a->kv_heads != 0 && a->q_heads % a->kv_heads != 0))
        return ONNX_BAD(c, "q_num_heads is %d and kv_num_heads %d; the first must be a multiple of the second", a->q_heads, a->kv_heads);
    int32_t rank = tni_onnx_in_known(c, 0).rank;
    if (rank >= 0 && rank != 4 && (rank != 3 || a->q_heads == 0))
        return ONNX_BAD(c, "operand 0 has rank %d; expected 4, or 3 with the attributes q_num_heads and kv_num_heads", rank);
    if (rank == 4)
        a->q_heads = a->kv_heads = 0;
    TN_TRY(find_groups(c, a));
    if (tni_onnx_has(c, 6) && tni_onnx_has(c, 4))
        return ONNX_BAD(c, "nonpad_kv_seqlen and past_key exclude each other");
    if (tni_onnx_has(c, 4) != tni_onnx_has(c, 5))
        return ONNX_BAD(c, "past_key and past_value must be given together");
    a->dtype = tni_onnx_dtype_or(c, 0, tni_onnx_dtype_or(c, 1, tni_onnx_dtype_or(c, 2, TN_F32)));
    return TN_OK;
}

static TnStatus transpose(OnnxCall *c, const char *suffix, IrValueId x, const uint8_t perm[4], IrValueId *out) {
    TnTransposeParams p;
    memset(&p, 0, sizeof p);
    p.n = 4;
    memcpy(p.perm, perm, 4);
    return tni_onnx_temp(c, suffix, TN_OP_transpose, &p, &x, 1, out);
}

static const uint8_t swap_heads[4] = {0, 2, 1, 3};
static const uint8_t swap_last[4] = {0, 1, 3, 2};

/* [B, S, heads * D] -> [B, heads, S, D]. */
static TnStatus split_heads(OnnxCall *c, const char *suffix, int32_t heads, IrValueId *x) {
    if (heads == 0)
        return TN_OK;
    int64_t dims[4] = {0, 0, heads, -1};
    IrValueId shape = 0;
    TN_TRY(tni_onnx_const_i64s(c, "split_shape", dims, 4, &shape));
    TN_TRY(tni_onnx_reshape_to(c, suffix, *x, shape, x));
    return transpose(c, suffix, *x, swap_heads, x);
}

/* past (operand i) and x along the sequence; the present output o is the result. */
static TnStatus append_past(OnnxCall *c, uint32_t i, uint32_t o, IrValueId *x) {
    TnAxisParams p = {.axis = 2, .n = 0};
    if (!tni_onnx_has(c, i)) {
        if (!tni_onnx_wants(c, o))
            return TN_OK;
        TN_TRY(tni_onnx_emit_out(c, o, TN_OP_identity, NULL, x, 1));
        return TN_OK;
    }
    IrValueId in[2] = {c->in[i], *x};
    if (!tni_onnx_wants(c, o))
        return tni_onnx_temp(c, "present", TN_OP_concat, &p, in, 2, x);
    TN_TRY(tni_onnx_emit_out(c, o, TN_OP_concat, &p, in, 2));
    *x = c->out[o];
    return TN_OK;
}

/* [B, kv, S, D] -> [B, kv * repeat, S, D], each head `repeat` times in a row: through [B, kv, repeat, S * D]. */
static TnStatus repeat_heads(OnnxCall *c, const Attention *a, IrValueId *x) {
    if (a->repeats == 1)
        return TN_OK;
    int64_t grouped[4] = {0, a->groups, 1, -1}, times[4] = {1, 1, a->repeats, 1}, heads[2] = {0, (int64_t)a->groups * a->repeats};
    TnShapeParams tail = {.start = 2, .end = INT32_MAX};
    TnAxisParams axis = {.axis = 0, .n = 0};
    IrValueId shape[2], v = 0, in[2], dims = 0;
    TN_TRY(tni_onnx_temp(c, "tail", TN_OP_shape, &tail, x, 1, &shape[1]));
    TN_TRY(tni_onnx_const_i64s(c, "heads", heads, 2, &shape[0]));
    TN_TRY(tni_onnx_temp(c, "repeated_shape", TN_OP_concat, &axis, shape, 2, &dims));
    TN_TRY(tni_onnx_const_i64s(c, "grouped_shape", grouped, 4, &in[1]));
    TN_TRY(tni_onnx_reshape_to(c, "grouped", *x, in[1], &in[0]));
    TN_TRY(tni_onnx_const_i64s(c, "times", times, 4, &in[1]));
    TN_TRY(tni_onnx_temp(c, "tiled", TN_OP_tile, NULL, in, 2, &v));
    return tni_onnx_reshape_to(c, "repeated", v, dims, x);
}

/* scale * Q K^T; without the attribute scale is 1 / sqrt(D). */
static TnStatus scores(OnnxCall *c, const Attention *a, IrValueId q, IrValueId k, IrValueId *out) {
    IrValueId in[2] = {q, 0}, factor = 0;
    TN_TRY(transpose(c, "k_transposed", k, swap_last, &in[1]));
    TN_TRY(tni_onnx_temp(c, "qk", TN_OP_matmul, NULL, in, 2, out));
    if (a->has_scale) {
        TN_TRY(tni_onnx_const_f64(c, "scale", a->dtype, (double)a->scale, &factor));
        return tni_onnx_binary(c, "scaled", TN_BINARY_mul, *out, factor, out);
    }
    TnShapeParams last = {.start = -1, .end = INT32_MAX};
    TnCastParams cast = {.to = a->dtype, .saturate = 1};
    TnUnaryParams root = {.fn = TN_UNARY_sqrt};
    TN_TRY(tni_onnx_temp(c, "d", TN_OP_shape, &last, &q, 1, &factor));
    TN_TRY(tni_onnx_temp(c, "d_float", TN_OP_cast, &cast, &factor, 1, &factor));
    TN_TRY(tni_onnx_temp(c, "d_root", TN_OP_unary, &root, &factor, 1, &factor));
    return tni_onnx_binary(c, "scaled", TN_BINARY_div, *out, factor, out);
}

static TnStatus cap(OnnxCall *c, const Attention *a, IrValueId *s) {
    if (!(a->softcap != 0))
        return TN_OK;
    TnUnaryParams tanh_fn = {.fn = TN_UNARY_tanh};
    IrValueId limit = 0;
    TN_TRY(tni_onnx_const_f64(c, "softcap", a->dtype, (double)a->softcap, &limit));
    TN_TRY(tni_onnx_binary(c, "relative", TN_BINARY_div, *s, limit, s));
    TN_TRY(tni_onnx_temp(c, "capped", TN_OP_unary, &tanh_fn, s, 1, s));
    return tni_onnx_binary(c, "softcapped", TN_BINARY_mul, *s, limit, s);
}

static TnStatus keep_where(OnnxCall *c, const Attention *a, const char *suffix, IrValueId keep, IrValueId *s) {
    IrValueId minus_inf = 0;
    TN_TRY(tni_onnx_const_f64(c, "minus_infinity", a->dtype, -INFINITY, &minus_inf));
    IrValueId in[3] = {keep, *s, minus_inf};
    return tni_onnx_temp(c, suffix, TN_OP_where, NULL, in, 3, s);
}

/* Position p of query i: i + length of the past, or, with a padded cache, i + valid keys of the line - queries: [q, 1] or [B, 1, q, 1]. */
static IrValueId positions(OnnxX *x, IrValueId q) {
    OnnxCall *c = x->c;
    IrValueId n = tni_x_dim_scalar(x, q, 2), rows = tni_x_unsqueeze(x, tni_x_count(x, n), 1);
    if (tni_onnx_has(c, 4))
        return tni_x_binary(x, TN_BINARY_add, rows, tni_x_dim_scalar(x, c->in[4], 2));
    if (!tni_onnx_has(c, 6))
        return rows;
    const int64_t shape[4] = {-1, 1, 1, 1};
    IrValueId offset = tni_x_binary(x, TN_BINARY_sub, tni_x_cast(x, c->in[6], TN_I64), n);
    return tni_x_binary(x, TN_BINARY_add, rows, tni_x_reshape_to(x, offset, shape, 4));
}

/* Keys that position, window and padding hide. */
static TnStatus visibility(OnnxCall *c, const Attention *a, IrValueId q, IrValueId k, IrValueId *s) {
    OnnxX xs = {.c = c}, *x = &xs;
    bool window = a->left >= 0 || a->right >= 0;
    if (!a->causal && !window && !tni_onnx_has(c, 6))
        return TN_OK;
    IrValueId column = tni_x_count(x, tni_x_dim_scalar(x, k, 2)), row = TN_NO_VALUE;
    if (a->causal || window)
        row = positions(x, q);
    TN_TRY(x->st);
    if (a->causal)
        TN_TRY(keep_where(c, a, "causal", tni_x_binary(x, TN_BINARY_less_equal, column, row), s));
    if (a->left >= 0) {
        IrValueId first = tni_x_binary(x, TN_BINARY_sub, row, tni_x_int(x, a->left));
        TN_TRY(keep_where(c, a, "window", tni_x_binary(x, TN_BINARY_greater_equal, column, first), s));
    }
    if (a->right >= 0) {
        IrValueId last = tni_x_binary(x, TN_BINARY_add, row, tni_x_int(x, a->right));
        TN_TRY(keep_where(c, a, "window", tni_x_binary(x, TN_BINARY_less_equal, column, last), s));
    }
    if (tni_onnx_has(c, 6)) {
        const int64_t shape[4] = {-1, 1, 1, 1};
        IrValueId valid = tni_x_reshape_to(x, tni_x_cast(x, c->in[6], TN_I64), shape, 4);
        TN_TRY(keep_where(c, a, "padding", tni_x_binary(x, TN_BINARY_less, column, valid), s));
    }
    return x->st;
}

/* Dimension of an operand that is a number at import. */
static bool number(const OnnxCall *c, uint32_t i, int32_t axis, int64_t *out) {
    if (!tni_onnx_has(c, i))
        return false;
    const IrValue *v = &c->scope->target->g->values[c->in[i]];
    axis += axis < 0 ? v->rank : 0;
    return v->rank > 0 && axis >= 0 && axis < v->rank && tni_ir_dim_is_const(c->imp->m, v->dims[axis], out);
}

/* A mask that is shorter than the keys hides the rest of them. */
static TnStatus lengthen_mask(OnnxCall *c, TnDtype t, IrValueId *m) {
    int64_t have = 0, keys = 0, past = 0;
    const int32_t axis = tni_onnx_in_known(c, 1).rank == 3 ? 1 : 2, rank = tni_onnx_in_known(c, 3).rank;
    if (!number(c, 3, -1, &have) || !number(c, 1, axis, &keys) || (tni_onnx_has(c, 4) && !number(c, 4, 2, &past)) || have >= keys + past ||
        have == 1)
        return TN_OK;
    OnnxX x = {.c = c};
    int64_t pads[2 * TN_MAX_RANK] = {0};
    pads[2 * rank - 1] = keys + past - have;
    TnPadParams p = {.mode = TN_PADDING_CONSTANT};
    IrValueId in[3] = {*m, tni_x_ints(&x, pads, 2 * (uint32_t)rank), tni_x_number(&x, t, t == TN_BOOL ? 0 : -INFINITY)};
    *m = tni_x_op(&x, TN_OP_pad, &p, in, 3);
    return x.st;
}

static TnStatus mask(OnnxCall *c, const Attention *a, IrValueId *s) {
    if (!tni_onnx_has(c, 3))
        return TN_OK;
    TnDtype t = tni_onnx_in_known(c, 3).dtype;
    if (t == TN_UNDEFINED)
        return ONNX_UNSUPPORTED(c, "the type of operand 3 (attn_mask) is not known at import");
    IrValueId m = c->in[3];
    TN_TRY(lengthen_mask(c, t, &m));
    if (t == TN_BOOL)
        return keep_where(c, a, "masked", m, s);
    return tni_onnx_binary(c, "masked", TN_BINARY_add, *s, m, s);
}

/* Softmax; a row of nothing but -inf gives zeros. */
static TnStatus probabilities(OnnxCall *c, const Attention *a, IrValueId *s) {
    TnSoftmaxParams p = {.axis = -1, .log = 0, .scale = 1};
    TN_TRY(tni_onnx_temp(c, "softmax", TN_OP_softmax, &p, s, 1, s));
    if (!tni_onnx_has(c, 3) && !tni_onnx_has(c, 6) && a->left < 0 && a->right < 0)
        return TN_OK;
    TnUnaryParams is_nan = {.fn = TN_UNARY_isnan};
    IrValueId in[3] = {0, 0, *s};
    TN_TRY(tni_onnx_temp(c, "empty", TN_OP_unary, &is_nan, s, 1, &in[0]));
    TN_TRY(tni_onnx_const_f64(c, "no_weight", a->dtype, 0, &in[1]));
    return tni_onnx_temp(c, "weights", TN_OP_where, NULL, in, 3, s);
}

TnStatus tni_onnx_convert_attention(OnnxCall *c) {
    Attention a;
    TN_TRY(attributes(c, &a));
    IrValueId q = c->in[0], k = c->in[1], v = c->in[2], s = 0;
    TN_TRY(split_heads(c, "q", a.q_heads, &q));
    TN_TRY(split_heads(c, "k", a.kv_heads, &k));
    TN_TRY(split_heads(c, "v", a.kv_heads, &v));
    TN_TRY(append_past(c, 4, 1, &k));
    TN_TRY(append_past(c, 5, 2, &v));
    TN_TRY(repeat_heads(c, &a, &k));
    TN_TRY(repeat_heads(c, &a, &v));
    TN_TRY(scores(c, &a, q, k, &s));
    TN_TRY(cap(c, &a, &s));
    OnnxX x = {.c = c};
    if (a.output < 2)
        TN_TRY(tni_x_finish(&x, 3, s));
    TN_TRY(mask(c, &a, &s));
    TN_TRY(visibility(c, &a, q, k, &s));
    if (a.output == 2)
        TN_TRY(tni_x_finish(&x, 3, s));
    TN_TRY(probabilities(c, &a, &s));
    if (a.output == 3)
        TN_TRY(tni_x_finish(&x, 3, s));
    IrValueId in[2] = {s, v}, y = 0;
    if (a.q_heads == 0)
        return tni_onnx_emit_out(c, 0, TN_OP_matmul, NULL, in, 2);
    int64_t merged[3] = {0, 0, -1};
    TN_TRY(tni_onnx_temp(c, "heads_out", TN_OP_matmul, NULL, in, 2, &y));
    TN_TRY(transpose(c, "rows_out", y, swap_heads, &in[0]));
    TN_TRY(tni_onnx_const_i64s(c, "merged_shape", merged, 3, &in[1]));
    TnReshapeParams r;
    memset(&r, 0, sizeof r);
    r.kind = TN_RESHAPE_SHAPE;
    return tni_onnx_emit_out(c, 0, TN_OP_reshape, &r, in, 2);
}

/* ---- FlexAttention (ai.onnx.preview): the scores and the probabilities go through subgraphs of the node ---- */

/* [B, kv, S, D] as [B, heads of q, S, D]: every head for a group of heads of q. */
static IrValueId share_heads(OnnxX *x, IrValueId q, IrValueId v) {
    IrValueId dims = tni_x_shape(x, v), heads = tni_x_dim(x, q, 1), group = tni_x_binary(x, TN_BINARY_div, heads, tni_x_dim(x, v, 1));
    IrValueId wide[3] = {tni_x_cut(x, dims, 0, 0, 2), group, tni_x_cut(x, dims, 0, 2, 4)};
    IrValueId flat[3] = {tni_x_cut(x, dims, 0, 0, 1), heads, wide[2]};
    v = tni_x_expand(x, tni_x_unsqueeze(x, v, 2), tni_x_concat(x, wide, 3, 0));
    return tni_x_reshape(x, v, tni_x_concat(x, flat, 3, 0));
}

static TnStatus modify(OnnxX *x, const char *attr, IrValueId *v) {
    if (x->st == TN_OK && tni_onnx_has_attr(x->c, attr))
        x->st = tni_onnx_inline_graph(x->c, attr, v, 1, v, 1);
    return x->st;
}

TnStatus tni_onnx_convert_flex_attention(OnnxCall *c) {
    OnnxX xs = {.c = c}, *x = &xs;
    float scale = 0;
    TN_TRY(tni_onnx_attr_f32(c, "scale", &scale));
    TnDtype t = tni_x_need_dtype(x, 0);
    uint32_t precision = t == TN_F64 ? TN_F64 : TN_F32;
    TN_TRY(tni_onnx_attr_dtype(c, "softmax_precision", &precision));
    const TnDtype p = (TnDtype)precision;
    int64_t heads[2] = {0, 0};
    IrValueId k = c->in[1], v = c->in[2];
    if (!number(c, 0, 1, &heads[0]) || !number(c, 1, 1, &heads[1]) || heads[0] != heads[1]) {
        k = share_heads(x, c->in[0], k);
        v = share_heads(x, c->in[0], v);
    }
    IrValueId s = tni_x_matmul(x, tni_x_cast(x, c->in[0], p), tni_x_transpose(x, tni_x_cast(x, k, p), swap_last, 4));
    if (tni_onnx_has_attr(c, "scale"))
        s = tni_x_binary(x, TN_BINARY_mul, s, tni_x_number(x, p, (double)scale));
    else
        s = tni_x_binary(x, TN_BINARY_div, s, tni_x_unary(x, TN_UNARY_sqrt, tni_x_cast(x, tni_x_dim(x, c->in[0], 3), p)));
    TN_TRY(modify(x, "score_mod", &s));
    s = tni_x_softmax(x, s, -1, false);
    TN_TRY(modify(x, "prob_mod", &s));
    return tni_x_finish(x, 0, tni_x_matmul(x, tni_x_cast(x, s, t), v));
}
