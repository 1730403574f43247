/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of computing operators: what they give, what they refuse. (Symbols against numbers: see support.c.) */
#include "support.h"

#define SHAPE TN_ERR_SHAPE
#define TYPE TN_ERR_TYPE
#define GRAPH TN_ERR_GRAPH
#define UNSUP TN_ERR_UNSUPPORTED

static void test_pointwise(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8"), b = t_in("b", TN_BOOL, "batch,1,8"), i = t_in("i", TN_I64, "seq,1");
    IrValueId f64 = t_in("d", TN_F64, "8"), five = t_in("five", TN_F32, "5"), u8 = t_in("u", TN_U8, "8"), i8 = t_in("i8", TN_I8, "8");
    EXPECT(op_unary(TN_UNARY_gelu, x), "float32[batch, seq, 8]");
    EXPECT(op_unary(TN_UNARY_isnan, x), "bool[batch, seq, 8]");
    EXPECT(op_unary(TN_UNARY_not_, b), "bool[batch, 1, 8]");
    EXPECT(op_unary(TN_UNARY_abs, u8), "uint8[8]");
    TnUnaryParams up = {.fn = TN_UNARY_sqrt};
    FAILS(unary, &up, TYPE, "int64", i);
    up.fn = TN_UNARY_neg;
    FAILS(unary, &up, TYPE, "uint8", u8);
    up.fn = TN_UNARY_not_;
    FAILS(unary, &up, TYPE, "float32", x);
    up.fn = 999;
    FAILS(unary, &up, GRAPH, "999", x);
    EXPECT(op_binary(TN_BINARY_add, x, t_in("y", TN_F32, "seq,1")), "float32[batch, seq, 8]");
    EXPECT(op_binary(TN_BINARY_less, i, t_in("j", TN_I64, "1,seq")), "bool[seq, seq]");
    EXPECT(op_binary(TN_BINARY_pow, x, t_int(2)), "float32[batch, seq, 8]");
    EXPECT(op_binary(TN_BINARY_and_, b, b), "bool[batch, 1, 8]");
    EXPECT(op_binary(TN_BINARY_bitwise_and, i8, i8), "int8[8]");
    EXPECT(op_binary(TN_BINARY_shift_left, u8, u8), "uint8[8]");
    EXPECT(op_binary(TN_BINARY_equal, b, b), "bool[batch, 1, 8]");
    TnBinaryParams bp = {.fn = TN_BINARY_add};
    FAILS(binary, &bp, TYPE, "must have the same type", x, f64);
    FAILS(binary, &bp, SHAPE, "do not broadcast", x, five);
    FAILS(binary, &bp, TYPE, "bool", b, b);
    bp.fn = TN_BINARY_shift_left;
    FAILS(binary, &bp, TYPE, "float32", x, x);
    bp.fn = TN_BINARY_and_;
    FAILS(binary, &bp, TYPE, "float32", x, x);
    bp.fn = 77;
    FAILS(binary, &bp, GRAPH, "77", x, x);
    EXPECT(NODE(where, NULL, b, x, x), "float32[batch, seq, 8]");
    FAILS(where, NULL, TYPE, "float32", x, x, x);
    FAILS(where, NULL, TYPE, "same type", b, x, f64);
    EXPECT(NODE(clip, NULL, x, t_float(0), NONE), "float32[batch, seq, 8]");
    EXPECT(NODE(clip, NULL, i, t_float(0), t_float(3)), "int64[seq, 1]");
    FAILS(clip, NULL, SHAPE, "single number", x, five);
    FAILS(clip, NULL, TYPE, "bool", x, t_const(TN_BOOL, 0, NULL));
    EXPECT(op_cast(TN_BF16, x), "bfloat16[batch, seq, 8]");
    EXPECT(op_cast(TN_F8E4M3FN, x), "float8e4m3fn[batch, seq, 8]");
    TnCastParams cp = {.to = TN_STRING};
    FAILS(cast, &cp, TYPE, "string", x);
    cp.to = 0;
    FAILS(cast, &cp, TYPE, "undefined", x);
    cp.to = 9999;
    FAILS(cast, &cp, TYPE, "9999", x);
}

