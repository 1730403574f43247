/* SPDX-License-Identifier: Apache-2.0
 *
 * resize: nearest by copying; linear and cubic one axis after the other between two buffers of doubles. Coordinates in double. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Resize {
    const TnKernelCall *call;
    const TnResizeParams *p;
    const TnTensor *x, *y;
    double scale[TN_MAX_RANK], roi_start[TN_MAX_RANK], roi_end[TN_MAX_RANK];
    double length[TN_MAX_RANK]; /* output size before rounding (half_pixel_symmetric) */
} Resize;

/* Input coordinate of output coordinate o. */
static double source(const Resize *r, int32_t d, int64_t o) {
    const double x = (double)o, s = r->scale[d], in = (double)r->x->dims[d], out = (double)r->y->dims[d];
    switch (r->p->coord) {
    case TN_COORD_HALF_PIXEL:
        return (x + 0.5) / s - 0.5;
    case TN_COORD_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - out / r->length[d]) + (x + 0.5) / s - 0.5;
    case TN_COORD_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / s - 0.5 : 0.0;
    case TN_COORD_ALIGN_CORNERS:
        return out > 1 ? x * (in - 1) / (out - 1) : 0.0;
    case TN_COORD_ASYMMETRIC:
        return x / s;
    default: /* tf_crop_and_resize */
        if (out > 1)
            return r->roi_start[d] * (in - 1) + x * (r->roi_end[d] - r->roi_start[d]) * (in - 1) / (out - 1);
        return 0.5 * (r->roi_start[d] + r->roi_end[d]) * (in - 1);
    }
}

static bool outside(const Resize *r, int32_t d, double c) {
    return r->p->coord == TN_COORD_TF_CROP_AND_RESIZE && !(c >= 0.0 && c <= (double)(r->x->dims[d] - 1));
}

static bool touched(const Resize *r, int32_t d) {
    if (r->p->n_axes == 0)
        return true;
    for (uint32_t i = 0; i < r->p->n_axes && i < TN_MAX_RANK; i++)
        if (tni_ref_axis(r->p->axes[i], r->x->rank) == d)
            return true;
    return false;
}

/* An axis that stays as it is. */
static bool same(const Resize *r, int32_t d) {
    return r->x->dims[d] == r->y->dims[d] && (!touched(r, d) || (r->scale[d] == 1.0 && r->p->coord != TN_COORD_TF_CROP_AND_RESIZE));
}

static int64_t nearest(const Resize *r, int32_t d, int64_t o) {
    double c = source(r, d, o), n;
    switch (r->p->nearest) {
    case TN_NEAREST_ROUND_PREFER_FLOOR:
        n = ceil(c - 0.5);
        break;
    case TN_NEAREST_ROUND_PREFER_CEIL:
        n = floor(c + 0.5);
        break;
    case TN_NEAREST_FLOOR:
        n = floor(c);
        break;
    default:
        n = ceil(c);
    }
    return (int64_t)fmin(fmax(n, 0.0), (double)(r->x->dims[d] - 1));
}

static double kernel_at(const TnResizeParams *p, double t) {
    t = fabs(t);
    if (p->mode == TN_RESIZE_LINEAR)
        return fmax(0.0, 1.0 - t);
    const double a = (double)p->cubic_a;
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0.0;
}

/* The taps of one output coordinate: input first .. first + n - 1 (may lie outside), tap k weighs kernel((first + k - c) * stretch). */
typedef struct Taps {
    int64_t first, n;
    double c, stretch, sum;
} Taps;

static double weight(const Resize *r, int32_t d, const Taps *t, int64_t k) {
    int64_t i = t->first + k;
    if (r->p->exclude_outside != 0 && (i < 0 || i >= r->x->dims[d]))
        return 0.0;
    return kernel_at(r->p, ((double)i - t->c) * t->stretch);
}

