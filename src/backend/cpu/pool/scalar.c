/* SPDX-License-Identifier: Apache-2.0
 *
 * Pooling kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/pool/pool_tmpl.h"
