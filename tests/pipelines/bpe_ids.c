/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests in Python: bpe_ids FOLDER [--plain] reads texts from standard input, each after its length (u32, little-endian), and writes the
 * ids of each: their number and the ids themselves, all int32. --plain: no space is put in front. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/bpe.h"

int main(int argc, char **argv) {
    TnBpe *bpe;
    TnError err = {0};
    TnTokens ids = {0};
    uint32_t n;
    char *text = NULL;
    bool prefix = !(argc > 2 && strcmp(argv[2], "--plain") == 0);
    if (argc < 2 || tn_bpe_load(argv[1], &bpe, &err) != TN_OK) {
        fprintf(stderr, "bpe_ids: %s\n", argc < 2 ? "give a folder" : err.message);
        return 2;
    }
    while (fread(&n, sizeof n, 1, stdin) == 1) {
        char *grown = realloc(text, (size_t)n + 1);
        if (grown == NULL || fread(grown, 1, n, stdin) != n)
            return 2;
        text = grown;
        ids.n = 0;
        if (tn_bpe_encode(bpe, text, n, prefix, &ids, &err) != TN_OK) {
            fprintf(stderr, "bpe_ids: %s\n", err.message);
            return 2;
        }
        int32_t count = (int32_t)ids.n;
        fwrite(&count, sizeof count, 1, stdout);
        if (ids.n > 0)
            fwrite(ids.ids, sizeof *ids.ids, ids.n, stdout);
    }
    free(text);
    free(ids.ids);
    tn_bpe_destroy(&bpe);
    return fflush(stdout) == 0 ? 0 : 2;
}
