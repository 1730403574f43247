/* SPDX-License-Identifier: Apache-2.0
 *
 * The fused pair of products for f16. */
#include "backend/cuda/mlp/fused.cuh"

cudaError_t tni_mlp_f16(TniMlp config, const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s) {
    return tni_mlp_start<__half>(config, maps, args, s);
}
