/* SPDX-License-Identifier: Apache-2.0
 *
 * Depthwise convolutions, channels last: every output channel sees one input channel. Reading x once and writing y once is the floor; the
 * rest is f32 multiply-adds.
 *
 * A block has one chunk of GROUPS x V channels and walks over patches of RH x R outputs; thread (g, s) does channel group g of patch s.
 * The weights of the chunk lie in shared memory as f32, [tap][group] quads. An input row of a patch is read once, one row ahead of its use,
 * and used for all the patch's output rows and taps. */
#include "backend/cuda/conv/conv.h"
#include "backend/cuda/conv/shape.h"
#include "backend/cuda/gemm/mma.cuh"

#define V 4       /* channels of a thread */
#define GROUPS 16 /* of V channels */
#define PATCHES 8 /* a block works on at a time */
#define PATCH 4   /* edge of what a warp of dw_tile works on */
#define TILE_H (2 * PATCH)

typedef struct DwArgs {
    const void *x;
    const float *wt; /* [taps][ld] */
    void *y;
    int32_t batch, c, ld, h, w, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl;
    int32_t across;          /* patches of a row */
    int32_t patches;         /* all */
    uint32_t x_again;        /* the residual is x itself, pixel by pixel */
    TniDiv d_across, d_down; /* down: patch rows of a picture */
    TniEpi epi;
} DwArgs;

/* Bias, activation, residual, store of N channels of RH x R pixels, those within y. The activation is chosen once for all of them: its code
 * is long. */
template <typename T, int RH, int R, int N>
TNI_DEVICE void put(const DwArgs &p, float (&acc)[RH * R * N], const float (&bias)[N], uint32_t b, int32_t oh, int32_t ow, int32_t c) {
#pragma unroll
    for (int i = 0; i < RH * R * N; i++)
        acc[i] += bias[i % N];
    tni_act_apply<sizeof(T) == 4>(p.epi.act, acc);
    const int64_t first = (((int64_t)b * p.oh + oh) * p.ow + ow) * p.c + c;
#pragma unroll
    for (int k = 0; k < RH * R; k++) {
        if (oh + k / R >= p.oh || ow + k % R >= p.ow)
            continue;
        const int64_t at = first + ((int64_t)(k / R) * p.ow + k % R) * p.c;
        float v[N] = {};
        if (p.epi.residual != NULL)
            tni_load<N>(v, (const T *)p.epi.residual + at);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += acc[k * N + i];
        tni_store<N>((T *)p.y + at, v);
    }
}

/* The same for pairs of channels of PATCH x PATCH pixels. pixels: those of x in shared memory under the first tap, rows of row pixels, 32
 * pairs each. */
template <typename T, int ROW>
TNI_DEVICE void put_pairs(const DwArgs &p, float (&acc)[PATCH * PATCH * 2], uint32_t b, int32_t oh, int32_t ow, int32_t c,
                          const uint32_t *pixels) {
    const int64_t first = (((int64_t)b * p.oh + oh) * p.ow + ow) * p.c + c;
    uint32_t more[PATCH * PATCH] = {};
    if (p.epi.residual != NULL) {
#pragma unroll
        for (int k = 0; k < PATCH * PATCH; k++) {
            if (p.x_again != 0)
                more[k] = pixels[((k / PATCH + p.pt) * ROW + k % PATCH + p.pl) * 32];
            else if (oh + k / PATCH < p.oh && ow + k % PATCH < p.ow)
                more[k] = *reinterpret_cast<const uint32_t *>((const T *)p.epi.residual + first +
                                                              ((int64_t)(k / PATCH) * p.ow + k % PATCH) * p.c);
        }
    }
    if (p.epi.bias_mode != TNI_BIAS_NONE) {
        const float2 bias = TniNarrow<T>::unpack(*reinterpret_cast<const uint32_t *>((const T *)p.epi.bias + c));
#pragma unroll
        for (int k = 0; k < PATCH * PATCH; k++) {
            acc[2 * k] += bias.x;
            acc[2 * k + 1] += bias.y;
        }
    }
    tni_act_apply<false>(p.epi.act, acc);
#pragma unroll
    for (int k = 0; k < PATCH * PATCH; k++) {
        const float2 m = TniNarrow<T>::unpack(more[k]);
        acc[2 * k] += m.x;
        acc[2 * k + 1] += m.y;
    }
    float most = 0.0f; /* NaN does not count */
#pragma unroll
    for (int i = 0; i < PATCH * PATCH * 2; i++)
        most = fmaxf(most, fabsf(acc[i]));
    if (most > TniNarrow<T>::limit) {
#pragma unroll
        for (int i = 0; i < PATCH * PATCH * 2; i++)
            acc[i] = tni_saturate(acc[i], TniNarrow<T>::limit);
    }
#pragma unroll
    for (int k = 0; k < PATCH * PATCH; k++)
        if (oh + k / PATCH < p.oh && ow + k % PATCH < p.ow)
            *reinterpret_cast<uint32_t *>((T *)p.y + first + ((int64_t)(k / PATCH) * p.ow + k % PATCH) * p.c) =
                TniNarrow<T>::pack(acc[2 * k], acc[2 * k + 1]);
}

