/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the resize kernels take, the tables of taps, and costs. Coordinates and weights are computed in double. */
#include "backend/cpu/resize/resize.h"

#include <math.h>

#include "base/dtype.h"

/* Position of dim d in the operator's list of axes, or -1. */
static int64_t place_of(const TnResizeParams *p, int32_t rank, int32_t d) {
    for (uint32_t i = 0; i < p->n_axes && i < TN_MAX_RANK; i++)
        if (tni_cpu_axis(p->axes[i], rank) == d)
            return (int64_t)i;
    return p->n_axes == 0 ? d : -1;
}

static bool has(const TnTensor *in, uint32_t n_in, uint32_t i) {
    return i < n_in && tni_cpu_present(&in[i]);
}
static bool has_scales(const TnTensor *in, uint32_t n_in) {
    return has(in, n_in, 2) && tn_tensor_numel(&in[2]) > 0;
}

/* The scale that dim d was given; without scales, the ratio of sizes. */
static double scale_of(const TnResizeParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *y, int32_t d) {
    int64_t i = place_of(p, in[0].rank, d);
    if (i >= 0 && has_scales(in, n_in))
        return tni_load_f64(in[2].dtype, in[2].data, i);
    return in[0].dims[d] > 0 ? (double)y->dims[d] / (double)in[0].dims[d] : 1.0;
}

/* The first of the two dims that may change (size or scale), or -1 when others change too. */
static int32_t first_changed(const TnResizeParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *y) {
    const TnTensor *x = &in[0];
    int32_t lo = x->rank, hi = -1;
    for (int32_t d = 0; d < x->rank; d++) {
        if (x->dims[d] != y->dims[d] || scale_of(p, in, n_in, y, d) != 1.0) {
            lo = TN_MIN(lo, d);
            hi = d;
        }
    }
    if (x->rank < 2 || hi - lo > 1)
        return -1;
    return hi < 0 ? x->rank - 2 : lo == hi && lo == x->rank - 1 ? lo - 1 : lo;
}

static int64_t tap_count(const TnResizeParams *p, double scale) {
    if (p->mode == TN_RESIZE_NEAREST)
        return 1;
    const double reach = p->mode == TN_RESIZE_LINEAR ? 1.0 : 2.0, stretch = p->antialias != 0 && scale < 1.0 ? scale : 1.0;
    return (int64_t)(2 * (1 - (floor(-reach / stretch) + 1)));
}

/* Which dims change must be known beforehand, so scales have to be constant; with antialiasing they also change the number of taps. */
bool tni_cpu_resize_supports(const TnKernelQuery *q) {
    const TnResizeParams *p = q->params;
    const TnTensor *x = &q->in[0], *y = &q->out[0];
    const bool scales = has_scales(q->in, q->n_in);
    if (p->coord == TN_COORD_TF_CROP_AND_RESIZE || x->dtype != y->dtype || x->rank != y->rank || !tni_cpu_copyable(x->dtype) ||
        p->keep_aspect != 0 || (scales && (q->in[2].data == NULL || p->antialias != 0)))
        return false;
    return (p->mode == TN_RESIZE_NEAREST || x->dtype == TN_F32) && first_changed(p, q->in, q->n_in, y) >= 0;
}

static int64_t most_taps(const TnResizeParams *p, int64_t in, int64_t out) {
    return tap_count(p, in > 0 ? (double)out / (double)in : 1.0);
}

/* Bounds that grow with every dim: an antialiased table has at most 2 (1 + reach in / out) taps an output. */
size_t tni_cpu_resize_scratch(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0], *y = &q->out[0];
    const uint32_t mode = ((const TnResizeParams *)q->params)->mode;
    const size_t reach = mode == TN_RESIZE_CUBIC ? 2 : 1;
    size_t bytes = 256, row = 1;
    for (int32_t d = 0; d < x->rank; d++) {
        size_t in = (size_t)x->dims[d], out = (size_t)y->dims[d],
               taps = mode == TN_RESIZE_NEAREST ? out : out * (2 + 2 * reach) + 2 * reach * in;
        bytes += taps * (sizeof(int64_t) + sizeof(float)) + 64;
        row *= d > 0 ? in : 1;
    }
    return bytes + (mode == TN_RESIZE_NEAREST ? 0 : (row * sizeof(float) + 64) * q->threads);
}

