/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_attention: any exporter's spelling of softmax(scale q k^T + biases) v.
 *
 *   x -> gemm -> reshape [B,S,H,D] -> transpose -> [* a] = q --+
 *   x -> gemm -> reshape [B,S,H,D] -> transpose -> [* a] = k^T-+-> matmul -> [* c | / c] -> [+ bias]* -> [where mask] -> softmax --+
 *   x -> gemm -> reshape [B,S,H,D] -> transpose = v ---------------------------------------------------------------------------+-> matmul
 * -> transpose -> reshape
 *
 *   =>   attention(x Wq, x Wk, x Wv, bias0, bias1) in layout BSHD, scale a a c
 *
 * - The operands' layouts come from views (view.h): 3-D batched products, k transposed in one step or two, one projection cut in three, ...
 * - Scores may be scaled before or after the biases; a bias that is scaled too gets its own product, shared by the layers through cse.
 * - where(mask, scores, fill) becomes a bias where(mask, 0, fill) only when fill absorbs every score (-inf or below -1e30).
 * - where(isnan(p), 0, p) after the softmax (exporters of scaled_dot_product_attention) goes only when all biases are known to be finite,
 * so that no row can be all -inf; otherwise nothing is fused.
 * - Every value in between must be read by the pattern alone. f32 only. */
#include <float.h>
#include <math.h>

#include "passes/list.h"
#include "passes/match.h"
#include "passes/view.h"

#define MAX_BIAS 6

typedef struct Bias {
    IrValueId value, fill; /* fill: value is a mask; scores stay where it is `keep`, else they are fill */
    bool keep;
    double factor;
    int32_t frame;     /* rank of the scores it was added to; 5: [samples, windows, H, Sq, Sk] */
    TnDim samples, windows;
} Bias;

typedef struct Found {
    IrValueId matmul; /* q k^T */
    double scale;
    Bias bias[MAX_BIAS];
    uint32_t n_bias;
    TnDim heads; /* where the scores are 4-D somewhere; TN_DIM_NONE: nowhere */
    TnDim batch;
    Pattern p;
} Found;

/* A constant that swallows any score added to it. */
static bool absorbs(const Rewriter *r, IrValueId v) {
    double c;
    return tni_pass_uniform(r, v, &c) && c <= -1e30;
}

static bool keeps_rows(const Rewriter *r, IrValueId a, IrValueId b) {
    const IrValue *x = &r->g->values[a], *y = &r->g->values[b];
    return x->rank >= 3 && y->rank >= 3 && x->rank <= 4 && y->rank <= 4 &&
           tni_ir_dim_equal(r->m, x->dims[x->rank - 1], y->dims[y->rank - 1]) &&
           tni_ir_dim_equal(r->m, x->dims[x->rank - 2], y->dims[y->rank - 2]);
}

static void note_frame(const Rewriter *r, Found *f, IrValueId v) {
    if (r->g->values[v].rank == 4) {
        f->batch = r->g->values[v].dims[0];
        f->heads = r->g->values[v].dims[1];
    }
}

static bool push_bias(const Rewriter *r, Found *f, Bias b, IrValueId scores) {
    const IrValue *s = &r->g->values[scores];
    if (f->n_bias == MAX_BIAS || !tni_pass_fits(r, b.value, scores))
        return false;
    b.frame = s->rank;
    if (s->rank == 5) {
        b.samples = s->dims[0];
        b.windows = s->dims[1];
    }
    f->bias[f->n_bias++] = b;
    return true;
}

static bool find_scores(const Rewriter *r, Found *f, IrValueId v, double factor, int depth);

