/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic of polynomials over atoms; see poly.h.
 * In: polynomials in canonical order. Out: the same. Invariant: every coefficient is exact, or the call returned false. */
#include "ir/poly.h"

/* Budget of one conversion, against expressions that hostile models make huge by sharing. */
enum { FROM_DEPTH = 48, FROM_VISITS = 256 };

/* > 0: a's monomial comes first (is larger in the graded lexicographic order). */
static int mono_cmp(const PolyTerm *a, const PolyTerm *b) {
    if (a->n != b->n)
        return a->n > b->n ? 1 : -1;
    for (uint32_t i = 0; i < a->n; i++) {
        if (a->f[i] != b->f[i])
            return a->f[i] < b->f[i] ? 1 : -1;
    }
    return 0;
}

bool tni_poly_add_term(Poly *p, const PolyTerm *t) {
    if (t->coef == 0)
        return true;
    uint32_t lo = 0, hi = p->n;
    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;
        int c = mono_cmp(&p->t[mid], t);
        if (c == 0) {
            int64_t sum;
            if (!tni_add_i64(p->t[mid].coef, t->coef, &sum))
                return false;
            p->t[mid].coef = sum;
            if (sum == 0) {
                memmove(&p->t[mid], &p->t[mid + 1], (p->n - mid - 1) * sizeof p->t[0]);
                p->n--;
            }
            return true;
        }
        if (c > 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (p->n == POLY_TERMS)
        return false;
    memmove(&p->t[lo + 1], &p->t[lo], (p->n - lo) * sizeof p->t[0]);
    p->t[lo] = *t;
    p->n++;
    return true;
}

void tni_poly_const(Poly *p, int64_t value) {
    p->n = value != 0;
    p->t[0].coef = value;
    p->t[0].n = 0;
}

void tni_poly_atom(Poly *p, TnDim atom) {
    p->n = 1;
    p->t[0].coef = 1;
    p->t[0].n = 1;
    p->t[0].f[0] = atom;
}

bool tni_poly_is_const(const Poly *p, int64_t *value) {
    if (p->n == 0) {
        *value = 0;
        return true;
    }
    *value = p->t[0].coef;
    return p->n == 1 && p->t[0].n == 0;
}

int64_t tni_poly_const_term(const Poly *p) {
    return p->n > 0 && p->t[p->n - 1].n == 0 ? p->t[p->n - 1].coef : 0;
}

bool tni_poly_add_const(Poly *p, int64_t c) {
    PolyTerm t;
    t.coef = c;
    t.n = 0;
    return tni_poly_add_term(p, &t);
}

static void copy_poly(Poly *dst, const Poly *src) {
    dst->n = src->n;
    memcpy(dst->t, src->t, src->n * sizeof src->t[0]);
}

bool tni_poly_scale(Poly *p, int64_t k) {
    if (k == 0) {
        p->n = 0;
        return true;
    }
    for (uint32_t i = 0; i < p->n; i++) {
        if (!tni_mul_i64(p->t[i].coef, k, &p->t[i].coef))
            return false;
    }
    return true;
}

bool tni_poly_add(const Poly *a, const Poly *b, int64_t scale, Poly *out) {
    Poly r;
    copy_poly(&r, a);
    for (uint32_t i = 0; i < b->n; i++) {
        PolyTerm t = b->t[i];
        if (!tni_mul_i64(t.coef, scale, &t.coef) || !tni_poly_add_term(&r, &t))
            return false;
    }
    copy_poly(out, &r);
    return true;
}

static bool term_mul(const PolyTerm *a, const PolyTerm *b, PolyTerm *out) {
    if (!tni_mul_i64(a->coef, b->coef, &out->coef) || a->n + b->n > POLY_DEGREE)
        return false;
    uint32_t i = 0, j = 0, n = 0;
    while (i < a->n || j < b->n)
        out->f[n++] = j == b->n || (i < a->n && a->f[i] <= b->f[j]) ? a->f[i++] : b->f[j++];
    out->n = n;
    return true;
}

bool tni_poly_mul(const Poly *a, const Poly *b, Poly *out) {
    Poly r;
    r.n = 0;
    for (uint32_t i = 0; i < a->n; i++) {
        for (uint32_t j = 0; j < b->n; j++) {
            PolyTerm t;
            if (!term_mul(&a->t[i], &b->t[j], &t) || !tni_poly_add_term(&r, &t))
                return false;
        }
    }
    copy_poly(out, &r);
    return true;
}

bool tni_poly_mono_div(const PolyTerm *a, const PolyTerm *b, PolyTerm *out) {
    uint32_t i = 0, n = 0;
    for (uint32_t j = 0; j < b->n; j++) {
        while (i < a->n && a->f[i] < b->f[j])
            out->f[n++] = a->f[i++];
        if (i == a->n || a->f[i] != b->f[j])
            return false;
        i++;
    }
    while (i < a->n)
        out->f[n++] = a->f[i++];
    out->n = n;
    return true;
}

bool tni_poly_div_exact(const Poly *p, const Poly *q, Poly *s) {
    Poly r;
    copy_poly(&r, p);
    s->n = 0;
    /* Each round removes the largest monomial of r, and only smaller ones appear: POLY_TERMS^2 rounds are more than any exact quotient
     * that fits needs. */
    for (uint32_t round = 0; r.n > 0; round++) {
        PolyTerm t;
        if (round == POLY_TERMS || r.t[0].coef == INT64_MIN || q->t[0].coef == INT64_MIN)
            return false;
        if (!tni_poly_mono_div(&r.t[0], &q->t[0], &t) || r.t[0].coef % q->t[0].coef != 0)
            return false;
        t.coef = r.t[0].coef / q->t[0].coef;
        Poly step;
        step.n = 1;
        step.t[0] = t;
        if (!tni_poly_mul(&step, q, &step) || !tni_poly_add(&r, &step, -1, &r) || !tni_poly_add_term(s, &t))
            return false;
    }
    return true;
}

bool tni_poly_subst(const Poly *p, TnDim atom, const Poly *q, Poly *out) {
    Poly r;
    r.n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        Poly part;
        part.n = 1;
        part.t[0].coef = p->t[i].coef;
        part.t[0].n = 0;
        uint32_t power = 0;
        for (uint32_t k = 0; k < p->t[i].n; k++) {
            if (p->t[i].f[k] == atom)
                power++;
            else
                part.t[0].f[part.t[0].n++] = p->t[i].f[k];
        }
        while (power-- > 0) {
            if (!tni_poly_mul(&part, q, &part))
                return false;
        }
        if (!tni_poly_add(&r, &part, 1, &r))
            return false;
    }
    copy_poly(out, &r);
    return true;
}

