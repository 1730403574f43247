/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer against golden ids of Hugging Face's (tools/export/bpe.py), from both forms of its files; damaged files and texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipelines/bpe.h"
#include "pipelines/util.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/bpe/"

static char *file(const char *name, size_t *n) {
    char path[512];
    void *data;
    TnError err = {0};
    snprintf(path, sizeof path, DATA "%s", name);
    if (tnp_read_file(path, 64u << 20, &data, n, &err) != TN_OK)
        fail_msg("%s", err.message);
    return data;
}

static TnBpe *from_parts(void) {
    size_t n, m;
    char *vocab = file("vocab.json", &n), *merges = file("merges.txt", &m);
    TnBpe *bpe;
    TnError err = {0};
    if (tn_bpe_create(vocab, n, merges, m, &bpe, &err) != TN_OK)
        fail_msg("%s", err.message);
    free(vocab);
    free(merges);
    return bpe;
}

static void check_golden(const TnBpe *bpe) {
    size_t n, at = 0;
    char *golden = file("golden.bin", &n);
    TnTokens ids = {0};
    TnError err = {0};
    uint32_t texts = 0;
    while (at < n) {
        uint32_t len;
        int32_t count, want;
        memcpy(&len, golden + at, 4);
        const char *text = golden + at + 4;
        memcpy(&count, text + len, 4);
        at += 8 + len + 4 * (size_t)count;
        ids.n = 0;
        assert_int_equal(tn_bpe_encode(bpe, text, len, true, &ids, &err), TN_OK);
        if (ids.n != (size_t)count)
            fail_msg("text %u: %zu tokens, expected %d", texts, ids.n, count);
        for (size_t i = 0; i < ids.n; i++) {
            memcpy(&want, text + len + 4 + 4 * i, 4);
            if (ids.ids[i] != want)
                fail_msg("text %u token %zu: %d, expected %d", texts, i, ids.ids[i], want);
        }
        texts++;
    }
    assert_int_equal(texts, 4000);
    free(ids.ids);
    free(golden);
}

static void ids_are_those_of_hugging_face(void **state) {
    (void)state;
    TnBpe *bpe = from_parts();
    TnError err = {0};
    check_golden(bpe);
    assert_int_equal(tn_bpe_id(bpe, "<s>"), 0);
    assert_int_equal(tn_bpe_id(bpe, "no such token"), -1);
    tn_bpe_destroy(&bpe);
    if (tn_bpe_load(DATA, &bpe, &err) != TN_OK)
        fail_msg("%s", err.message);
    check_golden(bpe);
    tn_bpe_destroy(&bpe);
}

static void a_wrong_byte_counts_as_the_replacement_character(void **state) {
    (void)state;
    TnBpe *bpe = from_parts();
    TnTokens a = {0}, b = {0};
    TnError err = {0};
    static const char wrong[] = "a\xff\xc3(\xe2\x82", right[] = "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd";
    assert_int_equal(tn_bpe_encode(bpe, wrong, sizeof wrong - 1, true, &a, &err), TN_OK);
    assert_int_equal(tn_bpe_encode(bpe, right, sizeof right - 1, true, &b, &err), TN_OK);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    free(a.ids);
    free(b.ids);
    tn_bpe_destroy(&bpe);
}

/* Merging is n log n: a text of a million letters without spaces is one word. */
static void a_word_may_be_long(void **state) {
    (void)state;
    enum { N = 1000000 };
    TnBpe *bpe = from_parts();
    TnTokens ids = {0};
    TnError err = {0};
    char *text = malloc(N);
    for (size_t i = 0; i < N; i++)
        text[i] = "theaddress"[i % 10];
    assert_int_equal(tn_bpe_encode(bpe, text, N, true, &ids, &err), TN_OK);
    assert_true(ids.n > N / 10 && ids.n < N / 2);
    free(text);
    free(ids.ids);
    tn_bpe_destroy(&bpe);
}

static void refuse(const char *vocab, const char *merges, const char *word) {
    TnBpe *bpe;
    TnError err = {0};
    assert_int_equal(tn_bpe_create(vocab, strlen(vocab), merges, strlen(merges), &bpe, &err), TN_ERR_PARSE);
    assert_null(bpe);
    if (strstr(err.message, word) == NULL)
        fail_msg("'%s' does not name '%s'", err.message, word);
}

static void refuse_json(const char *json, TnStatus want, const char *word) {
    TnBpe *bpe;
    TnError err = {0};
    assert_int_equal(tn_bpe_create_json(json, strlen(json), &bpe, &err), want);
    assert_null(bpe);
    if (strstr(err.message, word) == NULL)
        fail_msg("'%s' does not name '%s'", err.message, word);
}

static void damaged_files_are_named(void **state) {
    (void)state;
    refuse("{", "", "vocab.json");
    refuse("[]", "", "vocab.json");
    refuse("{}", "", "empty");
    refuse("{\"a\": -1}", "", "'a'");
    refuse("{\"a\": \"b\"}", "", "'a'");
    refuse("{\"a\": 1e9}", "", "'a'");
    refuse("{\"a\": 0, \"b\": 1}", "a b\n", "'ab'");
    refuse("{\"a\": 0, \"b\": 1}", "#version: 0.2\na c\n", "'c'");
    refuse("{\"a\": 0, \"b\": 1}", "ab\n", "merge 1");
    refuse("{\"a\": 0, \"b\": 1}", "a \n", "merge 1");
    refuse_json("{}", TN_ERR_UNSUPPORTED, "model type");
    refuse_json("{\"model\": {\"type\": \"WordPiece\"}}", TN_ERR_UNSUPPORTED, "WordPiece");
    refuse_json("{\"model\": {\"type\": \"BPE\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\"}}", TN_ERR_UNSUPPORTED, "Metaspace");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"byte_fallback\": true}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}",
                TN_ERR_UNSUPPORTED, "byte_fallback");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}", TN_ERR_PARSE,
                "merges");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [5]}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}}",
                TN_ERR_PARSE, "merge 1");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}, \"pre_tokenizer\": {\"type\": \"ByteLevel\"}, "
                "\"added_tokens\": [{}]}",
                TN_ERR_PARSE, "added_tokens[0]");
    TnBpe *bpe;
    TnError err = {0};
    assert_int_equal(tn_bpe_load("/nonexistent", &bpe, &err), TN_ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_hugging_face),
        cmocka_unit_test(a_wrong_byte_counts_as_the_replacement_character),
        cmocka_unit_test(a_word_may_be_long),
        cmocka_unit_test(damaged_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
