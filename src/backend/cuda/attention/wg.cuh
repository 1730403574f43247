/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused attention of f16 and bf16 through wgmma and the copy engine (sm_90a), head sizes 64 and 128.
 *
 * Blocks stay on their SM and walk over tiles of 64 queries a consumer warpgroup of one head. Warp 0 of the producer's warpgroup lets the
 * copy engine bring tiles of BN keys and values into a ring; a thread of each of its warps 1, 2, 3 does so with the tiles of a dense bias
 * for one consumer warpgroup. A consumer warpgroup holds its queries in registers and goes over the keys: scores = bias + q k^T ->
 * probabilities relative to a maximum so far (registers) -> output += p v, while the next scores are begun. The warpgroups are not in step:
 * while one works on probabilities, others have the tensor cores.
 *
 * Keys: whole tiles of BN; up to 64 left over are pieces of 48 and 16, more are a whole tile with the rest hidden.
 *
 * Rings: a slot's `full` barrier waits for one arrival and for the bytes of its boxes (all of them, also those outside a tensor), its
 * `free` barrier for one arrival of every warp that has read it. An arrival does not wait for loads that are under way, and the copy
 * engine's next writes are not ordered behind them: a warp arrives when what it loaded has been used (or the product that read a slot is
 * done). Queries beyond the last are zeros, and so are their biases: nothing depends on old memory, although warps vote over all of their
 * rows.
 *
 * What is in the sums (x) times c is a score times log2 e. With a dense bias the sums begin as the biases: the queries take the power of
 * two of the scale, biases are divided by the rest of it (1 .. 2). The reference of a row is a maximum that may lag behind by 8 in powers
 * of two: it is followed only when some row of the warp needs it, which spares rescaling the output. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_WG_CUH
#define TENON_BACKEND_CUDA_ATTENTION_WG_CUH

#include "backend/cuda/attention/wg.h"
#include "backend/cuda/attention/wg_rows.cuh"

template <int D_, int BN_, int WGS_, int KS_, int BS_, int RESIDENT_, int MODE_> struct AttnWg {
    static constexpr int D = D_, BN = BN_, WGS = WGS_, KS = KS_, BS = BS_, RESIDENT = RESIDENT_, MODE = MODE_;
    static constexpr int BM = 64 * WGS, THREADS = 128 * (WGS + 1);
    static constexpr uint32_t PIECE = BN * 128, TILE = PIECE * (D / 64); /* 64 columns; all columns of a tile of keys or values */
    static constexpr uint32_t BOXES = (BN + TNI_ATTN_WG_BOX - 1) / TNI_ATTN_WG_BOX, BIAS_TILE = BOXES * ATTN_WG_BOX_BYTES;
    static constexpr uint32_t V_AT = KS * TILE, BIAS_AT = 2 * V_AT, VEC_AT = BIAS_AT + (MODE == 2 ? BS * WGS * BIAS_TILE : 0),
                              BARS = VEC_AT + (MODE != 0 ? KS * BN * 4 : 0);
    static constexpr uint32_t K_FULL = BARS, K_FREE = K_FULL + KS * 8, V_FULL = K_FREE + KS * 8, V_FREE = V_FULL + KS * 8,
                              BIAS_FULL = V_FREE + KS * 8, BIAS_FREE = BIAS_FULL + WGS * BS * 8, BYTES = BIAS_FREE + WGS * BS * 8;
    static constexpr int REGS_MORE = WGS == 3 ? 160 : WGS == 2 ? 232 : 216, REGS_LESS = WGS == 3 ? 32 : 40;
    static_assert(PIECE % 1024 == 0 && ATTN_WG_BOX_BYTES % 1024 == 0 && BYTES * RESIDENT <= 232448 - 1024 * (RESIDENT - 1), "configuration");
};

/* A place in a ring of N. */
template <int N> struct AttnRing {
    uint32_t at, phase;
    __device__ __forceinline__ void next() {
        if (++at == N) {
            at = 0;
            phase ^= 1;
        }
    }
};

/* A tile of queries. */
struct AttnWgTile {
    int b, h, i0, whole, rest; /* first query; whole tiles of keys, keys left over */
};

