/* SPDX-License-Identifier: Apache-2.0
 *
 * fuse_pointwise: element-wise operators that feed each other in one pass over memory.
 *
 *   a -> mul b -> add c -> tanh -> mul d -> y       =>       pointwise(a, b, c, d) -> y
 *
 * A chain grows upwards from its last node, over f32 producers of the same dims that only the chain reads (so nothing is computed twice),
 * within the register machine's limits. Single numbers become constants of the code. Values whose bits decide an integer stay out: the
 * chain's kernel may use faster functions. */
#include "passes/list.h"
#include "passes/match.h"

#define MAX_INPUTS 8

typedef struct Chain {
    IrNodeId node[TN_PW_MAX_CODE];
    uint32_t n;
} Chain;

static bool eligible(const Rewriter *r, const IrNode *n) {
    if (n->dead || n->n_out != 1 || n->out[0] == TN_NO_VALUE || !tni_pass_is_f32(r, n->out[0]) || !tni_pass_may_round(r, n->out[0]))
        return false;
    double c;
    switch (n->op) {
    case TN_OP_unary:
        return tni_pass_is_f32(r, n->in[0]);
    case TN_OP_binary:
        return tni_pass_is_f32(r, n->in[0]) && tni_pass_is_f32(r, n->in[1]);
    case TN_OP_clip:
        for (uint32_t i = 1; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE && !tni_pass_number(r, n->in[i], &c))
                return false;
        return n->n_in == 3 && n->in[1] != TN_NO_VALUE && n->in[2] != TN_NO_VALUE;
    default:
        return false;
    }
}

static bool in_chain(const Chain *c, IrNodeId n) {
    for (uint32_t i = 0; i < c->n; i++)
        if (c->node[i] == n)
            return true;
    return false;
}

/* All uses of v are in the chain. */
static bool only_chain_reads(const Rewriter *r, const Chain *c, IrValueId v) {
    if (r->is_out[v])
        return false;
    for (uint32_t u = r->head[v]; u != PASS_NONE; u = r->uses[u].next)
        if (!in_chain(c, r->uses[u].node))
            return false;
    return true;
}

static uint32_t data_inputs(const IrNode *n) {
    return n->op == TN_OP_binary ? 2 : 1;
}

/* Inputs of the chain that are not single numbers. */
static uint32_t outside(const Rewriter *r, const Chain *c, IrValueId *in, uint32_t max) {
    uint32_t n_in = 0;
    double number;
    for (uint32_t i = 0; i < c->n; i++) {
        const IrNode *n = &r->g->nodes[c->node[i]];
        for (uint32_t k = 0; k < data_inputs(n); k++) {
            IrValueId v = n->in[k];
            if ((r->g->values[v].kind == IR_NODE_OUTPUT && in_chain(c, r->g->values[v].producer)) || tni_pass_number(r, v, &number))
                continue;
            bool known = false;
            for (uint32_t j = 0; j < n_in && j < max; j++)
                known = known || in[j] == v;
            if (!known && n_in < max)
                in[n_in] = v;
            n_in += !known;
        }
    }
    return n_in;
}

/* Instructions of a node: itself, and loading its numbers. */
static uint32_t code_size(const Rewriter *r, const IrNode *n) {
    double c;
    uint32_t size = 1;
    for (uint32_t k = 0; k < data_inputs(n); k++)
        size += tni_pass_number(r, n->in[k], &c);
    return size;
}

/* Grows the chain upwards until nothing more fits. */
static void grow_chain(const Rewriter *r, Chain *c) {
    IrValueId out = r->g->nodes[c->node[0]].out[0], in[MAX_INPUTS + 2];
    uint32_t size = code_size(r, &r->g->nodes[c->node[0]]);
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < c->n; i++) {
            const IrNode *n = &r->g->nodes[c->node[i]];
            for (uint32_t k = 0; k < data_inputs(n); k++) {
                const IrNode *p = tni_pass_def(r, n->in[k]);
                IrNodeId pid = p == NULL ? TN_NO_NODE : r->g->values[n->in[k]].producer;
                if (p == NULL || in_chain(c, pid) || !eligible(r, p) || size + code_size(r, p) > TN_PW_MAX_CODE ||
                    !tni_pass_same_dims(r, n->in[k], out) || !only_chain_reads(r, c, n->in[k]))
                    continue;
                c->node[c->n++] = pid;
                if (outside(r, c, in, MAX_INPUTS) > MAX_INPUTS) {
                    c->n--;
                    continue;
                }
                size += code_size(r, p);
                more = true;
            }
        }
    }
}

typedef struct Coder {
    TnPointwiseParams p;
    IrValueId in[MAX_INPUTS];
    IrValueId held[TN_PW_MAX_REGS]; /* value in a temporary register */
    uint32_t left[TN_PW_MAX_REGS];  /* reads to come */
    bool used[TN_PW_MAX_REGS];
    bool ok;
} Coder;

