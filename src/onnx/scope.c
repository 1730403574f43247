/* SPDX-License-Identifier: Apache-2.0
 *
 * A scope: the names of one graph or function body, what each stands for, and the loop that converts its nodes in order. */
#include "onnx/convert.h"

#include <stdio.h>

static const char *text_of(const OnnxScope *s, OnnxName name) {
    return tni_onnx_text(&s->imp->model.names, name);
}

/* ---- targets ---- */

TnStatus tni_onnx_target_create(OnnxImport *imp, const char *name, OnnxTarget **out, TnError *err) {
    OnnxTarget *t = tni_arena_calloc(imp->scratch, 1, sizeof *t);
    if (t == NULL)
        return TN_OOM(err, sizeof *t);
    t->used.arena = imp->scratch;
    TN_TRY(tni_ir_graph_add(imp->m, name, &t->id, err));
    t->m = imp->m;
    t->g = imp->m->graphs[t->id];
    *out = t;
    return TN_OK;
}

TnStatus tni_onnx_unique(OnnxImport *imp, OnnxTarget *t, const char *base, const char **out, TnError *err) {
    OnnxName id = 0;
    uint32_t next = 0;
    TN_TRY(tni_onnx_intern(&imp->model.names, base, strlen(base), &id, err));
    if (id != 0 && !tni_onnx_map_get(&t->used, id, &next)) {
        *out = tni_onnx_text(&imp->model.names, id);
        return tni_onnx_map_put(&t->used, id, 2, err);
    }
    next = TN_MAX(next, 2u);
    for (;; next++) {
        char *text = tni_arena_printf(imp->scratch, "%s_%u", base, next);
        if (text == NULL)
            return TN_OOM(err, strlen(base) + 12);
        OnnxName candidate = 0;
        uint32_t taken = 0;
        TN_TRY(tni_onnx_intern(&imp->model.names, text, strlen(text), &candidate, err));
        if (!tni_onnx_map_get(&t->used, candidate, &taken)) {
            TN_TRY(tni_onnx_map_put(&t->used, id, next + 1, err));
            *out = tni_onnx_text(&imp->model.names, candidate);
            return tni_onnx_map_put(&t->used, candidate, 2, err);
        }
    }
}

TnStatus tni_onnx_target_input(OnnxImport *imp, OnnxTarget *t, const char *name, OnnxKnown k, IrValueId *out, TnError *err) {
    TN_TRY(tni_ir_input_add(imp->m, t->g, name, out, err));
    return tni_onnx_known_set(imp, t, *out, k, err);
}

TnStatus tni_onnx_target_tensor(OnnxImport *imp, OnnxTarget *t, OnnxTensor *tensor, const char *ir_name, IrValueId *out, TnError *err) {
    TN_TRY(tni_onnx_tensor_data(tensor, ir_name, imp->files, imp->arena, err));
    return tni_ir_const_add(imp->m, t->g, ir_name, (TnDtype)tensor->data_type, (int32_t)tensor->rank, tensor->dims, tensor->data, out, err);
}

/* ---- binding names ---- */

OnnxBind *tni_onnx_scope_find(OnnxScope *s, OnnxName name) {
    uint32_t i = 0;
    return tni_onnx_map_get(&s->map, name, &i) ? &s->bind[i] : NULL;
}

static TnStatus declare(OnnxScope *s, OnnxName name, OnnxBindKind kind, OnnxBind **out, TnError *err) {
    TnArena *a = s->imp->scratch;
    if (!TN_RESERVE_ONE(a, s->bind, s->n_bind, s->cap_bind))
        return TN_OOM(err, (size_t)s->n_bind * 2 * sizeof *s->bind);
    TN_TRY(tni_onnx_map_put(&s->map, name, s->n_bind, err));
    OnnxBind *b = &s->bind[s->n_bind++];
    *b = (OnnxBind){.name = name, .kind = kind, .producer = UINT32_MAX, .value = TN_NO_VALUE};
    *out = b;
    return TN_OK;
}

