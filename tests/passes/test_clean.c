/* SPDX-License-Identifier: Apache-2.0
 *
 * fold, cse, dce, canonicalise, sink_expand, simplify_layout, fuse_one_hot. */
#include "build.h"

static void folds_constants(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 4), c = net_bi(&t, TN_BINARY_add, net_rand(&t, 1, 4), net_num(&t, 1));
    net_out(&t, net_bi(&t, TN_BINARY_mul, x, net_un(&t, TN_UNARY_exp, c)));
    net_run(&t, 0, tni_pass_fold, NULL);
    assert_int_equal(net_nodes(&t), 1);
    net_close(&t);
}

static void folding_obeys_its_limit(void **s) {
    (void)s;
    Net t;
    TnError err = {0};
    uint32_t changed;
    net_open(&t);
    V x = net_in(&t, TN_F32, 1, 64);
    net_out(&t, net_bi(&t, TN_BINARY_mul, x, net_un(&t, TN_UNARY_exp, net_rand(&t, 1, 64))));
    assert_int_equal(tni_shape_infer(t.m, &err), TN_OK);
    assert_int_equal(tni_pass_fold(t.m, &(PassContext){.fold_limit_bytes = 255}, &changed, &err), TN_OK);
    assert_int_equal(changed, 0);
    assert_int_equal(tni_pass_fold(t.m, &(PassContext){.fold_limit_bytes = 256}, &changed, &err), TN_OK);
    assert_int_equal(changed, 1);
    net_close(&t);
}

static void constant_output_keeps_its_name(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    net_in(&t, TN_F32, 1, 2);
    V y = net_un(&t, TN_UNARY_exp, net_rand(&t, 1, 4));
    net_out(&t, y);
    char name[64];
    (void)snprintf(name, sizeof name, "%s", t.g->values[y].name);
    net_run(&t, 0, tni_pass_fold, tni_pass_fold, NULL);
    assert_string_equal(t.g->values[t.g->outputs[0]].name, name);
    assert_int_equal(t.g->nodes[0].op, TN_OP_identity);
    net_close(&t);
}

static void equal_nodes_are_merged(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 4);
    V a = net_un(&t, TN_UNARY_exp, net_bi(&t, TN_BINARY_add, x, net_num(&t, 1)));
    V b = net_un(&t, TN_UNARY_exp, net_bi(&t, TN_BINARY_add, x, net_num(&t, 1)));
    V c = net_un(&t, TN_UNARY_exp, net_bi(&t, TN_BINARY_add, x, net_num(&t, 2)));
    net_out(&t, net_bi(&t, TN_BINARY_add, net_bi(&t, TN_BINARY_mul, a, b), c));
    net_run(&t, 0, tni_pass_cse, NULL);
    assert_int_equal(net_count(&t, TN_OP_unary), 2);
    net_close(&t);
}

static void equal_outputs_both_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 1, 4);
    net_out(&t, net_un(&t, TN_UNARY_exp, x));
    net_out(&t, net_un(&t, TN_UNARY_exp, x));
    net_run(&t, 0, tni_pass_cse, tni_pass_cse, NULL);
    assert_int_equal(net_count(&t, TN_OP_unary), 1);
    assert_int_equal(net_count(&t, TN_OP_identity), 1);
    net_close(&t);
}

static void reshapes_to_other_dims_are_not_equal(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 12);
    V a = net_reshape(&t, x, 3, 0, 3, 4), b = net_reshape(&t, x, 3, 0, 4, 3);
    net_out(&t, net_reduce(&t, TN_REDUCE_sum, a, 2, false));
    net_out(&t, net_reduce(&t, TN_REDUCE_sum, b, 2, false));
    net_run(&t, 1e-6, tni_pass_materialize, tni_pass_cse, NULL);
    assert_int_equal(net_count(&t, TN_OP_reshape), 2);
    net_close(&t);
}

static void dead_nodes_go(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 1, 4);
    V live = net_un(&t, TN_UNARY_exp, x);
    net_un(&t, TN_UNARY_log, net_un(&t, TN_UNARY_abs, x));
    net_out(&t, live);
    net_run(&t, 0, tni_pass_dce, NULL);
    assert_int_equal(net_nodes(&t), 1);
    net_close(&t);
}

