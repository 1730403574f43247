/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: element by element operators, casts and quantisation.
 * In: operands that broadcast against each other. Out: the broadcast dims, the operator's result type, and small contents. */
#include "shape/rule.h"

#include <inttypes.h>

static const uint8_t unary_types[TN_UNARY_COUNT] = {
#define UNARY(name, expr, types) types,
#include "kernel/functions.inc"
#undef UNARY
};
static const uint8_t binary_types[TN_BINARY_COUNT] = {
#define BINARY(name, fexpr, iexpr, types) types,
#include "kernel/functions.inc"
#undef BINARY
};

static uint32_t type_set(uint32_t fn_types) {
    return ((fn_types & TN_FN_F) ? T_FLOAT : 0) | ((fn_types & TN_FN_I) ? T_INT : 0) | ((fn_types & TN_FN_B) ? T_BOOL : 0);
}

static void known_from(ShapeRule *r, uint32_t e, ShapeNum v) {
    r->out[0].known.num[e] = v.num;
    r->out[0].known.den[e] = v.den;
}

TnStatus tni_shape_unary(ShapeRule *r) {
    const TnUnaryParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    if (p->fn >= TN_UNARY_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "function %" PRIu32 " does not exist", p->fn);
    uint32_t set = type_set(unary_types[p->fn]);
    if (p->fn == TN_UNARY_neg)
        set &= ~T_UNSIGNED;
    TN_TRY(tni_shape_rule_type(r, 0, set));
    tni_shape_rule_set(r, 0, (unary_types[p->fn] & TN_FN_TO_BOOL) ? TN_BOOL : x->dtype, x->rank, x->dims);
    ShapeKnown k;
    int64_t n = tni_shape_wants(r, 0);
    if (n < 0 || !tni_shape_known(r, 0, &k) || k.n != n)
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = k.n;
    for (uint32_t i = 0; i < k.n; i++)
        known_from(r, i, tni_shape_num_unary(r->m, p->fn, x->dtype, (ShapeNum){k.num[i], k.den[i]}));
    return TN_OK;
}

/* Element of a broadcast operand that lies under element e of output 0; the operand's dims are numbers. */
static int64_t broadcast_index(const ShapeRule *r, const IrValue *v, int64_t e) {
    const ShapeOut *o = &r->out[0];
    int64_t at = 0, stride = 1, od, vd;
    for (int32_t a = o->rank - 1; a >= 0; a--) {
        int32_t va = a - (o->rank - v->rank);
        if (!tni_ir_dim_is_const(r->m, o->dims[a], &od) || od == 0)
            return -1;
        if (va >= 0) {
            if (!tni_ir_dim_is_const(r->m, v->dims[va], &vd))
                return -1;
            at += (vd == 1 ? 0 : e % od) * stride;
            stride *= vd;
        }
        e /= od;
    }
    return at;
}

static ShapeNum pick(const ShapeRule *r, const IrValue *v, const ShapeKnown *k, int64_t e) {
    int64_t i = broadcast_index(r, v, e);
    return i >= 0 && i < (int64_t)k->n ? (ShapeNum){k->num[i], k->den[i]} : (ShapeNum){TN_DIM_NONE, 1};
}

static TnStatus binary_type(ShapeRule *r, uint32_t fn) {
    uint32_t set = type_set(binary_types[fn]);
    if (fn == TN_BINARY_shift_left || fn == TN_BINARY_shift_right)
        set = T_INT;
    TN_TRY(tni_shape_rule_type(r, 0, set));
    if (fn == TN_BINARY_pow)
        return tni_shape_rule_type(r, 1, T_FLOAT | T_INT);
    return tni_shape_rule_same_type(r, 1, 0);
}

TnStatus tni_shape_binary(ShapeRule *r) {
    const TnBinaryParams *p = r->n->params;
    const IrValue *a = in_at(r, 0), *b = in_at(r, 1);
    if (p->fn >= TN_BINARY_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "function %" PRIu32 " does not exist", p->fn);
    TN_TRY(binary_type(r, p->fn));
    tni_shape_rule_like(r, 0, a);
    if ((binary_types[p->fn] & TN_FN_TO_BOOL) != 0 || a->dtype == TN_BOOL)
        r->out[0].dtype = TN_BOOL;
    TN_TRY(tni_shape_rule_broadcast(r, &r->out[0].rank, r->out[0].dims, b));
    ShapeKnown ka, kb;
    int64_t n = tni_shape_wants(r, 0);
    if (n < 0 || !tni_shape_known(r, 0, &ka) || !tni_shape_known(r, 1, &kb))
        return TN_OK;
    if (p->fn == TN_BINARY_pow && b->dtype != a->dtype && !tni_dtype_is_float(a->dtype) && tni_dtype_is_float(b->dtype))
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = (uint32_t)n;
    for (int64_t e = 0; e < n; e++)
        known_from(r, (uint32_t)e, tni_shape_num_binary(r->m, p->fn, a->dtype, pick(r, a, &ka, e), pick(r, b, &kb, e)));
    return TN_OK;
}

