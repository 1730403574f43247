/* SPDX-License-Identifier: Apache-2.0
 *
 * The persistent wgmma kernel (wgmma.h). Threads 0..127 are the producer's warpgroup (one thread works), then two warpgroups of consumers.
 *
 * Shared memory: STAGES x (A tile, B tile), store buffers [2][EB] of one chunk (rows of a warpgroup x 128 bytes) each, bias [2][BN],
 * barriers. Barriers of a stage: full (bytes have come), empty (every consumer warp of every block of the cluster has read it: with a
 * cluster each block loads its part of B for all). A residual's chunk comes into the store buffer that its result leaves from.
 *
 * T float means tf32: 32 elements a row of 128 bytes instead of 64. */
#ifndef TENON_BACKEND_CUDA_GEMM_WGMMA_STREAM_CUH
#define TENON_BACKEND_CUDA_GEMM_WGMMA_STREAM_CUH

#include "backend/cuda/gemm/tile_row.cuh"
#include "backend/cuda/gemm/wgmma.h"

template <typename T, int WM, int BN_, int PING_, int STAGES_, int EB_> struct TniWgCfg {
    static constexpr int MI = WM / 64, BN = BN_, STAGES = STAGES_, EB = EB_;
    static constexpr bool PING = PING_ != 0;
    static constexpr int BM = PING ? WM : 2 * WM, BK = 128 / (int)sizeof(T), CH = 128 / (int)sizeof(T), NC = BN / CH;
    static constexpr uint32_t A_BYTES = BM * 128, STAGE_BYTES = (BM + BN) * 128, CHUNK_BYTES = WM * 128;
    static constexpr uint32_t EPI = STAGES * STAGE_BYTES, BIAS = EPI + 2 * EB * CHUNK_BYTES, BARS = BIAS + 2 * BN * 4;
    static constexpr uint32_t BYTES = BARS + (2 * STAGES + 2 * EB) * 8;
    static constexpr int REGS_MORE = MI * BN / 2 > 128 ? 240 : 232, REGS_LESS = MI * BN / 2 > 128 ? 24 : 40;
    static_assert(BN % CH == 0 && EB <= NC && BYTES <= 232448, "configuration");
};

/* Tile t of this cluster's walk -> row tile of this block, column tile. */
TNI_DEVICE void tni_wg_tile(const TniWgStreamArgs &p, int32_t t, uint32_t rank, int32_t *row, int32_t *col) {
    const int32_t per = p.group * p.col_tiles, g = t / per, r = t - g * per;
    const int32_t height = min(p.group, p.units - g * p.group);
    const int32_t c = r / height;
    *col = c;
    *row = (g * p.group + r - c * height) * p.cluster + (int32_t)rank;
}

/* Stages whose B comes before the kernels in front of this one are done: B is a constant then. The ring is empty, so nothing is waited for;
 * the A tiles of these stages are asked for by tni_wg_produce. */
template <typename C> TNI_DEVICE int32_t tni_wg_early(const TniWgStreamArgs &p) {
    return p.b_constant != 0 && p.cluster == 1 ? min((int32_t)C::STAGES, p.k_blocks) : 0;
}
template <typename T, typename C> TNI_DEVICE void tni_wg_begin(const TniWgStreamArgs &p, const CUtensorMap *mb, uint32_t base) {
    const uint32_t full = base + C::BARS;
    int32_t row, col;
    tni_wg_tile(p, (int32_t)blockIdx.x, 0, &row, &col);
    for (int32_t kb = 0; kb < tni_wg_early<C>(p); kb++) {
        tni_mbar_expect(full + (uint32_t)kb * 8, C::STAGE_BYTES);
        tni_tma_load(base + (uint32_t)kb * C::STAGE_BYTES + C::A_BYTES, mb, full + (uint32_t)kb * 8, kb * C::BK, col * C::BN);
    }
}