/* prefix + name for what is inlined; long ones are cut and get a hash instead, since a call inside calls repeats all names above it. */
#define MAX_INLINED_NAME 240u
static TnStatus prefixed(OnnxScope *s, const char *name, const char **out, TnError *err) {
    size_t n = strlen(s->prefix), k = strlen(name);
    const char *text = NULL;
    if (n + k <= MAX_INLINED_NAME)
        text = tni_arena_printf(s->imp->scratch, "%s%s", s->prefix, name);
    else
        text = tni_arena_printf(s->imp->scratch, "%.100s~%016llx/%.100s", s->prefix,
                                (unsigned long long)tni_hash(name, k, tni_hash(s->prefix, n, 0)), name);
    *out = text;
    return text == NULL ? TN_OOM(err, n + k) : TN_OK;
}

/* The name that a value of this scope gets in the target. */
static TnStatus take_name(OnnxScope *s, OnnxBind *b, TnError *err) {
    if (b->ir_name != NULL)
        return TN_OK;
    const char *base = text_of(s, b->name);
    if (s->prefix[0] != '\0')
        TN_TRY(prefixed(s, base, &base, err));
    return tni_onnx_unique(s->imp, s->target, base, &b->ir_name, err);
}

TnStatus tni_onnx_scope_bind(OnnxScope *s, OnnxName name, const OnnxBind *from, TnError *err) {
    OnnxBind *b = NULL;
    TN_TRY(declare(s, name, from->kind, &b, err));
    b->value = from->value;
    b->tensor = from->tensor;
    b->sequence = from->sequence;
    return TN_OK;
}

static TnStatus duplicate(const OnnxScope *s, const OnnxBind *b, const char *who, TnError *err) {
    const OnnxGraph *g = s->graph;
    if (b->producer == UINT32_MAX)
        return TN_RAISE(err, TN_ERR_GRAPH, "value '%.200s' of graph '%.100s' is an input or initializer and also %s", text_of(s, b->name),
                        text_of(s, g->name), who);
    const OnnxNode *n = &g->nodes[b->producer];
    return TN_RAISE(err, TN_ERR_GRAPH, "value '%.200s' of graph '%.100s' is made twice: by node '%.200s' (%.60s, number %u) and by %s",
                    text_of(s, b->name), text_of(s, g->name), text_of(s, n->name), text_of(s, n->op_type), b->producer, who);
}

static TnStatus declare_tensors(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        OnnxBind *b = tni_onnx_scope_find(s, g->tensors[i].name);
        if (b != NULL)
            return duplicate(s, b, "another initializer", err);
        bool text = g->tensors[i].data_type == TN_STRING;
        TN_TRY(declare(s, g->tensors[i].name, text ? ONNX_BIND_STRING : ONNX_BIND_TENSOR, &b, err));
        b->tensor = &g->tensors[i];
    }
    return TN_OK;
}

static TnStatus declare_inputs(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    bool main = s->depth == 0;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        OnnxBind *b = g->inputs[i].name == 0 ? NULL : tni_onnx_scope_find(s, g->inputs[i].name);
        if (main && b != NULL && b->tensor != NULL) {
            if (b->uses == 0) {
                tni_log(s->imp->log, TN_LOG_INFO, "input '%s' has an initializer: it is taken as a constant", text_of(s, b->name));
                b->uses = 1; /* seen; set to 0 below */
                continue;
            }
        }
        if (b != NULL)
            return duplicate(s, b, "another input", err);
        if (g->inputs[i].name == 0)
            return TN_RAISE(err, TN_ERR_GRAPH, "input %u of graph '%.200s' has no name", i, text_of(s, g->name));
        TN_TRY(declare(s, g->inputs[i].name, ONNX_BIND_PENDING, &b, err));
    }
    for (uint32_t i = 0; i < s->n_bind; i++)
        s->bind[i].uses = 0;
    return TN_OK;
}

