/* SPDX-License-Identifier: Apache-2.0
 *
 * Which float values must keep their bits.
 *
 *   ids -> Sub -> Abs -> Cast f32 -> Div -> Log -> Div -> Mul -> Cast i64 -> table look-up
 *                                    ^^^^^^^^^^^^^^^^^^^^^^^^ one ulp here is another row of the table
 *
 * The cone above a float -> int cast, floor, ceil or round is marked, through operators that work element by element or move data. It ends
 * at operators whose result is a sum anyway (their order of summation is the kernel's affair). */
#include "base/dtype.h"
#include "passes/match.h"

static bool passes_bits(TnOp op) {
    switch (op) {
    case TN_OP_unary:
    case TN_OP_binary:
    case TN_OP_where:
    case TN_OP_clip:
    case TN_OP_cast:
    case TN_OP_identity:
    case TN_OP_reshape:
    case TN_OP_transpose:
    case TN_OP_concat:
    case TN_OP_split:
    case TN_OP_slice:
    case TN_OP_pad:
    case TN_OP_expand:
    case TN_OP_tile:
    case TN_OP_gather:
    case TN_OP_gather_elements:
    case TN_OP_gather_nd:
    case TN_OP_scatter_nd:
    case TN_OP_scatter_elements:
    case TN_OP_pointwise:
        return true;
    default:
        return false;
    }
}

/* Does this node round a float to an integer? */
static bool rounds(const Rewriter *r, const IrNode *n) {
    if (n->op == TN_OP_cast)
        return tni_dtype_is_int((TnDtype)((const TnCastParams *)n->params)->to) && tni_dtype_is_float(r->g->values[n->in[0]].dtype);
    if (n->op != TN_OP_unary)
        return false;
    uint32_t fn = ((const TnUnaryParams *)n->params)->fn;
    return fn == TN_UNARY_floor || fn == TN_UNARY_ceil || fn == TN_UNARY_round;
}

void tni_pass_mark_exact(Rewriter *r) {
    if (r->st != TN_OK)
        return;
    /* Nodes are in topological order when a sweep begins: one walk backwards sees every user before its producer. */
    for (uint32_t n = r->g->n_nodes; n-- > 0;) {
        const IrNode *node = &r->g->nodes[n];
        if (node->dead)
            continue;
        bool marked = rounds(r, node);
        for (uint32_t i = 0; !marked && passes_bits(node->op) && i < node->n_out; i++)
            marked = node->out[i] != TN_NO_VALUE && r->exact[node->out[i]];
        for (uint32_t i = 0; marked && i < node->n_in; i++)
            if (node->in[i] != TN_NO_VALUE && tni_dtype_is_float(r->g->values[node->in[i]].dtype))
                r->exact[node->in[i]] = 1;
    }
}

bool tni_pass_may_round(const Rewriter *r, IrValueId v) {
    return v != TN_NO_VALUE && r->exact[v] == 0;
}
