/* SPDX-License-Identifier: Apache-2.0
 *
 * Test graphs: see build.h. */
#include "build.h"

#include <math.h>

#include "base/dtype.h"
#include "interp/interp.h"

void fail_error(const char *what, TnStatus st, const TnError *err) {
    if (st != TN_OK)
        fail_msg("%s: %s: %s", what, tn_status_name(st), err->message);
}

static void ok(TnStatus st, const TnError *err) {
    fail_error("graph", st, err);
}

void net_open(Net *t) {
    TnError err = {0};
    IrGraphId g;
    memset(t, 0, sizeof *t);
    t->seed = 12345;
    ok(tni_ir_module_create(tni_default_allocator(), &t->m, &err), &err);
    ok(tni_ir_graph_add(t->m, "main", &g, &err), &err);
    t->g = t->m->graphs[g];
}

void net_close(Net *t) {
    tni_ir_module_destroy(&t->m);
}

static float next(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / (float)(1 << 23) - 1.0f;
}

V net_in(Net *t, TnDtype type, int n, ...) {
    TnError err = {0};
    char name[32];
    V v;
    (void)snprintf(name, sizeof name, "in%u", t->g->n_inputs);
    ok(tni_ir_input_add(t->m, t->g, name, &v, &err), &err);
    va_list ap;
    va_start(ap, n);
    TnDim dims[TN_MAX_RANK];
    for (int i = 0; i < n; i++) {
        int d = va_arg(ap, int);
        (void)snprintf(name, sizeof name, "s%d", -d);
        dims[i] = d < 0 ? tni_ir_dim_symbol(t->m, name) : tni_ir_dim_const(t->m, d);
    }
    va_end(ap);
    t->g->values[v].dtype = type;
    t->g->values[v].rank = n;
    memcpy(t->g->values[v].dims, dims, (size_t)n * sizeof dims[0]);
    return v;
}

V net_rand(Net *t, int n, ...) {
    TnError err = {0};
    int64_t dims[TN_MAX_RANK], numel = 1;
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++)
        numel *= dims[i] = va_arg(ap, int);
    va_end(ap);
    float *data = calloc((size_t)numel + 1, sizeof *data);
    for (int64_t i = 0; i < numel; i++)
        data[i] = next(&t->seed);
    V v;
    ok(tni_ir_const_copy(t->m, t->g, NULL, TN_F32, n, dims, data, &v, &err), &err);
    free(data);
    return v;
}

V net_num(Net *t, double x) {
    TnError err = {0};
    float f = (float)x;
    V v;
    ok(tni_ir_const_copy(t->m, t->g, NULL, TN_F32, 0, NULL, &f, &v, &err), &err);
    return v;
}

V net_ints(Net *t, int n, const int64_t *x) {
    TnError err = {0};
    V v;
    ok(tni_ir_const_copy(t->m, t->g, NULL, TN_I64, 1, &(int64_t){n}, x, &v, &err), &err);
    return v;
}

V net_int(Net *t, int64_t x) {
    TnError err = {0};
    V v;
    ok(tni_ir_const_copy(t->m, t->g, NULL, TN_I64, 0, NULL, &x, &v, &err), &err);
    return v;
}

V net_node(Net *t, TnOp op, const void *params, int n_in, ...) {
    TnError err = {0};
    V in[16], out;
    va_list ap;
    va_start(ap, n_in);
    for (int i = 0; i < n_in; i++)
        in[i] = va_arg(ap, V);
    va_end(ap);
    char name[48];
    (void)snprintf(name, sizeof name, "/net/%s_%u", tni_op_info(op)->name, t->g->n_nodes);
    IrNodeId id = t->g->n_nodes;
    ok(tni_ir_node_add(t->m, t->g, op, name, params, in, (uint32_t)n_in, NULL, 1, &out, &err), &err);
    ok(tni_shape_infer_node(t->m, t->g, id, &err), &err);
    return out;
}

V net_un(Net *t, uint32_t fn, V x) {
    return net_node(t, TN_OP_unary, &(TnUnaryParams){.fn = fn}, 1, x);
}
V net_bi(Net *t, uint32_t fn, V a, V b) {
    return net_node(t, TN_OP_binary, &(TnBinaryParams){.fn = fn}, 2, a, b);
}

V net_reduce(Net *t, uint32_t fn, V x, int axis, bool keep) {
    TnReduceParams p = {.fn = fn, .keepdims = keep, .n_axes = 1, .axes = {axis}};
    return net_node(t, TN_OP_reduce, &p, 1, x);
}

V net_softmax(Net *t, V x, int axis) {
    return net_node(t, TN_OP_softmax, &(TnSoftmaxParams){.axis = axis, .scale = 1}, 1, x);
}

V net_reshape(Net *t, V x, int n, ...) {
    int64_t dims[TN_MAX_RANK];
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n; i++)
        dims[i] = va_arg(ap, int);
    va_end(ap);
    return net_node(t, TN_OP_reshape, &(TnReshapeParams){.kind = TN_RESHAPE_SHAPE}, 2, x, net_ints(t, n, dims));
}

V net_transpose(Net *t, V x, int n, ...) {
    TnTransposeParams p = {.n = (uint32_t)n};
    va_list ap;
    va_start(ap, n);
    for (int i = 0; i < n && i < TN_MAX_RANK; i++)
        p.perm[i] = (uint8_t)va_arg(ap, int);
    va_end(ap);
    return net_node(t, TN_OP_transpose, &p, 1, x);
}

V net_cast(Net *t, V x, TnDtype to) {
    return net_node(t, TN_OP_cast, &(TnCastParams){.to = to, .saturate = 1}, 1, x);
}
V net_gather(Net *t, V x, V ids, int axis) {
    return net_node(t, TN_OP_gather, &(TnAxisParams){.axis = axis}, 2, x, ids);
}

