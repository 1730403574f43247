/* SPDX-License-Identifier: Apache-2.0
 *
 * The persistent wgmma kernels for f16. */
#include "backend/cuda/gemm/wgmma_stream.cuh"

#define STREAM(name, wm, bn, ping, stages, eb)                                                             \
    case TNI_WG_##name:                                                                                    \
        return tni_wg_stream_launch<__half, TniWgCfg<__half, wm, bn, ping, stages, eb>>(maps, args, blocks, s);

extern "C" cudaError_t tni_wg_stream_f16(TniWgStream config, const CUtensorMap *maps, const TniWgStreamArgs *args, uint32_t blocks,
                                         cudaStream_t s) {
    switch (config) {
        TNI_WG_STREAMS(STREAM)
    default:
        return cudaErrorInvalidValue;
    }
}
