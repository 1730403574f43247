/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointwise kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/pointwise/pointwise_tmpl.h"
