/* SPDX-License-Identifier: Apache-2.0
 *
 * Documents: windows, labels and scores against transformers (tools/export/hf_layoutlmv3.py); the three forms of words; entity scores as
 * seqeval counts; pairs; windows that overlap; pages that cannot be read. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "pipelines/doc.h"
#include "pipelines/npz.h"
#include "tenon/build.h"

#define FIXTURE TN_SOURCE_DIR "/tests/fixtures/hf_layoutlmv3_doc"
#define OK(expr)                                                                                                                           \
    do {                                                                                                                                   \
        if ((expr) != TN_OK)                                                                                                               \
            fail_msg("%s: %s", #expr, err.message);                                                                                        \
    } while (0)
#define FAILS(status, text, expr)                                                                                                          \
    do {                                                                                                                                   \
        TnError err = {0};                                                                                                                 \
        TnStatus fails_st = (expr);                                                                                                        \
        if (fails_st != (status) || strstr(err.message, (text)) == NULL)                                                                   \
            fail_msg("%s: status %d, '%s'", #expr, (int)fails_st, err.message);                                                            \
    } while (0)

static TnPlan *plan;
static void *plan_bytes;
static TnBuildOptions build_options;
static TnImage picture;
static TnDocPage form;

static int open_all(void **state) {
    (void)state;
    TnError err = {0};
    size_t n;
    build_options = tn_build_options_default();
    build_options.threads = 2;
    if (tn_build_memory(FIXTURE, &build_options, &plan_bytes, &n, &err) == TN_OK &&
        tn_plan_open_memory(plan_bytes, n, NULL, &plan, &err) == TN_OK && tn_image_load(FIXTURE "/page.png", &picture, &err) == TN_OK &&
        tn_doc_page_load(FIXTURE "/page.json", &form, &err) == TN_OK)
        return 0;
    print_error("%s\n", err.message);
    return 1;
}

static int close_all(void **state) {
    (void)state;
    tn_doc_page_free(&form);
    tn_image_free(&picture);
    tn_plan_close(&plan);
    tn_build_free(&build_options, plan_bytes);
    return 0;
}

static TnDoc *reader(uint32_t overlap, bool clip) {
    TnDoc *doc;
    TnError err = {0};
    TnDocOptions o = tn_doc_options_default();
    o.overlap = overlap;
    o.clip = clip;
    OK(tn_doc_create(plan, NULL, &o, &doc, &err));
    return doc;
}

static void windows_are_those_of_transformers(void **state) {
    (void)state;
    TnError err = {0};
    TnNpz golden;
    TnDoc *doc = reader(0, false);
    OK(tn_npz_read(FIXTURE "/golden.npz", NULL, &golden, &err));
    int64_t ids[64], mask[64], boxes[256];
    float planes[3 * 24 * 24];
    const TnTensor *want = tn_npz_find(&golden, "input_ids");
    uint32_t n;
    assert_int_equal(tn_doc_sequence(doc), 64);
    for (uint32_t w = 0; w < want->dims[0]; w++) {
        OK(tn_doc_window(doc, &picture, &form, w, ids, mask, boxes, planes, &n, &err));
        assert_int_equal(n, want->dims[0]);
        assert_memory_equal(ids, (const int64_t *)want->data + 64 * w, sizeof ids);
        assert_memory_equal(mask, (const int64_t *)tn_npz_find(&golden, "attention_mask")->data + 64 * w, sizeof mask);
        assert_memory_equal(boxes, (const int64_t *)tn_npz_find(&golden, "bbox")->data + 256 * w, sizeof boxes);
    }
    const float *pixels = tn_npz_find(&golden, "pixel_values")->data;
    for (size_t i = 0; i < sizeof planes / sizeof *planes; i++)
        assert_true(fabsf(planes[i] - pixels[i]) <= 2.0f / 255 + 1e-5f); /* one step of 255, standard deviation 0.5 */
    FAILS(TN_ERR_ARGUMENT, "window 9", tn_doc_window(doc, &picture, &form, 9, ids, mask, boxes, planes, &n, &err));
    tn_npz_free(NULL, &golden);
    tn_doc_destroy(&doc);
}

