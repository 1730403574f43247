/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of convolution, pooling, resampling (plan/check.h). */
#include "base/dtype.h"
#include "plan/rules.h"

#include <math.h>

#define SIZE_LIMIT (1 << 24)

/* One spatial axis of a window that slides over n elements. */
typedef struct Axis {
    int64_t n, kernel, stride, dilation, begin, end;
    uint32_t auto_pad;
} Axis;

static bool axis_ok(const Axis *a) {
    return a->kernel > 0 && a->kernel < SIZE_LIMIT && a->stride > 0 && a->stride < SIZE_LIMIT && a->dilation > 0 &&
           a->dilation < SIZE_LIMIT && a->begin >= 0 && a->begin < SIZE_LIMIT && a->end >= 0 && a->end < SIZE_LIMIT &&
           a->auto_pad <= TN_PAD_VALID && a->n >= 0 && a->n < INT64_MAX / 4;
}

/* Positions of the window; -1 when there is none. */
static int64_t windows(const Axis *a, bool ceil_mode) {
    if (a->auto_pad == TN_PAD_SAME_UPPER || a->auto_pad == TN_PAD_SAME_LOWER)
        return (a->n + a->stride - 1) / a->stride;
    int64_t pad = a->auto_pad == TN_PAD_VALID ? 0 : a->begin + a->end, room = a->n + pad - (a->dilation * (a->kernel - 1) + 1);
    if (room < 0)
        return ceil_mode && room > -a->stride ? 1 : room == -1 ? 0 : -1;
    return (ceil_mode ? (room + a->stride - 1) / a->stride : room / a->stride) + 1;
}

/* Spatial and channel axes of x. */
static void layout(const TnTensor *x, bool channels_last, int32_t *channel, int32_t *spatial) {
    *channel = channels_last ? x->rank - 1 : 1;
    *spatial = channels_last ? 1 : 2;
}

/* *y: x with the result's dims. */
static TnStatus conv_dims(const PlanCheck *c, TnTensor *y) {
    P(TnConvParams);
    const TnTensor *x = &c->in[0], *w = &c->in[1];
    int32_t ch, sp;
    PARAM(p->n_spatial >= 1 && p->n_spatial <= 3, "n_spatial", p->n_spatial);
    PARAM(p->act < TN_ACT_COUNT, "act", p->act);
    NEED(x->rank == (int32_t)p->n_spatial + 2, 0, "batch, channels and the spatial dims");
    NEED(w->rank == x->rank, 1, "the rank of input 0");
    layout(x, p->channels_last != 0, &ch, &sp);
    PARAM(p->group > 0 && x->dims[ch] % p->group == 0 && w->dims[0] % p->group == 0, "group", p->group);
    NEED(w->dims[1] == x->dims[ch] / p->group, 1, "the channels of a group of input 0");
    *y = *x;
    y->dims[ch] = w->dims[0];
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        Axis a = {x->dims[sp + (int32_t)i],  w->dims[2 + i], p->stride[i], p->dilation[i], p->pads[i],
                  p->pads[p->n_spatial + i], p->auto_pad};
        PARAM(axis_ok(&a) && (p->kernel[i] == a.kernel || p->kernel[i] == 0), "kernel, stride, dilation or pads of axis", i);
        y->dims[sp + (int32_t)i] = windows(&a, false);
        NEED(y->dims[sp + (int32_t)i] >= 0, 0, "spatial dims not smaller than the kernel");
    }
    return TN_OK;
}

