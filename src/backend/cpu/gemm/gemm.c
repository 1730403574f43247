/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators gemm and matmul on the CPU. Both become batches of [M, K] x [K, N] products over packed panels of B: a constant B is packed
 * when the plan is built, any other one at the start of the call. */
#include "backend/cpu/gemm/kernels.h"

#define PACK_TASK_FLOATS 32768

/* A batch of products. Batch b uses A at a + a_off(b), B number b_index(b) of b_count matrices, C at c + b * m * n. */
typedef struct Product {
    const TniGemmIsa *isa;
    const float *a, *b, *packed;
    float *c;
    int64_t m, n, k;
    ptrdiff_t a_sm, a_sk; /* strides of A's rows and columns */
    ptrdiff_t b_sk, b_sn;
    int64_t batch, b_count;
    int32_t batch_rank;
    int64_t batch_dims[TN_MAX_RANK];
    int64_t a_step[TN_MAX_RANK], b_step[TN_MAX_RANK]; /* in matrices; 0: broadcast */
    TniGemmEpi epi;
    bool has_epi;
    float *pack_dst;
    float *a_buf;
    TniGemmGrid grid;
    int64_t pack_groups, panels_per_group;
} Product;

static void batch_index(const Product *p, int64_t b, int64_t *ia, int64_t *ib) {
    *ia = *ib = 0;
    for (int32_t i = p->batch_rank - 1; i >= 0; i--) {
        int64_t d = b % p->batch_dims[i];
        b /= p->batch_dims[i];
        *ia += d * p->a_step[i];
        *ib += d * p->b_step[i];
    }
}

static size_t packed_floats(const Product *p) {
    return tni_gemm_packed_floats(p->isa, p->k, p->n);
}

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Product *p = ctx;
    int64_t mat = task / p->pack_groups, p0 = task % p->pack_groups * p->panels_per_group;
    int64_t p1 = TN_MIN(p0 + p->panels_per_group, p->grid.panels);
    TniPackB s = {.b = p->b + mat * p->k * p->n, .sk = p->b_sk, .sn = p->b_sn, .k = p->k, .n = p->n};
    p->isa->pack_b(&s, p0, p1, p->pack_dst + (size_t)mat * packed_floats(p) + p0 * p->k * p->isa->nr);
}

/* Rows of a transposed A. */
static void load_transposed(const void *ctx, int64_t row, int64_t rows, int64_t k0, int64_t kc, float *dst, ptrdiff_t ld) {
    const Product *p = ctx;
    const float *src = p->a + row * p->a_sm + k0 * p->a_sk;
    for (int64_t k = 0; k < kc; k++)
        for (int64_t i = 0; i < rows; i++)
            dst[i * ld + k] = src[i * p->a_sm + k * p->a_sk];
}

typedef struct LoadAt {
    const Product *p;
    int64_t row0;
} LoadAt;

static void load_at(const void *ctx, int64_t row, int64_t rows, int64_t k0, int64_t kc, float *dst, ptrdiff_t ld) {
    const LoadAt *l = ctx;
    load_transposed(l->p, l->row0 + row, rows, k0, kc, dst, ld);
}

static void product_task(void *ctx, int64_t task, uint32_t worker) {
    const Product *p = ctx;
    int64_t per = p->grid.mb * p->grid.nb, b = task / per, ia, ib, r0, r1, c0, c1;
    batch_index(p, b, &ia, &ib);
    tni_gemm_task(&p->grid, task % per, &r0, &r1, &c0, &c1);
    TniGemmEpi epi = p->epi;
    int64_t row = b * p->m + r0;
    if (epi.bias != NULL)
        epi.bias += r0 * epi.bias_ld + c0;
    if (epi.bias_row != NULL)
        epi.bias_row += r0;
    if (epi.residual != NULL)
        epi.residual += row * p->n + c0;
    LoadAt at = {.p = p, .row0 = r0};
    TniGemmBlock blk = {
        .lda = p->a_sm,
        .b = p->packed + (size_t)ib * packed_floats(p) + c0 * p->k,
        .ldp = p->k * p->isa->nr,
        .c = p->c + row * p->n + c0,
        .ldc = p->n,
        .m = r1 - r0,
        .n = c1 - c0,
        .k = p->k,
        .epi = p->has_epi ? &epi : NULL,
    };
    if (p->a_sk == 1) {
        blk.a = p->a + ia * p->m * p->k + r0 * p->a_sm;
    } else {
        blk.load_a = load_at;
        blk.load_ctx = &at;
        blk.a_buf = p->a_buf + (size_t)worker * TNI_GEMM_A_BUF;
    }
    p->isa->block(&blk);
}

