/* SPDX-License-Identifier: Apache-2.0
 *
 * The interpreter itself: inputs checked, symbols bound, control flow, memory given back, every allocation failing in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "interp/interp.h"
#include "shape/shape.h"

/* Counts live blocks and peak bytes; fails allocation number fail_at (counted from 1; 0: never). */
typedef struct Meter {
    size_t live, peak, now;
    uint64_t calls, fail_at;
} Meter;

static void *meter_alloc(void *ctx, size_t size, size_t align) {
    Meter *m = ctx;
    if (++m->calls == m->fail_at)
        return NULL;
    size_t head = align < 64 ? 64 : align;
    uint8_t *p = aligned_alloc(head, (size + head + head - 1) / head * head);
    if (p == NULL)
        return NULL;
    memcpy(p + head - 16, &size, sizeof size);
    memcpy(p + head - 8, &head, sizeof head);
    m->live++;
    m->now += size;
    m->peak = m->now > m->peak ? m->now : m->peak;
    return p + head;
}

static void meter_free(void *ctx, void *ptr) {
    Meter *m = ctx;
    uint8_t *p = ptr;
    size_t size, head;
    memcpy(&size, p - 16, sizeof size);
    memcpy(&head, p - 8, sizeof head);
    m->live--;
    m->now -= size;
    free(p - head);
}

typedef struct Build {
    IrModule *m;
    TnError err;
} Build;

static Build begin(void) {
    Build b = {0};
    assert_int_equal(tni_ir_module_create(NULL, &b.m, &b.err), TN_OK);
    return b;
}

static IrGraph *graph(Build *b, const char *name) {
    IrGraphId id;
    assert_int_equal(tni_ir_graph_add(b->m, name, &id, &b->err), TN_OK);
    return b->m->graphs[id];
}

/* dims: numbers, or -1 for the symbol named next in the list. */
static IrValueId input(Build *b, IrGraph *g, const char *name, TnDtype t, int32_t rank, const char *const *dims) {
    IrValueId v;
    assert_int_equal(tni_ir_input_add(b->m, g, name, &v, &b->err), TN_OK);
    g->values[v].dtype = t;
    g->values[v].rank = rank;
    for (int32_t d = 0; d < rank; d++)
        g->values[v].dims[d] =
            dims[d][0] >= '0' && dims[d][0] <= '9' ? tni_ir_dim_const(b->m, atoi(dims[d])) : tni_ir_dim_symbol(b->m, dims[d]);
    return v;
}
#define DIMS(...) ((const char *const[]){__VA_ARGS__})

static IrValueId node(Build *b, IrGraph *g, TnOp op, const char *name, const void *p, uint32_t n_in, const IrValueId *in) {
    IrValueId out;
    assert_int_equal(tni_ir_node_add(b->m, g, op, name, p, in, n_in, (const char *const[]){name}, 1, &out, &b->err), TN_OK);
    return out;
}
#define IN(...)                                                                                                                            \
    (uint32_t)(sizeof((IrValueId[]){__VA_ARGS__}) / sizeof(IrValueId)), (const IrValueId[]) {                                              \
        __VA_ARGS__                                                                                                                        \
    }

static void output(Build *b, IrGraph *g, IrValueId v) {
    assert_int_equal(tni_ir_output_add(b->m, g, v, &b->err), TN_OK);
}

static void finish(Build *b) {
    if (tni_shape_infer(b->m, &b->err) != TN_OK || tni_ir_verify(b->m, &b->err) != TN_OK)
        fail_msg("%s", b->err.message);
}

