/* SPDX-License-Identifier: Apache-2.0
 *
 * roi_align: which calls the kernels take, geometry of a region, its tables, and a channel computed point by point. Coordinates and weights are
 * computed in double, in the order of the reference, so that both agree on what lies outside. */
#include <math.h>

#include "backend/cpu/detect/detect.h"

#include "base/dtype.h"

#define MOST_POINTS 1048576.0 /* a bin's points along a side */
#define MOST_BINS 4096

bool tni_cpu_roi_supports(const TnKernelQuery *q) {
    const TnRoiAlignParams *p = q->params;
    const TnTensor *x = &q->in[0], *rois = &q->in[1], *y = &q->out[0];
    return p->max_mode == 0 && x->dtype == TN_F32 && rois->dtype == TN_F32 && y->dtype == TN_F32 && x->rank == 4 && rois->rank == 2 &&
           y->rank == 4 && p->output_height >= 1 && p->output_width >= 1 && p->output_height <= MOST_BINS && p->output_width <= MOST_BINS;
}

/* ---- scratch memory: one part a worker ---- */
static int64_t pitch_of(const TnRoiAlignParams *p) {
    return (p->output_width + TN_ROI_LANES - 1) / TN_ROI_LANES * TN_ROI_LANES;
}

/* Lays the tables out from `at`; returns the bytes of them. */
static size_t lay_out(const TnRoiAlignParams *p, int64_t H, int64_t W, char *at, TnRoiTables *t) {
    const size_t h = (size_t)TN_MAX(H, 0), w = (size_t)TN_MAX(W, 0), bins = (size_t)p->output_height, pitch = (size_t)pitch_of(p);
    const size_t sizes[] = {bins * sizeof(int64_t),        bins * h * sizeof(int32_t), bins * h * sizeof(float),
                            w * pitch * sizeof(float),     pitch * sizeof(int32_t),    pitch * sizeof(int32_t),
                            bins * (w + TN_ROI_LANES) * sizeof(float), (h + w) * sizeof(double),   h + w};
    size_t offset[TN_COUNT(sizes) + 1] = {0};
    for (size_t i = 0; i < TN_COUNT(sizes); i++)
        offset[i + 1] = tni_align_up(offset[i] + sizes[i], 64);
    if (at != NULL)
        *t = (TnRoiTables){.rows = (void *)(at + offset[0]),
                           .row = (void *)(at + offset[1]),
                           .row_w = (void *)(at + offset[2]),
                           .col_w = (void *)(at + offset[3]),
                           .from = (void *)(at + offset[4]),
                           .to = (void *)(at + offset[5]),
                           .sums = (void *)(at + offset[6]),
                           .line = (void *)(at + offset[7]),
                           .seen = (void *)(at + offset[8]),
                           .pitch = (int64_t)pitch};
    return offset[TN_COUNT(sizes)];
}

size_t tni_cpu_roi_scratch(const TnKernelQuery *q) {
    return lay_out(q->params, q->in[0].dims[2], q->in[0].dims[3], NULL, NULL) * q->threads;
}

void tni_cpu_roi_tables_at(const TnRoiShape *s, void *scratch, uint32_t worker, TnRoiTables *t) {
    const size_t bytes = lay_out(s->p, s->H, s->W, NULL, NULL);
    lay_out(s->p, s->H, s->W, (char *)scratch + bytes * worker, t);
    memset(t->seen, 0, (size_t)(s->H + s->W));
    memset(t->line, 0, (size_t)(s->H + s->W) * sizeof *t->line);
}

TnStatus tni_cpu_roi_check(const TnKernelCall *call, TnRoiShape *s) {
    const TnTensor *x = &call->in[0], *rois = &call->in[1], *batch = &call->in[2];
    const TnRoiAlignParams *p = call->params;
    *s = (TnRoiShape){x->data, x->dims[1], x->dims[2], x->dims[3], p->output_height, p->output_width, p};
    if (rois->dims[1] != 4 || tn_tensor_numel(batch) != rois->dims[0])
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "roi_align: operands whose shapes do not fit");
    for (int64_t i = 0; i < rois->dims[0]; i++) {
        const int64_t b = tni_load_i64(batch->dtype, batch->data, i);
        if (b < 0 || b >= x->dims[0])
            return TN_RAISE(call->err, TN_ERR_RUN, "roi_align: batch index %lld of region %lld is out of range for axis 0 of size %lld",
                            (long long)b, (long long)i, (long long)x->dims[0]);
    }
    if (call->scratch_bytes < lay_out(p, s->H, s->W, NULL, NULL) * tni_threads_count(call->threads))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "roi_align: too little scratch memory");
    return TN_OK;
}

