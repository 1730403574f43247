/* SPDX-License-Identifier: Apache-2.0
 *
 * All kernels of the CUDA backend. */
#ifndef TENON_BACKEND_CUDA_REGISTRY_H
#define TENON_BACKEND_CUDA_REGISTRY_H

#include "kernel/kernel.h"

/* All rows, family by family; the row after the last has no name. */
const TnKernel *tni_gpu_kernels(uint32_t *n);
/* Hash of the names and packings. */
uint64_t tni_gpu_identity(void);

#endif
