/* SPDX-License-Identifier: Apache-2.0
 *
 * Simplified min, max, comparisons and select.
 * In: operands. Out: the canonical expression: decided where the ranges of the difference decide, else one normal form (offsets moved
 * out of min and max; a comparison with positive terms left and negative ones right, divided by their common factor). */
#include "ir/poly.h"

/* a - b as a polynomial and its bounds. */
static bool difference(const IrModule *m, TnDim a, TnDim b, Poly *d, int64_t *lo, int64_t *hi) {
    Poly p, q;
    tni_poly_from(m, a, &p);
    tni_poly_from(m, b, &q);
    if (!tni_poly_add(&p, &q, -1, d))
        return false;
    tni_poly_range(m, d, lo, hi);
    return true;
}

/* Which of a and b the operation gives, TN_DIM_NONE: not decided. */
static TnDim decide(const IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    Poly d;
    int64_t lo, hi;
    if (a == b)
        return a;
    if (!difference(m, a, b, &d, &lo, &hi))
        return TN_DIM_NONE;
    if (lo >= 0)
        return op == TN_DIM_MAX ? a : b;
    if (hi <= 0)
        return op == TN_DIM_MAX ? b : a;
    return TN_DIM_NONE;
}

/* op(op(x, y), b) where b against x or against y is decided. */
static TnDim absorb(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    const TnDimExpr e = m->exprs[a];
    if (e.op != (uint32_t)op)
        return TN_DIM_NONE;
    TnDim r = decide(m, op, e.a, b);
    if (r != TN_DIM_NONE)
        return r == e.a ? a : tni_ir_dim_op(m, op, r, e.b);
    r = decide(m, op, e.b, b);
    if (r != TN_DIM_NONE)
        return r == e.b ? a : tni_ir_dim_op(m, op, e.a, r);
    return TN_DIM_NONE;
}

TnDim tni_ir_dim_minmax(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    TnDim r = decide(m, op, a, b);
    if (r == TN_DIM_NONE)
        r = absorb(m, op, a, b);
    if (r == TN_DIM_NONE)
        r = absorb(m, op, b, a);
    if (r != TN_DIM_NONE || m->dims_oom)
        return r;
    /* min(x + 3, y + 5) = min(x, y + 2) + 3, with x the operand whose expression without its constant is older. */
    Poly p, q;
    tni_poly_from(m, a, &p);
    tni_poly_from(m, b, &q);
    int64_t cp = tni_poly_const_term(&p), cq = tni_poly_const_term(&q), v;
    Poly p0 = p, q0 = q;
    if (cp == INT64_MIN || cq == INT64_MIN || !tni_poly_add_const(&p0, -cp) || !tni_poly_add_const(&q0, -cq))
        return tni_ir_dim_intern(m, op, TN_MIN(a, b), TN_MAX(a, b), 0, 0);
    TnDim x = tni_poly_expr(m, &p0), y = tni_poly_expr(m, &q0);
    if (x == TN_DIM_NONE || y == TN_DIM_NONE)
        return TN_DIM_NONE;
    bool swap = tni_poly_is_const(&p, &v) || (!tni_poly_is_const(&q, &v) && x > y);
    int64_t c = swap ? cq : cp;
    Poly *other = swap ? &p : &q;
    if (!tni_poly_add_const(other, -c))
        return tni_ir_dim_intern(m, op, TN_MIN(a, b), TN_MAX(a, b), 0, 0);
    TnDim left = swap ? y : x, right = tni_poly_expr(m, other);
    if (right == TN_DIM_NONE)
        return TN_DIM_NONE;
    return tni_ir_dim_op(m, TN_DIM_ADD, tni_ir_dim_intern(m, op, left, right, 0, 0), tni_ir_dim_const(m, c));
}

/* Positive and negative terms of d as two expressions, left - right = d. */
static TnDim compare_sides(IrModule *m, TnDimOp op, const Poly *d) {
    Poly left, right;
    left.n = right.n = 0;
    for (uint32_t i = 0; i < d->n; i++) {
        PolyTerm t = d->t[i];
        bool neg = t.coef < 0;
        t.coef = neg ? -t.coef : t.coef;
        if (!tni_poly_add_term(neg ? &right : &left, &t))
            return TN_DIM_NONE;
    }
    TnDim l = tni_poly_expr(m, &left), r = tni_poly_expr(m, &right);
    return l == TN_DIM_NONE || r == TN_DIM_NONE ? TN_DIM_NONE : tni_ir_dim_intern(m, op, l, r, 0, 0);
}

