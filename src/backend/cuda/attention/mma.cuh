/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused attention of f16 and bf16 on the tensor cores through mma.sync m16n8k16 (capability 8.0 and newer).
 *
 * A block has WM x WN warps and takes 16 * MI * WM queries of one head. It walks over the keys in tiles of BN; tiles of keys, values and bias
 * come by cp.async into one of two buffers while the other is worked on. A warp holds its queries in registers, multiplies them with
 * KW = BN / WN keys of a tile, keeps running maximum and sum (f32), and multiplies the probabilities, which never leave its registers, with the
 * values. With WN > 1 the warps of a row of warps see different keys; their parts are combined in a fixed order at the end.
 *
 * Shared rows of keys and values are DP elements (head size padded with zeros to 32, 64, 128, 256), their 16-byte chunks permuted so that the
 * eight rows of an ldmatrix lie in different banks. Rows of a dense bias start anywhere (709 keys: every other row is odd): whole 16-byte
 * chunks around the wanted ones are copied, and a row's elements are found `shift` elements later. Biases that are the same for all queries
 * become one f32 vector a tile, -inf beyond the last key: that is also the mask of the tail. What a dense bias has there is hidden.
 *
 * Registers of a product, g = lane / 4, t = lane % 4: A: (g, 2t..) (g + 8, 2t..) (g, 2t + 8..) (g + 8, 2t + 8..); B: (2t.., g) (2t + 8.., g);
 * C: (g, 2t) (g, 2t + 1) (g + 8, 2t) (g + 8, 2t + 1). Two C tiles of scores are one A operand of the second product. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_MMA_CUH
#define TENON_BACKEND_CUDA_ATTENTION_MMA_CUH

#include "backend/cuda/attention/attention.h"
#include "backend/cuda/attention/tile.cuh"

/* BIAS: 0 by key only, 1 dense of type T, 2 dense f32 (also: mixed, written tile by tile as f32). */
template <int DP_, int MI_, int WM_, int WN_, int BIAS_> struct AttnTile {
    static constexpr int DP = DP_, MI = MI_, WM = WM_, WN = WN_, BIAS = BIAS_;
    static constexpr int BN = DP > 128 ? 32 : 64, BM = 16 * MI * WM, KW = BN / WN, NT = KW / 8, THREADS = 32 * WM * WN;
    static constexpr int ES = BIAS == 1 ? 2 : 4;            /* bytes of a dense bias element */
    static constexpr int BROW = BIAS == 0 ? 0 : BN * ES + 16; /* bytes of a row of the bias tile */
    static constexpr int KV = BN * DP * 2;
    static constexpr int V_AT = 2 * KV, VEC_AT = 4 * KV, BIAS_AT = VEC_AT + 2 * BN * 4, BYTES = BIAS_AT + 2 * BM * BROW;
    static constexpr int PART = DP + 4; /* floats of a row of a warp's part of the output */
    static_assert(NT % 2 == 0, "a warp takes keys sixteen at a time");
    static_assert(WN == 1 || WN * BM * (PART + 2) * 4 <= 4 * KV + 2 * BN * 4 + 2 * BM * BROW, "parts of the output fit");
};

/* A 16-byte chunk's place in a tile of keys or values, in bytes. */
template <int DP> TNI_DEVICE int attn_chunk_at(int row, int chunk) {
    return row * DP * 2 + ((chunk ^ (DP == 32 ? (row >> 1) & 3 : row & 7)) << 4);
}

/* Tokens j0 .. j0 + BN of an operand, element (s, e) at p[s * ss + e * sd], into a tile; zeros beyond n tokens and d elements. */
template <typename T, int DP, int BN, int THREADS>
TNI_DEVICE void attn_load_tile(char *tile, const T *p, int64_t ss, int64_t sd, bool wide, int j0, int n, int d) {
    constexpr int CHUNKS = DP / 8;
#pragma unroll
    for (int i = 0; i < (BN * CHUNKS + THREADS - 1) / THREADS; i++) {
        const int at = (int)threadIdx.x + i * THREADS, row = at / CHUNKS, chunk = at % CHUNKS;
        if (BN * CHUNKS % THREADS != 0 && row >= BN)
            break;
        const bool in = j0 + row < n && chunk * 8 < d;
        char *to = tile + attn_chunk_at<DP>(row, chunk);
        const T *from = in ? p + (int64_t)(j0 + row) * ss + (int64_t)(chunk * 8) * sd : p;
        if (wide)
            attn_copy16(to, from, in ? 16 : 0);
        else
            *reinterpret_cast<uint4 *>(to) = attn_gather8(from, sd, in ? d - chunk * 8 : 0);
    }
}

