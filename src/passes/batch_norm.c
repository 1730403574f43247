/* SPDX-License-Identifier: Apache-2.0
 *
 * fold_batch_norm: at inference a batch_norm is y = a x + c per channel, and constants can carry it.
 *
 *   conv(x, w, b) -> batch_norm                       =>  conv(x, a w, a b + c)
 *   batch_norm -> conv(x, w, b) 1x1, no padding       =>  conv(x, w a, b + w c)         (padding would see a 0 + c = c at the border)
 *   batch_norm -> ... -> gemm rows, through mean over positions, reshape, transpose     =>  gemm(x, a W, b + c W)
 *   batch_norm alone                                  =>  x * a + c
 *
 * Only f32 and constant statistics. Nobody else may read what lies in between. */
#include <math.h>

#include "passes/list.h"
#include "passes/match.h"

typedef struct Affine {
    int64_t channels;
    double *a, *c; /* scratch */
} Affine;

static float at(const TnTensor *t, int64_t i) {
    float f;
    memcpy(&f, (const uint8_t *)t->data + (size_t)i * sizeof f, sizeof f);
    return f;
}

static bool affine_of(Rewriter *r, const IrNode *n, Affine *out) {
    TnTensor t[4];
    for (int i = 0; i < 4; i++)
        if (!tni_ir_tensor(r->m, r->g, n->in[i + 1], &t[i]) || t[i].dtype != TN_F32 || t[i].rank != 1 || t[i].dims[0] != t[0].dims[0])
            return false;
    out->channels = t[0].dims[0];
    out->a = tni_arena_calloc(r->scratch, (size_t)out->channels + 1, sizeof(double));
    out->c = tni_arena_calloc(r->scratch, (size_t)out->channels + 1, sizeof(double));
    if (out->a == NULL || out->c == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, (size_t)out->channels * sizeof(double)));
        return false;
    }
    double eps = ((const TnNormParams *)n->params)->epsilon;
    for (int64_t i = 0; i < out->channels; i++) {
        out->a[i] = at(&t[0], i) / sqrt((double)at(&t[3], i) + eps);
        out->c[i] = at(&t[1], i) - at(&t[2], i) * out->a[i];
    }
    return true;
}

/* w [M, C/group, ...] and its bias as they were, in double arithmetic on the way to new ones. */
typedef struct Weights {
    TnTensor w, b;
    bool has_bias;
    int64_t m, per_m; /* rows, elements a row */
    float *new_w, *new_b;
} Weights;

static bool open_weights(Rewriter *r, const IrNode *n, Weights *k, int64_t rows) {
    memset(k, 0, sizeof *k);
    if (!tni_ir_tensor(r->m, r->g, n->in[1], &k->w) || k->w.dtype != TN_F32 || rows < 1)
        return false;
    k->has_bias = n->n_in > 2 && n->in[2] != TN_NO_VALUE;
    k->m = rows;
    k->per_m = tn_tensor_numel(&k->w) / rows;
    if (k->has_bias && (!tni_ir_tensor(r->m, r->g, n->in[2], &k->b) || k->b.dtype != TN_F32 || k->b.rank != 1 || k->b.dims[0] != rows))
        return false;
    k->new_w = tni_pass_alloc(r, tn_tensor_bytes(&k->w));
    k->new_b = tni_pass_alloc(r, (size_t)rows * sizeof(float));
    return k->new_w != NULL && k->new_b != NULL;
}

static void finish(Rewriter *r, IrValueId out, const IrNode *prod, const char *name, IrValueId x, const Weights *k) {
    IrValueId in[3] = {x, tni_pass_const_own(r, TN_F32, k->w.rank, k->w.dims, k->new_w), tni_pass_const_own(r, TN_F32, 1, &k->m, k->new_b)};
    if (in[1] != TN_NO_VALUE && in[2] != TN_NO_VALUE)
        tni_pass_replace(r, out, tni_pass_add(r, prod->op, name, prod->params, in, 3));
}

static bool bare(const IrNode *n) {
    if (n->n_in > 3 && n->in[3] != TN_NO_VALUE)
        return false;
    return n->op == TN_OP_conv ? ((const TnConvParams *)n->params)->act == TN_ACT_NONE : n->op == TN_OP_gemm;
}

