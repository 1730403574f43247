/* SPDX-License-Identifier: Apache-2.0
 *
 * Stages 3 and 4 of UniFormer-light, which prune tokens as Evo-ViT does. Every token of the map has a score: how much the class token
 * attended to it. A block sorts by score, keeps the first half, merges the rest into one token weighted by score, and gives what attention
 * and feed-forward part made of that one to each of the rest. The order is undone behind each block, so the sort decides which tokens are
 * kept, and nothing else. */
#include <math.h>
#include <stdio.h>

#include "hf/uniformer.h"

#define TRADE_OFF 0.5f /* weight of the new scores */

typedef struct Light {
    HfEmit *e;
    const HfUniformer *u;
    uint32_t stage, dim;
    HfMapSize size;
    TnDim n;       /* of tokens: the map's */
    IrValueId cls;                /* [batch, 1, dim] */
    IrValueId score;              /* [batch, n]; TN_NO_VALUE: none yet */
} Light;

static TnDim number(HfEmit *e, uint32_t n) {
    return tni_ir_dim_const(e->m, n);
}
static TnDim plus(HfEmit *e, TnDim a, uint32_t b) {
    return tni_ir_dim_op(e->m, TN_DIM_ADD, a, number(e, b));
}
static TnDim minus(HfEmit *e, TnDim a, TnDim b) {
    return tni_ir_dim_op(e->m, TN_DIM_SUB, a, b);
}
static TnDim half(HfEmit *e, TnDim a) {
    return tni_ir_dim_op(e->m, TN_DIM_FLOORDIV, a, number(e, 2));
}
static IrValueId add(HfEmit *e, const char *name, IrValueId a, IrValueId b) {
    return tni_hf_binary(e, name, TN_BINARY_add, a, b);
}

static IrValueId reduce(HfEmit *e, const char *name, TnReduceFn fn, IrValueId x, int32_t axis, bool keep) {
    return tni_hf_node(e, TN_OP_reduce, name, &(TnReduceParams){.fn = fn, .keepdims = keep, .n_axes = 1, .axes = {axis}}, &x, 1);
}

/* x [batch, n] in order; values and where they were. */
static void sort(HfEmit *e, const char *name, IrValueId x, TnDim n, bool descending, IrValueId *values, IrValueId *indices) {
    IrValueId out[2];
    tni_hf_topk(e, name, x, tni_hf_dims(e, name, &n, 1), 1, descending, out);
    *values = out[0];
    *indices = out[1];
}

/* x [batch, n, ...] by order [batch, n]. */
static IrValueId take(const Light *l, const char *name, IrValueId x, IrValueId order) {
    HfEmit *e = l->e;
    char part[64];
    snprintf(part, sizeof part, "%s/order", name);
    order = tni_hf_reshape(e, part, order, (TnDim[]){l->u->batch, l->n, number(e, 1)}, 3);
    return tni_hf_node(e, TN_OP_gather_nd, name, &(TnGatherNdParams){.batch_dims = 1}, (IrValueId[]){x, order}, 2);
}

/* How much the class token attends to tokens 1 .. count of the merged projection [batch, tokens, 3 dim]: the mean over heads. [batch,
 * count]. */
static IrValueId class_row(const Light *l, IrValueId qkv, TnDim tokens, TnDim count) {
    HfEmit *e = l->e;
    uint32_t d = l->u->head_dim;
    TnDim heads = number(e, l->dim / d), width = number(e, d);
    IrValueId q = tni_hf_slice(e, "score/q/columns", tni_hf_slice(e, "score/q/row", qkv, 1, 0, 1), 2, 0, l->dim);
    q = tni_hf_reshape(e, "score/q/heads", q, (TnDim[]){l->u->batch, number(e, 1), heads, width}, 4);
    q = tni_hf_transpose(e, "score/q", q, (uint8_t[]){0, 2, 1, 3}, 4);
    IrValueId k = tni_hf_slice(e, "score/k/columns", qkv, 2, l->dim, 2 * (int64_t)l->dim);
    k = tni_hf_reshape(e, "score/k/heads", k, (TnDim[]){l->u->batch, tokens, heads, width}, 4);
    k = tni_hf_transpose(e, "score/k", k, (uint8_t[]){0, 2, 3, 1}, 4);
    IrValueId p = tni_hf_node(e, TN_OP_matmul, "score/product", NULL, (IrValueId[]){q, k}, 2);
    p = tni_hf_node(e, TN_OP_softmax, "score/softmax", &(TnSoftmaxParams){.axis = 3, .scale = (float)(1.0 / sqrt((double)d))}, &p, 1);
    p = reduce(e, "score/mean", TN_REDUCE_mean, p, 1, false);
    p = tni_hf_slice_dims(e, "score/tokens", p, 2, number(e, 1), plus(e, count, 1));
    return tni_hf_reshape(e, "score/class", p, (TnDim[]){l->u->batch, count}, 2);
}

