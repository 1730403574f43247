/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix kernels of ISA level avx512. */
#define TN_SIMD_AVX512
#include "backend/cpu/gemm/gemm_tmpl.c"
