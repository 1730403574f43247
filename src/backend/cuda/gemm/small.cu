/* SPDX-License-Identifier: Apache-2.0
 *
 * gemm of at most 16 rows: one token of a decoder, heads over one vector a sample. Reading the weights is the work.
 *
 * 16-bit types: m16n8k16 with the sides changed: 16 columns of y (rows of B [N, ld]) by 8 rows. The order of K inside a step of 32 is free
 * as long as both operands use the same: lane (g, t) reads the 16 bytes k0 + 8 t .. + 7 of its rows, whose first four elements are its part
 * of one product and the last four of the next. f32: lanes share K.
 *
 * The warps of a block share K `parts` ways; their sums meet in shared memory and are added in the order of the parts. */
#include "backend/cuda/gemm/gemm.h"
#include "backend/cuda/gemm/mma.cuh"
#include "backend/cuda/gemm/mma.h"

#define WARPS 8
#define MAX_ROWS 16
#define COLS32 4 /* columns of a warp, f32 */

typedef struct SmallArgs {
    const void *a, *b;
    void *y;
    int32_t m, n, k, parts;
    int32_t b_constant; /* no kernel writes b: it may be fetched before the kernels in front are done */
    int64_t ld;
    TniEpi epi;
} SmallArgs;

/* Sums of `parts` warps for COLS columns (of a group of warps) -> y. sums: [WARPS][COLS][ROWS] */
template <typename T, int COLS, int ROWS> TNI_DEVICE void finish(const SmallArgs &p, const float *sums, int32_t col0) {
    const int32_t groups = WARPS / p.parts;
    const TniOutRows o = {p.n};
    for (int32_t i = (int32_t)threadIdx.x; i < groups * COLS * ROWS; i += WARPS * 32) {
        const int32_t c = i % (groups * COLS), r = i / (groups * COLS), col = col0 + c;
        if (col >= p.n || r >= p.m)
            continue;
        float v = 0.0f;
        for (int32_t part = 0; part < p.parts; part++)
            v += sums[((c / COLS * p.parts + part) * COLS + c % COLS) * ROWS + r];
        v = tni_act_one(p.epi.act, fmaf(v, p.epi.alpha, tni_bias_at<T>(p.epi, r, col, p.n)));
        const int64_t at = o.at(r, col);
        if (p.epi.residual != NULL)
            v += tni_f32(((const T *)p.epi.residual)[at]);
        ((T *)p.y)[at] = tni_from_f32<T>(v);
    }
}

/* B; A may have been written while this kernel waited, so it does not go the way of what never changes. */
TNI_DEVICE uint4 load_or_zero(const void *p, bool there) { return there ? __ldg((const uint4 *)p) : make_uint4(0, 0, 0, 0); }
TNI_DEVICE uint4 load_new_or_zero(const void *p, bool there) { return there ? tni_load16(p) : make_uint4(0, 0, 0, 0); }

