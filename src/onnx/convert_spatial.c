/* SPDX-License-Identifier: Apache-2.0
 *
 * Images: GridSample, AffineGrid, CenterCropPad, Col2Im, DeformConv, MaxRoiPool, MaxUnpool, LRN. */
#include "onnx/express.h"
#include "onnx/window.h"

TnStatus tni_onnx_convert_grid_sample(OnnxCall *c) {
    static const char *const modes16[] = {"bilinear", "nearest", "bicubic"};
    static const char *const modes20[] = {"linear", "nearest", "cubic"};
    static const char *const paddings[] = {"zeros", "border", "reflection"};
    TnGridSampleParams p = {.mode = TN_GRID_LINEAR, .padding = TN_GRID_ZEROS, .align_corners = 0};
    TN_TRY(tni_onnx_attr_word(c, "mode", c->opset < 20 ? modes16 : modes20, 3, &p.mode));
    TN_TRY(tni_onnx_attr_word(c, "padding_mode", paddings, TN_COUNT(paddings), &p.padding));
    TN_TRY(tni_onnx_attr_bool(c, "align_corners", &p.align_corners));
    return tni_onnx_emit(c, TN_OP_grid_sample, &p, c->in, 2);
}

/* Places 0..n-1 as coordinates: -1 + 2 i / (n - 1), or the middles of n equal parts of -1..1. */
static IrValueId coordinates(OnnxX *x, IrValueId n, bool corners, TnDtype t) {
    IrValueId i = tni_x_cast(x, tni_x_count(x, n), TN_F64), count = tni_x_cast(x, n, TN_F64), one = tni_x_number(x, TN_F64, 1);
    IrValueId two_i = tni_x_binary(x, TN_BINARY_add, i, i), parts = count;
    if (corners)
        parts = tni_x_binary(x, TN_BINARY_max, tni_x_binary(x, TN_BINARY_sub, count, one), one);
    else
        two_i = tni_x_binary(x, TN_BINARY_add, two_i, one);
    IrValueId v = tni_x_binary(x, TN_BINARY_sub, tni_x_binary(x, TN_BINARY_div, two_i, parts), one);
    return tni_x_cast(x, v, t);
}

/* grid = theta applied to (x, y[, z], 1) of every place: [N, spatial..., n]. */
TnStatus tni_onnx_convert_affine_grid(OnnxCall *c) {
    uint32_t corners = 0;
    TN_TRY(tni_onnx_attr_bool(c, "align_corners", &corners));
    OnnxX s = {.c = c}, *x = &s;
    TnDtype t = tni_x_need_dtype(x, 0);
    int32_t len = tni_onnx_in_known(c, 1).len;
    if (x->st == TN_OK && len != 4 && len != 5)
        return ONNX_UNSUPPORTED(c, "operand 1 (size) has %d numbers; 4 or 5 are supported", len);
    TN_TRY(x->st);
    const int32_t n = len - 2;
    IrValueId size = tni_x_cast(x, c->in[1], TN_I64), spatial = tni_x_cut(x, size, 0, 2, INT64_MAX), column[4];
    const int64_t minus_one[3] = {-1, n + 1, 0};
    for (int32_t a = 0; a < n; a++) { /* the last axis is x, the first coordinate */
        IrValueId v = coordinates(x, tni_x_squeeze(x, tni_x_cut(x, spatial, 0, a, a + 1), 0), corners != 0, t);
        for (int32_t k = a + 1; k < n; k++)
            v = tni_x_unsqueeze(x, v, -1);
        column[n - 1 - a] = tni_x_unsqueeze(x, tni_x_expand(x, v, spatial), -1);
    }
    column[n] = tni_x_fill(x, tni_x_shape(x, column[0]), t, 1);
    IrValueId places = tni_x_reshape_to(x, tni_x_concat(x, column, (uint32_t)n + 1, n), minus_one, 2);
    const uint8_t turn[3] = {0, 2, 1};
    IrValueId y = tni_x_matmul(x, places, tni_x_transpose(x, c->in[0], turn, 3));
    const int64_t width = n;
    IrValueId shape[3] = {tni_x_cut(x, size, 0, 0, 1), spatial, tni_x_ints(x, &width, 1)};
    return tni_x_finish(x, 0, tni_x_reshape(x, y, tni_x_concat(x, shape, 3, 0)));
}

