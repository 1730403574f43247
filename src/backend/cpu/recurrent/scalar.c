/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent cells of ISA level scalar. */
#define TN_SIMD_SCALAR
#include "backend/cpu/recurrent/cell_tmpl.h"
