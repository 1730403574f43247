/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs every graph once on samples, step by step, so that each kernel is chosen and verified on the tensors that it will see. A step that
 * cannot run (made-up indices out of range, a branch that is not taken) leaves made-up tensors behind, so that the rest goes on. */
#include "backend/registry.h"
#include "base/dtype.h"
#include "interp/interp.h"
#include "planner/internal.h"

#include <stdio.h>

/* Tensors of a graph while it runs. */
typedef struct Env {
    PnGraph *pg;
    TnTensor *t; /* data NULL: only on the device, or, without that too, zeros that nobody has needed yet */
    void **dev;  /* on the device; NULL: not there */
    uint8_t *owned;
    uint32_t *uses;
} Env;

static TnStatus run_graph(Pn *pn, PnGraph *pg, const TnTensor *inputs, TnError *err);

static void drop(Pn *pn, Env *e, IrValueId v) {
    if (e->owned[v])
        tni_free(pn->alloc, e->t[v].data);
    tni_planner_device_give(pn, e->dev[v]);
    e->dev[v] = NULL;
    e->owned[v] = 0;
    e->t[v].data = NULL;
}

/* The host reads v. */
static TnStatus need_on_host(Pn *pn, Env *e, IrValueId v, TnError *err) {
    TnTensor *t = &e->t[v];
    if (v == TN_NO_VALUE || t->data || t->dtype == TN_UNDEFINED || tni_ir_is_const(e->pg->g, v))
        return TN_OK;
    const size_t bytes = tn_tensor_bytes(t);
    t->data = tni_alloc_aligned(pn->alloc, bytes, 64);
    if (!t->data)
        return TN_OOM(err, bytes);
    e->owned[v] = 1;
    if (e->dev[v])
        return tni_planner_device_read(pn, t->data, e->dev[v], 0, bytes, err);
    memset(t->data, 0, bytes);
    return TN_OK;
}

static TnStatus env_create(Pn *pn, PnGraph *pg, Env *e, TnError *err) {
    const IrGraph *g = pg->g;
    e->pg = pg;
    PN_ALLOC(pn, e->t, g->n_values, err);
    PN_ALLOC(pn, e->dev, g->n_values, err);
    PN_ALLOC(pn, e->owned, g->n_values, err);
    PN_ALLOC(pn, e->uses, g->n_values, err);
    for (uint32_t v = 0; v < g->n_values; v++)
        if (tni_ir_is_const(g, v) && !tni_ir_tensor(pn->m, g, v, &e->t[v]))
            return TN_RAISE(err, TN_ERR_INTERNAL, "constant '%s' has dims that are no numbers", g->values[v].name);
    for (uint32_t k = 0; k < g->n_nodes; k++)
        for (uint32_t i = 0; i < g->nodes[k].n_in; i++)
            if (g->nodes[k].in[i] != TN_NO_VALUE)
                e->uses[g->nodes[k].in[i]]++;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        e->uses[g->outputs[i]]++;
    return TN_OK;
}

/* Symbols that node k defines, from the dims of its outputs; unknown ones become 1. */
static void define(Pn *pn, const Env *e, uint32_t k, const TnTensor *out) {
    const PnGraph *pg = e->pg;
    for (uint32_t i = pg->first_define[k]; i < pg->first_define[k + 1]; i++) {
        uint32_t s = pg->defines[i][0], at = pg->defines[i][1];
        pn->symbols[s] = out ? out[at >> 8].dims[at & 255] : 1;
        pn->symbol_known[s] = 1;
    }
    if (pg->first_define[k] != pg->first_define[k + 1])
        tni_planner_evaluate(pn);
}

