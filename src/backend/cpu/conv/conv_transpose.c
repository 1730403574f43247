/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposed convolution, NCHW, 1 and 2 spatial dims, as a matrix product and a sum of what falls on the same place: rows (output channel, ky,
 * kx) of the weights times the input's pixels, block by block, each row then added to its shifted and spread place in the output. A task is a
 * block of output channels of an image, so that nobody else writes there. */
#include "backend/cpu/conv/conv.h"

#define BLOCK_FLOATS 65536 /* of one block of products, 256 KiB */

typedef struct Spread {
    const TniGemmIsa *isa;
    int64_t b, group, cg, mg, h, w, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl;
    int64_t taps, pixels;      /* kh * kw, h * w */
    int64_t blocks, most, cut; /* tasks of channels an image, channels of a task at most, pixels of a block */
    const float *x, *wt, *bias, *rows;
    float *y, *panels, *made, *work;
} Spread;

static int64_t begin_pad(const TnConvParams *p, uint32_t d, int64_t in, int64_t out, int64_t extent) {
    bool same = p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER;
    if (p->auto_pad == TN_PAD_VALID)
        return 0;
    if (!same && p->output_shape[d] <= 0)
        return p->pads[d];
    int64_t total = TN_MAX((in - 1) * p->stride[d] + p->output_pads[d] + extent - out, 0);
    return p->auto_pad == TN_PAD_SAME_UPPER ? total / 2 : total - total / 2;
}

/* False when the operands are not what these kernels do. Works for queries and calls. */
static bool describe(Spread *s, const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, const TniGemmIsa *isa) {
    const TnTensor *x = &in[0], *w = &in[1];
    const int32_t rank = (int32_t)p->n_spatial + 2;
    if ((p->n_spatial != 1 && p->n_spatial != 2) || p->channels_last != 0 || p->act != TN_ACT_NONE || p->group == 0 || x->dtype != TN_F32 ||
        w->dtype != TN_F32 || out->dtype != TN_F32 || x->rank != rank || w->rank != rank || out->rank != rank)
        return false;
    const uint32_t a = p->n_spatial - 1; /* the width's axis */
    *s = (Spread){.isa = isa, .b = x->dims[0], .group = p->group, .h = 1, .oh = 1, .kh = 1, .sh = 1, .dh = 1};
    s->w = x->dims[2 + a];
    s->ow = out->dims[2 + a];
    s->kw = w->dims[2 + a];
    s->sw = p->stride[a];
    s->dw = p->dilation[a];
    if (a == 1) {
        s->h = x->dims[2];
        s->oh = out->dims[2];
        s->kh = w->dims[2];
        s->sh = p->stride[0];
        s->dh = p->dilation[0];
    }
    if (s->sh < 1 || s->sw < 1 || s->dh < 1 || s->dw < 1 || x->dims[1] % s->group != 0 || out->dims[1] % s->group != 0)
        return false;
    if (a == 1)
        s->pt = begin_pad(p, 0, s->h, s->oh, (s->kh - 1) * s->dh + 1);
    s->pl = begin_pad(p, a, s->w, s->ow, (s->kw - 1) * s->dw + 1);
    s->cg = x->dims[1] / s->group;
    s->mg = out->dims[1] / s->group;
    s->taps = s->kh * s->kw;
    s->pixels = s->h * s->w;
    s->x = x->data;
    s->wt = w->data;
    s->y = out->data;
    if (n_in > 2 && in[2].dtype != TN_UNDEFINED) {
        if (in[2].dtype != TN_F32 || tn_tensor_numel(&in[2]) != out->dims[1])
            return false;
        s->bias = in[2].data;
    }
    s->blocks = TN_MAX(TN_MIN(tni_ceil_div(s->mg * s->taps, 4 * isa->mr), s->mg), 1);
    if (s->blocks > 1 && s->blocks % 2 != 0 && s->blocks < s->mg) /* an odd number leaves one of two threads idle at the end */
        s->blocks++;
    s->most = tni_ceil_div(s->mg, s->blocks);
    s->cut = TN_MAX(BLOCK_FLOATS / TN_MAX(s->most * s->taps, 1) / isa->nr * isa->nr, isa->nr);
    return w->dims[0] == x->dims[1] && w->dims[1] == s->mg && out->dims[0] == s->b;
}

