/* SPDX-License-Identifier: Apache-2.0
 *
 * if and loop, whole modules, running out of memory at every allocation. */
#include "support.h"

/* A subgraph with inputs of unknown type; returns its id. */
static IrGraphId sub(const char *name, uint32_t n_in, IrValueId *in) {
    IrGraphId id;
    char text[32];
    assert_int_equal(tni_ir_graph_add(tm, name, &id, &terr), TN_OK);
    for (uint32_t i = 0; i < n_in; i++) {
        snprintf(text, sizeof text, "%s_in%u", name, i);
        assert_int_equal(tni_ir_input_add(tm, tm->graphs[id], text, &in[i], &terr), TN_OK);
    }
    return id;
}

static IrValueId add(IrGraphId g, TnOp op, const void *params, const IrValueId *in, uint32_t n) {
    IrValueId out;
    assert_int_equal(tni_ir_node_add(tm, tm->graphs[g], op, NULL, params, in, n, NULL, 1, &out, &terr), TN_OK);
    return out;
}

static void output(IrGraphId g, IrValueId v) {
    assert_int_equal(tni_ir_output_add(tm, tm->graphs[g], v, &terr), TN_OK);
}

static IrValueId vec_in(IrGraphId g, int64_t v) {
    IrValueId id;
    int64_t dims[1] = {1};
    assert_int_equal(tni_ir_const_copy(tm, tm->graphs[g], NULL, TN_I64, 1, dims, &v, &id, &terr), TN_OK);
    return id;
}

static void test_if_join(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq,8"), c = t_in("c", TN_BOOL, ""), a, b;
    IrGraphId then = sub("then", 1, &a), otherwise = sub("else", 1, &b);
    output(then, add(then, TN_OP_identity, NULL, &a, 1));
    IrValueId in[4] = {b, vec_in(otherwise, 0), vec_in(otherwise, 3), vec_in(otherwise, 1)};
    output(otherwise, add(otherwise, TN_OP_slice, NULL, in, 4));
    TnControlParams p = {.graph = {then, otherwise}};
    IrValueId y = t_node(TN_OP_if_, &p, IDS(c, x), 1, NULL);
    EXPECT(y, "float32[batch, u0, 8]");
    assert_true(tni_ir_dim_equal(tm, tm->symbols[2].bound, tg->values[x].dims[1])); /* max(seq, min(seq, 3)) */
    EXPECT(op_unary(TN_UNARY_relu, y), "float32[batch, u0, 8]");
    output(0, y);
    uint32_t n = tm->n_symbols;
    assert_int_equal(tni_shape_infer(tm, &terr), TN_OK);
    assert_int_equal(tm->n_symbols, n);
}

static void test_if_known(void **state) {
    (void)state;
    /* squeeze "if the dimension is 1": the impossible branch says nothing */
    IrValueId x = t_in("x", TN_F32, "batch,4"), a, b;
    IrGraphId then = sub("then", 1, &a), otherwise = sub("else", 1, &b);
    TnReshapeParams sq = {.kind = TN_RESHAPE_SQUEEZE, .n_axes = 1, .axes = {1}};
    output(then, add(then, TN_OP_reshape, &sq, &a, 1));
    output(otherwise, add(otherwise, TN_OP_identity, NULL, &b, 1));
    TnControlParams p = {.graph = {then, otherwise}};
    IrValueId is_one = op_binary(TN_BINARY_equal, op_pick(op_shape(x), 1), t_int(1));
    CONTENTS(is_one, "<0>");
    EXPECT(t_node(TN_OP_if_, &p, IDS(is_one, x), 1, NULL), "float32[batch, 4]");
    /* not known, different ranks: refused with the reason */
    IrValueId c = t_in("c", TN_BOOL, ""), y = t_in("y", TN_F32, "batch,1");
    t_fails(TN_OP_if_, &p, IDS(c, y), 1, TN_ERR_UNSUPPORTED, "rank 1 in one branch and 2", __LINE__);
    t_fails(TN_OP_if_, &p, IDS(c, x), 1, TN_ERR_SHAPE, "squeezed", __LINE__);
    t_fails(TN_OP_if_, &p, IDS(y, x), 1, TN_ERR_TYPE, "float32", __LINE__);
    p.graph[1] = 99;
    t_fails(TN_OP_if_, &p, IDS(c, x), 1, TN_ERR_GRAPH, "does not exist", __LINE__);
    p.graph[1] = 0;
    t_fails(TN_OP_if_, &p, IDS(c, x), 1, TN_ERR_GRAPH, "does not exist", __LINE__);
}

