/* SPDX-License-Identifier: Apache-2.0
 *
 * Regions of pictures in every layout on any bytes: an error or regions, never a crash. The first byte chooses the reader: '0' .npz and .npy, '1' a pickle,
 * '2' a row of a TSV, '3' an LMDB, '4' a WordPiece vocabulary, a zero byte and a text. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "pipelines/ground.h"
#include "pipelines/lmdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int stop_after(void *ctx, const char *key, size_t n) {
    uint32_t *left = ctx;
    return n > 0 && key[0] == 'x' ? 0 : (int)--*left;
}

static void read_lmdb(const uint8_t *data, size_t n, TnError *err) {
    char path[64];
    TnLmdb *db;
    uint32_t left = 10000;
    void *value = NULL;
    size_t size;
    int fd = memfd_create("fuzz", 0);
    if (fd < 0 || write(fd, data, n) != (ssize_t)n)
        abort();
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (tn_lmdb_open(path, &db, err) == TN_OK) {
        (void)tn_lmdb_keys(db, stop_after, &left, err);
        if (tn_lmdb_get(db, "1003", 4, &value, &size, err) == TN_OK && value != NULL) {
            TnRegions r;
            (void)tn_regions_decode_pickle(value, size, "fuzz", &r, err);
            tn_regions_free(&r);
        }
        free(value);
        tn_lmdb_close(&db);
    }
    close(fd);
}

static void read_vocabulary(const uint8_t *data, size_t n, TnError *err) {
    const uint8_t *zero = memchr(data, 0, n);
    const size_t cut = zero == NULL ? n : (size_t)(zero - data), from = zero == NULL ? n : cut + 1;
    TnWordPiece *wp;
    TnTokens ids = {0};
    TnStatus st = cut > 0 && data[0] == '{' ? tn_wordpiece_create_json(data, cut, &wp, err) : tn_wordpiece_create(data, cut, NULL, &wp, err);
    if (st == TN_OK)
        (void)tn_wordpiece_encode(wp, (const char *)data + from, n - from, &ids, err);
    free(ids.ids);
    tn_wordpiece_destroy(&wp);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    TnRegions r = {0};
    TnError err = {0};
    if (n == 0)
        return 0;
    const uint8_t kind = *data++;
    n--;
    TnStatus st = TN_ERR_ARGUMENT;
    if (kind == '0')
        st = tn_regions_decode(data, n, "fuzz", &r, &err);
    else if (kind == '1')
        st = tn_regions_decode_pickle(data, n, "fuzz", &r, &err);
    else if (kind == '2')
        st = tn_regions_decode_tsv((const char *)data, n, "fuzz", &r, &err);
    else if (kind == '3')
        read_lmdb(data, n, &err);
    else if (kind == '4')
        read_vocabulary(data, n, &err);
    if (st == TN_OK)
        (void)tn_regions_check(&r, n % 2 == 0, "fuzz", &err);
    tn_regions_free(&r);
    return 0;
}
