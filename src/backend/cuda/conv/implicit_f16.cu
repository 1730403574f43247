/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions as matrix products: f16. */
#include "backend/cuda/conv/implicit.cuh"

extern "C" TnStatus tni_conv_implicit_f16(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p) {
    return tni_conv_implicit<__half, false, TniMmaCfg<128, 128, 2, 4, 4>, TniMmaCfg<128, 64, 4, 2, 4>, TniMmaCfg<64, 64, 2, 2, 4>>(call, kind, whole_w, p);
}
