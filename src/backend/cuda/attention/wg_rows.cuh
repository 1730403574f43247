/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic of a consumer warpgroup of wg.cuh on what it has in registers: biases, softmax, output. A thread has rows i = 0, 1 (lane / 4
 * of its warp's sixteen and 8 further down) and of every eight columns two: s[4 n + 2 i + e] is column 8 n + 2 (lane % 4) + e. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_WG_ROWS_CUH
#define TENON_BACKEND_CUDA_ATTENTION_WG_ROWS_CUH

#include "backend/cuda/attention/tile.cuh"
#include "backend/cuda/attention/wg.h"
#include "backend/cuda/attention/wgmma.cuh"

#define ATTN_WG_BOX_BYTES (64 * TNI_ATTN_WG_BOX * 2)

/* Rows i = 0, 1 of this thread. */
struct AttnWgRows {
    float ref[2], off[2], sum[2]; /* reference maximum; times c; sum over this thread's keys */
    bool far;                     /* off would be rounded too much in some row of the warp: references are subtracted */
};

template <typename T> TNI_DEVICE uint32_t attn_wg_times(uint32_t w, float f);
template <> __device__ __forceinline__ uint32_t attn_wg_times<__half>(uint32_t w, float f) {
    const __half2 v = __hmul2(*reinterpret_cast<const __half2 *>(&w), __float2half2_rn(f));
    return *reinterpret_cast<const uint32_t *>(&v);
}
template <> __device__ __forceinline__ uint32_t attn_wg_times<__nv_bfloat16>(uint32_t w, float f) {
    const __nv_bfloat162 v = __hmul2(*reinterpret_cast<const __nv_bfloat162 *>(&w), __float2bfloat162_rn(f));
    return *reinterpret_cast<const uint32_t *>(&v);
}
template <typename T> TNI_DEVICE float2 attn_wg_pair(uint32_t w);
template <> __device__ __forceinline__ float2 attn_wg_pair<__half>(uint32_t w) {
    return __half22float2(*reinterpret_cast<const __half2 *>(&w));
}
template <> __device__ __forceinline__ float2 attn_wg_pair<__nv_bfloat16>(uint32_t w) {
    return make_float2(__uint_as_float(w << 16), __uint_as_float(w & 0xffff0000u));
}

/* The bias of 64 queries and a tile of keys lies in boxes of 32 keys: 64 rows of 64 bytes, whose 16-byte piece c lies at piece
 * c ^ (row / 2) % 4. Where in a box lane l of a warp finds the row that it gives an ldmatrix of two groups of eight keys: row l % 16 of the
 * warp's, group l / 16. The eight rows of a matrix lie in different banks. */
TNI_DEVICE uint32_t attn_wg_bias_lane(void) {
    const uint32_t row = threadIdx.x & 15, half = (threadIdx.x >> 4) & 1;
    return (((threadIdx.x >> 5) & 3) * 16 + row) * 64 + ((half ^ ((row >> 1) & 3)) << 4);
}

/* s = biases of N keys, `from` being a multiple of 16. vec: address of this thread's first column in the vector; tile: of the tile's
 * first box, with this lane's place added. */
template <typename T, int N> TNI_DEVICE void attn_wg_begin(float (&s)[N / 2], uint32_t vec, uint32_t tile, int from, float unit) {
#pragma unroll
    for (int n = 0; n < N / 8; n += 2) {
        const uint32_t group = (uint32_t)(from / 8 + n);
        uint32_t w[4]; /* rows 0, 8 of the first group, of the second */
        tni_ldmatrix4(w, (tile + group / 4 * ATTN_WG_BOX_BYTES) ^ (group & 2) << 4);
#pragma unroll
        for (int u = 0; u < 2; u++) {
            const float2 v = attn_lds_pair(vec + (n + u) * 32);
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const float2 b = attn_wg_pair<T>(w[2 * u + i]);
                s[4 * (n + u) + 2 * i] = fmaf(b.x, unit, v.x);
                s[4 * (n + u) + 2 * i + 1] = fmaf(b.y, unit, v.y);
            }
        }
    }
}

/* Rows that hide everything by large finite biases (-65504) would lose their scores' low bits in the sums: the largest bias of such a row
 * is taken off before and counted again in the end. Beyond -1e6 f32 keeps nothing of a score. */
template <int N> TNI_DEVICE void attn_wg_center(float (&s)[N / 2], float (&center)[2]) {
    unsigned all = 0; /* bit 4 g: four columns of row g hide */
#pragma unroll
    for (int i = 0; i < 2; i++) {
        unsigned m = __ballot_sync(TNI_ALL, s[2 * i] < -1024.0f);
        m &= m >> 1;
        all |= m & m >> 2 & 0x11111111u;
        center[i] = 0.0f;
    }
    if (all == 0)
        return;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        float most = s[2 * i];
#pragma unroll
        for (int n = 0; n < N / 8; n++)
            most = fmaxf(most, fmaxf(s[4 * n + 2 * i], s[4 * n + 2 * i + 1]));
        most = fmaxf(most, __shfl_xor_sync(TNI_ALL, most, 1));
        most = fmaxf(most, __shfl_xor_sync(TNI_ALL, most, 2));
        center[i] = most < -1024.0f && most > -1e6f ? most : 0.0f;
#pragma unroll
        for (int n = 0; n < N / 8; n++) {
            s[4 * n + 2 * i] -= center[i];
            s[4 * n + 2 * i + 1] -= center[i];
        }
    }
}

