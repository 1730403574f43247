/* SPDX-License-Identifier: Apache-2.0
 *
 * The module's table of dimension expressions: hash-consed, simplified on the way in (poly.c, divide.c, choose.c).
 * In: operation and operands. Out: the id of an equal expression, the same for all that are proven equal. Invariants: operands have smaller
 * ids than the expression (evaluation is one pass); an id never changes its meaning. */
#include "ir/poly.h"

#include <inttypes.h>
#include <stdio.h>

static uint32_t expr_slot(const IrModule *m, const TnDimExpr *e) {
    uint64_t h = ((uint64_t)e->op * 0x9E3779B97F4A7C15u) ^ ((uint64_t)e->a << 32 | e->b);
    h = (h ^ (h >> 29)) * 0xBF58476D1CE4E5B9u;
    h ^= (uint64_t)e->value + ((uint64_t)e->c << 17);
    h = (h ^ (h >> 32)) * 0x94D049BB133111EBu;
    return (uint32_t)(h >> 32) & (m->expr_hash_cap - 1);
}

static bool rehash(IrModule *m) {
    uint32_t cap = m->expr_hash_cap == 0 ? 64 : m->expr_hash_cap * 2;
    if (cap == 0)
        return false;
    uint32_t *table = tni_arena_calloc(m->arena, cap, sizeof *table);
    if (table == NULL)
        return false;
    m->expr_hash = table;
    m->expr_hash_cap = cap;
    for (uint32_t id = 0; id < m->n_exprs; id++) {
        uint32_t s = expr_slot(m, &m->exprs[id]);
        while (table[s] != 0)
            s = (s + 1) & (cap - 1);
        table[s] = id + 1;
    }
    return true;
}

TnDim tni_ir_dim_intern(IrModule *m, TnDimOp op, TnDim a, TnDim b, TnDim c, int64_t value) {
    TnDimExpr e = {(uint32_t)op, a, b, c, value};
    if (m->n_exprs * 2 >= m->expr_hash_cap && !rehash(m)) {
        m->dims_oom = true;
        return TN_DIM_NONE;
    }
    uint32_t s = expr_slot(m, &e);
    for (; m->expr_hash[s] != 0; s = (s + 1) & (m->expr_hash_cap - 1)) {
        const TnDimExpr *x = &m->exprs[m->expr_hash[s] - 1];
        if (x->op == e.op && x->a == a && x->b == b && x->c == c && x->value == value)
            return m->expr_hash[s] - 1;
    }
    if (m->n_exprs == m->cap_exprs) {
        TnDimExpr *grown = tni_arena_grow(m->arena, m->exprs, m->n_exprs, &m->cap_exprs, sizeof *grown);
        if (grown == NULL) {
            m->dims_oom = true;
            return TN_DIM_NONE;
        }
        m->exprs = grown;
    }
    m->exprs[m->n_exprs] = e;
    m->expr_hash[s] = ++m->n_exprs;
    return m->n_exprs - 1;
}

TnStatus tni_ir_dims_check(IrModule *m, TnError *err) {
    if (!m->dims_oom)
        return TN_OK;
    m->dims_oom = false;
    return TN_OOM(err, sizeof(TnDimExpr));
}

TnDim tni_ir_dim_const(IrModule *m, int64_t v) {
    return tni_ir_dim_intern(m, TN_DIM_CONST, 0, 0, 0, v);
}

static TnDim symbol_add(IrModule *m, const char *name, int64_t min, int64_t max, bool data, TnDim bound) {
    if (m->n_symbols == m->cap_symbols) {
        TnSymbol *grown = tni_arena_grow(m->arena, m->symbols, m->n_symbols, &m->cap_symbols, sizeof *grown);
        if (grown == NULL) {
            m->dims_oom = true;
            return TN_DIM_NONE;
        }
        m->symbols = grown;
    }
    TnSymbol *s = &m->symbols[m->n_symbols];
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    s->min = min;
    s->opt = TN_MAX(1, min);
    s->max = max;
    s->data_dependent = data;
    s->bound = bound;
    TnDim d = tni_ir_dim_intern(m, TN_DIM_SYMBOL, 0, 0, 0, m->n_symbols);
    m->n_symbols += d != TN_DIM_NONE;
    return d;
}

