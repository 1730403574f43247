/* SPDX-License-Identifier: Apache-2.0
 *
 * passes_report MODEL.onnx [--nodes] [--print] [--stop PASS]: what the pipeline makes of a model: rewrites a pass, milliseconds, and the
 * operators that are left. For people; not a test. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onnx/onnx.h"
#include "passes/passes.h"

static void print_text(void *ctx, const char *text, size_t n) {
    (void)ctx;
    (void)fwrite(text, 1, n, stdout);
}

typedef struct Times {
    uint64_t last;
    bool quiet;
} Times;

static void after(void *ctx, const Pass *pass, uint32_t changed, const IrModule *m) {
    Times *t = ctx;
    uint64_t now = tni_now_ns();
    uint32_t live = 0;
    for (uint32_t i = 0; i < m->graphs[0]->n_nodes; i++)
        live += !m->graphs[0]->nodes[i].dead;
    if (!t->quiet)
        printf("  %-20s %6u rewrites %6u nodes %8.1f ms\n", pass->name, changed, live, (double)(now - t->last) * 1e-6);
    t->last = tni_now_ns();
}

int main(int argc, char **argv) {
    TnError err = {0};
    IrModule *m = NULL;
    uint64_t hash;
    const char *stop = NULL;
    bool print = false;
    Times times = {0};
    if (argc < 2)
        return 2;
    for (int i = 2; i < argc; i++) {
        print = print || strcmp(argv[i], "--print") == 0;
        times.quiet = times.quiet || strcmp(argv[i], "--quiet") == 0;
        if (strcmp(argv[i], "--stop") == 0 && i + 1 < argc)
            stop = argv[++i];
    }
    TnStatus st = tni_onnx_import(argv[1], &(OnnxOptions){0}, tni_default_allocator(), &m, &hash, &err);
    times.last = tni_now_ns();
    if (st == TN_OK)
        st = tni_passes_run(m, NULL, stop, after, &times, &err);
    if (st != TN_OK) {
        printf("%s: %s\n", tn_status_name(st), err.message);
        tni_ir_module_destroy(&m);
        return 1;
    }
    if (print)
        tni_ir_print(m, print_text, NULL);
    uint32_t count[TN_OP_COUNT] = {0};
    for (uint32_t g = 0; g < m->n_graphs; g++)
        for (uint32_t i = 0; i < m->graphs[g]->n_nodes; i++)
            count[m->graphs[g]->nodes[i].op]++;
    for (int i = 0; i < TN_OP_COUNT; i++)
        if (count[i] > 0)
            printf("%s:%u ", tni_op_info((TnOp)i)->name, count[i]);
    printf("\n");
    tni_ir_module_destroy(&m);
    return 0;
}
