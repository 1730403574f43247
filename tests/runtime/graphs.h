/* SPDX-License-Identifier: Apache-2.0
 *
 * Small modules made by hand for tests and fuzzing of plan, planner and runtime: every kind of place, step and symbol is in one of them.
 * A failure while making one returns NULL (out of memory). */
#ifndef TENON_TESTS_GRAPHS_H
#define TENON_TESTS_GRAPHS_H

#include <stdlib.h>

#include "ir/graph.h"
#include "plan/generation.h"

/* A module under construction; after a failure everything is a no-op and ids are 0. */
typedef struct Make {
    IrModule *m;
    IrGraph *g;
    TnError err;
    bool failed;
    uint32_t seed;
} Make;

static inline float noise(uint32_t *s) {
    *s = *s * 1664525u + 1013904223u;
    return (float)(*s >> 8) / 8388608.0f - 1.0f;
}

static inline bool try_(Make *k, TnStatus st) {
    k->failed |= st != TN_OK;
    return !k->failed;
}

static inline Make start(const TnAllocator *a) {
    Make k = {.seed = 1};
    try_(&k, tni_ir_module_create(a, &k.m, &k.err));
    return k;
}

static inline void graph(Make *k, const char *name) {
    IrGraphId id;
    if (!k->failed && try_(k, tni_ir_graph_add(k->m, name, &id, &k->err)))
        k->g = k->m->graphs[id];
}

static inline TnDim sym(Make *k, const char *name) {
    TnDim d = k->failed ? TN_DIM_NONE : tni_ir_dim_symbol(k->m, name);
    k->failed |= d == TN_DIM_NONE;
    return d;
}

static inline TnDim num(Make *k, int64_t v) {
    TnDim d = k->failed ? TN_DIM_NONE : tni_ir_dim_const(k->m, v);
    k->failed |= d == TN_DIM_NONE;
    return d;
}

static inline IrValueId input(Make *k, const char *name, TnDtype t, int32_t rank, const TnDim *dims) {
    IrValueId v = 0;
    if (k->failed || !try_(k, tni_ir_input_add(k->m, k->g, name, &v, &k->err)))
        return 0;
    k->g->values[v].dtype = t;
    k->g->values[v].rank = rank;
    for (int32_t d = 0; d < rank; d++)
        k->g->values[v].dims[d] = dims[d];
    return v;
}
#define INPUT(k, name, t, ...) input(k, name, t, (int32_t)(sizeof((TnDim[]){__VA_ARGS__}) / sizeof(TnDim)), (TnDim[]){__VA_ARGS__})

static inline IrValueId weights(Make *k, int32_t rank, const int64_t *dims, float scale) {
    IrValueId v = 0;
    int64_t n = 1;
    for (int32_t d = 0; d < rank; d++)
        n *= dims[d];
    float *p = malloc((size_t)n * sizeof *p + 1);
    if (!p)
        abort();
    for (int64_t i = 0; i < n; i++)
        p[i] = noise(&k->seed) * scale;
    if (!k->failed)
        try_(k, tni_ir_const_copy(k->m, k->g, NULL, TN_F32, rank, dims, p, &v, &k->err));
    free(p);
    return v;
}
#define WEIGHTS(k, scale, ...) weights(k, (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}, scale)

static inline IrValueId ints(Make *k, int32_t rank, int64_t n, const int64_t *p) {
    IrValueId v = 0;
    if (!k->failed)
        try_(k, tni_ir_const_copy(k->m, k->g, NULL, TN_I64, rank, &n, p, &v, &k->err));
    return v;
}
#define INTS(k, ...) ints(k, 1, (int64_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})
#define INT(k, v) ints(k, 0, 1, (int64_t[]){v})

static inline IrValueId nodes(Make *k, TnOp op, const void *params, uint32_t n_in, const IrValueId *in, uint32_t n_out,
                              const char *const *names, IrValueId *out) {
    for (uint32_t i = 0; i < n_out; i++)
        out[i] = 0;
    if (!k->failed)
        try_(k, tni_ir_node_add(k->m, k->g, op, names && names[0] ? names[0] : tni_op_info(op)->name, params, in, n_in, names, n_out, out,
                                &k->err));
    return n_out ? out[0] : 0;
}

