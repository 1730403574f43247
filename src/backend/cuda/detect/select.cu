/* SPDX-License-Identifier: Apache-2.0
 *
 * nonzero and compress: elements that are set, in order. Blocks count theirs, one block adds the counts up, the host learns the total and
 * sets the output's size, then the blocks write. Scratch: counts of the blocks, the total; compress: the places that are kept. */
#include "backend/cuda/detect/detect.h"
#include "backend/cuda/pointwise/element.cuh"

#define SL_BLOCK 256
#define SL_EACH 8 /* elements of a thread */
#define SL_TILE (SL_BLOCK * SL_EACH)

namespace {
struct Flags {
    const void *x;
    int64_t n, blocks;
    int64_t *counts; /* [blocks + 1]: of the blocks before; the last: of all */
    uint32_t type;
};

__device__ bool is_set(const Flags &f, int64_t i) {
    return el_exact(f.type) ? el_load_i64(f.type, f.x, i) != 0 : el_load_f64(f.type, f.x, i) != 0.0;
}

__global__ void __launch_bounds__(SL_BLOCK) count_kernel(const __grid_constant__ Flags f) {
    int count = 0;
    for (int k = 0; k < SL_EACH; k++) {
        const int64_t i = (int64_t)blockIdx.x * SL_TILE + k * SL_BLOCK + threadIdx.x;
        count += __syncthreads_count(i < f.n && is_set(f, i));
    }
    if (threadIdx.x == 0)
        f.counts[blockIdx.x] = count;
}

/* counts[i] = sum of counts[0 .. i). One block. */
__global__ void __launch_bounds__(SL_BLOCK) total_kernel(int64_t *counts, int64_t n) {
    __shared__ int64_t sums[SL_BLOCK];
    const int64_t each = (n + SL_BLOCK - 1) / SL_BLOCK, first = threadIdx.x * each, last = first + each < n ? first + each : n;
    int64_t sum = 0;
    for (int64_t i = first; i < last; i++)
        sum += counts[i];
    sums[threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.x == 0) {
        int64_t before = 0;
        for (int t = 0; t < SL_BLOCK; t++) {
            const int64_t own = sums[t];
            sums[t] = before;
            before += own;
        }
        counts[n] = before;
    }
    __syncthreads();
    int64_t before = sums[threadIdx.x];
    for (int64_t i = first; i < last; i++) {
        const int64_t own = counts[i];
        counts[i] = before;
        before += own;
    }
}

/* Calls put(i, place) for every element that is set; place counts them in order. */
template <typename F> __device__ void each_set(const Flags &f, F put) {
    __shared__ int warps[SL_BLOCK / 32];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    int64_t before = f.counts[blockIdx.x];
    for (int k = 0; k < SL_EACH; k++) {
        const int64_t i = (int64_t)blockIdx.x * SL_TILE + k * SL_BLOCK + threadIdx.x;
        const bool set = i < f.n && is_set(f, i);
        const unsigned mask = __ballot_sync(TNI_ALL, set);
        if (lane == 0)
            warps[warp] = __popc(mask);
        __syncthreads();
        int64_t place = before;
        for (int w = 0; w < SL_BLOCK / 32; w++) {
            place += w < warp ? warps[w] : 0;
            before += warps[w];
        }
        if (set)
            put(i, place + __popc(mask & ((1u << lane) - 1u)));
        __syncthreads();
    }
}

struct Coordinates {
    int64_t dims[TN_MAX_RANK];
    int32_t rank;
};

__global__ void __launch_bounds__(SL_BLOCK) nonzero_kernel(const __grid_constant__ Flags f, Coordinates c, int64_t *y, int64_t count) {
    each_set(f, [&](int64_t i, int64_t place) {
        for (int d = c.rank - 1; d >= 0; d--) {
            const int64_t q = i / c.dims[d];
            y[d * count + place] = i - q * c.dims[d];
            i = q;
        }
    });
}

__global__ void __launch_bounds__(SL_BLOCK) places_kernel(const __grid_constant__ Flags f, int64_t *places) {
    each_set(f, [&](int64_t i, int64_t place) { places[place] = i; });
}

/* y[o, k, :] = x[o, places[k], :] */
template <typename T>
__global__ void __launch_bounds__(SL_BLOCK)
    keep_kernel(const T *x, T *y, const int64_t *places, int64_t total, int64_t n, int64_t count, int64_t inner) {
    const int64_t i = (int64_t)blockIdx.x * SL_BLOCK + threadIdx.x;
    if (i >= total)
        return;
    const int64_t row = i / inner, o = row / count;
    y[i] = x[(o * n + places[row - o * count]) * inner + i - row * inner];
}

int64_t blocks_of(int64_t n) {
    return tni_div_up(n, SL_TILE);
}

/* Counts what is set among n elements of t. */
TnStatus count_set(TnKernelCall *call, const TnTensor *t, int64_t n, const char *op, Flags *f, int64_t *count) {
    memset(f, 0, sizeof *f);
    *count = 0;
    f->x = t->data;
    f->n = n;
    f->blocks = blocks_of(n);
    f->counts = (int64_t *)call->scratch;
    f->type = (uint32_t)t->dtype;
    if (n == 0)
        return TN_OK;
    count_kernel<<<(unsigned)f->blocks, SL_BLOCK, 0, call->stream->s>>>(*f);
    total_kernel<<<1, SL_BLOCK, 0, call->stream->s>>>(f->counts, f->blocks);
    TN_TRY(tni_cuda_launched(call, op));
    return tni_cuda_fetch(call, count, f->counts + f->blocks, sizeof *count, op);
}

size_t count_bytes(int64_t n) {
    return (size_t)(blocks_of(n) + 1) * sizeof(int64_t);
}
} // namespace

