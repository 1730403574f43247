/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbolic dimensions: integers known only at run time, as expressions of named symbols. A table of expressions, each built from
 * earlier ones, so that evaluating all of them is one pass. Shared by shape inference (which builds it), plans (which store it) and the
 * runtime (which evaluates it). */
#ifndef TENON_KERNEL_DIM_H
#define TENON_KERNEL_DIM_H

#include "base/base.h"
#include "kernel/params.h"

#define TN_DIM_NONE UINT32_MAX /* unknown */

typedef enum TnDimOp {
    TN_DIM_CONST,  /* value */
    TN_DIM_SYMBOL, /* value = symbol index */
    TN_DIM_ADD, TN_DIM_SUB, TN_DIM_MUL,
    TN_DIM_FLOORDIV, /* towards minus infinity; b != 0 */
    TN_DIM_CEILDIV,
    TN_DIM_MOD, /* Python's: sign of b */
    TN_DIM_MIN, TN_DIM_MAX,
    TN_DIM_EQ, TN_DIM_LT, /* 1 or 0 */
    TN_DIM_SELECT,        /* c[0] != 0 ? c[1] : c[2] */
    TN_DIM_OP_COUNT
} TnDimOp;

/* One expression; operands are ids smaller than its own. */
typedef struct TnDimExpr {
    uint32_t op;
    uint32_t a, b, c;
    int64_t value;
} TnDimExpr;

/* A symbol. Bound from an input's dimension, or (data dependent) set by a step when it has run. */
typedef struct TnSymbol {
    char name[64];
    int64_t min, opt, max; /* of the range the plan is for; max INT64_MAX = unlimited */
    uint32_t data_dependent;
    TnDim bound; /* upper bound of a data-dependent symbol as an expression of others, TN_DIM_NONE = unknown */
} TnSymbol;

/* Evaluates expressions [first, n) into values[] (values[0, first) already done) from symbol values. Division by zero and overflow
 * give TN_ERR_SHAPE naming the expression. */
TnStatus tni_dim_eval(const TnDimExpr *exprs, uint32_t first, uint32_t n, const int64_t *symbols, int64_t *values, TnError *err);
/* One operation on numbers; false on overflow or division by zero. */
bool tni_dim_apply(TnDimOp op, int64_t a, int64_t b, int64_t c, int64_t *out);
/* Text form, "batch*4 + 1"; returns buf. */
char *tni_dim_str(char *buf, size_t n, const TnDimExpr *exprs, const TnSymbol *symbols, TnDim d);

#endif
