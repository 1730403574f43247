/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax of one ISA. NaN and infinities: a NaN element, a +inf, or a row of -inf makes its whole row NaN, as the mathematics has it. */
#include "backend/cpu/simd/simd.h"
#include "backend/cpu/softmax/softmax.h"

typedef struct SoftmaxCtx {
    const float *x;
    float *y;
    int64_t n, inner, blocks; /* blocks: of inner columns */
    float scale;
    bool log;
} SoftmaxCtx;

static float row_max(const float *x, int64_t n) {
    vf a = vf_set1(-INFINITY), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) { /* the accumulator is second: NaN leaves it as it is */
        a = vf_max(vf_load(x + i), a);
        b = vf_max(vf_load(x + i + VL), b);
        c = vf_max(vf_load(x + i + 2 * VL), c);
        d = vf_max(vf_load(x + i + 3 * VL), d);
    }
    for (; i + VL <= n; i += VL)
        a = vf_max(vf_load(x + i), a);
    float m = vf_hmax(vf_max(vf_max(a, b), vf_max(c, d)));
    for (; i < n; i++)
        m = x[i] > m ? x[i] : m;
    return m;
}

/* y = exp(scale * (x - max)); returns the sum. */
static float row_exp(float *y, const float *x, int64_t n, float max, float scale) {
    const vf m = vf_set1(max), s = vf_set1(scale);
    vf a = vf_zero(), b = vf_zero();
    int64_t i = 0;
    for (; i + 2 * VL <= n; i += 2 * VL) {
        vf e = vf_exp_le0(vf_mul(vf_sub(vf_load(x + i), m), s)), f = vf_exp_le0(vf_mul(vf_sub(vf_load(x + i + VL), m), s));
        vf_store(y + i, e);
        vf_store(y + i + VL, f);
        a = vf_add(a, e);
        b = vf_add(b, f);
    }
    for (; i + VL <= n; i += VL) {
        vf e = vf_exp_le0(vf_mul(vf_sub(vf_load(x + i), m), s));
        vf_store(y + i, e);
        a = vf_add(a, e);
    }
    if (i < n) {
        float t[VL] = {0};
        vf_storen(y + i, n - i, vf_exp_le0(vf_mul(vf_sub(vf_loadn(x + i, n - i), m), s)));
        memcpy(t, y + i, (size_t)(n - i) * sizeof *t);
        b = vf_add(b, vf_load(t));
    }
    return vf_hsum(vf_add(a, b));
}

static float row_exp_sum(const float *x, int64_t n, float max, float scale) {
    double sum = 0.0;
    float t[512];
    for (int64_t i = 0; i < n; i += 512)
        sum += (double)row_exp(t, x + i, TN_MIN(512, n - i), max, scale);
    return (float)sum;
}

static void row_scale(float *y, int64_t n, float factor) {
    const vf f = vf_set1(factor);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_mul(vf_load(y + i), f));
    if (i < n)
        vf_storen(y + i, n - i, vf_mul(vf_loadn(y + i, n - i), f));
}

/* y = scale * (x - max) - log_sum */
static void row_log(float *y, const float *x, int64_t n, float max, float scale, float log_sum) {
    const vf m = vf_set1(max), s = vf_set1(scale), l = vf_set1(log_sum);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_sub(vf_mul(vf_sub(vf_load(x + i), m), s), l));
    if (i < n)
        vf_storen(y + i, n - i, vf_sub(vf_mul(vf_sub(vf_loadn(x + i, n - i), m), s), l));
}

static void softmax_rows(void *ctx, int64_t begin, int64_t end) {
    const SoftmaxCtx *c = ctx;
    for (int64_t r = begin; r < end; r++) {
        const float *x = c->x + r * c->n;
        float *y = c->y + r * c->n, max = row_max(x, c->n);
        if (c->log) {
            row_log(y, x, c->n, max, c->scale, logf(row_exp_sum(x, c->n, max, c->scale)));
        } else {
            float sum = row_exp(y, x, c->n, max, c->scale);
            row_scale(y, c->n, 1.0f / sum);
        }
    }
}

