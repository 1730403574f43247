/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains of transposes and reshapes: see chain.h.
 *
 *   [B,H,W,C] -> transpose 0 3 1 2 -> reshape [B,C,HW] -> transpose 0 2 1 -> [B,HW,C]      is the view   [B,H,W,C] -> reshape [B,HW,C] */
#include "passes/chain.h"

static bool is_one(const Rewriter *r, TnDim d) {
    int64_t x;
    return tni_ir_dim_is_const(r->m, d, &x) && x == 1;
}

typedef struct Walk {
    LayoutChain c;
    int32_t rank;
    uint32_t len[TN_MAX_RANK]; /* pieces of each dim of the value reached, in source order */
} Walk;

/* Cuts piece p (source order) into k pieces with the extents of dims. */
static bool cut(Walk *w, uint32_t p, const TnDim *dims, uint32_t k) {
    LayoutChain *c = &w->c;
    uint32_t atom = c->at[p];
    if (c->n + k - 1 > CHAIN_ATOMS)
        return false;
    memmove(&c->extent[atom + k], &c->extent[atom + 1], (c->n - atom - 1) * sizeof c->extent[0]);
    memmove(&c->at[p + k], &c->at[p + 1], (c->n - p - 1) * sizeof c->at[0]);
    c->n += k - 1;
    for (uint32_t i = 0; i < c->n; i++)
        if ((i < p || i >= p + k) && c->at[i] > atom)
            c->at[i] = (uint8_t)(c->at[i] + k - 1);
    for (uint32_t i = 0; i < k; i++) {
        c->extent[atom + i] = dims[i];
        c->at[p + i] = (uint8_t)(atom + i);
    }
    return true;
}

/* The same pieces under other dims, cutting pieces where dims are finer. */
static bool regroup(const Rewriter *r, Walk *w, int32_t rank, const TnDim *dims) {
    uint32_t p = 0;
    w->rank = rank;
    for (int32_t i = 0; i < rank; i++) {
        uint32_t len = 0;
        TnDim acc = TN_DIM_NONE;
        w->len[i] = 0;
        if (is_one(r, dims[i]))
            continue;
        for (;;) {
            if (p + len >= w->c.n)
                return false;
            TnDim e = w->c.extent[w->c.at[p + len]];
            acc = len == 0 ? e : tni_ir_dim_op(r->m, TN_DIM_MUL, acc, e);
            len++;
            if (acc == TN_DIM_NONE || dims[i] == TN_DIM_NONE)
                return false;
            if (tni_ir_dim_equal(r->m, acc, dims[i]))
                break;
            if (len == 1) { /* the piece may be the product of several dims */
                TnDim prod = dims[i], parts[TN_MAX_RANK] = {dims[i]};
                uint32_t k = 1;
                for (int32_t j = i + 1; j < rank && !tni_ir_dim_equal(r->m, prod, e); j++)
                    if (!is_one(r, dims[j])) {
                        parts[k++] = dims[j];
                        prod = tni_ir_dim_op(r->m, TN_DIM_MUL, prod, dims[j]);
                    }
                if (k > 1 && prod != TN_DIM_NONE && tni_ir_dim_equal(r->m, prod, e)) {
                    if (!cut(w, p, parts, k))
                        return false;
                    break;
                }
            }
        }
        w->len[i] = len;
        p += len;
    }
    return p == w->c.n;
}

static void permute(Walk *w, const uint8_t *order) {
    uint8_t at[CHAIN_ATOMS];
    uint32_t start[TN_MAX_RANK], len[TN_MAX_RANK], n = 0;
    for (int32_t i = 0; i < w->rank; i++) {
        start[i] = n;
        n += w->len[i];
    }
    n = 0;
    for (int32_t i = 0; i < w->rank; i++) {
        len[i] = w->len[order[i]];
        memcpy(&at[n], &w->c.at[start[order[i]]], len[i]);
        n += len[i];
    }
    memcpy(w->c.at, at, n);
    memcpy(w->len, len, sizeof len);
}

static bool start(const Rewriter *r, Walk *w, IrValueId v) {
    const IrValue *x = &r->g->values[v];
    memset(w, 0, sizeof *w);
    if (x->rank < 0)
        return false;
    w->c.source = v;
    w->rank = x->rank;
    for (int32_t i = 0; i < x->rank; i++) {
        if (x->dims[i] == TN_DIM_NONE)
            return false;
        if (is_one(r, x->dims[i]))
            continue;
        w->c.at[w->c.n] = (uint8_t)w->c.n;
        w->c.extent[w->c.n++] = x->dims[i];
        w->len[i] = 1;
    }
    return true;
}

static bool up(const Rewriter *r, Walk *w) {
    const IrNode *n = tni_pass_def(r, w->c.source);
    if (n == NULL)
        return false;
    const IrValue *in = n->n_in > 0 && n->in[0] != TN_NO_VALUE ? &r->g->values[n->in[0]] : NULL;
    if (n->op == TN_OP_transpose) {
        const TnTransposeParams *p = n->params;
        uint8_t inverse[TN_MAX_RANK];
        for (int32_t i = 0; i < w->rank; i++)
            inverse[p->perm[i]] = (uint8_t)i;
        permute(w, inverse);
        w->c.transposes++;
    } else if (n->op == TN_OP_reshape) {
        if (in == NULL || in->rank < 0 || !regroup(r, w, in->rank, in->dims))
            return false;
    } else if (n->op != TN_OP_identity) {
        return false;
    }
    w->c.source = n->in[0];
    return true;
}

bool tni_pass_layout_chain(const Rewriter *r, IrValueId v, LayoutChain *out) {
    Walk w;
    bool found = false;
    if (!start(r, &w, v))
        return false;
    for (int step = 0; step < 12; step++) {
        Walk next = w;
        if (!up(r, &next))
            break;
        w = next;
        w.c.view = true;
        for (uint32_t i = 0; i < w.c.n; i++)
            w.c.view = w.c.view && w.c.at[i] == i;
        bool saves = w.c.view && w.c.transposes > 0, saved = found && out->view && out->transposes > 0;
        if (saves || !saved)
            *out = w.c;
        found = true;
    }
    return found;
}

IrValueId tni_pass_layout_build(Rewriter *r, const char *name, IrValueId v, const LayoutChain *c) {
    TnDim dims[TN_MAX_RANK], source_dims[TN_MAX_RANK];
    int32_t rank = r->g->values[v].rank;
    memcpy(dims, r->g->values[v].dims, sizeof dims);
    if (c->view)
        return tni_pass_reshape(r, name, c->source, rank, dims);
    if (c->n > TN_MAX_RANK)
        return TN_NO_VALUE;
    uint8_t perm[TN_MAX_RANK] = {0};
    for (uint32_t i = 0; i < c->n; i++) {
        source_dims[i] = c->extent[c->at[i]];
        perm[c->at[i]] = (uint8_t)i; /* atom at[i] of the result is piece i of the source */
    }
    IrValueId x = tni_pass_reshape(r, name, c->source, (int32_t)c->n, source_dims);
    x = tni_pass_transpose(r, name, x, perm);
    return tni_pass_reshape(r, name, x, rank, dims);
}
