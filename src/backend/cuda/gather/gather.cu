/* SPDX-License-Identifier: Apache-2.0
 *
 * gather, gather_elements, gather_nd: any element type, moved in units of up to 16 bytes. Indices int32 or int64, negative ones from the
 * end; one out of range is noted in the stream's fault word and clamped. */
#include "backend/cuda/gather/gather.h"
#include "backend/cuda/gather/index.cuh"

namespace {
struct Rows {
    const void *x, *idx;
    void *y;
    int64_t total, size, n; /* units; of the axis; indices */
    TniDiv inner, per;      /* units of an index of the axis; indices */
    int64_t run;            /* units of an index of the axis */
    TniFault *fault;
    uint32_t wide;
};

/* y[o, i, :] = x[o, idx[i], :] */
template <typename T, typename I> __global__ void __launch_bounds__(GATHER_BLOCK) gather_kernel(const __grid_constant__ Rows p) {
    tni_start();
    const int64_t t = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (t >= p.total)
        return;
    int64_t row, u, o, i;
    if (p.wide == 0) {
        uint32_t q, r, a, b;
        tni_divmod((uint32_t)t, p.inner, &q, &r);
        tni_divmod(q, p.per, &a, &b);
        u = r;
        o = a;
        i = b;
    } else {
        row = t / p.run;
        u = t - row * p.run;
        o = row / p.n;
        i = row - o * p.n;
    }
    const int64_t k = gather_index(p.fault, (int64_t)((const I *)p.idx)[i], p.size);
    T v;
    memset(&v, 0, sizeof v);
    if (k >= 0)
        v = ((const T *)p.x)[(o * p.size + k) * p.run + u];
    ((T *)p.y)[t] = v;
}

template <typename T, typename I>
__global__ void __launch_bounds__(GATHER_BLOCK) elements_kernel(const T *x, const I *idx, T *y, const __grid_constant__ Elements e) {
    tni_start();
    const int64_t t = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (t >= e.n)
        return;
    const int64_t from = element_of(e, t, (int64_t)idx[t]);
    T v;
    memset(&v, 0, sizeof v);
    if (from >= 0)
        v = x[from];
    y[t] = v;
}

struct Slices {
    Tuples t;
    int64_t total, run, per, step; /* units; of a slice; tuples of a batch; elements of a batch of x */
    int64_t unit;                  /* elements of a unit */
};

template <typename T, typename I>
__global__ void __launch_bounds__(GATHER_BLOCK) nd_kernel(const T *x, const I *idx, T *y, const __grid_constant__ Slices s) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (i >= s.total)
        return;
    const int64_t t = i / s.run, u = i - t * s.run, from = slice_of(s.t, idx, t);
    T v;
    memset(&v, 0, sizeof v);
    if (from >= 0)
        v = x[(t / s.per * s.step + from) / s.unit + u];
    y[i] = v;
}
} // namespace

/* Largest unit that divides `bytes` and the places of x and y. */
static size_t unit_of(const TnTensor *x, const TnTensor *y, int64_t bytes, size_t size) {
    size_t unit = 16;
    while (unit > size && (bytes % (int64_t)unit != 0 || !tni_is_aligned(x->data, unit) || !tni_is_aligned(y->data, unit)))
        unit /= 2;
    return unit;
}

TnStatus tni_cuda_gather(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    int32_t axis = ((const TnAxisParams *)call->params)->axis;
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis >= x->rank)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gather: an axis outside the input's rank");
    const int64_t outer = tni_numel_range(x, 0, axis), inner = tni_numel_range(x, axis + 1, x->rank), n = tn_tensor_numel(idx);
    if (tn_tensor_numel(y) != outer * n * inner)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gather: an output of another size");
    if (tn_tensor_numel(y) == 0)
        return TN_OK;
    const size_t size = tni_size_of(x->dtype), unit = unit_of(x, y, inner * (int64_t)size, size);
    Rows p;
    memset(&p, 0, sizeof p);
    p.x = x->data;
    p.idx = idx->data;
    p.y = y->data;
    p.size = x->dims[axis];
    p.n = n;
    p.run = inner * (int64_t)size / (int64_t)unit;
    p.total = outer * n * p.run;
    p.fault = call->stream->fault;
    p.wide = p.total >= INT64_C(1) << 31;
    if (p.wide == 0) {
        p.inner = tni_div_make(p.run);
        p.per = tni_div_make(n);
    }
    const unsigned blocks = (unsigned)tni_div_up(p.total, GATHER_BLOCK);
    GATHER_INDEX(idx->dtype, I,
                 TNI_SIZE_SWITCH(unit, T, ((void)tni_launch_early(call->stream, gather_kernel<T, I>, blocks, GATHER_BLOCK, 0, p))));
    return tni_cuda_launched(call, "gather");
}

TnStatus tni_cuda_gather_elements(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    Elements e;
    TN_TRY(elements_setup(call, "gather_elements", x, idx, ((const TnAxisParams *)call->params)->axis, &e));
    if (tn_tensor_numel(y) != e.n)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gather_elements: an output of another size than the indices");
    if (e.n == 0)
        return TN_OK;
    const unsigned blocks = (unsigned)tni_div_up(e.n, GATHER_BLOCK);
    GATHER_INDEX(idx->dtype, I,
                 TNI_SIZE_SWITCH(tni_size_of(x->dtype), T,
                                 ((void)tni_launch_early(call->stream, elements_kernel<T, I>, blocks, GATHER_BLOCK, 0, (const T *)x->data,
                                                         (const I *)idx->data, (T *)y->data, e))));
    return tni_cuda_launched(call, "gather_elements");
}

TnStatus tni_cuda_gather_nd(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1], *y = &call->out[0];
    const int32_t b = (int32_t)((const TnGatherNdParams *)call->params)->batch_dims;
    if (idx->rank < 1 || b < 0 || b >= idx->rank || b > x->rank || idx->dims[idx->rank - 1] > x->rank - b)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gather_nd: indices that do not fit the input");
    const int32_t k = (int32_t)idx->dims[idx->rank - 1];
    Slices s;
    memset(&s, 0, sizeof s);
    const int64_t run = tni_numel_range(x, b + k, x->rank), batches = tni_numel_range(idx, 0, b);
    s.per = tni_numel_range(idx, b, idx->rank - 1);
    s.step = tni_numel_range(x, b, x->rank);
    if (tni_numel_range(x, 0, b) != batches || tn_tensor_numel(y) != batches * s.per * run)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gather_nd: batch dims or an output that do not fit");
    if (tn_tensor_numel(y) == 0)
        return TN_OK;
    const size_t size = tni_size_of(x->dtype), unit = unit_of(x, y, run * (int64_t)size, size);
    tuples_setup(call, x, k, b, &s.t);
    s.unit = (int64_t)(unit / size);
    s.run = run / s.unit;
    s.total = batches * s.per * s.run;
    const unsigned blocks = (unsigned)tni_div_up(s.total, GATHER_BLOCK);
    GATHER_INDEX(idx->dtype, I,
                 TNI_SIZE_SWITCH(unit, T,
                                 ((void)tni_launch_early(call->stream, nd_kernel<T, I>, blocks, GATHER_BLOCK, 0, (const T *)x->data,
                                                         (const I *)idx->data, (T *)y->data, s))));
    return tni_cuda_launched(call, "gather_nd");
}
