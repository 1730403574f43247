/* SPDX-License-Identifier: Apache-2.0
 *
 * Tile functions on integers and bool, and comparisons of f32: plain loops that the compiler turns into vectors of the ISA.
 * Integers wrap; division by zero gives 0, as the reference does. */
#ifndef TENON_BACKEND_CPU_POINTWISE_INT_TILES_H
#define TENON_BACKEND_CPU_POINTWISE_INT_TILES_H

#include "kernel/params.h"

/* y may be exactly a or b: no iteration depends on another. */
#if defined(__GNUC__) && !defined(__clang__)
#define TN_IVDEP _Pragma("GCC ivdep")
#else
#define TN_IVDEP
#endif

typedef void (*AnyTile)(void *y, const void *a, const void *b, int64_t n);

#define PAIR_LOOP(name, T, R, expr)                                                                                                        \
    static void name(void *py, const void *pa, const void *pb, int64_t n) {                                                                \
        R *y = py;                                                                                                                         \
        const T *x = pa, *z = pb;                                                                                                          \
        TN_IVDEP                                                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const T a = x[i], b = z[i];                                                                                                    \
            y[i] = (R)(expr);                                                                                                              \
        }                                                                                                                                  \
    }

#define ONE_LOOP(name, T, expr)                                                                                                            \
    static void name(void *py, const void *pa, const void *unused, int64_t n) {                                                            \
        (void)unused;                                                                                                                      \
        T *y = py;                                                                                                                         \
        const T *x = pa;                                                                                                                   \
        TN_IVDEP                                                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const T a = x[i];                                                                                                              \
            y[i] = (T)(expr);                                                                                                              \
        }                                                                                                                                  \
    }

