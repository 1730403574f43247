/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantisation kernels for avx512. */
#define TN_SIMD_AVX512
#include "backend/cpu/quantize/quantize_tmpl.h"