/* Rows i0 .. i0 + BM of a dense bias, keys from j0 on: whole chunks around them. row0: address of (b, h, 0, 0). */
template <typename S> TNI_DEVICE void attn_load_bias(char *tile, const TniCudaAttnBias &bias, const char *row0, int i0, int sq, int j0) {
    constexpr int CHUNKS = S::BN * S::ES / 16 + 1;
    for (int at = (int)threadIdx.x; at < S::BM * CHUNKS; at += S::THREADS) {
        const int row = at / CHUNKS, chunk = at % CHUNKS;
        if (i0 + row >= sq)
            break;
        const char *from = row0 + ((int64_t)(i0 + row) * bias.si + j0) * S::ES;
        from += chunk * 16 - (int)((uintptr_t)from & 15);
        const int64_t left = bias.end - from;
        attn_copy16(tile + row * S::BROW + chunk * 16, left > 0 ? from : bias.p - ((uintptr_t)bias.p & 15), left >= 16 ? 16 : left > 0 ? (int)left : 0);
    }
}

/* The sum of all biases that differ between queries, element by element. */
template <typename T, typename S> TNI_DEVICE void attn_fill_bias(char *tile, const TniCudaAttn &a, int b, int h, int i0, int j0) {
    for (int at = (int)threadIdx.x; at < S::BM * S::BN; at += S::THREADS) {
        const int row = at / S::BN, col = at % S::BN;
        float v = 0.0f;
        if (i0 + row < a.sq && j0 + col < a.sk)
            v = attn_bias_sum<T>(a, b, h, i0 + row, j0 + col, true);
        *reinterpret_cast<float *>(tile + row * S::BROW + col * 4) = v;
    }
}

template <typename T, int DP, int MI> TNI_DEVICE void attn_load_q(uint32_t (&q)[MI][DP / 16][4], const TniCudaAttnView &v, const T *p, int i,
                                                                  int n, int d) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int mi = 0; mi < MI; mi++)
#pragma unroll
        for (int k = 0; k < DP / 16; k++)
#pragma unroll
            for (int r = 0; r < 4; r++) {
                const int row = i + mi * 16 + (r & 1) * 8, col = k * 16 + t * 2 + (r >> 1) * 8;
                q[mi][k][r] = row < n ? attn_pair<T>(p + (int64_t)row * v.ss, col, d, v.pairs != 0) : 0u;
            }
}

