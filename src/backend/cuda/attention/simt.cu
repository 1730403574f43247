/* SPDX-License-Identifier: Apache-2.0
 *
 * Fused attention of f32 with exact f32 products. A block has 16 x 16 threads and BM = 16 * RM queries of one head; a thread has RM queries by
 * BN / 16 keys of the scores and RM queries by DP / 16 elements of the output. Queries, keys and probabilities lie transposed in shared
 * memory, so that a thread's operands of a step are neighbours (one load of 16 bytes for four). */
#include "backend/cuda/attention/tile.cuh"

template <int DP_, int RM_> struct SimtTile {
    static constexpr int DP = DP_, RM = RM_, BM = 16 * RM, BN = DP > 128 ? 32 : 64, CN = BN / 16, ON = DP / 16, THREADS = 256;
    static constexpr int QS = BM, KS = BN + 4, VS = DP, PS = BM + 4; /* floats of a row */
    static constexpr int K_AT = DP * QS, V_AT = K_AT + DP * KS, P_AT = V_AT + BN * VS, BYTES = (P_AT + BN * PS) * 4;
    static constexpr int VW = DP == 32 ? 2 : 4; /* neighbouring output elements of a thread */
};

/* dst[i] = N floats at p. */
template <int N> TNI_DEVICE void simt_read(float (&dst)[N], const float *p) {
    tni_load<N>(dst, p);
}

/* Token `row`, elements e .. e + 3; zeros beyond n tokens and d elements. */
TNI_DEVICE float4 simt_fetch(const float *p, int64_t ss, int64_t sd, bool wide, int row, int n, int e, int d) {
    if (row >= n || e >= d)
        return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    p += row * ss + e * sd;
    if (wide)
        return *reinterpret_cast<const float4 *>(p);
    return make_float4(p[0], e + 1 < d ? p[sd] : 0.0f, e + 2 < d ? p[2 * sd] : 0.0f, e + 3 < d ? p[3 * sd] : 0.0f);
}

/* ROWS tokens from `first` on, transposed: element e of token r at to[e * stride + r]. */
template <int ROWS, int DP, int THREADS>
TNI_DEVICE void simt_load_t(float *to, int stride, const float *p, const TniCudaAttnView &v, int first, int n, int d) {
    for (int at = (int)threadIdx.x; at < ROWS * (DP / 4); at += THREADS) {
        const int row = at % ROWS, e = at / ROWS * 4;
        const float4 x = simt_fetch(p, v.ss, v.sd, v.wide != 0, first + row, n, e, d);
        to[e * stride + row] = x.x;
        to[(e + 1) * stride + row] = x.y;
        to[(e + 2) * stride + row] = x.z;
        to[(e + 3) * stride + row] = x.w;
    }
}

template <int ROWS, int DP, int THREADS>
TNI_DEVICE void simt_load(float *to, const float *p, const TniCudaAttnView &v, int first, int n, int d) {
    for (int at = (int)threadIdx.x; at < ROWS * (DP / 4); at += THREADS) {
        const int e = at % (DP / 4) * 4, row = at / (DP / 4);
        *reinterpret_cast<float4 *>(to + row * DP + e) = simt_fetch(p, v.ss, v.sd, v.wide != 0, first + row, n, e, d);
    }
}

/* Scale, biases, mask. i, j: first query and key of this thread. */
template <typename S>
TNI_DEVICE void simt_bias(float (&s)[S::RM][S::CN], const TniCudaAttn &a, int b, int h, int i, int j) {
    const bool has = a.bias[0].p != NULL || a.bias[1].p != NULL;
#pragma unroll
    for (int c = 0; c < S::CN; c++) {
        const float by_key = has && j + c < a.sk ? attn_bias_sum<float>(a, b, h, 0, j + c, false) : 0.0f;
#pragma unroll
        for (int r = 0; r < S::RM; r++) {
            float x = fmaf(s[r][c], a.scale, by_key);
            if (j + c >= a.sk || (a.causal && j + c > i + r + a.sk - a.sq))
                x = -INFINITY;
            else if (a.bias_kind != TNI_ATTN_BY_KEY && i + r < a.sq)
                x += attn_bias_sum<float>(a, b, h, i + r, j + c, true);
            s[r][c] = x;
        }
    }
}