/* Made-up outputs for a node that could not run. */
static TnStatus invent(Pn *pn, Env *e, uint32_t k, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    define(pn, e, k, NULL);
    for (uint32_t i = 0; i < n->n_out; i++) {
        IrValueId v = n->out[i];
        if (v == TN_NO_VALUE)
            continue;
        drop(pn, e, v);
        tni_planner_dims(pn, &e->pg->g->values[v], &e->t[v]);
        TN_TRY(tni_planner_fill(pn, &e->t[v], e->pg->g->values[v].name, 3, err));
        e->owned[v] = 1;
    }
    return TN_OK;
}

/* dims of the outputs of a node before it runs; from contents when the node defines them. DATA_SHAPE: left to the kernel. */
static TnStatus output_dims(Pn *pn, const Env *e, uint32_t k, const PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    bool defines = e->pg->first_define[k] != e->pg->first_define[k + 1];
    for (uint32_t i = 0; i < n->n_out; i++) {
        c->out[i] = (TnTensor){.dtype = TN_UNDEFINED};
        if (n->out[i] != TN_NO_VALUE)
            tni_planner_dims(pn, &e->pg->g->values[n->out[i]], &c->out[i]);
    }
    PlanCheck pc = {.op = n->op,
                    .params = n->params,
                    .in = c->in,
                    .n_in = c->n_in,
                    .out = c->out,
                    .n_out = c->n_out,
                    .n_exprs = pn->m->n_exprs,
                    .device = c->on != TN_DEVICE_CPU,
                    .infer = true,
                    .err = err};
    if (tni_op_info(n->op)->flags & TN_OPF_DATA_SHAPE)
        return TN_OK;
    if (defines) {
        TN_TRY(tni_plan_check(&pc));
        define(pn, e, k, c->out);
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i] != TN_NO_VALUE)
                tni_planner_dims(pn, &e->pg->g->values[n->out[i]], &c->out[i]);
    }
    pc.infer = false;
    return tni_plan_check(&pc);
}

static TnStatus allocate(Pn *pn, Env *e, const IrNode *n, PnCase *c, TnError *err) {
    for (uint32_t i = 0; i < n->n_out; i++) {
        IrValueId v = n->out[i];
        size_t bytes;
        if (v == TN_NO_VALUE)
            continue;
        if (!tni_shape_bytes(c->out[i].dtype, c->out[i].rank, c->out[i].dims, NULL, &bytes))
            return TN_RAISE(err, TN_ERR_LIMIT, "tensor '%s' is too large at the opt shapes", e->pg->g->values[v].name);
        if (c->on_out) { /* stays on the device */
            e->t[v] = c->out[i];
            continue;
        }
        c->out[i].data = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!c->out[i].data)
            return TN_OOM(err, bytes);
        e->t[v] = c->out[i];
        e->owned[v] = 1;
    }
    return TN_OK;
}

/* Made-up rows for results of no rows, as made-up inputs often give: what follows would be chosen for nothing at all. Indices are zeros, boxes
 * the first ones. With the caller's samples too, unless it is numbers that are looked at. */
#define ROWS_MADE_UP 100
static TnStatus make_up_rows(Pn *pn, const Env *e, uint32_t k, const PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    bool some = false;
    for (uint32_t i = e->pg->first_define[k]; i < e->pg->first_define[k + 1] && !(pn->seen && pn->o->samples); i++) {
        const uint32_t s = e->pg->defines[i][0];
        const TnDim bound = pn->m->symbols[s].bound;
        if (pn->symbols[s] != 0 || bound == TN_DIM_NONE || !pn->opt_known[bound] || pn->opt[bound] < 1)
            continue;
        pn->symbols[s] = TN_MIN(pn->opt[bound], (int64_t)ROWS_MADE_UP);
        some = true;
    }
    if (!some)
        return TN_OK;
    tni_planner_evaluate(pn);
    for (uint32_t i = 0; i < n->n_out; i++) {
        TnTensor *t = &c->out[i];
        if (n->out[i] == TN_NO_VALUE)
            continue;
        tni_free(pn->alloc, t->data);
        t->data = NULL;
        tni_planner_dims(pn, &e->pg->g->values[n->out[i]], t);
        TN_TRY(tni_planner_fill(pn, t, n->name, 4, err));
        if (!tni_dtype_is_float(t->dtype))
            memset(t->data, 0, tn_tensor_bytes(t));
        for (int64_t r = 0; n->op == TN_OP_non_max_suppression && r < t->dims[0]; r++)
            tni_store_i64(t->dtype, t->data, 3 * r + 2, r % c->in[0].dims[1]);
    }
    return TN_OK;
}

