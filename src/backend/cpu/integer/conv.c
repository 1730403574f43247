/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator conv_integer on the CPU, NCHW, 1 and 2 spatial dims: rows are output channels, columns output pixels. Weights are prepared when
 * the plan is built, or at the start of the call; the pixels of one panel under the kernel are gathered by the task that multiplies them. */
#include "backend/cpu/conv/conv.h"
#include "backend/cpu/integer/integer.h"
#include "base/dtype.h"

#define TASK_PIXELS 256 /* about as many pixels a task where there are many, at least one panel */
#define TASK_ROWS 128   /* at least as many output channels a task: each gathers the pixels for itself */
#define TASKS_WANTED 8

typedef struct Run {
    TniConv v;
    const TniIntegerIsa *isa;
    const uint8_t *x;
    uint8_t *y; /* int32 */
    bool x_signed, w_signed;
    uint8_t x_zero; /* the byte */
    int64_t k, groups, plane, panels, panel_blocks, row_blocks;
    size_t row_bytes, rows_bytes, panel_bytes; /* of a prepared row; of all of them; of a panel of pixels */
    const unsigned char *rows; /* [m] prepared rows, then [m] sums */
    int32_t *za, *row_sums, *zb; /* [m], [m], [nr] */
    unsigned char *work;       /* [workers] panels */
    size_t work_bytes;
} Run;

static bool describe(Run *r, const TniIntegerIsa *isa, const TnConvParams *p, const TnTensor *in, const TnTensor *out) {
    TnTensor sizes[2] = {in[0], in[1]}, y = *out;
    if ((in[0].dtype != TN_U8 && in[0].dtype != TN_I8) || (in[1].dtype != TN_U8 && in[1].dtype != TN_I8) || out->dtype != TN_I32)
        return false;
    *r = (Run){.isa = isa, .x = in[0].data, .y = out->data, .x_signed = in[0].dtype == TN_I8, .w_signed = in[1].dtype == TN_I8};
    sizes[0].dtype = sizes[1].dtype = y.dtype = TN_F32; /* sizes alone are described */
    TniConv *v = &r->v;
    if (!tni_conv_describe(v, p, sizes, 2, &y) || v->channels_last)
        return false;
    r->plane = v->oh * v->ow;
    if (v->kh == 1 && v->kw == 1 && v->sh == 1 && v->sw == 1 && v->pt == 0 && v->pl == 0 && v->oh == v->h && v->ow == v->w) {
        v->w = v->ow = r->plane; /* one long line */
        v->h = v->oh = 1;
    }
    r->k = v->cg * v->kh * v->kw;
    r->groups = tni_integer_up(r->k, isa->group);
    r->panels = tni_integer_up(r->plane, isa->nr);
    r->row_bytes = (size_t)r->groups * (size_t)(isa->group * isa->a_bytes);
    r->rows_bytes = tni_align_up((size_t)v->m * r->row_bytes, 64);
    r->panel_bytes = (size_t)r->groups * (size_t)(isa->nr * isa->group) + (size_t)isa->nr * sizeof(int32_t);
    r->work_bytes = tni_align_up(r->panel_bytes, 64);
    const int64_t images = TN_MAX(v->b * v->group, 1), few = TN_MIN(tni_integer_up(TASKS_WANTED, images), r->panels);
    r->panel_blocks = TN_MAX(tni_integer_up(r->panels, TN_MAX(TASK_PIXELS / isa->nr, 1)), few);
    r->row_blocks = TN_MAX(TN_MIN(tni_integer_up(TASKS_WANTED, TN_MAX(images * r->panel_blocks, 1)), v->mg / TASK_ROWS), 1);
    return true;
}

static size_t prepared_bytes(const Run *r) {
    return r->rows_bytes + tni_align_up((size_t)r->v.m * sizeof(int32_t), 64);
}

static void prepare_row(const Run *r, const void *weights, int64_t m, unsigned char *dst) {
    const int32_t sum = r->isa->prepare((const unsigned char *)weights + m * r->k, r->k, r->groups * r->isa->group, r->w_signed, 0,
                                        dst + (size_t)m * r->row_bytes);
    memcpy(dst + r->rows_bytes + (size_t)m * sizeof sum, &sum, sizeof sum);
}

