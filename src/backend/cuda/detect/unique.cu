/* SPDX-License-Identifier: Apache-2.0
 *
 * unique: items (elements, or slices along an axis) are sorted by their contents, equal ones by their number; runs of equal items are
 * groups; the host learns how many, sets the outputs' sizes, and the groups are written in sorted order or in that of their first items.
 * Slices are compared element by element, NaN as the greatest number and equal to itself. Scratch: seven arrays, see Items. */
#include "backend/cuda/detect/detect.h"
#include "backend/cuda/detect/sort.h"
#include "backend/cuda/pointwise/element.cuh"

#define UQ_BLOCK 256

namespace {
struct Items {
    const void *x;
    int64_t outer, n, inner; /* item k is x[:, k, :] */
    int64_t sorted;          /* power of two */
    uint32_t type, by_value;
    uint32_t *idx;  /* [sorted] items in order */
    int64_t *group; /* [n] of a place in the order: its group */
    int64_t *start; /* [n + 1] of a group: its first place; of the last + 1: n */
    int64_t *of;    /* [n] of an item: its group */
    int64_t *place; /* [n] of a group: where it goes */
    int64_t *order; /* [n] inverse of place */
    int64_t *mark;  /* [n] of an item: 1 when it is the first of its group; then how many such are before it */
    int64_t *count; /* groups */
};

/* < 0, 0, > 0; what is beyond n is greater than all. */
__device__ int compare(const Items &s, uint32_t a, uint32_t b) {
    if (a >= s.n || b >= s.n)
        return (int)(a >= s.n) - (int)(b >= s.n);
    for (int64_t o = 0; o < s.outer; o++)
        for (int64_t i = 0; i < s.inner; i++) {
            const uint64_t p = el_rank(s.type, s.x, (o * s.n + a) * s.inner + i), q = el_rank(s.type, s.x, (o * s.n + b) * s.inner + i);
            if (p != q)
                return p < q ? -1 : 1;
        }
    return 0;
}

__global__ void __launch_bounds__(UQ_BLOCK) start_kernel(const __grid_constant__ Items s) {
    const int64_t i = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (i < s.sorted)
        s.idx[i] = (uint32_t)i;
}

/* One step of a bitonic sort. */
__global__ void __launch_bounds__(UQ_BLOCK) step_kernel(const __grid_constant__ Items s, int64_t size, int64_t step) {
    const int64_t t = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (t >= s.sorted / 2)
        return;
    const int64_t i = t / step * step * 2 + t % step, j = i + step;
    const uint32_t a = s.idx[i], b = s.idx[j];
    const int c = compare(s, a, b);
    const bool after = c > 0 || (c == 0 && a > b);
    if (after == ((i & size) == 0)) {
        s.idx[i] = b;
        s.idx[j] = a;
    }
}

/* group[k] = 1 where a group begins. */
__global__ void __launch_bounds__(UQ_BLOCK) head_kernel(const __grid_constant__ Items s) {
    const int64_t k = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (k < s.n) {
        s.group[k] = k == 0 || compare(s, s.idx[k - 1], s.idx[k]) != 0;
        s.mark[k] = 0;
    }
}

/* v[i] = sum of v[0 .. i); the sum of all to *total when it is wanted. One block. */
__global__ void __launch_bounds__(UQ_BLOCK) scan_kernel(int64_t *v, int64_t n, int64_t *total) {
    __shared__ int64_t sums[UQ_BLOCK];
    const int64_t each = (n + UQ_BLOCK - 1) / UQ_BLOCK, first = threadIdx.x * each, last = first + each < n ? first + each : n;
    int64_t sum = 0;
    for (int64_t i = first; i < last; i++)
        sum += v[i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        int64_t before = 0;
        for (int t = 0; t < UQ_BLOCK; t++) {
            const int64_t own = sums[t];
            sums[t] = before;
            before += own;
        }
        if (total != nullptr)
            *total = before;
    }
    __syncthreads();
    int64_t before = sums[threadIdx.x];
    for (int64_t i = first; i < last; i++) {
        const int64_t own = v[i];
        v[i] = before;
        before += own;
    }
}

/* After the scan group[k] counts the groups that begin before k, so that k begins one exactly where group[k + 1] is larger. */
__global__ void __launch_bounds__(UQ_BLOCK) group_kernel(const __grid_constant__ Items s) {
    const int64_t k = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (k >= s.n)
        return;
    const int64_t next = k + 1 < s.n ? s.group[k + 1] : *s.count;
    const bool head = next > s.group[k];
    s.of[s.idx[k]] = next - 1;
    if (head) {
        s.start[next - 1] = k;
        s.mark[s.idx[k]] = 1;
    }
    if (k == s.n - 1)
        s.start[*s.count] = s.n;
}

__global__ void __launch_bounds__(UQ_BLOCK) place_kernel(const __grid_constant__ Items s, int64_t groups) {
    const int64_t g = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (g >= groups)
        return;
    const int64_t to = s.by_value != 0 ? g : s.mark[s.idx[s.start[g]]];
    s.place[g] = to;
    s.order[to] = g;
}

struct Outputs {
    void *y;
    int64_t *first, *inverse, *counts;
    int64_t groups;
};

__global__ void __launch_bounds__(UQ_BLOCK) write_kernel(const __grid_constant__ Items s, Outputs o) {
    const int64_t k = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (k < o.groups) {
        const int64_t g = s.order[k];
        if (o.first != nullptr)
            o.first[k] = s.idx[s.start[g]];
        if (o.counts != nullptr)
            o.counts[k] = s.start[g + 1] - s.start[g];
    }
    if (k < s.n && o.inverse != nullptr)
        o.inverse[k] = s.place[s.of[k]];
}

template <typename T>
__global__ void __launch_bounds__(UQ_BLOCK) item_kernel(const __grid_constant__ Items s, T *y, int64_t groups, int64_t total) {
    const int64_t i = (int64_t)blockIdx.x * UQ_BLOCK + threadIdx.x;
    if (i >= total)
        return;
    const int64_t row = i / s.inner, o = row / groups, k = row - o * groups, item = s.idx[s.start[s.order[k]]];
    y[i] = ((const T *)s.x)[(o * s.n + item) * s.inner + i - row * s.inner];
}

unsigned blocks_for(int64_t n) {
    return (unsigned)tni_div_up(n, UQ_BLOCK);
}

size_t bytes_for(int64_t n) {
    return (size_t)(6 * n + 2) * sizeof(int64_t) + (size_t)tni_cuda_sort_size(n) * sizeof(uint32_t);
}

/* Sorts and groups; *groups is known to the host afterwards. */
TnStatus find_groups(TnKernelCall *call, Items *s, int64_t *groups) {
    cudaStream_t st = call->stream->s;
    int64_t *at = (int64_t *)call->scratch;
    s->sorted = tni_cuda_sort_size(s->n);
    s->count = at;
    s->start = at + 1;
    s->group = s->start + s->n + 1;
    s->of = s->group + s->n;
    s->place = s->of + s->n;
    s->order = s->place + s->n;
    s->mark = s->order + s->n;
    s->idx = (uint32_t *)(s->mark + s->n);
    start_kernel<<<blocks_for(s->sorted), UQ_BLOCK, 0, st>>>(*s);
    for (int64_t size = 2; size <= s->sorted; size *= 2)
        for (int64_t step = size / 2; step > 0; step /= 2)
            step_kernel<<<blocks_for(s->sorted / 2), UQ_BLOCK, 0, st>>>(*s, size, step);
    head_kernel<<<blocks_for(s->n), UQ_BLOCK, 0, st>>>(*s);
    scan_kernel<<<1, UQ_BLOCK, 0, st>>>(s->group, s->n, s->count);
    group_kernel<<<blocks_for(s->n), UQ_BLOCK, 0, st>>>(*s);
    scan_kernel<<<1, UQ_BLOCK, 0, st>>>(s->mark, s->n, nullptr);
    TN_TRY(tni_cuda_launched(call, "unique"));
    TN_TRY(tni_cuda_fetch(call, groups, s->count, sizeof *groups, "unique"));
    place_kernel<<<blocks_for(*groups), UQ_BLOCK, 0, st>>>(*s, *groups);
    return tni_cuda_launched(call, "unique");
}

/* Output i when somebody wants it. */
int64_t *wanted(const TnKernelCall *call, uint32_t i) {
    return i < call->n_out ? (int64_t *)call->out[i].data : nullptr;
}
} // namespace

