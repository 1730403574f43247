/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbolic dimensions: named identities, and random expressions against evaluation of the unsimplified tree. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "ir/graph.h"

static IrModule *m;

static int setup(void **state) {
    (void)state;
    TnError err = {0};
    return tni_ir_module_create(NULL, &m, &err) == TN_OK ? 0 : -1;
}

static int teardown(void **state) {
    (void)state;
    tni_ir_module_destroy(&m);
    return 0;
}

static TnDim C(int64_t v) {
    return tni_ir_dim_const(m, v);
}
static TnDim S(const char *name) {
    return tni_ir_dim_symbol(m, name);
}
static TnDim op(TnDimOp o, TnDim a, TnDim b) {
    return tni_ir_dim_op(m, o, a, b);
}
static TnDim add(TnDim a, TnDim b) {
    return op(TN_DIM_ADD, a, b);
}
static TnDim sub(TnDim a, TnDim b) {
    return op(TN_DIM_SUB, a, b);
}
static TnDim mul(TnDim a, TnDim b) {
    return op(TN_DIM_MUL, a, b);
}
static TnDim fdiv(TnDim a, TnDim b) {
    return op(TN_DIM_FLOORDIV, a, b);
}
static TnDim cdiv(TnDim a, TnDim b) {
    return op(TN_DIM_CEILDIV, a, b);
}
static TnDim mod(TnDim a, TnDim b) {
    return op(TN_DIM_MOD, a, b);
}
static TnDim mn(TnDim a, TnDim b) {
    return op(TN_DIM_MIN, a, b);
}
static TnDim mx(TnDim a, TnDim b) {
    return op(TN_DIM_MAX, a, b);
}
static TnDim eq(TnDim a, TnDim b) {
    return op(TN_DIM_EQ, a, b);
}
static TnDim lt(TnDim a, TnDim b) {
    return op(TN_DIM_LT, a, b);
}
static TnDim sel(TnDim c, TnDim a, TnDim b) {
    return tni_ir_dim_select(m, c, a, b);
}

static void same_at(TnDim a, TnDim b, int line) {
    if (a == b)
        return;
    char x[256], y[256];
    fail_msg("line %d: %s is not %s", line, tni_dim_str(x, sizeof x, m->exprs, m->symbols, a),
             tni_dim_str(y, sizeof y, m->exprs, m->symbols, b));
}
#define same(a, b) same_at((a), (b), __LINE__)

static void test_sums_and_products(void **state) {
    (void)state;
    TnDim b = S("batch"), s = S("seq"), h = S("h"), w = S("w");
    same(sub(mul(C(2), h), h), h);
    same(sub(add(h, w), w), h);
    same(add(h, w), add(w, h));
    same(mul(add(h, C(1)), add(w, C(1))), add(add(add(mul(h, w), h), w), C(1)));
    same(fdiv(mul(mul(b, s), C(768)), mul(mul(b, s), C(12))), C(64));
    same(fdiv(mul(mul(b, s), C(768)), mul(s, C(12))), mul(b, C(64)));
    same(fdiv(mul(mul(b, s), C(7)), mul(b, C(2))), fdiv(mul(s, C(7)), C(2)));
    same(sub(h, h), C(0));
    same(mul(h, C(0)), C(0));
    same(fdiv(h, h), C(1));
    TnDim p = add(mul(fdiv(h, C(16)), fdiv(w, C(16))), C(1)); /* patches + cls */
    same(fdiv(mul(mul(p, C(768)), b), mul(p, C(12))), mul(b, C(64)));
    same(fdiv(mul(add(p, s), b), add(p, s)), b);
    assert_true(tni_ir_dim_equal(m, add(h, C(1)), add(C(1), h)));
    assert_false(tni_ir_dim_equal(m, h, w));
}

