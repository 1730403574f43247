/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of mlp: which shapes, tensor maps, estimates, and the two products one after the other. In: x, w1, w2, b1, b2, residual (params.h).
 * A call of the fused row whose operands turn out not to lie at multiples of 16 bytes is done by gemm's kernel for any alignment, a part of
 * the rows after the other, so that little scratch memory is kept for it. */
#include "backend/cuda/mlp/mlp.h"

#include "backend/cuda/gemm/mma.h"
#include "backend/cuda/mlp/fused.h"

#define SLICE_BYTES (8 << 20) /* of hidden values that the fused row keeps room for */

typedef struct MlpInfo {
    int32_t c, wgs;
} MlpInfo;
static const MlpInfo configs[] = {
#define MLP(name, c, wgs, xb, slots) {c, wgs},
    TNI_MLPS(MLP)
#undef MLP
};

/* ---- the two products ---- */

typedef struct Pair {
    TnGemmParams p[2];
    TnTensor in[2][4], hidden;
    TniGemmShape s[2];
} Pair;

static TnTensor operand(const TnTensor *in, uint32_t n_in, uint32_t i) {
    return i < n_in ? in[i] : (TnTensor){.dtype = TN_UNDEFINED};
}

/* false: not what the rows take. */
static bool pair_make(const TnMlpParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, Pair *x) {
    if (n_in < 3 || in[0].rank < 1 || in[1].rank != 2 || in[2].rank != 2)
        return false;
    x->p[0] = (TnGemmParams){
        .trans_b = p->trans_1, .alpha = 1.0f, .beta = 1.0f, .act = p->act, .act_alpha = p->act_alpha, .act_beta = p->act_beta};
    x->p[1] = (TnGemmParams){.trans_b = p->trans_2, .alpha = 1.0f, .beta = 1.0f, .act = TN_ACT_NONE};
    x->hidden = in[0];
    x->hidden.data = NULL;
    x->hidden.dims[in[0].rank - 1] = in[1].dims[p->trans_1 != 0 ? 0 : 1];
    x->in[0][0] = in[0];
    x->in[0][1] = in[1];
    x->in[0][2] = operand(in, n_in, 3);
    x->in[0][3] = (TnTensor){.dtype = TN_UNDEFINED};
    x->in[1][0] = x->hidden;
    x->in[1][1] = in[2];
    x->in[1][2] = operand(in, n_in, 4);
    x->in[1][3] = operand(in, n_in, 5);
    return tni_gemm_shape(&x->p[0], x->in[0], 4, &x->hidden, &x->s[0]) && tni_gemm_shape(&x->p[1], x->in[1], 4, out, &x->s[1]);
}

static TnKernelQuery half_query(const TnKernelQuery *q, const Pair *x, uint32_t i) {
    TnKernelQuery h = *q;
    h.op = TN_OP_gemm;
    h.params = &x->p[i];
    h.in = x->in[i];
    h.n_in = 4;
    if (i == 0)
        h.out = &x->hidden;
    return h;
}

typedef TnStatus (*RunFn)(TnKernelCall *call);

static TnStatus run_half(const TnKernelCall *call, Pair *x, uint32_t i, TnTensor *out, RunFn run) {
    const void *packed[4] = {NULL, call->packed != NULL ? call->packed[i + 1] : NULL, NULL, NULL};
    TnKernelCall h = *call;
    h.params = &x->p[i];
    h.in = x->in[i];
    h.n_in = 4;
    h.out = out;
    h.packed = packed;
    h.scratch = NULL;
    h.scratch_bytes = 0;
    if (run != NULL)
        return run(&h);
    TniGemmShape s;
    if (!tni_gemm_shape(&x->p[i], x->in[i], 4, out, &s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "mlp: operands that the kernel does not take");
    return tni_gemm_mma_run(&h, &s);
}

static TnStatus run_pair(TnKernelCall *call, RunFn first, RunFn second) {
    Pair x;
    if (!pair_make(call->params, call->in, call->n_in, &call->out[0], &x))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "mlp: operands that the kernel does not take");
    x.hidden.data = x.in[1][0].data = call->scratch;
    TN_TRY(run_half(call, &x, 0, &x.hidden, first));
    return run_half(call, &x, 1, &call->out[0], second);
}

static int64_t slice_rows(const TniGemmShape *s) {
    return TN_MIN(TN_MAX(SLICE_BYTES / (2 * TN_MAX(s->n, (int64_t)1)), (int64_t)64), TN_MAX(s->m, (int64_t)1));
}

static void rows_of(TnTensor *t, const void *data, int64_t first, int64_t n, int64_t width) {
    if (t->dtype == TN_UNDEFINED)
        return;
    t->rank = 2;
    t->dims[0] = n;
    t->dims[1] = width;
    t->data = (char *)(uintptr_t)data + (size_t)(first * width) * tni_size_of(t->dtype);
}

