/* SPDX-License-Identifier: Apache-2.0
 *
 * If, Loop and Scan: their bodies become IR graphs of their own. What a body reads from outside is made explicit: constants are added to
 * the body's graph (they share the data), everything else becomes an extra operand of the node and an extra input of the body. */
#include "base/dtype.h"
#include "onnx/express.h"

static const char *text_of(const OnnxCall *c, OnnxName name) {
    return tni_onnx_text(&c->imp->model.names, name);
}

/* Names that bodies take from outside and that are no constants there, each once, in order. */
typedef struct Captures {
    OnnxName *names;
    IrValueId *values; /* in the outer graph */
    uint32_t n, cap, cap_values;
    OnnxMap seen;
} Captures;

static TnStatus collect(OnnxCall *c, const OnnxGraph *body, Captures *out) {
    OnnxScope *s = c->scope;
    const IrGraph *g = s->target->g;
    for (uint32_t i = 0; i < body->n_free; i++) {
        OnnxName name = body->free[i];
        uint32_t unused = 0;
        OnnxBind *b = tni_onnx_scope_find(s, name);
        if (b == NULL || b->kind == ONNX_BIND_PENDING)
            return ONNX_BAD(c, "its subgraph reads '%.200s' before it is made", text_of(c, name));
        if (b->kind == ONNX_BIND_SEQUENCE)
            return ONNX_UNSUPPORTED(c, "its subgraph reads '%.200s', a sequence; sequences in branches and loops are not supported",
                                    text_of(c, name));
        if (b->kind != ONNX_BIND_VALUE || b->value == TN_NO_VALUE || g->values[b->value].kind == IR_CONST ||
            tni_onnx_map_get(&out->seen, name, &unused))
            continue;
        TnArena *a = c->imp->scratch;
        if (!TN_RESERVE_ONE(a, out->names, out->n, out->cap) || !TN_RESERVE_ONE(a, out->values, out->n, out->cap_values))
            return TN_OOM(c->err, (size_t)out->n * 2 * sizeof(OnnxName));
        out->names[out->n] = name;
        out->values[out->n++] = b->value;
        TN_TRY(tni_onnx_map_put(&out->seen, name, 1, c->err));
    }
    return TN_OK;
}

/* A scope for a body, its captures bound: constants as such, the others as inputs (added after `first`, the body's own inputs). */
typedef struct Body {
    OnnxScope scope;
    const char *what;
} Body;

static TnStatus open_body(OnnxCall *c, const char *attr, const OnnxGraph **graph, Body *b) {
    const OnnxAttr *a = tni_onnx_attr(c, attr);
    if (a == NULL || a->kind != ONNX_ATTR_GRAPH || a->g == NULL)
        return ONNX_BAD(c, "attribute '%s' is required, a graph", attr);
    const OnnxScope *s = c->scope;
    memset(b, 0, sizeof *b);
    b->what = attr;
    b->scope = (OnnxScope){.imp = c->imp,
                           .graph = a->g,
                           .opsets = s->opsets,
                           .fn = s->fn,
                           .args = s->args,
                           .n_args = s->n_args,
                           .prefix = s->prefix,
                           .depth = s->depth + 1};
    b->scope.map.arena = c->imp->scratch;
    *graph = a->g;
    const char *name = tni_arena_printf(c->imp->scratch, "%s/%s", c->name, attr);
    if (name == NULL)
        return TN_OOM(c->err, strlen(c->name) + 16);
    return tni_onnx_target_create(c->imp, name, &b->scope.target, c->err);
}

