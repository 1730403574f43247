/* SPDX-License-Identifier: Apache-2.0
 *
 * What a shape rule sees and sets. Private to src/shape.
 *
 * A rule `TnStatus tni_shape_<op>(ShapeRule *r)` reads its operands' types, dims and known contents, checks everything that the operator
 * demands of them and of its parameters, and fills r->out. It is the last place that refuses: kernels trust what passed here. The same
 * rule serves symbols (build time) and numbers (r->concrete, the interpreter), where contents of operands are read from their data and
 * contents of outputs are not wanted. */
#ifndef TENON_SHAPE_RULE_H
#define TENON_SHAPE_RULE_H

#include "base/dtype.h"
#include "ir/graph.h"
#include "shape/shape.h"

/* Contents of a small tensor, element i = num[i] / den[i] (den > 0; 1 but for floats), TN_DIM_NONE: unknown. Floats are kept exact: what
 * binary32 would round is right up to sizes of 2^20, beyond which no dimension computed in floating point is trusted anyway. */
typedef struct ShapeKnown {
    uint32_t n;
    TnDim num[TN_DIMS_MAX];
    int64_t den[TN_DIMS_MAX];
} ShapeKnown;

typedef struct ShapeOut {
    TnDtype dtype;
    int32_t rank;
    TnDim dims[TN_MAX_RANK];
    bool has_known;
    ShapeKnown known;
} ShapeOut;

typedef struct ShapeRule {
    IrModule *m;
    IrGraph *g;
    IrNode *n;
    ShapeOut *out; /* [n->n_out], zeroed */
    bool concrete;
    TnError *err;
} ShapeRule;

typedef TnStatus (*ShapeFn)(ShapeRule *r);
#define OP(name, P, min_in, max_in, min_out, max_out, flags) TnStatus tni_shape_##name(ShapeRule *r);
#include "kernel/ops.inc"
#undef OP

/* ---- element types as sets ---- */
#define T_BIT(t) (1u << (t))
#define T_FLOAT (T_BIT(TN_F32) | T_BIT(TN_F64) | T_BIT(TN_F16) | T_BIT(TN_BF16))
#define T_FUSED (T_BIT(TN_F32) | T_BIT(TN_F16) | T_BIT(TN_BF16)) /* operators that passes make */
#define T_FP8 (T_BIT(TN_F8E4M3FN) | T_BIT(TN_F8E4M3FNUZ) | T_BIT(TN_F8E5M2) | T_BIT(TN_F8E5M2FNUZ) | T_BIT(TN_F8E8M0))
#define T_SIGNED (T_BIT(TN_I8) | T_BIT(TN_I16) | T_BIT(TN_I32) | T_BIT(TN_I64))
#define T_UNSIGNED (T_BIT(TN_U8) | T_BIT(TN_U16) | T_BIT(TN_U32) | T_BIT(TN_U64))
#define T_INT (T_SIGNED | T_UNSIGNED)
#define T_BOOL T_BIT(TN_BOOL)
#define T_INDEX (T_BIT(TN_I32) | T_BIT(TN_I64))
#define T_NARROW (T_BIT(TN_U4) | T_BIT(TN_I4) | T_BIT(TN_F4E2M1) | T_BIT(TN_U2) | T_BIT(TN_I2))
#define T_DATA (T_FLOAT | T_INT | T_BOOL | T_FP8) /* whole bytes: whatever moves data */
#define T_ANY (T_DATA | T_NARROW)

/* ---- looking (rule.c) ---- */
static inline const IrValue *in_at(const ShapeRule *r, uint32_t i) {
    return i < r->n->n_in && r->n->in[i] != TN_NO_VALUE ? &r->g->values[r->n->in[i]] : NULL;
}

/* Fails with "node 'N': op: MESSAGE (inputs: ...)". */
TnStatus tni_shape_rule_fail(ShapeRule *r, TnStatus code, const char *fmt, ...) TN_PRINTF(3, 4);
/* Operand i is there and its type is in the set. */
TnStatus tni_shape_rule_type(ShapeRule *r, uint32_t i, uint32_t set);
/* Operand i (if there) has the type of operand j. */
TnStatus tni_shape_rule_same_type(ShapeRule *r, uint32_t i, uint32_t j);
/* Operand i (if there) has a rank in lo..hi. */
TnStatus tni_shape_rule_rank(ShapeRule *r, uint32_t i, int32_t lo, int32_t hi);
/* Operand i (if there) is one number: rank 0, or one element. */
TnStatus tni_shape_rule_scalar(ShapeRule *r, uint32_t i);
/* Normalises *axis in place to 0..rank-1. */
TnStatus tni_shape_rule_axis(ShapeRule *r, int32_t *axis, int32_t rank);
/* Normalises n axes in place, sorts them, refuses duplicates. */
TnStatus tni_shape_rule_axes(ShapeRule *r, int32_t *axes, uint32_t n, int32_t rank);
/* a and b can be equal (not proven different); `what` names them. */
TnStatus tni_shape_rule_equal(ShapeRule *r, TnDim a, TnDim b, const char *what);
/* Operand i (if there) is a vector of n elements. */
TnStatus tni_shape_rule_vector(ShapeRule *r, uint32_t i, TnDim n, const char *what);
/* Broadcast of two dims; see rule.c for symbols. */
TnStatus tni_shape_rule_broadcast_dim(ShapeRule *r, TnDim a, TnDim b, TnDim *out);
/* dims (rank) becomes the broadcast of itself and b's dims. */
TnStatus tni_shape_rule_broadcast(ShapeRule *r, int32_t *rank, TnDim *dims, const IrValue *b);
/* Operand i (if there) broadcasts to dims without enlarging them. */
TnStatus tni_shape_rule_broadcasts_to(ShapeRule *r, uint32_t i, int32_t rank, const TnDim *dims);
TnDim tni_shape_rule_numel(ShapeRule *r, const TnDim *dims, int32_t rank);
/* The data-dependent dimension of output o, axis i: the one it already has, or a new one. Concrete: the bound itself. */
TnDim tni_shape_rule_data(ShapeRule *r, uint32_t o, int32_t i, TnDim bound);
/* Is d a data-dependent symbol itself? */
bool tni_shape_is_data(const IrModule *m, TnDim d);
/* Does the expression read a data-dependent symbol? true also where it is too large to tell. */
bool tni_shape_depends_on_data(const IrModule *m, TnDim d);

