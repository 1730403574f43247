/* SPDX-License-Identifier: Apache-2.0
 *
 * arg_reduce, cumsum and topk of one ISA, for reduce_tmpl.h: x seen as [outer, n, inner]. */
#ifndef TENON_BACKEND_CPU_REDUCE_ORDER_H
#define TENON_BACKEND_CPU_REDUCE_ORDER_H

#include "backend/cpu/reduce/runs.h"

typedef struct AxisCtx {
    const TnTensor *x;
    TnTensor *out;
    int64_t n, inner, k;
    bool max, last, exclusive, reverse;
    uint64_t *heaps;
} AxisCtx;

/* ---- arg_reduce: NaN wins over every number; the first of equals, or the last ---- */
static int64_t arg_contiguous(const AxisCtx *c, const float *x) {
    Extreme e = {c->max ? -INFINITY : INFINITY, false};
    run_extreme(&e, x, c->n, c->max);
    const vf want = vf_set1(e.v);
    int64_t i = 0;
    for (; !e.nan && !c->last && i + VL <= c->n && !vm_any(vf_eq(vf_load(x + i), want));)
        i += VL;
    for (; i < c->n; i++) {
        int64_t at = c->last ? c->n - 1 - i : i;
        if (e.nan ? x[at] != x[at] : x[at] == e.v)
            return at;
    }
    return 0;
}

static int64_t arg_strided(const AxisCtx *c, const float *x) {
    int64_t best = 0;
    for (int64_t i = 1; i < c->n; i++) {
        float v = x[i * c->inner], w = x[best * c->inner];
        bool better = w == w && (v != v || (c->max ? v > w : v < w)), equal = v == w || (v != v && w != w);
        if (better || (equal && c->last))
            best = i;
    }
    return best;
}

static void arg_range(void *ctx, int64_t begin, int64_t end) {
    const AxisCtx *c = ctx;
    const float *x = c->x->data;
    int64_t *y = c->out->data;
    for (int64_t i = begin; i < end; i++) {
        const float *base = x + i / c->inner * c->n * c->inner + i % c->inner;
        y[i] = c->inner == 1 ? arg_contiguous(c, base) : arg_strided(c, base);
    }
}

TnStatus TN_ISA(tni_cpu_arg_reduce)(TnKernelCall *call) {
    const TnArgReduceParams *p = call->params;
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_cpu_axis(p->axis, x->rank);
    AxisCtx c = {.x = x,
                 .out = &call->out[0],
                 .n = x->dims[axis],
                 .inner = tni_cpu_span(x, axis + 1, x->rank),
                 .max = p->is_max != 0,
                 .last = p->select_last != 0};
    int64_t items = tni_cpu_span(x, 0, axis) * c.inner;
    if (c.n == 0 && items > 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "arg_reduce: axis %d has no elements, so there is no largest or smallest one", (int)axis);
    tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, c.n * 4), arg_range, &c);
    return TN_OK;
}

/* ---- cumsum: sums in double or uint64, stored at every step; side by side where columns are ---- */
#define CUMSUM_COLUMNS 64
#define CUMSUM(name, T, A)                                                                                                                 \
    static void name(void *ctx, int64_t begin, int64_t end) {                                                                              \
        const AxisCtx *c = ctx;                                                                                                            \
        const int64_t blocks = (c->inner + CUMSUM_COLUMNS - 1) / CUMSUM_COLUMNS;                                                           \
        for (int64_t b = begin; b < end; b++) {                                                                                            \
            const int64_t first = b % blocks * CUMSUM_COLUMNS, cols = TN_MIN(CUMSUM_COLUMNS, c->inner - first);                            \
            const T *x = (const T *)c->x->data + b / blocks * c->n * c->inner + first;                                                     \
            T *y = (T *)c->out->data + b / blocks * c->n * c->inner + first;                                                               \
            A sum[CUMSUM_COLUMNS] = {0};                                                                                                   \
            for (int64_t i = 0; i < c->n; i++) {                                                                                           \
                const int64_t at = (c->reverse ? c->n - 1 - i : i) * c->inner;                                                             \
                for (int64_t j = 0; j < cols; j++) {                                                                                       \
                    const A before = sum[j];                                                                                               \
                    sum[j] += (A)x[at + j];                                                                                                \
                    y[at + j] = (T)(c->exclusive ? before : sum[j]);                                                                       \
                }                                                                                                                          \
            }                                                                                                                              \
        }                                                                                                                                  \
    }
CUMSUM(cumsum_f32, float, double)
CUMSUM(cumsum_i64, int64_t, uint64_t)
CUMSUM(cumsum_i32, int32_t, uint32_t)

