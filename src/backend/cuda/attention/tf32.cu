/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused attention of f32 with operands rounded to tf32 (mma.sync m16n8k8), after the pattern of mma.cuh: one tile of 16 queries a warp, WM x WN
 * warps, keys, values and bias in two buffers.
 *
 * A product's inner index may be permuted as long as both operands agree. Of the 16 elements 16k .. of a query and a key, lane t takes
 * 4t .. 4t + 3 in one load: elements 4t, 4t + 1 are inner indices t, t + 4 of one product, 4t + 2, 4t + 3 of the next. In the second product lane
 * t has the probabilities of keys 2t, 2t + 1, which become its inner indices t, t + 4. Rows are padded so that such loads meet no
 * bank twice: keys by 16 floats (rows g, g + 1 in different halves), values by 4 (rows 2t are 8 banks apart). */
#include "backend/cuda/attention/mma.cuh"

template <int DP_, int WM_, int WN_, int BIAS_> struct Tf32Tile {
    static constexpr int DP = DP_, MI = 1, WM = WM_, WN = WN_, BIAS = BIAS_;
    static constexpr int BN = DP > 64 ? 32 : 64, BM = 16 * WM, KW = BN / WN, NT = KW / 8, THREADS = 32 * WM * WN;
    static constexpr int ES = 4, BROW = BIAS == 0 ? 0 : BN * ES + 16;
    static constexpr int KS = DP + 16, VS = DP + 4; /* floats of a row */
    static constexpr int K = BN * KS * 4, V = BN * VS * 4;
    static constexpr int V_AT = 2 * K, VEC_AT = V_AT + 2 * V, BIAS_AT = VEC_AT + 2 * BN * 4, BYTES = BIAS_AT + 2 * BM * BROW;
    static constexpr int PART = DP + 4;
    static_assert(WN == 1 || WN * BM * (PART + 2) * 4 <= BYTES, "parts of the output fit");
};

TNI_DEVICE uint32_t tf32_round(float x) {
    uint32_t y;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x));
    return y;
}

TNI_DEVICE void tf32_mma(float (&c)[4], const uint32_t *a, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* Elements e .. e + 3 of a row of d, zeros beyond. */
TNI_DEVICE float4 tf32_fetch(const float *row, int64_t sd, bool wide, int e, int d) {
    if (e >= d)
        return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    row += e * sd;
    if (wide)
        return *reinterpret_cast<const float4 *>(row);
    return make_float4(row[0], e + 1 < d ? row[sd] : 0.0f, e + 2 < d ? row[2 * sd] : 0.0f, e + 3 < d ? row[3 * sd] : 0.0f);
}

template <int DP, int BN, int STRIDE, int THREADS>
TNI_DEVICE void tf32_load_tile(char *tile, const float *p, const TniCudaAttnView &v, int j0, int n, int d) {
    constexpr int CHUNKS = DP / 4;
#pragma unroll 4
    for (int at = (int)threadIdx.x; at < BN * CHUNKS; at += THREADS) {
        const int row = at / CHUNKS, e = at % CHUNKS * 4;
        const bool in = j0 + row < n && e < d;
        char *to = tile + (row * STRIDE + e) * 4;
        if (v.wide)
            attn_copy16(to, in ? p + (j0 + row) * v.ss + e : p, in ? 16 : 0);
        else
            *reinterpret_cast<float4 *>(to) = in ? tf32_fetch(p + (j0 + row) * v.ss, v.sd, false, e, d) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
}

/* q[k]: operands A of the two products over elements 16k .. 16k + 15. */
template <int DP> TNI_DEVICE void tf32_load_q(uint32_t (&q)[DP / 16][8], const TniCudaAttnView &v, const float *p, int i, int n, int d) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int k = 0; k < DP / 16; k++)
#pragma unroll
        for (int r = 0; r < 2; r++) {
            const int row = i + r * 8;
            const float4 x = row < n ? tf32_fetch(p + row * v.ss, 1, v.wide != 0, k * 16 + t * 4, d) : make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            q[k][r] = tf32_round(x.x);
            q[k][2 + r] = tf32_round(x.y);
            q[k][4 + r] = tf32_round(x.z);
            q[k][6 + r] = tf32_round(x.w);
        }
}