static void labels_and_scores_are_those_of_transformers(void **state) {
    (void)state;
    TnError err = {0};
    TnNpz golden;
    TnDocResult r;
    TnDoc *doc = reader(0, false);
    OK(tn_npz_read(FIXTURE "/golden.npz", NULL, &golden, &err));
    const TnTensor *labels = tn_npz_find(&golden, "labels");
    OK(tn_doc_read(doc, &picture, &form, &r, &err));
    assert_int_equal(form.n, labels->dims[0]);
    assert_int_equal(r.windows, 2);
    for (uint32_t i = 0; i < form.n; i++) {
        assert_int_equal(r.labels[i], ((const int64_t *)labels->data)[i]);
        assert_true(fabsf(r.scores[i] - ((const float *)tn_npz_find(&golden, "scores")->data)[i]) <=
                    2e-3f); /* pixels may differ by a step */
    }
    uint32_t words = 0;
    for (uint32_t i = 0; i < r.n; i++) {
        assert_int_equal(r.entities[i].first, words);
        words += r.entities[i].n;
        assert_true(r.entities[i].order < r.n && r.entities[i].score > 0 && r.entities[i].score <= 1);
        if (r.entities[i].question != TN_DOC_NONE)
            assert_string_equal(r.entities[r.entities[i].question].label, "question");
    }
    assert_int_equal(words, form.n);
    tn_npz_free(NULL, &golden);
    tn_doc_destroy(&doc);
}

/* A page that repeats one line far more often than a window holds: inside, every repetition gets the same labels wherever the windows fall.
 */
/* Several windows a page, pages of different lengths, batches that pages share: the answers are those of each page alone. */
static void pages_read_together_are_those_read_alone(void **state) {
    (void)state;
    TnError err = {0};
    enum { N = 5 };
    TnDocPage pages[N] = {{0}};
    TnImage images[N];
    TnDocResult together[N], alone;
    TnDoc *doc = reader(8, false), *other = reader(8, false);
    for (uint32_t i = 0; i < N; i++) {
        images[i] = picture;
        for (uint32_t k = 0; k < form.n / (i + 1); k++)
            OK(tn_doc_page_add(&pages[i], form.words[k].text, form.words[k].box, form.words[k].segment, form.words[k].label, &err));
    }
    for (int round = 0; round < 2; round++) { /* what a call leaves behind is released by the next */
        OK(tn_doc_read_many(doc, images, pages, N, together, &err));
        for (uint32_t i = 0; i < N; i++) {
            OK(tn_doc_read(other, &picture, &pages[i], &alone, &err));
            assert_int_equal(together[i].windows, alone.windows);
            assert_int_equal(together[i].tokens, alone.tokens);
            assert_int_equal(together[i].n, alone.n);
            for (uint32_t k = 0; k < pages[i].n; k++) {
                assert_int_equal(together[i].labels[k], alone.labels[k]);
                assert_true(fabsf(together[i].scores[k] - alone.scores[k]) <= 1e-5f);
            }
        }
    }
    OK(tn_doc_read(doc, &picture, &pages[0], &alone, &err));
    TnDocPage nothing = {0};
    TnDocPage mixed[3] = {pages[0], nothing, pages[1]};
    FAILS(TN_ERR_DATA, "no words", tn_doc_read_many(doc, images, mixed, 3, together, &err));
    FAILS(TN_ERR_ARGUMENT, "no page", tn_doc_read_many(doc, images, pages, 0, together, &err));
    for (uint32_t i = 0; i < N; i++)
        tn_doc_page_free(&pages[i]);
    tn_doc_destroy(&doc);
    tn_doc_destroy(&other);
}

static void pages_of_10000_words_are_read(void **state) {
    (void)state;
    TnError err = {0};
    TnDocPage page = {0};
    TnDocResult r;
    TnDoc *doc = reader(16, false);
    for (uint32_t i = 0; i < 10000; i++) {
        const int32_t box[4] = {(int32_t)(i % 8) * 10, (int32_t)(i / 8 % 9) * 10, (int32_t)(i % 8) * 10 + 9, (int32_t)(i / 8 % 9) * 10 + 9};
        static const char *const words[] = {"Total:", "42", "name", "straße"};
        OK(tn_doc_page_add(&page, words[i % 4], box, i / 8, NULL, &err));
    }
    OK(tn_doc_read(doc, &picture, &page, &r, &err));
    assert_true(r.windows > 100 && r.tokens > 10000);
    uint32_t words = 0;
    for (uint32_t i = 0; i < r.n; i++)
        words += r.entities[i].n;
    assert_int_equal(words, 10000);
    for (uint32_t i = 0; i < page.n; i++)
        assert_true(r.scores[i] > 0.1f && r.labels[i] < 7); /* no word was left out between windows */
    tn_doc_page_free(&page);
    tn_doc_destroy(&doc);
}

