/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of ISA level scalar. */
#define TN_SIMD_SCALAR
#include "backend/cpu/attention/attention_tmpl.c"
