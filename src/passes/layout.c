/* SPDX-License-Identifier: Apache-2.0
 *
 * simplify_layout: transposes and reshapes that cancel, combine, or turn out to be views.
 *
 *   transpose(transpose(x; p); q)                    =>  transpose(x; p o q), nothing at all when that is the identity
 *   reshape(reshape(x))                              =>  reshape(x);  reshape to the same dims => x
 *   transpose that only moves dims of extent 1       =>  reshape
 *   transpose, reshape, transpose, ...               =>  one reshape where the elements end in the order they began (chain.h), else one
 *                                                        transpose where two or more were
 *   f(transpose(x; p)) for element-wise f            =>  transpose(f(x); p), when f alone reads the transposed value and a transpose
 * follows, or x is made element by element (then f joins that chain) f(transpose(a; p), transpose(b; p))              =>  transpose(f(a,
 * b); p) reduce(transpose(x))                             =>  reduce(x) over the axes where they came from expand(small) or
 * constant_of_shape feeding an element-wise operator whose other operand has the whole shape => the small one itself */
#include "passes/chain.h"
#include "passes/list.h"
#include "passes/match.h"

static void on_transpose(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    const TnTransposeParams *p = n->params;
    IrValueId x = n->in[0], y = n->out[0];
    const char *name = n->name;
    int32_t rank = r->g->values[x].rank;
    if (rank < 0 || (uint32_t)rank != p->n)
        return;
    uint8_t perm[TN_MAX_RANK];
    memcpy(perm, p->perm, sizeof perm);
    const IrNode *first = tni_pass_def_op(r, x, TN_OP_transpose);
    if (first != NULL) {
        const TnTransposeParams *q = first->params;
        for (int32_t i = 0; i < rank; i++)
            perm[i] = q->perm[p->perm[i]];
        x = first->in[0];
        tni_pass_replace(r, y, tni_pass_transpose(r, name, x, perm));
        return;
    }
    int32_t last = -1;
    bool view = true, moves = false;
    for (int32_t i = 0; i < rank; i++) {
        moves = moves || perm[i] != i;
        if (tni_pass_dim_is(r, x, perm[i], 1))
            continue;
        view = view && (int32_t)perm[i] > last;
        last = perm[i];
    }
    if (!moves) {
        tni_pass_replace(r, y, x);
    } else if (view) {
        TnDim dims[TN_MAX_RANK];
        memcpy(dims, r->g->values[y].dims, sizeof dims);
        tni_pass_replace(r, y, tni_pass_reshape(r, name, x, rank, dims));
    }
}

static void on_reshape(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    IrValueId x = n->in[0], y = n->out[0];
    if (tni_pass_same_dims(r, x, y)) {
        tni_pass_replace(r, y, x);
        return;
    }
    const IrNode *first = tni_pass_def_op(r, x, TN_OP_reshape);
    if (first == NULL)
        return;
    TnDim dims[TN_MAX_RANK];
    int32_t rank = r->g->values[y].rank;
    memcpy(dims, r->g->values[y].dims, sizeof dims);
    for (int32_t i = 0; i < rank; i++)
        if (dims[i] == TN_DIM_NONE)
            return;
    IrValueId z = tni_pass_reshape(r, n->name, first->in[0], rank, dims);
    if (z != TN_NO_VALUE)
        tni_pass_replace(r, y, z);
}

/* A transpose or reshape at the end of a chain: two transposes or more become one or none. */
static bool on_chain(Rewriter *r, IrNodeId id) {
    IrValueId y = r->g->nodes[id].out[0];
    LayoutChain c;
    if (!tni_pass_layout_chain(r, y, &c) || c.transposes < (c.view ? 1u : 2u))
        return false;
    IrValueId z = tni_pass_layout_build(r, r->g->nodes[id].name, y, &c);
    if (z == TN_NO_VALUE || z == y)
        return false;
    tni_pass_replace(r, y, z);
    return true;
}

static bool element_wise(const IrNode *n) {
    return (n->op == TN_OP_unary || n->op == TN_OP_cast || n->op == TN_OP_binary || n->op == TN_OP_where || n->op == TN_OP_clip) &&
           n->n_out == 1;
}

/* Would a transpose below this value meet another one? Looks down a chain of element-wise nodes. */
static bool transpose_follows(const Rewriter *r, IrValueId v) {
    for (int i = 0; i < 8; i++) {
        IrNodeId u = tni_pass_only_user(r, v);
        if (u == TN_NO_NODE)
            return false;
        const IrNode *n = &r->g->nodes[u];
        if (n->op == TN_OP_transpose)
            return true;
        if (!element_wise(n) || n->out[0] == TN_NO_VALUE)
            return false;
        v = n->out[0];
    }
    return false;
}

/* Operand v as it must look before the transpose by perm: what was transposed, a single element, or NO. */
static IrValueId before(const Rewriter *r, IrValueId v, const TnTransposeParams *p, uint32_t *transposes) {
    const IrNode *t = tni_pass_def_op(r, v, TN_OP_transpose);
    if (t != NULL && tni_pass_uses(r, v) == 1 && memcmp(t->params, p, sizeof *p) == 0) {
        ++*transposes;
        return t->in[0];
    }
    double c;
    return tni_pass_number(r, v, &c) && r->g->values[v].rank <= 1 ? v : TN_NO_VALUE;
}

/* One operand is made by an element-wise node for us alone, the others are numbers. */
static bool joins_a_chain(const Rewriter *r, const IrValueId *in, uint32_t n_in) {
    for (uint32_t i = 0; i < n_in; i++) {
        const IrNode *n = tni_pass_def(r, in[i]);
        if (n != NULL && element_wise(n) && tni_pass_uses(r, in[i]) == 1)
            return true;
    }
    return false;
}