/* x [n, 3] + y [n, 1], then a chain of ten negations. */
static Build chain(void) {
    Build b = begin();
    IrGraph *g = graph(&b, "main");
    IrValueId x = input(&b, g, "x", TN_F32, 2, DIMS("n", "3")), y = input(&b, g, "y", TN_F32, 2, DIMS("n", "1"));
    IrValueId v = node(&b, g, TN_OP_binary, "sum", &(TnBinaryParams){TN_BINARY_add}, IN(x, y));
    char name[16];
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "neg%d", i);
        v = node(&b, g, TN_OP_unary, name, &(TnUnaryParams){.fn = TN_UNARY_neg}, IN(v));
    }
    output(&b, g, v);
    output(&b, g, x); /* an input is an output, too */
    finish(&b);
    return b;
}

static TnTensor f32(float *data, int64_t d0, int64_t d1) {
    return (TnTensor){.data = data, .dtype = TN_F32, .rank = 2, .dims = {d0, d1}};
}

static TnStatus count_tensors(void *ctx, IrNodeId id, uint32_t k, const TnTensor *t, TnError *err) {
    (void)id, (void)k, (void)err;
    assert_int_equal(t->dims[1], 3);
    ++*(int *)ctx;
    return TN_OK;
}

static TnStatus refuse(void *ctx, IrNodeId id, uint32_t k, const TnTensor *t, TnError *err) {
    (void)ctx, (void)id, (void)k, (void)t;
    return TN_RAISE(err, TN_ERR_STATE, "stop");
}

static void plain_graph(void **state) {
    (void)state;
    Build b = chain();
    float x[6] = {1, 2, 3, 4, 5, 6}, y[2] = {10, 20};
    TnTensor in[2] = {f32(x, 2, 3), f32(y, 2, 1)}, out[2];
    Meter meter = {0};
    const TnAllocator a = {meter_alloc, meter_free, &meter};
    int seen = 0;
    assert_int_equal(tni_interp_run(b.m, 0, in, out, &a, NULL, count_tensors, &seen, &b.err), TN_OK);
    assert_int_equal(seen, 11);
    const float want[6] = {11, 12, 13, 24, 25, 26};
    assert_memory_equal(out[0].data, want, sizeof want);
    assert_memory_equal(out[1].data, x, sizeof x);
    assert_ptr_not_equal(out[1].data, x);
    assert_int_equal(meter.live, 2); /* the outputs */
    tni_free(&a, out[0].data);
    tni_free(&a, out[1].data);
    assert_int_equal(tni_interp_run(b.m, 0, in, out, &a, NULL, refuse, NULL, &b.err), TN_ERR_STATE);
    assert_int_equal(meter.live, 0);
    /* no rows at all: outside the range that symbols have unless told otherwise */
    in[0] = f32(NULL, 0, 3);
    in[1] = f32(NULL, 0, 1);
    assert_int_equal(tni_interp_run(b.m, 0, in, out, &a, NULL, NULL, NULL, &b.err), TN_ERR_SHAPE);
    b.m->symbols[0].min = 0;
    assert_int_equal(tni_interp_run(b.m, 0, in, out, &a, NULL, NULL, NULL, &b.err), TN_OK);
    assert_int_equal(out[0].dims[0], 0);
    tni_free(&a, out[0].data);
    tni_free(&a, out[1].data);
    assert_int_equal(meter.live, 0);
    tni_ir_module_destroy(&b.m);
}

static void memory_is_given_back(void **state) {
    (void)state;
    Build b = chain();
    static float x[3000], y[1000];
    TnTensor in[2] = {f32(x, 1000, 3), f32(y, 1000, 1)}, out[2];
    Meter meter = {0};
    const TnAllocator a = {meter_alloc, meter_free, &meter};
    assert_int_equal(tni_interp_run(b.m, 0, in, out, &a, NULL, NULL, NULL, &b.err), TN_OK);
    assert_true(meter.peak < 4 * sizeof x + 40000); /* never all eleven tensors at once */
    tni_free(&a, out[0].data);
    tni_free(&a, out[1].data);
    tni_ir_module_destroy(&b.m);
}

