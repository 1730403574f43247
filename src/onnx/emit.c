/* SPDX-License-Identifier: Apache-2.0
 *
 * Operands and results of converters: reading constants, emitting IR nodes under the right names. */
#include "base/dtype.h"
#include "onnx/convert.h"

/* ---- operands ---- */

OnnxKnown tni_onnx_in_known(const OnnxCall *c, uint32_t i) {
    return tni_onnx_known(c->scope->target, tni_onnx_in(c, i));
}

TnDtype tni_onnx_dtype_or(const OnnxCall *c, uint32_t i, TnDtype otherwise) {
    TnDtype t = tni_onnx_in_known(c, i).dtype;
    return t == TN_UNDEFINED ? otherwise : t;
}

/* A node whose output has the elements of its operand 0 in their order, if these are integers. */
static bool keeps_elements(const IrNode *n) {
    return n->op == TN_OP_identity || n->op == TN_OP_reshape || (n->op == TN_OP_cast && ((const TnCastParams *)n->params)->to == TN_I64);
}

bool tni_onnx_in_const(const OnnxCall *c, uint32_t i, TnTensor *out) {
    const IrGraph *g = c->scope->target->g;
    IrValueId v = tni_onnx_in(c, i);
    bool through = false;
    for (uint32_t hops = 0; v != TN_NO_VALUE && hops < 16; hops++) {
        const IrValue *value = &g->values[v];
        if (value->kind == IR_CONST)
            return tni_ir_tensor(c->imp->m, g, v, out) && (!through || tni_dtype_is_int(out->dtype));
        if (value->kind != IR_NODE_OUTPUT || !keeps_elements(&g->nodes[value->producer]))
            return false;
        through = through || g->nodes[value->producer].op == TN_OP_cast;
        v = g->nodes[value->producer].in[0];
    }
    return false;
}

TnStatus tni_onnx_in_ints(OnnxCall *c, uint32_t i, const char *what, int64_t *out, uint32_t max, uint32_t *n) {
    TnTensor t;
    if (!tni_onnx_in_const(c, i, &t))
        return ONNX_UNSUPPORTED(c, "operand %u (%s) is computed at run time; only a constant is supported here", i, what);
    if (!tni_dtype_is_int(t.dtype))
        return ONNX_BAD(c, "operand %u (%s) is of type %s, expected integers", i, what, tn_dtype_name(t.dtype));
    int64_t count = tn_tensor_numel(&t);
    if (count > (int64_t)max)
        return ONNX_BAD(c, "operand %u (%s) has %lld numbers, the most is %u", i, what, (long long)count, max);
    for (int64_t k = 0; k < count; k++)
        out[k] = tni_load_i64(t.dtype, t.data, k);
    *n = (uint32_t)count;
    return TN_OK;
}

TnStatus tni_onnx_axes(OnnxCall *c, uint32_t operand, int32_t *axes, uint32_t *n, bool *given) {
    int64_t v[TN_MAX_RANK];
    *n = 0;
    *given = tni_onnx_has(c, operand);
    if (*given) {
        TN_TRY(tni_onnx_in_ints(c, operand, "axes", v, TN_MAX_RANK, n));
    } else {
        const int64_t *a = NULL;
        *given = tni_onnx_has_attr(c, "axes");
        TN_TRY(tni_onnx_attr_ints(c, "axes", &a, n));
        if (*n > TN_MAX_RANK)
            return ONNX_BAD(c, "has %u axes, the most is %d", *n, TN_MAX_RANK);
        for (uint32_t i = 0; i < *n; i++)
            v[i] = a[i];
    }
    for (uint32_t i = 0; i < *n; i++) {
        if (v[i] < -TN_MAX_RANK || v[i] >= TN_MAX_RANK)
            return ONNX_BAD(c, "axis %lld is out of range", (long long)v[i]);
        for (uint32_t k = 0; k < i; k++)
            if (v[k] == v[i])
                return ONNX_BAD(c, "axis %lld is given twice", (long long)v[i]);
        axes[i] = (int32_t)v[i];
    }
    return TN_OK;
}

TnStatus tni_onnx_only_outputs(OnnxCall *c, uint32_t from) {
    for (uint32_t i = from; i < c->n_out; i++) {
        if (tni_onnx_wants(c, i))
            return ONNX_UNSUPPORTED(c, "output %u ('%.200s') is read; only the first %u are supported", i, c->out_names[i], from);
        c->out[i] = TN_NO_VALUE;
    }
    return TN_OK;
}

/* ---- emitting ---- */

