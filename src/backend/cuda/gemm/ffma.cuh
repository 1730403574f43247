/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of f32 with FFMA: every product and sum rounded to f32 only. Loaders and results as in mma.cuh.
 *
 * 256 threads; thread (tx, ty) of 16 x 16 has rows 64 g + 4 ty .. + 3 and columns 64 h + 4 tx .. + 3 of the tile. Tiles of A and B are
 * [16][rows] in shared memory, element (k, r) at column r ^ (8 (k / 4)): 16-byte pieces along K are stored without bank conflicts. */
#ifndef TENON_BACKEND_CUDA_GEMM_FFMA_CUH
#define TENON_BACKEND_CUDA_GEMM_FFMA_CUH

#include "backend/cuda/gemm/mma.cuh"

#define TNI_FFMA_BK 16

template <int BM_, int BN_> struct TniFfmaCfg {
    static constexpr int BM = BM_, BN = BN_, THREADS = 256, GM = BM / 64, GN = BN / 64;
    static constexpr int BYTES = 2 * (BM + BN) * TNI_FFMA_BK * 4;
};

template <int G, typename L> TNI_DEVICE void tni_ffma_fetch(uint4 (&v)[G], const L &l, const typename L::Row (&rows)[G], int32_t k0) {
#pragma unroll
    for (int i = 0; i < G; i++)
        v[i] = tni_fetch16<float>(l, rows[i], k0 + ((int)threadIdx.x & 3) * 4);
}

template <int ROWS, int G> TNI_DEVICE void tni_ffma_put(float *tile, const uint4 (&v)[G]) {
    const int p = (int)threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < G; i++) {
        const int c = (((int)threadIdx.x >> 2) + i * 64) ^ (p * 8);
        tile[(4 * p + 0) * ROWS + c] = __uint_as_float(v[i].x);
        tile[(4 * p + 1) * ROWS + c] = __uint_as_float(v[i].y);
        tile[(4 * p + 2) * ROWS + c] = __uint_as_float(v[i].z);
        tile[(4 * p + 3) * ROWS + c] = __uint_as_float(v[i].w);
    }
}

/* A quad of columns of one row. */
template <typename O>
TNI_DEVICE void tni_ffma_finish(const TniEpi &e, const O &o, float *y, const float (&sum)[4], int32_t r, int32_t c, int32_t m, int32_t n,
                                bool quad) {
    if (r >= m || c >= n)
        return;
    const float *res = (const float *)e.residual;
    float v[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = c + i < n ? fmaf(sum[i], e.alpha, tni_bias_at<float>(e, r, c + i, n)) : 0.0f;
    tni_act_apply<true>(e.act, v);
    if (quad) {
        const int64_t at = o.at(r, c);
        if (res != NULL) {
            const float4 x = *reinterpret_cast<const float4 *>(res + at);
            v[0] += x.x;
            v[1] += x.y;
            v[2] += x.z;
            v[3] += x.w;
        }
        *reinterpret_cast<float4 *>(y + at) = make_float4(v[0], v[1], v[2], v[3]);
        return;
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
        if (c + i < n) {
            const int64_t at = o.at(r, c + i);
            y[at] = res != NULL ? v[i] + res[at] : v[i];
        }
    }
}

template <typename C, typename LA, typename LB, typename O>
TNI_DEVICE void tni_ffma_tile(const LA &la, const LB &lb, const O &o, const TniEpi &e, float *y, int32_t m, int32_t n, int32_t k, bool quad,
                              int32_t row0, int32_t col0, float *smem) {
    constexpr int A_SIZE = C::BM * TNI_FFMA_BK, B_SIZE = C::BN * TNI_FFMA_BK;
    float *as = smem, *bs = smem + 2 * A_SIZE;
    const int tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    typename LA::Row ra[C::GM];
    typename LB::Row rb[C::GN];
    uint4 va[C::GM], vb[C::GN];
#pragma unroll
    for (int i = 0; i < C::GM; i++)
        ra[i] = la.row(row0 + ((int)threadIdx.x >> 2) + i * 64);
#pragma unroll
    for (int i = 0; i < C::GN; i++)
        rb[i] = lb.row(col0 + ((int)threadIdx.x >> 2) + i * 64);
    float acc[C::GM][4][C::GN][4] = {};
    const int32_t steps = (k + TNI_FFMA_BK - 1) / TNI_FFMA_BK;
    if (steps > 0) {
        tni_ffma_fetch(va, la, ra, 0);
        tni_ffma_fetch(vb, lb, rb, 0);
        tni_ffma_put<C::BM>(as, va);
        tni_ffma_put<C::BN>(bs, vb);
    }
    __syncthreads();
    for (int32_t s = 0; s < steps; s++) {
        const float *a = as + (s & 1) * A_SIZE, *b = bs + (s & 1) * B_SIZE;
        if (s + 1 < steps) {
            tni_ffma_fetch(va, la, ra, (s + 1) * TNI_FFMA_BK);
            tni_ffma_fetch(vb, lb, rb, (s + 1) * TNI_FFMA_BK);
        }
#pragma unroll
        for (int kk = 0; kk < TNI_FFMA_BK; kk++) {
            float fa[C::GM][4], fb[C::GN][4];
#pragma unroll
            for (int g = 0; g < C::GM; g++)
                *reinterpret_cast<float4 *>(fa[g]) =
                    *reinterpret_cast<const float4 *>(a + kk * C::BM + ((g * 64 + ty * 4) ^ ((kk / 4) * 8)));
#pragma unroll
            for (int g = 0; g < C::GN; g++)
                *reinterpret_cast<float4 *>(fb[g]) =
                    *reinterpret_cast<const float4 *>(b + kk * C::BN + ((g * 64 + tx * 4) ^ ((kk / 4) * 8)));
#pragma unroll
            for (int g = 0; g < C::GM; g++)
#pragma unroll
                for (int i = 0; i < 4; i++)
#pragma unroll
                    for (int h = 0; h < C::GN; h++)
#pragma unroll
                        for (int j = 0; j < 4; j++)
                            acc[g][i][h][j] = fmaf(fa[g][i], fb[h][j], acc[g][i][h][j]);
        }
        if (s + 1 < steps) {
            tni_ffma_put<C::BM>(as + ((s + 1) & 1) * A_SIZE, va);
            tni_ffma_put<C::BN>(bs + ((s + 1) & 1) * B_SIZE, vb);
        }
        __syncthreads();
    }
#pragma unroll
    for (int g = 0; g < C::GM; g++)
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int h = 0; h < C::GN; h++)
                tni_ffma_finish(e, o, y, acc[g][i][h], row0 + g * 64 + ty * 4 + i, col0 + h * 64 + tx * 4, m, n, quad);
}

#endif
