/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of gathers, scatters and what selects elements. */
#include "onnx/convert.h"

static TnStatus axis_params(OnnxCall *c, TnAxisParams *p, int32_t axis) {
    p->axis = axis;
    p->n = 0;
    return tni_onnx_attr_axis(c, "axis", &p->axis);
}

TnStatus tni_onnx_convert_gather(OnnxCall *c) {
    TnAxisParams p;
    TN_TRY(axis_params(c, &p, 0));
    return tni_onnx_emit(c, TN_OP_gather, &p, c->in, 2);
}

TnStatus tni_onnx_convert_gather_elements(OnnxCall *c) {
    TnAxisParams p;
    TN_TRY(axis_params(c, &p, 0));
    return tni_onnx_emit(c, TN_OP_gather_elements, &p, c->in, 2);
}

TnStatus tni_onnx_convert_gather_nd(OnnxCall *c) {
    int32_t batch = 0;
    TN_TRY(tni_onnx_attr_i32(c, "batch_dims", 0, TN_MAX_RANK - 1, &batch));
    TnGatherNdParams p = {.batch_dims = (uint32_t)batch};
    return tni_onnx_emit(c, TN_OP_gather_nd, &p, c->in, 2);
}

/* c->arg: TN_OP_scatter_nd or TN_OP_scatter_elements. */
TnStatus tni_onnx_convert_scatter(OnnxCall *c) {
    static const char *const words[] = {"none", "add", "mul", "max", "min"};
    TnScatterParams p = {.axis = 0, .reduction = TN_SCATTER_NONE};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_word(c, "reduction", words, TN_COUNT(words), &p.reduction));
    return tni_onnx_emit(c, (TnOp)c->arg, &p, c->in, 3);
}

TnStatus tni_onnx_convert_one_hot(OnnxCall *c) {
    TnAxisParams p;
    TN_TRY(axis_params(c, &p, -1));
    return tni_onnx_emit(c, TN_OP_one_hot, &p, c->in, 3);
}

TnStatus tni_onnx_convert_trilu(OnnxCall *c) {
    TnTriluParams p = {.upper = 1};
    TN_TRY(tni_onnx_attr_bool(c, "upper", &p.upper));
    return tni_onnx_emit(c, TN_OP_trilu, &p, c->in, c->n_in);
}

TnStatus tni_onnx_convert_eye_like(OnnxCall *c) {
    TnEyeLikeParams p = {.dtype = TN_UNDEFINED, .k = 0};
    TN_TRY(tni_onnx_attr_dtype(c, "dtype", &p.dtype));
    TN_TRY(tni_onnx_attr_i32(c, "k", INT32_MIN, INT32_MAX, &p.k));
    return tni_onnx_emit(c, TN_OP_eye_like, &p, c->in, 1);
}

static TnStatus topk(OnnxCall *c, IrValueId k) {
    TnTopkParams p = {.axis = -1, .largest = 1};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_bool(c, "largest", &p.largest));
    (void)tni_onnx_attr(c, "sorted"); /* the result is always sorted */
    IrValueId in[2] = {c->in[0], k};
    return tni_onnx_emit_n(c, TN_OP_topk, &p, in, 2, 2);
}

TnStatus tni_onnx_convert_topk(OnnxCall *c) {
    return topk(c, c->in[1]);
}

/* TopK-1: k is an attribute. */
TnStatus tni_onnx_convert_topk1(OnnxCall *c) {
    int64_t k = -1;
    IrValueId v = 0;
    TN_TRY(tni_onnx_attr_i64(c, "k", &k));
    if (k < 0)
        return ONNX_BAD(c, "attribute 'k' is required and must not be negative");
    TN_TRY(tni_onnx_const_i64s(c, "k", &k, 1, &v));
    return topk(c, v);
}

TnStatus tni_onnx_convert_nonzero(OnnxCall *c) {
    return tni_onnx_emit(c, TN_OP_nonzero, NULL, c->in, 1);
}

TnStatus tni_onnx_convert_compress(OnnxCall *c) {
    TnCompressParams p = {.axis = 0, .flatten = tni_onnx_has_attr(c, "axis") ? 0 : 1};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    return tni_onnx_emit(c, TN_OP_compress, &p, c->in, 2);
}

TnStatus tni_onnx_convert_unique(OnnxCall *c) {
    TnUniqueParams p = {.axis = 0, .flatten = tni_onnx_has_attr(c, "axis") ? 0 : 1, .sorted = 1};
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_bool(c, "sorted", &p.sorted));
    return tni_onnx_emit(c, TN_OP_unique, &p, c->in, 1);
}

TnStatus tni_onnx_convert_nms(OnnxCall *c) {
    TnNmsParams p = {.center_point_box = 0};
    TN_TRY(tni_onnx_attr_bool(c, "center_point_box", &p.center_point_box));
    return tni_onnx_emit(c, TN_OP_non_max_suppression, &p, c->in, c->n_in);
}