/* d, t: sizes now and then, as vectors over the axes. Cuts max(d - t, 0) / 2 in front, pads max(t - d, 0) / 2 in front, the rest behind. */
TnStatus tni_onnx_convert_center_crop_pad(OnnxCall *c) {
    OnnxX s = {.c = c}, *x = &s;
    int32_t rank = tni_x_need_rank(x, 0), axes[TN_MAX_RANK];
    uint32_t n = 0;
    bool given = false;
    TN_TRY(tni_onnx_axes(c, UINT32_MAX, axes, &n, &given));
    TN_TRY(x->st);
    int64_t wide[TN_MAX_RANK];
    if (!given)
        n = (uint32_t)rank;
    for (uint32_t i = 0; i < n; i++) {
        wide[i] = given ? axes[i] + (axes[i] < 0 ? rank : 0) : (int64_t)i;
        if (wide[i] < 0 || wide[i] >= rank)
            return ONNX_BAD(c, "axis %d is out of range for an operand of rank %d", axes[i], rank);
    }
    IrValueId where = tni_x_ints(x, wide, n), zero = tni_x_int(x, 0), two = tni_x_int(x, 2);
    IrValueId d = tni_x_gather(x, tni_x_shape(x, c->in[0]), where, 0), t = tni_x_cast(x, c->in[1], TN_I64);
    IrValueId cut = tni_x_binary(x, TN_BINARY_max, tni_x_binary(x, TN_BINARY_sub, d, t), zero);
    IrValueId add = tni_x_binary(x, TN_BINARY_max, tni_x_binary(x, TN_BINARY_sub, t, d), zero);
    IrValueId from = tni_x_binary(x, TN_BINARY_div, cut, two), kept = tni_x_binary(x, TN_BINARY_min, d, t);
    IrValueId in[4] = {c->in[0], from, tni_x_binary(x, TN_BINARY_add, from, kept), where};
    IrValueId front = tni_x_binary(x, TN_BINARY_div, add, two), both[2] = {front, tni_x_binary(x, TN_BINARY_sub, add, front)};
    IrValueId p[4] = {tni_x_op(x, TN_OP_slice, NULL, in, 4), tni_x_concat(x, both, 2, 0), TN_NO_VALUE, where};
    TnPadParams mode = {.mode = TN_PADDING_CONSTANT};
    return tni_x_finish(x, 0, tni_x_op(x, TN_OP_pad, &mode, p, 4));
}

static TnStatus spatial3(OnnxCall *c, const char *name, int64_t lo, uint32_t want, int32_t *out, uint32_t n_out) {
    int32_t tmp[6];
    for (uint32_t i = 0; i < 6; i++)
        tmp[i] = (int32_t)lo;
    TN_TRY(tni_onnx_spatial_attr(c, name, lo, want, tmp));
    memcpy(out, tmp, n_out * sizeof *out);
    return TN_OK;
}

TnStatus tni_onnx_convert_col2im(OnnxCall *c) {
    TnCol2ImParams p;
    memset(&p, 0, sizeof p);
    int32_t n = tni_onnx_in_known(c, 1).len;
    if (n < 1 || n > ONNX_MAX_SPATIAL)
        return ONNX_UNSUPPORTED(c, "operand 1 (image_shape) must have 1 to %d numbers, a count that is known at import", ONNX_MAX_SPATIAL);
    p.n_spatial = (uint32_t)n;
    TN_TRY(spatial3(c, "strides", 1, p.n_spatial, p.stride, 3));
    TN_TRY(spatial3(c, "dilations", 1, p.n_spatial, p.dilation, 3));
    TN_TRY(spatial3(c, "pads", 0, 2 * p.n_spatial, p.pads, 6));
    return tni_onnx_emit(c, TN_OP_col2im, &p, c->in, 3);
}

TnStatus tni_onnx_convert_deform_conv(OnnxCall *c) {
    TnDeformConvParams p;
    int32_t group = 1, offset_group = 1, unused[6] = {0};
    memset(&p, 0, sizeof p);
    TN_TRY(tni_onnx_attr_i32(c, "group", 1, INT32_MAX, &group));
    TN_TRY(tni_onnx_attr_i32(c, "offset_group", 1, INT32_MAX, &offset_group));
    TN_TRY(tni_onnx_spatial_attr(c, "kernel_shape", 1, 2, unused)); /* the weights say it */
    TN_TRY(spatial3(c, "strides", 1, 2, p.stride, 2));
    TN_TRY(spatial3(c, "dilations", 1, 2, p.dilation, 2));
    TN_TRY(spatial3(c, "pads", 0, 4, p.pads, 4));
    p.group = (uint32_t)group;
    p.offset_groups = (uint32_t)offset_group;
    return tni_onnx_emit(c, TN_OP_deform_conv, &p, c->in, c->n_in);
}

TnStatus tni_onnx_convert_roi_pool(OnnxCall *c) {
    TnRoiPoolParams p = {.height = 0, .width = 0, .scale = 1, .pad = 0};
    int32_t shape[6] = {0};
    TN_TRY(tni_onnx_spatial_attr(c, "pooled_shape", 1, 2, shape));
    TN_TRY(tni_onnx_attr_f32(c, "spatial_scale", &p.scale));
    if (shape[0] == 0)
        return ONNX_BAD(c, "attribute 'pooled_shape' is required");
    p.height = shape[0];
    p.width = shape[1];
    return tni_onnx_emit(c, TN_OP_roi_pool, &p, c->in, 2);
}

