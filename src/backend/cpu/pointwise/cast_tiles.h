/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversions of tiles between f32, f64, f16, bf16, i64, i32, u8, i8 and bool, as ONNX Cast has them: floats to integers truncate and
 * saturate, NaN gives 0; integers wrap; to bool is "not zero". Pairs that a row of the table lacks go through f32, which is exact for
 * them (half floats and 8-bit types only; supports() refuses the others). */
#ifndef TENON_BACKEND_CPU_POINTWISE_CAST_TILES_H
#define TENON_BACKEND_CPU_POINTWISE_CAST_TILES_H

#include "backend/cpu/pointwise/int_tiles.h"
#include "backend/cpu/pointwise/pointwise.h"
#include "backend/cpu/simd/simd.h"

typedef void (*CastTile)(void *y, const void *x, int64_t n);

#define CAST_LOOP(from, to, TF, TT, expr)                                                                                                  \
    static void from##_to_##to(void *py, const void *px, int64_t n) {                                                                      \
        TT *y = py;                                                                                                                        \
        const TF *p = px;                                                                                                                  \
        for (int64_t i = 0; i < n; i++) {                                                                                                  \
            const TF x = p[i];                                                                                                             \
            y[i] = (TT)(expr);                                                                                                             \
        }                                                                                                                                  \
    }
/* hi is the first value above the range; limits are exact in TF */
#define SATURATE(x, TT, lo, hi, min, max) ((x) != (x) ? 0 : (x) >= (hi) ? (max) : (x) < (lo) ? (min) : (TT)(x))
#define FROM_FLOAT(from, TF)                                                                                                               \
    CAST_LOOP(from, i64, TF, int64_t, SATURATE(x, int64_t, -0x1p63f, 0x1p63f, INT64_MIN, INT64_MAX))                                       \
    CAST_LOOP(from, i32, TF, int32_t, SATURATE(x, int32_t, -0x1p31f, 0x1p31f, INT32_MIN, INT32_MAX))                                       \
    CAST_LOOP(from, u8, TF, uint8_t, SATURATE(x, uint8_t, 0.0f, 256.0f, 0, 255))                                                           \
    CAST_LOOP(from, i8, TF, int8_t, SATURATE(x, int8_t, -128.0f, 128.0f, -128, 127))                                                       \
    CAST_LOOP(from, bool, TF, uint8_t, x != 0)
#define FROM_INT(from, TF)                                                                                                                 \
    CAST_LOOP(from, f32, TF, float, x)                                                                                                     \
    CAST_LOOP(from, f64, TF, double, x)                                                                                                    \
    CAST_LOOP(from, i64, TF, int64_t, x)                                                                                                   \
    CAST_LOOP(from, i32, TF, int32_t, x)                                                                                                   \
    CAST_LOOP(from, u8, TF, uint8_t, x)                                                                                                    \
    CAST_LOOP(from, i8, TF, int8_t, x)                                                                                                     \
    CAST_LOOP(from, bool, TF, uint8_t, x != 0)

FROM_FLOAT(f32, float)
FROM_FLOAT(f64, double)
CAST_LOOP(f32, f64, float, double, x)
CAST_LOOP(f64, f32, double, float, x)
FROM_INT(i64, int64_t)
FROM_INT(i32, int32_t)
FROM_INT(u8, uint8_t)
FROM_INT(i8, int8_t)
CAST_LOOP(bool, f32, uint8_t, float, x != 0)
CAST_LOOP(bool, f64, uint8_t, double, x != 0)
CAST_LOOP(bool, i64, uint8_t, int64_t, x != 0)
CAST_LOOP(bool, i32, uint8_t, int32_t, x != 0)
CAST_LOOP(bool, u8, uint8_t, uint8_t, x != 0)
#define bool_to_i8 bool_to_u8

#define HALF_LOOPS(h)                                                                                                                      \
    static void h##_to_f32(void *py, const void *px, int64_t n) {                                                                          \
        float *y = py;                                                                                                                     \
        const uint16_t *x = px;                                                                                                            \
        int64_t i = 0;                                                                                                                     \
        for (; i + VL <= n; i += VL)                                                                                                       \
            vf_store(y + i, vf_load_##h(x + i));                                                                                           \
        for (; i < n; i++)                                                                                                                 \
            y[i] = tni_##h##_to_f32(x[i]);                                                                                                 \
    }                                                                                                                                      \
    static void f32_to_##h(void *py, const void *px, int64_t n) {                                                                          \
        uint16_t *y = py;                                                                                                                  \
        const float *x = px;                                                                                                               \
        int64_t i = 0;                                                                                                                     \
        for (; i + VL <= n; i += VL)                                                                                                       \
            vf_store_##h(y + i, vf_load(x + i));                                                                                           \
        for (; i < n; i++)                                                                                                                 \
            y[i] = tni_f32_to_##h(x[i]);                                                                                                   \
    }
HALF_LOOPS(f16)
HALF_LOOPS(bf16)

#define ROW(from)                                                                                                                          \
    {                                                                                                                                      \
        [PW_I64] = from##_to_i64, [PW_I32] = from##_to_i32, [PW_U8] = from##_to_u8, [PW_I8] = from##_to_i8, [PW_BOOL] = from##_to_bool,    \
        [PW_F32] = from##_to_f32, [PW_F64] = from##_to_f64                                                                                 \
    }
#define f64_to_f64 NULL
#define bool_to_bool NULL
static const CastTile casts[PW_TYPES][PW_TYPES] = {[PW_F32] = {[PW_I64] = f32_to_i64,
                                                               [PW_I32] = f32_to_i32,
                                                               [PW_U8] = f32_to_u8,
                                                               [PW_I8] = f32_to_i8,
                                                               [PW_BOOL] = f32_to_bool,
                                                               [PW_F64] = f32_to_f64,
                                                               [PW_F16] = f32_to_f16,
                                                               [PW_BF16] = f32_to_bf16},
                                                   [PW_F64] = ROW(f64),
                                                   [PW_I64] = ROW(i64),
                                                   [PW_I32] = ROW(i32),
                                                   [PW_U8] = ROW(u8),
                                                   [PW_I8] = ROW(i8),
                                                   [PW_BOOL] = ROW(bool),
                                                   [PW_F16] = {[PW_F32] = f16_to_f32},
                                                   [PW_BF16] = {[PW_F32] = bf16_to_f32}};
#undef ROW

#endif
