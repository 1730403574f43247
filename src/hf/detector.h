/* SPDX-License-Identifier: Apache-2.0
 *
 * Two-stage detectors of mmdetection 2 (Mask R-CNN, Cascade Mask R-CNN) with a UniFormer backbone: what the files of the importer share.
 *
 *   image -> pad to 32 -> backbone (uniformer_backbone.c) -> pyramid (fpn.c) -> proposals (rpn.c) -> heads (mask_rcnn.c; box arithmetic: boxes.c)
 *
 * Letters: n proposals or boxes, C classes, W channels of the pyramid. Boxes are x0, y0, x1, y1 in pixels of the image. */
#ifndef TENON_HF_DETECTOR_H
#define TENON_HF_DETECTOR_H

#include "hf/architecture.h"

#define HF_LEVELS 5     /* of the pyramid: strides 4 to 64 */
#define HF_ROI_LEVELS 4 /* those that regions are taken from */
#define HF_STAGES 3     /* of a cascade */
#define HF_MAX_LAYERS 16 /* of a head */

typedef struct HfLevel {
    IrValueId x; /* [1, W, h, w] */
    TnDim h, w;
    uint32_t stride;
} HfLevel;

typedef struct HfDetector {
    HfEmit *e;
    uint32_t width;     /* W */
    uint32_t classes;   /* C */
    uint32_t rpn_width; /* between its convolutions */
    uint32_t stages;    /* of the box head: 1 or 3 */
    uint32_t mask_heads; /* 0, 1 or 3 */
    float score_threshold;
    HfLevel levels[HF_LEVELS];
    IrValueId limit; /* f32 [2]: width and height of the image, without padding */
} HfDetector;

/* ---- fpn.c ---- */
/* Adds levels from the backbone's maps [1, widths[i], sizes...]: laterals, upsampled sums, 3 x 3 convolutions, and every second place of the last. */
void tni_hf_fpn(HfDetector *d, const IrValueId maps[4], const uint32_t widths[4], const TnDim heights[4], const TnDim row[4]);
/* The convolution NAME, padded by kernel / 2; node: name of the step. A module is "NAME.conv", with batch norm "NAME.bn" (no bias then) where the
 * checkpoint has it. */
IrValueId tni_hf_detector_conv(HfEmit *e, const char *node, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel);
IrValueId tni_hf_detector_conv_module(HfEmit *e, const char *name, IrValueId x, uint32_t in, uint32_t out, uint32_t kernel, bool relu);

/* ---- rpn.c ---- */
/* Proposals [n, 4], n <= 1000, best first. */
IrValueId tni_hf_rpn(HfDetector *d);

/* ---- boxes.c ---- */
/* Boxes moved by deltas (.., 4 each) that were divided by std[4], clipped to the image. boxes and deltas have this rank, the last axis is 4. */
IrValueId tni_hf_boxes_decode(HfDetector *d, const char *name, IrValueId boxes, IrValueId deltas, int64_t rank, const float std[4]);
/* Non-maximum suppression within groups: boxes [n, 4], scores [n], group [n, 1] f32 (0, 1, ...). The chosen rows [k], best first, k <= most. */
IrValueId tni_hf_boxes_nms(HfDetector *d, const char *name, IrValueId boxes, IrValueId scores, IrValueId group, float overlap, int64_t most);
/* Features [n, W, side, side] of regions [n, 4], each from the level that suits its area. */
IrValueId tni_hf_boxes_align(HfDetector *d, const char *name, IrValueId rois, int32_t side);

/* Small constants and steps. */
IrValueId tni_hf_number(HfEmit *e, float v);
IrValueId tni_hf_ints(HfEmit *e, const int64_t *v, int64_t n);
/* Columns [from, to) of the last axis. */
IrValueId tni_hf_columns(HfEmit *e, const char *name, IrValueId x, int64_t rank, int64_t from, int64_t to);
/* Rows of x by indices [k]. */
IrValueId tni_hf_rows(HfEmit *e, const char *name, IrValueId x, IrValueId indices);
/* Reshape to numbers: 0 keeps a dim, -1 is what remains. */
IrValueId tni_hf_reshape_to(HfEmit *e, const char *name, IrValueId x, const int64_t *dims, int64_t rank);

#endif
