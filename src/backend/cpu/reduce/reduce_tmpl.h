/* SPDX-License-Identifier: Apache-2.0
 *
 * The reduce family of one ISA. */
#include "backend/cpu/reduce/reduce.h"
#include "backend/cpu/simd/simd.h"

#include "backend/cpu/reduce/runs.h"
#include "backend/cpu/reduce/columns.h"
#include "backend/cpu/reduce/order.h"

/* ---- reduce ---- */
typedef struct ReduceCtx {
    const TnTensor *x;
    const TnTensor *y;
    TnReducePlan plan;
    uint32_t fn;
    int64_t blocks; /* of columns, where the innermost group is kept */
} ReduceCtx;

static int64_t kept_offset(const TnReducePlan *p, int32_t groups, int64_t index) {
    int64_t off = 0;
    for (int32_t d = groups - 1; d >= 0; d--) {
        off += index % p->keep[d] * p->keep_stride[d];
        index /= p->keep[d];
    }
    return off;
}

/* Next combination of the first `groups` reduced groups; false after the last. */
static bool next_reduced(const TnReducePlan *p, int32_t groups, int64_t *idx, int64_t *off) {
    for (int32_t d = groups - 1; d >= 0; d--) {
        *off += p->red_stride[d];
        if (++idx[d] < p->red[d])
            return true;
        *off -= idx[d] * p->red_stride[d];
        idx[d] = 0;
    }
    return false;
}

/* All runs of one output in double, one element after another. */
static double slow_f64(const ReduceCtx *c, int64_t base, double max) {
    const TnReducePlan *p = &c->plan;
    int64_t idx[TN_MAX_RANK] = {0}, off = base, n = p->n_red > 0 && !p->inner_kept ? p->red[p->n_red - 1] : 1;
    int32_t outer = p->n_red > 0 && !p->inner_kept ? p->n_red - 1 : p->n_red;
    double acc = c->fn == TN_REDUCE_prod ? 1.0 : 0.0;
    if (p->count == 0)
        return acc;
    do {
        const float *x = (const float *)c->x->data + off;
        for (int64_t i = 0; i < n; i++)
            acc = step_f64(c->fn, acc, (double)x[i], max);
    } while (next_reduced(p, outer, idx, &off));
    return acc;
}

static float one_output(const ReduceCtx *c, int64_t base) {
    const TnReducePlan *p = &c->plan;
    const float *x = c->x->data;
    int64_t idx[TN_MAX_RANK] = {0}, off = base, n = p->n_red > 0 ? p->red[p->n_red - 1] : 1;
    int32_t outer = p->n_red > 0 ? p->n_red - 1 : 0;
    Extreme e = {c->fn == TN_REDUCE_min ? INFINITY : -INFINITY, false};
    double acc = 0.0;
    bool extreme = c->fn == TN_REDUCE_max || c->fn == TN_REDUCE_min || c->fn == TN_REDUCE_log_sum_exp;
    if (c->fn == TN_REDUCE_prod)
        return (float)slow_f64(c, base, 0.0);
    if (p->count > 0) {
        do {
            if (extreme)
                run_extreme(&e, x + off, n, c->fn != TN_REDUCE_min);
            else
                acc += run_sum(c->fn, x + off, n, 0.0f);
        } while (next_reduced(p, outer, idx, &off));
    }
    if (extreme && (c->fn != TN_REDUCE_log_sum_exp || e.nan || isinf(e.v)))
        return e.nan ? NAN : e.v;
    if (extreme) { /* log_sum_exp: a second walk with the maximum known; idx and off are at the start again */
        do {
            acc += run_sum(c->fn, x + off, n, e.v);
        } while (next_reduced(p, outer, idx, &off));
    }
    if (squares(c->fn) && !(acc > 1e-30 && acc < INFINITY))
        acc = slow_f64(c, base, 0.0);
    return (float)finish(c->fn, acc, (double)p->count, (double)e.v);
}

static void reduce_runs(void *ctx, int64_t begin, int64_t end) {
    const ReduceCtx *c = ctx;
    float *y = c->y->data;
    for (int64_t i = begin; i < end; i++)
        y[i] = one_output(c, kept_offset(&c->plan, c->plan.n_keep, i));
}

