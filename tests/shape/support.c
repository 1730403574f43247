/* SPDX-License-Identifier: Apache-2.0
 *
 * See support.h. */
#include "support.h"

#include <inttypes.h>

IrModule *tm;
IrGraph *tg;
TnError terr;

int shape_setup(void **state) {
    (void)state;
    IrGraphId g;
    memset(&terr, 0, sizeof terr);
    if (tni_ir_module_create(NULL, &tm, &terr) != TN_OK || tni_ir_graph_add(tm, "main", &g, &terr) != TN_OK)
        return -1;
    tg = tm->graphs[g];
    return 0;
}

int shape_teardown(void **state) {
    (void)state;
    tni_ir_module_destroy(&tm);
    return 0;
}

static void must(TnStatus st) {
    if (st != TN_OK)
        fail_msg("%s: %s", tn_status_name(st), terr.message);
}

IrValueId t_in(const char *name, TnDtype t, const char *dims) {
    IrValueId v;
    must(tni_ir_input_add(tm, tg, name, &v, &terr));
    IrValue *x = &tg->values[v];
    x->dtype = t;
    x->rank = 0;
    for (const char *s = dims; *s != '\0';) {
        char word[64];
        size_t n = strcspn(s, ",");
        assert_true(n > 0 && n < sizeof word);
        memcpy(word, s, n);
        word[n] = '\0';
        x->dims[x->rank++] =
            (word[0] >= '0' && word[0] <= '9') || word[0] == '-' ? tni_ir_dim_const(tm, atoll(word)) : tni_ir_dim_symbol(tm, word);
        s += n + (s[n] == ',');
    }
    return v;
}

static IrValueId constant(TnDtype t, int32_t rank, const int64_t *dims, const void *data) {
    IrValueId v;
    must(tni_ir_const_copy(tm, tg, NULL, t, rank, dims, data, &v, &terr));
    return v;
}

IrValueId t_ints(const int64_t *v, uint32_t n) {
    int64_t dims[1] = {n};
    return constant(TN_I64, 1, dims, v);
}

IrValueId t_int(int64_t v) {
    return constant(TN_I64, 0, NULL, &v);
}

IrValueId t_floats(const float *v, uint32_t n) {
    int64_t dims[1] = {n};
    return constant(TN_F32, 1, dims, v);
}

IrValueId t_float(float v) {
    return constant(TN_F32, 0, NULL, &v);
}

IrValueId t_const(TnDtype t, int32_t rank, const int64_t *dims) {
    static const double zeros[4096];
    size_t bytes;
    assert_true(tni_shape_bytes(t, rank, dims, NULL, &bytes) && bytes <= sizeof zeros);
    return constant(t, rank, dims, zeros);
}

/* ---- symbols against numbers ---- */

static uint64_t rng = 88172645463325252u;
static int64_t rnd(int64_t n) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (int64_t)((rng >> 11) % (uint64_t)n);
}

enum { MAX_EXPRS = 4096 };
typedef struct Numbers {
    int64_t v[MAX_EXPRS];
    bool ok[MAX_EXPRS];
} Numbers;

