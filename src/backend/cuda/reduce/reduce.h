/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the reduce family that its rows name. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_REDUCE_H
#define TENON_BACKEND_CUDA_REDUCE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_reduce(TnKernelCall *call);
TnStatus tni_cuda_arg_reduce(TnKernelCall *call);
TnStatus tni_cuda_cumsum(TnKernelCall *call);

size_t tni_cuda_reduce_scratch(const TnKernelQuery *q);

bool tni_cuda_reduce_floats(const TnKernelQuery *q);
bool tni_cuda_reduce_halves(const TnKernelQuery *q);
bool tni_cuda_reduce_brains(const TnKernelQuery *q);
bool tni_cuda_reduce_integers(const TnKernelQuery *q); /* f64 too: everything that is computed in double or int64 */
bool tni_cuda_arg_reduce_supports(const TnKernelQuery *q);
bool tni_cuda_cumsum_floats(const TnKernelQuery *q);
bool tni_cuda_cumsum_halves(const TnKernelQuery *q);
bool tni_cuda_cumsum_brains(const TnKernelQuery *q);
bool tni_cuda_cumsum_integers(const TnKernelQuery *q);

double tni_cuda_reduce_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
