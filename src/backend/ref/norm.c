/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisations: layer_norm, add_layer_norm, rms_norm, batch_norm, instance_norm, group_norm. Statistics in double, variance in a
 * second pass. Every row is read whole before it is written, so that y may be x. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Norm {
    const TnKernelCall *call;
    double epsilon;
    int64_t n; /* elements normalised together */
    bool rms;  /* no mean is taken away */
    const TnTensor *y;
    RefView scale, bias;             /* seen with the shape of the normalised dims, or of x */
    bool has_scale, has_bias, whole; /* whole: views have the shape of x */
    int64_t inner, channels;         /* instance/group: channel of element i is i / inner % channels */
    bool by_channel;
    const TnTensor *x, *residual, *x_bias, *sum; /* add_layer_norm */
} Norm;

static void load(const Norm *m, int64_t first, int64_t n, double *v) {
    double t[REF_BLOCK];
    tni_ref_load_f64(m->x->dtype, m->x->data, first, 1, n, v);
    if (m->x_bias != NULL) {
        tni_ref_load_f64(m->x_bias->dtype, m->x_bias->data, first % m->n, 1, n, t);
        for (int64_t k = 0; k < n; k++)
            v[k] += t[k];
    }
    if (m->residual != NULL) {
        tni_ref_load_f64(m->residual->dtype, m->residual->data, first, 1, n, t);
        for (int64_t k = 0; k < n; k++)
            v[k] += t[k];
    }
}

static void affine(const Norm *m, int64_t row, int64_t k, int64_t n, double *v) {
    double t[REF_BLOCK];
    int64_t first = m->whole ? row * m->n + k : k;
    for (int pass = 0; pass < 2; pass++) {
        if (!(pass == 0 ? m->has_scale : m->has_bias))
            continue;
        const RefView *w = pass == 0 ? &m->scale : &m->bias;
        if (m->by_channel)
            for (int64_t j = 0; j < n; j++)
                t[j] = tni_load_f64(w->dtype, w->data, (row * m->n + k + j) / m->inner % m->channels);
        else
            tni_ref_view_f64(w, first, n, t);
        for (int64_t j = 0; j < n; j++)
            v[j] = pass == 0 ? v[j] * t[j] : v[j] + t[j];
    }
}

static void norm_row(const Norm *m, int64_t row) {
    double v[REF_BLOCK], mean = 0.0, var = 0.0;
    const int64_t base = row * m->n;
    for (int64_t k = 0; k < m->n && !m->rms; k += REF_BLOCK) {
        int64_t n = TN_MIN(m->n - k, REF_BLOCK);
        load(m, base + k, n, v);
        for (int64_t j = 0; j < n; j++)
            mean += v[j];
    }
    mean /= (double)m->n;
    for (int64_t k = 0; k < m->n; k += REF_BLOCK) {
        int64_t n = TN_MIN(m->n - k, REF_BLOCK);
        load(m, base + k, n, v);
        for (int64_t j = 0; j < n; j++)
            var += (v[j] - mean) * (v[j] - mean);
    }
    const double inv = 1.0 / sqrt(var / (double)m->n + m->epsilon);
    for (int64_t k = 0; k < m->n; k += REF_BLOCK) {
        int64_t n = TN_MIN(m->n - k, REF_BLOCK);
        load(m, base + k, n, v);
        if (m->sum != NULL)
            tni_ref_store_f64(m->sum->dtype, m->sum->data, base + k, 1, n, v);
        for (int64_t j = 0; j < n; j++)
            v[j] = (v[j] - mean) * inv;
        affine(m, row, k, n, v);
        if (m->y != NULL)
            tni_ref_store_f64(m->y->dtype, m->y->data, base + k, 1, n, v);
    }
}

static void norm_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    for (int64_t row = first; row < last; row++)
        norm_row(ctx, row);
}

static void run_rows(Norm *m, int64_t rows) {
    if (m->n > 0)
        tni_ref_ranges(m->call->threads, rows, TN_MAX(1, 16384 / TN_MIN(m->n, 16384)), norm_range, m);
}

/* scale or bias for dims axis.. of x, or, when it is longer, for all of x. */
static bool weight_view(const TnTensor *w, const TnTensor *x, int32_t axis, bool whole, RefView *v) {
    return whole ? tni_ref_view(w, x->rank, x->dims, v) : tni_ref_view(w, x->rank - axis, x->dims + axis, v);
}

static TnStatus run_norm(TnKernelCall *call, const char *op, Norm *m, uint32_t scale, uint32_t bias) {
    const TnTensor *x = m->x;
    const TnNormParams *p = call->params;
    int32_t axis = tni_ref_axis(p->axis, x->rank);
    if (axis < 0)
        return tni_ref_bad_call(call, op, "an axis outside the input's rank");
    m->call = call;
    m->epsilon = (double)p->epsilon;
    m->n = tni_ref_product_of(x->dims, axis, x->rank);
    m->has_scale = tni_ref_has(call, scale);
    m->has_bias = tni_ref_has(call, bias);
    m->whole = (m->has_scale && call->in[scale].rank > x->rank - axis) || (m->has_bias && call->in[bias].rank > x->rank - axis);
    if ((m->has_scale && !weight_view(&call->in[scale], x, axis, m->whole, &m->scale)) ||
        (m->has_bias && !weight_view(&call->in[bias], x, axis, m->whole, &m->bias)))
        return tni_ref_bad_call(call, op, "a scale or bias that does not broadcast to the input");
    run_rows(m, tni_ref_product_of(x->dims, 0, axis));
    return TN_OK;
}

