/* SPDX-License-Identifier: Apache-2.0
 *
 * The rewriter: use lists that follow every change, so that "who reads this value" costs nothing at any moment of a sweep.
 * Each operand has one slot; the slots of a value form a doubly linked list. Slots of a node are consecutive and never move. */
#include "passes/rewrite.h"

#include "passes/match.h"
#include "shape/shape.h"

void tni_pass_fail(Rewriter *r, TnStatus st) {
    if (r->st == TN_OK)
        r->st = st;
}

static bool grow(Rewriter *r, void **items, uint32_t have, uint32_t cap, size_t size) {
    void *p = tni_arena_calloc(r->scratch, cap, size);
    if (p == NULL) {
        tni_pass_fail(r, TN_OOM(r->err, (size_t)cap * size));
        return false;
    }
    if (have > 0)
        memcpy(p, *items, (size_t)have * size);
    *items = p;
    return true;
}

bool tni_pass_see_values(Rewriter *r) {
    uint32_t n = r->g->n_values;
    if (n > r->cap_values) {
        uint32_t cap = n + n / 2 + 64;
        if (!grow(r, (void **)&r->head, r->n_seen, cap, sizeof *r->head) ||
            !grow(r, (void **)&r->count, r->n_seen, cap, sizeof *r->count) || !grow(r, (void **)&r->is_out, r->n_seen, cap, 1) ||
            !grow(r, (void **)&r->exact, r->n_seen, cap, 1))
            return false;
        r->cap_values = cap;
    }
    for (; r->n_seen < n; r->n_seen++)
        r->head[r->n_seen] = PASS_NONE;
    return true;
}

static void link_use(Rewriter *r, uint32_t slot, IrValueId v) {
    PassUse *u = &r->uses[slot];
    u->prev = PASS_NONE;
    u->next = PASS_NONE;
    if (v == TN_NO_VALUE)
        return;
    u->next = r->head[v];
    if (u->next != PASS_NONE)
        r->uses[u->next].prev = slot;
    r->head[v] = slot;
    r->count[v]++;
}

static void unlink_use(Rewriter *r, uint32_t slot, IrValueId v) {
    if (v == TN_NO_VALUE)
        return;
    PassUse *u = &r->uses[slot];
    if (u->prev != PASS_NONE)
        r->uses[u->prev].next = u->next;
    else
        r->head[v] = u->next;
    if (u->next != PASS_NONE)
        r->uses[u->next].prev = u->prev;
    r->count[v]--;
}

/* Takes node n's operands into the lists. */
static bool see_node(Rewriter *r, IrNodeId n) {
    const IrNode *node = &r->g->nodes[n];
    if (n >= r->cap_nodes) {
        uint32_t cap = n + n / 2 + 64;
        if (!grow(r, (void **)&r->first, r->cap_nodes, cap, sizeof *r->first))
            return false;
        r->cap_nodes = cap;
    }
    if (r->n_uses + node->n_in > r->cap_uses) {
        uint32_t cap = r->n_uses + node->n_in + r->n_uses / 2 + 256;
        if (!grow(r, (void **)&r->uses, r->n_uses, cap, sizeof *r->uses))
            return false;
        r->cap_uses = cap;
    }
    r->first[n] = r->n_uses;
    for (uint32_t i = 0; i < node->n_in; i++) {
        r->uses[r->n_uses] = (PassUse){n, i, PASS_NONE, PASS_NONE};
        link_use(r, r->n_uses, node->in[i]);
        r->n_uses++;
    }
    return true;
}

TnStatus tni_pass_begin(Rewriter *r, IrModule *m, IrGraph *g, const PassContext *pc, TnError *err) {
    memset(r, 0, sizeof *r);
    r->m = m;
    r->g = g;
    r->pc = pc;
    r->err = err;
    TN_TRY(tni_arena_create(tni_arena_allocator(m->arena), &r->scratch, err));
    if (!tni_pass_see_values(r))
        return tni_pass_end(r);
    for (uint32_t i = 0; i < g->n_outputs; i++)
        r->is_out[g->outputs[i]] = 1;
    for (uint32_t n = 0; n < g->n_nodes; n++)
        if (!g->nodes[n].dead && !see_node(r, n))
            return tni_pass_end(r);
    return TN_OK;
}

TnStatus tni_pass_end(Rewriter *r) {
    TnStatus st = r->st;
    if (st == TN_OK && r->changed > 0)
        st = tni_ir_compact(r->m, r->g, r->err);
    tni_arena_destroy(&r->scratch);
    return st;
}

TnStatus tni_pass_sweep(IrModule *m, const PassContext *pc, PassVisit visit, uint32_t max_sweeps, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        for (uint32_t sweep = 0; sweep < max_sweeps; sweep++) {
            Rewriter r;
            TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
            tni_pass_mark_exact(&r);
            for (uint32_t n = 0; r.st == TN_OK && n < r.g->n_nodes; n++)
                if (!r.g->nodes[n].dead)
                    visit(&r, n);
            TN_TRY(tni_pass_end(&r));
            *changed += r.changed;
            if (r.changed == 0)
                break;
        }
    }
    return TN_OK;
}

