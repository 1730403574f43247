/* SPDX-License-Identifier: Apache-2.0
 *
 * Boxes, lines and masks over pictures; pictures to PNG files. */
#include "pipelines/draw.h"

#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "pipelines/util.h"

TnpColour tnp_colour(uint32_t i) {
    /* hues by the golden angle; three levels of brightness so that near hues differ */
    double h = fmod(0.58 + 0.6180339887498949 * i, 1.0) * 6, v = 1.0 - 0.18 * (i % 3), s = 0.75, f = h - floor(h);
    double p = v * (1 - s), q = v * (1 - s * f), t = v * (1 - s * (1 - f));
    const double rgb[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    const double *c = rgb[(int)h % 6];
    return (TnpColour){(uint8_t)(c[0] * 255), (uint8_t)(c[1] * 255), (uint8_t)(c[2] * 255)};
}

void tnp_draw_dot(TnImage *m, int64_t x, int64_t y, TnpColour c, uint32_t alpha) {
    if (x < 0 || y < 0 || x >= m->width || y >= m->height)
        return;
    uint8_t *p = m->rgb + ((size_t)y * m->width + (size_t)x) * 3;
    const uint8_t over[3] = {c.r, c.g, c.b};
    for (int k = 0; k < 3; k++)
        p[k] = (uint8_t)((p[k] * (255 - alpha) + over[k] * alpha) / 255);
}

void tnp_draw_box(TnImage *m, const int32_t box[4], TnpColour c, int32_t width, uint32_t inside) {
    int32_t x0 = box[0] < 0 ? 0 : box[0], y0 = box[1] < 0 ? 0 : box[1];
    int32_t x1 = box[2] > (int32_t)m->width ? (int32_t)m->width : box[2], y1 = box[3] > (int32_t)m->height ? (int32_t)m->height : box[3];
    for (int32_t y = y0; y <= y1; y++) {
        bool edge = y < y0 + width || y > y1 - width;
        for (int32_t x = x0; x <= x1; x++) {
            bool here = edge || x < x0 + width || x > x1 - width;
            if (here || inside > 0)
                tnp_draw_dot(m, x, y, c, here ? 255 : inside);
            else
                x = x1 - width; /* nothing inside: on to the right edge */
        }
    }
}

void tnp_draw_line(TnImage *m, const int32_t a[2], const int32_t b[2], TnpColour c, int32_t width) {
    int64_t dx = (int64_t)b[0] - a[0], dy = (int64_t)b[1] - a[1], n = llabs(dx) > llabs(dy) ? llabs(dx) : llabs(dy);
    if (n > 200000)
        return;
    for (int64_t i = 0; i <= n; i++) {
        for (int32_t k = 0; k < width * width; k++)
            tnp_draw_dot(m, a[0] + (n == 0 ? 0 : dx * i / n) + k % width, a[1] + (n == 0 ? 0 : dy * i / n) + k / width, c, 255);
    }
}

/* The runs are columns: the ends of a run lie on the edge, and so do pixels whose neighbour to the left or right is not covered, which the
 * runs of the columns beside tell. */
void tnp_draw_mask(TnImage *m, const TnRle *mask, TnpColour c, uint32_t alpha) {
    if (mask->height != m->height || mask->width != m->width || mask->height == 0)
        return;
    const uint64_t h = mask->height;
    const TnpColour light = {(uint8_t)(128 + c.r / 2), (uint8_t)(128 + c.g / 2), (uint8_t)(128 + c.b / 2)};
    uint64_t at = 0, before_end = 0, after_end = 0;
    uint32_t before = 0, after = 0; /* runs begun, one column back and one ahead */
    for (uint32_t i = 0; i < mask->n; at += mask->counts[i++]) {
        if (i % 2 == 0)
            continue;
        for (uint64_t k = at; k < at + mask->counts[i]; k++) {
            while (k >= h && before < mask->n && before_end <= k - h)
                before_end += mask->counts[before++];
            while (after < mask->n && after_end <= k + h)
                after_end += mask->counts[after++];
            bool left = k >= h && before % 2 == 0, right = k + h < after_end && after % 2 == 0;
            bool edge = k == at || k + 1 == at + mask->counts[i] || !left || !right;
            tnp_draw_dot(m, (int64_t)(k / h), (int64_t)(k % h), edge ? light : c, edge ? 220 : alpha);
        }
    }
}

TnStatus tnp_image_copy(const TnImage *image, TnImage *out, TnError *err) {
    size_t bytes = (size_t)image->width * image->height * 3;
    *out = (TnImage){malloc(bytes + 1), image->width, image->height};
    if (out->rgb == NULL) {
        *out = (TnImage){0};
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu bytes for a picture", bytes);
    }
    memcpy(out->rgb, image->rgb, bytes);
    return TN_OK;
}

/* ---- PNG ---- */

static void png_append(png_structp png, png_bytep data, size_t n) {
    TnpText *t = png_get_io_ptr(png);
    tnp_text_append(t, data, n);
    if (t->failed)
        png_error(png, "out of memory");
}

static void png_flushed(png_structp png) {
    (void)png;
}

/* Its reasons are the caller's to tell; libpng would print them. */
static void png_silent(png_structp png, png_const_charp message) {
    (void)message;
    png_longjmp(png, 1);
}

/* false when libpng gave up; *bytes then holds what there is. */
static bool write_png(const TnImage *image, TnpText *bytes, png_structp png, png_infop info) {
    if (setjmp(png_jmpbuf(png)) != 0)
        return false;
    png_set_write_fn(png, bytes, png_append, png_flushed);
    png_set_IHDR(png, info, image->width, image->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    for (uint32_t y = 0; y < image->height; y++)
        png_write_row(png, image->rgb + (size_t)y * image->width * 3);
    png_write_end(png, info);
    return true;
}

TnStatus tnp_png_encode(const TnImage *image, void **data, size_t *n, TnError *err) {
    TnpText *bytes = calloc(1, sizeof *bytes);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, png_silent, NULL);
    png_infop info = png == NULL ? NULL : png_create_info_struct(png);
    bool ok = bytes != NULL && info != NULL && write_png(image, bytes, png, info);
    png_destroy_write_struct(&png, &info);
    *data = ok ? bytes->p : NULL;
    *n = ok ? bytes->n : 0;
    if (!ok && bytes != NULL)
        free(bytes->p);
    free(bytes);
    return ok ? TN_OK : tnp_fail(err, TN_ERR_MEMORY, "a picture of %u x %u pixels cannot be encoded", image->width, image->height);
}

TnStatus tn_image_save_png(const TnImage *image, const char *path, TnError *err) {
    void *data;
    size_t n;
    TnStatus st = tnp_png_encode(image, &data, &n, err);
    if (st == TN_OK)
        st = tnp_write_file(path, data, n, err);
    free(data);
    return st;
}