/* ---- geometry ---- */
static int64_t points(const TnRoiAlignParams *p, double bin) {
    return p->sampling_ratio > 0 ? p->sampling_ratio : (int64_t)fmin(fmax(ceil(bin), 0.0), MOST_POINTS);
}

TnRoiBox tni_cpu_roi_box(const TnRoiShape *s, const float roi[4]) {
    const TnRoiAlignParams *p = s->p;
    const double offset = p->aligned != 0 ? 0.5 : 0.0, scale = (double)p->spatial_scale;
    TnRoiBox b = {.x = (double)roi[0] * scale - offset, .y = (double)roi[1] * scale - offset};
    double w = (double)roi[2] * scale - offset - b.x, h = (double)roi[3] * scale - offset - b.y;
    if (p->aligned == 0) {
        w = fmax(w, 1.0);
        h = fmax(h, 1.0);
    }
    b.bin_h = h / (double)s->out_h;
    b.bin_w = w / (double)s->out_w;
    b.grid_h = points(p, b.bin_h);
    b.grid_w = points(p, b.bin_w);
    /* Points of an infinite or unknown place are outside. */
    b.nothing = b.grid_h < 1 || b.grid_w < 1 || !isfinite(b.y) || !isfinite(b.x) || !isfinite(b.bin_h) || !isfinite(b.bin_w);
    return b;
}

typedef struct Span {
    int64_t from, to; /* places that points touch; none: from >= to */
} Span;

/* Adds the weights of a bin's points along one side to line[size] and marks what they touch. */
static Span spread(double start, double bin, int64_t grid, int64_t size, double *line, uint8_t *seen) {
    const double n = (double)grid, share = 1.0 / n;
    Span s = {size, 0};
    double first = 0, end = n;
    if (bin > 0 && grid > 64) { /* most of a huge bin's points lie outside: a little more than the others */
        first = fmin(fmax(floor((-1.0 - start) / bin * n) - 2, 0.0), n);
        end = fmin(fmax(ceil(((double)size - start) / bin * n) + 2, 0.0), n);
    }
    for (int64_t i = (int64_t)first; i < (int64_t)end; i++) {
        double v = start + ((double)i + 0.5) * bin / n;
        if (!(v >= -1.0 && v <= (double)size))
            continue;
        v = fmax(v, 0.0);
        const int64_t a = TN_MIN((int64_t)v, size - 1), b = TN_MIN(a + 1, size - 1);
        const double part = a == size - 1 ? 0.0 : v - (double)a;
        line[a] += (1 - part) * share;
        line[b] += part * share;
        seen[a] = seen[b] = 1;
        s.from = TN_MIN(s.from, a);
        s.to = TN_MAX(s.to, b + 1);
    }
    return s;
}

static bool row_tables(const TnRoiShape *s, const TnRoiBox *b, TnRoiTables *t) {
    bool any = false;
    for (int64_t o = 0; o < s->out_h; o++) {
        const Span at = spread(b->y + (double)o * b->bin_h, b->bin_h, b->grid_h, s->H, t->line, t->seen);
        int64_t n = 0;
        for (int64_t i = at.from; i < at.to; i++) {
            if (t->seen[i] == 0)
                continue;
            t->row[o * s->H + n] = (int32_t)i;
            t->row_w[o * s->H + n++] = (float)t->line[i];
            t->line[i] = 0;
            t->seen[i] = 0;
        }
        t->rows[o] = n;
        any = any || n > 0;
    }
    return any;
}

