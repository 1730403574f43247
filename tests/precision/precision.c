/* SPDX-License-Identifier: Apache-2.0
 *
 * Narrow floats: what becomes narrow, what stays wide and is said to, constants, borders, states; and that the numbers are right. */
#include "planner/on_device.h"

/* ---- graphs ---- */

/* Products of thousands go through a layer_norm into numbers near one. */
static IrModule *make_overflow(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "batch"), num(&k, 16));
    IrValueId h = NODE(&k, gemm, "large", GEMM, x, WEIGHTS(&k, 30000, 16, 32));
    h = NODE(&k, layer_norm, "norm", &((TnNormParams){.epsilon = 1e-5f, .axis = -1}), h, WEIGHTS(&k, 1, 32), WEIGHTS(&k, 1, 32));
    h = NODE(&k, gemm, "small", GEMM, h, WEIGHTS(&k, 0.3f, 32, 8));
    output(&k, h);
    return finish(&k);
}

/* softmax(x W + (mask ? 0 : -3.4e38)). */
static IrModule *make_mask(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "batch"), num(&k, 16));
    IrValueId mask = INPUT(&k, "mask", TN_BOOL, sym(&k, "batch"), num(&k, 16));
    IrValueId zero, least;
    try_(&k, tni_ir_const_copy(k.m, k.g, "zero", TN_F32, 0, NULL, (float[]){0}, &zero, &k.err));
    try_(&k, tni_ir_const_copy(k.m, k.g, "least", TN_F32, 0, NULL, (float[]){-3.4028235e38f}, &least, &k.err));
    IrValueId fill = NODE(&k, where, "fill", NULL, mask, zero, least);
    IrValueId h = NODE(&k, gemm, "scores", GEMM, x, WEIGHTS(&k, 0.3f, 16, 16));
    h = NODE(&k, binary, "masked", ADD, h, fill);
    h = NODE(&k, softmax, "y", &((TnSoftmaxParams){.axis = -1, .scale = 1}), h);
    output(&k, h);
    return finish(&k);
}

/* table[floor(|x| * 700)], W: a bucket that float16 would miss. */
static IrModule *make_bucket(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "n"));
    IrValueId h = NODE(&k, unary, "abs", &(TnUnaryParams){.fn = TN_UNARY_abs}, x), scale;
    try_(&k, tni_ir_const_copy(k.m, k.g, "scale", TN_F32, 0, NULL, (float[]){700}, &scale, &k.err));
    h = NODE(&k, binary, "scaled", MUL, h, scale);
    h = NODE(&k, unary, "floor", &(TnUnaryParams){.fn = TN_UNARY_floor}, h);
    h = NODE(&k, cast, "index", &((TnCastParams){.to = TN_I64, .saturate = 1}), h);
    h = NODE(&k, gather, "row", &((TnAxisParams){.axis = 0}), WEIGHTS(&k, 1, 701, 8), h);
    h = NODE(&k, gemm, "y", GEMM, h, WEIGHTS(&k, 0.3f, 8, 8));
    output(&k, h);
    return finish(&k);
}

/* ---- what stays wide ---- */

static void plan_it(OnDevice *d, IrModule *m, TnDtype type) {
    TnError err = {0};
    on_device_start(d, type);
    OK(on_device_make(d, m, &err));
}

static void steps_that_overflow_stay_wide(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_overflow(NULL), TN_F16);
    assert_non_null(strstr(wide_reason(&d, "large"), "on the samples"));
    assert_non_null(wide_reason(&d, "norm"));
    assert_null(wide_reason(&d, "small"));
    assert_int_equal(result_type(&d.p, find_step(&d.p, "large", "gemm")), TN_F32);
    assert_int_equal(result_type(&d.p, find_step(&d.p, "small", "gemm")), TN_F16);
    assert_int_equal(d.report.n_saturated, 0);
    char *text = calloc(d.p.explain_bytes + 1, 1);
    memcpy(text, d.p.explain, d.p.explain_bytes);
    assert_non_null(strstr(text, "float32: "));
    free(text);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){3, 16}, 4);
    on_device_run(&d, make_overflow(NULL), &x, 2e-2);
    free(x.data);
    on_device_free(&d);
    plan_it(&d, make_overflow(NULL), TN_BF16); /* whose range is that of float32 */
    assert_null(wide_reason(&d, "large"));
    on_device_free(&d);
}