/* One block of columns: every reduced index in order. */
static void one_block(const ReduceCtx *c, int64_t base, int64_t cols, float *y) {
    const TnReducePlan *p = &c->plan;
    const float *x = (const float *)c->x->data + base;
    int64_t idx[TN_MAX_RANK] = {0}, off = 0;
    Columns s;
    bool extreme = c->fn == TN_REDUCE_max || c->fn == TN_REDUCE_min || c->fn == TN_REDUCE_log_sum_exp;
    columns_start(&s, c->fn, cols);
    if (p->count > 0 && c->fn != TN_REDUCE_prod) {
        do {
            if (extreme)
                columns_extreme(&s, x + off, c->fn != TN_REDUCE_min);
            else
                columns_add(&s, c->fn, x + off);
        } while (next_reduced(p, p->n_red, idx, &off));
        if (c->fn == TN_REDUCE_log_sum_exp) {
            do {
                columns_add(&s, c->fn, x + off);
            } while (next_reduced(p, p->n_red, idx, &off));
        }
    }
    columns_flush(&s);
    for (int64_t j = 0; j < cols; j++) {
        double acc = s.sum[j], max = (double)s.best[j];
        bool nan = s.nan[j] != 0.0f;
        if (c->fn == TN_REDUCE_prod || (squares(c->fn) && !(acc > 1e-30 && acc < INFINITY)))
            acc = slow_f64(c, base + j, 0.0);
        if (extreme && (c->fn != TN_REDUCE_log_sum_exp || nan || isinf(max)))
            y[j] = nan ? NAN : (float)max;
        else
            y[j] = (float)finish(c->fn, acc, (double)p->count, max);
    }
}

static void reduce_columns(void *ctx, int64_t begin, int64_t end) {
    const ReduceCtx *c = ctx;
    const TnReducePlan *p = &c->plan;
    const int64_t inner = p->keep[p->n_keep - 1];
    for (int64_t i = begin; i < end; i++) {
        int64_t first = i % c->blocks * COLUMNS, row = i / c->blocks;
        one_block(c, kept_offset(p, p->n_keep - 1, row) + first, TN_MIN(COLUMNS, inner - first), (float *)c->y->data + row * inner + first);
    }
}

static void reduce_ints(void *ctx, int64_t begin, int64_t end) {
    const ReduceCtx *c = ctx;
    const TnReducePlan *p = &c->plan;
    bool wide = c->x->dtype == TN_I64;
    int32_t outer = p->inner_kept || p->n_red == 0 ? p->n_red : p->n_red - 1;
    int64_t n = outer < p->n_red ? p->red[p->n_red - 1] : 1;
    for (int64_t i = begin; i < end; i++) {
        int64_t idx[TN_MAX_RANK] = {0}, off = kept_offset(p, p->n_keep, i), acc;
        acc = c->fn == TN_REDUCE_max   ? (wide ? INT64_MIN : INT32_MIN)
              : c->fn == TN_REDUCE_min ? (wide ? INT64_MAX : INT32_MAX)
                                       : (c->fn == TN_REDUCE_prod);
        if (p->count > 0) {
            do {
                acc = wide ? int_run_i64(c->fn, acc, (const int64_t *)c->x->data + off, n)
                           : int_run_i32(c->fn, acc, (const int32_t *)c->x->data + off, n);
            } while (next_reduced(p, outer, idx, &off));
        }
        if (wide)
            ((int64_t *)c->y->data)[i] = acc;
        else
            ((int32_t *)c->y->data)[i] = (int32_t)(uint32_t)(uint64_t)acc;
    }
}

TnStatus TN_ISA(tni_cpu_reduce)(TnKernelCall *call) {
    ReduceCtx c = {.x = &call->in[0], .y = &call->out[0], .fn = ((const TnReduceParams *)call->params)->fn};
    tni_cpu_reduce_plan(c.x, call->params, &c.plan);
    const TnReducePlan *p = &c.plan;
    int64_t bytes = (int64_t)tni_cpu_elem_bytes(c.x->dtype) * TN_MAX(p->count, 1);
    if (p->outputs == 0)
        return TN_OK;
    if (c.x->dtype != TN_F32) {
        tni_cpu_parallel(call->threads, p->outputs, tni_cpu_grain(p->outputs, bytes), reduce_ints, &c);
    } else if (p->inner_kept) {
        int64_t inner = p->keep[p->n_keep - 1];
        c.blocks = (inner + COLUMNS - 1) / COLUMNS;
        int64_t items = p->outputs / inner * c.blocks;
        tni_cpu_parallel(call->threads, items, tni_cpu_grain(items, bytes * TN_MIN(inner, COLUMNS)), reduce_columns, &c);
    } else {
        tni_cpu_parallel(call->threads, p->outputs, tni_cpu_grain(p->outputs, bytes), reduce_runs, &c);
    }
    return TN_OK;
}
