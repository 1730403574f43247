/* SPDX-License-Identifier: Apache-2.0
 *
 * Cases of conv, pool and resize: 1 to 3 spatial dims, both layouts, groups, strides, dilations, every way of padding and of coordinates.
 */
#include <math.h>

#include "kernels/checkkern.h"

/* Output size of a window, or 0 when it does not fit. */
static int64_t window_out(int64_t in, int64_t kernel, int64_t stride, int64_t dilation, int64_t before, int64_t after, bool ceil_mode) {
    int64_t room = in + before + after - ((kernel - 1) * dilation + 1);
    if (room < 0)
        return 0;
    int64_t out = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    return ceil_mode && (out - 1) * stride >= in + before ? out - 1 : out; /* no window may begin in the padding behind */
}

/* [B, C, spatial] in the layout asked for. */
static int32_t place_dims(bool last, int64_t b, int64_t ch, uint32_t n, const int64_t *spatial, int64_t *dims) {
    dims[0] = b;
    dims[last ? n + 1 : 1] = ch;
    for (uint32_t d = 0; d < n; d++)
        dims[(last ? 1 : 2) + d] = spatial[d];
    return (int32_t)n + 2;
}

/* ---- conv ---- */
static bool bench_conv(Case *c, TnConvParams *p) {
    static const struct {
        int64_t ch, size, m, kernel, stride, group;
        uint32_t last;
    } shapes[] = {{3, 224, 64, 4, 4, 1, 0}, {3, 384, 192, 16, 16, 1, 0},  {64, 56, 64, 3, 1, 64, 0}, {64, 56, 64, 5, 1, 64, 0},
                  {64, 56, 64, 1, 1, 1, 0}, {320, 14, 320, 3, 1, 320, 1}, {64, 56, 256, 1, 1, 1, 1}, {64, 56, 64, 3, 1, 1, 0},
                  {64, 56, 64, 3, 1, 1, 1},   {512, 16, 512, 3, 1, 1, 0},    {512, 16, 512, 3, 1, 1, 1}};
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t ch = shapes[c->k].ch, m = shapes[c->k].m, k = shapes[c->k].kernel, g = shapes[c->k].group, size = shapes[c->k].size;
    int64_t dims[4], pad = shapes[c->k].stride == 1 ? k / 2 : 0, out = window_out(size, k, shapes[c->k].stride, 1, pad, pad, false);
    p->n_spatial = 2;
    p->group = (uint32_t)g;
    p->channels_last = shapes[c->k].last;
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = (int32_t)k;
        p->stride[d] = (int32_t)shapes[c->k].stride;
        p->dilation[d] = 1;
        p->pads[d] = p->pads[2 + d] = (int32_t)pad;
    }
    ck_in(c, TN_F32, place_dims(p->channels_last != 0, 1, ch, 2, DIMS(size, size), dims), dims, FILL_NORMAL);
    ck_const(c, TN_F32, 4, DIMS(m, ch / g, k, k), FILL_NORMAL);
    ck_const(c, TN_F32, 1, DIMS(m), FILL_NORMAL);
    ck_out(c, TN_F32, place_dims(p->channels_last != 0, 1, m, 2, DIMS(out, out), dims), dims);
    ck_say(c, "%lldx%lld^2 k%lld s%d m%lld g%lld %s", (long long)ch, (long long)size, (long long)k, (int)p->stride[0], (long long)m,
           (long long)g, p->channels_last != 0 ? "last" : "first");
    return true;
}