static void fill_values_stay_wide(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        OnDevice d;
        plan_it(&d, make_mask(NULL), i ? TN_BF16 : TN_F16);
        assert_non_null(strstr(wide_reason(&d, "fill"), "constant 'least'"));
        assert_int_equal(result_type(&d.p, find_step(&d.p, "scores", "gemm")), d.type);
        TnTensor in[2] = {make_tensor(TN_F32, 2, (int64_t[]){3, 16}, 4), make_tensor(TN_BOOL, 2, (int64_t[]){3, 16}, 5)};
        on_device_run(&d, make_mask(NULL), in, 2e-2);
        free(in[0].data);
        free(in[1].data);
        on_device_free(&d);
    }
}

static void indices_are_exact(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_bucket(NULL), TN_F16);
    assert_non_null(strstr(wide_reason(&d, "scaled"), "integers"));
    assert_non_null(strstr(wide_reason(&d, "floor"), "integers"));
    assert_int_equal(result_type(&d.p, find_step(&d.p, "scaled", "binary")), TN_F32);
    assert_int_equal(result_type(&d.p, find_step(&d.p, "y", "gemm")), TN_F16);
    TnTensor x = make_tensor(TN_F32, 1, (int64_t[]){500}, 4);
    on_device_run(&d, make_bucket(NULL), &x, 1e-2); /* another row would be far away */
    free(x.data);
    on_device_free(&d);
}

/* ---- borders ---- */

static void inputs_and_outputs_keep_their_types(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_mlp(NULL), TN_F16);
    const PlanProgram *g = &d.p.programs[0];
    const PlanValue *in = &d.p.values[d.p.operands[g->first_input]], *out = &d.p.values[d.p.operands[g->first_output]];
    assert_string_equal(d.p.strings + in->name, "x");
    assert_string_equal(d.p.strings + out->name, "y");
    assert_int_equal(in->dtype, TN_F32);
    assert_int_equal(out->dtype, TN_F32);
    assert_int_equal(d.report.n_narrow, d.report.n_steps);
    assert_int_equal(d.report.n_casts, 2);
    assert_int_equal(count_steps(&d.p, "cast"), 2);
    uint64_t weights = 0;
    for (uint32_t i = 0; i < d.p.n_values; i++)
        weights += d.p.values[i].place == PLAN_AT_WEIGHT && d.p.values[i].dtype == TN_F32;
    assert_int_equal(weights, 0);
    TnTensor x = make_tensor(TN_F32, 2, (int64_t[]){5, 16}, 4);
    on_device_run(&d, make_mlp(NULL), &x, 1e-2);
    free(x.data);
    on_device_free(&d);
}

/* A picture that arrives with channels first: the cast and the transpose in front of a convolution are one step. */
static IrModule *make_picture(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "batch"), num(&k, 3), num(&k, 8), num(&k, 8));
    IrValueId h = NODE(&k, transpose, "last", &((TnTransposeParams){.n = 4, .perm = {0, 2, 3, 1}}), x);
    const TnConvParams p = {.n_spatial = 2, .group = 1, .kernel = {4, 4}, .stride = {4, 4}, .dilation = {1, 1}, .channels_last = 1};
    h = NODE(&k, conv, "patches", &p, h, WEIGHTS(&k, 0.3f, 8, 3, 4, 4));
    output(&k, h);
    return finish(&k);
}

static void pictures_turn_as_they_become_narrow(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_picture(NULL), TN_F16);
    assert_int_equal(count_steps(&d.p, "cast_transpose"), 1);
    assert_int_equal(count_steps(&d.p, "transpose"), 0);
    assert_int_equal(count_steps(&d.p, "cast"), 1); /* of the result */
    TnTensor x = make_tensor(TN_F32, 4, (int64_t[]){5, 3, 8, 8}, 4);
    on_device_run(&d, make_picture(NULL), &x, 1e-2);
    free(x.data);
    on_device_free(&d);
}

