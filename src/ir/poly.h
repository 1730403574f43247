/* SPDX-License-Identifier: Apache-2.0
 *
 * Private to src/ir: dimension expressions as polynomials with integer coefficients over atoms. An atom is an expression that is no sum,
 * difference or product of others: a symbol, a floordiv, a min, ... Terms are sorted by the graded lexicographic order (higher degree
 * first, then the smaller atom ids), never have coefficient 0 and never share a monomial: so equal polynomials are equal arrays. */
#ifndef TENON_IR_POLY_H
#define TENON_IR_POLY_H

#include "ir/graph.h"

enum { POLY_TERMS = 24, POLY_DEGREE = 10 };

typedef struct PolyTerm {
    int64_t coef;
    uint32_t n;                /* degree; 0: the constant term */
    TnDim f[POLY_DEGREE];      /* atoms, ascending */
} PolyTerm;

typedef struct Poly {
    uint32_t n;
    PolyTerm t[POLY_TERMS];
} Poly;

/* All return false when the result does not fit (terms, degree, int64): the caller then leaves the expression as it stands. */
bool tni_poly_from(const IrModule *m, TnDim d, Poly *out);
bool tni_poly_add(const Poly *a, const Poly *b, int64_t scale, Poly *out); /* a + scale * b */
bool tni_poly_mul(const Poly *a, const Poly *b, Poly *out);
bool tni_poly_scale(Poly *p, int64_t k);
bool tni_poly_add_const(Poly *p, int64_t c);
bool tni_poly_add_term(Poly *p, const PolyTerm *t);
/* Replaces every occurrence of `atom` by q. */
bool tni_poly_subst(const Poly *p, TnDim atom, const Poly *q, Poly *out);
/* p = q * s exactly; false when it does not divide. q is not zero. */
bool tni_poly_div_exact(const Poly *p, const Poly *q, Poly *s);
/* a's monomial divided by b's: *out = b * result in monomials (coefficients are not looked at). */
bool tni_poly_mono_div(const PolyTerm *a, const PolyTerm *b, PolyTerm *out);
bool tni_poly_is_const(const Poly *p, int64_t *value);
int64_t tni_poly_const_term(const Poly *p);
void tni_poly_const(Poly *p, int64_t value);
void tni_poly_atom(Poly *p, TnDim atom);
/* Greatest common divisor of the coefficients (>= 0; 0 for the zero polynomial, 1 where it does not fit). */
int64_t tni_poly_content(const Poly *p);
/* The canonical expression of p; TN_DIM_NONE only when out of memory. */
TnDim tni_poly_expr(IrModule *m, const Poly *p);

/* Bounds of a polynomial over the symbols' ranges. */
void tni_poly_range(const IrModule *m, const Poly *p, int64_t *min, int64_t *max);

/* dims.c: the hash-consed expression as it stands, no simplification. TN_DIM_NONE: out of memory (m->dims_oom is set). */
TnDim tni_ir_dim_intern(IrModule *m, TnDimOp op, TnDim a, TnDim b, TnDim c, int64_t value);

/* divide.c, choose.c: simplified non-polynomial operations. Results as tni_ir_dim_op. */
TnDim tni_ir_dim_divide(IrModule *m, TnDimOp op, TnDim a, TnDim b);
TnDim tni_ir_dim_minmax(IrModule *m, TnDimOp op, TnDim a, TnDim b);
TnDim tni_ir_dim_compare(IrModule *m, TnDimOp op, TnDim a, TnDim b);

#endif
