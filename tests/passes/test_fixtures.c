/* SPDX-License-Identifier: Apache-2.0
 *
 * Translation validation: every fixture model is run by the reference interpreter before the pipeline and after each pass that changed
 * something, on the fixture's own inputs (two shapes where it is dynamic); each pass is compared with its predecessor. At the end the
 * outputs are compared with what the exporting framework computed, and the fused operators are counted.
 *
 * Arguments: names of cases to run (default: all of tests/fixtures with a model.onnx). */
#include <dirent.h>
#include <math.h>

#include "base/dtype.h"
#include "build.h"
#include "interp/interp.h"
#include "onnx/onnx.h"
#include "pipelines/npz.h"

#define MAX_IO 32
#define ROUNDS 2

typedef struct Feed {
    TnNpz npz;
    TnTensor in[MAX_IO], last[MAX_IO];
    bool ran;
} Feed;

typedef struct Case {
    char name[128];
    Feed feed[ROUNDS];
    uint32_t n_feeds, checked;
} Case;

static const char *only[64];
static int n_only;

static void run_feed(const IrModule *m, Feed *f, TnTensor *out) {
    TnError err = {0};
    fail_error("interpreter", tni_interp_run(m, 0, f->in, out, tni_default_allocator(), NULL, NULL, NULL, &err), &err);
}

static void free_outputs(const IrModule *m, TnTensor *t) {
    for (uint32_t i = 0; i < m->graphs[0]->n_outputs; i++) {
        tni_free(tni_default_allocator(), t[i].data);
        t[i].data = NULL;
    }
}

static void after(void *ctx, const Pass *pass, uint32_t changed, const IrModule *m) {
    Case *c = ctx;
    char what[256];
    if (changed == 0)
        return;
    for (uint32_t i = 0; i < c->n_feeds; i++) {
        TnTensor out[MAX_IO] = {{0}};
        (void)snprintf(what, sizeof what, "%s, inputs %u, pass %s", c->name, i, pass->name);
        run_feed(m, &c->feed[i], out);
        check_same(what, c->feed[i].last, out, m->graphs[0]->n_outputs, 3e-5);
        free_outputs(m, c->feed[i].last);
        memcpy(c->feed[i].last, out, sizeof out);
        c->checked++;
    }
}

static bool open_feed(const char *dir, uint32_t k, const IrModule *m, Feed *f) {
    char path[512];
    TnError err = {0};
    (void)snprintf(path, sizeof path, "%s/inputs.%u.npz", dir, k);
    if (tn_npz_read(path, NULL, &f->npz, &err) != TN_OK)
        return false;
    const IrGraph *g = m->graphs[0];
    assert_true(g->n_inputs <= MAX_IO && g->n_outputs <= MAX_IO);
    for (uint32_t i = 0; i < g->n_inputs; i++) {
        const TnTensor *t = tn_npz_find(&f->npz, g->values[g->inputs[i]].name);
        if (t == NULL)
            fail_msg("%s has no input '%s'", path, g->values[g->inputs[i]].name);
        f->in[i] = *t;
    }
    return true;
}

/* Against the framework's own outputs, to float accuracy. */
static void check_framework(const char *dir, uint32_t k, const IrModule *m, const Feed *f) {
    char path[512];
    TnError err = {0};
    TnNpz npz;
    (void)snprintf(path, sizeof path, "%s/outputs.%u.npz", dir, k);
    if (tn_npz_read(path, NULL, &npz, &err) != TN_OK)
        return;
    const IrGraph *g = m->graphs[0];
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        const TnTensor *t = tn_npz_find(&npz, g->values[g->outputs[i]].name);
        if (t != NULL)
            check_same(path, t, &f->last[i], 1, 1e-3);
    }
    tn_npz_free(NULL, &npz);
}

static uint32_t count(const IrModule *m, TnOp op) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < m->graphs[0]->n_nodes; i++)
        n += m->graphs[0]->nodes[i].op == op;
    return n;
}

