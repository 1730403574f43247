/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing tensors in tests. */
#include "support/compare.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/dtype.h"

/* Beyond this a value is a masked score, and says nothing about the scale of the others. */
#define HUGE_SCORE 5000.0

/* Element i of both as doubles; integers that differ beyond 53 bits still differ. */
static void load_pair(const TnTensor *got, const TnTensor *want, int64_t i, double *g, double *w) {
    if (tni_dtype_is_float(want->dtype)) {
        *g = tni_load_f64(got->dtype, got->data, i);
        *w = tni_load_f64(want->dtype, want->data, i);
        return;
    }
    int64_t gi = tni_load_i64(got->dtype, got->data, i), wi = tni_load_i64(want->dtype, want->data, i);
    *w = (double)wi;
    *g = gi == wi ? *w : (double)gi == *w ? nextafter(*w, INFINITY) : (double)gi;
}

static double scale_of(const TnTensor *want) {
    const int64_t total = tn_tensor_numel(want);
    double common = -1.0, all = 0.0;
    for (int64_t i = 0; i < total; i++) {
        double w = fabs(tni_load_f64(want->dtype, want->data, i));
        if (!isfinite(w))
            continue;
        all = fmax(all, w);
        if (w < HUGE_SCORE)
            common = fmax(common, w);
    }
    return common >= 0.0 ? common : all;
}

int test_difference(const TnTensor *got, const TnTensor *want, TestDifference *d, char *why, size_t n) {
    char a[128], b[128];
    memset(d, 0, sizeof *d);
    if (got->dtype != want->dtype || got->rank != want->rank ||
        memcmp(got->dims, want->dims, (size_t)want->rank * sizeof want->dims[0]) != 0) {
        snprintf(why, n, "%s %s, expected %s %s", tn_dtype_name(got->dtype), tni_shape_str(a, sizeof a, got->rank, got->dims),
                 tn_dtype_name(want->dtype), tni_shape_str(b, sizeof b, want->rank, want->dims));
        return 0;
    }
    const int64_t total = tn_tensor_numel(want);
    d->max_want = scale_of(want);
    for (int64_t i = 0; i < total; i++) {
        double g, w;
        load_pair(got, want, i, &g, &w);
        if (isfinite(g) && isfinite(w)) {
            const double error = fabs(g - w), relative = error > 0 ? error / fmax(fabs(w), d->max_want) : 0.0;
            d->max_error = fmax(d->max_error, error);
            if (relative > d->relative) {
                d->relative = relative;
                d->worst = i;
            }
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
    const bool exact = !tni_dtype_is_float(want->dtype);
    if (d.n_special == 0 && (d.relative <= (exact ? 0.0 : tol) || (!exact && d.max_error <= 1e-12)))
        return 1;
    snprintf(why, n, "error %.3g (relative %.3g) at element %lld (%.9g, expected %.9g; scale %.3g), %lld NaN or infinities differ",
             d.max_error, d.relative, (long long)d.worst, tni_load_f64(got->dtype, got->data, d.worst),
             tni_load_f64(want->dtype, want->data, d.worst), d.max_want, (long long)d.n_special);
    return 0;
}
