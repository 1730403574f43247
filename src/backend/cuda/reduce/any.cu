/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce on integers, bool and f64, arg_reduce, cumsum: seldom used on much data, so the type is known at run time only. Integers are exact
 * in 64 bits and wrap; floats are computed in double. */
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/reduce/kernels.cuh"
#include "backend/cuda/reduce/reduce.h"

namespace {
/* ---- reduce ---- */
struct Wide {
    double a, b;
    int64_t i;
};

__device__ bool less_bits(bool u, int64_t a, int64_t b) {
    return u ? (uint64_t)a < (uint64_t)b : a < b;
}

__device__ int64_t lowest(uint32_t t) {
    return t == TN_I64 ? INT64_MIN : t == TN_I32 ? INT32_MIN : t == TN_I16 ? -32768 : t == TN_I8 ? -128 : 0;
}

__device__ int64_t highest(uint32_t t) {
    return t == TN_I64   ? INT64_MAX
           : t == TN_I32 ? INT32_MAX
           : t == TN_I16 ? 32767
           : t == TN_I8  ? 127
           : t == TN_U64 ? -1
           : t == TN_U32 ? (int64_t)UINT32_MAX
           : t == TN_U16 ? 65535
           : t == TN_U8  ? 255
                         : 1;
}

/* Integer functions that stay integers. */
__device__ bool stays(const RdShape &r) {
    return el_exact(r.x_type) && r.fn != TN_REDUCE_mean && r.fn != TN_REDUCE_l2 && r.fn != TN_REDUCE_log_sum &&
           r.fn != TN_REDUCE_log_sum_exp;
}

__device__ int64_t join_integers(uint32_t fn, bool u, int64_t a, int64_t b) {
    switch (fn) {
    case TN_REDUCE_max:
        return less_bits(u, a, b) ? b : a;
    case TN_REDUCE_min:
        return less_bits(u, b, a) ? b : a;
    case TN_REDUCE_prod:
        return (int64_t)((uint64_t)a * (uint64_t)b);
    default:
        return (int64_t)((uint64_t)a + (uint64_t)b);
    }
}

__device__ Wide join_wide(uint32_t fn, Wide s, Wide t) {
    switch (fn) {
    case TN_REDUCE_max:
        s.a = t.a > s.a || t.a != t.a ? t.a : s.a;
        return s;
    case TN_REDUCE_min:
        s.a = t.a < s.a || t.a != t.a ? t.a : s.a;
        return s;
    case TN_REDUCE_prod:
        s.a *= t.a;
        return s;
    case TN_REDUCE_log_sum_exp: {
        const double m = s.a != s.a || t.a != t.a ? s.a + t.a : s.a > t.a ? s.a : t.a;
        s.b = (s.b == 0.0 ? 0.0 : s.b * exp(s.a - m)) + (t.b == 0.0 ? 0.0 : t.b * exp(t.a - m));
        s.a = m;
        return s;
    }
    default:
        s.a += t.a;
        return s;
    }
}

__device__ Wide one_element(const RdShape &r, bool exact, int64_t at) {
    Wide w = {0.0, 0.0, 0};
    if (exact) {
        const int64_t v = el_load_i64(r.x_type, r.x, at);
        w.i = r.fn == TN_REDUCE_sum_square                          ? (int64_t)((uint64_t)v * (uint64_t)v)
              : r.fn == TN_REDUCE_l1 && v < 0 && r.x_type != TN_U64 ? (int64_t)(0u - (uint64_t)v)
                                                                    : v;
        return w;
    }
    const double v = el_load_f64(r.x_type, r.x, at);
    w.a = r.fn == TN_REDUCE_sum_square || r.fn == TN_REDUCE_l2 ? v * v : r.fn == TN_REDUCE_l1 ? fabs(v) : v;
    w.b = r.fn == TN_REDUCE_log_sum_exp && v > -INFINITY ? 1.0 : v != v ? v : 0.0;
    return w;
}

/* A block an output. */
__global__ void __launch_bounds__(RD_BLOCK) any_kernel(const __grid_constant__ RdShape r) {
    tni_start();
    __shared__ Wide part[RD_BLOCK];
    const bool exact = stays(r), u = r.x_type == TN_U64;
    const int64_t output = blockIdx.x, base = rd_base(r, output);
    Wide s = {r.fn == TN_REDUCE_max || r.fn == TN_REDUCE_log_sum_exp ? -INFINITY
              : r.fn == TN_REDUCE_min                                ? INFINITY
              : r.fn == TN_REDUCE_prod                               ? 1.0
                                                                     : 0.0,
              0.0,
              r.fn == TN_REDUCE_max    ? lowest(r.x_type)
              : r.fn == TN_REDUCE_min  ? highest(r.x_type)
              : r.fn == TN_REDUCE_prod ? 1
                                       : 0};
    for (int64_t k = threadIdx.x; k < r.count; k += RD_BLOCK) {
        const Wide e = one_element(r, exact, base + rd_offset(r, k));
        if (exact)
            s.i = join_integers(r.fn, u, s.i, e.i);
        else
            s = join_wide(r.fn, s, e);
    }
    part[threadIdx.x] = s;
    for (int half = RD_BLOCK / 2; half > 0; half /= 2) {
        __syncthreads();
        if ((int)threadIdx.x < half) {
            const Wide t = part[threadIdx.x + half];
            if (exact)
                part[threadIdx.x].i = join_integers(r.fn, u, part[threadIdx.x].i, t.i);
            else
                part[threadIdx.x] = join_wide(r.fn, part[threadIdx.x], t);
        }
    }
    if (threadIdx.x != 0)
        return;
    if (exact)
        el_store_i64(r.y_type, r.y, output, part[0].i);
    else
        el_put_f64(r.y_type, r.y, output, rd_finish(r.fn, part[0].a, part[0].b, r.count));
}

/* ---- arg_reduce ---- */
struct Arg {
    const void *x;
    int64_t *y;
    int64_t outer, n, inner;
    uint32_t type, is_max, last;
};

/* Larger is better; NaN is better than every number. */
__device__ uint64_t rank_of(const Arg &p, int64_t at) {
    const uint64_t k = el_rank(p.type, p.x, at);
    const bool nan = !el_exact(p.type) && k == UINT64_MAX; /* no number has this rank */
    return p.is_max != 0 || nan ? k : ~k;
}

__device__ void better(uint32_t last, uint64_t &k, int64_t &i, uint64_t k2, int64_t i2) {
    if (i2 >= 0 && (i < 0 || k2 > k || (k2 == k && (last != 0 ? i2 > i : i2 < i)))) {
        k = k2;
        i = i2;
    }
}

/* G threads an output (1, 32 or a block). */
template <int G> __global__ void __launch_bounds__(RD_BLOCK) arg_kernel(const __grid_constant__ Arg p) {
    tni_start();
    __shared__ uint64_t keys[RD_BLOCK / 32];
    __shared__ int64_t places[RD_BLOCK / 32];
    const int64_t output = (int64_t)blockIdx.x * (RD_BLOCK / G) + threadIdx.x / G, outputs = p.outer * p.inner;
    const int lane = (int)threadIdx.x % G;
    uint64_t k = 0;
    int64_t best = -1;
    if (output < outputs) {
        const int64_t base = output / p.inner * p.n * p.inner + output % p.inner;
        for (int64_t i = lane; i < p.n; i += G)
            better(p.last, k, best, rank_of(p, base + i * p.inner), i);
    }
    if constexpr (G > 1) {
#pragma unroll
        for (int step = 16; step > 0; step /= 2) {
            const uint64_t k2 = __shfl_xor_sync(TNI_ALL, k, step);
            const int64_t i2 = __shfl_xor_sync(TNI_ALL, best, step);
            better(p.last, k, best, k2, i2);
        }
    }
    if constexpr (G > 32) {
        if (lane % 32 == 0) {
            keys[lane / 32] = k;
            places[lane / 32] = best;
        }
        __syncthreads();
        if (lane == 0)
            for (int w = 1; w < G / 32; w++)
                better(p.last, k, best, keys[w], places[w]);
    }
    if (lane == 0 && output < outputs)
        p.y[output] = best;
}

/* ---- cumsum ---- */
struct Sums {
    const void *x;
    void *y;
    int64_t outer, n, inner;
    uint32_t type, exclusive, reverse;
};

__device__ void load_one(const Sums &p, int64_t at, double &v) {
    v = el_load_f64(p.type, p.x, at);
}
__device__ void load_one(const Sums &p, int64_t at, int64_t &v) {
    v = el_load_i64(p.type, p.x, at);
}
__device__ void store_one(const Sums &p, int64_t at, double v) {
    el_put_f64(p.type, p.y, at, v);
}
__device__ void store_one(const Sums &p, int64_t at, int64_t v) {
    el_store_i64(p.type, p.y, at, v);
}
__device__ double sum(double a, double b) {
    return a + b;
}
__device__ int64_t sum(int64_t a, int64_t b) {
    return (int64_t)((uint64_t)a + (uint64_t)b);
}

/* A thread a line: neighbouring lines are neighbours in memory. */
template <typename V> __global__ void __launch_bounds__(RD_BLOCK) cumsum_lines(const __grid_constant__ Sums p) {
    tni_start();
    const int64_t line = (int64_t)blockIdx.x * RD_BLOCK + threadIdx.x;
    if (line >= p.outer * p.inner)
        return;
    const int64_t base = line / p.inner * p.n * p.inner + line % p.inner;
    V s = 0;
    for (int64_t k = 0; k < p.n; k++) {
        const int64_t at = base + (p.reverse != 0 ? p.n - 1 - k : k) * p.inner;
        V v;
        load_one(p, at, v);
        const V after = sum(s, v);
        store_one(p, at, p.exclusive != 0 ? s : after);
        s = after;
    }
}

/* A block a line: scans of RD_BLOCK elements, one after the other. */
template <typename V> __global__ void __launch_bounds__(RD_BLOCK) cumsum_blocks(const __grid_constant__ Sums p) {
    tni_start();
    __shared__ V warps[RD_BLOCK / 32];
    const int64_t line = blockIdx.x, base = line / p.inner * p.n * p.inner + line % p.inner;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    V carry = 0;
    for (int64_t first = 0; first < p.n; first += RD_BLOCK) {
        const int64_t k = first + threadIdx.x, at = base + (p.reverse != 0 ? p.n - 1 - k : k) * p.inner;
        V v = 0;
        if (k < p.n)
            load_one(p, at, v);
        V s = v;
#pragma unroll
        for (int step = 1; step < 32; step *= 2) {
            const V t = __shfl_up_sync(TNI_ALL, s, step);
            s = lane >= step ? sum(t, s) : s;
        }
        if (lane == 31)
            warps[warp] = s;
        __syncthreads();
        V before = carry;
        for (int w = 0; w < RD_BLOCK / 32; w++) {
            if (w == warp)
                s = sum(before, s);
            const V next = sum(before, warps[w]);
            if (w == warp) { /* exclusive: what stands before this element */
                const V left = __shfl_up_sync(TNI_ALL, s, 1);
                v = lane > 0 ? left : before;
            }
            before = next;
        }
        if (k < p.n)
            store_one(p, at, p.exclusive != 0 ? v : s);
        carry = before;
        __syncthreads();
    }
}

bool is_exact(TnDtype t) {
    return tni_dtype_is_int(t) || t == TN_BOOL;
}

/* x seen as [outer, n, inner] around an axis. */
bool around(const TnTensor *x, int64_t axis, int64_t *outer, int64_t *n, int64_t *inner) {
    const int64_t rank = x->rank == 0 ? 1 : x->rank;
    axis += axis < 0 ? rank : 0;
    if (axis < 0 || axis >= rank)
        return false;
    *outer = x->rank == 0 ? 1 : tni_numel_range(x, 0, (int32_t)axis);
    *n = x->rank == 0 ? 1 : x->dims[axis];
    *inner = x->rank == 0 ? 1 : tni_numel_range(x, (int32_t)axis + 1, x->rank);
    return true;
}
} // namespace