/* A kernel that sizes its outputs itself: the reference, or another, held against it. */
static TnStatus run_data_shape(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    TnStatus st = TN_OK;
    c->on = TN_DEVICE_CPU;
    for (uint32_t i = 0; i < n->n_out; i++) { /* the kernel adds dims and data to those that are wanted */
        const IrValue *v = n->out[i] == TN_NO_VALUE ? NULL : &e->pg->g->values[n->out[i]];
        c->out[i] = (TnTensor){.dtype = v ? v->dtype : TN_UNDEFINED, .rank = v ? v->rank : 0};
    }
    TN_TRY(tni_planner_choose_reference(pn, n->op, "it decides the shape of its result", &e->pg->choice[k], err));
    st = tni_planner_call(pn, e->pg->choice[k]->kernel, c, c->out, 1, NULL, err);
    c->on = e->pg->on[k];
    if (st == TN_OK && (c->on != TN_DEVICE_CPU || !pn->seen))
        st = tni_planner_choose_sized(pn, c, &e->pg->choice[k], err);
    if (st == TN_OK) {
        define(pn, e, k, c->out);
        st = make_up_rows(pn, e, k, c, err);
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] == TN_NO_VALUE || !c->out[i].data)
            continue;
        e->t[n->out[i]] = c->out[i];
        e->owned[n->out[i]] = 1;
    }
    return st;
}

/* Made-up indices may point outside: zeros never do (unless there is nothing to point at). Replaces integer operands that are computed. */
static TnStatus zero_indices(Pn *pn, const Env *e, const IrNode *n, const PnCase *c, TnError *err) {
    for (uint32_t i = 0; i < n->n_in; i++) {
        IrValueId v = n->in[i];
        if (v == TN_NO_VALUE || !(e->owned[v] || e->dev[v]) || (e->t[v].dtype != TN_I32 && e->t[v].dtype != TN_I64))
            continue;
        const size_t bytes = tn_tensor_bytes(&e->t[v]);
        if (e->t[v].data)
            memset(e->t[v].data, 0, bytes);
        if (c->on_in && c->on_in[i])
            TN_TRY(tni_planner_device_zero(pn, c->on_in[i], bytes, err));
    }
    return TN_OK;
}

static TnStatus zero_results(Pn *pn, const PnCase *c, TnError *err) {
    for (uint32_t i = 0; i < c->n_out; i++) {
        if (c->out[i].dtype == TN_UNDEFINED)
            continue;
        if (c->out[i].data)
            memset(c->out[i].data, 0, tn_tensor_bytes(&c->out[i]));
        if (c->on_out && c->on_out[i])
            TN_TRY(tni_planner_device_zero(pn, c->on_out[i], tn_tensor_bytes(&c->out[i]), err));
    }
    return TN_OK;
}

static TnStatus choose_and_call(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    TN_TRY(tni_planner_choose(pn, c, &e->pg->choice[k], err));
    const PnChoice *choice = e->pg->choice[k];
    if (choice->unmet || (pn->dry && c->on != TN_DEVICE_CPU)) {
        return zero_results(pn, c, err);
    }
    if (c->done)
        return TN_OK;
    TnError why = {0};
    TnStatus st = tni_planner_call(pn, choice->kernel, c, c->out, 1, NULL, &why);
    if (st != TN_OK && pn->seen) /* nothing was verified: the estimate may have been wrong */
        st = tni_planner_call(pn, tni_kernel_ref(c->op), c, c->out, 1, NULL, &why);
    if (st != TN_OK && err)
        *err = why;
    return st;
}