#define COLUMNS (256 / VL) /* vectors of columns a block: long pieces of each row, as rows lie in different pages */
#define COLUMN_ROWS 128    /* rows summed before the sum is added to the total: the additions form one long chain */

typedef struct ColumnSums {
    vf max[COLUMNS], sum[COLUMNS], part[COLUMNS];
} ColumnSums;

/* exp(scale * (x - max)) of a row, or what goes into it for log; sums updated. */
TN_INLINE void column_row(const SoftmaxCtx *c, ColumnSums *t, const float *x, float *y, int64_t cols) {
    const vf s = vf_set1(c->scale);
    for (int64_t j = 0, v = 0; j < cols; j += VL, v++) {
        const int64_t w = TN_MIN(VL, cols - j);
        vf d = vf_mul(vf_sub(w == VL ? vf_load(x + j) : vf_loadn(x + j, w), t->max[v]), s), e = vf_exp_le0(d);
        t->part[v] = vf_add(t->part[v], e);
        if (w == VL)
            vf_store(y + j, c->log ? d : e);
        else
            vf_storen(y + j, w, c->log ? d : e);
    }
}

/* cols columns, `inner` apart from row to row. */
static void softmax_block(const SoftmaxCtx *c, const float *x, float *y, int64_t cols) {
    const int64_t step = c->inner, vectors = (cols + VL - 1) / VL;
    ColumnSums t;
    for (int64_t v = 0; v < vectors; v++) {
        t.max[v] = vf_set1(-INFINITY);
        t.sum[v] = t.part[v] = vf_zero();
    }
    for (int64_t k = 0; k < c->n; k++)
        for (int64_t j = 0, v = 0; j < cols; j += VL, v++)
            t.max[v] = vf_max(vf_loadn(x + k * step + j, TN_MIN(VL, cols - j)), t.max[v]);
    for (int64_t k = 0; k < c->n; k++) {
        column_row(c, &t, x + k * step, y + k * step, cols);
        for (int64_t v = 0; v < vectors && ((k + 1) % COLUMN_ROWS == 0 || k + 1 == c->n); v++) {
            t.sum[v] = vf_add(t.sum[v], t.part[v]);
            t.part[v] = vf_zero();
        }
    }
    for (int64_t v = 0; v < vectors; v++)
        t.sum[v] = c->log ? vf_log(t.sum[v]) : vf_div(vf_set1(1.0f), t.sum[v]);
    for (int64_t k = 0; k < c->n; k++)
        for (int64_t j = 0, v = 0; j < cols; j += VL, v++) {
            const int64_t w = TN_MIN(VL, cols - j);
            vf u = vf_loadn(y + k * step + j, w);
            vf_storen(y + k * step + j, w, c->log ? vf_sub(u, t.sum[v]) : vf_mul(u, t.sum[v]));
        }
}

static void softmax_columns(void *ctx, int64_t begin, int64_t end) {
    const SoftmaxCtx *c = ctx;
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % c->blocks * COLUMNS * VL, at = i / c->blocks * c->n * c->inner + first;
        softmax_block(c, c->x + at, c->y + at, TN_MIN(COLUMNS * VL, c->inner - first));
    }
}

TnStatus TN_ISA(tni_cpu_softmax)(TnKernelCall *call) {
    const TnSoftmaxParams *p = call->params;
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_cpu_axis(p->axis, x->rank);
    int64_t outer = tni_cpu_span(x, 0, axis);
    SoftmaxCtx c = {.x = x->data,
                    .y = call->out[0].data,
                    .n = x->dims[axis],
                    .inner = tni_cpu_span(x, axis + 1, x->rank),
                    .scale = p->scale,
                    .log = p->log != 0};
    if (outer * c.n * c.inner == 0)
        return TN_OK;
    c.blocks = (c.inner + COLUMNS * VL - 1) / (COLUMNS * VL);
    if (c.inner == 1)
        tni_cpu_parallel(call->threads, outer, tni_cpu_grain(outer, c.n * 8), softmax_rows, &c);
    else
        tni_cpu_parallel(call->threads, outer * c.blocks, tni_cpu_grain(outer * c.blocks, c.n * 8 * TN_MIN(COLUMNS * VL, c.inner)),
                         softmax_columns, &c);
    return TN_OK;
}
