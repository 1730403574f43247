/* SPDX-License-Identifier: Apache-2.0
 *
 * Vectors of one lane: the plain C form of simd.h. */
#ifndef TENON_BACKEND_CPU_SIMD_SCALAR_H
#define TENON_BACKEND_CPU_SIMD_SCALAR_H

#define VL 1

typedef float vf;
typedef int32_t vi;
typedef bool vm;

TN_INLINE vf vf_set1(float x) {
    return x;
}
TN_INLINE vf vf_load(const float *p) {
    return *p;
}
TN_INLINE void vf_store(float *p, vf v) {
    *p = v;
}
TN_INLINE vf vf_loadn(const float *p, int64_t n) {
    (void)n;
    return *p;
}
TN_INLINE void vf_storen(float *p, int64_t n, vf v) {
    (void)n;
    *p = v;
}
TN_INLINE vf vf_add(vf a, vf b) {
    return a + b;
}
TN_INLINE vf vf_sub(vf a, vf b) {
    return a - b;
}
TN_INLINE vf vf_mul(vf a, vf b) {
    return a * b;
}
TN_INLINE vf vf_div(vf a, vf b) {
    return a / b;
}
TN_INLINE vf vf_fma(vf a, vf b, vf c) {
    return a * b + c;
}
TN_INLINE vf vf_fnma(vf a, vf b, vf c) {
    return c - a * b;
}
TN_INLINE vf vf_min(vf a, vf b) {
    return a < b ? a : b;
}
TN_INLINE vf vf_max(vf a, vf b) {
    return a > b ? a : b;
}
TN_INLINE vf vf_sqrt(vf a) {
    return sqrtf(a);
}
TN_INLINE vf vf_abs(vf a) {
    return fabsf(a);
}
TN_INLINE vf vf_neg(vf a) {
    return -a;
}
TN_INLINE vf vf_round(vf a) {
    return rintf(a);
}
TN_INLINE vf vf_floor(vf a) {
    return floorf(a);
}
TN_INLINE vf vf_ceil(vf a) {
    return ceilf(a);
}
TN_INLINE vf vf_copysign(vf mag, vf sign) {
    return copysignf(mag, sign);
}

TN_INLINE vm vf_lt(vf a, vf b) {
    return a < b;
}
TN_INLINE vm vf_le(vf a, vf b) {
    return a <= b;
}
TN_INLINE vm vf_eq(vf a, vf b) {
    return a == b;
}
TN_INLINE vm vf_ne(vf a, vf b) {
    return a != b;
} /* true for NaN */
TN_INLINE vm vf_nlt(vf a, vf b) {
    return !(a < b);
} /* true for NaN */
TN_INLINE vm vf_unord(vf a, vf b) {
    return a != a || b != b;
}
TN_INLINE vm vm_and(vm a, vm b) {
    return a && b;
}
TN_INLINE vm vm_or(vm a, vm b) {
    return a || b;
}
TN_INLINE vm vm_xor(vm a, vm b) {
    return a != b;
}
TN_INLINE bool vm_any(vm a) {
    return a;
}
TN_INLINE vf vf_sel(vm m, vf a, vf b) {
    return m ? a : b;
}

TN_INLINE vi vi_set1(int32_t x) {
    return x;
}
TN_INLINE vi vi_add(vi a, vi b) {
    return (vi)((uint32_t)a + (uint32_t)b);
}
TN_INLINE vi vi_sub(vi a, vi b) {
    return (vi)((uint32_t)a - (uint32_t)b);
}
TN_INLINE vi vi_and(vi a, vi b) {
    return a & b;
}
TN_INLINE vm vi_eq(vi a, vi b) {
    return a == b;
}
TN_INLINE vi vi_shl_(vi a, int k) {
    return (vi)((uint32_t)a << k);
}
TN_INLINE vi vi_sra_(vi a, int k) {
    return a >> k;
}
#define vi_shl(a, k) vi_shl_((a), (k))
#define vi_sra(a, k) vi_sra_((a), (k))
TN_INLINE vi vf_bits(vf a) {
    vi r;
    memcpy(&r, &a, 4);
    return r;
}
TN_INLINE vf vi_asf(vi a) {
    vf r;
    memcpy(&r, &a, 4);
    return r;
}
TN_INLINE vi vf_toi(vf a) {
    return fabsf(a) < 0x1p31f ? (vi)a : INT32_MIN;
} /* a is whole */
TN_INLINE vf vi_tof(vi a) {
    return (vf)a;
}

/* v * 2^n for whole n in [-160, 160]; exact save for the last rounding. */
TN_INLINE vf vf_ldexp(vf v, vf n) {
    int32_t k = n == n ? vf_toi(n) : 0, h = k >> 1;
    return v * vi_asf((h + 127) << 23) * vi_asf((k - h + 127) << 23);
}

TN_INLINE float vf_hsum(vf v) {
    return v;
}
TN_INLINE float vf_hmax(vf v) {
    return v;
}
TN_INLINE float vf_hmin(vf v) {
    return v;
}

/* 16-bit floats */
TN_INLINE vf vf_load_f16(const uint16_t *p) {
    return tni_f16_to_f32(*p);
}
TN_INLINE void vf_store_f16(uint16_t *p, vf v) {
    *p = tni_f32_to_f16(v);
}
TN_INLINE vf vf_load_bf16(const uint16_t *p) {
    return tni_bf16_to_f32(*p);
}
TN_INLINE void vf_store_bf16(uint16_t *p, vf v) {
    *p = tni_f32_to_bf16(v);
}

#endif
