/* SPDX-License-Identifier: Apache-2.0
 *
 * How the rules of plan/check.h are written: a rule has `const PlanCheck *c`, P names its parameters, NEED and PARAM return the error of an operand
 * or a parameter that does not hold. For the files of rules alone. */
#ifndef TENON_PLAN_RULES_H
#define TENON_PLAN_RULES_H

#include "plan/check.h"

#define P(T) const T *p = c->params
#define NEED(cond, i, text)                                                                                                                \
    do {                                                                                                                                   \
        if (!(cond))                                                                                                                       \
            return tni_plan_bad_input(c, i, text);                                                                                         \
    } while (0)
#define PARAM(cond, what, value)                                                                                                           \
    do {                                                                                                                                   \
        if (!(cond))                                                                                                                       \
            return tni_plan_bad_param(c, what, (int64_t)(value));                                                                          \
    } while (0)

#endif
