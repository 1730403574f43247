/* SPDX-License-Identifier: Apache-2.0
 *
 * Indices that are known functions of where they stand: v[i0, i1, ...] = base + c0 i0 + c1 i1 + ..., with symbolic c. What takes rows by
 * such indices may take them all, in their order: then it is a reshape. */
#include "base/dtype.h"
#include "passes/list.h"
#include "passes/match.h"

#define MAX_DEPTH 10

typedef struct Affine {
    int32_t rank;
    TnDim base, step[TN_MAX_RANK]; /* step: 0 where the dim is 1 */
} Affine;

static bool is(const Rewriter *r, TnDim d, int64_t want) {
    int64_t have;
    return d != TN_DIM_NONE && tni_ir_dim_is_const(r->m, d, &have) && have == want;
}

static Affine constant(Rewriter *r, int32_t rank, TnDim base) {
    Affine a = {.rank = rank, .base = base};
    for (int32_t i = 0; i < rank; i++)
        a.step[i] = tni_ir_dim_const(r->m, 0);
    return a;
}

/* All elements of a constant follow from the first and its neighbours. */
static bool of_tensor(Rewriter *r, IrValueId v, Affine *out) {
    TnTensor t;
    if (!tni_pass_tensor(r, v, &t) || !tni_dtype_is_int(t.dtype) || tn_dtype_bits(t.dtype) < 8 || tn_tensor_numel(&t) < 1 ||
        tn_tensor_numel(&t) > 1 << 20)
        return false;
    const int64_t n = tn_tensor_numel(&t), base = tni_load_i64(t.dtype, t.data, 0);
    int64_t step[TN_MAX_RANK], stride[TN_MAX_RANK], run = 1;
    for (int32_t i = t.rank - 1; i >= 0; i--) {
        stride[i] = run;
        step[i] = t.dims[i] > 1 ? tni_load_i64(t.dtype, t.data, run) - base : 0;
        run *= t.dims[i];
        if (base < -(INT64_C(1) << 40) || base > INT64_C(1) << 40 || step[i] < -(INT64_C(1) << 40) || step[i] > INT64_C(1) << 40)
            return false;
    }
    for (int64_t e = 0; e < n; e++) {
        int64_t want = base;
        for (int32_t i = 0; i < t.rank; i++)
            want += e / stride[i] % t.dims[i] * step[i];
        if (tni_load_i64(t.dtype, t.data, e) != want)
            return false;
    }
    *out = constant(r, t.rank, tni_ir_dim_const(r->m, base));
    for (int32_t i = 0; i < t.rank; i++)
        out->step[i] = tni_ir_dim_const(r->m, step[i]);
    return true;
}

/* a, as it is repeated to the dims of y. */
static bool spread(Rewriter *r, IrValueId x, IrValueId y, const Affine *a, Affine *out) {
    const IrValue *from = &r->g->values[x], *to = &r->g->values[y];
    const int32_t lead = to->rank - from->rank;
    if (lead < 0)
        return false;
    *out = constant(r, to->rank, a->base);
    to = &r->g->values[y];
    from = &r->g->values[x];
    for (int32_t i = 0; i < from->rank; i++) {
        if (is(r, from->dims[i], 1))
            continue;
        if (from->dims[i] == TN_DIM_NONE || to->dims[lead + i] == TN_DIM_NONE ||
            !tni_ir_dim_equal(r->m, from->dims[i], to->dims[lead + i]))
            return false;
        out->step[lead + i] = a->step[i];
    }
    return true;
}

/* Of a reshape that moves nothing but dims of 1. */
static bool of_reshape(Rewriter *r, IrValueId x, IrValueId y, const Affine *a, Affine *out) {
    const IrValue *from = &r->g->values[x], *to = &r->g->values[y];
    int32_t i = 0;
    *out = constant(r, to->rank, a->base);
    from = &r->g->values[x];
    to = &r->g->values[y];
    for (int32_t j = 0; j < to->rank; j++) {
        if (is(r, to->dims[j], 1))
            continue;
        while (i < from->rank && is(r, from->dims[i], 1))
            i++;
        if (i == from->rank || to->dims[j] == TN_DIM_NONE || from->dims[i] == TN_DIM_NONE ||
            !tni_ir_dim_equal(r->m, from->dims[i], to->dims[j]))
            return false;
        out->step[j] = a->step[i++];
    }
    while (i < from->rank && is(r, from->dims[i], 1))
        i++;
    return i == from->rank;
}

static bool affine(Rewriter *r, IrValueId v, Affine *out, int depth);

