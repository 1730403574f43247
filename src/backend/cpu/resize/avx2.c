/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/resize/resize_tmpl.h"
