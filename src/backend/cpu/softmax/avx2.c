/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/softmax/softmax_tmpl.h"