/* A copy between memories: the runtime does it, and here both are the host's. */
static TnStatus run_transfer(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    TN_TRY(tni_planner_choose_reference(pn, TN_OP_copy, "between the memories of host and device", &e->pg->choice[k], err));
    TN_TRY(allocate(pn, e, &e->pg->g->nodes[k], c, err));
    if (c->in[0].data)
        memcpy(c->out[0].data, c->in[0].data, tn_tensor_bytes(&c->in[0]));
    return TN_OK;
}

static TnStatus run_plain(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    if (tni_op_info(n->op)->flags & TN_OPF_DATA_SHAPE)
        return run_data_shape(pn, e, k, c, err);
    TN_TRY(output_dims(pn, e, k, c, err));
    if (tni_planner_is_transfer(e->pg, k))
        return run_transfer(pn, e, k, c, err);
    TN_TRY(allocate(pn, e, n, c, err));
    TnStatus st = choose_and_call(pn, e, k, c, err);
    if (st != TN_ERR_RUN || pn->o->samples)
        return st;
    TN_TRY(zero_indices(pn, e, n, c, err));
    return choose_and_call(pn, e, k, c, err);
}

/* Kernels of the called graphs are chosen on the operands of this call; the results come from the interpreter. */
static TnStatus run_control(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    const TnControlParams *p = n->params;
    int64_t iteration = 0;
    uint8_t cond = 1;
    TnTensor *inputs;
    PN_ALLOC(pn, inputs, n->n_in, err);
    TN_TRY(tni_planner_choose_reference(pn, n->op, "run by the runtime", &e->pg->choice[k], err));
    for (uint32_t i = 0; i < n->n_in; i++)
        inputs[i] = c->in[i];
    if (n->op == TN_OP_if_) {
        TN_TRY(run_graph(pn, &pn->graphs[p->graph[0]], inputs + 1, err));
        TN_TRY(run_graph(pn, &pn->graphs[p->graph[1]], inputs + 1, err));
    } else {
        inputs[0] = (TnTensor){.data = &iteration, .dtype = TN_I64};
        inputs[1] = (TnTensor){.data = &cond, .dtype = TN_BOOL};
        TN_TRY(run_graph(pn, &pn->graphs[p->graph[0]], inputs, err));
    }
    TN_TRY(tni_interp_node(pn->m, n, c->in, c->out, pn->alloc, pn->threads, err));
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] == TN_NO_VALUE) {
            tni_free(pn->alloc, c->out[i].data);
            continue;
        }
        e->t[n->out[i]] = c->out[i];
        e->owned[n->out[i]] = 1;
    }
    define(pn, e, k, c->out);
    return TN_OK;
}

/* What the device has of the operands and results is kept for the steps that follow; constants and states are not (they are read once, or
 * change). */
static void keep_on_device(Pn *pn, Env *e, const IrNode *n, const PnCase *c) {
    for (uint32_t i = 0; i < PN_PACKED && c->packed; i++)
        tni_planner_device_give(pn, c->packed[i].on);
    for (uint32_t i = 0; i < n->n_in; i++) {
        IrValueId v = n->in[i];
        if (v == TN_NO_VALUE || !c->on_in[i] || c->on_in[i] == e->dev[v])
            continue;
        if (e->dev[v] || c->constant[i] || tni_planner_is_state(e->pg->g->values[v].name))
            tni_planner_device_give(pn, c->on_in[i]);
        else
            e->dev[v] = c->on_in[i];
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] != TN_NO_VALUE)
            e->dev[n->out[i]] = c->on_out ? c->on_out[i] : NULL;
        else if (c->on_out)
            tni_planner_device_give(pn, c->on_out[i]);
    }
}

