/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing tensors in tests. */
#ifndef TENON_TESTS_SUPPORT_COMPARE_H
#define TENON_TESTS_SUPPORT_COMPARE_H

#include "tenon/tensor.h"

typedef struct TestDifference {
    double max_error;  /* largest |got - want| of finite pairs */
    double max_want;   /* largest finite |want|, without the huge ones (masked scores near -10000) when there are others */
    double relative;   /* largest |got - want| / max(|want|, max_want), 0 / 0 = 0 */
    int64_t n_special; /* places where NaN or infinity does not meet its like */
    int64_t worst;     /* element of max_error */
} TestDifference;

/* false, with the reason in why, when type or shape differ. Integers that differ count their difference as error. */
int test_difference(const TnTensor *got, const TnTensor *want, TestDifference *d, char *why, size_t n);
/* Floats: |got - want| <= tol * max(|want|, max_want) + 1e-12; integers and bool: equal.
 * 0, with the reason in why, when not. */
int test_close(const TnTensor *got, const TnTensor *want, double tol, char *why, size_t n);

#endif