/* ROWS: 8 or 16 */
template <typename T, int ROWS> __global__ void __launch_bounds__(WARPS * 32) small_half(const __grid_constant__ SmallArgs p) {
    __shared__ float sums[WARPS * 16 * ROWS];
    constexpr int MT = ROWS / 8, AHEAD = 4;
    const int32_t warp = (int32_t)threadIdx.x >> 5, lane = (int32_t)threadIdx.x & 31, g = lane >> 2, t = lane & 3;
    const int32_t part = warp % p.parts, group = warp / p.parts, per_block = WARPS / p.parts * 16;
    const int32_t col0 = (int32_t)blockIdx.x * per_block, col = col0 + group * 16 + g;
    const bool c0 = col < p.n, c1 = col + 8 < p.n;
    const T *b0 = (const T *)p.b + (int64_t)col * p.ld, *b1 = b0 + 8 * p.ld;
    const T *a0 = (const T *)p.a + (int64_t)g * p.k;
    float acc[MT][4] = {};
    uint4 w[AHEAD][2];
    auto fetch = [&](int32_t k0) {
#pragma unroll
        for (int s = 0; s < AHEAD; s++) {
            const int32_t k = k0 + s * p.parts * 32 + t * 8;
            w[s][0] = load_or_zero(b0 + k, k < p.k && c0);
            w[s][1] = load_or_zero(b1 + k, k < p.k && c1);
        }
    };
    tni_let_next();
    if (p.b_constant == 0)
        tni_after();
    fetch(part * 32);
    if (p.b_constant != 0)
        tni_after();
    for (int32_t k0 = part * 32; k0 < p.k; k0 += p.parts * 32 * AHEAD) {
        uint4 x[AHEAD][MT];
#pragma unroll
        for (int s = 0; s < AHEAD; s++) {
            const int32_t k = k0 + s * p.parts * 32 + t * 8;
            const bool in = k < p.k;
#pragma unroll
            for (int i = 0; i < MT; i++)
                x[s][i] = load_new_or_zero(a0 + (int64_t)(8 * i) * p.k + k, in && g + 8 * i < p.m);
        }
#pragma unroll
        for (int s = 0; s < AHEAD; s++) {
            const uint32_t lo[4] = {w[s][0].x, w[s][1].x, w[s][0].y, w[s][1].y}, hi[4] = {w[s][0].z, w[s][1].z, w[s][0].w, w[s][1].w};
#pragma unroll
            for (int i = 0; i < MT; i++) {
                TniMmaOp<T>::go(acc[i], lo, x[s][i].x, x[s][i].y);
                TniMmaOp<T>::go(acc[i], hi, x[s][i].z, x[s][i].w);
            }
        }
        fetch(k0 + p.parts * 32 * AHEAD);
    }
    float *to = sums + (group * p.parts + part) * 16 * ROWS;
#pragma unroll
    for (int i = 0; i < MT; i++) {
        to[g * ROWS + 8 * i + 2 * t] = acc[i][0];
        to[g * ROWS + 8 * i + 2 * t + 1] = acc[i][1];
        to[(g + 8) * ROWS + 8 * i + 2 * t] = acc[i][2];
        to[(g + 8) * ROWS + 8 * i + 2 * t + 1] = acc[i][3];
    }
    __syncthreads();
    finish<T, 16, ROWS>(p, sums, col0);
}

template <int ROWS> __global__ void __launch_bounds__(WARPS * 32) small_float(const __grid_constant__ SmallArgs p) {
    __shared__ float sums[WARPS * COLS32 * ROWS];
    const int32_t warp = (int32_t)threadIdx.x >> 5, lane = (int32_t)threadIdx.x & 31;
    const int32_t part = warp % p.parts, group = warp / p.parts, per_block = WARPS / p.parts * COLS32;
    const int32_t col0 = (int32_t)blockIdx.x * per_block, col = col0 + group * COLS32;
    float acc[COLS32][ROWS] = {};
    tni_let_next();
    tni_after();
    for (int32_t k = (part * 32 + lane) * 4; k < p.k; k += p.parts * 128) {
        float4 w[COLS32];
#pragma unroll
        for (int c = 0; c < COLS32; c++)
            w[c] = col + c < p.n ? __ldg((const float4 *)((const float *)p.b + (int64_t)(col + c) * p.ld + k)) : make_float4(0, 0, 0, 0);
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float4 x = r < p.m ? *(const float4 *)((const float *)p.a + (int64_t)r * p.k + k) : make_float4(0, 0, 0, 0);
#pragma unroll
            for (int c = 0; c < COLS32; c++)
                acc[c][r] = fmaf(w[c].w, x.w, fmaf(w[c].z, x.z, fmaf(w[c].y, x.y, fmaf(w[c].x, x.x, acc[c][r]))));
        }
    }
#pragma unroll
    for (int c = 0; c < COLS32; c++) {
#pragma unroll
        for (int r = 0; r < ROWS; r++) {
            const float v = tni_warp_sum(acc[c][r]);
            if (lane == 0)
                sums[((group * p.parts + part) * COLS32 + c) * ROWS + r] = v;
        }
    }
    __syncthreads();
    finish<float, COLS32, ROWS>(p, sums, col0);
}

