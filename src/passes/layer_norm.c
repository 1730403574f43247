/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_layer_norm, fuse_rms_norm: the pieces that exporters take normalisations apart into.
 *
 *   x -> mean -> sub(x, mean) = d -> square -> mean -> + eps -> sqrt -> div(d, .) [-> * scale] [-> + bias]   =>  layer_norm(x, scale, bias)
 *   x -> square -> mean -> + eps -> sqrt -> div(x, .) -> * scale                                             =>  rms_norm(x, scale)
 *
 * The square may be pow 2, x * x or square; the division a product with a reciprocal or rsqrt. Normalised axes must be the last ones, or
 * one other axis, for which transposes are put around. Every piece must be read by the pattern alone. */
#include <math.h>

#include "passes/match.h"
#include "passes/list.h"

/* v = mean(x) over axes with dims kept; axes ascending in p. */
static const TnReduceParams *mean_of(const Rewriter *r, IrValueId v, IrValueId *x) {
    const IrNode *n = tni_pass_def_op(r, v, TN_OP_reduce);
    if (n == NULL)
        return NULL;
    const TnReduceParams *p = n->params;
    *x = n->in[0];
    return p->fn == TN_REDUCE_mean && p->keepdims && p->n_axes > 0 ? p : NULL;
}

static IrValueId squared(const Rewriter *r, IrValueId v) {
    IrValueId a, b, x = tni_pass_unary(r, v, TN_UNARY_square);
    if (x != TN_NO_VALUE)
        return x;
    if (tni_pass_binary(r, v, TN_BINARY_mul, &a, &b) && a == b)
        return a;
    if (tni_pass_binary(r, v, TN_BINARY_pow, &a, &b) && tni_pass_is_number(r, b, 2))
        return a;
    return TN_NO_VALUE;
}

/* v = d / sqrt(s) in any spelling; adds the nodes in between to p. */
static bool over_sqrt(const Rewriter *r, IrValueId v, IrValueId *d, IrValueId *s, Pattern *p) {
    IrValueId a, b, root = TN_NO_VALUE;
    tni_pattern_add(r, p, v);
    if (tni_pass_binary(r, v, TN_BINARY_div, &a, &b)) {
        *d = a;
        root = b;
    } else if (tni_pass_binary(r, v, TN_BINARY_mul, &a, &b)) {
        for (int turn = 0; turn < 2 && root == TN_NO_VALUE; turn++) {
            IrValueId inv = turn == 0 ? b : a, num, den;
            *d = turn == 0 ? a : b;
            *s = tni_pass_unary(r, inv, TN_UNARY_rsqrt);
            if (*s == TN_NO_VALUE && tni_pass_binary(r, inv, TN_BINARY_pow, s, &den) && !tni_pass_is_number(r, den, -0.5))
                *s = TN_NO_VALUE;
            if (*s != TN_NO_VALUE) {
                tni_pattern_add(r, p, inv);
                return true;
            }
            root = tni_pass_unary(r, inv, TN_UNARY_reciprocal);
            if (root == TN_NO_VALUE && tni_pass_binary(r, inv, TN_BINARY_div, &num, &den) && tni_pass_is_number(r, num, 1))
                root = den;
            if (root != TN_NO_VALUE)
                tni_pattern_add(r, p, inv);
        }
    }
    if (root == TN_NO_VALUE)
        return false;
    *s = tni_pass_unary(r, root, TN_UNARY_sqrt);
    if (*s == TN_NO_VALUE && tni_pass_binary(r, root, TN_BINARY_pow, s, &b) && !tni_pass_is_number(r, b, 0.5))
        *s = TN_NO_VALUE;
    tni_pattern_add(r, p, root);
    return *s != TN_NO_VALUE;
}

