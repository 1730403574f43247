/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator and function tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ir/graph.h"

static void test_ops(void **state) {
    (void)state;
    for (uint32_t i = 0; i < TN_OP_COUNT; i++) {
        const TnOpInfo *info = tni_op_info((TnOp)i);
        TnOp op = TN_OP_COUNT;
        assert_non_null(info->name);
        assert_true(tni_op_find(info->name, &op));
        assert_int_equal(op, i);
        assert_true(info->params_size >= 4);
        assert_true(info->flags != 0);
    }
    TnOp op;
    assert_false(tni_op_find("no such operator", &op));
    assert_string_equal(tni_op_info(TN_OP_layer_norm)->name, "layer_norm");
    assert_int_equal(tni_op_info(TN_OP_conv)->params_size, sizeof(TnConvParams));
}

static void test_functions(void **state) {
    (void)state;
    assert_string_equal(tni_unary_name(TN_UNARY_gelu), "gelu");
    assert_string_equal(tni_binary_name(TN_BINARY_and_), "and_");
    assert_string_equal(tni_reduce_name(TN_REDUCE_log_sum_exp), "log_sum_exp");
    assert_string_equal(tni_act_name(TN_ACT_HARD_SWISH), "hard_swish");
    assert_null(tni_unary_name(TN_UNARY_COUNT));
    assert_null(tni_binary_name(TN_BINARY_COUNT));
    assert_null(tni_reduce_name(TN_REDUCE_COUNT));
    assert_null(tni_act_name(TN_ACT_COUNT));
    for (uint32_t i = 0; i < TN_ACT_COUNT; i++)
        assert_non_null(tni_act_name(i));
}

static void test_params_text(void **state) {
    (void)state;
    char buf[512], tiny[8];
    TnNormParams norm = {.epsilon = 1e-5f, .axis = 2};
    assert_string_equal(tni_ir_params_str(TN_OP_layer_norm, &norm, buf, sizeof buf), "epsilon=9.99999975e-06 axis=2");
    TnConvParams conv = {.n_spatial = 2, .group = 1, .kernel = {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pads = {1, 1, 1, 1}};
    assert_string_equal(tni_ir_params_str(TN_OP_conv, &conv, buf, sizeof buf),
                        "group=1 kernel=[3,3] stride=[2,2] dilation=[1,1] pads=[1,1,1,1,0,0]");
    TnBinaryParams add = {.fn = TN_BINARY_add};
    assert_string_equal(tni_ir_params_str(TN_OP_binary, &add, buf, sizeof buf), "fn=add");
    TnTransposeParams tr = {.n = 3, .perm = {0, 2, 1}};
    assert_string_equal(tni_ir_params_str(TN_OP_transpose, &tr, buf, sizeof buf), "perm=[0,2,1]");
    TnEinsumParams es = {.equation = "ij,jk->ik"};
    assert_string_equal(tni_ir_params_str(TN_OP_einsum, &es, buf, sizeof buf), "equation=ij,jk->ik");
    tni_ir_params_str(TN_OP_conv, &conv, tiny, sizeof tiny);
    assert_true(tiny[7] == '\0');
    for (uint32_t i = 0; i < TN_OP_COUNT; i++) { /* every byte pattern has a text */
        uint32_t garbage[256];
        for (uint32_t k = 0; k < 256; k++)
            garbage[k] = 0xFFFFFFF0u + k * 7919u;
        memset((char *)garbage + 100, 'x', 28);
        tni_ir_params_str((TnOp)i, garbage, buf, sizeof buf);
        assert_true(memchr(buf, '\0', sizeof buf) != NULL);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ops),
        cmocka_unit_test(test_functions),
        cmocka_unit_test(test_params_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
