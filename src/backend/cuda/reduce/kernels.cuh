/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction kernels for one float type T, by rows (the innermost dim is reduced: a warp or a block an output) and by columns (it is kept: a
 * block takes RD_COLUMNS neighbours, its warps share the reduced elements). Partial results are pairs of doubles, combined by
 * finish_kernel. Sums are f32 in lanes and joined in a fixed order; squares and products, which may leave the range on the way, are double.
 */
#ifndef TENON_BACKEND_CUDA_REDUCE_KERNELS_CUH
#define TENON_BACKEND_CUDA_REDUCE_KERNELS_CUH

#include "backend/cuda/reduce/shape.h"

namespace {
/* ---- how the classes accumulate: a state, one element, two states ---- */
template <int C> struct Acc { typedef float A; };
template <> struct Acc<RD_SQUARE> { typedef double A; };
template <> struct Acc<RD_PROD> { typedef double A; };

template <int C> struct State { typename Acc<C>::A a, b; /* b: RD_LSE: sum of exp(x - a) */ };

template <int C> TNI_DEVICE State<C> rd_start(void) {
    typedef typename Acc<C>::A A;
    return {C == RD_PROD ? (A)1 : C == RD_MAX || C == RD_LSE ? (A)-INFINITY : C == RD_MIN ? (A)INFINITY : (A)0, (A)0};
}

template <int C> TNI_DEVICE void rd_take(State<C> &s, float x) {
    typedef typename Acc<C>::A A;
    if (C == RD_SUM)
        s.a += (A)x;
    else if (C == RD_SQUARE)
        s.a += (A)x * (A)x;
    else if (C == RD_L1)
        s.a += (A)fabsf(x);
    else if (C == RD_MAX)
        s.a = (A)x > s.a || x != x ? (A)x : s.a; /* NaN comes and stays */
    else if (C == RD_MIN)
        s.a = (A)x < s.a || x != x ? (A)x : s.a;
    else if (C == RD_PROD)
        s.a *= (A)x;
    else if (x != x)
        s.a = (A)x;
    else if ((A)x > s.a) {
        s.b = s.b * (A)expf((float)s.a - x) + (A)1;
        s.a = (A)x;
    } else if (x > -INFINITY)
        s.b += (A)expf(x - (float)s.a);
}

template <int C> TNI_DEVICE State<C> rd_join(State<C> s, State<C> t) {
    typedef typename Acc<C>::A A;
    if (C == RD_MAX)
        s.a = t.a > s.a || t.a != t.a ? t.a : s.a;
    else if (C == RD_MIN)
        s.a = t.a < s.a || t.a != t.a ? t.a : s.a;
    else if (C == RD_PROD)
        s.a *= t.a;
    else if (C == RD_LSE) {
        const A m = s.a != s.a || t.a != t.a ? s.a + t.a : s.a > t.a ? s.a : t.a;
        const A p = s.b == (A)0 ? (A)0 : s.b * (A)expf((float)(s.a - m)), q = t.b == (A)0 ? (A)0 : t.b * (A)expf((float)(t.a - m));
        s.a = m;
        s.b = p + q;
    } else
        s.a += t.a;
    return s;
}

TNI_DEVICE double rd_finish(uint32_t fn, double a, double b, int64_t count) {
    switch (fn) {
    case TN_REDUCE_mean:
        return a / (double)count;
    case TN_REDUCE_l2:
        return sqrt(a);
    case TN_REDUCE_log_sum:
        return log(a);
    case TN_REDUCE_log_sum_exp:
        return isinf(a) || a != a ? a : a + log(b);
    default:
        return a;
    }
}

template <int C> TNI_DEVICE State<C> rd_warp(State<C> s) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        State<C> t;
        t.a = __shfl_xor_sync(TNI_ALL, s.a, step);
        t.b = C == RD_LSE ? __shfl_xor_sync(TNI_ALL, s.b, step) : s.b;
        s = rd_join<C>(s, t);
    }
    return s;
}

