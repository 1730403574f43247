/* SPDX-License-Identifier: Apache-2.0
 *
 * TensorProto: its header now (tni_onnx_tensor_parse), its payload when it is asked for (tni_onnx_tensor_data). Raw data and external data
 * are used where they lie; typed fields (float_data, int32_data, ...), packed or not, are converted into the arena. */
#include "base/dtype.h"
#include "onnx/tensor.h"

#include <stdio.h>

/* ---- header ---- */

/* Wire type of the numbers in a typed payload field; 0xff: none such. */
static unsigned typed_wire(uint32_t field) {
    switch (field) {
    case 4:
        return ONNX_WIRE_FIXED32; /* float_data */
    case 5:                       /* int32_data */
    case 7:                       /* int64_data */
    case 11:
        return ONNX_WIRE_VARINT; /* uint64_data */
    case 10:
        return ONNX_WIRE_FIXED64; /* double_data */
    default:
        return 0xff;
    }
}

static bool decimal(TnSpan s, uint64_t *out) {
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9' || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(s.p[i] - '0'), &v))
            return false;
    }
    *out = v;
    return true;
}

static bool key_is(TnSpan key, const char *word) {
    return key.n == strlen(word) && memcmp(key.p, word, key.n) == 0;
}

/* One StringStringEntryProto of external_data. Unknown keys (checksum among them) are left alone. */
static TnStatus parse_external(TnSpan s, OnnxTensor *t, TnError *err) {
    TnSpan key = {0}, value = {0};
    OnnxWire w = tni_onnx_wire(s);
    OnnxField f = {0};
    for (bool more = true;;) {
        TN_TRY(tni_onnx_wire_next(&w, &f, &more, err));
        if (!more)
            break;
        if (f.number != 1 && f.number != 2)
            continue;
        TN_TRY(tni_onnx_wire_expect(&f, ONNX_WIRE_BYTES, "TensorProto.external_data", err));
        *(f.number == 1 ? &key : &value) = f.bytes;
    }
    if (key_is(key, "location")) {
        t->location = value;
        t->has_location = true;
    } else if (key_is(key, "offset") || key_is(key, "length")) {
        bool is_length = key.p[0] == 'l';
        if (!decimal(value, is_length ? &t->ext_length : &t->ext_offset))
            return tni_raise_at(err, TN_ERR_DATA, s.base, "%s of external data is '%.*s', expected a decimal number of bytes",
                                is_length ? "length" : "offset", (int)TN_MIN(value.n, (size_t)40),
                                value.n == 0 ? "" : (const char *)value.p);
        t->has_length = t->has_length || is_length;
    }
    return TN_OK;
}

static TnStatus add_dims(const OnnxField *f, OnnxTensor *t, TnError *err) {
    OnnxNumbers it;
    TN_TRY(tni_onnx_numbers(f, ONNX_WIRE_VARINT, "TensorProto.dims", &it, err));
    for (bool more = true;;) {
        uint64_t v = 0;
        TN_TRY(tni_onnx_numbers_next(&it, &v, &more, err));
        if (!more)
            return TN_OK;
        if (t->rank < TN_MAX_RANK)
            t->dims[t->rank] = (int64_t)v;
        t->rank++;
    }
}

static TnStatus add_typed(const OnnxField *f, OnnxTensor *t, TnError *err) {
    OnnxNumbers it;
    if (t->typed_field != 0 && t->typed_field != f->number)
        return tni_raise_at(err, TN_ERR_DATA, f->at, "a tensor has data in two typed fields (%u and %u)", t->typed_field, f->number);
    uint64_t n = 1;
    if (f->number == 6) {
        TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, "TensorProto.string_data", err));
    } else {
        TN_TRY(tni_onnx_numbers(f, (OnnxWireType)typed_wire(f->number), "typed data of TensorProto", &it, err));
        n = tni_onnx_numbers_count(&it);
    }
    t->typed_field = f->number;
    t->typed_count += n;
    return TN_OK;
}

