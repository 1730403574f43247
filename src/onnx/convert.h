/* SPDX-License-Identifier: Apache-2.0
 *
 * What converters use: attributes with type checks, constant operands, emitting IR nodes. A converter reads one ONNX node (OnnxCall) and
 * must set c->out[i] for every output. */
#ifndef TENON_ONNX_CONVERT_H
#define TENON_ONNX_CONVERT_H

#include "onnx/import.h"

/* Raises code with the node's name and operator before the message. */
TnStatus tni_onnx_fail(const OnnxCall *c, TnStatus code, const char *fmt, ...) TN_PRINTF(3, 4);
#define ONNX_BAD(c, ...) tni_onnx_fail((c), TN_ERR_GRAPH, __VA_ARGS__)
#define ONNX_UNSUPPORTED(c, ...) tni_onnx_fail((c), TN_ERR_UNSUPPORTED, __VA_ARGS__)

/* ---- attributes (attr.c): *out is untouched when the attribute is absent; TN_ERR_GRAPH when it is of another kind or out of range ---- */
const OnnxAttr *tni_onnx_attr(OnnxCall *c, const char *name); /* NULL: absent */
bool tni_onnx_has_attr(OnnxCall *c, const char *name);
TnStatus tni_onnx_attr_i64(OnnxCall *c, const char *name, int64_t *out);
TnStatus tni_onnx_attr_i32(OnnxCall *c, const char *name, int64_t min, int64_t max, int32_t *out);
TnStatus tni_onnx_attr_bool(OnnxCall *c, const char *name, uint32_t *out); /* 0 or not 0 */
TnStatus tni_onnx_attr_f32(OnnxCall *c, const char *name, float *out);
/* One of `words`; *out its index. */
TnStatus tni_onnx_attr_word(OnnxCall *c, const char *name, const char *const *words, uint32_t n_words, uint32_t *out);
TnStatus tni_onnx_attr_ints(OnnxCall *c, const char *name, const int64_t **out, uint32_t *n);
TnStatus tni_onnx_attr_floats(OnnxCall *c, const char *name, const float **out, uint32_t *n);
/* At most max numbers, each in lo..hi; *n is set to 0 when the attribute is absent. */
TnStatus tni_onnx_attr_i32s(OnnxCall *c, const char *name, int64_t lo, int64_t hi, int32_t *out, uint32_t max, uint32_t *n);
/* An axis: -TN_MAX_RANK .. TN_MAX_RANK - 1. */
TnStatus tni_onnx_attr_axis(OnnxCall *c, const char *name, int32_t *out);
TnStatus tni_onnx_attr_dtype(OnnxCall *c, const char *name, uint32_t *out);

/* ---- operands ---- */
TN_INLINE bool tni_onnx_has(const OnnxCall *c, uint32_t i) {
    return i < c->n_in && c->in[i] != TN_NO_VALUE;
}
TN_INLINE IrValueId tni_onnx_in(const OnnxCall *c, uint32_t i) {
    return i < c->n_in ? c->in[i] : TN_NO_VALUE;
}
TN_INLINE bool tni_onnx_wants(const OnnxCall *c, uint32_t i) {
    return i < c->n_out && c->out_names[i][0] != '\0';
}
OnnxKnown tni_onnx_in_known(const OnnxCall *c, uint32_t i);
/* Operand i as a constant tensor; integers are seen through identities, reshapes (the shape is then that of the source) and casts to int64;
 * false: it is computed. */
bool tni_onnx_in_const(const OnnxCall *c, uint32_t i, TnTensor *out);
/* A constant integer operand; TN_ERR_UNSUPPORTED when it is computed, TN_ERR_GRAPH when it holds other than integers or too many. */
TnStatus tni_onnx_in_ints(OnnxCall *c, uint32_t i, const char *what, int64_t *out, uint32_t max, uint32_t *n);
/* Axes in operand i (when there) or attribute "axes": checked, not sorted. *given is false when there are none. */
TnStatus tni_onnx_axes(OnnxCall *c, uint32_t operand, int32_t *axes, uint32_t *n, bool *given);
/* Type of operand i if known, else `otherwise`. */
TnDtype tni_onnx_dtype_or(const OnnxCall *c, uint32_t i, TnDtype otherwise);
/* TN_ERR_UNSUPPORTED when somebody reads an output from `from` on; else those are given TN_NO_VALUE. */
TnStatus tni_onnx_only_outputs(OnnxCall *c, uint32_t from);

/* ---- emitting ---- */
/* The node that makes c's first n_out outputs (all: c->n_out). */
TnStatus tni_onnx_emit(OnnxCall *c, TnOp op, const void *params, const IrValueId *in, uint32_t n_in);
TnStatus tni_onnx_emit_n(OnnxCall *c, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out);
/* Output i alone. */
TnStatus tni_onnx_emit_out(OnnxCall *c, uint32_t i, TnOp op, const void *params, const IrValueId *in, uint32_t n_in);
/* A node with one output for further use, named "NODE/suffix". */
TnStatus tni_onnx_temp(OnnxCall *c, const char *suffix, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, IrValueId *out);
/* The same with the first n_out outputs. */
TnStatus tni_onnx_temp_n(OnnxCall *c, const char *suffix, TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out,
                         IrValueId *out);
/* Constants, copied, named "NODE/suffix"; c as a vector or (n 0 in the scalar form) a scalar. */
TnStatus tni_onnx_const(OnnxCall *c, const char *suffix, TnDtype t, int32_t rank, const int64_t *dims, const void *data, IrValueId *out);
TnStatus tni_onnx_const_i64s(OnnxCall *c, const char *suffix, const int64_t *v, uint32_t n, IrValueId *out);
TnStatus tni_onnx_const_f64(OnnxCall *c, const char *suffix, TnDtype t, double v, IrValueId *out); /* a scalar of type t */
/* Shorthands. */
TnStatus tni_onnx_binary(OnnxCall *c, const char *suffix, TnBinaryFn fn, IrValueId a, IrValueId b, IrValueId *out);
TnStatus tni_onnx_reshape_to(OnnxCall *c, const char *suffix, IrValueId x, IrValueId shape, IrValueId *out);
/* Binds c's output 0 to a value that exists: as identity under the output's own name. */
TnStatus tni_onnx_emit_identity(OnnxCall *c, IrValueId v);

/* ---- converters, one a family ---- */
#define ROW(domain, op_type, lo, hi, min_in, max_in, max_out, fn, arg, ir) TnStatus tni_onnx_convert_##fn(OnnxCall *c);
#include "onnx/rows.inc"
#undef ROW

#endif