static TnStatus bind_constants(OnnxCall *c, Body *b) {
    OnnxTarget *outer = c->scope->target;
    for (uint32_t i = 0; i < b->scope.graph->n_free; i++) {
        OnnxName name = b->scope.graph->free[i];
        const OnnxBind *from = tni_onnx_scope_find(c->scope, name);
        bool value = from->kind == ONNX_BIND_VALUE && from->value != TN_NO_VALUE;
        if (value && outer->g->values[from->value].kind != IR_CONST)
            continue;
        TN_TRY(tni_onnx_scope_bind(&b->scope, name, from, c->err));
        OnnxBind *to = tni_onnx_scope_find(&b->scope, name);
        if (!value)
            continue; /* an initializer that nobody has used yet, or absent */
        TnTensor t;
        if (!tni_ir_tensor(c->imp->m, outer->g, from->value, &t))
            return tni_onnx_fail(c, TN_ERR_INTERNAL, "constant '%s' is no tensor", text_of(c, name));
        TN_TRY(tni_onnx_unique(c->imp, b->scope.target, text_of(c, name), &to->ir_name, c->err));
        TN_TRY(tni_ir_const_add(c->imp->m, b->scope.target->g, to->ir_name, t.dtype, t.rank, t.dims, t.data, &to->value, c->err));
    }
    return TN_OK;
}

/* Every capture becomes an input, also where this body does not read it: both branches of an If have the same inputs. */
static TnStatus bind_captures(OnnxCall *c, Body *b, const Captures *captures) {
    OnnxMap reads = {.arena = c->imp->scratch};
    for (uint32_t i = 0; i < b->scope.graph->n_free; i++)
        TN_TRY(tni_onnx_map_put(&reads, b->scope.graph->free[i], 1, c->err));
    for (uint32_t i = 0; i < captures->n; i++) {
        const char *name = NULL;
        IrValueId v = TN_NO_VALUE;
        uint32_t unused = 0;
        TN_TRY(tni_onnx_unique(c->imp, b->scope.target, text_of(c, captures->names[i]), &name, c->err));
        TN_TRY(tni_onnx_target_input(c->imp, b->scope.target, name, tni_onnx_known(c->scope->target, captures->values[i]), &v, c->err));
        if (!tni_onnx_map_get(&reads, captures->names[i], &unused))
            continue; /* the name may mean something else in this body */
        OnnxBind from = {.kind = ONNX_BIND_VALUE, .value = v};
        TN_TRY(tni_onnx_scope_bind(&b->scope, captures->names[i], &from, c->err));
        tni_onnx_scope_find(&b->scope, captures->names[i])->ir_name = name;
    }
    return TN_OK;
}

static TnStatus run_body(OnnxCall *c, Body *b) {
    TN_TRY(tni_onnx_scope_run(&b->scope, c->err));
    return tni_onnx_scope_outputs(&b->scope, c->err);
}

static TnStatus emit_control(OnnxCall *c, TnOp op, const TnControlParams *p, const IrValueId *own, uint32_t n_own,
                             const Captures *captures) {
    uint32_t n = n_own + captures->n;
    IrValueId *in = tni_arena_calloc(c->imp->scratch, n, sizeof *in);
    if (in == NULL)
        return TN_OOM(c->err, n * sizeof *in);
    for (uint32_t i = 0; i < n; i++)
        in[i] = i < n_own ? own[i] : captures->values[i - n_own];
    const TnOpInfo *info = tni_op_info(op);
    if (n > info->max_in || c->n_out > info->max_out)
        return tni_onnx_fail(c, TN_ERR_LIMIT, "has %u operands with what its subgraphs read and %u outputs; the most is %u and %u", n,
                             c->n_out, info->max_in, info->max_out);
    return tni_ir_node_add(c->imp->m, c->scope->target->g, op, c->name, p, in, n, c->out_names, c->n_out, c->out, c->err);
}

