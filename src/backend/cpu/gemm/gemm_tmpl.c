/* SPDX-License-Identifier: Apache-2.0
 *
 * One ISA's block driver and packing; included by scalar.c, avx2.c and avx512.c. */
#include "backend/cpu/gemm/tile_tmpl.h"

#define FEW_TILES 16

/* All panels of one row of tiles. */
static void tile_row(Tile *t, int64_t rows, int64_t n, float *c, const float *b) {
    const TileFn *fn = tile_table[rows - 1];
    int64_t j = 0;
    for (int w = 3; w >= 0; w--) {
        int64_t width = w == 0 ? TILE_NR / 2 : (int64_t)TILE_NR << (w - 1);
        if (fn[w] == NULL)
            continue;
        /* A wide tile takes whole groups only; one panel also takes the rest when more than half a panel is left. */
        while (w >= 2 ? n - j >= width : w == 1 ? n - j > TILE_NR / 2 : n - j > 0) {
            t->n = TN_MIN(width, n - j);
            t->col = j;
            t->c = c + j;
            t->b = b + j / TILE_NR * t->ldp;
            if (t->panel_ahead_rows > 0) {
                t->ahead = (const char *)(t->b + t->panel_ahead);
                t->ahead_rows = t->panel_ahead_rows;
            }
            fn[w](t);
            j += t->n;
        }
    }
}

/* What row i of tiles should fetch meanwhile: what the caller wants; with few rows, where B is most of the traffic, B for the next pass;
 * else the rows of A of the next row of tiles. */
static void look_ahead(Tile *t, const TniGemmBlock *blk, int64_t i, int64_t tiles, int64_t k0, int64_t kc) {
    int64_t r0 = blk->m * i / tiles, r1 = blk->m * (i + 1) / tiles, r2 = blk->m * (i + 2) / tiles, row = AHEAD_STEPS * 64;
    t->panel_ahead_rows = 0;
    t->ahead_rows = 0;
    t->ahead_stride = t->ahead_bytes = row;
    if (blk->ahead != NULL) {
        t->ahead = (const char *)(blk->ahead + r0 * blk->ahead_row);
        t->ahead_rows = tni_ceil_div((r1 - r0) * blk->ahead_row * (int64_t)sizeof(float), row);
    } else if (tiles <= FEW_TILES && i > 0 && !t->last) { /* the first row waits for this pass's B, the others share out the next one's */
        int64_t rows = tni_ceil_div(kc * TILE_NR * (int64_t)sizeof(float), row), from = rows * (i - 1) / (tiles - 1);
        t->panel_ahead = kc * TILE_NR + from * row / (int64_t)sizeof(float);
        t->panel_ahead_rows = rows * i / (tiles - 1) - from;
    } else if (blk->a != NULL && (i + 1 < tiles || !t->last)) {
        bool wrap = i + 1 == tiles; /* the first rows of the next pass */
        t->ahead = (const char *)(wrap ? blk->a + k0 + kc : blk->a + r1 * blk->lda + k0);
        t->ahead_stride = blk->lda * (ptrdiff_t)sizeof(float);
        t->ahead_bytes = t->k * (ptrdiff_t)sizeof(float);
        t->ahead_rows = wrap ? r1 - r0 : r2 - r1;
    }
}

