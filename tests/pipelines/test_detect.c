/* SPDX-License-Identifier: Apache-2.0
 *
 * Detection: pixels as OpenCV and mmcv make them, masks as PyTorch pastes them (data/detect, made by make_detect.py), two tiny detectors in
 * both forms, drawing, pictures that are hard. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/detect.h"
#include "pipelines/draw.h"
#include "pipelines/npz.h"
#include "tenon/build.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/detect/"

static const TnTensor *entry(const TnNpz *npz, const char *name, int i) {
    char text[32];
    snprintf(text, sizeof text, "%s%d", name, i);
    return tn_npz_find(npz, text);
}

static void resizing_is_opencvs(void **state) {
    (void)state;
    TnNpz npz;
    TnError err = {0};
    int n = 0;
    assert_int_equal(tn_npz_read(DATA "resize.npz", NULL, &npz, &err), TN_OK);
    for (; entry(&npz, "picture", n) != NULL; n++) {
        const TnTensor *in = entry(&npz, "picture", n), *want = entry(&npz, "resized", n);
        TnImage image = {in->data, (uint32_t)in->dims[1], (uint32_t)in->dims[0]}, got;
        assert_int_equal(tn_image_resize_linear(&image, (uint32_t)want->dims[1], (uint32_t)want->dims[0], &got, &err), TN_OK);
        if (memcmp(got.rgb, want->data, tn_tensor_bytes(want)) != 0)
            fail_msg("picture %d: %u x %u to %u x %u", n, image.width, image.height, got.width, got.height);
        tn_image_free(&got);
    }
    assert_true(n > 10);
    TnImage none = {NULL, 0, 3}, got;
    assert_int_equal(tn_image_resize_linear(&none, 5, 5, &got, &err), TN_ERR_ARGUMENT);
    tn_npz_free(NULL, &npz);
}

static void masks_are_pasted_as_mmdet_does(void **state) {
    (void)state;
    TnNpz npz;
    TnError err = {0};
    int n = 0;
    assert_int_equal(tn_npz_read(DATA "paste.npz", NULL, &npz, &err), TN_OK);
    for (; entry(&npz, "mask", n) != NULL; n++) {
        const TnTensor *mask = entry(&npz, "mask", n), *want = entry(&npz, "pasted", n);
        uint32_t h = (uint32_t)want->dims[0], w = (uint32_t)want->dims[1];
        uint8_t *bits = malloc((size_t)h * w);
        TnRle got;
        assert_int_equal(
            tn_detect_paste(mask->data, (uint32_t)mask->dims[0], (uint32_t)mask->dims[1], entry(&npz, "box", n)->data, w, h, &got, &err),
            TN_OK);
        tn_rle_to_mask(&got, bits);
        if (memcmp(bits, want->data, (size_t)h * w) != 0)
            fail_msg("mask %d", n);
        free(bits);
        tn_rle_free(&got);
    }
    assert_true(n >= 10);
    tn_npz_free(NULL, &npz);
    /* boxes that no model should give */
    static const float odd[][4] = {{NAN, 0, 5, 5},       {5, 5, 1, 1},     {-INFINITY, 0, 5, 5},
                                   {1e30f, 0, 2e30f, 5}, {-9, -9, -8, -8}, {3, 3, 3, 3}};
    const float mask[4] = {1, 1, 1, NAN};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        TnRle got;
        assert_int_equal(tn_detect_paste(mask, 2, 2, odd[i], 9, 9, &got, &err), TN_OK);
        tn_rle_free(&got);
    }
}

typedef struct Model {
    void *memory;
    TnPlan *plan;
    TnDetector *detector;
} Model;

static void open_model(const char *path, const char *shapes, const TnDetectOptions *options, Model *m) {
    TnBuildOptions o = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    TnError err = {0};
    size_t n;
    o.shapes = shapes;
    if (tn_build_memory(path, &o, &m->memory, &n, &err) != TN_OK || tn_plan_open_memory(m->memory, n, &po, &m->plan, &err) != TN_OK ||
        tn_detector_create(m->plan, options, &m->detector, &err) != TN_OK)
        fail_msg("%s", err.message);
}