/* Kernel, strides and pads of one spatial dim; returns the output size. */
static int64_t conv_dim(Case *c, TnConvParams *p, uint32_t d, int64_t in) {
    const uint32_t n = p->n_spatial;
    p->kernel[d] = (int32_t)CK_PICK(c, 1, 1, 2, 3, 3, 5);
    p->stride[d] = (int32_t)CK_PICK(c, 1, 1, 2, 3);
    p->dilation[d] = (int32_t)CK_PICK(c, 1, 1, 1, 2);
    if (p->auto_pad == TN_PAD_EXPLICIT) {
        p->pads[d] = (int32_t)ck_range(c, 0, 3);
        p->pads[n + d] = (int32_t)ck_range(c, 0, 3);
    }
    if (p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER)
        return (in + p->stride[d] - 1) / p->stride[d];
    int64_t out = window_out(in, p->kernel[d], p->stride[d], p->dilation[d], p->pads[d], p->pads[n + d], false);
    if (out > 0)
        return out;
    p->kernel[d] = p->dilation[d] = 1;
    return window_out(in, 1, p->stride[d], 1, p->pads[d], p->pads[n + d], false);
}

/* Forms of models: patches that do not overlap, 1 x 1, 3 x 3, depthwise; channels in eights. */
static bool model_conv(Case *c, TnConvParams *p) {
    if (c->k >= 300)
        return false;
    enum { PATCH, POINT, DENSE, DEPTHWISE } form = c->k % 4;
    const int64_t k = form == PATCH   ? CK_PICK(c, 2, 4, 8, 16)
                      : form == POINT ? 1
                      : form == DENSE ? 3
                                      : CK_PICK(c, 3, 3, 5, 7),
                  b = ck_range(c, 1, 3);
    const int64_t stride = form == PATCH ? k : form == POINT ? 1 : CK_PICK(c, 1, 1, 2), pad = form == PATCH ? 0 : k / 2;
    const int64_t ch = form == PATCH ? CK_PICK(c, 1, 3, 8, 64) : 8 * ck_range(c, 1, form == DENSE ? 12 : 40),
                  m = form == DEPTHWISE ? ch : 8 * ck_range(c, 1, 20);
    const int64_t most = form == DEPTHWISE && c->k % 16 == 7 ? 90 : 30; /* enough for kernels that want many outputs */
    const int64_t over = form == PATCH && c->k % 3 == 0 ? ck_range(c, 0, k - 1) : 0; /* what no window covers */
    const int64_t h = form == PATCH ? k * ck_range(c, 1, 6) + over : ck_range(c, most == 90 ? 60 : 1, most),
                  w = form == PATCH ? k * ck_range(c, 1, 6) + over / 8 * 8 : ck_range(c, most == 90 ? 60 : 1, most);
    const int64_t oh = window_out(h, k, stride, 1, pad, pad, false), ow = window_out(w, k, stride, 1, pad, pad, false);
    int64_t dims[4];
    c->place = c->k % 16 == 0 ? PLACE_SHIFTED : PLACE_ALIGNED;
    p->n_spatial = 2;
    p->group = form == DEPTHWISE ? (uint32_t)ch : 1;
    p->channels_last = form != PATCH || ck_coin(c);
    p->act = (uint32_t)CK_PICK(c, TN_ACT_NONE, TN_ACT_NONE, TN_ACT_GELU, TN_ACT_RELU);
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = (int32_t)k;
        p->stride[d] = (int32_t)stride;
        p->dilation[d] = 1;
        p->pads[d] = p->pads[2 + d] = (int32_t)pad;
    }
    const bool last = p->channels_last != 0;
    ck_in(c, TN_F32, place_dims(last, b, ch, 2, DIMS(h, w), dims), dims, FILL_NORMAL);
    TnTensor *t = ck_const(c, TN_F32, 4, DIMS(m, form == DEPTHWISE ? 1 : ch, k, k), FILL_NORMAL);
    for (int64_t i = 0, n = tn_tensor_numel(t); i < n; i++)
        ((float *)t->data)[i] /= sqrtf((float)(n / m));
    if (ck_coin(c))
        ck_const(c, TN_F32, 1, &m, FILL_NORMAL);
    else
        ck_absent(c);
    if (ck_rand(c) % 3 == 0)
        ck_in(c, TN_F32, place_dims(last, b, m, 2, DIMS(oh, ow), dims), dims, FILL_NORMAL);
    ck_out(c, TN_F32, place_dims(last, b, m, 2, DIMS(oh, ow), dims), dims);
    ck_say(c, "%s ch %lld m %lld kernel %lld stride %lld %s act %s",
           form == PATCH       ? "patch"
           : form == DEPTHWISE ? "depthwise"
                               : "dense",
           (long long)ch, (long long)m, (long long)k, (long long)stride, last ? "last" : "first", tni_act_name(p->act));
    return true;
}