/* v = reshape(reshape(s) [B, W, H, Sq, Sk] + mask) [B W, H, Sq, Sk]: shifted windows, whose masks differ from window to window. */
static bool find_windows(const Rewriter *r, Found *f, IrValueId v, double factor, int depth) {
    IrValueId part[2], sum = tni_pass_def(r, v)->in[0];
    const IrValue *w = &r->g->values[sum], *y = &r->g->values[v];
    if (w->rank != 5 || y->rank != 4 || tni_pass_uses(r, sum) != 1 || !tni_pass_binary(r, sum, TN_BINARY_add, &part[0], &part[1]))
        return false;
    for (int32_t i = 1; i < 4; i++)
        if (!tni_ir_dim_equal(r->m, y->dims[i], w->dims[i + 1]))
            return false;
    for (int turn = 0; turn < 2; turn++) {
        const IrNode *back = tni_pass_def_op(r, part[turn], TN_OP_reshape);
        if (back == NULL || tni_pass_uses(r, part[turn]) != 1 || !tni_pass_same_dims(r, part[turn], sum) || !tni_pass_same_dims(r, back->in[0], v))
            continue;
        tni_pattern_add(r, &f->p, sum);
        tni_pattern_add(r, &f->p, part[turn]);
        return find_scores(r, f, back->in[0], factor, depth + 1) &&
               push_bias(r, f, (Bias){.value = part[1 - turn], .fill = TN_NO_VALUE, .factor = factor}, sum);
    }
    return false;
}

/* Walks from the softmax's input up to the product; factor is what v is multiplied with before the softmax. */
static bool find_scores(const Rewriter *r, Found *f, IrValueId v, double factor, int depth) {
    const IrNode *n = tni_pass_def(r, v);
    if (n == NULL || depth > 16 || tni_pass_uses(r, v) != 1 || f->p.n >= PATTERN_MAX - 8)
        return false;
    IrValueId x, a, b;
    double c;
    Found saved = *f;
    tni_pattern_add(r, &f->p, v);
    note_frame(r, f, v);
    if (n->op == TN_OP_matmul) {
        f->matmul = v;
        f->scale = factor;
        return true;
    }
    if (n->op == TN_OP_identity)
        return find_scores(r, f, n->in[0], factor, depth + 1);
    if (n->op == TN_OP_reshape)
        return keeps_rows(r, n->in[0], v) ? find_scores(r, f, n->in[0], factor, depth + 1) : find_windows(r, f, v, factor, depth);
    if (tni_pass_scaled(r, v, &x, &c))
        return find_scores(r, f, x, factor * c, depth + 1);
    if (tni_pass_binary(r, v, TN_BINARY_add, &a, &b)) {
        for (int turn = 0; turn < 2; turn++) {
            IrValueId s = turn == 0 ? a : b, bias = turn == 0 ? b : a;
            if (tni_pass_same_dims(r, s, v) && find_scores(r, f, s, factor, depth + 1))
                return push_bias(r, f, (Bias){.value = bias, .fill = TN_NO_VALUE, .factor = factor}, v);
            *f = saved;
            tni_pattern_add(r, &f->p, v);
            note_frame(r, f, v);
        }
        return false;
    }
    if (tni_pass_binary(r, v, TN_BINARY_sub, &a, &b))
        return tni_pass_same_dims(r, a, v) && find_scores(r, f, a, factor, depth + 1) &&
               push_bias(r, f, (Bias){.value = b, .fill = TN_NO_VALUE, .factor = -factor}, v);
    if (n->op == TN_OP_where) {
        bool keep = absorbs(r, n->in[2]);
        IrValueId mask = n->in[0], fill = keep ? n->in[2] : n->in[1], s = keep ? n->in[1] : n->in[2];
        return (keep || absorbs(r, fill)) && tni_pass_same_dims(r, s, v) && find_scores(r, f, s, factor, depth + 1) &&
               push_bias(r, f, (Bias){.value = mask, .fill = fill, .keep = keep, .factor = factor}, v);
    }
    return false;
}

