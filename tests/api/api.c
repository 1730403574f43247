/* SPDX-License-Identifier: Apache-2.0
 *
 * The public functions as a user meets them: a model becomes a file, the file runs, mistakes get a status and a sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tenon/build.h"
#include "tenon/runtime.h"

#define MODEL TN_SOURCE_DIR "/tests/fixtures/trocr_encoder_ts17_dynamic/model.onnx"
#define OK(expr)                                                                                                                           \
    do {                                                                                                                                   \
        TnStatus ok_st = (expr);                                                                                                           \
        if (ok_st != TN_OK)                                                                                                                \
            fail_msg("%s: %s: %s", #expr, tn_status_name(ok_st), err.message);                                                             \
    } while (0)
#define FAILS(status, text, expr)                                                                                                          \
    do {                                                                                                                                   \
        TnError err = {0};                                                                                                                 \
        TnStatus fails_st = (expr);                                                                                                        \
        if (fails_st != (status) || err.code != (status) || strstr(err.message, (text)) == NULL)                                           \
            fail_msg("%s: %s: %s", #expr, tn_status_name(fails_st), err.message);                                                          \
    } while (0)

static char plan_path[64];

static int build_once(void **state) {
    (void)state;
    TnError err = {0};
    TnBuildOptions o = tn_build_options_default();
    snprintf(plan_path, sizeof plan_path, "/tmp/tenon-api-%ld.plan", (long)getpid());
    o.shapes = "batch=1:2:4";
    o.threads = 1;
    if (tn_build_file(MODEL, plan_path, &o, &err) == TN_OK)
        return 0;
    print_error("%s\n", err.message);
    return 1;
}

static int remove_once(void **state) {
    (void)state;
    return remove(plan_path);
}

static void a_plan_runs(void **state) {
    (void)state;
    TnError err = {0};
    TnPlan *plan;
    TnContext *ctx;
    TnIoInfo info;
    uint32_t index;
    OK(tn_plan_open(plan_path, NULL, &plan, &err));
    assert_int_equal(tn_plan_input_count(plan), 1);
    OK(tn_plan_input(plan, 0, &info, &err));
    assert_int_equal(info.dtype, TN_F32);
    assert_int_equal(info.dims[0], -1);
    assert_string_equal(info.dim_names[0], "batch");
    assert_true(info.min[0] == 1 && info.opt[0] == 2 && info.max[0] == 4);
    OK(tn_plan_input_index(plan, info.name, &index, &err));
    assert_int_equal(index, 0);
    assert_false(tn_plan_is_generator(plan));
    assert_null(tn_plan_meta(plan, "vocab.json", NULL));
    OK(tn_context_create(plan, NULL, &ctx, &err));
    TnTensor x = {.dtype = TN_F32, .rank = info.rank}, y;
    for (int32_t d = 0; d < info.rank; d++)
        x.dims[d] = info.opt[d];
    x.data = calloc(1, tn_tensor_bytes(&x));
    OK(tn_context_set_input(ctx, 0, &x, &err));
    OK(tn_context_run(ctx, &err));
    OK(tn_context_output(ctx, 0, &y, &err));
    assert_int_equal(y.dims[0], 2);
    assert_true(tn_context_bytes(ctx) > 0);
    float *own = malloc(tn_tensor_bytes(&y));
    float *want = malloc(tn_tensor_bytes(&y));
    memcpy(want, y.data, tn_tensor_bytes(&y));
    TnTensor buffer = {.data = own, .dtype = TN_F32};
    OK(tn_context_set_output(ctx, 0, &buffer, tn_tensor_bytes(&y), &err));
    OK(tn_context_run(ctx, &err));
    assert_memory_equal(own, want, tn_tensor_bytes(&y));
    OK(tn_context_output(ctx, 0, &y, &err));
    assert_ptr_equal(y.data, own);
    free(own);
    free(want);
    free(x.data);
    tn_context_destroy(&ctx);
    assert_null(ctx);
    tn_plan_close(&plan);
    assert_null(plan);
    tn_plan_close(&plan);
    tn_context_destroy(&ctx);
}

static void mistakes_at_run_are_explained(void **state) {
    (void)state;
    TnError err = {0};
    TnPlan *plan, *none;
    TnContext *ctx;
    TnIoInfo info;
    TnTensor x, y;
    TnGenerated g;
    uint32_t index;
    OK(tn_plan_open(plan_path, NULL, &plan, &err));
    OK(tn_context_create(plan, NULL, &ctx, &err));
    OK(tn_plan_input(plan, 0, &info, &err));
    x = (TnTensor){.dtype = TN_F32, .rank = info.rank};
    for (int32_t d = 0; d < info.rank; d++)
        x.dims[d] = info.opt[d];
    x.data = calloc(1, tn_tensor_bytes(&x) * 5 + 8);
    FAILS(TN_ERR_IO, "/nowhere", tn_plan_open("/nowhere", NULL, &none, &err));
    FAILS(TN_ERR_PLAN, MODEL, tn_plan_open(MODEL, NULL, &none, &err));
    assert_null(none);
    FAILS(TN_ERR_ARGUMENT, "path", tn_plan_open(NULL, NULL, &none, &err));
    FAILS(TN_ERR_ARGUMENT, "out", tn_plan_open("x", NULL, NULL, &err));
    static const uint64_t junk[2] = {1, 2};
    FAILS(TN_ERR_PLAN, "not a plan", tn_plan_open_memory(junk, sizeof junk, NULL, &none, &err));
    FAILS(TN_ERR_ARGUMENT, "aligned", tn_plan_open_memory((const char *)junk + 1, 8, NULL, &none, &err));
    FAILS(TN_ERR_NAME, info.name, tn_plan_input_index(plan, "no such input", &index, &err));
    FAILS(TN_ERR_NAME, "there are:", tn_plan_output_index(plan, "no such output", &index, &err));
    FAILS(TN_ERR_ARGUMENT, "input 7 of 1", tn_plan_input(plan, 7, &info, &err));
    FAILS(TN_ERR_STATE, "has not been set", tn_context_run(ctx, &err));
    FAILS(TN_ERR_STATE, "no output", tn_context_output(ctx, 0, &y, &err));
    FAILS(TN_ERR_ARGUMENT, "input 1 of 1", tn_context_set_input(ctx, 1, &x, &err));
    TnTensor bad = x;
    bad.dtype = TN_I64;
    FAILS(TN_ERR_TYPE, "int64", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.rank = 2;
    FAILS(TN_ERR_SHAPE, "rank 2", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.dims[1] = 77;
    FAILS(TN_ERR_SHAPE, "dim 1 is 77", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.dims[0] = -1;
    FAILS(TN_ERR_SHAPE, "no tensor has", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.dims[0] = INT64_MAX / 2;
    FAILS(TN_ERR_SHAPE, "no tensor has", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.data = NULL;
    FAILS(TN_ERR_ARGUMENT, "no data", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.data = (char *)x.data + 1;
    FAILS(TN_ERR_ARGUMENT, "aligned", tn_context_set_input(ctx, 0, &bad, &err));
    bad = x;
    bad.dims[0] = 5;
    OK(tn_context_set_input(ctx, 0, &bad, &err));
    FAILS(TN_ERR_SHAPE, "(batch) is 5; this plan was built for 1..4; rebuild with --shapes batch=1:2:5", tn_context_run(ctx, &err));
    OK(tn_context_set_input(ctx, 0, &x, &err));
    OK(tn_context_run(ctx, &err));
    OK(tn_context_output(ctx, 0, &y, &err));
    FAILS(TN_ERR_REQUEST, "no generator", tn_context_generate(ctx, &x, 1, NULL, &g, 1, &err));
    TnContextOptions co = tn_context_options_default();
    TnContext *other;
    co.threads = 5000;
    FAILS(TN_ERR_ARGUMENT, "threads", tn_context_create(plan, &co, &other, &err));
    co.threads = 1;
    co.size = 0;
    FAILS(TN_ERR_ARGUMENT, "size", tn_context_create(plan, &co, &other, &err));
    free(x.data);
    tn_context_destroy(&ctx);
    tn_plan_close(&plan);
}

static void mistakes_at_build_leave_nothing_behind(void **state) {
    (void)state;
    char path[] = "/tmp/tenon-api-bad.plan";
    TnBuildOptions o;
#define BAD_OPTION(status, text, field, value)                                                                                             \
    do {                                                                                                                                   \
        o = tn_build_options_default();                                                                                                    \
        o.field = value;                                                                                                                   \
        FAILS(status, text, tn_build_file(MODEL, path, &o, &err));                                                                         \
        assert_int_equal(access(path, F_OK), -1);                                                                                          \
    } while (0)
    BAD_OPTION(TN_ERR_ARGUMENT, "cpu", cpu, "pentium");
    BAD_OPTION(TN_ERR_NAME, "batch", shapes, "bitch=1:2:3");
    BAD_OPTION(TN_ERR_NAME, "there is no pass", stop_after, "no_such_pass");
    BAD_OPTION(TN_ERR_ARGUMENT, "threads", threads, 100000);
    BAD_OPTION(TN_ERR_ARGUMENT, "tune is 7", tune, 7);
    BAD_OPTION(TN_ERR_ARGUMENT, "reference is -1", reference, -1);
    BAD_OPTION(TN_ERR_ARGUMENT, "timing cache", timing_cache, "x");
    BAD_OPTION(TN_ERR_ARGUMENT, "n_samples", n_samples, 1);
    o = tn_build_options_default();
    FAILS(TN_ERR_IO, "nowhere", tn_build_file("/nowhere.onnx", path, &o, &err));
    FAILS(TN_ERR_IO, "/nowhere", tn_build_file(MODEL, "/nowhere/x.plan", &o, &err));
    FAILS(TN_ERR_PARSE, "", tn_build_file(plan_path, path, &o, &err));
    FAILS(TN_ERR_ARGUMENT, "model", tn_build_file(NULL, path, &o, &err));
    assert_int_equal(access(path, F_OK), -1);
}

static void samples_are_checked(void **state) {
    (void)state;
    TnBuildOptions o = tn_build_options_default();
    const char *names[1] = {"nonsense"};
    float x[4] = {0};
    TnTensor t = {.data = x, .dtype = TN_F32, .rank = 1, .dims = {4}};
    void *plan;
    size_t n;
    o.samples = &t;
    o.sample_names = names;
    o.n_samples = 1;
    FAILS(TN_ERR_NAME, "lack input", tn_build_memory(MODEL, &o, &plan, &n, &err));
    assert_null(plan);
    names[0] = "pixel_values";
    FAILS(TN_ERR_SHAPE, "sample for input 'pixel_values'", tn_build_memory(MODEL, &o, &plan, &n, &err));
}

static void count(void *ctx, const char *text, size_t n) {
    (void)text;
    *(size_t *)ctx += n;
}

static void plans_and_models_can_be_looked_at(void **state) {
    (void)state;
    TnError err = {0};
    TnPlan *plan;
    size_t n[6] = {0};
    OK(tn_plan_open(plan_path, NULL, &plan, &err));
    tn_plan_dump(plan, 0, count, &n[0]);
    tn_plan_dump(plan, 1, count, &n[1]);
    tn_plan_explain(plan, 0, count, &n[2]);
    tn_plan_explain(plan, 1, count, &n[3]);
    OK(tn_inspect_model(MODEL, NULL, "import", count, &n[4], &err));
    OK(tn_inspect_model(MODEL, NULL, NULL, count, &n[5], &err));
    for (int i = 0; i < 6; i++)
        assert_true(n[i] > 1000);
    tn_plan_close(&plan);
}

static void old_and_new_callers_are_understood(void **state) {
    (void)state;
    TnError err = {0};
    TnPlan *plan;
    struct {
        TnPlanOptions o;
        uint64_t later[2];
    } newer = {{0}, {0}};
    newer.o = tn_plan_options_default();
    newer.o.size = sizeof newer;
    OK(tn_plan_open(plan_path, &newer.o, &plan, &err)); /* fields from the future at their defaults */
    tn_plan_close(&plan);
    newer.later[1] = 1;
    FAILS(TN_ERR_ARGUMENT, "does not know", tn_plan_open(plan_path, &newer.o, &plan, &err));
    TnPlanOptions old = tn_plan_options_default();
    old.size = sizeof old.size; /* a caller that knows no field but the size */
    old.verify_weights = 99;
    OK(tn_plan_open(plan_path, &old, &plan, &err));
    tn_plan_close(&plan);
}

static void the_example_runs(void **state) {
    (void)state;
    char command[300], line[300] = "";
    snprintf(command, sizeof command, "%s %s", TN_RUN_PLAN, plan_path);
    FILE *f = popen(command, "r");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_int_equal(pclose(f), 0);
    assert_non_null(strstr(line, "float32 [2,"));
    snprintf(command, sizeof command, "%s /nowhere 2>/dev/null", TN_RUN_PLAN);
    f = popen(command, "r");
    assert_non_null(f);
    assert_int_not_equal(pclose(f), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_runs),
        cmocka_unit_test(mistakes_at_run_are_explained),
        cmocka_unit_test(mistakes_at_build_leave_nothing_behind),
        cmocka_unit_test(samples_are_checked),
        cmocka_unit_test(plans_and_models_can_be_looked_at),
        cmocka_unit_test(old_and_new_callers_are_understood),
        cmocka_unit_test(the_example_runs),
    };
    return cmocka_run_group_tests(tests, build_once, remove_once);
}
