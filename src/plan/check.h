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
    const TnTensor *in; /* data of the operands in tni_plan_data_operands must be set where they are present and not hidden */
    uint32_t n_in;
    TnTensor *out; /* absent: dtype TN_UNDEFINED */
    uint32_t n_out;
    uint32_t n_exprs; /* of the plan, for op dims */
    uint32_t hidden;  /* bit i: operand i lies in the memory of a device, where its contents cannot be looked at; the kernel guards itself */
    bool device;      /* the step runs on a device: fused operators take narrow floats there too */
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
/* What a fused operator (attention, pointwise) computes in: float32; on a device also float16 and bfloat16. */
bool tni_plan_fused_float(const PlanCheck *c, TnDtype t);
/* Shape and dtype equal. */
bool tni_plan_same(const TnTensor *a, const TnTensor *b);
bool tni_plan_vector(const TnTensor *t, int64_t n); /* rank 1 of n elements */

/* One rule an operator: an operator without one does not link. */
#define OP(name, P, min_in, max_in, min_out, max_out, flags) TnStatus tni_plan_rule_##name(const PlanCheck *c);
#include "kernel/ops.inc"
#undef OP

#endif
