/* SPDX-License-Identifier: Apache-2.0
 *
 * The normalisation kernels of one ISA. */
#include "backend/cpu/norm/norm.h"
#include "backend/cpu/simd/simd.h"

#define BLOCK 4096 /* elements summed in f32 lanes before the sum goes to double */

typedef struct Stats {
    float shift; /* mean rounded to f32 */
    float rest;  /* mean - shift */
    float inv;   /* 1 / sqrt(var + epsilon) */
} Stats;

static double block_sum(const float *x, int64_t n) {
    vf a = vf_zero(), b = vf_zero(), c = vf_zero(), d = vf_zero();
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        a = vf_add(a, vf_load(x + i));
        b = vf_add(b, vf_load(x + i + VL));
        c = vf_add(c, vf_load(x + i + 2 * VL));
        d = vf_add(d, vf_load(x + i + 3 * VL));
    }
    for (; i + VL <= n; i += VL)
        a = vf_add(a, vf_load(x + i));
    if (i < n)
        b = vf_add(b, vf_loadn(x + i, n - i));
    return (double)vf_hsum(vf_add(vf_add(a, b), vf_add(c, d)));
}

static double row_sum(const float *x, int64_t n) {
    double s = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        s += block_sum(x + i, TN_MIN(BLOCK, n - i));
    return s;
}

/* Sums of d = x - shift and d^2. */
static void block_moments(const float *x, int64_t n, float shift, double *sum, double *squares) {
    const vf m = vf_set1(shift);
    vf s0 = vf_zero(), s1 = vf_zero(), q0 = vf_zero(), q1 = vf_zero(), q2 = vf_zero(), q3 = vf_zero();
    int64_t i = 0;
    for (; i + 4 * VL <= n; i += 4 * VL) {
        vf a = vf_sub(vf_load(x + i), m), b = vf_sub(vf_load(x + i + VL), m);
        vf c = vf_sub(vf_load(x + i + 2 * VL), m), d = vf_sub(vf_load(x + i + 3 * VL), m);
        s0 = vf_add(s0, vf_add(a, b));
        s1 = vf_add(s1, vf_add(c, d));
        q0 = vf_fma(a, a, q0);
        q1 = vf_fma(b, b, q1);
        q2 = vf_fma(c, c, q2);
        q3 = vf_fma(d, d, q3);
    }
    for (; i + VL <= n; i += VL) {
        vf a = vf_sub(vf_load(x + i), m);
        s0 = vf_add(s0, a);
        q0 = vf_fma(a, a, q0);
    }
    *sum += (double)vf_hsum(vf_add(s0, s1));
    *squares += (double)vf_hsum(vf_add(vf_add(q0, q1), vf_add(q2, q3)));
    for (; i < n; i++) { /* lanes that are not there must not count as -shift */
        double d = (double)(x[i] - shift);
        *sum += d;
        *squares += d * d;
    }
}

static Stats finish(double mean, float shift, double var, double epsilon) {
    return (Stats){shift, (float)(mean - (double)shift), (float)(1.0 / sqrt(var + epsilon))};
}

static Stats stats_f64(const float *x, int64_t n, double epsilon, bool centred) {
    double mean = 0.0, var = 0.0;
    for (int64_t i = 0; i < n && centred; i++)
        mean += (double)x[i];
    mean /= (double)n;
    for (int64_t i = 0; i < n; i++)
        var += ((double)x[i] - mean) * ((double)x[i] - mean);
    return finish(mean, (float)mean, var / (double)n, epsilon);
}

static Stats row_stats(const float *x, int64_t n, double epsilon) {
    float shift = (float)(row_sum(x, n) / (double)n);
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        block_moments(x + i, TN_MIN(BLOCK, n - i), shift, &sum, &squares);
    double rest = sum / (double)n, var = squares / (double)n - rest * rest;
    if (!isfinite(var))
        return stats_f64(x, n, epsilon, true);
    return (Stats){shift, (float)rest, (float)(1.0 / sqrt(TN_MAX(var, 0.0) + epsilon))};
}

static Stats rms_stats(const float *x, int64_t n, double epsilon) {
    double sum = 0.0, squares = 0.0;
    for (int64_t i = 0; i < n; i += BLOCK)
        block_moments(x + i, TN_MIN(BLOCK, n - i), 0.0f, &sum, &squares);
    if (!isfinite(squares))
        return stats_f64(x, n, epsilon, false);
    return finish(0.0, 0.0f, squares / (double)n, epsilon);
}