/* v = mean(square(d)) + eps; an eps below an exporter's notice is left out: eps 0. */
static const TnReduceParams *variance(const Rewriter *r, IrValueId v, IrValueId d, double *eps, Pattern *p) {
    IrValueId var, sq;
    if (!tni_pass_binary_scalar(r, v, TN_BINARY_add, &var, eps)) {
        var = v;
        *eps = 0;
    }
    if (!(*eps >= 0) || !(*eps < 1))
        return NULL;
    if (r->g->values[v].dtype == TN_F64 && (double)(float)*eps != *eps)
        return NULL; /* the parameter is a float: in float64 its rounding error would be seen */
    const TnReduceParams *rp = mean_of(r, var, &sq);
    if (rp == NULL || squared(r, sq) != d)
        return NULL;
    tni_pattern_add(r, p, v);
    tni_pattern_add(r, p, var);
    tni_pattern_add(r, p, sq);
    return rp;
}

typedef struct Axes {
    int32_t first; /* first normalised axis of the (transposed) x */
    bool moved;    /* one axis, not the last: transposes around */
    int32_t axis;
} Axes;

static bool axes_of(const TnReduceParams *p, int32_t rank, Axes *out) {
    for (uint32_t i = 1; i < p->n_axes; i++)
        if (p->axes[i] != p->axes[i - 1] + 1)
            return false;
    if (p->axes[0] < 0)
        return false;
    bool last = p->axes[p->n_axes - 1] == rank - 1;
    *out = (Axes){last ? p->axes[0] : rank - 1, !last, p->axes[0]};
    return last || p->n_axes == 1;
}

/* Is v a scale or bias for the normalised axes of x: dims [1.., normalised dims.., 1..] with exactly the normalised extents? Constants of
 * one element count when C is known (they are spread out). Returns the value in the shape of the normalised axes. */
static bool affine_fits(const Rewriter *r, IrValueId v, IrValueId x, const Axes *ax) {
    const IrValue *s = &r->g->values[v], *xv = &r->g->values[x];
    int32_t lo = ax->moved ? ax->axis : ax->first, hi = ax->moved ? ax->axis + 1 : xv->rank;
    if (s->rank < 0 || s->rank > xv->rank || s->dtype != xv->dtype)
        return false;
    int32_t shift = xv->rank - s->rank;
    for (int32_t i = 0; i < xv->rank; i++) {
        bool here = i >= lo && i < hi;
        if (here && (i < shift || !tni_ir_dim_equal(r->m, s->dims[i - shift], xv->dims[i])))
            return false;
        if (!here && i >= shift && !tni_pass_dim_is(r, v, i - shift, 1))
            return false;
    }
    return true;
}

static IrValueId affine_value(Rewriter *r, const char *name, IrValueId v, IrValueId x, const Axes *ax) {
    const IrValue *xv = &r->g->values[x];
    int32_t lo = ax->moved ? ax->axis : ax->first, n = ax->moved ? 1 : xv->rank - lo;
    TnDim dims[TN_MAX_RANK];
    for (int32_t i = 0; i < n; i++)
        dims[i] = xv->dims[lo + i];
    TnTensor t;
    if (!tni_ir_tensor(r->m, r->g, v, &t))
        return tni_pass_reshape(r, name, v, n, dims);
    if (t.rank == n)
        return v;
    int64_t shape[TN_MAX_RANK];
    for (int32_t i = 0; i < n; i++)
        if (!tni_ir_dim_is_const(r->m, dims[i], &shape[i]))
            return TN_NO_VALUE;
    return tni_pass_const(r, t.dtype, n, shape, t.data);
}

/* Extends the pattern over "* scale" and "+ bias" below v; returns the last value. */
static IrValueId take_affine(const Rewriter *r, IrValueId v, IrValueId x, const Axes *ax, Pattern *p, IrValueId *scale, IrValueId *bias) {
    *scale = *bias = TN_NO_VALUE;
    for (int step = 0; step < 2; step++) {
        IrNodeId user = tni_pass_only_user(r, v);
        if (user == TN_NO_NODE || r->g->nodes[user].op != TN_OP_binary)
            break;
        const IrNode *n = &r->g->nodes[user];
        uint32_t fn = ((const TnBinaryParams *)n->params)->fn;
        IrValueId other = n->in[0] == v ? n->in[1] : n->in[0];
        bool is_scale = fn == TN_BINARY_mul && step == 0 && *scale == TN_NO_VALUE, is_bias = fn == TN_BINARY_add;
        if ((!is_scale && !is_bias) || other == v || !affine_fits(r, other, x, ax) || !tni_pass_same_dims(r, n->out[0], v))
            break;
        if (is_bias && (*scale == TN_NO_VALUE || !tni_ir_is_const(r->g, other)))
            break; /* an addition after a bare normalisation is rather a residual */
        *(is_scale ? scale : bias) = other;
        tni_pattern_add(r, p, n->out[0]);
        v = n->out[0];
    }
    return v;
}

