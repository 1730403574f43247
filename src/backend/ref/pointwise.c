/* SPDX-License-Identifier: Apache-2.0
 *
 * unary, binary, where, clip, and pointwise programs. */
#include <math.h>

#include "backend/ref/ref.h"

#define GRAIN 16384

typedef struct Pointwise {
    TnKernelCall *call;
    RefView in[8];
} Pointwise;

static TnStatus views(Pointwise *p, const char *op) {
    for (uint32_t i = 0; i < p->call->n_in; i++) {
        const TnTensor *t = &p->call->in[i];
        if (t->dtype != TN_UNDEFINED && !tni_ref_view(t, p->call->out[0].rank, p->call->out[0].dims, &p->in[i]))
            return tni_ref_bad_call(p->call, op, "an input that does not broadcast to the output");
    }
    return TN_OK;
}

static void unary_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Pointwise *p = ctx;
    const TnUnaryParams *u = p->call->params;
    const TnTensor *x = &p->call->in[0], *y = &p->call->out[0];
    for (int64_t i = first; i < last; i += REF_BLOCK) {
        int64_t n = TN_MIN(last - i, REF_BLOCK);
        if (tni_ref_exact(x->dtype)) {
            int64_t v[REF_BLOCK];
            tni_ref_load_i64(x->dtype, x->data, i, 1, n, v);
            tni_ref_unary_i64(u->fn, x->dtype == TN_U64, (double)u->alpha, (double)u->beta, n, v);
            tni_ref_store_i64(y->dtype, y->data, i, 1, n, v);
        } else {
            double v[REF_BLOCK];
            tni_ref_load_f64(x->dtype, x->data, i, 1, n, v);
            tni_ref_unary_f64(u->fn, (double)u->alpha, (double)u->beta, n, v);
            tni_ref_store_f64(y->dtype, y->data, i, 1, n, v);
        }
    }
}

TnStatus tni_ref_unary(TnKernelCall *call) {
    Pointwise p = {.call = call};
    if (((const TnUnaryParams *)call->params)->fn >= TN_UNARY_COUNT)
        return tni_ref_bad_call(call, "unary", "a function that does not exist");
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, unary_range, &p);
    return TN_OK;
}

static void binary_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Pointwise *p = ctx;
    uint32_t fn = ((const TnBinaryParams *)p->call->params)->fn;
    TnDtype ta = p->call->in[0].dtype, tb = p->call->in[1].dtype;
    const TnTensor *y = &p->call->out[0];
    /* pow is the one function whose operands may have different types. */
    bool exact = tni_ref_exact(ta) && tni_ref_exact(tb);
    for (int64_t i = first; i < last; i += REF_BLOCK) {
        int64_t n = TN_MIN(last - i, REF_BLOCK);
        if (exact) {
            int64_t a[REF_BLOCK], b[REF_BLOCK];
            tni_ref_view_i64(&p->in[0], i, n, a);
            tni_ref_view_i64(&p->in[1], i, n, b);
            tni_ref_binary_i64(fn, ta == TN_U64 && tb == TN_U64, n, a, b, a);
            tni_ref_store_i64(y->dtype, y->data, i, 1, n, a);
        } else {
            double a[REF_BLOCK], b[REF_BLOCK];
            tni_ref_view_f64(&p->in[0], i, n, a);
            tni_ref_view_f64(&p->in[1], i, n, b);
            tni_ref_binary_f64(fn, n, a, b, a);
            tni_ref_store_f64(y->dtype, y->data, i, 1, n, a);
        }
    }
}

TnStatus tni_ref_binary(TnKernelCall *call) {
    Pointwise p = {.call = call};
    if (((const TnBinaryParams *)call->params)->fn >= TN_BINARY_COUNT)
        return tni_ref_bad_call(call, "binary", "a function that does not exist");
    TN_TRY(views(&p, "binary"));
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, binary_range, &p);
    return TN_OK;
}

static void where_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Pointwise *p = ctx;
    const TnTensor *y = &p->call->out[0];
    uint32_t bits = tn_dtype_bits(y->dtype);
    for (int64_t i = first; i < last; i += REF_BLOCK) {
        int64_t n = TN_MIN(last - i, REF_BLOCK);
        int64_t cond[REF_BLOCK], at[2][REF_BLOCK];
        tni_ref_view_i64(&p->in[0], i, n, cond);
        tni_ref_view_index(&p->in[1], i, n, at[0]);
        tni_ref_view_index(&p->in[2], i, n, at[1]);
        for (int64_t k = 0; k < n; k++) {
            int pick = cond[k] != 0 ? 0 : 1;
            tni_ref_copy_run(bits, y->data, i + k, p->in[1 + pick].data, at[pick][k], 1);
        }
    }
}

TnStatus tni_ref_where(TnKernelCall *call) {
    Pointwise p = {.call = call};
    TN_TRY(views(&p, "where"));
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, where_range, &p);
    return TN_OK;
}

static void clip_exact(const TnKernelCall *c, int64_t i, int64_t n) {
    const TnTensor *x = &c->in[0];
    int64_t v[REF_BLOCK];
    const bool u = x->dtype == TN_U64;
    tni_ref_load_i64(x->dtype, x->data, i, 1, n, v);
    for (uint32_t bound = 1; bound <= 2; bound++) {
        if (!tni_ref_has(c, bound))
            continue;
        int64_t b = tni_load_i64(c->in[bound].dtype, c->in[bound].data, 0);
        for (int64_t k = 0; k < n; k++) {
            bool below = u ? (uint64_t)v[k] < (uint64_t)b : v[k] < b;
            if (bound == 1 ? below : !below)
                v[k] = b;
        }
    }
    tni_ref_store_i64(c->out[0].dtype, c->out[0].data, i, 1, n, v);
}

