/* SPDX-License-Identifier: Apache-2.0
 *
 * Every exported model of tests/fixtures through importer, shape inference and interpreter, against what PyTorch computed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "interp/interp.h"
#include "onnx/onnx.h"
#include "pipelines/npz.h"
#include "shape/shape.h"
#include "support/compare.h"

static const TnTensor *by_name(const TnNpz *npz, const char *name) {
    const TnTensor *t = tn_npz_find(npz, name);
    if (t == NULL)
        print_error("the file has no array '%s'\n", name);
    return t;
}

/* Number of outputs that differ. */
static int run_case(const IrModule *m, const char *folder, int k, TnThreads *threads) {
    char path[1024];
    TnNpz in = {0}, want = {0};
    TnError err = {0};
    const IrGraph *g = m->graphs[0];
    snprintf(path, sizeof path, "%s/inputs.%d.npz", folder, k);
    assert_int_equal(tn_npz_read(path, NULL, &in, &err), TN_OK);
    snprintf(path, sizeof path, "%s/outputs.%d.npz", folder, k);
    assert_int_equal(tn_npz_read(path, NULL, &want, &err), TN_OK);
    TnTensor inputs[16], outputs[64] = {{0}};
    assert_true(g->n_inputs <= TN_COUNT(inputs) && g->n_outputs <= TN_COUNT(outputs));
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const TnTensor *t = by_name(&in, g->values[g->inputs[i]].name);
        assert_non_null(t);
        inputs[i] = *t;
    }
    int bad = 0;
    if (tni_interp_run(m, 0, inputs, outputs, NULL, threads, NULL, NULL, &err) != TN_OK) {
        print_error("%s, run %d: %s\n", folder, k, err.message);
        bad++;
    } else {
        for (uint32_t i = 0; i < g->n_outputs; i++) {
            char why[512];
            const char *name = g->values[g->outputs[i]].name;
            const TnTensor *t = by_name(&want, name);
            assert_non_null(t);
            if (!test_close(&outputs[i], t, 1e-5, why, sizeof why)) {
                print_error("%s, run %d, output '%s': %s\n", folder, k, name, why);
                bad++;
            }
            tni_free(tni_default_allocator(), outputs[i].data);
        }
    }
    tn_npz_free(NULL, &in);
    tn_npz_free(NULL, &want);
    return bad;
}

static int run_folder(const char *folder, TnThreads *threads, int *runs) {
    char path[1024];
    TnError err = {0};
    IrModule *m = NULL;
    uint64_t hash;
    int bad = 0;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (access(path, R_OK) != 0)
        return 0;
    if (tni_onnx_import(path, NULL, NULL, &m, &hash, &err) != TN_OK || tni_shape_infer(m, &err) != TN_OK ||
        tni_ir_verify(m, &err) != TN_OK) {
        print_error("%s: %s\n", folder, err.message);
        bad++;
    }
    for (int k = 0; bad == 0; k++) {
        snprintf(path, sizeof path, "%s/inputs.%d.npz", folder, k);
        if (access(path, R_OK) != 0)
            break;
        bad += run_case(m, folder, k, threads);
        ++*runs;
    }
    tni_ir_module_destroy(&m);
    return bad;
}

static void fixtures(void **state) {
    (void)state;
    DIR *dir = opendir(TN_SOURCE_DIR "/tests/fixtures");
    assert_non_null(dir);
    TnThreads *threads = NULL;
    TnError err = {0};
    assert_int_equal(tni_threads_create(NULL, 2, &threads, &err), TN_OK);
    int bad = 0, runs = 0;
    const char *only = getenv("TENON_FIXTURE"); /* one case by hand */
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        char folder[512];
        if (e->d_name[0] == '.' || (only != NULL && strstr(e->d_name, only) == NULL))
            continue;
        snprintf(folder, sizeof folder, "%s/tests/fixtures/%.255s", TN_SOURCE_DIR, e->d_name);
        bad += run_folder(folder, threads, &runs);
    }
    closedir(dir);
    tni_threads_destroy(&threads);
    print_message("%d runs\n", runs);
    assert_true(runs > 0);
    assert_int_equal(bad, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(fixtures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
