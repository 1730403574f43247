/* SPDX-License-Identifier: Apache-2.0
 *
 * conv_to_gemm: a 1 x 1 convolution of a channels-last picture is a matrix product of its pixels.
 *
 *   x [B,H,W,C] -> conv w [M,C,1,1], bias, act, residual      =>     x -> gemm w [M,C] transposed, bias, act, residual
 *
 * One group, stride 1, no padding. */
#include "passes/list.h"
#include "passes/match.h"

static bool plain(const TnConvParams *p) {
    if (!p->channels_last || p->group != 1 || (p->auto_pad != TN_PAD_EXPLICIT && p->auto_pad != TN_PAD_VALID))
        return false;
    for (uint32_t i = 0; i < p->n_spatial; i++)
        if (p->kernel[i] != 1 || p->stride[i] != 1 || p->pads[i] != 0 || p->pads[i + p->n_spatial] != 0)
            return false;
    return true;
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_conv || n->out[0] == TN_NO_VALUE || !plain(n->params))
        return;
    const TnConvParams *p = n->params;
    TnTensor w;
    if (!tni_ir_tensor(r->m, r->g, n->in[1], &w) || w.dtype != TN_F32)
        return;
    TnGemmParams g = {.trans_b = 1, .alpha = 1, .beta = 1, .act = p->act, .act_alpha = p->act_alpha, .act_beta = p->act_beta};
    IrValueId y = n->out[0], in[4] = {n->in[0], TN_NO_VALUE, n->n_in > 2 ? n->in[2] : TN_NO_VALUE, n->n_in > 3 ? n->in[3] : TN_NO_VALUE};
    const char *name = n->name;
    in[1] = tni_pass_const_own(r, w.dtype, 2, w.dims, w.data);
    uint32_t n_in = in[3] != TN_NO_VALUE ? 4 : in[2] != TN_NO_VALUE ? 3 : 2;
    if (in[1] != TN_NO_VALUE)
        tni_pass_replace(r, y, tni_pass_add(r, TN_OP_gemm, name, &g, in, n_in));
}

TnStatus tni_pass_conv_gemm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