static inline IrValueId node(Make *k, TnOp op, const char *name, const void *params, uint32_t n_in, const IrValueId *in) {
    IrValueId out;
    return nodes(k, op, params, n_in, in, 1, (const char *const[]){name}, &out);
}
#define NODE(k, op, name, params, ...)                                                                                                     \
    node(k, TN_OP_##op, name, params, (uint32_t)(sizeof((IrValueId[]){__VA_ARGS__}) / sizeof(IrValueId)), (IrValueId[]){__VA_ARGS__})

static inline void output(Make *k, IrValueId v) {
    if (!k->failed)
        try_(k, tni_ir_output_add(k->m, k->g, v, &k->err));
}

static inline IrModule *finish(Make *k) {
    if (k->failed)
        tni_ir_module_destroy(&k->m);
    return k->m;
}

#define ADD (&(TnBinaryParams){.fn = TN_BINARY_add})
#define MUL (&(TnBinaryParams){.fn = TN_BINARY_mul})
#define RELU (&(TnUnaryParams){.fn = TN_UNARY_relu})
#define GEMM (&(TnGemmParams){.alpha = 1, .beta = 1})

/* y = softmax(layer_norm(relu(x W1 + b1) W2 + x)), x [batch, 16]: packed weights, views, in place. */
static inline IrModule *make_mlp(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "batch"), num(&k, 16));
    IrValueId h = NODE(&k, gemm, "fc1", GEMM, x, WEIGHTS(&k, 0.3f, 16, 48), WEIGHTS(&k, 1, 48));
    h = NODE(&k, unary, "relu", RELU, h);
    h = NODE(&k, gemm, "fc2", GEMM, h, WEIGHTS(&k, 0.3f, 48, 16));
    h = NODE(&k, binary, "sum", ADD, h, x);
    h = NODE(&k, layer_norm, "norm", &((TnNormParams){.epsilon = 1e-5f, .axis = -1}), h, WEIGHTS(&k, 1, 16), WEIGHTS(&k, 1, 16));
    h = NODE(&k, reshape, "flat", &((TnReshapeParams){.kind = TN_RESHAPE_SHAPE}), h, INTS(&k, -1, 4, 4));
    h = NODE(&k, softmax, "y", &((TnSoftmaxParams){.axis = -1, .scale = 1}), h);
    output(&k, h);
    return finish(&k);
}

/* Convolution, pooling, transposes, attention, gathers, slices: static but for the batch; two outputs, one of them an intermediate. */
static inline IrModule *make_vision(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "pixels", TN_F32, sym(&k, "batch"), num(&k, 3), num(&k, 16), num(&k, 16));
    IrValueId ids = INPUT(&k, "ids", TN_I64, sym(&k, "batch"), num(&k, 16));
    TnConvParams cp = {.n_spatial = 2, .group = 1, .kernel = {4, 4}, .stride = {4, 4}, .dilation = {1, 1}};
    IrValueId h = NODE(&k, conv, "patches", &cp, x, WEIGHTS(&k, 0.2f, 24, 3, 4, 4), WEIGHTS(&k, 1, 24));
    IrValueId pooled =
        NODE(&k, pool, "pool",
             &((TnPoolParams){.kind = TN_POOL_MAX, .n_spatial = 2, .kernel = {2, 2}, .stride = {2, 2}, .dilation = {1, 1}}), h);
    h = NODE(&k, reshape, "tokens", &((TnReshapeParams){.kind = TN_RESHAPE_SHAPE}), h, INTS(&k, 0, 24, 16));
    h = NODE(&k, transpose, "bsd", &((TnTransposeParams){.n = 3, .perm = {0, 2, 1}}), h);
    IrValueId e = NODE(&k, gather, "embed", &((TnAxisParams){.axis = 0}), WEIGHTS(&k, 1, 10, 24), ids);
    h = NODE(&k, binary, "embedded", ADD, h, e);
    IrValueId qkv = NODE(&k, gemm, "qkv", GEMM, h, WEIGHTS(&k, 0.3f, 24, 72), WEIGHTS(&k, 0.1f, 72));
    TnAttentionParams ap = {.heads = 3,
                            .kv_heads = 3,
                            .d_qk = 8,
                            .d_v = 8,
                            .scale = 0.35f,
                            .q_layout = TN_LAYOUT_BSHD,
                            .k_layout = TN_LAYOUT_BSHD,
                            .v_layout = TN_LAYOUT_BSHD,
                            .out_layout = TN_LAYOUT_BSHD,
                            .k_off = 24,
                            .v_off = 48};
    IrValueId y = NODE(&k, attention, "attention", &ap, qkv, qkv, qkv);
    y = NODE(&k, binary, "residual", ADD, y, h);
    IrValueId first = NODE(&k, slice, "cls", NULL, y, INTS(&k, 0), INTS(&k, 1), INTS(&k, 1));
    IrValueId both = NODE(&k, concat, "both", &((TnAxisParams){.axis = 1}), first, y);
    output(&k, both);
    output(&k, pooled);
    output(&k, y);
    return finish(&k);
}

