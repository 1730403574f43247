/* SPDX-License-Identifier: Apache-2.0
 *
 * The wgmma kernel for few tiles (wgmma.h): S blocks of a cluster multiply a part of K each; then block r of the cluster sums its columns
 * [r BN / S, (r + 1) BN / S) of the tile: its own sums first, then those of blocks r + 1, r + 2, ... (modulo S), which lie in their shared
 * memory. Always in this order, so results are the same on every run.
 *
 * Warps 0 .. 4 WGS - 1 multiply, one more keeps the ring of tiles filled. Shared memory: STAGES x (A tile, B tile), bias [BN], barriers;
 * after the products the ring holds the sums, thread t's four of column group j at (j threads + t) * 16 bytes, and behind them results of
 * 16 bits (before: the residual) on their way to pieces of 16 bytes. */
#ifndef TENON_BACKEND_CUDA_GEMM_WGMMA_SPLIT_CUH
#define TENON_BACKEND_CUDA_GEMM_WGMMA_SPLIT_CUH

#include "backend/cuda/gemm/epilogue.cuh"
#include "backend/cuda/gemm/hopper.cuh"
#include "backend/cuda/gemm/wgmma.h"

template <typename T, int WGS_, int BN_, int STAGES_, int S_> struct TniSplitCfg {
    static constexpr int WGS = WGS_, BN = BN_, STAGES = STAGES_, S = S_;
    static constexpr int BM = 64 * WGS, BK = 128 / (int)sizeof(T), THREADS = 128 * WGS;
    static constexpr int GROUPS = BN / 8 / S; /* column groups of 8 that a block finishes */
    static constexpr uint32_t A_BYTES = BM * 128, STAGE_BYTES = (BM + BN) * 128;
    static constexpr uint32_t BIAS = STAGES * STAGE_BYTES, BARS = BIAS + BN * 4, BYTES = BARS + 2 * STAGES * 8;
    static constexpr uint32_t OUT = BM * BN * 4, OUT_ROW = GROUPS * 16 + 16; /* a row of results; 16 more: rows fall into different banks */
    static constexpr bool WIDE = sizeof(T) == 2 && GROUPS >= 2;
    static constexpr int PIECES = WIDE ? GROUPS / 2 : 1; /* of 16 bytes of y, a thread */
    static_assert(BN <= THREADS && BN / 8 % S == 0 && OUT + BM * OUT_ROW <= BIAS && BYTES <= 232448, "configuration");
};

/* One thread makes the barriers and fills the empty ring before the others even know of it: B, when it is a constant, before the kernels
 * in front of this one are done. */
template <typename T, typename C>
TNI_DEVICE void tni_split_begin(const CUtensorMap *ma, const CUtensorMap *mb, const TniWgSplitArgs &p, uint32_t base, int32_t first,
                                int32_t last, int32_t row, int32_t col) {
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8;
    const int32_t n = min((int32_t)C::STAGES, last - first);
    for (uint32_t i = 0; i < C::STAGES; i++) {
        tni_mbar_init(full + i * 8, 1);
        tni_mbar_init(empty + i * 8, 4 * C::WGS);
    }
    tni_mbar_init_done();
    tni_proxy_fence();
    tni_tma_prefetch(ma);
    if (p.b_constant == 0)
        tni_after();
    for (int32_t i = 0; i < n; i++) {
        tni_mbar_expect(full + (uint32_t)i * 8, C::STAGE_BYTES);
        tni_tma_load(base + (uint32_t)i * C::STAGE_BYTES + C::A_BYTES, mb, full + (uint32_t)i * 8, (first + i) * C::BK, col * C::BN);
    }
    if (p.b_constant != 0)
        tni_after();
    for (int32_t i = 0; i < n; i++)
        tni_tma_load(base + (uint32_t)i * C::STAGE_BYTES, ma, full + (uint32_t)i * 8, (first + i) * C::BK, row * C::BM);
}

