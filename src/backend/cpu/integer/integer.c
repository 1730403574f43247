/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator matmul_integer on the CPU: A is brought into the ISA's form at the start of a call, B when the plan is built (a constant) or
 * then too, and the product is cut into tasks of rows x panels, by shape alone. */
#include "backend/cpu/integer/integer.h"

#include "base/dtype.h"

#define TASK_ROWS 96
#define TASK_MACS 2.0e6 /* some tens of microseconds */

typedef struct Product {
    const TniIntegerIsa *isa;
    const TnTensor *a, *b;
    int64_t m, n, k, groups, panels;
    size_t panel_bytes, row_bytes;
    int64_t batch, a_count, b_count;
    int32_t batch_rank;
    int64_t batch_dims[TN_MAX_RANK], a_step[TN_MAX_RANK], b_step[TN_MAX_RANK]; /* in matrices; 0: broadcast */
    int32_t za;         /* as it was given */
    int32_t za_left;    /* what is left of it after A was prepared */
    const int32_t *zb;  /* [panels * nr] */
    unsigned char *left;
    int32_t *row_sums;
    unsigned char *pack_dst;
    const unsigned char *packed;
    int32_t *c;
    int64_t row_blocks, panel_blocks;
} Product;

static Product describe(const TniIntegerIsa *isa, const TnTensor *in) {
    const TnTensor *a = &in[0], *b = &in[1];
    const int32_t na = TN_MAX(a->rank - 2, 0), nb = TN_MAX(b->rank - 2, 0);
    Product p = {.isa = isa, .a = a, .b = b, .batch = 1, .a_count = 1, .b_count = 1};
    p.m = a->rank == 1 ? 1 : a->dims[a->rank - 2];
    p.k = a->dims[a->rank - 1];
    p.n = b->rank == 1 ? 1 : b->dims[b->rank - 1];
    for (int32_t i = 0; i < nb; i++)
        p.b_count *= b->dims[i];
    for (int32_t i = 0; i < na; i++)
        p.a_count *= a->dims[i];
    if (p.b_count == 1) { /* one B for all: the batch is more rows */
        p.m *= p.a_count;
        p.a_count = 1;
    } else {
        int64_t sa = 1, sb = 1;
        p.batch_rank = TN_MAX(na, nb);
        for (int32_t i = 0; i < p.batch_rank; i++) { /* from the last batch dim */
            const int64_t da = i < na ? a->dims[na - 1 - i] : 1, db = i < nb ? b->dims[nb - 1 - i] : 1;
            const int32_t at = p.batch_rank - 1 - i;
            p.batch_dims[at] = da == 1 ? db : da;
            p.a_step[at] = da == 1 ? 0 : sa;
            p.b_step[at] = db == 1 ? 0 : sb;
            sa *= da;
            sb *= db;
            p.batch *= p.batch_dims[at];
        }
    }
    p.groups = tni_integer_up(p.k, isa->group);
    p.panels = tni_integer_up(p.n, isa->nr);
    p.panel_bytes = (size_t)p.groups * (size_t)(isa->nr * isa->group) + (size_t)isa->nr * sizeof(int32_t);
    p.row_bytes = (size_t)p.groups * (size_t)(isa->group * isa->a_bytes);
    return p;
}

/* Scratch: zero points of columns, sums of rows, prepared A, and B where it is not a constant. */
typedef struct Layout {
    size_t sums, left, right, total;
} Layout;

static Layout layout(const Product *p, bool pack) {
    Layout l;
    l.sums = tni_align_up((size_t)(p->panels * p->isa->nr) * sizeof(int32_t), 64);
    l.left = l.sums + tni_align_up((size_t)(p->a_count * p->m) * sizeof(int32_t), 64);
    l.right = l.left + tni_align_up((size_t)(p->a_count * p->m) * p->row_bytes, 64);
    l.total = l.right + (pack ? (size_t)p->b_count * (size_t)p->panels * p->panel_bytes : 0);
    return l;
}

