/* SPDX-License-Identifier: Apache-2.0
 *
 * Copies of elements of 1, 2, 4, 8 or 16 bytes between strided places: what transpose, concat, split, slice, expand, tile, depth_to_space
 * and their like come down to. */
#ifndef TENON_BACKEND_CPU_COMMON_COPY_H
#define TENON_BACKEND_CPU_COMMON_COPY_H

#include "backend/cpu/common/loop.h"

#define TN_COPY_MAX_DIMS 17

/* dst[i * dst_stride ...] = src[i * src_stride ...] for all index tuples below dims. Strides in elements; src strides may be 0 or
 * negative, dst's reach every element at most once. dims are in dst's order, outermost first. */
typedef struct TnCopy {
    uint32_t bytes; /* of an element */
    int32_t rank;
    int64_t dims[TN_COPY_MAX_DIMS], dst_stride[TN_COPY_MAX_DIMS], src_stride[TN_COPY_MAX_DIMS];
    void *dst;
    const void *src;
} TnCopy;

/* Transposes a tile: dst[i * dst_step + j] = src[j * src_step + i] for i < rows <= TN_TILE_ROWS, j < cols <= TN_TILE_COLS; steps in
 * elements. */
#define TN_TILE_ROWS 32
#define TN_TILE_COLS 512
typedef void (*TnTransposeTile)(void *dst, int64_t dst_step, const void *src, int64_t src_step, int64_t rows, int64_t cols);
/* By element size: index 0 for 1 byte, 1 for 2, 2 for 4, 3 for 8, 4 for 16. */
typedef struct TnTransposeTiles {
    TnTransposeTile by_log2[5];
} TnTransposeTiles;
extern const TnTransposeTiles tni_cpu_tiles_plain;

/* tiles: NULL for the plain ones. */
void tni_cpu_copy(const TnCopy *copy, const TnTransposeTiles *tiles, TnThreads *threads);
/* n bytes, in parallel where it is worth it. */
void tni_cpu_copy_bytes(void *dst, const void *src, size_t n, TnThreads *threads);
/* n elements of `bytes` bytes become *value. */
void tni_cpu_fill(void *dst, const void *value, uint32_t bytes, int64_t n);
static inline bool tni_cpu_copyable(TnDtype t) {
    uint32_t b = tni_cpu_elem_bytes(t);
    return b == 1 || b == 2 || b == 4 || b == 8 || b == 16;
}
void tni_cpu_row_strides(int32_t rank, const int64_t *dims, int64_t *stride);

#endif
