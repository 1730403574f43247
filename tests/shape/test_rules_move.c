/* SPDX-License-Identifier: Apache-2.0
 *
 * Rules of operators that move, index and make data: what they give, what they refuse. (Symbols against numbers: see support.c.) */
#include "support.h"

#define SHAPE TN_ERR_SHAPE
#define TYPE TN_ERR_TYPE
#define GRAPH TN_ERR_GRAPH
#define UNSUP TN_ERR_UNSUPPORTED

static void test_reshape(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,6,4"), c = t_in("c", TN_F32, "2,3,4"), e = t_in("e", TN_F32, "0,4");
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE};
    EXPECT(op_reshape(c, VEC(4, -1)), "float32[4, 6]");
    EXPECT(op_reshape(c, VEC(0, 0, 2, 2)), "float32[2, 3, 2, 2]");
    EXPECT(op_reshape(x, VEC(-1, 8)), "float32[batch*3, 8]");
    FAILS(reshape, &p, SHAPE, "numbers of elements", c, t_const(TN_I64, 1, (int64_t[]){1})); /* [0] copies the 2 */
    FAILS(reshape, &p, SHAPE, "no solution", c, VEC(5, -1));
    FAILS(reshape, &p, SHAPE, "numbers of elements", c, VEC(5, 5));
    FAILS(reshape, &p, SHAPE, "more than one -1", c, VEC(-1, -1));
    FAILS(reshape, &p, SHAPE, "-2", c, VEC(-2, 4));
    FAILS(reshape, &p, SHAPE, "is 0 (copy)", c, VEC(2, 3, 4, 0));
    FAILS(reshape, &p, SHAPE, "9 entries", c, VEC(1, 1, 1, 1, 1, 1, 1, 1, 24));
    FAILS(reshape, &p, TYPE, "float32", c, c);
    FAILS(reshape, &p, SHAPE, "no solution", e, VEC(0, -1));
    FAILS(reshape, &p, UNSUP, "rank", x, t_in("dyn", TN_I64, "n"));
    TnReshapeParams az = {.kind = TN_RESHAPE_SHAPE, .allowzero = 1};
    EXPECT(NODE(reshape, &az, e, VEC(3, 0)), "float32[3, 0]");
    TnReshapeParams f = {.kind = TN_RESHAPE_FLATTEN, .axis = 1};
    EXPECT(NODE(reshape, &f, x), "float32[batch, 24]");
    f.axis = -1;
    EXPECT(NODE(reshape, &f, x), "float32[batch*6, 4]");
    f.axis = 0;
    EXPECT(NODE(reshape, &f, x), "float32[1, batch*24]");
    f.axis = 4;
    FAILS(reshape, &f, SHAPE, "axis 4", x);
    TnReshapeParams s = {.kind = TN_RESHAPE_SQUEEZE, .n_axes = 2, .axes = {-1, 0}};
    EXPECT(NODE(reshape, &s, t_in("s", TN_F32, "1,n,1")), "float32[n]");
    FAILS(reshape, &s, SHAPE, "squeezed", x);
    s.n_axes = 0;
    EXPECT(NODE(reshape, &s, t_in("s1", TN_F32, "1,3,1")), "float32[3]");
    FAILS(reshape, &s, UNSUP, "explicit axes", x);
    TnReshapeParams u = {.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 2, .axes = {-1, 0}};
    EXPECT(NODE(reshape, &u, x), "float32[1, batch, 6, 4, 1]");
    u.axes[0] = 9;
    FAILS(reshape, &u, SHAPE, "axis 9", x);
    u.n_axes = 8;
    FAILS(reshape, &u, SHAPE, "more than 8", x);
    u.kind = 12;
    FAILS(reshape, &u, GRAPH, "kind 12", x);
}

