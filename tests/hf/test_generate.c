/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints through build, plan and generation against transformers' own results: encoder states, greedy and beam search, token for
 * token, batched lines that finish at different steps; the default model on its samples. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipelines/npz.h"
#include "pipelines/tensor_error.h"
#include "tenon/build.h"
#include "tenon/runtime.h"

#define FIXTURES TN_SOURCE_DIR "/tests/fixtures/"

typedef struct Loaded {
    TnPlan *plan;
    void *bytes;
    TnBuildOptions options;
} Loaded;

static void load(Loaded *l, const char *dir) {
    TnError err = {0};
    size_t n;
    l->options = tn_build_options_default();
    l->options.threads = 2;
    if (tn_build_memory(dir, &l->options, &l->bytes, &n, &err) != TN_OK || tn_plan_open_memory(l->bytes, n, NULL, &l->plan, &err) != TN_OK)
        fail_msg("%s: %s", dir, err.message);
    assert_true(tn_plan_is_generator(l->plan));
}

static void unload(Loaded *l) {
    tn_plan_close(&l->plan);
    tn_build_free(&l->options, l->bytes);
}

typedef struct States {
    float *data;
    size_t n;
} States;

static void keep_states(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t,
                        uint64_t ns) {
    States *s = ctx;
    (void)step, (void)node, (void)op, (void)kernel, (void)ns;
    if (strcmp(value, "last_hidden_state") == 0 && s->data == NULL) {
        s->n = (size_t)tn_tensor_numel(t);
        s->data = malloc(s->n * sizeof(float));
        memcpy(s->data, t->data, s->n * sizeof(float));
    }
}

/* Row i of ids [lines, max] or [lines, beams, max], without padding behind the stop token. */
static void check_ids(const char *what, const TnTensor *ids, int64_t line, const TnGenerated *g) {
    int64_t width = ids->dims[ids->rank - 1], per = ids->rank == 3 ? ids->dims[1] * width : width;
    const int64_t *want = (const int64_t *)ids->data + line * per;
    for (uint32_t k = 0; k < g->n; k++) {
        if (k >= width || g->tokens[k] != want[k])
            fail_msg("%s line %d token %u: %d, expected %d", what, (int)line, k, g->tokens[k], k < width ? (int)want[k] : -1);
    }
    for (int64_t k = g->n; k < width; k++) {
        if (want[k] != 1)
            fail_msg("%s line %d stops after %u tokens, expected %d more", what, (int)line, g->n, (int)(width - k));
    }
}

static void check_beams(TnContext *ctx, const TnNpz *golden, const TnTensor *pixels, TnGenerated *g, const char *name) {
    static const struct {
        const char *suffix;
        float penalty;
        int early;
    } rows[] = {{"lp1_es0", 1, 0}, {"lp1_es1", 1, 1}, {"lp2_es0", 2, 0}, {"lp2_es1", 2, 1}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char key[64], what[128];
        TnError err = {0};
        TnGenerateOptions o = tn_generate_options_default();
        snprintf(key, sizeof key, "beam_ids_%s", rows[r].suffix);
        snprintf(what, sizeof what, "%s %s", name, rows[r].suffix);
        const TnTensor *ids = tn_npz_find(golden, key);
        snprintf(key, sizeof key, "beam_scores_%s", rows[r].suffix);
        const TnTensor *scores = tn_npz_find(golden, key);
        assert_non_null(ids);
        assert_non_null(scores);
        o.num_beams = (uint32_t)ids->dims[1];
        o.max_length = 20;
        o.length_penalty = rows[r].penalty;
        o.early_stopping = rows[r].early;
        if (tn_context_generate(ctx, pixels, 1, &o, g, (uint32_t)pixels->dims[0], &err) != TN_OK)
            fail_msg("%s: %s", what, err.message);
        for (int64_t i = 0; i < pixels->dims[0]; i++) {
            float want = ((const float *)scores->data)[i * scores->dims[1]];
            check_ids(what, ids, i, &g[i]);
            if (!(fabsf(g[i].score - want) <= 1e-4f * fmaxf(1.0f, fabsf(want))))
                fail_msg("%s line %d: score %g, expected %g", what, (int)i, (double)g[i].score, (double)want);
        }
    }
}

