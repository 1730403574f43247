/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantisation kernels for scalar. */
#define TN_SIMD_SCALAR
#include "backend/cpu/quantize/quantize_tmpl.h"
