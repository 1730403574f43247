/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_epilogue: what follows a matrix product or a convolution element by element is done while its result is still in registers.
 *
 *   gemm | conv -> act                    =>  gemm | conv (act)
 *   gemm | conv -> + r (same shape)       =>  gemm | conv (residual r)
 *
 * Only where nobody else reads what lies in between. y = act(sum) + residual, so an activation after the addition stays outside. When both
 * operands of the addition are products, the later one takes the other as its residual. */
#include "passes/match.h"
#include "passes/list.h"

/* The unary or clip node as an epilogue activation. */
static bool act_of(const Rewriter *r, const IrNode *n, uint32_t *act, float *alpha, float *beta) {
    *alpha = *beta = 0;
    if (n->op == TN_OP_clip) {
        double lo, hi;
        if (n->n_in != 3 || !tni_pass_number(r, n->in[1], &lo) || !tni_pass_number(r, n->in[2], &hi))
            return false;
        *act = TN_ACT_CLIP;
        *alpha = (float)lo;
        *beta = (float)hi;
        return true;
    }
    const TnUnaryParams *p = n->params;
    switch (p->fn) {
    case TN_UNARY_relu:
        *act = TN_ACT_RELU;
        return true;
    case TN_UNARY_gelu:
        *act = TN_ACT_GELU;
        return true;
    case TN_UNARY_gelu_tanh:
        *act = TN_ACT_GELU_TANH;
        return true;
    case TN_UNARY_tanh:
        *act = TN_ACT_TANH;
        return true;
    case TN_UNARY_sigmoid:
        *act = TN_ACT_SIGMOID;
        return true;
    case TN_UNARY_silu:
        *act = TN_ACT_SILU;
        return p->alpha == 1;
    case TN_UNARY_leaky_relu:
        *act = TN_ACT_LEAKY_RELU;
        *alpha = p->alpha;
        return true;
    case TN_UNARY_hard_swish:
        *act = TN_ACT_HARD_SWISH;
        return true;
    default:
        return false;
    }
}

typedef union Params {
    TnGemmParams gemm;
    TnConvParams conv;
} Params;

/* A product read once, without a residual so far. */
static const IrNode *product(const Rewriter *r, IrValueId y, Params *p) {
    const IrNode *n = tni_pass_def(r, y);
    if (n == NULL || (n->op != TN_OP_gemm && n->op != TN_OP_conv) || tni_pass_uses(r, y) != 1 || !tni_pass_is_f32(r, y) ||
        (n->n_in > 3 && n->in[3] != TN_NO_VALUE))
        return NULL;
    memcpy(p, n->params, tni_op_info(n->op)->params_size);
    return n;
}

static void rebuild(Rewriter *r, IrValueId out, const IrNode *prod, const IrNode *extra, const Params *p, IrValueId residual) {
    IrValueId in[4] = {prod->in[0], prod->in[1], prod->n_in > 2 ? prod->in[2] : TN_NO_VALUE, residual};
    uint32_t n_in = residual != TN_NO_VALUE ? 4 : in[2] != TN_NO_VALUE ? 3 : 2;
    tni_pass_replace(r, out, tni_pass_add(r, prod->op, tni_pass_join2(r, prod->name, extra->name), p, in, n_in));
}

static void take_act(Rewriter *r, const IrNode *n) {
    Params p;
    uint32_t act;
    float alpha, beta;
    const IrNode *prod = product(r, n->in[0], &p);
    if (prod == NULL || !act_of(r, n, &act, &alpha, &beta) || !tni_pass_same_dims(r, n->in[0], n->out[0]))
        return;
    if (prod->op == TN_OP_gemm ? p.gemm.act != TN_ACT_NONE : p.conv.act != TN_ACT_NONE)
        return;
    if (prod->op == TN_OP_gemm) {
        p.gemm.act = act;
        p.gemm.act_alpha = alpha;
        p.gemm.act_beta = beta;
    } else {
        p.conv.act = act;
        p.conv.act_alpha = alpha;
        p.conv.act_beta = beta;
    }
    rebuild(r, n->out[0], prod, n, &p, TN_NO_VALUE);
}

static void take_residual(Rewriter *r, const IrNode *n) {
    Params p[2];
    const IrNode *prod[2] = {product(r, n->in[0], &p[0]), product(r, n->in[1], &p[1])};
    IrValueId out = n->out[0];
    int use = prod[0] != NULL ? 0 : 1;
    if (prod[0] != NULL && prod[1] != NULL && r->g->values[n->in[1]].producer > r->g->values[n->in[0]].producer)
        use = 1;
    if (prod[use] == NULL || n->in[0] == n->in[1] || !tni_pass_same_dims(r, n->in[use], out) || !tni_pass_same_dims(r, n->in[1 - use], out))
        return;
    rebuild(r, out, prod[use], n, &p[use], n->in[1 - use]);
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->n_out == 0 || n->out[0] == TN_NO_VALUE || !tni_pass_may_round(r, n->out[0]))
        return;
    if (n->op == TN_OP_unary || n->op == TN_OP_clip)
        take_act(r, n);
    else if (n->op == TN_OP_binary && ((const TnBinaryParams *)n->params)->fn == TN_BINARY_add)
        take_residual(r, n);
}

TnStatus tni_pass_epilogue(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 2, changed, err);
}
