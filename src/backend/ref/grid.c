/* SPDX-License-Identifier: Apache-2.0
 *
 * grid_sample in one to three dimensions: a coordinate becomes a place between pixels, places outside are moved inside as the padding says
 * (zeros: they stay outside), and the pixels around are weighted axis by axis. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Grid {
    const TnTensor *x, *g, *y;
    const TnGridSampleParams *p;
    int32_t n;       /* spatial axes */
    int64_t size[3]; /* of the image */
    int64_t out, in; /* places and pixels of one image */
} Grid;

static double place_of(const Grid *m, double v, int64_t size) {
    return m->p->align_corners ? (v + 1.0) / 2.0 * (double)(size - 1) : ((v + 1.0) * (double)size - 1.0) / 2.0;
}

/* Mirrored at the borders until it is inside. */
static double reflect(const Grid *m, double v, int64_t size) {
    const double lo = m->p->align_corners ? 0.0 : -0.5, hi = (double)size - (m->p->align_corners ? 1.0 : 0.5), span = hi - lo;
    if (!(span > 0))
        return 0.0;
    const double d = fabs(v - lo), turns = floor(d / span), r = d - turns * span;
    return fmod(turns, 2.0) == 0.0 ? lo + r : hi - r;
}

static double inside(const Grid *m, double v, int64_t size) {
    const double last = (double)(size - 1);
    if (v != v)
        return m->p->padding == TN_GRID_ZEROS ? -2.0 : 0.0;
    if (m->p->padding == TN_GRID_BORDER)
        return fmax(0.0, fmin(last, v));
    if (m->p->padding == TN_GRID_REFLECTION)
        return fabs(v) > 1e15 ? 0.0 : reflect(m, v, size);
    return fmax(-1e9, fmin(1e9, v)); /* far outside: zeros anyway */
}

/* Pixel k of an axis after padding; -1: none. */
static int64_t pixel_of(const Grid *m, int64_t k, int64_t size) {
    if (k >= 0 && k < size)
        return k;
    if (m->p->padding == TN_GRID_ZEROS)
        return -1;
    double v = m->p->padding == TN_GRID_BORDER ? fmax(0.0, fmin((double)(size - 1), (double)k)) : reflect(m, (double)k, size);
    return TN_MAX(0, TN_MIN(size - 1, (int64_t)v));
}

/* The taps of one axis around place v: pixels and weights. */
static int taps(const Grid *m, double v, int64_t size, int64_t *pixel, double *weight) {
    if (m->p->mode == TN_GRID_NEAREST) {
        pixel[0] = pixel_of(m, (int64_t)v, size);
        weight[0] = 1.0;
        return 1;
    }
    const int64_t first = (int64_t)floor(v);
    const double t = v - (double)first;
    if (m->p->mode == TN_GRID_LINEAR) {
        for (int k = 0; k < 2; k++) {
            pixel[k] = pixel_of(m, first + k, size);
            weight[k] = k == 0 ? 1.0 - t : t;
        }
        return 2;
    }
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        const double d = fabs(t - (double)(k - 1));
        pixel[k] = pixel_of(m, first + k - 1, size);
        weight[k] = d <= 1.0 ? ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0 : ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    }
    return 4;
}

/* One place of one image: its taps on every axis (missing axes: one tap of weight 1). */
typedef struct Taps {
    int count[3];
    int64_t pixel[3][4];
    double weight[3][4];
} Taps;

static void taps_of(const Grid *m, int64_t first, Taps *t) {
    for (int32_t a = 0; a < 3; a++) {
        t->count[a] = 1;
        t->pixel[a][0] = 0;
        t->weight[a][0] = 1.0;
        if (a >= m->n)
            continue;
        const int64_t size = m->size[a];
        double v = place_of(m, tni_load_f64(m->g->dtype, m->g->data, first + m->n - 1 - a), size);
        if (m->p->mode == TN_GRID_NEAREST)
            v = nearbyint(v);
        t->count[a] = taps(m, inside(m, v, size), size, t->pixel[a], t->weight[a]);
    }
}

static double sample(const Grid *m, int64_t plane, const Taps *t) {
    const int64_t s1 = m->n > 1 ? m->size[1] : 1, s2 = m->n > 2 ? m->size[2] : 1;
    double sum = 0.0;
    for (int i = 0; i < t->count[0]; i++)
        for (int j = 0; j < t->count[1]; j++)
            for (int k = 0; k < t->count[2]; k++) {
                const int64_t a = t->pixel[0][i], b = t->pixel[1][j], c = t->pixel[2][k];
                if (a < 0 || b < 0 || c < 0)
                    continue;
                const double w = t->weight[0][i] * t->weight[1][j] * t->weight[2][k];
                sum += w * tni_load_f64(m->x->dtype, m->x->data, plane * m->in + (a * s1 + b) * s2 + c);
            }
    return sum;
}

static void grid_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Grid *m = ctx;
    const int64_t C = m->x->dims[1];
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        Taps t;
        taps_of(m, i * m->n, &t);
        const int64_t b = i / m->out, o = i % m->out;
        for (int64_t c = 0; c < C; c++)
            tni_store_f64(m->y->dtype, m->y->data, (b * C + c) * m->out + o, sample(m, b * C + c, &t));
    }
}

TnStatus tni_ref_grid_sample(TnKernelCall *call) {
    Grid m = {.x = &call->in[0], .g = &call->in[1], .y = &call->out[0], .p = call->params, .n = call->in[0].rank - 2};
    if (m.n < 1 || m.n > 3 || m.g->rank != m.x->rank || m.g->dims[m.n + 1] != m.n)
        return tni_ref_bad_call(call, "grid_sample", "a grid that does not fit the image");
    for (int32_t a = 0; a < m.n; a++)
        m.size[a] = m.x->dims[2 + a];
    m.in = tni_ref_product_of(m.x->dims, 2, m.x->rank);
    m.out = tni_ref_product_of(m.y->dims, 2, m.y->rank);
    if (m.in == 0 && tn_tensor_numel(m.y) > 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "grid_sample: the image has no pixels");
    tni_ref_ranges(call->threads, m.x->dims[0] * m.out, 16, grid_range, &m);
    return TN_OK;
}
