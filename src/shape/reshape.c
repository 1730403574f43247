/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: reshape and its kin, transpose, expand, tile.
 * In: a tensor and a target shape (constant, or known contents). Out: the target's dims, -1 solved symbolically.
 *
 * Reshape to [.., unknown, ..] with one unknown and no -1 is solved like -1. More unknown ones become data-dependent dims, each bounded by
 * the number of elements. A symbolic entry is taken as a size: an entry that could be 0 or -1 at run time is not "copy" or "infer". */
#include "shape/rule.h"

#include <inttypes.h>

TnStatus tni_shape_identity(ShapeRule *r) {
    TN_TRY(tni_shape_rule_type(r, 0, T_ANY));
    tni_shape_rule_like(r, 0, in_at(r, 0));
    tni_shape_known_copy(r, 0, 0);
    return TN_OK;
}

TnStatus tni_shape_copy(ShapeRule *r) {
    return tni_shape_identity(r);
}

/* Entries of the target shape as dims; *infer: position of -1 (or of the only unknown one), -1 when there is none. */
static TnStatus target_dims(ShapeRule *r, const TnReshapeParams *p, const ShapeKnown *k, TnDim *dims, int32_t *infer) {
    const IrValue *x = in_at(r, 0);
    int32_t n_unknown = 0, unknown_at = -1;
    *infer = -1;
    for (uint32_t i = 0; i < k->n; i++) {
        int64_t v;
        dims[i] = tni_shape_known_dim(k, i);
        if (dims[i] == TN_DIM_NONE) {
            n_unknown++;
            unknown_at = (int32_t)i;
        }
        if (!tni_ir_dim_is_const(r->m, dims[i], &v) || v > 0 || (v == 0 && p->allowzero))
            continue;
        if (v < -1)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "entry %" PRIu32 " of the target shape is %" PRId64, i, v);
        if (v == -1 && *infer >= 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the target shape has more than one -1");
        if (v == -1)
            *infer = (int32_t)i;
        else if ((int32_t)i >= x->rank)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "entry %" PRIu32 " of the target shape is 0 (copy), but the input has rank %" PRId32, i, x->rank);
        else
            dims[i] = x->dims[i];
    }
    if (n_unknown == 1 && *infer < 0) {
        *infer = unknown_at;
        return TN_OK;
    }
    TnDim numel = tni_shape_rule_numel(r, x->dims, x->rank);
    for (uint32_t i = 0; i < k->n; i++) {
        if (dims[i] == TN_DIM_NONE)
            dims[i] = tni_shape_rule_data(r, 0, (int32_t)i, numel);
    }
    return TN_OK;
}

static TnStatus reshape_shape(ShapeRule *r, const TnReshapeParams *p) {
    const IrValue *x = in_at(r, 0), *s = in_at(r, 1);
    TnDim dims[TN_MAX_RANK];
    ShapeKnown k;
    int64_t n, total, part;
    int32_t infer;
    if (s == NULL) { /* dropped: the dims that were inferred stand */
        const IrValue *out = r->n->out[0] != TN_NO_VALUE ? &r->g->values[r->n->out[0]] : NULL;
        if (out == NULL || out->rank < 0)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "the target shape is missing");
        TN_TRY(tni_shape_rule_equal(r, tni_shape_rule_numel(r, x->dims, x->rank), tni_shape_rule_numel(r, out->dims, out->rank),
                                    "numbers of elements before and after"));
        tni_shape_rule_set(r, 0, x->dtype, out->rank, out->dims);
        return TN_OK;
    }
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, 1));
    if (!tni_ir_dim_is_const(r->m, s->dims[0], &n))
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                   "the rank of the result (the length of the target shape) is known only at run time");
    if (n < 0 || n > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the target shape has %" PRId64 " entries; at most %d are supported", n, TN_MAX_RANK);
    if (!tni_shape_known(r, 1, &k)) {
        if (r->concrete && n > 0)
            return tni_shape_rule_fail(r, TN_ERR_RUN, "the target shape has no data");
        k.n = (uint32_t)n;
        for (uint32_t i = 0; i < k.n; i++)
            k.num[i] = TN_DIM_NONE;
    }
    TN_TRY(target_dims(r, p, &k, dims, &infer));
    TnDim numel = tni_shape_rule_numel(r, x->dims, x->rank), others = d_num(r, 1);
    for (int32_t i = 0; i < (int32_t)k.n; i++) {
        if (i != infer)
            others = d_mul(r, others, dims[i]);
    }
    if (infer >= 0) {
        if (tni_ir_dim_is_const(r->m, others, &part) && (part == 0 || (tni_ir_dim_is_const(r->m, numel, &total) && total % part != 0)))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE,
                                       "the -1 of the target shape has no solution: the other entries multiply to %" PRId64, part);
        dims[infer] = d_floordiv(r, numel, others);
        others = d_mul(r, others, dims[infer]);
    } else {
        TN_TRY(tni_shape_rule_equal(r, numel, others, "numbers of elements before and after"));
    }
    tni_shape_rule_set(r, 0, x->dtype, (int32_t)k.n, dims);
    return TN_OK;
}

