/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolution on the CPU, 1 and 2 spatial dims. Two kernels an ISA:
 *   conv_gemm: any group. channels_last: rows are output pixels, columns output channels; the rows of A (image patches) are read in place
 *              for 1x1 kernels, else gathered tile by tile, so no image-to-column matrix is made. NCHW: rows are output channels (the
 *              weights as they are), columns output pixels, packed block by block.
 *   conv_dw:   depthwise, vectors across channels (channels_last) or across a row (NCHW).
 * And conv_transpose of NCHW: a product whose rows are added to their places in the output. */
#ifndef TENON_CPU_CONV_H
#define TENON_CPU_CONV_H

#include "backend/cpu/gemm/gemm.h"

/* A convolution with every size resolved; 1-D has h = oh = kh = 1. */
typedef struct TniConv {
    int64_t b, c, h, w; /* input; c over all groups */
    int64_t m, oh, ow;  /* output; m over all groups */
    int64_t kh, kw, sh, sw, dh, dw, pt, pl;
    int64_t group, cg, mg; /* channels of one group */
    bool channels_last;
    const float *x, *wt, *bias, *res;
    float *y;
    uint32_t act;
    float act_alpha, act_beta;
    /* depthwise */
    const float *packed; /* channels_last: weights as [kh * kw][c] */
    float *work;
    size_t work_floats;
    int64_t bands; /* tasks an image */
} TniConv;

/* False when the operands are not a convolution that these kernels do. Works for queries and calls. */
bool tni_conv_describe(TniConv *v, const TnConvParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out);

/* Rows of A for channels_last: patches of output pixels from row0 on, of the group whose first channel is channel0. */
typedef struct TniConvGather {
    const TniConv *v;
    int64_t row0, channel0;
} TniConvGather;

typedef struct TniConvIsa {
    TniGemmLoadA gather; /* ctx: TniConvGather */
    /* im2col of output pixels [p0, p1) of the cg planes at x, as panels [cg * kh * kw][nr] one after another */
    void (*pack_pixels)(const TniConv *v, const float *x, int64_t p0, int64_t p1, float *dst);
    TnTaskFn depthwise_last; /* task: image * bands + band of output rows */
    TnTaskFn depthwise_nchw; /* task: image * c + channel */
} TniConvIsa;
extern const TniConvIsa tni_conv_isa_scalar, tni_conv_isa_avx2, tni_conv_isa_avx512;

bool tni_conv_gemm_supports(const TnKernelQuery *q);
bool tni_conv_dw_supports(const TnKernelQuery *q);
size_t tni_conv_dw_scratch(const TnKernelQuery *q);
size_t tni_conv_dw_packed_bytes(const TnKernelQuery *q, uint32_t i);
void tni_conv_dw_pack(const TnKernelQuery *q, uint32_t i, void *dst);

bool tni_conv_transpose_supports(const TnKernelQuery *q);
size_t tni_conv_transpose_packed_bytes(const TnKernelQuery *q, uint32_t i);
void tni_conv_transpose_pack(const TnKernelQuery *q, uint32_t i, void *dst);

#define TNI_CONV_DECLARE(isa)                                                                                                              \
    TnStatus tni_conv_gemm_run_##isa(TnKernelCall *call);                                                                                  \
    size_t tni_conv_gemm_scratch_##isa(const TnKernelQuery *q);                                                                            \
    double tni_conv_gemm_cost_##isa(const TnKernelQuery *q);                                                                               \
    size_t tni_conv_gemm_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i);                                                           \
    void tni_conv_gemm_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst);                                                          \
    TnStatus tni_conv_dw_run_##isa(TnKernelCall *call);                                                                                    \
    double tni_conv_dw_cost_##isa(const TnKernelQuery *q);                                                                                 \
    TnStatus tni_conv_transpose_run_##isa(TnKernelCall *call);                                                                             \
    size_t tni_conv_transpose_scratch_##isa(const TnKernelQuery *q);                                                                       \
    double tni_conv_transpose_cost_##isa(const TnKernelQuery *q);
TNI_CONV_DECLARE(scalar)
TNI_CONV_DECLARE(avx2)
TNI_CONV_DECLARE(avx512)

#endif
