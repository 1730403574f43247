# SPDX-License-Identifier: Apache-2.0
if(NOT "gemm" IN_LIST TENON_CUDA_FAMILIES)
    message(FATAL_ERROR "the CUDA family conv multiplies with kernels of gemm: add gemm to TENON_CUDA_FAMILIES")
endif()
tn_cuda_family(conv conv/shape.c conv/implicit.c conv/patches.c conv/patches.cu conv/dw.cu conv/plain.cu conv/implicit_f16.cu
    conv/implicit_bf16.cu conv/implicit_tf32.cu conv/implicit_f32.cu)
