/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul (numpy rules), matmul_integer, gemm with its epilogue, mlp. Floats through the product core; integers exactly, wrapping. */
#include <math.h>

#include "backend/ref/ref.h"

/* Element strides of the two operands; batches through their own offsets. */
typedef struct Operands {
    const TnKernelCall *call;
    int64_t m, n, k, batch;
    int64_t a_row, a_col, b_row, b_col;
    int32_t n_batch;
    int64_t dims[TN_MAX_RANK], a_batch[TN_MAX_RANK], b_batch[TN_MAX_RANK];
    RefView bias;
    bool has_bias, has_residual;
    int64_t a_zero;         /* matmul_integer: zero points */
    const TnTensor *b_zero; /* one, or one for each column; NULL: 0 */
} Operands;

static int64_t batch_offset(const Operands *o, const int64_t *strides, int64_t batch) {
    int64_t at = 0;
    for (int32_t d = o->n_batch - 1; d >= 0; d--) {
        at += batch % o->dims[d] * strides[d];
        batch /= o->dims[d];
    }
    return at;
}

static void load_a(const void *ctx, int64_t batch, int64_t i, int64_t k0, int64_t nk, double *dst) {
    const Operands *o = ctx;
    const TnTensor *a = &o->call->in[0];
    tni_ref_load_f64(a->dtype, a->data, batch_offset(o, o->a_batch, batch) + i * o->a_row + k0 * o->a_col, o->a_col, nk, dst);
}

static void load_b(const void *ctx, int64_t batch, int64_t k, int64_t j0, int64_t nj, double *dst) {
    const Operands *o = ctx;
    const TnTensor *b = &o->call->in[1];
    tni_ref_load_f64(b->dtype, b->data, batch_offset(o, o->b_batch, batch) + k * o->b_row + j0 * o->b_col, o->b_col, nj, dst);
}

static void store(const void *ctx, int64_t batch, int64_t i, int64_t j0, int64_t nj, double *v) {
    const Operands *o = ctx;
    const TnTensor *y = &o->call->out[0];
    tni_ref_store_f64(y->dtype, y->data, (batch * o->m + i) * o->n + j0, 1, nj, v);
}

/* Rows of an integer product; `task` is one row of one matrix. */
static void integer_rows(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    (void)worker;
    const Operands *o = ctx;
    const TnTensor *a = &o->call->in[0], *b = &o->call->in[1], *y = &o->call->out[0];
    for (int64_t row = first; row < last; row++) {
        int64_t batch = row / o->m, i = row % o->m;
        int64_t pa = batch_offset(o, o->a_batch, batch) + i * o->a_row, pb = batch_offset(o, o->b_batch, batch);
        for (int64_t j0 = 0; j0 < o->n; j0 += REF_BLOCK) {
            int64_t n = TN_MIN(o->n - j0, REF_BLOCK), v[REF_BLOCK], acc[REF_BLOCK] = {0};
            for (int64_t k = 0; k < o->k; k++) {
                uint64_t x = (uint64_t)(tni_load_i64(a->dtype, a->data, pa + k * o->a_col) - o->a_zero);
                tni_ref_load_i64(b->dtype, b->data, pb + k * o->b_row + j0 * o->b_col, o->b_col, n, v);
                for (int64_t j = 0; o->b_zero != NULL && j < n; j++)
                    v[j] -= tni_load_i64(o->b_zero->dtype, o->b_zero->data, tn_tensor_numel(o->b_zero) == 1 ? 0 : j0 + j);
                for (int64_t j = 0; j < n; j++)
                    acc[j] = (int64_t)((uint64_t)acc[j] + x * (uint64_t)v[j]);
            }
            tni_ref_store_i64(y->dtype, y->data, row * o->n + j0, 1, n, acc);
        }
    }
}

static bool matmul_setup(const TnKernelCall *call, Operands *o) {
    const TnTensor *a = &call->in[0], *b = &call->in[1];
    int32_t ra = a->rank, rb = b->rank;
    if (ra < 1 || rb < 1)
        return false;
    *o = (Operands){.call = call, .batch = 1};
    o->m = ra == 1 ? 1 : a->dims[ra - 2];
    o->k = a->dims[ra - 1];
    o->n = rb == 1 ? 1 : b->dims[rb - 1];
    if (o->k != (rb == 1 ? b->dims[0] : b->dims[rb - 2]))
        return false;
    o->a_row = o->k;
    o->a_col = 1;
    o->b_row = o->n;
    o->b_col = 1;
    o->n_batch = TN_MAX(TN_MAX(ra, rb) - 2, 0);
    int64_t sa = o->m * o->k, sb = o->k * o->n;
    for (int32_t d = o->n_batch - 1, back = 3; d >= 0; d--, back++) {
        int64_t da = ra >= back ? a->dims[ra - back] : 1, db = rb >= back ? b->dims[rb - back] : 1;
        if (da != db && da != 1 && db != 1)
            return false;
        o->dims[d] = da == 1 ? db : da;
        o->a_batch[d] = da == 1 ? 0 : sa;
        o->b_batch[d] = db == 1 ? 0 : sb;
        sa *= da;
        sb *= db;
        o->batch *= o->dims[d];
    }
    return true;
}

