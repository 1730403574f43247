/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisations in f32. Statistics in two passes: the mean m (rounded to f32), then the sums of d = x - m and d^2, so that
 * var = mean(d^2) - mean(d)^2 has nothing to cancel and the rounding of m is undone. Long rows are summed in blocks added up in double.
 * A row whose variance overflows f32 is done again in double. Sums have a fixed order: results do not depend on threads. */
#ifndef TENON_BACKEND_CPU_NORM_H
#define TENON_BACKEND_CPU_NORM_H

#include "backend/cpu/common/loop.h"

#define TN_NORM_DECLARE(isa)                                                                                                               \
    TnStatus tni_cpu_layer_norm_##isa(TnKernelCall *call);                                                                                 \
    TnStatus tni_cpu_add_layer_norm_##isa(TnKernelCall *call);                                                                             \
    TnStatus tni_cpu_rms_norm_##isa(TnKernelCall *call);                                                                                   \
    TnStatus tni_cpu_batch_norm_##isa(TnKernelCall *call);                                                                                 \
    TnStatus tni_cpu_instance_norm_##isa(TnKernelCall *call);                                                                              \
    TnStatus tni_cpu_group_norm_##isa(TnKernelCall *call);                                                                                 \
    double tni_cpu_norm_cost_##isa(const TnKernelQuery *q);
TN_NORM_DECLARE(scalar)
TN_NORM_DECLARE(avx2)
TN_NORM_DECLARE(avx512)
#undef TN_NORM_DECLARE

bool tni_cpu_layer_norm_supports(const TnKernelQuery *q); /* and rms_norm */
bool tni_cpu_add_layer_norm_supports(const TnKernelQuery *q);
bool tni_cpu_batch_norm_supports(const TnKernelQuery *q);
bool tni_cpu_group_norm_supports(const TnKernelQuery *q);  /* and instance_norm */
size_t tni_cpu_batch_norm_scratch(const TnKernelQuery *q); /* scale / sqrt(var + epsilon), [C] */

#endif
