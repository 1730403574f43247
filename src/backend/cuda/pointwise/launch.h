/* SPDX-License-Identifier: Apache-2.0
 *
 * Host side of pointwise kernels: the arguments of memory.inc from tensors. */
#ifndef TENON_BACKEND_CUDA_POINTWISE_LAUNCH_H
#define TENON_BACKEND_CUDA_POINTWISE_LAUNCH_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif
#define PW_BLOCK 256

/* A .cu file gets the arguments together with the device code (device code: code.cuh). */
#ifndef __CUDACC__
#define PW_ARGS_ONLY
#define CODE(...) __VA_ARGS__
#include "backend/cuda/pointwise/memory.inc"
#undef CODE
#undef PW_ARGS_ONLY
#endif

struct PwArgs;
/* Elements a thread takes at once: as many as make 16 bytes of the widest operand, 8 where one of them has 2 bytes. */
uint32_t tni_cuda_pw_width(const TnTensor *in, uint32_t n_in, const TnTensor *out);
/* Arguments for n_in (at most 8) operands that broadcast to out; `width` as the kernel was made for (a power of two). Absent operands
 * are skipped. *blocks becomes 0 when there is nothing to do. TN_ERR_INTERNAL when an operand does not broadcast. */
TnStatus tni_cuda_pw_args(TnKernelCall *call, const TnTensor *in, uint32_t n_in, const TnTensor *out, uint32_t width, struct PwArgs *args,
                          unsigned *blocks);

#ifdef __cplusplus
}
#endif
#endif
