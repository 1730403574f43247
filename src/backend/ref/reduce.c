/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce, arg_reduce, cumsum, softmax. Sums run in ascending index order in double (integers: 64 bits, wrapping). */
#include <math.h>

#include "backend/ref/ref.h"

/* The kept and the reduced dims of a tensor, each with its strides in the input. */
typedef struct Reduction {
    const TnKernelCall *call;
    int32_t n_keep, n_red;
    int64_t keep[TN_MAX_RANK], keep_strides[TN_MAX_RANK];
    int64_t red[TN_MAX_RANK], red_strides[TN_MAX_RANK];
    int64_t count; /* elements reduced into one */
    uint32_t fn;
} Reduction;

/* Calls visit(values, n) for the runs of the elements that reduce into one output. */
#define EACH_RUN(r, base, run)                                                                                                             \
    do {                                                                                                                                   \
        int64_t idx[TN_MAX_RANK] = {0}, at = (base);                                                                                       \
        const int32_t last = (r)->n_red - 1;                                                                                               \
        const int64_t len = last < 0 ? 1 : (r)->red[last], step = last < 0 ? 1 : (r)->red_strides[last];                                   \
        for (bool more = (r)->count > 0; more;) {                                                                                          \
            for (int64_t done = 0; done < len; done += REF_BLOCK) {                                                                        \
                const int64_t n = TN_MIN(len - done, REF_BLOCK), first = at + done * step;                                                 \
                run;                                                                                                                       \
            }                                                                                                                              \
            int32_t d = last - 1;                                                                                                          \
            for (; d >= 0; d--) {                                                                                                          \
                at += (r)->red_strides[d];                                                                                                 \
                if (++idx[d] < (r)->red[d])                                                                                                \
                    break;                                                                                                                 \
                at -= idx[d] * (r)->red_strides[d];                                                                                        \
                idx[d] = 0;                                                                                                                \
            }                                                                                                                              \
            more = d >= 0;                                                                                                                 \
        }                                                                                                                                  \
    } while (0)

static double start_value(uint32_t fn) {
    return fn == TN_REDUCE_max ? -INFINITY : fn == TN_REDUCE_min ? INFINITY : fn == TN_REDUCE_prod ? 1.0 : 0.0;
}

static double gather_run(uint32_t fn, double acc, int64_t n, const double *v) {
    switch (fn) {
    case TN_REDUCE_max:
        for (int64_t k = 0; k < n; k++)
            acc = acc != acc ? acc : v[k] != v[k] || v[k] > acc ? v[k] : acc;
        return acc;
    case TN_REDUCE_min:
        for (int64_t k = 0; k < n; k++)
            acc = acc != acc ? acc : v[k] != v[k] || v[k] < acc ? v[k] : acc;
        return acc;
    case TN_REDUCE_prod:
        for (int64_t k = 0; k < n; k++)
            acc *= v[k];
        return acc;
    case TN_REDUCE_sum_square:
    case TN_REDUCE_l2:
        for (int64_t k = 0; k < n; k++)
            acc += v[k] * v[k];
        return acc;
    case TN_REDUCE_l1:
        for (int64_t k = 0; k < n; k++)
            acc += fabs(v[k]);
        return acc;
    default:
        for (int64_t k = 0; k < n; k++)
            acc += v[k];
        return acc;
    }
}

static double finish(uint32_t fn, double acc, int64_t count) {
    switch (fn) {
    case TN_REDUCE_mean:
        return acc / (double)count;
    case TN_REDUCE_l2:
        return sqrt(acc);
    case TN_REDUCE_log_sum:
        return log(acc);
    default:
        return acc;
    }
}

