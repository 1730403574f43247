/* SPDX-License-Identifier: Apache-2.0
 *
 * Geometry of a pooling call, what the kernels take, and their cost. */
#include "backend/cpu/pool/pool.h"

void tni_cpu_pool_plan(const TnTensor *x, const TnTensor *y, const TnPoolParams *p, TnPoolPlan *c) {
    const bool global = p->global != 0;
    const int32_t n = global ? x->rank - 2 : (int32_t)p->n_spatial;
    memset(c, 0, sizeof *c);
    c->last = p->channels_last != 0;
    c->average = p->kind == TN_POOL_AVG;
    c->include_pad = p->count_include_pad != 0;
    c->global = global;
    c->batch = x->dims[0];
    c->channels = x->dims[c->last ? n + 1 : 1];
    for (int32_t d = 0; d < 3; d++) {
        const int32_t s = d - (3 - n);
        const bool unit = s < 0;
        c->in[d] = unit ? 1 : x->dims[(c->last ? 1 : 2) + s];
        c->out[d] = unit ? 1 : y->dims[(c->last ? 1 : 2) + s];
        c->kernel[d] = unit ? 1 : global ? c->in[d] : p->kernel[s];
        c->stride[d] = unit || global ? 1 : p->stride[s];
        c->dilation[d] = unit || global ? 1 : p->dilation[s];
        if (unit || global || p->auto_pad == TN_PAD_VALID)
            continue;
        if (p->auto_pad == TN_PAD_EXPLICIT) {
            c->pad[d] = p->pads[s];
            c->pad_after[d] = p->pads[n + s];
        } else {
            int64_t extent = (c->kernel[d] - 1) * c->dilation[d] + 1;
            int64_t total = TN_MAX((c->out[d] - 1) * c->stride[d] + extent - c->in[d], 0);
            c->pad[d] = p->auto_pad == TN_PAD_SAME_LOWER ? total - total / 2 : total / 2;
            c->pad_after[d] = total - c->pad[d];
        }
    }
}

void tni_cpu_pool_taps(const TnPoolPlan *p, int d, int64_t o, int64_t *first, int64_t *end, int64_t *covered) {
    const int64_t start = o * p->stride[d] - p->pad[d], step = p->dilation[d];
    int64_t reach = p->in[d] - start, wide = reach + p->pad_after[d];
    *first = start < 0 ? (-start + step - 1) / step : 0;
    *end = TN_MIN(reach > 0 ? (reach + step - 1) / step : 0, p->kernel[d]);
    *covered = TN_MIN(wide > 0 ? (wide + step - 1) / step : 0, p->kernel[d]);
    *first = TN_MIN(*first, p->kernel[d]);
    *end = TN_MAX(*end, *first);
}

bool tni_cpu_pool_supports(const TnKernelQuery *q) {
    const TnPoolParams *p = q->params;
    const TnTensor *x = &q->in[0];
    const int32_t n = p->global != 0 ? x->rank - 2 : (int32_t)p->n_spatial;
    if (x->dtype != TN_F32 || q->out[0].dtype != TN_F32 || q->n_out != 1 || p->kind == TN_POOL_LP || n < 1 || n > 3 || x->rank != n + 2 ||
        q->out[0].rank != n + 2)
        return false;
    for (int32_t s = 0; s < n && p->global == 0; s++)
        if (p->kernel[s] < 1 || p->stride[s] < 1 || p->dilation[s] < 1 || p->pads[s] < 0 || p->pads[n + s] < 0)
            return false;
    return true;
}

static double cost(const TnKernelQuery *q, double ns) {
    TnPoolPlan c;
    tni_cpu_pool_plan(&q->in[0], &q->out[0], q->params, &c);
    double taps = (double)(c.kernel[0] * c.kernel[1] * c.kernel[2]);
    return tni_cpu_cost(q, 0.0) + (double)tn_tensor_numel(&q->out[0]) * taps * ns;
}
double tni_cpu_pool_cost_scalar(const TnKernelQuery *q) {
    return cost(q, 1.0);
}
double tni_cpu_pool_cost_avx2(const TnKernelQuery *q) {
    return cost(q, 0.25);
}
double tni_cpu_pool_cost_avx512(const TnKernelQuery *q) {
    return cost(q, 0.2);
}
