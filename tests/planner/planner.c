/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner: what a wrong kernel gets, comparing, cutting cases down, the timing cache, constants, places. */
#include <unistd.h>

#include "backend/registry.h"
#include "planner/internal.h"
#include "runtime/plan_harness.h"

/* ---- a kernel that is wrong ---- */

static TnStatus almost_relu(TnKernelCall *c) {
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t n = tn_tensor_numel(&c->in[0]);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] > 0 ? x[i] : 0;
    if (n > 0)
        y[n - 1] += 0.01f; /* one element, a little off */
    return TN_OK;
}

static TnStatus nan_relu(TnKernelCall *c) {
    for (int64_t i = 0; i < tn_tensor_numel(&c->in[0]); i++)
        ((float *)c->out[0].data)[i] = NAN;
    return TN_OK;
}

static TnStatus failing_relu(TnKernelCall *c) {
    return TN_RAISE(c->err, TN_ERR_RUN, "this kernel always fails");
}

static double nothing(const TnKernelQuery *q) {
    (void)q;
    return 0; /* the cheapest of all */
}

static bool for_relu(const TnKernelQuery *q) {
    return ((const TnUnaryParams *)q->params)->fn == TN_UNARY_relu && q->in[0].dtype == TN_F32;
}

typedef struct Warned {
    uint32_t n;
} Warned;

static void warn(void *ctx, TnLogLevel level, const char *message) {
    Warned *w = ctx;
    w->n += level == TN_LOG_WARNING && strstr(message, "is not used") != NULL;
}

/* Plans m into a writer that lives until arena is destroyed. */
static void plan_module(IrModule *m, const PlannerOptions *o, TnArena **arena, Built *b) {
    TnError err = {0};
    PlanWriter *w;
    PlanHeader h;
    OK(tni_shape_infer(m, &err));
    OK(tni_arena_create(NULL, arena, &err));
    OK(tni_plan_writer_create(*arena, &w, &err));
    OK(tni_planner_plan(m, o, w, &h, &err));
    OK(tni_plan_write_memory(w, &h, tni_default_allocator(), &b->bytes, &b->n, &err));
    b->m = m;
}

static void wrong_kernels_are_never_chosen(void **state) {
    (void)state;
    for (int tune = 0; tune < 2; tune++) {
        const TnKernel extra[3] = {
            {.name = "almost", .op = TN_OP_unary, .run = almost_relu, .supports = for_relu, .cost = nothing, .atol = 1e-6, .rtol = 1e-6},
            {.name = "nan", .op = TN_OP_unary, .run = nan_relu, .supports = for_relu, .cost = nothing, .atol = 1e-6, .rtol = 1e-6},
            {.name = "fails", .op = TN_OP_unary, .run = failing_relu, .supports = for_relu, .cost = nothing, .atol = 1e-6, .rtol = 1e-6},
        };
        Warned warned = {0};
        TnLog log = {warn, &warned};
        PlannerOptions o = {.alloc = tni_default_allocator(), .threads = 1, .tune = tune != 0, .extra = extra, .n_extra = 3, .log = &log};
        TnArena *arena;
        Built b;
        Plan p;
        TnError err = {0};
        IrModule *m = make_mlp(NULL);
        plan_module(m, &o, &arena, &b);
        OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err)); /* else INCOMPATIBLE: no such kernel */
        assert_int_equal(warned.n, 2);
        char *text = malloc(p.explain_bytes + 1);
        memcpy(text, p.explain, p.explain_bytes);
        text[p.explain_bytes] = 0;
        assert_non_null(strstr(text, "almost\t0\t0\t-\t"));
        assert_non_null(strstr(text, "too inexact"));
        assert_non_null(strstr(text, "failed: this kernel always fails"));
        free(text);
        tni_arena_destroy(&arena);
        built_free(&b, NULL);
    }
}

/* ---- comparing ---- */

