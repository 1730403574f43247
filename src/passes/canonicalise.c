/* SPDX-License-Identifier: Apache-2.0
 *
 * canonicalise: one spelling for what exporters write in many, so that the fusions need to know one.
 *
 *   identity, cast to the same type, x * 1, x / 1, x + 0, x - 0, expand / tile / slice / concat that change nothing   =>  x
 *   cast(cast(x)) where the first loses nothing     =>  cast(x)
 *   pow(x, 2) | x * x => square(x)      pow(x, 0.5) => sqrt(x)      pow(x, 1) => x      pow(x, -1) => reciprocal(x)
 *   gather_nd(x, ids[..., 1])  =>  gather(x, ids, 0)
 *   gather(x, 0, 1, 2, ... in the shape of y)  =>  reshape(x), and so gather_nd: indices that are made of the positions they stand at
 *   gather(table, ids all the same number)  =>  expand(that row)
 *   gather(W, gather(t, ids)) of constants  =>  gather(gather(W, t), ids)
 *   x >= 0 and the like, decided by what is known of x (ranges count from 0)   =>  expand(true)
 *   and(expand(true), x) => expand(x);  not(x < c) => x >= c for integers
 *   where(uniform constant, a, b) => a or b;  where(c, a, a) => a
 *   reduce(x; drop dims) -> reshape back            =>  reduce(x; keep dims)
 *   matmul(x, constant [K, N]) => gemm(x, constant) for rank(x) >= 2
 *   reshape spelled flatten / squeeze / unsqueeze stays: the output's dims are what matters
 *
 * One function an operator, found through a table. */
#include <math.h>

#include "base/dtype.h"
#include "passes/match.h"
#include "passes/list.h"

/* y := x when shape and type agree. */
static void same(Rewriter *r, IrValueId y, IrValueId x) {
    if (x != TN_NO_VALUE && r->g->values[x].dtype == r->g->values[y].dtype && tni_pass_same_dims(r, x, y) && x != y)
        tni_pass_replace(r, y, x);
}

/* As same, and in float arithmetic only where a zero's sign cannot matter. */
static void same_but_zero(Rewriter *r, IrValueId y, IrValueId x) {
    if (tni_dtype_is_int(r->g->values[y].dtype) || tni_pass_may_round(r, y))
        same(r, y, x);
}

static void on_identity(Rewriter *r, IrNodeId id) {
    IrValueId y = r->g->nodes[id].out[0], x = r->g->nodes[id].in[0];
    if (!r->is_out[y] || (r->g->values[x].kind == IR_NODE_OUTPUT && !r->is_out[x]))
        same(r, y, x);
}

/* Every value of type a is a value of type b. */
static bool widens(TnDtype a, TnDtype b) {
    if (a == b)
        return true;
    uint32_t na = tn_dtype_bits(a), nb = tn_dtype_bits(b);
    bool fa = tni_dtype_is_float(a), fb = tni_dtype_is_float(b);
    if (a == TN_BOOL)
        return tni_dtype_is_int(b) || fb;
    if (tni_dtype_is_int(a) && tni_dtype_is_int(b)) {
        bool sa = tni_dtype_is_signed_int(a), sb = tni_dtype_is_signed_int(b);
        return nb > na && (sb || !sa);
    }
    if (tni_dtype_is_int(a) && fb)
        return (b == TN_F32 && na <= 16) || (b == TN_F64 && na <= 32);
    return (a == TN_F16 || a == TN_BF16) ? fa && (b == TN_F32 || b == TN_F64) : a == TN_F32 && b == TN_F64;
}

static void on_cast(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    IrValueId y = n->out[0], x = n->in[0];
    TnDtype to = r->g->values[y].dtype;
    if (r->g->values[x].dtype == to) {
        same(r, y, x);
        return;
    }
    const IrNode *inner = tni_pass_def_op(r, x, TN_OP_cast);
    if (inner == NULL || !widens(r->g->values[inner->in[0]].dtype, r->g->values[x].dtype))
        return;
    IrValueId src = inner->in[0];
    TnCastParams p = *(const TnCastParams *)n->params;
    tni_pass_replace(r, y, r->g->values[src].dtype == to ? src : tni_pass_add(r, TN_OP_cast, n->name, &p, &src, 1));
}