TnStatus tni_onnx_inline_graph(OnnxCall *c, const char *attr, const IrValueId *in, uint32_t n_in, IrValueId *out, uint32_t n_out) {
    const OnnxAttr *a = tni_onnx_attr(c, attr);
    if (a == NULL || a->kind != ONNX_ATTR_GRAPH || a->g == NULL || a->g->n_inputs != n_in || a->g->n_outputs != n_out)
        return ONNX_BAD(c, "attribute '%s' must be a graph with %u inputs and %u outputs", attr, n_in, n_out);
    const OnnxGraph *g = a->g;
    const OnnxScope *outer = c->scope;
    OnnxScope *s = tni_arena_calloc(c->imp->scratch, 1, sizeof *s);
    char *prefix = tni_arena_printf(c->imp->scratch, "%s/", c->name);
    if (s == NULL || prefix == NULL)
        return TN_OOM(c->err, sizeof *s);
    *s = (OnnxScope){.imp = c->imp,
                     .graph = g,
                     .target = outer->target,
                     .opsets = outer->opsets,
                     .fn = outer->fn,
                     .args = outer->args,
                     .n_args = outer->n_args,
                     .prefix = prefix,
                     .depth = outer->depth + 1};
    s->map.arena = c->imp->scratch;
    for (uint32_t i = 0; i < g->n_free; i++) {
        const OnnxBind *from = tni_onnx_scope_find(c->scope, g->free[i]);
        if (from == NULL || from->kind == ONNX_BIND_PENDING)
            return ONNX_BAD(c, "its subgraph reads '%.200s' before it is made", text_of(c, g->free[i]));
        TN_TRY(tni_onnx_scope_bind(s, g->free[i], from, c->err));
    }
    TN_TRY(tni_onnx_scope_begin(s, c->err));
    for (uint32_t i = 0; i < n_in; i++) {
        OnnxBind *b = tni_onnx_scope_find(s, g->inputs[i].name);
        b->kind = ONNX_BIND_VALUE;
        b->value = in[i];
    }
    TN_TRY(tni_onnx_scope_run(s, c->err));
    for (uint32_t i = 0; i < n_out; i++)
        TN_TRY(tni_onnx_scope_value(s, g->outputs[i].name, c->name, &out[i], c->err));
    return TN_OK;
}

/* The condition when it is known at import: 0 or 1; -1: it is not. */
static int known_condition(const OnnxCall *c) {
    TnTensor t;
    if (tni_onnx_in_const(c, 0, &t) && tn_tensor_numel(&t) == 1)
        return tni_load_i64(t.dtype, t.data, 0) != 0;
    const int32_t v = tni_onnx_in_known(c, 0).value;
    return v < 0 ? -1 : v != 0;
}

/* Only the branch that runs, in place of the node. */
static TnStatus take_branch(OnnxCall *c, const char *attr) {
    IrValueId *out = tni_arena_calloc(c->imp->scratch, c->n_out + 1u, sizeof *out);
    OnnxX x = {.c = c};
    if (out == NULL)
        return TN_OOM(c->err, c->n_out * sizeof *out);
    TN_TRY(tni_onnx_inline_graph(c, attr, NULL, 0, out, c->n_out));
    for (uint32_t i = 0; i < c->n_out; i++)
        TN_TRY(tni_x_finish(&x, i, out[i]));
    return TN_OK;
}