static void pages_that_cannot_be_read_are_refused(void **state) {
    (void)state;
    TnError err = {0};
    TnDocResult r;
    TnDoc *doc = reader(16, false), *cut = reader(16, true);
    TnDocPage page = {0};
    FAILS(TN_ERR_DATA, "no words", tn_doc_read(doc, &picture, &page, &r, &err));
    OK(tn_doc_page_add(&page, " \t\xc2\xa0\xe3\x80\x80", (int32_t[]){0, 0, 1, 1}, 0, NULL, &err));
    FAILS(TN_ERR_DATA, "blank", tn_doc_read(doc, &picture, &page, &r, &err));
    OK(tn_doc_page_add(&page, "word", (int32_t[]){9, 0, 4, 1}, 0, NULL, &err));
    FAILS(TN_ERR_DATA, "inverted", tn_doc_read(cut, &picture, &page, &r, &err));
    tn_doc_page_free(&page);
    OK(tn_doc_page_add(&page, "word", (int32_t[]){-5, 0, 4000, 1}, 0, NULL, &err));
    FAILS(TN_ERR_DATA, "leaves the picture", tn_doc_read(doc, &picture, &page, &r, &err));
    OK(tn_doc_read(cut, &picture, &page, &r, &err));
    FAILS(TN_ERR_DATA, "no label", tn_doc_score_page(cut, &picture, &page, &(TnDocScore){0}, &r, &err));
    FAILS(TN_ERR_ARGUMENT, "no pixels", tn_doc_read(doc, &(TnImage){0}, &page, &r, &err));
    tn_doc_page_free(&page);
    char *long_word = malloc(5001);
    memset(long_word, 'q', 5000);
    long_word[5000] = '\0';
    OK(tn_doc_page_add(&page, long_word, (int32_t[]){0, 0, 4, 1}, 0, NULL, &err));
    OK(tn_doc_read(doc, &picture, &page, &r, &err)); /* one word, many windows */
    assert_int_equal(r.n, 1);
    free(long_word);
    tn_doc_page_free(&page);
    tn_doc_destroy(&doc);
    tn_doc_destroy(&cut);
    TnDocOptions o = tn_doc_options_default();
    FAILS(TN_ERR_ARGUMENT, "overlap", tn_doc_create(plan, NULL, &o, &doc, &err)); /* 128 of 62 */
}

static void decode(const char *text, TnDocPage *page) {
    TnError err = {0};
    OK(tn_doc_page_decode(text, strlen(text), "words", page, &err));
}

static void words_come_in_three_forms(void **state) {
    (void)state;
    TnDocPage p, unused;
    decode("{\"form\": [{\"label\": \"question\", \"words\": [{\"text\": \"\", \"box\": [0,0,1,1]}, {\"text\": \"To\", \"box\": "
           "[1,2,3,4]}, {\"text\": "
           "\":\", \"box\": [5,6,7,8]}]}, {\"label\": \"other\", \"words\": [{\"text\": \"x\", \"box\": [0,0,1,1]}]}]}",
           &p);
    assert_int_equal(p.n, 3);
    assert_int_equal(p.n_blank, 1);
    assert_string_equal(p.words[0].label, "B-QUESTION");
    assert_string_equal(p.words[1].label, "I-QUESTION");
    assert_string_equal(p.words[2].label, "O");
    assert_int_equal(p.words[1].box[3], 8);
    tn_doc_page_free(&p);
    decode(
        "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"
        "1\t1\t0\t0\t0\t0\t0\t0\t100\t100\t-1\t\n5\t1\t1\t1\t1\t1\t10\t20\t30\t8\t96.5\tHello\n5\t1\t1\t1\t1\t2\t50\t20\t30\t8\t95\tworld\n"
        "5\t1\t1\t1\t2\t1\t10\t40\t30\t8\t95\tagain\r\n5\t1\t1\t1\t2\t2\t10\t40\t30\t8\t95\t \n5\t2\t1\t1\t1\t1\t1\t1\t1\t1\t1\tlater\n",
        &p);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.words[2].text, "again");
    assert_true(p.words[0].segment == p.words[1].segment && p.words[1].segment != p.words[2].segment);
    assert_true(p.words[0].box[2] == 40 && p.words[0].box[3] == 28 && p.words[0].label == NULL);
    tn_doc_page_free(&p);
    decode("<?xml version='1.0'?><html><body><div class='ocr_page' title='x'><span class='ocr_line' title='bbox 0 0 9 9'>"
           "<span class='ocrx_word' id='w' title='bbox 1 2 3 4; x_wconf 9'><strong>A &amp; B&#x20ac;</strong></span> <span "
           "class=\"ocrx_word\" "
           "title=\"bbox 5 6 7 8\">two</span></span><span class='ocr_line'><span class='ocrx_word' title='bbox 1 1 2 "
           "2'>3</span></span></div></body></html>",
           &p);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.words[0].text, "A & B\xe2\x82\xac");
    assert_int_equal(p.words[1].box[0], 5);
    assert_true(p.words[0].segment == p.words[1].segment && p.words[1].segment != p.words[2].segment);
    tn_doc_page_free(&p);
    static const struct {
        const char *text, *word;
        TnStatus status;
    } bad[] = {{"", "empty", TN_ERR_PARSE},
               {"words", "neither", TN_ERR_UNSUPPORTED},
               {"{\"form\": 3}", "'form'", TN_ERR_PARSE},
               {"{\"form\": [{}]}", "form[0]", TN_ERR_PARSE},
               {"{\"form\": [{\"words\": [{\"text\": \"a\", \"box\": [1,2,3]}]}]}", "form[0].words[0]", TN_ERR_PARSE},
               {"{\"form\": [{\"words\": [{\"text\": \"a\", \"box\": [1,2,3,1e300]}]}]}", "form[0].words[0]", TN_ERR_PARSE},
               {"{", "line 1", TN_ERR_PARSE},
               {"level\tpage_num\tx\n5\t1\t2\n", "row 2", TN_ERR_PARSE},
               {"<span class='ocrx_word' title='none'>x</span>", "byte 0", TN_ERR_PARSE}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        FAILS(bad[i].status, bad[i].word, tn_doc_page_decode(bad[i].text, strlen(bad[i].text), "words", &unused, &err));
    FAILS(TN_ERR_IO, "nonexistent", tn_doc_page_load("/nonexistent", &unused, &err));
}