static void on_pow(Rewriter *r, const IrNode *n) {
    double e;
    IrValueId x = n->in[0], y = n->out[0];
    if (!tni_pass_number(r, n->in[1], &e) || !tni_pass_same_dims(r, x, y) || !tni_dtype_is_float(r->g->values[x].dtype))
        return;
    if (e == 1)
        same(r, y, x);
    else if (e == 2)
        tni_pass_replace(r, y, tni_pass_unary_node(r, n->name, TN_UNARY_square, 0, x));
    else if (e == 0.5 && tni_pass_may_round(r, y))
        tni_pass_replace(r, y, tni_pass_unary_node(r, n->name, TN_UNARY_sqrt, 0, x));
    else if (e == -1)
        tni_pass_replace(r, y, tni_pass_unary_node(r, n->name, TN_UNARY_reciprocal, 0, x));
}

/* A constant all of whose elements are want, and nothing changes shape. */
static bool all(const Rewriter *r, IrValueId v, double want) {
    double c;
    return tni_pass_uniform(r, v, &c) && c == want;
}

/* y := x repeated to y's dims. */
static void expanded(Rewriter *r, IrValueId y, IrValueId x) {
    if (x == TN_NO_VALUE)
        return;
    TnDim dims[TN_MAX_RANK];
    int32_t rank = r->g->values[y].rank;
    memcpy(dims, r->g->values[y].dims, sizeof dims);
    for (int32_t i = 0; i < rank; i++)
        if (dims[i] == TN_DIM_NONE || tni_pass_depends_on_data(r, dims[i]))
            return;
    IrValueId in[2] = {x, tni_pass_dims_value(r, "shape", rank, dims)};
    IrValueId z = tni_pass_add(r, TN_OP_expand, "expand", NULL, in, 2);
    if (z == TN_NO_VALUE)
        return;
    memcpy(r->g->values[z].dims, dims, sizeof dims);
    tni_pass_replace(r, y, z);
}

/* v repeats one number: a constant, an expanded one, a filled shape. */
static bool one_number(const Rewriter *r, IrValueId v, double *out) {
    const IrNode *n = tni_pass_def(r, v);
    if (n == NULL)
        return tni_pass_uniform(r, v, out);
    if (n->op == TN_OP_expand || n->op == TN_OP_tile || n->op == TN_OP_reshape)
        return tni_pass_uniform(r, n->in[0], out);
    if (n->op != TN_OP_constant_of_shape)
        return false;
    const TnFillParams *p = n->params;
    *out = tni_load_f64((TnDtype)p->dtype, p->value, 0);
    return true;
}

/* gather(W, gather(t, ids)) with constants W, t: the rows that t picks of W can be picked now. */
static bool compose_gather(Rewriter *r, const IrNode *n) {
    const IrNode *inner = tni_pass_def_op(r, n->in[1], TN_OP_gather);
    TnTensor w, t;
    IrValueId y = n->out[0];
    if (inner == NULL || ((const TnAxisParams *)inner->params)->axis != 0 || ((const TnAxisParams *)n->params)->axis != 0 ||
        !tni_ir_tensor(r->m, r->g, n->in[0], &w) || !tni_ir_tensor(r->m, r->g, inner->in[0], &t) || t.rank != 1 || w.rank < 1 ||
        w.dims[0] < 1)
        return false;
    int64_t rows = tn_tensor_numel(&t), per_row = tn_tensor_numel(&w) / w.dims[0];
    if (rows > (1 << 16) || per_row > (1 << 20) / TN_MAX(rows, 1))
        return false;
    for (int64_t i = 0; i < rows; i++) { /* an index out of range must stay an error of the run */
        int64_t at = tni_load_i64(t.dtype, t.data, i);
        if (at < -w.dims[0] || at >= w.dims[0])
            return false;
    }
    TnAxisParams p = {.axis = 0};
    const char *name = tni_pass_join2(r, inner->name, n->name);
    IrValueId ids = inner->in[1], picked[2] = {n->in[0], inner->in[0]};
    IrValueId in[2] = {tni_pass_add(r, TN_OP_gather, name, &p, picked, 2), ids};
    if (in[0] != TN_NO_VALUE)
        tni_pass_replace(r, y, tni_pass_add(r, TN_OP_gather, name, &p, in, 2));
    return true;
}

/* y := x in the dims of y. */
static bool as_reshape(Rewriter *r, IrNodeId id, IrValueId x) {
    TnDim dims[TN_MAX_RANK];
    const IrNode *n = &r->g->nodes[id];
    const IrValueId y = n->out[0];
    const int32_t rank = r->g->values[y].rank;
    memcpy(dims, r->g->values[y].dims, sizeof dims);
    for (int32_t i = 0; i < rank; i++)
        if (dims[i] == TN_DIM_NONE || tni_pass_depends_on_data(r, dims[i]))
            return false;
    const IrValueId z = tni_pass_reshape(r, n->name, x, rank, dims);
    if (z != TN_NO_VALUE)
        tni_pass_replace(r, y, z);
    return z != TN_NO_VALUE;
}