static void neutral_operations_vanish(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 4);
    V y = net_bi(&t, TN_BINARY_mul, net_num(&t, 1), net_node(&t, TN_OP_identity, NULL, 1, x));
    y = net_bi(&t, TN_BINARY_div, y, net_num(&t, 1));
    y = net_bi(&t, TN_BINARY_sub, net_bi(&t, TN_BINARY_add, y, net_num(&t, 0)), net_num(&t, 0));
    y = net_cast(&t, net_cast(&t, y, TN_F64), TN_F32);
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    net_run(&t, 0, tni_pass_canonicalise, NULL);
    assert_int_equal(net_nodes(&t), 1);
    net_close(&t);
}

static void neutral_operations_that_broadcast_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 1, 4), ones = net_rand(&t, 2, 3, 4);
    float *data = (float *)(uintptr_t)t.g->values[ones].data;
    for (int i = 0; i < 12; i++)
        data[i] = 1;
    net_out(&t, net_bi(&t, TN_BINARY_mul, x, ones));
    net_run(&t, 0, tni_pass_canonicalise, NULL);
    assert_int_equal(net_count(&t, TN_OP_binary), 1);
    net_close(&t);
}

static void narrowing_casts_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 1, 4);
    net_out(&t, net_cast(&t, net_cast(&t, x, TN_F16), TN_F32));
    V i = net_in(&t, TN_I64, 1, 4);
    net_out(&t, net_cast(&t, net_cast(&t, i, TN_U8), TN_I64));
    net_run(&t, 0, tni_pass_canonicalise, NULL);
    assert_int_equal(net_count(&t, TN_OP_cast), 4);
    net_close(&t);
}

static void powers_get_names(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_un(&t, TN_UNARY_abs, net_in(&t, TN_F32, 2, -1, 4));
    net_out(&t, net_bi(&t, TN_BINARY_pow, x, net_num(&t, 2)));
    net_out(&t, net_bi(&t, TN_BINARY_pow, x, net_num(&t, 0.5)));
    net_out(&t, net_bi(&t, TN_BINARY_mul, x, x));
    net_out(&t, net_bi(&t, TN_BINARY_pow, x, net_num(&t, 3)));
    net_run(&t, 1e-7, tni_pass_canonicalise, NULL);
    assert_int_equal(net_count(&t, TN_OP_binary), 1);
    net_close(&t);
}

static void matmul_by_weights_is_gemm(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 8), y = net_in(&t, TN_F32, 3, -1, 8, 8);
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, x, net_rand(&t, 2, 8, 5)));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, x, net_rand(&t, 3, 1, 8, 5)));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, x, y));
    net_run(&t, 0, tni_pass_canonicalise, NULL);
    assert_int_equal(net_count(&t, TN_OP_gemm), 2);
    assert_int_equal(net_count(&t, TN_OP_matmul), 1);
    net_close(&t);
}

static void dropped_dims_come_back(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, 4, 6), m = net_reduce(&t, TN_REDUCE_max, x, 2, false);
    m = net_node(&t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {2}}, 1, m);
    net_out(&t, net_bi(&t, TN_BINARY_sub, x, m));
    net_run(&t, 0, tni_pass_canonicalise, NULL);
    assert_int_equal(net_count(&t, TN_OP_reshape), 0);
    net_close(&t);
}

static void parts_before_a_part_that_is_read_stay(void **s) {
    (void)s;
    Net t;
    TnError err = {0};
    V parts[3];
    net_open(&t);
    V x = net_in(&t, TN_F32, 2, -1, 9);
    IrNodeId id = t.g->n_nodes;
    assert_int_equal(tni_ir_node_add(t.m, t.g, TN_OP_split, "parts", &(TnAxisParams){.axis = 1, .n = 3}, &x, 1, NULL, 3, parts, &err), TN_OK);
    assert_int_equal(tni_shape_infer_node(t.m, t.g, id, &err), TN_OK);
    net_out(&t, net_un(&t, TN_UNARY_exp, parts[1]));
    net_run(&t, 0, tni_pass_dce, NULL);
    const IrNode *n = net_find(&t, TN_OP_split);
    assert_true(n->out[0] != TN_NO_VALUE && n->out[1] != TN_NO_VALUE && n->out[2] == TN_NO_VALUE);
    net_close(&t);
}

