/* SPDX-License-Identifier: Apache-2.0
 *
 * gather, gather_elements, gather_nd. */
#include "backend/cpu/gather/gather.h"

bool tni_cpu_gather_supports(const TnKernelQuery *q) {
    TnDtype t = q->in[1].dtype;
    return tni_cpu_copyable(q->in[0].dtype) && (t == TN_I64 || t == TN_I32);
}

double tni_cpu_gather_cost(const TnKernelQuery *q) {
    return 100.0 + (double)tn_tensor_bytes(&q->out[0]) * 0.12 + (double)tn_tensor_numel(&q->in[1]) * 2.0;
}

TnStatus tni_cpu_check_indices(const TnKernelCall *call, const char *op, const TnTensor *t, const TnTensor *x, int32_t first, int64_t of) {
    const int64_t n = tn_tensor_numel(t);
    for (int64_t i = 0; i < n; i++) {
        const int32_t axis = first + (int32_t)(of == 1 ? 0 : i % of);
        const int64_t k = tni_cpu_index(t, i), size = x->dims[axis];
        if (k < -size || k >= size)
            return TN_RAISE(call->err, TN_ERR_RUN, "%s: index %lld is out of range for axis %d of size %lld: expected %lld to %lld", op,
                            (long long)k, (int)axis, (long long)size, (long long)-size, (long long)size - 1);
    }
    return TN_OK;
}

typedef struct GatherCtx {
    const TnTensor *x, *idx, *y;
    uint32_t bytes;
    int32_t axis;
    int64_t size, inner, n; /* rows of inner elements, n indices an outer item */
    int64_t k, step;        /* gather_nd: index tuple length; elements of x a batch */
    int64_t stride[TN_MAX_RANK];
} GatherCtx;

/* One outer item's indices [first, end): rows of `run` bytes; the sizes that occur most have copies of known length. */
TN_INLINE void take(const GatherCtx *c, char *y, const char *x, int64_t first, int64_t end, size_t run, size_t step) {
    for (int64_t i = first; i < end; i++, y += run) {
        const int64_t k = tni_cpu_index(c->idx, i);
        const char *from = x + (size_t)(k < 0 ? k + c->size : k) * run;
        if (step == 0)
            memcpy(y, from, run);
        for (size_t b = 0; step != 0 && b < run; b += step)
            memcpy(y + b, from + b, step);
    }
}

/* Items: outer x index; each copies `inner` elements. */
static void gather_rows(void *ctx, int64_t begin, int64_t end) {
    const GatherCtx *c = ctx;
    const size_t run = (size_t)c->inner * c->bytes;
    for (int64_t i = begin; i < end;) {
        const int64_t outer = i / c->n, first = i % c->n, stop = TN_MIN(c->n, first + end - i);
        const char *x = (const char *)c->x->data + (size_t)(outer * c->size) * run;
        char *y = (char *)c->y->data + (size_t)i * run;
        if (run == 4)
            take(c, y, x, first, stop, 4, 4);
        else if (run == 8)
            take(c, y, x, first, stop, 8, 8);
        else if (run == 48)
            take(c, y, x, first, stop, 48, 16);
        else if (run % 16 == 0 && run <= 128)
            take(c, y, x, first, stop, run, 16);
        else
            take(c, y, x, first, stop, run, 0);
        i += stop - first;
    }
}

TnStatus tni_cpu_gather(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1];
    const int32_t axis = tni_cpu_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    GatherCtx c = {.x = x,
                   .idx = idx,
                   .y = &call->out[0],
                   .bytes = tni_cpu_elem_bytes(x->dtype),
                   .size = x->dims[axis],
                   .inner = tni_cpu_span(x, axis + 1, x->rank),
                   .n = tn_tensor_numel(idx)};
    TN_TRY(tni_cpu_check_indices(call, "gather", idx, x, axis, 1));
    const int64_t items = tni_cpu_span(x, 0, axis) * c.n;
    if (c.inner > 0)
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, c.inner * c.bytes * 2), gather_rows, &c);
    return TN_OK;
}

/* y[i, j, k] = x[i, idx[i, j, k], k] for axis 1. Items: elements of idx. */
static void gather_single(void *ctx, int64_t begin, int64_t end) {
    const GatherCtx *c = ctx;
    const TnTensor *idx = c->idx;
    for (int64_t i = begin; i < end; i++) {
        int64_t k = tni_cpu_index(idx, i), rest = i, at = (k < 0 ? k + c->size : k) * c->stride[c->axis];
        for (int32_t d = idx->rank - 1; d >= 0; d--) {
            if (d != c->axis)
                at += rest % idx->dims[d] * c->stride[d];
            rest /= idx->dims[d];
        }
        memcpy((char *)c->y->data + i * c->bytes, (const char *)c->x->data + at * c->bytes, c->bytes);
    }
}

TnStatus tni_cpu_gather_elements(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1];
    const int32_t axis = tni_cpu_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    GatherCtx c = {.x = x, .idx = idx, .y = &call->out[0], .bytes = tni_cpu_elem_bytes(x->dtype), .axis = axis, .size = x->dims[axis]};
    TN_TRY(tni_cpu_check_indices(call, "gather_elements", idx, x, axis, 1));
    tni_cpu_row_strides(x->rank, x->dims, c.stride);
    const int64_t n = tn_tensor_numel(idx);
    tni_cpu_parallel(call->threads, n, tni_cpu_grain(n, 16), gather_single, &c);
    return TN_OK;
}

static void gather_tuples(void *ctx, int64_t begin, int64_t end) {
    const GatherCtx *c = ctx;
    const size_t run = (size_t)c->inner * c->bytes;
    for (int64_t t = begin; t < end; t++) {
        int64_t at = t / c->n * c->step;
        for (int64_t j = 0; j < c->k; j++) {
            int64_t i = tni_cpu_index(c->idx, t * c->k + j);
            at += (i < 0 ? i + c->x->dims[c->axis + j] : i) * c->stride[c->axis + j];
        }
        memcpy((char *)c->y->data + (size_t)t * run, (const char *)c->x->data + at * c->bytes, run);
    }
}

TnStatus tni_cpu_gather_nd(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *idx = &call->in[1];
    const int32_t b = (int32_t)((const TnGatherNdParams *)call->params)->batch_dims;
    GatherCtx c = {.x = x,
                   .idx = idx,
                   .y = &call->out[0],
                   .bytes = tni_cpu_elem_bytes(x->dtype),
                   .axis = b,
                   .k = idx->dims[idx->rank - 1],
                   .n = tni_cpu_span(idx, b, idx->rank - 1),
                   .step = tni_cpu_span(x, b, x->rank)};
    if (c.k > 0)
        TN_TRY(tni_cpu_check_indices(call, "gather_nd", idx, x, b, c.k));
    c.inner = tni_cpu_span(x, b + (int32_t)c.k, x->rank);
    tni_cpu_row_strides(x->rank, x->dims, c.stride);
    const int64_t items = tni_cpu_span(idx, 0, b) * c.n;
    if (c.inner > 0)
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, c.inner * c.bytes * 2), gather_tuples, &c);
    return TN_OK;
}
