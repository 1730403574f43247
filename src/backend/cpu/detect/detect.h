/* SPDX-License-Identifier: Apache-2.0
 *
 * What detectors do with regions and boxes: roi_align (average) and non_max_suppression, f32.
 *
 * roi_align: bilinear weights and the average of a bin are products of a part of y and a part of x, so a bin is a weighted sum over rows, then
 * over columns. Both tables are made once for a region and serve all its channels: rows are added up along x, vector by vector, then each of a
 * bin row's columns times the weights that it has in all bins. A region of no size is zeros at once. What comes out as NaN or infinite is
 * computed again as the reference does, because a weight of zero times infinity is not what the operator says.
 *
 * non_max_suppression: boxes of a class by score (a stable radix sort, so equal scores keep their order), each against all that were kept. A
 * vector test in f32 finds those that may overlap too much; they are looked at in double, as by the reference: the results are its own. */
#ifndef TENON_BACKEND_CPU_DETECT_H
#define TENON_BACKEND_CPU_DETECT_H

#include "backend/cpu/common/loop.h"

/* ---- roi_align ---- */
#define TN_ROI_LANES 16 /* bins of a row are padded to a multiple of it */
typedef struct TnRoiShape {
    const float *x; /* [B, C, H, W] */
    int64_t channels, H, W, out_h, out_w;
    const TnRoiAlignParams *p;
} TnRoiShape;

/* A region on the map: origin and bins in the map's pixels, points a bin. */
typedef struct TnRoiBox {
    double y, x, bin_h, bin_w;
    int64_t grid_h, grid_w;
    bool nothing; /* all bins are zero */
} TnRoiBox;

/* Tables of a region, in a worker's part of the scratch memory. */
typedef struct TnRoiTables {
    int64_t *rows;  /* [out_h]: how many rows of the map a row of bins has */
    int32_t *row;   /* [out_h][H]: which */
    float *row_w;   /* [out_h][H] */
    float *col_w;   /* [W][pitch]: of the columns first_col ..., for all bins of a row */
    int32_t *from, *to; /* [pitch]: columns of a bin, counted from first_col; none: from >= to */
    float *sums;    /* [out_h][W + lanes] */
    double *line;   /* [max(H, W)] */
    uint8_t *seen;  /* [max(H, W)] */
    int64_t pitch, first_col, cols;
} TnRoiTables;

bool tni_cpu_roi_supports(const TnKernelQuery *q);
size_t tni_cpu_roi_scratch(const TnKernelQuery *q);
/* Checks operands; TN_ERR_RUN for a batch index out of range. */
TnStatus tni_cpu_roi_check(const TnKernelCall *call, TnRoiShape *s);
TnRoiBox tni_cpu_roi_box(const TnRoiShape *s, const float roi[4]);
void tni_cpu_roi_tables_at(const TnRoiShape *s, void *scratch, uint32_t worker, TnRoiTables *t);
/* Fills t; false: no point lies inside the map, everything is zero. */
bool tni_cpu_roi_weights(const TnRoiShape *s, const TnRoiBox *b, TnRoiTables *t);
/* One channel in double, point by point: y [out_h, out_w] of a plane [H, W]. */
void tni_cpu_roi_exact(const TnRoiShape *s, const TnRoiBox *b, const float *plane, float *y);

/* ---- non_max_suppression ---- */
#define TN_NMS_LANES 16
typedef struct TnNmsCall {
    const float *boxes, *scores; /* [B, n, 4], [B, C, n] */
    int64_t batches, classes, n, limit;
    double iou, threshold;
    bool has_threshold, center;
    int64_t *counts; /* [B * C] */
    uint32_t *kept;  /* [B * C][n] */
    char *own;       /* memory of each worker */
    size_t own_bytes;
} TnNmsCall;
/* A worker's memory: keys and room to sort them [n], corners and areas of the boxes kept [n + lanes]. */
typedef struct TnNmsOwn {
    uint64_t *keys, *spare;
    float *y1, *x1, *y2, *x2, *area;
} TnNmsOwn;

bool tni_cpu_nms_supports(const TnKernelQuery *q);
size_t tni_cpu_nms_scratch(const TnKernelQuery *q);
TnStatus tni_cpu_nms_begin(const TnKernelCall *call, TnNmsCall *c);
TnNmsOwn tni_cpu_nms_own(const TnNmsCall *c, uint32_t worker);
/* Boxes of a row (batch, class) that may be kept, best first; returns how many. The low half of a key is the box. */
int64_t tni_cpu_nms_sort(const TnNmsCall *c, int64_t row, TnNmsOwn *own);
/* The overlap of two boxes [4] is above the limit, as the reference computes it. */
bool tni_cpu_nms_covers(const TnNmsCall *c, const float *a, const float *b);
TnStatus tni_cpu_nms_write(TnKernelCall *call, const TnNmsCall *c);

#define TN_DETECT_DECLARE(isa)                              \
    TnStatus tni_cpu_roi_##isa(TnKernelCall *call);         \
    TnStatus tni_cpu_nms_##isa(TnKernelCall *call);         \
    double tni_cpu_roi_cost_##isa(const TnKernelQuery *q);  \
    double tni_cpu_nms_cost_##isa(const TnKernelQuery *q);
TN_DETECT_DECLARE(scalar)
TN_DETECT_DECLARE(avx2)
TN_DETECT_DECLARE(avx512)
#undef TN_DETECT_DECLARE

#endif
