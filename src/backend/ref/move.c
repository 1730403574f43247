/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving data without looking at it: identity, copy, reshape, transpose, concat, split, slice, pad, expand, tile, trilu, eye_like,
 * depth_to_space, space_to_depth, one_hot. Any element type. */
#include "backend/ref/ref.h"

static TnStatus copy_all(TnKernelCall *call, const char *op) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (tn_tensor_numel(x) != tn_tensor_numel(y))
        return tni_ref_bad_call(call, op, "an output of another size than the input");
    if (x->data != y->data)
        tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, 0, x->data, 0, tn_tensor_numel(y));
    return TN_OK;
}

TnStatus tni_ref_identity(TnKernelCall *call) {
    return copy_all(call, "identity");
}

/* Between memories only the runtime can copy; within one this is it. */
TnStatus tni_ref_copy(TnKernelCall *call) {
    return copy_all(call, "copy");
}

TnStatus tni_ref_reshape(TnKernelCall *call) {
    return copy_all(call, "reshape");
}

/* A copy of all of y's elements from x through the given strides of x. */
static void gather_box(const TnTensor *x, const TnTensor *y, int64_t src_first, const int64_t *src_strides) {
    RefCopy c = {.bits = tn_dtype_bits(x->dtype), .rank = y->rank, .dst = y->data, .src = x->data, .src_first = src_first};
    tni_ref_strides(y->rank, y->dims, c.dst_strides);
    for (int32_t d = 0; d < y->rank; d++) {
        c.dims[d] = y->dims[d];
        c.src_strides[d] = src_strides[d];
    }
    tni_ref_copy_box(&c);
}

TnStatus tni_ref_transpose(TnKernelCall *call) {
    const TnTransposeParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t own[TN_MAX_RANK], strides[TN_MAX_RANK];
    tni_ref_strides(x->rank, x->dims, own);
    if ((int32_t)p->n != x->rank || y->rank != x->rank)
        return tni_ref_bad_call(call, "transpose", "a permutation of another rank");
    for (int32_t d = 0; d < x->rank; d++) {
        if (p->perm[d] >= x->rank || y->dims[d] != x->dims[p->perm[d]])
            return tni_ref_bad_call(call, "transpose", "dims that are not the permuted ones");
        strides[d] = own[p->perm[d]];
    }
    gather_box(x, y, 0, strides);
    return TN_OK;
}

/* Copies between `part` and the place [from, from + part's size) along the axis of `whole`. */
static void copy_part(const TnTensor *part, const TnTensor *whole, int32_t axis, int64_t from, bool into_whole) {
    RefCopy c = {.bits = tn_dtype_bits(part->dtype), .rank = part->rank};
    int64_t strides[TN_MAX_RANK], own[TN_MAX_RANK];
    tni_ref_strides(whole->rank, whole->dims, strides);
    tni_ref_strides(part->rank, part->dims, own);
    for (int32_t d = 0; d < part->rank; d++) {
        c.dims[d] = part->dims[d];
        c.dst_strides[d] = into_whole ? strides[d] : own[d];
        c.src_strides[d] = into_whole ? own[d] : strides[d];
    }
    c.dst = into_whole ? whole->data : part->data;
    c.src = into_whole ? part->data : whole->data;
    *(into_whole ? &c.dst_first : &c.src_first) = from * strides[axis];
    tni_ref_copy_box(&c);
}

static bool fits(const TnTensor *part, const TnTensor *whole, int32_t axis, int64_t from) {
    if (part->rank != whole->rank || part->dims[axis] < 0 || from + part->dims[axis] > whole->dims[axis])
        return false;
    for (int32_t d = 0; d < part->rank; d++)
        if (d != axis && part->dims[d] != whole->dims[d])
            return false;
    return true;
}

TnStatus tni_ref_concat(TnKernelCall *call) {
    const TnTensor *y = &call->out[0];
    int32_t axis = tni_ref_axis(((const TnAxisParams *)call->params)->axis, y->rank);
    if (axis < 0)
        return tni_ref_bad_call(call, "concat", "an axis outside the output's rank");
    int64_t from = 0;
    for (uint32_t i = 0; i < call->n_in; i++) {
        if (call->in[i].dtype == TN_UNDEFINED)
            continue;
        if (!fits(&call->in[i], y, axis, from))
            return tni_ref_bad_call(call, "concat", "an input whose dims do not fit the output");
        copy_part(&call->in[i], y, axis, from, true);
        from += call->in[i].dims[axis];
    }
    return TN_OK;
}

