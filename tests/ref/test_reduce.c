/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce, arg_reduce, cumsum, softmax and the normalisations. */
#include "ref_test.h"

static void reduce_f(uint32_t fn, TnTensor x, TnTensor y, uint32_t n_axes, int32_t a0, int32_t a1) {
    TnReduceParams p = {.fn = fn, .n_axes = n_axes, .axes = {a0, a1}};
    RUN(reduce, &p, y, x);
}

static void reduce_functions(void **state) {
    (void)state;
    const float x[6] = {1, -2, 3, 4, -5, 6};
    float y[6];
    reduce_f(TN_REDUCE_sum, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, 2, 5);
    reduce_f(TN_REDUCE_sum, T(TN_F32, x, 2, 3), T(TN_F32, y, 3), 1, 0, 0);
    SAME_F(y, 3, 5, -7, 9);
    reduce_f(TN_REDUCE_mean, T(TN_F32, x, 2, 3), T0(TN_F32, y), 2, 0, 1);
    SAME_F(y, 1, (float)(7.0 / 6));
    reduce_f(TN_REDUCE_max, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, -1, 0);
    SAME_F(y, 2, 3, 6);
    reduce_f(TN_REDUCE_min, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, -2, -5);
    reduce_f(TN_REDUCE_prod, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, -6, -120);
    reduce_f(TN_REDUCE_l1, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, 6, 15);
    reduce_f(TN_REDUCE_l2, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, (float)sqrt(14), (float)sqrt(77));
    reduce_f(TN_REDUCE_sum_square, T(TN_F32, x, 2, 3), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, 14, 77);
    reduce_f(TN_REDUCE_log_sum, T(TN_F32, F(1, 2, 3, 4), 2, 2), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, (float)log(3), (float)log(7));
    reduce_f(TN_REDUCE_log_sum_exp, T(TN_F32, F(1000, 1000, -INFINITY, -INFINITY), 2, 2), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, (float)(1000 + log(2)), -INFINITY);
    reduce_f(TN_REDUCE_l1, T(TN_F32, x, 2, 3), T(TN_F32, y, 2, 3), 0, 0, 0); /* no axis: element by element */
    SAME_F(y, 6, 1, 2, 3, 4, 5, 6);
}

static void reduce_special(void **state) {
    (void)state;
    float y[4];
    reduce_f(TN_REDUCE_max, T(TN_F32, F(1, NAN, 3), 3), T0(TN_F32, y), 1, 0, 0);
    SAME_F(y, 1, NAN);
    reduce_f(TN_REDUCE_min, T(TN_F32, F(1, 2, NAN), 3), T0(TN_F32, y), 1, 0, 0);
    SAME_F(y, 1, NAN);
    /* nothing to reduce */
    reduce_f(TN_REDUCE_sum, T(TN_F32, NULL, 2, 0), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, 0, 0);
    reduce_f(TN_REDUCE_prod, T(TN_F32, NULL, 2, 0), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, 1, 1);
    reduce_f(TN_REDUCE_max, T(TN_F32, NULL, 2, 0), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, -INFINITY, -INFINITY);
    reduce_f(TN_REDUCE_mean, T(TN_F32, NULL, 2, 0), T(TN_F32, y, 2), 1, 1, 0);
    SAME_F(y, 2, NAN, NAN);
    reduce_f(TN_REDUCE_sum, T(TN_F32, NULL, 0, 2), T(TN_F32, y, 0), 1, 1, 0);
    int32_t i[2];
    reduce_f(TN_REDUCE_max, T(TN_I32, NULL, 2, 0), T(TN_I32, i, 2), 1, 1, 0);
    SAME_I(i, 2, INT32_MIN, INT32_MIN);
    uint64_t u[1];
    reduce_f(TN_REDUCE_max, T(TN_U64, LIST(uint64_t, 1, UINT64_MAX), 2), T0(TN_U64, u), 1, 0, 0);
    assert_true(u[0] == UINT64_MAX);
    int64_t s;
    reduce_f(TN_REDUCE_sum, T(TN_I64, I(INT64_MAX, 1), 2), T0(TN_I64, &s), 1, 0, 0);
    assert_true(s == INT64_MIN);
    int32_t m;
    reduce_f(TN_REDUCE_mean, T(TN_I32, LIST(int32_t, 1, 2), 2), T0(TN_I32, &m), 1, 0, 0);
    assert_int_equal(m, 1);
    /* sums do not lose small numbers */
    static float many[100001];
    for (int k = 1; k <= 100000; k++)
        many[k] = 0.01f;
    many[0] = 1e6f;
    reduce_f(TN_REDUCE_sum, T(TN_F32, many, 100001), T0(TN_F32, y), 1, 0, 0);
    assert_true((double)y[0] == (double)(float)(1e6 + 100000 * (double)0.01f));
}

