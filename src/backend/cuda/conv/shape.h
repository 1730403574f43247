/* SPDX-License-Identifier: Apache-2.0
 *
 * A convolution as the GPU's kernels see it: two spatial dims (one is H = 1), sizes, steps of x and y, epilogue.
 *
 * Packings of a constant w [M, C/group, KH, KW], each row (output channel) padded with zeros to 16 bytes:
 *   "cuda_conv_ct"  as it is: K runs over channels, then taps
 *   "cuda_conv_tc"  K runs over taps, then channels
 *   "cuda_conv_dw"  depthwise: f32 [taps][M rounded up to 8], channels in their order */
#ifndef TENON_BACKEND_CUDA_CONV_SHAPE_H
#define TENON_BACKEND_CUDA_CONV_SHAPE_H

#include "backend/cuda/gemm/epilogue.h"

#ifdef __cplusplus
extern "C" {
#endif

#define TNI_PACK_CONV_CT "cuda_conv_ct"
#define TNI_PACK_CONV_TC "cuda_conv_tc"
#define TNI_PACK_CONV_DW "cuda_conv_dw"

typedef struct TniConv {
    TnDtype type;
    int32_t batch, c, m, group, cg, mg; /* cg, mg: channels of a group, in and out */
    int32_t h, w, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl;
    int32_t channels_last;
    int64_t k; /* cg * kh * kw */
    bool has_bias, has_residual, constant_w;
} TniConv;

/* false: not 1 or 2 spatial dims, other types, shapes that do not fit or are too large for 31-bit indices. */
bool tni_conv_shape(const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out, TniConv *v);
bool tni_conv_query(const TnKernelQuery *q, TniConv *v);
void tni_conv_epilogue(const TnKernelCall *call, const TniConv *v, TniEpi *epi);
/* The packed w of a call, or NULL. */
const void *tni_conv_packed(const TnKernelCall *call);
TN_INLINE int64_t tni_conv_kp(const TniConv *v) {
    int64_t n = (int64_t)(16 / tni_size_of(v->type));
    return (v->k + n - 1) / n * n;
}
TN_INLINE int32_t tni_conv_dw_channels(const TniConv *v) { return (v->m + 7) / 8 * 8; }

#ifdef __cplusplus
}
#endif
#endif