static void check_error(Build *b, TnTensor x, TnTensor y, TnStatus want, const char *text) {
    TnTensor in[2] = {x, y}, out[2];
    TnError err = {0};
    assert_int_equal(tni_interp_run(b->m, 0, in, out, NULL, NULL, NULL, NULL, &err), want);
    if (strstr(err.message, text) == NULL)
        fail_msg("'%s' is not in: %s", text, err.message);
}

static void bad_inputs(void **state) {
    (void)state;
    Build b = chain();
    float x[12] = {0};
    TnTensor wrong = f32(x, 2, 3);
    wrong.dtype = TN_F64;
    check_error(&b, wrong, f32(x, 2, 1), TN_ERR_TYPE, "input 'x': expected float32 [n, 3], found float64");
    check_error(&b, f32(x, 2, 4), f32(x, 2, 1), TN_ERR_SHAPE, "axis 1 must be 3");
    check_error(&b, f32(x, 2, 3), f32(x, 3, 1), TN_ERR_SHAPE, "n is 2 in input 'x' but axis 0 is 3");
    wrong = f32(x, 2, 3);
    wrong.rank = 1;
    check_error(&b, wrong, f32(x, 2, 1), TN_ERR_SHAPE, "found rank 1");
    check_error(&b, f32(NULL, 2, 3), f32(x, 2, 1), TN_ERR_ARGUMENT, "has no data");
    check_error(&b, f32(x, -2, 3), f32(x, 2, 1), TN_ERR_SHAPE, "not possible");
    assert_int_equal(tni_shape_apply_ranges(b.m, "n=1:2:4", &b.err), TN_OK);
    check_error(&b, f32(x, 7, 3), f32(x, 7, 1), TN_ERR_SHAPE, "outside the range 1 to 4");
    TnTensor out[2], in[2] = {f32(x, 2, 3), f32(x, 2, 1)};
    assert_int_equal(tni_interp_run(b.m, 5, in, out, NULL, NULL, NULL, NULL, NULL), TN_ERR_ARGUMENT);
    tni_ir_module_destroy(&b.m);
}

static void failure_names_the_node(void **state) {
    (void)state;
    Build b = begin();
    IrGraph *g = graph(&b, "main");
    IrValueId x = input(&b, g, "x", TN_F32, 2, DIMS("n", "3")), i = input(&b, g, "i", TN_I64, 2, DIMS("k", "1"));
    output(&b, g, node(&b, g, TN_OP_gather_nd, "pick", &(TnGatherNdParams){0}, IN(x, i)));
    finish(&b);
    float data[6] = {0};
    int64_t idx[1] = {2};
    TnTensor in[2] = {f32(data, 2, 3), {.data = idx, .dtype = TN_I64, .rank = 2, .dims = {1, 1}}}, out[1];
    TnError err = {0};
    TnStatus st = tni_interp_run(b.m, 0, in, out, NULL, NULL, NULL, NULL, &err);
    if (st != TN_ERR_RUN)
        fail_msg("%s: %s", tn_status_name(st), err.message);
    assert_string_equal(err.node, "pick");
    assert_non_null(strstr(err.message, "node 'pick'"));
    assert_non_null(strstr(err.message, "index 2"));
    tni_ir_module_destroy(&b.m);
}

/* if_: then x + x, else -x; the condition is an input, x is captured. */
static Build branches(void) {
    Build b = begin();
    IrGraph *g = graph(&b, "main"), *t = graph(&b, "then"), *e = graph(&b, "else");
    IrValueId tx = input(&b, t, "x", TN_F32, 2, DIMS("n", "3")), ex = input(&b, e, "x", TN_F32, 2, DIMS("n", "3"));
    output(&b, t, node(&b, t, TN_OP_binary, "twice", &(TnBinaryParams){TN_BINARY_add}, IN(tx, tx)));
    output(&b, e, node(&b, e, TN_OP_unary, "minus", &(TnUnaryParams){.fn = TN_UNARY_neg}, IN(ex)));
    IrValueId c = input(&b, g, "c", TN_BOOL, 0, NULL), x = input(&b, g, "x", TN_F32, 2, DIMS("n", "3"));
    output(&b, g, node(&b, g, TN_OP_if_, "choose", &(TnControlParams){.graph = {1, 2}}, IN(c, x)));
    finish(&b);
    return b;
}

