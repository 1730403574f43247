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

TNI_DEVICE float tni_act_one(const TniAct &t, float x) {
    switch (t.form) {
    case TNI_FORM_CLAMP:
        return tni_min_nan(tni_max_nan(x, t.p[0]), t.p[1]);
    case TNI_FORM_GELU:
        return tni_gelu(x);
    case TNI_FORM_GATE: {
        const float z = x * fmaf(t.p[1], x * x, t.p[0]);
        return fmaf(fmaf(t.p[2], x, t.p[3]), __fdividef(1.0f, 1.0f + tni_exp2(-z)), t.p[4]);
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

/* The form is the same for all: one branch, then straight code. EXACT: with TNI_FORM_TANH. */
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
        if (EXACT) {
#pragma unroll
            for (int i = 0; i < N; i++)
                v[i] = tanhf(v[i]);
        }
        break;
    default:
        break;
    }
#undef TNI_ACT_EACH
}

/* Largest finite value, and the bits of a pair. */
template <typename T> struct TniNarrow;
template <> struct TniNarrow<__half> {
    static constexpr float limit = 65504.0f;
    static __device__ __forceinline__ uint32_t pack(float lo, float hi) {
        const __half2 h = __floats2half2_rn(lo, hi);
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ float2 unpack(uint32_t u) { return __half22float2(*reinterpret_cast<const __half2 *>(&u)); }
};
template <> struct TniNarrow<__nv_bfloat16> {
    static constexpr float limit = 3.38953139e38f;
    static __device__ __forceinline__ uint32_t pack(float lo, float hi) {
        const __nv_bfloat162 h = __floats2bfloat162_rn(lo, hi);
        return *reinterpret_cast<const uint32_t *>(&h);
    }
    static __device__ __forceinline__ float2 unpack(uint32_t u) { return __bfloat1622float2(*reinterpret_cast<const __nv_bfloat162 *>(&u)); }
};

/* Saturates finite values to what T holds; one comparison a value where nothing is out of range. */
template <typename T, int N> TNI_DEVICE void tni_saturate_all(float (&v)[N]) {
    if constexpr (sizeof(T) == 2) {
        float m = 0.0f;
#pragma unroll
        for (int i = 0; i < N; i++)
            m = fmaxf(m, fabsf(v[i]));
        if (m > TniNarrow<T>::limit) {
#pragma unroll
            for (int i = 0; i < N; i++)
                v[i] = tni_saturate(v[i], TniNarrow<T>::limit);
        }
    }
}

#endif
