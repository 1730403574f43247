/* SPDX-License-Identifier: Apache-2.0
 *
 * cast, quantize_linear, dequantize_linear to the bit. */
#include "ref_test.h"

static void cast_one(TnDtype from, const void *x, TnDtype to, void *y, int64_t n, uint32_t saturate) {
    TnCastParams p = {to, saturate};
    RUN(cast, &p, T(to, y, n), T(from, x, n));
}

/* Value of a small float from its fields, straight from the format's definition. */
static double decode(uint32_t bits, uint32_t e, uint32_t m, int bias) {
    uint32_t man = bits & ((1u << m) - 1u), exp = bits >> m & ((1u << e) - 1u);
    double v = exp == 0 ? ldexp((double)man, 1 - bias - (int)m) : ldexp((double)(man + (1u << m)), (int)exp - bias - (int)m);
    return (bits >> (e + m) & 1u) != 0 ? -v : v;
}

static void half_exhaustive(void **state) {
    (void)state;
    static uint16_t h[65536], back[65536];
    static float f[65536];
    for (uint32_t i = 0; i < 65536; i++)
        h[i] = (uint16_t)i;
    cast_one(TN_F16, h, TN_F32, f, 65536, 1);
    cast_one(TN_F32, f, TN_F16, back, 65536, 1);
    for (uint32_t i = 0; i < 65536; i++) {
        if ((i & 0x7fffu) > 0x7c00u) {
            assert_true(f[i] != f[i]);
            assert_true((back[i] & 0x7fffu) > 0x7c00u);
            continue;
        }
        assert_true((i & 0x7fffu) == 0x7c00u ? isinf(f[i]) : (double)f[i] == decode(i, 5, 10, 15));
        assert_int_equal(back[i], i);
    }
    /* Midpoints go to the even neighbour, a hair to either side goes to the near one; past the largest is infinity. */
    for (uint32_t i = 0; i < 0x7bffu; i++) {
        double lo = decode(i, 5, 10, 15), hi = decode(i + 1, 5, 10, 15);
        float x[3] = {(float)((lo + hi) / 2), 0, 0};
        uint16_t y[3];
        x[1] = nextafterf(x[0], 0.0f);
        x[2] = nextafterf(x[0], 1e9f);
        cast_one(TN_F32, x, TN_F16, y, 3, 1);
        assert_int_equal(y[0], i % 2 == 0 ? i : i + 1);
        assert_int_equal(y[1], i);
        assert_int_equal(y[2], i + 1);
    }
    uint16_t y[3];
    cast_one(TN_F32, F(65519.996f, 65520.0f, -1e30f), TN_F16, y, 3, 1);
    assert_int_equal(y[0], 0x7bff);
    assert_int_equal(y[1], 0x7c00);
    assert_int_equal(y[2], 0xfc00);
}

static void double_rounds_once(void **state) {
    (void)state;
    /* 1 + 2^-11 + 2^-40: through float it would become the tie 1 + 2^-11 and fall to 1. */
    double x[2] = {1.0 + ldexp(1, -11) + ldexp(1, -40), 1.0 + ldexp(1, -8) + ldexp(1, -40)};
    uint16_t h[2], b[2];
    cast_one(TN_F64, x, TN_F16, h, 2, 1);
    cast_one(TN_F64, x, TN_BF16, b, 2, 1);
    assert_int_equal(h[0], 0x3c01);
    assert_int_equal(b[1], 0x3f81);
}

typedef struct Fp8 {
    TnDtype t;
    uint32_t e, m;
    int bias;
    bool fnuz, inf;
    uint8_t max, nan;
} Fp8;

static const Fp8 fp8[4] = {{TN_F8E4M3FN, 4, 3, 7, false, false, 0x7e, 0x7f},
                           {TN_F8E4M3FNUZ, 4, 3, 8, true, false, 0x7f, 0x80},
                           {TN_F8E5M2, 5, 2, 15, false, true, 0x7b, 0x7f},
                           {TN_F8E5M2FNUZ, 5, 2, 16, true, false, 0x7f, 0x80}};

static bool fp8_is_nan(const Fp8 *f, uint8_t v) {
    if (f->fnuz)
        return v == 0x80;
    return f->inf ? (v & 0x7f) > 0x7c : (v & 0x7f) == 0x7f;
}

static void fp8_tables(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        const Fp8 *f = &fp8[k];
        uint8_t all[256], back[256];
        float v[256];
        for (int i = 0; i < 256; i++)
            all[i] = (uint8_t)i;
        cast_one(f->t, all, TN_F32, v, 256, 1);
        cast_one(TN_F32, v, f->t, back, 256, 0);
        for (int i = 0; i < 256; i++) {
            if (fp8_is_nan(f, all[i])) {
                assert_true(v[i] != v[i]);
                assert_true(fp8_is_nan(f, back[i]));
            } else if (f->inf && (i & 0x7f) == 0x7c) {
                assert_true(isinf(v[i]));
                assert_int_equal(back[i], i);
            } else {
                assert_true((double)v[i] == decode((uint32_t)i, f->e, f->m, f->bias));
                assert_int_equal(back[i], i);
            }
        }
        for (uint8_t i = 0; i < f->max; i++) {
            float x[3] = {(v[i] + v[i + 1]) / 2, 0, 0};
            uint8_t y[3];
            x[1] = nextafterf(x[0], 0.0f);
            x[2] = nextafterf(x[0], 1e9f);
            cast_one(TN_F32, x, f->t, y, 3, 1);
            assert_int_equal(y[0], i % 2 == 0 ? i : i + 1);
            assert_int_equal(y[1], i);
            assert_int_equal(y[2], i + 1);
        }
    }
}

