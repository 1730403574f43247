/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantisation kernels for avx2. */
#define TN_SIMD_AVX2
#include "backend/cpu/quantize/quantize_tmpl.h"
