/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs of elements between memory and blocks of double or int64, broadcast views, ranges of work. The common types have loops of their
 * own; all others go element by element through base/dtype.h. */
#include "backend/ref/ref.h"

bool tni_ref_exact(TnDtype t) {
    return tni_dtype_is_int(t) || t == TN_BOOL;
}

#define LOAD_LOOP(T, D)                                                                                                                    \
    do {                                                                                                                                   \
        const T *p = (const T *)data + first;                                                                                              \
        if (stride == 1)                                                                                                                   \
            for (int64_t k = 0; k < n; k++)                                                                                                \
                dst[k] = (D)p[k];                                                                                                          \
        else                                                                                                                               \
            for (int64_t k = 0; k < n; k++)                                                                                                \
                dst[k] = (D)p[k * stride];                                                                                                 \
    } while (0)

void tni_ref_load_f64(TnDtype t, const void *data, int64_t first, int64_t stride, int64_t n, double *dst) {
    if (n <= 0) /* data may be NULL */
        return;
    if (t == TN_F32)
        LOAD_LOOP(float, double);
    else if (t == TN_F64)
        LOAD_LOOP(double, double);
    else if (t == TN_I32)
        LOAD_LOOP(int32_t, double);
    else
        for (int64_t k = 0; k < n; k++)
            dst[k] = tni_load_f64(t, data, first + k * stride);
}

void tni_ref_load_i64(TnDtype t, const void *data, int64_t first, int64_t stride, int64_t n, int64_t *dst) {
    if (n <= 0)
        return;
    if (t == TN_I64)
        LOAD_LOOP(int64_t, int64_t);
    else if (t == TN_I32)
        LOAD_LOOP(int32_t, int64_t);
    else
        for (int64_t k = 0; k < n; k++)
            dst[k] = tni_load_i64(t, data, first + k * stride);
}

#define STORE_LOOP(T)                                                                                                                      \
    do {                                                                                                                                   \
        T *p = (T *)data + first;                                                                                                          \
        if (stride == 1)                                                                                                                   \
            for (int64_t k = 0; k < n; k++)                                                                                                \
                p[k] = (T)src[k];                                                                                                          \
        else                                                                                                                               \
            for (int64_t k = 0; k < n; k++)                                                                                                \
                p[k * stride] = (T)src[k];                                                                                                 \
    } while (0)

void tni_ref_store_f64(TnDtype t, void *data, int64_t first, int64_t stride, int64_t n, const double *src) {
    if (n <= 0)
        return;
    if (t == TN_F32)
        STORE_LOOP(float);
    else if (t == TN_F64)
        STORE_LOOP(double);
    else
        for (int64_t k = 0; k < n; k++)
            tni_store_f64(t, data, first + k * stride, src[k]);
}

void tni_ref_store_i64(TnDtype t, void *data, int64_t first, int64_t stride, int64_t n, const int64_t *src) {
    if (n <= 0)
        return;
    if (t == TN_I64)
        STORE_LOOP(int64_t);
    else
        for (int64_t k = 0; k < n; k++)
            tni_store_i64(t, data, first + k * stride, src[k]);
}

void tni_ref_strides(int32_t rank, const int64_t *dims, int64_t *strides) {
    int64_t s = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        strides[d] = s;
        s *= dims[d];
    }
}

int64_t tni_ref_product_of(const int64_t *dims, int32_t from, int32_t to) {
    int64_t p = 1;
    for (int32_t d = from; d < to; d++)
        p *= dims[d];
    return p;
}

int32_t tni_ref_axis(int64_t axis, int32_t rank) {
    if (axis < 0)
        axis += rank;
    return axis < 0 || axis >= rank ? -1 : (int32_t)axis;
}

bool tni_ref_view(const TnTensor *in, int32_t rank, const int64_t *dims, RefView *v) {
    if (in->rank > rank)
        return false;
    *v = (RefView){.data = in->data, .dtype = in->dtype, .rank = rank, .dense = true, .single = true};
    int64_t own[TN_MAX_RANK];
    tni_ref_strides(in->rank, in->dims, own);
    for (int32_t d = 0; d < rank; d++) {
        int32_t i = d - (rank - in->rank);
        int64_t n = i < 0 ? 1 : in->dims[i];
        if (n != dims[d] && n != 1)
            return false;
        v->dims[d] = dims[d];
        v->strides[d] = n == 1 ? 0 : own[i];
        if (n != dims[d])
            v->dense = false;
        if (n != 1)
            v->single = false;
    }
    return true;
}

