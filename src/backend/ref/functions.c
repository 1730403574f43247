/* SPDX-License-Identifier: Apache-2.0
 *
 * The scalar functions of kernel/functions.inc as loops over blocks, one table each for floats (double), signed and unsigned integers. */
#include <math.h>

#include "backend/ref/ref.h"

/* ---- integer arithmetic that never traps: wraps, x / 0 = 0 ---- */
static int64_t wrap_add_s(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}
static int64_t wrap_sub_s(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a - (uint64_t)b);
}
static int64_t wrap_mul_s(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a * (uint64_t)b);
}
static uint64_t wrap_add_u(uint64_t a, uint64_t b) {
    return a + b;
}
static uint64_t wrap_sub_u(uint64_t a, uint64_t b) {
    return a - b;
}
static uint64_t wrap_mul_u(uint64_t a, uint64_t b) {
    return a * b;
}

static int64_t div_s(int64_t a, int64_t b) {
    if (b == 0)
        return 0;
    return b == -1 ? wrap_sub_s(0, a) : a / b;
}
static uint64_t div_u(uint64_t a, uint64_t b) {
    return b == 0 ? 0 : a / b;
}

static int64_t rem_s(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}
static uint64_t rem_u(uint64_t a, uint64_t b) {
    return b == 0 ? 0 : a % b;
}

static int64_t mod_s(int64_t a, int64_t b) {
    int64_t r = rem_s(a, b);
    return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

static uint64_t pow_u(uint64_t a, uint64_t b) {
    uint64_t r = 1;
    for (; b != 0; b >>= 1, a *= a)
        if ((b & 1u) != 0)
            r *= a;
    return r;
}

/* A negative exponent gives the true quotient cut towards zero (and 0 for base 0). */
static int64_t pow_s(int64_t a, int64_t b) {
    if (b >= 0)
        return (int64_t)pow_u((uint64_t)a, (uint64_t)b);
    if (a == 1)
        return 1;
    if (a == -1)
        return b % 2 == 0 ? 1 : -1;
    return 0;
}

/* By a negative number or by at least the width: 0, or, to the right, what the sign leaves. */
static int64_t shl_s(int64_t a, int64_t b) {
    return b < 0 || b >= 64 ? 0 : (int64_t)((uint64_t)a << b);
}
static uint64_t shl_u(uint64_t a, uint64_t b) {
    return b >= 64 ? 0 : a << b;
}
static int64_t shr_s(int64_t a, int64_t b) {
    const int64_t by = b < 0 || b > 63 ? 63 : b;
    return a < 0 ? ~(int64_t)((uint64_t)~a >> by) : b == by ? (int64_t)((uint64_t)a >> by) : 0;
}
static uint64_t shr_u(uint64_t a, uint64_t b) {
    return b >= 64 ? 0 : a >> b;
}

/* Sign of b, also of a zero; NaN for b = 0 and for infinite a. */
static double tni_float_mod(double a, double b) {
    const double r = fmod(a, b);
    if (r == 0)
        return copysign(0.0, b);
    return (r < 0) != (b < 0) ? r + b : r;
}

#define BY_SIGN(s, u, a, b) _Generic((a), int64_t : s, uint64_t : u)(a, b)
#define tni_wrap_add(a, b) BY_SIGN(wrap_add_s, wrap_add_u, a, b)
#define tni_wrap_sub(a, b) BY_SIGN(wrap_sub_s, wrap_sub_u, a, b)
#define tni_wrap_mul(a, b) BY_SIGN(wrap_mul_s, wrap_mul_u, a, b)
#define tni_int_div(a, b) BY_SIGN(div_s, div_u, a, b)
#define tni_int_rem(a, b) BY_SIGN(rem_s, rem_u, a, b)
#define tni_int_mod(a, b) BY_SIGN(mod_s, rem_u, a, b)
#define tni_int_pow(a, b) BY_SIGN(pow_s, pow_u, a, b)
#define tni_shift_left(a, b) BY_SIGN(shl_s, shl_u, a, b)
#define tni_shift_right(a, b) BY_SIGN(shr_s, shr_u, a, b)

/* ---- one loop a row ---- */
#define UNARY(name, expr, types)                                                                                                           \
    static void unary_##name(double alpha, double beta, int64_t n, double *v) {                                                            \
        (void)alpha;                                                                                                                       \
        (void)beta;                                                                                                                        \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const double x = v[i];                                                                                                         \
            v[i] = (double)(expr);                                                                                                         \
        }                                                                                                                                  \
    }