template <typename C> TNI_DEVICE AttnWgTile attn_wg_tile(const TniAttnWgArgs &p, int tile) {
    AttnWgTile w;
    uint32_t head, block, b, h;
    tni_divmod((uint32_t)tile, p.by_tiles, &head, &block);
    tni_divmod(head, p.by_heads, &b, &h);
    w.b = (int)b;
    w.h = (int)h;
    w.i0 = (int)block * C::BM;
    int keys = p.a.sk;
    if (p.a.causal != 0)
        keys = max(0, min(keys, min(w.i0 + C::BM, p.a.sq) + p.a.sk - p.a.sq));
    w.whole = keys / C::BN;
    w.rest = keys - w.whole * C::BN;
    if (w.rest > 64) {
        w.whole++;
        w.rest = 0;
    }
    return w;
}

/* ---- producers ---- */

/* What is added to all scores of a key; with a dense bias as it stands in the sums, which must not overflow. */
template <typename T, typename C> TNI_DEVICE float attn_wg_key(const TniAttnWgArgs &p, int b, int h, int key) {
    if (C::MODE == 1)
        return attn_bias_by_key<T>(p.a, b, h, key);
    if (key >= p.a.sk)
        return -INFINITY;
    const float v = p.vector != 0 ? attn_bias_at<T>(p.a.bias[p.a.dense ^ 1], b, h, 0, key) : 0.0f;
    return v > -INFINITY ? fmaxf(v, -1e30f) * p.unit : v;
}

template <typename T, typename C>
TNI_DEVICE void attn_wg_bring_keys(const TniAttnWgArgs &p, const CUtensorMap *mk, const CUtensorMap *mv, uint32_t base) {
    const int lane = (int)threadIdx.x & 31;
    AttnRing<C::KS> r = {0, 0};
    for (int tile = (int)blockIdx.x; tile < p.tiles; tile += (int)gridDim.x) {
        const AttnWgTile w = attn_wg_tile<C>(p, tile);
        const int n = w.whole + (w.rest > 0), head = (int)tni_quot((uint32_t)w.h, p.by_group);
        for (int j = 0; j < n; j++, r.next()) {
            const uint32_t full = base + C::K_FULL + r.at * 8, full_v = base + C::V_FULL + r.at * 8;
            tni_mbar_wait(base + C::K_FREE + r.at * 8, r.phase ^ 1);
            if (lane == 0) {
                attn_expect(full, C::TILE);
#pragma unroll
                for (int i = 0; i < C::D / 64; i++)
                    attn_tma_load(base + r.at * C::TILE + i * C::PIECE, mk, full, i * 64, j * C::BN, head, w.b);
            }
            if (C::MODE != 0) {
#pragma unroll
                for (int i = 0; i < (C::BN + 31) / 32; i++) {
                    const int key = lane + 32 * i;
                    if (key < C::BN)
                        attn_sts(base + C::VEC_AT + (r.at * C::BN + key) * 4, attn_wg_key<T, C>(p, w.b, w.h, j * C::BN + key));
                }
            }
            __syncwarp();
            if (lane == 0)
                tni_mbar_arrive(full);
            tni_mbar_wait(base + C::V_FREE + r.at * 8, r.phase ^ 1);
            if (lane == 0) {
                tni_mbar_expect(full_v, C::TILE);
#pragma unroll
                for (int i = 0; i < C::D / 64; i++)
                    attn_tma_load(base + C::V_AT + r.at * C::TILE + i * C::PIECE, mv, full_v, i * 64, j * C::BN, head, w.b);
            }
        }
    }
}

