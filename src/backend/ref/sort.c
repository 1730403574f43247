/* SPDX-License-Identifier: Apache-2.0
 *
 * topk, unique, nonzero, compress. Sorting is a stable merge sort of indices, so that of equals the lower index comes first.
 * NaN is greater than every number and equal to itself; -0 equals +0. */
#include "backend/ref/ref.h"

typedef int (*Compare)(const void *ctx, int64_t a, int64_t b);

/* idx[0..n) and tmp[0..n); the result is in idx. */
static void merge_sort(int64_t *idx, int64_t *tmp, int64_t n, Compare cmp, const void *ctx) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * width) {
            int64_t mid = TN_MIN(lo + width, n), hi = TN_MIN(lo + 2 * width, n), a = lo, b = mid;
            for (int64_t k = lo; k < hi; k++)
                tmp[k] = a < mid && (b >= hi || cmp(ctx, idx[a], idx[b]) <= 0) ? idx[a++] : idx[b++];
        }
        memcpy(idx, tmp, (size_t)n * sizeof *idx);
    }
}

static int compare_elements(TnDtype t, const void *data, int64_t i, int64_t j) {
    if (tni_ref_exact(t)) {
        int64_t a = tni_load_i64(t, data, i), b = tni_load_i64(t, data, j);
        return t == TN_U64 ? ((uint64_t)a > (uint64_t)b) - ((uint64_t)a < (uint64_t)b) : (a > b) - (a < b);
    }
    double a = tni_load_f64(t, data, i), b = tni_load_f64(t, data, j);
    if (a != a || b != b)
        return (a != a) - (b != b);
    return (a > b) - (a < b);
}

/* ---- topk ---- */
typedef struct Topk {
    const TnKernelCall *call;
    int64_t n, k, inner;
    bool largest;
} Topk;

typedef struct Row {
    const Topk *t;
    int64_t base;
} Row;

static int compare_row(const void *ctx, int64_t a, int64_t b) {
    const Row *r = ctx;
    const TnTensor *x = &r->t->call->in[0];
    int c = compare_elements(x->dtype, x->data, r->base + a * r->t->inner, r->base + b * r->t->inner);
    return r->t->largest ? -c : c;
}

static void topk_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Topk *t = ctx;
    const TnTensor *x = &t->call->in[0], *values = &t->call->out[0], *indices = &t->call->out[1];
    int64_t *idx = (int64_t *)t->call->scratch + (int64_t)worker * 2 * t->n;
    for (int64_t i = first; i < last; i++) {
        Row row = {t, i / t->inner * t->n * t->inner + i % t->inner};
        for (int64_t k = 0; k < t->n; k++)
            idx[k] = k;
        merge_sort(idx, idx + t->n, t->n, compare_row, &row);
        for (int64_t k = 0; k < t->k; k++) {
            int64_t to = (i / t->inner * t->k + k) * t->inner + i % t->inner;
            if (tni_ref_wants(t->call, 0))
                tni_ref_copy_run(tn_dtype_bits(x->dtype), values->data, to, x->data, row.base + idx[k] * t->inner, 1);
            if (tni_ref_wants(t->call, 1))
                tni_store_i64(indices->dtype, indices->data, to, idx[k]);
        }
    }
}

TnStatus tni_ref_topk(TnKernelCall *call) {
    const TnTopkParams *p = call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[tni_ref_wants(call, 0) ? 0 : 1];
    int32_t axis = tni_ref_axis(p->axis, x->rank);
    if (axis < 0 || y->rank != x->rank)
        return tni_ref_bad_call(call, "topk", "an axis outside the input's rank");
    const int64_t k = tni_load_i64(call->in[1].dtype, call->in[1].data, 0);
    if (k < 0 || k > x->dims[axis])
        return TN_RAISE(call->err, TN_ERR_RUN, "topk: k is %lld, expected 0 to %lld, the size of axis %d", (long long)k,
                        (long long)x->dims[axis], (int)axis);
    if (k != y->dims[axis])
        return tni_ref_bad_call(call, "topk", "an output that has not k elements along the axis");
    if (k == 0)
        return TN_OK;
    Topk t = {call, x->dims[axis], k, tni_ref_product_of(x->dims, axis + 1, x->rank), p->largest != 0};
    TN_TRY(tni_ref_need_scratch(call, "topk", (size_t)t.n * 2 * sizeof(int64_t) * tni_threads_count(call->threads)));
    tni_ref_ranges(call->threads, tni_ref_product_of(x->dims, 0, axis) * t.inner, 1, topk_range, &t);
    return TN_OK;
}

