/* SPDX-License-Identifier: Apache-2.0
 *
 * What can be refused before any work is done: versions, recursive functions, a graph that grows too big when its functions are expanded,
 * and operators that Tenon does not have - all of them, with their nodes, in one message. */
#include "onnx/import.h"

#include <stdio.h>

#define MAX_SHOWN 20 /* node names of one operator */

typedef struct Missing {
    OnnxName domain, op_type;
    int64_t opset;
    const OnnxRow *other; /* a row for other versions, NULL: none */
    uint64_t count;
    const char *shown[MAX_SHOWN];
    uint32_t n_shown;
} Missing;

/* What a graph or function is when everything that it calls is expanded; saturating. */
typedef struct Cost {
    uint64_t nodes;
    uint64_t work;   /* operands, outputs, attributes and their numbers: what expanding looks at */
    uint32_t height; /* levels of calls and subgraphs below its own */
} Cost;

typedef struct Checker {
    OnnxImport *imp;
    uint8_t *state; /* of functions: 0 new, 1 being walked, 2 done */
    Cost *cost;     /* of functions that are done */
    Missing *missing;
    uint32_t n_missing, cap_missing;
    TnError *err;
} Checker;

static const char *text_of(const Checker *c, OnnxName name) {
    return tni_onnx_text(&c->imp->model.names, name);
}

static const char *domain_text(const Checker *c, OnnxName domain) {
    return domain == 0 ? "ai.onnx" : text_of(c, domain);
}

