/* SPDX-License-Identifier: Apache-2.0
 *
 * Builds for a device through the public functions: every exported model of tests/fixtures in float32 and float16 on the fake device, against what
 * PyTorch computed; requests that cannot be met. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pipelines/npz.h"
#include "runtime/fake_device.h"
#include "support/compare.h"
#include "tenon/build.h"
#include "tenon/runtime.h"

static FakeDevice *fake;

static int start_fake(void **state) {
    (void)state;
    setenv("TENON_CUDA_LIBRARY", FAKE_DEVICE, 1);
    void *handle = dlopen(FAKE_DEVICE, RTLD_NOW | RTLD_LOCAL);
    FakeDeviceFn fn;
    void *p = handle ? dlsym(handle, "fake_device") : NULL;
    if (!p)
        return -1;
    memcpy(&fn, &p, sizeof fn);
    fake = fn();
    return 0;
}

/* ---- fixtures ---- */

/* Number of outputs that differ. */
static int run_case(TnPlan *plan, const char *folder, int k, double tol) {
    char path[1024], why[512];
    TnNpz in = {0}, want = {0};
    TnError err = {0};
    TnContext *ctx = NULL;
    int bad = 0;
    snprintf(path, sizeof path, "%s/inputs.%d.npz", folder, k);
    assert_int_equal(tn_npz_read(path, NULL, &in, &err), TN_OK);
    snprintf(path, sizeof path, "%s/outputs.%d.npz", folder, k);
    assert_int_equal(tn_npz_read(path, NULL, &want, &err), TN_OK);
    TnStatus st = tn_context_create(plan, NULL, &ctx, &err);
    for (uint32_t i = 0; st == TN_OK && i < tn_plan_input_count(plan); i++) {
        TnIoInfo info;
        assert_int_equal(tn_plan_input(plan, i, &info, &err), TN_OK);
        const TnTensor *t = tn_npz_find(&in, info.name);
        assert_non_null(t);
        st = tn_context_set_input(ctx, i, t, &err);
    }
    if (st == TN_OK)
        st = tn_context_run(ctx, &err);
    for (uint32_t i = 0; st == TN_OK && i < tn_plan_output_count(plan); i++) {
        TnIoInfo info;
        TnTensor got;
        assert_int_equal(tn_plan_output(plan, i, &info, &err), TN_OK);
        const TnTensor *t = tn_npz_find(&want, info.name);
        assert_non_null(t);
        st = tn_context_output(ctx, i, &got, &err);
        if (st == TN_OK && !test_close(&got, t, tol, why, sizeof why)) {
            print_error("%s, run %d, output '%s': %s\n", folder, k, info.name, why);
            bad++;
        }
    }
    if (st != TN_OK) {
        print_error("%s, run %d: %s\n", folder, k, err.message);
        bad++;
    }
    tn_context_destroy(&ctx);
    tn_npz_free(NULL, &in);
    tn_npz_free(NULL, &want);
    return bad;
}

static int run_folder(const char *folder, const char *precision, double tol, int *runs) {
    char path[1024];
    TnError err = {0};
    TnPlan *plan = NULL;
    void *bytes = NULL;
    size_t n;
    int bad = 0;
    TnBuildOptions o = tn_build_options_default();
    o.device = "cuda";
    o.precision = precision;
    o.threads = 2;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (access(path, R_OK) != 0)
        return 0;
    if (tn_build_memory(path, &o, &bytes, &n, &err) != TN_OK || tn_plan_open_memory(bytes, n, NULL, &plan, &err) != TN_OK) {
        print_error("%s, %s: %s\n", folder, precision, err.message);
        bad++;
    }
    for (int k = 0; bad == 0; k++) {
        snprintf(path, sizeof path, "%s/inputs.%d.npz", folder, k);
        if (access(path, R_OK) != 0)
            break;
        bad += run_case(plan, folder, k, tol);
        ++*runs;
    }
    tn_plan_close(&plan);
    tn_build_free(&o, bytes);
    return bad;
}