TnStatus tni_onnx_convert_if(OnnxCall *c) {
    static const char *const attrs[2] = {"then_branch", "else_branch"};
    Body body[2];
    const OnnxGraph *graph[2];
    Captures captures = {.seen = {.arena = c->imp->scratch}};
    TnControlParams p;
    memset(&p, 0, sizeof p);
    const int condition = known_condition(c);
    if (condition >= 0) {
        (void)tni_onnx_attr(c, attrs[condition]);
        return take_branch(c, attrs[condition == 0 ? 1 : 0]);
    }
    for (uint32_t i = 0; i < 2; i++) {
        TN_TRY(open_body(c, attrs[i], &graph[i], &body[i]));
        if (graph[i]->n_inputs != 0 || graph[i]->n_outputs != c->n_out)
            return ONNX_BAD(c, "%s has %u inputs and %u outputs, expected 0 and %u", attrs[i], graph[i]->n_inputs, graph[i]->n_outputs,
                            c->n_out);
        TN_TRY(collect(c, graph[i], &captures));
        p.graph[i] = body[i].scope.target->id;
    }
    for (uint32_t i = 0; i < 2; i++) {
        TN_TRY(bind_constants(c, &body[i]));
        TN_TRY(bind_captures(c, &body[i], &captures));
        TN_TRY(tni_onnx_scope_begin(&body[i].scope, c->err));
        TN_TRY(run_body(c, &body[i]));
    }
    TN_TRY(emit_control(c, TN_OP_if_, &p, c->in, 1, &captures));
    /* What both branches agree on. */
    for (uint32_t i = 0; i < c->n_out; i++) {
        const OnnxTarget *a = body[0].scope.target, *b = body[1].scope.target;
        OnnxKnown k = tni_onnx_known(a, a->g->outputs[i]), other = tni_onnx_known(b, b->g->outputs[i]);
        k = (OnnxKnown){k.dtype == other.dtype ? k.dtype : TN_UNDEFINED, k.rank == other.rank ? k.rank : -1,
                        k.len == other.len ? k.len : -1, -1};
        TN_TRY(tni_onnx_known_set(c->imp, c->scope->target, c->out[i], k, c->err));
    }
    return TN_OK;
}

/* Body inputs: iteration, condition, carried... */
static TnStatus loop_inputs(OnnxCall *c, Body *b, uint32_t n_carried, IrValueId *values) {
    static const OnnxKnown own[2] = {{TN_I64, 0, -1, -1}, {TN_BOOL, 0, -1, -1}};
    const OnnxGraph *g = b->scope.graph;
    for (uint32_t i = 0; i < 2 + n_carried; i++) {
        const char *name = NULL;
        OnnxKnown k = i < 2 ? own[i] : tni_onnx_in_known(c, i);
        if (i >= 2)
            k.rank = k.len = k.value = -1; /* a carried value may change its shape from round to round */
        TN_TRY(tni_onnx_unique(c->imp, b->scope.target, text_of(c, g->inputs[i].name), &name, c->err));
        TN_TRY(tni_onnx_target_input(c->imp, b->scope.target, name, k, &values[i], c->err));
    }
    return TN_OK;
}

TnStatus tni_onnx_convert_loop(OnnxCall *c) {
    Body body;
    const OnnxGraph *g = NULL;
    Captures captures = {.seen = {.arena = c->imp->scratch}};
    TnControlParams p;
    memset(&p, 0, sizeof p);
    TN_TRY(open_body(c, "body", &g, &body));
    uint32_t n_in = TN_MAX(c->node->n_in, 2u);
    if (g->n_inputs < 2 || g->n_inputs != n_in || g->n_outputs < 1 || g->n_outputs - 1 != c->n_out || g->n_outputs - 1 < n_in - 2)
        return ONNX_BAD(c,
                        "the body has %u inputs and %u outputs, the node %u operands and %u outputs; expected as many inputs as operands, "
                        "and outputs for the "
                        "condition, each carried value and each further output of the node",
                        g->n_inputs, g->n_outputs, c->node->n_in, c->n_out);
    p.graph[0] = body.scope.target->id;
    p.n_carried = n_in - 2;
    p.n_scan = c->n_out - p.n_carried;
    IrValueId *inputs = tni_arena_calloc(c->imp->scratch, n_in, sizeof *inputs);
    IrValueId *own = tni_arena_calloc(c->imp->scratch, n_in, sizeof *own);
    if (inputs == NULL || own == NULL)
        return TN_OOM(c->err, 2 * n_in * sizeof *own);
    for (uint32_t i = 0; i < n_in; i++) {
        own[i] = tni_onnx_in(c, i);
        if (i >= 2 && own[i] == TN_NO_VALUE)
            return ONNX_BAD(c, "carried value %u is missing", i - 2);
    }
    TN_TRY(loop_inputs(c, &body, p.n_carried, inputs));
    TN_TRY(collect(c, g, &captures));
    TN_TRY(bind_constants(c, &body));
    TN_TRY(bind_captures(c, &body, &captures));
    TN_TRY(tni_onnx_scope_begin(&body.scope, c->err));
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        OnnxBind *b = tni_onnx_scope_find(&body.scope, g->inputs[i].name);
        b->kind = ONNX_BIND_VALUE;
        b->value = inputs[i];
        b->ir_name = body.scope.target->g->values[inputs[i]].name;
    }
    TN_TRY(run_body(c, &body));
    TN_TRY(emit_control(c, TN_OP_loop, &p, own, n_in, &captures));
    for (uint32_t i = 0; i < c->n_out; i++) {
        OnnxKnown k = tni_onnx_known(body.scope.target, body.scope.target->g->outputs[1 + i]);
        k.rank = i < p.n_carried || k.rank < 0 ? -1 : k.rank + 1;
        k.len = k.value = -1;
        TN_TRY(tni_onnx_known_set(c->imp, c->scope->target, c->out[i], k, c->err));
    }
    return TN_OK;
}

