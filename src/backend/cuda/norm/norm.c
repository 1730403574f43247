/* SPDX-License-Identifier: Apache-2.0
 *
 * Host half of the normalisations: which calls the kernels take, and operands to addresses. */
#include "backend/cuda/norm/norm.h"

static int32_t axis_of(const TnNormParams *p, int32_t rank) {
    int32_t axis = p->axis < 0 ? p->axis + rank : p->axis;
    return axis >= 0 && axis < rank ? axis : -1;
}

static bool there(const TnTensor *in, uint32_t n_in, uint32_t i) {
    return i < n_in && in[i].dtype != TN_UNDEFINED;
}

/* Input i is absent, or holds dims [axis, rank) of x, leading ones aside: every element its own. */
static bool suffix(const TnKernelQuery *q, uint32_t i, int32_t axis) {
    const TnTensor *x = &q->in[0], *t = &q->in[i];
    if (!there(q->in, q->n_in, i))
        return true;
    for (int32_t d = t->rank - 1, e = x->rank - 1; d >= 0; d--, e--)
        if (t->dims[d] != (e >= axis ? x->dims[e] : 1))
            return false;
    for (int32_t e = x->rank - 1 - t->rank; e >= axis; e--)
        if (x->dims[e] != 1)
            return false;
    return true;
}

/* Rows of up to INT32_MAX / 2 elements. */
static bool row_fits(const TnTensor *x, int32_t axis) {
    return tni_numel_range(x, axis, x->rank) < INT32_MAX / 2;
}

static bool layer_norm_supports(const TnKernelQuery *q) {
    int32_t axis = axis_of(q->params, q->in[0].rank);
    return axis >= 0 && suffix(q, 1, axis) && suffix(q, 2, axis) && row_fits(&q->in[0], axis);
}

static bool add_layer_norm_supports(const TnKernelQuery *q) {
    int32_t rank = q->in[0].rank;
    if (rank < 1 || q->in[1].rank != rank || memcmp(q->in[0].dims, q->in[1].dims, (size_t)rank * sizeof(int64_t)) != 0)
        return false;
    return suffix(q, 2, rank - 1) && suffix(q, 3, rank - 1) && suffix(q, 4, rank - 1) && row_fits(&q->in[0], rank - 1);
}

static bool per_channel(const TnKernelQuery *q, int64_t channels) {
    for (uint32_t i = 1; i < q->n_in; i++)
        if (!there(q->in, q->n_in, i) || tn_tensor_numel(&q->in[i]) != channels)
            return false;
    return true;
}

static int32_t channel_axis(const TnTensor *x, const TnNormParams *p) {
    return p->channels_last != 0 ? x->rank - 1 : 1;
}

static bool batch_norm_supports(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0];
    return q->n_in == 5 && x->rank >= 2 && per_channel(q, x->dims[channel_axis(x, q->params)]);
}

static bool group_norm_supports(const TnKernelQuery *q) {
    const TnNormParams *p = q->params;
    const TnTensor *x = &q->in[0];
    if (x->rank < 2 || p->channels_last != 0 || q->n_in != 3 || !per_channel(q, x->dims[1]))
        return false;
    return q->op == TN_OP_instance_norm || (p->groups > 0 && x->dims[1] % (int64_t)p->groups == 0);
}

#define TYPED(op, type, T)                                                     \
    bool tni_cuda_##op##_##type##_supports(const TnKernelQuery *q) {           \
        return tni_cuda_float_type(q) == T && op##_supports(q);                \
    }
#define TYPES(op)               \
    TYPED(op, f32, TN_F32)      \
    TYPED(op, f16, TN_F16)      \
    TYPED(op, bf16, TN_BF16)
#define rms_norm_supports layer_norm_supports
#define instance_norm_supports group_norm_supports
TYPES(layer_norm)
TYPES(add_layer_norm)
TYPES(rms_norm)
TYPES(batch_norm)
TYPES(instance_norm)
TYPES(group_norm)

double tni_cuda_norm_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, tni_cuda_bytes(q), 0.0, 0.0);
}

/* ---- calls ---- */

static const void *data_of(const TnKernelCall *call, uint32_t i) {
    return there(call->in, call->n_in, i) ? call->in[i].data : NULL;
}

