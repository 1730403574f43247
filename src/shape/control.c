/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: if and loop, whose subgraphs are inferred here with the types and dims that their control node passes in.
 *
 * if_: the outputs join the branches': equal dims stay, others become data-dependent, bounded by the larger one. When the condition is
 * known the other branch decides nothing, and may even be impossible (exports squeeze a dim under "if it is 1"): its errors are ignored,
 *      its values may stay unknown; the rewrite that removes it runs first.
 * loop: carried dims start as the initial values'. Where the body gives another dim the body's input gets a data-dependent one, until
 * nothing changes. Scan outputs get the trip count as their first dim where it is known that the loop does not stop early. */
#include "shape/rule.h"

#include <inttypes.h>

static TnStatus subgraph(ShapeRule *r, uint32_t id, uint64_t n_in, uint64_t n_out, IrGraph **out) {
    if (id >= r->m->n_graphs || r->m->graphs[id] == r->g)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "subgraph %" PRIu32 " does not exist", id);
    *out = r->m->graphs[id];
    if ((*out)->n_inputs != n_in || (*out)->n_outputs != n_out)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH,
                                   "subgraph '%s' has %" PRIu32 " inputs and %" PRIu32 " outputs, expected %" PRIu64 " and %" PRIu64,
                                   (*out)->name, (*out)->n_inputs, (*out)->n_outputs, n_in, n_out);
    return TN_OK;
}

static TnStatus pass_in(ShapeRule *r, IrGraph *sub, uint32_t first_in, uint32_t first_sub) {
    for (uint32_t i = first_in; i < r->n->n_in; i++) {
        const IrValue *v = in_at(r, i);
        if (v == NULL)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "input %" PRIu32 " is required", i);
        TN_TRY(tni_shape_value_copy(r->m, &sub->values[sub->inputs[first_sub + i - first_in]], v, r->err));
    }
    return TN_OK;
}

/* An upper bound of d that the graph outside may use. */
static TnDim outer_bound(const IrModule *m, TnDim d) {
    if (!tni_shape_depends_on_data(m, d))
        return d;
    return tni_shape_is_data(m, d) ? m->symbols[m->exprs[d].value].bound : TN_DIM_NONE;
}

static void set_known(ShapeRule *r, uint32_t o, const IrValue *v) {
    ShapeKnown k;
    if (tni_shape_wants(r, o) >= 0 && tni_shape_known_value(r, v, &k) && k.n == (uint32_t)tni_shape_wants(r, o)) {
        r->out[o].known = k;
        r->out[o].has_known = true;
    }
}

static TnStatus join(ShapeRule *r, uint32_t o, const IrValue *a, const IrValue *b) {
    ShapeKnown ka, kb;
    if (a->dtype != b->dtype)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "output %" PRIu32 " is %s in one branch and %s in the other", o, tn_dtype_name(a->dtype),
                                   tn_dtype_name(b->dtype));
    if (a->rank != b->rank)
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                   "output %" PRIu32 " has rank %" PRId32 " in one branch and %" PRId32
                                   " in the other, and which one runs is not known; export the model with fixed sizes there",
                                   o, a->rank, b->rank);
    tni_shape_rule_like(r, o, a);
    for (int32_t i = 0; i < a->rank; i++) {
        if (!tni_ir_dim_equal(r->m, a->dims[i], b->dims[i]))
            r->out[o].dims[i] = tni_shape_rule_data(r, o, i, d_max(r, outer_bound(r->m, a->dims[i]), outer_bound(r->m, b->dims[i])));
    }
    if (tni_shape_known_value(r, a, &ka) && tni_shape_known_value(r, b, &kb) && ka.n == kb.n &&
        memcmp(ka.num, kb.num, ka.n * sizeof ka.num[0]) == 0 && memcmp(ka.den, kb.den, ka.n * sizeof ka.den[0]) == 0)
        set_known(r, o, a);
    return TN_OK;
}

