/* SPDX-License-Identifier: Apache-2.0
 *
 * From decisions to records: symbols, expressions, states, programs, values, steps, constants (equal ones once, packed where the kernel
 * wants it, the plain form only where somebody reads it). In: graphs with kernels and places. Out: the sections of the writer. */
#include "planner/internal.h"

#include <stdio.h>

/* A constant or its packed form in the weights. */
typedef struct Blob {
    uint64_t key; /* hash of contents and packing; 0: free */
    const void *data;
    uint64_t bytes;  /* of the source */
    uint64_t offset; /* in the weights */
    uint64_t stored;
    const TnKernel *kernel; /* NULL: as is */
    uint64_t shape;         /* hash of what packing depends on besides the contents */
} Blob;

typedef struct Fill {
    const TnAllocator *alloc;
    const void *data;
    size_t bytes;
    const TnKernel *kernel; /* pack input i of q */
    TnKernelQuery q;
    uint32_t i;
} Fill;

typedef struct Emit {
    Pn *pn;
    PlanWriter *w;
    Blob *blobs;
    uint32_t n_blobs, cap_blobs;
    uint32_t cpu;
    /* of the current graph */
    PnGraph *pg;
    uint32_t *id; /* [n_values]: plan value, PLAN_NONE = not stored */
    PlanValue *values;
    uint32_t n_values, cap_values;
    uint8_t *plain; /* [n_values]: a constant somebody reads unpacked */
} Emit;

static TnStatus fill_blob(void *ctx, void *dst, TnError *err) {
    const Fill *f = ctx;
    if (!f->kernel) {
        memcpy(dst, f->data, f->bytes);
        return TN_OK;
    }
    TnTensor *t = (TnTensor *)(uintptr_t)&f->q.in[f->i]; /* the copy that find_blob made */
    void *copy = NULL;
    if (!tni_planner_aligned(f->data, t->dtype)) {
        copy = tni_alloc_aligned(f->alloc, f->bytes, 64);
        if (!copy)
            return TN_OOM(err, f->bytes);
        memcpy(copy, f->data, f->bytes);
        t->data = copy;
    }
    f->kernel->pack(&f->q, f->i, dst);
    tni_free(f->alloc, copy);
    return TN_OK;
}

/* ---- constants ---- */

static TnStatus grow_blobs(Emit *e, TnError *err) {
    uint32_t cap = e->cap_blobs ? e->cap_blobs * 2 : 1024;
    Blob *t = tni_arena_calloc(e->pn->arena, cap, sizeof *t);
    if (!t)
        return TN_OOM(err, cap * sizeof *t);
    for (uint32_t i = 0; i < e->cap_blobs; i++) {
        if (!e->blobs[i].key)
            continue;
        uint32_t h = (uint32_t)e->blobs[i].key & (cap - 1);
        while (t[h].key)
            h = (h + 1) & (cap - 1);
        t[h] = e->blobs[i];
    }
    e->blobs = t;
    e->cap_blobs = cap;
    return TN_OK;
}

/* The stored blob of these contents, reserved when it is new. */
static TnStatus find_blob(Emit *e, const void *data, size_t bytes, const TnKernel *k, const TnKernelQuery *q, uint32_t i, uint64_t shape,
                          size_t stored, uint64_t *offset, TnError *err) {
    uint64_t key = tni_hash(data, bytes, tni_hash(&shape, sizeof shape, k ? 1 : 0)) | 1;
    if (e->n_blobs * 2 >= e->cap_blobs)
        TN_TRY(grow_blobs(e, err));
    uint32_t h = (uint32_t)key & (e->cap_blobs - 1);
    for (; e->blobs[h].key; h = (h + 1) & (e->cap_blobs - 1)) {
        const Blob *b = &e->blobs[h];
        if (b->key == key && b->bytes == bytes && b->stored == stored && b->shape == shape && (b->kernel != NULL) == (k != NULL) &&
            (b->data == data || memcmp(b->data, data, bytes) == 0)) {
            *offset = b->offset;
            return TN_OK;
        }
    }
    /* What fills the weights is read when the plan is written, after the planner's own memory is gone. */
    TnArena *keep = tni_plan_writer_arena(e->w);
    Fill *f = tni_arena_calloc(keep, 1, sizeof *f);
    if (!f)
        return TN_OOM(err, sizeof *f);
    *f = (Fill){.alloc = e->pn->alloc, .data = data, .bytes = bytes, .kernel = k, .i = i};
    if (k) {
        TnTensor *t = tni_arena_calloc(keep, (size_t)q->n_in + q->n_out, sizeof *t);
        if (!t)
            return TN_OOM(err, (q->n_in + q->n_out) * sizeof *t);
        memcpy(t, q->in, q->n_in * sizeof *t);
        if (q->n_out)
            memcpy(t + q->n_in, q->out, q->n_out * sizeof *t);
        f->q = *q;
        f->q.in = t;
        f->q.out = t + q->n_in;
        if (q->device) {
            TnDeviceInfo *info = tni_arena_calloc(keep, 1, sizeof *info);
            if (!info)
                return TN_OOM(err, sizeof *info);
            *info = *q->device;
            f->q.device = info;
        }
    }
    TN_TRY(tni_plan_weight(e->w, stored, fill_blob, f, offset, err));
    e->blobs[h] = (Blob){key, data, bytes, *offset, stored, k, shape};
    e->n_blobs++;
    return TN_OK;
}

