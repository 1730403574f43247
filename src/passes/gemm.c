/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_bias: constants around matrix products and convolutions move into them.
 *
 *   gemm(x, W) -> + b [N]                        =>  gemm(x, W, b)
 *   gemm(x, W, b) -> + c [N]                     =>  gemm(x, W, b + c)
 *   conv(x, w) -> + b [1, M, 1, ..]              =>  conv(x, w, b)
 *   gemm(transpose(constant)) ...                    is folded by fold already */
#include "base/dtype.h"
#include "passes/match.h"
#include "passes/list.h"

/* v as a constant f32 vector of n elements along one axis of rank dims (the others 1), or one element for all. NULL: it is not that. */
static const float *vector_along(const Rewriter *r, IrValueId v, int32_t axis_from_end, int64_t n, bool *single) {
    TnTensor t;
    if (!tni_ir_tensor(r->m, r->g, v, &t) || t.dtype != TN_F32)
        return NULL;
    int64_t numel = tn_tensor_numel(&t);
    *single = numel == 1 && n != 1;
    if (numel == 1)
        return t.data;
    return numel == n && t.rank >= axis_from_end && t.dims[t.rank - axis_from_end] == n ? t.data : NULL;
}

static float load(const float *p, int64_t i) { /* constants in a mapped file need not be aligned */
    float f;
    memcpy(&f, (const uint8_t *)p + (size_t)i * sizeof f, sizeof f);
    return f;
}

/* The sum of an old bias (or none) and a new one as a constant [n]. */
static IrValueId sum_bias(Rewriter *r, const float *old, const float *add, bool single, int64_t n) {
    float *out = tni_pass_alloc(r, (size_t)n * sizeof *out);
    if (out == NULL)
        return TN_NO_VALUE;
    for (int64_t i = 0; i < n; i++)
        out[i] = load(add, single ? 0 : i) + (old != NULL ? load(old, i) : 0.0f);
    return tni_pass_const_own(r, TN_F32, 1, &n, out);
}

/* The product or convolution y was made by, when y is read once and nothing comes after the sum in it yet. */
static const IrNode *plain_product(const Rewriter *r, IrValueId y) {
    const IrNode *n = tni_pass_def(r, y);
    if (n == NULL || tni_pass_uses(r, y) != 1 || (n->n_in > 3 && n->in[3] != TN_NO_VALUE))
        return NULL;
    if (n->op == TN_OP_gemm) {
        const TnGemmParams *p = n->params;
        return p->act == TN_ACT_NONE && (p->beta == 1 || n->n_in < 3 || n->in[2] == TN_NO_VALUE) ? n : NULL;
    }
    return n->op == TN_OP_conv && ((const TnConvParams *)n->params)->act == TN_ACT_NONE ? n : NULL;
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_binary || n->out[0] == TN_NO_VALUE || ((const TnBinaryParams *)n->params)->fn != TN_BINARY_add ||
        !tni_pass_may_round(r, n->out[0]))
        return;
    for (int turn = 0; turn < 2; turn++) {
        IrValueId y = n->in[turn], b = n->in[1 - turn], out = n->out[0];
        const IrNode *prod = plain_product(r, y);
        if (prod == NULL || !tni_pass_same_dims(r, y, out) || !tni_pass_is_f32(r, y))
            continue;
        bool conv = prod->op == TN_OP_conv, last = !conv || ((const TnConvParams *)prod->params)->channels_last;
        int32_t rank = r->g->values[y].rank, from_end = last ? 1 : rank - 1;
        int64_t channels;
        bool single, old_single = false;
        if (rank < 2 || !tni_pass_static_dim(r, y, rank - from_end, &channels))
            continue;
        const float *add = vector_along(r, b, from_end, channels, &single), *old = NULL;
        IrValueId bias = prod->n_in > 2 ? prod->in[2] : TN_NO_VALUE;
        if (bias != TN_NO_VALUE)
            old = vector_along(r, bias, 1, channels, &old_single);
        if (add == NULL || (bias != TN_NO_VALUE && (old == NULL || old_single)))
            continue;
        TnTensor t;
        bool as_is = bias == TN_NO_VALUE && tni_ir_tensor(r->m, r->g, b, &t) && t.rank == 1 && t.dims[0] == channels;
        IrValueId in[3] = {prod->in[0], prod->in[1], TN_NO_VALUE};
        union {
            TnGemmParams gemm;
            TnConvParams conv;
        } p;
        memcpy(&p, prod->params, tni_op_info(prod->op)->params_size);
        if (!conv)
            p.gemm.beta = 1;
        TnOp op = prod->op;
        const char *name = tni_pass_join2(r, prod->name, n->name);
        in[2] = as_is ? b : sum_bias(r, old, add, single, channels);
        if (in[2] != TN_NO_VALUE)
            tni_pass_replace(r, out, tni_pass_add(r, op, name, &p, in, 3));
        return;
    }
}

TnStatus tni_pass_gemm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 2, changed, err);
}
