/* SPDX-License-Identifier: Apache-2.0
 *
 * det, dft, cumprod, reduce_axes, bit_cast. */
#include <math.h>

#include "backend/ref/ref.h"

TnStatus tni_ref_bit_cast(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (tn_dtype_bits(x->dtype) != tn_dtype_bits(y->dtype))
        return tni_ref_bad_call(call, "bit_cast", "types of different widths");
    tni_ref_copy_run(tn_dtype_bits(x->dtype), y->data, 0, x->data, 0, tn_tensor_numel(x));
    return TN_OK;
}

TnStatus tni_ref_reduce_axes(TnKernelCall *call) {
    const TnReduceAxesParams *p = call->params;
    const TnTensor *x = &call->in[0], *axes = &call->in[1];
    TnReduceParams r;
    const int64_t n = tn_tensor_numel(axes);
    memset(&r, 0, sizeof r);
    r.fn = p->fn;
    r.keepdims = p->keepdims;
    r.n_axes = n == 0 && p->noop == 0 ? (uint32_t)x->rank : (uint32_t)n;
    if (n > x->rank)
        return TN_RAISE(call->err, TN_ERR_RUN, "reduce_axes: %lld axes for an input of rank %d", (long long)n, (int)x->rank);
    for (uint32_t i = 0; i < r.n_axes; i++) {
        r.axes[i] = n == 0 ? (int32_t)i : tni_ref_axis(tni_load_i64(axes->dtype, axes->data, i), x->rank);
        if (r.axes[i] < 0)
            return TN_RAISE(call->err, TN_ERR_RUN, "reduce_axes: axis %lld is out of range for an input of rank %d",
                            (long long)tni_load_i64(axes->dtype, axes->data, i), (int)x->rank);
    }
    call->params = &r;
    TnStatus st = tni_ref_reduce(call);
    call->params = p;
    return st;
}

