/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules on numbers: one operator on concrete tensors, for the interpreter.
 * In: tensors. Out: types and dims of the results. The operands become constants of a graph of one node that lives on the stack and in
 * `scratch`; the rule is the one that symbols use. */
#include "shape/rule.h"

#include <inttypes.h>

static void set_value(IrModule *m, IrValue *v, const TnTensor *t, IrValueKind kind, const char *name) {
    v->name = name;
    v->kind = kind;
    v->producer = kind == IR_CONST ? TN_NO_NODE : 0;
    v->dtype = t->dtype;
    v->rank = t->rank;
    v->data = t->data;
    for (int32_t i = 0; i < TN_MAX_RANK; i++)
        v->dims[i] = i < t->rank ? tni_ir_dim_const(m, t->dims[i]) : TN_DIM_NONE;
}

/* Bounds may be larger than what fits; a dim that stayed symbolic is a fault of a rule. */
static TnStatus read_result(const IrModule *m, const IrValue *v, TnOp op, TnTensor *out, TnError *err) {
    int64_t dims[TN_MAX_RANK] = {0};
    for (int32_t i = 0; i < v->rank; i++) {
        if (!tni_ir_dim_is_const(m, v->dims[i], &dims[i]))
            return TN_RAISE(err, TN_ERR_INTERNAL, "%s: dimension %" PRId32 " of the result has no value", tni_op_info(op)->name, i);
    }
    out->dtype = v->dtype;
    out->rank = v->rank;
    memcpy(out->dims, dims, sizeof dims);
    return TN_OK;
}

static TnStatus run(ShapeRule *r, TnTensor *out, TnError *err) {
    TN_TRY(tni_shape_rule_of(r->n->op)(r));
    for (uint32_t i = 0; i < r->n->n_out; i++) {
        if (r->n->out[i] == TN_NO_VALUE)
            continue;
        IrValue *v = &r->g->values[r->n->out[i]];
        TN_TRY(tni_shape_store(r, i, v));
        TN_TRY(read_result(r->m, v, r->n->op, &out[i], err));
    }
    return TN_OK;
}

TnStatus tni_shape_concrete(TnOp op, void *params, const TnTensor *in, uint32_t n_in, TnTensor *out, uint32_t n_out, TnArena *scratch,
                            TnError *err) {
    const TnOpInfo *info = tni_op_info(op);
    if (n_in < info->min_in || n_in > info->max_in || n_out < info->min_out || n_out > info->max_out)
        return TN_RAISE(err, TN_ERR_GRAPH, "%s: %" PRIu32 " inputs and %" PRIu32 " outputs are not what the operator has", info->name, n_in,
                        n_out);
    if ((info->flags & TN_OPF_CONTROL) != 0)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "%s: control flow has no shapes of its own", info->name);
    IrModule m = {.arena = scratch};
    IrGraph g = {.name = "", .n_values = n_in + n_out, .n_nodes = 1};
    IrNode n = {.op = op, .params = params, .n_in = n_in, .n_out = n_out};
    g.values = tni_arena_calloc(scratch, (size_t)n_in + n_out, sizeof *g.values);
    g.nodes = &n;
    n.in = tni_arena_calloc(scratch, (size_t)n_in + n_out, sizeof *n.in);
    ShapeOut *outs = tni_arena_calloc(scratch, n_out, sizeof *outs);
    if (g.values == NULL || n.in == NULL || outs == NULL)
        return TN_OOM(err, ((size_t)n_in + n_out) * sizeof *g.values);
    n.out = n.in + n_in;
    for (uint32_t i = 0; i < n_in; i++) {
        bool there = in[i].dtype != TN_UNDEFINED;
        if (there && (in[i].rank < 0 || in[i].rank > TN_MAX_RANK || !tni_shape_bytes(in[i].dtype, in[i].rank, in[i].dims, NULL, NULL)))
            return TN_RAISE(err, TN_ERR_SHAPE, "%s: input %" PRIu32 " has an impossible shape", info->name, i);
        if (!there && i < info->min_in)
            return TN_RAISE(err, TN_ERR_GRAPH, "%s: input %" PRIu32 " is required", info->name, i);
        n.in[i] = there ? i : TN_NO_VALUE;
        if (there)
            set_value(&m, &g.values[i], &in[i], IR_CONST, "");
    }
    for (uint32_t i = 0; i < n_out; i++) {
        /* What the caller knows of a result (a reshape whose shape operand was dropped) counts as an earlier inference. */
        bool before = out[i].dtype != TN_UNDEFINED && out[i].rank >= 0 && out[i].rank <= TN_MAX_RANK;
        TnTensor none = {.rank = -1};
        n.out[i] = n_in + i;
        outs[i].rank = -1;
        set_value(&m, &g.values[n_in + i], before ? &out[i] : &none, IR_NODE_OUTPUT, "");
    }
    TN_TRY(tni_ir_dims_check(&m, err));
    ShapeRule r = {&m, &g, &n, outs, true, err};
    return run(&r, out, err);
}