/* The probabilities past a NaN guard: where(isnan(p), 0, p). Returns p itself when there is none. */
static IrValueId past_guard(const Rewriter *r, IrValueId p, Pattern *pat, bool *guarded) {
    *guarded = false;
    if (tni_pass_uses(r, p) != 2)
        return p;
    for (uint32_t u = r->head[p]; u != PASS_NONE; u = r->uses[u].next) {
        const IrNode *w = &r->g->nodes[r->uses[u].node];
        double zero;
        if (w->op == TN_OP_where && w->in[2] == p && tni_pass_unary(r, w->in[0], TN_UNARY_isnan) == p &&
            tni_pass_uniform(r, w->in[1], &zero) && zero == 0 && tni_pass_same_dims(r, w->out[0], p)) {
            tni_pattern_add(r, pat, w->in[0]);
            tni_pattern_add(r, pat, w->out[0]);
            *guarded = true;
            return w->out[0];
        }
    }
    return p;
}

/* Can a score be -inf in every column of a row? No, when the biases together stay above the most negative float. */
static bool surely_finite(const Rewriter *r, const Found *f, double softmax_scale) {
    double sum = 0;
    for (uint32_t i = 0; i < f->n_bias; i++) {
        double lo, hi, k = f->bias[i].factor * softmax_scale;
        IrValueId v = f->bias[i].fill != TN_NO_VALUE ? f->bias[i].fill : f->bias[i].value;
        if (!tni_pass_bounds(r, v, &lo, &hi))
            return false;
        lo = k >= 0 ? lo * k : hi * k;
        hi = fmax(fabs(lo), fabs(hi * k));
        if (!(hi <= FLT_MAX))
            return false;
        sum += fmin(lo, 0);
    }
    return sum >= -(double)FLT_MAX - 1e30;
}

/* The view furthest up that attention can read. */
static bool best_view(const Rewriter *r, IrValueId value, bool transposed, bool scales, bool head_dim_first, View *best) {
    View v;
    TnAttnLayout layout;
    int64_t offset;
    bool found = false;
    if (!tni_view_start(r, &v, value, transposed))
        return false;
    for (int step = 0; step < 32; step++) {
        if (tni_view_layout(r, &v, &layout, &offset) && (layout != TN_LAYOUT_BHDS || head_dim_first)) {
            *best = v;
            found = true;
        }
        if (!tni_view_up(r, &v, scales))
            break;
    }
    return found;
}

/* The number of heads that all views agree on; batch from those that tell it. */
static bool agree_on_heads(const Rewriter *r, const View *const *views, const Found *f, int64_t *heads, TnDim *batch) {
    *heads = 0;
    *batch = f->batch;
    if (f->heads != TN_DIM_NONE && !tni_ir_dim_is_const(r->m, f->heads, heads))
        return false;
    for (int i = 0; i < 4; i++) {
        int64_t h;
        if (!tni_view_has(views[i], ATOM_HEAD))
            continue;
        if (!tni_ir_dim_is_const(r->m, tni_view_extent(r, views[i], ATOM_HEAD), &h) || (*heads != 0 && h != *heads))
            return false;
        *heads = h;
        if (*batch == TN_DIM_NONE)
            *batch = tni_view_extent(r, views[i], ATOM_BATCH);
    }
    if (*heads == 0) { /* never split: one head */
        *heads = 1;
        *batch = tni_view_extent(r, views[0], ATOM_PAIRS);
    }
    return *heads > 0 && *batch != TN_DIM_NONE;
}

typedef struct Plan {
    TnAttentionParams p;
    TnDim batch, sq, sk;
    bool ok;
} Plan;

