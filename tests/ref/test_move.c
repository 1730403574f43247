/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving data: layout operators, gathers and scatters with their range errors, tensors made from shapes. */
#include "ref_test.h"

static TnStatus try_ref(TnOp op, const void *p, const TnTensor *in, uint32_t n, TnTensor out, TnError *err) {
    memset(err, 0, sizeof *err);
    return call_ref(op, p, in, n, &out, 1, NULL, NULL, err);
}
#define TRY(op, p, out, ...)                                                                                                               \
    try_ref(TN_OP_##op, p, (TnTensor[]){__VA_ARGS__}, (uint32_t)(sizeof((TnTensor[]){__VA_ARGS__}) / sizeof(TnTensor)), out, &err)

static void layout(void **state) {
    (void)state;
    float y[12];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6), 2, 3);
    TnTransposeParams t = {2, {1, 0}};
    RUN(transpose, &t, T(TN_F32, y, 3, 2), x);
    SAME_F(y, 6, 1, 4, 2, 5, 3, 6);
    t = (TnTransposeParams){3, {2, 0, 1}};
    RUN(transpose, &t, T(TN_F32, y, 3, 1, 2), T(TN_F32, F(1, 2, 3, 4, 5, 6), 1, 2, 3));
    SAME_F(y, 6, 1, 4, 2, 5, 3, 6);
    uint8_t n[2] = {0}; /* packed 2 x 2 */
    t = (TnTransposeParams){2, {1, 0}};
    RUN(transpose, &t, T(TN_U4, n, 2, 2), T(TN_U4, LIST(uint8_t, 0x21, 0x43), 2, 2));
    assert_int_equal(n[0], 0x31);
    assert_int_equal(n[1], 0x42);
    RUN(concat, &((TnAxisParams){-1, 0}), T(TN_F32, y, 2, 4), T(TN_F32, F(1, 2), 2, 1), x);
    SAME_F(y, 8, 1, 1, 2, 3, 2, 4, 5, 6);
    RUN(concat, &((TnAxisParams){0, 0}), T(TN_F32, y, 3, 3), T(TN_F32, NULL, 0, 3), x, T(TN_F32, F(7, 8, 9), 1, 3));
    SAME_F(y, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9);
    float z[6];
    TnTensor out[2] = {T(TN_F32, y, 2, 1), T(TN_F32, z, 2, 2)};
    TnError err = {0};
    assert_int_equal(call_ref(TN_OP_split, &(TnAxisParams){1, 2}, &x, 1, out, 2, NULL, NULL, &err), TN_OK);
    SAME_F(y, 2, 1, 4);
    SAME_F(z, 4, 2, 3, 5, 6);
    RUN(expand, NULL, T(TN_F32, y, 2, 2, 3), T(TN_F32, F(1, 2), 2, 1), T(TN_I64, I(2, 1, 3), 3));
    SAME_F(y, 12, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2);
    RUN(tile, NULL, T(TN_F32, y, 4, 2), T(TN_F32, F(1, 2), 2, 1), T(TN_I64, I(2, 2), 2));
    SAME_F(y, 8, 1, 1, 2, 2, 1, 1, 2, 2);
    RUN(reshape, &((TnReshapeParams){0}), T(TN_F32, y, 3, 2), x);
    SAME_F(y, 6, 1, 2, 3, 4, 5, 6);
    RUN(transpose, &t, T(TN_F32, NULL, 3, 0), T(TN_F32, NULL, 0, 3));
}

static void slice(void **state) {
    (void)state;
    TnError err;
    float y[8];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6, 7, 8), 2, 4);
    RUN(slice, NULL, T(TN_F32, y, 1, 2), x, T(TN_I64, I(1, 0), 2), T(TN_I64, I(2, 3), 2), T(TN_I64, I(0, 1), 2), T(TN_I64, I(1, 2), 2));
    SAME_F(y, 2, 5, 7);
    RUN(slice, NULL, T(TN_F32, y, 2, 3), x, T(TN_I64, I(-1), 1), T(TN_I64, I(0), 1), T(TN_I64, I(-1), 1), T(TN_I64, I(-1), 1));
    SAME_F(y, 6, 4, 3, 2, 8, 7, 6);
    RUN(slice, NULL, T(TN_F32, y, 2, 4), x, T(TN_I64, I(-1000), 1), T(TN_I64, I(INT64_MAX), 1), T(TN_I64, I(1), 1));
    SAME_F(y, 8, 1, 2, 3, 4, 5, 6, 7, 8);
    RUN(slice, NULL, T(TN_F32, y, 2, 1), x, T(TN_I64, I(INT64_MAX), 1), T(TN_I64, I(INT64_MIN), 1), T(TN_I64, I(1), 1),
        T(TN_I64, I(INT64_MIN), 1));
    SAME_F(y, 2, 4, 8);
    RUN(slice, NULL, T(TN_F32, NULL, 2, 0), x, T(TN_I64, I(3), 1), T(TN_I64, I(1), 1), T(TN_I64, I(1), 1));
    assert_int_equal(
        TRY(slice, NULL, T(TN_F32, y, 2, 1), x, T(TN_I64, I(0), 1), T(TN_I64, I(1), 1), T(TN_I64, I(1), 1), T(TN_I64, I(0), 1)),
        TN_ERR_RUN);
}