/* Taps of one row of the kernel on R pixels beside each other: line[o + kw] under tap kw. */
template <typename T, int K, int S, int R, int M> TNI_DEVICE void taps(float *acc, const TniVec<T, V> (&line)[M], const float4 *wt) {
#pragma unroll
    for (int kw = 0; kw < K; kw++) {
        const float4 f = wt[kw * GROUPS];
#pragma unroll
        for (int o = 0; o < R; o++) {
            const TniVec<T, V> x = line[o * S + kw];
            acc[o * V] = fmaf(tni_f32(x.v[0]), f.x, acc[o * V]);
            acc[o * V + 1] = fmaf(tni_f32(x.v[1]), f.y, acc[o * V + 1]);
            acc[o * V + 2] = fmaf(tni_f32(x.v[2]), f.z, acc[o * V + 2]);
            acc[o * V + 3] = fmaf(tni_f32(x.v[3]), f.w, acc[o * V + 3]);
        }
    }
}

TNI_DEVICE void load_weights(const DwArgs &p, float4 *smem, int32_t taps, int32_t chunk) {
    for (int32_t i = (int32_t)threadIdx.x; i < taps * GROUPS; i += (int32_t)blockDim.x) {
        const int32_t c = (chunk * GROUPS + i % GROUPS) * V;
        smem[i] = c < p.ld ? *reinterpret_cast<const float4 *>(p.wt + (int64_t)(i / GROUPS) * p.ld + c) : make_float4(0, 0, 0, 0);
    }
    __syncthreads();
}

/* N pixels beside each other from (y, x) on; zeros in the padding. src: the first one. */
template <typename T, int N> TNI_DEVICE void load_line(const DwArgs &p, TniVec<T, V> (&line)[N], const T *src, int32_t y, int32_t x) {
    const bool row_in = y >= 0 && y < p.h;
#pragma unroll
    for (int j = 0; j < N; j++) {
#pragma unroll
        for (int i = 0; i < V; i++)
            line[j].v[i] = tni_from_f32<T>(0.0f);
        if (row_in && x + j >= 0 && x + j < p.w)
            line[j] = *reinterpret_cast<const TniVec<T, V> *>(src + (int64_t)j * p.c);
    }
}

/* Square kernels of K x K taps, stride S in both dims, no dilation. */
template <typename T, int K, int S, int R, int RH>
__global__ void __launch_bounds__(GROUPS *PATCHES, RH > 1 ? 4 : 6) dw_kernel(const __grid_constant__ DwArgs p) {
    constexpr int IN_W = (R - 1) * S + K, IN_H = (RH - 1) * S + K;
    __shared__ float4 wt[K * K * GROUPS];
    load_weights(p, wt, K * K, (int32_t)blockIdx.y); /* constants: before the work in front is done */
    tni_start();
    const int32_t g = (int32_t)threadIdx.x % GROUPS, c = ((int32_t)blockIdx.y * GROUPS + g) * V;
    if (c >= p.c)
        return;
    float bias[V] = {};
    if (p.epi.bias_mode != TNI_BIAS_NONE)
        tni_load<V>(bias, (const T *)p.epi.bias + c);
    for (int32_t i = (int32_t)blockIdx.x * PATCHES + (int32_t)threadIdx.x / GROUPS; i < p.patches; i += (int32_t)gridDim.x * PATCHES) {
        uint32_t px, py, b, row;
        tni_divmod((uint32_t)i, p.d_across, &row, &px);
        tni_divmod(row, p.d_down, &b, &py);
        const int32_t ow0 = (int32_t)px * R, oh0 = (int32_t)py * RH, iw0 = ow0 * S - p.pl, ih0 = oh0 * S - p.pt;
        const T *src = (const T *)p.x + (((int64_t)b * p.h + ih0) * p.w + iw0) * p.c + c;
        float acc[RH * R * V] = {};
        TniVec<T, V> line[IN_W], next[IN_W];
        load_line<T>(p, next, src, ih0, iw0);
#pragma unroll 1
        for (int ih = 0; ih < IN_H; ih++) {
#pragma unroll
            for (int j = 0; j < IN_W; j++)
                line[j] = next[j];
            if (ih + 1 < IN_H)
                load_line<T>(p, next, src + (int64_t)(ih + 1) * p.w * p.c, ih0 + ih + 1, iw0);
#pragma unroll
            for (int r = 0; r < RH; r++) {
                const int kh = ih - r * S;
                if (kh < 0 || kh >= K)
                    continue;
                taps<T, K, S, R>(acc + r * R * V, line, wt + kh * K * GROUPS + g);
            }
        }
        put<T, RH, R, V>(p, acc, bias, b, oh0, ow0, c);
    }
}