static void test_broadcast_choice(void **state) {
    (void)state;
    IrValueId a = t_in("a", TN_F32, "n,1"), b = t_in("b", TN_F32, "m,7"), c = t_in("c", TN_F32, "5,7");
    EXPECT(op_binary(TN_BINARY_add, a, b), "float32[n, 7]"); /* taken to be equal: the first */
    EXPECT(op_binary(TN_BINARY_add, a, c), "float32[5, 7]"); /* a number wins */
    IrValueId twice = op_reshape(t_in("t", TN_F32, "k,2,7"), VEC(-1, 7));
    EXPECT(op_binary(TN_BINARY_add, b, twice), "float32[k*2, 7]"); /* at least 2: cannot be stretched */
    EXPECT(op_binary(TN_BINARY_add, t_in("e", TN_F32, "0,7"), t_in("one", TN_F32, "1,7")), "float32[0, 7]");
    assert_int_equal(tni_shape_apply_ranges(tm, "m=2:6", &terr), TN_OK);
    EXPECT(op_binary(TN_BINARY_add, a, b), "float32[m, 7]");
    TnBinaryParams bp = {.fn = TN_BINARY_add};
    IrValueId nine = t_in("nine", TN_F32, "9,7");
    FAILS(binary, &bp, SHAPE, "2..6", b, nine);
}

static void test_pointwise_code(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,8"), y = t_in("y", TN_F32, "8");
    TnPointwiseParams p = {.n_in = 2, .n_code = 2};
    p.code[0] = (TnPwInstr){.op = TN_PW_BINARY, .fn = TN_BINARY_add, .dst = 2, .a = 0, .b = 1};
    p.code[1] = (TnPwInstr){.op = TN_PW_UNARY, .fn = TN_UNARY_relu, .dst = 3, .a = 2};
    EXPECT(NODE(pointwise, &p, x, y), "float32[batch, 8]");
    TnPointwiseParams q = p;
    q.code[0].b = 5;
    FAILS(pointwise, &q, GRAPH, "not valid", x, y); /* reads an unset register */
    q = p;
    q.code[1].dst = 16;
    FAILS(pointwise, &q, GRAPH, "not valid", x, y);
    q = p;
    q.n_code = 25;
    FAILS(pointwise, &q, GRAPH, "not valid", x, y);
    q = p;
    q.n_in = 1;
    FAILS(pointwise, &q, GRAPH, "not valid", x, y);
    q = p;
    q.code[1].fn = 200;
    FAILS(pointwise, &q, GRAPH, "not valid", x, y);
}

static void test_quantize(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,6,4"), s = t_in("s", TN_F32, ""), s6 = t_in("s6", TN_F32, "6"), s5 = t_in("s5", TN_F32, "5");
    IrValueId z6 = t_in("z6", TN_I8, "6"), q = t_in("q", TN_U8, "batch,6,4"), sb = t_in("sb", TN_F32, "batch,3,4"),
              zu = t_in("zu", TN_U8, "");
    TnQuantizeParams p = {.axis = -2};
    EXPECT(NODE(quantize_linear, &p, x, s), "uint8[batch, 6, 4]");
    EXPECT(NODE(quantize_linear, &p, x, s6, z6), "int8[batch, 6, 4]");
    EXPECT(NODE(dequantize_linear, &p, q, s, zu), "float32[batch, 6, 4]");
    FAILS(quantize_linear, &p, SHAPE, "scale", x, s5);
    FAILS(quantize_linear, &p, SHAPE, "different ranks", x, s, z6);
    FAILS(dequantize_linear, &p, TYPE, "same type", q, s6, z6);
    p.block_size = 2;
    EXPECT(NODE(quantize_linear, &p, x, sb), "uint8[batch, 6, 4]");
    p.block_size = 4;
    FAILS(quantize_linear, &p, SHAPE, "number of blocks", x, sb);
    p.block_size = -1;
    FAILS(quantize_linear, &p, SHAPE, "block_size", x, sb);
    TnQuantizeParams a = {.axis = 3}, o = {.output_dtype = TN_F32};
    FAILS(quantize_linear, &a, SHAPE, "axis 3", x, s6);
    FAILS(quantize_linear, &o, TYPE, "quantise", x, s);
    FAILS(quantize_linear, &p, TYPE, "bool", t_in("bb", TN_BOOL, "3"), s);
}

