/* SPDX-License-Identifier: Apache-2.0
 *
 * Moving data: everything but the transposes is the same on every ISA (memcpy does the work), so only those have a row an ISA. */
#ifndef TENON_BACKEND_CPU_MOVE_H
#define TENON_BACKEND_CPU_MOVE_H

#include "backend/cpu/common/copy.h"

#define TN_MOVE_DECLARE(isa)                                                                                                               \
    TnStatus tni_cpu_transpose_##isa(TnKernelCall *call);                                                                                  \
    TnStatus tni_cpu_depth_to_space_##isa(TnKernelCall *call);                                                                             \
    TnStatus tni_cpu_space_to_depth_##isa(TnKernelCall *call);                                                                             \
    double tni_cpu_transpose_cost_##isa(const TnKernelQuery *q);
TN_MOVE_DECLARE(scalar)
TN_MOVE_DECLARE(avx2)
TN_MOVE_DECLARE(avx512)
#undef TN_MOVE_DECLARE

/* The calls, given the ISA's tiles (move.c). */
TnStatus tni_cpu_transpose(TnKernelCall *call, const TnTransposeTiles *tiles);
TnStatus tni_cpu_depth_space(TnKernelCall *call, const TnTransposeTiles *tiles, bool to_space);

TnStatus tni_cpu_reshape(TnKernelCall *call); /* identity too */
TnStatus tni_cpu_concat(TnKernelCall *call);
TnStatus tni_cpu_split(TnKernelCall *call);
TnStatus tni_cpu_slice(TnKernelCall *call);
TnStatus tni_cpu_expand(TnKernelCall *call);
TnStatus tni_cpu_tile(TnKernelCall *call);
TnStatus tni_cpu_pad(TnKernelCall *call);
TnStatus tni_cpu_trilu(TnKernelCall *call);
TnStatus tni_cpu_one_hot(TnKernelCall *call);
TnStatus tni_cpu_constant_of_shape(TnKernelCall *call);

bool tni_cpu_move_supports(const TnKernelQuery *q); /* elements of whole bytes, integer arguments in i32 or i64 */
bool tni_cpu_one_hot_supports(const TnKernelQuery *q);
bool tni_cpu_constant_of_shape_supports(const TnKernelQuery *q);
double tni_cpu_move_cost(const TnKernelQuery *q);

#endif
