/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce on f32. */
#include "backend/cuda/reduce/kernels.cuh"

void tni_cuda_rd_f32(const TnStream *s, const RdShape *r) {
    rd_launch<float>(s, r);
}