static void test_move(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8"), c = t_in("c", TN_F32, "4,6"), y = t_in("y", TN_F32, "batch,2,8"),
              i = t_in("i", TN_I64, "batch,2,8");
    EXPECT(NODE(identity, NULL, x), "float32[batch, seq, 8]");
    TnTransposeParams t = {.n = 3, .perm = {2, 0, 1}};
    EXPECT(NODE(transpose, &t, x), "float32[8, batch, seq]");
    t.perm[0] = 0;
    FAILS(transpose, &t, SHAPE, "repeated", x);
    t.perm[0] = 200;
    FAILS(transpose, &t, SHAPE, "out of range", x);
    t.n = 2;
    FAILS(transpose, &t, SHAPE, "entries", x);
    TnAxisParams a = {.axis = -2};
    EXPECT(NODE(concat, &a, x, y, x), "float32[batch, seq*2 + 2, 8]");
    FAILS(concat, &a, TYPE, "same type", y, i);
    FAILS(concat, &a, SHAPE, "rank 2", x, c);
    FAILS(concat, &a, SHAPE, "off the axis", y, t_in("z", TN_F32, "batch,2,9"));
    TnAxisParams far = {.axis = 3};
    FAILS(concat, &far, SHAPE, "axis 3", x);
    IrValueId outs[3];
    TnAxisParams s = {.axis = 1};
    t_node(TN_OP_split, &s, IDS(c), 3, outs);
    EXPECT(outs[2], "float32[4, 2]");
    t_node(TN_OP_split, &s, IDS(c, VEC(1, 2, 3)), 3, outs);
    EXPECT(outs[2], "float32[4, 3]");
    t_node(TN_OP_split, &s, IDS(x), 3, outs);
    EXPECT(outs[0], "float32[batch, (seq + 2)//3, 8]");
    t_fails(TN_OP_split, &s, IDS(c, VEC(1, 2, 4)), 3, SHAPE, "sum of the sizes", __LINE__);
    t_fails(TN_OP_split, &s, IDS(c, VEC(1, -2, 7)), 3, SHAPE, "-2 elements", __LINE__);
    t_fails(TN_OP_split, &s, IDS(c, VEC(3, 3)), 3, SHAPE, "number of sizes", __LINE__);
    TnAxisParams n4 = {.axis = 1, .n = 4};
    t_fails(TN_OP_split, &n4, IDS(c), 3, SHAPE, "4 parts", __LINE__);
    EXPECT(NODE(expand, NULL, c, VEC(3, 1, 6)), "float32[3, 4, 6]");
    FAILS(expand, NULL, SHAPE, "do not broadcast", c, VEC(5, 6));
    FAILS(expand, NULL, SHAPE, "-3", c, VEC(-3, 6));
    FAILS(expand, NULL, UNSUP, "rank", c, t_in("dyn", TN_I64, "k"));
    EXPECT(NODE(tile, NULL, x, VEC(1, 2, 3)), "float32[batch, seq*2, 24]");
    FAILS(tile, NULL, SHAPE, "repeats", x, VEC(1, 2));
    FAILS(tile, NULL, SHAPE, "repeat 1 is -2", x, VEC(1, -2, 1));
    FAILS(tile, NULL, SHAPE, "address space", c, VEC(INT64_MAX / 8, 100));
}

