/* SPDX-License-Identifier: Apache-2.0
 *
 * Resampling kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/resize/resize_tmpl.h"
