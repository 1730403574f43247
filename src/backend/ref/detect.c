/* SPDX-License-Identifier: Apache-2.0
 *
 * non_max_suppression and roi_align. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Box {
    double y1, x1, y2, x2;
} Box;

static Box box_at(const TnTensor *t, int64_t i, bool center) {
    double v[4];
    tni_ref_load_f64(t->dtype, t->data, 4 * i, 1, 4, v);
    if (center) /* x, y, width, height */
        return (Box){v[1] - v[3] / 2, v[0] - v[2] / 2, v[1] + v[3] / 2, v[0] + v[2] / 2};
    return (Box){fmin(v[0], v[2]), fmin(v[1], v[3]), fmax(v[0], v[2]), fmax(v[1], v[3])};
}

static double overlap(Box a, Box b) {
    double h = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), w = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
    double area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1);
    if (h <= 0 || w <= 0 || area_a <= 0 || area_b <= 0)
        return 0;
    return h * w / (area_a + area_b - h * w);
}

typedef struct Nms {
    const TnTensor *boxes, *scores;
    int64_t limit; /* boxes kept of one class */
    double iou, threshold;
    bool has_threshold, center;
} Nms;

/* Keeps the boxes of one class: picks the best remaining one, again and again. Returns how many; their numbers go to kept[]. */
static int64_t keep_class(const Nms *m, int64_t batch, int64_t row, int64_t n, int64_t *kept, uint8_t *gone) {
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        double s = tni_load_f64(m->scores->dtype, m->scores->data, row * n + i);
        gone[i] = m->has_threshold ? !(s > m->threshold) : s != s;
    }
    while (count < m->limit) {
        int64_t best = -1;
        double top = 0;
        for (int64_t i = 0; i < n; i++) {
            double s = tni_load_f64(m->scores->dtype, m->scores->data, row * n + i);
            if (gone[i] == 0 && (best < 0 || s > top)) {
                best = i;
                top = s;
            }
        }
        if (best < 0)
            break;
        gone[best] = 1;
        Box b = box_at(m->boxes, batch * n + best, m->center);
        bool covered = false;
        for (int64_t k = 0; k < count && !covered; k++)
            covered = overlap(b, box_at(m->boxes, batch * n + kept[k], m->center)) > m->iou;
        if (!covered)
            kept[count++] = best;
    }
    return count;
}

static double scalar(const TnKernelCall *call, uint32_t i, double missing) {
    return tni_ref_has(call, i) ? tni_load_f64(call->in[i].dtype, call->in[i].data, 0) : missing;
}

TnStatus tni_ref_non_max_suppression(TnKernelCall *call) {
    const TnTensor *boxes = &call->in[0], *scores = &call->in[1];
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
        boxes->dims[1] != scores->dims[2])
        return tni_ref_bad_call(call, "non_max_suppression", "boxes and scores whose shapes do not fit");
    const int64_t B = scores->dims[0], C = scores->dims[1], n = scores->dims[2];
    Nms m = {.boxes = boxes,
             .scores = scores,
             .iou = scalar(call, 3, 0.0),
             .threshold = scalar(call, 4, 0.0),
             .has_threshold = tni_ref_has(call, 4),
             .center = ((const TnNmsParams *)call->params)->center_point_box != 0};
    m.limit = tni_ref_has(call, 2) ? tni_load_i64(call->in[2].dtype, call->in[2].data, 0) : 0;
    /* scratch: [B * C] counts, [B * C][n] boxes kept, [n] flags */
    const int64_t rows = n > 0 ? B * C : 0;
    TN_TRY(tni_ref_need_scratch(call, "non_max_suppression", (size_t)(rows * (n + 1)) * sizeof(int64_t) + (size_t)n));
    int64_t *counts = call->scratch, *kept = rows > 0 ? counts + rows : NULL, total = 0;
    uint8_t *gone = rows > 0 ? (uint8_t *)(kept + rows * n) : NULL;
    for (int64_t r = 0; r < rows; r++) {
        counts[r] = keep_class(&m, r / C, r, n, kept + r * n, gone);
        total += counts[r];
    }
    const int64_t dims[2] = {total, 3};
    if (call->resize == NULL)
        return tni_ref_bad_call(call, "non_max_suppression", "no way to set its output's size");
    TN_TRY(call->resize(call, 0, 2, dims));
    const TnTensor *y = &call->out[0];
    int64_t at = 0;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t k = 0; k < counts[r]; k++, at++) {
            tni_store_i64(y->dtype, y->data, 3 * at, r / C);
            tni_store_i64(y->dtype, y->data, 3 * at + 1, r % C);
            tni_store_i64(y->dtype, y->data, 3 * at + 2, kept[r * n + k]);
        }
    return TN_OK;
}

/* ---- roi_align ---- */
typedef struct Roi {
    const TnKernelCall *call;
    const TnRoiAlignParams *p;
    int64_t C, H, W;
} Roi;