/* The same with 2-byte elements and stride 1: a block's pixels (with their neighbours) come through shared memory in 16-byte pieces, so
 * that each is fetched once and all fetches are under way together. A warp has 64 channels, two a lane, and 4 x 4 outputs; the weights of
 * its channels and the sums are in registers. WX x 2 warps. Channels in eights, x aligned to 16 bytes. */
template <typename T, int K, int WX>
__global__ void __launch_bounds__(WX * 64, (K == 3 ? 12 : 8) / WX) dw_tile(const __grid_constant__ DwArgs p) {
    constexpr int TILE_W = WX * PATCH, IN_W = TILE_W + K - 1, PIECES = IN_W * (TILE_H + K - 1) * 8, THREADS = WX * 64;
    __shared__ uint4 pixels[PIECES];
    uint32_t px, py, b, row;
    tni_divmod(blockIdx.x, p.d_across, &row, &px);
    tni_divmod(row, p.d_down, &b, &py);
    const int32_t lane = (int32_t)threadIdx.x & 31, warp = (int32_t)threadIdx.x >> 5, first = (int32_t)blockIdx.y * 64,
                  c = first + lane * 2;
    const int32_t x0 = (int32_t)px * TILE_W - p.pl, y0 = (int32_t)py * TILE_H - p.pt;
    float2 wt[K * K]; /* constants: before the work in front is done */
#pragma unroll
    for (int i = 0; i < K * K; i++)
        wt[i] = c < p.c ? __ldg(reinterpret_cast<const float2 *>(p.wt + (int64_t)i * p.ld + c)) : make_float2(0.0f, 0.0f);
    const T *src = (const T *)p.x + (int64_t)b * p.h * p.w * p.c;
    const uint32_t to = (uint32_t)__cvta_generic_to_shared(pixels);
    tni_start();
#pragma unroll
    for (int u = 0; u < (PIECES + THREADS - 1) / THREADS; u++) {
        const int i = (int)threadIdx.x + u * THREADS, at = i / 8, from = first + i % 8 * 8;
        const int32_t y = y0 + at / IN_W, x = x0 + at % IN_W;
        const bool in = from < p.c && y >= 0 && y < p.h && x >= 0 && x < p.w;
        if (i < PIECES)
            tni_copy16(to + (uint32_t)i * 16, in ? src + ((int64_t)y * p.w + x) * p.c + from : (const T *)NULL, p.x);
    }
    tni_copy_commit();
    tni_copy_wait<0>();
    __syncthreads();
    const int32_t tx = warp % WX * PATCH, ty = warp / WX * PATCH, oh = (int32_t)py * TILE_H + ty, ow = (int32_t)px * TILE_W + tx;
    if (c >= p.c || oh >= p.oh || ow >= p.ow)
        return;
    const uint32_t *from = reinterpret_cast<const uint32_t *>(pixels) + (ty * IN_W + tx) * 32 + lane;
    float acc[PATCH * PATCH * 2] = {};
#pragma unroll
    for (int ih = 0; ih < PATCH + K - 1; ih++) {
        float2 line[PATCH + K - 1];
#pragma unroll
        for (int j = 0; j < PATCH + K - 1; j++)
            line[j] = TniNarrow<T>::unpack(from[(ih * IN_W + j) * 32]);
#pragma unroll
        for (int r = 0; r < PATCH; r++) {
            if (ih - r < 0 || ih - r >= K)
                continue;
#pragma unroll
            for (int kw = 0; kw < K; kw++) {
                const float2 f = wt[(ih - r) * K + kw];
#pragma unroll
                for (int o = 0; o < PATCH; o++) {
                    float *s = acc + (r * PATCH + o) * 2;
                    s[0] = fmaf(line[o + kw].x, f.x, s[0]);
                    s[1] = fmaf(line[o + kw].y, f.y, s[1]);
                }
            }
        }
    }
    put_pairs<T, IN_W>(p, acc, b, oh, ow, c, from);
}

