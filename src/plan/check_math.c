/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of pointwise operators, reductions, normalisations, matrix products and attention (plan/check.h). */
#include "base/dtype.h"
#include "plan/rules.h"

TnStatus tni_plan_rule_unary(const PlanCheck *c) {
    P(TnUnaryParams);
    PARAM(p->fn < TN_UNARY_COUNT, "fn", p->fn);
    bool to_bool = p->fn == TN_UNARY_isnan || p->fn == TN_UNARY_isinf;
    return tni_plan_expect(c, 0, to_bool ? TN_BOOL : c->in[0].dtype, c->in[0].rank, c->in[0].dims);
}

static bool binary_to_bool(uint32_t fn) {
    static const uint32_t types[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) types,
#include "kernel/functions.inc"
#undef BINARY
    };
    return (types[fn] & (TN_FN_TO_BOOL)) != 0 || types[fn] == TN_FN_B;
}

TnStatus tni_plan_rule_binary(const PlanCheck *c) {
    P(TnBinaryParams);
    PARAM(p->fn < TN_BINARY_COUNT, "fn", p->fn);
    int32_t rank = c->in[0].rank;
    int64_t dims[TN_MAX_RANK];
    memcpy(dims, c->in[0].dims, sizeof dims);
    NEED(c->in[0].dtype == c->in[1].dtype || p->fn == TN_BINARY_pow, 1, "the type of input 0");
    NEED(tni_plan_broadcast(&c->in[1], &rank, dims), 1, "a shape that broadcasts with input 0");
    return tni_plan_expect(c, 0, binary_to_bool(p->fn) ? TN_BOOL : c->in[0].dtype, rank, dims);
}

TnStatus tni_plan_rule_where(const PlanCheck *c) {
    int32_t rank = c->in[0].rank;
    int64_t dims[TN_MAX_RANK];
    memcpy(dims, c->in[0].dims, sizeof dims);
    NEED(c->in[0].dtype == TN_BOOL, 0, "bool");
    NEED(c->in[1].dtype == c->in[2].dtype, 2, "the type of input 1");
    NEED(tni_plan_broadcast(&c->in[1], &rank, dims), 1, "a shape that broadcasts with input 0");
    NEED(tni_plan_broadcast(&c->in[2], &rank, dims), 2, "a shape that broadcasts with inputs 0 and 1");
    return tni_plan_expect(c, 0, c->in[1].dtype, rank, dims);
}

