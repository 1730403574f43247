/* SPDX-License-Identifier: Apache-2.0
 *
 * scatter_nd and scatter_elements: y = x with updates at slices (or single elements: slices of one element), in the order of the reference.
 * Without a reduction the last update of a slice stays: every slice keeps the highest number of an update (integer maxima, so the order
 * does not matter), then those updates are written. With one, updates are sorted by slice and number, and each slice takes its own one
 * after the other; f16 and bf16 are summed in f32 and rounded once. */
#include "backend/cuda/detect/sort.h"
#include "backend/cuda/gather/gather.h"
#include "backend/cuda/gather/index.cuh"
#include "backend/cuda/pointwise/element.cuh"

namespace {
struct Scatter {
    Tuples tuples;
    Elements elements;
    const void *idx;
    uint32_t idx64, by_element;
    int64_t n, run; /* updates; elements of a slice */
    const void *u;
    void *y;
    uint32_t type, reduction;
    uint32_t *owner; /* [slices] number of the update that stays, plus 1 */
    uint64_t *key;   /* [sorted] slice */
    uint32_t *order; /* [sorted] update */
    int64_t sorted;
};

/* First element of the slice that update t goes to, or -1. */
__device__ int64_t target(const Scatter &s, int64_t t) {
    if (s.by_element != 0)
        return element_of(s.elements, t, s.idx64 != 0 ? ((const int64_t *)s.idx)[t] : ((const int32_t *)s.idx)[t]);
    return s.idx64 != 0 ? slice_of(s.tuples, (const int64_t *)s.idx, t) : slice_of(s.tuples, (const int32_t *)s.idx, t);
}

__global__ void __launch_bounds__(GATHER_BLOCK) claim_kernel(const __grid_constant__ Scatter s) {
    const int64_t t = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (t >= s.n)
        return;
    const int64_t at = target(s, t);
    if (at >= 0)
        atomicMax(&s.owner[at / s.run], (uint32_t)t + 1u);
}

template <typename T> __global__ void __launch_bounds__(GATHER_BLOCK) write_kernel(const __grid_constant__ Scatter s) {
    const int64_t i = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (i >= s.n * s.run)
        return;
    const int64_t t = i / s.run, at = target(s, t);
    if (at >= 0 && s.owner[at / s.run] == (uint32_t)t + 1u)
        ((T *)s.y)[at + i - t * s.run] = ((const T *)s.u)[i];
}

__global__ void __launch_bounds__(GATHER_BLOCK) key_kernel(const __grid_constant__ Scatter s) {
    const int64_t t = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (t >= s.sorted)
        return;
    const int64_t at = t < s.n ? target(s, t) : -1;
    s.key[t] = at >= 0 ? (uint64_t)(at / s.run) : UINT64_MAX;
    s.order[t] = (uint32_t)t;
}

__device__ double combine(uint32_t reduction, double a, double b) {
    switch (reduction) {
    case TN_SCATTER_ADD:
        return a + b;
    case TN_SCATTER_MUL:
        return a * b;
    case TN_SCATTER_MAX:
        return a != a || b != b ? a + b : a > b ? a : b;
    default:
        return a != a || b != b ? a + b : a < b ? a : b;
    }
}

__device__ int64_t combine_integers(uint32_t reduction, bool u, int64_t a, int64_t b) {
    switch (reduction) {
    case TN_SCATTER_ADD:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    case TN_SCATTER_MUL:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    case TN_SCATTER_MAX:
        return (u ? (uint64_t)a > (uint64_t)b : a > b) ? a : b;
    default:
        return (u ? (uint64_t)a < (uint64_t)b : a < b) ? a : b;
    }
}

/* A thread for each place of the sorted updates and element of a slice; the first place of a slice does the work of all. */
__global__ void __launch_bounds__(GATHER_BLOCK) reduce_kernel(const __grid_constant__ Scatter s) {
    const int64_t i = (int64_t)blockIdx.x * GATHER_BLOCK + threadIdx.x;
    if (i >= s.n * s.run)
        return;
    const int64_t place = i / s.run, r = i - place * s.run;
    const uint64_t slice = s.key[place];
    if (slice == UINT64_MAX || (place > 0 && s.key[place - 1] == slice))
        return;
    const int64_t to = (int64_t)slice * s.run + r;
    const bool exact = el_exact(s.type), u = s.type == TN_U64;
    int64_t whole = exact ? el_load_i64(s.type, s.y, to) : 0;
    double real = exact ? 0.0 : el_load_f64(s.type, s.y, to);
    for (int64_t p = place; p < s.n && s.key[p] == slice; p++) {
        const int64_t from = (int64_t)s.order[p] * s.run + r;
        if (exact) {
            whole = combine_integers(s.reduction, u, whole, el_load_i64(s.type, s.u, from));
        } else {
            real = combine(s.reduction, real, el_load_f64(s.type, s.u, from));
            real = s.type == TN_F64 ? real : (double)(float)real;
        }
    }
    if (exact)
        el_store_i64(s.type, s.y, to, whole);
    else
        el_put_f64(s.type, s.y, to, real);
}

unsigned blocks_for(int64_t n) {
    return (unsigned)tni_div_up(n, GATHER_BLOCK);
}

/* Elements of a slice of scatter_nd. */
int64_t slice_run(const TnTensor *y, const TnTensor *idx) {
    return tni_numel_range(y, (int32_t)idx->dims[idx->rank - 1], y->rank);
}

size_t scratch_bytes(uint32_t reduction, int64_t slices, int64_t updates) {
    if (reduction == TN_SCATTER_NONE)
        return (size_t)(slices > 0 ? slices : 0) * sizeof(uint32_t);
    return (size_t)tni_cuda_sort_size(updates) * (sizeof(uint64_t) + sizeof(uint32_t));
}

TnStatus run(TnKernelCall *call, const char *op, Scatter *s) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    cudaStream_t stream = call->stream->s;
    const size_t size = tni_size_of(y->dtype);
    const int64_t slices = s->run > 0 ? tn_tensor_numel(y) / s->run : 0;
    if (tn_tensor_numel(x) != tn_tensor_numel(y) || tn_tensor_numel(&call->in[2]) != s->n * s->run || s->n > UINT32_MAX - 1)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s: an output or updates that do not fit", op);
    if (x->data != y->data && tn_tensor_numel(y) > 0)
        TNI_CUDA(call->err, cudaMemcpyAsync(y->data, x->data, tn_tensor_bytes(y), cudaMemcpyDeviceToDevice, stream), op);
    if (s->n * s->run == 0)
        return TN_OK;
    const size_t need = scratch_bytes(s->reduction, slices, s->n);
    if (call->scratch_bytes < need)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s needs %zu bytes of scratch memory, was given %zu", op, need, call->scratch_bytes);
    s->u = call->in[2].data;
    s->y = y->data;
    s->type = (uint32_t)y->dtype;
    s->idx = call->in[1].data;
    s->idx64 = call->in[1].dtype == TN_I64;
    if (s->reduction == TN_SCATTER_NONE) {
        s->owner = (uint32_t *)call->scratch;
        if (need > 0)
            TNI_CUDA(call->err, cudaMemsetAsync(s->owner, 0, need, stream), op);
        claim_kernel<<<blocks_for(s->n), GATHER_BLOCK, 0, stream>>>(*s);
        TNI_SIZE_SWITCH(size, T, (write_kernel<T><<<blocks_for(s->n * s->run), GATHER_BLOCK, 0, stream>>>(*s)));
    } else {
        s->sorted = tni_cuda_sort_size(s->n);
        s->key = (uint64_t *)call->scratch;
        s->order = (uint32_t *)(s->key + s->sorted);
        key_kernel<<<blocks_for(s->sorted), GATHER_BLOCK, 0, stream>>>(*s);
        tni_cuda_sort(stream, s->key, s->order, s->sorted, 1);
        reduce_kernel<<<blocks_for(s->n * s->run), GATHER_BLOCK, 0, stream>>>(*s);
    }
    return tni_cuda_launched(call, op);
}
} // namespace