template <typename T, typename S> struct AttnMma {
    static constexpr int DP = S::DP, MI = S::MI, NT = S::NT, BN = S::BN;

    /* s = q k^T for this warp's keys of a tile. */
    static __device__ __forceinline__ void scores(float (&s)[MI][NT][4], const uint32_t (&q)[MI][DP / 16][4], const char *keys, int first) {
        const int lane = (int)threadIdx.x & 31, row = first + (lane & 7) + (lane >> 4) * 8, half = (lane >> 3) & 1;
#pragma unroll
        for (int mi = 0; mi < MI; mi++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int r = 0; r < 4; r++)
                    s[mi][n][r] = 0.0f;
#pragma unroll
        for (int k = 0; k < DP / 16; k++)
#pragma unroll
            for (int n = 0; n < NT; n += 2) {
                uint32_t b[4];
                attn_ldmatrix(b, keys + attn_chunk_at<DP>(row + n * 8, k * 2 + half));
#pragma unroll
                for (int mi = 0; mi < MI; mi++) {
                    attn_mma<T>(s[mi][n], q[mi][k], b[0], b[1]);
                    attn_mma<T>(s[mi][n + 1], q[mi][k], b[2], b[3]);
                }
            }
    }

    /* o += p v. */
    static __device__ __forceinline__ void weigh(float (&o)[MI][DP / 8][4], const float (&p)[MI][NT][4], const char *values, int first) {
        const int lane = (int)threadIdx.x & 31, row = first + (lane & 15), half = lane >> 4;
#pragma unroll
        for (int k = 0; k < NT / 2; k++) {
            uint32_t a[MI][4];
#pragma unroll
            for (int mi = 0; mi < MI; mi++) {
                a[mi][0] = attn_pack<T>(p[mi][2 * k][0], p[mi][2 * k][1]);
                a[mi][1] = attn_pack<T>(p[mi][2 * k][2], p[mi][2 * k][3]);
                a[mi][2] = attn_pack<T>(p[mi][2 * k + 1][0], p[mi][2 * k + 1][1]);
                a[mi][3] = attn_pack<T>(p[mi][2 * k + 1][2], p[mi][2 * k + 1][3]);
            }
#pragma unroll
            for (int n = 0; n < DP / 8; n += 2) {
                uint32_t b[4];
                attn_ldmatrix_t(b, values + attn_chunk_at<DP>(row + k * 16, n + half));
#pragma unroll
                for (int mi = 0; mi < MI; mi++) {
                    attn_mma<T>(o[mi][n], a[mi], b[0], b[1]);
                    attn_mma<T>(o[mi][n + 1], a[mi], b[2], b[3]);
                }
            }
        }
    }

    /* Scores to scaled and biased scores. vec, tile: this warp's first key; shift: bytes from a row of the tile to its first key. */
    static __device__ __forceinline__ void bias(float (&s)[MI][NT][4], float scale, const float *vec, const char *tile,
                                                const int (&shift)[MI][2]) {
        const int t = (int)threadIdx.x & 3;
#pragma unroll
        for (int n = 0; n < NT; n++) {
            const float2 add = *reinterpret_cast<const float2 *>(vec + n * 8 + t * 2);
#pragma unroll
            for (int mi = 0; mi < MI; mi++)
#pragma unroll
                for (int r = 0; r < 4; r++) {
                    float x = fmaf(s[mi][n][r], scale, (r & 1) != 0 ? add.y : add.x);
                    if (S::BIAS != 0) {
                        const char *e = tile + shift[mi][r >> 1] + (n * 8 + (r & 1)) * S::ES;
                        x += S::BIAS == 1 ? tni_f32(*reinterpret_cast<const T *>(e)) : *reinterpret_cast<const float *>(e);
                    }
                    s[mi][n][r] = x;
                }
        }
    }

    /* Hides keys from n on, counted from this warp's first: a row of a bias may have anything behind its last. */
    static __device__ __forceinline__ void cut(float (&s)[MI][NT][4], int n) {
        const int t = (int)threadIdx.x & 3;
#pragma unroll
        for (int mi = 0; mi < MI; mi++)
#pragma unroll
            for (int j = 0; j < NT; j++)
#pragma unroll
                for (int r = 0; r < 4; r++)
                    if (j * 8 + t * 2 + (r & 1) >= n)
                        s[mi][j][r] = -INFINITY;
    }

    /* Hides keys that come after a query. limit: last visible key of row g, relative to this warp's first key. */
    static __device__ __forceinline__ void hide(float (&s)[MI][NT][4], int limit) {
        const int t = (int)threadIdx.x & 3;
#pragma unroll
        for (int mi = 0; mi < MI; mi++)
#pragma unroll
            for (int n = 0; n < NT; n++)
#pragma unroll
                for (int r = 0; r < 4; r++)
                    if (n * 8 + t * 2 + (r & 1) > limit + mi * 16 + (r >> 1) * 8)
                        s[mi][n][r] = -INFINITY;
    }

    /* Scores to exp(score - maximum); maximum and sum so far are brought up to date, o is rescaled. Sums are of this thread's keys only. */
    static __device__ __forceinline__ void softmax(float (&s)[MI][NT][4], float (&max)[MI][2], float (&sum)[MI][2], float (&o)[MI][DP / 8][4]) {
#pragma unroll
        for (int mi = 0; mi < MI; mi++)
#pragma unroll
            for (int r = 0; r < 2; r++) {
                float m = max[mi][r];
#pragma unroll
                for (int n = 0; n < NT; n++)
                    m = fmaxf(m, fmaxf(s[mi][n][2 * r], s[mi][n][2 * r + 1]));
                m = fmaxf(m, __shfl_xor_sync(TNI_ALL, m, 1));
                m = fmaxf(m, __shfl_xor_sync(TNI_ALL, m, 2));
                const float zero = m == -INFINITY ? 0.0f : m, fade = attn_exp(max[mi][r] - zero);
                float add = 0.0f;
#pragma unroll
                for (int n = 0; n < NT; n++)
#pragma unroll
                    for (int c = 0; c < 2; c++) {
                        const float p = attn_exp(s[mi][n][2 * r + c] - zero);
                        s[mi][n][2 * r + c] = p;
                        add += p;
                    }
                max[mi][r] = m;
                sum[mi][r] = fmaf(sum[mi][r], fade, add);
#pragma unroll
                for (int n = 0; n < DP / 8; n++) {
                    o[mi][n][2 * r] *= fade;
                    o[mi][n][2 * r + 1] *= fade;
                }
            }
    }
};