/* Panel `at` of all matrices of B. */
static void pack_panel(const Product *p, int64_t at, unsigned char *dst) {
    const int64_t nr = p->isa->nr, group = p->isa->group, mat = at / p->panels, j0 = at % p->panels * nr, cols = TN_MIN(p->n - j0, nr);
    const unsigned char *src = (const unsigned char *)p->b->data + mat * p->k * p->n + j0;
    const uint8_t flip = p->b->dtype == TN_U8 ? 0x80 : 0;
    int32_t *sums = (int32_t *)(void *)(dst + (size_t)p->groups * (size_t)(nr * group));
    uint8_t rows[TNI_INTEGER_GROUP_BYTES];
    memset(rows, flip, sizeof rows); /* b' of 0 beyond the ends */
    memset(sums, 0, (size_t)nr * sizeof *sums);
    for (int64_t g = 0; g < p->groups; g++) {
        for (int64_t k = g * group; k < (g + 1) * group; k++) {
            if (k < p->k)
                memcpy(rows + (k - g * group) * nr, src + k * p->n, (size_t)cols);
            else
                memset(rows + (k - g * group) * nr, flip, (size_t)cols);
        }
        p->isa->interleave(rows, flip, (int8_t *)dst + g * nr * group, sums);
    }
}

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Product *p = ctx;
    pack_panel(p, task, p->pack_dst + (size_t)task * p->panel_bytes);
}

#define ROWS_A_TASK 16

static void prepare_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Product *p = ctx;
    for (int64_t row = task * ROWS_A_TASK; row < TN_MIN((task + 1) * ROWS_A_TASK, p->a_count * p->m); row++) {
        const int32_t sum = p->isa->prepare((const unsigned char *)p->a->data + row * p->k, p->k, p->groups * p->isa->group,
                                            p->a->dtype == TN_I8, p->za, p->left + (size_t)row * p->row_bytes);
        p->row_sums[row] = (int32_t)((uint32_t)sum - (uint32_t)p->k * (uint32_t)p->za_left);
    }
}

static void product_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Product *p = ctx;
    const int64_t per = p->row_blocks * p->panel_blocks, b = task / per, i = task % per % p->row_blocks, j = task % per / p->row_blocks;
    const int64_t r0 = p->m * i / p->row_blocks, r1 = p->m * (i + 1) / p->row_blocks;
    const int64_t p0 = p->panels * j / p->panel_blocks, p1 = p->panels * (j + 1) / p->panel_blocks;
    int64_t ia = 0, ib = 0, rest = b;
    for (int32_t d = p->batch_rank - 1; d >= 0; d--) {
        const int64_t at = rest % p->batch_dims[d];
        rest /= p->batch_dims[d];
        ia += at * p->a_step[d];
        ib += at * p->b_step[d];
    }
    const int64_t row = ia * p->m + r0;
    for (int64_t at = p0; at < p1; at++) {
        const int64_t col = at * p->isa->nr;
        p->isa->block(&(TniIntegerBlock){
            .a = p->left + (size_t)row * p->row_bytes,
            .groups = p->groups,
            .rows = r1 - r0,
            .cols = TN_MIN(p->n - col, p->isa->nr),
            .b = (const int8_t *)p->packed + (size_t)(ib * p->panels + at) * p->panel_bytes,
            .zb = p->zb + col,
            .row_sums = p->row_sums + row,
            .za = &p->za_left,
            .c = p->c + (b * p->m + r0) * p->n + col,
            .ldc = p->n,
        });
    }
}

/* Zero points as they are after bytes were made signed (or unsigned). */
static void zero_points(const TnKernelCall *call, Product *p, int32_t *zb) {
    const bool has_a = call->n_in > 2 && call->in[2].data != NULL, has_b = call->n_in > 3 && call->in[3].data != NULL;
    p->za = has_a ? (int32_t)tni_load_i64(call->in[2].dtype, call->in[2].data, 0) : 0;
    p->za_left = p->isa->a_bytes == 2 ? 0 : p->za + (p->a->dtype == TN_I8 ? 128 : 0);
    const bool one = has_b && tn_tensor_numel(&call->in[3]) == 1;
    for (int64_t j = 0; j < p->panels * p->isa->nr; j++) {
        const int32_t z = has_b && j < p->n ? (int32_t)tni_load_i64(call->in[3].dtype, call->in[3].data, one ? 0 : j) : 0;
        zb[j] = z - (p->b->dtype == TN_U8 ? 128 : 0);
    }
    p->zb = zb;
}

