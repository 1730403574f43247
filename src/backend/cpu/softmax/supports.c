/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the softmax kernels take, and their cost. */
#include "backend/cpu/softmax/softmax.h"

bool tni_cpu_softmax_supports(const TnKernelQuery *q) {
    const TnSoftmaxParams *p = q->params;
    int32_t axis = tni_cpu_axis(p->axis, q->in[0].rank);
    return q->in[0].dtype == TN_F32 && q->out[0].dtype == TN_F32 && axis >= 0 && axis < q->in[0].rank && p->scale > 0.0f;
}

double tni_cpu_softmax_cost_scalar(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 8.0);
}
double tni_cpu_softmax_cost_avx2(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 0.8);
}
double tni_cpu_softmax_cost_avx512(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 0.35);
}
