/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions as matrix products: f32. */
#include "backend/cuda/conv/implicit.cuh"

extern "C" TnStatus tni_conv_implicit_f32(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p) {
    return tni_conv_implicit<float, true, TniFfmaCfg<128, 128>, TniFfmaCfg<128, 64>, TniFfmaCfg<64, 64>>(call, kind, whole_w, p);
}