/* Walks the output's elements [first, first + n) as runs along the last dimension and calls `visit(start, stride, count)`. */
#define WALK(v, first, n, visit)                                                                                                           \
    do {                                                                                                                                   \
        int64_t idx[TN_MAX_RANK] = {0}, rest = (first), at = 0, left = (n), start = 0;                                                     \
        const int32_t last = (v)->rank - 1;                                                                                                \
        for (int32_t d = left > 0 ? last : -1; d >= 0; d--) {                                                                              \
            idx[d] = rest % (v)->dims[d];                                                                                                  \
            rest /= (v)->dims[d];                                                                                                          \
            start += idx[d] * (v)->strides[d];                                                                                             \
        }                                                                                                                                  \
        while (left > 0) {                                                                                                                 \
            const int64_t count = last < 0 ? 1 : TN_MIN(left, (v)->dims[last] - idx[last]);                                                \
            const int64_t step = last < 0 ? 0 : (v)->strides[last];                                                                        \
            visit;                                                                                                                         \
            at += count;                                                                                                                   \
            left -= count;                                                                                                                 \
            if (last < 0)                                                                                                                  \
                break;                                                                                                                     \
            start += count * step;                                                                                                         \
            idx[last] += count;                                                                                                            \
            for (int32_t d = last; d > 0 && idx[d] == (v)->dims[d]; d--) {                                                                 \
                start += (v)->strides[d - 1] - idx[d] * (v)->strides[d];                                                                   \
                idx[d] = 0;                                                                                                                \
                idx[d - 1]++;                                                                                                              \
            }                                                                                                                              \
        }                                                                                                                                  \
    } while (0)

void tni_ref_view_f64(const RefView *v, int64_t first, int64_t n, double *dst) {
    if (v->dense || v->single) {
        tni_ref_load_f64(v->dtype, v->data, v->dense ? first : 0, v->dense ? 1 : 0, n, dst);
        return;
    }
    WALK(v, first, n, tni_ref_load_f64(v->dtype, v->data, start, step, count, dst + at));
}

void tni_ref_view_i64(const RefView *v, int64_t first, int64_t n, int64_t *dst) {
    if (v->dense || v->single) {
        tni_ref_load_i64(v->dtype, v->data, v->dense ? first : 0, v->dense ? 1 : 0, n, dst);
        return;
    }
    WALK(v, first, n, tni_ref_load_i64(v->dtype, v->data, start, step, count, dst + at));
}

void tni_ref_view_index(const RefView *v, int64_t first, int64_t n, int64_t *dst) {
    WALK(v, first, n, {
        for (int64_t k = 0; k < count; k++)
            dst[at + k] = start + k * step;
    });
}

typedef struct Ranges {
    RefRangeFn fn;
    void *ctx;
    int64_t n, grain;
} Ranges;

static void run_range(void *ctx, int64_t task, uint32_t worker) {
    const Ranges *r = ctx;
    int64_t first = task * r->grain;
    r->fn(r->ctx, first, TN_MIN(first + r->grain, r->n), worker);
}

void tni_ref_ranges(TnThreads *t, int64_t n, int64_t grain, RefRangeFn fn, void *ctx) {
    if (n <= 0)
        return;
    grain = TN_MAX(grain, 1);
    Ranges r = {fn, ctx, n, grain};
    tni_parallel_for(t, (n - 1) / grain + 1, run_range, &r);
}

TnStatus tni_ref_bad_call(const TnKernelCall *call, const char *op, const char *what) {
    return TN_RAISE(call->err, TN_ERR_INTERNAL, "ref_%s was called with %s", op, what);
}

TnStatus tni_ref_bad_index(const TnKernelCall *call, const char *op, int64_t index, int32_t axis, int64_t size) {
    return TN_RAISE(call->err, TN_ERR_RUN, "%s: index %lld is out of range for axis %d of size %lld: expected %lld to %lld", op,
                    (long long)index, (int)axis, (long long)size, (long long)-size, (long long)size - 1);
}

TnStatus tni_ref_need_scratch(const TnKernelCall *call, const char *op, size_t bytes) {
    if (bytes > call->scratch_bytes || (bytes > 0 && call->scratch == NULL))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "ref_%s needs %zu bytes of scratch memory, was given %zu", op, bytes,
                        call->scratch_bytes);
    return TN_OK;
}
