/* SPDX-License-Identifier: Apache-2.0
 *
 * Lines of a page as pictures: boxes over the page as a PNG file, and one HTML file with page, boxes and texts. */
#include <stdio.h>
#include <stdlib.h>

#include "pipelines/draw.h"
#include "pipelines/ocr.h"
#include "pipelines/util.h"

static TnpColour by_confidence(float p) {
    double x = p >= 0 ? (p <= 1 ? (double)p : 1) : 0;
    return (TnpColour){(uint8_t)(200 - 170 * x), (uint8_t)(40 + 110 * x), 50};
}

TnStatus tn_ocr_draw(const TnImage *image, const TnOcrPage *page, const TnOcrText *texts, TnImage *out, TnError *err) {
    TnStatus st = tnp_image_copy(image, out, err);
    if (st != TN_OK)
        return st;
    uint32_t side = image->width > image->height ? image->width : image->height;
    int32_t width = 1 + (int32_t)(side / 1000);
    double letters = side < 700 ? 7 : side / 100.0;
    for (uint32_t i = 0; i < page->n; i++) {
        const double *c = page->box[i].corner;
        for (int k = 0; k < 4; k++) {
            int32_t from[2] = {(int32_t)c[2 * k], (int32_t)c[2 * k + 1]}, to[2] = {(int32_t)c[(2 * k + 2) % 8], (int32_t)c[(2 * k + 3) % 8]};
            tnp_draw_line(out, from, to, by_confidence(texts[i].confidence), width);
        }
    }
    for (uint32_t i = 0; i < page->n; i++) {
        char number[16];
        const double *c = page->box[i].corner;
        int digits = snprintf(number, sizeof number, "%u", i + 1); /* left of the box, so that it covers no letter */
        tnp_draw_label(out, (int32_t)(c[0] - (0.5 + 0.82 * digits) * letters), (int32_t)((c[1] + c[7]) / 2 + 0.87 * letters), number, letters,
                       by_confidence(texts[i].confidence));
    }
    return TN_OK;
}

/* ---- HTML ---- */

static void put_boxes(TnpText *b, const TnOcrPage *page, const TnOcrText *texts) {
    for (uint32_t i = 0; i < page->n; i++) {
        const double *c = page->box[i].corner;
        TnpColour k = by_confidence(texts[i].confidence);
        tnp_text_printf(b, "<polygon points=\"%g,%g %g,%g %g,%g %g,%g\" fill=\"rgb(%d,%d,%d)\" stroke=\"rgb(%d,%d,%d)\"><title>%u: ", c[0], c[1], c[2],
                        c[3], c[4], c[5], c[6], c[7], k.r, k.g, k.b, k.r, k.g, k.b, i + 1);
        tnp_text_html(b, texts[i].text == NULL ? "" : texts[i].text);
        tnp_text_printf(b, " (%.3f)</title></polygon>\n", (double)texts[i].confidence);
    }
}

static void put_table(TnpText *b, const TnOcrPage *page, const TnOcrText *texts) {
    bool truth = false;
    for (uint32_t i = 0; i < page->n; i++)
        truth = truth || page->box[i].truth != NULL;
    tnp_text_printf(b, "<table><tr><th></th><th>confidence</th><th>text</th>%s</tr>\n", truth ? "<th>expected</th>" : "");
    for (uint32_t i = 0; i < page->n; i++) {
        tnp_text_printf(b, "<tr><td>%u</td><td>%.3f</td><td>", i + 1, (double)texts[i].confidence);
        for (uint32_t k = 0; k < texts[i].n_chars; k++) {
            double p = (double)texts[i].char_confidence[k];
            tnp_text_printf(b, "<span title=\"%.3f\" style=\"background:rgba(220,40,40,%.2f)\">", p, p < 1 ? 0.7 * (1 - p) : 0.0);
            tnp_text_html(b, texts[i].chars[k]);
            tnp_text_put(b, "</span>");
        }
        tnp_text_put(b, truth ? "</td><td>" : "");
        tnp_text_html(b, page->box[i].truth == NULL ? "" : page->box[i].truth);
        tnp_text_put(b, "</td></tr>\n");
    }
    tnp_text_put(b, "</table>\n");
}

TnStatus tn_ocr_save_html(const TnImage *image, const TnOcrPage *page, const TnOcrText *texts, const char *title, const char *path, TnError *err) {
    TnpText b = {0};
    void *png;
    size_t n;
    TnStatus st = tnp_png_encode(image, &png, &n, err);
    if (st != TN_OK)
        return st;
    tnp_text_put(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    tnp_text_html(&b, title);
    tnp_text_put(&b, "</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse;margin-top:1em}td,th{border:1px solid "
                     "#ccc;padding:.2em .6em;text-align:left}svg{max-width:100%;height:auto;border:1px solid #ccc}polygon{fill-opacity:.15;stroke-width:2}"
                     "polygon:hover{fill-opacity:.5}td span{white-space:pre}</style></head><body>\n<h1>");
    tnp_text_html(&b, title);
    tnp_text_printf(&b, "</h1>\n<p>%u lines</p>\n<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\"><image width=\"%u\" height=\"%u\" "
                        "href=\"data:image/png;base64,", page->n, image->width, image->height, image->width, image->height, image->width, image->height);
    tnp_text_base64(&b, png, n);
    free(png);
    tnp_text_put(&b, "\"/>\n");
    put_boxes(&b, page, texts);
    tnp_text_put(&b, "</svg>\n");
    put_table(&b, page, texts);
    tnp_text_put(&b, "</body></html>\n");
    return tnp_text_save(&b, path, err);
}
