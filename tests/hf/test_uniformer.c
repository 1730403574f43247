/* SPDX-License-Identifier: Apache-2.0
 *
 * Official UniFormer checkpoints: outputs of the native import against those of PyTorch (fixtures made from the same weights), and the
 * questions and complaints about what the tensors do not tell or do not fit. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipelines/npz.h"
#include "tenon/build.h"
#include "tenon/runtime.h"

#define DATA TN_SOURCE_DIR "/tests/hf/data/"
#define FIXTURES TN_SOURCE_DIR "/tests/fixtures/"

static TnStatus open_plan(const char *model, uint32_t head_dim, uint32_t image_size, TnPlan **plan, void **memory, TnError *err) {
    TnBuildOptions o = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    size_t n;
    o.head_dim = head_dim;
    o.image_size = image_size;
    *plan = NULL;
    TnStatus st = tn_build_memory(model, &o, memory, &n, err);
    return st == TN_OK ? tn_plan_open_memory(*memory, n, &po, plan, err) : st;
}

static const TnTensor *read_one(const char *path, const char *name, TnNpz *npz) {
    TnError err = {0};
    if (tn_npz_read(path, NULL, npz, &err) != TN_OK || tn_npz_find(npz, name) == NULL)
        fail_msg("%s: %s", path, err.message);
    return tn_npz_find(npz, name);
}

static void agrees(const char *model, uint32_t image_size, const char *inputs, const char *outputs) {
    TnPlan *plan;
    TnContext *context = NULL;
    void *memory;
    TnError err = {0};
    TnNpz in, out;
    const TnTensor *x = read_one(inputs, "input", &in), *want = read_one(outputs, "logits", &out);
    if (open_plan(model, 8, image_size, &plan, &memory, &err) != TN_OK || tn_context_create(plan, NULL, &context, &err) != TN_OK)
        fail_msg("%s: %s", model, err.message);
    assert_int_equal(tn_plan_input_count(plan), 1);
    TnTensor y = {0};
    if (tn_context_set_input(context, 0, x, &err) != TN_OK || tn_context_run(context, &err) != TN_OK ||
        tn_context_output(context, 0, &y, &err) != TN_OK)
        fail_msg("%s: %s", model, err.message);
    double scale = 0, worst = 0;
    assert_int_equal(tn_tensor_numel(&y), tn_tensor_numel(want));
    for (int64_t i = 0; i < tn_tensor_numel(want); i++) {
        double a = (double)((const float *)y.data)[i], b = (double)((const float *)want->data)[i];
        scale = fmax(scale, fabs(b));
        worst = fmax(worst, fabs(a - b));
    }
    if (!(worst <= 1e-4 * scale) || !(scale > 0))
        fail_msg("%s: largest error %g of a scale of %g", model, worst, scale);
    size_t n;
    assert_non_null(tn_plan_meta(plan, "preprocessor_config.json", &n));
    tn_context_destroy(&context);
    tn_plan_close(&plan);
    tn_build_free(NULL, memory);
    tn_npz_free(NULL, &in);
    tn_npz_free(NULL, &out);
}

static void every_kind_agrees_with_pytorch(void **state) {
    (void)state;
    agrees(DATA "uniformer.pth", 64, FIXTURES "uniformer_ts17_dynamic/inputs.0.npz", FIXTURES "uniformer_ts17_dynamic/outputs.0.npz");
    agrees(DATA "uniformer_convstem_ls.pth", 32, DATA "uniformer_convstem_ls.npz", DATA "uniformer_convstem_ls.npz");
    agrees(DATA "uniformer_labelling.pth", 64, FIXTURES "uniformer_ts17_dynamic_labelling/inputs.1.npz",
           FIXTURES "uniformer_ts17_dynamic_labelling/outputs.1.npz");
    agrees(DATA "uniformer_light.pth", 64, FIXTURES "uniformer_ts17_dynamic_light/inputs.0.npz",
           FIXTURES "uniformer_ts17_dynamic_light/outputs.0.npz");
    agrees(DATA "uniformer_light_ls.pth", 64, FIXTURES "uniformer_ts17_static_light_ls/inputs.0.npz",
           FIXTURES "uniformer_ts17_static_light_ls/outputs.0.npz");
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const struct {
        const char *model;
        uint32_t head_dim, image_size;
        TnStatus st;
        const char *says[4];
    } rows[] = {
        {DATA "uniformer.pth", 0, 64, TN_ERR_REQUEST, {"--head-dim", "wrong answers", "depth 1,1,2,1", ""}},
        {DATA "uniformer.pth", 7, 64, TN_ERR_REQUEST, {"width 7", "16", "", ""}},
        {DATA "uniformer.pth", 8, 8, TN_ERR_REQUEST, {"--image-size 8", "32 to", "", ""}},
        {DATA "uniformer_light.pth", 8, 72, TN_ERR_REQUEST, {"--image-size 72", "steps of 32", "", ""}},
        {DATA "uniformer_broken.pth",
         8,
         64,
         TN_ERR_DATA,
         {"blocks3.1.attn", "blocks1.0.norm1.running_var is missing", "head.bias is missing", "blocks2.0.gamma_9 is not used"}},
        {DATA "uniformer_broken.pth", 8, 64, TN_ERR_DATA, {"blocks4.0.norm2.weight is f", "[15]", "expected [16]", "UniFormer"}},
        {DATA "state_dict.pth", 8, 64, TN_ERR_UNSUPPORTED, {"'0.bias'", "UniFormer", "", ""}},
        {TN_SOURCE_DIR "/tests/fixtures/hf_trocr_deit_tied_fp32", 8, 0, TN_ERR_ARGUMENT, {"head_dim", "files of weights", "", ""}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TnPlan *plan;
        void *memory = NULL;
        TnError err = {0};
        TnStatus st = open_plan(rows[i].model, rows[i].head_dim, rows[i].image_size, &plan, &memory, &err);
        for (size_t k = 0; k < 4; k++) {
            if (st != rows[i].st || strstr(err.message, rows[i].says[k]) == NULL)
                fail_msg("row %zu: %s: %s", i, tn_status_name(st), err.message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_agrees_with_pytorch), cmocka_unit_test(what_is_wrong_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
