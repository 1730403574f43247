/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_one_hot: a matrix product with one-hot rows is a look-up.
 *
 *   ids -> one_hot(depth K, [0, 1]) [-> cast] -> matmul(., W [K, N])                        =>     ids [-> clip] -> gather(W, ids, axis 0)
 *   ids -> unsqueeze -> equal(., [0 1 .. K-1]) [-> cast] -> matmul(., W [K, N])             =>     the same
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

typedef struct OneHot {
    const IrNode *node;
    IrValueId ids;
    int64_t depth;
    bool column; /* ids have a last dim of 1 that one_hot's operand has not */
} OneHot;

/* one_hot with values [0, 1] along the last axis, constant depth. */
static bool by_operator(const Rewriter *r, const IrNode *n, OneHot *out) {
    TnTensor values;
    double d;
    if (!tni_pass_number(r, n->in[1], &d) || !tni_ir_tensor(r->m, r->g, n->in[2], &values) || tn_tensor_numel(&values) != 2 ||
        tni_load_f64(values.dtype, values.data, 0) != 0 || tni_load_f64(values.dtype, values.data, 1) != 1 ||
        ((const TnAxisParams *)n->params)->axis != r->g->values[n->out[0]].rank - 1)
        return false;
    *out = (OneHot){n, n->in[0], (int64_t)d, false};
    return true;
}

/* equal(ids [.., 1], [0 1 .. K-1]). */
static bool by_comparison(const Rewriter *r, const IrNode *n, OneHot *out) {
    for (int turn = 0; turn < 2; turn++) {
        IrValueId ids = n->in[turn];
        TnTensor t;
        if (!tni_ir_tensor(r->m, r->g, n->in[1 - turn], &t) || t.rank < 1 || t.dims[t.rank - 1] != tn_tensor_numel(&t) ||
            !tni_dtype_is_int(t.dtype))
            continue;
        int32_t rank = r->g->values[ids].rank;
        int64_t k = tn_tensor_numel(&t), i = 0;
        while (i < k && tni_load_i64(t.dtype, t.data, i) == i)
            i++;
        if (i < k || rank < 2 || rank != r->g->values[n->out[0]].rank || !tni_pass_dim_is(r, ids, rank - 1, 1))
            continue;
        *out = (OneHot){n, ids, k, true};
        return true;
    }
    return false;
}

/* Through casts of the zeros and ones. */
static bool one_hot_of(const Rewriter *r, IrValueId v, OneHot *out) {
    for (int i = 0; i < 4; i++) {
        const IrNode *n = tni_pass_def(r, v);
        if (n == NULL)
            return false;
        if (n->op == TN_OP_one_hot)
            return by_operator(r, n, out);
        if (n->op == TN_OP_binary)
            return ((const TnBinaryParams *)n->params)->fn == TN_BINARY_equal && by_comparison(r, n, out);
        if (n->op != TN_OP_cast && n->op != TN_OP_identity)
            return false;
        v = n->in[0];
    }
    return false;
}

/* W as rows [K, N]. Guarded, with rows that an index out of range finds: by operator [2K + 2, N] = W, 0, 0, W, so that gather's index -i
 * finds row K - i of W as one_hot does, and K and -K - 1 find zeros; by comparison [K + 2, N] = W, 0, 0 for K and -1. */
static IrValueId table_of(Rewriter *r, const TnTensor *w, bool trans, bool guarded, bool wraps) {
    int64_t rows = w->dims[trans ? 1 : 0], cols = w->dims[trans ? 0 : 1];
    int64_t dims[2] = {rows + (guarded ? 2 : 0) + (guarded && wraps ? rows : 0), cols};
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
            if (guarded && wraps)
                memcpy(data + (size_t)((rows + 2 + i) * cols + j) * size, from, size);
        }
    return tni_pass_const_own(r, w->dtype, 2, dims, data);
}

/* Everything out of range goes to one of the two zero rows. */
static IrValueId guarded_rows(Rewriter *r, const char *name, IrValueId ids, int64_t depth, bool wraps) {
    TnDtype t = r->g->values[ids].dtype;
    if (t != TN_I64 && t != TN_I32) {
        TnCastParams c = {.to = TN_I64, .saturate = 1};
        ids = tni_pass_add(r, TN_OP_cast, name, &c, &ids, 1);
        t = TN_I64;
    }
    IrValueId in[3] = {ids, tni_pass_scalar(r, t, wraps ? (double)(-depth - 1) : -1), tni_pass_scalar(r, t, (double)depth)};
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
    OneHot hot;
    TnTensor w;
    IrValueId v = n->out[0];
    if (!one_hot_of(r, n->in[0], &hot) || hot.depth < 1 || !tni_ir_tensor(r->m, r->g, n->in[1], &w) || w.rank != 2 ||
        w.dims[trans ? 1 : 0] != hot.depth || !tni_dtype_is_float(w.dtype) || r->g->values[n->in[0]].rank < 2 ||
        !tni_dtype_is_int(r->g->values[hot.ids].dtype) || !all_finite(&w))
        return;
    IrValueId ids = hot.ids, given = n->in[1];
    const char *name = tni_pass_join2(r, hot.node->name, n->name);
    double lo, hi;
    bool inside = tni_pass_bounds(r, ids, &lo, &hi) && lo >= 0 && hi < (double)hot.depth;
    if (hot.column) {
        TnDim dims[TN_MAX_RANK];
        int32_t rank = r->g->values[ids].rank - 1;
        memcpy(dims, r->g->values[ids].dims, sizeof dims);
        ids = tni_pass_reshape(r, name, ids, rank, dims);
    }
    IrValueId table = inside && !trans ? given : table_of(r, &w, trans, !inside, !hot.column);
    if (!inside && ids != TN_NO_VALUE)
        ids = guarded_rows(r, name, ids, hot.depth, !hot.column);
    TnAxisParams p = {.axis = 0};
    IrValueId in[2] = {table, ids};
    if (table != TN_NO_VALUE && ids != TN_NO_VALUE)
        tni_pass_replace(r, v, tni_pass_add(r, TN_OP_gather, name, &p, in, 2));
}

TnStatus tni_pass_one_hot(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
