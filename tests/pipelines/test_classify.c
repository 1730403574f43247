/* SPDX-License-Identifier: Apache-2.0
 *
 * Classification: pixels as torchvision prepares them (data/crops.npz, made by make_crops.py), classes in order, batches, labels, bad
 * pictures. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/classify.h"
#include "pipelines/npz.h"
#include "tenon/build.h"

#define MODEL TN_SOURCE_DIR "/tests/hf/data/uniformer.pth"
#define N_PICTURES 7
#define CLASSES 11

static struct {
    void *memory;
    TnPlan *plan;
    TnClassifier *classifier;
    TnNpz npz;
    TnImage images[N_PICTURES];
} all;

static int begin(void **state) {
    (void)state;
    TnBuildOptions o = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    TnError err = {0};
    size_t n;
    o.head_dim = 8;
    o.image_size = 64;
    if (tn_build_memory(MODEL, &o, &all.memory, &n, &err) != TN_OK || tn_plan_open_memory(all.memory, n, &po, &all.plan, &err) != TN_OK ||
        tn_classifier_create(all.plan, 1, &all.classifier, &err) != TN_OK ||
        tn_npz_read(TN_SOURCE_DIR "/tests/pipelines/data/crops.npz", NULL, &all.npz, &err) != TN_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    for (int i = 0; i < N_PICTURES; i++) {
        char name[16];
        snprintf(name, sizeof name, "picture%d", i);
        const TnTensor *t = tn_npz_find(&all.npz, name);
        all.images[i] = (TnImage){t->data, (uint32_t)t->dims[1], (uint32_t)t->dims[0]};
    }
    return 0;
}

static int end(void **state) {
    (void)state;
    tn_classifier_destroy(&all.classifier);
    tn_plan_close(&all.plan);
    tn_build_free(NULL, all.memory);
    tn_npz_free(NULL, &all.npz);
    return 0;
}

static void pixels_are_torchvisions(void **state) {
    (void)state;
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, std[3] = {0.229f, 0.224f, 0.225f};
    static float planes[3 * 64 * 64];
    uint32_t w, h;
    tn_classifier_size(all.classifier, &w, &h);
    assert_int_equal(w, 64);
    assert_int_equal(h, 64);
    for (int i = 0; i < N_PICTURES; i++) {
        char name[16];
        TnError err = {0};
        double worst = 0;
        snprintf(name, sizeof name, "crop%d", i);
        const TnTensor *want = tn_npz_find(&all.npz, name);
        assert_int_equal(tn_classifier_preprocess(all.classifier, &all.images[i], planes, &err), TN_OK);
        for (size_t c = 0; c < 3; c++) {
            for (size_t k = 0; k < 64 * 64; k++) {
                double level = (double)(planes[c * 64 * 64 + k] * std[c] + mean[c]) * 255.0;
                worst = fmax(worst, fabs(level - ((const uint8_t *)want->data)[k * 3 + c]));
            }
        }
        if (!(worst <= 1.001)) /* of 255; rounding between the passes may differ by one */
            fail_msg("picture %d: %g levels from torchvision's", i, worst);
    }
}

static void classes_come_in_order_whatever_the_batch(void **state) {
    (void)state;
    TnClassScore one[N_PICTURES * CLASSES], many[N_PICTURES * CLASSES];
    TnClassifyTimes times;
    TnError err = {0};
    assert_int_equal(tn_classifier_classes(all.classifier), CLASSES);
    assert_int_equal(tn_classifier_run(all.classifier, all.images, N_PICTURES, CLASSES, many, &times, &err), TN_OK);
    assert_true(times.preprocess_ms >= 0 && times.run_ms > 0);
    for (uint32_t i = 0; i < N_PICTURES; i++) {
        double sum = 0;
        assert_int_equal(tn_classifier_run(all.classifier, &all.images[i], 1, CLASSES, one + i * CLASSES, NULL, &err), TN_OK);
        for (uint32_t k = 0; k < CLASSES; k++) {
            const TnClassScore *a = &one[i * CLASSES + k], *b = &many[i * CLASSES + k];
            assert_int_equal(a->index, b->index);
            assert_true(fabs((double)a->probability - (double)b->probability) <= 1e-5);
            assert_true(k == 0 || a[-1].probability >= a->probability);
            assert_null(a->label);
            sum += (double)a->probability;
        }
        assert_true(fabs(sum - 1) <= 1e-5);
    }
    TnClassScore three[3];
    assert_int_equal(tn_classifier_run(all.classifier, all.images, 1, 3, three, NULL, &err), TN_OK);
    for (uint32_t k = 0; k < 3; k++)
        assert_int_equal(three[k].index, one[k].index);
}

static void labels_must_be_as_many_as_classes(void **state) {
    (void)state;
    char path[] = "/tmp/tn-labels-XXXXXX";
    TnError err = {0};
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    for (int i = 0; i < CLASSES; i++)
        fprintf(f, "class %d%s", i, i % 2 == 0 ? "\n" : "\r\n");
    fclose(f);
    assert_int_equal(tn_classifier_read_labels(all.classifier, path, &err), TN_OK);
    assert_string_equal(tn_classifier_label(all.classifier, 10), "class 10");
    assert_null(tn_classifier_label(all.classifier, CLASSES));
    assert_int_equal(truncate(path, 20), 0);
    assert_int_equal(tn_classifier_read_labels(all.classifier, path, &err), TN_ERR_DATA);
    assert_non_null(strstr(err.message, "11 classes"));
    assert_string_equal(tn_classifier_label(all.classifier, 0), "class 0"); /* the old ones stay */
    unlink(path);
    assert_int_equal(tn_classifier_read_labels(all.classifier, path, &err), TN_ERR_IO);
}

static void odd_pictures_give_answers_or_errors(void **state) {
    (void)state;
    TnError err = {0};
    TnClassScore top[CLASSES + 1];
    uint8_t *pixels = calloc(20000, 3);
    TnImage dot = {pixels, 1, 1}, stripe = {pixels, 20000, 1}, tall = {pixels, 1, 20000}, none = {pixels, 0, 5};
    assert_int_equal(tn_classifier_run(all.classifier, &dot, 1, 1, top, NULL, &err), TN_OK);
    assert_int_equal(tn_classifier_run(all.classifier, &stripe, 1, 1, top, NULL, &err), TN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "20000 x 1"));
    assert_int_equal(tn_classifier_run(all.classifier, &tall, 1, 1, top, NULL, &err), TN_ERR_LIMIT);
    assert_int_equal(tn_classifier_run(all.classifier, &none, 1, 1, top, NULL, &err), TN_ERR_ARGUMENT);
    assert_int_equal(tn_classifier_run(all.classifier, all.images, 0, 1, top, NULL, &err), TN_ERR_ARGUMENT);
    assert_int_equal(tn_classifier_run(all.classifier, all.images, 1, CLASSES + 1, top, NULL, &err), TN_ERR_ARGUMENT);
    free(pixels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pixels_are_torchvisions),
        cmocka_unit_test(classes_come_in_order_whatever_the_batch),
        cmocka_unit_test(labels_must_be_as_many_as_classes),
        cmocka_unit_test(odd_pictures_give_answers_or_errors),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
