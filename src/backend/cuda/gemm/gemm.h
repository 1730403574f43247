/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the gemm family that its rows name. */
#ifndef TENON_BACKEND_CUDA_GEMM_H
#define TENON_BACKEND_CUDA_GEMM_H

#include "backend/cuda/cuda.h"
#include "backend/cuda/gemm/shape.h"
#include "backend/cuda/gemm/wgmma.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TNI_GEMM_ROW(name)                                    \
    TnStatus tni_cuda_gemm_run_##name(TnKernelCall *call);    \
    double tni_cuda_gemm_cost_##name(const TnKernelQuery *q);

/* ---- gemm on wgmma (wgmma.c) ---- */
#define STREAM(name, wm, bn, ping, stages, eb) TNI_GEMM_ROW(name) TNI_GEMM_ROW(name##_x2)
#define SPLIT(name, wgs, bn, stages) TNI_GEMM_ROW(name) TNI_GEMM_ROW(name##_k2) TNI_GEMM_ROW(name##_k4) TNI_GEMM_ROW(name##_k8)
TNI_WG_STREAMS(STREAM)
TNI_WG_SPLITS(SPLIT)
#undef STREAM
#undef SPLIT
bool tni_cuda_gemm_wg_f16(const TnKernelQuery *q); /* streamed */
bool tni_cuda_gemm_wg_bf16(const TnKernelQuery *q);
bool tni_cuda_gemm_wg_tf32(const TnKernelQuery *q);
bool tni_cuda_gemm_wgs_f16(const TnKernelQuery *q); /* split */
bool tni_cuda_gemm_wgs_bf16(const TnKernelQuery *q);
bool tni_cuda_gemm_wgs_tf32(const TnKernelQuery *q);

/* ---- gemm of any shape and alignment (gemm.c) ---- */
TNI_GEMM_ROW(mma)
TNI_GEMM_ROW(ffma)
bool tni_cuda_gemm_any_f16(const TnKernelQuery *q);
bool tni_cuda_gemm_any_bf16(const TnKernelQuery *q);
bool tni_cuda_gemm_any_f32(const TnKernelQuery *q);

/* ---- few rows (small.cu) ---- */
TNI_GEMM_ROW(small)
bool tni_cuda_gemm_small_f16(const TnKernelQuery *q);
bool tni_cuda_gemm_small_bf16(const TnKernelQuery *q);
bool tni_cuda_gemm_small_f32(const TnKernelQuery *q);

/* ---- cuBLASLt (lt.c): _tf32 and _f32 differ in how f32 is multiplied; the number is the place in cuBLASLt's own list ---- */
#define TNI_LT_ROWS(X) X(0) X(1) X(2) X(3)
#define TNI_LT_DECLARE(i)                                          \
    TnStatus tni_cuda_gemm_run_lt##i(TnKernelCall *call);          \
    TnStatus tni_cuda_gemm_run_lt##i##_tf32(TnKernelCall *call);   \
    double tni_cuda_gemm_cost_lt##i(const TnKernelQuery *q);       \
    double tni_cuda_gemm_cost_lt##i##_tf32(const TnKernelQuery *q); \
    TnStatus tni_cuda_matmul_run_lt##i(TnKernelCall *call);        \
    TnStatus tni_cuda_matmul_run_lt##i##_tf32(TnKernelCall *call); \
    double tni_cuda_matmul_cost_lt##i(const TnKernelQuery *q);     \
    double tni_cuda_matmul_cost_lt##i##_tf32(const TnKernelQuery *q);
TNI_LT_ROWS(TNI_LT_DECLARE)
bool tni_cuda_gemm_lt_f16(const TnKernelQuery *q);
bool tni_cuda_gemm_lt_bf16(const TnKernelQuery *q);
bool tni_cuda_gemm_lt_f32(const TnKernelQuery *q);
size_t tni_cuda_gemm_lt_scratch(const TnKernelQuery *q);
bool tni_cuda_matmul_lt_f16(const TnKernelQuery *q);
bool tni_cuda_matmul_lt_bf16(const TnKernelQuery *q);
bool tni_cuda_matmul_lt_f32(const TnKernelQuery *q);
size_t tni_cuda_matmul_lt_scratch(const TnKernelQuery *q);

/* ---- matmul (matmul.c) ---- */
TnStatus tni_cuda_matmul_run_mma(TnKernelCall *call);
TnStatus tni_cuda_matmul_run_ffma(TnKernelCall *call);
double tni_cuda_matmul_cost_mma(const TnKernelQuery *q);
double tni_cuda_matmul_cost_ffma(const TnKernelQuery *q);
bool tni_cuda_matmul_f16(const TnKernelQuery *q);
bool tni_cuda_matmul_bf16(const TnKernelQuery *q);
bool tni_cuda_matmul_f32(const TnKernelQuery *q);

/* ---- products of integers, einsum (plain.cu) ---- */
TnStatus tni_cuda_einsum_run(TnKernelCall *call);
bool tni_cuda_einsum_f16(const TnKernelQuery *q);
bool tni_cuda_einsum_bf16(const TnKernelQuery *q);
bool tni_cuda_einsum_f32(const TnKernelQuery *q);
bool tni_cuda_einsum_int(const TnKernelQuery *q);
double tni_cuda_einsum_cost(const TnKernelQuery *q);
TnStatus tni_cuda_matmul_int_run(TnKernelCall *call);
bool tni_cuda_matmul_int_supports(const TnKernelQuery *q);
double tni_cuda_matmul_int_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
