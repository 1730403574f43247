/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of attention on wgmma (wg.cuh): which calls, tensor maps, estimates. A call whose operands turn out not to lie at multiples of 16
 * bytes is done by the kernels for any alignment. */
#include "backend/cuda/attention/wg.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Config {
    int32_t d, keys, groups, resident;
    TniCudaAttnTile instead; /* for operands that do not lie well */
} Config;
static const Config configs[] = {
#define CONFIG(name, d, keys, groups, tiles, bias_tiles, resident) {d, keys, groups, resident, TNI_ATTN_64},
    TNI_ATTN_WG_64(CONFIG) TNI_ATTN_WG_128(CONFIG)
#undef CONFIG
};

/* Dense biases gave other bits in 1 of 500 calls (8 x 12 x 709 x 709; 8 of 500 with 32 samples): a slot of the ring was given back while it
 * was still being read. Mended since, but not yet run on a GPU (checkcuda --repeat): until then another kernel takes them, unless
 * TENON_CUDA_WG_BIAS=1 stands in the environment. */
static bool dense_wanted(void) {
    const char *wish = getenv("TENON_CUDA_WG_BIAS");
    return wish != NULL && strcmp(wish, "1") == 0;
}

/* The copy engine brings rows that begin at multiples of 16 bytes. */
static bool bias_fits(const TniCudaAttn *a) {
    const TniCudaAttnBias *v = &a->bias[a->dense];
    if (a->bias_kind == TNI_ATTN_DENSE && !dense_wanted())
        return false;
    return a->bias_kind == TNI_ATTN_BY_KEY ||
           (a->bias_kind == TNI_ATTN_DENSE && v->f32 == 0 && v->sj == 1 && tni_is_aligned(v->p, 16) && (v->si | v->sh | v->sb) % 8 == 0);
}

static bool fits(const TniCudaAttn *a, const Config *c) {
    return a->d == c->d && a->dv == c->d && a->k.wide != 0 && a->v.wide != 0 && a->q.pairs != 0 && a->out_wide != 0 && a->sk > 0 &&
           bias_fits(a) && isfinite(a->scale) && a->scale > 0x1p-100f && a->scale < 0x1p20f;
}

/* ---- running ---- */

/* A tensor of 16-bit elements in boxes of `rows` rows x `cols` elements; strides in elements. */
static TnStatus map_make(TnKernelCall *call, CUtensorMap *map, const void *p, const int64_t (*dim)[2], int32_t rows, int32_t cols) {
    const TniDriver *drv;
    cuuint64_t dims[4], strides[3];
    TN_TRY(tni_cuda_driver(&drv, call->err));
    if (drv->tensor_map_tiled == NULL)
        return TN_RAISE(call->err, TN_ERR_DEVICE, "the driver has no cuTensorMapEncodeTiled: it is too old for this GPU; update it");
    for (int i = 0; i < 4; i++) {
        dims[i] = (cuuint64_t)dim[i][0];
        if (i > 0)
            strides[i - 1] = (cuuint64_t)dim[i][1] * 2;
    }
    const cuuint32_t box[4] = {(cuuint32_t)cols, (cuuint32_t)rows, 1, 1}, steps[4] = {1, 1, 1, 1};
    CUresult r = drv->tensor_map_tiled(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 4, (void *)(uintptr_t)p, dims, strides, box, steps,
                                       CU_TENSOR_MAP_INTERLEAVE_NONE, cols == 64 ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_64B,
                                       cols == 64 ? CU_TENSOR_MAP_L2_PROMOTION_L2_128B : CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? TN_OK : tni_cuda_raise_driver(call->err, r, "cuTensorMapEncodeTiled");
}

/* Keys or values: boxes of the tokens of a tile x 64 elements of one head. */
static TnStatus map_keys(TnKernelCall *call, CUtensorMap *map, const TniCudaAttnView *v, const TniCudaAttn *a, int32_t keys) {
    const int64_t dim[4][2] = {{a->d, 1}, {a->sk, v->ss}, {a->h / a->group, v->sh}, {a->b, v->sb}};
    return map_make(call, map, v->p, dim, keys, 64);
}

/* Bias: boxes of 64 queries x 32 keys. It ends at the last key: zeros come for what lies behind. A dim that is the same for all has size 1.
 */
static TnStatus map_bias(TnKernelCall *call, CUtensorMap *map, const TniCudaAttn *a) {
    const TniCudaAttnBias *v = &a->bias[a->dense];
    const int64_t dim[4][2] = {{a->sk, 1},
                               {a->sq, v->si},
                               {v->sh == 0 ? 1 : a->h, v->sh == 0 ? v->si : v->sh},
                               {v->sb == 0 ? 1 : a->b, v->sb == 0 ? v->si : v->sb}};
    return map_make(call, map, v->p, dim, 64, TNI_ATTN_WG_BOX);
}

static TnStatus run(TnKernelCall *call, TnDtype T, TniAttnWg config) {
    const Config *c = &configs[config];
    TniAttnWgArgs args = {.q_scale = 1.0f, .c = 1.4426950408889634f};
    TniCudaAttn *a = &args.a;
    CUtensorMap maps[3];
    if (!tni_cuda_attn_describe(a, call->params, call->in, call->n_in, &call->out[0], T))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: operands of %s do not have the layouts of the parameters",
                        tn_dtype_name(T));
    const int64_t blocks = tni_div_up(a->sq, 64 * c->groups), tiles = blocks * a->b * a->h;
    if (tiles == 0)
        return TN_OK;
    if (!fits(a, c))
        return (T == TN_F16 ? tni_cuda_attn_mma_f16 : tni_cuda_attn_mma_bf16)(call, a, c->instead);
    TN_TRY(map_keys(call, &maps[0], &a->k, a, c->keys));
    TN_TRY(map_keys(call, &maps[1], &a->v, a, c->keys));
    maps[2] = maps[0];
    args.by_tiles = tni_div_make(blocks);
    args.by_heads = tni_div_make(a->h);
    args.by_group = tni_div_make(a->group);
    args.tiles = (int32_t)tiles;
    args.unit = a->scale;
    int mode = a->bias[0].p != NULL || a->bias[1].p != NULL ? 1 : 0;
    if (a->bias_kind == TNI_ATTN_DENSE) {
        int power;
        const float rest = 2.0f * frexpf(a->scale, &power); /* 1 .. 2 */
        mode = 2;
        TN_TRY(map_bias(call, &maps[2], a));
        args.q_scale = ldexpf(1.0f, power - 1);
        args.unit = 1.0f / rest;
        args.c *= rest;
        args.vector = a->bias[a->dense ^ 1].p != NULL;
    } else if (mode == 0) {
        args.c *= a->scale;
    }
    args.grow = 8.0f / args.c;
    cudaError_t (*launch)(TniAttnWg, int, const CUtensorMap *, const TniAttnWgArgs *, const TnStream *) =
        T == TN_F16 ? (c->d == 64 ? tni_attn_wg_f16_64 : tni_attn_wg_f16_128) : (c->d == 64 ? tni_attn_wg_bf16_64 : tni_attn_wg_bf16_128);
    TNI_CUDA(call->err, launch(config, mode, maps, &args, call->stream), "attention (wgmma)");
    return tni_cuda_launched(call, "attention (wgmma)");
}

