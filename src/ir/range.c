/* SPDX-License-Identifier: Apache-2.0
 *
 * Bounds of dimension expressions over the ranges of their symbols.
 * In: an expression or polynomial. Out: an interval that holds every value it can have; INT64_MIN / INT64_MAX stand for "no bound".
 * Beyond plain interval arithmetic two facts are used, because padding and clamping need them:
 *   k*floordiv(x, k) = x - r with 0 <= r < k       (so x - k*floordiv(x, k), a remainder, is within 0..k-1, and x//2 <= x)
 *   min(x, y) <= x and <= y; max(x, y) >= x and >= y   (so min(seq, 512) <= seq) */
#include "ir/poly.h"

#define NEG_INF INT64_MIN
#define POS_INF INT64_MAX
enum { RANGE_DEPTH = 10, RANGE_VISITS = 600, SUBST_DEPTH = 2 };

typedef struct Range {
    int64_t lo, hi;
} Range;

typedef struct RangeCtx {
    const IrModule *m;
    uint32_t visits;
} RangeCtx;

static const Range unbounded = {NEG_INF, POS_INF};

static Range atom_range(RangeCtx *c, TnDim d, uint32_t depth);
static Range poly_range(RangeCtx *c, const Poly *p, uint32_t depth, uint32_t subst);

/* Saturating sum of two lower (or two upper) bounds: an infinity stays. */
static int64_t sat_add(int64_t a, int64_t b, int64_t inf) {
    int64_t r;
    if (a == inf || b == inf)
        return inf;
    if (a == NEG_INF || a == POS_INF || b == NEG_INF || b == POS_INF)
        return inf;
    return __builtin_add_overflow(a, b, &r) ? inf : r;
}

/* Product of two bounds with 0 * infinity = 0; saturates to the infinity of its sign. */
static int64_t sat_mul(int64_t a, int64_t b) {
    if (a == 0 || b == 0)
        return 0;
    bool neg = (a < 0) != (b < 0);
    int64_t r;
    if (a == NEG_INF || a == POS_INF || b == NEG_INF || b == POS_INF || __builtin_mul_overflow(a, b, &r))
        return neg ? NEG_INF : POS_INF;
    return r;
}

static Range range_mul(Range a, Range b) {
    int64_t p[4] = {sat_mul(a.lo, b.lo), sat_mul(a.lo, b.hi), sat_mul(a.hi, b.lo), sat_mul(a.hi, b.hi)};
    Range r = {p[0], p[0]};
    for (int i = 1; i < 4; i++) {
        r.lo = TN_MIN(r.lo, p[i]);
        r.hi = TN_MAX(r.hi, p[i]);
    }
    return r;
}

static Range range_and(Range a, Range b) {
    Range r = {TN_MAX(a.lo, b.lo), TN_MIN(a.hi, b.hi)};
    return r.lo <= r.hi ? r : a; /* ranges that contradict each other (an impossible shape) prove nothing */
}

/* Floor of a / b for b >= 1, with infinities. */
static int64_t sat_floordiv(int64_t a, int64_t b) {
    if (a == NEG_INF || a == POS_INF)
        return a;
    if (b == POS_INF)
        return a < 0 ? -1 : 0;
    int64_t r;
    return tni_dim_apply(TN_DIM_FLOORDIV, a, b, 0, &r) ? r : 0;
}

static Range floordiv_range(Range a, Range b) {
    if (b.lo < 1)
        return unbounded;
    Range r;
    r.lo = TN_MIN(sat_floordiv(a.lo, b.lo), sat_floordiv(a.lo, b.hi));
    r.hi = TN_MAX(sat_floordiv(a.hi, b.lo), sat_floordiv(a.hi, b.hi));
    return r;
}

static Range expr_range(RangeCtx *c, TnDim d, uint32_t depth) {
    if (depth > RANGE_DEPTH || ++c->visits > RANGE_VISITS)
        return unbounded;
    Poly p;
    tni_poly_from(c->m, d, &p);
    if (p.n == 1 && p.t[0].n == 1 && p.t[0].coef == 1 && p.t[0].f[0] == d)
        return atom_range(c, d, depth);
    return poly_range(c, &p, depth, 0);
}

static Range atom_range(RangeCtx *c, TnDim d, uint32_t depth) {
    const TnDimExpr *e = &c->m->exprs[d];
    if (depth > RANGE_DEPTH || ++c->visits > RANGE_VISITS)
        return unbounded;
    switch (e->op) {
    case TN_DIM_CONST:
        return (Range){e->value, e->value};
    case TN_DIM_SYMBOL:
        return (Range){c->m->symbols[e->value].min, c->m->symbols[e->value].max};
    case TN_DIM_EQ:
    case TN_DIM_LT:
        return (Range){0, 1};
    case TN_DIM_ADD:
    case TN_DIM_SUB:
    case TN_DIM_MUL:
        return unbounded; /* an opaque sum: too large to look into */
    default:
        break;
    }
    Range a = expr_range(c, e->a, depth + 1), b = expr_range(c, e->b, depth + 1);
    switch (e->op) {
    case TN_DIM_FLOORDIV:
        return floordiv_range(a, b);
    case TN_DIM_CEILDIV: {
        Range r = floordiv_range(a, b);
        r.hi = r.hi == POS_INF ? POS_INF : r.hi + 1;
        return r;
    }
    case TN_DIM_MOD:
        return b.lo >= 1 ? (Range){0, b.hi == POS_INF ? POS_INF : b.hi - 1} : unbounded;
    case TN_DIM_MIN:
        return (Range){TN_MIN(a.lo, b.lo), TN_MIN(a.hi, b.hi)};
    case TN_DIM_MAX:
        return (Range){TN_MAX(a.lo, b.lo), TN_MAX(a.hi, b.hi)};
    case TN_DIM_SELECT: {
        Range x = expr_range(c, e->c, depth + 1);
        return (Range){TN_MIN(b.lo, x.lo), TN_MAX(b.hi, x.hi)};
    }
    default:
        return unbounded;
    }
}

