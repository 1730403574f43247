/* SPDX-License-Identifier: Apache-2.0
 *
 * ModelProto, GraphProto, NodeProto, AttributeProto, ValueInfoProto and FunctionProto to structs, see model.h. Every message is read
 * twice: once to count its repeated fields, so that arrays have their exact size, once to fill them. */
#include "onnx/model.h"

typedef struct Parser {
    TnArena *arena;
    OnnxModel *m;
    uint64_t max_nodes, n_tensors;
    uint32_t depth;
    TnError *err;
} Parser;

static TnStatus parse_graph(Parser *p, TnSpan s, OnnxGraph *g);

static void *alloc(Parser *p, size_t n, size_t size, TnStatus *st) {
    void *r = tni_arena_calloc(p->arena, n, size);
    if (r == NULL)
        *st = TN_OOM(p->err, n * size);
    return r;
}
/* Allocates an array of n elements into `ptr` or returns. */
#define ALLOC(p, ptr, n)                                                                                                                   \
    do {                                                                                                                                   \
        TnStatus alloc_st = TN_OK;                                                                                                         \
        (ptr) = alloc((p), (n), sizeof *(ptr), &alloc_st);                                                                                 \
        if ((ptr) == NULL)                                                                                                                 \
            return alloc_st;                                                                                                               \
    } while (0)

static TnStatus name_of(Parser *p, const OnnxField *f, const char *what, OnnxName *out) {
    TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, what, p->err));
    if (f->bytes.n > ONNX_MAX_NAME)
        return tni_raise_at(p->err, TN_ERR_LIMIT, f->at, "%s has %zu bytes, the most is %u", what, f->bytes.n, ONNX_MAX_NAME);
    if (f->bytes.n > 0 && memchr(f->bytes.p, 0, f->bytes.n) != NULL)
        return tni_raise_at(p->err, TN_ERR_PARSE, f->at, "%s holds a NUL byte", what);
    return tni_onnx_intern(&p->m->names, (const char *)f->bytes.p, f->bytes.n, out, p->err);
}

/* A domain; "ai.onnx" is another spelling of "". */
static TnStatus domain_of(Parser *p, const OnnxField *f, const char *what, OnnxName *out) {
    TN_TRY(name_of(p, f, what, out));
    if (strcmp(tni_onnx_text(&p->m->names, *out), "ai.onnx") == 0)
        *out = 0;
    return TN_OK;
}

static TnStatus message_of(Parser *p, const OnnxField *f, const char *what) {
    return tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, what, p->err);
}

static TnStatus int_of(Parser *p, const OnnxField *f, const char *what, int64_t *out) {
    TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_VARINT, what, p->err));
    *out = (int64_t)f->value;
    return TN_OK;
}

/* An int32 or enum: the low half of the varint, as protobuf does. */
static TnStatus int32_of(Parser *p, const OnnxField *f, const char *what, int32_t *out) {
    int64_t v = 0;
    TN_TRY(int_of(p, f, what, &v));
    *out = (int32_t)(uint32_t)(uint64_t)v;
    return TN_OK;
}

/* The next field; false at the end, or with *st set. */
static bool next(Parser *p, OnnxWire *w, OnnxField *f, TnStatus *st) {
    bool more = false;
    *st = tni_onnx_wire_next(w, f, &more, p->err);
    return *st == TN_OK && more;
}

/* ---- attributes ---- */

static const char *const kind_names[ONNX_ATTR_COUNT] = {"UNDEFINED",      "FLOAT",      "INT",        "STRING",  "TENSOR", "GRAPH",
                                                        "FLOATS",         "INTS",       "STRINGS",    "TENSORS", "GRAPHS", "SPARSE_TENSOR",
                                                        "SPARSE_TENSORS", "TYPE_PROTO", "TYPE_PROTOS"};

const char *tni_onnx_attr_kind_name(OnnxAttrKind kind) {
    return (unsigned)kind < ONNX_ATTR_COUNT ? kind_names[kind] : "unknown";
}

