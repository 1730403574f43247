/* SPDX-License-Identifier: Apache-2.0
 *
 * Rows of gemm that take any shape and alignment: mma.sync for f16, bf16 and tf32, FFMA for f32. */
#include "backend/cuda/gemm/gemm.h"

#include "backend/cuda/gemm/mma.h"

static TnStatus run(TnKernelCall *call, bool tf32) {
    TniGemmShape s;
    TniProduct p;
    if (!tni_gemm_shape(call->params, call->in, call->n_in, &call->out[0], &s))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "gemm: operands that the kernel does not take");
    if (s.m * s.n == 0)
        return TN_OK;
    tni_gemm_product(call, &s, &p);
    return tni_product_mma(call, s.type, tf32, &p);
}

TnStatus tni_cuda_gemm_run_mma(TnKernelCall *call) { return run(call, true); }
TnStatus tni_cuda_gemm_run_ffma(TnKernelCall *call) { return run(call, false); }

static bool supports(const TnKernelQuery *q, TnDtype type) {
    TniGemmShape s;
    return tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s) && s.type == type;
}
bool tni_cuda_gemm_any_f16(const TnKernelQuery *q) { return supports(q, TN_F16); }
bool tni_cuda_gemm_any_bf16(const TnKernelQuery *q) { return supports(q, TN_BF16); }
bool tni_cuda_gemm_any_f32(const TnKernelQuery *q) { return supports(q, TN_F32); }

/* share: of the ceiling, that a full GPU reaches. */
static double cost(const TnKernelQuery *q, double flops_per_second, double share) {
    TniGemmShape s;
    if (q->device == NULL || !tni_gemm_shape(q->params, q->in, q->n_in, q->out, &s))
        return 1e30;
    const double sms = (double)q->device->sm_count, size = (double)tni_size_of(s.type);
    int64_t tile = tni_div_up(s.m, 128) * tni_div_up(s.n, 128) >= (int64_t)q->device->sm_count ? 128 : 64;
    double tiles = (double)(tni_div_up(s.m, tile) * tni_div_up(s.n, tile)), each = (double)(int64_t)((tiles + sms - 1) / sms);
    double ns = each * 2.0 * (double)(tile * tile) * (double)s.k / (flops_per_second * 1e-9 * share / sms);
    double bytes = size * ((double)s.m * (double)s.k + (double)s.n * (double)s.k + (double)s.m * (double)s.n * (s.has_residual ? 2.0 : 1.0));
    double slow = s.trans_a || (q->in[1].data == NULL && !s.trans_b) ? 2.0 : 1.0; /* element by element */
    return 3000.0 + TN_MAX(TN_MAX(ns * slow, 500.0 + (double)s.k * size * 0.8), bytes / (q->device->bytes_per_second * 1e-9));
}

double tni_cuda_gemm_cost_mma(const TnKernelQuery *q) {
    if (q->device == NULL)
        return 1e30;
    return q->in[0].dtype == TN_F32 ? cost(q, q->device->tf32_flops, 0.35) : cost(q, q->device->half_flops, 0.35);
}
double tni_cuda_gemm_cost_ffma(const TnKernelQuery *q) { return q->device == NULL ? 1e30 : cost(q, q->device->float_flops, 0.7); }
