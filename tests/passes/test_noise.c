/* SPDX-License-Identifier: Apache-2.0
 *
 * Random graphs through the whole pipeline: the same numbers before and after, integers to the bit. And the pipeline with every allocation
 * failing in turn: MEMORY or success, nothing else, nothing leaked.
 *
 * Arguments: number of graphs (default 1500); one of them to run and print alone. */
#include <math.h>

#include "build.h"

#define POOL 64

typedef struct Gen {
    Net t;
    uint32_t state;
    V value[POOL];
    uint32_t n;
} Gen;

static uint32_t roll(Gen *g, uint32_t n) {
    g->state = g->state * 1664525u + 1013904223u;
    return (g->state >> 10) % n;
}

static V any(Gen *g) {
    uint32_t back = roll(g, 3) == 0 ? roll(g, g->n) : roll(g, TN_MIN(g->n, 4));
    return g->value[g->n - 1 - back];
}

static int32_t rank_of(const Gen *g, V v) {
    return g->t.g->values[v].rank;
}

static bool same_dims(const Gen *g, V a, V b) {
    const IrValue *x = &g->t.g->values[a], *y = &g->t.g->values[b];
    if (x->rank != y->rank || x->dtype != y->dtype)
        return false;
    for (int32_t i = 0; i < x->rank; i++)
        if (!tni_ir_dim_equal(g->t.m, x->dims[i], y->dims[i]))
            return false;
    return true;
}

static V partner(Gen *g, V x) {
    for (int i = 0; i < 6; i++) {
        V y = any(g);
        if (same_dims(g, x, y))
            return y;
    }
    return net_num(&g->t, 0.25 + 0.25 * roll(g, 5));
}

/* Made from sums, whose order is the kernels' affair: rounding such a value to an integer may tip either way. */
static bool from_sums(const Gen *g, V v) {
    const IrValue *x = &g->t.g->values[v];
    if (x->kind != IR_NODE_OUTPUT)
        return false;
    const IrNode *n = &g->t.g->nodes[x->producer];
    bool found = n->op == TN_OP_reduce || n->op == TN_OP_softmax || n->op == TN_OP_matmul;
    for (uint32_t i = 0; i < n->n_in && !found; i++)
        found = from_sums(g, n->in[i]);
    return found;
}

