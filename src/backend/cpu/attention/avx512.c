/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of ISA level avx512. */
#define TN_SIMD_AVX512
#include "backend/cpu/attention/attention_tmpl.c"
