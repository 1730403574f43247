/* SPDX-License-Identifier: Apache-2.0
 *
 * Tensors made from little: constant_of_shape, range, eye_like, trilu, one_hot, and the small integer vectors shape, size, dims, whose
 * elements travel as arguments of the launch. */
#include "backend/cuda/move/box.h"
#include "backend/cuda/move/move.h"
#include "backend/cuda/pointwise/element.cuh"

namespace {
__device__ int64_t here(void) {
    return (int64_t)blockIdx.x * MV_BLOCK + threadIdx.x;
}

/* 16 bytes a thread, the pattern being one element repeated; the last bytes one by one. */
__global__ void __launch_bounds__(MV_BLOCK) fill_kernel(uint8_t *y, int64_t bytes, uint4 pattern, bool vec) {
    tni_start();
    const int64_t first = here() * 16;
    if (vec && first + 16 <= bytes) {
        tni_store16(y + first, pattern);
        return;
    }
    const uint32_t words[4] = {pattern.x, pattern.y, pattern.z, pattern.w};
#pragma unroll
    for (int i = 0; i < 16; i++)
        if (first + i < bytes)
            y[first + i] = (uint8_t)(words[i / 4] >> (i % 4 * 8));
}

__global__ void __launch_bounds__(MV_BLOCK)
    range_kernel(void *y, uint32_t type, int64_t n, int64_t start, int64_t step, double fstart, double fstep) {
    tni_start();
    const int64_t i = here();
    if (i >= n)
        return;
    if (el_exact(type))
        el_store_i64(type, y, i, (int64_t)((uint64_t)start + (uint64_t)i * (uint64_t)step));
    else
        el_store_f64(type, y, i, fstart + __dmul_rn((double)i, fstep));
}

__global__ void __launch_bounds__(MV_BLOCK) eye_kernel(void *y, uint32_t type, int64_t n, int64_t cols, int64_t k) {
    tni_start();
    const int64_t i = here();
    if (i < n)
        el_store_f64(type, y, i, i % cols - i / cols == k ? 1.0 : 0.0);
}

template <typename T>
__global__ void __launch_bounds__(MV_BLOCK) trilu_kernel(const T *x, T *y, int64_t n, int64_t rows, int64_t cols, int64_t k, bool upper) {
    tni_start();
    const int64_t i = here();
    if (i >= n)
        return;
    const int64_t r = i / cols, far = i - r * cols - r % rows; /* column - row */
    const bool keep = upper ? far >= k : far <= k;
    T v;
    memset(&v, 0, sizeof v);
    if (keep)
        v = x[i];
    y[i] = v;
}

template <typename T>
__global__ void __launch_bounds__(MV_BLOCK)
    one_hot_kernel(const void *idx, uint32_t type, const T *values, T *y, int64_t n, int64_t depth, int64_t inner) {
    tni_start();
    const int64_t i = here();
    if (i >= n)
        return;
    const int64_t place = i / inner, at = place % depth;
    int64_t k = el_load_i64(type, idx, place / depth * inner + i % inner);
    k = k < 0 && k >= -depth ? k + depth : k;
    y[i] = values[k == at ? 1 : 0];
}

struct Numbers {
    int64_t v[TN_DIMS_MAX];
};

__global__ void numbers_kernel(void *y, uint32_t type, uint32_t n, Numbers numbers) {
    tni_start();
    if (threadIdx.x < n)
        el_store_i64(type, y, threadIdx.x, numbers.v[threadIdx.x]);
}

unsigned blocks_for(int64_t n) {
    return (unsigned)tni_div_up(n, MV_BLOCK);
}

TnStatus numbers(TnKernelCall *call, uint32_t n, const Numbers &v, const char *op) {
    if (n == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, numbers_kernel, 1, 32, 0, call->out[0].data, (uint32_t)call->out[0].dtype, n, v);
    return tni_cuda_launched(call, op);
}

TnStatus bad(TnKernelCall *call, const char *op, const char *what) {
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s was called with %s", op, what);
}
} // namespace

TnStatus tni_cuda_constant_of_shape(TnKernelCall *call) {
    const TnFillParams *p = (const TnFillParams *)call->params;
    const TnTensor *y = &call->out[0];
    const size_t size = tni_size_of(y->dtype);
    if (p->dtype != (uint32_t)y->dtype || size == 0 || size > sizeof p->value)
        return bad(call, "constant_of_shape", "an output of another type than the value");
    const int64_t bytes = (int64_t)tn_tensor_bytes(y);
    if (bytes == 0)
        return TN_OK;
    uint8_t pattern[16];
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = p->value[i % size];
    uint4 v;
    memcpy(&v, pattern, sizeof v);
    (void)tni_launch_early(call->stream, fill_kernel, blocks_for(tni_div_up(bytes, 16)), MV_BLOCK, 0, (uint8_t *)y->data, bytes, v,
                           tni_is_aligned(y->data, 16));
    return tni_cuda_launched(call, "constant_of_shape");
}

