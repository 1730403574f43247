/* SPDX-License-Identifier: Apache-2.0
 *
 * resize: a small launch makes a table an axis (nearest: the input index of every output index; linear and cubic: the first tap and the
 * weights, normalised), computed in double as the reference does; a second one reads it, a thread an output. In: roi, scales and sizes in
 * host memory. */
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/resize/resize.h"

#define RS_BLOCK 256

namespace {
struct Axis {
    double scale, roi_start, roi_end, length, stretch; /* length: output size before rounding */
    int64_t in, out, taps, below;                      /* below: of the first tap against the floor of the coordinate, negative */
    int64_t *first;                                    /* [out] */
    double *weights;                                   /* [out][taps] */
    uint8_t *outside;                                  /* [out]: extrapolated */
    uint32_t same, touched;
};

struct Resize {
    const void *x;
    void *y;
    int64_t total;
    Axis axis[TN_MAX_RANK];
    int64_t strides[TN_MAX_RANK]; /* of x */
    int32_t rank;
    int32_t list[TN_MAX_RANK], n; /* axes that are resampled */
    uint32_t type, mode, coord, nearest, exclude_outside;
    float cubic_a, extrapolation;
};

/* Input coordinate of output coordinate o. */
__device__ double source(const Resize &r, const Axis &a, int64_t o) {
    const double x = (double)o, s = a.scale, in = (double)a.in, out = (double)a.out;
    switch (r.coord) {
    case TN_COORD_HALF_PIXEL:
        return (x + 0.5) / s - 0.5;
    case TN_COORD_HALF_PIXEL_SYMMETRIC:
        return __dadd_rn(__dmul_rn(in / 2, 1 - out / a.length), (x + 0.5) / s) - 0.5;
    case TN_COORD_PYTORCH_HALF_PIXEL:
        return out > 1 ? (x + 0.5) / s - 0.5 : 0.0;
    case TN_COORD_ALIGN_CORNERS:
        return out > 1 ? x * (in - 1) / (out - 1) : 0.0;
    case TN_COORD_ASYMMETRIC:
        return x / s;
    default: /* tf_crop_and_resize */
        if (out > 1)
            return __dadd_rn(__dmul_rn(a.roi_start, in - 1), __dmul_rn(__dmul_rn(x, a.roi_end - a.roi_start), in - 1) / (out - 1));
        return 0.5 * (a.roi_start + a.roi_end) * (in - 1);
    }
}

__device__ double kernel_at(const Resize &r, double t) {
    t = fabs(t);
    if (r.mode == TN_RESIZE_LINEAR)
        return fmax(0.0, 1.0 - t);
    const double a = (double)r.cubic_a;
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0.0;
}

__device__ int64_t nearest_of(const Resize &r, const Axis &a, double c) {
    double n;
    switch (r.nearest) {
    case TN_NEAREST_ROUND_PREFER_FLOOR:
        n = ceil(c - 0.5);
        break;
    case TN_NEAREST_ROUND_PREFER_CEIL:
        n = floor(c + 0.5);
        break;
    case TN_NEAREST_FLOOR:
        n = floor(c);
        break;
    default:
        n = ceil(c);
    }
    return (int64_t)fmin(fmax(n, 0.0), (double)(a.in - 1));
}

/* Table entry of one output coordinate of axis blockIdx.y. */
__global__ void __launch_bounds__(RS_BLOCK) table_kernel(const __grid_constant__ Resize r) {
    const Axis &a = r.axis[blockIdx.y];
    for (int64_t o = (int64_t)blockIdx.x * RS_BLOCK + threadIdx.x; o < a.out; o += (int64_t)gridDim.x * RS_BLOCK) {
        double c = source(r, a, o);
        a.outside[o] = r.coord == TN_COORD_TF_CROP_AND_RESIZE && a.touched != 0 && !(c >= 0.0 && c <= (double)(a.in - 1));
        if (a.same != 0) {
            a.first[o] = o;
            continue;
        }
        if (r.mode == TN_RESIZE_NEAREST) {
            a.first[o] = nearest_of(r, a, c);
            continue;
        }
        c = fmin(fmax(c, -2.0 * (double)a.in - 8), 3.0 * (double)a.in + 8);
        const int64_t first = (int64_t)floor(c) + a.below;
        double sum = 0.0;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t k = 0; k < a.taps; k++) {
                const int64_t i = first + k;
                const bool out = r.exclude_outside != 0 && (i < 0 || i >= a.in);
                const double w = out ? 0.0 : kernel_at(r, ((double)i - c) * a.stretch);
                if (pass == 0)
                    sum += w;
                else
                    a.weights[o * a.taps + k] = w / sum;
            }
        a.first[o] = first;
    }
}

