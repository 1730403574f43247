/* SPDX-License-Identifier: Apache-2.0
 *
 * Official UniFormer detectors: answers of the native import against those of the official classes (make_detection_files.py), with global, window,
 * hybrid and pruned attention, one head and cascades, at sides that are no multiples of anything; and what is said about tensors that do not fit. */
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
#define MASK 28
#define EVERY 9 /* files keep every ninth place of a mask */

static TnStatus open_plan(const char *model, const TnBuildOptions *o, TnPlan **plan, void **memory, TnError *err) {
    TnPlanOptions po = tn_plan_options_default();
    size_t n;
    *plan = NULL;
    *memory = NULL;
    TnStatus st = tn_build_memory(model, o, memory, &n, err);
    return st == TN_OK ? tn_plan_open_memory(*memory, n, &po, plan, err) : st;
}

static const TnTensor *part(const TnNpz *npz, const char *name, int32_t i) {
    char key[32];
    snprintf(key, sizeof key, "%s%d", name, (int)i);
    const TnTensor *t = tn_npz_find(npz, key);
    if (t == NULL)
        fail_msg("no %s", key);
    return t;
}

typedef struct Answers {
    TnTensor boxes, scores, labels, masks;
} Answers;

static double box_distance(const float *a, const float *b) {
    double d = 0;
    for (int k = 0; k < 4; k++)
        d = fmax(d, fabs((double)(a[k] - b[k])));
    return d;
}

/* Row i of the expected answers among those that we have: the nearest box of its class. */
static int64_t find(const Answers *have, const Answers *want, int64_t i, double *distance) {
    int64_t at = -1;
    for (int64_t j = 0; j < have->scores.dims[0]; j++) {
        double d = box_distance((const float *)have->boxes.data + 4 * j, (const float *)want->boxes.data + 4 * i) +
                   fabs((double)(((const float *)have->scores.data)[j] - ((const float *)want->scores.data)[i]));
        if (((const int64_t *)have->labels.data)[j] == ((const int64_t *)want->labels.data)[i] && (at < 0 || d < *distance)) {
            at = j;
            *distance = d;
        }
    }
    return at;
}

/* Choices that rounding decides may fall otherwise: two in a hundred rows may have no match. */
static void agree(const char *what, const Answers *have, const Answers *want, double scale) {
    int64_t n = want->scores.dims[0], lost = 0;
    double worst[3] = {0};
    assert_int_equal(have->boxes.dims[0], have->scores.dims[0]);
    assert_int_equal(have->labels.dims[0], have->scores.dims[0]);
    assert_int_equal(have->masks.dims[0], have->scores.dims[0]);
    if (n < 50 || llabs(have->scores.dims[0] - n) > n / 50)
        fail_msg("%s: %d answers, expected %d", what, (int)have->scores.dims[0], (int)n);
    for (int64_t i = 0; i < n; i++) {
        double d = INFINITY, mask = 0;
        int64_t j = find(have, want, i, &d), side = (MASK + EVERY - 1) / EVERY;
        double score = j < 0 ? 0 : fabs((double)(((const float *)have->scores.data)[j] - ((const float *)want->scores.data)[i]));
        if (j < 0 || !(d <= 1e-3 * scale)) {
            lost++;
            continue;
        }
        for (int64_t k = 0; k < side * side; k++) {
            int64_t from = (j * MASK + k / side * EVERY) * MASK + k % side * EVERY;
            mask = fmax(mask, fabs((double)(((const float *)have->masks.data)[from] - ((const float *)want->masks.data)[i * side * side + k])));
        }
        worst[0] = fmax(worst[0], box_distance((const float *)have->boxes.data + 4 * j, (const float *)want->boxes.data + 4 * i) / scale);
        worst[1] = fmax(worst[1], score);
        worst[2] = fmax(worst[2], mask);
    }
    for (int64_t i = 1; i < have->scores.dims[0]; i++)
        assert_true(((const float *)have->scores.data)[i] <= ((const float *)have->scores.data)[i - 1]);
    if (lost > n / 50 || !(worst[0] <= 1e-4) || !(worst[1] <= 1e-4) || !(worst[2] <= 1e-4))
        fail_msg("%s: %d of %d without a match; errors of boxes %g, scores %g, masks %g", what, (int)lost, (int)n, worst[0], worst[1], worst[2]);
}