/* The operand in the rank its layout wants. */
static IrValueId operand(Rewriter *r, const char *name, const View *v, const Plan *plan, TnDim seq, uint32_t d, uint32_t *layout,
                         uint32_t *off) {
    TnAttnLayout l;
    int64_t offset;
    if (!tni_view_layout(r, v, &l, &offset) || offset < 0 || offset > INT32_MAX)
        return TN_NO_VALUE;
    *layout = l;
    *off = (uint32_t)offset;
    TnDim h = tni_ir_dim_const(r->m, plan->p.heads), dd = tni_ir_dim_const(r->m, d);
    TnDim batch = tni_view_has(v, ATOM_PAIRS) ? plan->batch : tni_view_extent(r, v, ATOM_BATCH);
    if (l == TN_LAYOUT_BHSD)
        return tni_pass_reshape(r, name, v->value, 4, (TnDim[]){batch, h, seq, dd});
    if (l == TN_LAYOUT_BHDS)
        return tni_pass_reshape(r, name, v->value, 4, (TnDim[]){batch, h, dd, seq});
    int64_t row = v->row;
    if (row == 0) {
        row = 1;
        for (uint32_t i = 0; i < v->n; i++) {
            int64_t e;
            if (v->atom[i].role == ATOM_BATCH || v->atom[i].role == ATOM_SEQ)
                continue;
            if (!tni_ir_dim_is_const(r->m, v->atom[i].extent, &e))
                return TN_NO_VALUE;
            row *= e;
        }
    }
    return tni_pass_reshape(r, name, v->value, 3, (TnDim[]){batch, seq, tni_ir_dim_const(r->m, row)});
}

/* A bias of windows, [.., W, H or 1, Sq, Sk] or less: the windows of every sample lie behind each other among the pairs that attention calls
 * its batch. */
static IrValueId window_bias(Rewriter *r, const char *name, const Bias *b, IrValueId v, const Plan *plan) {
    TnDim one = tni_ir_dim_const(r->m, 1), full[5] = {b->samples, b->windows, one, one, one};
    const IrValue *x = &r->g->values[v];
    for (int32_t i = 1; i <= 3 && i <= x->rank; i++)
        full[5 - i] = x->dims[x->rank - i];
    bool apart = false; /* from window to window, or from sample to sample */
    for (int32_t i = 0; i < x->rank - 3; i++)
        apart = apart || !tni_pass_dim_is(r, v, i, 1);
    if (!apart)
        return tni_pass_reshape(r, name, v, 3, full + 2);
    IrValueId dims = tni_pass_dims_value(r, name, 5, full);
    v = dims == TN_NO_VALUE ? dims : tni_pass_add(r, TN_OP_expand, name, NULL, (IrValueId[]){v, dims}, 2);
    return tni_pass_reshape(r, name, v, 4, (TnDim[]){plan->batch, full[2], full[3], full[4]});
}

/* A bias as attention takes it: broadcastable to [B,H,Sq,Sk], all factors and masks worked in. */
static IrValueId bias_value(Rewriter *r, const char *name, const Bias *b, double softmax_scale, const Plan *plan) {
    IrValueId v = b->value;
    double factor = b->factor * softmax_scale;
    if (b->fill != TN_NO_VALUE) {
        double fill;
        if (!tni_pass_uniform(r, b->fill, &fill))
            return TN_NO_VALUE;
        IrValueId zero = tni_pass_scalar(r, TN_F32, 0), low = tni_pass_scalar(r, TN_F32, fill);
        v = tni_pass_add(r, TN_OP_where, name, NULL, (IrValueId[]){v, b->keep ? zero : low, b->keep ? low : zero}, 3);
        if (isinf(fill) && factor > 0)
            factor = 1;
    }
    if (v != TN_NO_VALUE && fabs(factor - 1) > 2e-6)
        v = tni_pass_binary_node(r, name, TN_BINARY_mul, v, tni_pass_scalar(r, TN_F32, factor));
    if (v == TN_NO_VALUE)
        return v;
    if (b->frame == 5)
        return window_bias(r, name, b, v, plan);
    const IrValue *x = &r->g->values[v];
    if (b->frame == 3 && x->rank == 3 && !tni_pass_dim_is(r, v, 0, 1))
        v = tni_pass_reshape(r, name, v, 4, (TnDim[]){plan->batch, tni_ir_dim_const(r->m, plan->p.heads), x->dims[1], x->dims[2]});
    return v;
}