void net_out(Net *t, V v) {
    TnError err = {0};
    ok(tni_ir_output_add(t->m, t->g, v, &err), &err);
}

uint32_t net_count(const Net *t, TnOp op) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->g->n_nodes; i++)
        n += !t->g->nodes[i].dead && t->g->nodes[i].op == op;
    return n;
}

uint32_t net_nodes(const Net *t) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->g->n_nodes; i++)
        n += !t->g->nodes[i].dead;
    return n;
}

const IrNode *net_find(const Net *t, TnOp op) {
    for (uint32_t i = 0; i < t->g->n_nodes; i++)
        if (!t->g->nodes[i].dead && t->g->nodes[i].op == op)
            return &t->g->nodes[i];
    fail_msg("no node %s", tni_op_info(op)->name);
    return NULL;
}

const void *net_params(const Net *t, TnOp op) {
    return net_find(t, op)->params;
}

void check_same(const char *what, const TnTensor *a, const TnTensor *b, uint32_t n, double tol) {
    for (uint32_t i = 0; i < n; i++) {
        if (a[i].dtype != b[i].dtype || a[i].rank != b[i].rank)
            fail_msg("%s: output %u has another type or rank", what, i);
        for (int32_t d = 0; d < a[i].rank; d++)
            if (a[i].dims[d] != b[i].dims[d])
                fail_msg("%s: output %u: dim %d is %lld, was %lld", what, i, d, (long long)b[i].dims[d], (long long)a[i].dims[d]);
        int64_t numel = tn_tensor_numel(&a[i]);
        double most = 0;
        for (int64_t k = 0; k < numel; k++) {
            double x = fabs(tni_load_f64(a[i].dtype, a[i].data, k));
            if (x > most && x < 1e30)
                most = x;
        }
        double limit = tni_dtype_is_float(a[i].dtype) ? tol * fmax(most, 0.01) : 0; /* differences of equal numbers are noise */
        for (int64_t k = 0; k < numel; k++) {
            double x = tni_load_f64(a[i].dtype, a[i].data, k), y = tni_load_f64(a[i].dtype, b[i].data, k);
            bool same_odd = (x != x && y != y) || x == y;
            if (!same_odd && !(fabs(x - y) <= limit))
                fail_msg("%s: output %u element %lld: %.9g, was %.9g (limit %.3g)", what, i, (long long)k, y, x, limit);
        }
    }
}

typedef struct Feed {
    TnTensor in[8], out[8];
} Feed;

static void feed_open(const Net *t, Feed *f, int round) {
    static const int64_t sizes[2][4] = {{2, 3, 5, 4}, {1, 7, 2, 6}};
    memset(f, 0, sizeof *f);
    uint32_t seed = 99u + (uint32_t)round;
    for (uint32_t i = 0; i < t->g->n_inputs; i++) {
        const IrValue *v = &t->g->values[t->g->inputs[i]];
        TnTensor *x = &f->in[i];
        x->dtype = v->dtype;
        x->rank = v->rank;
        for (int32_t d = 0; d < v->rank; d++) {
            if (!tni_ir_dim_is_const(t->m, v->dims[d], &x->dims[d])) {
                const TnDimExpr *e = &t->m->exprs[v->dims[d]];
                assert_int_equal(e->op, TN_DIM_SYMBOL);
                int k = atoi(t->m->symbols[e->value].name + 1);
                x->dims[d] = sizes[round][(k - 1) & 3];
            }
        }
        int64_t n = tn_tensor_numel(x);
        x->data = calloc((size_t)n + 1, 8);
        for (int64_t k = 0; k < n; k++) {
            double r = next(&seed);
            tni_store_f64(x->dtype, x->data, k, x->dtype == TN_F32 ? r * 2 : x->dtype == TN_BOOL ? (k % 3 != 0) : floor((r + 1) * 4));
        }
    }
}

static void feed_run(const Net *t, Feed *f) {
    TnError err = {0};
    TnStatus st = tni_interp_run(t->m, 0, f->in, f->out, tni_default_allocator(), NULL, NULL, NULL, &err);
    fail_error("interpreter", st, &err);
}

uint32_t net_run(Net *t, double tol, ...) {
    TnError err = {0};
    Feed before[2];
    ok(tni_shape_infer(t->m, &err), &err);
    ok(tni_ir_verify(t->m, &err), &err);
    for (int i = 0; i < 2; i++) {
        feed_open(t, &before[i], i);
        feed_run(t, &before[i]);
    }
    uint32_t total = 0, n_out = t->g->n_outputs;
    va_list ap;
    va_start(ap, tol);
    for (PassRun run; (run = va_arg(ap, PassRun)) != NULL;) {
        uint32_t changed = 0;
        ok(run(t->m, &(PassContext){.device = true}, &changed, &err), &err);
        ok(tni_ir_verify(t->m, &err), &err);
        total += changed;
        for (int i = 0; i < 2; i++) {
            Feed after;
            memcpy(after.in, before[i].in, sizeof after.in);
            feed_run(t, &after);
            check_same("pass", before[i].out, after.out, n_out, tol);
            for (uint32_t o = 0; o < n_out; o++)
                tni_free(tni_default_allocator(), after.out[o].data);
        }
    }
    va_end(ap);
    ok(tni_shape_infer(t->m, &err), &err); /* still consistent as a whole */
    for (int i = 0; i < 2; i++) {
        for (uint32_t o = 0; o < n_out; o++)
            tni_free(tni_default_allocator(), before[i].out[o].data);
        for (uint32_t k = 0; k < t->g->n_inputs; k++)
            free(before[i].in[k].data);
    }
    return total;
}