TnStatus TN_ISA(tni_cpu_cumsum)(TnKernelCall *call) {
    const TnCumsumParams *p = call->params;
    const TnTensor *x = &call->in[0], *a = &call->in[1];
    if (tn_tensor_numel(a) != 1)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: the axis must be one element, found %lld", (long long)tn_tensor_numel(a));
    int64_t v = tni_load_i64(a->dtype, a->data, 0);
    if (v < -x->rank || v >= x->rank)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: axis %lld is out of range for an input of rank %d", (long long)v, (int)x->rank);
    int32_t axis = tni_cpu_axis((int32_t)v, x->rank);
    AxisCtx c = {.x = x,
                 .out = &call->out[0],
                 .n = x->dims[axis],
                 .inner = tni_cpu_span(x, axis + 1, x->rank),
                 .exclusive = p->exclusive != 0,
                 .reverse = p->reverse != 0};
    int64_t items = tni_cpu_span(x, 0, axis) * ((c.inner + CUMSUM_COLUMNS - 1) / CUMSUM_COLUMNS);
    TnRangeFn fn = x->dtype == TN_F32 ? cumsum_f32 : x->dtype == TN_I64 ? cumsum_i64 : cumsum_i32;
    tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, c.n * 8 * TN_MIN(CUMSUM_COLUMNS, c.inner)), fn, &c);
    return TN_OK;
}

/* ---- topk: a heap of the keys of the k best, the worst on top. A key orders values and, of equals, the lower index first: the value's
 * bits made monotone (NaN greatest, -0 as +0; all turned round for the smallest), then the index, inverted. ---- */
TN_INLINE uint64_t key_of(const AxisCtx *c, float v, int64_t i) {
    const float f = v + 0.0f;
    uint32_t u;
    memcpy(&u, &f, 4);
    u = v != v ? UINT32_MAX : (u >> 31) != 0 ? ~u : u | 0x80000000u;
    return (uint64_t)(c->max ? u : ~u) << 32 | (uint32_t) ~(uint32_t)i;
}
TN_INLINE int64_t index_of(uint64_t key) {
    return (int64_t)(uint32_t) ~(uint32_t)key;
}

static void sift_down(uint64_t *h, int64_t n, int64_t at, uint64_t e) {
    for (int64_t child; (child = 2 * at + 1) < n; at = child) {
        child += child + 1 < n && h[child + 1] < h[child];
        if (e <= h[child])
            break;
        h[at] = h[child];
    }
    h[at] = e;
}

/* First index >= i whose element may beat the heap's worst; n when there is none. Contiguous rows only. */
static int64_t skip(const AxisCtx *c, const float *x, int64_t i, float worst) {
    if (worst != worst)
        return i;
    const vf w = vf_set1(worst);
    for (; i + VL <= c->n; i += VL) {
        vf v = vf_load(x + i);
        if (vm_any(c->max ? vm_or(vf_lt(w, v), vf_unord(v, v)) : vf_lt(v, w)))
            return i;
    }
    return i;
}

static void topk_row(const AxisCtx *c, int64_t item, uint64_t *h) {
    const int64_t outer = item / c->inner, column = item % c->inner, step = c->inner;
    const float *x = (const float *)c->x->data + outer * c->n * step + column;
    for (int64_t i = 0; i < c->k; i++)
        h[i] = key_of(c, x[i * step], i);
    for (int64_t i = c->k / 2 - 1; i >= 0; i--)
        sift_down(h, c->k, i, h[i]);
    for (int64_t i = c->k; i < c->n;) {
        if (step == 1)
            i = skip(c, x, i, x[index_of(h[0])]);
        for (const int64_t stop = TN_MIN(i + VL, c->n); i < stop; i++) {
            const uint64_t key = key_of(c, x[i * step], i);
            if (key > h[0])
                sift_down(h, c->k, 0, key);
        }
    }
    float *values = c->out[0].data;
    int64_t *indices = c->out[1].data;
    for (int64_t left = c->k; left > 0; left--) { /* the worst first, to the last place */
        const int64_t to = (outer * c->k + left - 1) * step + column, i = index_of(h[0]);
        if (values != NULL)
            values[to] = x[i * step];
        if (indices != NULL)
            indices[to] = i;
        sift_down(h, left - 1, 0, h[left - 1]);
    }
}

static void topk_task(void *ctx, int64_t item, uint32_t worker) {
    const AxisCtx *c = ctx;
    topk_row(c, item, c->heaps + (int64_t)worker * c->k);
}

TnStatus TN_ISA(tni_cpu_topk)(TnKernelCall *call) {
    const TnTopkParams *p = call->params;
    const TnTensor *x = &call->in[0];
    int32_t axis = tni_cpu_axis(p->axis, x->rank);
    int64_t k = *(const int64_t *)call->in[1].data;
    if (k < 0 || k > x->dims[axis] || k != call->out[0].dims[axis])
        return TN_RAISE(call->err, TN_ERR_RUN, "topk: k is %lld, expected %lld, at most the size %lld of axis %d", (long long)k,
                        (long long)call->out[0].dims[axis], (long long)x->dims[axis], (int)axis);
    AxisCtx c = {.x = x,
                 .out = call->out,
                 .n = x->dims[axis],
                 .inner = tni_cpu_span(x, axis + 1, x->rank),
                 .k = k,
                 .max = p->largest != 0,
                 .heaps = call->scratch};
    int64_t items = tni_cpu_span(x, 0, axis) * c.inner;
    if (k > 0)
        tni_parallel_for(items * c.n * 4 > 32768 ? call->threads : NULL, items, topk_task, &c);
    return TN_OK;
}

#endif
