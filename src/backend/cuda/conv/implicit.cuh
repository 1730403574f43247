/* SPDX-License-Identifier: Apache-2.0
 *
 * Loaders that find the pixels of a convolution (see gemm/mma.cuh for what a loader is), and the kernels over them. Row r is position
 * r % (OH OW) of picture r / (OH OW). */
#ifndef TENON_BACKEND_CUDA_CONV_IMPLICIT_CUH
#define TENON_BACKEND_CUDA_CONV_IMPLICIT_CUH

#include "backend/cuda/conv/implicit.h"
#include "backend/cuda/gemm/ffma.cuh"

/* A row: where its window starts in x (maybe in the padding); NULL: no such row. */
template <typename T> struct TniWindow {
    const T *p;
    int32_t y, x;
};

template <typename T> TNI_DEVICE TniWindow<T> tni_window(const TniConvArgs &a, const T *x, int32_t r) {
    TniWindow<T> w = {NULL, 0, 0};
    if (r >= a.rows)
        return w;
    uint32_t line, ow, b, oh;
    tni_divmod((uint32_t)r, a.d_ow, &line, &ow);
    tni_divmod(line, a.d_oh, &b, &oh);
    w.y = (int32_t)oh * a.sh - a.pt;
    w.x = (int32_t)ow * a.sw - a.pl;
    w.p = x + (int64_t)b * a.step_b + (int64_t)w.y * a.step_h + (int64_t)w.x * a.step_w;
    return w;
}

/* Channels last; the channels of a group are whole pieces; K: taps, then channels. */
template <typename T> struct TniConvTc {
    static constexpr int ASYNC = 16;
    using Row = TniWindow<T>;
    const TniConvArgs &a;
    const T *x;
    __device__ __forceinline__ Row row(int32_t r) const { return tni_window<T>(a, x, r); }
    __device__ __forceinline__ const T *piece(const Row &r, int32_t k) const {
        uint32_t tap, c, kh, kw;
        tni_divmod((uint32_t)k, a.d_inner, &tap, &c);
        tni_divmod(tap, a.d_kw, &kh, &kw);
        const int32_t dy = (int32_t)kh * a.dh, dx = (int32_t)kw * a.dw;
        const bool in = r.p != NULL && k < a.k && (uint32_t)(r.y + dy) < (uint32_t)a.h && (uint32_t)(r.x + dx) < (uint32_t)a.w_;
        return in ? r.p + (int64_t)dy * a.step_h + (int64_t)dx * a.step_w + c : (const T *)NULL;
    }
    __device__ __forceinline__ const T *any() const { return x; }
};

/* Channels first, kernel rows of whole pieces that never lie in the padding at the sides; K: channels, then taps. */
template <typename T> struct TniConvPatch {
    static constexpr int ASYNC = 16;
    using Row = TniWindow<T>;
    const TniConvArgs &a;
    const T *x;
    __device__ __forceinline__ Row row(int32_t r) const { return tni_window<T>(a, x, r); }
    __device__ __forceinline__ const T *piece(const Row &r, int32_t k) const {
        uint32_t tap, c, kh, kw;
        tni_divmod((uint32_t)k, a.d_inner, &c, &tap);
        tni_divmod(tap, a.d_kw, &kh, &kw);
        const int32_t dy = (int32_t)kh * a.dh;
        const bool in = r.p != NULL && k < a.k && (uint32_t)(r.y + dy) < (uint32_t)a.h;
        return in ? r.p + (int64_t)c * a.step_c + (int64_t)dy * a.step_h + kw : (const T *)NULL;
    }
    __device__ __forceinline__ const T *any() const { return x; }
};

/* Channels last, one group: a row of a window is one run of KW x C elements (what d_kw divides by), whole pieces of BYTES bytes, never in
 * the padding at the sides; K: taps, then channels. */
template <typename T, int BYTES> struct TniConvStrip {
    static constexpr int ASYNC = BYTES;
    using Row = TniWindow<T>;
    const TniConvArgs &a;
    const T *x;
    __device__ __forceinline__ Row row(int32_t r) const { return tni_window<T>(a, x, r); }
    __device__ __forceinline__ const T *piece(const Row &r, int32_t k) const {
        uint32_t kh, at;
        tni_divmod((uint32_t)k, a.d_kw, &kh, &at);
        const int32_t dy = (int32_t)kh * a.dh;
        const bool in = r.p != NULL && k < a.k && (uint32_t)(r.y + dy) < (uint32_t)a.h;
        return in ? r.p + (int64_t)dy * a.step_h + at : (const T *)NULL;
    }
    __device__ __forceinline__ const T *any() const { return x; }
};

