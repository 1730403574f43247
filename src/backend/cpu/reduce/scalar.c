/* SPDX-License-Identifier: Apache-2.0
 *
 * Reduction kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/reduce/reduce_tmpl.h"