/* ---- unique ---- */
typedef struct Items {
    const TnTensor *x;
    int64_t outer, n, inner; /* item k is x[:, k, :] */
} Items;

static int compare_items(const void *ctx, int64_t a, int64_t b) {
    const Items *s = ctx;
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            int c = compare_elements(s->x->dtype, s->x->data, (o * s->n + a) * s->inner + i, (o * s->n + b) * s->inner + i);
            if (c != 0)
                return c;
        }
    return 0;
}

static int compare_first(const void *ctx, int64_t a, int64_t b) {
    const int64_t *first = ctx;
    return (first[a] > first[b]) - (first[a] < first[b]);
}

/* What is known of the groups of equal items; all arrays have room for n. */
typedef struct Groups {
    int64_t n;      /* groups */
    int64_t *first; /* [group] lowest item */
    int64_t *count; /* [group] */
    int64_t *of;    /* [item] its group */
    int64_t *order; /* [place in the output] group */
    int64_t *place; /* [group] place in the output */
} Groups;

static void find_groups(const Items *s, bool sorted, int64_t *mem, Groups *g) {
    const int64_t n = s->n;
    *g = (Groups){0};
    if (n == 0)
        return;
    int64_t *idx = mem, *tmp = mem + n;
    *g = (Groups){0, mem + 2 * n, mem + 3 * n, mem + 4 * n, mem + 5 * n, mem + 6 * n};
    for (int64_t k = 0; k < n; k++)
        idx[k] = k;
    merge_sort(idx, tmp, n, compare_items, s);
    for (int64_t k = 0; k < n; k++) {
        if (k == 0 || compare_items(s, idx[k - 1], idx[k]) != 0) {
            g->first[g->n] = idx[k];
            g->count[g->n++] = 0;
        }
        g->count[g->n - 1]++;
        g->of[idx[k]] = g->n - 1;
    }
    for (int64_t k = 0; k < g->n; k++)
        g->order[k] = k;
    if (!sorted)
        merge_sort(g->order, tmp, g->n, compare_first, g->first);
    for (int64_t k = 0; k < g->n; k++)
        g->place[g->order[k]] = k;
}

static TnStatus resize_to(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims, const char *op) {
    if (call->resize == NULL)
        return tni_ref_bad_call(call, op, "no way to set its output's size");
    return call->resize(call, i, rank, dims);
}

