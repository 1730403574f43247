/* SPDX-License-Identifier: Apache-2.0
 *
 * Memory of one graph: which step defines which data-dependent symbol, which values share bytes (views, in place), their lives, and slots
 * of the arena at the largest shapes of the ranges. In: a graph in order. Out: place, life and slot of every value. */
#include "planner/internal.h"

static bool dims_equal(const IrModule *m, const IrValue *a, const IrValue *b) {
    if (a->rank != b->rank || tn_dtype_bits(a->dtype) != tn_dtype_bits(b->dtype))
        return false;
    for (int32_t d = 0; d < a->rank; d++)
        if (a->dims[d] != b->dims[d] && !tni_ir_dim_equal(m, a->dims[d], b->dims[d]))
            return false;
    return true;
}

/* ---- symbols that steps define ---- */

TnStatus tni_planner_defines(Pn *pn, PnGraph *pg, TnError *err) {
    const IrModule *m = pn->m;
    const IrGraph *g = pg->g;
    uint8_t *known;
    uint32_t n = 0, cap = 0;
    PN_ALLOC(pn, known, m->n_symbols, err);
    PN_ALLOC(pn, pg->first_define, g->n_nodes, err);
    for (uint32_t s = 0; s < m->n_symbols; s++)
        known[s] = !m->symbols[s].data_dependent;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        for (int32_t d = 0; d < g->values[g->inputs[i]].rank; d++)
            if (m->exprs[g->values[g->inputs[i]].dims[d]].op == TN_DIM_SYMBOL)
                known[m->exprs[g->values[g->inputs[i]].dims[d]].value] = 1;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *node = &g->nodes[k];
        pg->first_define[k] = n;
        for (uint32_t o = 0; o < node->n_out; o++) {
            if (node->out[o] == TN_NO_VALUE)
                continue;
            const IrValue *v = &g->values[node->out[o]];
            for (int32_t d = 0; d < v->rank; d++) {
                const TnDimExpr *e = &m->exprs[v->dims[d]];
                if (e->op != TN_DIM_SYMBOL || known[e->value])
                    continue;
                known[e->value] = 1;
                if (!TN_RESERVE_ONE(pn->arena, pg->defines, n, cap))
                    return TN_OOM(err, sizeof *pg->defines);
                pg->defines[n][0] = (uint32_t)e->value;
                pg->defines[n][1] = PLAN_SYMBOL_AT(o, d);
                n++;
            }
        }
    }
    pg->first_define[g->n_nodes] = n;
    return TN_OK;
}

/* Values whose dims depend on a symbol that a step of this graph defines. */
static TnStatus find_late(Pn *pn, PnGraph *pg, TnError *err) {
    const IrModule *m = pn->m;
    const IrGraph *g = pg->g;
    uint8_t *late, *symbol;
    PN_ALLOC(pn, late, m->n_exprs, err);
    PN_ALLOC(pn, symbol, m->n_symbols, err);
    PN_ALLOC(pn, pg->late, g->n_values, err);
    for (uint32_t i = 0; i < pg->first_define[g->n_nodes]; i++)
        symbol[pg->defines[i][0]] = 1;
    for (uint32_t i = 0; i < m->n_exprs; i++) {
        const TnDimExpr *e = &m->exprs[i];
        if (e->op == TN_DIM_SYMBOL)
            late[i] = symbol[e->value];
        else if (e->op != TN_DIM_CONST)
            late[i] = late[e->a] || late[e->b] || (e->op == TN_DIM_SELECT && late[e->c]);
    }
    for (uint32_t v = 0; v < g->n_values; v++)
        for (int32_t d = 0; d < g->values[v].rank; d++)
            pg->late[v] |= late[g->values[v].dims[d]];
    /* What makes its outputs itself makes all of them: a place of their own also for those whose size is known before. */
    for (uint32_t k = 0; k < g->n_nodes; k++)
        for (uint32_t i = 0; i < g->nodes[k].n_out && (tni_op_info(g->nodes[k].op)->flags & TN_OPF_DATA_SHAPE); i++)
            if (g->nodes[k].out[i] != TN_NO_VALUE)
                pg->late[g->nodes[k].out[i]] = 1;
    return TN_OK;
}

