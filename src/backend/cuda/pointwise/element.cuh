/* SPDX-License-Identifier: Apache-2.0
 *
 * One element of any type as double or int64, with the type known at run time only: for operators that are seldom used, or whose number of
 * type pairs is large. The rules are those of base/dtype.h: floats round half to even once; a float becomes an integer by truncation and
 * saturation, NaN becomes 0; integers wrap. 4-bit types are not among them. Types are uniform over a launch, so the branches do not
 * diverge. */
#ifndef TENON_BACKEND_CUDA_ELEMENT_CUH
#define TENON_BACKEND_CUDA_ELEMENT_CUH

#include "backend/cuda/cuda.h"

/* Integer or bool. */
TNI_DEVICE bool el_exact(uint32_t t) {
    return t == TN_I32 || t == TN_I64 || t == TN_BOOL || t == TN_U8 || t == TN_I8 || t == TN_U16 || t == TN_I16 || t == TN_U32 ||
           t == TN_U64;
}

/* An 8-bit float's format: mantissa bits, exponent bias, largest finite magnitude, whether the next magnitude is infinity, and whether
 * there is no negative zero (its code is the NaN). */
struct ElSmall {
    uint32_t m;
    int32_t bias;
    uint32_t max;
    bool inf, fnuz;
};

TNI_DEVICE ElSmall el_small(uint32_t t) {
    if (t == TN_F8E4M3FN)
        return {3, 7, 0x7e, false, false};
    if (t == TN_F8E4M3FNUZ)
        return {3, 8, 0x7f, false, true};
    if (t == TN_F8E5M2)
        return {2, 15, 0x7b, true, false};
    return {2, 16, 0x7f, false, true};
}

TNI_DEVICE double el_from_f8(uint32_t t, uint32_t v) {
    const ElSmall s = el_small(t);
    const uint32_t mag = v & 0x7fu;
    const double sign = (v & 0x80u) != 0 ? -1.0 : 1.0;
    if (s.fnuz ? v == 0x80u : mag > s.max + (s.inf ? 1u : 0u))
        return (double)__int_as_float(0x7fc00000);
    if (mag > s.max)
        return sign * (double)INFINITY;
    const uint32_t exp = mag >> s.m, man = mag & ((1u << s.m) - 1u);
    const int32_t e = (exp == 0 ? 1 : (int32_t)exp) - s.bias - (int32_t)s.m;
    return sign * ldexp((double)(exp == 0 ? man : man | 1u << s.m), e);
}

/* saturate: beyond the largest finite value becomes that; else infinity or NaN, as the format has it. */
TNI_DEVICE uint32_t el_to_f8(uint32_t t, double v, bool saturate) {
    const ElSmall s = el_small(t);
    const uint32_t sign = signbit(v) ? 0x80u : 0u;
    if (v != v)
        return s.fnuz ? 0x80u : sign | (t == TN_F8E5M2 ? 0x7eu : 0x7fu);
    uint32_t mag = 0x100u;
    const double a = fabs(v);
    if (a < 1e9) {
        const int32_t e = a == 0.0 ? -1000 : ilogb(a), exp = e + s.bias;
        if (exp < 1)
            mag = (uint32_t)rint(ldexp(a, s.bias - 1 + (int32_t)s.m));
        else
            mag = ((uint32_t)exp << s.m) + (uint32_t)rint(ldexp(a, (int32_t)s.m - e)) - (1u << s.m);
    }
    if (mag > s.max) {
        if (saturate)
            mag = s.max;
        else if (s.inf)
            mag = s.max + 1;
        else
            return s.fnuz ? 0x80u : sign | 0x7fu;
    }
    return s.fnuz && mag == 0 ? 0u : sign | mag;
}

/* The float that rounds to any narrower type as v does: truncated, with a sticky last bit. */
TNI_DEVICE float el_odd(double v) {
    const float f = __double2float_rz(v);
    return (double)f == v || v != v ? f : __uint_as_float(__float_as_uint(f) | 1u);
}

TNI_DEVICE int64_t el_load_i64(uint32_t t, const void *p, int64_t i);

TNI_DEVICE double el_load_f64(uint32_t t, const void *p, int64_t i) {
    switch (t) {
    case TN_F32:
        return (double)((const float *)p)[i];
    case TN_F16:
        return (double)__half2float(((const __half *)p)[i]);
    case TN_BF16:
        return (double)__bfloat162float(((const __nv_bfloat16 *)p)[i]);
    case TN_F64:
        return ((const double *)p)[i];
    case TN_F8E4M3FN:
    case TN_F8E4M3FNUZ:
    case TN_F8E5M2:
    case TN_F8E5M2FNUZ:
        return el_from_f8(t, ((const uint8_t *)p)[i]);
    case TN_U64:
        return (double)((const uint64_t *)p)[i];
    default:
        return (double)el_load_i64(t, p, i);
    }
}

/* v cut to an integer within lo .. hi (given as doubles that may lie one beyond, and exactly). */
TNI_DEVICE int64_t el_truncate(double v, double lo, double hi, int64_t ilo, int64_t ihi) {
    return v != v ? 0 : v <= lo ? ilo : v >= hi ? ihi : (int64_t)v;
}

