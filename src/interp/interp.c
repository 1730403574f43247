/* SPDX-License-Identifier: Apache-2.0
 *
 * A graph, node by node. Every tensor has memory of its own and is freed after its last use. */
#include <stdio.h>

#include "interp/run.h"

typedef struct Frame {
    const Run *r;
    const IrGraph *g;
    TnTensor *values;   /* [n_values]; data NULL: not made yet, or freed */
    uint32_t *uses;     /* [n_values] reads to come; graph outputs count one that never comes */
    uint8_t *owned;     /* [n_values] data is ours */
    TnTensor *operands; /* [max n_in + max n_out] */
    void *memory;
} Frame;

static TnStatus frame_create(const Run *r, const IrGraph *g, Frame *f) {
    uint32_t most_in = 0, most_out = 0;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        most_in = TN_MAX(most_in, g->nodes[i].n_in);
        most_out = TN_MAX(most_out, g->nodes[i].n_out);
    }
    const size_t n = g->n_values, tensors = n + most_in + most_out, bytes = tensors * sizeof(TnTensor) + n * (sizeof(uint32_t) + 1) + 1;
    *f = (Frame){.r = r, .g = g, .memory = tni_calloc(r->a, 1, bytes)};
    if (f->memory == NULL)
        return TN_OOM(r->err, bytes);
    f->values = f->memory;
    f->operands = f->values + n;
    f->uses = (uint32_t *)(void *)(f->values + tensors);
    f->owned = (uint8_t *)(f->uses + n);
    for (uint32_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i].n_in && !g->nodes[i].dead; k++)
            if (g->nodes[i].in[k] != TN_NO_VALUE)
                f->uses[g->nodes[i].in[k]]++;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        f->uses[g->outputs[i]]++;
    return TN_OK;
}

static void frame_destroy(Frame *f) {
    for (uint32_t v = 0; f->memory != NULL && v < f->g->n_values; v++)
        if (f->owned[v] != 0)
            tni_interp_free(f->r, &f->values[v], 1);
    tni_free(f->r->a, f->memory);
}

static void release(Frame *f, IrValueId v) {
    if (--f->uses[v] == 0 && f->owned[v] != 0) {
        tni_interp_free(f->r, &f->values[v], 1);
        f->owned[v] = 0;
    }
}

/* The tensor of value v. A constant whose bytes are not aligned to its elements (mapped files) is copied at its first use. */
static TnStatus fetch(Frame *f, IrValueId v, TnTensor *out) {
    if (f->g->values[v].kind == IR_CONST && f->values[v].data == NULL) {
        TnTensor t;
        if (!tni_ir_tensor(f->r->m, f->g, v, &t))
            return TN_RAISE(f->r->err, TN_ERR_INTERNAL, "constant '%s' has no known shape", f->g->values[v].name);
        const uintptr_t align = TN_MIN(tn_dtype_bits(t.dtype), 64u) / 8;
        f->owned[v] = t.data == NULL || (align > 1 && (uintptr_t)t.data % align != 0);
        if (f->owned[v] != 0) {
            TnStatus st = tni_interp_copy(f->r, &t, &f->values[v]);
            if (st != TN_OK) {
                f->owned[v] = 0;
                return st;
            }
        } else {
            f->values[v] = t;
        }
    }
    *out = f->values[v];
    if (out->data == NULL)
        return TN_RAISE(f->r->err, TN_ERR_INTERNAL, "value '%s' is read before it is made", f->g->values[v].name);
    return TN_OK;
}

/* Is this a reshape whose target shape was dropped because its output's dims are known? */
static bool shape_dropped(const IrNode *n) {
    return n->op == TN_OP_reshape && (n->n_in < 2 || n->in[1] == TN_NO_VALUE) &&
           ((const TnReshapeParams *)n->params)->kind == TN_RESHAPE_SHAPE;
}

/* Such a reshape with the target shape put back from the numbers of this run. */
static TnStatus run_reshape(Frame *f, const IrNode *node, const Env *env, const TnTensor *x, TnTensor *out) {
    const IrValue *v = &f->g->values[node->out[0]];
    int64_t dims[TN_MAX_RANK] = {0};
    for (int32_t i = 0; i < v->rank; i++) {
        if (v->dims[i] == TN_DIM_NONE || env->has_value[v->dims[i]] == 0)
            return tni_raise_node(f->r->err, TN_ERR_INTERNAL, node->name, "the target shape is missing and dim %d is not known", (int)i);
        dims[i] = env->values[v->dims[i]];
    }
    TnReshapeParams p = *(const TnReshapeParams *)node->params;
    p.allowzero = 1;
    IrValueId ids[2] = {node->in[0], node->in[0]};
    IrNode whole = *node;
    whole.params = &p;
    whole.in = ids;
    whole.n_in = 2;
    TnTensor in[2] = {*x, {.data = dims, .dtype = TN_I64, .rank = 1, .dims = {v->rank}}};
    return tni_interp_step(f->r, &whole, env, in, out);
}

