/* SPDX-License-Identifier: Apache-2.0
 *
 * Pattern helpers: producers, users, constants, shapes, closed sets of nodes. */
#include "passes/match.h"

#include <math.h>
#include <stdio.h>

#include "base/dtype.h"

IrNode *tni_pass_def(const Rewriter *r, IrValueId v) {
    if (v == TN_NO_VALUE || r->g->values[v].kind != IR_NODE_OUTPUT)
        return NULL;
    IrNode *n = &r->g->nodes[r->g->values[v].producer];
    return n->dead ? NULL : n;
}

IrNode *tni_pass_def_op(const Rewriter *r, IrValueId v, TnOp op) {
    IrNode *n = tni_pass_def(r, v);
    return n != NULL && n->op == op ? n : NULL;
}

const void *tni_pass_params(const Rewriter *r, IrValueId v) {
    const IrNode *n = tni_pass_def(r, v);
    return n != NULL ? n->params : NULL;
}

IrValueId tni_pass_unary(const Rewriter *r, IrValueId v, uint32_t fn) {
    const IrNode *n = tni_pass_def_op(r, v, TN_OP_unary);
    return n != NULL && ((const TnUnaryParams *)n->params)->fn == fn ? n->in[0] : TN_NO_VALUE;
}

bool tni_pass_binary(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *a, IrValueId *b) {
    const IrNode *n = tni_pass_def_op(r, v, TN_OP_binary);
    if (n == NULL || ((const TnBinaryParams *)n->params)->fn != fn)
        return false;
    *a = n->in[0];
    *b = n->in[1];
    return true;
}

bool tni_pass_binary_scalar(const Rewriter *r, IrValueId v, uint32_t fn, IrValueId *x, double *c) {
    IrValueId a, b;
    if (!tni_pass_binary(r, v, fn, &a, &b))
        return false;
    if (tni_pass_number(r, b, c) && r->g->values[a].rank == r->g->values[v].rank) {
        *x = a;
        return true;
    }
    if ((fn == TN_BINARY_add || fn == TN_BINARY_mul) && tni_pass_number(r, a, c) && r->g->values[b].rank == r->g->values[v].rank) {
        *x = b;
        return true;
    }
    return false;
}

bool tni_pass_scaled(const Rewriter *r, IrValueId v, IrValueId *x, double *c) {
    if (tni_pass_binary_scalar(r, v, TN_BINARY_mul, x, c))
        return true;
    if (!tni_pass_binary_scalar(r, v, TN_BINARY_div, x, c) || *c == 0)
        return false;
    *c = 1.0 / *c;
    return true;
}

uint32_t tni_pass_uses(const Rewriter *r, IrValueId v) {
    return r->count[v] + r->is_out[v];
}

IrNodeId tni_pass_only_user(const Rewriter *r, IrValueId v) {
    return v != TN_NO_VALUE && tni_pass_uses(r, v) == 1 && r->head[v] != PASS_NONE ? r->uses[r->head[v]].node : TN_NO_NODE;
}

/* ---- constants ---- */

bool tni_pass_tensor(Rewriter *r, IrValueId v, TnTensor *out) {
    if (!tni_ir_tensor(r->m, r->g, v, out))
        return false;
    size_t align = tn_dtype_bits(out->dtype) / 8, bytes = tn_tensor_bytes(out);
    if (align <= 1 || bytes == 0 || (uintptr_t)out->data % TN_MIN(align, 8) == 0)
        return true;
    void *copy = tni_arena_alloc_aligned(r->scratch, bytes, 64);
    if (copy == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, bytes));
        return false;
    }
    memcpy(copy, out->data, bytes);
    out->data = copy;
    return true;
}

bool tni_pass_number(const Rewriter *r, IrValueId v, double *out) {
    TnTensor t;
    if (v == TN_NO_VALUE || !tni_ir_tensor(r->m, r->g, v, &t) || t.dtype == TN_STRING || tn_tensor_numel(&t) != 1)
        return false;
    *out = tni_load_f64(t.dtype, t.data, 0);
    return true;
}