static uint64_t add_saturating(uint64_t a, uint64_t b) {
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* ---- versions ---- */

static TnStatus check_opsets(const Checker *c, const OnnxOpsets *o, const char *owner) {
    for (uint32_t i = 0; i < o->n; i++) {
        if (o->items[i].domain == 0 && (o->items[i].version < ONNX_MIN_OPSET || o->items[i].version > ONNX_MAX_OPSET))
            return TN_RAISE(
                c->err, TN_ERR_VERSION,
                "%s uses version %lld of the operator set ai.onnx; supported are %d to %d. Export the model again with one of these", owner,
                (long long)o->items[i].version, ONNX_MIN_OPSET, ONNX_MAX_OPSET);
    }
    return TN_OK;
}

static TnStatus check_versions(const Checker *c) {
    const OnnxModel *m = &c->imp->model;
    if (m->ir_version < ONNX_MIN_IR || m->ir_version > ONNX_MAX_IR)
        return TN_RAISE(c->err, TN_ERR_VERSION, "the model has IR version %lld; supported are %d to %d", (long long)m->ir_version,
                        ONNX_MIN_IR, ONNX_MAX_IR);
    if (tni_onnx_opset(&m->opsets, 0) == 0 && m->opsets.n == 0)
        return TN_RAISE(c->err, TN_ERR_VERSION, "the model imports no operator set; supported are versions %d to %d of ai.onnx",
                        ONNX_MIN_OPSET, ONNX_MAX_OPSET);
    return check_opsets(c, &m->opsets, "the model");
}

/* ---- operators ---- */

static TnStatus add_missing(Checker *c, const OnnxNode *n, int64_t opset, const OnnxRow *other, const OnnxGraph *g, uint32_t index) {
    Missing *m = NULL;
    for (uint32_t i = 0; i < c->n_missing && m == NULL; i++)
        if (c->missing[i].op_type == n->op_type && c->missing[i].domain == n->domain && c->missing[i].opset == opset)
            m = &c->missing[i];
    TnArena *a = c->imp->scratch;
    if (m == NULL) {
        if (c->n_missing >= 200)
            return TN_OK; /* so many kinds are enough for any report */
        if (!TN_RESERVE_ONE(a, c->missing, c->n_missing, c->cap_missing))
            return TN_OOM(c->err, c->n_missing * 2 * sizeof *m);
        m = &c->missing[c->n_missing++];
        *m = (Missing){.domain = n->domain, .op_type = n->op_type, .opset = opset, .other = other};
    }
    if (m->n_shown < MAX_SHOWN) {
        const char *name = n->name != 0 ? text_of(c, n->name) : tni_arena_printf(a, "%s_%u", text_of(c, n->op_type), index);
        if (name != NULL && g->name != 0 && g != c->imp->model.graph)
            name = tni_arena_printf(a, "%s (in %s)", name, text_of(c, g->name));
        if (name == NULL)
            return TN_OOM(c->err, 256);
        m->shown[m->n_shown++] = name;
    }
    m->count++;
    return TN_OK;
}

static TnStatus check_node(Checker *c, const OnnxNode *n, const OnnxOpsets *opsets, const OnnxGraph *g, uint32_t index) {
    int64_t opset = tni_onnx_opset(opsets, n->domain);
    if (opset == 0)
        opset = tni_onnx_opset(&c->imp->model.opsets, n->domain);
    if (opset == 0 && n->domain == 0)
        return tni_raise_node(c->err, TN_ERR_VERSION, text_of(c, n->name),
                              "%.60s is an operator of ai.onnx, but the model imports no version of it", text_of(c, n->op_type));
    const OnnxRow *any = NULL;
    if (tni_onnx_row_find(text_of(c, n->domain), text_of(c, n->op_type), opset, &any) != NULL)
        return TN_OK;
    return add_missing(c, n, opset, any, g, index);
}

/* One line of the report, cut to the buffer; returns its length. */
static size_t describe(const Checker *c, const Missing *m, char *buf, size_t n, uint32_t max_names) {
    int w = 0;
    if (m->other != NULL)
        w = snprintf(buf, n, "  %.80s (%.80s, opset %lld; supported are opsets %d to %d): %llu node%s", text_of(c, m->op_type),
                     domain_text(c, m->domain), (long long)m->opset, m->other->min_opset, m->other->max_opset, (unsigned long long)m->count,
                     m->count == 1 ? "" : "s");
    else
        w = snprintf(buf, n, "  %.80s (%.80s, opset %lld): %llu node%s", text_of(c, m->op_type), domain_text(c, m->domain),
                     (long long)m->opset, (unsigned long long)m->count, m->count == 1 ? "" : "s");
    size_t used = w < 0 ? 0 : (size_t)w;
    for (uint32_t i = 0; i < m->n_shown && i < max_names && used < n; i++) {
        w = snprintf(buf + used, n - used, "%s%.100s", i == 0 ? ": " : ", ", m->shown[i]);
        used += w < 0 ? 0 : (size_t)w;
    }
    if (m->count > TN_MIN(m->n_shown, max_names) && used < n) {
        w = snprintf(buf + used, n - used, ", ...");
        used += w < 0 ? 0 : (size_t)w;
    }
    return TN_MIN(used, n - 1);
}

static TnStatus report_missing(const Checker *c) {
    if (c->n_missing == 0)
        return TN_OK;
    char text[1300], line[2600];
    size_t used = 0;
    /* All names go to the log; the error shares its room among the operators. */
    uint32_t share = c->n_missing <= 2 ? MAX_SHOWN : c->n_missing <= 5 ? 4 : 1;
    for (uint32_t i = 0; i < c->n_missing; i++) {
        describe(c, &c->missing[i], line, 900, MAX_SHOWN);
        tni_log(c->imp->log, TN_LOG_ERROR, "not supported:%s", line + 1);
        size_t n = describe(c, &c->missing[i], line, TN_MIN(sizeof line, sizeof text - 40), share);
        if (used + n + 40 > sizeof text) {
            used += (size_t)snprintf(text + used, sizeof text - used, "\n  and %u more", c->n_missing - i);
            break;
        }
        used += (size_t)snprintf(text + used, sizeof text - used, "\n%s", line);
    }
    return TN_RAISE(c->err, TN_ERR_UNSUPPORTED, "%u operator%s of this model %s not supported:%s\ndocs/operators.md lists those that are",
                    c->n_missing, c->n_missing == 1 ? "" : "s", c->n_missing == 1 ? "is" : "are", text);
}

/* ---- walking, with the cost of expansion ---- */

static TnStatus walk_graph(Checker *c, const OnnxGraph *g, const OnnxOpsets *opsets, uint32_t depth, Cost *out);

static void add_cost(Cost *sum, const Cost *part, uint32_t levels) {
    sum->nodes = add_saturating(sum->nodes, part->nodes);
    sum->work = add_saturating(sum->work, part->work);
    sum->height = TN_MAX(sum->height, part->height + levels);
}

static TnStatus walk_function(Checker *c, uint32_t f, uint32_t depth, Cost *out) {
    OnnxFunction *fn = &c->imp->model.functions[f];
    if (c->state[f] == 1)
        return TN_RAISE(c->err, TN_ERR_GRAPH, "function '%.200s' of domain '%.200s' calls itself, directly or through others",
                        text_of(c, fn->name), domain_text(c, fn->domain));
    if (c->state[f] == 0) {
        char owner[300];
        snprintf(owner, sizeof owner, "function '%.200s'", text_of(c, fn->name));
        TN_TRY(check_opsets(c, &fn->opsets, owner));
        c->state[f] = 1;
        TN_TRY(walk_graph(c, &fn->body, &fn->opsets, depth, &c->cost[f]));
        c->cost[f].work = add_saturating(c->cost[f].work, fn->n_attrs + fn->n_defaults);
        c->state[f] = 2;
    }
    *out = c->cost[f];
    return TN_OK;
}

static TnStatus walk_node(Checker *c, const OnnxGraph *g, uint32_t i, const OnnxOpsets *opsets, uint32_t depth, Cost *out) {
    const OnnxNode *n = &g->nodes[i];
    uint32_t f = tni_onnx_function_find(&c->imp->model, n->domain, n->op_type, n->overload);
    Cost part = {0};
    *out = (Cost){.nodes = 1, .work = (uint64_t)1 + n->n_in + n->n_out + n->n_attrs};
    if (f != UINT32_MAX) {
        TN_TRY(walk_function(c, f, depth + 1, &part));
        add_cost(out, &part, 1);
    } else {
        TN_TRY(check_node(c, n, opsets, g, i));
    }
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const OnnxAttr *a = &n->attrs[k];
        out->work = add_saturating(out->work, (uint64_t)a->n_floats + a->n_ints);
        if (a->g == NULL)
            continue;
        TN_TRY(walk_graph(c, a->g, opsets, depth + 1, &part));
        add_cost(out, &part, 1);
    }
    return TN_OK;
}