static TnStatus run_node(Frame *f, IrNodeId id, Env *env, InterpHook hook, void *hook_ctx) {
    const IrNode *node = &f->g->nodes[id];
    TnTensor *in = f->operands, *out = in + node->n_in;
    for (uint32_t k = 0; k < node->n_in; k++) {
        in[k] = (TnTensor){0};
        if (node->in[k] != TN_NO_VALUE)
            TN_TRY(fetch(f, node->in[k], &in[k]));
    }
    if (shape_dropped(node) && node->out[0] != TN_NO_VALUE)
        TN_TRY(run_reshape(f, node, env, &in[0], out));
    else
        TN_TRY(tni_interp_step(f->r, node, env, in, out));
    for (uint32_t k = 0; k < node->n_out; k++)
        if (node->out[k] != TN_NO_VALUE) {
            f->values[node->out[k]] = out[k];
            f->owned[node->out[k]] = 1;
        }
    for (uint32_t k = 0; k < node->n_out; k++) {
        char why[512];
        const IrValueId v = node->out[k];
        if (v == TN_NO_VALUE)
            continue;
        if (!tni_interp_env_agree(env, &f->g->values[v], &f->values[v], why, sizeof why))
            return tni_raise_node(f->r->err, TN_ERR_INTERNAL, node->name, "output '%s' of %s is not as inferred: %s", f->g->values[v].name,
                                  tni_op_info(node->op)->name, why);
        if (hook != NULL)
            TN_TRY(hook(hook_ctx, id, k, &f->values[v], f->r->err));
    }
    for (uint32_t k = 0; k < node->n_in; k++)
        if (node->in[k] != TN_NO_VALUE)
            release(f, node->in[k]);
    for (uint32_t k = 0; k < node->n_out; k++)
        if (node->out[k] != TN_NO_VALUE) {
            f->uses[node->out[k]]++; /* so that an output nobody reads goes, too */
            release(f, node->out[k]);
        }
    return TN_OK;
}

/* Moves a graph output out of the frame; copies what is not ours or is wanted again. */
static TnStatus take(Frame *f, IrValueId v, TnTensor *out) {
    TnTensor t;
    TN_TRY(fetch(f, v, &t));
    if (f->owned[v] == 0 || f->uses[v] > 1) {
        TN_TRY(tni_interp_copy(f->r, &t, out));
        f->uses[v]--;
        return TN_OK;
    }
    *out = t;
    f->values[v].data = NULL;
    f->owned[v] = 0;
    return TN_OK;
}

TnStatus tni_interp_graph(const Run *r, IrGraphId id, Env *env, const TnTensor *inputs, TnTensor *outputs, InterpHook hook,
                          void *hook_ctx) {
    const IrGraph *g = r->m->graphs[id];
    Frame f;
    memset(outputs, 0, g->n_outputs * sizeof *outputs);
    TnStatus st = frame_create(r, g, &f);
    if (st != TN_OK)
        return st;
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        char why[512];
        f.values[g->inputs[i]] = inputs[i];
        if (inputs[i].data == NULL) /* no elements: any address will do */
            f.values[g->inputs[i]].data = f.memory;
        if (!tni_interp_env_agree(env, &g->values[g->inputs[i]], &inputs[i], why, sizeof why)) {
            st = TN_RAISE(r->err, TN_ERR_INTERNAL, "input '%s' of graph '%s' is not as inferred: %s", g->values[g->inputs[i]].name, g->name,
                          why);
            goto fail;
        }
    }
    for (IrNodeId i = 0; i < g->n_nodes; i++)
        if (!g->nodes[i].dead)
            TN_TRY_GOTO(run_node(&f, i, env, hook, hook_ctx));
    for (uint32_t i = 0; i < g->n_outputs; i++)
        TN_TRY_GOTO(take(&f, g->outputs[i], &outputs[i]));
fail:
    if (st != TN_OK)
        tni_interp_free(r, outputs, g->n_outputs);
    frame_destroy(&f);
    return st;
}

/* "float32 [batch, 3, 224, 224]" as declared. */
static void declared(const IrModule *m, const IrValue *v, char *buf, size_t n) {
    size_t at = (size_t)snprintf(buf, n, "%s [", tn_dtype_name(v->dtype));
    for (int32_t d = 0; d < v->rank && at < n; d++) {
        char text[128];
        at += (size_t)snprintf(buf + at, n - at, "%s%s", d == 0 ? "" : ", ",
                               v->dims[d] == TN_DIM_NONE ? "?" : tni_dim_str(text, sizeof text, m->exprs, m->symbols, v->dims[d]));
    }
    if (at < n)
        snprintf(buf + at, n - at, "]");
}

