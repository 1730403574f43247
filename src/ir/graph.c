/* SPDX-License-Identifier: Apache-2.0
 *
 * Building and looking at modules.
 * In: names, types, operands. Out: ids. Invariants: everything lives in the module's arena; a failing call leaves the module as it was
 * (arena bytes aside). */
#include "ir/graph.h"

#include <inttypes.h>

/* Ids must stay clear of the "absent" marks. */
#define IR_LIMIT (UINT32_MAX / 4)

TnStatus tni_ir_module_create(const TnAllocator *a, IrModule **out, TnError *err) {
    TnArena *arena = NULL;
    *out = NULL;
    TN_TRY(tni_arena_create(a, &arena, err));
    IrModule *m = tni_arena_calloc(arena, 1, sizeof *m);
    if (m == NULL) {
        tni_arena_destroy(&arena);
        return TN_OOM(err, sizeof *m);
    }
    m->arena = arena;
    *out = m;
    return TN_OK;
}

void tni_ir_module_destroy(IrModule **m) {
    if (m == NULL || *m == NULL)
        return;
    if ((*m)->keep_release != NULL)
        (*m)->keep_release((*m)->keep);
    TnArena *arena = (*m)->arena;
    *m = NULL;
    tni_arena_destroy(&arena);
}

/* Room for one more element; on failure the array stays as it was. */
static TnStatus reserve(IrModule *m, void *items_p, uint32_t n, uint32_t *cap, size_t size, TnError *err) {
    if (n < *cap)
        return TN_OK;
    if (n >= IR_LIMIT)
        return TN_RAISE(err, TN_ERR_LIMIT, "the graph has more than %" PRIu32 " nodes or values", (uint32_t)IR_LIMIT);
    void *items;
    memcpy(&items, items_p, sizeof items);
    items = tni_arena_grow(m->arena, items, n, cap, size);
    if (items == NULL)
        return TN_OOM(err, (size_t)n * 2 * size);
    memcpy(items_p, &items, sizeof items);
    return TN_OK;
}

TnStatus tni_ir_graph_add(IrModule *m, const char *name, IrGraphId *out, TnError *err) {
    TN_TRY(reserve(m, &m->graphs, m->n_graphs, &m->cap_graphs, sizeof *m->graphs, err));
    IrGraph *g = tni_arena_calloc(m->arena, 1, sizeof *g);
    if (g == NULL)
        return TN_OOM(err, sizeof *g);
    g->name = tni_arena_strdup(m->arena, name);
    if (g->name == NULL)
        return TN_OOM(err, strlen(name) + 1);
    *out = m->n_graphs;
    m->graphs[m->n_graphs++] = g;
    return TN_OK;
}

/* A value with everything but kind, producer and out_index at "unknown". name NULL: a fresh one. */
static TnStatus value_add(IrModule *m, IrGraph *g, const char *name, IrValueKind kind, IrValueId *out, TnError *err) {
    TN_TRY(reserve(m, &g->values, g->n_values, &g->cap_values, sizeof *g->values, err));
    char *copy = name != NULL ? tni_arena_strdup(m->arena, name) : tni_arena_printf(m->arena, "@%" PRIu32, m->n_fresh);
    if (copy == NULL)
        return TN_OOM(err, name != NULL ? strlen(name) + 1 : 16);
    m->n_fresh += name == NULL;
    IrValue *v = &g->values[g->n_values];
    memset(v, 0, sizeof *v);
    v->name = copy;
    v->kind = kind;
    v->producer = TN_NO_NODE;
    v->dtype = TN_UNDEFINED;
    v->rank = -1;
    for (uint32_t i = 0; i < TN_MAX_RANK; i++)
        v->dims[i] = TN_DIM_NONE;
    *out = g->n_values++;
    return TN_OK;
}

TnStatus tni_ir_input_add(IrModule *m, IrGraph *g, const char *name, IrValueId *out, TnError *err) {
    IrValueId v;
    TN_TRY(reserve(m, &g->inputs, g->n_inputs, &g->cap_inputs, sizeof *g->inputs, err));
    TN_TRY(value_add(m, g, name, IR_INPUT, &v, err));
    g->values[v].out_index = g->n_inputs;
    g->inputs[g->n_inputs++] = v;
    *out = v;
    return TN_OK;
}