TnStatus tni_plan_rule_clip(const PlanCheck *c) {
    for (uint32_t i = 1; i < 3; i++)
        /* Exporters write float bounds for integers; kernels convert them, so any number will do. */
        NEED(!tni_plan_has(c, i) ||
                 ((tni_dtype_is_float(c->in[i].dtype) || tni_dtype_is_int(c->in[i].dtype)) && tn_tensor_numel(&c->in[i]) == 1),
             i, "one number");
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_cast(const PlanCheck *c) {
    P(TnCastParams);
    PARAM(tni_dtype_valid(p->to) && tn_dtype_bits((TnDtype)p->to) > 0, "to", p->to);
    return tni_plan_expect(c, 0, (TnDtype)p->to, c->in[0].rank, c->in[0].dims);
}

/* Registers are written before they are read, so that nothing undefined is computed with. */
static TnStatus pointwise_code(const PlanCheck *c, const TnPointwiseParams *p) {
    uint32_t written = (1u << p->n_in) - 1;
    for (uint32_t i = 0; i < p->n_code; i++) {
        const TnPwInstr *x = &p->code[i];
        uint32_t reads = x->op == TN_PW_CONST ? 0 : 1u << (x->a & 31);
        PARAM(x->op <= TN_PW_CONST && x->dst < TN_PW_MAX_REGS, "code", i);
        PARAM(x->op == TN_PW_CONST || x->a < TN_PW_MAX_REGS, "code", i);
        if (x->op == TN_PW_BINARY || x->op == TN_PW_WHERE) {
            PARAM(x->b < TN_PW_MAX_REGS, "code", i);
            reads |= 1u << x->b;
        }
        if (x->op == TN_PW_WHERE) {
            PARAM(x->c < TN_PW_MAX_REGS, "code", i);
            reads |= 1u << x->c;
        }
        PARAM(x->op != TN_PW_UNARY || x->fn < TN_UNARY_COUNT, "code", i);
        PARAM(x->op != TN_PW_BINARY || x->fn < TN_BINARY_COUNT, "code", i);
        PARAM((reads & ~written) == 0, "code", i);
        written |= 1u << x->dst;
    }
    return TN_OK;
}

TnStatus tni_plan_rule_pointwise(const PlanCheck *c) {
    P(TnPointwiseParams);
    PARAM(p->n_in == c->n_in && p->n_in <= 8, "n_in", p->n_in);
    PARAM(p->n_code >= 1 && p->n_code <= TN_PW_MAX_CODE, "n_code", p->n_code);
    TN_TRY(pointwise_code(c, p));
    int32_t rank = 0;
    int64_t dims[TN_MAX_RANK] = {0};
    TnDtype t = c->in[0].dtype;
    for (uint32_t i = 0; i < c->n_in; i++) {
        NEED(tni_plan_has(c, i) && c->in[i].dtype == t && tni_plan_fused_float(c, t), i, "float32 (on a device: one float type)");
        NEED(tni_plan_broadcast(&c->in[i], &rank, dims), i, "a shape that broadcasts with the inputs before");
    }
    return tni_plan_expect(c, 0, t, rank, dims);
}

/* Scale and zero point of a quantisation of x: per tensor, per axis or in blocks. */
static TnStatus quantize_operands(const PlanCheck *c, const TnQuantizeParams *p) {
    const TnTensor *x = &c->in[0], *s = &c->in[1];
    int32_t axis = 0;
    NEED(tni_dtype_is_float(s->dtype), 1, "a float scale");
    if (s->rank > 0 && tn_tensor_numel(s) != 1) {
        PARAM(tni_plan_axis(p->axis, x->rank, &axis), "axis", p->axis);
        PARAM(p->block_size >= 0, "block_size", p->block_size);
        if (p->block_size == 0) {
            NEED(tni_plan_vector(s, x->dims[axis]), 1, "a scalar or one scale for each index of the axis");
        } else {
            NEED(s->rank == x->rank, 1, "a scale for each block");
            for (int32_t i = 0; i < x->rank; i++) {
                int64_t n = i == axis ? (x->dims[i] + p->block_size - 1) / p->block_size : x->dims[i];
                NEED(s->dims[i] == n, 1, "a scale for each block");
            }
        }
    }
    if (tni_plan_has(c, 2))
        NEED(tn_tensor_numel(&c->in[2]) == tn_tensor_numel(s), 2, "as many zero points as scales");
    return TN_OK;
}

TnStatus tni_plan_rule_quantize_linear(const PlanCheck *c) {
    P(TnQuantizeParams);
    TN_TRY(quantize_operands(c, p));
    TnDtype t = tni_plan_has(c, 2) ? c->in[2].dtype : p->output_dtype ? (TnDtype)p->output_dtype : TN_U8;
    PARAM(tni_dtype_valid(t) && tn_dtype_bits(t) > 0, "output_dtype", t);
    return tni_plan_expect(c, 0, t, c->in[0].rank, c->in[0].dims);
}

TnStatus tni_plan_rule_dequantize_linear(const PlanCheck *c) {
    P(TnQuantizeParams);
    TN_TRY(quantize_operands(c, p));
    TnDtype t = p->output_dtype ? (TnDtype)p->output_dtype : c->in[1].dtype;
    PARAM(tni_dtype_is_float(t), "output_dtype", t);
    return tni_plan_expect(c, 0, t, c->in[0].rank, c->in[0].dims);
}

TnStatus tni_plan_rule_reduce(const PlanCheck *c) {
    P(TnReduceParams);
    const TnTensor *x = &c->in[0];
    bool gone[TN_MAX_RANK] = {false};
    PARAM(p->fn < TN_REDUCE_COUNT, "fn", p->fn);
    PARAM(p->n_axes <= TN_MAX_RANK, "n_axes", p->n_axes);
    for (uint32_t i = 0; i < p->n_axes; i++) {
        int32_t a;
        PARAM(tni_plan_axis(p->axes[i], x->rank, &a) && !gone[a], "axes", p->axes[i]);
        gone[a] = true;
    }
    int64_t dims[TN_MAX_RANK];
    int32_t rank = 0;
    for (int32_t i = 0; i < x->rank; i++) {
        if (!gone[i])
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = 1;
    }
    return tni_plan_expect(c, 0, x->dtype, rank, dims);
}

TnStatus tni_plan_rule_arg_reduce(const PlanCheck *c) {
    P(TnArgReduceParams);
    const TnTensor *x = &c->in[0];
    int32_t axis, rank = 0;
    int64_t dims[TN_MAX_RANK];
    PARAM(tni_plan_axis(p->axis, x->rank, &axis), "axis", p->axis);
    NEED(x->dims[axis] > 0, 0, "at least one element along the axis");
    for (int32_t i = 0; i < x->rank; i++) {
        if (i != axis)
            dims[rank++] = x->dims[i];
        else if (p->keepdims)
            dims[rank++] = 1;
    }
    return tni_plan_expect(c, 0, TN_I64, rank, dims);
}

TnStatus tni_plan_rule_cumsum(const PlanCheck *c) {
    const TnTensor *a = &c->in[1];
    int32_t axis;
    NEED((a->dtype == TN_I32 || a->dtype == TN_I64) && tn_tensor_numel(a) == 1, 1, "one integer");
    NEED(tni_plan_axis(tni_load_i64(a->dtype, a->data, 0), c->in[0].rank, &axis), 1, "an axis of input 0");
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

TnStatus tni_plan_rule_softmax(const PlanCheck *c) {
    P(TnSoftmaxParams);
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, c->in[0].rank, &axis), "axis", p->axis);
    return tni_plan_expect_like(c, 0, &c->in[0]);
}

