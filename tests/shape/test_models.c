/* SPDX-License-Identifier: Apache-2.0
 *
 * Every fixture model: import, infer, infer again, materialise, infer. All dims are known, sizes of exports with dynamic axes are
 * expressions of the inputs' symbols, nothing is data dependent unless an operator that searches makes it so. */
#include "support.h"

#include <dirent.h>

#include "onnx/onnx.h"

static bool searches(const IrModule *m) {
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        for (uint32_t k = 0; k < m->graphs[i]->n_nodes; k++) {
            if ((tni_op_info(m->graphs[i]->nodes[k].op)->flags & (TN_OPF_DATA_SHAPE | TN_OPF_CONTROL)) != 0)
                return true;
        }
    }
    return false;
}

static void check_known(const char *path, const IrModule *m) {
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const IrGraph *g = m->graphs[i];
        for (uint32_t v = 0; v < g->n_values; v++) {
            bool ok = g->values[v].dtype != TN_UNDEFINED && g->values[v].rank >= 0;
            for (int32_t k = 0; ok && k < g->values[v].rank; k++)
                ok = g->values[v].dims[k] != TN_DIM_NONE;
            if (!ok)
                fail_msg("%s: value '%s' is not inferred", path, g->values[v].name);
        }
    }
    for (uint32_t s = 0; s < m->n_symbols && !searches(m); s++) {
        if (m->symbols[s].data_dependent)
            fail_msg("%s: symbol %s is data dependent", path, m->symbols[s].name);
    }
}

static void one(const char *path) {
    IrModule *m = NULL;
    TnError err = {0};
    OnnxOptions o = {0};
    uint64_t hash;
    uint32_t changed;
    if (tni_onnx_import(path, &o, NULL, &m, &hash, &err) != TN_OK)
        fail_msg("%s: %s", path, err.message);
    if (tni_shape_infer(m, &err) != TN_OK)
        fail_msg("%s: %s", path, err.message);
    check_known(path, m);
    uint32_t symbols = m->n_symbols, exprs = m->n_exprs;
    assert_int_equal(tni_shape_infer(m, &err), TN_OK);
    assert_int_equal(m->n_symbols, symbols);
    assert_int_equal(m->n_exprs, exprs);
    assert_int_equal(tni_ir_verify(m, &err), TN_OK);
    if (tni_shape_materialize(m, &changed, &err) != TN_OK)
        fail_msg("%s: %s", path, err.message);
    assert_int_equal(tni_ir_verify(m, &err), TN_OK);
    assert_int_equal(tni_shape_infer(m, &err), TN_OK);
    assert_int_equal(m->n_symbols, symbols);
    check_known(path, m);
    for (uint32_t k = 0; k < m->graphs[0]->n_nodes; k++) { /* no reshape of these models needs its shape while running */
        const IrNode *n = &m->graphs[0]->nodes[k];
        if (n->op == TN_OP_reshape && !searches(m))
            assert_true(n->n_in < 2 || n->in[1] == TN_NO_VALUE);
    }
    tni_ir_module_destroy(&m);
}

static void test_fixtures(void **state) {
    (void)state;
    const char *root = TN_SOURCE_DIR "/tests/fixtures";
    DIR *d = opendir(root);
    uint32_t n = 0;
    if (d == NULL)
        skip();
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s/model.onnx", root, e->d_name);
        FILE *f = e->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (f == NULL)
            continue;
        fclose(f);
        one(path);
        n++;
    }
    closedir(d);
    assert_true(n > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fixtures)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
