/* SPDX-License-Identifier: Apache-2.0
 *
 * topk: every line is sorted by value, equal ones by index (the lower first), and its first k are taken. NaN is greater than every number.
 * In: k in host memory (it is the output's dim, too). Scratch: [lines][power of two] keys and indices. */
#include "backend/cuda/detect/detect.h"
#include "backend/cuda/detect/sort.h"
#include "backend/cuda/pointwise/element.cuh"

#define TK_BLOCK 256

namespace {
struct Topk {
    const void *x;
    uint64_t *key;
    uint32_t *idx;
    int64_t lines, n, sorted, k, inner;
    uint32_t type, largest;
};

__device__ int64_t line_base(const Topk &t, int64_t line, int64_t n) {
    return line / t.inner * n * t.inner + line % t.inner;
}

__global__ void __launch_bounds__(TK_BLOCK) key_kernel(const __grid_constant__ Topk t) {
    const int64_t i = (int64_t)blockIdx.x * TK_BLOCK + threadIdx.x;
    if (i >= t.lines * t.sorted)
        return;
    const int64_t line = i / t.sorted, place = i - line * t.sorted;
    uint64_t key = UINT64_MAX;
    if (place < t.n) {
        key = el_rank(t.type, t.x, line_base(t, line, t.n) + place * t.inner);
        key = t.largest != 0 ? ~key : key;
    }
    t.key[i] = key;
    t.idx[i] = (uint32_t)place; /* beyond n: after all real ones of the same key */
}

template <typename T> __global__ void __launch_bounds__(TK_BLOCK) take_kernel(const __grid_constant__ Topk t, T *values, int64_t *indices) {
    const int64_t i = (int64_t)blockIdx.x * TK_BLOCK + threadIdx.x;
    if (i >= t.lines * t.k)
        return;
    const int64_t line = i / t.k, place = i - line * t.k, from = t.idx[line * t.sorted + place],
                  to = line_base(t, line, t.k) + place * t.inner;
    if (values != nullptr)
        values[to] = ((const T *)t.x)[line_base(t, line, t.n) + from * t.inner];
    if (indices != nullptr)
        indices[to] = from;
}

size_t bytes_for(int64_t lines, int64_t n) {
    return (size_t)(lines * tni_cuda_sort_size(n)) * (sizeof(uint64_t) + sizeof(uint32_t));
}
} // namespace

TnStatus tni_cuda_topk(TnKernelCall *call) {
    const TnTopkParams *p = (const TnTopkParams *)call->params;
    const TnTensor *x = &call->in[0];
    const int64_t k = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    const int32_t axis = p->axis < 0 ? p->axis + x->rank : p->axis;
    if (axis < 0 || axis >= x->rank)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "topk was called with an axis outside the input's rank");
    if (k < 0 || k > x->dims[axis])
        return TN_RAISE(call->err, TN_ERR_RUN, "topk: k is %lld, expected 0 to %lld, the size of axis %d", (long long)k,
                        (long long)x->dims[axis], axis);
    Topk t;
    memset(&t, 0, sizeof t);
    t.x = x->data;
    t.n = x->dims[axis];
    t.k = k;
    t.inner = tni_numel_range(x, axis + 1, x->rank);
    t.lines = tni_numel_range(x, 0, axis) * t.inner;
    t.type = (uint32_t)x->dtype;
    t.largest = p->largest;
    if (k == 0 || t.lines == 0)
        return TN_OK;
    for (uint32_t i = 0; i < call->n_out; i++)
        if (call->out[i].data != nullptr && (call->out[i].rank != x->rank || call->out[i].dims[axis] != k))
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "topk was called with an output that has not k elements along the axis");
    if (t.n > UINT32_MAX / 2)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "topk: an axis of %lld elements is more than the kernel can sort", (long long)t.n);
    t.sorted = tni_cuda_sort_size(t.n);
    TN_TRY(tni_cuda_need(call, bytes_for(t.lines, t.n), "topk"));
    t.key = (uint64_t *)call->scratch;
    t.idx = (uint32_t *)(t.key + t.lines * t.sorted);
    cudaStream_t s = call->stream->s;
    key_kernel<<<(unsigned)tni_div_up(t.lines * t.sorted, TK_BLOCK), TK_BLOCK, 0, s>>>(t);
    tni_cuda_sort(s, t.key, t.idx, t.sorted, t.lines);
    const unsigned blocks = (unsigned)tni_div_up(t.lines * k, TK_BLOCK);
    int64_t *indices = call->n_out > 1 ? (int64_t *)call->out[1].data : nullptr;
    TNI_SIZE_SWITCH(tni_size_of(x->dtype), T, (take_kernel<T><<<blocks, TK_BLOCK, 0, s>>>(t, (T *)call->out[0].data, indices)));
    return tni_cuda_launched(call, "topk");
}

size_t tni_cuda_topk_scratch(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0];
    int32_t axis = ((const TnTopkParams *)q->params)->axis;
    axis += axis < 0 ? x->rank : 0;
    if (axis < 0 || axis >= x->rank)
        return 0;
    return bytes_for(tni_numel_range(x, 0, axis) * tni_numel_range(x, axis + 1, x->rank), x->dims[axis]);
}
