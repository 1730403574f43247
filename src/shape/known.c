/* SPDX-License-Identifier: Apache-2.0
 *
 * Contents of small tensors: read from constants and values, moved from operands to outputs.
 * In: a rule's operands. Out: elements as exact fractions of symbolic expressions. Invariant: what is not known exactly is TN_DIM_NONE. */
#include "shape/rule.h"

#include <inttypes.h>
#include <math.h>

/* Denominators of floats are powers of two up to this (0.125, 1.5, ...); other fractions are not taken as exact. */
enum { DEN_MAX = 1024 };

static void read_float(ShapeKnown *k, uint32_t i, double v, IrModule *m) {
    k->num[i] = TN_DIM_NONE;
    k->den[i] = 1;
    if (!(fabs(v) <= 4503599627370496.0)) /* 2^52; also refuses NaN */
        return;
    int64_t den = 1;
    while (den < DEN_MAX && v * (double)den != floor(v * (double)den))
        den *= 2;
    if (v * (double)den != floor(v * (double)den))
        return;
    k->num[i] = tni_ir_dim_const(m, (int64_t)(v * (double)den));
    k->den[i] = den;
}

static bool read_const(IrModule *m, const IrValue *v, ShapeKnown *k) {
    int64_t n = 1, d;
    for (int32_t i = 0; i < v->rank; i++) {
        if (!tni_ir_dim_is_const(m, v->dims[i], &d) || d < 0 || d > TN_DIMS_MAX || (n *= d) > TN_DIMS_MAX)
            return false;
    }
    bool is_float = v->dtype == TN_F32 || v->dtype == TN_F64;
    if (v->rank < 0 || (v->data == NULL && n > 0) || (!is_float && ((T_INT | T_BOOL) >> v->dtype & 1u) == 0))
        return false;
    k->n = (uint32_t)n;
    for (uint32_t i = 0; i < k->n; i++) {
        if (is_float) {
            read_float(k, i, tni_load_f64(v->dtype, v->data, i), m);
        } else {
            int64_t x = tni_load_i64(v->dtype, v->data, i);
            k->num[i] = v->dtype == TN_U64 && x < 0 ? TN_DIM_NONE : tni_ir_dim_const(m, x);
            k->den[i] = 1;
        }
    }
    return true;
}

bool tni_shape_known_value(ShapeRule *r, const IrValue *v, ShapeKnown *k) {
    if (v == NULL)
        return false;
    if (v->kind == IR_CONST)
        return read_const(r->m, v, k);
    if (v->known == NULL)
        return false;
    *k = *v->known;
    return true;
}

bool tni_shape_known(const ShapeRule *r, uint32_t i, ShapeKnown *k) {
    ShapeRule x = *r;
    return tni_shape_known_value(&x, in_at(r, i), k);
}

TnDim tni_shape_known_dim(const ShapeKnown *k, uint32_t i) {
    return i < k->n && k->den[i] == 1 ? k->num[i] : TN_DIM_NONE;
}

bool tni_shape_known_int(const ShapeRule *r, const ShapeKnown *k, uint32_t i, int64_t *out) {
    return tni_ir_dim_is_const(r->m, tni_shape_known_dim(k, i), out);
}

TnStatus tni_shape_rule_ints(ShapeRule *r, uint32_t i, uint32_t max, int64_t *out, uint32_t *n) {
    ShapeKnown k;
    const IrValue *v = in_at(r, i);
    int64_t count;
    TN_TRY(tni_shape_rule_type(r, i, T_INDEX));
    TN_TRY(tni_shape_rule_rank(r, i, 0, 1));
    if (v->rank == 1 && tni_ir_dim_is_const(r->m, v->dims[0], &count) && count > (int64_t)max)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "input %" PRIu32 " has %" PRId64 " elements, at most %" PRIu32 " are possible", i,
                                   count, max);
    if (!tni_shape_known(r, i, &k))
        k.n = max + 1;
    for (uint32_t j = 0; j < k.n; j++) {
        if (k.n > max || !tni_shape_known_int(r, &k, j, &out[j]))
            return tni_shape_rule_fail(
                r, TN_ERR_UNSUPPORTED,
                "the values of input %" PRIu32 " decide the output's rank or axes and must be constants of the model", i);
    }
    *n = k.n;
    return TN_OK;
}

int64_t tni_shape_wants(const ShapeRule *r, uint32_t o) {
    const ShapeOut *x = &r->out[o];
    int64_t n = 1, d;
    if (r->concrete || o >= r->n->n_out || r->n->out[o] == TN_NO_VALUE)
        return -1;
    if (((T_INT | T_BOOL | T_BIT(TN_F32) | T_BIT(TN_F64)) >> x->dtype & 1u) == 0)
        return -1;
    for (int32_t i = 0; i < x->rank; i++) {
        if (!tni_ir_dim_is_const(r->m, x->dims[i], &d) || d < 0 || d > TN_DIMS_MAX)
            return -1;
        n *= d; /* at most 16^8 */
    }
    return n <= TN_DIMS_MAX ? n : -1;
}

bool tni_shape_strides(const ShapeRule *r, const TnDim *dims, int32_t rank, int64_t *strides) {
    int64_t s = 1, d;
    for (int32_t i = rank - 1; i >= 0; i--) {
        strides[i] = s;
        if (!tni_ir_dim_is_const(r->m, dims[i], &d) || !tni_mul_i64(s, d, &s))
            return false;
    }
    return true;
}

void tni_shape_known_strided(ShapeRule *r, uint32_t o, uint32_t i, int64_t base, const int64_t *strides) {
    ShapeKnown k;
    ShapeOut *x = &r->out[o];
    int64_t n = tni_shape_wants(r, o);
    if (n < 0 || !tni_shape_known(r, i, &k))
        return;
    x->known.n = (uint32_t)n;
    x->has_known = true;
    for (int64_t e = 0; e < n; e++) {
        int64_t rest = e, at = base, d = 1;
        for (int32_t a = x->rank - 1; a >= 0; a--) {
            if (!tni_ir_dim_is_const(r->m, x->dims[a], &d))
                d = 1;
            at += rest % d * strides[a];
            rest /= d;
        }
        bool inside = at >= 0 && at < (int64_t)k.n;
        x->known.num[e] = inside ? k.num[at] : TN_DIM_NONE;
        x->known.den[e] = inside ? k.den[at] : 1;
    }
}

void tni_shape_known_copy(ShapeRule *r, uint32_t o, uint32_t i) {
    ShapeKnown k;
    int64_t n = tni_shape_wants(r, o);
    if (n < 0 || !tni_shape_known(r, i, &k) || k.n != n)
        return;
    r->out[o].known = k;
    r->out[o].has_known = true;
}
