/* SPDX-License-Identifier: Apache-2.0
 *
 * trilu, one_hot, constant_of_shape. */
#include "backend/cpu/move/move.h"
#include "base/dtype.h"

typedef struct FillCtx {
    const TnTensor *x, *y;
    uint32_t bytes;
    int64_t k;
    bool upper;
    const char *value;
    int64_t depth, inner;
} FillCtx;

static void trilu_rows(void *ctx, int64_t begin, int64_t end) {
    const FillCtx *c = ctx;
    const int64_t rows = c->x->dims[c->x->rank - 2], cols = c->x->dims[c->x->rank - 1], b = c->bytes;
    for (int64_t r = begin; r < end; r++) {
        int64_t edge; /* first column of the right part: upper keeps j >= i + k, lower j <= i + k */
        if (!tni_add_i64(r % rows + (c->upper ? 0 : 1), c->k, &edge))
            edge = c->k > 0 ? cols : 0;
        edge = TN_MIN(TN_MAX(edge, 0), cols);
        const char *x = (const char *)c->x->data + r * cols * b;
        char *y = (char *)c->y->data + r * cols * b;
        int64_t keep = c->upper ? edge : 0, n = c->upper ? cols - edge : edge;
        memcpy(y + keep * b, x + keep * b, (size_t)(n * b));
        memset(y + (c->upper ? 0 : edge * b), 0, (size_t)((cols - n) * b));
    }
}

TnStatus tni_cpu_trilu(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    FillCtx c = {
        .x = x, .y = &call->out[0], .bytes = tni_cpu_elem_bytes(x->dtype), .upper = ((const TnTriluParams *)call->params)->upper != 0};
    if (call->n_in > 1 && tni_cpu_present(&call->in[1]))
        c.k = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    if (tn_tensor_numel(x) == 0)
        return TN_OK;
    const int64_t rows = tni_cpu_span(x, 0, x->rank - 1);
    tni_cpu_parallel(call->threads, rows, tni_cpu_grain(rows, x->dims[x->rank - 1] * c.bytes * 2), trilu_rows, &c);
    return TN_OK;
}

/* y is [outer, depth, inner]; items are the outer ones. */
static void one_hot_rows(void *ctx, int64_t begin, int64_t end) {
    const FillCtx *c = ctx;
    char *y = c->y->data;
    const int64_t b = c->bytes;
    tni_cpu_fill(y + begin * c->depth * c->inner * b, c->value, c->bytes, (end - begin) * c->depth * c->inner);
    for (int64_t i = begin * c->inner; i < end * c->inner; i++) {
        int64_t k = tni_load_i64(c->x->dtype, c->x->data, i);
        k += k < 0 ? c->depth : 0;
        if (k >= 0 && k < c->depth) /* anything else: all off */
            memcpy(y + ((i / c->inner * c->depth + k) * c->inner + i % c->inner) * b, c->value + b, c->bytes);
    }
}

TnStatus tni_cpu_one_hot(TnKernelCall *call) {
    const TnTensor *y = &call->out[0];
    int32_t axis = tni_cpu_axis(((const TnAxisParams *)call->params)->axis, y->rank);
    FillCtx c = {.x = &call->in[0],
                 .y = y,
                 .bytes = tni_cpu_elem_bytes(y->dtype),
                 .value = call->in[2].data,
                 .depth = y->dims[axis],
                 .inner = tni_cpu_span(y, axis + 1, y->rank)};
    int64_t depth = tni_load_i64(call->in[1].dtype, call->in[1].data, 0), outer = tni_cpu_span(y, 0, axis);
    if (depth != c.depth)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "one_hot: the depth is %lld, the output has %lld", (long long)depth,
                        (long long)c.depth);
    if (c.inner > 0)
        tni_cpu_parallel(call->threads, outer, tni_cpu_grain(outer, c.depth * c.inner * c.bytes), one_hot_rows, &c);
    return TN_OK;
}

static void fill_range(void *ctx, int64_t begin, int64_t end) {
    const FillCtx *c = ctx;
    tni_cpu_fill((char *)c->y->data + begin * c->bytes, c->value, c->bytes, end - begin);
}

TnStatus tni_cpu_constant_of_shape(TnKernelCall *call) {
    const TnFillParams *p = call->params;
    FillCtx c = {.y = &call->out[0], .bytes = tni_cpu_elem_bytes(call->out[0].dtype), .value = (const char *)p->value};
    int64_t n = tn_tensor_numel(&call->out[0]);
    tni_cpu_parallel(call->threads, n, tni_cpu_grain(n, c.bytes), fill_range, &c);
    return TN_OK;
}