static TnStatus parse_attr_lists(Parser *p, TnSpan s, OnnxAttr *a) {
    uint64_t n_floats = 0, n_ints = 0;
    OnnxNumbers it;
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 7) {
            TN_TRY(tni_onnx_numbers(&f, ONNX_WIRE_FIXED32, "AttributeProto.floats", &it, p->err));
            n_floats += tni_onnx_numbers_count(&it);
        } else if (f.number == 8) {
            TN_TRY(tni_onnx_numbers(&f, ONNX_WIRE_VARINT, "AttributeProto.ints", &it, p->err));
            n_ints += tni_onnx_numbers_count(&it);
        }
    }
    TN_TRY(st);
    if (n_floats > UINT32_MAX || n_ints > UINT32_MAX)
        return tni_raise_at(p->err, TN_ERR_LIMIT, a->at, "an attribute holds more than %u numbers", UINT32_MAX);
    ALLOC(p, a->floats, (size_t)n_floats);
    ALLOC(p, a->ints, (size_t)n_ints);
    w = tni_onnx_wire(s);
    OnnxField g = {0};
    while (next(p, &w, &g, &st)) {
        if (g.number != 7 && g.number != 8)
            continue;
        TN_TRY(tni_onnx_numbers(&g, g.number == 7 ? ONNX_WIRE_FIXED32 : ONNX_WIRE_VARINT, "AttributeProto.ints", &it, p->err));
        for (bool more_numbers = true;;) {
            uint64_t v = 0;
            TN_TRY(tni_onnx_numbers_next(&it, &v, &more_numbers, p->err));
            if (!more_numbers)
                break;
            if (g.number == 8) {
                if (a->n_ints < n_ints)
                    a->ints[a->n_ints++] = (int64_t)v;
            } else if (a->n_floats < n_floats) {
                uint32_t bits = (uint32_t)v;
                memcpy(&a->floats[a->n_floats++], &bits, sizeof bits);
            }
        }
    }
    TN_TRY(st);
    return TN_OK;
}

/* Old files leave AttributeProto.type out: the field that is there tells. */
static OnnxAttrKind guess_kind(const uint32_t *counts) {
    static const uint8_t field_kind[][2] = {{2, ONNX_ATTR_FLOAT},   {3, ONNX_ATTR_INT},           {4, ONNX_ATTR_STRING},
                                            {5, ONNX_ATTR_TENSOR},  {6, ONNX_ATTR_GRAPH},         {7, ONNX_ATTR_FLOATS},
                                            {8, ONNX_ATTR_INTS},    {9, ONNX_ATTR_STRINGS},       {10, ONNX_ATTR_TENSORS},
                                            {11, ONNX_ATTR_GRAPHS}, {22, ONNX_ATTR_SPARSE_TENSOR}};
    for (size_t i = 0; i < TN_COUNT(field_kind); i++)
        if (counts[field_kind[i][0]] > 0)
            return (OnnxAttrKind)field_kind[i][1];
    return ONNX_ATTR_UNDEFINED;
}

static TnStatus parse_attr_field(Parser *p, const OnnxField *f, OnnxAttr *a, int32_t *kind) {
    switch (f->number) {
    case 1:
        return name_of(p, f, "AttributeProto.name", &a->name);
    case 2: {
        TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_FIXED32, "AttributeProto.f", p->err));
        uint32_t bits = (uint32_t)f->value;
        memcpy(&a->f, &bits, sizeof bits);
        return TN_OK;
    }
    case 3:
        return int_of(p, f, "AttributeProto.i", &a->i);
    case 4:
        TN_TRY(message_of(p, f, "AttributeProto.s"));
        a->s = f->bytes;
        return TN_OK;
    case 5:
        TN_TRY(message_of(p, f, "AttributeProto.t"));
        ALLOC(p, a->t, 1);
        return tni_onnx_tensor_parse(f->bytes, &p->m->names, a->t, p->err);
    case 6:
        TN_TRY(message_of(p, f, "AttributeProto.g"));
        ALLOC(p, a->g, 1);
        return parse_graph(p, f->bytes, a->g);
    case 9:
        TN_TRY(message_of(p, f, "AttributeProto.strings"));
        a->strings[a->n_strings++] = f->bytes;
        return TN_OK;
    case 20:
        return int32_of(p, f, "AttributeProto.type", kind);
    case 21:
        return name_of(p, f, "AttributeProto.ref_attr_name", &a->ref);
    default:
        return TN_OK;
    }
}