/* y = ((x - shift) * inv - rest * inv) * scale + bias with scale and bias vectors (NULL: 1 and 0); y may be x, scale or bias. */
static void apply_vector(float *y, const float *x, const float *scale, const float *bias, int64_t n, Stats s) {
    const vf m = vf_set1(s.shift), inv = vf_set1(s.inv), off = vf_set1(-s.rest * s.inv);
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = vf_fma(vf_sub(vf_load(x + i), m), inv, off);
        if (scale != NULL)
            v = vf_mul(v, vf_load(scale + i));
        if (bias != NULL)
            v = vf_add(v, vf_load(bias + i));
        vf_store(y + i, v);
    }
    if (i < n) {
        vf v = vf_fma(vf_sub(vf_loadn(x + i, n - i), m), inv, off);
        if (scale != NULL)
            v = vf_mul(v, vf_loadn(scale + i, n - i));
        if (bias != NULL)
            v = vf_add(v, vf_loadn(bias + i, n - i));
        vf_storen(y + i, n - i, v);
    }
}

/* The same with one scale and bias. */
static void apply_scalar(float *y, const float *x, float scale, float bias, int64_t n, Stats s) {
    const vf m = vf_set1(s.shift), inv = vf_set1(s.inv), off = vf_set1(-s.rest * s.inv), g = vf_set1(scale), b = vf_set1(bias);
    int64_t i = 0;
    for (; i + VL <= n; i += VL)
        vf_store(y + i, vf_fma(vf_fma(vf_sub(vf_load(x + i), m), inv, off), g, b));
    if (i < n)
        vf_storen(y + i, n - i, vf_fma(vf_fma(vf_sub(vf_loadn(x + i, n - i), m), inv, off), g, b));
}

/* ---- layer_norm, rms_norm, add_layer_norm ---- */
typedef struct RowCtx {
    const float *x, *residual, *scale, *bias, *x_bias;
    float *y, *sum;
    int64_t n;
    double epsilon;
    bool rms;
} RowCtx;

static void norm_rows(void *ctx, int64_t begin, int64_t end) {
    const RowCtx *c = ctx;
    for (int64_t r = begin; r < end; r++) {
        const float *x = c->x + r * c->n;
        Stats s = c->rms ? rms_stats(x, c->n, c->epsilon) : row_stats(x, c->n, c->epsilon);
        apply_vector(c->y + r * c->n, x, c->scale, c->bias, c->n, s);
    }
}

static const float *optional(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && tni_cpu_present(&call->in[i]) ? call->in[i].data : NULL;
}

static TnStatus run_rows(TnKernelCall *call, bool rms) {
    const TnNormParams *p = call->params;
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_cpu_axis(p->axis, x->rank);
    RowCtx c = {.x = x->data,
                .scale = optional(call, 1),
                .bias = optional(call, 2),
                .y = call->out[0].data,
                .n = tni_cpu_span(x, axis, x->rank),
                .epsilon = (double)p->epsilon,
                .rms = rms};
    int64_t rows = c.n > 0 ? tni_cpu_span(x, 0, axis) : 0;
    tni_cpu_parallel(call->threads, rows, tni_cpu_grain(rows, c.n * 8), norm_rows, &c);
    return TN_OK;
}

TnStatus TN_ISA(tni_cpu_layer_norm)(TnKernelCall *call) {
    return run_rows(call, false);
}
TnStatus TN_ISA(tni_cpu_rms_norm)(TnKernelCall *call) {
    return run_rows(call, true);
}

/* s = x + x_bias + residual */
static void add_row(float *s, const float *x, const float *x_bias, const float *residual, int64_t n) {
    int64_t i = 0;
    for (; i + VL <= n; i += VL) {
        vf v = vf_load(x + i);
        if (x_bias != NULL)
            v = vf_add(v, vf_load(x_bias + i));
        vf_store(s + i, vf_add(v, vf_load(residual + i)));
    }
    if (i < n) {
        vf v = vf_loadn(x + i, n - i);
        if (x_bias != NULL)
            v = vf_add(v, vf_loadn(x_bias + i, n - i));
        vf_storen(s + i, n - i, vf_add(v, vf_loadn(residual + i, n - i)));
    }
}

static void add_norm_rows(void *ctx, int64_t begin, int64_t end) {
    const RowCtx *c = ctx;
    for (int64_t r = begin; r < end; r++) {
        int64_t at = r * c->n;
        float *s = (c->sum != NULL ? c->sum : c->y) + at; /* the sum's place, for want of another the output's */
        add_row(s, c->x + at, c->x_bias, c->residual + at, c->n);
        if (c->y != NULL)
            apply_vector(c->y + at, s, c->scale, c->bias, c->n, row_stats(s, c->n, c->epsilon));
    }
}

TnStatus TN_ISA(tni_cpu_add_layer_norm)(TnKernelCall *call) {
    const TnNormParams *p = call->params;
    const TnTensor *x = &call->in[0];
    RowCtx c = {.x = x->data,
                .residual = call->in[1].data,
                .scale = optional(call, 2),
                .bias = optional(call, 3),
                .x_bias = optional(call, 4),
                .y = call->out[0].data,
                .sum = call->n_out > 1 ? call->out[1].data : NULL,
                .n = x->dims[x->rank - 1],
                .epsilon = (double)p->epsilon};
    int64_t rows = c.n > 0 ? tni_cpu_span(x, 0, x->rank - 1) : 0;
    if (c.y == NULL && c.sum == NULL)
        return TN_OK;
    tni_cpu_parallel(call->threads, rows, tni_cpu_grain(rows, c.n * 16), add_norm_rows, &c);
    return TN_OK;
}