/* No product with a softmax between may be left in the four architectures, but for two cases: token pruning needs its probabilities, and
 * the task-token export has its batch fixed in the mask alone, so that the mask may broadcast the scores. */
static void check_counts(const char *name, const IrModule *m) {
    printf("  %-52s nodes %4u attention %u gemm %u layer_norm %u+%u matmul %u softmax %u transpose %u\n", name, m->graphs[0]->n_nodes,
           count(m, TN_OP_attention), count(m, TN_OP_gemm), count(m, TN_OP_layer_norm), count(m, TN_OP_add_layer_norm),
           count(m, TN_OP_matmul), count(m, TN_OP_softmax), count(m, TN_OP_transpose));
    if (strstr(name, "light") == NULL && strstr(name, "_task") == NULL && count(m, TN_OP_softmax) != 0)
        fail_msg("%s: %u softmax left", name, count(m, TN_OP_softmax));
    for (uint32_t i = 0; i < m->graphs[0]->n_nodes; i++) {
        const IrNode *n = &m->graphs[0]->nodes[i];
        if (n->op == TN_OP_unary && ((const TnUnaryParams *)n->params)->fn == TN_UNARY_erf)
            fail_msg("%s: erf left in node '%s'", name, n->name);
        if (n->op == TN_OP_one_hot)
            fail_msg("%s: one_hot left in node '%s'", name, n->name);
    }
}

static void run_case(const char *name) {
    char dir[400], path[512];
    TnError err = {0};
    IrModule *m = NULL;
    uint64_t hash;
    static Case c;
    memset(&c, 0, sizeof c);
    (void)snprintf(c.name, sizeof c.name, "%s", name);
    (void)snprintf(dir, sizeof dir, "%s/tests/fixtures/%s", TN_SOURCE_DIR, name);
    (void)snprintf(path, sizeof path, "%s/model.onnx", dir);
    fail_error(name, tni_onnx_import(path, &(OnnxOptions){0}, tni_default_allocator(), &m, &hash, &err), &err);
    fail_error(name, tni_shape_infer(m, &err), &err);
    while (c.n_feeds < ROUNDS && open_feed(dir, c.n_feeds, m, &c.feed[c.n_feeds]))
        c.n_feeds++;
    for (uint32_t i = 0; i < c.n_feeds; i++)
        run_feed(m, &c.feed[i], c.feed[i].last);
    fail_error(name, tni_passes_run(m, NULL, NULL, after, &c, &err), &err);
    fail_error(name, tni_shape_infer(m, &err), &err);
    for (uint32_t i = 0; i < c.n_feeds; i++) {
        check_framework(dir, i, m, &c.feed[i]);
        free_outputs(m, c.feed[i].last);
        tn_npz_free(NULL, &c.feed[i].npz);
    }
    assert_true(c.n_feeds == 0 || c.checked > 0);
    check_counts(name, m);
    tni_ir_module_destroy(&m);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void every_pass_keeps_the_numbers(void **s) {
    (void)s;
    char *names[512];
    int n = 0;
    DIR *d = opendir(TN_SOURCE_DIR "/tests/fixtures");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d)) != NULL && n < 512;) {
        char path[512];
        (void)snprintf(path, sizeof path, "%s/tests/fixtures/%s/model.onnx", TN_SOURCE_DIR, e->d_name);
        FILE *f = e->d_name[0] != '.' ? fopen(path, "rb") : NULL;
        bool wanted = n_only == 0;
        for (int i = 0; i < n_only; i++)
            wanted = wanted || strstr(e->d_name, only[i]) != NULL;
        if (f != NULL && wanted)
            names[n++] = strdup(e->d_name);
        if (f != NULL)
            fclose(f);
    }
    closedir(d);
    qsort(names, (size_t)n, sizeof names[0], by_name);
    for (int i = 0; i < n; i++) {
        run_case(names[i]);
        free(names[i]);
    }
    assert_true(n > 0);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc && n_only < 64; i++)
        only[n_only++] = argv[i];
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pass_keeps_the_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