static void transposes_cancel(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 4, -1, 3, -2, 8);
    V y = net_transpose(&t, net_transpose(&t, x, 4, 0, 2, 1, 3), 4, 0, 2, 1, 3);
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    V z = net_transpose(&t, net_un(&t, TN_UNARY_tanh, net_transpose(&t, x, 4, 0, 2, 3, 1)), 4, 0, 3, 1, 2);
    net_out(&t, net_un(&t, TN_UNARY_exp, z));
    net_run(&t, 0, tni_pass_layout, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 0);
    net_close(&t);
}

static void transposes_of_both_operands_become_one(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V a = net_in(&t, TN_F32, 4, -1, -2, 3, 8), b = net_in(&t, TN_F32, 4, -1, -2, 3, 8);
    V y = net_bi(&t, TN_BINARY_add, net_transpose(&t, a, 4, 0, 3, 1, 2), net_transpose(&t, b, 4, 0, 3, 1, 2));
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    V c = net_in(&t, TN_F32, 4, 2, 3, 2, 8), d = net_in(&t, TN_F32, 4, 2, 2, 8, 3); /* other orders: nothing to gain */
    net_out(&t, net_bi(&t, TN_BINARY_add, net_transpose(&t, c, 4, 0, 3, 1, 2), net_transpose(&t, d, 4, 0, 2, 3, 1)));
    net_run(&t, 0, tni_pass_layout, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 3);
    net_close(&t);
}

static void pictures_to_tokens_and_back_is_a_view(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 4, -1, 4, 6, 8);
    V y = net_transpose(&t, net_reshape(&t, net_transpose(&t, x, 4, 0, 3, 1, 2), 3, 0, 8, -1), 3, 0, 2, 1);
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    net_run(&t, 0, tni_pass_materialize, tni_pass_layout, tni_pass_dce, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 0);
    assert_int_equal(net_count(&t, TN_OP_reshape), 1);
    net_close(&t);
}

static void one_transpose_of_two_is_left(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 24);
    V y = net_transpose(&t, net_reshape(&t, x, 4, 0, 0, 3, 8), 4, 0, 2, 1, 3); /* B H S D */
    y = net_transpose(&t, net_reshape(&t, y, 4, 0, 0, 0, 8), 4, 0, 1, 3, 2);   /* B H D S */
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    net_run(&t, 0, tni_pass_materialize, tni_pass_layout, tni_pass_dce, NULL);
    assert_int_equal(net_count(&t, TN_OP_transpose), 1);
    net_close(&t);
}

static void reshapes_combine(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, 24);
    V y = net_reshape(&t, net_reshape(&t, x, 4, 0, 0, 3, 8), 2, -1, 24);
    net_out(&t, net_un(&t, TN_UNARY_exp, y));
    net_out(&t, net_un(&t, TN_UNARY_exp, net_reshape(&t, net_reshape(&t, x, 4, 0, 0, 3, 8), 3, 0, 0, 24)));
    net_run(&t, 0, tni_pass_materialize, tni_pass_layout, tni_pass_dce, NULL);
    assert_int_equal(net_count(&t, TN_OP_reshape), 1);
    net_close(&t);
}

static void expanded_masks_shrink(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V mask = net_in(&t, TN_BOOL, 4, -1, 1, 1, 6), scores = net_in(&t, TN_F32, 4, -1, 2, 6, 6);
    V wide = net_node(&t, TN_OP_expand, NULL, 2, mask, net_ints(&t, 4, (int64_t[]){1, 1, 6, 6}));
    V bias = net_node(&t, TN_OP_where, NULL, 3, wide, net_num(&t, 0), net_num(&t, -1e9));
    net_out(&t, net_bi(&t, TN_BINARY_add, scores, bias));
    net_run(&t, 0, tni_pass_sink_expand, tni_pass_layout, tni_pass_dce, NULL);
    assert_int_equal(net_count(&t, TN_OP_expand), 0);
    net_close(&t);
}

/* expand(expand(x, [1,1]), [2]) is [1,2]: the second shape alone would give [2]. With [1,2] it gives all. */
static void expand_of_an_expand_keeps_the_rank(void **s) {
    (void)s;
    for (int rank = 1; rank <= 2; rank++) {
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 1, 1);
        V first = net_node(&t, TN_OP_expand, NULL, 2, x, net_ints(&t, 2, (int64_t[]){1, 1}));
        net_out(&t, net_node(&t, TN_OP_expand, NULL, 2, first, net_ints(&t, rank, (int64_t[]){rank == 1 ? 2 : 1, 2})));
        net_run(&t, 0, tni_pass_sink_expand, tni_pass_dce, NULL);
        assert_int_equal(net_count(&t, TN_OP_expand), rank == 1 ? 2 : 1);
        net_close(&t);
    }
}