static TnStatus declare_outputs(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const OnnxNode *n = &g->nodes[i];
        for (uint32_t o = 0; o < n->n_out; o++) {
            if (n->out[o] == 0)
                continue;
            OnnxBind *b = tni_onnx_scope_find(s, n->out[o]);
            if (b != NULL) {
                char who[400];
                snprintf(who, sizeof who, "node '%.200s' (%.60s, number %u)", text_of(s, n->name), text_of(s, n->op_type), i);
                return duplicate(s, b, who, err);
            }
            TN_TRY(declare(s, n->out[o], ONNX_BIND_PENDING, &b, err));
            b->producer = i;
        }
    }
    return TN_OK;
}

/* ---- uses ---- */

static TnStatus use(OnnxScope *s, uint32_t node, OnnxName name, const char *how, TnError *err) {
    OnnxBind *b = tni_onnx_scope_find(s, name);
    if (b != NULL) {
        b->uses++;
        return TN_OK;
    }
    const OnnxNode *n = &s->graph->nodes[node];
    return tni_raise_node(err, TN_ERR_GRAPH, text_of(s, n->name),
                          "%.60s (number %u of graph '%.100s') reads%s '%.200s', which no node, input or initializer makes",
                          text_of(s, n->op_type), node, text_of(s, s->graph->name), how, text_of(s, name));
}

static TnStatus count_uses(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const OnnxNode *n = &g->nodes[i];
        for (uint32_t k = 0; k < n->n_in; k++)
            if (n->in[k] != 0)
                TN_TRY(use(s, i, n->in[k], "", err));
        for (uint32_t k = 0; k < n->n_attrs; k++) {
            const OnnxGraph *sub = n->attrs[k].g;
            for (uint32_t j = 0; sub != NULL && j < sub->n_free; j++)
                TN_TRY(use(s, i, sub->free[j], " in its subgraph", err));
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        OnnxBind *b = g->outputs[i].name == 0 ? NULL : tni_onnx_scope_find(s, g->outputs[i].name);
        if (b == NULL)
            return TN_RAISE(err, TN_ERR_GRAPH, "output '%.200s' of graph '%.200s' is made by no node, input or initializer",
                            text_of(s, g->outputs[i].name), text_of(s, g->name));
        b->uses++;
    }
    return TN_OK;
}

TnStatus tni_onnx_scope_begin(OnnxScope *s, TnError *err) {
    const OnnxGraph *g = s->graph;
    s->map.arena = s->imp->scratch;
    if (g->n_sparse > 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                        "graph '%.200s' has %u sparse initializers; sparse tensors are not supported: store them dense",
                        text_of(s, g->name), g->n_sparse);
    TN_TRY(declare_tensors(s, err));
    TN_TRY(declare_inputs(s, err));
    TN_TRY(declare_outputs(s, err));
    TN_TRY(count_uses(s, err));
    bool inlined = s->fn != NULL && s->graph == &s->fn->body;
    for (uint32_t i = 0; i < s->n_bind && !inlined; i++)
        TN_TRY(take_name(s, &s->bind[i], err));
    return tni_onnx_order_nodes(s, err);
}

TnStatus tni_onnx_scope_value(OnnxScope *s, OnnxName name, const char *who, IrValueId *out, TnError *err) {
    OnnxBind *b = tni_onnx_scope_find(s, name);
    if (b == NULL || b->kind == ONNX_BIND_PENDING)
        return tni_raise_node(err, TN_ERR_GRAPH, who, "value '%.200s' is read before it is made", text_of(s, name));
    if (b->kind == ONNX_BIND_STRING)
        return tni_raise_node(err, TN_ERR_UNSUPPORTED, who, "value '%.200s' is a tensor of strings; these are not supported",
                              text_of(s, name));
    if (b->kind == ONNX_BIND_SEQUENCE)
        return tni_raise_node(err, TN_ERR_UNSUPPORTED, who, "value '%.200s' is a sequence or an empty optional; only tensors are supported here",
                              text_of(s, name));
    if (b->kind == ONNX_BIND_TENSOR) {
        TN_TRY(take_name(s, b, err));
        TN_TRY(tni_onnx_target_tensor(s->imp, s->target, b->tensor, b->ir_name, &b->value, err));
        b->kind = ONNX_BIND_VALUE;
    }
    *out = b->value;
    return TN_OK;
}