static TnStatus parse_attr(Parser *p, TnSpan s, OnnxAttr *a) {
    uint32_t counts[24];
    TN_TRY(tni_onnx_wire_count(s, counts, 24, p->err));
    a->at = s.base;
    if (counts[5] > 1 || counts[6] > 1)
        return tni_raise_at(p->err, TN_ERR_PARSE, s.base, "an attribute holds more than one tensor or graph");
    int32_t kind = 0;
    if (counts[9] > 0)
        ALLOC(p, a->strings, counts[9]);
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        TN_TRY(parse_attr_field(p, &f, a, &kind));
    }
    TN_TRY(st);
    if (counts[7] > 0 || counts[8] > 0)
        TN_TRY(parse_attr_lists(p, s, a));
    if (kind < 0 || kind >= ONNX_ATTR_COUNT)
        return tni_raise_at(p->err, TN_ERR_PARSE, s.base, "AttributeProto.type is %d, expected 0..%d", kind, ONNX_ATTR_COUNT - 1);
    a->kind = kind != 0 ? (OnnxAttrKind)kind : guess_kind(counts);
    if (a->name == 0)
        return tni_raise_at(p->err, TN_ERR_GRAPH, s.base, "an attribute has no name");
    if (a->ref == 0 && ((a->kind == ONNX_ATTR_TENSOR && a->t == NULL) || (a->kind == ONNX_ATTR_GRAPH && a->g == NULL)))
        return tni_raise_at(p->err, TN_ERR_GRAPH, s.base, "attribute '%.200s' is declared as %s but holds none",
                            tni_onnx_text(&p->m->names, a->name), kind_names[a->kind]);
    return TN_OK;
}

/* ---- nodes ---- */

static TnStatus parse_node(Parser *p, TnSpan s, OnnxNode *n) {
    uint32_t counts[10], n_in = 0, n_out = 0;
    TN_TRY(tni_onnx_wire_count(s, counts, 10, p->err));
    n->at = s.base;
    if (counts[5] > ONNX_MAX_ATTRS)
        return tni_raise_at(p->err, TN_ERR_LIMIT, s.base, "a node has %u attributes, the most is %u", counts[5], ONNX_MAX_ATTRS);
    ALLOC(p, n->in, counts[1]);
    ALLOC(p, n->out, counts[2]);
    ALLOC(p, n->attrs, counts[5]);
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        switch (f.number) {
        case 1:
            TN_TRY(name_of(p, &f, "NodeProto.input", &n->in[n_in++]));
            break;
        case 2:
            TN_TRY(name_of(p, &f, "NodeProto.output", &n->out[n_out++]));
            break;
        case 3:
            TN_TRY(name_of(p, &f, "NodeProto.name", &n->name));
            break;
        case 4:
            TN_TRY(name_of(p, &f, "NodeProto.op_type", &n->op_type));
            break;
        case 5:
            TN_TRY(message_of(p, &f, "NodeProto.attribute"));
            TN_TRY(parse_attr(p, f.bytes, &n->attrs[n->n_attrs++]));
            break;
        case 7:
            TN_TRY(domain_of(p, &f, "NodeProto.domain", &n->domain));
            break;
        case 8:
            TN_TRY(name_of(p, &f, "NodeProto.overload", &n->overload));
            break;
        default:
            break;
        }
    }
    TN_TRY(st);
    n->n_in = n_in;
    n->n_out = n_out;
    if (n->op_type == 0)
        return tni_raise_at(p->err, TN_ERR_GRAPH, s.base, "node '%.200s' has no op_type", tni_onnx_text(&p->m->names, n->name));
    for (uint32_t i = 0; i < n->n_attrs; i++)
        for (uint32_t j = 0; j < i; j++)
            if (n->attrs[i].name == n->attrs[j].name)
                return tni_raise_at(p->err, TN_ERR_GRAPH, n->attrs[i].at, "node '%.200s' (%.60s) has the attribute '%.200s' twice",
                                    tni_onnx_text(&p->m->names, n->name), tni_onnx_text(&p->m->names, n->op_type),
                                    tni_onnx_text(&p->m->names, n->attrs[i].name));
    return TN_OK;
}

