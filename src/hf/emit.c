/* SPDX-License-Identifier: Apache-2.0
 *
 * Layers into graphs. */
#include "hf/emit.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/dtype.h"

#define NAME_MAX_BYTES 384 /* prefix (160) + name + suffix */

void tni_hf_prefix(HfEmit *e, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->prefix, sizeof e->prefix, fmt, ap);
    va_end(ap);
}

static const char *full_name(const HfEmit *e, const char *name, const char *suffix, char buf[NAME_MAX_BYTES]) {
    snprintf(buf, NAME_MAX_BYTES, "%s%.200s%.16s", e->prefix, name, suffix);
    return buf;
}

bool tni_hf_has(HfEmit *e, const char *name) {
    char buf[NAME_MAX_BYTES];
    HfTensor *t = tni_hf_tensor(e->c, full_name(e, name, "", buf));
    if (t != NULL)
        t->used = false;
    return t != NULL;
}

static void problem(HfEmit *e, const char *fmt, ...) TN_PRINTF(2, 3);
static void problem(HfEmit *e, const char *fmt, ...) {
    size_t at = strlen(e->problems);
    va_list ap;
    e->n_problems++;
    if (at + 200 > sizeof e->problems)
        return;
    va_start(ap, fmt);
    vsnprintf(e->problems + at, sizeof e->problems - at, fmt, ap);
    va_end(ap);
}

IrValueId tni_hf_weight(HfEmit *e, const char *name, int32_t rank, const int64_t *dims) {
    char buf[NAME_MAX_BYTES], want[80], found[80];
    if (e->st != TN_OK)
        return TN_NO_VALUE;
    HfTensor *t = tni_hf_tensor(e->c, full_name(e, name, "", buf));
    if (t == NULL) {
        problem(e, "\n  %.120s is missing", buf);
        return TN_NO_VALUE;
    }
    bool fits = t->t.rank == rank;
    for (int32_t i = 0; fits && i < rank; i++)
        fits = dims[i] < 0 || t->t.dims[i] == dims[i];
    if (!fits || !tni_dtype_is_float(t->t.dtype)) {
        problem(e, "\n  %.120s is %s %s, expected %s of floats", buf, tn_dtype_name(t->t.dtype),
                tni_shape_str(found, sizeof found, t->t.rank, t->t.dims), tni_shape_str(want, sizeof want, rank, dims));
        return TN_NO_VALUE;
    }
    /* A tensor used twice (tied weights) is one constant. */
    IrValueId v = TN_NO_VALUE;
    for (uint32_t i = 0; i < e->g->n_values && v == TN_NO_VALUE; i++) {
        if (e->g->values[i].kind == IR_CONST && e->g->values[i].data == t->t.data && strcmp(e->g->values[i].name, buf) == 0)
            v = i;
    }
    if (v == TN_NO_VALUE)
        e->st = tni_ir_const_add(e->m, e->g, buf, t->t.dtype, rank, t->t.dims, t->t.data, &v, e->err);
    if (e->st != TN_OK || t->t.dtype == TN_F32)
        return v;
    TnCastParams p = {.to = TN_F32, .saturate = 1};
    char cast[NAME_MAX_BYTES + 8];
    snprintf(cast, sizeof cast, "%s/f32", name);
    return tni_hf_node(e, TN_OP_cast, cast, &p, &v, 1);
}

IrValueId tni_hf_const(HfEmit *e, const char *name, int32_t rank, const int64_t *dims, const float *data) {
    char buf[NAME_MAX_BYTES];
    IrValueId v = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, full_name(e, name, "", buf), TN_F32, rank, dims, data, &v, e->err);
    return v;
}

IrValueId tni_hf_node(HfEmit *e, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in) {
    char buf[NAME_MAX_BYTES];
    IrValueId out = TN_NO_VALUE;
    if (e->st != TN_OK || e->n_problems != 0)
        return TN_NO_VALUE;
    uint32_t n_out = tni_op_info(op)->min_out;
    const char *out_name = full_name(e, name, "", buf);
    e->st = tni_ir_node_add(e->m, e->g, op, buf, params, in, n_in, n_out == 0 ? NULL : &out_name, n_out, n_out == 0 ? NULL : &out, e->err);
    return out;
}

IrValueId tni_hf_unary(HfEmit *e, const char *name, TnUnaryFn fn, IrValueId x) {
    TnUnaryParams p = {.fn = fn, .alpha = fn == TN_UNARY_silu ? 1.0f : 0.0f};
    return tni_hf_node(e, TN_OP_unary, name, &p, &x, 1);
}

IrValueId tni_hf_binary(HfEmit *e, const char *name, TnBinaryFn fn, IrValueId a, IrValueId b) {
    TnBinaryParams p = {.fn = fn};
    return tni_hf_node(e, TN_OP_binary, name, &p, (IrValueId[]){a, b}, 2);
}