/* The bias of consumer warpgroup `who`, by one thread. Queries and keys beyond the last come as zeros and count as bytes. */
template <typename C> TNI_DEVICE void attn_wg_bring_bias(const TniAttnWgArgs &p, const CUtensorMap *m, uint32_t base, int who) {
    const TniCudaAttnBias &bias = p.a.bias[p.a.dense];
    AttnRing<C::BS> r = {0, 0};
    for (int tile = (int)blockIdx.x; tile < p.tiles; tile += (int)gridDim.x) {
        const AttnWgTile w = attn_wg_tile<C>(p, tile);
        const int n = w.whole + (w.rest > 0), i0 = w.i0 + 64 * who, h = bias.sh == 0 ? 0 : w.h, b = bias.sb == 0 ? 0 : w.b;
        for (int j = 0; j < n && i0 < p.a.sq; j++, r.next()) {
            const uint32_t slot = (uint32_t)(who * C::BS) + r.at, full = base + C::BIAS_FULL + slot * 8;
            tni_mbar_wait(base + C::BIAS_FREE + slot * 8, r.phase ^ 1);
            tni_mbar_expect(full, C::BIAS_TILE);
#pragma unroll
            for (int i = 0; i < (int)C::BOXES; i++)
                attn_tma_load(base + C::BIAS_AT + slot * C::BIAS_TILE + (uint32_t)i * ATTN_WG_BOX_BYTES, m, full,
                              j * C::BN + i * TNI_ATTN_WG_BOX, i0, h, b);
        }
    }
}

/* ---- consumers ---- */

/* Queries i and i + 8 of this thread, as they come. */
template <typename T, typename C> TNI_DEVICE void attn_wg_load_q(uint32_t (&q)[C::D / 16][4], const TniAttnWgArgs &p, int tile, int mine) {
    if (tile >= p.tiles)
        return;
    const AttnWgTile w = attn_wg_tile<C>(p, tile);
    const int i = w.i0 + mine, t = (int)threadIdx.x & 3;
    const T *from = (const T *)p.a.q.p + w.b * p.a.q.sb + w.h * p.a.q.sh + i * p.a.q.ss + t * 2;
#pragma unroll
    for (int k = 0; k < C::D / 16; k++)
#pragma unroll
        for (int r = 0; r < 4; r++)
            q[k][r] =
                i + 8 * (r & 1) < p.a.sq ? *reinterpret_cast<const uint32_t *>(from + 8 * (r & 1) * p.a.q.ss + k * 16 + (r >> 1) * 8) : 0u;
}

/* s (+)= q k^T for N keys. keys: first of their rows. */
template <typename T, typename C, int N>
TNI_DEVICE void attn_wg_scores(float (&s)[N / 2], const uint32_t (&q)[C::D / 16][4], uint32_t keys) {
    const uint32_t desc = attn_wg_desc(keys, 16);
    tni_wg_fence();
#pragma unroll
    for (int k = 0; k < C::D / 16; k++)
        AttnWgmma<T, N, 0>::go(s, q[k], attn_wg_step(desc, (k / 4) * C::PIECE + (k % 4) * 32), C::MODE == 2 || k > 0 ? 1 : 0);
    tni_wg_commit();
}

/* o += p v for N keys. */
template <typename T, typename C, int N>
TNI_DEVICE void attn_wg_weigh(float (&o)[C::D / 2], const uint32_t (&p)[N / 16][4], uint32_t values) {
    const uint32_t desc = attn_wg_desc(values, C::PIECE);
    tni_wg_fence();
#pragma unroll
    for (int k = 0; k < N / 16; k++)
        AttnWgmma<T, C::D, 1>::go(o, p[k], attn_wg_step(desc, k * 2048), 1);
    tni_wg_commit();
}

/* What a consumer warpgroup knows while it walks. */
template <typename C> struct AttnWgWalk {
    uint32_t base;
    int who;
    AttnRing<C::KS> kv;
    AttnRing<C::BS> bias;
    __device__ __forceinline__ uint32_t slot() const { return (uint32_t)(who * C::BS) + bias.at; }
    /* One arrival a warp, when all its lanes are done. */
    __device__ __forceinline__ void release(uint32_t bar) const {
        __syncwarp();
        if ((threadIdx.x & 31) == 0)
            tni_mbar_arrive(base + bar);
    }
};

/* s begins as the biases of N keys from row `from` of the tile on. */
template <typename T, typename C, int N>
TNI_DEVICE void attn_wg_begin_at(float (&s)[N / 2], const AttnWgWalk<C> &k, float unit, int from) {
    const uint32_t vec = k.base + C::VEC_AT + (k.kv.at * C::BN + (uint32_t)from + (threadIdx.x & 3) * 2) * 4;
    attn_wg_begin<T, N>(s, vec, k.base + C::BIAS_AT + k.slot() * C::BIAS_TILE + attn_wg_bias_lane(), from, unit);
}

