/* SPDX-License-Identifier: Apache-2.0
 *
 * Elementary functions of f32 vectors, written over simd.h. Polynomials are minimax fits made for this file (Remez, 40 digits).
 *
 * Largest error against the correctly rounded result, over all f32 arguments of the domain (tests/kernels/test_ulp.c measures and checks
 * it): exp 1.2 ulp (results below 2^-126 rounded once more), log 1, tanh 1.5, erf 1.5, sigmoid 2.5, softplus 2.5, expm1_neg 1, sin and
 * cos 1.5 where they are not near 0, 1e-7 absolute up to |x| = 8192; silu 3, mish 4 ulp; gelu 24 ulp and gelu_tanh 16 ulp for |x| <= 3
 * (reached near -3, where they are small: 1e-8 absolute), 2^-22 |x| absolute beyond. NaN gives NaN; infinities, zeros and subnormal
 * arguments give what the mathematics gives. */
#ifndef TENON_BACKEND_CPU_SIMD_MATHF_H
#define TENON_BACKEND_CPU_SIMD_MATHF_H

#define TN_LOG2E 0x1.715476p+0f
#define TN_LN2_HI 0x1.62e4p-1f /* 15 bits: n * hi is exact for |n| < 512 */
#define TN_LN2_LO 0x1.7f7d1cp-20f

/* e^r - 1 for |r| <= ln2 / 2 */
TN_INLINE vf vf_expm1_core(vf r) {
    vf p = vf_set1(0x1.6a1a6p-10f);
    p = vf_fma(p, r, vf_set1(0x1.123fc6p-7f));
    p = vf_fma(p, r, vf_set1(0x1.555916p-5f));
    p = vf_fma(p, r, vf_set1(0x1.55548ap-3f));
    p = vf_fma(p, r, vf_set1(0x1.fffffcp-2f));
    return vf_fma(vf_mul(r, r), p, r);
}

TN_INLINE vf vf_exp(vf x) {
    /* beyond these the result is +inf or 0 anyway; NaN is the second operand and passes */
    x = vf_max(vf_set1(-105.0f), vf_min(vf_set1(90.0f), x));
    vf n = vf_round(vf_mul(x, vf_set1(TN_LOG2E)));
    vf r = vf_fnma(n, vf_set1(TN_LN2_LO), vf_fnma(n, vf_set1(TN_LN2_HI), x));
    return vf_ldexp(vf_add(vf_expm1_core(r), vf_set1(1.0f)), n);
}

/* 2^n for whole n in [-126, 127]; anything for NaN */
TN_INLINE vf vf_pow2(vf n) {
    return vi_asf(vi_shl(vi_add(vf_toi(n), vi_set1(127)), 23));
}

/* e^x for x <= 0 or NaN; results below 2^-125 become 0. The form for softmax, where such terms cannot matter. */
TN_INLINE vf vf_exp_le0(vf x) {
    vm alive = vf_nlt(x, vf_set1(-86.5f));
    vf t = vf_max(vf_set1(-86.5f), x);
    vf n = vf_round(vf_mul(t, vf_set1(TN_LOG2E)));
    vf r = vf_fnma(n, vf_set1(TN_LN2_LO), vf_fnma(n, vf_set1(TN_LN2_HI), t));
    vf y = vf_add(vf_expm1_core(r), vf_set1(1.0f));
#if VL == 16
    y = vf_ldexp(y, n);
#else
    y = vf_mul(y, vf_pow2(n));
#endif
    return vf_keep(alive, y);
}

/* e^x - 1 for x <= 0 or NaN */
TN_INLINE vf vf_expm1_neg(vf x) {
    x = vf_max(vf_set1(-40.0f), x);
    vf n = vf_round(vf_mul(x, vf_set1(TN_LOG2E)));
    vf r = vf_fnma(n, vf_set1(TN_LN2_LO), vf_fnma(n, vf_set1(TN_LN2_HI), x));
    vf s = vf_ldexp(vf_set1(1.0f), n);
    return vf_fma(s, vf_expm1_core(r), vf_sub(s, vf_set1(1.0f)));
}