static void test_reduce(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8");
    TnReduceParams p = {.fn = TN_REDUCE_mean, .keepdims = 1, .n_axes = 1, .axes = {-1}};
    EXPECT(NODE(reduce, &p, x), "float32[batch, seq, 1]");
    p.keepdims = 0;
    EXPECT(NODE(reduce, &p, x), "float32[batch, seq]");
    TnReduceParams two = {.fn = TN_REDUCE_max, .n_axes = 2, .axes = {-1, 0}};
    EXPECT(NODE(reduce, &two, x), "float32[seq]");
    const TnReduceParams *stored = tg->nodes[tg->n_nodes - 1].params;
    assert_int_equal(stored->axes[0], 0); /* normalised and sorted */
    assert_int_equal(stored->axes[1], 2);
    TnReduceParams none = {.fn = TN_REDUCE_sum};
    EXPECT(NODE(reduce, &none, x), "float32[batch, seq, 8]");
    TnReduceParams bad = {.fn = TN_REDUCE_sum, .n_axes = 1, .axes = {3}};
    FAILS(reduce, &bad, SHAPE, "axis 3", x);
    bad.axes[0] = -4;
    FAILS(reduce, &bad, SHAPE, "axis -4", x);
    TnReduceParams dup = {.fn = TN_REDUCE_sum, .n_axes = 2, .axes = {2, -1}};
    FAILS(reduce, &dup, SHAPE, "twice", x);
    dup.n_axes = 99;
    FAILS(reduce, &dup, SHAPE, "99 axes", x);
    bad.fn = 50;
    FAILS(reduce, &bad, GRAPH, "50", x);
    TnReduceParams sum = {.fn = TN_REDUCE_sum};
    FAILS(reduce, &sum, TYPE, "bool", t_in("b", TN_BOOL, "3"));
    TnArgReduceParams a = {.axis = -1, .is_max = 1};
    EXPECT(NODE(arg_reduce, &a, x), "int64[batch, seq]");
    a.keepdims = 1;
    EXPECT(NODE(arg_reduce, &a, x), "int64[batch, seq, 1]");
    a.axis = 7;
    FAILS(arg_reduce, &a, SHAPE, "axis 7", x);
    a.axis = 0;
    FAILS(arg_reduce, &a, SHAPE, "no elements", t_in("e", TN_F32, "0,2"));
    EXPECT(NODE(cumsum, NULL, x, t_int(1)), "float32[batch, seq, 8]");
    FAILS(cumsum, NULL, SHAPE, "axis 3", x, t_int(3));
    FAILS(cumsum, NULL, TYPE, "float32", x, t_float(0));
    TnSoftmaxParams s = {.axis = -1, .scale = 1};
    EXPECT(NODE(softmax, &s, x), "float32[batch, seq, 8]");
    s.axis = 5;
    FAILS(softmax, &s, SHAPE, "axis 5", x);
    s.axis = 0;
    FAILS(softmax, &s, TYPE, "int64", t_in("i", TN_I64, "3"));
    FAILS(softmax, &s, SHAPE, "rank 0", t_in("sc", TN_F32, ""));
}

static void test_norms(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8"), c8 = t_in("c8", TN_F32, "8"), c7 = t_in("c7", TN_F32, "7"),
              img = t_in("img", TN_F32, "batch,8,h,w");
    IrValueId h8 = t_in("h8", TN_F16, "8");
    TnNormParams p = {.epsilon = 1e-5f, .axis = -1};
    EXPECT(NODE(layer_norm, &p, x, c8, c8), "float32[batch, seq, 8]");
    EXPECT(NODE(layer_norm, &p, x), "float32[batch, seq, 8]");
    FAILS(layer_norm, &p, SHAPE, "broadcast", x, c7, c8);
    FAILS(layer_norm, &p, TYPE, "same type", x, h8);
    EXPECT(NODE(rms_norm, &p, x, c8), "float32[batch, seq, 8]");
    TnNormParams nan = {.epsilon = -1, .axis = -1}, far = {.axis = 3};
    FAILS(layer_norm, &nan, SHAPE, "epsilon", x, c8);
    FAILS(layer_norm, &far, SHAPE, "axis 3", x, c8);
    IrValueId outs[2];
    t_node(TN_OP_add_layer_norm, &p, IDS(x, x, c8, c8, c8), 2, outs);
    EXPECT(outs[1], "float32[batch, seq, 8]");
    t_fails(TN_OP_add_layer_norm, &p, IDS(x, img, c8, c8), 2, SHAPE, "rank 4", __LINE__);
    EXPECT(NODE(batch_norm, &p, img, c8, c8, c8, c8), "float32[batch, 8, h, w]");
    FAILS(batch_norm, &p, SHAPE, "channels", img, c8, c7, c8, c8);
    TnNormParams last = {.channels_last = 1};
    EXPECT(NODE(batch_norm, &last, t_in("nhwc", TN_F32, "batch,h,w,8"), c8, c8, c8, c8), "float32[batch, h, w, 8]");
    EXPECT(NODE(instance_norm, &p, img, c8, c8), "float32[batch, 8, h, w]");
    FAILS(instance_norm, &p, SHAPE, "channels", img, c7, c8);
    TnNormParams g = {.groups = 4};
    EXPECT(NODE(group_norm, &g, img, c8, c8), "float32[batch, 8, h, w]");
    g.groups = 3;
    FAILS(group_norm, &g, SHAPE, "groups", img, c8, c8);
    g.groups = 0;
    FAILS(group_norm, &g, SHAPE, "0 groups", img, c8, c8);
}

