/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_bias, fuse_epilogue, fuse_add_layer_norm, fold_batch_norm, channels_last, fuse_pointwise. */
#include "build.h"

static V gemm(Net *t, V x, int k, int n) {
    return net_node(t, TN_OP_gemm, &(TnGemmParams){.alpha = 1, .beta = 1}, 2, x, net_rand(t, 2, k, n));
}

static V conv(Net *t, V x, int in, int out, int kernel, int group, bool bias) {
    TnConvParams p = {.n_spatial = 2, .group = (uint32_t)group, .kernel = {kernel, kernel}, .stride = {1, 1}, .dilation = {1, 1}};
    for (int i = 0; i < 4; i++)
        p.pads[i] = kernel / 2;
    V w = net_rand(t, 4, out, in / group, kernel, kernel);
    return bias ? net_node(t, TN_OP_conv, &p, 3, x, w, net_rand(t, 1, out)) : net_node(t, TN_OP_conv, &p, 2, x, w);
}

static V batch_norm(Net *t, V x, int c) {
    V var = net_un(t, TN_UNARY_abs, net_rand(t, 1, c));
    return net_node(t, TN_OP_batch_norm, &(TnNormParams){.epsilon = 1e-3f}, 5, x, net_rand(t, 1, c), net_rand(t, 1, c), net_rand(t, 1, c),
                    var);
}

static void biases_move_in(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 8), p = net_in(&t, TN_F32, 4, -1, 4, 6, 6);
    V y = net_bi(&t, TN_BINARY_add, net_rand(&t, 1, 5), gemm(&t, x, 8, 5));
    net_out(&t, net_bi(&t, TN_BINARY_add, y, net_rand(&t, 3, 1, 1, 5)));
    net_out(&t, net_bi(&t, TN_BINARY_add, gemm(&t, x, 8, 5), net_num(&t, 3)));
    net_out(&t, net_bi(&t, TN_BINARY_add, conv(&t, p, 4, 8, 3, 1, true), net_rand(&t, 3, 8, 1, 1)));
    net_run(&t, 1e-5, tni_pass_gemm, NULL);
    assert_int_equal(net_count(&t, TN_OP_binary), 0);
    net_close(&t);
}

/* Numbers from -100 to 100 as bytes. */
static V bytes(Net *t, V x) {
    return net_cast(t, net_bi(t, TN_BINARY_mul, x, net_num(t, 100)), TN_I8);
}

static void products_of_bytes_expand(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = bytes(&t, net_in(&t, TN_F32, 3, -1, -2, 8)), w = bytes(&t, net_rand(&t, 2, 8, 5)), z = bytes(&t, net_num(&t, 0.3));
    net_out(&t, net_node(&t, TN_OP_matmul_integer, NULL, 2, x, w));
    net_out(&t, net_node(&t, TN_OP_matmul_integer, NULL, 3, x, w, z));
    net_out(&t, net_node(&t, TN_OP_matmul_integer, NULL, 4, x, w, z, bytes(&t, net_rand(&t, 1, 5))));
    TnConvParams p = {.n_spatial = 2, .group = 2, .kernel = {3, 3}, .stride = {1, 2}, .dilation = {1, 1}, .pads = {1, 1, 1, 1}};
    V image = bytes(&t, net_in(&t, TN_F32, 4, -1, 4, 6, 7)), k = bytes(&t, net_rand(&t, 4, 6, 2, 3, 3));
    net_out(&t, net_node(&t, TN_OP_conv_integer, &p, 2, image, k));
    net_out(&t, net_node(&t, TN_OP_conv_integer, &p, 4, image, k, z, bytes(&t, net_rand(&t, 1, 6))));
    net_run(&t, 0, tni_pass_expand_integer, NULL);
    assert_int_equal(net_count(&t, TN_OP_matmul_integer) + net_count(&t, TN_OP_conv_integer), 0);
    assert_int_equal(net_count(&t, TN_OP_matmul), 3);
    assert_int_equal(net_count(&t, TN_OP_conv), 2);
    net_close(&t);
}

static void biases_of_rows_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, 8, 8), y = gemm(&t, x, 8, 8);
    net_out(&t, net_bi(&t, TN_BINARY_add, gemm(&t, x, 8, 8), net_rand(&t, 2, 8, 1)));
    net_out(&t, net_bi(&t, TN_BINARY_add, y, net_rand(&t, 1, 8)));
    net_out(&t, y);
    net_run(&t, 1e-5, tni_pass_gemm, NULL);
    assert_int_equal(net_count(&t, TN_OP_binary), 2);
    net_close(&t);
}

