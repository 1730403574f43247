/* SPDX-License-Identifier: Apache-2.0
 *
 * Building, changing, verifying and printing graphs; every allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "ir/graph.h"

static TnError err;

static const TnUnaryParams relu = {.fn = TN_UNARY_relu};
static const TnBinaryParams plus = {.fn = TN_BINARY_add};

static TnStatus unary(IrModule *m, IrGraph *g, IrValueId x, const char *name, IrValueId *y) {
    return tni_ir_node_add(m, g, TN_OP_unary, name, &relu, &x, 1, &name, 1, y, &err);
}

/* x -> a -> b, c = a + const, out: b, c */
static TnStatus build(const TnAllocator *alloc, IrModule **out) {
    IrModule *m = NULL;
    IrGraphId id;
    IrValueId x, k, a, b, c;
    int64_t dims[1] = {2};
    float data[2] = {1, 2};
    TnStatus st = tni_ir_module_create(alloc, &m, &err);
    if (st != TN_OK)
        return st;
    TN_TRY_GOTO(tni_ir_graph_add(m, "main", &id, &err));
    IrGraph *g = m->graphs[id];
    TN_TRY_GOTO(tni_ir_input_add(m, g, "x", &x, &err));
    g->values[x].dtype = TN_F32;
    g->values[x].rank = 2;
    g->values[x].dims[0] = tni_ir_dim_op(m, TN_DIM_ADD, tni_ir_dim_symbol(m, "batch"), tni_ir_dim_const(m, 1));
    g->values[x].dims[1] = tni_ir_dim_const(m, 2);
    TN_TRY_GOTO(tni_ir_dims_check(m, &err));
    TN_TRY_GOTO(tni_ir_const_copy(m, g, "k", TN_F32, 1, dims, data, &k, &err));
    TN_TRY_GOTO(unary(m, g, x, "a", &a));
    TN_TRY_GOTO(unary(m, g, a, "b", &b));
    IrValueId in[2] = {a, k};
    const char *names[1] = {"c"};
    TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "sum", &plus, in, 2, names, 1, &c, &err));
    TN_TRY_GOTO(tni_ir_output_add(m, g, b, &err));
    TN_TRY_GOTO(tni_ir_output_add(m, g, c, &err));
    TN_TRY_GOTO(tni_ir_meta_set(m, "note", "text", 4, &err));
    TN_TRY_GOTO(tni_ir_verify(m, &err));
    TN_TRY_GOTO(tni_ir_compact(m, g, &err));
    *out = m;
    return TN_OK;
fail:
    tni_ir_module_destroy(&m);
    return st;
}

typedef struct Text {
    char buf[8192];
    size_t n;
} Text;

static void collect(void *ctx, const char *text, size_t n) {
    Text *t = ctx;
    assert_true(t->n + n < sizeof t->buf);
    memcpy(t->buf + t->n, text, n);
    t->n += n;
    t->buf[t->n] = '\0';
}

static void test_build_and_print(void **state) {
    (void)state;
    IrModule *m = NULL;
    Text t = {.n = 0};
    size_t n;
    assert_int_equal(build(NULL, &m), TN_OK);
    tni_ir_print(m, collect, &t);
    assert_string_equal(t.buf, "symbol batch: 1..\n"
                               "graph main {\n"
                               "  input %x: float32[batch + 1, 2]\n"
                               "  const %k: float32[2] = {1, 2}\n"
                               "  %a: ? = unary(%x) {fn=relu} \"a\"\n"
                               "  %b: ? = unary(%a) {fn=relu} \"b\"\n"
                               "  %c: ? = binary(%a, %k) {fn=add} \"sum\"\n"
                               "  output %b\n"
                               "  output %c\n"
                               "}\n");
    assert_string_equal(tni_ir_meta_get(m, "note", &n), "text");
    assert_int_equal(n, 4);
    assert_int_equal(tni_ir_meta_set(m, "note", "other", 5, &err), TN_OK);
    assert_string_equal(tni_ir_meta_get(m, "note", NULL), "other");
    assert_null(tni_ir_meta_get(m, "absent", NULL));
    TnTensor k;
    assert_true(tni_ir_tensor(m, m->graphs[0], 1, &k));
    assert_int_equal(k.dims[0], 2);
    assert_false(tni_ir_tensor(m, m->graphs[0], 0, &k));
    tni_ir_module_destroy(&m);
    assert_null(m);
    tni_ir_module_destroy(&m);
}