static int64_t numel_from(const TnTensor *x, int32_t axis) {
    int64_t n = 1;
    for (int32_t i = axis; i < x->rank; i++)
        n *= x->dims[i];
    return n;
}

static TnStatus norm_operand(const PlanCheck *c, uint32_t i, int64_t n) {
    NEED(!tni_plan_has(c, i) || (tni_dtype_is_float(c->in[i].dtype) && tn_tensor_numel(&c->in[i]) == n), i,
         "a float for each element of a normalised row");
    return TN_OK;
}

static TnStatus last_axes_norm(const PlanCheck *c, uint32_t first, uint32_t n) {
    P(TnNormParams);
    const TnTensor *x = &c->in[0];
    int32_t axis;
    PARAM(tni_plan_axis(p->axis, x->rank, &axis), "axis", p->axis);
    NEED(tni_dtype_is_float(x->dtype), 0, "floats");
    for (uint32_t i = first; i < first + n; i++)
        TN_TRY(norm_operand(c, i, numel_from(x, axis)));
    return tni_plan_expect_like(c, 0, x);
}

TnStatus tni_plan_rule_layer_norm(const PlanCheck *c) {
    return last_axes_norm(c, 1, 2);
}

TnStatus tni_plan_rule_rms_norm(const PlanCheck *c) {
    return last_axes_norm(c, 1, 1);
}

TnStatus tni_plan_rule_add_layer_norm(const PlanCheck *c) {
    const TnTensor *x = &c->in[0];
    NEED(x->rank >= 1 && tni_dtype_is_float(x->dtype), 0, "floats of rank 1 or more");
    NEED(tni_plan_same(x, &c->in[1]), 1, "the type and shape of input 0");
    for (uint32_t i = 2; i < 5; i++)
        TN_TRY(norm_operand(c, i, x->dims[x->rank - 1]));
    TN_TRY(tni_plan_expect_like(c, 0, x));
    return tni_plan_expect_like(c, 1, x);
}

