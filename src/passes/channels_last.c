/* SPDX-License-Identifier: Apache-2.0
 *
 * channels_last: 2-D convolutions, pools and what is between them work on [B, H, W, C].
 *
 *   x [B,C,H,W] -> conv -> + r -> gelu -> conv -> y        =>      x -> transpose -> conv -> + r' -> gelu -> conv -> transpose -> y
 *
 * Nodes that touch through 4-D pictures form regions. A region changes only when its borders do not cost more transposes than they save: a
 * border that is a transpose already (tokens [B, H W, C] to pictures and back, through reshapes) is saved, any other is paid; the mean over
 * H and W costs nothing. The transposes at the borders then cancel in simplify_layout. */
#include "passes/chain.h"
#include "passes/list.h"
#include "passes/match.h"

static const uint8_t to_last[4] = {0, 2, 3, 1}, to_first[4] = {0, 3, 1, 2};

typedef struct Regions {
    uint32_t *root;  /* [nodes] union-find; PASS_NONE: in no region */
    int32_t *cost;   /* [nodes] by root: transposes paid minus saved */
    uint32_t *convs; /* [nodes] by root */
    IrValueId *last; /* [values] the channels-last twin */
    uint32_t n_values, n_nodes;
} Regions;

static bool picture(const Rewriter *r, IrValueId v) {
    return v != TN_NO_VALUE && r->g->values[v].rank == 4 && r->g->values[v].dtype == TN_F32;
}

static bool moves_to(const IrNode *n, const uint8_t *perm) {
    return n != NULL && n->op == TN_OP_transpose && ((const TnTransposeParams *)n->params)->n == 4 &&
           memcmp(((const TnTransposeParams *)n->params)->perm, perm, 4) == 0;
}

/* Can this node work channels last? */
static bool can(const Rewriter *r, const IrNode *n) {
    if (n->dead || n->n_out == 0 || !picture(r, n->out[0]))
        return false;
    switch (n->op) {
    case TN_OP_conv:
        return ((const TnConvParams *)n->params)->n_spatial == 2 && !((const TnConvParams *)n->params)->channels_last;
    case TN_OP_pool:
        return ((const TnPoolParams *)n->params)->n_spatial == 2 && !((const TnPoolParams *)n->params)->channels_last &&
               (n->n_out == 1 || n->out[1] == TN_NO_VALUE);
    case TN_OP_batch_norm:
        return !((const TnNormParams *)n->params)->channels_last;
    case TN_OP_unary:
        return picture(r, n->in[0]);
    case TN_OP_clip:
        return picture(r, n->in[0]);
    case TN_OP_binary:
        return tni_pass_is_f32(r, n->in[0]) && tni_pass_is_f32(r, n->in[1]);
    case TN_OP_concat:
        return ((const TnAxisParams *)n->params)->axis == 1;
    default:
        return false;
    }
}

/* Operands of a region's node that are pictures to be turned: all of rank 4 that are data, not weights. */
static bool turned(const Rewriter *r, const IrNode *n, uint32_t i) {
    double c;
    if (n->in[i] == TN_NO_VALUE || !picture(r, n->in[i]))
        return false;
    if (n->op == TN_OP_conv)
        return i == 0 || i == 3;
    if (n->op == TN_OP_binary || n->op == TN_OP_concat)
        return !tni_pass_number(r, n->in[i], &c);
    return i == 0;
}

static uint32_t find(Regions *g, uint32_t n) {
    while (g->root[n] != n) {
        g->root[n] = g->root[g->root[n]];
        n = g->root[n];
    }
    return n;
}

/* A reduction over H and W that works as well on [B,H,W,C]: no transpose is needed to leave. */
static bool mean_of_picture(const IrNode *n) {
    const TnReduceParams *p = n->params;
    return n->op == TN_OP_reduce && !p->keepdims && p->n_axes == 2 && p->axes[0] == 2 && p->axes[1] == 3;
}

/* A transpose after v would vanish against what v was made from. */
static bool vanishes_above(const Rewriter *r, IrValueId v) {
    LayoutChain c;
    if (r->g->values[v].kind == IR_CONST)
        return true; /* turned while building */
    if (moves_to(tni_pass_def(r, v), to_first))
        return true;
    const IrNode *re = tni_pass_def_op(r, v, TN_OP_reshape);
    if (re == NULL || !tni_pass_layout_chain(r, v, &c) || c.transposes != 1)
        return false;
    /* [B,N,C] -> [B,C,N] -> [B,C,H,W]: the source has the channels last. Pieces: B, C, (H, W); in the source C comes last. */
    return c.n >= 2 && tni_ir_dim_equal(r->m, c.extent[c.at[c.n - 1]], r->g->values[v].dims[1]);
}