static Range plain_range(RangeCtx *c, const Poly *p, uint32_t depth) {
    Range sum = {0, 0};
    for (uint32_t i = 0; i < p->n; i++) {
        Range t = {p->t[i].coef, p->t[i].coef};
        for (uint32_t k = 0; k < p->t[i].n; k++)
            t = range_mul(t, atom_range(c, p->t[i].f[k], depth + 1));
        sum.lo = sat_add(sum.lo, t.lo, NEG_INF);
        sum.hi = sat_add(sum.hi, t.hi, POS_INF);
    }
    return sum;
}

/* Bounds of v from those of k * v, k >= 1. */
static Range range_unscale(Range a, int64_t k) {
    Range r = unbounded;
    int64_t v;
    if (a.lo != NEG_INF && a.lo != POS_INF && tni_dim_apply(TN_DIM_CEILDIV, a.lo, k, 0, &v))
        r.lo = v;
    if (a.hi != POS_INF && a.hi != NEG_INF && tni_dim_apply(TN_DIM_FLOORDIV, a.hi, k, 0, &v))
        r.hi = v;
    return r;
}

/* p = rest + coef * floordiv(x, k), k a constant: k * p = k * rest + coef * (x - r), r in 0..k-1. */
static bool floordiv_subst(RangeCtx *c, const Poly *p, uint32_t i, uint32_t depth, uint32_t subst, Range *out) {
    const TnDimExpr *e = &c->m->exprs[p->t[i].f[0]];
    int64_t k, coef = p->t[i].coef;
    if (!tni_ir_dim_is_const(c->m, e->b, &k) || k < 1 || coef == INT64_MIN)
        return false;
    Poly x, q = *p;
    tni_poly_from(c->m, e->a, &x);
    memmove(&q.t[i], &q.t[i + 1], (q.n - i - 1) * sizeof q.t[0]);
    q.n--;
    if (!tni_poly_scale(&q, k) || !tni_poly_add(&q, &x, coef, &q))
        return false;
    Range rest = range_mul((Range){-coef, -coef}, (Range){0, k - 1});
    Range r = poly_range(c, &q, depth + 1, subst + 1);
    r.lo = sat_add(r.lo, rest.lo, NEG_INF);
    r.hi = sat_add(r.hi, rest.hi, POS_INF);
    *out = range_unscale(r, k);
    return true;
}

/* coef * min(x, y) or coef * max(x, y): each operand in its place bounds p from one side. */
static bool minmax_subst(RangeCtx *c, const Poly *p, uint32_t i, uint32_t depth, uint32_t subst, Range *out) {
    TnDim atom = p->t[i].f[0];
    const TnDimExpr *e = &c->m->exprs[atom];
    TnDim side[2] = {e->a, e->b};
    bool upper = (e->op == TN_DIM_MIN) == (p->t[i].coef > 0);
    *out = unbounded;
    for (int k = 0; k < 2; k++) {
        Poly x, q = *p;
        PolyTerm t = p->t[i];
        memmove(&q.t[i], &q.t[i + 1], (q.n - i - 1) * sizeof q.t[0]);
        q.n--;
        tni_poly_from(c->m, side[k], &x);
        if (!tni_poly_add(&q, &x, t.coef, &q))
            return false;
        Range r = poly_range(c, &q, depth + 1, subst + 1);
        if (upper)
            out->hi = TN_MIN(out->hi, r.hi);
        else
            out->lo = TN_MAX(out->lo, r.lo);
    }
    return true;
}

static Range poly_range(RangeCtx *c, const Poly *p, uint32_t depth, uint32_t subst) {
    if (depth > RANGE_DEPTH || ++c->visits > RANGE_VISITS)
        return unbounded;
    Range r = plain_range(c, p, depth);
    for (uint32_t i = 0; i < p->n && subst < SUBST_DEPTH && p->n > 1; i++) {
        if (p->t[i].n != 1)
            continue;
        uint32_t op = c->m->exprs[p->t[i].f[0]].op;
        Range s = unbounded;
        bool ok = op == TN_DIM_FLOORDIV                  ? floordiv_subst(c, p, i, depth, subst, &s)
                  : op == TN_DIM_MIN || op == TN_DIM_MAX ? minmax_subst(c, p, i, depth, subst, &s)
                                                         : false;
        if (ok)
            r = range_and(r, s);
    }
    return r;
}

void tni_poly_range(const IrModule *m, const Poly *p, int64_t *min, int64_t *max) {
    RangeCtx c = {m, 0};
    Range r = poly_range(&c, p, 0, 0);
    *min = r.lo;
    *max = r.hi;
}

void tni_ir_dim_range(const IrModule *m, TnDim d, int64_t *min, int64_t *max) {
    RangeCtx c = {m, 0};
    Range r = d == TN_DIM_NONE ? unbounded : expr_range(&c, d, 0);
    *min = r.lo;
    *max = r.hi;
}