/* A piece of N keys of the current tile, from its row `from` on, from scores to the output. last: last visible column of each row. */
template <typename T, typename C, int N>
TNI_DEVICE void attn_wg_piece(float (&o)[C::D / 2], AttnWgRows &rows, const uint32_t (&q)[C::D / 16][4], const AttnWgWalk<C> &k,
                              const TniAttnWgArgs &a, int from, const int (&last)[2]) {
    float s[N / 2], fade[2], center[2] = {0.0f, 0.0f};
    uint32_t p[N / 16][4];
    const int left[2] = {last[0] - from, last[1] - from};
    if (C::MODE == 2) {
        attn_wg_begin_at<T, C, N>(s, k, a.unit, from);
        tni_wg_wait<0>();
        tni_wg_hold(o);
        attn_wg_center<N>(s, center);
    }
    attn_wg_scores<T, C, N>(s, q, k.base + k.kv.at * C::TILE + (uint32_t)from * 128);
    tni_wg_wait<0>();
    tni_wg_hold(s);
    tni_wg_hold(o);
    if (C::MODE == 1)
        attn_wg_by_key<N>(s, k.base + C::VEC_AT + (k.kv.at * C::BN + (uint32_t)(from + ((int)threadIdx.x & 3) * 2)) * 4, a.unit);
    attn_wg_hide<N>(s, left);
    if (attn_wg_soften<N>(s, center, rows, a.c, a.grow, fade))
        attn_wg_scale(o, fade);
    attn_wg_narrow<T, N>(p, s);
    tni_mbar_wait(k.base + C::V_FULL + k.kv.at * 8, k.kv.phase);
    attn_wg_weigh<T, C, N>(o, p, k.base + C::V_AT + k.kv.at * C::TILE + (uint32_t)from * 128);
    tni_wg_wait<0>();
    tni_wg_hold(o);
    attn_wg_keep(p);
}

/* Whole tiles. The product with the last values is still under way at the end; its slot is `busy`. */
template <typename T, typename C>
TNI_DEVICE void attn_wg_whole(float (&o)[C::D / 2], AttnWgRows &rows, uint32_t (&p)[C::BN / 16][4], const uint32_t (&q)[C::D / 16][4],
                              AttnWgWalk<C> &k, const TniAttnWgArgs &a, int n, int (&last)[2], uint32_t &busy) {
    float s[C::BN / 2];
#pragma unroll 1
    for (int j = 0; j < n; j++) {
        float center[2] = {0.0f, 0.0f};
        tni_mbar_wait(k.base + C::K_FULL + k.kv.at * 8, k.kv.phase);
        if (C::MODE == 2) {
            tni_mbar_wait(k.base + C::BIAS_FULL + k.slot() * 8, k.bias.phase);
            attn_wg_begin_at<T, C, C::BN>(s, k, a.unit, 0);
            tni_wg_wait<0>(); /* before a branch that changes s */
            tni_wg_hold(o);
            attn_wg_keep(p);
            attn_wg_center<C::BN>(s, center);
        }
        attn_wg_scores<T, C, C::BN>(s, q, k.base + k.kv.at * C::TILE);
        tni_wg_wait<0>();
        tni_wg_hold(s);
        tni_wg_hold(o);
        attn_wg_keep(p);
        if (C::MODE == 2) { /* not before: only a product that took the biases in tells that the loads of them have been done */
            k.release(C::BIAS_FREE + k.slot() * 8);
            k.bias.next();
        }
        if (j > 0)
            k.release(busy);
        if (C::MODE == 1)
            attn_wg_by_key<C::BN>(s, k.base + C::VEC_AT + (k.kv.at * C::BN + (threadIdx.x & 3) * 2) * 4, a.unit);
        k.release(C::K_FREE + k.kv.at * 8);
        if (__any_sync(TNI_ALL, last[0] < C::BN - 1 || last[1] < C::BN - 1))
            attn_wg_hide<C::BN>(s, last);
        float fade[2];
        if (attn_wg_soften<C::BN>(s, center, rows, a.c, a.grow, fade))
            attn_wg_scale(o, fade);
        attn_wg_narrow<T, C::BN>(p, s);
        tni_mbar_wait(k.base + C::V_FULL + k.kv.at * 8, k.kv.phase);
        attn_wg_weigh<T, C, C::BN>(o, p, k.base + C::V_AT + k.kv.at * C::TILE);
        busy = C::V_FREE + k.kv.at * 8;
        k.kv.next();
        last[0] -= C::BN;
        last[1] -= C::BN;
    }
}