static TnStatus run_product(TnKernelCall *call, Product *p) {
    if (p->batch * p->m * p->n == 0)
        return TN_OK;
    static const float nothing[1];
    if (p->a == NULL) /* a constant without elements (K of 0): block takes an absent A for one that it must load */
        p->a = nothing;
    size_t need = 0, pack_bytes = 0;
    p->packed = call->packed != NULL ? call->packed[1] : NULL;
    if (p->packed == NULL)
        need = pack_bytes = tni_align_up((size_t)p->b_count * packed_floats(p) * sizeof(float), 64);
    if (p->a_sk != 1)
        need += (size_t)tni_threads_count(call->threads) * TNI_GEMM_A_BUF * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "matrix product: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    p->grid = tni_gemm_grid(p->isa, p->m, p->n, p->k);
    p->a_buf = (float *)(void *)((char *)call->scratch + pack_bytes);
    if (p->packed == NULL) {
        p->pack_dst = call->scratch;
        p->panels_per_group = TN_MAX(PACK_TASK_FLOATS / TN_MAX(p->k * p->isa->nr, 1), 1);
        p->pack_groups = tni_ceil_div(p->grid.panels, p->panels_per_group);
        tni_parallel_for(call->threads, p->b_count * p->pack_groups, pack_task, p);
        p->packed = p->pack_dst;
    }
    tni_parallel_for(call->threads, p->batch * p->grid.mb * p->grid.nb, product_task, p);
    return TN_OK;
}

/* ---- gemm ---- */

typedef struct GemmDims {
    int64_t m, n, k;
} GemmDims;

static GemmDims gemm_dims(const TnGemmParams *g, const TnTensor *in) {
    const TnTensor *a = &in[0], *b = &in[1];
    GemmDims d = {.k = b->dims[g->trans_b ? 1 : 0], .n = b->dims[g->trans_b ? 0 : 1]};
    d.m = g->trans_a ? a->dims[1] : tni_dims_product(a->dims, a->rank - 1);
    return d;
}

static TnStatus gemm_run(TnKernelCall *call, const TniGemmIsa *isa) {
    const TnGemmParams *g = call->params;
    GemmDims d = gemm_dims(g, call->in);
    Product p = {
        .isa = isa,
        .a = call->in[0].data,
        .b = call->in[1].data,
        .c = call->out[0].data,
        .m = d.m,
        .n = d.n,
        .k = d.k,
        .a_sm = g->trans_a ? 1 : d.k,
        .a_sk = g->trans_a ? d.m : 1,
        .b_sk = g->trans_b ? 1 : d.n,
        .b_sn = g->trans_b ? d.k : 1,
        .batch = 1,
        .b_count = 1,
        .epi = {.alpha = g->alpha, .beta = g->beta, .act = g->act, .act_alpha = g->act_alpha, .act_beta = g->act_beta},
    };
    const TnTensor *bias = call->n_in > 2 ? &call->in[2] : NULL, *res = call->n_in > 3 ? &call->in[3] : NULL;
    if (bias != NULL && bias->data != NULL) {
        const float *v = bias->data;
        bool per_column = bias->rank >= 1 && bias->dims[bias->rank - 1] == d.n,
             per_row = bias->rank >= 2 && bias->dims[bias->rank - 2] == d.m;
        int64_t numel = tn_tensor_numel(bias);
        if (numel == 1) {
            p.epi.bias0 = g->beta * v[0];
        } else if (numel == d.n && per_column) {
            p.epi.bias = v;
        } else if (numel == d.m && per_row) {
            p.epi.bias_row = v;
        } else {
            p.epi.bias = v;
            p.epi.bias_ld = d.n;
        }
    }
    if (res != NULL && res->data != NULL) {
        p.epi.residual = res->data;
        p.epi.ldr = d.n;
    }
    p.has_epi = g->alpha != 1.0f || g->act != TN_ACT_NONE || p.epi.bias != NULL || p.epi.bias_row != NULL || p.epi.bias0 != 0.0f ||
                p.epi.residual != NULL;
    return run_product(call, &p);
}

static bool is_f32(const TnTensor *t) {
    return t->dtype == TN_F32;
}

static bool same_dims(const TnTensor *a, const TnTensor *b) {
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0;
}

