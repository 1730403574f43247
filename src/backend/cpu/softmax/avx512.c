/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/softmax/softmax_tmpl.h"
