/* SPDX-License-Identifier: Apache-2.0
 *
 * An ONNX file as structs: views into the bytes, made once, in an arena. Names are interned; tensor payloads stay where they are until
 * somebody asks for them (tensor.c). Only the wire format and what one message can know is checked here; the graph is checked in scope.c
 * and check.c. */
#ifndef TENON_ONNX_MODEL_H
#define TENON_ONNX_MODEL_H

#include "base/span.h"
#include "onnx/names.h"
#include "onnx/wire.h"

#define ONNX_MAX_DEPTH 64   /* nesting of subgraphs and function calls */
#define ONNX_MAX_NAME 4096u /* bytes of one name */
#define ONNX_MAX_ATTRS 64u  /* attributes of one node */
#define ONNX_DEFAULT_NODES 1000000u

struct OnnxGraph;

/* TensorProto. */
typedef struct OnnxTensor {
    OnnxName name;
    int32_t data_type; /* as in the file; may be none of TnDtype */
    uint32_t rank;     /* may exceed TN_MAX_RANK; then dims holds the first ones */
    int64_t dims[TN_MAX_RANK];
    TnSpan message; /* the whole TensorProto */
    TnSpan raw;
    bool has_raw, segmented, external;
    uint32_t typed_field; /* field number of the typed payload (float_data, ...), 0: none */
    uint64_t typed_count; /* elements in it */
    TnSpan location;      /* external data */
    uint64_t ext_offset, ext_length;
    bool has_location, has_length;
    uint64_t at;
    const void *data; /* once asked for: dense bytes (NULL for no elements) */
    bool ready;
} OnnxTensor;

typedef enum OnnxAttrKind {
    ONNX_ATTR_UNDEFINED,
    ONNX_ATTR_FLOAT,
    ONNX_ATTR_INT,
    ONNX_ATTR_STRING,
    ONNX_ATTR_TENSOR,
    ONNX_ATTR_GRAPH,
    ONNX_ATTR_FLOATS,
    ONNX_ATTR_INTS,
    ONNX_ATTR_STRINGS,
    ONNX_ATTR_TENSORS,
    ONNX_ATTR_GRAPHS,
    ONNX_ATTR_SPARSE_TENSOR,
    ONNX_ATTR_SPARSE_TENSORS,
    ONNX_ATTR_TYPE,
    ONNX_ATTR_TYPES,
    ONNX_ATTR_COUNT
} OnnxAttrKind;

/* AttributeProto. */
typedef struct OnnxAttr {
    OnnxName name;
    OnnxName ref; /* in a function: the function's attribute that this one stands for; 0: none */
    OnnxAttrKind kind;
    float f;
    int64_t i;
    TnSpan s;
    OnnxTensor *t;
    struct OnnxGraph *g;
    float *floats;
    int64_t *ints;
    TnSpan *strings; /* [n_strings] */
    uint32_t n_floats, n_ints, n_strings;
    uint64_t at;
} OnnxAttr;

/* NodeProto. */
typedef struct OnnxNode {
    OnnxName name, op_type, domain, overload;
    OnnxName *in, *out; /* 0: absent */
    OnnxAttr *attrs;
    uint32_t n_in, n_out, n_attrs;
    uint64_t at;
} OnnxNode;

typedef enum OnnxIoType { ONNX_IO_NONE, ONNX_IO_TENSOR, ONNX_IO_SEQUENCE, ONNX_IO_MAP, ONNX_IO_SPARSE, ONNX_IO_OPTIONAL } OnnxIoType;

/* ValueInfoProto with its TypeProto. */
typedef struct OnnxIo {
    OnnxName name;
    OnnxIoType type;
    int32_t elem_type;
    bool has_shape;
    uint32_t rank; /* may exceed TN_MAX_RANK */
    struct {
        int64_t value;  /* when has_value */
        OnnxName param; /* 0: none */
        bool has_value;
    } dims[TN_MAX_RANK];
    uint64_t at;
} OnnxIo;

/* GraphProto, or the body of a FunctionProto (whose inputs and outputs have no types). */
typedef struct OnnxGraph {
    OnnxName name;
    OnnxNode *nodes;
    OnnxTensor *tensors; /* initializers */
    OnnxIo *inputs, *outputs;
    uint32_t n_nodes, n_tensors, n_inputs, n_outputs;
    uint32_t n_sparse; /* sparse initializers */
    OnnxName *free;    /* names that the nodes and outputs of a subgraph take from the graphs around it */
    uint32_t n_free;
    uint64_t at;
} OnnxGraph;

typedef struct OnnxOpset {
    OnnxName domain; /* "ai.onnx" is stored as "" */
    int64_t version;
} OnnxOpset;

typedef struct OnnxOpsets {
    OnnxOpset *items;
    uint32_t n;
} OnnxOpsets;

/* FunctionProto. */
typedef struct OnnxFunction {
    OnnxName name, domain, overload;
    OnnxGraph body;
    OnnxName *attrs;    /* without a default */
    OnnxAttr *defaults; /* with one */
    uint32_t n_attrs, n_defaults;
    OnnxOpsets opsets;
    uint32_t next; /* function of the same name, UINT32_MAX: none */
    uint64_t at;
} OnnxFunction;

typedef struct OnnxModel {
    TnSpan file;
    OnnxNames names;
    int64_t ir_version;
    OnnxOpsets opsets;
    TnSpan producer, producer_version;
    OnnxGraph *graph;
    OnnxFunction *functions;
    uint32_t n_functions;
    OnnxMap function_by_name; /* name -> first of its functions */
    uint64_t n_nodes;         /* in the file, all graphs and functions */
} OnnxModel;

/* Reads a whole model; everything is allocated in `arena`. Errors: PARSE, GRAPH (a message lacks what it must have), LIMIT, MEMORY. */
TnStatus tni_onnx_model_parse(TnSpan file, TnArena *arena, uint64_t max_nodes, OnnxModel *out, TnError *err);
/* The model's function for a node, UINT32_MAX: none. */
uint32_t tni_onnx_function_find(const OnnxModel *m, OnnxName domain, OnnxName name, OnnxName overload);
/* Version of a domain, 0: not imported. */
int64_t tni_onnx_opset(const OnnxOpsets *o, OnnxName domain);
const char *tni_onnx_attr_kind_name(OnnxAttrKind kind);

/* tensor.c: one TensorProto, and its payload. */
TnStatus tni_onnx_tensor_parse(TnSpan message, OnnxNames *names, OnnxTensor *out, TnError *err);

#endif
