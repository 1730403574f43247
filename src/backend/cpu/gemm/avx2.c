/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix kernels of ISA level avx2. */
#define TN_SIMD_AVX2
#include "backend/cpu/gemm/gemm_tmpl.c"
