/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of Resize and Upsample. */
#include "onnx/convert.h"

static void resize_defaults(TnResizeParams *p) {
    memset(p, 0, sizeof *p);
    p->mode = TN_RESIZE_NEAREST;
    p->coord = TN_COORD_HALF_PIXEL;
    p->nearest = TN_NEAREST_ROUND_PREFER_FLOOR;
    p->cubic_a = -0.75f;
}

static bool is_empty_const(const OnnxCall *c, uint32_t i) {
    TnTensor t;
    return tni_onnx_in_const(c, i, &t) && tn_tensor_numel(&t) == 0;
}

static TnStatus resize_modes(OnnxCall *c, TnResizeParams *p) {
    static const char *const modes[] = {"nearest", "linear", "cubic"};
    static const char *const coords[] = {"half_pixel",    "half_pixel_symmetric", "pytorch_half_pixel",
                                         "align_corners", "asymmetric",           "tf_crop_and_resize"};
    static const char *const nearest[] = {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"};
    static const char *const policies[] = {"stretch", "not_larger", "not_smaller"};
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p->mode));
    TN_TRY(tni_onnx_attr_word(c, "coordinate_transformation_mode", coords, TN_COUNT(coords), &p->coord));
    TN_TRY(tni_onnx_attr_word(c, "nearest_mode", nearest, TN_COUNT(nearest), &p->nearest));
    TN_TRY(tni_onnx_attr_word(c, "keep_aspect_ratio_policy", policies, TN_COUNT(policies), &p->keep_aspect));
    TN_TRY(tni_onnx_attr_f32(c, "cubic_coeff_a", &p->cubic_a));
    TN_TRY(tni_onnx_attr_f32(c, "extrapolation_value", &p->extrapolation));
    TN_TRY(tni_onnx_attr_bool(c, "exclude_outside", &p->exclude_outside));
    return tni_onnx_attr_bool(c, "antialias", &p->antialias);
}

/* Opset 11 and newer: x, roi, scales, sizes; roi and one of the others may be absent or an empty tensor. */
TnStatus tni_onnx_convert_resize(OnnxCall *c) {
    TnResizeParams p;
    bool given = false;
    resize_defaults(&p);
    TN_TRY(resize_modes(c, &p));
    TN_TRY(tni_onnx_axes(c, UINT32_MAX, p.axes, &p.n_axes, &given));
    IrValueId in[4];
    for (uint32_t i = 0; i < 4; i++)
        in[i] = tni_onnx_has(c, i) && (i == 0 || !is_empty_const(c, i)) ? c->in[i] : TN_NO_VALUE;
    if (p.coord != TN_COORD_TF_CROP_AND_RESIZE)
        in[1] = TN_NO_VALUE;
    else if (in[1] == TN_NO_VALUE)
        return ONNX_BAD(c, "tf_crop_and_resize needs operand 1 (roi)");
    if (in[3] != TN_NO_VALUE && in[2] != TN_NO_VALUE)
        return ONNX_BAD(c, "has both scales and sizes, expected one of them");
    if (in[3] == TN_NO_VALUE && in[2] == TN_NO_VALUE)
        return ONNX_BAD(c, "has neither scales nor sizes");
    return tni_onnx_emit(c, TN_OP_resize, &p, in, 4);
}

/* Resize-10 and Upsample: nearest and linear, asymmetric coordinates, floor. */
static TnStatus old_resize(OnnxCall *c, IrValueId scales) {
    static const char *const modes[] = {"nearest", "linear"};
    TnResizeParams p;
    resize_defaults(&p);
    p.coord = TN_COORD_ASYMMETRIC;
    p.nearest = TN_NEAREST_FLOOR;
    TN_TRY(tni_onnx_attr_word(c, "mode", modes, TN_COUNT(modes), &p.mode));
    IrValueId in[3] = {c->in[0], TN_NO_VALUE, scales};
    return tni_onnx_emit(c, TN_OP_resize, &p, in, 3);
}

TnStatus tni_onnx_convert_resize10(OnnxCall *c) {
    return old_resize(c, c->in[1]);
}

/* Upsample-7: the scales are an attribute. */
TnStatus tni_onnx_convert_upsample7(OnnxCall *c) {
    const float *v = NULL;
    uint32_t n = 0;
    TN_TRY(tni_onnx_attr_floats(c, "scales", &v, &n));
    if (n == 0 || n > TN_MAX_RANK)
        return ONNX_BAD(c, "attribute 'scales' has %u numbers, expected one a dimension", n);
    int64_t dims[1] = {n};
    IrValueId scales = 0;
    TN_TRY(tni_onnx_const(c, "scales", TN_F32, 1, dims, v, &scales));
    return old_resize(c, scales);
}