/* Any layout, either order of K. */
template <typename T> struct TniConvAny {
    static constexpr int ASYNC = 0;
    using Row = TniWindow<T>;
    const TniConvArgs &a;
    const T *x;
    __device__ __forceinline__ Row row(int32_t r) const { return tni_window<T>(a, x, r); }
    __device__ __forceinline__ T elem(const Row &r, int32_t k) const {
        uint32_t outer, inner, kh, kw;
        tni_divmod((uint32_t)k, a.d_inner, &outer, &inner);
        const uint32_t c = a.taps_first != 0 ? inner : outer, tap = a.taps_first != 0 ? outer : inner;
        tni_divmod(tap, a.d_kw, &kh, &kw);
        const int32_t dy = (int32_t)kh * a.dh, dx = (int32_t)kw * a.dw;
        const bool in = r.p != NULL && k < a.k && (uint32_t)(r.y + dy) < (uint32_t)a.h && (uint32_t)(r.x + dx) < (uint32_t)a.w_;
        return in ? r.p[(int64_t)c * a.step_c + (int64_t)dy * a.step_h + (int64_t)dx * a.step_w] : tni_from_f32<T>(0.0f);
    }
};

/* What a block does: one tile of one group. */
template <typename T> struct TniConvTile {
    const T *x, *w;
    T *y;
    TniEpi epi;
    int32_t row, col;
};

template <typename T>
TNI_DEVICE TniConvTile<T> tni_conv_tile(const TniConvArgs &a, int32_t row_tiles, int32_t tiles, int32_t bm, int32_t bn) {
    const int32_t g = (int32_t)blockIdx.x / tiles, t = (int32_t)blockIdx.x % tiles;
    const int64_t out = (int64_t)g * a.mg * (a.channels_last != 0 ? 1 : (int64_t)a.d_positions.d);
    TniConvTile<T> c;
    c.x = (const T *)a.x + (int64_t)g * a.cg * a.step_c;
    c.w = (const T *)a.w + (int64_t)g * a.mg * a.ldw;
    c.y = (T *)a.y + out;
    c.epi = a.epi;
    if (a.epi.bias != NULL)
        c.epi.bias = (const T *)a.epi.bias + g * a.mg;
    if (a.epi.residual != NULL)
        c.epi.residual = (const T *)a.epi.residual + out;
    c.row = t % row_tiles * bm;
    c.col = t / row_tiles * bn;
    return c;
}

/* The rows of w that a block needs come from far away while the work in front ends. Not where there is much else to do. */
template <typename T> TNI_DEVICE void tni_conv_bring(const TniConvArgs &a, const T *w, int32_t col, int32_t bn, int32_t threads) {
    if (gridDim.x > 512)
        return;
    const int32_t rows = a.mg - col < bn ? a.mg - col : bn;
    const uint8_t *from = (const uint8_t *)(w + (int64_t)col * a.ldw), *end = from + (int64_t)rows * a.ldw * (int)sizeof(T);
    for (const uint8_t *p = from + (int)threadIdx.x * 128; p < end; p += threads * 128)
        tni_prefetch(p);
}

template <typename T, typename C, typename LA, typename LB, bool LAST>
__global__ void __launch_bounds__(C::THREADS) tni_conv_mma(const __grid_constant__ TniConvArgs a, int32_t row_tiles, int32_t tiles) {
    extern __shared__ __align__(128) uint8_t smem[];
    const TniConvTile<T> t = tni_conv_tile<T>(a, row_tiles, tiles, C::BM, C::BN);
    const LA la = {a, t.x};
    const LB lb = LB::make(t.w, a.ldw, 1, a.mg, a.k);
    tni_conv_bring(a, t.w, t.col, C::BN, C::THREADS);
    tni_start();
    if constexpr (LAST)
        tni_mma_tile<T, C>(la, lb, TniOutRows{a.m}, t.epi, t.y, a.rows, a.mg, a.k, a.pair != 0, t.row, t.col, smem);
    else
        tni_mma_tile<T, C>(la, lb, TniOutPlanes{a.d_positions, (int64_t)a.m * a.d_positions.d}, t.epi, t.y, a.rows, a.mg, a.k, false, t.row,
                           t.col, smem);
}

template <typename C, typename LA, typename LB, bool LAST>
__global__ void __launch_bounds__(C::THREADS) tni_conv_ffma(const __grid_constant__ TniConvArgs a, int32_t row_tiles, int32_t tiles) {
    __shared__ __align__(16) float smem[C::BYTES / 4];
    const TniConvTile<float> t = tni_conv_tile<float>(a, row_tiles, tiles, C::BM, C::BN);
    const LA la = {a, t.x};
    const LB lb = LB::make(t.w, a.ldw, 1, a.mg, a.k);
    tni_conv_bring(a, t.w, t.col, C::BN, C::THREADS);
    tni_start();
    if constexpr (LAST)
        tni_ffma_tile<C>(la, lb, TniOutRows{a.m}, t.epi, t.y, a.rows, a.mg, a.k, a.quad != 0, t.row, t.col, smem);
    else
        tni_ffma_tile<C>(la, lb, TniOutPlanes{a.d_positions, (int64_t)a.m * a.d_positions.d}, t.epi, t.y, a.rows, a.mg, a.k, false, t.row,
                         t.col, smem);
}

