/* SPDX-License-Identifier: Apache-2.0
 *
 * layer_norm, add_layer_norm and rms_norm: P threads of a block share a row and hold it in registers, N pieces of V elements each; one
 * read, one write. P is 8 or 16 (short rows, several to a warp), 32, or 256 (a block a row). Rows longer than that are read three times,
 * from caches mostly. The second pass also sums the deviations: what the mean, rounded to f32, is off by (rows far from zero). y may be x:
 * a row is whole in registers, or read by the threads that write it, before it is written. */
#include "backend/cuda/norm/norm.h"

#define THREADS 128 /* of blocks that hold several rows */

/* Element i of the sum whose statistics are taken, V of them. */
template <typename T, int V> TNI_DEVICE void rows_read(const TniCudaNormRows &a, int64_t row, int i, float (&s)[V]) {
    float t[V];
    tni_load<V>(s, (const T *)a.x + row * a.n + i);
    if (a.x_bias != NULL) {
        tni_load<V>(t, (const T *)a.x_bias + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            s[e] += t[e];
    }
    if (a.residual != NULL) {
        tni_load<V>(t, (const T *)a.residual + row * a.n + i);
#pragma unroll
        for (int e = 0; e < V; e++)
            s[e] += t[e];
    }
}

/* mean - off is the mean: their difference may need more than 24 bits. */
typedef struct RowsStats {
    float mean, off, inverse;
} RowsStats;

TNI_DEVICE RowsStats rows_stats(const TniCudaNormRows &a, float mean, float deviations, float squares) {
    RowsStats r;
    r.mean = mean;
    r.off = a.rms ? 0.0f : deviations / (float)a.n;
    const float variance = squares / (float)a.n - r.off * r.off;
    r.inverse = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + a.epsilon); /* NaN stays */
    return r;
}

/* scale, bias: of these elements; not looked at where the norm has none. */
template <typename T, int V>
TNI_DEVICE void rows_write_with(const TniCudaNormRows &a, int64_t row, int i, RowsStats r, float (&s)[V], const TniVec<T, V> &scale,
                                const TniVec<T, V> &bias) {
    if (a.sum != NULL)
        tni_store<V>((T *)a.sum + row * a.n + i, s);
    if (a.y == NULL)
        return;
#pragma unroll
    for (int e = 0; e < V; e++) {
        s[e] = (s[e] - r.mean - r.off) * r.inverse;
        if (a.scale != NULL)
            s[e] *= tni_f32(scale.v[e]);
        if (a.bias != NULL)
            s[e] += tni_f32(bias.v[e]);
    }
    tni_store<V>((T *)a.y + row * a.n + i, s);
}

template <typename T, int V> TNI_DEVICE void rows_write(const TniCudaNormRows &a, int64_t row, int i, RowsStats r, float (&s)[V]) {
    TniVec<T, V> scale, bias;
    if (a.scale != NULL)
        scale = *reinterpret_cast<const TniVec<T, V> *>((const T *)a.scale + i);
    if (a.bias != NULL)
        bias = *reinterpret_cast<const TniVec<T, V> *>((const T *)a.bias + i);
    rows_write_with<T, V>(a, row, i, r, s, scale, bias);
}

/* This thread's pieces of a row, all of them under way at once. */
template <typename T, int V, int P, int N> TNI_DEVICE void rows_fetch(TniVec<T, V> (&v)[N], const void *p, int64_t first, int lane, int n) {
#pragma unroll
    for (int k = 0; k < N; k++)
        if ((k * P + lane) * V < n)
            v[k] = *reinterpret_cast<const TniVec<T, V> *>((const T *)p + first + (k * P + lane) * V);
}

/* Scale and bias come from far away while the work in front ends: they are weights, mostly. */
template <typename T, int V, int P, int N> TNI_DEVICE void rows_bring(const TniCudaNormRows &a, int lane) {
#pragma unroll
    for (int k = 0; k < N; k++) {
        const int i = (k * P + lane) * V;
        if (i < a.n && a.scale != NULL)
            tni_prefetch((const T *)a.scale + i);
        if (i < a.n && a.bias != NULL)
            tni_prefetch((const T *)a.bias + i);
    }
}

