/* SPDX-License-Identifier: Apache-2.0
 *
 * Batched products of strided f32 matrices, exactly rounded (mma.h). */
#include "backend/cuda/gemm/ffma.cuh"
#include "backend/cuda/gemm/mma.h"

using Large = TniFfmaCfg<128, 128>;
using Small = TniFfmaCfg<64, 64>;

template <typename C, typename LA, typename LB>
__global__ void __launch_bounds__(C::THREADS, 2)
    ffma_kernel(const __grid_constant__ TniProduct p, int32_t row_tiles, int32_t tiles, int32_t quad) {
    __shared__ __align__(16) float smem[C::BYTES / 4];
    const int32_t batch = (int32_t)blockIdx.x / tiles, tile = (int32_t)blockIdx.x % tiles;
    int64_t at = 0, bt = 0;
    int32_t rest = batch;
#pragma unroll
    for (int d = 2; d >= 0; d--) {
        const int32_t i = rest % p.dims[d];
        rest /= p.dims[d];
        at += i * p.a_step[d];
        bt += i * p.b_step[d];
    }
    const LA la = LA::make((const float *)p.a + at, p.a_row, p.a_col, p.m, p.k);
    const LB lb = LB::make((const float *)p.b + bt, p.b_col, p.b_row, p.n, p.k);
    const TniOutRows o = {p.n};
    tni_ffma_tile<C>(la, lb, o, p.epi, (float *)p.y + (int64_t)batch * p.m * p.n, p.m, p.n, p.k, quad != 0, tile % row_tiles * C::BM,
                     tile / row_tiles * C::BN, smem);
}

template <typename C, typename LA, typename LB> static TnStatus launch(TnKernelCall *call, const TniProduct *p) {
    const int64_t row_tiles = tni_div_up(p->m, C::BM), tiles = row_tiles * tni_div_up(p->n, C::BN);
    const int32_t quad = p->n % 4 == 0 && tni_is_aligned(p->y, 16) && (p->epi.residual == NULL || tni_is_aligned(p->epi.residual, 16));
    if (tiles * p->batch > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_SHAPE, "%d products of %d x %d are too many", p->batch, p->m, p->n);
    ffma_kernel<C, LA, LB><<<(unsigned)(tiles * p->batch), C::THREADS, 0, call->stream->s>>>(*p, (int32_t)row_tiles, (int32_t)tiles, quad);
    return tni_cuda_launched(call, "matrix product (f32)");
}

static bool whole(const void *p, int64_t row, int64_t col, int32_t k, const int64_t *steps) {
    return col == 1 && tni_is_aligned(p, 16) && row % 4 == 0 && (k % 4 == 0 || row >= tni_div_up(k, 4) * 4) && steps[0] % 4 == 0 &&
           steps[1] % 4 == 0 && steps[2] % 4 == 0;
}

template <typename C> static TnStatus with_config(TnKernelCall *call, const TniProduct *p) {
    const bool wa = whole(p->a, p->a_row, p->a_col, p->k, p->a_step), wb = whole(p->b, p->b_col, p->b_row, p->k, p->b_step);
    if (wa && wb && p->k % 4 == 0)
        return launch<C, TniRows<float>, TniRows<float>>(call, p);
    if (wb)
        return launch<C, TniStrided<float>, TniRows<float>>(call, p);
    return launch<C, TniStrided<float>, TniStrided<float>>(call, p);
}

extern "C" TnStatus tni_product_ffma(TnKernelCall *call, const TniProduct *p) {
    const int64_t tiles = tni_div_up(p->m, Large::BM) * tni_div_up(p->n, Large::BN) * p->batch;
    return tiles >= (int64_t)call->stream->dev->info.sm_count ? with_config<Large>(call, p) : with_config<Small>(call, p);
}
