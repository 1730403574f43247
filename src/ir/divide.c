/* SPDX-License-Identifier: Apache-2.0
 *
 * Simplified floordiv, ceildiv and mod.
 * In: dividend and divisor. Out: the canonical expression:
 *   mod(p, q)     -> p - q * floordiv(p, q)
 *   ceildiv(p, q) -> floordiv(p + q - 1, q) for q > 0, else -floordiv(-p, q)
 *   floordiv      -> exact polynomial division; else common factors cancelled, the part that q divides split off, signs normalised
 *                    (the leading coefficient of the dividend is positive), nested divisions merged.
 * Invariant: every rule holds for all integers that keep the divisor away from 0 (division by 0 stays an error at run time or is
 * simplified away). */
#include "ir/poly.h"

enum { NEST_MAX = 16 };

static TnDim floordiv(IrModule *m, Poly *p, Poly *q, uint32_t depth);

static int64_t gcd(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

static void scale_down(Poly *p, int64_t g) {
    for (uint32_t i = 0; i < p->n; i++)
        p->t[i].coef /= g;
}

/* Divides p and q by the atoms and the integer that all their terms share. */
static void cancel_common(Poly *p, Poly *q) {
    PolyTerm common = q->t[0], rest;
    uint32_t n = 0;
    for (uint32_t i = 0; i < common.n; i++) { /* keep an atom while every term still has it, counting powers */
        PolyTerm trial;
        trial.n = n + 1;
        memcpy(trial.f, common.f, n * sizeof(TnDim));
        trial.f[n] = common.f[i];
        bool all = true;
        for (uint32_t k = 0; k < p->n && all; k++)
            all = tni_poly_mono_div(&p->t[k], &trial, &rest);
        for (uint32_t k = 0; k < q->n && all; k++)
            all = tni_poly_mono_div(&q->t[k], &trial, &rest);
        if (all)
            common.f[n++] = common.f[i];
    }
    common.n = n;
    for (int s = 0; s < 2 && n > 0; s++) {
        Poly *x = s == 0 ? p : q;
        for (uint32_t k = 0; k < x->n; k++) {
            if (tni_poly_mono_div(&x->t[k], &common, &rest)) {
                rest.coef = x->t[k].coef;
                x->t[k] = rest;
            }
        }
    }
    int64_t g = gcd(tni_poly_content(p), tni_poly_content(q));
    if (g > 1) {
        scale_down(p, g);
        scale_down(q, g);
    }
}

/* floor((g*P + c) / (g*k)) = floor((P + floor(c / g)) / k). */
static void cancel_content(Poly *p, int64_t *k) {
    int64_t c = tni_poly_const_term(p), r;
    Poly rest = *p;
    if (c != 0)
        rest.n--;
    int64_t g = gcd(tni_poly_content(&rest), *k);
    if (g <= 1 || rest.n == 0 || !tni_dim_apply(TN_DIM_FLOORDIV, c, g, 0, &r))
        return;
    scale_down(&rest, g);
    if (!tni_poly_add_const(&rest, r))
        return;
    *k /= g;
    *p = rest;
}

/* Moves from p to s what the single term q divides; coefficients towards zero. */
static bool split_term(Poly *p, const PolyTerm *q, Poly *s) {
    Poly rest;
    rest.n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        PolyTerm t, keep = p->t[i];
        if (tni_poly_mono_div(&p->t[i], q, &t) && !(keep.coef == INT64_MIN && q->coef == -1)) {
            t.coef = keep.coef / q->coef;
            keep.coef %= q->coef;
            if (!tni_poly_add_term(s, &t))
                return false;
        }
        if (!tni_poly_add_term(&rest, &keep))
            return false;
    }
    *p = rest;
    return true;
}

