/* SPDX-License-Identifier: Apache-2.0
 *
 * Imports models, infers them twice, materialises and infers again; prints what a person who works on shape rules wants to see.
 * Usage: infer_main [-p] [-r RANGES] MODEL.onnx ...   -p: print the graph */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "onnx/onnx.h"
#include "shape/shape.h"

static void to_stdout(void *ctx, const char *text, size_t n) {
    fwrite(text, 1, n, ctx);
}

static uint32_t data_symbols(const IrModule *m) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->n_symbols; i++)
        n += m->symbols[i].data_dependent != 0;
    return n;
}

static void print_values(const IrModule *m, const IrGraph *g, const IrValueId *ids, uint32_t n, const char *what) {
    char buf[256];
    for (uint32_t i = 0; i < n; i++) {
        const IrValue *v = &g->values[ids[i]];
        printf("  %s %s %s[", what, v->name, tn_dtype_name(v->dtype));
        for (int32_t k = 0; k < v->rank; k++)
            printf("%s%s", k > 0 ? ", " : "", tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, v->dims[k]));
        printf("]\n");
    }
}

static TnStatus one(const char *path, const char *ranges, bool print, TnError *err) {
    IrModule *m = NULL;
    uint64_t hash, t0 = tni_now_ns();
    OnnxOptions o = {0};
    uint32_t changed = 0, first = 0;
    TnStatus st = TN_OK;
    TN_TRY_GOTO(tni_onnx_import(path, &o, NULL, &m, &hash, err));
    TN_TRY_GOTO(tni_ir_verify(m, err));
    if (ranges != NULL)
        TN_TRY_GOTO(tni_shape_apply_ranges(m, ranges, err));
    uint64_t t1 = tni_now_ns();
    TN_TRY_GOTO(tni_shape_infer(m, err));
    uint64_t t2 = tni_now_ns();
    first = m->n_symbols;
    TN_TRY_GOTO(tni_shape_infer(m, err));
    if (m->n_symbols != first)
        st = TN_RAISE(err, TN_ERR_INTERNAL, "a second inference made %" PRIu32 " new symbols", m->n_symbols - first);
    printf("%s: %" PRIu32 " nodes, import %.1f ms, infer %.2f ms, %" PRIu32 " expressions, %" PRIu32 " data symbols\n", path,
           m->graphs[0]->n_nodes, (double)(t1 - t0) / 1e6, (double)(t2 - t1) / 1e6, m->n_exprs, data_symbols(m));
    print_values(m, m->graphs[0], m->graphs[0]->inputs, m->graphs[0]->n_inputs, "in ");
    print_values(m, m->graphs[0], m->graphs[0]->outputs, m->graphs[0]->n_outputs, "out");
    if (st == TN_OK)
        st = tni_shape_materialize(m, &changed, err);
    if (st == TN_OK)
        st = tni_ir_verify(m, err);
    if (st == TN_OK)
        st = tni_shape_infer(m, err);
    if (st == TN_OK && m->n_symbols != first)
        st = TN_RAISE(err, TN_ERR_INTERNAL, "inference after materialisation made new symbols");
    printf("  materialised %" PRIu32 "\n", changed);
fail:
    if (m != NULL && (print || st != TN_OK) && print)
        tni_ir_print(m, to_stdout, stdout);
    tni_ir_module_destroy(&m);
    return st;
}

int main(int argc, char **argv) {
    bool print = false;
    const char *ranges = NULL;
    int bad = 0;
    for (int i = 1; i < argc; i++) {
        TnError err = {0};
        if (strcmp(argv[i], "-p") == 0) {
            print = true;
        } else if (strcmp(argv[i], "-r") == 0 && i + 1 < argc) {
            ranges = argv[++i];
        } else if (one(argv[i], ranges, print, &err) != TN_OK) {
            printf("%s: FAILED: %s: %s\n", argv[i], tn_status_name(err.code), err.message);
            bad = 1;
        }
    }
    return bad;
}
