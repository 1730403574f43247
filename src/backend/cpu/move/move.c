/* SPDX-License-Identifier: Apache-2.0
 *
 * transpose, concat, split, expand, tile, depth_to_space, space_to_depth, reshape: each describes its copy, common/copy.c does it. */
#include "backend/cpu/move/move.h"

TnStatus tni_cpu_reshape(TnKernelCall *call) {
    tni_cpu_copy_bytes(call->out[0].data, call->in[0].data, tn_tensor_bytes(&call->out[0]), call->threads);
    return TN_OK;
}

static TnCopy copy_to(const TnTensor *y, const TnTensor *x) {
    TnCopy c = {.bytes = tni_cpu_elem_bytes(x->dtype), .rank = y->rank, .dst = y->data, .src = x->data};
    for (int32_t d = 0; d < y->rank; d++)
        c.dims[d] = y->dims[d];
    tni_cpu_row_strides(y->rank, y->dims, c.dst_stride);
    return c;
}

TnStatus tni_cpu_transpose(TnKernelCall *call, const TnTransposeTiles *tiles) {
    const TnTransposeParams *p = call->params;
    int64_t own[TN_MAX_RANK];
    TnCopy c = copy_to(&call->out[0], &call->in[0]);
    tni_cpu_row_strides(call->in[0].rank, call->in[0].dims, own);
    for (int32_t d = 0; d < c.rank; d++)
        c.src_stride[d] = own[p->perm[d]];
    tni_cpu_copy(&c, tiles, call->threads);
    return TN_OK;
}

/* The box of `part`'s dims at `from` along the axis of `whole`. */
static void copy_part(const TnTensor *part, const TnTensor *whole, int32_t axis, int64_t from, bool into_whole, TnThreads *threads) {
    const int64_t inner = tni_cpu_span(part, axis, part->rank), step = tni_cpu_span(whole, axis, whole->rank);
    const int64_t first = from * tni_cpu_span(whole, axis + 1, whole->rank);
    TnCopy c = {.bytes = tni_cpu_elem_bytes(whole->dtype), .rank = 2};
    char *p = part->data, *w = (char *)whole->data + first * c.bytes;
    c.dims[0] = tni_cpu_span(part, 0, axis);
    c.dims[1] = inner;
    c.dst_stride[1] = c.src_stride[1] = 1;
    c.dst_stride[0] = into_whole ? step : inner;
    c.src_stride[0] = into_whole ? inner : step;
    c.dst = into_whole ? w : p;
    c.src = into_whole ? p : w;
    tni_cpu_copy(&c, NULL, threads);
}

TnStatus tni_cpu_concat(TnKernelCall *call) {
    const TnTensor *y = &call->out[0];
    int32_t axis = tni_cpu_axis(((const TnAxisParams *)call->params)->axis, y->rank);
    int64_t from = 0;
    for (uint32_t i = 0; i < call->n_in; i++) {
        if (!tni_cpu_present(&call->in[i]))
            continue;
        copy_part(&call->in[i], y, axis, from, true, call->threads);
        from += call->in[i].dims[axis];
    }
    return TN_OK;
}

TnStatus tni_cpu_split(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_cpu_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    int64_t from = 0;
    for (uint32_t i = 0; i < call->n_out; i++) {
        if (call->out[i].data != NULL)
            copy_part(&call->out[i], x, axis, from, false, call->threads);
        from += call->out[i].dims[axis];
    }
    return TN_OK;
}

TnStatus tni_cpu_expand(TnKernelCall *call) {
    TnCopy c = copy_to(&call->out[0], &call->in[0]);
    tni_cpu_broadcast_strides(&call->in[0], c.rank, c.dims, c.src_stride);
    tni_cpu_copy(&c, NULL, call->threads);
    return TN_OK;
}

TnStatus tni_cpu_tile(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t xs[TN_MAX_RANK], ys[TN_MAX_RANK];
    TnCopy c = {.bytes = tni_cpu_elem_bytes(x->dtype), .rank = 2 * x->rank, .dst = y->data, .src = x->data};
    tni_cpu_row_strides(x->rank, x->dims, xs);
    tni_cpu_row_strides(y->rank, y->dims, ys);
    for (int32_t d = 0; d < x->rank; d++) { /* y's dim d is [repeats, x's dim d] */
        if (x->dims[d] == 0)
            return TN_OK;
        c.dims[2 * d] = y->dims[d] / x->dims[d];
        c.dst_stride[2 * d] = ys[d] * x->dims[d];
        c.src_stride[2 * d] = 0;
        c.dims[2 * d + 1] = x->dims[d];
        c.dst_stride[2 * d + 1] = ys[d];
        c.src_stride[2 * d + 1] = xs[d];
    }
    tni_cpu_copy(&c, NULL, call->threads);
    return TN_OK;
}

/* The deep side is [B, block, block, C, H, W] (DCR) or [B, C, block, block, H, W] (CRD), the wide side [B, C, H, block, W, block]. */
TnStatus tni_cpu_depth_space(TnKernelCall *call, const TnTransposeTiles *tiles, bool to_space) {
    const TnSpaceDepthParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0], *deep = to_space ? x : y, *wide = to_space ? y : x;
    const int64_t b = p->block, C = wide->dims[1], H = deep->dims[2], W = deep->dims[3];
    const bool crd = to_space && p->crd != 0;
    TnCopy c = {.bytes = tni_cpu_elem_bytes(x->dtype), .rank = 6, .dst = y->data, .src = x->data};
    /* strides of batch, channel, row, column, block row, block column on both sides */
    const int64_t n[6] = {deep->dims[0], C, H, W, b, b};
    const int64_t ws[6] = {C * H * W * b * b, H * W * b * b, b * W * b, b, W * b, 1};
    const int64_t ds[6] = {C * H * W * b * b, crd ? b * b * H * W : H * W, W, 1, crd ? b * H * W : b * C * H * W, crd ? H * W : C * H * W};
    /* the destination's own order: wide b c h bh w bw; deep b [bh bw c | c bh bw] h w */
    static const int wide_order[6] = {0, 1, 2, 4, 3, 5}, deep_order[6] = {0, 4, 5, 1, 2, 3};
    for (int d = 0; d < 6; d++) {
        int k = to_space ? wide_order[d] : deep_order[d];
        c.dims[d] = n[k];
        c.dst_stride[d] = to_space ? ws[k] : ds[k];
        c.src_stride[d] = to_space ? ds[k] : ws[k];
    }
    tni_cpu_copy(&c, tiles, call->threads);
    return TN_OK;
}
