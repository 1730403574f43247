/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: gathering, scattering, one-hot, triangles.
 * In: data and indices. Out: dims from both; constant indices are checked against known sizes, and small contents are gathered. */
#include "shape/rule.h"

#include <inttypes.h>

/* Gather of known elements by known indices: the data is a vector, or one index picks a slice of it. */
static void gather_known(ShapeRule *r, int32_t axis) {
    const IrValue *x = in_at(r, 0);
    ShapeOut *o = &r->out[0];
    ShapeKnown data, idx;
    int64_t n = tni_shape_wants(r, 0), strides[TN_MAX_RANK], d, i;
    if (n < 0 || !tni_shape_known(r, 0, &data) || !tni_shape_known(r, 1, &idx) || !tni_shape_strides(r, x->dims, x->rank, strides) ||
        !tni_ir_dim_is_const(r->m, x->dims[axis], &d))
        return;
    int64_t inner = strides[axis], block = inner * d;
    o->known.n = (uint32_t)n;
    o->has_known = true;
    for (int64_t e = 0; e < n; e++) { /* output [outer, indices, inner] */
        int64_t in = e % inner, which = e / inner % (int64_t)idx.n, outer = e / inner / (int64_t)idx.n;
        o->known.num[e] = TN_DIM_NONE;
        o->known.den[e] = 1;
        if (!tni_shape_known_int(r, &idx, (uint32_t)which, &i))
            continue;
        i += i < 0 ? d : 0;
        int64_t at = outer * block + i * inner + in;
        if (i >= 0 && i < d && at < (int64_t)data.n) {
            o->known.num[e] = data.num[at];
            o->known.den[e] = data.den[at];
        }
    }
}

/* Known indices lie inside an axis of known size. */
static TnStatus check_indices(ShapeRule *r, uint32_t i, TnDim axis) {
    ShapeKnown k;
    int64_t d, v;
    if (!tni_ir_dim_is_const(r->m, axis, &d) || !tni_shape_known(r, i, &k))
        return TN_OK;
    for (uint32_t e = 0; e < k.n; e++) {
        if (tni_shape_known_int(r, &k, e, &v) && (v < -d || v >= d))
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "index %" PRId64 " is outside an axis of %" PRId64 " elements", v, d);
    }
    return TN_OK;
}

TnStatus tni_shape_gather(ShapeRule *r) {
    TnAxisParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1);
    TnDim dims[2 * TN_MAX_RANK];
    int32_t rank = 0;
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_INDEX));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    TN_TRY(check_indices(r, 1, x->dims[p->axis]));
    for (int32_t i = 0; i < p->axis; i++)
        dims[rank++] = x->dims[i];
    for (int32_t i = 0; i < idx->rank; i++)
        dims[rank++] = idx->dims[i];
    for (int32_t i = p->axis + 1; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    if (rank > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the result would have rank %" PRId32 "; at most %d is supported", rank, TN_MAX_RANK);
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    gather_known(r, p->axis);
    return TN_OK;
}

/* Dims of indices do not exceed those of the data, `axis` (-1: none) apart. */
static TnStatus check_fits(ShapeRule *r, const IrValue *x, const IrValue *idx, int32_t axis) {
    for (int32_t i = 0; i < x->rank; i++) {
        int64_t lo, hi;
        if (i == axis || x->dims[i] == idx->dims[i])
            continue;
        tni_ir_dim_range(r->m, d_sub(r, idx->dims[i], x->dims[i]), &lo, &hi);
        if (lo > 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "axis %" PRId32 ": there are more indices than elements", i);
    }
    return TN_OK;
}

TnStatus tni_shape_gather_elements(ShapeRule *r) {
    TnAxisParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_INDEX));
    TN_TRY(tni_shape_rule_rank(r, 1, x->rank, x->rank));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    TN_TRY(check_indices(r, 1, x->dims[p->axis]));
    TN_TRY(check_fits(r, x, idx, p->axis));
    tni_shape_rule_set(r, 0, x->dtype, idx->rank, idx->dims);
    return TN_OK;
}

/* Length of the last axis of indices: how many axes one index addresses. */
static TnStatus index_depth(ShapeRule *r, int32_t batch, int64_t *depth) {
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_rank(r, 0, 1, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, TN_MAX_RANK));
    if (!tni_ir_dim_is_const(r->m, idx->dims[idx->rank - 1], depth))
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED,
                                   "the last dimension of the indices decides the result's rank and must be a number");
    if (*depth < 1 || *depth > x->rank - batch)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the last dimension of the indices is %" PRId64 ", expected 1 to %" PRId32, *depth,
                                   x->rank - batch);
    return TN_OK;
}