/* The four neighbours of a point and their weights; false: outside the map. */
static bool neighbours(const Roi *r, double y, double x, int64_t at[4], double w[4]) {
    if (!(y >= -1.0 && y <= (double)r->H && x >= -1.0 && x <= (double)r->W))
        return false;
    y = fmax(y, 0.0);
    x = fmax(x, 0.0);
    int64_t y0 = TN_MIN((int64_t)y, r->H - 1), x0 = TN_MIN((int64_t)x, r->W - 1);
    int64_t y1 = TN_MIN(y0 + 1, r->H - 1), x1 = TN_MIN(x0 + 1, r->W - 1);
    double ly = y0 == r->H - 1 ? 0.0 : y - (double)y0, lx = x0 == r->W - 1 ? 0.0 : x - (double)x0;
    at[0] = y0 * r->W + x0;
    at[1] = y0 * r->W + x1;
    at[2] = y1 * r->W + x0;
    at[3] = y1 * r->W + x1;
    w[0] = (1 - ly) * (1 - lx);
    w[1] = (1 - ly) * lx;
    w[2] = ly * (1 - lx);
    w[3] = ly * lx;
    return true;
}

static double pooled(const Roi *r, int64_t plane, double y0, double x0, double bin_h, double bin_w, int64_t gh, int64_t gw) {
    const TnTensor *x = &r->call->in[0];
    const bool max = r->p->max_mode != 0;
    double acc = 0.0;
    bool any = false;
    for (int64_t i = 0; i < gh; i++)
        for (int64_t j = 0; j < gw; j++) {
            int64_t at[4];
            double w[4], v = 0.0;
            bool inside = neighbours(r, y0 + ((double)i + 0.5) * bin_h / (double)gh, x0 + ((double)j + 0.5) * bin_w / (double)gw, at, w);
            for (int k = 0; k < 4 && inside; k++) {
                double t = w[k] * tni_load_f64(x->dtype, x->data, plane + at[k]);
                v = max && k > 0 ? fmax(v, t) : max ? t : v + t; /* ONNX takes the maximum of the weighted neighbours */
            }
            acc = !max ? acc + v : any ? fmax(acc, v) : v;
            any = true;
        }
    return max ? acc : acc / (double)TN_MAX(gh * gw, 1);
}

static void roi_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Roi *r = ctx;
    const TnRoiAlignParams *p = r->p;
    const TnTensor *rois = &r->call->in[1], *batch = &r->call->in[2], *y = &r->call->out[0];
    const double offset = p->aligned != 0 ? 0.5 : 0.0, scale = (double)p->spatial_scale;
    for (int64_t i = first; i < last; i++) {
        double b[4];
        tni_ref_load_f64(rois->dtype, rois->data, 4 * i, 1, 4, b);
        double x0 = b[0] * scale - offset, y0 = b[1] * scale - offset;
        double w = b[2] * scale - offset - x0, h = b[3] * scale - offset - y0;
        if (p->aligned == 0) {
            w = fmax(w, 1.0);
            h = fmax(h, 1.0);
        }
        const double bin_h = h / p->output_height, bin_w = w / p->output_width;
        const double most = (double)(1 << 20);
        int64_t gh = p->sampling_ratio > 0 ? p->sampling_ratio : (int64_t)fmin(fmax(ceil(bin_h), 0.0), most);
        int64_t gw = p->sampling_ratio > 0 ? p->sampling_ratio : (int64_t)fmin(fmax(ceil(bin_w), 0.0), most);
        int64_t source = tni_load_i64(batch->dtype, batch->data, i);
        for (int64_t c = 0; c < r->C; c++)
            for (int64_t ph = 0; ph < p->output_height; ph++)
                for (int64_t pw = 0; pw < p->output_width; pw++)
                    tni_store_f64(y->dtype, y->data, ((i * r->C + c) * p->output_height + ph) * p->output_width + pw,
                                  pooled(r, (source * r->C + c) * r->H * r->W, y0 + (double)ph * bin_h, x0 + (double)pw * bin_w, bin_h,
                                         bin_w, gh, gw));
    }
}

TnStatus tni_ref_roi_align(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *rois = &call->in[1], *batch = &call->in[2];
    const TnRoiAlignParams *p = call->params;
    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || tn_tensor_numel(batch) != rois->dims[0] || p->output_height < 1 ||
        p->output_width < 1)
        return tni_ref_bad_call(call, "roi_align", "operands whose shapes do not fit");
    Roi r = {call, p, x->dims[1], x->dims[2], x->dims[3]};
    for (int64_t i = 0; i < rois->dims[0]; i++) {
        int64_t b = tni_load_i64(batch->dtype, batch->data, i);
        if (b < 0 || b >= x->dims[0])
            return TN_RAISE(call->err, TN_ERR_RUN, "roi_align: batch index %lld of region %lld is out of range for axis 0 of size %lld",
                            (long long)b, (long long)i, (long long)x->dims[0]);
    }
    if (r.H < 1 || r.W < 1) /* nothing to sample: zeros */
        memset(call->out[0].data, 0, tn_tensor_bytes(&call->out[0]));
    else
        tni_ref_ranges(call->threads, rois->dims[0], 1, roi_range, &r);
    return TN_OK;
}