static void close_model(Model *m) {
    tn_detector_destroy(&m->detector);
    tn_plan_close(&m->plan);
    tn_build_free(NULL, m->memory);
}

static TnImage grey(uint32_t width, uint32_t height) {
    TnImage image = {malloc((size_t)width * height * 3), width, height};
    memset(image.rgb, 128, (size_t)width * height * 3);
    return image;
}

static void pixels_are_mmdets(void **state) {
    (void)state;
    Model m;
    TnNpz npz;
    TnError err = {0};
    const float *planes;
    uint32_t w, h;
    float scale[2];
    TnDetectOptions o = tn_detect_options_default();
    assert_int_equal(tn_npz_read(DATA "resize.npz", NULL, &npz, &err), TN_OK);
    const TnTensor *in = entry(&npz, "picture", 0), *want = tn_npz_find(&npz, "planes");
    TnImage image = {in->data, (uint32_t)in->dims[1], (uint32_t)in->dims[0]};
    o.long_side = image.width;
    o.short_side = image.height;
    open_model(DATA "detector.onnx", NULL, &o, &m);
    assert_int_equal(tn_detector_preprocess(m.detector, &image, &planes, &w, &h, scale, &err), TN_OK);
    assert_true(w == image.width && h == image.height && scale[0] == 1 && scale[1] == 1);
    for (int64_t i = 0; i < tn_tensor_numel(want); i++)
        assert_true(fabs((double)planes[i] - (double)((const float *)want->data)[i]) <= 1e-6);
    tn_npz_free(NULL, &npz);
    close_model(&m);
    /* sizes as mmcv rounds them */
    static const uint32_t sizes[][4] = {{640, 480, 1067, 800}, {427, 640, 800, 1199}, {2000, 500, 1333, 333},
                                        {1, 1, 800, 800},      {333, 500, 800, 1201}, {1333, 800, 1333, 800}};
    o = tn_detect_options_default();
    open_model(DATA "detector.onnx", NULL, &o, &m);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        TnImage picture = grey(sizes[i][0], sizes[i][1]);
        assert_int_equal(tn_detector_preprocess(m.detector, &picture, &planes, &w, &h, scale, &err), TN_OK);
        if (w != sizes[i][2] || h != sizes[i][3] || scale[0] != (float)((double)w / picture.width) ||
            scale[1] != (float)((double)h / picture.height))
            fail_msg("%u x %u became %u x %u", picture.width, picture.height, w, h);
        tn_image_free(&picture);
    }
    close_model(&m);
}

static void check_boxes(const TnDetections *f, uint32_t width, uint32_t height) {
    static const float share[3][4] = {{0.1f, 0.2f, 0.5f, 0.6f}, {0, 0, 1, 1}, {0.3f, 0.3f, 0.9f, 0.95f}};
    assert_int_equal(f->n, 3); /* the fourth is left out by the model */
    assert_true(f->width == width && f->height == height);
    for (uint32_t i = 0; i < 3; i++) {
        for (int k = 0; k < 4; k++)
            assert_true(fabsf(f->items[i].box[k] - share[i][k] * (float)(k % 2 == 0 ? width : height)) <= 1e-3f * (float)width);
        assert_true(i == 0 || f->items[i].score <= f->items[i - 1].score);
        assert_true(f->items[i].mask.width == width && f->items[i].mask.height == height && tn_rle_area(&f->items[i].mask) > 0);
    }
    assert_true(f->preprocess_ms >= 0 && f->run_ms > 0 && f->postprocess_ms >= 0);
}

