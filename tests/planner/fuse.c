/* SPDX-License-Identifier: Apache-2.0
 *
 * Pairs of products become one step of the device where they may, and only there. */
#include "planner/on_device.h"

enum { ROWS = 320, C = 16, H = 32 }; /* the fake device has 4 multiprocessors */

/* What of the pair is different. */
typedef struct Twist {
    int64_t rows;
    bool read_twice, hidden_is_output, scaled, second_act, residual_inside, full_bias, weights_at_run, no_residual, turned;
} Twist;

/* y = gelu(x W1 + b1) W2 + b2 + x, x [batch, C]. */
static IrModule *make_pair(const Twist *t) {
    Make k = start(NULL);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, num(&k, t->rows), num(&k, C));
    IrValueId other = INPUT(&k, "other", TN_F32, num(&k, t->rows), num(&k, H));
    TnGemmParams p1 = {.trans_b = t->turned, .alpha = t->scaled ? 0.5f : 1.0f, .beta = 1.0f, .act = TN_ACT_GELU};
    TnGemmParams p2 = {.trans_b = t->turned, .alpha = 1.0f, .beta = 1.0f, .act = t->second_act ? TN_ACT_RELU : TN_ACT_NONE};
    IrValueId b1 = t->full_bias ? WEIGHTS(&k, 1, 1, H) : WEIGHTS(&k, 1, H);
    IrValueId w1 = t->turned ? WEIGHTS(&k, 0.3f, H, C) : WEIGHTS(&k, 0.3f, C, H);
    IrValueId w2 = t->turned ? WEIGHTS(&k, 0.3f, C, H) : WEIGHTS(&k, 0.3f, H, C);
    if (t->weights_at_run)
        w2 = INPUT(&k, "w2", TN_F32, num(&k, H), num(&k, C));
    IrValueId h = NODE(&k, gemm, "block/fc1", &p1, x, w1, b1, t->residual_inside ? other : TN_NO_VALUE);
    IrValueId y = NODE(&k, gemm, "block/fc2", &p2, h, w2, WEIGHTS(&k, 1, C), t->no_residual ? TN_NO_VALUE : x);
    output(&k, y);
    if (t->hidden_is_output)
        output(&k, h);
    if (t->read_twice)
        output(&k, NODE(&k, binary, "again", ADD, h, other));
    else if (!t->residual_inside)
        output(&k, NODE(&k, unary, "rest", RELU, other));
    return finish(&k);
}

static void check(const Twist *t, TnDtype type, bool fused) {
    OnDevice d;
    TnError err = {0};
    on_device_start(&d, type);
    OK(on_device_make(&d, make_pair(t), &err));
    assert_int_equal(count_steps(&d.p, "mlp"), fused);
    assert_int_equal(count_steps(&d.p, "gemm"), fused ? 0 : 2);
    if (fused)
        assert_non_null(find_step(&d.p, "block/fc1+fc2", "mlp"));
    TnTensor in[3] = {make_tensor(TN_F32, 2, (int64_t[]){t->rows, C}, 1), make_tensor(TN_F32, 2, (int64_t[]){t->rows, H}, 2),
                      make_tensor(TN_F32, 2, (int64_t[]){H, C}, 3)};
    on_device_run(&d, make_pair(t), in, type == TN_F32 ? 1e-4 : type == TN_F16 ? 2e-2 : 1e-1);
    for (uint32_t i = 0; i < 3; i++)
        free(in[i].data);
    on_device_free(&d);
}

static void pairs_become_one_step(void **state) {
    (void)state;
    check(&(Twist){.rows = ROWS}, TN_F16, true);
    check(&(Twist){.rows = ROWS}, TN_BF16, true);
    check(&(Twist){.rows = ROWS, .no_residual = true, .turned = true}, TN_F16, true);
}

static void others_stay_as_they_are(void **state) {
    (void)state;
    check(&(Twist){.rows = ROWS}, TN_F32, false);
    check(&(Twist){.rows = 255}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .read_twice = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .hidden_is_output = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .scaled = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .second_act = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .residual_inside = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .full_bias = true}, TN_F16, false);
    check(&(Twist){.rows = ROWS, .weights_at_run = true}, TN_F16, false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_become_one_step),
        cmocka_unit_test(others_stay_as_they_are),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