TN_INLINE vf vf_log(vf x) {
    vm tiny = vf_lt(x, vf_set1(0x1p-126f));
    vf v = vf_sel(tiny, vf_mul(x, vf_set1(0x1p23f)), x);
    vi sqrt_half = vi_set1(0x3f3504f3), b = vi_sub(vf_bits(v), sqrt_half);
    vf e = vf_add(vi_tof(vi_sra(b, 23)), vf_sel(tiny, vf_set1(-23.0f), vf_zero()));
    vf f = vf_sub(vi_asf(vi_add(vi_and(b, vi_set1(0x7fffff)), sqrt_half)), vf_set1(1.0f));
    vf p = vf_set1(-0x1.38b49ep-4f);
    p = vf_fma(p, f, vf_set1(0x1.055afp-3f));
    p = vf_fma(p, f, vf_set1(-0x1.0d8534p-3f));
    p = vf_fma(p, f, vf_set1(0x1.22da2ep-3f));
    p = vf_fma(p, f, vf_set1(-0x1.547248p-3f));
    p = vf_fma(p, f, vf_set1(0x1.99a008p-3f));
    p = vf_fma(p, f, vf_set1(-0x1.000226p-2f));
    p = vf_fma(p, f, vf_set1(0x1.555554p-2f));
    vf ff = vf_mul(f, f);
    p = vf_fma(vf_mul(ff, f), p, vf_mul(e, vf_set1(TN_LN2_LO)));
    p = vf_fnma(ff, vf_set1(0.5f), p);
    vf y = vf_fma(e, vf_set1(TN_LN2_HI), vf_add(f, p));
    y = vf_sel(vf_nlt(x, vf_set1(INFINITY)), x, y); /* +inf and NaN */
    y = vf_sel(vf_eq(x, vf_zero()), vf_set1(-INFINITY), y);
    return vf_sel(vf_nlt(x, vf_zero()), y, vf_set1(NAN));
}

/* log(1 + u) for u in [0, 1] or NaN */
TN_INLINE vf vf_log1p_unit(vf u) {
    vf w = vf_add(vf_set1(1.0f), u), lost = vf_sub(u, vf_sub(w, vf_set1(1.0f)));
    return vf_add(vf_log(w), vf_div(lost, w));
}

TN_INLINE vf vf_tanh(vf x) {
    vf a = vf_abs(x), t = vf_mul(x, x);
    vf e = vf_exp(vf_add(a, a));
    vf big = vf_sub(vf_set1(1.0f), vf_div(vf_set1(2.0f), vf_add(e, vf_set1(1.0f))));
    vf p = vf_set1(-0x1.76ac6ap-8f);
    p = vf_fma(p, t, vf_set1(0x1.5256eap-6f));
    p = vf_fma(p, t, vf_set1(-0x1.b8444cp-5f));
    p = vf_fma(p, t, vf_set1(0x1.110768p-3f));
    p = vf_fma(p, t, vf_set1(-0x1.555534p-2f));
    vf small = vf_fma(vf_mul(x, t), p, x);
    return vf_sel(vf_lt(a, vf_set1(0.625f)), small, vf_copysign(big, x));
}

/* 1 / (1 + e^-x) */
TN_INLINE vf vf_sigmoid(vf x) {
    vf e = vf_exp(vf_neg(vf_abs(x))), one = vf_set1(1.0f);
    return vf_div(vf_sel(vf_lt(x, vf_zero()), e, one), vf_add(one, e));
}