/* ---- converting ---- */

TnStatus tni_onnx_node_name(OnnxScope *s, uint32_t index, const char **out, TnError *err) {
    const OnnxNode *n = &s->graph->nodes[index];
    if (n->name != 0 && s->prefix[0] == '\0') {
        *out = text_of(s, n->name);
        return TN_OK;
    }
    const char *base = text_of(s, n->name);
    if (n->name == 0) {
        base = tni_arena_printf(s->imp->scratch, "%s_%u", text_of(s, n->op_type), index);
        if (base == NULL)
            return TN_OOM(err, ONNX_MAX_NAME);
    }
    *out = base;
    return s->prefix[0] == '\0' ? TN_OK : prefixed(s, base, out, err);
}

/* The node's attributes with references to the function's attributes replaced by what the call gave. */
static TnStatus resolve_attrs(OnnxScope *s, OnnxCall *c, TnError *err) {
    const OnnxNode *n = c->node;
    bool any = false;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        any = any || n->attrs[i].ref != 0;
    c->attrs = n->attrs;
    c->n_attrs = n->n_attrs;
    if (!any)
        return TN_OK;
    OnnxAttr *attrs = tni_arena_calloc(s->imp->scratch, n->n_attrs, sizeof *attrs);
    if (attrs == NULL)
        return TN_OOM(err, n->n_attrs * sizeof *attrs);
    c->attrs = attrs;
    c->n_attrs = 0;
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const OnnxAttr *a = &n->attrs[i];
        if (a->ref == 0) {
            attrs[c->n_attrs++] = *a;
            continue;
        }
        if (s->fn == NULL)
            return tni_onnx_fail(c, TN_ERR_GRAPH, "attribute '%.100s' refers to attribute '%.100s' of a function, but the node is in none",
                                 text_of(s, a->name), text_of(s, a->ref));
        for (uint32_t k = 0; k < s->n_args; k++) {
            if (s->args[k].name != a->ref)
                continue;
            if (a->kind != ONNX_ATTR_UNDEFINED && a->kind != s->args[k].kind)
                return tni_onnx_fail(c, TN_ERR_GRAPH, "attribute '%.100s' is %s, but the function was called with '%.100s' of kind %s",
                                     text_of(s, a->name), tni_onnx_attr_kind_name(a->kind), text_of(s, a->ref),
                                     tni_onnx_attr_kind_name(s->args[k].kind));
            if (s->args[k].g != NULL)
                return tni_onnx_fail(c, TN_ERR_UNSUPPORTED, "attribute '%.100s': subgraphs that are handed to a function are not supported",
                                     text_of(s, a->name));
            attrs[c->n_attrs] = s->args[k];
            attrs[c->n_attrs++].name = a->name;
            break;
        }
    }
    return TN_OK;
}

const OnnxSequence *tni_onnx_in_sequence(const OnnxCall *c, uint32_t i) {
    const OnnxBind *b = i >= c->node->n_in || c->node->in[i] == 0 ? NULL : tni_onnx_scope_find(c->scope, c->node->in[i]);
    return b != NULL && b->kind == ONNX_BIND_SEQUENCE ? b->sequence : NULL;
}

static bool takes_sequences(const char *op) {
    return strncmp(op, "Sequence", 8) == 0 || strncmp(op, "Optional", 8) == 0 || strcmp(op, "ConcatFromSequence") == 0 || strcmp(op, "Identity") == 0;
}

