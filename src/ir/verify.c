/* SPDX-License-Identifier: Apache-2.0
 *
 * Structure of a module, checked after import and after every pass.
 * In: any module whose arrays are allocated. Out: TN_OK, or the first thing that is wrong. After TN_OK every id is in range, every value
 * has exactly one producer that comes before its readers, and subgraphs fit their control nodes. */
#include "ir/graph.h"

#include <inttypes.h>

enum { GRAPH_DEPTH = 64 };

static TnStatus check_value(const IrModule *m, const IrGraph *g, IrValueId id, TnError *err) {
    const IrValue *v = &g->values[id];
    if (v->name == NULL)
        return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': value %" PRIu32 " has no name", g->name, id);
    if (v->rank < -1 || v->rank > TN_MAX_RANK)
        return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': value '%s' has rank %" PRId32 ", expected -1 to %d", g->name, v->name, v->rank,
                        TN_MAX_RANK);
    for (int32_t i = 0; i < v->rank; i++) {
        if (v->dims[i] != TN_DIM_NONE && v->dims[i] >= m->n_exprs)
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': dimension %" PRId32 " of value '%s' is no expression of the module", g->name, i,
                            v->name);
    }
    for (uint32_t i = 0; v->elems != NULL && i < v->n_elems; i++) {
        if (v->n_elems > TN_DIMS_MAX || (v->elems[i] != TN_DIM_NONE && v->elems[i] >= m->n_exprs))
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': known contents of value '%s' are not expressions of the module", g->name,
                            v->name);
    }
    if (v->kind == IR_CONST) {
        int64_t dims[TN_MAX_RANK], numel;
        if (v->rank < 0 || v->dtype == TN_UNDEFINED || !tni_ir_static_dims(m, g, id, dims))
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': constant '%s' needs a type and dimensions that are numbers", g->name, v->name);
        if (!tni_shape_bytes(v->dtype, v->rank, dims, &numel, NULL))
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': the size of constant '%s' is negative or overflows", g->name, v->name);
        if (numel > 0 && v->data == NULL)
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': constant '%s' has %" PRId64 " elements but no data", g->name, v->name, numel);
    } else if (v->kind == IR_INPUT) {
        if (v->out_index >= g->n_inputs || g->inputs[v->out_index] != id)
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': value '%s' is marked as an input but not in the list of inputs", g->name,
                            v->name);
    } else if (v->kind != IR_NODE_OUTPUT) {
        return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': value '%s' has no valid kind", g->name, v->name);
    }
    return TN_OK;
}

static TnStatus check_counts(const IrNode *n, const TnOpInfo *info, TnError *err) {
    if (n->n_in < info->min_in || n->n_in > info->max_in)
        return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s has %" PRIu32 " inputs, expected %" PRIu32 " to %" PRIu32, info->name,
                              n->n_in, info->min_in, info->max_in);
    if (n->n_out < info->min_out || n->n_out > info->max_out)
        return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s has %" PRIu32 " outputs, expected %" PRIu32 " to %" PRIu32, info->name,
                              n->n_out, info->min_out, info->max_out);
    if (n->params == NULL)
        return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s has no parameters", info->name);
    return TN_OK;
}

static TnStatus check_control(const IrModule *m, const IrNode *n, TnError *err) {
    const TnControlParams *p = n->params;
    uint64_t captures = (uint64_t)n->n_in - 1, n_in = captures, n_out = n->n_out;
    uint32_t n_graphs = n->op == TN_OP_loop ? 1 : 2;
    if (n->op == TN_OP_loop) {
        if ((uint64_t)p->n_carried + 2 > n->n_in || (uint64_t)p->n_carried + p->n_scan != n->n_out)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name,
                                  "loop: %" PRIu32 " carried values and %" PRIu32 " scan outputs do not fit %" PRIu32 " inputs and %" PRIu32
                                  " outputs",
                                  p->n_carried, p->n_scan, n->n_in, n->n_out);
        n_in = n->n_in;
        n_out = 1 + (uint64_t)n->n_out;
    }
    for (uint32_t i = 0; i < n_graphs; i++) {
        if (p->graph[i] >= m->n_graphs)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "subgraph %" PRIu32 " does not exist", p->graph[i]);
        const IrGraph *sub = m->graphs[p->graph[i]];
        if (sub->n_inputs != n_in || sub->n_outputs != n_out)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name,
                                  "subgraph '%s' has %" PRIu32 " inputs and %" PRIu32 " outputs, expected %" PRIu64 " and %" PRIu64,
                                  sub->name, sub->n_inputs, sub->n_outputs, n_in, n_out);
    }
    return TN_OK;
}

/* Operands that min_in counts may be absent only where the operator says so: trip count and condition of a loop. */
static bool may_be_absent(const IrNode *n, const TnOpInfo *info, uint32_t i) {
    return i >= info->min_in || n->op == TN_OP_loop;
}

