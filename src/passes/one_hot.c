/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_one_hot: a matrix product with one-hot rows is a look-up.
 *
 *   ids -> one_hot(depth K, [0, 1]) [-> cast] -> matmul(., W [K, N])     =>     ids [-> clip] -> gather(W, ids, axis 0)
 *
 * The same bits: every product has one term 1 * w and terms 0 * w. This holds when W is finite (checked) and an index out of range gives a
 * zero row in one_hot but an error in gather: without bounds of the indices the table gets zero rows and a clip sends what is out of range
 * there. */
#include <math.h>

#include "base/dtype.h"
#include "passes/match.h"
#include "passes/list.h"

static bool all_finite(const TnTensor *t) {
    int64_t n = tn_tensor_numel(t);
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(tni_load_f64(t->dtype, t->data, i)))
            return false;
    return true;
}

/* one_hot with values [0, 1], last axis, constant depth; through casts to float. */
static const IrNode *one_hot_of(const Rewriter *r, IrValueId v, int64_t *depth) {
    for (int i = 0; i < 3; i++) {
        const IrNode *n = tni_pass_def(r, v);
        if (n == NULL)
            return NULL;
        if (n->op == TN_OP_cast || n->op == TN_OP_identity) {
            v = n->in[0];
            continue;
        }
        TnTensor values;
        double d;
        if (n->op != TN_OP_one_hot || !tni_pass_number(r, n->in[1], &d) || !tni_ir_tensor(r->m, r->g, n->in[2], &values) ||
            tn_tensor_numel(&values) != 2 || tni_load_f64(values.dtype, values.data, 0) != 0 || tni_load_f64(values.dtype, values.data, 1) != 1 ||
            ((const TnAxisParams *)n->params)->axis != r->g->values[n->out[0]].rank - 1)
            return NULL;
        *depth = (int64_t)d;
        return n;
    }
    return NULL;
}

/* W as rows [K, N]; guarded: [2K + 2, N] = W, 0, 0, W, so that gather's index -i finds row K - i of W, and K and -K - 1 find a zero row. */
static IrValueId table_of(Rewriter *r, const TnTensor *w, bool trans, bool guarded) {
    int64_t rows = w->dims[trans ? 1 : 0], cols = w->dims[trans ? 0 : 1];
    int64_t dims[2] = {guarded ? 2 * rows + 2 : rows, cols};
    size_t bytes;
    if (!tni_shape_bytes(w->dtype, 2, dims, NULL, &bytes) || tn_dtype_bits(w->dtype) < 8)
        return TN_NO_VALUE;
    uint8_t *data = tni_pass_alloc(r, bytes);
    if (data == NULL)
        return TN_NO_VALUE;
    size_t size = tn_dtype_bits(w->dtype) / 8;
    memset(data, 0, bytes);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const uint8_t *from = (const uint8_t *)w->data + (size_t)(trans ? j * rows + i : i * cols + j) * size;
            memcpy(data + (size_t)(i * cols + j) * size, from, size);
            if (guarded)
                memcpy(data + (size_t)((rows + 2 + i) * cols + j) * size, from, size);
        }
    return tni_pass_const_own(r, w->dtype, 2, dims, data);
}

/* Everything out of one_hot's range goes to one of the two zero rows. */
static IrValueId guarded_rows(Rewriter *r, const char *name, IrValueId ids, int64_t depth) {
    TnDtype t = r->g->values[ids].dtype;
    if (t != TN_I64 && t != TN_I32) {
        TnCastParams c = {.to = TN_I64, .saturate = 1};
        ids = tni_pass_add(r, TN_OP_cast, name, &c, &ids, 1);
        t = TN_I64;
    }
    IrValueId in[3] = {ids, tni_pass_scalar(r, t, (double)(-depth - 1)), tni_pass_scalar(r, t, (double)depth)};
    return tni_pass_add(r, TN_OP_clip, name, NULL, in, 3);
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    bool trans = false;
    if (n->op == TN_OP_gemm) {
        const TnGemmParams *p = n->params;
        trans = p->trans_b != 0;
        if (p->trans_a || p->alpha != 1 || p->act != TN_ACT_NONE || n->n_in > 2)
            return;
    } else if (n->op != TN_OP_matmul) {
        return;
    }
    int64_t depth = 0;
    const IrNode *hot = one_hot_of(r, n->in[0], &depth);
    TnTensor w;
    IrValueId v = n->out[0];
    if (hot == NULL || !tni_ir_tensor(r->m, r->g, n->in[1], &w) || w.rank != 2 || w.dims[trans ? 1 : 0] != depth || !tni_dtype_is_float(w.dtype) ||
        r->g->values[n->in[0]].rank < 2 || !tni_dtype_is_int(r->g->values[hot->in[0]].dtype) || depth < 1 || !all_finite(&w))
        return;
    IrValueId ids = hot->in[0];
    const char *name = tni_pass_join2(r, hot->name, n->name);
    double lo, hi;
    bool inside = tni_pass_bounds(r, ids, &lo, &hi) && lo >= 0 && hi < (double)depth;
    IrValueId table = inside && !trans ? n->in[1] : table_of(r, &w, trans, !inside);
    if (!inside)
        ids = guarded_rows(r, name, ids, depth);
    TnAxisParams p = {.axis = 0};
    IrValueId in[2] = {table, ids};
    if (table != TN_NO_VALUE && ids != TN_NO_VALUE)
        tni_pass_replace(r, v, tni_pass_add(r, TN_OP_gather, name, &p, in, 2));
}

TnStatus tni_pass_one_hot(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