void tni_cuda_rd_any(const TnStream *s, const RdShape *r) {
    (void)tni_launch_early(s, any_kernel, (unsigned)r->outputs, RD_BLOCK, 0, *r);
}

TnStatus tni_cuda_reduce(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    RdShape r;
    if (!tni_cuda_rd_shape((const TnReduceParams *)call->params, x, &r) || tn_tensor_numel(y) != r.outputs)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "reduce was called with axes, a function or an output that do not fit its input");
    if (r.outputs == 0)
        return TN_OK;
    if (r.outputs > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "reduce: %lld outputs are more than one launch can have", (long long)r.outputs);
    r.x = x->data;
    r.y = y->data;
    r.y_type = (uint32_t)y->dtype;
    r.partial = (double *)call->scratch;
    const bool real = tni_is_real(x->dtype);
    const size_t need = real && r.splits > 1 ? (size_t)(r.splits * r.outputs) * 2 * sizeof(double) : 0;
    if (call->scratch_bytes < need)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "reduce needs %zu bytes of scratch memory, was given %zu", need, call->scratch_bytes);
    if (x->dtype == TN_F32)
        tni_cuda_rd_f32(call->stream, &r);
    else if (x->dtype == TN_F16)
        tni_cuda_rd_f16(call->stream, &r);
    else if (x->dtype == TN_BF16)
        tni_cuda_rd_bf16(call->stream, &r);
    else
        tni_cuda_rd_any(call->stream, &r);
    return tni_cuda_launched(call, "reduce");
}

