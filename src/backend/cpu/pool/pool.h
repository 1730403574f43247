/* SPDX-License-Identifier: Apache-2.0
 *
 * Maximum and average pooling of f32, channels first or last, 1 to 3 spatial dims; no indices of maxima. Windows are walked tap by tap:
 * for each tap a whole row of outputs (channels first) or all channels of an output (channels last) is updated.
 * Global averages are plain sums in blocks that go to double. */
#ifndef TENON_BACKEND_CPU_POOL_H
#define TENON_BACKEND_CPU_POOL_H

#include "backend/cpu/common/loop.h"

/* Geometry with three spatial dims, leading ones 1. */
typedef struct TnPoolPlan {
    int64_t batch, channels;
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3];
    bool last; /* channels last */
    bool average, include_pad, global;
} TnPoolPlan;
void tni_cpu_pool_plan(const TnTensor *x, const TnTensor *y, const TnPoolParams *p, TnPoolPlan *plan);
/* First tap and one past the last of dim d whose input lies inside, for output o; *covered: taps inside the padded input. */
void tni_cpu_pool_taps(const TnPoolPlan *p, int d, int64_t o, int64_t *first, int64_t *end, int64_t *covered);

TnStatus tni_cpu_pool_scalar(TnKernelCall *call);
TnStatus tni_cpu_pool_avx2(TnKernelCall *call);
TnStatus tni_cpu_pool_avx512(TnKernelCall *call);
bool tni_cpu_pool_supports(const TnKernelQuery *q);
double tni_cpu_pool_cost_scalar(const TnKernelQuery *q);
double tni_cpu_pool_cost_avx2(const TnKernelQuery *q);
double tni_cpu_pool_cost_avx512(const TnKernelQuery *q);

#endif
