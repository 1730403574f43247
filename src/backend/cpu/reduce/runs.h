/* SPDX-License-Identifier: Apache-2.0
 *
 * Reducing one contiguous run, for reduce_tmpl.h. */
#ifndef TENON_BACKEND_CPU_REDUCE_RUNS_H
#define TENON_BACKEND_CPU_REDUCE_RUNS_H

#include "backend/cpu/simd/simd.h"

#define RUN_BLOCK 4096 /* elements summed in f32 lanes before the sum goes to double */

typedef struct Extreme {
    float v;
    bool nan;
} Extreme;

TN_INLINE bool squares(uint32_t fn) {
    return fn == TN_REDUCE_sum_square || fn == TN_REDUCE_l2;
}

TN_INLINE vf term(uint32_t fn, vf x, vf max) {
    switch (fn) {
    case TN_REDUCE_sum_square:
    case TN_REDUCE_l2:
        return vf_mul(x, x);
    case TN_REDUCE_l1:
        return vf_abs(x);
    case TN_REDUCE_log_sum_exp:
        return vf_exp_le0(vf_sub(x, max));
    default:
        return x;
    }
}

static inline double step_f64(uint32_t fn, double acc, double x, double max) {
    switch (fn) {
    case TN_REDUCE_prod:
        return acc * x;
    case TN_REDUCE_sum_square:
    case TN_REDUCE_l2:
        return acc + x * x;
    case TN_REDUCE_l1:
        return acc + fabs(x);
    case TN_REDUCE_log_sum_exp:
        return acc + exp(x - max);
    default:
        return acc + x;
    }
}

static inline double finish(uint32_t fn, double acc, double count, double max) {
    switch (fn) {
    case TN_REDUCE_mean:
        return acc / count;
    case TN_REDUCE_l2:
        return sqrt(acc);
    case TN_REDUCE_log_sum:
        return log(acc);
    case TN_REDUCE_log_sum_exp:
        return max + log(acc);
    default:
        return acc;
    }
}

TN_INLINE double block_sum(uint32_t fn, const float *x, int64_t n, vf max) {
    vf a = vf_zero(), b = vf_zero(), c = vf_zero(), d = vf_zero();
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        a = vf_add(a, term(fn, vf_load(x + i), max));
        b = vf_add(b, term(fn, vf_load(x + i + VL), max));
        c = vf_add(c, term(fn, vf_load(x + i + 2 * VL), max));
        d = vf_add(d, term(fn, vf_load(x + i + 3 * VL), max));
    }
    for (; i + VL <= n; i += VL)
        a = vf_add(a, term(fn, vf_load(x + i), max));
    double s = (double)vf_hsum(vf_add(vf_add(a, b), vf_add(c, d)));
    if (i < n) { /* lanes that are not there must not count */
        float t[VL];
        vf_store(t, term(fn, vf_loadn(x + i, n - i), max));
        for (int64_t j = 0; j < n - i; j++)
            s += (double)t[j];
    }
    return s;
}

#define RUN_OF(name, fn)                                                                                                                   \
    static inline double name(const float *x, int64_t n, float max) {                                                                      \
        double s = 0.0;                                                                                                                    \
        for (int64_t i = 0; i < n; i += RUN_BLOCK)                                                                                         \
            s += block_sum(fn, x + i, TN_MIN(RUN_BLOCK, n - i), vf_set1(max));                                                             \
        return s;                                                                                                                          \
    }
RUN_OF(run_plain, TN_REDUCE_sum)
RUN_OF(run_square, TN_REDUCE_l2)
RUN_OF(run_abs, TN_REDUCE_l1)
RUN_OF(run_exp, TN_REDUCE_log_sum_exp)

static inline double run_sum(uint32_t fn, const float *x, int64_t n, float max) {
    return fn == TN_REDUCE_log_sum_exp ? run_exp(x, n, max)
           : fn == TN_REDUCE_l1        ? run_abs(x, n, max)
           : squares(fn)               ? run_square(x, n, max)
                                       : run_plain(x, n, max);
}

/* Maximum, or minimum, with NaN remembered: the lane operations drop it. */
static inline void run_extreme(Extreme *e, const float *x, int64_t n, bool want_max) {
    const vf sign = vf_set1(want_max ? 1.0f : -1.0f); /* min(x) = -max(-x) */
    vf a = vf_set1(-INFINITY), b = a;
    vm nan = vf_lt(vf_zero(), vf_zero());
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf u = vf_mul(vf_load(x + i), sign), v = vf_mul(vf_load(x + i + VL), sign);
        nan = vm_or(nan, vf_unord(u, v));
        a = vf_max(u, a);
        b = vf_max(v, b);
    }
    for (; i + VL <= n; i += VL) {
        vf u = vf_mul(vf_load(x + i), sign);
        nan = vm_or(nan, vf_unord(u, u));
        a = vf_max(u, a);
    }
    float m = vf_hmax(vf_max(a, b));
    e->nan = e->nan || vm_any(nan);
    for (; i < n; i++) {
        float u = want_max ? x[i] : -x[i];
        e->nan = e->nan || u != u;
        m = u > m ? u : m;
    }
    m = want_max ? m : -m;
    if (want_max ? m > e->v : m < e->v)
        e->v = m;
}

#define INT_RUN(name, T)                                                                                                                   \
    static inline int64_t name(uint32_t fn, int64_t acc, const T *x, int64_t n) {                                                          \
        switch (fn) {                                                                                                                      \
        case TN_REDUCE_max:                                                                                                                \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                acc = x[i] > acc ? x[i] : acc;                                                                                             \
            return acc;                                                                                                                    \
        case TN_REDUCE_min:                                                                                                                \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                acc = x[i] < acc ? x[i] : acc;                                                                                             \
            return acc;                                                                                                                    \
        case TN_REDUCE_prod:                                                                                                               \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                acc = (int64_t)((uint64_t)acc * (uint64_t)(int64_t)x[i]);                                                                  \
            return acc;                                                                                                                    \
        default:                                                                                                                           \
            for (int64_t i = 0; i < n; i++)                                                                                                \
                acc = (int64_t)((uint64_t)acc + (uint64_t)(int64_t)x[i]);                                                                  \
            return acc;                                                                                                                    \
        }                                                                                                                                  \
    }
INT_RUN(int_run_i64, int64_t)
INT_RUN(int_run_i32, int32_t)

#endif
