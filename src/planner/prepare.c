/* SPDX-License-Identifier: Apache-2.0
 *
 * Before anything is chosen: graphs are compacted and put in the order of programs (callers before the called), states are found, and every
 * state output gets a step that makes it, so that it can be computed straight into the state. */
#include "planner/internal.h"

bool tni_planner_is_state(const char *name) {
    return strncmp(name, PLAN_STATE_PREFIX, sizeof PLAN_STATE_PREFIX - 1) == 0;
}

uint32_t tni_planner_find_state(const Pn *pn, const char *name) {
    for (uint32_t i = 0; i < pn->n_states; i++)
        if (strcmp(pn->states[i].name, name) == 0)
            return i;
    return PLAN_NONE;
}

static TnStatus add_state(Pn *pn, IrGraphId gid, IrValueId v, TnError *err) {
    const IrGraph *g = pn->m->graphs[gid];
    const IrValue *x = &g->values[v];
    uint32_t k = tni_planner_find_state(pn, x->name);
    if (k == PLAN_NONE) {
        if (!TN_RESERVE_ONE(pn->arena, pn->states, pn->n_states, pn->cap_states))
            return TN_OOM(err, sizeof(PnState));
        pn->states[pn->n_states++] = (PnState){.name = x->name, .graph = gid, .value = v};
        return TN_OK;
    }
    const IrValue *y = &pn->m->graphs[pn->states[k].graph]->values[pn->states[k].value];
    bool same = x->dtype == y->dtype && x->rank == y->rank;
    for (int32_t d = 0; same && d < x->rank; d++)
        same = x->dims[d] == y->dims[d] || tni_ir_dim_equal(pn->m, x->dims[d], y->dims[d]);
    if (!same)
        return TN_RAISE(err, TN_ERR_GRAPH, "state '%s' has another type or other dims in graph '%s' than in graph '%s'", x->name, g->name,
                        pn->m->graphs[pn->states[k].graph]->name);
    return TN_OK;
}

/* A state output that is an input, a constant, or wanted twice, is copied by a step of its own. */
static TnStatus own_state_outputs(Pn *pn, IrGraph *g, TnError *err) {
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        IrValueId v = g->outputs[i];
        if (!tni_planner_is_state(g->values[v].name))
            continue;
        bool twice = false;
        for (uint32_t k = 0; k < i; k++)
            twice |= g->outputs[k] == v;
        if (g->values[v].kind == IR_NODE_OUTPUT && !twice)
            continue;
        const char *names[1] = {NULL};
        IrValueId copy;
        TN_TRY(tni_ir_node_add(pn->m, g, TN_OP_identity, "state", NULL, &v, 1, names, 1, &copy, err));
        IrValue *x = &g->values[v], *y = &g->values[copy];
        y->dtype = x->dtype;
        y->rank = x->rank;
        memcpy(y->dims, x->dims, sizeof y->dims);
        y->name = x->name;
        g->outputs[i] = copy;
    }
    return TN_OK;
}

static TnStatus find_states(Pn *pn, TnError *err) {
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        IrGraph *g = pn->m->graphs[i];
        TN_TRY(own_state_outputs(pn, g, err));
        for (uint32_t k = 0; k < g->n_inputs; k++)
            if (tni_planner_is_state(g->values[g->inputs[k]].name))
                TN_TRY(add_state(pn, i, g->inputs[k], err));
        for (uint32_t k = 0; k < g->n_outputs; k++)
            if (tni_planner_is_state(g->values[g->outputs[k]].name))
                TN_TRY(add_state(pn, i, g->outputs[k], err));
    }
    return TN_OK;
}

static uint32_t called(const IrNode *n, uint32_t *graphs) {
    if (!(tni_op_info(n->op)->flags & TN_OPF_CONTROL))
        return 0;
    const TnControlParams *p = n->params;
    graphs[0] = p->graph[0];
    graphs[1] = p->graph[1];
    return n->op == TN_OP_if_ ? 2 : 1;
}

