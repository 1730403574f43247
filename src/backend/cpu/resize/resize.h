/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling. x is seen as [outer, H, W, inner], of which only H and W change size: channels first has inner 1, channels last C.
 * nearest: any element type, through tables of source coordinates. linear and cubic: f32, through tables of taps (input, weight) of both
 * dims; a row of outputs is the weighted sum of input rows, then of its columns. Regions of interest (tf_crop_and_resize) stay with the
 * reference. */
#ifndef TENON_BACKEND_CPU_RESIZE_H
#define TENON_BACKEND_CPU_RESIZE_H

#include "backend/cpu/common/copy.h"

/* One changed dim: output o is the sum over k < taps of weight[o * taps + k] * input[index[o * taps + k]]. */
typedef struct TnResizeAxis {
    int64_t in, out, taps;
    double scale, length;
    int64_t *index;
    float *weight;
} TnResizeAxis;
typedef struct TnResizePlan {
    int64_t outer, inner;
    TnResizeAxis axis[2]; /* H, W */
    float *row;           /* a row of W * inner floats a thread */
} TnResizePlan;

bool tni_cpu_resize_supports(const TnKernelQuery *q);
size_t tni_cpu_resize_scratch(const TnKernelQuery *q); /* both tables and a row a thread */
/* Fills plan and its tables (in call->scratch). */
TnStatus tni_cpu_resize_plan(const TnKernelCall *call, TnResizePlan *plan);

#define TN_RESIZE_DECLARE(isa)                                                                                                             \
    TnStatus tni_cpu_resize_##isa(TnKernelCall *call);                                                                                     \
    double tni_cpu_resize_cost_##isa(const TnKernelQuery *q);
TN_RESIZE_DECLARE(scalar)
TN_RESIZE_DECLARE(avx2)
TN_RESIZE_DECLARE(avx512)
#undef TN_RESIZE_DECLARE

#endif
