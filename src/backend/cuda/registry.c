/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of all CUDA kernels. A family is a folder with kernels.inc (rows, see below), FAMILY.h (declarations) and family.cmake.
 * TENON_CUDA_FAMILIES (CMake) may leave families out. */
#include "backend/cuda/registry.h"

#include "backend/cuda/attention/attention.h"
#include "backend/cuda/conv/conv.h"
#include "backend/cuda/detect/detect.h"
#include "backend/cuda/gather/gather.h"
#include "backend/cuda/gemm/gemm.h"
#include "backend/cuda/mlp/mlp.h"
#include "backend/cuda/move/move.h"
#include "backend/cuda/norm/norm.h"
#include "backend/cuda/pointwise/pointwise.h"
#include "backend/cuda/pool/pool.h"
#include "backend/cuda/reduce/reduce.h"
#include "backend/cuda/resize/resize.h"
#include "backend/cuda/softmax/softmax.h"

static const TnKernel table[] = {
#define KERNEL(op, name, arch_min, arch_max, math, run, supports, scratch, cost, packing, packed_bytes, pack, source, atol, rtol)          \
    {#name, TN_OP_##op,     0,        run,      supports, scratch, cost, packing, packed_bytes, pack, atol,                                \
     rtol,  TN_DEVICE_CUDA, arch_min, arch_max, math,     source},
#ifdef TNI_CUDA_GEMM
#include "backend/cuda/gemm/kernels.inc"
#include "backend/cuda/mlp/kernels.inc"
#endif
#ifdef TNI_CUDA_ATTENTION
#include "backend/cuda/attention/kernels.inc"
#endif
#ifdef TNI_CUDA_NORM
#include "backend/cuda/norm/kernels.inc"
#endif
#ifdef TNI_CUDA_SOFTMAX
#include "backend/cuda/softmax/kernels.inc"
#endif
#ifdef TNI_CUDA_POINTWISE
#include "backend/cuda/pointwise/kernels.inc"
#endif
#ifdef TNI_CUDA_REDUCE
#include "backend/cuda/reduce/kernels.inc"
#endif
#ifdef TNI_CUDA_MOVE
#include "backend/cuda/move/kernels.inc"
#endif
#ifdef TNI_CUDA_GATHER
#include "backend/cuda/gather/kernels.inc"
#endif
#ifdef TNI_CUDA_CONV
#include "backend/cuda/conv/kernels.inc"
#endif
#ifdef TNI_CUDA_POOL
#include "backend/cuda/pool/kernels.inc"
#endif
#ifdef TNI_CUDA_RESIZE
#include "backend/cuda/resize/kernels.inc"
#endif
#ifdef TNI_CUDA_DETECT
#include "backend/cuda/detect/kernels.inc"
#endif
#undef KERNEL
    {.name = NULL},
};

const TnKernel *tni_gpu_kernels(uint32_t *n) {
    *n = (uint32_t)TN_COUNT(table) - 1;
    return table;
}

uint64_t tni_gpu_identity(void) {
    uint64_t h = 0;
    for (size_t i = 0; i + 1 < TN_COUNT(table); i++) {
        const char *packing = table[i].packing == NULL ? "" : table[i].packing;
        h = tni_hash(table[i].name, strlen(table[i].name) + 1, h);
        h = tni_hash(packing, strlen(packing) + 1, h);
    }
    return h;
}
