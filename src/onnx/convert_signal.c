/* SPDX-License-Identifier: Apache-2.0
 *
 * Signals: windows, Fourier transforms, mel weights. What does not depend on data is computed in float64 and rounded once. */
#include "onnx/express.h"

#define PI 3.14159265358979323846

/* c->arg: 0 Hann, 1 Hamming, 2 Blackman: a0 - a1 cos(2 pi n / N) + a2 cos(4 pi n / N), N = size or size - 1. */
TnStatus tni_onnx_convert_window(OnnxCall *c) {
    static const double coefficients[3][3] = {{0.5, 0.5, 0}, {25.0 / 46.0, 1.0 - 25.0 / 46.0, 0}, {0.42, 0.5, 0.08}};
    const double *a = coefficients[c->arg];
    uint32_t periodic = 1, t = TN_F32;
    TN_TRY(tni_onnx_attr_bool(c, "periodic", &periodic));
    TN_TRY(tni_onnx_attr_dtype(c, "output_datatype", &t));
    OnnxX x = {.c = c};
    IrValueId size = tni_x_reshape_to(&x, tni_x_cast(&x, c->in[0], TN_I64), NULL, 0), n = tni_x_cast(&x, tni_x_count(&x, size), TN_F64);
    IrValueId turns = tni_x_cast(&x, periodic ? size : tni_x_binary(&x, TN_BINARY_sub, size, tni_x_int(&x, 1)), TN_F64);
    IrValueId angle = tni_x_binary(&x, TN_BINARY_div, tni_x_binary(&x, TN_BINARY_mul, n, tni_x_number(&x, TN_F64, 2 * PI)), turns);
    IrValueId y = tni_x_binary(&x, TN_BINARY_mul, tni_x_unary(&x, TN_UNARY_cos, angle), tni_x_number(&x, TN_F64, -a[1]));
    y = tni_x_binary(&x, TN_BINARY_add, y, tni_x_number(&x, TN_F64, a[0]));
    if (a[2] != 0) {
        IrValueId twice = tni_x_unary(&x, TN_UNARY_cos, tni_x_binary(&x, TN_BINARY_add, angle, angle));
        y = tni_x_binary(&x, TN_BINARY_add, y, tni_x_binary(&x, TN_BINARY_mul, twice, tni_x_number(&x, TN_F64, a[2])));
    }
    return tni_x_finish(&x, 0, tni_x_cast(&x, y, (TnDtype)t));
}

/* Before opset 20 the axis is an attribute, 1 by default; then operand 2, the last but one by default. */
TnStatus tni_onnx_convert_dft(OnnxCall *c) {
    TnDftParams p = {.axis = c->opset < 20 ? 1 : -2, .inverse = 0, .onesided = 0};
    TN_TRY(tni_onnx_attr_bool(c, "inverse", &p.inverse));
    TN_TRY(tni_onnx_attr_bool(c, "onesided", &p.onesided));
    if (c->opset < 20)
        TN_TRY(tni_onnx_attr_axis(c, "axis", &p.axis));
    IrValueId in[3] = {c->in[0], tni_onnx_in(c, 1), tni_onnx_in(c, 2)};
    TnTensor t;
    if (tni_onnx_has(c, 2) && tni_onnx_in_const(c, 2, &t)) {
        int64_t axis[1];
        uint32_t n = 0;
        TN_TRY(tni_onnx_in_ints(c, 2, "axis", axis, 1, &n));
        if (n != 1 || axis[0] < -TN_MAX_RANK || axis[0] >= TN_MAX_RANK)
            return ONNX_BAD(c, "operand 2 (axis) must be one axis");
        p.axis = (int32_t)axis[0];
        in[2] = TN_NO_VALUE;
    }
    return tni_onnx_emit(c, TN_OP_dft, &p, in, 3);
}

/* in: signal [B, L, 1 or 2], frame_step, window [F] (optional), frame_length (optional: F).
 * frames = signal[:, i * step + j] for i < 1 + (L - F) / step, j < F; y = dft(frames * window) along j: [B, frames, bins, 2]. */
TnStatus tni_onnx_convert_stft(OnnxCall *c) {
    uint32_t onesided = 1;
    TN_TRY(tni_onnx_attr_bool(c, "onesided", &onesided));
    if (!tni_onnx_has(c, 2) && !tni_onnx_has(c, 3))
        return ONNX_BAD(c, "needs operand 2 (window) or operand 3 (frame_length)");
    OnnxX x = {.c = c};
    int32_t rank = tni_x_need_rank(&x, 0);
    TN_TRY(x.st);
    if (rank != 2 && rank != 3)
        return ONNX_BAD(c, "operand 0 has rank %d, expected 3", rank);
    IrValueId signal = rank == 2 ? tni_x_unsqueeze(&x, c->in[0], 2) : c->in[0];
    IrValueId step = tni_x_reshape_to(&x, tni_x_cast(&x, c->in[1], TN_I64), NULL, 0), one = tni_x_int(&x, 1), f = TN_NO_VALUE;
    if (tni_onnx_has(c, 3))
        f = tni_x_reshape_to(&x, tni_x_cast(&x, c->in[3], TN_I64), NULL, 0);
    else
        f = tni_x_dim_scalar(&x, c->in[2], 0);
    IrValueId room = tni_x_binary(&x, TN_BINARY_sub, tni_x_dim_scalar(&x, signal, 1), f);
    IrValueId n = tni_x_binary(&x, TN_BINARY_add, tni_x_binary(&x, TN_BINARY_div, room, step), one);
    IrValueId starts = tni_x_binary(&x, TN_BINARY_mul, tni_x_count(&x, n), step);
    IrValueId index = tni_x_binary(&x, TN_BINARY_add, tni_x_unsqueeze(&x, starts, 1), tni_x_count(&x, f));
    IrValueId frames = tni_x_gather(&x, signal, index, 1);
    if (tni_onnx_has(c, 2))
        frames = tni_x_binary(&x, TN_BINARY_mul, frames, tni_x_unsqueeze(&x, c->in[2], 1));
    TnDftParams p = {.axis = 2, .inverse = 0, .onesided = onesided};
    return tni_x_finish(&x, 0, tni_x_op(&x, TN_OP_dft, &p, &frames, 1));
}

