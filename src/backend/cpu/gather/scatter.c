/* SPDX-License-Identifier: Apache-2.0
 *
 * scatter_nd, scatter_elements: a copy of the data, then the updates in the order of the indices (so that of equal ones the last wins). */
#include "backend/cpu/gather/gather.h"

bool tni_cpu_scatter_supports(const TnKernelQuery *q) {
    const TnScatterParams *p = q->params;
    TnDtype t = q->in[0].dtype, i = q->in[1].dtype;
    if (!tni_cpu_copyable(t) || (i != TN_I64 && i != TN_I32) || q->in[2].dtype != t)
        return false;
    return p->reduction == TN_SCATTER_NONE || (p->reduction == TN_SCATTER_ADD && (t == TN_F32 || t == TN_I64));
}

/* n elements of `from` assigned or added to `to`. */
static void update(const TnTensor *y, uint32_t bytes, bool add, int64_t to, const TnTensor *u, int64_t from, int64_t n) {
    if (!add) {
        memcpy((char *)y->data + to * bytes, (const char *)u->data + from * bytes, (size_t)n * bytes);
    } else if (y->dtype == TN_F32) {
        float *d = (float *)y->data + to;
        const float *s = (const float *)u->data + from;
        for (int64_t i = 0; i < n; i++)
            d[i] += s[i];
    } else {
        uint64_t *d = (uint64_t *)y->data + to;
        const uint64_t *s = (const uint64_t *)u->data + from;
        for (int64_t i = 0; i < n; i++)
            d[i] += s[i];
    }
}

TnStatus tni_cpu_scatter_nd(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *u = &call->in[2], *y = &call->out[0];
    const bool add = ((const TnScatterParams *)call->params)->reduction == TN_SCATTER_ADD;
    const int64_t k = idx->dims[idx->rank - 1], tuples = tni_cpu_span(idx, 0, idx->rank - 1), run = tni_cpu_span(x, (int32_t)k, x->rank);
    const uint32_t bytes = tni_cpu_elem_bytes(x->dtype);
    int64_t stride[TN_MAX_RANK];
    if (k > 0)
        TN_TRY(tni_cpu_check_indices(call, "scatter_nd", idx, x, 0, k));
    tni_cpu_copy_bytes(y->data, x->data, tn_tensor_bytes(x), call->threads);
    tni_cpu_row_strides(x->rank, x->dims, stride);
    for (int64_t t = 0; t < tuples && run > 0; t++) {
        int64_t to = 0;
        for (int64_t j = 0; j < k; j++) {
            int64_t i = tni_cpu_index(idx, t * k + j);
            to += (i < 0 ? i + x->dims[j] : i) * stride[j];
        }
        update(y, bytes, add, to, u, t * run, run);
    }
    return TN_OK;
}

TnStatus tni_cpu_scatter_elements(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *u = &call->in[2], *y = &call->out[0];
    const TnScatterParams *p = call->params;
    const int32_t axis = tni_cpu_axis(p->axis, x->rank);
    const uint32_t bytes = tni_cpu_elem_bytes(x->dtype);
    int64_t stride[TN_MAX_RANK], at[TN_MAX_RANK] = {0};
    TN_TRY(tni_cpu_check_indices(call, "scatter_elements", idx, x, axis, 1));
    tni_cpu_copy_bytes(y->data, x->data, tn_tensor_bytes(x), call->threads);
    tni_cpu_row_strides(x->rank, x->dims, stride);
    for (int64_t i = 0, n = tn_tensor_numel(idx); i < n; i++) {
        int64_t k = tni_cpu_index(idx, i), to = (k < 0 ? k + x->dims[axis] : k) * stride[axis];
        for (int32_t d = 0; d < idx->rank; d++)
            to += d == axis ? 0 : at[d] * stride[d];
        update(y, bytes, p->reduction == TN_SCATTER_ADD, to, u, i, 1);
        for (int32_t d = idx->rank - 1; d >= 0 && ++at[d] == idx->dims[d]; d--)
            at[d] = 0;
    }
    return TN_OK;
}
