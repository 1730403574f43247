/* SPDX-License-Identifier: Apache-2.0
 *
 * pad: constant, reflect, edge, wrap; negative pads crop first. Every output element finds its source; inner dims that are not padded are
 * moved in units of up to 16 bytes. In: pads and axes in host memory, the value in device memory. */
#include "backend/cuda/move/box.h"
#include "backend/cuda/move/move.h"

namespace {
struct Pad {
    const void *x, *value; /* value NULL: zero */
    void *y;
    int64_t total;                                                                                        /* units */
    int64_t dims[TN_MAX_RANK], before[TN_MAX_RANK], lo[TN_MAX_RANK], n[TN_MAX_RANK], stride[TN_MAX_RANK]; /* innermost first */
    TniDiv div[TN_MAX_RANK];
    int32_t rank;
    uint32_t mode, wide, size; /* size: bytes of an element */
};

/* Input coordinate of one dim for output coordinate o, or -1: the constant. */
__device__ int64_t source(const Pad &p, int d, int64_t o) {
    const int64_t n = p.n[d];
    int64_t i = o - p.before[d] - p.lo[d];
    if (i >= 0 && i < n)
        return p.lo[d] + i;
    if (p.mode == TN_PADDING_CONSTANT)
        return -1;
    if (p.mode == TN_PADDING_EDGE) {
        i = i < 0 ? 0 : n - 1;
    } else if (p.mode == TN_PADDING_WRAP) {
        i %= n;
        i = i < 0 ? i + n : i;
    } else if (n == 1) {
        i = 0;
    } else {
        const int64_t period = 2 * (n - 1);
        i %= period;
        i = i < 0 ? i + period : i;
        i = i < n ? i : period - i;
    }
    return p.lo[d] + i;
}

/* The constant, repeated to fill a unit. */
template <typename T> __device__ T constant(const Pad &p) {
    uint8_t bytes[sizeof(T)];
#pragma unroll
    for (int i = 0; i < (int)sizeof(T); i++)
        bytes[i] = p.value != nullptr ? ((const uint8_t *)p.value)[i % p.size] : 0;
    T v;
    memcpy(&v, bytes, sizeof v);
    return v;
}

template <typename T> __global__ void __launch_bounds__(MV_BLOCK) pad_kernel(const __grid_constant__ Pad p) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * MV_BLOCK + threadIdx.x;
    if (i >= p.total)
        return;
    int64_t rest = i, from = 0;
    bool inside = true;
    for (int d = 0; d < p.rank; d++) {
        int64_t c;
        if (p.wide == 0) {
            uint32_t q, r;
            tni_divmod((uint32_t)rest, p.div[d], &q, &r);
            c = r;
            rest = q;
        } else {
            const int64_t q = rest / p.dims[d];
            c = rest - q * p.dims[d];
            rest = q;
        }
        c = source(p, d, c);
        inside = inside && c >= 0;
        from += c * p.stride[d];
    }
    ((T *)p.y)[i] = inside ? ((const T *)p.x)[from] : constant<T>(p);
}

/* Pads of every axis, in the tensor's order. */
TnStatus read_pads(TnKernelCall *call, int64_t *before, int64_t *after) {
    const TnTensor *x = &call->in[0], *y = &call->out[0], *pads = &call->in[1], *axes = &call->in[3];
    const bool has_axes = call->n_in > 3 && axes->dtype != TN_UNDEFINED;
    const int64_t n = has_axes ? tn_tensor_numel(axes) : x->rank;
    if (x->rank != y->rank || tn_tensor_numel(pads) != 2 * n)
        return TN_RAISE(call->err, TN_ERR_RUN, "pad: expected %lld pads (two an axis), found %lld", (long long)(2 * n),
                        (long long)tn_tensor_numel(pads));
    for (int64_t i = 0; i < n; i++) {
        int64_t a = has_axes ? tni_load_i64(axes->dtype, axes->data, i) : i;
        a += a < 0 ? x->rank : 0;
        if (a < 0 || a >= x->rank)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %lld is out of range for rank %d", (long long)a, x->rank);
        before[a] = tni_load_i64(pads->dtype, pads->data, i);
        after[a] = tni_load_i64(pads->dtype, pads->data, i + n);
    }
    for (int32_t d = 0; d < x->rank; d++) {
        int64_t sum = 0;
        if (!tni_add_i64(before[d], after[d], &sum) || !tni_add_i64(sum, x->dims[d], &sum) || sum != y->dims[d])
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "pad: axis %d of the output is not the padded size", d);
    }
    return TN_OK;
}