static void pad(void **state) {
    (void)state;
    TnError err;
    float y[12];
    const TnTensor x = T(TN_F32, F(1, 2, 3), 3);
    RUN(pad, &((TnPadParams){TN_PADDING_CONSTANT}), T(TN_F32, y, 6), x, T(TN_I64, I(2, 1), 2), T0(TN_F32, F(9)));
    SAME_F(y, 6, 9, 9, 1, 2, 3, 9);
    RUN(pad, &((TnPadParams){TN_PADDING_REFLECT}), T(TN_F32, y, 7), x, T(TN_I64, I(2, 2), 2));
    SAME_F(y, 7, 3, 2, 1, 2, 3, 2, 1);
    RUN(pad, &((TnPadParams){TN_PADDING_REFLECT}), T(TN_F32, y, 9), x, T(TN_I64, I(5, 1), 2)); /* more than once around */
    SAME_F(y, 9, 2, 1, 2, 3, 2, 1, 2, 3, 2);
    RUN(pad, &((TnPadParams){TN_PADDING_EDGE}), T(TN_F32, y, 6), x, T(TN_I64, I(1, 2), 2));
    SAME_F(y, 6, 1, 1, 2, 3, 3, 3);
    RUN(pad, &((TnPadParams){TN_PADDING_WRAP}), T(TN_F32, y, 7), x, T(TN_I64, I(2, 2), 2));
    SAME_F(y, 7, 2, 3, 1, 2, 3, 1, 2);
    RUN(pad, &((TnPadParams){TN_PADDING_CONSTANT}), T(TN_F32, y, 3), x, T(TN_I64, I(-1, 1), 2));
    SAME_F(y, 3, 2, 3, 0);
    RUN(pad, &((TnPadParams){TN_PADDING_EDGE}), T(TN_F32, y, 4), x, T(TN_I64, I(2, -1), 2));
    SAME_F(y, 4, 1, 1, 1, 2);
    RUN(pad, &((TnPadParams){TN_PADDING_CONSTANT}), T(TN_F32, y, 2, 3), T(TN_F32, F(1, 2), 2, 1), T(TN_I64, I(1, 1), 2), NONE,
        T(TN_I64, I(-1), 1));
    SAME_F(y, 6, 0, 1, 0, 0, 2, 0);
    assert_int_equal(TRY(pad, &((TnPadParams){TN_PADDING_EDGE}), T(TN_F32, y, 1), T(TN_F32, y, 0), T(TN_I64, I(1, 0), 2)), TN_ERR_RUN);
    assert_int_equal(TRY(pad, &((TnPadParams){0}), T(TN_F32, y, 4), x, T(TN_I64, I(1), 1)), TN_ERR_RUN);
}

static void triangles_and_blocks(void **state) {
    (void)state;
    float y[16];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6, 7, 8, 9), 3, 3);
    RUN(trilu, &((TnTriluParams){1}), T(TN_F32, y, 3, 3), x);
    SAME_F(y, 9, 1, 2, 3, 0, 5, 6, 0, 0, 9);
    RUN(trilu, &((TnTriluParams){0}), T(TN_F32, y, 3, 3), x, T0(TN_I64, I(-1)));
    SAME_F(y, 9, 0, 0, 0, 4, 0, 0, 7, 8, 0);
    RUN(trilu, &((TnTriluParams){1}), T(TN_F32, y, 3, 3), x, T0(TN_I64, I(INT64_MAX)));
    SAME_F(y, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    RUN(eye_like, &((TnEyeLikeParams){0, 1}), T(TN_F32, y, 2, 3), T(TN_F32, y, 2, 3));
    SAME_F(y, 6, 0, 1, 0, 0, 0, 1);
    const TnTensor d = T(TN_F32, F(0, 1, 2, 3, 4, 5, 6, 7), 1, 8, 1, 1);
    RUN(depth_to_space, &((TnSpaceDepthParams){2, 0}), T(TN_F32, y, 1, 2, 2, 2), d);
    SAME_F(y, 8, 0, 2, 4, 6, 1, 3, 5, 7);
    RUN(depth_to_space, &((TnSpaceDepthParams){2, 1}), T(TN_F32, y, 1, 2, 2, 2), d);
    SAME_F(y, 8, 0, 1, 2, 3, 4, 5, 6, 7);
    RUN(space_to_depth, &((TnSpaceDepthParams){2, 0}), T(TN_F32, y, 1, 8, 1, 1), T(TN_F32, F(0, 2, 4, 6, 1, 3, 5, 7), 1, 2, 2, 2));
    SAME_F(y, 8, 0, 1, 2, 3, 4, 5, 6, 7);
}