static TnStatus reshape_squeeze(ShapeRule *r, TnReshapeParams *p) {
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    uint32_t drop = 0;
    int32_t rank = 0;
    TN_TRY(tni_shape_rule_axes(r, p->axes, p->n_axes, x->rank));
    for (uint32_t i = 0; i < p->n_axes; i++) {
        TN_TRY(tni_shape_rule_equal(r, x->dims[p->axes[i]], d_num(r, 1), "a squeezed dimension and 1"));
        drop |= 1u << p->axes[i];
    }
    for (int32_t i = 0; i < x->rank && p->n_axes == 0; i++) {
        int64_t v;
        if (!tni_ir_dim_is_const(r->m, x->dims[i], &v) && !r->concrete)
            return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                       "which dimensions are 1 is known only at run time; export the model with explicit axes");
        if (d_is(r, x->dims[i], 1))
            drop |= 1u << i;
    }
    for (int32_t i = 0; i < x->rank; i++) {
        if ((drop >> i & 1u) == 0)
            dims[rank++] = x->dims[i];
    }
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    return TN_OK;
}

static TnStatus reshape_unsqueeze(ShapeRule *r, TnReshapeParams *p) {
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    if (p->n_axes > TN_MAX_RANK || x->rank + (int32_t)p->n_axes > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the result would have more than %d dimensions", TN_MAX_RANK);
    int32_t rank = x->rank + (int32_t)p->n_axes, from = 0;
    uint32_t next = 0;
    TN_TRY(tni_shape_rule_axes(r, p->axes, p->n_axes, rank));
    for (int32_t i = 0; i < rank; i++) {
        if (next < p->n_axes && p->axes[next] == i) {
            dims[i] = d_num(r, 1);
            next++;
        } else {
            dims[i] = x->dims[from++];
        }
    }
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    return TN_OK;
}

static TnStatus reshape_flatten(ShapeRule *r, TnReshapeParams *p) {
    const IrValue *x = in_at(r, 0);
    if (p->axis < -x->rank || p->axis > x->rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 " is outside a tensor of rank %" PRId32, p->axis, x->rank);
    if (p->axis < 0)
        p->axis += x->rank;
    TnDim dims[2] = {tni_shape_rule_numel(r, x->dims, p->axis), tni_shape_rule_numel(r, x->dims + p->axis, x->rank - p->axis)};
    tni_shape_rule_set(r, 0, x->dtype, 2, dims);
    return TN_OK;
}

TnStatus tni_shape_reshape(ShapeRule *r) {
    TnReshapeParams *p = r->n->params;
    TN_TRY(tni_shape_rule_type(r, 0, T_ANY));
    switch (p->kind) {
    case TN_RESHAPE_SHAPE:
        TN_TRY(reshape_shape(r, p));
        break;
    case TN_RESHAPE_FLATTEN:
        TN_TRY(reshape_flatten(r, p));
        break;
    case TN_RESHAPE_SQUEEZE:
        TN_TRY(reshape_squeeze(r, p));
        break;
    case TN_RESHAPE_UNSQUEEZE:
        TN_TRY(reshape_unsqueeze(r, p));
        break;
    default:
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "kind %" PRIu32 " does not exist", p->kind);
    }
    tni_shape_known_copy(r, 0, 0);
    return TN_OK;
}

/* Dims of operand 0, permuted. */
static TnStatus permuted(ShapeRule *r, uint32_t n, const uint8_t *perm, TnDim *dims) {
    const IrValue *x = in_at(r, 0);
    uint32_t seen = 0;
    if (n != (uint32_t)x->rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the permutation has %" PRIu32 " entries for a tensor of rank %" PRId32, n,
                                   x->rank);
    for (uint32_t i = 0; i < n; i++) {
        if (perm[i] >= n || (seen >> perm[i] & 1u) != 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "entry %" PRIu32 " of the permutation (%u) is out of range or repeated", i, perm[i]);
        seen |= 1u << perm[i];
        dims[i] = x->dims[perm[i]];
    }
    return TN_OK;
}

