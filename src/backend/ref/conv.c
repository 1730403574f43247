/* SPDX-License-Identifier: Apache-2.0
 *
 * conv, conv_integer and conv_transpose as matrix products: [channels out, taps] x [taps, positions], the second matrix made on the fly (a tap is an
 * input channel of the group and a place in the kernel). Channels first or last, 1 to 3 spatial dims; missing spatial dims count 1. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Conv {
    const TnKernelCall *call;
    const TnConvParams *p;
    const TnTensor *x, *w, *y;
    bool transposed, integer;
    double x_zero;          /* integer: zero points */
    const TnTensor *w_zero; /* one, or one for each output channel; NULL: 0 */
    int64_t B, C, M, G, cg, mg; /* cg, mg: channels in and out of a group */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int64_t in_n, out_n, taps;            /* products of the above */
    int64_t x_pos, x_chan, y_pos, y_chan; /* element strides of a position and of a channel */
} Conv;

/* Positions along the last dim for one kernel place: dst[k] = x at (o0 + k). */
static void load_line(const Conv *c, int64_t base, bool inside, int64_t tap, int64_t o0, int64_t n, double *dst) {
    const TnTensor *x = c->x;
    for (int64_t k = 0; k < n; k++) {
        int64_t i;
        bool hit = inside;
        if (c->transposed) {
            int64_t num = o0 + k + c->pad[2] - tap * c->dilation[2];
            hit = hit && num >= 0 && num % c->stride[2] == 0;
            i = num / c->stride[2];
        } else {
            i = (o0 + k) * c->stride[2] - c->pad[2] + tap * c->dilation[2];
        }
        hit = hit && i >= 0 && i < c->in[2];
        if (!hit)
            dst[k] = 0.0;
        else if (x->dtype == TN_F32)
            dst[k] = (double)((const float *)x->data)[base + i * c->x_pos];
        else
            dst[k] = tni_load_f64(x->dtype, x->data, base + i * c->x_pos) - c->x_zero;
    }
}

/* Input coordinate of dim d for output o and kernel place t; false: the padding. */
static bool source(const Conv *c, int d, int64_t o, int64_t t, int64_t *i) {
    if (c->transposed) {
        int64_t num = o + c->pad[d] - t * c->dilation[d];
        if (num < 0 || num % c->stride[d] != 0)
            return false;
        *i = num / c->stride[d];
    } else {
        *i = o * c->stride[d] - c->pad[d] + t * c->dilation[d];
    }
    return *i >= 0 && *i < c->in[d];
}

static void load_b(const void *ctx, int64_t batch, int64_t k, int64_t j0, int64_t nj, double *dst) {
    const Conv *c = ctx;
    const int64_t b = batch / c->G, g = batch % c->G;
    const int64_t chan = g * c->cg + k / c->taps, t = k % c->taps;
    const int64_t t2 = t % c->kernel[2], t1 = t / c->kernel[2] % c->kernel[1], t0 = t / c->kernel[2] / c->kernel[1];
    const int64_t base = b * c->in_n * c->C + chan * c->x_chan;
    for (int64_t j = 0; j < nj;) {
        const int64_t o2 = (j0 + j) % c->out[2], line = (j0 + j) / c->out[2];
        const int64_t n = TN_MIN(nj - j, c->out[2] - o2);
        int64_t i0 = 0, i1 = 0;
        bool inside = source(c, 1, line % c->out[1], t1, &i1) && source(c, 0, line / c->out[1], t0, &i0);
        load_line(c, base + (i0 * c->in[1] + i1) * c->in[2] * c->x_pos, inside, t2, o2, n, dst + j);
        j += n;
    }
}

static void load_a(const void *ctx, int64_t batch, int64_t i, int64_t k0, int64_t nk, double *dst) {
    const Conv *c = ctx;
    const int64_t g = batch % c->G;
    if (!c->transposed) {
        const int64_t m = g * c->mg + i;
        tni_ref_load_f64(c->w->dtype, c->w->data, m * c->cg * c->taps + k0, 1, nk, dst);
        if (c->w_zero != NULL) {
            const double zero = tni_load_f64(c->w_zero->dtype, c->w_zero->data, tn_tensor_numel(c->w_zero) == 1 ? 0 : m);
            for (int64_t k = 0; k < nk; k++)
                dst[k] -= zero;
        }
        return;
    }
    for (int64_t k = 0; k < nk; k++) { /* w [C, M/group, taps] */
        int64_t chan = (k0 + k) / c->taps, t = (k0 + k) % c->taps;
        dst[k] = tni_load_f64(c->w->dtype, c->w->data, ((g * c->cg + chan) * c->mg + i) * c->taps + t);
    }
}

static void store(const void *ctx, int64_t batch, int64_t i, int64_t j0, int64_t nj, double *v) {
    const Conv *c = ctx;
    const int64_t b = batch / c->G, m = batch % c->G * c->mg + i;
    const int64_t first = b * c->out_n * c->M + m * c->y_chan + j0 * c->y_pos;
    if (c->integer) { /* exact in doubles; wraps */
        for (int64_t j = 0; j < nj; j++)
            tni_store_i64(c->y->dtype, c->y->data, first + j * c->y_pos, (int64_t)v[j]);
        return;
    }
    if (tni_ref_has(c->call, 2)) {
        double bias = tni_load_f64(c->call->in[2].dtype, c->call->in[2].data, m);
        for (int64_t j = 0; j < nj; j++)
            v[j] += bias;
    }
    tni_ref_act(c->p->act, (double)c->p->act_alpha, (double)c->p->act_beta, nj, v);
    if (!c->transposed && tni_ref_has(c->call, 3)) {
        double t[REF_TILE_N];
        tni_ref_load_f64(c->call->in[3].dtype, c->call->in[3].data, first, c->y_pos, nj, t);
        for (int64_t j = 0; j < nj; j++)
            v[j] += t[j];
    }
    tni_ref_store_f64(c->y->dtype, c->y->data, first, c->y_pos, nj, v);
}

