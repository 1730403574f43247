/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters: old versions become the newest semantics, attributes are checked, the operator table is in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/build.h"

/* A graph with inputs x [2,3,4], i (int64 [2]), b (bool [2]) and one node `n` whose first output is "y". */
static Pb one_node(int64_t version, Pb n) {
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "2,3,4"));
    g_input(&g, io("i", TN_I64, "2"));
    g_input(&g, io("b", TN_BOOL, "2"));
    g_input(&g, io("h", TN_F16, "2,3,4"));
    g_node(&g, n);
    g_output(&g, "y");
    return model(version, g);
}

static IrModule *convert(Pb m) {
    IrModule *ir = NULL;
    TnError err = {0};
    if (import_pb(m, &ir, &err) != TN_OK)
        fail_msg("%s", err.message);
    return ir;
}

static void refuse(Pb m, TnStatus want, const char *words) {
    IrModule *ir = NULL;
    TnError err = {0};
    TnStatus st = import_pb(m, &ir, &err);
    if (st != want || strstr(err.message, words) == NULL)
        fail_msg("status %d, message '%s'; expected %d and '%s'", st, err.message, want, words);
    tni_ir_module_destroy(&ir);
    free(m.p);
}

/* The only node of a converted model; *m and the bytes are freed by done(). */
static const IrNode *only_node(IrModule *ir, TnOp op) {
    const IrGraph *g = ir->graphs[0];
    assert_int_equal(g->n_nodes, 1);
    assert_int_equal(g->nodes[0].op, op);
    return &g->nodes[0];
}

static void done(IrModule *ir, Pb m) {
    tni_ir_module_destroy(&ir);
    free(m.p);
}

static void table_is_sorted(void **state) {
    (void)state;
    uint32_t n = 0;
    const OnnxOpRow *rows = tni_onnx_op_rows(&n);
    assert_true(n > 150);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(rows[i].min_opset >= 1 && rows[i].min_opset <= rows[i].max_opset);
        assert_true(rows[i].ir_ops[0] != '\0');
        if (i == 0)
            continue;
        int order = strcmp(rows[i - 1].op_type, rows[i].op_type);
        int domain = strcmp(rows[i - 1].domain, rows[i].domain);
        assert_true(order < 0 || (order == 0 && (domain < 0 || (domain == 0 && rows[i - 1].max_opset < rows[i].min_opset))));
    }
}

static void softmax_before_13(void **state) {
    (void)state;
    /* the last axis: plain */
    Pb n = node("Softmax", "s", "x", "y");
    attr_i(&n, "axis", 2);
    Pb m = one_node(11, n);
    IrModule *ir = convert(m);
    const TnSoftmaxParams *p = only_node(ir, TN_OP_softmax)->params;
    assert_true(p->axis == -1 && p->log == 0 && p->scale == 1);
    done(ir, m);
    /* the default axis 1 of rank 3: over the last two as one */
    m = one_node(11, node("LogSoftmax", "s", "x", "y"));
    ir = convert(m);
    const IrGraph *g = ir->graphs[0];
    assert_int_equal(g->n_nodes, 4);
    const TnReshapeParams *flat = find_node(g, "s/flat")->params;
    assert_true(flat->kind == TN_RESHAPE_FLATTEN && flat->axis == 1);
    p = find_node(g, "s/softmax")->params;
    assert_true(p->log == 1 && p->axis == -1);
    assert_int_equal(find_node(g, "s")->op, TN_OP_reshape);
    done(ir, m);
    m = one_node(13, node("Softmax", "s", "x", "y"));
    ir = convert(m);
    p = only_node(ir, TN_OP_softmax)->params;
    assert_int_equal(p->axis, -1);
    done(ir, m);
    n = node("Softmax", "s", "x", "y");
    attr_i(&n, "axis", 5);
    refuse(one_node(11, n), TN_ERR_GRAPH, "axis 5 is out of range");
}