static void test_matmul(void **state) {
    (void)state;
    IrValueId a = t_in("a", TN_F32, "batch,12,seq,64"), b = t_in("b", TN_F32, "batch,12,64,seq"), w = t_in("w", TN_F32, "64,10"),
              v = t_in("v", TN_F32, "64");
    IrValueId bad = t_in("bad", TN_F32, "63,10"), i = t_in("i", TN_I64, "64,2"), sc = t_in("sc", TN_F32, "");
    EXPECT(NODE(matmul, NULL, a, b), "float32[batch, 12, seq, seq]");
    EXPECT(NODE(matmul, NULL, a, w), "float32[batch, 12, seq, 10]");
    EXPECT(NODE(matmul, NULL, a, v), "float32[batch, 12, seq]");
    EXPECT(NODE(matmul, NULL, v, w), "float32[10]");
    EXPECT(NODE(matmul, NULL, v, v), "float32[]");
    EXPECT(NODE(matmul, NULL, t_in("p", TN_F32, "12,5,64"), a = t_in("q", TN_F32, "batch,1,64,3")), "float32[batch, 12, 5, 3]");
    FAILS(matmul, NULL, SHAPE, "inner dimensions", a, bad);
    FAILS(matmul, NULL, TYPE, "same type", v, i);
    FAILS(matmul, NULL, SHAPE, "rank 0", v, sc);
    IrValueId qa = t_in("qa", TN_U8, "batch,seq,64"), qb = t_in("qb", TN_I8, "64,10"), za = t_in("za", TN_U8, "");
    IrValueId zb = t_in("zb", TN_I8, "10");
    IrValueId z1 = t_in("z1", TN_U8, "1"), z9 = t_in("z9", TN_I8, "9"), zs = t_in("zs", TN_U8, "seq");
    EXPECT(NODE(matmul_integer, NULL, qa, qb), "int32[batch, seq, 10]");
    EXPECT(NODE(matmul_integer, NULL, qa, qb, za, zb), "int32[batch, seq, 10]");
    EXPECT(NODE(matmul_integer, NULL, qa, qb, z1), "int32[batch, seq, 10]");
    FAILS(matmul_integer, NULL, SHAPE, "zero points and columns", qa, qb, za, z9);
    FAILS(matmul_integer, NULL, SHAPE, "must be one number", qa, qb, zs);
    FAILS(matmul_integer, NULL, TYPE, "same type", qa, qb, zb);
    FAILS(matmul_integer, NULL, TYPE, "", a, qb);
    TnConvParams cp = {.n_spatial = 2, .group = 1, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}};
    IrValueId qx = t_in("qx", TN_U8, "batch,3,h,w"), qw = t_in("qw", TN_I8, "10,3,3,3");
    EXPECT(NODE(conv_integer, &cp, qx, qw, za, zb), "int32[batch, 10, h - 2, w - 2]");
    FAILS(conv_integer, &cp, SHAPE, "zero points and output channels", qx, qw, za, z9);
    FAILS(conv_integer, &cp, SHAPE, "must be one number", qx, qw, zs);
    cp.act = TN_ACT_RELU;
    FAILS(conv_integer, &cp, SHAPE, "no activation", qx, qw);
    TnGemmParams g = {.alpha = 1, .beta = 1};
    IrValueId x = t_in("x", TN_F32, "batch,seq,64"), bias = t_in("bias", TN_F32, "10"), res = t_in("res", TN_F32, "batch,seq,10");
    EXPECT(NODE(gemm, &g, x, w), "float32[batch, seq, 10]");
    EXPECT(NODE(gemm, &g, x, w, bias, res), "float32[batch, seq, 10]");
    FAILS(gemm, &g, SHAPE, "inner dimensions", x, bad);
    FAILS(gemm, &g, SHAPE, "broadcast", x, w, v);
    FAILS(gemm, &g, SHAPE, "residual", x, w, bias, x);
    FAILS(gemm, &g, SHAPE, "rank 3", x, res);
    g.trans_b = 1;
    EXPECT(NODE(gemm, &g, x, t_in("wt", TN_F32, "10,64")), "float32[batch, seq, 10]");
    g.trans_a = 1;
    FAILS(gemm, &g, SHAPE, "rank 3", x, w);
    g.trans_b = 0;
    EXPECT(NODE(gemm, &g, t_in("at", TN_F32, "64,m"), w), "float32[m, 10]");
    g.act = 99;
    FAILS(gemm, &g, GRAPH, "activation", w, w);
}

