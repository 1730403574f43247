/* SPDX-License-Identifier: Apache-2.0
 *
 * Every row of the operator table converts a small node whose shapes can be inferred, at its oldest and its newest opset; a row without a
 * case fails. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "onnx/build.h"
#include "shape/shape.h"

/* The case of the row that starts at min_opset: operands (names of inputs below) and attributes: name=3, name=0.5, name='word', name=[1,2],
 * name=[1.0,2.0]; @if, @loop and @scan add subgraphs. */
static const struct Case {
    const char *op_type;
    int32_t min_opset;
    const char *in, *attrs;
} cases[] = {
    {"Abs", 6, "x", ""},
    {"Acos", 7, "x", ""},
    {"Acosh", 9, "x", ""},
    {"Add", 6, "x,x", ""},
    {"AffineGrid", 20, "theta,shape4", ""},
    {"And", 1, "b,b", ""},
    {"ArgMax", 1, "x", "axis=1"},
    {"ArgMin", 1, "x", "axis=-1 keepdims=0"},
    {"Asin", 7, "x", ""},
    {"Asinh", 9, "x", ""},
    {"Atan", 7, "x", ""},
    {"Atanh", 9, "x", ""},
    {"Attention", 23, "q4,q4,q4", ""},
    {"Attention", 24, "q4,q4,q4", ""},
    {"Attention", 1, "@", ""},
    {"AveragePool", 1, "m", "kernel_shape=[2,2]"},
    {"BatchNormalization", 6, "m,c,c,c,c", "is_test=1"},
    {"BatchNormalization", 7, "m,c,c,c,c", ""},
    {"Bernoulli", 15, "x", ""},
    {"BiasGelu", 1, "@", ""},
    {"BitCast", 26, "x", "to=6"},
    {"BitShift", 11, "u,u", "direction='LEFT'"},
    {"BitwiseAnd", 18, "u,u", ""},
    {"BitwiseNot", 18, "u", ""},
    {"BitwiseOr", 18, "u,u", ""},
    {"BitwiseXor", 18, "u,u", ""},
    {"BlackmanWindow", 17, "depth", ""},
    {"Cast", 6, "x", "to=7"},
    {"CastLike", 15, "x,h", ""},
    {"CausalConvWithState", 27, "x,wc", ""},
    {"Ceil", 6, "x", ""},
    {"Celu", 12, "x", ""},
    {"CenterCropPad", 18, "x,shape3", ""},
    {"Clip", 6, "x", "max=6.0"},
    {"Clip", 11, "x", ""},
    {"Col2Im", 18, "cols,shape2,two2", ""},
    {"Compress", 9, "x,b", "axis=0"},
    {"Concat", 4, "x,x", "axis=1"},
    {"ConcatFromSequence", 11, "@", ""},
    {"Constant", 1, "", "value_float=1.0"},
    {"ConstantOfShape", 9, "i", ""},
    {"Conv", 1, "m,w4", ""},
    {"ConvInteger", 10, "um,uw", ""},
    {"ConvTranspose", 1, "m,w4t", ""},
    {"Cos", 7, "x", ""},
    {"Cosh", 9, "x", ""},
    {"CumProd", 26, "x,zero", ""},
    {"CumSum", 11, "x,zero", ""},
    {"DFT", 17, "sig", ""},
    {"DeformConv", 19, "m,w4,off", ""},
    {"DepthToSpace", 1, "m4", "blocksize=2"},
    {"DequantizeLinear", 10, "q,scale", ""},
    {"Det", 11, "sq", ""},
    {"Div", 6, "x,x", ""},
    {"Dropout", 6, "x", ""},
    {"Dropout", 12, "x", ""},
    {"DynamicQuantizeLinear", 11, "x", ""},
    {"DynamicQuantizeMatMul", 1, "@", ""},
    {"Einsum", 12, "x", "equation='ijk->ik'"},
    {"Elu", 6, "x", ""},
    {"EmbedLayerNormalization", 1, "@", ""},
    {"Equal", 1, "x,x", ""},
    {"Erf", 9, "x", ""},
    {"Exp", 6, "x", ""},
    {"Expand", 8, "x,shape3", ""},
    {"EyeLike", 9, "f", ""},
    {"FastGelu", 1, "@", ""},
    {"Flatten", 1, "x", ""},
    {"FlexAttention", 1, "@", ""},
    {"Floor", 6, "x", ""},
    {"FusedConv", 1, "@", ""},
    {"FusedGemm", 1, "@", ""},
    {"FusedMatMul", 1, "@", ""},
    {"GRU", 1, "x,wg,rg", "hidden_size=5"},
    {"Gather", 1, "x,i", "axis=1"},
    {"GatherElements", 11, "x,idx3", "axis=1"},
    {"GatherND", 11, "x,i", ""},
    {"Gelu", 20, "x", ""},
    {"Gelu", 1, "@", ""},
    {"Gemm", 6, "f,f2,f3", ""},
    {"Gemm", 11, "f,f2,f3", ""},
    {"GlobalAveragePool", 1, "m", ""},
    {"GlobalLpPool", 2, "m", ""},
    {"GlobalMaxPool", 1, "m", ""},
    {"Greater", 1, "x,x", ""},
    {"GreaterOrEqual", 12, "x,x", ""},
    {"GridSample", 16, "m,grid", ""},
    {"GroupNormalization", 18, "m4,g2,g2", "num_groups=2"},
    {"GroupNormalization", 21, "m4,c4,c4", "num_groups=2"},
    {"HammingWindow", 17, "depth", ""},
    {"HannWindow", 17, "depth", ""},
    {"HardSigmoid", 6, "x", ""},
    {"HardSwish", 14, "x", ""},
    {"Hardmax", 1, "x", ""},
    {"Identity", 1, "x", ""},
    {"If", 1, "cond", "@if"},
    {"InstanceNormalization", 6, "m,c,c", ""},
    {"IsInf", 10, "x", ""},
    {"IsNaN", 9, "x", ""},
    {"LRN", 1, "m", "size=3"},
    {"LSTM", 1, "x,wl,rl", "hidden_size=5"},
    {"LayerNormalization", 17, "x,s4", ""},
    {"LeakyRelu", 6, "x", ""},
    {"Less", 1, "x,x", ""},
    {"LessOrEqual", 12, "x,x", ""},
    {"LinearAttention", 27, "x,x,x", "q_num_heads=2 kv_num_heads=2 update_rule='linear'"},
    {"Log", 6, "x", ""},
    {"LogSoftmax", 1, "x", ""},
    {"LogSoftmax", 13, "x", ""},
    {"Loop", 1, "one1,,x", "@loop"},
    {"LpNormalization", 1, "x", ""},
    {"LpPool", 2, "m", "kernel_shape=[2,2]"},
    {"MatMul", 1, "x,v", ""},
    {"MatMulInteger", 10, "q,qt", ""},
    {"MatMulIntegerToFloat", 1, "@", ""},
    {"MatMulNBits", 1, "@", ""},
    {"Max", 6, "x,x", ""},
    {"MaxPool", 1, "m", "kernel_shape=[2,2]"},
    {"MaxPool", 8, "m", "kernel_shape=[2,2]"},
    {"MaxRoiPool", 1, "m,rois5", "pooled_shape=[2,2]"},
    {"MaxUnpool", 9, "m,mi", "kernel_shape=[2,2] strides=[2,2]"},
    {"Mean", 6, "x,x", ""},
    {"MeanVarianceNormalization", 9, "m", ""},
    {"MelWeightMatrix", 17, "depth,eight,eight,scale,scale", ""},
    {"Min", 6, "x,x", ""},
    {"Mish", 18, "x", ""},
    {"Mod", 10, "u,u", ""},
    {"Mul", 6, "x,x", ""},
    {"MultiHeadAttention", 1, "@", ""},
    {"Multinomial", 7, "f", ""},
    {"Neg", 6, "x", ""},
    {"NegativeLogLikelihoodLoss", 12, "x,t24", ""},
    {"NonMaxSuppression", 10, "boxes,scores", ""},
    {"NonZero", 9, "x", ""},
    {"Not", 1, "b", ""},
    {"OneHot", 9, "i,depth,two", ""},
    {"Optional", 15, "@", ""},
    {"OptionalGetElement", 15, "x", ""},
    {"OptionalHasElement", 15, "x", ""},
    {"Or", 1, "b,b", ""},
    {"PRelu", 6, "x,c", ""},
    {"PRelu", 7, "x,s4", ""},
    {"Pad", 2, "x", "pads=[0,0,0,0,0,1]"},
    {"Pad", 11, "x,pads6", ""},
    {"Pad", 18, "x,pads6", ""},
    {"Pow", 1, "x,x", ""},
    {"QLinearAdd", 1, "@", ""},
    {"QLinearAveragePool", 1, "@", ""},
    {"QLinearConcat", 1, "@", ""},
    {"QLinearConv", 10, "um,scale,uz,uw,scale,uz,scale,uz", ""},
    {"QLinearGlobalAveragePool", 1, "@", ""},
    {"QLinearLeakyRelu", 1, "@", ""},
    {"QLinearMatMul", 10, "q,scale,uz,qt,scale,uz,scale,uz", ""},
    {"QLinearMul", 1, "@", ""},
    {"QLinearSigmoid", 1, "@", ""},
    {"QuantizeLinear", 10, "x,scale", ""},
    {"QuickGelu", 1, "@", ""},
    {"RMSNormalization", 23, "x,s4", ""},
    {"RNN", 1, "x,wr,rr", "hidden_size=5"},
    {"RandomNormal", 1, "", "shape=[2,3]"},
    {"RandomNormalLike", 1, "x", ""},
    {"RandomUniform", 1, "", "shape=[2,3]"},
    {"RandomUniformLike", 1, "x", ""},
    {"Range", 11, "zero,depth,one", ""},
    {"Reciprocal", 6, "x", ""},
    {"ReduceL1", 1, "x", ""},
    {"ReduceL1", 18, "x", ""},
    {"ReduceL2", 1, "x", ""},
    {"ReduceL2", 18, "x", ""},
    {"ReduceLogSum", 1, "x", ""},
    {"ReduceLogSum", 18, "x", ""},
    {"ReduceLogSumExp", 1, "x", ""},
    {"ReduceLogSumExp", 18, "x", ""},
    {"ReduceMax", 1, "x", ""},
    {"ReduceMax", 18, "x", ""},
    {"ReduceMean", 1, "x", ""},
    {"ReduceMean", 18, "x", ""},
    {"ReduceMin", 1, "x", ""},
    {"ReduceMin", 18, "x", ""},
    {"ReduceProd", 1, "x", ""},
    {"ReduceProd", 18, "x", ""},
    {"ReduceSum", 1, "x", ""},
    {"ReduceSum", 13, "x", ""},
    {"ReduceSumSquare", 1, "x", ""},
    {"ReduceSumSquare", 18, "x", ""},
    {"Relu", 6, "x", ""},
    {"Reshape", 5, "x,shape2", ""},
    {"Resize", 10, "m,scales4", ""},
    {"Resize", 11, "m,,scales4", ""},
    {"ReverseSequence", 10, "x,c3i", ""},
    {"RoiAlign", 10, "m,rois,i", ""},
    {"RotaryEmbedding", 23, "q4,cos,cos", ""},
    {"Round", 11, "x", ""},
    {"STFT", 17, "sig,one,,two0", ""},
    {"Scan", 9, "x,x", "@scan"},
    {"Scatter", 9, "x,idx3,x", "axis=1"},
    {"ScatterElements", 11, "x,idx3,x", "axis=1"},
    {"ScatterND", 11, "x,i2,upd", ""},
    {"Selu", 6, "x", ""},
    {"SequenceAt", 11, "@", ""},
    {"SequenceConstruct", 11, "@", ""},
    {"SequenceEmpty", 11, "@", ""},
    {"SequenceErase", 11, "@", ""},
    {"SequenceInsert", 11, "@", ""},
    {"SequenceLength", 11, "@", ""},
    {"SequenceMap", 17, "@", ""},
    {"Shape", 1, "x", ""},
    {"Shrink", 9, "x", ""},
    {"Sigmoid", 6, "x", ""},
    {"Sign", 9, "x", ""},
    {"SimplifiedLayerNormalization", 1, "x,c4", ""},
    {"Sin", 7, "x", ""},
    {"Sinh", 9, "x", ""},
    {"Size", 1, "x", ""},
    {"SkipLayerNormalization", 1, "@", ""},
    {"SkipSimplifiedLayerNormalization", 1, "@", ""},
    {"Slice", 1, "x", "starts=[0] ends=[1]"},
    {"Slice", 10, "x,zero1,one1", ""},
    {"Softmax", 1, "x", ""},
    {"Softmax", 13, "x", ""},
    {"SoftmaxCrossEntropyLoss", 12, "x,t24", ""},
    {"Softplus", 1, "x", ""},
    {"Softsign", 1, "x", ""},
    {"SpaceToDepth", 1, "m", "blocksize=2"},
    {"Split", 2, "x", "axis=0"},
    {"Split", 13, "x", "axis=0"},
    {"SplitToSequence", 11, "@", ""},
    {"Sqrt", 6, "x", ""},
    {"Squeeze", 1, "x1", "axes=[0]"},
    {"Squeeze", 13, "x1", ""},
    {"Sub", 6, "x,x", ""},
    {"Sum", 6, "x,x", ""},
    {"SwiGLU", 28, "x,x", ""},
    {"Swish", 24, "x", ""},
    {"Tan", 7, "x", ""},
    {"Tanh", 6, "x", ""},
    {"TensorScatter", 24, "x,x", ""},
    {"TfIdfVectorizer", 9, "i", "pool_int64s=[2,3] ngram_counts=[0,0] ngram_indexes=[0] max_gram_length=2 mode='TF'"},
    {"ThresholdedRelu", 10, "x", ""},
    {"Tile", 6, "x,shape3", ""},
    {"TopK", 1, "x", "k=1"},
    {"TopK", 10, "x,one1", ""},
    {"Transpose", 1, "x", "perm=[2,0,1]"},
    {"Trilu", 14, "x", ""},
    {"Unique", 11, "x", ""},
    {"Unsqueeze", 1, "x", "axes=[0]"},
    {"Unsqueeze", 13, "x,zero1", ""},
    {"Upsample", 7, "m", "scales=[1.0,1.0,2.0,2.0]"},
    {"Upsample", 9, "m,scales4", ""},
    {"Where", 9, "b3,x,x", ""},
    {"Xor", 1, "b,b", ""},
};