static void both_forms_detect(void **state) {
    (void)state;
    static const struct {
        const char *path, *shapes;
        uint32_t labels[3];
    } forms[] = {{DATA "detector.onnx", NULL, {17, 0, 2}},
                 {DATA "torchvision.onnx", NULL, {18, 1, 3}},
                 {DATA "detector.onnx", "height=96,width=64", {17, 0, 2}}};
    TnImage image = grey(90, 60);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        Model m;
        TnDetections f;
        TnError err = {0};
        TnDetectOptions o = tn_detect_options_default();
        open_model(forms[i].path, forms[i].shapes, &o, &m);
        assert_true(tn_detector_has_masks(m.detector));
        assert_int_equal(tn_detector_labels_are_ids(m.detector), i == 1);
        assert_int_equal(tn_detector_run(m.detector, &image, &f, &err), TN_OK);
        if (i < 2)
            check_boxes(&f, 90, 60);
        /* of a plan of one size the picture is the upper left part, boxes are shares of the whole: 64 x 96 of which 64 x 43 is picture */
        for (uint32_t k = 0; i == 2 && k < 4; k++)
            assert_true(fabsf(f.items[1].box[k] - (k == 2 ? 90.0f : k == 3 ? 96 / ((float)(43.0 / 60.0)) : 0)) <= 1e-3f);
        for (uint32_t k = 0; k < 3; k++) {
            assert_int_equal(f.items[k].label, forms[i].labels[k]);
            assert_null(f.items[k].name);
        }
        assert_int_equal(tn_detector_read_labels(m.detector, "coco", &err), TN_OK);
        assert_int_equal(tn_detector_run(m.detector, &image, &f, &err), TN_OK);
        assert_string_equal(f.items[0].name, i == 1 ? "dog" : "horse");
        assert_string_equal(f.items[1].name, "person");
        assert_string_equal(f.items[2].name, "car");
        close_model(&m);
    }
    tn_image_free(&image);
}

static void labels_and_thresholds(void **state) {
    (void)state;
    Model m;
    TnDetections f;
    TnError err = {0};
    TnImage image = grey(30, 30);
    TnDetectOptions o = tn_detect_options_default();
    o.min_score = 0.5f;
    open_model(DATA "detector.onnx", NULL, &o, &m);
    assert_int_equal(tn_detector_run(m.detector, &image, &f, &err), TN_OK);
    assert_int_equal(f.n, 2);
    char path[] = "/tmp/tn-labels-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    fputs("zero\r\none\n\nthree", file);
    fclose(file);
    assert_int_equal(tn_detector_read_labels(m.detector, path, &err), TN_OK);
    assert_string_equal(tn_detector_label(m.detector, 0), "zero");
    assert_string_equal(tn_detector_label(m.detector, 3), "three");
    assert_null(tn_detector_label(m.detector, 4));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(tn_detector_read_labels(m.detector, path, &err), TN_ERR_DATA);
    assert_string_equal(tn_detector_label(m.detector, 1), "one");
    unlink(path);
    assert_int_equal(tn_detector_read_labels(m.detector, path, &err), TN_ERR_IO);
    assert_int_equal(tn_coco_class_id(79), 90);
    assert_string_equal(tn_coco_class_name(79), "toothbrush");
    assert_null(tn_coco_class_name(80));
    close_model(&m);
    tn_image_free(&image);
}

static void hard_pictures_give_answers_or_errors(void **state) {
    (void)state;
    Model m;
    TnDetections f;
    TnError err = {0};
    TnDetectOptions o = tn_detect_options_default();
    open_model(DATA "detector.onnx", NULL, &o, &m);
    TnImage dot = grey(1, 1), line = grey(20000, 1), pole = grey(1, 20000), band = grey(20000, 16), none = {dot.rgb, 0, 4};
    assert_int_equal(tn_detector_run(m.detector, &dot, &f, &err), TN_OK);
    assert_true(f.n == 3 && f.items[0].mask.width == 1);
    assert_int_equal(tn_detector_run(m.detector, &line, &f, &err), TN_ERR_LIMIT);
    assert_non_null(strstr(err.message, "20000 x 1 pixels is too long and narrow"));
    assert_int_equal(f.n, 0);
    assert_int_equal(tn_detector_run(m.detector, &pole, &f, &err), TN_ERR_LIMIT);
    assert_int_equal(tn_detector_run(m.detector, &band, &f, &err), TN_OK);
    assert_int_equal(tn_detector_run(m.detector, &none, &f, &err), TN_ERR_ARGUMENT);
    tn_image_free(&dot);
    tn_image_free(&line);
    tn_image_free(&pole);
    tn_image_free(&band);
    close_model(&m);
    /* plans that detect nothing */
    TnBuildOptions bo = tn_build_options_default();
    TnPlanOptions po = tn_plan_options_default();
    size_t n;
    bo.head_dim = 8;
    bo.image_size = 64;
    assert_int_equal(tn_build_memory(TN_SOURCE_DIR "/tests/hf/data/uniformer.pth", &bo, &m.memory, &n, &err), TN_OK);
    assert_int_equal(tn_plan_open_memory(m.memory, n, &po, &m.plan, &err), TN_OK);
    assert_int_equal(tn_detector_create(m.plan, &o, &m.detector, &err), TN_ERR_REQUEST);
    assert_non_null(strstr(err.message, "no output 'boxes'") != NULL ? err.message : strstr(err.message, "no output 'scores'"));
    close_model(&m);
}