static void test_division(void **state) {
    (void)state;
    TnDim x = S("x"), y = S("y");
    same(fdiv(add(x, C(32)), C(16)), add(fdiv(x, C(16)), C(2)));
    same(fdiv(add(mul(x, C(48)), C(5)), C(16)), mul(x, C(3)));
    same(fdiv(fdiv(x, C(2)), C(2)), fdiv(x, C(4)));
    TnDim half = add(fdiv(sub(x, C(1)), C(2)), C(1)); /* a 3x3 stride-2 convolution */
    same(half, fdiv(add(x, C(1)), C(2)));
    same(half, cdiv(x, C(2)));
    same(half, sub(C(0), fdiv(sub(C(0), x), C(2))));
    TnDim quarter = add(fdiv(sub(half, C(1)), C(2)), C(1));
    same(quarter, cdiv(x, C(4)));
    same(fdiv(add(mul(x, y), mul(C(3), y)), y), add(x, C(3)));
    same(fdiv(add(x, mul(C(3), y)), y), add(C(3), fdiv(x, y)));
    same(fdiv(sub(mul(x, x), C(1)), add(x, C(1))), sub(x, C(1)));
    same(mod(x, x), C(0));
    same(mod(mul(x, C(6)), C(3)), C(0));
    same(mod(add(x, C(7)), C(7)), mod(x, C(7)));
    same(add(mul(fdiv(x, C(7)), C(7)), mod(x, C(7))), x);
    /* window padding: x + (7 - x % 7) % 7 is the next multiple of 7 */
    TnDim padded = add(x, mod(sub(C(7), mod(x, C(7))), C(7)));
    same(padded, mul(cdiv(x, C(7)), C(7)));
    same(mul(fdiv(padded, C(7)), C(7)), padded);
    same(cdiv(mul(x, C(8)), C(8)), x);
    int64_t lo, hi;
    tni_ir_dim_range(m, mod(x, C(7)), &lo, &hi);
    assert_int_equal(lo, 0);
    assert_int_equal(hi, 6);
    tni_ir_dim_range(m, half, &lo, &hi);
    assert_int_equal(lo, 1);
    tni_ir_dim_range(m, padded, &lo, &hi);
    assert_int_equal(lo, 7);
    assert_true(fdiv(x, C(0)) != TN_DIM_NONE); /* an error when it is evaluated, not here */
    assert_true(fdiv(C(5), sub(x, x)) != TN_DIM_NONE);
}

static void test_choices(void **state) {
    (void)state;
    TnDim x = S("x"), y = S("y");
    same(mx(x, C(0)), x);
    same(mx(x, C(1)), x);
    same(mn(x, C(0)), C(0));
    same(mn(x, x), x);
    same(mn(x, add(x, C(1))), x);
    same(mx(mn(x, C(5)), C(0)), mn(x, C(5)));
    same(mn(mn(x, C(5)), C(7)), mn(x, C(5)));
    same(mn(mn(x, C(7)), C(5)), mn(x, C(5)));
    same(mn(mn(x, y), x), mn(x, y));
    same(mx(mn(x, y), x), x);
    same(mn(add(x, C(1)), C(6)), add(mn(x, C(5)), C(1)));
    same(mn(add(x, C(1)), add(y, C(3))), add(mn(x, add(y, C(2))), C(1)));
    same(mn(x, y), mn(y, x));
    same(eq(x, C(-1)), C(0));
    same(eq(x, C(0)), C(0));
    same(eq(add(x, C(1)), add(y, C(1))), eq(y, x));
    same(eq(mul(x, C(2)), C(7)), C(0));
    same(eq(mul(x, C(2)), C(8)), eq(x, C(4)));
    same(lt(x, C(1)), C(0));
    same(lt(C(0), x), C(1));
    same(lt(mul(x, C(2)), C(7)), lt(x, C(4)));
    same(sel(eq(x, C(-1)), y, x), x);
    same(sel(eq(x, y), y, x), x);
    same(sel(lt(x, y), x, y), mn(x, y));
    same(sel(lt(x, y), y, x), mx(x, y));
    same(sel(eq(eq(x, C(4)), C(0)), x, y), sel(eq(x, C(4)), y, x));
    same(sel(eq(x, C(4)), C(1), C(0)), eq(x, C(4)));
    same(sub(x, sub(x, mn(x, C(512)))), mn(x, C(512)));
    int64_t lo, hi;
    tni_ir_dim_range(m, sub(x, mn(x, C(512))), &lo, &hi);
    assert_int_equal(lo, 0);
}

static void test_text(void **state) {
    (void)state;
    char buf[128], tiny[6];
    TnDim b = S("batch"), s = S("seq");
    assert_string_equal(tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, add(mul(b, C(4)), C(1))), "batch*4 + 1");
    assert_string_equal(tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, sub(fdiv(s, C(2)), b)), "seq//2 - batch");
    assert_string_equal(tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, fdiv(sub(s, b), C(3))), "(batch - seq + 2)//3*(-1)");
    assert_string_equal(tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, mn(s, C(512))), "min(seq, 512)");
    assert_string_equal(tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, TN_DIM_NONE), "?");
    tni_dim_str(tiny, sizeof tiny, m->exprs, m->symbols, add(mul(b, C(4)), C(1)));
    assert_true(strlen(tiny) < sizeof tiny);
}

