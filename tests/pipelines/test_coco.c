/* SPDX-License-Identifier: Apache-2.0
 *
 * Run lengths, polygons and COCO's numbers against what pycocotools made of the same (data/detect, made by make_detect.py); files that are
 * wrong. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "pipelines/coco.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/detect/"

static void shapes_are_pycocotools(void **state) {
    (void)state;
    json_t *list = json_load_file(DATA "shapes.json", 0, NULL), *o;
    size_t i;
    assert_true(json_array_size(list) >= 50);
    json_array_foreach(list, i, o) {
        uint32_t h = (uint32_t)json_integer_value(json_array_get(json_object_get(o, "size"), 0));
        uint32_t w = (uint32_t)json_integer_value(json_array_get(json_object_get(o, "size"), 1));
        const json_t *points = json_object_get(o, "polygon"), *box = json_object_get(o, "box");
        const char *text = json_string_value(json_object_get(o, "counts"));
        double xy[64], got[4];
        TnError err = {0};
        TnRle a, b;
        for (size_t k = 0; k < json_array_size(points); k++)
            xy[k] = json_number_value(json_array_get(points, k));
        assert_int_equal(tn_rle_from_polygon(xy, (uint32_t)json_array_size(points) / 2, h, w, &a, &err), TN_OK);
        assert_int_equal(tn_rle_from_text(text, strlen(text), h, w, &b, &err), TN_OK);
        /* the same pixels; pycocotools' text may have empty runs */
        assert_true(tn_rle_common(&a, &b) == tn_rle_area(&a) && tn_rle_area(&a) == tn_rle_area(&b));
        assert_true(tn_rle_area(&a) == (uint64_t)json_integer_value(json_object_get(o, "area")));
        tn_rle_box(&a, got);
        for (size_t k = 0; tn_rle_area(&a) > 0 && k < 4; k++)
            assert_true(got[k] == json_number_value(json_array_get(box, k)));
        char *again = tn_rle_to_text(&b);
        assert_string_equal(again, text);
        free(again);
        tn_rle_free(&a);
        tn_rle_free(&b);
    }
    json_decref(list);
}

static void masks_go_to_runs_and_back(void **state) {
    (void)state;
    uint8_t bits[7 * 5], back[7 * 5], other[7 * 5];
    TnError err = {0};
    for (uint32_t seed = 0; seed < 300; seed++) {
        uint64_t both = 0, area = 0, any = 0;
        TnRle a, b, sum[2];
        srand(seed);
        for (size_t i = 0; i < sizeof bits; i++) {
            bits[i] = (uint8_t)(rand() % 8 < (int)(seed % 9));
            other[i] = (uint8_t)(rand() % 2);
            both += bits[i] & other[i];
            any += bits[i] | other[i];
            area += bits[i];
        }
        assert_int_equal(tn_rle_from_mask(bits, 7, 5, &a, &err), TN_OK);
        assert_int_equal(tn_rle_from_mask(other, 7, 5, &b, &err), TN_OK);
        tn_rle_to_mask(&a, back);
        assert_memory_equal(bits, back, sizeof bits);
        assert_true(tn_rle_area(&a) == area && tn_rle_common(&a, &b) == both && tn_rle_common(&b, &a) == both);
        char *text = tn_rle_to_text(&a);
        TnRle c;
        assert_int_equal(tn_rle_from_text(text, strlen(text), 7, 5, &c, &err), TN_OK);
        assert_int_equal(c.n, a.n);
        assert_memory_equal(c.counts, a.counts, a.n * sizeof *a.counts);
        sum[0] = a;
        sum[1] = b;
        TnRle joined;
        assert_int_equal(tn_rle_union(sum, 2, &joined, &err), TN_OK);
        assert_true(tn_rle_area(&joined) == any);
        free(text);
        tn_rle_free(&a);
        tn_rle_free(&b);
        tn_rle_free(&c);
        tn_rle_free(&joined);
    }
}