TnStatus tni_cuda_scatter_nd(TnKernelCall *call) {
    const TnTensor *idx = &call->in[1], *y = &call->out[0];
    Scatter s;
    memset(&s, 0, sizeof s);
    if (idx->rank < 1 || idx->dims[idx->rank - 1] > y->rank)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "scatter_nd: indices that do not fit the input");
    s.reduction = ((const TnScatterParams *)call->params)->reduction;
    s.n = tni_numel_range(idx, 0, idx->rank - 1);
    s.run = slice_run(y, idx);
    tuples_setup(call, y, (int32_t)idx->dims[idx->rank - 1], 0, &s.tuples);
    return run(call, "scatter_nd", &s);
}

TnStatus tni_cuda_scatter_elements(TnKernelCall *call) {
    const TnScatterParams *p = (const TnScatterParams *)call->params;
    Scatter s;
    memset(&s, 0, sizeof s);
    s.reduction = p->reduction;
    s.by_element = 1;
    s.run = 1;
    TN_TRY(elements_setup(call, "scatter_elements", &call->out[0], &call->in[1], p->axis, &s.elements));
    s.n = s.elements.n;
    return run(call, "scatter_elements", &s);
}

size_t tni_cuda_scatter_nd_scratch(const TnKernelQuery *q) {
    const TnTensor *y = &q->out[0], *idx = &q->in[1];
    if (idx->rank < 1 || idx->dims[idx->rank - 1] > y->rank)
        return 0;
    const int64_t slices = tni_numel_range(y, 0, (int32_t)idx->dims[idx->rank - 1]);
    return scratch_bytes(((const TnScatterParams *)q->params)->reduction, slices, tni_numel_range(idx, 0, idx->rank - 1));
}

size_t tni_cuda_scatter_elements_scratch(const TnKernelQuery *q) {
    return scratch_bytes(((const TnScatterParams *)q->params)->reduction, tn_tensor_numel(&q->out[0]), tn_tensor_numel(&q->in[1]));
}
