/* SPDX-License-Identifier: Apache-2.0
 *
 * An epilogue over a product that lies in memory already (post.h). A thread takes V neighbouring elements of a row. */
#include "backend/cuda/gemm/mma.cuh"
#include "backend/cuda/gemm/post.h"

template <typename T, int V> __global__ void __launch_bounds__(256) post_kernel(T *y, int32_t m, int32_t n, const __grid_constant__ TniEpi e) {
    const int32_t per_row = n / V;
    const int64_t total = (int64_t)m * per_row;
    for (int64_t i = tni_thread(); i < total; i += tni_threads()) {
        const int32_t r = (int32_t)(i / per_row), c = (int32_t)(i - (int64_t)r * per_row) * V;
        const int64_t at = (int64_t)r * n + c;
        float v[V], x[V];
        tni_load<V>(v, y + at);
        if (e.residual != NULL)
            tni_load<V>(x, (const T *)e.residual + at);
#pragma unroll
        for (int j = 0; j < V; j++)
            v[j] = fmaf(v[j], e.alpha, tni_bias_at<T>(e, r, c + j, n));
        tni_act_apply<sizeof(T) == 4>(e.act, v);
        if (e.residual != NULL) {
#pragma unroll
            for (int j = 0; j < V; j++)
                v[j] += x[j];
        }
        tni_store<V>(y + at, v);
    }
}

template <typename T> static void launch(TnKernelCall *call, void *y, int64_t m, int64_t n, const TniEpi *epi) {
    constexpr int V = 16 / (int)sizeof(T);
    const bool wide = n % V == 0 && tni_is_aligned(y, 16) && (epi->residual == NULL || tni_is_aligned(epi->residual, 16));
    const unsigned blocks = tni_grid(call, m * (wide ? n / V : n), 256, 16);
    if (wide)
        post_kernel<T, V><<<blocks, 256, 0, call->stream->s>>>((T *)y, (int32_t)m, (int32_t)n, *epi);
    else
        post_kernel<T, 1><<<blocks, 256, 0, call->stream->s>>>((T *)y, (int32_t)m, (int32_t)n, *epi);
}

extern "C" TnStatus tni_gemm_post(TnKernelCall *call, TnDtype type, void *y, int64_t m, int64_t n, const TniEpi *epi) {
    TNI_FLOAT_SWITCH(type, T, launch<T>(call, y, m, n, epi));
    return tni_cuda_launched(call, "epilogue of a matrix product");
}