static TnStatus open_call(OnnxScope *s, uint32_t index, OnnxCall *c, TnError *err) {
    const OnnxNode *n = &s->graph->nodes[index];
    memset(c, 0, sizeof *c);
    c->scope = s;
    c->imp = s->imp;
    c->node = n;
    c->op = text_of(s, n->op_type);
    c->err = err;
    TN_TRY(tni_onnx_node_name(s, index, &c->name, err));
    c->in = tni_arena_calloc(s->imp->scratch, n->n_in, sizeof *c->in);
    uint32_t room = TN_MAX(n->n_out, 4u); /* converters may emit outputs that the node leaves out */
    c->out = tni_arena_calloc(s->imp->scratch, room, sizeof *c->out);
    c->out_names = tni_arena_calloc(s->imp->scratch, room, sizeof *c->out_names);
    if (c->in == NULL || c->out == NULL || c->out_names == NULL)
        return TN_OOM(err, n->n_in * sizeof *c->in + room * (sizeof *c->out + sizeof *c->out_names));
    const bool function = tni_onnx_function_find(&s->imp->model, n->domain, n->op_type, n->overload) != UINT32_MAX;
    for (uint32_t i = 0; i < n->n_in; i++) {
        c->in[i] = TN_NO_VALUE;
        const bool sequence = tni_onnx_in_sequence(c, i) != NULL && (takes_sequences(c->op) || function);
        if (n->in[i] != 0 && !sequence)
            TN_TRY(tni_onnx_scope_value(s, n->in[i], c->name, &c->in[i], err));
        if (c->in[i] != TN_NO_VALUE || sequence)
            c->n_in = i + 1;
    }
    c->n_out = n->n_out;
    for (uint32_t i = 0; i < room; i++) {
        c->out[i] = TN_NO_VALUE;
        c->out_names[i] = "";
        OnnxBind *b = i >= n->n_out || n->out[i] == 0 ? NULL : tni_onnx_scope_find(s, n->out[i]);
        if (b == NULL || (i > 0 && b->uses == 0))
            continue;
        TN_TRY(take_name(s, b, err));
        c->out_names[i] = b->ir_name;
    }
    return resolve_attrs(s, c, err);
}

static TnStatus check_operands(const OnnxCall *c, const OnnxRow *row) {
    if (c->n_in > row->max_in)
        return tni_onnx_fail(c, TN_ERR_GRAPH, "has %u operands, the most is %u", c->n_in, row->max_in);
    for (uint32_t i = 0; i < row->min_in; i++)
        if (!tni_onnx_has(c, i) && tni_onnx_in_sequence(c, i) == NULL)
            return tni_onnx_fail(c, TN_ERR_GRAPH, "operand %u is missing; the first %u are required", i, row->min_in);
    if (c->n_out == 0 || c->n_out > row->max_out)
        return tni_onnx_fail(c, TN_ERR_GRAPH, "has %u outputs, expected 1..%u", c->n_out, row->max_out);
    return TN_OK;
}

/* Attributes that the converter did not look at belong to another version of the operator, or to none: what they ask for was not done. */
static TnStatus refuse_unread(const OnnxCall *c) {
    for (uint32_t i = 0; i < c->n_attrs; i++)
        if ((i >= 64 || (c->attrs_read >> i & 1) == 0) && /* a hint of the oldest versions */
            strcmp(tni_onnx_text(&c->imp->model.names, c->attrs[i].name), "consumed_inputs") != 0)
            return tni_onnx_fail(c, TN_ERR_UNSUPPORTED, "attribute '%.200s' does not belong to this operator at opset %lld",
                                 tni_onnx_text(&c->imp->model.names, c->attrs[i].name), (long long)c->opset);
    return TN_OK;
}