static TnStatus add_value(Emit *e, const PlanValue *v, uint32_t *id, TnError *err) {
    if (!TN_RESERVE_ONE(e->pn->arena, e->values, e->n_values, e->cap_values))
        return TN_OOM(err, sizeof *v);
    *id = e->n_values;
    e->values[e->n_values++] = *v;
    return TN_OK;
}

/* ---- shapes at the sample: what kernels are asked for packing ---- */

/* Operands of a node as tensors: constants with data and dims, others with dims that packing must not depend on (those of the sample). */
static void node_tensors(Emit *e, const IrNode *n, TnTensor *in, TnTensor *out) {
    const IrGraph *g = e->pg->g;
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        uint32_t id = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        TnTensor *t = i < n->n_in ? &in[i] : &out[i - n->n_in];
        *t = (TnTensor){.dtype = TN_UNDEFINED};
        if (id == TN_NO_VALUE)
            continue;
        const IrValue *v = &g->values[id];
        t->dtype = v->dtype;
        t->rank = v->rank;
        for (int32_t d = 0; d < v->rank; d++)
            t->dims[d] = e->pn->opt[v->dims[d]];
        if (v->kind == IR_CONST)
            t->data = (void *)(uintptr_t)v->data; /* a view: nobody writes through it */
    }
}

static bool wants_packed(const TnKernel *k, const TnKernelQuery *q, const IrGraph *g, const IrNode *n, uint32_t i) {
    return k && k->packed_bytes && n->in[i] != TN_NO_VALUE && g->values[n->in[i]].kind == IR_CONST && k->packed_bytes(q, i) > 0;
}

/* Which constants are read in their plain form. */
static TnStatus find_plain(Emit *e, TnError *err) {
    const IrGraph *g = e->pg->g;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        TnTensor *in, *out;
        PN_ALLOC(e->pn, in, n->n_in, err);
        PN_ALLOC(e->pn, out, n->n_out, err);
        node_tensors(e, n, in, out);
        TnKernelQuery q = {n->op, n->params, in, n->n_in, out, n->n_out, e->pn->n_threads, NULL};
        tni_planner_query_on(e->pn, e->pg->on[k], &q);
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE && !wants_packed(e->pg->choice[k]->kernel, &q, g, n, i))
                e->plain[n->in[i]] = 1;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        e->plain[g->outputs[i]] = 1;
    return TN_OK;
}

/* ---- values ---- */