/* ---- random expressions ---- */

static uint64_t rng = 0x1234567;
static uint32_t rnd(uint32_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)((rng >> 20) % n);
}

enum { N_POINTS = 24, POOL = 14 };
typedef struct Case {
    TnDim d;
    int64_t v[N_POINTS];
    bool ok[N_POINTS];
} Case;

/* Values of every expression of the module at point p; ok[i] false: error. */
static void eval_all(const int64_t *symbols, int64_t *values, bool *ok) {
    for (uint32_t i = 0; i < m->n_exprs; i++) {
        const TnDimExpr *e = &m->exprs[i];
        ok[i] = true;
        if (e->op == TN_DIM_CONST) {
            values[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            values[i] = symbols[e->value];
        } else {
            assert_true(e->a < i && e->b < i);
            if (e->op == TN_DIM_SELECT)
                assert_true(e->c < i);
            ok[i] = ok[e->a] && ok[e->b] && (e->op != TN_DIM_SELECT || ok[e->c]) &&
                    tni_dim_apply((TnDimOp)e->op, values[e->a], values[e->b], e->op == TN_DIM_SELECT ? values[e->c] : 0, &values[i]);
        }
    }
}

static void round_of(uint32_t seed) {
    static const TnDimOp ops[] = {TN_DIM_ADD, TN_DIM_ADD,      TN_DIM_SUB,      TN_DIM_SUB,     TN_DIM_MUL,
                                  TN_DIM_MUL, TN_DIM_FLOORDIV, TN_DIM_FLOORDIV, TN_DIM_CEILDIV, TN_DIM_MOD,
                                  TN_DIM_MIN, TN_DIM_MAX,      TN_DIM_EQ,       TN_DIM_LT,      TN_DIM_SELECT};
    static Case pool[POOL + 40];
    static int64_t values[20000];
    static bool ok[20000];
    int64_t symbols[3][N_POINTS];
    uint32_t n = 0;
    rng = 0x9E3779B97F4A7C15u * (seed + 1);
    TnError err = {0};
    tni_ir_module_destroy(&m);
    assert_int_equal(tni_ir_module_create(NULL, &m, &err), TN_OK);
    const char *names[3] = {"x", "y", "z"};
    for (int i = 0; i < 3; i++) {
        pool[n].d = S(names[i]);
        for (int p = 0; p < N_POINTS; p++) {
            symbols[i][p] = p < 6 ? p + 1 : 1 + (int64_t)rnd(40);
            pool[n].v[p] = symbols[i][p];
            pool[n].ok[p] = true;
        }
        n++;
    }
    for (; n < POOL; n++) {
        int64_t k = (int64_t)rnd(12) - 3;
        pool[n].d = C(k);
        for (int p = 0; p < N_POINTS; p++) {
            pool[n].v[p] = k;
            pool[n].ok[p] = true;
        }
    }
    for (; n < POOL + 40; n++) {
        TnDimOp o = ops[rnd((uint32_t)TN_COUNT(ops))];
        Case *a = &pool[rnd(n)], *b = &pool[rnd(n)], *c = &pool[rnd(n)], *r = &pool[n];
        r->d = o == TN_DIM_SELECT ? sel(a->d, b->d, c->d) : op(o, a->d, b->d);
        assert_true(r->d != TN_DIM_NONE);
        for (int p = 0; p < N_POINTS; p++)
            r->ok[p] = a->ok[p] && b->ok[p] && (o != TN_DIM_SELECT || c->ok[p]) && tni_dim_apply(o, a->v[p], b->v[p], c->v[p], &r->v[p]);
    }
    assert_true(m->n_exprs < 20000);
    for (int p = 0; p < N_POINTS; p++) {
        int64_t s[3] = {symbols[0][p], symbols[1][p], symbols[2][p]};
        eval_all(s, values, ok);
        for (uint32_t i = 0; i < n; i++) {
            int64_t lo, hi;
            if (!pool[i].ok[p] || !ok[pool[i].d])
                continue; /* overflow and division by zero may move, values may not */
            if (values[pool[i].d] != pool[i].v[p]) {
                char text[512];
                fail_msg("seed %u item %u: %s gives %" PRId64 ", expected %" PRId64 " at x=%" PRId64 " y=%" PRId64 " z=%" PRId64, seed, i,
                         tni_dim_str(text, sizeof text, m->exprs, m->symbols, pool[i].d), values[pool[i].d], pool[i].v[p], s[0], s[1],
                         s[2]);
            }
            tni_ir_dim_range(m, pool[i].d, &lo, &hi);
            if (!(lo <= pool[i].v[p] && pool[i].v[p] <= hi)) {
                char text[512];
                fail_msg("seed %u item %u: %s = %" PRId64 " is outside its range %" PRId64 "..%" PRId64, seed, i,
                         tni_dim_str(text, sizeof text, m->exprs, m->symbols, pool[i].d), pool[i].v[p], lo, hi);
            }
        }
    }
}

static void test_random(void **state) {
    (void)state;
    for (uint32_t seed = 0; seed < 1500; seed++)
        round_of(seed);
}

static void test_hostile(void **state) {
    (void)state;
    TnDim big = C(INT64_MAX), x = S("x"), low = C(INT64_MIN);
    TnDim v = mul(mul(x, big), big); /* the coefficient overflows: kept as it stands */
    assert_true(v != TN_DIM_NONE);
    const TnDim d[] = {x, big, low, v, add(x, low), sub(low, x), mul(x, low), C(0), C(-1), fdiv(x, C(-3))};
    for (uint32_t i = 0; i < TN_COUNT(d); i++) {
        for (uint32_t j = 0; j < TN_COUNT(d); j++) {
            for (uint32_t o = TN_DIM_ADD; o <= TN_DIM_LT; o++) {
                TnDim r = op((TnDimOp)o, d[i], d[j]);
                assert_true(r != TN_DIM_NONE);
                sel(r, d[i], d[j]);
            }
        }
    }
    TnDim deep = x; /* depth and width beyond every budget */
    char name[16];
    for (int i = 0; i < 3000; i++) {
        snprintf(name, sizeof name, "s%d", i % 97);
        deep = i % 3 == 0 ? mul(deep, add(S(name), C(1))) : i % 3 == 1 ? add(deep, S(name)) : mn(deep, mul(S(name), C(i)));
        assert_true(deep != TN_DIM_NONE);
    }
    int64_t lo, hi;
    tni_ir_dim_range(m, deep, &lo, &hi);
    char buf[64];
    tni_dim_str(buf, sizeof buf, m->exprs, m->symbols, deep);
    assert_true(op(TN_DIM_ADD, TN_DIM_NONE, x) == TN_DIM_NONE);
    assert_true(sel(TN_DIM_NONE, x, x) == TN_DIM_NONE);
}

static void test_eval(void **state) {
    (void)state;
    TnDim x = S("x"), y = S("y");
    TnDim d = fdiv(C(100), sub(x, y));
    TnError err = {0};
    int64_t values[64], s[2] = {9, 4};
    assert_true(m->n_exprs <= 64);
    assert_int_equal(tni_dim_eval(m->exprs, 0, m->n_exprs, s, values, &err), TN_OK);
    assert_int_equal(values[d], 20);
    s[1] = 9;
    assert_int_equal(tni_dim_eval(m->exprs, 0, m->n_exprs, s, values, &err), TN_ERR_SHAPE);
    assert_non_null(strstr(err.message, "100//(s0 - s1)"));
}

static void test_data_symbols(void **state) {
    (void)state;
    TnDim x = S("u0");
    tni_ir_dim_data(m, mul(x, C(3)));
    TnDim d = tni_ir_dim_data(m, TN_DIM_NONE);
    assert_int_equal(m->n_symbols, 3);
    assert_string_equal(m->symbols[1].name, "u1");
    assert_string_equal(m->symbols[2].name, "u2");
    assert_int_equal(m->symbols[1].min, 0);
    assert_true(m->symbols[1].data_dependent);
    assert_true(mx(d, C(0)) == d && mx(d, C(1)) != d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_sums_and_products, setup, teardown),
        cmocka_unit_test_setup_teardown(test_division, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choices, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_eval, setup, teardown),
        cmocka_unit_test_setup_teardown(test_data_symbols, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