TnStatus tni_ref_split(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_ref_axis(((const TnAxisParams *)call->params)->axis, x->rank);
    if (axis < 0)
        return tni_ref_bad_call(call, "split", "an axis outside the input's rank");
    int64_t from = 0;
    for (uint32_t i = 0; i < call->n_out; i++) {
        if (call->out[i].dtype == TN_UNDEFINED) /* nobody reads it, nor what lies behind it */
            break;
        if (!fits(&call->out[i], x, axis, from))
            return tni_ref_bad_call(call, "split", "an output whose dims do not fit the input");
        if (tni_ref_wants(call, i))
            copy_part(&call->out[i], x, axis, from, false);
        from += call->out[i].dims[axis];
    }
    return TN_OK;
}

TnStatus tni_ref_slice(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *starts = &call->in[1];
    int64_t strides[TN_MAX_RANK], first = 0, n = tn_tensor_numel(starts);
    if (y->rank != x->rank)
        return tni_ref_bad_call(call, "slice", "an output of another rank than the input");
    tni_ref_strides(x->rank, x->dims, strides);
    for (int64_t i = 0; i < n; i++) {
        int64_t step = tni_ref_has(call, 4) ? tni_load_i64(call->in[4].dtype, call->in[4].data, i) : 1;
        int64_t a = tni_ref_has(call, 3) ? tni_load_i64(call->in[3].dtype, call->in[3].data, i) : i;
        int32_t axis = tni_ref_axis(a, x->rank);
        int64_t start = tni_load_i64(starts->dtype, starts->data, i);
        if (axis < 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "slice: axis %lld is out of range for rank %d", (long long)a, (int)x->rank);
        if (step == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "slice: the step of axis %d is 0", (int)axis);
        int64_t size = x->dims[axis], count = y->dims[axis];
        if (start < 0 && !tni_add_i64(start, size, &start))
            start = 0;
        start = start < 0 ? 0 : start;
        start = TN_MIN(start, step > 0 ? size : size - 1);
        int64_t span = 0;
        if (count > 0 && (!tni_mul_i64(count - 1, step, &span) || start + span < 0 || start + span >= size || start < 0 || start >= size))
            return tni_ref_bad_call(call, "slice", "an output that is longer than the slice");
        first += start * strides[axis];
        strides[axis] *= count > 1 ? step : 1;
    }
    for (int32_t d = 0; d < x->rank; d++)
        if (y->dims[d] > x->dims[d])
            return tni_ref_bad_call(call, "slice", "an output that is longer than the input");
    gather_box(x, y, first, strides);
    return TN_OK;
}

TnStatus tni_ref_expand(TnKernelCall *call) {
    RefView v;
    if (!tni_ref_view(&call->in[0], call->out[0].rank, call->out[0].dims, &v))
        return tni_ref_bad_call(call, "expand", "an input that does not broadcast to the output");
    gather_box(&call->in[0], &call->out[0], 0, v.strides);
    return TN_OK;
}

TnStatus tni_ref_trilu(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (x->rank < 2)
        return tni_ref_bad_call(call, "trilu", "an input of rank below 2");
    const int64_t rows = x->dims[x->rank - 2], cols = x->dims[x->rank - 1];
    const bool upper = ((const TnTriluParams *)call->params)->upper != 0;
    const int64_t k = tni_ref_has(call, 1) ? tni_load_i64(call->in[1].dtype, call->in[1].data, 0) : 0;
    const uint32_t bits = tn_dtype_bits(x->dtype);
    static const uint8_t zero[16] = {0};
    const int64_t total = tni_ref_product_of(x->dims, 0, x->rank - 1);
    for (int64_t row = 0; row < total; row++) {
        int64_t i = row % rows, edge; /* first column of the right part: upper keeps j >= i + k, lower j <= i + k */
        if (!tni_add_i64(i + (upper ? 0 : 1), k, &edge))
            edge = k > 0 ? cols : 0;
        edge = edge < 0 ? 0 : TN_MIN(edge, cols);
        if (x->data != y->data)
            tni_ref_copy_run(bits, y->data, row * cols, x->data, row * cols, cols);
        tni_ref_fill(bits, y->data, row * cols + (upper ? 0 : edge), upper ? edge : cols - edge, zero);
    }
    return TN_OK;
}

TnStatus tni_ref_eye_like(TnKernelCall *call) {
    const TnTensor *y = &call->out[0];
    const int64_t k = ((const TnEyeLikeParams *)call->params)->k;
    if (y->rank != 2)
        return tni_ref_bad_call(call, "eye_like", "an output that has not rank 2");
    for (int64_t i = 0; i < y->dims[0]; i++)
        for (int64_t j = 0; j < y->dims[1]; j++)
            tni_store_f64(y->dtype, y->data, i * y->dims[1] + j, j - i == k ? 1.0 : 0.0);
    return TN_OK;
}

