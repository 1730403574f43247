/* SPDX-License-Identifier: Apache-2.0
 *
 * conv and conv_transpose straight from the definition, 1 to 3 spatial dims, any layout: one thread an output, neighbouring threads
 * neighbouring outputs in memory. */
#include "backend/cuda/conv/conv.h"
#include "backend/cuda/gemm/epilogue.cuh"

typedef struct PlainArgs {
    const void *x, *w, *bias, *residual;
    void *y;
    TniAct act;
    int64_t total;
    int32_t batch, c, m, cg, mg, channels_last, transposed;
    int32_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
    int64_t in_n, out_n, taps;
} PlainArgs;

/* Input coordinate of dim d for output o and kernel place t. */
TNI_DEVICE bool source(const PlainArgs &p, int d, int32_t o, int32_t t, int32_t *i) {
    if (p.transposed != 0) {
        const int32_t num = o + p.pad[d] - t * p.dilation[d];
        *i = num / p.stride[d];
        return num >= 0 && num % p.stride[d] == 0 && *i < p.in[d];
    }
    *i = o * p.stride[d] - p.pad[d] + t * p.dilation[d];
    return *i >= 0 && *i < p.in[d];
}

template <typename T> __global__ void __launch_bounds__(128) plain_kernel(const __grid_constant__ PlainArgs p) {
    tni_start();
    for (int64_t i = tni_thread(); i < p.total; i += tni_threads()) {
        int64_t pos, b;
        int32_t m;
        if (p.channels_last != 0) {
            m = (int32_t)(i % p.m);
            pos = i / p.m % p.out_n;
            b = i / p.m / p.out_n;
        } else {
            pos = i % p.out_n;
            m = (int32_t)(i / p.out_n % p.m);
            b = i / p.out_n / p.m;
        }
        const int32_t o2 = (int32_t)(pos % p.out[2]), o1 = (int32_t)(pos / p.out[2] % p.out[1]), o0 = (int32_t)(pos / p.out[2] / p.out[1]);
        const int32_t g = m / p.mg;
        const int64_t c_step = p.channels_last != 0 ? 1 : p.in_n, pos_step = p.channels_last != 0 ? p.c : 1;
        const T *x = (const T *)p.x + b * p.in_n * p.c + (int64_t)g * p.cg * c_step;
        /* w: conv [m][cg][taps], conv_transpose [c][mg][taps] */
        const int64_t w_step = p.transposed != 0 ? (int64_t)p.mg * p.taps : p.taps;
        const T *w = (const T *)p.w + (p.transposed != 0 ? ((int64_t)g * p.cg * p.mg + m % p.mg) * p.taps : (int64_t)m * p.cg * p.taps);
        float sum = 0.0f;
        int32_t i0, i1, i2;
        for (int32_t t0 = 0; t0 < p.kernel[0]; t0++) {
            if (!source(p, 0, o0, t0, &i0))
                continue;
            for (int32_t t1 = 0; t1 < p.kernel[1]; t1++) {
                if (!source(p, 1, o1, t1, &i1))
                    continue;
                for (int32_t t2 = 0; t2 < p.kernel[2]; t2++) {
                    if (!source(p, 2, o2, t2, &i2))
                        continue;
                    const T *xp = x + (((int64_t)i0 * p.in[1] + i1) * p.in[2] + i2) * pos_step;
                    const T *wp = w + ((int64_t)t0 * p.kernel[1] + t1) * p.kernel[2] + t2;
                    for (int32_t c = 0; c < p.cg; c++)
                        sum = fmaf(tni_f32(xp[c * c_step]), tni_f32(wp[c * w_step]), sum);
                }
            }
        }
        if (p.bias != NULL)
            sum += tni_f32(((const T *)p.bias)[m]);
        sum = tni_act_one(p.act, sum);
        if (p.residual != NULL)
            sum += tni_f32(((const T *)p.residual)[i]);
        ((T *)p.y)[i] = tni_from_f32<T>(sum);
    }
}

/* Padding before dim d (spatial dim s of the operator). */
static int64_t pad_before(const TnConvParams *q, const PlainArgs *p, int s, int d) {
    const int64_t extent = (int64_t)(p->kernel[d] - 1) * p->dilation[d] + 1;
    const bool same = q->auto_pad == TN_PAD_SAME_UPPER || q->auto_pad == TN_PAD_SAME_LOWER;
    if (q->auto_pad == TN_PAD_VALID)
        return 0;
    if (!same && (p->transposed == 0 || q->output_shape[s] <= 0))
        return q->pads[s];
    const int64_t total = p->transposed != 0 ? (int64_t)(p->in[d] - 1) * p->stride[d] + q->output_pads[s] + extent - p->out[d]
                                             : (int64_t)(p->out[d] - 1) * p->stride[d] + extent - p->in[d];
    const int64_t pad = TN_MAX(total, (int64_t)0);
    if (p->transposed != 0)
        return q->auto_pad == TN_PAD_SAME_UPPER ? pad / 2 : pad - pad / 2;
    return q->auto_pad == TN_PAD_SAME_LOWER ? pad - pad / 2 : pad / 2;
}

