/* SPDX-License-Identifier: Apache-2.0
 *
 * non_max_suppression: the scores of every class are sorted, a block a class walks down the order and keeps what overlaps none of the kept
 * too much; the host learns the total, then the kept ones are written. roi_align: a thread an output. Geometry is in double, as in the
 * reference, because thresholds and numbers of samples hang on it. */
#include "backend/cuda/detect/detect.h"
#include "backend/cuda/detect/sort.h"
#include "backend/cuda/pointwise/element.cuh"

#define BX_BLOCK 256

namespace {
struct Box {
    double y1, x1, y2, x2;
};

struct Nms {
    const float *boxes, *scores, *iou, *threshold; /* the last two: one number, or NULL */
    uint64_t *key;
    uint32_t *idx;
    int64_t *counts; /* [rows + 1] kept of a row; then of the rows before */
    uint32_t *kept;  /* [rows][n] */
    int64_t rows, classes, n, sorted, limit;
    uint32_t center;
};

__device__ Box box_at(const Nms &m, int64_t i) {
    const float *p = m.boxes + 4 * i;
    const double a = p[0], b = p[1], c = p[2], d = p[3];
    if (m.center != 0) /* x, y, width, height */
        return {b - d / 2, a - c / 2, b + d / 2, a + c / 2};
    return {fmin(a, c), fmin(b, d), fmax(a, c), fmax(b, d)};
}

__device__ double overlap(const Box &a, const Box &b) {
    const double h = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), w = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
    const double area_a = __dmul_rn(a.y2 - a.y1, a.x2 - a.x1), area_b = __dmul_rn(b.y2 - b.y1, b.x2 - b.x1); /* not contracted */
    if (h <= 0 || w <= 0 || area_a <= 0 || area_b <= 0)
        return 0;
    const double both = __dmul_rn(h, w);
    return both / (area_a + area_b - both);
}

/* Highest score first; what is below the threshold has the last key, which no score has. */
__global__ void __launch_bounds__(BX_BLOCK) score_kernel(const __grid_constant__ Nms m) {
    const int64_t i = (int64_t)blockIdx.x * BX_BLOCK + threadIdx.x;
    if (i >= m.rows * m.sorted)
        return;
    const int64_t row = i / m.sorted, place = i - row * m.sorted;
    uint64_t key = UINT64_MAX;
    if (place < m.n) {
        const float s = m.scores[row * m.n + place];
        const bool gone = m.threshold != nullptr ? !(s > *m.threshold) : s != s;
        if (!gone)
            key = ~el_rank(TN_F32, m.scores, row * m.n + place);
    }
    m.key[i] = key;
    m.idx[i] = (uint32_t)place;
}

/* A block a row. */
__global__ void __launch_bounds__(BX_BLOCK) keep_kernel(const __grid_constant__ Nms m) {
    const int64_t row = blockIdx.x, batch = row / m.classes;
    const uint64_t *key = m.key + row * m.sorted;
    const uint32_t *idx = m.idx + row * m.sorted;
    uint32_t *kept = m.kept + row * m.n;
    const double iou = m.iou != nullptr ? (double)*m.iou : 0.0;
    int64_t count = 0;
    for (int64_t k = 0; k < m.n && count < m.limit && key[k] != UINT64_MAX; k++) {
        const Box b = box_at(m, batch * m.n + idx[k]);
        int covered = 0;
        for (int64_t j = threadIdx.x; j < count && covered == 0; j += BX_BLOCK)
            covered = overlap(b, box_at(m, batch * m.n + kept[j])) > iou;
        if (__syncthreads_or(covered) != 0)
            continue;
        if (threadIdx.x == 0)
            kept[count] = idx[k];
        count++;
        __syncthreads();
    }
    if (threadIdx.x == 0)
        m.counts[row] = count;
}

/* counts become sums of those before; the last is the total. */
__global__ void sum_kernel(int64_t *counts, int64_t n) {
    int64_t before = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t own = counts[i];
        counts[i] = before;
        before += own;
    }
    counts[n] = before;
}

__global__ void __launch_bounds__(BX_BLOCK) list_kernel(const __grid_constant__ Nms m, int64_t *y) {
    const int64_t i = (int64_t)blockIdx.x * BX_BLOCK + threadIdx.x;
    if (i >= m.rows * m.n)
        return;
    const int64_t row = i / m.n, k = i - row * m.n, first = m.counts[row];
    if (k >= m.counts[row + 1] - first)
        return;
    int64_t *to = y + 3 * (first + k);
    to[0] = row / m.classes;
    to[1] = row % m.classes;
    to[2] = m.kept[row * m.n + k];
}

