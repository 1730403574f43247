/* SPDX-License-Identifier: Apache-2.0
 *
 * topk, unique, nonzero, compress. */
#include "ref_test.h"

static TnTensor open_output(TnDtype t) {
    return (TnTensor){.dtype = t};
}

static void topk(void **state) {
    (void)state;
    float v[4];
    int64_t i[4];
    TnTopkParams p = {.axis = -1, .largest = 1};
    TnTensor in[2] = {T(TN_F32, F(1, 5, 5, NAN, 2, 9), 2, 3), T(TN_I64, I(2), 1)}, out[2] = {T(TN_F32, v, 2, 2), T(TN_I64, i, 2, 2)};
    TnError err = {0};
    assert_int_equal(call_ref(TN_OP_topk, &p, in, 2, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(v, 4, 5, 5, NAN, 9);
    SAME_I(i, 4, 1, 2, 0, 2);
    p.largest = 0;
    assert_int_equal(call_ref(TN_OP_topk, &p, in, 2, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(v, 4, 1, 5, 2, 9);
    SAME_I(i, 4, 0, 1, 1, 2);
    in[1] = T(TN_I64, I(4), 1);
    assert_int_equal(call_ref(TN_OP_topk, &p, in, 2, out, 2, NULL, NULL, &err), TN_ERR_RUN);
    assert_non_null(strstr(err.message, "k is 4"));
    uint64_t u[1];
    in[0] = T(TN_U64, LIST(uint64_t, 1, UINT64_MAX, 5), 3);
    in[1] = T(TN_I64, I(1), 1);
    out[0] = T(TN_U64, u, 1);
    out[1] = T(TN_I64, i, 1);
    p = (TnTopkParams){.axis = 0, .largest = 1};
    assert_int_equal(call_ref(TN_OP_topk, &p, in, 2, out, 2, NULL, NULL, &err), TN_OK);
    assert_true(u[0] == UINT64_MAX && i[0] == 1);
}

static void unique(void **state) {
    (void)state;
    TnUniqueParams p = {.flatten = 1, .sorted = 1};
    TnTensor in = T(TN_F32, F(2, 1, 1, 3, 4, 3), 6);
    TnTensor out[4] = {open_output(TN_F32), open_output(TN_I64), open_output(TN_I64), open_output(TN_I64)};
    TnError err = {0};
    Outputs o = {{0}};
    assert_int_equal(call_ref(TN_OP_unique, &p, &in, 1, out, 4, &o, NULL, &err), TN_OK);
    assert_int_equal(out[0].dims[0], 4);
    SAME_F(out[0].data, 4, 1, 2, 3, 4);
    SAME_I((int64_t *)out[1].data, 4, 1, 0, 3, 4);
    SAME_I((int64_t *)out[2].data, 6, 1, 0, 0, 2, 3, 2);
    SAME_I((int64_t *)out[3].data, 4, 2, 1, 2, 1);
    free_outputs(&o);
    p.sorted = 0;
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_unique, &p, &in, 1, out, 4, &o, NULL, &err), TN_OK);
    SAME_F(out[0].data, 4, 2, 1, 3, 4);
    SAME_I((int64_t *)out[1].data, 4, 0, 1, 3, 4);
    SAME_I((int64_t *)out[2].data, 6, 0, 1, 1, 2, 3, 2);
    SAME_I((int64_t *)out[3].data, 4, 1, 2, 2, 1);
    free_outputs(&o);
    p = (TnUniqueParams){.axis = -1, .sorted = 1}; /* columns */
    in = T(TN_I32, LIST(int32_t, 1, 0, 1, 2, 0, 2), 2, 3);
    out[0] = open_output(TN_I32);
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_unique, &p, &in, 1, out, 4, &o, NULL, &err), TN_OK);
    assert_true(out[0].rank == 2 && out[0].dims[0] == 2 && out[0].dims[1] == 2);
    SAME_I((int32_t *)out[0].data, 4, 0, 1, 0, 2);
    free_outputs(&o);
    p = (TnUniqueParams){.flatten = 1, .sorted = 1};
    in = T(TN_F32, NULL, 0);
    out[0] = open_output(TN_F32);
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_unique, &p, &in, 1, out, 1, &o, NULL, &err), TN_OK);
    assert_int_equal(out[0].dims[0], 0);
    free_outputs(&o);
}

static void nonzero(void **state) {
    (void)state;
    TnTensor in = T(TN_F32, F(0, NAN, -0.0f, 2), 2, 2), out = open_output(TN_I64);
    TnError err = {0};
    Outputs o = {{0}};
    assert_int_equal(call_ref(TN_OP_nonzero, NULL, &in, 1, &out, 1, &o, NULL, &err), TN_OK);
    assert_true(out.rank == 2 && out.dims[0] == 2 && out.dims[1] == 2);
    SAME_I((int64_t *)out.data, 4, 0, 1, 1, 1);
    free_outputs(&o);
    in = T0(TN_I64, I(5)); /* a scalar has no coordinates */
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_nonzero, NULL, &in, 1, &out, 1, &o, NULL, &err), TN_OK);
    assert_true(out.dims[0] == 0 && out.dims[1] == 1);
    free_outputs(&o);
}

static void compress(void **state) {
    (void)state;
    TnTensor in[2] = {T(TN_F32, F(1, 2, 3, 4, 5, 6), 3, 2), T(TN_BOOL, LIST(uint8_t, 0, 1, 1), 3)}, out = open_output(TN_F32);
    TnError err = {0};
    Outputs o = {{0}};
    TnCompressParams p = {.axis = 0};
    assert_int_equal(call_ref(TN_OP_compress, &p, in, 2, &out, 1, &o, NULL, &err), TN_OK);
    assert_true(out.dims[0] == 2 && out.dims[1] == 2);
    SAME_F(out.data, 4, 3, 4, 5, 6);
    free_outputs(&o);
    p = (TnCompressParams){.flatten = 1};
    in[1] = T(TN_BOOL, LIST(uint8_t, 0, 1, 0, 0, 1), 5);
    o = (Outputs){{0}};
    assert_int_equal(call_ref(TN_OP_compress, &p, in, 2, &out, 1, &o, NULL, &err), TN_OK);
    assert_true(out.rank == 1 && out.dims[0] == 2);
    SAME_F(out.data, 2, 2, 5);
    free_outputs(&o);
    p = (TnCompressParams){.axis = 1};
    in[1] = T(TN_BOOL, LIST(uint8_t, 0, 0, 1), 3);
    assert_int_equal(call_ref(TN_OP_compress, &p, in, 2, &out, 1, &o, NULL, &err), TN_ERR_RUN);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(topk), cmocka_unit_test(unique), cmocka_unit_test(nonzero),
                                       cmocka_unit_test(compress)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