static size_t rows_floats(const Spread *s) { /* the weights as rows, of all groups */
    return tni_align_up((size_t)(s->group * s->mg * s->taps * s->cg), 16);
}
static size_t image_floats(const Spread *s) { /* the panels of one group of one image */
    return tni_gemm_packed_floats(s->isa, s->cg, s->pixels);
}
static size_t work_floats(const Spread *s) { /* of a worker */
    return (size_t)TN_MAX(BLOCK_FLOATS, s->most * s->taps * s->isa->nr);
}

/* [C, M/group, taps] -> a row of cg for each (channel, tap) of each group. */
static void make_rows(const Spread *s, float *dst) {
    const int64_t n = s->mg * s->taps;
    for (int64_t g = 0; g < s->group; g++)
        for (int64_t r = 0; r < n; r++)
            for (int64_t c = 0; c < s->cg; c++)
                dst[(g * n + r) * s->cg + c] = s->wt[(g * s->cg + c) * n + r];
}

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Spread *s = ctx;
    TniPackB from = {.b = s->x + task * s->cg * s->pixels, .sk = s->pixels, .sn = 1, .k = s->cg, .n = s->pixels};
    s->isa->pack_b(&from, 0, tni_ceil_div(s->pixels, s->isa->nr), s->panels + (size_t)task * image_floats(s));
}

/* Adds the products of one tap and pixels [p0, p1) to an output plane. */
static void spread(const Spread *s, const float *from, int64_t p0, int64_t p1, int64_t ky, int64_t kx, float *plane) {
    const int64_t shift = kx * s->dw - s->pl, sw = s->sw;
    const int64_t lo = shift < 0 ? tni_ceil_div(-shift, sw) : 0, hi = s->ow > shift ? TN_MIN((s->ow - 1 - shift) / sw + 1, s->w) : 0;
    for (int64_t p = p0; p < p1;) {
        const int64_t iy = p / s->w, ix = p % s->w, end = TN_MIN(s->w, ix + p1 - p), oy = iy * s->sh - s->pt + ky * s->dh;
        if (oy >= 0 && oy < s->oh) {
            const int64_t first = TN_MAX(ix, lo), last = TN_MIN(end, hi);
            const float *a = from + (p - p0) + (first - ix);
            float *d = plane + oy * s->ow + first * sw + shift;
            for (int64_t i = first; i < last; i++, a++, d += sw)
                *d += *a;
        }
        p += end - ix;
    }
}

static void channels_task(void *ctx, int64_t task, uint32_t worker) {
    const Spread *s = ctx;
    const int64_t image = task / s->blocks, g = image % s->group, k = task % s->blocks, plane = s->oh * s->ow;
    const int64_t m0 = s->mg * k / s->blocks, m1 = s->mg * (k + 1) / s->blocks;
    float *y = s->y + (image * s->mg + m0) * plane, *work = s->work + (size_t)worker * work_floats(s);
    for (int64_t m = 0; m < m1 - m0; m++)
        for (int64_t i = 0; i < plane; i++)
            y[m * plane + i] = s->bias != NULL ? s->bias[g * s->mg + m0 + m] : 0.0f;
    for (int64_t p0 = 0; p0 < s->pixels; p0 += s->cut) {
        const int64_t p1 = TN_MIN(p0 + s->cut, s->pixels), n = p1 - p0;
        TniGemmBlock blk = {.a = s->rows + (g * s->mg + m0) * s->taps * s->cg,
                            .lda = s->cg,
                            .b = s->panels + (size_t)image * image_floats(s) + p0 * s->cg,
                            .ldp = s->cg * s->isa->nr,
                            .c = work,
                            .ldc = n,
                            .m = (m1 - m0) * s->taps,
                            .n = n,
                            .k = s->cg};
        s->isa->block(&blk);
        for (int64_t r = 0; r < blk.m; r++)
            spread(s, work + r * n, p0, p1, r % s->taps / s->kw, r % s->kw, y + r / s->taps * plane);
    }
}