bool case_conv(Case *c) {
    TnConvParams *p = ck_params(c, sizeof *p);
    int64_t spatial[3], out[3], dims[TN_MAX_RANK];
    if (c->bench)
        return bench_conv(c, p);
    if (c->k >= 200)
        return ck_for_devices && model_conv(c, p);
    p->n_spatial = (uint32_t)CK_PICK(c, 1, 2, 2, 2, 2);
    p->channels_last = ck_coin(c);
    p->auto_pad = (uint32_t)CK_PICK(c, 0, 0, 0, 1, 2, 3);
    bool depthwise = c->k % 3 == 0;
    int64_t groups = depthwise ? ck_size(c, 70) : CK_PICK(c, 1, 1, 2, 3), cg = depthwise ? 1 : ck_size(c, 40), b = ck_range(c, 1, 3);
    int64_t mg = depthwise ? (c->k % 4 == 0 ? ck_range(c, 1, 3) : 1) : ck_size(c, 40);
    p->group = (uint32_t)groups;
    for (uint32_t d = 0; d < p->n_spatial; d++) {
        spatial[d] = ck_size(c, p->n_spatial == 1 ? 90 : 24);
        out[d] = conv_dim(c, p, d, spatial[d]);
    }
    p->act = (uint32_t)(ck_coin(c) ? 0 : ck_range(c, 0, TN_ACT_COUNT - 1));
    p->act_alpha = p->act == TN_ACT_CLIP ? -1.0f : 0.1f;
    p->act_beta = 2.0f;
    bool last = p->channels_last != 0;
    ck_in(c, TN_F32, place_dims(last, b, groups * cg, p->n_spatial, spatial, dims), dims, FILL_NORMAL);
    dims[0] = groups * mg;
    dims[1] = cg;
    for (uint32_t d = 0; d < p->n_spatial; d++)
        dims[2 + d] = p->kernel[d];
    TnTensor *w = ck_in(c, TN_F32, (int32_t)p->n_spatial + 2, dims, FILL_NORMAL);
    const int64_t weights = tn_tensor_numel(w);
    for (int64_t i = 0; i < weights; i++) /* as in models: sums of about 1, which activations do not flatten */
        ((float *)w->data)[i] /= sqrtf((float)(weights / dims[0]));
    if (ck_rand(c) % 4 != 0)
        ck_last_constant(c);
    const int64_t m = groups * mg;
    bool residual = ck_rand(c) % 3 == 0;
    if (residual || ck_coin(c)) {
        if (ck_rand(c) % 3 == 0)
            ck_absent(c);
        else
            ck_in(c, TN_F32, 1, &m, FILL_NORMAL);
    }
    int32_t rank = place_dims(last, b, m, p->n_spatial, out, dims);
    if (residual)
        ck_in(c, TN_F32, rank, dims, FILL_NORMAL);
    ck_out(c, TN_F32, rank, dims);
    ck_say(c, "%s groups %lld cg %lld mg %lld kernel %d,%d stride %d,%d dilation %d,%d pads %d,%d,%d,%d auto %u act %s",
           last ? "last" : "first", (long long)groups, (long long)cg, (long long)mg, p->kernel[0], p->kernel[1], p->stride[0], p->stride[1],
           p->dilation[0], p->dilation[1], p->pads[0], p->pads[1], p->pads[2], p->pads[3], p->auto_pad, tni_act_name(p->act));
    return true;
}