static void assign(Numbers *x, uint32_t round) {
    assert_true(tm->n_exprs <= MAX_EXPRS);
    for (uint32_t i = 0; i < tm->n_exprs; i++) {
        const TnDimExpr *e = &tm->exprs[i];
        x->ok[i] = true;
        if (e->op == TN_DIM_CONST) {
            x->v[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            const TnSymbol *s = &tm->symbols[e->value];
            int64_t most = s->max == INT64_MAX ? s->min + 40 : s->max;
            x->v[i] = round == 0 ? s->min : s->min + rnd(TN_MIN(most - s->min + 1, 64));
        } else {
            x->ok[i] = x->ok[e->a] && x->ok[e->b] && (e->op != TN_DIM_SELECT || x->ok[e->c]) &&
                       tni_dim_apply((TnDimOp)e->op, x->v[e->a], x->v[e->b], e->op == TN_DIM_SELECT ? x->v[e->c] : 0, &x->v[i]);
        }
    }
}

/* The operand as numbers; false: it cannot be had. Contents: of constants, of known integers; else none (data NULL). */
static bool tensor_of(const Numbers *x, IrValueId id, bool shape, TnTensor *t, int64_t *storage) {
    const IrValue *v = &tg->values[id];
    memset(t, 0, sizeof *t);
    t->dtype = v->dtype;
    t->rank = v->rank;
    for (int32_t i = 0; i < v->rank; i++) {
        t->dims[i] = x->v[v->dims[i]];
        if (!x->ok[v->dims[i]] || t->dims[i] < 0)
            return false;
    }
    if (v->kind == IR_CONST) {
        const void *p = v->data;
        memcpy(&t->data, &p, sizeof p);
    } else if (v->elems != NULL) {
        for (uint32_t i = 0; i < v->n_elems; i++) {
            if (!x->ok[v->elems[i]] || (shape && x->v[v->elems[i]] == 0)) /* 0 in a target shape means "copy" */
                return false;
            tni_store_i64(v->dtype, storage, i, x->v[v->elems[i]]);
        }
        t->data = storage;
    }
    return true;
}

/* Operators whose dims come from the contents of these operands (bit i: operand i). */
static uint32_t reads(TnOp op) {
    switch (op) {
    case TN_OP_reshape:
    case TN_OP_expand:
    case TN_OP_tile:
    case TN_OP_pad:
    case TN_OP_topk:
    case TN_OP_one_hot:
    case TN_OP_split:
        return 2;
    case TN_OP_slice:
        return 2 | 4;
    case TN_OP_resize:
        return 4 | 8;
    case TN_OP_constant_of_shape:
        return 1;
    case TN_OP_range:
        return 7;
    default:
        return 0;
    }
}

/* Broadcasting takes symbols to be equal, which numbers drawn at random for data-dependent ones are not. */
static bool has_data_dims(const IrNode *n) {
    for (uint32_t o = 0; o < n->n_out + n->n_in; o++) {
        IrValueId id = o < n->n_out ? n->out[o] : n->in[o - n->n_out];
        if (id == TN_NO_VALUE)
            continue;
        const IrValue *v = &tg->values[id];
        for (int32_t i = 0; i < v->rank; i++) {
            const TnDimExpr *e = &tm->exprs[v->dims[i]];
            if (e->op == TN_DIM_SYMBOL && tm->symbols[e->value].data_dependent)
                return true;
        }
    }
    return false;
}

static void check_concrete(const IrNode *n) {
    static Numbers x;
    int64_t storage[8][16];
    TnTensor in[8], out[8];
    uint32_t good = 0;
    if (n->n_in > 8 || n->n_out > 8 || (tni_op_info(n->op)->flags & (TN_OPF_CONTROL | TN_OPF_DATA_SHAPE)) != 0 || has_data_dims(n))
        return;
    for (uint32_t round = 0; round < 12; round++) {
        TnArena *scratch = NULL;
        bool ready = true;
        assign(&x, round);
        memset(in, 0, sizeof in);
        memset(out, 0, sizeof out);
        for (uint32_t i = 0; i < n->n_in && ready; i++) {
            if (n->in[i] != TN_NO_VALUE)
                ready = tensor_of(&x, n->in[i], n->op == TN_OP_reshape && i == 1, &in[i], storage[i]) &&
                        ((reads(n->op) >> i & 1u) == 0 || in[i].data != NULL);
        }
        if (!ready)
            continue;
        TnError e = {0};
        must(tni_arena_create(NULL, &scratch, &terr));
        TnStatus st = tni_shape_concrete(n->op, n->params, in, n->n_in, out, n->n_out, scratch, &e);
        tni_arena_destroy(&scratch);
        if (st != TN_OK)
            continue; /* sizes that do not fit each other */
        good++;
        for (uint32_t o = 0; o < n->n_out; o++) {
            const IrValue *v = &tg->values[n->out[o]];
            assert_int_equal(out[o].dtype, v->dtype);
            assert_int_equal(out[o].rank, v->rank);
            for (int32_t i = 0; i < v->rank; i++) {
                char text[128];
                if (!x.ok[v->dims[i]] || x.v[v->dims[i]] != out[o].dims[i])
                    fail_msg("%s: dim %d of output %u: %s is %" PRId64 ", on numbers it is %" PRId64, tni_op_info(n->op)->name, i, o,
                             tni_dim_str(text, sizeof text, tm->exprs, tm->symbols, v->dims[i]), x.v[v->dims[i]], out[o].dims[i]);
            }
        }
    }
    (void)good;
}

IrValueId t_node(TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out, IrValueId *outs) {
    IrValueId first[16];
    assert_true(n_out <= 16);
    must(tni_ir_node_add(tm, tg, op, NULL, params, in, n_in, NULL, n_out, outs != NULL ? outs : first, &terr));
    must(tni_shape_infer_node(tm, tg, tg->n_nodes - 1, &terr));
    must(tni_ir_verify(tm, &terr));
    uint32_t symbols = tm->n_symbols, exprs = tm->n_exprs;
    must(tni_shape_infer_node(tm, tg, tg->n_nodes - 1, &terr)); /* idempotent */
    assert_int_equal(tm->n_symbols, symbols);
    assert_int_equal(tm->n_exprs, exprs);
    check_concrete(&tg->nodes[tg->n_nodes - 1]);
    return outs != NULL ? outs[0] : first[0];
}

void t_fails(TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out, TnStatus code, const char *part, int line) {
    uint32_t n_nodes = tg->n_nodes, n_values = tg->n_values;
    must(tni_ir_node_add(tm, tg, op, "bad", params, in, n_in, NULL, n_out, NULL, &terr));
    memset(&terr, 0, sizeof terr);
    TnStatus st = tni_shape_infer_node(tm, tg, n_nodes, &terr);
    if (st != code || terr.code != code)
        fail_msg("line %d: status %s instead of %s: %s", line, tn_status_name(st), tn_status_name(code), terr.message);
    if (strstr(terr.message, part) == NULL || strstr(terr.message, "node '") == NULL)
        fail_msg("line %d: \"%s\" is not in \"%s\"", line, part, terr.message);
    tg->n_nodes = n_nodes;
    tg->n_values = n_values;
}

void t_expect(IrValueId id, const char *type, int line) {
    char text[512], dim[128];
    const IrValue *v = &tg->values[id];
    int n = snprintf(text, sizeof text, "%s[", tn_dtype_name(v->dtype));
    for (int32_t i = 0; i < v->rank; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", i > 0 ? ", " : "",
                      tni_dim_str(dim, sizeof dim, tm->exprs, tm->symbols, v->dims[i]));
    snprintf(text + n, sizeof text - (size_t)n, "]");
    if (strcmp(text, type) != 0)
        fail_msg("line %d: %s, expected %s", line, text, type);
}

void t_contents(IrValueId id, const char *elems, int line) {
    char text[512] = "", dim[128];
    const IrValue *v = &tg->values[id];
    int n = 0;
    if (v->elems != NULL) {
        n = snprintf(text, sizeof text, "<");
        for (uint32_t i = 0; i < v->n_elems; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", i > 0 ? ", " : "",
                          tni_dim_str(dim, sizeof dim, tm->exprs, tm->symbols, v->elems[i]));
        snprintf(text + n, sizeof text - (size_t)n, ">");
    }
    if (strcmp(text, elems) != 0)
        fail_msg("line %d: contents %s, expected %s", line, text, elems);
}

IrValueId op_shape(IrValueId x) {
    TnShapeParams p = {.start = 0, .end = INT32_MAX};
    return NODE(shape, &p, x);
}

IrValueId op_pick(IrValueId x, int64_t i) {
    TnAxisParams p = {.axis = 0};
    return NODE(gather, &p, x, t_int(i));
}

IrValueId op_unsqueeze(IrValueId x, int32_t axis) {
    TnReshapeParams p = {.kind = TN_RESHAPE_UNSQUEEZE, .n_axes = 1, .axes = {axis}};
    return NODE(reshape, &p, x);
}

IrValueId op_squeeze(IrValueId x, int32_t axis) {
    TnReshapeParams p = {.kind = TN_RESHAPE_SQUEEZE, .n_axes = 1, .axes = {axis}};
    return NODE(reshape, &p, x);
}

IrValueId op_concat(const IrValueId *in, uint32_t n, int32_t axis) {
    TnAxisParams p = {.axis = axis};
    return t_node(TN_OP_concat, &p, in, n, 1, NULL);
}

IrValueId op_binary(TnBinaryFn fn, IrValueId a, IrValueId b) {
    TnBinaryParams p = {.fn = fn};
    return NODE(binary, &p, a, b);
}

IrValueId op_unary(TnUnaryFn fn, IrValueId a) {
    TnUnaryParams p = {.fn = fn};
    return NODE(unary, &p, a);
}

IrValueId op_cast(TnDtype t, IrValueId a) {
    TnCastParams p = {.to = t, .saturate = 1};
    return NODE(cast, &p, a);
}

IrValueId op_reshape(IrValueId x, IrValueId shape) {
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE};
    return NODE(reshape, &p, x, shape);
}

IrValueId op_dim(IrValueId x, int64_t i) {
    return op_unsqueeze(op_pick(op_shape(x), i), 0);
}
