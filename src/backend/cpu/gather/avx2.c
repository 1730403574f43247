/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/gather/relative_tmpl.h"
