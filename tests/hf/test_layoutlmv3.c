/* SPDX-License-Identifier: Apache-2.0
 *
 * LayoutLMv3 checkpoints against transformers' outputs (tools/export/hf_layoutlmv3.py), every head; buckets against PyTorch's;
 * configurations that cannot be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "hf/hf.h"
#include "hf/layoutlmv3.h"
#include "pipelines/npz.h"
#include "pipelines/tensor_error.h"
#include "tenon/build.h"
#include "tenon/runtime.h"

#define FIXTURES TN_SOURCE_DIR "/tests/fixtures/hf_layoutlmv3_"

static void buckets_are_those_of_pytorch(void **state) {
    (void)state;
    TnNpz golden;
    TnError err = {0};
    assert_int_equal(tn_npz_read(FIXTURES "buckets/golden.npz", NULL, &golden, &err), TN_OK);
    const int64_t *settings = tn_npz_find(&golden, "settings")->data, *want = tn_npz_find(&golden, "buckets")->data;
    const int64_t n = tn_npz_find(&golden, "settings")->dims[0];
    for (int64_t s = 0; s < n; s++) {
        for (int32_t d = -1000; d <= 1000; d++) {
            int32_t got = tni_hf_relative_bucket(d, (uint32_t)settings[2 * s], (uint32_t)settings[2 * s + 1]);
            if (got != want[s * 2001 + d + 1000])
                fail_msg("%d bins to %d, distance %d: bucket %d, expected %d", (int)settings[2 * s], (int)settings[2 * s + 1], d, got,
                         (int)want[s * 2001 + d + 1000]);
        }
    }
    tn_npz_free(NULL, &golden);
}

static const TnTensor *golden_tensor(const TnNpz *golden, const char *name, int run) {
    char key[128];
    snprintf(key, sizeof key, "%s.%d", name, run);
    const TnTensor *t = tn_npz_find(golden, key);
    if (t == NULL)
        fail_msg("golden.npz has no '%s'", key);
    return t;
}

static void check_run(const char *head, TnPlan *plan, TnContext *ctx, const TnNpz *golden, int run) {
    TnError err = {0};
    TnIoInfo info;
    for (uint32_t i = 0; i < tn_plan_input_count(plan); i++) {
        assert_int_equal(tn_plan_input(plan, i, &info, &err), TN_OK);
        if (tn_context_set_input(ctx, i, golden_tensor(golden, info.name, run), &err) != TN_OK)
            fail_msg("%s: %s", head, err.message);
    }
    if (tn_context_run(ctx, &err) != TN_OK)
        fail_msg("%s: %s", head, err.message);
    for (uint32_t i = 0; i < tn_plan_output_count(plan); i++) {
        TnTensor got;
        TnTensorError e;
        assert_int_equal(tn_plan_output(plan, i, &info, &err), TN_OK);
        assert_int_equal(tn_context_output(ctx, i, &got, &err), TN_OK);
        if (tn_tensor_error(&got, golden_tensor(golden, info.name, run), &e, &err) != TN_OK)
            fail_msg("%s %s: %s", head, info.name, err.message);
        if (!(e.max_abs <= 1e-5 * e.scale) || e.n_nan_mismatch != 0)
            fail_msg("%s %s run %d: off by %g of %g", head, info.name, run, e.max_abs, e.scale);
    }
}

static void heads_give_what_transformers_gives(void **state) {
    (void)state;
    static const struct {
        const char *head;
        uint32_t outputs;
    } rows[] = {{"tokens", 1}, {"cord", 1}, {"sequence", 1}, {"question", 2}, {"model", 1}};
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        char path[512];
        TnNpz golden;
        TnError err = {0};
        TnPlan *plan;
        TnContext *ctx;
        TnIoInfo info;
        void *bytes;
        size_t n;
        TnBuildOptions o = tn_build_options_default();
        o.threads = 2;
        snprintf(path, sizeof path, FIXTURES "%s/golden.npz", rows[r].head);
        assert_int_equal(tn_npz_read(path, NULL, &golden, &err), TN_OK);
        snprintf(path, sizeof path, FIXTURES "%s", rows[r].head);
        if (tn_build_memory(path, &o, &bytes, &n, &err) != TN_OK || tn_plan_open_memory(bytes, n, NULL, &plan, &err) != TN_OK ||
            tn_context_create(plan, NULL, &ctx, &err) != TN_OK)
            fail_msg("%s: %s", rows[r].head, err.message);
        assert_int_equal(tn_plan_output_count(plan), rows[r].outputs);
        assert_int_equal(tn_plan_input(plan, 0, &info, &err), TN_OK);
        assert_int_equal(info.max[1], 64); /* 66 positions, the pad's and those before it off */
        for (int run = 0; run < 2; run++)
            check_run(rows[r].head, plan, ctx, &golden, run);
        tn_context_destroy(&ctx);
        tn_plan_close(&plan);
        tn_build_free(&o, bytes);
        tn_npz_free(NULL, &golden);
    }
}