static uint8_t take_register(Coder *k) {
    for (uint32_t i = k->p.n_in; i < TN_PW_MAX_REGS; i++)
        if (!k->used[i]) {
            k->used[i] = true;
            k->held[i] = TN_NO_VALUE;
            k->left[i] = 1;
            return (uint8_t)i;
        }
    k->ok = false;
    return 0;
}

static TnPwInstr *emit(Coder *k) {
    if (k->p.n_code == TN_PW_MAX_CODE) {
        k->ok = false;
        return &k->p.code[0];
    }
    return &k->p.code[k->p.n_code++];
}

/* The register that holds operand v: an input, an earlier result, or a number loaded now. */
static uint8_t fetch(const Rewriter *r, Coder *k, IrValueId v) {
    double number;
    for (uint32_t i = 0; i < k->p.n_in; i++)
        if (k->in[i] == v)
            return (uint8_t)i;
    for (uint32_t i = k->p.n_in; i < TN_PW_MAX_REGS; i++)
        if (k->used[i] && k->held[i] == v)
            return (uint8_t)i;
    if (!tni_pass_number(r, v, &number)) {
        k->ok = false;
        return 0;
    }
    uint8_t reg = take_register(k);
    TnPwInstr *ins = emit(k);
    ins->op = TN_PW_CONST;
    ins->dst = reg;
    ins->alpha = (float)number;
    return reg;
}

static void done_reading(Coder *k, uint8_t reg) {
    if (reg >= k->p.n_in && k->left[reg] > 0 && --k->left[reg] == 0)
        k->used[reg] = false;
}

static void code_node(const Rewriter *r, Coder *k, const IrNode *n) {
    uint8_t a = fetch(r, k, n->in[0]), b = 0;
    double c;
    if (n->op == TN_OP_binary)
        b = fetch(r, k, n->in[1]);
    TnPwInstr ins = {.a = a, .b = b};
    if (n->op == TN_OP_unary) {
        const TnUnaryParams *p = n->params;
        ins.op = TN_PW_UNARY;
        ins.fn = (uint8_t)p->fn;
        ins.alpha = p->alpha;
        ins.beta = p->beta;
    } else if (n->op == TN_OP_binary) {
        ins.op = TN_PW_BINARY;
        ins.fn = (uint8_t)((const TnBinaryParams *)n->params)->fn;
    } else {
        ins.op = TN_PW_CLIP;
        ins.alpha = tni_pass_number(r, n->in[1], &c) ? (float)c : 0;
        ins.beta = tni_pass_number(r, n->in[2], &c) ? (float)c : 0;
    }
    done_reading(k, a);
    if (n->op == TN_OP_binary)
        done_reading(k, b);
    ins.dst = take_register(k);
    k->held[ins.dst] = n->out[0];
    k->left[ins.dst] = r->count[n->out[0]];
    *emit(k) = ins;
}

static void fuse(Rewriter *r, Chain *c) {
    Coder k = {.ok = true};
    IrValueId out = r->g->nodes[c->node[0]].out[0];
    k.p.n_in = outside(r, c, k.in, MAX_INPUTS);
    if (k.p.n_in < 1 || k.p.n_in > MAX_INPUTS)
        return;
    for (uint32_t i = 1; i < c->n; i++) { /* graph order: ids ascend from producers to users */
        IrNodeId n = c->node[i];
        uint32_t at = i;
        for (; at > 0 && c->node[at - 1] > n; at--)
            c->node[at] = c->node[at - 1];
        c->node[at] = n;
    }
    Pattern p = {.n = 0};
    for (uint32_t i = 0; i < k.p.n_in; i++)
        if (!tni_pass_fits(r, k.in[i], out))
            return;
    for (uint32_t i = 0; i < c->n && k.ok; i++) {
        code_node(r, &k, &r->g->nodes[c->node[i]]);
        tni_pattern_add(r, &p, r->g->nodes[c->node[i]].out[0]);
    }
    if (!k.ok)
        return;
    tni_pass_replace(r, out, tni_pass_add(r, TN_OP_pointwise, tni_pattern_name(r, &p), &k.p, k.in, k.p.n_in));
}

TnStatus tni_pass_pointwise(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    *changed = 0;
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        Rewriter r;
        TN_TRY(tni_pass_begin(&r, m, m->graphs[i], pc, err));
        tni_pass_mark_exact(&r);
        for (uint32_t n = r.g->n_nodes; n-- > 0 && r.st == TN_OK;) {
            if (!eligible(&r, &r.g->nodes[n]))
                continue;
            Chain c = {.n = 1};
            c.node[0] = n;
            grow_chain(&r, &c);
            if (c.n > 1)
                fuse(&r, &c);
        }
        TN_TRY(tni_pass_end(&r));
        *changed += r.changed;
    }
    return TN_OK;
}
