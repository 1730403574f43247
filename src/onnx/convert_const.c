/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of constants, shapes and ranges. */
#include "base/dtype.h"
#include "onnx/convert.h"

/* Binds output 0 to a tensor of the file, made a constant when somebody reads it. */
static TnStatus bind_tensor(OnnxCall *c, OnnxTensor *t) {
    OnnxBind *b = c->node->out[0] == 0 ? NULL : tni_onnx_scope_find(c->scope, c->node->out[0]);
    if (b == NULL)
        return TN_OK;
    b->tensor = t;
    b->kind = t->data_type == TN_STRING ? ONNX_BIND_STRING : ONNX_BIND_TENSOR;
    return TN_OK;
}

static TnStatus bind_data(OnnxCall *c, TnDtype t, int32_t rank, uint32_t n, const void *data) {
    OnnxTensor *x = tni_arena_calloc(c->imp->scratch, 1, sizeof *x);
    size_t bytes = (size_t)n * tn_dtype_bits(t) / 8;
    void *copy = tni_arena_calloc(c->imp->arena, bytes, 1);
    if (x == NULL || copy == NULL)
        return TN_OOM(c->err, bytes + sizeof *x);
    if (bytes > 0)
        memcpy(copy, data, bytes);
    x->data_type = (int32_t)t;
    x->rank = (uint32_t)rank;
    x->dims[0] = n;
    x->data = bytes > 0 ? copy : NULL;
    x->ready = true;
    return bind_tensor(c, x);
}

TnStatus tni_onnx_convert_constant(OnnxCall *c) {
    if (c->n_attrs != 1)
        return ONNX_BAD(c, "has %u attributes, expected one that holds the value", c->n_attrs);
    const OnnxAttr *a = &c->attrs[0];
    c->attrs_read = 1;
    const char *name = tni_onnx_text(&c->imp->model.names, a->name);
    static const struct {
        const char *name;
        OnnxAttrKind kind;
    } kinds[] = {{"value", ONNX_ATTR_TENSOR},          {"value_float", ONNX_ATTR_FLOAT},         {"value_floats", ONNX_ATTR_FLOATS},
                 {"value_int", ONNX_ATTR_INT},         {"value_ints", ONNX_ATTR_INTS},           {"value_string", ONNX_ATTR_STRING},
                 {"value_strings", ONNX_ATTR_STRINGS}, {"sparse_value", ONNX_ATTR_SPARSE_TENSOR}};
    for (size_t i = 0; i < TN_COUNT(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0 && kinds[i].kind != a->kind)
            return ONNX_BAD(c, "attribute '%s' is of kind %s, expected %s", name, tni_onnx_attr_kind_name(a->kind),
                            tni_onnx_attr_kind_name(kinds[i].kind));
    OnnxTensor *text = NULL;
    switch (a->kind) {
    case ONNX_ATTR_TENSOR:
        return bind_tensor(c, a->t);
    case ONNX_ATTR_FLOAT:
        return bind_data(c, TN_F32, 0, 1, &a->f);
    case ONNX_ATTR_FLOATS:
        return bind_data(c, TN_F32, 1, a->n_floats, a->floats);
    case ONNX_ATTR_INT:
        return bind_data(c, TN_I64, 0, 1, &a->i);
    case ONNX_ATTR_INTS:
        return bind_data(c, TN_I64, 1, a->n_ints, a->ints);
    case ONNX_ATTR_STRING:
    case ONNX_ATTR_STRINGS:
        text = tni_arena_calloc(c->imp->scratch, 1, sizeof *text);
        if (text == NULL)
            return TN_OOM(c->err, sizeof *text);
        text->data_type = TN_STRING;
        return bind_tensor(c, text);
    default:
        return ONNX_UNSUPPORTED(c, "a constant of kind %s ('%.60s') is not supported", tni_onnx_attr_kind_name(a->kind), name);
    }
}

TnStatus tni_onnx_convert_constant_of_shape(OnnxCall *c) {
    TnFillParams p;
    memset(&p, 0, sizeof p);
    p.dtype = TN_F32;
    const OnnxAttr *a = tni_onnx_attr(c, "value");
    if (a != NULL) {
        if (a->kind != ONNX_ATTR_TENSOR)
            return ONNX_BAD(c, "attribute 'value' is of kind %s, expected TENSOR", tni_onnx_attr_kind_name(a->kind));
        TN_TRY(tni_onnx_tensor_data(a->t, c->name, c->imp->files, c->imp->arena, c->err));
        int64_t numel = 0;
        size_t bytes = 0;
        if (!tni_shape_bytes((TnDtype)a->t->data_type, (int32_t)a->t->rank, a->t->dims, &numel, &bytes) || numel != 1 ||
            bytes > sizeof p.value)
            return ONNX_BAD(c, "attribute 'value' must hold one element");
        p.dtype = (uint32_t)a->t->data_type;
        memcpy(p.value, a->t->data, bytes);
    }
    return tni_onnx_emit(c, TN_OP_constant_of_shape, &p, c->in, 1);
}

TnStatus tni_onnx_convert_shape(OnnxCall *c) {
    TnShapeParams p = {.start = 0, .end = INT32_MAX};
    int64_t start = 0, end = INT32_MAX;
    TN_TRY(tni_onnx_attr_i64(c, "start", &start));
    TN_TRY(tni_onnx_attr_i64(c, "end", &end));
    /* Out of range is clamped by definition. */
    p.start = (int32_t)TN_MAX(TN_MIN(start, (int64_t)1000), (int64_t)-1000);
    p.end = end > 1000 ? INT32_MAX : (int32_t)TN_MAX(end, (int64_t)-1000);
    return tni_onnx_emit(c, TN_OP_shape, &p, c->in, 1);
}

TnStatus tni_onnx_convert_size(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_size, NULL, c->in, 1);
}

TnStatus tni_onnx_convert_range(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_range, NULL, c->in, 3);
}