static void test_users(void **state) {
    (void)state;
    IrModule *m = NULL;
    IrUsers u;
    assert_int_equal(build(NULL, &m), TN_OK);
    IrGraph *g = m->graphs[0];
    assert_int_equal(tni_ir_users(g, m->arena, &u, &err), TN_OK);
    assert_int_equal(tni_ir_use_count(&u, 0), 1);
    assert_int_equal(tni_ir_use_count(&u, 2), 2); /* a */
    assert_int_equal(u.users[u.first[2]], 1);
    assert_int_equal(u.users[u.first[2] + 1], 2);
    assert_int_equal(tni_ir_use_count(&u, 3), 1); /* b, an output */
    assert_true(u.is_output[3] && !u.is_output[2]);
    tni_ir_module_destroy(&m);
}

static void test_replace_and_compact(void **state) {
    (void)state;
    IrModule *m = NULL;
    IrValueId n, o;
    assert_int_equal(build(NULL, &m), TN_OK);
    IrGraph *g = m->graphs[0];
    /* b (an output) is replaced by a fresh node on x, appended at the end: the name moves with the output */
    assert_int_equal(tni_ir_node_add(m, g, TN_OP_unary, "fused", &relu, &g->inputs[0], 1, NULL, 1, &n, &err), TN_OK);
    assert_true(g->values[n].name[0] == '@');
    tni_ir_replace_uses(g, 3, n);
    g->nodes[1].dead = true;
    assert_string_equal(g->values[n].name, "b");
    assert_int_equal(g->outputs[0], n);
    /* a is replaced by it too: c now needs a node that stands after it */
    tni_ir_replace_uses(g, 2, n);
    g->nodes[0].dead = true;
    assert_int_equal(tni_ir_verify(m, &err), TN_ERR_GRAPH);
    assert_non_null(strstr(err.message, "read before it is made"));
    assert_int_equal(tni_ir_compact(m, g, &err), TN_OK);
    assert_int_equal(tni_ir_verify(m, &err), TN_OK);
    assert_int_equal(g->n_nodes, 2);
    assert_int_equal(g->n_values, 4); /* x, k, c, the new b */
    assert_string_equal(g->nodes[0].name, "fused");
    assert_string_equal(g->values[g->outputs[0]].name, "b");
    assert_string_equal(g->values[g->outputs[1]].name, "c");
    /* an output cannot become an input's name: it stays, and compact revives its producer */
    o = g->outputs[0];
    tni_ir_replace_uses(g, o, g->inputs[0]);
    g->nodes[0].dead = true;
    assert_int_equal(g->outputs[0], o);
    assert_int_equal(tni_ir_compact(m, g, &err), TN_OK);
    assert_int_equal(tni_ir_verify(m, &err), TN_OK);
    assert_int_equal(g->n_nodes, 2);
    assert_string_equal(g->values[g->outputs[0]].name, "b");
    tni_ir_module_destroy(&m);
}

static void test_cycle(void **state) {
    (void)state;
    IrModule *m = NULL;
    assert_int_equal(build(NULL, &m), TN_OK);
    IrGraph *g = m->graphs[0];
    g->nodes[0].in[0] = 3; /* a reads b */
    assert_int_equal(tni_ir_compact(m, g, &err), TN_ERR_GRAPH);
    assert_non_null(strstr(err.message, "cycle"));
    assert_int_equal(tni_ir_verify(m, &err), TN_ERR_GRAPH);
    tni_ir_module_destroy(&m);
}

static void expect_bad(IrModule *m, const char *part) {
    memset(&err, 0, sizeof err);
    assert_int_equal(tni_ir_verify(m, &err), TN_ERR_GRAPH);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, err.message);
}

