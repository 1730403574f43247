/* SPDX-License-Identifier: Apache-2.0
 *
 * Symbolic contents through the patterns that exporters of PyTorch write for dynamic shapes. */
#include "support.h"

static void test_reshape_heads(void **state) {
    (void)state;
    /* x.view(batch, -1, 12, 64).transpose(1, 2) and back: x.view(x.shape[0], x.shape[1], -1) */
    IrValueId x = t_in("x", TN_F32, "batch,seq,768");
    IrValueId b = op_dim(x, 0), s = op_dim(x, 1);
    CONTENTS(op_shape(x), "<batch, seq, 768>");
    IrValueId in[4] = {b, VEC(-1), VEC(12), VEC(64)};
    IrValueId y = op_reshape(x, op_concat(in, 4, 0));
    EXPECT(y, "float32[batch, seq, 12, 64]");
    TnTransposeParams t = {.n = 4, .perm = {0, 2, 1, 3}};
    IrValueId z = NODE(transpose, &t, y);
    EXPECT(z, "float32[batch, 12, seq, 64]");
    IrValueId back[3] = {b, s, VEC(-1)};
    EXPECT(op_reshape(NODE(transpose, &t, z), op_concat(back, 3, 0)), "float32[batch, seq, 768]");
    EXPECT(op_reshape(z, VEC(0, -1, 0)), "float32[batch, 768, seq]");
    EXPECT(op_reshape(x, VEC(-1, 768)), "float32[batch*seq, 768]");
    EXPECT(op_reshape(op_reshape(x, VEC(-1, 768)), op_concat(in, 4, 0)), "float32[batch, seq, 12, 64]");
    EXPECT(op_reshape(x, VEC(-1)), "float32[batch*seq*768]");
    /* batch * heads */
    IrValueId bh[3] = {op_unsqueeze(op_binary(TN_BINARY_mul, op_pick(op_shape(x), 0), t_int(12)), 0), VEC(-1), VEC(64)};
    EXPECT(op_reshape(z, op_concat(bh, 3, 0)), "float32[batch*12, seq, 64]");
}

static void test_patches(void **state) {
    (void)state;
    /* conv 16/16 -> flatten -> transpose -> concat cls -> back to a grid by division */
    IrValueId x = t_in("x", TN_F32, "batch,3,height,width");
    int64_t wd[4] = {8, 3, 4, 4}, cd[3] = {1, 1, 8};
    TnConvParams c = {.n_spatial = 2, .group = 1, .kernel = {4, 4}, .stride = {4, 4}, .dilation = {1, 1}};
    IrValueId y = NODE(conv, &c, x, t_const(TN_F32, 4, wd));
    EXPECT(y, "float32[batch, 8, height//4, width//4]");
    IrValueId flat = op_reshape(y, VEC(0, 0, -1));
    EXPECT(flat, "float32[batch, 8, height//4*(width//4)]");
    TnTransposeParams t = {.n = 3, .perm = {0, 2, 1}};
    IrValueId seq = NODE(transpose, &t, flat), cls = t_const(TN_F32, 3, cd);
    IrValueId size[3] = {op_dim(x, 0), VEC(-1), VEC(-1)};
    IrValueId shape = op_concat(size, 3, 0);
    /* expand(cls, where(shape == -1, ones, shape)) */
    TnFillParams one = {.dtype = TN_I64, .value = {1}};
    IrValueId ones = NODE(constant_of_shape, &one, VEC(3));
    CONTENTS(ones, "<1, 1, 1>");
    IrValueId eq = op_binary(TN_BINARY_equal, shape, op_binary(TN_BINARY_mul, ones, t_int(-1)));
    IrValueId target = NODE(where, NULL, eq, ones, shape);
    CONTENTS(target, "<batch, 1, 1>");
    IrValueId wide = NODE(expand, NULL, cls, target);
    EXPECT(wide, "float32[batch, 1, 8]");
    IrValueId parts[2] = {wide, seq};
    IrValueId tokens = op_concat(parts, 2, 1);
    EXPECT(tokens, "float32[batch, height//4*(width//4) + 1, 8]");
    /* drop cls, fold to [batch, h, w, 8] with h = shape(y)[2] */
    IrValueId rest = NODE(slice, NULL, tokens, VEC(1), VEC(INT64_MAX), VEC(1), VEC(1));
    EXPECT(rest, "float32[batch, height//4*(width//4), 8]");
    IrValueId grid[4] = {op_dim(x, 0), op_dim(y, 2), op_dim(y, 3), VEC(-1)};
    EXPECT(op_reshape(rest, op_concat(grid, 4, 0)), "float32[batch, height//4, width//4, 8]");
    IrValueId nh[4] = {op_dim(x, 0), VEC(-1), op_dim(y, 3), VEC(8)};
    EXPECT(op_reshape(rest, op_concat(nh, 4, 0)), "float32[batch, height//4, width//4, 8]");
}