static void wrong_runs_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {{"", "add up to 0"},         {"5", "add up to 5"},
                 {"<1", "add up to"},         {"P", "ends within a number"},
                 {"0 ", "character 1"},       {"oooooooo", "35 bits"},
                 {"~", "character 0"},        {"11O", "pixels long"},
                 {"PPPPPPP0", "more than 35"}, {"00000000000000", "add up to 0"}};
    TnError err = {0};
    TnRle a;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TnStatus st = tn_rle_from_text(cases[i].text, strlen(cases[i].text), 4, 3, &a, &err);
        if (st == TN_OK || strstr(err.message, cases[i].says) == NULL)
            fail_msg("'%s': %d '%s'", cases[i].text, st, err.message);
        assert_null(a.counts);
    }
    assert_int_equal(tn_rle_from_text("0", 1, 1u << 20, 1u << 20, &a, &err), TN_ERR_LIMIT);
    const double far[6] = {0, 0, 1e9, 0, 0, 5}, nan_at[6] = {0, 0, NAN, 0, 0, 5};
    assert_int_equal(tn_rle_from_polygon(far, 3, 10, 10, &a, &err), TN_ERR_DATA);
    assert_int_equal(tn_rle_from_polygon(nan_at, 3, 10, 10, &a, &err), TN_ERR_DATA);
    double *wide = calloc(2000, sizeof *wide);
    for (size_t i = 0; i < 2000; i += 4)
        wide[i] = 9e5;
    assert_int_equal(tn_rle_from_polygon(wide, 1000, 10, 10, &a, &err), TN_ERR_LIMIT);
    free(wide);
}

static void check_numbers(const char *file, const char *kind, const TnCocoScore *s) {
    json_t *all = json_load_file(DATA "expected.json", 0, NULL);
    const json_t *want = json_object_get(json_object_get(all, file), kind);
    for (int i = 0; i < TN_COCO_NUMBERS; i++) {
        double expected = json_number_value(json_object_get(want, tn_coco_number_names[i]));
        if (!(fabs(s->numbers[i] - expected) <= 1e-9))
            fail_msg("%s, %s, %s: %.12g, not %.12g", file, kind, tn_coco_number_names[i], s->numbers[i], expected);
    }
    json_decref(all);
}

static void numbers_are_pycocotools(void **state) {
    (void)state;
    static const char *const files[] = {"results", "masks"};
    for (int f = 0; f < 2; f++) {
        char path[400];
        TnError err = {0};
        TnCoco *coco;
        TnCocoResults *results, *again;
        TnCocoScore s;
        snprintf(path, sizeof path, DATA "%s.json", files[f]);
        assert_int_equal(tn_coco_load(DATA "annotations.json", &coco, &err), TN_OK);
        assert_int_equal(tn_coco_results_create(coco, &results, &err), TN_OK);
        assert_int_equal(tn_coco_results_load(results, path, &err), TN_OK);
        assert_true(tn_coco_results_have_masks(results) && tn_coco_has_masks(coco) && tn_coco_results_left_out(results) == 0);
        assert_int_equal(tn_coco_score(coco, results, TN_COCO_BOX, NULL, &s, &err), TN_OK);
        check_numbers(files[f], "boxes", &s);
        double sum = 0, n = 0;
        for (uint32_t i = 0; i < tn_coco_category_count(coco); i++) {
            sum += s.category_ap[i] > -1 ? s.category_ap[i] : 0;
            n += s.category_ap[i] > -1;
        }
        assert_true(fabs(sum / n - s.numbers[0]) <= 1e-12);
        tn_coco_score_free(&s);
        assert_int_equal(tn_coco_score(coco, results, TN_COCO_MASK, NULL, &s, &err), TN_OK);
        check_numbers(files[f], "masks", &s);
        tn_coco_score_free(&s);
        /* written and read again they score the same */
        char copy[] = "/tmp/tn-results-XXXXXX";
        close(mkstemp(copy));
        assert_int_equal(tn_coco_results_save(results, copy, &err), TN_OK);
        assert_int_equal(tn_coco_results_create(coco, &again, &err), TN_OK);
        assert_int_equal(tn_coco_results_load(again, copy, &err), TN_OK);
        assert_int_equal(tn_coco_results_count(again), tn_coco_results_count(results));
        assert_int_equal(tn_coco_score(coco, again, TN_COCO_MASK, NULL, &s, &err), TN_OK);
        if (f == 0)
            check_numbers(files[f], "masks", &s);
        tn_coco_score_free(&s);
        unlink(copy);
        tn_coco_results_destroy(&again);
        tn_coco_results_destroy(&results);
        tn_coco_destroy(&coco);
    }
}