static void run(TnPlan *plan, const TnTensor *image, TnContext **context, Answers *have, TnError *err) {
    uint32_t at;
    TnTensor *const out[4] = {&have->boxes, &have->scores, &have->labels, &have->masks};
    static const char *const names[4] = {"boxes", "scores", "labels", "masks"};
    if (*context == NULL && tn_context_create(plan, NULL, context, err) != TN_OK)
        fail_msg("%s", err->message);
    if (tn_context_set_input(*context, 0, image, err) != TN_OK || tn_context_run(*context, err) != TN_OK)
        fail_msg("%s", err->message);
    for (size_t i = 0; i < 4; i++) {
        if (tn_plan_output_index(plan, names[i], &at, err) != TN_OK || tn_context_output(*context, at, out[i], err) != TN_OK)
            fail_msg("%s", err->message);
    }
}

static void agrees(const char *model, const char *attention, const char *answers, int32_t runs) {
    TnBuildOptions o = tn_build_options_default();
    TnPlan *plan;
    TnContext *context = NULL;
    void *memory;
    TnError err = {0};
    TnNpz npz;
    size_t n;
    o.head_dim = 8;
    o.attention = attention;
    if (open_plan(model, &o, &plan, &memory, &err) != TN_OK || tn_npz_read(answers, NULL, &npz, &err) != TN_OK)
        fail_msg("%s: %s", model, err.message);
    assert_non_null(tn_plan_meta(plan, "preprocessor_config.json", &n));
    assert_non_null(strstr(tn_plan_meta(plan, "detection.json", &n), "\"num_classes\": 5"));
    for (int32_t i = 0; i < runs; i++) { /* all sizes by one plan */
        const TnTensor *image = part(&npz, "image", i);
        Answers have, want = {*part(&npz, "boxes", i), *part(&npz, "scores", i), *part(&npz, "labels", i), *part(&npz, "masks", i)};
        run(plan, image, &context, &have, &err);
        agree(answers, &have, &want, (double)(image->dims[2] > image->dims[3] ? image->dims[2] : image->dims[3]));
    }
    tn_context_destroy(&context);
    tn_plan_close(&plan);
    tn_build_free(&o, memory);
    tn_npz_free(NULL, &npz);
}

static void every_kind_agrees_with_the_official_classes(void **state) {
    (void)state;
    agrees(DATA "detector_global.pth", "global", DATA "detector_global.npz", 2);
    agrees(DATA "detector_global.pth", "hybrid", DATA "detector_hybrid.npz", 1);
    agrees(DATA "detector_light.pth", NULL, DATA "detector_light.npz", 1);
    agrees(DATA "detector_cascade.pth", "window", DATA "detector_cascade.npz", 1);
    agrees(DATA "detector_agnostic.pth", "global", DATA "detector_agnostic.npz", 1);
}

/* Nothing is above the threshold: all outputs are empty, and the next picture finds its boxes again. */
static void no_answers_are_none(void **state) {
    (void)state;
    TnBuildOptions o = tn_build_options_default();
    TnPlan *plan;
    TnContext *context = NULL;
    void *memory;
    TnError err = {0};
    TnNpz npz;
    Answers have;
    o.head_dim = 8;
    o.attention = "global";
    o.score_threshold = 0.99f;
    if (open_plan(DATA "detector_global.pth", &o, &plan, &memory, &err) != TN_OK || tn_npz_read(DATA "detector_global.npz", NULL, &npz, &err) != TN_OK)
        fail_msg("%s", err.message);
    run(plan, part(&npz, "image", 0), &context, &have, &err);
    assert_int_equal(have.boxes.dims[0], 0);
    assert_int_equal(have.masks.dims[0], 0);
    assert_int_equal(have.labels.dims[0], 0);
    tn_context_destroy(&context);
    tn_plan_close(&plan);
    tn_build_free(&o, memory);
    tn_npz_free(NULL, &npz);
}