static IrValueId make_norm(Rewriter *r, TnOp op, const char *name, IrValueId x, IrValueId scale, IrValueId bias, double eps,
                           const Axes *ax) {
    int32_t rank = r->g->values[x].rank;
    uint8_t to_last[TN_MAX_RANK], back[TN_MAX_RANK];
    for (int32_t i = 0; i < rank && i < TN_MAX_RANK; i++) {
        int32_t from = i + 1 == rank ? ax->axis : i < ax->axis ? i : i + 1;
        to_last[i] = (uint8_t)from;
        back[from & (TN_MAX_RANK - 1)] = (uint8_t)i;
    }
    if (scale != TN_NO_VALUE)
        scale = affine_value(r, name, scale, x, ax);
    if (bias != TN_NO_VALUE)
        bias = affine_value(r, name, bias, x, ax);
    if (ax->moved)
        x = tni_pass_transpose(r, name, x, to_last);
    TnNormParams p = {.epsilon = (float)eps, .axis = ax->first};
    IrValueId in[3] = {x, scale, bias};
    uint32_t n_in = bias != TN_NO_VALUE ? 3 : scale != TN_NO_VALUE ? 2 : 1;
    IrValueId y = tni_pass_add(r, op, name, &p, in, n_in);
    return ax->moved ? tni_pass_transpose(r, name, y, back) : y;
}

static void layer_norm_at(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_binary || n->out[0] == TN_NO_VALUE || !tni_pass_may_round(r, n->out[0]))
        return;
    IrValueId v = n->out[0], d = TN_NO_VALUE, s = TN_NO_VALUE, x, mean, mean_in, scale, bias;
    Pattern p = {.n = 0};
    double eps;
    if (!over_sqrt(r, v, &d, &s, &p) || !tni_pass_binary(r, d, TN_BINARY_sub, &x, &mean))
        return;
    const TnReduceParams *rp = variance(r, s, d, &eps, &p);
    const TnReduceParams *mp = mean_of(r, mean, &mean_in);
    Axes ax;
    if (rp == NULL || mp == NULL || mean_in != x || mp->n_axes != rp->n_axes ||
        memcmp(mp->axes, rp->axes, mp->n_axes * sizeof mp->axes[0]) != 0 || !axes_of(rp, r->g->values[x].rank, &ax))
        return;
    tni_pattern_add(r, &p, d);
    tni_pattern_add(r, &p, mean);
    v = take_affine(r, v, x, &ax, &p, &scale, &bias);
    if (!tni_pattern_closed(r, &p, v))
        return;
    tni_pass_replace(r, v, make_norm(r, TN_OP_layer_norm, tni_pattern_name(r, &p), x, scale, bias, eps, &ax));
}

static void rms_norm_at(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_binary || n->out[0] == TN_NO_VALUE || !tni_pass_may_round(r, n->out[0]))
        return;
    IrValueId v = n->out[0], x = TN_NO_VALUE, s = TN_NO_VALUE, scale, bias;
    Pattern p = {.n = 0};
    double eps;
    Axes ax;
    if (!over_sqrt(r, v, &x, &s, &p))
        return;
    const TnReduceParams *rp = variance(r, s, x, &eps, &p);
    if (rp == NULL || !axes_of(rp, r->g->values[x].rank, &ax) || ax.moved)
        return;
    v = take_affine(r, v, x, &ax, &p, &scale, &bias);
    if (scale == TN_NO_VALUE || bias != TN_NO_VALUE || !tni_pattern_closed(r, &p, v))
        return;
    tni_pass_replace(r, v, make_norm(r, TN_OP_rms_norm, tni_pattern_name(r, &p), x, scale, bias, eps, &ax));
}

TnStatus tni_pass_layer_norm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, layer_norm_at, 1, changed, err);
}

TnStatus tni_pass_rms_norm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, rms_norm_at, 1, changed, err);
}