static void clip_versions(void **state) {
    (void)state;
    Pb n = node("Clip", "c", "h", "y");
    attr_f(&n, "max", 6);
    Pb m = one_node(10, n);
    IrModule *ir = convert(m);
    const IrNode *c = only_node(ir, TN_OP_clip);
    assert_true(c->n_in == 3 && c->in[1] == TN_NO_VALUE);
    const IrValue *max = &ir->graphs[0]->values[c->in[2]];
    assert_true(max->dtype == TN_F16 && max->rank == 0 && *(const uint16_t *)max->data == 0x4600);
    done(ir, m);
    m = one_node(11, node("Clip", "c", "x,,x", "y"));
    ir = convert(m);
    assert_int_equal(only_node(ir, TN_OP_clip)->n_in, 3);
    done(ir, m);
}

static void reduce_axes(void **state) {
    (void)state;
    static const int64_t axes[2] = {-1, 0}, twice[2] = {2, -1};
    Pb n = node("ReduceMean", "r", "x", "y");
    attr_ints(&n, "axes", 2, axes);
    attr_i(&n, "keepdims", 0);
    Pb m = one_node(13, n);
    IrModule *ir = convert(m);
    const TnReduceParams *p = only_node(ir, TN_OP_reduce)->params;
    assert_true(p->fn == TN_REDUCE_mean && !p->keepdims && p->n_axes == 2 && p->axes[0] == 0 && p->axes[1] == 2);
    done(ir, m);
    m = one_node(18, node("ReduceMax", "r", "x", "y"));
    ir = convert(m);
    p = only_node(ir, TN_OP_reduce)->params;
    assert_true(p->keepdims && p->n_axes == 3);
    done(ir, m);
    n = node("ReduceMax", "r", "x", "y");
    attr_i(&n, "noop_with_empty_axes", 1);
    m = one_node(18, n);
    ir = convert(m);
    p = only_node(ir, TN_OP_reduce)->params;
    assert_int_equal(p->n_axes, 0);
    done(ir, m);
    n = node("ReduceMean", "r", "x", "y");
    attr_ints(&n, "axes", 2, twice);
    refuse(one_node(13, n), TN_ERR_GRAPH, "axis 2 is given twice");
    m = one_node(18, node("ReduceSum", "r", "x,i", "y"));
    ir = convert(m);
    assert_int_equal(only_node(ir, TN_OP_reduce_axes)->n_in, 2);
    done(ir, m);
}

static void reduce_of_unknown_rank(void **state) {
    (void)state;
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "2,3"));
    g_input(&g, io("s", TN_I64, "N"));
    g_node(&g, node("Reshape", "rs", "x,s", "t"));
    g_node(&g, node("ReduceSum", "r", "t", "y"));
    g_output(&g, "y");
    Pb m = model(17, g);
    IrModule *ir = convert(m);
    const IrNode *n = find_node(ir->graphs[0], "r/total");
    assert_non_null(n);
    const TnReduceParams *p = n->params;
    assert_true(p->n_axes == 1 && p->axes[0] == 0 && !p->keepdims);
    assert_int_equal(find_node(ir->graphs[0], "r")->op, TN_OP_reshape);
    done(ir, m);
}

static void squeeze_and_axes(void **state) {
    (void)state;
    static const int64_t axes[2] = {-1, 0};
    Pb n = node("Unsqueeze", "u", "x", "y");
    attr_ints(&n, "axes", 2, axes);
    Pb m = one_node(11, n);
    IrModule *ir = convert(m);
    const TnReshapeParams *p = only_node(ir, TN_OP_reshape)->params;
    assert_true(p->kind == TN_RESHAPE_UNSQUEEZE && p->n_axes == 2 && p->axes[0] == 0 && p->axes[1] == 4);
    done(ir, m);
    m = one_node(13, node("Unsqueeze", "u", "x,i", "y"));
    ir = convert(m);
    assert_int_equal(find_node(ir->graphs[0], "u")->op, TN_OP_reshape);
    done(ir, m);
    refuse(one_node(11, node("Unsqueeze", "u", "x", "y")), TN_ERR_GRAPH, "axes are required");
    m = one_node(13, node("Squeeze", "u", "x", "y"));
    ir = convert(m);
    p = only_node(ir, TN_OP_reshape)->params;
    assert_true(p->kind == TN_RESHAPE_SQUEEZE && p->n_axes == 0);
    done(ir, m);
}