/* ---- inputs and outputs ---- */

static TnStatus parse_dim(Parser *p, TnSpan s, OnnxIo *io, uint32_t i) {
    OnnxWire w = tni_onnx_wire(s);
    int64_t value = 0;
    OnnxName param = 0;
    bool has_value = false;
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 1) {
            TN_TRY(int_of(p, &f, "Dimension.dim_value", &value));
            has_value = true;
        } else if (f.number == 2) {
            TN_TRY(name_of(p, &f, "Dimension.dim_param", &param));
            has_value = false;
        }
    }
    TN_TRY(st);
    if (i < TN_MAX_RANK) {
        io->dims[i].value = value;
        io->dims[i].param = has_value ? 0 : param;
        io->dims[i].has_value = has_value;
    }
    return TN_OK;
}

static TnStatus parse_shape(Parser *p, TnSpan s, OnnxIo *io) {
    OnnxWire w = tni_onnx_wire(s);
    io->has_shape = true;
    io->rank = 0;
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number != 1)
            continue;
        TN_TRY(message_of(p, &f, "TensorShapeProto.dim"));
        TN_TRY(parse_dim(p, f.bytes, io, io->rank));
        io->rank++;
    }
    TN_TRY(st);
    return TN_OK;
}

static TnStatus parse_tensor_type(Parser *p, TnSpan s, OnnxIo *io) {
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 1) {
            TN_TRY(int32_of(p, &f, "TypeProto.Tensor.elem_type", &io->elem_type));
        } else if (f.number == 2) {
            TN_TRY(message_of(p, &f, "TypeProto.Tensor.shape"));
            TN_TRY(parse_shape(p, f.bytes, io));
        }
    }
    TN_TRY(st);
    return TN_OK;
}

/* An optional tensor is taken as one that is there; without a value the model cannot be run. */
static TnStatus parse_optional_type(Parser *p, TnSpan s, OnnxIo *io) {
    OnnxWire outer = tni_onnx_wire(s);
    OnnxField f = {0}, g = {0};
    TnStatus st = TN_OK;
    while (next(p, &outer, &f, &st)) {
        if (f.number != 1)
            continue;
        TN_TRY(message_of(p, &f, "TypeProto.Optional.elem_type"));
        OnnxWire inner = tni_onnx_wire(f.bytes);
        while (next(p, &inner, &g, &st)) {
            if (g.number != 1)
                continue;
            TN_TRY(message_of(p, &g, "TypeProto.tensor_type"));
            io->type = ONNX_IO_TENSOR;
            TN_TRY(parse_tensor_type(p, g.bytes, io));
        }
    }
    return st;
}

static TnStatus parse_type(Parser *p, TnSpan s, OnnxIo *io) {
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        OnnxIoType t = f.number == 1   ? ONNX_IO_TENSOR
                       : f.number == 4 ? ONNX_IO_SEQUENCE
                       : f.number == 5 ? ONNX_IO_MAP
                       : f.number == 8 ? ONNX_IO_SPARSE
                       : f.number == 9 ? ONNX_IO_OPTIONAL
                                       : ONNX_IO_NONE;
        if (t == ONNX_IO_NONE)
            continue;
        TN_TRY(message_of(p, &f, "TypeProto.value"));
        io->type = t;
        if (t == ONNX_IO_TENSOR)
            TN_TRY(parse_tensor_type(p, f.bytes, io));
        if (t == ONNX_IO_OPTIONAL)
            TN_TRY(parse_optional_type(p, f.bytes, io));
    }
    TN_TRY(st);
    return TN_OK;
}

