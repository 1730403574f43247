/* SPDX-License-Identifier: Apache-2.0
 *
 * Softmax kernels for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/softmax/softmax_tmpl.h"
