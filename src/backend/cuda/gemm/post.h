/* SPDX-License-Identifier: Apache-2.0
 *
 * An epilogue over a product that lies in memory already. */
#ifndef TENON_BACKEND_CUDA_GEMM_POST_H
#define TENON_BACKEND_CUDA_GEMM_POST_H

#include "backend/cuda/gemm/epilogue.h"

#ifdef __cplusplus
extern "C" {
#endif
/* y [m, n] = act(alpha y + bias) + residual, in place. */
TnStatus tni_gemm_post(TnKernelCall *call, TnDtype type, void *y, int64_t m, int64_t n, const TniEpi *epi);
#ifdef __cplusplus
}
#endif
#endif