/* Ways to share K: enough warps for the GPU, at least a step each. */
static int32_t parts_for(const TnKernelCall *call, int64_t groups, int64_t steps) {
    int32_t parts = 1;
    while (parts < WARPS && groups * parts < (int64_t)call->stream->dev->info.sm_count * 12 && parts * 2 <= steps)
        parts *= 2;
    return parts;
}

extern "C" TnStatus tni_cuda_gemm_run_small(TnKernelCall *call) {
    TniGemmShape s;
    if (!tni_gemm_shape((const TnGemmParams *)call->params, call->in, call->n_in, &call->out[0], &s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gemm: operands that the kernel does not take");
    if (s.m * s.n == 0)
        return TN_OK;
    const TniGemmB b = tni_gemm_b(call, &s);
    const int64_t piece = 16 / (int64_t)tni_size_of(s.type);
    if (s.m > MAX_ROWS || s.k % piece != 0 || !b.k_major || !tni_is_aligned(call->in[0].data, 16) || !tni_is_aligned(b.data, 16)) {
        TniProduct p;
        tni_gemm_product(call, &s, &p);
        return tni_product_mma(call, s.type, false, &p);
    }
    SmallArgs p = {};
    p.a = call->in[0].data;
    p.b = b.data;
    p.y = call->out[0].data;
    p.m = (int32_t)s.m;
    p.n = (int32_t)s.n;
    p.k = (int32_t)s.k;
    p.ld = b.ld;
    p.b_constant = b.constant ? 1 : 0;
    tni_gemm_epilogue(call, &s, &p.epi);
    const int64_t cols = s.type == TN_F32 ? COLS32 : 16, groups = tni_div_up(s.n, cols);
    p.parts = parts_for(call, groups, tni_div_up(s.k, s.type == TN_F32 ? 128 : 32));
    const unsigned blocks = (unsigned)tni_div_up(groups, WARPS / p.parts), threads = WARPS * 32;
    void (*const floats)(SmallArgs) = s.m <= 2 ? small_float<2> : s.m <= 8 ? small_float<8> : small_float<16>;
    void (*const halves)(SmallArgs) = s.m <= 8 ? small_half<__half, 8> : small_half<__half, 16>;
    void (*const brains)(SmallArgs) = s.m <= 8 ? small_half<__nv_bfloat16, 8> : small_half<__nv_bfloat16, 16>;
    void (*const kernel)(SmallArgs) = s.type == TN_F32 ? floats : s.type == TN_F16 ? halves : brains;
    TNI_CUDA(call->err, tni_launch_early(call->stream, kernel, dim3(blocks), dim3(threads), 0, p), "gemm (few rows)");
    return tni_cuda_launched(call, "gemm (few rows)");
}

static bool supports(const TnKernelQuery *q, TnDtype type) {
    TniGemmShape s;
    if (!tni_gemm_shape((const TnGemmParams *)q->params, q->in, q->n_in, q->out, &s) || s.type != type || (s.trans_a && s.m > 1))
        return false;
    return s.m <= MAX_ROWS && s.k > 0 && s.k % (int64_t)(16 / tni_size_of(type)) == 0 && (q->in[1].data != NULL || s.trans_b);
}
extern "C" bool tni_cuda_gemm_small_f16(const TnKernelQuery *q) { return supports(q, TN_F16); }
extern "C" bool tni_cuda_gemm_small_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16); }
extern "C" bool tni_cuda_gemm_small_f32(const TnKernelQuery *q) { return supports(q, TN_F32); }

extern "C" double tni_cuda_gemm_cost_small(const TnKernelQuery *q) {
    TniGemmShape s;
    if (q->device == NULL || !tni_gemm_shape((const TnGemmParams *)q->params, q->in, q->n_in, q->out, &s))
        return 1e30;
    const double bytes = (double)tni_size_of(s.type) * (double)s.n * (double)s.k;
    const double flops = s.type == TN_F32 ? 2.0 * (double)s.m * (double)s.n * (double)s.k / (q->device->float_flops * 0.3e-9) : 0.0;
    return 2300.0 + (double)s.k * 0.25 + TN_MAX(bytes / (q->device->bytes_per_second * 0.7e-9), flops);
}
