/* SPDX-License-Identifier: Apache-2.0
 *
 * deform_conv, roi_pool, col2im. */
#include <math.h>

#include "backend/ref/ref.h"

/* ---- deform_conv ---- */
typedef struct Deform {
    const TnKernelCall *call;
    const TnDeformConvParams *p;
    const TnTensor *x, *w, *y;
} Deform;

static double pixel(const Deform *m, int64_t plane, int64_t i, int64_t j) {
    const int64_t H = m->x->dims[2], W = m->x->dims[3];
    return i < 0 || j < 0 || i >= H || j >= W ? 0.0 : tni_load_f64(m->x->dtype, m->x->data, (plane * H + i) * W + j);
}

static double bilinear(const Deform *m, int64_t plane, double y, double x) {
    if (!(y > -1.0 && x > -1.0 && y < (double)m->x->dims[2] && x < (double)m->x->dims[3]))
        return 0.0;
    const int64_t i = (int64_t)floor(y), j = (int64_t)floor(x);
    const double a = y - (double)i, b = x - (double)j;
    return (1 - a) * (1 - b) * pixel(m, plane, i, j) + (1 - a) * b * pixel(m, plane, i, j + 1) + a * (1 - b) * pixel(m, plane, i + 1, j) +
           a * b * pixel(m, plane, i + 1, j + 1);
}

static void deform_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Deform *m = ctx;
    const TnKernelCall *call = m->call;
    const TnTensor *offset = &call->in[2];
    const int64_t C = m->x->dims[1], M = m->w->dims[0], Cg = m->w->dims[1], kh = m->w->dims[2], kw = m->w->dims[3], h = m->y->dims[2],
                  w = m->y->dims[3], og = m->p->offset_groups, per_group = C / og;
    (void)worker;
    for (int64_t e = first; e < last; e++) {
        const int64_t ox = e % w, oy = e / w % h, o = e / w / h % M, b = e / w / h / M;
        double sum = tni_ref_has(call, 3) ? tni_load_f64(call->in[3].dtype, call->in[3].data, o) : 0.0;
        for (int64_t k = 0; k < Cg * kh * kw; k++) {
            const int64_t kx = k % kw, ky = k / kw % kh, c = o / (M / m->p->group) * Cg + k / kw / kh;
            const int64_t tap = (c / per_group * kh + ky) * kw + kx; /* of the offset group */
            const int64_t place = ((b * og * kh * kw + tap) * 2 * h + oy) * w + ox;
            double factor = 1.0;
            if (tni_ref_has(call, 4))
                factor = tni_load_f64(call->in[4].dtype, call->in[4].data, ((b * og * kh * kw + tap) * h + oy) * w + ox);
            const double y =
                (double)(oy * m->p->stride[0] - m->p->pads[0] + ky * m->p->dilation[0]) + tni_load_f64(offset->dtype, offset->data, place);
            const double x = (double)(ox * m->p->stride[1] - m->p->pads[1] + kx * m->p->dilation[1]) +
                             tni_load_f64(offset->dtype, offset->data, place + h * w);
            sum += tni_load_f64(m->w->dtype, m->w->data, o * Cg * kh * kw + k) * factor * bilinear(m, b * C + c, y, x);
        }
        tni_store_f64(m->y->dtype, m->y->data, e, sum);
    }
}

TnStatus tni_ref_deform_conv(TnKernelCall *call) {
    Deform m = {call, call->params, &call->in[0], &call->in[1], &call->out[0]};
    if (m.p->group < 1 || m.p->offset_groups < 1 || m.w->dims[0] % m.p->group != 0 || m.x->dims[1] % m.p->offset_groups != 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "deform_conv: the groups do not divide the channels");
    tni_ref_ranges(call->threads, tn_tensor_numel(m.y), 64, deform_range, &m);
    return TN_OK;
}

/* ---- roi_pool ---- */
typedef struct Roi {
    const TnTensor *x, *rois, *y;
    const TnRoiPoolParams *p;
} Roi;

/* Pixels [*from, *to) of bin i of n over `size` pixels that start at `start`. */
static void bin(int64_t start, int64_t size, int64_t n, int64_t i, int64_t limit, int64_t *from, int64_t *to) {
    const double each = (double)size / (double)n;
    *from = TN_MIN(TN_MAX((int64_t)floor((double)i * each) + start, 0), limit);
    *to = TN_MIN(TN_MAX((int64_t)ceil((double)(i + 1) * each) + start, 0), limit);
}

