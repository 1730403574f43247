/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointwise kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/pointwise/pointwise_tmpl.h"