/* p = q * s + remainder by the usual division; kept only when the remainder is shorter. */
static void split_poly(Poly *p, const Poly *q, Poly *s) {
    Poly r = *p, rest, sum = *s;
    rest.n = 0;
    for (uint32_t round = 0; r.n > 0 && round < 2 * POLY_TERMS; round++) {
        Poly step;
        step.n = 1;
        PolyTerm lead = r.t[0];
        if (lead.coef != INT64_MIN && tni_poly_mono_div(&lead, &q->t[0], &step.t[0]) && lead.coef % q->t[0].coef == 0) {
            step.t[0].coef = lead.coef / q->t[0].coef;
            PolyTerm t = step.t[0];
            if (!tni_poly_mul(&step, q, &step) || !tni_poly_add(&r, &step, -1, &r) || !tni_poly_add_term(&sum, &t))
                return;
        } else {
            if (!tni_poly_add_term(&rest, &lead))
                return;
            r.n--;
            memmove(&r.t[0], &r.t[1], r.n * sizeof r.t[0]);
        }
    }
    if (r.n == 0 && rest.n < p->n) {
        *p = rest;
        *s = sum;
    }
}

/* 0 or -1 (or another constant, for a constant divisor) where the ranges prove it. */
static bool quotient_by_range(const IrModule *m, const Poly *p, const Poly *q, int64_t *out) {
    int64_t lo, hi, k, a, b, dlo, dhi;
    tni_poly_range(m, p, &lo, &hi);
    if (tni_poly_is_const(q, &k)) {
        if (lo == INT64_MIN || hi == INT64_MAX || !tni_dim_apply(TN_DIM_FLOORDIV, lo, k, 0, &a) ||
            !tni_dim_apply(TN_DIM_FLOORDIV, hi, k, 0, &b) || a != b)
            return false;
        *out = a;
        return true;
    }
    Poly d;
    if (lo >= 0 && tni_poly_add(q, p, -1, &d)) { /* q - p >= 1 */
        tni_poly_range(m, &d, &dlo, &dhi);
        *out = 0;
        return dlo >= 1;
    }
    if (hi <= -1 && tni_poly_add(q, p, 1, &d)) { /* q + p >= 0, so q >= 1 */
        tni_poly_range(m, &d, &dlo, &dhi);
        *out = -1;
        return dlo >= 0;
    }
    return false;
}

/* floor((floor(x / a) + t) / q) = floor((x + a*t) / (a*q)) for a >= 1, q >= 1. TN_DIM_NONE when the rule does not apply. */
static TnDim merge_nested(IrModule *m, const Poly *p, const Poly *q, uint32_t depth) {
    int64_t lo, hi;
    tni_poly_range(m, q, &lo, &hi);
    if (lo < 1 || depth >= NEST_MAX)
        return TN_DIM_NONE;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->t[i].n != 1 || p->t[i].coef != 1 || m->exprs[p->t[i].f[0]].op != TN_DIM_FLOORDIV)
            continue;
        const TnDimExpr *e = &m->exprs[p->t[i].f[0]];
        tni_ir_dim_range(m, e->b, &lo, &hi);
        if (lo < 1)
            continue;
        Poly x, a, rest = *p, aq;
        tni_poly_from(m, e->a, &x);
        tni_poly_from(m, e->b, &a);
        rest.n--;
        memmove(&rest.t[i], &rest.t[i + 1], (rest.n - i) * sizeof rest.t[0]);
        if (tni_poly_mul(&rest, &a, &rest) && tni_poly_add(&x, &rest, 1, &x) && tni_poly_mul(&a, q, &aq))
            return floordiv(m, &x, &aq, depth + 1);
    }
    return TN_DIM_NONE;
}

static TnDim floordiv_atom(IrModule *m, const Poly *p, const Poly *q) {
    TnDim a = tni_poly_expr(m, p), b = tni_poly_expr(m, q);
    return a == TN_DIM_NONE || b == TN_DIM_NONE ? TN_DIM_NONE : tni_ir_dim_intern(m, TN_DIM_FLOORDIV, a, b, 0, 0);
}

/* What is left after the constant divisor k > 0 has been split off: the sign rule, then the constant term into 0..k-1.
 * *p is replaced; the quotient is *sign * (floor(p / k) + *add). */