static TnStatus parse_io(Parser *p, TnSpan s, OnnxIo *io, const char *what) {
    OnnxWire w = tni_onnx_wire(s);
    io->at = s.base;
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 1) {
            TN_TRY(name_of(p, &f, "ValueInfoProto.name", &io->name));
        } else if (f.number == 2) {
            TN_TRY(message_of(p, &f, "ValueInfoProto.type"));
            TN_TRY(parse_type(p, f.bytes, io));
        }
    }
    TN_TRY(st);
    if (io->name == 0)
        return tni_raise_at(p->err, TN_ERR_GRAPH, s.base, "a graph %s has no name", what);
    return TN_OK;
}

/* ---- graphs ---- */

static TnStatus claim_nodes(Parser *p, uint64_t at, uint32_t nodes, uint32_t others) {
    p->m->n_nodes += nodes;
    p->n_tensors += others;
    if (p->m->n_nodes > p->max_nodes)
        return tni_raise_at(p->err, TN_ERR_LIMIT, at, "the model has more than %llu nodes", (unsigned long long)p->max_nodes);
    if (p->n_tensors > p->max_nodes)
        return tni_raise_at(p->err, TN_ERR_LIMIT, at, "the model has more than %llu initializers, inputs and outputs",
                            (unsigned long long)p->max_nodes);
    return TN_OK;
}

static TnStatus parse_graph_body(Parser *p, TnSpan s, OnnxGraph *g) {
    uint32_t counts[16];
    TN_TRY(tni_onnx_wire_count(s, counts, 16, p->err));
    TN_TRY(claim_nodes(p, s.base, counts[1], TN_MAX(counts[5], TN_MAX(counts[11], counts[12]))));
    g->at = s.base;
    g->n_sparse = counts[15];
    ALLOC(p, g->nodes, counts[1]);
    ALLOC(p, g->tensors, counts[5]);
    ALLOC(p, g->inputs, counts[11]);
    ALLOC(p, g->outputs, counts[12]);
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 2) {
            TN_TRY(name_of(p, &f, "GraphProto.name", &g->name));
            continue;
        }
        if (f.number != 1 && f.number != 5 && f.number != 11 && f.number != 12)
            continue;
        TN_TRY(message_of(p, &f, "a field of GraphProto"));
        if (f.number == 1) {
            TN_TRY(parse_node(p, f.bytes, &g->nodes[g->n_nodes++]));
        } else if (f.number == 5) {
            OnnxTensor *t = &g->tensors[g->n_tensors++];
            TN_TRY(tni_onnx_tensor_parse(f.bytes, &p->m->names, t, p->err));
            if (t->name == 0)
                return tni_raise_at(p->err, TN_ERR_GRAPH, f.at, "an initializer has no name");
        } else if (f.number == 11) {
            TN_TRY(parse_io(p, f.bytes, &g->inputs[g->n_inputs++], "input"));
        } else {
            TN_TRY(parse_io(p, f.bytes, &g->outputs[g->n_outputs++], "output"));
        }
    }
    TN_TRY(st);
    return TN_OK;
}

static TnStatus parse_graph(Parser *p, TnSpan s, OnnxGraph *g) {
    if (p->depth >= ONNX_MAX_DEPTH)
        return tni_raise_at(p->err, TN_ERR_LIMIT, s.base, "subgraphs are nested deeper than %d", ONNX_MAX_DEPTH);
    p->depth++;
    TnStatus st = parse_graph_body(p, s, g);
    p->depth--;
    return st;
}

/* ---- functions and the model ---- */

