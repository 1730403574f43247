/* SPDX-License-Identifier: Apache-2.0
 *
 * The resize kernels of one ISA. */
#include "backend/cpu/resize/resize.h"
#include "backend/cpu/simd/simd.h"

typedef struct ResizeCtx {
    TnResizePlan p;
    const char *x;
    char *y;
    uint32_t bytes;
} ResizeCtx;

/* Items: rows of outputs (outer, H). */
static void nearest_rows(void *ctx, int64_t begin, int64_t end) {
    const ResizeCtx *c = ctx;
    const TnResizeAxis *h = &c->p.axis[0], *w = &c->p.axis[1];
    const size_t run = (size_t)c->p.inner * c->bytes;
    for (int64_t r = begin; r < end; r++) {
        const char *x = c->x + (size_t)((r / h->out * h->in + h->index[r % h->out]) * w->in) * run;
        char *y = c->y + (size_t)(r * w->out) * run;
        if (run == 4) {
            for (int64_t o = 0; o < w->out; o++)
                memcpy(y + o * 4, x + w->index[o] * 4, 4);
        } else {
            for (int64_t o = 0; o < w->out; o++)
                memcpy(y + (size_t)o * run, x + (size_t)w->index[o] * run, run);
        }
    }
}

/* y = sum of weight[k] * x[index[k] * step ...] over n contiguous floats; at least one tap. */
static void weigh(float *y, const float *x, const int64_t *index, const float *weight, int64_t taps, int64_t step, int64_t n) {
    for (int64_t i = 0; i < n; i += VL) {
        const int64_t v = TN_MIN(VL, n - i);
        vf sum = vf_mul(vf_set1(weight[0]), vf_loadn(x + index[0] * step + i, v));
        for (int64_t k = 1; k < taps; k++)
            sum = vf_fma(vf_set1(weight[k]), vf_loadn(x + index[k] * step + i, v), sum);
        vf_storen(y + i, v, sum);
    }
}

static void weighted_row(void *ctx, int64_t r, uint32_t worker) {
    const ResizeCtx *c = ctx;
    const TnResizeAxis *h = &c->p.axis[0], *w = &c->p.axis[1];
    const int64_t inner = c->p.inner, line = w->in * inner, o = r % h->out;
    const float *x = (const float *)(const void *)c->x + r / h->out * h->in * line;
    float *y = (float *)(void *)c->y + r * w->out * inner, *row = c->p.row + (int64_t)worker * (line + 16);
    weigh(row, x, h->index + o * h->taps, h->weight + o * h->taps, h->taps, line, line);
    for (int64_t j = 0; j < w->out; j++) {
        const int64_t *index = w->index + j * w->taps;
        const float *weight = w->weight + j * w->taps;
        if (inner > 1) {
            weigh(y + j * inner, row, index, weight, w->taps, inner, inner);
            continue;
        }
        float sum = 0.0f;
        for (int64_t k = 0; k < w->taps; k++)
            sum += weight[k] * row[index[k]];
        y[j] = sum;
    }
}

TnStatus TN_ISA(tni_cpu_resize)(TnKernelCall *call) {
    ResizeCtx c = {.x = call->in[0].data, .y = call->out[0].data, .bytes = tni_cpu_elem_bytes(call->in[0].dtype)};
    if (tn_tensor_numel(&call->out[0]) == 0)
        return TN_OK;
    TN_TRY(tni_cpu_resize_plan(call, &c.p));
    const int64_t rows = c.p.outer * c.p.axis[0].out, bytes = c.p.axis[1].out * c.p.inner * c.bytes * 2;
    if (((const TnResizeParams *)call->params)->mode == TN_RESIZE_NEAREST)
        tni_cpu_parallel(call->threads, rows, tni_cpu_grain(rows, bytes), nearest_rows, &c);
    else
        tni_parallel_for(rows * bytes > 32768 ? call->threads : NULL, rows, weighted_row, &c);
    return TN_OK;
}