TnStatus tni_cuda_arg_reduce(TnKernelCall *call) {
    const TnArgReduceParams *a = (const TnArgReduceParams *)call->params;
    Arg p;
    memset(&p, 0, sizeof p);
    if (!around(&call->in[0], a->axis, &p.outer, &p.n, &p.inner))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "arg_reduce was called with an axis outside the input's rank");
    const int64_t outputs = p.outer * p.inner;
    if (outputs == 0)
        return TN_OK;
    if (p.n == 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "arg_reduce: the axis has no elements, so there is no largest or smallest one");
    p.x = call->in[0].data;
    p.y = (int64_t *)call->out[0].data;
    p.type = (uint32_t)call->in[0].dtype;
    p.is_max = a->is_max;
    p.last = a->select_last;
    const TnStream *s = call->stream;
    if (p.inner > 1 && outputs >= 8192)
        (void)tni_launch_early(s, arg_kernel<1>, (unsigned)tni_div_up(outputs, RD_BLOCK), RD_BLOCK, 0, p);
    else if (p.n <= 1024)
        (void)tni_launch_early(s, arg_kernel<32>, (unsigned)tni_div_up(outputs, RD_BLOCK / 32), RD_BLOCK, 0, p);
    else
        (void)tni_launch_early(s, arg_kernel<RD_BLOCK>, (unsigned)outputs, RD_BLOCK, 0, p);
    return tni_cuda_launched(call, "arg_reduce");
}