/* y = x + 0.5 relu(range(batch)) as a column + row: two chains of steps that depend on shapes alone, written in place; one of their results is read
 * in between. */
static inline IrModule *make_positions(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    TnDim batch = sym(&k, "batch");
    IrValueId x = INPUT(&k, "x", TN_F32, batch, num(&k, 6));
    IrValueId n = node(&k, TN_OP_dims, "count", &(TnDimsParams){.dtype = TN_I64, .rank = 0, .n = 1, .dim = {batch}}, 0, NULL);
    IrValueId at = NODE(&k, range, "at", NULL, INT(&k, 0), n, INT(&k, 1));
    IrValueId f = NODE(&k, cast, "floats", &((TnCastParams){.to = TN_F32, .saturate = 1}), at);
    IrValueId half = NODE(&k, binary, "half", MUL, f, WEIGHTS(&k, 0.5f, 1));
    IrValueId positive = NODE(&k, unary, "positive", RELU, half);
    IrValueId column = NODE(&k, reshape, "column", &((TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {1}}), positive);
    IrValueId early = NODE(&k, binary, "early", ADD, x, column);
    IrValueId cosine = NODE(&k, unary, "cosine", &(TnUnaryParams){.fn = TN_UNARY_cos}, column);
    IrValueId y = NODE(&k, binary, "y", MUL, early, cosine);
    output(&k, y);
    return finish(&k);
}

/* Shapes that depend on contents: nonzero, gathers of what it finds, a range of a computed length, what is made from them. */
static inline IrModule *make_dynamic(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "n"), num(&k, 6));
    IrValueId zero = WEIGHTS(&k, 0, 1);
    IrValueId positive = NODE(&k, binary, "positive", &(TnBinaryParams){.fn = TN_BINARY_greater}, x, zero);
    IrValueId at = NODE(&k, nonzero, "where", NULL, positive);
    IrValueId rows = NODE(&k, transpose, "rows", &((TnTransposeParams){.n = 2, .perm = {1, 0}}), at);
    IrValueId found = NODE(&k, gather_nd, "found", NULL, x, rows);
    IrValueId twice = NODE(&k, binary, "twice", ADD, found, found);
    IrValueId shape = NODE(&k, shape, "shape", &((TnShapeParams){.end = INT32_MAX}), found);
    IrValueId n = NODE(&k, reshape, "count", &((TnReshapeParams){.kind = TN_RESHAPE_SQUEEZE}), shape);
    IrValueId steps = NODE(&k, range, "steps", NULL, INT(&k, 0), n, INT(&k, 1));
    IrValueId fsteps = NODE(&k, cast, "fsteps", &((TnCastParams){.to = TN_F32, .saturate = 1}), steps);
    IrValueId y = NODE(&k, binary, "y", MUL, twice, fsteps);
    IrValueId column = NODE(&k, reshape, "column", &((TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {1}}), y);
    output(&k, column);
    output(&k, at);
    return finish(&k);
}