/* An operator on the values so far; TN_NO_VALUE: this one does not fit. */
static V step(Gen *g) {
    static const uint32_t unary[] = {TN_UNARY_tanh, TN_UNARY_sigmoid, TN_UNARY_relu, TN_UNARY_neg,
                                     TN_UNARY_abs,  TN_UNARY_gelu,    TN_UNARY_erf,  TN_UNARY_square};
    static const uint32_t binary[] = {TN_BINARY_add, TN_BINARY_sub, TN_BINARY_mul, TN_BINARY_min, TN_BINARY_max};
    static const double numbers[] = {0, 1, 0.5, 2, -1, 0.70710678118, 1.41421356237};
    Net *t = &g->t;
    V x = any(g), y;
    int32_t rank = rank_of(g, x);
    int64_t last;
    switch (roll(g, 16)) {
    case 0:
    case 1:
        return net_un(t, unary[roll(g, TN_COUNT(unary))], x);
    case 2:
    case 3:
    case 4:
        return net_bi(t, binary[roll(g, TN_COUNT(binary))], x, partner(g, x));
    case 5:
        return net_bi(t, roll(g, 2) ? TN_BINARY_mul : TN_BINARY_add, x, net_num(t, numbers[roll(g, TN_COUNT(numbers))]));
    case 6:
        return rank < 3     ? TN_NO_VALUE
               : rank == 3  ? net_transpose(t, x, 3, 0, 2, 1)
               : roll(g, 2) ? net_transpose(t, x, 4, 0, 2, 1, 3)
                            : net_transpose(t, x, 4, 0, 2, 3, 1);
    case 7:
        if (rank == 3 && tni_ir_dim_is_const(t->m, t->g->values[x].dims[2], &last) && last % 2 == 0)
            return net_reshape(t, x, 4, 0, 0, 2, (int)last / 2);
        return rank == 4 ? net_reshape(t, x, 3, 0, 0, -1) : TN_NO_VALUE;
    case 8:
        return net_softmax(t, x, roll(g, 3) == 0 ? 1 : rank - 1);
    case 9:
        if (!tni_ir_dim_is_const(t->m, t->g->values[x].dims[rank - 1], &last) || last > 64)
            return TN_NO_VALUE;
        y = net_node(t, TN_OP_matmul, NULL, 2, x, net_rand(t, 2, (int)last, 8));
        return roll(g, 2) ? net_bi(t, TN_BINARY_add, y, net_rand(t, 1, 8)) : y;
    case 10:
        y = net_bi(t, TN_BINARY_sub, x, net_reduce(t, TN_REDUCE_mean, x, rank - 1, true));
        return net_bi(t, TN_BINARY_div, y,
                      net_un(t, TN_UNARY_sqrt,
                             net_bi(t, TN_BINARY_add, net_reduce(t, TN_REDUCE_mean, net_bi(t, TN_BINARY_mul, y, y), rank - 1, true),
                                    net_num(t, 1e-2))));
    case 11:
        y = net_reduce(t, roll(g, 2) ? TN_REDUCE_max : TN_REDUCE_mean, x, 1 + (int)roll(g, (uint32_t)rank - 1), true);
        return net_bi(t, TN_BINARY_sub, x, y);
    case 12:
        y = partner(g, x);
        return net_node(t, TN_OP_where, NULL, 3, net_bi(t, TN_BINARY_less, x, net_num(t, 0.1)), x, y);
    case 13:
        if (from_sums(g, x))
            return TN_NO_VALUE;
        return net_cast(t, net_cast(t, net_un(t, TN_UNARY_floor, net_bi(t, TN_BINARY_mul, x, net_num(t, 8))), TN_I64), TN_F32);
    case 14: /* half of an attention: scores of x against something of the same shape */
        y = partner(g, x);
        if (rank != 4 || rank_of(g, y) != 4)
            return TN_NO_VALUE;
        y = net_softmax(
            t, net_bi(t, TN_BINARY_mul, net_node(t, TN_OP_matmul, NULL, 2, x, net_transpose(t, y, 4, 0, 1, 3, 2)), net_num(t, 0.3)), 3);
        return net_node(t, TN_OP_matmul, NULL, 2, y, x);
    default:
        return net_un(t, TN_UNARY_tanh, x);
    }
}

static TnStatus pipeline(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    return tni_passes_run(m, pc, NULL, NULL, NULL, err);
}

static int graphs = 1500, only = -1;

static void show(void *ctx, const char *text, size_t n) {
    fwrite(text, 1, n, ctx);
}

static void random_graphs(void **s) {
    (void)s;
    for (int k = 0; k < graphs; k++) {
        if (only >= 0 && k != only)
            continue;
        Gen g = {.state = (uint32_t)k * 7919u + 17u};
        net_open(&g.t);
        g.t.seed = (uint32_t)k + 1;
        g.value[g.n++] = net_in(&g.t, TN_F32, 3, -1, -2, 8);
        g.value[g.n++] = net_in(&g.t, TN_F32, 4, -1, 2, -2, 4);
        g.value[g.n++] = net_in(&g.t, TN_F32, 3, -1, 6, 8);
        uint32_t want = 8 + roll(&g, 36);
        for (int tries = 0; g.n < want && tries < 400; tries++) {
            V v = step(&g);
            if (v != TN_NO_VALUE)
                g.value[g.n++] = v;
        }
        net_out(&g.t, g.value[g.n - 1]);
        for (uint32_t i = 0, n = roll(&g, 3); i < n; i++) {
            V v = any(&g);
            bool known = false;
            for (uint32_t o = 0; o < g.t.g->n_outputs; o++)
                known = known || g.t.g->outputs[o] == v;
            if (!known)
                net_out(&g.t, v);
        }
        if (only >= 0)
            tni_ir_print(g.t.m, show, stdout);
        printf("graph %d\n", k); /* to run it alone: the second argument */
        net_run(&g.t, 2e-3, pipeline, NULL);
        net_close(&g.t);
    }
}

/* ---- memory ---- */

typedef struct Failing {
    int64_t left, live;
} Failing;

static void *failing_alloc(void *ctx, size_t n, size_t align) {
    Failing *f = ctx;
    if (f->left-- <= 0)
        return NULL;
    void *p = aligned_alloc(align < sizeof(void *) ? sizeof(void *) : align, (n + align - 1) / align * align + (n == 0 ? align : 0));
    f->live += p != NULL;
    return p;
}

