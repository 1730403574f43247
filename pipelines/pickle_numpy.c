/* SPDX-License-Identifier: Apache-2.0
 *
 * What NumPy's pickles call: arrays, element types and scalars rebuilt from their parts. */
#include <math.h>
#include <string.h>

#include "pipelines/pickle.h"

typedef enum Call { CALL_RECONSTRUCT, CALL_NDARRAY, CALL_DTYPE, CALL_SCALAR, CALL_FROM_BUFFER, CALL_ENCODE, CALL_BYTEARRAY, CALL_DICT, CALL_SET } Call;

static const struct {
    const char *module, *name;
    Call call;
} globals[] = {
    {"numpy.core.multiarray", "_reconstruct", CALL_RECONSTRUCT},  {"numpy._core.multiarray", "_reconstruct", CALL_RECONSTRUCT},
    {"numpy", "ndarray", CALL_NDARRAY},                           {"numpy", "dtype", CALL_DTYPE},
    {"numpy.core.multiarray", "scalar", CALL_SCALAR},             {"numpy._core.multiarray", "scalar", CALL_SCALAR},
    {"numpy.core.numeric", "_frombuffer", CALL_FROM_BUFFER},      {"numpy._core.numeric", "_frombuffer", CALL_FROM_BUFFER},
    {"_codecs", "encode", CALL_ENCODE},                           {"builtins", "bytearray", CALL_BYTEARRAY},
    {"__builtin__", "bytearray", CALL_BYTEARRAY},                 {"collections", "OrderedDict", CALL_DICT},
    {"builtins", "set", CALL_SET},                                {"__builtin__", "set", CALL_SET},
};

static const struct {
    const char *code;
    TnDtype type;
} types[] = {{"f4", TN_F32}, {"f8", TN_F64}, {"f2", TN_F16}, {"i8", TN_I64}, {"i4", TN_I32}, {"i2", TN_I16}, {"i1", TN_I8},
             {"u8", TN_U64}, {"u4", TN_U32}, {"u2", TN_U16}, {"u1", TN_U8},  {"b1", TN_BOOL}};

int tnp_numpy_global(const char *module, size_t n_module, const char *name, size_t n_name) {
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        if (strlen(globals[i].module) == n_module && memcmp(globals[i].module, module, n_module) == 0 && strlen(globals[i].name) == n_name &&
            memcmp(globals[i].name, name, n_name) == 0)
            return (int)i;
    }
    return -1;
}

static TnpValue *make(TnpPickle *p, TnpKind kind) {
    TnpValue *v = tnp_pickle_alloc(p, sizeof *v);
    if (v != NULL)
        v->kind = kind;
    return v;
}

static TnpValue *make_array(TnpPickle *p, TnpKind kind) {
    TnpValue *v = make(p, kind);
    if (v != NULL && (v->u.array = tnp_pickle_alloc(p, sizeof *v->u.array)) == NULL)
        v = NULL;
    return v;
}

static bool is_bytes(const TnpValue *v) { return v->kind == TNP_BYTES || v->kind == TNP_TEXT; }

/* "f4", "<f4", "O", "O8"; others (strings, records) have no type here and fail when an array is made of them. */
static void read_type(const TnpValue *text, TnpArray *t) {
    const char *s = text->u.text;
    uint32_t n = text->n;
    if (n > 0 && strchr("<>|=", s[0]) != NULL) {
        t->swapped = s[0] == '>';
        s++;
        n--;
    }
    t->objects = n >= 1 && s[0] == 'O';
    for (size_t i = 0; n == 2 && i < sizeof types / sizeof *types; i++) {
        if (memcmp(s, types[i].code, 2) == 0)
            t->shape.dtype = types[i].type;
    }
}

