/* SPDX-License-Identifier: Apache-2.0
 *
 * where (any type, by element size) and clip (bounds are one number each, of any type, read on the device). */
#include "backend/cuda/pointwise/code.cuh"
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/pointwise/pointwise.h"

namespace {
/* Loads V elements from one place of an operand, or one for all of them. */
template <typename T, int V> __device__ void fetch(const void *base, long long at, unsigned long long col, unsigned step, T (&r)[V]) {
    const T *p = (const T *)base + at;
    if (step != 0) {
        const PwVec<T, V> x = *(const PwVec<T, V> *)(p + col);
#pragma unroll
        for (int i = 0; i < V; i++)
            r[i] = x.v[i];
    } else {
        const T one = *p;
#pragma unroll
        for (int i = 0; i < V; i++)
            r[i] = one;
    }
}

template <typename T, int V> __global__ void __launch_bounds__(PW_BLOCK) where_kernel(const __grid_constant__ PwArgs p) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    long long at[3];
    unsigned long long col = pw_place<3>(p, unit, at), end = col + 1, e = unit;
    const unsigned width = p.vec != 0 ? V : 1;
    col *= width;
    e *= width;
    end = col + width < p.inner ? col + width : p.inner;
    if (p.vec != 0 && end - col == V) {
        uint8_t c[V];
        PwVec<T, V> y;
        T x[2][V];
        fetch<uint8_t, V>(p.in[0], at[0], col, p.step[0], c);
        fetch<T, V>(p.in[1], at[1], col, p.step[1], x[0]);
        fetch<T, V>(p.in[2], at[2], col, p.step[2], x[1]);
#pragma unroll
        for (int i = 0; i < V; i++)
            y.v[i] = c[i] != 0 ? x[0][i] : x[1][i];
        *(PwVec<T, V> *)((T *)p.out + e) = y;
        return;
    }
    for (; col < end; col++, e++) {
        const bool c = ((const uint8_t *)p.in[0] + at[0])[p.step[0] != 0 ? col : 0] != 0;
        const T *x = c ? (const T *)p.in[1] + at[1] + (p.step[1] != 0 ? col : 0) : (const T *)p.in[2] + at[2] + (p.step[2] != 0 ? col : 0);
        ((T *)p.out)[e] = *x;
    }
}

struct Bounds {
    const void *lo, *hi; /* NULL: none */
    uint32_t lo_type, hi_type;
};

template <typename T, int V, typename R>
__global__ void __launch_bounds__(PW_BLOCK) clip_kernel(const __grid_constant__ PwArgs p, Bounds b) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    const double lo = b.lo != nullptr ? el_load_f64(b.lo_type, b.lo, 0) : -INFINITY,
                 hi = b.hi != nullptr ? el_load_f64(b.hi_type, b.hi, 0) : INFINITY;
    const unsigned width = p.vec != 0 ? V : 1;
    const unsigned long long first = unit * width, end = first + width < p.inner ? first + width : p.inner;
    if (p.vec != 0 && end - first == V) {
        R r[V];
        pw_get<V, R, T>(p.in[0], 0, first, 1, r);
#pragma unroll
        for (int i = 0; i < V; i++) { /* NaN stays */
            r[i] = (double)r[i] < lo ? (R)lo : r[i];
            r[i] = (double)r[i] > hi ? (R)hi : r[i];
        }
        pw_put<true, V, R, T>(p.out, first, r);
        return;
    }
    for (unsigned long long e = first; e < end; e++) {
        R v = pw_get_one<R, T>(p.in[0], 0, e, 1);
        v = (double)v < lo ? (R)lo : v;
        v = (double)v > hi ? (R)hi : v;
        PwStore<true>::one((T *)p.out + e, v);
    }
}

__global__ void __launch_bounds__(PW_BLOCK) clip_integers(const __grid_constant__ PwArgs p, Bounds b, uint32_t type) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    const bool u = type == TN_U64;
    int64_t v = el_load_i64(type, p.in[0], (int64_t)unit);
    if (b.lo != nullptr) {
        const int64_t lo = el_load_i64(b.lo_type, b.lo, 0);
        v = (u ? (uint64_t)v < (uint64_t)lo : v < lo) ? lo : v;
    }
    if (b.hi != nullptr) {
        const int64_t hi = el_load_i64(b.hi_type, b.hi, 0);
        v = (u ? (uint64_t)v < (uint64_t)hi : v < hi) ? v : hi;
    }
    el_store_i64(type, p.out, (int64_t)unit, v);
}
} // namespace

TnStatus tni_cuda_where(TnKernelCall *call) {
    const size_t size = tni_size_of(call->out[0].dtype);
    PwArgs a;
    unsigned blocks = 0;
    TN_TRY(tni_cuda_pw_args(call, call->in, 3, &call->out[0], size == 0 ? 1 : (uint32_t)(16 / size), &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    TNI_SIZE_SWITCH(size, T, ((void)tni_launch_early(call->stream, where_kernel<T, (int)(16 / sizeof(T))>, blocks, PW_BLOCK, 0, a)));
    return tni_cuda_launched(call, "where");
}

TnStatus tni_cuda_clip(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    Bounds b = {nullptr, nullptr, 0, 0};
    for (uint32_t i = 1; i <= 2 && i < call->n_in; i++) {
        if (call->in[i].dtype == TN_UNDEFINED)
            continue;
        if (tn_tensor_numel(&call->in[i]) != 1)
            return TN_RAISE(call->err, TN_ERR_RUN, "clip: the %s must be one element, found %lld", i == 1 ? "minimum" : "maximum",
                            (long long)tn_tensor_numel(&call->in[i]));
        *(i == 1 ? &b.lo : &b.hi) = call->in[i].data;
        *(i == 1 ? &b.lo_type : &b.hi_type) = (uint32_t)call->in[i].dtype;
    }
    PwArgs a;
    unsigned blocks = 0;
    TN_TRY(tni_cuda_pw_args(call, call->in, 1, &call->out[0], x->dtype == TN_F64 || !tni_is_real(x->dtype) ? 1 : tni_cuda_pw_width(x, 1, x),
                            &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    const TnStream *s = call->stream;
    if (x->dtype == TN_F32)
        (void)tni_launch_early(s, clip_kernel<float, 4, float>, blocks, PW_BLOCK, 0, a, b);
    else if (x->dtype == TN_F16)
        (void)tni_launch_early(s, clip_kernel<PwHalf, 8, float>, blocks, PW_BLOCK, 0, a, b);
    else if (x->dtype == TN_BF16)
        (void)tni_launch_early(s, clip_kernel<PwBrain, 8, float>, blocks, PW_BLOCK, 0, a, b);
    else if (x->dtype == TN_F64)
        (void)tni_launch_early(s, clip_kernel<double, 1, double>, blocks, PW_BLOCK, 0, a, b);
    else
        (void)tni_launch_early(s, clip_integers, blocks, PW_BLOCK, 0, a, b, (uint32_t)x->dtype);
    return tni_cuda_launched(call, "clip");
}