static IrValueId scalar(OnnxX *x, uint32_t i, TnDtype t) {
    return tni_x_reshape_to(x, tni_x_cast(x, x->c->in[i], t), NULL, 0);
}

/* 2595 log10(1 + f / 700). */
static IrValueId to_mel(OnnxX *x, IrValueId f) {
    IrValueId one = tni_x_number(x, TN_F64, 1);
    IrValueId v = tni_x_binary(x, TN_BINARY_add, tni_x_binary(x, TN_BINARY_div, f, tni_x_number(x, TN_F64, 700)), one);
    return tni_x_binary(x, TN_BINARY_mul, tni_x_unary(x, TN_UNARY_log, v), tni_x_number(x, TN_F64, 2595 / 2.302585092994045684));
}

/* Triangles between the bins (floor((length + 1) * frequency / rate)) of num_mel + 2 frequencies that lie evenly on the mel scale:
 * rising from `left` to `centre`, falling to `right`; a triangle without a rising side is 1 at its centre. */
TnStatus tni_onnx_convert_mel_weights(OnnxCall *c) {
    uint32_t t = TN_F32;
    TN_TRY(tni_onnx_attr_dtype(c, "output_datatype", &t));
    OnnxX s = {.c = c}, *x = &s;
    IrValueId bands = scalar(x, 0, TN_I64), length = scalar(x, 1, TN_I64), rate = scalar(x, 2, TN_F64);
    IrValueId low = to_mel(x, scalar(x, 3, TN_F64)), high = to_mel(x, scalar(x, 4, TN_F64));
    IrValueId one = tni_x_int(x, 1), two = tni_x_int(x, 2), one_f = tni_x_number(x, TN_F64, 1), zero_f = tni_x_number(x, TN_F64, 0);
    IrValueId points = tni_x_binary(x, TN_BINARY_add, bands, two);
    IrValueId step = tni_x_binary(x, TN_BINARY_div, tni_x_binary(x, TN_BINARY_sub, high, low), tni_x_cast(x, points, TN_F64));
    IrValueId mel = tni_x_binary(x, TN_BINARY_mul, tni_x_cast(x, tni_x_count(x, points), TN_F64), step);
    mel = tni_x_binary(x, TN_BINARY_add, mel, low);
    IrValueId power =
        tni_x_unary(x, TN_UNARY_exp, tni_x_binary(x, TN_BINARY_mul, mel, tni_x_number(x, TN_F64, 2.302585092994045684 / 2595)));
    IrValueId hertz = tni_x_binary(x, TN_BINARY_mul, tni_x_binary(x, TN_BINARY_sub, power, one_f), tni_x_number(x, TN_F64, 700));
    IrValueId scaled = tni_x_binary(x, TN_BINARY_mul, hertz, tni_x_cast(x, tni_x_binary(x, TN_BINARY_add, length, one), TN_F64));
    IrValueId at = tni_x_unary(x, TN_UNARY_floor, tni_x_binary(x, TN_BINARY_div, scaled, rate));
    IrValueId left = tni_x_cut(x, at, 0, 0, -2), centre = tni_x_cut(x, at, 0, 1, -1), right = tni_x_cut(x, at, 0, 2, INT64_MAX);
    IrValueId bins = tni_x_binary(x, TN_BINARY_add, tni_x_binary(x, TN_BINARY_div, length, two), one);
    IrValueId j = tni_x_unsqueeze(x, tni_x_cast(x, tni_x_count(x, bins), TN_F64), 1);
    IrValueId up = tni_x_binary(x, TN_BINARY_sub, centre, left), down = tni_x_binary(x, TN_BINARY_sub, right, centre);
    IrValueId flat = tni_x_binary(x, TN_BINARY_equal, up, zero_f), sharp = tni_x_binary(x, TN_BINARY_equal, down, zero_f);
    IrValueId rising = tni_x_binary(x, TN_BINARY_div, tni_x_binary(x, TN_BINARY_sub, j, left), tni_x_where(x, flat, one_f, up));
    rising = tni_x_where(x, tni_x_binary(x, TN_BINARY_and_, flat, tni_x_binary(x, TN_BINARY_equal, j, centre)), one_f, rising);
    IrValueId in_rise = tni_x_binary(x, TN_BINARY_and_, tni_x_binary(x, TN_BINARY_greater_equal, j, left),
                                     tni_x_binary(x, TN_BINARY_less_equal, j, centre));
    IrValueId falling = tni_x_binary(x, TN_BINARY_div, tni_x_binary(x, TN_BINARY_sub, right, j), tni_x_where(x, sharp, one_f, down));
    IrValueId in_fall =
        tni_x_binary(x, TN_BINARY_and_, tni_x_binary(x, TN_BINARY_greater_equal, j, centre), tni_x_binary(x, TN_BINARY_less, j, right));
    IrValueId y = tni_x_where(x, in_fall, falling, tni_x_where(x, in_rise, rising, zero_f));
    return tni_x_finish(x, 0, tni_x_cast(x, y, (TnDtype)t));
}
