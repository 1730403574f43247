/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_gelu, fuse_silu: activations that exporters write out.
 *
 *   x -> / sqrt 2 -> erf -> + 1 -> * x -> * 0.5 (in any order of the products)       =>  gelu(x)
 *   x -> x^3 -> * 0.044715 -> + x -> * sqrt(2/pi) -> tanh -> + 1 -> * x -> * 0.5     =>  gelu_tanh(x)
 *   x -> [* a] -> sigmoid -> * x                                                     =>  silu(x; a)
 *
 * The product is flattened into its factors first, so that the order of association does not matter. */
#include <math.h>

#include "passes/match.h"
#include "passes/list.h"

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588

/* A product taken apart: c * factor[0] * factor[1] * ... */
typedef struct Product {
    double c;
    IrValueId factor[8];
    uint32_t n;
} Product;

/* Takes v apart through products that are read once (the top one, v itself, however often). */
static bool flatten(const Rewriter *r, IrValueId v, bool top, Product *f, Pattern *p, int depth) {
    IrValueId x, a, b;
    double c;
    if (top || (tni_pass_uses(r, v) == 1 && depth < 6)) {
        if (tni_pass_scaled(r, v, &x, &c)) {
            f->c *= c;
            tni_pattern_add(r, p, v);
            return flatten(r, x, false, f, p, depth + 1);
        }
        if (tni_pass_binary(r, v, TN_BINARY_mul, &a, &b)) {
            tni_pattern_add(r, p, v);
            return flatten(r, a, false, f, p, depth + 1) && flatten(r, b, false, f, p, depth + 1);
        }
    }
    if (f->n == TN_COUNT(f->factor))
        return false;
    f->factor[f->n++] = v;
    return true;
}

static bool near(double a, double b) {
    return fabs(a - b) <= 2e-6 * fabs(b);
}

/* v = c * (1 + fn(u)), also written c + c * fn(u). */
static bool one_plus(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *u, double *c, Pattern *p) {
    IrValueId y, z;
    double add, mul = 1;
    if (!tni_pass_binary_scalar(r, v, TN_BINARY_add, &y, &add))
        return false;
    tni_pattern_add(r, p, v);
    if (tni_pass_scaled(r, y, &z, &mul)) {
        tni_pattern_add(r, p, y);
        y = z;
    }
    *u = tni_pass_unary(r, y, fn);
    *c = add;
    tni_pattern_add(r, p, y);
    return *u != TN_NO_VALUE && near(add, mul);
}

/* v = x^3, or v = x^2 when cube is false. */
static bool is_power(const Rewriter *r, IrValueId v, IrValueId x, bool cube, Pattern *p) {
    IrValueId a, b;
    tni_pattern_add(r, p, v);
    if (tni_pass_binary(r, v, TN_BINARY_pow, &a, &b))
        return a == x && tni_pass_is_number(r, b, cube ? 3 : 2);
    if (!cube && tni_pass_unary(r, v, TN_UNARY_square) == x)
        return true;
    if (!tni_pass_binary(r, v, TN_BINARY_mul, &a, &b))
        return false;
    if (!cube)
        return a == x && b == x;
    return (a == x && is_power(r, b, x, false, p)) || (b == x && is_power(r, a, x, false, p));
}