static void epilogues(void **s) {
    (void)s;
    static const uint32_t fns[] = {TN_UNARY_relu, TN_UNARY_gelu, TN_UNARY_gelu_tanh, TN_UNARY_tanh, TN_UNARY_sigmoid, TN_UNARY_hard_swish};
    for (size_t i = 0; i < TN_COUNT(fns); i++) {
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 3, -1, -2, 8), r = net_in(&t, TN_F32, 3, -1, -2, 8);
        V p = net_in(&t, TN_F32, 4, -1, 4, 5, 6);
        V y = net_un(&t, fns[i], gemm(&t, x, 8, 8));
        net_out(&t, net_bi(&t, TN_BINARY_add, r, y));
        net_out(&t, net_bi(&t, TN_BINARY_add, net_un(&t, fns[i], conv(&t, p, 4, 4, 3, 4, true)), p));
        net_run(&t, 1e-5, tni_pass_epilogue, NULL);
        assert_int_equal(net_nodes(&t), 2);
        assert_int_equal(net_find(&t, TN_OP_gemm)->n_in, 4);
        net_close(&t);
    }
}

static void epilogues_that_must_not(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 8), y = gemm(&t, x, 8, 8), z = gemm(&t, x, 8, 8);
    net_out(&t, net_un(&t, TN_UNARY_relu, y)); /* y is read twice */
    net_out(&t, y);
    net_out(&t, net_bi(&t, TN_BINARY_add, z, net_in(&t, TN_F32, 2, -2, 8)));               /* broadcasts */
    net_out(&t, net_un(&t, TN_UNARY_floor, net_un(&t, TN_UNARY_relu, gemm(&t, x, 8, 8)))); /* decides integers */
    net_run(&t, 1e-5, tni_pass_epilogue, NULL);
    assert_int_equal(net_count(&t, TN_OP_unary), 3);
    assert_int_equal(net_count(&t, TN_OP_binary), 1);
    net_close(&t);
}

static void two_products_add_up(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 8);
    net_out(&t, net_bi(&t, TN_BINARY_add, gemm(&t, x, 8, 8), gemm(&t, x, 8, 8)));
    net_run(&t, 1e-5, tni_pass_epilogue, NULL);
    assert_int_equal(net_nodes(&t), 2);
    net_close(&t);
}

static void sums_are_normalised_in_one(void **s) {
    (void)s;
    for (int k = 0; k < 2; k++) {
        Net t;
        net_open(&t);
        V a = net_in(&t, TN_F32, 3, -1, -2, 8), b = net_in(&t, TN_F32, 3, -1, -2, 8), sum = net_bi(&t, TN_BINARY_add, a, b);
        V y = net_node(&t, TN_OP_layer_norm, &(TnNormParams){.epsilon = 1e-5f, .axis = 2}, 3, sum, net_rand(&t, 1, 8), net_rand(&t, 1, 8));
        net_out(&t, k == 0 ? y : net_bi(&t, TN_BINARY_mul, y, sum));
        net_run(&t, 1e-5, tni_pass_add_layer_norm, NULL);
        assert_int_equal(net_find(&t, TN_OP_add_layer_norm)->n_out, k == 0 ? 1 : 2);
        assert_int_equal(net_count(&t, TN_OP_binary), (uint32_t)k);
        net_close(&t);
    }
}

static void batch_norms_fold(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 4, -1, 4, 5, 6);
    V y = batch_norm(&t, conv(&t, x, 4, 8, 3, 2, true), 8);                           /* after a convolution */
    y = conv(&t, batch_norm(&t, net_un(&t, TN_UNARY_relu, y), 8), 8, 6, 1, 2, true);  /* before one of 1 x 1 */
    y = conv(&t, batch_norm(&t, net_un(&t, TN_UNARY_relu, y), 6), 6, 6, 3, 1, false); /* before a padded one: stays as a, c */
    net_out(&t, y);
    net_run(&t, 1e-5, tni_pass_fold, tni_pass_batch_norm, NULL);
    assert_int_equal(net_count(&t, TN_OP_batch_norm), 0);
    assert_int_equal(net_count(&t, TN_OP_binary), 2);
    net_close(&t);
}

static void batch_norm_passes_the_mean(void **s) {
    (void)s;
    for (int k = 0; k < 2; k++) {
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 4, -1, 8, 5, 6), y = batch_norm(&t, net_un(&t, TN_UNARY_tanh, x), 8);
        if (k == 0)
            y = net_reduce(&t, TN_REDUCE_mean, net_reshape(&t, y, 3, 0, 8, -1), 2, false);
        else
            y = net_reshape(&t, net_node(&t, TN_OP_pool, &(TnPoolParams){.kind = TN_POOL_AVG, .n_spatial = 2, .global = 1}, 1, y), 2, 0, 8);
        net_out(&t, gemm(&t, y, 8, 3));
        net_run(&t, 1e-5, tni_pass_fold, tni_pass_batch_norm, NULL);
        assert_int_equal(net_count(&t, TN_OP_batch_norm), 0);
        assert_int_equal(net_count(&t, TN_OP_binary), 0);
        net_close(&t);
    }
}

