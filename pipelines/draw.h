/* SPDX-License-Identifier: Apache-2.0
 *
 * Drawing on pictures: boxes, lines, masks, text; and pictures as PNG. Everything is cut at the picture's edges. */
#ifndef TENON_PIPELINES_DRAW_H
#define TENON_PIPELINES_DRAW_H

#include "pipelines/image.h"
#include "pipelines/rle.h"

typedef struct TnpColour {
    uint8_t r, g, b;
} TnpColour;

/* A colour for class i: bright, and far from those of its neighbours. */
TnpColour tnp_colour(uint32_t i);
/* alpha of 255 parts of the colour over a pixel; outside of the picture nothing happens. */
void tnp_draw_dot(TnImage *m, int64_t x, int64_t y, TnpColour c, uint32_t alpha);
/* box x0, y0, x1, y1: the outline, width pixels wide inwards, and inside it the colour at `inside` of 255 parts. */
void tnp_draw_box(TnImage *m, const int32_t box[4], TnpColour c, int32_t width, uint32_t inside);
/* Lines of more than 200000 pixels are left out. */
void tnp_draw_line(TnImage *m, const int32_t a[2], const int32_t b[2], TnpColour c, int32_t width);
/* A mask of the picture's size: alpha of 255 parts inside, its edge in full. Masks of another size are left out. */
void tnp_draw_mask(TnImage *m, const TnRle *mask, TnpColour c, uint32_t alpha);
/* Text (ASCII; other characters as a small box) on a plate of the colour, its lower left corner at x, y, moved into the picture; height: of
 * capital letters in pixels. */
void tnp_draw_label(TnImage *m, int32_t x, int32_t y, const char *text, double height, TnpColour c);

/* A copy. MEMORY. */
TnStatus tnp_image_copy(const TnImage *image, TnImage *out, TnError *err);
/* PNG bytes of a picture, heap memory. */
TnStatus tnp_png_encode(const TnImage *image, void **data, size_t *n, TnError *err);

#endif
