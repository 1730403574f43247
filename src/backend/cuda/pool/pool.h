/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the pool family that its rows name. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_POOL_H
#define TENON_BACKEND_CUDA_POOL_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_pool(TnKernelCall *call);
size_t tni_cuda_pool_scratch(const TnKernelQuery *q);
bool tni_cuda_pool_floats(const TnKernelQuery *q);
bool tni_cuda_pool_halves(const TnKernelQuery *q);
bool tni_cuda_pool_brains(const TnKernelQuery *q);
bool tni_cuda_pool_integers(const TnKernelQuery *q);
double tni_cuda_pool_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
