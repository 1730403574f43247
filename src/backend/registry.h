/* SPDX-License-Identifier: Apache-2.0
 *
 * All kernels that this build has. The reference kernel of an operator is named "ref_<op>" and needs no CPU flag. */
#ifndef TENON_BACKEND_REGISTRY_H
#define TENON_BACKEND_REGISTRY_H

#include "kernel/kernel.h"

/* All rows; reference rows first, then the CPU families. */
const TnKernel *tni_kernels(uint32_t *n);
/* By name, or NULL. */
const TnKernel *tni_kernel_find(const char *name);
/* The reference kernel, or NULL for control operators. */
const TnKernel *tni_kernel_ref(TnOp op);
/* Identity of all kernels: a hash of names and packings. Plans and timing caches carry it. */
uint64_t tni_kernel_identity(void);

#endif
