/* SPDX-License-Identifier: Apache-2.0
 *
 * Modules made by hand, planned, run and compared with the interpreter. */
#include "runtime/plan_harness.h"

/* y = softmax(layer_norm(relu(x W1 + b1) W2 + x)), x [batch, 16] */
static IrModule *make_mlp(void) {
    TnError err = {0};
    IrModule *m;
    IrGraphId id;
    OK(tni_ir_module_create(NULL, &m, &err));
    OK(tni_ir_graph_add(m, "main", &id, &err));
    IrGraph *g = m->graphs[id];
    TnDim dims[2] = {tni_ir_dim_symbol(m, "batch"), tni_ir_dim_const(m, 16)};
    IrValueId x = add_input(m, g, "x", TN_F32, 2, dims);
    IrValueId w1 = add_weights(m, g, "w1", 2, (int64_t[]){16, 48}, 1, 0.3f), b1 = add_weights(m, g, "b1", 1, (int64_t[]){48}, 2, 1);
    IrValueId w2 = add_weights(m, g, "w2", 2, (int64_t[]){48, 16}, 3, 0.3f);
    IrValueId s = add_weights(m, g, "s", 1, (int64_t[]){16}, 4, 1), b = add_weights(m, g, "b", 1, (int64_t[]){16}, 5, 1);
    TnGemmParams gp = {.alpha = 1, .beta = 1};
    IrValueId h = NODE(TN_OP_gemm, "fc1", &gp, x, w1, b1);
    h = NODE(TN_OP_unary, "relu", &(TnUnaryParams){.fn = TN_UNARY_relu}, h);
    h = NODE(TN_OP_gemm, "fc2", &gp, h, w2);
    h = NODE(TN_OP_binary, "res", &(TnBinaryParams){.fn = TN_BINARY_add}, h, x);
    h = NODE(TN_OP_layer_norm, "ln", &((TnNormParams){.epsilon = 1e-5f, .axis = -1}), h, s, b);
    h = NODE(TN_OP_softmax, "y", &((TnSoftmaxParams){.axis = -1, .scale = 1}), h);
    OK(tni_ir_output_add(m, g, h, &err));
    return m;
}

static void test_mlp(void **state) {
    (void)state;
    TnError err = {0};
    Built b;
    TnPlan *plan;
    TnContext *ctx;
    OK(build_module(make_mlp(), NULL, false, false, &b, &err));
    OK(open_bytes(b.bytes, b.n, NULL, &plan, &err));
    OK(tni_rt_context_create(plan, 2, tni_default_allocator(), &ctx, &err));
    for (int64_t batch = 1; batch < 40; batch += 7) {
        TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){batch, 16}, (uint32_t)batch);
        run_and_compare(b.m, ctx, &x, 1e-5);
        free(x.data);
    }
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&plan);
    built_free(&b, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mlp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
