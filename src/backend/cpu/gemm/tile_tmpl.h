/* SPDX-License-Identifier: Apache-2.0
 *
 * Register-tile kernels and the block driver, included once per ISA file. A tile is mr rows x np panels; each panel is TILE_NV vectors
 * wide (nv), or half of that when no more columns are left. The accumulators stay in registers over the pass through K; per step the tile
 * loads np * nv vectors of B and broadcasts mr elements of A. Rows of A are read in place: three rows share an address register.
 *
 * Shapes: AVX-512 14 x 32 (28 of 32 registers hold sums), AVX2 6 x 16, plain C 4 x 8. With few rows two or four panels are done at
 * once, to keep enough independent sums in flight. */
#ifndef TENON_CPU_GEMM_TILE_TMPL_H
#define TENON_CPU_GEMM_TILE_TMPL_H

#include "backend/cpu/gemm/act.h"
#include "backend/cpu/gemm/gemm.h"

#if VL == 16
#define TILE_MR 14
#elif VL == 8
#define TILE_MR 6
#else
#define TILE_MR 4
#endif
#define TILE_NV (VL == 1 ? 8 : 2) /* vectors of a panel */
#define TILE_NR (TILE_NV * VL)
#define TILE_ACC (TILE_MR * TILE_NV)
#define AHEAD_STEPS 32
#define B_AHEAD 2048 /* bytes of B to prefetch ahead: some hundred cycles */

typedef struct Tile {
    const float *a;
    ptrdiff_t lda;
    const float *b;
    ptrdiff_t ldp;
    float *c;
    ptrdiff_t ldc;
    int64_t k;
    int64_t n;        /* columns that exist, <= np * TILE_NR */
    int64_t row, col; /* within the block, for the epilogue */
    bool add, last;   /* add: c holds a partial sum; last: K is complete, run the epilogue */
    const TniGemmEpi *epi;
    /* Memory that will be needed soon: rows of at most AHEAD_STEPS lines. A tile fetches one line a step, a row every AHEAD_STEPS, and
     * counts it off. */
    const char *ahead;
    ptrdiff_t ahead_stride, ahead_bytes;
    int64_t ahead_rows;
    /* Instead, where not 0: for each panel so many rows of AHEAD_STEPS lines from b + panel_ahead on. */
    int64_t panel_ahead_rows;
    ptrdiff_t panel_ahead;
} Tile;

/* Adds, finishes and stores a tile of any shape from tmp [rows][width]: the path of ragged columns and of costly activations. act is a
 * constant where it is called, so that the loops hold one activation only. */
TN_INLINE void finish_rows(const Tile *t, const float *tmp, int64_t rows, int64_t width, const uint32_t act) {
    const TniGemmEpi *e = t->last ? t->epi : NULL;
    for (int64_t j = 0; j < t->n; j += VL) {
        int64_t m = TN_MIN(t->n - j, (int64_t)VL);
        vf bias = vf_zero(), alpha = vf_set1(1.0f);
        if (e != NULL) {
            alpha = vf_set1(e->alpha);
            bias = vf_set1(e->bias0);
            if (e->bias != NULL && e->bias_ld == 0)
                bias = vf_fma(vf_loadn(e->bias + t->col + j, m), vf_set1(e->beta), bias);
        }
        for (int64_t i = 0; i < rows; i++) {
            vf x = vf_load(tmp + i * width + j);
            float *c = t->c + i * t->ldc + j;
            if (t->add)
                x = vf_add(x, vf_loadn(c, m));
            if (e != NULL) {
                vf b = bias;
                if (e->bias_row != NULL)
                    b = vf_add(b, vf_set1(e->beta * e->bias_row[t->row + i]));
                else if (e->bias_ld != 0)
                    b = vf_fma(vf_loadn(e->bias + (t->row + i) * e->bias_ld + t->col + j, m), vf_set1(e->beta), b);
                x = vf_act(act, e->act_alpha, e->act_beta, vf_fma(x, alpha, b));
                if (e->residual != NULL)
                    x = vf_add(x, vf_loadn(e->residual + (t->row + i) * e->ldr + t->col + j, m));
            }
            vf_storen(c, m, x);
        }
    }
}

/* The common costly case: whole vectors, a bias or none a column, nothing to add. */
static __attribute__((noinline)) void finish_gelu(const Tile *t, const float *tmp, int64_t rows, int64_t width) {
    const TniGemmEpi *e = t->epi;
    vf alpha = vf_set1(e->alpha), beta = vf_set1(e->beta);
    for (int64_t j = 0; j < t->n; j += VL) {
        vf bias = vf_set1(e->bias0);
        if (e->bias != NULL)
            bias = vf_fma(vf_load(e->bias + t->col + j), beta, bias);
        float *c = t->c + j;
        const float *x = tmp + j;
        if (t->add) {
            for (int64_t i = 0; i < rows; i++)
                vf_store(c + i * t->ldc, vf_gelu_fast(vf_fma(vf_add(vf_load(x + i * width), vf_load(c + i * t->ldc)), alpha, bias)));
        } else {
            for (int64_t i = 0; i < rows; i++)
                vf_store(c + i * t->ldc, vf_gelu_fast(vf_fma(vf_load(x + i * width), alpha, bias)));
        }
    }
}