static void test_verify(void **state) {
    (void)state;
    IrModule *m = NULL;
    assert_int_equal(build(NULL, &m), TN_OK);
    IrGraph *g = m->graphs[0];
#define BREAK(place, value, part)                                                                                                          \
    do {                                                                                                                                   \
        __typeof__(place) keep = (place);                                                                                                  \
        (place) = (value);                                                                                                                 \
        expect_bad(m, part);                                                                                                               \
        (place) = keep;                                                                                                                    \
        assert_int_equal(tni_ir_verify(m, &err), TN_OK);                                                                                   \
    } while (0)
    BREAK(g->nodes[0].in[0], 77, "value 77 of");
    BREAK(g->nodes[0].in[0], TN_NO_VALUE, "is required");
    BREAK(g->nodes[0].n_in, 2, "inputs, expected");
    BREAK(g->nodes[0].n_out, 0, "outputs, expected");
    BREAK(g->nodes[0].out[0], 0, "is made by another node");
    BREAK(g->nodes[1].out[0], 2, "is made by another node");
    BREAK(g->nodes[0].params, NULL, "no parameters");
    BREAK(g->nodes[0].op, (TnOp)999, "no valid operator");
    BREAK(g->nodes[0].dead, true, "made by nobody");
    BREAK(g->outputs[0], 99, "is no value");
    BREAK(g->inputs[0], 1, "is no input value");
    BREAK(g->values[1].data, NULL, "no data");
    BREAK(g->values[1].dtype, TN_UNDEFINED, "needs a type");
    BREAK(g->values[1].rank, 9, "has rank 9");
    BREAK(g->values[0].dims[0], 12345, "is no expression");
    BREAK(g->values[0].name, NULL, "has no name");
    BREAK(g->values[0].kind, (IrValueKind)7, "");
    BREAK(m->exprs[2].a, 2, "refers to what is not before it");
    tni_ir_module_destroy(&m);
}

static void test_verify_control(void **state) {
    (void)state;
    IrModule *m = NULL;
    IrGraphId sub;
    IrValueId cond, y;
    assert_int_equal(build(NULL, &m), TN_OK);
    assert_int_equal(tni_ir_graph_add(m, "sub", &sub, &err), TN_OK);
    IrGraph *s = m->graphs[sub], *g = m->graphs[0];
    assert_int_equal(tni_ir_input_add(m, s, "captured", &y, &err), TN_OK);
    assert_int_equal(tni_ir_output_add(m, s, y, &err), TN_OK);
    bool yes = true;
    assert_int_equal(tni_ir_const_copy(m, g, "cond", TN_BOOL, 0, NULL, &yes, &cond, &err), TN_OK);
    IrValueId in[2] = {cond, g->inputs[0]};
    TnControlParams p = {.graph = {sub, sub}};
    assert_int_equal(tni_ir_node_add(m, g, TN_OP_if_, "if", &p, in, 2, NULL, 1, &y, &err), TN_OK);
    assert_int_equal(tni_ir_verify(m, &err), TN_OK);
    TnControlParams *q = g->nodes[g->n_nodes - 1].params;
    q->graph[1] = 9;
    expect_bad(m, "does not exist");
    q->graph[1] = 0;
    expect_bad(m, "inputs and");
    q->graph[1] = sub;
    g->nodes[g->n_nodes - 1].n_in = 1;
    expect_bad(m, "expected 0");
    tni_ir_module_destroy(&m);
}

/* ---- every allocation fails in turn ---- */
typedef struct Failing {
    size_t left, live;
} Failing;

static void *fail_alloc(void *ctx, size_t bytes, size_t align) {
    Failing *f = ctx;
    if (f->left-- == 0) {
        f->left = 0;
        return NULL;
    }
    f->live++;
    return tni_default_allocator()->alloc(tni_default_allocator()->ctx, bytes, align);
}

static void fail_free(void *ctx, void *p) {
    Failing *f = ctx;
    if (p != NULL)
        f->live--;
    tni_default_allocator()->free(tni_default_allocator()->ctx, p);
}

static void test_out_of_memory(void **state) {
    (void)state;
    for (size_t n = 0; n < 500; n++) {
        Failing f = {.left = n};
        TnAllocator a = {.ctx = &f, .alloc = fail_alloc, .free = fail_free};
        IrModule *m = NULL;
        memset(&err, 0, sizeof err);
        TnStatus st = build(&a, &m);
        if (st == TN_OK) {
            assert_true(n > 3);
            tni_ir_module_destroy(&m);
            assert_int_equal(f.live, 0);
            return;
        }
        assert_int_equal(st, TN_ERR_MEMORY);
        assert_int_equal(err.code, TN_ERR_MEMORY);
        assert_int_equal(f.live, 0);
    }
    fail();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_build_and_print), cmocka_unit_test(test_users),  cmocka_unit_test(test_replace_and_compact),
        cmocka_unit_test(test_cycle),           cmocka_unit_test(test_verify), cmocka_unit_test(test_verify_control),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
