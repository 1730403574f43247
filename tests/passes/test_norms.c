/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_layer_norm, fuse_rms_norm, fuse_gelu, fuse_silu, fuse_softmax; and what must not fuse. */
#include <math.h>

#include "build.h"

typedef struct Norm {
    int square; /* 0 pow 2, 1 x * x, 2 square */
    int root;   /* 0 div sqrt, 1 mul reciprocal sqrt, 2 mul rsqrt, 3 div pow 0.5, 4 mul (1 / sqrt) */
    bool twice; /* x - mean computed twice */
    bool swap;  /* operands of the products the other way round */
    bool affine;
    int axis;
    double eps;
} Norm;

static V root_of(Net *t, V d, V s, const Norm *n) {
    V q;
    switch (n->root) {
    case 1:
        q = net_un(t, TN_UNARY_reciprocal, net_un(t, TN_UNARY_sqrt, s));
        break;
    case 2:
        q = net_un(t, TN_UNARY_rsqrt, s);
        break;
    case 3:
        return net_bi(t, TN_BINARY_div, d, net_bi(t, TN_BINARY_pow, s, net_num(t, 0.5)));
    case 4:
        q = net_bi(t, TN_BINARY_div, net_num(t, 1), net_un(t, TN_UNARY_sqrt, s));
        break;
    default:
        return net_bi(t, TN_BINARY_div, d, net_un(t, TN_UNARY_sqrt, s));
    }
    return n->swap ? net_bi(t, TN_BINARY_mul, q, d) : net_bi(t, TN_BINARY_mul, d, q);
}

static V square_of(Net *t, V d, const Norm *n) {
    return n->square == 0   ? net_bi(t, TN_BINARY_pow, d, net_num(t, 2))
           : n->square == 1 ? net_bi(t, TN_BINARY_mul, d, d)
                            : net_un(t, TN_UNARY_square, d);
}

static V layer_norm(Net *t, V x, const Norm *n, V *mean) {
    V m = net_reduce(t, TN_REDUCE_mean, x, n->axis, true);
    V d = net_bi(t, TN_BINARY_sub, x, m), e = d;
    if (n->twice)
        e = net_bi(t, TN_BINARY_sub, x, net_reduce(t, TN_REDUCE_mean, x, n->axis, true));
    V v = net_reduce(t, TN_REDUCE_mean, square_of(t, e, n), n->axis, true);
    V s = n->swap ? net_bi(t, TN_BINARY_add, net_num(t, n->eps), v) : net_bi(t, TN_BINARY_add, v, net_num(t, n->eps));
    V y = root_of(t, d, s, n);
    if (mean != NULL)
        *mean = m;
    if (n->affine) {
        bool last = n->axis == t->g->values[x].rank - 1;
        V scale = last ? net_rand(t, 1, 8) : net_rand(t, 3, 8, 1, 1), bias = last ? net_rand(t, 1, 8) : net_rand(t, 4, 1, 8, 1, 1);
        y = n->swap ? net_bi(t, TN_BINARY_mul, scale, y) : net_bi(t, TN_BINARY_mul, y, scale);
        y = n->swap ? net_bi(t, TN_BINARY_add, bias, y) : net_bi(t, TN_BINARY_add, y, bias);
    }
    return y;
}

static void layer_norm_in_all_spellings(void **s) {
    (void)s;
    for (int k = 0; k < 120; k++) {
        Norm n = {k % 3, k / 3 % 5, k / 15 % 2 == 1, k / 30 % 2 == 1, k / 60 % 2 == 0, 2, 1e-5};
        Net t;
        net_open(&t);
        net_out(&t, layer_norm(&t, net_in(&t, TN_F32, 3, -1, 5, 8), &n, NULL));
        net_run(&t, 1e-5, tni_pass_fold, tni_pass_cse, tni_pass_canonicalise, tni_pass_layer_norm, NULL);
        assert_int_equal(net_count(&t, TN_OP_layer_norm), 1);
        assert_int_equal(net_nodes(&t), 1);
        const TnNormParams *p = net_params(&t, TN_OP_layer_norm);
        assert_true(p->epsilon == 1e-5f && p->axis == 2);
        assert_int_equal(net_find(&t, TN_OP_layer_norm)->n_in, n.affine ? 3 : 1);
        net_close(&t);
    }
}

