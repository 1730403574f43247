/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/gather/relative_tmpl.h"