static void comparing_is_strict(void **state) {
    (void)state;
    float r[4] = {1, -2, 0, 4}, y[4];
    double e;
    TnTensor ref = {.data = r, .dtype = TN_F32, .rank = 1, .dims = {4}}, out = {.data = y, .dtype = TN_F32, .rank = 1, .dims = {4}};
    memcpy(y, r, sizeof y);
    assert_true(tni_planner_close(&ref, &out, 0, 0, &e));
    assert_true(e == 0);
    y[2] = 4e-6f;
    assert_true(tni_planner_close(&ref, &out, 1.1e-6, 0, &e)); /* of the largest value */
    assert_false(tni_planner_close(&ref, &out, 0.9e-6, 1, &e));
    y[2] = NAN;
    assert_false(tni_planner_close(&ref, &out, 1, 1, &e));
    assert_true(isinf(e));
    r[2] = NAN;
    assert_true(tni_planner_close(&ref, &out, 1e-6, 0, &e));
    y[2] = 0;
    assert_false(tni_planner_close(&ref, &out, 1, 1, &e));
    r[2] = y[2] = INFINITY;
    assert_true(tni_planner_close(&ref, &out, 1e-6, 0, &e));
    y[2] = -INFINITY;
    assert_false(tni_planner_close(&ref, &out, 1, 1, &e));
    out.dims[0] = 3;
    assert_false(tni_planner_close(&ref, &out, 1, 1, &e));
}

/* ---- parts of a case ---- */

/* The reference on a part gives the bits that it gives on the whole. */
static void check_parts(TnOp op, const void *params, TnTensor *in, uint32_t n_in, TnTensor *out, bool expect_part) {
    TnError err = {0};
    bool constant[8] = {false};
    PnCase c = {.op = op, .params = params, .in = in, .constant = constant, .n_in = n_in, .out = out, .n_out = 1};
    Pn pn = {.alloc = tni_default_allocator(), .n_threads = 1};
    out->data = malloc(tn_tensor_bytes(out));
    OK(tni_planner_call(&pn, tni_kernel_ref(op), &c, out, 1, NULL, &err));
    for (uint32_t part = 0; part < 2; part++) {
        TnTensor pin[8], pout;
        size_t in_at[8], out_at;
        bool cut = tni_planner_crop(&c, part, pin, &pout, in_at, &out_at, 2000);
        assert_true(cut == expect_part);
        if (!cut)
            continue;
        assert_true(tn_tensor_numel(&pout) > 0 && tn_tensor_numel(&pout) < tn_tensor_numel(out));
        assert_true((uint8_t *)pout.data == (uint8_t *)out->data + out_at);
        for (uint32_t i = 0; i < n_in; i++)
            assert_true((uint8_t *)pin[i].data == (uint8_t *)in[i].data + in_at[i]);
        assert_true((uint8_t *)pout.data + tn_tensor_bytes(&pout) <= (uint8_t *)out->data + tn_tensor_bytes(out));
        TnTensor again = pout;
        again.data = malloc(tn_tensor_bytes(&again));
        PnCase pc = c;
        pc.in = pin;
        pc.out = &pout;
        OK(tni_planner_call(&pn, tni_kernel_ref(op), &pc, &again, 1, NULL, &err));
        assert_memory_equal(again.data, pout.data, tn_tensor_bytes(&again));
        free(again.data);
    }
    free(out->data);
    for (uint32_t i = 0; i < n_in; i++)
        free(in[i].data);
}

