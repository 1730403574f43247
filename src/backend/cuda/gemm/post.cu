/* SPDX-License-Identifier: Apache-2.0
 *
 * An epilogue over a product that lies in memory already (post.h). A thread takes V neighbouring elements of a row: 16 bytes. The kind of
 * the activation is known where the kernel is compiled and, without a bias, nothing is divided, so that memory is what it waits for. */
#include "backend/cuda/gemm/mma.cuh"
#include "backend/cuda/gemm/post.h"

template <typename T, int V, int KIND>
__global__ void __launch_bounds__(256) post_kernel(T *y, int64_t total, int32_t n, const __grid_constant__ TniEpi e) {
    tni_let_next();
    tni_after();
    for (int64_t i = tni_thread(); i < total; i += tni_threads()) {
        const int64_t at = i * V;
        float v[V], x[V];
        tni_load<V>(v, y + at);
        if (e.residual != NULL)
            tni_load<V>(x, (const T *)e.residual + at);
        if (e.bias_mode == TNI_BIAS_NONE) {
#pragma unroll
            for (int j = 0; j < V; j++)
                v[j] *= e.alpha;
        } else { /* seldom: only then the position within the matrix matters */
            const int32_t r = (int32_t)(at / n), c = (int32_t)(at - (int64_t)r * n);
#pragma unroll
            for (int j = 0; j < V; j++)
                v[j] = fmaf(v[j], e.alpha, tni_bias_at<T>(e, r, c + j, n));
        }
        tni_act_kind<T, KIND>(e.act, v);
        if (e.residual != NULL) {
#pragma unroll
            for (int j = 0; j < V; j++)
                v[j] += x[j];
        }
        if constexpr (sizeof(T) == 2 && V == 8) {
            uint32_t u[1][4];
            tni_narrow_all<T>(u, v);
            tni_store16(y + at, make_uint4(u[0][0], u[0][1], u[0][2], u[0][3]));
        } else {
            tni_store<V>(y + at, v);
        }
    }
}

template <typename T, int V, int KIND> static cudaError_t start(TnKernelCall *call, void *y, int64_t m, int64_t n, const TniEpi *epi) {
    const int64_t total = m * (n / V);
    return tni_launch_early(call->stream, post_kernel<T, V, KIND>, dim3(tni_grid(call, total, 256, 16)), dim3(256), 0, (T *)y, total,
                            (int32_t)n, *epi);
}

template <typename T> static cudaError_t launch(TnKernelCall *call, void *y, int64_t m, int64_t n, const TniEpi *epi) {
    constexpr int V = 16 / (int)sizeof(T);
    const bool wide = n % V == 0 && tni_is_aligned(y, 16) && (epi->residual == NULL || tni_is_aligned(epi->residual, 16));
    if (!wide)
        return start<T, 1, TNI_KIND_ANY>(call, y, m, n, epi);
    return epi->act.form == TNI_FORM_GELU ? start<T, V, TNI_KIND_GELU>(call, y, m, n, epi) : start<T, V, TNI_KIND_ANY>(call, y, m, n, epi);
}

extern "C" TnStatus tni_gemm_post(TnKernelCall *call, TnDtype type, void *y, int64_t m, int64_t n, const TniEpi *epi) {
    cudaError_t e = cudaErrorInvalidValue;
    TNI_FLOAT_SWITCH(type, T, e = launch<T>(call, y, m, n, epi));
    TNI_CUDA(call->err, e, "epilogue of a matrix product");
    return tni_cuda_launched(call, "epilogue of a matrix product");
}
