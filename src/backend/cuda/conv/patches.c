/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions over windows that do not overlap (patches.h): which shapes, arguments, estimates.
 *   rows   windows are copied into rows (not where x holds them already), and a kernel of gemm multiplies them
 *   short  few terms: one kernel, bound by what it reads and writes
 * Packing: "cuda_conv_tc", which is what gemm wants of B. */
#include "backend/cuda/conv/patches.h"

#include "backend/cuda/conv/conv.h"
#include "backend/cuda/gemm/gemm.h"

#define SCRATCH_ALIGN ((size_t)256)

/* Runs and lines are whole pieces of n elements. */
static bool windows_of(const TniConv *v, int64_t n) {
    return v->channels_last != 0 && v->group == 1 && v->constant_w && v->kh == v->sh && v->kw == v->sw && v->pt == 0 && v->pl == 0 &&
           v->dh == 1 && v->dw == 1 && v->c > 0 && (int64_t)v->oh * v->kh <= v->h && (int64_t)v->ow * v->kw <= v->w &&
           (int64_t)v->kw * v->c % n == 0 && (int64_t)v->w * v->c % n == 0;
}

/* Already rows in x. */
static bool is_rows(const TniConv *v) { return v->kh == 1 && v->ow * v->kw == v->w; }

/* The product behind a conv, as gemm sees it. */
typedef struct Product {
    TnGemmParams params;
    TnTensor in[4], out;
    const void *packed[4];
} Product;

static void matrix(TnTensor *t, const TnTensor *from, int64_t rows, int64_t cols) {
    *t = (TnTensor){.dtype = from->dtype, .rank = 2, .data = from->data};
    t->dims[0] = rows;
    t->dims[1] = cols;
}

static void product_of(const TnConvParams *p, const TnTensor *in, const TnTensor *out, const TniConv *v, Product *g) {
    const int64_t rows = (int64_t)v->batch * v->oh * v->ow;
    memset(g, 0, sizeof *g);
    g->params =
        (TnGemmParams){.trans_b = 1, .alpha = 1.0f, .beta = 1.0f, .act = p->act, .act_alpha = p->act_alpha, .act_beta = p->act_beta};
    matrix(&g->in[0], &in[0], rows, v->k);
    matrix(&g->in[1], &in[1], v->m, v->k);
    if (v->has_bias)
        g->in[2] = in[2];
    if (v->has_residual)
        matrix(&g->in[3], &in[3], rows, v->m);
    matrix(&g->out, out, rows, v->m);
}

/* ---- rows ---- */

static size_t rows_bytes(const TniConv *v) {
    const size_t bytes = (size_t)v->batch * (size_t)v->oh * (size_t)v->ow * (size_t)v->k * tni_size_of(v->type);
    return v->kh * v->kw == 1 ? 0 : (bytes + SCRATCH_ALIGN - 1) / SCRATCH_ALIGN * SCRATCH_ALIGN;
}

static bool rows_takes(const TniConv *v) {
    const int64_t size = (int64_t)tni_size_of(v->type);
    return windows_of(v, 8 / size) && v->k * size % 16 == 0 && (int64_t)v->batch * v->h * v->w * v->c * size / 8 < INT32_MAX;
}

/* Windows into call->scratch. */
static TnStatus copy_rows(TnKernelCall *call, const TniConv *v) {
    const int64_t run = (int64_t)v->kw * v->c * (int64_t)tni_size_of(v->type), line = (int64_t)v->w * v->c * (int64_t)tni_size_of(v->type);
    TniPatchCopy p = {.x = call->in[0].data, .rows = call->scratch, .ow = (uint32_t)v->ow, .kh = (uint32_t)v->kh};
    p.size = run % 16 == 0 && line % 16 == 0 ? 16 : 8;
    p.pieces = (uint32_t)((int64_t)v->batch * v->oh * v->kh * v->ow * run / p.size);
    p.line = (uint32_t)(line / p.size);
    p.picture = (uint32_t)v->h;
    p.used = (uint32_t)(v->oh * v->kh);
    p.d_covered = tni_div_make(v->ow * run / p.size);
    p.d_run = tni_div_make(run / p.size);
    p.d_kh = tni_div_make(v->kh);
    p.d_used = tni_div_make(p.used);
    return tni_conv_patch_copy(call, &p);
}

