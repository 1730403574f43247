/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution as a matrix product. K runs over (ky, kx, channel) for channels_last, over (channel, ky, kx) for NCHW. */
#include "backend/cpu/conv/conv.h"

#define BLOCK_FLOATS 65536 /* NCHW: floats of one packed block of pixels, 256 KiB */

typedef struct Run {
    TniConv v;
    const TniGemmIsa *isa;
    const TniConvIsa *conv;
    int64_t k; /* kh * kw * cg */
    const float *packed;
    float *pack_dst;
    float *a_buf;
    /* channels_last */
    TniGemmGrid grid; /* of one group */
    size_t group_floats;
    bool pointwise; /* 1x1, stride 1, no padding: A is x itself */
    /* NCHW */
    float *work;
    size_t work_floats;
    int64_t pixels, pixel_blocks, row_blocks;
} Run;

static TniGemmEpi epilogue(const TniConv *v) {
    return (TniGemmEpi){.alpha = 1, .beta = 1, .act = v->act, .act_alpha = v->act_alpha, .act_beta = v->act_beta};
}

static bool is_pointwise(const TniConv *v) {
    return v->kh == 1 && v->kw == 1 && v->sh == 1 && v->sw == 1 && v->pt == 0 && v->pl == 0 && v->oh == v->h && v->ow == v->w;
}

/* ---- channels_last ---- */

/* Panel `p` of group g's weights. */
static void pack_panel(const TniConv *v, const TniGemmIsa *isa, int64_t g, int64_t p, float *dst) {
    int64_t taps = v->kh * v->kw;
    for (int64_t t = 0; t < taps; t++) {
        TniPackB s = {.b = v->wt + g * v->mg * v->cg * taps + t, .sk = taps, .sn = v->cg * taps, .k = v->cg, .n = v->mg};
        isa->pack_b(&s, p, p + 1, dst + t * v->cg * isa->nr);
    }
}

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Run *r = ctx;
    int64_t g = task / r->grid.panels, p = task % r->grid.panels;
    pack_panel(&r->v, r->isa, g, p, r->pack_dst + (size_t)g * r->group_floats + p * r->k * r->isa->nr);
}

static void last_task(void *ctx, int64_t task, uint32_t worker) {
    const Run *r = ctx;
    const TniConv *v = &r->v;
    int64_t per = r->grid.mb * r->grid.nb, g = task / per, r0, r1, c0, c1;
    tni_gemm_task(&r->grid, task % per, &r0, &r1, &c0, &c1);
    int64_t channel = g * v->mg + c0, at = r0 * v->m + channel;
    TniGemmEpi epi = epilogue(v);
    epi.bias = v->bias != NULL ? v->bias + channel : NULL;
    epi.residual = v->res != NULL ? v->res + at : NULL;
    epi.ldr = v->m;
    TniConvGather src = {.v = v, .row0 = r0, .channel0 = g * v->cg};
    TniGemmBlock blk = {.lda = v->c,
                        .b = r->packed + (size_t)g * r->group_floats + c0 * r->k,
                        .ldp = r->k * r->isa->nr,
                        .c = v->y + at,
                        .ldc = v->m,
                        .m = r1 - r0,
                        .n = c1 - c0,
                        .k = r->k,
                        .epi = &epi};
    if (r->pointwise) {
        blk.a = v->x + r0 * v->c + g * v->cg;
    } else {
        blk.load_a = r->conv->gather;
        blk.load_ctx = &src;
        blk.a_buf = r->a_buf + (size_t)worker * TNI_GEMM_A_BUF;
    }
    r->isa->block(&blk);
}

/* ---- NCHW ---- */

static void pack_pixels(const Run *r, const float *x, int64_t p0, int64_t p1, float *dst) {
    if (r->pointwise) {
        TniPackB s = {.b = x + p0, .sk = r->v.h * r->v.w, .sn = 1, .k = r->v.cg, .n = p1 - p0};
        r->isa->pack_b(&s, 0, tni_ceil_div(p1 - p0, r->isa->nr), dst);
    } else {
        r->conv->pack_pixels(&r->v, x, p0, p1, dst);
    }
}