/* The first block of stage 3: all tokens; its class row is the first score. */
static IrValueId whole_block(Light *l, IrValueId x) {
    HfEmit *e = l->e;
    IrValueId qkv;
    x = tni_hf_concat(e, "tokens/all", (IrValueId[]){l->cls, x}, 2, 1);
    IrValueId y = tni_hf_uniformer_attend(e, l->u, tni_hf_uniformer_norm(e, x, l->dim), l->dim, &qkv);
    l->score = class_row(l, qkv, plus(e, l->n, 1), l->n);
    x = add(e, "attn/residual", x, tni_hf_uniformer_scale(e, l->u, l->stage, "gamma_1", y));
    y = tni_hf_uniformer_mlp(e, x, l->dim);
    x = add(e, "mlp/residual", x, tni_hf_uniformer_scale(e, l->u, l->stage, "gamma_2", y));
    l->cls = tni_hf_slice(e, "cls", x, 1, 0, 1);
    return tni_hf_slice_dims(e, "tokens/patches", x, 1, number(e, 1), plus(e, l->n, 1));
}

/* The dropped tokens [batch, m, dim] as one, weighted by their scores [batch, m]. */
static IrValueId merge(const Light *l, IrValueId dropped, IrValueId score, TnDim m) {
    HfEmit *e = l->e;
    IrValueId w = tni_hf_binary(e, "merge/weight", TN_BINARY_div, score, reduce(e, "merge/sum", TN_REDUCE_sum, score, 1, true));
    w = tni_hf_reshape(e, "merge/row", w, (TnDim[]){l->u->batch, number(e, 1), m}, 3);
    return tni_hf_node(e, TN_OP_matmul, "merge", NULL, (IrValueId[]){w, dropped}, 2);
}

static IrValueId pruned_block(Light *l, IrValueId x) {
    HfEmit *e = l->e;
    TnDim zero = number(e, 0), n = l->n, keep = half(e, n), last = plus(e, keep, 1), tokens = plus(e, keep, 2);
    float keep_weight = 1 - TRADE_OFF, new_weight = TRADE_OFF;
    IrValueId sorted, order, back, qkv, unused;
    sort(e, "sort", l->score, n, true, &sorted, &order);
    x = take(l, "tokens/sorted", x, order);
    IrValueId dropped = tni_hf_slice_dims(e, "dropped", x, 1, keep, n),
              drop_score = tni_hf_slice_dims(e, "dropped/score", sorted, 1, keep, n);
    IrValueId z[3] = {l->cls, tni_hf_slice_dims(e, "kept", x, 1, zero, keep), merge(l, dropped, drop_score, minus(e, n, keep))};
    IrValueId t = tni_hf_concat(e, "tokens/kept", z, 3, 1);
    IrValueId y = tni_hf_uniformer_attend(e, l->u, tni_hf_uniformer_norm(e, t, l->dim), l->dim, &qkv);
    IrValueId update = tni_hf_slice_dims(e, "update/attn", y, 1, last, tokens);
    t = add(e, "attn/residual", t, tni_hf_uniformer_scale(e, l->u, l->stage, "gamma_1", y));
    y = tni_hf_uniformer_mlp(e, t, l->dim);
    update = add(e, "update", update, tni_hf_slice_dims(e, "update/mlp", y, 1, last, tokens));
    t = add(e, "mlp/residual", t, tni_hf_uniformer_scale(e, l->u, l->stage, "gamma_2", y));
    dropped = add(e, "dropped/updated", dropped, tni_hf_uniformer_scale(e, l->u, l->stage, "gamma_3", update));
    l->cls = tni_hf_slice(e, "cls", t, 1, 0, 1);
    x = tni_hf_concat(e, "tokens/updated", (IrValueId[]){tni_hf_slice_dims(e, "kept/updated", t, 1, number(e, 1), last), dropped}, 2, 1);
    /* Scores of those that took part move towards the new ones. */
    IrValueId old = tni_hf_binary(e, "score/old", TN_BINARY_mul, tni_hf_slice_dims(e, "kept/score", sorted, 1, zero, keep),
                                  tni_hf_const(e, "score/old/weight", 0, NULL, &keep_weight));
    IrValueId now = tni_hf_binary(e, "score/new", TN_BINARY_mul, class_row(l, qkv, tokens, keep),
                                  tni_hf_const(e, "score/new/weight", 0, NULL, &new_weight));
    IrValueId score = tni_hf_concat(e, "score/sorted", (IrValueId[]){add(e, "score/kept", old, now), drop_score}, 2, 1);
    /* Indices below 2^24 are exact as f32, which sorts faster than i64. */
    order = tni_hf_node(e, TN_OP_cast, "sort/places", &(TnCastParams){.to = TN_F32, .saturate = 1}, &order, 1);
    sort(e, "unsort", order, n, false, &unused, &back);
    l->score = take(l, "score", score, back);
    return take(l, "tokens/unsorted", x, back);
}

