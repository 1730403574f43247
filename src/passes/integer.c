/* SPDX-License-Identifier: Apache-2.0
 *
 * expand_integer, for builds for a GPU, whose kernels multiply whole integers:
 *
 *   matmul_integer a, b, za, zb      =>      matmul (cast(a, int32) - cast(za, int32)), (cast(b, int32) - cast(zb, int32))
 *
 *   conv_integer x, w, zx, zw        =>      cast(conv (cast(x, float64) - cast(zx, float64)), (... w ...), int32)
 *
 * A zero point for each column broadcasts along B's last axis as it is; one for each output channel gets further axes. Sums of products of
 * bytes are exact in float64. */
#include "passes/list.h"
#include "passes/match.h"

/* t(v) - t(zero); a vector of zero points is followed by `axes` axes. */
static IrValueId centred(Rewriter *r, const char *name, TnDtype t, IrValueId v, IrValueId zero, int32_t axes) {
    const TnCastParams p = {.to = (uint32_t)t, .saturate = 1};
    v = tni_pass_add(r, TN_OP_cast, name, &p, &v, 1);
    if (zero == TN_NO_VALUE || r->st != TN_OK)
        return v;
    if (r->g->values[zero].rank == 1 && axes > 0) {
        TnDim dims[TN_MAX_RANK] = {r->g->values[zero].dims[0]};
        for (int32_t i = 1; i <= axes; i++)
            dims[i] = tni_ir_dim_const(r->m, 1);
        zero = tni_pass_reshape(r, name, zero, axes + 1, dims);
    }
    zero = tni_pass_add(r, TN_OP_cast, name, &p, &zero, 1);
    return tni_pass_binary_node(r, name, TN_BINARY_sub, v, zero);
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    const bool conv = n->op == TN_OP_conv_integer;
    if ((n->op != TN_OP_matmul_integer && !conv) || n->out[0] == TN_NO_VALUE)
        return;
    const TnDtype t = conv ? TN_F64 : TN_I32;
    const IrValueId y = n->out[0], a = n->in[0], b = n->in[1];
    const IrValueId za = n->n_in > 2 ? n->in[2] : TN_NO_VALUE, zb = n->n_in > 3 ? n->in[3] : TN_NO_VALUE;
    const char *name = n->name;
    const void *params = conv ? n->params : NULL; /* in the module's arena */
    const int32_t axes = conv ? r->g->values[b].rank - 1 : 0;
    const IrValueId in[2] = {centred(r, name, t, a, za, 0), centred(r, name, t, b, zb, axes)};
    IrValueId v = tni_pass_add(r, conv ? TN_OP_conv : TN_OP_matmul, name, params, in, 2);
    const TnCastParams to = {.to = TN_I32, .saturate = 1};
    if (conv)
        v = tni_pass_add(r, TN_OP_cast, name, &to, &v, 1);
    if (r->st == TN_OK)
        tni_pass_replace(r, y, v);
}

TnStatus tni_pass_expand_integer(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    return pc->device ? tni_pass_sweep(m, pc, visit, 1, changed, err) : TN_OK;
}