static void check_checkpoint(const char *name) {
    char path[512];
    Loaded l;
    TnNpz golden;
    TnError err = {0};
    TnGenerated g[16];
    States s = {0};
    snprintf(path, sizeof path, FIXTURES "%s/golden.npz", name);
    assert_int_equal(tn_npz_read(path, NULL, &golden, &err), TN_OK);
    snprintf(path, sizeof path, FIXTURES "%s", name);
    load(&l, path);
    const TnTensor *pixels = tn_npz_find(&golden, "pixel_values"), *greedy = tn_npz_find(&golden, "greedy_ids");
    const TnTensor *hidden = tn_npz_find(&golden, "encoder_last_hidden_state");
    for (uint32_t threads = 1; threads <= 3; threads += 2) {
        TnContext *ctx;
        TnContextOptions co = tn_context_options_default();
        TnGenerateOptions o = tn_generate_options_default();
        co.threads = threads;
        o.num_beams = 1;
        o.max_length = 20;
        assert_int_equal(tn_context_create(l.plan, &co, &ctx, &err), TN_OK);
        tn_context_on_step(ctx, keep_states, &s);
        if (tn_context_generate(ctx, pixels, 1, &o, g, (uint32_t)pixels->dims[0], &err) != TN_OK)
            fail_msg("%s: %s", name, err.message);
        for (int64_t i = 0; i < pixels->dims[0]; i++)
            check_ids(name, greedy, i, &g[i]);
        tn_context_on_step(ctx, NULL, NULL);
        check_beams(ctx, &golden, pixels, g, name);
        tn_context_destroy(&ctx);
    }
    TnTensor got = *hidden;
    TnTensorError e;
    got.data = s.data;
    assert_int_equal(s.n, tn_tensor_numel(hidden));
    assert_int_equal(tn_tensor_error(&got, hidden, &e, &err), TN_OK);
    if (!(e.max_abs <= 1e-4 * e.scale))
        fail_msg("%s: encoder states are off by %g", name, e.max_abs);
    free(s.data);
    tn_npz_free(NULL, &golden);
    unload(&l);
}

static void checkpoints_generate_as_transformers_does(void **state) {
    (void)state;
    check_checkpoint("hf_trocr_deit_tied_fp32");
    check_checkpoint("hf_trocr_deit_untied_bf16");
    check_checkpoint("hf_trocr_vit_same_width_fp32");
    check_checkpoint("hf_trocr_vit_sinusoidal_fp16");
}

/* PyTorch's golden tensors of the default model: same tokens, whatever the batch. */
static void default_model_generates_the_golden_tokens(void **state) {
    (void)state;
    Loaded l;
    TnNpz golden;
    TnError err = {0};
    TnGenerated g[2];
    TnContext *ctx;
    assert_int_equal(tn_npz_read(TN_SOURCE_DIR "/models/trocr-tiny-zh/golden.npz", NULL, &golden, &err), TN_OK);
    load(&l, TN_SOURCE_DIR "/models/trocr-tiny-zh");
    assert_int_equal(tn_context_create(l.plan, NULL, &ctx, &err), TN_OK);
    if (tn_context_generate(ctx, tn_npz_find(&golden, "pixel_values"), 1, NULL, g, 2, &err) != TN_OK)
        fail_msg("%s", err.message);
    check_ids("default model", tn_npz_find(&golden, "greedy_ids_0"), 0, &g[0]);
    check_ids("default model", tn_npz_find(&golden, "greedy_ids_1"), 0, &g[1]);
    tn_context_destroy(&ctx);
    tn_npz_free(NULL, &golden);
    unload(&l);
}

static void requests_that_cannot_be_met_are_refused(void **state) {
    (void)state;
    Loaded l;
    TnError err = {0};
    TnGenerated g[2];
    TnContext *ctx;
    float pixels[3 * 16 * 24] = {0};
    TnTensor x = {pixels, TN_F32, 4, {1, 3, 16, 24}};
    load(&l, FIXTURES "hf_trocr_deit_tied_fp32");
    assert_int_equal(tn_context_create(l.plan, NULL, &ctx, &err), TN_OK);
    TnGenerateOptions o = tn_generate_options_default();
    o.max_length = 100000;
    assert_int_equal(tn_context_generate(ctx, &x, 1, &o, g, 1, &err), TN_ERR_REQUEST);
    o = tn_generate_options_default();
    assert_int_equal(tn_context_generate(ctx, &x, 1, &o, g, 2, &err), TN_ERR_ARGUMENT);
    x.dims[3] = 23;
    assert_int_equal(tn_context_generate(ctx, &x, 1, &o, g, 1, &err), TN_ERR_SHAPE);
    x.dims[3] = 24;
    x.dtype = TN_I32;
    assert_int_equal(tn_context_generate(ctx, &x, 1, &o, g, 1, &err), TN_ERR_TYPE);
    tn_context_destroy(&ctx);
    unload(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checkpoints_generate_as_transformers_does),
        cmocka_unit_test(default_model_generates_the_golden_tokens),
        cmocka_unit_test(requests_that_cannot_be_met_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