/* ---- setting ---- */
void tni_shape_rule_set(ShapeRule *r, uint32_t o, TnDtype t, int32_t rank, const TnDim *dims);
void tni_shape_rule_like(ShapeRule *r, uint32_t o, const IrValue *v); /* same type and dims */

/* ---- contents (known.c, known_math.c) ---- */
/* Contents of operand i; false: nothing known. Every element of a result has den > 0. */
bool tni_shape_known(const ShapeRule *r, uint32_t i, ShapeKnown *k);
bool tni_shape_known_value(ShapeRule *r, const IrValue *v, ShapeKnown *k);
/* Element i as a number / an expression without a fraction; false / TN_DIM_NONE: unknown. */
bool tni_shape_known_int(const ShapeRule *r, const ShapeKnown *k, uint32_t i, int64_t *out);
TnDim tni_shape_known_dim(const ShapeKnown *k, uint32_t i);
/* All elements of operand i as numbers, at most `max`; TN_ERR_UNSUPPORTED when they are known only at run time. */
TnStatus tni_shape_rule_ints(ShapeRule *r, uint32_t i, uint32_t max, int64_t *out, uint32_t *n);
/* Number of elements of output o when it may have known contents, else -1. */
int64_t tni_shape_wants(const ShapeRule *r, uint32_t o);
/* Copies contents from operand i to output o: element e of the output is element map(e) of the operand: index with strides[] (of the
 * operand, in elements, one for each output axis, may be 0 or negative) from `base`. */
void tni_shape_known_strided(ShapeRule *r, uint32_t o, uint32_t i, int64_t base, const int64_t *strides);
/* Output o has the same elements as operand i in the same order. */
void tni_shape_known_copy(ShapeRule *r, uint32_t o, uint32_t i);
/* Row-major strides of a value whose dims are numbers; false otherwise. */
bool tni_shape_strides(const ShapeRule *r, const TnDim *dims, int32_t rank, int64_t *strides);

typedef struct ShapeNum {
    TnDim num;
    int64_t den;
} ShapeNum;
ShapeNum tni_shape_num_unary(IrModule *m, uint32_t fn, TnDtype t, ShapeNum a);
ShapeNum tni_shape_num_binary(IrModule *m, uint32_t fn, TnDtype t, ShapeNum a, ShapeNum b);
ShapeNum tni_shape_num_cast(IrModule *m, TnDtype from, TnDtype to, ShapeNum a);
ShapeNum tni_shape_num_select(IrModule *m, ShapeNum c, ShapeNum a, ShapeNum b);

/* ---- dims, short ---- */
static inline TnDim d_num(ShapeRule *r, int64_t v) { return tni_ir_dim_const(r->m, v); }
static inline TnDim d_add(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_ADD, a, b); }
static inline TnDim d_sub(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_SUB, a, b); }
static inline TnDim d_mul(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_MUL, a, b); }
static inline TnDim d_floordiv(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_FLOORDIV, a, b); }
static inline TnDim d_ceildiv(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_CEILDIV, a, b); }
static inline TnDim d_min(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_MIN, a, b); }
static inline TnDim d_max(ShapeRule *r, TnDim a, TnDim b) { return tni_ir_dim_op(r->m, TN_DIM_MAX, a, b); }
static inline bool d_is(const ShapeRule *r, TnDim d, int64_t v) {
    int64_t x;
    return tni_ir_dim_is_const(r->m, d, &x) && x == v;
}

/* infer.c: a whole graph whose inputs are set (control.c calls it for subgraphs). */
TnStatus tni_shape_graph(IrModule *m, IrGraph *g, TnError *err);
/* Copies type, dims and contents of a value into another (inputs of subgraphs). */
TnStatus tni_shape_value_copy(IrModule *m, IrValue *dst, const IrValue *src, TnError *err);
/* infer.c: writes what a rule set into the value, checking that it can exist. */
TnStatus tni_shape_store(ShapeRule *r, uint32_t o, IrValue *v);
/* infer.c: the rule of an operator. */
ShapeFn tni_shape_rule_of(TnOp op);

#endif