static void test_arange_mask(void **state) {
    (void)state;
    IrValueId ids = t_in("ids", TN_I64, "batch,seq");
    IrValueId n = op_pick(op_shape(ids), 1);
    IrValueId r = NODE(range, NULL, t_int(0), n, t_int(1));
    EXPECT(r, "int64[seq]");
    IrValueId f = NODE(range, NULL, t_float(0), op_cast(TN_F32, n), t_float(1));
    EXPECT(f, "float32[seq]");
    /* positions of a past: range(past, past + seq) */
    IrValueId past = t_in("past", TN_F32, "batch,8,past,32");
    IrValueId p = op_pick(op_shape(past), 2);
    EXPECT(NODE(range, NULL, p, op_binary(TN_BINARY_add, p, n), t_int(1)), "int64[seq]");
    IrValueId a = op_unsqueeze(r, 0), b = op_unsqueeze(r, 1);
    EXPECT(op_binary(TN_BINARY_less_equal, a, b), "bool[seq, seq]");
    /* position_ids buffer [1, 512] cut to seq, then expanded to [batch, seq] */
    int64_t d[2] = {1, 512};
    IrValueId cut = NODE(slice, NULL, t_const(TN_I64, 2, d), VEC(0), op_dim(ids, 1), VEC(1));
    EXPECT(cut, "int64[1, min(seq, 512)]");
    EXPECT(NODE(expand, NULL, cut, op_shape(ids)), "int64[batch, seq]");
    EXPECT(NODE(slice, NULL, ids, VEC(0), op_dim(ids, 1), VEC(1)), "int64[batch, seq]");
}

static void test_slice_to_512_within_range(void **state) {
    (void)state;
    IrValueId ids = t_in("ids", TN_I64, "batch,seq");
    int64_t d[2] = {1, 512};
    assert_int_equal(tni_shape_apply_ranges(tm, "seq=1:128:512", &terr), TN_OK);
    EXPECT(NODE(slice, NULL, t_const(TN_I64, 2, d), VEC(0), op_dim(ids, 1), VEC(1)), "int64[1, seq]");
}