/* Any alignment. */
static TnStatus run_slices(TnKernelCall *call, const Pair *whole) {
    const TniGemmShape *s = &whole->s[0];
    const int64_t c = whole->s[1].n, rows = slice_rows(s);
    for (int64_t i = 0; i < s->m; i += rows) {
        const int64_t n = TN_MIN(rows, s->m - i);
        Pair x = *whole;
        TnTensor out = call->out[0];
        rows_of(&x.in[0][0], call->in[0].data, i, n, s->k);
        rows_of(&x.hidden, call->scratch, 0, n, s->n);
        x.in[1][0] = x.hidden;
        rows_of(&x.in[1][3], x.in[1][3].data, i, n, c);
        rows_of(&out, call->out[0].data, i, n, c);
        TN_TRY(run_half(call, &x, 0, &x.hidden, NULL));
        TN_TRY(run_half(call, &x, 1, &out, NULL));
    }
    return TN_OK;
}

/* ---- the fused kernel ---- */

/* A [rows, cols] matrix of 16-bit elements moved in boxes of a unit. */
static TnStatus map_make(TnKernelCall *call, CUtensorMap *map, const void *data, int64_t rows, int64_t cols, int64_t ld) {
    const TniDriver *drv;
    TN_TRY(tni_cuda_driver(&drv, call->err));
    if (drv->tensor_map_tiled == NULL)
        return TN_RAISE(call->err, TN_ERR_DEVICE, "the driver has no cuTensorMapEncodeTiled: it is too old for this GPU; update it");
    const cuuint64_t dims[2] = {(cuuint64_t)cols, (cuuint64_t)rows}, strides[1] = {(cuuint64_t)ld * 2};
    const cuuint32_t box[2] = {TNI_MLP_UNIT, TNI_MLP_UNIT}, steps[2] = {1, 1};
    CUresult r = drv->tensor_map_tiled(map, CU_TENSOR_MAP_DATA_TYPE_UINT16, 2, (void *)(uintptr_t)data, dims, strides, box, steps,
                                       CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
                                       CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
    return r == CUDA_SUCCESS ? TN_OK : tni_cuda_raise_driver(call->err, r, "cuTensorMapEncodeTiled");
}

/* TNI_MLP_COUNT: none is wide enough. */
static TniMlp config_of(int64_t c) {
    uint32_t i = 0;
    while (i < TNI_MLP_COUNT && configs[i].c < c)
        i++;
    return (TniMlp)i;
}

static TnStatus run_config(TnKernelCall *call, const Pair *x) {
    const TniGemmShape *s = &x->s[0];
    const TniMlp config = config_of(s->k);
    const int64_t c = s->k, hidden = s->n, m = s->m;
    const TnTensor *residual = &x->in[1][3];
    const TnMlpParams *p = call->params;
    CUtensorMap maps[5];
    TN_TRY(map_make(call, &maps[0], call->in[0].data, m, c, c));
    TN_TRY(map_make(call, &maps[1], call->packed[1], hidden, c, tni_gemm_kp(s->type, c)));
    TN_TRY(map_make(call, &maps[2], call->packed[2], c, hidden, tni_gemm_kp(s->type, hidden)));
    TN_TRY(map_make(call, &maps[3], call->out[0].data, m, c, c));
    maps[4] = maps[3];
    TniMlpArgs args = {.b1 = x->s[0].bias_mode == TNI_BIAS_COLUMN ? call->in[3].data : NULL,
                       .b2 = x->s[1].bias_mode == TNI_BIAS_COLUMN ? call->in[4].data : NULL,
                       .hidden = (int32_t)hidden,
                       .c = (int32_t)c,
                       .tiles = (int32_t)tni_div_up(m, 64 * configs[config].wgs),
                       .chunks = (int32_t)tni_div_up(hidden, 64),
                       .residual = TNI_MLP_RES_NONE,
                       .constant = 1,
                       .act = tni_act_make(p->act, p->act_alpha, p->act_beta, false)};
    if (x->s[1].has_residual) {
        args.residual = residual->data == call->in[0].data ? TNI_MLP_RES_X : TNI_MLP_RES_OTHER;
        TN_TRY(map_make(call, &maps[4], residual->data, m, c, c));
    }
    cudaError_t e = (s->type == TN_F16 ? tni_mlp_f16 : tni_mlp_bf16)(config, maps, &args, call->stream);
    TNI_CUDA(call->err, e, "mlp (wgmma)");
    return tni_cuda_launched(call, "mlp (wgmma)");
}

TnStatus tni_cuda_mlp_run_fused(TnKernelCall *call) {
    Pair x;
    if (!pair_make(call->params, call->in, call->n_in, &call->out[0], &x))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "mlp: operands that the kernel does not take");
    if (x.s[0].m == 0)
        return TN_OK;
    const bool packed = call->packed != NULL && call->packed[1] != NULL && call->packed[2] != NULL;
    if (!packed || !tni_is_aligned(call->in[0].data, 16) || !tni_is_aligned(call->out[0].data, 16) ||
        (x.s[1].has_residual && !tni_is_aligned(x.in[1][3].data, 16)))
        return run_slices(call, &x);
    return run_config(call, &x);
}

