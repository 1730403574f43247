/* SPDX-License-Identifier: Apache-2.0
 *
 * Comparing what a device computed with the reference's values, which may have a wider type. */
#include <math.h>

#include "cuda/checkcuda.h"

/* Largest finite value and smallest step of a narrow type. */
static double most_of(TnDtype t) {
    return t == TN_F16 ? 65504.0 : t == TN_BF16 ? 3.3895313892515355e38 : t == TN_F32 ? 3.4028234663852886e38 : INFINITY;
}
static double step_of(TnDtype t) {
    return t == TN_F16 ? 0x1p-24 : t == TN_BF16 ? 0x1p-126 : 0x1p-126;
}

/* Half a unit in the last place of b in type t: what a correctly rounded result may be away from a reference of a wider type. */
static double half_ulp(TnDtype t, double b) {
    return t == TN_F16 ? fmax(fabs(b) * 0x1p-11, 0x1p-25) : t == TN_BF16 ? fabs(b) * 0x1p-8 : 0.0;
}

static double share_of(double a, double b, double allowed) {
    if (isnan(b) || isinf(b) || isnan(a) || isinf(a))
        return (isnan(b) && isnan(a)) || a == b ? 0.0 : INFINITY;
    return a == b ? 0.0 : fabs(a - b) / allowed;
}

static void compare_floats(const TnTensor *got, const TnTensor *want, double atol, double rtol, Worst *w) {
    const int64_t n = tn_tensor_numel(got);
    const double most = most_of(got->dtype), tiny = atol + rtol > 0 ? step_of(got->dtype) : 0.0;
    double scale = 0;
    for (int64_t i = 0; i < n; i++) {
        double v = fabs(tni_load_f64(want->dtype, want->data, i));
        if (v < INFINITY && v > scale)
            scale = v;
    }
    scale = fmin(scale, most);
    for (int64_t i = 0; i < n; i++) {
        double a = tni_load_f64(got->dtype, got->data, i), b = tni_load_f64(want->dtype, want->data, i);
        if (isfinite(b) && fabs(b) > most) /* saturates */
            b = copysign(most, b);
        double allowed = atol * scale + rtol * fabs(b) + tiny;
        if (got->dtype != want->dtype)
            allowed += half_ulp(got->dtype, b);
        double share = share_of(a, b, allowed);
        if (!(share <= w->share))
            *w = (Worst){share, i, a, b};
    }
}

static void compare_exact(const TnTensor *got, const TnTensor *want, Worst *w) {
    for (int64_t i = 0, n = tn_tensor_numel(got); i < n; i++) {
        int64_t a = tni_load_i64(got->dtype, got->data, i), b = tni_load_i64(want->dtype, want->data, i);
        bool same = a == b && (got->dtype != TN_BOOL || ((const uint8_t *)got->data)[i] <= 1);
        if (!same && !(w->share > 1))
            *w = (Worst){INFINITY, i, (double)a, (double)b};
    }
}

void compare_output(const TnTensor *got, const TnTensor *want, double atol, double rtol, Worst *w) {
    bool by_value = tn_dtype_bits(got->dtype) >= 8 && tn_dtype_bits(got->dtype) <= 64 && got->dtype != TN_C64;
    if (got->data == NULL)
        return;
    if (!by_value) { /* packed or complex: moved only */
        if (memcmp(got->data, want->data, tn_tensor_bytes(got)) != 0)
            *w = (Worst){INFINITY, -1, 0, 0};
    } else if (tni_dtype_is_float(got->dtype)) {
        compare_floats(got, want, atol, rtol, w);
    } else {
        compare_exact(got, want, w);
    }
}
