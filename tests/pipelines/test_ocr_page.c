/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of pages: files of boxes and what is wrong with them, cutting, straightening; readings that do not depend on batches and order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/ocr.h"
#include "pipelines/util.h"
#include "tenon/build.h"

static char path[] = "/tmp/tenon_boxes_XXXXXX";

static TnStatus load(const char *text, TnOcrPages *pages, TnError *err) {
    assert_int_equal(tnp_write_file(path, text, strlen(text), err), TN_OK);
    return tn_ocr_pages_load(path, pages, err);
}

static void check_corners(const TnOcrBox *b, const double *want) {
    for (int i = 0; i < 8; i++)
        assert_true(b->corner[i] == want[i]);
}

static void boxes_of_every_form_are_read(void **state) {
    (void)state;
    static const double upright[8] = {1, 2, 30, 2, 30, 12, 1, 12}, skewed[8] = {5, 1, 25, 6, 23, 14, 3, 9};
    TnOcrPages p;
    TnError err = {0};
    assert_int_equal(load("[[1,2,30,12], [1,12,30,12,30,2,1,2], [[30,2],[30,12],[1,12],[1,2]],\n {\"box\": [25,6,5,1,3,9,23,14], \"text\": \"ab\"}]", &p, &err),
                     TN_OK);
    assert_int_equal(p.n, 1);
    assert_int_equal(p.page[0].n, 4);
    for (int i = 0; i < 3; i++)
        check_corners(&p.page[0].box[i], upright);
    check_corners(&p.page[0].box[3], skewed);
    assert_string_equal(p.page[0].box[3].truth, "ab");
    assert_null(p.page[0].box[0].truth);
    tn_ocr_pages_free(&p);
    assert_int_equal(load("{\"file_name\": \"x/1.png\", \"annotations\": [{\"box\": [1,2,30,12], \"text\": \"t\", \"label\": 3}]}\n"
                          "{\"file_name\": \"2.png\", \"annotations\": []}\n\n", &p, &err), TN_OK);
    assert_int_equal(p.n, 2);
    assert_string_equal(p.page[0].picture, "x/1.png");
    assert_int_equal(p.page[1].n, 0);
    tn_ocr_pages_free(&p);
}

static void wrong_boxes_are_named(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
        TnStatus code;
    } rows[] = {
        {"", "no boxes", TN_ERR_PARSE},
        {"[[1,2,30,12], [30,2,1,12]]", "box 2: [30,2,1,12] is inverted", TN_ERR_DATA},
        {"[[1,2,1,12]]", "flat", TN_ERR_DATA},
        {"[[1,2,3]]", "8 numbers", TN_ERR_PARSE},
        {"[[1,2,3,4,5,6,7,8,9]]", "8 numbers", TN_ERR_PARSE},
        {"[[[1,2,3],[1,2,3]]]", "4 pairs", TN_ERR_PARSE},
        {"[[1,2,3,\"4\"]]", "8 numbers", TN_ERR_PARSE},
        {"[[0,0,1e300,10]]", "no pixel", TN_ERR_PARSE},
        {"[[0,0,10,10,10,0,0,10]]", "crosses itself", TN_ERR_DATA},
        {"[[0,0,10,10,20,20,30,30]]", "flat", TN_ERR_DATA},
        {"[{\"text\": \"a\"}]", "\"box\"", TN_ERR_PARSE},
        {"[{\"box\": [1,2,3,4], \"text\": 5}]", "\"text\"", TN_ERR_PARSE},
        {"{\"file_name\": \"a\"}", "annotations", TN_ERR_PARSE},
        {"7", "no JSON", TN_ERR_PARSE},
        {"[[1,2,30,12]", "no JSON", TN_ERR_PARSE},
        {"[[1,2,30,12]]\n[[1,2,3", "row 2", TN_ERR_PARSE},
    };
    TnOcrPages p;
    TnError err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(load(rows[i].text, &p, &err), rows[i].code);
        if (strstr(err.message, rows[i].says) == NULL)
            fail_msg("%s: '%s' does not say '%s'", rows[i].text, err.message, rows[i].says);
        tn_ocr_pages_free(&p);
    }
}

/* A page whose red is the column and whose green is the row. */
static TnImage ramp(uint32_t width, uint32_t height) {
    TnImage m = {.rgb = calloc(3, (size_t)width * height), .width = width, .height = height};
    for (uint32_t i = 0; i < width * height; i++) {
        m.rgb[3 * i] = (uint8_t)(i % width);
        m.rgb[3 * i + 1] = (uint8_t)(i / width);
    }
    return m;
}

