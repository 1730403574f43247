/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisation kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/norm/norm_tmpl.h"