TnStatus tni_plan_rule_batch_norm(const PlanCheck *c) {
    P(TnNormParams);
    const TnTensor *x = &c->in[0];
    NEED(x->rank >= 1 && tni_dtype_is_float(x->dtype), 0, "floats of rank 1 or more");
    int64_t n = p->channels_last ? x->dims[x->rank - 1] : x->rank == 1 ? 1 : x->dims[1];
    for (uint32_t i = 1; i < 5; i++)
        NEED(tni_dtype_is_float(c->in[i].dtype) && tni_plan_vector(&c->in[i], n), i, "a float for each channel of input 0");
    return tni_plan_expect_like(c, 0, x);
}

static TnStatus channel_norm(const PlanCheck *c) {
    const TnTensor *x = &c->in[0];
    NEED(x->rank >= 2 && tni_dtype_is_float(x->dtype), 0, "floats of rank 2 or more");
    for (uint32_t i = 1; i < 3; i++)
        NEED(tni_dtype_is_float(c->in[i].dtype) && tni_plan_vector(&c->in[i], x->dims[1]), i, "a float for each channel of input 0");
    return tni_plan_expect_like(c, 0, x);
}

TnStatus tni_plan_rule_instance_norm(const PlanCheck *c) {
    return channel_norm(c);
}

TnStatus tni_plan_rule_group_norm(const PlanCheck *c) {
    P(TnNormParams);
    NEED(c->in[0].rank >= 2, 0, "floats of rank 2 or more");
    PARAM(p->groups > 0 && c->in[0].dims[1] % p->groups == 0, "groups", p->groups);
    return channel_norm(c);
}

/* The result has elements of type t. */
static TnStatus product(const PlanCheck *c, TnDtype t) {
    TnTensor a = c->in[0], b = c->in[1];
    bool a_vec = a.rank == 1, b_vec = b.rank == 1;
    NEED(a.rank >= 1, 0, "rank 1 or more");
    NEED(b.rank >= 1, 1, "rank 1 or more");
    if (a_vec) {
        a.dims[1] = a.dims[0];
        a.dims[0] = 1;
        a.rank = 2;
    }
    if (b_vec) {
        b.dims[1] = 1;
        b.rank = 2;
    }
    int64_t m = a.dims[a.rank - 2], n = b.dims[b.rank - 1], dims[TN_MAX_RANK];
    NEED(a.dims[a.rank - 1] == b.dims[b.rank - 2], 1, "as many rows as input 0 has columns");
    int32_t rank = a.rank - 2;
    memcpy(dims, a.dims, sizeof dims);
    b.rank -= 2;
    NEED(tni_plan_broadcast(&b, &rank, dims), 1, "leading dims that broadcast with those of input 0");
    if (!a_vec)
        dims[rank++] = m;
    if (!b_vec)
        dims[rank++] = n;
    return tni_plan_expect(c, 0, t, rank, dims);
}

TnStatus tni_plan_rule_matmul(const PlanCheck *c) {
    NEED(c->in[1].dtype == c->in[0].dtype, 1, "the type of input 0");
    return product(c, c->in[0].dtype);
}

TnStatus tni_plan_rule_matmul_integer(const PlanCheck *c) {
    for (uint32_t i = 0; i < 2; i++) {
        const TnTensor *x = &c->in[i];
        NEED(x->dtype == TN_U8 || x->dtype == TN_I8, i, "bytes");
        if (!tni_plan_has(c, i + 2))
            continue;
        const TnTensor *z = &c->in[i + 2];
        const bool columns = i == 1 && x->rank >= 2 && tni_plan_vector(z, x->dims[x->rank - 1]);
        NEED(z->dtype == x->dtype && (tn_tensor_numel(z) == 1 || columns), i + 2,
             "a zero point, or for B one for each column, of its matrix's type");
    }
    return product(c, TN_I32);
}

