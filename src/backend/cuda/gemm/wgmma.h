/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products through wgmma: arguments and configurations shared by host code and kernels.
 *
 * A is [M, K] row-major, B is [N, K] (packed, or a transposed operand), y is [M, N]. Two kernels:
 *   stream  persistent: a block walks over tiles; a producer warp keeps a ring of shared tiles filled by the copy engine, two consumer
 *           warpgroups multiply. "c": both work on one tile. "p": each has a tile of its own, so that one stores while the other
 *           multiplies. Needs K and N to be whole 16-byte pieces (rows of A, B and y start at multiples of 16 bytes).
 *   split   one tile a cluster of 1, 2, 4 or 8 blocks, which share K; sums meet in shared memory in a fixed order. Any N. */
#ifndef TENON_BACKEND_CUDA_GEMM_WGMMA_H
#define TENON_BACKEND_CUDA_GEMM_WGMMA_H

#include "backend/cuda/gemm/epilogue.h"

/* STREAM(name, rows a warpgroup, columns, pingpong, stages, store buffers a warpgroup). Tile rows: pingpong ? rows : 2 rows. */
#define TNI_WG_STREAMS(STREAM)          \
    STREAM(c128x256, 64, 256, 0, 4, 2)  \
    STREAM(c128x192, 64, 192, 0, 4, 3)  \
    STREAM(c128x128, 64, 128, 0, 6, 2)  \
    STREAM(p128x128, 128, 128, 1, 5, 2) \
    STREAM(p128x192, 128, 192, 1, 4, 2) \
    STREAM(p64x256, 64, 256, 1, 4, 2)   \
    STREAM(p64x192, 64, 192, 1, 5, 3)   \
    STREAM(p64x128, 64, 128, 1, 6, 2)

/* SPLIT(name, warpgroups of 64 rows, columns, stages) */
#define TNI_WG_SPLITS(SPLIT)  \
    SPLIT(s64x32, 1, 32, 6)   \
    SPLIT(s64x64, 1, 64, 6)   \
    SPLIT(s64x128, 1, 128, 4) \
    SPLIT(s128x128, 2, 128, 4)

typedef enum TniWgStream {
#define STREAM(name, wm, bn, ping, stages, eb) TNI_WG_##name,
    TNI_WG_STREAMS(STREAM)
#undef STREAM
    TNI_WG_STREAM_COUNT
} TniWgStream;

typedef enum TniWgSplit {
#define SPLIT(name, wgs, bn, stages) TNI_WG_##name,
    TNI_WG_SPLITS(SPLIT)
#undef SPLIT
    TNI_WG_SPLIT_COUNT
} TniWgSplit;

/* Arguments of the stream kernel. A unit of rows is `cluster` tiles below each other, one for each block of a cluster. Tiles are walked in
 * groups of `group` units of rows: all columns of a group before the next one, rows fastest. */
typedef struct TniWgStreamArgs {
    int32_t units, col_tiles, tiles, group;
    int32_t k_blocks, n, cluster, has_residual;
    int32_t early;      /* launched before the kernel in front is done (device.cuh) */
    int32_t b_constant; /* no kernel writes B: it may be fetched before that */
    TniEpi epi;
} TniWgStreamArgs;

typedef struct TniWgSplitArgs {
    int32_t m, n, row_tiles, k_blocks;
    int32_t early, b_constant; /* as above */
    int32_t pair;              /* pairs of elements of a row of y (and the residual) may be accessed at once */
    int32_t wide;              /* 16 bytes may */
    void *y;
    TniEpi epi;
} TniWgSplitArgs;

#ifdef __cplusplus
extern "C" {
#endif
/* Enqueue; maps: A, B, y, residual (split: A, B). One function an element type; float: tf32. */
#define TNI_WG_LAUNCHERS(type)                                                                                                    \
    cudaError_t tni_wg_stream_##type(TniWgStream config, const CUtensorMap *maps, const TniWgStreamArgs *args, uint32_t blocks,   \
                                     cudaStream_t s);                                                                             \
    cudaError_t tni_wg_split_##type(TniWgSplit config, uint32_t splits, const CUtensorMap *maps, const TniWgSplitArgs *args,      \
                                    uint32_t tiles, cudaStream_t s);
TNI_WG_LAUNCHERS(f16)
TNI_WG_LAUNCHERS(bf16)
TNI_WG_LAUNCHERS(tf32)
#ifdef __cplusplus
}
#endif
#endif
