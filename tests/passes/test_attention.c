/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_attention and merge_projections over the spellings of exporters; and what must not fuse. */
#include <math.h>

#include "build.h"

enum { H = 3, D = 8, W = 24 };
typedef enum Form { TWO_STEPS, ONE_STEP, MERGED_5D, MERGED_SPLIT, MERGED_SLICE, FORMS } Form;
typedef enum Scale { ON_Q, ON_SCORES, ON_BOTH, NO_SCALE, SCALES } Scale;
typedef enum Mask { NO_MASK, ADDED, SCALED_PAIR, THREE, WHERE_FILL, SUBTRACTED, MASKS } Mask;

static V linear(Net *t, V x, int n, bool bias) {
    V y = net_node(t, TN_OP_matmul, NULL, 2, x, net_rand(t, 2, W, n));
    return bias ? net_bi(t, TN_BINARY_add, net_rand(t, 1, n), y) : y;
}

static V heads(Net *t, V x) {
    return net_transpose(t, net_reshape(t, x, 4, 0, 0, H, D), 4, 0, 2, 1, 3);
}

/* One of three parts, [B, S, 24] or with heads apart. */
static void operands(Net *t, V x, V y, Form form, V *q, V *k, V *v) {
    if (form == MERGED_5D) {
        V all = net_transpose(t, net_reshape(t, linear(t, x, 3 * W, true), 5, 0, 0, 3, H, D), 5, 2, 0, 3, 1, 4);
        *q = net_gather(t, all, net_int(t, 0), 0);
        *k = net_gather(t, all, net_int(t, 1), 0);
        *v = net_gather(t, all, net_int(t, -1), 0);
        return;
    }
    if (form == MERGED_SPLIT) {
        TnError err = {0};
        V all = linear(t, x, 3 * W, true), part[3];
        IrNodeId id = t->g->n_nodes;
        fail_error("split",
                   tni_ir_node_add(t->m, t->g, TN_OP_split, "split", &(TnAxisParams){.axis = -1, .n = 3}, &all, 1, NULL, 3, part, &err),
                   &err);
        fail_error("split", tni_shape_infer_node(t->m, t->g, id, &err), &err);
        *q = heads(t, part[0]);
        *k = heads(t, part[1]);
        *v = heads(t, part[2]);
        return;
    }
    if (form == MERGED_SLICE) {
        V all = net_reshape(t, linear(t, x, 3 * W, false), 4, 0, 0, 3, W), part[3];
        for (int i = 0; i < 3; i++) {
            part[i] = net_node(t, TN_OP_slice, NULL, 4, all, net_ints(t, 1, (int64_t[]){i}), net_ints(t, 1, (int64_t[]){i + 1}),
                               net_ints(t, 1, (int64_t[]){2}));
            part[i] =
                heads(t, net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_SQUEEZE, .n_axes = 1, .axes = {2}}, 1, part[i]));
        }
        *q = part[0];
        *k = part[1];
        *v = part[2];
        return;
    }
    *q = heads(t, linear(t, x, W, true));
    *k = heads(t, linear(t, y, W, false));
    *v = heads(t, linear(t, y, W, true));
}

static V scaled(Net *t, V x, double c) {
    return net_bi(t, TN_BINARY_mul, x, net_num(t, c));
}

static V masked(Net *t, V s, Mask mask, double fill) {
    V a, b;
    switch (mask) {
    case ADDED:
        return net_bi(t, TN_BINARY_add, s, net_in(t, TN_F32, 4, -1, 1, 1, -2));
    case SUBTRACTED:
        return net_bi(t, TN_BINARY_sub, s, net_in(t, TN_F32, 4, -1, 1, 1, -2));
    case SCALED_PAIR:
        a = net_in(t, TN_F32, 4, -1, H, -2, -2);
        b = net_in(t, TN_F32, 3, 1, -2, -2);
        s = net_bi(t, TN_BINARY_add, net_bi(t, TN_BINARY_div, net_bi(t, TN_BINARY_add, a, b), net_num(t, 8)), s);
        return net_bi(t, TN_BINARY_add, s, net_in(t, TN_F32, 4, -1, 1, 1, -2));
    case THREE:
        s = net_bi(t, TN_BINARY_add, s, net_in(t, TN_F32, 4, -1, H, -2, -2));
        s = net_bi(t, TN_BINARY_add, net_in(t, TN_F32, 3, H, 1, -2), s);
        return net_bi(t, TN_BINARY_add, s, net_in(t, TN_F32, 4, -1, 1, -2, 1));
    case WHERE_FILL:
        return net_node(t, TN_OP_where, NULL, 3, net_in(t, TN_BOOL, 4, -1, 1, -2, -2), s, net_num(t, fill));
    default:
        return s;
    }
}

