/* SPDX-License-Identifier: Apache-2.0
 *
 * concat and split: a tensor seen as rows (the dims before the axis) that are cut into parts, MV_PARTS of them a launch. */
#include "backend/cuda/move/box.h"
#include "backend/cuda/move/move.h"

typedef struct Cut {
    TnKernelCall *call;
    const char *op;
    const TnTensor *whole, *parts;
    uint32_t n;
    int32_t axis;
    bool into_whole;
    int64_t rows, inner; /* bytes of one index of the axis */
} Cut;

/* Bytes of part i in a row. */
static int64_t width(const Cut *c, uint32_t i) {
    return c->parts[i].dtype == TN_UNDEFINED ? 0 : c->parts[i].dims[c->axis] * c->inner;
}

/* Largest unit in which parts [from, to) can be moved: their widths, where they begin, and the memory. */
static int64_t unit_of(const Cut *c, uint32_t from, uint32_t to, int64_t first, int64_t pitch) {
    int64_t unit = 16;
    uintptr_t bits = (uintptr_t)c->whole->data | (uintptr_t)first | (c->rows > 1 ? (uintptr_t)pitch : 0);
    for (uint32_t i = from; i < to; i++)
        if (width(c, i) > 0)
            bits |= (uintptr_t)width(c, i) | (uintptr_t)c->parts[i].data;
    while (unit > 1 && (bits & (uintptr_t)(unit - 1)) != 0)
        unit /= 2;
    return unit;
}

/* Parts [from, to), which begin at byte `first` of a row. Returns the byte behind them. */
static TnStatus group(const Cut *c, uint32_t from, uint32_t to, int64_t *first, int64_t pitch) {
    const int64_t unit = unit_of(c, from, to, *first, pitch);
    MvParts p = {.n = to - from, .whole = c->whole->data, .pitch = pitch / unit, .first = *first / unit, .rows = c->rows};
    int64_t at = 0;
    for (uint32_t i = from; i < to; i++) {
        p.part[i - from] = c->parts[i].dtype == TN_UNDEFINED ? NULL : c->parts[i].data;
        p.start[i - from] = (uint32_t)at;
        at += width(c, i) / unit;
        if (at >= INT64_C(1) << 31)
            return TN_RAISE(c->call->err, TN_ERR_UNSUPPORTED, "%s: a row of %lld bytes is more than the kernel can take", c->op,
                            (long long)(at * unit));
    }
    p.start[to - from] = (uint32_t)at;
    *first += at * unit;
    p.total = at * c->rows;
    if (p.total == 0)
        return TN_OK;
    p.width = tni_div_make(at);
    p.wide = p.total >= INT64_C(1) << 31;
    p.into_whole = c->into_whole;
    tni_cuda_mv_parts(c->call->stream, &p, (size_t)unit);
    return tni_cuda_launched(c->call, c->op);
}

static TnStatus run(Cut *c, int32_t axis) {
    const TnTensor *w = c->whole;
    c->axis = axis < 0 ? axis + w->rank : axis;
    if (c->axis < 0 || c->axis >= w->rank)
        return TN_RAISE(c->call->err, TN_ERR_INTERNAL, "%s: axis %d is outside rank %d", c->op, axis, w->rank);
    c->rows = tni_numel_range(w, 0, c->axis);
    c->inner = tni_numel_range(w, c->axis + 1, w->rank) * (int64_t)tni_size_of(w->dtype);
    int64_t first = 0, sum = 0, pitch = w->dims[c->axis] * c->inner;
    for (uint32_t i = 0; i < c->n; i++)
        sum += width(c, i);
    if (sum != pitch)
        return TN_RAISE(c->call->err, TN_ERR_INTERNAL, "%s: parts of %lld bytes a row do not make up rows of %lld bytes", c->op,
                        (long long)sum, (long long)pitch);
    if (c->rows == 0)
        return TN_OK;
    for (uint32_t i = 0; i < c->n; i += MV_PARTS)
        TN_TRY(group(c, i, TN_MIN(c->n, i + MV_PARTS), &first, pitch));
    return TN_OK;
}

TnStatus tni_cuda_concat(TnKernelCall *call) {
    Cut c = {.call = call, .op = "concat", .whole = &call->out[0], .parts = call->in, .n = call->n_in, .into_whole = true};
    return run(&c, ((const TnAxisParams *)call->params)->axis);
}

TnStatus tni_cuda_split(TnKernelCall *call) {
    Cut c = {.call = call, .op = "split", .whole = &call->in[0], .parts = call->out, .n = call->n_out};
    return run(&c, ((const TnAxisParams *)call->params)->axis);
}
