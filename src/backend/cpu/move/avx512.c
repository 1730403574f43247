/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposing tiles for AVX512. */
#define TN_SIMD_AVX512
#include "backend/cpu/move/move_tmpl.h"