static void layer_norm_over_channels(void **s) {
    (void)s;
    Norm n = {.axis = 1, .affine = true, .eps = 1e-6};
    Net t;
    net_open(&t);
    net_out(&t, layer_norm(&t, net_in(&t, TN_F32, 4, -1, 8, 3, 4), &n, NULL));
    net_run(&t, 1e-5, tni_pass_canonicalise, tni_pass_layer_norm, NULL);
    assert_int_equal(net_count(&t, TN_OP_layer_norm), 1);
    assert_int_equal(net_count(&t, TN_OP_transpose), 2);
    net_close(&t);
}

static void shared_pieces_of_a_norm_stay(void **s) {
    (void)s;
    Norm n = {.axis = 2, .affine = true, .eps = 1e-5};
    V mean;
    Net t;
    net_open(&t);
    net_out(&t, layer_norm(&t, net_in(&t, TN_F32, 3, -1, 5, 8), &n, &mean));
    net_out(&t, mean);
    net_run(&t, 1e-5, tni_pass_canonicalise, tni_pass_layer_norm, NULL);
    assert_int_equal(net_count(&t, TN_OP_layer_norm), 0);
    net_close(&t);
}

static void norms_of_other_axes_or_means_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, 8, 8);
    V d = net_bi(&t, TN_BINARY_sub, x, net_reduce(&t, TN_REDUCE_mean, x, 1, true)); /* mean over 1, variance over 2 */
    V v = net_reduce(&t, TN_REDUCE_mean, net_bi(&t, TN_BINARY_mul, d, d), 2, true);
    net_out(&t, net_bi(&t, TN_BINARY_div, d, net_un(&t, TN_UNARY_sqrt, net_bi(&t, TN_BINARY_add, v, net_num(&t, 1e-5)))));
    d = net_bi(&t, TN_BINARY_sub, x, net_reduce(&t, TN_REDUCE_max, x, 2, true));
    v = net_reduce(&t, TN_REDUCE_mean, net_bi(&t, TN_BINARY_mul, d, d), 2, true);
    net_out(&t, net_bi(&t, TN_BINARY_div, d, net_un(&t, TN_UNARY_sqrt, net_bi(&t, TN_BINARY_add, v, net_num(&t, 1e-5)))));
    d = net_bi(&t, TN_BINARY_sub, x, net_reduce(&t, TN_REDUCE_mean, x, 2, true)); /* a sum is not a mean */
    v = net_reduce(&t, TN_REDUCE_sum, net_bi(&t, TN_BINARY_mul, d, d), 2, true);
    net_out(&t, net_bi(&t, TN_BINARY_div, d, net_un(&t, TN_UNARY_sqrt, net_bi(&t, TN_BINARY_add, v, net_num(&t, 1e-5)))));
    net_run(&t, 1e-5, tni_pass_canonicalise, tni_pass_layer_norm, tni_pass_rms_norm, NULL);
    assert_int_equal(net_count(&t, TN_OP_layer_norm), 0);
    assert_int_equal(net_count(&t, TN_OP_rms_norm), 0);
    net_close(&t);
}

static void norm_above_an_integer_stays(void **s) {
    (void)s;
    Norm n = {.axis = 2, .affine = true, .eps = 1e-5};
    Net t;
    net_open(&t);
    net_out(&t, net_cast(&t, layer_norm(&t, net_in(&t, TN_F32, 3, -1, 5, 8), &n, NULL), TN_I64));
    net_run(&t, 0, tni_pass_canonicalise, tni_pass_layer_norm, NULL);
    assert_int_equal(net_count(&t, TN_OP_layer_norm), 0);
    net_close(&t);
}

static void rms_norm(void **s) {
    (void)s;
    for (int root = 0; root < 5; root++) {
        Norm n = {.root = root, .square = root % 3, .swap = root % 2 == 1};
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 3, -1, 5, 8);
        V v = net_reduce(&t, TN_REDUCE_mean, square_of(&t, x, &n), 2, true);
        V y = root_of(&t, x, net_bi(&t, TN_BINARY_add, v, net_num(&t, 1e-6)), &n);
        net_out(&t, net_bi(&t, TN_BINARY_mul, net_rand(&t, 1, 8), y));
        net_run(&t, 1e-5, tni_pass_canonicalise, tni_pass_layer_norm, tni_pass_rms_norm, NULL);
        assert_int_equal(net_count(&t, TN_OP_rms_norm), 1);
        assert_int_equal(net_nodes(&t), 1);
        net_close(&t);
    }
}

