# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(attention attention/describe.c attention/step.c attention/mma_f16.cu attention/mma_bf16.cu attention/tf32.cu
    attention/simt.cu attention/any.cu attention/step.cu)
