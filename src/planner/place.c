/* SPDX-License-Identifier: Apache-2.0
 *
 * Where steps run and values lie. In: graphs in order. Out: every node on the host or the device, copies where a value is read in the other
 * memory (one a value, before its first reader), constants that both read twice in the graph (once in the file).
 *
 * A step goes to the device when a kernel there supports it. Exceptions: what decides shapes and addresses (tni_op_host_inputs, conditions,
 * what host steps read) is computed on the host as far up as it is small; small results of values that are on the host anyway stay there;
 * called graphs take and give host memory; states lie on the device when every step that reads or writes them in place runs there. */
#include "base/dtype.h"
#include "planner/internal.h"

#include <stdio.h>

/* Elements of what may be computed on the host for the sake of shapes, and of what it may be computed from. */
enum { SMALL_RESULT = 4096, SMALL_FLOATS = 64, SMALL_OPERAND = 65536, MOST_NAMED = 6 };

typedef struct Placer {
    Pn *pn;
    PnGraph *pg;
    bool called; /* some control node runs this graph */
    uint8_t *can;  /* [n_nodes]: a kernel of the device supports it */
    uint8_t *wish; /* [n_values]: HOST_READS, DEVICE_READS, NEEDED */
    IrValueId *copy; /* [n_values]: its copy in the other memory, TN_NO_VALUE: none */
    uint32_t *before; /* [nodes added]: node that the copy goes in front of */
    uint32_t n_added, cap_added;
    uint32_t n_nodes, cap_values;
} Placer;

static uint32_t memory_of(const IrNode *n, uint32_t i, uint32_t on) {
    return i < 32 && (tni_op_host_inputs(n->op) >> i & 1u) ? TN_DEVICE_CPU : on;
}

bool tni_planner_is_transfer(const PnGraph *pg, uint32_t k) {
    const IrNode *n = &pg->g->nodes[k];
    return n->op == TN_OP_copy && pg->home[n->in[0]] != pg->home[n->out[0]];
}

/* ---- what the device can do ---- */

static TnStatus device_can(Pn *pn, const PnGraph *pg, uint32_t k, uint8_t *can, TnError *err) {
    const IrGraph *g = pg->g;
    const IrNode *n = &g->nodes[k];
    TnTensor *t;
    *can = 0;
    if (tni_op_info(n->op)->flags & TN_OPF_CONTROL)
        return TN_OK;
    PN_ALLOC(pn, t, (size_t)n->n_in + n->n_out, err);
    for (uint32_t i = 0; i < n->n_in + n->n_out; i++) {
        IrValueId v = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        if (v == TN_NO_VALUE)
            continue;
        tni_planner_dims(pn, &g->values[v], &t[i]);
        if (g->values[v].kind == IR_CONST)
            t[i].data = (void *)(uintptr_t)g->values[v].data; /* a view: nobody writes through it */
    }
    TnKernelQuery q = {n->op, n->params, t, n->n_in, t + n->n_in, n->n_out, pn->n_threads, NULL};
    tni_planner_query_on(pn, TN_DEVICE_CUDA, &q);
    *can = tni_precision_device_computes(&q, pn->o->lib, pn->o->math);
    for (uint32_t i = 0; i < pn->o->n_extra && !*can; i++)
        *can = tni_precision_kernel_fits(&pn->o->extra[i], &q, pn->o->lib, pn->o->math);
    return TN_OK;
}

static int64_t elements(const Pn *pn, const IrValue *v) {
    TnTensor t;
    tni_planner_dims(pn, v, &t);
    return tn_tensor_numel(&t);
}

/* Results so small, of operands so small, that the host may compute them. CPU kernels of fused operators know float32 only. */
static bool is_small(const Pn *pn, const IrGraph *g, const IrNode *n) {
    for (uint32_t i = 0; i < n->n_out; i++) {
        if (n->out[i] == TN_NO_VALUE)
            continue;
        const IrValue *v = &g->values[n->out[i]];
        if (v->dtype == TN_F16 || v->dtype == TN_BF16 || elements(pn, v) > (tni_dtype_is_float(v->dtype) ? SMALL_FLOATS : SMALL_RESULT))
            return false;
    }
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (n->in[i] == TN_NO_VALUE)
            continue;
        const IrValue *v = &g->values[n->in[i]];
        if (v->dtype == TN_F16 || v->dtype == TN_BF16 || (v->kind != IR_CONST && elements(pn, v) > SMALL_OPERAND))
            return false;
    }
    return !(tni_op_info(n->op)->flags & (TN_OPF_STATE | TN_OPF_DATA_SHAPE));
}