static bool node_unused(const Rewriter *r, const IrNode *node) {
    if ((tni_op_info(node->op)->flags & TN_OPF_PURE) == 0)
        return false;
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] != TN_NO_VALUE && (r->count[node->out[i]] > 0 || r->is_out[node->out[i]]))
            return false;
    return true;
}

static void push_work(Rewriter *r, IrValueId v) {
    if (v == TN_NO_VALUE || r->count[v] > 0 || r->is_out[v] || r->g->values[v].kind != IR_NODE_OUTPUT)
        return;
    if (r->n_work == r->cap_work) {
        uint32_t cap = r->cap_work * 2 + 64;
        if (!grow(r, (void **)&r->work, r->n_work, cap, sizeof *r->work))
            return;
        r->cap_work = cap;
    }
    r->work[r->n_work++] = v;
}

/* Kills producers that nobody needs, upwards from v; a work list because chains may be long. */
static void release(Rewriter *r, IrValueId v) {
    push_work(r, v);
    while (r->st == TN_OK && r->n_work > 0) {
        IrValueId x = r->work[--r->n_work];
        IrNodeId n = r->g->values[x].producer;
        IrNode *node = &r->g->nodes[n];
        if (node->dead || !node_unused(r, node))
            continue;
        node->dead = true;
        for (uint32_t i = 0; i < node->n_in; i++)
            unlink_use(r, r->first[n] + i, node->in[i]);
        for (uint32_t i = 0; i < node->n_in; i++)
            push_work(r, node->in[i]);
    }
}

bool tni_pass_add_multi(Rewriter *r, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in, const bool *want,
                        uint32_t n_out, IrValueId *outs) {
    const char *names[64] = {NULL};
    for (uint32_t i = 0; i < n_out; i++)
        outs[i] = TN_NO_VALUE;
    if (r->st != TN_OK || n_out > TN_COUNT(names))
        return false;
    for (uint32_t i = 0; i < n_in; i++)
        if (in[i] != TN_NO_VALUE && in[i] >= r->g->n_values) {
            tni_pass_fail(r, TN_RAISE(r->err, TN_ERR_INTERNAL, "a pass made node '%s' with operand %u that does not exist", name, i));
            return false;
        }
    for (uint32_t i = 0; i < n_out; i++)
        names[i] = want != NULL && !want[i] ? "" : NULL;
    IrNodeId n = r->g->n_nodes;
    TnStatus st = tni_ir_node_add(r->m, r->g, op, name, params, in, n_in, names, n_out, outs, r->err);
    if (st == TN_OK)
        st = tni_shape_infer_node(r->m, r->g, n, r->err);
    if (st != TN_OK) {
        tni_pass_fail(r, st);
        return false;
    }
    return tni_pass_see_values(r) && see_node(r, n);
}

IrValueId tni_pass_add(Rewriter *r, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in) {
    IrValueId out = TN_NO_VALUE;
    return tni_pass_add_multi(r, op, name, params, in, n_in, NULL, 1, &out) ? out : TN_NO_VALUE;
}

void tni_pass_set_in(Rewriter *r, IrNodeId n, uint32_t i, IrValueId v) {
    if (r->st != TN_OK)
        return;
    IrNode *node = &r->g->nodes[n];
    IrValueId old = node->in[i];
    unlink_use(r, r->first[n] + i, old);
    node->in[i] = v;
    link_use(r, r->first[n] + i, v);
    if (old != TN_NO_VALUE)
        release(r, old);
}

static void move_output(Rewriter *r, IrValueId from, IrValueId to) {
    IrGraph *g = r->g;
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->outputs[i] == from)
            g->outputs[i] = to;
    const char *name = g->values[from].name;
    g->values[from].name = g->values[to].name;
    g->values[to].name = name;
    r->is_out[from] = 0;
    r->is_out[to] = 1;
}

void tni_pass_replace(Rewriter *r, IrValueId from, IrValueId to) {
    if (r->st != TN_OK || from == to || to == TN_NO_VALUE)
        return;
    r->changed++;
    if (r->exact[from])
        r->exact[to] = 1;
    while (r->head[from] != PASS_NONE) {
        uint32_t slot = r->head[from];
        PassUse *u = &r->uses[slot];
        r->g->nodes[u->node].in[u->operand] = to;
        unlink_use(r, slot, from);
        link_use(r, slot, to);
    }
    if (r->is_out[from]) {
        const IrValue *v = &r->g->values[to];
        if (v->kind != IR_NODE_OUTPUT || r->is_out[to]) {
            const IrValue *old = &r->g->values[from];
            const IrNode *made_by = old->kind == IR_NODE_OUTPUT ? &r->g->nodes[old->producer] : NULL;
            if (made_by != NULL && made_by->op == TN_OP_identity && made_by->in[0] == to) {
                r->changed--; /* already what it would become */
                return;
            }
            to = tni_pass_add(r, TN_OP_identity, made_by != NULL ? made_by->name : "output", NULL, &to, 1);
            if (to == TN_NO_VALUE)
                return;
        }
        move_output(r, from, to);
    }
    release(r, from);
}

void tni_pass_drop_output(Rewriter *r, IrNodeId n, uint32_t i) {
    r->g->nodes[n].out[i] = TN_NO_VALUE;
    r->changed++;
}