static TnStatus parse_opset(Parser *p, TnSpan s, OnnxOpsets *o) {
    OnnxOpset v = {0, 0};
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        if (f.number == 1)
            TN_TRY(domain_of(p, &f, "OperatorSetIdProto.domain", &v.domain));
        else if (f.number == 2)
            TN_TRY(int_of(p, &f, "OperatorSetIdProto.version", &v.version));
    }
    TN_TRY(st);
    for (uint32_t i = 0; i < o->n; i++)
        if (o->items[i].domain == v.domain && o->items[i].version != v.version)
            return tni_raise_at(p->err, TN_ERR_VERSION, s.base, "operator set '%.200s' is imported as version %lld and as version %lld",
                                tni_onnx_text(&p->m->names, v.domain), (long long)o->items[i].version, (long long)v.version);
    if (o->n > 256)
        return tni_raise_at(p->err, TN_ERR_LIMIT, s.base, "more than 256 operator sets are imported");
    o->items[o->n++] = v;
    return TN_OK;
}

static TnStatus parse_function_field(Parser *p, const OnnxField *f, OnnxFunction *fn) {
    switch (f->number) {
    case 1:
        return name_of(p, f, "FunctionProto.name", &fn->name);
    case 4: {
        OnnxIo *io = &fn->body.inputs[fn->body.n_inputs++];
        io->at = f->at;
        return name_of(p, f, "FunctionProto.input", &io->name);
    }
    case 5: {
        OnnxIo *io = &fn->body.outputs[fn->body.n_outputs++];
        io->at = f->at;
        return name_of(p, f, "FunctionProto.output", &io->name);
    }
    case 6:
        return name_of(p, f, "FunctionProto.attribute", &fn->attrs[fn->n_attrs++]);
    case 7:
        TN_TRY(message_of(p, f, "FunctionProto.node"));
        return parse_node(p, f->bytes, &fn->body.nodes[fn->body.n_nodes++]);
    case 9:
        TN_TRY(message_of(p, f, "FunctionProto.opset_import"));
        return parse_opset(p, f->bytes, &fn->opsets);
    case 10:
        return domain_of(p, f, "FunctionProto.domain", &fn->domain);
    case 11:
        TN_TRY(message_of(p, f, "FunctionProto.attribute_proto"));
        return parse_attr(p, f->bytes, &fn->defaults[fn->n_defaults++]);
    case 13:
        return name_of(p, f, "FunctionProto.overload", &fn->overload);
    default:
        return TN_OK;
    }
}

static TnStatus parse_function(Parser *p, TnSpan s, OnnxFunction *fn) {
    uint32_t counts[14];
    TN_TRY(tni_onnx_wire_count(s, counts, 14, p->err));
    TN_TRY(claim_nodes(p, s.base, counts[7], TN_MAX(counts[4], counts[5])));
    fn->at = fn->body.at = s.base;
    fn->next = UINT32_MAX;
    if (counts[6] > ONNX_MAX_ATTRS || counts[11] > ONNX_MAX_ATTRS)
        return tni_raise_at(p->err, TN_ERR_LIMIT, s.base, "a function has more than %u attributes", ONNX_MAX_ATTRS);
    ALLOC(p, fn->body.inputs, counts[4]);
    ALLOC(p, fn->body.outputs, counts[5]);
    ALLOC(p, fn->attrs, counts[6]);
    ALLOC(p, fn->body.nodes, counts[7]);
    ALLOC(p, fn->opsets.items, counts[9]);
    ALLOC(p, fn->defaults, counts[11]);
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        TN_TRY(parse_function_field(p, &f, fn));
    }
    TN_TRY(st);
    fn->body.name = fn->name;
    if (fn->name == 0)
        return tni_raise_at(p->err, TN_ERR_GRAPH, s.base, "a function has no name");
    return TN_OK;
}