size_t nms_bytes(int64_t rows, int64_t n) {
    return (size_t)(rows * tni_cuda_sort_size(n)) * (sizeof(uint64_t) + sizeof(uint32_t)) + (size_t)(rows + 1) * sizeof(int64_t) +
           (size_t)(rows * n) * sizeof(uint32_t);
}

/* ---- roi_align ---- */
struct Roi {
    const void *x, *rois, *batch;
    void *y;
    int64_t total, B, C, H, W;
    double offset, scale;
    uint32_t type, rois_type, batch_type, max, aligned;
    int32_t height, width, ratio;
    TniFault *fault;
};

/* One sample: the four neighbours' weighted sum, or the largest of the weighted ones; outside the map 0. */
__device__ double sample(const Roi &r, int64_t plane, double y, double x) {
    if (!(y >= -1.0 && y <= (double)r.H && x >= -1.0 && x <= (double)r.W))
        return 0.0;
    y = fmax(y, 0.0);
    x = fmax(x, 0.0);
    const int64_t y0 = (int64_t)y < r.H - 1 ? (int64_t)y : r.H - 1, x0 = (int64_t)x < r.W - 1 ? (int64_t)x : r.W - 1;
    const int64_t y1 = y0 + 1 < r.H - 1 ? y0 + 1 : r.H - 1, x1 = x0 + 1 < r.W - 1 ? x0 + 1 : r.W - 1;
    const double ly = y0 == r.H - 1 ? 0.0 : y - (double)y0, lx = x0 == r.W - 1 ? 0.0 : x - (double)x0;
    const double a = (1 - ly) * (1 - lx) * el_load_f64(r.type, r.x, plane + y0 * r.W + x0);
    const double b = (1 - ly) * lx * el_load_f64(r.type, r.x, plane + y0 * r.W + x1);
    const double c = ly * (1 - lx) * el_load_f64(r.type, r.x, plane + y1 * r.W + x0);
    const double d = ly * lx * el_load_f64(r.type, r.x, plane + y1 * r.W + x1);
    return r.max != 0 ? fmax(fmax(fmax(a, b), c), d) : a + b + c + d;
}

__device__ int64_t samples(const Roi &r, double bin) {
    return r.ratio > 0 ? r.ratio : (int64_t)fmin(fmax(ceil(bin), 0.0), (double)(1 << 20));
}

__global__ void __launch_bounds__(BX_BLOCK) roi_kernel(const __grid_constant__ Roi r) {
    const int64_t i = (int64_t)blockIdx.x * BX_BLOCK + threadIdx.x;
    if (i >= r.total)
        return;
    const int64_t pw = i % r.width, ph = i / r.width % r.height, c = i / r.width / r.height % r.C, region = i / r.width / r.height / r.C;
    double b[4];
    for (int k = 0; k < 4; k++)
        b[k] = __dmul_rn(el_load_f64(r.rois_type, r.rois, 4 * region + k), r.scale) - r.offset;
    double w = b[2] - b[0], h = b[3] - b[1];
    if (r.aligned == 0) {
        w = fmax(w, 1.0);
        h = fmax(h, 1.0);
    }
    const double bin_h = h / r.height, bin_w = w / r.width;
    const double y0 = __dadd_rn(b[1], __dmul_rn((double)ph, bin_h)), x0 = __dadd_rn(b[0], __dmul_rn((double)pw, bin_w));
    const int64_t gh = samples(r, bin_h), gw = samples(r, bin_w);
    int64_t source = el_load_i64(r.batch_type, r.batch, region);
    if (source < 0 || source >= r.B) {
        tni_fault_note(r.fault, source, r.B);
        source = 0;
    }
    const int64_t plane = (source * r.C + c) * r.H * r.W;
    double acc = 0.0;
    bool any = false;
    for (int64_t a = 0; a < gh; a++)
        for (int64_t k = 0; k < gw; k++) {
            const double y = __dadd_rn(y0, ((double)a + 0.5) * bin_h / (double)gh),
                         x = __dadd_rn(x0, ((double)k + 0.5) * bin_w / (double)gw);
            const double v = sample(r, plane, y, x);
            acc = r.max == 0 ? acc + v : any ? fmax(acc, v) : v;
            any = true;
        }
    const int64_t n = gh * gw > 1 ? gh * gw : 1;
    el_put_f64(r.type, r.y, i, r.max != 0 ? acc : acc / (double)n);
}

bool has(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && call->in[i].dtype != TN_UNDEFINED;
}
} // namespace

