/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of f16 on the tensor cores. */
#include "backend/cuda/attention/mma.cuh"

TnStatus tni_cuda_attn_mma_f16(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile) {
    return attn_mma_run<__half>(call, *a, tile);
}
