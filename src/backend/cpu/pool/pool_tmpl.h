/* SPDX-License-Identifier: Apache-2.0
 *
 * The pooling kernels of one ISA. In a maximum NaN wins, as in the reference. */
#include "backend/cpu/pool/pool.h"
#include "backend/cpu/simd/simd.h"

#include "backend/cpu/reduce/columns.h"

typedef struct PoolCtx {
    TnPoolPlan p;
    const float *x;
    float *y;
    int64_t blocks; /* global, channels last: blocks of channels */
} PoolCtx;

/* acc[i] = acc[i] combined with x[i * step] for i < n. */
static void combine(float *acc, const float *x, int64_t step, int64_t n, bool average) {
    int64_t i = 0;
    if (step == 1) {
        for (; i < n; i += VL) {
            int64_t w = TN_MIN(VL, n - i);
            vf v = vf_loadn(x + i, w), a = vf_loadn(acc + i, w);
            vf_storen(acc + i, w, average ? vf_add(a, v) : vf_sel(vm_or(vf_lt(a, v), vf_unord(v, v)), v, a));
        }
    } else if (average) {
        for (; i < n; i++)
            acc[i] += x[i * step];
    } else {
        for (; i < n; i++) {
            float v = x[i * step];
            acc[i] = v > acc[i] || v != v ? v : acc[i];
        }
    }
}

/* Channels first: items are rows of outputs (batch, channel, z, y). */
static void rows_first(void *ctx, int64_t begin, int64_t end) {
    const PoolCtx *c = ctx;
    const TnPoolPlan *p = &c->p;
    const int64_t plane = p->in[0] * p->in[1] * p->in[2], width = p->out[2];
    for (int64_t r = begin; r < end; r++) {
        const int64_t oy = r % p->out[1], oz = r / p->out[1] % p->out[0];
        const float *x = c->x + r / p->out[1] / p->out[0] * plane;
        float *y = c->y + r * width;
        int64_t z0, z1, zc, y0, y1, yc;
        tni_cpu_pool_taps(p, 0, oz, &z0, &z1, &zc);
        tni_cpu_pool_taps(p, 1, oy, &y0, &y1, &yc);
        for (int64_t o = 0; o < width; o++)
            y[o] = p->average ? 0.0f : -INFINITY;
        for (int64_t tz = z0; tz < z1; tz++)
            for (int64_t ty = y0; ty < y1; ty++) {
                const int64_t iz = oz * p->stride[0] - p->pad[0] + tz * p->dilation[0];
                const int64_t iy = oy * p->stride[1] - p->pad[1] + ty * p->dilation[1];
                const float *row = x + (iz * p->in[1] + iy) * p->in[2];
                for (int64_t tx = 0; tx < p->kernel[2]; tx++) {
                    const int64_t off = tx * p->dilation[2] - p->pad[2], s = p->stride[2];
                    const int64_t o0 = off < 0 ? (-off + s - 1) / s : 0, reach = p->in[2] - off;
                    const int64_t o1 = TN_MIN(reach > 0 ? (reach + s - 1) / s : 0, width);
                    if (o1 > o0)
                        combine(y + o0, row + o0 * s + off, s, o1 - o0, p->average);
                }
            }
        for (int64_t o = 0; o < width && p->average; o++) {
            int64_t x0, x1, xc;
            tni_cpu_pool_taps(p, 2, o, &x0, &x1, &xc);
            int64_t hits = p->include_pad ? zc * yc * xc : (z1 - z0) * (y1 - y0) * (x1 - x0);
            y[o] /= (float)hits;
        }
    }
}

