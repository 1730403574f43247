/* SPDX-License-Identifier: Apache-2.0
 *
 * y = act(x W1 + b1) W2 + b2 (+ residual) for f16 and bf16 through wgmma and the copy engine (sm_90a). The hidden values never leave the
 * registers: the sums of 64 hidden columns become, narrowed, the first operand of the second product.
 *
 * Blocks stay on their SM and walk over tiles of 64 rows a consumer warpgroup. A thread of the first warpgroup keeps a ring of units of
 * weights filled (64 rows of 128 bytes with the 128-byte swizzle, K along the rows): for every chunk of 64 hidden columns P units of W1
 * (its rows of this chunk, 64 columns each), then P of W2 (64 rows each, the columns of this chunk); P * 64 columns of x and y. Where all
 * units of both weights fit, they are fetched once and stay. A warpgroup goes over the chunks:
 *     h = x W1'  |  h -> bias, activation, 16 bits  |  o += h W2', the next h = x W1'
 * The warpgroups are not in step: while one works on activations, others have the tensor cores.
 *
 * x, the residual and y of a warpgroup share a buffer, one after the other: the first product is done with x when the residual comes,
 * results are added to it in place and leave from there. Thread 0 of a warpgroup moves them. Rows and columns beyond the last come as zeros
 * and are not stored.
 *
 * A unit's `full` barrier waits for its bytes (all of a box, also those outside the tensor), its `free` barrier for one arrival of every
 * consumer warp. */
#ifndef TENON_BACKEND_CUDA_MLP_FUSED_CUH
#define TENON_BACKEND_CUDA_MLP_FUSED_CUH

#include "backend/cuda/attention/wgmma.cuh"
#include "backend/cuda/gemm/tile_row.cuh"
#include "backend/cuda/mlp/fused.h"

ATTN_WG_DEFINE_TYPES(64, 32, 32, 33, 34, 35, 36, 37, 0)

template <int C_, int WGS_, int XB_, int SLOTS_> struct TniMlpCfg {
    static constexpr int P = C_ / TNI_MLP_UNIT, WGS = WGS_, XB = XB_, SLOTS = SLOTS_, THREADS = 128 * (WGS + 1);
    static constexpr uint32_t UNIT = 64 * 128, X = UNIT * P; /* bytes of a unit, of a buffer of x */
    static constexpr uint32_t X_AT = SLOTS * UNIT, B1_AT = X_AT + WGS * XB * X, B2_AT = B1_AT + TNI_MLP_HIDDEN * 4, BARS = B2_AT + P * 256;
    static constexpr uint32_t FULL = BARS, FREE = FULL + SLOTS * 8, X_FULL = FREE + SLOTS * 8, R_FULL = X_FULL + WGS * XB * 8,
                              BYTES = R_FULL + WGS * 8;
    static constexpr int REGS_MORE = WGS == 3 ? 160 : 240, REGS_LESS = WGS == 3 ? 32 : 24;
    static_assert(C_ % TNI_MLP_UNIT == 0 && SLOTS >= 2 * P && BYTES <= 232448, "configuration");
};

/* A place in the ring of weights. */
template <typename C> struct TniMlpRing {
    uint32_t at, phase;
    __device__ __forceinline__ void next() {
        if (++at == C::SLOTS) {
            at = 0;
            phase ^= 1;
        }
    }
};

/* All weights have a place of their own. */
template <typename C> TNI_DEVICE bool tni_mlp_resident(const TniMlpArgs &p) { return p.chunks * 2 * C::P <= C::SLOTS; }

/* ---- producer ---- */

/* Unit u of a walk over the weights, 0 <= u < chunks * 2 P, to a slot. */
template <typename C>
TNI_DEVICE void tni_mlp_bring(const CUtensorMap *m1, const CUtensorMap *m2, uint32_t base, uint32_t slot, int32_t u) {
    const int32_t chunk = u / (2 * C::P), r = u - chunk * (2 * C::P);
    const uint32_t bar = base + C::FULL + slot * 8, to = base + slot * C::UNIT;
    tni_mbar_expect(bar, C::UNIT);
    if (r < C::P)
        tni_tma_load(to, m1, bar, r * 64, chunk * 64);
    else
        tni_tma_load(to, m2, bar, chunk * 64, (r - C::P) * 64);
}

/* Units that come before the kernels in front of this one are done; the ring is empty, so nothing is waited for. */
template <typename C> TNI_DEVICE int32_t tni_mlp_early(const TniMlpArgs &p) {
    return p.constant != 0 ? min((int32_t)C::SLOTS, p.chunks * 2 * C::P) : 0;
}

