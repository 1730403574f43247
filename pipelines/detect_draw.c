/* SPDX-License-Identifier: Apache-2.0
 *
 * Detections as pictures: masks, boxes and names over a copy, and HTML pages whose boxes answer to the pointer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/detect.h"
#include "pipelines/draw.h"
#include "pipelines/util.h"

static void title_of(const TnDetection *d, char *out, size_t n) {
    if (d->name != NULL)
        snprintf(out, n, "%.100s %.2f", d->name, (double)d->score);
    else
        snprintf(out, n, "class %u %.2f", d->label, (double)d->score);
}

static int32_t clamp(float v, uint32_t most) {
    return v >= (float)most ? (int32_t)most : v > 0 ? (int32_t)lrintf(v) : 0;
}

static void pixel_box(const TnDetections *f, const TnDetection *d, int32_t box[4]) {
    for (int k = 0; k < 4; k++)
        box[k] = clamp(d->box[k], (k % 2 == 0 ? f->width : f->height) - 1);
}

TnStatus tn_detect_draw(const TnImage *image, const TnDetections *found, TnImage *out, TnError *err) {
    TnStatus st = tnp_image_copy(image, out, err);
    if (st != TN_OK)
        return st;
    uint32_t shorter = image->width < image->height ? image->width : image->height;
    int32_t width = 2 + (int32_t)(shorter / 500);
    double height = fmin(fmax(shorter / 55.0, 7), 40);
    for (uint32_t i = found->n; i-- > 0;) {
        const TnDetection *d = &found->items[i];
        int32_t box[4];
        pixel_box(found, d, box);
        if (d->mask.counts != NULL)
            tnp_draw_mask(out, &d->mask, tnp_colour(d->label), 105);
        tnp_draw_box(out, box, tnp_colour(d->label), width, 0);
    }
    for (uint32_t i = found->n; i-- > 0;) {
        const TnDetection *d = &found->items[i];
        char text[128];
        int32_t box[4];
        pixel_box(found, d, box);
        title_of(d, text, sizeof text);
        tnp_draw_label(out, box[0], box[1] + 1, text, height, tnp_colour(d->label));
    }
    return TN_OK;
}

/* ---- HTML ---- */

/* The masks alone, over the picture: boxes and names are drawn by the browser. */
static TnStatus draw_masks(const TnImage *image, const TnDetections *found, TnImage *out, TnError *err) {
    TnStatus st = tnp_image_copy(image, out, err);
    for (uint32_t i = found->n; st == TN_OK && i-- > 0;) {
        if (found->items[i].mask.counts != NULL)
            tnp_draw_mask(out, &found->items[i].mask, tnp_colour(found->items[i].label), 105);
    }
    return st;
}

static void put_boxes(TnpText *t, const TnDetections *f) {
    double size = fmax(f->width, f->height) / 70.0;
    for (uint32_t i = f->n; i-- > 0;) {
        const TnDetection *d = &f->items[i];
        TnpColour c = tnp_colour(d->label);
        char text[128];
        title_of(d, text, sizeof text);
        tnp_text_printf(t,
                        "<g style=\"--c:rgb(%u,%u,%u)\"><rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"/><text x=\"%.1f\" "
                        "y=\"%.1f\" font-size=\"%.1f\">",
                        c.r, c.g, c.b, (double)d->box[0], (double)d->box[1], fmax((double)d->box[2] - (double)d->box[0], 0),
                        fmax((double)d->box[3] - (double)d->box[1], 0), (double)d->box[0] + size / 4,
                        fmax((double)d->box[1] - size / 3, size), size);
        tnp_text_html(t, text);
        tnp_text_put(t, "</text></g>\n");
    }
}

static void put_table(TnpText *t, const TnDetections *f) {
    tnp_text_put(t, "<table><tr><th></th><th>class</th><th>score</th><th>box</th><th>mask</th></tr>\n");
    for (uint32_t i = 0; i < f->n; i++) {
        const TnDetection *d = &f->items[i];
        TnpColour c = tnp_colour(d->label);
        tnp_text_printf(t, "<tr><td style=\"background:rgb(%u,%u,%u)\"></td><td>", c.r, c.g, c.b);
        if (d->name != NULL)
            tnp_text_html(t, d->name);
        else
            tnp_text_printf(t, "%u", d->label);
        tnp_text_printf(t, "</td><td>%.3f</td><td>%.0f, %.0f, %.0f, %.0f</td><td>", (double)d->score, (double)d->box[0], (double)d->box[1],
                        (double)d->box[2], (double)d->box[3]);
        if (d->mask.counts != NULL)
            tnp_text_printf(t, "%llu pixels", (unsigned long long)tn_rle_area(&d->mask));
        tnp_text_put(t, "</td></tr>\n");
    }
    tnp_text_put(t, "</table>\n");
}

TnStatus tn_detect_page_add(TnDetectPage *page, const TnImage *image, const TnDetections *found, const char *title, TnError *err) {
    TnpText t = {page->text, page->n, page->cap, page->failed};
    TnImage drawn = {0};
    void *png = NULL;
    size_t n = 0;
    TnStatus st = draw_masks(image, found, &drawn, err);
    if (st == TN_OK)
        st = tnp_png_encode(&drawn, &png, &n, err);
    tn_image_free(&drawn);
    if (st == TN_OK) {
        tnp_text_put(&t, "<h2>");
        tnp_text_html(&t, title);
        tnp_text_printf(&t, "</h2>\n<p>%u objects; %.1f ms preparation, %.1f ms model, %.1f ms results</p>\n", found->n,
                        found->preprocess_ms, found->run_ms, found->postprocess_ms);
        tnp_text_printf(
            &t, "<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\"><image width=\"%u\" height=\"%u\" href=\"data:image/png;base64,",
            image->width, image->height, image->width, image->height, image->width, image->height);
        tnp_text_base64(&t, png, n);
        tnp_text_put(&t, "\"/>\n");
        put_boxes(&t, found);
        tnp_text_put(&t, "</svg>\n");
        put_table(&t, found);
    }
    free(png);
    *page = (TnDetectPage){t.p, t.n, t.cap, t.failed};
    return st != TN_OK || !t.failed ? st : tnp_fail(err, TN_ERR_MEMORY, "out of memory: the page of %s", title);
}

void tn_detect_page_free(TnDetectPage *page) {
    free(page->text);
    *page = (TnDetectPage){0};
}

TnStatus tn_detect_page_save(TnDetectPage *page, const char *title, const char *path, TnError *err) {
    TnpText t = {0};
    tnp_text_put(&t, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    tnp_text_html(&t, title);
    tnp_text_put(
        &t, "</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border:1px solid "
            "#ccc;padding:.2em "
            ".6em;text-align:left}svg{max-width:100%;height:auto;border-radius:4px}rect{fill:transparent;stroke:var(--c);stroke-width:2;"
            "vector-effect:non-scaling-stroke}text{fill:#fff;paint-order:stroke;stroke:var(--c);stroke-width:.35em;stroke-linejoin:round;"
            "font-weight:bold}g:hover rect{fill:var(--c);fill-opacity:.35}td:first-child{width:1em}</style></head><body>\n<h1>");
    tnp_text_html(&t, title);
    tnp_text_put(&t, "</h1>\n");
    tnp_text_append(&t, page->text == NULL ? "" : page->text, page->n);
    tnp_text_put(&t, "</body></html>\n");
    t.failed = t.failed || page->failed;
    tn_detect_page_free(page);
    return tnp_text_save(&t, path, err);
}