/* u = sqrt(2/pi) * (x + 0.044715 x^3), or sqrt(2/pi) * x * (1 + 0.044715 x^2). */
static bool tanh_argument(const Rewriter *r, IrValueId u, IrValueId x, Pattern *p) {
    Product f = {.c = 1};
    IrValueId a, b, pw;
    double c;
    if (!flatten(r, u, true, &f, p, 0) || !near(f.c, SQRT_2_OVER_PI))
        return false;
    if (f.n == 1 && tni_pass_binary(r, f.factor[0], TN_BINARY_add, &a, &b) && (a == x || b == x)) {
        IrValueId cubic = a == x ? b : a;
        tni_pattern_add(r, p, f.factor[0]);
        tni_pattern_add(r, p, cubic);
        if (tni_pass_scaled(r, cubic, &pw, &c))
            return near(c, 0.044715) && is_power(r, pw, x, true, p);
        Product g = {.c = 1}; /* 0.044715 * x * x * x associated from the left */
        if (!flatten(r, cubic, true, &g, p, 0) || !near(g.c, 0.044715))
            return false;
        uint32_t degree = 0;
        for (uint32_t i = 0; i < g.n; i++) {
            if (g.factor[i] == x)
                degree += 1;
            else if (is_power(r, g.factor[i], x, false, p))
                degree += 2;
            else
                return false;
        }
        return degree == 3;
    }
    if (f.n != 2)
        return false;
    IrValueId sum = f.factor[0] == x ? f.factor[1] : f.factor[0], sq;
    if (sum == x || (f.factor[0] != x && f.factor[1] != x) || !tni_pass_binary_scalar(r, sum, TN_BINARY_add, &sq, &c) || !near(c, 1))
        return false;
    tni_pattern_add(r, p, sum);
    tni_pattern_add(r, p, sq);
    return tni_pass_scaled(r, sq, &pw, &c) && near(c, 0.044715) && is_power(r, pw, x, false, p);
}

static void gelu_at(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_binary || n->out[0] == TN_NO_VALUE || !tni_pass_may_round(r, n->out[0]))
        return;
    Product f = {.c = 1};
    Pattern top = {.n = 0};
    if (!flatten(r, n->out[0], true, &f, &top, 0) || f.n != 2)
        return;
    for (uint32_t i = 0; i < 2; i++) {
        IrValueId x = f.factor[1 - i], u, y;
        double c, inner;
        Pattern p = top;
        bool exact = one_plus(r, f.factor[i], TN_UNARY_erf, &u, &c, &p) && near(c * f.c, 0.5) && tni_pass_scaled(r, u, &y, &inner) &&
                     y == x && near(inner, SQRT_HALF);
        if (exact)
            tni_pattern_add(r, &p, u);
        else
            p = top;
        bool approx = !exact && one_plus(r, f.factor[i], TN_UNARY_tanh, &u, &c, &p) && near(c * f.c, 0.5) && tanh_argument(r, u, x, &p);
        if ((exact || approx) && tni_pattern_closed(r, &p, n->out[0])) {
            uint32_t fn = exact ? TN_UNARY_gelu : TN_UNARY_gelu_tanh;
            tni_pass_replace(r, n->out[0], tni_pass_unary_node(r, tni_pattern_name(r, &p), fn, 0, x));
            return;
        }
    }
}

static void silu_at(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    IrValueId v = n->out[0], a, b, y;
    if (n->op != TN_OP_binary || v == TN_NO_VALUE || !tni_pass_may_round(r, v) || !tni_pass_binary(r, v, TN_BINARY_mul, &a, &b))
        return;
    for (int turn = 0; turn < 2; turn++) {
        IrValueId x = turn == 0 ? a : b, gate = turn == 0 ? b : a;
        IrValueId u = tni_pass_unary(r, gate, TN_UNARY_sigmoid);
        double alpha = 1;
        Pattern p = {.n = 0};
        tni_pattern_add(r, &p, v);
        tni_pattern_add(r, &p, gate);
        if (u == TN_NO_VALUE)
            continue;
        if (u != x) {
            if (!tni_pass_scaled(r, u, &y, &alpha) || y != x)
                continue;
            tni_pattern_add(r, &p, u);
        }
        if (!tni_pattern_closed(r, &p, v))
            continue;
        tni_pass_replace(r, v, tni_pass_unary_node(r, tni_pattern_name(r, &p), TN_UNARY_silu, (float)alpha, x));
        return;
    }
}

TnStatus tni_pass_gelu(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, gelu_at, 1, changed, err);
}

TnStatus tni_pass_silu(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, silu_at, 1, changed, err);
}