#define COMPARE_LOOPS(p, T)                                                                                                                \
    PAIR_LOOP(p##_equal, T, uint8_t, a == b)                                                                                               \
    PAIR_LOOP(p##_less, T, uint8_t, a < b)                                                                                                 \
    PAIR_LOOP(p##_less_equal, T, uint8_t, a <= b)                                                                                          \
    PAIR_LOOP(p##_greater, T, uint8_t, a > b)                                                                                              \
    PAIR_LOOP(p##_greater_equal, T, uint8_t, a >= b)

#define INT_LOOPS(p, T, U)                                                                                                                 \
    static inline T p##_div1(T a, T b) {                                                                                                   \
        return b == 0 ? 0 : b == -1 ? (T)(0 - (U)a) : (T)(a / b);                                                                          \
    }                                                                                                                                      \
    static inline T p##_rem1(T a, T b) {                                                                                                   \
        return b == 0 || b == -1 ? 0 : (T)(a % b);                                                                                         \
    }                                                                                                                                      \
    static inline T p##_mod1(T a, T b) {                                                                                                   \
        T r = p##_rem1(a, b);                                                                                                              \
        return r != 0 && (r < 0) != (b < 0) ? (T)(r + b) : r;                                                                              \
    }                                                                                                                                      \
    PAIR_LOOP(p##_add, T, T, (U)a + (U)b)                                                                                                  \
    PAIR_LOOP(p##_sub, T, T, (U)a - (U)b)                                                                                                  \
    PAIR_LOOP(p##_mul, T, T, (U)a *(U)b)                                                                                                   \
    PAIR_LOOP(p##_div, T, T, p##_div1(a, b))                                                                                               \
    PAIR_LOOP(p##_mod, T, T, p##_mod1(a, b))                                                                                               \
    PAIR_LOOP(p##_fmod, T, T, p##_rem1(a, b))                                                                                              \
    PAIR_LOOP(p##_min, T, T, a < b ? a : b)                                                                                                \
    PAIR_LOOP(p##_max, T, T, a > b ? a : b)                                                                                                \
    PAIR_LOOP(p##_and, T, T, a &b)                                                                                                         \
    PAIR_LOOP(p##_or, T, T, a | b)                                                                                                         \
    PAIR_LOOP(p##_xor, T, T, a ^ b)                                                                                                        \
    COMPARE_LOOPS(p, T)                                                                                                                    \
    ONE_LOOP(p##_u_abs, T, a < 0 ? 0 - (U)a : (U)a)                                                                                        \
    ONE_LOOP(p##_u_neg, T, 0 - (U)a)                                                                                                       \
    ONE_LOOP(p##_u_sign, T, (a > 0) - (a < 0))                                                                                             \
    ONE_LOOP(p##_u_relu, T, a > 0 ? a : 0)                                                                                                 \
    ONE_LOOP(p##_u_not, T, ~a)

INT_LOOPS(i32, int32_t, uint32_t)
INT_LOOPS(i64, int64_t, uint64_t)
COMPARE_LOOPS(f32, float)
PAIR_LOOP(bool_and, uint8_t, uint8_t, (a != 0) & (b != 0))
PAIR_LOOP(bool_or, uint8_t, uint8_t, (a != 0) | (b != 0))
PAIR_LOOP(bool_xor, uint8_t, uint8_t, (a != 0) ^ (b != 0))
PAIR_LOOP(bool_equal, uint8_t, uint8_t, (a != 0) == (b != 0))
ONE_LOOP(bool_not, uint8_t, a == 0)

#define INT_TABLE(p)                                                                                                                       \
    {                                                                                                                                      \
        [TN_BINARY_add] = p##_add, [TN_BINARY_sub] = p##_sub, [TN_BINARY_mul] = p##_mul, [TN_BINARY_div] = p##_div,                        \
        [TN_BINARY_mod] = p##_mod, [TN_BINARY_fmod] = p##_fmod, [TN_BINARY_min] = p##_min, [TN_BINARY_max] = p##_max,                      \
        [TN_BINARY_equal] = p##_equal, [TN_BINARY_less] = p##_less, [TN_BINARY_less_equal] = p##_less_equal,                               \
        [TN_BINARY_greater] = p##_greater, [TN_BINARY_greater_equal] = p##_greater_equal, [TN_BINARY_bitwise_and] = p##_and,               \
        [TN_BINARY_bitwise_or] = p##_or, [TN_BINARY_bitwise_xor] = p##_xor                                                                 \
    }
static const AnyTile binary_i32[TN_BINARY_COUNT] = INT_TABLE(i32);
static const AnyTile binary_i64[TN_BINARY_COUNT] = INT_TABLE(i64);
static const AnyTile binary_bool[TN_BINARY_COUNT] = {
    [TN_BINARY_and_] = bool_and, [TN_BINARY_or_] = bool_or, [TN_BINARY_xor_] = bool_xor, [TN_BINARY_equal] = bool_equal};
static const AnyTile compare_f32[TN_BINARY_COUNT] = {[TN_BINARY_equal] = f32_equal,
                                                     [TN_BINARY_less] = f32_less,
                                                     [TN_BINARY_less_equal] = f32_less_equal,
                                                     [TN_BINARY_greater] = f32_greater,
                                                     [TN_BINARY_greater_equal] = f32_greater_equal};
/* Unary: b is unused. */
static const AnyTile unary_i32[TN_UNARY_COUNT] = {[TN_UNARY_abs] = i32_u_abs,
                                                  [TN_UNARY_neg] = i32_u_neg,
                                                  [TN_UNARY_sign] = i32_u_sign,
                                                  [TN_UNARY_relu] = i32_u_relu,
                                                  [TN_UNARY_bitwise_not] = i32_u_not};
static const AnyTile unary_i64[TN_UNARY_COUNT] = {[TN_UNARY_abs] = i64_u_abs,
                                                  [TN_UNARY_neg] = i64_u_neg,
                                                  [TN_UNARY_sign] = i64_u_sign,
                                                  [TN_UNARY_relu] = i64_u_relu,
                                                  [TN_UNARY_bitwise_not] = i64_u_not};

#endif
