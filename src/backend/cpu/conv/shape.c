/* SPDX-License-Identifier: Apache-2.0
 *
 * Sizes of a convolution from its parameters and operands. */
#include "backend/cpu/conv/conv.h"

static int64_t begin_pad(const TnConvParams *p, uint32_t axis, int64_t in, int64_t out, int64_t k, int64_t s, int64_t d) {
    if (p->auto_pad == TN_PAD_EXPLICIT)
        return p->pads[axis];
    if (p->auto_pad == TN_PAD_VALID)
        return 0;
    int64_t total = TN_MAX((out - 1) * s + (k - 1) * d + 1 - in, 0);
    return p->auto_pad == TN_PAD_SAME_UPPER ? total / 2 : total - total / 2;
}

static bool same_dims(const TnTensor *a, const TnTensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

bool tni_conv_describe(TniConv *v, const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out) {
    uint32_t ns = p->n_spatial, last = p->channels_last != 0;
    const TnTensor *x = &in[0], *w = &in[1];
    if ((ns != 1 && ns != 2) || p->group == 0 || p->act >= TN_ACT_COUNT || x->dtype != TN_F32 || w->dtype != TN_F32 ||
        out->dtype != TN_F32 || x->rank != (int32_t)ns + 2 || w->rank != (int32_t)ns + 2 || out->rank != (int32_t)ns + 2)
        return false;
    const int64_t *xs = x->dims + (last ? 1 : 2), *ys = out->dims + (last ? 1 : 2);
    uint32_t a = ns - 1; /* the width's axis */
    *v = (TniConv){
        .b = x->dims[0],
        .c = x->dims[last ? ns + 1 : 1],
        .m = out->dims[last ? ns + 1 : 1],
        .w = xs[a],
        .ow = ys[a],
        .kw = w->dims[2 + a],
        .h = 1,
        .oh = 1,
        .kh = 1,
        .sh = 1,
        .dh = 1,
        .sw = p->stride[a],
        .dw = p->dilation[a],
        .group = p->group,
        .channels_last = last != 0,
        .x = x->data,
        .wt = w->data,
        .y = out->data,
        .act = p->act,
        .act_alpha = p->act_alpha,
        .act_beta = p->act_beta,
    };
    if (ns == 2) {
        v->h = xs[0];
        v->oh = ys[0];
        v->kh = w->dims[2];
        v->sh = p->stride[0];
        v->dh = p->dilation[0];
        v->pt = begin_pad(p, 0, v->h, v->oh, v->kh, v->sh, v->dh);
    }
    v->pl = begin_pad(p, a, v->w, v->ow, v->kw, v->sw, v->dw);
    v->cg = v->c / v->group;
    v->mg = v->m / v->group;
    if (v->c % v->group != 0 || v->m % v->group != 0 || w->dims[0] != v->m || w->dims[1] != v->cg || out->dims[0] != v->b)
        return false;
    if (v->sh < 1 || v->sw < 1 || v->dh < 1 || v->dw < 1 || v->kh < 1 || v->kw < 1 || v->pt < 0 || v->pl < 0)
        return false;
    if (n_in > 2 && in[2].dtype != TN_UNDEFINED) {
        if (in[2].dtype != TN_F32 || tn_tensor_numel(&in[2]) != v->m)
            return false;
        v->bias = in[2].data;
    }
    if (n_in > 3 && in[3].dtype != TN_UNDEFINED) {
        if (!same_dims(&in[3], out))
            return false;
        v->res = in[3].data;
    }
    return true;
}
