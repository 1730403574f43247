/* SPDX-License-Identifier: Apache-2.0
 *
 * Modules as text.
 * In: a module. Out: lines through a callback, stable for equal modules:
 *   graph main {
 *     input %pixels: float32[batch, 3, 224, 224]
 *     const %w: float32[64, 3, 7, 7]
 *     %y: float32[batch, 64, 112, 112] = conv(%pixels, %w, _) {n_spatial=2 ...} "node name"
 *     output %y
 *   }
 * Small integer constants are printed with their values, known contents of small integer tensors as "<batch, 12, 64>". */
#include "ir/graph.h"

#include "base/dtype.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

typedef struct Out {
    const IrModule *m;
    TnTextFn fn;
    void *ctx;
} Out;

static void say(const Out *o, const char *text) {
    o->fn(o->ctx, text, strlen(text));
}

static void sayf(const Out *o, const char *fmt, ...) TN_PRINTF(2, 3);
static void sayf(const Out *o, const char *fmt, ...) {
    char buf[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(buf, sizeof buf, fmt, ap);
    va_end(ap);
    if (n > 0)
        o->fn(o->ctx, buf, TN_MIN((size_t)n, sizeof buf - 1));
}

static void say_dims(const Out *o, const TnDim *dims, uint32_t n, const char *open, const char *close) {
    char buf[256];
    say(o, open);
    for (uint32_t i = 0; i < n; i++) {
        say(o, i > 0 ? ", " : "");
        say(o, tni_dim_str(buf, sizeof buf, o->m->exprs, o->m->symbols, dims[i]));
    }
    say(o, close);
}

static void say_name(const Out *o, const IrGraph *g, IrValueId v) {
    if (v == TN_NO_VALUE) {
        say(o, "_");
    } else {
        say(o, "%");
        say(o, g->values[v].name);
    }
}

static void say_type(const Out *o, const IrValue *v) {
    if (v->dtype == TN_UNDEFINED && v->rank < 0) {
        say(o, ": ?");
        return;
    }
    sayf(o, ": %s", v->dtype == TN_UNDEFINED ? "?" : tn_dtype_name(v->dtype));
    if (v->rank < 0)
        say(o, "[...]");
    else
        say_dims(o, v->dims, (uint32_t)v->rank, "[", "]");
    if (v->elems != NULL && v->kind != IR_CONST)
        say_dims(o, v->elems, v->n_elems, " <", ">");
}

static void say_const(const Out *o, const IrGraph *g, IrValueId id) {
    TnTensor t;
    say(o, "  const ");
    say_name(o, g, id);
    say_type(o, &g->values[id]);
    if (tni_ir_tensor(o->m, g, id, &t) && tn_tensor_numel(&t) <= 8 && tn_dtype_bits(t.dtype) >= 8) {
        int64_t n = tn_tensor_numel(&t);
        say(o, " = {");
        for (int64_t i = 0; i < n; i++) {
            say(o, i > 0 ? ", " : "");
            if (tni_dtype_is_float(t.dtype))
                sayf(o, "%.9g", tni_load_f64(t.dtype, t.data, i));
            else
                sayf(o, "%" PRId64, tni_load_i64(t.dtype, t.data, i));
        }
        say(o, "}");
    }
    say(o, "\n");
}

static void say_node(const Out *o, const IrGraph *g, const IrNode *n) {
    char buf[1024];
    say(o, "  ");
    for (uint32_t i = 0; i < n->n_out; i++) {
        say(o, i > 0 ? ", " : "");
        say_name(o, g, n->out[i]);
        if (n->out[i] != TN_NO_VALUE)
            say_type(o, &g->values[n->out[i]]);
    }
    sayf(o, "%s%s(", n->n_out > 0 ? " = " : "", tni_op_info(n->op)->name);
    for (uint32_t i = 0; i < n->n_in; i++) {
        say(o, i > 0 ? ", " : "");
        say_name(o, g, n->in[i]);
    }
    say(o, ")");
    if (n->op == TN_OP_dims) {
        const TnDimsParams *p = n->params;
        say_dims(o, p->dim, TN_MIN(p->n, (uint32_t)TN_DIMS_MAX), " {", "}");
    } else if (tni_ir_params_str(n->op, n->params, buf, sizeof buf)[0] != '\0') {
        say(o, " {");
        say(o, buf);
        say(o, "}");
    }
    say(o, " \"");
    say(o, n->name);
    say(o, "\"\n");
}

static void say_symbols(const Out *o) {
    char buf[256];
    for (uint32_t i = 0; i < o->m->n_symbols; i++) {
        const TnSymbol *s = &o->m->symbols[i];
        sayf(o, "symbol %s: %" PRId64 "..", s->name, s->min);
        if (s->max != INT64_MAX)
            sayf(o, "%" PRId64, s->max);
        if (s->data_dependent)
            sayf(o, " from data, at most %s", tni_dim_str(buf, sizeof buf, o->m->exprs, o->m->symbols, s->bound));
        say(o, "\n");
    }
}

void tni_ir_print(const IrModule *m, TnTextFn fn, void *ctx) {
    Out o = {m, fn, ctx};
    say_symbols(&o);
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const IrGraph *g = m->graphs[i];
        say(&o, "graph ");
        say(&o, g->name);
        say(&o, " {\n");
        for (uint32_t k = 0; k < g->n_inputs; k++) {
            say(&o, "  input ");
            say_name(&o, g, g->inputs[k]);
            say_type(&o, &g->values[g->inputs[k]]);
            say(&o, "\n");
        }
        for (IrValueId v = 0; v < g->n_values; v++) {
            if (g->values[v].kind == IR_CONST)
                say_const(&o, g, v);
        }
        for (IrNodeId k = 0; k < g->n_nodes; k++) {
            if (!g->nodes[k].dead)
                say_node(&o, g, &g->nodes[k]);
        }
        for (uint32_t k = 0; k < g->n_outputs; k++) {
            say(&o, "  output ");
            say_name(&o, g, g->outputs[k]);
            say(&o, "\n");
        }
        say(&o, "}\n");
    }
}