template <typename T, typename C>
TNI_DEVICE void tni_wg_produce(const TniWgStreamArgs &p, const CUtensorMap *ma, const CUtensorMap *mb, uint32_t base, uint32_t rank) {
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8;
    const int32_t clusters = (int32_t)gridDim.x / p.cluster;
    const uint32_t part = (uint32_t)(C::BN / p.cluster); /* rows of B that this block loads for all */
    uint32_t stage = 0, phase = 0;
    int32_t early = tni_wg_early<C>(p);
    for (int32_t t = (int32_t)blockIdx.x / p.cluster; t < p.tiles; t += clusters) {
        int32_t row, col;
        tni_wg_tile(p, t, rank, &row, &col);
        for (int32_t kb = 0; kb < p.k_blocks; kb++) {
            const uint32_t a = base + stage * C::STAGE_BYTES, b = a + C::A_BYTES, bar = full + stage * 8;
            if (early == 0) {
                tni_mbar_wait(empty + stage * 8, phase ^ 1);
                tni_mbar_expect(bar, C::STAGE_BYTES);
            }
            tni_tma_load(a, ma, bar, kb * C::BK, row * C::BM);
            if (early > 0)
                early--;
            else if (p.cluster == 1)
                tni_tma_load(b, mb, bar, kb * C::BK, col * C::BN);
            else
                tni_tma_load_multi(b + rank * part * 128, mb, bar, (uint16_t)((1u << p.cluster) - 1), kb * C::BK,
                                   col * C::BN + (int32_t)(rank * part));
            if (++stage == C::STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
    }
}

/* 32 columns (part PART of a chunk) of 64 rows: sums -> results in the store buffer, added to what is there when there is a residual. */
template <typename T, typename C, int KIND, int FIRST, int PART>
TNI_DEVICE void tni_wg_part(const TniWgStreamArgs &p, const float (&acc)[C::BN / 2], const float *bias, uint32_t buf, uint32_t row0) {
    const uint32_t lane = threadIdx.x & 31;
    float v[16];
#pragma unroll
    for (int g = 0; g < 4; g++) {
        const float2 b = *reinterpret_cast<const float2 *>(bias + FIRST + PART * 32 + g * 8 + (lane & 3) * 2);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[4 * g + i] = fmaf(acc[((FIRST + PART * 32) / 8 + g) * 4 + i], p.epi.alpha, (i & 1) != 0 ? b.y : b.x);
    }
    tni_act_kind<T, KIND>(p.epi.act, v);
    if constexpr (sizeof(T) == 2) {
        tni_tile_row_end<T>(buf, row0 + (lane & 15), PART, p.has_residual != 0, v);
    } else {
#pragma unroll
        for (int g = 0; g < 4; g++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                const uint32_t r = row0 + (lane >> 2) + 8 * i;
                const uint32_t at = buf + r * 128 + (((2 * g + ((lane >> 1) & 1)) ^ (r & 7)) << 4) + (lane & 1) * 8;
                float x = v[4 * g + 2 * i], y = v[4 * g + 2 * i + 1], rx, ry;
                if (p.has_residual != 0) {
                    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(rx), "=f"(ry) : "r"(at) : "memory");
                    x += rx;
                    y += ry;
                }
                asm volatile("st.shared.v2.f32 [%0], {%1, %2};" ::"r"(at), "f"(x), "f"(y) : "memory");
            }
        }
    }
}

/* What a consumer warpgroup knows of its results. */
struct TniWgOut {
    const CUtensorMap *my, *mr;
    uint32_t buf;   /* its store buffers */
    uint32_t bars;  /* its residual barriers */
    uint32_t phase; /* a bit a store buffer */
    uint32_t who;   /* 0, 1 */
};

template <typename C> TNI_DEVICE void tni_wg_fetch_residual(const TniWgOut &o, int chunk, int32_t x0, int32_t y0) {
    const uint32_t b = (uint32_t)(chunk % C::EB);
    tni_mbar_expect(o.bars + b * 8, C::CHUNK_BYTES);
    tni_tma_load(o.buf + b * C::CHUNK_BYTES, o.mr, o.bars + b * 8, x0 + chunk * C::CH, y0);
}

template <typename T, typename C, int KIND, int CHUNK>
TNI_DEVICE void tni_wg_store(const TniWgStreamArgs &p, const float (&acc)[C::MI][C::BN / 2], const float *bias, TniWgOut &o, int32_t x0,
                             int32_t y0) {
    if constexpr (CHUNK < C::NC) {
        constexpr int B = CHUNK % C::EB, LAG = C::EB > 1 ? 1 : 0, DONE = CHUNK - LAG;
        const uint32_t buf = o.buf + B * C::CHUNK_BYTES, t = threadIdx.x & 127;
        if (p.has_residual != 0) {
            tni_mbar_wait(o.bars + B * 8, (o.phase >> B) & 1);
            o.phase ^= 1u << B;
        } else if (CHUNK >= C::EB) { /* the store that used this buffer has been read; stores are thread 0's, others wait for nothing */
            tni_bulk_wait_read<C::EB - 1>();
            tni_bar(1 + o.who, 128);
        }
#pragma unroll
        for (int mi = 0; mi < C::MI; mi++) {
            tni_wg_part<T, C, KIND, CHUNK * C::CH, 0>(p, acc[mi], bias, buf, (uint32_t)mi * 64 + (t >> 5) * 16);
            if constexpr (C::CH == 64)
                tni_wg_part<T, C, KIND, CHUNK * C::CH, 1>(p, acc[mi], bias, buf, (uint32_t)mi * 64 + (t >> 5) * 16);
        }
        tni_proxy_fence();
        tni_bar(1 + o.who, 128);
        if (t == 0) {
            if (x0 + CHUNK * C::CH < p.n)
                tni_tma_store(o.my, buf, x0 + CHUNK * C::CH, y0);
            tni_bulk_commit();
            if (p.has_residual != 0 && DONE >= 0 && DONE + C::EB < C::NC) {
                tni_bulk_wait_read<LAG>();
                tni_wg_fetch_residual<C>(o, DONE + C::EB, x0, y0);
            }
        }
        __syncwarp();
        tni_wg_store<T, C, KIND, CHUNK + 1>(p, acc, bias, o, x0, y0);
    }
}

