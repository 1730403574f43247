/* SPDX-License-Identifier: Apache-2.0
 *
 * unary, binary, where, clip, pointwise: special values, integer corner cases, broadcasting, empty tensors. */
#include "ref_test.h"

static float unary1(uint32_t fn, float x, float alpha, float beta) {
    TnUnaryParams p = {fn, alpha, beta};
    float y;
    RUN(unary, &p, T0(TN_F32, &y), T0(TN_F32, &x));
    return y;
}

static void unary_values(void **state) {
    (void)state;
#define U(fn, x) ((double)unary1(TN_UNARY_##fn, x, 0, 0))
    assert_true(same_double(U(relu, -0.0f), 0.0) && U(relu, NAN) != U(relu, NAN) && U(relu, 3.0f) == 3.0);
    assert_true(U(round, 0.5f) == 0 && U(round, 1.5f) == 2 && U(round, -2.5f) == -2);
    assert_true(same_double(U(neg, 0.0f), -0.0) && same_double(U(abs, -0.0f), 0.0));
    assert_true(U(sign, -3.0f) == -1 && U(sign, 0.0f) == 0);
    assert_true(U(sqrt, -1.0f) != U(sqrt, -1.0f) && same_double(U(sqrt, -0.0f), -0.0));
    assert_true(U(log, 0.0f) == -INFINITY && U(exp, -INFINITY) == 0 && U(exp, 200.0f) == INFINITY);
    assert_true(same_double(U(reciprocal, -0.0f), -INFINITY) && U(rsqrt, 4.0f) == 0.5);
    assert_true(U(sigmoid, INFINITY) == 1 && U(sigmoid, -INFINITY) == 0 && U(sigmoid, 0.0f) == 0.5);
    assert_true(U(softplus, 1000.0f) == 1000 && U(softplus, -1000.0f) == 0);
    assert_true(fabs(U(gelu, 1.0f) - 0.8413447460685429) < 1e-7 && fabs(U(gelu_tanh, 1.0f) - 0.8411919906082768) < 1e-7);
    assert_true((double)unary1(TN_UNARY_leaky_relu, -2.0f, 0.5f, 0) == -1 && (double)unary1(TN_UNARY_silu, 1.0f, 1, 0) > 0.73);
    assert_true(U(floor, -1e-45f) == -1 && U(square, 1e-30f) == (double)(float)(1e-30 * 1e-30));
    /* denormals are kept */
    assert_true(U(abs, -1e-45f) == (double)1e-45f);
}

static void unary_bool_and_integer(void **state) {
    (void)state;
    TnUnaryParams p = {.fn = TN_UNARY_isnan};
    uint8_t b[4];
    RUN(unary, &p, T(TN_BOOL, b, 4), T(TN_F32, F(1, NAN, INFINITY, 0), 4));
    SAME_I(b, 4, 0, 1, 0, 0);
    p = (TnUnaryParams){TN_UNARY_isinf, 1, 1};
    RUN(unary, &p, T(TN_BOOL, b, 4), T(TN_F32, F(1, NAN, INFINITY, -INFINITY), 4));
    SAME_I(b, 4, 0, 0, 1, 1);
    p = (TnUnaryParams){TN_UNARY_isinf, 1, 0}; /* negative ones only */
    RUN(unary, &p, T(TN_BOOL, b, 4), T(TN_F32, F(1, NAN, INFINITY, -INFINITY), 4));
    SAME_I(b, 4, 0, 0, 0, 1);
    p.fn = TN_UNARY_not_;
    RUN(unary, &p, T(TN_BOOL, b, 2), T(TN_BOOL, LIST(uint8_t, 0, 1), 2));
    SAME_I(b, 2, 1, 0);
    int32_t i[3];
    p.fn = TN_UNARY_abs;
    RUN(unary, &p, T(TN_I32, i, 3), T(TN_I32, LIST(int32_t, -5, INT32_MIN, 7), 3));
    SAME_I(i, 3, 5, INT32_MIN, 7);
    p.fn = TN_UNARY_neg;
    RUN(unary, &p, T(TN_I32, i, 3), T(TN_I32, LIST(int32_t, -5, INT32_MIN, 7), 3));
    SAME_I(i, 3, 5, INT32_MIN, -7);
    uint64_t u[2];
    p.fn = TN_UNARY_sign;
    RUN(unary, &p, T(TN_U64, u, 2), T(TN_U64, LIST(uint64_t, UINT64_MAX, 0), 2));
    assert_true(u[0] == 1 && u[1] == 0);
    uint8_t n[2];
    p.fn = TN_UNARY_bitwise_not;
    RUN(unary, &p, T(TN_U8, n, 2), T(TN_U8, LIST(uint8_t, 0, 0x0f), 2));
    SAME_I(n, 2, 255, 0xf0);
}