/* Output of a warp that saw all keys: rows i (+8, +16 ...) of this thread. */
template <typename T, typename S>
TNI_DEVICE void attn_store(const TniCudaAttn &a, T *out, int i, const float (&sum)[S::MI][2], const float (&o)[S::MI][S::DP / 8][4]) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int mi = 0; mi < S::MI; mi++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = i + mi * 16 + r * 8;
            const float f = 1.0f / sum[mi][r];
            T *y = out + (int64_t)row * a.out_ss;
#pragma unroll
            for (int n = 0; n < S::DP / 8; n += 4) {
                uint32_t w[4];
#pragma unroll
                for (int u = 0; u < 4; u++)
                    w[u] = attn_pack<T>(o[mi][n + u][2 * r] * f, o[mi][n + u][2 * r + 1] * f);
                if (a.out_wide) { /* eight neighbours a thread */
                    attn_turn(w);
                    if (row < a.sq && (n + t) * 8 < a.dv)
                        tni_store16(y + (n + t) * 8, make_uint4(w[0], w[1], w[2], w[3]));
                } else if (row < a.sq) {
#pragma unroll
                    for (int u = 0; u < 4; u++)
                        attn_put_pair<T>(y, (n + u) * 8 + t * 2, a.dv, w[u]);
                }
            }
        }
}

/* The warps of a row of warps saw different keys: their parts meet in shared memory, the whole block writes the output. */
template <typename T, typename S>
TNI_DEVICE void attn_combine(const TniCudaAttn &a, T *out, int i0, char *shared, const float (&max)[S::MI][2], const float (&sum)[S::MI][2],
                             const float (&o)[S::MI][S::DP / 8][4]) {
    float *part = reinterpret_cast<float *>(shared), *stats = part + S::WN * S::BM * S::PART;
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, g = lane >> 2, t = lane & 3, wm = warp % S::WM, wn = warp / S::WM;
    __syncthreads();
#pragma unroll
    for (int mi = 0; mi < S::MI; mi++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = wn * S::BM + (wm * S::MI + mi) * 16 + r * 8 + g;
#pragma unroll
            for (int n = 0; n < S::DP / 8; n++)
                *reinterpret_cast<float2 *>(part + row * S::PART + n * 8 + t * 2) = make_float2(o[mi][n][2 * r], o[mi][n][2 * r + 1]);
            if (t == 0) {
                stats[2 * row] = max[mi][r];
                stats[2 * row + 1] = sum[mi][r];
            }
        }
    __syncthreads();
    for (int at = (int)threadIdx.x; at < S::BM * (S::DP / 8); at += S::THREADS) {
        const int row = at / (S::DP / 8), col = at % (S::DP / 8) * 8;
        if (i0 + row >= a.sq || col >= a.dv)
            continue;
        float m = -INFINITY, l = 0.0f, y[8] = {0, 0, 0, 0, 0, 0, 0, 0};
#pragma unroll
        for (int w = 0; w < S::WN; w++)
            m = fmaxf(m, stats[2 * (w * S::BM + row)]);
        const float zero = m == -INFINITY ? 0.0f : m;
#pragma unroll
        for (int w = 0; w < S::WN; w++) {
            const float f = attn_exp(stats[2 * (w * S::BM + row)] - zero);
            const float *p = part + (w * S::BM + row) * S::PART + col;
            l = fmaf(f, stats[2 * (w * S::BM + row) + 1], l);
#pragma unroll
            for (int c = 0; c < 8; c++)
                y[c] = fmaf(f, p[c], y[c]);
        }
        T *to = out + (int64_t)(i0 + row) * a.out_ss + col;
#pragma unroll
        for (int c = 0; c < 8; c++)
            y[c] /= l;
        if (a.out_wide && col + 8 <= a.dv)
            tni_store<8>(to, y);
        else /* also the last half of an f32 row: 16 bytes are four of its elements */
            for (int c = 0; c < 8 && col + c < a.dv; c++)
                to[c] = tni_from_f32<T>(y[c]);
    }
}

