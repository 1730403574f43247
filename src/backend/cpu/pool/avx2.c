/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling kernels for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/pool/pool_tmpl.h"