/* Both directions walk the same six dims: [B, block, block, C, H, W] (DCR) or [B, C, block, block, H, W] (CRD) on the deep side and
 * [B, C, H, block, W, block] on the wide side. */
static TnStatus depth_space(TnKernelCall *call, const char *op, bool to_space, bool crd, int64_t block) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *deep = to_space ? x : y, *wide = to_space ? y : x;
    if (x->rank != 4 || y->rank != 4 || block < 1 || deep->dims[1] != wide->dims[1] * block * block ||
        wide->dims[2] != deep->dims[2] * block || wide->dims[3] != deep->dims[3] * block || wide->dims[0] != deep->dims[0])
        return tni_ref_bad_call(call, op, "dims that the block size does not connect");
    const int64_t C = wide->dims[1], H = deep->dims[2], W = deep->dims[3];
    /* order: b, c, h, bh, w, bw */
    const int64_t dims[6] = {deep->dims[0], C, H, block, W, block};
    const int64_t ws[6] = {C * H * W * block * block, H * W * block * block, block * W * block, W * block, block, 1};
    const int64_t ds[6] = {C * H * W * block * block, crd ? block * block * H * W : H * W, W, crd ? block * H * W : block * C * H * W, 1,
                           crd ? H * W : C * H * W};
    RefCopy c = {.bits = tn_dtype_bits(x->dtype), .rank = 6, .dst = y->data, .src = x->data};
    for (int d = 0; d < 6; d++) {
        c.dims[d] = dims[d];
        c.dst_strides[d] = to_space ? ws[d] : ds[d];
        c.src_strides[d] = to_space ? ds[d] : ws[d];
    }
    tni_ref_copy_box(&c);
    return TN_OK;
}

TnStatus tni_ref_depth_to_space(TnKernelCall *call) {
    const TnSpaceDepthParams *p = call->params;
    return depth_space(call, "depth_to_space", true, p->crd != 0, p->block);
}

TnStatus tni_ref_space_to_depth(TnKernelCall *call) {
    return depth_space(call, "space_to_depth", false, false, ((const TnSpaceDepthParams *)call->params)->block);
}

TnStatus tni_ref_tile(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (x->rank != y->rank)
        return tni_ref_bad_call(call, "tile", "an output of another rank than the input");
    RefCopy c = {.bits = tn_dtype_bits(x->dtype), .rank = 2 * x->rank, .dst = y->data, .src = x->data};
    int64_t xs[TN_MAX_RANK], ys[TN_MAX_RANK];
    tni_ref_strides(x->rank, x->dims, xs);
    tni_ref_strides(y->rank, y->dims, ys);
    for (int32_t d = 0; d < x->rank; d++) { /* y's dim d is [repeats, x's dim d] */
        if (x->dims[d] == 0)
            return TN_OK;
        if (y->dims[d] % x->dims[d] != 0)
            return tni_ref_bad_call(call, "tile", "an output that is no multiple of the input");
        c.dims[2 * d] = y->dims[d] / x->dims[d];
        c.dst_strides[2 * d] = ys[d] * x->dims[d];
        c.dims[2 * d + 1] = x->dims[d];
        c.dst_strides[2 * d + 1] = ys[d];
        c.src_strides[2 * d + 1] = xs[d];
    }
    tni_ref_copy_box(&c);
    return TN_OK;
}

TnStatus tni_ref_one_hot(TnKernelCall *call) {
    const TnTensor *idx = &call->in[0], *values = &call->in[2], *y = &call->out[0];
    const int64_t depth = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    int32_t axis = tni_ref_axis(((const TnAxisParams *)call->params)->axis, y->rank);
    if (axis < 0 || y->rank != idx->rank + 1 || tn_tensor_numel(values) != 2)
        return tni_ref_bad_call(call, "one_hot", "an axis or values that do not fit");
    if (y->dims[axis] != depth)
        return tni_ref_bad_call(call, "one_hot", "an output whose depth is not the given one");
    const uint32_t bits = tn_dtype_bits(y->dtype);
    const int64_t inner = tni_ref_product_of(y->dims, axis + 1, y->rank), n = tn_tensor_numel(idx);
    tni_ref_fill(bits, y->data, 0, tn_tensor_numel(y), values->data);
    for (int64_t i = 0; i < n; i++) {
        int64_t k = tni_load_i64(idx->dtype, idx->data, i);
        k = k < 0 && k >= -depth ? k + depth : k;
        if (k >= 0 && k < depth) /* anything else: all off */
            tni_ref_copy_run(bits, y->data, (i / inner * depth + k) * inner + i % inner, values->data, 1, 1);
    }
    return TN_OK;
}
