/* SPDX-License-Identifier: Apache-2.0
 *
 * If and Loop: bodies become graphs, what they read from outside is passed in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/build.h"

static void expect(Pb m, TnStatus want, const char *words) {
    IrModule *ir = NULL;
    TnError err = {0};
    TnStatus st = import_pb(m, &ir, &err);
    if (st != want || strstr(err.message, words) == NULL)
        fail_msg("status %d, message '%s'; expected %d and '%s'", st, err.message, want, words);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static IrModule *expect_ok(Pb m) {
    IrModule *ir = NULL;
    TnError err = {0};
    if (import_pb(m, &ir, &err) != TN_OK)
        fail_msg("%s", err.message);
    return ir;
}

static Pb if_graph(Pb then_branch, Pb else_branch) {
    const float two[1] = {2};
    Pb g = {0}, n = node("If", "choice", "c", "y");
    g_input(&g, io("c", TN_BOOL, ""));
    g_input(&g, io("x", TN_F32, "N"));
    g_input(&g, io("z", TN_F32, "N"));
    g_tensor(&g, tensor_f32("two", 1, two));
    g_node(&g, node("Abs", "abs", "x", "ax"));
    attr_g(&n, "then_branch", then_branch);
    attr_g(&n, "else_branch", else_branch);
    g_node(&g, n);
    g_output(&g, "y");
    return g;
}

static void if_captures(void **state) {
    (void)state;
    Pb a = {0}, b = {0};
    g_node(&a, node("Mul", "m", "ax,two", "r"));
    g_output(&a, "r");
    g_node(&b, node("Add", "s", "z,ax", "r"));
    g_output(&b, "r");
    Pb m = model(17, if_graph(a, b));
    IrModule *ir = expect_ok(m);
    assert_int_equal(ir->n_graphs, 3);
    const IrGraph *g = ir->graphs[0];
    const IrNode *n = find_node(g, "choice");
    const TnControlParams *p = n->params;
    assert_int_equal(n->op, TN_OP_if_);
    assert_int_equal(n->n_in, 3);
    assert_string_equal(g->values[n->in[1]].name, "ax");
    assert_string_equal(g->values[n->in[2]].name, "z");
    const IrGraph *t = ir->graphs[p->graph[0]], *e = ir->graphs[p->graph[1]];
    assert_true(t->n_inputs == 2 && e->n_inputs == 2);
    assert_string_equal(t->name, "choice/then_branch");
    assert_int_equal(find_value(t, "two")->kind, IR_CONST); /* constants are shared, not passed */
    assert_string_equal(e->values[e->nodes[0].in[0]].name, "z");
    assert_string_equal(e->values[e->outputs[0]].name, "r");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void if_returns_outer_values(void **state) {
    (void)state;
    Pb a = {0}, b = {0};
    g_output(&a, "two");
    g_output(&b, "z");
    Pb m = model(17, if_graph(a, b));
    IrModule *ir = expect_ok(m);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void branches_may_shadow(void **state) {
    (void)state;
    Pb a = {0}, b = {0};
    g_node(&a, node("Neg", "n", "x", "z2"));
    g_node(&a, node("Neg", "n", "z2", "z"));
    g_output(&a, "z");
    g_node(&b, node("Identity", "n", "z", "q"));
    g_output(&b, "q");
    Pb m = model(17, if_graph(a, b));
    IrModule *ir = expect_ok(m);
    const TnControlParams *p = find_node(ir->graphs[0], "choice")->params;
    const IrGraph *t = ir->graphs[p->graph[0]];
    assert_int_equal(t->n_inputs, 2);
    assert_int_equal(t->values[t->outputs[0]].kind, IR_NODE_OUTPUT);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static Pb nested(uint32_t depth) {
    Pb g = {0};
    if (depth == 0) {
        g_node(&g, node("Add", "leaf", "ax,z", "r"));
    } else {
        Pb n = node("If", "inner", "c", "r"), other = {0};
        g_node(&other, node("Neg", "neg", "ax", "r"));
        g_output(&other, "r");
        attr_g(&n, "then_branch", nested(depth - 1));
        attr_g(&n, "else_branch", other);
        g_node(&g, n);
    }
    g_output(&g, "r");
    return g;
}

static void nesting(void **state) {
    (void)state;
    Pb b = {0};
    g_node(&b, node("Identity", "n", "x", "q"));
    g_output(&b, "q");
    Pb m = model(17, if_graph(nested(10), b));
    IrModule *ir = expect_ok(m);
    assert_int_equal(ir->n_graphs, 1 + 2 + 20);
    tni_ir_module_destroy(&ir);
    free(m.p);
    Pb c = {0};
    g_node(&c, node("Identity", "n", "x", "q"));
    g_output(&c, "q");
    expect(model(17, if_graph(nested(65), c)), TN_ERR_LIMIT, "nested deeper than 64");
}

static Pb loop_model(Pb body, const char *in, const char *out) {
    const int64_t ten[1] = {10};
    Pb g = {0}, n = node("Loop", "loop", in, out);
    g_input(&g, io("x", TN_F32, "N"));
    g_input(&g, io("z", TN_F32, "N"));
    g_tensor(&g, tensor_i64("trips", 1, ten));
    attr_g(&n, "body", body);
    g_node(&g, n);
    g_output(&g, "last");
    return model(17, g);
}

static Pb loop_body(void) {
    Pb b = {0};
    g_input(&b, io("i", TN_I64, ""));
    g_input(&b, io("go", TN_BOOL, ""));
    g_input(&b, io("acc", TN_F32, "N"));
    g_node(&b, node("Identity", "keep", "go", "go_on"));
    g_node(&b, node("Add", "add", "acc,z", "next"));
    g_node(&b, node("Abs", "abs", "next", "scan"));
    g_output(&b, "go_on");
    g_output(&b, "next");
    g_output(&b, "scan");
    return b;
}

static void loop_with_captures(void **state) {
    (void)state;
    Pb m = loop_model(loop_body(), "trips,,x", "last,all");
    IrModule *ir = expect_ok(m);
    const IrNode *n = find_node(ir->graphs[0], "loop");
    const TnControlParams *p = n->params;
    assert_true(p->n_carried == 1 && p->n_scan == 1);
    assert_int_equal(n->n_in, 4);
    assert_int_equal(n->in[1], TN_NO_VALUE);
    assert_int_equal(n->out[1], TN_NO_VALUE); /* nobody reads "all" */
    const IrGraph *b = ir->graphs[p->graph[0]];
    assert_true(b->n_inputs == 4 && b->n_outputs == 3);
    assert_string_equal(b->values[b->inputs[0]].name, "i");
    assert_string_equal(b->values[b->inputs[3]].name, "z");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void bad_bodies(void **state) {
    (void)state;
    expect(loop_model(loop_body(), "trips,", "last,all"), TN_ERR_GRAPH, "the body has 3 inputs");
    expect(loop_model(loop_body(), "trips,,x", "last"), TN_ERR_GRAPH, "the body has 3 inputs and 3 outputs");
    expect(loop_model(loop_body(), "trips,,", "last,all"), TN_ERR_GRAPH, "carried value 0 is missing");
    Pb b = loop_body();
    const float one[1] = {1};
    g_tensor(&b, tensor_f32("acc", 1, one));
    expect(loop_model(b, "trips,,x", "last,all"), TN_ERR_GRAPH, "is an input or initializer and also");
    b = loop_body();
    g_node(&b, node("Abs", "bad", "nowhere", "q"));
    expect(loop_model(b, "trips,,x", "last,all"), TN_ERR_GRAPH, "reads in its subgraph 'nowhere'");
    Pb a = {0}, c = {0};
    g_node(&a, node("Neg", "n", "x", "r"));
    g_output(&a, "r");
    g_output(&c, "x");
    g_output(&c, "z");
    expect(model(17, if_graph(a, c)), TN_ERR_GRAPH, "else_branch has 0 inputs and 2 outputs");
    Pb g = {0};
    g_input(&g, io("c", TN_BOOL, ""));
    g_node(&g, node("If", "n", "c", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "'then_branch' is required");
    /* a subgraph that reads what its own node makes */
    Pb d = {0}, e = {0};
    g_node(&d, node("Neg", "n", "y", "r"));
    g_output(&d, "r");
    g_node(&e, node("Neg", "n", "x", "r"));
    g_output(&e, "r");
    expect(model(17, if_graph(d, e)), TN_ERR_GRAPH, "cycle");
}

static void unsupported_in_a_body(void **state) {
    (void)state;
    Pb b = loop_body();
    g_node(&b, node("NoSuchOp", "deep", "acc", "q"));
    pb_str(&b, 2, "body");
    expect(loop_model(b, "trips,,x", "last,all"), TN_ERR_UNSUPPORTED, "deep (in body)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(if_captures),           cmocka_unit_test(if_returns_outer_values),
        cmocka_unit_test(branches_may_shadow),   cmocka_unit_test(nesting),
        cmocka_unit_test(loop_with_captures),    cmocka_unit_test(bad_bodies),
        cmocka_unit_test(unsupported_in_a_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
