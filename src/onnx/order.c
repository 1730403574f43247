/* SPDX-License-Identifier: Apache-2.0
 *
 * Order of a graph's nodes: as in the file when every operand is made before it is read (what the standard asks for), else sorted, stable,
 * by a depth-first walk without recursion. Cycles are named. Also: which names a subgraph takes from the graphs around it. */
#include "onnx/import.h"

#include <stdio.h>

static const char *text_of(const OnnxScope *s, OnnxName name) {
    return tni_onnx_text(&s->imp->model.names, name);
}

/* Enumerates the nodes that node i reads from: operand and captured-name number k; UINT32_MAX - 1: not a node; UINT32_MAX: no more. */
#define NO_PRODUCER (UINT32_MAX - 1)
static uint32_t dependency(OnnxScope *s, uint32_t i, uint32_t k) {
    const OnnxNode *n = &s->graph->nodes[i];
    OnnxName name = 0;
    if (k < n->n_in) {
        name = n->in[k];
    } else {
        k -= n->n_in;
        uint32_t a = 0;
        for (; a < n->n_attrs; a++) {
            uint32_t free_names = n->attrs[a].g == NULL ? 0 : n->attrs[a].g->n_free;
            if (k < free_names) {
                name = n->attrs[a].g->free[k];
                break;
            }
            k -= free_names;
        }
        if (a == n->n_attrs)
            return UINT32_MAX;
    }
    OnnxBind *b = name == 0 ? NULL : tni_onnx_scope_find(s, name);
    return b == NULL || b->producer == UINT32_MAX ? NO_PRODUCER : b->producer;
}

static bool sorted(OnnxScope *s) {
    for (uint32_t i = 0; i < s->graph->n_nodes; i++) {
        for (uint32_t k = 0;; k++) {
            uint32_t d = dependency(s, i, k);
            if (d == UINT32_MAX)
                break;
            if (d != NO_PRODUCER && d >= i)
                return false;
        }
    }
    return true;
}

typedef struct Frame {
    uint32_t node, next;
} Frame;

/* Names up to eight nodes of the cycle that stack[from..n) and back form. */
static TnStatus cycle(const OnnxScope *s, const Frame *stack, uint32_t from, uint32_t n, TnError *err) {
    char text[1024];
    size_t used = 0;
    for (uint32_t i = from; i < n && i < from + 8 && used < sizeof text; i++) {
        const OnnxNode *node = &s->graph->nodes[stack[i].node];
        int w = snprintf(text + used, sizeof text - used, "%s'%.80s' (%.30s, number %u)", i == from ? "" : ", ", text_of(s, node->name),
                         text_of(s, node->op_type), stack[i].node);
        used += w < 0 ? 0 : (size_t)w;
    }
    return TN_RAISE(err, TN_ERR_GRAPH, "graph '%.100s' has a cycle of %u nodes, each reading what the next makes: %s%s",
                    text_of(s, s->graph->name), n - from, text, n - from > 8 ? ", ..." : "");
}

static TnStatus sort(OnnxScope *s, TnError *err) {
    uint32_t n = s->graph->n_nodes, done = 0;
    TnArena *a = s->imp->scratch;
    uint8_t *state = tni_arena_calloc(a, n, 1); /* 0 new, 1 on the stack, 2 placed */
    Frame *stack = tni_arena_calloc(a, n, sizeof *stack);
    if (state == NULL || stack == NULL)
        return TN_OOM(err, n * sizeof *stack);
    for (uint32_t root = 0; root < n; root++) {
        if (state[root] != 0)
            continue;
        uint32_t depth = 0;
        stack[depth++] = (Frame){root, 0};
        state[root] = 1;
        while (depth > 0) {
            Frame *f = &stack[depth - 1];
            uint32_t d = dependency(s, f->node, f->next++);
            if (d == UINT32_MAX) {
                state[f->node] = 2;
                s->order[done++] = f->node;
                depth--;
            } else if (d != NO_PRODUCER && state[d] == 0) {
                state[d] = 1;
                stack[depth++] = (Frame){d, 0};
            } else if (d != NO_PRODUCER && state[d] == 1) {
                uint32_t from = 0;
                while (stack[from].node != d)
                    from++;
                return cycle(s, stack, from, depth, err);
            }
        }
    }
    return TN_OK;
}

