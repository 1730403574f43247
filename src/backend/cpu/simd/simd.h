/* SPDX-License-Identifier: Apache-2.0
 *
 * Portable vectors of f32 for kernel templates: one body, compiled once per ISA.
 *
 * A per-ISA source file defines TN_SIMD_SCALAR, TN_SIMD_AVX2 or TN_SIMD_AVX512, then includes its family's template, which includes this.
 *   VL            lanes: 1, 8, 16
 *   TN_ISA(name)  name_scalar, name_avx2, name_avx512: the symbol of this ISA's copy
 *   vf, vi, vm    floats, 32-bit integers, lane mask
 * vf_min(a, b) is a < b ? a : b and vf_max(a, b) is a > b ? a : b: where a or b is NaN the result is b.
 * vf_fma(a, b, c) = a * b + c is fused in the vector ISAs, and rounds twice in scalar code.
 * vf_loadn and vf_storen touch only n lanes (0 < n <= VL); lanes beyond n of vf_loadn are zero. No load or store needs alignment.
 * Horizontal sums and extrema have a fixed order. */
#ifndef TENON_BACKEND_CPU_SIMD_SIMD_H
#define TENON_BACKEND_CPU_SIMD_SIMD_H

#include <math.h>

#include "base/base.h"
#include "base/dtype.h"

#if defined(TN_SIMD_AVX512)
#include "backend/cpu/simd/avx512.h"
#define TN_ISA(name) name##_avx512
#elif defined(TN_SIMD_AVX2)
#include "backend/cpu/simd/avx2.h"
#define TN_ISA(name) name##_avx2
#elif defined(TN_SIMD_SCALAR)
#include "backend/cpu/simd/scalar.h"
#define TN_ISA(name) name##_scalar
#else
#error "define TN_SIMD_SCALAR, TN_SIMD_AVX2 or TN_SIMD_AVX512 before including simd.h"
#endif

TN_INLINE vf vf_zero(void) {
    return vf_set1(0.0f);
}
/* m ? a : 0 */
TN_INLINE vf vf_keep(vm m, vf a) {
    return vf_sel(m, a, vf_zero());
}

#include "backend/cpu/simd/mathf.h"

#endif
