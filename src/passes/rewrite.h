/* SPDX-License-Identifier: Apache-2.0
 *
 * The tool all passes share: a graph with its users kept up to date while nodes come and go.
 *
 * - A rewriter belongs to one graph and one sweep. Values and nodes keep their ids until tni_pass_end, which compacts when something
 * changed.
 * - Errors stick: after a failure every call does nothing and returns TN_NO_VALUE / false; the sweep returns r->st. The module is then
 *   good only to be destroyed.
 * - Pointers to IrNode and IrValue die with the next tni_pass_add or constant; ids do not. */
#ifndef TENON_PASSES_REWRITE_H
#define TENON_PASSES_REWRITE_H

#include "passes/passes.h"

#define PASS_NONE UINT32_MAX

/* One operand of one node in the list of its value's users. */
typedef struct PassUse {
    IrNodeId node;
    uint32_t operand, next, prev;
} PassUse;

typedef struct Rewriter {
    IrModule *m;
    IrGraph *g;
    const PassContext *pc;
    TnArena *scratch;
    TnError *err;
    TnStatus st;
    uint32_t changed; /* rewrites so far */
    uint32_t *head;   /* [values] first use or PASS_NONE */
    uint32_t *count;  /* [values] uses as an operand */
    uint8_t *is_out;  /* [values] graph output */
    uint8_t *exact;   /* [values] bits reach a rounding to integers: see tni_pass_exact */
    uint32_t n_seen, cap_values;
    uint32_t *first; /* [nodes] slot of operand 0 in uses */
    uint32_t cap_nodes;
    PassUse *uses;
    uint32_t n_uses, cap_uses;
    IrValueId *work; /* values whose producers may have died */
    uint32_t n_work, cap_work;
} Rewriter;

/* Calls visit for every live node in order, new ones included; compacts; repeats until a sweep changes nothing or max_sweeps is reached.
 * Does so for every graph of m. *changed counts the rewrites (visitors add to r->changed). */
typedef void (*PassVisit)(Rewriter *r, IrNodeId n);
TnStatus tni_pass_sweep(IrModule *m, const PassContext *pc, PassVisit visit, uint32_t max_sweeps, uint32_t *changed, TnError *err);

/* For passes that look at a graph as a whole. end frees what begin made, also after a failure, and returns the first failure. */
TnStatus tni_pass_begin(Rewriter *r, IrModule *m, IrGraph *g, const PassContext *pc, TnError *err);
TnStatus tni_pass_end(Rewriter *r);

/* ---- changing ---- */
/* A node with one output, inferred; returns the value. params NULL: zeros. */
IrValueId tni_pass_add(Rewriter *r, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in);
/* As above with n_out outputs; want[i] false gives TN_NO_VALUE (want NULL: all wanted). */
bool tni_pass_add_multi(Rewriter *r, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in, const bool *want,
                        uint32_t n_out, IrValueId *outs);
/* All uses of from become to; counts one rewrite; nodes that nobody needs any more die. A graph output keeps its name (an identity node
 * stays where to is an input, a constant or an output itself). */
void tni_pass_replace(Rewriter *r, IrValueId from, IrValueId to);
/* Operand i of node n becomes v. Does not count as a rewrite. */
void tni_pass_set_in(Rewriter *r, IrNodeId n, uint32_t i, IrValueId v);
/* The value stays as it is but is not wanted by anybody: becomes TN_NO_VALUE in its node. */
void tni_pass_drop_output(Rewriter *r, IrNodeId n, uint32_t i);

/* ---- making ---- */
IrValueId tni_pass_const(Rewriter *r, TnDtype t, int32_t rank, const int64_t *dims, const void *data); /* copies */
IrValueId tni_pass_const_own(Rewriter *r, TnDtype t, int32_t rank, const int64_t *dims, const void *arena_data);
IrValueId tni_pass_scalar(Rewriter *r, TnDtype t, double v);
/* Memory for a big constant, in the module's arena. NULL: failed and noted in r. */
void *tni_pass_alloc(Rewriter *r, size_t bytes);
/* The dims as an int64 vector: a constant, or a `dims` node. */
IrValueId tni_pass_dims_value(Rewriter *r, const char *name, int32_t rank, const TnDim *dims);
/* x with other dims (of the same number of elements); x itself when they are equal already. */
IrValueId tni_pass_reshape(Rewriter *r, const char *name, IrValueId x, int32_t rank, const TnDim *dims);
IrValueId tni_pass_transpose(Rewriter *r, const char *name, IrValueId x, const uint8_t *perm);
IrValueId tni_pass_unary_node(Rewriter *r, const char *name, uint32_t fn, float alpha, IrValueId x);
IrValueId tni_pass_binary_node(Rewriter *r, const char *name, uint32_t fn, IrValueId a, IrValueId b);

/* Makes the tables cover values added to the graph by other means. */
bool tni_pass_see_values(Rewriter *r);
/* Notes a failure. */
void tni_pass_fail(Rewriter *r, TnStatus st);

#endif