template <typename S> TNI_DEVICE void tf32_scores(float (&s)[1][S::NT][4], const uint32_t (&q)[S::DP / 16][8], const float *keys) {
    const int lane = (int)threadIdx.x & 31;
    keys += (lane >> 2) * S::KS + (lane & 3) * 4;
#pragma unroll
    for (int n = 0; n < S::NT; n++) {
#pragma unroll
        for (int r = 0; r < 4; r++)
            s[0][n][r] = 0.0f;
#pragma unroll
        for (int k = 0; k < S::DP / 16; k++) {
            const float4 x = *reinterpret_cast<const float4 *>(keys + n * 8 * S::KS + k * 16);
            tf32_mma(s[0][n], q[k], tf32_round(x.x), tf32_round(x.y));
            tf32_mma(s[0][n], q[k] + 4, tf32_round(x.z), tf32_round(x.w));
        }
    }
}

template <typename S> TNI_DEVICE void tf32_weigh(float (&o)[1][S::DP / 8][4], const float (&p)[1][S::NT][4], const float *values) {
    const int lane = (int)threadIdx.x & 31;
    values += (lane & 3) * 2 * S::VS + (lane >> 2);
#pragma unroll
    for (int k = 0; k < S::NT; k++) {
        const uint32_t a[4] = {tf32_round(p[0][k][0]), tf32_round(p[0][k][2]), tf32_round(p[0][k][1]), tf32_round(p[0][k][3])};
#pragma unroll
        for (int n = 0; n < S::DP / 8; n++) {
            const float *v = values + k * 8 * S::VS + n * 8;
            tf32_mma(o[0][n], a, tf32_round(v[0]), tf32_round(v[S::VS]));
        }
    }
}

template <typename S> TNI_DEVICE void tf32_store(const TniCudaAttn &a, float *out, int i, const float (&sum)[1][2], const float (&o)[1][S::DP / 8][4]) {
    const int t = (int)threadIdx.x & 3;
#pragma unroll
    for (int r = 0; r < 2; r++) {
        const float f = 1.0f / sum[0][r];
        float *y = out + (i + r * 8) * a.out_ss;
        if (i + r * 8 >= a.sq)
            continue;
#pragma unroll
        for (int n = 0; n < S::DP / 8; n++) {
            const int e = n * 8 + t * 2;
            const float2 x = make_float2(o[0][n][2 * r] * f, o[0][n][2 * r + 1] * f);
            if (a.out_wide && e < a.dv)
                *reinterpret_cast<float2 *>(y + e) = x;
            else {
                if (e < a.dv)
                    y[e] = x.x;
                if (e + 1 < a.dv)
                    y[e + 1] = x.y;
            }
        }
    }
}

