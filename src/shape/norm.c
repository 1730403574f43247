/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: normalisations. All give the dims and type of their first operand.
 * In: the tensor and its scales. Out: the same dims; scales are checked against the axes they belong to. */
#include "shape/rule.h"

#include <inttypes.h>

/* NaN or negative would make square roots of negative numbers. */
static TnStatus check_epsilon(ShapeRule *r, const TnNormParams *p) {
    if (!(p->epsilon >= 0.0f))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "epsilon is %g, expected a number >= 0", (double)p->epsilon);
    return TN_OK;
}

/* Operand i (if there) broadcasts to the normalised axes axis..rank-1, and has the type of x. */
static TnStatus scale_operand(ShapeRule *r, uint32_t i, int32_t axis) {
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_same_type(r, i, 0));
    return tni_shape_rule_broadcasts_to(r, i, x->rank - axis, x->dims + axis);
}

TnStatus tni_shape_layer_norm(ShapeRule *r) {
    TnNormParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_axis(r, &p->axis, x->rank));
    TN_TRY(check_epsilon(r, p));
    for (uint32_t i = 1; i < 3; i++)
        TN_TRY(scale_operand(r, i, p->axis));
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

TnStatus tni_shape_rms_norm(ShapeRule *r) {
    return tni_shape_layer_norm(r);
}

TnStatus tni_shape_add_layer_norm(ShapeRule *r) {
    TnNormParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *s = in_at(r, 1);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 1, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_rank(r, 1, x->rank, x->rank));
    TN_TRY(check_epsilon(r, p));
    for (int32_t i = 0; i < x->rank; i++)
        TN_TRY(tni_shape_rule_equal(r, x->dims[i], s->dims[i], "dimensions of the input and the residual"));
    for (uint32_t i = 1; i < 5; i++) {
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        if (i >= 2)
            TN_TRY(tni_shape_rule_vector(r, i, x->dims[x->rank - 1], "scale, bias and the last dimension"));
    }
    p->axis = x->rank - 1;
    tni_shape_rule_like(r, 0, x);
    tni_shape_rule_like(r, 1, x);
    return TN_OK;
}

TnStatus tni_shape_batch_norm(ShapeRule *r) {
    const TnNormParams *p = r->n->params;
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, p->channels_last ? 1 : 2, TN_MAX_RANK));
    TN_TRY(check_epsilon(r, p));
    TnDim c = x->dims[p->channels_last ? x->rank - 1 : 1];
    for (uint32_t i = 1; i < 5; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_FLOAT));
        TN_TRY(tni_shape_rule_same_type(r, i, i < 3 ? 1 : 3));
        TN_TRY(tni_shape_rule_vector(r, i, c, "the parameters and the number of channels"));
    }
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

static TnStatus channel_norm(ShapeRule *r) {
    const IrValue *x = in_at(r, 0);
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    TN_TRY(tni_shape_rule_rank(r, 0, 2, TN_MAX_RANK));
    TN_TRY(check_epsilon(r, r->n->params));
    for (uint32_t i = 1; i < 3; i++) {
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
        TN_TRY(tni_shape_rule_vector(r, i, x->dims[1], "the parameters and the number of channels"));
    }
    tni_shape_rule_like(r, 0, x);
    return TN_OK;
}

TnStatus tni_shape_instance_norm(ShapeRule *r) {
    return channel_norm(r);
}

TnStatus tni_shape_group_norm(ShapeRule *r) {
    const TnNormParams *p = r->n->params;
    int64_t c;
    TN_TRY(tni_shape_rule_rank(r, 0, 2, TN_MAX_RANK));
    if (p->groups < 1 || (tni_ir_dim_is_const(r->m, in_at(r, 0)->dims[1], &c) && c % (int64_t)p->groups != 0))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "%" PRIu32 " groups do not divide the channels", p->groups);
    return channel_norm(r);
}