static void gathers(void **state) {
    (void)state;
    TnError err;
    float y[8];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4, 5, 6), 2, 3);
    RUN(gather, &((TnAxisParams){1, 0}), T(TN_F32, y, 2, 2), x, T(TN_I64, I(-1, 0), 2));
    SAME_F(y, 4, 3, 1, 6, 4);
    RUN(gather, &((TnAxisParams){0, 0}), T(TN_F32, y, 3), x, T0(TN_I32, LIST(int32_t, 1)));
    SAME_F(y, 3, 4, 5, 6);
    assert_int_equal(TRY(gather, &((TnAxisParams){1, 0}), T(TN_F32, y, 2, 1), x, T(TN_I64, I(3), 1)), TN_ERR_RUN);
    assert_true(strstr(err.message, "index 3") && strstr(err.message, "axis 1") && strstr(err.message, "size 3"));
    assert_int_equal(TRY(gather, &((TnAxisParams){0, 0}), T(TN_F32, y, 1, 3), x, T(TN_I64, I(INT64_MIN), 1)), TN_ERR_RUN);
    RUN(gather, &((TnAxisParams){0, 0}), T(TN_F32, NULL, 0, 3), T(TN_F32, NULL, 0, 3), T(TN_I64, NULL, 0));
    RUN(gather_elements, &((TnAxisParams){1, 0}), T(TN_F32, y, 2, 2), x, T(TN_I64, I(0, -1, 2, 1), 2, 2));
    SAME_F(y, 4, 1, 3, 6, 5);
    RUN(gather_elements, &((TnAxisParams){0, 0}), T(TN_F32, y, 1, 2), x, T(TN_I64, I(1, 0), 1, 2));
    SAME_F(y, 2, 4, 2);
    assert_int_equal(TRY(gather_elements, &((TnAxisParams){1, 0}), T(TN_F32, y, 1, 1), x, T(TN_I64, I(-4), 1, 1)), TN_ERR_RUN);
    RUN(gather_nd, &((TnGatherNdParams){0}), T(TN_F32, y, 2), x, T(TN_I64, I(0, 1, -1, -1), 2, 2));
    SAME_F(y, 2, 2, 6);
    RUN(gather_nd, &((TnGatherNdParams){1}), T(TN_F32, y, 2), x, T(TN_I64, I(1, 2), 2, 1));
    SAME_F(y, 2, 2, 6);
    assert_int_equal(TRY(gather_nd, &((TnGatherNdParams){0}), T(TN_F32, y, 1), x, T(TN_I64, I(2, 0), 1, 2)), TN_ERR_RUN);
    assert_non_null(strstr(err.message, "axis 0"));
}

static void scatters(void **state) {
    (void)state;
    TnError err;
    float y[6];
    const TnTensor x = T(TN_F32, F(1, 2, 3, 4), 4);
    TnScatterParams p = {0};
    RUN(scatter_nd, &p, T(TN_F32, y, 4), x, T(TN_I64, I(-1, 0), 2, 1), T(TN_F32, F(9, 8), 2));
    SAME_F(y, 4, 8, 2, 3, 9);
    p.reduction = TN_SCATTER_ADD;
    RUN(scatter_nd, &p, T(TN_F32, y, 4), x, T(TN_I64, I(1, 1), 2, 1), T(TN_F32, F(10, 100), 2));
    SAME_F(y, 4, 1, 112, 3, 4);
    p = (TnScatterParams){1, TN_SCATTER_MAX};
    RUN(scatter_elements, &p, T(TN_F32, y, 1, 4), T(TN_F32, F(1, 2, 3, 4), 1, 4), T(TN_I64, I(0, -2), 1, 2), T(TN_F32, F(NAN, 1), 1, 2));
    SAME_F(y, 4, NAN, 2, 3, 4);
    p.reduction = TN_SCATTER_MUL;
    int32_t i[2];
    RUN(scatter_elements, &((TnScatterParams){0, TN_SCATTER_MUL}), T(TN_I32, i, 2), T(TN_I32, LIST(int32_t, INT32_MAX, 3), 2),
        T(TN_I64, I(0, 1), 2), T(TN_I32, LIST(int32_t, 2, 5), 2));
    SAME_I(i, 2, -2, 15);
    assert_int_equal(TRY(scatter_nd, &p, T(TN_F32, y, 4), x, T(TN_I64, I(4), 1, 1), T(TN_F32, F(1), 1)), TN_ERR_RUN);
    assert_int_equal(TRY(scatter_elements, &((TnScatterParams){0}), T(TN_F32, y, 4), x, T(TN_I64, I(-5), 1), T(TN_F32, F(1), 1)),
                     TN_ERR_RUN);
    RUN(one_hot, &((TnAxisParams){-1, 0}), T(TN_F32, y, 2, 3), T(TN_I64, I(-1, 5), 2), T0(TN_I64, I(3)), T(TN_F32, F(0, 7), 2));
    SAME_F(y, 6, 0, 0, 7, 0, 0, 0);
    RUN(one_hot, &((TnAxisParams){0, 0}), T(TN_F32, y, 3, 2), T(TN_I64, I(0, 2), 2), T(TN_I64, I(3), 1), T(TN_F32, F(0, 7), 2));
    SAME_F(y, 6, 7, 0, 0, 0, 0, 7);
}