static TnStatus tensor_field(const OnnxField *f, OnnxNames *names, OnnxTensor *t, TnError *err) {
    switch (f->number) {
    case 1:
        return add_dims(f, t, err);
    case 2:
        t->data_type = (int32_t)(uint32_t)f->value;
        return tni_onnx_wire_expect(f, ONNX_WIRE_VARINT, "TensorProto.data_type", err);
    case 3:
        t->segmented = true;
        return TN_OK;
    case 4:
    case 5:
    case 6:
    case 7:
    case 10:
    case 11:
        return add_typed(f, t, err);
    case 8:
        TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, "TensorProto.name", err));
        if (f->bytes.n > ONNX_MAX_NAME)
            return tni_raise_at(err, TN_ERR_LIMIT, f->at, "TensorProto.name has %zu bytes, the most is %u", f->bytes.n, ONNX_MAX_NAME);
        if (f->bytes.n > 0 && memchr(f->bytes.p, 0, f->bytes.n) != NULL)
            return tni_raise_at(err, TN_ERR_PARSE, f->at, "TensorProto.name holds a NUL byte");
        return tni_onnx_intern(names, (const char *)f->bytes.p, f->bytes.n, &t->name, err);
    case 9:
        t->raw = f->bytes;
        t->has_raw = true;
        return tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, "TensorProto.raw_data", err);
    case 13:
        TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, "TensorProto.external_data", err));
        return parse_external(f->bytes, t, err);
    case 14:
        t->external = (uint32_t)f->value == 1;
        return tni_onnx_wire_expect(f, ONNX_WIRE_VARINT, "TensorProto.data_location", err);
    default:
        return TN_OK;
    }
}

TnStatus tni_onnx_tensor_parse(TnSpan message, OnnxNames *names, OnnxTensor *out, TnError *err) {
    memset(out, 0, sizeof *out);
    out->message = message;
    out->at = message.base;
    OnnxWire w = tni_onnx_wire(message);
    OnnxField f = {0};
    for (bool more = true;;) {
        TN_TRY(tni_onnx_wire_next(&w, &f, &more, err));
        if (!more)
            return TN_OK;
        TN_TRY(tensor_field(&f, names, out, err));
    }
}

/* ---- payload ---- */

/* The typed field that carries type t; 0: only raw data can. */
static uint32_t typed_field_of(TnDtype t) {
    switch (t) {
    case TN_F32:
    case TN_C64:
        return 4;
    case TN_F64:
    case TN_C128:
        return 10;
    case TN_I64:
        return 7;
    case TN_U32:
    case TN_U64:
        return 11;
    case TN_STRING:
    case TN_UNDEFINED:
        return 0;
    default:
        return 5;
    }
}

static TnStatus bad(const OnnxTensor *t, const char *name, TnError *err, TnStatus code, const char *text) {
    return tni_raise_at(err, code, t->at, "tensor '%.200s': %s", name, text);
}

/* Writes the payload of the typed field, element i of `unit` bytes each (the low bytes of the number, little-endian). */
static TnStatus convert_typed(const OnnxTensor *t, uint8_t *dst, size_t unit, uint64_t count, TnError *err) {
    OnnxWire w = tni_onnx_wire(t->message);
    OnnxField f = {0};
    uint64_t i = 0;
    for (bool more = true;;) {
        TN_TRY(tni_onnx_wire_next(&w, &f, &more, err));
        if (!more)
            break;
        if (f.number != t->typed_field)
            continue;
        OnnxNumbers it;
        TN_TRY(tni_onnx_numbers(&f, (OnnxWireType)typed_wire(f.number), "typed data of TensorProto", &it, err));
        for (bool more_numbers = true;;) {
            uint64_t v = 0;
            TN_TRY(tni_onnx_numbers_next(&it, &v, &more_numbers, err));
            if (!more_numbers)
                break;
            if (i >= count)
                return tni_raise_at(err, TN_ERR_DATA, f.at, "a tensor has more data than its shape allows");
            for (size_t b = 0; b < unit; b++)
                dst[i * unit + b] = (uint8_t)(v >> (8 * b));
            i++;
        }
    }
    return i == count ? TN_OK
                      : tni_raise_at(err, TN_ERR_DATA, t->at, "a tensor has %llu numbers, its shape needs %llu", (unsigned long long)i,
                                     (unsigned long long)count);
}