/* This warp has read the stage of barrier `bar`: every block that fills it hears so. */
TNI_DEVICE void tni_wg_release(const TniWgStreamArgs &p, uint32_t bar) {
    const uint32_t lane = threadIdx.x & 31;
    if (p.cluster == 1) {
        if (lane == 0)
            tni_mbar_arrive(bar);
    } else if (lane < (uint32_t)p.cluster) {
        tni_mbar_arrive_at(bar, lane);
    }
}

template <typename T, typename C>
TNI_DEVICE void tni_wg_consume(const TniWgStreamArgs &p, const CUtensorMap *my, const CUtensorMap *mr, uint32_t base, float *bias_all,
                               uint32_t rank, uint32_t who) {
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8, t = threadIdx.x & 127;
    const int32_t clusters = (int32_t)gridDim.x / p.cluster;
    constexpr int WM = C::MI * 64;
    const uint32_t a_at = base + (C::PING ? 0 : who * WM * 128), b_at = base + C::A_BYTES;
    float *bias = bias_all + who * C::BN;
    TniWgOut o = {my, mr, base + C::EPI + who * C::EB * C::CHUNK_BYTES, empty + (C::STAGES + who * C::EB) * 8, 0, who};
    uint32_t stage = 0, phase = 0;
    float acc[C::MI][C::BN / 2];
    if (C::PING && who == 1) {
        stage = (uint32_t)p.k_blocks % C::STAGES;
        phase = ((uint32_t)p.k_blocks / C::STAGES) & 1;
    }
    for (int32_t tile = (int32_t)blockIdx.x / p.cluster + (C::PING ? (int32_t)who * clusters : 0); tile < p.tiles;
         tile += C::PING ? 2 * clusters : clusters) {
        int32_t row, col;
        tni_wg_tile(p, tile, rank, &row, &col);
        const int32_t x0 = col * C::BN, y0 = row * C::BM + (C::PING ? 0 : (int32_t)who * WM);
        if (t == 0 && p.has_residual != 0) {
            tni_bulk_wait_read<0>(); /* the last tile's results have left the store buffers */
#pragma unroll
            for (int c = 0; c < C::EB; c++)
                tni_wg_fetch_residual<C>(o, c, x0, y0);
        }
        __syncwarp();
        float bias_reg[(C::BN + 127) / 128];
#pragma unroll
        for (int i = 0; i < (C::BN + 127) / 128; i++) {
            const int32_t c = x0 + (int32_t)t + 128 * i;
            bias_reg[i] = 0.0f;
            if (p.epi.bias_mode != TNI_BIAS_NONE && c < p.n)
                bias_reg[i] = p.epi.beta * tni_f32(((const T *)p.epi.bias)[p.epi.bias_mode == TNI_BIAS_COLUMN ? c : 0]);
        }
        /* The parity of a full barrier tells its present fill from the one before, not from the one after: nobody may wait for a fill
         * before the other warpgroup has seen all fills of the tile in front. */
        if (C::PING && tile >= clusters)
            tni_bar(3 + who, 256);
        uint32_t before = 0;
        for (int32_t kb = 0; kb < p.k_blocks; kb++) {
            tni_mbar_wait(full + stage * 8, phase);
            tni_wg_fence();
            const uint64_t da = tni_wg_desc(a_at + stage * C::STAGE_BYTES), db = tni_wg_desc(b_at + stage * C::STAGE_BYTES);
#pragma unroll
            for (int ks = 0; ks < 4; ks++) {
#pragma unroll
                for (int mi = 0; mi < C::MI; mi++)
                    TniWgmma<T, C::BN>::go(acc[mi], da + mi * (64 * 128 >> 4) + ks * 2, db + ks * 2, ks != 0 ? 1 : kb);
            }
            tni_wg_commit();
            tni_wg_wait<1>();
            if (kb > 0)
                tni_wg_release(p, empty + before * 8);
            before = stage;
            if (++stage == C::STAGES) {
                stage = 0;
                phase ^= 1;
            }
        }
        if (C::PING && tile + clusters < p.tiles)
            tni_bar_arrive(3 + (who ^ 1), 256);
        tni_wg_wait<0>();
        tni_wg_release(p, empty + before * 8);
#pragma unroll
        for (int mi = 0; mi < C::MI; mi++)
            tni_wg_hold(acc[mi]);
        if (C::PING) { /* the other warpgroup's tile */
            const uint32_t s = stage + (uint32_t)p.k_blocks;
            phase ^= (s / C::STAGES) & 1;
            stage = s % C::STAGES;
        }
#pragma unroll
        for (int i = 0; i < (C::BN + 127) / 128; i++)
            if ((int)t + 128 * i < C::BN)
                bias[t + 128 * i] = bias_reg[i];
        if (p.has_residual == 0)
            tni_bulk_wait_read<0>(); /* as above; the products did not wait for it */
        tni_bar(1 + who, 128);
        if (p.epi.act.form == TNI_FORM_NONE)
            tni_wg_store<T, C, TNI_KIND_NONE, 0>(p, acc, bias, o, x0, y0);
        else if (p.epi.act.form == TNI_FORM_GELU)
            tni_wg_store<T, C, TNI_KIND_GELU, 0>(p, acc, bias, o, x0, y0);
        else
            tni_wg_store<T, C, TNI_KIND_ANY, 0>(p, acc, bias, o, x0, y0);
    }
    if (t == 0)
        tni_bulk_wait<0>();
}