static TnStatus convert_node(OnnxScope *s, uint32_t index, TnError *err) {
    OnnxCall c;
    s->current = index;
    TN_TRY(open_call(s, index, &c, err));
    const OnnxNode *n = c.node;
    uint32_t f = tni_onnx_function_find(&s->imp->model, n->domain, n->op_type, n->overload);
    if (f != UINT32_MAX) {
        TN_TRY(tni_onnx_call_function(&c, &s->imp->model.functions[f]));
    } else {
        c.opset = tni_onnx_opset(s->opsets, n->domain);
        if (c.opset == 0)
            c.opset = tni_onnx_opset(&s->imp->model.opsets, n->domain);
        const OnnxRow *row = tni_onnx_row_find(text_of(s, n->domain), c.op, c.opset, NULL);
        if (row == NULL)
            return tni_onnx_fail(&c, TN_ERR_UNSUPPORTED, "the operator is not supported at opset %lld", (long long)c.opset);
        c.arg = row->arg;
        TN_TRY(check_operands(&c, row));
        TN_TRY(row->fn(&c));
        TN_TRY(refuse_unread(&c));
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        OnnxBind *b = n->out[i] == 0 ? NULL : tni_onnx_scope_find(s, n->out[i]);
        if (b == NULL || b->kind != ONNX_BIND_PENDING)
            continue; /* absent, or bound by the converter itself (constants) */
        if (c.out[i] == TN_NO_VALUE && b->uses > 0)
            return tni_onnx_fail(&c, TN_ERR_UNSUPPORTED, "output %u ('%.200s') is read, but it is not made", i, text_of(s, b->name));
        b->kind = ONNX_BIND_VALUE;
        b->value = c.out[i];
    }
    return TN_OK;
}

TnStatus tni_onnx_scope_run(OnnxScope *s, TnError *err) {
    for (uint32_t i = 0; i < s->graph->n_nodes; i++)
        TN_TRY(convert_node(s, s->order[i], err));
    return TN_OK;
}

/* ---- outputs ---- */

/* A sequence that the model gives back: an output "NAME/0", "NAME/1", ... for each element. */
static TnStatus sequence_output(OnnxScope *s, const OnnxBind *b, const char *text, TnError *err) {
    OnnxTarget *t = s->target;
    for (uint32_t i = 0; i < b->sequence->n; i++) {
        const char *name = NULL;
        char *base = tni_arena_printf(s->imp->scratch, "%s/%u", text, i);
        IrValueId copy = TN_NO_VALUE;
        if (base == NULL)
            return TN_OOM(err, strlen(text) + 12);
        TN_TRY(tni_onnx_unique(s->imp, t, base, &name, err));
        TN_TRY(tni_ir_node_add(s->imp->m, t->g, TN_OP_identity, name, NULL, &b->sequence->items[i], 1, &name, 1, &copy, err));
        TN_TRY(tni_ir_output_add(s->imp->m, t->g, copy, err));
    }
    return TN_OK;
}

TnStatus tni_onnx_scope_outputs(OnnxScope *s, TnError *err) {
    OnnxImport *imp = s->imp;
    OnnxTarget *t = s->target;
    OnnxMap seen = {.arena = imp->scratch};
    for (uint32_t i = 0; i < s->graph->n_outputs; i++) {
        OnnxName name = s->graph->outputs[i].name;
        const char *text = text_of(s, name);
        IrValueId v = TN_NO_VALUE;
        uint32_t before = 0;
        const OnnxBind *list = tni_onnx_scope_find(s, name);
        if (s->depth == 0 && list != NULL && list->kind == ONNX_BIND_SEQUENCE && !list->sequence->none) {
            TN_TRY(sequence_output(s, list, text, err));
            continue;
        }
        TN_TRY(tni_onnx_scope_value(s, name, text, &v, err));
        if (v == TN_NO_VALUE)
            return TN_RAISE(err, TN_ERR_GRAPH, "output '%.200s' of graph '%.200s' has no value", text, text_of(s, s->graph->name));
        bool again = tni_onnx_map_get(&seen, v, &before);
        const char *out_name = tni_onnx_scope_find(s, name)->ir_name;
        if (again || strcmp(t->g->values[v].name, out_name) != 0) {
            if (again)
                TN_TRY(tni_onnx_unique(imp, t, text, &out_name, err));
            IrValueId copy = TN_NO_VALUE;
            TN_TRY(tni_ir_node_add(imp->m, t->g, TN_OP_identity, out_name, NULL, &v, 1, &out_name, 1, &copy, err));
            TN_TRY(tni_onnx_known_set(imp, t, copy, tni_onnx_known(t, v), err));
            v = copy;
        }
        TN_TRY(tni_onnx_map_put(&seen, v, 1, err));
        TN_TRY(tni_ir_output_add(imp->m, t->g, v, err));
    }
    return TN_OK;
}