static Taps taps_of(const Resize *r, int32_t d, int64_t o) {
    Taps t = {.c = source(r, d, o), .stretch = 1.0};
    const double reach = r->p->mode == TN_RESIZE_LINEAR ? 1.0 : 2.0, in = (double)r->x->dims[d];
    if (r->p->antialias != 0 && r->scale[d] < 1.0)
        t.stretch = r->scale[d];
    t.c = fmin(fmax(t.c, -2 * in - 8), 3 * in + 8); /* a wild region of interest: all taps are clamped anyway */
    const double base = floor(t.c), start = floor(-reach / t.stretch) + 1;
    t.first = (int64_t)(base + start);
    t.n = (int64_t)(2 * (1 - start)); /* symmetric around the gap between base and base + 1 */
    for (int64_t k = 0; k < t.n; k++)
        t.sum += weight(r, d, &t, k);
    return t;
}

/* dst = src resampled along axis d; dims[] are src's, dims[d] becomes the output's. */
static void resample(const Resize *r, int32_t d, const double *src, double *dst, int64_t *dims) {
    const int64_t outer = tni_ref_product_of(dims, 0, d), n = dims[d], inner = tni_ref_product_of(dims, d + 1, r->x->rank);
    const int64_t out = r->y->dims[d];
    for (int64_t o = 0; o < out; o++) {
        Taps t = taps_of(r, d, o);
        for (int64_t u = 0; u < outer; u++)
            memset(dst + (u * out + o) * inner, 0, (size_t)inner * sizeof(double));
        for (int64_t k = 0; k < t.n; k++) {
            const double w = weight(r, d, &t, k) / t.sum;
            const int64_t i = t.first + k < 0 ? 0 : TN_MIN(t.first + k, n - 1);
            for (int64_t u = 0; w != 0.0 && u < outer; u++) {
                const double *s = src + (u * n + i) * inner;
                double *y = dst + (u * out + o) * inner;
                for (int64_t v = 0; v < inner; v++)
                    y[v] += w * s[v];
            }
        }
    }
    dims[d] = out;
}

/* Outputs whose source lies outside the region: the extrapolation value (tf_crop_and_resize). */
static void extrapolate(const Resize *r) {
    const int64_t total = tn_tensor_numel(r->y);
    for (int64_t i = 0; i < total && r->p->coord == TN_COORD_TF_CROP_AND_RESIZE; i++) {
        int64_t rest = i;
        bool out = false;
        for (int32_t d = r->y->rank - 1; d >= 0; d--) {
            int64_t o = rest % r->y->dims[d];
            rest /= r->y->dims[d];
            out = out || (touched(r, d) && outside(r, d, source(r, d, o)));
        }
        if (out)
            tni_store_f64(r->y->dtype, r->y->data, i, (double)r->p->extrapolation);
    }
}

static void resize_nearest(const Resize *r) {
    const int64_t total = tn_tensor_numel(r->y);
    const uint32_t bits = tn_dtype_bits(r->x->dtype);
    int64_t strides[TN_MAX_RANK];
    tni_ref_strides(r->x->rank, r->x->dims, strides);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, from = 0;
        for (int32_t d = r->y->rank - 1; d >= 0; d--) {
            int64_t o = rest % r->y->dims[d];
            rest /= r->y->dims[d];
            from += (same(r, d) ? o : nearest(r, d, o)) * strides[d];
        }
        tni_ref_copy_run(bits, r->y->data, i, r->x->data, from, 1);
    }
    extrapolate(r);
}

/* Elements of the largest tensor on the way: every axis may have its old or its new size. */
static int64_t largest(const TnTensor *x, const TnTensor *y) {
    int64_t n = 1;
    for (int32_t d = 0; d < x->rank; d++)
        n *= TN_MAX(x->dims[d], y->dims[d]);
    return n;
}

size_t tni_ref_resize_scratch(const TnKernelQuery *q) {
    if (((const TnResizeParams *)q->params)->mode == TN_RESIZE_NEAREST)
        return 0;
    return (size_t)largest(&q->in[0], &q->out[0]) * 2 * sizeof(double);
}

/* Where the operator's list of axes (or all) has axis d: position in roi, scales and sizes. */
static int64_t place_of(const TnResizeParams *p, int32_t rank, int32_t d) {
    for (uint32_t i = 0; i < p->n_axes && i < TN_MAX_RANK; i++)
        if (tni_ref_axis(p->axes[i], rank) == d)
            return (int64_t)i;
    return p->n_axes == 0 ? d : -1;
}