TnStatus tni_cuda_nms(TnKernelCall *call) {
    const TnTensor *boxes = &call->in[0], *scores = &call->in[1];
    if (boxes->rank != 3 || scores->rank != 3 || boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] ||
        boxes->dims[1] != scores->dims[2])
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "non_max_suppression was called with boxes and scores whose shapes do not fit");
    Nms m;
    memset(&m, 0, sizeof m);
    m.boxes = (const float *)boxes->data;
    m.scores = (const float *)scores->data;
    m.iou = has(call, 3) ? (const float *)call->in[3].data : nullptr;
    m.threshold = has(call, 4) ? (const float *)call->in[4].data : nullptr;
    m.center = ((const TnNmsParams *)call->params)->center_point_box;
    m.limit = has(call, 2) ? tni_load_i64(call->in[2].dtype, call->in[2].data, 0) : 0;
    m.classes = scores->dims[1];
    m.n = scores->dims[2];
    m.rows = m.n > 0 ? scores->dims[0] * m.classes : 0;
    m.sorted = tni_cuda_sort_size(m.n);
    int64_t dims[2] = {0, 3};
    cudaStream_t s = call->stream->s;
    if (m.n > UINT32_MAX / 2)
        return TN_RAISE(call->err, TN_ERR_UNSUPPORTED, "non_max_suppression: %lld boxes are more than the kernel can sort", (long long)m.n);
    if (m.rows > 0 && m.limit > 0) {
        TN_TRY(tni_cuda_need(call, nms_bytes(m.rows, m.n), "non_max_suppression"));
        m.key = (uint64_t *)call->scratch;
        m.counts = (int64_t *)(m.key + m.rows * m.sorted);
        m.idx = (uint32_t *)(m.counts + m.rows + 1);
        m.kept = m.idx + m.rows * m.sorted;
        score_kernel<<<(unsigned)tni_div_up(m.rows * m.sorted, BX_BLOCK), BX_BLOCK, 0, s>>>(m);
        tni_cuda_sort(s, m.key, m.idx, m.sorted, m.rows);
        keep_kernel<<<(unsigned)m.rows, BX_BLOCK, 0, s>>>(m);
        sum_kernel<<<1, 1, 0, s>>>(m.counts, m.rows);
        TN_TRY(tni_cuda_launched(call, "non_max_suppression"));
        TN_TRY(tni_cuda_fetch(call, &dims[0], m.counts + m.rows, sizeof dims[0], "non_max_suppression"));
    }
    TN_TRY(tni_cuda_resize_to(call, 0, 2, dims, "non_max_suppression"));
    if (dims[0] == 0)
        return TN_OK;
    list_kernel<<<(unsigned)tni_div_up(m.rows * m.n, BX_BLOCK), BX_BLOCK, 0, s>>>(m, (int64_t *)call->out[0].data);
    return tni_cuda_launched(call, "non_max_suppression");
}

size_t tni_cuda_nms_scratch(const TnKernelQuery *q) {
    const TnTensor *s = &q->in[1];
    return s->rank != 3 ? 0 : nms_bytes(s->dims[0] * s->dims[1], s->dims[2]);
}

TnStatus tni_cuda_roi_align(TnKernelCall *call) {
    const TnRoiAlignParams *p = (const TnRoiAlignParams *)call->params;
    const TnTensor *x = &call->in[0], *rois = &call->in[1], *batch = &call->in[2], *y = &call->out[0];
    if (x->rank != 4 || rois->rank != 2 || rois->dims[1] != 4 || tn_tensor_numel(batch) != rois->dims[0] || p->output_height < 1 ||
        p->output_width < 1)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "roi_align was called with operands whose shapes do not fit");
    Roi r;
    memset(&r, 0, sizeof r);
    r.total = tn_tensor_numel(y);
    if (r.total == 0)
        return TN_OK;
    if (tn_tensor_numel(x) == 0) { /* nothing to sample */
        TNI_CUDA(call->err, cudaMemsetAsync(y->data, 0, tn_tensor_bytes(y), call->stream->s), "roi_align");
        return TN_OK;
    }
    r.x = x->data;
    r.rois = rois->data;
    r.batch = batch->data;
    r.y = y->data;
    r.B = x->dims[0];
    r.C = x->dims[1];
    r.H = x->dims[2];
    r.W = x->dims[3];
    r.offset = p->aligned != 0 ? 0.5 : 0.0;
    r.scale = (double)p->spatial_scale;
    r.type = (uint32_t)x->dtype;
    r.rois_type = (uint32_t)rois->dtype;
    r.batch_type = (uint32_t)batch->dtype;
    r.max = p->max_mode;
    r.aligned = p->aligned;
    r.height = p->output_height;
    r.width = p->output_width;
    r.ratio = p->sampling_ratio;
    r.fault = call->stream->fault;
    roi_kernel<<<(unsigned)tni_div_up(r.total, BX_BLOCK), BX_BLOCK, 0, call->stream->s>>>(r);
    return tni_cuda_launched(call, "roi_align");
}