TnStatus tni_plan_rule_gemm(const PlanCheck *c) {
    P(TnGemmParams);
    const TnTensor *a = &c->in[0], *b = &c->in[1];
    PARAM(p->act < TN_ACT_COUNT, "act", p->act);
    NEED(a->rank >= (p->trans_a ? 2 : 1) && (!p->trans_a || a->rank == 2), 0, "a matrix (rank 2 when it is transposed)");
    NEED(b->rank == 2 && b->dtype == a->dtype, 1, "a matrix of the type of input 0");
    int64_t k = p->trans_a ? a->dims[0] : a->dims[a->rank - 1], n = p->trans_b ? b->dims[0] : b->dims[1], rows = 1;
    NEED((p->trans_b ? b->dims[1] : b->dims[0]) == k, 1, "as many rows as input 0 has columns");
    int64_t dims[TN_MAX_RANK];
    int32_t rank = a->rank;
    memcpy(dims, a->dims, sizeof dims);
    if (p->trans_a)
        dims[0] = a->dims[1];
    dims[rank - 1] = n;
    for (int32_t i = 0; i < rank - 1; i++)
        rows *= dims[i];
    if (tni_plan_has(c, 2)) {
        int32_t brank = 2;
        int64_t bd[TN_MAX_RANK] = {rows, n};
        NEED(c->in[2].dtype == a->dtype, 2, "the type of input 0");
        NEED(tni_plan_broadcast(&c->in[2], &brank, bd) &&
                 numel_from(&(TnTensor){.rank = brank, .dims = {bd[0], bd[1], bd[2], bd[3], bd[4], bd[5], bd[6], bd[7]}}, 0) == rows * n &&
                 bd[brank - 1] == n,
             2, "a bias that broadcasts to [M, N]");
    }
    if (tni_plan_has(c, 3)) {
        TnTensor want = *a;
        want.rank = rank;
        memcpy(want.dims, dims, sizeof dims);
        NEED(tni_plan_same(&c->in[3], &want), 3, "the type and shape of the output");
    }
    return tni_plan_expect(c, 0, a->dtype, rank, dims);
}

TnStatus tni_plan_rule_mlp(const PlanCheck *c) {
    P(TnMlpParams);
    const TnTensor *x = &c->in[0], *w1 = &c->in[1], *w2 = &c->in[2];
    PARAM(p->act < TN_ACT_COUNT, "act", p->act);
    NEED(x->rank >= 1 && tni_dtype_is_float(x->dtype), 0, "floats, at least a vector");
    NEED(w1->rank == 2 && w1->dtype == x->dtype, 1, "a matrix of the type of input 0");
    NEED(w2->rank == 2 && w2->dtype == x->dtype, 2, "a matrix of the type of input 0");
    const int64_t hidden = w1->dims[p->trans_1 ? 0 : 1], n = w2->dims[p->trans_2 ? 0 : 1];
    NEED(w1->dims[p->trans_1 ? 1 : 0] == x->dims[x->rank - 1], 1, "as many rows as input 0 has columns");
    NEED(w2->dims[p->trans_2 ? 1 : 0] == hidden, 2, "as many rows as input 1 has columns");
    TnTensor y = *x;
    y.dims[y.rank - 1] = n;
    NEED(!tni_plan_has(c, 3) || (c->in[3].dtype == x->dtype && tni_plan_vector(&c->in[3], hidden)), 3, "a bias for every hidden column");
    NEED(!tni_plan_has(c, 4) || (c->in[4].dtype == x->dtype && tni_plan_vector(&c->in[4], n)), 4, "a bias for every column");
    NEED(!tni_plan_has(c, 5) || tni_plan_same(&c->in[5], &y), 5, "the type and shape of the output");
    return tni_plan_expect(c, 0, x->dtype, y.rank, y.dims);
}

static TnStatus attention_operand(const PlanCheck *c, uint32_t i, uint32_t layout, uint32_t heads, uint32_t d, uint32_t off, int64_t *b,
                                  int64_t *s) {
    const TnTensor *t = &c->in[i];
    NEED(t->dtype == c->in[0].dtype && tni_plan_fused_float(c, t->dtype), i, "float32 (on a device: one float type)");
    if (layout == TN_LAYOUT_BSHD && t->rank == 3) {
        NEED((int64_t)off + (int64_t)heads * d <= t->dims[2], i, "rows that hold every head");
        *s = t->dims[1];
    } else if (layout == TN_LAYOUT_BSHD) {
        NEED(t->rank == 4 && off == 0 && t->dims[2] == heads && t->dims[3] == d, i, "[B, S, W] or [B, S, H, D]");
        *s = t->dims[1];
    } else if (layout == TN_LAYOUT_BHSD) {
        NEED(t->rank == 4 && off == 0 && t->dims[1] == heads && t->dims[3] == d, i, "[B, H, S, D]");
        *s = t->dims[2];
    } else {
        PARAM(layout == TN_LAYOUT_BHDS && i == 1, "layout", layout);
        NEED(t->rank == 4 && off == 0 && t->dims[1] == heads && t->dims[2] == d, i, "[B, H, D, S]");
        *s = t->dims[3];
    }
    *b = t->dims[0];
    return TN_OK;
}