template <int DP, int WM, int WN, int BIAS>
__global__ void __launch_bounds__(32 * WM *WN) tni_attn_tf32_kernel(const __grid_constant__ TniCudaAttn a) {
    using S = Tf32Tile<DP, WM, WN, BIAS>;
    using M = AttnMma<float, S>;
    extern __shared__ __align__(128) char shared[];
    float *vec = reinterpret_cast<float *>(shared + S::VEC_AT);
    const int blocks = (a.sq + S::BM - 1) / S::BM, head = (int)blockIdx.x / blocks, b = head / a.h, h = head % a.h;
    const int i0 = (int)blockIdx.x % blocks * S::BM, lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5;
    const int mine = warp % WM * 16 + (lane >> 2), first = warp / WM * S::KW;
    const float *kp = (const float *)a.k.p + b * a.k.sb + h / a.group * a.k.sh, *vp = (const float *)a.v.p + b * a.v.sb + h / a.group * a.v.sh;
    const TniCudaAttnBias &dense = a.bias[a.dense];
    const char *bias0 = BIAS == 0 ? NULL : dense.p + (b * dense.sb + h * dense.sh) * S::ES;
    const bool mixed = BIAS != 0 && a.bias_kind == TNI_ATTN_MIXED;
    tni_after();
    tni_let_next();
    uint32_t q[DP / 16][8];
    tf32_load_q<DP>(q, a.q, (const float *)a.q.p + b * a.q.sb + h * a.q.sh, i0 + mine, a.sq, a.d);
    float o[1][DP / 8][4], max[1][2] = {{-INFINITY, -INFINITY}}, sum[1][2] = {{0.0f, 0.0f}};
    int shift[1][2];
#pragma unroll
    for (int r = 0; r < 2; r++) {
        shift[0][r] = (mine + r * 8) * S::BROW + (first + (lane & 3) * 2) * S::ES;
        if (BIAS != 0 && !mixed)
            shift[0][r] += (int)((uintptr_t)(bias0 + (i0 + mine + r * 8) * dense.si * S::ES) & 15);
#pragma unroll
        for (int n = 0; n < DP / 8; n++)
            o[0][n][2 * r] = o[0][n][2 * r + 1] = 0.0f;
    }
    const int past = a.sk - a.sq, keys = a.causal ? min(a.sk, min(i0 + S::BM, a.sq) + past) : a.sk;
    const int tiles = keys > 0 ? (keys + S::BN - 1) / S::BN : 0;
    auto load = [&](int tile) {
        const int buffer = tile & 1, j0 = tile * S::BN;
        tf32_load_tile<DP, S::BN, S::KS, S::THREADS>(shared + buffer * S::K, kp, a.k, j0, a.sk, a.d);
        tf32_load_tile<DP, S::BN, S::VS, S::THREADS>(shared + S::V_AT + buffer * S::V, vp, a.v, j0, a.sk, a.dv);
        if (BIAS != 0) {
            char *to = shared + S::BIAS_AT + buffer * S::BM * S::BROW;
            if (mixed)
                attn_fill_bias<float, S>(to, a, b, h, i0, j0);
            else
                attn_load_bias<S>(to, dense, bias0, i0, a.sq, j0);
        }
        for (int key = (int)threadIdx.x; key < S::BN; key += S::THREADS)
            vec[buffer * S::BN + key] = attn_bias_by_key<float>(a, b, h, j0 + key);
        attn_commit();
    };
    if (tiles > 0)
        load(0);
    for (int tile = 0; tile < tiles; tile++) {
        const int buffer = tile & 1;
        attn_wait_all();
        __syncthreads();
        if (tile + 1 < tiles)
            load(tile + 1);
        float s[1][S::NT][4];
        tf32_scores<S>(s, q, reinterpret_cast<const float *>(shared + buffer * S::K) + first * S::KS);
        M::bias(s, a.scale, vec + buffer * S::BN + first, shared + S::BIAS_AT + buffer * S::BM * S::BROW, shift);
        if (BIAS != 0 && (tile + 1) * S::BN > a.sk)
            M::cut(s, a.sk - tile * S::BN - first);
        if (a.causal && (tile + 1) * S::BN - 1 > i0 + past)
            M::hide(s, i0 + mine + past - tile * S::BN - first);
        M::softmax(s, max, sum, o);
        tf32_weigh<S>(o, s, reinterpret_cast<const float *>(shared + S::V_AT + buffer * S::V) + first * S::VS);
    }
#pragma unroll
    for (int r = 0; r < 2; r++) {
        sum[0][r] += __shfl_xor_sync(TNI_ALL, sum[0][r], 1);
        sum[0][r] += __shfl_xor_sync(TNI_ALL, sum[0][r], 2);
    }
    float *out = (float *)a.out + b * a.out_sb + h * a.out_sh;
    if (WN == 1)
        tf32_store<S>(a, out, i0 + mine, sum, o);
    else
        attn_combine<float, S>(a, out, i0, shared, max, sum, o);
}

template <int DP, int WM, int WN, int BIAS> static TnStatus tf32_launch(TnKernelCall *call, const TniCudaAttn &a) {
    using S = Tf32Tile<DP, WM, WN, BIAS>;
    const int64_t blocks = (int64_t)a.b * a.h * tni_div_up(a.sq, S::BM);
    if (blocks == 0)
        return TN_OK;
    TN_TRY(tni_cuda_shared(call, (const void *)tni_attn_tf32_kernel<DP, WM, WN, BIAS>, S::BYTES));
    TNI_CUDA(call->err,
             tni_launch_early(call->stream, tni_attn_tf32_kernel<DP, WM, WN, BIAS>, dim3((unsigned)blocks), dim3(S::THREADS), S::BYTES, a),
             "attention_tf32");
    return tni_cuda_launched(call, "attention_tf32");
}

template <int DP> static TnStatus tf32_run(TnKernelCall *call, const TniCudaAttn &a, TniCudaAttnTile tile) {
    const bool by_key = a.bias_kind == TNI_ATTN_BY_KEY;
    if (tile == TNI_ATTN_64)
        return by_key ? tf32_launch<DP, 4, 1, 0>(call, a) : tf32_launch<DP, 4, 1, 2>(call, a);
    return by_key ? tf32_launch<DP, 1, 4, 0>(call, a) : tf32_launch<DP, 1, 4, 2>(call, a);
}

TnStatus tni_cuda_attn_tf32(TnKernelCall *call, const TniCudaAttn *a, TniCudaAttnTile tile) {
    const int d = a->d > a->dv ? a->d : a->dv;
    if (d <= 32)
        return tf32_run<32>(call, *a, tile);
    if (d <= 64)
        return tf32_run<64>(call, *a, tile);
    if (d <= 128)
        return tf32_run<128>(call, *a, tile);
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: head size %d is too large for this kernel", d);
}
