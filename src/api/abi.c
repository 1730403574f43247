/* SPDX-License-Identifier: Apache-2.0
 *
 * The binary interface, checked when the shared libraries are compiled: layouts that programs have compiled in may only grow at the end. */
#include <stddef.h>

#include "tenon/build.h"
#include "tenon/runtime.h"

_Static_assert(sizeof(TnStatus) == 4 && sizeof(TnDtype) == 4, "enums are 32 bits");
_Static_assert(offsetof(TnTensor, dtype) == 8 && offsetof(TnTensor, dims) == 16 && sizeof(TnTensor) == 16 + 8 * TN_MAX_RANK, "TnTensor");
_Static_assert(offsetof(TnError, message) == 4 && offsetof(TnError, node) == 4 + 1536, "TnError");
_Static_assert(offsetof(TnBuildOptions, size) == 0 && offsetof(TnPlanOptions, size) == 0 && offsetof(TnContextOptions, size) == 0 &&
                   offsetof(TnGenerateOptions, size) == 0,
               "option structs start with their size");
