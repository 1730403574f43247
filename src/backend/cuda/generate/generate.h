/* SPDX-License-Identifier: Apache-2.0
 *
 * The search of a generation on the GPU: what TnDeviceLibrary.search_step is. */
#ifndef TENON_BACKEND_CUDA_GENERATE_H
#define TENON_BACKEND_CUDA_GENERATE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

struct TnSearch;
TnStatus tni_gpu_search_step(TnStream *s, const struct TnSearch *g, TnError *err);

#ifdef __cplusplus
}
#endif
#endif