/* ---- where elements are ---- */
TNI_DEVICE int64_t rd_base(const RdShape &r, int64_t output) {
    int64_t at = 0;
    for (int d = 0; d < r.n_keep; d++) {
        const int64_t q = output / r.keep[d];
        at += (output - q * r.keep[d]) * r.keep_strides[d];
        output = q;
    }
    return at;
}

TNI_DEVICE int64_t rd_offset(const RdShape &r, int64_t k) {
    if (r.n_red == 1)
        return k * r.red_strides[0];
    int64_t at = 0;
    for (int d = 0; d < r.n_red; d++) {
        int64_t q, c;
        if (r.wide == 0) {
            uint32_t a, b;
            tni_divmod((uint32_t)k, r.red_div[d], &a, &b);
            q = a;
            c = b;
        } else {
            q = k / r.red[d];
            c = k - q * r.red[d];
        }
        at += c * r.red_strides[d];
        k = q;
    }
    return at;
}

template <int C, typename T> TNI_DEVICE void rd_emit(const RdShape &r, int64_t output, int64_t split, State<C> s) {
    if (r.splits > 1) {
        double *p = r.partial + (split * r.outputs + output) * 2;
        p[0] = (double)s.a;
        p[1] = (double)s.b;
    } else {
        const float y = (float)rd_finish(r.fn, (double)s.a, (double)s.b, r.count);
        ((T *)r.y)[output] = tni_from_f32<T>(y);
    }
}

/* ---- by rows: G threads an output ---- */
template <int C, typename T, int G> __global__ void __launch_bounds__(RD_BLOCK) row_kernel(const __grid_constant__ RdShape r) {
    tni_start();
    constexpr int V = 16 / (int)sizeof(T);
    __shared__ State<C> part[RD_BLOCK / 32];
    const int64_t output = (int64_t)blockIdx.x * (RD_BLOCK / G) + threadIdx.x / G, split = blockIdx.y;
    const int lane = (int)threadIdx.x % G;
    State<C> s = rd_start<C>();
    if (output < r.outputs) {
        const T *x = (const T *)r.x + rd_base(r, output);
        const int64_t first = split * r.chunk, end = first + r.chunk < r.count ? first + r.chunk : r.count;
        if (r.vec != 0) {
            for (int64_t k = first + lane * V; k < end; k += G * V) {
                float v[V];
                tni_load<V>(v, x + k);
#pragma unroll
                for (int i = 0; i < V; i++)
                    rd_take<C>(s, v[i]);
            }
        } else {
            for (int64_t k = first + lane; k < end; k += G)
                rd_take<C>(s, tni_f32(x[rd_offset(r, k)]));
        }
    }
    s = rd_warp<C>(s);
    if constexpr (G > 32) {
        if (lane % 32 == 0)
            part[lane / 32] = s;
        __syncthreads();
        if (lane == 0)
            for (int w = 1; w < G / 32; w++)
                s = rd_join<C>(s, part[w]);
    }
    if (lane == 0 && output < r.outputs)
        rd_emit<C, T>(r, output, split, s);
}

