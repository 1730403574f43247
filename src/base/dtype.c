/* SPDX-License-Identifier: Apache-2.0
 *
 * Element types and their conversions, bit by bit. */
#include "base/dtype.h"

#include <math.h>

const char *tn_dtype_name(TnDtype t) {
    switch (t) {
#define X(e, number, name, bits) \
    case e:                      \
        return name;
        TN_DTYPE_MAP(X)
#undef X
    }
    return "unknown";
}

uint32_t tn_dtype_bits(TnDtype t) {
    switch (t) {
#define X(e, number, name, bits) \
    case e:                      \
        return bits;
        TN_DTYPE_MAP(X)
#undef X
    }
    return 0;
}

bool tni_dtype_valid(int64_t n) { return n > TN_UNDEFINED && n <= TN_I2; }

static bool is_f8(TnDtype t) { return t >= TN_F8E4M3FN && t <= TN_F8E5M2FNUZ; }

bool tni_dtype_is_float(TnDtype t) {
    return t == TN_F32 || t == TN_F64 || t == TN_F16 || t == TN_BF16 || is_f8(t) || t == TN_F4E2M1 || t == TN_F8E8M0;
}

bool tni_dtype_is_signed_int(TnDtype t) { return t == TN_I8 || t == TN_I16 || t == TN_I32 || t == TN_I64 || t == TN_I4 || t == TN_I2; }

bool tni_dtype_is_int(TnDtype t) {
    return tni_dtype_is_signed_int(t) || t == TN_U8 || t == TN_U16 || t == TN_U32 || t == TN_U64 || t == TN_U4 || t == TN_U2;
}