/* Callers before the called, else by graph id: graph 0 becomes program 0. */
static TnStatus order_programs(Pn *pn, TnError *err) {
    const IrModule *m = pn->m;
    uint32_t *callers, sub[2];
    uint8_t *done;
    PN_ALLOC(pn, callers, m->n_graphs, err);
    PN_ALLOC(pn, done, m->n_graphs, err);
    PN_ALLOC(pn, pn->order, m->n_graphs, err);
    for (uint32_t i = 0; i < m->n_graphs; i++)
        for (uint32_t n = 0; n < m->graphs[i]->n_nodes; n++)
            for (uint32_t k = called(&m->graphs[i]->nodes[n], sub); k-- > 0;)
                callers[sub[k]]++;
    for (uint32_t n = 0; n < m->n_graphs; n++) {
        uint32_t next = 0;
        while (next < m->n_graphs && (done[next] || callers[next]))
            next++;
        if (next == m->n_graphs)
            return TN_RAISE(err, TN_ERR_GRAPH, "graphs call each other in a circle");
        done[next] = 1;
        pn->order[n] = next;
        pn->graphs[next].program = n;
        for (uint32_t i = 0; i < m->graphs[next]->n_nodes; i++)
            for (uint32_t k = called(&m->graphs[next]->nodes[i], sub); k-- > 0;)
                callers[sub[k]]--;
    }
    if (pn->order[0] != 0)
        return TN_RAISE(err, TN_ERR_GRAPH, "the main graph is called by another");
    return TN_OK;
}

static TnStatus check_inferred(const IrModule *m, const IrGraph *g, TnError *err) {
    for (uint32_t v = 0; v < g->n_values; v++) {
        const IrValue *x = &g->values[v];
        bool ok = x->dtype != TN_UNDEFINED && tn_dtype_bits(x->dtype) > 0 && x->rank >= 0 && x->rank <= TN_MAX_RANK;
        for (int32_t d = 0; ok && d < x->rank; d++)
            ok = x->dims[d] < m->n_exprs;
        if (!ok)
            return TN_RAISE(err, x->dtype == TN_STRING ? TN_ERR_UNSUPPORTED : TN_ERR_INTERNAL,
                            "tensor '%s' of graph '%s' has type %s and %s", x->name, g->name, tn_dtype_name(x->dtype),
                            x->rank < 0 ? "no known rank" : "dims that are not known");
    }
    return TN_OK;
}

bool tni_planner_aligned(const void *p, TnDtype t) {
    uintptr_t size = TN_MAX(tn_dtype_bits(t) / 8, 1u);
    return (uintptr_t)p % TN_MIN(size, (uintptr_t)8) == 0;
}

/* Model files do not align constants. Small ones, whose contents kernels and rules look at, are copied; large ones are where they are read.
 */
static TnStatus align_constants(Pn *pn, IrGraph *g, TnError *err) {
    for (uint32_t v = 0; v < g->n_values; v++) {
        TnTensor t;
        if (!tni_ir_tensor(pn->m, g, v, &t) || !t.data || tni_planner_aligned(t.data, t.dtype))
            continue;
        size_t bytes = tn_tensor_bytes(&t);
        if (bytes > 65536)
            continue;
        void *copy = tni_arena_alloc_aligned(pn->m->arena, bytes, 64);
        if (!copy)
            return TN_OOM(err, bytes);
        memcpy(copy, t.data, bytes);
        g->values[v].data = copy;
    }
    return TN_OK;
}

TnStatus tni_planner_compact(Pn *pn, TnError *err) {
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        TN_TRY(tni_ir_compact(pn->m, pn->m->graphs[i], err));
    pn->n_states = 0; /* ids have changed */
    return find_states(pn, err);
}

TnStatus tni_planner_prepare(Pn *pn, TnError *err) {
    IrModule *m = pn->m;
    if (m->n_graphs == 0)
        return TN_RAISE(err, TN_ERR_GRAPH, "the model has no graph");
    PN_ALLOC(pn, pn->graphs, m->n_graphs, err);
    TN_TRY(find_states(pn, err));
    TN_TRY(tni_planner_compact(pn, err));
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        pn->graphs[i].g = m->graphs[i];
        pn->graphs[i].id = i;
        TN_TRY(check_inferred(m, m->graphs[i], err));
        TN_TRY(align_constants(pn, m->graphs[i], err));
        PN_ALLOC(pn, pn->graphs[i].choice, m->graphs[i]->n_nodes, err);
        pn->steps_all += m->graphs[i]->n_nodes;
    }
    size_t n;
    const char *blob = tni_ir_meta_get(m, PLAN_GENERATION_KEY, &n);
    if (blob) {
        TN_TRY(tni_plan_generation_read(blob, n, &pn->gen, err));
        pn->is_generator = true;
    }
    return order_programs(pn, err);
}