TnStatus tni_onnx_order_nodes(OnnxScope *s, TnError *err) {
    uint32_t n = s->graph->n_nodes;
    s->order = tni_arena_calloc(s->imp->scratch, n, sizeof *s->order);
    if (s->order == NULL)
        return TN_OOM(err, n * sizeof *s->order);
    if (sorted(s)) {
        for (uint32_t i = 0; i < n; i++)
            s->order[i] = i;
        return TN_OK;
    }
    tni_log(s->imp->log, TN_LOG_INFO, "the nodes of graph '%s' are not in topological order: sorted", text_of(s, s->graph->name));
    return sort(s, err);
}

/* ---- free names ---- */

typedef struct FreeNames {
    OnnxMap known; /* declared here, or listed already */
    OnnxName *items;
    uint32_t n, cap;
} FreeNames;

static TnStatus free_of_graph(OnnxImport *imp, OnnxGraph *g, TnError *err);

static TnStatus add_free(OnnxImport *imp, FreeNames *f, OnnxName name, TnError *err) {
    uint32_t unused = 0;
    if (name == 0 || tni_onnx_map_get(&f->known, name, &unused))
        return TN_OK;
    if (!TN_RESERVE_ONE(imp->scratch, f->items, f->n, f->cap))
        return TN_OOM(err, (size_t)f->n * 2 * sizeof *f->items);
    f->items[f->n++] = name;
    return tni_onnx_map_put(&f->known, name, 1, err);
}

static TnStatus free_of_nodes(OnnxImport *imp, OnnxGraph *g, TnError *err) {
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_attrs; k++)
            if (g->nodes[i].attrs[k].g != NULL)
                TN_TRY(free_of_graph(imp, g->nodes[i].attrs[k].g, err));
    return TN_OK;
}

static TnStatus free_of_graph(OnnxImport *imp, OnnxGraph *g, TnError *err) {
    FreeNames f = {.known = {.arena = imp->scratch}};
    TN_TRY(free_of_nodes(imp, g, err));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        TN_TRY(tni_onnx_map_put(&f.known, g->inputs[i].name, 1, err));
    for (uint32_t i = 0; i < g->n_tensors; i++)
        TN_TRY(tni_onnx_map_put(&f.known, g->tensors[i].name, 1, err));
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t o = 0; o < g->nodes[i].n_out; o++)
            TN_TRY(tni_onnx_map_put(&f.known, g->nodes[i].out[o], 1, err));
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const OnnxNode *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            TN_TRY(add_free(imp, &f, n->in[k], err));
        for (uint32_t k = 0; k < n->n_attrs; k++)
            for (uint32_t j = 0; n->attrs[k].g != NULL && j < n->attrs[k].g->n_free; j++)
                TN_TRY(add_free(imp, &f, n->attrs[k].g->free[j], err));
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        TN_TRY(add_free(imp, &f, g->outputs[i].name, err));
    g->free = f.items;
    g->n_free = f.n;
    return TN_OK;
}

TnStatus tni_onnx_find_free_names(OnnxImport *imp, TnError *err) {
    TN_TRY(free_of_nodes(imp, imp->model.graph, err));
    for (uint32_t i = 0; i < imp->model.n_functions; i++) {
        OnnxFunction *fn = &imp->model.functions[i];
        TN_TRY(free_of_nodes(imp, &fn->body, err));
        for (uint32_t k = 0; k < fn->n_defaults; k++)
            if (fn->defaults[k].g != NULL)
                TN_TRY(free_of_graph(imp, fn->defaults[k].g, err));
    }
    return TN_OK;
}
