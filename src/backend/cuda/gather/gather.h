/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the gather family that its rows name. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_GATHER_H
#define TENON_BACKEND_CUDA_GATHER_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_gather(TnKernelCall *call);
TnStatus tni_cuda_gather_elements(TnKernelCall *call);
TnStatus tni_cuda_gather_nd(TnKernelCall *call);
TnStatus tni_cuda_scatter_nd(TnKernelCall *call);
TnStatus tni_cuda_scatter_elements(TnKernelCall *call);

size_t tni_cuda_scatter_nd_scratch(const TnKernelQuery *q);
size_t tni_cuda_scatter_elements_scratch(const TnKernelQuery *q);

bool tni_cuda_gather_supports(const TnKernelQuery *q);
bool tni_cuda_scatter_supports(const TnKernelQuery *q); /* without reduction, or of integers: exact */
bool tni_cuda_scatter_floats(const TnKernelQuery *q);   /* with reduction: rounds */
bool tni_cuda_scatter_halves(const TnKernelQuery *q);
bool tni_cuda_scatter_brains(const TnKernelQuery *q);

double tni_cuda_gather_cost(const TnKernelQuery *q);
double tni_cuda_scatter_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