static TnStatus rows_run(TnKernelCall *call, TnKernelFn gemm) {
    TniConv v;
    Product g;
    if (!tni_conv_shape(call->params, call->in, call->n_in, &call->out[0], &v))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: operands that the kernel does not take");
    if ((int64_t)v.batch * v.oh * v.ow * v.m == 0)
        return TN_OK;
    const void *w = tni_conv_packed(call);
    if (w == NULL || !tni_is_aligned(call->in[0].data, 16) || !rows_takes(&v))
        return tni_cuda_conv_strip_run(call);
    const size_t bytes = rows_bytes(&v);
    if (call->scratch_bytes < bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: %zu bytes of scratch needed, %zu given", bytes, call->scratch_bytes);
    product_of(call->params, call->in, &call->out[0], &v, &g);
    if (!is_rows(&v)) {
        TN_TRY(copy_rows(call, &v));
        g.in[0].data = call->scratch;
    }
    g.packed[1] = w;
    TnKernelCall inner = *call;
    inner.params = &g.params;
    inner.in = g.in;
    inner.n_in = 4;
    inner.out = &g.out;
    inner.packed = g.packed;
    inner.scratch = (char *)call->scratch + bytes;
    inner.scratch_bytes = call->scratch_bytes - bytes;
    return gemm(&inner);
}

typedef bool (*Supports)(const TnKernelQuery *q);
typedef double (*Cost)(const TnKernelQuery *q);

static void inner_query(const TnKernelQuery *q, const TniConv *v, Product *g, TnKernelQuery *inner) {
    product_of(q->params, q->in, q->out, v, g);
    *inner = *q;
    inner->op = TN_OP_gemm;
    inner->params = &g->params;
    inner->in = g->in;
    inner->n_in = 4;
    inner->out = &g->out;
}

static bool rows_supports(const TnKernelQuery *q, TnDtype type, Supports gemm) {
    TniConv v;
    Product g;
    TnKernelQuery inner;
    if (!tni_conv_query(q, &v) || v.type != type || !rows_takes(&v))
        return false;
    inner_query(q, &v, &g, &inner);
    return gemm(&inner);
}

static double rows_cost(const TnKernelQuery *q, Cost gemm) {
    TniConv v;
    Product g;
    TnKernelQuery inner;
    if (q->device == NULL || !tni_conv_query(q, &v))
        return 1e30;
    inner_query(q, &v, &g, &inner);
    const double bytes = is_rows(&v) ? 0.0 : 2.0 * (double)rows_bytes(&v);
    return gemm(&inner) + (bytes > 0.0 ? 1500.0 + bytes / (q->device->bytes_per_second * 0.8e-9) : 0.0);
}

size_t tni_cuda_conv_rows_scratch(const TnKernelQuery *q) {
    TniConv v;
    return tni_conv_query(q, &v) ? rows_bytes(&v) : 0;
}

size_t tni_cuda_conv_rows_lt_scratch(const TnKernelQuery *q) { return tni_cuda_conv_rows_scratch(q) + tni_cuda_gemm_lt_scratch(q); }

#define ROWS(name)                                                                                                             \
    TnStatus tni_cuda_conv_rows_run_##name(TnKernelCall *call) { return rows_run(call, tni_cuda_gemm_run_##name); }            \
    double tni_cuda_conv_rows_cost_##name(const TnKernelQuery *q) { return rows_cost(q, tni_cuda_gemm_cost_##name); }
TNI_CONV_ROWS_STREAMS(ROWS)
TNI_CONV_ROWS_SPLITS(ROWS)
TNI_CONV_ROWS_LTS(ROWS)

#define SUPPORTS(kind, name, type) \
    bool tni_cuda_conv_rows_##kind##_##name(const TnKernelQuery *q) { return rows_supports(q, type, tni_cuda_gemm_##kind##_##name); }
SUPPORTS(wg, f16, TN_F16)
SUPPORTS(wg, bf16, TN_BF16)
SUPPORTS(wg, tf32, TN_F32)
SUPPORTS(wgs, f16, TN_F16)
SUPPORTS(wgs, bf16, TN_BF16)
SUPPORTS(wgs, tf32, TN_F32)
SUPPORTS(lt, f16, TN_F16)
SUPPORTS(lt, bf16, TN_BF16)
SUPPORTS(lt, f32, TN_F32)

/* ---- short ---- */

static bool short_takes(const TniConv *v) {
    return v->type != TN_F32 && windows_of(v, 4) && v->k <= TNI_PATCH_SHORT && v->m % 8 == 0 &&
           (int64_t)v->kh * v->w * v->c < INT32_MAX;
}

TnStatus tni_cuda_conv_short_run(TnKernelCall *call) {
    TniConv v;
    if (!tni_conv_shape(call->params, call->in, call->n_in, &call->out[0], &v))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: operands that the kernel does not take");
    if ((int64_t)v.batch * v.oh * v.ow * v.m == 0)
        return TN_OK;
    TniPatchShort p = {.x = call->in[0].data, .w = tni_conv_packed(call), .y = call->out[0].data, .rows = v.batch * v.oh * v.ow, .m = v.m,
                       .k = (int32_t)v.k, .ldw = (int32_t)tni_conv_kp(&v), .run = v.kw * v.c};
    tni_conv_epilogue(call, &v, &p.epi);
    if (p.w == NULL || !short_takes(&v) || !tni_is_aligned(p.x, 8) || !tni_is_aligned(p.y, 16) ||
        (v.has_residual && !tni_is_aligned(p.epi.residual, 16)))
        return tni_cuda_conv_strip_run(call);
    p.line = (int64_t)v.w * v.c;
    p.down = v.kh * p.line;
    p.picture = v.h * p.line;
    p.d_ow = tni_div_make(v.ow);
    p.d_oh = tni_div_make(v.oh);
    p.d_run = tni_div_make(p.run);
    return tni_conv_patch_short(call, v.type, &p);
}

static bool short_supports(const TnKernelQuery *q, TnDtype type) {
    TniConv v;
    return tni_conv_query(q, &v) && v.type == type && short_takes(&v);
}
bool tni_cuda_conv_short_f16(const TnKernelQuery *q) { return short_supports(q, TN_F16); }
bool tni_cuda_conv_short_bf16(const TnKernelQuery *q) { return short_supports(q, TN_BF16); }

/* Every 64 columns read x anew, from L2. */
double tni_cuda_conv_short_cost(const TnKernelQuery *q) {
    TniConv v;
    if (q->device == NULL || !tni_conv_query(q, &v))
        return 1e30;
    const double sms = (double)q->device->sm_count, warps = sms * 12.0, tiles = (double)tni_div_up((int64_t)v.batch * v.oh * v.ow, 16);
    const double columns = (double)tni_div_up(v.m, 64), each = (double)(int64_t)((tiles * columns + warps - 1) / warps);
    const double slots = 16.0 * 64.0 * tni_act_slots(((const TnConvParams *)q->params)->act, false) / (128.0 * 1.7 * 0.6);
    return 3000.0 + TN_MAX(each * (300.0 + 12.0 * slots), tni_cuda_bytes(q) / (q->device->bytes_per_second * 0.75e-9));
}