/* Values that depend on shapes alone: the runtime keeps them from run to run (runtime/kept.c), so nothing may be written over them. */
static TnStatus find_fixed(Pn *pn, PnGraph *pg, TnError *err) {
    const IrGraph *g = pg->g;
    PN_ALLOC(pn, pg->fixed, g->n_values, err);
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        bool fixed = !(tni_op_info(n->op)->flags & (TN_OPF_STATE | TN_OPF_DATA_SHAPE | TN_OPF_CONTROL));
        for (uint32_t i = 0; i < n->n_in && n->op != TN_OP_shape; i++)
            fixed = fixed && (n->in[i] == TN_NO_VALUE || tni_ir_is_const(g, n->in[i]) || pg->fixed[n->in[i]]);
        for (uint32_t i = 0; i < n->n_out && fixed; i++)
            if (n->out[i] != TN_NO_VALUE)
                pg->fixed[n->out[i]] = !pg->late[n->out[i]];
    }
    return TN_OK;
}

/* ---- places and sharing ---- */

static void own_lives(PnGraph *pg) {
    const IrGraph *g = pg->g;
    for (uint32_t v = 0; v < g->n_values; v++)
        pg->own_first[v] = pg->own_last[v] = 0;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i] != TN_NO_VALUE)
                pg->own_first[n->out[i]] = pg->own_last[n->out[i]] = k;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE)
                pg->own_last[n->in[i]] = k;
    }
    for (uint32_t v = 0; v < g->n_values; v++)
        if (g->values[v].kind == IR_CONST || (g->values[v].kind == IR_INPUT && tni_planner_is_state(g->values[v].name)))
            pg->own_last[v] = g->n_nodes;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        pg->own_last[g->outputs[i]] = g->n_nodes;
}

static void base_places(const Pn *pn, PnGraph *pg) {
    const IrGraph *g = pg->g;
    uint32_t n_inputs = 0;
    for (uint32_t v = 0; v < g->n_values; v++) {
        pg->root[v] = v;
        pg->place[v] = pg->late[v] ? PLAN_AT_DYNAMIC : PLAN_AT_ARENA;
        if (g->values[v].kind == IR_CONST)
            pg->place[v] = PLAN_AT_WEIGHT;
    }
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        IrValueId v = g->inputs[i];
        bool state = tni_planner_is_state(g->values[v].name);
        pg->place[v] = state ? PLAN_AT_STATE : PLAN_AT_INPUT;
        pg->place_arg[v] = state ? tni_planner_find_state(pn, g->values[v].name) : n_inputs++;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        IrValueId v = g->outputs[i];
        if (g->values[v].kind == IR_NODE_OUTPUT && tni_planner_is_state(g->values[v].name)) {
            pg->place[v] = PLAN_AT_STATE;
            pg->place_arg[v] = tni_planner_find_state(pn, g->values[v].name);
        }
    }
}

static bool same_memory(const PnGraph *pg, IrValueId a, IrValueId b) {
    return pg->home[a] == pg->home[b];
}

/* out 0 of node k shares the bytes of `with` (a value): lives of the root grow. */
static void share(PnGraph *pg, IrValueId out, IrValueId with) {
    uint32_t r = pg->root[with];
    pg->root[out] = r;
    pg->place[out] = PLAN_AT_ALIAS;
    pg->place_arg[out] = r;
    pg->last[r] = TN_MAX(pg->last[r], pg->own_last[out]);
}

