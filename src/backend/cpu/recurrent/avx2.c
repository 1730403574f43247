/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent cells of ISA level avx2. */
#define TN_SIMD_AVX2
#include "backend/cpu/recurrent/cell_tmpl.h"
