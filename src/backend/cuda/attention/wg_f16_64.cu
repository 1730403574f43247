/* SPDX-License-Identifier: Apache-2.0
 *
 * Attention of f16 with heads of 64 elements through wgmma. */
#include "backend/cuda/attention/wg.cuh"

#define CONFIG(name, d, keys, groups, tiles, bias_tiles, resident) ATTN_WG_CASE(__half, name, d, keys, groups, tiles, bias_tiles, resident)

cudaError_t tni_attn_wg_f16_64(TniAttnWg config, int mode, const CUtensorMap *maps, const TniAttnWgArgs *args, const TnStream *s) {
    switch (config) {
        TNI_ATTN_WG_64(CONFIG)
    default:
        return cudaErrorInvalidValue;
    }
}