static void test_einsum(void **state) {
    (void)state;
    IrValueId a = t_in("a", TN_F32, "batch,12,s,64"), b = t_in("b", TN_F32, "batch,12,t,64"), m = t_in("m", TN_F32, "3,4");
    TnEinsumParams p = {.equation = "bhid,bhjd->bhij"};
    EXPECT(NODE(einsum, &p, a, b), "float32[batch, 12, s, t]");
    TnEinsumParams dots = {.equation = "...ij->...ji"};
    EXPECT(NODE(einsum, &dots, a), "float32[batch, 12, 64, s]");
    TnEinsumParams sum = {.equation = "ij->"}, diag = {.equation = "ii->i"};
    EXPECT(NODE(einsum, &sum, m), "float32[]");
    FAILS(einsum, &diag, SHAPE, "letter 'i'", m);
    static const char *const bad[] = {"bhid,bhjd",     "bhid->b",        "bh1d,bhjd->b",   "bhid,bhjd->bz",
                                      "bhid,bhjd->bb", "bhid,bhjd,x->b", "..bhid,bhjd->b", "ij,jk->ik"};
    for (uint32_t i = 0; i < TN_COUNT(bad); i++) {
        TnEinsumParams q = {{0}};
        snprintf(q.equation, sizeof q.equation, "%s", bad[i]);
        FAILS(einsum, &q, GRAPH, "equation", a, b);
    }
    TnEinsumParams endless;
    memset(&endless, 'a', sizeof endless);
    FAILS(einsum, &endless, GRAPH, "equation", a, b);
}

