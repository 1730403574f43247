/* SPDX-License-Identifier: Apache-2.0
 *
 * Arithmetic of boxes, in the order of operations of mmdetection, so that float32 rounds alike: deltas to boxes, suppression within groups,
 * features of regions. */
#include <math.h>
#include <stdio.h>

#include "hf/detector.h"

#define RATIO_CLIP (16.0 / 1000)
#define FINEST 56.0f /* regions up to twice this side are taken from level 0, up to four times from level 1, ... */

IrValueId tni_hf_number(HfEmit *e, float v) {
    IrValueId id = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_F32, 0, NULL, &v, &id, e->err);
    return id;
}

IrValueId tni_hf_ints(HfEmit *e, const int64_t *v, int64_t n) {
    IrValueId id = TN_NO_VALUE;
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 1, &n, v, &id, e->err);
    return id;
}

IrValueId tni_hf_columns(HfEmit *e, const char *name, IrValueId x, int64_t rank, int64_t from, int64_t to) {
    return tni_hf_slice(e, name, x, rank - 1, from, to);
}

IrValueId tni_hf_rows(HfEmit *e, const char *name, IrValueId x, IrValueId indices) {
    return tni_hf_node(e, TN_OP_gather, name, &(TnAxisParams){.axis = 0}, (IrValueId[]){x, indices}, 2);
}

IrValueId tni_hf_reshape_to(HfEmit *e, const char *name, IrValueId x, const int64_t *dims, int64_t rank) {
    TnReshapeParams p = {.kind = TN_RESHAPE_SHAPE};
    return tni_hf_node(e, TN_OP_reshape, name, &p, (IrValueId[]){x, tni_hf_ints(e, dims, rank)}, 2);
}

/* Names of the steps of one call: "decode/low/clipped". */
typedef struct Names {
    const char *name;
    char text[160];
} Names;

static const char *part(Names *n, const char *what) {
    snprintf(n->text, sizeof n->text, "%s/%s", n->name, what);
    return n->text;
}

static IrValueId op(HfEmit *e, Names *n, const char *what, TnBinaryFn fn, IrValueId a, IrValueId b) {
    return tni_hf_binary(e, part(n, what), fn, a, b);
}

/* What lies outside the image moves onto its edge. */
static IrValueId clipped(HfDetector *d, Names *n, const char *low, const char *high, IrValueId x) {
    x = op(d->e, n, low, TN_BINARY_max, x, tni_hf_number(d->e, 0));
    return op(d->e, n, high, TN_BINARY_min, x, d->limit);
}

IrValueId tni_hf_boxes_decode(HfDetector *d, const char *name, IrValueId boxes, IrValueId deltas, int64_t rank, const float std[4]) {
    HfEmit *e = d->e;
    Names n = {.name = name};
    int64_t four = 4;
    float most = (float)fabs(log(RATIO_CLIP));
    IrValueId half = tni_hf_number(e, 0.5f);
    IrValueId v = op(e, &n, "deltas", TN_BINARY_mul, deltas, tni_hf_const(e, part(&n, "std"), 1, &four, std));
    IrValueId shift = tni_hf_columns(e, part(&n, "shift"), v, rank, 0, 2), grow = tni_hf_columns(e, part(&n, "log"), v, rank, 2, 4);
    IrValueId low = tni_hf_columns(e, part(&n, "corner/low"), boxes, rank, 0, 2), high = tni_hf_columns(e, part(&n, "corner/high"), boxes, rank, 2, 4);
    grow = tni_hf_node(e, TN_OP_clip, part(&n, "log/clip"), NULL, (IrValueId[]){grow, tni_hf_number(e, -most), tni_hf_number(e, most)}, 3);
    IrValueId center = op(e, &n, "center", TN_BINARY_mul, op(e, &n, "corner/sum", TN_BINARY_add, low, high), half);
    IrValueId size = op(e, &n, "size", TN_BINARY_sub, high, low);
    IrValueId new_size = op(e, &n, "size/new", TN_BINARY_mul, size, tni_hf_unary(e, part(&n, "factor"), TN_UNARY_exp, grow));
    center = op(e, &n, "center/new", TN_BINARY_add, center, op(e, &n, "center/shift", TN_BINARY_mul, size, shift));
    IrValueId reach = op(e, &n, "size/half", TN_BINARY_mul, new_size, half);
    IrValueId corner[2] = {clipped(d, &n, "low/0", "low", op(e, &n, "low/free", TN_BINARY_sub, center, reach)),
                           clipped(d, &n, "high/0", "high", op(e, &n, "high/free", TN_BINARY_add, center, reach))};
    return tni_hf_concat(e, name, corner, 2, (int32_t)rank - 1);
}

static IrValueId reduce_max(HfEmit *e, const char *name, IrValueId x) {
    return tni_hf_node(e, TN_OP_reduce, name, &(TnReduceParams){.fn = TN_REDUCE_max, .n_axes = 1, .axes = {0}}, &x, 1);
}

