/* SPDX-License-Identifier: Apache-2.0
 *
 * gather, gather_elements, gather_nd, scatter_nd, scatter_elements. Indices are checked before anything is written; one outside
 * [-size, size) is TN_ERR_RUN. Memory is the limit, so there is one row for all ISAs; relative_bias, which adds, has one for each. */
#ifndef TENON_BACKEND_CPU_GATHER_H
#define TENON_BACKEND_CPU_GATHER_H

#include "backend/cpu/common/copy.h"

TnStatus tni_cpu_gather(TnKernelCall *call);
TnStatus tni_cpu_gather_elements(TnKernelCall *call);
TnStatus tni_cpu_gather_nd(TnKernelCall *call);
TnStatus tni_cpu_scatter_nd(TnKernelCall *call);
TnStatus tni_cpu_scatter_elements(TnKernelCall *call);
bool tni_cpu_gather_supports(const TnKernelQuery *q);  /* and gather_elements, gather_nd */
bool tni_cpu_scatter_supports(const TnKernelQuery *q); /* plain assignment of any type, addition of f32 and i64 */
double tni_cpu_gather_cost(const TnKernelQuery *q);

/* relative_bias (relative.c; relative_tmpl.h has a copy of run and cost for each ISA). */
typedef struct TniRelative {
    uint32_t terms;
    bool minus;
    const TnTensor *pq[TN_RELATIVE_TERMS], *pk[TN_RELATIVE_TERMS];
    const float *table[TN_RELATIVE_TERMS]; /* [hi - lo + 1, heads] */
    int32_t lo[TN_RELATIVE_TERMS], hi[TN_RELATIVE_TERMS];
    int64_t heads, queries, keys, row; /* row: columns written, keys and the pad */
    int64_t head_step;                 /* from a head to the next in y */
    float *y;
    int64_t rows, blocks; /* queries of a task; tasks of a sample */
} TniRelative;
bool tni_cpu_relative_supports(const TnKernelQuery *q);
TnStatus tni_cpu_relative_describe(TnKernelCall *call, TniRelative *r);
TnStatus tni_cpu_relative_bias_scalar(TnKernelCall *call);
TnStatus tni_cpu_relative_bias_avx2(TnKernelCall *call);
TnStatus tni_cpu_relative_bias_avx512(TnKernelCall *call);
double tni_cpu_relative_cost_scalar(const TnKernelQuery *q);
double tni_cpu_relative_cost_avx2(const TnKernelQuery *q);
double tni_cpu_relative_cost_avx512(const TnKernelQuery *q);

/* Index i of t (i32 or i64). */
static inline int64_t tni_cpu_index(const TnTensor *t, int64_t i) {
    return t->dtype == TN_I64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
}
/* Checks that every index of t, taken `of` at a time along the dims [first, first + of) of x, is in range. */
TnStatus tni_cpu_check_indices(const TnKernelCall *call, const char *op, const TnTensor *t, const TnTensor *x, int32_t first, int64_t of);

#endif
