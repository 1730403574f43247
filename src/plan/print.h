/* SPDX-License-Identifier: Apache-2.0
 *
 * What dump.c and explain.c share: formatted pieces of text to a callback. */
#ifndef TENON_PLAN_PRINT_H
#define TENON_PLAN_PRINT_H

#include "plan/plan.h"

typedef struct PlanOut {
    TnTextSink fn;
    void *ctx;
} PlanOut;

void tni_plan_out(PlanOut *o, const char *fmt, ...) TN_PRINTF(2, 3); /* cut at 1023 bytes */
void tni_plan_out_string(PlanOut *o, const char *s, size_t n);       /* escaped as inside a JSON string */

#endif