static void test_if_contents(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,seq"), c = t_in("c", TN_BOOL, ""), a, b;
    IrGraphId then = sub("then", 1, &a), otherwise = sub("else", 1, &b);
    output(then, add(then, TN_OP_identity, NULL, &a, 1));
    output(otherwise, add(otherwise, TN_OP_identity, NULL, &b, 1));
    TnControlParams p = {.graph = {then, otherwise}};
    CONTENTS(t_node(TN_OP_if_, &p, IDS(c, op_dim(x, 1)), 1, NULL), "<seq>"); /* captured contents pass through both */
}

/* body(i, cond, carried [n, 4], captured w): carried' = concat(carried, w), scan = carried */
static IrGraphId growing_body(void) {
    IrValueId in[4];
    IrGraphId g = sub("body", 4, in);
    TnAxisParams axis = {.axis = 0};
    IrValueId parts[2] = {in[2], in[3]};
    output(g, add(g, TN_OP_identity, NULL, &in[1], 1));
    output(g, add(g, TN_OP_concat, &axis, parts, 2));
    output(g, add(g, TN_OP_identity, NULL, &in[3], 1));
    return g;
}

static void test_loop_grows(void **state) {
    (void)state;
    IrValueId trips = t_in("trips", TN_I64, ""), c = t_in("c", TN_BOOL, ""), x = t_in("x", TN_F32, "batch,4"), w = t_in("w", TN_F32, "1,4"),
              outs[2];
    TnControlParams p = {.graph = {growing_body()}, .n_carried = 1, .n_scan = 1};
    t_node(TN_OP_loop, &p, IDS(trips, c, x, w), 2, outs);
    EXPECT(outs[0], "float32[u1, 4]");    /* u0 is the size inside the body */
    EXPECT(outs[1], "float32[u2, 1, 4]"); /* how often it runs is not known */
    uint32_t n = tm->n_symbols;
    output(0, outs[0]);
    assert_int_equal(tni_shape_infer(tm, &terr), TN_OK);
    assert_int_equal(tni_shape_infer(tm, &terr), TN_OK);
    assert_int_equal(tm->n_symbols, n);
}

static void test_loop_fixed(void **state) {
    (void)state;
    /* carried value keeps its shape; the trip count is a dimension and nothing stops the loop early */
    IrValueId x = t_in("x", TN_F32, "batch,4"), in[3], outs[2];
    IrGraphId g = sub("body", 3, in);
    TnUnaryParams relu = {.fn = TN_UNARY_relu};
    IrValueId y = add(g, TN_OP_unary, &relu, &in[2], 1);
    output(g, in[1]);
    output(g, y);
    output(g, y);
    TnControlParams p = {.graph = {g}, .n_carried = 1, .n_scan = 1};
    IrValueId trips = op_pick(op_shape(x), 0);
    t_node(TN_OP_loop, &p, IDS(trips, NONE, x), 2, outs);
    EXPECT(outs[0], "float32[batch, 4]");
    EXPECT(outs[1], "float32[batch, batch, 4]");
    IrValueId c = t_in("c", TN_BOOL, "");
    t_node(TN_OP_loop, &p, IDS(trips, c, x), 2, outs);
    EXPECT(outs[1], "float32[u0, batch, 4]"); /* may stop */
    assert_true(tni_ir_dim_equal(tm, tm->symbols[1].bound, tg->values[x].dims[0]));
    t_fails(TN_OP_loop, &p, IDS(x, NONE, x), 2, TN_ERR_TYPE, "float32", __LINE__);
    t_fails(TN_OP_loop, &p, IDS(trips, NONE), 2, TN_ERR_GRAPH, "do not fit", __LINE__);
    t_fails(TN_OP_loop, &p, IDS(trips, NONE, NONE), 2, TN_ERR_GRAPH, "input 2 is required", __LINE__);
    p.n_carried = 0;
    t_fails(TN_OP_loop, &p, IDS(trips, NONE, x), 2, TN_ERR_GRAPH, "do not fit", __LINE__);
}

