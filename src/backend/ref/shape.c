/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors made from shapes: shape, size, constant_of_shape, range, dims. */
#include "backend/ref/ref.h"

TnStatus tni_ref_shape(TnKernelCall *call) {
    const TnShapeParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t start = p->start < 0 ? p->start + (int64_t)x->rank : p->start;
    start = start < 0 ? 0 : TN_MIN(start, x->rank);
    const int64_t n = tn_tensor_numel(y);
    if (start + n > x->rank)
        return tni_ref_bad_call(call, "shape", "an output that is longer than the input's rank");
    for (int64_t i = 0; i < n; i++)
        tni_store_i64(y->dtype, y->data, i, x->dims[start + i]);
    return TN_OK;
}

TnStatus tni_ref_size(TnKernelCall *call) {
    tni_store_i64(call->out[0].dtype, call->out[0].data, 0, tn_tensor_numel(&call->in[0]));
    return TN_OK;
}

TnStatus tni_ref_constant_of_shape(TnKernelCall *call) {
    const TnFillParams *p = call->params;
    const TnTensor *y = &call->out[0];
    if (p->dtype != (uint32_t)y->dtype)
        return tni_ref_bad_call(call, "constant_of_shape", "an output of another type than the value");
    tni_ref_fill(tn_dtype_bits(y->dtype), y->data, 0, tn_tensor_numel(y), p->value);
    return TN_OK;
}

TnStatus tni_ref_range(TnKernelCall *call) {
    const TnTensor *s = &call->in[0], *d = &call->in[2], *y = &call->out[0];
    const int64_t n = tn_tensor_numel(y);
    if (tni_ref_exact(y->dtype)) {
        uint64_t start = (uint64_t)tni_load_i64(s->dtype, s->data, 0), delta = (uint64_t)tni_load_i64(d->dtype, d->data, 0);
        for (int64_t i = 0; i < n; i++)
            tni_store_i64(y->dtype, y->data, i, (int64_t)(start + (uint64_t)i * delta));
        return TN_OK;
    }
    double start = tni_load_f64(s->dtype, s->data, 0), delta = tni_load_f64(d->dtype, d->data, 0);
    for (int64_t i = 0; i < n; i++)
        tni_store_f64(y->dtype, y->data, i, start + (double)i * delta);
    return TN_OK;
}

TnStatus tni_ref_dims(TnKernelCall *call) {
    const TnDimsParams *p = call->params;
    const TnTensor *y = &call->out[0];
    if (p->n > TN_DIMS_MAX || tn_tensor_numel(y) != (p->rank == 0 ? 1 : (int64_t)p->n) || (p->n > 0 && call->dim_values == NULL))
        return tni_ref_bad_call(call, "dims", "an output of another size or no values of the symbolic dimensions");
    for (uint32_t i = 0; i < p->n; i++)
        tni_store_i64(y->dtype, y->data, i, call->dim_values[p->dim[i]]);
    return TN_OK;
}
