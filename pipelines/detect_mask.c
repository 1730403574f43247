/* SPDX-License-Identifier: Apache-2.0
 *
 * Masks of boxes on the whole picture, straight to run lengths. Between four middles of cells whose values are on one side of the threshold
 * by a margin nothing needs to be computed, so the work is along the mask's edge. */
#include <math.h>
#include <stdlib.h>

#include "pipelines/detect.h"
#include "pipelines/util.h"

#define THRESHOLD 0.5f
#define MARGIN 1e-4f /* far above what the weights' rounding can do */

/* A picture's column or row on the mask's grid. cell: of the middles before it, -1 to size - 1; NOWHERE: off the mask. */
typedef struct Place {
    int32_t cell;
    float part; /* of the way to the next middle */
} Place;
#define NOWHERE INT32_MIN

typedef enum Side { BELOW, ABOVE, MIXED } Side;

/* Pixels [first, first + n) on the box [lo, hi] of a grid of size cells, in the order of mmdet's and PyTorch's operations. */
static void places(float lo, float hi, uint32_t size, uint32_t first, uint32_t n, Place *out) {
    for (uint32_t i = 0; i < n; i++) {
        float at = ((float)(first + i) + 0.5f - lo) / (hi - lo) * 2 - 1;
        at = isinf(at) ? 0 : at;
        at = (at + 1) * ((float)size / 2) - 0.5f;
        float cell = floorf(at);
        bool on = cell >= -1 && cell < (float)size; /* false for NaN */
        out[i] = (Place){on ? (int32_t)cell : NOWHERE, on ? at - cell : 0};
    }
}

static float at(const float *mask, uint32_t mh, uint32_t mw, int32_t y, int32_t x) {
    return y >= 0 && x >= 0 && y < (int32_t)mh && x < (int32_t)mw ? mask[(size_t)y * mw + (size_t)x] : 0;
}

static uint8_t side_of(const float *mask, uint32_t mh, uint32_t mw, int32_t y, int32_t x) {
    int above = 0, below = 0;
    for (int k = 0; k < 4; k++) {
        float v = at(mask, mh, mw, y + k / 2, x + k % 2);
        above += v >= THRESHOLD + MARGIN;
        below += v <= THRESHOLD - MARGIN;
    }
    return above == 4 ? ABOVE : below == 4 ? BELOW : MIXED;
}

/* One column of the picture: rows [n] from the top of the region. */
static void column(const float *mask, uint32_t mh, uint32_t mw, const uint8_t *sides, Place x, const Place *rows, uint32_t n,
                   TnRleWriter *w) {
    for (uint32_t y = 0, next; y < n; y = next) {
        int32_t cy = rows[y].cell;
        for (next = y + 1; next < n && rows[next].cell == cy; next++)
            continue;
        Side side = cy == NOWHERE ? BELOW : (Side)sides[(size_t)(cy + 1) * (mw + 1) + (size_t)(x.cell + 1)];
        if (side != MIXED) {
            tn_rle_append(w, side == ABOVE, next - y);
            continue;
        }
        float nw = at(mask, mh, mw, cy, x.cell), ne = at(mask, mh, mw, cy, x.cell + 1);
        float sw = at(mask, mh, mw, cy + 1, x.cell), se = at(mask, mh, mw, cy + 1, x.cell + 1);
        for (; y < next; y++) {
            float s = rows[y].part, n1 = 1 - s, e = x.part, w1 = 1 - e;
            tn_rle_append(w, nw * (n1 * w1) + ne * (n1 * e) + sw * (s * w1) + se * (s * e) >= THRESHOLD, 1);
        }
    }
}

/* The first pixel a mask can reach, and the one behind its last: as mmdet cuts the region. */
static void region(float lo, float hi, uint32_t size, uint32_t *first, uint32_t *n) {
    float from = fmaxf(floorf(lo) - 1, 0), to = fminf(ceilf(hi) + 1, (float)size);
    bool some = from < to && isfinite(lo) && isfinite(hi);
    *first = some ? (uint32_t)from : 0;
    *n = some ? (uint32_t)to - *first : 0;
}

TnStatus tn_detect_paste(const float *mask, uint32_t mh, uint32_t mw, const float box[4], uint32_t width, uint32_t height, TnRle *out,
                         TnError *err) {
    uint32_t x0, y0, nx, ny;
    TnRleWriter w = {0};
    *out = (TnRle){0};
    region(box[0], box[2], width, &x0, &nx);
    region(box[1], box[3], height, &y0, &ny);
    Place *p = malloc(((size_t)nx + ny + 1) * sizeof *p);
    uint8_t *sides = malloc((size_t)(mh + 1) * (mw + 1));
    if (p == NULL || sides == NULL) {
        free(p);
        free(sides);
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a mask on a picture of %u x %u pixels", width, height);
    }
    places(box[0], box[2], mw, x0, nx, p);
    places(box[1], box[3], mh, y0, ny, p + nx);
    for (uint32_t y = 0; y <= mh; y++) {
        for (uint32_t x = 0; x <= mw; x++)
            sides[(size_t)y * (mw + 1) + x] = side_of(mask, mh, mw, (int32_t)y - 1, (int32_t)x - 1);
    }
    for (uint32_t x = 0; x < width; x++) {
        bool in = x >= x0 && x - x0 < nx && p[x - x0].cell != NOWHERE;
        tn_rle_append(&w, false, in ? y0 : height);
        if (in) {
            column(mask, mh, mw, sides, p[x - x0], p + nx, ny, &w);
            tn_rle_append(&w, false, height - y0 - ny);
        }
    }
    free(p);
    free(sides);
    return tn_rle_finish(&w, height, width, out, err);
}
