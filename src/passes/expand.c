/* SPDX-License-Identifier: Apache-2.0
 *
 * sink_expand: a broadcast is made as late as possible, where the next operator does it for nothing.
 *
 *   where(expand(c), a, b)            =>  expand(where(c, a, b))            a, b single numbers, or no larger than c
 *   f(expand(x)), f(expand(x), a)     =>  expand(f(x)), expand(f(x, a))     element-wise f, a a single number
 *   expand(expand(x))                 =>  expand(x)               where the second shape has all that the first one added
 *
 * Attention masks are written as a [B,1,S,S] expansion of [B,1,1,S]; small, they stay in cache. simplify_layout then drops the expand where
 * an element-wise operator follows; attention takes the small one by itself. */
#include "passes/match.h"
#include "passes/list.h"

static bool element_wise(const IrNode *n) {
    return (n->op == TN_OP_unary || n->op == TN_OP_cast || n->op == TN_OP_binary || n->op == TN_OP_where || n->op == TN_OP_clip) &&
           n->n_out == 1;
}

/* expand(x, shape) has the dims of y: what x lacks, the shape has itself. */
static bool gives_dims(const Rewriter *r, IrValueId x, IrValueId shape, IrValueId y) {
    const IrValue *xv = &r->g->values[x], *sv = &r->g->values[shape], *yv = &r->g->values[y];
    int64_t len, number[TN_MAX_RANK];
    uint32_t n = 0;
    bool constant = tni_pass_ints(r, shape, number, TN_MAX_RANK, &n);
    if (sv->rank != 1 || !tni_ir_dim_is_const(r->m, sv->dims[0], &len) || TN_MAX(len, (int64_t)xv->rank) != yv->rank)
        return false;
    for (int32_t i = 0; i < yv->rank; i++) {
        int32_t at = i - (yv->rank - xv->rank);
        int64_t k = i - (yv->rank - len), size;
        if (at >= 0 && tni_ir_dim_equal(r->m, xv->dims[at], yv->dims[i]))
            continue;
        bool fixed = tni_ir_dim_is_const(r->m, yv->dims[i], &size);
        bool same = k >= 0 && constant ? fixed && number[k] == size
                                       : k >= 0 && sv->elems != NULL && sv->n_elems == (uint32_t)len && tni_ir_dim_equal(r->m, sv->elems[k], yv->dims[i]);
        if (!same && !(k >= 0 && fixed && size == 1))
            return false;
    }
    return true;
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->n_out != 1 || n->out[0] == TN_NO_VALUE)
        return;
    if (n->op == TN_OP_expand) {
        const IrNode *first = tni_pass_def_op(r, n->in[0], TN_OP_expand);
        if (first != NULL && gives_dims(r, first->in[0], n->in[1], n->out[0])) {
            tni_pass_set_in(r, id, 0, first->in[0]);
            r->changed++;
        }
        return;
    }
    if (!element_wise(n) || n->n_in > 3 || r->is_out[n->out[0]])
        return;
    IrValueId in[3], wide = TN_NO_VALUE, shape = TN_NO_VALUE, y = n->out[0];
    uint32_t n_in = n->n_in;
    for (uint32_t i = 0; i < n_in; i++) {
        in[i] = n->in[i];
        const IrNode *e = tni_pass_def_op(r, in[i], TN_OP_expand);
        if (e != NULL && wide == TN_NO_VALUE && tni_pass_same_dims(r, in[i], y) && r->g->values[e->in[0]].rank <= r->g->values[y].rank) {
            wide = in[i] = e->in[0];
            shape = e->in[1];
        }
    }
    if (wide == TN_NO_VALUE)
        return;
    double c;
    for (uint32_t i = 0; i < n_in; i++)
        if (in[i] != TN_NO_VALUE && in[i] != wide &&
            !(tni_pass_number(r, in[i], &c) && r->g->values[in[i]].rank <= r->g->values[wide].rank) && !tni_pass_fits(r, in[i], wide))
            return;
    IrValueId small = tni_pass_add(r, n->op, n->name, n->params, in, n_in);
    if (small == TN_NO_VALUE)
        return;
    IrValueId ex[2] = {small, shape};
    IrValueId z = tni_pass_add(r, TN_OP_expand, "expand", NULL, ex, 2);
    if (z != TN_NO_VALUE) {
        memcpy(r->g->values[z].dims, r->g->values[y].dims, sizeof r->g->values[z].dims);
        tni_pass_replace(r, y, z);
    }
}

TnStatus tni_pass_sink_expand(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 4, changed, err);
}