/* Coordinates of output i: offset of the axes that stay, table positions of the others; true: extrapolated. */
__device__ bool locate(const Resize &r, int64_t i, int64_t *base, int64_t (&o)[TN_MAX_RANK]) {
    bool outside = false;
    *base = 0;
#pragma unroll
    for (int d = TN_MAX_RANK - 1; d >= 0; d--) {
        if (d >= r.rank)
            continue;
        const Axis &a = r.axis[d];
        const int64_t q = i / a.out;
        o[d] = i - q * a.out;
        i = q;
        outside = outside || (r.coord == TN_COORD_TF_CROP_AND_RESIZE && a.outside[o[d]] != 0);
        if (a.same != 0)
            *base += o[d] * r.strides[d];
    }
    return outside;
}

template <typename T> __global__ void __launch_bounds__(RS_BLOCK) nearest_kernel(const __grid_constant__ Resize r) {
    const int64_t i = (int64_t)blockIdx.x * RS_BLOCK + threadIdx.x;
    if (i >= r.total)
        return;
    int64_t from, o[TN_MAX_RANK];
    if (locate(r, i, &from, o)) {
        el_put_f64(r.type, r.y, i, (double)r.extrapolation);
        return;
    }
#pragma unroll
    for (int d = 0; d < TN_MAX_RANK; d++)
        if (d < r.rank && r.axis[d].same == 0)
            from += r.axis[d].first[o[d]] * r.strides[d];
    ((T *)r.y)[i] = ((const T *)r.x)[from];
}

/* Sum over the taps of all resampled axes; a weight of 0 hides infinities and NaN. */
__global__ void __launch_bounds__(RS_BLOCK) taps_kernel(const __grid_constant__ Resize r) {
    const int64_t i = (int64_t)blockIdx.x * RS_BLOCK + threadIdx.x;
    if (i >= r.total)
        return;
    int64_t base, o[TN_MAX_RANK], at[TN_MAX_RANK], count = 1;
    if (locate(r, i, &base, o)) {
        el_put_f64(r.type, r.y, i, (double)r.extrapolation);
        return;
    }
#pragma unroll
    for (int d = 0; d < TN_MAX_RANK; d++)
        at[d] = d < r.rank && r.axis[d].same == 0 ? o[d] : -1;
#pragma unroll
    for (int d = 0; d < TN_MAX_RANK; d++)
        count *= at[d] >= 0 ? r.axis[d].taps : 1;
    double sum = 0.0;
    for (int64_t t = 0; t < count; t++) {
        int64_t rest = t, from = base;
        double w = 1.0;
#pragma unroll
        for (int d = TN_MAX_RANK - 1; d >= 0; d--) {
            if (at[d] < 0)
                continue;
            const Axis &a = r.axis[d];
            const int64_t q = rest / a.taps, k = rest - q * a.taps;
            rest = q;
            w *= a.weights[at[d] * a.taps + k];
            const int64_t place = a.first[at[d]] + k, last = a.in - 1;
            from += (place < 0 ? 0 : place > last ? last : place) * r.strides[d];
        }
        if (w != 0.0)
            sum += w * el_load_f64(r.type, r.x, from);
    }
    el_put_f64(r.type, r.y, i, el_exact(r.type) ? rint(sum) : sum);
}