size_t tni_cuda_mlp_scratch_fused(const TnKernelQuery *q) {
    Pair x;
    if (!pair_make(q->params, q->in, q->n_in, q->out, &x))
        return 0;
    return (size_t)(slice_rows(&x.s[0]) * x.s[0].n) * 2;
}

double tni_cuda_mlp_cost_fused(const TnKernelQuery *q) {
    Pair x;
    if (q->device == NULL || !pair_make(q->params, q->in, q->n_in, q->out, &x) || config_of(x.s[0].k) == TNI_MLP_COUNT)
        return 1e30;
    const MlpInfo *c = &configs[config_of(x.s[0].k)];
    const double sms = (double)q->device->sm_count, m = (double)x.s[0].m, wgs = c->wgs, width = c->c;
    const double tiles = (double)tni_div_up(x.s[0].m, 64 * c->wgs), each = (double)(int64_t)((tiles + sms - 1) / sms);
    const double chunks = (double)tni_div_up(x.s[0].n, 64);
    /* a chunk of one warpgroup: products, activations on 128 lanes at 1.7 GHz; a block's share of L2, bytes a nanosecond */
    const double multiply = 4.0 * 64.0 * 64.0 * width / (q->device->half_flops * 0.75e-9 / sms);
    const double act = 64.0 * 64.0 * (tni_act_slots(x.p[0].act, false) + 5.0) / (128.0 * 1.7 * 0.8);
    const double fetch = 256.0 * width / 50.0;
    const double busy = TN_MAX(wgs * TN_MAX(multiply, act), chunks * 2.0 * width / 64.0 > 20.0 ? fetch : 0.0) * 1.15;
    const double tile = chunks * busy + wgs * 64.0 * width / 40.0 + 400.0;
    const double bytes = 2.0 * m * (double)x.s[0].k * (x.s[1].has_residual ? 3.0 : 2.0);
    return 4000.0 + TN_MAX(each * tile, bytes / (q->device->bytes_per_second * 1e-9 * 0.8));
}

/* ---- rows of two products ---- */

size_t tni_cuda_mlp_scratch_pair(const TnKernelQuery *q) {
    Pair x;
    return pair_make(q->params, q->in, q->n_in, q->out, &x) ? (size_t)x.s[0].m * (size_t)x.s[0].n * 2 : 0;
}

typedef double (*CostFn)(const TnKernelQuery *q);

static double pair_cost(const TnKernelQuery *q, CostFn first, CostFn second) {
    Pair x;
    if (!pair_make(q->params, q->in, q->n_in, q->out, &x))
        return 1e30;
    const TnKernelQuery a = half_query(q, &x, 0), b = half_query(q, &x, 1);
    return first(&a) + second(&b);
}

#define PAIR(name, first, second)                                                        \
    TnStatus tni_cuda_mlp_run_##name(TnKernelCall *call) {                               \
        return run_pair(call, tni_cuda_gemm_run_##first, tni_cuda_gemm_run_##second);    \
    }                                                                                    \
    double tni_cuda_mlp_cost_##name(const TnKernelQuery *q) {                            \
        return pair_cost(q, tni_cuda_gemm_cost_##first, tni_cuda_gemm_cost_##second);    \
    }
TNI_MLP_PAIRS(PAIR)

/* ---- which shapes ---- */

static bool supports(const TnKernelQuery *q, TnDtype type) {
    Pair x;
    if (!pair_make(q->params, q->in, q->n_in, q->out, &x) || x.s[0].type != type || q->in[1].data == NULL || q->in[2].data == NULL)
        return false;
    const int64_t c = x.s[0].k, hidden = x.s[0].n;
    return x.s[0].bias_mode <= TNI_BIAS_COLUMN && x.s[1].bias_mode <= TNI_BIAS_COLUMN && x.s[1].n == c && c % 8 == 0 && hidden % 8 == 0 &&
           c > 0 && hidden > 0 && hidden <= TNI_MLP_HIDDEN && config_of(c) < TNI_MLP_COUNT;
}
bool tni_cuda_mlp_f16(const TnKernelQuery *q) { return supports(q, TN_F16); }
bool tni_cuda_mlp_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16); }

/* ---- packing: as gemm does ---- */

size_t tni_cuda_mlp_packed_bytes(const TnKernelQuery *q, uint32_t i) {
    Pair x;
    if ((i != 1 && i != 2) || !pair_make(q->params, q->in, q->n_in, q->out, &x))
        return 0;
    const TnKernelQuery h = half_query(q, &x, i - 1);
    return tni_cuda_gemm_packed_bytes(&h, 1);
}

void tni_cuda_mlp_pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    Pair x;
    if ((i != 1 && i != 2) || !pair_make(q->params, q->in, q->n_in, q->out, &x))
        return;
    const TnKernelQuery h = half_query(q, &x, i - 1);
    tni_cuda_gemm_pack(&h, 1, dst);
}
