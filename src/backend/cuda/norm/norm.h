/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisations on the GPU. Statistics are f32, the variance in a second pass over the row, which stays in registers (rows.cu) or is read
 * again (groups.cu, and rows longer than 4096). */
#ifndef TENON_BACKEND_CUDA_NORM_H
#define TENON_BACKEND_CUDA_NORM_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* y = (s - mean) / sqrt(var + epsilon) * scale + bias over rows of n, s = x + x_bias + residual; rms: no mean is taken away. Absent
 * operands are NULL, and so are outputs nobody wants. All of one type. */
typedef struct TniCudaNormRows {
    const void *x, *residual, *x_bias, *scale, *bias;
    void *y, *sum;
    int64_t rows;
    int32_t n;
    float epsilon;
    uint32_t rms;
    uint32_t wide; /* all rows may be read and written 16 bytes at a time */
} TniCudaNormRows;
TnStatus tni_cuda_norm_rows(TnKernelCall *call, const TniCudaNormRows *a, TnDtype T, const char *what);

/* Rows of n elements whose element i belongs to channel (row * n + i) / inner % channels. */
typedef struct TniCudaNormGroups {
    const void *x, *scale, *bias;
    void *y;
    int64_t rows, n, inner, channels;
    float epsilon;
    uint32_t wide;
} TniCudaNormGroups;
TnStatus tni_cuda_norm_groups(TnKernelCall *call, const TniCudaNormGroups *a, TnDtype T, const char *what);

/* y = (x - mean) / sqrt(variance + epsilon) * scale + bias; element i has channel i / inner % channels. */
typedef struct TniCudaBatchNorm {
    const void *x, *scale, *bias, *mean, *variance;
    void *y;
    int64_t n, inner, channels;
    float epsilon;
    uint32_t wide; /* 16 bytes at a time: of one channel (inner > 1) or of neighbouring channels (inner 1) */
} TniCudaBatchNorm;
TnStatus tni_cuda_norm_batch(TnKernelCall *call, const TniCudaBatchNorm *a, TnDtype T);

TnStatus tni_cuda_layer_norm(TnKernelCall *call);
TnStatus tni_cuda_add_layer_norm(TnKernelCall *call);
TnStatus tni_cuda_rms_norm(TnKernelCall *call);
TnStatus tni_cuda_batch_norm(TnKernelCall *call);
TnStatus tni_cuda_instance_norm(TnKernelCall *call);
TnStatus tni_cuda_group_norm(TnKernelCall *call);
#define TNI_CUDA_NORM_ROW(type)                                               \
    bool tni_cuda_layer_norm_##type##_supports(const TnKernelQuery *q);       \
    bool tni_cuda_add_layer_norm_##type##_supports(const TnKernelQuery *q);   \
    bool tni_cuda_rms_norm_##type##_supports(const TnKernelQuery *q);         \
    bool tni_cuda_batch_norm_##type##_supports(const TnKernelQuery *q);       \
    bool tni_cuda_instance_norm_##type##_supports(const TnKernelQuery *q);    \
    bool tni_cuda_group_norm_##type##_supports(const TnKernelQuery *q);
TNI_CUDA_NORM_ROW(f32)
TNI_CUDA_NORM_ROW(f16)
TNI_CUDA_NORM_ROW(bf16)
#undef TNI_CUDA_NORM_ROW
double tni_cuda_norm_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif

#endif
