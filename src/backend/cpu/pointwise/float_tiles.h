/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile functions on f32: one loop per function of kernel/functions.inc. NaN behaves as in the reference: comparisons with NaN are
 * false, and functions written there with fmin or fmax drop it (celu, hard_sigmoid). */
#ifndef TENON_BACKEND_CPU_POINTWISE_FLOAT_TILES_H
#define TENON_BACKEND_CPU_POINTWISE_FLOAT_TILES_H

#include "backend/cpu/simd/simd.h"

typedef void (*UnaryTile)(float *y, const float *a, int64_t n, float alpha, float beta);
typedef void (*BinaryTile)(float *y, const float *a, const float *b, int64_t n);

#define UNARY_LOOP(name, expr)                                                                                                             \
    static void u_##name(float *y, const float *a, int64_t n, float falpha, float fbeta) {                                                 \
        const vf alpha = vf_set1(falpha), beta = vf_set1(fbeta), zero = vf_zero(), one = vf_set1(1.0f);                                    \
        (void)alpha, (void)beta, (void)zero, (void)one;                                                                                    \
        int64_t i = 0;                                                                                                                     \
        for (; i + VL <= n; i += VL) {                                                                                                     \
            const vf x = vf_load(a + i);                                                                                                   \
            vf_store(y + i, expr);                                                                                                         \
        }                                                                                                                                  \
        if (i < n) {                                                                                                                       \
            const vf x = vf_loadn(a + i, n - i);                                                                                           \
            vf_storen(y + i, n - i, expr);                                                                                                 \
        }                                                                                                                                  \
    }
/* Functions without a vector form here: one lane at a time. */
#define UNARY_LIBM(name, expr)                                                                                                             \
    static void u_##name(float *y, const float *a, int64_t n, float alpha, float beta) {                                                   \
        (void)alpha, (void)beta;                                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const float x = a[i];                                                                                                          \
            y[i] = expr;                                                                                                                   \
        }                                                                                                                                  \
    }

/* The vector sine and cosine are for |x| <= 8192; lanes beyond go through libm. */
TN_INLINE vf far_lanes(vf x, vf y, float (*f)(float)) {
    vm far = vf_lt(vf_set1(8192.0f), vf_abs(x));
    if (vm_any(far)) {
        float in[VL], out[VL];
        vf_store(in, x);
        vf_store(out, y);
        for (int i = 0; i < VL; i++)
            if (fabsf(in[i]) > 8192.0f)
                out[i] = f(in[i]);
        y = vf_load(out);
    }
    return y;
}

TN_INLINE vf sign_of(vf x) {
    vf one = vf_set1(1.0f);
    return vf_sub(vf_keep(vf_lt(vf_zero(), x), one), vf_keep(vf_lt(x, vf_zero()), one));
}

UNARY_LOOP(abs, vf_abs(x))
UNARY_LOOP(neg, vf_neg(x))
UNARY_LOOP(sign, sign_of(x))
UNARY_LOOP(floor, vf_floor(x))
UNARY_LOOP(ceil, vf_ceil(x))
UNARY_LOOP(round, vf_round(x))
UNARY_LOOP(sqrt, vf_sqrt(x))
UNARY_LOOP(rsqrt, vf_div(one, vf_sqrt(x)))
UNARY_LOOP(reciprocal, vf_div(one, x))
UNARY_LOOP(square, vf_mul(x, x))
UNARY_LOOP(exp, vf_exp(x))
UNARY_LOOP(log, vf_log(x))
UNARY_LOOP(sin, far_lanes(x, vf_sin(x), sinf))
UNARY_LOOP(cos, far_lanes(x, vf_cos(x), cosf))
UNARY_LIBM(tan, tanf(x))
UNARY_LIBM(asin, asinf(x))
UNARY_LIBM(acos, acosf(x))
UNARY_LIBM(atan, atanf(x))
UNARY_LIBM(sinh, sinhf(x))
UNARY_LIBM(cosh, coshf(x))
UNARY_LOOP(tanh, vf_tanh(x))
UNARY_LIBM(asinh, asinhf(x))
UNARY_LIBM(acosh, acoshf(x))
UNARY_LIBM(atanh, atanhf(x))
UNARY_LOOP(erf, vf_erf(x))
UNARY_LOOP(sigmoid, vf_sigmoid(x))
UNARY_LOOP(relu, vf_max(zero, x))
UNARY_LOOP(leaky_relu, vf_sel(vf_lt(x, zero), vf_mul(alpha, x), x))
UNARY_LOOP(elu, vf_sel(vf_lt(x, zero), vf_mul(alpha, vf_expm1_neg(vf_min(zero, x))), x))
UNARY_LOOP(celu, vf_add(vf_max(x, zero), vf_min(vf_mul(alpha, vf_expm1_neg(vf_min(zero, vf_div(x, alpha)))), zero)))
UNARY_LOOP(selu, vf_mul(beta, vf_sel(vf_lt(zero, x), x, vf_mul(alpha, vf_expm1_neg(vf_min(zero, x))))))
UNARY_LOOP(hard_sigmoid, vf_max(vf_min(vf_add(vf_mul(alpha, x), beta), one), zero))
UNARY_LOOP(hard_swish, vf_mul(x, vf_max(vf_min(vf_add(vf_div(x, vf_set1(6.0f)), vf_set1(0.5f)), one), zero)))
UNARY_LOOP(softplus, vf_softplus(x))
UNARY_LOOP(softsign, vf_div(x, vf_add(one, vf_abs(x))))
UNARY_LOOP(thresholded_relu, vf_keep(vf_lt(alpha, x), x))
UNARY_LOOP(shrink, vf_sel(vf_lt(x, vf_neg(beta)), vf_add(x, alpha), vf_keep(vf_lt(beta, x), vf_sub(x, alpha))))
UNARY_LOOP(mish, vf_mish(x))
UNARY_LOOP(silu, vf_silu(x, alpha))
UNARY_LOOP(gelu, vf_gelu(x))
UNARY_LOOP(gelu_tanh, vf_gelu_tanh(x))
UNARY_LOOP(not_, vf_keep(vf_eq(x, zero), one))
UNARY_LOOP(isnan, vf_keep(vf_unord(x, x), one))
UNARY_LOOP(isinf,
           vf_keep(vm_or(vm_and(vf_eq(x, vf_set1(INFINITY)), vf_ne(beta, zero)), vm_and(vf_eq(x, vf_set1(-INFINITY)), vf_ne(alpha, zero))),
                   one))