TnStatus tni_shape_cast_transpose(ShapeRule *r) {
    const TnCastTransposeParams *p = r->n->params;
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_FUSED));
    if (p->to > TN_BF16 || (T_FUSED >> p->to & 1u) == 0)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "type %" PRIu32 " is none that it makes (float32, float16, bfloat16)", p->to);
    TN_TRY(permuted(r, p->n, p->perm, dims));
    tni_shape_rule_set(r, 0, (TnDtype)p->to, in_at(r, 0)->rank, dims);
    return TN_OK;
}

TnStatus tni_shape_transpose(ShapeRule *r) {
    TnTransposeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    int64_t in_strides[TN_MAX_RANK], strides[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    if (p->n == 0 && x->rank > 0 && x->rank <= TN_MAX_RANK) { /* the importer did not know the rank: all axes turned round */
        p->n = (uint32_t)x->rank;
        for (uint32_t i = 0; i < p->n; i++)
            p->perm[i] = (uint8_t)(p->n - 1 - i);
    }
    TN_TRY(permuted(r, p->n, p->perm, dims));
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    if (tni_shape_wants(r, 0) >= 0 && tni_shape_strides(r, x->dims, x->rank, in_strides)) {
        for (uint32_t i = 0; i < p->n; i++)
            strides[i] = in_strides[p->perm[i]];
        tni_shape_known_strided(r, 0, 0, 0, strides);
    }
    return TN_OK;
}

/* Contents of an operand that output 0 repeats by broadcasting. */
static void known_broadcast(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    int64_t in_strides[TN_MAX_RANK], strides[TN_MAX_RANK] = {0};
    int32_t off = r->out[0].rank - x->rank;
    if (tni_shape_wants(r, 0) < 0 || !tni_shape_strides(r, x->dims, x->rank, in_strides))
        return;
    for (int32_t i = 0; i < x->rank; i++)
        strides[off + i] = d_is(r, x->dims[i], 1) ? 0 : in_strides[i];
    tni_shape_known_strided(r, 0, 0, 0, strides);
}

TnStatus tni_shape_expand(ShapeRule *r) {
    const IrValue *x = in_at(r, 0), *s = in_at(r, 1);
    IrValue target;
    ShapeKnown k;
    int64_t n, v;
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, 1));
    if (!tni_ir_dim_is_const(r->m, s->dims[0], &n))
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                   "the rank of the result (the length of the target shape) is known only at run time");
    if (n < 0 || n > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the target shape has %" PRId64 " entries; at most %d are supported", n, TN_MAX_RANK);
    bool known = tni_shape_known(r, 1, &k);
    target.rank = (int32_t)n;
    for (int32_t i = 0; i < target.rank; i++) {
        int32_t xi = i - (target.rank - x->rank);
        target.dims[i] = known ? tni_shape_known_dim(&k, (uint32_t)i) : TN_DIM_NONE;
        if (tni_ir_dim_is_const(r->m, target.dims[i], &v) && v < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "entry %" PRId32 " of the target shape is %" PRId64, i, v);
        if (target.dims[i] == TN_DIM_NONE && xi >= 0) { /* a known size of at least 2 cannot grow */
            int64_t lo, hi;
            tni_ir_dim_range(r->m, x->dims[xi], &lo, &hi);
            if (lo >= 2)
                target.dims[i] = x->dims[xi];
        }
    }
    tni_shape_rule_like(r, 0, x);
    TN_TRY(tni_shape_rule_broadcast(r, &r->out[0].rank, r->out[0].dims, &target));
    known_broadcast(r);
    return TN_OK;
}

TnStatus tni_shape_tile(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    ShapeKnown k;
    int64_t v;
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_vector(r, 1, d_num(r, x->rank), "the number of repeats and the rank"));
    bool known = tni_shape_known(r, 1, &k) && k.n == (uint32_t)x->rank;
    for (int32_t i = 0; i < x->rank; i++) {
        TnDim rep = known ? tni_shape_known_dim(&k, (uint32_t)i) : TN_DIM_NONE;
        if (tni_ir_dim_is_const(r->m, rep, &v) && v < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "repeat %" PRId32 " is %" PRId64, i, v);
        dims[i] = d_is(r, x->dims[i], 0) ? x->dims[i] : d_mul(r, x->dims[i], rep);
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    if (x->rank == 1 && tni_shape_wants(r, 0) >= 0 && tni_ir_dim_is_const(r->m, x->dims[0], &v) && v > 0) {
        ShapeKnown c;
        if (tni_shape_known(r, 0, &c) && c.n == (uint32_t)v) {
            uint32_t n = (uint32_t)tni_shape_wants(r, 0);
            r->out[0].has_known = true;
            r->out[0].known.n = n;
            for (uint32_t i = 0; i < n; i++) {
                r->out[0].known.num[i] = c.num[i % c.n];
                r->out[0].known.den[i] = c.den[i % c.n];
            }
        }
    }
    return TN_OK;
}