static TnStatus emit_values(Emit *e, TnError *err) {
    const PnGraph *pg = e->pg;
    const IrGraph *g = pg->g;
    uint8_t *is_output;
    PN_ALLOC(e->pn, is_output, g->n_values, err);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        is_output[g->outputs[i]] = !tni_planner_is_state(g->values[g->outputs[i]].name);
    for (uint32_t v = 0; v < g->n_values; v++) {
        const IrValue *x = &g->values[v];
        PlanValue pv = {
            .dtype = x->dtype, .rank = x->rank, .place = pg->place[v], .is_output = is_output[v], .device = pg->home[v]};
        TN_TRY(tni_plan_string(e->w, x->name, &pv.name, err));
        const IrValue *like = x;
        if (pg->place[v] == PLAN_AT_STATE) /* equal dims, but the ids of the state */
            like = &e->pn->m->graphs[e->pn->states[pg->place_arg[v]].graph]->values[e->pn->states[pg->place_arg[v]].value];
        memcpy(pv.dims, like->dims, sizeof pv.dims);
        for (int32_t d = x->rank; d < TN_MAX_RANK; d++)
            pv.dims[d] = 0;
        pv.first_step = pg->root[v] == v ? pg->first[v] : pg->own_first[v];
        pv.last_step = pg->root[v] == v ? pg->last[v] : pg->own_last[v];
        pv.place_arg = pg->place[v] == PLAN_AT_ALIAS ? 0 : pg->place_arg[v];
        if (pv.place == PLAN_AT_ARENA) {
            pv.offset = pg->offset[v];
            pv.bytes = pg->bytes[v];
        }
        if (x->kind == IR_CONST) {
            TnTensor t;
            if (!tni_ir_tensor(e->pn->m, g, v, &t))
                return TN_RAISE(err, TN_ERR_INTERNAL, "constant '%s' has no bytes", x->name);
            pv.bytes = tn_tensor_bytes(&t);
            if (!e->plain[v]) {
                pv.place = PLAN_AT_PACKED;
                pv.bytes = 0;
            } else {
                TN_TRY(find_blob(e, pv.bytes ? t.data : "", (size_t)pv.bytes, NULL, NULL, 0, 0, (size_t)pv.bytes, &pv.offset, err));
            }
        }
        TN_TRY(add_value(e, &pv, &e->id[v], err));
    }
    for (uint32_t v = 0; v < g->n_values; v++)
        if (pg->place[v] == PLAN_AT_ALIAS)
            e->values[e->id[v]].place_arg = e->id[pg->root[v]];
    return TN_OK;
}

/* ---- steps ---- */

static TnStatus put_operands(Emit *e, const uint32_t *ids, uint32_t n, uint32_t *first, TnError *err) {
    return tni_plan_append(e->w, PLAN_SEC_OPERANDS, ids, n, first, err);
}

static TnStatus put_ids(Emit *e, const IrValueId *v, uint32_t n, uint32_t *first, TnError *err) {
    uint32_t *ids;
    PN_ALLOC(e->pn, ids, n, err);
    for (uint32_t i = 0; i < n; i++)
        ids[i] = v[i] == TN_NO_VALUE ? PLAN_NONE : e->id[v[i]];
    return put_operands(e, ids, n, first, err);
}

/* Packed forms of the constants of node k. */
static TnStatus emit_packed(Emit *e, uint32_t k, uint32_t *first, TnError *err) {
    const IrGraph *g = e->pg->g;
    const IrNode *n = &g->nodes[k];
    const TnKernel *kernel = e->pg->choice[k]->kernel;
    TnTensor *in, *out;
    uint32_t *ids;
    bool any = false;
    *first = PLAN_NONE;
    if (!kernel || !kernel->packed_bytes)
        return TN_OK;
    PN_ALLOC(e->pn, in, n->n_in, err);
    PN_ALLOC(e->pn, out, n->n_out, err);
    PN_ALLOC(e->pn, ids, n->n_in, err);
    node_tensors(e, n, in, out);
    TnKernelQuery q = {n->op, n->params, in, n->n_in, out, n->n_out, e->pn->n_threads, NULL};
    tni_planner_query_on(e->pn, e->pg->on[k], &q);
    for (uint32_t i = 0; i < n->n_in; i++) {
        ids[i] = PLAN_NONE;
        if (!wants_packed(kernel, &q, g, n, i))
            continue;
        any = true;
        size_t stored = kernel->packed_bytes(&q, i);
        const char *packing = kernel->packing ? kernel->packing : kernel->name;
        uint64_t shape = tni_hash(packing, strlen(packing), i);
        shape = tni_hash(n->params, tni_op_info(n->op)->params_size, shape);
        shape = tni_hash(in[i].dims, sizeof in[i].dims, shape);
        PlanValue pv = {.dtype = TN_U8, .rank = 1, .place = PLAN_AT_WEIGHT, .bytes = stored, .last_step = g->n_nodes, .device = e->pg->on[k]};
        char name[300];
        snprintf(name, sizeof name, "%.200s#%s", g->values[n->in[i]].name, packing);
        TN_TRY(tni_plan_string(e->w, name, &pv.name, err));
        pv.dims[0] = tni_ir_dim_const(e->pn->m, (int64_t)stored);
        if (pv.dims[0] == TN_DIM_NONE)
            return TN_OOM(err, sizeof(TnDimExpr));
        TN_TRY(find_blob(e, in[i].data, tn_tensor_bytes(&in[i]), kernel, &q, i, shape, stored, &pv.offset, err));
        TN_TRY(add_value(e, &pv, &ids[i], err));
    }
    return any ? put_operands(e, ids, n->n_in, first, err) : TN_OK;
}

