/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/reduce/reduce_tmpl.h"