/* What did not fit into the ring at once. */
template <typename T, typename C>
TNI_DEVICE void tni_split_produce(const CUtensorMap *ma, const CUtensorMap *mb, uint32_t base, int32_t first, int32_t last, int32_t row,
                                  int32_t col) {
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8;
    uint32_t stage = 0, phase = 0;
    for (int32_t kb = first + C::STAGES; kb < last; kb++) {
        const uint32_t a = base + stage * C::STAGE_BYTES;
        tni_mbar_wait(empty + stage * 8, phase);
        tni_mbar_expect(full + stage * 8, C::STAGE_BYTES);
        tni_tma_load(a, ma, full + stage * 8, kb * C::BK, row * C::BM);
        tni_tma_load(a + C::A_BYTES, mb, full + stage * 8, kb * C::BK, col * C::BN);
        if (++stage == C::STAGES) {
            stage = 0;
            phase ^= 1;
        }
    }
}

template <typename T, typename C>
TNI_DEVICE void tni_split_multiply(float (&acc)[C::BN / 2], uint32_t base, int32_t blocks) {
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8, lane = threadIdx.x & 31;
    const uint32_t a_at = base + (threadIdx.x >> 7) * 64 * 128, b_at = base + C::A_BYTES;
    uint32_t stage = 0, phase = 0, before = 0;
    for (int32_t kb = 0; kb < blocks; kb++) {
        tni_mbar_wait(full + stage * 8, phase);
        tni_wg_fence();
        const uint64_t da = tni_wg_desc(a_at + stage * C::STAGE_BYTES), db = tni_wg_desc(b_at + stage * C::STAGE_BYTES);
#pragma unroll
        for (int ks = 0; ks < 4; ks++)
            TniWgmma<T, C::BN>::go(acc, da + ks * 2, db + ks * 2, ks != 0 ? 1 : kb);
        tni_wg_commit();
        tni_wg_wait<1>();
        if (kb > 0 && lane == 0)
            tni_mbar_arrive(empty + before * 8);
        before = stage;
        if (++stage == C::STAGES) {
            stage = 0;
            phase ^= 1;
        }
    }
    tni_wg_wait<0>();
    tni_wg_hold(acc);
}

/* Elements col, col + 1 of a row; second: col + 1 is there. */
template <typename T> TNI_DEVICE float2 tni_load_pair(const T *p, bool pair, bool second) {
    float2 v = {0.0f, 0.0f};
    if (pair) {
        const TniVec<T, 2> x = *reinterpret_cast<const TniVec<T, 2> *>(p);
        v = make_float2(tni_f32(x.v[0]), tni_f32(x.v[1]));
    } else {
        v.x = tni_f32(p[0]);
        if (second)
            v.y = tni_f32(p[1]);
    }
    return v;
}
template <typename T> TNI_DEVICE void tni_store_pair(T *p, float x, float y, bool pair, bool second) {
    if (pair) {
        TniVec<T, 2> v;
        v.v[0] = tni_from_f32<T>(x);
        v.v[1] = tni_from_f32<T>(y);
        *reinterpret_cast<TniVec<T, 2> *>(p) = v;
    } else {
        p[0] = tni_from_f32<T>(x);
        if (second)
            p[1] = tni_from_f32<T>(y);
    }
}