/* The smallest pictures, and one that is long. */
static void every_size_runs(void **state) {
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {33, 1}, {31, 449}};
    TnBuildOptions o = tn_build_options_default();
    TnPlan *plan;
    TnContext *context = NULL;
    void *memory;
    TnError err = {0};
    Answers have;
    o.head_dim = 8;
    if (open_plan(DATA "detector_light.pth", &o, &plan, &memory, &err) != TN_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        float *x = calloc((size_t)(3 * sizes[i][0] * sizes[i][1]), sizeof *x);
        assert_non_null(x);
        TnTensor image = {.data = x, .dtype = TN_F32, .rank = 4, .dims = {1, 3, sizes[i][0], sizes[i][1]}};
        run(plan, &image, &context, &have, &err);
        for (int64_t k = 0; k < have.scores.dims[0]; k++) {
            const float *b = (const float *)have.boxes.data + 4 * k;
            assert_true(b[0] >= 0 && b[1] >= 0 && b[0] <= b[2] && b[1] <= b[3] && b[2] <= (float)sizes[i][1] && b[3] <= (float)sizes[i][0]);
        }
        free(x);
    }
    tn_context_destroy(&context);
    tn_plan_close(&plan);
    tn_build_free(&o, memory);
}

static void what_is_wrong_is_named(void **state) {
    (void)state;
    static const struct {
        const char *model, *attention;
        uint32_t head_dim, image_size;
        float threshold;
        TnStatus st;
        const char *says[4];
    } rows[] = {
        {DATA "detector_global.pth", NULL, 8, 0, 0, TN_ERR_REQUEST, {"--attention hybrid", "window", "global", "wrong answers"}},
        {DATA "detector_global.pth", "local", 8, 0, 0, TN_ERR_ARGUMENT, {"'local'", "global, window and hybrid", "", ""}},
        {DATA "detector_global.pth", "global", 0, 0, 0, TN_ERR_REQUEST, {"--head-dim", "depth 1,1,4,1", "", ""}},
        {DATA "detector_global.pth", "global", 7, 0, 0, TN_ERR_REQUEST, {"width 7", "16", "", ""}},
        {DATA "detector_global.pth", "global", 8, 224, 0, TN_ERR_REQUEST, {"--image-size", "any size", "", ""}},
        {DATA "detector_global.pth", "global", 8, 0, 1.5f, TN_ERR_REQUEST, {"score threshold 1.5", "0 to 1", "", ""}},
        {DATA "detector_light.pth", "global", 8, 0, 0, TN_ERR_REQUEST, {"--attention", "prunes", "", ""}},
        {DATA "uniformer.pth", "global", 8, 0, 0, TN_ERR_REQUEST, {"--attention", "detectors", "", ""}},
        {DATA "detector_broken.pth",
         "global",
         8,
         0,
         0,
         TN_ERR_DATA,
         {"neck.lateral_convs.1.conv.bias is missing", "backbone.blocks3.2.attn.qkv.weight is missing", "fc_reg.weight is missing",
          "rpn_head.extra is not used"}},
        {DATA "detector_broken.pth", "global", 8, 0, 0, TN_ERR_DATA, {"backbone.norm2.weight is float16 [15]", "expected [8]", "UniFormer", ""}},
        {TN_SOURCE_DIR "/tests/fixtures/hf_trocr_deit_tied_fp32", "global", 0, 0, 0, TN_ERR_ARGUMENT, {"attention", "files of weights", "", ""}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        TnBuildOptions o = tn_build_options_default();
        TnPlan *plan;
        void *memory;
        TnError err = {0};
        o.attention = rows[i].attention;
        o.head_dim = rows[i].head_dim;
        o.image_size = rows[i].image_size;
        o.score_threshold = rows[i].threshold;
        TnStatus st = open_plan(rows[i].model, &o, &plan, &memory, &err);
        for (size_t k = 0; k < 4; k++) {
            if (st != rows[i].st || strstr(err.message, rows[i].says[k]) == NULL)
                fail_msg("row %zu: %s: %s", i, tn_status_name(st), err.message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_kind_agrees_with_the_official_classes), cmocka_unit_test(no_answers_are_none),
                                       cmocka_unit_test(every_size_runs), cmocka_unit_test(what_is_wrong_is_named)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
