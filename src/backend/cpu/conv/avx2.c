/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of ISA level avx2. */
#define TN_SIMD_AVX2
#include "backend/cpu/conv/conv_tmpl.c"
