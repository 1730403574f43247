/* SPDX-License-Identifier: Apache-2.0
 *
 * gather, gather_elements, gather_nd, scatter_nd, scatter_elements. Negative indices count from the end; an index outside
 * [-size, size) is TN_ERR_RUN with nothing promised about the output. */
#include "backend/ref/ref.h"

/* Index i of the tensor, counted from the front, or TN_ERR_RUN. */
static TnStatus index_at(const TnKernelCall *call, const char *op, const TnTensor *t, int64_t i, int32_t axis, int64_t size, int64_t *out) {
    int64_t k = tni_load_i64(t->dtype, t->data, i);
    if (k < -size || k >= size)
        return tni_ref_bad_index(call, op, k, axis, size);
    *out = k < 0 ? k + size : k;
    return TN_OK;
}

TnStatus tni_ref_gather(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    int32_t axis = tni_ref_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    if (axis < 0)
        return tni_ref_bad_call(call, "gather", "an axis outside the input's rank");
    const int64_t outer = tni_ref_product_of(x->dims, 0, axis), size = x->dims[axis],
                  inner = tni_ref_product_of(x->dims, axis + 1, x->rank);
    const int64_t n = tn_tensor_numel(idx);
    const uint32_t bits = tn_dtype_bits(x->dtype);
    if (tn_tensor_numel(y) != outer * n * inner)
        return tni_ref_bad_call(call, "gather", "an output of another size");
    for (int64_t i = 0; i < n; i++) {
        int64_t k = 0;
        TN_TRY(index_at(call, "gather", idx, i, axis, size, &k));
        for (int64_t o = 0; o < outer; o++)
            tni_ref_copy_run(bits, y->data, (o * n + i) * inner, x->data, (o * size + k) * inner, inner);
    }
    return TN_OK;
}

/* Element i of the index tensor -> element of `data` with the coordinate along axis replaced by the index. */
static TnStatus element_of(const TnKernelCall *call, const char *op, const TnTensor *idx, int64_t i, const TnTensor *data,
                           const int64_t *strides, int32_t axis, int64_t *out) {
    int64_t rest = i, at = 0, k = 0;
    for (int32_t d = idx->rank - 1; d >= 0; d--) {
        int64_t c = rest % idx->dims[d];
        rest /= idx->dims[d];
        if (d != axis)
            at += c * strides[d];
    }
    TN_TRY(index_at(call, op, idx, i, axis, data->dims[axis], &k));
    *out = at + k * strides[axis];
    return TN_OK;
}

static bool elements_fit(const TnTensor *data, const TnTensor *idx, int32_t axis) {
    if (axis < 0 || data->rank != idx->rank)
        return false;
    for (int32_t d = 0; d < data->rank; d++)
        if (d != axis && idx->dims[d] > data->dims[d])
            return false;
    return true;
}

TnStatus tni_ref_gather_elements(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    int32_t axis = tni_ref_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    const int64_t n = tn_tensor_numel(idx);
    if (!elements_fit(x, idx, axis) || tn_tensor_numel(y) != n)
        return tni_ref_bad_call(call, "gather_elements", "indices that do not fit the input");
    int64_t strides[TN_MAX_RANK];
    tni_ref_strides(x->rank, x->dims, strides);
    for (int64_t i = 0; i < n; i++) {
        int64_t from = 0;
        TN_TRY(element_of(call, "gather_elements", idx, i, x, strides, axis, &from));
        tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, i, x->data, from, 1);
    }
    return TN_OK;
}

/* First element of the slice that tuple t of idx [..., k] names, after `batch` leading dims at element `base`. */
static TnStatus slice_of(const TnKernelCall *call, const char *op, const TnTensor *idx, int64_t t, const TnTensor *data,
                         const int64_t *strides, int32_t batch, int64_t base, int64_t *out) {
    const int64_t k = idx->dims[idx->rank - 1];
    *out = base;
    for (int32_t j = 0; j < k; j++) {
        int64_t i = 0;
        TN_TRY(index_at(call, op, idx, t * k + j, batch + j, data->dims[batch + j], &i));
        *out += i * strides[batch + j];
    }
    return TN_OK;
}

