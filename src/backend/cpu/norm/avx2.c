/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisation kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/norm/norm_tmpl.h"