#define BINARY(name, fexpr, iexpr, types)                                                                                                  \
    static void binary_##name(int64_t n, const double *x, const double *y, double *out) {                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const double a = x[i], b = y[i];                                                                                               \
            (void)a;                                                                                                                       \
            (void)b;                                                                                                                       \
            out[i] = (double)(fexpr);                                                                                                      \
        }                                                                                                                                  \
    }                                                                                                                                      \
    static void signed_##name(int64_t n, const int64_t *x, const int64_t *y, int64_t *out) {                                               \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const int64_t a = x[i], b = y[i];                                                                                              \
            out[i] = (int64_t)(iexpr);                                                                                                     \
        }                                                                                                                                  \
    }                                                                                                                                      \
    static void unsigned_##name(int64_t n, const int64_t *x, const int64_t *y, int64_t *out) {                                             \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const uint64_t a = (uint64_t)x[i], b = (uint64_t)y[i];                                                                         \
            out[i] = (int64_t)(iexpr);                                                                                                     \
        }                                                                                                                                  \
    }
#if defined(__GNUC__) /* the rows compare with 0 also where the type is unsigned */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtype-limits"
#endif
#include "kernel/functions.inc"
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
#undef UNARY
#undef BINARY

typedef void (*UnaryFn)(double alpha, double beta, int64_t n, double *v);
typedef void (*BinaryFn)(int64_t n, const double *a, const double *b, double *y);
typedef void (*IntegerFn)(int64_t n, const int64_t *a, const int64_t *b, int64_t *y);

static const UnaryFn unary_table[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) unary_##name,
#include "kernel/functions.inc"
#undef UNARY
};
static const BinaryFn binary_table[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) binary_##name,
#include "kernel/functions.inc"
#undef BINARY
};
static const IntegerFn integer_table[2][TN_BINARY_COUNT] = {{
#define BINARY(name, fexpr, iexpr, types) signed_##name,
#include "kernel/functions.inc"
#undef BINARY
                                                            },
                                                            {
#define BINARY(name, fexpr, iexpr, types) unsigned_##name,
#include "kernel/functions.inc"
#undef BINARY
                                                            }};

void tni_ref_unary_f64(uint32_t fn, double alpha, double beta, int64_t n, double *x) {
    unary_table[fn](alpha, beta, n, x);
}

void tni_ref_binary_f64(uint32_t fn, int64_t n, const double *a, const double *b, double *y) {
    binary_table[fn](n, a, b, y);
}

void tni_ref_binary_i64(uint32_t fn, bool is_u64, int64_t n, const int64_t *a, const int64_t *b, int64_t *y) {
    integer_table[is_u64 ? 1 : 0][fn](n, a, b, y);
}

static int64_t truncate(double v) {
    if (v != v)
        return 0;
    return v >= 0x1p63 ? INT64_MAX : v <= -0x1p63 ? INT64_MIN : (int64_t)v;
}

static int64_t unary_integer(uint32_t fn, bool u, double alpha, double beta, int64_t x) {
    switch (fn) {
    case TN_UNARY_abs:
        return !u && x < 0 ? wrap_sub_s(0, x) : x;
    case TN_UNARY_neg:
        return wrap_sub_s(0, x);
    case TN_UNARY_sign:
        return u ? x != 0 : (x > 0) - (x < 0);
    case TN_UNARY_relu:
        return !u && x < 0 ? 0 : x;
    case TN_UNARY_not_:
        return x == 0;
    case TN_UNARY_bitwise_not:
        return ~x;
    default: {
        double v = u ? (double)(uint64_t)x : (double)x;
        unary_table[fn](alpha, beta, 1, &v);
        return truncate(v);
    }
    }
}

void tni_ref_unary_i64(uint32_t fn, bool is_u64, double alpha, double beta, int64_t n, int64_t *x) {
    for (int64_t i = 0; i < n; i++)
        x[i] = unary_integer(fn, is_u64, alpha, beta, x[i]);
}

static void clip(double lo, double hi, int64_t n, double *x) {
    for (int64_t i = 0; i < n; i++) {
        double v = x[i] < lo ? lo : x[i]; /* NaN stays */
        x[i] = v > hi ? hi : v;
    }
}

void tni_ref_act(uint32_t act, double alpha, double beta, int64_t n, double *x) {
    static const uint32_t fns[TN_ACT_COUNT] = {[TN_ACT_RELU] = TN_UNARY_relu,
                                               [TN_ACT_GELU] = TN_UNARY_gelu,
                                               [TN_ACT_GELU_TANH] = TN_UNARY_gelu_tanh,
                                               [TN_ACT_TANH] = TN_UNARY_tanh,
                                               [TN_ACT_SIGMOID] = TN_UNARY_sigmoid,
                                               [TN_ACT_SILU] = TN_UNARY_silu,
                                               [TN_ACT_LEAKY_RELU] = TN_UNARY_leaky_relu,
                                               [TN_ACT_HARD_SWISH] = TN_UNARY_hard_swish};
    if (act == TN_ACT_NONE || act >= TN_ACT_COUNT)
        return;
    if (act == TN_ACT_CLIP)
        clip(alpha, beta, n, x);
    else
        unary_table[fns[act]](act == TN_ACT_SILU ? 1.0 : alpha, beta, n, x);
}
