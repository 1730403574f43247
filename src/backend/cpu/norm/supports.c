/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the normalisation kernels take: f32 throughout, parameters that are not broadcast. */
#include "backend/cpu/norm/norm.h"

static bool all_f32(const TnKernelQuery *q) {
    for (uint32_t i = 0; i < q->n_in; i++)
        if (tni_cpu_present(&q->in[i]) && q->in[i].dtype != TN_F32)
            return false;
    for (uint32_t i = 0; i < q->n_out; i++)
        if (tni_cpu_present(&q->out[i]) && q->out[i].dtype != TN_F32)
            return false;
    return true;
}

/* Input i is absent, or holds dims [axis, rank) of x, leading ones aside: every element its own. */
static bool suffix(const TnKernelQuery *q, uint32_t i, int32_t axis) {
    const TnTensor *x = &q->in[0], *t = &q->in[i];
    if (i >= q->n_in || !tni_cpu_present(t))
        return true;
    for (int32_t d = t->rank - 1, e = x->rank - 1; d >= 0; d--, e--)
        if (t->dims[d] != (e >= axis ? x->dims[e] : 1))
            return false;
    for (int32_t e = x->rank - 1 - t->rank; e >= axis; e--)
        if (x->dims[e] != 1)
            return false;
    return true;
}

bool tni_cpu_layer_norm_supports(const TnKernelQuery *q) {
    const TnNormParams *p = q->params;
    int32_t axis = tni_cpu_axis(p->axis, q->in[0].rank);
    return all_f32(q) && axis >= 0 && axis < q->in[0].rank && suffix(q, 1, axis) && suffix(q, 2, axis);
}

bool tni_cpu_add_layer_norm_supports(const TnKernelQuery *q) {
    int32_t rank = q->in[0].rank;
    if (!all_f32(q) || rank < 1 || q->in[1].rank != rank || memcmp(q->in[0].dims, q->in[1].dims, (size_t)rank * sizeof(int64_t)) != 0)
        return false;
    return suffix(q, 2, rank - 1) && suffix(q, 3, rank - 1) && suffix(q, 4, rank - 1);
}

static bool per_channel(const TnKernelQuery *q, uint32_t first, int64_t channels) {
    for (uint32_t i = first; i < q->n_in; i++)
        if (!tni_cpu_present(&q->in[i]) || tn_tensor_numel(&q->in[i]) != channels)
            return false;
    return true;
}

static int64_t channels_of(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0];
    return x->dims[((const TnNormParams *)q->params)->channels_last != 0 ? x->rank - 1 : 1];
}

bool tni_cpu_batch_norm_supports(const TnKernelQuery *q) {
    return all_f32(q) && q->in[0].rank >= 2 && per_channel(q, 1, channels_of(q));
}

bool tni_cpu_group_norm_supports(const TnKernelQuery *q) {
    const TnNormParams *p = q->params;
    if (!all_f32(q) || q->in[0].rank < 2 || p->channels_last != 0 || !per_channel(q, 1, q->in[0].dims[1]))
        return false;
    return q->op == TN_OP_instance_norm || (p->groups > 0 && q->in[0].dims[1] % (int64_t)p->groups == 0);
}

size_t tni_cpu_batch_norm_scratch(const TnKernelQuery *q) {
    return (size_t)TN_MAX(channels_of(q), 0) * sizeof(float);
}

double tni_cpu_norm_cost_scalar(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 2.5);
}
double tni_cpu_norm_cost_avx2(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 0.2);
}
double tni_cpu_norm_cost_avx512(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 0.1);
}