/* ---- coordinates ---- */
static double source(const TnResizeParams *p, const TnResizeAxis *a, int64_t o) {
    const double x = (double)o, in = (double)a->in, out = (double)a->out;
    switch (p->coord) {
    case TN_COORD_HALF_PIXEL_SYMMETRIC:
        return in / 2 * (1 - out / a->length) + (x + 0.5) / a->scale - 0.5;
    case TN_COORD_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / a->scale - 0.5 : 0.0;
    case TN_COORD_ALIGN_CORNERS:
        return out > 1 ? x * (in - 1) / (out - 1) : 0.0;
    case TN_COORD_ASYMMETRIC:
        return x / a->scale;
    default:
        return (x + 0.5) / a->scale - 0.5;
    }
}

static double round_nearest(uint32_t how, double c) {
    switch (how) {
    case TN_NEAREST_ROUND_PREFER_FLOOR:
        return ceil(c - 0.5);
    case TN_NEAREST_ROUND_PREFER_CEIL:
        return floor(c + 0.5);
    case TN_NEAREST_FLOOR:
        return floor(c);
    default:
        return ceil(c);
    }
}

static double kernel_at(const TnResizeParams *p, double t) {
    const double a = (double)p->cubic_a;
    t = fabs(t);
    if (p->mode == TN_RESIZE_LINEAR)
        return t < 1.0 ? 1.0 - t : 0.0;
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0.0;
}

static void table_row(const TnResizeParams *p, TnResizeAxis *a, int64_t o) {
    const double in = (double)a->in;
    int64_t *index = a->index + o * a->taps;
    float *weight = a->weight + o * a->taps;
    double c = source(p, a, o), sum = 0.0;
    if (p->mode == TN_RESIZE_NEAREST) {
        index[0] = (int64_t)fmin(fmax(round_nearest(p->nearest, c), 0.0), in - 1);
        weight[0] = 1.0f;
        return;
    }
    const double stretch = p->antialias != 0 && a->scale < 1.0 ? a->scale : 1.0;
    c = fmin(fmax(c, -2 * in - 8), 3 * in + 8);
    const int64_t first = (int64_t)(floor(c) + floor(-(p->mode == TN_RESIZE_LINEAR ? 1.0 : 2.0) / stretch) + 1);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t k = 0; k < a->taps; k++) {
            const int64_t i = first + k;
            const bool drop = p->exclude_outside != 0 && (i < 0 || i >= a->in);
            const double w = drop ? 0.0 : kernel_at(p, ((double)i - c) * stretch);
            if (pass == 0)
                sum += w;
            index[k] = TN_MIN(TN_MAX(i, 0), a->in - 1);
            weight[k] = (float)(w / sum);
        }
    }
}

TnStatus tni_cpu_resize_plan(const TnKernelCall *call, TnResizePlan *plan) {
    const TnResizeParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const int32_t a = first_changed(p, call->in, call->n_in, y);
    char *at = call->scratch;
    if (a < 0)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "resize: more than two neighbouring axes change size");
    *plan = (TnResizePlan){.outer = tni_cpu_span(x, 0, a), .inner = tni_cpu_span(x, a + 2, x->rank)};
    for (int j = 0; j < 2; j++) {
        TnResizeAxis *r = &plan->axis[j];
        const int64_t i = place_of(p, x->rank, a + j);
        r->in = x->dims[a + j];
        r->out = y->dims[a + j];
        if (i >= 0 && r->out > 0 && r->in == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: axis %d has no elements to take values from", (int)(a + j));
        r->scale = scale_of(p, call->in, call->n_in, y, a + j);
        r->length = r->scale * (double)r->in;
        if (i >= 0 && !(r->scale > 0.0) && r->out > 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: the scale of axis %d is %g, expected more than 0", (int)(a + j), r->scale);
        const bool same = r->in == r->out && (i < 0 || r->scale == 1.0);
        r->taps = same ? 1 : most_taps(p, r->in, r->out);
        r->index = (int64_t *)(void *)at;
        r->weight = (float *)(void *)(r->index + r->out * r->taps);
        at = (char *)(r->weight + r->out * r->taps);
        at = (char *)call->scratch + tni_align_up((size_t)(at - (char *)call->scratch), 64);
        for (int64_t o = 0; o < r->out; o++) {
            if (same) {
                r->index[o] = o;
                r->weight[o] = 1.0f;
            } else {
                table_row(p, r, o);
            }
        }
    }
    plan->row = (float *)(void *)at;
    return TN_OK;
}

double tni_cpu_resize_cost_scalar(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 6.0);
}
double tni_cpu_resize_cost_avx2(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 3.0);
}
double tni_cpu_resize_cost_avx512(const TnKernelQuery *q) {
    return tni_cpu_cost(q, 2.5);
}
