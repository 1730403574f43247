/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing tensors in tests. */
#include "support/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"

int test_difference(const TnTensor *got, const TnTensor *want, TestDifference *d, char *why, size_t n) {
    char a[128], b[128];
    memset(d, 0, sizeof *d);
    if (got->dtype != want->dtype || got->rank != want->rank || memcmp(got->dims, want->dims, (size_t)want->rank * sizeof want->dims[0]) != 0) {
        snprintf(why, n, "%s %s, expected %s %s", tn_dtype_name(got->dtype), tni_shape_str(a, sizeof a, got->rank, got->dims),
                 tn_dtype_name(want->dtype), tni_shape_str(b, sizeof b, want->rank, want->dims));
        return 0;
    }
    const int64_t total = tn_tensor_numel(want);
    for (int64_t i = 0; i < total; i++) {
        double g, w;
        if (tni_dtype_is_float(want->dtype)) {
            g = tni_load_f64(got->dtype, got->data, i);
            w = tni_load_f64(want->dtype, want->data, i);
        } else { /* exact beyond 53 bits, too */
            int64_t gi = tni_load_i64(got->dtype, got->data, i), wi = tni_load_i64(want->dtype, want->data, i);
            w = (double)wi;
            g = gi == wi ? w : (double)gi == w ? w + 1 : (double)gi;
        }
        if (isfinite(g) && isfinite(w)) {
            if (fabs(g - w) > d->max_error) {
                d->max_error = fabs(g - w);
                d->worst = i;
            }
            d->max_want = fmax(d->max_want, fabs(w));
        } else if (!(g == w || (g != g && w != w))) {
            d->n_special++;
            d->worst = i;
        }
    }
    return 1;
}

int test_close(const TnTensor *got, const TnTensor *want, double tol, char *why, size_t n) {
    TestDifference d;
    if (!test_difference(got, want, &d, why, n))
        return 0;
    const double limit = tni_dtype_is_float(want->dtype) ? tol * d.max_want + 1e-12 : 0.0;
    if (d.n_special == 0 && d.max_error <= limit)
        return 1;
    snprintf(why, n, "error %.3g at element %lld (%.9g, expected %.9g; largest %.3g, allowed %.3g), %lld NaN or infinities differ", d.max_error,
             (long long)d.worst, tni_load_f64(got->dtype, got->data, d.worst), tni_load_f64(want->dtype, want->data, d.worst), d.max_want, limit,
             (long long)d.n_special);
    return 0;
}
