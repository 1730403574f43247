/* SPDX-License-Identifier: Apache-2.0
 *
 * Attributes of windows that slide over spatial dimensions (convert_conv.c). */
#ifndef TENON_ONNX_WINDOW_H
#define TENON_ONNX_WINDOW_H

#include "onnx/convert.h"

#define ONNX_MAX_SPATIAL 3

/* What convolutions and pools share. */
typedef struct OnnxWindow {
    uint32_t n; /* spatial dims */
    int32_t kernel[3], stride[3], dilation[3], pads[6];
    uint32_t auto_pad;
} OnnxWindow;

/* An attribute of `want` numbers in lo..INT32_MAX, or of none (out keeps what it has). out has room for six. */
TnStatus tni_onnx_spatial_attr(OnnxCall *c, const char *name, int64_t lo, uint32_t want, int32_t *out);
/* w->n must be set; w->kernel may hold what the weights say. */
TnStatus tni_onnx_window_attrs(OnnxCall *c, OnnxWindow *w);
/* Parameters of a convolution whose weights are operand `weights`. */
TnStatus tni_onnx_conv_params(OnnxCall *c, uint32_t weights, TnConvParams *p);
/* Parameters of a pool of kind TnPoolKind; over the whole spatial extent of operand 0. */
TnStatus tni_onnx_pool_params(OnnxCall *c, uint32_t kind, TnPoolParams *p);
TnStatus tni_onnx_global_pool_params(OnnxCall *c, uint32_t kind, TnPoolParams *p);

#endif
