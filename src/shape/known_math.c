/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic on known elements.
 * In: exact fractions of symbolic expressions. Out: the result of the operator on them, or "unknown" where it would not be exact (wrapping,
 * rounding, transcendental functions). */
#include "shape/rule.h"

static const ShapeNum unknown = {TN_DIM_NONE, 1};

static ShapeNum whole(TnDim d) {
    return (ShapeNum){d, 1};
}

static TnDim op(IrModule *m, TnDimOp o, TnDim a, TnDim b) {
    return tni_ir_dim_op(m, o, a, b);
}

static TnDim times(IrModule *m, TnDim d, int64_t k) {
    return k == 1 ? d : op(m, TN_DIM_MUL, d, tni_ir_dim_const(m, k));
}

static int64_t gcd(int64_t a, int64_t b) {
    while (b != 0) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

/* Keeps what an element type holds: integers in range, fractions of floats short. Constants that overflowed stay unfolded: unknown. */
static ShapeNum settle(IrModule *m, TnDtype t, TnDim num, int64_t den) {
    int64_t v;
    if (num == TN_DIM_NONE || den < 1 || den > (1 << 20))
        return unknown;
    const TnDimExpr *e = &m->exprs[num];
    if (e->op > TN_DIM_SYMBOL && m->exprs[e->a].op == TN_DIM_CONST && m->exprs[e->b].op == TN_DIM_CONST)
        return unknown;
    if (tni_ir_dim_is_const(m, num, &v)) {
        int64_t g = gcd(v, den);
        if (v == INT64_MIN || (t == TN_I32 && (v < INT32_MIN || v > INT32_MAX)) || (t == TN_U8 && (v < 0 || v > UINT8_MAX)) ||
            (t == TN_I8 && (v < INT8_MIN || v > INT8_MAX)) || (t == TN_U16 && (v < 0 || v > UINT16_MAX)) ||
            (t == TN_I16 && (v < INT16_MIN || v > INT16_MAX)) || (t == TN_U32 && (v < 0 || v > UINT32_MAX)) || (t == TN_U64 && v < 0))
            return unknown;
        if (g > 1)
            return (ShapeNum){tni_ir_dim_const(m, v / g), den / g};
    } else if (((T_UNSIGNED | T_BIT(TN_I8) | T_BIT(TN_I16)) >> t & 1u) != 0) {
        return unknown; /* a symbolic value may wrap */
    }
    return (ShapeNum){num, den};
}

static ShapeNum not_of(IrModule *m, TnDim d) {
    return whole(op(m, TN_DIM_EQ, d, tni_ir_dim_const(m, 0)));
}

/* Integer division towards zero. */
static TnDim int_div(IrModule *m, TnDim a, TnDim b) {
    int64_t alo, ahi, blo, bhi;
    TnDim zero = tni_ir_dim_const(m, 0);
    tni_ir_dim_range(m, a, &alo, &ahi);
    tni_ir_dim_range(m, b, &blo, &bhi);
    if (blo < 1 && bhi > -1)
        return TN_DIM_NONE; /* the divisor may be 0, which ONNX leaves open */
    if (bhi <= -1)
        return int_div(m, op(m, TN_DIM_SUB, zero, a), op(m, TN_DIM_SUB, zero, b));
    if (alo >= 0)
        return op(m, TN_DIM_FLOORDIV, a, b);
    TnDim minus = op(m, TN_DIM_SUB, zero, op(m, TN_DIM_FLOORDIV, op(m, TN_DIM_SUB, zero, a), b));
    if (ahi <= 0)
        return minus;
    return tni_ir_dim_select(m, op(m, TN_DIM_LT, a, zero), minus, op(m, TN_DIM_FLOORDIV, a, b));
}

static ShapeNum divide(IrModule *m, TnDtype t, ShapeNum a, ShapeNum b) {
    int64_t v, x;
    if (!tni_dtype_is_float(t)) {
        if (tni_ir_dim_is_const(m, b.num, &v) && v == INT64_MIN)
            return unknown;
        return settle(m, t, int_div(m, a.num, b.num), 1);
    }
    if (tni_ir_dim_is_const(m, b.num, &v)) {
        if (v == 0 || v < -1000000 || v > 1000000 || a.den > 1000000 || b.den > 1000000)
            return unknown;
        TnDim num = times(m, a.num, v < 0 ? -b.den : b.den);
        int64_t den = a.den * (v < 0 ? -v : v);
        if (!tni_ir_dim_is_const(m, num, &x)) { /* a short fraction also where the dividend is a symbol */
            TnDim q = op(m, TN_DIM_FLOORDIV, num, tni_ir_dim_const(m, den));
            if (tni_ir_dim_equal(m, times(m, q, den), num))
                return settle(m, t, q, 1);
        }
        return settle(m, t, num, den);
    }
    TnDim num = times(m, a.num, b.den), den = times(m, b.num, a.den); /* exact quotients of symbols only */
    TnDim q = op(m, TN_DIM_FLOORDIV, num, den);
    return q != TN_DIM_NONE && tni_ir_dim_equal(m, op(m, TN_DIM_MUL, q, den), num) ? settle(m, t, q, 1) : unknown;
}

static ShapeNum modulo(IrModule *m, uint32_t fn, TnDtype t, ShapeNum a, ShapeNum b) {
    int64_t alo, ahi, blo, bhi;
    if (a.den != 1 || b.den != 1)
        return unknown;
    tni_ir_dim_range(m, a.num, &alo, &ahi);
    tni_ir_dim_range(m, b.num, &blo, &bhi);
    if ((blo < 1 && bhi > -1) || (fn == TN_BINARY_fmod && (alo < 0 || blo < 1)))
        return unknown;
    return settle(m, t, op(m, TN_DIM_MOD, a.num, b.num), 1);
}

static ShapeNum power(IrModule *m, TnDtype t, ShapeNum a, ShapeNum b) {
    int64_t v;
    if (b.den != 1 || a.den > 1024 || !tni_ir_dim_is_const(m, b.num, &v) || v < 0 || v > 2)
        return unknown;
    if (v == 0)
        return whole(tni_ir_dim_const(m, 1));
    return v == 1 ? a : settle(m, t, op(m, TN_DIM_MUL, a.num, a.num), a.den * a.den);
}

/* Operators that need both fractions over one denominator: a and b are numerators. */
static ShapeNum common(IrModule *m, uint32_t fn, TnDtype t, TnDim a, TnDim b, int64_t den) {
    switch (fn) {
    case TN_BINARY_add:
        return settle(m, t, op(m, TN_DIM_ADD, a, b), den);
    case TN_BINARY_sub:
        return settle(m, t, op(m, TN_DIM_SUB, a, b), den);
    case TN_BINARY_min:
        return settle(m, t, op(m, TN_DIM_MIN, a, b), den);
    case TN_BINARY_max:
        return settle(m, t, op(m, TN_DIM_MAX, a, b), den);
    case TN_BINARY_equal:
        return whole(op(m, TN_DIM_EQ, a, b));
    case TN_BINARY_less:
        return whole(op(m, TN_DIM_LT, a, b));
    case TN_BINARY_greater:
        return whole(op(m, TN_DIM_LT, b, a));
    case TN_BINARY_less_equal:
        return not_of(m, op(m, TN_DIM_LT, b, a));
    case TN_BINARY_greater_equal:
        return not_of(m, op(m, TN_DIM_LT, a, b));
    case TN_BINARY_and_:
        return whole(op(m, TN_DIM_MIN, a, b));
    case TN_BINARY_or_:
        return whole(op(m, TN_DIM_MAX, a, b));
    case TN_BINARY_xor_:
        return not_of(m, op(m, TN_DIM_EQ, a, b));
    default:
        return unknown;
    }
}

ShapeNum tni_shape_num_binary(IrModule *m, uint32_t fn, TnDtype t, ShapeNum a, ShapeNum b) {
    if (a.num == TN_DIM_NONE || b.num == TN_DIM_NONE)
        return unknown;
    switch (fn) {
    case TN_BINARY_mul:
        if (a.den > 1024 || b.den > 1024)
            return unknown;
        if (a.den > 1 || b.den > 1) { /* h * 0.5 * 2: cancel while it divides */
            ShapeNum p = {op(m, TN_DIM_MUL, a.num, b.num), a.den * b.den};
            TnDim q = op(m, TN_DIM_FLOORDIV, p.num, tni_ir_dim_const(m, p.den));
            if (q != TN_DIM_NONE && tni_ir_dim_equal(m, times(m, q, p.den), p.num))
                return settle(m, t, q, 1);
            return settle(m, t, p.num, p.den);
        }
        return settle(m, t, op(m, TN_DIM_MUL, a.num, b.num), 1);
    case TN_BINARY_div:
        return divide(m, t, a, b);
    case TN_BINARY_mod:
    case TN_BINARY_fmod:
        return modulo(m, fn, t, a, b);
    case TN_BINARY_pow:
        return power(m, t, a, b);
    default: {
        int64_t g = gcd(a.den, b.den), ka = b.den / g, kb = a.den / g;
        return common(m, fn, t, times(m, a.num, ka), times(m, b.num, kb), a.den * ka);
    }
    }
}

ShapeNum tni_shape_num_unary(IrModule *m, uint32_t fn, TnDtype t, ShapeNum a) {
    TnDim zero = tni_ir_dim_const(m, 0);
    if (a.num == TN_DIM_NONE)
        return unknown;
    switch (fn) {
    case TN_UNARY_neg:
        return settle(m, t, op(m, TN_DIM_SUB, zero, a.num), a.den);
    case TN_UNARY_abs:
        return settle(m, t, op(m, TN_DIM_MAX, a.num, op(m, TN_DIM_SUB, zero, a.num)), a.den);
    case TN_UNARY_relu:
        return settle(m, t, op(m, TN_DIM_MAX, a.num, zero), a.den);
    case TN_UNARY_floor:
        return settle(m, t, op(m, TN_DIM_FLOORDIV, a.num, tni_ir_dim_const(m, a.den)), 1);
    case TN_UNARY_ceil:
        return settle(m, t, op(m, TN_DIM_CEILDIV, a.num, tni_ir_dim_const(m, a.den)), 1);
    case TN_UNARY_round:
        return a.den == 1 ? a : unknown;
    case TN_UNARY_square:
        return a.den <= 1024 ? settle(m, t, op(m, TN_DIM_MUL, a.num, a.num), a.den * a.den) : unknown;
    case TN_UNARY_not_:
        return not_of(m, a.num);
    default:
        return unknown;
    }
}

ShapeNum tni_shape_num_cast(IrModule *m, TnDtype from, TnDtype to, ShapeNum a) {
    int64_t lo, hi;
    if (a.num == TN_DIM_NONE || from == to)
        return a;
    bool from_float = tni_dtype_is_float(from);
    if (to == TN_BOOL) {
        TnDim b = op(m, TN_DIM_EQ, op(m, TN_DIM_EQ, a.num, tni_ir_dim_const(m, 0)), tni_ir_dim_const(m, 0));
        return whole(b);
    }
    if (tni_dtype_is_float(to))
        return to == TN_F32 || to == TN_F64 ? a : unknown;
    if (from_float && a.den != 1) { /* truncation */
        tni_ir_dim_range(m, a.num, &lo, &hi);
        if (lo < 0 && hi > 0)
            return unknown;
        TnDim q = int_div(m, a.num, tni_ir_dim_const(m, a.den));
        return settle(m, to, q, 1);
    }
    return settle(m, to, a.num, 1);
}

ShapeNum tni_shape_num_select(IrModule *m, ShapeNum c, ShapeNum a, ShapeNum b) {
    int64_t v;
    if (a.num != TN_DIM_NONE && a.num == b.num && a.den == b.den)
        return a;
    if (tni_ir_dim_is_const(m, c.num, &v))
        return v != 0 ? a : b;
    if (c.num == TN_DIM_NONE || a.num == TN_DIM_NONE || b.num == TN_DIM_NONE || a.den != b.den)
        return unknown;
    return (ShapeNum){tni_ir_dim_select(m, c.num, a.num, b.num), a.den};
}