static double reduce_floats(const Reduction *r, int64_t base) {
    const TnTensor *x = &r->call->in[0];
    double v[REF_BLOCK], acc;
    if (r->fn == TN_REDUCE_log_sum_exp) {
        double max = start_value(TN_REDUCE_max), sum = 0.0;
        EACH_RUN(r, base, {
            tni_ref_load_f64(x->dtype, x->data, first, step, n, v);
            max = gather_run(TN_REDUCE_max, max, n, v);
        });
        if (isinf(max) || max != max)
            return max;
        EACH_RUN(r, base, {
            tni_ref_load_f64(x->dtype, x->data, first, step, n, v);
            for (int64_t k = 0; k < n; k++)
                sum += exp(v[k] - max);
        });
        return max + log(sum);
    }
    acc = start_value(r->fn);
    EACH_RUN(r, base, {
        tni_ref_load_f64(x->dtype, x->data, first, step, n, v);
        acc = gather_run(r->fn, acc, n, v);
    });
    return finish(r->fn, acc, r->count);
}

/* Smallest and largest value of an integer type or bool, as the bits of an int64. */
static int64_t lowest(TnDtype t) {
    if (!tni_dtype_is_signed_int(t))
        return 0;
    return -(int64_t)(((uint64_t)1 << (tn_dtype_bits(t) - 1)) - 1) - 1;
}

static int64_t highest(TnDtype t) {
    uint32_t bits = tn_dtype_bits(t);
    if (t == TN_BOOL)
        return 1;
    if (tni_dtype_is_signed_int(t))
        return (int64_t)(((uint64_t)1 << (bits - 1)) - 1);
    return bits == 64 ? -1 : (int64_t)(((uint64_t)1 << bits) - 1);
}

static uint64_t gather_integers(uint32_t fn, bool u, uint64_t acc, int64_t n, const int64_t *v) {
    for (int64_t k = 0; k < n; k++) {
        uint64_t x = (uint64_t)v[k];
        bool less = u ? x < acc : v[k] < (int64_t)acc;
        switch (fn) {
        case TN_REDUCE_max:
            acc = less ? acc : x;
            break;
        case TN_REDUCE_min:
            acc = less ? x : acc;
            break;
        case TN_REDUCE_prod:
            acc *= x;
            break;
        case TN_REDUCE_sum_square:
            acc += x * x;
            break;
        case TN_REDUCE_l1:
            acc += !u && v[k] < 0 ? 0u - x : x;
            break;
        default:
            acc += x;
        }
    }
    return acc;
}

static int64_t reduce_integers(const Reduction *r, int64_t base) {
    const TnTensor *x = &r->call->in[0];
    int64_t v[REF_BLOCK];
    uint64_t acc = r->fn == TN_REDUCE_max    ? (uint64_t)lowest(x->dtype)
                   : r->fn == TN_REDUCE_min  ? (uint64_t)highest(x->dtype)
                   : r->fn == TN_REDUCE_prod ? 1u
                                             : 0u;
    EACH_RUN(r, base, {
        tni_ref_load_i64(x->dtype, x->data, first, step, n, v);
        acc = gather_integers(r->fn, x->dtype == TN_U64, acc, n, v);
    });
    return (int64_t)acc;
}

static void reduce_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Reduction *r = ctx;
    const TnTensor *y = &r->call->out[0];
    bool exact = tni_ref_exact(r->call->in[0].dtype) && r->fn != TN_REDUCE_mean && r->fn != TN_REDUCE_l2 && r->fn != TN_REDUCE_log_sum &&
                 r->fn != TN_REDUCE_log_sum_exp;
    for (int64_t i = first; i < last; i++) {
        int64_t base = 0, rest = i;
        for (int32_t d = r->n_keep - 1; d >= 0; d--) {
            base += rest % r->keep[d] * r->keep_strides[d];
            rest /= r->keep[d];
        }
        if (exact)
            tni_store_i64(y->dtype, y->data, i, reduce_integers(r, base));
        else
            tni_store_f64(y->dtype, y->data, i, reduce_floats(r, base));
    }
}

