/* SPDX-License-Identifier: Apache-2.0
 *
 * Known contents become what they are:
 *
 *   shape -> gather -> mul -> concat -> (reshape)          (reshape), no shape operand
 *   shape -> gather -> unsqueeze -> (slice)         ==>    dims {seq} -> (slice)
 *
 * In: an inferred module. Out: the same computation with nobody reading the chains on the left. Works backwards: a value is needed when a
 * node that is needed reads its data; a needed value with known contents is replaced, so that its producer is not needed by it. */
#include "shape/rule.h"

/* Contents that can stand for the value: integers of rank <= 1 that are known when the run starts. */
static bool replaceable(const IrModule *m, const IrGraph *g, IrValueId id) {
    const IrValue *v = &g->values[id];
    if (v->kind != IR_NODE_OUTPUT || v->elems == NULL || v->rank > 1 || v->n_elems > TN_DIMS_MAX ||
        (v->dtype != TN_I64 && v->dtype != TN_I32))
        return false;
    if (g->nodes[v->producer].op == TN_OP_dims)
        return false;
    for (uint32_t i = 0; i < v->n_elems; i++) {
        if (tni_shape_depends_on_data(m, v->elems[i]))
            return false;
    }
    return true;
}

/* A reshape whose shape operand says nothing that the output's dims do not say. */
static bool shape_operand_spare(const IrModule *m, const IrGraph *g, const IrNode *n) {
    if (n->op != TN_OP_reshape || ((const TnReshapeParams *)n->params)->kind != TN_RESHAPE_SHAPE || n->n_in < 2 ||
        n->in[1] == TN_NO_VALUE || n->out[0] == TN_NO_VALUE)
        return false;
    const IrValue *v = &g->values[n->out[0]];
    for (int32_t i = 0; i < v->rank; i++) {
        if (tni_shape_depends_on_data(m, v->dims[i]))
            return false;
    }
    return v->rank >= 0;
}

static void mark_needed(const IrModule *m, const IrGraph *g, uint8_t *need) {
    for (uint32_t i = 0; i < g->n_outputs; i++)
        need[g->outputs[i]] = 1;
    for (IrNodeId k = g->n_nodes; k-- > 0;) {
        const IrNode *n = &g->nodes[k];
        bool live = (tni_op_info(n->op)->flags & (TN_OPF_STATE | TN_OPF_CONTROL)) != 0;
        if (n->dead)
            continue;
        for (uint32_t i = 0; i < n->n_out; i++)
            live = live || (n->out[i] != TN_NO_VALUE && need[n->out[i]] && !replaceable(m, g, n->out[i]));
        bool reads_data = n->op != TN_OP_shape && n->op != TN_OP_size;
        for (uint32_t i = 0; live && reads_data && i < n->n_in; i++) {
            if (n->in[i] != TN_NO_VALUE && !(i == 1 && shape_operand_spare(m, g, n)))
                need[n->in[i]] = 1;
        }
    }
}

/* A constant or a node `dims` with the contents of v. */
static TnStatus replacement(IrModule *m, IrGraph *g, IrValueId id, IrValueId *out, TnError *err) {
    const IrValue v = g->values[id];
    int64_t numbers[TN_DIMS_MAX], dims[1] = {v.n_elems};
    int32_t narrow[TN_DIMS_MAX];
    bool constant = true;
    TnDimsParams p = {.dtype = v.dtype, .rank = (uint32_t)v.rank, .n = v.n_elems};
    for (uint32_t i = 0; i < v.n_elems; i++) {
        p.dim[i] = v.elems[i];
        constant = constant && tni_ir_dim_is_const(m, v.elems[i], &numbers[i]);
        narrow[i] = constant ? (int32_t)numbers[i] : 0;
    }
    if (constant)
        return tni_ir_const_copy(m, g, NULL, v.dtype, v.rank, dims, v.dtype == TN_I64 ? (const void *)numbers : (const void *)narrow, out,
                                 err);
    const IrNode *producer = &g->nodes[v.producer];
    TN_TRY(tni_ir_node_add(m, g, TN_OP_dims, producer->name, &p, NULL, 0, NULL, 1, out, err));
    return tni_shape_infer_node(m, g, g->n_nodes - 1, err);
}

static TnStatus materialize_graph(IrModule *m, IrGraph *g, uint8_t *need, uint32_t *changed, TnError *err) {
    uint32_t n_values = g->n_values, n_nodes = g->n_nodes, before = *changed;
    mark_needed(m, g, need);
    for (IrNodeId k = 0; k < n_nodes; k++) {
        IrNode *n = &g->nodes[k];
        if (n->dead || !shape_operand_spare(m, g, n))
            continue;
        n->n_in = 1;
        (*changed)++;
    }
    for (IrValueId v = 0; v < n_values; v++) {
        IrValueId to;
        if (!need[v] || !replaceable(m, g, v))
            continue;
        TN_TRY(replacement(m, g, v, &to, err));
        tni_ir_replace_uses(g, v, to);
        (*changed)++;
    }
    return *changed != before ? tni_ir_compact(m, g, err) : TN_OK;
}

TnStatus tni_shape_materialize(IrModule *m, uint32_t *changed, TnError *err) {
    const TnAllocator *a = tni_arena_allocator(m->arena);
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        IrGraph *g = m->graphs[i];
        uint8_t *need = tni_calloc(a, (size_t)g->n_values + 1, 1);
        if (need == NULL)
            return TN_OOM(err, g->n_values);
        TnStatus st = materialize_graph(m, g, need, changed, err);
        tni_free(a, need);
        TN_TRY(st);
    }
    return TN_OK;
}
