/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving operators that are copies of boxes (box.h): identity, reshape, copy, transpose, slice, expand, tile, depth_to_space,
 * space_to_depth. Host code: computes strides, which the kernels follow. */
#include "backend/cuda/move/move.h"
#include "backend/cuda/move/box.h"

static TnStatus bad(TnKernelCall *call, const char *op, const char *what) {
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "%s was called with %s", op, what);
}

static TnStatus copy_all(TnKernelCall *call, const char *op) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    size_t bytes = tn_tensor_bytes(y);
    if (tn_tensor_numel(x) != tn_tensor_numel(y))
        return bad(call, op, "an output of another size than the input");
    if (bytes > 0 && x->data != y->data)
        TNI_CUDA(call->err, cudaMemcpyAsync(y->data, x->data, bytes, cudaMemcpyDeviceToDevice, call->stream->s), op);
    return TN_OK;
}

TnStatus tni_cuda_identity(TnKernelCall *call) {
    return copy_all(call, "identity");
}

TnStatus tni_cuda_reshape(TnKernelCall *call) {
    return copy_all(call, "reshape");
}

TnStatus tni_cuda_copy(TnKernelCall *call) {
    return copy_all(call, "copy");
}

/* y from x through strides of x. */
static TnStatus view(TnKernelCall *call, int64_t first, const int64_t *strides, const char *op) {
    MvBox b;
    tni_cuda_mv_box(&call->out[0], first, strides, &b);
    return tni_cuda_mv_copy(call, &b, call->out[0].data, call->in[0].data, tni_size_of(call->in[0].dtype), op);
}

TnStatus tni_cuda_transpose(TnKernelCall *call) {
    const TnTransposeParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t own[TN_MAX_RANK], strides[TN_MAX_RANK];
    if ((int32_t)p->n != x->rank || y->rank != x->rank)
        return bad(call, "transpose", "a permutation of another rank");
    tni_cuda_mv_strides(x->rank, x->dims, own);
    for (int32_t d = 0; d < x->rank; d++) {
        if (p->perm[d] >= x->rank || y->dims[d] != x->dims[p->perm[d]])
            return bad(call, "transpose", "dims that are not the permuted ones");
        strides[d] = own[p->perm[d]];
    }
    return view(call, 0, strides, "transpose");
}

static bool has(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && call->in[i].dtype != TN_UNDEFINED;
}

/* Bounds are host memory (tni_op_host_inputs). Ends were used for the output's dims. */
TnStatus tni_cuda_slice(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *starts = &call->in[1];
    int64_t strides[TN_MAX_RANK], first = 0;
    if (y->rank != x->rank)
        return bad(call, "slice", "an output of another rank than the input");
    tni_cuda_mv_strides(x->rank, x->dims, strides);
    for (int64_t i = 0; i < tn_tensor_numel(starts); i++) {
        int64_t step = has(call, 4) ? tni_load_i64(call->in[4].dtype, call->in[4].data, i) : 1;
        int64_t a = has(call, 3) ? tni_load_i64(call->in[3].dtype, call->in[3].data, i) : i;
        int64_t start = tni_load_i64(starts->dtype, starts->data, i), span = 0;
        a += a < 0 ? x->rank : 0;
        if (a < 0 || a >= x->rank || step == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "slice: axis %lld and step %lld do not fit an input of rank %d", (long long)a,
                            (long long)step, x->rank);
        const int64_t size = x->dims[a], n = y->dims[a];
        if (start < 0 && !tni_add_i64(start, size, &start))
            start = 0;
        start = TN_MIN(TN_MAX(start, 0), step > 0 ? size : size - 1);
        if (n > 0 && (!tni_mul_i64(n - 1, step, &span) || start + span < 0 || start + span >= size || start < 0 || start >= size))
            return bad(call, "slice", "an output that is longer than the slice");
        first += start * strides[a];
        strides[a] *= n > 1 ? step : 1;
    }
    for (int32_t d = 0; d < x->rank; d++)
        if (y->dims[d] > x->dims[d])
            return bad(call, "slice", "an output that is longer than the input");
    return view(call, first, strides, "slice");
}

TnStatus tni_cuda_expand(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t own[TN_MAX_RANK], strides[TN_MAX_RANK];
    if (x->rank > y->rank)
        return bad(call, "expand", "an input of a higher rank than the output");
    tni_cuda_mv_strides(x->rank, x->dims, own);
    for (int32_t d = 0; d < y->rank; d++) {
        int32_t i = d - (y->rank - x->rank);
        int64_t n = i < 0 ? 1 : x->dims[i];
        if (n != y->dims[d] && n != 1)
            return bad(call, "expand", "an input that does not broadcast to the output");
        strides[d] = n == 1 ? 0 : own[i];
    }
    return view(call, 0, strides, "expand");
}

