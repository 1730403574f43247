/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the pointwise family that its rows name. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_POINTWISE_H
#define TENON_BACKEND_CUDA_POINTWISE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_unary(TnKernelCall *call);
TnStatus tni_cuda_binary(TnKernelCall *call);
TnStatus tni_cuda_where(TnKernelCall *call);
TnStatus tni_cuda_clip(TnKernelCall *call);
TnStatus tni_cuda_cast(TnKernelCall *call);
TnStatus tni_cuda_quantize(TnKernelCall *call);
TnStatus tni_cuda_dequantize(TnKernelCall *call);
/* Fused programs: interpreted, and by code generated for the step. */
TnStatus tni_cuda_pointwise(TnKernelCall *call);
TnStatus tni_cuda_pointwise_made(TnKernelCall *call);
size_t tni_cuda_pointwise_source(const TnKernelQuery *q, char *dst, size_t cap);

bool tni_cuda_unary_floats(const TnKernelQuery *q); /* f16, bf16, f32, f64, each with a tolerance of its own */
bool tni_cuda_unary_halves(const TnKernelQuery *q);
bool tni_cuda_unary_brains(const TnKernelQuery *q);
bool tni_cuda_unary_integers(const TnKernelQuery *q);
bool tni_cuda_binary_floats(const TnKernelQuery *q);
bool tni_cuda_binary_halves(const TnKernelQuery *q);
bool tni_cuda_binary_brains(const TnKernelQuery *q);
bool tni_cuda_binary_integers(const TnKernelQuery *q);
bool tni_cuda_where_supports(const TnKernelQuery *q);
bool tni_cuda_clip_supports(const TnKernelQuery *q);
bool tni_cuda_cast_supports(const TnKernelQuery *q);
bool tni_cuda_quantize_supports(const TnKernelQuery *q);
bool tni_cuda_dequantize_floats(const TnKernelQuery *q);
bool tni_cuda_dequantize_halves(const TnKernelQuery *q);
bool tni_cuda_dequantize_brains(const TnKernelQuery *q);
bool tni_cuda_pointwise_floats(const TnKernelQuery *q);
bool tni_cuda_pointwise_halves(const TnKernelQuery *q);
bool tni_cuda_pointwise_brains(const TnKernelQuery *q);
bool tni_cuda_pointwise_made_floats(const TnKernelQuery *q);
bool tni_cuda_pointwise_made_halves(const TnKernelQuery *q);
bool tni_cuda_pointwise_made_brains(const TnKernelQuery *q);

double tni_cuda_bytes_cost(const TnKernelQuery *q); /* of what reads and writes every operand once */
double tni_cuda_pointwise_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