typedef struct Case {
    Form form;
    Scale scale;
    Mask mask;
    bool cross, scale_last, guard;
    double fill;
    bool leak_scores, leak_probs;
} Case;

static void build(Net *t, const Case *c) {
    V x = net_in(t, TN_F32, 3, -1, -2, W), y = c->cross ? net_in(t, TN_F32, 3, -1, -2, W) : x, q, k, v, kt;
    operands(t, x, y, c->form, &q, &k, &v);
    if (c->scale == ON_Q)
        q = net_bi(t, TN_BINARY_div, q, net_num(t, sqrt(D)));
    if (c->scale == ON_BOTH)
        q = scaled(t, q, pow(D, -0.25));
    if (c->form == ONE_STEP) {
        const IrNode *tr = &t->g->nodes[t->g->values[k].producer];
        kt = net_transpose(t, tr->in[0], 4, 0, 2, 3, 1);
    } else {
        kt = net_transpose(t, k, 4, 0, 1, 3, 2);
    }
    if (c->scale == ON_BOTH)
        kt = scaled(t, kt, pow(D, -0.25));
    V s = net_node(t, TN_OP_matmul, NULL, 2, q, kt);
    if (c->leak_scores)
        net_out(t, s);
    if (c->scale == ON_SCORES && !c->scale_last)
        s = scaled(t, s, 1 / sqrt(D));
    s = masked(t, s, c->mask, c->fill);
    if (c->scale == ON_SCORES && c->scale_last)
        s = scaled(t, s, 1 / sqrt(D));
    V p = net_softmax(t, s, -1);
    if (c->leak_probs)
        net_out(t, p);
    if (c->guard)
        p = net_node(t, TN_OP_where, NULL, 3, net_un(t, TN_UNARY_isnan, p), net_num(t, 0), p);
    V o = net_node(t, TN_OP_matmul, NULL, 2, p, v);
    net_out(t, net_reshape(t, net_transpose(t, o, 4, 0, 2, 1, 3), 3, 0, -1, W));
}

static void run(Net *t, double tol) {
    net_run(t, tol, tni_pass_fold, tni_pass_materialize, tni_pass_cse, tni_pass_dce, tni_pass_canonicalise, tni_pass_sink_expand,
            tni_pass_layout, tni_pass_gemm, tni_pass_attention, tni_pass_dce, tni_pass_projections, tni_pass_cse, tni_pass_layout,
            tni_pass_dce, NULL);
}

static void all_spellings(void **s) {
    (void)s;
    for (int form = 0; form < FORMS; form++)
        for (int scale = 0; scale < SCALES; scale++)
            for (int mask = 0; mask < MASKS; mask++)
                for (int more = 0; more < 4; more++) {
                    Case c = {(Form)form,
                              (Scale)scale,
                              (Mask)mask,
                              .cross = (more & 1) != 0,
                              .scale_last = (more & 2) != 0,
                              .fill = more & 2 ? -3.4028235e38 : -1e31};
                    if (c.cross && form >= MERGED_5D)
                        continue;
                    Net t;
                    net_open(&t);
                    build(&t, &c);
                    run(&t, 2e-5);
                    if (net_count(&t, TN_OP_attention) != 1 || net_count(&t, TN_OP_transpose) != 0 ||
                        net_count(&t, TN_OP_gemm) != (c.cross ? 2u : 1u) || net_count(&t, TN_OP_reshape) != 0)
                        fail_msg("form %d scale %d mask %d variant %d: %u attention, %u transpose, %u gemm, %u reshape", form, scale, mask,
                                 more, net_count(&t, TN_OP_attention), net_count(&t, TN_OP_transpose), net_count(&t, TN_OP_gemm),
                                 net_count(&t, TN_OP_reshape));
                    const TnAttentionParams *p = net_params(&t, TN_OP_attention);
                    assert_int_equal(p->heads, H);
                    assert_int_equal(p->d_qk, D);
                    assert_true(fabs(p->scale - (scale == NO_SCALE ? 1 : 1 / sqrt(D))) < 1e-6);
                    assert_int_equal(p->out_layout, TN_LAYOUT_BSHD);
                    net_close(&t);
                }
}