/* ---- Scan (opset 9 and newer) as a loop over the length of its scan inputs ----
 *
 *     body(i, go, states..., captures..., whole scan inputs...):
 *         element k = gather(scan input k, i or length - 1 - i, axis k)          outputs: go, states..., elements of the scan outputs...
 *     scan output k: stacked along axis 0, then turned around and moved to its axis. */

typedef struct Scan {
    OnnxCall *c;
    uint32_t n_states, n_scan, n_out; /* n_out: scan outputs */
    int32_t *in_axis, *in_back, *out_axis, *out_back;
} Scan;

static TnStatus scan_numbers(const Scan *s, const char *name, int64_t lo, int64_t hi, uint32_t n, int32_t **out) {
    OnnxCall *c = s->c;
    uint32_t given = 0;
    *out = tni_arena_calloc(c->imp->scratch, n, sizeof **out);
    if (*out == NULL)
        return TN_OOM(c->err, n * sizeof **out);
    TN_TRY(tni_onnx_attr_i32s(c, name, lo, hi, *out, n, &given));
    return given == 0 || given == n ? TN_OK : ONNX_BAD(c, "attribute '%s' has %u numbers, expected %u", name, given, n);
}

static TnStatus scan_attributes(Scan *s, const OnnxGraph *g) {
    OnnxCall *c = s->c;
    int32_t n_scan = 0;
    TN_TRY(tni_onnx_attr_i32(c, "num_scan_inputs", 1, INT32_MAX, &n_scan));
    if (n_scan == 0 || (uint32_t)n_scan > c->n_in || g->n_inputs != c->n_in || g->n_outputs != c->n_out ||
        g->n_outputs < c->n_in - (uint32_t)n_scan)
        return ONNX_BAD(c, "the body has %u inputs and %u outputs, the node %u operands, %d of them scanned, and %u outputs", g->n_inputs,
                        g->n_outputs, c->n_in, n_scan, c->n_out);
    s->n_scan = (uint32_t)n_scan;
    s->n_states = c->n_in - s->n_scan;
    s->n_out = c->n_out - s->n_states;
    TN_TRY(scan_numbers(s, "scan_input_axes", -TN_MAX_RANK, TN_MAX_RANK - 1, s->n_scan, &s->in_axis));
    TN_TRY(scan_numbers(s, "scan_input_directions", 0, 1, s->n_scan, &s->in_back));
    TN_TRY(scan_numbers(s, "scan_output_axes", -TN_MAX_RANK, TN_MAX_RANK - 1, s->n_out, &s->out_axis));
    return scan_numbers(s, "scan_output_directions", 0, 1, s->n_out, &s->out_back);
}

/* An input of the body's graph under the name of body input i. */
static TnStatus scan_input(OnnxCall *c, Body *b, const char *base, OnnxKnown k, IrValueId *out) {
    const char *name = NULL;
    TN_TRY(tni_onnx_unique(c->imp, b->scope.target, base, &name, c->err));
    return tni_onnx_target_input(c->imp, b->scope.target, name, k, out, c->err);
}