/* Counts worked out with seqeval 1.2.2: tags a letter a type, upper case B, lower case I, '.' O. */
static void count(const char *want, const char *got, uint64_t right, uint64_t predicted, uint64_t expected) {
    const char *w[64], *g[64];
    char tags[128][4];
    TnDocScore s = {0};
    TnError err = {0};
    uint32_t n = (uint32_t)strlen(want);
    for (uint32_t i = 0; i < 2 * n; i++) {
        char c = i < n ? want[i] : got[i - n];
        snprintf(tags[i], sizeof tags[i], c == '.' ? "O" : "%c-%c", c >= 'a' ? 'I' : 'B', c >= 'a' ? c - 32 : c);
        *(i < n ? &w[i] : &g[i - n]) = tags[i];
    }
    OK(tn_doc_score_add(&s, w, g, n, &err));
    if (s.right != right || s.predicted != predicted || s.expected != expected)
        fail_msg("%s %s: %d %d %d", want, got, (int)s.right, (int)s.predicted, (int)s.expected);
}

static void entities_count_as_in_seqeval(void **state) {
    (void)state;
    count("Qq.Aa", "Qq.Aa", 2, 2, 2);
    count("Qq.Aa", "Qq.A.", 1, 2, 2);
    count("QqQq", "Qqqq", 0, 1, 2);
    count("qq.aa", "Qq.Aa", 2, 2, 2); /* a stray I starts an entity */
    count("Qaa.", "Q.aa", 1, 2, 2);   /* another type ends one: Q, then aa; the other has aa a place later */
    count("....", "....", 0, 0, 0);
    count("Qq", "QQ", 0, 2, 1);
    count("HhQqAa", "HhQqQq", 2, 3, 3);
    assert_true(tn_doc_f1(0, 0, 0) == 0.0 && fabs(tn_doc_f1(1, 2, 4) - 1.0 / 3) < 1e-12 && tn_doc_precision(1, 4) == 0.25);
}

static void pictures_are_written(void **state) {
    (void)state;
    TnError err = {0};
    TnDocResult r;
    TnImage drawn, back;
    char path[] = "/tmp/tn-doc-XXXXXX";
    close(mkstemp(path));
    TnDoc *doc = reader(16, false);
    OK(tn_doc_read(doc, &picture, &form, &r, &err));
    OK(tn_doc_draw(&picture, &r, &drawn, &err));
    OK(tn_image_save_png(&drawn, path, &err));
    OK(tn_image_load(path, &back, &err));
    assert_int_equal(back.width, picture.width);
    assert_memory_equal(back.rgb, drawn.rgb, (size_t)back.width * back.height * 3);
    assert_memory_not_equal(back.rgb, picture.rgb, (size_t)back.width * back.height * 3);
    OK(tn_doc_save_html(&picture, &r, "a <form>", path, &err));
    FAILS(TN_ERR_IO, "/nonexistent/x", tn_image_save_png(&drawn, "/nonexistent/x", &err));
    tn_image_free(&drawn);
    tn_image_free(&back);
    tn_doc_destroy(&doc);
    remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_those_of_transformers),
        cmocka_unit_test(labels_and_scores_are_those_of_transformers),
        cmocka_unit_test(pages_read_together_are_those_read_alone),
        cmocka_unit_test(pages_of_10000_words_are_read),
        cmocka_unit_test(pages_that_cannot_be_read_are_refused),
        cmocka_unit_test(words_come_in_three_forms),
        cmocka_unit_test(entities_count_as_in_seqeval),
        cmocka_unit_test(pictures_are_written),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