static void if_else(void **state) {
    (void)state;
    Build b = branches();
    float x[3] = {1, 2, 3};
    for (uint8_t c = 0; c < 2; c++) {
        TnTensor in[2] = {{.data = &c, .dtype = TN_BOOL}, f32(x, 1, 3)}, out[1];
        TnError err = {0};
        if (tni_interp_run(b.m, 0, in, out, NULL, NULL, NULL, NULL, &err) != TN_OK)
            fail_msg("%s", err.message);
        assert_true(((float *)out[0].data)[2] == (c != 0 ? 6.0f : -3.0f));
        tni_free(tni_default_allocator(), out[0].data);
    }
    tni_ir_module_destroy(&b.m);
}

/* loop: carried s += x, scan s; stops after `trips` rounds. */
static Build sums(void) {
    Build b = begin();
    IrGraph *g = graph(&b, "main"), *l = graph(&b, "body");
    input(&b, l, "i", TN_I64, 0, NULL);
    IrValueId c = input(&b, l, "c", TN_BOOL, 0, NULL), s = input(&b, l, "s", TN_F32, 2, DIMS("n", "3"));
    IrValueId x = input(&b, l, "x", TN_F32, 2, DIMS("n", "3"));
    IrValueId next = node(&b, l, TN_OP_binary, "next", &(TnBinaryParams){TN_BINARY_add}, IN(s, x));
    output(&b, l, c);
    output(&b, l, next);
    output(&b, l, next);
    IrValueId trips = input(&b, g, "trips", TN_I64, 0, NULL), gx = input(&b, g, "x", TN_F32, 2, DIMS("n", "3")), outs[2];
    assert_int_equal(tni_ir_node_add(b.m, g, TN_OP_loop, "loop", &(TnControlParams){.graph = {1}, .n_carried = 1, .n_scan = 1},
                                     (IrValueId[]){trips, TN_NO_VALUE, gx, gx}, 4, (const char *const[]){"total", "steps"}, 2, outs,
                                     &b.err),
                     TN_OK);
    output(&b, g, outs[0]);
    output(&b, g, outs[1]);
    finish(&b);
    return b;
}

static void loops(void **state) {
    (void)state;
    Build b = sums();
    float x[3] = {1, 2, 3};
    for (int64_t trips = 0; trips < 12; trips += 11) {
        TnTensor in[2] = {{.data = &trips, .dtype = TN_I64}, f32(x, 1, 3)}, out[2];
        TnError err = {0};
        if (tni_interp_run(b.m, 0, in, out, NULL, NULL, NULL, NULL, &err) != TN_OK)
            fail_msg("%s", err.message);
        assert_true(((float *)out[0].data)[1] == (float)(2 * (trips + 1)));
        assert_true(out[1].rank == 3 && out[1].dims[0] == trips && out[1].dims[1] == 1 && out[1].dims[2] == 3);
        for (int64_t i = 0; i < trips; i++)
            assert_true(((float *)out[1].data)[3 * i + 2] == (float)(3 * (i + 2)));
        tni_free(tni_default_allocator(), out[0].data);
        tni_free(tni_default_allocator(), out[1].data);
    }
    tni_ir_module_destroy(&b.m);
}