static void every_graph_runs_narrow(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_vision(NULL), TN_F16);
    TnTensor v[2] = {make_tensor(TN_F32, 4, (int64_t[]){2, 3, 16, 16}, 1), make_tensor(TN_I64, 2, (int64_t[]){2, 16}, 2)};
    on_device_run(&d, make_vision(NULL), v, 2e-2);
    free(v[0].data);
    free(v[1].data);
    on_device_free(&d);
    plan_it(&d, make_control(NULL), TN_F16);
    for (int64_t trips = 0; trips < 3; trips++) {
        uint8_t flag = trips & 1;
        TnTensor in[3] = {
            make_tensor(TN_F32, 2, (int64_t[]){2 + trips, 4}, 5), {.data = &flag, .dtype = TN_BOOL}, {.data = &trips, .dtype = TN_I64}};
        on_device_run(&d, make_control(NULL), in, 2e-2);
        free(in[0].data);
    }
    on_device_free(&d);
    plan_it(&d, make_dynamic(NULL), TN_F16);
    on_device_free(&d);
}

static void states_become_narrow(void **state) {
    (void)state;
    OnDevice d;
    plan_it(&d, make_generator(NULL), TN_F16);
    assert_true(d.p.n_states > 0);
    for (uint32_t i = 0; i < d.p.n_states; i++)
        assert_int_equal(d.p.states[i].dtype, TN_F16);
    for (uint32_t i = 0; i < d.p.n_values; i++)
        if (d.p.values[i].place == PLAN_AT_STATE)
            assert_int_equal(d.p.values[i].device, TN_DEVICE_CUDA);
    TnError err = {0};
    TnPlan *plan;
    TnContext *ctx;
    TnGenerated g[4], want[4];
    Built cpu;
    TnGenerateOptions o = {.size = sizeof o, .num_beams = 1, .length_penalty = NAN, .early_stopping = -1};
    TnTensor x = make_tensor(TN_F32, 3, (int64_t[]){4, 5, 16}, 11);
    OK(open_bytes(d.b.bytes, d.b.n, NULL, &plan, &err));
    OK(tni_rt_context_create(plan, 2, tni_default_allocator(), &ctx, &err));
    OK(tni_rt_generate(ctx, &x, 1, &o, g, 4, &err));
    TnPlan *cpu_plan;
    TnContext *cpu_ctx;
    OK(build_module(make_generator(NULL), NULL, false, false, &cpu, &err));
    OK(open_bytes(cpu.bytes, cpu.n, NULL, &cpu_plan, &err));
    OK(tni_rt_context_create(cpu_plan, 2, tni_default_allocator(), &cpu_ctx, &err));
    OK(tni_rt_generate(cpu_ctx, &x, 1, &o, want, 4, &err));
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(g[i].n, want[i].n);
        assert_memory_equal(g[i].tokens, want[i].tokens, g[i].n * sizeof *g[i].tokens);
        assert_true(fabsf(g[i].score - want[i].score) < 0.02f * (1 + fabsf(want[i].score)));
    }
    tni_rt_context_destroy(&cpu_ctx);
    tni_rt_close(&cpu_plan);
    built_free(&cpu, NULL);
    tni_rt_context_destroy(&ctx);
    tni_rt_close(&plan);
    free(x.data);
    on_device_free(&d);
}

/* ---- constants ---- */

static void limits_are_those_of_the_types(void **state) {
    (void)state;
    assert_true(tni_precision_limit(TN_F16) == 65504.0);
    assert_true(tni_bf16_to_f32(0x7f7f) == (float)tni_precision_limit(TN_BF16));
    float x[5] = {1, -7, INFINITY, NAN, 3};
    assert_true(tni_precision_largest(x, 5, NULL) == 7);
    assert_true(tni_precision_largest(x, 0, NULL) == 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_that_overflow_stay_wide), cmocka_unit_test(fill_values_stay_wide),
        cmocka_unit_test(indices_are_exact),             cmocka_unit_test(inputs_and_outputs_keep_their_types),
        cmocka_unit_test(every_graph_runs_narrow),       cmocka_unit_test(states_become_narrow),
        cmocka_unit_test(limits_are_those_of_the_types), cmocka_unit_test(pictures_turn_as_they_become_narrow),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
