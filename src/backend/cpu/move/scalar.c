/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposing tiles for SCALAR. */
#define TN_SIMD_SCALAR
#include "backend/cpu/move/move_tmpl.h"