TnStatus tni_ref_gather_nd(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    const int32_t b = (int32_t)((const TnGatherNdParams *)call->params)->batch_dims;
    if (idx->rank < 1 || b < 0 || b >= idx->rank || b > x->rank || idx->dims[idx->rank - 1] > x->rank - b)
        return tni_ref_bad_call(call, "gather_nd", "indices that do not fit the input");
    const int32_t k = (int32_t)idx->dims[idx->rank - 1];
    const int64_t batches = tni_ref_product_of(idx->dims, 0, b), tuples = tni_ref_product_of(idx->dims, b, idx->rank - 1);
    const int64_t run = tni_ref_product_of(x->dims, b + k, x->rank), step = tni_ref_product_of(x->dims, b, x->rank);
    if (tni_ref_product_of(x->dims, 0, b) != batches || tn_tensor_numel(y) != batches * tuples * run)
        return tni_ref_bad_call(call, "gather_nd", "batch dims or an output that do not fit");
    int64_t strides[TN_MAX_RANK];
    tni_ref_strides(x->rank, x->dims, strides);
    for (int64_t t = 0; t < batches * tuples; t++) {
        int64_t from = 0;
        TN_TRY(slice_of(call, "gather_nd", idx, t, x, strides, b, t / tuples * step, &from));
        tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, t * run, x->data, from, run);
    }
    return TN_OK;
}

/* dst[to .. to + n) = reduce(dst, src[from .. from + n)). */
static void combine(uint32_t reduction, const TnTensor *dst, int64_t to, const TnTensor *src, int64_t from, int64_t n) {
    static const uint32_t fns[] = {[TN_SCATTER_ADD] = TN_BINARY_add,
                                   [TN_SCATTER_MUL] = TN_BINARY_mul,
                                   [TN_SCATTER_MAX] = TN_BINARY_max,
                                   [TN_SCATTER_MIN] = TN_BINARY_min};
    if (reduction == TN_SCATTER_NONE) {
        tni_ref_copy_run(tn_dtype_bits(dst->dtype), dst->data, to, src->data, from, n);
        return;
    }
    for (int64_t k = 0; k < n; k++) {
        if (tni_ref_exact(dst->dtype)) {
            int64_t a = tni_load_i64(dst->dtype, dst->data, to + k), b = tni_load_i64(src->dtype, src->data, from + k);
            tni_ref_binary_i64(fns[reduction], dst->dtype == TN_U64, 1, &a, &b, &a);
            tni_store_i64(dst->dtype, dst->data, to + k, a);
        } else {
            double a = tni_load_f64(dst->dtype, dst->data, to + k), b = tni_load_f64(src->dtype, src->data, from + k);
            tni_ref_binary_f64(fns[reduction], 1, &a, &b, &a);
            tni_store_f64(dst->dtype, dst->data, to + k, a);
        }
    }
}

static TnStatus start_scatter(TnKernelCall *call, const char *op) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (tn_tensor_numel(x) != tn_tensor_numel(y) || ((const TnScatterParams *)call->params)->reduction > TN_SCATTER_MIN)
        return tni_ref_bad_call(call, op, "an output or a reduction that does not fit");
    if (x->data != y->data)
        tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, 0, x->data, 0, tn_tensor_numel(y));
    return TN_OK;
}

TnStatus tni_ref_scatter_nd(TnKernelCall *call) {
    const TnTensor *idx = &call->in[1], *u = &call->in[2], *y = &call->out[0];
    if (idx->rank < 1 || idx->dims[idx->rank - 1] > y->rank)
        return tni_ref_bad_call(call, "scatter_nd", "indices that do not fit the input");
    const int64_t tuples = tni_ref_product_of(idx->dims, 0, idx->rank - 1);
    const int64_t run = tni_ref_product_of(y->dims, (int32_t)idx->dims[idx->rank - 1], y->rank);
    if (tn_tensor_numel(u) != tuples * run)
        return tni_ref_bad_call(call, "scatter_nd", "updates that do not fit the indices");
    TN_TRY(start_scatter(call, "scatter_nd"));
    int64_t strides[TN_MAX_RANK];
    tni_ref_strides(y->rank, y->dims, strides);
    for (int64_t t = 0; t < tuples; t++) {
        int64_t to = 0;
        TN_TRY(slice_of(call, "scatter_nd", idx, t, y, strides, 0, 0, &to));
        combine(((const TnScatterParams *)call->params)->reduction, y, to, u, t * run, run);
    }
    return TN_OK;
}

TnStatus tni_ref_scatter_elements(TnKernelCall *call) {
    const TnTensor *idx = &call->in[1], *u = &call->in[2], *y = &call->out[0];
    const TnScatterParams *p = call->params;
    int32_t axis = tni_ref_axis(p->axis, y->rank);
    const int64_t n = tn_tensor_numel(idx);
    if (!elements_fit(y, idx, axis) || tn_tensor_numel(u) != n)
        return tni_ref_bad_call(call, "scatter_elements", "indices or updates that do not fit the input");
    TN_TRY(start_scatter(call, "scatter_elements"));
    int64_t strides[TN_MAX_RANK];
    tni_ref_strides(y->rank, y->dims, strides);
    for (int64_t i = 0; i < n; i++) {
        int64_t to = 0;
        TN_TRY(element_of(call, "scatter_elements", idx, i, y, strides, axis, &to));
        combine(p->reduction, y, to, u, i, 1);
    }
    return TN_OK;
}