static void old_attributes_become_operands(void **state) {
    (void)state;
    static const int64_t starts[1] = {1}, ends[1] = {2}, pads[6] = {0, 0, 1, 0, 0, 2}, sizes[2] = {1, 2};
    static const float scales[3] = {1, 1, 2};
    Pb n = node("Slice", "s", "x", "y");
    attr_ints(&n, "starts", 1, starts);
    attr_ints(&n, "ends", 1, ends);
    Pb m = one_node(9, n);
    IrModule *ir = convert(m);
    assert_int_equal(only_node(ir, TN_OP_slice)->n_in, 3);
    done(ir, m);
    n = node("Pad", "p", "h", "y");
    attr_ints(&n, "pads", 6, pads);
    attr_f(&n, "value", 1);
    m = one_node(10, n);
    ir = convert(m);
    const IrNode *pad = only_node(ir, TN_OP_pad);
    assert_true(pad->n_in == 3 && ir->graphs[0]->values[pad->in[2]].dtype == TN_F16);
    done(ir, m);
    n = node("Split", "s", "x", "y,z");
    attr_ints(&n, "split", 2, sizes);
    attr_i(&n, "axis", 1);
    m = one_node(11, n);
    ir = convert(m);
    const IrNode *split = only_node(ir, TN_OP_split);
    assert_true(split->n_in == 2 && split->n_out == 2 && split->out[1] == TN_NO_VALUE);
    done(ir, m);
    n = node("TopK", "t", "x", "y,idx");
    attr_i(&n, "k", 2);
    m = one_node(9, n);
    ir = convert(m);
    assert_int_equal(only_node(ir, TN_OP_topk)->n_in, 2);
    done(ir, m);
    n = node("Upsample", "u", "x", "y");
    attr_floats(&n, "scales", 3, scales);
    m = one_node(8, n);
    ir = convert(m);
    const TnResizeParams *r = only_node(ir, TN_OP_resize)->params;
    assert_true(r->coord == TN_COORD_ASYMMETRIC && r->nearest == TN_NEAREST_FLOOR && r->mode == TN_RESIZE_NEAREST);
    done(ir, m);
}

static void einsum_is_normalised(void **state) {
    (void)state;
    static const struct {
        const char *given, *want;
    } cases[] = {{" ij , jk -> ik ", "ij,jk->ik"},
                 {"ij,jk", "ij,jk->ik"},
                 {"ba,ca", "ba,ca->bc"},
                 {"...ij,...jk", "...ij,...jk->...ik"},
                 {"iB,A", "iB,A->ABi"}};
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        Pb n = node("Einsum", "e", "x,x", "y");
        attr_s(&n, "equation", cases[i].given);
        Pb m = one_node(17, n);
        IrModule *ir = convert(m);
        const TnEinsumParams *p = only_node(ir, TN_OP_einsum)->params;
        assert_string_equal(p->equation, cases[i].want);
        done(ir, m);
    }
    static const char *const bad[] = {"ij,jk,kl", "i.j,jk", "i1,jk", "ij,jk->i,k", "ij,jk->->", "......,a"};
    for (size_t i = 0; i < TN_COUNT(bad); i++) {
        Pb n = node("Einsum", "e", "x,x", "y");
        attr_s(&n, "equation", bad[i]);
        refuse(one_node(17, n), TN_ERR_GRAPH, "the equation");
    }
}

static void constants(void **state) {
    (void)state;
    Pb n = node("Constant", "c", "", "y");
    attr_f(&n, "value_float", 1.5f);
    Pb m = one_node(17, n);
    IrModule *ir = convert(m);
    const IrValue *y = find_value(ir->graphs[0], "y");
    assert_true(y->kind == IR_CONST && y->dtype == TN_F32 && y->rank == 0 && *(const float *)y->data == 1.5f);
    done(ir, m);
    static const int64_t v[3] = {1, 2, 3};
    n = node("Constant", "c", "", "y");
    attr_ints(&n, "value_ints", 3, v);
    m = one_node(17, n);
    ir = convert(m);
    y = find_value(ir->graphs[0], "y");
    assert_true(y->dtype == TN_I64 && y->rank == 1);
    assert_memory_equal(y->data, v, sizeof v);
    done(ir, m);
    n = node("Constant", "c", "", "y");
    attr_s(&n, "value_string", "text");
    refuse(one_node(17, n), TN_ERR_UNSUPPORTED, "strings");
    /* not read: no harm */
    Pb g = {0};
    n = node("Constant", "c", "", "t");
    attr_s(&n, "value_string", "text");
    g_input(&g, io("x", TN_F32, "1"));
    g_node(&g, n);
    g_node(&g, node("Abs", "a", "x", "y"));
    g_output(&g, "y");
    m = model(17, g);
    ir = convert(m);
    done(ir, m);
    refuse(one_node(17, node("Constant", "c", "", "y")), TN_ERR_GRAPH, "has 0 attributes");
}

