/* SPDX-License-Identifier: Apache-2.0
 *
 * The intermediate representation: a module of graphs; values and nodes are 32-bit ids into arrays, all memory is one arena.
 *
 * - A graph is a list of nodes in topological order (nodes[] order; verify checks it). Passes mark nodes dead and append new ones;
 *   tni_ir_compact restores order and drops the dead.
 * - Every value has one producer: a node, a graph input, or constant data.
 * - Subgraphs (if_, loop bodies) are closed: what they read from outside is passed as explicit extra operands of the control node and extra
 *   inputs of the subgraph, so no value id ever crosses graphs.
 *     if_:  in = cond, captures...            then/else inputs = captures...;                         outputs = node outputs
 *     loop: in = trip count | none, cond | none, carried..., captures...
 *           body inputs = iteration (i64 scalar), cond (bool scalar), carried..., captures...
 *           body outputs = cond, carried..., scan...;   node outputs = carried..., scan... (stacked on a new axis 0)
 * - Dims are ids of the module's expression table (kernel/dim.h): symbolic from import to run. */
#ifndef TENON_IR_GRAPH_H
#define TENON_IR_GRAPH_H

#include "base/base.h"
#include "kernel/dim.h"
#include "kernel/kernel.h"

#define TN_NO_VALUE UINT32_MAX /* an absent optional operand */
#define TN_NO_NODE UINT32_MAX

typedef uint32_t IrValueId;
typedef uint32_t IrNodeId;
typedef uint32_t IrGraphId;

typedef enum IrValueKind { IR_NODE_OUTPUT, IR_INPUT, IR_CONST } IrValueKind;

typedef struct IrValue {
    const char *name; /* unique in its graph; never NULL */
    IrValueKind kind;
    IrNodeId producer;  /* IR_NODE_OUTPUT */
    uint32_t out_index; /* which output of producer, or which graph input */
    TnDtype dtype;      /* TN_UNDEFINED: not inferred yet */
    int32_t rank;       /* -1: not inferred yet */
    TnDim dims[TN_MAX_RANK]; /* TN_DIM_NONE: unknown */
    const void *data;   /* IR_CONST: dense bytes (mapped file or arena); may be unaligned. NULL only when the tensor has no elements */
    const TnDim *elems; /* known contents of a small integer tensor (rank <= 1, <= TN_DIMS_MAX elements) as expressions, or NULL */
    uint32_t n_elems;
    const struct ShapeKnown *known; /* private to src/shape: contents known in part, of any rank, or fractions; NULL: none */
} IrValue;

typedef struct IrNode {
    TnOp op;
    bool dead;
    const char *name;   /* of the model's node; fused nodes: the names joined by '+', shortened; never NULL */
    void *params;       /* tni_op_info(op)->params_size bytes in the arena; owned by this node alone */
    IrValueId *in;      /* n_in; TN_NO_VALUE = absent */
    IrValueId *out;     /* n_out; TN_NO_VALUE = nobody wants it */
    uint32_t n_in, n_out;
} IrNode;

typedef struct IrGraph {
    const char *name;
    IrValue *values;
    IrNode *nodes;
    IrValueId *inputs, *outputs;
    uint32_t n_values, cap_values, n_nodes, cap_nodes, n_inputs, cap_inputs, n_outputs, cap_outputs;
} IrGraph;

typedef struct IrModule {
    TnArena *arena;
    IrGraph **graphs; /* graphs[0] is the main one for an ONNX model; named programs ("encoder", "decoder") for generation */
    uint32_t n_graphs, cap_graphs;
    TnDimExpr *exprs;
    TnSymbol *symbols;
    uint32_t n_exprs, cap_exprs, n_symbols, cap_symbols;
    uint32_t *expr_hash; /* open addressing, private to dims.c */
    uint32_t expr_hash_cap;
    bool dims_oom;      /* a dims.c call ran out of memory and gave TN_DIM_NONE; whoever builds dims checks it (tni_ir_dims_check) */
    uint32_t n_fresh;   /* counter of made-up value names */
    struct IrMeta { const char *key; const char *value; size_t n; } *meta; /* what the plan must carry besides code: generation config, image processor, vocabulary */
    uint32_t n_meta, cap_meta;
    void *keep;                 /* importer's mappings; released by keep_release */
    void (*keep_release)(void *keep);
} IrModule;

/* ---- building (graph.c). All fail only with TN_ERR_MEMORY or TN_ERR_LIMIT. ---- */
TnStatus tni_ir_module_create(const TnAllocator *a, IrModule **out, TnError *err);
void tni_ir_module_destroy(IrModule **m);
TnStatus tni_ir_graph_add(IrModule *m, const char *name, IrGraphId *out, TnError *err);
/* A graph input; name is copied; dtype and dims are filled in by the caller through g->values[*out]. */
TnStatus tni_ir_input_add(IrModule *m, IrGraph *g, const char *name, IrValueId *out, TnError *err);
/* A constant; data is NOT copied (must live as long as the module). dims are numbers. */
TnStatus tni_ir_const_add(IrModule *m, IrGraph *g, const char *name, TnDtype t, int32_t rank, const int64_t *dims, const void *data,
                          IrValueId *out, TnError *err);
