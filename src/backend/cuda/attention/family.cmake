# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(attention attention/describe.c attention/step.c attention/wg.c attention/mma_f16.cu attention/mma_bf16.cu attention/tf32.cu
    attention/simt.cu attention/any.cu attention/step.cu)
tn_cuda_90a(attention/wg_f16_64.cu attention/wg_f16_128.cu attention/wg_bf16_64.cu attention/wg_bf16_128.cu)
