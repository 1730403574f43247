/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounds-checked reading of bytes, and mapped files. */
#ifndef TENON_BASE_SPAN_H
#define TENON_BASE_SPAN_H

#include "base/base.h"

/* Bytes [p, p + n) owned by somebody else; `base` is the offset of p in its file, for messages. */
typedef struct TnSpan {
    const uint8_t *p;
    size_t n;
    uint64_t base;
} TnSpan;

/* Sub-span; false when [off, off + n) is not inside. */
bool tni_span_sub(TnSpan s, uint64_t off, uint64_t n, TnSpan *out);
/* Little-endian scalar at off; false when outside. */
bool tni_span_u32(TnSpan s, uint64_t off, uint32_t *out);
bool tni_span_u64(TnSpan s, uint64_t off, uint64_t *out);

/* A read-only private map of a whole regular file. Errors: TN_ERR_IO (not found, unreadable, not a regular file).
 * An empty file gives n == 0. The message names the path and the reason. */
typedef struct TnFileMap {
    const uint8_t *data;
    size_t n;
} TnFileMap;
TnStatus tni_file_map(const char *path, TnFileMap *out, TnError *err);
/* Opens `relative` below directory `dir`: refuses absolute paths, "..", symbolic links that leave dir and everything that is
 * no regular file (TN_ERR_PATH). The one way to open a file that another file names. */
TnStatus tni_file_map_below(const char *dir, const char *relative, TnFileMap *out, TnError *err);
void tni_file_unmap(TnFileMap *map); /* safe on a zeroed struct */

/* Writes a file so that path holds either its old content or all of the new: a temporary in the same directory, fsync, rename.
 * begin -> write... -> commit, or abort at any point (leaves nothing behind). */
typedef struct TnFileWriter {
    int fd;
    uint64_t pos;
    char *path, *tmp; /* heap */
    const TnAllocator *alloc;
} TnFileWriter;
TnStatus tni_file_write_begin(TnFileWriter *w, const TnAllocator *a, const char *path, TnError *err);
TnStatus tni_file_write(TnFileWriter *w, const void *data, size_t n, TnError *err);
TnStatus tni_file_write_zeros(TnFileWriter *w, size_t n, TnError *err);
TnStatus tni_file_write_commit(TnFileWriter *w, TnError *err);
void tni_file_write_abort(TnFileWriter *w); /* no-op after commit */

#endif
