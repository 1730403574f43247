/* SPDX-License-Identifier: Apache-2.0
 *
 * Model-local functions: inlining, attributes, names, sizes, recursion. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/build.h"

static Pb call(const char *fn, const char *name, const char *in, const char *out) {
    Pb n = node(fn, name, in, out);
    pb_str(&n, 7, "local");
    return n;
}

static Pb function(const char *name, const char *in, const char *out) {
    Pb f = {0};
    pb_str(&f, 1, name);
    pb_str(&f, 10, "local");
    pb_names(&f, 4, in);
    pb_names(&f, 5, out);
    pb_msg(&f, 9, opset("", 17));
    pb_msg(&f, 9, opset("local", 1));
    return f;
}

static void f_node(Pb *f, Pb n) {
    pb_msg(f, 7, n);
}

static Pb with_functions(Pb graph, uint32_t n, Pb *fns) {
    Pb m = model(17, graph);
    pb_msg(&m, 8, opset("local", 1));
    for (uint32_t i = 0; i < n; i++)
        pb_msg(&m, 25, fns[i]);
    return m;
}

static Pb graph_of(const char *fn) {
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "4"));
    g_node(&g, call(fn, "outer", "x", "y"));
    g_output(&g, "y");
    return g;
}

static void expect(Pb m, TnStatus want, const char *words) {
    IrModule *ir = NULL;
    TnError err = {0};
    TnStatus st = import_pb(m, &ir, &err);
    if (st != want || strstr(err.message, words) == NULL)
        fail_msg("status %d, message '%s'; expected %d and '%s'", st, err.message, want, words);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void calls_are_inlined(void **state) {
    (void)state;
    Pb inner = function("Inner", "a,b", "c,d");
    Pb n = node("LeakyRelu", "act", "a", "c");
    attr_ref(&n, "alpha", 1, "slope");
    f_node(&inner, n);
    f_node(&inner, node("Neg", "neg", "b", "d"));
    Pb slope = attr_head("slope", 1);
    pb_f32(&slope, 2, 0.25f);
    pb_msg(&inner, 11, slope);
    Pb outer = function("Outer", "x", "y");
    n = call("Inner", "i1", "x,x", "t,");
    attr_ref(&n, "slope", 1, "given");
    f_node(&outer, n);
    f_node(&outer, call("Inner", "i2", "t,t", "u,v"));
    f_node(&outer, node("Add", "sum", "u,v", "y"));
    pb_str(&outer, 6, "given");
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "4"));
    n = call("Outer", "o1", "x", "mid");
    attr_f(&n, "given", 0.5f);
    g_node(&g, n);
    g_node(&g, call("Outer", "o2", "mid", "y"));
    g_output(&g, "y");
    Pb fns[2] = {outer, inner}, m = with_functions(g, 2, fns);
    IrModule *ir = NULL;
    TnError err = {0};
    if (import_pb(m, &ir, &err) != TN_OK)
        fail_msg("%s", err.message);
    const IrGraph *ig = ir->graphs[0];
    assert_int_equal(ig->n_nodes, 10);
    const TnUnaryParams *p = find_node(ig, "o1/i1/act")->params;
    assert_true(p->fn == TN_UNARY_leaky_relu && p->alpha == 0.5f);
    p = find_node(ig, "o1/i2/act")->params;
    assert_true(p->alpha == 0.25f); /* the default */
    p = find_node(ig, "o2/i1/act")->params;
    assert_true(p->alpha == 0.25f); /* "given" is not given: the inner default */
    assert_non_null(find_value(ig, "mid"));
    assert_non_null(find_value(ig, "o1/t"));
    assert_string_equal(ig->values[ig->outputs[0]].name, "y");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void passthrough_and_absent_inputs(void **state) {
    (void)state;
    Pb f = function("F", "a,lo,hi", "y,same");
    f_node(&f, node("Clip", "clip", "a,lo,hi", "y"));
    pb_str(&f, 5, "a");
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "4"));
    Pb n = call("F", "outer", "x", "y,,z");
    g_node(&g, n);
    g_output(&g, "y");
    g_output(&g, "z");
    /* output "same" of the function is made by nobody */
    Pb fns[1] = {f};
    expect(with_functions(g, 1, fns), TN_ERR_GRAPH, "output 'same'");
    f = function("F", "a,lo,hi", "y,a");
    f_node(&f, node("Clip", "clip", "a,lo,hi", "y"));
    g = (Pb){0};
    g_input(&g, io("x", TN_F32, "4"));
    g_node(&g, call("F", "outer", "x", "y,z"));
    g_output(&g, "y");
    g_output(&g, "z");
    fns[0] = f;
    Pb m = with_functions(g, 1, fns);
    IrModule *ir = NULL;
    TnError err = {0};
    if (import_pb(m, &ir, &err) != TN_OK)
        fail_msg("%s", err.message);
    const IrGraph *ig = ir->graphs[0];
    assert_int_equal(find_node(ig, "outer/clip")->n_in, 1);
    assert_string_equal(ig->values[ig->outputs[1]].name, "z");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void recursion_is_refused(void **state) {
    (void)state;
    Pb f = function("F", "a", "b"), h = function("H", "a", "b");
    f_node(&f, call("H", "h", "a", "b"));
    f_node(&h, call("F", "f", "a", "b"));
    Pb fns[2] = {f, h};
    expect(with_functions(graph_of("F"), 2, fns), TN_ERR_GRAPH, "calls itself");
}

