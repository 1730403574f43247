/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of gemm on wgmma (wgmma.h): which shapes, tensor maps, order of tiles, estimates. A call whose operands turn out not to lie at
 * multiples of 16 bytes is done by the kernel for any alignment. */
#include "backend/cuda/gemm/wgmma.h"

#include "backend/cuda/gemm/gemm.h"
#include "backend/cuda/gemm/mma.h"
#include "backend/cuda/gemm/shape.h"

typedef struct StreamInfo {
    int32_t wm, bn, ping;
} StreamInfo;
static const StreamInfo streams[] = {
#define STREAM(name, wm, bn, ping, stages, eb) {wm, bn, ping},
    TNI_WG_STREAMS(STREAM)
#undef STREAM
};
typedef struct SplitInfo {
    int32_t bm, bn, stages;
} SplitInfo;
static const SplitInfo splits_info[] = {
#define SPLIT(name, wgs, bn, stages) {64 * (wgs), bn, stages},
    TNI_WG_SPLITS(SPLIT)
#undef SPLIT
};

/* ---- tensor maps ---- */

/* A [rows, cols] matrix read or written in boxes of box_rows x 128 bytes. */
static TnStatus map_make(TnKernelCall *call, CUtensorMap *map, TnDtype type, const void *data, int64_t rows, int64_t cols, int64_t ld,
                         int32_t box_rows) {
    const TniDriver *drv;
    TN_TRY(tni_cuda_driver(&drv, call->err));
    if (drv->tensor_map_tiled == NULL)
        return TN_RAISE(call->err, TN_ERR_DEVICE, "the driver has no cuTensorMapEncodeTiled: it is too old for this GPU; update it");
    const cuuint64_t size = (cuuint64_t)tni_size_of(type), dims[2] = {(cuuint64_t)cols, (cuuint64_t)rows}, strides[1] = {(cuuint64_t)ld * size};
    const cuuint32_t box[2] = {(cuuint32_t)(128 / size), (cuuint32_t)box_rows}, steps[2] = {1, 1};
    /* TFLOAT32: the copy engine rounds to nearest; 16-bit types are moved as bits */
    CUtensorMapDataType t = type == TN_F32 ? CU_TENSOR_MAP_DATA_TYPE_TFLOAT32 : CU_TENSOR_MAP_DATA_TYPE_UINT16;
    CUresult r = drv->tensor_map_tiled(map, t, 2, (void *)(uintptr_t)data, dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                       CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? TN_OK : tni_cuda_raise_driver(call->err, r, "cuTensorMapEncodeTiled");
}

/* y and residual keep every bit. */
static TnStatus map_exact(TnKernelCall *call, CUtensorMap *map, TnDtype type, const void *data, int64_t rows, int64_t cols, int32_t box_rows) {
    const TniDriver *drv;
    TN_TRY(tni_cuda_driver(&drv, call->err));
    const cuuint64_t size = (cuuint64_t)tni_size_of(type), dims[2] = {(cuuint64_t)cols, (cuuint64_t)rows},
                     strides[1] = {(cuuint64_t)cols * size};
    const cuuint32_t box[2] = {(cuuint32_t)(128 / size), (cuuint32_t)box_rows}, steps[2] = {1, 1};
    CUresult r = drv->tensor_map_tiled(map, type == TN_F32 ? CU_TENSOR_MAP_DATA_TYPE_UINT32 : CU_TENSOR_MAP_DATA_TYPE_UINT16, 2,
                                       (void *)(uintptr_t)data, dims, strides, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
                                       CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? TN_OK : tni_cuda_raise_driver(call->err, r, "cuTensorMapEncodeTiled");
}

/* ---- running ---- */

static bool aligned(const TnKernelCall *call, const TniGemmShape *s, const TniGemmB *b, bool y_too) {
    return tni_is_aligned(call->in[0].data, 16) && tni_is_aligned(b->data, 16) && b->k_major &&
           (!y_too || (tni_is_aligned(call->out[0].data, 16) && (!s->has_residual || tni_is_aligned(call->in[3].data, 16))));
}

/* Nothing to multiply, or operands for the other kernel: done; *done says so. */
static TnStatus prepare(TnKernelCall *call, TniGemmShape *s, TniGemmB *b, bool y_too, bool *done) {
    *done = true;
    if (!tni_gemm_shape(call->params, call->in, call->n_in, &call->out[0], s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gemm: operands that the kernel does not take");
    if (s->m * s->n == 0)
        return TN_OK;
    *b = tni_gemm_b(call, s);
    if (s->k == 0 || !aligned(call, s, b, y_too))
        return tni_gemm_mma_run(call, s);
    *done = false;
    return TN_OK;
}

static TnStatus stream_run(TnKernelCall *call, TniWgStream config, int32_t cluster) {
    TniGemmShape s;
    TniGemmB b;
    bool done;
    TN_TRY(prepare(call, &s, &b, true, &done));
    if (done)
        return TN_OK;
    const StreamInfo *c = &streams[config];
    const int32_t bm = c->ping != 0 ? c->wm : 2 * c->wm, bk = (int32_t)(128 / tni_size_of(s.type));
    CUtensorMap maps[4];
    TN_TRY(map_make(call, &maps[0], s.type, call->in[0].data, s.m, s.k, s.k, bm));
    TN_TRY(map_make(call, &maps[1], s.type, b.data, s.n, s.k, b.ld, c->bn / cluster));
    TN_TRY(map_exact(call, &maps[2], s.type, call->out[0].data, s.m, s.n, c->wm));
    maps[3] = maps[2];
    if (s.has_residual)
        TN_TRY(map_exact(call, &maps[3], s.type, call->in[3].data, s.m, s.n, c->wm));
    TniWgStreamArgs args = {.units = (int32_t)tni_div_up(tni_div_up(s.m, bm), cluster),
                            .col_tiles = (int32_t)tni_div_up(s.n, c->bn),
                            .k_blocks = (int32_t)tni_div_up(s.k, bk),
                            .n = (int32_t)s.n,
                            .cluster = cluster,
                            .early = call->stream->dev->early,
                            .b_constant = b.constant ? 1 : 0,
                            .has_residual = s.has_residual ? 1 : 0};
    tni_gemm_epilogue(call, &s, &args.epi);
    if ((int64_t)args.units * args.col_tiles > INT32_MAX / 4)
        return TN_RAISE(call->err, TN_ERR_SHAPE, "gemm: a product of %lld x %lld is too large", (long long)s.m, (long long)s.n);
    args.tiles = args.units * args.col_tiles;
    int64_t sms = call->stream->dev->info.sm_count, most = sms / cluster;
    int64_t clusters = TN_MIN(most, (int64_t)args.tiles);
    /* a wave of tiles as square as it gets in bytes, so that it reads least */
    int64_t group = 1;
    while (group < args.units && (group + 1) * (group + 1) * bm * cluster <= clusters * c->bn)
        group++;
    args.group = (int32_t)group;
    cudaError_t e = (s.type == TN_F16    ? tni_wg_stream_f16
                     : s.type == TN_BF16 ? tni_wg_stream_bf16
                                         : tni_wg_stream_tf32)(config, maps, &args, (uint32_t)(clusters * cluster), call->stream->s);
    TNI_CUDA(call->err, e, "gemm (wgmma, streamed)");
    return tni_cuda_launched(call, "gemm (wgmma, streamed)");
}

static TnStatus split_run(TnKernelCall *call, TniWgSplit config, int32_t splits) {
    TniGemmShape s;
    TniGemmB b;
    bool done;
    TN_TRY(prepare(call, &s, &b, false, &done));
    if (done)
        return TN_OK;
    const SplitInfo *c = &splits_info[config];
    CUtensorMap maps[2];
    TN_TRY(map_make(call, &maps[0], s.type, call->in[0].data, s.m, s.k, s.k, c->bm));
    TN_TRY(map_make(call, &maps[1], s.type, b.data, s.n, s.k, b.ld, c->bn));
    const size_t two = 2 * tni_size_of(s.type);
    TniWgSplitArgs args = {.m = (int32_t)s.m,
                           .n = (int32_t)s.n,
                           .row_tiles = (int32_t)tni_div_up(s.m, c->bm),
                           .k_blocks = (int32_t)tni_div_up(s.k, (int64_t)(128 / tni_size_of(s.type))),
                           .early = call->stream->dev->early,
                           .b_constant = b.constant ? 1 : 0,
                           .y = call->out[0].data};
    tni_gemm_epilogue(call, &s, &args.epi);
    args.wide = s.n % (int64_t)(16 / tni_size_of(s.type)) == 0 && tni_is_aligned(args.y, 16) &&
                (args.epi.residual == NULL || tni_is_aligned(args.epi.residual, 16));
    args.pair = s.n % 2 == 0 && tni_is_aligned(args.y, two) && (args.epi.residual == NULL || tni_is_aligned(args.epi.residual, two));
    int64_t tiles = args.row_tiles * tni_div_up(s.n, c->bn);
    if (tiles > INT32_MAX / 8)
        return TN_RAISE(call->err, TN_ERR_SHAPE, "gemm: a product of %lld x %lld is too large", (long long)s.m, (long long)s.n);
    while (splits > args.k_blocks)
        splits /= 2;
    cudaError_t e = (s.type == TN_F16    ? tni_wg_split_f16
                     : s.type == TN_BF16 ? tni_wg_split_bf16
                                         : tni_wg_split_tf32)(config, (uint32_t)splits, maps, &args, (uint32_t)tiles, call->stream->s);
    TNI_CUDA(call->err, e, "gemm (wgmma, split)");
    return tni_cuda_launched(call, "gemm (wgmma, split)");
}

/* ---- which shapes, how long ---- */

static bool supports(const TnKernelQuery *q, TnDtype type, bool whole_rows) {
    TniGemmShape s;
    if (!tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s) || s.type != type || s.trans_a || s.bias_mode > TNI_BIAS_SCALAR)
        return false;
    int64_t piece = (int64_t)(16 / tni_size_of(type));
    return s.k % piece == 0 && (!whole_rows || s.n % piece == 0) && (q->in[1].data != NULL || s.trans_b);
}

static double peak_of(const TnKernelQuery *q, const TniGemmShape *s) {
    return (s->type == TN_F32 ? q->device->tf32_flops : q->device->half_flops) * 0.75e-9; /* a nanosecond; what clocks under load allow */
}

static double memory_ns(const TnKernelQuery *q, const TniGemmShape *s) {
    double size = (double)tni_size_of(s->type), m = (double)s->m, n = (double)s->n, k = (double)s->k;
    return size * (m * k + n * k + m * n * (s->has_residual ? 2.0 : 1.0)) / (q->device->bytes_per_second * 1e-9);
}

/* The activation of `count` elements on an SM of 128 lanes at 1.7 GHz, of which `busy` are used. */
static double act_ns(const TnKernelQuery *q, const TniGemmShape *s, double count, double busy) {
    return count * tni_act_slots(((const TnGemmParams *)q->params)->act, s->type == TN_F32) / (128.0 * 1.7 * busy);
}

static double stream_cost(const TnKernelQuery *q, TniWgStream config, int32_t cluster) {
    TniGemmShape s;
    if (q->device == NULL || !tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return 1e30;
    const StreamInfo *c = &streams[config];
    const double sms = (double)q->device->sm_count, bm = c->ping != 0 ? c->wm : 2 * c->wm, bn = c->bn;
    double rows = (double)tni_div_up(tni_div_up(s.m, (int64_t)bm), cluster) * cluster, tiles = rows * (double)tni_div_up(s.n, c->bn);
    double each = (double)(int64_t)((tiles + sms - 1) / sms); /* tiles of the busiest SM */
    double multiply = 2.0 * bm * bn * (double)s.k / (peak_of(q, &s) / sms);
    double fetch = (bm + bn / cluster) * (double)s.k * (double)tni_size_of(s.type) / 66.0; /* an SM's share of L2, bytes a nanosecond */
    double store = bm * bn / 32.0 * (c->ping != 0 ? 1.0 : 0.7) + act_ns(q, &s, bm * bn, c->ping != 0 ? 0.6 : 0.8);
    double tile = TN_MAX(multiply, fetch);
    double work = c->ping != 0 ? each * TN_MAX(tile, store / 2) + store : each * (tile + store);
    return 3000.0 + TN_MAX(work * 1.05, memory_ns(q, &s));
}

static double split_cost(const TnKernelQuery *q, TniWgSplit config, int32_t splits) {
    TniGemmShape s;
    if (q->device == NULL || !tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return 1e30;
    const SplitInfo *c = &splits_info[config];
    const double sms = (double)q->device->sm_count;
    double blocks = (double)(tni_div_up(s.m, c->bm) * tni_div_up(s.n, c->bn) * splits), each = (double)(int64_t)((blocks + sms - 1) / sms);
    double k = (double)s.k / splits, steps = k * (double)tni_size_of(s.type) / 128.0;
    double multiply = 2.0 * c->bm * c->bn * k / (peak_of(q, &s) / sms) * 1.3;
    double fetch = (c->bm + c->bn) * k * (double)tni_size_of(s.type) / 66.0;
    double finish = c->bm * c->bn / 16.0 / splits + (splits > 1 ? 1200.0 : 0.0) + act_ns(q, &s, c->bm * c->bn / (double)splits, 0.6);
    double work = TN_MAX(each * TN_MAX(multiply, fetch), 700.0 + steps * 60.0) + finish;
    return 2500.0 + TN_MAX(work, memory_ns(q, &s));
}

/* ---- rows ---- */

#define ROW(runner, coster, name, config, number)                                                                           \
    TnStatus tni_cuda_gemm_run_##name(TnKernelCall *call) { return runner(call, config, number); }                          \
    double tni_cuda_gemm_cost_##name(const TnKernelQuery *q) { return coster(q, config, number); }
#define STREAM(name, wm, bn, ping, stages, eb)                    \
    ROW(stream_run, stream_cost, name, TNI_WG_##name, 1)          \
    ROW(stream_run, stream_cost, name##_x2, TNI_WG_##name, 2)
#define SPLIT(name, wgs, bn, stages)                              \
    ROW(split_run, split_cost, name, TNI_WG_##name, 1)            \
    ROW(split_run, split_cost, name##_k2, TNI_WG_##name, 2)       \
    ROW(split_run, split_cost, name##_k4, TNI_WG_##name, 4)       \
    ROW(split_run, split_cost, name##_k8, TNI_WG_##name, 8)
TNI_WG_STREAMS(STREAM)
TNI_WG_SPLITS(SPLIT)

bool tni_cuda_gemm_wg_f16(const TnKernelQuery *q) { return supports(q, TN_F16, true); }
bool tni_cuda_gemm_wg_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16, true); }
bool tni_cuda_gemm_wg_tf32(const TnKernelQuery *q) { return supports(q, TN_F32, true); }
bool tni_cuda_gemm_wgs_f16(const TnKernelQuery *q) { return supports(q, TN_F16, false); }
bool tni_cuda_gemm_wgs_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16, false); }
bool tni_cuda_gemm_wgs_tf32(const TnKernelQuery *q) { return supports(q, TN_F32, false); }
