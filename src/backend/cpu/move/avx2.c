/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposing tiles for AVX2. */
#define TN_SIMD_AVX2
#include "backend/cpu/move/move_tmpl.h"
