/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside of the importer: what the phases share.
 *
 *     parse (model.c) -> check (check.c: versions, recursion, size, unsupported operators) -> build (import.c)
 *       build a graph (scope.c): declare names -> order nodes -> for each node: function call (function.c), or a row of the operator table
 *       (rows.inc) whose converter (convert_*.c) emits IR nodes; If and Loop (convert_control.c) build their bodies the same way.
 *
 * A scope is one GraphProto or function body being built into one IR graph (its target). Function bodies are inlined: their scope has the
 * caller's target. Subgraphs have targets of their own; names from outside become constants or extra inputs there. */
#ifndef TENON_ONNX_IMPORT_H
#define TENON_ONNX_IMPORT_H

#include "onnx/model.h"
#include "onnx/onnx.h"
#include "onnx/tensor.h"

#define ONNX_MIN_OPSET 1
#define ONNX_MAX_OPSET 28
#define ONNX_MIN_IR 3
#define ONNX_MAX_IR 14

/* What the importer knows of a value before shape inference; enough to translate old operators. */
typedef struct OnnxKnown {
    TnDtype dtype; /* TN_UNDEFINED: unknown */
    int32_t rank;  /* -1: unknown */
    int32_t len;   /* elements of a rank-1 tensor, -1: unknown */
    int32_t value; /* of an integer tensor with one element, when not negative; -1: unknown */
} OnnxKnown;

/* An IR graph that is being filled. */
typedef struct OnnxTarget {
    IrModule *m;
    IrGraph *g;
    IrGraphId id;
    OnnxMap used;     /* value names taken: name -> next suffix */
    OnnxKnown *known; /* [value id] */
    uint32_t n_known, cap_known;
} OnnxTarget;

typedef struct OnnxImport {
    IrModule *m;
    TnArena *arena;   /* the module's: what the result needs */
    TnArena *scratch; /* dies with the import */
    OnnxModel model;
    OnnxFiles *files;
    const TnLog *log;
    uint64_t max_nodes;
} OnnxImport;

typedef enum OnnxBindKind { ONNX_BIND_PENDING, ONNX_BIND_VALUE, ONNX_BIND_TENSOR, ONNX_BIND_STRING, ONNX_BIND_SEQUENCE } OnnxBindKind;

/* A sequence whose elements are known at import, or an empty optional. */
typedef struct OnnxSequence {
    IrValueId *items;
    uint32_t n;
    bool none; /* an optional without a value */
} OnnxSequence;

/* What a name stands for in a scope. */
typedef struct OnnxBind {
    OnnxName name;
    OnnxBindKind kind;
    uint32_t producer;   /* node index, UINT32_MAX: an input or initializer */
    uint32_t uses;       /* operands and graph outputs that name it */
    IrValueId value;     /* ONNX_BIND_VALUE; TN_NO_VALUE: an absent optional function input */
    OnnxTensor *tensor;  /* ONNX_BIND_TENSOR: an initializer that nobody has used yet */
    const char *ir_name; /* of the value in the target */
    const OnnxSequence *sequence; /* ONNX_BIND_SEQUENCE */
} OnnxBind;

typedef struct OnnxScope {
    OnnxImport *imp;
    const OnnxGraph *graph;
    OnnxTarget *target;
    const OnnxOpsets *opsets;      /* of the function, or the model's */
    const struct OnnxFunction *fn; /* function whose body this is or lies in, NULL: none */
    const OnnxAttr *args;          /* the attributes of the call of fn, resolved */
    uint32_t n_args;
    const char *prefix; /* of names: "" or "caller/" */
    uint32_t depth;
    OnnxMap map; /* name -> index into bind */
    OnnxBind *bind;
    uint32_t n_bind, cap_bind;
    uint32_t *order;  /* [graph->n_nodes] */
    uint32_t current; /* node being converted, for diagnostics */
} OnnxScope;

/* One node being converted. */
typedef struct OnnxCall {
    OnnxScope *scope;
    OnnxImport *imp;
    const OnnxNode *node;
    const char *op;   /* op_type */
    const char *name; /* with prefix; never empty */
    int64_t opset;    /* of the node's domain */
    uint32_t arg;     /* of the table's row */
    IrValueId *in;
    uint32_t n_in;          /* without trailing absent ones */
    const char **out_names; /* [n_out]; "": nobody wants it */
    IrValueId *out;         /* [n_out], filled by the converter */
    uint32_t n_out;
    const OnnxAttr *attrs; /* references resolved */
    uint32_t n_attrs;
    uint64_t attrs_read; /* bit i: attribute i (of the first 64) was looked at */
    TnError *err;
} OnnxCall;