static void nchw_task(void *ctx, int64_t task, uint32_t worker) {
    const Run *r = ctx;
    const TniConv *v = &r->v;
    int64_t rb = task % r->row_blocks, pb = task / r->row_blocks % r->pixel_blocks, bg = task / r->row_blocks / r->pixel_blocks;
    int64_t g = bg % v->group, b = bg / v->group, plane = v->oh * v->ow;
    int64_t p0 = pb * r->pixels, p1 = TN_MIN(p0 + r->pixels, plane);
    int64_t m0 = v->mg * rb / r->row_blocks, m1 = v->mg * (rb + 1) / r->row_blocks, row = g * v->mg + m0;
    float *panels = r->work + (size_t)worker * r->work_floats;
    pack_pixels(r, v->x + (b * v->c + g * v->cg) * v->h * v->w, p0, p1, panels);
    int64_t at = (b * v->m + row) * plane + p0;
    TniGemmEpi epi = epilogue(v);
    epi.bias_row = v->bias != NULL ? v->bias + row : NULL;
    epi.residual = v->res != NULL ? v->res + at : NULL;
    epi.ldr = plane;
    TniGemmBlock blk = {.a = v->wt + row * r->k,
                        .lda = r->k,
                        .b = panels,
                        .ldp = r->k * r->isa->nr,
                        .c = v->y + at,
                        .ldc = plane,
                        .m = m1 - m0,
                        .n = p1 - p0,
                        .k = r->k,
                        .epi = &epi};
    r->isa->block(&blk);
}

/* Sizes that do not depend on whether operands are known. */
static bool plan(Run *r, const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, const TniGemmIsa *isa) {
    *r = (Run){.isa = isa};
    TniConv *v = &r->v;
    if (!tni_conv_describe(v, p, in, n_in, out))
        return false;
    r->k = v->kh * v->kw * v->cg;
    r->pointwise = is_pointwise(v);
    if (v->channels_last) {
        r->grid = tni_gemm_grid(isa, v->b * v->oh * v->ow, v->mg, r->k);
        r->group_floats = tni_gemm_packed_floats(isa, r->k, v->mg);
        return true;
    }
    int64_t nr = isa->nr, plane = v->oh * v->ow;
    r->pixels = TN_MIN(TN_MAX(BLOCK_FLOATS / TN_MAX(r->k, 1) / nr * nr, nr), tni_ceil_div(plane, nr) * nr);
    r->pixel_blocks = tni_ceil_div(plane, TN_MAX(r->pixels, 1));
    r->work_floats = TN_MAX((size_t)BLOCK_FLOATS, (size_t)(r->k * nr));
    int64_t tasks = v->b * v->group * r->pixel_blocks;
    r->row_blocks = tasks >= 8 ? 1 : TN_MAX(TN_MIN(tni_ceil_div(8, TN_MAX(tasks, 1)), v->mg / (2 * isa->mr)), 1);
    return true;
}

static size_t scratch_floats(const Run *r, bool packed, size_t threads) {
    if (!r->v.channels_last)
        return threads * r->work_floats;
    size_t n = packed ? 0 : tni_align_up((size_t)r->v.group * r->group_floats, 16);
    return n + (r->pointwise ? 0 : threads * TNI_GEMM_A_BUF);
}

static TnStatus conv_run(TnKernelCall *call, const TniGemmIsa *isa, const TniConvIsa *conv) {
    Run r;
    if (!plan(&r, call->params, call->in, call->n_in, &call->out[0], isa))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: the operands are not those that the kernel was chosen for");
    TniConv *v = &r.v;
    r.conv = conv;
    if (v->b * v->m * v->oh * v->ow == 0)
        return TN_OK;
    r.packed = call->packed != NULL ? call->packed[1] : NULL;
    size_t need = scratch_floats(&r, r.packed != NULL, tni_threads_count(call->threads)) * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    if (!v->channels_last) {
        r.work = call->scratch;
        tni_parallel_for(call->threads, v->b * v->group * r.pixel_blocks * r.row_blocks, nchw_task, &r);
        return TN_OK;
    }
    r.a_buf = call->scratch;
    if (r.packed == NULL) {
        r.pack_dst = call->scratch;
        r.a_buf = r.pack_dst + tni_align_up((size_t)v->group * r.group_floats, 16);
        tni_parallel_for(call->threads, v->group * r.grid.panels, pack_task, &r);
        r.packed = r.pack_dst;
    }
    tni_parallel_for(call->threads, v->group * r.grid.mb * r.grid.nb, last_task, &r);
    return TN_OK;
}

