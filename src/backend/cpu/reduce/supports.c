/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the reduce kernels take, the plan of a reduction, and costs. */
#include "backend/cpu/reduce/reduce.h"

void tni_cpu_reduce_plan(const TnTensor *x, const TnReduceParams *p, TnReducePlan *plan) {
    bool reduced[TN_MAX_RANK] = {false};
    int64_t stride[TN_MAX_RANK], step = 1;
    memset(plan, 0, sizeof *plan);
    plan->outputs = plan->count = 1;
    for (uint32_t i = 0; i < p->n_axes; i++)
        reduced[tni_cpu_axis(p->axes[i], x->rank)] = true;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= x->dims[d];
    }
    int32_t last = -1; /* the dim before, of those that are not 1 */
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t n = x->dims[d];
        *(reduced[d] ? &plan->count : &plan->outputs) *= n;
        if (n == 1)
            continue;
        int64_t *dims = reduced[d] ? plan->red : plan->keep, *strides = reduced[d] ? plan->red_stride : plan->keep_stride;
        int32_t *groups = reduced[d] ? &plan->n_red : &plan->n_keep;
        if (last >= 0 && reduced[last] == reduced[d]) {
            dims[*groups - 1] *= n;
            strides[*groups - 1] = stride[d];
        } else {
            dims[*groups] = n;
            strides[(*groups)++] = stride[d];
        }
        last = d;
    }
    plan->inner_kept = last >= 0 && !reduced[last];
}

static bool int_fn(uint32_t fn) {
    return fn == TN_REDUCE_sum || fn == TN_REDUCE_max || fn == TN_REDUCE_min || fn == TN_REDUCE_prod;
}

bool tni_cpu_reduce_supports(const TnKernelQuery *q) {
    const TnReduceParams *p = q->params;
    TnDtype t = q->in[0].dtype;
    if (t != q->out[0].dtype || p->fn >= TN_REDUCE_COUNT || p->n_axes > TN_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < p->n_axes; i++) {
        int32_t a = tni_cpu_axis(p->axes[i], q->in[0].rank);
        if (a < 0 || a >= q->in[0].rank)
            return false;
    }
    return t == TN_F32 || ((t == TN_I64 || t == TN_I32) && int_fn(p->fn));
}

static bool axis_ok(int32_t axis, const TnTensor *x) {
    int32_t a = tni_cpu_axis(axis, x->rank);
    return a >= 0 && a < x->rank;
}

bool tni_cpu_arg_reduce_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && q->out[0].dtype == TN_I64 && axis_ok(((const TnArgReduceParams *)q->params)->axis, &q->in[0]);
}

bool tni_cpu_cumsum_supports(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype, a = q->in[1].dtype;
    return (t == TN_F32 || t == TN_I64 || t == TN_I32) && q->out[0].dtype == t && (a == TN_I64 || a == TN_I32) && q->in[0].rank > 0;
}

bool tni_cpu_topk_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && q->in[1].dtype == TN_I64 && axis_ok(((const TnTopkParams *)q->params)->axis, &q->in[0]) &&
           q->n_out == 2 && q->out[0].rank == q->in[0].rank && q->out[1].dtype == TN_I64 &&
           q->in[0].dims[tni_cpu_axis(((const TnTopkParams *)q->params)->axis, q->in[0].rank)] <= UINT32_MAX; /* indices in a key */
}

size_t tni_cpu_topk_scratch(const TnKernelQuery *q) {
    int32_t axis = tni_cpu_axis(((const TnTopkParams *)q->params)->axis, q->in[0].rank);
    return (size_t)q->out[0].dims[axis] * sizeof(uint64_t) * q->threads;
}

/* The work follows the input, not the output. */
static double cost(const TnKernelQuery *q, double ns) {
    return tni_cpu_cost(q, 0.0) + (double)tn_tensor_numel(&q->in[0]) * ns;
}
double tni_cpu_reduce_cost_scalar(const TnKernelQuery *q) {
    return cost(q, 1.0);
}
double tni_cpu_reduce_cost_avx2(const TnKernelQuery *q) {
    return cost(q, 0.1);
}
double tni_cpu_reduce_cost_avx512(const TnKernelQuery *q) {
    return cost(q, 0.05);
}