/* What operands are called; the numbers of small constants. */
static const struct {
    const char *name;
    TnDtype dtype;
    const char *shape;
} inputs[] = {
    {"x", TN_F32, "2,3,4"},    {"x1", TN_F32, "1,3,4"},  {"v", TN_F32, "4,5"},      {"h", TN_F16, "2,3,4"},     {"m", TN_F32, "2,3,8,8"},
    {"m4", TN_F32, "2,4,8,8"}, {"f", TN_F32, "2,3"},     {"f2", TN_F32, "3,2"},     {"f3", TN_F32, "2"},        {"c", TN_F32, "3"},
    {"c4", TN_F32, "4"},       {"g2", TN_F32, "2"},      {"s4", TN_F32, "4"},       {"w4", TN_F32, "5,3,3,3"},  {"w4t", TN_F32, "3,5,3,3"},
    {"u", TN_U8, "2,3"},       {"q", TN_U8, "2,3,4"},    {"b", TN_BOOL, "2"},       {"b3", TN_BOOL, "2,3,1"},   {"i", TN_I64, "2"},
    {"i2", TN_I64, "1,1"},     {"upd", TN_F32, "1,3,4"}, {"idx3", TN_I64, "2,3,4"}, {"boxes", TN_F32, "1,6,4"}, {"scores", TN_F32, "1,2,6"},
    {"rois", TN_F32, "2,4"},   {"cond", TN_BOOL, ""},    {"q4", TN_F32, "2,3,5,8"}, {"two", TN_F32, "2"},       {"scale", TN_F32, ""},
    {"theta", TN_F32, "2,2,3"}, {"wc", TN_F32, "3,1,2"},  {"cols", TN_F32, "2,4,15"}, {"um", TN_U8, "2,3,8,8"},   {"uw", TN_U8, "5,3,3,3"},
    {"sig", TN_F32, "2,16,1"},  {"off", TN_F32, "2,18,6,6"}, {"sq", TN_F32, "2,3,3"}, {"wg", TN_F32, "1,15,4"},    {"rg", TN_F32, "1,15,5"},
    {"wl", TN_F32, "1,20,4"},   {"rl", TN_F32, "1,20,5"}, {"wr", TN_F32, "1,5,4"},    {"rr", TN_F32, "1,5,5"},     {"grid", TN_F32, "2,5,6,2"},
    {"qt", TN_U8, "4,5"},       {"rois5", TN_F32, "3,5"}, {"mi", TN_I64, "2,3,8,8"},  {"t24", TN_I64, "2,4"},      {"uz", TN_U8, ""},
    {"c3i", TN_I64, "3"},       {"cos", TN_F32, "2,5,4"},
};
static const struct {
    const char *name;
    int32_t rank, n;
    int64_t v[6];
} constants[] = {
    {"zero", 0, 1, {0}}, {"one", 0, 1, {1}},       {"depth", 0, 1, {6}},        {"zero1", 1, 1, {0}},
    {"one1", 1, 1, {1}}, {"shape2", 1, 2, {6, 4}}, {"shape3", 1, 3, {2, 3, 4}}, {"pads6", 1, 6, {0, 0, 0, 1, 0, 0}},
    {"shape4", 1, 4, {2, 3, 5, 6}}, {"two2", 1, 2, {2, 2}}, {"eight", 0, 1, {8}}, {"two0", 0, 1, {2}},
};