/* ---- decisions ---- */

enum { HOST_READS = 1, DEVICE_READS = 2, NEEDED = 4 /* by the host, to know shapes, addresses or the way */ };

/* Who reads what; what is needed stays marked. */
static void read_marks(Placer *p) {
    const IrGraph *g = p->pg->g;
    for (uint32_t v = 0; v < g->n_values; v++)
        p->wish[v] &= NEEDED;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        const bool control = (tni_op_info(n->op)->flags & TN_OPF_CONTROL) != 0;
        for (uint32_t i = 0; i < n->n_in; i++) {
            if (n->in[i] == TN_NO_VALUE)
                continue;
            const bool host = memory_of(n, i, p->pg->on[k]) == TN_DEVICE_CPU;
            p->wish[n->in[i]] |= host ? HOST_READS : DEVICE_READS;
            if (memory_of(n, i, TN_DEVICE_CUDA) == TN_DEVICE_CPU || (control && i < 2))
                p->wish[n->in[i]] |= NEEDED;
        }
    }
}

/* What the host needs is computed there, as far up as it is small. Nodes are in order: one walk backwards goes all the way. */
static bool pull_back(Placer *p) {
    const IrGraph *g = p->pg->g;
    bool changed = false;
    for (uint32_t k = g->n_nodes; k-- > 0;) {
        const IrNode *n = &g->nodes[k];
        bool needed = false;
        for (uint32_t i = 0; i < n->n_out; i++)
            needed |= n->out[i] != TN_NO_VALUE && (p->wish[n->out[i]] & NEEDED);
        if (!needed || (tni_op_info(n->op)->flags & TN_OPF_CONTROL) || !is_small(p->pn, g, n))
            continue;
        changed |= p->pg->on[k] != TN_DEVICE_CPU;
        p->pg->on[k] = TN_DEVICE_CPU;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (n->in[i] != TN_NO_VALUE)
                p->wish[n->in[i]] |= NEEDED;
    }
    return changed;
}

static bool makes_floats(const IrGraph *g, const IrNode *n) {
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i] != TN_NO_VALUE && tni_dtype_is_float(g->values[n->out[i]].dtype))
            return true;
    return false;
}

/* Small integers of values that the host makes stay there: the copy then happens once, later. (Operands that are host memory anyway do not
 * count: a fill or a range of sizes made on the device needs no copy at all.) */
static bool push_on(Placer *p) {
    const IrGraph *g = p->pg->g;
    bool changed = false;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        bool some = false, all = true;
        for (uint32_t i = 0; i < n->n_in; i++) {
            const IrValue *v = n->in[i] == TN_NO_VALUE ? NULL : &g->values[n->in[i]];
            if (!v || v->kind == IR_CONST || memory_of(n, i, TN_DEVICE_CUDA) == TN_DEVICE_CPU)
                continue;
            bool host = v->kind == IR_NODE_OUTPUT && p->pg->on[v->producer] == TN_DEVICE_CPU;
            some |= host;
            all &= host;
        }
        if (p->pg->on[k] == TN_DEVICE_CPU || !some || !all || makes_floats(g, n) || !is_small(p->pn, g, n))
            continue;
        p->pg->on[k] = TN_DEVICE_CPU;
        changed = true;
    }
    return changed;
}

static void decide(Placer *p, bool states_on_device) {
    const IrGraph *g = p->pg->g;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        bool state = (tni_op_info(g->nodes[k].op)->flags & TN_OPF_STATE) != 0;
        p->pg->on[k] = p->can[k] && (!state || states_on_device) ? TN_DEVICE_CUDA : TN_DEVICE_CPU;
    }
    for (bool changed = true; changed;) {
        read_marks(p);
        changed = pull_back(p);
        changed |= push_on(p);
    }
    read_marks(p);
}