TnStatus tni_ref_reduce(TnKernelCall *call) {
    const TnReduceParams *p = call->params;
    const TnTensor *x = &call->in[0];
    Reduction r = {.call = call, .count = 1, .fn = p->fn};
    bool reduced[TN_MAX_RANK] = {false};
    if (p->fn >= TN_REDUCE_COUNT || p->n_axes > TN_MAX_RANK)
        return tni_ref_bad_call(call, "reduce", "a function or axes that do not exist");
    for (uint32_t i = 0; i < p->n_axes; i++) {
        int32_t a = tni_ref_axis(p->axes[i], x->rank);
        if (a < 0)
            return tni_ref_bad_call(call, "reduce", "an axis outside the input's rank");
        reduced[a] = true;
    }
    int64_t strides[TN_MAX_RANK], outputs = 1;
    tni_ref_strides(x->rank, x->dims, strides);
    for (int32_t d = 0; d < x->rank; d++) {
        if (reduced[d]) {
            r.red[r.n_red] = x->dims[d];
            r.red_strides[r.n_red++] = strides[d];
            r.count *= x->dims[d];
        } else {
            r.keep[r.n_keep] = x->dims[d];
            r.keep_strides[r.n_keep++] = strides[d];
            outputs *= x->dims[d];
        }
    }
    tni_ref_ranges(call->threads, outputs, 16384 / TN_MIN(TN_MAX(r.count, 1), 16384), reduce_range, &r);
    return TN_OK;
}

/* ---- one axis: x seen as [outer, n, inner] ---- */
typedef struct Axis {
    const TnKernelCall *call;
    int64_t outer, n, inner;
} Axis;

static bool axis_of(const TnKernelCall *call, int64_t axis, Axis *a) {
    const TnTensor *x = &call->in[0];
    int32_t d = x->rank == 0 && (axis == 0 || axis == -1) ? 0 : tni_ref_axis(axis, x->rank);
    if (d < 0)
        return false;
    *a = (Axis){call, tni_ref_product_of(x->dims, 0, d), x->rank == 0 ? 1 : x->dims[d], tni_ref_product_of(x->dims, d + 1, x->rank)};
    return true;
}

/* NaN wins over every number; the first of equals wins, or the last when select_last. */
static int64_t arg_of(const Axis *a, const TnArgReduceParams *p, int64_t base) {
    const TnTensor *x = &a->call->in[0];
    int64_t best = 0;
    for (int64_t k = 1; k < a->n; k++) {
        int64_t i = base + k * a->inner, b = base + best * a->inner;
        int order; /* > 0: k is better; 0: as good */
        if (tni_ref_exact(x->dtype)) {
            int64_t v = tni_load_i64(x->dtype, x->data, i), w = tni_load_i64(x->dtype, x->data, b);
            bool less = x->dtype == TN_U64 ? (uint64_t)v < (uint64_t)w : v < w;
            order = v == w ? 0 : less ? -1 : 1;
            order = p->is_max != 0 ? order : -order;
        } else {
            double v = tni_load_f64(x->dtype, x->data, i), w = tni_load_f64(x->dtype, x->data, b);
            if (v != v || w != w)
                order = (v != v) - (w != w);
            else
                order = p->is_max != 0 ? (v > w) - (v < w) : (v < w) - (v > w);
        }
        if (order > 0 || (order == 0 && p->select_last != 0))
            best = k;
    }
    return best;
}

static void arg_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Axis *a = ctx;
    const TnTensor *y = &a->call->out[0];
    for (int64_t i = first; i < last; i++)
        tni_store_i64(y->dtype, y->data, i, arg_of(a, a->call->params, i / a->inner * a->n * a->inner + i % a->inner));
}

TnStatus tni_ref_arg_reduce(TnKernelCall *call) {
    Axis a;
    if (!axis_of(call, ((const TnArgReduceParams *)call->params)->axis, &a))
        return tni_ref_bad_call(call, "arg_reduce", "an axis outside the input's rank");
    if (a.n == 0 && a.outer * a.inner > 0)
        return TN_RAISE(call->err, TN_ERR_RUN, "arg_reduce: the axis has no elements, so there is no largest or smallest one");
    tni_ref_ranges(call->threads, a.outer * a.inner, 64, arg_range, &a);
    return TN_OK;
}