static TnStatus emit_params(Emit *e, const IrNode *n, PlanStep *st, TnError *err) {
    st->params_bytes = (uint32_t)tni_op_info(n->op)->params_size;
    if (!(tni_op_info(n->op)->flags & TN_OPF_CONTROL))
        return tni_plan_append(e->w, PLAN_SEC_PARAMS, n->params, st->params_bytes, &st->params, err);
    TnControlParams p = *(const TnControlParams *)n->params;
    p.graph[0] = e->pn->graphs[p.graph[0]].program;
    p.graph[1] = n->op == TN_OP_if_ ? e->pn->graphs[p.graph[1]].program : 0;
    return tni_plan_append(e->w, PLAN_SEC_PARAMS, &p, st->params_bytes, &st->params, err);
}

/* Generated code of node k: binary and source, once for all steps that have the same. */
static TnStatus emit_code(Emit *e, uint32_t k, uint32_t *id, TnError *err) {
    const IrNode *n = &e->pg->g->nodes[k];
    const TnKernel *kernel = e->pg->choice[k]->kernel;
    TnTensor *in, *out;
    const PnCode *c;
    *id = PLAN_NONE;
    if (!kernel || !kernel->source || e->pg->on[k] == TN_DEVICE_CPU)
        return TN_OK;
    PN_ALLOC(e->pn, in, n->n_in, err);
    PN_ALLOC(e->pn, out, n->n_out, err);
    node_tensors(e, n, in, out);
    TnKernelQuery q = {n->op, n->params, in, n->n_in, out, n->n_out, e->pn->n_threads, NULL};
    tni_planner_query_on(e->pn, e->pg->on[k], &q);
    TN_TRY(tni_planner_code(e->pn, kernel, &q, &c, err));
    const size_t bytes = sizeof(PlanCode) + c->binary_bytes + c->source_bytes;
    PlanCode *blob = tni_arena_alloc_aligned(tni_plan_writer_arena(e->w), bytes, 64);
    if (!blob)
        return TN_OOM(err, bytes);
    *blob = (PlanCode){.arch = e->pn->o->device_info->arch, .binary_bytes = c->binary_bytes, .source_bytes = c->source_bytes};
    if (c->binary_bytes)
        memcpy(blob + 1, c->binary, c->binary_bytes);
    memcpy((uint8_t *)(blob + 1) + c->binary_bytes, c->source, c->source_bytes);
    PlanValue pv = {.dtype = TN_U8, .rank = 1, .place = PLAN_AT_WEIGHT, .bytes = bytes, .last_step = e->pg->g->n_nodes};
    char name[200];
    snprintf(name, sizeof name, "%.150s#code", n->name);
    TN_TRY(tni_plan_string(e->w, name, &pv.name, err));
    pv.dims[0] = tni_ir_dim_const(e->pn->m, (int64_t)bytes);
    if (pv.dims[0] == TN_DIM_NONE)
        return TN_OOM(err, sizeof(TnDimExpr));
    TN_TRY(find_blob(e, blob, bytes, NULL, NULL, 0, 0, bytes, &pv.offset, err));
    return add_value(e, &pv, id, err);
}

static TnStatus emit_step(Emit *e, uint32_t k, TnError *err) {
    const PnGraph *pg = e->pg;
    const IrNode *n = &pg->g->nodes[k];
    const TnKernel *kernel = tni_planner_is_transfer(pg, k) ? NULL : pg->choice[k]->kernel;
    PlanStep st = {.n_in = n->n_in, .n_out = n->n_out, .device = pg->on[k], .code = PLAN_NONE};
    TN_TRY(tni_plan_string(e->w, n->name, &st.name, err));
    TN_TRY(tni_plan_string(e->w, tni_op_info(n->op)->name, &st.op, err));
    TN_TRY(tni_plan_string(e->w, kernel ? kernel->name : "", &st.kernel, err));
    TN_TRY(emit_params(e, n, &st, err));
    TN_TRY(put_ids(e, n->in, n->n_in, &st.first_in, err));
    TN_TRY(put_ids(e, n->out, n->n_out, &st.first_out, err));
    TN_TRY(emit_packed(e, k, &st.first_packed, err));
    TN_TRY(emit_code(e, k, &st.code, err));
    st.n_symbols = pg->first_define[k + 1] - pg->first_define[k];
    if (st.n_symbols)
        TN_TRY(put_operands(e, pg->defines[pg->first_define[k]], 2 * st.n_symbols, &st.first_symbol, err));
    if (kernel)
        e->cpu |= kernel->cpu;
    for (uint32_t b = 0; b < e->pn->n_buckets; b++) {
        const PnChoice *c = tni_planner_in_bucket(pg, b, k);
        uint32_t name = 0;
        if (c)
            TN_TRY(tni_plan_string(e->w, c->kernel->name, &name, err));
        if (c)
            e->cpu |= c->kernel->cpu;
        TN_TRY(tni_plan_append(e->w, PLAN_SEC_KERNELS, &name, 1, NULL, err));
    }
    return tni_plan_append(e->w, PLAN_SEC_STEPS, &st, 1, NULL, err);
}

