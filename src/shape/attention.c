/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: fused attention, its bias of relative positions and the steps of generation (made by passes; a failure here is a fault of ours, but still a status).
 * In: q, k, v in their layouts, biases, caches. Out: the result in its layout. */
#include "shape/rule.h"

#include <inttypes.h>

enum { MOST = 1 << 20 }; /* heads and head sizes up to here multiply without overflow */

/* Tokens and heads-times-columns of operand i in its layout; checks heads, head size and offset. */
static TnStatus operand_tokens(ShapeRule *r, uint32_t i, uint32_t layout, uint32_t heads, uint32_t d, uint32_t off, TnDim *tokens) {
    const IrValue *v = in_at(r, i);
    int64_t w;
    TN_TRY(tni_shape_rule_type(r, i, T_FLOAT));
    TN_TRY(tni_shape_rule_same_type(r, i, 0));
    if (layout == TN_LAYOUT_BSHD) {
        TN_TRY(tni_shape_rule_rank(r, i, 3, 4));
        *tokens = v->dims[1];
        if (v->rank == 4) {
            TN_TRY(tni_shape_rule_equal(r, v->dims[2], d_num(r, heads), "heads of an operand and of the parameters"));
            return tni_shape_rule_equal(r, v->dims[3], d_num(r, d), "head size of an operand and of the parameters");
        }
        if (!tni_ir_dim_is_const(r->m, v->dims[2], &w) || (int64_t)off + (int64_t)heads * d > w)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "input %" PRIu32 ": %" PRIu32 " heads of %" PRIu32 " at column %" PRIu32 " do not fit its rows", i,
                                       heads, d, off);
        return TN_OK;
    }
    if (layout > TN_LAYOUT_BHDS || (layout == TN_LAYOUT_BHDS && i != 1))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " has layout %" PRIu32 ", which it cannot have", i, layout);
    bool turned = layout == TN_LAYOUT_BHDS;
    TN_TRY(tni_shape_rule_rank(r, i, 4, 4));
    *tokens = v->dims[turned ? 3 : 2];
    TN_TRY(tni_shape_rule_equal(r, v->dims[1], d_num(r, heads), "heads of an operand and of the parameters"));
    return tni_shape_rule_equal(r, v->dims[turned ? 2 : 3], d_num(r, d), "head size of an operand and of the parameters");
}

/* What a row of a padded bias holds. */
static TnDim padded(ShapeRule *r, TnDim keys) {
    TnDim pad = d_num(r, TN_BIAS_PAD);
    return d_mul(r, d_ceildiv(r, keys, pad), pad);
}

TnStatus tni_shape_attention(ShapeRule *r) {
    const TnAttentionParams *p = r->n->params;
    const IrValue *q = in_at(r, 0);
    TnDim sq, sk, sv;
    if (p->heads < 1 || p->kv_heads < 1 || p->heads % p->kv_heads != 0 || p->d_qk < 1 || p->d_v < 1 || p->heads > MOST || p->d_qk > MOST ||
        p->d_v > MOST)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                   "%" PRIu32 " heads over %" PRIu32 " key heads, sizes %" PRIu32 " and %" PRIu32 ", are not possible",
                                   p->heads, p->kv_heads, p->d_qk, p->d_v);
    TN_TRY(operand_tokens(r, 0, p->q_layout, p->heads, p->d_qk, p->q_off, &sq));
    TN_TRY(operand_tokens(r, 1, p->k_layout, p->kv_heads, p->d_qk, p->k_off, &sk));
    TN_TRY(operand_tokens(r, 2, p->v_layout, p->kv_heads, p->d_v, p->v_off, &sv));
    TN_TRY(tni_shape_rule_equal(r, sk, sv, "numbers of keys and values"));
    for (uint32_t i = 1; i < 3; i++)
        TN_TRY(tni_shape_rule_equal(r, q->dims[0], in_at(r, i)->dims[0], "batches of the operands"));
    for (uint32_t i = 3; i < 5; i++) {
        const IrValue *bias = in_at(r, i);
        if (bias == NULL)
            continue;
        TN_TRY(tni_shape_rule_type(r, i, T_BIT(TN_F32) | T_BIT(q->dtype))); /* float32, or the type of q */
        TnDim scores[4] = {q->dims[0], d_num(r, p->heads), sq, sk};
        if (bias->rank > 0 && !tni_ir_dim_equal(r->m, bias->dims[bias->rank - 1], sk) &&
            tni_ir_dim_equal(r->m, bias->dims[bias->rank - 1], padded(r, sk)))
            scores[3] = padded(r, sk);
        TN_TRY(tni_shape_rule_broadcasts_to(r, i, 4, scores));
    }
    if (p->out_layout == TN_LAYOUT_BSHD) {
        TnDim dims[3] = {q->dims[0], sq, d_num(r, (int64_t)p->heads * p->d_v)};
        tni_shape_rule_set(r, 0, q->dtype, 3, dims);
    } else if (p->out_layout == TN_LAYOUT_BHSD) {
        TnDim dims[4] = {q->dims[0], d_num(r, p->heads), sq, d_num(r, p->d_v)};
        tni_shape_rule_set(r, 0, q->dtype, 4, dims);
    } else {
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "layout %" PRIu32 " of the output does not exist", p->out_layout);
    }
    return TN_OK;
}

