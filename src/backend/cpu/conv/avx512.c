/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions of ISA level avx512. */
#define TN_SIMD_AVX512
#include "backend/cpu/conv/conv_tmpl.c"