/* Padding before dim d (spatial dim s of the operator). */
static int64_t pad_before(const Conv *c, int s, int d) {
    const TnConvParams *p = c->p;
    int64_t extent = (c->kernel[d] - 1) * c->dilation[d] + 1, total;
    if (c->transposed) {
        bool same = p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER;
        if (p->auto_pad == TN_PAD_VALID)
            return 0;
        if (!same && p->output_shape[s] <= 0)
            return p->pads[s];
        total = TN_MAX((c->in[d] - 1) * c->stride[d] + p->output_pads[s] + extent - c->out[d], 0);
        return p->auto_pad == TN_PAD_SAME_UPPER ? total / 2 : total - total / 2;
    }
    if (p->auto_pad == TN_PAD_VALID)
        return 0;
    if (p->auto_pad == TN_PAD_EXPLICIT)
        return p->pads[s];
    total = TN_MAX((c->out[d] - 1) * c->stride[d] + extent - c->in[d], 0);
    return p->auto_pad == TN_PAD_SAME_LOWER ? total - total / 2 : total / 2;
}

static bool setup(TnKernelCall *call, bool transposed, Conv *c) {
    const TnConvParams *p = call->params;
    *c = (Conv){.call = call, .p = p, .x = &call->in[0], .w = &call->in[1], .y = &call->out[0], .transposed = transposed};
    const int32_t n = (int32_t)p->n_spatial;
    if (n < 1 || n > 3 || c->x->rank != n + 2 || c->w->rank != n + 2 || c->y->rank != n + 2 || p->group == 0)
        return false;
    const int32_t chan = p->channels_last != 0 ? n + 1 : 1, space = p->channels_last != 0 ? 1 : 2;
    c->B = c->x->dims[0];
    c->C = c->x->dims[chan];
    c->M = c->y->dims[chan];
    c->G = p->group;
    c->cg = c->C / c->G;
    c->mg = c->M / c->G;
    c->in_n = c->out_n = c->taps = 1;
    for (int d = 0; d < 3; d++) {
        int s = d - (3 - n); /* the operator's dims are the last n of three */
        c->in[d] = s < 0 ? 1 : c->x->dims[space + s];
        c->out[d] = s < 0 ? 1 : c->y->dims[space + s];
        c->kernel[d] = s < 0 ? 1 : c->w->dims[2 + s];
        c->stride[d] = s < 0 ? 1 : p->stride[s];
        c->dilation[d] = s < 0 ? 1 : p->dilation[s];
        if (c->stride[d] < 1 || c->dilation[d] < 1)
            return false;
        c->pad[d] = s < 0 ? 0 : pad_before(c, s, d);
        c->in_n *= c->in[d];
        c->out_n *= c->out[d];
        c->taps *= c->kernel[d];
    }
    c->x_pos = p->channels_last != 0 ? c->C : 1;
    c->x_chan = p->channels_last != 0 ? 1 : c->in_n;
    c->y_pos = p->channels_last != 0 ? c->M : 1;
    c->y_chan = p->channels_last != 0 ? 1 : c->out_n;
    if (c->C % c->G != 0 || c->M % c->G != 0 || c->y->dims[0] != c->B)
        return false;
    return transposed ? c->w->dims[0] == c->C && c->w->dims[1] == c->mg : c->w->dims[0] == c->M && c->w->dims[1] == c->cg;
}

static TnStatus run(TnKernelCall *call, const char *op, bool transposed) {
    Conv c;
    if (!setup(call, transposed, &c) || (tni_ref_has(call, 2) && tn_tensor_numel(&call->in[2]) != c.M) ||
        (tni_ref_has(call, 3) && tn_tensor_numel(&call->in[3]) != tn_tensor_numel(c.y)))
        return tni_ref_bad_call(call, op, "operands whose shapes do not fit");
    TN_TRY(tni_ref_need_scratch(call, op, REF_TILE_BYTES * tni_threads_count(call->threads)));
    RefProduct p = {c.B * c.G, c.mg, c.out_n, c.cg * c.taps, &c, load_a, load_b, store};
    tni_ref_product(&p, call->threads, call->scratch);
    return TN_OK;
}

TnStatus tni_ref_conv(TnKernelCall *call) {
    return run(call, "conv", false);
}

TnStatus tni_ref_conv_integer(TnKernelCall *call) {
    Conv c;
    if (!setup(call, false, &c) || (tni_ref_has(call, 3) && tn_tensor_numel(&call->in[3]) != 1 && tn_tensor_numel(&call->in[3]) != c.M))
        return tni_ref_bad_call(call, "conv_integer", "operands whose shapes do not fit");
    c.integer = true;
    if (tni_ref_has(call, 2))
        c.x_zero = tni_load_f64(call->in[2].dtype, call->in[2].data, 0);
    if (tni_ref_has(call, 3))
        c.w_zero = &call->in[3];
    TN_TRY(tni_ref_need_scratch(call, "conv_integer", REF_TILE_BYTES * tni_threads_count(call->threads)));
    RefProduct p = {c.B * c.G, c.mg, c.out_n, c.cg * c.taps, &c, load_a, load_b, store};
    tni_ref_product(&p, call->threads, call->scratch);
    return TN_OK;
}

TnStatus tni_ref_conv_transpose(TnKernelCall *call) {
    return run(call, "conv_transpose", true);
}