static TnStatus run(TnKernelCall *call, const TniIntegerIsa *isa) {
    Product p = describe(isa, call->in);
    if (p.batch * p.m * p.n == 0)
        return TN_OK;
    p.packed = call->packed != NULL ? call->packed[1] : NULL;
    p.c = call->out[0].data;
    const Layout l = layout(&p, p.packed == NULL);
    if (l.total > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "matmul_integer: %zu bytes of scratch needed, %zu given", l.total, call->scratch_bytes);
    unsigned char *s = call->scratch;
    p.row_sums = (int32_t *)(void *)(s + l.sums);
    p.left = s + l.left;
    zero_points(call, &p, (int32_t *)(void *)s);
    if (p.packed == NULL) {
        p.pack_dst = s + l.right;
        tni_parallel_for(call->threads, p.b_count * p.panels, pack_task, &p);
        p.packed = p.pack_dst;
    }
    tni_parallel_for(call->threads, tni_integer_up(p.a_count * p.m, ROWS_A_TASK), prepare_task, &p);
    p.row_blocks = tni_integer_up(p.m, TASK_ROWS);
    const double macs = (double)tni_integer_up(p.m, p.row_blocks) * (double)isa->nr * (double)TN_MAX(p.k, 1); /* of a panel */
    p.panel_blocks = TN_MAX((int64_t)((double)p.panels / TN_MAX(TASK_MACS / macs, 1.0)), 1);
    tni_parallel_for(call->threads, p.batch * p.row_blocks * p.panel_blocks, product_task, &p);
    return TN_OK;
}

static bool byte(const TnTensor *t) {
    return t->dtype == TN_U8 || t->dtype == TN_I8;
}

/* A constant of no elements has no data in a plan: nothing is packed of it. */
static bool is_constant(const TnTensor *t) {
    return t->data != NULL && tn_tensor_numel(t) > 0;
}

bool tni_integer_supports(const TnKernelQuery *q) {
    return byte(&q->in[0]) && byte(&q->in[1]) && q->out[0].dtype == TN_I32 && q->in[0].rank >= 1 && q->in[1].rank >= 1;
}

static size_t scratch(const TnKernelQuery *q, const TniIntegerIsa *isa) {
    const Product p = describe(isa, q->in);
    return layout(&p, !is_constant(&q->in[1])).total;
}

static double cost(const TnKernelQuery *q, const TniIntegerIsa *isa) {
    const Product p = describe(isa, q->in);
    const double k = (double)p.k, out = (double)p.batch * (double)p.m * (double)p.n, b = (double)p.b_count * (double)p.n * k;
    const double copies = (double)p.a_count * (double)p.m * k * 0.1 + (q->in[1].data == NULL ? b : b / 20.0);
    return 500.0 + out * k / isa->macs_per_ns + out * 0.2 + copies;
}

static size_t packed_bytes(const TnKernelQuery *q, uint32_t i, const TniIntegerIsa *isa) {
    if (i != 1 || !is_constant(&q->in[1]))
        return 0;
    const Product p = describe(isa, q->in);
    return (size_t)p.b_count * (size_t)p.panels * p.panel_bytes;
}

static void pack(const TnKernelQuery *q, unsigned char *dst, const TniIntegerIsa *isa) {
    const Product p = describe(isa, q->in);
    for (int64_t i = 0; i < p.b_count * p.panels; i++)
        pack_panel(&p, i, dst + (size_t)i * p.panel_bytes);
}

#define INTEGER_ENTRIES(isa)                                                                                                               \
    TnStatus tni_integer_run_##isa(TnKernelCall *call) {                                                                                   \
        return run(call, &tni_integer_isa_##isa);                                                                                          \
    }                                                                                                                                      \
    size_t tni_integer_scratch_##isa(const TnKernelQuery *q) {                                                                             \
        return scratch(q, &tni_integer_isa_##isa);                                                                                         \
    }                                                                                                                                      \
    double tni_integer_cost_##isa(const TnKernelQuery *q) {                                                                                \
        return cost(q, &tni_integer_isa_##isa);                                                                                            \
    }                                                                                                                                      \
    size_t tni_integer_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                            \
        return packed_bytes(q, i, &tni_integer_isa_##isa);                                                                                 \
    }                                                                                                                                      \
    void tni_integer_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                           \
        (void)i;                                                                                                                           \
        pack(q, dst, &tni_integer_isa_##isa);                                                                                              \
    }

INTEGER_ENTRIES(scalar)
#if defined(__x86_64__)
INTEGER_ENTRIES(avx2)
INTEGER_ENTRIES(avx512)
INTEGER_ENTRIES(vnni)
#endif
