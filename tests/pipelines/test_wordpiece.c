/* SPDX-License-Identifier: Apache-2.0
 *
 * WordPiece against golden ids of Hugging Face's BertTokenizer (tools/export/wordpiece.py), uncased and cased, from both forms of its files; damaged
 * files and texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pipelines/util.h"
#include "pipelines/wordpiece.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/wordpiece/"

static char *file(const char *name, size_t *n) {
    char path[512];
    void *data;
    TnError err = {0};
    snprintf(path, sizeof path, DATA "%s", name);
    if (tnp_read_file(path, 64u << 20, &data, n, &err) != TN_OK)
        fail_msg("%s", err.message);
    return data;
}

static void check_row(const TnWordPiece *wp, const char *text, uint32_t len, const char *row, int32_t count, uint32_t at) {
    TnTokens ids = {0};
    TnError err = {0};
    assert_int_equal(tn_wordpiece_encode(wp, text, len, &ids, &err), TN_OK);
    if (ids.n != (size_t)count || (count > 0 && memcmp(ids.ids, row, 4 * ids.n) != 0))
        fail_msg("text %u ('%.*s'): %zu tokens, expected %d, or other ids", at, (int)len, text, ids.n, count);
    free(ids.ids);
}

static void check_golden(const TnWordPiece *uncased, const TnWordPiece *cased) {
    size_t n, at = 0;
    char *golden = file("golden.bin", &n);
    uint32_t texts = 0;
    while (at < n) {
        uint32_t len;
        memcpy(&len, golden + at, 4);
        const char *text = golden + at + 4;
        at += 4 + len;
        for (int k = 0; k < 2; k++) {
            int32_t count;
            memcpy(&count, golden + at, 4);
            check_row(k == 0 ? uncased : cased, text, len, golden + at + 4, count, texts);
            at += 4 + 4 * (size_t)count;
        }
        texts++;
    }
    assert_int_equal(texts, 2500);
    free(golden);
}

static TnWordPiece *open_vocab(bool lower) {
    TnWordPiece *wp;
    TnError err = {0};
    size_t n;
    char *vocab = file("vocab.txt", &n);
    TnWordPieceOptions o = tn_wordpiece_options_default(lower);
    if (tn_wordpiece_create(vocab, n, &o, &wp, &err) != TN_OK)
        fail_msg("%s", err.message);
    free(vocab);
    return wp;
}

static void ids_are_those_of_hugging_face(void **state) {
    (void)state;
    TnError err = {0};
    TnWordPiece *uncased = open_vocab(true), *cased = open_vocab(false);
    check_golden(uncased, cased);
    assert_int_equal(tn_wordpiece_id(cased, "[PAD]"), 0);
    assert_int_equal(tn_wordpiece_id(cased, "no such token"), -1);
    assert_string_equal(tn_wordpiece_token(cased, tn_wordpiece_id(cased, "##ing")), "##ing");
    assert_null(tn_wordpiece_token(cased, (int32_t)tn_wordpiece_size(cased)));
    assert_null(tn_wordpiece_token(cased, -1));
    tn_wordpiece_destroy(&uncased);
    tn_wordpiece_destroy(&cased);
    if (tn_wordpiece_load(DATA "uncased.json", &uncased, &err) != TN_OK || tn_wordpiece_load(DATA "cased.json", &cased, &err) != TN_OK)
        fail_msg("%s", err.message);
    check_golden(uncased, cased);
    tn_wordpiece_destroy(&uncased);
    tn_wordpiece_destroy(&cased);
    if (tn_wordpiece_load(DATA, &uncased, &err) != TN_OK)
        fail_msg("%s", err.message);
    assert_int_equal(tn_wordpiece_id(uncased, "##tion"), tn_wordpiece_size(uncased) - 4);
    tn_wordpiece_destroy(&uncased);
}

static void texts_may_be_odd(void **state) {
    (void)state;
    enum { N = 1000000 };
    TnWordPiece *wp = open_vocab(true);
    TnTokens a = {0}, b = {0};
    TnError err = {0};
    static const char wrong[] = "man\xff\xc3 in\xe2\x82 red\0 shirt", right[] = "man in red shirt";
    assert_int_equal(tn_wordpiece_encode(wp, wrong, sizeof wrong - 1, &a, &err), TN_OK);
    assert_int_equal(tn_wordpiece_encode(wp, right, sizeof right - 1, &b, &err), TN_OK);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.ids, b.ids, a.n * sizeof *a.ids);
    static const char *const units[] = {"a", "^", " ", "\xe4\xb8\xad", "\xcc\x81", "\xe2\x80\x8d", "[", "manin "};
    char *text = malloc(N + 8);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) { /* linear time whatever the text is */
        size_t k = strlen(units[i]);
        for (size_t j = 0; j < N; j++)
            text[j] = units[i][j % k];
        a.n = 0;
        assert_int_equal(tn_wordpiece_encode(wp, text, N / k * k, &a, &err), TN_OK);
    }
    free(text);
    free(a.ids);
    free(b.ids);
    tn_wordpiece_destroy(&wp);
}