static void run_fixtures(const char *precision, double tol) {
    DIR *dir = opendir(TN_SOURCE_DIR "/tests/fixtures");
    const char *only = getenv("TENON_FIXTURE"); /* one case by hand */
    int bad = 0, runs = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char folder[512];
        if (e->d_name[0] == '.' || (only != NULL && strstr(e->d_name, only) == NULL))
            continue;
        snprintf(folder, sizeof folder, "%s/tests/fixtures/%.255s", TN_SOURCE_DIR, e->d_name);
        bad += run_folder(folder, precision, tol, &runs);
    }
    closedir(dir);
    print_message("%s: %d runs\n", precision, runs);
    assert_true(runs > 0);
    assert_int_equal(bad, 0);
    assert_int_equal(fake->live, 0);
}

static void fixtures_in_float32(void **state) {
    (void)state;
    run_fixtures("fp32", 1e-4);
}

static void fixtures_in_float16(void **state) {
    (void)state;
    run_fixtures("fp16", 2e-2);
}

/* ---- requests ---- */

#define MODEL TN_SOURCE_DIR "/tests/fixtures/uniformer_ts17_static_light_ls/model.onnx"

static void fails(const TnBuildOptions *o, TnStatus status, const char *text) {
    TnError err = {0};
    void *bytes = NULL;
    size_t n;
    TnStatus st = tn_build_memory(MODEL, o, &bytes, &n, &err);
    if (st != status || strstr(err.message, text) == NULL)
        fail_msg("%s: %s (expected '%s')", tn_status_name(st), err.message, text);
    assert_int_equal(fake->live, 0);
}

static void requests_are_met_or_refused(void **state) {
    (void)state;
    TnBuildOptions o = tn_build_options_default();
    o.precision = "fp16"; /* on the CPU */
    fails(&o, TN_ERR_REQUEST, "device cuda");
    o.precision = "fp8";
    fails(&o, TN_ERR_ARGUMENT, "fp32, tf32, fp16, bf16");
    o.precision = NULL;
    o.target = "sm_90";
    fails(&o, TN_ERR_ARGUMENT, "device cuda");
    o.target = NULL;
    o.allow_cpu_steps = 1;
    fails(&o, TN_ERR_ARGUMENT, "allow_cpu_steps");
    o.allow_cpu_steps = 0;
    o.device = "tpu";
    fails(&o, TN_ERR_ARGUMENT, "cuda:N");
    o.device = "cuda:7";
    fails(&o, TN_ERR_DEVICE, "GPU 7");
    o.device = "cuda";
    o.reference = 1;
    fails(&o, TN_ERR_ARGUMENT, "exclude each other");
    o.reference = 0;
    o.target = "sm_2";
    fails(&o, TN_ERR_ARGUMENT, "sm_90");
    o.target = "sm_80"; /* the fake device is another */
    o.tune = 1;
    fails(&o, TN_ERR_REQUEST, "tune");
}

static void a_target_is_built_for_where_there_is_no_device(void **state) {
    (void)state;
    TnError err = {0};
    TnBuildOptions o = tn_build_options_default();
    uint32_t n_devices = fake->n_devices;
    void *bytes = NULL;
    size_t n;
    o.device = "cuda";
    fake->n_devices = 0;
    fails(&o, TN_ERR_DEVICE, "target");
    o.target = "sm_90";
    TnStatus st = tn_build_memory(MODEL, &o, &bytes, &n, &err);
    fake->n_devices = n_devices;
    if (st != TN_OK)
        fail_msg("%s", err.message);
    tn_build_free(&o, bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixtures_in_float32),
        cmocka_unit_test(fixtures_in_float16),
        cmocka_unit_test(requests_are_met_or_refused),
        cmocka_unit_test(a_target_is_built_for_where_there_is_no_device),
    };
    return cmocka_run_group_tests(tests, start_fake, NULL);
}