/* chain: F0 calls F1 calls F2 ...; times calls a level. */
static Pb chain(uint32_t length, uint32_t times) {
    Pb *fns = calloc(length, sizeof *fns);
    assert_non_null(fns);
    for (uint32_t i = 0; i < length; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "F%u", i);
        snprintf(next, sizeof next, "F%u", i + 1);
        fns[i] = function(name, "a", "b");
        if (i + 1 == length) {
            f_node(&fns[i], node("Abs", "abs", "a", "b"));
            continue;
        }
        for (uint32_t k = 0; k < times; k++)
            f_node(&fns[i], call(next, "", "a", k == 0 ? "b" : "c"));
    }
    Pb m = with_functions(graph_of("F0"), length, fns);
    free(fns);
    return m;
}

static void sizes_are_counted_first(void **state) {
    (void)state;
    expect(chain(3000, 1), TN_ERR_LIMIT, "nested deeper than 64");
    expect(chain(60, 2), TN_ERR_LIMIT, "nodes when its functions are expanded");
    expect(chain(30, 1), TN_OK, "");
    expect(chain(12, 2), TN_OK, "");
}

/* Functions make little text cost much: many inputs, long names; both are bounded. */
static void work_is_bounded(void **state) {
    (void)state;
    char name[8001], wide[40000] = "a";
    for (int i = 0; i < 3000; i++)
        snprintf(wide + strlen(wide), 16, ",p%d", i);
    Pb fns[3] = {function("F", wide, "b"), {0}, {0}};
    f_node(&fns[0], node("Abs", "abs", "a", "b"));
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "4"));
    for (int i = 0; i < 8000; i++) {
        snprintf(name, sizeof name, "y%d", i);
        g_node(&g, call("F", "", "x", name));
    }
    g_output(&g, "y1");
    expect(with_functions(g, 1, fns), TN_ERR_LIMIT, "operands and attributes when its functions are expanded");
    memset(name, 'n', 4000);
    name[4000] = '\0';
    fns[0] = function("F", "a", "b");
    f_node(&fns[0], call("G", name, "a", "b"));
    fns[1] = function("G", "a", "b");
    f_node(&fns[1], node("Abs", name, "a", name));
    f_node(&fns[1], node("Neg", "neg", name, "b"));
    g = (Pb){0};
    g_input(&g, io("x", TN_F32, "4"));
    g_node(&g, call("F", name, "x", "y"));
    g_output(&g, "y");
    Pb m = with_functions(g, 2, fns);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    assert_true(strlen(ir->graphs[0]->nodes[0].name) < 300);
    assert_true(strlen(ir->graphs[0]->values[ir->graphs[0]->nodes[0].out[0]].name) < 300);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void bad_calls(void **state) {
    (void)state;
    Pb fns[2] = {function("F", "a", "b"), function("F", "a", "b")};
    f_node(&fns[0], node("Abs", "abs", "a", "b"));
    f_node(&fns[1], node("Abs", "abs", "a", "b"));
    expect(with_functions(graph_of("F"), 2, fns), TN_ERR_GRAPH, "is there twice");
    fns[0] = function("F", "a", "b");
    f_node(&fns[0], node("Abs", "abs", "missing", "b"));
    expect(with_functions(graph_of("F"), 1, fns), TN_ERR_GRAPH, "'missing'");
    fns[0] = function("F", "", "b");
    f_node(&fns[0], node("Abs", "abs", "missing", "b"));
    expect(with_functions(graph_of("F"), 1, fns), TN_ERR_GRAPH, "is called with 1 operands");
    fns[0] = function("F", "a", "b");
    f_node(&fns[0], node("NoSuchOp", "here", "a", "b"));
    expect(with_functions(graph_of("F"), 1, fns), TN_ERR_UNSUPPORTED, "here (in F)");
    fns[0] = function("F", "a", "b");
    Pb n = node("LeakyRelu", "act", "a", "b");
    attr_ref(&n, "alpha", 1, "slope");
    f_node(&fns[0], n);
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "4"));
    n = call("F", "outer", "x", "y");
    attr_i(&n, "slope", 3);
    g_node(&g, n);
    g_output(&g, "y");
    expect(with_functions(g, 1, fns), TN_ERR_GRAPH, "attribute 'alpha' is FLOAT");
    g = (Pb){0};
    g_input(&g, io("x", TN_F32, "4"));
    n = node("LeakyRelu", "act", "x", "y");
    attr_ref(&n, "alpha", 1, "slope");
    g_node(&g, n);
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "the node is in none");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_inlined),    cmocka_unit_test(passthrough_and_absent_inputs),
        cmocka_unit_test(recursion_is_refused), cmocka_unit_test(sizes_are_counted_first),
        cmocka_unit_test(work_is_bounded),      cmocka_unit_test(bad_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