static int64_t padded(int64_t keys) {
    return keys > INT64_MAX - TN_BIAS_PAD ? keys : (keys + TN_BIAS_PAD - 1) / TN_BIAS_PAD * TN_BIAS_PAD;
}

TnStatus tni_plan_rule_relative_bias(const PlanCheck *c) {
    P(TnRelativeBiasParams);
    PARAM(p->n >= 1 && p->n <= TN_RELATIVE_TERMS && c->n_in == 3 * p->n, "n", p->n);
    int64_t batch = 1, sq = 0, sk = 0;
    for (uint32_t t = 0; t < p->n; t++) {
        const TnTensor *pq = &c->in[3 * t], *pk = pq + 1, *table = pq + 2;
        PARAM(p->lo[t] >= -(1 << 30) && p->lo[t] <= p->hi[t] && p->hi[t] <= 1 << 30, "lo", p->lo[t]);
        sq = t == 0 && pq->rank == 2 ? pq->dims[1] : sq;
        sk = t == 0 && pk->rank == 2 ? pk->dims[1] : sk;
        for (uint32_t i = 0; i < 2; i++) {
            const TnTensor *x = pq + i;
            NEED((x->dtype == TN_I64 || x->dtype == TN_I32) && x->dtype == c->in[0].dtype && x->rank == 2 && x->dims[1] == (i ? sk : sq) &&
                     (x->dims[0] == 1 || batch == 1 || x->dims[0] == batch),
                 3 * t + i, "positions [B or 1, S], all int64 or all int32, the same S in every term");
            batch = x->dims[0] == 1 ? batch : x->dims[0];
        }
        NEED(tni_plan_fused_float(c, table->dtype) && table->dtype == c->in[2].dtype && table->rank == 2 &&
                 table->dims[0] == (int64_t)p->hi[t] - p->lo[t] + 1 && table->dims[1] == c->in[2].dims[1],
             3 * t + 2, "float32 (on a device: one float type) [hi - lo + 1, H]");
    }
    int64_t dims[4] = {batch, c->in[2].dims[1], sq, padded(sk)};
    return tni_plan_expect(c, 0, c->in[2].dtype, 4, dims);
}

TnStatus tni_plan_rule_attention(const PlanCheck *c) {
    P(TnAttentionParams);
    const uint32_t limit = 1u << 20;
    PARAM(p->heads > 0 && p->heads < limit, "heads", p->heads);
    PARAM(p->kv_heads > 0 && p->heads % p->kv_heads == 0, "kv_heads", p->kv_heads);
    PARAM(p->d_qk > 0 && p->d_qk < limit, "d_qk", p->d_qk);
    PARAM(p->d_v > 0 && p->d_v < limit, "d_v", p->d_v);
    int64_t bq, bk, bv, sq, sk, sv;
    TN_TRY(attention_operand(c, 0, p->q_layout, p->heads, p->d_qk, p->q_off, &bq, &sq));
    TN_TRY(attention_operand(c, 1, p->k_layout, p->kv_heads, p->d_qk, p->k_off, &bk, &sk));
    TN_TRY(attention_operand(c, 2, p->v_layout, p->kv_heads, p->d_v, p->v_off, &bv, &sv));
    NEED(bk == bq, 1, "the batch of input 0");
    NEED(bv == bq && sv == sk, 2, "batch and length of input 1");
    for (uint32_t i = 3; i < 5; i++) {
        int32_t rank = 4;
        int64_t dims[TN_MAX_RANK] = {bq, p->heads, sq, sk}, want[4] = {bq, p->heads, sq, sk};
        if (!tni_plan_has(c, i))
            continue;
        if (c->in[i].rank > 0 && c->in[i].dims[c->in[i].rank - 1] == padded(sk))
            dims[3] = want[3] = padded(sk);
        NEED((c->in[i].dtype == TN_F32 || c->in[i].dtype == c->in[0].dtype) && tni_plan_broadcast(&c->in[i], &rank, dims) && rank == 4 &&
                 memcmp(dims, want, sizeof want) == 0,
             i, "float32 or the type of q, broadcasting to [B, H, Sq, Sk] or to Sk rounded up to a multiple of 8");
    }
    int64_t out3[3] = {bq, sq, (int64_t)p->heads * p->d_v}, out4[4] = {bq, p->heads, sq, p->d_v};
    PARAM(p->out_layout == TN_LAYOUT_BSHD || p->out_layout == TN_LAYOUT_BHSD, "out_layout", p->out_layout);
    return p->out_layout == TN_LAYOUT_BSHD ? tni_plan_expect(c, 0, c->in[0].dtype, 3, out3)
                                              : tni_plan_expect(c, 0, c->in[0].dtype, 4, out4);
}