static TnStatus index_functions(Parser *p) {
    OnnxModel *m = p->m;
    m->function_by_name.arena = p->arena;
    for (uint32_t i = m->n_functions; i-- > 0;) {
        OnnxFunction *fn = &m->functions[i];
        if (tni_onnx_function_find(m, fn->domain, fn->name, fn->overload) != UINT32_MAX)
            return tni_raise_at(p->err, TN_ERR_GRAPH, fn->at, "the function '%.200s' of domain '%.200s' is there twice",
                                tni_onnx_text(&m->names, fn->name), tni_onnx_text(&m->names, fn->domain));
        uint32_t first = UINT32_MAX;
        (void)tni_onnx_map_get(&m->function_by_name, fn->name, &first);
        fn->next = first;
        TN_TRY(tni_onnx_map_put(&m->function_by_name, fn->name, i, p->err));
    }
    return TN_OK;
}

static TnStatus parse_model_field(Parser *p, const OnnxField *f) {
    OnnxModel *m = p->m;
    switch (f->number) {
    case 1:
        return int_of(p, f, "ModelProto.ir_version", &m->ir_version);
    case 2:
        m->producer = f->bytes;
        return message_of(p, f, "ModelProto.producer_name");
    case 3:
        m->producer_version = f->bytes;
        return message_of(p, f, "ModelProto.producer_version");
    case 7:
        TN_TRY(message_of(p, f, "ModelProto.graph"));
        ALLOC(p, m->graph, 1);
        return parse_graph(p, f->bytes, m->graph);
    case 8:
        TN_TRY(message_of(p, f, "ModelProto.opset_import"));
        return parse_opset(p, f->bytes, &m->opsets);
    case 25:
        TN_TRY(message_of(p, f, "ModelProto.functions"));
        return parse_function(p, f->bytes, &m->functions[m->n_functions++]);
    default:
        return TN_OK;
    }
}

TnStatus tni_onnx_model_parse(TnSpan file, TnArena *arena, uint64_t max_nodes, OnnxModel *out, TnError *err) {
    memset(out, 0, sizeof *out);
    out->file = file;
    Parser parser = {.arena = arena, .m = out, .max_nodes = max_nodes, .err = err}, *p = &parser;
    uint32_t counts[26];
    if (file.n == 0)
        return tni_raise_at(err, TN_ERR_PARSE, 0, "the file is empty");
    TN_TRY(tni_onnx_names_init(&out->names, arena, err));
    TN_TRY(tni_onnx_wire_count(file, counts, 26, err));
    if (counts[7] > 1)
        return tni_raise_at(err, TN_ERR_PARSE, file.base, "ModelProto.graph is there %u times", counts[7]);
    if (counts[25] > 65536)
        return tni_raise_at(err, TN_ERR_LIMIT, file.base, "the model has %u functions, the most is 65536", counts[25]);
    ALLOC(p, out->opsets.items, counts[8]);
    ALLOC(p, out->functions, counts[25]);
    OnnxWire w = tni_onnx_wire(file);
    OnnxField f = {0};
    TnStatus st = TN_OK;
    while (next(p, &w, &f, &st)) {
        TN_TRY(parse_model_field(p, &f));
    }
    TN_TRY(st);
    if (out->graph == NULL)
        return tni_raise_at(err, TN_ERR_PARSE, file.base, "the file holds no ModelProto.graph; it is cut off or not an ONNX model");
    return index_functions(p);
}

uint32_t tni_onnx_function_find(const OnnxModel *m, OnnxName domain, OnnxName name, OnnxName overload) {
    uint32_t i = UINT32_MAX;
    if (!tni_onnx_map_get(&m->function_by_name, name, &i))
        return UINT32_MAX;
    for (; i != UINT32_MAX; i = m->functions[i].next)
        if (m->functions[i].domain == domain && m->functions[i].overload == overload)
            return i;
    return UINT32_MAX;
}

int64_t tni_onnx_opset(const OnnxOpsets *o, OnnxName domain) {
    for (uint32_t i = 0; i < o->n; i++)
        if (o->items[i].domain == domain)
            return o->items[i].version;
    return 0;
}