static bool symbol_find(const IrModule *m, const char *name, uint32_t *index) {
    for (uint32_t i = 0; i < m->n_symbols; i++) {
        if (strncmp(m->symbols[i].name, name, sizeof m->symbols[i].name - 1) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

TnDim tni_ir_dim_symbol(IrModule *m, const char *name) {
    uint32_t i;
    if (symbol_find(m, name, &i))
        return tni_ir_dim_intern(m, TN_DIM_SYMBOL, 0, 0, 0, i);
    return symbol_add(m, name, 1, INT64_MAX, false, TN_DIM_NONE);
}

TnDim tni_ir_dim_data(IrModule *m, TnDim bound) {
    char name[32];
    uint32_t n = 0, i;
    for (uint32_t k = 0; k < m->n_symbols; k++)
        n += m->symbols[k].data_dependent != 0;
    do
        snprintf(name, sizeof name, "u%" PRIu32, n++);
    while (symbol_find(m, name, &i)); /* the model may have a dimension of that name */
    int64_t min, max;
    tni_ir_dim_range(m, bound, &min, &max);
    return symbol_add(m, name, 0, max < 0 ? INT64_MAX : max, true, bound);
}

bool tni_ir_dim_is_const(const IrModule *m, TnDim d, int64_t *value) {
    if (d == TN_DIM_NONE || m->exprs[d].op != TN_DIM_CONST)
        return false;
    *value = m->exprs[d].value;
    return true;
}

bool tni_ir_dim_equal(const IrModule *m, TnDim a, TnDim b) {
    if (a == TN_DIM_NONE || b == TN_DIM_NONE)
        return false;
    if (a == b)
        return true;
    if (m->exprs[a].op == TN_DIM_CONST && m->exprs[b].op == TN_DIM_CONST)
        return false; /* different ids are different numbers */
    Poly p, q;
    int64_t v;
    tni_poly_from(m, a, &p);
    tni_poly_from(m, b, &q);
    return tni_poly_add(&p, &q, -1, &p) && tni_poly_is_const(&p, &v) && v == 0;
}

static TnDim arith(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    int64_t v;
    if (tni_ir_dim_is_const(m, b, &v) && v == (op == TN_DIM_MUL))
        return a;
    if (op != TN_DIM_SUB && tni_ir_dim_is_const(m, a, &v) && v == (op == TN_DIM_MUL))
        return b;
    Poly p, q;
    tni_poly_from(m, a, &p);
    tni_poly_from(m, b, &q);
    bool fits = op == TN_DIM_MUL ? tni_poly_mul(&p, &q, &p) : tni_poly_add(&p, &q, op == TN_DIM_ADD ? 1 : -1, &p);
    if (fits)
        return tni_poly_expr(m, &p);
    if (op != TN_DIM_SUB && a > b) { /* commutative: one order */
        TnDim t = a;
        a = b;
        b = t;
    }
    return tni_ir_dim_intern(m, op, a, b, 0, 0);
}

TnDim tni_ir_dim_op(IrModule *m, TnDimOp op, TnDim a, TnDim b) {
    if (a == TN_DIM_NONE || b == TN_DIM_NONE)
        return TN_DIM_NONE;
    int64_t x, y, r;
    if (tni_ir_dim_is_const(m, a, &x) && tni_ir_dim_is_const(m, b, &y) && tni_dim_apply(op, x, y, 0, &r))
        return tni_ir_dim_const(m, r);
    switch (op) {
    case TN_DIM_ADD:
    case TN_DIM_SUB:
    case TN_DIM_MUL:
        return arith(m, op, a, b);
    case TN_DIM_FLOORDIV:
    case TN_DIM_CEILDIV:
    case TN_DIM_MOD:
        return tni_ir_dim_divide(m, op, a, b);
    case TN_DIM_MIN:
    case TN_DIM_MAX:
        return tni_ir_dim_minmax(m, op, a, b);
    case TN_DIM_EQ:
    case TN_DIM_LT:
        return tni_ir_dim_compare(m, op, a, b);
    default:
        return TN_DIM_NONE;
    }
}
