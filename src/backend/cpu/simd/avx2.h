/* SPDX-License-Identifier: Apache-2.0
 *
 * simd.h for AVX2 + FMA + F16C: 8 lanes. */
#ifndef TENON_BACKEND_CPU_SIMD_AVX2_H
#define TENON_BACKEND_CPU_SIMD_AVX2_H

#include <immintrin.h>

#define VL 8

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm;

static const int32_t tn_lane_mask[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};
TN_INLINE __m256i lanes_below(int64_t n) {
    return _mm256_loadu_si256((const __m256i *)(const void *)(tn_lane_mask + 8 - n));
}

TN_INLINE vf vf_set1(float x) {
    return _mm256_set1_ps(x);
}
TN_INLINE vf vf_load(const float *p) {
    return _mm256_loadu_ps(p);
}
TN_INLINE void vf_store(float *p, vf v) {
    _mm256_storeu_ps(p, v);
}
TN_INLINE vf vf_loadn(const float *p, int64_t n) {
    return _mm256_maskload_ps(p, lanes_below(n));
}
TN_INLINE void vf_storen(float *p, int64_t n, vf v) {
    _mm256_maskstore_ps(p, lanes_below(n), v);
}
TN_INLINE vf vf_add(vf a, vf b) {
    return _mm256_add_ps(a, b);
}
TN_INLINE vf vf_sub(vf a, vf b) {
    return _mm256_sub_ps(a, b);
}
TN_INLINE vf vf_mul(vf a, vf b) {
    return _mm256_mul_ps(a, b);
}
TN_INLINE vf vf_div(vf a, vf b) {
    return _mm256_div_ps(a, b);
}
TN_INLINE vf vf_fma(vf a, vf b, vf c) {
    return _mm256_fmadd_ps(a, b, c);
}
TN_INLINE vf vf_fnma(vf a, vf b, vf c) {
    return _mm256_fnmadd_ps(a, b, c);
}
TN_INLINE vf vf_min(vf a, vf b) {
    return _mm256_min_ps(a, b);
}
TN_INLINE vf vf_max(vf a, vf b) {
    return _mm256_max_ps(a, b);
}
TN_INLINE vf vf_sqrt(vf a) {
    return _mm256_sqrt_ps(a);
}
TN_INLINE vf vf_abs(vf a) {
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}
TN_INLINE vf vf_neg(vf a) {
    return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a);
}
TN_INLINE vf vf_round(vf a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
TN_INLINE vf vf_floor(vf a) {
    return _mm256_floor_ps(a);
}
TN_INLINE vf vf_ceil(vf a) {
    return _mm256_ceil_ps(a);
}
TN_INLINE vf vf_copysign(vf mag, vf sign) {
    vf s = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_and_ps(s, sign), _mm256_andnot_ps(s, mag));
}

TN_INLINE vm vf_lt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LT_OQ);
}
TN_INLINE vm vf_le(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_LE_OQ);
}
TN_INLINE vm vf_eq(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_EQ_OQ);
}
TN_INLINE vm vf_ne(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_NEQ_UQ);
}
TN_INLINE vm vf_nlt(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_NLT_UQ);
}
TN_INLINE vm vf_unord(vf a, vf b) {
    return _mm256_cmp_ps(a, b, _CMP_UNORD_Q);
}
TN_INLINE vm vm_and(vm a, vm b) {
    return _mm256_and_ps(a, b);
}
TN_INLINE vm vm_or(vm a, vm b) {
    return _mm256_or_ps(a, b);
}
TN_INLINE vm vm_xor(vm a, vm b) {
    return _mm256_xor_ps(a, b);
}
TN_INLINE bool vm_any(vm a) {
    return _mm256_movemask_ps(a) != 0;
}
TN_INLINE vf vf_sel(vm m, vf a, vf b) {
    return _mm256_blendv_ps(b, a, m);
}

TN_INLINE vi vi_set1(int32_t x) {
    return _mm256_set1_epi32(x);
}
TN_INLINE vi vi_add(vi a, vi b) {
    return _mm256_add_epi32(a, b);
}
TN_INLINE vi vi_sub(vi a, vi b) {
    return _mm256_sub_epi32(a, b);
}
TN_INLINE vi vi_and(vi a, vi b) {
    return _mm256_and_si256(a, b);
}
TN_INLINE vm vi_eq(vi a, vi b) {
    return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b));
}
#define vi_shl(a, k) _mm256_slli_epi32((a), (k))
#define vi_sra(a, k) _mm256_srai_epi32((a), (k))
TN_INLINE vi vf_bits(vf a) {
    return _mm256_castps_si256(a);
}
TN_INLINE vf vi_asf(vi a) {
    return _mm256_castsi256_ps(a);
}
TN_INLINE vi vf_toi(vf a) {
    return _mm256_cvtps_epi32(a);
}
TN_INLINE vf vi_tof(vi a) {
    return _mm256_cvtepi32_ps(a);
}

/* v * 2^n for whole n in [-160, 160]: in two steps, so that results below the smallest normal number are rounded once. */
TN_INLINE vf vf_ldexp(vf v, vf n) {
    vi k = vf_toi(n), h = vi_sra(k, 1), bias = vi_set1(127);
    vf a = vi_asf(vi_shl(vi_add(h, bias), 23)), b = vi_asf(vi_shl(vi_add(vi_sub(k, h), bias), 23));
    return vf_mul(vf_mul(v, a), b);
}

TN_INLINE float vf_hsum(vf v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
TN_INLINE float vf_hmax(vf v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
TN_INLINE float vf_hmin(vf v) {
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}

TN_INLINE vf vf_load_f16(const uint16_t *p) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p));
}
TN_INLINE void vf_store_f16(uint16_t *p, vf v) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}
TN_INLINE vf vf_load_bf16(const uint16_t *p) {
    return vi_asf(vi_shl(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p)), 16));
}
TN_INLINE void vf_store_bf16(uint16_t *p, vf v) {
    vi u = vf_bits(v), odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), vi_set1(1));
    vi r = _mm256_srli_epi32(vi_add(vi_add(u, vi_set1(0x7fff)), odd), 16);
    vi nan = _mm256_or_si256(_mm256_srli_epi32(u, 16), vi_set1(0x40));
    r = _mm256_castps_si256(vf_sel(vf_unord(v, v), _mm256_castsi256_ps(nan), _mm256_castsi256_ps(r)));
    r = _mm256_permute4x64_epi64(_mm256_packus_epi32(r, r), 0x08);
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_castsi256_si128(r));
}

#endif