static uint32_t bits_of(float f) {
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

static float float_of(uint32_t u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}

float tni_bf16_to_f32(uint16_t h) { return float_of((uint32_t)h << 16); }

uint16_t tni_f32_to_bf16(float f) {
    uint32_t u = bits_of(f);
    if ((u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(u >> 16 | 0x40u);
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

/* A small binary float: sign, e exponent bits, m mantissa bits, exponent bias. */
typedef struct Small {
    uint32_t e, m;
    int32_t bias;
    uint32_t max; /* largest finite magnitude */
    bool inf;     /* magnitude max + 1 is infinity (m == 0 of the top exponent) */
    bool fnuz;    /* no negative zero: 1000.. is NaN */
    uint32_t nan; /* magnitude of the quiet NaN (fnuz: unused) */
} Small;

static const Small half = {5, 10, 15, 0x7bff, true, false, 0x7e00};

static Small small_of(TnDtype t) {
    static const Small e4m3fn = {4, 3, 7, 0x7e, false, false, 0x7f};
    static const Small e4m3fnuz = {4, 3, 8, 0x7f, false, true, 0};
    static const Small e5m2 = {5, 2, 15, 0x7b, true, false, 0x7e};
    static const Small e5m2fnuz = {5, 2, 16, 0x7f, false, true, 0};
    return t == TN_F8E4M3FN ? e4m3fn : t == TN_F8E4M3FNUZ ? e4m3fnuz : t == TN_F8E5M2 ? e5m2 : e5m2fnuz;
}

static float small_to_f32(const Small *s, uint32_t v) {
    uint32_t width = s->e + s->m, sign = v >> width & 1u, mag = v & ((1u << width) - 1u);
    if (s->fnuz && sign != 0 && mag == 0)
        return float_of(0x7fc00000u);
    if (mag > s->max && !(s->fnuz)) {
        if (s->inf && mag == s->max + 1)
            return sign != 0 ? -INFINITY : INFINITY;
        return float_of(sign << 31 | 0x7fc00000u);
    }
    uint32_t exp = mag >> s->m, man = mag & ((1u << s->m) - 1u);
    float r = exp == 0 ? ldexpf((float)man, 1 - s->bias - (int)s->m) : ldexpf((float)(man | 1u << s->m), (int)exp - s->bias - (int)s->m);
    return sign != 0 ? -r : r;
}

/* Magnitude of |f| rounded to nearest even, unlimited upwards (may exceed s->max); f finite. */
static uint32_t small_round(const Small *s, float f) {
    double a = fabs((double)f);
    if (a == 0.0)
        return 0;
    int e;
    frexp(a, &e); /* a = x * 2^e, 0.5 <= x < 1 */
    int exp = e - 1 + s->bias;
    if (exp < 1)
        return (uint32_t)nearbyint(ldexp(a, s->bias - 1 + (int)s->m)); /* subnormal; rounding up into normals is the same encoding */
    if (exp > 0xff)
        return UINT32_MAX / 2;
    double scaled = nearbyint(ldexp(a, (int)s->m - (e - 1))); /* in [2^m, 2^(m+1)] */
    return ((uint32_t)exp << s->m) + (uint32_t)scaled - (1u << s->m);
}

uint16_t tni_f32_to_f16(float f) {
    uint32_t u = bits_of(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u | (a >> 13 & 0x3ffu));
    if (a == 0x7f800000u)
        return (uint16_t)(sign | 0x7c00u);
    if (a < 0x38800000u) /* below 2^-14: an ulp of 0.5 is the step of the subnormals, so that the addition rounds (to 2^-14 at most) */
        return (uint16_t)(sign | (bits_of(float_of(a) + 0.5f) - bits_of(0.5f)));
    if (a >= 0x47800000u) /* 65536 and more */
        return (uint16_t)(sign | 0x7c00u);
    a += 0xfffu + (a >> 13 & 1u); /* to nearest even in the 10 bits that stay; a carry into the exponent is right, up to infinity */
    return (uint16_t)(sign | ((a >> 13) - ((127u - 15u) << 10)));
}

float tni_f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, mag = h & 0x7fffu;
    if (mag >= 0x7c00u)
        return float_of(sign | 0x7f800000u | (mag & 0x3ffu) << 13);
    if (mag >= 0x0400u)
        return float_of(sign | ((mag << 13) + ((127u - 15u) << 23)));
    return small_to_f32(&half, h);
}

float tni_f8_to_f32(TnDtype t, uint8_t v) {
    Small s = small_of(t);
    return small_to_f32(&s, v);
}

uint8_t tni_f32_to_f8(TnDtype t, float f, bool saturate) {
    Small s = small_of(t);
    uint32_t sign = bits_of(f) >> 31 << 7, nan = s.fnuz ? 0x80u : sign | s.nan;
    if (f != f)
        return (uint8_t)nan;
    uint32_t mag = isinf(f) ? UINT32_MAX : small_round(&s, f);
    if (mag > s.max) {
        if (saturate)
            mag = s.max;
        else if (s.inf)
            mag = s.max + 1;
        else
            return (uint8_t)nan;
    }
    if (s.fnuz && mag == 0)
        return 0;
    return (uint8_t)(sign | mag);
}

/* Element i of `bits` (2 or 4) bits. */
static uint32_t narrow(uint32_t bits, const void *data, int64_t i) {
    const int64_t per = 8 / bits;
    return (uint32_t)((const uint8_t *)data)[i / per] >> (i % per * bits) & ((1u << bits) - 1u);
}

static void set_narrow(uint32_t bits, void *data, int64_t i, uint32_t v) {
    const int64_t per = 8 / bits;
    uint8_t *p = (uint8_t *)data + i / per;
    const uint32_t mask = (1u << bits) - 1u, at = (uint32_t)(i % per) * bits;
    *p = (uint8_t)((*p & ~(mask << at)) | (v & mask) << at);
}

static const float f4_values[8] = {0.0f, 0.5f, 1.0f, 1.5f, 2.0f, 3.0f, 4.0f, 6.0f};

#define READ(T, v)                                                       \
    T v;                                                                 \
    memcpy(&v, (const uint8_t *)data + (size_t)i * sizeof(T), sizeof(T))
#define WRITE(T, value)                                                          \
    do {                                                                         \
        T w_ = (T)(value);                                                       \
        memcpy((uint8_t *)data + (size_t)i * sizeof(T), &w_, sizeof(T));         \
    } while (0)

double tni_load_f64(TnDtype t, const void *data, int64_t i) {
    if (t == TN_F32) {
        READ(float, v);
        return (double)v;
    }
    if (t == TN_F64) {
        READ(double, v);
        return v;
    }
    if (t == TN_F16) {
        READ(uint16_t, v);
        return (double)tni_f16_to_f32(v);
    }
    if (t == TN_BF16) {
        READ(uint16_t, v);
        return (double)tni_bf16_to_f32(v);
    }
    if (is_f8(t))
        return (double)tni_f8_to_f32(t, ((const uint8_t *)data)[i]);
    if (t == TN_F8E8M0) { /* a power of two */
        uint8_t v = ((const uint8_t *)data)[i];
        return v == 255 ? (double)NAN : ldexp(1.0, (int)v - 127);
    }
    if (t == TN_F4E2M1) {
        uint32_t v = narrow(4, data, i);
        return (double)((v & 8u) != 0 ? -f4_values[v & 7u] : f4_values[v & 7u]);
    }
    if (t == TN_U64)
        return (double)(uint64_t)tni_load_i64(t, data, i);
    return (double)tni_load_i64(t, data, i);
}

static int64_t saturate_f64(double v, double lo, double hi, int64_t ilo, int64_t ihi) {
    if (v != v)
        return 0;
    return v <= lo ? ilo : v >= hi ? ihi : (int64_t)v;
}

int64_t tni_load_i64(TnDtype t, const void *data, int64_t i) {
    switch (t) {
    case TN_I64:
    case TN_U64: {
        READ(int64_t, v);
        return v;
    }
    case TN_I32: {
        READ(int32_t, v);
        return v;
    }
    case TN_U32: {
        READ(uint32_t, v);
        return v;
    }
    case TN_I16: {
        READ(int16_t, v);
        return v;
    }
    case TN_U16: {
        READ(uint16_t, v);
        return v;
    }
    case TN_I8:
        return ((const int8_t *)data)[i];
    case TN_U8:
        return ((const uint8_t *)data)[i];
    case TN_BOOL:
        return ((const uint8_t *)data)[i] != 0;
    case TN_U4:
        return (int64_t)narrow(4, data, i);
    case TN_I4:
        return (int64_t)(narrow(4, data, i) ^ 8u) - 8;
    case TN_U2:
        return (int64_t)narrow(2, data, i);
    case TN_I2:
        return (int64_t)(narrow(2, data, i) ^ 2u) - 2;
    default:
        return tni_dtype_is_float(t) ? saturate_f64(tni_load_f64(t, data, i), -0x1p63, 0x1p63, INT64_MIN, INT64_MAX) : 0;
    }
}

void tni_store_i64(TnDtype t, void *data, int64_t i, int64_t v) {
    switch (t) {
    case TN_I64:
    case TN_U64:
        WRITE(int64_t, v);
        return;
    case TN_I32:
    case TN_U32:
        WRITE(uint32_t, (uint64_t)v);
        return;
    case TN_I16:
    case TN_U16:
        WRITE(uint16_t, (uint64_t)v);
        return;
    case TN_I8:
    case TN_U8:
        ((uint8_t *)data)[i] = (uint8_t)(uint64_t)v;
        return;
    case TN_BOOL:
        ((uint8_t *)data)[i] = v != 0;
        return;
    case TN_U4:
    case TN_I4:
    case TN_U2:
    case TN_I2:
        set_narrow(tn_dtype_bits(t), data, i, (uint32_t)(uint64_t)v);
        return;
    default:
        if (tni_dtype_is_float(t))
            tni_store_f64(t, data, i, (double)v);
    }
}

/* double -> float, then to a narrower type, would round twice: sticky bits keep the second rounding right (round to odd). */
static float round_to_odd(double v) {
    float f = (float)v;
    if (v != v || isinf(f) || (double)f == v)
        return f;
    uint32_t u = bits_of(f);
    /* f is one of v's two neighbours: take the one whose last bit is 1. */
    if ((u & 1u) == 0)
        u = fabs((double)f) > fabs(v) ? u - 1 : u + 1;
    return float_of(u);
}

static void store_f4(void *data, int64_t i, double v) {
    uint32_t sign = signbit(v) ? 8u : 0u, best = 0;
    if (v != v)
        sign = 8u; /* there is no NaN: minus zero, as ml_dtypes and with it the tools of ONNX do */
    double a = v != v ? 0.0 : fabs(v);
    for (uint32_t k = 1; k < 8; k++) {
        double mid = ((double)f4_values[k - 1] + (double)f4_values[k]) / 2;
        if (a > mid || (a == mid && k % 2 == 0))
            best = k;
    }
    set_narrow(4, data, i, sign | best);
}

void tni_store_f64(TnDtype t, void *data, int64_t i, double v) {
    switch (t) {
    case TN_F32:
        WRITE(float, v);
        return;
    case TN_F64:
        WRITE(double, v);
        return;
    case TN_F16:
        WRITE(uint16_t, tni_f32_to_f16(round_to_odd(v)));
        return;
    case TN_BF16:
        WRITE(uint16_t, tni_f32_to_bf16(round_to_odd(v)));
        return;
    case TN_F8E8M0: { /* rounded up to a power of two, at least 2^-127, at most 2^127 */
        int e = 0;
        double m = v > 0 ? frexp(TN_MIN(v, 0x1p127), &e) : 0;
        e = v > 0 ? e + (m > 0.5) + 126 : 0;
        ((uint8_t *)data)[i] = v != v ? 255 : (uint8_t)TN_MIN(TN_MAX(e, 0), 254);
        return;
    }
    case TN_F4E2M1:
        store_f4(data, i, v);
        return;
    case TN_BOOL:
        ((uint8_t *)data)[i] = v != 0.0;
        return;
    case TN_U64: {
        uint64_t u = v != v || v <= 0 ? 0 : v >= 0x1p64 ? UINT64_MAX : (uint64_t)v;
        WRITE(uint64_t, u);
        return;
    }
    default:
        break;
    }
    if (is_f8(t)) {
        ((uint8_t *)data)[i] = tni_f32_to_f8(t, round_to_odd(v), true);
        return;
    }
    uint32_t bits = tn_dtype_bits(t);
    if (bits == 0 || !tni_dtype_is_int(t))
        return;
    bool is_signed = tni_dtype_is_signed_int(t);
    int64_t hi = bits == 64 ? INT64_MAX : ((int64_t)1 << (bits - (is_signed ? 1 : 0))) - 1;
    int64_t lo = is_signed ? -hi - 1 : 0;
    tni_store_i64(t, data, i, saturate_f64(v, (double)lo, (double)hi, lo, hi));
}