TnStatus tni_shape_where(ShapeRule *r) {
    const IrValue *c = in_at(r, 0), *x = in_at(r, 1), *y = in_at(r, 2);
    TN_TRY(tni_shape_rule_type(r, 0, T_BOOL));
    TN_TRY(tni_shape_rule_type(r, 1, T_DATA));
    TN_TRY(tni_shape_rule_same_type(r, 2, 1));
    tni_shape_rule_like(r, 0, x);
    TN_TRY(tni_shape_rule_broadcast(r, &r->out[0].rank, r->out[0].dims, y));
    TN_TRY(tni_shape_rule_broadcast(r, &r->out[0].rank, r->out[0].dims, c));
    ShapeKnown kc, kx, ky;
    int64_t n = tni_shape_wants(r, 0);
    if (n < 0 || !tni_shape_known(r, 0, &kc) || !tni_shape_known(r, 1, &kx) || !tni_shape_known(r, 2, &ky))
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = (uint32_t)n;
    for (int64_t e = 0; e < n; e++)
        known_from(r, (uint32_t)e, tni_shape_num_select(r->m, pick(r, c, &kc, e), pick(r, x, &kx, e), pick(r, y, &ky, e)));
    return TN_OK;
}

TnStatus tni_shape_clip(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    ShapeKnown k, bound;
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_INT));
    for (uint32_t i = 1; i < 3; i++) { /* exporters of opset 11 write float bounds for integers: each is read in its own type */
        if (in_at(r, i) != NULL)
            TN_TRY(tni_shape_rule_type(r, i, T_FLOAT | T_INT));
        TN_TRY(tni_shape_rule_scalar(r, i));
    }
    tni_shape_rule_like(r, 0, x);
    int64_t n = tni_shape_wants(r, 0);
    if (n < 0 || !tni_shape_known(r, 0, &k) || k.n != n)
        return TN_OK;
    for (uint32_t i = 1; i < 3; i++) {
        if (in_at(r, i) == NULL)
            continue;
        if (!tni_shape_known(r, i, &bound) || bound.n != 1 || in_at(r, i)->dtype != x->dtype)
            return TN_OK;
        for (uint32_t e = 0; e < k.n; e++) {
            ShapeNum v = tni_shape_num_binary(r->m, i == 1 ? TN_BINARY_max : TN_BINARY_min, x->dtype, (ShapeNum){k.num[e], k.den[e]},
                                              (ShapeNum){bound.num[0], bound.den[0]});
            k.num[e] = v.num;
            k.den[e] = v.den;
        }
    }
    r->out[0].known = k;
    r->out[0].has_known = true;
    return TN_OK;
}

TnStatus tni_shape_cast(ShapeRule *r) {
    const TnCastParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_ANY));
    if (p->to > TN_I2 || (T_ANY >> p->to & 1u) == 0)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "cannot cast to type %" PRIu32 " (%s)", p->to, tn_dtype_name((TnDtype)p->to));
    tni_shape_rule_set(r, 0, (TnDtype)p->to, x->rank, x->dims);
    ShapeKnown k;
    int64_t n = tni_shape_wants(r, 0);
    if (n < 0 || !tni_shape_known(r, 0, &k) || k.n != n)
        return TN_OK;
    r->out[0].has_known = true;
    r->out[0].known.n = k.n;
    for (uint32_t i = 0; i < k.n; i++)
        known_from(r, i, tni_shape_num_cast(r->m, x->dtype, (TnDtype)p->to, (ShapeNum){k.num[i], k.den[i]}));
    return TN_OK;
}

static bool pointwise_code_ok(const TnPointwiseParams *p) {
    uint32_t defined = (1u << p->n_in) - 1;
    for (uint32_t i = 0; i < p->n_code; i++) {
        const TnPwInstr *c = &p->code[i];
        uint32_t reads = c->op == TN_PW_CONST ? 0 : 1u << (c->a & 31);
        if (c->op == TN_PW_BINARY || c->op == TN_PW_WHERE)
            reads |= 1u << (c->b & 31);
        if (c->op == TN_PW_WHERE)
            reads |= 1u << (c->c & 31);
        if (c->op > TN_PW_CONST || c->dst >= TN_PW_MAX_REGS || c->a >= TN_PW_MAX_REGS || c->b >= TN_PW_MAX_REGS || c->c >= TN_PW_MAX_REGS ||
            (reads & ~defined) != 0 || (c->op == TN_PW_UNARY && c->fn >= TN_UNARY_COUNT) ||
            (c->op == TN_PW_BINARY && c->fn >= TN_BINARY_COUNT))
            return false;
        defined |= 1u << c->dst;
    }
    return true;
}