TnDim tni_ir_dim_compare(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    Poly d;
    int64_t lo, hi, v, r;
    if (a == b)
        return tni_ir_dim_const(m, op == TN_DIM_EQ);
    if (!difference(m, a, b, &d, &lo, &hi))
        return tni_ir_dim_intern(m, op, a, b, 0, 0);
    if (op == TN_DIM_EQ ? (lo > 0 || hi < 0) : lo >= 0)
        return tni_ir_dim_const(m, 0);
    if (op == TN_DIM_EQ ? (lo == 0 && hi == 0) : hi < 0)
        return tni_ir_dim_const(m, 1);
    for (uint32_t i = 0; i < d.n; i++) {
        if (d.t[i].coef == INT64_MIN)
            return tni_ir_dim_intern(m, op, a, b, 0, 0);
    }
    /* g*P + c == 0 needs g | c; g*P + c < 0 is P + floor(c / g) < 0. */
    int64_t c = tni_poly_const_term(&d);
    Poly rest = d;
    if (c != 0)
        rest.n--;
    int64_t g = tni_poly_content(&rest);
    if (g > 1) {
        if (op == TN_DIM_EQ && c % g != 0)
            return tni_ir_dim_const(m, 0);
        for (uint32_t i = 0; i < rest.n; i++)
            rest.t[i].coef /= g;
        if (tni_dim_apply(TN_DIM_FLOORDIV, c, g, 0, &r) && tni_poly_add_const(&rest, r))
            d = rest;
    }
    if (tni_poly_is_const(&d, &v))
        return tni_ir_dim_const(m, op == TN_DIM_EQ ? v == 0 : v < 0);
    if (op == TN_DIM_EQ && d.t[0].coef < 0 && !tni_poly_scale(&d, -1))
        return tni_ir_dim_intern(m, op, a, b, 0, 0);
    return compare_sides(m, op, &d);
}

static bool is_bool(const IrModule *m, TnDim d) {
    int64_t v;
    return m->exprs[d].op == TN_DIM_EQ || m->exprs[d].op == TN_DIM_LT || (tni_ir_dim_is_const(m, d, &v) && (v == 0 || v == 1));
}

/* Rules for select(l == r, a, b) and select(l < r, a, b); TN_DIM_NONE: none applies. */
static TnDim select_compare(IrModule *m, const TnDimExpr *cond, TnDim a, TnDim b) {
    Poly d, e, s;
    int64_t lo, hi, k;
    if (cond->op == TN_DIM_EQ && difference(m, a, b, &d, &lo, &hi) && difference(m, cond->a, cond->b, &e, &lo, &hi) && e.n > 0 &&
        tni_poly_div_exact(&d, &e, &s))
        return b; /* where the condition holds, a - b is 0 */
    if (cond->op == TN_DIM_LT) {
        if (!difference(m, cond->a, cond->b, &e, &lo, &hi) || !difference(m, a, b, &d, &lo, &hi))
            return TN_DIM_NONE;
        if (e.n > 0 && tni_poly_div_exact(&d, &e, &s) && tni_poly_is_const(&s, &k)) /* a - b = k * (l - r) */
            return tni_ir_dim_op(m, k > 0 ? TN_DIM_MIN : TN_DIM_MAX, a, b);
    }
    return TN_DIM_NONE;
}

TnDim tni_ir_dim_select(IrModule *m, TnDim cond, TnDim a, TnDim b) {
    int64_t lo, hi, x, y;
    if (cond == TN_DIM_NONE || a == TN_DIM_NONE || b == TN_DIM_NONE)
        return TN_DIM_NONE;
    tni_ir_dim_range(m, cond, &lo, &hi);
    if (lo > 0 || hi < 0 || a == b)
        return a;
    if (lo == 0 && hi == 0)
        return b;
    TnDimExpr e = m->exprs[cond];
    if (e.op == TN_DIM_EQ && tni_ir_dim_is_const(m, e.b, &x) && x == 0) /* select(c == 0, a, b) = select(c, b, a) */
        return tni_ir_dim_select(m, e.a, b, a);
    if (is_bool(m, cond) && tni_ir_dim_is_const(m, a, &x) && x == 1 && tni_ir_dim_is_const(m, b, &y) && y == 0)
        return cond;
    TnDim r = select_compare(m, &e, a, b);
    if (r != TN_DIM_NONE || m->dims_oom)
        return r;
    return tni_ir_dim_intern(m, TN_DIM_SELECT, cond, a, b, 0);
}
