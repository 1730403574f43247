/* SPDX-License-Identifier: Apache-2.0
 *
 * One ISA's tiles of integer products; included by scalar.c, avx2.c, avx512.c and vnni.c, each of which defines its INTEGER_* before.
 *
 * A tile keeps rows x nv vectors of sums in registers through all of K: panels of bytes are small enough for the L2 cache, and the rows of a
 * tile for the L1 cache. */
#include "backend/cpu/integer/integer.h"

#if !defined(INTEGER_SCALAR)
#include <immintrin.h>
#endif

#if defined(__clang__)
#define TN_UNROLL _Pragma("clang loop unroll(full)")
#else
#define TN_UNROLL _Pragma("GCC unroll 32")
#endif

#if defined(INTEGER_VNNI)
#define ISA tni_integer_isa_vnni
#define GROUP 4
#define MACS_PER_NS 170.0
typedef uint8_t Left;
#elif defined(INTEGER_AVX512)
#define ISA tni_integer_isa_avx512
#define GROUP 2
#define MACS_PER_NS 60.0
typedef int16_t Left;
#elif defined(INTEGER_AVX2)
#define ISA tni_integer_isa_avx2
#define GROUP 2
#define MACS_PER_NS 30.0
typedef int16_t Left;
#else
#define ISA tni_integer_isa_scalar
#define GROUP 1
#define MACS_PER_NS 8.0
typedef int16_t Left;
#endif

#if defined(INTEGER_VNNI) || defined(INTEGER_AVX512)
#define MR 6
#define NV 4
#define VL 16
typedef __m512i Sums;
TN_INLINE Sums sums_zero(void) {
    return _mm512_setzero_si512();
}
TN_INLINE Sums sums_load(const int32_t *p) {
    return _mm512_loadu_si512(p);
}
TN_INLINE void sums_keep(int32_t *p, Sums v) {
    _mm512_store_si512(p, v);
}
/* v - x * y */
TN_INLINE Sums sums_less(Sums v, Sums x, int32_t y) {
    return _mm512_sub_epi32(v, _mm512_mullo_epi32(x, _mm512_set1_epi32(y)));
}
TN_INLINE void sums_store(int32_t *p, int64_t n, Sums v) {
    _mm512_mask_storeu_epi32(p, (__mmask16)((1u << TN_MIN(n, VL)) - 1), v);
}
#elif defined(INTEGER_AVX2)
#define MR 6
#define NV 2
#define VL 8
typedef __m256i Sums;
TN_INLINE Sums sums_zero(void) {
    return _mm256_setzero_si256();
}
TN_INLINE Sums sums_load(const int32_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
TN_INLINE void sums_keep(int32_t *p, Sums v) {
    _mm256_store_si256((__m256i *)(void *)p, v);
}
TN_INLINE Sums sums_less(Sums v, Sums x, int32_t y) {
    return _mm256_sub_epi32(v, _mm256_mullo_epi32(x, _mm256_set1_epi32(y)));
}
TN_INLINE void sums_store(int32_t *p, int64_t n, Sums v) {
    _mm256_maskstore_epi32(p, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)TN_MIN(n, VL)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)), v);
}
#else
#define MR 4
#define NV 8
#define VL 1
typedef uint32_t Sums; /* wraps */
TN_INLINE Sums sums_zero(void) {
    return 0;
}
TN_INLINE Sums sums_load(const int32_t *p) {
    return (Sums)*p;
}
TN_INLINE void sums_keep(int32_t *p, Sums v) {
    *p = (int32_t)v;
}
TN_INLINE Sums sums_less(Sums v, Sums x, int32_t y) {
    return v - x * (Sums)y;
}
TN_INLINE void sums_store(int32_t *p, int64_t n, Sums v) {
    if (n > 0)
        *p = (int32_t)v;
}
#endif

/* The group of k of one row, in every lane; one group of k of VL columns; sums plus their products. */
#if defined(INTEGER_VNNI)
TN_INLINE Sums left(const Left *a) {
    int32_t v;
    memcpy(&v, a, sizeof v);
    return _mm512_set1_epi32(v);
}
TN_INLINE Sums right(const int8_t *b) {
    return _mm512_loadu_si512(b);
}
TN_INLINE Sums dot(Sums sum, Sums a, Sums b) {
    return _mm512_dpbusd_epi32(sum, a, b);
}
#elif defined(INTEGER_AVX512)
TN_INLINE Sums left(const Left *a) {
    int32_t v;
    memcpy(&v, a, sizeof v);
    return _mm512_set1_epi32(v);
}
TN_INLINE Sums right(const int8_t *b) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)b));
}
TN_INLINE Sums dot(Sums sum, Sums a, Sums b) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, b));
}
#elif defined(INTEGER_AVX2)
TN_INLINE Sums left(const Left *a) {
    int32_t v;
    memcpy(&v, a, sizeof v);
    return _mm256_set1_epi32(v);
}
TN_INLINE Sums right(const int8_t *b) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)b));
}
TN_INLINE Sums dot(Sums sum, Sums a, Sums b) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, b));
}
#else
TN_INLINE Sums left(const Left *a) {
    return (Sums)(int32_t)*a;
}
TN_INLINE Sums right(const int8_t *b) {
    return (Sums)(int32_t)*b;
}
TN_INLINE Sums dot(Sums sum, Sums a, Sums b) {
    return sum + a * b;
}
#endif

#define NR (NV * VL)

