/* SPDX-License-Identifier: Apache-2.0
 *
 * merge_projections: the products that make q, k and v from the same rows become one.
 *
 *   x -> gemm Wq, bq -> q --+                             x -> gemm [Wq Wk Wv], [bq bk bv] -> y
 *   x -> gemm Wk, bk -> k --+-> attention        =>       attention(y at 0, y at H D, y at 2 H D)
 *   x -> gemm Wv, bv -> v --+
 *
 * Co-attention, where two attentions read projections of the same rows, merges all of them; where more attentions do (a decoder's layers
 * over one encoder), each merges its own. Products must be plain (constant weights, no activation or residual, the same alpha) and be
 * read by one operand alone. A missing bias is a bias of zeros. The same bits: columns of a product do not depend on each other. */
#include "passes/list.h"
#include "passes/match.h"

#define MAX_PARTS 6

typedef struct Part {
    IrNodeId attention;
    uint32_t operand;
    IrValueId x, y; /* what is projected; what the attention reads */
    IrValueId gemm; /* y itself, or what a reshape makes y from */
    TnTensor w, b;
    bool has_bias, trans;
    float alpha;
    int64_t n;
    struct Part *next; /* of the same x */
} Part;

static bool rows_at_start(const TnAttentionParams *p, uint32_t i) {
    const uint32_t layout[3] = {p->q_layout, p->k_layout, p->v_layout}, off[3] = {p->q_off, p->k_off, p->v_off};
    return layout[i] == TN_LAYOUT_BSHD && off[i] == 0;
}

static bool read_gemm(const Rewriter *r, Part *p) {
    const IrNode *n = tni_pass_def_op(r, p->gemm, TN_OP_gemm);
    if (n == NULL || tni_pass_uses(r, p->gemm) != 1 || (n->n_in > 3 && n->in[3] != TN_NO_VALUE))
        return false;
    const TnGemmParams *g = n->params;
    p->x = n->in[0];
    p->trans = g->trans_b != 0;
    p->alpha = g->alpha;
    if (g->trans_a || g->act != TN_ACT_NONE || !tni_ir_tensor(r->m, r->g, n->in[1], &p->w) || p->w.dtype != TN_F32)
        return false;
    p->n = p->w.dims[p->trans ? 0 : 1];
    p->has_bias = n->n_in > 2 && n->in[2] != TN_NO_VALUE;
    return !p->has_bias ||
           (g->beta == 1 && tni_ir_tensor(r->m, r->g, n->in[2], &p->b) && p->b.dtype == TN_F32 && p->b.rank == 1 && p->b.dims[0] == p->n);
}

/* Operand i of an attention as a part: a product, or the rows of one under other leading dims. */
static bool read_part(const Rewriter *r, IrNodeId id, uint32_t i, Part *p) {
    const IrNode *n = &r->g->nodes[id];
    memset(p, 0, sizeof *p);
    p->attention = id;
    p->operand = i;
    p->y = p->gemm = n->in[i];
    if (!rows_at_start(n->params, i) || tni_pass_uses(r, p->y) != 1 || r->g->values[p->y].rank != 3)
        return false;
    for (const IrNode *re; (re = tni_pass_def_op(r, p->gemm, TN_OP_reshape)) != NULL && tni_pass_uses(r, p->gemm) == 1;)
        p->gemm = re->in[0];
    return read_gemm(r, p) && tni_pass_dim_is(r, p->y, 2, p->n);
}

/* Parts that can be one product: the same rows, seen the same way. */
static bool together(const Rewriter *r, const Part *a, const Part *b) {
    const IrValue *x = &r->g->values[a->y], *y = &r->g->values[b->y];
    return a->x == b->x && a->trans == b->trans && a->alpha == b->alpha && tni_ir_dim_equal(r->m, x->dims[0], y->dims[0]) &&
           tni_ir_dim_equal(r->m, x->dims[1], y->dims[1]);
}

/* [K, sum n] (or, all transposed, [sum n, K]) of the parts' weights. */
static IrValueId merged_weight(Rewriter *r, const Part *const *part, uint32_t count, int64_t total) {
    bool trans = part[0]->trans;
    int64_t k = part[0]->w.dims[trans ? 1 : 0];
    int64_t dims[2] = {trans ? total : k, trans ? k : total};
    size_t bytes, at = 0;
    if (!tni_shape_bytes(TN_F32, 2, dims, NULL, &bytes))
        return TN_NO_VALUE;
    uint8_t *to = tni_pass_alloc(r, bytes);
    for (int64_t row = 0; to != NULL && row < (trans ? 1 : k); row++)
        for (uint32_t i = 0; i < count; i++) {
            size_t chunk = (size_t)(trans ? part[i]->n * k : part[i]->n) * sizeof(float);
            memcpy(to + at, (const uint8_t *)part[i]->w.data + (size_t)row * chunk, chunk);
            at += chunk;
        }
    return to == NULL ? TN_NO_VALUE : tni_pass_const_own(r, TN_F32, 2, dims, to);
}

