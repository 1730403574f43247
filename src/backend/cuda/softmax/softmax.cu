/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax kernels. Along the last axis: P threads share a row and hold it in registers, N pieces of V elements each (P 8, 32 or 256), or,
 * for long rows, read it three times. Along another axis: a thread a distribution, neighbours side by side, two readings. A row with NaN,
 * with +inf or of -inf alone becomes NaN, as the mathematics has it. y may be x. */
#include "backend/cuda/softmax/softmax.h"

#define THREADS 128

/* x * scale, rounded once and everywhere alike: in one fma with "- max" the maximum's own exponent would be its rounding error, not 0. */
TNI_DEVICE float softmax_score(float x, float scale) {
    return __fmul_rn(x, scale);
}

template <int P> TNI_DEVICE float softmax_sum(float v, float *shared) {
    if constexpr (P <= 32)
        return tni_warp_sum<P>(v);
    else
        return tni_block_sum(v, shared);
}
template <int P> TNI_DEVICE float softmax_max(float v, float *shared) {
    if constexpr (P <= 32)
        return tni_warp_max<P>(v);
    else
        return tni_block_max(v, shared);
}

template <typename T, int V, int P, int N>
__global__ void __launch_bounds__(P > 32 ? P : THREADS) tni_softmax_rows_kernel(const __grid_constant__ TniCudaSoftmax a) {
    tni_start();
    constexpr int ROWS = P > 32 ? 1 : THREADS / P;
    __shared__ float shared[32];
    const int lane = (int)threadIdx.x % P;
    const int64_t at = (int64_t)blockIdx.x * ROWS + (int)threadIdx.x / P, row = at < a.outer ? at : a.outer - 1; /* all lanes shuffle */
    float s[N][V], max = -INFINITY, sum = 0.0f;
#pragma unroll
    for (int k = 0; k < N; k++) {
        const int i = (k * P + lane) * V;
        if (i < a.n)
            tni_load<V>(s[k], (const T *)a.x + row * a.n + i);
#pragma unroll
        for (int e = 0; e < V; e++) {
            s[k][e] = i < a.n ? softmax_score(s[k][e], a.scale) : -INFINITY;
            max = fmaxf(max, s[k][e]);
        }
    }
    max = softmax_max<P>(max, shared);
#pragma unroll
    for (int k = 0; k < N; k++)
#pragma unroll
        for (int e = 0; e < V; e++) {
            const float p = (k * P + lane) * V < a.n ? expf(s[k][e] - max) : 0.0f;
            s[k][e] = a.log ? s[k][e] - max : p;
            sum += p;
        }
    sum = softmax_sum<P>(sum, shared);
    if (at >= a.outer)
        return;
    const float f = a.log ? logf(sum) : 1.0f / sum;
#pragma unroll
    for (int k = 0; k < N; k++) {
        const int i = (k * P + lane) * V;
#pragma unroll
        for (int e = 0; e < V; e++)
            s[k][e] = a.log ? s[k][e] - f : s[k][e] * f;
        if (i < a.n)
            tni_store<V>((T *)a.y + row * a.n + i, s[k]);
    }
}

template <typename T, int V> __global__ void __launch_bounds__(512) tni_softmax_long_kernel(const __grid_constant__ TniCudaSoftmax a) {
    tni_start();
    __shared__ float shared[32];
    const T *x = (const T *)a.x + blockIdx.x * (int64_t)a.n;
    T *y = (T *)a.y + blockIdx.x * (int64_t)a.n;
    float s[V], max = -INFINITY, sum = 0.0f;
    for (int i = (int)threadIdx.x * V; i < a.n; i += 512 * V) {
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            max = fmaxf(max, softmax_score(s[e], a.scale));
    }
    max = tni_block_max(max, shared);
    for (int i = (int)threadIdx.x * V; i < a.n; i += 512 * V) {
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            sum += expf(softmax_score(s[e], a.scale) - max);
    }
    sum = tni_block_sum(sum, shared);
    const float f = a.log ? logf(sum) : 1.0f / sum;
    for (int i = (int)threadIdx.x * V; i < a.n; i += 512 * V) {
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++) {
            const float d = softmax_score(s[e], a.scale) - max;
            s[e] = a.log ? d - f : expf(d) * f;
        }
        tni_store<V>(y + i, s);
    }
}