static void on_gather(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (compose_gather(r, n))
        return;
    const IrValueId from = n->in[0];
    if (((const TnAxisParams *)n->params)->axis == 0 && r->g->values[from].rank > 0 &&
        tni_pass_counts(r, n->in[1], r->g->values[from].dims[0]) && as_reshape(r, id, from))
        return;
    n = &r->g->nodes[id];
    TnTensor t;
    double index;
    IrValueId y = n->out[0];
    if (((const TnAxisParams *)n->params)->axis != 0 || r->g->values[n->in[1]].kind == IR_CONST ||
        !tni_ir_tensor(r->m, r->g, n->in[0], &t) || t.rank < 1 || t.dtype == TN_STRING || tn_dtype_bits(t.dtype) < 8 ||
        !one_number(r, n->in[1], &index))
        return;
    int64_t i = (int64_t)index, rows = t.dims[0];
    i = i < 0 ? i + rows : i;
    if (i < 0 || i >= rows)
        return;
    const uint8_t *row = (const uint8_t *)t.data + (size_t)i * (tn_tensor_bytes(&t) / (size_t)rows);
    expanded(r, y, tni_pass_const(r, t.dtype, t.rank - 1, t.dims + 1, row));
}

/* Comparisons whose answer is known. */
static bool decided(const Rewriter *r, const IrNode *n, bool *answer) {
    double al, ah, bl, bh;
    IrValueId a = n->in[0], b = n->in[1];
    if (!tni_dtype_is_int(r->g->values[a].dtype) || !tni_pass_bounds(r, a, &al, &ah) || !tni_pass_bounds(r, b, &bl, &bh))
        return false;
    switch (((const TnBinaryParams *)n->params)->fn) {
    case TN_BINARY_less:
        *answer = ah < bl;
        return ah < bl || al >= bh;
    case TN_BINARY_less_equal:
        *answer = ah <= bl;
        return ah <= bl || al > bh;
    case TN_BINARY_greater:
        *answer = al > bh;
        return al > bh || ah <= bl;
    case TN_BINARY_greater_equal:
        *answer = al >= bh;
        return al >= bh || ah < bl;
    default:
        return false;
    }
}

static void on_compare(Rewriter *r, const IrNode *n) {
    bool answer;
    IrValueId y = n->out[0];
    if (!decided(r, n, &answer))
        return;
    uint8_t byte = answer;
    expanded(r, y, tni_pass_const(r, TN_BOOL, 0, NULL, &byte));
}

/* One operand is neutral, whatever it is repeated to; the other is repeated in its place. */
static void neutral_repeats(Rewriter *r, const IrNode *n, double neutral) {
    double c;
    IrValueId y = n->out[0];
    for (int i = 0; i < 2; i++) {
        IrValueId x = n->in[1 - i];
        if (all(r, n->in[i], neutral) && tni_pass_same_dims(r, x, y)) {
            same(r, y, x);
            return;
        }
        bool repeats = r->g->values[n->in[i]].kind == IR_CONST || tni_pass_def_op(r, n->in[i], TN_OP_expand) != NULL;
        if (repeats && one_number(r, n->in[i], &c) && c == neutral) {
            expanded(r, y, x);
            return;
        }
    }
}

static void on_binary(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    IrValueId a = n->in[0], b = n->in[1], y = n->out[0];
    switch (((const TnBinaryParams *)n->params)->fn) {
    case TN_BINARY_mul:
        if (all(r, b, 1))
            same(r, y, a);
        else if (all(r, a, 1))
            same(r, y, b);
        else if (a == b && tni_dtype_is_float(r->g->values[a].dtype))
            tni_pass_replace(r, y, tni_pass_unary_node(r, n->name, TN_UNARY_square, 0, a));
        break;
    case TN_BINARY_div:
        if (all(r, b, 1))
            same(r, y, a);
        break;
    case TN_BINARY_add:
        if (all(r, b, 0))
            same_but_zero(r, y, a);
        else if (all(r, a, 0))
            same_but_zero(r, y, b);
        break;
    case TN_BINARY_sub:
        if (all(r, b, 0))
            same(r, y, a);
        break;
    case TN_BINARY_pow:
        on_pow(r, n);
        break;
    case TN_BINARY_and_:
        neutral_repeats(r, n, 1);
        break;
    case TN_BINARY_less:
    case TN_BINARY_less_equal:
    case TN_BINARY_greater:
    case TN_BINARY_greater_equal:
        on_compare(r, n);
        break;
    case TN_BINARY_or_:
        neutral_repeats(r, n, 0);
        break;
    default:
        break;
    }
}

