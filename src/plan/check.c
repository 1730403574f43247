/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of operator rules and what the rules share. In: one step's parameters and tensors. Out: whether kernels may run on them. */
#include "plan/check.h"

#include "base/dtype.h"

static const PlanRule rules[TN_OP_COUNT] = {
#define OP(name, P, min_in, max_in, min_out, max_out, flags) [TN_OP_##name] = tni_plan_rule_##name,
#include "kernel/ops.inc"
#undef OP
};

/* Calls of programs are held together by plan/verify.c; their results are compared when they are delivered (runtime/control.c). */
TnStatus tni_plan_rule_if_(const PlanCheck *c) {
    (void)c;
    return TN_OK;
}

TnStatus tni_plan_rule_loop(const PlanCheck *c) {
    (void)c;
    return TN_OK;
}

/* Operands whose contents the rules read. */
static const struct {
    TnOp op;
    uint32_t mask;
} data_operands[] = {
    {TN_OP_cumsum, 1u << 1},
    {TN_OP_cumprod, 1u << 1},
    {TN_OP_reduce_axes, 1u << 1},
    {TN_OP_dft, 1u << 1 | 1u << 2},
    {TN_OP_col2im, 1u << 1 | 1u << 2},
    {TN_OP_random, 1u << 0},
    {TN_OP_attention_step, 1u << 3 | 1u << 4},
    {TN_OP_cache_append, 1u << 2},
    {TN_OP_resize, 1u << 1 | 1u << 2 | 1u << 3},
    {TN_OP_split, 1u << 1},
    {TN_OP_slice, 1u << 1 | 1u << 2 | 1u << 3 | 1u << 4},
    {TN_OP_pad, 1u << 1 | 1u << 3},
    {TN_OP_expand, 1u << 1},
    {TN_OP_tile, 1u << 1},
    {TN_OP_one_hot, 1u << 1},
    {TN_OP_topk, 1u << 1},
    {TN_OP_constant_of_shape, 1u << 0},
    {TN_OP_range, 1u << 0 | 1u << 1 | 1u << 2},
};

uint32_t tni_plan_data_operands(TnOp op) {
    for (size_t i = 0; i < TN_COUNT(data_operands); i++)
        if (data_operands[i].op == op)
            return data_operands[i].mask;
    return 0;
}

TnStatus tni_plan_check(const PlanCheck *c) {
    if (c->op >= TN_OP_COUNT)
        return TN_RAISE(c->err, TN_ERR_INTERNAL, "there is no operator %d", (int)c->op);
    return rules[c->op](c);
}

TnStatus tni_plan_expect(const PlanCheck *c, uint32_t i, TnDtype dtype, int32_t rank, const int64_t *dims) {
    if (i >= c->n_out)
        return TN_OK;
    TnTensor *t = &c->out[i];
    if (c->infer) {
        t->dtype = dtype;
        t->rank = rank;
        memset(t->dims, 0, sizeof t->dims);
        if (rank > 0)
            memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
        return TN_OK;
    }
    if (t->dtype == TN_UNDEFINED)
        return TN_OK;
    char want[96], have[96];
    if (t->rank != rank || (rank > 0 && memcmp(t->dims, dims, (size_t)rank * sizeof *dims) != 0))
        return TN_RAISE(c->err, TN_ERR_SHAPE, "%s: output %u is %s, its inputs give %s", tni_op_info(c->op)->name, i,
                        tni_shape_str(have, sizeof have, t->rank, t->dims), tni_shape_str(want, sizeof want, rank, dims));
    if (t->dtype != dtype)
        return TN_RAISE(c->err, TN_ERR_TYPE, "%s: output %u is %s, its inputs give %s", tni_op_info(c->op)->name, i,
                        tn_dtype_name(t->dtype), tn_dtype_name(dtype));
    return TN_OK;
}

TnStatus tni_plan_expect_like(const PlanCheck *c, uint32_t i, const TnTensor *t) {
    return tni_plan_expect(c, i, t->dtype, t->rank, t->dims);
}

TnStatus tni_plan_bad_input(const PlanCheck *c, uint32_t i, const char *expected) {
    char have[96];
    const char *name = tni_op_info(c->op)->name;
    if (!tni_plan_has(c, i))
        return TN_RAISE(c->err, TN_ERR_SHAPE, "%s: input %u is missing; expected %s", name, i, expected);
    return TN_RAISE(c->err, TN_ERR_SHAPE, "%s: input %u is %s %s; expected %s", name, i, tn_dtype_name(c->in[i].dtype),
                    tni_shape_str(have, sizeof have, c->in[i].rank, c->in[i].dims), expected);
}

TnStatus tni_plan_bad_param(const PlanCheck *c, const char *what, int64_t value) {
    return TN_RAISE(c->err, TN_ERR_PLAN, "%s: parameter %s is %lld", tni_op_info(c->op)->name, what, (long long)value);
}

bool tni_plan_axis(int64_t axis, int32_t rank, int32_t *out) {
    if (axis < -(int64_t)rank || axis >= rank)
        return false;
    *out = (int32_t)(axis < 0 ? axis + rank : axis);
    return true;
}

bool tni_plan_broadcast(const TnTensor *t, int32_t *rank, int64_t *dims) {
    int32_t r = TN_MAX(*rank, t->rank);
    int64_t d[TN_MAX_RANK];
    for (int32_t i = 0; i < r; i++) {
        int64_t a = i < r - *rank ? 1 : dims[i - (r - *rank)], b = i < r - t->rank ? 1 : t->dims[i - (r - t->rank)];
        if (a != b && a != 1 && b != 1)
            return false;
        d[i] = a == 1 ? b : a;
    }
    if (r > 0)
        memcpy(dims, d, (size_t)r * sizeof *d);
    *rank = r;
    return true;
}

bool tni_plan_fused_float(const PlanCheck *c, TnDtype t) {
    return t == TN_F32 || (c->device && (t == TN_F16 || t == TN_BF16));
}

bool tni_plan_same(const TnTensor *a, const TnTensor *b) {
    return a->dtype == b->dtype && a->rank == b->rank && (a->rank == 0 || memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0);
}

bool tni_plan_vector(const TnTensor *t, int64_t n) {
    return t->rank == 1 && t->dims[0] == n;
}
