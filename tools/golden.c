/* SPDX-License-Identifier: Apache-2.0
 *
 * A model's plan against PyTorch's golden tensors: pixels, encoder states, logits of the first steps, greedy tokens; where golden.npz has
 * beam_ids_I, also the tokens of the search that the checkpoint asks for.
 * usage: golden MODEL_DIR [THREADS]; exit status 1 when something is beyond its limit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/npz.h"
#include "pipelines/ocr.h"
#include "pipelines/tensor_error.h"
#include "tenon/build.h"

#define LIMIT_LOGITS 2e-4 /* logits and states have scales of 4 and more */
#define LIMIT_STATES 1e-4

/* Tensors named `want` that the plan's steps made, one after another. */
typedef struct Catch {
    const char *want;
    float *rows; /* [cap, width] */
    size_t n, cap, width;
} Catch;

typedef struct Hook {
    Catch states, logits;
} Hook;

static void keep(Catch *c, const char *name, const TnTensor *t) {
    if (strcmp(name, c->want) != 0 || t->dtype != TN_F32)
        return;
    size_t n = (size_t)tn_tensor_numel(t);
    if (c->n + n <= c->cap) {
        memcpy(c->rows + c->n, t->data, n * sizeof(float));
        c->n += n;
    }
}

static void on_step(void *ctx, uint32_t step, const char *node, const char *op, const char *kernel, const char *value, const TnTensor *t, uint64_t ns) {
    Hook *h = ctx;
    (void)step, (void)node, (void)op, (void)kernel, (void)ns;
    keep(&h->states, value, t);
    keep(&h->logits, value, t);
}

static int row(const char *what, const float *got, size_t n_got, const TnTensor *want, double limit) {
    TnTensor g = *want;
    TnTensorError e;
    TnError err = {0};
    g.data = (void *)(uintptr_t)got;
    if (n_got < (size_t)tn_tensor_numel(want) || tn_tensor_error(&g, want, &e, &err) != TN_OK) {
        printf("%-28s %s\n", what, err.message[0] != '\0' ? err.message : "was not computed");
        return 1;
    }
    int bad = !(e.max_abs <= limit) || e.n_nan_mismatch != 0;
    printf("%-28s %9.2e %9.2e %9.2e  %9.2e %9.2e %9.2e  %8.1e %8.1e%s\n", what, e.max_abs, e.mean_abs, e.median_abs, e.max_rel, e.mean_rel,
           e.median_rel, limit, e.scale, bad ? "  BEYOND" : "");
    return bad;
}

static int tokens(const char *what, const TnGenerated *g, const TnTensor *want) {
    int bad = want->dtype != TN_I64 || g->n != (uint32_t)want->dims[0];
    for (uint32_t k = 0; !bad && k < g->n; k++)
        bad = g->tokens[k] != ((const int64_t *)want->data)[k];
    printf("%-28s %s (%u tokens)\n", what, bad ? "DIFFER" : "identical", g->n);
    return bad;
}

/* Pictures named in golden.npz are not read here: pixel_values are PyTorch's own, so that this measures the plan alone. */
static int check(TnPlan *plan, const TnNpz *npz, uint32_t threads) {
    TnError err = {0};
    TnContext *ctx = NULL;
    TnContextOptions co = tn_context_options_default();
    co.threads = threads;
    const TnTensor *pixels = tn_npz_find(npz, "pixel_values"), *states = tn_npz_find(npz, "encoder_last_hidden_state_0");
    const TnTensor *logits = tn_npz_find(npz, "logits_0"), *ids = tn_npz_find(npz, "greedy_ids_0");
    if (pixels == NULL || states == NULL || logits == NULL || ids == NULL) {
        fputs("golden: golden.npz lacks a tensor\n", stderr);
        return 2;
    }
    int bad = 0;
    printf("%-28s %9s %9s %9s  %9s %9s %9s  %8s %8s\n", "", "max abs", "mean abs", "med abs", "max rel", "mean rel", "med rel", "limit", "scale");
    if (tn_context_create(plan, &co, &ctx, &err) != TN_OK) {
        fprintf(stderr, "golden: %s\n", err.message);
        return 2;
    }
    for (int64_t i = 0; i < pixels->dims[0]; i++) {
        char name[48];
        size_t per = (size_t)(tn_tensor_numel(pixels) / pixels->dims[0]);
        TnTensor x = *pixels;
        TnGenerated g;
        Hook h = {.states = {.want = "last_hidden_state", .cap = 1u << 20}, .logits = {.want = "logits", .cap = 1u << 22}};
        h.states.rows = malloc(h.states.cap * sizeof(float));
        h.logits.rows = malloc(h.logits.cap * sizeof(float));
        x.dims[0] = 1;
        x.data = (float *)pixels->data + per * (size_t)i;
        TnGenerateOptions o = tn_generate_options_default();
        snprintf(name, sizeof name, "beam_ids_%d", (int)i);
        const TnTensor *beams = tn_npz_find(npz, name);
        o.num_beams = beams == NULL ? 0 : 1;
        tn_context_on_step(ctx, on_step, &h);
        if (h.states.rows == NULL || h.logits.rows == NULL || tn_context_generate(ctx, &x, 1, &o, &g, 1, &err) != TN_OK) {
            fprintf(stderr, "golden: %s\n", err.message);
            bad = 1;
        } else {
            snprintf(name, sizeof name, "encoder_last_hidden_state_%d", (int)i);
            if (tn_npz_find(npz, name) != NULL)
                bad |= row(name, h.states.rows, h.states.n, tn_npz_find(npz, name), LIMIT_STATES);
            snprintf(name, sizeof name, "logits_%d", (int)i);
            bad |= row(name, h.logits.rows, h.logits.n, tn_npz_find(npz, name), LIMIT_LOGITS);
            snprintf(name, sizeof name, "greedy_ids_%d", (int)i);
            bad |= tokens(name, &g, tn_npz_find(npz, name));
            tn_context_on_step(ctx, NULL, NULL);
            snprintf(name, sizeof name, "beam_ids_%d", (int)i);
            if (beams != NULL && tn_context_generate(ctx, &x, 1, NULL, &g, 1, &err) == TN_OK)
                bad |= tokens(name, &g, beams);
            else if (beams != NULL)
                bad = printf("%-28s %s\n", name, err.message) != 0;
        }
        free(h.states.rows);
        free(h.logits.rows);
    }
    tn_context_destroy(&ctx);
    return bad;
}

int main(int argc, char **argv) {
    TnError err = {0};
    TnNpz npz;
    char path[4096];
    void *bytes = NULL;
    size_t n;
    TnPlan *plan = NULL;
    if (argc < 2 || argc > 3) {
        fputs("usage: golden MODEL_DIR [THREADS]\n", stderr);
        return 2;
    }
    snprintf(path, sizeof path, "%s/golden.npz", argv[1]);
    TnBuildOptions bo = tn_build_options_default();
    if (tn_npz_read(path, NULL, &npz, &err) != TN_OK || tn_build_memory(argv[1], &bo, &bytes, &n, &err) != TN_OK ||
        tn_plan_open_memory(bytes, n, NULL, &plan, &err) != TN_OK) {
        fprintf(stderr, "golden: %s\n", err.message);
        return 2;
    }
    int status = check(plan, &npz, argc > 2 ? (uint32_t)atoi(argv[2]) : 0);
    tn_plan_close(&plan);
    tn_build_free(&bo, bytes);
    tn_npz_free(NULL, &npz);
    return status;
}