static void test_loop_changes(void **state) {
    (void)state;
    IrValueId x = t_in("x", TN_F32, "batch,4"), in[3];
    IrGraphId g = sub("body", 3, in);
    TnCastParams cast = {.to = TN_I64};
    output(g, in[1]);
    output(g, add(g, TN_OP_cast, &cast, &in[2], 1));
    TnControlParams p = {.graph = {g}, .n_carried = 1};
    t_fails(TN_OP_loop, &p, IDS(t_int(3), NONE, x), 1, TN_ERR_TYPE, "starts as float32 and becomes int64", __LINE__);
    IrGraphId h = sub("body2", 3, in);
    TnReshapeParams un = {.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1};
    output(h, in[1]);
    output(h, add(h, TN_OP_reshape, &un, &in[2], 1));
    p.graph[0] = h;
    t_fails(TN_OP_loop, &p, IDS(t_int(3), NONE, x), 1, TN_ERR_UNSUPPORTED, "becomes rank 3", __LINE__);
}

/* ---- every allocation fails in turn ---- */
typedef struct Failing {
    size_t left, live;
} Failing;

static void *fail_alloc(void *ctx, size_t bytes, size_t align) {
    Failing *f = ctx;
    if (f->left == 0)
        return NULL;
    f->left--;
    f->live++;
    return tni_default_allocator()->alloc(tni_default_allocator()->ctx, bytes, align);
}

static void fail_free(void *ctx, void *p) {
    ((Failing *)ctx)->live--;
    tni_default_allocator()->free(tni_default_allocator()->ctx, p);
}

/* Enough nodes and expressions that the arena asks for memory many times. */
static TnStatus whole(const TnAllocator *a, IrModule **out, TnError *err) {
    IrGraphId id;
    IrValueId x, s, d, v, parts[20];
    uint32_t changed;
    IrModule *m = NULL;
    TnStatus st;
    TN_TRY_GOTO(tni_ir_module_create(a, &m, err));
    TN_TRY_GOTO(tni_ir_graph_add(m, "main", &id, err));
    IrGraph *g = m->graphs[id];
    TN_TRY_GOTO(tni_ir_input_add(m, g, "x", &x, err));
    g->values[x].dtype = TN_F32;
    g->values[x].rank = 3;
    for (int i = 0; i < 3; i++)
        g->values[x].dims[i] = tni_ir_dim_symbol(m, i == 0 ? "batch" : i == 1 ? "h" : "w");
    TN_TRY_GOTO(tni_ir_dims_check(m, err));
    TnShapeParams sp = {.end = INT32_MAX};
    TnBinaryParams mul = {.fn = TN_BINARY_mul};
    TnAxisParams axis = {0};
    TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_shape, NULL, &sp, &x, 1, NULL, 1, &s, err));
    v = s;
    for (int64_t i = 0; i < 400; i++) {
        int64_t dims[1] = {3}, k[3] = {i, i * i, 7 - i};
        TN_TRY_GOTO(tni_ir_const_copy(m, g, NULL, TN_I64, 1, dims, k, &d, err));
        IrValueId in[2] = {s, d};
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, NULL, &mul, in, 2, NULL, 1, &v, err));
    }
    for (int i = 0; i < 20; i++)
        parts[i] = v;
    TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_concat, NULL, &axis, parts, 20, NULL, 1, &d, err));
    TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_split, NULL, &axis, &d, 1, NULL, 10, parts, err));
    TN_TRY_GOTO(tni_ir_output_add(m, g, v, err));
    TN_TRY_GOTO(tni_ir_output_add(m, g, parts[3], err));
    TN_TRY_GOTO(tni_ir_verify(m, err));
    TN_TRY_GOTO(tni_shape_infer(m, err));
    TN_TRY_GOTO(tni_shape_materialize(m, &changed, err));
    TN_TRY_GOTO(tni_shape_infer(m, err));
    *out = m;
    return TN_OK;
