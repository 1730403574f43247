/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce, arg_reduce, cumsum, topk.
 *
 * reduce walks the input in memory order of its collapsed dims. Where the innermost group of dims is reduced, contiguous runs are summed in
 * vector lanes; where it is kept, columns lie side by side in lanes. Long sums go to double every block, and the order of additions
 * depends on the shape only. Results that overflow f32 on the way (sums of squares) are done again in double. */
#ifndef TENON_BACKEND_CPU_REDUCE_H
#define TENON_BACKEND_CPU_REDUCE_H

#include "backend/cpu/common/loop.h"

/* One reduction: kept and reduced groups of merged dims, outermost first, with strides in elements. */
typedef struct TnReducePlan {
    int32_t n_keep, n_red;
    int64_t keep[TN_MAX_RANK], keep_stride[TN_MAX_RANK];
    int64_t red[TN_MAX_RANK], red_stride[TN_MAX_RANK];
    int64_t outputs, count; /* elements reduced into one output */
    bool inner_kept;        /* the innermost group is kept: it is keep[n_keep - 1], with stride 1 */
} TnReducePlan;
void tni_cpu_reduce_plan(const TnTensor *x, const TnReduceParams *p, TnReducePlan *plan);

#define TN_REDUCE_DECLARE(isa)                                                                                                             \
    TnStatus tni_cpu_reduce_##isa(TnKernelCall *call);                                                                                     \
    TnStatus tni_cpu_arg_reduce_##isa(TnKernelCall *call);                                                                                 \
    TnStatus tni_cpu_cumsum_##isa(TnKernelCall *call);                                                                                     \
    TnStatus tni_cpu_topk_##isa(TnKernelCall *call);                                                                                       \
    double tni_cpu_reduce_cost_##isa(const TnKernelQuery *q);
TN_REDUCE_DECLARE(scalar)
TN_REDUCE_DECLARE(avx2)
TN_REDUCE_DECLARE(avx512)
#undef TN_REDUCE_DECLARE

bool tni_cpu_reduce_supports(const TnKernelQuery *q);
bool tni_cpu_arg_reduce_supports(const TnKernelQuery *q);
bool tni_cpu_cumsum_supports(const TnKernelQuery *q);
bool tni_cpu_topk_supports(const TnKernelQuery *q);
size_t tni_cpu_topk_scratch(const TnKernelQuery *q); /* one heap of k entries a thread */

#endif