int64_t tni_poly_content(const Poly *p) {
    int64_t g = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        int64_t v = p->t[i].coef;
        if (v == INT64_MIN)
            return 1;
        v = v < 0 ? -v : v;
        while (v != 0) {
            int64_t rest = g % v;
            g = v;
            v = rest;
        }
    }
    return g;
}

static bool from_rec(const IrModule *m, TnDim d, uint32_t depth, uint32_t *visits, Poly *out) {
    const TnDimExpr *e = &m->exprs[d];
    if (e->op == TN_DIM_CONST) {
        tni_poly_const(out, e->value);
        return true;
    }
    if (e->op != TN_DIM_ADD && e->op != TN_DIM_SUB && e->op != TN_DIM_MUL) {
        tni_poly_atom(out, d);
        return true;
    }
    if (depth == FROM_DEPTH || ++*visits > FROM_VISITS)
        return false;
    Poly b;
    if (!from_rec(m, e->a, depth + 1, visits, out) || !from_rec(m, e->b, depth + 1, visits, &b))
        return false;
    if (e->op == TN_DIM_MUL)
        return tni_poly_mul(out, &b, out);
    return tni_poly_add(out, &b, e->op == TN_DIM_ADD ? 1 : -1, out);
}

bool tni_poly_from(const IrModule *m, TnDim d, Poly *out) {
    uint32_t visits = 0;
    if (!from_rec(m, d, 0, &visits, out))
        tni_poly_atom(out, d); /* too large: opaque, but still equal to itself */
    return true;
}

/* k * monomial with k > 0, or any k when the monomial is empty or cannot be subtracted. */
static TnDim term_expr(IrModule *m, const PolyTerm *t, int64_t k) {
    if (t->n == 0)
        return tni_ir_dim_const(m, k);
    TnDim d = t->f[0];
    for (uint32_t i = 1; i < t->n && d != TN_DIM_NONE; i++)
        d = tni_ir_dim_intern(m, TN_DIM_MUL, d, t->f[i], 0, 0);
    if (k == 1 || d == TN_DIM_NONE)
        return d;
    TnDim c = tni_ir_dim_const(m, k);
    return c == TN_DIM_NONE ? c : tni_ir_dim_intern(m, TN_DIM_MUL, d, c, 0, 0);
}

TnDim tni_poly_expr(IrModule *m, const Poly *p) {
    if (p->n == 0)
        return tni_ir_dim_const(m, 0);
    /* Starting with a positive term gives "a - b" instead of "(-1)*b + a". */
    uint32_t first = 0;
    while (first < p->n && p->t[first].coef < 0)
        first++;
    if (first == p->n)
        first = 0;
    TnDim sum = term_expr(m, &p->t[first], p->t[first].coef);
    for (uint32_t i = 0; i < p->n && sum != TN_DIM_NONE; i++) {
        if (i == first)
            continue;
        int64_t k = p->t[i].coef;
        bool minus = k < 0 && k != INT64_MIN;
        TnDim t = term_expr(m, &p->t[i], minus ? -k : k);
        if (t == TN_DIM_NONE)
            return t;
        sum = tni_ir_dim_intern(m, minus ? TN_DIM_SUB : TN_DIM_ADD, sum, t, 0, 0);
    }
    return sum;
}