/* Where the list of axes (or all) has axis d: position in roi, scales and sizes; -1: it has not. */
int64_t place_of(const TnResizeParams *p, int32_t rank, int32_t d) {
    for (uint32_t i = 0; i < p->n_axes && i < TN_MAX_RANK; i++)
        if ((p->axes[i] < 0 ? p->axes[i] + rank : p->axes[i]) == d)
            return (int64_t)i;
    return p->n_axes == 0 ? d : -1;
}

bool has(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && call->in[i].dtype != TN_UNDEFINED;
}

/* keep_aspect: one scale for all axes of the list; 0: none. */
double common_scale(const TnKernelCall *call, const TnResizeParams *p, bool by_size) {
    const TnTensor *x = &call->in[0];
    double common = 0.0;
    for (int32_t d = 0; d < x->rank && by_size && p->keep_aspect != 0; d++) {
        const int64_t i = place_of(p, x->rank, d);
        if (i < 0)
            continue;
        const double s = (double)tni_load_i64(call->in[3].dtype, call->in[3].data, i) / (double)x->dims[d];
        common = common == 0.0 ? s : p->keep_aspect == 1 ? (s < common ? s : common) : s > common ? s : common;
    }
    return common;
}

TnStatus setup_axes(TnKernelCall *call, Resize *r) {
    const TnResizeParams *p = (const TnResizeParams *)call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const int64_t n = p->n_axes == 0 ? (int64_t)x->rank : (int64_t)p->n_axes;
    const bool by_scale = has(call, 2) && tn_tensor_numel(&call->in[2]) > 0, by_size = !by_scale && has(call, 3);
    const bool crop = p->coord == TN_COORD_TF_CROP_AND_RESIZE;
    if (x->rank != y->rank || (by_scale && tn_tensor_numel(&call->in[2]) != n) || (by_size && tn_tensor_numel(&call->in[3]) != n) ||
        (crop && (!has(call, 1) || tn_tensor_numel(&call->in[1]) != 2 * n)))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "resize was called without as many scales, sizes or regions as axes");
    const double common = common_scale(call, p, by_size), reach = p->mode == TN_RESIZE_LINEAR ? 1.0 : 2.0;
    for (int32_t d = 0; d < x->rank; d++) {
        const int64_t i = place_of(p, x->rank, d);
        Axis *a = &r->axis[d];
        a->in = x->dims[d];
        a->out = y->dims[d];
        a->touched = i >= 0;
        if (i >= 0 && a->out > 0 && a->in == 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: axis %d has no elements to take values from", d);
        a->scale = a->in > 0 ? (double)a->out / (double)a->in : 1.0;
        if (i >= 0 && by_scale)
            a->scale = tni_load_f64(call->in[2].dtype, call->in[2].data, i);
        else if (i >= 0 && common > 0.0)
            a->scale = common;
        a->length = a->scale * (double)a->in;
        if (i >= 0 && !(a->scale > 0.0) && a->out > 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "resize: the scale of axis %d is %g, expected more than 0", d, a->scale);
        if (i >= 0 && crop) {
            a->roi_start = tni_load_f64(call->in[1].dtype, call->in[1].data, i);
            a->roi_end = tni_load_f64(call->in[1].dtype, call->in[1].data, i + n);
        }
        a->same = a->in == a->out && (i < 0 || (a->scale == 1.0 && !crop));
        a->stretch = p->antialias != 0 && a->scale < 1.0 ? a->scale : 1.0;
        const int64_t cut = (int64_t)(reach / a->stretch), down = (double)cut == reach / a->stretch ? cut : cut + 1; /* ceil */
        a->below = 1 - down;
        a->taps = 2 * down;
    }
    return TN_OK;
}