static void test_attention(void **state) {
    (void)state;
    IrValueId q = t_in("q", TN_F32, "batch,s,1536"), k = t_in("k", TN_F32, "batch,12,64,t"), v = t_in("v", TN_F32, "batch,12,t,64");
    IrValueId bias = t_in("bias", TN_F32, "1,12,s,t"), five = t_in("five", TN_F32, "5,5");
    TnAttentionParams p = {.heads = 12,
                           .kv_heads = 12,
                           .d_qk = 64,
                           .d_v = 64,
                           .scale = 0.125f,
                           .k_layout = TN_LAYOUT_BHDS,
                           .v_layout = TN_LAYOUT_BHSD,
                           .q_off = 768};
    EXPECT(NODE(attention, &p, q, k, v, bias), "float32[batch, s, 768]");
    p.out_layout = TN_LAYOUT_BHSD;
    EXPECT(NODE(attention, &p, q, k, v), "float32[batch, 12, s, 64]");
    p.q_off = 769;
    FAILS(attention, &p, SHAPE, "do not fit", q, k, v);
    p.q_off = 0;
    p.kv_heads = 5;
    FAILS(attention, &p, SHAPE, "heads", q, k, v);
    p.kv_heads = 6;
    FAILS(attention, &p, SHAPE, "heads", q, k, v);
    p.kv_heads = 12;
    p.out_layout = TN_LAYOUT_BHDS;
    FAILS(attention, &p, SHAPE, "output", q, k, v);
    p.out_layout = 0;
    p.v_layout = TN_LAYOUT_BHDS;
    FAILS(attention, &p, SHAPE, "layout", q, k, v);
    (void)five;
    IrValueId rows = t_in("rows", TN_F32, "r,768"), cache = t_in("cache", TN_F32, "lanes,pos,256"), lanes = t_in("l", TN_I32, "r,pos"),
              len = t_in("n", TN_I32, "1");
    TnAttentionStepParams sp = {.heads = 8, .d_head = 32, .q_off = 512};
    EXPECT(NODE(attention_step, &sp, rows, cache, cache, lanes, len), "float32[r, 256]");
    sp.q_off = 513;
    FAILS(attention_step, &sp, SHAPE, "do not fit", rows, cache, cache, lanes, len);
    TnCacheAppendParams cp = {.off = 256, .width = 256};
    IrValueId where = t_in("where", TN_I32, "r,2");
    assert_int_equal(tni_ir_node_add(tm, tg, TN_OP_cache_append, NULL, &cp, IDS(rows, cache, where), NULL, 0, NULL, &terr), TN_OK);
    assert_int_equal(tni_shape_infer_node(tm, tg, tg->n_nodes - 1, &terr), TN_OK);
    cp.width = 255;
    t_fails(TN_OP_cache_append, &cp, IDS(rows, cache, where), 0, SHAPE, "width", __LINE__);
}

static TnConvParams conv2(int32_t k, int32_t s, int32_t pad) {
    return (TnConvParams){.n_spatial = 2, .group = 1, .kernel = {k, k}, .stride = {s, s}, .dilation = {1, 1}, .pads = {pad, pad, pad, pad}};
}

static void test_conv(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,4,h,w"), w3 = t_in("w3", TN_F32, "8,4,3,3"), dw = t_in("dw", TN_F32, "4,1,3,3"),
              b8 = t_in("b8", TN_F32, "8");
    IrValueId small = t_in("small", TN_F32, "1,4,2,2"), x3 = t_in("x3", TN_F32, "batch,4,t,h,w"), w33 = t_in("w33", TN_F32, "8,4,3,3,3");
    TnConvParams p = conv2(3, 1, 1);
    EXPECT(NODE(conv, &p, x, w3, b8), "float32[batch, 8, h, w]");
    EXPECT(NODE(conv, &p, x, w3, b8, t_in("res", TN_F32, "batch,8,h,w")), "float32[batch, 8, h, w]");
    p = conv2(3, 2, 1);
    EXPECT(NODE(conv, &p, x, w3), "float32[batch, 8, (h + 1)//2, (w + 1)//2]");
    p = conv2(3, 2, 0);
    p.auto_pad = TN_PAD_SAME_UPPER;
    EXPECT(NODE(conv, &p, x, w3), "float32[batch, 8, (h + 1)//2, (w + 1)//2]");
    p = conv2(3, 1, 1);
    p.group = 4;
    EXPECT(NODE(conv, &p, x, dw), "float32[batch, 4, h, w]");
    TnConvParams p3 = {
        .n_spatial = 3, .group = 1, .kernel = {3, 3, 3}, .stride = {1, 2, 2}, .dilation = {1, 1, 1}, .pads = {1, 1, 1, 1, 1, 1}};
    EXPECT(NODE(conv, &p3, x3, w33), "float32[batch, 8, t, (h + 1)//2, (w + 1)//2]");
    p = conv2(3, 1, 1);
    p.channels_last = 1;
    EXPECT(NODE(conv, &p, t_in("nhwc", TN_F32, "batch,h,w,4"), w3), "float32[batch, h, w, 8]");
    p = conv2(3, 1, 0);
    FAILS(conv, &p, SHAPE, "larger than the padded input", small, w3);
    p.group = 0;
    FAILS(conv, &p, SHAPE, "group 0", x, w3);
    p.group = 3;
    FAILS(conv, &p, SHAPE, "channels", x, w3);
    p = conv2(3, 0, 0);
    FAILS(conv, &p, SHAPE, "stride 0", x, w3);
    p = conv2(3, 1, -1);
    FAILS(conv, &p, SHAPE, "pads -1", x, w3);
    p = conv2(5, 1, 0);
    FAILS(conv, &p, SHAPE, "kernel's size", x, w3);
    p = conv2(3, 1, 0);
    p.dilation[1] = 0;
    FAILS(conv, &p, SHAPE, "dilation 0", x, w3);
    p = conv2(3, 1, 1);
    FAILS(conv, &p, SHAPE, "rank 5", x3, w33);
    FAILS(conv, &p, SHAPE, "bias", x, w3, t_in("b7", TN_F32, "7"));
    p.n_spatial = 4;
    FAILS(conv, &p, SHAPE, "4 spatial axes", x, w3);
    p = conv2(3, 1, 1);
    p.dilation[0] = INT32_MAX;
    FAILS(conv, &p, SHAPE, "larger than", small, w3);
}