static int64_t int2(TnDtype t, uint32_t fn, int64_t a, int64_t b) {
    TnBinaryParams p = {fn};
    uint8_t x[8], y[8], z[8];
    tni_store_i64(t, x, 0, a);
    tni_store_i64(t, y, 0, b);
    bool to_bool = fn >= TN_BINARY_equal && fn <= TN_BINARY_greater_equal;
    RUN(binary, &p, T0(to_bool ? TN_BOOL : t, z), T0(t, x), T0(t, y));
    return tni_load_i64(to_bool ? TN_BOOL : t, z, 0);
}

static void integers_never_trap(void **state) {
    (void)state;
#define B2(t, fn, a, b) int2(TN_##t, TN_BINARY_##fn, a, b)
    assert_true(B2(I32, div, 7, 0) == 0 && B2(I32, div, -7, 2) == -3 && B2(I32, div, INT32_MIN, -1) == INT32_MIN);
    assert_true(B2(I64, div, INT64_MIN, -1) == INT64_MIN && B2(I64, div, 1, 0) == 0);
    assert_true(B2(U64, div, -1, 2) == INT64_MAX && B2(U64, div, -1, 0) == 0);
    assert_true(B2(I64, mod, -7, 3) == 2 && B2(I64, mod, 7, -3) == -2 && B2(I64, mod, INT64_MIN, -1) == 0 && B2(I64, mod, 3, 0) == 0);
    assert_true(B2(I64, fmod, -7, 3) == -1 && B2(I64, fmod, 7, -3) == 1 && B2(I64, fmod, INT64_MIN, -1) == 0);
    assert_true(B2(U64, mod, -1, 10) == 5);
    assert_true(B2(I8, add, 127, 1) == -128 && B2(U8, sub, 0, 1) == 255 && B2(I64, mul, INT64_MAX, 2) == -2);
    assert_true(B2(I64, add, INT64_MAX, 1) == INT64_MIN);
    assert_true(B2(I64, pow, 3, 4) == 81 && B2(I64, pow, 2, -1) == 0 && B2(I64, pow, -1, -3) == -1 && B2(I64, pow, 0, 0) == 1);
    assert_true(B2(I32, pow, 10, 10) == (int32_t)1410065408);
    assert_true(B2(U8, shift_left, 1, 7) == 128 && B2(U8, shift_left, 1, 8) == 0 && B2(U64, shift_left, 1, 64) == 0);
    assert_true(B2(U64, shift_right, -1, 63) == 1 && B2(U32, shift_right, 8, 40) == 0 && B2(U64, shift_right, -1, 64) == 0);
    assert_true(B2(U64, less, -1, 1) == 0 && B2(U64, greater, -1, 1) == 1 && B2(I64, less, -1, 1) == 1);
    assert_true(B2(U64, max, -1, 1) == -1 && B2(U64, min, -1, 1) == 1);
    assert_true(B2(I16, bitwise_xor, 0x0ff0, 0x00ff) == 0x0f0f && B2(BOOL, xor_, 1, 1) == 0 && B2(BOOL, or_, 0, 1) == 1);
    assert_true(B2(I64, equal, 0x20000000000001, 0x20000000000000) == 0); /* differs beyond a double */
}

