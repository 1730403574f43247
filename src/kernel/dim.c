/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbolic dimensions on numbers and as text.
 * In: a table of expressions whose operands come before them. Out: values, or text. Invariant: nothing here overflows silently. */
#include "kernel/dim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

/* Division with b != 0 and no overflow, towards minus infinity. */
static int64_t floor_div(int64_t a, int64_t b) {
    int64_t q = a / b;
    return q - ((a % b != 0) && ((a < 0) != (b < 0)));
}

static bool apply_div(TnDimOp op, int64_t a, int64_t b, int64_t *out) {
    if (b == 0)
        return false;
    if (a == INT64_MIN && b == -1) {
        *out = 0; /* the remainder; the quotient does not exist */
        return op == TN_DIM_MOD;
    }
    switch (op) {
    case TN_DIM_FLOORDIV:
        *out = floor_div(a, b);
        return true;
    case TN_DIM_CEILDIV:
        *out = floor_div(a, b) + (a % b != 0);
        return true;
    default:
        *out = a % b + ((a % b != 0 && ((a < 0) != (b < 0))) ? b : 0);
        return true;
    }
}

bool tni_dim_apply(TnDimOp op, int64_t a, int64_t b, int64_t c, int64_t *out) {
    switch (op) {
    case TN_DIM_ADD:
        return !__builtin_add_overflow(a, b, out);
    case TN_DIM_SUB:
        return !__builtin_sub_overflow(a, b, out);
    case TN_DIM_MUL:
        return !__builtin_mul_overflow(a, b, out);
    case TN_DIM_FLOORDIV:
    case TN_DIM_CEILDIV:
    case TN_DIM_MOD:
        return apply_div(op, a, b, out);
    case TN_DIM_MIN:
        *out = TN_MIN(a, b);
        return true;
    case TN_DIM_MAX:
        *out = TN_MAX(a, b);
        return true;
    case TN_DIM_EQ:
        *out = a == b;
        return true;
    case TN_DIM_LT:
        *out = a < b;
        return true;
    case TN_DIM_SELECT:
        *out = a != 0 ? b : c;
        return true;
    default:
        return false;
    }
}

TnStatus tni_dim_eval(const TnDimExpr *exprs, uint32_t first, uint32_t n, const int64_t *symbols, int64_t *values, TnError *err) {
    for (uint32_t i = first; i < n; i++) {
        const TnDimExpr *e = &exprs[i];
        if (e->op == TN_DIM_CONST) {
            values[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            values[i] = symbols[e->value];
        } else {
            int64_t c = e->op == TN_DIM_SELECT ? values[e->c] : 0;
            if (!tni_dim_apply((TnDimOp)e->op, values[e->a], values[e->b], c, &values[i])) {
                char text[256];
                return TN_RAISE(err, TN_ERR_SHAPE,
                                "dimension expression %" PRIu32 ", %s, with operands %" PRId64 " and %" PRId64
                                ": division by zero or overflow; the inputs' sizes are not possible for this model",
                                i, tni_dim_str(text, sizeof text, exprs, NULL, i), values[e->a], values[e->b]);
            }
        }
    }
    return TN_OK;
}

/* Text being written: n counts the bytes wanted, cut to cap. */
typedef struct Text {
    char *buf;
    size_t cap, n;
} Text;

static void put(Text *t, const char *fmt, ...) TN_PRINTF(2, 3);
static void put(Text *t, const char *fmt, ...) {
    if (t->n + 1 >= t->cap)
        return;
    va_list ap;
    va_start(ap, fmt);
    int k = vsnprintf(t->buf + t->n, t->cap - t->n, fmt, ap);
    va_end(ap);
    if (k > 0)
        t->n = TN_MIN(t->n + (size_t)k, t->cap - 1);
}

/* How each operation is written; prec: its binding strength as an infix, 0 = as a function. */
static const struct Form {
    const char *infix, *function;
    int prec;
} forms[TN_DIM_OP_COUNT] = {
    [TN_DIM_ADD] = {" + ", NULL, 2},     [TN_DIM_SUB] = {" - ", NULL, 2},         [TN_DIM_MUL] = {"*", NULL, 3},
    [TN_DIM_FLOORDIV] = {"//", NULL, 3}, [TN_DIM_CEILDIV] = {NULL, "ceildiv", 0}, [TN_DIM_MOD] = {" % ", NULL, 3},
    [TN_DIM_MIN] = {NULL, "min", 0},     [TN_DIM_MAX] = {NULL, "max", 0},         [TN_DIM_EQ] = {" == ", NULL, 1},
    [TN_DIM_LT] = {" < ", NULL, 1},      [TN_DIM_SELECT] = {NULL, "select", 0},
};

enum { MAX_DEPTH = 64 };

/* Recursion is bounded by MAX_DEPTH and by the buffer: once it is full, nothing descends. */
static void write_dim(Text *t, const TnDimExpr *exprs, const TnSymbol *symbols, TnDim d, int outer, int depth) {
    if (d == TN_DIM_NONE) {
        put(t, "?");
        return;
    }
    const TnDimExpr *e = &exprs[d];
    if (e->op == TN_DIM_CONST) {
        put(t, e->value < 0 && outer > 2 ? "(%" PRId64 ")" : "%" PRId64, e->value);
        return;
    }
    if (e->op == TN_DIM_SYMBOL) {
        if (symbols != NULL)
            put(t, "%.63s", symbols[e->value].name);
        else
            put(t, "s%" PRId64, e->value);
        return;
    }
    if (e->op >= TN_DIM_OP_COUNT || depth >= MAX_DEPTH || t->n + 1 >= t->cap) {
        put(t, "...");
        return;
    }
    const struct Form *f = &forms[e->op];
    if (f->prec == 0) {
        put(t, "%s(", f->function);
        write_dim(t, exprs, symbols, e->a, 0, depth + 1);
        put(t, ", ");
        write_dim(t, exprs, symbols, e->b, 0, depth + 1);
        if (e->op == TN_DIM_SELECT) {
            put(t, ", ");
            write_dim(t, exprs, symbols, e->c, 0, depth + 1);
        }
        put(t, ")");
        return;
    }
    if (f->prec < outer)
        put(t, "(");
    write_dim(t, exprs, symbols, e->a, f->prec, depth + 1);
    put(t, "%s", f->infix);
    write_dim(t, exprs, symbols, e->b, f->prec + 1, depth + 1);
    if (f->prec < outer)
        put(t, ")");
}

char *tni_dim_str(char *buf, size_t n, const TnDimExpr *exprs, const TnSymbol *symbols, TnDim d) {
    if (n > 0) {
        Text t = {buf, n, 0};
        buf[0] = '\0';
        write_dim(&t, exprs, symbols, d, 0, 0);
    }
    return buf;
}