/* Scores to probabilities, written transposed to p; brings maximum, sum and output up to date. */
template <typename S>
TNI_DEVICE void simt_softmax(float (&s)[S::RM][S::CN], float (&max)[S::RM], float (&sum)[S::RM], float (&o)[S::RM][S::ON], float *p) {
#pragma unroll
    for (int r = 0; r < S::RM; r++) {
        float m = max[r], add = 0.0f;
#pragma unroll
        for (int c = 0; c < S::CN; c++)
            m = fmaxf(m, s[r][c]);
        m = tni_warp_max<16>(m);
        const float zero = m == -INFINITY ? 0.0f : m, fade = attn_exp(max[r] - zero);
#pragma unroll
        for (int c = 0; c < S::CN; c++) {
            s[r][c] = attn_exp(s[r][c] - zero);
            add += s[r][c];
        }
        max[r] = m;
        sum[r] = fmaf(sum[r], fade, add);
#pragma unroll
        for (int e = 0; e < S::ON; e++)
            o[r][e] *= fade;
    }
#pragma unroll
    for (int c = 0; c < S::CN; c++) {
        float column[S::RM];
#pragma unroll
        for (int r = 0; r < S::RM; r++)
            column[r] = s[r][c];
        tni_store<S::RM>(p + c * S::PS, column);
    }
}

template <typename S> TNI_DEVICE void simt_weigh(float (&o)[S::RM][S::ON], const float *p, const float *v) {
#pragma unroll 4
    for (int j = 0; j < S::BN; j++) {
        float x[S::RM];
        simt_read<S::RM>(x, p + j * S::PS);
#pragma unroll
        for (int u = 0; u < S::ON / S::VW; u++) {
            float y[S::VW];
            simt_read<S::VW>(y, v + j * S::VS + u * 16 * S::VW);
#pragma unroll
            for (int r = 0; r < S::RM; r++)
#pragma unroll
                for (int e = 0; e < S::VW; e++)
                    o[r][u * S::VW + e] = fmaf(x[r], y[e], o[r][u * S::VW + e]);
        }
    }
}

template <typename S> TNI_DEVICE void simt_store(const TniCudaAttn &a, float *out, int i, const float (&sum)[S::RM], const float (&o)[S::RM][S::ON]) {
    const int tx = (int)threadIdx.x & 15;
#pragma unroll
    for (int r = 0; r < S::RM; r++) {
        const float l = tni_warp_sum<16>(sum[r]);
        if (i + r >= a.sq)
            continue;
        float *y = out + (i + r) * a.out_ss;
#pragma unroll
        for (int u = 0; u < S::ON / S::VW; u++) {
            const int e = u * 16 * S::VW + tx * S::VW;
            float x[S::VW];
#pragma unroll
            for (int w = 0; w < S::VW; w++)
                x[w] = o[r][u * S::VW + w] / l;
            if (a.out_wide && e < a.dv)
                tni_store<S::VW>(y + e, x);
            else
#pragma unroll
                for (int w = 0; w < S::VW; w++)
                    if (e + w < a.dv)
                        y[e + w] = x[w];
        }
    }
}