static Pb subgraph(bool loop) {
    Pb g = {0};
    if (loop) {
        g_input(&g, io("it", TN_I64, ""));
        g_input(&g, io("go", TN_BOOL, ""));
        g_input(&g, io("acc", TN_F32, "2,3,4"));
        g_node(&g, node("Identity", "", "go", "on"));
        g_output(&g, "on");
    }
    g_node(&g, node("Neg", "", loop ? "acc" : "x", "r"));
    g_output(&g, "r");
    return g;
}

/* A state [2,3,4] and an element [3,4]: the next state. */
static Pb scan_body(void) {
    Pb g = {0};
    g_input(&g, io("state", TN_F32, "2,3,4"));
    g_input(&g, io("element", TN_F32, "3,4"));
    g_node(&g, node("Add", "", "state,element", "r"));
    g_output(&g, "r");
    return g;
}

/* "[1,2]" or "[1.0,2.0]". */
static const char *add_list(Pb *n, const char *name, const char *p) {
    int64_t ints[8];
    float floats[8];
    uint32_t count = 0;
    bool real = false;
    while (*p != ']') {
        char *end = NULL;
        size_t len = strcspn(++p, ",]");
        real = real || memchr(p, '.', len) != NULL;
        floats[count] = strtof(p, NULL);
        ints[count++] = strtoll(p, &end, 10);
        p += len;
    }
    if (real)
        attr_floats(n, name, count, floats);
    else
        attr_ints(n, name, count, ints);
    return p + 1;
}

