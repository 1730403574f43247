/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_relative_bias over the spellings of exporters; and what must not fuse. */
#include "build.h"

enum { H = 3, D = 4, W = 12, R = 9 };
typedef enum Miss {
    NONE,
    OTHER_READER,  /* of the bias, which has rows of Sk */
    TABLE_INPUT,
    NO_BOUNDS,
    NO_DIFFERENCE,
    BOTH_VARY,     /* an operand of the difference that is no position */
    OUT_OF_TABLE,  /* an error of the run stays one */
    DIRECTIONS,
    TYPES,
    FIVE,
    INSIDE_READ,
    MISSES
} Miss;
typedef struct Spelling {
    uint32_t terms;
    bool minus, look_up, negative, term_scale, sum_scale, early_transpose, column, right, shared, narrow, swap;
    Miss miss;
} Spelling;

/* [B,S] as [B,1,S] (axis 1) or [B,S,1] (axis 2). */
static V along(Net *t, V p, int axis) {
    return net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {axis}}, 1, p);
}

static V small_int(Net *t, const Spelling *s, int32_t v) {
    TnError err = {0};
    V out;
    if (!s->narrow)
        return net_int(t, v);
    fail_error("constant", tni_ir_const_copy(t->m, t->g, NULL, TN_I32, 0, NULL, &v, &out, &err), &err);
    return out;
}

/* Distances -4..4 -> rows of a table; random positions of net_run reach further on both sides. */
static V term(Net *t, const Spelling *s, V p, uint32_t k) {
    const bool last = k + 1 == s->terms, minus = s->minus != (s->miss == DIRECTIONS && last);
    V keys = along(t, p, 1), queries = along(t, p, 2);
    if (s->miss == BOTH_VARY && last)
        keys = net_in(t, TN_I64, 3, -1, -2, -2);
    V d = s->miss == NO_DIFFERENCE && last ? net_bi(t, TN_BINARY_add, keys, queries)
                                           : net_bi(t, TN_BINARY_sub, minus ? queries : keys, minus ? keys : queries);
    if (s->miss != NO_BOUNDS || !last)
        d = net_node(t, TN_OP_clip, NULL, 3, d, small_int(t, s, s->look_up || s->negative ? -4 : 0), small_int(t, s, 4));
    else
        d = net_bi(t, TN_BINARY_mod, d, net_int(t, R));
    if (s->look_up) { /* a bucket for each distance; -4..-1 count from the end */
        const int64_t bucket[R] = {0, 1, 2, 3, -1, 8, 7, 6, s->miss == OUT_OF_TABLE && last ? R : 5};
        d = net_gather(t, net_ints(t, R, bucket), d, 0);
    }
    if (s->column) { /* [.., 1] and back */
        V one = net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {3}}, 1, d);
        d = net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_SQUEEZE, .n_axes = 1, .axes = {3}}, 1, one);
    }
    if (s->miss == INSIDE_READ && last)
        net_out(t, d);
    V w = s->miss == TABLE_INPUT && last ? net_in(t, TN_F32, 2, R, H) : net_rand(t, 2, R, H);
    V y = net_gather(t, w, d, 0);
    if (s->term_scale)
        y = net_bi(t, TN_BINARY_mul, y, net_num(t, 0.5 + k));
    return s->early_transpose ? net_transpose(t, y, 4, 0, 3, 1, 2) : y;
}

static V attention(Net *t, V x, V bias) {
    const TnAttentionParams p = {.heads = H, .kv_heads = H, .d_qk = D, .d_v = D, .scale = 0.5f};
    return net_node(t, TN_OP_attention, &p, 4, x, x, x, bias);
}

static void build(Net *t, const Spelling *s) {
    V x = net_in(t, TN_F32, 3, -1, -2, W), sum = TN_NO_VALUE, p = TN_NO_VALUE;
    const TnDtype type = s->narrow ? TN_I32 : TN_I64;
    for (uint32_t k = 0; k < s->terms; k++) {
        if (k == 0 || !s->shared)
            p = s->miss == TYPES && k > 0 ? net_cast(t, p, TN_I32) : net_in(t, type, 2, -1, -2);
        Spelling here = *s;
        here.narrow = s->narrow || (s->miss == TYPES && k > 0);
        V y = term(t, &here, p, k);
        sum = k == 0 ? y : s->right ? net_bi(t, TN_BINARY_add, y, sum) : net_bi(t, TN_BINARY_add, sum, y);
    }
    if (s->sum_scale)
        sum = net_bi(t, TN_BINARY_div, sum, net_num(t, 8));
    if (!s->early_transpose)
        sum = net_transpose(t, sum, 4, 0, 3, 1, 2);
    if (s->swap)
        sum = net_transpose(t, sum, 4, 0, 1, 3, 2);
    if (s->miss == OTHER_READER)
        net_out(t, sum);
    V y = attention(t, x, sum);
    net_out(t, attention(t, y, sum)); /* layers share it */
}

static uint32_t fused(const Spelling *s, double tol) {
    Net t;
    net_open(&t);
    build(&t, s);
    (void)net_run(&t, tol, tni_pass_relative_bias, NULL);
    const uint32_t n = net_count(&t, TN_OP_relative_bias);
    if (n > 0) {
        assert_int_equal(n, 1);
        assert_int_equal(net_count(&t, TN_OP_gather), 0);
        assert_int_equal(net_count(&t, TN_OP_transpose), 0);
        assert_int_equal(net_count(&t, TN_OP_binary), 0);
        assert_int_equal(((const TnRelativeBiasParams *)net_params(&t, TN_OP_relative_bias))->n, s->terms);
    }
    net_close(&t);
    return n;
}

static void every_spelling(void **state) {
    (void)state;
    for (uint32_t bits = 0; bits < 1u << 10; bits++) {
        const Spelling s = {.terms = 1 + bits % 4,
                            .minus = bits >> 1 & 1,
                            .look_up = bits & 1,
                            .negative = bits >> 2 & 1,
                            .term_scale = bits >> 3 & 1,
                            .sum_scale = bits >> 4 & 1,
                            .early_transpose = bits >> 5 & 1,
                            .column = bits >> 6 & 1,
                            .right = bits >> 7 & 1,
                            .shared = bits >> 8 & 1,
                            .swap = bits >> 9 & 1,
                            .narrow = bits % 7 == 3};
        if (fused(&s, 2e-6) != 1)
            fail_msg("spelling %x did not fuse", bits);
    }
}

static void near_misses(void **state) {
    (void)state;
    for (int miss = OTHER_READER; miss < MISSES; miss++) {
        const Spelling s = {.terms = miss == FIVE ? 5 : 2, .look_up = true, .miss = (Miss)miss};
        Net t;
        net_open(&t);
        build(&t, &s);
        if (miss == OUT_OF_TABLE) { /* an error of the run, before and after */
            uint32_t changed = 0;
            TnError err = {0};
            fail_error("pass", tni_pass_relative_bias(t.m, NULL, &changed, &err), &err);
            assert_int_equal(changed, 0);
        } else {
            (void)net_run(&t, 0, tni_pass_relative_bias, NULL);
        }
        if (net_count(&t, TN_OP_relative_bias) != 0)
            fail_msg("miss %d fused", miss);
        net_close(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_spelling), cmocka_unit_test(near_misses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