static TnStatus typed_data(OnnxTensor *t, const char *name, TnDtype dtype, int64_t numel, size_t bytes, TnArena *arena, TnError *err) {
    uint32_t want = typed_field_of(dtype);
    if (want == 0 || t->typed_field != want)
        return tni_raise_at(err, TN_ERR_DATA, t->at,
                            "tensor '%.200s': data of type %s is in field %u of TensorProto, expected field %u or raw_data", name,
                            tn_dtype_name(dtype), t->typed_field, want);
    /* Narrow types come packed, two to a number; complex ones as two numbers. */
    uint32_t bits = tn_dtype_bits(dtype);
    uint64_t count = bits < 8 ? (uint64_t)bytes : (uint64_t)numel * (dtype == TN_C64 || dtype == TN_C128 ? 2u : 1u);
    size_t unit = bits < 8 ? 1 : bytes / (size_t)count;
    if (t->typed_count != count)
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s': %llu numbers in its typed data, its shape needs %llu", name,
                            (unsigned long long)t->typed_count, (unsigned long long)count);
    uint8_t *dst = tni_arena_alloc_aligned(arena, bytes, 64);
    if (dst == NULL)
        return TN_OOM(err, bytes);
    TN_TRY(convert_typed(t, dst, unit, count, err));
    t->data = dst;
    return TN_OK;
}

/* Bools that are neither 0 nor 1 become 1, in a copy. */
static TnStatus clean_bools(OnnxTensor *t, size_t bytes, TnArena *arena, TnError *err) {
    const uint8_t *p = t->data;
    uint8_t any = 0;
    for (size_t i = 0; i < bytes; i++)
        any |= p[i];
    if (any <= 1)
        return TN_OK;
    uint8_t *copy = tni_arena_alloc_aligned(arena, bytes, 64);
    if (copy == NULL)
        return TN_OOM(err, bytes);
    for (size_t i = 0; i < bytes; i++)
        copy[i] = p[i] != 0;
    t->data = copy;
    return TN_OK;
}

static TnStatus check_shape(const OnnxTensor *t, const char *name, TnDtype *dtype, int64_t *numel, size_t *bytes, TnError *err) {
    if (!tni_dtype_valid(t->data_type)) {
        if (t->data_type == 0)
            return bad(t, name, err, TN_ERR_GRAPH, "it has no element type");
        return tni_raise_at(err, TN_ERR_UNSUPPORTED, t->at, "tensor '%.200s': element type %d is not supported", name, t->data_type);
    }
    *dtype = (TnDtype)t->data_type;
    if (*dtype == TN_STRING || *dtype == TN_C64 || *dtype == TN_C128)
        return tni_raise_at(err, TN_ERR_UNSUPPORTED, t->at, "tensor '%.200s': tensors of type %s are not supported", name,
                            tn_dtype_name(*dtype));
    if (t->rank > TN_MAX_RANK)
        return tni_raise_at(err, TN_ERR_LIMIT, t->at, "tensor '%.200s' has rank %u, the most is %d", name, t->rank, TN_MAX_RANK);
    char shape[128];
    if (!tni_shape_bytes(*dtype, (int32_t)t->rank, t->dims, numel, bytes))
        return tni_raise_at(err, TN_ERR_GRAPH, t->at,
                            "tensor '%.200s': shape %s has a negative dimension or more elements than memory can hold", name,
                            tni_shape_str(shape, sizeof shape, (int32_t)t->rank, t->dims));
    return TN_OK;
}

TnStatus tni_onnx_tensor_data(OnnxTensor *t, const char *name, OnnxFiles *files, TnArena *arena, TnError *err) {
    if (t->ready)
        return TN_OK;
    TnDtype dtype = TN_UNDEFINED;
    int64_t numel = 0;
    size_t bytes = 0;
    TN_TRY(check_shape(t, name, &dtype, &numel, &bytes, err));
    if (t->segmented)
        return bad(t, name, err, TN_ERR_UNSUPPORTED, "tensors in segments are not supported");
    if (t->external) {
        TN_TRY(tni_onnx_external_data(t, name, bytes, files, err));
    } else if (t->raw.n > 0 && t->typed_count > 0) {
        return bad(t, name, err, TN_ERR_DATA, "it has both raw_data and typed data");
    } else if (t->typed_count > 0 && bytes > 0) {
        TN_TRY(typed_data(t, name, dtype, numel, bytes, arena, err));
    } else if (t->raw.n != bytes || t->typed_count > 0) {
        char shape[128];
        return tni_raise_at(err, TN_ERR_DATA, t->at, "tensor '%.200s': %s%s needs %zu bytes, the file has %llu", name, tn_dtype_name(dtype),
                            tni_shape_str(shape, sizeof shape, (int32_t)t->rank, t->dims), bytes,
                            (unsigned long long)(t->raw.n + t->typed_count));
    } else {
        t->data = bytes > 0 ? t->raw.p : NULL;
    }
    if (dtype == TN_BOOL && bytes > 0)
        TN_TRY(clean_bools(t, bytes, arena, err));
    t->ready = true;
    return TN_OK;
}
