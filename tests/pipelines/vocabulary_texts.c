/* SPDX-License-Identifier: Apache-2.0
 *
 * Decodes rows of ids from standard input with a vocabulary, for comparison with other decoders.
 * usage: vocabulary_texts FILE|FOLDER [all]; a row: ids with spaces between. Prints each text as a JSON string; "all": special tokens too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "pipelines/vocabulary.h"

#define MAX_IDS 100000

int main(int argc, char **argv) {
    static char row[1 << 20];
    static int32_t ids[MAX_IDS];
    TnVocabulary *v;
    TnVocabularyText text = {0};
    TnError err = {0};
    if (argc < 2 || tn_vocabulary_load(argv[1], &v, &err) != TN_OK) {
        fprintf(stderr, "vocabulary_texts: %s\n", argc < 2 ? "give a vocabulary" : err.message);
        return 2;
    }
    while (fgets(row, sizeof row, stdin) != NULL) {
        size_t n = 0;
        char *end;
        for (char *at = row; n < MAX_IDS; at = end, n++) {
            ids[n] = (int32_t)strtol(at, &end, 10);
            if (end == at)
                break;
        }
        if (tn_vocabulary_decode(v, ids, n, argc < 3, &text, &err) != TN_OK) {
            fprintf(stderr, "vocabulary_texts: %s\n", err.message);
            return 2;
        }
        json_t *s = json_stringn(text.text, text.n);
        json_dumpf(s, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
        fputc('\n', stdout);
        json_decref(s);
    }
    tn_vocabulary_text_free(&text);
    tn_vocabulary_destroy(&v);
    return 0;
}