bool tni_gemm_supports(const TnKernelQuery *q) {
    const TnGemmParams *g = q->params;
    if (!is_f32(&q->in[0]) || !is_f32(&q->in[1]) || !is_f32(&q->out[0]) || q->in[1].rank != 2 || q->in[0].rank < 1 ||
        g->act >= TN_ACT_COUNT || (g->trans_a && q->in[0].rank != 2))
        return false;
    if (q->n_in > 2 && q->in[2].dtype != TN_UNDEFINED) {
        const TnTensor *bias = &q->in[2];
        if (!is_f32(bias))
            return false;
        /* [1, N] or [M, 1] or [M, N], without leading dims of the output: those would have to be M's */
        GemmDims d = gemm_dims(g, q->in);
        int64_t numel = tn_tensor_numel(bias), cols = bias->rank >= 1 ? bias->dims[bias->rank - 1] : 1;
        int64_t rows = bias->rank >= 2 ? bias->dims[bias->rank - 2] : 1;
        if (numel != rows * cols || (cols != 1 && cols != d.n) || (rows != 1 && (rows != d.m || q->in[0].rank != 2)))
            return false;
    }
    return q->n_in <= 3 || q->in[3].dtype == TN_UNDEFINED || (is_f32(&q->in[3]) && same_dims(&q->in[3], &q->out[0]));
}

static size_t gemm_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    const TnGemmParams *g = q->params;
    GemmDims d = gemm_dims(g, q->in);
    size_t bytes = q->in[1].data == NULL ? tni_align_up(tni_gemm_packed_floats(isa, d.k, d.n) * sizeof(float), 64) : 0;
    if (g->trans_a)
        bytes += (size_t)TN_MAX(q->threads, 1u) * TNI_GEMM_A_BUF * sizeof(float);
    return bytes;
}

static double gemm_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    const TnGemmParams *g = q->params;
    GemmDims d = gemm_dims(g, q->in);
    double cost = tni_gemm_cost(isa, (double)d.m, (double)d.n, (double)d.k);
    if (q->in[1].data == NULL)
        cost += (double)d.n * (double)d.k * (isa->nr == 8 ? 1.0 : 0.5);
    return cost;
}

static size_t gemm_packed_bytes(const TnKernelQuery *q, uint32_t i, const TniGemmIsa *isa) {
    if (i != 1 || q->in[1].data == NULL)
        return 0;
    GemmDims d = gemm_dims(q->params, q->in);
    return tni_gemm_packed_floats(isa, d.k, d.n) * sizeof(float);
}

static void gemm_pack(const TnKernelQuery *q, void *dst, const TniGemmIsa *isa) {
    const TnGemmParams *g = q->params;
    GemmDims d = gemm_dims(g, q->in);
    TniPackB s = {.b = q->in[1].data, .sk = g->trans_b ? 1 : d.n, .sn = g->trans_b ? d.k : 1, .k = d.k, .n = d.n};
    isa->pack_b(&s, 0, tni_ceil_div(d.n, isa->nr), dst);
}

/* ---- matmul ---- */

/* Dims of a batched product after numpy's rules for vectors; batch dims right-aligned and broadcast. */
static void matmul_dims(const TnTensor *a, const TnTensor *b, Product *p) {
    int32_t ra = a->rank, rb = b->rank;
    p->m = ra == 1 ? 1 : a->dims[ra - 2];
    p->k = a->dims[ra - 1];
    p->n = rb == 1 ? 1 : b->dims[rb - 1];
    int32_t na = TN_MAX(ra - 2, 0), nb = TN_MAX(rb - 2, 0);
    p->b_count = tni_dims_product(b->dims, nb);
    p->a_sk = 1;
    p->a_sm = p->k;
    p->b_sk = p->n;
    p->b_sn = 1;
    if (p->b_count == 1) { /* one B for all: the batch is more rows */
        p->m *= tni_dims_product(a->dims, na);
        p->batch = 1;
        return;
    }
    p->batch_rank = TN_MAX(na, nb);
    p->batch = 1;
    int64_t sa = 1, sb = 1;
    for (int32_t i = 0; i < p->batch_rank; i++) { /* i from the last batch dim */
        int64_t da = i < na ? a->dims[na - 1 - i] : 1, db = i < nb ? b->dims[nb - 1 - i] : 1;
        int32_t at = p->batch_rank - 1 - i;
        p->batch_dims[at] = da == 1 ? db : da;
        p->a_step[at] = da == 1 ? 0 : sa;
        p->b_step[at] = db == 1 ? 0 : sb;
        sa *= da;
        sb *= db;
        p->batch *= p->batch_dims[at];
    }
}