#define u_bitwise_not NULL

static const UnaryTile unary_f32[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) u_##name,
#include "kernel/functions.inc"
#undef UNARY
};

#define BINARY_LOOP(name, expr)                                                                                                            \
    static void b_##name(float *y, const float *pa, const float *pb, int64_t n) {                                                          \
        const vf zero = vf_zero(), one = vf_set1(1.0f);                                                                                    \
        (void)zero, (void)one;                                                                                                             \
        int64_t i = 0;                                                                                                                     \
        for (; i + VL <= n; i += VL) {                                                                                                     \
            const vf a = vf_load(pa + i), b = vf_load(pb + i);                                                                             \
            vf_store(y + i, expr);                                                                                                         \
        }                                                                                                                                  \
        if (i < n) {                                                                                                                       \
            const vf a = vf_loadn(pa + i, n - i), b = vf_loadn(pb + i, n - i);                                                             \
            vf_storen(y + i, n - i, expr);                                                                                                 \
        }                                                                                                                                  \
    }

/* An exponent that is the same in the whole tile, as x^2 and sqrt are written by exporters. */
static bool uniform(const float *b, int64_t n) {
    for (int64_t i = 1; i < n; i++)
        if (!(b[i] == b[0]))
            return false;
    return true;
}

static void b_pow(float *y, const float *a, const float *b, int64_t n) {
    float e = n > 0 && uniform(b, n) ? b[0] : NAN;
    if (e == 2.0f) {
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] * a[i];
    } else if (e == 3.0f) {
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)((double)a[i] * (double)a[i] * (double)a[i]);
    } else if (e == 1.0f) {
        memmove(y, a, (size_t)n * sizeof *y);
    } else if (e == -1.0f) {
        for (int64_t i = 0; i < n; i++)
            y[i] = 1.0f / a[i];
    } else if (e == 0.5f) { /* the power of -0 is +0, of -inf +inf */
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] == -INFINITY ? INFINITY : sqrtf(a[i] + 0.0f);
    } else {
        for (int64_t i = 0; i < n; i++)
            y[i] = powf(a[i], b[i]);
    }
}

static void b_mod(float *y, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        const float r = fmodf(a[i], b[i]);
        y[i] = r == 0 ? copysignf(0.0f, b[i]) : (r < 0) != (b[i] < 0) ? r + b[i] : r;
    }
}

static void b_fmod(float *y, const float *a, const float *b, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        y[i] = fmodf(a[i], b[i]);
}

BINARY_LOOP(add, vf_add(a, b))
BINARY_LOOP(sub, vf_sub(a, b))
BINARY_LOOP(mul, vf_mul(a, b))
BINARY_LOOP(div, vf_div(a, b))
BINARY_LOOP(min, vf_sel(vf_unord(a, a), a, vf_min(a, b)))
BINARY_LOOP(max, vf_sel(vf_unord(a, a), a, vf_max(a, b)))
BINARY_LOOP(prelu, vf_sel(vf_lt(a, zero), vf_mul(a, b), a))
BINARY_LOOP(equal, vf_keep(vf_eq(a, b), one))
BINARY_LOOP(less, vf_keep(vf_lt(a, b), one))
BINARY_LOOP(less_equal, vf_keep(vf_le(a, b), one))
BINARY_LOOP(greater, vf_keep(vf_lt(b, a), one))
BINARY_LOOP(greater_equal, vf_keep(vf_le(b, a), one))
BINARY_LOOP(and_, vf_keep(vm_and(vf_ne(a, zero), vf_ne(b, zero)), one))
BINARY_LOOP(or_, vf_keep(vm_or(vf_ne(a, zero), vf_ne(b, zero)), one))
BINARY_LOOP(xor_, vf_keep(vm_xor(vf_ne(a, zero), vf_ne(b, zero)), one))
#define b_bitwise_and NULL
#define b_bitwise_or NULL
#define b_bitwise_xor NULL
#define b_shift_left NULL
#define b_shift_right NULL

static const BinaryTile binary_f32[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) b_##name,
#include "kernel/functions.inc"
#undef BINARY
};

/* c != 0 ? a : b */
static void where_f32(float *y, const float *pc, const float *pa, const float *pb, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_sel(vf_ne(vf_load(pc + i), vf_zero()), vf_load(pa + i), vf_load(pb + i)));
    if (i < n)
        vf_storen(y + i, n - i, vf_sel(vf_ne(vf_loadn(pc + i, n - i), vf_zero()), vf_loadn(pa + i, n - i), vf_loadn(pb + i, n - i)));
}

/* First the lower bound, then the upper; NaN stays. */
static void clip_f32(float *y, const float *a, int64_t n, float lo, float hi) {
    const vf l = vf_set1(lo), h = vf_set1(hi);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_min(h, vf_max(l, vf_load(a + i))));
    if (i < n)
        vf_storen(y + i, n - i, vf_min(h, vf_max(l, vf_loadn(a + i, n - i))));
}

#endif
