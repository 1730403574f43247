/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products that need nothing of their operands' alignment: mma.sync for f16, bf16 and tf32, FFMA for f32. */
#ifndef TENON_BACKEND_CUDA_GEMM_MMA_H
#define TENON_BACKEND_CUDA_GEMM_MMA_H

#include "backend/cuda/gemm/shape.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A batch of products of strided matrices: element (r, k) of A at a[r * a_row + k * a_col + batch offset], and so on; y rows of n.
 * Batches have up to 3 dims with own steps. */
typedef struct TniProduct {
    const void *a, *b;
    void *y;
    int32_t m, n, k;
    int64_t a_row, a_col, b_row, b_col; /* b: element (k, c) at b[k * b_row + c * b_col] */
    int32_t batch, dims[3];             /* batch = product of dims; last fastest */
    int64_t a_step[3], b_step[3];       /* elements */
    TniEpi epi;
} TniProduct;

/* tf32: products of f32 in tf32, else exactly rounded f32. */
TnStatus tni_product_mma(TnKernelCall *call, TnDtype type, bool tf32, const TniProduct *p);
/* FFMA kernel for f32. */
TnStatus tni_product_ffma(TnKernelCall *call, const TniProduct *p);
/* gemm of call, any alignment. f32 operands: tf32 products. */
TnStatus tni_gemm_mma_run(TnKernelCall *call, const TniGemmShape *s);
/* gemm of call as a TniProduct. */
void tni_gemm_product(const TnKernelCall *call, const TniGemmShape *s, TniProduct *p);

#ifdef __cplusplus
}
#endif
#endif