static bool describe(const TnConvParams *q, const TnTensor *in, uint32_t n_in, const TnTensor *out, bool transposed, PlainArgs *p) {
    const TnTensor *x = &in[0], *w = &in[1];
    const int32_t n = (int32_t)q->n_spatial, last = q->channels_last != 0, chan = last ? n + 1 : 1, space = last ? 1 : 2;
    *p = PlainArgs();
    if (n < 1 || n > 3 || q->group == 0 || q->act >= TN_ACT_COUNT || !tni_is_real(x->dtype) || w->dtype != x->dtype ||
        out->dtype != x->dtype || x->rank != n + 2 || w->rank != n + 2 || out->rank != n + 2)
        return false;
    for (int32_t d = 0; d < n + 2; d++)
        if (x->dims[d] > INT32_MAX / 4 || w->dims[d] > INT32_MAX / 4 || out->dims[d] > INT32_MAX / 4)
            return false;
    p->transposed = transposed;
    p->channels_last = last;
    p->batch = (int32_t)x->dims[0];
    p->c = (int32_t)x->dims[chan];
    p->m = (int32_t)out->dims[chan];
    p->cg = p->c / (int32_t)q->group;
    p->mg = p->m / (int32_t)q->group;
    p->in_n = p->out_n = p->taps = 1;
    for (int d = 0; d < 3; d++) {
        const int s = d - (3 - n);
        p->in[d] = s < 0 ? 1 : (int32_t)x->dims[space + s];
        p->out[d] = s < 0 ? 1 : (int32_t)out->dims[space + s];
        p->kernel[d] = s < 0 ? 1 : (int32_t)w->dims[2 + s];
        p->stride[d] = s < 0 ? 1 : q->stride[s];
        p->dilation[d] = s < 0 ? 1 : q->dilation[s];
        if (p->stride[d] < 1 || p->dilation[d] < 1)
            return false;
        p->pad[d] = s < 0 ? 0 : (int32_t)pad_before(q, p, s, d);
        p->in_n *= p->in[d];
        p->out_n *= p->out[d];
        p->taps *= p->kernel[d];
    }
    p->total = tn_tensor_numel(out);
    if (p->c % (int32_t)q->group != 0 || p->m % (int32_t)q->group != 0 || out->dims[0] != x->dims[0] ||
        w->dims[0] != (transposed ? p->c : p->m) || w->dims[1] != (transposed ? p->mg : p->cg))
        return false;
    p->x = x->data;
    p->w = w->data;
    p->y = out->data;
    if (n_in > 2 && in[2].dtype != TN_UNDEFINED) {
        if (in[2].dtype != x->dtype || tn_tensor_numel(&in[2]) != p->m)
            return false;
        p->bias = in[2].data;
    }
    if (n_in > 3 && in[3].dtype != TN_UNDEFINED) {
        if (in[3].dtype != x->dtype || tn_tensor_numel(&in[3]) != p->total)
            return false;
        p->residual = in[3].data;
    }
    p->act = tni_act_make(q->act, q->act_alpha, q->act_beta, true);
    return true;
}

static TnStatus run(TnKernelCall *call, bool transposed) {
    PlainArgs p;
    if (!describe((const TnConvParams *)call->params, call->in, call->n_in, &call->out[0], transposed, &p))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "conv: operands that the kernel does not take");
    if (p.total == 0)
        return TN_OK;
    const unsigned blocks = tni_grid(call, p.total, 128, 32);
    TNI_FLOAT_SWITCH(call->in[0].dtype, T, (void)tni_launch_early(call->stream, plain_kernel<T>, blocks, 128, 0, p));
    return tni_cuda_launched(call, transposed ? "conv_transpose" : "conv (plain)");
}

static double cost(const TnKernelQuery *q, bool transposed) {
    PlainArgs p;
    if (q->device == NULL || !describe((const TnConvParams *)q->params, q->in, q->n_in, q->out, transposed, &p))
        return 1e30;
    return 3000.0 + (double)p.total * p.cg * (double)p.taps / 300.0 + (double)p.cg * (double)p.taps * 4.0;
}

extern "C" TnStatus tni_cuda_conv_plain_run(TnKernelCall *call) {
    return run(call, false);
}
extern "C" TnStatus tni_cuda_conv_transpose_run(TnKernelCall *call) {
    return run(call, true);
}

static bool supports(const TnKernelQuery *q, bool transposed, TnDtype type) {
    PlainArgs p;
    return q->in[0].dtype == type && describe((const TnConvParams *)q->params, q->in, q->n_in, q->out, transposed, &p);
}
extern "C" bool tni_cuda_conv_plain_f16(const TnKernelQuery *q) {
    return supports(q, false, TN_F16);
}
extern "C" bool tni_cuda_conv_plain_bf16(const TnKernelQuery *q) {
    return supports(q, false, TN_BF16);
}
extern "C" bool tni_cuda_conv_plain_f32(const TnKernelQuery *q) {
    return supports(q, false, TN_F32);
}
extern "C" bool tni_cuda_conv_transpose_f16(const TnKernelQuery *q) {
    return supports(q, true, TN_F16);
}
extern "C" bool tni_cuda_conv_transpose_bf16(const TnKernelQuery *q) {
    return supports(q, true, TN_BF16);
}
extern "C" bool tni_cuda_conv_transpose_f32(const TnKernelQuery *q) {
    return supports(q, true, TN_F32);
}
extern "C" double tni_cuda_conv_plain_cost(const TnKernelQuery *q) {
    return cost(q, false);
}
extern "C" double tni_cuda_conv_transpose_cost(const TnKernelQuery *q) {
    return cost(q, true);
}