static V tokens(Net *t, V x, int c) {
    return net_transpose(t, net_reshape(t, x, 3, 0, c, -1), 3, 0, 2, 1);
}

static void pictures_turn_when_it_pays(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 4, -1, 3, 6, 8);
    V y = conv(&t, x, 3, 8, 3, 1, true);
    y = net_bi(&t, TN_BINARY_add, y, conv(&t, y, 8, 8, 3, 8, true));
    y = net_bi(&t, TN_BINARY_mul, net_un(&t, TN_UNARY_gelu, y), net_rand(&t, 4, 1, 8, 1, 1));
    V k = tokens(&t, y, 8);
    k = net_node(&t, TN_OP_layer_norm, &(TnNormParams){.epsilon = 1e-5f, .axis = 2}, 3, k, net_rand(&t, 1, 8), net_rand(&t, 1, 8));
    y = net_reshape(&t, net_transpose(&t, k, 3, 0, 2, 1), 4, 0, 8, 6, 8);
    y = conv(&t, y, 8, 4, 1, 1, false);
    net_out(&t, net_node(&t, TN_OP_reduce, &(TnReduceParams){.fn = TN_REDUCE_mean, .n_axes = 2, .axes = {2, 3}}, 1, y));
    net_run(&t, 1e-5, tni_pass_materialize, tni_pass_channels_last, tni_pass_fold, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 1); /* the input */
    for (uint32_t i = 0; i < t.g->n_nodes; i++)
        if (t.g->nodes[i].op == TN_OP_conv)
            assert_int_equal(((const TnConvParams *)t.g->nodes[i].params)->channels_last, 1);
    net_close(&t);
}

static void pictures_stay_when_it_does_not_pay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 4, -1, 4, 6, 8);
    net_out(&t, net_un(&t, TN_UNARY_relu, conv(&t, x, 4, 8, 3, 1, true)));
    net_run(&t, 0, tni_pass_channels_last, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 0);
    net_close(&t);
}

static void chains_become_one_step(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 8), z = net_in(&t, TN_F32, 2, -2, 8);
    V a = net_un(&t, TN_UNARY_tanh, net_bi(&t, TN_BINARY_mul, x, net_num(&t, 3)));
    V b = net_bi(&t, TN_BINARY_sub, net_bi(&t, TN_BINARY_mul, a, net_rand(&t, 1, 8)), z);
    V y = net_node(&t, TN_OP_clip, NULL, 3, net_bi(&t, TN_BINARY_add, b, net_un(&t, TN_UNARY_exp, a)), net_num(&t, -0.5), net_num(&t, 2));
    net_out(&t, net_bi(&t, TN_BINARY_div, y, net_bi(&t, TN_BINARY_add, net_bi(&t, TN_BINARY_mul, x, x), net_num(&t, 1))));
    net_run(&t, 1e-5, tni_pass_pointwise, NULL);
    assert_int_equal(net_nodes(&t), 1);
    net_close(&t);
}

static void long_chains_are_cut(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 8), y = x;
    for (int i = 0; i < 60; i++)
        y = net_bi(&t, TN_BINARY_add, net_un(&t, TN_UNARY_sin, y), i % 3 == 0 ? net_rand(&t, 1, 8) : net_num(&t, 0.1 * i));
    net_out(&t, y);
    net_run(&t, 1e-5, tni_pass_pointwise, NULL);
    assert_true(net_nodes(&t) <= 12);
    net_close(&t);
}

static void shared_and_integer_bound_values_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 8), a = net_un(&t, TN_UNARY_exp, x);
    net_out(&t, net_bi(&t, TN_BINARY_add, a, x));
    net_out(&t, a);
    V ids = net_bi(&t, TN_BINARY_mul, net_un(&t, TN_UNARY_log, net_bi(&t, TN_BINARY_div, net_un(&t, TN_UNARY_abs, x), net_num(&t, 8))),
                   net_num(&t, 16));
    net_out(&t, net_cast(&t, net_un(&t, TN_UNARY_floor, ids), TN_I64));
    uint32_t before = net_nodes(&t);
    net_run(&t, 0, tni_pass_pointwise, NULL);
    assert_int_equal(net_nodes(&t), before);
    net_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_of_bytes_expand), cmocka_unit_test(biases_move_in),
        cmocka_unit_test(biases_of_rows_stay),
        cmocka_unit_test(epilogues),
        cmocka_unit_test(epilogues_that_must_not),
        cmocka_unit_test(two_products_add_up),
        cmocka_unit_test(sums_are_normalised_in_one),
        cmocka_unit_test(batch_norms_fold),
        cmocka_unit_test(batch_norm_passes_the_mean),
        cmocka_unit_test(pictures_turn_when_it_pays),
        cmocka_unit_test(pictures_stay_when_it_does_not_pay),
        cmocka_unit_test(chains_become_one_step),
        cmocka_unit_test(long_chains_are_cut),
        cmocka_unit_test(shared_and_integer_bound_values_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
