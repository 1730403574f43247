/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/gather/relative_tmpl.h"