typedef TnStatus (*OnnxConvertFn)(OnnxCall *c);

/* A row of the operator table: what rows.inc says, parsed. */
typedef struct OnnxRow {
    const char *domain, *op_type;
    int32_t min_opset, max_opset;
    uint32_t min_in, max_in; /* the first min_in operands must be there; max_in UINT32_MAX: any number */
    uint32_t max_out;
    OnnxConvertFn fn;
    uint32_t arg;
} OnnxRow;

/* rows.c. The row for an operator at an opset; NULL: none. *any (may be NULL): some row of the same name, whatever its versions. */
const OnnxRow *tni_onnx_row_find(const char *domain, const char *op_type, int64_t opset, const OnnxRow **any);

/* check.c. Everything that can be refused before work begins. Errors: VERSION, UNSUPPORTED, LIMIT, GRAPH (recursion). */
TnStatus tni_onnx_check(OnnxImport *imp, TnError *err);

/* scope.c */
TnStatus tni_onnx_find_free_names(OnnxImport *imp, TnError *err);
/* Binds the graph's names; counts uses; orders the nodes. Subgraphs: names of graph->free must be bound with tni_onnx_scope_bind first. */
TnStatus tni_onnx_scope_begin(OnnxScope *s, TnError *err);
TnStatus tni_onnx_scope_bind(OnnxScope *s, OnnxName name, const OnnxBind *from, TnError *err);
/* Converts all nodes of the scope, in order. */
TnStatus tni_onnx_scope_run(OnnxScope *s, TnError *err);
/* Operand i of a node as a sequence; NULL: it is none. */
const OnnxSequence *tni_onnx_in_sequence(const OnnxCall *c, uint32_t i);
OnnxBind *tni_onnx_scope_find(OnnxScope *s, OnnxName name); /* NULL: unknown here */
/* The value that a name stands for (an initializer becomes a constant); `what` and `who` are for the message. */
TnStatus tni_onnx_scope_value(OnnxScope *s, OnnxName name, const char *who, IrValueId *out, TnError *err);
/* Adds the graph's outputs to the target, each under its own name. */
TnStatus tni_onnx_scope_outputs(OnnxScope *s, TnError *err);
TnStatus tni_onnx_order_nodes(OnnxScope *s, TnError *err); /* order.c */
/* "prefix" + the node's name, or prefix + OpType_index. */
TnStatus tni_onnx_node_name(OnnxScope *s, uint32_t index, const char **out, TnError *err);
/* A name that no value of the target has yet, base or base_2, ...; it is taken. */
TnStatus tni_onnx_unique(OnnxImport *imp, OnnxTarget *t, const char *base, const char **out, TnError *err);
TnStatus tni_onnx_target_create(OnnxImport *imp, const char *name, OnnxTarget **out, TnError *err);
/* A graph input of the target with what is known of it. */
TnStatus tni_onnx_target_input(OnnxImport *imp, OnnxTarget *t, const char *name, OnnxKnown k, IrValueId *out, TnError *err);
/* An initializer as a constant of the target. ir_name: taken before. */
TnStatus tni_onnx_target_tensor(OnnxImport *imp, OnnxTarget *t, OnnxTensor *tensor, const char *ir_name, IrValueId *out, TnError *err);

/* function.c. Inlines the call c of a function. */
TnStatus tni_onnx_call_function(OnnxCall *c, const struct OnnxFunction *fn);

/* known.c. Facts of a value, and of the outputs of a node that was just added. */
OnnxKnown tni_onnx_known(const OnnxTarget *t, IrValueId v);
TnStatus tni_onnx_known_set(OnnxImport *imp, OnnxTarget *t, IrValueId v, OnnxKnown k, TnError *err);
TnStatus tni_onnx_known_node(OnnxImport *imp, OnnxTarget *t, TnOp op, const void *params, const IrValueId *in, uint32_t n_in,
                             const IrValueId *out, uint32_t n_out, TnError *err);

#endif