static V one_hot_product(Net *t, V ids, int64_t depth, bool cast) {
    float values[2] = {0, 1};
    int64_t ints[2] = {0, 1};
    TnError err = {0};
    V v;
    if (cast)
        v = net_ints(t, 2, ints);
    else
        fail_error("const", tni_ir_const_copy(t->m, t->g, NULL, TN_F32, 1, &(int64_t){2}, values, &v, &err), &err);
    V hot = net_node(t, TN_OP_one_hot, &(TnAxisParams){.axis = -1}, 3, ids, net_int(t, depth), v);
    if (cast)
        hot = net_cast(t, hot, TN_F32);
    return net_node(t, TN_OP_matmul, NULL, 2, hot, net_rand(t, 2, (int)depth, 3));
}

static void one_hot_products_are_lookups(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V ids = net_in(&t, TN_I64, 2, -1, 7); /* 0..7: the depths 5 and 8 see values out of range */
    V neg = net_bi(&t, TN_BINARY_sub, ids, net_int(&t, 6));
    net_out(&t, one_hot_product(&t, ids, 5, true));
    net_out(&t, one_hot_product(&t, ids, 8, false));
    net_out(&t, one_hot_product(&t, neg, 4, true));
    net_run(&t, 0, tni_pass_canonicalise, tni_pass_one_hot, NULL);
    assert_int_equal(net_count(&t, TN_OP_one_hot), 0);
    assert_int_equal(net_count(&t, TN_OP_gather), 3);
    net_close(&t);
}

static void comparisons_with_a_range_are_one_hot(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V ids = net_bi(&t, TN_BINARY_sub, net_in(&t, TN_I64, 2, -1, 7), net_int(&t, 2)); /* -2..5 */
    V hot = net_bi(&t, TN_BINARY_equal, net_reshape(&t, ids, 3, 0, 7, 1), net_ints(&t, 4, (int64_t[]){0, 1, 2, 3}));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, net_cast(&t, net_cast(&t, hot, TN_I64), TN_F32), net_rand(&t, 2, 4, 3)));
    hot = net_bi(&t, TN_BINARY_equal, net_ints(&t, 4, (int64_t[]){0, 1, 3, 2}), net_reshape(&t, ids, 3, 0, 7, 1));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, net_cast(&t, hot, TN_F32), net_rand(&t, 2, 4, 3)));
    net_run(&t, 0, tni_pass_one_hot, NULL);
    assert_int_equal(net_count(&t, TN_OP_gather), 1);
    assert_int_equal(net_count(&t, TN_OP_matmul), 1);
    net_close(&t);
}

static void one_hot_of_other_values_stays(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V ids = net_in(&t, TN_I64, 2, -1, 7);
    V hot = net_node(&t, TN_OP_one_hot, &(TnAxisParams){.axis = -1}, 3, ids, net_int(&t, 8), net_ints(&t, 2, (int64_t[]){0, 2}));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, net_cast(&t, hot, TN_F32), net_rand(&t, 2, 8, 3)));
    V hot2 = net_node(&t, TN_OP_one_hot, &(TnAxisParams){.axis = 1}, 3, ids, net_int(&t, 7), net_ints(&t, 2, (int64_t[]){0, 1}));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, net_cast(&t, hot2, TN_F32), net_rand(&t, 2, 7, 3)));
    net_run(&t, 0, tni_pass_one_hot, NULL);
    assert_int_equal(net_count(&t, TN_OP_one_hot), 2);
    net_close(&t);
}

/* The relative position buckets of T5 and LayoutLM; trunc: written with another rounding. */
static V buckets(Net *t, V d, int bins, double scale, bool odd) {
    V n = net_un(t, TN_UNARY_abs, d);
    V sign = net_bi(t, TN_BINARY_mul, net_cast(t, net_bi(t, TN_BINARY_greater, d, net_int(t, 0)), TN_I64), net_int(t, bins / 2));
    V x = net_bi(t, TN_BINARY_div, net_cast(t, n, TN_F32), net_num(t, bins / 4));
    x = odd ? net_un(t, TN_UNARY_sin, x) : net_un(t, TN_UNARY_log, x);
    x = net_cast(t, net_bi(t, TN_BINARY_mul, net_bi(t, TN_BINARY_div, x, net_num(t, scale)), net_num(t, bins / 4)), TN_I64);
    x = net_bi(t, TN_BINARY_min, net_bi(t, TN_BINARY_add, x, net_int(t, bins / 4)), net_int(t, bins / 2 - 1));
    x = net_node(t, TN_OP_where, NULL, 3, net_bi(t, TN_BINARY_less, n, net_int(t, bins / 4)), n, x);
    return net_bi(t, TN_BINARY_add, sign, x);
}

