/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix kernels of ISA level scalar. */
#define TN_SIMD_SCALAR
#include "backend/cpu/gemm/gemm_tmpl.c"