template <typename C> TNI_DEVICE void tni_mlp_produce(const TniMlpArgs &p, const CUtensorMap *m1, const CUtensorMap *m2, uint32_t base) {
    const int32_t units = p.chunks * 2 * C::P;
    TniMlpRing<C> r = {0, 0};
    int32_t early = tni_mlp_early<C>(p);
    for (int32_t tile = (int32_t)blockIdx.x; tile < p.tiles; tile += (int32_t)gridDim.x) {
        for (int32_t u = 0; u < units; u++, r.next()) {
            if (early > 0) {
                early--;
                continue;
            }
            tni_mbar_wait(base + C::FREE + r.at * 8, r.phase ^ 1);
            tni_mlp_bring<C>(m1, m2, base, r.at, u);
        }
        if (tni_mlp_resident<C>(p))
            break;
    }
}

/* ---- consumers ---- */

/* What a warpgroup knows while it walks. */
template <typename C> struct TniMlpWalk {
    uint32_t base, x; /* x: its present buffer */
    bool resident;
    /* This warp has read P units from `at` on. */
    __device__ __forceinline__ void release(uint32_t at) const {
        const uint32_t lane = threadIdx.x & 31, slot = at + lane < C::SLOTS ? at + lane : at + lane - C::SLOTS;
        __syncwarp();
        if (lane < C::P && !resident)
            tni_mbar_arrive(base + C::FREE + slot * 8);
        __syncwarp();
    }
};

/* h = x W1' */
template <typename T, typename C> TNI_DEVICE void tni_mlp_first(float (&h)[32], const TniMlpWalk<C> &k, TniMlpRing<C> &r) {
    uint32_t x = k.x;
    asm volatile("" : "+r"(x)); /* else all descriptors are kept for the next chunk, where there are no registers for them */
#pragma unroll
    for (int p = 0; p < C::P; p++, r.next()) {
        tni_mbar_wait(k.base + C::FULL + r.at * 8, r.phase);
        tni_wg_fence();
        const uint64_t a = tni_wg_desc(x + p * C::UNIT), b = tni_wg_desc(k.base + r.at * C::UNIT);
#pragma unroll
        for (int s = 0; s < 4; s++)
            TniWgmma<T, 64>::go(h, a + s * 2, b + s * 2, p > 0 || s > 0 ? 1 : 0);
    }
    tni_wg_commit();
}

/* o (+)= hidden W2' */
template <typename T, typename C>
TNI_DEVICE void tni_mlp_second(float (&o)[C::P][32], const uint32_t (&a)[4][4], const TniMlpWalk<C> &k, TniMlpRing<C> &r, int32_t keep) {
#pragma unroll
    for (int p = 0; p < C::P; p++, r.next()) {
        tni_mbar_wait(k.base + C::FULL + r.at * 8, r.phase);
        tni_wg_fence();
        const uint64_t b = tni_wg_desc(k.base + r.at * C::UNIT);
#pragma unroll
        for (int s = 0; s < 4; s++)
            AttnWgmma<T, 64, 0>::go(o[p], a[s], b + s * 2, s > 0 ? 1 : keep);
    }
    tni_wg_commit();
}

