/* SPDX-License-Identifier: Apache-2.0
 *
 * Losses, as what they are defined by:
 *
 *     t' = where(t == ignore_index, 0, t)     w = weight[t'] (1 without weights), 0 where t == ignore_index
 *     loss = -x[n, t', d...] * w              mean: sum(loss) / sum(w)
 *
 * SoftmaxCrossEntropyLoss does this with x = log_softmax(scores, axis 1). */
#include "onnx/express.h"

enum { REDUCE_NONE, REDUCE_SUM, REDUCE_MEAN };

static TnStatus loss(OnnxX *x, IrValueId scores) {
    static const char *const words[] = {"none", "sum", "mean"};
    OnnxCall *c = x->c;
    uint32_t reduction = REDUCE_MEAN;
    int64_t ignored = 0;
    TN_TRY(tni_onnx_attr_word(c, "reduction", words, TN_COUNT(words), &reduction));
    bool ignore = tni_onnx_has_attr(c, "ignore_index");
    TN_TRY(tni_onnx_attr_i64(c, "ignore_index", &ignored));
    TnDtype t = tni_x_need_dtype(x, 0);
    int32_t rank = tni_x_need_rank(x, 0);
    if (x->st == TN_OK && rank < 2)
        return ONNX_BAD(c, "operand 0 has rank %d, expected at least 2", rank);
    IrValueId target = tni_x_cast(x, c->in[1], TN_I64), skip = TN_NO_VALUE, w = TN_NO_VALUE, zero = tni_x_number(x, t, 0);
    if (ignore) {
        skip = tni_x_binary(x, TN_BINARY_equal, target, tni_x_int(x, ignored));
        target = tni_x_where(x, skip, tni_x_int(x, 0), target);
    }
    TnAxisParams axis = {.axis = 1, .n = 0};
    IrValueId in[2] = {scores, tni_x_unsqueeze(x, target, 1)};
    IrValueId picked = tni_x_squeeze(x, tni_x_op(x, TN_OP_gather_elements, &axis, in, 2), 1);
    IrValueId y = tni_x_unary(x, TN_UNARY_neg, picked);
    if (tni_onnx_has(c, 2)) {
        w = tni_x_gather(x, c->in[2], target, 0);
        if (ignore)
            w = tni_x_where(x, skip, zero, w);
        y = tni_x_binary(x, TN_BINARY_mul, y, w);
    }
    if (ignore) {
        y = tni_x_where(x, skip, zero, y);
        if (w == TN_NO_VALUE)
            w = tni_x_where(x, skip, zero, tni_x_number(x, t, 1));
    }
    int32_t axes[TN_MAX_RANK] = {0, 1, 2, 3, 4, 5, 6, 7};
    uint32_t n = (uint32_t)rank - 1;
    if (reduction == REDUCE_SUM)
        y = tni_x_reduce(x, TN_REDUCE_sum, y, axes, n, false);
    else if (reduction == REDUCE_MEAN && w == TN_NO_VALUE)
        y = tni_x_reduce(x, TN_REDUCE_mean, y, axes, n, false);
    else if (reduction == REDUCE_MEAN)
        y = tni_x_binary(x, TN_BINARY_div, tni_x_reduce(x, TN_REDUCE_sum, y, axes, n, false),
                         tni_x_reduce(x, TN_REDUCE_sum, w, axes, n, false));
    return tni_x_finish(x, 0, y);
}

TnStatus tni_onnx_convert_nll_loss(OnnxCall *c) {
    OnnxX x = {.c = c};
    return loss(&x, c->in[0]);
}

TnStatus tni_onnx_convert_cross_entropy(OnnxCall *c) {
    OnnxX x = {.c = c};
    IrValueId p = tni_x_softmax(&x, c->in[0], 1, true);
    TN_TRY(loss(&x, p));
    return tni_x_finish(&x, 1, p);
}