static void wrong_attributes(void **state) {
    (void)state;
    Pb n = node("LeakyRelu", "l", "x", "y");
    attr_i(&n, "alpha", 1);
    refuse(one_node(17, n), TN_ERR_GRAPH, "attribute 'alpha' is of kind INT, expected FLOAT");
    n = node("LeakyRelu", "l", "x", "y");
    attr_f(&n, "alpha", 1);
    attr_f(&n, "alpha", 1);
    refuse(one_node(17, n), TN_ERR_GRAPH, "'alpha' twice");
    refuse(one_node(17, node("Concat", "c", "x,x", "y")), TN_ERR_GRAPH, "'axis' is required");
    n = node("Concat", "c", "x,x", "y");
    attr_i(&n, "axis", INT64_C(1) << 40);
    refuse(one_node(17, n), TN_ERR_GRAPH, "1099511627776");
    static const int64_t perm[3] = {0, 0, 1}, perm2[2] = {1, 0};
    n = node("Transpose", "t", "x", "y");
    attr_ints(&n, "perm", 3, perm);
    refuse(one_node(17, n), TN_ERR_GRAPH, "no permutation");
    n = node("Transpose", "t", "x", "y");
    attr_ints(&n, "perm", 2, perm2);
    refuse(one_node(17, n), TN_ERR_GRAPH, "rank 3");
    refuse(one_node(17, node("Cast", "c", "x", "y")), TN_ERR_GRAPH, "'to' is required");
    n = node("Cast", "c", "x", "y");
    attr_i(&n, "to", TN_STRING);
    refuse(one_node(17, n), TN_ERR_UNSUPPORTED, "string");
    n = node("DepthToSpace", "d", "x", "y");
    attr_i(&n, "blocksize", INT64_C(1) << 32);
    refuse(one_node(17, n), TN_ERR_GRAPH, "4294967296");
    n = node("Resize", "r", "x,,x", "y");
    attr_s(&n, "mode", "area");
    refuse(one_node(17, n), TN_ERR_UNSUPPORTED, "'area'; supported: nearest, linear, cubic");
    n = node("BatchNormalization", "b", "x,x,x,x,x", "y");
    attr_i(&n, "training_mode", 1);
    refuse(one_node(13, n), TN_ERR_UNSUPPORTED, "training_mode");
}

static void conv_attributes(void **state) {
    (void)state;
    static const float w[2 * 3 * 3] = {0};
    int64_t dims[3] = {2, 3, 3}, zero[1] = {0}, wrong[1] = {5}, pads[2] = {1, 2}, negative[2] = {-1, 0};
    for (int k = 0; k < 5; k++) {
        Pb g = {0}, n = node("Conv", "c", "x,w", "y");
        g_input(&g, io("x", TN_F32, "1,3,8"));
        g_tensor(&g, tensor_raw("w", TN_F32, 3, dims, w, sizeof w));
        if (k == 1)
            attr_ints(&n, "strides", 1, zero);
        if (k == 2)
            attr_ints(&n, "kernel_shape", 1, wrong);
        if (k == 3)
            attr_ints(&n, "pads", 2, negative);
        if (k == 4)
            attr_i(&n, "group", 0);
        if (k == 0)
            attr_ints(&n, "pads", 2, pads);
        g_node(&g, n);
        g_output(&g, "y");
        Pb m = model(17, g);
        if (k > 0) {
            refuse(m, TN_ERR_GRAPH,
                   k == 1   ? "'strides' holds 0"
                   : k == 2 ? "kernel_shape says 5"
                   : k == 3 ? "'pads' holds -1"
                            : "'group' is 0");
            continue;
        }
        IrModule *ir = convert(m);
        const TnConvParams *p = only_node(ir, TN_OP_conv)->params;
        assert_true(p->n_spatial == 1 && p->kernel[0] == 3 && p->stride[0] == 1 && p->pads[0] == 1 && p->pads[1] == 2 && p->group == 1);
        done(ir, m);
    }
}

