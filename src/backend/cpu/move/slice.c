/* SPDX-License-Identifier: Apache-2.0
 *
 * slice and pad: boxes of one tensor placed in another. */
#include "backend/cpu/move/move.h"
#include "base/dtype.h"

static int64_t argument(const TnKernelCall *call, uint32_t input, int64_t i) {
    return tni_load_i64(call->in[input].dtype, call->in[input].data, i);
}

static bool has(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && tni_cpu_present(&call->in[i]);
}

TnStatus tni_cpu_slice(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    TnCopy c = {.bytes = tni_cpu_elem_bytes(x->dtype), .rank = x->rank, .dst = y->data};
    int64_t first = 0, n = tn_tensor_numel(&call->in[1]);
    tni_cpu_row_strides(x->rank, x->dims, c.src_stride);
    tni_cpu_row_strides(y->rank, y->dims, c.dst_stride);
    for (int32_t d = 0; d < x->rank; d++)
        c.dims[d] = y->dims[d];
    for (int64_t i = 0; i < n; i++) {
        int64_t step = has(call, 4) ? argument(call, 4, i) : 1, axis = has(call, 3) ? argument(call, 3, i) : i;
        int64_t start = argument(call, 1, i), span = 0;
        axis += axis < 0 ? x->rank : 0;
        if (axis < 0 || axis >= x->rank)
            return TN_RAISE(call->err, TN_ERR_RUN, "slice: axis %lld is out of range for rank %d", (long long)axis, (int)x->rank);
        if (step == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "slice: the step of axis %lld is 0", (long long)axis);
        const int64_t size = x->dims[axis], count = y->dims[axis];
        if (start < 0 && !tni_add_i64(start, size, &start))
            start = 0;
        start = TN_MIN(TN_MAX(start, 0), step > 0 ? size : size - 1);
        if (count > 0 && (!tni_mul_i64(count - 1, step, &span) || start + span < 0 || start + span >= size || start < 0 || start >= size))
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "slice: the output is longer than the slice of axis %lld", (long long)axis);
        first += start * c.src_stride[axis];
        c.src_stride[axis] *= count > 1 ? step : 1;
    }
    if (tn_tensor_numel(y) == 0)
        return TN_OK;
    c.src = (const char *)x->data + first * (int64_t)c.bytes;
    tni_cpu_copy(&c, NULL, call->threads);
    return TN_OK;
}

/* ---- pad ---- */
typedef struct PadCtx {
    const TnTensor *x, *y;
    uint32_t mode, bytes;
    const void *value;
    int64_t before[TN_MAX_RANK];             /* input coordinate = output coordinate - before */
    int64_t lo[TN_MAX_RANK], n[TN_MAX_RANK]; /* the part of the input that negative pads leave */
    int64_t stride[TN_MAX_RANK];
} PadCtx;

/* Input coordinate of one dim for output coordinate o, or -1: the constant. */
static int64_t pad_source(const PadCtx *p, int32_t d, int64_t o) {
    int64_t i = o - p->before[d] - p->lo[d], n = p->n[d];
    if (i >= 0 && i < n)
        return p->lo[d] + i;
    if (p->mode == TN_PADDING_CONSTANT)
        return -1;
    if (p->mode == TN_PADDING_EDGE) {
        i = i < 0 ? 0 : n - 1;
    } else if (p->mode == TN_PADDING_WRAP) {
        i = (i % n + n) % n;
    } else if (n == 1) {
        i = 0;
    } else {
        int64_t period = 2 * (n - 1);
        i = (i % period + period) % period;
        i = i < n ? i : period - i;
    }
    return p->lo[d] + i;
}

