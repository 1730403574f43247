/* SPDX-License-Identifier: Apache-2.0
 *
 * Device side of epilogue.h: activations on register arrays, narrowing. */
#ifndef TENON_BACKEND_CUDA_GEMM_EPILOGUE_CUH
#define TENON_BACKEND_CUDA_GEMM_EPILOGUE_CUH

#include "backend/cuda/gemm/epilogue.h"

TNI_DEVICE float tni_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
TNI_DEVICE float tni_reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* max and min that keep NaN */
TNI_DEVICE float tni_max_nan(float a, float b) {
    float y;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}
TNI_DEVICE float tni_min_nan(float a, float b) {
    float y;
    asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(a), "f"(b));
    return y;
}

/* Largest finite value, and the bits of a pair; most: the larger magnitudes of two pairs, NaN does not count. */
template <typename T> struct TniNarrow {
    static constexpr bool brain = false;
};
template <> struct TniNarrow<__half> {
    static constexpr bool brain = false;
    static constexpr float limit = 65504.0f;
    static constexpr uint32_t infinity = 0x7c00u;
    static __device__ __forceinline__ uint32_t pack(float lo, float hi) {
        const __half2 h = __floats2half2_rn(lo, hi);
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ uint32_t most(uint32_t m, uint32_t u) {
        const __half2 h = __hmax2(*reinterpret_cast<const __half2 *>(&m), __habs2(*reinterpret_cast<const __half2 *>(&u)));
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ float2 unpack(uint32_t u) { return __half22float2(*reinterpret_cast<const __half2 *>(&u)); }
};
template <> struct TniNarrow<__nv_bfloat16> {
    static constexpr bool brain = true;
    static constexpr float limit = 3.38953139e38f;
    static constexpr uint32_t infinity = 0x7f80u;
    static __device__ __forceinline__ uint32_t pack(float lo, float hi) {
        const __nv_bfloat162 h = __floats2bfloat162_rn(lo, hi);
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ uint32_t most(uint32_t m, uint32_t u) {
        const __nv_bfloat162 h =
            __hmax2(*reinterpret_cast<const __nv_bfloat162 *>(&m), __habs2(*reinterpret_cast<const __nv_bfloat162 *>(&u)));
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ float2 unpack(uint32_t u) { return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&u)); }
};

/* x Phi(x) = max(x, 0) - |x| Q(|x|) with Q(a) = erfc(a / sqrt 2) / 2 = 2^-q(a); q is a minimax polynomial that weights errors by Q: the
 * absolute error is below 1e-7. */
TNI_DEVICE float tni_gelu(float x) {
    const float a = fminf(fabsf(x), 14.0f);
    float q = -1.38096948e-6f;
    q = fmaf(q, a, 2.28088447e-5f);
    q = fmaf(q, a, -0.000112639304f);
    q = fmaf(q, a, -0.000299845939f);
    q = fmaf(q, a, 0.00725495908f);
    q = fmaf(q, a, -0.0526133552f);
    q = fmaf(q, a, -0.459174365f);
    q = fmaf(q, a, -1.15110886f);
    q = fmaf(q, a, -0.99999994f);
    return fmaf(-a, tni_exp2(q), tni_max_nan(x, 0.0f));
}

/* The same for results that are rounded to 16 bits: q as short as it may be for an error below 0.15 units in the last place of f16 or bf16.
 * Beyond the numbers it is made for, q falls on and the tail becomes 0; so does Q below 2^-126, as in tni_gelu. */
template <typename T> TNI_DEVICE float tni_gelu_short(float x) {
    const float a = fminf(fabsf(x), 14.0f);
    float q;
    if constexpr (sizeof(T) == 2 && TniNarrow<T>::brain) {
        q = fmaf(-3.44038995e-7f, a, 1.88190916e-5f);
        q = fmaf(q, a, -0.000434266345f);
        q = fmaf(q, a, 0.00557677913f);
        q = fmaf(q, a, -0.0448661223f);
        q = fmaf(q, a, -0.472157689f);
        q = fmaf(q, a, -1.14339876f);
        q = fmaf(q, a, -1.00072289f);
    } else {
        q = fmaf(-0.000330279174f, a, 0.00592083251f);
        q = fmaf(q, a, -0.0485494174f);
        q = fmaf(q, a, -0.463689357f);
        q = fmaf(q, a, -1.14939976f);
        q = fmaf(q, a, -1.0001055f);
    }
    return fmaf(-a, tni_exp2(q), tni_max_nan(x, 0.0f));
}

/* For results of 16 bits. Near 0 the difference of 2 / (1 + e^-2x) and 1 has no bits left. */
TNI_DEVICE float tni_tanh_short(float x) {
    const float far = fmaf(2.0f, tni_reciprocal(1.0f + tni_exp2(x * -2.88539008f)), -1.0f), s = x * x;
    return s < 0.01f ? x * fmaf(s, fmaf(s, 0.133333333f, -0.333333333f), 1.0f) : far;
}

TNI_DEVICE float tni_act_one(const TniAct &t, float x) {
    switch (t.form) {
    case TNI_FORM_CLAMP:
        return tni_min_nan(tni_max_nan(x, t.p[0]), t.p[1]);
    case TNI_FORM_GELU:
        return tni_gelu(x);
    case TNI_FORM_GATE: {
        const float z = x * (t.p[1] != 0.0f ? fmaf(t.p[1], x * x, t.p[0]) : t.p[0]); /* 0 times infinity is not met */
        return fmaf(t.p[2] != 0.0f ? fmaf(t.p[2], x, t.p[3]) : t.p[3], tni_reciprocal(1.0f + tni_exp2(-z)), t.p[4]);
    }
    case TNI_FORM_LEAKY:
        return x < 0.0f ? x * t.p[0] : x;
    case TNI_FORM_HARD_SWISH:
        return x * fminf(fmaxf(fmaf(x, 1.0f / 6.0f, 0.5f), 0.0f), 1.0f);
    case TNI_FORM_TANH:
        return tanhf(x);
    default:
        return x;
    }
}

/* The form is the same for all: one branch, then straight code. EXACT: for f32 results. */
template <bool EXACT, int N> TNI_DEVICE void tni_act_apply(const TniAct &t, float (&v)[N]) {
#define TNI_ACT_EACH(name)                      \
    case name: {                                \
        TniAct c = t;                           \
        c.form = name;                          \
        _Pragma("unroll") for (int i = 0; i < N; i++) v[i] = tni_act_one(c, v[i]); \
        break;                                  \
    }
    switch (t.form) {
        TNI_ACT_EACH(TNI_FORM_CLAMP)
        TNI_ACT_EACH(TNI_FORM_GELU)
        TNI_ACT_EACH(TNI_FORM_GATE)
        TNI_ACT_EACH(TNI_FORM_LEAKY)
        TNI_ACT_EACH(TNI_FORM_HARD_SWISH)
    case TNI_FORM_TANH:
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] = EXACT ? tanhf(v[i]) : tni_tanh_short(v[i]);
        break;
    default:
        break;
    }
#undef TNI_ACT_EACH
}

/* Kernels with long epilogues branch on this once a tile, so that what runs then lies together: a branch and the code of all forms at every
 * few values cost more than the arithmetic. */
enum TniActKind { TNI_KIND_NONE, TNI_KIND_GELU, TNI_KIND_ANY };

/* T: what the results are rounded to. */
template <typename T, int KIND, int N> TNI_DEVICE void tni_act_kind(const TniAct &t, float (&v)[N]) {
    if constexpr (KIND == TNI_KIND_GELU) {
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] = sizeof(T) == 4 ? tni_gelu(v[i]) : tni_gelu_short<T>(v[i]);
    } else if constexpr (KIND == TNI_KIND_ANY) {
        tni_act_apply<sizeof(T) == 4>(t, v);
    }
}
/* For those that take one branch for all of their values anyway. */
template <typename T, int N> TNI_DEVICE void tni_act_of(const TniAct &t, float (&v)[N]) {
    if (t.form == TNI_FORM_GELU)
        tni_act_kind<T, TNI_KIND_GELU>(t, v);
    else
        tni_act_kind<T, TNI_KIND_ANY>(t, v);
}

/* N values as pairs of T, finite ones out of range as the largest finite value. The pairs tell whether any is out of range: they hold an
 * infinity then. */
template <typename T, int N> TNI_DEVICE void tni_narrow_all(uint32_t (&u)[N / 8][4], const float (&v)[N]) {
    constexpr uint32_t infinity = TniNarrow<T>::infinity;
    uint32_t most = 0;
#pragma unroll
    for (int i = 0; i < N / 2; i++) {
        u[i / 4][i % 4] = TniNarrow<T>::pack(v[2 * i], v[2 * i + 1]);
        most = TniNarrow<T>::most(most, u[i / 4][i % 4]);
    }
    if ((most & 0xffffu) >= infinity || (most >> 16) >= infinity) {
#pragma unroll
        for (int i = 0; i < N / 2; i++)
            u[i / 4][i % 4] =
                TniNarrow<T>::pack(tni_saturate(v[2 * i], TniNarrow<T>::limit), tni_saturate(v[2 * i + 1], TniNarrow<T>::limit));
    }
}

#endif