TnStatus tni_ir_const_add(IrModule *m, IrGraph *g, const char *name, TnDtype t, int32_t rank, const int64_t *dims, const void *data,
                          IrValueId *out, TnError *err) {
    TnDim ids[TN_MAX_RANK];
    if (rank < 0 || rank > TN_MAX_RANK)
        return TN_RAISE(err, TN_ERR_LIMIT, "constant '%s' has rank %" PRId32 "; ranks 0 to %d are supported", name != NULL ? name : "",
                        rank, TN_MAX_RANK);
    for (int32_t i = 0; i < rank; i++) {
        ids[i] = tni_ir_dim_const(m, dims[i]);
        if (ids[i] == TN_DIM_NONE)
            return tni_ir_dims_check(m, err);
    }
    IrValueId v;
    TN_TRY(value_add(m, g, name, IR_CONST, &v, err));
    IrValue *x = &g->values[v];
    x->dtype = t;
    x->rank = rank;
    memcpy(x->dims, ids, (size_t)rank * sizeof ids[0]);
    x->data = data;
    *out = v;
    return TN_OK;
}

TnStatus tni_ir_const_copy(IrModule *m, IrGraph *g, const char *name, TnDtype t, int32_t rank, const int64_t *dims, const void *data,
                           IrValueId *out, TnError *err) {
    size_t bytes = 0;
    if (!tni_shape_bytes(t, rank, dims, NULL, &bytes))
        return TN_RAISE(err, TN_ERR_LIMIT, "constant '%s' does not fit the address space", name != NULL ? name : "");
    void *copy = NULL;
    if (bytes > 0) {
        copy = tni_arena_alloc_aligned(m->arena, bytes, 64);
        if (copy == NULL)
            return TN_OOM(err, bytes);
        memcpy(copy, data, bytes);
    }
    return tni_ir_const_add(m, g, name, t, rank, dims, copy, out, err);
}

static TnStatus node_operands(IrModule *m, IrGraph *g, IrNode *n, IrNodeId id, const IrValueId *in, const char *const *out_names,
                              TnError *err) {
    n->in = tni_arena_calloc(m->arena, n->n_in, sizeof *n->in);
    n->out = tni_arena_calloc(m->arena, n->n_out, sizeof *n->out);
    if (n->in == NULL || n->out == NULL)
        return TN_OOM(err, ((size_t)n->n_in + n->n_out) * sizeof(IrValueId));
    if (n->n_in > 0)
        memcpy(n->in, in, n->n_in * sizeof *in);
    for (uint32_t i = 0; i < n->n_out; i++) {
        const char *name = out_names != NULL ? out_names[i] : NULL;
        n->out[i] = TN_NO_VALUE;
        if (name != NULL && name[0] == '\0')
            continue;
        TN_TRY(value_add(m, g, name, IR_NODE_OUTPUT, &n->out[i], err));
        g->values[n->out[i]].producer = id;
        g->values[n->out[i]].out_index = i;
    }
    return TN_OK;
}

TnStatus tni_ir_node_add(IrModule *m, IrGraph *g, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in,
                         const char *const *out_names, uint32_t n_out, IrValueId *outs, TnError *err) {
    if (n_in >= IR_LIMIT || n_out >= IR_LIMIT)
        return TN_RAISE(err, TN_ERR_LIMIT, "node '%s' has too many operands", name != NULL ? name : "");
    TN_TRY(reserve(m, &g->nodes, g->n_nodes, &g->cap_nodes, sizeof *g->nodes, err));
    size_t size = tni_op_info(op)->params_size;
    IrNode n = {.op = op, .n_in = n_in, .n_out = n_out};
    n.name =
        name != NULL ? tni_arena_strdup(m->arena, name) : tni_arena_printf(m->arena, "%s@%" PRIu32, tni_op_info(op)->name, m->n_fresh++);
    n.params = tni_arena_calloc(m->arena, 1, size);
    if (n.name == NULL || n.params == NULL)
        return TN_OOM(err, size);
    if (params != NULL)
        memcpy(n.params, params, size);
    uint32_t n_values = g->n_values;
    TnStatus st = node_operands(m, g, &n, g->n_nodes, in, out_names, err);
    if (st != TN_OK) {
        g->n_values = n_values;
        return st;
    }
    g->nodes[g->n_nodes++] = n;
    if (outs != NULL && n_out > 0)
        memcpy(outs, n.out, n_out * sizeof *outs);
    return TN_OK;
}

