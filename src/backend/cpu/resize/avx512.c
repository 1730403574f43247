/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/resize/resize_tmpl.h"