/* Any kernel size, stride and dilation: one pixel a thread. Weights from memory. N 1: nothing is known of the operands' alignment. */
template <typename T, int N> __global__ void __launch_bounds__(GROUPS *PATCHES) dw_any(const __grid_constant__ DwArgs p) {
    tni_start();
    const int32_t g = (int32_t)threadIdx.x % GROUPS, c = ((int32_t)blockIdx.y * GROUPS + g) * N;
    if (c >= p.c)
        return;
    float bias[N] = {};
    if (p.epi.bias_mode != TNI_BIAS_NONE)
        tni_load<N>(bias, (const T *)p.epi.bias + c);
    for (int32_t i = (int32_t)blockIdx.x * PATCHES + (int32_t)threadIdx.x / GROUPS; i < p.patches; i += (int32_t)gridDim.x * PATCHES) {
        uint32_t ow, oh, b, row;
        tni_divmod((uint32_t)i, p.d_across, &row, &ow);
        tni_divmod(row, p.d_down, &b, &oh);
        float acc[N] = {};
        for (int32_t kh = 0; kh < p.kh; kh++) {
            const int32_t y = (int32_t)oh * p.sh - p.pt + kh * p.dh;
            if (y < 0 || y >= p.h)
                continue;
            for (int32_t kw = 0; kw < p.kw; kw++) {
                const int32_t x = (int32_t)ow * p.sw - p.pl + kw * p.dw;
                if (x < 0 || x >= p.w)
                    continue;
                float v[N], f[N];
                tni_load<N>(v, (const T *)p.x + (((int64_t)b * p.h + y) * p.w + x) * p.c + c);
                tni_load<N>(f, p.wt + (int64_t)(kh * p.kw + kw) * p.ld + c);
#pragma unroll
                for (int j = 0; j < N; j++)
                    acc[j] = fmaf(v[j], f[j], acc[j]);
            }
        }
        put<T, 1, 1, N>(p, acc, bias, b, (int32_t)oh, (int32_t)ow, c);
    }
}

/* Patches of r x rh outputs, and a grid that keeps a block's weights for several of them. */
static dim3 grid_for(const TnKernelCall *call, DwArgs *p, int32_t r, int32_t rh, int channels) {
    p->across = (int32_t)tni_div_up(p->ow, r);
    const int64_t down = tni_div_up(p->oh, rh);
    p->d_across = tni_div_make(p->across);
    p->d_down = tni_div_make(down);
    p->patches = (int32_t)(p->across * down * p->batch);
    const int64_t chunks = tni_div_up(p->c, GROUPS * channels), most = (int64_t)call->stream->dev->info.sm_count * 16;
    return dim3((unsigned)TN_MAX(TN_MIN(tni_div_up(p->patches, PATCHES), most / chunks), 1), (unsigned)chunks);
}

template <typename T, int K, int WX> static void launch_tiles(TnKernelCall *call, DwArgs *p) {
    const int64_t across = tni_div_up(p->ow, WX * PATCH), down = tni_div_up(p->oh, TILE_H);
    p->d_across = tni_div_make(across);
    p->d_down = tni_div_make(down);
    p->x_again = p->epi.residual == p->x && p->oh == p->h && p->ow == p->w && p->pt < K && p->pl < K;
    (void)tni_launch_early(call->stream, dw_tile<T, K, WX>, dim3((unsigned)(across * down * p->batch), (unsigned)tni_div_up(p->c, 64)),
                           WX * 64, 0, *p);
}

