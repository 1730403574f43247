/* SPDX-License-Identifier: Apache-2.0
 *
 * dce: what no graph output and no effect needs goes away; outputs nobody reads become absent.
 *
 *   a -> op1 -> y (output)              a -> op1 -> y (output)
 *     -> op2 -> z (unread)        =>
 *
 * Graph inputs stay, read or not: they are the model's signature. So do a split's parts in front of one that is read. */
#include "passes/match.h"
#include "passes/list.h"

static void drop_dead(Rewriter *r) {
    IrGraph *g = r->g;
    uint8_t *live = tni_arena_calloc(r->scratch, g->n_nodes + 1, 1);
    IrNodeId *stack = tni_arena_calloc(r->scratch, g->n_nodes + 1, sizeof *stack);
    uint32_t n_stack = 0;
    if (live == NULL || stack == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, (size_t)g->n_nodes * sizeof *stack));
        return;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const IrValue *v = &g->values[g->outputs[i]];
        if (v->kind == IR_NODE_OUTPUT && !live[v->producer]) {
            live[v->producer] = 1;
            stack[n_stack++] = v->producer;
        }
    }
    for (IrNodeId n = 0; n < g->n_nodes; n++)
        if (!g->nodes[n].dead && !live[n] && (tni_op_info(g->nodes[n].op)->flags & TN_OPF_STATE) != 0) {
            live[n] = 1;
            stack[n_stack++] = n;
        }
    while (n_stack > 0) {
        const IrNode *n = &g->nodes[stack[--n_stack]];
        for (uint32_t i = 0; i < n->n_in; i++) {
            if (n->in[i] == TN_NO_VALUE)
                continue;
            const IrValue *v = &g->values[n->in[i]];
            if (v->kind == IR_NODE_OUTPUT && !live[v->producer]) {
                live[v->producer] = 1;
                stack[n_stack++] = v->producer;
            }
        }
    }
    for (IrNodeId n = 0; n < g->n_nodes; n++)
        if (!live[n] && !g->nodes[n].dead) {
            g->nodes[n].dead = true;
            r->changed++;
        }
}

/* Outputs that were read only by the dead, or by nobody. */
static void drop_outputs(Rewriter *r) {
    IrGraph *g = r->g;
    uint8_t *read = tni_arena_calloc(r->scratch, g->n_values + 1, 1);
    if (read == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, g->n_values));
        return;
    }
    for (IrNodeId n = 0; n < g->n_nodes; n++)
        for (uint32_t i = 0; !g->nodes[n].dead && i < g->nodes[n].n_in; i++)
            if (g->nodes[n].in[i] != TN_NO_VALUE)
                read[g->nodes[n].in[i]] = 1;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        read[g->outputs[i]] = 1;
    for (IrNodeId n = 0; n < g->n_nodes; n++) {
        const IrNode *node = &g->nodes[n];
        if (node->dead || (tni_op_info(node->op)->flags & TN_OPF_PURE) == 0 || node->n_out < 2)
            continue;
        bool later = false; /* a part of a split lies behind those before it: kernels add up their sizes */
        for (uint32_t i = node->n_out; i-- > 0;) {
            bool wanted = node->out[i] != TN_NO_VALUE && read[node->out[i]];
            if (node->out[i] != TN_NO_VALUE && !wanted && !(node->op == TN_OP_split && later))
                tni_pass_drop_output(r, n, i);
            later = later || wanted;
        }
    }
}

TnStatus tni_pass_dce(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        drop_dead(&r);
        if (r.st == TN_OK)
            drop_outputs(&r);
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    return TN_OK;
}