/* erf(z) / z - 1 for t = z^2 <= 1: added to 1 last, in the caller's fused multiply-add, it costs no digit */
TN_INLINE vf vf_erf_core(vf t) {
    vf p = vf_set1(0x1.4ae4e8p-14f);
    p = vf_fma(p, t, vf_set1(-0x1.a485f2p-11f));
    p = vf_fma(p, t, vf_set1(0x1.5419f6p-8f));
    p = vf_fma(p, t, vf_set1(-0x1.b7fbb4p-6f));
    p = vf_fma(p, t, vf_set1(0x1.ce2d2p-4f));
    p = vf_fma(p, t, vf_set1(-0x1.81273ep-2f));
    return vf_fma(p, t, vf_set1(0x1.06eba8p-3f));
}

/* erfc(z) for 1 <= z; 0 for z > 6; absolute error below 1e-9 + 1 ulp */
TN_INLINE vf vf_erfc_core(vf z) {
    vf c = vf_min(vf_set1(6.0f), z);
    vf p = vf_set1(0x1.3e7bc4p-16f);
    p = vf_fma(p, c, vf_set1(-0x1.aa3df2p-12f));
    p = vf_fma(p, c, vf_set1(0x1.0741c2p-8f));
    p = vf_fma(p, c, vf_set1(-0x1.940b9p-6f));
    p = vf_fma(p, c, vf_set1(0x1.b84142p-4f));
    p = vf_fma(p, c, vf_set1(0x1.44afdcp-1f));
    p = vf_fma(p, c, vf_set1(0x1.210ad6p+0f));
    p = vf_fma(p, c, vf_set1(-0x1.3189fep-14f));
    vf n = vf_round(vf_mul(p, vf_set1(-TN_LOG2E)));
    vf r = vf_fnma(n, vf_set1(TN_LN2_LO), vf_fnma(n, vf_set1(TN_LN2_HI), vf_neg(p)));
    vf y = vf_add(vf_expm1_core(r), vf_set1(1.0f));
#if VL == 16
    y = vf_ldexp(y, n);
#else
    y = vf_mul(y, vf_pow2(n));
#endif
    return vf_sel(vf_lt(vf_set1(6.0f), z), vf_zero(), y);
}

TN_INLINE vf vf_erf(vf x) {
    vf a = vf_abs(x);
    vf small = vf_fma(x, vf_erf_core(vf_mul(x, x)), x);
    vf big = vf_copysign(vf_sub(vf_set1(1.0f), vf_erfc_core(a)), x);
    return vf_sel(vf_lt(a, vf_set1(1.0f)), small, vf_sel(vf_unord(x, x), x, big));
}

/* Phi(-a), the normal distribution's tail, for a >= 0 or NaN: 2^p(a), one polynomial for the logarithm from 0 to 8.5; 0 beyond. Relative
 * error 1e-7 up to a = 3, absolute error below 1e-8 everywhere. */
TN_INLINE vf vf_normal_tail(vf a) {
    vf c = vf_min(vf_set1(8.5f), a);
    vf p = vf_set1(0x1.65df33p-22f);
    p = vf_fma(p, c, vf_set1(-0x1.d43596p-18f));
    p = vf_fma(p, c, vf_set1(0x1.f65f5ap-15f));
    p = vf_fma(p, c, vf_set1(-0x1.f36356p-13f));
    p = vf_fma(p, c, vf_set1(-0x1.116c58p-14f));
    p = vf_fma(p, c, vf_set1(0x1.cb6ecep-8f));
    p = vf_fma(p, c, vf_set1(-0x1.ade528p-5f));
    p = vf_fma(p, c, vf_set1(-0x1.d63b3ap-2f));
    p = vf_fma(p, c, vf_set1(-0x1.26aed8p+0f));
    p = vf_fma(p, c, vf_set1(-1.0f));
    vf n = vf_round(p), r = vf_sub(p, n); /* exact */
    vf e = vf_set1(0x1.448fa4p-13f);
    e = vf_fma(e, r, vf_set1(0x1.5f47bp-10f));
    e = vf_fma(e, r, vf_set1(0x1.3b29aap-7f));
    e = vf_fma(e, r, vf_set1(0x1.c6aedp-5f));
    e = vf_fma(e, r, vf_set1(0x1.ebfbep-3f));
    e = vf_fma(e, r, vf_set1(0x1.62e43p-1f));
    e = vf_fma(e, r, vf_set1(1.0f));
#if VL == 16
    e = vf_ldexp(e, n);
#else
    e = vf_mul(e, vf_pow2(n));
#endif
    return vf_sel(vf_lt(vf_set1(8.5f), a), vf_zero(), e);
}