template <typename T, typename C>
__global__ void __launch_bounds__(384, 1)
    tni_wg_stream_kernel(const __grid_constant__ CUtensorMap ma, const __grid_constant__ CUtensorMap mb,
                         const __grid_constant__ CUtensorMap my, const __grid_constant__ CUtensorMap mr,
                         const __grid_constant__ TniWgStreamArgs p) {
    extern __shared__ __align__(1024) uint8_t raw[];
    const uint32_t base = tni_smem(raw);
    float *bias = reinterpret_cast<float *>(raw + C::BIAS);
    const uint32_t full = base + C::BARS, empty = full + C::STAGES * 8, res = empty + C::STAGES * 8;
    const uint32_t rank = tni_cluster_rank(), group = threadIdx.x >> 7;
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i < C::STAGES; i++) {
            tni_mbar_init(full + i * 8, 1);
            tni_mbar_init(empty + i * 8, (C::PING ? 4 : 8) * (uint32_t)p.cluster);
        }
        for (uint32_t i = 0; i < 2 * C::EB; i++)
            tni_mbar_init(res + i * 8, 1);
        tni_mbar_init_done();
        tni_proxy_fence();
        tni_tma_prefetch(&ma);
        tni_wg_begin<T, C>(p, &mb, base);
    }
    __syncthreads();
    if (p.cluster > 1) {
        tni_cluster_arrive();
        tni_cluster_wait();
    }
    tni_let_next();
    tni_after();
    if (group == 0) {
        tni_regs_less<C::REGS_LESS>();
        if (threadIdx.x == 0)
            tni_wg_produce<T, C>(p, &ma, &mb, base, rank);
    } else {
        tni_regs_more<C::REGS_MORE>();
        tni_wg_consume<T, C>(p, &my, &mr, base, bias, rank, group - 1);
    }
    if (p.cluster > 1) { /* a block must not end while another may write to it */
        __syncwarp();
        tni_cluster_arrive();
        tni_cluster_wait();
    }
}

template <typename T, typename C>
static cudaError_t tni_wg_stream_launch(const CUtensorMap *maps, const TniWgStreamArgs *args, uint32_t blocks, cudaStream_t s) {
    const void *fn = (const void *)tni_wg_stream_kernel<T, C>;
    cudaError_t e = cudaFuncSetAttribute(fn, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)C::BYTES);
    if (e != cudaSuccess)
        return e;
    cudaLaunchAttribute attr[2] = {};
    cudaLaunchConfig_t cfg = {};
    cfg.gridDim = dim3(blocks);
    cfg.blockDim = dim3(384);
    cfg.dynamicSmemBytes = C::BYTES;
    cfg.stream = s;
    cfg.attrs = attr;
    cfg.numAttrs = tni_launch_attributes(attr, args->cluster, args->early);
    return cudaLaunchKernelEx(&cfg, tni_wg_stream_kernel<T, C>, maps[0], maps[1], maps[2], maps[3], *args);
}

#endif