bool tni_pass_is_number(const Rewriter *r, IrValueId v, double want) {
    double c;
    return tni_pass_number(r, v, &c) && fabs(c - want) <= 2e-6 * fabs(want);
}

bool tni_pass_uniform(const Rewriter *r, IrValueId v, double *out) {
    TnTensor t;
    if (v == TN_NO_VALUE || !tni_ir_tensor(r->m, r->g, v, &t) || t.dtype == TN_STRING)
        return false;
    int64_t n = tn_tensor_numel(&t);
    if (n < 1 || n > (1 << 20))
        return false;
    *out = tni_load_f64(t.dtype, t.data, 0);
    for (int64_t i = 1; i < n; i++)
        if (tni_load_f64(t.dtype, t.data, i) != *out)
            return false;
    return *out == *out;
}

bool tni_pass_ints(const Rewriter *r, IrValueId v, int64_t *out, uint32_t max, uint32_t *n) {
    TnTensor t;
    if (v == TN_NO_VALUE || !tni_ir_tensor(r->m, r->g, v, &t) || t.rank > 1 || !tni_dtype_is_int(t.dtype))
        return false;
    int64_t numel = tn_tensor_numel(&t);
    if (numel > (int64_t)max)
        return false;
    for (int64_t i = 0; i < numel; i++)
        out[i] = tni_load_i64(t.dtype, t.data, i);
    *n = (uint32_t)numel;
    return true;
}

static bool const_bounds(const Rewriter *r, IrValueId v, double *lo, double *hi) {
    TnTensor t;
    if (!tni_ir_tensor(r->m, r->g, v, &t) || t.dtype == TN_STRING)
        return false;
    int64_t n = tn_tensor_numel(&t);
    *lo = INFINITY;
    *hi = -INFINITY;
    if (n > (1 << 24))
        return false;
    for (int64_t i = 0; i < n; i++) {
        double x = tni_load_f64(t.dtype, t.data, i);
        if (x != x)
            return false;
        *lo = fmin(*lo, x);
        *hi = fmax(*hi, x);
    }
    return n > 0;
}

/* budget: values still to be looked at; shared parts are looked at again, and a model may share without end. */
static bool bounds_at(const Rewriter *r, IrValueId v, double *lo, double *hi, int *budget);

static bool binary_bounds(const Rewriter *r, const IrNode *n, double *lo, double *hi, int *budget) {
    double al, ah, bl, bh;
    if (!bounds_at(r, n->in[0], &al, &ah, budget) || !bounds_at(r, n->in[1], &bl, &bh, budget))
        return false;
    switch (((const TnBinaryParams *)n->params)->fn) {
    case TN_BINARY_add:
        *lo = al + bl;
        *hi = ah + bh;
        break;
    case TN_BINARY_sub:
        *lo = al - bh;
        *hi = ah - bl;
        break;
    case TN_BINARY_div:
        if (bl != bh || bl == 0)
            return false;
        bl = bh = 1.0 / bl;
        /* fall through */
    case TN_BINARY_mul:
        *lo = fmin(fmin(al * bl, al * bh), fmin(ah * bl, ah * bh));
        *hi = fmax(fmax(al * bl, al * bh), fmax(ah * bl, ah * bh));
        break;
    default:
        return false;
    }
    return *lo == *lo && *hi == *hi;
}