static bool normalise_const(Poly *p, int64_t k, int64_t *sign, int64_t *add) {
    *sign = 1;
    *add = 0;
    if (p->n > 0 && p->t[0].n > 0 && p->t[0].coef < 0) { /* floor(p / k) = -floor((k - 1 - p) / k) */
        *sign = -1;
        if (!tni_poly_scale(p, -1) || !tni_poly_add_const(p, k - 1))
            return false;
    }
    int64_t c = tni_poly_const_term(p), r;
    return c != INT64_MIN && tni_dim_apply(TN_DIM_FLOORDIV, c, k, 0, add) && tni_dim_apply(TN_DIM_MOD, c, k, 0, &r) &&
           tni_poly_add_const(p, -c) && tni_poly_add_const(p, r);
}

/* q has no constant 0. Destroys p and q. */
static TnDim floordiv(IrModule *m, Poly *p, Poly *q, uint32_t depth) {
    Poly s;
    if (p->n == 0)
        return tni_ir_dim_const(m, 0);
    if (tni_poly_div_exact(p, q, &s))
        return tni_poly_expr(m, &s);
    s.n = 0;
    cancel_common(p, q);
    Poly keep_p = *p, keep_q = *q;
    if (q->t[0].coef < 0 && (!tni_poly_scale(p, -1) || !tni_poly_scale(q, -1)))
        return floordiv_atom(m, &keep_p, &keep_q);
    int64_t k = 0, sign = 1, add = 0, v = 0;
    bool constant = tni_poly_is_const(q, &k);
    if (constant)
        cancel_content(p, &k);
    if (constant)
        tni_poly_const(q, k);
    keep_p = *p;
    if (q->n == 1 ? !split_term(p, &q->t[0], &s) : (split_poly(p, q, &s), false)) {
        *p = keep_p;
        s.n = 0;
    }
    if (constant) {
        Poly before = *p;
        if (!normalise_const(p, k, &sign, &add)) {
            *p = before;
            sign = 1;
            add = 0;
        }
    }
    TnDim inner;
    if (p->n == 0)
        inner = tni_ir_dim_const(m, 0);
    else if (quotient_by_range(m, p, q, &v))
        inner = tni_ir_dim_const(m, v);
    else if ((inner = merge_nested(m, p, q, depth)) == TN_DIM_NONE && !m->dims_oom)
        inner = floordiv_atom(m, p, q);
    inner = tni_ir_dim_op(m, TN_DIM_ADD, inner, tni_ir_dim_const(m, add));
    if (sign < 0)
        inner = tni_ir_dim_op(m, TN_DIM_SUB, tni_ir_dim_const(m, 0), inner);
    return tni_ir_dim_op(m, TN_DIM_ADD, tni_poly_expr(m, &s), inner);
}

static TnDim ceildiv(IrModule *m, TnDim a, TnDim b) {
    int64_t lo, hi;
    tni_ir_dim_range(m, b, &lo, &hi);
    if (lo >= 1) {
        TnDim top = tni_ir_dim_op(m, TN_DIM_SUB, tni_ir_dim_op(m, TN_DIM_ADD, a, b), tni_ir_dim_const(m, 1));
        return tni_ir_dim_op(m, TN_DIM_FLOORDIV, top, b);
    }
    TnDim zero = tni_ir_dim_const(m, 0);
    TnDim minus = tni_ir_dim_op(m, TN_DIM_SUB, zero, a);
    return tni_ir_dim_op(m, TN_DIM_SUB, zero, tni_ir_dim_op(m, TN_DIM_FLOORDIV, minus, b));
}

TnDim tni_ir_dim_divide(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    int64_t zero;
    if (tni_ir_dim_is_const(m, b, &zero) && zero == 0)
        return tni_ir_dim_intern(m, op, a, b, 0, 0);
    if (op == TN_DIM_CEILDIV)
        return ceildiv(m, a, b);
    if (op == TN_DIM_MOD) {
        TnDim q = tni_ir_dim_op(m, TN_DIM_FLOORDIV, a, b);
        return tni_ir_dim_op(m, TN_DIM_SUB, a, tni_ir_dim_op(m, TN_DIM_MUL, q, b));
    }
    Poly p, q;
    tni_poly_from(m, a, &p);
    tni_poly_from(m, b, &q);
    if (q.n == 0) /* cancels to 0: an error at run time */
        return tni_ir_dim_intern(m, op, a, b, 0, 0);
    return floordiv(m, &p, &q, 0);
}