static void arg_reduce(void **state) {
    (void)state;
    int64_t y[4];
    TnArgReduceParams p = {.axis = -1, .is_max = 1};
    const TnTensor x = T(TN_F32, F(1, 5, 5, 7, 7, 2), 2, 3);
    RUN(arg_reduce, &p, T(TN_I64, y, 2), x);
    SAME_I(y, 2, 1, 0);
    p.select_last = 1;
    RUN(arg_reduce, &p, T(TN_I64, y, 2), x);
    SAME_I(y, 2, 2, 1);
    p = (TnArgReduceParams){.axis = 0};
    RUN(arg_reduce, &p, T(TN_I64, y, 3), x);
    SAME_I(y, 3, 0, 0, 1);
    RUN(arg_reduce, &p, T0(TN_I64, y), T(TN_F32, F(3, NAN, 1), 3));
    SAME_I(y, 1, 1);
    p.is_max = 1;
    RUN(arg_reduce, &p, T0(TN_I64, y), T(TN_F32, F(3, NAN, 9), 3));
    SAME_I(y, 1, 1);
    RUN(arg_reduce, &p, T0(TN_I64, y), T(TN_U64, LIST(uint64_t, 1, UINT64_MAX), 2));
    SAME_I(y, 1, 1);
    TnError err = {0};
    TnTensor out = T(TN_I64, y, 2), empty = T(TN_F32, NULL, 0, 2);
    assert_int_equal(call_ref(TN_OP_arg_reduce, &p, &empty, 1, &out, 1, NULL, NULL, &err), TN_ERR_RUN);
}

static void cumsum(void **state) {
    (void)state;
    float y[6];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6), 2, 3);
    RUN(cumsum, &((TnCumsumParams){0}), T(TN_F32, y, 2, 3), x, T0(TN_I64, I(1)));
    SAME_F(y, 6, 1, 3, 6, 4, 9, 15);
    RUN(cumsum, &((TnCumsumParams){1, 0}), T(TN_F32, y, 2, 3), x, T0(TN_I32, LIST(int32_t, -1)));
    SAME_F(y, 6, 0, 1, 3, 0, 4, 9);
    RUN(cumsum, &((TnCumsumParams){0, 1}), T(TN_F32, y, 2, 3), x, T0(TN_I64, I(0)));
    SAME_F(y, 6, 5, 7, 9, 4, 5, 6);
    RUN(cumsum, &((TnCumsumParams){1, 1}), T(TN_F32, y, 2, 3), x, T0(TN_I64, I(1)));
    SAME_F(y, 6, 5, 3, 0, 11, 6, 0);
    int64_t i[3];
    RUN(cumsum, &((TnCumsumParams){0}), T(TN_I64, i, 3), T(TN_I64, I(INT64_MAX, 1, 1), 3), T0(TN_I64, I(0)));
    SAME_I(i, 3, INT64_MAX, INT64_MIN, INT64_MIN + 1);
    TnError err = {0};
    TnTensor out = T(TN_F32, y, 2, 3);
    assert_int_equal(call_ref(TN_OP_cumsum, &(TnCumsumParams){0}, (TnTensor[]){x, T0(TN_I64, I(2))}, 2, &out, 1, NULL, NULL, &err),
                     TN_ERR_RUN);
    assert_non_null(strstr(err.message, "axis 2"));
}

static void softmax(void **state) {
    (void)state;
    float y[8];
    TnSoftmaxParams p = {.axis = -1, .scale = 1};
    RUN(softmax, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(1000, 1000, 0, -INFINITY), 2, 2));
    SAME_F(y, 4, 0.5f, 0.5f, 1, 0);
    RUN(softmax, &p, T(TN_F32, y, 2), T(TN_F32, F(-INFINITY, -INFINITY), 2));
    SAME_F(y, 2, NAN, NAN);
    p.axis = 0;
    RUN(softmax, &p, T(TN_F32, y, 2, 3), T(TN_F32, F(0, 1, 2, 0, 1, 2), 2, 3));
    SAME_F(y, 6, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f, 0.5f);
    p.scale = 2;
    RUN(softmax, &p, T(TN_F32, y, 2), T(TN_F32, F(0, 1), 2));
    SAME_F(y, 2, (float)(1 / (1 + exp(2))), (float)(exp(2) / (1 + exp(2))));
    p = (TnSoftmaxParams){.axis = 0, .log = 1, .scale = 1};
    RUN(softmax, &p, T(TN_F32, y, 2), T(TN_F32, F(0, 1000), 2));
    SAME_F(y, 2, -1000, 0);
    RUN(softmax, &p, T(TN_F32, NULL, 0), T(TN_F32, NULL, 0));
    /* a row longer than a block, in place */
    static float row[1000];
    p = (TnSoftmaxParams){.axis = 0, .scale = 1};
    RUN(softmax, &p, T(TN_F32, row, 1000), T(TN_F32, row, 1000));
    for (int i = 0; i < 1000; i++)
        assert_true(row[i] == 0.001f);
}