static void clip_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const TnKernelCall *c = ((const Pointwise *)ctx)->call;
    const TnTensor *x = &c->in[0];
    for (int64_t i = first; i < last; i += REF_BLOCK) {
        int64_t n = TN_MIN(last - i, REF_BLOCK);
        if (tni_ref_exact(x->dtype)) {
            clip_exact(c, i, n);
            continue;
        }
        double v[REF_BLOCK];
        tni_ref_load_f64(x->dtype, x->data, i, 1, n, v);
        for (uint32_t bound = 1; bound <= 2; bound++) {
            if (!tni_ref_has(c, bound))
                continue;
            double b = tni_load_f64(c->in[bound].dtype, c->in[bound].data, 0);
            for (int64_t k = 0; k < n; k++) /* NaN stays NaN */
                if (bound == 1 ? v[k] < b : v[k] > b)
                    v[k] = b;
        }
        tni_ref_store_f64(c->out[0].dtype, c->out[0].data, i, 1, n, v);
    }
}

TnStatus tni_ref_clip(TnKernelCall *call) {
    Pointwise p = {.call = call};
    for (uint32_t i = 1; i <= 2; i++)
        if (tni_ref_has(call, i) && tn_tensor_numel(&call->in[i]) != 1)
            return TN_RAISE(call->err, TN_ERR_RUN, "clip: the %s must be one element, found %lld", i == 1 ? "minimum" : "maximum",
                            (long long)tn_tensor_numel(&call->in[i]));
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, clip_range, &p);
    return TN_OK;
}

/* One instruction on a block of every register. */
static void step(const TnPwInstr *in, int64_t n, double (*r)[REF_BLOCK]) {
    const double *a = r[in->a], *b = r[in->b], *c = r[in->c];
    double *y = r[in->dst], t[REF_BLOCK];
    switch (in->op) {
    case TN_PW_UNARY:
        memcpy(t, a, (size_t)n * sizeof(double));
        tni_ref_unary_f64(in->fn, (double)in->alpha, (double)in->beta, n, t);
        memcpy(y, t, (size_t)n * sizeof(double));
        return;
    case TN_PW_BINARY:
        tni_ref_binary_f64(in->fn, n, a, b, y);
        return;
    case TN_PW_WHERE:
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] != 0 ? b[i] : c[i];
        return;
    case TN_PW_CLIP:
        memcpy(t, a, (size_t)n * sizeof(double));
        tni_ref_act(TN_ACT_CLIP, (double)in->alpha, (double)in->beta, n, t);
        memcpy(y, t, (size_t)n * sizeof(double));
        return;
    default:
        for (int64_t i = 0; i < n; i++)
            y[i] = (double)in->alpha;
    }
}

/* The result as a narrower float holds it: finite numbers beyond its largest become that one, so that masks stay finite. */
static void limit(TnDtype t, int64_t n, double *y) {
    const double most = t == TN_F16 ? 65504.0 : t == TN_BF16 ? 0x1.fep127 : (double)INFINITY;
    for (int64_t i = 0; i < n && !isinf(most); i++)
        if (isfinite((float)y[i]))
            y[i] = y[i] > most ? most : y[i] < -most ? -most : y[i];
}

static void program_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Pointwise *p = ctx;
    const TnPointwiseParams *prog = p->call->params;
    const TnTensor *y = &p->call->out[0];
    double r[TN_PW_MAX_REGS][REF_BLOCK];
    for (int64_t i = first; i < last; i += REF_BLOCK) {
        int64_t n = TN_MIN(last - i, REF_BLOCK);
        for (uint32_t k = 0; k < prog->n_in; k++)
            tni_ref_view_f64(&p->in[k], i, n, r[k]);
        for (uint32_t k = 0; k < prog->n_code; k++)
            step(&prog->code[k], n, r);
        double *result = r[prog->code[prog->n_code - 1].dst];
        limit(y->dtype, n, result);
        tni_ref_store_f64(y->dtype, y->data, i, 1, n, result);
    }
}

static bool program_ok(const TnPointwiseParams *p, uint32_t n_in) {
    if (p->n_in != n_in || p->n_in > 8 || p->n_code == 0 || p->n_code > TN_PW_MAX_CODE)
        return false;
    for (uint32_t k = 0; k < p->n_code; k++) {
        const TnPwInstr *c = &p->code[k];
        uint32_t limit = c->op == TN_PW_UNARY ? TN_UNARY_COUNT : c->op == TN_PW_BINARY ? TN_BINARY_COUNT : UINT32_MAX;
        if (c->op > TN_PW_CONST || c->fn >= limit || c->dst >= TN_PW_MAX_REGS || c->a >= TN_PW_MAX_REGS || c->b >= TN_PW_MAX_REGS ||
            c->c >= TN_PW_MAX_REGS)
            return false;
    }
    return true;
}

TnStatus tni_ref_pointwise(TnKernelCall *call) {
    Pointwise p = {.call = call};
    if (!program_ok(call->params, call->n_in))
        return tni_ref_bad_call(call, "pointwise", "a program that is not well formed");
    TN_TRY(views(&p, "pointwise"));
    tni_ref_ranges(call->threads, tn_tensor_numel(&call->out[0]), GRAIN, program_range, &p);
    return TN_OK;
}