/* sum: GROUPS column groups from column `col` of y on. A few groups at a time: all their residuals are on their way at once. */
template <typename T, typename C>
TNI_DEVICE void tni_split_finish(const TniWgSplitArgs &p, const float (&sum)[C::GROUPS * 4], const float *bias, int32_t row, int32_t col) {
    constexpr int G = C::GROUPS < 4 ? C::GROUPS : 4;
    const int32_t lane = (int32_t)threadIdx.x & 31;
    const int32_t r0 = row + ((int32_t)threadIdx.x >> 5) * 16 + (lane >> 2), c0 = (lane & 3) * 2;
    const T *res = (const T *)p.epi.residual;
#pragma unroll
    for (int first = 0; first < C::GROUPS; first += G) {
        float2 extra[G * 2];
        float v[G * 4];
#pragma unroll
        for (int g = 0; g < G; g++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int32_t r = r0 + 8 * i, c = col + 8 * (first + g) + c0;
                const float *b = bias + 8 * (first + g) + c0;
                extra[2 * g + i] = make_float2(0.0f, 0.0f);
                if (res != NULL && r < p.m && c < p.n)
                    extra[2 * g + i] = tni_load_pair(res + (int64_t)r * p.n + c, p.pair != 0, c + 1 < p.n);
                v[4 * g + 2 * i] = fmaf(sum[4 * (first + g) + 2 * i], p.epi.alpha, b[0]);
                v[4 * g + 2 * i + 1] = fmaf(sum[4 * (first + g) + 2 * i + 1], p.epi.alpha, b[1]);
            }
        }
        tni_act_of<T>(p.epi.act, v);
#pragma unroll
        for (int g = 0; g < G; g++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const int32_t r = r0 + 8 * i, c = col + 8 * (first + g) + c0;
                if (r < p.m && c < p.n)
                    tni_store_pair((T *)p.y + (int64_t)r * p.n + c, v[4 * g + 2 * i] + extra[2 * g + i].x,
                                   v[4 * g + 2 * i + 1] + extra[2 * g + i].y, p.pair != 0, c + 1 < p.n);
            }
        }
    }
}

/* Piece i of this lane among the 16 rows of its warp: row of the matrix, column, and where it lies in shared memory (at: the warp's). */
template <typename C>
TNI_DEVICE uint32_t tni_split_piece(int i, uint32_t at, int32_t row, int32_t col, int32_t *r, int32_t *c) {
    const uint32_t piece = (threadIdx.x & 31) + 32 * (uint32_t)i, line = piece / C::GROUPS, k = piece % C::GROUPS;
    *r = row + (int32_t)(threadIdx.x >> 5) * 16 + (int32_t)line;
    *c = col + 8 * (int32_t)k;
    return at + line * C::OUT_ROW + k * 16;
}

/* The pieces of the residual that this thread will need, on their way during the products. */
template <typename T, typename C>
TNI_DEVICE void tni_split_residual(const TniWgSplitArgs &p, uint4 (&extra)[C::PIECES], int32_t row, int32_t col) {
#pragma unroll
    for (int i = 0; i < C::PIECES; i++) {
        int32_t r, c;
        tni_split_piece<C>(i, 0, row, col, &r, &c);
        extra[i] = make_uint4(0, 0, 0, 0);
        if (p.epi.residual != NULL && r < p.m && c < p.n)
            extra[i] = tni_load16((const T *)p.epi.residual + (int64_t)r * p.n + c);
    }
}

/* As tni_split_finish, by way of shared memory: whole pieces of 16 bytes reach y. Warps do not share their rows. */
template <typename T, typename C>
TNI_DEVICE void tni_split_wide(const TniWgSplitArgs &p, const float (&sum)[C::GROUPS * 4], const float *bias,
                               const uint4 (&extra)[C::PIECES], uint32_t out, int32_t row, int32_t col) {
    constexpr int G = C::GROUPS < 4 ? 2 : 4;
    const uint32_t lane = threadIdx.x & 31, at = out + (threadIdx.x >> 5) * 16 * C::OUT_ROW;
    int32_t r, c;
    if (p.epi.residual != NULL) {
#pragma unroll
        for (int i = 0; i < C::PIECES; i++) {
            const uint32_t to = tni_split_piece<C>(i, at, row, col, &r, &c);
            asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(to), "r"(extra[i].x), "r"(extra[i].y), "r"(extra[i].z),
                         "r"(extra[i].w)
                         : "memory");
        }
        __syncwarp();
    }