/* A transpose to [B,C,H,W] before user u of picture v would vanish against what follows. */
static bool vanishes_below(const Rewriter *r, const IrNode *u) {
    if (moves_to(u, to_last))
        return true;
    if (u->op != TN_OP_reshape || r->g->values[u->out[0]].rank != 3 ||
        !tni_ir_dim_equal(r->m, r->g->values[u->out[0]].dims[1], r->g->values[u->in[0]].dims[1]))
        return false;
    IrNodeId t = tni_pass_only_user(r, u->out[0]);
    if (t == TN_NO_NODE)
        return false;
    const IrNode *n = &r->g->nodes[t];
    const TnTransposeParams *p = n->params;
    return n->op == TN_OP_transpose && p->n == 3 && p->perm[0] == 0 && p->perm[1] == 2 && p->perm[2] == 1;
}

/* Nodes made by this pass are in no region. */
static bool in_region(Regions *g, IrNodeId n, uint32_t root) {
    return n < g->n_nodes && g->root[n] != PASS_NONE && find(g, n) == root;
}

static void unite(Rewriter *r, Regions *g) {
    for (IrNodeId n = 0; n < r->g->n_nodes; n++)
        g->root[n] = can(r, &r->g->nodes[n]) ? n : PASS_NONE;
    for (IrNodeId n = 0; n < r->g->n_nodes; n++) {
        const IrNode *node = &r->g->nodes[n];
        for (uint32_t i = 0; g->root[n] != PASS_NONE && i < node->n_in; i++) {
            if (!turned(r, node, i) || tni_pass_def(r, node->in[i]) == NULL)
                continue;
            IrNodeId p = r->g->values[node->in[i]].producer;
            if (g->root[p] != PASS_NONE)
                g->root[find(g, p)] = find(g, n);
        }
    }
}

/* What the borders of every region cost. */
static void count_costs(Rewriter *r, Regions *g) {
    for (IrNodeId n = 0; n < r->g->n_nodes; n++) {
        if (g->root[n] == PASS_NONE)
            continue;
        const IrNode *node = &r->g->nodes[n];
        uint32_t root = find(g, n);
        g->convs[root] += node->op == TN_OP_conv || node->op == TN_OP_pool;
        for (uint32_t i = 0; i < node->n_in; i++) {
            IrValueId v = node->in[i];
            if (!turned(r, node, i) || (tni_pass_def(r, v) != NULL && in_region(g, r->g->values[v].producer, root)) || g->last[v] == root)
                continue;
            g->last[v] = root; /* counted once a region */
            if (r->g->values[v].kind != IR_CONST)
                g->cost[root] += vanishes_above(r, v) ? -1 : 1;
        }
        bool pays = r->is_out[node->out[0]] != 0;
        for (uint32_t u = r->head[node->out[0]]; u != PASS_NONE; u = r->uses[u].next) {
            const IrNode *user = &r->g->nodes[r->uses[u].node];
            if (in_region(g, r->uses[u].node, root) || mean_of_picture(user))
                continue;
            if (vanishes_below(r, user))
                g->cost[root]--;
            else
                pays = true;
        }
        g->cost[root] += pays;
    }
}

/* The channels-last twin of operand v of a region's node. */
static IrValueId twin(Rewriter *r, Regions *g, const char *name, IrValueId v) {
    if (v < g->n_values && g->last[v] != TN_NO_VALUE)
        return g->last[v];
    TnTensor t;
    IrValueId out;
    if (tni_ir_tensor(r->m, r->g, v, &t) && t.dtype == TN_F32 && t.rank == 4) {
        int64_t d[4] = {t.dims[0], t.dims[2], t.dims[3], t.dims[1]};
        float *data = tni_pass_alloc(r, tn_tensor_bytes(&t));
        if (data == NULL)
            return TN_NO_VALUE;
        const uint8_t *from = t.data;
        int64_t hw = d[1] * d[2], c = d[3];
        for (int64_t b = 0; b < d[0]; b++)
            for (int64_t p = 0; p < hw; p++)
                for (int64_t k = 0; k < c; k++)
                    memcpy(&data[(b * hw + p) * c + k], from + (size_t)((b * c + k) * hw + p) * sizeof(float), sizeof(float));
        out = tni_pass_const_own(r, TN_F32, 4, d, data);
    } else {
        out = tni_pass_transpose(r, name, v, to_last);
    }
    if (v < g->n_values)
        g->last[v] = out;
    return out;
}

/* An operand of lower rank that broadcasts: [C,1,1] becomes [1,1,C]. */
static IrValueId low_rank_twin(Rewriter *r, Regions *g, const char *name, IrValueId v) {
    const IrValue *x = &r->g->values[v];
    double c;
    if (tni_pass_number(r, v, &c))
        return v;
    TnDim one = tni_ir_dim_const(r->m, 1), dims[4] = {one, one, one, one};
    for (int32_t i = 0; i < x->rank; i++)
        dims[4 - x->rank + i] = x->dims[i];
    TnTensor t;
    int64_t numbers[4];
    if (tni_ir_tensor(r->m, r->g, v, &t)) {
        for (int i = 0; i < 4; i++)
            if (!tni_ir_dim_is_const(r->m, dims[i], &numbers[i]))
                return TN_NO_VALUE;
        return twin(r, g, name, tni_pass_const_own(r, t.dtype, 4, numbers, t.data));
    }
    return tni_pass_transpose(r, name, tni_pass_reshape(r, name, v, 4, dims), to_last);
}

