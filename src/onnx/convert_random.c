/* SPDX-License-Identifier: Apache-2.0
 *
 * Random numbers. The same model gives the same numbers in every run: with the attribute `seed` by its bits, without one by the node's
 * name, so that two nodes differ. (ONNX leaves the generator open; the numbers of other runtimes are others.)
 *
 *     Bernoulli   = cast(uniform < p)
 *     Multinomial = number of c with sum(softmax(x)[0..c]) <= uniform, for every sample */
#include "onnx/express.h"

/* Seed and type. */
static TnStatus random_params(OnnxCall *c, TnRandomKind kind, TnDtype t, TnRandomParams *p) {
    float seed = 0;
    memset(p, 0, sizeof *p);
    p->kind = kind;
    p->dtype = t;
    p->b = 1;
    TN_TRY(tni_onnx_attr_f32(c, "seed", &seed));
    uint64_t s = tni_hash(c->name, strlen(c->name), 0x7465);
    if (tni_onnx_has_attr(c, "seed")) {
        uint32_t bits = 0;
        memcpy(&bits, &seed, sizeof bits);
        s = bits;
    }
    p->seed_low = (uint32_t)s;
    p->seed_high = (uint32_t)(s >> 32);
    return TN_OK;
}

/* The distribution's own attributes. */
static TnStatus spread(OnnxCall *c, TnRandomParams *p) {
    bool normal = p->kind == TN_RANDOM_NORMAL;
    TN_TRY(tni_onnx_attr_f32(c, normal ? "mean" : "low", &p->a));
    TN_TRY(tni_onnx_attr_f32(c, normal ? "scale" : "high", &p->b));
    if (!normal && !(p->a <= p->b))
        return ONNX_BAD(c, "attributes 'low' and 'high' are %g and %g", (double)p->a, (double)p->b);
    return TN_OK;
}

/* c->arg: TnRandomKind. */
TnStatus tni_onnx_convert_random(OnnxCall *c) {
    TnRandomParams p;
    const int64_t *dims = NULL;
    uint32_t n = 0;
    TN_TRY(random_params(c, (TnRandomKind)c->arg, TN_F32, &p));
    TN_TRY(tni_onnx_attr_dtype(c, "dtype", &p.dtype));
    TN_TRY(spread(c, &p));
    TN_TRY(tni_onnx_attr_ints(c, "shape", &dims, &n));
    if (!tni_onnx_has_attr(c, "shape") || n > TN_MAX_RANK)
        return ONNX_BAD(c, "attribute 'shape' is required, at most %d numbers", TN_MAX_RANK);
    OnnxX x = {.c = c};
    IrValueId shape = tni_x_ints(&x, dims, n);
    return tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_random, &p, &shape, 1));
}

TnStatus tni_onnx_convert_random_like(OnnxCall *c) {
    TnRandomParams p;
    OnnxX x = {.c = c};
    TN_TRY(random_params(c, (TnRandomKind)c->arg, TN_UNDEFINED, &p));
    TN_TRY(tni_onnx_attr_dtype(c, "dtype", &p.dtype));
    if (p.dtype == TN_UNDEFINED)
        p.dtype = tni_x_need_dtype(&x, 0);
    TN_TRY(spread(c, &p));
    IrValueId shape = tni_x_shape(&x, c->in[0]);
    return tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_random, &p, &shape, 1));
}

TnStatus tni_onnx_convert_bernoulli(OnnxCall *c) {
    TnRandomParams p;
    OnnxX x = {.c = c};
    TnDtype t = tni_x_need_dtype(&x, 0);
    uint32_t to = t;
    TN_TRY(x.st);
    TN_TRY(random_params(c, TN_RANDOM_UNIFORM, t, &p));
    TN_TRY(tni_onnx_attr_dtype(c, "dtype", &to));
    IrValueId shape = tni_x_shape(&x, c->in[0]), u = tni_x_op(&x, TN_OP_random, &p, &shape, 1);
    return tni_x_finish(&x, 0, tni_x_cast(&x, tni_x_binary(&x, TN_BINARY_less, u, c->in[0]), (TnDtype)to));
}

TnStatus tni_onnx_convert_multinomial(OnnxCall *c) {
    TnRandomParams p;
    int32_t samples = 1, last[1] = {2};
    uint32_t to = TN_I32;
    TN_TRY(random_params(c, TN_RANDOM_UNIFORM, TN_F32, &p));
    TN_TRY(tni_onnx_attr_i32(c, "sample_size", 1, INT32_MAX, &samples));
    TN_TRY(tni_onnx_attr_dtype(c, "dtype", &to));
    OnnxX x = {.c = c};
    int64_t n = samples;
    IrValueId dims[2] = {tni_x_dim(&x, c->in[0], 0), tni_x_ints(&x, &n, 1)}, shape = tni_x_concat(&x, dims, 2, 0);
    IrValueId u = tni_x_unsqueeze(&x, tni_x_op(&x, TN_OP_random, &p, &shape, 1), 2);
    TnCumsumParams sums = {.exclusive = 0, .reverse = 0};
    IrValueId in[2] = {tni_x_softmax(&x, tni_x_cast(&x, c->in[0], TN_F32), 1, false), tni_x_int(&x, 1)};
    IrValueId steps = tni_x_op(&x, TN_OP_cumsum, &sums, in, 2), count = tni_x_dim_scalar(&x, c->in[0], 1);
    IrValueId passed = tni_x_cast(&x, tni_x_binary(&x, TN_BINARY_less_equal, tni_x_unsqueeze(&x, steps, 1), u), TN_I64);
    IrValueId y = tni_x_reduce(&x, TN_REDUCE_sum, passed, last, 1, false);
    y = tni_x_binary(&x, TN_BINARY_min, y, tni_x_binary(&x, TN_BINARY_sub, count, tni_x_int(&x, 1)));
    return tni_x_finish(&x, 0, tni_x_cast(&x, y, (TnDtype)to));
}