static IrValueId gemm(HfEmit *e, const char *name, IrValueId x, IrValueId w, IrValueId bias) {
    TnGemmParams p = {.trans_b = 1, .alpha = 1.0f, .beta = 1.0f};
    return tni_hf_node(e, TN_OP_gemm, name, &p, (IrValueId[]){x, w, bias}, bias == TN_NO_VALUE ? 2 : 3);
}

IrValueId tni_hf_linear(HfEmit *e, const char *name, IrValueId x, int64_t in, int64_t out, bool bias) {
    char part[NAME_MAX_BYTES];
    snprintf(part, sizeof part, "%.180s.weight", name);
    IrValueId w = tni_hf_weight(e, part, 2, (int64_t[]){out, in}), b = TN_NO_VALUE;
    snprintf(part, sizeof part, "%.180s.bias", name);
    if (bias)
        b = tni_hf_weight(e, part, 1, &out);
    return gemm(e, name, x, w, b);
}

IrValueId tni_hf_linear_merged(HfEmit *e, const char *const *names, uint32_t n, IrValueId x, int64_t in, int64_t out, bool bias) {
    IrValueId w[8], b[8];
    char part[NAME_MAX_BYTES];
    for (uint32_t i = 0; i < n && i < TN_COUNT(w); i++) {
        snprintf(part, sizeof part, "%s.weight", names[i]);
        w[i] = tni_hf_weight(e, part, 2, (int64_t[]){out, in});
        snprintf(part, sizeof part, "%s.bias", names[i]);
        b[i] = bias ? tni_hf_weight(e, part, 1, &out) : TN_NO_VALUE;
    }
    snprintf(part, sizeof part, "%s+%u.weight", names[0], n - 1);
    IrValueId wm = tni_hf_concat(e, part, w, n, 0);
    snprintf(part, sizeof part, "%s+%u.bias", names[0], n - 1);
    IrValueId bm = bias ? tni_hf_concat(e, part, b, n, 0) : TN_NO_VALUE;
    snprintf(part, sizeof part, "%s+%u", names[0], n - 1);
    return gemm(e, part, x, wm, bm);
}

IrValueId tni_hf_layer_norm(HfEmit *e, const char *name, IrValueId x, int64_t width, float eps) {
    char part[NAME_MAX_BYTES];
    snprintf(part, sizeof part, "%.180s.weight", name);
    IrValueId w = tni_hf_weight(e, part, 1, &width);
    snprintf(part, sizeof part, "%.180s.bias", name);
    IrValueId b = tni_hf_weight(e, part, 1, &width);
    TnNormParams p = {.epsilon = eps, .axis = -1};
    return tni_hf_node(e, TN_OP_layer_norm, name, &p, (IrValueId[]){x, w, b}, 3);
}

IrValueId tni_hf_transpose(HfEmit *e, const char *name, IrValueId x, const uint8_t *perm, uint32_t rank) {
    TnTransposeParams p = {.n = rank};
    memcpy(p.perm, perm, rank);
    return tni_hf_node(e, TN_OP_transpose, name, &p, &x, 1);
}

IrValueId tni_hf_dims(HfEmit *e, const char *name, const TnDim *dims, uint32_t n) {
    char part[NAME_MAX_BYTES];
    TnDimsParams p = {.dtype = TN_I64, .rank = 1, .n = n};
    memcpy(p.dim, dims, n * sizeof *dims);
    snprintf(part, sizeof part, "%.300s/shape", name);
    return tni_hf_node(e, TN_OP_dims, part, &p, NULL, 0);
}

IrValueId tni_hf_reshape(HfEmit *e, const char *name, IrValueId x, const TnDim *dims, uint32_t rank) {
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE, .allowzero = 1};
    return tni_hf_node(e, TN_OP_reshape, name, &p, (IrValueId[]){x, tni_hf_dims(e, name, dims, rank)}, 2);
}

IrValueId tni_hf_expand(HfEmit *e, const char *name, IrValueId x, const TnDim *dims, uint32_t rank) {
    return tni_hf_node(e, TN_OP_expand, name, NULL, (IrValueId[]){x, tni_hf_dims(e, name, dims, rank)}, 2);
}

IrValueId tni_hf_slice(HfEmit *e, const char *name, IrValueId x, int64_t axis, int64_t from, int64_t to) {
    IrValueId in[4] = {x};
    int64_t one = 1, values[3] = {from, to, axis};
    for (size_t i = 0; i < 3 && e->st == TN_OK; i++)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 1, &one, &values[i], &in[i + 1], e->err);
    return tni_hf_node(e, TN_OP_slice, name, NULL, in, 4);
}

