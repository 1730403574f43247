/* SPDX-License-Identifier: Apache-2.0
 *
 * Axes that are computed at run time. The rank of the data and the number of axes are known at import; the axes themselves become vectors
 * over all axes:
 *
 *     slice(x, starts, ends, axes, steps)  ==>  slice(x, s, e, all, t)     s = scatter(zeros[r], axes, starts), ...
 *     pad(x, pads, value, axes)            ==>  pad(x, [b, e], value)      b = scatter(zeros[r], axes, pads[:n]), ...
 *     squeeze(x, axes)                     ==>  reshape(x, dims of x where scatter(ones[r], axes, 0) is 1)
 *     unsqueeze(x, axes)                   ==>  reshape(x, 1 where scatter(zeros[r + n], axes, 1) is 1, else the next dim of x)
 *     reduce(x, axes)                      ==>  reduce_axes(x, axes) */
#include "onnx/dynamic.h"

#include "onnx/express.h"

/* base with v at the axes (operand `axes`). */
static IrValueId spread(OnnxX *x, int32_t rank, int64_t base, uint32_t axes, IrValueId v) {
    int64_t fill[TN_MAX_RANK];
    for (int32_t i = 0; i < rank; i++)
        fill[i] = base;
    return tni_x_scatter(x, tni_x_ints(x, fill, (uint32_t)rank), tni_x_cast(x, tni_onnx_in(x->c, axes), TN_I64), tni_x_cast(x, v, TN_I64));
}

bool tni_onnx_axes_computed(const OnnxCall *c, uint32_t operand) {
    TnTensor t;
    return tni_onnx_has(c, operand) && !tni_onnx_in_const(c, operand, &t);
}

TnStatus tni_onnx_dynamic_slice(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    IrValueId in[5] = {c->in[0], TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE};
    in[1] = spread(&x, rank, 0, 3, c->in[1]);
    in[2] = spread(&x, rank, INT64_MAX, 3, c->in[2]);
    if (tni_onnx_has(c, 4))
        in[4] = spread(&x, rank, 1, 3, c->in[4]);
    return x.st != TN_OK ? x.st : tni_onnx_emit(c, TN_OP_slice, NULL, in, 5);
}

TnStatus tni_onnx_dynamic_pad(OnnxCall *c, const TnPadParams *p) {
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    int64_t zero = 0, end = INT64_MAX;
    IrValueId n = tni_x_dim(&x, c->in[3], 0), both[2];
    both[0] = spread(&x, rank, 0, 3, tni_x_slice(&x, c->in[1], 0, tni_x_ints(&x, &zero, 1), n));
    both[1] = spread(&x, rank, 0, 3, tni_x_slice(&x, c->in[1], 0, n, tni_x_ints(&x, &end, 1)));
    IrValueId in[3] = {c->in[0], tni_x_concat(&x, both, 2, 0), tni_onnx_in(c, 2)};
    return x.st != TN_OK ? x.st : tni_onnx_emit(c, TN_OP_pad, p, in, 3);
}

/* Number of axes in operand 1. */
static TnStatus count_axes(OnnxCall *c, int32_t *n) {
    *n = tni_onnx_in_known(c, 1).len;
    if (*n < 0)
        return ONNX_UNSUPPORTED(c, "operand 1 (axes) is computed at run time, and not even the number of axes is known");
    return TN_OK;
}

static TnStatus emit_reshape(OnnxX *x, IrValueId shape) {
    TnReshapeParams p;
    memset(&p, 0, sizeof p);
    p.kind = TN_RESHAPE_SHAPE;
    IrValueId in[2] = {x->c->in[0], shape};
    return x->st != TN_OK ? x->st : tni_onnx_emit(x->c, TN_OP_reshape, &p, in, 2);
}

TnStatus tni_onnx_dynamic_squeeze(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t n = 0, rank = tni_x_need_rank(&x, 0);
    TN_TRY(x.st);
    TN_TRY(count_axes(c, &n));
    if (n > rank)
        return ONNX_BAD(c, "has %d axes for an operand of rank %d", n, rank);
    /* The largest are the ones that stay; of equals topk takes the lower index first, so they keep their order. */
    int64_t left = rank - n, length = n;
    IrValueId stay = spread(&x, rank, 1, 1, tni_x_fill(&x, tni_x_ints(&x, &length, 1), TN_I64, 0)), top[2];
    TnTopkParams p = {.axis = 0, .largest = 1};
    IrValueId in[2] = {stay, tni_x_ints(&x, &left, 1)};
    tni_x_op_n(&x, TN_OP_topk, &p, in, 2, top, 2);
    return emit_reshape(&x, tni_x_gather(&x, tni_x_shape(&x, c->in[0]), top[1], 0));
}

TnStatus tni_onnx_dynamic_unsqueeze(OnnxCall *c) {
    OnnxX x = {.c = c};
    int32_t n = 0, rank = tni_x_need_rank(&x, 0);
    TN_TRY(x.st);
    TN_TRY(count_axes(c, &n));
    if (n + rank > TN_MAX_RANK)
        return ONNX_UNSUPPORTED(c, "the result would have rank %d; the most is %d", n + rank, TN_MAX_RANK);
    int64_t length = n, ones[TN_MAX_RANK] = {1, 1, 1, 1, 1, 1, 1, 1};
    if (rank == 0)
        return emit_reshape(&x, tni_x_ints(&x, ones, (uint32_t)n));
    IrValueId one = tni_x_int(&x, 1), zero = tni_x_int(&x, 0);
    IrValueId added = spread(&x, rank + n, 0, 1, tni_x_fill(&x, tni_x_ints(&x, &length, 1), TN_I64, 1));
    IrValueId sum[2] = {tni_x_binary(&x, TN_BINARY_sub, one, added), zero};
    TnCumsumParams plain = {.exclusive = 0, .reverse = 0};
    IrValueId place = tni_x_binary(&x, TN_BINARY_sub, tni_x_op(&x, TN_OP_cumsum, &plain, sum, 2), one);
    IrValueId old = tni_x_gather(&x, tni_x_shape(&x, c->in[0]), tni_x_binary(&x, TN_BINARY_max, place, zero), 0);
    return emit_reshape(&x, tni_x_where(&x, tni_x_binary(&x, TN_BINARY_equal, added, one), one, old));
}

TnStatus tni_onnx_dynamic_reduce(OnnxCall *c, uint32_t fn, bool keepdims, bool noop) {
    TnReduceAxesParams p = {.fn = fn, .keepdims = keepdims, .noop = noop};
    return tni_onnx_emit(c, TN_OP_reduce_axes, &p, c->in, 2);
}
