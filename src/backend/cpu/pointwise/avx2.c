/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointwise kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/pointwise/pointwise_tmpl.h"