/* Row k of B, pixels [p0, p0 + n): dst[j] = x under the kernel's place of k, or the zero point where that is padding. */
static void gather(const Run *r, const uint8_t *planes, int64_t k, int64_t p0, int64_t n, uint8_t *dst) {
    const TniConv *v = &r->v;
    const int64_t kx = k % v->kw, ky = k / v->kw % v->kh, dx = kx * v->dw - v->pl;
    const uint8_t *x = planes + k / (v->kw * v->kh) * v->h * v->w;
    int64_t oy = p0 / v->ow, ox = p0 % v->ow;
    while (n > 0) {
        const int64_t len = TN_MIN(n, v->ow - ox), iy = oy * v->sh - v->pt + ky * v->dh;
        if (iy < 0 || iy >= v->h) {
            memset(dst, r->x_zero, (size_t)len);
        } else {
            /* columns [lo, hi) of the line lie inside */
            const int64_t lo = dx >= 0 ? 0 : tni_integer_up(-dx, v->sw), hi = v->w - dx <= 0 ? 0 : tni_integer_up(v->w - dx, v->sw);
            const int64_t a = TN_MIN(TN_MAX(lo, ox), ox + len), b = TN_MAX(TN_MIN(hi, ox + len), a);
            const uint8_t *line = x + iy * v->w;
            memset(dst, r->x_zero, (size_t)(a - ox));
            if (v->sw == 1)
                memcpy(dst + (a - ox), line + a + dx, (size_t)(b - a));
            else
                for (int64_t o = a; o < b; o++)
                    dst[o - ox] = line[o * v->sw + dx];
            memset(dst + (b - ox), r->x_zero, (size_t)(ox + len - b));
        }
        dst += len;
        n -= len;
        ox = 0;
        oy++;
    }
}

static void pack_pixels(const Run *r, const uint8_t *planes, int64_t p0, int64_t n, unsigned char *dst) {
    const int64_t nr = r->isa->nr, group = r->isa->group;
    const uint8_t flip = r->x_signed ? 0 : 0x80;
    int32_t *sums = (int32_t *)(void *)(dst + (size_t)r->groups * (size_t)(nr * group));
    uint8_t rows[TNI_INTEGER_GROUP_BYTES];
    memset(rows, flip, sizeof rows);
    memset(sums, 0, (size_t)nr * sizeof *sums);
    for (int64_t g = 0; g < r->groups; g++) {
        for (int64_t i = 0; i < group; i++) {
            if (g * group + i < r->k)
                gather(r, planes, g * group + i, p0, n, rows + i * nr);
            else
                memset(rows + i * nr, flip, (size_t)n);
        }
        r->isa->interleave(rows, flip, (int8_t *)dst + g * nr * group, sums);
    }
}

static void task(void *ctx, int64_t at, uint32_t worker) {
    const Run *r = ctx;
    const TniConv *v = &r->v;
    const int64_t rb = at % r->row_blocks, pb = at / r->row_blocks % r->panel_blocks, bg = at / r->row_blocks / r->panel_blocks;
    const int64_t g = bg % v->group, b = bg / v->group;
    const int64_t m0 = g * v->mg + v->mg * rb / r->row_blocks, m1 = g * v->mg + v->mg * (rb + 1) / r->row_blocks;
    const uint8_t *planes = r->x + (b * v->c + g * v->cg) * v->h * v->w;
    unsigned char *panel = r->work + (size_t)worker * r->work_bytes;
    for (int64_t p = r->panels * pb / r->panel_blocks; p < r->panels * (pb + 1) / r->panel_blocks; p++) {
        const int64_t p0 = p * r->isa->nr, n = TN_MIN(r->plane - p0, r->isa->nr);
        pack_pixels(r, planes, p0, n, panel);
        r->isa->block(&(TniIntegerBlock){
            .a = r->rows + (size_t)m0 * r->row_bytes,
            .groups = r->groups,
            .rows = m1 - m0,
            .cols = n,
            .b = (const int8_t *)panel,
            .zb = r->zb,
            .row_sums = r->row_sums + m0,
            .za = r->za + m0,
            .za_step = 1,
            .c = (int32_t *)(void *)r->y + (b * v->m + m0) * r->plane + p0,
            .ldc = r->plane,
        });
    }
}

/* Scratch: za', corrected sums of rows, zb', the workers' panels, prepared rows where the weights are no constant. */
static size_t scratch_bytes(const Run *r, bool prepared, size_t threads) {
    return 2 * tni_align_up((size_t)r->v.m * sizeof(int32_t), 64) + tni_align_up((size_t)r->isa->nr * sizeof(int32_t), 64) +
           threads * r->work_bytes + (prepared ? 0 : prepared_bytes(r));
}