/* conv -> batch_norm. */
static bool into_conv_before(Rewriter *r, const IrNode *bn) {
    const IrNode *conv = tni_pass_def_op(r, bn->in[0], TN_OP_conv);
    Affine f;
    Weights k;
    if (conv == NULL || !bare(conv) || tni_pass_uses(r, bn->in[0]) != 1 || !affine_of(r, bn, &f) ||
        !open_weights(r, conv, &k, f.channels) || k.w.dims[0] != f.channels)
        return false;
    for (int64_t m = 0; m < k.m; m++) {
        for (int64_t i = 0; i < k.per_m; i++)
            k.new_w[m * k.per_m + i] = (float)(f.a[m] * at(&k.w, m * k.per_m + i));
        k.new_b[m] = (float)(f.a[m] * (k.has_bias ? at(&k.b, m) : 0.0f) + f.c[m]);
    }
    finish(r, bn->out[0], conv, tni_pass_join2(r, conv->name, bn->name), conv->in[0], &k);
    return true;
}

static bool one_by_one(const IrNode *n) {
    const TnConvParams *p = n->params;
    if (p->auto_pad != TN_PAD_EXPLICIT && p->auto_pad != TN_PAD_VALID)
        return false;
    for (uint32_t i = 0; i < p->n_spatial; i++)
        if (p->kernel[i] != 1 || p->pads[i] != 0 || p->pads[i + p->n_spatial] != 0)
            return false;
    return true;
}

/* batch_norm -> conv 1x1. */
static bool into_conv_after(Rewriter *r, const IrNode *bn) {
    IrValueId v = bn->out[0];
    IrNodeId u = tni_pass_only_user(r, v);
    const IrNode *conv = u == TN_NO_NODE ? NULL : &r->g->nodes[u];
    Affine f;
    Weights k;
    if (conv == NULL || conv->op != TN_OP_conv || conv->in[0] != v || !one_by_one(conv) || !affine_of(r, bn, &f) ||
        (conv->n_in > 3 && conv->in[3] != TN_NO_VALUE))
        return false;
    int64_t m_total;
    const TnConvParams *p = conv->params;
    TnTensor w;
    if (!tni_ir_tensor(r->m, r->g, conv->in[1], &w) || w.rank < 2 || !open_weights(r, conv, &k, m_total = w.dims[0]) ||
        w.dims[1] * (int64_t)p->group != f.channels || m_total % (int64_t)p->group != 0)
        return false;
    for (int64_t m = 0; m < k.m; m++) {
        double b = k.has_bias ? at(&k.b, m) : 0;
        int64_t c0 = m / (m_total / (int64_t)p->group) * w.dims[1];
        for (int64_t i = 0; i < k.per_m; i++) {
            double wi = at(&k.w, m * k.per_m + i);
            k.new_w[m * k.per_m + i] = (float)(wi * f.a[c0 + i]);
            b += wi * f.c[c0 + i];
        }
        k.new_b[m] = (float)b;
    }
    finish(r, conv->out[0], conv, tni_pass_join2(r, bn->name, conv->name), bn->in[0], &k);
    return true;
}

/* Follows the channel axis from v through mean over other axes, reshape that keeps the channels apart and last, transpose. Returns the gemm
 * that reads the channels as its rows' columns, with every value in between read once. */
static IrNodeId gemm_below(const Rewriter *r, IrValueId v, int32_t axis, int64_t channels) {
    for (int i = 0; i < 6; i++) {
        IrNodeId u = tni_pass_only_user(r, v);
        if (u == TN_NO_NODE)
            return TN_NO_NODE;
        const IrNode *n = &r->g->nodes[u];
        IrValueId y = n->out[0];
        if (n->op == TN_OP_gemm) {
            const TnGemmParams *p = n->params;
            return n->in[0] == v && axis == r->g->values[v].rank - 1 && !p->trans_a && bare(n) && p->alpha == 1 &&
                           (p->beta == 1 || n->n_in < 3)
                       ? u
                       : TN_NO_NODE;
        }
        if (n->op == TN_OP_transpose) {
            const TnTransposeParams *p = n->params;
            int32_t to = 0;
            while (p->perm[to] != axis)
                to++;
            axis = to;
        } else if (n->op == TN_OP_reduce && ((const TnReduceParams *)n->params)->fn == TN_REDUCE_mean) {
            const TnReduceParams *p = n->params;
            int32_t shift = 0;
            for (uint32_t a = 0; a < p->n_axes; a++) {
                if (p->axes[a] == axis)
                    return TN_NO_NODE;
                shift += !p->keepdims && p->axes[a] < axis;
            }
            axis -= shift;
        } else if (n->op == TN_OP_pool) {
            const TnPoolParams *p = n->params; /* a global average is a mean over positions */
            if (p->kind != TN_POOL_AVG || !p->global || axis != 1)
                return TN_NO_NODE;
        } else if (n->op == TN_OP_reshape) { /* the dims up to and with the channels stay: batch, C, then anything */
            const IrValue *a = &r->g->values[v], *b = &r->g->values[y];
            if (axis >= b->rank)
                return TN_NO_NODE;
            for (int32_t d = 0; d <= axis; d++)
                if (!tni_ir_dim_equal(r->m, a->dims[d], b->dims[d]))
                    return TN_NO_NODE;
        } else {
            return TN_NO_NODE;
        }
        if (y == TN_NO_VALUE || !tni_pass_dim_is(r, y, axis, channels))
            return TN_NO_NODE;
        v = y;
    }
    return TN_NO_NODE;
}