/* Block x: a block of queries, blocks of one head one after another (they share its keys). */
template <typename T, int DP, int MI, int WM, int WN, int BIAS>
__global__ void __launch_bounds__(32 * WM *WN) tni_attn_mma_kernel(const __grid_constant__ TniCudaAttn a) {
    using S = AttnTile<DP, MI, WM, WN, BIAS>;
    using M = AttnMma<T, S>;
    extern __shared__ __align__(128) char shared[];
    float *vec = reinterpret_cast<float *>(shared + S::VEC_AT);
    const int blocks = (a.sq + S::BM - 1) / S::BM, head = (int)blockIdx.x / blocks, b = head / a.h, h = head % a.h;
    const int i0 = (int)blockIdx.x % blocks * S::BM, lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    const int mine = warp % WM * 16 * MI + (lane >> 2), first = warp / WM * S::KW; /* this thread's row g of the block; first key of a tile */
    const T *kp = (const T *)a.k.p + b * a.k.sb + h / a.group * a.k.sh, *vp = (const T *)a.v.p + b * a.v.sb + h / a.group * a.v.sh;
    const TniCudaAttnBias &dense = a.bias[a.dense];
    const char *bias0 = BIAS == 0 ? NULL : dense.p + (b * dense.sb + h * dense.sh) * S::ES;
    const bool mixed = BIAS == 2 && a.bias_kind == TNI_ATTN_MIXED;

    tni_after();
    tni_let_next();
    uint32_t q[MI][DP / 16][4];
    attn_load_q<T, DP, MI>(q, a.q, (const T *)a.q.p + b * a.q.sb + h * a.q.sh, i0 + mine, a.sq, a.d);
    float o[MI][DP / 8][4], max[MI][2], sum[MI][2];
    int shift[MI][2]; /* byte of the bias tile where row g's keys for this thread begin */
#pragma unroll
    for (int mi = 0; mi < MI; mi++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = mine + mi * 16 + r * 8;
            max[mi][r] = -INFINITY;
            sum[mi][r] = 0.0f;
            shift[mi][r] = row * S::BROW + (first + (lane & 3) * 2) * S::ES;
            if (BIAS != 0 && !mixed)
                shift[mi][r] += (int)((uintptr_t)(bias0 + (int64_t)(i0 + row) * dense.si * S::ES) & 15);
#pragma unroll
            for (int n = 0; n < DP / 8; n++)
                o[mi][n][2 * r] = o[mi][n][2 * r + 1] = 0.0f;
        }

    const int past = a.sk - a.sq; /* causal: query i sees keys up to i + past */
    const int keys = a.causal ? min(a.sk, min(i0 + S::BM, a.sq) + past) : a.sk, tiles = keys > 0 ? (keys + S::BN - 1) / S::BN : 0;
    auto load = [&](int tile) {
        const int buffer = tile & 1, j0 = tile * S::BN;
        attn_load_tile<T, DP, S::BN, S::THREADS>(shared + buffer * S::KV, kp, a.k.ss, a.k.sd, a.k.wide != 0, j0, a.sk, a.d);
        attn_load_tile<T, DP, S::BN, S::THREADS>(shared + S::V_AT + buffer * S::KV, vp, a.v.ss, a.v.sd, a.v.wide != 0, j0, a.sk, a.dv);
        if (BIAS != 0) {
            char *to = shared + S::BIAS_AT + buffer * S::BM * S::BROW;
            if (mixed)
                attn_fill_bias<T, S>(to, a, b, h, i0, j0);
            else
                attn_load_bias<S>(to, dense, bias0, i0, a.sq, j0);
        }
        attn_commit();
    };
    const int vec_key = (int)threadIdx.x;
    if (tiles > 0) {
        load(0);
        if (vec_key < S::BN)
            vec[vec_key] = attn_bias_by_key<T>(a, b, h, vec_key);
    }
    for (int tile = 0; tile < tiles; tile++) {
        const int buffer = tile & 1;
        const bool more = tile + 1 < tiles;
        float next = 0.0f;
        attn_wait_all();
        __syncthreads(); /* the tile is there; everyone is done with the other buffer */
        if (more) {
            load(tile + 1);
            if (vec_key < S::BN)
                next = attn_bias_by_key<T>(a, b, h, (tile + 1) * S::BN + vec_key);
        }
        float s[MI][S::NT][4];
        M::scores(s, q, shared + buffer * S::KV, first);
        M::bias(s, a.scale, vec + buffer * S::BN + first, shared + S::BIAS_AT + buffer * S::BM * S::BROW, shift);
        if (BIAS != 0 && (tile + 1) * S::BN > a.sk)
            M::cut(s, a.sk - tile * S::BN - first);
        if (a.causal && (tile + 1) * S::BN - 1 > i0 + past)
            M::hide(s, i0 + mine + past - tile * S::BN - first);
        M::softmax(s, max, sum, o);
        M::weigh(o, s, shared + S::V_AT + buffer * S::KV, first);
        if (more && vec_key < S::BN)
            vec[(buffer ^ 1) * S::BN + vec_key] = next;
    }
#pragma unroll
    for (int mi = 0; mi < MI; mi++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            sum[mi][r] += __shfl_xor_sync(TNI_ALL, sum[mi][r], 1);
            sum[mi][r] += __shfl_xor_sync(TNI_ALL, sum[mi][r], 2);
        }
    T *out = (T *)a.out + b * a.out_sb + h * a.out_sh;
    if (WN == 1)
        attn_store<T, S>(a, out, i0 + mine, sum, o);
    else
        attn_combine<T, S>(a, out, i0, shared, max, sum, o);
}