template <typename T, int K> static void launch_square(TnKernelCall *call, DwArgs *p) {
    const bool many = (int64_t)p->batch * p->oh * p->ow * (p->c / V) >= (int64_t)call->stream->dev->info.sm_count * 4096;
    if constexpr (sizeof(T) == 2) {
        const int64_t wide = tni_div_up(p->ow, 16), blocks = wide * tni_div_up(p->oh, TILE_H) * p->batch * tni_div_up(p->c, 64);
        if (p->c % 8 == 0 && tni_is_aligned(p->x, 16)) {
            if (wide * 2 == tni_div_up(p->ow, 8) && blocks >= 2 * (int64_t)call->stream->dev->info.sm_count)
                launch_tiles<T, K, 4>(call, p);
            else
                launch_tiles<T, K, 2>(call, p);
            return;
        }
    }
    if (many) {
        const dim3 grid = grid_for(call, p, 4, 2, V);
        (void)tni_launch_early(call->stream, dw_kernel<T, K, 1, 4, 2>, grid, GROUPS * PATCHES, 0, *p);
    } else {
        const dim3 grid = grid_for(call, p, 2, 1, V);
        (void)tni_launch_early(call->stream, dw_kernel<T, K, 1, 2, 1>, grid, GROUPS * PATCHES, 0, *p);
    }
}

template <typename T> static void launch(TnKernelCall *call, DwArgs *p, bool aligned) {
    const bool plain = p->kh == p->kw && p->sh == 1 && p->sw == 1 && p->dh == 1 && p->dw == 1;
    if (!aligned) {
        const dim3 grid = grid_for(call, p, 1, 1, 1);
        (void)tni_launch_early(call->stream, dw_any<T, 1>, grid, GROUPS * PATCHES, 0, *p);
    } else if (plain && p->kh == 3) {
        launch_square<T, 3>(call, p);
    } else if (plain && p->kh == 5) {
        launch_square<T, 5>(call, p);
    } else {
        const dim3 grid = grid_for(call, p, 1, 1, V);
        (void)tni_launch_early(call->stream, dw_any<T, V>, grid, GROUPS * PATCHES, 0, *p);
    }
}

extern "C" TnStatus tni_cuda_conv_dw_run(TnKernelCall *call) {
    TniConv v;
    if (!tni_conv_shape((const TnConvParams *)call->params, call->in, call->n_in, &call->out[0], &v))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: operands that the kernel does not take");
    if ((int64_t)v.batch * v.oh * v.ow * v.m == 0)
        return TN_OK;
    DwArgs p = {};
    p.x = call->in[0].data;
    p.wt = (const float *)tni_conv_packed(call);
    p.y = call->out[0].data;
    p.batch = v.batch;
    p.c = v.c;
    p.ld = tni_conv_dw_channels(&v);
    p.h = v.h;
    p.w = v.w;
    p.oh = v.oh;
    p.ow = v.ow;
    p.kh = v.kh;
    p.kw = v.kw;
    p.sh = v.sh;
    p.sw = v.sw;
    p.dh = v.dh;
    p.dw = v.dw;
    p.pt = v.pt;
    p.pl = v.pl;
    tni_conv_epilogue(call, &v, &p.epi);
    if (p.wt == NULL)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: the kernel's packed weights are missing");
    const size_t piece = V * tni_size_of(v.type);
    const bool aligned = tni_is_aligned(p.x, piece) && tni_is_aligned(p.y, piece) && (!v.has_bias || tni_is_aligned(p.epi.bias, piece)) &&
                         (!v.has_residual || tni_is_aligned(p.epi.residual, piece));
    TNI_FLOAT_SWITCH(v.type, T, launch<T>(call, &p, aligned));
    return tni_cuda_launched(call, "conv (depthwise)");
}

static bool supports(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type && v.channels_last != 0 && v.cg == 1 && v.mg == 1 && v.constant_w && v.c % V == 0;
}
extern "C" bool tni_cuda_conv_dw_f16(const TnKernelQuery *q) {
    return supports(q, TN_F16);
}
extern "C" bool tni_cuda_conv_dw_bf16(const TnKernelQuery *q) {
    return supports(q, TN_BF16);
}
extern "C" bool tni_cuda_conv_dw_f32(const TnKernelQuery *q) {
    return supports(q, TN_F32);
}

extern "C" double tni_cuda_conv_dw_cost(const TnKernelQuery *q) {
    TniConv v;
    if (q->device == NULL || !tni_conv_query(q, &v))
        return 1e30;
    const double flops = 2.0 * (double)v.batch * v.oh * v.ow * v.m * v.kh * v.kw;
    return 2500.0 + TN_MAX(tni_cuda_bytes(q) / (q->device->bytes_per_second * 0.75e-9), flops / (q->device->float_flops * 0.4e-9));
}
