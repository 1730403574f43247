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

/* relative_bias. Packed tables (TNI_PACK_UNITS): rows of an odd number of units of four heads, a unit more after every eighth row, zeros where
 * there is no head, 16 bytes whole. */
#define TNI_PACK_UNITS "relative_units4_of8"
TnStatus tni_cuda_relative_bias(TnKernelCall *call);
bool tni_cuda_relative_floats(const TnKernelQuery *q);
bool tni_cuda_relative_halves(const TnKernelQuery *q);
bool tni_cuda_relative_brains(const TnKernelQuery *q);
double tni_cuda_relative_cost(const TnKernelQuery *q);
size_t tni_cuda_relative_packed_bytes(const TnKernelQuery *q, uint32_t i);
void tni_cuda_relative_pack(const TnKernelQuery *q, uint32_t i, void *dst);
int64_t tni_relative_units(int64_t heads);
/* The unit where a row of a packed table begins. */
TN_INLINE int64_t tni_relative_row(int64_t row, int64_t units) { return row * units + row / 8; }
size_t tni_relative_bytes(const TnTensor *table);

#ifdef __cplusplus
}
#endif
#endif
