/* SPDX-License-Identifier: Apache-2.0
 *
 * Convolutions whose windows do not overlap (kernel == stride, no padding, one group, channels last): host code and kernels share this.
 *
 * A window is KH runs of KW x C elements; the windows of a line of the result stand beside each other in KH lines of x. */
#ifndef TENON_BACKEND_CUDA_CONV_PATCHES_H
#define TENON_BACKEND_CUDA_CONV_PATCHES_H

#include "backend/cuda/conv/shape.h"

/* x -> rows [B OH OW, KH KW C]. Sizes in pieces of `size` bytes. */
typedef struct TniPatchCopy {
    const void *x;
    void *rows;
    uint32_t size;               /* 16 or 8 */
    uint32_t pieces;             /* of all rows */
    uint32_t line, picture;      /* pieces of a line of x; lines of a picture of x */
    uint32_t used;               /* lines of a picture that windows cover */
    TniDiv d_covered, d_run;     /* pieces of a line that windows cover; of a run */
    TniDiv d_kh, d_used;
    uint32_t ow, kh;
} TniPatchCopy;

/* Products with few terms: y [rows, m] = act(windows w^T + bias) + residual. w: rows of ldw elements, K over taps, then channels. */
typedef struct TniPatchShort {
    const void *x, *w;
    void *y;
    TniEpi epi;
    int32_t rows, m, k, ldw;
    int32_t run;                    /* elements of a run */
    int64_t line, down, picture;    /* elements of x: a line, KH lines, a picture */
    TniDiv d_ow, d_oh, d_run;
} TniPatchShort;

#define TNI_PATCH_SHORT 64 /* most terms */

#ifdef __cplusplus
extern "C" {
#endif
TnStatus tni_conv_patch_copy(TnKernelCall *call, const TniPatchCopy *p);
TnStatus tni_conv_patch_short(TnKernelCall *call, TnDtype type, const TniPatchShort *p);
#ifdef __cplusplus
}
#endif
#endif