static void test_slice_pad(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,10,seq");
    EXPECT(NODE(slice, NULL, x, VEC(2), VEC(5), VEC(1)), "float32[batch, 3, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(-3), VEC(100), VEC(1)), "float32[batch, 3, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(8), VEC(2), VEC(1)), "float32[batch, 0, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(0), VEC(INT64_MAX), VEC(1), VEC(3)), "float32[batch, 4, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(-1), VEC(INT64_MIN), VEC(1), VEC(-2)), "float32[batch, 5, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(7), VEC(2), VEC(1), VEC(-2)), "float32[batch, 3, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(0), VEC(1), VEC(-1)), "float32[batch, 10, 1]");
    EXPECT(NODE(slice, NULL, x, VEC(-1), VEC(INT64_MAX), VEC(2)), "float32[batch, 10, 1]");
    EXPECT(NODE(slice, NULL, x, VEC(1), VEC(INT64_MAX), VEC(2)), "float32[batch, 10, seq - 1]");
    EXPECT(NODE(slice, NULL, x, VEC(0), VEC(-1), VEC(2)), "float32[batch, 10, seq - 1]");
    EXPECT(NODE(slice, NULL, x, VEC(0), VEC(INT64_MAX), VEC(2), VEC(2)), "float32[batch, 10, (seq + 1)//2]");
    EXPECT(NODE(slice, NULL, x, VEC(1), VEC(INT64_MAX), VEC(2), VEC(2)), "float32[batch, 10, seq//2]");
    EXPECT(NODE(slice, NULL, x, VEC(-1), VEC(INT64_MIN), VEC(2), VEC(-1)), "float32[batch, 10, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(0, 0), VEC(1, 2)), "float32[1, 2, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(INT64_MIN), VEC(INT64_MAX), VEC(1), VEC(INT64_MAX)), "float32[batch, 1, seq]");
    EXPECT(NODE(slice, NULL, x, VEC(INT64_MAX), VEC(INT64_MIN), VEC(1), VEC(INT64_MIN)), "float32[batch, 1, seq]");
    NODE(slice, NULL, x, VEC(2), VEC(7), VEC(2));
    NODE(slice, NULL, x, VEC(-7), VEC(-2), VEC(2));
    FAILS(slice, NULL, SHAPE, "step of axis 1 is 0", x, VEC(0), VEC(5), VEC(1), VEC(0));
    FAILS(slice, NULL, SHAPE, "axis 3", x, VEC(0), VEC(5), VEC(3));
    FAILS(slice, NULL, SHAPE, "twice", x, VEC(0, 0), VEC(5, 5), VEC(1, -2));
    FAILS(slice, NULL, SHAPE, "lengths", x, VEC(0), VEC(5, 5), VEC(1));
    FAILS(slice, NULL, TYPE, "float32", x, x, x);
    FAILS(slice, NULL, UNSUP, "constants", x, VEC(0), VEC(5), t_in("ax", TN_I64, "1"));
    TnPadParams p = {.mode = TN_PADDING_CONSTANT};
    EXPECT(NODE(pad, &p, x, VEC(0, 1, 2, 0, 3, 4)), "float32[batch, 14, seq + 6]");
    EXPECT(NODE(pad, &p, x, VEC(0, -1, 0, 0, -2, 0), t_float(0)), "float32[batch, 7, seq]");
    EXPECT(NODE(pad, &p, x, VEC(5, 6), NONE, VEC(-1)), "float32[batch, 10, seq + 11]");
    FAILS(pad, &p, SHAPE, "number of pads", x, VEC(1, 1));
    FAILS(pad, &p, SHAPE, "would be", x, VEC(0, -8, 0, 0, -8, 0));
    FAILS(pad, &p, SHAPE, "overflows", x, VEC(0, INT64_MAX, 0, 0, 0, 0));
    FAILS(pad, &p, SHAPE, "axis 5", x, VEC(1, 1), NONE, VEC(5));
    FAILS(pad, &p, SHAPE, "twice", x, VEC(1, 1, 1, 1), NONE, VEC(1, -2));
    p.mode = TN_PADDING_REFLECT;
    FAILS(pad, &p, SHAPE, "cannot be padded", x, VEC(0, 10, 0, 0, 0, 0));
    p.mode = 7;
    FAILS(pad, &p, GRAPH, "mode 7", x, VEC(0, 10, 0, 0, 0, 0));
}

