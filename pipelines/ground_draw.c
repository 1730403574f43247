/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers as pictures: boxes and phrases over a copy, and one HTML file with pictures and tables. */
#include <math.h>
#include <stdlib.h>

#include "pipelines/draw.h"
#include "pipelines/ground.h"
#include "pipelines/util.h"

#define MAX_TOP 32

static void pixel_box(const TnRegions *r, uint32_t row, const TnImage *image, int32_t box[4]) {
    const double scale[2] = {image->width / r->image_width, image->height / r->image_height}; /* the picture may be shown at another size */
    float b[4];
    tn_ground_box(r, row, b);
    for (int k = 0; k < 4; k++) {
        double v = (double)b[k] * scale[k % 2], most = (k % 2 == 0 ? image->width : image->height) - 1.0;
        box[k] = (int32_t)lrint(v > most ? most : v > 0 ? v : 0);
    }
}

TnStatus tn_ground_draw(const TnImage *image, const TnGroundDrawing *items, uint32_t n, TnImage *out, TnError *err) {
    TnStatus st = tnp_image_copy(image, out, err);
    if (st != TN_OK)
        return st;
    const uint32_t shorter = image->width < image->height ? image->width : image->height;
    int32_t box[4];
    for (uint32_t i = 0; i < n; i++) {
        pixel_box(items[i].regions, items[i].answer->best, image, box);
        tnp_draw_box(out, box, tnp_colour(i), 2 + (int32_t)(shorter / 300), 0);
    }
    for (uint32_t i = 0; i < n; i++) {
        pixel_box(items[i].regions, items[i].answer->best, image, box);
        tnp_draw_label(out, box[0], box[1] + 1, items[i].phrase, fmin(fmax(shorter / 45.0, 7), 40), tnp_colour(i));
    }
    return TN_OK;
}

static void put_boxes(TnpText *t, const TnImage *image, const TnGroundDrawing *d, const uint32_t *rows, uint32_t n) {
    for (uint32_t i = n; i-- > 0;) { /* the best lies on top */
        const TnpColour c = tnp_colour(i);
        int32_t b[4];
        pixel_box(d->regions, rows[i], image, b);
        tnp_text_printf(t,
                        "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" stroke=\"rgb(%u,%u,%u)\" stroke-width=\"%d\"><title>%u: region %u, %.4f"
                        "</title></rect>\n",
                        b[0], b[1], b[2] - b[0], b[3] - b[1], c.r, c.g, c.b, i == 0 ? 4 : 1, i + 1, rows[i], tn_ground_score(d->answer, rows[i]));
    }
}

static void put_table(TnpText *t, const TnGroundDrawing *d, const uint32_t *rows, uint32_t n) {
    tnp_text_put(t, "<table><tr><th></th><th>region</th><th>score</th><th>share</th><th>box</th></tr>\n");
    for (uint32_t i = 0; i < n; i++) {
        const TnpColour c = tnp_colour(i);
        float b[4];
        tn_ground_box(d->regions, rows[i], b);
        tnp_text_printf(t, "<tr><td style=\"background:rgb(%u,%u,%u)\"></td><td>%u%s</td><td>%.4f</td><td>%.4f</td><td>%.1f, %.1f, %.1f, %.1f</td></tr>\n", c.r,
                        c.g, c.b, rows[i], rows[i] == 0 ? " (whole picture)" : "", tn_ground_score(d->answer, rows[i]), tn_ground_share(d->answer, rows[i]),
                        (double)b[0], (double)b[1], (double)b[2], (double)b[3]);
    }
    tnp_text_put(t, "</table>\n");
}

TnStatus tn_ground_save_html(const TnImage *image, const TnGroundDrawing *items, uint32_t n, uint32_t top, const char *title, const char *path, TnError *err) {
    TnpText t = {0};
    void *png;
    size_t bytes;
    uint32_t rows[MAX_TOP];
    TnStatus st = tnp_png_encode(image, &png, &bytes, err);
    if (st != TN_OK)
        return st;
    tnp_text_put(&t, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    tnp_text_html(&t, title);
    tnp_text_put(&t, "</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border:1px solid #ccc;padding:.2em .6em}"
                     "svg{max-width:100%;height:auto;border:1px solid #ccc}rect{fill:transparent}rect:hover{fill:rgba(255,255,255,.35)}</style></head><body>\n"
                     "<svg width=\"0\" height=\"0\" style=\"position:absolute;border:0\"><defs>");
    tnp_text_printf(&t, "<image id=\"picture\" width=\"%u\" height=\"%u\" href=\"data:image/png;base64,", image->width, image->height);
    tnp_text_base64(&t, png, bytes); /* once, however many phrases show it */
    free(png);
    tnp_text_put(&t, "\"/></defs></svg>\n<h1>");
    tnp_text_html(&t, title);
    tnp_text_put(&t, "</h1>\n");
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t k = tn_ground_top(items[i].answer, top < MAX_TOP ? top : MAX_TOP, rows);
        tnp_text_put(&t, "<h2>");
        tnp_text_html(&t, items[i].phrase);
        tnp_text_printf(&t, "</h2>\n<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\"><use href=\"#picture\"/>\n", image->width, image->height, image->width,
                        image->height);
        put_boxes(&t, image, &items[i], rows, k);
        tnp_text_put(&t, "</svg>\n");
        put_table(&t, &items[i], rows, k);
    }
    tnp_text_put(&t, "</body></html>\n");
    return tnp_text_save(&t, path, err);
}