static bool of_binary(Rewriter *r, const IrNode *n, Affine *out, int depth) {
    const uint32_t fn = ((const TnBinaryParams *)n->params)->fn;
    const IrValueId in[2] = {n->in[0], n->in[1]}, y = n->out[0];
    Affine a[2], s[2];
    if (fn != TN_BINARY_add && fn != TN_BINARY_mul)
        return false;
    for (int i = 0; i < 2; i++)
        if (!affine(r, in[i], &a[i], depth + 1) || !spread(r, in[i], y, &a[i], &s[i]))
            return false;
    *out = s[0];
    if (fn == TN_BINARY_add) {
        out->base = tni_ir_dim_op(r->m, TN_DIM_ADD, s[0].base, s[1].base);
        for (int32_t i = 0; i < out->rank; i++)
            out->step[i] = tni_ir_dim_op(r->m, TN_DIM_ADD, s[0].step[i], s[1].step[i]);
        return true;
    }
    bool plain[2] = {true, true}; /* the same everywhere */
    for (int32_t i = 0; i < out->rank; i++)
        for (int k = 0; k < 2; k++)
            plain[k] = plain[k] && is(r, s[k].step[i], 0);
    if (!plain[0] && !plain[1])
        return false;
    const Affine *x = plain[1] ? &s[0] : &s[1];
    const TnDim c = plain[1] ? s[1].base : s[0].base;
    out->base = tni_ir_dim_op(r->m, TN_DIM_MUL, x->base, c);
    for (int32_t i = 0; i < out->rank; i++)
        out->step[i] = tni_ir_dim_op(r->m, TN_DIM_MUL, x->step[i], c);
    return true;
}

static bool affine(Rewriter *r, IrValueId v, Affine *out, int depth) {
    const IrNode *n = tni_pass_def(r, v);
    const IrValue *x = &r->g->values[v];
    Affine a;
    if (depth > MAX_DEPTH || x->rank < 0 || x->rank > TN_MAX_RANK)
        return false;
    if (x->kind == IR_CONST)
        return of_tensor(r, v, out);
    if (x->dtype != TN_I64) /* sums of narrower ones wrap */
        return false;
    if (x->elems != NULL && (x->rank == 0 || (x->rank == 1 && is(r, x->dims[0], 1)))) {
        *out = constant(r, x->rank, x->elems[0]);
        return out->base != TN_DIM_NONE;
    }
    if (n == NULL)
        return false;
    const IrValueId from = n->n_in > 0 ? n->in[0] : TN_NO_VALUE;
    switch (n->op) {
    case TN_OP_identity:
        return affine(r, from, out, depth + 1);
    case TN_OP_range: {
        const IrValueId by = n->in[2];
        double step;
        if (!tni_pass_number(r, by, &step) || step != (double)(int64_t)step || !affine(r, from, &a, depth + 1))
            return false;
        *out = constant(r, 1, a.base);
        out->step[0] = tni_ir_dim_const(r->m, (int64_t)step);
        return true;
    }
    case TN_OP_expand:
        return affine(r, from, &a, depth + 1) && spread(r, from, v, &a, out);
    case TN_OP_reshape:
        return affine(r, from, &a, depth + 1) && of_reshape(r, from, v, &a, out);
    case TN_OP_binary:
        return of_binary(r, n, out, depth);
    default:
        return false;
    }
}

bool tni_pass_counts(Rewriter *r, IrValueId v, TnDim n) {
    Affine a;
    if (!affine(r, v, &a, 0) || !is(r, a.base, 0) || n == TN_DIM_NONE)
        return false;
    TnDim stride = tni_ir_dim_const(r->m, 1);
    for (int32_t i = a.rank - 1; i >= 0; i--) {
        const TnDim d = r->g->values[v].dims[i];
        if (is(r, d, 1))
            continue;
        if (d == TN_DIM_NONE || stride == TN_DIM_NONE || a.step[i] == TN_DIM_NONE || !tni_ir_dim_equal(r->m, a.step[i], stride))
            return false;
        stride = tni_ir_dim_op(r->m, TN_DIM_MUL, stride, d);
    }
    return stride != TN_DIM_NONE && tni_ir_dim_equal(r->m, stride, n);
}

bool tni_pass_counts_axis(Rewriter *r, IrValueId v, TnDim n, int32_t *axis) {
    Affine a;
    *axis = -1;
    if (!affine(r, v, &a, 0) || !is(r, a.base, 0) || n == TN_DIM_NONE)
        return false;
    for (int32_t i = 0; i < a.rank; i++) {
        const TnDim d = r->g->values[v].dims[i];
        if (is(r, d, 1) || is(r, a.step[i], 0))
            continue;
        if (*axis >= 0 || d == TN_DIM_NONE || !is(r, a.step[i], 1) || !tni_ir_dim_equal(r->m, d, n))
            return false;
        *axis = i;
    }
    return *axis >= 0 || is(r, n, 1);
}
