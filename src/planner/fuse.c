/* SPDX-License-Identifier: Apache-2.0
 *
 * Pairs of products that the device computes at once. In: graphs whose types are settled, values of symbols at opt. Out: the same graphs,
 * but for
 *
 *   x -> gemm(w1, b1, act) -> h -> gemm(w2, b2, residual) -> y      =>      x -> mlp(w1, w2, b1, b2, residual) -> y
 *
 * where nothing else reads h, weights are constants of a 16-bit type, a kernel of the device computes it, and the estimates say that it
 * pays. Only large products are worth it: with few rows the hidden columns must be spread over the device, too. When kernels are timed,
 * those of mlp that do one product after the other are among them, so that time decides in the end. */
#include "planner/internal.h"

#include <stdio.h>

/* Rows a multiprocessor, at the least. */
#define ROWS_EACH 64
/* When kernels are timed, estimates may be wrong by this much. */
#define BENEFIT_OF_DOUBT 1.5

/* The cheapest estimate of the device's kernels; 1e30: there is none. */
static double cheapest(const Pn *pn, TnOp op, const void *params, const TnTensor *in, uint32_t n_in, const TnTensor *out) {
    TnKernelQuery q = {op, params, in, n_in, out, 1, 1, NULL};
    double best = 1e30;
    tni_planner_query_on(pn, TN_DEVICE_CUDA, &q);
    for (uint32_t i = 0; i < pn->o->lib->n_kernels; i++) {
        const TnKernel *k = &pn->o->lib->kernels[i];
        if (tni_precision_kernel_fits(k, &q, pn->o->lib, pn->o->math) && k->cost)
            best = TN_MIN(best, k->cost(&q));
    }
    return best;
}

/* A value as it is on the samples; constants with their data. false: its dims are not known. */
static bool operand(const Pn *pn, const IrGraph *g, IrValueId v, TnTensor *t) {
    *t = (TnTensor){.dtype = TN_UNDEFINED};
    if (v == TN_NO_VALUE)
        return true;
    if (!tni_planner_dims(pn, &g->values[v], t))
        return false;
    if (tni_ir_is_const(g, v))
        t->data = (void *)(uintptr_t)g->values[v].data; /* a view: nobody writes through it */
    return true;
}

static IrValueId in_of(const IrNode *n, uint32_t i) {
    return i < n->n_in ? n->in[i] : TN_NO_VALUE;
}

static bool plain(const TnGemmParams *p) {
    return !p->trans_a && p->alpha == 1.0f && p->beta == 1.0f;
}

static bool is_vector(const IrGraph *g, IrValueId v) {
    return v == TN_NO_VALUE || g->values[v].rank == 1;
}

/* What the graph alone must be. */
static bool matches(const IrGraph *g, const uint32_t *readers, const IrNode *second) {
    const TnGemmParams *p2 = second->params;
    if (second->op != TN_OP_gemm || second->dead || g->values[second->in[0]].kind != IR_NODE_OUTPUT || readers[second->in[0]] != 1)
        return false;
    const IrValue *h = &g->values[second->in[0]];
    const IrNode *first = &g->nodes[h->producer];
    const TnGemmParams *p1 = first->params;
    return first->op == TN_OP_gemm && !first->dead && plain(p1) && plain(p2) && p2->act == TN_ACT_NONE && in_of(first, 3) == TN_NO_VALUE &&
           (h->dtype == TN_F16 || h->dtype == TN_BF16) && tni_ir_is_const(g, first->in[1]) && tni_ir_is_const(g, second->in[1]) &&
           is_vector(g, in_of(first, 2)) && is_vector(g, in_of(second, 2));
}

/* Large enough, and estimated to pay. */
static bool pays(const Pn *pn, const IrGraph *g, const IrNode *first, const IrNode *second, const TnMlpParams *p, const IrValueId *in) {
    TnTensor t[6], h, y, a[4], b[4];
    bool known = operand(pn, g, first->out[0], &h) && operand(pn, g, second->out[0], &y);
    for (uint32_t i = 0; i < 6; i++)
        known &= operand(pn, g, in[i], &t[i]);
    for (uint32_t i = 0; i < 4; i++)
        known &= operand(pn, g, in_of(first, i), &a[i]) && operand(pn, g, in_of(second, i), &b[i]);
    if (!known || y.rank < 1 || y.dims[y.rank - 1] == 0 ||
        tn_tensor_numel(&y) / y.dims[y.rank - 1] < (int64_t)pn->o->device_info->sm_count * ROWS_EACH)
        return false;
    const double apart = cheapest(pn, TN_OP_gemm, first->params, a, 4, &h) + cheapest(pn, TN_OP_gemm, second->params, b, 4, &y);
    const double at_once = cheapest(pn, TN_OP_mlp, p, t, 6, &y);
    return at_once < 1e30 && at_once < apart * (pn->o->tune ? BENEFIT_OF_DOUBT : 1.0);
}

/* "a/b/x+y" of "a/b/x" and "a/b/y". */
static const char *join(Pn *pn, const char *a, const char *b) {
    size_t same = 0;
    for (size_t i = 0; a[i] && a[i] == b[i]; i++)
        same = a[i] == '/' ? i + 1 : same;
    return tni_arena_printf(pn->m->arena, "%.100s+%.100s", a, b + same);
}

static TnStatus fuse(Pn *pn, IrGraph *g, const uint32_t *readers, uint32_t k, bool *changed, TnError *err) {
    IrNode *second = &g->nodes[k];
    if (!matches(g, readers, second))
        return TN_OK;
    IrNode *first = &g->nodes[g->values[second->in[0]].producer];
    const TnGemmParams *p1 = first->params, *p2 = second->params;
    const TnMlpParams p = {
        .trans_1 = p1->trans_b, .trans_2 = p2->trans_b, .act = p1->act, .act_alpha = p1->act_alpha, .act_beta = p1->act_beta};
    const IrValueId in[6] = {first->in[0], first->in[1], second->in[1], in_of(first, 2), in_of(second, 2), in_of(second, 3)};
    if (!pays(pn, g, first, second, &p, in))
        return TN_OK;
    TnMlpParams *params = tni_arena_calloc(pn->m->arena, 1, sizeof *params);
    IrValueId *operands = tni_arena_calloc(pn->m->arena, 6, sizeof *operands);
    const char *name = join(pn, first->name, second->name);
    if (!params || !operands || !name)
        return TN_OOM(err, sizeof *params);
    *params = p;
    memcpy(operands, in, sizeof in);
    first->dead = true;
    second->op = TN_OP_mlp;
    second->name = name;
    second->params = params;
    second->in = operands;
    second->n_in = 6;
    *changed = true;
    return TN_OK;
}

TnStatus tni_planner_fuse(Pn *pn, TnError *err) {
    bool changed = false;
    if (!pn->o->lib || pn->seen)
        return TN_OK;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        IrGraph *g = pn->m->graphs[i];
        uint32_t *readers;
        PN_ALLOC(pn, readers, g->n_values, err);
        for (uint32_t k = 0; k < g->n_nodes; k++)
            for (uint32_t j = 0; j < g->nodes[k].n_in; j++)
                if (g->nodes[k].in[j] != TN_NO_VALUE)
                    readers[g->nodes[k].in[j]]++;
        for (uint32_t j = 0; j < g->n_outputs; j++)
            readers[g->outputs[j]]++;
        for (uint32_t k = 0; k < g->n_nodes; k++)
            TN_TRY(fuse(pn, g, readers, k, &changed, err));
    }
    return changed ? tni_planner_compact(pn, err) : TN_OK;
}
