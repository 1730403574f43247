/* SPDX-License-Identifier: Apache-2.0
 *
 * Region proposals: for every place of every level anchors of three shapes, their scores and deltas; the best of each level, decoded, then
 * suppression within levels. Settings are those of the official configurations. */
#include <math.h>
#include <stdio.h>

#include "hf/detector.h"

#define PER_LEVEL 1000
#define PROPOSALS 1000
#define OVERLAP 0.7f
#define ANCHOR_SCALE 8.0f
#define RATIOS 3

static TnDim times(HfEmit *e, TnDim a, TnDim b) {
    return tni_ir_dim_op(e->m, TN_DIM_MUL, a, b);
}

/* 0, stride, 2 stride, ... as f32 of these dims. */
static IrValueId steps(HfEmit *e, const char *name, TnDim n, uint32_t stride, const int64_t *dims, int64_t rank) {
    char part[96];
    int64_t zero = 0, one = 1;
    IrValueId in[3] = {TN_NO_VALUE, TN_NO_VALUE, TN_NO_VALUE};
    TnDimsParams p = {.dtype = TN_I64, .rank = 0, .n = 1, .dim = {n}};
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 0, NULL, &zero, &in[0], e->err);
    snprintf(part, sizeof part, "%s/n", name);
    in[1] = tni_hf_node(e, TN_OP_dims, part, &p, NULL, 0);
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 0, NULL, &one, &in[2], e->err);
    snprintf(part, sizeof part, "%s/range", name);
    IrValueId v = tni_hf_node(e, TN_OP_range, part, NULL, in, 3);
    snprintf(part, sizeof part, "%s/f32", name);
    v = tni_hf_node(e, TN_OP_cast, part, &(TnCastParams){.to = TN_F32, .saturate = 1}, &v, 1);
    snprintf(part, sizeof part, "%s/pixels", name);
    v = tni_hf_binary(e, part, TN_BINARY_mul, v, tni_hf_number(e, (float)stride));
    return tni_hf_reshape_to(e, name, v, dims, rank);
}

/* All anchors of a level, [h * w * 3, 4]: around the corner of each place, heights over widths 0.5, 1 and 2. */
static IrValueId anchors(HfEmit *e, const HfLevel *l) {
    static const float ratios[RATIOS] = {0.5f, 1.0f, 2.0f};
    float base[RATIOS][4];
    for (uint32_t i = 0; i < RATIOS; i++) {
        float h = sqrtf(ratios[i]), w = 1 / h;
        w = (float)l->stride * w * ANCHOR_SCALE;
        h = (float)l->stride * h * ANCHOR_SCALE;
        base[i][0] = -0.5f * w;
        base[i][1] = -0.5f * h;
        base[i][2] = 0.5f * w;
        base[i][3] = 0.5f * h;
    }
    IrValueId x = steps(e, "x", l->w, l->stride, (int64_t[]){1, -1, 1, 1}, 4), y = steps(e, "y", l->h, l->stride, (int64_t[]){-1, 1, 1, 1}, 4);
    IrValueId on_x = tni_hf_const(e, "mask/x", 1, (int64_t[]){4}, (float[]){1, 0, 1, 0}), on_y = tni_hf_const(e, "mask/y", 1, (int64_t[]){4}, (float[]){0, 1, 0, 1});
    IrValueId v = tni_hf_binary(e, "shift", TN_BINARY_add, tni_hf_binary(e, "shift/x", TN_BINARY_mul, x, on_x),
                                tni_hf_binary(e, "shift/y", TN_BINARY_mul, y, on_y));
    v = tni_hf_binary(e, "anchors/grid", TN_BINARY_add, v, tni_hf_const(e, "base", 2, (int64_t[]){RATIOS, 4}, base[0]));
    return tni_hf_reshape(e, "anchors", v, (TnDim[]){times(e, times(e, l->h, l->w), tni_ir_dim_const(e->m, RATIOS)), tni_ir_dim_const(e->m, 4)}, 2);
}

