/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_softmax: softmax written out, and shifts that softmax does not see.
 *
 *   x [-> - max(x)] -> exp -> / sum(exp)                     =>  softmax(x)
 *   softmax -> log;   x - max - log(sum(exp(x - max)))       =>  softmax(x; log)
 *   s * a = y -> (y - max(y)) * b -> softmax                 =>  softmax(a b s)        ("PB-relax": a = 1/32, b = 32)
 *
 * Taking a row's maximum (or any number that is the same along the axis) off does not change softmax; our softmax takes the maximum off
 * itself. */
#include <math.h>

#include "passes/match.h"
#include "passes/list.h"

/* v = fn(x) reduced over `axis` alone with the dim kept; *axis < 0: any one axis, which is stored. Also the first output of topk 1. */
static bool reduced(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *x, int32_t *axis, Pattern *p) {
    const IrNode *n = tni_pass_def_op(r, v, TN_OP_reduce);
    if (n != NULL) {
        const TnReduceParams *rp = n->params;
        if (rp->fn != fn || !rp->keepdims || rp->n_axes != 1 || (*axis >= 0 && rp->axes[0] != *axis))
            return false;
        *axis = rp->axes[0];
    } else {
        n = tni_pass_def_op(r, v, TN_OP_topk);
        if (n == NULL || fn != TN_REDUCE_max || n->out[0] != v || !tni_pass_is_number(r, n->in[1], 1))
            return false;
        const TnTopkParams *tp = n->params;
        if (!tp->largest || (*axis >= 0 && tp->axis != *axis))
            return false;
        *axis = tp->axis;
    }
    *x = n->in[0];
    tni_pattern_add(r, p, v);
    return true;
}

static IrValueId make_softmax(Rewriter *r, const char *name, IrValueId x, int32_t axis, bool log, double scale) {
    TnSoftmaxParams sp = {.axis = axis, .log = log, .scale = (float)scale};
    return tni_pass_add(r, TN_OP_softmax, name, &sp, &x, 1);
}

/* exp(d) / sum(exp(d)) -> softmax(d); the shift in d goes in a later visit of the softmax itself. */
static void written_out(Rewriter *r, IrValueId v) {
    IrValueId e, s, y, inv;
    int32_t axis = -1;
    Pattern p = {.n = 0};
    tni_pattern_add(r, &p, v);
    if (!tni_pass_binary(r, v, TN_BINARY_div, &e, &s)) {
        if (!tni_pass_binary(r, v, TN_BINARY_mul, &e, &inv))
            return;
        if (tni_pass_unary(r, e, TN_UNARY_reciprocal) != TN_NO_VALUE) {
            IrValueId t = e;
            e = inv;
            inv = t;
        }
        s = tni_pass_unary(r, inv, TN_UNARY_reciprocal);
        tni_pattern_add(r, &p, inv);
    }
    IrValueId d = tni_pass_unary(r, e, TN_UNARY_exp);
    tni_pattern_add(r, &p, e);
    if (d == TN_NO_VALUE || !reduced(r, s, TN_REDUCE_sum, &y, &axis, &p) || y != e || !tni_pattern_closed(r, &p, v))
        return;
    tni_pass_replace(r, v, make_softmax(r, tni_pattern_name(r, &p), d, axis, false, 1));
}

/* (x - m) - log(sum(exp(x - m))). */
static void log_written_out(Rewriter *r, IrValueId v) {
    IrValueId d, l, y;
    int32_t axis = -1;
    Pattern p = {.n = 0};
    if (!tni_pass_binary(r, v, TN_BINARY_sub, &d, &l))
        return;
    IrValueId s = tni_pass_unary(r, l, TN_UNARY_log);
    if (s == TN_NO_VALUE || !reduced(r, s, TN_REDUCE_sum, &y, &axis, &p))
        return;
    IrValueId x = tni_pass_unary(r, y, TN_UNARY_exp);
    tni_pattern_add(r, &p, v);
    tni_pattern_add(r, &p, l);
    tni_pattern_add(r, &p, y);
    if (x != d || !tni_pattern_closed(r, &p, v))
        return;
    tni_pass_replace(r, v, make_softmax(r, tni_pattern_name(r, &p), d, axis, true, 1));
}

static void log_of_softmax(Rewriter *r, IrValueId v) {
    IrValueId y = tni_pass_unary(r, v, TN_UNARY_log);
    const IrNode *n = tni_pass_def_op(r, y, TN_OP_softmax);
    if (n == NULL || ((const TnSoftmaxParams *)n->params)->log || tni_pass_uses(r, y) != 1)
        return;
    const TnSoftmaxParams *p = n->params;
    const char *name = tni_pass_join2(r, n->name, tni_pass_def(r, v)->name);
    tni_pass_replace(r, v, make_softmax(r, name, n->in[0], p->axis, true, p->scale));
}

/* softmax(c * (y - max y)) -> softmax(c * y), and constant factors go into the scale. */
static void drop_shift(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    const TnSoftmaxParams *sp = n->params;
    IrValueId v = n->in[0], y, m, x;
    double scale = sp->scale, c, shift_scale = 1;
    bool shifted = false;
    Pattern p = {.n = 0};
    tni_pattern_add(r, &p, n->out[0]);
    for (int step = 0; step < 4; step++) {
        int32_t axis = sp->axis;
        if (tni_pass_uses(r, v) == 1 && tni_pass_scaled(r, v, &y, &c)) {
            tni_pattern_add(r, &p, v);
            scale *= c;
            v = y;
        } else if (tni_pass_binary(r, v, TN_BINARY_sub, &y, &m) && reduced(r, m, TN_REDUCE_max, &x, &axis, &p) && x == y) {
            tni_pattern_add(r, &p, v);
            shifted = true;
            shift_scale = scale;
            v = y;
            if (tni_pass_uses(r, v) == 2 && tni_pass_scaled(r, v, &y, &c)) { /* read by the maximum and the subtraction */
                tni_pattern_add(r, &p, v);
                scale *= c;
                v = y;
            }
        } else {
            break;
        }
    }
    if (!shifted || !(shift_scale > 0) || !(scale > 0) || !tni_pattern_closed(r, &p, n->out[0]))
        return;
    if (fabs(scale - 1) <= 2e-6)
        scale = 1;
    tni_pass_replace(r, n->out[0], make_softmax(r, tni_pattern_name(r, &p), v, sp->axis, sp->log, scale));
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->n_out == 0 || n->out[0] == TN_NO_VALUE || !tni_pass_may_round(r, n->out[0]))
        return;
    IrValueId v = n->out[0];
    if (n->op == TN_OP_softmax)
        drop_shift(r, id);
    else if (n->op == TN_OP_unary)
        log_of_softmax(r, v);
    else if (n->op == TN_OP_binary) {
        uint32_t fn = ((const TnBinaryParams *)n->params)->fn;
        if (fn == TN_BINARY_div || fn == TN_BINARY_mul)
            written_out(r, v);
        else if (fn == TN_BINARY_sub)
            log_written_out(r, v);
    }
}

TnStatus tni_pass_softmax(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 4, changed, err);
}