static void on_unary(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    uint32_t fn = ((const TnUnaryParams *)n->params)->fn;
    IrValueId a, b, y = n->out[0];
    if (fn == TN_UNARY_not_ && tni_pass_binary(r, n->in[0], TN_BINARY_less, &a, &b) && tni_dtype_is_int(r->g->values[a].dtype)) {
        tni_pass_replace(r, y, tni_pass_binary_node(r, n->name, TN_BINARY_greater_equal, a, b));
        return;
    }
    if (fn == TN_UNARY_not_ || fn == TN_UNARY_neg) /* twice is not at all */
        same(r, n->out[0], tni_pass_unary(r, n->in[0], fn));
}

static void on_where(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    double c;
    if (n->in[1] == n->in[2])
        same(r, n->out[0], n->in[1]);
    else if (tni_pass_uniform(r, n->in[0], &c))
        same(r, n->out[0], c != 0 ? n->in[1] : n->in[2]);
}

static void on_unchanged(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    same(r, n->out[0], n->in[0]);
}

static void on_tile(Rewriter *r, IrNodeId id) {
    if (all(r, r->g->nodes[id].in[1], 1))
        on_unchanged(r, id);
}

static void on_one_input(Rewriter *r, IrNodeId id) {
    if (r->g->nodes[id].n_in == 1)
        on_unchanged(r, id);
}

static void on_split(Rewriter *r, IrNodeId id) {
    if (r->g->nodes[id].n_out == 1 && r->g->nodes[id].out[0] != TN_NO_VALUE)
        on_unchanged(r, id);
}

static void on_slice(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    int64_t start[TN_MAX_RANK], step[TN_MAX_RANK];
    uint32_t ns, nt = 0;
    if (!tni_pass_ints(r, n->in[1], start, TN_MAX_RANK, &ns))
        return;
    if (n->n_in > 4 && n->in[4] != TN_NO_VALUE && !tni_pass_ints(r, n->in[4], step, TN_MAX_RANK, &nt))
        return;
    for (uint32_t i = 0; i < nt; i++)
        if (step[i] <= 0)
            return;
    on_unchanged(r, id); /* the same dims going forward: everything is taken */
}

static void on_clip(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if ((n->n_in < 2 || n->in[1] == TN_NO_VALUE) && (n->n_in < 3 || n->in[2] == TN_NO_VALUE))
        on_unchanged(r, id);
}

/* Constant ids[.., k]: the first k dims of x in their order. */
static bool all_in_order(Rewriter *r, IrValueId x, IrValueId ids) {
    TnTensor t;
    int64_t dims[TN_MAX_RANK], rows = 1;
    if (!tni_pass_tensor(r, ids, &t) || t.rank < 1 || t.dims[t.rank - 1] > r->g->values[x].rank || tn_tensor_numel(&t) > 1 << 20)
        return false;
    const int64_t k = t.dims[t.rank - 1];
    for (int32_t i = 0; i < (int32_t)k; i++) {
        if (!tni_pass_static_dim(r, x, i, &dims[i]) || dims[i] > 1 << 20 || rows > 1 << 20)
            return false;
        rows *= dims[i];
    }
    if (rows * k != tn_tensor_numel(&t))
        return false;
    for (int64_t row = 0; row < rows; row++) {
        int64_t at = 0;
        for (int64_t i = 0; i < k; i++) {
            const int64_t one = tni_load_i64(t.dtype, t.data, row * k + i);
            if (one < 0 || one >= dims[i])
                return false;
            at = at * dims[i] + one;
        }
        if (at != row)
            return false;
    }
    return k > 0;
}

/* gather_nd(x, ids or concat(ids of each dim)) where every element comes to its place in the order of x. */
static bool gathers_all(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    const IrValueId x = n->in[0], ids = n->in[1];
    const IrNode *parts = tni_pass_def_op(r, ids, TN_OP_concat);
    const int32_t rank = r->g->values[ids].rank, rank_x = r->g->values[x].rank;
    IrValueId part[TN_MAX_RANK];
    int32_t at = -1;
    if (((const TnGatherNdParams *)n->params)->batch_dims == 0 && r->g->values[ids].kind == IR_CONST && all_in_order(r, x, ids))
        return as_reshape(r, id, x);
    if (parts == NULL || rank < 2 || ((const TnGatherNdParams *)n->params)->batch_dims != 0 ||
        ((const TnAxisParams *)parts->params)->axis != rank - 1 || (int32_t)parts->n_in > rank_x)
        return false;
    const uint32_t n_parts = parts->n_in;
    bool used[TN_MAX_RANK] = {false};
    memcpy(part, parts->in, n_parts * sizeof *part);
    for (uint32_t k = 0; k < n_parts; k++) {
        int32_t axis;
        if (r->g->values[part[k]].rank != rank || !tni_pass_dim_is(r, part[k], rank - 1, 1) ||
            !tni_pass_counts_axis(r, part[k], r->g->values[x].dims[k], &axis) || (axis >= 0 && axis <= at))
            return false;
        if (axis >= 0)
            used[at = axis] = true;
    }
    for (int32_t i = 0; i + 1 < rank; i++)
        if (!used[i] && !tni_pass_dim_is(r, ids, i, 1))
            return false;
    return as_reshape(r, id, x);
}

