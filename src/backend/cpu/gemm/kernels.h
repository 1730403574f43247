/* SPDX-License-Identifier: Apache-2.0
 *
 * Declarations of what gemm/kernels.inc names. */
#ifndef TENON_CPU_GEMM_KERNELS_H
#define TENON_CPU_GEMM_KERNELS_H

#include "backend/cpu/gemm/gemm.h"

bool tni_gemm_supports(const TnKernelQuery *q);
bool tni_matmul_supports(const TnKernelQuery *q);

#define TNI_GEMM_DECLARE(op, isa)                                                                                                          \
    TnStatus tni_##op##_run_##isa(TnKernelCall *call);                                                                                     \
    size_t tni_##op##_scratch_##isa(const TnKernelQuery *q);                                                                               \
    double tni_##op##_cost_##isa(const TnKernelQuery *q);                                                                                  \
    size_t tni_##op##_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i);                                                              \
    void tni_##op##_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst);

TNI_GEMM_DECLARE(gemm, scalar)
TNI_GEMM_DECLARE(gemm, avx2)
TNI_GEMM_DECLARE(gemm, avx512)
TNI_GEMM_DECLARE(matmul, scalar)
TNI_GEMM_DECLARE(matmul, avx2)
TNI_GEMM_DECLARE(matmul, avx512)

#endif