/* As above with the data copied into the arena. name NULL: a fresh one. */
TnStatus tni_ir_const_copy(IrModule *m, IrGraph *g, const char *name, TnDtype t, int32_t rank, const int64_t *dims, const void *data,
                           IrValueId *out, TnError *err);
/* A node with copies of params (NULL: zeroed) and in; makes n_out fresh values named out_names[i] (NULL array or entry: fresh name;
 * entry "": nobody wants it -> TN_NO_VALUE). outs (may be NULL) receives the ids. The node goes to the end of the list. */
TnStatus tni_ir_node_add(IrModule *m, IrGraph *g, TnOp op, const char *name, const void *params, const IrValueId *in, uint32_t n_in,
                         const char *const *out_names, uint32_t n_out, IrValueId *outs, TnError *err);
TnStatus tni_ir_output_add(IrModule *m, IrGraph *g, IrValueId v, TnError *err);
TnStatus tni_ir_meta_set(IrModule *m, const char *key, const void *value, size_t n, TnError *err); /* copies */
const char *tni_ir_meta_get(const IrModule *m, const char *key, size_t *n);                          /* NULL: absent */

/* ---- dims (dims.c): hash-consed and simplified; TN_DIM_NONE in gives TN_DIM_NONE out; out of memory gives TN_DIM_NONE and sets
 * m->dims_oom, so that a whole sequence is checked once with tni_ir_dims_check. Simplification uses the symbols' ranges as they are
 * at that moment. Canonical: sums of products with integer coefficients; mod and ceildiv become floordiv. ---- */
TnStatus tni_ir_dims_check(IrModule *m, TnError *err); /* TN_ERR_MEMORY when one of the calls below ran out of memory since the last check */
TnDim tni_ir_dim_const(IrModule *m, int64_t v);
TnDim tni_ir_dim_symbol(IrModule *m, const char *name); /* finds or adds; range 1..INT64_MAX, opt 1 */
TnDim tni_ir_dim_op(IrModule *m, TnDimOp op, TnDim a, TnDim b);
TnDim tni_ir_dim_select(IrModule *m, TnDim cond, TnDim a, TnDim b);
bool tni_ir_dim_is_const(const IrModule *m, TnDim d, int64_t *value);
/* Proven equal for every value of the symbols (same id, or same canonical form). */
bool tni_ir_dim_equal(const IrModule *m, TnDim a, TnDim b);
/* Bounds over the symbols' ranges; INT64_MIN/MAX when unbounded. */
void tni_ir_dim_range(const IrModule *m, TnDim d, int64_t *min, int64_t *max);
/* A new data-dependent symbol "u0", "u1", ... with an upper bound (TN_DIM_NONE: unknown). */
TnDim tni_ir_dim_data(IrModule *m, TnDim bound);

/* ---- looking (graph.c) ---- */
bool tni_ir_is_const(const IrGraph *g, IrValueId v);
bool tni_ir_tensor(const IrModule *m, const IrGraph *g, IrValueId v, TnTensor *out); /* a constant as a tensor view; false: not a constant */
bool tni_ir_static_dims(const IrModule *m, const IrGraph *g, IrValueId v, int64_t *dims); /* false: some dim symbolic or unknown */
/* Users of every value: for value v the nodes users[first[v]] .. users[first[v + 1] - 1] (a node twice when it reads v twice).
 * Graph outputs are not listed; is_output tells. Valid until the graph changes. Arrays live in `scratch`. */
typedef struct IrUsers { const uint32_t *first; const IrNodeId *users; const uint8_t *is_output; } IrUsers;
TnStatus tni_ir_users(const IrGraph *g, TnArena *scratch, IrUsers *out, TnError *err);
/* Number of uses including being a graph output. */
uint32_t tni_ir_use_count(const IrUsers *u, IrValueId v);

/* ---- changing (graph.c) ---- */
/* All uses of `from` (operands and graph outputs) become `to`. A graph output keeps its name: the names of the two values are swapped
 * when from is an output and to is none. Where that would rename another public tensor (`to` is a graph input or already an output) the
 * outputs stay on `from`, whose producer must then live on (tni_ir_compact revives it when it was marked dead). */
void tni_ir_replace_uses(IrGraph *g, IrValueId from, IrValueId to);
/* Re-sorts nodes topologically (stable), drops dead nodes and values nobody refers to, renumbers ids. A dead node whose output a live
 * node or a graph output still reads is revived. TN_ERR_GRAPH on a cycle, naming a node on it. */
TnStatus tni_ir_compact(IrModule *m, IrGraph *g, TnError *err);

/* ---- checking and text ---- */
/* Structure: ids in range, one producer, topological order, operand counts and params against ops.inc, constants' sizes. */
TnStatus tni_ir_verify(const IrModule *m, TnError *err);
/* Text form to a callback; stable, parseable by a person. */
typedef void (*TnTextFn)(void *ctx, const char *text, size_t n);
void tni_ir_print(const IrModule *m, TnTextFn fn, void *ctx);
/* Attribute text of a node, "axis=1 eps=1e-05"; returns buf. */
char *tni_ir_params_str(TnOp op, const void *params, char *buf, size_t n);

#endif
