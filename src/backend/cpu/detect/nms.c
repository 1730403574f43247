/* SPDX-License-Identifier: Apache-2.0
 *
 * non_max_suppression: which calls the kernels take, scores in order, the overlap in double, and writing what was kept. */
#include <math.h>

#include "backend/cpu/detect/detect.h"

#include "base/dtype.h"

bool tni_cpu_nms_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && q->in[1].dtype == TN_F32 && q->in[0].rank == 3 && q->in[1].rank == 3;
}

/* ---- scratch memory: counts, boxes kept, then one part a worker ---- */
static size_t shared_bytes(int64_t rows, int64_t n) {
    return tni_align_up((size_t)rows * sizeof(int64_t), 64) + tni_align_up((size_t)rows * (size_t)n * sizeof(uint32_t), 64);
}
static size_t corner_bytes(int64_t n) {
    return tni_align_up(((size_t)n + TN_NMS_LANES) * sizeof(float), 64);
}
static size_t own_bytes(int64_t n) {
    return 2 * tni_align_up((size_t)n * sizeof(uint64_t), 64) + 5 * corner_bytes(n);
}

size_t tni_cpu_nms_scratch(const TnKernelQuery *q) {
    const TnTensor *s = &q->in[1];
    return shared_bytes(s->dims[0] * s->dims[1], s->dims[2]) + own_bytes(s->dims[2]) * q->threads;
}

TnNmsOwn tni_cpu_nms_own(const TnNmsCall *c, uint32_t worker) {
    char *at = c->own + c->own_bytes * worker;
    const size_t keys = tni_align_up((size_t)c->n * sizeof(uint64_t), 64), corners = corner_bytes(c->n);
    TnNmsOwn o = {.keys = (void *)at, .spare = (void *)(at + keys)};
    float **parts[] = {&o.y1, &o.x1, &o.y2, &o.x2, &o.area};
    for (size_t i = 0; i < TN_COUNT(parts); i++)
        *parts[i] = (void *)(at + 2 * keys + i * corners);
    return o;
}

static double scalar(const TnKernelCall *call, uint32_t i, double missing) {
    return i < call->n_in && tni_cpu_present(&call->in[i]) ? tni_load_f64(call->in[i].dtype, call->in[i].data, 0) : missing;
}

TnStatus tni_cpu_nms_begin(const TnKernelCall *call, TnNmsCall *c) {
    const TnTensor *boxes = &call->in[0], *scores = &call->in[1];
    if (boxes->dims[2] != 4 || boxes->dims[0] != scores->dims[0] || boxes->dims[1] != scores->dims[2] || call->resize == NULL)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "non_max_suppression: operands whose shapes do not fit");
    *c = (TnNmsCall){.boxes = boxes->data,
                     .scores = scores->data,
                     .batches = scores->dims[0],
                     .classes = scores->dims[1],
                     .n = scores->dims[2],
                     .iou = scalar(call, 3, 0.0),
                     .threshold = scalar(call, 4, 0.0),
                     .has_threshold = call->n_in > 4 && tni_cpu_present(&call->in[4]),
                     .center = ((const TnNmsParams *)call->params)->center_point_box != 0,
                     .own_bytes = own_bytes(scores->dims[2])};
    if (c->n > UINT32_MAX)
        return TN_RAISE(call->err, TN_ERR_LIMIT, "non_max_suppression: %lld boxes, expected less than 2^32", (long long)c->n);
    if (call->n_in > 2 && tni_cpu_present(&call->in[2]))
        c->limit = tni_load_i64(call->in[2].dtype, call->in[2].data, 0);
    const int64_t rows = c->batches * c->classes;
    const size_t shared = shared_bytes(rows, c->n);
    if (call->scratch_bytes < shared + c->own_bytes * tni_threads_count(call->threads))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "non_max_suppression: too little scratch memory");
    if (call->scratch != NULL) { /* NULL: nothing to keep */
        c->counts = call->scratch;
        c->kept = (void *)((char *)call->scratch + tni_align_up((size_t)rows * sizeof(int64_t), 64));
        c->own = (char *)call->scratch + shared;
    }
    return TN_OK;
}

/* ---- order ---- */
/* The higher a score, the smaller; zeros of both signs are alike. */
static uint32_t rank_of(float score) {
    uint32_t u;
    score += 0.0f;
    memcpy(&u, &score, sizeof u);
    u = (u >> 31) != 0 ? ~u : u | 0x80000000u; /* rising with the score */
    return ~u;
}