/* ---- which calls, how long ---- */

static bool supports(const TnKernelQuery *q, TnDtype T, TniAttnWg config) {
    TniCudaAttn a;
    return tni_cuda_attn_describe(&a, q->params, q->in, q->n_in, &q->out[0], T) && fits(&a, &configs[config]);
}

static double cost(const TnKernelQuery *q, TnDtype T, TniAttnWg config) {
    const Config *c = &configs[config];
    TniCudaAttn a;
    if (q->device == NULL || !tni_cuda_attn_describe(&a, q->params, q->in, q->n_in, &q->out[0], T))
        return 1e30;
    const double sms = (double)TN_MAX(q->device->sm_count, 1u), blocks = (double)a.b * a.h * (double)tni_div_up(a.sq, 64 * c->groups);
    const double keys = (double)tni_div_up(a.sk, 16) * 16.0;
    /* 64 queries: alone they wait for every step; several on an SM share its rate */
    const double fair = 4.0 * 64.0 * keys * c->d / (q->device->half_flops * 0.6 / sms) * 1e9;
    const double load = a.bias_kind == TNI_ATTN_DENSE ? 1.25 : 1.0;
    double per_sm = (double)(int64_t)((blocks + sms - 1.0) / sms) * c->groups; /* groups of queries on the busiest SM */
    const double together = TN_MIN(per_sm, (double)(c->groups * c->resident));
    const double rounds = (double)(int64_t)((per_sm + together - 1.0) / together);
    const double each = TN_MAX(fair * together * load, fair * 2.2) + 500.0;
    const double moving = tni_cuda_cost(q, tni_cuda_bytes(q), 0.0, 0.0);
    return TN_MAX(2500.0 + rounds * each, moving);
}

#define ROW(type, T, name)                                                                                                                 \
    TnStatus tni_cuda_attention_##type##_wg##name(TnKernelCall *call) {                                                                    \
        return run(call, T, TNI_ATTN_WG_##name);                                                                                           \
    }                                                                                                                                      \
    bool tni_cuda_attention_##type##_wg##name##_supports(const TnKernelQuery *q) {                                                         \
        return supports(q, T, TNI_ATTN_WG_##name);                                                                                         \
    }                                                                                                                                      \
    double tni_cuda_attention_##type##_wg##name##_cost(const TnKernelQuery *q) {                                                           \
        return cost(q, T, TNI_ATTN_WG_##name);                                                                                             \
    }
#define CONFIG(name, d, keys, groups, tiles, bias_tiles, resident)                                                                         \
    ROW(f16, TN_F16, name)                                                                                                                 \
    ROW(bf16, TN_BF16, name)
TNI_ATTN_WG_64(CONFIG)
TNI_ATTN_WG_128(CONFIG)
