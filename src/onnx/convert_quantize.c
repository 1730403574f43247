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
    /* One scale and one zero point may be a scalar and a vector of one. */
    if (tni_onnx_has(c, 2)) {
        OnnxX x = {.c = c};
        OnnxKnown s = tni_onnx_in_known(c, 1), z = tni_onnx_in_known(c, 2);
        if (s.rank == 0 && z.rank == 1 && z.len == 1)
            c->in[2] = tni_x_squeeze(&x, c->in[2], 0);
        else if (s.rank == 1 && s.len == 1 && z.rank == 0)
            c->in[2] = tni_x_unsqueeze(&x, c->in[2], 0);
        TN_TRY(x.st);
    }
    return tni_onnx_emit(c, (TnOp)c->arg, &p, c->in, c->n_in);
}
