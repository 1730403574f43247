/* SPDX-License-Identifier: Apache-2.0
 *
 * Parameters, dims and contents made of noise: every operator gives a status, on symbols and on numbers, and what it accepts can exist. */
#include "support.h"

static uint64_t seed = 12345;

static uint32_t rnd(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % n);
}

static void noise_params(uint32_t *p) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t kind = rnd(14);
        p[i] = kind < 5 ? 0 : kind < 10 ? rnd(4) : kind == 10 ? UINT32_MAX - rnd(3) : kind == 11 ? rnd(UINT32_MAX) : rnd(12);
    }
}

static TnOp plain_op(void) {
    TnOp op;
    do
        op = (TnOp)rnd(TN_OP_COUNT);
    while ((tni_op_info(op)->flags & TN_OPF_CONTROL) != 0);
    return op;
}

static bool expected(TnStatus st) {
    return st == TN_OK || st == TN_ERR_SHAPE || st == TN_ERR_TYPE || st == TN_ERR_GRAPH || st == TN_ERR_UNSUPPORTED || st == TN_ERR_RUN;
}

static void counts(TnOp op, uint32_t *n_in, uint32_t *n_out) {
    const TnOpInfo *info = tni_op_info(op);
    *n_in = info->min_in + rnd(3);
    *n_out = info->min_out + rnd(2);
    *n_in = TN_MIN(*n_in, TN_MIN(info->max_in, 5u));
    *n_out = TN_MIN(*n_out, TN_MIN(info->max_out, 4u));
}

static void test_symbols(void **state) {
    (void)state;
    static const TnDtype types[] = {TN_F32, TN_I64, TN_BOOL, TN_I32, TN_U8, TN_F16};
    static const char *const shapes[] = {"", "3", "batch,4", "2,n,4", "1,8,h,w", "2,3,4,5,6"};
    IrValueId pool[48], in[5];
    uint32_t n = 0, ok = 0, params[256];
    char name[16];
    for (uint32_t t = 0; t < TN_COUNT(types); t++) {
        for (uint32_t s = 0; s < TN_COUNT(shapes); s++, n++) {
            snprintf(name, sizeof name, "p%u", n);
            pool[n] = t_in(name, types[t], shapes[s]);
        }
    }
    pool[n++] = VEC(1, -1, 0, INT64_MAX);
    pool[n++] = VEC(-5);
    pool[n++] = VEC(2, 2);
    pool[n++] = VEC(INT64_MIN, 3);
    pool[n++] = t_int(INT64_MIN);
    pool[n++] = t_int(1);
    pool[n++] = t_floats((const float[]){1, 2, 0.5f, 3e38f}, 4);
    for (uint32_t round = 0; round < 60000; round++) {
        TnOp op = plain_op();
        uint32_t n_in, n_out, n_nodes = tg->n_nodes, n_values = tg->n_values;
        counts(op, &n_in, &n_out);
        noise_params(params);
        for (uint32_t i = 0; i < n_in; i++)
            in[i] = i >= tni_op_info(op)->min_in && rnd(4) == 0 ? NONE : pool[rnd(n)];
        assert_int_equal(tni_ir_node_add(tm, tg, op, "noise", params, in, n_in, NULL, n_out, NULL, &terr), TN_OK);
        TnStatus st = tni_shape_infer_node(tm, tg, n_nodes, &terr);
        ok += st == TN_OK;
        assert_true(expected(st));
        if (st == TN_OK && round % 16 == 0)
            assert_int_equal(tni_ir_verify(tm, &terr), TN_OK);
        tg->n_nodes = n_nodes;
        tg->n_values = n_values;
    }
    assert_true(ok > 1000);
}

static void noise_tensor(TnTensor *t, void *data) {
    static const TnDtype types[] = {TN_F32, TN_I64, TN_I64, TN_I64, TN_BOOL, TN_I32, TN_U8, TN_F16, TN_F64, TN_UNDEFINED};
    memset(t, 0, sizeof *t);
    t->dtype = types[rnd(TN_COUNT(types))];
    t->rank = (int32_t)rnd(6);
    int64_t numel = 1;
    for (int32_t i = 0; i < t->rank; i++) {
        t->dims[i] = numel > 64 ? 1 : rnd(5);
        numel *= t->dims[i];
    }
    if (t->dtype == TN_UNDEFINED)
        return;
    t->data = data;
    for (int64_t i = 0; i < numel; i++) {
        uint32_t kind = rnd(10);
        int64_t v = kind < 6 ? (int64_t)rnd(5) - 1 : kind == 6 ? INT64_MAX : kind == 7 ? INT64_MIN : (int64_t)rnd(1000) - 500;
        if (tni_dtype_is_float(t->dtype))
            tni_store_f64(t->dtype, data, i, kind == 8 ? 0.37 : kind == 9 ? -1e30 : (double)v);
        else
            tni_store_i64(t->dtype, data, i, v);
    }
}

static void test_numbers(void **state) {
    (void)state;
    static double data[5][512];
    uint32_t ok = 0, params[256];
    TnArena *scratch = NULL;
    for (uint32_t round = 0; round < 120000; round++) {
        TnTensor in[5], out[4];
        TnError err = {0};
        TnOp op = plain_op();
        uint32_t n_in, n_out;
        counts(op, &n_in, &n_out);
        noise_params(params);
        for (uint32_t i = 0; i < n_in; i++)
            noise_tensor(&in[i], data[i]);
        memset(out, 0, sizeof out);
        if (round % 64 == 0) {
            tni_arena_destroy(&scratch);
            assert_int_equal(tni_arena_create(NULL, &scratch, &err), TN_OK);
        }
        TnStatus st = tni_shape_concrete(op, params, in, n_in, out, n_out, scratch, &err);
        if (!expected(st))
            fail_msg("%s: %s: %s", tni_op_info(op)->name, tn_status_name(st), err.message);
        ok += st == TN_OK;
        for (uint32_t o = 0; st == TN_OK && o < n_out; o++)
            assert_true(out[o].dtype != TN_UNDEFINED && out[o].rank >= 0 &&
                        tni_shape_bytes(out[o].dtype, out[o].rank, out[o].dims, NULL, NULL));
    }
    tni_arena_destroy(&scratch);
    assert_true(ok > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_symbols, shape_setup, shape_teardown),
        cmocka_unit_test(test_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