/* ---- batch_norm: y = (x - mean) * a + bias with a = scale / sqrt(var + epsilon) ---- */
typedef struct BatchCtx {
    const float *x, *a, *bias, *mean;
    float *y;
    int64_t channels, inner;
} BatchCtx;

static void batch_planes(void *ctx, int64_t begin, int64_t end) {
    const BatchCtx *c = ctx;
    for (int64_t p = begin; p < end; p++) {
        int64_t k = p % c->channels;
        apply_scalar(c->y + p * c->inner, c->x + p * c->inner, 1.0f, c->bias[k], c->inner, (Stats){c->mean[k], 0.0f, c->a[k]});
    }
}

static void batch_rows(void *ctx, int64_t begin, int64_t end) {
    const BatchCtx *c = ctx;
    const int64_t n = c->channels;
    for (int64_t r = begin; r < end; r++) {
        const float *x = c->x + r * n;
        float *y = c->y + r * n;
        int64_t i = 0;
        for (; i + VL <= n; i += VL)
            vf_store(y + i, vf_fma(vf_sub(vf_load(x + i), vf_load(c->mean + i)), vf_load(c->a + i), vf_load(c->bias + i)));
        if (i < n)
            vf_storen(y + i, n - i,
                      vf_fma(vf_sub(vf_loadn(x + i, n - i), vf_loadn(c->mean + i, n - i)), vf_loadn(c->a + i, n - i),
                             vf_loadn(c->bias + i, n - i)));
    }
}

TnStatus TN_ISA(tni_cpu_batch_norm)(TnKernelCall *call) {
    const TnNormParams *p = call->params;
    const TnTensor *x = &call->in[0];
    const float *scale = call->in[1].data, *var = call->in[4].data;
    float *a = call->scratch;
    BatchCtx c = {.x = x->data, .a = a, .bias = call->in[2].data, .mean = call->in[3].data, .y = call->out[0].data};
    bool last = p->channels_last != 0;
    c.channels = x->dims[last ? x->rank - 1 : 1];
    c.inner = last ? 1 : tni_cpu_span(x, 2, x->rank);
    for (int64_t k = 0; k < c.channels; k++)
        a[k] = (float)((double)scale[k] / sqrt((double)var[k] + (double)p->epsilon));
    int64_t items = last ? tni_cpu_span(x, 0, x->rank - 1) : x->dims[0] * c.channels, each = last ? c.channels : c.inner;
    if (each > 0)
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, each * 8), last ? batch_rows : batch_planes, &c);
    return TN_OK;
}

/* ---- group_norm and instance_norm: [B, groups, channels of a group, inner] ---- */
typedef struct GroupCtx {
    const float *x, *scale, *bias;
    float *y;
    int64_t groups, per_group, inner;
    double epsilon;
} GroupCtx;

static void norm_groups(void *ctx, int64_t begin, int64_t end) {
    const GroupCtx *c = ctx;
    const int64_t n = c->per_group * c->inner;
    for (int64_t g = begin; g < end; g++) {
        Stats s = row_stats(c->x + g * n, n, c->epsilon);
        for (int64_t k = 0; k < c->per_group; k++) {
            int64_t channel = g % c->groups * c->per_group + k, at = g * n + k * c->inner;
            apply_scalar(c->y + at, c->x + at, c->scale[channel], c->bias[channel], c->inner, s);
        }
    }
}

static TnStatus run_groups(TnKernelCall *call, int64_t groups) {
    const TnTensor *x = &call->in[0];
    GroupCtx c = {.x = x->data,
                  .scale = call->in[1].data,
                  .bias = call->in[2].data,
                  .y = call->out[0].data,
                  .groups = groups,
                  .inner = tni_cpu_span(x, 2, x->rank),
                  .epsilon = (double)((const TnNormParams *)call->params)->epsilon};
    if (groups == 0 || tn_tensor_numel(x) == 0)
        return TN_OK;
    c.per_group = x->dims[1] / groups;
    int64_t items = x->dims[0] * groups;
    tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, c.per_group * c.inner * 8), norm_groups, &c);
    return TN_OK;
}

TnStatus TN_ISA(tni_cpu_instance_norm)(TnKernelCall *call) {
    return run_groups(call, call->in[0].dims[1]);
}
TnStatus TN_ISA(tni_cpu_group_norm)(TnKernelCall *call) {
    return run_groups(call, (int64_t)((const TnNormParams *)call->params)->groups);
}