#pragma unroll
    for (int first = 0; first < C::GROUPS; first += G) {
        float v[G * 4];
#pragma unroll
        for (int g = 0; g < G; g++) {
            const float2 b = *reinterpret_cast<const float2 *>(bias + 8 * (first + g) + (lane & 3) * 2);
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[4 * g + i] = fmaf(sum[4 * (first + g) + i], p.epi.alpha, (i & 1) != 0 ? b.y : b.x);
        }
        tni_act_of<T>(p.epi.act, v);
        const uint32_t line = at + (lane & 15) * C::OUT_ROW + ((uint32_t)first + (lane >> 4)) * 16;
        uint32_t u[G / 2][4];
        if (p.epi.residual != NULL) {
#pragma unroll
            for (int j = 0; j < G / 2; j++) {
                tni_ldmatrix4(u[j], line + 32 * j);
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    const float2 x = TniNarrow<T>::unpack(u[j][i]);
                    v[8 * j + 2 * i] += x.x;
                    v[8 * j + 2 * i + 1] += x.y;
                }
            }
        }
        tni_narrow_all<T>(u, v);
        __syncwarp();
#pragma unroll
        for (int j = 0; j < G / 2; j++)
            tni_stmatrix4(line + 32 * j, u[j]);
    }
    __syncwarp();
#pragma unroll
    for (int i = 0; i < C::PIECES; i++) {
        const uint32_t from = tni_split_piece<C>(i, at, row, col, &r, &c);
        uint4 x;
        asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];" : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w) : "r"(from) : "memory");
        if (r < p.m && c < p.n)
            tni_store16((T *)p.y + (int64_t)r * p.n + c, x);
    }
}

/* Sums of the cluster for this block's columns. */
template <typename C>
TNI_DEVICE void tni_split_gather(const float (&acc)[C::BN / 2], float (&sum)[C::GROUPS * 4], uint32_t base, uint32_t rank) {
#pragma unroll
    for (int r = 0; r < C::S; r++) {
        if ((uint32_t)r == rank) {
#pragma unroll
            for (int i = 0; i < C::GROUPS * 4; i++)
                sum[i] = acc[r * C::GROUPS * 4 + i];
        }
    }
#pragma unroll
    for (uint32_t d = 1; d < C::S; d++) {
#pragma unroll
        for (uint32_t g = 0; g < C::GROUPS; g++) {
            const float4 v = tni_cluster_load4(base + ((rank * C::GROUPS + g) * C::THREADS + threadIdx.x) * 16, (rank + d) % C::S);
            sum[4 * g] += v.x;
            sum[4 * g + 1] += v.y;
            sum[4 * g + 2] += v.z;
            sum[4 * g + 3] += v.w;
        }
    }
}

