/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions of the detect family that its rows name: orders, selections, boxes. All of them are host code. */
#ifndef TENON_BACKEND_CUDA_DETECT_H
#define TENON_BACKEND_CUDA_DETECT_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

TnStatus tni_cuda_topk(TnKernelCall *call);
TnStatus tni_cuda_nonzero(TnKernelCall *call);
TnStatus tni_cuda_compress(TnKernelCall *call);
TnStatus tni_cuda_unique(TnKernelCall *call);
TnStatus tni_cuda_nms(TnKernelCall *call);
TnStatus tni_cuda_roi_align(TnKernelCall *call);

size_t tni_cuda_topk_scratch(const TnKernelQuery *q);
size_t tni_cuda_nonzero_scratch(const TnKernelQuery *q);
size_t tni_cuda_compress_scratch(const TnKernelQuery *q);
size_t tni_cuda_unique_scratch(const TnKernelQuery *q);
size_t tni_cuda_nms_scratch(const TnKernelQuery *q);

bool tni_cuda_topk_supports(const TnKernelQuery *q);
bool tni_cuda_nonzero_supports(const TnKernelQuery *q);
bool tni_cuda_compress_supports(const TnKernelQuery *q);
bool tni_cuda_unique_supports(const TnKernelQuery *q);
bool tni_cuda_nms_supports(const TnKernelQuery *q);
bool tni_cuda_roi_floats(const TnKernelQuery *q);
bool tni_cuda_roi_halves(const TnKernelQuery *q);
bool tni_cuda_roi_brains(const TnKernelQuery *q);

double tni_cuda_sort_cost(const TnKernelQuery *q);
double tni_cuda_select_cost(const TnKernelQuery *q);
double tni_cuda_roi_cost(const TnKernelQuery *q);

/* ---- shared by their files ---- */

/* Brings `bytes` from the device and waits: for operators whose results have a size that only the device knows. Fails while the stream
 * records a graph. */
TnStatus tni_cuda_fetch(TnKernelCall *call, void *dst, const void *src, size_t bytes, const char *op);
/* TN_ERR_INTERNAL when scratch is smaller than need. */
TnStatus tni_cuda_need(TnKernelCall *call, size_t need, const char *op);
/* call->resize, or TN_ERR_INTERNAL without one. */
TnStatus tni_cuda_resize_to(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims, const char *op);

#ifdef __cplusplus
}
#endif
#endif