TnStatus tni_cuda_tile(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t xs[TN_MAX_RANK], ys[TN_MAX_RANK];
    MvBox b = {.n = 2 * x->rank};
    if (x->rank != y->rank)
        return bad(call, "tile", "an output of another rank than the input");
    tni_cuda_mv_strides(x->rank, x->dims, xs);
    tni_cuda_mv_strides(y->rank, y->dims, ys);
    for (int32_t d = 0; d < x->rank; d++) { /* y's dim d is [repeats, x's dim d] */
        if (x->dims[d] == 0)
            return TN_OK;
        if (y->dims[d] % x->dims[d] != 0)
            return bad(call, "tile", "an output that is no multiple of the input");
        b.dims[2 * d] = y->dims[d] / x->dims[d];
        b.dst[2 * d] = ys[d] * x->dims[d];
        b.dims[2 * d + 1] = x->dims[d];
        b.dst[2 * d + 1] = ys[d];
        b.src[2 * d + 1] = xs[d];
    }
    return tni_cuda_mv_copy(call, &b, y->data, x->data, tni_size_of(x->dtype), "tile");
}

/* Six dims in the output's order. The deep side is [B, block, block, C, H, W] (DCR) or [B, C, block, block, H, W] (CRD), the wide side
 * [B, C, H, block, W, block]. */
static TnStatus depth_space(TnKernelCall *call, const char *op, bool to_space, bool crd, int64_t block) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *deep = to_space ? x : y, *wide = to_space ? y : x;
    if (x->rank != 4 || y->rank != 4 || block < 1 || deep->dims[1] != wide->dims[1] * block * block ||
        wide->dims[2] != deep->dims[2] * block || wide->dims[3] != deep->dims[3] * block || wide->dims[0] != deep->dims[0])
        return bad(call, op, "dims that the block size does not connect");
    const int64_t C = wide->dims[1], H = deep->dims[2], W = deep->dims[3], whole = C * H * W * block * block;
    /* b, c, h, block row, w, block column */
    const int64_t dims[6] = {deep->dims[0], C, H, block, W, block};
    const int64_t ws[6] = {whole, H * W * block * block, block * W * block, W * block, block, 1};
    const int64_t ds[6] = {
        whole, crd ? block * block * H * W : H * W, W, crd ? block * H * W : block * C * H * W, 1, crd ? H * W : C * H * W};
    /* order of the output's memory, so that its strides descend */
    static const int32_t by_wide[6] = {0, 1, 2, 3, 4, 5}, by_dcr[6] = {0, 3, 5, 1, 2, 4}, by_crd[6] = {0, 1, 3, 5, 2, 4};
    const int32_t *order = to_space ? by_wide : crd ? by_crd : by_dcr;
    MvBox b = {.n = 6};
    for (int32_t i = 0; i < 6; i++) {
        const int32_t d = order[i];
        b.dims[i] = dims[d];
        b.dst[i] = to_space ? ws[d] : ds[d];
        b.src[i] = to_space ? ds[d] : ws[d];
    }
    return tni_cuda_mv_copy(call, &b, y->data, x->data, tni_size_of(x->dtype), op);
}

TnStatus tni_cuda_depth_to_space(TnKernelCall *call) {
    const TnSpaceDepthParams *p = call->params;
    return depth_space(call, "depth_to_space", true, p->crd != 0, p->block);
}

TnStatus tni_cuda_space_to_depth(TnKernelCall *call) {
    return depth_space(call, "space_to_depth", false, false, ((const TnSpaceDepthParams *)call->params)->block);
}

/* ---- what they take ---- */
static bool whole_bytes(TnDtype t) {
    return tn_dtype_bits(t) >= 8;
}

bool tni_cuda_move_supports(const TnKernelQuery *q) {
    return whole_bytes(q->in[0].dtype) && q->out[0].dtype == q->in[0].dtype;
}

/* Any type, packed ones too: bytes are bytes. */
bool tni_cuda_copy_supports(const TnKernelQuery *q) {
    return tn_dtype_bits(q->in[0].dtype) > 0 && q->out[0].dtype == q->in[0].dtype;
}

bool tni_cuda_trilu_supports(const TnKernelQuery *q) {
    return tni_cuda_move_supports(q) && q->in[0].rank >= 2;
}

static bool number(TnDtype t) {
    return (tni_dtype_is_int(t) || t == TN_BOOL || tni_is_real(t) || t == TN_F64) && whole_bytes(t);
}

bool tni_cuda_eye_supports(const TnKernelQuery *q) {
    return number(q->out[0].dtype) && q->out[0].rank == 2;
}

bool tni_cuda_range_supports(const TnKernelQuery *q) {
    return number(q->out[0].dtype);
}

bool tni_cuda_fill_supports(const TnKernelQuery *q) {
    uint32_t bits = tn_dtype_bits(q->out[0].dtype);
    return bits >= 8 && bits <= 64;
}

bool tni_cuda_numbers_supports(const TnKernelQuery *q) {
    return q->out[0].dtype == TN_I64 || q->out[0].dtype == TN_I32;
}

bool tni_cuda_one_hot_supports(const TnKernelQuery *q) {
    return number(q->in[0].dtype) && whole_bytes(q->out[0].dtype);
}

double tni_cuda_move_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, tni_cuda_bytes(q), 0, 0);
}

/* The smaller of input and output is read or repeated, the output is written. */
double tni_cuda_part_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, 2.0 * (double)tn_tensor_bytes(&q->out[0]), 0, 0);
}