static void from_shapes(void **state) {
    (void)state;
    int64_t i[4];
    float y[4];
    const TnTensor x = T(TN_F32, NULL, 2, 0, 5);
    RUN(shape, &((TnShapeParams){0, INT32_MAX}), T(TN_I64, i, 3), x);
    SAME_I(i, 3, 2, 0, 5);
    RUN(shape, &((TnShapeParams){-2, INT32_MAX}), T(TN_I64, i, 2), x);
    SAME_I(i, 2, 0, 5);
    RUN(size, NULL, T0(TN_I64, i), x);
    SAME_I(i, 1, 0);
    TnFillParams f = {.dtype = TN_F32};
    memcpy(f.value, F(2.5f), 4);
    RUN(constant_of_shape, &f, T(TN_F32, y, 2, 2), T(TN_I64, I(2, 2), 2));
    SAME_F(y, 4, 2.5f, 2.5f, 2.5f, 2.5f);
    RUN(range, NULL, T(TN_F32, y, 3), T0(TN_F32, F(1)), T0(TN_F32, F(0)), T0(TN_F32, F(-0.5f)));
    SAME_F(y, 3, 1, 0.5f, 0);
    RUN(range, NULL, T(TN_I64, i, 4), T0(TN_I64, I(10)), T0(TN_I64, I(2)), T0(TN_I64, I(-2)));
    SAME_I(i, 4, 10, 8, 6, 4);
    const int64_t dims[3] = {7, 8, 9};
    TnDimsParams d = {.dtype = TN_I64, .rank = 1, .n = 2, .dim = {2, 0}};
    TnTensor out = T(TN_I64, i, 2);
    TnKernelCall c = {.params = &d, .out = &out, .n_out = 1, .dim_values = dims};
    assert_int_equal(tni_kernel_ref(TN_OP_dims)->run(&c), TN_OK);
    SAME_I(i, 2, 9, 7);
}

static void registry(void **state) {
    (void)state;
    uint32_t n = 0;
    const TnKernel *k = tni_kernels(&n);
    assert_true(n > 50);
    for (uint32_t i = 0; i < n; i++) {
        assert_ptr_equal(tni_kernel_find(k[i].name), &k[i]); /* names are unique */
        assert_non_null(k[i].run);
        assert_true((k[i].packing != NULL) == (k[i].packed_bytes != NULL) && (k[i].packing != NULL) == (k[i].pack != NULL));
    }
    for (uint32_t op = 0; op < TN_OP_COUNT; op++) {
        const TnKernel *ref = tni_kernel_ref((TnOp)op);
        if ((tni_op_info((TnOp)op)->flags & TN_OPF_CONTROL) != 0) {
            assert_null(ref);
            continue;
        }
        char name[64];
        snprintf(name, sizeof name, "ref_%s", tni_op_info((TnOp)op)->name);
        assert_ptr_equal(ref, tni_kernel_find(name));
        assert_true(ref->op == (TnOp)op && ref->cpu == 0);
    }
    assert_null(tni_kernel_find("ref_nothing"));
    assert_null(tni_kernel_find(NULL));
    assert_true(tni_kernel_identity() != 0 && tni_kernel_identity() == tni_kernel_identity());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout),  cmocka_unit_test(slice),    cmocka_unit_test(pad),         cmocka_unit_test(triangles_and_blocks),
        cmocka_unit_test(gathers), cmocka_unit_test(scatters), cmocka_unit_test(from_shapes), cmocka_unit_test(registry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
