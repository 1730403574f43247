/* SPDX-License-Identifier: Apache-2.0
 *
 * Transposing tiles of one ISA, 16 x 16 (AVX-512) or 8 x 8 (AVX2) elements of 4 bytes at a time; edges are masked; other sizes go through
 * the plain loops. */
#include <stdalign.h>

#include "backend/cpu/move/move.h"
#include "backend/cpu/simd/simd.h"

#if VL == 16
#define SIDE 16
/* 16 rows of 16: interleave pairs, then pairs of pairs, then move 128-bit parts into place. */
TN_INLINE void square(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss, int64_t rows, int64_t cols) {
    const __mmask16 in = lanes_below(rows), out = lanes_below(cols);
    __m512i r[16], t[16];
    for (int i = 0; i < 16; i++)
        r[i] = i < cols ? _mm512_maskz_loadu_epi32(in, s + i * ss) : _mm512_setzero_si512();
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
        t[k] = _mm512_shuffle_i32x4(a, b, 0x88);
        t[8 + k] = _mm512_shuffle_i32x4(a, b, 0xdd);
        t[4 + k] = _mm512_shuffle_i32x4(c, e, 0x88);
        t[12 + k] = _mm512_shuffle_i32x4(c, e, 0xdd);
    }
    for (int i = 0; i < 16 && i < rows; i++)
        _mm512_mask_storeu_epi32(d + i * ds, out, t[i]);
}
#elif VL == 8
#define SIDE 8
TN_INLINE void square(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss, int64_t rows, int64_t cols) {
    const __m256i in = lanes_below(rows), out = lanes_below(cols);
    __m256i r[8], t[8];
    for (int i = 0; i < 8; i++)
        r[i] = i < cols ? _mm256_maskload_epi32((const int *)(const void *)(s + i * ss), in) : _mm256_setzero_si256();
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
        t[k] = _mm256_permute2x128_si256(r[k], r[4 + k], 0x20);
        t[4 + k] = _mm256_permute2x128_si256(r[k], r[4 + k], 0x31);
    }
    for (int i = 0; i < 8 && i < rows; i++)
        _mm256_maskstore_epi32((int *)(void *)(d + i * ds), out, t[i]);
}
#endif

#if VL > 1
TN_INLINE void squares(uint32_t *d, int64_t ds, const uint32_t *s, int64_t ss, int64_t rows, int64_t cols) {
    for (int64_t j = 0; j < cols; j += SIDE) {
        const int64_t w = TN_MIN(SIDE, cols - j);
        for (int64_t i = 0; i < rows; i += SIDE) {
            /* the next tile's part of these source rows: their stride is beyond the hardware's prefetchers */
            for (int64_t q = 0; q < w; q++)
                _mm_prefetch((const char *)((uintptr_t)(s + (j + q) * ss + i) + TN_TILE_ROWS * 4), _MM_HINT_T1);
            if (w == SIDE && rows - i >= SIDE) /* the constants let the compiler drop the masks */
                square(d + i * ds + j, ds, s + j * ss + i, ss, SIDE, SIDE);
            else
                square(d + i * ds + j, ds, s + j * ss + i, ss, TN_MIN(SIDE, rows - i), w);
        }
    }
}

/* Stores that straddle cache lines cost twice when they go to far memory: unless every row is aligned, the tile is turned in a buffer in
 * L1 and its rows are copied out whole. */
static void tile_4(void *pd, int64_t ds, const void *ps, int64_t ss, int64_t rows, int64_t cols) {
    if (cols < 4 * SIDE || (((uintptr_t)pd | (uintptr_t)(ds * 4)) & 63u) == 0) {
        squares(pd, ds, ps, ss, rows, cols);
        return;
    }
    alignas(64) uint32_t turned[TN_TILE_ROWS * TN_TILE_COLS];
    squares(turned, TN_TILE_COLS, ps, ss, rows, cols);
    for (int64_t i = 0; i < rows; i++)
        memcpy((uint32_t *)pd + i * ds, turned + i * TN_TILE_COLS, (size_t)cols * 4);
}
#define TILES                                                                                                                              \
    {                                                                                                                                      \
        {                                                                                                                                  \
            tni_cpu_tiles_plain.by_log2[0], tni_cpu_tiles_plain.by_log2[1], tile_4, tni_cpu_tiles_plain.by_log2[3],                        \
                tni_cpu_tiles_plain.by_log2[4]                                                                                             \
        }                                                                                                                                  \
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