/* ---- conv_integer ---- */
static TnTensor *byte_operand(Case *c, TnDtype t, int32_t rank, const int64_t *dims, bool ends) {
    TnTensor *x = ck_in(c, t, rank, dims, FILL_WIDE);
    for (int64_t i = 0; ends && x->data != NULL && i < tn_tensor_numel(x); i++)
        ((uint8_t *)x->data)[i] = ck_rand(c) % 8 == 0 ? (t == TN_I8 ? 127 : 0) : t == TN_I8 ? 0x80 : 0xff;
    return x;
}

static bool bench_conv_integer(Case *c, TnConvParams *p) {
    static const int64_t shapes[][4] = {{64, 64, 3, 56}, {256, 256, 3, 14}, {64, 256, 1, 56}, {2048, 512, 1, 7}}; /* in, out, kernel, size */
    if (c->k >= TN_COUNT(shapes))
        return false;
    const int64_t *s = shapes[c->k];
    p->n_spatial = 2;
    p->group = 1;
    for (int d = 0; d < 2; d++) {
        p->kernel[d] = (int32_t)s[2];
        p->stride[d] = p->dilation[d] = 1;
        p->pads[d] = p->pads[d + 2] = (int32_t)s[2] / 2;
    }
    ck_in(c, TN_U8, 4, DIMS(1, s[0], s[3], s[3]), FILL_WIDE);
    ck_const(c, TN_I8, 4, DIMS(s[1], s[0], s[2], s[2]), FILL_WIDE);
    ck_ints(c, TN_U8, 0, NULL, 0, 255);
    ck_out(c, TN_I32, 4, DIMS(1, s[1], s[3], s[3]));
    ck_say(c, "%lld -> %lld, kernel %lld, size %lld", (long long)s[0], (long long)s[1], (long long)s[2], (long long)s[3]);
    return true;
}

bool case_conv_integer(Case *c) {
    TnConvParams *p = ck_params(c, sizeof *p);
    int64_t spatial[3], out[3], dims[TN_MAX_RANK];
    if (c->bench)
        return bench_conv_integer(c, p);
    if (c->k >= 160)
        return false;
    const TnDtype tx = c->k % 2 == 0 ? TN_U8 : TN_I8, tw = c->k / 2 % 2 == 0 ? TN_I8 : TN_U8;
    const bool ends = c->k % 5 == 4, depthwise = c->k % 7 == 3;
    p->n_spatial = (uint32_t)CK_PICK(c, 1, 2, 2, 2, 2);
    p->auto_pad = (uint32_t)CK_PICK(c, 0, 0, 0, 1, 2, 3);
    const int64_t groups = depthwise ? ck_size(c, 20) : CK_PICK(c, 1, 1, 2, 3), cg = depthwise ? 1 : ck_size(c, 30), b = ck_range(c, 1, 2);
    const int64_t mg = depthwise ? 1 : ck_size(c, 40), m = groups * mg;
    p->group = (uint32_t)groups;
    for (uint32_t d = 0; d < p->n_spatial; d++) {
        spatial[d] = ck_size(c, p->n_spatial == 1 ? 90 : 24);
        out[d] = conv_dim(c, p, d, spatial[d]);
    }
    const int32_t rank = place_dims(false, b, groups * cg, p->n_spatial, spatial, dims);
    byte_operand(c, tx, rank, dims, ends);
    dims[0] = m;
    dims[1] = cg;
    for (uint32_t d = 0; d < p->n_spatial; d++)
        dims[2 + d] = p->kernel[d];
    byte_operand(c, tw, rank, dims, ends);
    if (ck_rand(c) % 3 != 0)
        ck_last_constant(c);
    const bool zw = ck_coin(c);
    if (ck_rand(c) % 3 != 0)
        ck_ints(c, tx, ck_coin(c) ? 1 : 0, DIMS(1), tx == TN_I8 ? -128 : 0, tx == TN_I8 ? 127 : 255);
    else if (zw)
        ck_absent(c);
    if (zw)
        ck_ints(c, tw, ck_coin(c) ? 1 : 0, &m, tw == TN_I8 ? -128 : 0, tw == TN_I8 ? 127 : 255);
    ck_out(c, TN_I32, place_dims(false, b, m, p->n_spatial, out, dims), dims);
    ck_say(c, "%s x %s%s groups %lld cg %lld mg %lld kernel %d,%d stride %d,%d dilation %d,%d auto %u%s", tn_dtype_name(tx), tn_dtype_name(tw),
           ends ? " ends" : "", (long long)groups, (long long)cg, (long long)mg, p->kernel[0], p->kernel[1], p->stride[0], p->stride[1],
           p->dilation[0], p->dilation[1], p->auto_pad, zw ? ", zero points of w" : "");
    return true;
}

