/* SPDX-License-Identifier: Apache-2.0
 *
 * What the two files of verification share: verify.c (records), verify_device.c (who runs where, and where operands lie). */
#ifndef TENON_PLAN_VERIFY_H
#define TENON_PLAN_VERIFY_H

#include "plan/plan.h"

/* The program under examination. */
typedef struct PlanProg {
    const Plan *p;
    const PlanProgram *g;
    const PlanValue *values;
    const PlanStep *steps;
    const char *name;
    uint32_t index;
} PlanProg;

/* Device, architecture and mathematics of the header against each other. */
TnStatus tni_plan_check_header_device(const Plan *p, TnError *err);
/* A step's device, the form of its kernel's name and its generated code; operand ranges have been checked, operands not. */
TnStatus tni_plan_check_step_device(const PlanProg *g, uint32_t s, TnOp op, TnError *err);
/* The same of the kernel's name alone, for one of a bucket. */
TnStatus tni_plan_check_kernel_name(const PlanProg *g, uint32_t s, uint32_t kernel, TnError *err);
/* Operands, packed forms and results of a step lie in its memory; all ids have been checked. */
TnStatus tni_plan_check_step_memory(const PlanProg *g, uint32_t s, TnOp op, TnError *err);
/* What several programs share: a state lies in one memory; called programs take and give host memory. */
TnStatus tni_plan_check_shared_memory(const Plan *p, const TnAllocator *a, TnError *err);

#endif
