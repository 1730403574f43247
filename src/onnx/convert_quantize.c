/* SPDX-License-Identifier: Apache-2.0
 *
 * Converters of quantisation. */
#include "onnx/express.h"

/* c->arg: TN_OP_quantize_linear or TN_OP_dequantize_linear. */
TnStatus tni_onnx_convert_quantize(OnnxCall *c) {
    TnQuantizeParams p = {.axis = 1, .block_size = 0, .saturate = 1, .output_dtype = TN_UNDEFINED};
    int64_t precision = 0;
    TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    TN_TRY(tni_onnx_attr_i32(c, "block_size", 0, INT32_MAX, &p.block_size));
    TN_TRY(tni_onnx_attr_bool(c, "saturate", &p.saturate));
    TN_TRY(tni_onnx_attr_dtype(c, "output_dtype", &p.output_dtype));
    TN_TRY(tni_onnx_attr_i64(c, "precision", &precision));
    if (precision != 0 && precision != TN_F32)
        return ONNX_UNSUPPORTED(c, "attribute 'precision' is %lld; divisions are done in float32 only", (long long)precision);
    /* One scale, or one zero point, may be a scalar or a vector of one, whatever the axis: ONNX Runtime's tools write vectors. */
    OnnxX x = {.c = c};
    for (uint32_t i = 1; i <= 2 && p.block_size == 0; i++) {
        if (!tni_onnx_has(c, i))
            continue;
        OnnxKnown one = tni_onnx_in_known(c, i);
        if (one.rank == 1 && one.len == 1 && tni_onnx_in_known(c, 1).rank <= (i == 1 ? 1 : 0))
            c->in[i] = tni_x_squeeze(&x, c->in[i], 0);
    }
    TN_TRY(x.st);
    return tni_onnx_emit(c, (TnOp)c->arg, &p, c->in, c->n_in);
}