/* Binds the body's inputs: states to loop-carried values, the others to elements of the whole scan inputs. */
static TnStatus scan_bind(const Scan *s, Body *b, const IrValueId *head, const IrValueId *whole) {
    OnnxCall inner = *s->c, *c = &inner;
    inner.scope = &b->scope;
    OnnxX x = {.c = c};
    const OnnxGraph *g = b->scope.graph;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        OnnxBind *bind = tni_onnx_scope_find(&b->scope, g->inputs[i].name);
        IrValueId v = head[2 + i];
        if (i >= s->n_states) {
            const uint32_t k = i - s->n_states;
            IrValueId at = head[0];
            if (s->in_back[k]) {
                IrValueId last = tni_x_binary(&x, TN_BINARY_sub, tni_x_dim_scalar(&x, whole[k], s->in_axis[k]), tni_x_int(&x, 1));
                at = tni_x_binary(&x, TN_BINARY_sub, last, at);
            }
            v = tni_x_gather(&x, whole[k], at, s->in_axis[k]);
            TN_TRY(x.st);
        }
        bind->kind = ONNX_BIND_VALUE;
        bind->value = v;
        bind->ir_name = b->scope.target->g->values[v].name;
    }
    return TN_OK;
}

/* The stacked scan output k as the node's output. */
static TnStatus scan_output(const Scan *s, uint32_t k, IrValueId v) {
    OnnxX x = {.c = s->c};
    int32_t axis = s->out_axis[k];
    if (s->out_back[k])
        v = tni_x_flip(&x, v, 0);
    if (axis != 0) {
        uint8_t perm[TN_MAX_RANK];
        int32_t rank = tni_x_rank(&x, v);
        if (x.st == TN_OK && (rank < 0 || axis < -rank || axis >= rank))
            return tni_onnx_fail(s->c, TN_ERR_UNSUPPORTED, "scan output %u is to be stacked along axis %d, but has rank %d", k, axis, rank);
        axis += axis < 0 ? rank : 0;
        for (int32_t i = 0; i < rank; i++)
            perm[i] = (uint8_t)(i < axis ? i + 1 : i == axis ? 0 : i);
        v = tni_x_transpose(&x, v, perm, (uint32_t)rank);
    }
    return tni_x_finish(&x, s->n_states + k, v);
}

/* The loop with its outputs under names of their own. */
static TnStatus scan_emit(const Scan *s, const Body *body, const Captures *captures) {
    OnnxCall *c = s->c;
    OnnxTarget *t = c->scope->target;
    const uint32_t n_own = 2 + s->n_states, n = n_own + captures->n + s->n_scan;
    TnControlParams p;
    memset(&p, 0, sizeof p);
    p.graph[0] = body->scope.target->id;
    p.n_carried = s->n_states;
    p.n_scan = s->n_out;
    OnnxX x = {.c = c};
    IrValueId *in = tni_arena_calloc(c->imp->scratch, n, sizeof *in), *out = tni_arena_calloc(c->imp->scratch, c->n_out + 1u, sizeof *out);
    const char **names = tni_arena_calloc(c->imp->scratch, c->n_out + 1u, sizeof *names);
    if (in == NULL || out == NULL || names == NULL)
        return TN_OOM(c->err, n * sizeof *in);
    in[0] = tni_x_dim_scalar(&x, c->in[s->n_states], s->in_axis[0]);
    in[1] = TN_NO_VALUE;
    TN_TRY(x.st);
    for (uint32_t i = 2; i < n; i++)
        in[i] = i < n_own                 ? c->in[i - 2]
                : i < n_own + captures->n ? captures->values[i - n_own]
                                          : c->in[s->n_states + i - n_own - captures->n];
    const TnOpInfo *info = tni_op_info(TN_OP_loop);
    if (n > info->max_in || c->n_out > info->max_out)
        return tni_onnx_fail(c, TN_ERR_LIMIT, "has %u operands with what its body reads; the most is %u", n, info->max_in);
    for (uint32_t i = 0; i < c->n_out; i++) {
        char *text = tni_arena_printf(c->imp->scratch, "%s/scan", c->name);
        if (text == NULL)
            return TN_OOM(c->err, strlen(c->name) + 8);
        TN_TRY(tni_onnx_unique(c->imp, t, text, &names[i], c->err));
    }
    TN_TRY(tni_ir_node_add(c->imp->m, t->g, TN_OP_loop, c->name, &p, in, n, names, c->n_out, out, c->err));
    for (uint32_t i = 0; i < c->n_out; i++) {
        OnnxKnown k = tni_onnx_known(body->scope.target, body->scope.target->g->outputs[1 + i]);
        k.rank = i < s->n_states || k.rank < 0 ? -1 : k.rank + 1;
        k.len = k.value = -1;
        TN_TRY(tni_onnx_known_set(c->imp, t, out[i], k, c->err));
        TN_TRY(i < s->n_states ? tni_x_finish(&x, i, out[i]) : scan_output(s, i - s->n_states, out[i]));
    }
    return TN_OK;
}

