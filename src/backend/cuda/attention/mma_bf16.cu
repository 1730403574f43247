/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of bf16 on the tensor cores. */
#include "backend/cuda/attention/mma.cuh"

TnStatus tni_cuda_attn_mma_bf16(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile) {
    return attn_mma_run<__nv_bfloat16>(call, *a, tile);
}