/* Text of code points below 256 as the bytes that they number: how protocol 2 keeps bytes in Python 3. */
static bool encode(TnpPickle *p, const TnpValue *text, TnpValue **out) {
    char *bytes = tnp_pickle_alloc(p, (size_t)text->n + 1);
    TnpValue *v = make(p, TNP_BYTES);
    uint32_t n = 0;
    *out = NULL;
    if (v == NULL || bytes == NULL)
        return true;
    for (uint32_t i = 0; i < text->n; i++) {
        uint8_t c = (uint8_t)text->u.text[i];
        if (c >= 0x80) {
            if ((c & 0xfc) != 0xc0 || i + 1 == text->n)
                return false;
            c = (uint8_t)(c << 6 | ((uint8_t)text->u.text[++i] & 0x3f));
        }
        bytes[n++] = (char)c;
    }
    v->u.text = bytes;
    v->n = n;
    *out = v;
    return true;
}

/* Shape, element type and bytes must belong together. */
static bool set_array(TnpArray *a, const TnpValue *shape, const TnpArray *type, bool fortran, const TnpValue *data) {
    int64_t count = 1, bytes;
    if (shape->kind != TNP_TUPLE || shape->n > TN_MAX_RANK)
        return false;
    *a = (TnpArray){.shape = {.dtype = type->shape.dtype, .rank = (int32_t)shape->n}, .swapped = type->swapped, .fortran = fortran, .objects = type->objects};
    for (uint32_t i = 0; i < shape->n; i++) {
        if (!tnp_pickle_int(shape->u.items[i], &a->shape.dims[i]) || a->shape.dims[i] < 0 || __builtin_mul_overflow(count, a->shape.dims[i], &count))
            return false;
    }
    if (a->objects) {
        a->list = data;
        return data->kind == TNP_LIST && count == data->n;
    }
    if (a->shape.dtype == TN_UNDEFINED || !is_bytes(data) || __builtin_mul_overflow(count, (int64_t)tn_dtype_bits(a->shape.dtype) / 8, &bytes) ||
        bytes != (int64_t)data->n)
        return false;
    a->data = (const uint8_t *)data->u.text;
    return true;
}

static double element(const TnpArray *a, const uint8_t *p) {
    const uint32_t n = tn_dtype_bits(a->shape.dtype) / 8;
    union {
        uint8_t b[8];
        float f32;
        double f64;
        uint64_t u64;
        int64_t i64;
        uint32_t u32;
        int32_t i32;
        uint16_t u16;
        int16_t i16;
        int8_t i8;
    } v = {.u64 = 0};
    for (uint32_t i = 0; i < n; i++)
        v.b[a->swapped ? n - 1 - i : i] = p[i];
    switch (a->shape.dtype) {
    case TN_F32: return (double)v.f32;
    case TN_F64: return v.f64;
    case TN_F16: {
        int e = v.u16 >> 10 & 31, m = v.u16 & 1023;
        double f = e == 31 ? (m != 0 ? NAN : INFINITY) : e == 0 ? ldexp(m, -24) : ldexp(m + 1024, e - 25);
        return v.u16 >> 15 ? -f : f;
    }
    case TN_I64: return (double)v.i64;
    case TN_I32: return v.i32;
    case TN_I16: return v.i16;
    case TN_I8: return v.i8;
    case TN_U64: return (double)v.u64;
    case TN_U32: return v.u32;
    case TN_U16: return v.u16;
    default: return v.b[0];
    }
}

bool tnp_array_floats(const TnpArray *a, float *out) {
    const uint32_t size = tn_dtype_bits(a->shape.dtype) / 8;
    int64_t n = 1, index[TN_MAX_RANK] = {0};
    if (a->objects || size == 0)
        return false;
    for (int32_t k = 0; k < a->shape.rank; k++)
        n *= a->shape.dims[k];
    for (int64_t i = 0; i < n; i++) {
        int64_t at = i;
        if (a->fortran) {
            at = 0;
            for (int32_t d = a->shape.rank - 1; d >= 0; d--)
                at = at * a->shape.dims[d] + index[d];
            for (int32_t d = a->shape.rank - 1; d >= 0 && ++index[d] == a->shape.dims[d]; d--)
                index[d] = 0;
        }
        out[i] = (float)element(a, a->data + (size_t)at * size);
    }
    return true;
}