/* Tables of all axes in scratch memory; returns their bytes (base NULL: counts only). */
size_t tables(Resize *r, char *base) {
    size_t at = 0;
    for (int32_t d = 0; d < r->rank; d++) {
        Axis *a = &r->axis[d];
        a->first = (int64_t *)(base + at);
        at += (size_t)a->out * sizeof(int64_t);
        a->weights = (double *)(base + at);
        at += a->same != 0 || r->mode == TN_RESIZE_NEAREST ? 0 : (size_t)(a->out * a->taps) * sizeof(double);
        a->outside = (uint8_t *)(base + at);
        at += ((size_t)a->out + 7) / 8 * 8;
    }
    return at;
}
} // namespace

TnStatus tni_cuda_resize(TnKernelCall *call) {
    const TnResizeParams *p = (const TnResizeParams *)call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    Resize r;
    memset(&r, 0, sizeof r);
    TN_TRY(setup_axes(call, &r));
    r.total = tn_tensor_numel(y);
    if (r.total == 0)
        return TN_OK;
    r.x = x->data;
    r.y = y->data;
    r.rank = x->rank;
    r.type = (uint32_t)x->dtype;
    r.mode = p->mode;
    r.coord = p->coord;
    r.nearest = p->nearest;
    r.exclude_outside = p->exclude_outside;
    r.cubic_a = p->cubic_a;
    r.extrapolation = p->extrapolation;
    const size_t need = tables(&r, (char *)call->scratch);
    if (call->scratch_bytes < need)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "resize needs %zu bytes of scratch memory, was given %zu", need, call->scratch_bytes);
    int64_t stride = 1, longest = 1;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        r.strides[d] = stride;
        stride *= x->dims[d];
        longest = TN_MAX(longest, y->dims[d]);
    }
    cudaStream_t s = call->stream->s;
    const unsigned blocks = (unsigned)tni_div_up(r.total, RS_BLOCK);
    if (r.rank > 0)
        table_kernel<<<dim3((unsigned)TN_MIN(tni_div_up(longest, RS_BLOCK), 1024), (unsigned)r.rank), RS_BLOCK, 0, s>>>(r);
    if (p->mode == TN_RESIZE_NEAREST)
        TNI_SIZE_SWITCH(tni_size_of(x->dtype), T, (nearest_kernel<T><<<blocks, RS_BLOCK, 0, s>>>(r)));
    else
        taps_kernel<<<blocks, RS_BLOCK, 0, s>>>(r);
    return tni_cuda_launched(call, "resize");
}

/* Bounds that grow with every dim: an axis has at most 2 * (reach / scale + 1) taps, and its scale is at least (out - 1/2) / in, so that
 * out * taps is at most 4 * reach * in + 2 * out. */
size_t tni_cuda_resize_scratch(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0], *y = &q->out[0];
    size_t bytes = 0;
    for (int32_t d = 0; d < x->rank && d < y->rank; d++) {
        const size_t in = (size_t)x->dims[d], out = (size_t)y->dims[d];
        bytes += out * 9 + 8 + (8 * in + 6 * out + 16) * sizeof(double);
    }
    return bytes;
}

static bool of_type(const TnKernelQuery *q, TnDtype t) {
    return q->in[0].dtype == t && q->out[0].dtype == t;
}

bool tni_cuda_resize_floats(const TnKernelQuery *q) {
    return of_type(q, TN_F32) || of_type(q, TN_F64);
}

bool tni_cuda_resize_halves(const TnKernelQuery *q) {
    return of_type(q, TN_F16);
}

bool tni_cuda_resize_brains(const TnKernelQuery *q) {
    return of_type(q, TN_BF16);
}

bool tni_cuda_resize_integers(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype;
    return (tni_dtype_is_int(t) || t == TN_BOOL) && tn_dtype_bits(t) >= 8 && q->out[0].dtype == t;
}

double tni_cuda_resize_cost(const TnKernelQuery *q) {
    return 4000.0 + tni_cuda_cost(q, 4.0 * (double)tn_tensor_bytes(&q->out[0]), 0, 0);
}