static TnStatus matmul_run(TnKernelCall *call, const TniGemmIsa *isa) {
    Product p = {.isa = isa, .a = call->in[0].data, .b = call->in[1].data, .c = call->out[0].data};
    matmul_dims(&call->in[0], &call->in[1], &p);
    return run_product(call, &p);
}

bool tni_matmul_supports(const TnKernelQuery *q) {
    return is_f32(&q->in[0]) && is_f32(&q->in[1]) && is_f32(&q->out[0]) && q->in[0].rank >= 1 && q->in[1].rank >= 1;
}

static Product matmul_query(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Product p = {.isa = isa};
    matmul_dims(&q->in[0], &q->in[1], &p);
    return p;
}

static size_t matmul_packed_bytes(const TnKernelQuery *q, uint32_t i, const TniGemmIsa *isa) {
    if (i != 1 || q->in[1].data == NULL)
        return 0;
    Product p = matmul_query(q, isa);
    return (size_t)p.b_count * packed_floats(&p) * sizeof(float);
}

static size_t matmul_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Product p = matmul_query(q, isa);
    return q->in[1].data != NULL ? 0 : tni_align_up((size_t)p.b_count * packed_floats(&p) * sizeof(float), 64);
}

static double matmul_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Product p = matmul_query(q, isa);
    double cost = (double)p.batch * tni_gemm_cost(isa, (double)p.m, (double)p.n, (double)p.k);
    if (q->in[1].data == NULL)
        cost += (double)p.b_count * (double)p.n * (double)p.k * (isa->nr == 8 ? 1.0 : 0.5);
    return cost;
}

static void matmul_pack(const TnKernelQuery *q, void *dst, const TniGemmIsa *isa) {
    Product p = matmul_query(q, isa);
    int64_t panels = tni_ceil_div(p.n, isa->nr);
    for (int64_t i = 0; i < p.b_count; i++) {
        TniPackB s = {.b = (const float *)q->in[1].data + i * p.k * p.n, .sk = p.b_sk, .sn = p.b_sn, .k = p.k, .n = p.n};
        isa->pack_b(&s, 0, panels, (float *)dst + (size_t)i * packed_floats(&p));
    }
}

/* The functions that kernels.inc names: one set an ISA. */
#define GEMM_ENTRIES(isa)                                                                                                                  \
    TnStatus tni_gemm_run_##isa(TnKernelCall *call) {                                                                                      \
        return gemm_run(call, &tni_gemm_isa_##isa);                                                                                        \
    }                                                                                                                                      \
    size_t tni_gemm_scratch_##isa(const TnKernelQuery *q) {                                                                                \
        return gemm_scratch(q, &tni_gemm_isa_##isa);                                                                                       \
    }                                                                                                                                      \
    double tni_gemm_cost_##isa(const TnKernelQuery *q) {                                                                                   \
        return gemm_cost(q, &tni_gemm_isa_##isa);                                                                                          \
    }                                                                                                                                      \
    size_t tni_gemm_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                               \
        return gemm_packed_bytes(q, i, &tni_gemm_isa_##isa);                                                                               \
    }                                                                                                                                      \
    void tni_gemm_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                              \
        (void)i;                                                                                                                           \
        gemm_pack(q, dst, &tni_gemm_isa_##isa);                                                                                            \
    }                                                                                                                                      \
    TnStatus tni_matmul_run_##isa(TnKernelCall *call) {                                                                                    \
        return matmul_run(call, &tni_gemm_isa_##isa);                                                                                      \
    }                                                                                                                                      \
    size_t tni_matmul_scratch_##isa(const TnKernelQuery *q) {                                                                              \
        return matmul_scratch(q, &tni_gemm_isa_##isa);                                                                                     \
    }                                                                                                                                      \
    double tni_matmul_cost_##isa(const TnKernelQuery *q) {                                                                                 \
        return matmul_cost(q, &tni_gemm_isa_##isa);                                                                                        \
    }                                                                                                                                      \
    size_t tni_matmul_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                             \
        return matmul_packed_bytes(q, i, &tni_gemm_isa_##isa);                                                                             \
    }                                                                                                                                      \
    void tni_matmul_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                            \
        (void)i;                                                                                                                           \
        matmul_pack(q, dst, &tni_gemm_isa_##isa);                                                                                          \
    }

GEMM_ENTRIES(scalar)
#if defined(__x86_64__)
GEMM_ENTRIES(avx2)
GEMM_ENTRIES(avx512)
#endif