/* if_ with both branches, a loop with a carried tensor that keeps its shape, one that grows, a scan output and a captured value. */
static inline IrModule *make_control(const TnAllocator *a) {
    Make k = start(a);
    graph(&k, "main");
    TnDim n = sym(&k, "n");
    IrValueId x = INPUT(&k, "x", TN_F32, n, num(&k, 4));
    IrValueId flag = input(&k, "flag", TN_BOOL, 0, NULL), trips = input(&k, "trips", TN_I64, 0, NULL);
    IrGraph *main_graph = k.g;
    graph(&k, "then");
    IrValueId t = input(&k, "tx", TN_F32, 2, (TnDim[]){n, num(&k, 4)});
    output(&k, NODE(&k, unary, "double_", &(TnUnaryParams){.fn = TN_UNARY_square}, t));
    graph(&k, "else");
    t = input(&k, "ex", TN_F32, 2, (TnDim[]){n, num(&k, 4)});
    output(&k, NODE(&k, binary, "shift", ADD, t, WEIGHTS(&k, 1, 4)));
    graph(&k, "body");
    IrValueId iteration = input(&k, "i", TN_I64, 0, NULL), cond = input(&k, "c", TN_BOOL, 0, NULL);
    IrValueId sum = input(&k, "sum_in", TN_F32, 2, (TnDim[]){n, num(&k, 4)}),
              captured = input(&k, "cap", TN_F32, 2, (TnDim[]){n, num(&k, 4)});
    IrValueId fi = NODE(&k, cast, "fi", &((TnCastParams){.to = TN_F32, .saturate = 1}), iteration);
    IrValueId next = NODE(&k, binary, "next", ADD, sum, captured);
    IrValueId row = NODE(&k, binary, "row", MUL, next, fi);
    output(&k, NODE(&k, identity, "c_out", NULL, cond));
    output(&k, next);
    output(&k, row);
    k.g = main_graph;
    IrValueId out[2];
    IrValueId y = NODE(&k, if_, "y", &((TnControlParams){.graph = {1, 2}}), flag, x);
    nodes(&k, TN_OP_loop, &(TnControlParams){.graph = {3, 0}, .n_carried = 1, .n_scan = 1}, 4, (IrValueId[]){trips, TN_NO_VALUE, y, x}, 2,
          (const char *const[]){"total", "rows"}, out);
    IrValueId z = NODE(&k, unary, "z", RELU, out[0]);
    output(&k, z);
    output(&k, out[1]);
    return finish(&k);
}

/* A tiny encoder-decoder (plan/generation.h): one layer, width 16, vocabulary 20. */
static inline void make_encoder(Make *k) {
    graph(k, "encoder");
    IrValueId x = INPUT(k, "pixel_values", TN_F32, sym(k, "batch"), num(k, 5), num(k, 16));
    IrValueId h = NODE(k, unary, "last_hidden_state", &(TnUnaryParams){.fn = TN_UNARY_tanh}, x);
    IrValueId ck = NODE(k, gemm, "state:cross_k.0", GEMM, h, WEIGHTS(k, 0.5f, 16, 16));
    IrValueId cv = NODE(k, gemm, "state:cross_v.0", GEMM, h, WEIGHTS(k, 0.5f, 16, 16));
    output(k, h);
    output(k, ck);
    output(k, cv);
}