#define T(seed, ...) make_tensor(TN_F32, (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__}, seed)
#define SHAPE(...)                                                                                                                         \
    ((TnTensor){.dtype = TN_F32, .rank = (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .dims = {__VA_ARGS__}})

static void parts_are_parts(void **state) {
    (void)state;
    TnGemmParams gp = {.alpha = 1, .beta = 1};
    check_parts(TN_OP_gemm, &gp, (TnTensor[]){T(1, 3, 50, 12), T(2, 12, 20), T(3, 20), T(4, 3, 50, 20)}, 4, &SHAPE(3, 50, 20), true);
    check_parts(TN_OP_gemm, &gp, (TnTensor[]){T(1, 3, 12), T(2, 12, 20)}, 2, &SHAPE(3, 20), false);
    check_parts(TN_OP_matmul, NULL, (TnTensor[]){T(1, 6, 9, 12), T(2, 6, 12, 20)}, 2, &SHAPE(6, 9, 20), true);
    check_parts(TN_OP_matmul, NULL, (TnTensor[]){T(1, 6, 9, 12), T(2, 12, 20)}, 2, &SHAPE(6, 9, 20), true);
    TnConvParams cp = {.n_spatial = 2, .group = 1, .kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}, .pads = {1, 1, 1, 1}};
    check_parts(TN_OP_conv, &cp, (TnTensor[]){T(1, 2, 4, 8, 8), T(2, 10, 4, 3, 3), T(3, 10), T(4, 2, 10, 8, 8)}, 4, &SHAPE(2, 10, 8, 8),
                true);
    TnAttentionParams ap = {.heads = 2,
                            .kv_heads = 2,
                            .d_qk = 4,
                            .d_v = 4,
                            .scale = 0.5f,
                            .q_layout = TN_LAYOUT_BSHD,
                            .k_layout = TN_LAYOUT_BSHD,
                            .v_layout = TN_LAYOUT_BSHD,
                            .out_layout = TN_LAYOUT_BSHD};
    check_parts(TN_OP_attention, &ap, (TnTensor[]){T(1, 3, 9, 8), T(2, 3, 9, 8), T(3, 3, 9, 8), T(4, 3, 1, 9, 9)}, 4, &SHAPE(3, 9, 8),
                true);
}

/* Operators that are cut along their outer axes: the reference on a part gives the bits that it gives on the whole. */
static void outer_axes_are_cut(void **state) {
    (void)state;
    TnBinaryParams add = {.fn = TN_BINARY_add};
    check_parts(TN_OP_binary, &add, (TnTensor[]){T(1, 3, 5, 8), T(2, 5, 1)}, 2, &SHAPE(3, 5, 8), true);
    check_parts(TN_OP_binary, &add, (TnTensor[]){T(1, 1, 5, 8), T(2, 4, 1, 8)}, 2, &SHAPE(4, 5, 8), true);
    check_parts(TN_OP_binary, &add, (TnTensor[]){T(1, 3, 5), T(2, 1)}, 2, &SHAPE(3, 5), false);
    check_parts(TN_OP_unary, &(TnUnaryParams){.fn = TN_UNARY_exp}, (TnTensor[]){T(1, 100)}, 1, &SHAPE(100), true);
    check_parts(TN_OP_softmax, &(TnSoftmaxParams){.axis = -1, .scale = 1}, (TnTensor[]){T(1, 2, 7, 9)}, 1, &SHAPE(2, 7, 9), true);
    check_parts(TN_OP_softmax, &(TnSoftmaxParams){.axis = 0, .scale = 1}, (TnTensor[]){T(1, 50, 9)}, 1, &SHAPE(50, 9), false);
    TnNormParams np = {.epsilon = 1e-5f, .axis = 2};
    check_parts(TN_OP_layer_norm, &np, (TnTensor[]){T(1, 4, 7, 8), T(2, 8), T(3, 8)}, 3, &SHAPE(4, 7, 8), true);
    check_parts(TN_OP_add_layer_norm, &np, (TnTensor[]){T(1, 4, 7, 8), T(2, 4, 7, 8), T(3, 8), T(4, 8)}, 4, &SHAPE(4, 7, 8), true);
    check_parts(TN_OP_transpose, &(TnTransposeParams){.n = 3, .perm = {0, 2, 1}}, (TnTensor[]){T(1, 9, 3, 4)}, 1, &SHAPE(9, 4, 3), true);
    check_parts(TN_OP_transpose, &(TnTransposeParams){.n = 2, .perm = {1, 0}}, (TnTensor[]){T(1, 9, 30)}, 1, &SHAPE(30, 9), false);
    TnReduceParams rp = {.fn = TN_REDUCE_mean, .n_axes = 1, .axes = {2}};
    check_parts(TN_OP_reduce, &rp, (TnTensor[]){T(1, 4, 6, 9)}, 1, &SHAPE(4, 6), true);
    check_parts(TN_OP_concat, &(TnAxisParams){.axis = 1}, (TnTensor[]){T(1, 8, 3, 2), T(2, 8, 4, 2)}, 2, &SHAPE(8, 7, 2), true);
    TnTensor idx = make_tensor(TN_I64, 1, (int64_t[]){40}, 1);
    for (int64_t i = 0; i < 40; i++)
        ((int64_t *)idx.data)[i] = i * 7 % 11;
    check_parts(TN_OP_gather, &(TnAxisParams){.axis = 0}, (TnTensor[]){T(1, 11, 3), idx}, 2, &SHAPE(40, 3), true);
}