/* Two sums, their exchanges side by side. */
template <int P> TNI_DEVICE void rows_sums(float &v, float &w, float *shared) {
    if constexpr (P <= 32) {
#pragma unroll
        for (int step = P / 2; step > 0; step /= 2) {
            const float x = __shfl_xor_sync(TNI_ALL, v, step), y = __shfl_xor_sync(TNI_ALL, w, step);
            v += x;
            w += y;
        }
    } else {
        v = tni_block_sum(v, shared);
        w = tni_block_sum(w, shared);
    }
}

template <int P> TNI_DEVICE float rows_sum(float v, float *shared) {
    if constexpr (P <= 32)
        return tni_warp_sum<P>(v);
    else
        return tni_block_sum(v, shared);
}

template <typename T, int V, int P, int N>
__global__ void __launch_bounds__(P > 32 ? P : THREADS) tni_norm_rows_kernel(const __grid_constant__ TniCudaNormRows a) {
    constexpr int ROWS = P > 32 ? 1 : THREADS / P;
    __shared__ float shared[32];
    const int lane = (int)threadIdx.x % P;
    const int64_t at = (int64_t)blockIdx.x * ROWS + (int)threadIdx.x / P, row = at < a.rows ? at : a.rows - 1; /* all lanes shuffle */
    constexpr bool EARLY = V > 1 && N * V * (int)sizeof(T) <= 64; /* scale and bias are fetched while the sums wait for x; few registers */
    float s[N][V], total = 0.0f, mean = 0.0f, deviations = 0.0f, squares = 0.0f;
    TniVec<T, V> x[N], more[N], scale[N], bias[N];
    if ((int)threadIdx.x < P && lane * V * (int)sizeof(T) % 128 == 0)
        rows_bring<T, V, P, N>(a, lane);
    tni_start();
    rows_fetch<T, V, P, N>(x, a.x, row * a.n, lane, a.n);
    if (a.residual != NULL)
        rows_fetch<T, V, P, N>(more, a.residual, row * a.n, lane, a.n);
    if (EARLY && a.scale != NULL)
        rows_fetch<T, V, P, N>(scale, a.scale, 0, lane, a.n);
    if (EARLY && a.bias != NULL)
        rows_fetch<T, V, P, N>(bias, a.bias, 0, lane, a.n);
#pragma unroll
    for (int k = 0; k < N; k++) {
        const int i = (k * P + lane) * V;
#pragma unroll
        for (int e = 0; e < V; e++)
            s[k][e] = tni_f32(x[k].v[e]);
        if (a.x_bias != NULL && i < a.n) {
            float t[V];
            tni_load<V>(t, (const T *)a.x_bias + i);
#pragma unroll
            for (int e = 0; e < V; e++)
                s[k][e] += t[e];
        }
#pragma unroll
        for (int e = 0; e < V; e++) {
            s[k][e] += a.residual != NULL ? tni_f32(more[k].v[e]) : 0.0f;
            total += i < a.n ? s[k][e] : 0.0f;
        }
    }
    if (!a.rms)
        mean = rows_sum<P>(total, shared) / (float)a.n;
#pragma unroll
    for (int k = 0; k < N; k++)
#pragma unroll
        for (int e = 0; e < V; e++)
            if ((k * P + lane) * V < a.n) {
                const float d = s[k][e] - mean;
                deviations += d;
                squares = fmaf(d, d, squares);
            }
    rows_sums<P>(deviations, squares, shared);
    const RowsStats r = rows_stats(a, mean, deviations, squares);
    if (at >= a.rows)
        return;
#pragma unroll
    for (int k = 0; k < N; k++) {
        const int i = (k * P + lane) * V;
        if (i >= a.n)
            continue;
        if (EARLY)
            rows_write_with<T, V>(a, row, i, r, s[k], scale[k], bias[k]);
        else
            rows_write<T, V>(a, row, i, r, s[k]);
    }
}