static inline void make_decoder(Make *k) {
    graph(k, "decoder");
    TnDim rows = sym(k, "rows"), lanes = sym(k, "lanes"), positions = sym(k, "positions"), batch = sym(k, "batch");
    IrValueId tokens = INPUT(k, "tokens", TN_I64, rows, num(k, 1)), pos = INPUT(k, "positions", TN_I32, num(k, 1));
    IrValueId where = INPUT(k, "where", TN_I32, rows, num(k, 2)), table = INPUT(k, "lanes", TN_I32, rows, positions);
    IrValueId length = INPUT(k, "length", TN_I32, num(k, 1)), cl = INPUT(k, "cross_lanes", TN_I32, rows, num(k, 1));
    IrValueId clen = INPUT(k, "cross_length", TN_I32, num(k, 1));
    IrValueId sk = INPUT(k, "state:self_k.0", TN_F32, lanes, positions, num(k, 16));
    IrValueId sv = INPUT(k, "state:self_v.0", TN_F32, lanes, positions, num(k, 16));
    IrValueId ck = INPUT(k, "state:cross_k.0", TN_F32, batch, num(k, 5), num(k, 16));
    IrValueId cv = INPUT(k, "state:cross_v.0", TN_F32, batch, num(k, 5), num(k, 16));
    IrValueId e = NODE(k, gather, "embed", &((TnAxisParams){.axis = 0}), WEIGHTS(k, 1, 20, 16), tokens);
    e = NODE(k, reshape, "rows", &((TnReshapeParams){.kind = TN_RESHAPE_SHAPE}), e, INTS(k, -1, 16));
    IrValueId p = NODE(k, gather, "position", &((TnAxisParams){.axis = 0}), WEIGHTS(k, 1, 12, 16), pos);
    IrValueId h = NODE(k, binary, "sum", ADD, e, p);
    IrValueId qkv = NODE(k, gemm, "qkv", GEMM, h, WEIGHTS(k, 0.5f, 16, 48));
    nodes(k, TN_OP_cache_append, &(TnCacheAppendParams){.off = 16, .width = 16}, 3, (IrValueId[]){qkv, sk, where}, 0, NULL, NULL);
    nodes(k, TN_OP_cache_append, &(TnCacheAppendParams){.off = 32, .width = 16}, 3, (IrValueId[]){qkv, sv, where}, 0, NULL, NULL);
    TnAttentionStepParams ap = {.heads = 2, .d_head = 8, .scale = 0.35f};
    IrValueId y = NODE(k, attention_step, "self", &ap, qkv, sk, sv, table, length);
    y = NODE(k, binary, "self_sum", ADD, y, h);
    IrValueId q = NODE(k, gemm, "cross_q", GEMM, y, WEIGHTS(k, 0.5f, 16, 16));
    IrValueId z = NODE(k, attention_step, "cross", &ap, q, ck, cv, cl, clen);
    z = NODE(k, binary, "cross_sum", ADD, z, y);
    output(k, NODE(k, gemm, "logits", GEMM, z, WEIGHTS(k, 0.7f, 16, 20)));
}

static inline PlanGeneration tiny_generation(void) {
    PlanGeneration g = {.version = PLAN_GENERATION_VERSION,
                        .bytes = sizeof g,
                        .encoder = "encoder",
                        .decoder = "decoder",
                        .start_id = 0,
                        .pad_id = 1,
                        .n_eos = 1,
                        .eos_id = {2},
                        .max_length = 9,
                        .max_positions = 12,
                        .num_beams = 1,
                        .length_penalty = 1,
                        .vocab_size = 20,
                        .n_layers = 1,
                        .repetition_penalty = 1,
                        .forced_bos_id = -1,
                        .forced_eos_id = -1};
    return g;
}

static inline IrModule *make_generator(const TnAllocator *a) {
    Make k = start(a);
    PlanGeneration g = tiny_generation();
    make_encoder(&k);
    make_decoder(&k);
    if (!k.failed)
        try_(&k, tni_ir_meta_set(k.m, PLAN_GENERATION_KEY, &g, sizeof g, &k.err));
    return finish(&k);
}

typedef IrModule *(*MakeFn)(const TnAllocator *a);
static const MakeFn all_graphs[] = {make_mlp, make_vision, make_positions, make_dynamic, make_control, make_generator};

#endif