static bool into_gemm(Rewriter *r, const IrNode *bn) {
    Affine f;
    Weights k;
    int32_t axis = ((const TnNormParams *)bn->params)->channels_last ? r->g->values[bn->in[0]].rank - 1 : 1;
    int64_t channels;
    IrValueId y = bn->out[0], x = bn->in[0];
    if (!tni_pass_static_dim(r, x, axis, &channels))
        return false;
    IrNodeId u = gemm_below(r, y, axis, channels);
    if (u == TN_NO_NODE)
        return false;
    const IrNode *g = &r->g->nodes[u];
    bool trans = ((const TnGemmParams *)g->params)->trans_b != 0;
    TnTensor w;
    if (!affine_of(r, bn, &f) || !tni_ir_tensor(r->m, r->g, g->in[1], &w) || w.rank != 2 || w.dims[trans ? 1 : 0] != channels)
        return false;
    int64_t n = w.dims[trans ? 0 : 1];
    if (!open_weights(r, g, &k, n))
        return false;
    for (int64_t j = 0; j < n; j++) {
        double b = k.has_bias ? at(&k.b, j) : 0;
        for (int64_t i = 0; i < channels; i++) {
            int64_t e = trans ? j * channels + i : i * n + j;
            double wi = at(&k.w, e);
            k.new_w[e] = (float)(wi * f.a[i]);
            b += wi * f.c[i];
        }
        k.new_b[j] = (float)b;
    }
    IrValueId rows = g->in[0];
    TnGemmParams gp = *(const TnGemmParams *)g->params;
    gp.beta = 1;
    IrValueId out = g->out[0];
    const char *name = tni_pass_join2(r, g->name, bn->name);
    IrValueId in[3] = {rows, tni_pass_const_own(r, TN_F32, 2, k.w.dims, k.new_w), tni_pass_const_own(r, TN_F32, 1, &k.m, k.new_b)};
    if (in[1] == TN_NO_VALUE || in[2] == TN_NO_VALUE)
        return false;
    tni_pass_replace(r, out, tni_pass_add(r, TN_OP_gemm, name, &gp, in, 3));
    tni_pass_replace(r, y, x);
    return true;
}

static void alone(Rewriter *r, const IrNode *bn) {
    Affine f;
    if (!affine_of(r, bn, &f))
        return;
    IrValueId x = bn->in[0], out = bn->out[0];
    int32_t rank = r->g->values[x].rank;
    bool last = ((const TnNormParams *)bn->params)->channels_last != 0;
    int64_t dims[TN_MAX_RANK];
    int32_t n = last ? 1 : rank - 1;
    for (int32_t i = 0; i < n; i++)
        dims[i] = i == 0 ? f.channels : 1;
    float *a = tni_pass_alloc(r, (size_t)f.channels * sizeof *a), *c = tni_pass_alloc(r, (size_t)f.channels * sizeof *c);
    if (a == NULL || c == NULL)
        return;
    for (int64_t i = 0; i < f.channels; i++) {
        a[i] = (float)f.a[i];
        c[i] = (float)f.c[i];
    }
    const char *name = bn->name;
    IrValueId y = tni_pass_binary_node(r, name, TN_BINARY_mul, x, tni_pass_const_own(r, TN_F32, n, dims, a));
    tni_pass_replace(r, out, tni_pass_binary_node(r, name, TN_BINARY_add, y, tni_pass_const_own(r, TN_F32, n, dims, c)));
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_batch_norm || n->out[0] == TN_NO_VALUE || !tni_pass_is_f32(r, n->in[0]) || r->g->values[n->in[0]].rank < 2 ||
        !tni_pass_may_round(r, n->out[0]))
        return;
    if (!into_conv_before(r, n) && r->st == TN_OK && !into_conv_after(r, n) && r->st == TN_OK && !into_gemm(r, n) && r->st == TN_OK)
        alone(r, n);
}

TnStatus tni_pass_batch_norm(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