static void add_attrs(Pb *n, const char *p) {
    if (strcmp(p, "@if") == 0) {
        attr_g(n, "then_branch", subgraph(false));
        attr_g(n, "else_branch", subgraph(false));
        return;
    }
    if (strcmp(p, "@scan") == 0) {
        attr_g(n, "body", scan_body());
        attr_i(n, "num_scan_inputs", 1);
        return;
    }
    if (strcmp(p, "@loop") == 0) {
        attr_g(n, "body", subgraph(true));
        return;
    }
    while (*p != '\0') {
        char name[32], text[32];
        size_t len = strcspn(p, "=");
        snprintf(name, sizeof name, "%.*s", (int)len, p);
        p += len + 1;
        if (*p == '[') {
            p = add_list(n, name, p);
        } else {
            len = strcspn(p, " ");
            snprintf(text, sizeof text, "%.*s", (int)len, p);
            if (*p == '\'') {
                text[len - 1] = '\0';
                attr_s(n, name, text + 1);
            } else if (strchr(text, '.') != NULL) {
                attr_f(n, name, strtof(text, NULL));
            } else {
                attr_i(n, name, strtoll(text, NULL, 10));
            }
            p += len;
        }
        p += *p == ' ';
    }
}

static Pb case_model(const struct Case *c, int32_t version) {
    const float scales[4] = {1, 1, 2, 2};
    Pb g = {0}, n = node(c->op_type, "node", c->in, strcmp(c->op_type, "Split") == 0 ? "y,y2" : "y");
    for (size_t i = 0; i < TN_COUNT(inputs); i++)
        g_input(&g, io(inputs[i].name, (int32_t)inputs[i].dtype, inputs[i].shape));
    for (size_t i = 0; i < TN_COUNT(constants); i++) {
        int64_t dims[1] = {constants[i].n};
        g_tensor(&g, tensor_raw(constants[i].name, TN_I64, constants[i].rank, dims, constants[i].v, (size_t)constants[i].n * 8));
    }
    g_tensor(&g, tensor_f32("scales4", 4, scales));
    add_attrs(&n, c->attrs);
    g_node(&g, n);
    g_output(&g, "y");
    return model(version, g);
}

