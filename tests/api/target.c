/* SPDX-License-Identifier: Apache-2.0
 *
 * The CUDA library where there is no GPU: every exported model of tests/fixtures is planned for compute capability 9.0, in every precision, and every
 * step of it has a kernel there. Kernels are chosen by estimate; what they compute is tested where there is a GPU (tests/cuda). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tenon/build.h"
#include "tenon/runtime.h"

/* The precision that the plan was asked for. */
static int plan_folder(const char *folder, const char *precision, int *plans) {
    char path[1024];
    TnError err = {0};
    TnPlan *plan = NULL;
    void *bytes = NULL;
    size_t n;
    int bad = 0;
    TnBuildOptions o = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    o.device = "cuda";
    o.target = "sm_90";
    o.precision = precision;
    o.threads = 2;
    po.inspect = 1; /* no driver is needed to look at a plan */
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (access(path, R_OK) != 0)
        return 0;
    if (tn_build_memory(path, &o, &bytes, &n, &err) != TN_OK || tn_plan_open_memory(bytes, n, &po, &plan, &err) != TN_OK) {
        print_error("%s, %s: %s\n", folder, precision, err.message);
        bad++;
    }
    tn_plan_close(&plan);
    tn_build_free(&o, bytes);
    ++*plans;
    return bad;
}

static void every_step_has_a_kernel(void **state) {
    (void)state;
    static const char *const precisions[] = {"fp32", "tf32", "fp16", "bf16"};
    DIR *dir = opendir(TN_SOURCE_DIR "/tests/fixtures");
    const char *only = getenv("TENON_FIXTURE"); /* one case by hand */
    int bad = 0, plans = 0;
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char folder[512];
        if (e->d_name[0] == '.' || (only != NULL && strstr(e->d_name, only) == NULL))
            continue;
        snprintf(folder, sizeof folder, "%s/tests/fixtures/%.255s", TN_SOURCE_DIR, e->d_name);
        for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++)
            bad += plan_folder(folder, precisions[i], &plans);
    }
    closedir(dir);
    print_message("%d plans\n", plans);
    assert_true(plans > 0);
    assert_int_equal(bad, 0);
}

static int use_library(void **state) {
    (void)state;
    return setenv("TENON_CUDA_LIBRARY", CUDA_LIBRARY, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_step_has_a_kernel)};
    return cmocka_run_group_tests(tests, use_library, NULL);
}