static void test_conv_transpose(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,4,h,w"), w = t_in("w", TN_F32, "4,6,2,2");
    TnConvParams p = conv2(2, 2, 0);
    EXPECT(NODE(conv_transpose, &p, x, w), "float32[batch, 6, h*2, w*2]");
    p.group = 2;
    EXPECT(NODE(conv_transpose, &p, x, w), "float32[batch, 12, h*2, w*2]");
    p.output_pads[0] = 1;
    EXPECT(NODE(conv_transpose, &p, x, w), "float32[batch, 12, h*2 + 1, w*2]");
    p.output_pads[0] = 2;
    FAILS(conv_transpose, &p, SHAPE, "output padding", x, w);
    p.output_pads[0] = 0;
    p.group = 3;
    FAILS(conv_transpose, &p, SHAPE, "group 3", x, w);
    p.group = 1;
    p.output_shape[0] = p.output_shape[1] = 9;
    EXPECT(NODE(conv_transpose, &p, x, w), "float32[batch, 6, 9, 9]");
    TnConvParams e = conv2(2, 1, 1);
    FAILS(conv_transpose, &e, SHAPE, "empty", t_in("one", TN_F32, "1,4,1,1"), w);
}

static void test_pool(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,4,h,w"), five = t_in("five", TN_F32, "1,4,5,6"), outs[2];
    TnPoolParams p = {.kind = TN_POOL_MAX, .n_spatial = 2, .kernel = {3, 3}, .stride = {2, 2}, .dilation = {1, 1}, .pads = {1, 1, 1, 1}};
    t_node(TN_OP_pool, &p, IDS(x), 2, outs);
    EXPECT(outs[0], "float32[batch, 4, (h + 1)//2, (w + 1)//2]");
    EXPECT(outs[1], "int64[batch, 4, (h + 1)//2, (w + 1)//2]");
    TnPoolParams c = {.kind = TN_POOL_AVG, .n_spatial = 2, .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}, .ceil_mode = 1};
    EXPECT(NODE(pool, &c, five), "float32[1, 4, 3, 3]");
    EXPECT(NODE(pool, &c, x), "float32[batch, 4, (h + 1)//2, (w + 1)//2]");
    c.kernel[0] = 1; /* the last window would start outside */
    c.stride[0] = 3;
    EXPECT(NODE(pool, &c, five), "float32[1, 4, 2, 3]");
    TnPoolParams g = {.kind = TN_POOL_AVG, .n_spatial = 2, .global = 1};
    EXPECT(NODE(pool, &g, x), "float32[batch, 4, 1, 1]");
    g.channels_last = 1;
    EXPECT(NODE(pool, &g, t_in("nhwc", TN_F32, "batch,h,w,4")), "float32[batch, 1, 1, 4]");
    t_fails(TN_OP_pool, &c, IDS(x), 2, GRAPH, "second output", __LINE__);
    p.pads[0] = 3;
    FAILS(pool, &p, SHAPE, "smaller than the window", x);
    p.pads[0] = 1;
    p.kernel[1] = 0;
    FAILS(pool, &p, SHAPE, "kernel 0", x);
    p.kernel[1] = 3;
    p.kind = 9;
    FAILS(pool, &p, SHAPE, "kind 9", x);
    TnPoolParams lp = c;
    lp.kind = TN_POOL_LP;
    FAILS(pool, &lp, SHAPE, "kind 2", x);
    FAILS(pool, &c, TYPE, "int64", t_in("i", TN_I64, "1,1,4,4"));
}