static void float_binary(void **state) {
    (void)state;
    TnBinaryParams p = {TN_BINARY_max};
    float y[4];
    RUN(binary, &p, T(TN_F32, y, 4), T(TN_F32, F(1, NAN, 3, -INFINITY), 4), T(TN_F32, F(2, 1, NAN, 0), 4));
    SAME_F(y, 4, 2, NAN, NAN, 0);
    p.fn = TN_BINARY_min;
    RUN(binary, &p, T(TN_F32, y, 4), T(TN_F32, F(1, NAN, 3, -INFINITY), 4), T(TN_F32, F(2, 1, NAN, 0), 4));
    SAME_F(y, 4, 1, NAN, NAN, -INFINITY);
    p.fn = TN_BINARY_fmod;
    RUN(binary, &p, T(TN_F32, y, 3), T(TN_F32, F(-4.3f, 7.5f, 1), 3), T(TN_F32, F(2, -2, 0), 3));
    SAME_F(y, 3, (float)fmod(-4.3f, 2.0), 1.5f, NAN);
    p.fn = TN_BINARY_div;
    RUN(binary, &p, T(TN_F32, y, 3), T(TN_F32, F(1, -1, 0), 3), T0(TN_F32, F(0)));
    SAME_F(y, 3, INFINITY, -INFINITY, NAN);
    /* pow with another type of exponent; result type of the base */
    p.fn = TN_BINARY_pow;
    RUN(binary, &p, T(TN_F32, y, 3), T(TN_F32, F(2, 3, 0.5f), 3), T(TN_I64, I(10, 0, -2), 3));
    SAME_F(y, 3, 1024, 1, 4);
    int64_t i[2];
    RUN(binary, &p, T(TN_I64, i, 2), T(TN_I64, I(4, 2), 2), T(TN_F32, F(0.5f, -1), 2));
    SAME_I(i, 2, 2, 0);
    /* f16 rounds once from the exact sum */
    uint16_t h;
    RUN(binary, &(TnBinaryParams){TN_BINARY_add}, T0(TN_F16, &h), T0(TN_F16, LIST(uint16_t, 0x6800)), T0(TN_F16, LIST(uint16_t, 0x3c00)));
    assert_int_equal(h, 0x6800); /* 2048 + 1: tie to even */
}

static void broadcasting(void **state) {
    (void)state;
    TnBinaryParams p = {TN_BINARY_sub};
    float y[24];
    RUN(binary, &p, T(TN_F32, y, 2, 3), T(TN_F32, F(10, 20), 2, 1), T(TN_F32, F(1, 2, 3), 3));
    SAME_F(y, 6, 9, 8, 7, 19, 18, 17);
    RUN(binary, &p, T(TN_F32, y, 2, 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 1, 2), T(TN_F32, F(1, 2), 2, 1));
    SAME_F(y, 8, 0, 1, -1, 0, 2, 3, 1, 2);
    RUN(binary, &p, T0(TN_F32, y), T0(TN_F32, F(5)), T0(TN_F32, F(3)));
    SAME_F(y, 1, 2);
    RUN(binary, &p, T(TN_F32, NULL, 0, 3), T(TN_F32, NULL, 0, 1), T(TN_F32, F(1, 2, 3), 3));
    /* across the block size: 600 columns, one row vector and one column vector */
    static float big[3 * 600], row[600];
    for (int j = 0; j < 600; j++)
        row[j] = (float)j;
    RUN(binary, &p, T(TN_F32, big, 3, 600), T(TN_F32, F(1000, 2000, 3000), 3, 1), T(TN_F32, row, 1, 600));
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 600; j++)
            assert_true(big[i * 600 + j] == (float)((i + 1) * 1000 - j));
    TnError err = {0};
    TnTensor out = T(TN_F32, y, 2, 2);
    assert_int_equal(call_ref(TN_OP_binary, &p, (TnTensor[]){T(TN_F32, y, 3), T(TN_F32, y, 2, 2)}, 2, &out, 1, NULL, NULL, &err),
                     TN_ERR_INTERNAL);
}

static void in_place(void **state) {
    (void)state;
    float x[600];
    for (int i = 0; i < 600; i++)
        x[i] = (float)i;
    RUN(unary, &(TnUnaryParams){.fn = TN_UNARY_neg}, T(TN_F32, x, 600), T(TN_F32, x, 600));
    RUN(binary, &(TnBinaryParams){TN_BINARY_add}, T(TN_F32, x, 600), T(TN_F32, x, 600), T0(TN_F32, F(1)));
    for (int i = 0; i < 600; i++)
        assert_true(x[i] == (float)(1 - i));
}

static void where_any_type(void **state) {
    (void)state;
    float y[6];
    RUN(where, NULL, T(TN_F32, y, 2, 3), T(TN_BOOL, LIST(uint8_t, 1, 0), 2, 1), T(TN_F32, F(1, 2, 3), 3), T0(TN_F32, F(-NAN)));
    SAME_F(y, 6, 1, 2, 3, NAN, NAN, NAN);
    int64_t i[2];
    RUN(where, NULL, T(TN_I64, i, 2), T(TN_BOOL, LIST(uint8_t, 0, 1), 2), T(TN_I64, I(INT64_MAX, INT64_MIN), 2), T(TN_I64, I(5, 6), 2));
    SAME_I(i, 2, 5, INT64_MIN);
    uint8_t n[2] = {0, 0}; /* packed: [1 2 3] and [9 9 9] */
    RUN(where, NULL, T(TN_U4, n, 3), T(TN_BOOL, LIST(uint8_t, 1, 0, 1), 3), T(TN_U4, LIST(uint8_t, 0x21, 0x03), 3),
        T(TN_U4, LIST(uint8_t, 0x99, 0x09), 3));
    assert_int_equal(n[0], 0x91);
    assert_int_equal(n[1] & 0xf, 3);
}