/* Which memories the operands and results of node k are in while it is tried. */
static TnStatus memories(Pn *pn, Env *e, uint32_t k, PnCase *c, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    const uint32_t flags = tni_op_info(n->op)->flags;
    const bool on_device = c->on != TN_DEVICE_CPU && !tni_planner_is_transfer(e->pg, k);
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!on_device || (flags & (TN_OPF_STATE | TN_OPF_DATA_SHAPE)) || (i < 32 && (tni_op_host_inputs(n->op) >> i & 1u)))
            TN_TRY(need_on_host(pn, e, n->in[i], err));
    if (c->on == TN_DEVICE_CPU)
        return TN_OK;
    PN_ALLOC(pn, c->on_in, n->n_in, err);
    PN_ALLOC(pn, c->packed, PN_PACKED, err);
    for (uint32_t i = 0; i < n->n_in && on_device; i++)
        c->on_in[i] = n->in[i] == TN_NO_VALUE ? NULL : e->dev[n->in[i]];
    if (on_device && !(flags & TN_OPF_DATA_SHAPE))
        PN_ALLOC(pn, c->on_out, n->n_out, err);
    return TN_OK;
}

static TnStatus run_node(Pn *pn, Env *e, uint32_t k, TnError *err) {
    const IrGraph *g = e->pg->g;
    const IrNode *n = &g->nodes[k];
    bool *constant;
    TnError why = {0};
    PnCase c = {.op = n->op, .params = n->params, .n_in = n->n_in, .n_out = n->n_out, .name = n->name, .runnable = true};
    PN_ALLOC(pn, c.in, n->n_in, err);
    PN_ALLOC(pn, c.out, n->n_out, err);
    PN_ALLOC(pn, constant, n->n_in, err);
    c.constant = constant;
    c.dims = pn->opt;
    c.on = e->pg->on[k];
    c.at_opt = e->pg->at_opt ? e->pg->at_opt[k] : NULL;
    TN_TRY(memories(pn, e, k, &c, err));
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == TN_NO_VALUE)
            continue;
        c.in[i] = e->t[n->in[i]];
        constant[i] = tni_ir_is_const(g, n->in[i]);
    }
    bool control = (tni_op_info(n->op)->flags & TN_OPF_CONTROL) != 0;
    TnStatus st = control ? run_control(pn, e, k, &c, &why) : run_plain(pn, e, k, &c, &why);
    if (c.on_in)
        keep_on_device(pn, e, n, &c);
    if (st == TN_ERR_MEMORY || st == TN_ERR_DEVICE || st == TN_ERR_STATE || st == TN_ERR_INTERNAL || st == TN_ERR_UNSUPPORTED) {
        if (err)
            *err = why;
        return st;
    }
    if (st == TN_OK)
        return TN_OK;
    if (pn->strict) {
        pn->gave_up = true;
        return st;
    }
    tni_log(pn->o->log, TN_LOG_INFO, "node '%s' could not run on the sample inputs: %s", n->name, why.message);
    if (!e->pg->choice[k])
        TN_TRY(tni_planner_choose_unrun(pn, e->pg, k, "it could not run on the sample inputs, so no other kernel could be verified",
                                        &e->pg->choice[k], err));
    return invent(pn, e, k, err);
}

