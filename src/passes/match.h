/* SPDX-License-Identifier: Apache-2.0
 *
 * Questions that passes ask of a graph. Nothing here changes anything. All take and give ids; TN_NO_VALUE in gives "no" out. */
#ifndef TENON_PASSES_MATCH_H
#define TENON_PASSES_MATCH_H

#include "passes/rewrite.h"

/* ---- producers ---- */
IrNode *tni_pass_def(const Rewriter *r, IrValueId v);             /* NULL: an input, a constant or absent */
IrNode *tni_pass_def_op(const Rewriter *r, IrValueId v, TnOp op); /* NULL: made by something else */
/* v = fn(x): returns x, else TN_NO_VALUE. */
IrValueId tni_pass_unary(const Rewriter *r, IrValueId v, uint32_t fn);
/* v = fn(a, b), as written. */
bool tni_pass_binary(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *a, IrValueId *b);
/* v = fn(x, c) with c one constant number and v's shape x's; for add and mul also fn(c, x). */
bool tni_pass_binary_scalar(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *x, double *c);
/* v = x * c, with division by a constant taken as c = 1 / constant. */
bool tni_pass_scaled(const Rewriter *r, IrValueId v, IrValueId *x, double *c);
const void *tni_pass_params(const Rewriter *r, IrValueId v); /* of v's producer, or NULL */

/* ---- users ---- */
uint32_t tni_pass_uses(const Rewriter *r, IrValueId v);      /* operands that read v, plus 1 for being a graph output */
IrNodeId tni_pass_only_user(const Rewriter *r, IrValueId v); /* the one node that reads v once; TN_NO_NODE: none, several, or an output */

/* ---- constants ---- */
/* A constant as a kernel may read it: elements aligned (a copy in scratch memory where a mapped file's are not). */
bool tni_pass_tensor(Rewriter *r, IrValueId v, TnTensor *out);
bool tni_pass_number(const Rewriter *r, IrValueId v, double *out);    /* a constant of one element */
bool tni_pass_is_number(const Rewriter *r, IrValueId v, double want); /* within 2e-6 of want, relative */
bool tni_pass_uniform(const Rewriter *r, IrValueId v, double *out);   /* a constant whose elements are all equal (up to 1 Mi elements) */
/* Elements of a constant int vector or scalar; false: no constant, or more than max. */
bool tni_pass_ints(const Rewriter *r, IrValueId v, int64_t *out, uint32_t max, uint32_t *n);
/* Bounds of all elements of v, from constants, Where, casts of booleans and arithmetic on these. false: unknown. */
bool tni_pass_bounds(const Rewriter *r, IrValueId v, double *lo, double *hi);

/* ---- types and dims ---- */
bool tni_pass_is_f32(const Rewriter *r, IrValueId v);
bool tni_pass_same_dims(const Rewriter *r, IrValueId a, IrValueId b);
bool tni_pass_dim_is(const Rewriter *r, IrValueId v, int32_t axis, int64_t want);
bool tni_pass_static_dim(const Rewriter *r, IrValueId v, int32_t axis, int64_t *out);
bool tni_pass_depends_on_data(const Rewriter *r, TnDim d); /* on a symbol that only a step's result tells */
/* v broadcasts to the shape of `to` without changing it. */
bool tni_pass_fits(const Rewriter *r, IrValueId v, IrValueId to);

/* ---- indices that follow from where they stand (indices.c) ---- */
/* v's elements are 0, 1, 2, ..., n - 1 in their order. */
bool tni_pass_counts(Rewriter *r, IrValueId v, TnDim n);
/* v's elements count 0 .. n - 1 along one axis and are the same along all others; axis -1: n is 1 and v is 0 everywhere. */
bool tni_pass_counts_axis(Rewriter *r, IrValueId v, TnDim n, int32_t *axis);

/* ---- patterns: a set of nodes that one node will take the place of ---- */
#define PATTERN_MAX 48
typedef struct Pattern {
    IrNodeId node[PATTERN_MAX];
    uint32_t n;
} Pattern;
void tni_pattern_add(const Rewriter *r, Pattern *p, IrValueId v); /* v's producer; no effect when it is in already */
/* Nothing outside reads what the nodes make, but for `result`. */
bool tni_pattern_closed(const Rewriter *r, const Pattern *p, IrValueId result);
/* The nodes' names joined by '+', the common beginning once, shortened; valid until the rewriter ends. */
const char *tni_pattern_name(const Rewriter *r, const Pattern *p);
const char *tni_pass_join2(const Rewriter *r, const char *a, const char *b);

/* ---- exactness (exact.c) ---- */
/* Marks r->exact[v] for every float value whose bits decide an integer: the cone above casts to integers, floor, ceil and round, through
 * element-wise and data-moving operators, up to sums (matmul, conv, reductions, normalisations), inputs and integers. Rewrites that may
 * change a bit leave marked values alone. */
void tni_pass_mark_exact(Rewriter *r);
bool tni_pass_may_round(const Rewriter *r, IrValueId v); /* not marked */

#endif
