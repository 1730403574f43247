/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of convolution and pooling. */
#include "onnx/window.h"

#define MAX_SPATIAL ONNX_MAX_SPATIAL

/* An attribute of n numbers in lo..INT32_MAX, or of none. */
TnStatus tni_onnx_spatial_attr(OnnxCall *c, const char *name, int64_t lo, uint32_t want, int32_t *out) {
    uint32_t n = 0;
    TN_TRY(tni_onnx_attr_i32s(c, name, lo, INT32_MAX, out, 2 * MAX_SPATIAL, &n));
    if (n != 0 && n != want)
        return ONNX_BAD(c, "attribute '%s' has %u numbers, expected %u", name, n, want);
    return TN_OK;
}

/* n spatial dims must be known; kernel may be filled in from the weights before. */
TnStatus tni_onnx_window_attrs(OnnxCall *c, OnnxWindow *w) {
    static const char *const words[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    if (w->n < 1 || w->n > MAX_SPATIAL)
        return ONNX_UNSUPPORTED(c, "has %u spatial dimensions; 1 to %d are supported", w->n, MAX_SPATIAL);
    for (uint32_t i = 0; i < MAX_SPATIAL; i++)
        w->stride[i] = w->dilation[i] = 1;
    int32_t tmp[6] = {0};
    for (uint32_t i = 0; i < MAX_SPATIAL; i++)
        tmp[i] = w->kernel[i];
    TN_TRY(tni_onnx_spatial_attr(c, "kernel_shape", 1, w->n, tmp));
    for (uint32_t i = 0; i < MAX_SPATIAL; i++) {
        w->kernel[i] = tmp[i];
        tmp[i] = 1;
    }
    TN_TRY(tni_onnx_spatial_attr(c, "strides", 1, w->n, tmp));
    for (uint32_t i = 0; i < MAX_SPATIAL; i++) {
        w->stride[i] = tmp[i];
        tmp[i] = 1;
    }
    TN_TRY(tni_onnx_spatial_attr(c, "dilations", 1, w->n, tmp));
    for (uint32_t i = 0; i < MAX_SPATIAL; i++)
        w->dilation[i] = tmp[i];
    TN_TRY(tni_onnx_spatial_attr(c, "pads", 0, 2 * w->n, w->pads));
    TN_TRY(tni_onnx_attr_word(c, "auto_pad", words, TN_COUNT(words), &w->auto_pad));
    if (w->auto_pad != TN_PAD_EXPLICIT)
        for (uint32_t i = 0; i < 6; i++)
            w->pads[i] = 0;
    return TN_OK;
}

static TnStatus attr_count(OnnxCall *c, const char *name, uint32_t *n) {
    const int64_t *v = NULL;
    *n = 0;
    return tni_onnx_attr_ints(c, name, &v, n);
}

/* Spatial dims and kernel of a convolution: from the attribute, else from the weights, whose dims must be numbers then. */
static TnStatus conv_window(OnnxCall *c, uint32_t operand, OnnxWindow *w) {
    int64_t dims[TN_MAX_RANK];
    const IrValue *weights = &c->scope->target->g->values[c->in[operand]];
    int32_t rank = weights->rank;
    bool known = tni_ir_static_dims(c->imp->m, c->scope->target->g, c->in[operand], dims);
    memset(w, 0, sizeof *w);
    TN_TRY(attr_count(c, "kernel_shape", &w->n));
    if (known && (rank < 3 || (w->n != 0 && rank != (int32_t)w->n + 2)))
        return ONNX_BAD(c, "the weights have rank %d, expected %s", rank, w->n != 0 ? "2 + the length of kernel_shape" : "3 or more");
    for (int32_t i = 2; known && i < TN_MIN(rank, 2 + MAX_SPATIAL); i++) {
        if (dims[i] < 1 || dims[i] > INT32_MAX)
            return ONNX_BAD(c, "the weights have %lld as kernel dimension %d", (long long)dims[i], i - 2);
        w->kernel[i - 2] = (int32_t)dims[i];
    }
    if (w->n == 0 && !known)
        return ONNX_UNSUPPORTED(c, "the size of the weights is not known at import and there is no attribute 'kernel_shape'");
    w->n = w->n == 0 ? (uint32_t)rank - 2 : w->n;
    OnnxWindow from_weights = *w;
    TN_TRY(tni_onnx_window_attrs(c, w));
    for (uint32_t i = 0; known && i < w->n; i++)
        if (w->kernel[i] != from_weights.kernel[i])
            return ONNX_BAD(c, "kernel_shape says %d in dimension %u, the weights have %d", w->kernel[i], i, from_weights.kernel[i]);
    return TN_OK;
}

TnStatus tni_onnx_conv_params(OnnxCall *c, uint32_t weights, TnConvParams *p) {
    OnnxWindow w;
    int32_t group = 1;
    memset(p, 0, sizeof *p);
    TN_TRY(conv_window(c, weights, &w));
    TN_TRY(tni_onnx_attr_i32(c, "group", 1, INT32_MAX, &group));
    p->n_spatial = w.n;
    p->group = (uint32_t)group;
    memcpy(p->kernel, w.kernel, sizeof p->kernel);
    memcpy(p->stride, w.stride, sizeof p->stride);
    memcpy(p->dilation, w.dilation, sizeof p->dilation);
    memcpy(p->pads, w.pads, sizeof p->pads);
    p->auto_pad = w.auto_pad;
    return TN_OK;
}

TnStatus tni_onnx_convert_conv(OnnxCall *c) {
    TnConvParams p;
    TN_TRY(tni_onnx_conv_params(c, 1, &p));
    return tni_onnx_emit(c, TN_OP_conv, &p, c->in, c->n_in);
}

TnStatus tni_onnx_convert_conv_transpose(OnnxCall *c) {
    TnConvParams p;
    int32_t tmp[6] = {0}, shape[6] = {0};
    TN_TRY(tni_onnx_conv_params(c, 1, &p));
    TN_TRY(tni_onnx_spatial_attr(c, "output_padding", 0, p.n_spatial, tmp));
    TN_TRY(tni_onnx_spatial_attr(c, "output_shape", 1, p.n_spatial, shape));
    memcpy(p.output_pads, tmp, sizeof p.output_pads);
    memcpy(p.output_shape, shape, sizeof p.output_shape);
    return tni_onnx_emit(c, TN_OP_conv_transpose, &p, c->in, c->n_in);
}

TnStatus tni_onnx_pool_params(OnnxCall *c, uint32_t kind, TnPoolParams *p) {
    OnnxWindow w;
    memset(&w, 0, sizeof w);
    memset(p, 0, sizeof *p);
    TN_TRY(attr_count(c, "kernel_shape", &w.n));
    if (w.n == 0)
        return ONNX_BAD(c, "attribute 'kernel_shape' is required");
    TN_TRY(tni_onnx_window_attrs(c, &w));
    p->kind = kind;
    p->n_spatial = w.n;
    p->p = 2;
    p->auto_pad = w.auto_pad;
    memcpy(p->kernel, w.kernel, sizeof p->kernel);
    memcpy(p->stride, w.stride, sizeof p->stride);
    memcpy(p->dilation, w.dilation, sizeof p->dilation);
    memcpy(p->pads, w.pads, sizeof p->pads);
    TN_TRY(tni_onnx_attr_bool(c, "ceil_mode", &p->ceil_mode));
    TN_TRY(tni_onnx_attr_bool(c, "count_include_pad", &p->count_include_pad));
    TN_TRY(tni_onnx_attr_bool(c, "storage_order", &p->storage_order));
    TN_TRY(tni_onnx_attr_i32(c, "p", 1, 1024, &p->p));
    return TN_OK;
}

/* c->arg: TnPoolKind. */
TnStatus tni_onnx_convert_pool(OnnxCall *c) {
    TnPoolParams p;
    TN_TRY(tni_onnx_pool_params(c, c->arg, &p));
    return tni_onnx_emit(c, TN_OP_pool, &p, c->in, 1);
}

TnStatus tni_onnx_global_pool_params(OnnxCall *c, uint32_t kind, TnPoolParams *p) {
    memset(p, 0, sizeof *p);
    int32_t rank = tni_onnx_in_known(c, 0).rank;
    p->kind = kind;
    p->global = 1;
    p->p = 2;
    if (rank >= 0 && (rank < 3 || rank > 2 + MAX_SPATIAL))
        return ONNX_UNSUPPORTED(c, "has %d spatial dimensions; 1 to %d are supported", rank - 2, MAX_SPATIAL);
    p->n_spatial = rank < 0 ? 0 : (uint32_t)rank - 2; /* 0: shape inference will know */
    for (uint32_t i = 0; i < MAX_SPATIAL; i++)
        p->kernel[i] = p->stride[i] = p->dilation[i] = 1;
    TN_TRY(tni_onnx_attr_i32(c, "p", 1, 1024, &p->p));
    return TN_OK;
}

/* c->arg: TnPoolKind, over the whole spatial extent. */
TnStatus tni_onnx_convert_global_pool(OnnxCall *c) {
    TnPoolParams p;
    TN_TRY(tni_onnx_global_pool_params(c, c->arg, &p));
    return tni_onnx_emit(c, TN_OP_pool, &p, c->in, 1);
}

TnStatus tni_onnx_convert_roi_align(OnnxCall *c) {
    static const char *const modes[] = {"avg", "max"};
    static const char *const coords[] = {"output_half_pixel", "half_pixel"};
    TnRoiAlignParams p = {.output_height = 1, .output_width = 1, .spatial_scale = 1, .aligned = c->opset >= 16 ? 1 : 0};
    TN_TRY(tni_onnx_attr_i32(c, "output_height", 1, INT32_MAX, &p.output_height));
    TN_TRY(tni_onnx_attr_i32(c, "output_width", 1, INT32_MAX, &p.output_width));
    TN_TRY(tni_onnx_attr_i32(c, "sampling_ratio", 0, INT32_MAX, &p.sampling_ratio));
    TN_TRY(tni_onnx_attr_f32(c, "spatial_scale", &p.spatial_scale));
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p.max_mode));
    if (c->opset >= 16)
        TN_TRY(tni_onnx_attr_word(c, "coordinate_transformation_mode", coords, TN_COUNT(coords), &p.aligned));
    return tni_onnx_emit(c, TN_OP_roi_align, &p, c->in, 3);
}