TnStatus tni_ref_roi_pool(TnKernelCall *call) {
    Roi m = {&call->in[0], &call->in[1], &call->out[0], call->params};
    const int64_t C = m.x->dims[1], H = m.x->dims[2], W = m.x->dims[3], ph = m.p->height, pw = m.p->width;
    for (int64_t e = 0; e < tn_tensor_numel(m.y); e++) {
        const int64_t j = e % pw, i = e / pw % ph, c = e / pw / ph % C, r = e / pw / ph / C;
        double v[5], best = -INFINITY;
        tni_ref_load_f64(m.rois->dtype, m.rois->data, 5 * r, 1, 5, v);
        for (int k = 1; k < 5; k++)
            v[k] = round(TN_MAX(-1e9, TN_MIN(1e9, v[k] * (double)m.p->scale)));
        if (!(v[0] >= 0 && v[0] < (double)m.x->dims[0]))
            return tni_ref_bad_index(call, "roi_pool", (int64_t)TN_MAX(-1e9, TN_MIN(1e9, v[0])), 0, m.x->dims[0]);
        int64_t y0, y1, x0, x1;
        bin((int64_t)v[2], TN_MAX((int64_t)(v[4] - v[2]) + 1, 1), ph, i, H, &y0, &y1);
        bin((int64_t)v[1], TN_MAX((int64_t)(v[3] - v[1]) + 1, 1), pw, j, W, &x0, &x1);
        for (int64_t y = y0; y < y1; y++)
            for (int64_t x = x0; x < x1; x++)
                best = fmax(best, tni_load_f64(m.x->dtype, m.x->data, (((int64_t)v[0] * C + c) * H + y) * W + x));
        tni_store_f64(m.y->dtype, m.y->data, e, y1 > y0 && x1 > x0 ? best : 0.0);
    }
    return TN_OK;
}

/* ---- col2im: every pixel gathers what the blocks say about it ---- */
typedef struct Fold {
    const TnCol2ImParams *p;
    uint32_t n;
    int64_t image[3], block[3], places[3], taps, all_places;
} Fold;

/* Adds up the elements of column matrix (plane) that fall on pixel `at`. */
static void gather_pixel(const TnTensor *x, const Fold *f, int64_t plane, const int64_t *at, double *sum, uint64_t *whole) {
    for (int64_t tap = 0; tap < f->taps; tap++) {
        int64_t rest = tap, place = 0, stride = 1;
        bool hit = true;
        for (uint32_t k = f->n; k-- > 0 && hit;) {
            const int64_t t = rest % f->block[k], from = at[k] + f->p->pads[k] - t * f->p->dilation[k];
            rest /= f->block[k];
            hit = from >= 0 && from % f->p->stride[k] == 0 && from / f->p->stride[k] < f->places[k];
            place += from / f->p->stride[k] * stride;
            stride *= f->places[k];
        }
        if (!hit)
            continue;
        const int64_t i = (plane * f->taps + tap) * f->all_places + place;
        *sum += tni_load_f64(x->dtype, x->data, i);
        *whole += (uint64_t)tni_load_i64(x->dtype, x->data, i);
    }
}

TnStatus tni_ref_col2im(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    Fold f = {.p = call->params, .taps = 1, .all_places = 1};
    f.n = f.p->n_spatial;
    for (uint32_t k = 0; k < f.n; k++) {
        f.image[k] = tni_load_i64(call->in[1].dtype, call->in[1].data, k);
        f.block[k] = tni_load_i64(call->in[2].dtype, call->in[2].data, k);
        f.places[k] = (f.image[k] + f.p->pads[k] + f.p->pads[f.n + k] - f.p->dilation[k] * (f.block[k] - 1) - 1) / f.p->stride[k] + 1;
        f.taps *= f.block[k];
        f.all_places *= f.places[k];
    }
    if (f.taps < 1 || f.all_places < 1 || x->dims[1] % f.taps != 0 || x->dims[2] != f.all_places)
        return TN_RAISE(call->err, TN_ERR_RUN, "col2im: %lld columns of %lld numbers do not make this image", (long long)x->dims[2],
                        (long long)x->dims[1]);
    for (int64_t e = 0; e < tn_tensor_numel(y); e++) {
        int64_t rest = e, at[3] = {0};
        double sum = 0.0;
        uint64_t whole = 0;
        for (uint32_t k = f.n; k-- > 0;) {
            at[k] = rest % f.image[k];
            rest /= f.image[k];
        }
        gather_pixel(x, &f, rest, at, &sum, &whole);
        if (tni_ref_exact(x->dtype))
            tni_store_i64(y->dtype, y->data, e, (int64_t)whole);
        else
            tni_store_f64(y->dtype, y->data, e, sum);
    }
    return TN_OK;
}