/* ---- the timing cache ---- */

static long file_size(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f)
        return -1;
    fseek(f, 0, SEEK_END);
    long n = ftell(f);
    fclose(f);
    return n;
}

static void count_warnings(void *ctx, TnLogLevel level, const char *message) {
    *(uint32_t *)ctx += level == TN_LOG_WARNING && strstr(message, "timing cache") != NULL;
}

static uint32_t tune_with(const char *path) {
    uint32_t warnings = 0;
    TnLog log = {count_warnings, &warnings};
    PlannerOptions o = {.alloc = tni_default_allocator(), .threads = 1, .tune = true, .timing_cache = path, .log = &log};
    TnArena *arena;
    Built b;
    plan_module(make_mlp(NULL), &o, &arena, &b);
    tni_arena_destroy(&arena);
    built_free(&b, NULL);
    return warnings;
}

/* Times differ from run to run, also in their digits: what stays is the number of lines. */
static long line_count(const char *path) {
    FILE *f = fopen(path, "r");
    long n = 0;
    for (int c; f && (c = fgetc(f)) != EOF;)
        n += c == '\n';
    if (f)
        fclose(f);
    return n;
}

static void timings_are_kept_and_damage_is_survived(void **state) {
    (void)state;
    char path[] = "/tmp/tenon-timings-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    remove(path);
    assert_int_equal(tune_with(path), 0);
    long size = file_size(path), lines = line_count(path);
    assert_true(lines > 0);
    assert_int_equal(tune_with(path), 0); /* nothing is timed again */
    assert_int_equal(file_size(path), size);
    FILE *f = fopen(path, "r+b"); /* cut off in the middle of a line: the rest is ignored */
    assert_int_equal(ftruncate(fileno(f), size - 3), 0);
    fclose(f);
    assert_int_equal(tune_with(path), 1);
    assert_int_equal(line_count(path), lines);
    f = fopen(path, "wb"); /* something else altogether */
    fputs("not a cache", f);
    fclose(f);
    assert_int_equal(tune_with(path), 1);
    assert_int_equal(line_count(path), lines);
    assert_int_equal(tune_with("/nowhere/at/all"), 1); /* cannot be written: no reason to fail */
    remove(path);
}

/* ---- constants and places ---- */

static IrModule *make_twins(void) {
    Make k = start(NULL);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "batch"), num(&k, 64));
    k.seed = 9;
    IrValueId a = WEIGHTS(&k, 1, 64, 64);
    k.seed = 9;
    IrValueId b = WEIGHTS(&k, 1, 64, 64); /* the same numbers in another constant */
    IrValueId h = NODE(&k, gemm, "a", GEMM, x, a);
    h = NODE(&k, gemm, "b", GEMM, h, b);
    h = NODE(&k, binary, "c", ADD, h, WEIGHTS(&k, 1, 64));
    output(&k, h);
    return finish(&k);
}

static void constants_are_stored_once(void **state) {
    (void)state;
    Built b;
    Plan p;
    TnError err = {0};
    OK(build_module(make_twins(), NULL, false, true, &b, &err)); /* reference kernels: plain form */
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
    assert_int_equal(p.weights_bytes, 64 * 64 * 4 + 64 * 4);
    built_free(&b, NULL);
    OK(build_module(make_twins(), NULL, false, false, &b, &err));
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
    uint32_t packed = 0;
    for (uint32_t i = 0; i < p.n_values; i++)
        packed += p.values[i].place == PLAN_AT_PACKED;
    if (packed) /* kernels that pack: the plain form is gone, and the packed one stands once */
        assert_true(packed == 2 && p.weights_bytes < 2 * 64 * 64 * 4);
    built_free(&b, NULL);
}

