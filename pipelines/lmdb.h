/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading LMDB's data.mdb (format 1, 64-bit, little-endian; written by liblmdb 0.9) without the library: read only, no lock file, every offset checked
 * against the file, so that a damaged database is an error and not a crash. Pages are read as they are needed; nothing is mapped.
 *
 * The file: pages of equal size. Pages 0 and 1 are meta pages; the one with the higher transaction number counts. It names the root of a B+tree of branch
 * pages (key -> page) and leaf pages (key -> value, or the first of a run of overflow pages). */
#ifndef TENON_PIPELINES_LMDB_H
#define TENON_PIPELINES_LMDB_H

#include "tenon/tensor.h"

typedef struct TnLmdb TnLmdb;

/* path: data.mdb, or the folder that holds it. Errors: IO, PARSE (no LMDB, or damaged: which page), UNSUPPORTED (32-bit, big-endian or another version,
 * sorted duplicates), MEMORY. */
TnStatus tn_lmdb_open(const char *path, TnLmdb **out, TnError *err);
void tn_lmdb_close(TnLmdb **db);
/* Number of keys. */
uint64_t tn_lmdb_count(const TnLmdb *db);
/* The value of a key in heap memory, NULL (and TN_OK) when there is none. Errors: IO, PARSE (which page), LIMIT (a value over 1 GB), MEMORY. */
TnStatus tn_lmdb_get(TnLmdb *db, const char *key, size_t n_key, void **value, size_t *n, TnError *err);
/* Calls fn for every key in order until it returns 0. Errors as above. */
TnStatus tn_lmdb_keys(TnLmdb *db, int (*fn)(void *ctx, const char *key, size_t n), void *ctx, TnError *err);

#endif