TnStatus tni_cuda_nonzero(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    const int64_t n = tn_tensor_numel(x);
    Flags f;
    int64_t count = 0;
    TN_TRY(tni_cuda_need(call, count_bytes(n), "nonzero"));
    TN_TRY(count_set(call, x, n, "nonzero", &f, &count));
    const int64_t dims[2] = {x->rank, count};
    TN_TRY(tni_cuda_resize_to(call, 0, 2, dims, "nonzero"));
    if (count == 0 || x->rank == 0)
        return TN_OK;
    Coordinates c;
    memset(&c, 0, sizeof c);
    c.rank = x->rank;
    memcpy(c.dims, x->dims, sizeof c.dims);
    nonzero_kernel<<<(unsigned)f.blocks, SL_BLOCK, 0, call->stream->s>>>(f, c, (int64_t *)call->out[0].data, count);
    return tni_cuda_launched(call, "nonzero");
}

size_t tni_cuda_nonzero_scratch(const TnKernelQuery *q) {
    return count_bytes(tn_tensor_numel(&q->in[0]));
}

TnStatus tni_cuda_compress(TnKernelCall *call) {
    const TnCompressParams *p = (const TnCompressParams *)call->params;
    const TnTensor *x = &call->in[0], *cond = &call->in[1];
    int64_t outer = 1, n = tn_tensor_numel(x), inner = 1, dims[TN_MAX_RANK] = {0}, count = 0;
    int32_t axis = 0, rank = 1;
    if (p->flatten == 0) {
        axis = p->axis < 0 ? p->axis + x->rank : p->axis;
        if (axis < 0 || axis >= x->rank)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "compress was called with an axis outside the input's rank");
        outer = tni_numel_range(x, 0, axis);
        n = x->dims[axis];
        inner = tni_numel_range(x, axis + 1, x->rank);
        rank = x->rank;
        memcpy(dims, x->dims, sizeof dims);
    }
    const int64_t given = tn_tensor_numel(cond);
    if (given > n)
        return TN_RAISE(call->err, TN_ERR_RUN, "compress: a condition of %lld elements is longer than axis %d of size %lld",
                        (long long)given, axis, (long long)n);
    Flags f;
    TN_TRY(tni_cuda_need(call, count_bytes(given) + (size_t)given * sizeof(int64_t), "compress"));
    TN_TRY(count_set(call, cond, given, "compress", &f, &count));
    dims[axis] = count;
    TN_TRY(tni_cuda_resize_to(call, 0, rank, dims, "compress"));
    const int64_t total = outer * count * inner;
    if (total == 0)
        return TN_OK;
    int64_t *places = f.counts + f.blocks + 1;
    places_kernel<<<(unsigned)f.blocks, SL_BLOCK, 0, call->stream->s>>>(f, places);
    TNI_SIZE_SWITCH(tni_size_of(x->dtype), T,
                    (keep_kernel<T><<<(unsigned)tni_div_up(total, SL_BLOCK), SL_BLOCK, 0, call->stream->s>>>(
                        (const T *)x->data, (T *)call->out[0].data, places, total, n, count, inner)));
    return tni_cuda_launched(call, "compress");
}

size_t tni_cuda_compress_scratch(const TnKernelQuery *q) {
    const int64_t n = tn_tensor_numel(&q->in[1]);
    return count_bytes(n) + (size_t)n * sizeof(int64_t);
}