static TnStatus run_nodes(Pn *pn, Env *e, TnError *err) {
    const IrGraph *g = e->pg->g;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        if (pn->o->progress && pn->o->progress->fn && pn->steps_done <= pn->steps_all &&
            pn->o->progress->fn(pn->o->progress->ctx, pn->o->tune ? "tune" : "verify", pn->steps_done, pn->steps_all))
            return TN_RAISE(err, TN_ERR_STATE, "stopped");
        pn->steps_done++;
        TN_TRY(run_node(pn, e, k, err));
        const IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_out && pn->seen; i++)
            if (n->out[i] != TN_NO_VALUE)
                tni_planner_see(pn, e->pg->id, n->out[i], &e->t[n->out[i]]);
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE && --e->uses[n->in[i]] == 0)
                drop(pn, e, n->in[i]);
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i] != TN_NO_VALUE && e->uses[n->out[i]] == 0)
                drop(pn, e, n->out[i]);
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        uint32_t s = tni_planner_find_state(pn, g->values[g->outputs[i]].name);
        if (s != PLAN_NONE)
            TN_TRY(need_on_host(pn, e, g->outputs[i], err));
        const TnTensor *t = &e->t[g->outputs[i]];
        if (s != PLAN_NONE && t->data && t->data != pn->states[s].sample.data && tni_plan_same(t, &pn->states[s].sample))
            memcpy(pn->states[s].sample.data, t->data, tn_tensor_bytes(t));
    }
    return TN_OK;
}

/* inputs NULL: a graph that nobody calls, on samples. */
static TnStatus run_graph(Pn *pn, PnGraph *pg, const TnTensor *inputs, TnError *err) {
    Env e = {0};
    TnStatus st = env_create(pn, pg, &e, err);
    const IrGraph *g = pg->g;
    for (uint32_t i = 0; st == TN_OK && i < g->n_inputs; i++) {
        IrValueId v = g->inputs[i];
        if (!inputs) {
            st = tni_planner_sample(pn, pg, i, &e.t[v], &e.owned[v], err);
            continue;
        }
        e.t[v] = inputs[i];
        /* Symbols of a called graph's inputs take the sizes of this call. */
        for (int32_t d = 0; d < g->values[v].rank && d < inputs[i].rank; d++) {
            const TnDimExpr *x = &pn->m->exprs[g->values[v].dims[d]];
            if (x->op == TN_DIM_SYMBOL && pn->m->symbols[x->value].data_dependent) {
                pn->symbols[x->value] = inputs[i].dims[d];
                pn->symbol_known[x->value] = 1;
            }
        }
    }
    if (st == TN_OK && inputs)
        tni_planner_evaluate(pn);
    for (uint32_t i = 0; st == TN_OK && i < g->n_inputs && pn->seen; i++)
        tni_planner_see(pn, pg->id, g->inputs[i], &e.t[g->inputs[i]]);
    if (st == TN_OK)
        st = run_nodes(pn, &e, err);
    for (uint32_t v = 0; e.owned && e.t && e.dev && v < g->n_values; v++)
        drop(pn, &e, v);
    return st;
}

static TnStatus all_reference(Pn *pn, TnError *err) {
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        for (uint32_t k = 0; k < pn->graphs[i].g->n_nodes; k++)
            if (!pn->graphs[i].choice[k])
                TN_TRY(tni_planner_choose_unrun(pn, &pn->graphs[i], k,
                                                pn->o->reference ? "only reference kernels were asked for"
                                                                 : "it never ran on the sample inputs",
                                                &pn->graphs[i].choice[k], err));
    return TN_OK;
}

/* All graphs that nobody calls, on the present sizes. */
static TnStatus run_all(Pn *pn, const uint8_t *is_called, TnError *err) {
    pn->steps_done = 0;
    if (pn->seen)
        tni_planner_forget(pn);
    TN_TRY(tni_planner_state_samples(pn, err));
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        if (!is_called[pn->order[i]])
            TN_TRY(run_graph(pn, &pn->graphs[pn->order[i]], NULL, err));
    return TN_OK;
}

#define MOST_GUESSED ((size_t)1 << 32) /* bytes of inputs of a size that nobody asked for */

/* A symbol of a picture's side may stand in an input several times. */
static bool guess_is_huge(const Pn *pn) {
    const IrGraph *g = pn->m->graphs[0];
    size_t sum = 0, bytes;
    int64_t n;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        TnTensor t;
        if (!tni_planner_dims(pn, &g->values[g->inputs[i]], &t))
            continue;
        if (!tni_shape_bytes(t.dtype, t.rank, t.dims, &n, &bytes) || bytes > MOST_GUESSED - sum)
            return true;
        sum += bytes;
    }
    return false;
}