bool tni_conv_gemm_supports(const TnKernelQuery *q) {
    TniConv v;
    return tni_conv_describe(&v, q->params, q->in, q->n_in, &q->out[0]);
}

static size_t conv_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Run r;
    if (!plan(&r, q->params, q->in, q->n_in, &q->out[0], isa))
        return 0;
    r.pointwise = false; /* monotone: padding and strides do not shrink the bound */
    return scratch_floats(&r, q->in[1].data != NULL, TN_MAX(q->threads, 1u)) * sizeof(float);
}

static double conv_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Run r;
    if (!plan(&r, q->params, q->in, q->n_in, &q->out[0], isa))
        return 1e30;
    const TniConv *v = &r.v;
    double pixels = (double)(v->b * v->oh * v->ow), k = (double)r.k, columns, rows;
    if (v->channels_last) { /* whole half panels are computed */
        columns = (double)(tni_ceil_div(v->mg, isa->nr / 2) * (isa->nr / 2));
        rows = pixels;
    } else {
        columns = pixels;
        rows = (double)v->mg;
    }
    double cost = tni_gemm_cost(isa, rows, columns, k) + 20.0;
    if (!r.pointwise || !v->channels_last)
        cost += pixels * k * (v->channels_last ? 4.0 / isa->vl * 0.3 : 1.0);
    return (double)v->group * cost;
}

static size_t conv_packed_bytes(const TnKernelQuery *q, uint32_t i, const TniGemmIsa *isa) {
    Run r;
    if (i != 1 || q->in[1].data == NULL || !plan(&r, q->params, q->in, q->n_in, &q->out[0], isa) || !r.v.channels_last)
        return 0;
    return (size_t)r.v.group * r.group_floats * sizeof(float);
}

static void conv_pack(const TnKernelQuery *q, void *dst, const TniGemmIsa *isa) {
    Run r;
    if (!plan(&r, q->params, q->in, q->n_in, &q->out[0], isa))
        return;
    r.pack_dst = dst;
    for (int64_t t = 0; t < r.v.group * r.grid.panels; t++)
        pack_task(&r, t, 0);
}

/* The functions that kernels.inc names: one set an ISA. */
#define CONV_ENTRIES(isa)                                                                                                                  \
    TnStatus tni_conv_gemm_run_##isa(TnKernelCall *call) {                                                                                 \
        return conv_run(call, &tni_gemm_isa_##isa, &tni_conv_isa_##isa);                                                                   \
    }                                                                                                                                      \
    size_t tni_conv_gemm_scratch_##isa(const TnKernelQuery *q) {                                                                           \
        return conv_scratch(q, &tni_gemm_isa_##isa);                                                                                       \
    }                                                                                                                                      \
    double tni_conv_gemm_cost_##isa(const TnKernelQuery *q) {                                                                              \
        return conv_cost(q, &tni_gemm_isa_##isa);                                                                                          \
    }                                                                                                                                      \
    size_t tni_conv_gemm_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                          \
        return conv_packed_bytes(q, i, &tni_gemm_isa_##isa);                                                                               \
    }                                                                                                                                      \
    void tni_conv_gemm_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                         \
        (void)i;                                                                                                                           \
        conv_pack(q, dst, &tni_gemm_isa_##isa);                                                                                            \
    }

CONV_ENTRIES(scalar)
#if defined(__x86_64__)
CONV_ENTRIES(avx2)
CONV_ENTRIES(avx512)
#endif