TNI_DEVICE int64_t el_load_i64(uint32_t t, const void *p, int64_t i) {
    switch (t) {
    case TN_I64:
    case TN_U64:
        return ((const int64_t *)p)[i];
    case TN_I32:
        return ((const int32_t *)p)[i];
    case TN_U32:
        return ((const uint32_t *)p)[i];
    case TN_I16:
        return ((const int16_t *)p)[i];
    case TN_U16:
        return ((const uint16_t *)p)[i];
    case TN_I8:
        return ((const int8_t *)p)[i];
    case TN_U8:
        return ((const uint8_t *)p)[i];
    case TN_BOOL:
        return ((const uint8_t *)p)[i] != 0;
    default:
        return el_truncate(el_load_f64(t, p, i), -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
    }
}

TNI_DEVICE void el_store_f64(uint32_t t, void *p, int64_t i, double v);

TNI_DEVICE void el_store_i64(uint32_t t, void *p, int64_t i, int64_t v) {
    switch (t) {
    case TN_I64:
    case TN_U64:
        ((int64_t *)p)[i] = v;
        return;
    case TN_I32:
    case TN_U32:
        ((uint32_t *)p)[i] = (uint32_t)v;
        return;
    case TN_I16:
    case TN_U16:
        ((uint16_t *)p)[i] = (uint16_t)v;
        return;
    case TN_I8:
    case TN_U8:
        ((uint8_t *)p)[i] = (uint8_t)v;
        return;
    case TN_BOOL:
        ((uint8_t *)p)[i] = v != 0;
        return;
    default:
        el_store_f64(t, p, i, (double)v);
    }
}

TNI_DEVICE void el_store_f64(uint32_t t, void *p, int64_t i, double v) {
    switch (t) {
    case TN_F32:
        ((float *)p)[i] = (float)v;
        return;
    case TN_F64:
        ((double *)p)[i] = v;
        return;
    case TN_F16:
        ((__half *)p)[i] = __float2half_rn(el_odd(v));
        return;
    case TN_BF16:
        ((__nv_bfloat16 *)p)[i] = __float2bfloat16_rn(el_odd(v));
        return;
    case TN_F8E4M3FN:
    case TN_F8E4M3FNUZ:
    case TN_F8E5M2:
    case TN_F8E5M2FNUZ:
        ((uint8_t *)p)[i] = (uint8_t)el_to_f8(t, v, true);
        return;
    case TN_BOOL:
        ((uint8_t *)p)[i] = v != 0.0;
        return;
    case TN_U64:
        ((uint64_t *)p)[i] = v != v || v <= 0.0 ? 0u : v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
        return;
    case TN_I64:
        ((int64_t *)p)[i] = el_truncate(v, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
        return;
    case TN_I32:
        ((int32_t *)p)[i] = (int32_t)el_truncate(v, -0x1p31, 0x1p31 - 1, INT32_MIN, INT32_MAX);
        return;
    case TN_U32:
        ((uint32_t *)p)[i] = (uint32_t)el_truncate(v, 0.0, 0x1p32 - 1, 0, UINT32_MAX);
        return;
    case TN_I16:
        ((int16_t *)p)[i] = (int16_t)el_truncate(v, -32768.0, 32767.0, -32768, 32767);
        return;
    case TN_U16:
        ((uint16_t *)p)[i] = (uint16_t)el_truncate(v, 0.0, 65535.0, 0, 65535);
        return;
    case TN_I8:
        ((int8_t *)p)[i] = (int8_t)el_truncate(v, -128.0, 127.0, -128, 127);
        return;
    case TN_U8:
        ((uint8_t *)p)[i] = (uint8_t)el_truncate(v, 0.0, 255.0, 0, 255);
        return;
    default:
        return;
    }
}

/* As el_store_f64, but finite values beyond the range of f16 and bf16 become their largest: what operators other than cast do. */
TNI_DEVICE void el_put_f64(uint32_t t, void *p, int64_t i, double v) {
    const double most = t == TN_F16 ? 65504.0 : 0x1.fep127;
    if ((t == TN_F16 || t == TN_BF16) && fabs(v) < INFINITY)
        v = v > most ? most : v < -most ? -most : v;
    el_store_f64(t, p, i, v);
}

/* An order as unsigned numbers: larger values have larger ranks, NaN the largest; -0 is +0. */
TNI_DEVICE uint64_t el_rank(uint32_t t, const void *p, int64_t i) {
    if (el_exact(t)) {
        const uint64_t k = (uint64_t)el_load_i64(t, p, i);
        return t == TN_U64 ? k : k ^ UINT64_C(1) << 63;
    }
    double v = el_load_f64(t, p, i);
    if (v != v)
        return UINT64_MAX;
    v = v == 0.0 ? 0.0 : v;
    const uint64_t k = (uint64_t)__double_as_longlong(v);
    return (k >> 63) != 0 ? ~k : k | UINT64_C(1) << 63;
}

/* The double nearest to an int64 for any narrower float: bits that a double cannot hold are gathered in a sticky one. */
TNI_DEVICE double el_wide_integer(int64_t v, bool is_u64) {
    const bool neg = !is_u64 && v < 0;
    uint64_t m = neg ? 0u - (uint64_t)v : (uint64_t)v;
    if ((m >> 53) != 0)
        m = (m >> 11 | ((m & 0x7ffu) != 0 ? 1u : 0u)) << 11;
    return neg ? -(double)m : (double)m;
}

#endif