TnStatus tni_shape_gather_nd(ShapeRule *r) {
    const TnGatherNdParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1);
    TnDim dims[2 * TN_MAX_RANK];
    int64_t depth;
    int32_t rank = 0;
    if (p->batch_dims >= TN_MAX_RANK || (int32_t)p->batch_dims >= TN_MIN(x->rank, idx->rank))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "batch_dims %" PRIu32 " must be smaller than both ranks", p->batch_dims);
    TN_TRY(index_depth(r, (int32_t)p->batch_dims, &depth));
    for (int32_t i = 0; i < idx->rank - 1; i++) {
        if (i < (int32_t)p->batch_dims)
            TN_TRY(tni_shape_rule_equal(r, x->dims[i], idx->dims[i], "batch dimensions of data and indices"));
        dims[rank++] = idx->dims[i];
    }
    for (int32_t i = (int32_t)p->batch_dims + (int32_t)depth; i < x->rank; i++)
        dims[rank++] = x->dims[i];
    if (rank > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the result would have rank %" PRId32 "; at most %d is supported", rank, TN_MAX_RANK);
    tni_shape_rule_set(r, 0, x->dtype, rank, dims);
    return TN_OK;
}

static TnStatus check_reduction(ShapeRule *r, uint32_t reduction) {
    const IrValue *x = in_at(r, 0);
    if (reduction > TN_SCATTER_MIN)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "reduction %" PRIu32 " does not exist", reduction);
    if (reduction != TN_SCATTER_NONE && ((T_FLOAT | T_INT) >> x->dtype & 1u) == 0)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "values of type %s cannot be combined", tn_dtype_name(x->dtype));
    return tni_shape_rule_same_type(r, 2, 0);
}

TnStatus tni_shape_scatter_nd(ShapeRule *r) {
    const TnScatterParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1), *u = in_at(r, 2);
    int64_t depth;
    TN_TRY(index_depth(r, 0, &depth));
    TN_TRY(check_reduction(r, p->reduction));
    int32_t rank = idx->rank - 1 + x->rank - (int32_t)depth;
    TN_TRY(tni_shape_rule_rank(r, 2, rank, rank));
    for (int32_t i = 0; i < rank; i++) {
        TnDim want = i < idx->rank - 1 ? idx->dims[i] : x->dims[i - (idx->rank - 1) + (int32_t)depth];
        TN_TRY(tni_shape_rule_equal(r, u->dims[i], want, "dimensions of the updates and of what they replace"));
    }
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

TnStatus tni_shape_scatter_elements(ShapeRule *r) {
    TnScatterParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *idx = in_at(r, 1), *u = in_at(r, 2);
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_type(r, 1, T_INDEX));
    TN_TRY(check_reduction(r, p->reduction));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    TN_TRY(tni_shape_rule_rank(r, 1, x->rank, x->rank));
    TN_TRY(tni_shape_rule_rank(r, 2, x->rank, x->rank));
    for (int32_t i = 0; i < x->rank; i++)
        TN_TRY(tni_shape_rule_equal(r, idx->dims[i], u->dims[i], "dimensions of indices and updates"));
    TN_TRY(check_indices(r, 1, x->dims[p->axis]));
    TN_TRY(check_fits(r, x, idx, p->axis));
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

TnStatus tni_shape_one_hot(ShapeRule *r) {
    TnAxisParams *p = r->n->params;
    const IrValue *idx = in_at(r, 0), *values = in_at(r, 2);
    TnDim dims[TN_MAX_RANK + 1], depth = TN_DIM_NONE;
    ShapeKnown k;
    int64_t v;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_type(r, 1, T_FLOAT | T_INT));
    TN_TRY(tni_shape_rule_type(r, 2, T_DATA));
    TN_TRY(tni_shape_rule_scalar(r, 1));
    TN_TRY(tni_shape_rule_vector(r, 2, d_num(r, 2), "the number of values and 2"));
    if (idx->rank >= TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the result would have more than %d dimensions", TN_MAX_RANK);
    TN_TRY(tni_shape_rule_axis(r, &p->axis, idx->rank + 1));
    if (tni_shape_known(r, 1, &k) && k.n == 1)
        depth = tni_shape_known_dim(&k, 0);
    if (tni_ir_dim_is_const(r->m, depth, &v) && v < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the depth is %" PRId64, v);
    for (int32_t i = 0, from = 0; i <= idx->rank; i++)
        dims[i] = i == p->axis ? depth : idx->dims[from++];
    tni_shape_rule_set(r, 0, values->dtype, idx->rank + 1, dims);
    return TN_OK;
}

TnStatus tni_shape_trilu(ShapeRule *r) {
    TN_TRY(tni_shape_rule_type(r, 0, T_DATA));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, TN_MAX_RANK));
    if (in_at(r, 1) != NULL)
        TN_TRY(tni_shape_rule_type(r, 1, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_scalar(r, 1));
    tni_shape_rule_like(r, 0, in_at(r, 0));
    return TN_OK;
}
