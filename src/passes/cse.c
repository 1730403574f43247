/* SPDX-License-Identifier: Apache-2.0
 *
 * cse: the same operator on the same operands is computed once; equal constants are kept once.
 *
 *   op(a, b) -> y1                       op(a, b) -> y1
 *   op(a, b) -> y2      y1, y2      =>                       y1, y1
 *
 * One pass in topological order over a hash table; operands are replaced before a node is looked up, so chains of equal nodes fold at once.
 */
#include "passes/match.h"
#include "passes/list.h"

#define CONST_LIMIT ((size_t)64 << 10) /* larger constants are merged only when they are the same bytes in memory */

typedef struct Table {
    uint32_t *slot; /* id + 1; 0: empty */
    uint32_t mask;
} Table;

static bool table_make(Rewriter *r, Table *t, uint32_t n) {
    uint32_t cap = 64;
    while (cap < n * 2 + 1 && cap < (1u << 30))
        cap *= 2;
    t->slot = tni_arena_calloc(r->scratch, cap, sizeof *t->slot);
    t->mask = cap - 1;
    if (t->slot == NULL)
        tni_pass_fail(r, TN_OOM(r->err, (size_t)cap * sizeof *t->slot));
    return t->slot != NULL;
}

static bool const_same(const Rewriter *r, IrValueId a, IrValueId b) {
    TnTensor x, y;
    if (!tni_ir_tensor(r->m, r->g, a, &x) || !tni_ir_tensor(r->m, r->g, b, &y) || x.dtype != y.dtype || x.rank != y.rank ||
        x.dtype == TN_STRING)
        return false;
    for (int32_t i = 0; i < x.rank; i++)
        if (x.dims[i] != y.dims[i])
            return false;
    size_t n = tn_tensor_bytes(&x);
    return n == 0 || x.data == y.data || (n <= CONST_LIMIT && memcmp(x.data, y.data, n) == 0);
}

static uint64_t const_hash(const Rewriter *r, IrValueId v) {
    TnTensor t;
    if (!tni_ir_tensor(r->m, r->g, v, &t) || t.dtype == TN_STRING)
        return v;
    size_t n = tn_tensor_bytes(&t);
    uint64_t h = tni_hash(t.dims, (size_t)t.rank * sizeof t.dims[0], (uint64_t)t.dtype);
    return n <= CONST_LIMIT ? tni_hash(t.data, n, h) : tni_hash(&t.data, sizeof t.data, h);
}

static void merge_constants(Rewriter *r) {
    Table t;
    uint32_t n = r->g->n_values;
    if (!table_make(r, &t, n))
        return;
    for (IrValueId v = 0; v < n && r->st == TN_OK; v++) {
        if (r->g->values[v].kind != IR_CONST || r->count[v] == 0)
            continue;
        uint32_t at = (uint32_t)const_hash(r, v) & t.mask;
        while (t.slot[at] != 0 && !const_same(r, t.slot[at] - 1, v))
            at = (at + 1) & t.mask;
        if (t.slot[at] == 0)
            t.slot[at] = v + 1;
        else if (!r->is_out[v])
            tni_pass_replace(r, v, t.slot[at] - 1);
    }
}

static uint64_t node_hash(const IrNode *n) {
    uint64_t h = tni_hash(n->params, tni_op_info(n->op)->params_size, (uint64_t)n->op);
    return tni_hash(n->in, n->n_in * sizeof n->in[0], h);
}

/* b can be dropped for a: a makes at least the outputs that b makes. A reshape is told apart by its output dims alone. */
static bool node_same(const Rewriter *r, const IrNode *a, const IrNode *b) {
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || memcmp(a->in, b->in, a->n_in * sizeof a->in[0]) != 0 ||
        memcmp(a->params, b->params, tni_op_info(a->op)->params_size) != 0)
        return false;
    for (uint32_t i = 0; i < a->n_out; i++)
        if (a->out[i] == TN_NO_VALUE && b->out[i] != TN_NO_VALUE)
            return false;
    return a->op != TN_OP_reshape || (b->out[0] != TN_NO_VALUE && tni_pass_same_dims(r, a->out[0], b->out[0]));
}

static void merge_nodes(Rewriter *r) {
    Table t;
    uint32_t n = r->g->n_nodes;
    if (!table_make(r, &t, n))
        return;
    for (IrNodeId i = 0; i < n && r->st == TN_OK; i++) {
        const IrNode *node = &r->g->nodes[i];
        if (node->dead || (tni_op_info(node->op)->flags & TN_OPF_PURE) == 0)
            continue;
        uint32_t at = (uint32_t)node_hash(node) & t.mask;
        while (t.slot[at] != 0 && (r->g->nodes[t.slot[at] - 1].dead || !node_same(r, &r->g->nodes[t.slot[at] - 1], node)))
            at = (at + 1) & t.mask;
        if (t.slot[at] == 0) {
            t.slot[at] = i + 1;
            continue;
        }
        IrNodeId kept = t.slot[at] - 1;
        for (uint32_t o = 0; o < r->g->nodes[i].n_out; o++)
            if (r->g->nodes[i].out[o] != TN_NO_VALUE)
                tni_pass_replace(r, r->g->nodes[i].out[o], r->g->nodes[kept].out[o]);
    }
}

TnStatus tni_pass_cse(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        merge_constants(&r);
        merge_nodes(&r);
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    return TN_OK;
}
