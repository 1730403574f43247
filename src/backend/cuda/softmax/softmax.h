/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax and log-softmax on the GPU, along any axis, arithmetic in f32. */
#ifndef TENON_BACKEND_CUDA_SOFTMAX_H
#define TENON_BACKEND_CUDA_SOFTMAX_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Element (o, i, k) at (o * n + i) * inner + k; each (o, k) is a distribution over i. */
typedef struct TniCudaSoftmax {
    const void *x;
    void *y;
    int64_t outer, inner;
    int32_t n;
    float scale;
    uint32_t log;
    uint32_t wide; /* inner 1: rows may be read 16 bytes at a time */
} TniCudaSoftmax;
TnStatus tni_cuda_softmax_launch(TnKernelCall *call, const TniCudaSoftmax *a, TnDtype T);

TnStatus tni_cuda_softmax(TnKernelCall *call);
bool tni_cuda_softmax_f32_supports(const TnKernelQuery *q);
bool tni_cuda_softmax_f16_supports(const TnKernelQuery *q);
bool tni_cuda_softmax_bf16_supports(const TnKernelQuery *q);
double tni_cuda_softmax_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif

#endif
