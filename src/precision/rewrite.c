/* SPDX-License-Identifier: Apache-2.0
 *
 * Carries the classes out on one graph, in place: results of narrow steps take type T, constants are converted once, a cast is added once a
 * value and type where a step of the other class reads it, and becomes one step with a transpose that alone reads it. In: classes. Out: the
 * same computation, to be compacted and inferred again. */
#include "precision/internal.h"

typedef struct Rewrite {
    Pc *pc;
    PcGraph *pg;
    uint32_t n_values;    /* before the rewrite */
    IrValueId *as_narrow; /* [n_values before]: the value in T (converted constant or cast); TN_NO_VALUE: not made */
    IrValueId *as_wide;   /* [n_values before]: the narrow value in float32 */
} Rewrite;

static const char *derived_name(const Pc *pc, const char *name, TnDtype t) {
    return tni_arena_printf(pc->m->arena, "%s:%s", name, tn_dtype_name(t));
}

/* A fresh value like v but of type t, made by a new node. */
static TnStatus add_cast(Rewrite *r, IrValueId v, TnDtype t, IrValueId *out, TnError *err) {
    IrGraph *g = r->pg->g;
    const TnCastParams p = {.to = t, .saturate = 2};
    const char *name = derived_name(r->pc, g->values[v].name, t);
    if (!name)
        return TN_OOM(err, 64);
    TN_TRY(tni_ir_node_add(r->pc->m, g, TN_OP_cast, g->values[v].name, &p, &v, 1, &name, 1, out, err));
    IrValue *x = &g->values[v], *y = &g->values[*out];
    y->dtype = t;
    y->rank = x->rank;
    memcpy(y->dims, x->dims, sizeof y->dims);
    r->pc->report->n_casts++;
    return TN_OK;
}

static TnStatus add_constant(Rewrite *r, IrValueId v, IrValueId *out, TnError *err) {
    Pc *pc = r->pc;
    IrGraph *g = r->pg->g;
    TnTensor t;
    if (!tni_ir_tensor(pc->m, g, v, &t))
        return TN_RAISE(err, TN_ERR_INTERNAL, "constant '%s' has dims that are no numbers", g->values[v].name);
    const int64_t n = tn_tensor_numel(&t);
    const size_t bytes = (size_t)n * sizeof(uint16_t);
    void *data = tni_arena_alloc_aligned(pc->m->arena, TN_MAX(bytes, (size_t)1), 64);
    const char *name = derived_name(pc, g->values[v].name, pc->o->type);
    if (!data || !name)
        return TN_OOM(err, bytes);
    if (n > 0)
        tni_precision_convert(pc->o->type, t.data, n, data, pc->o->threads, &pc->report->n_saturated);
    pc->report->n_constant_bytes += bytes;
    return tni_ir_const_add(pc->m, g, name, pc->o->type, t.rank, t.dims, data, out, err);
}

static TnStatus narrow_of(Rewrite *r, IrValueId v, IrValueId *out, TnError *err) {
    if (r->pg->narrow[v]) {
        *out = v;
        return TN_OK;
    }
    if (r->as_narrow[v] == TN_NO_VALUE) {
        IrValueId made;
        if (tni_ir_is_const(r->pg->g, v))
            TN_TRY(add_constant(r, v, &made, err));
        else
            TN_TRY(add_cast(r, v, r->pc->o->type, &made, err));
        r->as_narrow[v] = made;
    }
    *out = r->as_narrow[v];
    return TN_OK;
}

static TnStatus wide_of(Rewrite *r, IrValueId v, IrValueId *out, TnError *err) {
    if (!r->pg->narrow[v]) {
        *out = v;
        return TN_OK;
    }
    if (r->as_wide[v] == TN_NO_VALUE) {
        IrValueId made;
        TN_TRY(add_cast(r, v, TN_F32, &made, err));
        r->as_wide[v] = made;
    }
    *out = r->as_wide[v];
    return TN_OK;
}

/* An additive bias in T where it is at hand or a constant that fits; else as it is. */
static bool bias_turns(const Rewrite *r, IrValueId v) {
    const PcGraph *pg = r->pg;
    if (pg->narrow[v])
        return true;
    return tni_ir_is_const(pg->g, v) && pg->constant[v] <= r->pc->limit;
}

