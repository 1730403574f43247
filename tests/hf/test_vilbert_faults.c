/* SPDX-License-Identifier: Apache-2.0
 *
 * Faults that imports of ViLBERT have had elsewhere, planted in the imported graph or its configuration: each moves the answers farther
 * from PyTorch's than the tests of the import allow. Without a fault the same comparison passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "hf/hf.h"
#include "hf/safetensors.h"
#include "interp/interp.h"
#include "shape/shape.h"
#include "vilbert_golden.h"

#define ALLOWED 1e-4 /* of a scale: what the tests of the import hold every head to, at most */

typedef struct Fault {
    const char *what, *model;
    const char *from, *to; /* in the configuration; NULL: as it is */
    void (*plant)(IrModule *m, IrGraph *g);
    int run; /* of this run on: faults that exchange the streams need as many tokens as regions, which run 1 has */
} Fault;

static IrNode *node(IrGraph *g, const char *name) {
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (strcmp(g->nodes[i].name, name) == 0)
            return &g->nodes[i];
    }
    fail_msg("no node '%s'", name);
    return NULL;
}

static void exchange(IrValueId *a, IrValueId *b) {
    const IrValueId t = *a;
    *a = *b;
    *b = t;
}

static void none(IrModule *m, IrGraph *g) {
    (void)m;
    (void)g;
}

static void no_projection_bias(IrModule *m, IrGraph *g) {
    (void)m;
    node(g, "bert.encoder.layer.0.attention.self.query+2")->n_in = 2;
}

static void wide_epsilon(IrModule *m, IrGraph *g) {
    (void)m;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == TN_OP_layer_norm)
            ((TnNormParams *)g->nodes[i].params)->epsilon = 1e-5f;
    }
}

/* Connections whose contexts go to the wrong stream. */
static void crossed_outputs(IrModule *m, IrGraph *g) {
    (void)m;
    exchange(&node(g, "bert.encoder.c_layer.0.biOutput.dense1")->in[0], &node(g, "bert.encoder.c_layer.0.biOutput.dense2")->in[0]);
}

/* Each stream asks itself. */
static void crossed_keys(IrModule *m, IrGraph *g) {
    IrNode *picture = node(g, "bert.encoder.c_layer.0.biattention/picture"), *text = node(g, "bert.encoder.c_layer.0.biattention/text");
    (void)m;
    for (uint32_t i = 1; i < 4; i++)
        exchange(&picture->in[i], &text->in[i]);
}

static void exchanged_masks(IrModule *m, IrGraph *g) {
    (void)m;
    exchange(&node(g, "bert.encoder.c_layer.0.biattention/picture")->in[3], &node(g, "bert.encoder.c_layer.0.biattention/text")->in[3]);
}

static void no_masks(IrModule *m, IrGraph *g) {
    (void)m;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (g->nodes[i].op == TN_OP_attention)
            g->nodes[i].n_in = 3;
    }
}

static void scale_of_the_wrong_width(IrModule *m, IrGraph *g) {
    (void)m;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        if (strstr(g->nodes[i].name, "biattention/") != NULL)
            ((TnAttentionParams *)g->nodes[i].params)->scale = 0.35355339f; /* the text's heads are 8 wide, these 12 */
    }
}

static void activation_by_tanh(IrModule *m, IrGraph *g) {
    (void)m;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        TnUnaryParams *p = g->nodes[i].params;
        if (g->nodes[i].op == TN_OP_unary && p->fn == TN_UNARY_gelu)
            p->fn = TN_UNARY_gelu_tanh;
    }
}

static void no_location(IrModule *m, IrGraph *g) {
    (void)m;
    tni_ir_replace_uses(g, node(g, "bert.v_embeddings.add_location")->out[0], node(g, "bert.v_embeddings.image_embeddings")->out[0]);
}

static void no_position(IrModule *m, IrGraph *g) {
    (void)m;
    tni_ir_replace_uses(g, node(g, "bert.embeddings.add_position")->out[0], node(g, "bert.embeddings.word_embeddings")->out[0]);
}

static void hidden_regions_answer(IrModule *m, IrGraph *g) {
    (void)m;
    ((TnBinaryParams *)node(g, "vision_logit/masked")->params)->fn = TN_BINARY_sub;
}

/* The projections that the authors' code stores beside the right ones and never uses. */
static void unused_projection(IrModule *m, IrGraph *g) {
    HfTensor *t = tni_hf_tensor(m->keep, "bert.encoder.c_layer.0.biOutput.q_dense1.weight");
    assert_non_null(t);
    for (uint32_t i = 0; i < g->n_values; i++) {
        if (strcmp(g->values[i].name, "bert.encoder.c_layer.0.biOutput.dense1.weight") == 0)
            g->values[i].data = t->t.data;
    }
}

static void task_before_first_word(IrModule *m, IrGraph *g) {
    IrNode *n = node(g, "bert.embeddings.with_task");
    (void)m;
    exchange(&n->in[0], &n->in[1]);
}

/* The task's token joins words that are normalised already. */
static void task_not_normalised(IrModule *m, IrGraph *g) {
    TnError err = {0};
    const IrValueId joined = node(g, "bert.embeddings.with_task")->out[0], sum = node(g, "bert.embeddings.add_type")->out[0];
    IrNode *norm = node(g, "bert.embeddings.LayerNorm");
    tni_ir_replace_uses(g, norm->out[0], joined);
    norm->in[0] = sum;
    node(g, "bert.embeddings.first")->in[0] = node(g, "bert.embeddings.rest")->in[0] = norm->out[0];
    assert_int_equal(tni_ir_compact(m, g, &err), TN_OK);
}

