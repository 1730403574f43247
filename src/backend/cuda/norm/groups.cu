/* SPDX-License-Identifier: Apache-2.0
 *
 * instance_norm and group_norm: a block a group of channels, three passes over it (the second
 * also finds what the rounded mean is off by). batch_norm: one multiply-add an element. */
#include "backend/cuda/norm/norm.h"

#define THREADS 512

template <typename T, int V>
__global__ void __launch_bounds__(THREADS) tni_norm_groups_kernel(const __grid_constant__ TniCudaNormGroups a) {
    tni_start();
    __shared__ float shared[32];
    const int64_t base = blockIdx.x * a.n;
    const T *x = (const T *)a.x + base;
    float s[V], total = 0.0f, deviations = 0.0f, squares = 0.0f;
    for (int64_t i = (int64_t)threadIdx.x * V; i < a.n; i += THREADS * V) {
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            total += s[e];
    }
    const float mean = tni_block_sum(total, shared) / (float)a.n;
    for (int64_t i = (int64_t)threadIdx.x * V; i < a.n; i += THREADS * V) {
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++) {
            const float d = s[e] - mean;
            deviations += d;
            squares = fmaf(d, d, squares);
        }
    }
    const float off = tni_block_sum(deviations, shared) / (float)a.n; /* of the mean, which is rounded to f32 */
    const float variance = tni_block_sum(squares, shared) / (float)a.n - off * off;
    const float inverse = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + a.epsilon); /* NaN stays */
    for (int64_t i = (int64_t)threadIdx.x * V; i < a.n; i += THREADS * V) {
        const int64_t channel = (base + i) / a.inner % a.channels; /* V divides inner */
        const float scale = tni_f32(((const T *)a.scale)[channel]), bias = tni_f32(((const T *)a.bias)[channel]);
        tni_load<V>(s, x + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            s[e] = (s[e] - mean - off) * inverse * scale + bias;
        tni_store<V>((T *)a.y + base + i, s);
    }
}

TnStatus tni_cuda_norm_groups(TnKernelCall *call, const TniCudaNormGroups *a, TnDtype type, const char *what) {
    if (a->rows > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "%s: %lld groups are more than one launch takes (%d)", what, (long long)a->rows,
                        INT32_MAX);
    TNI_FLOAT_SWITCH(type, T, {
        if (a->wide)
            (void)tni_launch_early(call->stream, tni_norm_groups_kernel<T, TniWide<T>::n>, (unsigned)a->rows, THREADS, 0, *a);
        else
            (void)tni_launch_early(call->stream, tni_norm_groups_kernel<T, 1>, (unsigned)a->rows, THREADS, 0, *a);
    });
    return tni_cuda_launched(call, what);
}

/* ---- batch_norm ---- */

/* LAST: neighbours are neighbouring channels; else they are of one channel (V divides inner). */
template <typename T, int V, bool LAST>
__global__ void __launch_bounds__(256) tni_norm_batch_kernel(const __grid_constant__ TniCudaBatchNorm a) {
    tni_start();
    const int64_t step = (int64_t)gridDim.x * 256 * V;
    for (int64_t i = ((int64_t)blockIdx.x * 256 + threadIdx.x) * V; i < a.n; i += step) {
        const int64_t channel = (LAST ? i : i / a.inner) % a.channels;
        float x[V], mean[V], variance[V], scale[V], bias[V];
        tni_load<V>(x, (const T *)a.x + i);
        if (LAST) {
            tni_load<V>(mean, (const T *)a.mean + channel);
            tni_load<V>(variance, (const T *)a.variance + channel);
            tni_load<V>(scale, (const T *)a.scale + channel);
            tni_load<V>(bias, (const T *)a.bias + channel);
        } else {
#pragma unroll
            for (int e = 0; e < V; e++) {
                mean[e] = tni_f32(((const T *)a.mean)[channel]);
                variance[e] = tni_f32(((const T *)a.variance)[channel]);
                scale[e] = tni_f32(((const T *)a.scale)[channel]);
                bias[e] = tni_f32(((const T *)a.bias)[channel]);
            }
        }
#pragma unroll
        for (int e = 0; e < V; e++)
            x[e] = (x[e] - mean[e]) * (scale[e] / sqrtf(variance[e] + a.epsilon)) + bias[e];
        tni_store<V>((T *)a.y + i, x);
    }
}

template <typename T, int V> static void batch_launch(TnKernelCall *call, const TniCudaBatchNorm &a) {
    const unsigned grid = tni_grid(call, a.n, 256 * V, 16);
    if (a.inner == 1)
        (void)tni_launch_early(call->stream, tni_norm_batch_kernel<T, V, true>, grid, 256, 0, a);
    else
        (void)tni_launch_early(call->stream, tni_norm_batch_kernel<T, V, false>, grid, 256, 0, a);
}

TnStatus tni_cuda_norm_batch(TnKernelCall *call, const TniCudaBatchNorm *a, TnDtype type) {
    TNI_FLOAT_SWITCH(type, T, {
        if (a->wide)
            batch_launch<T, TniWide<T>::n>(call, *a);
        else
            batch_launch<T, 1>(call, *a);
    });
    return tni_cuda_launched(call, "batch_norm");
}