IrValueId tni_hf_slice_dims(HfEmit *e, const char *name, IrValueId x, int64_t axis, TnDim from, TnDim to) {
    char part[NAME_MAX_BYTES];
    int64_t one = 1, first, last;
    if (tni_ir_dim_is_const(e->m, from, &first) && tni_ir_dim_is_const(e->m, to, &last))
        return tni_hf_slice(e, name, x, axis, first, last);
    snprintf(part, sizeof part, "%.200s/from", name);
    IrValueId in[4] = {x, tni_hf_dims(e, part, &from, 1)};
    snprintf(part, sizeof part, "%.200s/to", name);
    in[2] = tni_hf_dims(e, part, &to, 1);
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 1, &one, &axis, &in[3], e->err);
    return tni_hf_node(e, TN_OP_slice, name, NULL, in, 4);
}

void tni_hf_topk(HfEmit *e, const char *name, IrValueId x, IrValueId k, int32_t axis, bool largest, IrValueId out[2]) {
    char buf[NAME_MAX_BYTES];
    TnTopkParams p = {.axis = axis, .largest = largest};
    out[0] = out[1] = TN_NO_VALUE;
    if (e->st == TN_OK && e->n_problems == 0)
        e->st = tni_ir_node_add(e->m, e->g, TN_OP_topk, full_name(e, name, "", buf), &p, (IrValueId[]){x, k}, 2, NULL, 2, out, e->err);
}

IrValueId tni_hf_concat(HfEmit *e, const char *name, const IrValueId *in, uint32_t n, int32_t axis) {
    TnAxisParams p = {.axis = axis};
    return tni_hf_node(e, TN_OP_concat, name, &p, in, n);
}

IrValueId tni_hf_input(HfEmit *e, const char *name, TnDtype t, const TnDim *dims, int32_t rank) {
    IrValueId v = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_input_add(e->m, e->g, name, &v, e->err);
    if (e->st != TN_OK)
        return TN_NO_VALUE;
    IrValue *value = &e->g->values[v];
    value->dtype = t;
    value->rank = rank;
    memcpy(value->dims, dims, (size_t)rank * sizeof *dims);
    return v;
}

void tni_hf_output(HfEmit *e, const char *name, IrValueId v) {
    if (e->st != TN_OK || e->n_problems != 0)
        return;
    const char *copy = tni_arena_strdup(e->m->arena, name);
    if (copy == NULL)
        e->st = TN_OOM(e->err, strlen(name));
    else
        e->st = tni_ir_output_add(e->m, e->g, v, e->err);
    if (e->st == TN_OK)
        e->g->values[v].name = copy;
}

TnStatus tni_hf_activation(const char *where, const char *name, TnUnaryFn *out, TnError *err) {
    static const struct {
        const char *name;
        TnUnaryFn fn;
    } rows[] = {{"gelu", TN_UNARY_gelu},         {"relu", TN_UNARY_relu}, {"gelu_new", TN_UNARY_gelu_tanh},
                {"gelu_pytorch_tanh", TN_UNARY_gelu_tanh}, {"silu", TN_UNARY_silu}, {"swish", TN_UNARY_silu},
                {"tanh", TN_UNARY_tanh},         {"sigmoid", TN_UNARY_sigmoid}};
    for (size_t i = 0; i < TN_COUNT(rows); i++) {
        if (strcmp(rows[i].name, name) == 0) {
            *out = rows[i].fn;
            return TN_OK;
        }
    }
    return TN_RAISE(err, TN_ERR_UNSUPPORTED,
                    "%s is '%s'; supported are gelu, relu, gelu_new, gelu_pytorch_tanh, silu, swish, tanh and sigmoid", where, name);
}

TnStatus tni_hf_finish(HfEmit *e, const TnLog *log) {
    const char *kind = e->kind == NULL ? "its config.json" : e->kind;
    if (e->st != TN_OK)
        return e->st;
    uint32_t unused = 0, missing = e->n_problems;
    for (uint32_t i = 0; i < e->c->n_tensors; i++)
        unused += !e->c->tensors[i].used;
    if (missing != 0 && unused == 0)
        return TN_RAISE(e->err, TN_ERR_DATA, "the checkpoint does not fit %s; %u tensor(s):%s", kind, missing, e->problems);
    for (uint32_t i = 0; i < e->c->n_tensors; i++) {
        if (!e->c->tensors[i].used)
            problem(e, "%s%.120s is not used", e->strict || missing != 0 ? "\n  " : unused == 1 || e->n_problems == 0 ? " " : ", ", e->c->tensors[i].name);
    }
    if (missing != 0 || (e->strict && unused != 0))
        return TN_RAISE(e->err, TN_ERR_DATA, "the checkpoint does not fit %s; %u tensor(s):%s", kind, e->n_problems, e->problems);
    if (unused != 0)
        tni_log(log, TN_LOG_WARNING, "%u tensor(s) of the checkpoint are not used by the model:%s", unused, e->problems);
    return TN_OK;
}