/* depth: levels above g; height: levels below it. Their sum is bounded before anything recurses further. */
static TnStatus walk_graph(Checker *c, const OnnxGraph *g, const OnnxOpsets *opsets, uint32_t depth, Cost *out) {
    *out = (Cost){.work = (uint64_t)g->n_inputs + g->n_outputs + g->n_tensors};
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        Cost part = {0};
        if (depth <= ONNX_MAX_DEPTH)
            TN_TRY(walk_node(c, g, i, opsets, depth, &part));
        add_cost(out, &part, 0);
        if (depth + out->height > ONNX_MAX_DEPTH)
            return TN_RAISE(c->err, TN_ERR_LIMIT, "subgraphs and function calls are nested deeper than %d (in '%.200s')", ONNX_MAX_DEPTH,
                            text_of(c, g->name));
    }
    return TN_OK;
}

TnStatus tni_onnx_check(OnnxImport *imp, TnError *err) {
    Checker checker = {.imp = imp, .err = err}, *c = &checker;
    uint32_t n = imp->model.n_functions;
    c->state = tni_arena_calloc(imp->scratch, n, sizeof *c->state);
    c->cost = tni_arena_calloc(imp->scratch, n, sizeof *c->cost);
    if (c->state == NULL || c->cost == NULL)
        return TN_OOM(err, n * sizeof *c->cost);
    TN_TRY(check_versions(c));
    Cost all = {0};
    TN_TRY(walk_graph(c, imp->model.graph, &imp->model.opsets, 0, &all));
    if (all.nodes > imp->max_nodes)
        return TN_RAISE(err, TN_ERR_LIMIT, "the model has %s%llu nodes when its functions are expanded; the most is %llu",
                        all.nodes == UINT64_MAX ? "at least " : "", (unsigned long long)all.nodes, (unsigned long long)imp->max_nodes);
    /* What stands in the file costs no more than its bytes; only repetition by functions can go beyond. */
    uint64_t most = add_saturating(imp->max_nodes * 16, imp->model.file.n);
    if (all.work > most)
        return TN_RAISE(err, TN_ERR_LIMIT, "the model has %llu operands and attributes when its functions are expanded; the most is %llu",
                        (unsigned long long)all.work, (unsigned long long)most);
    return report_missing(c);
}
