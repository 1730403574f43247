/* SPDX-License-Identifier: Apache-2.0
 *
 * Normalisation kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/norm/norm_tmpl.h"