/* The keys left over, in the current tile. */
template <typename T, typename C>
TNI_DEVICE void attn_wg_rest(float (&o)[C::D / 2], AttnWgRows &rows, const uint32_t (&q)[C::D / 16][4], AttnWgWalk<C> &k,
                             const TniAttnWgArgs &a, int n, const int (&last)[2]) {
    tni_mbar_wait(k.base + C::K_FULL + k.kv.at * 8, k.kv.phase);
    if (C::MODE == 2)
        tni_mbar_wait(k.base + C::BIAS_FULL + k.slot() * 8, k.bias.phase);
    if (n > 16)
        attn_wg_piece<T, C, 48>(o, rows, q, k, a, 0, last);
    if (n <= 16 || n > 48)
        attn_wg_piece<T, C, 16>(o, rows, q, k, a, n > 48 ? 48 : 0, last);
    k.release(C::K_FREE + k.kv.at * 8);
    k.release(C::V_FREE + k.kv.at * 8);
    k.kv.next();
    if (C::MODE == 2) {
        k.release(C::BIAS_FREE + k.slot() * 8);
        k.bias.next();
    }
}

template <typename T, typename C> TNI_DEVICE void attn_wg_consume(const TniAttnWgArgs &a, uint32_t base, int who) {
    const int warp = ((int)threadIdx.x >> 5) & 3, g = ((int)threadIdx.x & 31) >> 2, mine = who * 64 + 16 * warp + g;
    AttnWgWalk<C> k = {base, who, {0, 0}, {0, 0}};
    uint32_t q[C::D / 16][4];
    attn_wg_load_q<T, C>(q, a, (int)blockIdx.x, mine);
    for (int tile = (int)blockIdx.x; tile < a.tiles; tile += (int)gridDim.x) {
        const AttnWgTile w = attn_wg_tile<C>(a, tile);
        const int i = w.i0 + mine, past = a.a.sk - a.a.sq;
        if (w.i0 + who * 64 >= a.a.sq) { /* nothing to do but to let the others go on */
            for (int j = w.whole + (w.rest > 0); j > 0; j--, k.kv.next()) {
                tni_mbar_wait(base + C::K_FULL + k.kv.at * 8, k.kv.phase);
                k.release(C::K_FREE + k.kv.at * 8);
                tni_mbar_wait(base + C::V_FULL + k.kv.at * 8, k.kv.phase);
                k.release(C::V_FREE + k.kv.at * 8);
            }
            attn_wg_load_q<T, C>(q, a, tile + (int)gridDim.x, mine);
            continue;
        }
        int last[2];
#pragma unroll
        for (int r = 0; r < 2; r++)
            last[r] = a.a.causal != 0 ? min(a.a.sk - 1, i + 8 * r + past) : a.a.sk - 1;
        if (C::MODE == 2) {
#pragma unroll
            for (int j = 0; j < C::D / 16; j++)
#pragma unroll
                for (int r = 0; r < 4; r++)
                    q[j][r] = attn_wg_times<T>(q[j][r], a.q_scale);
        }
        float o[C::D / 2];
        uint32_t p[C::BN / 16][4], busy = 0;
        AttnWgRows rows = {{-INFINITY, -INFINITY}, {0.0f, 0.0f}, {0.0f, 0.0f}, false};
#pragma unroll
        for (int j = 0; j < C::D / 2; j++)
            o[j] = 0.0f;
#pragma unroll
        for (int j = 0; j < C::BN / 16; j++)
#pragma unroll
            for (int r = 0; r < 4; r++)
                p[j][r] = 0;
        attn_wg_whole<T, C>(o, rows, p, q, k, a, w.whole, last, busy);
        if (w.rest > 0)
            attn_wg_rest<T, C>(o, rows, q, k, a, w.rest, last);
        attn_wg_load_q<T, C>(q, a, tile + (int)gridDim.x, mine);
        tni_wg_wait<0>();
        tni_wg_hold(o);
        attn_wg_keep(p);
        if (w.whole > 0)
            k.release(busy);
        T *y = (T *)a.a.out + w.b * a.a.out_sb + w.h * a.a.out_sh + i * a.a.out_ss;
        attn_wg_store<T, C::D>(y, a.a.out_ss, a.a.sq - i, rows, o);
    }
}