TnStatus tni_shape_pointwise(ShapeRule *r) {
    const TnPointwiseParams *p = r->n->params;
    if (p->n_in != r->n->n_in || p->n_code < 1 || p->n_code > TN_PW_MAX_CODE || !pointwise_code_ok(p))
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "the fused code is not valid");
    for (uint32_t i = 0; i < r->n->n_in; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_FUSED));
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        if (i == 0)
            tni_shape_rule_like(r, 0, in_at(r, 0));
        else
            TN_TRY(tni_shape_rule_broadcast(r, &r->out[0].rank, r->out[0].dims, in_at(r, i)));
    }
    return TN_OK;
}

/* Scale (operand 1) and zero point (operand 2): per tensor, per axis, or per block of the axis. */
static TnStatus quantize_scales(ShapeRule *r, TnQuantizeParams *p) {
    const IrValue *x = in_at(r, 0), *s = in_at(r, 1), *z = in_at(r, 2);
    if (p->block_size < 0)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "block_size is %" PRId32, p->block_size);
    if (z != NULL) {
        if (z->rank != s->rank)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "zero point and scale have different ranks");
        for (int32_t i = 0; i < s->rank; i++)
            TN_TRY(tni_shape_rule_equal(r, s->dims[i], z->dims[i], "dimensions of scale and zero point"));
    }
    if (s->rank == 0 || (s->rank == 1 && d_is(r, s->dims[0], 1) && p->block_size == 0 && x->rank == 0))
        return TN_OK;
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    if (p->block_size == 0) {
        if (s->rank == 1 && d_is(r, s->dims[0], 1))
            return TN_OK;
        return tni_shape_rule_vector(r, 1, x->dims[p->axis], "the scale and the quantised axis");
    }
    if (s->rank != x->rank)
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "blocked scales have rank %" PRId32 ", expected %" PRId32, s->rank, x->rank);
    for (int32_t i = 0; i < x->rank; i++) {
        TnDim want = i == p->axis ? d_ceildiv(r, x->dims[i], d_num(r, p->block_size)) : x->dims[i];
        TN_TRY(tni_shape_rule_equal(r, s->dims[i], want, "a dimension of the blocked scales and the number of blocks"));
    }
    return TN_OK;
}

TnStatus tni_shape_quantize_linear(ShapeRule *r) {
    TnQuantizeParams *p = r->n->params;
    const uint32_t quantised = T_BIT(TN_U8) | T_BIT(TN_I8) | T_BIT(TN_U16) | T_BIT(TN_I16) | T_FP8 | T_NARROW;
    const IrValue *x = in_at(r, 0), *z = in_at(r, 2);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT | T_BIT(TN_I32)));
    TN_TRY(tni_shape_rule_type(r, 1, T_FLOAT | T_BIT(TN_I32)));
    if (z != NULL)
        TN_TRY(tni_shape_rule_type(r, 2, quantised));
    if (p->output_dtype > TN_I2 || (p->output_dtype != TN_UNDEFINED && (quantised >> p->output_dtype & 1u) == 0))
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "cannot quantise to type %" PRIu32, p->output_dtype);
    if (z != NULL && p->output_dtype != TN_UNDEFINED && (TnDtype)p->output_dtype != z->dtype)
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "output_dtype and the type of the zero point differ");
    TN_TRY(quantize_scales(r, p));
    TnDtype t = p->output_dtype != TN_UNDEFINED ? (TnDtype)p->output_dtype : z != NULL ? z->dtype : TN_U8;
    tni_shape_rule_set(r, 0, t, x->rank, x->dims);
    return TN_OK;
}

TnStatus tni_shape_dequantize_linear(ShapeRule *r) {
    TnQuantizeParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_BIT(TN_U8) | T_BIT(TN_I8) | T_BIT(TN_U16) | T_BIT(TN_I16) | T_BIT(TN_I32) | T_FP8 | T_NARROW));
    TN_TRY(tni_shape_rule_type(r, 1, T_FLOAT));
    TN_TRY(tni_shape_rule_same_type(r, 2, 0));
    if (p->output_dtype != TN_UNDEFINED && (p->output_dtype > TN_I2 || (T_FLOAT >> p->output_dtype & 1u) == 0))
        return tni_shape_rule_fail(r, TN_ERR_TYPE, "cannot dequantise to type %" PRIu32, p->output_dtype);
    TN_TRY(quantize_scales(r, p));
    TnDtype t = p->output_dtype != TN_UNDEFINED ? (TnDtype)p->output_dtype : in_at(r, 1)->dtype;
    tni_shape_rule_set(r, 0, t, x->rank, x->dims);
    return TN_OK;
}