/* ---- launch ---- */

template <typename T, int DP, int MI, int WM, int WN, int BIAS> static TnStatus attn_launch(TnKernelCall *call, const TniCudaAttn &a) {
    using S = AttnTile<DP, MI, WM, WN, BIAS>;
    const int64_t blocks = (int64_t)a.b * a.h * tni_div_up(a.sq, S::BM);
    if (blocks == 0)
        return TN_OK;
    TN_TRY(tni_cuda_shared(call, (const void *)tni_attn_mma_kernel<T, DP, MI, WM, WN, BIAS>, S::BYTES));
    TNI_CUDA(call->err,
             tni_launch_early(call->stream, tni_attn_mma_kernel<T, DP, MI, WM, WN, BIAS>, dim3((unsigned)blocks), dim3(S::THREADS), S::BYTES,
                              a),
             "attention");
    return tni_cuda_launched(call, "attention");
}

template <typename T, int DP, int MI, int WM, int WN> static TnStatus attn_by_bias(TnKernelCall *call, const TniCudaAttn &a) {
    if (a.bias_kind == TNI_ATTN_BY_KEY)
        return attn_launch<T, DP, MI, WM, WN, 0>(call, a);
    if (a.bias_kind == TNI_ATTN_DENSE && !a.bias[a.dense].f32)
        return attn_launch<T, DP, MI, WM, WN, 1>(call, a);
    return attn_launch<T, DP, MI, WM, WN, 2>(call, a);
}

template <typename T> static TnStatus attn_mma_run(TnKernelCall *call, const TniCudaAttn &a, TniCudaAttnTile tile) {
    const int d = a.d > a.dv ? a.d : a.dv;
    switch (tile) {
    case TNI_ATTN_128:
        if (d <= 32)
            return attn_by_bias<T, 32, 2, 4, 1>(call, a);
        if (d <= 64)
            return attn_by_bias<T, 64, 2, 4, 1>(call, a);
        break;
    case TNI_ATTN_64:
        if (d <= 32)
            return attn_by_bias<T, 32, 1, 4, 1>(call, a);
        if (d <= 64)
            return attn_by_bias<T, 64, 1, 4, 1>(call, a);
        if (d <= 128)
            return attn_by_bias<T, 128, 1, 4, 1>(call, a);
        if (d <= 256)
            return attn_by_bias<T, 256, 1, 4, 1>(call, a);
        break;
    case TNI_ATTN_32:
        if (d <= 32)
            return attn_by_bias<T, 32, 1, 2, 2>(call, a);
        if (d <= 64)
            return attn_by_bias<T, 64, 1, 2, 2>(call, a);
        if (d <= 128)
            return attn_by_bias<T, 128, 1, 2, 2>(call, a);
        break;
    case TNI_ATTN_16:
        if (d <= 32)
            return attn_by_bias<T, 32, 1, 1, 4>(call, a);
        if (d <= 64)
            return attn_by_bias<T, 64, 1, 1, 4>(call, a);
        if (d <= 128)
            return attn_by_bias<T, 128, 1, 1, 4>(call, a);
        break;
    }
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: head size %d is too large for this kernel", d);
}

#endif
