/* SPDX-License-Identifier: Apache-2.0
 *
 * The builder of compositions (express.h). */
#include "onnx/express.h"

#include "base/dtype.h"

void tni_x_op_n(OnnxX *x, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, IrValueId *out, uint32_t n_out) {
    for (uint32_t i = 0; i < n_out; i++)
        out[i] = TN_NO_VALUE;
    if (x->st != TN_OK)
        return;
    x->st = tni_onnx_temp_n(x->c, tni_op_info(op)->name, op, params, in, n_in, n_out, out);
}

IrValueId tni_x_op(OnnxX *x, TnOp op, const void *params, const IrValueId *in, uint32_t n_in) {
    IrValueId out = TN_NO_VALUE;
    if (x->st == TN_OK)
        x->st = tni_onnx_temp(x->c, tni_op_info(op)->name, op, params, in, n_in, &out);
    return x->st == TN_OK ? out : TN_NO_VALUE;
}

IrValueId tni_x_unary_ab(OnnxX *x, TnUnaryFn fn, IrValueId v, double alpha, double beta) {
    TnUnaryParams p = {.fn = fn, .alpha = (float)alpha, .beta = (float)beta};
    return tni_x_op(x, TN_OP_unary, &p, &v, 1);
}

IrValueId tni_x_unary(OnnxX *x, TnUnaryFn fn, IrValueId v) {
    return tni_x_unary_ab(x, fn, v, 0, 0);
}

IrValueId tni_x_binary(OnnxX *x, TnBinaryFn fn, IrValueId a, IrValueId b) {
    TnBinaryParams p = {.fn = fn};
    IrValueId in[2] = {a, b};
    return tni_x_op(x, TN_OP_binary, &p, in, 2);
}

IrValueId tni_x_where(OnnxX *x, IrValueId cond, IrValueId a, IrValueId b) {
    IrValueId in[3] = {cond, a, b};
    return tni_x_op(x, TN_OP_where, NULL, in, 3);
}

IrValueId tni_x_cast(OnnxX *x, IrValueId v, TnDtype to) {
    TnCastParams p = {.to = to, .saturate = 1};
    return x->st == TN_OK && tni_x_dtype(x, v) == to ? v : tni_x_op(x, TN_OP_cast, &p, &v, 1);
}

/* ---- constants ---- */

static IrValueId constant(OnnxX *x, TnDtype t, int32_t rank, const int64_t *dims, const void *data) {
    IrValueId out = TN_NO_VALUE;
    if (x->st == TN_OK)
        x->st = tni_onnx_const(x->c, "constant", t, rank, dims, data, &out);
    return x->st == TN_OK ? out : TN_NO_VALUE;
}

IrValueId tni_x_number(OnnxX *x, TnDtype t, double v) {
    uint8_t bytes[16] = {0};
    tni_store_f64(t, bytes, 0, v);
    return constant(x, t, 0, NULL, bytes);
}

IrValueId tni_x_int(OnnxX *x, int64_t v) {
    return constant(x, TN_I64, 0, NULL, &v);
}

IrValueId tni_x_ints(OnnxX *x, const int64_t *v, uint32_t n) {
    int64_t dims[1] = {n};
    return constant(x, TN_I64, 1, dims, v);
}

IrValueId tni_x_floats(OnnxX *x, TnDtype t, const double *v, uint32_t n) {
    uint8_t bytes[16 * 16] = {0};
    int64_t dims[1] = {TN_MIN(n, 16u)};
    for (uint32_t i = 0; i < TN_MIN(n, 16u); i++)
        tni_store_f64(t, bytes, i, v[i]);
    return constant(x, t, 1, dims, bytes);
}

/* ---- shapes ---- */

IrValueId tni_x_shape(OnnxX *x, IrValueId v) {
    TnShapeParams p = {.start = 0, .end = INT32_MAX};
    return tni_x_op(x, TN_OP_shape, &p, &v, 1);
}

IrValueId tni_x_dim(OnnxX *x, IrValueId v, int32_t axis) {
    TnShapeParams p = {.start = axis, .end = axis == -1 ? INT32_MAX : axis + 1};
    return tni_x_op(x, TN_OP_shape, &p, &v, 1);
}

IrValueId tni_x_dim_scalar(OnnxX *x, IrValueId v, int32_t axis) {
    return tni_x_squeeze(x, tni_x_dim(x, v, axis), 0);
}

IrValueId tni_x_reshape(OnnxX *x, IrValueId v, IrValueId shape) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_RESHAPE_SHAPE;
    IrValueId in[2] = {v, shape};
    return tni_x_op(x, TN_OP_reshape, &p, in, 2);
}

IrValueId tni_x_reshape_to(OnnxX *x, IrValueId v, const int64_t *dims, uint32_t n) {
    return tni_x_reshape(x, v, tni_x_ints(x, dims, n));
}

static IrValueId one_axis(OnnxX *x, TnReshapeKind kind, IrValueId v, int32_t axis) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = kind;
    p.n_axes = 1;
    p.axes[0] = axis;
    return tni_x_op(x, TN_OP_reshape, &p, &v, 1);
}

IrValueId tni_x_squeeze(OnnxX *x, IrValueId v, int32_t axis) {
    return one_axis(x, TN_RESHAPE_SQUEEZE, v, axis);
}

IrValueId tni_x_unsqueeze(OnnxX *x, IrValueId v, int32_t axis) {
    return one_axis(x, TN_RESHAPE_UNSQUEEZE, v, axis);
}