/* An input whose memory the step may write over: it and all that share it die here, and no other operand lies there. */
static bool dies_here(const Pn *pn, const PnGraph *pg, uint32_t k, uint32_t i, uint32_t j) {
    const IrNode *n = &pg->g->nodes[k];
    IrValueId in = n->in[i];
    uint32_t r = pg->root[in];
    if ((pg->place[r] != PLAN_AT_ARENA && pg->place[r] != PLAN_AT_DYNAMIC) || pg->fixed[in])
        return false;
    if (pg->last[r] != k || !same_memory(pg, in, n->out[j]) || !dims_equal(pn->m, &pg->g->values[in], &pg->g->values[n->out[j]]))
        return false;
    for (uint32_t o = 0; o < n->n_in; o++)
        if (o != i && n->in[o] != TN_NO_VALUE && n->in[o] != in && pg->root[n->in[o]] == r)
            return false;
    return true;
}

static void share_all(const Pn *pn, PnGraph *pg) {
    const IrGraph *g = pg->g;
    for (uint32_t v = 0; v < g->n_values; v++) {
        pg->first[v] = pg->own_first[v];
        pg->last[v] = pg->own_last[v];
    }
    /* In order of the steps: when step k looks at a root, everything made so far that shares it is known, and what will be made from it
     * later keeps it alive by its own last use. */
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        uint32_t flags = tni_op_info(n->op)->flags;
        if (n->n_out == 0 || n->out[0] == TN_NO_VALUE || (pg->place[n->out[0]] != PLAN_AT_ARENA && pg->place[n->out[0]] != PLAN_AT_DYNAMIC))
            continue;
        if ((flags & TN_OPF_VIEW) && n->in[0] != TN_NO_VALUE && g->values[n->in[0]].dtype == g->values[n->out[0]].dtype &&
            same_memory(pg, n->in[0], n->out[0])) {
            share(pg, n->out[0], n->in[0]);
            continue;
        }
        if (!(flags & TN_OPF_INPLACE))
            continue;
        bool any = n->op == TN_OP_unary || n->op == TN_OP_binary || n->op == TN_OP_pointwise;
        for (uint32_t i = 0; i < (any ? n->n_in : 1); i++) {
            if (n->in[i] != TN_NO_VALUE && dies_here(pn, pg, k, i, 0)) {
                share(pg, n->out[0], n->in[i]);
                break;
            }
        }
    }
}

/* ---- slots ---- */

