/* SPDX-License-Identifier: Apache-2.0
 *
 * Pointwise kernels: unary, binary, where, clip, cast, and pointwise programs. All run through the elementwise driver of common/loop.h:
 * broadcast operands are brought to tiles of TN_TILE elements in L1, and a tile function of the ISA does the work. */
#ifndef TENON_BACKEND_CPU_POINTWISE_H
#define TENON_BACKEND_CPU_POINTWISE_H

#include "backend/cpu/common/loop.h"

#define TN_POINTWISE_DECLARE(isa)                                                                                                          \
    TnStatus tni_cpu_unary_##isa(TnKernelCall *call);                                                                                      \
    TnStatus tni_cpu_binary_##isa(TnKernelCall *call);                                                                                     \
    TnStatus tni_cpu_where_##isa(TnKernelCall *call);                                                                                      \
    TnStatus tni_cpu_clip_##isa(TnKernelCall *call);                                                                                       \
    TnStatus tni_cpu_cast_##isa(TnKernelCall *call);                                                                                       \
    TnStatus tni_cpu_pointwise_##isa(TnKernelCall *call);                                                                                  \
    double tni_cpu_unary_cost_##isa(const TnKernelQuery *q);                                                                               \
    double tni_cpu_light_cost_##isa(const TnKernelQuery *q);                                                                               \
    double tni_cpu_pointwise_cost_##isa(const TnKernelQuery *q);
TN_POINTWISE_DECLARE(scalar)
TN_POINTWISE_DECLARE(avx2)
TN_POINTWISE_DECLARE(avx512)
#undef TN_POINTWISE_DECLARE

bool tni_cpu_unary_supports(const TnKernelQuery *q);
bool tni_cpu_binary_supports(const TnKernelQuery *q);
bool tni_cpu_where_supports(const TnKernelQuery *q);
bool tni_cpu_clip_supports(const TnKernelQuery *q);
bool tni_cpu_cast_supports(const TnKernelQuery *q);
bool tni_cpu_pointwise_supports(const TnKernelQuery *q);

/* Index of a type in the cast and integer tables, or -1: f32, f64, f16, bf16, i64, i32, u8, i8, bool. */
enum { PW_F32, PW_F64, PW_F16, PW_BF16, PW_I64, PW_I32, PW_U8, PW_I8, PW_BOOL, PW_TYPES };
int32_t tni_cpu_pw_type(TnDtype t);

#endif