/* Which columns there are is known only after the last bin: weights are laid out from column 0 first, in all bins that touch them. */
static bool column_tables(const TnRoiShape *s, const TnRoiBox *b, TnRoiTables *t) {
    int64_t low = s->W, high = 0;
    for (int64_t o = 0; o < s->out_w; o++) {
        const Span at = spread(b->x + (double)o * b->bin_w, b->bin_w, b->grid_w, s->W, t->line, t->seen);
        for (int64_t i = at.from; i < at.to; i++) {
            if (i < low || i >= high) /* no bin had this column */
                memset(t->col_w + i * t->pitch, 0, (size_t)t->pitch * sizeof *t->col_w);
            t->col_w[i * t->pitch + o] = (float)t->line[i];
            t->line[i] = 0;
            t->seen[i] = 0;
        }
        t->from[o] = (int32_t)at.from;
        t->to[o] = (int32_t)at.to;
        if (at.from >= at.to)
            continue;
        for (int64_t i = at.to; i < low && high > 0; i++) /* between this bin's columns and those of others */
            memset(t->col_w + i * t->pitch, 0, (size_t)t->pitch * sizeof *t->col_w);
        for (int64_t i = high; i < at.from && high > 0; i++)
            memset(t->col_w + i * t->pitch, 0, (size_t)t->pitch * sizeof *t->col_w);
        low = TN_MIN(low, at.from);
        high = TN_MAX(high, at.to);
    }
    for (int64_t o = 0; o < t->pitch; o++) {
        const bool some = o < s->out_w && t->from[o] < t->to[o];
        t->from[o] = some ? t->from[o] - (int32_t)low : INT32_MAX;
        t->to[o] = some ? t->to[o] - (int32_t)low : 0;
    }
    t->first_col = low;
    t->cols = high - low;
    return low < high;
}

bool tni_cpu_roi_weights(const TnRoiShape *s, const TnRoiBox *b, TnRoiTables *t) {
    return row_tables(s, b, t) && column_tables(s, b, t);
}

/* ---- point by point ---- */
static double point(const TnRoiShape *s, const float *plane, double y, double x) {
    if (!(y >= -1.0 && y <= (double)s->H && x >= -1.0 && x <= (double)s->W))
        return 0.0;
    y = fmax(y, 0.0);
    x = fmax(x, 0.0);
    const int64_t y0 = TN_MIN((int64_t)y, s->H - 1), x0 = TN_MIN((int64_t)x, s->W - 1);
    const int64_t y1 = TN_MIN(y0 + 1, s->H - 1), x1 = TN_MIN(x0 + 1, s->W - 1);
    const double ly = y0 == s->H - 1 ? 0.0 : y - (double)y0, lx = x0 == s->W - 1 ? 0.0 : x - (double)x0;
    const float *a = plane + y0 * s->W, *b = plane + y1 * s->W;
    return (1 - ly) * (1 - lx) * (double)a[x0] + (1 - ly) * lx * (double)a[x1] + ly * (1 - lx) * (double)b[x0] + ly * lx * (double)b[x1];
}

void tni_cpu_roi_exact(const TnRoiShape *s, const TnRoiBox *b, const float *plane, float *y) {
    for (int64_t o = 0; o < s->out_h * s->out_w; o++) {
        const double y0 = b->y + (double)(o / s->out_w) * b->bin_h, x0 = b->x + (double)(o % s->out_w) * b->bin_w;
        double sum = 0.0;
        for (int64_t i = 0; i < b->grid_h; i++) {
            const double at = y0 + ((double)i + 0.5) * b->bin_h / (double)b->grid_h;
            for (int64_t j = 0; j < b->grid_w && at >= -1.0 && at <= (double)s->H; j++)
                sum += point(s, plane, at, x0 + ((double)j + 0.5) * b->bin_w / (double)b->grid_w);
        }
        y[o] = (float)(sum / (double)(b->grid_h * b->grid_w));
    }
}

/* ---- cost: rows of a bin's neighbourhood, then its columns ---- */
static double cost(const TnKernelQuery *q, double ns) {
    return tni_cpu_cost(q, 0.0) + (double)tn_tensor_numel(&q->out[0]) * ns + (double)q->in[1].dims[0] * 2000.0;
}
double tni_cpu_roi_cost_scalar(const TnKernelQuery *q) {
    return cost(q, 40.0);
}
double tni_cpu_roi_cost_avx2(const TnKernelQuery *q) {
    return cost(q, 12.0);
}
double tni_cpu_roi_cost_avx512(const TnKernelQuery *q) {
    return cost(q, 10.0);
}