/* As above with S a number in the input, for exporters that flatten batch and heads. */
static void products_of_three_dims(void **s) {
    (void)s;
    for (int scale = 0; scale < SCALES; scale++)
        for (int mask = 0; mask < 3; mask++) {
            Net t;
            net_open(&t);
            V x = net_in(&t, TN_F32, 3, -1, 5, W);
            V q = heads(&t, linear(&t, x, W, true)), k = heads(&t, linear(&t, x, W, true)), v = heads(&t, linear(&t, x, W, true));
            if (scale == ON_Q)
                q = scaled(&t, q, 0.25);
            V kt = net_transpose(&t, net_reshape(&t, k, 3, -1, 5, D), 3, 0, 2, 1);
            V sc = net_node(&t, TN_OP_matmul, NULL, 2, net_reshape(&t, q, 3, -1, 5, D), kt);
            if (mask == 1) {
                sc = net_bi(&t, TN_BINARY_add, net_reshape(&t, sc, 4, -1, H, 5, 5), net_in(&t, TN_F32, 4, -1, 1, 5, 5));
                sc = net_reshape(&t, sc, 3, -1, 5, 5);
            }
            if (mask == 2)
                sc = net_bi(&t, TN_BINARY_add, sc, net_rand(&t, 3, 1, 5, 5));
            V o = net_node(&t, TN_OP_matmul, NULL, 2, net_softmax(&t, sc, 2), net_reshape(&t, v, 3, -1, 5, D));
            o = net_transpose(&t, net_reshape(&t, o, 4, -1, H, 5, D), 4, 0, 2, 1, 3);
            net_out(&t, net_reshape(&t, o, 3, -1, 5, W));
            run(&t, 2e-5);
            assert_int_equal(net_count(&t, TN_OP_attention), 1);
            assert_int_equal(net_count(&t, TN_OP_transpose), 0);
            assert_int_equal(net_count(&t, TN_OP_gemm), 1);
            assert_int_equal(((const TnAttentionParams *)net_params(&t, TN_OP_attention))->heads, H);
            net_close(&t);
        }
}

static uint32_t fused(const Case *c, double tol) {
    Net t;
    net_open(&t);
    build(&t, c);
    run(&t, tol);
    uint32_t n = net_count(&t, TN_OP_attention);
    net_close(&t);
    return n;
}

static void what_must_not_fuse(void **s) {
    (void)s;
    assert_int_equal(fused(&(Case){.leak_scores = true}, 2e-5), 0);
    assert_int_equal(fused(&(Case){.leak_probs = true}, 2e-5), 0);
    assert_int_equal(fused(&(Case){.mask = WHERE_FILL, .fill = -10000}, 2e-5), 0); /* does not absorb the scores */
    assert_int_equal(fused(&(Case){.mask = WHERE_FILL, .fill = -(double)INFINITY}, 2e-5), 1);
    assert_int_equal(fused(&(Case){.mask = WHERE_FILL, .fill = -(double)INFINITY, .guard = true}, 2e-5), 0); /* a row may be all -inf */
    assert_int_equal(fused(&(Case){.mask = WHERE_FILL, .fill = -3.4028235e38, .guard = true}, 2e-5), 1);
    assert_int_equal(fused(&(Case){.mask = ADDED, .guard = true}, 2e-5), 0); /* nothing is known of the mask */
    assert_int_equal(fused(&(Case){.guard = true}, 2e-5), 1);
}

static void softmax_of_another_axis(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, 5, W);
    V q = heads(&t, linear(&t, x, W, true)), k = heads(&t, linear(&t, x, W, true)), v = heads(&t, linear(&t, x, W, true));
    V sc = net_node(&t, TN_OP_matmul, NULL, 2, q, net_transpose(&t, k, 4, 0, 1, 3, 2));
    net_out(&t, net_node(&t, TN_OP_matmul, NULL, 2, net_softmax(&t, sc, 2), v));
    run(&t, 2e-5);
    assert_int_equal(net_count(&t, TN_OP_attention), 0);
    net_close(&t);
}

/* Keys and values that grow: concat with a cache, which is an output too. */
static void with_past(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, W), pk = net_in(&t, TN_F32, 4, -1, H, -3, D), pv = net_in(&t, TN_F32, 4, -1, H, -3, D);
    V q = heads(&t, linear(&t, x, W, true)), k = heads(&t, linear(&t, x, W, true)), v = heads(&t, linear(&t, x, W, true));
    k = net_node(&t, TN_OP_concat, &(TnAxisParams){.axis = 2}, 2, pk, k);
    v = net_node(&t, TN_OP_concat, &(TnAxisParams){.axis = 2}, 2, pv, v);
    V sc = net_node(&t, TN_OP_matmul, NULL, 2, scaled(&t, q, 0.5), net_transpose(&t, k, 4, 0, 1, 3, 2));
    V o = net_node(&t, TN_OP_matmul, NULL, 2, net_softmax(&t, sc, -1), v);
    net_out(&t, net_reshape(&t, net_transpose(&t, o, 4, 0, 2, 1, 3), 3, 0, -1, W));
    net_out(&t, k);
    net_out(&t, v);
    run(&t, 2e-5);
    const TnAttentionParams *p = net_params(&t, TN_OP_attention);
    assert_int_equal(p->k_layout, TN_LAYOUT_BHSD);
    assert_int_equal(p->q_layout, TN_LAYOUT_BSHD);
    net_close(&t);
}