static void folds_and_long_concats(void **state) {
    (void)state;
    Pb m = one_node(17, node("Mean", "m", "x,x,x", "y"));
    IrModule *ir = convert(m);
    assert_int_equal(ir->graphs[0]->n_nodes, 3);
    const TnBinaryParams *p = find_node(ir->graphs[0], "m")->params;
    assert_int_equal(p->fn, TN_BINARY_div);
    done(ir, m);
    m = one_node(17, node("Max", "m", "x", "y"));
    ir = convert(m);
    only_node(ir, TN_OP_identity);
    done(ir, m);
    char names[3000] = "x";
    for (int i = 1; i < 1200; i++)
        strcat(names, ",x");
    Pb n = node("Concat", "c", names, "y");
    attr_i(&n, "axis", 0);
    m = one_node(17, n);
    ir = convert(m);
    assert_int_equal(ir->graphs[0]->n_nodes, 4);
    done(ir, m);
}

static void optional_outputs(void **state) {
    (void)state;
    Pb m = one_node(17, node("LayerNormalization", "l", "x,x,x", "y,mean,dev"));
    IrModule *ir = convert(m);
    assert_int_equal(only_node(ir, TN_OP_layer_norm)->n_out, 1);
    done(ir, m);
    Pb g = {0};
    g_input(&g, io("x", TN_F32, "2,3"));
    g_node(&g, node("LayerNormalization", "l", "x,x,x", "y,mean"));
    g_output(&g, "y");
    g_output(&g, "mean");
    m = model(17, g);
    ir = convert(m);
    assert_int_equal(ir->graphs[0]->n_outputs, 2);
    assert_int_equal(ir->graphs[0]->nodes[0].op, TN_OP_layer_norm);
    done(ir, m);
    g = (Pb){0};
    g_input(&g, io("x", TN_F32, "2,3"));
    g_node(&g, node("Dropout", "d", "x", "y,mask"));
    g_output(&g, "y");
    g_output(&g, "mask");
    m = model(17, g);
    ir = convert(m);
    assert_int_equal(ir->graphs[0]->n_nodes, 4);
    done(ir, m);
}

static void cast_like(void **state) {
    (void)state;
    Pb m = one_node(17, node("CastLike", "c", "x,h", "y"));
    IrModule *ir = convert(m);
    assert_int_equal(((const TnCastParams *)only_node(ir, TN_OP_cast)->params)->to, TN_F16);
    done(ir, m);
}

static void attention_is_expanded(void **state) {
    (void)state;
    Pb g = {0}, n = node("Attention", "a", "q,k,v,m,pk,pv", "y,nk,nv");
    g_input(&g, io("q", TN_F32, "B,S,24"));
    g_input(&g, io("k", TN_F32, "B,S,8"));
    g_input(&g, io("v", TN_F32, "B,S,8"));
    g_input(&g, io("m", TN_BOOL, "S,T"));
    g_input(&g, io("pk", TN_F32, "B,2,P,4"));
    g_input(&g, io("pv", TN_F32, "B,2,P,4"));
    attr_i(&n, "q_num_heads", 6);
    attr_i(&n, "kv_num_heads", 2);
    attr_i(&n, "is_causal", 1);
    attr_f(&n, "softcap", 50);
    g_node(&g, n);
    g_output(&g, "y");
    g_output(&g, "nk");
    g_output(&g, "nv");
    Pb m = model(23, g);
    IrModule *ir = convert(m);
    assert_int_equal(find_node(ir->graphs[0], "a/softmax")->op, TN_OP_softmax);
    done(ir, m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sorted),
        cmocka_unit_test(softmax_before_13),
        cmocka_unit_test(clip_versions),
        cmocka_unit_test(reduce_axes),
        cmocka_unit_test(reduce_of_unknown_rank),
        cmocka_unit_test(squeeze_and_axes),
        cmocka_unit_test(old_attributes_become_operands),
        cmocka_unit_test(einsum_is_normalised),
        cmocka_unit_test(constants),
        cmocka_unit_test(wrong_attributes),
        cmocka_unit_test(conv_attributes),
        cmocka_unit_test(folds_and_long_concats),
        cmocka_unit_test(optional_outputs),
        cmocka_unit_test(cast_like),
        cmocka_unit_test(attention_is_expanded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