static void test_window_padding(void **state) {
    (void)state;
    /* pad = (7 - h % 7) % 7, pads as [0,0,0,pad_r..], reshape to windows and back */
    IrValueId x = t_in("x", TN_F32, "batch,h,w,32");
    IrValueId seven = t_int(7), pads[8], z = VEC(0);
    IrValueId pad[2];
    for (int i = 0; i < 2; i++) {
        IrValueId rem = op_binary(TN_BINARY_mod, op_pick(op_shape(x), 1 + i), seven);
        pad[i] = op_unsqueeze(op_binary(TN_BINARY_mod, op_binary(TN_BINARY_sub, seven, rem), seven), 0);
    }
    for (int i = 0; i < 8; i++)
        pads[i] = i == 5 ? pad[0] : i == 6 ? pad[1] : z;
    TnPadParams pp = {.mode = TN_PADDING_CONSTANT};
    IrValueId y = NODE(pad, &pp, x, op_concat(pads, 8, 0));
    EXPECT(y, "float32[batch, (h + 6)//7*7, (w + 6)//7*7, 32]");
    IrValueId hp = op_pick(op_shape(y), 1), wp = op_pick(op_shape(y), 2);
    IrValueId wins[6] = {op_dim(x, 0), op_unsqueeze(op_binary(TN_BINARY_div, hp, seven), 0),
                         VEC(7),       op_unsqueeze(op_binary(TN_BINARY_div, wp, seven), 0),
                         VEC(7),       VEC(32)};
    IrValueId v = op_reshape(y, op_concat(wins, 6, 0));
    EXPECT(v, "float32[batch, (h + 6)//7, 7, (w + 6)//7, 7, 32]");
    TnTransposeParams t = {.n = 6, .perm = {0, 1, 3, 2, 4, 5}};
    IrValueId flat = op_reshape(NODE(transpose, &t, v), VEC(-1, 49, 32));
    EXPECT(flat, "float32[batch*((h + 6)//7)*((w + 6)//7), 49, 32]");
    /* b = windows / (hp * wp / 49) as exporters compute it */
    IrValueId b = op_binary(TN_BINARY_div, op_pick(op_shape(flat), 0),
                            op_binary(TN_BINARY_div, op_binary(TN_BINARY_div, op_binary(TN_BINARY_mul, hp, wp), seven), seven));
    IrValueId back[6] = {op_unsqueeze(b, 0),
                         op_unsqueeze(op_binary(TN_BINARY_div, hp, seven), 0),
                         op_unsqueeze(op_binary(TN_BINARY_div, wp, seven), 0),
                         VEC(7),
                         VEC(7),
                         VEC(-1)};
    EXPECT(op_reshape(flat, op_concat(back, 6, 0)), "float32[batch, (h + 6)//7, (w + 6)//7, 7, 7, 32]");
    IrValueId whole = op_reshape(flat, op_concat((IrValueId[]){op_dim(x, 0), op_dim(y, 1), op_dim(y, 2), VEC(-1)}, 4, 0));
    EXPECT(whole, "float32[batch, (h + 6)//7*7, (w + 6)//7*7, 32]");
    /* x[:, :h, :w] takes the padding away again */
    IrValueId ends[2] = {op_dim(x, 1), op_dim(x, 2)};
    EXPECT(NODE(slice, NULL, whole, VEC(0, 0), op_concat(ends, 2, 0), VEC(1, 2)), "float32[batch, h, w, 32]");
}

static void test_ts_pad(void **state) {
    (void)state;
    /* TorchScript's F.pad: concat(pads, zeros) -> reshape [-1, 2] -> reverse -> transpose -> reshape [-1] -> cast */
    IrValueId x = t_in("x", TN_F32, "batch,3,h,w");
    IrValueId pr = op_dim(x, 2);
    IrValueId list[4] = {VEC(0), pr, VEC(1), VEC(2)};
    TnFillParams zero = {.dtype = TN_I64};
    IrValueId zeros = NODE(constant_of_shape, &zero, VEC(4));
    IrValueId all[2] = {op_concat(list, 4, 0), zeros};
    IrValueId m = op_reshape(op_concat(all, 2, 0), VEC(-1, 2));
    EXPECT(m, "int64[4, 2]");
    IrValueId rev = NODE(slice, NULL, m, VEC(-1), VEC(INT64_MIN), VEC(0), VEC(-1));
    EXPECT(rev, "int64[4, 2]");
    TnTransposeParams t = {.n = 2, .perm = {1, 0}};
    IrValueId pads = op_cast(TN_I64, op_reshape(NODE(transpose, &t, rev), VEC(-1)));
    CONTENTS(pads, "<0, 0, 1, 0, 0, 0, 2, h>");
    TnPadParams pp = {.mode = TN_PADDING_CONSTANT};
    EXPECT(NODE(pad, &pp, x, pads), "float32[batch, 3, h + 3, h + w]");
}

