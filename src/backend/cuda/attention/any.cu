/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of any type, stride and head size up to 1024, plainly: a block has one query, its threads have one key each for the scores and
 * one element each for the output. The last resort, and what the other kernels can be compared with on the device. */
#include "backend/cuda/attention/tile.cuh"

#define THREADS 128
#define MOST 1024 /* head size */

/* Scores of keys j0 .. j0 + THREADS become probabilities relative to the running maximum; returns what earlier sums are multiplied with. */
template <typename T>
TNI_DEVICE float any_scores(const TniCudaAttn &a, int b, int h, int i, int j0, const float *q, float *p, float *max, float *sum, float *work) {
    const int j = j0 + (int)threadIdx.x;
    float s = -INFINITY;
    if (j < a.sk && (!a.causal || j <= i + a.sk - a.sq)) {
        const T *k = (const T *)a.k.p + b * a.k.sb + h / a.group * a.k.sh + j * a.k.ss;
        float dot = 0.0f;
        for (int e = 0; e < a.d; e++)
            dot = fmaf(q[e], tni_f32(k[e * a.k.sd]), dot);
        s = fmaf(dot, a.scale, attn_bias_sum<T>(a, b, h, i, j, false)) + attn_bias_sum<T>(a, b, h, i, j, true);
    }
    const float m = fmaxf(*max, tni_block_max(s, work)), zero = m == -INFINITY ? 0.0f : m, fade = expf(*max - zero);
    p[threadIdx.x] = expf(s - zero);
    *max = m;
    *sum = fmaf(*sum, fade, tni_block_sum(p[threadIdx.x], work)); /* its barriers publish p */
    return fade;
}

template <typename T> __global__ void __launch_bounds__(THREADS) tni_attn_any_kernel(const __grid_constant__ TniCudaAttn a) {
    __shared__ float q[MOST], p[THREADS], work[32];
    const int64_t total = (int64_t)a.b * a.h * a.sq;
    for (int64_t at = blockIdx.x; at < total; at += gridDim.x) {
        const int i = (int)(at % a.sq), h = (int)(at / a.sq % a.h), b = (int)(at / a.sq / a.h);
        const T *qp = (const T *)a.q.p + b * a.q.sb + h * a.q.sh + i * a.q.ss;
        const T *vp = (const T *)a.v.p + b * a.v.sb + h / a.group * a.v.sh;
        for (int e = (int)threadIdx.x; e < a.d; e += THREADS)
            q[e] = tni_f32(qp[e]);
        __syncthreads();
        float max = -INFINITY, sum = 0.0f, o[MOST / THREADS];
#pragma unroll
        for (int u = 0; u < MOST / THREADS; u++)
            o[u] = 0.0f;
        for (int j0 = 0; j0 < a.sk; j0 += THREADS) {
            const float fade = any_scores<T>(a, b, h, i, j0, q, p, &max, &sum, work);
            const int n = min(THREADS, a.sk - j0);
#pragma unroll
            for (int u = 0; u < MOST / THREADS; u++) {
                const int e = (int)threadIdx.x + u * THREADS;
                if (e >= a.dv)
                    break;
                o[u] *= fade;
                for (int j = 0; j < n; j++)
                    o[u] = fmaf(p[j], tni_f32(vp[(j0 + j) * a.v.ss + e]), o[u]);
            }
            __syncthreads();
        }
        T *y = (T *)a.out + b * a.out_sb + h * a.out_sh + i * a.out_ss;
#pragma unroll
        for (int u = 0; u < MOST / THREADS; u++)
            if ((int)threadIdx.x + u * THREADS < a.dv)
                y[threadIdx.x + u * THREADS] = tni_from_f32<T>(o[u] / sum);
        __syncthreads();
    }
}

TnStatus tni_cuda_attn_any(TnKernelCall *call, const TniCudaAttn *a, TnDtype type) {
    const int64_t blocks = (int64_t)a->b * a->h * a->sq;
    if (blocks == 0)
        return TN_OK;
    const unsigned grid = (unsigned)(blocks < INT32_MAX ? blocks : INT32_MAX);
    TNI_FLOAT_SWITCH(type, T, tni_attn_any_kernel<T><<<grid, THREADS, 0, call->stream->s>>>(*a));
    return tni_cuda_launched(call, "attention_any");
}
