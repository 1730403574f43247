/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix product core: tiles of c in double, panels of a and b packed into scratch memory, k ascending for every element of c, so
 * that the result depends neither on threads nor on tiles. */
#include "backend/ref/ref.h"

/* Two rows of c and four of b at a time: c[j] = (((c[j] + a0 b0[j]) + a1 b1[j]) + ...), in order. */
static void tile_2x4(double *TN_RESTRICT c0, double *TN_RESTRICT c1, const double *a0, const double *a1, const double *TN_RESTRICT b) {
    const double x0 = a0[0], x1 = a0[1], x2 = a0[2], x3 = a0[3];
    const double y0 = a1[0], y1 = a1[1], y2 = a1[2], y3 = a1[3];
    for (int j = 0; j < REF_TILE_N; j++) {
        const double b0 = b[j], b1 = b[REF_TILE_N + j], b2 = b[2 * REF_TILE_N + j], b3 = b[3 * REF_TILE_N + j];
        c0[j] = (((c0[j] + x0 * b0) + x1 * b1) + x2 * b2) + x3 * b3;
        c1[j] = (((c1[j] + y0 * b0) + y1 * b1) + y2 * b2) + y3 * b3;
    }
}

static void tile_1x1(double *TN_RESTRICT c, double a, const double *TN_RESTRICT b) {
    for (int j = 0; j < REF_TILE_N; j++)
        c[j] += a * b[j];
}

void tni_ref_multiply(double *c, const double *a, const double *b, int64_t m, int64_t k) {
    for (int64_t i = 0; i < m; i += 2) {
        double *c0 = c + i * REF_TILE_N, *c1 = c0 + REF_TILE_N;
        const double *a0 = a + i * REF_TILE_K, *a1 = a0 + REF_TILE_K;
        int64_t t = 0;
        for (; i + 1 < m && t + 4 <= k; t += 4)
            tile_2x4(c0, c1, a0 + t, a1 + t, b + t * REF_TILE_N);
        for (; t < k; t++) {
            tile_1x1(c0, a0[t], b + t * REF_TILE_N);
            if (i + 1 < m)
                tile_1x1(c1, a1[t], b + t * REF_TILE_N);
        }
    }
}

typedef struct Tiles {
    const RefProduct *p;
    int64_t rows, cols; /* tiles of one matrix */
    uint8_t *scratch;
} Tiles;

static void run_tile(void *ctx, int64_t task, uint32_t worker) {
    const Tiles *t = ctx;
    const RefProduct *p = t->p;
    const int64_t col = task % t->cols, row = task / t->cols % t->rows, batch = task / t->cols / t->rows;
    const int64_t i0 = row * REF_TILE_M, j0 = col * REF_TILE_N;
    const int64_t m = TN_MIN(p->m - i0, REF_TILE_M), n = TN_MIN(p->n - j0, REF_TILE_N);
    double *c = (double *)(void *)(t->scratch + worker * REF_TILE_BYTES);
    double *a = c + REF_TILE_M * REF_TILE_N, *b = a + REF_TILE_M * REF_TILE_K;
    memset(c, 0, REF_TILE_M * REF_TILE_N * sizeof(double));
    memset(b, 0, REF_TILE_K * REF_TILE_N * sizeof(double)); /* columns past n stay 0 */
    for (int64_t k0 = 0; k0 < p->k; k0 += REF_TILE_K) {
        const int64_t nk = TN_MIN(p->k - k0, REF_TILE_K);
        for (int64_t k = 0; k < nk; k++)
            p->load_b(p->ctx, batch, k0 + k, j0, n, b + k * REF_TILE_N);
        for (int64_t i = 0; i < m; i++)
            p->load_a(p->ctx, batch, i0 + i, k0, nk, a + i * REF_TILE_K);
        tni_ref_multiply(c, a, b, m, nk);
    }
    for (int64_t i = 0; i < m; i++)
        p->store(p->ctx, batch, i0 + i, j0, n, c + i * REF_TILE_N);
}

void tni_ref_product(const RefProduct *p, TnThreads *threads, void *scratch) {
    if (p->batch <= 0 || p->m <= 0 || p->n <= 0)
        return;
    Tiles t = {p, (p->m - 1) / REF_TILE_M + 1, (p->n - 1) / REF_TILE_N + 1, scratch};
    tni_parallel_for(threads, p->batch * t.rows * t.cols, run_tile, &t);
}