/* One image of 10 x 10, one category, one truth. */
#define HEAD "{\"images\":[{\"id\":1,\"width\":10,\"height\":10}],\"categories\":[{\"id\":7,\"name\":\"a\"}],\"annotations\":["
#define TRUTH "\"image_id\":1,\"category_id\":7,\"bbox\":[0,0,5,5],\"area\":25,\"iscrowd\":0"

static double ap_of(const char *annotations, const char *found, TnCocoKind kind, const bool *images, TnError *err) {
    TnCoco *coco = NULL;
    TnCocoResults *results = NULL;
    TnCocoScore s = {.numbers = {NAN}};
    *err = (TnError){0};
    if (tn_coco_decode(annotations, strlen(annotations), "truth", &coco, err) == TN_OK &&
        tn_coco_results_create(coco, &results, err) == TN_OK &&
        tn_coco_results_decode(results, found, strlen(found), "found", err) == TN_OK &&
        tn_coco_score(coco, results, kind, images, &s, err) != TN_OK)
        s.numbers[0] = NAN;
    double ap = s.numbers[0];
    tn_coco_score_free(&s);
    tn_coco_results_destroy(&results);
    tn_coco_destroy(&coco);
    return ap;
}

static void small_cases_count_as_they_should(void **state) {
    (void)state;
    TnError err;
    const char *truth = HEAD "{\"id\":1," TRUTH "}]}", *hit = "[{\"image_id\":1,\"category_id\":7,\"score\":0.5,\"bbox\":[0,0,5,5]}]";
    assert_true(fabs(ap_of(truth, hit, TN_COCO_BOX, NULL, &err) - 1) <= 1e-9);
    assert_true(ap_of(truth, "[]", TN_COCO_BOX, NULL, &err) == 0);
    assert_true(ap_of(HEAD "]}", hit, TN_COCO_BOX, NULL, &err) == -1);
    assert_true(ap_of(HEAD "{\"id\":0," TRUTH "}]}", hit, TN_COCO_BOX, NULL, &err) == 0); /* as pycocotools */
    const bool none[1] = {false};
    assert_true(ap_of(truth, hit, TN_COCO_BOX, none, &err) == -1);
    /* crowds are neither found nor missed */
    assert_true(ap_of(HEAD "{\"id\":1,\"image_id\":1,\"category_id\":7,\"bbox\":[0,0,5,5],\"area\":25,\"iscrowd\":1}]}", hit, TN_COCO_BOX,
                      NULL, &err) == -1);
    /* a result without mask is its box */
    assert_true(fabs(ap_of(HEAD "{\"id\":1,\"segmentation\":[[0,0,0,5,5,5,5,0]]," TRUTH "}]}", hit, TN_COCO_MASK, NULL, &err) - 1) <= 1e-9);
    /* annotations of unlisted images are left out */
    assert_true(ap_of(HEAD "{\"id\":1,\"image_id\":5,\"category_id\":7,\"bbox\":[0,0,5,5],\"area\":25}]}", hit, TN_COCO_BOX, NULL, &err) ==
                -1);
}