template <int DP, int RM> __global__ void __launch_bounds__(256, DP > 64 ? 1 : 2) tni_attn_simt_kernel(const __grid_constant__ TniCudaAttn a) {
    using S = SimtTile<DP, RM>;
    extern __shared__ __align__(16) float pool[];
    float *qt = pool, *kt = pool + S::K_AT, *vt = pool + S::V_AT, *pt = pool + S::P_AT;
    const int blocks = (a.sq + S::BM - 1) / S::BM, head = (int)blockIdx.x / blocks, b = head / a.h, h = head % a.h;
    const int i0 = (int)blockIdx.x % blocks * S::BM, tx = (int)threadIdx.x & 15, ty = (int)threadIdx.x >> 4;
    const float *kp = (const float *)a.k.p + b * a.k.sb + h / a.group * a.k.sh, *vp = (const float *)a.v.p + b * a.v.sb + h / a.group * a.v.sh;
    simt_load_t<S::BM, DP, S::THREADS>(qt, S::QS, (const float *)a.q.p + b * a.q.sb + h * a.q.sh, a.q, i0, a.sq, a.d);
    float o[RM][S::ON], max[RM], sum[RM];
#pragma unroll
    for (int r = 0; r < RM; r++) {
        max[r] = -INFINITY;
        sum[r] = 0.0f;
#pragma unroll
        for (int e = 0; e < S::ON; e++)
            o[r][e] = 0.0f;
    }
    const int keys = a.causal ? min(a.sk, min(i0 + S::BM, a.sq) + a.sk - a.sq) : a.sk;
    for (int j0 = 0; j0 < keys; j0 += S::BN) {
        __syncthreads();
        simt_load_t<S::BN, DP, S::THREADS>(kt, S::KS, kp, a.k, j0, a.sk, a.d);
        simt_load<S::BN, DP, S::THREADS>(vt, vp, a.v, j0, a.sk, a.dv);
        __syncthreads();
        float s[RM][S::CN];
#pragma unroll
        for (int r = 0; r < RM; r++)
#pragma unroll
            for (int c = 0; c < S::CN; c++)
                s[r][c] = 0.0f;
#pragma unroll 4
        for (int e = 0; e < DP; e++) {
            float x[RM], y[S::CN];
            simt_read<RM>(x, qt + e * S::QS + ty * RM);
            simt_read<S::CN>(y, kt + e * S::KS + tx * S::CN);
#pragma unroll
            for (int r = 0; r < RM; r++)
#pragma unroll
                for (int c = 0; c < S::CN; c++)
                    s[r][c] = fmaf(x[r], y[c], s[r][c]);
        }
        simt_bias<S>(s, a, b, h, i0 + ty * RM, j0 + tx * S::CN);
        simt_softmax<S>(s, max, sum, o, pt + tx * S::CN * S::PS + ty * RM);
        __syncwarp(); /* the probabilities of a query are written and read by the same half of a warp */
        simt_weigh<S>(o, pt + ty * RM, vt + tx * S::VW);
    }
    simt_store<S>(a, (float *)a.out + b * a.out_sb + h * a.out_sh, i0 + ty * RM, sum, o);
}

template <int DP, int RM> static TnStatus simt_launch(TnKernelCall *call, const TniCudaAttn &a) {
    using S = SimtTile<DP, RM>;
    const int64_t blocks = (int64_t)a.b * a.h * tni_div_up(a.sq, S::BM);
    if (blocks == 0)
        return TN_OK;
    TN_TRY(tni_cuda_shared(call, (const void *)tni_attn_simt_kernel<DP, RM>, S::BYTES));
    tni_attn_simt_kernel<DP, RM><<<(unsigned)blocks, S::THREADS, S::BYTES, call->stream->s>>>(a);
    return tni_cuda_launched(call, "attention_f32");
}

template <int RM> static TnStatus simt_by_head(TnKernelCall *call, const TniCudaAttn &a) {
    const int d = a.d > a.dv ? a.d : a.dv;
    if (d <= 32)
        return simt_launch<32, RM>(call, a);
    if (d <= 64)
        return simt_launch<64, RM>(call, a);
    if (d <= 128)
        return simt_launch<128, RM>(call, a);
    if constexpr (RM <= 4)
        if (d <= 256)
            return simt_launch<256, RM>(call, a);
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: head size %d is too large for this kernel", d);
}

TnStatus tni_cuda_attn_simt(TnKernelCall *call, const TniCudaAttn *a, int rows) {
    return rows == 128 ? simt_by_head<8>(call, *a) : rows == 64 ? simt_by_head<4>(call, *a) : simt_by_head<1>(call, *a);
}