template <typename T, typename C>
__global__ void __launch_bounds__(C::THREADS + 32)
    tni_wg_split_kernel(const __grid_constant__ CUtensorMap ma, const __grid_constant__ CUtensorMap mb,
                        const __grid_constant__ TniWgSplitArgs p) {
    extern __shared__ __align__(1024) uint8_t raw[];
    const uint32_t base = tni_smem(raw);
    float *bias = reinterpret_cast<float *>(raw + C::BIAS);
    const uint32_t rank = C::S > 1 ? tni_cluster_rank() : 0;
    const int32_t tile = (int32_t)blockIdx.x / C::S, row = tile % p.row_tiles, col = tile / p.row_tiles;
    const int32_t first = (int32_t)((int64_t)p.k_blocks * rank / C::S), last = (int32_t)((int64_t)p.k_blocks * (rank + 1) / C::S);
    const int32_t y0 = row * C::BM, x0 = col * C::BN + (int32_t)rank * C::GROUPS * 8; /* what this block finishes */
    const bool consumer = threadIdx.x < C::THREADS;
    float bias_reg = 0.0f; /* it and the residual are on their way during the products */
    uint4 extra[C::PIECES] = {};
    tni_let_next();
    if (threadIdx.x == C::THREADS)
        tni_split_begin<T, C>(&ma, &mb, p, base, first, last, row, col);
    else
        tni_after();
    __syncthreads();
    float acc[C::BN / 2], sum[C::GROUPS * 4];
    if (!consumer) {
        if (threadIdx.x == C::THREADS)
            tni_split_produce<T, C>(&ma, &mb, base, first, last, row, col);
        __syncwarp();
    } else {
        const int32_t c = col * C::BN + (int32_t)threadIdx.x;
        if (p.epi.bias_mode != TNI_BIAS_NONE && threadIdx.x < C::BN && c < p.n)
            bias_reg = tni_f32(((const T *)p.epi.bias)[p.epi.bias_mode == TNI_BIAS_COLUMN ? c : 0]);
        if (C::WIDE && p.wide != 0)
            tni_split_residual<T, C>(p, extra, y0, x0);
        tni_split_multiply<T, C>(acc, base, last - first);
        if (threadIdx.x < C::BN)
            bias[threadIdx.x] = p.epi.beta * bias_reg;
        tni_bar(1, C::THREADS); /* the ring is free, the bias is there */
        if (C::S > 1) {
#pragma unroll
            for (uint32_t j = 0; j < C::BN / 8; j++)
                *reinterpret_cast<float4 *>(raw + (j * C::THREADS + threadIdx.x) * 16) =
                    make_float4(acc[4 * j], acc[4 * j + 1], acc[4 * j + 2], acc[4 * j + 3]);
        }
    }
    if (C::S > 1) {
        tni_cluster_arrive();
        tni_cluster_wait();
    }
    if (consumer)
        tni_split_gather<C>(acc, sum, base, rank);
    if (C::S > 1) /* others may still read this block's sums */
        tni_cluster_arrive();
    if (consumer) {
        bool done = false;
        if constexpr (C::WIDE) {
            if (p.wide != 0) {
                tni_split_wide<T, C>(p, sum, bias + rank * C::GROUPS * 8, extra, base + C::OUT, y0, x0);
                done = true;
            }
        }
        if (!done)
            tni_split_finish<T, C>(p, sum, bias + rank * C::GROUPS * 8, y0, x0);
    }
    if (C::S > 1)
        tni_cluster_wait();
}

template <typename T, typename C>
static cudaError_t tni_wg_split_start(const CUtensorMap *maps, const TniWgSplitArgs *args, uint32_t tiles, cudaStream_t s) {
    const void *fn = (const void *)tni_wg_split_kernel<T, C>;
    cudaError_t e = cudaFuncSetAttribute(fn, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)C::BYTES);
    if (e != cudaSuccess)
        return e;
    cudaLaunchAttribute attr[2] = {};
    cudaLaunchConfig_t cfg = {};
    cfg.gridDim = dim3(tiles * C::S);
    cfg.blockDim = dim3(C::THREADS + 32);
    cfg.dynamicSmemBytes = C::BYTES;
    cfg.stream = s;
    cfg.attrs = attr;
    cfg.numAttrs = tni_launch_attributes(attr, C::S, args->early);
    return cudaLaunchKernelEx(&cfg, tni_wg_split_kernel<T, C>, maps[0], maps[1], *args);
}

template <typename T, int WGS, int BN, int STAGES>
static cudaError_t tni_wg_split_launch(uint32_t splits, const CUtensorMap *maps, const TniWgSplitArgs *args, uint32_t tiles, cudaStream_t s) {
    switch (splits) {
    case 1:
        return tni_wg_split_start<T, TniSplitCfg<T, WGS, BN, STAGES, 1>>(maps, args, tiles, s);
    case 2:
        return tni_wg_split_start<T, TniSplitCfg<T, WGS, BN, STAGES, 2>>(maps, args, tiles, s);
    case 4:
        return tni_wg_split_start<T, TniSplitCfg<T, WGS, BN, STAGES, 4>>(maps, args, tiles, s);
    case 8:
        if constexpr (BN >= 64)
            return tni_wg_split_start<T, TniSplitCfg<T, WGS, BN, STAGES, 8>>(maps, args, tiles, s);
    default:
        return cudaErrorInvalidValue;
    }
}

#endif
