/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types and tensor views. */
#ifndef TENON_TENSOR_H
#define TENON_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#include "tenon/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TN_MAX_RANK 8

/* X(enumerator, number, name, bits). Numbers are those of ONNX TensorProto.DataType. */
#define TN_DTYPE_MAP(X)                     \
    X(TN_UNDEFINED, 0, "undefined", 0)      \
    X(TN_F32, 1, "float32", 32)             \
    X(TN_U8, 2, "uint8", 8)                 \
    X(TN_I8, 3, "int8", 8)                  \
    X(TN_U16, 4, "uint16", 16)              \
    X(TN_I16, 5, "int16", 16)               \
    X(TN_I32, 6, "int32", 32)               \
    X(TN_I64, 7, "int64", 64)               \
    X(TN_STRING, 8, "string", 0)            \
    X(TN_BOOL, 9, "bool", 8)                \
    X(TN_F16, 10, "float16", 16)            \
    X(TN_F64, 11, "float64", 64)            \
    X(TN_U32, 12, "uint32", 32)             \
    X(TN_U64, 13, "uint64", 64)             \
    X(TN_C64, 14, "complex64", 64)          \
    X(TN_C128, 15, "complex128", 128)       \
    X(TN_BF16, 16, "bfloat16", 16)          \
    X(TN_F8E4M3FN, 17, "float8e4m3fn", 8)   \
    X(TN_F8E4M3FNUZ, 18, "float8e4m3fnuz", 8) \
    X(TN_F8E5M2, 19, "float8e5m2", 8)       \
    X(TN_F8E5M2FNUZ, 20, "float8e5m2fnuz", 8) \
    X(TN_U4, 21, "uint4", 4)                \
    X(TN_I4, 22, "int4", 4)                 \
    X(TN_F4E2M1, 23, "float4e2m1", 4)       \
    X(TN_F8E8M0, 24, "float8e8m0", 8)       \
    X(TN_U2, 25, "uint2", 2)                \
    X(TN_I2, 26, "int2", 2)

typedef enum TnDtype {
#define X(e, number, name, bits) e = number,
    TN_DTYPE_MAP(X)
#undef X
} TnDtype;

/* Name ("float32") or "unknown"; static storage. */
TN_API const char *tn_dtype_name(TnDtype t);
/* Bits of one element, 0 for undefined and string. */
TN_API uint32_t tn_dtype_bits(TnDtype t);

/* A dense row-major tensor. A view: the struct owns nothing. Elements narrower than a byte are packed, low bits
 * first (ONNX). rank 0 is a scalar; a dimension may be 0. An absent optional tensor has dtype TN_UNDEFINED. */
typedef struct TnTensor {
    void *data;
    TnDtype dtype;
    int32_t rank;
    int64_t dims[TN_MAX_RANK];
} TnTensor;

/* Number of elements; 1 for a scalar. Dimensions must be >= 0 and the product must fit (checked where a tensor enters). */
TN_API int64_t tn_tensor_numel(const TnTensor *t);
/* Bytes of the data. */
TN_API size_t tn_tensor_bytes(const TnTensor *t);

#ifdef __cplusplus
}
#endif
#endif