/* Products -> scores: times scale, plus biases by key. */
template <int N> TNI_DEVICE void attn_wg_by_key(float (&s)[N / 2], uint32_t vec, float scale) {
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        const float2 v = attn_lds_pair(vec + n * 32);
#pragma unroll
        for (int i = 0; i < 4; i++)
            s[4 * n + i] = fmaf(s[4 * n + i], scale, (i & 1) != 0 ? v.y : v.x);
    }
}

/* Hides columns beyond the last one that each row sees. */
template <int N> TNI_DEVICE void attn_wg_hide(float (&s)[N / 2], const int (&last)[2]) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++)
            if (n * 8 + t * 2 + (i & 1) > last[i >> 1])
                s[4 * n + i] = -INFINITY;
}

/* References and sums follow the maxima; fade: what the output so far has to be multiplied with. */
TNI_DEVICE void attn_wg_follow(AttnWgRows &r, const float (&most)[2], float c, float (&fade)[2]) {
    bool far = false;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        const float ref = fmaxf(r.ref[i], most[i]), zero = ref == -INFINITY ? 0.0f : ref;
        fade[i] = attn_exp2((r.ref[i] - zero) * c);
        r.sum[i] *= fade[i];
        r.ref[i] = ref;
        r.off[i] = zero * c;
        far = far || !(fabsf(r.off[i]) < 131072.0f);
    }
    r.far = __any_sync(TNI_ALL, far) != 0;
}

/* Scores (less center) to probabilities times a factor of the row; sums are brought up to date. True: the output must be multiplied by
 * fade. */
template <int N>
TNI_DEVICE bool attn_wg_soften(float (&s)[N / 2], const float (&center)[2], AttnWgRows &r, float c, float grow, float (&fade)[2]) {
    float most[2];
#pragma unroll
    for (int i = 0; i < 2; i++) {
        most[i] = fmaxf(s[2 * i], s[2 * i + 1]);
#pragma unroll
        for (int n = 1; n < N / 8; n++)
            most[i] = fmaxf(most[i], fmaxf(s[4 * n + 2 * i], s[4 * n + 2 * i + 1]));
        most[i] = fmaxf(most[i], __shfl_xor_sync(TNI_ALL, most[i], 1));
        most[i] = fmaxf(most[i], __shfl_xor_sync(TNI_ALL, most[i], 2)) + center[i];
    }
    const bool grown = __any_sync(TNI_ALL, most[0] > r.ref[0] + grow || most[1] > r.ref[1] + grow) != 0;
    if (grown)
        attn_wg_follow(r, most, c, fade);
    float off[2] = {r.off[0], r.off[1]};
    if (r.far || center[0] != 0.0f || center[1] != 0.0f) {
#pragma unroll
        for (int i = 0; i < 2; i++) {
            const float zero = (r.ref[i] == -INFINITY ? 0.0f : r.ref[i]) - center[i];
            off[i] = 0.0f;
#pragma unroll
            for (int n = 0; n < N / 8; n++) {
                s[4 * n + 2 * i] -= zero;
                s[4 * n + 2 * i + 1] -= zero;
            }
        }
    }
    float add[2] = {0.0f, 0.0f};
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            s[4 * n + i] = attn_exp2(fmaf(s[4 * n + i], c, -off[i >> 1]));
            add[i >> 1] += s[4 * n + i];
        }
    r.sum[0] += add[0];
    r.sum[1] += add[1];
    return grown;
}

template <typename T, int N> TNI_DEVICE void attn_wg_narrow(uint32_t (&p)[N / 16][4], const float (&s)[N / 2]) {
#pragma unroll
    for (int k = 0; k < N / 16; k++)
#pragma unroll
        for (int r = 0; r < 4; r++)
            p[k][r] = attn_pack<T>(s[8 * k + 2 * r], s[8 * k + 2 * r + 1]);
}

template <int N> TNI_DEVICE void attn_wg_scale(float (&o)[N], const float (&fade)[2]) {
#pragma unroll
    for (int i = 0; i < N; i++)
        o[i] *= fade[(i >> 1) & 1];
}

/* y: row i = 0 of this thread, first column; n: queries from this row on. */
template <typename T, int D> TNI_DEVICE void attn_wg_store(T *y, int64_t ss, int n, AttnWgRows &r, const float (&o)[D / 2]) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < 2; i++) {
        r.sum[i] += __shfl_xor_sync(TNI_ALL, r.sum[i], 1);
        r.sum[i] += __shfl_xor_sync(TNI_ALL, r.sum[i], 2);
        const float f = 1.0f / r.sum[i];
#pragma unroll
        for (int c = 0; c < D / 8; c += 4) {
            uint32_t w[4];
#pragma unroll
            for (int u = 0; u < 4; u++)
                w[u] = attn_pack<T>(o[4 * (c + u) + 2 * i] * f, o[4 * (c + u) + 2 * i + 1] * f);
            attn_turn(w);
            if (8 * i < n)
                tni_store16(y + 8 * i * ss + (c + t) * 8, make_uint4(w[0], w[1], w[2], w[3]));
        }
    }
}

#endif