/* nonzero makes a data-dependent size, which a slice of a gather then has. */
static void data_dependent(void **state) {
    (void)state;
    Build b = begin();
    IrGraph *g = graph(&b, "main");
    IrValueId x = input(&b, g, "x", TN_F32, 2, DIMS("n", "3"));
    IrValueId nz = node(&b, g, TN_OP_nonzero, "nz", NULL, IN(x));
    IrValueId t = node(&b, g, TN_OP_transpose, "t", &(TnTransposeParams){2, {1, 0}}, IN(nz));
    output(&b, g, node(&b, g, TN_OP_gather_nd, "values", &(TnGatherNdParams){0}, IN(x, t)));
    output(&b, g, node(&b, g, TN_OP_shape, "shape", &(TnShapeParams){0, INT32_MAX}, IN(t)));
    finish(&b);
    float data[6] = {0, 5, 0, 0, 6, 7};
    for (int round = 0; round < 2; round++) {
        TnTensor in[1] = {f32(data, 2, 3)}, out[2];
        TnError err = {0};
        if (tni_interp_run(b.m, 0, in, out, NULL, NULL, NULL, NULL, &err) != TN_OK)
            fail_msg("%s", err.message);
        assert_int_equal(out[0].dims[0], 3 - round);
        assert_int_equal(((int64_t *)out[1].data)[0], 3 - round);
        tni_free(tni_default_allocator(), out[0].data);
        tni_free(tni_default_allocator(), out[1].data);
        data[1] = 0;
    }
    tni_ir_module_destroy(&b.m);
}

static void state_is_refused(void **state) {
    (void)state;
    Build b = begin();
    IrGraph *g = graph(&b, "main");
    IrValueId x = input(&b, g, "x", TN_F32, 2, DIMS("n", "3"));
    IrNode n = {
        .op = TN_OP_cache_append, .name = "append", .params = &(TnCacheAppendParams){0, 3}, .in = (IrValueId[]){x, x, x}, .n_in = 3};
    TnTensor in[3] = {{0}}, out[1];
    TnError err = {0};
    assert_int_equal(tni_interp_node(b.m, &n, in, out, NULL, NULL, &err), TN_ERR_UNSUPPORTED);
    tni_ir_module_destroy(&b.m);
}

/* Every allocation of a run fails once: TN_ERR_MEMORY, and nothing is left. */
static void fail_each(Build b, const TnTensor *in, uint32_t n_out) {
    TnTensor out[4];
    for (uint64_t k = 1;; k++) {
        Meter meter = {.fail_at = k};
        const TnAllocator a = {meter_alloc, meter_free, &meter};
        TnError err = {0};
        TnStatus st = tni_interp_run(b.m, 0, in, out, &a, NULL, NULL, NULL, &err);
        if (st == TN_OK) {
            assert_true(meter.calls < k && k > 3);
            for (uint32_t i = 0; i < n_out; i++)
                tni_free(&a, out[i].data);
            assert_int_equal(meter.live, 0);
            break;
        }
        assert_int_equal(st, TN_ERR_MEMORY);
        assert_int_equal(meter.live, 0);
    }
    tni_ir_module_destroy(&b.m);
}

static void allocation_failures(void **state) {
    (void)state;
    float x[6] = {1, 2, 3, 4, 5, 6}, y[2] = {1, 2};
    int64_t trips = 6;
    uint8_t c = 1;
    fail_each(chain(), (TnTensor[]){f32(x, 2, 3), f32(y, 2, 1)}, 2);
    fail_each(sums(), (TnTensor[]){{.data = &trips, .dtype = TN_I64}, f32(x, 2, 3)}, 2);
    fail_each(branches(), (TnTensor[]){{.data = &c, .dtype = TN_BOOL}, f32(x, 2, 3)}, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_graph),
        cmocka_unit_test(memory_is_given_back),
        cmocka_unit_test(bad_inputs),
        cmocka_unit_test(failure_names_the_node),
        cmocka_unit_test(if_else),
        cmocka_unit_test(loops),
        cmocka_unit_test(data_dependent),
        cmocka_unit_test(state_is_refused),
        cmocka_unit_test(allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