/* The three factors 0.5, x, (1 + f) in one of the orders of association. */
static V half_product(Net *t, V x, V f, int order) {
    V one = net_bi(t, TN_BINARY_add, order % 2 ? net_num(t, 1) : f, order % 2 ? f : net_num(t, 1)), half = net_num(t, 0.5);
    switch (order / 2) {
    case 0:
        return net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_mul, x, one), half);
    case 1:
        return net_bi(t, TN_BINARY_mul, x, net_bi(t, TN_BINARY_mul, half, one));
    case 2:
        return net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_mul, half, x), one);
    case 3:
        return net_bi(t, TN_BINARY_mul, one, net_bi(t, TN_BINARY_mul, x, half));
    default:
        return net_bi(t, TN_BINARY_div, net_bi(t, TN_BINARY_mul, one, x), net_num(t, 2));
    }
}

static uint32_t gelu_found(V (*inner)(Net *, V, double), double c, int order, bool leak) {
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 8), f = inner(&t, x, c);
    net_out(&t, half_product(&t, x, f, order));
    if (leak)
        net_out(&t, f);
    net_run(&t, 1e-6, tni_pass_gelu, NULL);
    uint32_t n = net_nodes(&t) == 1 && net_count(&t, TN_OP_unary) == 1;
    net_close(&t);
    return n;
}

static V erf_div(Net *t, V x, double c) {
    return net_un(t, TN_UNARY_erf, net_bi(t, TN_BINARY_div, x, net_num(t, c)));
}
static V erf_mul(Net *t, V x, double c) {
    return net_un(t, TN_UNARY_erf, net_bi(t, TN_BINARY_mul, net_num(t, c), x));
}

static V tanh_pow(Net *t, V x, double c) {
    V cube = net_bi(t, TN_BINARY_mul, net_num(t, 0.044715), net_bi(t, TN_BINARY_pow, x, net_num(t, 3)));
    return net_un(t, TN_UNARY_tanh, net_bi(t, TN_BINARY_mul, net_num(t, c), net_bi(t, TN_BINARY_add, x, cube)));
}

static V tanh_mul(Net *t, V x, double c) {
    V cube = net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_mul, x, net_num(t, 0.044715)), x), x);
    return net_un(t, TN_UNARY_tanh, net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_add, cube, x), net_num(t, c)));
}

static V tanh_factored(Net *t, V x, double c) {
    V in = net_bi(t, TN_BINARY_add, net_bi(t, TN_BINARY_mul, net_num(t, 0.044715), net_bi(t, TN_BINARY_mul, x, x)), net_num(t, 1));
    return net_un(t, TN_UNARY_tanh, net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_mul, x, net_num(t, c)), in));
}

static void gelu_in_all_spellings(void **s) {
    (void)s;
    for (int order = 0; order < 10; order++) {
        assert_int_equal(gelu_found(erf_div, 1.41421356, order, false), 1);
        assert_int_equal(gelu_found(erf_mul, 0.70710678, order, false), 1);
        assert_int_equal(gelu_found(tanh_pow, 0.79788456, order, false), 1);
        assert_int_equal(gelu_found(tanh_mul, 0.79788456, order, false), 1);
        assert_int_equal(gelu_found(tanh_factored, 0.79788456, order, false), 1);
        assert_int_equal(gelu_found(erf_div, 1.4143, order, false), 0);
        assert_int_equal(gelu_found(erf_mul, 1.41421356, order, false), 0);
        assert_int_equal(gelu_found(tanh_pow, 0.7978, order, false), 0);
        assert_int_equal(gelu_found(erf_div, 1.41421356, order, true), 0);
    }
}

