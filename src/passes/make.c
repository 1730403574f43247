/* SPDX-License-Identifier: Apache-2.0
 *
 * What passes build again and again: constants, shapes, reshapes, transposes, scalar arithmetic. */
#include "base/dtype.h"
#include "passes/match.h"
#include "passes/rewrite.h"
#include "shape/shape.h"

IrValueId tni_pass_const(Rewriter *r, TnDtype t, int32_t rank, const int64_t *dims, const void *data) {
    IrValueId v = TN_NO_VALUE;
    if (r->st != TN_OK)
        return v;
    tni_pass_fail(r, tni_ir_const_copy(r->m, r->g, NULL, t, rank, dims, data, &v, r->err));
    return r->st == TN_OK && tni_pass_see_values(r) ? v : TN_NO_VALUE;
}

IrValueId tni_pass_const_own(Rewriter *r, TnDtype t, int32_t rank, const int64_t *dims, const void *arena_data) {
    IrValueId v = TN_NO_VALUE;
    if (r->st != TN_OK)
        return v;
    tni_pass_fail(r, tni_ir_const_add(r->m, r->g, NULL, t, rank, dims, arena_data, &v, r->err));
    return r->st == TN_OK && tni_pass_see_values(r) ? v : TN_NO_VALUE;
}

void *tni_pass_alloc(Rewriter *r, size_t bytes) {
    if (r->st != TN_OK)
        return NULL;
    void *p = tni_arena_alloc_aligned(r->m->arena, bytes > 0 ? bytes : 1, 64);
    if (p == NULL)
        tni_pass_fail(r, TN_OOM(r->err, bytes));
    return p;
}

IrValueId tni_pass_scalar(Rewriter *r, TnDtype t, double v) {
    uint8_t bytes[16] = {0};
    tni_store_f64(t, bytes, 0, v);
    return tni_pass_const(r, t, 0, NULL, bytes);
}

IrValueId tni_pass_dims_value(Rewriter *r, const char *name, int32_t rank, const TnDim *dims) {
    int64_t numbers[TN_MAX_RANK];
    bool fixed = true;
    for (int32_t i = 0; i < rank; i++)
        fixed = tni_ir_dim_is_const(r->m, dims[i], &numbers[i]) && fixed;
    if (fixed)
        return tni_pass_const(r, TN_I64, 1, (int64_t[]){rank}, numbers);
    TnDimsParams p = {.dtype = TN_I64, .rank = 1, .n = (uint32_t)rank};
    for (int32_t i = 0; i < rank; i++)
        p.dim[i] = dims[i];
    return tni_pass_add(r, TN_OP_dims, name, &p, NULL, 0);
}

IrValueId tni_pass_reshape(Rewriter *r, const char *name, IrValueId x, int32_t rank, const TnDim *dims) {
    if (r->st != TN_OK || x == TN_NO_VALUE)
        return TN_NO_VALUE;
    const IrValue *v = &r->g->values[x];
    bool same = v->rank == rank;
    for (int32_t i = 0; same && i < rank; i++)
        same = tni_ir_dim_equal(r->m, v->dims[i], dims[i]);
    if (same)
        return x;
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE, .allowzero = 1}; /* an extent that happens to be 0 is 0 */
    IrValueId in[2] = {x, tni_pass_dims_value(r, name, rank, dims)};
    IrValueId out = tni_pass_add(r, TN_OP_reshape, name, &p, in, 2);
    if (out != TN_NO_VALUE) /* the caller's expressions, which its neighbours use too */
        for (int32_t i = 0; i < rank; i++)
            r->g->values[out].dims[i] = dims[i];
    return out;
}

IrValueId tni_pass_transpose(Rewriter *r, const char *name, IrValueId x, const uint8_t *perm) {
    if (r->st != TN_OK || x == TN_NO_VALUE)
        return TN_NO_VALUE;
    int32_t rank = r->g->values[x].rank;
    TnTransposeParams p = {.n = (uint32_t)rank};
    bool moves = false;
    for (int32_t i = 0; i < rank; i++) {
        p.perm[i] = perm[i];
        moves = moves || perm[i] != i;
    }
    return moves ? tni_pass_add(r, TN_OP_transpose, name, &p, &x, 1) : x;
}

IrValueId tni_pass_unary_node(Rewriter *r, const char *name, uint32_t fn, float alpha, IrValueId x) {
    TnUnaryParams p = {.fn = fn, .alpha = alpha};
    return x == TN_NO_VALUE ? x : tni_pass_add(r, TN_OP_unary, name, &p, &x, 1);
}

IrValueId tni_pass_binary_node(Rewriter *r, const char *name, uint32_t fn, IrValueId a, IrValueId b) {
    TnBinaryParams p = {.fn = fn};
    IrValueId in[2] = {a, b};
    return a == TN_NO_VALUE || b == TN_NO_VALUE ? TN_NO_VALUE : tni_pass_add(r, TN_OP_binary, name, &p, in, 2);
}
