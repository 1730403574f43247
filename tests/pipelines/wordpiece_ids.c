/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests in Python: wordpiece_ids FILE|FOLDER reads texts from standard input, each after its length (u32, little-endian), and writes the
 * ids of each: their number and the ids themselves, all int32. */
#include <stdio.h>
#include <stdlib.h>

#include "pipelines/wordpiece.h"

int main(int argc, char **argv) {
    TnWordPiece *wp;
    TnError err = {0};
    TnTokens ids = {0};
    uint32_t n;
    char *text = NULL;
    if (argc < 2 || tn_wordpiece_load(argv[1], &wp, &err) != TN_OK) {
        fprintf(stderr, "wordpiece_ids: %s\n", argc < 2 ? "give a vocabulary" : err.message);
        return 2;
    }
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        char *grown = realloc(text, (size_t)n + 1);
        if (grown == NULL || fread(grown, 1, n, stdin) != n)
            return 2;
        text = grown;
        ids.n = 0;
        if (tn_wordpiece_encode(wp, text, n, &ids, &err) != TN_OK) {
            fprintf(stderr, "wordpiece_ids: %s\n", err.message);
            return 2;
        }
        int32_t count = (int32_t)ids.n;
        fwrite(&count, sizeof count, 1, stdout);
        if (ids.n > 0)
            fwrite(ids.ids, sizeof *ids.ids, ids.n, stdout);
    }
    free(text);
    free(ids.ids);
    tn_wordpiece_destroy(&wp);
    return fflush(stdout) == 0 ? 0 : 2;
}
