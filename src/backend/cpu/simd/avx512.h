/* SPDX-License-Identifier: Apache-2.0
 *
 * simd.h for AVX-512 (F, BW, DQ, VL): 16 lanes. */
#ifndef TENON_BACKEND_CPU_SIMD_AVX512_H
#define TENON_BACKEND_CPU_SIMD_AVX512_H

#include <immintrin.h>

/* Without optimisation gcc's intrinsics with immediates are macros, whose mask casts it would warn of here. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
#endif

#define VL 16

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

TN_INLINE __mmask16 lanes_below(int64_t n) {
    return (__mmask16)_bzhi_u32(0xffffu, (uint32_t)n);
}

TN_INLINE vf vf_set1(float x) {
    return _mm512_set1_ps(x);
}
TN_INLINE vf vf_load(const float *p) {
    return _mm512_loadu_ps(p);
}
TN_INLINE void vf_store(float *p, vf v) {
    _mm512_storeu_ps(p, v);
}
TN_INLINE vf vf_loadn(const float *p, int64_t n) {
    return _mm512_maskz_loadu_ps(lanes_below(n), p);
}
TN_INLINE void vf_storen(float *p, int64_t n, vf v) {
    _mm512_mask_storeu_ps(p, lanes_below(n), v);
}
TN_INLINE vf vf_add(vf a, vf b) {
    return _mm512_add_ps(a, b);
}
TN_INLINE vf vf_sub(vf a, vf b) {
    return _mm512_sub_ps(a, b);
}
TN_INLINE vf vf_mul(vf a, vf b) {
    return _mm512_mul_ps(a, b);
}
TN_INLINE vf vf_div(vf a, vf b) {
    return _mm512_div_ps(a, b);
}
TN_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm512_fmadd_ps(a, b, c);
}
TN_INLINE vf vf_fnma(vf a, vf b, vf c) {
    return _mm512_fnmadd_ps(a, b, c);
}
TN_INLINE vf vf_min(vf a, vf b) {
    return _mm512_min_ps(a, b);
}
TN_INLINE vf vf_max(vf a, vf b) {
    return _mm512_max_ps(a, b);
}
TN_INLINE vf vf_sqrt(vf a) {
    return _mm512_sqrt_ps(a);
}
TN_INLINE vf vf_abs(vf a) {
    return _mm512_abs_ps(a);
}
TN_INLINE vf vf_neg(vf a) {
    return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a);
}
TN_INLINE vf vf_round(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TN_INLINE vf vf_floor(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}
TN_INLINE vf vf_ceil(vf a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC);
}
TN_INLINE vf vf_copysign(vf mag, vf sign) {
    vf s = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_and_ps(s, sign), _mm512_andnot_ps(s, mag));
}

TN_INLINE vm vf_lt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}
TN_INLINE vm vf_le(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ);
}
TN_INLINE vm vf_eq(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}
TN_INLINE vm vf_ne(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_NEQ_UQ);
}
TN_INLINE vm vf_nlt(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_NLT_UQ);
}
TN_INLINE vm vf_unord(vf a, vf b) {
    return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q);
}
TN_INLINE vm vm_and(vm a, vm b) {
    return (vm)(a & b);
}
TN_INLINE vm vm_or(vm a, vm b) {
    return (vm)(a | b);
}
TN_INLINE vm vm_xor(vm a, vm b) {
    return (vm)(a ^ b);
}
TN_INLINE bool vm_any(vm a) {
    return a != 0;
}
TN_INLINE vf vf_sel(vm m, vf a, vf b) {
    return _mm512_mask_blend_ps(m, b, a);
}

TN_INLINE vi vi_set1(int32_t x) {
    return _mm512_set1_epi32(x);
}
TN_INLINE vi vi_add(vi a, vi b) {
    return _mm512_add_epi32(a, b);
}
TN_INLINE vi vi_sub(vi a, vi b) {
    return _mm512_sub_epi32(a, b);
}
TN_INLINE vi vi_and(vi a, vi b) {
    return _mm512_and_si512(a, b);
}
TN_INLINE vm vi_eq(vi a, vi b) {
    return _mm512_cmpeq_epi32_mask(a, b);
}
#define vi_shl(a, k) _mm512_slli_epi32((a), (k))
#define vi_sra(a, k) _mm512_srai_epi32((a), (k))
TN_INLINE vi vf_bits(vf a) {
    return _mm512_castps_si512(a);
}
TN_INLINE vf vi_asf(vi a) {
    return _mm512_castsi512_ps(a);
}
TN_INLINE vi vf_toi(vf a) {
    return _mm512_cvtps_epi32(a);
}
TN_INLINE vf vi_tof(vi a) {
    return _mm512_cvtepi32_ps(a);
}

/* v * 2^n for whole n */
TN_INLINE vf vf_ldexp(vf v, vf n) {
    return _mm512_scalef_ps(v, n);
}

TN_INLINE __m256 vf_lo(vf v) {
    return _mm512_castps512_ps256(v);
}
TN_INLINE __m256 vf_hi(vf v) {
    return _mm512_extractf32x8_ps(v, 1);
}
TN_INLINE float vf_hsum(vf v) {
    __m256 w = _mm256_add_ps(vf_lo(v), vf_hi(v));
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TN_INLINE float vf_hmax(vf v) {
    __m256 w = _mm256_max_ps(vf_lo(v), vf_hi(v));
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
TN_INLINE float vf_hmin(vf v) {
    __m256 w = _mm256_min_ps(vf_lo(v), vf_hi(v));
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(w), _mm256_extractf128_ps(w, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}

TN_INLINE vf vf_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
TN_INLINE void vf_store_f16(uint16_t *p, vf v) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
TN_INLINE vf vf_load_bf16(const uint16_t *p) {
    return vi_asf(vi_shl(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p)), 16));
}
TN_INLINE void vf_store_bf16(uint16_t *p, vf v) {
    vi u = vf_bits(v), odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), vi_set1(1));
    vi r = _mm512_srli_epi32(vi_add(vi_add(u, vi_set1(0x7fff)), odd), 16);
    vi nan = _mm512_or_si512(_mm512_srli_epi32(u, 16), vi_set1(0x40));
    r = _mm512_mask_blend_epi32(vf_unord(v, v), r, nan);
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtepi32_epi16(r));
}

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#endif