TnStatus tni_plan_rule_attention_step(const PlanCheck *c) {
    P(TnAttentionStepParams);
    const TnTensor *q = &c->in[0], *k = &c->in[1], *v = &c->in[2], *lanes = &c->in[3], *len = &c->in[4];
    PARAM(p->heads > 0 && p->heads < (1u << 20), "heads", p->heads);
    PARAM(p->d_head > 0 && p->d_head < (1u << 20), "d_head", p->d_head);
    int64_t w = (int64_t)p->heads * p->d_head;
    NEED(tni_plan_fused_float(c, q->dtype) && q->rank == 2 && (int64_t)p->q_off + w <= q->dims[1], 0,
         "float32 [R, W] with every head in a row");
    NEED(k->dtype == q->dtype && k->rank == 3 && k->dims[2] == w, 1, "the type of input 0, [L, P, heads * d_head]");
    NEED(tni_plan_same(v, k), 2, "the type and shape of input 1");
    NEED(lanes->dtype == TN_I32 && lanes->rank == 2 && lanes->dims[0] == q->dims[0] &&
             (lanes->dims[1] == 1 || lanes->dims[1] == k->dims[1]),
         3, "int32 [R, P] or [R, 1]");
    NEED(len->dtype == TN_I32 && tn_tensor_numel(len) == 1, 4, "one int32");
    if (!c->infer && !(c->hidden & (1u << 3 | 1u << 4))) {
        int32_t n = *(const int32_t *)len->data;
        const int32_t *lane = lanes->data;
        NEED(n >= 1 && n <= k->dims[1], 4, "a length from 1 to the positions of the cache");
        int64_t per_row = TN_MIN(lanes->dims[1], (int64_t)n);
        for (int64_t r = 0; r < lanes->dims[0]; r++)
            for (int64_t i = 0; i < per_row; i++)
                NEED(lane[r * lanes->dims[1] + i] >= 0 && lane[r * lanes->dims[1] + i] < k->dims[0], 3, "lanes of the cache");
    }
    int64_t dims[2] = {q->dims[0], w};
    return tni_plan_expect(c, 0, q->dtype, 2, dims);
}

TnStatus tni_plan_rule_cache_append(const PlanCheck *c) {
    P(TnCacheAppendParams);
    const TnTensor *x = &c->in[0], *cache = &c->in[1], *where = &c->in[2];
    NEED(tni_plan_fused_float(c, x->dtype) && x->rank == 2 && (int64_t)p->off + p->width <= x->dims[1], 0,
         "float32 [R, W] with the columns to store");
    NEED(cache->dtype == x->dtype && cache->rank == 3 && cache->dims[2] == p->width, 1, "the type of input 0, [L, P, width]");
    NEED(where->dtype == TN_I32 && where->rank == 2 && where->dims[0] == x->dims[0] && where->dims[1] == 2, 2, "int32 [R, 2]");
    if (!c->infer && !(c->hidden & 1u << 2)) {
        const int32_t *w = where->data;
        for (int64_t r = 0; r < where->dims[0]; r++)
            NEED(w[2 * r] >= 0 && w[2 * r] < cache->dims[0] && w[2 * r + 1] >= 0 && w[2 * r + 1] < cache->dims[1], 2,
                 "lanes and positions of the cache");
    }
    return TN_OK;
}

