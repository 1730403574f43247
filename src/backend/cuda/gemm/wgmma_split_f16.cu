/* SPDX-License-Identifier: Apache-2.0
 *
 * The wgmma kernels for few tiles, for f16. */
#include "backend/cuda/gemm/wgmma_split.cuh"

#define SPLIT(name, wgs, bn, stages) \
    case TNI_WG_##name:              \
        return tni_wg_split_launch<__half, wgs, bn, stages>(splits, maps, args, tiles, s);

extern "C" cudaError_t tni_wg_split_f16(TniWgSplit config, uint32_t splits, const CUtensorMap *maps, const TniWgSplitArgs *args,
                                        uint32_t tiles, cudaStream_t s) {
    switch (config) {
        TNI_WG_SPLITS(SPLIT)
    default:
        return cudaErrorInvalidValue;
    }
}
