/* SPDX-License-Identifier: Apache-2.0
 *
 * merge_projections: the products that make q, k and v of one attention from the same rows become one.
 *
 *   x -> gemm Wq, bq -> q --+                             x -> gemm [Wq Wk Wv], [bq bk bv] -> y
 *   x -> gemm Wk, bk -> k --+-> attention        =>       attention(y at 0, y at Hq D, y at 2 H D)
 *   x -> gemm Wv, bv -> v --+
 *
 * For cross-attention k and v merge, q stays. Products must be plain (constant weights, no activation or residual, the same alpha) and be
 * read by this attention alone. A missing bias is a bias of zeros. The same bits: columns of a product do not depend on each other. */
#include "passes/list.h"
#include "passes/match.h"

typedef struct Part {
    TnTensor w, b;
    bool has_bias, trans;
    float alpha;
    IrValueId x, y;
    int64_t n;
    const char *name;
} Part;

static bool layout_is_rows(const TnAttentionParams *p, int i) {
    return (i == 0 ? p->q_layout : i == 1 ? p->k_layout : p->v_layout) == TN_LAYOUT_BSHD && (i == 0 ? p->q_off : i == 1 ? p->k_off : p->v_off) == 0;
}

static bool read_part(const Rewriter *r, IrValueId y, Part *out) {
    const IrNode *n = tni_pass_def_op(r, y, TN_OP_gemm);
    memset(out, 0, sizeof *out);
    if (n == NULL || tni_pass_uses(r, y) != 1 || (n->n_in > 3 && n->in[3] != TN_NO_VALUE) || r->g->values[y].rank != 3)
        return false;
    const TnGemmParams *p = n->params;
    out->x = n->in[0];
    out->y = y;
    out->trans = p->trans_b != 0;
    out->alpha = p->alpha;
    out->name = n->name;
    if (p->trans_a || p->act != TN_ACT_NONE || !tni_ir_tensor(r->m, r->g, n->in[1], &out->w) || out->w.dtype != TN_F32)
        return false;
    out->n = out->w.dims[out->trans ? 0 : 1];
    out->has_bias = n->n_in > 2 && n->in[2] != TN_NO_VALUE;
    return !out->has_bias || (p->beta == 1 && tni_ir_tensor(r->m, r->g, n->in[2], &out->b) && out->b.dtype == TN_F32 && out->b.rank == 1 &&
                              out->b.dims[0] == out->n);
}

/* [K, sum n] (or, all transposed, [sum n, K]) of the parts' weights. */
static IrValueId merged_weight(Rewriter *r, const Part *part, uint32_t count, int64_t total) {
    int64_t k = part[0].w.dims[part[0].trans ? 1 : 0];
    bool trans = part[0].trans;
    int64_t dims[2] = {trans ? total : k, trans ? k : total};
    size_t bytes;
    if (!tni_shape_bytes(TN_F32, 2, dims, NULL, &bytes))
        return TN_NO_VALUE;
    uint8_t *to = tni_pass_alloc(r, bytes);
    if (to == NULL)
        return TN_NO_VALUE;
    int64_t rows = trans ? 1 : k;
    size_t at = 0;
    for (int64_t row = 0; row < rows; row++)
        for (uint32_t i = 0; i < count; i++) {
            size_t chunk = (size_t)(trans ? part[i].n * k : part[i].n) * sizeof(float);
            memcpy(to + at, (const uint8_t *)part[i].w.data + (size_t)row * chunk, chunk);
            at += chunk;
        }
    return tni_pass_const_own(r, TN_F32, 2, dims, to);
}

static IrValueId merged_bias(Rewriter *r, const Part *part, uint32_t count, int64_t total) {
    float *to = tni_pass_alloc(r, (size_t)total * sizeof *to);
    int64_t at = 0;
    if (to == NULL)
        return TN_NO_VALUE;
    for (uint32_t i = 0; i < count; at += part[i].n, i++) {
        memset(to + at, 0, (size_t)part[i].n * sizeof *to);
        if (part[i].has_bias)
            memcpy(to + at, part[i].b.data, (size_t)part[i].n * sizeof *to);
    }
    return tni_pass_const_own(r, TN_F32, 1, &total, to);
}

/* Merges operands [first, 3) of attention node id; false when they do not fit together. */
static bool merge(Rewriter *r, IrNodeId id, int first) {
    const IrNode *n = &r->g->nodes[id];
    TnAttentionParams p = *(const TnAttentionParams *)n->params;
    Part part[3];
    uint32_t count = (uint32_t)(3 - first);
    int64_t total = 0, off[3] = {0};
    bool any_bias = false;
    for (int i = first; i < 3; i++) {
        Part *t = &part[i - first];
        if (!layout_is_rows(&p, i) || !read_part(r, n->in[i], t) || t->x != part[0].x || t->trans != part[0].trans || t->alpha != part[0].alpha)
            return false;
        off[i] = total;
        total += t->n;
        any_bias = any_bias || t->has_bias;
    }
    if (total > INT32_MAX)
        return false;
    TnGemmParams gp = {.trans_b = part[0].trans, .alpha = part[0].alpha, .beta = 1};
    const char *name = part[0].name;
    for (uint32_t i = 1; i < count; i++)
        name = tni_pass_join2(r, name, part[i].name);
    IrValueId in[3] = {part[0].x, merged_weight(r, part, count, total), any_bias ? merged_bias(r, part, count, total) : TN_NO_VALUE};
    if (in[1] == TN_NO_VALUE)
        return false;
    IrValueId y = tni_pass_add(r, TN_OP_gemm, name, &gp, in, any_bias ? 3 : 2);
    if (first == 0)
        p.q_off = (uint32_t)off[0];
    p.k_off = (uint32_t)off[1];
    p.v_off = (uint32_t)off[2];
    IrValueId ain[5];
    n = &r->g->nodes[id];
    uint32_t n_in = n->n_in;
    for (uint32_t i = 0; i < n_in; i++)
        ain[i] = (int)i >= first && i < 3 ? y : n->in[i];
    IrValueId out = n->out[0];
    if (y != TN_NO_VALUE)
        tni_pass_replace(r, out, tni_pass_add(r, TN_OP_attention, n->name, &p, ain, n_in));
    return true;
}

static void visit(Rewriter *r, IrNodeId id) {
    if (r->g->nodes[id].op == TN_OP_attention && r->g->nodes[id].out[0] != TN_NO_VALUE && !merge(r, id, 0))
        (void)merge(r, id, 1);
}

TnStatus tni_pass_projections(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