IrValueId tni_x_transpose(OnnxX *x, IrValueId v, const uint8_t *perm, uint32_t n) {
    TnTransposeParams p;
    memset(&p, 0, sizeof p);
    p.n = n;
    memcpy(p.perm, perm, n);
    return tni_x_op(x, TN_OP_transpose, &p, &v, 1);
}

IrValueId tni_x_gather(OnnxX *x, IrValueId v, IrValueId index, int32_t axis) {
    TnAxisParams p = {.axis = axis, .n = 0};
    IrValueId in[2] = {v, index};
    return tni_x_op(x, TN_OP_gather, &p, in, 2);
}

IrValueId tni_x_concat(OnnxX *x, const IrValueId *v, uint32_t n, int32_t axis) {
    TnAxisParams p = {.axis = axis, .n = 0};
    return n == 1 ? v[0] : tni_x_op(x, TN_OP_concat, &p, v, n);
}

IrValueId tni_x_expand(OnnxX *x, IrValueId v, IrValueId shape) {
    IrValueId in[2] = {v, shape};
    return tni_x_op(x, TN_OP_expand, NULL, in, 2);
}

IrValueId tni_x_slice(OnnxX *x, IrValueId v, int32_t axis, IrValueId from, IrValueId to) {
    int64_t a = axis;
    IrValueId in[4] = {v, from, to, tni_x_ints(x, &a, 1)};
    return tni_x_op(x, TN_OP_slice, NULL, in, 4);
}

IrValueId tni_x_cut(OnnxX *x, IrValueId v, int32_t axis, int64_t from, int64_t to) {
    return tni_x_slice(x, v, axis, tni_x_ints(x, &from, 1), tni_x_ints(x, &to, 1));
}

IrValueId tni_x_flip(OnnxX *x, IrValueId v, int32_t axis) {
    int64_t n[4] = {-1, INT64_MIN + 1, axis, -1};
    IrValueId in[5] = {v, TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE};
    for (uint32_t i = 0; i < 4; i++)
        in[1 + i] = tni_x_ints(x, &n[i], 1);
    return tni_x_op(x, TN_OP_slice, NULL, in, 5);
}

IrValueId tni_x_fill(OnnxX *x, IrValueId shape, TnDtype t, double v) {
    TnFillParams p;
    memset(&p, 0, sizeof p);
    p.dtype = t;
    tni_store_f64(t, p.value, 0, v);
    return tni_x_op(x, TN_OP_constant_of_shape, &p, &shape, 1);
}

IrValueId tni_x_count(OnnxX *x, IrValueId n) {
    IrValueId in[3] = {tni_x_int(x, 0), n, tni_x_int(x, 1)};
    return tni_x_op(x, TN_OP_range, NULL, in, 3);
}

IrValueId tni_x_scatter(OnnxX *x, IrValueId data, IrValueId index, IrValueId updates) {
    TnScatterParams p = {.axis = 0, .reduction = TN_SCATTER_NONE};
    IrValueId in[3] = {data, index, updates};
    return tni_x_op(x, TN_OP_scatter_elements, &p, in, 3);
}

/* ---- arithmetic over axes ---- */

IrValueId tni_x_reduce(OnnxX *x, TnReduceFn fn, IrValueId v, const int32_t *axes, uint32_t n, bool keep) {
    TnReduceParams p;
    memset(&p, 0, sizeof p);
    p.fn = fn;
    p.keepdims = keep;
    p.n_axes = n;
    for (uint32_t i = 0; i < n; i++)
        p.axes[i] = axes[i];
    return tni_x_op(x, TN_OP_reduce, &p, &v, 1);
}

IrValueId tni_x_softmax(OnnxX *x, IrValueId v, int32_t axis, bool log) {
    TnSoftmaxParams p = {.axis = axis, .log = log, .scale = 1};
    return tni_x_op(x, TN_OP_softmax, &p, &v, 1);
}

IrValueId tni_x_matmul(OnnxX *x, IrValueId a, IrValueId b) {
    IrValueId in[2] = {a, b};
    return tni_x_op(x, TN_OP_matmul, NULL, in, 2);
}

/* ---- facts ---- */

int32_t tni_x_rank(const OnnxX *x, IrValueId v) {
    return x->st == TN_OK ? tni_onnx_known(x->c->scope->target, v).rank : -1;
}

TnDtype tni_x_dtype(const OnnxX *x, IrValueId v) {
    return x->st == TN_OK ? tni_onnx_known(x->c->scope->target, v).dtype : TN_UNDEFINED;
}

int32_t tni_x_need_rank(OnnxX *x, uint32_t operand) {
    int32_t r = tni_onnx_in_known(x->c, operand).rank;
    if (x->st == TN_OK && r < 0)
        x->st = tni_onnx_fail(x->c, TN_ERR_UNSUPPORTED, "the rank of operand %u is not known at import", operand);
    return x->st == TN_OK ? r : 0;
}

TnDtype tni_x_need_dtype(OnnxX *x, uint32_t operand) {
    TnDtype t = tni_onnx_in_known(x->c, operand).dtype;
    if (x->st == TN_OK && t == TN_UNDEFINED)
        x->st = tni_onnx_fail(x->c, TN_ERR_UNSUPPORTED, "the type of operand %u is not known at import", operand);
    return t;
}

TnStatus tni_x_finish(OnnxX *x, uint32_t i, IrValueId v) {
    if (x->st != TN_OK || i >= x->c->n_out || (i > 0 && !tni_onnx_wants(x->c, i)))
        return x->st;
    x->st = tni_onnx_emit_out(x->c, i, TN_OP_identity, NULL, &v, 1);
    return x->st;
}
