/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent cells of ISA level avx512. */
#define TN_SIMD_AVX512
#include "backend/cpu/recurrent/cell_tmpl.h"