static void buckets_are_looked_up(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V ids = net_in(&t, TN_I64, 2, -1, 400); /* 0..7, stretched to -3000..3000 */
    V d = net_bi(&t, TN_BINARY_sub, net_bi(&t, TN_BINARY_mul, net_reshape(&t, ids, 3, 0, 400, 1), net_int(&t, 431)),
                 net_bi(&t, TN_BINARY_mul, net_reshape(&t, ids, 3, 0, 1, 400), net_int(&t, 429)));
    V b = buckets(&t, d, 32, 2.7725887, false);
    net_out(&t, b);
    net_out(&t, net_gather(&t, net_rand(&t, 2, 64, 3), buckets(&t, d, 64, 2.7725887, false), 0));
    net_run(&t, 0, tni_pass_cse, tni_pass_tabulate, tni_pass_canonicalise, tni_pass_fold, tni_pass_dce, NULL);
    assert_int_equal(net_count(&t, TN_OP_gather), 2);
    assert_int_equal(net_count(&t, TN_OP_unary), 0);
    assert_int_equal(net_count(&t, TN_OP_clip), 2);
    net_close(&t);
}

static void functions_without_constant_tails_stay(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V d = net_in(&t, TN_I64, 2, -1, 40);
    net_out(&t, buckets(&t, d, 32, 2.7725887, true)); /* a sine is not monotone */
    V x = net_bi(&t, TN_BINARY_mul, net_bi(&t, TN_BINARY_div, net_cast(&t, net_un(&t, TN_UNARY_abs, d), TN_F32), net_num(&t, 3)),
                 net_num(&t, 2));
    net_out(&t, net_bi(&t, TN_BINARY_add, net_cast(&t, x, TN_I64), net_int(&t, 1))); /* grows for ever */
    assert_int_equal(net_run(&t, 0, tni_pass_tabulate, NULL), 0);
    net_close(&t);
}

/* ---- indices made of the positions they stand at ---- */
typedef enum IndexMiss {
    ALL,
    TOO_FEW,   /* of the rows */
    OFFSET,
    STEP,      /* rows overlap */
    SWAPPED,   /* the rows of the transposed */
    OTHER_DIM, /* as many as the rows, but of another size */
    NARROW,    /* int32, which could wrap */
    INDEX_MISSES
} IndexMiss;

static V count(Net *t, V x, int axis, bool less) {
    V n = net_gather(t, net_node(t, TN_OP_shape, &(TnShapeParams){.start = 0, .end = INT32_MAX}, 1, x), net_int(t, axis), 0);
    if (less)
        n = net_bi(t, TN_BINARY_sub, n, net_int(t, 1));
    return net_node(t, TN_OP_range, NULL, 3, net_int(t, 0), n, net_int(t, 1));
}

static V length(Net *t, V x, int axis) {
    return net_gather(t, net_node(t, TN_OP_shape, &(TnShapeParams){.start = 0, .end = INT32_MAX}, 1, x), net_int(t, axis), 0);
}

/* mask[b, j] as exporters write it: rows of the flattened mask at b * S + j. bits: S constant, range or constant for j, expands, order. */
static void flat_rows(Net *t, uint32_t bits, IndexMiss miss) {
    const bool fixed = bits & 1, five = bits >> 1 & 1, swap = bits >> 2 & 1;
    V mask = net_cast(t, net_in(t, TN_I64, 2, -1, fixed ? 4 : -2), TN_BOOL);
    V flat = net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_FLATTEN, .axis = 2}, 1, mask);
    const int64_t four[] = {0, 1, 2, 3};
    V b = count(t, mask, 0, miss == TOO_FEW), j = fixed ? net_ints(t, 4, four) : count(t, mask, 1, false);
    b = net_reshape(t, b, five ? 4 : 2, -1, 1, 1, 1);
    V scale = miss == STEP ? net_int(t, 2) : length(t, mask, miss == OTHER_DIM ? 0 : 1);
    if (miss == SWAPPED) { /* b + B * j */
        j = net_bi(t, TN_BINARY_mul, j, length(t, mask, 0));
        scale = net_int(t, 1);
    }
    if (miss == OFFSET)
        j = net_bi(t, TN_BINARY_sub, j, net_int(t, 1)); /* the last row first */
    b = swap ? net_bi(t, TN_BINARY_mul, scale, b) : net_bi(t, TN_BINARY_mul, b, scale);
    V at = swap ? net_bi(t, TN_BINARY_add, b, j) : net_bi(t, TN_BINARY_add, j, b);
    if (miss == NARROW)
        at = net_cast(t, at, TN_I32);
    net_out(t, net_cast(t, net_gather(t, flat, at, 0), TN_I64));
}