/* inner > 1. The sum follows the maximum as it grows. -inf adds nothing; NaN and +inf make the sum NaN for good. */
template <typename T> __global__ void __launch_bounds__(THREADS) tni_softmax_strided_kernel(const __grid_constant__ TniCudaSoftmax a) {
    tni_start();
    for (int64_t at = tni_thread(); at < a.outer * a.inner; at += tni_threads()) {
        const int64_t base = at / a.inner * a.n * a.inner + at % a.inner;
        const T *x = (const T *)a.x + base;
        T *y = (T *)a.y + base;
        float max = -INFINITY, sum = 0.0f;
        for (int i = 0; i < a.n; i++) {
            const float s = softmax_score(tni_f32(x[i * a.inner]), a.scale);
            if (s > max) {
                sum = sum * expf(max - s) + expf(s - s);
                max = s;
            } else if (s != -INFINITY) {
                sum += expf(s - max);
            }
        }
        const float f = a.log ? logf(sum) : 1.0f / sum;
        for (int i = 0; i < a.n; i++) {
            const float s = softmax_score(tni_f32(x[i * a.inner]), a.scale) - max;
            y[i * a.inner] = tni_from_f32<T>(a.log ? s - f : expf(s) * f);
        }
    }
}

template <typename T, int V, int P, int N> static void softmax_rows(const TniCudaSoftmax &a, const TnStream *s) {
    constexpr int ROWS = P > 32 ? 1 : THREADS / P;
    (void)tni_launch_early(s, tni_softmax_rows_kernel<T, V, P, N>, (unsigned)tni_div_up(a.outer, ROWS), P > 32 ? P : THREADS, 0, a);
}

template <typename T, int V> static void softmax_by_length(const TniCudaSoftmax &a, const TnStream *s) {
    if constexpr (V > 1) {
        constexpr int E = 8 / V; /* pieces that hold 8 elements */
        if (a.n <= 64)
            softmax_rows<T, V, 8, E>(a, s);
        else if (a.n <= 256)
            softmax_rows<T, V, 32, E>(a, s);
        else if (a.n <= 1024)
            softmax_rows<T, V, 32, 4 * E>(a, s);
        else if (a.n <= 4096)
            softmax_rows<T, V, 256, 2 * E>(a, s);
        else
            (void)tni_launch_early(s, tni_softmax_long_kernel<T, V>, (unsigned)a.outer, 512, 0, a);
    } else {
        if (a.n <= 32)
            softmax_rows<T, 1, 8, 4>(a, s);
        else if (a.n <= 256)
            softmax_rows<T, 1, 32, 8>(a, s);
        else if (a.n <= 1024)
            softmax_rows<T, 1, 32, 32>(a, s);
        else if (a.n <= 4096)
            softmax_rows<T, 1, 256, 16>(a, s);
        else
            (void)tni_launch_early(s, tni_softmax_long_kernel<T, 1>, (unsigned)a.outer, 512, 0, a);
    }
}

TnStatus tni_cuda_softmax_launch(TnKernelCall *call, const TniCudaSoftmax *a, TnDtype type) {
    if (a->outer > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "softmax: %lld rows are more than one launch takes (%d)", (long long)a->outer,
                        INT32_MAX);
    TNI_FLOAT_SWITCH(type, T, {
        if (a->inner > 1)
            (void)tni_launch_early(call->stream, tni_softmax_strided_kernel<T>, tni_grid(call, a->outer * a->inner, THREADS, 32), THREADS,
                                   0, *a);
        else if (a->wide)
            softmax_by_length<T, TniWide<T>::n>(*a, call->stream);
        else
            softmax_by_length<T, 1>(*a, call->stream);
    });
    return tni_cuda_launched(call, "softmax");
}
