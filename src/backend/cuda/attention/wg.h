/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention through wgmma: arguments and configurations shared by host code and kernels (wg.cuh). */
#ifndef TENON_BACKEND_CUDA_ATTENTION_WG_H
#define TENON_BACKEND_CUDA_ATTENTION_WG_H

#include "backend/cuda/attention/attention.h"

/* CONFIG(name, head size, keys a tile, consumer warpgroups of 64 queries, tiles of keys in flight, tiles of bias in flight a warpgroup,
 *        blocks an SM). 709 and 578 keys are 7 tiles of 96 and 16 or 48 more, or 4 or 5 of 144. */
#define TNI_ATTN_WG_64(CONFIG)                                                                                                             \
    CONFIG(64x3, 64, 96, 3, 4, 3, 1)                                                                                                       \
    CONFIG(64x2, 64, 144, 2, 3, 2, 1)                                                                                                      \
    CONFIG(64x1, 64, 96, 1, 2, 3, 2)
#define TNI_ATTN_WG_128(CONFIG) CONFIG(128x2, 128, 96, 2, 3, 3, 1)

#define TNI_ATTN_WG_BOX 32 /* columns of a dense bias that come at a time: 64 bytes a row, with the 64-byte swizzle */

typedef enum TniAttnWg {
#define CONFIG(name, d, keys, groups, tiles, bias_tiles, resident) TNI_ATTN_WG_##name,
    TNI_ATTN_WG_64(CONFIG) TNI_ATTN_WG_128(CONFIG)
#undef CONFIG
        TNI_ATTN_WG_COUNT
} TniAttnWg;

typedef struct TniAttnWgArgs {
    TniCudaAttn a;
    TniDiv by_tiles, by_heads, by_group; /* blocks of queries a head; heads; query heads a key head */
    int32_t tiles;                       /* blocks of queries in all */
    float q_scale;                       /* a power of two that the queries are multiplied with */
    float unit;                          /* dense bias: what a score is divided by, 1 .. 2, after q_scale; else the scale of the products */
    float c, grow;                       /* log2 e a unit of what is in the sums; growth of a maximum that is followed at once */
    uint32_t vector;                     /* dense bias: there is one by key too */
} TniAttnWgArgs;

#ifdef __cplusplus
extern "C" {
#endif
/* Enqueue; maps: keys, values, dense bias (mode 2). mode: 0 no bias, 1 biases by key, 2 a dense bias too. One file an element type and head
 * size. */
#define TNI_ATTN_WG_LAUNCHER(type, d)                                                                                                      \
    cudaError_t tni_attn_wg_##type##_##d(TniAttnWg config, int mode, const CUtensorMap *maps, const TniAttnWgArgs *args,                   \
                                         const TnStream *s);
TNI_ATTN_WG_LAUNCHER(f16, 64)
TNI_ATTN_WG_LAUNCHER(f16, 128)
TNI_ATTN_WG_LAUNCHER(bf16, 64)
TNI_ATTN_WG_LAUNCHER(bf16, 128)
#ifdef __cplusplus
}
#endif
#endif
