/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators whose axes are computed at run time (convert_dynamic.c). */
#ifndef TENON_ONNX_DYNAMIC_H
#define TENON_ONNX_DYNAMIC_H

#include "onnx/convert.h"

/* Operand i is there and no constant. */
bool tni_onnx_axes_computed(const OnnxCall *c, uint32_t operand);
TnStatus tni_onnx_dynamic_slice(OnnxCall *c);
TnStatus tni_onnx_dynamic_pad(OnnxCall *c, const TnPadParams *p);
TnStatus tni_onnx_dynamic_squeeze(OnnxCall *c);
TnStatus tni_onnx_dynamic_unsqueeze(OnnxCall *c);
TnStatus tni_onnx_dynamic_reduce(OnnxCall *c, uint32_t fn, bool keepdims, bool noop);

#endif
