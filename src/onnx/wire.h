/* SPDX-License-Identifier: Apache-2.0
 *
 * The protobuf wire format: a cursor over the bytes of one message that yields its fields one by one. Nothing is copied and nothing is
 * allocated; every length is checked against the bytes that are left, and every error carries the offset in the file. */
#ifndef TENON_ONNX_WIRE_H
#define TENON_ONNX_WIRE_H

#include "base/span.h"

typedef enum OnnxWireType { ONNX_WIRE_VARINT = 0, ONNX_WIRE_FIXED64 = 1, ONNX_WIRE_BYTES = 2, ONNX_WIRE_FIXED32 = 5 } OnnxWireType;

typedef struct OnnxWire {
    TnSpan s;
    size_t pos;
} OnnxWire;

typedef struct OnnxField {
    uint32_t number;
    OnnxWireType type;
    uint64_t value; /* varint, fixed64, fixed32 */
    TnSpan bytes;   /* ONNX_WIRE_BYTES */
    uint64_t at;    /* offset of the field's tag in the file */
} OnnxField;

OnnxWire tni_onnx_wire(TnSpan message);
/* The next field; *more is false (and *f untouched) at the end of the message. TN_ERR_PARSE: cut off, overlong varint, field number 0,
 * group or unknown wire type, length beyond the message. */
TnStatus tni_onnx_wire_next(OnnxWire *w, OnnxField *f, bool *more, TnError *err);
/* TN_ERR_PARSE naming `what` ("NodeProto.name") unless f has this type. */
TnStatus tni_onnx_wire_expect(const OnnxField *f, OnnxWireType type, const char *what, TnError *err);
/* Counts the fields of a message by number; numbers of n_counts and more are not counted. Checks the framing of all of them. */
TnStatus tni_onnx_wire_count(TnSpan message, uint32_t *counts, uint32_t n_counts, TnError *err);

/* Numbers of a repeated scalar field, packed (one length-delimited run) or not (one field a number): an iterator over one occurrence.
 * type is the scalar's own wire type. */
typedef struct OnnxNumbers {
    TnSpan s;
    size_t pos;
    OnnxWireType type;
    bool single;
    uint64_t value;
    const char *what;
} OnnxNumbers;
TnStatus tni_onnx_numbers(const OnnxField *f, OnnxWireType type, const char *what, OnnxNumbers *it, TnError *err);
TnStatus tni_onnx_numbers_next(OnnxNumbers *it, uint64_t *value, bool *more, TnError *err);
/* How many there are, without decoding them. */
uint64_t tni_onnx_numbers_count(const OnnxNumbers *it);

#endif
