/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_add_layer_norm: an addition and the normalisation of its sum in one pass over memory.
 *
 *   x + r = s -> layer_norm(s)              =>  add_layer_norm(x, r), the sum s as output 1 where it is read elsewhere
 *
 * Runs after fuse_epilogue: sums that a matrix product makes on the way do not come here. */
#include "passes/match.h"
#include "passes/list.h"

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_layer_norm || n->n_in < 3 || n->in[1] == TN_NO_VALUE || n->in[2] == TN_NO_VALUE || n->out[0] == TN_NO_VALUE)
        return;
    TnNormParams p = *(const TnNormParams *)n->params;
    IrValueId s = n->in[0], y = n->out[0], a, b;
    if (p.axis != r->g->values[s].rank - 1 || !tni_pass_is_f32(r, s) || !tni_pass_binary(r, s, TN_BINARY_add, &a, &b) || a == b ||
        !tni_pass_same_dims(r, a, s) || !tni_pass_same_dims(r, b, s))
        return;
    const IrNode *add = tni_pass_def(r, s);
    IrValueId in[4] = {a, b, n->in[1], n->in[2]}, out[2];
    bool want[2] = {true, tni_pass_uses(r, s) > 1};
    const char *name = tni_pass_join2(r, add->name, n->name);
    if (!tni_pass_add_multi(r, TN_OP_add_layer_norm, name, &p, in, 4, want, want[1] ? 2 : 1, out))
        return;
    tni_pass_replace(r, y, out[0]);
    if (want[1])
        tni_pass_replace(r, s, out[1]);
}

TnStatus tni_pass_add_layer_norm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
