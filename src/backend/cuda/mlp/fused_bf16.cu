/* SPDX-License-Identifier: Apache-2.0
 *
 * The fused pair of products for bf16. */
#include "backend/cuda/mlp/fused.cuh"

cudaError_t tni_mlp_bf16(TniMlp config, const CUtensorMap *maps, const TniMlpArgs *args, const TnStream *s) {
    return tni_mlp_start<__nv_bfloat16>(config, maps, args, s);
}