/* Sums of 64 hidden columns -> the operand of the second product. b1: biases of these columns, shared memory. */
template <typename T, int KIND>
TNI_DEVICE void tni_mlp_activate(uint32_t (&a)[4][4], const float (&h)[32], const float *b1, const TniAct &act) {
#pragma unroll
    for (int part = 0; part < 2; part++) {
        float v[16];
        uint32_t u[2][4];
#pragma unroll
        for (int g = 0; g < 4; g++) {
            const float2 b = *reinterpret_cast<const float2 *>(b1 + part * 32 + g * 8 + (threadIdx.x & 3) * 2);
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[4 * g + i] = h[16 * part + 4 * g + i] + ((i & 1) != 0 ? b.y : b.x);
        }
        tni_act_kind<T, KIND>(act, v);
        tni_narrow_all<T>(u, v);
#pragma unroll
        for (int j = 0; j < 2; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                a[2 * part + j][i] = u[j][i];
    }
}

/* 32 columns of 64 rows of results: o + b2 (+ what is in the buffer), narrowed, into the buffer. part: of 64 columns. */
template <typename T>
TNI_DEVICE void tni_mlp_part(const float *o, const float *b2, uint32_t buf, uint32_t part, bool residual) {
    const uint32_t lane = threadIdx.x & 31, r = ((threadIdx.x >> 5) & 3) * 16 + (lane & 15);
    float v[16];
#pragma unroll
    for (int g = 0; g < 4; g++) {
        const float2 b = *reinterpret_cast<const float2 *>(b2 + g * 8 + (lane & 3) * 2);
#pragma unroll
        for (int i = 0; i < 4; i++)
            v[4 * g + i] = o[4 * g + i] + ((i & 1) != 0 ? b.y : b.x);
    }
    tni_tile_row_end<T>(buf, r, part, residual, v);
}

/* A buffer's worth of rows from y0 on, by one thread. */
template <typename C> TNI_DEVICE void tni_mlp_fetch(const CUtensorMap *m, uint32_t to, uint32_t bar, int32_t y0) {
    tni_mbar_expect(bar, C::X);
#pragma unroll
    for (int p = 0; p < C::P; p++)
        tni_tma_load(to + p * C::UNIT, m, bar, p * 64, y0);
}

/* Tensor maps and what a warpgroup shares with the block. */
struct TniMlpOperands {
    const CUtensorMap *x, *y, *residual;
    const float *b1, *b2;
};

template <typename T, typename C, int KIND>
TNI_DEVICE void tni_mlp_consume(const TniMlpArgs &p, const TniMlpOperands &q, uint32_t base, uint32_t who) {
    const uint32_t t = threadIdx.x & 127, x_full = base + C::X_FULL + who * C::XB * 8, r_full = base + C::R_FULL + who * 8;
    const uint32_t bufs = base + C::X_AT + who * C::XB * C::X;
    const int32_t step = (int32_t)gridDim.x;
    TniMlpWalk<C> k = {base, bufs, tni_mlp_resident<C>(p)};
    TniMlpRing<C> r = {0, 0};
    uint32_t n = 0; /* tiles done */
    float h[32], o[C::P][32];
    uint32_t a[4][4];
    if (t == 0) {
#pragma unroll
        for (int b = 0; b < C::XB; b++)
            if ((int32_t)blockIdx.x + b * step < p.tiles)
                tni_mlp_fetch<C>(q.x, bufs + b * C::X, x_full + b * 8, (((int32_t)blockIdx.x + b * step) * C::WGS + (int32_t)who) * 64);
    }
    __syncwarp();
    for (int32_t tile = (int32_t)blockIdx.x; tile < p.tiles; tile += step, n++) {
        const uint32_t buf = C::XB == 1 ? 0 : n & 1;
        const int32_t y0 = (tile * C::WGS + (int32_t)who) * 64;
        uint32_t w1, w2 = 0; /* first units of what is in use */
        k.x = bufs + buf * C::X;
        if (k.resident)
            r = {0, 0};
        tni_mbar_wait(x_full + buf * 8, (n / C::XB) & 1);
        w1 = r.at;
        tni_mlp_first<T, C>(h, k, r);
        if (C::XB == 2 && t == 0 && n > 0 && tile + step < p.tiles) { /* where the last tile's results have left */
            tni_bulk_wait_read<0>();
            tni_mlp_fetch<C>(q.x, bufs + (buf ^ 1) * C::X, x_full + (buf ^ 1) * 8, y0 + step * C::WGS * 64);
        }
        __syncwarp();
#pragma unroll 1
        for (int32_t j = 0; j < p.chunks; j++) {
            if (j > 0) {
                tni_wg_wait<1>();
                k.release(w2);
            }
            tni_wg_wait<0>();
            tni_wg_hold(h);
#pragma unroll
            for (int i = 0; i < C::P; i++)
                tni_wg_hold(o[i]);
            attn_wg_keep(a);
            k.release(w1);
            if (j == p.chunks - 1) { /* nobody reads x any more */
                tni_bar(1 + who, 128);
                if (p.residual == TNI_MLP_RES_OTHER && t == 0)
                    tni_mlp_fetch<C>(q.residual, k.x, r_full, y0);
                __syncwarp();
            }
            tni_mlp_activate<T, KIND>(a, h, q.b1 + j * 64, p.act);
            w2 = r.at;
            tni_mlp_second<T, C>(o, a, k, r, j);
            if (j + 1 < p.chunks) {
                w1 = r.at;
                tni_mlp_first<T, C>(h, k, r);
            }
        }
        tni_wg_wait<0>();
#pragma unroll
        for (int i = 0; i < C::P; i++)
            tni_wg_hold(o[i]);
        attn_wg_keep(a);
        k.release(w2);
        if (p.residual == TNI_MLP_RES_OTHER)
            tni_mbar_wait(r_full, n & 1);
#pragma unroll
        for (int i = 0; i < 2 * C::P; i++)
            tni_mlp_part<T>(&o[i / 2][16 * (i & 1)], q.b2 + i * 32, k.x + (i / 2) * C::UNIT, i & 1, p.residual != TNI_MLP_RES_NONE);
        tni_proxy_fence();
        tni_bar(1 + who, 128);
        if (t == 0) {
#pragma unroll
            for (int i = 0; i < C::P; i++)
                tni_tma_store(q.y, k.x + i * C::UNIT, i * 64, y0);
            tni_bulk_commit();
            if (C::XB == 1 && tile + step < p.tiles) {
                tni_bulk_wait_read<0>();
                tni_mlp_fetch<C>(q.x, k.x, x_full, y0 + step * C::WGS * 64);
            }
        }
        __syncwarp();
    }
    if (t == 0)
        tni_bulk_wait<0>();
}

/* ---- kernel ---- */

template <typename T, typename C>
__global__ void __launch_bounds__(C::THREADS, 1)
    tni_mlp_kernel(const __grid_constant__ CUtensorMap mx, const __grid_constant__ CUtensorMap m1, const __grid_constant__ CUtensorMap m2,
                   const __grid_constant__ CUtensorMap my, const __grid_constant__ CUtensorMap mr, const __grid_constant__ TniMlpArgs p) {
    extern __shared__ __align__(1024) uint8_t raw[];
    const uint32_t base = tni_smem(raw), group = threadIdx.x >> 7;
    float *b1 = reinterpret_cast<float *>(raw + C::B1_AT), *b2 = reinterpret_cast<float *>(raw + C::B2_AT);
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i < C::SLOTS; i++) {
            tni_mbar_init(base + C::FULL + i * 8, 1);
            tni_mbar_init(base + C::FREE + i * 8, 4 * C::WGS);
        }
        for (uint32_t i = 0; i < C::WGS * C::XB; i++)
            tni_mbar_init(base + C::X_FULL + i * 8, 1);
        for (uint32_t i = 0; i < C::WGS; i++)
            tni_mbar_init(base + C::R_FULL + i * 8, 1);
        tni_mbar_init_done();
        tni_proxy_fence();
        tni_tma_prefetch(&mx);
        for (int32_t u = 0; u < tni_mlp_early<C>(p); u++)
            tni_mlp_bring<C>(&m1, &m2, base, (uint32_t)u, u);
    }
    __syncwarp();
    tni_let_next();
    tni_after();
    for (int32_t i = (int32_t)threadIdx.x; i < p.chunks * 64; i += C::THREADS)
        b1[i] = p.b1 != NULL && i < p.hidden ? tni_f32(((const T *)p.b1)[i]) : 0.0f;
    for (int32_t i = (int32_t)threadIdx.x; i < C::P * 64; i += C::THREADS)
        b2[i] = p.b2 != NULL && i < p.c ? tni_f32(((const T *)p.b2)[i]) : 0.0f;
    __syncthreads();
    if (group == 0) {
        tni_regs_less<C::REGS_LESS>();
        if (threadIdx.x == 0)
            tni_mlp_produce<C>(p, &m1, &m2, base);
    } else {
        tni_regs_more<C::REGS_MORE>();
        const TniMlpOperands q = {&mx, &my, &mr, b1, b2};
        if (p.act.form == TNI_FORM_GELU)
            tni_mlp_consume<T, C, TNI_KIND_GELU>(p, q, base, group - 1);
        else
            tni_mlp_consume<T, C, TNI_KIND_ANY>(p, q, base, group - 1);
    }
}

template <typename T, typename C> static cudaError_t tni_mlp_launch(const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s) {
    const cudaError_t e =
        cudaFuncSetAttribute((const void *)tni_mlp_kernel<T, C>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)C::BYTES);
    if (e != cudaSuccess)
        return e;
    const int blocks = min(args->tiles, (int)s->dev->info.sm_count);
    return tni_launch_early(s, tni_mlp_kernel<T, C>, dim3((unsigned)blocks), dim3(C::THREADS), C::BYTES, maps[0], maps[1], maps[2], maps[3],
                            maps[4], *args);
}

template <typename T> static cudaError_t tni_mlp_start(TniMlp config, const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s) {
    switch (config) {
#define MLP(name, c, wgs, xb, slots) \
    case TNI_MLP_##name:             \
        return tni_mlp_launch<T, TniMlpCfg<c, wgs, xb, slots>>(maps, args, s);
        TNI_MLPS(MLP)
#undef MLP
    default:
        return cudaErrorInvalidValue;
    }
}

#endif