static void fp8_saturation(void **state) {
    (void)state;
    const float x[5] = {1e9f, -1e9f, INFINITY, -INFINITY, NAN};
    for (int k = 0; k < 4; k++) {
        const Fp8 *f = &fp8[k];
        uint8_t s[5], u[5], neg = f->fnuz ? 0x80 : 0x80;
        cast_one(TN_F32, x, f->t, s, 5, 1);
        cast_one(TN_F32, x, f->t, u, 5, 0);
        assert_int_equal(s[0], f->max);
        assert_int_equal(s[1], f->max | neg);
        assert_int_equal(s[2], f->max);
        assert_int_equal(s[3], f->max | neg);
        assert_true(fp8_is_nan(f, s[4]) && fp8_is_nan(f, u[4]));
        for (int i = 0; i < 4; i++) {
            if (f->inf)
                assert_int_equal(u[i], i % 2 == 0 ? 0x7c : 0xfc);
            else
                assert_true(fp8_is_nan(f, u[i]));
        }
    }
}

static void float_to_integer(void **state) {
    (void)state;
    const float x[10] = {2.9999998f, -2.9999998f, 0.5f, -0.9f, 3e9f, -3e9f, INFINITY, -INFINITY, NAN, 255.99f};
    int32_t i32[10];
    uint8_t u8[10];
    int64_t i64[10];
    int8_t i8[10];
    uint8_t b[10];
    cast_one(TN_F32, x, TN_I32, i32, 10, 1);
    cast_one(TN_F32, x, TN_U8, u8, 10, 1);
    cast_one(TN_F32, x, TN_I64, i64, 10, 1);
    cast_one(TN_F32, x, TN_I8, i8, 10, 1);
    cast_one(TN_F32, x, TN_BOOL, b, 10, 1);
    SAME_I(i32, 10, 2, -2, 0, 0, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 0, 255);
    SAME_I(u8, 10, 2, 0, 0, 0, 255, 0, 255, 0, 0, 255);
    SAME_I(i64, 10, 2, -2, 0, 0, 3000000000, -3000000000, INT64_MAX, INT64_MIN, 0, 255);
    SAME_I(i8, 10, 2, -2, 0, 0, 127, -128, 127, -128, 0, 127);
    SAME_I(b, 10, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
}

static void integer_conversions(void **state) {
    (void)state;
    const int64_t x[6] = {-1, 300, INT64_MIN, INT64_MAX, 0, 65536 + 7};
    uint8_t u8[6], b[6];
    int16_t i16[6];
    uint64_t u64[6];
    float f[6];
    cast_one(TN_I64, x, TN_U8, u8, 6, 1);
    cast_one(TN_I64, x, TN_I16, i16, 6, 1);
    cast_one(TN_I64, x, TN_U64, u64, 6, 1);
    cast_one(TN_I64, x, TN_BOOL, b, 6, 1);
    cast_one(TN_I64, x, TN_F32, f, 6, 1);
    SAME_I(u8, 6, 255, 44, 0, 255, 0, 7);
    SAME_I(i16, 6, -1, 300, 0, -1, 0, 7);
    SAME_I(b, 6, 1, 1, 1, 1, 0, 1);
    SAME_F(f, 6, -1, 300, -0x1p63f, 0x1p63f, 0, 65543);
    assert_true(u64[0] == UINT64_MAX);
    cast_one(TN_U64, u64, TN_F32, f, 1, 1);
    SAME_F(f, 1, 0x1p64f);
    /* 2^60 + 2^36 + 1 lies just above a tie of float; through double it would fall on the tie and go to the even 2^60. */
    const int64_t tie[2] = {((int64_t)1 << 60) + ((int64_t)1 << 36) + 1, -(((int64_t)1 << 60) + ((int64_t)1 << 36) + 1)};
    cast_one(TN_I64, tie, TN_F32, f, 2, 1);
    assert_true(f[0] == (float)tie[0] && f[0] > 0x1p60f && f[1] == -f[0]);
}

/* Every pair of types carries small whole numbers. */
static void all_pairs(void **state) {
    (void)state;
    static const TnDtype types[] = {TN_F32,    TN_F64,        TN_F16, TN_BF16, TN_U8,     TN_I8,       TN_U16,
                                    TN_I16,    TN_I32,        TN_I64, TN_U32,  TN_U64,    TN_F8E4M3FN, TN_F8E4M3FNUZ,
                                    TN_F8E5M2, TN_F8E5M2FNUZ, TN_U4,  TN_I4,   TN_F4E2M1, TN_BOOL};
    for (size_t a = 0; a < TN_COUNT(types); a++)
        for (size_t b = 0; b < TN_COUNT(types); b++) {
            uint8_t x[64] = {0}, y[64] = {0};
            for (int i = 0; i < 5; i++)
                tni_store_f64(types[a], x, i, (double)i);
            cast_one(types[a], x, types[b], y, 5, 1);
            for (int i = 0; i < 5; i++) {
                double want = types[a] == TN_BOOL || types[b] == TN_BOOL ? (double)(i != 0) : (double)i;
                assert_true(tni_load_f64(types[b], y, i) == want);
            }
        }
    uint8_t y[2];
    cast_one(TN_I32, LIST(int32_t, -1, 17, 7), TN_I4, y, 3, 1);
    assert_true(tni_load_i64(TN_I4, y, 0) == -1 && tni_load_i64(TN_I4, y, 1) == 1 && tni_load_i64(TN_I4, y, 2) == 7);
    cast_one(TN_F32, F(0.25f, 0.75f, 2.5f, 100.0f), TN_F4E2M1, y, 4, 1);
    SAME(TN_F4E2M1, y, LIST(uint8_t, 0x20, 0x74), 4);
}

static void quantize(void **state) {
    (void)state;
    TnQuantizeParams p = {.axis = 1, .saturate = 1};
    uint8_t y[8];
    RUN(quantize_linear, &p, T(TN_U8, y, 6), T(TN_F32, F(0, 2, 3, 1000, -254, -1000), 6), T0(TN_F32, F(2)), T0(TN_U8, LIST(uint8_t, 128)));
    SAME_I(y, 6, 128, 129, 130, 255, 1, 0);
    /* ties to even, per axis */
    int8_t s[4];
    RUN(quantize_linear, &p, T(TN_I8, s, 2, 2), T(TN_F32, F(2.5f, 3.5f, -2.5f, 5.0f), 2, 2), T(TN_F32, F(1, 2), 2), NONE);
    SAME_I(s, 4, 2, 2, -2, 2);
    /* blocks of 2 along axis 1 */
    p.block_size = 2;
    RUN(quantize_linear, &p, T(TN_I8, s, 1, 4), T(TN_F32, F(2, 4, 6, 8), 1, 4), T(TN_F32, F(2, 4), 1, 2),
        T(TN_I8, LIST(int8_t, 0, 1), 1, 2));
    SAME_I(s, 4, 1, 2, 3, 3); /* 6 / 4 = 1.5 -> 2 */
    float f[4];
    RUN(dequantize_linear, &p, T(TN_F32, f, 1, 4), T(TN_I8, LIST(int8_t, 1, 2, 3, 3), 1, 4), T(TN_F32, F(2, 4), 1, 2),
        T(TN_I8, LIST(int8_t, 0, 1), 1, 2));
    SAME_F(f, 4, 2, 4, 8, 8);
    p.block_size = 0;
    RUN(dequantize_linear, &p, T(TN_F32, f, 3), T(TN_I32, LIST(int32_t, 5, -5, 0), 3), T0(TN_F32, F(0.5f)), NONE);
    SAME_F(f, 3, 2.5f, -2.5f, 0);
}

static void saturating_halves(void **state) {
    (void)state;
    const float x[8] = {65504, 65519, 65520, -3.4028235e38f, INFINITY, -INFINITY, NAN, -1.5f};
    const uint16_t want[7] = {0x7bff, 0x7bff, 0x7bff, 0xfbff, 0x7c00, 0xfc00, 0x7e00}, brain[4] = {0xff7f, 0x7f80, 0xff80, 0x7fc0};
    uint16_t y[8];
    cast_one(TN_F32, x, TN_F16, y, 8, 2);
    assert_memory_equal(y, want, sizeof want);
    assert_int_equal(y[7], 0xbe00);
    cast_one(TN_F32, x + 3, TN_BF16, y, 4, 2);
    assert_memory_equal(y, brain, sizeof brain);
    cast_one(TN_F32, x, TN_F16, y, 8, 1); /* as ONNX has it */
    assert_int_equal(y[2], 0x7c00);
    assert_int_equal(y[3], 0xfc00);
}

static void empty(void **state) {
    (void)state;
    cast_one(TN_F32, NULL, TN_F64, NULL, 0, 1);
    cast_one(TN_F32, NULL, TN_I64, NULL, 0, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(half_exhaustive), cmocka_unit_test(double_rounds_once), cmocka_unit_test(fp8_tables),
        cmocka_unit_test(fp8_saturation),  cmocka_unit_test(float_to_integer),   cmocka_unit_test(integer_conversions),
        cmocka_unit_test(all_pairs),       cmocka_unit_test(quantize),           cmocka_unit_test(empty),
        cmocka_unit_test(saturating_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
