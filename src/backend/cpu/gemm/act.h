/* SPDX-License-Identifier: Apache-2.0
 *
 * Activations (TnAct) on vectors and what else the matrix kernels add to simd.h: complete unrolling and in-register transposes. */
#ifndef TENON_CPU_GEMM_ACT_H
#define TENON_CPU_GEMM_ACT_H

#include "backend/cpu/simd/simd.h"
#include "kernel/params.h"

/* Before a loop of constant length over an array of vectors: unrolled completely, so that the array lives in registers. */
#if defined(__clang__)
#define TN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_UNROLL _Pragma("GCC unroll 32")
#endif

/* The first n lanes, 0 <= n; all when n >= VL. */
TN_INLINE vm vm_first(int64_t n) {
#if VL == 16
    return n >= VL ? (vm)0xffff : lanes_below(n);
#elif VL == 8
    __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32((int32_t)TN_MIN(n, (int64_t)VL)), lane));
#else
    return n > 0;
#endif
}

/* x * Phi(x) = max(x, 0) - |x| * Q(|x|), with Q(a) = erfc(a / sqrt 2) / 2 = 2^-q(a): half the work of vf_gelu, which also keeps the
 * relative error small in the far negative tail. q is a minimax fit that weights errors by Q, so |x| Q is within 8e-8 of exact and
 * the result within 2 ulp for x > -1; absolute error below 1e-7 further left. */
TN_INLINE vf vf_gelu_fast(vf x) {
    vf a = vf_min(vf_set1(14.0f), vf_abs(x));
    vf q = vf_set1(-1.38096948e-6f);
    q = vf_fma(q, a, vf_set1(2.28088447e-5f));
    q = vf_fma(q, a, vf_set1(-0.000112639304f));
    q = vf_fma(q, a, vf_set1(-0.000299845939f));
    q = vf_fma(q, a, vf_set1(0.00725495908f));
    q = vf_fma(q, a, vf_set1(-0.0526133552f));
    q = vf_fma(q, a, vf_set1(-0.459174365f));
    q = vf_fma(q, a, vf_set1(-1.15110886f));
    q = vf_fma(q, a, vf_set1(-0.99999994f));
    q = vf_max(vf_set1(-126.0f), q);
    vf n = vf_round(q);
    vf r = vf_mul(vf_sub(q, n), vf_set1(0.693147181f));
    vf e = vf_add(vf_expm1_core(r), vf_set1(1.0f));
#if VL == 16
    e = vf_ldexp(e, n);
#else
    e = vf_mul(e, vf_pow2(n));
#endif
    return vf_fnma(a, e, vf_max(vf_zero(), x));
}

/* act is a TnAct. */
TN_INLINE vf vf_act(uint32_t act, float alpha, float beta, vf x) {
    switch (act) {
    case TN_ACT_RELU:
        return vf_max(vf_zero(), x);
    case TN_ACT_GELU:
        return vf_gelu_fast(x);
    case TN_ACT_GELU_TANH:
        return vf_gelu_tanh(x);
    case TN_ACT_TANH:
        return vf_tanh(x);
    case TN_ACT_SIGMOID:
        return vf_sigmoid(x);
    case TN_ACT_SILU:
        return vf_silu(x, vf_set1(1.0f));
    case TN_ACT_CLIP:
        return vf_min(vf_set1(beta), vf_max(vf_set1(alpha), x));
    case TN_ACT_LEAKY_RELU:
        return vf_sel(vf_lt(x, vf_zero()), vf_mul(x, vf_set1(alpha)), x);
    case TN_ACT_HARD_SWISH: {
        vf h = vf_fma(x, vf_set1(1.0f / 6.0f), vf_set1(0.5f));
        return vf_mul(x, vf_min(vf_set1(1.0f), vf_max(vf_zero(), h)));
    }
    default:
        return x;
    }
}

/* r[i][j] <-> r[j][i] */
TN_INLINE void vf_transpose(vf r[VL]) {
#if VL == 16
    vf t[16];
    TN_UNROLL
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    TN_UNROLL
    for (int i = 0; i < 4; i++) {
        __m512d a0 = _mm512_castps_pd(t[4 * i]), a1 = _mm512_castps_pd(t[4 * i + 1]);
        __m512d a2 = _mm512_castps_pd(t[4 * i + 2]), a3 = _mm512_castps_pd(t[4 * i + 3]);
        r[4 * i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a0, a2));
        r[4 * i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a0, a2));
        r[4 * i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(a1, a3));
        r[4 * i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(a1, a3));
    }
    TN_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0x88);
        t[4 + i] = _mm512_shuffle_f32x4(r[i], r[4 + i], 0xdd);
        t[8 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0x88);
        t[12 + i] = _mm512_shuffle_f32x4(r[8 + i], r[12 + i], 0xdd);
    }
    TN_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0x88);
        r[8 + i] = _mm512_shuffle_f32x4(t[i], t[8 + i], 0xdd);
        r[4 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0x88);
        r[12 + i] = _mm512_shuffle_f32x4(t[4 + i], t[12 + i], 0xdd);
    }
#elif VL == 8
    vf t[8];
    TN_UNROLL
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    TN_UNROLL
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    TN_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x20);
        t[4 + i] = _mm256_permute2f128_ps(r[i], r[4 + i], 0x31);
    }
    TN_UNROLL
    for (int i = 0; i < 8; i++)
        r[i] = t[i];
#else
    (void)r; /* one lane */
#endif
}

#endif
