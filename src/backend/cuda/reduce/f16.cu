/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce on f16. */
#include "backend/cuda/reduce/kernels.cuh"

void tni_cuda_rd_f16(const TnStream *s, const RdShape *r) {
    rd_launch<__half>(s, r);
}