/* Is this the host's business: small integers, or small numbers that it needs? */
static bool is_for_host(const Placer *p, const IrNode *n) {
    bool all = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        all &= n->out[i] == TN_NO_VALUE || (p->wish[n->out[i]] & NEEDED);
    return (all || !makes_floats(p->pg->g, n)) && is_small(p->pn, p->pg->g, n);
}

/* Steps that the host runs only because the device cannot; computations of shapes are the host's business. */
static uint32_t list_cpu_steps(const Placer *p, char *text, size_t cap, uint32_t seen) {
    const IrGraph *g = p->pg->g;
    uint32_t n = 0;
    for (uint32_t k = 0; k < g->n_nodes; k++) {
        const IrNode *x = &g->nodes[k];
        if (p->pg->on[k] != TN_DEVICE_CPU || p->can[k] || (tni_op_info(x->op)->flags & TN_OPF_CONTROL) || is_for_host(p, x))
            continue;
        size_t at = strlen(text);
        if (seen + n < MOST_NAMED && at + 100 < cap)
            snprintf(text + at, cap - at, "%s'%.60s' (%s)", at ? ", " : "", x->name, tni_op_info(x->op)->name);
        n++;
    }
    return n;
}

/* ---- memory ---- */

static void find_homes(Placer *p, bool states_on_device) {
    PnGraph *pg = p->pg;
    const IrGraph *g = pg->g;
    for (uint32_t v = 0; v < g->n_values; v++) {
        const IrValue *x = &g->values[v];
        if (x->kind == IR_NODE_OUTPUT)
            pg->home[v] = pg->on[x->producer];
        else if (x->kind == IR_INPUT && tni_planner_is_state(x->name))
            pg->home[v] = states_on_device ? TN_DEVICE_CUDA : TN_DEVICE_CPU;
        else if (p->called && x->kind == IR_INPUT)
            pg->home[v] = TN_DEVICE_CPU;
        else
            pg->home[v] = (p->wish[v] & (HOST_READS | DEVICE_READS)) == DEVICE_READS ? TN_DEVICE_CUDA : TN_DEVICE_CPU;
    }
    for (uint32_t i = 0; i < g->n_outputs; i++)
        if (g->values[g->outputs[i]].kind == IR_CONST)
            pg->home[g->outputs[i]] = TN_DEVICE_CPU;
}

/* Value v in `memory`, made in front of node k if need be. */
static TnStatus bring(Placer *p, IrValueId v, uint32_t memory, uint32_t k, IrValueId *out, TnError *err) {
    Pn *pn = p->pn;
    IrGraph *g = p->pg->g;
    const bool is_state = tni_planner_is_state(g->values[v].name); /* changes between readers: a copy for each */
    *out = v;
    if (p->pg->home[v] == memory)
        return TN_OK;
    if (p->copy[v] != TN_NO_VALUE && !is_state) {
        *out = p->copy[v];
        return TN_OK;
    }
    const char *name = tni_arena_printf(pn->m->arena, "%s@%s%s", g->values[v].name, memory == TN_DEVICE_CPU ? "host" : pn->o->lib->name,
                                        is_state ? tni_arena_printf(pn->m->arena, ".%u", k) : "");
    IrValueId made;
    if (!name)
        return TN_OOM(err, 64);
    if (g->values[v].kind == IR_CONST) {
        TnTensor t;
        if (!tni_ir_tensor(pn->m, g, v, &t))
            return TN_RAISE(err, TN_ERR_INTERNAL, "constant '%s' has dims that are no numbers", g->values[v].name);
        TN_TRY(tni_ir_const_add(pn->m, g, name, t.dtype, t.rank, t.dims, t.data, &made, err));
    } else {
        TN_TRY(tni_ir_node_add(pn->m, g, TN_OP_copy, g->values[v].name, NULL, &v, 1, &name, 1, &made, err));
        IrValue *x = &g->values[v], *y = &g->values[made];
        y->dtype = x->dtype;
        y->rank = x->rank;
        memcpy(y->dims, x->dims, sizeof y->dims);
        if (!TN_RESERVE_ONE(pn->arena, p->before, p->n_added, p->cap_added))
            return TN_OOM(err, sizeof *p->before);
        p->before[p->n_added++] = k;
    }
    p->pg->home[made] = (uint8_t)memory;
    p->copy[v] = made;
    *out = made;
    return TN_OK;
}