template <typename T, int V> __global__ void __launch_bounds__(512) tni_norm_long_kernel(const __grid_constant__ TniCudaNormRows a) {
    tni_start();
    __shared__ float shared[32];
    const int64_t row = blockIdx.x;
    const int step = (int)blockDim.x * V, first = (int)threadIdx.x * V;
    float s[V], total = 0.0f, mean = 0.0f, deviations = 0.0f, squares = 0.0f;
    for (int i = first; i < a.n && !a.rms; i += step) {
        rows_read<T, V>(a, row, i, s);
#pragma unroll
        for (int e = 0; e < V; e++)
            total += s[e];
    }
    if (!a.rms)
        mean = tni_block_sum(total, shared) / (float)a.n;
    for (int i = first; i < a.n; i += step) {
        rows_read<T, V>(a, row, i, s);
#pragma unroll
        for (int e = 0; e < V; e++) {
            const float d = s[e] - mean;
            deviations += d;
            squares = fmaf(d, d, squares);
        }
    }
    deviations = tni_block_sum(deviations, shared);
    const RowsStats r = rows_stats(a, mean, deviations, tni_block_sum(squares, shared));
    for (int i = first; i < a.n; i += step) {
        rows_read<T, V>(a, row, i, s);
        rows_write<T, V>(a, row, i, r, s);
    }
}

template <typename T, int V, int P, int N> static void rows_launch(const TniCudaNormRows &a, const TnStream *s) {
    constexpr int ROWS = P > 32 ? 1 : THREADS / P;
    (void)tni_launch_early(s, tni_norm_rows_kernel<T, V, P, N>, (unsigned)tni_div_up(a.rows, ROWS), P > 32 ? P : THREADS, 0, a);
}

/* The smallest kernel that holds the row. Where there are rows enough for the whole GPU, few threads a row with several pieces each: more
 * bytes are under way and sums are shorter; where there are not, a warp a row is done sooner. */
template <typename T, int V> static void rows_by_length(const TniCudaNormRows &a, const TnStream *s) {
    if constexpr (V > 1) {
        const int pieces = a.n / V;
        const bool many = a.rows >= (int64_t)s->dev->info.sm_count * (4 * THREADS / 8);
        if (pieces <= 8)
            rows_launch<T, V, 8, 1>(a, s);
        else if (pieces <= 16)
            rows_launch<T, V, 8, 2>(a, s);
        else if (pieces <= 32 && !many)
            rows_launch<T, V, 32, 1>(a, s);
        else if (pieces <= 32)
            rows_launch<T, V, 8, 4>(a, s);
        else if (pieces <= 40 && many)
            rows_launch<T, V, 8, 5>(a, s);
        else if (pieces <= 48 && many)
            rows_launch<T, V, 16, 3>(a, s);
        else if (pieces <= 64 && many)
            rows_launch<T, V, 16, 4>(a, s);
        else if (pieces <= 64)
            rows_launch<T, V, 32, 2>(a, s);
        else if (pieces <= 96)
            rows_launch<T, V, 32, 3>(a, s);
        else if (pieces <= 128)
            rows_launch<T, V, 32, 4>(a, s);
        else if (V == 4 && pieces <= 192)
            rows_launch<T, V, 32, V == 4 ? 6 : 4>(a, s);
        else if (pieces <= 256)
            rows_launch<T, V, 256, 1>(a, s);
        else if (pieces <= 512)
            rows_launch<T, V, 256, 2>(a, s);
        else if (V == 4 && pieces <= 1024)
            rows_launch<T, V, 256, V == 4 ? 4 : 2>(a, s);
        else
            (void)tni_launch_early(s, tni_norm_long_kernel<T, V>, (unsigned)a.rows, 512, 0, a);
    } else {
        if (a.n <= 128)
            rows_launch<T, 1, 32, 4>(a, s);
        else if (a.n <= 1024)
            rows_launch<T, 1, 256, 4>(a, s);
        else if (a.n <= 4096)
            rows_launch<T, 1, 256, 16>(a, s);
        else
            (void)tni_launch_early(s, tni_norm_long_kernel<T, 1>, (unsigned)a.rows, 512, 0, a);
    }
}

TnStatus tni_cuda_norm_rows(TnKernelCall *call, const TniCudaNormRows *a, TnDtype type, const char *what) {
    if (a->rows > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "%s: %lld rows are more than one launch takes (%d)", what, (long long)a->rows,
                        INT32_MAX);
    TNI_FLOAT_SWITCH(type, T, {
        if (a->wide)
            rows_by_length<T, TniWide<T>::n>(*a, call->stream);
        else
            rows_by_length<T, 1>(*a, call->stream);
    });
    return tni_cuda_launched(call, what);
}
