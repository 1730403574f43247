/* SPDX-License-Identifier: Apache-2.0
 *
 * The matrix kernels of the CPU, shared by gemm, matmul, conv and attention: packed panels of B, a register-tile kernel, and a block
 * driver. Each ISA level has its own set (TniGemmIsa); everything else is common.
 *
 * Packed B: columns in panels of nr; panel p holds columns [p * nr, (p + 1) * nr) as [K][nr], columns beyond N are zero. Panels follow
 * each other, so panel p starts at p * K * nr. The distance is a parameter, so that panels may also be parts of something larger.
 *
 * Rules that make results independent of the number of threads: the cut into tasks depends on shapes alone, and one task sums all of K
 * of an output element in one order. */
#ifndef TENON_CPU_GEMM_H
#define TENON_CPU_GEMM_H

#include "kernel/kernel.h"

#define TNI_GEMM_KC 320 /* most of K that one pass over a block takes: a tile's rows of A and a panel of B share the L1 cache */
#define TNI_GEMM_A_LD (TNI_GEMM_KC + 16)
#define TNI_GEMM_MR_MAX 14
#define TNI_GEMM_A_BUF (TNI_GEMM_MR_MAX * TNI_GEMM_A_LD) /* floats a worker needs for gathered rows of A */

/* y = act(alpha * acc + bias0 + beta * b) + residual, where b is bias[col], bias[row * bias_ld + col] or bias_row[row]. */
typedef struct TniGemmEpi {
    float alpha, beta, bias0;
    uint32_t act; /* TnAct */
    float act_alpha, act_beta;
    const float *bias;     /* of the block's first column (and row), or NULL */
    ptrdiff_t bias_ld;     /* 0: the same for all rows */
    const float *bias_row; /* of the block's first row, or NULL */
    const float *residual; /* of the block's first element, or NULL */
    ptrdiff_t ldr;
} TniGemmEpi;

/* Copies rows [row, row + rows) x columns [k0, k0 + kc) of A to dst, row stride ld; kc <= TNI_GEMM_KC. */
typedef void (*TniGemmLoadA)(const void *ctx, int64_t row, int64_t rows, int64_t k0, int64_t kc, float *dst, ptrdiff_t ld);

/* c [m, n] = epi(A [m, k] * B [k, n]). c must not overlap anything else; it holds partial sums meanwhile. */
typedef struct TniGemmBlock {
    const float *a; /* row-major, or NULL: load_a */
    ptrdiff_t lda;
    TniGemmLoadA load_a;
    const void *load_ctx;
    float *a_buf;   /* [TNI_GEMM_A_BUF], 64-byte aligned; only for load_a */
    const float *b; /* packed panels */
    ptrdiff_t ldp;  /* from panel to panel */
    float *c;
    ptrdiff_t ldc;
    int64_t m, n, k;
    const TniGemmEpi *epi; /* NULL: c = A * B */
    const float *ahead;    /* NULL, or memory that will be read after the block, to be fetched meanwhile: row r of c comes with floats */
    int64_t ahead_row;     /* [r * ahead_row, (r + 1) * ahead_row) */
} TniGemmBlock;

/* Source of a packing: element (k, n) of B is at b[k * sk + n * sn]; sn == 1 or sk == 1 is fast. */
typedef struct TniPackB {
    const float *b;
    ptrdiff_t sk, sn;
    int64_t k, n;
} TniPackB;

typedef struct TniGemmIsa {
    int32_t mr, nr, vl;
    double flops_per_ns; /* estimate for the cost functions */
    void (*block)(const TniGemmBlock *blk);
    /* Panels [p0, p1) of s into dst (the start of panel p0, panels s->k * nr apart). */
    void (*pack_b)(const TniPackB *s, int64_t p0, int64_t p1, float *dst);
} TniGemmIsa;

extern const TniGemmIsa tni_gemm_isa_scalar, tni_gemm_isa_avx2, tni_gemm_isa_avx512;

/* The cut of an [M, N] product into tasks: mb x nb blocks of whole tiles and panels. A function of the shape alone. */
typedef struct TniGemmGrid {
    int64_t mb, nb; /* blocks */
    int64_t tiles, panels;
    int64_t m, n;
    int32_t nr;
} TniGemmGrid;
TniGemmGrid tni_gemm_grid(const TniGemmIsa *isa, int64_t m, int64_t n, int64_t k);
/* Rows [*r0, *r1) and columns [*c0, *c1) of task t, column blocks outermost; c0 is a multiple of nr. */
void tni_gemm_task(const TniGemmGrid *g, int64_t t, int64_t *r0, int64_t *r1, int64_t *c0, int64_t *c1);

TN_INLINE int64_t tni_ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}
/* Floats of a packed [k, n]. */
TN_INLINE size_t tni_gemm_packed_floats(const TniGemmIsa *isa, int64_t k, int64_t n) {
    return (size_t)tni_ceil_div(n, isa->nr) * (size_t)isa->nr * (size_t)k;
}
/* Estimated nanoseconds of an [m, k] x [k, n] product on one thread. */
double tni_gemm_cost(const TniGemmIsa *isa, double m, double n, double k);

/* Product of dims [0, n). */
TN_INLINE int64_t tni_dims_product(const int64_t *dims, int32_t n) {
    int64_t p = 1;
    for (int32_t i = 0; i < n; i++)
        p *= dims[i];
    return p;
}

#endif