/* Sizes that nobody has given are guessed: the first guess on which every step runs; if there is none, the one that came furthest. Guesses that
 * make huge inputs are left out, but for the last. */
static TnStatus guess_and_run(Pn *pn, const uint8_t *is_called, TnError *err) {
    uint32_t n = tni_planner_guesses(pn), best = 0;
    size_t furthest = 0;
    for (uint32_t i = 0; n > 1 && i < n; i++) {
        TnError why = {0};
        tni_planner_guess(pn, i);
        if (i + 1 < n && guess_is_huge(pn)) {
            best = i + 1;
            continue;
        }
        pn->guess = i;
        pn->strict = true;
        pn->gave_up = false;
        TnStatus st = run_all(pn, is_called, &why);
        pn->strict = false;
        if (st == TN_OK)
            return TN_OK;
        if (!pn->gave_up) {
            if (err)
                *err = why;
            return st;
        }
        if (pn->steps_done > furthest) {
            furthest = pn->steps_done;
            best = i;
        }
    }
    if (n > 1) {
        tni_planner_guess(pn, best);
        pn->guess = best;
    }
    return run_all(pn, is_called, err);
}

/* Choices of a dry run that did not get through. */
static void forget_choices(Pn *pn) {
    memset(pn->choices, 0, pn->cap_choices * sizeof *pn->choices);
    pn->n_choices = 0;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        memset(pn->graphs[i].choice, 0, pn->graphs[i].g->n_nodes * sizeof *pn->graphs[i].choice);
}

/* With a device: from the timing cache when every choice is there, so that nothing has to run; else by running. */
static TnStatus run_on_device(Pn *pn, const uint8_t *is_called, TnError *err) {
    TnError why = {0};
    pn->dry = !pn->device;
    if (pn->device && pn->o->tune && !tni_planner_timings_empty(pn)) {
        pn->dry = pn->from_cache = true;
        TnStatus st = guess_and_run(pn, is_called, &why);
        pn->dry = pn->from_cache = false;
        if (st == TN_OK)
            return TN_OK;
        if (!pn->missed) {
            if (err)
                *err = why;
            return st;
        }
        forget_choices(pn);
    }
    TN_TRY(guess_and_run(pn, is_called, err));
    if (pn->n_unmet == 0)
        return TN_OK;
    char text[900] = "";
    for (uint32_t i = 0; i < pn->n_unmet && i < 8; i++) {
        size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s", at ? ", " : "", pn->unmet[i]);
    }
    return TN_RAISE(err, TN_ERR_INEXACT, "no kernel of %s agrees with the reference on %u steps: %s%s", pn->o->lib->name, pn->n_unmet, text,
                    pn->n_unmet > 8 ? ", ..." : "");
}

TnStatus tni_planner_run(Pn *pn, TnError *err) {
    uint8_t *is_called;
    PN_ALLOC(pn, is_called, pn->m->n_graphs, err);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        const IrGraph *g = pn->graphs[i].g;
        TN_TRY(tni_planner_defines(pn, &pn->graphs[i], err));
        for (uint32_t k = 0; k < g->n_nodes; k++) {
            if (!(tni_op_info(g->nodes[k].op)->flags & TN_OPF_CONTROL))
                continue;
            const TnControlParams *p = g->nodes[k].params;
            is_called[p->graph[0]] = 1;
            if (g->nodes[k].op == TN_OP_if_)
                is_called[p->graph[1]] = 1;
        }
    }
    if (pn->o->reference)
        return all_reference(pn, err);
    if (pn->o->lib)
        TN_TRY(run_on_device(pn, is_called, err));
    else
        TN_TRY(guess_and_run(pn, is_called, err));
    return pn->seen ? TN_OK : all_reference(pn, err);
}