static bool bounds_at(const Rewriter *r, IrValueId v, double *lo, double *hi, int *budget) {
    if (v == TN_NO_VALUE || --*budget < 0)
        return false;
    const IrValue *value = &r->g->values[v];
    if (value->kind == IR_CONST)
        return const_bounds(r, v, lo, hi);
    if (value->dtype == TN_BOOL) {
        *lo = 0;
        *hi = 1;
        return true;
    }
    const IrNode *n = tni_pass_def(r, v);
    double l2, h2;
    switch (n == NULL ? TN_OP_COUNT : n->op) {
    case TN_OP_where:
        if (!bounds_at(r, n->in[1], lo, hi, budget) || !bounds_at(r, n->in[2], &l2, &h2, budget))
            return false;
        *lo = fmin(*lo, l2);
        *hi = fmax(*hi, h2);
        return true;
    case TN_OP_cast:
        if (tni_dtype_is_int(value->dtype) && tni_dtype_is_float(r->g->values[n->in[0]].dtype))
            return false;
        return bounds_at(r, n->in[0], lo, hi, budget);
    case TN_OP_identity:
    case TN_OP_reshape:
    case TN_OP_transpose:
    case TN_OP_expand:
    case TN_OP_tile:
    case TN_OP_slice:
    case TN_OP_gather:
    case TN_OP_gather_nd:
    case TN_OP_gather_elements:
    case TN_OP_trilu:
        if (!bounds_at(r, n->in[0], lo, hi, budget))
            return false;
        if (n->op == TN_OP_trilu) {
            *lo = fmin(*lo, 0);
            *hi = fmax(*hi, 0);
        }
        return true;
    case TN_OP_range: /* from a number upwards */
        if (!tni_pass_number(r, n->in[0], lo) || !tni_pass_number(r, n->in[2], &l2) || !(l2 > 0))
            return false;
        *hi = INFINITY;
        return true;
    case TN_OP_unary:
        if (((const TnUnaryParams *)n->params)->fn != TN_UNARY_neg || !bounds_at(r, n->in[0], &l2, &h2, budget))
            return false;
        *lo = -h2;
        *hi = -l2;
        return true;
    case TN_OP_binary:
        return binary_bounds(r, n, lo, hi, budget);
    default:
        return false;
    }
}

bool tni_pass_bounds(const Rewriter *r, IrValueId v, double *lo, double *hi) {
    int budget = 100;
    return bounds_at(r, v, lo, hi, &budget);
}

/* ---- types and dims ---- */

bool tni_pass_is_f32(const Rewriter *r, IrValueId v) {
    return v != TN_NO_VALUE && r->g->values[v].dtype == TN_F32;
}

bool tni_pass_same_dims(const Rewriter *r, IrValueId a, IrValueId b) {
    const IrValue *x = &r->g->values[a], *y = &r->g->values[b];
    if (x->rank != y->rank || x->rank < 0)
        return false;
    for (int32_t i = 0; i < x->rank; i++)
        if (!tni_ir_dim_equal(r->m, x->dims[i], y->dims[i]))
            return false;
    return true;
}

bool tni_pass_static_dim(const Rewriter *r, IrValueId v, int32_t axis, int64_t *out) {
    const IrValue *x = &r->g->values[v];
    return axis >= 0 && axis < x->rank && tni_ir_dim_is_const(r->m, x->dims[axis], out);
}

bool tni_pass_dim_is(const Rewriter *r, IrValueId v, int32_t axis, int64_t want) {
    int64_t d;
    return tni_pass_static_dim(r, v, axis, &d) && d == want;
}

static bool depends(const Rewriter *r, TnDim d, int *budget) {
    if (d == TN_DIM_NONE || --*budget < 0) /* shared parts are looked at again: give up on what is absurdly large */
        return true;
    const TnDimExpr *e = &r->m->exprs[d];
    if (e->op == TN_DIM_CONST)
        return false;
    if (e->op == TN_DIM_SYMBOL)
        return r->m->symbols[e->value].data_dependent != 0;
    return depends(r, e->a, budget) || depends(r, e->b, budget) || (e->op == TN_DIM_SELECT && depends(r, e->c, budget));
}

bool tni_pass_depends_on_data(const Rewriter *r, TnDim d) {
    int budget = 1000;
    return depends(r, d, &budget);
}