/* ---- by columns: V neighbouring outputs a thread, RD_ROWS threads share the elements ---- */
template <int C, typename T, int V> __global__ void __launch_bounds__(RD_BLOCK) column_kernel(const __grid_constant__ RdShape r) {
    tni_start();
    __shared__ State<C> part[RD_ROWS][RD_COLUMNS * V];
    const int tx = (int)threadIdx.x % RD_COLUMNS, ty = (int)threadIdx.x / RD_COLUMNS;
    const int64_t output = ((int64_t)blockIdx.x * RD_COLUMNS + tx) * V, split = blockIdx.y;
    State<C> s[V];
#pragma unroll
    for (int i = 0; i < V; i++)
        s[i] = rd_start<C>();
    if (output < r.outputs) {
        const T *x = (const T *)r.x + rd_base(r, output);
        const int64_t first = split * r.chunk, end = first + r.chunk < r.count ? first + r.chunk : r.count;
#pragma unroll 4
        for (int64_t k = first + ty; k < end; k += RD_ROWS) {
            float v[V];
            tni_load<V>(v, x + rd_offset(r, k));
#pragma unroll
            for (int i = 0; i < V; i++)
                rd_take<C>(s[i], v[i]);
        }
    }
#pragma unroll
    for (int i = 0; i < V; i++)
        part[ty][tx * V + i] = s[i];
    __syncthreads();
    for (int c = (int)threadIdx.x; c < RD_COLUMNS * V; c += RD_BLOCK) {
        const int64_t to = (int64_t)blockIdx.x * RD_COLUMNS * V + c;
        State<C> t = part[0][c];
        for (int w = 1; w < RD_ROWS; w++)
            t = rd_join<C>(t, part[w][c]);
        if (to < r.outputs)
            rd_emit<C, T>(r, to, split, t);
    }
}

/* ---- joins the splits, in order ---- */
template <int C, typename T> __global__ void __launch_bounds__(RD_BLOCK) finish_kernel(const __grid_constant__ RdShape r) {
    tni_start();
    typedef typename Acc<C>::A A;
    const int64_t output = (int64_t)blockIdx.x * RD_BLOCK + threadIdx.x;
    if (output >= r.outputs)
        return;
    State<C> s = rd_start<C>();
    for (int64_t k = 0; k < r.splits; k++) {
        const double *p = r.partial + (k * r.outputs + output) * 2;
        s = rd_join<C>(s, State<C>{(A)p[0], (A)p[1]});
    }
    RdShape one = r;
    one.splits = 1;
    rd_emit<C, T>(one, output, 0, s);
}

template <int C, typename T> void rd_class(const TnStream *st, const RdShape *r) {
    const unsigned splits = (unsigned)r->splits;
    if (r->by_columns != 0 && r->vec != 0)
        (void)tni_launch_early(st, column_kernel<C, T, 4>, dim3((unsigned)tni_div_up(r->outputs, RD_COLUMNS * 4), splits), RD_BLOCK, 0, *r);
    else if (r->by_columns != 0)
        (void)tni_launch_early(st, column_kernel<C, T, 1>, dim3((unsigned)tni_div_up(r->outputs, RD_COLUMNS), splits), RD_BLOCK, 0, *r);
    else if (r->count <= 1024)
        (void)tni_launch_early(st, row_kernel<C, T, 32>, dim3((unsigned)tni_div_up(r->outputs, RD_BLOCK / 32), splits), RD_BLOCK, 0, *r);
    else
        (void)tni_launch_early(st, row_kernel<C, T, RD_BLOCK>, dim3((unsigned)r->outputs, splits), RD_BLOCK, 0, *r);
    if (r->splits > 1)
        (void)tni_launch_early(st, finish_kernel<C, T>, (unsigned)tni_div_up(r->outputs, RD_BLOCK), RD_BLOCK, 0, *r);
}

template <typename T> void rd_launch(const TnStream *s, const RdShape *r) {
    switch (tni_cuda_rd_class(r->fn)) {
    case RD_SUM:
        rd_class<RD_SUM, T>(s, r);
        break;
    case RD_SQUARE:
        rd_class<RD_SQUARE, T>(s, r);
        break;
    case RD_L1:
        rd_class<RD_L1, T>(s, r);
        break;
    case RD_MAX:
        rd_class<RD_MAX, T>(s, r);
        break;
    case RD_MIN:
        rd_class<RD_MIN, T>(s, r);
        break;
    case RD_PROD:
        rd_class<RD_PROD, T>(s, r);
        break;
    default:
        rd_class<RD_LSE, T>(s, r);
    }
}
} // namespace

#endif
