/* SPDX-License-Identifier: Apache-2.0
 *
 * run_model MODEL.onnx INPUTS.npz OUTPUTS.npz [THREADS]: the reference interpreter on one recorded data set; prints the largest
 * difference of every output. For models that are too large for the tests. */
#include <stdio.h>
#include <stdlib.h>

#include "interp/interp.h"
#include "onnx/onnx.h"
#include "pipelines/npz.h"
#include "shape/shape.h"
#include "support/compare.h"

static int report(const IrGraph *g, const TnNpz *want, TnTensor *out) {
    int bad = 0;
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const char *name = g->values[g->outputs[i]].name;
        const TnTensor *t = tn_npz_find(want, name);
        TestDifference d;
        char why[512];
        if (t == NULL || !test_difference(&out[i], t, &d, why, sizeof why)) {
            printf("%s: %s\n", name, t == NULL ? "not in the file" : why);
            bad = 1;
        } else {
            printf("%s: error %.3g, largest value %.3g, relative %.3g, NaN or infinities that differ %lld\n", name, d.max_error, d.max_want,
                   d.relative, (long long)d.n_special);
        }
        tni_free(tni_default_allocator(), out[i].data);
    }
    return bad;
}

int main(int argc, char **argv) {
    if (argc < 4) {
        fprintf(stderr, "usage: run_model MODEL.onnx INPUTS.npz OUTPUTS.npz [THREADS]\n");
        return 2;
    }
    TnError err = {0};
    IrModule *m = NULL;
    TnNpz in = {0}, want = {0};
    TnThreads *threads = NULL;
    uint64_t hash;
    int code = 1;
    TnTensor inputs[32], outputs[128] = {{0}};
    if (tni_onnx_import(argv[1], NULL, NULL, &m, &hash, &err) != TN_OK || tni_shape_infer(m, &err) != TN_OK ||
        tni_ir_verify(m, &err) != TN_OK || tn_npz_read(argv[2], NULL, &in, &err) != TN_OK ||
        tn_npz_read(argv[3], NULL, &want, &err) != TN_OK ||
        tni_threads_create(NULL, argc > 4 ? (uint32_t)atoi(argv[4]) : 0, &threads, &err) != TN_OK)
        goto done;
    const IrGraph *g = m->graphs[0];
    for (uint32_t i = 0; i < g->n_inputs && g->n_inputs <= TN_COUNT(inputs) && g->n_outputs <= TN_COUNT(outputs); i++) {
        const TnTensor *t = tn_npz_find(&in, g->values[g->inputs[i]].name);
        if (t == NULL) {
            fprintf(stderr, "no array '%s' in %s\n", g->values[g->inputs[i]].name, argv[2]);
            goto done;
        }
        inputs[i] = *t;
    }
    uint64_t start = tni_now_ns();
    if (tni_interp_run(m, 0, inputs, outputs, NULL, threads, NULL, NULL, &err) == TN_OK) {
        printf("%.1f s\n", (double)(tni_now_ns() - start) / 1e9);
        code = report(g, &want, outputs);
    }
done:
    if (err.code != TN_OK)
        fprintf(stderr, "%s: %s\n", argv[1], err.message);
    tni_threads_destroy(&threads);
    tn_npz_free(NULL, &in);
    tn_npz_free(NULL, &want);
    tni_ir_module_destroy(&m);
    return code;
}