static void cumsum_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Axis *a = ctx;
    const TnCumsumParams *p = a->call->params;
    const TnTensor *x = &a->call->in[0], *y = &a->call->out[0];
    bool exact = tni_ref_exact(x->dtype);
    for (int64_t i = first; i < last; i++) {
        int64_t base = i / a->inner * a->n * a->inner + i % a->inner;
        double sum = 0.0;
        uint64_t isum = 0;
        for (int64_t k = 0; k < a->n; k++) {
            int64_t at = base + (p->reverse != 0 ? a->n - 1 - k : k) * a->inner;
            double before = sum;
            uint64_t ibefore = isum;
            if (exact)
                isum += (uint64_t)tni_load_i64(x->dtype, x->data, at);
            else
                sum += tni_load_f64(x->dtype, x->data, at);
            if (exact)
                tni_store_i64(y->dtype, y->data, at, (int64_t)(p->exclusive != 0 ? ibefore : isum));
            else
                tni_store_f64(y->dtype, y->data, at, p->exclusive != 0 ? before : sum);
        }
    }
}

TnStatus tni_ref_cumsum(TnKernelCall *call) {
    Axis a;
    const TnTensor *axis = &call->in[1];
    if (tn_tensor_numel(axis) != 1)
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: the axis must be one element, found %lld", (long long)tn_tensor_numel(axis));
    int64_t v = tni_load_i64(axis->dtype, axis->data, 0);
    if (!axis_of(call, v, &a))
        return TN_RAISE(call->err, TN_ERR_RUN, "cumsum: axis %lld is out of range for an input of rank %d", (long long)v,
                        (int)call->in[0].rank);
    tni_ref_ranges(call->threads, a.outer * a.inner, 64, cumsum_range, &a);
    return TN_OK;
}

/* ---- softmax: three passes over a row, so that y may be x ---- */
static void softmax_row(const Axis *a, const TnSoftmaxParams *p, int64_t base) {
    const TnTensor *x = &a->call->in[0], *y = &a->call->out[0];
    const double scale = (double)p->scale;
    double v[REF_BLOCK], max = -INFINITY, sum = 0.0;
    for (int64_t k = 0; k < a->n; k += REF_BLOCK) {
        int64_t n = TN_MIN(a->n - k, REF_BLOCK);
        tni_ref_load_f64(x->dtype, x->data, base + k * a->inner, a->inner, n, v);
        for (int64_t j = 0; j < n; j++)
            v[j] *= scale;
        max = gather_run(TN_REDUCE_max, max, n, v);
    }
    for (int64_t k = 0; k < a->n; k += REF_BLOCK) {
        int64_t n = TN_MIN(a->n - k, REF_BLOCK);
        tni_ref_load_f64(x->dtype, x->data, base + k * a->inner, a->inner, n, v);
        for (int64_t j = 0; j < n; j++)
            sum += exp(v[j] * scale - max);
    }
    const double log_sum = log(sum);
    for (int64_t k = 0; k < a->n; k += REF_BLOCK) {
        int64_t n = TN_MIN(a->n - k, REF_BLOCK);
        tni_ref_load_f64(x->dtype, x->data, base + k * a->inner, a->inner, n, v);
        for (int64_t j = 0; j < n; j++)
            v[j] = p->log != 0 ? v[j] * scale - max - log_sum : exp(v[j] * scale - max) / sum;
        tni_ref_store_f64(y->dtype, y->data, base + k * a->inner, a->inner, n, v);
    }
}

static void softmax_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Axis *a = ctx;
    for (int64_t i = first; i < last; i++)
        softmax_row(a, a->call->params, i / a->inner * a->n * a->inner + i % a->inner);
}

TnStatus tni_ref_softmax(TnKernelCall *call) {
    Axis a;
    if (!axis_of(call, ((const TnSoftmaxParams *)call->params)->axis, &a))
        return tni_ref_bad_call(call, "softmax", "an axis outside the input's rank");
    if (a.n > 0)
        tni_ref_ranges(call->threads, a.outer * a.inner, 16, softmax_range, &a);
    return TN_OK;
}