TnStatus tni_onnx_convert_scan(OnnxCall *c) {
    static const OnnxKnown own[2] = {{TN_I64, 0, -1, -1}, {TN_BOOL, 0, -1, -1}};
    Body body;
    const OnnxGraph *g = NULL;
    Captures captures = {.seen = {.arena = c->imp->scratch}};
    Scan s = {.c = c};
    TN_TRY(open_body(c, "body", &g, &body));
    TN_TRY(scan_attributes(&s, g));
    for (uint32_t i = 0; i < c->n_in; i++)
        if (c->in[i] == TN_NO_VALUE)
            return ONNX_BAD(c, "operand %u is missing", i);
    IrValueId *head = tni_arena_calloc(c->imp->scratch, 2 + c->n_in, sizeof *head),
              *whole = tni_arena_calloc(c->imp->scratch, s.n_scan, sizeof *whole);
    if (head == NULL || whole == NULL)
        return TN_OOM(c->err, (2 + c->n_in) * sizeof *head);
    TN_TRY(collect(c, g, &captures));
    for (uint32_t i = 0; i < 2 + s.n_states; i++) {
        OnnxKnown k = i < 2 ? own[i] : tni_onnx_in_known(c, i - 2);
        k.len = k.value = -1;
        TN_TRY(scan_input(c, &body, i == 0 ? "iteration" : i == 1 ? "go" : text_of(c, g->inputs[i - 2].name), k, &head[i]));
    }
    TN_TRY(bind_constants(c, &body));
    TN_TRY(bind_captures(c, &body, &captures));
    for (uint32_t i = 0; i < s.n_scan; i++) {
        OnnxKnown k = tni_onnx_in_known(c, s.n_states + i);
        k.value = -1;
        TN_TRY(scan_input(c, &body, "scanned", k, &whole[i]));
    }
    TN_TRY(tni_onnx_scope_begin(&body.scope, c->err));
    TN_TRY(scan_bind(&s, &body, head, whole));
    TN_TRY(tni_onnx_scope_run(&body.scope, c->err));
    OnnxTarget *t = body.scope.target;
    const char *go = NULL;
    IrValueId condition = 0;
    TN_TRY(tni_onnx_unique(c->imp, t, "go_on", &go, c->err));
    TN_TRY(tni_ir_node_add(c->imp->m, t->g, TN_OP_identity, go, NULL, &head[1], 1, &go, 1, &condition, c->err));
    TN_TRY(tni_ir_output_add(c->imp->m, t->g, condition, c->err));
    TN_TRY(tni_onnx_scope_outputs(&body.scope, c->err));
    return scan_emit(&s, &body, &captures);
}
