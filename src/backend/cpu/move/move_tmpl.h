/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposing tiles of one ISA, 16 x 16 (AVX-512) or 8 x 8 (AVX2) elements of 4 bytes at a time; other sizes and edges go through the
 * plain loops. */
#include "backend/cpu/move/move.h"
#include "backend/cpu/simd/simd.h"

#if VL == 16
#define SIDE 16
/* 16 rows of 16: interleave pairs, then pairs of pairs, then move 128-bit parts into place. */
TN_INLINE void square(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss) {
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_loadu_si512(s + i * ss);
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) { /* r[4i + k]: in each 128-bit part p, column 4p + k of rows 4i .. 4i + 3 */
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int k = 0; k < 4; k++) {
        __m512i a = _mm512_shuffle_i32x4(r[k], r[4 + k], 0x88), b = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0x88);
        __m512i c = _mm512_shuffle_i32x4(r[k], r[4 + k], 0xdd), e = _mm512_shuffle_i32x4(r[8 + k], r[12 + k], 0xdd);
        _mm512_storeu_si512(d + k * ds, _mm512_shuffle_i32x4(a, b, 0x88));
        _mm512_storeu_si512(d + (8 + k) * ds, _mm512_shuffle_i32x4(a, b, 0xdd));
        _mm512_storeu_si512(d + (4 + k) * ds, _mm512_shuffle_i32x4(c, e, 0x88));
        _mm512_storeu_si512(d + (12 + k) * ds, _mm512_shuffle_i32x4(c, e, 0xdd));
    }
}
#elif VL == 8
#define SIDE 8
TN_INLINE void square(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss) {
    __m256i r[8], t[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_si256((const __m256i *)(const void *)(s + i * ss));
    for (int i = 0; i < 4; i++) {
        t[2 * i] = _mm256_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        r[4 * i] = _mm256_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm256_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm256_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm256_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int k = 0; k < 4; k++) {
        _mm256_storeu_si256((__m256i *)(void *)(d + k * ds), _mm256_permute2x128_si256(r[k], r[4 + k], 0x20));
        _mm256_storeu_si256((__m256i *)(void *)(d + (4 + k) * ds), _mm256_permute2x128_si256(r[k], r[4 + k], 0x31));
    }
}
#endif

#if VL > 1
static void tile_4(void *pd, int64_t ds, const void *ps, int64_t ss, int64_t rows, int64_t cols) {
    uint32_t *d = pd;
    const uint32_t *s = ps;
    const int64_t r = rows / SIDE * SIDE, c = cols / SIDE * SIDE;
    for (int64_t j = 0; j < c; j += SIDE)
        for (int64_t i = 0; i < r; i += SIDE)
            square(d + i * ds + j, ds, s + j * ss + i, ss);
    if (r < rows)
        tni_cpu_tiles_plain.by_log2[2](d + r * ds, ds, s + r, ss, rows - r, c);
    if (c < cols)
        tni_cpu_tiles_plain.by_log2[2](d + c, ds, s + c * ss, ss, rows, cols - c);
}
#define TILES                                                                                                       \
    {                                                                                                               \
        {tni_cpu_tiles_plain.by_log2[0], tni_cpu_tiles_plain.by_log2[1], tile_4, tni_cpu_tiles_plain.by_log2[3],    \
         tni_cpu_tiles_plain.by_log2[4]}                                                                            \
    }
#else
#define TILES tni_cpu_tiles_plain
#endif

TnStatus TN_ISA(tni_cpu_transpose)(TnKernelCall *call) {
    const TnTransposeTiles tiles = TILES;
    return tni_cpu_transpose(call, &tiles);
}

TnStatus TN_ISA(tni_cpu_depth_to_space)(TnKernelCall *call) {
    const TnTransposeTiles tiles = TILES;
    return tni_cpu_depth_space(call, &tiles, true);
}

TnStatus TN_ISA(tni_cpu_space_to_depth)(TnKernelCall *call) {
    const TnTransposeTiles tiles = TILES;
    return tni_cpu_depth_space(call, &tiles, false);
}