static void silu(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 8), z = net_in(&t, TN_F32, 2, -1, 8);
    net_out(&t, net_bi(&t, TN_BINARY_mul, x, net_un(&t, TN_UNARY_sigmoid, x)));
    net_out(&t, net_bi(&t, TN_BINARY_mul, net_un(&t, TN_UNARY_sigmoid, net_bi(&t, TN_BINARY_mul, z, net_num(&t, 1.702))), z));
    net_out(&t, net_bi(&t, TN_BINARY_mul, z, net_un(&t, TN_UNARY_sigmoid, x)));
    net_run(&t, 1e-6, tni_pass_silu, NULL);
    uint32_t n = 0;
    for (uint32_t i = 0; i < t.g->n_nodes; i++)
        n += t.g->nodes[i].op == TN_OP_unary && ((const TnUnaryParams *)t.g->nodes[i].params)->fn == TN_UNARY_silu;
    assert_int_equal(n, 2);
    assert_int_equal(net_nodes(&t), 4);
    net_close(&t);
}

static void softmax_written_out(void **s) {
    (void)s;
    for (int k = 0; k < 4; k++) {
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 3, -1, 5, 8);
        V d = k & 1 ? net_bi(&t, TN_BINARY_sub, x, net_reduce(&t, TN_REDUCE_max, x, 2, true)) : x;
        V e = net_un(&t, TN_UNARY_exp, d), sum = net_reduce(&t, TN_REDUCE_sum, e, 2, true);
        net_out(&t, k & 2 ? net_bi(&t, TN_BINARY_sub, d, net_un(&t, TN_UNARY_log, sum)) : net_bi(&t, TN_BINARY_div, e, sum));
        net_run(&t, 1e-5, tni_pass_softmax, NULL);
        assert_int_equal(net_nodes(&t), 1);
        assert_int_equal(((const TnSoftmaxParams *)net_params(&t, TN_OP_softmax))->log, (k & 2) != 0);
        net_close(&t);
    }
}

/* alpha * (x / alpha - max(x / alpha)). */
static V relaxed(Net *t, V x, double a, double b, uint32_t reduce, int axis) {
    V y = net_bi(t, TN_BINARY_div, x, net_num(t, a));
    return net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_sub, y, net_reduce(t, reduce, y, axis, true)), net_num(t, b));
}

static void relaxed_softmax(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, 5, 8);
    net_out(&t, net_softmax(&t, relaxed(&t, x, 32, 32, TN_REDUCE_max, 2), 2));
    net_run(&t, 1e-5, tni_pass_softmax, NULL);
    assert_int_equal(net_nodes(&t), 1);
    assert_true(((const TnSoftmaxParams *)net_params(&t, TN_OP_softmax))->scale == 1);
    net_close(&t);
    net_open(&t);
    x = net_in(&t, TN_F32, 3, -1, 5, 8);
    net_out(&t, net_softmax(&t, relaxed(&t, x, 32, 16, TN_REDUCE_max, 2), 2));
    net_run(&t, 1e-5, tni_pass_softmax, NULL);
    assert_int_equal(net_nodes(&t), 1);
    assert_true(((const TnSoftmaxParams *)net_params(&t, TN_OP_softmax))->scale == 0.5f);
    net_close(&t);
    net_open(&t);
    x = net_in(&t, TN_F32, 3, -1, 5, 8);
    net_out(&t, net_softmax(&t, relaxed(&t, x, 32, 32, TN_REDUCE_max, 1), 2)); /* the maximum of another axis */
    net_out(&t, net_softmax(&t, relaxed(&t, x, 32, 32, TN_REDUCE_prod, 2), 2));
    net_run(&t, 1e-5, tni_pass_softmax, NULL);
    assert_int_equal(net_count(&t, TN_OP_reduce), 2);
    net_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layer_norm_in_all_spellings),  cmocka_unit_test(layer_norm_over_channels),
        cmocka_unit_test(shared_pieces_of_a_norm_stay), cmocka_unit_test(norms_of_other_axes_or_means_stay),
        cmocka_unit_test(norm_above_an_integer_stays),  cmocka_unit_test(rms_norm),
        cmocka_unit_test(gelu_in_all_spellings),        cmocka_unit_test(silu),
        cmocka_unit_test(softmax_written_out),          cmocka_unit_test(relaxed_softmax),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