/* Binds the symbols of one input; where says who bound each symbol first (input index + 1). */
static TnStatus bind_input(const Run *r, const IrGraph *g, uint32_t i, const TnTensor *t, Env *env, uint32_t *where) {
    const IrValue *v = &g->values[g->inputs[i]];
    char want[512], found[160];
    declared(r->m, v, want, sizeof want);
    if (t->dtype != v->dtype && v->dtype != TN_UNDEFINED)
        return TN_RAISE(r->err, TN_ERR_TYPE, "input '%s': expected %s, found %s", v->name, want, tn_dtype_name(t->dtype));
    if (t->rank < 0 || t->rank > TN_MAX_RANK || !tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, NULL))
        return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': expected %s, found a rank or dims that are not possible", v->name, want);
    if (t->data == NULL && tn_tensor_numel(t) > 0)
        return TN_RAISE(r->err, TN_ERR_ARGUMENT, "input '%s' has no data", v->name);
    tni_shape_str(found, sizeof found, t->rank, t->dims);
    if (v->rank >= 0 && t->rank != v->rank)
        return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': expected %s, found rank %d, shape %s", v->name, want, (int)t->rank, found);
    for (int32_t d = 0; d < v->rank; d++) {
        const TnDimExpr *e = v->dims[d] == TN_DIM_NONE ? NULL : &r->m->exprs[v->dims[d]];
        if (e != NULL && e->op == TN_DIM_CONST && e->value != t->dims[d])
            return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': expected %s, found shape %s: axis %d must be %lld", v->name, want, found,
                            (int)d, (long long)e->value);
        if (e == NULL || e->op != TN_DIM_SYMBOL)
            continue;
        const TnSymbol *s = &r->m->symbols[e->value];
        if (env->has_symbol[e->value] == 0) {
            if (t->dims[d] < s->min || t->dims[d] > s->max)
                return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': axis %d (%s) is %lld, outside the range %lld to %lld", v->name, (int)d,
                                s->name, (long long)t->dims[d], (long long)s->min, (long long)s->max);
            env->symbols[e->value] = t->dims[d];
            env->has_symbol[e->value] = 1;
            where[e->value] = i;
        } else if (env->symbols[e->value] != t->dims[d]) {
            return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': expected %s, found shape %s: %s is %lld in input '%s' but axis %d is %lld",
                            v->name, want, found, s->name, (long long)env->symbols[e->value], g->values[g->inputs[where[e->value]]].name,
                            (int)d, (long long)t->dims[d]);
        }
    }
    return TN_OK;
}

static TnStatus bind_inputs(const Run *r, const IrGraph *g, const TnTensor *inputs, Env *env) {
    uint32_t *where = tni_calloc(r->a, TN_MAX(r->m->n_symbols, 1u), sizeof *where);
    if (where == NULL)
        return TN_OOM(r->err, r->m->n_symbols * sizeof *where);
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < g->n_inputs && st == TN_OK; i++)
        st = bind_input(r, g, i, &inputs[i], env, where);
    tni_free(r->a, where);
    if (st != TN_OK)
        return st;
    tni_interp_env_update(env);
    for (uint32_t i = 0; i < g->n_inputs; i++) { /* dims that are formulas of other inputs' */
        char why[512];
        const IrValue *v = &g->values[g->inputs[i]];
        if (!tni_interp_env_agree(env, v, &inputs[i], why, sizeof why))
            return TN_RAISE(r->err, TN_ERR_SHAPE, "input '%s': %s", v->name, why);
    }
    return TN_OK;
}

TnStatus tni_interp_run(const IrModule *m, IrGraphId g, const TnTensor *inputs, TnTensor *outputs, const TnAllocator *a, TnThreads *threads,
                        InterpHook hook, void *hook_ctx, TnError *err) {
    TnError local = {0};
    const Run r = {m, a == NULL ? tni_default_allocator() : a, threads, err == NULL ? &local : err};
    if (g >= m->n_graphs)
        return TN_RAISE(r.err, TN_ERR_ARGUMENT, "graph %u was asked for, the module has %u", g, m->n_graphs);
    Env env;
    TN_TRY(tni_interp_env_create(m, r.a, NULL, &env, r.err));
    TnStatus st = bind_inputs(&r, m->graphs[g], inputs, &env);
    if (st == TN_OK)
        st = tni_interp_graph(&r, g, &env, inputs, outputs, hook, hook_ctx);
    else
        memset(outputs, 0, m->graphs[g]->n_outputs * sizeof *outputs);
    tni_interp_env_destroy(&env);
    return st;
}