static void wrong_files_are_refused(void **state) {
    (void)state;
#define MASKED(segmentation) HEAD "{\"id\":1," TRUTH ",\"segmentation\":" segmentation "}]}"
    static const struct {
        const char *truth, *found, *says;
    } cases[] = {
        {"", "[]", "no JSON"},
        {"{\"images\":[", "[]", "no JSON"},
        {"[]", "[]", "a results file?"},
        {"{}", "[]", "no list 'images'"},
        {"{\"images\":[{}]}", "[]", "image 0: 'id'"},
        {"{\"images\":[{\"id\":1,\"width\":-4}]}", "[]", "'width'"},
        {"{\"images\":[{\"id\":1},{\"id\":1}]}", "[]", "two images have the id 1"},
        {"{\"images\":[],\"categories\":[3]}", "[]", "category 0 is no object"},
        {"{\"images\":[],\"categories\":[]}", "[]", "no list 'annotations'"},
        {HEAD "{\"id\":1," TRUTH "},{\"id\":1," TRUTH "}]}", "[]", "two annotations have the id 1"},
        {HEAD "{\"id\":1,\"image_id\":1,\"category_id\":7,\"bbox\":[0,0,5]}]}", "[]", "four numbers"},
        {HEAD "{\"id\":1,\"image_id\":1,\"category_id\":7,\"bbox\":[0,0,5,5]}]}", "[]", "'area'"},
        {HEAD "{\"id\":1.5," TRUTH "}]}", "[]", "annotation 0: 'id' must be a whole number"},
        {HEAD "]}", "{}", "is no list"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"score\":1}]", "neither 'bbox' nor 'segmentation'"},
        {HEAD "]}", "[{\"image_id\":2,\"category_id\":7,\"score\":1,\"bbox\":[0,0,1,1]}]", "no image with the id 2"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"bbox\":[0,0,1,1]}]", "result 0: 'score'"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"score\":1,\"bbox\":[0,0,1,1]},{\"image_id\":1,\"category_id\":7,\"score\":1}]",
         "result 1: 'bbox'"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"score\":1,\"segmentation\":{\"size\":[9,10],\"counts\":\"0\"}}]",
         "its image has 10 x 10"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"score\":1,\"segmentation\":{\"size\":[10,10],\"counts\":\"5\"}}]", "add up to 5"},
        {HEAD "]}", "[{\"image_id\":1,\"category_id\":7,\"score\":1,\"segmentation\":{\"size\":[10,10],\"counts\":[1,-1]}}]", "run 1"},
        {MASKED("[]"), "[]", "must not be empty"},
        {MASKED("[[1,2,3]]"), "[]", "first needs three corners"},
        {MASKED("[[1,2,3,4,5]]"), "[]", "x, y, x, y"},
        {MASKED("[[1,2,3,4,5,\"6\"]]"), "[]", "no number"},
        {MASKED("[[1,2,3,4,5,6],[1]]"), "[]", "x, y, x, y"},
        {MASKED("7"), "[]", "no list of polygons"},
        {MASKED("{\"counts\":\"a\"}"), "[]", "'size'"},
        {MASKED("{\"size\":[10,10]}"), "[]", "'counts'"},
        {"{\"images\":[{\"id\":1}],\"categories\":[{\"id\":7}],\"annotations\":[{\"id\":1," TRUTH ",\"segmentation\":[[0,0,5,5]]}]}", "[]",
         "do not give width"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        TnError err;
        double ap = ap_of(cases[i].truth, cases[i].found, TN_COCO_MASK, NULL, &err);
        if (!isnan(ap) || strstr(err.message, cases[i].says) == NULL)
            fail_msg("case %zu: %g '%s', expected '%s'", i, ap, err.message, cases[i].says);
    }
    TnError err = {0};
    TnCoco *coco;
    assert_int_equal(tn_coco_load("/nowhere/at/all.json", &coco, &err), TN_ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_pycocotools),           cmocka_unit_test(masks_go_to_runs_and_back),
        cmocka_unit_test(wrong_runs_are_refused),           cmocka_unit_test(numbers_are_pycocotools),
        cmocka_unit_test(small_cases_count_as_they_should), cmocka_unit_test(wrong_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