/* Sizes at one corner of the ranges; false: a symbol is unlimited or a dim cannot be computed there. */
static bool sizes_at(const Pn *pn, PnGraph *pg, int corner, int64_t *exprs, uint8_t *ok) {
    const IrModule *m = pn->m;
    for (uint32_t i = 0; i < m->n_exprs; i++) {
        const TnDimExpr *e = &m->exprs[i];
        ok[i] = 1;
        if (e->op == TN_DIM_CONST) {
            exprs[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            const TnSymbol *s = &m->symbols[e->value];
            exprs[i] = corner == 0 ? s->max : corner == 1 ? s->opt : s->min;
            ok[i] = !s->data_dependent && s->max != INT64_MAX;
        } else {
            bool third = e->op == TN_DIM_SELECT;
            ok[i] = ok[e->a] && ok[e->b] && (!third || ok[e->c]) &&
                    tni_dim_apply((TnDimOp)e->op, exprs[e->a], exprs[e->b], third ? exprs[e->c] : 0, &exprs[i]);
        }
    }
    for (uint32_t v = 0; v < pg->g->n_values; v++) {
        const IrValue *x = &pg->g->values[v];
        int64_t dims[TN_MAX_RANK];
        size_t bytes;
        if (pg->place[v] != PLAN_AT_ARENA)
            continue;
        for (int32_t d = 0; d < x->rank; d++) {
            if (!ok[x->dims[d]])
                return false;
            dims[d] = TN_MAX(exprs[x->dims[d]], (int64_t)0);
        }
        if (!tni_shape_bytes(x->dtype, x->rank, dims, NULL, &bytes))
            return false;
        pg->bytes[v] = TN_MAX(pg->bytes[v], (uint64_t)bytes);
    }
    return true;
}

/* Slots of the values in one memory. */
static TnStatus lay_out_memory(Pn *pn, PnGraph *pg, uint32_t memory, bool *fits, TnError *err) {
    uint32_t n_values = pg->g->n_values, n = 0, *ids, *first, *last;
    uint64_t *sizes, *offsets;
    PN_ALLOC(pn, ids, n_values, err);
    PN_ALLOC(pn, first, n_values, err);
    PN_ALLOC(pn, last, n_values, err);
    PN_ALLOC(pn, sizes, n_values, err);
    PN_ALLOC(pn, offsets, n_values, err);
    for (uint32_t v = 0; v < n_values; v++) {
        if (pg->place[v] != PLAN_AT_ARENA || pg->home[v] != memory)
            continue;
        ids[n] = v;
        sizes[n] = pg->bytes[v];
        first[n] = pg->first[v];
        last[n++] = pg->last[v];
    }
    size_t bytes = tni_plan_arena_scratch(n, pg->g->n_nodes);
    void *scratch = tni_arena_alloc_aligned(pn->arena, bytes, 64);
    if (!scratch)
        return TN_OOM(err, bytes);
    *fits = tni_plan_arena(n, pg->g->n_nodes, sizes, first, last, false, scratch, offsets, &pg->arena_bytes[memory],
                           &pg->arena_lower_bound[memory]);
    for (uint32_t i = 0; i < n && *fits; i++) {
        pg->offset[ids[i]] = offsets[i];
        pg->bytes[ids[i]] = (sizes[i] + PLAN_ALIGN - 1) & ~(uint64_t)(PLAN_ALIGN - 1);
    }
    return TN_OK;
}

static void no_slots(PnGraph *pg) {
    memset(pg->bytes, 0, pg->g->n_values * sizeof *pg->bytes);
    memset(pg->offset, 0, pg->g->n_values * sizeof *pg->offset);
    memset(pg->arena_bytes, 0, sizeof pg->arena_bytes);
    memset(pg->arena_lower_bound, 0, sizeof pg->arena_lower_bound);
}

static TnStatus lay_out(Pn *pn, PnGraph *pg, TnError *err) {
    int64_t *exprs;
    uint8_t *ok;
    bool fits = true;
    PN_ALLOC(pn, exprs, pn->m->n_exprs, err);
    PN_ALLOC(pn, ok, pn->m->n_exprs, err);
    for (int corner = 0; corner < 3; corner++) {
        if (!sizes_at(pn, pg, corner, exprs, ok)) {
            no_slots(pg);
            return TN_OK;
        }
    }
    for (uint32_t memory = 0; memory < (pn->o->lib ? 2u : 1u) && fits; memory++)
        TN_TRY(lay_out_memory(pn, pg, memory, &fits, err));
    if (!fits)
        no_slots(pg);
    return TN_OK;
}

TnStatus tni_planner_memory(Pn *pn, PnGraph *pg, TnError *err) {
    uint32_t n = pg->g->n_values;
    PN_ALLOC(pn, pg->root, n, err);
    PN_ALLOC(pn, pg->place, n, err);
    PN_ALLOC(pn, pg->place_arg, n, err);
    PN_ALLOC(pn, pg->first, n, err);
    PN_ALLOC(pn, pg->last, n, err);
    PN_ALLOC(pn, pg->own_first, n, err);
    PN_ALLOC(pn, pg->own_last, n, err);
    PN_ALLOC(pn, pg->offset, n, err);
    PN_ALLOC(pn, pg->bytes, n, err);
    TN_TRY(find_late(pn, pg, err));
    TN_TRY(find_fixed(pn, pg, err));
    own_lives(pg);
    base_places(pn, pg);
    share_all(pn, pg);
    return lay_out(pn, pg, err);
}
