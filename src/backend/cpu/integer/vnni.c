/* SPDX-License-Identifier: Apache-2.0
 *
 * Products of bytes, ISA level vnni. */
#define INTEGER_VNNI
#include "backend/cpu/integer/integer_tmpl.h"