static TnStatus rewrite_operands(Rewrite *r, uint32_t k, TnError *err) {
    PcGraph *pg = r->pg;
    for (uint32_t i = 0; i < pg->g->nodes[k].n_in; i++) {
        const IrNode *n = &pg->g->nodes[k]; /* nodes move when casts are added */
        IrValueId v = n->in[i], to = v;
        if (v == TN_NO_VALUE || pg->step[k] == PC_NONE || !(pg->narrow[v] || pg->g->values[v].dtype == TN_F32))
            continue;
        if (pg->step[k] == PC_WIDE || tni_op_host_inputs(n->op) >> i & 1u)
            TN_TRY(wide_of(r, v, &to, err));
        else if (!tni_precision_is_bias(n, i) || bias_turns(r, v))
            TN_TRY(narrow_of(r, v, &to, err));
        pg->g->nodes[k].in[i] = to;
    }
    return TN_OK;
}

static void rewrite_params(const Rewrite *r, IrNode *n) {
    const TnDtype t = r->pc->o->type;
    if (n->op == TN_OP_cast) {
        TnCastParams *p = n->params;
        *p = (TnCastParams){.to = p->to == TN_F32 ? (uint32_t)t : p->to, .saturate = 2};
    } else if (n->op == TN_OP_constant_of_shape) {
        TnFillParams *p = n->params;
        uint16_t v;
        uint64_t saturated = 0;
        if (p->dtype != TN_F32)
            return;
        tni_precision_convert(t, p->value, 1, &v, NULL, &saturated);
        memset(p->value, 0, sizeof p->value);
        memcpy(p->value, &v, sizeof v);
        p->dtype = t;
    }
}

/* Outputs of a graph keep their types; states have the one that was settled. The result of a cast takes the output's name. */
static TnStatus rewrite_outputs(Rewrite *r, TnError *err) {
    PcGraph *pg = r->pg;
    IrGraph *g = pg->g;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        IrValueId v = g->outputs[i], to = v;
        if (v >= r->n_values) /* wanted twice, and turned before */
            continue;
        const bool is_state = tni_precision_is_state(g->values[v].name);
        const bool is_float = pg->narrow[v] || g->values[v].dtype == TN_F32;
        if (!is_float || (is_state && g->values[v].kind == IR_INPUT))
            continue;
        const bool to_narrow = is_state && !r->pc->wide_states;
        if (to_narrow)
            TN_TRY(narrow_of(r, v, &to, err));
        else
            TN_TRY(wide_of(r, v, &to, err));
        if (to == v)
            continue;
        const char *name = g->values[v].name; /* the value of an input keeps its name: states that are inputs were left out above */
        if (g->values[v].kind != IR_INPUT) {
            g->values[v].name = g->values[to].name;
            g->values[to].name = name;
        }
        for (uint32_t k = i; k < g->n_outputs; k++)
            if (g->outputs[k] == v)
                g->outputs[k] = to;
    }
    return TN_OK;
}

/* ---- a cast and the transpose that reads it: one step ---- */

/* What the step would be; false: it is no transpose of a fresh cast of float32. */
static bool is_turned_cast(const PcGraph *pg, const IrUsers *users, uint32_t first_cast, const IrNode *n, const IrNode **cast) {
    const IrGraph *g = pg->g;
    if (n->op != TN_OP_transpose || n->dead || g->values[n->in[0]].kind != IR_NODE_OUTPUT || g->values[n->in[0]].producer < first_cast)
        return false;
    *cast = &g->nodes[g->values[n->in[0]].producer];
    return (*cast)->op == TN_OP_cast && tni_ir_use_count(users, n->in[0]) == 1 && g->values[(*cast)->in[0]].dtype == TN_F32;
}