static void test_resize_scale(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,3,h,w");
    TnResizeParams rp = {.mode = TN_RESIZE_LINEAR, .nearest = TN_NEAREST_FLOOR};
    float two[4] = {1, 1, 2, 2}, half[4] = {1, 1, 0.5f, 1.5f};
    EXPECT(NODE(resize, &rp, x, NONE, t_floats(two, 4)), "float32[batch, 3, h*2, w*2]");
    EXPECT(NODE(resize, &rp, x, NONE, t_floats(half, 4)), "float32[batch, 3, h//2, w + w//2]");
    /* interpolate(scale_factor=2): floor(cast(h) * 2.0) as int64, concat with batch and channels */
    IrValueId side[2];
    for (int i = 0; i < 2; i++) {
        IrValueId f = op_cast(TN_F32, op_pick(op_shape(x), 2 + i));
        side[i] = op_unsqueeze(op_cast(TN_I64, op_unary(TN_UNARY_floor, op_binary(TN_BINARY_mul, f, t_float(i == 0 ? 2.0f : 0.25f)))), 0);
    }
    IrValueId sizes[3] = {NODE(slice, NULL, op_shape(x), VEC(0), VEC(2), VEC(0)), side[0], side[1]};
    CONTENTS(sizes[0], "<batch, 3>");
    EXPECT(NODE(resize, &rp, x, NONE, NONE, op_concat(sizes, 3, 0)), "float32[batch, 3, h*2, w//4]");
    TnResizeParams sub = rp;
    sub.n_axes = 2;
    sub.axes[0] = -1;
    sub.axes[1] = 2;
    EXPECT(NODE(resize, &sub, x, NONE, NONE, VEC(7, 9)), "float32[batch, 3, 9, 7]");
}

static void test_contents_arithmetic(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,12");
    IrValueId s = op_pick(op_shape(x), 1), b = op_pick(op_shape(x), 0);
    CONTENTS(op_unary(TN_UNARY_neg, s), "<seq*(-1)>");
    CONTENTS(op_binary(TN_BINARY_div, s, t_int(2)), "<seq//2>");
    CONTENTS(op_binary(TN_BINARY_div, op_unary(TN_UNARY_neg, s), t_int(2)), "<seq//2*(-1)>");
    CONTENTS(op_binary(TN_BINARY_mod, s, t_int(8)), "<seq - seq//8*8>");
    CONTENTS(op_binary(TN_BINARY_max, s, t_int(4)), "<max(seq, 4)>");
    CONTENTS(op_binary(TN_BINARY_less, s, t_int(1)), "<0>");
    CONTENTS(op_binary(TN_BINARY_greater_equal, s, t_int(1)), "<1>");
    CONTENTS(op_binary(TN_BINARY_equal, s, b), "<batch == seq>");
    CONTENTS(op_cast(TN_BOOL, s), "<1>");
    CONTENTS(op_cast(TN_I32, s), "<seq>");
    CONTENTS(op_cast(TN_I8, s), "");
    CONTENTS(op_cast(TN_I64, op_unary(TN_UNARY_ceil, op_binary(TN_BINARY_div, op_cast(TN_F32, s), t_float(2)))), "<(seq + 1)//2>");
    CONTENTS(op_cast(TN_I64, op_unary(TN_UNARY_sqrt, op_cast(TN_F32, s))), "");
    TnReduceParams prod = {.fn = TN_REDUCE_prod, .n_axes = 1};
    CONTENTS(NODE(reduce, &prod, op_shape(x)), "<batch*seq*12>");
    prod.keepdims = 1;
    CONTENTS(NODE(reduce, &prod, op_shape(x)), "<batch*seq*12>");
    EXPECT(NODE(reduce, &prod, op_shape(x)), "int64[1]");
    CONTENTS(NODE(size, NULL, x), "<batch*seq*12>");
    CONTENTS(NODE(tile, NULL, op_dim(x, 1), VEC(3)), "<seq, seq, seq>");
    CONTENTS(NODE(expand, NULL, op_dim(x, 1), VEC(2)), "<seq, seq>");
    TnAxisParams sp = {.axis = 0};
    IrValueId parts[2];
    t_node(TN_OP_split, &sp, IDS(op_shape(x), VEC(1, 2)), 2, parts);
    CONTENTS(parts[0], "<batch>");
    CONTENTS(parts[1], "<seq, 12>");
    CONTENTS(NODE(slice, NULL, op_shape(x), VEC(-1), VEC(INT64_MIN), VEC(0), VEC(-1)), "<12, seq, batch>");
    CONTENTS(NODE(clip, NULL, s, t_int(1), t_int(INT64_MAX)), "<min(seq, 9223372036854775807)>");
    CONTENTS(op_binary(TN_BINARY_mul, t_int(INT64_MAX), t_int(2)), ""); /* wraps: not followed */
}

