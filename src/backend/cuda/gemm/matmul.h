/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator matmul (numpy rules) as a TniProduct. */
#ifndef TENON_BACKEND_CUDA_GEMM_MATMUL_H
#define TENON_BACKEND_CUDA_GEMM_MATMUL_H

#include "backend/cuda/gemm/mma.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Sizes and steps; no pointers. One B for all A is folded into more rows. false: shapes that do not fit, or more than three batch dims
 * that cannot be merged. */
bool tni_matmul_product(const TnTensor *a, const TnTensor *b, TniProduct *p);

#ifdef __cplusplus
}
#endif
#endif