static void failing_free(void *ctx, void *p) {
    Failing *f = ctx;
    f->live -= p != NULL;
    free(p);
}

static TnStatus build_and_run(const TnAllocator *a, TnError *err) {
    IrModule *m = NULL;
    IrGraphId id;
    V x, y, w, b, s;
    float data[64], eps = 1e-5f;
    for (int i = 0; i < 64; i++)
        data[i] = (float)i * 0.01f;
    TnStatus st = tni_ir_module_create(a, &m, err);
    if (st != TN_OK)
        return st;
    IrGraph *g = NULL;
    TN_TRY_GOTO(tni_ir_graph_add(m, "main", &id, err));
    g = m->graphs[id];
    TN_TRY_GOTO(tni_ir_input_add(m, g, "x", &x, err));
    g->values[x].dtype = TN_F32;
    g->values[x].rank = 2;
    g->values[x].dims[0] = tni_ir_dim_symbol(m, "batch");
    g->values[x].dims[1] = tni_ir_dim_const(m, 8);
    for (int layer = 0; layer < 24; layer++) { /* big enough to need several pieces of the arena */
        TN_TRY_GOTO(tni_ir_const_copy(m, g, NULL, TN_F32, 2, (int64_t[]){8, 8}, data, &w, err));
        TN_TRY_GOTO(tni_ir_const_copy(m, g, NULL, TN_F32, 1, (int64_t[]){8}, data, &b, err));
        TN_TRY_GOTO(tni_ir_const_copy(m, g, NULL, TN_F32, 0, NULL, &eps, &s, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_matmul, "mm", NULL, (V[]){x, w}, 2, NULL, 1, &y, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "add", &(TnBinaryParams){TN_BINARY_add}, (V[]){y, b}, 2, NULL, 1, &y, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "res", &(TnBinaryParams){TN_BINARY_add}, (V[]){y, x}, 2, NULL, 1, &x, err));
        TnReduceParams mean = {.fn = TN_REDUCE_mean, .keepdims = 1, .n_axes = 1, .axes = {-1}};
        V d, v;
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_reduce, "mean", &mean, &x, 1, NULL, 1, &y, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "sub", &(TnBinaryParams){TN_BINARY_sub}, (V[]){x, y}, 2, NULL, 1, &d, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "sq", &(TnBinaryParams){TN_BINARY_mul}, (V[]){d, d}, 2, NULL, 1, &v, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_reduce, "var", &mean, &v, 1, NULL, 1, &v, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "eps", &(TnBinaryParams){TN_BINARY_add}, (V[]){v, s}, 2, NULL, 1, &v, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_unary, "sqrt", &(TnUnaryParams){.fn = TN_UNARY_sqrt}, &v, 1, NULL, 1, &v, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "div", &(TnBinaryParams){TN_BINARY_div}, (V[]){d, v}, 2, NULL, 1, &y, err));
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_unary, "exp", &(TnUnaryParams){.fn = TN_UNARY_exp}, &b, 1, NULL, 1, &w, err)); /* folds */
        TN_TRY_GOTO(tni_ir_node_add(m, g, TN_OP_binary, "mul", &(TnBinaryParams){TN_BINARY_mul}, (V[]){y, w}, 2, NULL, 1, &x, err));
    }
    TN_TRY_GOTO(tni_ir_output_add(m, g, x, err));
    st = tni_passes_run(m, NULL, NULL, NULL, NULL, err);
fail:
    tni_ir_module_destroy(&m);
    return st;
}

static void every_allocation_fails_once(void **s) {
    (void)s;
    TnStatus st = TN_ERR_MEMORY;
    int64_t n = 0;
    for (; st != TN_OK; n++) {
        Failing f = {n, 0};
        TnAllocator a = {failing_alloc, failing_free, &f};
        TnError err = {0};
        st = build_and_run(&a, &err);
        if (st != TN_OK && st != TN_ERR_MEMORY)
            fail_msg("allocation %lld: %s: %s", (long long)n, tn_status_name(st), err.message);
        assert_int_equal(f.live, 0);
    }
    printf("%lld allocations\n", (long long)n);
}

int main(int argc, char **argv) {
    if (argc > 1)
        graphs = atoi(argv[1]);
    if (argc > 2)
        only = atoi(argv[2]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_graphs), cmocka_unit_test(every_allocation_fails_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
