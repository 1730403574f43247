/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the resize family that its rows name. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_RESIZE_H
#define TENON_BACKEND_CUDA_RESIZE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_resize(TnKernelCall *call);
size_t tni_cuda_resize_scratch(const TnKernelQuery *q);
bool tni_cuda_resize_floats(const TnKernelQuery *q);
bool tni_cuda_resize_halves(const TnKernelQuery *q);
bool tni_cuda_resize_brains(const TnKernelQuery *q);
bool tni_cuda_resize_integers(const TnKernelQuery *q);
double tni_cuda_resize_cost(const TnKernelQuery *q);

#ifdef __cplusplus
}
#endif
#endif