/* ---- einsum ---- */

typedef struct Letters {
    int64_t dim[128]; /* -1: not seen */
    int64_t ell[TN_MAX_RANK];
    int32_t ell_rank;
} Letters;

/* One operand's term [s, end): its letters get the dims of t. */
static bool einsum_operand(Letters *l, const char *s, const char *end, const TnTensor *t) {
    int32_t letters = 0, at = 0;
    bool dots = false;
    for (const char *q = s; q < end; q++) {
        if (*q == '.') {
            if (dots || end - q < 3 || q[1] != '.' || q[2] != '.')
                return false;
            dots = true;
            q += 2;
        } else if ((*q >= 'a' && *q <= 'z') || (*q >= 'A' && *q <= 'Z')) {
            letters++;
        } else {
            return false;
        }
    }
    int32_t rest = t->rank - letters;
    if (rest < 0 || (!dots && rest != 0))
        return false;
    for (const char *q = s; q < end; q++) {
        if (*q == '.') {
            TnTensor e = {.rank = rest};
            memcpy(e.dims, t->dims + at, (size_t)rest * sizeof *e.dims);
            if (!tni_plan_broadcast(&e, &l->ell_rank, l->ell))
                return false;
            at += rest;
            q += 2;
            continue;
        }
        int64_t *d = &l->dim[(unsigned char)*q];
        if (*d >= 0 && *d != t->dims[at])
            return false;
        *d = t->dims[at++];
    }
    return true;
}

TnStatus tni_plan_rule_einsum(const PlanCheck *c) {
    P(TnEinsumParams);
    Letters l = {.ell_rank = 0};
    memset(l.dim, 0xff, sizeof l.dim);
    if (!memchr(p->equation, 0, sizeof p->equation))
        return TN_RAISE(c->err, TN_ERR_PLAN, "einsum: the equation is not terminated");
    const char *arrow = strstr(p->equation, "->"), *s = p->equation;
    if (!arrow || c->n_in > 4)
        return TN_RAISE(c->err, TN_ERR_PLAN, "einsum: equation '%s' has no '->'", p->equation);
    for (uint32_t i = 0; i < c->n_in; i++) {
        const char *end = memchr(s, ',', (size_t)(arrow - s));
        if ((end != NULL) != (i + 1 < c->n_in))
            return TN_RAISE(c->err, TN_ERR_PLAN, "einsum: '%s' does not have %u operands", p->equation, c->n_in);
        NEED(c->in[i].dtype == c->in[0].dtype, i, "the type of input 0");
        NEED(einsum_operand(&l, s, end ? end : arrow, &c->in[i]), i, "the dims of its letters in the equation");
        s = end ? end + 1 : arrow;
    }
    int64_t dims[TN_MAX_RANK];
    int32_t rank = 0;
    bool seen[128] = {false};
    for (const char *q = arrow + 2; *q; q++) {
        if (*q == '.') {
            if (seen['.'] || q[1] != '.' || q[2] != '.' || rank + l.ell_rank > TN_MAX_RANK)
                return TN_RAISE(c->err, TN_ERR_PLAN, "einsum: '%s' is no equation", p->equation);
            memcpy(dims + rank, l.ell, (size_t)l.ell_rank * sizeof *dims);
            rank += l.ell_rank;
            seen['.'] = true;
            q += 2;
            continue;
        }
        unsigned char ch = (unsigned char)*q;
        if (ch >= 128 || l.dim[ch] < 0 || seen[ch] || rank >= TN_MAX_RANK)
            return TN_RAISE(c->err, TN_ERR_PLAN, "einsum: '%s' is no equation", p->equation);
        seen[ch] = true;
        dims[rank++] = l.dim[ch];
    }
    return tni_plan_expect(c, 0, c->in[0].dtype, rank, dims);
}
