/* SPDX-License-Identifier: Apache-2.0
 *
 * Compositions: operators that become a few IR nodes. A builder remembers the first failure, after which every call does nothing and gives
 * TN_NO_VALUE, so that formulas read as formulas:
 *
 *     OnnxX x = {.c = c};
 *     IrValueId y = tni_x_binary(&x, TN_BINARY_mul, a, tni_x_unary(&x, TN_UNARY_exp, b));
 *     return tni_x_finish(&x, 0, y);
 *
 * Values are nodes named "NODE/..."; the last one becomes the output through an identity, which the passes take out. */
#ifndef TENON_ONNX_EXPRESS_H
#define TENON_ONNX_EXPRESS_H

#include "onnx/convert.h"

typedef struct OnnxX {
    OnnxCall *c;
    TnStatus st;
} OnnxX;

/* Any operator with one output / the first n_out outputs into out[]. */
IrValueId tni_x_op(OnnxX *x, TnOp op, const void *params, const IrValueId *in, uint32_t n_in);
void tni_x_op_n(OnnxX *x, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, IrValueId *out, uint32_t n_out);

IrValueId tni_x_unary(OnnxX *x, TnUnaryFn fn, IrValueId v);
IrValueId tni_x_unary_ab(OnnxX *x, TnUnaryFn fn, IrValueId v, double alpha, double beta);
IrValueId tni_x_binary(OnnxX *x, TnBinaryFn fn, IrValueId a, IrValueId b);
IrValueId tni_x_where(OnnxX *x, IrValueId cond, IrValueId a, IrValueId b);
IrValueId tni_x_cast(OnnxX *x, IrValueId v, TnDtype to);

/* Constants. number: a scalar of type t. */
IrValueId tni_x_number(OnnxX *x, TnDtype t, double v);
IrValueId tni_x_int(OnnxX *x, int64_t v);
IrValueId tni_x_ints(OnnxX *x, const int64_t *v, uint32_t n);
IrValueId tni_x_floats(OnnxX *x, TnDtype t, const double *v, uint32_t n);

/* Shapes: all dims of v; one of them as a vector of one, or as a scalar. */
IrValueId tni_x_shape(OnnxX *x, IrValueId v);
IrValueId tni_x_dim(OnnxX *x, IrValueId v, int32_t axis);
IrValueId tni_x_dim_scalar(OnnxX *x, IrValueId v, int32_t axis);

IrValueId tni_x_reshape(OnnxX *x, IrValueId v, IrValueId shape);
IrValueId tni_x_reshape_to(OnnxX *x, IrValueId v, const int64_t *dims, uint32_t n);
IrValueId tni_x_squeeze(OnnxX *x, IrValueId v, int32_t axis);
IrValueId tni_x_unsqueeze(OnnxX *x, IrValueId v, int32_t axis);
IrValueId tni_x_transpose(OnnxX *x, IrValueId v, const uint8_t *perm, uint32_t n);
IrValueId tni_x_gather(OnnxX *x, IrValueId v, IrValueId index, int32_t axis);
IrValueId tni_x_concat(OnnxX *x, const IrValueId *v, uint32_t n, int32_t axis);
IrValueId tni_x_expand(OnnxX *x, IrValueId v, IrValueId shape);
/* v[from:to] along one axis; from and to are vectors of one element. */
IrValueId tni_x_slice(OnnxX *x, IrValueId v, int32_t axis, IrValueId from, IrValueId to);
IrValueId tni_x_cut(OnnxX *x, IrValueId v, int32_t axis, int64_t from, int64_t to);
/* Along one axis, back to front. */
IrValueId tni_x_flip(OnnxX *x, IrValueId v, int32_t axis);
IrValueId tni_x_fill(OnnxX *x, IrValueId shape, TnDtype t, double v);
/* 0, 1, ... n - 1 (int64) for a scalar n. */
IrValueId tni_x_count(OnnxX *x, IrValueId n);
/* data with updates at index along axis 0; all vectors. */
IrValueId tni_x_scatter(OnnxX *x, IrValueId data, IrValueId index, IrValueId updates);

IrValueId tni_x_reduce(OnnxX *x, TnReduceFn fn, IrValueId v, const int32_t *axes, uint32_t n, bool keep);
IrValueId tni_x_softmax(OnnxX *x, IrValueId v, int32_t axis, bool log);
IrValueId tni_x_matmul(OnnxX *x, IrValueId a, IrValueId b);

/* Facts. */
int32_t tni_x_rank(const OnnxX *x, IrValueId v); /* -1: unknown */
TnDtype tni_x_dtype(const OnnxX *x, IrValueId v);
/* Fails the conversion: TN_ERR_UNSUPPORTED unless the rank (type) of operand i is known. */
int32_t tni_x_need_rank(OnnxX *x, uint32_t operand);
TnDtype tni_x_need_dtype(OnnxX *x, uint32_t operand);

/* convert_integer.c. The exact product, int32, of operands a and b (bytes) with operands za and zb (absent, or beyond the last: 0) for zero points. */
IrValueId tni_onnx_integer_product(OnnxX *x, uint32_t a, uint32_t za, uint32_t b, uint32_t zb);

/* convert_control.c. The nodes of the graph in attribute `attr`, on these inputs, in the graph that is being built. */
TnStatus tni_onnx_inline_graph(OnnxCall *c, const char *attr, const IrValueId *in, uint32_t n_in, IrValueId *out, uint32_t n_out);

/* Binds output i, if somebody wants it, to v. */
TnStatus tni_x_finish(OnnxX *x, uint32_t i, IrValueId v);

#endif
