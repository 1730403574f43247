/* SPDX-License-Identifier: Apache-2.0
 *
 * The fused pair of products on wgmma: arguments and configurations shared by host code and kernels (fused.cuh). */
#ifndef TENON_BACKEND_CUDA_MLP_FUSED_H
#define TENON_BACKEND_CUDA_MLP_FUSED_H

#include "backend/cuda/gemm/epilogue.h"

/* Everything moves in units of 64 rows of 128 bytes. */
#define TNI_MLP_UNIT 64
#define TNI_MLP_HIDDEN 2048 /* most hidden columns: their biases lie in shared memory */

/* MLP(name, columns of x and y, warpgroups of 64 rows each, buffers of x a warpgroup, units of weights) */
#define TNI_MLPS(MLP)         \
    MLP(c64, 64, 3, 2, 20)    \
    MLP(c128, 128, 3, 2, 15)  \
    MLP(c320, 320, 2, 1, 17)

typedef enum TniMlp {
#define MLP(name, c, wgs, xb, slots) TNI_MLP_##name,
    TNI_MLPS(MLP)
#undef MLP
    TNI_MLP_COUNT
} TniMlp;

/* residual: what is added to y. X: x itself, whose tile is at hand. */
typedef enum TniMlpResidual { TNI_MLP_RES_NONE, TNI_MLP_RES_X, TNI_MLP_RES_OTHER } TniMlpResidual;

typedef struct TniMlpArgs {
    const void *b1, *b2; /* [hidden], [c] of the operands' type, or NULL */
    int32_t hidden, c;
    int32_t tiles, chunks; /* of rows; of 64 hidden columns */
    uint32_t residual;     /* TniMlpResidual */
    int32_t constant;      /* no kernel writes the weights: they may be fetched before the kernel in front is done */
    TniAct act;
} TniMlpArgs;

#ifdef __cplusplus
extern "C" {
#endif
/* Enqueue; maps: x, w1 as [hidden, c], w2 as [c, hidden], y, residual, all in boxes of a unit. */
cudaError_t tni_mlp_f16(TniMlp config, const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s);
cudaError_t tni_mlp_bf16(TniMlp config, const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s);
#ifdef __cplusplus
}
#endif
#endif
