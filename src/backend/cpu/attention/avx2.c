/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of ISA level avx2. */
#define TN_SIMD_AVX2
#include "backend/cpu/attention/attention_tmpl.c"