static void block(const TniGemmBlock *blk) {
    int64_t passes = TN_MAX(tni_ceil_div(blk->k, TNI_GEMM_KC), 1);
    int64_t kc = TN_MAX((tni_ceil_div(blk->k, passes) + 7) / 8 * 8, 8);
    int64_t tiles = tni_ceil_div(blk->m, TILE_MR);
    Tile t = {.ldp = blk->ldp, .ldc = blk->ldc, .epi = blk->epi};
    for (int64_t k0 = 0; k0 == 0 || k0 < blk->k; k0 += kc) {
        t.k = TN_MIN(kc, blk->k - k0);
        t.add = k0 > 0;
        t.last = k0 + kc >= blk->k;
        for (int64_t i = 0; i < tiles; i++) {
            int64_t r0 = blk->m * i / tiles, rows = blk->m * (i + 1) / tiles - r0;
            if (blk->a != NULL) {
                t.a = blk->a + r0 * blk->lda + k0;
                t.lda = blk->lda;
            } else {
                blk->load_a(blk->load_ctx, r0, rows, k0, t.k, blk->a_buf, TNI_GEMM_A_LD);
                t.a = blk->a_buf;
                t.lda = TNI_GEMM_A_LD;
            }
            look_ahead(&t, blk, i, tiles, k0, kc);
            t.row = r0;
            tile_row(&t, rows, blk->n, blk->c + r0 * blk->ldc, blk->b + k0 * TILE_NR);
        }
    }
}

/* Source columns are contiguous: copies. */
static void pack_rows(const TniPackB *s, int64_t p, float *dst) {
    const float *src = s->b + p * TILE_NR;
    int64_t n = s->n - p * TILE_NR;
    for (int64_t k = 0; k < s->k; k++, src += s->sk, dst += TILE_NR) {
        __builtin_prefetch(src + 8 * s->sk, 0, 3);
        if (TILE_NR > 16)
            __builtin_prefetch(src + 8 * s->sk + 16, 0, 3);
        TN_UNROLL
        for (int j = 0; j < TILE_NV; j++) {
            int64_t left = n - j * VL;
            vf_store(dst + j * VL, left >= VL ? vf_load(src + j * VL) : left > 0 ? vf_loadn(src + j * VL, left) : vf_zero());
        }
    }
}

/* Source columns run along memory rows (a transposed B, or keys): VL x VL transposes. */
static void pack_columns(const TniPackB *s, int64_t p, float *dst) {
    for (int j = 0; j < TILE_NV; j++) {
        int64_t n0 = p * TILE_NR + j * VL, next = TN_MIN(n0 + VL, s->n - 1);
        for (int64_t k = 0; k < s->k; k += VL) {
            int64_t kn = TN_MIN(s->k - k, (int64_t)VL);
            vf r[VL];
            TN_UNROLL
            for (int i = 0; i < VL; i++)
                r[i] = n0 + i < s->n ? vf_loadn(s->b + (n0 + i) * s->sn + k, kn) : vf_zero();
            if (VL > 1) {
                TN_UNROLL
                for (int i = 0; i < VL; i++) /* rows are far apart: the hardware does not see them coming */
                    __builtin_prefetch(s->b + TN_MIN(next + i, s->n - 1) * s->sn + k, 0, 3);
            }
            vf_transpose(r);
            TN_UNROLL
            for (int i = 0; i < VL; i++)
                if (i < kn)
                    vf_store(dst + (k + i) * TILE_NR + j * VL, r[i]);
        }
    }
}

static void pack_b(const TniPackB *s, int64_t p0, int64_t p1, float *dst) {
    for (int64_t p = p0; p < p1; p++, dst += s->k * TILE_NR) {
        if (s->sn == 1) {
            pack_rows(s, p, dst);
        } else if (s->sk == 1) {
            pack_columns(s, p, dst);
        } else {
            for (int64_t k = 0; k < s->k; k++)
                for (int64_t j = 0; j < TILE_NR; j++) {
                    int64_t n = p * TILE_NR + j;
                    dst[k * TILE_NR + j] = n < s->n ? s->b[k * s->sk + n * s->sn] : 0.0f;
                }
        }
    }
}

#if VL == 16
#define FLOPS_PER_NS 110.0
#elif VL == 8
#define FLOPS_PER_NS 60.0
#else
#define FLOPS_PER_NS 8.0
#endif

const TniGemmIsa TN_ISA(tni_gemm_isa) = {
    .mr = TILE_MR,
    .nr = TILE_NR,
    .vl = VL,
    .flops_per_ns = FLOPS_PER_NS,
    .block = block,
    .pack_b = pack_b,
};