TnStatus tni_shape_if_(ShapeRule *r) {
    const TnControlParams *p = r->n->params;
    IrGraph *sub[2] = {NULL, NULL};
    ShapeKnown k;
    int64_t lo, hi;
    int taken = -1; /* which branch is known to run */
    TN_TRY(tni_shape_rule_type(r, 0, T_BOOL));
    TN_TRY(tni_shape_rule_scalar(r, 0));
    if (tni_shape_known(r, 0, &k) && k.n == 1 && k.num[0] != TN_DIM_NONE) {
        tni_ir_dim_range(r->m, k.num[0], &lo, &hi);
        taken = lo > 0 || hi < 0 ? 0 : lo == 0 && hi == 0 ? 1 : -1;
    }
    for (int i = 0; i < 2; i++)
        TN_TRY(subgraph(r, p->graph[i], (uint64_t)r->n->n_in - 1, r->n->n_out, &sub[i]));
    for (int i = 0; i < 2; i++) {
        TN_TRY(pass_in(r, sub[i], 1, 0));
        TnStatus st = tni_shape_graph(r->m, sub[i], taken == 1 - i ? NULL : r->err);
        if (st == TN_ERR_MEMORY && taken == 1 - i)
            return TN_OOM(r->err, 0);
        if (st != TN_OK && taken != 1 - i)
            return st;
    }
    for (uint32_t o = 0; o < r->n->n_out; o++) {
        const IrValue *v[2];
        for (int i = 0; i < 2; i++)
            v[i] = &sub[i]->values[sub[i]->outputs[o]];
        if (taken < 0) {
            TN_TRY(join(r, o, v[0], v[1]));
        } else {
            tni_shape_rule_like(r, o, v[taken]);
            set_known(r, o, v[taken]);
        }
    }
    return TN_OK;
}

/* One carried value while the fixpoint is sought. */
typedef struct Carried {
    IrValue before;   /* the body's input as the last inference left it: its data-dependent dims are used again */
    uint32_t widened; /* axes whose dim in the body is data-dependent */
} Carried;

static void unknown_contents(IrValue *v) {
    v->known = NULL;
    v->elems = NULL;
    v->n_elems = 0;
}

static void set_scalar(IrValue *v, TnDtype t) {
    v->dtype = t;
    v->rank = 0;
    unknown_contents(v);
}

/* Compares what the body makes of carried value c with what it was given; *changed: an axis was widened. */
static TnStatus widen(ShapeRule *r, IrGraph *body, uint32_t c, Carried *s, bool *changed) {
    IrValue *in = &body->values[body->inputs[2 + c]];
    const IrValue *out = &body->values[body->outputs[1 + c]], *first = in_at(r, 2 + c);
    if (out->dtype != in->dtype)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "carried value %" PRIu32 " starts as %s and becomes %s", c, tn_dtype_name(in->dtype),
                                   tn_dtype_name(out->dtype));
    if (out->rank != in->rank)
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                   "carried value %" PRIu32 " starts with rank %" PRId32 " and becomes rank %" PRId32, c, in->rank,
                                   out->rank);
    for (int32_t i = 0; i < in->rank; i++) {
        if ((s->widened >> i & 1u) != 0 || tni_ir_dim_equal(r->m, in->dims[i], out->dims[i]))
            continue;
        bool again = i < s->before.rank && tni_shape_is_data(r->m, s->before.dims[i]) && s->before.dims[i] != first->dims[i];
        in->dims[i] = again ? s->before.dims[i] : tni_ir_dim_data(r->m, TN_DIM_NONE);
        s->widened |= 1u << i;
        *changed = true;
    }
    return tni_ir_dims_check(r->m, r->err);
}

static TnStatus fixpoint(ShapeRule *r, IrGraph *body, uint32_t n, Carried *carried) {
    for (uint32_t c = 0; c < n; c++) {
        IrValue *in = &body->values[body->inputs[2 + c]];
        carried[c].before = *in;
        TN_TRY(tni_shape_value_copy(r->m, in, in_at(r, 2 + c), r->err));
        unknown_contents(in);
    }
    for (bool changed = true; changed;) { /* every round widens at least one of n * 8 axes */
        changed = false;
        TN_TRY(tni_shape_graph(r->m, body, r->err));
        for (uint32_t c = 0; c < n; c++)
            TN_TRY(widen(r, body, c, &carried[c], &changed));
    }
    return TN_OK;
}