static void sink_transpose(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    TnTransposeParams p;
    bool found = false;
    for (uint32_t i = 0; i < n->n_in && !found; i++) {
        const IrNode *t = tni_pass_def_op(r, n->in[i], TN_OP_transpose);
        if (t != NULL && r->g->values[n->in[i]].rank == r->g->values[n->out[0]].rank) {
            p = *(const TnTransposeParams *)t->params;
            found = true;
        }
    }
    IrValueId in[3];
    uint32_t transposes = 0, n_in = n->n_in;
    if (!found || n_in > 3)
        return;
    for (uint32_t i = 0; i < n_in; i++) {
        in[i] = n->in[i];
        if (in[i] != TN_NO_VALUE) {
            in[i] = before(r, in[i], &p, &transposes);
            if (in[i] == TN_NO_VALUE)
                return;
        }
    }
    IrValueId y = n->out[0];
    if (transposes < 2 && !transpose_follows(r, y) && !joins_a_chain(r, in, n_in))
        return;
    IrValueId z = tni_pass_add(r, n->op, n->name, n->params, in, n_in);
    tni_pass_replace(r, y, tni_pass_transpose(r, "transpose", z, p.perm));
}

/* A constant that is one element over and over. */
static IrValueId repeated_constant(Rewriter *r, IrValueId v) {
    TnTensor t;
    if (!tni_ir_tensor(r->m, r->g, v, &t) || tn_dtype_bits(t.dtype) < 8)
        return TN_NO_VALUE;
    size_t size = tn_dtype_bits(t.dtype) / 8, n = tn_tensor_bytes(&t);
    if (n <= size || memcmp(t.data, (const uint8_t *)t.data + size, n - size) != 0)
        return TN_NO_VALUE;
    return tni_pass_const(r, t.dtype, 0, NULL, t.data);
}

/* What v repeats: the operand of an expand, the value a constant_of_shape fills in, the element of a uniform constant, or nothing. */
static IrValueId repeated(Rewriter *r, IrValueId v) {
    const IrNode *e = tni_pass_def_op(r, v, TN_OP_expand);
    if (v != TN_NO_VALUE && r->g->values[v].kind == IR_CONST)
        return repeated_constant(r, v);
    if (e != NULL)
        return e->in[0];
    e = tni_pass_def_op(r, v, TN_OP_constant_of_shape);
    if (e == NULL)
        return TN_NO_VALUE;
    const TnFillParams *p = e->params;
    return tni_pass_const(r, (TnDtype)p->dtype, 0, NULL, p->value);
}

/* A repeated operand of an element-wise node whose other operands already give the shape. */
static void drop_expand(Rewriter *r, IrNodeId id) {
    for (uint32_t i = 0; i < r->g->nodes[id].n_in && r->st == TN_OK; i++) {
        const IrNode *n = &r->g->nodes[id];
        bool covered = false;
        for (uint32_t j = 0; j < n->n_in; j++)
            covered = covered || (j != i && n->in[j] != TN_NO_VALUE && n->in[j] != n->in[i] && tni_pass_same_dims(r, n->in[j], n->out[0]));
        if (!covered)
            continue;
        IrValueId y = n->out[0], small = repeated(r, n->in[i]);
        if (small != TN_NO_VALUE && tni_pass_fits(r, small, y)) {
            tni_pass_set_in(r, id, i, small);
            r->changed++;
        }
    }
}

static void on_reduce(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id], *t = tni_pass_def_op(r, n->in[0], TN_OP_transpose);
    TnReduceParams p = *(const TnReduceParams *)n->params;
    if (t == NULL || p.n_axes == 0)
        return;
    const TnTransposeParams *tp = t->params;
    bool gone[TN_MAX_RANK] = {false};
    for (uint32_t i = 0; i < p.n_axes; i++)
        gone[p.axes[i]] = true;
    int32_t last = -1; /* what is left must stay in its order */
    for (uint32_t i = 0; i < tp->n; i++) {
        if (gone[i])
            continue;
        if ((int32_t)tp->perm[i] < last || (p.keepdims && tp->perm[i] != i))
            return;
        last = tp->perm[i];
    }
    bool from[TN_MAX_RANK] = {false};
    for (uint32_t i = 0; i < tp->n; i++)
        from[tp->perm[i]] = gone[i];
    p.n_axes = 0;
    for (uint32_t i = 0; i < tp->n; i++)
        if (from[i])
            p.axes[p.n_axes++] = (int32_t)i;
    IrValueId x = t->in[0], y = n->out[0];
    tni_pass_replace(r, y, tni_pass_add(r, TN_OP_reduce, n->name, &p, &x, 1));
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->n_out == 0 || n->out[0] == TN_NO_VALUE)
        return;
    if (n->op == TN_OP_transpose || n->op == TN_OP_reshape) {
        PassVisit local = n->op == TN_OP_transpose ? on_transpose : on_reshape;
        local(r, id);
        if (!r->g->nodes[id].dead && r->st == TN_OK)
            (void)on_chain(r, id);
    } else if (n->op == TN_OP_reduce) {
        on_reduce(r, id);
    } else if (element_wise(n)) {
        if (n->op == TN_OP_binary || n->op == TN_OP_where)
            drop_expand(r, id);
        sink_transpose(r, id);
    }
}

TnStatus tni_pass_layout(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 8, changed, err);
}