/* Up to two biases; more are added up, the ones that were added last (nearest the softmax: the masks) first. */
static bool biases(Rewriter *r, const char *name, const Found *f, double softmax_scale, const Plan *plan, IrValueId *out) {
    IrValueId v[MAX_BIAS];
    out[0] = out[1] = TN_NO_VALUE;
    uint32_t n = 0;
    for (uint32_t i = 0; i < f->n_bias; i++) {
        double zero;
        if (f->bias[i].fill == TN_NO_VALUE && tni_pass_uniform(r, f->bias[i].value, &zero) && zero == 0)
            continue;
        v[n] = bias_value(r, name, &f->bias[i], softmax_scale, plan);
        if (v[n++] == TN_NO_VALUE)
            return false;
    }
    while (n > 2) {
        v[n - 2] = tni_pass_binary_node(r, name, TN_BINARY_add, v[n - 2], v[n - 1]);
        if (v[--n - 1] == TN_NO_VALUE)
            return false;
    }
    for (uint32_t i = 0; i < n; i++)
        out[i] = v[i];
    return true;
}

/* Follows the result down through transposes and reshapes that nobody else reads; *view is the last place where attention can write. */
static IrValueId result_place(const Rewriter *r, IrValueId y, int64_t heads, View *view, Pattern *p) {
    View v;
    IrValueId at = y;
    if (!tni_view_start(r, &v, y, false))
        return TN_NO_VALUE;
    *view = v;
    Pattern seen = *p;
    for (int step = 0; step < 8; step++) {
        IrNodeId u = tni_pass_only_user(r, v.value);
        if (u == TN_NO_NODE || !tni_view_down(r, &v, &r->g->nodes[u]))
            break;
        tni_pattern_add(r, &seen, v.value);
        TnAttnLayout l;
        int64_t offset, h;
        bool agrees = !tni_view_has(&v, ATOM_HEAD) ||
                      (tni_ir_dim_is_const(r->m, tni_view_extent(r, &v, ATOM_HEAD), &h) && (heads == 0 || h == heads));
        if (agrees && tni_view_layout(r, &v, &l, &offset) && l == TN_LAYOUT_BSHD) {
            *view = v;
            *p = seen;
            at = v.value;
        }
    }
    return at;
}

static bool batch_dims_agree(const Rewriter *r, IrValueId a, IrValueId b) {
    const IrValue *x = &r->g->values[a], *y = &r->g->values[b];
    if (x->rank != y->rank)
        return false;
    for (int32_t i = 0; i < x->rank - 2; i++)
        if (!tni_ir_dim_equal(r->m, x->dims[i], y->dims[i]))
            return false;
    return true;
}

/* The product p v that reads the probabilities, through identity and reshapes that keep rows. */
static const IrNode *value_product(const Rewriter *r, IrValueId p, Pattern *pat) {
    for (int i = 0; i < 4; i++) {
        IrNodeId u = tni_pass_only_user(r, p);
        if (u == TN_NO_NODE)
            return NULL;
        const IrNode *n = &r->g->nodes[u];
        if (n->op == TN_OP_matmul)
            return n->in[0] == p && n->in[1] != p ? n : NULL;
        if (n->op != TN_OP_identity && (n->op != TN_OP_reshape || !keeps_rows(r, p, n->out[0])))
            return NULL;
        p = n->out[0];
        tni_pattern_add(r, pat, p);
    }
    return NULL;
}

