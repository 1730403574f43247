/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bytes, ISA level avx2. */
#define INTEGER_AVX2
#include "backend/cpu/integer/integer_tmpl.h"
