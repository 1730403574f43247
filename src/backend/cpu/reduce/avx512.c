/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/reduce/reduce_tmpl.h"