static void test_data_dependent(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq");
    IrValueId nz = NODE(nonzero, NULL, x);
    EXPECT(nz, "int64[2, u0]");
    assert_true(tm->symbols[2].bound != TN_DIM_NONE);
    IrValueId k = t_in("k", TN_I64, "1");
    TnTopkParams tp = {.axis = -1, .largest = 1};
    IrValueId outs[2];
    t_node(TN_OP_topk, &tp, IDS(x, k), 2, outs);
    EXPECT(outs[0], "float32[batch, u1]");
    EXPECT(outs[1], "int64[batch, u1]");
    IrValueId start = t_in("start", TN_I64, "1");
    EXPECT(NODE(slice, NULL, x, start, VEC(INT64_MAX), VEC(1)), "float32[batch, u2]");
    EXPECT(NODE(range, NULL, t_int(0), op_squeeze(start, 0), t_int(1)), "int64[u3]");
    IrValueId shape = t_in("shape", TN_I64, "3");
    EXPECT(op_reshape(x, shape), "float32[u4, u5, u6]");
    IrValueId mix[2] = {op_dim(x, 0), k};
    EXPECT(op_reshape(x, op_concat(mix, 2, 0)), "float32[batch, seq]"); /* one unknown entry is solved */
    /* gathering the found ones keeps their symbol; a sum with a whole row prefers the row's */
    TnAxisParams g0 = {.axis = 1};
    IrValueId ids = NODE(gather, &(TnAxisParams){.axis = 0}, nz, t_int(1));
    IrValueId picked = NODE(gather, &g0, x, ids);
    EXPECT(picked, "float32[batch, u0]");
    EXPECT(op_binary(TN_BINARY_add, picked, x), "float32[batch, seq]");
    char buf[64];
    assert_string_equal(tni_dim_str(buf, sizeof buf, tm->exprs, tm->symbols, tm->symbols[2].bound), "batch*seq");
    uint32_t n = tm->n_symbols;
    assert_int_equal(tni_shape_infer(tm, &terr), TN_OK);
    assert_int_equal(tm->n_symbols, n);
}

