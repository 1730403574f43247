/* SPDX-License-Identifier: Apache-2.0
 *
 * Operator matmul: batches with numpy's broadcasting (matmul.h), and its rows of any shape and alignment. */
#include "backend/cuda/gemm/matmul.h"

#include "backend/cuda/gemm/gemm.h"

/* Appends a batch dim, merging it with the one before where both operands step through the two as through one. */
static bool push(TniProduct *p, int32_t *n, int64_t dim, int64_t a_step, int64_t b_step) {
    if (dim == 1)
        return true;
    if (*n > 0 && p->a_step[*n - 1] == a_step * dim && p->b_step[*n - 1] == b_step * dim) {
        if (p->dims[*n - 1] * dim > INT32_MAX)
            return false;
        p->dims[*n - 1] *= (int32_t)dim;
        p->a_step[*n - 1] = a_step;
        p->b_step[*n - 1] = b_step;
        return true;
    }
    if (*n == 3)
        return false;
    p->dims[*n] = (int32_t)dim;
    p->a_step[*n] = a_step;
    p->b_step[*n] = b_step;
    ++*n;
    return true;
}

/* The dims stand at the end of the three. */
static void right_align(TniProduct *p, int32_t n) {
    for (int32_t i = 2; i >= 0; i--) {
        int32_t from = i - (3 - n);
        p->dims[i] = from >= 0 ? p->dims[from] : 1;
        p->a_step[i] = from >= 0 ? p->a_step[from] : 0;
        p->b_step[i] = from >= 0 ? p->b_step[from] : 0;
    }
}

bool tni_matmul_product(const TnTensor *a, const TnTensor *b, TniProduct *p) {
    const int32_t ra = a->rank, rb = b->rank, na = TN_MAX(ra - 2, 0), nb = TN_MAX(rb - 2, 0);
    if (ra < 1 || rb < 1)
        return false;
    int64_t m = ra == 1 ? 1 : a->dims[ra - 2], k = a->dims[ra - 1], n = rb == 1 ? 1 : b->dims[rb - 1];
    if (k != (rb == 1 ? b->dims[0] : b->dims[rb - 2]) || n > INT32_MAX - 512 || k > INT32_MAX - 512)
        return false;
    *p = (TniProduct){.a_row = k, .a_col = 1, .b_row = n, .b_col = 1, .epi = {.alpha = 1.0f, .beta = 1.0f}};
    int64_t batch = 1;
    int32_t count = 0;
    if (tni_numel_range(b, 0, nb) == 1) { /* one B: more rows */
        m *= tni_numel_range(a, 0, na);
    } else {
        int64_t step_a[TN_MAX_RANK], step_b[TN_MAX_RANK], dim[TN_MAX_RANK], sa = m * k, sb = k * n;
        const int32_t rank = TN_MAX(na, nb);
        for (int32_t i = 0; i < rank; i++) { /* from the last */
            int64_t da = i < na ? a->dims[na - 1 - i] : 1, db = i < nb ? b->dims[nb - 1 - i] : 1;
            if (da != db && da != 1 && db != 1)
                return false;
            dim[i] = da == 1 ? db : da;
            step_a[i] = da == 1 ? 0 : sa;
            step_b[i] = db == 1 ? 0 : sb;
            sa *= da;
            sb *= db;
            batch *= dim[i];
        }
        if (batch > INT32_MAX)
            return false;
        for (int32_t i = rank - 1; i >= 0; i--)
            if (!push(p, &count, dim[i], step_a[i], step_b[i]))
                return false;
    }
    if (m > INT32_MAX - 512)
        return false;
    right_align(p, count);
    p->batch = (int32_t)batch;
    p->m = (int32_t)m;
    p->n = (int32_t)n;
    p->k = (int32_t)k;
    return true;
}

static TnStatus run(TnKernelCall *call, bool tf32) {
    TniProduct p;
    if (!tni_matmul_product(&call->in[0], &call->in[1], &p))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "matmul: operands that the kernel does not take");
    if ((int64_t)p.m * p.n * p.batch == 0)
        return TN_OK;
    p.a = call->in[0].data;
    p.b = call->in[1].data;
    p.y = call->out[0].data;
    return tni_product_mma(call, call->in[0].dtype, tf32, &p);
}

TnStatus tni_cuda_matmul_run_mma(TnKernelCall *call) { return run(call, true); }
TnStatus tni_cuda_matmul_run_ffma(TnKernelCall *call) { return run(call, false); }

static bool supports(const TnKernelQuery *q, TnDtype type) {
    TniProduct p;
    return q->in[0].dtype == type && q->in[1].dtype == type && q->out[0].dtype == type && tni_matmul_product(&q->in[0], &q->in[1], &p);
}
bool tni_cuda_matmul_f16(const TnKernelQuery *q) { return supports(q, TN_F16); }
bool tni_cuda_matmul_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16); }
bool tni_cuda_matmul_f32(const TnKernelQuery *q) { return supports(q, TN_F32); }

static double cost(const TnKernelQuery *q, double flops_per_second, double share) {
    TniProduct p;
    if (q->device == NULL || !tni_matmul_product(&q->in[0], &q->in[1], &p))
        return 1e30;
    const double sms = (double)q->device->sm_count;
    int64_t tile = tni_div_up(p.m, 128) * tni_div_up(p.n, 128) * p.batch >= (int64_t)q->device->sm_count ? 128 : 64;
    double tiles = (double)(tni_div_up(p.m, tile) * tni_div_up(p.n, tile) * p.batch), each = (double)(int64_t)((tiles + sms - 1) / sms);
    double ns = each * 2.0 * (double)(tile * tile) * (double)p.k / (flops_per_second * 1e-9 * share / sms);
    return 3000.0 + TN_MAX(ns * 2.0, tni_cuda_bytes(q) / (q->device->bytes_per_second * 1e-9)); /* B element by element */
}
double tni_cuda_matmul_cost_mma(const TnKernelQuery *q) {
    if (q->device == NULL)
        return 1e30;
    return q->in[0].dtype == TN_F32 ? cost(q, q->device->tf32_flops, 0.35) : cost(q, q->device->half_flops, 0.35);
}
double tni_cuda_matmul_cost_ffma(const TnKernelQuery *q) { return q->device == NULL ? 1e30 : cost(q, q->device->float_flops, 0.7); }