static void test_index(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "vocab,8"), ids = t_in("ids", TN_I64, "batch,seq"), c = t_in("c", TN_F32, "4,6"),
              f = t_in("f", TN_F32, "batch");
    TnAxisParams a = {.axis = 0}, last = {.axis = -1};
    EXPECT(NODE(gather, &a, x, ids), "float32[batch, seq, 8]");
    EXPECT(NODE(gather, &last, c, t_int(-6)), "float32[4]");
    FAILS(gather, &last, SHAPE, "index 6", c, t_int(6));
    FAILS(gather, &a, TYPE, "float32", x, f);
    TnAxisParams far = {.axis = 2};
    FAILS(gather, &far, SHAPE, "axis 2", x, ids);
    FAILS(gather, &a, SHAPE, "rank 9", t_in("r8", TN_F32, "1,1,1,1,1,1,1,1"), ids);
    EXPECT(NODE(gather_elements, &last, t_in("p", TN_F32, "batch,12"), ids), "float32[batch, seq]");
    FAILS(gather_elements, &last, SHAPE, "more indices", c, t_in("i2", TN_I64, "5,2"));
    FAILS(gather_elements, &last, SHAPE, "rank 1", c, VEC(0, 1));
    TnGatherNdParams g = {0};
    EXPECT(NODE(gather_nd, &g, x, t_in("i3", TN_I64, "n,2")), "float32[n]");
    EXPECT(NODE(gather_nd, &g, x, t_in("i4", TN_I64, "n,1")), "float32[n, 8]");
    g.batch_dims = 1;
    EXPECT(NODE(gather_nd, &g, t_in("b3", TN_F32, "batch,5,8"), t_in("i5", TN_I64, "batch,n,1")), "float32[batch, n, 8]");
    FAILS(gather_nd, &g, SHAPE, "expected 1 to 1", x, t_in("i6", TN_I64, "vocab,2"));
    FAILS(gather_nd, &g, UNSUP, "last dimension", x, ids);
    g.batch_dims = 9;
    FAILS(gather_nd, &g, SHAPE, "batch_dims 9", x, ids);
    TnScatterParams s = {.axis = 1};
    EXPECT(NODE(scatter_nd, &s, x, t_in("i7", TN_I64, "n,1"), t_in("u", TN_F32, "n,8")), "float32[vocab, 8]");
    FAILS(scatter_nd, &s, SHAPE, "updates", x, t_in("i8", TN_I64, "n,1"), t_in("u2", TN_F32, "n,7"));
    EXPECT(NODE(scatter_elements, &s, c, t_in("i9", TN_I64, "2,3"), t_in("u3", TN_F32, "2,3")), "float32[4, 6]");
    FAILS(scatter_elements, &s, SHAPE, "indices and updates", c, t_in("ia", TN_I64, "2,3"), t_in("u4", TN_F32, "2,4"));
    FAILS(scatter_elements, &s, TYPE, "same type", c, t_in("ib", TN_I64, "2,3"), t_in("u5", TN_I64, "2,3"));
    s.reduction = 9;
    FAILS(scatter_elements, &s, GRAPH, "reduction 9", c, t_in("ic", TN_I64, "2,3"), t_in("u6", TN_F32, "2,3"));
    TnAxisParams oh = {.axis = -1};
    IrValueId values = t_in("values", TN_F32, "2");
    EXPECT(NODE(one_hot, &oh, ids, t_int(64), values), "float32[batch, seq, 64]");
    oh.axis = 1;
    EXPECT(NODE(one_hot, &oh, ids, VEC(64), values), "float32[batch, 64, seq]");
    EXPECT(NODE(one_hot, &oh, ids, t_in("depth", TN_I64, ""), values), "float32[batch, u0, seq]");
    FAILS(one_hot, &oh, SHAPE, "depth is -1", ids, t_int(-1), values);
    FAILS(one_hot, &oh, SHAPE, "number of values", ids, t_int(3), f = t_in("v3", TN_F32, "3"));
    oh.axis = 3;
    FAILS(one_hot, &oh, SHAPE, "axis 3", ids, t_int(3), values);
    TnTriluParams tri = {.upper = 1};
    EXPECT(NODE(trilu, &tri, c, t_int(1)), "float32[4, 6]");
    FAILS(trilu, &tri, SHAPE, "rank 1", values);
    TnEyeLikeParams eye = {.dtype = TN_BOOL};
    EXPECT(NODE(eye_like, &eye, c), "bool[4, 6]");
    FAILS(eye_like, &eye, SHAPE, "rank 1", values);
}

static void test_dynamic(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,12"), outs[4];
    TnTopkParams t = {.axis = -1, .largest = 1};
    t_node(TN_OP_topk, &t, IDS(x, VEC(5)), 2, outs);
    EXPECT(outs[1], "int64[batch, 5]");
    t_fails(TN_OP_topk, &t, IDS(x, VEC(13)), 2, SHAPE, "k is 13", __LINE__);
    t_fails(TN_OP_topk, &t, IDS(x, VEC(-1)), 2, SHAPE, "k is -1", __LINE__);
    t.axis = 2;
    t_fails(TN_OP_topk, &t, IDS(x, VEC(1)), 2, SHAPE, "axis 2", __LINE__);
    EXPECT(NODE(nonzero, NULL, t_in("s", TN_BOOL, "")), "int64[1, u0]");
    TnCompressParams c = {.axis = 1};
    EXPECT(NODE(compress, &c, x, t_in("m", TN_BOOL, "7")), "float32[batch, u1]");
    assert_int_equal(tm->symbols[2].max, 7);
    c.flatten = 1;
    EXPECT(NODE(compress, &c, x, t_in("m2", TN_BOOL, "n")), "float32[u2]");
    FAILS(compress, &c, TYPE, "float32", x, x);
    TnUniqueParams u = {.flatten = 1};
    t_node(TN_OP_unique, &u, IDS(x), 4, outs);
    EXPECT(outs[0], "float32[u3]");
    EXPECT(outs[1], "int64[u3]");
    EXPECT(outs[2], "int64[batch*12]");
    EXPECT(outs[3], "int64[u3]");
    TnUniqueParams ua = {.axis = 1};
    t_node(TN_OP_unique, &ua, IDS(x), 4, outs);
    EXPECT(outs[0], "float32[batch, u4]");
    EXPECT(outs[2], "int64[12]");
    IrValueId boxes = t_in("boxes", TN_F32, "batch,100,4"), scores = t_in("scores", TN_F32, "batch,3,100");
    EXPECT(NODE(non_max_suppression, NULL, boxes, scores, VEC(10)), "int64[u5, 3]");
    char buf[64];
    assert_string_equal(tni_dim_str(buf, sizeof buf, tm->exprs, tm->symbols, tm->symbols[tm->n_symbols - 1].bound), "batch*30");
    FAILS(non_max_suppression, NULL, SHAPE, "numbers of boxes", boxes, t_in("s9", TN_F32, "batch,3,99"));
}

