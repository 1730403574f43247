/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce on bf16. */
#include "backend/cuda/reduce/kernels.cuh"

void tni_cuda_rd_bf16(const TnStream *s, const RdShape *r) {
    rd_launch<__nv_bfloat16>(s, r);
}