/* Two streams that attend to each other: the projections of each stream become one product. */
static void co_attention(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x[2] = {net_in(&t, TN_F32, 3, -1, -2, W), net_in(&t, TN_F32, 3, -1, -3, W)}, q[2], k[2], v[2];
    for (int i = 0; i < 2; i++) {
        q[i] = heads(&t, linear(&t, x[i], W, true));
        k[i] = heads(&t, linear(&t, x[i], W, false));
        v[i] = heads(&t, linear(&t, x[i], W, true));
    }
    for (int i = 0; i < 2; i++) {
        V sc = net_node(&t, TN_OP_matmul, NULL, 2, q[i], net_transpose(&t, k[1 - i], 4, 0, 1, 3, 2));
        V o = net_node(&t, TN_OP_matmul, NULL, 2, net_softmax(&t, scaled(&t, sc, 0.25), -1), v[1 - i]);
        net_out(&t, net_reshape(&t, net_transpose(&t, o, 4, 0, 2, 1, 3), 3, 0, -1, W));
    }
    run(&t, 2e-5);
    assert_int_equal(net_count(&t, TN_OP_attention), 2);
    assert_int_equal(net_count(&t, TN_OP_gemm), 2);
    net_close(&t);
}

/* The result stays with the heads apart when somebody wants it so. */
static void heads_apart(void **s) {
    (void)s;
    Net t;
    net_open(&t);
    V x = net_in(&t, TN_F32, 3, -1, -2, W);
    V q = heads(&t, linear(&t, x, W, true)), k = heads(&t, linear(&t, x, W, true)), v = heads(&t, linear(&t, x, W, true));
    V sc = net_node(&t, TN_OP_matmul, NULL, 2, q, net_transpose(&t, k, 4, 0, 1, 3, 2));
    net_out(&t, net_un(&t, TN_UNARY_exp, net_node(&t, TN_OP_matmul, NULL, 2, net_softmax(&t, sc, -1), v)));
    run(&t, 2e-5);
    assert_int_equal(((const TnAttentionParams *)net_params(&t, TN_OP_attention))->out_layout, TN_LAYOUT_BHSD);
    net_close(&t);
}

/* Shifted windows: the mask of a window, [1, windows, 1, S, S], or of none in particular, over scores of [samples * windows, H, S, S]. */
static void masks_of_windows(void **s) {
    (void)s;
    const int windows[3] = {4, 4, 1}, heads_of_mask[3] = {1, H, 1};
    for (int c = 0; c < 3; c++) {
        Net t;
        V q, k, v;
        net_open(&t);
        V x = net_reshape(&t, net_in(&t, TN_F32, 4, -1, 4, 5, W), 3, -1, 5, W);
        operands(&t, x, x, TWO_STEPS, &q, &k, &v);
        V scores = net_node(&t, TN_OP_matmul, NULL, 2, q, net_transpose(&t, k, 4, 0, 1, 3, 2));
        scores = net_bi(&t, TN_BINARY_add, net_bi(&t, TN_BINARY_mul, scores, net_num(&t, 0.3)), net_rand(&t, 4, 1, H, 5, 5));
        scores = net_reshape(&t, scores, 5, -1, 4, H, 5, 5);
        scores = net_bi(&t, TN_BINARY_add, scores, net_rand(&t, 5, 1, windows[c], heads_of_mask[c], 5, 5));
        V p = net_softmax(&t, net_reshape(&t, scores, 4, -1, H, 5, 5), 3);
        V y = net_transpose(&t, net_node(&t, TN_OP_matmul, NULL, 2, p, v), 4, 0, 2, 1, 3);
        net_out(&t, net_reshape(&t, y, 3, -1, 5, W));
        net_run(&t, 1e-5, tni_pass_attention, NULL);
        assert_int_equal(net_count(&t, TN_OP_attention), 1);
        assert_int_equal(net_count(&t, TN_OP_softmax), 0);
        assert_int_equal(net_find(&t, TN_OP_attention)->n_in, 5);
        net_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_of_windows),
        cmocka_unit_test(all_spellings),      cmocka_unit_test(products_of_three_dims),
        cmocka_unit_test(what_must_not_fuse), cmocka_unit_test(softmax_of_another_axis),
        cmocka_unit_test(with_past),          cmocka_unit_test(co_attention),
        cmocka_unit_test(heads_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