/* ---- cumprod: x seen as [outer, n, inner] ---- */
TnStatus tni_ref_cumprod(TnKernelCall *call) {
    const TnCumsumParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    if (tn_tensor_numel(&call->in[1]) != 1)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumprod: the axis must be one element");
    const int64_t v = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    const int32_t axis = x->rank == 0 && (v == 0 || v == -1) ? 0 : tni_ref_axis(v, x->rank);
    if (axis < 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumprod: axis %lld is out of range for an input of rank %d", (long long)v, (int)x->rank);
    const int64_t outer = tni_ref_product_of(x->dims, 0, axis), n = x->rank == 0 ? 1 : x->dims[axis],
                  inner = tni_ref_product_of(x->dims, axis + 1, x->rank);
    const bool exact = tni_ref_exact(x->dtype);
    for (int64_t i = 0; i < outer * inner; i++) {
        double product = 1.0;
        uint64_t whole = 1;
        for (int64_t k = 0; k < n; k++) {
            const int64_t at = i / inner * n * inner + i % inner + (p->reverse != 0 ? n - 1 - k : k) * inner;
            const double before = product;
            const uint64_t whole_before = whole;
            if (exact)
                whole *= (uint64_t)tni_load_i64(x->dtype, x->data, at);
            else
                product *= tni_load_f64(x->dtype, x->data, at);
            if (exact)
                tni_store_i64(y->dtype, y->data, at, (int64_t)(p->exclusive != 0 ? whole_before : whole));
            else
                tni_store_f64(y->dtype, y->data, at, p->exclusive != 0 ? before : product);
        }
    }
    return TN_OK;
}

/* ---- det: elimination with the largest pivot of each column; scratch holds one matrix ---- */
static double eliminate(double *a, int64_t n) {
    double det = 1.0;
    for (int64_t k = 0; k < n; k++) {
        int64_t best = k;
        for (int64_t i = k + 1; i < n; i++)
            if (fabs(a[i * n + k]) > fabs(a[best * n + k]))
                best = i;
        const double pivot = a[best * n + k];
        det *= best == k ? pivot : -pivot;
        if (pivot == 0.0)
            return 0.0;
        for (int64_t j = k; j < n && best != k; j++) {
            double t = a[k * n + j];
            a[k * n + j] = a[best * n + j];
            a[best * n + j] = t;
        }
        for (int64_t i = k + 1; i < n; i++) {
            const double f = a[i * n + k] / pivot;
            for (int64_t j = k; j < n; j++)
                a[i * n + j] -= f * a[k * n + j];
        }
    }
    return det;
}

TnStatus tni_ref_det(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const int64_t n = x->dims[x->rank - 1];
    TN_TRY(tni_ref_need_scratch(call, "det", (size_t)(n * n) * sizeof(double)));
    double *a = call->scratch;
    for (int64_t i = 0; i < tn_tensor_numel(y); i++) {
        tni_ref_load_f64(x->dtype, x->data, i * n * n, 1, n * n, a);
        tni_store_f64(y->dtype, y->data, i, eliminate(a, n));
    }
    return TN_OK;
}

/* ---- dft: the sum as it is defined. Angles are exact fractions of a turn, so that long signals lose nothing ---- */
typedef struct Dft {
    const TnTensor *x, *y;
    const TnDftParams *p;
    int64_t outer, in_n, out_n, inner, length, parts;
} Dft;

/* Part (0 real, 1 imaginary) of bin k of the signal at (o, i); bins that a onesided inverse lacks are conjugates of those it has. */
static double part_at(const Dft *d, int64_t o, int64_t k, int64_t i, int part) {
    double sign = 1.0;
    if (d->p->inverse && d->p->onesided && k > d->length / 2) {
        k = d->length - k;
        sign = part == 1 ? -1.0 : 1.0;
    }
    if (k >= d->in_n || part >= d->parts)
        return 0.0;
    return sign * tni_load_f64(d->x->dtype, d->x->data, ((o * d->in_n + k) * d->inner + i) * d->parts + part);
}

static void dft_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Dft *d = ctx;
    (void)worker;
    const int64_t parts = d->y->dims[d->y->rank - 1];
    for (int64_t e = first; e < last; e++) {
        const int64_t i = e % d->inner, k = e / d->inner % d->out_n, o = e / d->inner / d->out_n;
        double re = 0.0, im = 0.0;
        for (int64_t n = 0; n < d->length; n++) {
            const int64_t turn = (int64_t)((uint64_t)k * (uint64_t)n % (uint64_t)d->length);
            const double angle = 6.283185307179586476925 * (double)turn / (double)d->length, c = cos(angle),
                         s = d->p->inverse ? sin(angle) : -sin(angle);
            const double a = part_at(d, o, n, i, 0), b = part_at(d, o, n, i, 1);
            re += a * c - b * s;
            im += a * s + b * c;
        }
        const double scale = d->p->inverse ? 1.0 / (double)d->length : 1.0;
        tni_store_f64(d->y->dtype, d->y->data, e * parts, re * scale);
        if (parts == 2)
            tni_store_f64(d->y->dtype, d->y->data, e * parts + 1, im * scale);
    }
}

TnStatus tni_ref_dft(TnKernelCall *call) {
    const TnDftParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const int64_t asked = tni_ref_has(call, 2) ? tni_load_i64(call->in[2].dtype, call->in[2].data, 0) : p->axis;
    const int32_t axis = tni_ref_axis(asked, x->rank);
    if (axis < 0 || axis >= x->rank - 1)
        return TN_RAISE(call->err, TN_ERR_RUN, "dft: axis %lld is no signal axis of an input of rank %d", (long long)asked, (int)x->rank);
    Dft d = {.x = x,
             .y = y,
             .p = p,
             .outer = tni_ref_product_of(x->dims, 0, axis),
             .in_n = x->dims[axis],
             .out_n = y->dims[axis],
             .inner = tni_ref_product_of(x->dims, axis + 1, x->rank - 1),
             .parts = x->dims[x->rank - 1]};
    d.length = p->inverse && p->onesided ? 2 * (d.in_n - 1) : d.in_n;
    if (tni_ref_has(call, 1))
        d.length = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    tni_ref_ranges(call->threads, d.outer * d.out_n * d.inner, 64, dft_range, &d);
    return TN_OK;
}