static void test_create(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8");
    TnShapeParams s = {.start = 1, .end = INT32_MAX}, neg = {.start = -2, .end = -1}, over = {.start = 5, .end = 100};
    CONTENTS(NODE(shape, &s, x), "<seq, 8>");
    CONTENTS(NODE(shape, &neg, x), "<seq>");
    EXPECT(NODE(shape, &over, x), "int64[0]");
    TnFillParams f = {.dtype = TN_F32};
    EXPECT(NODE(constant_of_shape, &f, VEC(2, 3)), "float32[2, 3]");
    EXPECT(NODE(constant_of_shape, &f, op_shape(x)), "float32[batch, seq, 8]");
    EXPECT(NODE(constant_of_shape, &f, t_const(TN_I64, 1, (int64_t[]){0})), "float32[]");
    FAILS(constant_of_shape, &f, SHAPE, "entry 1 of the shape is -3", VEC(2, -3));
    FAILS(constant_of_shape, &f, SHAPE, "9 entries", VEC(1, 1, 1, 1, 1, 1, 1, 1, 1));
    FAILS(constant_of_shape, &f, SHAPE, "address space", VEC(INT64_MAX, 2));
    f.dtype = TN_STRING;
    FAILS(constant_of_shape, &f, TYPE, "type 8", VEC(2, 3));
    EXPECT(NODE(range, NULL, t_int(10), t_int(0), t_int(-3)), "int64[4]");
    CONTENTS(NODE(range, NULL, t_int(10), t_int(0), t_int(-3)), "<10, 7, 4, 1>");
    EXPECT(NODE(range, NULL, t_int(3), t_int(1), t_int(1)), "int64[0]");
    EXPECT(NODE(range, NULL, t_float(0), t_float(1), t_float(0.1f)), "float32[10]");
    FAILS(range, NULL, SHAPE, "step is 0", t_int(0), t_int(5), t_int(0));
    FAILS(range, NULL, SHAPE, "not possible", t_float(0), t_float(5), t_float(0));
    FAILS(range, NULL, TYPE, "same type", t_int(0), t_float(5), t_int(1));
    TnDimsParams d = {.dtype = TN_I64, .rank = 1, .n = 2};
    d.dim[0] = tg->values[x].dims[0];
    d.dim[1] = tg->values[x].dims[2];
    CONTENTS(t_node(TN_OP_dims, &d, NULL, 0, 1, NULL), "<batch, 8>");
    d.dim[0] = 123456;
    t_fails(TN_OP_dims, &d, NULL, 0, 1, GRAPH, "no dimension", __LINE__);
    d.n = 99;
    t_fails(TN_OP_dims, &d, NULL, 0, 1, GRAPH, "not valid", __LINE__);
}

static void test_missing_operands(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "3"), unset = t_in("unset", TN_F32, "");
    tg->values[unset].rank = -1;
    TnBinaryParams b = {.fn = TN_BINARY_add};
    FAILS(binary, &b, GRAPH, "is required", x, NONE);
    FAILS(binary, &b, GRAPH, "wrong number", x);
    FAILS(binary, &b, SHAPE, "no known type or rank", x, unset);
    assert_int_equal(tni_shape_infer(tm, &terr), SHAPE);
    assert_non_null(strstr(terr.message, "unset"));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, shape_setup, shape_teardown)
    const struct CMUnitTest tests[] = {
        T(test_reshape), T(test_move), T(test_slice_pad), T(test_index), T(test_dynamic), T(test_create), T(test_missing_operands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