static IrValueId merged_bias(Rewriter *r, const Part *const *part, uint32_t count, int64_t total) {
    float *to = tni_pass_alloc(r, (size_t)total * sizeof *to);
    int64_t at = 0;
    if (to == NULL)
        return TN_NO_VALUE;
    for (uint32_t i = 0; i < count; at += part[i]->n, i++) {
        memset(to + at, 0, (size_t)part[i]->n * sizeof *to);
        if (part[i]->has_bias)
            memcpy(to + at, part[i]->b.data, (size_t)part[i]->n * sizeof *to);
    }
    return tni_pass_const_own(r, TN_F32, 1, &total, to);
}

static void read_at(Rewriter *r, const Part *p, IrValueId y, int64_t off) {
    TnAttentionParams *ap = r->g->nodes[p->attention].params;
    *(p->operand == 0 ? &ap->q_off : p->operand == 1 ? &ap->k_off : &ap->v_off) = (uint32_t)off;
    tni_pass_set_in(r, p->attention, p->operand, y);
}

static void merge(Rewriter *r, const Part *const *part, uint32_t count) {
    int64_t total = 0;
    bool any_bias = false;
    const char *name = tni_pass_def(r, part[0]->gemm)->name;
    for (uint32_t i = 0; i < count; i++) {
        total += part[i]->n;
        any_bias = any_bias || part[i]->has_bias;
        if (i > 0)
            name = tni_pass_join2(r, name, tni_pass_def(r, part[i]->gemm)->name);
    }
    if (count < 2 || total > INT32_MAX)
        return;
    TnGemmParams gp = {.trans_b = part[0]->trans, .alpha = part[0]->alpha, .beta = 1};
    TnDim dims[3] = {r->g->values[part[0]->y].dims[0], r->g->values[part[0]->y].dims[1], tni_ir_dim_const(r->m, total)};
    IrValueId in[3] = {part[0]->x, merged_weight(r, part, count, total), any_bias ? merged_bias(r, part, count, total) : TN_NO_VALUE};
    if (in[1] == TN_NO_VALUE)
        return;
    IrValueId y = tni_pass_add(r, TN_OP_gemm, name, &gp, in, any_bias ? 3 : 2);
    y = tni_pass_reshape(r, name, y, 3, dims);
    if (y == TN_NO_VALUE)
        return;
    int64_t off = 0;
    for (uint32_t i = 0; i < count; off += part[i]->n, i++)
        read_at(r, part[i], y, off);
    r->changed += count;
}

/* Merges the parts of one x: all, or attention by attention when more than two attentions read them. */
static void merge_parts(Rewriter *r, const Part *first) {
    const Part *all[MAX_PARTS];
    uint32_t n = 0, attentions = 0;
    for (const Part *p = first; p != NULL; p = p->next) {
        bool seen = false;
        for (const Part *q = first; q != p; q = q->next)
            seen = seen || q->attention == p->attention;
        attentions += !seen;
        if (n < MAX_PARTS && together(r, first, p))
            all[n++] = p;
    }
    if (attentions <= 2) {
        merge(r, all, n);
        return;
    }
    for (const Part *p = first; p != NULL && r->st == TN_OK; p = p->next) {
        const Part *own[3];
        n = 0;
        for (const Part *q = p; q != NULL; q = q->next)
            if (q->attention == p->attention && n < 3 && together(r, p, q))
                own[n++] = q;
        bool begun = false;
        for (const Part *q = first; q != p; q = q->next)
            begun = begun || q->attention == p->attention;
        if (!begun)
            merge(r, own, n);
    }
}

static void merge_graph(Rewriter *r) {
    uint32_t n_nodes = r->g->n_nodes;
    Part **of = tni_arena_calloc(r->scratch, r->g->n_values + 1, sizeof(Part *)),
         **tail = tni_arena_calloc(r->scratch, r->g->n_values + 1, sizeof(Part *));
    uint32_t n_values = r->g->n_values;
    if (of == NULL || tail == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, n_values * sizeof(Part *)));
        return;
    }
    for (IrNodeId id = 0; id < n_nodes; id++)
        for (uint32_t i = 0; i < 3 && r->g->nodes[id].op == TN_OP_attention && !r->g->nodes[id].dead; i++) {
            Part p, *kept;
            if (!read_part(r, id, i, &p))
                continue;
            kept = tni_arena_calloc(r->scratch, 1, sizeof *kept);
            if (kept == NULL) {
                tni_pass_fail(r, TN_OOM(r->err, sizeof *kept));
                return;
            }
            *kept = p;
            if (of[p.x] == NULL)
                of[p.x] = kept;
            else
                tail[p.x]->next = kept;
            tail[p.x] = kept;
        }
    for (IrValueId x = 0; x < n_values && r->st == TN_OK; x++)
        if (of[x] != NULL)
            merge_parts(r, of[x]);
}

TnStatus tni_pass_projections(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        merge_graph(&r);
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    return TN_OK;
}
