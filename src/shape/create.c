/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: tensors made from shapes and numbers.
 * In: a tensor whose dims are read, or numbers. Out: dims and, for small results, contents: here symbolic contents begin. */
#include "shape/rule.h"

#include <inttypes.h>
#include <math.h>

static void set_one(ShapeRule *r, uint32_t i, TnDim d) {
    r->out[0].known.num[i] = d;
    r->out[0].known.den[i] = 1;
}

TnStatus tni_shape_shape(ShapeRule *r) {
    const TnShapeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    int64_t start = p->start, end = p->end == INT32_MAX ? x->rank : p->end;
    TN_TRY(tni_shape_rule_type(r, 0, T_ANY));
    start = TN_MAX(0, TN_MIN(start < 0 ? start + x->rank : start, x->rank));
    end = TN_MAX(0, TN_MIN(end < 0 ? end + x->rank : end, x->rank));
    int64_t n = TN_MAX(end - start, 0);
    TnDim d = d_num(r, n);
    tni_shape_rule_set(r, 0, TN_I64, 1, &d);
    if (tni_shape_wants(r, 0) < 0)
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = (uint32_t)n;
    for (int64_t i = 0; i < n; i++)
        set_one(r, (uint32_t)i, x->dims[start + i]);
    return TN_OK;
}

TnStatus tni_shape_size(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_ANY));
    tni_shape_rule_set(r, 0, TN_I64, 0, NULL);
    r->out[0].has_known = true;
    r->out[0].known.n = 1;
    set_one(r, 0, tni_shape_rule_numel(r, x->dims, x->rank));
    return TN_OK;
}

TnStatus tni_shape_constant_of_shape(ShapeRule *r) {
    const TnFillParams *p = r->n->params;
    const IrValue *s = in_at(r, 0);
    TnDim dims[TN_MAX_RANK];
    ShapeKnown k;
    int64_t n, v;
    TN_TRY(tni_shape_rule_type(r, 0, T_BIT(TN_I64)));
    TN_TRY(tni_shape_rule_rank(r, 0, 1, 1));
    if (p->dtype > TN_I2 || (T_DATA >> p->dtype & 1u) == 0)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "cannot make values of type %" PRIu32, p->dtype);
    if (!tni_ir_dim_is_const(r->m, s->dims[0], &n))
        return tni_shape_rule_fail(r, TN_ERR_UNSUPPORTED, "the rank of the result (the length of the shape) is known only at run time");
    if (n < 0 || n > TN_MAX_RANK)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the shape has %" PRId64 " entries; at most %d are supported", n, TN_MAX_RANK);
    bool known = tni_shape_known(r, 0, &k);
    for (uint32_t i = 0; i < (uint32_t)n; i++) {
        dims[i] = known ? tni_shape_known_dim(&k, i) : TN_DIM_NONE;
        if (tni_ir_dim_is_const(r->m, dims[i], &v) && v < 0)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "entry %" PRIu32 " of the shape is %" PRId64, i, v);
    }
    tni_shape_rule_set(r, 0, (TnDtype)p->dtype, (int32_t)n, dims);
    int64_t count = tni_shape_wants(r, 0);
    if (count < 0)
        return TN_OK;
    double f = tni_load_f64((TnDtype)p->dtype, p->value, 0);
    if (tni_dtype_is_float((TnDtype)p->dtype) && !(fabs(f) < 1e15 && f == floor(f)))
        return TN_OK;
    v = tni_dtype_is_float((TnDtype)p->dtype) ? (int64_t)f : tni_load_i64((TnDtype)p->dtype, p->value, 0);
    r->out[0].has_known = true;
    r->out[0].known.n = (uint32_t)count;
    for (int64_t i = 0; i < count; i++)
        set_one(r, (uint32_t)i, d_num(r, v));
    return TN_OK;
}

/* Number of elements from constants, as ONNX counts: max(0, ceil((limit - start) / delta)) in double. */
static TnStatus range_of_numbers(ShapeRule *r, TnDim *n) {
    double v[3];
    for (uint32_t i = 0; i < 3; i++) {
        const IrValue *x = in_at(r, i);
        if (x->kind != IR_CONST || x->data == NULL)
            return TN_OK;
        if (!tni_dtype_is_float(x->dtype))
            return TN_OK; /* exact below */
        v[i] = tni_load_f64(x->dtype, x->data, 0);
    }
    double count = ceil((v[1] - v[0]) / v[2]);
    if (v[2] == 0 || !(count < 9e15))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "from %g to %g by %g is not possible", v[0], v[1], v[2]);
    *n = d_num(r, count > 0 ? (int64_t)count : 0);
    return TN_OK;
}