static void test_materialize(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,768");
    IrValueId in[4] = {op_dim(x, 0), VEC(-1), VEC(12), VEC(64)};
    IrValueId y = op_reshape(x, op_concat(in, 4, 0));
    IrValueId half = op_unsqueeze(op_binary(TN_BINARY_div, op_pick(op_shape(x), 1), t_int(2)), 0);
    IrValueId z = NODE(slice, NULL, y, VEC(0), half, VEC(1));
    IrValueId out = op_shape(x);
    uint32_t changed;
    assert_int_equal(tni_ir_output_add(tm, tg, z, &terr), TN_OK);
    assert_int_equal(tni_ir_output_add(tm, tg, out, &terr), TN_OK);
    const char *name = tg->values[out].name;
    assert_int_equal(tni_shape_materialize(tm, &changed, &terr), TN_OK);
    assert_int_equal(tni_ir_verify(tm, &terr), TN_OK);
    assert_int_equal(changed, 3); /* the reshape's shape operand, the slice's end, the output */
    uint32_t n_dims = 0;
    for (uint32_t i = 0; i < tg->n_nodes; i++) {
        n_dims += tg->nodes[i].op == TN_OP_dims;
        if (tg->nodes[i].op == TN_OP_reshape && ((TnReshapeParams *)tg->nodes[i].params)->kind == TN_RESHAPE_SHAPE)
            assert_int_equal(tg->nodes[i].n_in, 1);
    }
    assert_int_equal(n_dims, 2);
    assert_string_equal(tg->values[tg->outputs[1]].name, name);
    EXPECT(tg->outputs[0], "float32[batch, seq//2, 12, 64]");
    assert_int_equal(tni_shape_infer(tm, &terr), TN_OK);
    EXPECT(tg->outputs[0], "float32[batch, seq//2, 12, 64]");
    CONTENTS(tg->outputs[1], "<batch, seq, 768>");
    assert_int_equal(tni_shape_materialize(tm, &changed, &terr), TN_OK);
    assert_int_equal(changed, 0);
}

static void test_materialize_keeps_data(void **state) {
    (void)state;
    /* sizes that are found while running stay computed by shape */
    IrValueId x = t_in("x", TN_F32, "batch,seq");
    IrValueId nz = NODE(nonzero, NULL, x);
    IrValueId n = op_dim(nz, 1);
    CONTENTS(n, "<u0>");
    uint32_t changed;
    assert_int_equal(tni_ir_output_add(tm, tg, n, &terr), TN_OK);
    assert_int_equal(tni_shape_materialize(tm, &changed, &terr), TN_OK);
    assert_int_equal(changed, 0);
}

static void test_ranges(void **state) {
    (void)state;
    t_in("x", TN_F32, "batch,seq");
    assert_int_equal(tni_shape_apply_ranges(tm, NULL, &terr), TN_OK);
    assert_int_equal(tni_shape_apply_ranges(tm, "", &terr), TN_OK);
    assert_int_equal(tni_shape_apply_ranges(tm, " batch = 1:4:8 , seq=128", &terr), TN_OK);
    assert_int_equal(tm->symbols[0].min, 1);
    assert_int_equal(tm->symbols[0].opt, 4);
    assert_int_equal(tm->symbols[0].max, 8);
    assert_int_equal(tm->symbols[1].min, 128);
    assert_int_equal(tm->symbols[1].max, 128);
    assert_int_equal(tni_shape_apply_ranges(tm, "seq=1:512", &terr), TN_OK);
    assert_int_equal(tm->symbols[1].opt, 512);
    static const char *const bad[] = {"batch",         "batch=",
                                      "batch=a",       "batch=0",
                                      "batch=2:1",     "batch=1:9:8",
                                      "batch=1:2:3:4", "batch=-1",
                                      "batch=1:",      "batch=99999999999999999999",
                                      "batch=1,seq=x", "=3"};
    for (uint32_t i = 0; i < TN_COUNT(bad); i++) {
        TnStatus st = tni_shape_apply_ranges(tm, bad[i], &terr);
        if (st != TN_ERR_ARGUMENT && st != TN_ERR_NAME)
            fail_msg("\"%s\" gives %s", bad[i], tn_status_name(st));
    }
    assert_int_equal(tm->symbols[0].max, 8); /* a wrong text changes nothing */
    assert_int_equal(tni_shape_apply_ranges(tm, "height=3", &terr), TN_ERR_NAME);
    assert_non_null(strstr(terr.message, "batch, seq"));
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, shape_setup, shape_teardown)
    const struct CMUnitTest tests[] = {
        T(test_reshape_heads),
        T(test_patches),
        T(test_arange_mask),
        T(test_slice_to_512_within_range),
        T(test_window_padding),
        T(test_ts_pad),
        T(test_resize_scale),
        T(test_contents_arithmetic),
        T(test_data_dependent),
        T(test_materialize),
        T(test_materialize_keeps_data),
        T(test_ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
