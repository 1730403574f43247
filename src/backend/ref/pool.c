/* SPDX-License-Identifier: Apache-2.0
 *
 * pool: maximum (with indices), average, Lp norm over windows. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Pool {
    const TnKernelCall *call;
    const TnPoolParams *p;
    const TnTensor *x, *y;
    int64_t C, in[3], out[3], kernel[3], stride[3], dilation[3], pad[3], pad_after[3];
    int64_t in_n, out_n;
    bool last;
    int n;
} Pool;

static int64_t flat(const Pool *c, int64_t b, int64_t chan, int64_t n, int64_t pos, int64_t C) {
    return c->last ? (b * n + pos) * C + chan : (b * C + chan) * n + pos;
}

/* Index of a maximum as ONNX counts: over the whole channels-first tensor, spatial part row- or column-major. */
static int64_t public_index(const Pool *c, int64_t b, int64_t chan, const int64_t i[3]) {
    int64_t pos = (i[0] * c->in[1] + i[1]) * c->in[2] + i[2];
    if (c->p->storage_order != 0) {
        pos = 0;
        for (int d = 2; d >= 3 - c->n; d--) {
            pos *= c->in[d];
            pos += i[d];
        }
    }
    return (b * c->C + chan) * c->in_n + pos;
}

typedef struct Window {
    double acc;
    int64_t best, hits, covered; /* integer maximum as bits; elements inside; places inside the padded input */
    int64_t index;
} Window;

static void visit(const Pool *c, int64_t b, int64_t chan, const int64_t i[3], Window *w) {
    const TnTensor *x = c->x;
    int64_t at = flat(c, b, chan, c->in_n, (i[0] * c->in[1] + i[1]) * c->in[2] + i[2], c->C);
    bool better;
    if (c->p->kind == TN_POOL_MAX && tni_ref_exact(x->dtype)) {
        int64_t v = tni_load_i64(x->dtype, x->data, at);
        better = w->hits == 0 || (x->dtype == TN_U64 ? (uint64_t)v > (uint64_t)w->best : v > w->best);
        w->best = better ? v : w->best;
    } else {
        double v = tni_load_f64(x->dtype, x->data, at);
        better = w->hits == 0 || (w->acc == w->acc && (v != v || v > w->acc)); /* the first NaN wins */
        if (c->p->kind == TN_POOL_MAX)
            w->acc = better ? v : w->acc;
        else
            w->acc += c->p->kind == TN_POOL_AVG ? v : pow(fabs(v), (double)c->p->p);
    }
    if (better)
        w->index = public_index(c, b, chan, i);
    w->hits++;
}

static void window(const Pool *c, int64_t b, int64_t chan, const int64_t o[3], Window *w) {
    int64_t t[3], i[3];
    *w = (Window){0};
    for (t[0] = 0; t[0] < c->kernel[0]; t[0]++)
        for (t[1] = 0; t[1] < c->kernel[1]; t[1]++)
            for (t[2] = 0; t[2] < c->kernel[2]; t[2]++) {
                bool inside = true, covered = true;
                for (int d = 0; d < 3; d++) {
                    i[d] = o[d] * c->stride[d] - c->pad[d] + t[d] * c->dilation[d];
                    inside = inside && i[d] >= 0 && i[d] < c->in[d];
                    covered = covered && i[d] < c->in[d] + c->pad_after[d];
                }
                w->covered += covered;
                if (inside)
                    visit(c, b, chan, i, w);
            }
}

static void pool_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Pool *c = ctx;
    const TnTensor *y = c->y;
    for (int64_t e = first; e < last; e++) {
        int64_t pos = e % c->out_n, chan = e / c->out_n % c->C, b = e / c->out_n / c->C;
        int64_t o[3] = {pos / c->out[2] / c->out[1], pos / c->out[2] % c->out[1], pos % c->out[2]};
        int64_t at = flat(c, b, chan, c->out_n, pos, c->C);
        Window w;
        window(c, b, chan, o, &w);
        if (c->p->kind == TN_POOL_MAX && tni_ref_exact(c->x->dtype))
            tni_store_i64(y->dtype, y->data, at, w.best);
        else if (c->p->kind == TN_POOL_MAX)
            tni_store_f64(y->dtype, y->data, at, w.hits == 0 ? -INFINITY : w.acc);
        else if (c->p->kind == TN_POOL_AVG)
            tni_store_f64(y->dtype, y->data, at, w.acc / (double)(c->p->count_include_pad != 0 ? w.covered : w.hits));
        else
            tni_store_f64(y->dtype, y->data, at, pow(w.acc, 1.0 / (double)c->p->p));
        if (tni_ref_wants(c->call, 1))
            tni_store_i64(c->call->out[1].dtype, c->call->out[1].data, at, w.index);
    }
}

TnStatus tni_ref_pool(TnKernelCall *call) {
    const TnPoolParams *p = call->params;
    Pool c = {.call = call, .p = p, .x = &call->in[0], .y = &call->out[0], .last = p->channels_last != 0, .in_n = 1, .out_n = 1};
    const int32_t n = p->global != 0 ? c.x->rank - 2 : (int32_t)p->n_spatial;
    if (n < 1 || n > 3 || c.x->rank != n + 2 || c.y->rank != n + 2 || p->kind > TN_POOL_LP)
        return tni_ref_bad_call(call, "pool", "an input of a rank that does not fit");
    c.n = n;
    c.C = c.x->dims[c.last ? n + 1 : 1];
    for (int d = 0; d < 3; d++) {
        int s = d - (3 - n);
        bool unit = s < 0, global = p->global != 0;
        c.in[d] = unit ? 1 : c.x->dims[(c.last ? 1 : 2) + s];
        c.out[d] = unit ? 1 : c.y->dims[(c.last ? 1 : 2) + s];
        c.kernel[d] = unit ? 1 : global ? c.in[d] : p->kernel[s];
        c.stride[d] = unit || global ? 1 : p->stride[s];
        c.dilation[d] = unit || global ? 1 : p->dilation[s];
        if (c.stride[d] < 1 || c.dilation[d] < 1 || (c.kernel[d] < 1 && !global))
            return tni_ref_bad_call(call, "pool", "a kernel, stride or dilation below 1");
        int64_t extent = (c.kernel[d] - 1) * c.dilation[d] + 1;
        if (!unit && !global && p->auto_pad == TN_PAD_EXPLICIT) {
            c.pad[d] = p->pads[s];
            c.pad_after[d] = p->pads[n + s];
        } else if (!unit && !global && p->auto_pad != TN_PAD_VALID) {
            int64_t total = TN_MAX((c.out[d] - 1) * c.stride[d] + extent - c.in[d], 0);
            c.pad[d] = p->auto_pad == TN_PAD_SAME_LOWER ? total - total / 2 : total / 2;
            c.pad_after[d] = total - c.pad[d];
        }
        c.in_n *= c.in[d];
        c.out_n *= c.out[d];
    }
    tni_ref_ranges(call->threads, tn_tensor_numel(c.y), 1024, pool_range, &c);
    return TN_OK;
}