static TnStatus add_node(OnnxCall *c, const char *name, TnOp op, const void *params, const IrValueId *in, uint32_t n_in,
                         const char *const *out_names, uint32_t n_out, IrValueId *out) {
    OnnxImport *imp = c->imp;
    OnnxTarget *t = c->scope->target;
    while (n_in > 0 && in[n_in - 1] == TN_NO_VALUE)
        n_in--;
    const TnOpInfo *info = tni_op_info(op);
    if (n_in > info->max_in || n_out > info->max_out)
        return tni_onnx_fail(c, TN_ERR_LIMIT, "%u operands and %u outputs; %s takes at most %u and %u", n_in, n_out, info->name,
                             info->max_in, info->max_out);
    TN_TRY(tni_ir_node_add(imp->m, t->g, op, name, params, in, n_in, out_names, n_out, out, c->err));
    return tni_onnx_known_node(imp, t, op, params, in, n_in, out, n_out, c->err);
}

TnStatus tni_onnx_emit_n(OnnxCall *c, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out) {
    return add_node(c, c->name, op, params, in, n_in, c->out_names, n_out, c->out);
}

TnStatus tni_onnx_emit(OnnxCall *c, TnOp op, const void *params, const IrValueId *in, uint32_t n_in) {
    return tni_onnx_emit_n(c, op, params, in, n_in, c->n_out);
}

TnStatus tni_onnx_emit_out(OnnxCall *c, uint32_t i, TnOp op, const void *params, const IrValueId *in, uint32_t n_in) {
    return add_node(c, c->name, op, params, in, n_in, &c->out_names[i], 1, &c->out[i]);
}

static TnStatus temp_name(OnnxCall *c, const char *suffix, const char **out) {
    char *text = tni_arena_printf(c->imp->scratch, "%s/%s", c->name, suffix);
    if (text == NULL)
        return TN_OOM(c->err, strlen(c->name) + strlen(suffix) + 2);
    return tni_onnx_unique(c->imp, c->scope->target, text, out, c->err);
}

TnStatus tni_onnx_temp(OnnxCall *c, const char *suffix, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, IrValueId *out) {
    const char *name = NULL;
    TN_TRY(temp_name(c, suffix, &name));
    return add_node(c, name, op, params, in, n_in, &name, 1, out);
}

TnStatus tni_onnx_temp_n(OnnxCall *c, const char *suffix, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out,
                         IrValueId *out) {
    const char *names[8] = {NULL};
    if (n_out > TN_COUNT(names))
        return tni_onnx_fail(c, TN_ERR_INTERNAL, "%u outputs", n_out);
    for (uint32_t i = 0; i < n_out; i++)
        TN_TRY(temp_name(c, suffix, &names[i]));
    return add_node(c, names[0], op, params, in, n_in, names, n_out, out);
}

TnStatus tni_onnx_const(OnnxCall *c, const char *suffix, TnDtype t, int32_t rank, const int64_t *dims, const void *data, IrValueId *out) {
    const char *name = NULL;
    TN_TRY(temp_name(c, suffix, &name));
    return tni_ir_const_copy(c->imp->m, c->scope->target->g, name, t, rank, dims, data, out, c->err);
}

TnStatus tni_onnx_const_i64s(OnnxCall *c, const char *suffix, const int64_t *v, uint32_t n, IrValueId *out) {
    int64_t dims[1] = {n};
    return tni_onnx_const(c, suffix, TN_I64, 1, dims, v, out);
}

TnStatus tni_onnx_const_f64(OnnxCall *c, const char *suffix, TnDtype t, double v, IrValueId *out) {
    uint8_t bytes[16] = {0};
    tni_store_f64(t, bytes, 0, v);
    return tni_onnx_const(c, suffix, t, 0, NULL, bytes, out);
}

TnStatus tni_onnx_binary(OnnxCall *c, const char *suffix, TnBinaryFn fn, IrValueId a, IrValueId b, IrValueId *out) {
    TnBinaryParams p = {.fn = fn};
    IrValueId in[2] = {a, b};
    return tni_onnx_temp(c, suffix, TN_OP_binary, &p, in, 2, out);
}

TnStatus tni_onnx_reshape_to(OnnxCall *c, const char *suffix, IrValueId x, IrValueId shape, IrValueId *out) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_RESHAPE_SHAPE;
    IrValueId in[2] = {x, shape};
    return tni_onnx_temp(c, suffix, TN_OP_reshape, &p, in, 2, out);
}

TnStatus tni_onnx_emit_identity(OnnxCall *c, IrValueId v) {
    return tni_onnx_emit_out(c, 0, TN_OP_identity, NULL, &v, 1);
}