static bool make_scalar(TnpPickle *p, const TnpValue *args, TnpValue **out) {
    if (args->n != 2 || args->u.items[0]->kind != TNP_DTYPE || !is_bytes(args->u.items[1]))
        return false;
    const TnpArray *type = args->u.items[0]->u.array;
    const TnpValue *data = args->u.items[1];
    if (type->shape.dtype == TN_UNDEFINED || data->n != tn_dtype_bits(type->shape.dtype) / 8)
        return false;
    bool real = type->shape.dtype == TN_F32 || type->shape.dtype == TN_F64 || type->shape.dtype == TN_F16;
    double f = element(type, (const uint8_t *)data->u.text);
    *out = make(p, real ? TNP_FLOAT : TNP_INT);
    if (*out != NULL && real)
        (*out)->u.f = f;
    else if (*out != NULL)
        (*out)->u.i = f >= 9.2e18 ? INT64_MAX : f <= -9.2e18 ? INT64_MIN : (int64_t)f;
    return true;
}

bool tnp_numpy_call(TnpPickle *p, int64_t global, const TnpValue *args, TnpValue **out) {
    TnpValue *const *a = args->u.items;
    *out = NULL;
    switch (globals[global].call) {
    case CALL_RECONSTRUCT: /* (ndarray, (0,), b'b'): filled by BUILD */
        if (args->n < 1 || a[0]->kind != TNP_GLOBAL || globals[a[0]->u.i].call != CALL_NDARRAY)
            return false;
        *out = make_array(p, TNP_ARRAY);
        if (*out != NULL)
            (*out)->u.array->shape = (TnTensor){.dtype = TN_U8, .rank = 1};
        return true;
    case CALL_DTYPE:
        if (args->n < 1 || !is_bytes(a[0]))
            return false;
        *out = make_array(p, TNP_DTYPE);
        if (*out != NULL)
            read_type(a[0], (*out)->u.array);
        return true;
    case CALL_SCALAR: return make_scalar(p, args, out);
    case CALL_FROM_BUFFER:
        if (args->n < 4 || a[1]->kind != TNP_DTYPE || !is_bytes(a[3]))
            return false;
        *out = make_array(p, TNP_ARRAY);
        return *out == NULL || set_array((*out)->u.array, a[2], a[1]->u.array, tnp_pickle_is_text(a[3], "F"), a[0]);
    case CALL_ENCODE: return args->n == 2 && a[0]->kind == TNP_TEXT && tnp_pickle_is_text(a[1], "latin1") && encode(p, a[0], out);
    case CALL_BYTEARRAY:
        if (args->n < 1 || a[0]->kind != TNP_BYTES)
            return false;
        *out = make(p, TNP_BYTES);
        if (*out != NULL)
            **out = *a[0];
        return true;
    case CALL_DICT: *out = make(p, TNP_DICT); return args->n == 0;
    case CALL_SET:
        if (args->n > 1 || (args->n == 1 && a[0]->kind != TNP_LIST))
            return false;
        *out = make(p, TNP_SET);
        if (*out != NULL && args->n == 1)
            **out = (TnpValue){.kind = TNP_SET, .n = a[0]->n, .cap = a[0]->n, .u.items = a[0]->u.items};
        return true;
    case CALL_NDARRAY: break;
    }
    return false;
}

bool tnp_numpy_build(TnpPickle *p, TnpValue *object, const TnpValue *state) {
    (void)p;
    if (state->kind != TNP_TUPLE)
        return false;
    TnpValue *const *s = state->u.items;
    if (object->kind == TNP_DTYPE) { /* (version, byte order, ...) */
        if (state->n < 2 || !is_bytes(s[1]))
            return false;
        object->u.array->swapped = tnp_pickle_is_text(s[1], ">");
        return true;
    }
    if (object->kind != TNP_ARRAY || (state->n != 5 && state->n != 4)) /* [version,] shape, type, fortran, data */
        return false;
    s += state->n - 4;
    if (s[1]->kind != TNP_DTYPE || (s[2]->kind != TNP_BOOL && s[2]->kind != TNP_INT))
        return false;
    return set_array(object->u.array, s[0], s[1]->u.array, s[2]->u.i != 0, s[3]);
}
