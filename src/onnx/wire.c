/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading the protobuf wire format, see wire.h. */
#include "onnx/wire.h"

OnnxWire tni_onnx_wire(TnSpan message) {
    OnnxWire w = {.s = message, .pos = 0};
    return w;
}

/* Reads a varint at *pos; false: cut off or longer than 64 bits. */
static bool varint(TnSpan s, size_t *pos, uint64_t *out) {
    uint64_t v = 0;
    size_t p = *pos;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (p >= s.n)
            return false;
        uint8_t b = s.p[p++];
        if (shift == 63 && b > 1)
            return false;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *pos = p;
            *out = v;
            return true;
        }
    }
    return false;
}

static uint64_t little_endian(const uint8_t *p, unsigned n) {
    uint64_t v = 0;
    for (unsigned i = 0; i < n; i++)
        v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static TnStatus bad_varint(TnSpan s, size_t pos, const char *what, TnError *err) {
    return tni_raise_at(err, TN_ERR_PARSE, s.base + pos, "%s is cut off or longer than 64 bits; the file is damaged or not an ONNX model",
                        what);
}

TnStatus tni_onnx_wire_next(OnnxWire *w, OnnxField *f, bool *more, TnError *err) {
    TnSpan s = w->s;
    if (w->pos >= s.n) {
        *more = false;
        return TN_OK;
    }
    *more = true;
    size_t at = w->pos, pos = at;
    uint64_t tag = 0;
    if (!varint(s, &pos, &tag))
        return bad_varint(s, at, "a field's tag", err);
    if (tag > UINT32_MAX || (tag >> 3) == 0)
        return tni_raise_at(err, TN_ERR_PARSE, s.base + at,
                            "field number %llu is outside 1..536870911; the file is damaged or not an ONNX model",
                            (unsigned long long)(tag >> 3));
    OnnxField r = {.number = (uint32_t)(tag >> 3), .at = s.base + at};
    unsigned type = (unsigned)(tag & 7);
    if (type == ONNX_WIRE_VARINT) {
        if (!varint(s, &pos, &r.value))
            return bad_varint(s, pos, "a number", err);
    } else if (type == ONNX_WIRE_FIXED64 || type == ONNX_WIRE_FIXED32) {
        unsigned n = type == ONNX_WIRE_FIXED64 ? 8 : 4;
        if (s.n - pos < n)
            return tni_raise_at(err, TN_ERR_PARSE, s.base + pos, "field %u needs %u bytes, %zu are left; the file is cut off or damaged",
                                r.number, n, s.n - pos);
        r.value = little_endian(s.p + pos, n);
        pos += n;
    } else if (type == ONNX_WIRE_BYTES) {
        uint64_t n = 0;
        size_t len_at = pos;
        if (!varint(s, &pos, &n))
            return bad_varint(s, len_at, "a length", err);
        if (n > s.n - pos)
            return tni_raise_at(err, TN_ERR_PARSE, s.base + len_at,
                                "field %u claims %llu bytes, %zu are left; the file is cut off or damaged", r.number, (unsigned long long)n,
                                s.n - pos);
        r.bytes = (TnSpan){.p = s.p + pos, .n = (size_t)n, .base = s.base + pos};
        pos += (size_t)n;
    } else {
        return tni_raise_at(err, TN_ERR_PARSE, s.base + at,
                            "field %u has wire type %u, which ONNX files do not use; the file is damaged or not an ONNX model", r.number,
                            type);
    }
    r.type = (OnnxWireType)type;
    w->pos = pos;
    *f = r;
    return TN_OK;
}

TnStatus tni_onnx_wire_expect(const OnnxField *f, OnnxWireType type, const char *what, TnError *err) {
    if (f->type == type)
        return TN_OK;
    return tni_raise_at(err, TN_ERR_PARSE, f->at, "%s has wire type %d, expected %d", what, (int)f->type, (int)type);
}

TnStatus tni_onnx_wire_count(TnSpan message, uint32_t *counts, uint32_t n_counts, TnError *err) {
    OnnxWire w = tni_onnx_wire(message);
    OnnxField f = {0};
    memset(counts, 0, n_counts * sizeof *counts);
    for (bool more = true;;) {
        TN_TRY(tni_onnx_wire_next(&w, &f, &more, err));
        if (!more)
            return TN_OK;
        if (f.number < n_counts) {
            if (counts[f.number] == UINT32_MAX)
                return tni_raise_at(err, TN_ERR_LIMIT, f.at, "field %u occurs more than %u times", f.number, UINT32_MAX);
            counts[f.number]++;
        }
    }
}

TnStatus tni_onnx_numbers(const OnnxField *f, OnnxWireType type, const char *what, OnnxNumbers *it, TnError *err) {
    memset(it, 0, sizeof *it);
    it->type = type;
    it->what = what;
    if (f->type == type) {
        it->single = true;
        it->value = f->value;
        return TN_OK;
    }
    TN_TRY(tni_onnx_wire_expect(f, ONNX_WIRE_BYTES, what, err));
    it->s = f->bytes;
    size_t unit = type == ONNX_WIRE_FIXED32 ? 4 : type == ONNX_WIRE_FIXED64 ? 8 : 1;
    if (it->s.n % unit != 0)
        return tni_raise_at(err, TN_ERR_PARSE, it->s.base, "%s has %zu bytes, not a multiple of %zu", what, it->s.n, unit);
    return TN_OK;
}

TnStatus tni_onnx_numbers_next(OnnxNumbers *it, uint64_t *value, bool *more, TnError *err) {
    *more = true;
    if (it->single) {
        it->single = false;
        *value = it->value;
        return TN_OK;
    }
    if (it->pos >= it->s.n) {
        *more = false;
        return TN_OK;
    }
    if (it->type == ONNX_WIRE_VARINT) {
        if (!varint(it->s, &it->pos, value))
            return bad_varint(it->s, it->pos, it->what, err);
        return TN_OK;
    }
    unsigned n = it->type == ONNX_WIRE_FIXED64 ? 8 : 4;
    *value = little_endian(it->s.p + it->pos, n);
    it->pos += n;
    return TN_OK;
}

uint64_t tni_onnx_numbers_count(const OnnxNumbers *it) {
    if (it->single)
        return 1;
    if (it->type != ONNX_WIRE_VARINT)
        return it->s.n / (it->type == ONNX_WIRE_FIXED64 ? 8 : 4);
    uint64_t n = 0;
    for (size_t i = 0; i < it->s.n; i++)
        n += it->s.p[i] < 0x80;
    return n;
}