TnStatus tni_ref_unique(TnKernelCall *call) {
    const TnUniqueParams *p = call->params;
    const TnTensor *x = &call->in[0];
    Items s = {x, 1, tn_tensor_numel(x), 1};
    int32_t axis = 0, rank = 1;
    int64_t dims[TN_MAX_RANK] = {0};
    if (p->flatten == 0) {
        axis = tni_ref_axis(p->axis, x->rank);
        if (axis < 0)
            return tni_ref_bad_call(call, "unique", "an axis outside the input's rank");
        s = (Items){x, tni_ref_product_of(x->dims, 0, axis), x->dims[axis], tni_ref_product_of(x->dims, axis + 1, x->rank)};
        rank = x->rank;
        memcpy(dims, x->dims, sizeof dims);
    }
    TN_TRY(tni_ref_need_scratch(call, "unique", (size_t)s.n * 7 * sizeof(int64_t)));
    Groups g;
    find_groups(&s, p->sorted != 0, call->scratch, &g);
    dims[axis] = g.n;
    TN_TRY(resize_to(call, 0, rank, dims, "unique"));
    for (uint32_t i = 1; i < call->n_out; i++)
        TN_TRY(resize_to(call, i, 1, i == 2 ? &s.n : &g.n, "unique"));
    for (int64_t k = 0; k < g.n; k++) {
        int64_t group = g.order[k];
        for (int64_t o = 0; o < s.outer && tni_ref_wants(call, 0); o++)
            tni_ref_copy_run(tn_dtype_bits(x->dtype), call->out[0].data, (o * g.n + k) * s.inner, x->data,
                             (o * s.n + g.first[group]) * s.inner, s.inner);
        if (tni_ref_wants(call, 1))
            tni_store_i64(call->out[1].dtype, call->out[1].data, k, g.first[group]);
        if (tni_ref_wants(call, 3))
            tni_store_i64(call->out[3].dtype, call->out[3].data, k, g.count[group]);
    }
    for (int64_t k = 0; k < s.n && tni_ref_wants(call, 2); k++)
        tni_store_i64(call->out[2].dtype, call->out[2].data, k, g.place[g.of[k]]);
    return TN_OK;
}

/* ---- nonzero, compress ---- */
static bool is_set(const TnTensor *t, int64_t i) {
    return tni_ref_exact(t->dtype) ? tni_load_i64(t->dtype, t->data, i) != 0 : tni_load_f64(t->dtype, t->data, i) != 0.0;
}

TnStatus tni_ref_nonzero(TnKernelCall *call) {
    const TnTensor *x = &call->in[0];
    int64_t total = tn_tensor_numel(x), count = 0, at = 0;
    for (int64_t i = 0; i < total; i++)
        count += is_set(x, i);
    const int64_t dims[2] = {x->rank, count};
    TN_TRY(resize_to(call, 0, 2, dims, "nonzero"));
    const TnTensor *y = &call->out[0];
    for (int64_t i = 0; i < total; i++) {
        if (!is_set(x, i))
            continue;
        int64_t rest = i;
        for (int32_t d = x->rank - 1; d >= 0; d--) {
            tni_store_i64(y->dtype, y->data, d * count + at, rest % x->dims[d]);
            rest /= x->dims[d];
        }
        at++;
    }
    return TN_OK;
}

TnStatus tni_ref_compress(TnKernelCall *call) {
    const TnCompressParams *p = call->params;
    const TnTensor *x = &call->in[0], *cond = &call->in[1];
    int64_t outer = 1, n = tn_tensor_numel(x), inner = 1, dims[TN_MAX_RANK] = {0};
    int32_t axis = 0, rank = 1;
    if (p->flatten == 0) {
        axis = tni_ref_axis(p->axis, x->rank);
        if (axis < 0)
            return tni_ref_bad_call(call, "compress", "an axis outside the input's rank");
        outer = tni_ref_product_of(x->dims, 0, axis);
        n = x->dims[axis];
        inner = tni_ref_product_of(x->dims, axis + 1, x->rank);
        rank = x->rank;
        memcpy(dims, x->dims, sizeof dims);
    }
    const int64_t len = TN_MIN(tn_tensor_numel(cond), n); /* what the condition does not reach is dropped */
    for (int64_t i = len; i < tn_tensor_numel(cond); i++)
        if (is_set(cond, i))
            return tni_ref_bad_index(call, "compress", i, axis, n);
    int64_t count = 0, at = 0;
    for (int64_t i = 0; i < len; i++)
        count += is_set(cond, i);
    dims[axis] = count;
    TN_TRY(resize_to(call, 0, rank, dims, "compress"));
    for (int64_t i = 0; i < len; i++) {
        if (!is_set(cond, i))
            continue;
        for (int64_t o = 0; o < outer; o++)
            tni_ref_copy_run(tn_dtype_bits(x->dtype), call->out[0].data, (o * count + at) * inner, x->data, (o * n + i) * inner, inner);
        at++;
    }
    return TN_OK;
}