static void pad_rows(void *ctx, int64_t begin, int64_t end) {
    const PadCtx *p = ctx;
    const int32_t last = p->y->rank - 1;
    const int64_t width = p->y->dims[last], b = p->bytes;
    /* output columns [left, right) come straight from the input */
    const int64_t left = TN_MIN(TN_MAX(p->before[last] + p->lo[last], 0), width);
    const int64_t right = TN_MIN(TN_MAX(p->before[last] + p->lo[last] + p->n[last], left), width);
    for (int64_t row = begin; row < end; row++) {
        char *y = (char *)p->y->data + row * width * b;
        int64_t rest = row, base = 0;
        for (int32_t d = last - 1; d >= 0 && base >= 0; d--) {
            int64_t i = pad_source(p, d, rest % p->y->dims[d]);
            rest /= p->y->dims[d];
            base = i < 0 ? -1 : base + i * p->stride[d];
        }
        if (base < 0) {
            tni_cpu_fill(y, p->value, p->bytes, width);
            continue;
        }
        const char *x = (const char *)p->x->data + base * b;
        if (p->mode == TN_PADDING_CONSTANT) {
            tni_cpu_fill(y, p->value, p->bytes, left);
            tni_cpu_fill(y + right * b, p->value, p->bytes, width - right);
        } else {
            for (int64_t o = 0; o < left; o++)
                memcpy(y + o * b, x + pad_source(p, last, o) * b, p->bytes);
            for (int64_t o = right; o < width; o++)
                memcpy(y + o * b, x + pad_source(p, last, o) * b, p->bytes);
        }
        if (right > left)
            memcpy(y + left * b, x + (left - p->before[last]) * b, (size_t)((right - left) * b));
    }
}

static TnStatus pad_setup(const TnKernelCall *call, PadCtx *p) {
    const TnTensor *x = p->x, *y = p->y;
    const int64_t n = has(call, 3) ? tn_tensor_numel(&call->in[3]) : x->rank;
    int64_t after[TN_MAX_RANK] = {0};
    if (tn_tensor_numel(&call->in[1]) != 2 * n)
        return TN_RAISE(call->err, TN_ERR_RUN, "pad: expected %lld pads (two an axis), found %lld", (long long)(2 * n),
                        (long long)tn_tensor_numel(&call->in[1]));
    for (int64_t i = 0; i < n; i++) {
        int64_t d = has(call, 3) ? argument(call, 3, i) : i;
        d += d < 0 ? x->rank : 0;
        if (d < 0 || d >= x->rank)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %lld is out of range for rank %d", (long long)d, (int)x->rank);
        p->before[d] = argument(call, 1, i);
        after[d] = argument(call, 1, i + n);
    }
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t sum = 0;
        if (!tni_add_i64(p->before[d], after[d], &sum) || !tni_add_i64(sum, x->dims[d], &sum) || sum != y->dims[d])
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "pad: axis %d of the output is not the padded size", (int)d);
        p->lo[d] = p->before[d] < 0 ? -p->before[d] : 0;
        p->n[d] = TN_MAX(x->dims[d] - p->lo[d] + TN_MIN(after[d], 0), 0);
        if (p->n[d] == 0 && y->dims[d] > 0 && p->mode != TN_PADDING_CONSTANT)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %d has no elements to take the padding from", (int)d);
    }
    return TN_OK;
}

TnStatus tni_cpu_pad(TnKernelCall *call) {
    static const uint8_t zero[16] = {0};
    PadCtx p = {.x = &call->in[0],
                .y = &call->out[0],
                .mode = ((const TnPadParams *)call->params)->mode,
                .bytes = tni_cpu_elem_bytes(call->in[0].dtype),
                .value = has(call, 2) ? call->in[2].data : zero};
    TN_TRY(pad_setup(call, &p));
    if (p.y->rank == 0) {
        memcpy(p.y->data, p.x->data, p.bytes);
        return TN_OK;
    }
    tni_cpu_row_strides(p.x->rank, p.x->dims, p.stride);
    const int64_t width = p.y->dims[p.y->rank - 1], rows = width > 0 ? tni_cpu_span(p.y, 0, p.y->rank - 1) : 0;
    tni_cpu_parallel(call->threads, rows, tni_cpu_grain(rows, width * p.bytes * 2), pad_rows, &p);
    return TN_OK;
}