fail:
    tni_ir_module_destroy(&m);
    return st;
}

static void test_out_of_memory(void **state) {
    (void)state;
    for (size_t n = 0; n < 2000; n++) {
        Failing f = {.left = n};
        TnAllocator a = {.ctx = &f, .alloc = fail_alloc, .free = fail_free};
        TnError err = {0};
        IrModule *m = NULL;
        TnStatus st = whole(&a, &m, &err);
        if (st == TN_OK) {
            tni_ir_module_destroy(&m);
            assert_int_equal(f.live, 0);
            assert_true(n >= 8);
            return;
        }
        if (st != TN_ERR_MEMORY || err.code != TN_ERR_MEMORY)
            fail_msg("allocation %zu: %s: %s", n, tn_status_name(st), err.message);
        assert_int_equal(f.live, 0);
    }
    fail();
}

/* The interpreter asks for one node at a time: this must be cheap. */
static void test_concrete(void **state) {
    (void)state;
    TnArena *scratch;
    float f[4] = {0};
    int64_t shape[2] = {2, -1};
    TnTensor in[2] = {{.data = f, .dtype = TN_F32, .rank = 1, .dims = {4}}, {.data = shape, .dtype = TN_I64, .rank = 1, .dims = {2}}},
             out[1];
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE};
    uint64_t t = tni_now_ns();
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(tni_arena_create(NULL, &scratch, &terr), TN_OK);
        memset(out, 0, sizeof out);
        assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 2, out, 1, scratch, &terr), TN_OK);
        tni_arena_destroy(&scratch);
    }
    print_message("tni_shape_concrete: %.2f us\n", (double)(tni_now_ns() - t) / 1e6);
    assert_int_equal(out[0].rank, 2);
    assert_int_equal(out[0].dims[1], 2);
    assert_int_equal(tni_arena_create(NULL, &scratch, &terr), TN_OK);
    /* what the caller knows of the result stands in for a dropped shape operand */
    out[0] = (TnTensor){.dtype = TN_F32, .rank = 2, .dims = {4, 1}};
    assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 1, out, 1, scratch, &terr), TN_OK);
    assert_int_equal(out[0].dims[0], 4);
    out[0] = (TnTensor){0};
    assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 1, out, 1, scratch, &terr), TN_ERR_GRAPH);
    in[0].dims[0] = -4;
    assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 2, out, 1, scratch, &terr), TN_ERR_SHAPE);
    in[0].dims[0] = 5;
    assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 2, out, 1, scratch, &terr), TN_ERR_SHAPE);
    assert_int_equal(tni_shape_concrete(TN_OP_reshape, &p, in, 3, out, 1, scratch, &terr), TN_ERR_GRAPH);
    TnTensor x = {.data = f, .dtype = TN_F32, .rank = 2, .dims = {2, 2}};
    assert_int_equal(tni_shape_concrete(TN_OP_nonzero, NULL, &x, 1, out, 1, scratch, &terr), TN_OK);
    assert_int_equal(out[0].dims[1], 4); /* the bound */
    tni_arena_destroy(&scratch);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, shape_setup, shape_teardown)
    const struct CMUnitTest tests[] = {
        T(test_if_join),    T(test_if_known),     T(test_if_contents),   T(test_loop_grows),
        T(test_loop_fixed), T(test_loop_changes), T(test_out_of_memory), T(test_concrete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
