/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling kernels for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/pool/pool_tmpl.h"