/* What zero points take off, and the stores: apart, so that the compiler keeps the sums of a tile in registers until then. */
static __attribute__((noinline)) void finish(const TniIntegerBlock *t, int64_t row, int64_t rows, int64_t nv, const int32_t *done) {
    const int32_t *column_sums = (const int32_t *)(const void *)(t->b + t->groups * NR * GROUP);
    for (int64_t v = 0; v < nv; v++) {
        const Sums columns = sums_load(column_sums + v * VL), zb = sums_load(t->zb + v * VL);
        for (int64_t i = 0; i < rows; i++) {
            const int64_t m = row + i;
            const Sums y = sums_less(sums_load(done + (i * nv + v) * VL), columns, t->za[m * t->za_step]);
            sums_store(t->c + m * t->ldc + v * VL, t->cols - v * VL, sums_less(y, zb, t->row_sums[m]));
        }
    }
}

/* Rows [row, row + rows) and the first nv vectors of a panel's columns; rows and nv are constants where this is inlined. */
TN_INLINE void tile(const TniIntegerBlock *t, int64_t row, int rows, int nv) {
    const int64_t ld = t->groups * GROUP;
    const Left *a = (const Left *)t->a + row * ld;
    const int8_t *b = t->b;
    Sums sum[MR * NV], col[NV];
    TN_UNROLL
    for (int i = 0; i < rows * nv; i++)
        sum[i] = sums_zero();
    for (int64_t k = 0; k < t->groups; k++, a += GROUP, b += NR * GROUP) {
        TN_UNROLL
        for (int v = 0; v < nv; v++)
            col[v] = right(b + v * VL * GROUP);
        TN_UNROLL
        for (int i = 0; i < rows; i++) {
            const Sums x = left(a + i * ld);
            TN_UNROLL
            for (int v = 0; v < nv; v++)
                sum[i * nv + v] = dot(sum[i * nv + v], x, col[v]);
        }
    }
    _Alignas(64) int32_t done[MR * NR];
    TN_UNROLL
    for (int i = 0; i < rows * nv; i++)
        sums_keep(done + i * VL, sum[i]);
    finish(t, row, rows, nv, done);
}

#define TILE(rows, nv)                                                                                                                     \
    static void tile_##rows##_##nv(const TniIntegerBlock *t, int64_t row) {                                                                \
        tile(t, row, rows, nv);                                                                                                            \
    }
#define TILES(nv) TILE(1, nv) TILE(2, nv) TILE(3, nv) TILE(4, nv) IF_SIX(TILE(5, nv) TILE(6, nv))
#define NAMES(nv) {tile_1_##nv, tile_2_##nv, tile_3_##nv, tile_4_##nv, IF_SIX(tile_5_##nv, tile_6_##nv)}
#if MR == 6
#define IF_SIX(...) __VA_ARGS__
#else
#define IF_SIX(...)
#endif

#if NV == 4
TILES(1) TILES(2) TILES(3) TILES(4)
static void (*const tiles[NV][MR])(const TniIntegerBlock *t, int64_t row) = {NAMES(1), NAMES(2), NAMES(3), NAMES(4)};
#elif NV == 2
TILES(1) TILES(2)
static void (*const tiles[NV][MR])(const TniIntegerBlock *t, int64_t row) = {NAMES(1), NAMES(2)};
#else
TILES(8)
static void (*const tiles[1][MR])(const TniIntegerBlock *t, int64_t row) = {NAMES(8)};
#endif

static void block(const TniIntegerBlock *t) {
    const int64_t n = (t->rows + MR - 1) / MR, nv = VL == 1 ? 1 : (t->cols + VL - 1) / VL;
    for (int64_t i = 0; i < n; i++) {
        const int64_t r0 = t->rows * i / n, r1 = t->rows * (i + 1) / n;
        tiles[nv - 1][r1 - r0 - 1](t, r0);
    }
}

static int32_t prepare(const void *src, int64_t k, int64_t padded, bool is_signed, int32_t zero, void *dst) {
    Left *y = dst;
    uint32_t sum = 0;
#if defined(INTEGER_VNNI)
    const uint8_t *x = src, flip = is_signed ? 0x80 : 0;
    (void)zero;
    for (int64_t i = 0; i < k; i++) {
        y[i] = (uint8_t)(x[i] ^ flip);
        sum += y[i];
    }
#else
    const uint8_t *u = src;
    const int8_t *s = src;
    if (is_signed)
        for (int64_t i = 0; i < k; i++) {
            const int32_t v = s[i] - zero;
            y[i] = (int16_t)v;
            sum += (uint32_t)v;
        }
    else
        for (int64_t i = 0; i < k; i++) {
            const int32_t v = u[i] - zero;
            y[i] = (int16_t)v;
            sum += (uint32_t)v;
        }
#endif
    for (int64_t i = k; i < padded; i++)
        y[i] = 0;
    return (int32_t)sum;
}

static void interleave(const uint8_t *rows, uint8_t flip, int8_t *dst, int32_t *sums) {
    int8_t t[GROUP][NR];
    for (int g = 0; g < GROUP; g++)
        for (int j = 0; j < NR; j++)
            t[g][j] = (int8_t)(rows[g * NR + j] ^ flip);
    for (int j = 0; j < NR; j++)
        for (int g = 0; g < GROUP; g++)
            dst[j * GROUP + g] = t[g][j];
    for (int g = 0; g < GROUP; g++)
        for (int j = 0; j < NR; j++)
            sums[j] = (int32_t)((uint32_t)sums[j] + (uint32_t)t[g][j]);
}

const TniIntegerIsa ISA = {
    .mr = MR,
    .nr = NR,
    .group = GROUP,
    .a_bytes = (int32_t)sizeof(Left),
    .macs_per_ns = MACS_PER_NS,
    .block = block,
    .prepare = prepare,
    .interleave = interleave,
};
