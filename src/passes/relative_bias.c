/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_relative_bias: the bias of an attention that is made from differences of positions.
 *
 *   p [B,S] -> [B,1,S] -+
 *                       sub -> clip -> [look-up]* -> gather(table [R,H]) -+
 *   p [B,S] -> [B,S,1] -+                                                 + -> [* c] -> transpose [B,H,S,S] -> bias of attention, of several
 *   ... up to three more of these ----------------------------------------+
 *
 *   =>   relative_bias(p, p, table', ...) [B,H,S,S'] -> bias                S' = S rounded up to a multiple of 8
 *
 * - Sums in any association; scales on terms and on sums; transposes and reshapes that change nothing anywhere. table' has a row for each
 *   distance in lo..hi: the bounds of the clip, the look-ups behind it, negative indices and scales are worked in.
 * - Rewritten only where nothing but attentions reads the bias (its rows are longer than those of the sum), and nothing but the sum reads what
 *   is inside.
 * - Positions must be positions: sub's operands vary along one of queries and keys each. f32 only. */
#include <math.h>

#include "base/dtype.h"
#include "passes/list.h"
#include "passes/match.h"

#define MOST_ROWS (2 * 4096 + 1)
#define MAX_LOOKUPS 4
#define BOUND (1 << 30) /* of relative_bias */

typedef struct Term {
    IrValueId queries, keys; /* [B,1,S] and [B,S,1] in some order, as sub reads them */
    TnTensor table;          /* [R, H] */
    TnTensor lookup[MAX_LOOKUPS];
    uint32_t n_lookups; /* applied to the clipped distance, the last one first */
    int64_t lo, hi;
    double factor;
    bool minus;
} Term;

typedef struct Sum {
    Term term[TN_RELATIVE_TERMS];
    uint32_t n;
    Pattern p;
} Sum;

/* What the axes of a value are: bits of the axes of the bias, B H Q K = 0 1 2 3. */
typedef struct Axes {
    uint8_t role[4];
} Axes;

/* v before reshapes that end in v's own dims. */
static IrValueId past_reshapes(const Rewriter *r, IrValueId v, Pattern *p) {
    IrValueId from = v;
    Pattern seen = *p;
    for (int i = 0; i < 8; i++) {
        const IrNode *n = tni_pass_def(r, from);
        if (n == NULL || (n->op != TN_OP_reshape && n->op != TN_OP_identity))
            break;
        tni_pattern_add(r, &seen, from);
        from = n->in[0];
        if (tni_pass_same_dims(r, from, v)) {
            v = from;
            *p = seen;
        }
    }
    return v;
}

/* Of [1 or B, S, 1] or [1 or B, 1, S]: the axis that is not 1, when it is the only one of the two; else 0. */
static int32_t varying_axis(const Rewriter *r, IrValueId v) {
    if (r->g->values[v].rank != 3)
        return 0;
    const bool one = tni_pass_dim_is(r, v, 1, 1), two = tni_pass_dim_is(r, v, 2, 1);
    return one == two ? 0 : one ? 2 : 1;
}

/* v [B,Q,K] (or [B,K,Q]: q is the axis of the queries): look-ups of a clipped difference. */
static bool find_distance(Rewriter *r, IrValueId v, int32_t q, Term *t, Pattern *p) {
    IrValueId a, b;
    double lo, hi;
    const IrNode *n;
    for (;;) {
        v = past_reshapes(r, v, p);
        n = tni_pass_def_op(r, v, TN_OP_gather);
        if (n == NULL)
            break;
        if (t->n_lookups == MAX_LOOKUPS || ((const TnAxisParams *)n->params)->axis != 0 || !tni_pass_same_dims(r, n->in[1], v) ||
            !tni_pass_tensor(r, n->in[0], &t->lookup[t->n_lookups]) || t->lookup[t->n_lookups].rank != 1 ||
            !tni_dtype_is_int(t->lookup[t->n_lookups].dtype))
            return false;
        t->n_lookups++;
        tni_pattern_add(r, p, v);
        v = n->in[1];
    }
    n = tni_pass_def_op(r, v, TN_OP_clip);
    if (n == NULL || n->n_in != 3 || !tni_pass_number(r, n->in[1], &lo) || !tni_pass_number(r, n->in[2], &hi) || !(lo <= hi) ||
        lo < -BOUND || hi > BOUND || lo != floor(lo) || hi != floor(hi) || hi - lo >= MOST_ROWS)
        return false;
    t->lo = (int64_t)lo;
    t->hi = (int64_t)hi;
    tni_pattern_add(r, p, v);
    v = past_reshapes(r, n->in[0], p);
    if (!tni_pass_binary(r, v, TN_BINARY_sub, &a, &b) || (r->g->values[v].dtype != TN_I64 && r->g->values[v].dtype != TN_I32))
        return false;
    tni_pattern_add(r, p, v);
    const int32_t va = varying_axis(r, a), vb = varying_axis(r, b);
    if (va == 0 || vb == 0 || va == vb)
        return false;
    t->minus = va == q;
    t->queries = va == q ? a : b;
    t->keys = va == q ? b : a;
    return true;
}

