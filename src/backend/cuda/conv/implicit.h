/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions as matrix products [positions, K] x [K, channels of a group]: what host code gives to the kernels. */
#ifndef TENON_BACKEND_CUDA_CONV_IMPLICIT_H
#define TENON_BACKEND_CUDA_CONV_IMPLICIT_H

#include "backend/cuda/conv/shape.h"

typedef struct TniConvArgs {
    const void *x, *w;
    void *y;
    int64_t step_b, step_c, step_h, step_w; /* of x, elements */
    int64_t ldw;                            /* rows of w */
    int32_t rows, k, mg, cg, group, m;      /* rows: positions of the batch */
    int32_t h, w_, sh, sw, dh, dw, pt, pl;  /* w_: width of x */
    int32_t taps_first;                     /* K runs over taps, then channels */
    int32_t channels_last, pair, quad;
    TniDiv d_ow, d_oh, d_kw, d_inner;       /* inner: channels (taps_first) or taps; kw: times channels in strips */
    TniDiv d_positions;
    TniEpi epi;
} TniConvArgs;

typedef enum TniConvKind { TNI_CONV_TC, TNI_CONV_PATCH, TNI_CONV_STRIP, TNI_CONV_STRIP_HALF, TNI_CONV_ANY } TniConvKind;

#ifdef __cplusplus
extern "C" {
#endif
/* Enqueue. whole_w: rows of w are whole 16-byte pieces. */
TnStatus tni_conv_implicit_f16(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p);
TnStatus tni_conv_implicit_bf16(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p);
TnStatus tni_conv_implicit_tf32(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p);
TnStatus tni_conv_implicit_f32(TnKernelCall *call, TniConvKind kind, bool whole_w, const TniConvArgs *p);
#ifdef __cplusplus
}
#endif
#endif