/* start and delta are host memory. */
TnStatus tni_cuda_range(TnKernelCall *call) {
    const TnTensor *s = &call->in[0], *d = &call->in[2], *y = &call->out[0];
    const int64_t n = tn_tensor_numel(y);
    if (n == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, range_kernel, blocks_for(n), MV_BLOCK, 0, y->data, (uint32_t)y->dtype, n,
                           tni_load_i64(s->dtype, s->data, 0), tni_load_i64(d->dtype, d->data, 0), tni_load_f64(s->dtype, s->data, 0),
                           tni_load_f64(d->dtype, d->data, 0));
    return tni_cuda_launched(call, "range");
}

TnStatus tni_cuda_eye_like(TnKernelCall *call) {
    const TnTensor *y = &call->out[0];
    const int64_t n = tn_tensor_numel(y);
    if (y->rank != 2)
        return bad(call, "eye_like", "an output that has not rank 2");
    if (n == 0)
        return TN_OK;
    (void)tni_launch_early(call->stream, eye_kernel, blocks_for(n), MV_BLOCK, 0, y->data, (uint32_t)y->dtype, n, y->dims[1],
                           ((const TnEyeLikeParams *)call->params)->k);
    return tni_cuda_launched(call, "eye_like");
}

TnStatus tni_cuda_trilu(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const int64_t n = tn_tensor_numel(y);
    if (x->rank < 2)
        return bad(call, "trilu", "an input of rank below 2");
    if (n == 0)
        return TN_OK;
    const int64_t rows = x->dims[x->rank - 2], cols = x->dims[x->rank - 1];
    const bool upper = ((const TnTriluParams *)call->params)->upper != 0, given = call->n_in > 1 && call->in[1].dtype != TN_UNDEFINED;
    const int64_t k = given ? tni_load_i64(call->in[1].dtype, call->in[1].data, 0) : 0;
    TNI_SIZE_SWITCH(tni_size_of(x->dtype), T,
                    ((void)tni_launch_early(call->stream, trilu_kernel<T>, blocks_for(n), MV_BLOCK, 0, (const T *)x->data, (T *)y->data, n,
                                            rows, cols, k, upper)));
    return tni_cuda_launched(call, "trilu");
}

/* depth is host memory; indices out of range give a row of off. */
TnStatus tni_cuda_one_hot(TnKernelCall *call) {
    const TnTensor *idx = &call->in[0], *values = &call->in[2], *y = &call->out[0];
    const int64_t depth = tni_load_i64(call->in[1].dtype, call->in[1].data, 0), n = tn_tensor_numel(y);
    int32_t axis = ((const TnAxisParams *)call->params)->axis;
    axis += axis < 0 ? y->rank : 0;
    if (axis < 0 || axis >= y->rank || y->rank != idx->rank + 1 || tn_tensor_numel(values) != 2 || y->dims[axis] != depth)
        return bad(call, "one_hot", "an axis, a depth or values that do not fit the output");
    if (n == 0)
        return TN_OK;
    const int64_t inner = tni_numel_range(y, axis + 1, y->rank);
    TNI_SIZE_SWITCH(tni_size_of(y->dtype), T,
                    ((void)tni_launch_early(call->stream, one_hot_kernel<T>, blocks_for(n), MV_BLOCK, 0, idx->data, (uint32_t)idx->dtype,
                                            (const T *)values->data, (T *)y->data, n, depth, inner)));
    return tni_cuda_launched(call, "one_hot");
}

TnStatus tni_cuda_shape(TnKernelCall *call) {
    const TnShapeParams *p = (const TnShapeParams *)call->params;
    const TnTensor *x = &call->in[0];
    const int64_t n = tn_tensor_numel(&call->out[0]);
    int64_t start = p->start < 0 ? p->start + (int64_t)x->rank : p->start;
    start = start < 0 ? 0 : TN_MIN(start, x->rank);
    if (start + n > x->rank)
        return bad(call, "shape", "an output that is longer than the input's rank");
    Numbers v = {};
    for (int64_t i = 0; i < n; i++)
        v.v[i] = x->dims[start + i];
    return numbers(call, (uint32_t)n, v, "shape");
}

TnStatus tni_cuda_size(TnKernelCall *call) {
    Numbers v = {{tn_tensor_numel(&call->in[0])}};
    return numbers(call, 1, v, "size");
}

TnStatus tni_cuda_dims(TnKernelCall *call) {
    const TnDimsParams *p = (const TnDimsParams *)call->params;
    if (p->n > TN_DIMS_MAX || tn_tensor_numel(&call->out[0]) != (p->rank == 0 ? 1 : (int64_t)p->n) ||
        (p->n > 0 && call->dim_values == nullptr))
        return bad(call, "dims", "an output of another size or no values of the symbolic dimensions");
    Numbers v = {};
    for (uint32_t i = 0; i < p->n; i++)
        v.v[i] = call->dim_values[p->dim[i]];
    return numbers(call, p->n, v, "dims");
}
