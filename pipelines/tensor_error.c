/* SPDX-License-Identifier: Apache-2.0
 *
 * Element-wise errors with their median. */
#include "pipelines/tensor_error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/util.h"

static bool value(const TnTensor *t, size_t i, double *v) {
    const uint8_t *p = t->data;
#define READ(T)                            \
    do {                                   \
        T x;                               \
        memcpy(&x, p + i * sizeof x, sizeof x); \
        *v = (double)x;                    \
        return true;                       \
    } while (0)
    switch (t->dtype) {
    case TN_F32:
        READ(float);
    case TN_F64:
        READ(double);
    case TN_I64:
        READ(int64_t);
    case TN_I32:
        READ(int32_t);
    case TN_I16:
        READ(int16_t);
    case TN_I8:
        READ(int8_t);
    case TN_U64:
        READ(uint64_t);
    case TN_U32:
        READ(uint32_t);
    case TN_U16:
        READ(uint16_t);
    case TN_U8:
    case TN_BOOL:
        READ(uint8_t);
    case TN_F16: {
        uint16_t h;
        memcpy(&h, p + i * 2, 2);
        uint32_t exp = h >> 10 & 31u, man = h & 0x3ffu;
        double m = exp == 31 ? (man != 0 ? NAN : INFINITY) : exp == 0 ? ldexp(man, -24) : ldexp(man + 1024.0, (int)exp - 25);
        *v = (h & 0x8000u) != 0 ? -m : m;
        return true;
    }
    case TN_BF16: {
        uint16_t h;
        memcpy(&h, p + i * 2, 2);
        uint32_t u = (uint32_t)h << 16;
        float f;
        memcpy(&f, &u, 4);
        *v = (double)f;
        return true;
    }
    default:
        return false;
    }
#undef READ
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n) {
    if (n == 0)
        return 0;
    qsort(v, n, sizeof *v, by_value);
    return n % 2 == 1 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

TnStatus tn_tensor_error(const TnTensor *got, const TnTensor *want, TnTensorError *out, TnError *err) {
    double g, w, sum_abs = 0, sum_rel = 0;
    size_t n = (size_t)tn_tensor_numel(want), n_abs = 0, n_rel = 0;
    *out = (TnTensorError){.n = (int64_t)n};
    if (got->dtype != want->dtype)
        return tnp_fail(err, TN_ERR_TYPE, "types differ: %s, expected %s", tn_dtype_name(got->dtype), tn_dtype_name(want->dtype));
    if (got->rank != want->rank || memcmp(got->dims, want->dims, (size_t)want->rank * sizeof *want->dims) != 0)
        return tnp_fail(err, TN_ERR_SHAPE, "shapes differ (%d and %d dimensions, %lld and %lld elements)", got->rank, want->rank,
                        (long long)tn_tensor_numel(got), (long long)n);
    double *abs = malloc((2 * n + 2) * sizeof *abs), *rel = abs + n + 1;
    if (abs == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < n; i++) {
        if (!value(want, i, &w) || !value(got, i, &g)) {
            free(abs);
            return tnp_fail(err, TN_ERR_UNSUPPORTED, "tensors of type %s cannot be compared", tn_dtype_name(want->dtype));
        }
        if (isfinite(w) && fabs(w) > out->scale)
            out->scale = fabs(w);
    }
    out->max_abs_want = out->scale;
    bool is_float = want->dtype == TN_F32 || want->dtype == TN_F64 || want->dtype == TN_F16 || want->dtype == TN_BF16;
    double tiny = out->scale * 1e-6;
    if (!(out->scale > 0) || !is_float)
        out->scale = 1;
    for (size_t i = 0; i < n; i++) {
        value(want, i, &w);
        value(got, i, &g);
        if (!isfinite(w) || !isfinite(g)) {
            if (!((isnan(w) && isnan(g)) || w == g))
                out->n_nan_mismatch++;
            continue;
        }
        double d = fabs(g - w);
        abs[n_abs++] = d;
        sum_abs += d;
        out->max_abs = fmax(out->max_abs, d);
        if (fabs(w) > tiny) {
            rel[n_rel++] = d / fabs(w);
            sum_rel += d / fabs(w);
            out->max_rel = fmax(out->max_rel, d / fabs(w));
        }
    }
    out->mean_abs = n_abs > 0 ? sum_abs / (double)n_abs : 0;
    out->mean_rel = n_rel > 0 ? sum_rel / (double)n_rel : 0;
    out->median_abs = median(abs, n_abs);
    out->median_rel = median(rel, n_rel);
    free(abs);
    return TN_OK;
}