TnStatus tni_ref_layer_norm(TnKernelCall *call) {
    Norm m = {.x = &call->in[0], .y = &call->out[0]};
    return run_norm(call, "layer_norm", &m, 1, 2);
}

TnStatus tni_ref_rms_norm(TnKernelCall *call) {
    Norm m = {.x = &call->in[0], .y = &call->out[0], .rms = true};
    return run_norm(call, "rms_norm", &m, 1, UINT32_MAX);
}

TnStatus tni_ref_add_layer_norm(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    Norm m = {.x = x,
              .residual = &call->in[1],
              .y = tni_ref_wants(call, 0) ? &call->out[0] : NULL,
              .sum = tni_ref_wants(call, 1) ? &call->out[1] : NULL,
              .x_bias = tni_ref_has(call, 4) ? &call->in[4] : NULL};
    if (x->rank < 1 || tn_tensor_numel(m.residual) != tn_tensor_numel(x) ||
        (m.x_bias != NULL && tn_tensor_numel(m.x_bias) != x->dims[x->rank - 1]))
        return tni_ref_bad_call(call, "add_layer_norm", "a residual or bias of another shape");
    TnNormParams last = *(const TnNormParams *)call->params;
    last.axis = -1;
    const void *params = call->params;
    call->params = &last;
    TnStatus st = run_norm(call, "add_layer_norm", &m, 2, 3);
    call->params = params;
    return st;
}

static TnStatus run_groups(TnKernelCall *call, const char *op, int64_t groups) {
    const TnTensor *x = &call->in[0];
    const TnNormParams *p = call->params;
    if (x->rank < 2 || groups < 1 || x->dims[1] % groups != 0)
        return tni_ref_bad_call(call, op, "channels that the groups do not divide");
    if (tn_tensor_numel(&call->in[1]) != x->dims[1] || tn_tensor_numel(&call->in[2]) != x->dims[1])
        return tni_ref_bad_call(call, op, "a scale or bias that has not one element a channel");
    Norm m = {.call = call,
              .x = x,
              .y = &call->out[0],
              .epsilon = (double)p->epsilon,
              .has_scale = true,
              .has_bias = true,
              .by_channel = true,
              .channels = x->dims[1],
              .inner = tni_ref_product_of(x->dims, 2, x->rank)};
    m.n = x->dims[1] / groups * m.inner;
    m.scale = (RefView){.data = call->in[1].data, .dtype = call->in[1].dtype};
    m.bias = (RefView){.data = call->in[2].data, .dtype = call->in[2].dtype};
    run_rows(&m, x->dims[0] * groups);
    return TN_OK;
}

TnStatus tni_ref_instance_norm(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    if (tn_tensor_numel(x) == 0)
        return TN_OK;
    return run_groups(call, "instance_norm", x->rank < 2 ? 0 : x->dims[1]);
}

TnStatus tni_ref_group_norm(TnKernelCall *call) {
    if (tn_tensor_numel(&call->in[0]) == 0)
        return TN_OK;
    return run_groups(call, "group_norm", ((const TnNormParams *)call->params)->groups);
}

static void batch_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Norm *m = ctx;
    const TnTensor *in = m->call->in;
    for (int64_t i = first; i < last; i++) {
        int64_t c = i / m->inner % m->channels;
        double v = tni_load_f64(m->x->dtype, m->x->data, i) - tni_load_f64(in[3].dtype, in[3].data, c);
        v = v / sqrt(tni_load_f64(in[4].dtype, in[4].data, c) + m->epsilon) * tni_load_f64(in[1].dtype, in[1].data, c);
        tni_store_f64(m->y->dtype, m->y->data, i, v + tni_load_f64(in[2].dtype, in[2].data, c));
    }
}

TnStatus tni_ref_batch_norm(TnKernelCall *call) {
    const TnNormParams *p = call->params;
    const TnTensor *x = &call->in[0];
    Norm m = {.call = call, .x = x, .y = &call->out[0], .epsilon = (double)p->epsilon, .inner = 1};
    if (x->rank < 1)
        return tni_ref_bad_call(call, "batch_norm", "an input without dimensions");
    int32_t axis = p->channels_last != 0 ? x->rank - 1 : x->rank < 2 ? -1 : 1;
    m.channels = axis < 0 ? 1 : x->dims[axis]; /* ONNX: rank 1 means one channel */
    m.inner = axis < 0 ? 1 : tni_ref_product_of(x->dims, axis + 1, x->rank);
    for (uint32_t i = 1; i < 5; i++)
        if (tn_tensor_numel(&call->in[i]) != m.channels)
            return tni_ref_bad_call(call, "batch_norm", "a parameter that has not one element a channel");
    tni_ref_ranges(call->threads, tn_tensor_numel(x), 16384, batch_range, &m);
    return TN_OK;
}
