/* SPDX-License-Identifier: Apache-2.0
 *
 * The main graph: inputs and symbols, names, order, versions, and graphs that are not well formed. */
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
    if (st != want || (want != TN_OK && strstr(err.message, words) == NULL))
        fail_msg("status %d, message '%s'; expected %d and '%s'", st, err.message, want, words == NULL ? "" : words);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static Pb graph_x(void) {
    Pb g = {0};
    pb_str(&g, 2, "g");
    g_input(&g, io("x", TN_F32, "batch,3,?"));
    return g;
}

static void inputs_get_symbols(void **state) {
    (void)state;
    Pb g = {0};
    g_input(&g, io("a", TN_F32, "?,3,x_1"));
    g_input(&g, io("x", TN_I64, "x_1,?"));
    g_node(&g, node("Identity", "", "a", "y"));
    g_node(&g, node("Identity", "", "x", "z"));
    g_output(&g, "y");
    g_output(&g, "z");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    const IrGraph *ig = ir->graphs[0];
    const IrValue *a = &ig->values[ig->inputs[0]], *x = &ig->values[ig->inputs[1]];
    assert_string_equal(a->name, "a");
    assert_true(a->dtype == TN_F32 && a->rank == 3 && x->dtype == TN_I64 && x->rank == 2);
    int64_t three = 0;
    assert_true(tni_ir_dim_is_const(ir, a->dims[1], &three) && three == 3);
    assert_true(a->dims[2] == x->dims[0]); /* one name, one symbol */
    assert_true(x->dims[1] != x->dims[0]); /* the made-up name x_1 is another symbol than the model's x_1 */
    assert_true(a->dims[0] != x->dims[1]);
    assert_string_equal(ig->nodes[0].name, "Identity_0");
    assert_string_equal(ig->values[ig->outputs[1]].name, "z");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void long_dimension_names(void **state) {
    (void)state;
    char a[128], b[128];
    snprintf(a, sizeof a, "%080d,w a", 1);
    snprintf(b, sizeof b, "%080d", 2);
    a[0] = b[0] = 'd';
    Pb g = {0};
    g_input(&g, io("x", TN_F32, a));
    g_input(&g, io("y", TN_F32, b));
    g_node(&g, node("Identity", "", "x", "z"));
    g_output(&g, "z");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    assert_int_equal(ir->n_symbols, 3);
    assert_string_not_equal(ir->symbols[0].name, ir->symbols[2].name);
    assert_string_equal(ir->symbols[1].name, "w_a");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void unsorted_nodes_are_sorted(void **state) {
    (void)state;
    Pb g = graph_x();
    g_node(&g, node("Relu", "third", "c", "y"));
    g_node(&g, node("Abs", "second", "b", "c"));
    g_node(&g, node("Neg", "first", "x", "b"));
    g_output(&g, "y");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    assert_string_equal(ir->graphs[0]->nodes[0].name, "first");
    assert_string_equal(ir->graphs[0]->nodes[2].name, "third");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void cycles_are_named(void **state) {
    (void)state;
    Pb g = graph_x();
    g_node(&g, node("Add", "p", "x,c", "b"));
    g_node(&g, node("Abs", "q", "b", "c"));
    g_output(&g, "c");
    expect(model(17, g), TN_ERR_GRAPH, "cycle of 2 nodes");
    g = graph_x();
    g_node(&g, node("Add", "self", "x,b", "b"));
    g_output(&g, "b");
    expect(model(17, g), TN_ERR_GRAPH, "'self' (Add, number 0)");
}

static void ill_formed_graphs(void **state) {
    (void)state;
    Pb g = graph_x();
    g_node(&g, node("Add", "n", "x,missing", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "'missing'");
    g = graph_x();
    g_node(&g, node("Abs", "n", "x", "y"));
    g_output(&g, "nobody");
    expect(model(17, g), TN_ERR_GRAPH, "output 'nobody'");
    g = graph_x();
    g_node(&g, node("Abs", "n1", "x", "y"));
    g_node(&g, node("Neg", "n2", "x", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "made twice");
    g = graph_x();
    g_node(&g, node("Abs", "n1", "x", "x"));
    g_output(&g, "x");
    expect(model(17, g), TN_ERR_GRAPH, "is an input or initializer and also");
    g = graph_x();
    g_input(&g, io("x", TN_F32, "1"));
    g_node(&g, node("Abs", "n1", "x", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "another input");
    g = graph_x();
    g_node(&g, node("Abs", "n1", "x", "y"));
    g_output(&g, "y");
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "two outputs");
    g = graph_x();
    g_node(&g, node("Abs", "n1", "x", "y"));
    expect(model(17, g), TN_ERR_GRAPH, "no outputs");
    g = graph_x();
    g_node(&g, node("Abs", "n1", "x,x", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "has 2 operands, the most is 1");
    g = graph_x();
    g_node(&g, node("Add", "n1", "x,", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "operand 1 is missing");
    g = graph_x();
    g_node(&g, node("", "n1", "x", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_GRAPH, "no op_type");
}

static void bad_inputs(void **state) {
    (void)state;
    static const struct {
        int32_t dtype;
        const char *shape;
        TnStatus status;
        const char *words;
    } bad[] = {{TN_F32, "-1", TN_ERR_GRAPH, "is -1"}, {TN_F32, NULL, TN_ERR_UNSUPPORTED, "has no shape"},
               {0, "1", TN_ERR_GRAPH, "no type"},     {TN_STRING, "1", TN_ERR_UNSUPPORTED, "string"},
               {77, "1", TN_ERR_UNSUPPORTED, "77"},   {TN_F32, "1,1,1,1,1,1,1,1,1", TN_ERR_LIMIT, "rank 9"}};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        Pb g = {0};
        g_input(&g, io("x", bad[i].dtype, bad[i].shape));
        g_node(&g, node("Identity", "n", "x", "y"));
        g_output(&g, "y");
        expect(model(17, g), bad[i].status, bad[i].words);
    }
    Pb g = {0}, v = {0}, type = {0};
    pb_msg(&type, 4, (Pb){0});
    pb_str(&v, 1, "s");
    pb_msg(&v, 2, type);
    g_input(&g, v);
    g_node(&g, node("Identity", "n", "s", "y"));
    g_output(&g, "y");
    expect(model(17, g), TN_ERR_UNSUPPORTED, "a sequence");
}

static void initializer_of_an_input_wins(void **state) {
    (void)state;
    const float v[1] = {2};
    Pb g = graph_x();
    g_input(&g, io("w", TN_F32, "1"));
    g_tensor(&g, tensor_f32("w", 1, v));
    g_tensor(&g, tensor_f32("unused", 1, v));
    g_node(&g, node("Mul", "n", "x,w", "y"));
    g_output(&g, "y");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    assert_int_equal(ir->graphs[0]->n_inputs, 1);
    assert_int_equal(find_value(ir->graphs[0], "w")->kind, IR_CONST);
    assert_null(find_value(ir->graphs[0], "unused"));
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void outputs_keep_their_names(void **state) {
    (void)state;
    const float v[1] = {2};
    Pb g = graph_x();
    g_tensor(&g, tensor_f32("w", 1, v));
    g_node(&g, node("Dropout", "d", "x", "y"));
    g_output(&g, "y");
    g_output(&g, "w");
    g_output(&g, "x");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_OK);
    const IrGraph *ig = ir->graphs[0];
    assert_int_equal(ig->n_outputs, 3);
    assert_string_equal(ig->values[ig->outputs[0]].name, "y");
    assert_string_equal(ig->values[ig->outputs[1]].name, "w");
    assert_string_equal(ig->values[ig->outputs[2]].name, "x");
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static Pb versioned(int64_t ir_version, int64_t version) {
    Pb g = graph_x(), m = {0};
    g_node(&g, node("Abs", "n", "x", "y"));
    g_output(&g, "y");
    pb_int(&m, 1, ir_version);
    if (version != INT64_MIN)
        pb_msg(&m, 8, opset("ai.onnx", version));
    pb_msg(&m, 7, g);
    return m;
}

static void versions(void **state) {
    (void)state;
    for (int64_t v = 6; v <= 28; v++)
        expect(versioned(8, v), TN_OK, NULL);
    for (int64_t v = 3; v <= 14; v++)
        expect(versioned(v, 17), TN_OK, NULL);
    expect(versioned(8, 29), TN_ERR_VERSION, "version 29 of the operator set ai.onnx; supported are 1 to");
    expect(versioned(8, 1000000000), TN_ERR_VERSION, "version 1000000000");
    expect(versioned(8, INT64_MAX), TN_ERR_VERSION, "9223372036854775807");
    expect(versioned(8, 0), TN_ERR_VERSION, "version 0");
    expect(versioned(8, INT64_MIN), TN_ERR_VERSION, "imports no operator set");
    expect(versioned(2, 17), TN_ERR_VERSION, "IR version 2; supported are 3 to 14");
    expect(versioned(99, 17), TN_ERR_VERSION, "IR version 99");
    Pb m = versioned(8, 17);
    pb_msg(&m, 8, opset("", 13));
    expect(m, TN_ERR_VERSION, "version 17 and as version 13");
}

static void unsupported_operators_are_listed(void **state) {
    (void)state;
    Pb g = graph_x();
    g_node(&g, node("Abs", "fine", "x", "a"));
    g_node(&g, node("Gelu", "new", "a", "b"));
    for (int i = 0; i < 30; i++) {
        char name[16], in[16], out[16];
        snprintf(name, sizeof name, "vec%d", i);
        snprintf(in, sizeof in, i == 0 ? "b" : "c%d", i);
        snprintf(out, sizeof out, "c%d", i + 1);
        g_node(&g, node("StringNormalizer", name, in, out));
    }
    Pb n = node("Magic", "", "c30", "y");
    pb_str(&n, 7, "com.example");
    g_node(&g, n);
    g_output(&g, "y");
    Pb m = model(17, g);
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(import_pb(m, &ir, &err), TN_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "3 operators of this model are not supported"));
    assert_non_null(strstr(err.message, "Gelu (ai.onnx, opset 17; supported are opsets 20 to"));
    assert_non_null(strstr(err.message, "StringNormalizer (ai.onnx, opset 17): 30 nodes: vec0"));
    assert_non_null(strstr(err.message, "Magic (com.example, opset 0): 1 node: Magic_32"));
    free(m.p);
}

static void unknown_fields_are_ignored(void **state) {
    (void)state;
    Pb m = versioned(8, 17);
    pb_int(&m, 999, 5);
    pb_str(&m, 1000, "later");
    expect(m, TN_OK, NULL);
    m = versioned(8, 17);
    pb_msg(&m, 7, (Pb){0});
    expect(m, TN_ERR_PARSE, "ModelProto.graph is there 2 times");
    expect((Pb){0}, TN_ERR_PARSE, "empty");
    Pb none = {0};
    pb_int(&none, 1, 8);
    expect(none, TN_ERR_PARSE, "no ModelProto.graph");
}

static void names_are_checked(void **state) {
    (void)state;
    Pb g = graph_x(), n = {0};
    pb_bytes(&n, 1, "x\0y", 3);
    pb_str(&n, 4, "Abs");
    g_node(&g, n);
    expect(model(17, g), TN_ERR_PARSE, "NUL");
    char *big = malloc(70001);
    assert_non_null(big);
    memset(big, 'a', 70000);
    big[70000] = '\0';
    g = graph_x();
    g_node(&g, node("Abs", big, "x", "y"));
    expect(model(17, g), TN_ERR_LIMIT, "70000 bytes");
    free(big);
}

static void node_limit(void **state) {
    (void)state;
    Pb many = {0};
    for (int i = 0; i < 1025; i++) {
        char in[16];
        snprintf(in, sizeof in, "x%d", i);
        g_input(&many, io(in, TN_F32, "?"));
    }
    g_node(&many, node("Abs", "", "x0", "y"));
    g_output(&many, "y");
    expect(model(17, many), TN_ERR_LIMIT, "1025 inputs");
    Pb g = graph_x();
    for (int i = 0; i < 11; i++) {
        char out[16];
        snprintf(out, sizeof out, "y%d", i);
        g_node(&g, node("Abs", "", "x", out));
    }
    g_output(&g, "y3");
    Pb m = model(17, g);
    OnnxOptions o = {.max_nodes = 10};
    IrModule *ir = NULL;
    TnError err = {0};
    assert_int_equal(tni_onnx_import_memory(m.p, m.n, NULL, &o, NULL, &ir, NULL, &err), TN_ERR_LIMIT);
    o.max_nodes = 11;
    assert_int_equal(tni_onnx_import_memory(m.p, m.n, NULL, &o, NULL, &ir, NULL, &err), TN_OK);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inputs_get_symbols),
        cmocka_unit_test(long_dimension_names),
        cmocka_unit_test(unsorted_nodes_are_sorted),
        cmocka_unit_test(cycles_are_named),
        cmocka_unit_test(ill_formed_graphs),
        cmocka_unit_test(bad_inputs),
        cmocka_unit_test(initializer_of_an_input_wins),
        cmocka_unit_test(outputs_keep_their_names),
        cmocka_unit_test(versions),
        cmocka_unit_test(unsupported_operators_are_listed),
        cmocka_unit_test(unknown_fields_are_ignored),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(node_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