/* ceil((limit - start) / delta) of known contents with a delta whose sign is known. */
static TnStatus range_of_dims(ShapeRule *r, const ShapeNum *v, TnDim *n) {
    IrModule *m = r->m;
    TnDtype t = in_at(r, 0)->dtype;
    int64_t lo, hi;
    ShapeNum span = tni_shape_num_binary(m, TN_BINARY_sub, t, v[1], v[0]);
    if (span.num == TN_DIM_NONE || v[2].num == TN_DIM_NONE)
        return TN_OK;
    if (d_is(r, v[2].num, 0))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the step is 0");
    tni_ir_dim_range(m, v[2].num, &lo, &hi);
    if (lo < 1 && hi > -1)
        return TN_OK;
    /* span.num / span.den / (delta.num / delta.den) */
    TnDim top = d_mul(r, span.num, d_num(r, hi <= -1 ? -v[2].den : v[2].den));
    TnDim bottom = d_mul(r, v[2].num, d_num(r, hi <= -1 ? -span.den : span.den));
    TnDim count = d_ceildiv(r, top, bottom);
    *n = d_max(r, count, d_num(r, 0));
    return TN_OK;
}

TnStatus tni_shape_range(ShapeRule *r) {
    TnDim n = TN_DIM_NONE;
    ShapeNum v[3];
    bool known = true;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_BIT(TN_I16) | T_BIT(TN_I32) | T_BIT(TN_I64)));
    for (uint32_t i = 0; i < 3; i++) {
        ShapeKnown k;
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        TN_TRY(tni_shape_rule_scalar(r, i));
        known = tni_shape_known(r, i, &k) && k.n == 1 && known;
        v[i] = known ? (ShapeNum){k.num[0], k.den[0]} : (ShapeNum){TN_DIM_NONE, 1};
    }
    TN_TRY(range_of_numbers(r, &n));
    if (n == TN_DIM_NONE && known)
        TN_TRY(range_of_dims(r, v, &n));
    if (n == TN_DIM_NONE && r->concrete)
        return tni_shape_rule_fail(r, TN_ERR_RUN, "start, limit and step do not make a range of a size that can be counted");
    tni_shape_rule_set(r, 0, in_at(r, 0)->dtype, 1, &n);
    int64_t count = n == TN_DIM_NONE ? -1 : tni_shape_wants(r, 0);
    if (!known || count < 0)
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = (uint32_t)count;
    for (int64_t i = 0; i < count; i++) {
        TnDtype t = r->out[0].dtype;
        ShapeNum step = tni_shape_num_binary(r->m, TN_BINARY_mul, t, v[2], (ShapeNum){d_num(r, i), 1});
        ShapeNum x = tni_shape_num_binary(r->m, TN_BINARY_add, t, v[0], step);
        r->out[0].known.num[i] = x.num;
        r->out[0].known.den[i] = x.den;
    }
    return TN_OK;
}

TnStatus tni_shape_dims(ShapeRule *r) {
    const TnDimsParams *p = r->n->params;
    if ((p->dtype != TN_I64 && p->dtype != TN_I32) || p->rank > 1 || p->n > TN_DIMS_MAX || (p->rank == 0 && p->n != 1))
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "the parameters are not valid");
    TnDim d = d_num(r, p->n);
    tni_shape_rule_set(r, 0, (TnDtype)p->dtype, (int32_t)p->rank, &d);
    if (r->concrete) /* the ids belong to the caller's module, which has their values */
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = p->n;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->dim[i] >= r->m->n_exprs)
            return tni_shape_rule_fail(r, TN_ERR_GRAPH, "element %" PRIu32 " is no dimension of the module", i);
        set_one(r, i, p->dim[i]);
    }
    return TN_OK;
}

TnStatus tni_shape_eye_like(ShapeRule *r) {
    const TnEyeLikeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT | T_BOOL));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, 2));
    if (p->dtype > TN_I2 || (p->dtype != TN_UNDEFINED && ((T_FLOAT | T_INT | T_BOOL) >> p->dtype & 1u) == 0))
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "cannot make values of type %" PRIu32, p->dtype);
    tni_shape_rule_set(r, 0, p->dtype != TN_UNDEFINED ? (TnDtype)p->dtype : x->dtype, 2, x->dims);
    return TN_OK;
}