TnStatus tni_ir_output_add(IrModule *m, IrGraph *g, IrValueId v, TnError *err) {
    TN_TRY(reserve(m, &g->outputs, g->n_outputs, &g->cap_outputs, sizeof *g->outputs, err));
    g->outputs[g->n_outputs++] = v;
    return TN_OK;
}

TnStatus tni_ir_meta_set(IrModule *m, const char *key, const void *value, size_t n, TnError *err) {
    uint32_t i = 0;
    while (i < m->n_meta && strcmp(m->meta[i].key, key) != 0)
        i++;
    if (i == m->n_meta)
        TN_TRY(reserve(m, &m->meta, m->n_meta, &m->cap_meta, sizeof *m->meta, err));
    char *k = tni_arena_strdup(m->arena, key);
    char *v = tni_arena_calloc(m->arena, 1, n + 1); /* a final NUL for those who read text */
    if (k == NULL || v == NULL)
        return TN_OOM(err, n + 1);
    if (n > 0)
        memcpy(v, value, n);
    m->meta[i].key = k;
    m->meta[i].value = v;
    m->meta[i].n = n;
    m->n_meta += i == m->n_meta;
    return TN_OK;
}

const char *tni_ir_meta_get(const IrModule *m, const char *key, size_t *n) {
    for (uint32_t i = 0; i < m->n_meta; i++) {
        if (strcmp(m->meta[i].key, key) == 0) {
            if (n != NULL)
                *n = m->meta[i].n;
            return m->meta[i].value;
        }
    }
    return NULL;
}

bool tni_ir_is_const(const IrGraph *g, IrValueId v) {
    return v != TN_NO_VALUE && g->values[v].kind == IR_CONST;
}

bool tni_ir_static_dims(const IrModule *m, const IrGraph *g, IrValueId v, int64_t *dims) {
    if (v == TN_NO_VALUE || g->values[v].rank < 0)
        return false;
    for (int32_t i = 0; i < g->values[v].rank; i++) {
        if (!tni_ir_dim_is_const(m, g->values[v].dims[i], &dims[i]))
            return false;
    }
    return true;
}

bool tni_ir_tensor(const IrModule *m, const IrGraph *g, IrValueId v, TnTensor *out) {
    TnTensor t;
    memset(&t, 0, sizeof t);
    if (!tni_ir_is_const(g, v) || !tni_ir_static_dims(m, g, v, t.dims))
        return false;
    const void *data = g->values[v].data;
    memcpy(&t.data, &data, sizeof t.data); /* a view: nobody writes through it */
    t.dtype = g->values[v].dtype;
    t.rank = g->values[v].rank;
    *out = t;
    return true;
}

TnStatus tni_ir_users(const IrGraph *g, TnArena *scratch, IrUsers *out, TnError *err) {
    uint32_t *first = tni_arena_calloc(scratch, (size_t)g->n_values + 2, sizeof *first);
    uint8_t *is_output = tni_arena_calloc(scratch, g->n_values, sizeof *is_output);
    if (first == NULL || is_output == NULL)
        return TN_OOM(err, (size_t)g->n_values * 5);
    /* first[v + 2] counts the uses of v; after the running sum first[v + 1] is where v's uses start, and filling moves it to their end,
     * which is the start of v + 1. */
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_in && !n->dead; i++) {
            if (n->in[i] != TN_NO_VALUE)
                first[n->in[i] + 2]++;
        }
    }
    for (uint32_t v = 0; v < g->n_values; v++)
        first[v + 2] += first[v + 1];
    IrNodeId *users = tni_arena_calloc(scratch, first[g->n_values + 1], sizeof *users);
    if (users == NULL)
        return TN_OOM(err, first[g->n_values + 1] * sizeof *users);
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        for (uint32_t i = 0; i < n->n_in && !n->dead; i++) {
            if (n->in[i] != TN_NO_VALUE)
                users[first[n->in[i] + 1]++] = k;
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        is_output[g->outputs[i]] = 1;
    out->first = first;
    out->users = users;
    out->is_output = is_output;
    return TN_OK;
}

uint32_t tni_ir_use_count(const IrUsers *u, IrValueId v) {
    return u->first[v + 1] - u->first[v] + u->is_output[v];
}