TnStatus tni_shape_attention_step(ShapeRule *r) {
    const TnAttentionStepParams *p = r->n->params;
    const IrValue *q = in_at(r, 0), *lanes = in_at(r, 3);
    int64_t w, width = (int64_t)TN_MIN(p->heads, (uint32_t)MOST) * TN_MIN(p->d_head, (uint32_t)MOST);
    TN_TRY(tni_shape_rule_type(r, 0, T_FUSED));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, 2));
    if (p->heads < 1 || p->d_head < 1 || p->heads > MOST || p->d_head > MOST || !tni_ir_dim_is_const(r->m, q->dims[1], &w) ||
        p->q_off + width > w)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " heads of %" PRIu32 " at column %" PRIu32 " do not fit the rows of q",
                                   p->heads, p->d_head, p->q_off);
    for (uint32_t i = 1; i < 3; i++) {
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        TN_TRY(tni_shape_rule_rank(r, i, 3, 3));
        TN_TRY(tni_shape_rule_equal(r, in_at(r, i)->dims[2], d_num(r, width), "width of a cache and heads times head size"));
    }
    for (uint32_t i = 3; i < 5; i++)
        TN_TRY(tni_shape_rule_type(r, i, T_BIT(TN_I32)));
    TN_TRY(tni_shape_rule_rank(r, 3, 2, 2));
    TN_TRY(tni_shape_rule_scalar(r, 4));
    TN_TRY(tni_shape_rule_equal(r, lanes->dims[0], q->dims[0], "rows of lanes and of q"));
    TnDim dims[2] = {q->dims[0], d_num(r, width)};
    tni_shape_rule_set(r, 0, q->dtype, 2, dims);
    return TN_OK;
}

TnStatus tni_shape_cache_append(ShapeRule *r) {
    const TnCacheAppendParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *cache = in_at(r, 1), *where = in_at(r, 2);
    int64_t w;
    TN_TRY(tni_shape_rule_type(r, 0, T_FUSED));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    TN_TRY(tni_shape_rule_type(r, 2, T_BIT(TN_I32)));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, 2));
    TN_TRY(tni_shape_rule_rank(r, 1, 3, 3));
    TN_TRY(tni_shape_rule_rank(r, 2, 2, 2));
    if (p->width < 1 || !tni_ir_dim_is_const(r->m, x->dims[1], &w) || (int64_t)p->off + p->width > w)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "columns %" PRIu32 " + %" PRIu32 " do not fit the rows of x", p->off, p->width);
    TN_TRY(tni_shape_rule_equal(r, cache->dims[2], d_num(r, p->width), "width of the cache and of what is written"));
    TN_TRY(tni_shape_rule_equal(r, where->dims[0], x->dims[0], "rows of the places and of x"));
    return tni_shape_rule_equal(r, where->dims[1], d_num(r, 2), "columns of the places and 2");
}

/* Positions [1 or B, S] of operand i; *batch becomes the broadcast of itself and theirs. */
static TnStatus positions(ShapeRule *r, uint32_t i, TnDim *batch, TnDim *tokens) {
    const IrValue *v = in_at(r, i);
    TN_TRY(tni_shape_rule_type(r, i, T_INDEX));
    TN_TRY(tni_shape_rule_rank(r, i, 2, 2));
    TN_TRY(tni_shape_rule_broadcast_dim(r, *batch, v->dims[0], batch));
    if (i < 2)
        *tokens = v->dims[1];
    return tni_shape_rule_equal(r, v->dims[1], *tokens, "numbers of positions of the terms");
}

TnStatus tni_shape_relative_bias(ShapeRule *r) {
    const TnRelativeBiasParams *p = r->n->params;
    TnDim batch = d_num(r, 1), sq = TN_DIM_NONE, sk = TN_DIM_NONE;
    if (p->n < 1 || p->n > TN_RELATIVE_TERMS || r->n->n_in != 3 * p->n)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " terms need as many queries' and keys' positions and tables", p->n);
    for (uint32_t t = 0; t < p->n; t++) {
        const uint32_t table = 3 * t + 2;
        TN_TRY(positions(r, 3 * t, &batch, &sq));
        TN_TRY(positions(r, 3 * t + 1, &batch, &sk));
        TN_TRY(tni_shape_rule_same_type(r, 3 * t, 0));
        TN_TRY(tni_shape_rule_same_type(r, 3 * t + 1, 0));
        TN_TRY(tni_shape_rule_type(r, table, T_FUSED));
        TN_TRY(tni_shape_rule_same_type(r, table, 2));
        TN_TRY(tni_shape_rule_rank(r, table, 2, 2));
        if (p->lo[t] > p->hi[t] || p->lo[t] < -(1 << 30) || p->hi[t] > 1 << 30)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "bounds %" PRId32 " and %" PRId32 " are not possible", p->lo[t], p->hi[t]);
        TN_TRY(tni_shape_rule_equal(r, in_at(r, table)->dims[0], d_num(r, (int64_t)p->hi[t] - p->lo[t] + 1),
                                    "rows of a table and distances between its bounds"));
        TN_TRY(tni_shape_rule_equal(r, in_at(r, table)->dims[1], in_at(r, 2)->dims[1], "heads of the tables"));
    }
    TnDim dims[4] = {batch, in_at(r, 2)->dims[1], sq, padded(r, sk)};
    tni_shape_rule_set(r, 0, in_at(r, 2)->dtype, 4, dims);
    return TN_OK;
}
