/* SPDX-License-Identifier: Apache-2.0
 *
 * quantize_linear of f32 to bytes and dequantize_linear of bytes to f32, one scale for the whole tensor, bit for bit as the reference. */
#ifndef TENON_CPU_QUANTIZE_H
#define TENON_CPU_QUANTIZE_H

#include "backend/cpu/common/loop.h"

bool tni_cpu_quantize_supports(const TnKernelQuery *q);
bool tni_cpu_dequantize_supports(const TnKernelQuery *q);

#define TNI_QUANTIZE_DECLARE(isa)                                                                                                          \
    TnStatus tni_cpu_quantize_##isa(TnKernelCall *call);                                                                                   \
    TnStatus tni_cpu_dequantize_##isa(TnKernelCall *call);                                                                                 \
    double tni_cpu_quantize_cost_##isa(const TnKernelQuery *q);
TNI_QUANTIZE_DECLARE(scalar)
TNI_QUANTIZE_DECLARE(avx2)
TNI_QUANTIZE_DECLARE(avx512)

#endif