static __attribute__((noinline)) void tile_finish(const Tile *t, const float *tmp, int64_t rows, int64_t width) {
    const TniGemmEpi *e = t->last ? t->epi : NULL;
    uint32_t act = e == NULL ? TN_ACT_NONE : e->act;
    if (act == TN_ACT_GELU && t->n % VL == 0 && e->bias_row == NULL && e->bias_ld == 0 && e->residual == NULL) {
        finish_gelu(t, tmp, rows, width);
        return;
    }
    switch (act) {
    case TN_ACT_NONE:
        finish_rows(t, tmp, rows, width, TN_ACT_NONE);
        break;
    case TN_ACT_RELU:
        finish_rows(t, tmp, rows, width, TN_ACT_RELU);
        break;
    case TN_ACT_GELU:
        finish_rows(t, tmp, rows, width, TN_ACT_GELU);
        break;
    case TN_ACT_SILU:
        finish_rows(t, tmp, rows, width, TN_ACT_SILU);
        break;
    default:
        finish_rows(t, tmp, rows, width, act);
    }
}

/* Finishes and stores the sums of a tile, in registers where that is cheap. */
TN_INLINE void tile_store(const Tile *t, vf *acc, const int mr, const int w) {
    const TniGemmEpi *e = t->last ? t->epi : NULL;
    if (t->n != w * VL || (e != NULL && (e->act > TN_ACT_RELU || e->bias_ld != 0))) {
        _Alignas(64) float tmp[TILE_ACC * VL];
        TN_UNROLL
        for (int i = 0; i < mr * w; i++)
            vf_store(tmp + i * VL, acc[i]);
        tile_finish(t, tmp, mr, w * VL);
        return;
    }
    float *c = t->c;
    if (t->add) {
        TN_UNROLL
        for (int i = 0; i < mr; i++) {
            TN_UNROLL
            for (int j = 0; j < w; j++)
                acc[i * w + j] = vf_add(acc[i * w + j], vf_load(c + i * t->ldc + j * VL));
        }
    }
    if (e != NULL) {
        vf alpha = vf_set1(e->alpha);
        TN_UNROLL
        for (int j = 0; j < w; j++) {
            vf bias = vf_set1(e->bias0);
            if (e->bias != NULL)
                bias = vf_fma(vf_load(e->bias + t->col + j * VL), vf_set1(e->beta), bias);
            TN_UNROLL
            for (int i = 0; i < mr; i++)
                acc[i * w + j] = vf_fma(acc[i * w + j], alpha, bias);
        }
        if (e->bias_row != NULL) {
            TN_UNROLL
            for (int i = 0; i < mr; i++) {
                vf bias = vf_set1(e->beta * e->bias_row[t->row + i]);
                TN_UNROLL
                for (int j = 0; j < w; j++)
                    acc[i * w + j] = vf_add(acc[i * w + j], bias);
            }
        }
        if (e->act == TN_ACT_RELU) {
            TN_UNROLL
            for (int i = 0; i < mr * w; i++)
                acc[i] = vf_max(vf_zero(), acc[i]);
        }
        if (e->residual != NULL) {
            const float *r = e->residual + t->row * e->ldr + t->col;
            TN_UNROLL
            for (int i = 0; i < mr; i++) {
                TN_UNROLL
                for (int j = 0; j < w; j++)
                    acc[i * w + j] = vf_add(acc[i * w + j], vf_load(r + i * e->ldr + j * VL));
            }
        }
    }
    TN_UNROLL
    for (int i = 0; i < mr; i++) {
        TN_UNROLL
        for (int j = 0; j < w; j++)
            vf_store(c + i * t->ldc + j * VL, acc[i * w + j]);
    }
}

