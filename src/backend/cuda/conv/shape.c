/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes, epilogue and packings of conv (shape.h). */
#include "backend/cuda/conv/shape.h"

#include "backend/cuda/conv/conv.h"

static int64_t begin_pad(const TnConvParams *p, uint32_t axis, int64_t in, int64_t out, int64_t k, int64_t s, int64_t d) {
    if (p->auto_pad == TN_PAD_EXPLICIT)
        return p->pads[axis];
    if (p->auto_pad == TN_PAD_VALID)
        return 0;
    int64_t total = TN_MAX((out - 1) * s + (k - 1) * d + 1 - in, 0);
    return p->auto_pad == TN_PAD_SAME_UPPER ? total / 2 : total - total / 2;
}

bool tni_conv_shape(const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TniConv *v) {
    const TnTensor *x = &in[0], *w = &in[1];
    const uint32_t ns = p->n_spatial, last = p->channels_last != 0, a = ns - 1;
    if ((ns != 1 && ns != 2) || p->group == 0 || p->act >= TN_ACT_COUNT || !tni_is_real(x->dtype) || w->dtype != x->dtype ||
        out->dtype != x->dtype || x->rank != (int32_t)ns + 2 || w->rank != x->rank || out->rank != x->rank)
        return false;
    for (int32_t d = 0; d < x->rank; d++)
        if (x->dims[d] > INT32_MAX / 4 || w->dims[d] > INT32_MAX / 4 || out->dims[d] > INT32_MAX / 4)
            return false;
    const int64_t *xs = x->dims + (last ? 1 : 2), *ys = out->dims + (last ? 1 : 2);
    *v = (TniConv){.type = x->dtype, .group = (int32_t)p->group, .channels_last = (int32_t)last, .constant_w = w->data != NULL,
                   .h = 1, .oh = 1, .kh = 1, .sh = 1, .dh = 1};
    v->batch = (int32_t)x->dims[0];
    v->c = (int32_t)x->dims[last ? ns + 1 : 1];
    v->m = (int32_t)out->dims[last ? ns + 1 : 1];
    v->w = (int32_t)xs[a];
    v->ow = (int32_t)ys[a];
    v->kw = (int32_t)w->dims[2 + a];
    v->sw = p->stride[a];
    v->dw = p->dilation[a];
    v->pl = (int32_t)begin_pad(p, a, v->w, v->ow, v->kw, v->sw, v->dw);
    if (ns == 2) {
        v->h = (int32_t)xs[0];
        v->oh = (int32_t)ys[0];
        v->kh = (int32_t)w->dims[2];
        v->sh = p->stride[0];
        v->dh = p->dilation[0];
        v->pt = (int32_t)begin_pad(p, 0, v->h, v->oh, v->kh, v->sh, v->dh);
    }
    v->cg = v->c / v->group;
    v->mg = v->m / v->group;
    v->k = (int64_t)v->cg * v->kh * v->kw;
    if (v->c % v->group != 0 || v->m % v->group != 0 || w->dims[0] != v->m || w->dims[1] != v->cg || out->dims[0] != v->batch ||
        v->sh < 1 || v->sw < 1 || v->dh < 1 || v->dw < 1 || v->kh < 1 || v->kw < 1 || v->pt < 0 || v->pl < 0)
        return false;
    if ((int64_t)v->batch * v->oh * v->ow >= INT32_MAX - 512 || v->k >= INT32_MAX - 512 || (int64_t)v->h * v->w >= INT32_MAX)
        return false;
    v->has_bias = n_in > 2 && in[2].dtype != TN_UNDEFINED;
    v->has_residual = n_in > 3 && in[3].dtype != TN_UNDEFINED;
    return (!v->has_bias || (in[2].dtype == v->type && tn_tensor_numel(&in[2]) == v->m)) &&
           (!v->has_residual || (in[3].dtype == v->type && tn_tensor_numel(&in[3]) == tn_tensor_numel(out)));
}

bool tni_conv_query(const TnKernelQuery *q, TniConv *v) { return tni_conv_shape(q->params, q->in, q->n_in, q->out, v); }

void tni_conv_epilogue(const TnKernelCall *call, const TniConv *v, TniEpi *epi) {
    const TnConvParams *p = call->params;
    *epi = (TniEpi){.bias = v->has_bias ? call->in[2].data : NULL,
                    .residual = v->has_residual ? call->in[3].data : NULL,
                    .alpha = 1.0f,
                    .beta = 1.0f,
                    .bias_mode = v->has_bias ? TNI_BIAS_COLUMN : TNI_BIAS_NONE,
                    .act = tni_act_make(p->act, p->act_alpha, p->act_beta, v->type == TN_F32)};
}

const void *tni_conv_packed(const TnKernelCall *call) { return call->packed != NULL ? call->packed[1] : NULL; }

/* ---- packings ---- */

size_t tni_cuda_conv_rows_bytes(const TnKernelQuery *q, uint32_t i) {
    TniConv v;
    if (i != 1 || q->in[1].data == NULL || !tni_conv_query(q, &v))
        return 0;
    return (size_t)v.m * (size_t)tni_conv_kp(&v) * tni_size_of(v.type);
}

void tni_cuda_conv_pack_ct(const TnKernelQuery *q, uint32_t i, void *dst) {
    TniConv v;
    if (i != 1 || !tni_conv_query(q, &v))
        return;
    const size_t size = tni_size_of(v.type), from = (size_t)v.k * size, to = (size_t)tni_conv_kp(&v) * size;
    memset(dst, 0, (size_t)v.m * to);
    for (int32_t m = 0; m < v.m; m++)
        memcpy((char *)dst + (size_t)m * to, (const char *)q->in[1].data + (size_t)m * from, from);
}

void tni_cuda_conv_pack_tc(const TnKernelQuery *q, uint32_t i, void *dst) {
    TniConv v;
    if (i != 1 || !tni_conv_query(q, &v))
        return;
    const int64_t kp = tni_conv_kp(&v), taps = (int64_t)v.kh * v.kw;
    memset(dst, 0, (size_t)v.m * (size_t)kp * tni_size_of(v.type));
    for (int64_t m = 0; m < v.m; m++) {
        for (int64_t t = 0; t < taps; t++) {
            for (int64_t c = 0; c < v.cg; c++) {
                const int64_t to = m * kp + t * v.cg + c, from = (m * v.cg + c) * taps + t;
                if (v.type == TN_F32)
                    ((uint32_t *)dst)[to] = ((const uint32_t *)q->in[1].data)[from];
                else
                    ((uint16_t *)dst)[to] = ((const uint16_t *)q->in[1].data)[from];
            }
        }
    }
}

size_t tni_cuda_conv_dw_bytes(const TnKernelQuery *q, uint32_t i) {
    TniConv v;
    if (i != 1 || q->in[1].data == NULL || !tni_conv_query(q, &v))
        return 0;
    return (size_t)v.kh * (size_t)v.kw * (size_t)tni_conv_dw_channels(&v) * sizeof(float);
}

void tni_cuda_conv_pack_dw(const TnKernelQuery *q, uint32_t i, void *dst) {
    TniConv v;
    if (i != 1 || !tni_conv_query(q, &v))
        return;
    const int64_t taps = (int64_t)v.kh * v.kw, ld = tni_conv_dw_channels(&v);
    memset(dst, 0, (size_t)(taps * ld) * sizeof(float));
    for (int64_t m = 0; m < v.m; m++)
        for (int64_t t = 0; t < taps; t++)
            ((float *)dst)[t * ld + m] = (float)tni_load_f64(v.type, q->in[1].data, m * taps + t);
}