static void memory_is_shared_where_it_may_be(void **state) {
    (void)state;
    Built b;
    Plan p;
    TnError err = {0};
    OK(build_module(make_mlp(NULL), NULL, false, false, &b, &err));
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
    uint32_t aliases = 0;
    for (uint32_t i = 0; i < p.n_values; i++)
        aliases += p.values[i].place == PLAN_AT_ALIAS;
    assert_int_equal(aliases, 5); /* relu, sum, norm, flat and softmax work in place */
    built_free(&b, NULL);
    OK(build_module(make_generator(NULL), NULL, false, false, &b, &err));
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
    uint32_t written = 0;
    for (uint32_t s = 0; s < p.programs[0].n_steps; s++)
        for (uint32_t i = 0; i < p.steps[s].n_out; i++)
            written += p.values[p.operands[p.steps[s].first_out + i]].place == PLAN_AT_STATE;
    assert_int_equal(written, 2); /* the encoder computes straight into the states */
    assert_int_equal(p.n_states, 4);
    assert_int_equal(p.programs[0].n_outputs, 1);
    built_free(&b, NULL);
}

/* ---- results whose size depends on values ---- */

/* y = (what of x has a square below zero) as a column times weights: nothing at all, of at most 6 for each row of x. */
static IrModule *make_nothing(void) {
    Make k = start(NULL);
    graph(&k, "main");
    IrValueId x = INPUT(&k, "x", TN_F32, sym(&k, "n"), num(&k, 6));
    IrValueId square = NODE(&k, unary, "square", &(TnUnaryParams){.fn = TN_UNARY_square}, x);
    IrValueId never = NODE(&k, binary, "never", &(TnBinaryParams){.fn = TN_BINARY_less}, square, WEIGHTS(&k, 0, 1));
    IrValueId at = NODE(&k, nonzero, "where", NULL, never);
    IrValueId rows = NODE(&k, transpose, "rows", &((TnTransposeParams){.n = 2, .perm = {1, 0}}), at);
    IrValueId found = NODE(&k, gather_nd, "found", NULL, x, rows);
    IrValueId column = NODE(&k, reshape, "column", &((TnReshapeParams){.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {1}}), found);
    output(&k, NODE(&k, gemm, "y", GEMM, column, WEIGHTS(&k, 1, 1, 16)));
    return finish(&k);
}

/* The boxes that are kept, of 20. */
static IrModule *make_boxes(void) {
    Make k = start(NULL);
    graph(&k, "main");
    IrValueId boxes = INPUT(&k, "boxes", TN_F32, num(&k, 1), num(&k, 20), num(&k, 4));
    IrValueId scores = INPUT(&k, "scores", TN_F32, num(&k, 1), num(&k, 2), num(&k, 20));
    output(&k, NODE(&k, non_max_suppression, "kept", NULL, boxes, scores, INT(&k, 5)));
    return finish(&k);
}

static char *explained(IrModule *m) {
    Built b;
    Plan p;
    TnError err = {0};
    OK(build_module(m, NULL, false, false, &b, &err));
    OK(tni_plan_read((TnSpan){b.bytes, b.n, 0}, true, NULL, &p, &err));
    char *text = malloc(p.explain_bytes + 1);
    assert_non_null(text);
    memcpy(text, p.explain, p.explain_bytes);
    text[p.explain_bytes] = 0;
    built_free(&b, NULL);
    return text;
}

static void kernels_are_not_chosen_for_nothing(void **state) {
    (void)state;
    char *text = explained(make_nothing());
    assert_non_null(strstr(text, "float32[6,16]")); /* as if all of one row had been found */
    assert_null(strstr(text, "float32[0,16]"));
    free(text);
    text = explained(make_boxes());
    assert_non_null(strstr(text, "cheapest estimate of those that agree with the reference")); /* an operator that sizes its result has a choice */
    assert_null(strstr(text, "it decides the shape of its result"));
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_are_not_chosen_for_nothing),
        cmocka_unit_test(wrong_kernels_are_never_chosen),
        cmocka_unit_test(comparing_is_strict),
        cmocka_unit_test(parts_are_parts),
        cmocka_unit_test(outer_axes_are_cut),
        cmocka_unit_test(timings_are_kept_and_damage_is_survived),
        cmocka_unit_test(constants_are_stored_once),
        cmocka_unit_test(memory_is_shared_where_it_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