static void test_resize(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "1,3,10,w");
    TnResizeParams p = {.mode = TN_RESIZE_LINEAR};
    float s[4] = {1, 1, 0.7f, 1}, neg[4] = {1, 1, -1, 1};
    EXPECT(NODE(resize, &p, x, NONE, t_floats(s, 4)), "float32[1, 3, 7, w]"); /* as binary32 rounds it */
    FAILS(resize, &p, SHAPE, "scale of axis 2", x, NONE, t_floats(neg, 4));
    FAILS(resize, &p, SHAPE, "number of scales", x, NONE, t_floats(s, 3));
    FAILS(resize, &p, GRAPH, "exactly one", x, NONE, t_floats(s, 4), VEC(1, 3, 4, 4));
    FAILS(resize, &p, GRAPH, "exactly one", x);
    FAILS(resize, &p, SHAPE, "would be -4", x, NONE, NONE, VEC(1, 3, -4, 4));
    TnResizeParams k = {.keep_aspect = 1, .n_axes = 2, .axes = {2, 3}};
    EXPECT(NODE(resize, &k, t_in("y", TN_F32, "1,3,10,20"), NONE, NONE, VEC(30, 30)), "float32[1, 3, 15, 30]");
    k.keep_aspect = 2;
    EXPECT(NODE(resize, &k, t_in("z", TN_F32, "1,3,10,20"), NONE, NONE, VEC(30, 30)), "float32[1, 3, 30, 60]");
    k.axes[1] = 2;
    FAILS(resize, &k, SHAPE, "twice", x, NONE, NONE, VEC(30, 30));
    k.axes[1] = 9;
    FAILS(resize, &k, SHAPE, "axis 9", x, NONE, NONE, VEC(30, 30));
    p.coord = TN_COORD_TF_CROP_AND_RESIZE;
    FAILS(resize, &p, GRAPH, "roi", x, NONE, t_floats(s, 4));
    p.mode = 8;
    FAILS(resize, &p, GRAPH, "mode", x, NONE, t_floats(s, 4));
    TnResizeParams q = {.mode = TN_RESIZE_NEAREST}; /* a scale that is no short fraction: data dependent, bounded */
    float odd[4] = {1, 1, 1, 1.23456f};
    EXPECT(NODE(resize, &q, x, NONE, t_floats(odd, 4)), "float32[1, 3, 10, u0]");
}

static void test_space_and_roi(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,8,h,w"), y = t_in("y", TN_F32, "batch,8,6,4");
    TnSpaceDepthParams p = {.block = 2};
    EXPECT(NODE(depth_to_space, &p, x), "float32[batch, 2, h*2, w*2]");
    EXPECT(NODE(space_to_depth, &p, y), "float32[batch, 32, 3, 2]");
    EXPECT(NODE(space_to_depth, &p, NODE(depth_to_space, &p, x)), "float32[batch, 8, h, w]");
    p.block = 3;
    FAILS(depth_to_space, &p, SHAPE, "multiple of 9", x);
    FAILS(space_to_depth, &p, SHAPE, "multiple of 3", y);
    p.block = 0;
    FAILS(depth_to_space, &p, SHAPE, "block size 0", x);
    p.block = UINT32_MAX;
    FAILS(space_to_depth, &p, SHAPE, "block size", x);
    TnRoiAlignParams r = {.output_height = 7, .output_width = 5};
    IrValueId rois = t_in("rois", TN_F32, "n,4"), idx = t_in("idx", TN_I64, "n");
    EXPECT(NODE(roi_align, &r, x, rois, idx), "float32[n, 8, 7, 5]");
    r.output_height = 0;
    FAILS(roi_align, &r, SHAPE, "output 0", x, rois, idx);
    FAILS(roi_align, &r, SHAPE, "columns", x, t_in("r5", TN_F32, "n,5"), idx);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, shape_setup, shape_teardown)
    const struct CMUnitTest tests[] = {
        T(test_pointwise), T(test_broadcast_choice), T(test_pointwise_code), T(test_quantize), T(test_reduce),         T(test_norms),
        T(test_matmul),    T(test_einsum),           T(test_attention),      T(test_conv),     T(test_conv_transpose), T(test_pool),
        T(test_resize),    T(test_space_and_roi),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
