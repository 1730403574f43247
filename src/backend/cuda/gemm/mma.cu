/* SPDX-License-Identifier: Apache-2.0
 *
 * Batched products of strided matrices through mma.sync (mma.h). */
#include "backend/cuda/gemm/mma.cuh"
#include "backend/cuda/gemm/mma.h"

using Large = TniMmaCfg<128, 128, 2, 4, 4>;
using Small = TniMmaCfg<64, 64, 2, 2, 4>;

template <typename T, typename C, typename LA, typename LB>
__global__ void __launch_bounds__(C::THREADS)
    product_kernel(const __grid_constant__ TniProduct p, int32_t row_tiles, int32_t tiles, int32_t pair) {
    extern __shared__ __align__(128) uint8_t smem[];
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
    const LA la = LA::make((const T *)p.a + at, p.a_row, p.a_col, p.m, p.k);
    const LB lb = LB::make((const T *)p.b + bt, p.b_col, p.b_row, p.n, p.k);
    const TniOutRows o = {p.n};
    const int32_t row = tile % row_tiles, col = tile / row_tiles;
    tni_mma_tile<T, C>(la, lb, o, p.epi, (T *)p.y + (int64_t)batch * p.m * p.n, p.m, p.n, p.k, pair != 0, row * C::BM, col * C::BN, smem);
}

template <typename T, typename C, typename LA, typename LB> static TnStatus launch(TnKernelCall *call, const TniProduct *p) {
    const int64_t row_tiles = tni_div_up(p->m, C::BM), tiles = row_tiles * tni_div_up(p->n, C::BN);
    const void *fn = (const void *)product_kernel<T, C, LA, LB>;
    const size_t two = 2 * sizeof(T);
    const int32_t pair = p->n % 2 == 0 && tni_is_aligned(p->y, two) && (p->epi.residual == NULL || tni_is_aligned(p->epi.residual, two));
    if (tiles * p->batch > INT32_MAX)
        return TN_RAISE(call->err, TN_ERR_SHAPE, "%d products of %d x %d are too many", p->batch, p->m, p->n);
    TN_TRY(tni_cuda_shared(call, fn, C::BYTES));
    product_kernel<T, C, LA, LB>
        <<<(unsigned)(tiles * p->batch), C::THREADS, C::BYTES, call->stream->s>>>(*p, (int32_t)row_tiles, (int32_t)tiles, pair);
    return tni_cuda_launched(call, "matrix product (mma)");
}

/* Rows of 16-byte pieces that lie along K, in every matrix of the batch. */
template <typename T> static bool whole(const void *p, int64_t row, int64_t col, int32_t k, const int64_t *steps) {
    const int64_t piece = 16 / (int64_t)sizeof(T);
    return col == 1 && tni_is_aligned(p, 16) && row % piece == 0 && (k % piece == 0 || row >= tni_div_up(k, piece) * piece) &&
           steps[0] % piece == 0 && steps[1] % piece == 0 && steps[2] % piece == 0;
}

template <typename T, typename C> static TnStatus with_config(TnKernelCall *call, const TniProduct *p) {
    const bool wa = whole<T>(p->a, p->a_row, p->a_col, p->k, p->a_step), wb = whole<T>(p->b, p->b_col, p->b_row, p->k, p->b_step);
    /* a row longer than K holds zeros (packed B); a K that ends inside a piece needs them on one side only */
    if (wa && wb && p->k % (16 / (int32_t)sizeof(T)) == 0)
        return launch<T, C, TniRows<T>, TniRows<T>>(call, p);
    if (wb)
        return launch<T, C, TniStrided<T>, TniRows<T>>(call, p);
    return launch<T, C, TniStrided<T>, TniStrided<T>>(call, p);
}

template <typename T> static TnStatus with_type(TnKernelCall *call, const TniProduct *p) {
    const int64_t tiles = tni_div_up(p->m, Large::BM) * tni_div_up(p->n, Large::BN) * p->batch;
    return tiles >= (int64_t)call->stream->dev->info.sm_count ? with_config<T, Large>(call, p) : with_config<T, Small>(call, p);
}

extern "C" TnStatus tni_product_mma(TnKernelCall *call, TnDtype type, bool tf32, const TniProduct *p) {
    if (type == TN_F32)
        return tf32 ? with_type<float>(call, p) : tni_product_ffma(call, p);
    return type == TN_F16 ? with_type<__half>(call, p) : with_type<__nv_bfloat16>(call, p);
}

extern "C" void tni_gemm_product(const TnKernelCall *call, const TniGemmShape *s, TniProduct *p) {
    const TniGemmB b = tni_gemm_b(call, s);
    TniProduct v = {};
    v.a = call->in[0].data;
    v.b = b.data;
    v.y = call->out[0].data;
    v.m = (int32_t)s->m;
    v.n = (int32_t)s->n;
    v.k = (int32_t)s->k;
    v.a_row = s->trans_a ? 1 : s->k;
    v.a_col = s->trans_a ? s->m : 1;
    v.b_row = b.k_major ? 1 : b.ld;
    v.b_col = b.k_major ? b.ld : 1;
    v.batch = v.dims[0] = v.dims[1] = v.dims[2] = 1;
    tni_gemm_epilogue(call, s, &v.epi);
    *p = v;
}

extern "C" TnStatus tni_gemm_mma_run(TnKernelCall *call, const TniGemmShape *s) {
    TniProduct p;
    tni_gemm_product(call, s, &p);
    return tni_product_mma(call, s->type, true, &p);
}
