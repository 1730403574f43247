/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention on the GPU. The operands of a call become one struct of addresses and strides (TniCudaAttn) that all kernels take; the host
 * half (describe.c) checks shapes and fills it, the kernels never write the scores to memory.
 *
 *   wg.cuh     f16, bf16: Hopper's products of warpgroups (wgmma, 9.0 alone), heads of 64 and 128; wg.c, wg_f16_64.cu, ...
 *   mma.cuh    f16, bf16: products on the tensor cores, warp by warp (mma.sync, capability 8.0); mma_f16.cu, mma_bf16.cu
 *   tf32.cu    f32 operands rounded to tf32, on the tensor cores
 *   simt.cu    f32, exact products
 *   any.cu     every type, stride and head size up to 1024: one block a query
 *   step.cu    attention_step and cache_append
 *
 * Exponentials: scores stay in the natural domain and (score - maximum) is scaled by log2 e, because a finite mask as low as -3.4e38
 * must not become -inf. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_H
#define TENON_BACKEND_CUDA_ATTENTION_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (b, h, s, d) is p[b * sb + h * sh + s * ss + d * sd]; strides in elements. */
typedef struct TniCudaAttnView {
    const void *p;
    int64_t sb, sh, ss, sd;
    uint32_t wide; /* rows of d elements may be read 16 bytes at a time */
    uint32_t pairs; /* ... two elements at a time */
} TniCudaAttnView;

/* Added to score (b, h, i, j): p[b * sb + h * sh + i * si + j * sj]; p NULL: absent. Rows may be longer than there are keys (si > sk); what
 * lies behind them may be anything. */
typedef struct TniCudaAttnBias {
    const char *p, *end; /* the tensor's bytes */
    int64_t sb, sh, si, sj;
    uint32_t f32; /* its elements are f32, else the type of q */
    uint32_t pad;
} TniCudaAttnBias;

/* How the biases reach the kernel. By key: all that are there are the same for every query (si 0), or none is. Dense: bias `dense` is not
 * and has its keys one after another. Mixed: anything else; read element by element. */
typedef enum TniCudaAttnBiasKind { TNI_ATTN_BY_KEY, TNI_ATTN_DENSE, TNI_ATTN_MIXED } TniCudaAttnBiasKind;

typedef struct TniCudaAttn {
    TniCudaAttnView q, k, v;
    TniCudaAttnBias bias[2];
    void *out; /* element (b, h, s, d) at b * out_sb + h * out_sh + s * out_ss + d */
    int64_t out_sb, out_sh, out_ss;
    int32_t b, h, group, sq, sk, d, dv; /* group: query heads a key head */
    float scale;
    uint32_t causal;
    uint32_t bias_kind; /* TniCudaAttnBiasKind */
    uint32_t dense;
    uint32_t out_wide; /* output rows may be written 16 bytes at a time */
} TniCudaAttn;

/* False when the operands do not fit the parameters; T: the type of q, k, v and out. Of queries (data NULL) and calls. */
bool tni_cuda_attn_describe(TniCudaAttn *a, const TnAttentionParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TnDtype T);

/* Blocks of queries that the kernels of mma.cuh come in; split: the warps of a block share its queries and cut its keys. */
typedef enum TniCudaAttnTile { TNI_ATTN_128, TNI_ATTN_64, TNI_ATTN_32, TNI_ATTN_16 } TniCudaAttnTile;
TnStatus tni_cuda_attn_mma_f16(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile);
TnStatus tni_cuda_attn_mma_bf16(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile);
TnStatus tni_cuda_attn_tf32(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile);
TnStatus tni_cuda_attn_simt(TnKernelCall *call, const TniCudaAttn *a, int rows);
TnStatus tni_cuda_attn_any(TnKernelCall *call, const TniCudaAttn *a, TnDtype T);

/* ---- rows ---- */
#define TNI_CUDA_ATTN_ROW(name)                           \
    TnStatus tni_cuda_attention_##name(TnKernelCall *call); \
    bool tni_cuda_attention_##name##_supports(const TnKernelQuery *q); \
    double tni_cuda_attention_##name##_cost(const TnKernelQuery *q);
TNI_CUDA_ATTN_ROW(f16_128)
TNI_CUDA_ATTN_ROW(f16_64)
TNI_CUDA_ATTN_ROW(f16_32)
TNI_CUDA_ATTN_ROW(f16_16)
TNI_CUDA_ATTN_ROW(bf16_128)
TNI_CUDA_ATTN_ROW(bf16_64)
TNI_CUDA_ATTN_ROW(bf16_32)
TNI_CUDA_ATTN_ROW(bf16_16)
TNI_CUDA_ATTN_ROW(tf32_64)
TNI_CUDA_ATTN_ROW(tf32_16)
TNI_CUDA_ATTN_ROW(f32_128)
TNI_CUDA_ATTN_ROW(f32_64)
TNI_CUDA_ATTN_ROW(f32_16)
TNI_CUDA_ATTN_ROW(any_f32)
TNI_CUDA_ATTN_ROW(any_f16)
TNI_CUDA_ATTN_ROW(any_bf16)
TNI_CUDA_ATTN_ROW(f16_wg64x3)
TNI_CUDA_ATTN_ROW(f16_wg64x2)
TNI_CUDA_ATTN_ROW(f16_wg64x1)
TNI_CUDA_ATTN_ROW(f16_wg128x2)
TNI_CUDA_ATTN_ROW(bf16_wg64x3)
TNI_CUDA_ATTN_ROW(bf16_wg64x2)
TNI_CUDA_ATTN_ROW(bf16_wg64x1)
TNI_CUDA_ATTN_ROW(bf16_wg128x2)
#undef TNI_CUDA_ATTN_ROW

TnStatus tni_cuda_attention_step(TnKernelCall *call);
bool tni_cuda_attention_step_f32_supports(const TnKernelQuery *q);
bool tni_cuda_attention_step_f16_supports(const TnKernelQuery *q);
bool tni_cuda_attention_step_bf16_supports(const TnKernelQuery *q);
double tni_cuda_attention_step_cost(const TnKernelQuery *q);
TnStatus tni_cuda_cache_append(TnKernelCall *call);
bool tni_cuda_cache_append_supports(const TnKernelQuery *q);
double tni_cuda_cache_append_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif

#endif