TnStatus tni_plan_rule_conv_integer(const PlanCheck *c) {
    P(TnConvParams);
    TnTensor y;
    PARAM(p->channels_last == 0, "channels_last", p->channels_last);
    PARAM(p->act == TN_ACT_NONE, "act", p->act);
    for (uint32_t i = 0; i < 2; i++) {
        const TnTensor *x = &c->in[i], *z = &c->in[i + 2];
        NEED(x->dtype == TN_U8 || x->dtype == TN_I8, i, "bytes");
        if (!tni_plan_has(c, i + 2))
            continue;
        const bool channels = i == 1 && x->rank >= 1 && tni_plan_vector(z, x->dims[0]);
        NEED(z->dtype == x->dtype && (tn_tensor_numel(z) == 1 || channels), i + 2,
             "a zero point, or for the weights one for each output channel, of the type of what it belongs to");
    }
    TN_TRY(conv_dims(c, &y));
    y.dtype = TN_I32;
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_conv(const PlanCheck *c) {
    const TnTensor *x = &c->in[0], *w = &c->in[1];
    TnTensor y;
    TN_TRY(conv_dims(c, &y));
    NEED(w->dtype == x->dtype, 1, "the type of input 0");
    if (tni_plan_has(c, 2))
        NEED(c->in[2].dtype == x->dtype && tni_plan_vector(&c->in[2], w->dims[0]), 2, "a bias for each output channel");
    if (tni_plan_has(c, 3))
        NEED(tni_plan_same(&c->in[3], &y), 3, "the type and shape of the output");
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_conv_transpose(const PlanCheck *c) {
    P(TnConvParams);
    const TnTensor *x = &c->in[0], *w = &c->in[1];
    PARAM(p->n_spatial >= 1 && p->n_spatial <= 3 && !p->channels_last, "n_spatial", p->n_spatial);
    PARAM(p->act < TN_ACT_COUNT, "act", p->act);
    NEED(x->rank == (int32_t)p->n_spatial + 2, 0, "batch, channels and the spatial dims");
    NEED(w->rank == x->rank && w->dtype == x->dtype && w->dims[0] == x->dims[1], 1, "type, rank and channels of input 0");
    PARAM(p->group > 0 && x->dims[1] % p->group == 0, "group", p->group);
    TnTensor y = *x;
    NEED(tni_mul_i64(w->dims[1], p->group, &y.dims[1]), 1, "channels that fit");
    for (uint32_t i = 0; i < p->n_spatial; i++) {
        Axis a = {x->dims[2 + i], w->dims[2 + i], p->stride[i], p->dilation[i], p->pads[i], p->pads[p->n_spatial + i], p->auto_pad};
        PARAM(axis_ok(&a) && (p->kernel[i] == a.kernel || p->kernel[i] == 0), "kernel, stride, dilation or pads of axis", i);
        PARAM(p->output_pads[i] >= 0 && p->output_pads[i] < SIZE_LIMIT, "output_pads", p->output_pads[i]);
        NEED(a.n < INT32_MAX, 0, "spatial dims that fit");
        int64_t full = a.stride * (a.n - 1) + p->output_pads[i] + (a.kernel - 1) * a.dilation + 1;
        bool same = p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER;
        int64_t n = p->output_shape[i] > 0        ? p->output_shape[i]
                    : same                        ? a.n * a.stride
                    : p->auto_pad == TN_PAD_VALID ? full
                                                  : full - a.begin - a.end;
        NEED(n >= 0, 0, "spatial dims that leave a result");
        y.dims[2 + i] = n;
    }
    if (tni_plan_has(c, 2))
        NEED(c->in[2].dtype == x->dtype && tni_plan_vector(&c->in[2], y.dims[1]), 2, "a bias for each output channel");
    return tni_plan_expect_like(c, 0, &y);
}

/* ONNX before opset 19 lets the last window of ceil mode start in the padding, later versions do not: either is a valid shape, since
 * kernels clip windows to the input. */
static bool pool_dim_ok(const PlanCheck *c, const Axis *a, bool ceil_mode, int64_t have, int64_t *want) {
    *want = windows(a, ceil_mode);
    if (ceil_mode && *want > 0 && (a->auto_pad == TN_PAD_EXPLICIT || a->auto_pad == TN_PAD_VALID)) {
        int64_t begin = a->auto_pad == TN_PAD_VALID ? 0 : a->begin;
        if ((*want - 1) * a->stride >= a->n + begin) {
            if (!c->infer && have == *want)
                return true;
            --*want;
        }
    }
    return *want >= 0;
}

TnStatus tni_plan_rule_pool(const PlanCheck *c) {
    P(TnPoolParams);
    const TnTensor *x = &c->in[0];
    int32_t ch, sp;
    PARAM(p->kind <= TN_POOL_LP, "kind", p->kind);
    PARAM(p->global || (p->n_spatial >= 1 && p->n_spatial <= 3), "n_spatial", p->n_spatial);
    NEED(x->rank >= 3 && (p->global || x->rank == (int32_t)p->n_spatial + 2), 0, "batch, channels and the spatial dims");
    layout(x, p->channels_last != 0, &ch, &sp);
    TnTensor y = *x;
    for (int32_t i = 0; i < x->rank - 2; i++) {
        if (p->global) {
            y.dims[sp + i] = 1;
            continue;
        }
        Axis a = {x->dims[sp + i], p->kernel[i], p->stride[i], p->dilation[i], p->pads[i], p->pads[p->n_spatial + (uint32_t)i],
                  p->auto_pad};
        PARAM(axis_ok(&a), "kernel, stride, dilation or pads of axis", i);
        int64_t have = c->infer || c->out[0].rank != x->rank ? -1 : c->out[0].dims[sp + i];
        NEED(pool_dim_ok(c, &a, p->ceil_mode != 0, have, &y.dims[sp + i]), 0, "spatial dims not smaller than the kernel");
    }
    NEED(!p->global || tn_tensor_numel(x) > 0 || tn_tensor_numel(&y) == 0, 0, "something to pool");
    TN_TRY(tni_plan_expect_like(c, 0, &y));
    return tni_plan_expect(c, 1, TN_I64, y.rank, y.dims);
}

/* Sizes from `sizes` or `scales`; keep_aspect policies change them, so only their rank is known here. */
TnStatus tni_plan_rule_resize(const PlanCheck *c) {
    P(TnResizeParams);
    const TnTensor *x = &c->in[0];
    TnTensor y = *x;
    PARAM(p->mode <= TN_RESIZE_CUBIC && p->coord <= TN_COORD_TF_CROP_AND_RESIZE && p->nearest <= TN_NEAREST_CEIL, "mode", p->mode);
    PARAM(p->n_axes <= TN_MAX_RANK, "n_axes", p->n_axes);
    bool sizes = tni_plan_has(c, 3) && tn_tensor_numel(&c->in[3]) > 0, scales = !sizes && tni_plan_has(c, 2);
    uint32_t from = sizes ? 3 : 2, seen = 0;
    int64_t n = p->n_axes ? (int64_t)p->n_axes : x->rank;
    NEED(sizes || scales, 2, "scales or sizes");
    const TnTensor *t = &c->in[from];
    NEED(tni_plan_vector(t, n) && (n == 0 || t->data) && (sizes ? t->dtype == TN_I64 || t->dtype == TN_I32 : t->dtype == TN_F32), from,
         "a vector with an element for each axis");
    if (tni_plan_has(c, 1) && p->coord == TN_COORD_TF_CROP_AND_RESIZE)
        NEED(tni_dtype_is_float(c->in[1].dtype) && tni_plan_vector(&c->in[1], 2 * n), 1, "a vector with two elements for each axis");
    for (int64_t i = 0; i < n; i++) {
        int32_t a;
        PARAM(tni_plan_axis(p->n_axes ? p->axes[i] : (int32_t)i, x->rank, &a) && !(seen & 1u << a), "axes", i);
        seen |= 1u << a;
        double d = sizes ? 0 : floor((double)x->dims[a] * tni_load_f64(t->dtype, t->data, i));
        NEED(sizes || (d >= 0 && d < 1e15), from, "scales of 0 or more");
        y.dims[a] = sizes ? tni_load_i64(t->dtype, t->data, i) : (int64_t)d;
        NEED(y.dims[a] >= 0 && (y.dims[a] == 0 || x->dims[a] > 0), from, "sizes of 0 or more, and something to resize");
    }
    if (p->keep_aspect && sizes && c->infer) { /* one scale for all axes, the smallest or the largest */
        double best = -1;
        for (int32_t i = 0; i < x->rank; i++) {
            double s = (double)y.dims[i] / (double)TN_MAX(x->dims[i], (int64_t)1);
            if ((seen & 1u << i) && (best < 0 || (p->keep_aspect == 1 ? s < best : s > best)))
                best = s;
        }
        for (int32_t i = 0; i < x->rank && best < 1e9; i++)
            if (seen & 1u << i)
                y.dims[i] = (int64_t)floor(best * (double)x->dims[i] + 0.5);
    }
    NEED(tni_shape_bytes(TN_C128, y.rank, y.dims, NULL, NULL), from, "a result that fits");
    if (p->keep_aspect && !c->infer && c->out[0].rank == x->rank) {
        for (int32_t i = 0; i < x->rank; i++) {
            NEED(c->out[0].dims[i] == 0 || x->dims[i] > 0, 0, "something to resize");
            if (seen & 1u << i)
                y.dims[i] = c->out[0].dims[i];
        }
    }
    return tni_plan_expect_like(c, 0, &y);
}

TnStatus tni_plan_rule_roi_align(const PlanCheck *c) {
    P(TnRoiAlignParams);
    const TnTensor *x = &c->in[0], *rois = &c->in[1], *ix = &c->in[2];
    PARAM(p->output_height > 0 && p->output_height < SIZE_LIMIT && p->output_width > 0 && p->output_width < SIZE_LIMIT, "output size",
          p->output_height);
    PARAM(p->sampling_ratio >= 0 && p->sampling_ratio < 4096, "sampling_ratio", p->sampling_ratio);
    NEED(x->rank == 4 && tni_dtype_is_float(x->dtype), 0, "floats [B, C, H, W]");
    NEED(rois->dtype == x->dtype && rois->rank == 2 && rois->dims[1] == 4, 1, "[rois, 4] of the type of input 0");
    NEED(ix->dtype == TN_I64 && tni_plan_vector(ix, rois->dims[0]), 2, "an int64 for each region");
    int64_t dims[4] = {rois->dims[0], x->dims[1], p->output_height, p->output_width};
    return tni_plan_expect(c, 0, x->dtype, 4, dims);
}
