/* SPDX-License-Identifier: Apache-2.0
 *
 * Ids to text as transformers decodes them (golden texts of tools/export/vocabulary.py), characters of trocr-chinese, damaged files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "pipelines/sentencepiece.h"
#include "pipelines/util.h"
#include "pipelines/vocabulary.h"

#define DATA TN_SOURCE_DIR "/tests/pipelines/data/vocabulary/"

static char *file(const char *name, size_t *n) {
    char path[512];
    void *data;
    TnError err = {0};
    snprintf(path, sizeof path, DATA "%s", name);
    if (tnp_read_file(path, 64u << 20, &data, n, &err) != TN_OK)
        fail_msg("%s", err.message);
    return data;
}

/* Rows "skip TAB ids TAB text". */
static void check_golden(const char *kind) {
    char path[512], name[64];
    TnVocabulary *v;
    TnVocabularyText text = {0};
    TnError err = {0};
    size_t n, rows = 0;
    snprintf(path, sizeof path, DATA "%s", kind);
    snprintf(name, sizeof name, "%s.tsv", kind);
    char *golden = file(name, &n);
    if (tn_vocabulary_load(path, &v, &err) != TN_OK)
        fail_msg("%s", err.message);
    for (char *row = strtok(golden, "\n"); row != NULL; row = strtok(NULL, "\n"), rows++) {
        int32_t ids[64];
        size_t k = 0;
        char *end, *want = strrchr(row, '\t');
        for (char *at = row + 2; k < 64 && at < want; at = end, k++) {
            ids[k] = (int32_t)strtol(at, &end, 10);
            if (end == at || end > want)
                break;
        }
        assert_int_equal(tn_vocabulary_decode(v, ids, k, row[0] == '1', &text, &err), TN_OK);
        json_t *s = json_loads(want + 1, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_true(json_is_string(s));
        if (text.n != json_string_length(s) || memcmp(text.text, json_string_value(s), text.n) != 0)
            fail_msg("%s row %zu: '%s', expected '%s'", kind, rows + 1, text.text, json_string_value(s));
        for (size_t i = 0; i < text.n; i++)
            assert_true(text.owner[i] < k);
        json_decref(s);
    }
    assert_int_equal(rows, 250);
    tn_vocabulary_text_free(&text);
    tn_vocabulary_destroy(&v);
    free(golden);
}

static void texts_are_those_of_transformers(void **state) {
    (void)state;
    check_golden("spm");
    check_golden("spm_json");
    check_golden("bytes");
}

static void characters_are_numbered_as_trocr_chinese_does(void **state) {
    (void)state;
    TnVocabulary *v;
    TnVocabularyText text = {0};
    TnError err = {0};
    const char list[] = "\xe7\xba\xbf\r\na\n\xe7\xba\xbf\n</s>\n<td>\n\nb";
    assert_int_equal(tn_vocabulary_create_text(list, sizeof list - 1, &v, &err), TN_OK);
    assert_int_equal(tn_vocabulary_kind(v), TN_VOCABULARY_CHARACTERS);
    assert_int_equal(tn_vocabulary_size(v), 10); /* five special ones, the line sign, a, <td>, the empty line, b */
    assert_int_equal(tn_vocabulary_id(v, "a"), 6);
    assert_int_equal(tn_vocabulary_id(v, "b"), 9);
    assert_int_equal(tn_vocabulary_id(v, "c"), -1);
    assert_int_equal(tn_vocabulary_decode(v, (int32_t[]){0, 0, 5, 6, 2, 7, 8, 9, 3, 10, -1, 1}, 12, true, &text, &err), TN_OK);
    assert_string_equal(text.text, "\xe7\xba\xbf" "a<td>b");
    assert_int_equal(text.owner[3], 3);
    tn_vocabulary_text_free(&text);
    tn_vocabulary_destroy(&v);
    assert_int_equal(tn_vocabulary_create_text("", 0, &v, &err), TN_ERR_PARSE);
    assert_int_equal(tn_vocabulary_create_text("a\n\xff\n", 4, &v, &err), TN_ERR_PARSE);
    assert_non_null(strstr(err.message, "line 2"));
}

static void damaged_json_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says;
        TnStatus code;
    } rows[] = {
        {"{\"a\": 0, \"b\": 0}", "same id", TN_ERR_PARSE},  {"{\"a\": -1}", "'a'", TN_ERR_PARSE},     {"{\"a\": 1e3}", "'a'", TN_ERR_PARSE},
        {"{\"a\": 99999999}", "10000000", TN_ERR_PARSE},    {"{}", "not empty", TN_ERR_PARSE},        {"[1]", "object", TN_ERR_PARSE},
        {"{\"a\"", "no JSON", TN_ERR_PARSE},
    };
    TnVocabulary *v;
    TnError err = {0};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(tn_vocabulary_create_json(rows[i].text, strlen(rows[i].text), &v, &err), rows[i].code);
        assert_null(v);
        if (strstr(err.message, rows[i].says) == NULL)
            fail_msg("'%s' does not say '%s'", err.message, rows[i].says);
    }
    static const char *const tokenizers[] = {
        "{\"model\": {\"vocab\": {\"a\": 0}}, \"decoder\": {\"type\": \"WordPiece\"}}",
        "{\"model\": {\"vocab\": {\"a\": 0}}, \"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"_\"}}",
        "{\"model\": {\"vocab\": {\"a\": 0}, \"byte_fallback\": true}}",
        "{\"model\": {\"vocab\": [[1, 2]]}}",
        "{\"model\": {\"vocab\": []}}",
        "{\"model\": {\"vocab\": {\"a\": 0}}, \"added_tokens\": [{\"id\": 1}]}",
        "{}",
    };
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        assert_int_not_equal(tn_vocabulary_create_tokenizer(tokenizers[i], strlen(tokenizers[i]), &v, &err), TN_OK);
        assert_null(v);
    }
}