/* [1, 3 * k, h, w] -> [h * w * 3, k], or without the last axis when k is 1. */
static IrValueId by_place(HfEmit *e, const char *name, const HfLevel *l, IrValueId x, uint32_t k) {
    char part[64];
    snprintf(part, sizeof part, "%s/places", name);
    x = tni_hf_transpose(e, part, x, (uint8_t[]){0, 2, 3, 1}, 4);
    TnDim n = times(e, times(e, l->h, l->w), tni_ir_dim_const(e->m, RATIOS));
    return tni_hf_reshape(e, name, x, (TnDim[]){n, tni_ir_dim_const(e->m, k)}, k == 1 ? 1 : 2);
}

/* The best of one level: scores [k], boxes [k, 4] and the level's number [k, 1]. */
static void best(HfDetector *d, uint32_t level, IrValueId *scores, IrValueId *boxes, IrValueId *number) {
    static const float no_std[4] = {1, 1, 1, 1};
    HfEmit *e = d->e;
    const HfLevel *l = &d->levels[level];
    char name[64];
    IrValueId x = l->x;
    tni_hf_prefix(e, "%s", "rpn_head."); /* of the weights, which serve all levels */
    snprintf(name, sizeof name, "level%u.rpn_conv", level);
    x = tni_hf_detector_conv(e, name, "rpn_conv", x, d->width, d->rpn_width, 3);
    snprintf(name, sizeof name, "level%u.relu", level);
    x = tni_hf_unary(e, name, TN_UNARY_relu, x);
    snprintf(name, sizeof name, "level%u.rpn_cls", level);
    IrValueId cls = tni_hf_detector_conv(e, name, "rpn_cls", x, d->rpn_width, RATIOS, 1);
    snprintf(name, sizeof name, "level%u.rpn_reg", level);
    IrValueId reg = tni_hf_detector_conv(e, name, "rpn_reg", x, d->rpn_width, 4 * RATIOS, 1);
    tni_hf_prefix(e, "rpn_head.level%u.", level);
    cls = tni_hf_unary(e, "score", TN_UNARY_sigmoid, by_place(e, "logit", l, cls, 1));
    reg = by_place(e, "delta", l, reg, 4);
    TnDim all = times(e, times(e, l->h, l->w), tni_ir_dim_const(e->m, RATIOS));
    TnDim k = tni_ir_dim_op(e->m, TN_DIM_MIN, all, tni_ir_dim_const(e->m, PER_LEVEL));
    IrValueId top[2];
    tni_hf_topk(e, "best", cls, tni_hf_dims(e, "best/k", &k, 1), 0, true, top);
    *scores = top[0];
    IrValueId from = tni_hf_rows(e, "best/anchors", anchors(e, l), top[1]);
    *boxes = tni_hf_boxes_decode(d, "boxes", from, tni_hf_rows(e, "best/deltas", reg, top[1]), 2, no_std);
    *number = tni_hf_expand(e, "number", tni_hf_number(e, (float)level), (TnDim[]){k, tni_ir_dim_const(e->m, 1)}, 2);
}

IrValueId tni_hf_rpn(HfDetector *d) {
    HfEmit *e = d->e;
    IrValueId scores[HF_LEVELS], boxes[HF_LEVELS], numbers[HF_LEVELS];
    for (uint32_t i = 0; i < HF_LEVELS; i++)
        best(d, i, &scores[i], &boxes[i], &numbers[i]);
    tni_hf_prefix(e, "%s", "rpn_head.");
    IrValueId all = tni_hf_concat(e, "boxes", boxes, HF_LEVELS, 0), s = tni_hf_concat(e, "scores", scores, HF_LEVELS, 0);
    IrValueId keep = tni_hf_boxes_nms(d, "keep", all, s, tni_hf_concat(e, "levels", numbers, HF_LEVELS, 0), OVERLAP, PROPOSALS);
    return tni_hf_rows(e, "proposals", all, keep);
}
