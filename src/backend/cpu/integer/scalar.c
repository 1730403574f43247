/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bytes, ISA level scalar. */
#define INTEGER_SCALAR
#include "backend/cpu/integer/integer_tmpl.h"