TnStatus tni_ref_matmul(TnKernelCall *call) {
    Operands o;
    if (!matmul_setup(call, &o) || tn_tensor_numel(&call->out[0]) != o.batch * o.m * o.n)
        return tni_ref_bad_call(call, "matmul", "operands whose shapes do not fit");
    if (tni_ref_exact(call->in[0].dtype)) {
        if (o.n > 0)
            tni_ref_ranges(call->threads, o.batch * o.m, 4, integer_rows, &o);
        return TN_OK;
    }
    TN_TRY(tni_ref_need_scratch(call, "matmul", REF_TILE_BYTES * tni_threads_count(call->threads)));
    RefProduct p = {o.batch, o.m, o.n, o.k, &o, load_a, load_b, store};
    tni_ref_product(&p, call->threads, call->scratch);
    return TN_OK;
}

/* Sums of (a - za) * (b - zb), exactly, wrapping to int32. */
TnStatus tni_ref_matmul_integer(TnKernelCall *call) {
    Operands o;
    if (!matmul_setup(call, &o) || tn_tensor_numel(&call->out[0]) != o.batch * o.m * o.n)
        return tni_ref_bad_call(call, "matmul_integer", "operands whose shapes do not fit");
    if (call->n_in > 2 && call->in[2].data != NULL)
        o.a_zero = tni_load_i64(call->in[2].dtype, call->in[2].data, 0);
    if (call->n_in > 3 && call->in[3].data != NULL)
        o.b_zero = &call->in[3];
    if (o.n > 0)
        tni_ref_ranges(call->threads, o.batch * o.m, 4, integer_rows, &o);
    return TN_OK;
}

/* y = act(alpha * sum + beta * bias) + residual. */
static void store_gemm(const void *ctx, int64_t batch, int64_t i, int64_t j0, int64_t nj, double *v) {
    (void)batch;
    const Operands *o = ctx;
    const TnGemmParams *p = o->call->params;
    const TnTensor *y = &o->call->out[0];
    const int64_t first = i * o->n + j0;
    double t[REF_TILE_N];
    for (int64_t j = 0; j < nj; j++)
        v[j] *= (double)p->alpha;
    if (o->has_bias) {
        tni_ref_view_f64(&o->bias, first, nj, t);
        for (int64_t j = 0; j < nj; j++)
            v[j] += (double)p->beta * t[j];
    }
    tni_ref_act(p->act, (double)p->act_alpha, (double)p->act_beta, nj, v);
    if (o->has_residual) {
        tni_ref_load_f64(o->call->in[3].dtype, o->call->in[3].data, first, 1, nj, t);
        for (int64_t j = 0; j < nj; j++)
            v[j] += t[j];
    }
    tni_ref_store_f64(y->dtype, y->data, first, 1, nj, v);
}

/* Integer gemm with alpha and beta of 1: add the bias to the exact product. */
static void add_integer_bias(const Operands *o) {
    const TnTensor *y = &o->call->out[0];
    int64_t total = o->m * o->n, v[REF_BLOCK], t[REF_BLOCK];
    for (int64_t i = 0; i < total && o->has_bias; i += REF_BLOCK) {
        int64_t n = TN_MIN(total - i, REF_BLOCK);
        tni_ref_load_i64(y->dtype, y->data, i, 1, n, v);
        tni_ref_view_i64(&o->bias, i, n, t);
        for (int64_t k = 0; k < n; k++)
            v[k] = (int64_t)((uint64_t)v[k] + (uint64_t)t[k]);
        tni_ref_store_i64(y->dtype, y->data, i, 1, n, v);
    }
}