TnStatus tni_cuda_unique(TnKernelCall *call) {
    const TnUniqueParams *p = (const TnUniqueParams *)call->params;
    const TnTensor *x = &call->in[0];
    int64_t dims[TN_MAX_RANK] = {0}, groups = 0;
    int32_t axis = 0, rank = 1;
    Items s;
    memset(&s, 0, sizeof s);
    s.x = x->data;
    s.type = (uint32_t)x->dtype;
    s.by_value = p->sorted;
    s.outer = s.inner = 1;
    s.n = tn_tensor_numel(x);
    if (p->flatten == 0) {
        axis = p->axis < 0 ? p->axis + x->rank : p->axis;
        if (axis < 0 || axis >= x->rank)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "unique was called with an axis outside the input's rank");
        s.outer = tni_numel_range(x, 0, axis);
        s.n = x->dims[axis];
        s.inner = tni_numel_range(x, axis + 1, x->rank);
        rank = x->rank;
        memcpy(dims, x->dims, sizeof dims);
    }
    if (s.n > UINT32_MAX / 2)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "unique: %lld items are more than the kernel can sort", (long long)s.n);
    if (s.n > 0) {
        TN_TRY(tni_cuda_need(call, bytes_for(s.n), "unique"));
        TN_TRY(find_groups(call, &s, &groups));
    }
    dims[axis] = groups;
    TN_TRY(tni_cuda_resize_to(call, 0, rank, dims, "unique"));
    for (uint32_t i = 1; i < call->n_out; i++)
        TN_TRY(tni_cuda_resize_to(call, i, 1, i == 2 ? &s.n : &groups, "unique"));
    if (s.n == 0)
        return TN_OK;
    const int64_t total = s.outer * groups * s.inner;
    if (call->out[0].data != nullptr && total > 0)
        TNI_SIZE_SWITCH(tni_size_of(x->dtype), T,
                        (item_kernel<T><<<blocks_for(total), UQ_BLOCK, 0, call->stream->s>>>(s, (T *)call->out[0].data, groups, total)));
    const Outputs o = {call->out[0].data, wanted(call, 1), wanted(call, 2), wanted(call, 3), groups};
    write_kernel<<<blocks_for(s.n), UQ_BLOCK, 0, call->stream->s>>>(s, o);
    return tni_cuda_launched(call, "unique");
}

size_t tni_cuda_unique_scratch(const TnKernelQuery *q) {
    const TnUniqueParams *p = (const TnUniqueParams *)q->params;
    const TnTensor *x = &q->in[0];
    const int32_t axis = p->axis < 0 ? p->axis + x->rank : p->axis;
    if (p->flatten != 0)
        return bytes_for(tn_tensor_numel(x));
    return axis < 0 || axis >= x->rank ? 0 : bytes_for(x->dims[axis]);
}
