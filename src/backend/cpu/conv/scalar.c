/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of ISA level scalar. */
#define TN_SIMD_SCALAR
#include "backend/cpu/conv/conv_tmpl.c"