/* ---- pool ---- */
bool case_pool(Case *c) {
    TnPoolParams *p = ck_params(c, sizeof *p);
    int64_t spatial[3], out[3], dims[TN_MAX_RANK];
    if (c->bench ? c->k >= 3 : c->k >= 120)
        return false;
    p->kind = ck_coin(c) ? TN_POOL_MAX : TN_POOL_AVG;
    p->n_spatial = c->bench ? 2 : (uint32_t)ck_range(c, 1, 3);
    p->global = c->bench ? c->k == 1 : ck_rand(c) % 4 == 0;
    p->channels_last = c->bench ? c->k == 2 : ck_coin(c);
    p->auto_pad = c->bench ? 0 : (uint32_t)CK_PICK(c, 0, 0, 0, 1, 2, 3);
    p->ceil_mode = p->auto_pad == TN_PAD_EXPLICIT && ck_coin(c);
    p->count_include_pad = ck_coin(c);
    const uint32_t n = p->n_spatial;
    for (uint32_t d = 0; d < n; d++) {
        spatial[d] = c->bench ? 112 : ck_size(c, n == 1 ? 90 : n == 2 ? 24 : 9);
        p->kernel[d] = c->bench ? 3 : (int32_t)ck_range(c, 1, 4);
        p->stride[d] = c->bench ? 2 : (int32_t)ck_range(c, 1, 3);
        p->dilation[d] = c->bench ? 1 : (int32_t)CK_PICK(c, 1, 1, 2);
        if (p->auto_pad == TN_PAD_EXPLICIT) {
            p->pads[d] = (int32_t)ck_range(c, 0, p->kernel[d] - 1);
            p->pads[n + d] = (int32_t)ck_range(c, 0, p->kernel[d] - 1);
        }
        if (p->global != 0) {
            out[d] = 1;
            continue;
        }
        bool same = p->auto_pad == TN_PAD_SAME_UPPER || p->auto_pad == TN_PAD_SAME_LOWER;
        out[d] = same ? (spatial[d] + p->stride[d] - 1) / p->stride[d]
                      : window_out(spatial[d], p->kernel[d], p->stride[d], p->dilation[d], p->pads[d], p->pads[n + d], p->ceil_mode != 0);
        if (out[d] < 1) {
            p->kernel[d] = p->dilation[d] = 1;
            p->pads[d] = p->pads[n + d] = 0;
            out[d] = window_out(spatial[d], 1, p->stride[d], 1, 0, 0, p->ceil_mode != 0);
        }
    }
    const int64_t b = c->bench ? 1 : ck_range(c, 0, 3), ch = c->bench ? 64 : ck_size(c, 150);
    bool last = p->channels_last != 0;
    ck_in(c, TN_F32, place_dims(last, b, ch, n, spatial, dims), dims, c->k % 5 == 4 && p->kind == TN_POOL_MAX ? FILL_SPECIAL : FILL_NORMAL);
    for (int64_t i = 0; i < tn_tensor_numel(&c->in[0]); i++)
        ((float *)c->in[0].data)[i] += p->kind == TN_POOL_AVG ? 0.5f : 0.0f; /* means that cancel have no digits to compare */
    ck_out(c, TN_F32, place_dims(last, b, ch, n, out, dims), dims);
    ck_say(c, "%s %s%s kernel %d,%d,%d stride %d,%d,%d dilation %d,%d,%d pads %d,%d,%d,%d,%d,%d auto %u ceil %u include %u",
           p->kind == TN_POOL_MAX ? "max" : "average", p->global != 0 ? "global " : "", last ? "last" : "first", p->kernel[0], p->kernel[1],
           p->kernel[2], p->stride[0], p->stride[1], p->stride[2], p->dilation[0], p->dilation[1], p->dilation[2], p->pads[0], p->pads[1],
           p->pads[2], p->pads[3], p->pads[4], p->pads[5], p->auto_pad, p->ceil_mode, p->count_include_pad);
    return true;
}

