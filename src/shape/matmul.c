/* SPDX-License-Identifier: Apache-2.0
 *
 * Shape rules: matrix products.
 * In: matrices, with leading batch dims. Out: [..., M, N]; the inner dims must be able to be equal. */
#include "shape/rule.h"

#include <inttypes.h>

#define T_MATMUL (T_FLOAT | T_BIT(TN_I32) | T_BIT(TN_I64) | T_BIT(TN_U32) | T_BIT(TN_U64))

/* The result has elements of type t. */
static TnStatus product(ShapeRule *r, TnDtype t) {
    const IrValue *a = in_at(r, 0), *b = in_at(r, 1);
    TN_TRY(tni_shape_rule_rank(r, 0, 1, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_rank(r, 1, 1, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_equal(r, a->dims[a->rank - 1], b->dims[b->rank > 1 ? b->rank - 2 : 0],
                                "the inner dimensions (columns of A, rows of B)"));
    /* Batch dims broadcast; a vector operand has no row (or column) in the result. */
    IrValue batch = *b;
    TnDim dims[TN_MAX_RANK];
    int32_t rank = TN_MAX(a->rank - 2, 0);
    batch.rank = TN_MAX(b->rank - 2, 0);
    memcpy(dims, a->dims, (size_t)rank * sizeof dims[0]);
    TN_TRY(tni_shape_rule_broadcast(r, &rank, dims, &batch));
    if (a->rank > 1)
        dims[rank++] = a->dims[a->rank - 2];
    if (b->rank > 1)
        dims[rank++] = b->dims[b->rank - 1];
    tni_shape_rule_set(r, 0, t, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_matmul(ShapeRule *r) {
    TN_TRY(tni_shape_rule_type(r, 0, T_MATMUL));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    return product(r, in_at(r, 0)->dtype);
}

/* Zero points have the types of their matrices: one number, B's also one for each column. */
TnStatus tni_shape_matmul_integer(ShapeRule *r) {
    for (uint32_t i = 0; i < 2; i++) {
        TN_TRY(tni_shape_rule_type(r, i, T_BIT(TN_U8) | T_BIT(TN_I8)));
        if (in_at(r, i + 2) == NULL)
            continue;
        TN_TRY(tni_shape_rule_same_type(r, i + 2, i));
        TN_TRY(tni_shape_rule_rank(r, i + 2, 0, 1));
    }
    TN_TRY(product(r, TN_I32));
    const IrValue *b = in_at(r, 1), *za = in_at(r, 2), *zb = in_at(r, 3);
    int64_t n;
    if (za != NULL && za->rank == 1 && !(tni_ir_dim_is_const(r->m, za->dims[0], &n) && n == 1))
        return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the zero point of A must be one number");
    if (zb != NULL && zb->rank == 1 && !(tni_ir_dim_is_const(r->m, zb->dims[0], &n) && n == 1)) {
        if (b->rank < 2)
            return tni_shape_rule_fail(r, TN_ERR_SHAPE, "the zero point of a vector B must be one number");
        TN_TRY(tni_shape_rule_equal(r, zb->dims[0], b->dims[b->rank - 1], "zero points and columns of B"));
    }
    return TN_OK;
}

static TnStatus gemm_bias(ShapeRule *r, const TnDim *dims, int32_t rank) {
    const IrValue *bias = in_at(r, 2), *residual = in_at(r, 3), *a = in_at(r, 0);
    if (bias != NULL) {
        TN_TRY(tni_shape_rule_same_type(r, 2, 0));
        TN_TRY(tni_shape_rule_rank(r, 2, 0, 2));
        TnDim mn[2] = {tni_shape_rule_numel(r, dims, rank - 1), dims[rank - 1]};
        TN_TRY(tni_shape_rule_broadcasts_to(r, 2, 2, mn));
    }
    if (residual != NULL) {
        TN_TRY(tni_shape_rule_same_type(r, 3, 0));
        TN_TRY(tni_shape_rule_rank(r, 3, rank, rank));
        for (int32_t i = 0; i < rank; i++)
            TN_TRY(tni_shape_rule_equal(r, residual->dims[i], dims[i], "dimensions of the residual and the result"));
    }
    tni_shape_rule_set(r, 0, a->dtype, rank, dims);
    return TN_OK;
}

TnStatus tni_shape_gemm(ShapeRule *r) {
    const TnGemmParams *p = r->n->params;
    const IrValue *a = in_at(r, 0), *b = in_at(r, 1);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_MATMUL));
    TN_TRY(tni_shape_rule_same_type(r, 1, 0));
    TN_TRY(tni_shape_rule_rank(r, 0, p->trans_a ? 2 : 1, p->trans_a ? 2 : TN_MAX_RANK));
    TN_TRY(tni_shape_rule_rank(r, 1, 2, 2));
    if (p->act >= TN_ACT_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "activation %" PRIu32 " does not exist", p->act);
    int32_t rank = a->rank;
    memcpy(dims, a->dims, (size_t)rank * sizeof dims[0]);
    if (p->trans_a)
        dims[0] = a->dims[1];
    TnDim k = p->trans_a ? a->dims[0] : a->dims[rank - 1];
    TN_TRY(tni_shape_rule_equal(r, k, b->dims[p->trans_b ? 1 : 0], "the inner dimensions of the product"));
    dims[rank - 1] = b->dims[p->trans_b ? 0 : 1];
    return gemm_bias(r, dims, rank);
}

TnStatus tni_shape_mlp(ShapeRule *r) {
    const TnMlpParams *p = r->n->params;
    const IrValue *x = in_at(r, 0), *w1 = in_at(r, 1), *w2 = in_at(r, 2), *residual = in_at(r, 5);
    TnDim dims[TN_MAX_RANK];
    TN_TRY(tni_shape_rule_type(r, 0, T_FLOAT));
    for (uint32_t i = 1; i < 6; i++)
        TN_TRY(tni_shape_rule_same_type(r, i, 0));
    TN_TRY(tni_shape_rule_rank(r, 0, 1, TN_MAX_RANK));
    TN_TRY(tni_shape_rule_rank(r, 1, 2, 2));
    TN_TRY(tni_shape_rule_rank(r, 2, 2, 2));
    if (p->act >= TN_ACT_COUNT)
        return tni_shape_rule_fail(r, TN_ERR_GRAPH, "activation %" PRIu32 " does not exist", p->act);
    const TnDim hidden = w1->dims[p->trans_1 ? 0 : 1], n = w2->dims[p->trans_2 ? 0 : 1];
    TN_TRY(tni_shape_rule_equal(r, x->dims[x->rank - 1], w1->dims[p->trans_1 ? 1 : 0], "the inner dimensions of the first product"));
    TN_TRY(tni_shape_rule_equal(r, hidden, w2->dims[p->trans_2 ? 1 : 0], "the inner dimensions of the second product"));
    TN_TRY(tni_shape_rule_vector(r, 3, hidden, "biases and hidden columns"));
    TN_TRY(tni_shape_rule_vector(r, 4, n, "biases and columns"));
    memcpy(dims, x->dims, (size_t)x->rank * sizeof dims[0]);
    dims[x->rank - 1] = n;
    if (residual != NULL) {
        TN_TRY(tni_shape_rule_rank(r, 5, x->rank, x->rank));
        for (int32_t i = 0; i < x->rank; i++)
            TN_TRY(tni_shape_rule_equal(r, residual->dims[i], dims[i], "dimensions of the residual and the result"));
    }
    tni_shape_rule_set(r, 0, x->dtype, x->rank, dims);
    return TN_OK;
}