TN_INLINE void tile_body(Tile *t, const int mr, const int np, const int nv) {
    const int w = np * nv;
    vf acc[TILE_ACC];
    TN_UNROLL
    for (int i = 0; i < mr * w; i++)
        acc[i] = vf_zero();
    const ptrdiff_t s = t->lda * (ptrdiff_t)sizeof(float);
    const char *a[5];
    a[0] = (const char *)t->a;
    TN_UNROLL
    for (int i = 1; i < 5; i++)
        a[i] = mr > 3 * i ? a[i - 1] + 3 * s : a[0];
    const float *b[4];
    TN_UNROLL
    for (int p = 0; p < np; p++)
        b[p] = t->b + p * t->ldp;
    if (t->add) { /* partial sums may have left the near caches: fetch them while the products are made */
        TN_UNROLL
        for (int i = 0; i < mr; i++) {
            TN_UNROLL
            for (int j = 0; j < w * VL; j += 16)
                __builtin_prefetch(t->c + i * t->ldc + j, 1, 3);
        }
    }
    for (int64_t left = t->k; left > 0; left -= AHEAD_STEPS) {
        const char *ahead = (const char *)t->a, *ahead_end = ahead; /* nothing to fetch: a line that is there anyway */
        if (t->ahead_rows > 0) {
            ahead = t->ahead;
            ahead_end = ahead + t->ahead_bytes;
            t->ahead += t->ahead_stride;
            t->ahead_rows--;
        }
        for (int64_t k = TN_MIN(left, (int64_t)AHEAD_STEPS); k > 0; k--) {
            vf bv[8];
            TN_UNROLL
            for (int j = 0; j < w; j++)
                bv[j] = vf_load(b[j / nv] + (j % nv) * VL);
            if (VL > 1) {
                TN_UNROLL
                for (int p = 0; p < np; p++) {
                    __builtin_prefetch((const char *)b[p] + B_AHEAD, 0, 3);
                    if (TILE_NR > 16)
                        __builtin_prefetch((const char *)b[p] + B_AHEAD + 64, 0, 3);
                }
                __builtin_prefetch(ahead, 0, 2);
                ahead += ahead < ahead_end ? 64 : 0;
            }
            TN_UNROLL
            for (int i = 0; i < mr; i++) {
                vf x = vf_set1(*(const float *)(const void *)(a[i / 3] + (i % 3) * s));
                TN_UNROLL
                for (int j = 0; j < w; j++)
                    acc[i * w + j] = vf_fma(x, bv[j], acc[i * w + j]);
            }
            TN_UNROLL
            for (int i = 0; i < 5; i++)
                a[i] += sizeof(float);
            TN_UNROLL
            for (int p = 0; p < np; p++)
                b[p] += TILE_NR;
        }
    }
    tile_store(t, acc, mr, w);
}

typedef void (*TileFn)(Tile *t);
/* tile_<rows>_<panels>, panels 0 meaning half of one */
#define TILE(mr, np)                                                                                                                       \
    static void tile_##mr##_##np(Tile *t) {                                                                                                \
        tile_body(t, mr, np == 0 ? 1 : np, np == 0 ? TILE_NV / 2 : TILE_NV);                                                               \
    }
#define TILE_ROWS(mr) TILE(mr, 0) TILE(mr, 1)

/* clang-format off */
TILE_ROWS(1) TILE_ROWS(2) TILE_ROWS(3) TILE_ROWS(4)
#if VL >= 8
TILE_ROWS(5) TILE_ROWS(6)
TILE(1, 2) TILE(2, 2) TILE(3, 2)
TILE(1, 4)
#endif
#if VL == 16
TILE_ROWS(7) TILE_ROWS(8) TILE_ROWS(9) TILE_ROWS(10) TILE_ROWS(11) TILE_ROWS(12) TILE_ROWS(13) TILE_ROWS(14)
TILE(4, 2) TILE(5, 2) TILE(6, 2)
TILE(2, 4) TILE(3, 4)
#endif

/* [rows - 1][0: half a panel, 1: a panel, 2: two, 3: four]; NULL where the registers would not suffice. */
static const TileFn tile_table[TILE_MR][4] = {
#if VL == 16
    {tile_1_0, tile_1_1, tile_1_2, tile_1_4}, {tile_2_0, tile_2_1, tile_2_2, tile_2_4}, {tile_3_0, tile_3_1, tile_3_2, tile_3_4},
    {tile_4_0, tile_4_1, tile_4_2, NULL},     {tile_5_0, tile_5_1, tile_5_2, NULL},     {tile_6_0, tile_6_1, tile_6_2, NULL},
    {tile_7_0, tile_7_1, NULL, NULL},         {tile_8_0, tile_8_1, NULL, NULL},         {tile_9_0, tile_9_1, NULL, NULL},
    {tile_10_0, tile_10_1, NULL, NULL},       {tile_11_0, tile_11_1, NULL, NULL},       {tile_12_0, tile_12_1, NULL, NULL},
    {tile_13_0, tile_13_1, NULL, NULL},       {tile_14_0, tile_14_1, NULL, NULL},
#elif VL == 8
    {tile_1_0, tile_1_1, tile_1_2, tile_1_4}, {tile_2_0, tile_2_1, tile_2_2, NULL}, {tile_3_0, tile_3_1, tile_3_2, NULL},
    {tile_4_0, tile_4_1, NULL, NULL},         {tile_5_0, tile_5_1, NULL, NULL},     {tile_6_0, tile_6_1, NULL, NULL},
#else
    {tile_1_0, tile_1_1, NULL, NULL},
    {tile_2_0, tile_2_1, NULL, NULL},
    {tile_3_0, tile_3_1, NULL, NULL},
    {tile_4_0, tile_4_1, NULL, NULL},
#endif
};
/* clang-format on */

#endif