static size_t scratch_floats(const Spread *s, bool packed, size_t threads) {
    return (packed ? 0 : rows_floats(s)) + tni_align_up((size_t)(s->b * s->group) * image_floats(s), 16) + threads * work_floats(s);
}

static TnStatus transpose_run(TnKernelCall *call, const TniGemmIsa *isa) {
    Spread s;
    if (!describe(&s, call->params, call->in, call->n_in, &call->out[0], isa))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv_transpose: the operands are not those that the kernel was chosen for");
    if (s.b * s.group * s.mg * s.oh * s.ow == 0)
        return TN_OK;
    s.rows = call->packed != NULL ? call->packed[1] : NULL;
    size_t need = scratch_floats(&s, s.rows != NULL, tni_threads_count(call->threads)) * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv_transpose: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    s.panels = call->scratch;
    s.work = s.panels + tni_align_up((size_t)(s.b * s.group) * image_floats(&s), 16);
    if (s.rows == NULL) {
        s.made = s.work + tni_threads_count(call->threads) * work_floats(&s);
        make_rows(&s, s.made);
        s.rows = s.made;
    }
    tni_parallel_for(call->threads, s.b * s.group, pack_task, &s);
    tni_parallel_for(call->threads, s.b * s.group * s.blocks, channels_task, &s);
    return TN_OK;
}

bool tni_conv_transpose_supports(const TnKernelQuery *q) {
    Spread s;
    return describe(&s, q->params, q->in, q->n_in, &q->out[0], &tni_gemm_isa_scalar);
}

static size_t transpose_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Spread s;
    if (!describe(&s, q->params, q->in, q->n_in, &q->out[0], isa))
        return 0;
    return scratch_floats(&s, q->in[1].data != NULL, TN_MAX(q->threads, 1u)) * sizeof(float);
}

static double transpose_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Spread s;
    if (!describe(&s, q->params, q->in, q->n_in, &q->out[0], isa))
        return 1e30;
    const double pixels = (double)s.pixels, rows = (double)(s.mg * s.taps), k = (double)s.cg;
    return (double)(s.b * s.group) * (tni_gemm_cost(isa, rows, pixels, k) + pixels * (rows + k) * 0.5);
}

size_t tni_conv_transpose_packed_bytes(const TnKernelQuery *q, uint32_t i) {
    Spread s;
    if (i != 1 || q->in[1].data == NULL || !describe(&s, q->params, q->in, q->n_in, &q->out[0], &tni_gemm_isa_scalar))
        return 0;
    return rows_floats(&s) * sizeof(float);
}

void tni_conv_transpose_pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    (void)i;
    Spread s;
    if (describe(&s, q->params, q->in, q->n_in, &q->out[0], &tni_gemm_isa_scalar))
        make_rows(&s, dst);
}

/* The functions that kernels.inc names: one set an ISA. */
#define CONV_TRANSPOSE_ENTRIES(isa)                                                                                                        \
    TnStatus tni_conv_transpose_run_##isa(TnKernelCall *call) {                                                                            \
        return transpose_run(call, &tni_gemm_isa_##isa);                                                                                   \
    }                                                                                                                                      \
    size_t tni_conv_transpose_scratch_##isa(const TnKernelQuery *q) {                                                                      \
        return transpose_scratch(q, &tni_gemm_isa_##isa);                                                                                  \
    }                                                                                                                                      \
    double tni_conv_transpose_cost_##isa(const TnKernelQuery *q) {                                                                         \
        return transpose_cost(q, &tni_gemm_isa_##isa);                                                                                     \
    }

CONV_TRANSPOSE_ENTRIES(scalar)
#if defined(__x86_64__)
CONV_TRANSPOSE_ENTRIES(avx2)
CONV_TRANSPOSE_ENTRIES(avx512)
#endif
