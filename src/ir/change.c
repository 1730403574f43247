/* SPDX-License-Identifier: Apache-2.0
 *
 * Changing graphs: replacing uses, restoring the order after rewrites.
 * In: a graph whose nodes refer to existing values. Out: the same computation. Invariant after compact: nodes are in topological order,
 * none is dead, every value is referred to. */
#include "ir/graph.h"

static bool is_output(const IrGraph *g, IrValueId v) {
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        if (g->outputs[i] == v)
            return true;
    }
    return false;
}

void tni_ir_replace_uses(IrGraph *g, IrValueId from, IrValueId to) {
    if (from == to)
        return;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_in; i++) {
            if (n->in[i] == from)
                n->in[i] = to;
        }
    }
    if (!is_output(g, from) || is_output(g, to) || g->values[to].kind == IR_INPUT)
        return;
    const char *name = g->values[from].name;
    g->values[from].name = g->values[to].name;
    g->values[to].name = name;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    }
}

/* Depth-first order: each node right after the last of its producers was placed, nodes otherwise in list order. So a fused node, which
 * was appended at the end, lands before its first reader. */
typedef struct Sorter {
    IrGraph *g;
    IrNodeId *order; /* nodes placed so far */
    IrNodeId *stack;
    uint32_t *next; /* per node: the operand to look at next */
    uint8_t *state; /* 0 not seen, 1 on the stack, 2 placed */
    uint32_t n_order;
} Sorter;

static TnStatus place(Sorter *s, IrNodeId root, TnError *err) {
    IrGraph *g = s->g;
    uint32_t depth = 0;
    if (s->state[root] == 2)
        return TN_OK;
    s->stack[depth++] = root;
    s->state[root] = 1;
    while (depth > 0) {
        IrNodeId k = s->stack[depth - 1];
        IrNode *n = &g->nodes[k];
        if (s->next[k] == n->n_in) {
            n->dead = false; /* reached: somebody alive reads it */
            s->state[k] = 2;
            s->order[s->n_order++] = k;
            depth--;
            continue;
        }
        IrValueId v = n->in[s->next[k]++];
        if (v == TN_NO_VALUE || g->values[v].kind != IR_NODE_OUTPUT)
            continue;
        IrNodeId p = g->values[v].producer;
        if (p >= g->n_nodes)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "operand '%s' is made by no node of graph '%s'", g->values[v].name, g->name);
        if (s->state[p] == 1)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name,
                                  "the graph '%s' has a cycle: this node needs '%s', which node '%s' makes from it", g->name,
                                  g->values[v].name, g->nodes[p].name);
        if (s->state[p] == 0) {
            s->state[p] = 1;
            s->stack[depth++] = p;
        }
    }
    return TN_OK;
}

static TnStatus sort_nodes(Sorter *s, TnError *err) {
    IrGraph *g = s->g;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        if (!g->nodes[k].dead)
            TN_TRY(place(s, k, err));
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const IrValue *v = &g->values[g->outputs[i]];
        if (v->kind == IR_NODE_OUTPUT && v->producer < g->n_nodes)
            TN_TRY(place(s, v->producer, err));
    }
    return TN_OK;
}

/* Renumbers values; new_id holds 1 for every value to keep on entry and its new id on return. */
static void renumber_values(IrGraph *g, uint32_t *new_id) {
    uint32_t n = 0;
    for (uint32_t v = 0; v < g->n_values; v++) {
        if (new_id[v] == 0)
            continue;
        g->values[n] = g->values[v];
        new_id[v] = n++;
    }
    g->n_values = n;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        g->inputs[i] = new_id[g->inputs[i]];
    for (uint32_t i = 0; i < g->n_outputs; i++)
        g->outputs[i] = new_id[g->outputs[i]];
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        IrNode *x = &g->nodes[k];
        for (uint32_t i = 0; i < x->n_in; i++)
            x->in[i] = x->in[i] == TN_NO_VALUE ? TN_NO_VALUE : new_id[x->in[i]];
        for (uint32_t i = 0; i < x->n_out; i++) {
            if (x->out[i] == TN_NO_VALUE)
                continue;
            x->out[i] = new_id[x->out[i]];
            g->values[x->out[i]].producer = k;
        }
    }
}

static void mark_kept(const IrGraph *g, uint32_t *keep) {
    for (uint32_t i = 0; i < g->n_inputs; i++)
        keep[g->inputs[i]] = 1;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        keep[g->outputs[i]] = 1;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_in; i++) {
            if (n->in[i] != TN_NO_VALUE)
                keep[n->in[i]] = 1;
        }
        for (uint32_t i = 0; i < n->n_out; i++) {
            if (n->out[i] != TN_NO_VALUE)
                keep[n->out[i]] = 1;
        }
    }
}

TnStatus tni_ir_compact(IrModule *m, IrGraph *g, TnError *err) {
    const TnAllocator *a = tni_arena_allocator(m->arena);
    Sorter s = {.g = g};
    s.order = tni_calloc(a, g->n_nodes, sizeof *s.order);
    s.stack = tni_calloc(a, g->n_nodes, sizeof *s.stack);
    s.next = tni_calloc(a, g->n_nodes, sizeof *s.next);
    s.state = tni_calloc(a, g->n_nodes, sizeof *s.state);
    IrNode *nodes = tni_calloc(a, g->n_nodes, sizeof *nodes);
    uint32_t *new_id = tni_calloc(a, g->n_values, sizeof *new_id);
    TnStatus st = TN_OK;
    if (s.order == NULL || s.stack == NULL || s.next == NULL || s.state == NULL || nodes == NULL || new_id == NULL)
        st = TN_OOM(err, (size_t)g->n_nodes * sizeof *nodes);
    else
        st = sort_nodes(&s, err);
    if (st == TN_OK) {
        for (uint32_t k = 0; k < s.n_order; k++)
            nodes[k] = g->nodes[s.order[k]];
        if (s.n_order > 0)
            memcpy(g->nodes, nodes, s.n_order * sizeof *nodes);
        g->n_nodes = s.n_order;
        mark_kept(g, new_id);
        renumber_values(g, new_id);
    }
    tni_free(a, s.order);
    tni_free(a, s.stack);
    tni_free(a, s.next);
    tni_free(a, s.state);
    tni_free(a, nodes);
    tni_free(a, new_id);
    return st;
}