static void build(Rewriter *r, const Found *f, const View *q, const View *k, const View *v, const View *out, IrValueId place, Plan *plan,
                  double softmax_scale, const char *name) {
    IrValueId in[5];
    plan->p.scale = (float)(f->scale * softmax_scale * q->scale * k->scale);
    in[0] = operand(r, name, q, plan, plan->sq, plan->p.d_qk, &plan->p.q_layout, &plan->p.q_off);
    in[1] = operand(r, name, k, plan, plan->sk, plan->p.d_qk, &plan->p.k_layout, &plan->p.k_off);
    in[2] = operand(r, name, v, plan, plan->sk, plan->p.d_v, &plan->p.v_layout, &plan->p.v_off);
    if (in[0] == TN_NO_VALUE || in[1] == TN_NO_VALUE || in[2] == TN_NO_VALUE || !biases(r, name, f, softmax_scale, plan, &in[3]))
        return;
    TnAttnLayout l;
    int64_t offset;
    plan->p.out_layout = tni_view_layout(r, out, &l, &offset) && l == TN_LAYOUT_BSHD ? TN_LAYOUT_BSHD : TN_LAYOUT_BHSD;
    uint32_t n_in = in[4] != TN_NO_VALUE ? 5 : in[3] != TN_NO_VALUE ? 4 : 3;
    IrValueId y = tni_pass_add(r, TN_OP_attention, name, &plan->p, in, n_in);
    if (y == TN_NO_VALUE)
        return;
    TnDim dims[TN_MAX_RANK];
    int32_t rank = r->g->values[place].rank;
    memcpy(dims, r->g->values[place].dims, sizeof dims);
    tni_pass_replace(r, place, tni_pass_reshape(r, name, y, rank, dims));
}

static void visit(Rewriter *r, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    if (n->op != TN_OP_softmax || n->out[0] == TN_NO_VALUE || !tni_pass_is_f32(r, n->out[0]) || !tni_pass_may_round(r, n->out[0]))
        return;
    const TnSoftmaxParams sp = *(const TnSoftmaxParams *)n->params;
    IrValueId s = n->in[0];
    if (sp.log || sp.axis != r->g->values[s].rank - 1)
        return;
    Found f = {.matmul = TN_NO_VALUE, .heads = TN_DIM_NONE, .batch = TN_DIM_NONE};
    if (!find_scores(r, &f, s, 1, 0))
        return;
    bool guarded;
    tni_pattern_add(r, &f.p, n->out[0]);
    IrValueId probs = past_guard(r, n->out[0], &f.p, &guarded);
    const IrNode *pv = value_product(r, probs, &f.p), *qk = tni_pass_def(r, f.matmul);
    if (pv == NULL || (guarded && !surely_finite(r, &f, sp.scale)))
        return;
    tni_pattern_add(r, &f.p, pv->out[0]);
    IrValueId qv = qk->in[0], kv = qk->in[1], vv = pv->in[1];
    View q, k, v, out;
    if (!batch_dims_agree(r, qv, kv) || !batch_dims_agree(r, pv->in[0], vv) || !best_view(r, qv, false, true, false, &q) ||
        !best_view(r, kv, true, true, true, &k) || !best_view(r, vv, false, false, false, &v))
        return;
    const char *name = tni_pattern_name(r, &f.p);
    int64_t heads, d_qk, d_v;
    Plan plan = {.sq = r->g->values[qv].dims[r->g->values[qv].rank - 2], .sk = r->g->values[kv].dims[r->g->values[kv].rank - 1]};
    if (!tni_view_start(r, &out, pv->out[0], false))
        return;
    heads = 0;
    IrValueId place = result_place(r, pv->out[0], 0, &out, &f.p);
    const View *const views[4] = {&q, &k, &v, &out};
    if (place == TN_NO_VALUE || !agree_on_heads(r, views, &f, &heads, &plan.batch) ||
        !tni_pass_static_dim(r, qv, r->g->values[qv].rank - 1, &d_qk) || !tni_pass_static_dim(r, vv, r->g->values[vv].rank - 1, &d_v) ||
        !tni_pattern_closed(r, &f.p, place))
        return;
    plan.p.heads = plan.p.kv_heads = (uint32_t)heads;
    plan.p.d_qk = (uint32_t)d_qk;
    plan.p.d_v = (uint32_t)d_v;
    build(r, &f, &q, &k, &v, &out, place, &plan, sp.scale, name);
}

TnStatus tni_pass_attention(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    return tni_pass_sweep(m, pc, visit, 1, changed, err);
}