/* zeros[size] with x at the indices, as an image of size (d - 1) * stride + kernel - pads in each spatial axis; with an output shape that
 * is larger, zeros behind. */
TnStatus tni_onnx_convert_max_unpool(OnnxCall *c) {
    OnnxX s = {.c = c}, *x = &s;
    OnnxWindow w;
    memset(&w, 0, sizeof w);
    int32_t rank = tni_x_need_rank(x, 0);
    TnDtype t = tni_x_need_dtype(x, 0);
    TN_TRY(x->st);
    w.n = rank < 3 ? 0 : (uint32_t)rank - 2;
    TN_TRY(tni_onnx_window_attrs(c, &w));
    int64_t stride[3], rest[3], flat = -1, begins[TN_MAX_RANK] = {0};
    for (uint32_t i = 0; i < w.n; i++) {
        stride[i] = w.stride[i];
        rest[i] = (int64_t)w.kernel[i] - w.pads[i] - w.pads[w.n + i];
    }
    IrValueId dims = tni_x_shape(x, c->in[0]), one = tni_x_int(x, 1), parts[2] = {tni_x_cut(x, dims, 0, 0, 2), TN_NO_VALUE};
    parts[1] = tni_x_binary(x, TN_BINARY_sub, tni_x_cut(x, dims, 0, 2, INT64_MAX), one);
    parts[1] = tni_x_binary(x, TN_BINARY_mul, parts[1], tni_x_ints(x, stride, w.n));
    parts[1] = tni_x_binary(x, TN_BINARY_add, parts[1], tni_x_ints(x, rest, w.n));
    IrValueId shape = tni_x_concat(x, parts, 2, 0);
    int32_t axis = 0;
    IrValueId size = tni_x_reduce(x, TN_REDUCE_prod, shape, &axis, 1, true), vector = tni_x_ints(x, &flat, 1);
    IrValueId y = tni_x_scatter(x, tni_x_fill(x, size, t, 0), tni_x_reshape(x, c->in[1], vector), tni_x_reshape(x, c->in[0], vector));
    y = tni_x_reshape(x, y, shape);
    if (tni_onnx_has(c, 2)) {
        IrValueId pads[2] = {tni_x_ints(x, begins, (uint32_t)rank), tni_x_binary(x, TN_BINARY_sub, tni_x_cast(x, c->in[2], TN_I64), shape)};
        IrValueId in[2] = {y, tni_x_concat(x, pads, 2, 0)};
        TnPadParams p = {.mode = TN_PADDING_CONSTANT};
        y = tni_x_op(x, TN_OP_pad, &p, in, 2);
    }
    return tni_x_finish(x, 0, y);
}

/* x / (bias + alpha / size * sum of squares over `size` channels)^beta; the sum is an average pool over [B, 1, C, rest]. */
TnStatus tni_onnx_convert_lrn(OnnxCall *c) {
    float alpha = 1e-4f, beta = 0.75f, bias = 1;
    int32_t size = 0;
    TN_TRY(tni_onnx_attr_f32(c, "alpha", &alpha));
    TN_TRY(tni_onnx_attr_f32(c, "beta", &beta));
    TN_TRY(tni_onnx_attr_f32(c, "bias", &bias));
    TN_TRY(tni_onnx_attr_i32(c, "size", 1, 1 << 20, &size));
    if (size == 0)
        return ONNX_BAD(c, "attribute 'size' is required");
    OnnxX s = {.c = c}, *x = &s;
    TnDtype t = tni_x_need_dtype(x, 0);
    const int64_t one = 1, rest = -1;
    IrValueId dims = tni_x_shape(x, c->in[0]);
    IrValueId view[4] = {tni_x_cut(x, dims, 0, 0, 1), tni_x_ints(x, &one, 1), tni_x_cut(x, dims, 0, 1, 2), tni_x_ints(x, &rest, 1)};
    IrValueId squares = tni_x_reshape(x, tni_x_binary(x, TN_BINARY_mul, c->in[0], c->in[0]), tni_x_concat(x, view, 4, 0));
    TnPoolParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_POOL_AVG;
    p.n_spatial = 2;
    p.count_include_pad = 1;
    p.p = 2;
    for (int i = 0; i < 3; i++)
        p.kernel[i] = p.stride[i] = p.dilation[i] = 1;
    p.kernel[0] = size;
    p.pads[0] = (size - 1) / 2;
    p.pads[2] = size / 2;
    IrValueId mean = tni_x_reshape(x, tni_x_op(x, TN_OP_pool, &p, &squares, 1), dims);
    IrValueId base = tni_x_binary(x, TN_BINARY_mul, mean, tni_x_number(x, t, (double)alpha));
    base = tni_x_binary(x, TN_BINARY_add, base, tni_x_number(x, t, (double)bias));
    IrValueId power = tni_x_binary(x, TN_BINARY_pow, base, tni_x_number(x, t, (double)beta));
    return tni_x_finish(x, 0, tni_x_binary(x, TN_BINARY_div, c->in[0], power));
}