bool tni_pass_fits(const Rewriter *r, IrValueId v, IrValueId to) {
    const IrValue *x = &r->g->values[v], *y = &r->g->values[to];
    if (x->rank < 0 || x->rank > y->rank)
        return false;
    for (int32_t i = 0; i < x->rank; i++)
        if (!tni_pass_dim_is(r, v, i, 1) && !tni_ir_dim_equal(r->m, x->dims[i], y->dims[y->rank - x->rank + i]))
            return false;
    return true;
}

/* ---- patterns ---- */

static bool in_pattern(const Pattern *p, IrNodeId n) {
    for (uint32_t i = 0; i < p->n; i++)
        if (p->node[i] == n)
            return true;
    return false;
}

void tni_pattern_add(const Rewriter *r, Pattern *p, IrValueId v) {
    if (tni_pass_def(r, v) == NULL || p->n >= PATTERN_MAX)
        return;
    IrNodeId n = r->g->values[v].producer;
    if (!in_pattern(p, n))
        p->node[p->n++] = n;
}

bool tni_pattern_closed(const Rewriter *r, const Pattern *p, IrValueId result) {
    if (p->n >= PATTERN_MAX)
        return false;
    for (uint32_t i = 0; i < p->n; i++) {
        const IrNode *n = &r->g->nodes[p->node[i]];
        for (uint32_t o = 0; o < n->n_out; o++) {
            IrValueId v = n->out[o];
            if (v == TN_NO_VALUE || v == result)
                continue;
            if (r->is_out[v])
                return false;
            for (uint32_t u = r->head[v]; u != PASS_NONE; u = r->uses[u].next)
                if (!in_pattern(p, r->uses[u].node))
                    return false;
        }
    }
    return true;
}

/* Drops the bytes of a character that was cut at the end. */
static char *whole_characters(char *s) {
    size_t n = strlen(s), k = n;
    while (k > 0 && ((unsigned char)s[k - 1] & 0xc0) == 0x80)
        k--;
    if (k == 0)
        return s;
    unsigned char lead = (unsigned char)s[k - 1];
    size_t want = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (n - (k - 1) < want)
        s[k - 1] = '\0';
    return s;
}

/* Length of the shared beginning up to a separator ("/layer.0/attention/"). */
static size_t common_prefix(const char *a, const char *b) {
    size_t cut = 0;
    for (size_t i = 0; a[i] != '\0' && a[i] == b[i]; i++)
        if (a[i] == '/' || a[i] == '.')
            cut = i + 1;
    return cut;
}

const char *tni_pass_join2(const Rewriter *r, const char *a, const char *b) {
    if (strcmp(a, b) == 0 || strlen(a) > 100)
        return a;
    char *s = tni_arena_printf(r->scratch, "%s+%.60s", a, b + common_prefix(a, b));
    return s != NULL ? whole_characters(s) : a;
}

const char *tni_pattern_name(const Rewriter *r, const Pattern *p) {
    /* In graph order; the first, then the tails of the others. */
    IrNodeId sorted[PATTERN_MAX];
    uint32_t n = 0;
    for (; n < p->n; n++) {
        uint32_t at = n;
        for (; at > 0 && sorted[at - 1] > p->node[n]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = p->node[n];
    }
    if (n == 0)
        return "fused";
    char buf[160];
    const char *first = r->g->nodes[sorted[0]].name;
    (void)snprintf(buf, sizeof buf, "%.96s", first);
    int len = (int)strlen(whole_characters(buf));
    for (uint32_t i = 1; i < n && len >= 0; i++) {
        const char *tail = r->g->nodes[sorted[i]].name;
        tail += common_prefix(first, tail);
        if ((size_t)len + strlen(tail) + 6 > sizeof buf) {
            (void)snprintf(buf + len, sizeof buf - (size_t)len, "+...");
            break;
        }
        len += snprintf(buf + len, sizeof buf - (size_t)len, "+%s", tail);
    }
    const char *s = tni_arena_strdup(r->scratch, buf);
    return s != NULL ? s : "fused";
}