/* x Phi(x): through the tail on both sides, so that no digits cancel for negative x */
TN_INLINE vf vf_gelu(vf x) {
    vf tail = vf_normal_tail(vf_abs(x));
    return vf_mul(x, vf_sel(vf_lt(x, vf_zero()), tail, vf_sub(vf_set1(1.0f), tail)));
}

/* The tanh form, 0.5 x (1 + tanh u) = x sigmoid(2u) */
TN_INLINE vf vf_gelu_tanh(vf x) {
    vf xx = vf_mul(x, x);
    vf u2 = vf_mul(vf_mul(x, vf_set1(1.5957691216f)), vf_fma(xx, vf_set1(0.044715f), vf_set1(1.0f)));
    return vf_mul(x, vf_sigmoid(u2));
}

TN_INLINE vf vf_silu(vf x, vf alpha) {
    return vf_mul(x, vf_sigmoid(vf_mul(x, alpha)));
}

TN_INLINE vf vf_softplus(vf x) {
    vf u = vf_exp(vf_neg(vf_abs(x)));
    return vf_add(vf_max(vf_zero(), x), vf_log1p_unit(u));
}

/* x tanh(softplus x) = x n / (n + 2), n = e (e + 2), e = exp x */
TN_INLINE vf vf_mish(vf x) {
    vf e = vf_exp(vf_min(vf_set1(20.0f), x)), two = vf_set1(2.0f);
    vf n = vf_mul(e, vf_add(e, two));
    return vf_mul(x, vf_div(n, vf_add(n, two)));
}

#if VL > 1
/* sin(x) and cos(x) for |x| <= 8192: quadrant k of pi/2, remainder by three fused steps */
TN_INLINE vf vf_sincos(vf x, int32_t shift) {
    vf k = vf_round(vf_mul(x, vf_set1(0x1.45f306p-1f)));
    vf r = vf_fnma(k, vf_set1(0x1.921fb6p+0f), x);
    r = vf_fnma(k, vf_set1(-0x1.777a5cp-25f), r);
    r = vf_fnma(k, vf_set1(-0x1.ee59dap-50f), r);
    vi q = vi_add(vf_toi(k), vi_set1(shift));
    vf t = vf_mul(r, r);
    vf s = vf_fma(vf_set1(0x1.6cbed2p-19f), t, vf_set1(-0x1.a00f32p-13f));
    s = vf_fma(s, t, vf_set1(0x1.111108p-7f));
    s = vf_fma(s, t, vf_set1(-0x1.555556p-3f));
    s = vf_fma(vf_mul(r, t), s, r);
    vf c = vf_fma(vf_set1(-0x1.2417e2p-22f), t, vf_set1(0x1.a010c4p-16f));
    c = vf_fma(c, t, vf_set1(-0x1.6c16b8p-10f));
    c = vf_fma(c, t, vf_set1(0x1.555556p-5f));
    c = vf_fma(vf_mul(t, t), c, vf_fnma(t, vf_set1(0.5f), vf_set1(1.0f)));
    vf y = vf_sel(vi_eq(vi_and(q, vi_set1(1)), vi_set1(0)), s, c);
    return vf_sel(vi_eq(vi_and(q, vi_set1(2)), vi_set1(0)), y, vf_neg(y));
}
TN_INLINE vf vf_sin(vf x) {
    return vf_sincos(x, 0);
}
TN_INLINE vf vf_cos(vf x) {
    return vf_sincos(x, 1);
}
#else
TN_INLINE vf vf_sin(vf x) {
    return sinf(x);
}
TN_INLINE vf vf_cos(vf x) {
    return cosf(x);
}
#endif

#endif