/* The scores of the next stage's tokens: means of 2 x 2, with the same sum. */
static void pool_scores(Light *l) {
    HfEmit *e = l->e;
    TnDim pooled = tni_ir_dim_op(e->m, TN_DIM_MUL, half(e, l->size.h), half(e, l->size.w));
    TnPoolParams p = {.kind = TN_POOL_AVG, .n_spatial = 2, .kernel = {2, 2, 1}, .stride = {2, 2, 1}, .dilation = {1, 1, 1}};
    IrValueId s = tni_hf_reshape(e, "score/map", l->score, (TnDim[]){l->u->batch, number(e, 1), l->size.h, l->size.w}, 4);
    s = tni_hf_node(e, TN_OP_pool, "score/pool", &p, &s, 1);
    s = tni_hf_reshape(e, "score/pooled", s, (TnDim[]){l->u->batch, pooled}, 2);
    IrValueId before = reduce(e, "score/sum", TN_REDUCE_sum, l->score, 1, true),
              after = reduce(e, "score/pooled/sum", TN_REDUCE_sum, s, 1, true);
    l->score = tni_hf_binary(e, "score/scaled", TN_BINARY_mul, s, tni_hf_binary(e, "score/factor", TN_BINARY_div, before, after));
}

static IrValueId stage(Light *l, IrValueId x, uint32_t s, HfMapSize size) {
    HfEmit *e = l->e;
    l->stage = s;
    l->dim = l->u->dim[s];
    l->size = size;
    l->n = tni_ir_dim_op(e->m, TN_DIM_MUL, size.h, size.w);
    for (uint32_t i = 0; i < l->u->depth[s]; i++) {
        tni_hf_prefix(e, "%sblocks%u.%u.", l->u->root, s + 1, i);
        x = tni_hf_uniformer_tokens(e, l->u, tni_hf_uniformer_position(e, x, l->dim), l->dim, size);
        x = s == 2 && i == 0 ? whole_block(l, x) : pruned_block(l, x);
        x = tni_hf_uniformer_map(e, l->u, x, l->dim, size);
    }
    return x;
}

IrValueId tni_hf_uniformer_light(HfEmit *e, const HfUniformer *u, IrValueId x, HfMapSize *size, IrValueId *third) {
    Light l = {.e = e, .u = u, .score = TN_NO_VALUE};
    tni_hf_prefix(e, "%s", u->root);
    l.cls = tni_hf_weight(e, "cls_token", 3, (int64_t[]){1, 1, u->dim[2]});
    l.cls = tni_hf_expand(e, "cls_token/expand", l.cls, (TnDim[]){u->batch, number(e, 1), number(e, u->dim[2])}, 3);
    x = stage(&l, x, 2, *size);
    if (third != NULL)
        *third = x;
    pool_scores(&l);
    tni_hf_prefix(e, "%s", u->root);
    l.cls = tni_hf_linear(e, "cls_upsample", l.cls, u->dim[2], u->dim[3], true);
    x = tni_hf_uniformer_embed(e, u, 3, x, size);
    return stage(&l, x, 3, *size);
}