static void refuse(const char *vocab, TnStatus want, const char *word) {
    TnWordPiece *wp;
    TnError err = {0};
    TnStatus st = vocab[0] == '{' ? tn_wordpiece_create_json(vocab, strlen(vocab), &wp, &err) : tn_wordpiece_create(vocab, strlen(vocab), NULL, &wp, &err);
    assert_null(wp);
    if (st != want || strstr(err.message, word) == NULL)
        fail_msg("status %d, '%s' does not name '%s'", (int)st, err.message, word);
}

#define JSON(model, normalizer, more)                                                                                                           \
    "{\"model\":{\"type\":\"WordPiece\"," model "},\"normalizer\":{\"type\":\"" normalizer "\"},\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}" more \
    "}"

static void damaged_files_are_named(void **state) {
    (void)state;
    TnWordPiece *wp;
    TnError err = {0};
    refuse("", TN_ERR_PARSE, "empty");
    refuse("a\nb\n", TN_ERR_PARSE, "[UNK]");
    char *line = malloc(2000);
    memset(line, 'a', 1999);
    line[1999] = '\0';
    refuse(line, TN_ERR_LIMIT, "1000 bytes");
    free(line);
    refuse("{", TN_ERR_PARSE, "line 1");
    refuse("{}", TN_ERR_UNSUPPORTED, "'model'");
    refuse(JSON("\"vocab\":{\"[UNK]\":0}", "Lowercase", ""), TN_ERR_UNSUPPORTED, "'normalizer'");
    refuse(JSON("\"vocab\":{}", "BertNormalizer", ""), TN_ERR_PARSE, "not empty");
    refuse(JSON("\"vocab\":{\"[UNK]\":\"x\"}", "BertNormalizer", ""), TN_ERR_PARSE, "whole number");
    refuse(JSON("\"vocab\":{\"[UNK]\":-4}", "BertNormalizer", ""), TN_ERR_PARSE, "id -4");
    refuse(JSON("\"vocab\":{\"[UNK]\":99999999999}", "BertNormalizer", ""), TN_ERR_PARSE, "id 99999999999");
    refuse(JSON("\"vocab\":{\"[UNK]\":0},\"unk_token\":\"<unk>\"", "BertNormalizer", ""), TN_ERR_PARSE, "<unk>");
    refuse(JSON("\"vocab\":{\"[UNK]\":0}", "BertNormalizer", ",\"added_tokens\":[{\"content\":\"[X]\"}]"), TN_ERR_UNSUPPORTED, "[X]");
    assert_int_equal(tn_wordpiece_load("/nonexistent", &wp, &err), TN_ERR_IO);
    assert_int_equal(tn_wordpiece_load(TN_SOURCE_DIR "/tests", &wp, &err), TN_ERR_IO);
    /* CRLF and a token that stands twice: the later line counts. */
    assert_int_equal(tn_wordpiece_create("[UNK]\r\na\r\na", 11, NULL, &wp, &err), TN_OK);
    assert_int_equal(tn_wordpiece_id(wp, "a"), 2);
    assert_int_equal(tn_wordpiece_size(wp), 3);
    tn_wordpiece_destroy(&wp);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_hugging_face),
        cmocka_unit_test(texts_may_be_odd),
        cmocka_unit_test(damaged_files_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