/* first_cast: nodes from here on were added. */
static TnStatus turn_casts(Rewrite *r, uint32_t first_cast, TnError *err) {
    const Pc *pc = r->pc;
    IrGraph *g = r->pg->g;
    IrUsers users;
    TN_TRY(tni_ir_users(g, pc->scratch, &users, err));
    for (uint32_t k = 0; k < first_cast; k++) {
        IrNode *n = &g->nodes[k];
        const IrNode *cast;
        if (!is_turned_cast(r->pg, &users, first_cast, n, &cast) || cast->in[0] >= r->n_values)
            continue;
        const TnTransposeParams *p = n->params;
        TnTensor x = pc->o->seen[r->pg->id].shape[cast->in[0]], y = x;
        x.dtype = TN_F32;
        y.dtype = pc->o->type;
        if (x.rank != (int32_t)p->n)
            continue;
        for (int32_t d = 0; d < x.rank; d++)
            y.dims[d] = x.dims[p->perm[d]];
        TnCastTransposeParams *made = tni_arena_calloc(pc->m->arena, 1, sizeof *made);
        if (!made)
            return TN_OOM(err, sizeof *made);
        made->to = pc->o->type;
        made->n = p->n;
        memcpy(made->perm, p->perm, sizeof made->perm);
        const TnKernelQuery q = {.op = TN_OP_cast_transpose, .params = made, .in = &x, .n_in = 1, .out = &y, .n_out = 1, .threads = 1,
                                 .device = pc->o->device};
        if (!tni_precision_device_computes(&q, pc->o->lib, pc->o->math))
            continue;
        n->op = TN_OP_cast_transpose;
        n->params = made;
        g->nodes[g->values[n->in[0]].producer].dead = true;
        n->in[0] = cast->in[0];
    }
    return TN_OK;
}

static TnStatus add_note(Pc *pc, const PcGraph *pg, uint32_t k, TnError *err) {
    const IrNode *n = &pg->g->nodes[k];
    if (pg->step[k] != PC_WIDE || !pg->why[k])
        return TN_OK;
    uint32_t o = 0;
    while (o < n->n_out && n->out[o] == TN_NO_VALUE)
        o++;
    if (!TN_RESERVE_ONE(pc->m->arena, pc->notes, pc->report->n_notes, pc->cap_notes))
        return TN_OOM(err, sizeof(PrecisionNote));
    pc->notes[pc->report->n_notes++] =
        (PrecisionNote){.graph = pg->id, .value = o < n->n_out ? pg->g->values[n->out[o]].name : "", .node = n->name, .why = pg->why[k]};
    return TN_OK;
}

TnStatus tni_precision_rewrite(Pc *pc, PcGraph *pg, TnError *err) {
    IrGraph *g = pg->g;
    const uint32_t n_nodes = g->n_nodes, n_values = g->n_values;
    Rewrite r = {.pc = pc, .pg = pg, .n_values = n_values};
    PC_ALLOC(pc, r.as_narrow, n_values, err);
    PC_ALLOC(pc, r.as_wide, n_values, err);
    memset(r.as_narrow, 0xff, n_values * sizeof *r.as_narrow);
    memset(r.as_wide, 0xff, n_values * sizeof *r.as_wide);
    for (uint32_t k = 0; k < n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        TN_TRY(add_note(pc, pg, k, err));
        pc->report->n_steps += pg->step[k] != PC_NONE;
        pc->report->n_narrow += pg->step[k] == PC_NARROW;
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i] != TN_NO_VALUE && g->values[n->out[i]].dtype == TN_F32)
                pg->narrow[n->out[i]] = pg->step[k] == PC_NARROW;
    }
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const IrValue *v = &g->values[g->inputs[i]];
        pg->narrow[g->inputs[i]] = v->dtype == TN_F32 && tni_precision_is_state(v->name) && !pc->wide_states;
    }
    for (uint32_t v = 0; v < n_values; v++) {
        if (!pg->narrow[v])
            continue;
        g->values[v].dtype = pc->o->type;
        g->values[v].known = NULL;
    }
    for (uint32_t k = 0; k < n_nodes; k++) {
        TN_TRY(rewrite_operands(&r, k, err));
        if (pg->step[k] == PC_NARROW)
            rewrite_params(&r, &g->nodes[k]);
    }
    TN_TRY(rewrite_outputs(&r, err));
    TN_TRY(turn_casts(&r, n_nodes, err));
    pc->report->notes = pc->notes;
    return tni_ir_compact(pc->m, g, err);
}