static void lines_are_cut_and_straightened(void **state) {
    (void)state;
    TnImage page = ramp(100, 80), cut;
    TnError err = {0};
    TnOcrBox b = {.corner = {10.5, 20, 40.2, 20, 40.2, 30.9, 10.5, 30.9}};
    assert_int_equal(tn_ocr_cut(&page, &b, false, &cut, &err), TN_OK);
    assert_int_equal(cut.width, 31);
    assert_int_equal(cut.height, 11);
    assert_int_equal(cut.rgb[0], 10);
    assert_int_equal(cut.rgb[1], 20);
    assert_int_equal(cut.rgb[3 * (31 * 11 - 1)], 40);
    tn_image_free(&cut);
    /* turned by atan(3/4): 50 long, 10 high; along it x grows by 0.8 a pixel, y by 0.6 */
    TnOcrBox turned = {.corner = {20, 10, 60, 40, 54, 48, 14, 18}};
    assert_int_equal(tn_ocr_cut(&page, &turned, false, &cut, &err), TN_OK);
    assert_int_equal(cut.width, 50);
    assert_int_equal(cut.height, 10);
    for (uint32_t y = 0; y < 10; y++) {
        for (uint32_t x = 0; x < 50; x++) {
            double px = 20 + 0.8 * (x + 0.5) - 0.6 * (y + 0.5) - 0.5, py = 10 + 0.6 * (x + 0.5) + 0.8 * (y + 0.5) - 0.5;
            const uint8_t *got = cut.rgb + 3 * (50 * y + x);
            assert_true(got[0] >= px - 0.51 && got[0] <= px + 0.51 && got[1] >= py - 0.51 && got[1] <= py + 0.51);
        }
    }
    tn_image_free(&cut);
    TnOcrBox over = {.corner = {90, 70, 120, 70, 120, 90, 90, 90}}, beyond = {.corner = {100, 5, 120, 5, 120, 9, 100, 9}};
    assert_int_equal(tn_ocr_cut(&page, &over, false, &cut, &err), TN_ERR_DATA);
    assert_non_null(strstr(err.message, "--clip"));
    assert_int_equal(tn_ocr_cut(&page, &over, true, &cut, &err), TN_OK);
    assert_true(cut.width == 10 && cut.height == 10);
    tn_image_free(&cut);
    assert_int_equal(tn_ocr_cut(&page, &beyond, true, &cut, &err), TN_ERR_DATA);
    tn_image_free(&page);
}

/* Pictures of all proportions: one pixel, very long, tall. */
static void readings_do_not_depend_on_batches(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{64, 16}, {1, 1}, {20000, 8}, {200, 20}, {8, 300}, {120, 30}};
    enum { N = sizeof sizes / sizeof *sizes };
    TnBuildOptions bo = tn_build_options_default();
    TnPlan *plan;
    TnOcr *ocr;
    TnError err = {0};
    TnImage images[N];
    TnOcrText alone[N], all[N];
    TnOcrTimes times;
    void *bytes;
    size_t n;
    bo.threads = 2;
    if (tn_build_memory(TN_SOURCE_DIR "/models/trocr-tiny-zh", &bo, &bytes, &n, &err) != TN_OK ||
        tn_plan_open_memory(bytes, n, NULL, &plan, &err) != TN_OK || tn_ocr_create(plan, 2, &ocr, &err) != TN_OK)
        fail_msg("%s", err.message);
    for (uint32_t i = 0; i < N; i++) {
        images[i] = ramp(sizes[i][0], sizes[i][1]);
        assert_int_equal(tn_ocr_read_many(ocr, &images[i], 1, 1, NULL, &alone[i], NULL, &err), TN_OK);
    }
    for (uint32_t batch = 2; batch <= 8; batch += 3) {
        assert_int_equal(tn_ocr_read_many(ocr, images, N, batch, NULL, all, &times, &err), TN_OK);
        for (uint32_t i = 0; i < N; i++) {
            assert_string_equal(all[i].text, alone[i].text);
            assert_int_equal(all[i].n_chars, alone[i].n_chars);
            tn_ocr_text_free(&all[i]);
        }
    }
    assert_int_equal(tn_ocr_read_many(ocr, images, 0, 8, NULL, all, &times, &err), TN_ERR_ARGUMENT);
    /* another model's vocabulary */
    TnVocabulary *other;
    TnOcr *none;
    assert_int_equal(tn_vocabulary_create_text("a\nb\n", 4, &other, &err), TN_OK);
    assert_int_equal(tn_ocr_create_from(&(TnOcrParts){.plan = plan, .vocabulary = other}, &none, &err), TN_ERR_DATA);
    assert_non_null(strstr(err.message, "7 tokens"));
    tn_vocabulary_destroy(&other);
    for (uint32_t i = 0; i < N; i++) {
        tn_image_free(&images[i]);
        tn_ocr_text_free(&alone[i]);
    }
    tn_ocr_destroy(&ocr);
    tn_plan_close(&plan);
    tn_build_free(&bo, bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_of_every_form_are_read),
        cmocka_unit_test(wrong_boxes_are_named),
        cmocka_unit_test(lines_are_cut_and_straightened),
        cmocka_unit_test(readings_do_not_depend_on_batches),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int status = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return status;
}