static void every_row_converts(void **state) {
    (void)state;
    uint32_t n = 0;
    const OnnxOpRow *rows = tni_onnx_op_rows(&n);
    assert_int_equal(n, TN_COUNT(cases));
    for (uint32_t i = 0; i < n; i++) {
        assert_string_equal(rows[i].op_type, cases[i].op_type);
        assert_int_equal(rows[i].min_opset, cases[i].min_opset);
        if (cases[i].in[0] == '@') /* makes or takes sequences, or is of another domain: tests/python */
            continue;
        for (int newest = 0; newest < 2; newest++) {
            Pb m = case_model(&cases[i], newest ? rows[i].max_opset : TN_MAX(rows[i].min_opset, 6));
            IrModule *ir = NULL;
            TnError err = {0};
            if (import_pb(m, &ir, &err) != TN_OK)
                fail_msg("%s at opset %d: %s", rows[i].op_type, newest ? rows[i].max_opset : TN_MAX(rows[i].min_opset, 6), err.message);
            if (tni_shape_infer(ir, &err) != TN_OK)
                fail_msg("%s at opset %d: %s", rows[i].op_type, newest ? rows[i].max_opset : TN_MAX(rows[i].min_opset, 6), err.message);
            /* the IR operators that the table promises */
            char *text = module_text(ir);
            char word[32];
            snprintf(word, sizeof word, "= %.*s(", (int)strcspn(rows[i].ir_ops, ","), rows[i].ir_ops);
            if (strcmp(rows[i].ir_ops, "constant data") != 0 && strcmp(rows[i].ir_ops, "done at import") != 0 && strstr(text, word) == NULL)
                fail_msg("%s became\n%s", rows[i].op_type, text);
            free(text);
            tni_ir_module_destroy(&ir);
            free(m.p);
        }
    }
}

/* The newest opset of every row but the last of its operator is older than the next row's: unsupported before, between and after. */
static void other_opsets_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < TN_COUNT(cases); i++) {
        if (cases[i].min_opset <= 7 || cases[i].in[0] == '@' || (i > 0 && strcmp(cases[i - 1].op_type, cases[i].op_type) == 0))
            continue;
        Pb m = case_model(&cases[i], cases[i].min_opset - 1);
        IrModule *ir = NULL;
        TnError err = {0};
        assert_int_equal(import_pb(m, &ir, &err), TN_ERR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "supported are opsets"));
        free(m.p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row_converts), cmocka_unit_test(other_opsets_are_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