/* ---- kernel ---- */

template <typename T, typename C>
__global__ void __launch_bounds__(C::THREADS, C::RESIDENT)
    tni_attn_wg_kernel(const __grid_constant__ CUtensorMap mk, const __grid_constant__ CUtensorMap mv,
                       const __grid_constant__ CUtensorMap mb, const __grid_constant__ TniAttnWgArgs p) {
    extern __shared__ __align__(1024) char shared[];
    const uint32_t base = tni_smem(shared);
    const int group = (int)threadIdx.x >> 7, warp = (int)threadIdx.x >> 5;
    if (threadIdx.x == 0) {
        for (uint32_t i = 0; i < C::KS; i++) {
            tni_mbar_init(base + C::K_FULL + i * 8, 1);
            tni_mbar_init(base + C::V_FULL + i * 8, 1);
            tni_mbar_init(base + C::K_FREE + i * 8, 4 * C::WGS);
            tni_mbar_init(base + C::V_FREE + i * 8, 4 * C::WGS);
        }
        for (uint32_t i = 0; i < C::WGS * C::BS; i++) {
            tni_mbar_init(base + C::BIAS_FULL + i * 8, 1);
            tni_mbar_init(base + C::BIAS_FREE + i * 8, 4);
        }
        tni_mbar_init_done();
        tni_proxy_fence();
        tni_tma_prefetch(&mk);
        tni_tma_prefetch(&mv);
        if (C::MODE == 2)
            tni_tma_prefetch(&mb);
    }
    __syncthreads();
    tni_after();
    tni_let_next();
    if (group == 0) {
        tni_regs_less<C::REGS_LESS>();
        if (warp == 0)
            attn_wg_bring_keys<T, C>(p, &mk, &mv, base);
        else if (C::MODE == 2 && warp <= C::WGS && (threadIdx.x & 31) == 0)
            attn_wg_bring_bias<C>(p, &mb, base, warp - 1);
    } else {
        tni_regs_more<C::REGS_MORE>();
        attn_wg_consume<T, C>(p, base, group - 1);
    }
}

template <typename T, typename C>
static cudaError_t attn_wg_launch(const CUtensorMap *maps, const TniAttnWgArgs *args, const TnStream *s) {
    const cudaError_t e =
        cudaFuncSetAttribute((const void *)tni_attn_wg_kernel<T, C>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)C::BYTES);
    if (e != cudaSuccess)
        return e;
    const int blocks = min(args->tiles, (int)s->dev->info.sm_count * C::RESIDENT);
    return tni_launch_early(s, tni_attn_wg_kernel<T, C>, dim3((unsigned)blocks), dim3(C::THREADS), C::BYTES, maps[0], maps[1], maps[2],
                            *args);
}

/* The cases of a launcher. */
#define ATTN_WG_CASE(T, name, d, keys, groups, tiles, bias_tiles, resident)                                                                \
    case TNI_ATTN_WG_##name:                                                                                                               \
        return mode == 0   ? attn_wg_launch<T, AttnWg<d, keys, groups, tiles, bias_tiles, resident, 0>>(maps, args, s)                     \
               : mode == 1 ? attn_wg_launch<T, AttnWg<d, keys, groups, tiles, bias_tiles, resident, 1>>(maps, args, s)                     \
                           : attn_wg_launch<T, AttnWg<d, keys, groups, tiles, bias_tiles, resident, 2>>(maps, args, s);

#endif