static void hidden_task(IrModule *m, IrGraph *g) {
    (void)m;
    for (uint32_t i = 0; i < g->n_values; i++) { /* the ones before the mask become zeros */
        if (g->values[i].kind == IR_CONST && g->values[i].dtype == TN_I64 && g->values[i].rank == 2)
            memset((void *)(uintptr_t)g->values[i].data, 0, sizeof(int64_t));
    }
}

static const Fault faults[] = {
    {"no fault", "vilbert", NULL, NULL, none, 0},
    {"no fault", "vilbert_task", NULL, NULL, none, 0},
    {"bias of query, key and value left out", "vilbert", NULL, NULL, no_projection_bias, 0},
    {"epsilon 1e-5 for 1e-12", "vilbert", NULL, NULL, wide_epsilon, 0},
    {"contexts of a connection exchanged", "vilbert", NULL, NULL, crossed_outputs, 1},
    {"each stream asks itself", "vilbert", NULL, NULL, crossed_keys, 1},
    {"masks of a connection exchanged", "vilbert", NULL, NULL, exchanged_masks, 1},
    {"masks left out", "vilbert", NULL, NULL, no_masks, 0},
    {"a picture layer before the first connection", "vilbert", "\\[ 0, 1 \\]", "[1, 1]", none, 0},
    {"a text layer too many before the first connection", "vilbert", "\\[ 1, 2 \\]", "[2, 2]", none, 0},
    {"pooled streams added", "vilbert", "\"mul\"", "\"sum\"", none, 0},
    {"heads of another width", "vilbert", "\"num_attention_heads\": 2", "\"num_attention_heads\": 4", none, 0},
    {"scale of the wrong width", "vilbert", NULL, NULL, scale_of_the_wrong_width, 0},
    {"GELU by tanh", "vilbert", NULL, NULL, activation_by_tanh, 0},
    {"location left out", "vilbert", NULL, NULL, no_location, 0},
    {"positions left out", "vilbert", NULL, NULL, no_position, 0},
    {"hidden regions pushed up", "vilbert", NULL, NULL, hidden_regions_answer, 0},
    {"q_dense for dense", "vilbert", NULL, NULL, unused_projection, 0},
    {"task before the first word", "vilbert_task", NULL, NULL, task_before_first_word, 0},
    {"task behind the layer norm", "vilbert_task", NULL, NULL, task_not_normalised, 0},
    {"task hidden by the mask", "vilbert_task", NULL, NULL, hidden_task, 0},
};

static void write_config(const Fault *f, char path[64]) {
    char command[1024];
    strcpy(path, "/tmp/tn-vilbert-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    snprintf(command, sizeof command, "tr -d '\\n' < " DATA "%s.json | sed 's/  */ /g; s/%s/%s/' > %s", f->model,
             f->from == NULL ? "^" : f->from, f->to == NULL ? "" : f->to, path);
    assert_int_equal(system(command), 0);
}

/* The largest error of all heads in one run. */
static double worst_of(const Fault *f, const IrModule *m, const TnNpz *golden, int run) {
    const IrGraph *g = m->graphs[0];
    TnTensor in[8], out[16];
    TnError err = {0};
    double worst = 0;
    for (uint32_t i = 0; i < g->n_inputs; i++)
        in[i] = *golden_tensor(golden, g->values[g->inputs[i]].name, run);
    if (tni_interp_run(m, 0, in, out, NULL, NULL, NULL, NULL, &err) != TN_OK)
        fail_msg("%s: %s", f->what, err.message);
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        worst = fmax(worst, off_by(&out[i], golden_tensor(golden, g->values[g->outputs[i]].name, run)));
        tni_free(NULL, out[i].data);
    }
    return worst;
}

static void every_fault_is_caught(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        const Fault *f = &faults[i];
        char model[512], config[64];
        TnNpz golden;
        IrModule *m;
        uint64_t hash;
        TnError err = {0};
        write_config(f, config);
        golden_open(f->model, &golden);
        snprintf(model, sizeof model, DATA "%s.bin", f->model);
        const HfFileOptions o = {.config = config, .head = ALL_HEADS};
        if (tni_hf_import_file(model, &o, NULL, NULL, &m, &hash, &err) != TN_OK)
            fail_msg("%s: %s", f->what, err.message);
        f->plant(m, m->graphs[0]);
        if (tni_ir_verify(m, &err) != TN_OK || tni_shape_infer(m, &err) != TN_OK)
            fail_msg("%s: %s", f->what, err.message);
        double worst = 0;
        for (int run = f->run; run < 2; run++)
            worst = fmax(worst, worst_of(f, m, &golden, run));
        if (getenv("TN_SHOW_FAULTS") != NULL)
            printf("%-52s off by %.2g of a scale\n", f->what, worst);
        if ((worst > ALLOWED) == (f->plant == none && f->from == NULL))
            fail_msg("%s: off by %g of a scale", f->what, worst);
        tni_ir_module_destroy(&m);
        tn_npz_free(NULL, &golden);
        remove(config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_is_caught)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
