/* SPDX-License-Identifier: Apache-2.0
 *
 * Masks as run lengths, COCO's form: down the columns, from left to right; runs of 0 and 1 by turns, the first of 0 (it may be empty). */
#ifndef TENON_PIPELINES_RLE_H
#define TENON_PIPELINES_RLE_H

#include <stdbool.h>

#include "tenon/tensor.h"

/* counts is heap memory: n runs whose sum is height * width. Release with tn_rle_free. */
typedef struct TnRle {
    uint32_t height, width;
    uint32_t n;
    uint32_t *counts;
} TnRle;

#define TN_RLE_MAX_SIDE (1u << 20)
#define TN_RLE_MAX_PIXELS (1u << 30)

void tn_rle_free(TnRle *rle); /* safe on a zeroed struct */

/* From n counts: odd ones are runs of 1. Errors: DATA (the counts do not add up to height * width: both are named), LIMIT (a side or the
 * area above TN_RLE_MAX_*), MEMORY. */
TnStatus tn_rle_from_counts(const uint32_t *counts, uint32_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err);
/* COCO's compressed text: each count, from the fourth on its difference to the count two before, in groups of five bits from '0' (48) on.
 */
TnStatus tn_rle_from_text(const char *text, size_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err);
/* NUL-terminated heap memory for the caller to free; NULL: out of memory. */
char *tn_rle_to_text(const TnRle *rle);
/* bits [height, width] rows first, nonzero = 1; and back (0 or 1). */
TnStatus tn_rle_from_mask(const uint8_t *bits, uint32_t height, uint32_t width, TnRle *out, TnError *err);
void tn_rle_to_mask(const TnRle *rle, uint8_t *bits);

/* Rasters a polygon of n corners xy [n, 2] (pixels; the line through the middle of a pixel takes it) as pycocotools does: the outline is
 * walked in fifths of a pixel. Errors: DATA (a corner is no number, or further than 1e6 from the origin), LIMIT (an outline of more than
 * 5e7 steps), MEMORY. */
TnStatus tn_rle_from_polygon(const double *xy, uint32_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err);
/* What any of n masks of one size covers (n >= 1). ARGUMENT: sizes differ. */
TnStatus tn_rle_union(const TnRle *rles, uint32_t n, TnRle *out, TnError *err);

uint64_t tn_rle_area(const TnRle *rle);
/* x, y, width, height of the smallest box around it; zeros of an empty mask. */
void tn_rle_box(const TnRle *rle, double box[4]);
/* Pixels that both cover; their sizes must be equal. */
uint64_t tn_rle_common(const TnRle *a, const TnRle *b);

/* Writing a mask run by run: start with zeroed, append runs in order, finish. A failed allocation is reported at the end. */
typedef struct TnRleWriter {
    uint32_t *counts;
    uint32_t n, cap;
    bool value; /* of the last run; before the first, of an empty run of 0 */
    bool failed;
} TnRleWriter;
void tn_rle_append(TnRleWriter *w, bool value, uint32_t count);
/* MEMORY when an append failed. The writer is empty afterwards. */
TnStatus tn_rle_finish(TnRleWriter *w, uint32_t height, uint32_t width, TnRle *out, TnError *err);

#endif