static TnStatus check_node(const IrModule *m, const IrGraph *g, IrNodeId k, uint8_t *defined, TnError *err) {
    const IrNode *n = &g->nodes[k];
    if (n->name == NULL || n->op >= TN_OP_COUNT)
        return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': node %" PRIu32 " has no name or no valid operator", g->name, k);
    const TnOpInfo *info = tni_op_info(n->op);
    TN_TRY(check_counts(n, info, err));
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == TN_NO_VALUE) {
            if (!may_be_absent(n, info, i))
                return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s: input %" PRIu32 " is required", info->name, i);
        } else if (n->in[i] >= g->n_values) {
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s: input %" PRIu32 " is value %" PRIu32 " of %" PRIu32, info->name, i,
                                  n->in[i], g->n_values);
        } else if (!defined[n->in[i]]) {
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s: input '%s' is read before it is made, or made by nobody", info->name,
                                  g->values[n->in[i]].name);
        }
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] == TN_NO_VALUE)
            continue;
        if (n->out[i] >= g->n_values)
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s: output %" PRIu32 " is value %" PRIu32 " of %" PRIu32, info->name, i,
                                  n->out[i], g->n_values);
        const IrValue *v = &g->values[n->out[i]];
        if (v->kind != IR_NODE_OUTPUT || v->producer != k || v->out_index != i || defined[n->out[i]])
            return tni_raise_node(err, TN_ERR_GRAPH, n->name, "%s: output '%s' is made by another node too", info->name, v->name);
        defined[n->out[i]] = 1;
    }
    return (info->flags & TN_OPF_CONTROL) != 0 ? check_control(m, n, err) : TN_OK;
}

static TnStatus check_graph(const IrModule *m, const IrGraph *g, uint8_t *defined, TnError *err) {
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        if (g->inputs[i] >= g->n_values || g->values[g->inputs[i]].kind != IR_INPUT)
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': input %" PRIu32 " is no input value", g->name, i);
    }
    for (IrValueId v = 0; v < g->n_values; v++) {
        TN_TRY(check_value(m, g, v, err));
        defined[v] = g->values[v].kind != IR_NODE_OUTPUT;
    }
    for (IrNodeId k = 0; k < g->n_nodes; k++) {
        if (!g->nodes[k].dead)
            TN_TRY(check_node(m, g, k, defined, err));
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        if (g->outputs[i] >= g->n_values)
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': output %" PRIu32 " is no value", g->name, i);
        if (!defined[g->outputs[i]])
            return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s': output '%s' is made by nobody", g->name, g->values[g->outputs[i]].name);
    }
    return TN_OK;
}

/* state: 0 not seen, 1 being walked, 2 done. Depth is bounded, so the recursion is. */
static TnStatus check_nesting(const IrModule *m, IrGraphId id, uint8_t *state, uint32_t depth, TnError *err) {
    const IrGraph *g = m->graphs[id];
    if (state[id] == 1 || depth > GRAPH_DEPTH)
        return TN_RAISE(err, TN_ERR_GRAPH, "graph '%s' contains itself, or subgraphs nest deeper than %d", g->name, GRAPH_DEPTH);
    if (state[id] == 2)
        return TN_OK;
    state[id] = 1;
    for (IrNodeId k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        if (n->dead || (tni_op_info(n->op)->flags & TN_OPF_CONTROL) == 0)
            continue;
        const TnControlParams *p = n->params;
        for (uint32_t i = 0; i < (n->op == TN_OP_loop ? 1u : 2u); i++)
            TN_TRY(check_nesting(m, p->graph[i], state, depth + 1, err));
    }
    state[id] = 2;
    return TN_OK;
}

static TnStatus check_exprs(const IrModule *m, TnError *err) {
    for (uint32_t i = 0; i < m->n_exprs; i++) {
        const TnDimExpr *e = &m->exprs[i];
        bool ok = e->op < TN_DIM_OP_COUNT;
        if (e->op == TN_DIM_SYMBOL)
            ok = e->value >= 0 && e->value < (int64_t)m->n_symbols;
        else if (e->op != TN_DIM_CONST)
            ok = ok && e->a < i && e->b < i && (e->op != TN_DIM_SELECT || e->c < i);
        if (!ok)
            return TN_RAISE(err, TN_ERR_GRAPH, "dimension expression %" PRIu32 " refers to what is not before it", i);
    }
    return TN_OK;
}

TnStatus tni_ir_verify(const IrModule *m, TnError *err) {
    const TnAllocator *a = tni_arena_allocator(m->arena);
    uint32_t most = m->n_graphs;
    TN_TRY(check_exprs(m, err));
    for (uint32_t i = 0; i < m->n_graphs; i++)
        most = TN_MAX(most, m->graphs[i]->n_values);
    uint8_t *marks = tni_calloc(a, (size_t)most + 1, 1);
    if (marks == NULL)
        return TN_OOM(err, most);
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < m->n_graphs && st == TN_OK; i++)
        st = check_graph(m, m->graphs[i], marks, err);
    memset(marks, 0, most);
    for (uint32_t i = 0; i < m->n_graphs && st == TN_OK; i++)
        st = check_nesting(m, i, marks, 0, err);
    tni_free(a, marks);
    return st;
}