static TnStatus run(TnKernelCall *call, const TniIntegerIsa *isa) {
    Run r;
    if (!describe(&r, isa, call->params, call->in, &call->out[0]))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv_integer: the operands are not those that the kernel was chosen for");
    const TniConv *v = &r.v;
    if (v->b * v->m * r.plane == 0)
        return TN_OK;
    r.rows = call->packed != NULL ? call->packed[1] : NULL;
    const size_t need = scratch_bytes(&r, r.rows != NULL, tni_threads_count(call->threads));
    const size_t vector = tni_align_up((size_t)v->m * sizeof(int32_t), 64);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv_integer: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    unsigned char *s = call->scratch;
    r.za = (int32_t *)(void *)s;
    r.row_sums = (int32_t *)(void *)(s + vector);
    r.zb = (int32_t *)(void *)(s + 2 * vector);
    r.work = s + 2 * vector + tni_align_up((size_t)isa->nr * sizeof(int32_t), 64);
    if (r.rows == NULL) {
        unsigned char *rows = r.work + tni_threads_count(call->threads) * r.work_bytes;
        for (int64_t m = 0; m < v->m; m++)
            prepare_row(&r, call->in[1].data, m, rows);
        r.rows = rows;
    }
    const TnTensor *zx = call->n_in > 2 && call->in[2].data != NULL ? &call->in[2] : NULL;
    const TnTensor *zw = call->n_in > 3 && call->in[3].data != NULL ? &call->in[3] : NULL;
    const int32_t x_zero = zx != NULL ? (int32_t)tni_load_i64(zx->dtype, zx->data, 0) : 0;
    r.x_zero = (uint8_t)x_zero;
    for (int64_t j = 0; j < isa->nr; j++)
        r.zb[j] = x_zero - (r.x_signed ? 0 : 128);
    for (int64_t m = 0; m < v->m; m++) {
        int32_t sum;
        memcpy(&sum, r.rows + r.rows_bytes + (size_t)m * sizeof sum, sizeof sum);
        r.za[m] = zw != NULL ? (int32_t)tni_load_i64(zw->dtype, zw->data, tn_tensor_numel(zw) == 1 ? 0 : m) : 0;
        if (isa->a_bytes == 1 && r.w_signed)
            r.za[m] += 128;
        r.row_sums[m] = (int32_t)((uint32_t)sum - (uint32_t)r.k * (uint32_t)r.za[m]);
    }
    tni_parallel_for(call->threads, v->b * v->group * r.panel_blocks * r.row_blocks, task, &r);
    return TN_OK;
}

/* Weights without elements have no data in a plan: nothing is packed of them. */
static bool is_constant(const TnTensor *t) {
    return t->data != NULL && tn_tensor_numel(t) > 0;
}

bool tni_conv_integer_supports(const TnKernelQuery *q) {
    Run r;
    return describe(&r, &tni_integer_isa_scalar, q->params, q->in, &q->out[0]);
}

static size_t scratch(const TnKernelQuery *q, const TniIntegerIsa *isa) {
    Run r;
    return describe(&r, isa, q->params, q->in, &q->out[0]) ? scratch_bytes(&r, is_constant(&q->in[1]), TN_MAX(q->threads, 1u)) : 0;
}

static double cost(const TnKernelQuery *q, const TniIntegerIsa *isa) {
    Run r;
    if (!describe(&r, isa, q->params, q->in, &q->out[0]))
        return 1e30;
    const double bytes = (double)(r.v.b * r.v.group * r.panels * isa->nr) * (double)r.k;
    return 500.0 + bytes * (double)r.v.mg / isa->macs_per_ns + bytes * 0.4 + (double)tn_tensor_numel(&q->out[0]) * 0.2;
}

static size_t packed_bytes(const TnKernelQuery *q, uint32_t i, const TniIntegerIsa *isa) {
    Run r;
    return i == 1 && is_constant(&q->in[1]) && describe(&r, isa, q->params, q->in, &q->out[0]) ? prepared_bytes(&r) : 0;
}

static void pack(const TnKernelQuery *q, unsigned char *dst, const TniIntegerIsa *isa) {
    Run r;
    if (!describe(&r, isa, q->params, q->in, &q->out[0]))
        return;
    memset(dst, 0, prepared_bytes(&r));
    for (int64_t m = 0; m < r.v.m; m++)
        prepare_row(&r, q->in[1].data, m, dst);
}

#define CONV_INTEGER_ENTRIES(isa)                                                                                                          \
    TnStatus tni_conv_integer_run_##isa(TnKernelCall *call) {                                                                              \
        return run(call, &tni_integer_isa_##isa);                                                                                          \
    }                                                                                                                                      \
    size_t tni_conv_integer_scratch_##isa(const TnKernelQuery *q) {                                                                        \
        return scratch(q, &tni_integer_isa_##isa);                                                                                         \
    }                                                                                                                                      \
    double tni_conv_integer_cost_##isa(const TnKernelQuery *q) {                                                                           \
        return cost(q, &tni_integer_isa_##isa);                                                                                            \
    }                                                                                                                                      \
    size_t tni_conv_integer_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                       \
        return packed_bytes(q, i, &tni_integer_isa_##isa);                                                                                 \
    }                                                                                                                                      \
    void tni_conv_integer_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                      \
        (void)i;                                                                                                                           \
        pack(q, dst, &tni_integer_isa_##isa);                                                                                              \
    }

CONV_INTEGER_ENTRIES(scalar)
#if defined(__x86_64__)
CONV_INTEGER_ENTRIES(avx2)
CONV_INTEGER_ENTRIES(avx512)
CONV_INTEGER_ENTRIES(vnni)
#endif