static void rebuild(Rewriter *r, Regions *g, IrNodeId id) {
    const IrNode *n = &r->g->nodes[id];
    union {
        TnConvParams conv;
        TnPoolParams pool;
        TnNormParams norm;
        TnAxisParams axis;
        TnUnaryParams unary;
        TnBinaryParams binary;
        TnNoParams none;
    } p;
    memcpy(&p, n->params, tni_op_info(n->op)->params_size);
    TnOp op = n->op;
    const char *name = n->name;
    if (op == TN_OP_conv)
        p.conv.channels_last = 1;
    else if (op == TN_OP_pool)
        p.pool.channels_last = 1;
    else if (op == TN_OP_batch_norm)
        p.norm.channels_last = 1;
    else if (op == TN_OP_concat)
        p.axis.axis = 3;
    uint32_t n_in = n->n_in;
    IrValueId y = n->out[0], *in = tni_arena_calloc(r->scratch, n_in + 1, sizeof *in);
    if (in == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, n_in * sizeof *in));
        return;
    }
    for (uint32_t i = 0; i < n_in; i++) {
        n = &r->g->nodes[id];
        in[i] = n->in[i];
        if (turned(r, n, i))
            in[i] = twin(r, g, name, n->in[i]);
        else if (op == TN_OP_binary)
            in[i] = low_rank_twin(r, g, name, n->in[i]);
        if (in[i] == TN_NO_VALUE && r->g->nodes[id].in[i] != TN_NO_VALUE)
            return;
    }
    IrValueId z = tni_pass_add(r, op, name, &p, in, n_in);
    if (z != TN_NO_VALUE)
        g->last[y] = z;
}

/* What outside the region reads picture y now reads from its twin. */
static void leave(Rewriter *r, Regions *g, IrNodeId id, uint32_t root) {
    IrValueId y = r->g->nodes[id].out[0], z = g->last[y];
    if (z == TN_NO_VALUE)
        return;
    for (uint32_t u = r->head[y], next; u != PASS_NONE && r->st == TN_OK; u = next) {
        next = r->uses[u].next;
        const IrNode *user = &r->g->nodes[r->uses[u].node];
        if (in_region(g, r->uses[u].node, root) || !mean_of_picture(user))
            continue;
        TnReduceParams p = *(const TnReduceParams *)user->params;
        p.axes[0] = 1;
        p.axes[1] = 2;
        IrValueId old = user->out[0];
        tni_pass_replace(r, old, tni_pass_add(r, TN_OP_reduce, user->name, &p, &z, 1));
        next = r->head[y];
    }
    if (tni_pass_uses(r, y) > 0)
        tni_pass_replace(r, y, tni_pass_transpose(r, r->g->nodes[id].name, z, to_first));
}

static bool open_tables(Rewriter *r, Regions *g) {
    uint32_t n = r->g->n_nodes + 1, v = r->g->n_values + 1;
    g->root = tni_arena_calloc(r->scratch, n, sizeof *g->root);
    g->cost = tni_arena_calloc(r->scratch, n, sizeof *g->cost);
    g->convs = tni_arena_calloc(r->scratch, n, sizeof *g->convs);
    g->last = tni_arena_calloc(r->scratch, v, sizeof *g->last);
    g->n_values = r->g->n_values;
    g->n_nodes = r->g->n_nodes;
    if (g->root == NULL || g->cost == NULL || g->convs == NULL || g->last == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, (size_t)v * sizeof *g->last));
        return false;
    }
    memset(g->last, 0xff, (size_t)v * sizeof *g->last);
    return true;
}

static void turn_graph(Rewriter *r) {
    Regions g;
    uint32_t n_nodes = r->g->n_nodes;
    if (!open_tables(r, &g))
        return;
    unite(r, &g);
    count_costs(r, &g);
    memset(g.last, 0xff, (size_t)g.n_values * sizeof *g.last);
    for (IrNodeId n = 0; n < n_nodes && r->st == TN_OK; n++)
        if (g.root[n] != PASS_NONE && g.convs[find(&g, n)] > 0 && g.cost[find(&g, n)] <= 0)
            rebuild(r, &g, n);
    for (IrNodeId n = n_nodes; n-- > 0 && r->st == TN_OK;)
        if (g.root[n] != PASS_NONE && g.convs[find(&g, n)] > 0 && g.cost[find(&g, n)] <= 0 && !r->g->nodes[n].dead)
            leave(r, &g, n, find(&g, n));
}

TnStatus tni_pass_channels_last(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        turn_graph(&r);
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    uint32_t n = 0;
    if (*changed > 0)
        TN_TRY(tni_pass_layout(m, pc, &n, err));
    *changed += n;
    return TN_OK;
}