/* FFMA: T float and C a TniFfmaCfg. */
template <typename T, bool FFMA, typename C, typename LA, typename LB, bool LAST>
static TnStatus tni_conv_launch(TnKernelCall *call, const TniConvArgs *a) {
    const int64_t row_tiles = tni_div_up(a->rows, C::BM), tiles = row_tiles * tni_div_up(a->mg, C::BN), blocks = tiles * a->group;
    if (blocks > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_SHAPE, "conv: %d positions of %d channels are too many", a->rows, a->m);
    if constexpr (FFMA) {
        (void)tni_launch_early(call->stream, tni_conv_ffma<C, LA, LB, LAST>, (unsigned)blocks, C::THREADS, 0, *a, (int32_t)row_tiles,
                               (int32_t)tiles);
    } else {
        const void *fn = (const void *)tni_conv_mma<T, C, LA, LB, LAST>;
        TN_TRY(tni_cuda_shared(call, fn, C::BYTES));
        (void)tni_launch_early(call->stream, tni_conv_mma<T, C, LA, LB, LAST>, (unsigned)blocks, C::THREADS, C::BYTES, *a,
                               (int32_t)row_tiles, (int32_t)tiles);
    }
    return tni_cuda_launched(call, "conv");
}

/* The configuration with twice the stages: where a block has its SM to itself and K is long, what is under way decides. */
template <typename C> struct TniDeep { using Cfg = C; };
template <int BM, int BN, int WARPS_M, int WARPS_N, int STAGES> struct TniDeep<TniMmaCfg<BM, BN, WARPS_M, WARPS_N, STAGES>> {
    using Cfg = TniMmaCfg<BM, BN, WARPS_M, WARPS_N, 2 * STAGES>;
};

/* Large, Narrow (columns), Small: configurations of tiles. */
template <typename T, bool FFMA, typename Large, typename Narrow, typename Small>
static TnStatus tni_conv_implicit(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *a) {
    const int64_t sms = call->stream->dev->info.sm_count;
    const bool few = tni_div_up(a->rows, 128) * tni_div_up(a->mg, 64) * a->group < sms;
    const bool large = a->mg > 64 && tni_div_up(a->rows, 128) * tni_div_up(a->mg, 128) * a->group >= sms;
    if (kind == TNI_CONV_TC) {
        if (large)
            return tni_conv_launch<T, FFMA, Large, TniConvTc<T>, TniRows<T>, true>(call, a);
        if (!few)
            return tni_conv_launch<T, FFMA, Narrow, TniConvTc<T>, TniRows<T>, true>(call, a);
        return tni_conv_launch<T, FFMA, Small, TniConvTc<T>, TniRows<T>, true>(call, a);
    }
    if (kind == TNI_CONV_STRIP) {
        if (large)
            return tni_conv_launch<T, FFMA, Large, TniConvStrip<T, 16>, TniRows<T>, true>(call, a);
        if (!few)
            return tni_conv_launch<T, FFMA, Narrow, TniConvStrip<T, 16>, TniRows<T>, true>(call, a);
        return tni_conv_launch<T, FFMA, typename TniDeep<Small>::Cfg, TniConvStrip<T, 16>, TniRows<T>, true>(call, a);
    }
    if constexpr (sizeof(T) == 2) {
        if (kind == TNI_CONV_STRIP_HALF && few)
            return tni_conv_launch<T, FFMA, typename TniDeep<Small>::Cfg, TniConvStrip<T, 8>, TniRows<T>, true>(call, a);
        if (kind == TNI_CONV_STRIP_HALF)
            return tni_conv_launch<T, FFMA, Narrow, TniConvStrip<T, 8>, TniRows<T>, true>(call, a);
    }
    if (kind == TNI_CONV_PATCH) {
        if (large)
            return tni_conv_launch<T, FFMA, Large, TniConvPatch<T>, TniRows<T>, false>(call, a);
        return tni_conv_launch<T, FFMA, Small, TniConvPatch<T>, TniRows<T>, false>(call, a);
    }
    if (whole_w && a->channels_last != 0)
        return tni_conv_launch<T, FFMA, Small, TniConvAny<T>, TniRows<T>, true>(call, a);
    if (whole_w)
        return tni_conv_launch<T, FFMA, Small, TniConvAny<T>, TniRows<T>, false>(call, a);
    if (a->channels_last != 0)
        return tni_conv_launch<T, FFMA, Small, TniConvAny<T>, TniStrided<T>, true>(call, a);
    return tni_conv_launch<T, FFMA, Small, TniConvAny<T>, TniStrided<T>, false>(call, a);
}

#endif