int64_t tni_cpu_nms_sort(const TnNmsCall *c, int64_t row, TnNmsOwn *own) {
    const float *scores = c->scores + row * c->n;
    uint32_t count[4][256] = {{0}};
    int64_t m = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const bool gone = c->has_threshold ? !((double)scores[i] > c->threshold) : scores[i] != scores[i];
        if (gone)
            continue;
        const uint32_t key = rank_of(scores[i]);
        own->keys[m++] = (uint64_t)key << 32 | (uint64_t)i;
        for (uint32_t b = 0; b < 4; b++)
            count[b][key >> 8 * b & 255]++;
    }
    for (uint32_t b = 0; b < 4 && m > 0; b++) { /* byte by byte, the lowest first: each pass keeps the order of the last */
        uint32_t at = 0;
        if (count[b][(uint32_t)(own->keys[0] >> 32) >> 8 * b & 255] == (uint64_t)m)
            continue; /* all alike */
        for (uint32_t v = 0; v < 256; v++) {
            const uint32_t n = count[b][v];
            count[b][v] = at;
            at += n;
        }
        for (int64_t i = 0; i < m; i++)
            own->spare[count[b][own->keys[i] >> (32 + 8 * b) & 255]++] = own->keys[i];
        uint64_t *t = own->keys;
        own->keys = own->spare;
        own->spare = t;
    }
    return m;
}

/* ---- overlap ---- */
typedef struct Box {
    double y1, x1, y2, x2;
} Box;

static Box box_of(const float *v, bool center) {
    const double a = (double)v[0], b = (double)v[1], c = (double)v[2], d = (double)v[3];
    if (center) /* x, y, width, height */
        return (Box){b - d / 2, a - c / 2, b + d / 2, a + c / 2};
    return (Box){fmin(a, c), fmin(b, d), fmax(a, c), fmax(b, d)};
}

bool tni_cpu_nms_covers(const TnNmsCall *c, const float *pa, const float *pb) {
    const Box a = box_of(pa, c->center), b = box_of(pb, c->center);
    const double h = fmin(a.y2, b.y2) - fmax(a.y1, b.y1), w = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
    const double area_a = (a.y2 - a.y1) * (a.x2 - a.x1), area_b = (b.y2 - b.y1) * (b.x2 - b.x1);
    if (h <= 0 || w <= 0 || area_a <= 0 || area_b <= 0)
        return 0.0 > c->iou;
    return h * w / (area_a + area_b - h * w) > c->iou;
}

TnStatus tni_cpu_nms_write(TnKernelCall *call, const TnNmsCall *c) {
    const int64_t rows = c->n > 0 ? c->batches * c->classes : 0;
    int64_t dims[2] = {0, 3};
    for (int64_t r = 0; r < rows; r++)
        dims[0] += c->counts[r];
    TN_TRY(call->resize(call, 0, 2, dims));
    int64_t *y = call->out[0].data;
    for (int64_t r = 0; r < rows && y != NULL; r++)
        for (int64_t k = 0; k < c->counts[r]; k++, y += 3) {
            y[0] = r / c->classes;
            y[1] = r % c->classes;
            y[2] = (int64_t)c->kept[r * c->n + k];
        }
    return TN_OK;
}

/* ---- cost: as if half of the boxes met the limit's worth of boxes kept ---- */
static double cost(const TnKernelQuery *q, double ns) {
    const TnTensor *s = &q->in[1];
    const double rows = (double)(s->dims[0] * s->dims[1]), n = (double)s->dims[2];
    const int64_t limit = q->n_in > 2 && q->in[2].data != NULL ? tni_load_i64(q->in[2].dtype, q->in[2].data, 0) : s->dims[2];
    const double kept = fmin(fmax((double)limit, 0.0), n);
    return tni_cpu_cost(q, 0.0) + rows * n * (10.0 + kept * 0.5 * ns);
}
double tni_cpu_nms_cost_scalar(const TnKernelQuery *q) {
    return cost(q, 3.0);
}
double tni_cpu_nms_cost_avx2(const TnKernelQuery *q) {
    return cost(q, 0.6);
}
double tni_cpu_nms_cost_avx512(const TnKernelQuery *q) {
    return cost(q, 0.4);
}