static void rows_in_their_order_are_a_reshape(void **s) {
    (void)s;
    for (uint32_t bits = 0; bits < 8; bits++)
        for (int miss = ALL; miss < INDEX_MISSES; miss++) {
            Net t;
            net_open(&t);
            flat_rows(&t, bits, (IndexMiss)miss);
            (void)net_run(&t, 0, tni_pass_fold, tni_pass_materialize, tni_pass_canonicalise, tni_pass_dce, NULL);
            if ((net_count(&t, TN_OP_gather) == 0) != (miss == ALL))
                fail_msg("spelling %u, miss %d: %u gathers", bits, miss, net_count(&t, TN_OP_gather));
            net_close(&t);
        }
}

/* x[b, j] by pairs of indices. swap: x^T; fewer: one row less; short_j: one column less */
static void pairs(Net *t, bool swap, bool fewer, bool short_j, bool offset) {
    V x = net_in(t, TN_F32, 3, -1, -2, 5);
    V shape = net_node(t, TN_OP_shape, &(TnShapeParams){.start = 0, .end = 2}, 1, x);
    V b = net_reshape(t, count(t, x, 0, fewer), 2, -1, 1), j = net_reshape(t, count(t, x, 1, short_j), 2, 1, -1);
    if (offset)
        j = net_bi(t, TN_BINARY_sub, j, net_int(t, 1));
    if (fewer || short_j)
        shape = net_node(t, TN_OP_shape, &(TnShapeParams){.start = 0, .end = 2}, 1, net_bi(t, TN_BINARY_add, b, j));
    V e[2] = {net_node(t, TN_OP_expand, NULL, 2, b, shape), net_node(t, TN_OP_expand, NULL, 2, j, shape)};
    if (swap)
        for (int i = 0; i < 2; i++)
            e[i] = net_transpose(t, e[i], 2, 1, 0);
    const TnReshapeParams last = {.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {2}};
    V ids = net_node(t, TN_OP_concat, &(TnAxisParams){.axis = 2}, 2, net_node(t, TN_OP_reshape, &last, 1, e[0]),
                     net_node(t, TN_OP_reshape, &last, 1, e[1]));
    net_out(t, net_node(t, TN_OP_gather_nd, &(TnGatherNdParams){.batch_dims = 0}, 2, x, ids));
}

static void elements_in_their_order_are_a_reshape(void **s) {
    (void)s;
    for (int miss = 0; miss < 5; miss++) {
        Net t;
        net_open(&t);
        pairs(&t, miss == 1, miss == 2, miss == 3, miss == 4);
        (void)net_run(&t, 0, tni_pass_fold, tni_pass_materialize, tni_pass_canonicalise, tni_pass_dce, NULL);
        assert_int_equal(net_count(&t, TN_OP_gather_nd), miss != 0);
        net_close(&t);
    }
}

static void constant_pairs_in_their_order_are_a_reshape(void **s) {
    (void)s;
    for (int miss = 0; miss < 4; miss++) {
        Net t;
        net_open(&t);
        V x = net_in(&t, TN_F32, 3, 2, miss == 1 ? 3 : 2, 5); /* all of 2 x 2; not all of 2 x 3 */
        const int64_t right[] = {0, 0, 0, 1, 1, 0, 1, 1}, turned[] = {0, 0, 1, 0, 0, 1, 1, 1}, negative[] = {0, 0, 0, 1, -1, 0, 1, 1};
        V ids = net_reshape(&t, net_ints(&t, 8, miss == 2 ? turned : miss == 3 ? negative : right), 3, 2, 2, 2);
        net_out(&t, net_node(&t, TN_OP_gather_nd, &(TnGatherNdParams){.batch_dims = 0}, 2, x, ids));
        (void)net_run(&t, 0, tni_pass_fold, tni_pass_canonicalise, tni_pass_dce, NULL);
        assert_int_equal(net_count(&t, TN_OP_gather_nd), miss != 0);
        net_close(&t);
    }
}