static TnStatus setup(TnKernelCall *call, Resize *r) {
    const TnTensor *x = r->x, *y = r->y, *roi = &call->in[1], *scales = &call->in[2], *sizes = &call->in[3];
    const int64_t n = r->p->n_axes == 0 ? (int64_t)x->rank : (int64_t)r->p->n_axes;
    const bool by_scale = tni_ref_has(call, 2) && tn_tensor_numel(scales) > 0, by_size = !by_scale && tni_ref_has(call, 3);
    if (x->rank != y->rank || (by_scale && tn_tensor_numel(scales) != n) || (by_size && tn_tensor_numel(sizes) != n) ||
        (r->p->coord == TN_COORD_TF_CROP_AND_RESIZE && (!tni_ref_has(call, 1) || tn_tensor_numel(roi) != 2 * n)))
        return tni_ref_bad_call(call, "resize", "as many scales, sizes or regions as axes missing");
    double common = 0.0; /* keep_aspect: one scale for all axes */
    for (int32_t d = 0; d < x->rank && by_size && r->p->keep_aspect != 0; d++) {
        int64_t i = place_of(r->p, x->rank, d);
        if (i < 0)
            continue;
        double s = (double)tni_load_i64(sizes->dtype, sizes->data, i) / (double)x->dims[d];
        common = common == 0.0 ? s : r->p->keep_aspect == 1 ? fmin(common, s) : fmax(common, s);
    }
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t i = place_of(r->p, x->rank, d);
        if (i >= 0 && y->dims[d] > 0 && x->dims[d] == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: axis %d has no elements to take values from", (int)d);
        r->scale[d] = x->dims[d] > 0 ? (double)y->dims[d] / (double)x->dims[d] : 1.0;
        if (i >= 0 && by_scale)
            r->scale[d] = tni_load_f64(scales->dtype, scales->data, i);
        else if (i >= 0 && common > 0.0)
            r->scale[d] = common;
        r->length[d] = r->scale[d] * (double)x->dims[d];
        if (i >= 0 && !(r->scale[d] > 0.0) && y->dims[d] > 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: the scale of axis %d is %g, expected more than 0", (int)d, r->scale[d]);
        if (i >= 0 && r->p->coord == TN_COORD_TF_CROP_AND_RESIZE) {
            r->roi_start[d] = tni_load_f64(roi->dtype, roi->data, i);
            r->roi_end[d] = tni_load_f64(roi->dtype, roi->data, i + n);
        }
    }
    return TN_OK;
}

TnStatus tni_ref_resize(TnKernelCall *call) {
    Resize r = {.call = call, .p = call->params, .x = &call->in[0], .y = &call->out[0]};
    TN_TRY(setup(call, &r));
    if (tn_tensor_numel(r.y) == 0)
        return TN_OK;
    if (r.p->mode == TN_RESIZE_NEAREST) {
        resize_nearest(&r);
        return TN_OK;
    }
    const int64_t most = largest(r.x, r.y);
    TN_TRY(tni_ref_need_scratch(call, "resize", (size_t)most * 2 * sizeof(double)));
    double *a = call->scratch, *b = a + most;
    int64_t dims[TN_MAX_RANK];
    memcpy(dims, r.x->dims, sizeof dims);
    tni_ref_load_f64(r.x->dtype, r.x->data, 0, 1, tn_tensor_numel(r.x), a);
    for (int32_t d = 0; d < r.x->rank; d++) {
        if (same(&r, d))
            continue;
        resample(&r, d, a, b, dims);
        double *t = a;
        a = b;
        b = t;
    }
    if (tni_ref_exact(r.y->dtype))
        for (int64_t i = 0; i < tn_tensor_numel(r.y); i++)
            a[i] = nearbyint(a[i]);
    tni_ref_store_f64(r.y->dtype, r.y->data, 0, 1, tn_tensor_numel(r.y), a);
    extrapolate(&r);
    return TN_OK;
}