static bool find_term(Rewriter *r, const IrNode *n, Axes axes, double factor, Sum *s) {
    const int32_t rank = r->g->values[n->out[0]].rank;
    if (s->n == TN_RELATIVE_TERMS || rank != 4 || ((const TnAxisParams *)n->params)->axis != 0 || r->g->values[n->in[1]].rank != 3 ||
        axes.role[3] != 1 || axes.role[0] != 0)
        return false;
    Term *t = &s->term[s->n];
    *t = (Term){.factor = factor};
    if (!tni_pass_tensor(r, n->in[0], &t->table) || t->table.rank != 2 || t->table.dtype != TN_F32 ||
        !find_distance(r, n->in[1], axes.role[1] == 2 ? 1 : 2, t, &s->p) ||
        (s->n > 0 && (t->minus != s->term[0].minus || r->g->values[t->keys].dtype != r->g->values[s->term[0].keys].dtype)))
        return false;
    s->n++;
    return true;
}

/* Walks up from the bias; factor is what v is multiplied with on its way down. */
static bool find_sum(Rewriter *r, IrValueId v, Axes axes, double factor, Sum *s, int depth) {
    const IrNode *n = tni_pass_def(r, v);
    IrValueId x, a, b;
    double c;
    if (n == NULL || depth > 16 || s->p.n >= PATTERN_MAX - 12 || r->g->values[v].rank != 4 || !tni_pass_is_f32(r, v))
        return false;
    tni_pattern_add(r, &s->p, v);
    if (n->op == TN_OP_gather)
        return find_term(r, n, axes, factor, s);
    if (n->op == TN_OP_transpose) {
        const TnTransposeParams *p = n->params;
        Axes up = axes;
        for (int i = 0; i < 4; i++)
            up.role[p->perm[i]] = axes.role[i];
        return find_sum(r, n->in[0], up, factor, s, depth + 1);
    }
    if (n->op == TN_OP_identity || (n->op == TN_OP_reshape && tni_pass_same_dims(r, n->in[0], v)))
        return find_sum(r, n->in[0], axes, factor, s, depth + 1);
    if (n->op == TN_OP_reshape) {
        IrValueId from = past_reshapes(r, v, &s->p);
        return from != v && find_sum(r, from, axes, factor, s, depth + 1);
    }
    if (tni_pass_scaled(r, v, &x, &c))
        return isfinite(factor * c) && find_sum(r, x, axes, factor * c, s, depth + 1);
    if (tni_pass_binary(r, v, TN_BINARY_add, &a, &b))
        return find_sum(r, a, axes, factor, s, depth + 1) && find_sum(r, b, axes, factor, s, depth + 1);
    return false;
}

/* Nothing but the additive biases of attentions reads v. */
static bool only_biases(const Rewriter *r, IrValueId v) {
    if (r->is_out[v])
        return false;
    for (uint32_t u = r->head[v]; u != PASS_NONE; u = r->uses[u].next)
        if (r->g->nodes[r->uses[u].node].op != TN_OP_attention || r->uses[u].operand < 3)
            return false;
    return true;
}

/* [hi - lo + 1, H], scaled. TN_NO_VALUE: a distance finds no row, which must stay an error of the run. */
static IrValueId make_table(Rewriter *r, const Term *t) {
    const int64_t rows = t->hi - t->lo + 1, dims[2] = {rows, t->table.dims[1]};
    float *y = tni_pass_alloc(r, (size_t)(rows * dims[1]) * sizeof *y);
    for (int64_t d = t->lo; y != NULL && d <= t->hi; d++) {
        int64_t at = d;
        for (uint32_t i = t->n_lookups; i-- > 0;) {
            const int64_t n = t->lookup[i].dims[0];
            if (at < -n || at >= n)
                return TN_NO_VALUE;
            at = tni_load_i64(t->lookup[i].dtype, t->lookup[i].data, at < 0 ? at + n : at);
        }
        const int64_t n = t->table.dims[0];
        if (at < -n || at >= n)
            return TN_NO_VALUE;
        const float *row = (const float *)t->table.data + (at < 0 ? at + n : at) * dims[1];
        for (int64_t h = 0; h < dims[1]; h++)
            y[(d - t->lo) * dims[1] + h] = (float)((double)row[h] * t->factor);
    }
    return y != NULL ? tni_pass_const_own(r, TN_F32, 2, dims, y) : TN_NO_VALUE;
}