static void layer_norms(void **state) {
    (void)state;
    float y[8], s[4];
    TnNormParams p = {.epsilon = 0, .axis = -1};
    const float x[4] = {1, 3, -2, 2};
    RUN(layer_norm, &p, T(TN_F32, y, 2, 2), T(TN_F32, x, 2, 2));
    SAME_F(y, 4, -1, 1, -1, 1);
    RUN(layer_norm, &p, T(TN_F32, y, 2, 2), T(TN_F32, x, 2, 2), T(TN_F32, F(2, 3), 2), T(TN_F32, F(10, 20), 2));
    SAME_F(y, 4, 8, 23, 8, 23);
    p.axis = 0;
    RUN(layer_norm, &p, T(TN_F32, y, 2, 2), T(TN_F32, F(1, 1, -1, -1), 2, 2), T(TN_F32, F(1, 2, 3, 4), 2, 2));
    SAME_F(y, 4, 1, 2, -3, -4);
    /* large mean, small variance: two passes keep it */
    RUN(layer_norm, &p, T(TN_F32, y, 4), T(TN_F32, F(1e6f, 1e6f + 1, 1e6f + 2, 1e6f + 3), 4));
    NEAR(y, F(-1.3416408f, -0.4472136f, 0.4472136f, 1.3416408f), 4, 1e-6);
    p.axis = -1;
    TnTensor out[2] = {T(TN_F32, y, 1, 2), T(TN_F32, s, 1, 2)};
    TnError err = {0};
    TnTensor in[5] = {T(TN_F32, F(1, 2), 1, 2), T(TN_F32, F(2, 4), 1, 2), T(TN_F32, F(1, 1), 2), T(TN_F32, F(0, 0), 2),
                      T(TN_F32, F(1, 1), 2)};
    assert_int_equal(call_ref(TN_OP_add_layer_norm, &p, in, 5, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(y, 2, -1, 1);
    SAME_F(s, 2, 4, 7);
    out[1] = (TnTensor){0};
    assert_int_equal(call_ref(TN_OP_add_layer_norm, &p, in, 4, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(y, 2, -1, 1);
    RUN(rms_norm, &p, T(TN_F32, y, 2), T(TN_F32, F(1, 7), 2), T(TN_F32, F(5, 5), 2));
    SAME_F(y, 2, 1, 7);
}

static void channel_norms(void **state) {
    (void)state;
    float y[8];
    TnNormParams p = {0};
    RUN(batch_norm, &p, T(TN_F32, y, 1, 2, 2), T(TN_F32, F(1, 2, 3, 4), 1, 2, 2), T(TN_F32, F(1, 2), 2), T(TN_F32, F(0, 1), 2),
        T(TN_F32, F(1, 3), 2), T(TN_F32, F(1, 4), 2));
    SAME_F(y, 4, 0, 1, 1, 2);
    p.channels_last = 1;
    RUN(batch_norm, &p, T(TN_F32, y, 1, 2, 2), T(TN_F32, F(1, 3, 2, 4), 1, 2, 2), T(TN_F32, F(1, 2), 2), T(TN_F32, F(0, 1), 2),
        T(TN_F32, F(1, 3), 2), T(TN_F32, F(1, 4), 2));
    SAME_F(y, 4, 0, 1, 1, 2);
    p.channels_last = 0;
    RUN(instance_norm, &p, T(TN_F32, y, 1, 2, 2), T(TN_F32, F(1, 3, 10, 20), 1, 2, 2), T(TN_F32, F(1, 2), 2), T(TN_F32, F(0, 5), 2));
    SAME_F(y, 4, -1, 1, 3, 7);
    p.groups = 1;
    RUN(group_norm, &p, T(TN_F32, y, 1, 2, 2), T(TN_F32, F(-1, 1, -1, 1), 1, 2, 2), T(TN_F32, F(1, 2), 2), T(TN_F32, F(0, 5), 2));
    SAME_F(y, 4, -1, 1, 3, 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reduce_functions), cmocka_unit_test(reduce_special), cmocka_unit_test(arg_reduce),    cmocka_unit_test(cumsum),
        cmocka_unit_test(softmax),          cmocka_unit_test(layer_norms),    cmocka_unit_test(channel_norms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