static TnStatus add_copies(Placer *p, bool states_on_device, TnError *err) {
    IrGraph *g = p->pg->g;
    for (uint32_t k = 0; k < p->n_nodes; k++) {
        for (uint32_t i = 0; i < g->nodes[k].n_in; i++) {
            IrValueId v = g->nodes[k].in[i];
            if (v == TN_NO_VALUE)
                continue;
            TN_TRY(bring(p, v, memory_of(&g->nodes[k], i, p->pg->on[k]), k, &v, err));
            g->nodes[k].in[i] = v;
        }
    }
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        IrValueId v = g->outputs[i], to;
        bool state = tni_planner_is_state(g->values[v].name);
        if (v >= p->cap_values || (!state && !p->called) || (state && g->values[v].kind == IR_INPUT))
            continue;
        TN_TRY(bring(p, v, state && states_on_device ? TN_DEVICE_CUDA : TN_DEVICE_CPU, p->n_nodes, &to, err));
        if (to == v)
            continue;
        const char *name = g->values[v].name;
        g->values[v].name = g->values[to].name;
        g->values[to].name = name;
        for (uint32_t o = i; o < g->n_outputs; o++)
            if (g->outputs[o] == v)
                g->outputs[o] = to;
    }
    return TN_OK;
}

/* Host steps that need nothing of the device, and may run before it is started: those that only prepare. The walk is in order. */
static TnStatus find_first(Placer *p, uint8_t *first, TnError *err) {
    const IrGraph *g = p->pg->g;
    uint8_t *late; /* values made by the device, or after it */
    PN_ALLOC(p->pn, late, g->n_values, err);
    for (uint32_t k = 0; k < p->n_nodes; k++) {
        const IrNode *n = &g->nodes[k];
        first[k] = p->pg->on[k] == TN_DEVICE_CPU && !(tni_op_info(n->op)->flags & (TN_OPF_CONTROL | TN_OPF_STATE));
        for (uint32_t i = 0; i < n->n_in && first[k]; i++)
            if (n->in[i] != TN_NO_VALUE)
                first[k] = !late[n->in[i]] && (g->values[n->in[i]].kind != IR_NODE_OUTPUT || g->values[n->in[i]].producer < p->n_nodes);
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i] != TN_NO_VALUE)
                late[n->out[i]] = !first[k];
    }
    return TN_OK;
}

/* Host steps that only prepare come first, so that what follows can be started as a whole; copies, appended so far, go in front of their first
 * readers. */
static TnStatus reorder(Placer *p, TnError *err) {
    PnGraph *pg = p->pg;
    IrGraph *g = pg->g;
    IrNode *nodes;
    uint8_t *on, *first;
    uint32_t n = 0, added = 0;
    PN_ALLOC(p->pn, nodes, g->n_nodes, err);
    PN_ALLOC(p->pn, on, g->n_nodes, err);
    PN_ALLOC(p->pn, first, g->n_nodes, err);
    TN_TRY(find_first(p, first, err));
    for (uint32_t k = 0; k < p->n_nodes; k++) {
        if (first[k]) {
            nodes[n] = g->nodes[k];
            on[n++] = TN_DEVICE_CPU;
        }
    }
    for (uint32_t k = 0; k <= p->n_nodes; k++) {
        for (; added < p->n_added && p->before[added] == k; added++) {
            nodes[n] = g->nodes[p->n_nodes + added];
            on[n++] = TN_DEVICE_CUDA;
        }
        if (k < p->n_nodes && !first[k]) {
            nodes[n] = g->nodes[k];
            on[n++] = pg->on[k];
        }
    }
    memcpy(g->nodes, nodes, n * sizeof *nodes);
    pg->on = on;
    for (uint32_t k = 0; k < n; k++)
        for (uint32_t i = 0; i < g->nodes[k].n_out; i++)
            if (g->nodes[k].out[i] != TN_NO_VALUE)
                g->values[g->nodes[k].out[i]].producer = k;
    return TN_OK;
}

