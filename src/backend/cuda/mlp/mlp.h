/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that the rows of operator mlp name. */
#ifndef TENON_BACKEND_CUDA_MLP_H
#define TENON_BACKEND_CUDA_MLP_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/gemm/gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One kernel (fused.cuh). */
TnStatus tni_cuda_mlp_run_fused(TnKernelCall *call);
double tni_cuda_mlp_cost_fused(const TnKernelQuery *q);
size_t tni_cuda_mlp_scratch_fused(const TnKernelQuery *q);

/* Two products of operator gemm with the hidden values in scratch memory. PAIR(name, first, second): rows of gemm. */
#define TNI_MLP_PAIRS(PAIR)                  \
    PAIR(pair, p128x128, p128x128)           \
    PAIR(pair_wide, p64x256, p128x128)       \
    PAIR(pair_c, p64x256, c128x192)
#define PAIR(name, first, second)                       \
    TnStatus tni_cuda_mlp_run_##name(TnKernelCall *call); \
    double tni_cuda_mlp_cost_##name(const TnKernelQuery *q);
TNI_MLP_PAIRS(PAIR)
#undef PAIR
size_t tni_cuda_mlp_scratch_pair(const TnKernelQuery *q);

/* Of all rows: where the fused kernel can, so that any may take the place of any. */
bool tni_cuda_mlp_f16(const TnKernelQuery *q);
bool tni_cuda_mlp_bf16(const TnKernelQuery *q);
size_t tni_cuda_mlp_packed_bytes(const TnKernelQuery *q, uint32_t i);
void tni_cuda_mlp_pack(const TnKernelQuery *q, uint32_t i, void *dst);

#ifdef __cplusplus
}
#endif
#endif