/* The axis is host memory. */
TnStatus tni_cuda_cumsum(TnKernelCall *call) {
    const TnCumsumParams *c = (const TnCumsumParams *)call->params;
    const TnTensor *axis = &call->in[1];
    Sums p;
    memset(&p, 0, sizeof p);
    if (tn_tensor_numel(axis) != 1)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: the axis must be one element, found %lld", (long long)tn_tensor_numel(axis));
    const int64_t v = tni_load_i64(axis->dtype, axis->data, 0);
    if (!around(&call->in[0], v, &p.outer, &p.n, &p.inner))
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: axis %lld is out of range for an input of rank %d", (long long)v, call->in[0].rank);
    const int64_t lines = p.outer * p.inner;
    if (lines * p.n == 0)
        return TN_OK;
    p.x = call->in[0].data;
    p.y = call->out[0].data;
    p.type = (uint32_t)call->in[0].dtype;
    p.exclusive = c->exclusive;
    p.reverse = c->reverse;
    const TnStream *s = call->stream;
    const bool by_lines = p.inner > 1 && lines >= 4096, exact = is_exact(call->in[0].dtype);
    const unsigned blocks = (unsigned)(by_lines ? tni_div_up(lines, RD_BLOCK) : lines);
    if (by_lines && exact)
        (void)tni_launch_early(s, cumsum_lines<int64_t>, blocks, RD_BLOCK, 0, p);
    else if (by_lines)
        (void)tni_launch_early(s, cumsum_lines<double>, blocks, RD_BLOCK, 0, p);
    else if (exact)
        (void)tni_launch_early(s, cumsum_blocks<int64_t>, blocks, RD_BLOCK, 0, p);
    else
        (void)tni_launch_early(s, cumsum_blocks<double>, blocks, RD_BLOCK, 0, p);
    return tni_cuda_launched(call, "cumsum");
}