/* Does the body's condition stay true for ever? */
static bool never_stops(ShapeRule *r, const IrGraph *body) {
    ShapeKnown k;
    int64_t v;
    if (in_at(r, 1) != NULL && (!tni_shape_known(r, 1, &k) || !tni_shape_known_int(r, &k, 0, &v) || v == 0))
        return false;
    IrValueId out = body->outputs[0];
    return out == body->inputs[1] || (tni_shape_known_value(r, &body->values[out], &k) && tni_shape_known_int(r, &k, 0, &v) && v != 0);
}

static TnStatus loop_outputs(ShapeRule *r, const IrGraph *body, const TnControlParams *p, const Carried *carried) {
    ShapeKnown k;
    for (uint32_t c = 0; c < p->n_carried; c++) {
        tni_shape_rule_like(r, c, in_at(r, 2 + c));
        for (int32_t i = 0; i < r->out[c].rank; i++) {
            if ((carried[c].widened >> i & 1u) != 0)
                r->out[c].dims[i] = tni_shape_rule_data(r, c, i, TN_DIM_NONE);
        }
    }
    TnDim trips = TN_DIM_NONE;
    if (in_at(r, 0) != NULL && tni_shape_known(r, 0, &k))
        trips = d_max(r, tni_shape_known_dim(&k, 0), d_num(r, 0));
    bool exact = trips != TN_DIM_NONE && never_stops(r, body);
    for (uint32_t s = 0; s < p->n_scan; s++) {
        uint32_t o = p->n_carried + s;
        const IrValue *v = &body->values[body->outputs[1 + o]];
        TnDim dims[TN_MAX_RANK];
        if (v->rank >= TN_MAX_RANK)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "scan output %" PRIu32 " would have more than %d dimensions", s, TN_MAX_RANK);
        dims[0] = exact ? trips : tni_shape_rule_data(r, o, 0, trips);
        for (int32_t i = 0; i < v->rank; i++)
            dims[i + 1] =
                tni_shape_depends_on_data(r->m, v->dims[i]) ? tni_shape_rule_data(r, o, i + 1, outer_bound(r->m, v->dims[i])) : v->dims[i];
        tni_shape_rule_set(r, o, v->dtype, v->rank + 1, dims);
    }
    return TN_OK;
}

TnStatus tni_shape_loop(ShapeRule *r) {
    const TnControlParams *p = r->n->params;
    const TnAllocator *a = tni_arena_allocator(r->m->arena);
    IrGraph *body = NULL;
    if ((uint64_t)p->n_carried + 2 > r->n->n_in || (uint64_t)p->n_carried + p->n_scan != r->n->n_out)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "%" PRIu32 " carried values and %" PRIu32 " scan outputs do not fit the operands",
                                   p->n_carried, p->n_scan);
    TN_TRY(subgraph(r, p->graph[0], r->n->n_in, 1 + (uint64_t)r->n->n_out, &body));
    if (in_at(r, 0) != NULL)
        TN_TRY(tni_shape_rule_type(r, 0, T_BIT(TN_I64)));
    if (in_at(r, 1) != NULL)
        TN_TRY(tni_shape_rule_type(r, 1, T_BOOL));
    TN_TRY(tni_shape_rule_scalar(r, 0));
    TN_TRY(tni_shape_rule_scalar(r, 1));
    for (uint32_t i = 0; i < p->n_carried; i++) {
        if (in_at(r, 2 + i) == NULL)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "input %" PRIu32 " is required", 2 + i);
    }
    set_scalar(&body->values[body->inputs[0]], TN_I64);
    set_scalar(&body->values[body->inputs[1]], TN_BOOL);
    TN_TRY(pass_in(r, body, 2 + p->n_carried, 2 + p->n_carried));
    Carried *carried = tni_calloc(a, p->n_carried, sizeof *carried);
    if (carried == NULL)
        return TN_OOM(r->err, p->n_carried * sizeof *carried);
    TnStatus st = fixpoint(r, body, p->n_carried, carried);
    if (st == TN_OK && body->values[body->outputs[0]].dtype != TN_BOOL)
        st = tni_shape_rule_fail(r, TN_ERR_TYPE, "the body's condition is %s, expected bool",
                                 tn_dtype_name(body->values[body->outputs[0]].dtype));
    if (st == TN_OK)
        st = loop_outputs(r, body, p, carried);
    tni_free(a, carried);
    return st;
}