/* Every truncation and many changed bytes: an error or a vocabulary, and never anything read beyond the end (the copy is as long as the data). */
static void damaged_sentencepiece_is_refused(void **state) {
    (void)state;
    size_t n, refused = 0;
    TnVocabulary *v;
    TnError err = {0};
    char *model = file("spm/sentencepiece.bpe.model", &n);
    for (size_t cut = 0; cut < n; cut += cut < 64 ? 1 : 7) {
        char *part = malloc(cut + 1);
        memcpy(part, model, cut);
        refused += tn_vocabulary_create_sentencepiece(part, cut, &v, &err) != TN_OK;
        tn_vocabulary_destroy(&v);
        free(part);
    }
    assert_true(refused >= 30); /* those before the fourth piece; after it a file that ends between two pieces is one */
    uint32_t seed = 1;
    for (int i = 0; i < 2000; i++) {
        seed = seed * 1664525u + 1013904223u;
        size_t at = (seed >> 8) % n;
        char before = model[at];
        model[at] = (char)(seed >> 3);
        (void)tn_vocabulary_create_sentencepiece(model, n, &v, &err);
        tn_vocabulary_destroy(&v);
        model[at] = before;
    }
    free(model);
    assert_int_equal(tn_vocabulary_create_sentencepiece("no protobuf", 11, &v, &err), TN_ERR_PARSE);
    assert_int_equal(tn_vocabulary_create_sentencepiece("", 0, &v, &err), TN_ERR_PARSE);
    /* pieces in another order */
    static const char other[] = "\x0a\x05\x0a\x03<s>\x0a\x03\x0a\x01x\x0a\x03\x0a\x01y\x0a\x03\x0a\x01z";
    assert_int_equal(tn_vocabulary_create_sentencepiece(other, sizeof other - 1, &v, &err), TN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "<unk>"));
    assert_int_equal(tn_vocabulary_load(DATA "nothing", &v, &err), TN_ERR_IO);
    assert_int_equal(tn_vocabulary_load(DATA, &v, &err), TN_ERR_IO);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_those_of_transformers),
        cmocka_unit_test(characters_are_numbered_as_trocr_chinese_does),
        cmocka_unit_test(damaged_json_is_refused),
        cmocka_unit_test(damaged_sentencepiece_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