static void clip_bounds(void **state) {
    (void)state;
    float y[4];
    RUN(clip, NULL, T(TN_F32, y, 4), T(TN_F32, F(-5, 5, NAN, 0.5f), 4), T0(TN_F32, F(-1)), T0(TN_F32, F(1)));
    SAME_F(y, 4, -1, 1, NAN, 0.5f);
    RUN(clip, NULL, T(TN_F32, y, 2), T(TN_F32, F(-5, 5), 2), NONE, T0(TN_F32, F(1)));
    SAME_F(y, 2, -5, 1);
    RUN(clip, NULL, T(TN_F32, y, 2), T(TN_F32, F(-5, 5), 2), T0(TN_F32, F(2)), T0(TN_F32, F(1))); /* min above max: max */
    SAME_F(y, 2, 1, 1);
    RUN(clip, NULL, T(TN_F32, y, 2), T(TN_F32, F(-5, 5), 2));
    SAME_F(y, 2, -5, 5);
    uint64_t u[2];
    RUN(clip, NULL, T(TN_U64, u, 2), T(TN_U64, LIST(uint64_t, UINT64_MAX, 3), 2), NONE, T0(TN_U64, LIST(uint64_t, 7)));
    assert_true(u[0] == 7 && u[1] == 3);
}

static void programs(void **state) {
    (void)state;
    /* y = x < 0 ? x * s : clip(tanh(x), -0.5, 0.5), s broadcast */
    TnPointwiseParams p = {.n_in = 2, .n_code = 6};
    p.code[0] = (TnPwInstr){.op = TN_PW_CONST, .dst = 2, .alpha = 0};
    p.code[1] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_less, .dst = 2, .a = 0, .b = 2};
    p.code[2] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_mul, .dst = 1, .a = 0, .b = 1};
    p.code[3] = (TnPwInstr){.op = TN_PW_UNARY, .fn = TN_UNARY_tanh, .dst = 0, .a = 0};
    p.code[4] = (TnPwInstr){.op = TN_PW_CLIP, .dst = 3, .a = 0, .alpha = -0.5f, .beta = 0.5f};
    p.code[5] = (TnPwInstr){.op = TN_PW_WHERE, .dst = 4, .a = 2, .b = 1, .c = 3};
    float y[4];
    RUN(pointwise, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(-1, 0.25f, 3, -4), 2, 2), T(TN_F32, F(10, 100), 2, 1));
    SAME_F(y, 4, -10, (float)tanh(0.25), 0.5f, -400);
    p.code[5].dst = TN_PW_MAX_REGS;
    TnError err = {0};
    TnTensor out = T(TN_F32, y, 1);
    assert_int_equal(call_ref(TN_OP_pointwise, &p, (TnTensor[]){out, out}, 2, &out, 1, NULL, NULL, &err), TN_ERR_INTERNAL);
}

static void threads_do_not_matter(void **state) {
    (void)state;
    TnThreads *t = NULL;
    TnError err = {0};
    assert_int_equal(tni_threads_create(NULL, 3, &t, &err), TN_OK);
    const int64_t n = 100000;
    float *x = randoms(n, 1), *a = malloc((size_t)n * 4), *b = malloc((size_t)n * 4);
    TnUnaryParams p = {.fn = TN_UNARY_gelu};
    TnTensor in = T(TN_F32, x, n), out = T(TN_F32, a, n);
    assert_int_equal(call_ref(TN_OP_unary, &p, &in, 1, &out, 1, NULL, NULL, &err), TN_OK);
    out.data = b;
    assert_int_equal(call_ref(TN_OP_unary, &p, &in, 1, &out, 1, NULL, t, &err), TN_OK);
    assert_memory_equal(a, b, (size_t)n * 4);
    free(x);
    free(a);
    free(b);
    tni_threads_destroy(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary_values),
        cmocka_unit_test(unary_bool_and_integer),
        cmocka_unit_test(integers_never_trap),
        cmocka_unit_test(float_binary),
        cmocka_unit_test(broadcasting),
        cmocka_unit_test(in_place),
        cmocka_unit_test(where_any_type),
        cmocka_unit_test(clip_bounds),
        cmocka_unit_test(programs),
        cmocka_unit_test(threads_do_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