/* Channels last: items are outputs (batch, z, y, x), all channels of each. */
static void places_last(void *ctx, int64_t begin, int64_t end) {
    const PoolCtx *c = ctx;
    const TnPoolPlan *p = &c->p;
    const int64_t C = p->channels, image = p->in[0] * p->in[1] * p->in[2] * C;
    for (int64_t r = begin; r < end; r++) {
        const int64_t o[3] = {r / p->out[2] / p->out[1] % p->out[0], r / p->out[2] % p->out[1], r % p->out[2]};
        const float *x = c->x + r / p->out[2] / p->out[1] / p->out[0] * image;
        float *y = c->y + r * C;
        int64_t t0[3], t1[3], tc[3], at[3];
        for (int d = 0; d < 3; d++) {
            tni_cpu_pool_taps(p, d, o[d], &t0[d], &t1[d], &tc[d]);
            at[d] = o[d] * p->stride[d] - p->pad[d];
        }
        for (int64_t k = 0; k < C; k++)
            y[k] = p->average ? 0.0f : -INFINITY;
        for (int64_t a = t0[0]; a < t1[0]; a++)
            for (int64_t b = t0[1]; b < t1[1]; b++)
                for (int64_t d = t0[2]; d < t1[2]; d++) {
                    const int64_t iz = at[0] + a * p->dilation[0], iy = at[1] + b * p->dilation[1], ix = at[2] + d * p->dilation[2];
                    combine(y, x + ((iz * p->in[1] + iy) * p->in[2] + ix) * C, 1, C, p->average);
                }
        if (p->average) {
            int64_t hits = p->include_pad ? tc[0] * tc[1] * tc[2] : (t1[0] - t0[0]) * (t1[1] - t0[1]) * (t1[2] - t0[2]);
            for (int64_t k = 0; k < C; k++)
                y[k] /= (float)hits;
        }
    }
}

/* Global averages and maxima: items are planes, or blocks of channels. */
static void global_first(void *ctx, int64_t begin, int64_t end) {
    const PoolCtx *c = ctx;
    const int64_t n = c->p.in[0] * c->p.in[1] * c->p.in[2];
    for (int64_t i = begin; i < end; i++) {
        Extreme e = {-INFINITY, false};
        if (c->p.average) {
            c->y[i] = (float)(run_plain(c->x + i * n, n, 0.0f) / (double)n);
            continue;
        }
        run_extreme(&e, c->x + i * n, n, true);
        c->y[i] = e.nan ? NAN : e.v;
    }
}

static void means_last(void *ctx, int64_t begin, int64_t end) {
    const PoolCtx *c = ctx;
    const int64_t n = c->p.in[0] * c->p.in[1] * c->p.in[2], C = c->p.channels;
    for (int64_t i = begin; i < end; i++) {
        const int64_t first = i % c->blocks * COLUMNS, b = i / c->blocks, cols = TN_MIN(COLUMNS, C - first);
        Columns s;
        columns_start(&s, TN_REDUCE_mean, cols);
        for (int64_t k = 0; k < n; k++)
            columns_add(&s, TN_REDUCE_mean, c->x + (b * n + k) * C + first);
        columns_flush(&s);
        for (int64_t j = 0; j < cols; j++)
            c->y[b * C + first + j] = (float)(s.sum[j] / (double)n);
    }
}

TnStatus TN_ISA(tni_cpu_pool)(TnKernelCall *call) {
    PoolCtx c = {.x = call->in[0].data, .y = call->out[0].data};
    tni_cpu_pool_plan(&call->in[0], &call->out[0], call->params, &c.p);
    const TnPoolPlan *p = &c.p;
    const int64_t outputs = tn_tensor_numel(&call->out[0]), window = p->kernel[0] * p->kernel[1] * p->kernel[2] * 4;
    if (outputs == 0)
        return TN_OK;
    if (p->global && !p->last) {
        tni_cpu_parallel(call->threads, outputs, tni_cpu_grain(outputs, window), global_first, &c);
    } else if (p->global && p->average) {
        c.blocks = (p->channels + COLUMNS - 1) / COLUMNS;
        int64_t items = p->batch * c.blocks;
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, window * TN_MIN(COLUMNS, p->channels)), means_last, &c);
    } else {
        int64_t each = p->last ? p->channels : p->out[2], items = outputs / each;
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, each * window), p->last ? places_last : rows_first, &c);
    }
    return TN_OK;
}