/* A copy of a checkpoint whose config.json has `from` replaced by `to`. */
static void refuse(const char *head, const char *from, const char *to, TnStatus want, const char *word) {
    char dir[64] = "/tmp/tn-lm3-XXXXXX", command[1200];
    TnError err = {0};
    IrModule *m = NULL;
    uint64_t hash;
    assert_non_null(mkdtemp(dir));
    snprintf(command, sizeof command,
             "cp " FIXTURES "%s/model.safetensors %s/ && tr -d '\\n' < " FIXTURES "%s/config.json | sed 's/%s/%s/' > %s/config.json", head,
             dir, head, from, to, dir);
    assert_int_equal(system(command), 0);
    TnStatus st = tni_hf_import(dir, NULL, NULL, NULL, &m, &hash, &err);
    if (st != want || strstr(err.message, word) == NULL)
        fail_msg("%s -> %s: status %d, '%s', expected %d and '%s'", from, to, (int)st, err.message, (int)want, word);
    if (st == TN_OK)
        tni_ir_module_destroy(&m);
    snprintf(command, sizeof command, "rm -r %s", dir);
    assert_int_equal(system(command), 0);
}

static void configurations_that_cannot_be_are_refused(void **state) {
    (void)state;
    refuse("tokens", "LayoutLMv3ForTokenClassification", "LayoutLMv3ForSpeech", TN_ERR_UNSUPPORTED, "LayoutLMv3ForSpeech");
    refuse("tokens", "\"rel_pos_bins\": 32", "\"rel_pos_bins\": 31", TN_ERR_UNSUPPORTED, "rel_pos_bins");
    refuse("tokens", "\"rel_pos_bins\": 32", "\"rel_pos_bins\": 16", TN_ERR_DATA, "rel_pos_bias.weight");
    refuse("tokens", "\"hidden_size\": 12", "\"hidden_size\": 13", TN_ERR_PARSE, "hidden_size");
    refuse("tokens", "\"coordinate_size\": 2", "\"coordinate_size\": 3", TN_ERR_PARSE, "coordinate_size");
    refuse("tokens", "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", TN_ERR_DATA,
           "encoder.layer.2.attention.self.query.weight is missing");
    refuse("tokens", "\"hidden_act\": \"gelu\"", "\"hidden_act\": \"snake\"", TN_ERR_UNSUPPORTED, "snake");
    refuse("tokens", "\"visual_embed\": true", "\"visual_embed\": false", TN_ERR_UNSUPPORTED, "visual_embed");
    refuse("tokens", "\"max_position_embeddings\": 66", "\"max_position_embeddings\": 70", TN_ERR_DATA, "position_embeddings.weight");
    refuse("tokens", "LayoutLMv3ForTokenClassification", "LayoutLMv3ForQuestionAnswering", TN_ERR_DATA, "qa_outputs.dense.weight");
    refuse("sequence", "LayoutLMv3ForSequenceClassification", "LayoutLMv3ForTokenClassification", TN_OK, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_are_those_of_pytorch),
        cmocka_unit_test(heads_give_what_transformers_gives),
        cmocka_unit_test(configurations_that_cannot_be_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