/* Fills p with dims innermost first, joining neighbours that are not padded. Strides in elements. */
TnStatus setup(TnKernelCall *call, Pad *p) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    int64_t before[TN_MAX_RANK] = {0}, after[TN_MAX_RANK] = {0}, strides[TN_MAX_RANK];
    bool plain[TN_MAX_RANK];
    TN_TRY(read_pads(call, before, after));
    tni_cuda_mv_strides(x->rank, x->dims, strides);
    p->mode = ((const TnPadParams *)call->params)->mode;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        const int64_t lo = before[d] < 0 ? -before[d] : 0, left = x->dims[d] - lo + (after[d] < 0 ? after[d] : 0), n = left < 0 ? 0 : left;
        const bool untouched = before[d] == 0 && after[d] == 0;
        if (n == 0 && p->mode != TN_PADDING_CONSTANT)
            return TN_RAISE(call->err, TN_ERR_RUN, "pad: axis %d has no elements to take the padding from", d);
        if (untouched && p->rank > 0 && plain[p->rank - 1] && strides[d] == p->stride[p->rank - 1] * p->dims[p->rank - 1]) {
            p->dims[p->rank - 1] *= n;
            p->n[p->rank - 1] *= n;
            continue;
        }
        plain[p->rank] = untouched;
        p->dims[p->rank] = y->dims[d];
        p->before[p->rank] = before[d];
        p->lo[p->rank] = lo;
        p->n[p->rank] = n;
        p->stride[p->rank++] = strides[d];
    }
    return TN_OK;
}

/* Unit of bytes in which the innermost dim can be moved. */
size_t widen(Pad *p, size_t size) {
    if (p->rank == 0 || p->before[0] != 0 || p->lo[0] != 0 || p->n[0] != p->dims[0])
        return size;
    size_t unit = 16;
    for (; unit > size; unit /= 2) {
        bool ok = p->dims[0] * (int64_t)size % (int64_t)unit == 0 && tni_is_aligned(p->x, unit) && tni_is_aligned(p->y, unit);
        if (ok)
            break;
    }
    const int64_t k = (int64_t)(unit / size);
    p->dims[0] /= k;
    p->n[0] /= k;
    for (int32_t d = 1; d < p->rank; d++)
        p->stride[d] /= k;
    return unit;
}
} // namespace

TnStatus tni_cuda_pad(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    Pad p;
    memset(&p, 0, sizeof p);
    if (tn_tensor_numel(y) == 0)
        return TN_OK;
    TN_TRY(setup(call, &p));
    p.x = x->data;
    p.y = y->data;
    p.value = call->n_in > 2 && call->in[2].dtype != TN_UNDEFINED ? call->in[2].data : nullptr;
    p.size = (uint32_t)tni_size_of(x->dtype);
    const size_t unit = widen(&p, p.size);
    p.total = 1;
    for (int32_t d = 0; d < p.rank; d++) {
        p.total *= p.dims[d];
        p.wide |= p.dims[d] >= INT64_C(1) << 31;
    }
    p.wide |= p.total >= INT64_C(1) << 31;
    for (int32_t d = 0; d < p.rank && p.wide == 0; d++)
        p.div[d] = tni_div_make(p.dims[d]);
    const unsigned blocks = (unsigned)tni_div_up(p.total, MV_BLOCK);
    TNI_SIZE_SWITCH(unit, T, ((void)tni_launch_early(call->stream, pad_kernel<T>, blocks, MV_BLOCK, 0, p)));
    return tni_cuda_launched(call, "pad");
}