TnStatus tni_ref_gemm(TnKernelCall *call) {
    const TnGemmParams *p = call->params;
    const TnTensor *a = &call->in[0], *b = &call->in[1];
    if (a->rank < 1 || b->rank != 2 || (p->trans_a != 0 && a->rank != 2))
        return tni_ref_bad_call(call, "gemm", "operands of a rank that it does not take");
    Operands o = {.call = call, .batch = 1, .has_bias = tni_ref_has(call, 2), .has_residual = tni_ref_has(call, 3)};
    o.k = p->trans_a != 0 ? a->dims[0] : a->dims[a->rank - 1];
    o.m = p->trans_a != 0 ? a->dims[1] : tni_ref_product_of(a->dims, 0, a->rank - 1);
    o.n = b->dims[p->trans_b != 0 ? 0 : 1];
    o.a_row = p->trans_a != 0 ? 1 : o.k;
    o.a_col = p->trans_a != 0 ? o.m : 1;
    o.b_row = p->trans_b != 0 ? 1 : o.n;
    o.b_col = p->trans_b != 0 ? o.k : 1;
    int64_t dims[2] = {o.m, o.n};
    if (o.k != b->dims[p->trans_b != 0 ? 1 : 0] || tn_tensor_numel(&call->out[0]) != o.m * o.n ||
        (o.has_bias && !tni_ref_view(&call->in[2], 2, dims, &o.bias)) || (o.has_residual && tn_tensor_numel(&call->in[3]) != o.m * o.n))
        return tni_ref_bad_call(call, "gemm", "operands whose shapes do not fit");
    if (tni_ref_exact(a->dtype) && p->alpha == 1.0f && p->beta == 1.0f && p->act == TN_ACT_NONE && !o.has_residual) {
        if (o.n > 0)
            tni_ref_ranges(call->threads, o.m, 4, integer_rows, &o);
        add_integer_bias(&o);
        return TN_OK;
    }
    TN_TRY(tni_ref_need_scratch(call, "gemm", REF_TILE_BYTES * tni_threads_count(call->threads)));
    RefProduct prod = {1, o.m, o.n, o.k, &o, load_a, load_b, store_gemm};
    tni_ref_product(&prod, call->threads, call->scratch);
    return TN_OK;
}

/* ---- mlp: gemm after gemm; the hidden values, in the operands' type, stand in scratch memory behind gemm's tiles ---- */

static size_t hidden_bytes(const TnMlpParams *p, const TnTensor *in) {
    if (in[0].rank < 1 || in[1].rank != 2)
        return 0;
    const int64_t hidden = in[1].dims[p->trans_1 != 0 ? 0 : 1];
    return tni_align_up((size_t)(tni_ref_product_of(in[0].dims, 0, in[0].rank - 1) * hidden) * (tn_dtype_bits(in[0].dtype) / 8), 64);
}

size_t tni_ref_mlp_scratch(const TnKernelQuery *q) {
    return hidden_bytes(q->params, q->in) + REF_TILE_BYTES * q->threads;
}

TnStatus tni_ref_mlp(TnKernelCall *call) {
    const TnMlpParams *p = call->params;
    const TnTensor *in = call->in, none = {.dtype = TN_UNDEFINED};
    if (in[0].rank < 1 || in[1].rank != 2 || in[2].rank != 2)
        return tni_ref_bad_call(call, "mlp", "operands of a rank that it does not take");
    const size_t bytes = hidden_bytes(p, in), tiles = REF_TILE_BYTES * tni_threads_count(call->threads);
    TN_TRY(tni_ref_need_scratch(call, "mlp", bytes + tiles));
    TnTensor hidden = in[0];
    hidden.dims[hidden.rank - 1] = in[1].dims[p->trans_1 != 0 ? 0 : 1];
    hidden.data = call->scratch;
    const TnGemmParams first = {.trans_b = p->trans_1,
                                .alpha = 1.0f,
                                .beta = 1.0f,
                                .act = p->act,
                                .act_alpha = p->act_alpha,
                                .act_beta = p->act_beta},
                       second = {.trans_b = p->trans_2, .alpha = 1.0f, .beta = 1.0f};
    const TnTensor in_1[3] = {in[0], in[1], tni_ref_has(call, 3) ? in[3] : none};
    const TnTensor in_2[4] = {hidden, in[2], tni_ref_has(call, 4) ? in[4] : none, tni_ref_has(call, 5) ? in[5] : none};
    TnKernelCall one = *call;
    one.scratch = (char *)call->scratch + bytes;
    one.scratch_bytes = tiles;
    one.packed = NULL;
    one.params = &first;
    one.in = in_1;
    one.n_in = 3;
    one.out = &hidden;
    TN_TRY(tni_ref_gemm(&one));
    one.params = &second;
    one.in = in_2;
    one.n_in = 4;
    one.out = call->out;
    return tni_ref_gemm(&one);
}