static TnStatus placer_create(Pn *pn, uint32_t i, Placer *p, TnError *err) {
    PnGraph *pg = &pn->graphs[i];
    const IrGraph *g = pg->g;
    p->pn = pn;
    p->pg = pg;
    p->n_nodes = g->n_nodes;
    p->cap_values = g->n_values;
    /* Every value may get a twin; states one for each reader. */
    size_t most = 2 * (size_t)g->n_values;
    for (uint32_t k = 0; k < g->n_nodes; k++)
        most += g->nodes[k].n_in;
    PN_ALLOC(pn, pg->on, g->n_nodes, err);
    PN_ALLOC(pn, pg->home, most, err);
    if (!pn->o->lib)
        return TN_OK;
    PN_ALLOC(pn, p->can, g->n_nodes, err);
    PN_ALLOC(pn, p->wish, g->n_values, err);
    PN_ALLOC(pn, p->copy, g->n_values, err);
    memset(p->copy, 0xff, g->n_values * sizeof *p->copy);
    for (uint32_t k = 0; k < g->n_nodes; k++)
        TN_TRY(device_can(pn, pg, k, &p->can[k], err));
    return TN_OK;
}

static TnStatus refuse_cpu_steps(const Pn *pn, const Placer *p, TnError *err) {
    char text[700] = "";
    uint32_t n = 0;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        n += list_cpu_steps(&p[i], text, sizeof text, n);
    if (n == 0)
        return TN_OK;
    const char *more = n > MOST_NAMED ? ", ..." : "";
    if (pn->o->allow_cpu_steps) {
        tni_log(pn->o->log, TN_LOG_WARNING, "%u steps have no kernel for %s and run on the CPU: %s%s", n, pn->o->lib->name, text, more);
        return TN_OK;
    }
    return TN_RAISE(err, TN_ERR_REQUEST, "%u steps have no kernel for %s; allow them on the CPU (--allow-cpu-steps) or build for the CPU: %s%s",
                    n, pn->o->lib->name, text, more);
}

static void find_called(const Pn *pn, Placer *p) {
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        const IrGraph *g = pn->graphs[i].g;
        for (uint32_t k = 0; k < g->n_nodes; k++) {
            if (!(tni_op_info(g->nodes[k].op)->flags & TN_OPF_CONTROL))
                continue;
            const TnControlParams *c = g->nodes[k].params;
            p[c->graph[0]].called = true;
            if (g->nodes[k].op == TN_OP_if_)
                p[c->graph[1]].called = true;
        }
    }
}

TnStatus tni_planner_place(Pn *pn, TnError *err) {
    Placer *p;
    bool states = false, states_on_device = true;
    PN_ALLOC(pn, p, pn->m->n_graphs, err);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        TN_TRY(placer_create(pn, i, &p[i], err));
    if (!pn->o->lib)
        return TN_OK;
    find_called(pn, p);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        for (uint32_t k = 0; k < p[i].n_nodes; k++) {
            if (!(tni_op_info(p[i].pg->g->nodes[k].op)->flags & TN_OPF_STATE))
                continue;
            states = true;
            states_on_device &= p[i].can[k] != 0;
        }
    }
    states_on_device &= states;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        decide(&p[i], states_on_device);
    TN_TRY(refuse_cpu_steps(pn, p, err));
    pn->steps_all = 0;
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        find_homes(&p[i], states_on_device);
        TN_TRY(add_copies(&p[i], states_on_device, err));
        TN_TRY(reorder(&p[i], err));
        PN_ALLOC(pn, pn->graphs[i].choice, pn->graphs[i].g->n_nodes, err);
        pn->steps_all += pn->graphs[i].g->n_nodes;
    }
    return TN_OK;
}
