/* SPDX-License-Identifier: Apache-2.0
 *
 * The contracts of the operators as code: what one step's outputs must be for its inputs, on concrete tensors. One rule an operator (the
 * table is in check.c, the rules in check_*.c). The runtime applies them when it binds shapes, so that kernels may index by the dims of
 * their tensors without looking, even when the plan was made by an enemy. */
#ifndef TENON_PLAN_CHECK_H
#define TENON_PLAN_CHECK_H

#include "kernel/kernel.h"

typedef struct PlanCheck {
    TnOp op;
    const void *params;
    const TnTensor *in; /* data of the operands in tni_plan_data_operands must be set where they are present */
    uint32_t n_in;
    TnTensor *out; /* absent: dtype TN_UNDEFINED */
    uint32_t n_out;
    uint32_t n_exprs; /* of the plan, for op dims */
    bool infer;       /* fill dtype, rank and dims of out instead of comparing (DATA_SHAPE operators: upper bounds) */
    TnError *err;
} PlanCheck;

/* TN_ERR_SHAPE / TN_ERR_TYPE with the rule that is broken (no node name: the caller adds it), TN_ERR_PLAN for impossible parameters. */
TnStatus tni_plan_check(const PlanCheck *c);
/* Bit i: the contents of operand i decide dims or addresses, so that the rule reads them. */
uint32_t tni_plan_data_operands(TnOp op);

/* ---- for the rules ---- */
typedef TnStatus (*PlanRule)(const PlanCheck *c);

TN_INLINE bool tni_plan_has(const PlanCheck *c, uint32_t i) {
    return i < c->n_in && c->in[i].dtype != TN_UNDEFINED;
}
/* Output i must be (or, inferring, becomes) this. An output nobody wants passes. */
TnStatus tni_plan_expect(const PlanCheck *c, uint32_t i, TnDtype dtype, int32_t rank, const int64_t *dims);
TnStatus tni_plan_expect_like(const PlanCheck *c, uint32_t i, const TnTensor *t);
/* "in 1 is [2,3] float32, expected ..." with the operator's name before it. */
TnStatus tni_plan_bad_input(const PlanCheck *c, uint32_t i, const char *expected);
TnStatus tni_plan_bad_param(const PlanCheck *c, const char *what, int64_t value);
/* Axis in [-rank, rank) to [0, rank); false outside. */
bool tni_plan_axis(int64_t axis, int32_t rank, int32_t *out);
/* numpy broadcasting of t into dims (in place); false when they do not fit. */
bool tni_plan_broadcast(const TnTensor *t, int32_t *rank, int64_t *dims);
/* Shape and dtype equal. */
bool tni_plan_same(const TnTensor *a, const TnTensor *b);
bool tni_plan_vector(const TnTensor *t, int64_t n); /* rank 1 of n elements */

PlanRule tni_plan_rule(TnOp op);

#define PLAN_RULES(X)                                                                                                                 \
    X(unary) X(binary) X(where) X(clip) X(cast) X(pointwise) X(quantize_linear) X(dequantize_linear) X(reduce) X(arg_reduce)        \
    X(cumsum) X(softmax) X(layer_norm) X(add_layer_norm) X(rms_norm) X(batch_norm) X(instance_norm) X(group_norm) X(matmul) X(gemm)   \
    X(einsum) X(attention) X(attention_step) X(cache_append) X(conv) X(conv_transpose) X(pool) X(resize) X(identity) X(reshape)       \
    X(transpose) X(concat) X(split) X(slice) X(pad) X(expand) X(tile) X(gather) X(gather_elements) X(gather_nd) X(scatter_nd)         \
    X(scatter_elements) X(one_hot) X(trilu) X(eye_like) X(depth_to_space) X(space_to_depth) X(topk) X(nonzero) X(compress) X(unique)  \
    X(non_max_suppression) X(roi_align) X(shape) X(size) X(constant_of_shape) X(range) X(dims)
#define X(op) TnStatus tni_plan_rule_##op(const PlanCheck *c);
PLAN_RULES(X)
#undef X

#endif
