/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types: classes and conversions. All conversions round to nearest even and follow the ONNX Cast operator (opset 24). */
#ifndef TENON_BASE_DTYPE_H
#define TENON_BASE_DTYPE_H

#include "base/base.h"

bool tni_dtype_is_float(TnDtype t);  /* f32 f64 f16 bf16 fp8 fp4 */
bool tni_dtype_is_int(TnDtype t);    /* signed and unsigned integers, not bool */
bool tni_dtype_is_signed_int(TnDtype t);
bool tni_dtype_valid(int64_t onnx_number); /* one of TN_DTYPE_MAP, not TN_UNDEFINED */

float tni_f16_to_f32(uint16_t h);
uint16_t tni_f32_to_f16(float f);
float tni_bf16_to_f32(uint16_t h);
uint16_t tni_f32_to_bf16(float f);
/* t is one of the four 8-bit floats. saturate as in ONNX Cast: out of range gives the largest finite value, else NaN/Inf. */
float tni_f8_to_f32(TnDtype t, uint8_t v);
uint8_t tni_f32_to_f8(TnDtype t, float f, bool saturate);

/* Element i of a dense array of type t as double / int64 (any numeric type or bool). Integer reads of a float truncate towards
 * zero; out of range saturates; NaN gives 0. int64 and uint64 round-trip through the i64 pair (uint64 as its bits). */
double tni_load_f64(TnDtype t, const void *data, int64_t i);
int64_t tni_load_i64(TnDtype t, const void *data, int64_t i);
void tni_store_f64(TnDtype t, void *data, int64_t i, double v); /* to an integer type: truncates, saturates; bool: v != 0 */
void tni_store_i64(TnDtype t, void *data, int64_t i, int64_t v); /* to a narrower integer: wraps */

#endif
