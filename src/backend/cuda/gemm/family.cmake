# SPDX-License-Identifier: Apache-2.0
tn_cuda_family(gemm gemm/shape.c gemm/gemm.c gemm/matmul.c gemm/lt.c gemm/wgmma.c gemm/mma.cu gemm/ffma.cu gemm/small.cu gemm/post.cu
    gemm/plain.cu mlp/mlp.c)
tn_cuda_90a(gemm/wgmma_stream_f16.cu gemm/wgmma_stream_bf16.cu gemm/wgmma_stream_tf32.cu
    gemm/wgmma_split_f16.cu gemm/wgmma_split_bf16.cu gemm/wgmma_split_tf32.cu
    mlp/fused_f16.cu mlp/fused_bf16.cu)