/* [B,1,S] or [B,S,1] as [B,S]: the value that it was made of, where there is one. */
static IrValueId as_rows(Rewriter *r, const char *name, IrValueId v) {
    const IrValue *x = &r->g->values[v];
    TnDim dims[2] = {x->dims[0], x->dims[varying_axis(r, v)]};
    for (IrValueId from = v;;) {
        const IrNode *n = tni_pass_def_op(r, from, TN_OP_reshape);
        if (n == NULL)
            break;
        from = n->in[0];
        x = &r->g->values[from];
        if (x->rank == 2 && tni_ir_dim_equal(r->m, x->dims[0], dims[0]) && tni_ir_dim_equal(r->m, x->dims[1], dims[1]))
            return from;
    }
    return tni_pass_reshape(r, name, v, 2, dims);
}

static void build(Rewriter *r, const Sum *s, IrValueId bias) {
    TnRelativeBiasParams p = {.n = s->n, .minus = s->term[0].minus};
    IrValueId in[3 * TN_RELATIVE_TERMS];
    const char *name = tni_pattern_name(r, &s->p);
    for (uint32_t t = 0; t < s->n; t++) {
        const Term *x = &s->term[t];
        in[3 * t + 2] = make_table(r, x);
        if (in[3 * t + 2] == TN_NO_VALUE)
            return;
    }
    for (uint32_t t = 0; t < s->n; t++) {
        const Term *x = &s->term[t];
        p.lo[t] = (int32_t)x->lo;
        p.hi[t] = (int32_t)x->hi;
        in[3 * t] = as_rows(r, name, x->queries);
        in[3 * t + 1] = as_rows(r, name, x->keys);
        if (in[3 * t] == TN_NO_VALUE || in[3 * t + 1] == TN_NO_VALUE)
            return;
    }
    tni_pass_replace(r, bias, tni_pass_add(r, TN_OP_relative_bias, name, &p, in, 3 * s->n));
}

/* The result is as large as the bias in every dim that the pad leaves alone. */
static bool sizes_agree(const Rewriter *r, const Sum *s, IrValueId bias) {
    const IrValue *y = &r->g->values[bias];
    bool batch = tni_pass_dim_is(r, bias, 0, 1);
    for (uint32_t t = 0; t < s->n; t++) {
        const Term *x = &s->term[t];
        const IrValue *q = &r->g->values[x->queries], *k = &r->g->values[x->keys];
        int64_t heads;
        batch = batch || tni_ir_dim_equal(r->m, q->dims[0], y->dims[0]) || tni_ir_dim_equal(r->m, k->dims[0], y->dims[0]);
        if (!tni_ir_dim_equal(r->m, q->dims[varying_axis(r, x->queries)], y->dims[2]) ||
            !tni_ir_dim_equal(r->m, k->dims[varying_axis(r, x->keys)], y->dims[3]) || !tni_ir_dim_is_const(r->m, y->dims[1], &heads) ||
            heads != x->table.dims[1])
            return false;
        for (int i = 0; i < 2; i++) {
            const TnDim b = i == 0 ? q->dims[0] : k->dims[0];
            int64_t one;
            if (!tni_ir_dim_equal(r->m, b, y->dims[0]) && !(tni_ir_dim_is_const(r->m, b, &one) && one == 1))
                return false;
        }
    }
    return batch;
}

static void visit(Rewriter *r, IrNodeId id) {
    for (uint32_t i = 3; i < r->g->nodes[id].n_in; i++) {
        const IrNode *n = &r->g->nodes[id];
        if (n->op != TN_OP_attention || n->dead || n->in[i] == TN_NO_VALUE)
            continue;
        const IrValueId bias = n->in[i];
        Sum s = {.n = 0};
        if (tni_pass_may_round(r, bias) && only_biases(r, bias) && find_sum(r, bias, (Axes){{0, 1, 2, 3}}, 1, &s, 0) &&
            tni_pattern_closed(r, &s.p, bias) && sizes_agree(r, &s, bias))
            build(r, &s, bias);
    }
}

TnStatus tni_pass_relative_bias(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