/* Ids of inputs or outputs without the states among them. */
static TnStatus put_ports(Emit *e, const IrValueId *v, uint32_t n, uint32_t *first, uint32_t *count, TnError *err) {
    IrValueId *kept;
    PN_ALLOC(e->pn, kept, n, err);
    *count = 0;
    for (uint32_t i = 0; i < n; i++)
        if (!tni_planner_is_state(e->pg->g->values[v[i]].name))
            kept[(*count)++] = v[i];
    return put_ids(e, kept, *count, first, err);
}

static TnStatus emit_graph(Emit *e, PnGraph *pg, PlanProgram *prog, TnError *err) {
    const IrGraph *g = pg->g;
    e->pg = pg;
    e->values = NULL;
    e->n_values = e->cap_values = 0;
    PN_ALLOC(e->pn, e->id, g->n_values, err);
    PN_ALLOC(e->pn, e->plain, g->n_values, err);
    TN_TRY(find_plain(e, err));
    TN_TRY(emit_values(e, err));
    for (uint32_t k = 0; k < g->n_nodes; k++)
        TN_TRY(emit_step(e, k, err));
    TN_TRY(tni_plan_string(e->w, g->name, &prog->name, err));
    TN_TRY(put_ports(e, g->inputs, g->n_inputs, &prog->first_input, &prog->n_inputs, err));
    TN_TRY(put_ports(e, g->outputs, g->n_outputs, &prog->first_output, &prog->n_outputs, err));
    prog->n_steps = g->n_nodes;
    prog->n_values = e->n_values;
    prog->arena_bytes = pg->arena_bytes[0];
    prog->arena_lower_bound = pg->arena_lower_bound[0];
    prog->device_arena_bytes = pg->arena_bytes[1];
    prog->device_arena_lower_bound = pg->arena_lower_bound[1];
    return tni_plan_append(e->w, PLAN_SEC_VALUES, e->values, e->n_values, &prog->first_value, err);
}

static TnStatus emit_states(Emit *e, TnError *err) {
    for (uint32_t i = 0; i < e->pn->n_states; i++) {
        const PnState *s = &e->pn->states[i];
        const IrValue *v = &e->pn->m->graphs[s->graph]->values[s->value];
        PlanState ps = {.dtype = v->dtype, .rank = v->rank};
        TN_TRY(tni_plan_string(e->w, s->name, &ps.name, err));
        memcpy(ps.dims, v->dims, sizeof(TnDim) * (size_t)v->rank);
        TN_TRY(tni_plan_append(e->w, PLAN_SEC_STATES, &ps, 1, NULL, err));
    }
    return TN_OK;
}

TnStatus tni_planner_emit(Pn *pn, PlanWriter *w, PlanHeader *h, TnError *err) {
    Emit e = {.pn = pn, .w = w};
    uint32_t step = 0;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        PlanProgram prog = {0};
        prog.first_step = step;
        TN_TRY(emit_graph(&e, &pn->graphs[pn->order[i]], &prog, err));
        step += prog.n_steps;
        TN_TRY(tni_plan_append(w, PLAN_SEC_PROGRAMS, &prog, 1, NULL, err));
    }
    TN_TRY(emit_states(&e, err));
    for (uint32_t i = 0; i < pn->m->n_meta; i++)
        TN_TRY(tni_plan_meta_add(w, pn->m->meta[i].key, pn->m->meta[i].value, pn->m->meta[i].n, err));
    if (pn->n_buckets)
        TN_TRY(tni_plan_append(w, PLAN_SEC_BUCKETS, pn->buckets, pn->n_buckets * pn->m->n_symbols, NULL, err));
    TN_TRY(tni_plan_append(w, PLAN_SEC_EXPRS, pn->m->exprs, pn->m->n_exprs, NULL, err));
    TN_TRY(tni_plan_append(w, PLAN_SEC_SYMBOLS, pn->m->symbols, pn->m->n_symbols, NULL, err));
    h->cpu_flags = e.cpu;
    snprintf(h->build, sizeof h->build, "%s", TENON_VERSION);
    return TN_OK;
}
