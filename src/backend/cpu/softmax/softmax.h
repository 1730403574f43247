/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax and log-softmax of f32 over any axis: x seen as [outer, n, inner].
 * inner == 1: row by row. Otherwise columns side by side in vector lanes, so that no transpose is needed. Three passes: max of x,
 * e = exp(scale * (x - max)) with its sum, e / sum. scale > 0. */
#ifndef TENON_BACKEND_CPU_SOFTMAX_H
#define TENON_BACKEND_CPU_SOFTMAX_H

#include "backend/cpu/common/loop.h"

TnStatus tni_cpu_softmax_scalar(TnKernelCall *call);
TnStatus tni_cpu_softmax_avx2(TnKernelCall *call);
TnStatus tni_cpu_softmax_avx512(TnKernelCall *call);
bool tni_cpu_softmax_supports(const TnKernelQuery *q);
double tni_cpu_softmax_cost_scalar(const TnKernelQuery *q);
double tni_cpu_softmax_cost_avx2(const TnKernelQuery *q);
double tni_cpu_softmax_cost_avx512(const TnKernelQuery *q);

#endif