static uint64_t changed(const TnImage *a, const TnImage *b) {
    uint64_t n = 0;
    for (size_t i = 0; i < (size_t)a->width * a->height; i++)
        n += memcmp(a->rgb + i * 3, b->rgb + i * 3, 3) != 0;
    return n;
}

static void results_are_drawn(void **state) {
    (void)state;
    TnError err = {0};
    TnImage image = grey(60, 50), out;
    uint8_t bits[60 * 50] = {0};
    for (uint32_t y = 20; y < 40; y++)
        memset(bits + y * 60 + 10, 1, 30);
    TnDetection items[2] = {{.box = {10, 20, 40, 40}, .score = 0.75f, .label = 1, .name = "<b>&"},
                            {.box = {-1e9f, 5, 1e9f, NAN}, .score = 0.5f, .label = 9}};
    assert_int_equal(tn_rle_from_mask(bits, 50, 60, &items[0].mask, &err), TN_OK);
    TnImage masked = grey(60, 50);
    tnp_draw_mask(&masked, &items[0].mask, (TnpColour){255, 0, 0}, 105);
    assert_int_equal(changed(&image, &masked), 600); /* the mask and nothing else */
    uint64_t edge = 0;
    for (size_t i = 0; i < 60 * 50; i++)
        edge += masked.rgb[i * 3] != 128 && masked.rgb[i * 3 + 1] > 100;
    assert_int_equal(edge, 2 * 30 + 2 * 18);
    TnDetections f = {.items = items, .n = 2, .width = 60, .height = 50};
    assert_int_equal(tn_detect_draw(&image, &f, &out, &err), TN_OK);
    assert_true(changed(&image, &out) > 600);
    char path[] = "/tmp/tn-page-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(tn_image_save_png(&out, path, &err), TN_OK);
    TnImage back;
    assert_int_equal(tn_image_load(path, &back, &err), TN_OK);
    assert_memory_equal(back.rgb, out.rgb, 60 * 50 * 3);
    TnDetectPage page = {0};
    assert_int_equal(tn_detect_page_add(&page, &image, &f, "a \"page\"", &err), TN_OK);
    assert_int_equal(tn_detect_page_save(&page, "title", path, &err), TN_OK);
    FILE *file = fopen(path, "r");
    char text[60000];
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    assert_non_null(strstr(text, "&lt;b&gt;&amp; 0.75"));
    assert_non_null(strstr(text, "600 pixels"));
    assert_null(strstr(text, "<b>"));
    assert_non_null(strstr(text, "</html>"));
    assert_int_equal(tn_image_save_png(&out, "/nowhere/at/all.png", &err), TN_ERR_IO);
    unlink(path);
    tn_rle_free(&items[0].mask);
    tn_image_free(&back);
    tn_image_free(&masked);
    tn_image_free(&out);
    tn_image_free(&image);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resizing_is_opencvs),   cmocka_unit_test(masks_are_pasted_as_mmdet_does),
        cmocka_unit_test(pixels_are_mmdets),     cmocka_unit_test(both_forms_detect),
        cmocka_unit_test(labels_and_thresholds), cmocka_unit_test(hard_pictures_give_answers_or_errors),
        cmocka_unit_test(results_are_drawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
