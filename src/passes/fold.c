/* SPDX-License-Identifier: Apache-2.0
 *
 * fold: nodes whose operands are all constants are computed now, by the reference kernels.
 *
 *   const -> op -> y        =>        const y
 *
 * Not folded: operators with state or subgraphs, results above the size limit, and operators that only repeat their input
 * (expand, tile, constant_of_shape) when that would make a big constant out of a small one. A node that fails stays: the run will say why.
 */
#include "interp/interp.h"
#include "passes/match.h"
#include "passes/list.h"

#define DEFAULT_LIMIT ((uint64_t)64 << 20)
#define REPEAT_LIMIT ((uint64_t)1 << 20)

static uint64_t limit_of(const Rewriter *r) {
    return r->pc != NULL && r->pc->fold_limit_bytes > 0 ? r->pc->fold_limit_bytes : DEFAULT_LIMIT;
}

/* Bytes all outputs will have; false when not known or not countable. */
static bool output_bytes(const Rewriter *r, const IrNode *n, uint64_t *total) {
    *total = 0;
    for (uint32_t i = 0; i < n->n_out; i++) {
        int64_t dims[TN_MAX_RANK];
        size_t bytes;
        if (n->out[i] == TN_NO_VALUE)
            continue;
        const IrValue *v = &r->g->values[n->out[i]];
        if (!tni_ir_static_dims(r->m, r->g, n->out[i], dims) || !tni_shape_bytes(v->dtype, v->rank, dims, NULL, &bytes))
            return false;
        *total += bytes;
    }
    return true;
}

static bool foldable(Rewriter *r, const IrNode *n, TnTensor *in) {
    const TnOpInfo *info = tni_op_info(n->op);
    if ((info->flags & TN_OPF_PURE) == 0 || (info->flags & TN_OPF_CONTROL) != 0 || n->n_out > 64)
        return false;
    uint64_t in_bytes = 0, out_bytes = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        memset(&in[i], 0, sizeof in[i]);
        if (n->in[i] == TN_NO_VALUE)
            continue;
        if (!tni_ir_tensor(r->m, r->g, n->in[i], &in[i]) || in[i].dtype == TN_STRING)
            return false;
        in_bytes += tn_tensor_bytes(&in[i]);
    }
    if (n->op == TN_OP_dims) {
        const TnDimsParams *p = n->params;
        int64_t v;
        for (uint32_t i = 0; i < p->n; i++)
            if (!tni_ir_dim_is_const(r->m, p->dim[i], &v))
                return false;
    }
    bool data_shape = (info->flags & TN_OPF_DATA_SHAPE) != 0;
    if (data_shape ? in_bytes > REPEAT_LIMIT : !output_bytes(r, n, &out_bytes) || out_bytes > limit_of(r))
        return false;
    for (uint32_t i = 0; i < n->n_in && (info->flags & TN_OPF_VIEW) == 0; i++)
        if (n->in[i] != TN_NO_VALUE && !tni_pass_tensor(r, n->in[i], &in[i]))
            return false;
    bool repeats = n->op == TN_OP_expand || n->op == TN_OP_tile || n->op == TN_OP_constant_of_shape;
    return data_shape || !repeats || out_bytes <= REPEAT_LIMIT || out_bytes <= 4 * in_bytes;
}

static void fold_node(Rewriter *r, IrNodeId id) {
    IrNode *n = &r->g->nodes[id];
    uint32_t n_in = n->n_in, n_out = n->n_out;
    if (n->op == TN_OP_identity && n_in == 1 && n->out[0] != TN_NO_VALUE && r->is_out[n->out[0]])
        return; /* a constant as a graph output needs a node that writes it */
    TnTensor *in = tni_arena_calloc(r->scratch, n_in + 1, sizeof *in), *out = tni_arena_calloc(r->scratch, n_out + 1, sizeof *out);
    if (in == NULL || out == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, sizeof *in * (n_in + n_out)));
        return;
    }
    if (!foldable(r, n, in))
        return;
    if ((tni_op_info(n->op)->flags & TN_OPF_VIEW) != 0) { /* the same bytes under other dims */
        int64_t dims[TN_MAX_RANK];
        IrValueId y = n->out[0];
        if (y != TN_NO_VALUE && tni_ir_static_dims(r->m, r->g, y, dims))
            tni_pass_replace(r, y, tni_pass_const_own(r, in[0].dtype, r->g->values[y].rank, dims, in[0].data));
        return;
    }
    const TnAllocator *a = tni_arena_allocator(r->m->arena);
    TnError why = {0};
    TnStatus st = tni_interp_node(r->m, n, in, out, a, r->pc != NULL ? r->pc->threads : NULL, &why);
    if (st != TN_OK) {
        if (st == TN_ERR_MEMORY)
            tni_pass_fail(r, TN_RAISE(r->err, st, "%s", why.message));
        return;
    }
    for (uint32_t i = 0; i < n_out; i++) {
        IrValueId old = r->g->nodes[id].out[i];
        if (old != TN_NO_VALUE && r->st == TN_OK) {
            size_t bytes = tn_tensor_bytes(&out[i]);
            void *data = tni_pass_alloc(r, bytes);
            if (data != NULL && bytes > 0)
                memcpy(data, out[i].data, bytes);
            IrValueId c = bytes <= 256 ? tni_pass_const(r, out[i].dtype, out[i].rank, out[i].dims, data)
                                       : tni_pass_const_own(r, out[i].dtype, out[i].rank, out[i].dims, data);
            tni_pass_replace(r, old, c);
        }
        tni_free(a, out[i].data);
    }
}

TnStatus tni_pass_fold(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, fold_node, 1, changed, err);
}