static bool aligned(const void *p) {
    return p == NULL || tni_is_aligned(p, 16);
}

static TnStatus rows_call(TnKernelCall *call, int32_t axis, TniCudaNormRows *a, const char *what) {
    const TnTensor *x = &call->in[0];
    a->x = x->data;
    a->y = call->out[0].data;
    a->rows = tni_numel_range(x, 0, axis);
    a->n = (int32_t)tni_numel_range(x, axis, x->rank);
    a->epsilon = ((const TnNormParams *)call->params)->epsilon;
    a->wide = (size_t)a->n * tni_size_of(x->dtype) % 16 == 0 && aligned(a->x) && aligned(a->residual) && aligned(a->x_bias) &&
              aligned(a->scale) && aligned(a->bias) && aligned(a->y) && aligned(a->sum);
    if (a->rows == 0 || a->n == 0 || (a->y == NULL && a->sum == NULL))
        return TN_OK;
    return tni_cuda_norm_rows(call, a, x->dtype, what);
}

TnStatus tni_cuda_layer_norm(TnKernelCall *call) {
    TniCudaNormRows a = {.scale = data_of(call, 1), .bias = data_of(call, 2)};
    return rows_call(call, axis_of(call->params, call->in[0].rank), &a, "layer_norm");
}

TnStatus tni_cuda_rms_norm(TnKernelCall *call) {
    TniCudaNormRows a = {.scale = data_of(call, 1), .rms = 1};
    return rows_call(call, axis_of(call->params, call->in[0].rank), &a, "rms_norm");
}

TnStatus tni_cuda_add_layer_norm(TnKernelCall *call) {
    TniCudaNormRows a = {.residual = data_of(call, 1),
                         .scale = data_of(call, 2),
                         .bias = data_of(call, 3),
                         .x_bias = data_of(call, 4),
                         .sum = call->n_out > 1 ? call->out[1].data : NULL};
    return rows_call(call, call->in[0].rank - 1, &a, "add_layer_norm");
}

TnStatus tni_cuda_batch_norm(TnKernelCall *call) {
    const TnNormParams *p = call->params;
    const TnTensor *x = &call->in[0];
    const int32_t at = channel_axis(x, p);
    const int64_t vector = 16 / (int64_t)tni_size_of(x->dtype);
    TniCudaBatchNorm a = {.x = x->data,
                          .scale = call->in[1].data,
                          .bias = call->in[2].data,
                          .mean = call->in[3].data,
                          .variance = call->in[4].data,
                          .y = call->out[0].data,
                          .n = tn_tensor_numel(x),
                          .inner = tni_numel_range(x, at + 1, x->rank),
                          .channels = x->dims[at],
                          .epsilon = p->epsilon};
    bool wide = aligned(a.x) && aligned(a.y) && (a.inner == 1 ? a.channels : a.inner) % vector == 0;
    if (a.inner == 1)
        wide = wide && aligned(a.scale) && aligned(a.bias) && aligned(a.mean) && aligned(a.variance);
    a.wide = wide;
    return a.n == 0 ? TN_OK : tni_cuda_norm_batch(call, &a, x->dtype);
}

static TnStatus groups_call(TnKernelCall *call, int64_t groups, const char *what) {
    const TnTensor *x = &call->in[0];
    TniCudaNormGroups a = {.x = x->data,
                           .scale = call->in[1].data,
                           .bias = call->in[2].data,
                           .y = call->out[0].data,
                           .inner = tni_numel_range(x, 2, x->rank),
                           .channels = x->dims[1],
                           .epsilon = ((const TnNormParams *)call->params)->epsilon};
    a.rows = x->dims[0] * groups;
    a.n = groups > 0 ? x->dims[1] / groups * a.inner : 0;
    a.wide = aligned(a.x) && aligned(a.y) && (size_t)a.inner * tni_size_of(x->dtype) % 16 == 0;
    return a.rows * a.n == 0 ? TN_OK : tni_cuda_norm_groups(call, &a, x->dtype, what);
}

TnStatus tni_cuda_instance_norm(TnKernelCall *call) {
    return groups_call(call, call->in[0].dims[1], "instance_norm");
}

TnStatus tni_cuda_group_norm(TnKernelCall *call) {
    return groups_call(call, ((const TnNormParams *)call->params)->groups, "group_norm");
}