static void truth_of_other_dims_repeats(void **s) {
    (void)s;
    for (int fn = 0; fn < 2; fn++) {
        for (int left = 0; left < 2; left++) {
            for (int miss = 0; miss < 2; miss++) {
                Net t;
                net_open(&t);
                V zeros = net_reshape(&t, net_ints(&t, 4, (const int64_t[]){0, 0, 0, 0}), 4, 1, 1, 4, 1);
                V c = net_bi(&t, TN_BINARY_equal, zeros, net_int(&t, (fn == 0) != (miss == 1) ? 0 : 1)); /* all true or all false */
                V x = net_cast(&t, net_in(&t, TN_I64, 4, -1, 1, 1, -2), TN_BOOL);
                V y = net_bi(&t, fn == 0 ? TN_BINARY_and_ : TN_BINARY_or_, left == 0 ? x : c, left == 0 ? c : x);
                net_out(&t, net_node(&t, TN_OP_where, NULL, 3, y, net_num(&t, 0), net_num(&t, -3)));
                (void)net_run(&t, 0, tni_pass_fold, tni_pass_canonicalise, tni_pass_dce, NULL);
                assert_int_equal(net_count(&t, TN_OP_expand), miss == 0);
                assert_int_equal(net_count(&t, TN_OP_binary), miss != 0);
                net_close(&t);
            }
        }
    }
}

static void unknown_pass_is_named(void **s) {
    (void)s;
    Net t;
    TnError err = {0};
    net_open(&t);
    net_out(&t, net_un(&t, TN_UNARY_exp, net_in(&t, TN_F32, 1, 4)));
    assert_int_equal(tni_passes_run(t.m, NULL, "fuse_everything", NULL, NULL, &err), TN_ERR_NAME);
    assert_non_null(strstr(err.message, "fuse_attention"));
    assert_int_equal(tni_passes_run(t.m, NULL, "import", NULL, NULL, &err), TN_OK);
    assert_int_equal(tni_passes_run(t.m, NULL, NULL, NULL, NULL, &err), TN_OK);
    net_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folds_constants),
        cmocka_unit_test(folding_obeys_its_limit),
        cmocka_unit_test(constant_output_keeps_its_name),
        cmocka_unit_test(equal_nodes_are_merged),
        cmocka_unit_test(equal_outputs_both_stay),
        cmocka_unit_test(reshapes_to_other_dims_are_not_equal),
        cmocka_unit_test(dead_nodes_go),
        cmocka_unit_test(neutral_operations_vanish),
        cmocka_unit_test(neutral_operations_that_broadcast_stay),
        cmocka_unit_test(narrowing_casts_stay),
        cmocka_unit_test(powers_get_names),
        cmocka_unit_test(matmul_by_weights_is_gemm),
        cmocka_unit_test(dropped_dims_come_back),
        cmocka_unit_test(parts_before_a_part_that_is_read_stay),
        cmocka_unit_test(transposes_cancel),
        cmocka_unit_test(transposes_of_both_operands_become_one),
        cmocka_unit_test(pictures_to_tokens_and_back_is_a_view),
        cmocka_unit_test(one_transpose_of_two_is_left),
        cmocka_unit_test(reshapes_combine),
        cmocka_unit_test(expanded_masks_shrink),
        cmocka_unit_test(expand_of_an_expand_keeps_the_rank),
        cmocka_unit_test(one_hot_products_are_lookups),
        cmocka_unit_test(comparisons_with_a_range_are_one_hot),
        cmocka_unit_test(one_hot_of_other_values_stays),
        cmocka_unit_test(buckets_are_looked_up),
        cmocka_unit_test(functions_without_constant_tails_stay),
        cmocka_unit_test(rows_in_their_order_are_a_reshape),
        cmocka_unit_test(elements_in_their_order_are_a_reshape),
        cmocka_unit_test(truth_of_other_dims_repeats),
        cmocka_unit_test(constant_pairs_in_their_order_are_a_reshape),
        cmocka_unit_test(unknown_pass_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
