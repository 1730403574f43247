/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rows of gemm share on the host: sizes and epilogue of a call, the packing of a constant B.
 *
 * Packing "cuda_nk": B as [N, Kp], rows along K, Kp = K rounded up to 16 bytes, the rest zero. Every kernel of operator gemm takes it. */
#ifndef TENON_BACKEND_CUDA_GEMM_SHAPE_H
#define TENON_BACKEND_CUDA_GEMM_SHAPE_H

#include "backend/cuda/gemm/epilogue.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TNI_PACK_NK "cuda_nk"

typedef struct TniGemmShape {
    TnDtype type;
    int64_t m, n, k;
    bool trans_a, trans_b;
    uint32_t bias_mode; /* TniBiasMode */
    bool has_residual;
} TniGemmShape;

/* false: no kernel of this folder does it (operands of different or other types, shapes that do not fit). */
bool tni_gemm_shape(const TnGemmParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TniGemmShape *s);
/* in, params of the call -> epilogue. */
void tni_gemm_epilogue(const TnKernelCall *call, const TniGemmShape *s, TniEpi *epi);
/* B of a call: packed or as it is. ld in elements; k_major: rows along K ([N, ld]), else [K, ld]; constant: packed with the plan, so that
 * no kernel writes it. */
typedef struct TniGemmB {
    const void *data;
    int64_t ld;
    bool k_major, constant;
} TniGemmB;
TniGemmB tni_gemm_b(const TnKernelCall *call, const TniGemmShape *s);
/* K rounded up to 16 bytes. */
TN_INLINE int64_t tni_gemm_kp(TnDtype t, int64_t k) {
    int64_t n = (int64_t)(16 / tni_size_of(t));
    return (k + n - 1) / n * n;
}

/* Of kernel rows. */
size_t tni_cuda_gemm_packed_bytes(const TnKernelQuery *q, uint32_t i);
void tni_cuda_gemm_pack(const TnKernelQuery *q, uint32_t i, void *dst);

#ifdef __cplusplus
}
#endif
#endif
