/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bytes, ISA level avx512. */
#define INTEGER_AVX512
#include "backend/cpu/integer/integer_tmpl.h"