static void on_gather_nd(Rewriter *r, IrNodeId id) {
    if (gathers_all(r, id))
        return;
    const IrNode *n = &r->g->nodes[id];
    IrValueId x = n->in[0], ids = n->in[1], y = n->out[0];
    int32_t rank = r->g->values[ids].rank;
    if (((const TnGatherNdParams *)n->params)->batch_dims != 0 || rank < 1 || !tni_pass_dim_is(r, ids, rank - 1, 1))
        return;
    TnDim dims[TN_MAX_RANK];
    memcpy(dims, r->g->values[ids].dims, sizeof dims);
    const char *name = n->name;
    TnAxisParams p = {.axis = 0};
    IrValueId in[2] = {x, tni_pass_reshape(r, name, ids, rank - 1, dims)};
    if (in[1] != TN_NO_VALUE)
        tni_pass_replace(r, y, tni_pass_add(r, TN_OP_gather, name, &p, in, 2));
}

static void on_reshape(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    const IrNode *red = tni_pass_def_op(r, n->in[0], TN_OP_reduce);
    IrValueId y = n->out[0];
    if (red == NULL || ((const TnReduceParams *)red->params)->keepdims)
        return;
    TnReduceParams p = *(const TnReduceParams *)red->params;
    IrValueId x = red->in[0];
    const IrValue *xv = &r->g->values[x], *yv = &r->g->values[y];
    if (xv->rank != yv->rank || p.n_axes == 0)
        return;
    for (int32_t i = 0, a = 0; i < xv->rank; i++) {
        bool gone = a < (int32_t)p.n_axes && p.axes[a] == i;
        a += gone;
        if (gone ? !tni_pass_dim_is(r, y, i, 1) : !tni_ir_dim_equal(r->m, xv->dims[i], yv->dims[i]))
            return;
    }
    p.keepdims = 1;
    tni_pass_replace(r, y, tni_pass_add(r, TN_OP_reduce, red->name, &p, &x, 1));
}

static void on_matmul(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    IrValueId a = n->in[0], b = n->in[1], y = n->out[0];
    TnTensor w;
    if (r->g->values[a].rank < 2 || !tni_ir_tensor(r->m, r->g, b, &w) || w.rank < 2 || !tni_dtype_is_float(w.dtype))
        return;
    for (int32_t i = 0; i + 2 < w.rank; i++)
        if (w.dims[i] != 1)
            return;
    if (w.rank > r->g->values[a].rank)
        return;
    const char *name = n->name;
    if (w.rank > 2)
        b = tni_pass_const_own(r, w.dtype, 2, w.dims + w.rank - 2, w.data);
    TnGemmParams p = {.alpha = 1, .beta = 1};
    IrValueId in[2] = {a, b};
    tni_pass_replace(r, y, tni_pass_add(r, TN_OP_gemm, name, &p, in, 2));
}

static const struct {
    TnOp op;
    PassVisit visit;
} rules[] = {
    {TN_OP_identity, on_identity}, {TN_OP_cast, on_cast},        {TN_OP_binary, on_binary}, {TN_OP_unary, on_unary},
    {TN_OP_where, on_where},       {TN_OP_expand, on_unchanged}, {TN_OP_tile, on_tile},     {TN_OP_concat, on_one_input},
    {TN_OP_split, on_split},       {TN_OP_slice, on_slice},      {TN_OP_clip, on_clip},     {TN_OP_gather_nd, on_gather_nd},
    {TN_OP_gather, on_gather},     {TN_OP_reshape, on_reshape},  {TN_OP_matmul, on_matmul},
};

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->n_out == 0 || n->out[0] == TN_NO_VALUE)
        return;
    for (uint32_t i = 0; i < TN_COUNT(rules) && !r->g->nodes[id].dead; i++)
        if (rules[i].op == n->op) {
            rules[i].visit(r, id);
            return;
        }
}

TnStatus tni_pass_canonicalise(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 8, changed, err);
}