/* ---- resize ---- */
bool case_resize(Case *c) {
    TnResizeParams *p = ck_params(c, sizeof *p);
    int64_t dims[4], out[4];
    float scales[4];
    if (c->bench ? c->k >= 2 : c->k >= 150)
        return false;
    p->mode = c->bench ? c->k : (uint32_t)ck_range(c, 0, 2);
    p->coord = c->bench ? 0 : (uint32_t)ck_range(c, 0, TN_COORD_ASYMMETRIC);
    p->nearest = (uint32_t)ck_range(c, 0, 3);
    p->cubic_a = ck_coin(c) ? -0.75f : -0.5f;
    p->exclude_outside = !c->bench && ck_rand(c) % 3 == 0;
    const bool last = !c->bench && ck_rand(c) % 3 == 0, by_scale = !c->bench && ck_coin(c);
    p->antialias = !by_scale && !c->bench && p->mode != TN_RESIZE_NEAREST && ck_rand(c) % 3 == 0;
    const int h = last ? 1 : 2;
    for (int d = 0; d < 4; d++) {
        bool spatial = d == h || d == h + 1;
        dims[d] = c->bench ? (d == 0 ? 1 : d == 1 ? 64 : 56) : spatial ? ck_size(c, 40) : ck_range(c, 1, d == 0 ? 2 : 20);
        out[d] = dims[d];
        scales[d] = 1.0f;
        if (spatial && by_scale) {
            scales[d] = (float)(0.3 + 2.5 * ck_unit(c));
            out[d] = (int64_t)((double)scales[d] * (double)dims[d]);
            if (out[d] == 0) {
                scales[d] = 1.0f;
                out[d] = dims[d];
            }
        } else if (spatial) {
            out[d] = c->bench ? dims[d] * 2 : ck_size(c, 60);
        }
    }
    TnDtype t = p->mode == TN_RESIZE_NEAREST && !c->bench ? (TnDtype)CK_PICK(c, TN_F32, TN_F32, TN_U8, TN_I64, TN_F16) : TN_F32;
    ck_in(c, t, 4, dims, FILL_NORMAL);
    ck_absent(c);
    if (by_scale) {
        TnTensor *s = ck_in(c, TN_F32, 1, DIMS(4), FILL_NORMAL);
        memcpy(s->data, scales, sizeof scales);
        ck_last_constant(c);
    } else {
        ck_absent(c);
        ck_values(c, TN_I64, 4, out);
    }
    ck_out(c, t, 4, out);
    ck_say(c, "mode %u coord %u nearest %u exclude %u antialias %u %s", p->mode, p->coord, p->nearest, p->exclude_outside, p->antialias,
           by_scale ? "by scale" : "by size");
    return true;
}