IrValueId tni_hf_boxes_nms(HfDetector *d, const char *name, IrValueId boxes, IrValueId scores, IrValueId group, float overlap, int64_t most) {
    HfEmit *e = d->e;
    Names n = {.name = name};
    IrValueId limit = TN_NO_VALUE;
    /* Groups are moved apart: each by more than the largest coordinate. The zero is for no boxes at all. */
    IrValueId flat = tni_hf_reshape_to(e, part(&n, "coordinates"), boxes, (int64_t[]){-1}, 1);
    int64_t one = 1;
    float zero = 0;
    flat = tni_hf_concat(e, part(&n, "coordinates/zero"), (IrValueId[]){flat, tni_hf_const(e, part(&n, "zero"), 1, &one, &zero)}, 2, 0);
    IrValueId apart = op(e, &n, "apart", TN_BINARY_add, reduce_max(e, part(&n, "largest"), flat), tni_hf_number(e, 1));
    IrValueId moved = op(e, &n, "moved", TN_BINARY_add, boxes, op(e, &n, "offset", TN_BINARY_mul, group, apart));
    moved = tni_hf_reshape_to(e, part(&n, "boxes"), moved, (int64_t[]){1, -1, 4}, 3);
    scores = tni_hf_reshape_to(e, part(&n, "scores"), scores, (int64_t[]){1, 1, -1}, 3);
    if (e->st == TN_OK)
        e->st = tni_ir_const_copy(e->m, e->g, NULL, TN_I64, 0, NULL, &most, &limit, e->err);
    IrValueId chosen = tni_hf_node(e, TN_OP_non_max_suppression, part(&n, "suppression"), NULL,
                                   (IrValueId[]){moved, scores, limit, tni_hf_number(e, overlap)}, 4);
    chosen = tni_hf_columns(e, part(&n, "column"), chosen, 2, 2, 3);
    return tni_hf_reshape_to(e, name, chosen, (int64_t[]){-1}, 1);
}

/* 1 where the region belongs to level i or a coarser one, of mark = sqrt(area) / 56 + 1e-6 [n, 1]: floor(log2(mark)) >= i. log2 in float32
 * gives a whole number where its argument is within rounding of a power of two: just below 8 it is 3. */
static IrValueId reaches(HfEmit *e, Names *n, IrValueId mark, uint32_t level) {
    char what[32];
    float from = level == 3 ? nextafterf(8, 0) : (float)(1u << level);
    snprintf(what, sizeof what, "reaches/%u", level);
    return op(e, n, what, TN_BINARY_greater_equal, mark, tni_hf_number(e, from));
}

/* Every level looks at all regions, but those of another level are nothing there (a region of no size has features of zero), so that a sum joins
 * them: no sizes depend on how many a level has. */
IrValueId tni_hf_boxes_align(HfDetector *d, const char *name, IrValueId rois, int32_t side) {
    HfEmit *e = d->e;
    Names n = {.name = name};
    IrValueId size = op(e, &n, "size", TN_BINARY_sub, tni_hf_columns(e, part(&n, "high"), rois, 2, 2, 4), tni_hf_columns(e, part(&n, "low"), rois, 2, 0, 2));
    IrValueId area = op(e, &n, "area", TN_BINARY_mul, tni_hf_columns(e, part(&n, "width"), size, 2, 0, 1),
                        tni_hf_columns(e, part(&n, "height"), size, 2, 1, 2));
    IrValueId mark = op(e, &n, "scale", TN_BINARY_div, tni_hf_unary(e, part(&n, "side"), TN_UNARY_sqrt, area), tni_hf_number(e, FINEST));
    mark = op(e, &n, "mark", TN_BINARY_add, mark, tni_hf_number(e, 1e-6f));
    IrValueId zero = tni_hf_number(e, 0), sum = TN_NO_VALUE, batch;
    batch = tni_hf_reshape_to(e, part(&n, "batch/column"), tni_hf_columns(e, part(&n, "batch/first"), rois, 2, 0, 1), (int64_t[]){-1}, 1);
    batch = op(e, &n, "batch/zero", TN_BINARY_less, batch, tni_hf_number(e, -1)); /* never, whatever the numbers are */
    batch = tni_hf_node(e, TN_OP_cast, part(&n, "batch"), &(TnCastParams){.to = TN_I64, .saturate = 1}, &batch, 1);
    IrValueId above = TN_NO_VALUE; /* reaches the level after this one */
    for (uint32_t i = HF_ROI_LEVELS; i-- > 0;) {
        char what[48];
        IrValueId here = i == 0 ? TN_NO_VALUE : reaches(e, &n, mark, i), r = rois;
        snprintf(what, sizeof what, "level/%u/from", i);
        if (i > 0)
            r = tni_hf_node(e, TN_OP_where, part(&n, what), NULL, (IrValueId[]){here, r, zero}, 3);
        snprintf(what, sizeof what, "level/%u/to", i);
        if (i + 1 < HF_ROI_LEVELS)
            r = tni_hf_node(e, TN_OP_where, part(&n, what), NULL, (IrValueId[]){above, zero, r}, 3);
        TnRoiAlignParams p = {.output_height = side, .output_width = side, .spatial_scale = 1.0f / (float)d->levels[i].stride, .aligned = 1};
        snprintf(what, sizeof what, "level/%u", i);
        r = tni_hf_node(e, TN_OP_roi_align, part(&n, what), &p, (IrValueId[]){d->levels[i].x, r, batch}, 3);
        snprintf(what, sizeof what, "sum/%u", i);
        sum = sum == TN_NO_VALUE ? r : op(e, &n, what, TN_BINARY_add, sum, r);
        above = here;
    }
    return sum;
}
