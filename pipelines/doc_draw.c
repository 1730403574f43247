/* SPDX-License-Identifier: Apache-2.0
 *
 * Results as pictures: boxes over the page as a PNG file, and one HTML file with picture, boxes and tables. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/doc_internal.h"
#include "pipelines/draw.h"
#include "pipelines/util.h"

static const TnpColour palette[] = {{31, 119, 180},  {214, 39, 40},  {44, 160, 44}, {127, 127, 127},
                                     {148, 103, 189}, {255, 127, 14}, {23, 190, 207}};

static TnpColour colour(const char *label) {
    static const char *const names[] = {"header", "question", "answer", "other"};
    uint32_t h = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(label, names[i]) == 0)
            return palette[i];
    }
    for (; *label != '\0'; label++)
        h = h * 31 + (uint8_t)*label;
    return palette[4 + h % 3];
}

/* Where the line from a question to its answer ends on each. */
static void link_ends(const TnDocEntity *q, const TnDocEntity *a, int32_t from[2], int32_t to[2]) {
    bool beside = q->box[2] <= a->box[0];
    from[0] = beside ? q->box[2] : (q->box[0] + q->box[2]) / 2;
    from[1] = beside ? (q->box[1] + q->box[3]) / 2 : q->box[3];
    to[0] = beside ? a->box[0] : (a->box[0] + a->box[2]) / 2;
    to[1] = beside ? (a->box[1] + a->box[3]) / 2 : a->box[1];
}

TnStatus tn_doc_draw(const TnImage *image, const TnDocResult *result, TnImage *out, TnError *err) {
    TnStatus st = tnp_image_copy(image, out, err);
    if (st != TN_OK)
        return st;
    int32_t width = 1 + (int32_t)(image->width > image->height ? image->width : image->height) / 1000;
    for (uint32_t i = 0; i < result->n; i++)
        tnp_draw_box(out, result->entities[i].box, colour(result->entities[i].label), width, 51);
    for (uint32_t i = 0; i < result->n; i++) {
        const TnDocEntity *a = &result->entities[i];
        int32_t from[2], to[2];
        if (a->question == TN_DOC_NONE)
            continue;
        link_ends(&result->entities[a->question], a, from, to);
        tnp_draw_line(out, from, to, palette[5], width);
    }
    return TN_OK;
}

/* ---- HTML ---- */

static void put_boxes(TnpText *b, const TnDocResult *r) {
    char text[400];
    for (uint32_t i = 0; i < r->n; i++) {
        const TnDocEntity *e = &r->entities[i];
        TnpColour c = colour(e->label);
        snprintf(text, sizeof text,
                 "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"rgb(%d,%d,%d)\" stroke=\"rgb(%d,%d,%d)\"><title>", e->box[0],
                 e->box[1], e->box[2] - e->box[0], e->box[3] - e->box[1], c.r, c.g, c.b, c.r, c.g, c.b);
        tnp_text_put(b, text);
        tnp_text_html(b, e->label);
        snprintf(text, sizeof text, " %.3f: ", (double)e->score);
        tnp_text_put(b, text);
        tnp_text_html(b, e->text);
        tnp_text_put(b, "</title></rect>\n");
    }
    for (uint32_t i = 0; i < r->n; i++) {
        const TnDocEntity *a = &r->entities[i];
        int32_t from[2], to[2];
        if (a->question == TN_DOC_NONE)
            continue;
        link_ends(&r->entities[a->question], a, from, to);
        snprintf(text, sizeof text, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", from[0], from[1], to[0], to[1]);
        tnp_text_put(b, text);
    }
}

/* Entities in reading order; pairs: questions with their answers. */
static TnStatus put_tables(TnpText *b, const TnDocResult *r, TnError *err) {
    uint32_t *at = malloc((r->n + 1u) * sizeof *at);
    char text[200];
    if (at == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u entities", r->n);
    for (uint32_t i = 0; i < r->n; i++)
        at[r->entities[i].order] = i;
    tnp_text_put(b, "<h2>Questions and answers</h2>\n<table><tr><th>question</th><th>answer</th></tr>\n");
    for (uint32_t k = 0; k < r->n; k++) {
        if (strcmp(r->entities[at[k]].label, "question") != 0)
            continue;
        tnp_text_put(b, "<tr><td>");
        tnp_text_html(b, r->entities[at[k]].text);
        tnp_text_put(b, "</td><td>");
        bool first = true;
        for (uint32_t j = 0; j < r->n; j++) {
            if (r->entities[at[j]].question != at[k])
                continue;
            tnp_text_put(b, first ? "" : "<br>");
            tnp_text_html(b, r->entities[at[j]].text);
            first = false;
        }
        tnp_text_put(b, "</td></tr>\n");
    }
    tnp_text_put(b, "</table>\n<h2>Entities</h2>\n<table><tr><th></th><th>label</th><th>score</th><th>text</th></tr>\n");
    for (uint32_t k = 0; k < r->n; k++) {
        const TnDocEntity *e = &r->entities[at[k]];
        TnpColour c = colour(e->label);
        snprintf(text, sizeof text, "<tr><td style=\"background:rgb(%d,%d,%d)\"></td><td>", c.r, c.g, c.b);
        tnp_text_put(b, text);
        tnp_text_html(b, e->label);
        snprintf(text, sizeof text, "</td><td>%.3f</td><td>", (double)e->score);
        tnp_text_put(b, text);
        tnp_text_html(b, e->text);
        tnp_text_put(b, "</td></tr>\n");
    }
    tnp_text_put(b, "</table>\n");
    free(at);
    return TN_OK;
}

TnStatus tn_doc_save_html(const TnImage *image, const TnDocResult *result, const char *title, const char *path, TnError *err) {
    TnpText b = {0};
    void *png;
    size_t n;
    char text[400];
    TnStatus st = tnp_png_encode(image, &png, &n, err);
    if (st != TN_OK)
        return st;
    tnp_text_put(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    tnp_text_html(&b, title);
    tnp_text_put(&b,
        "</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border:1px solid "
        "#ccc;padding:.2em "
        ".6em;text-align:left;vertical-align:top}svg{max-width:100%;height:auto;border:1px solid #ccc}rect{fill-opacity:.2;stroke-width:2}"
        "rect:hover{fill-opacity:.5}line{stroke:#ff7f0e;stroke-width:2}</style></head><body>\n<h1>");
    tnp_text_html(&b, title);
    snprintf(text, sizeof text,
             "</h1>\n<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\"><image width=\"%u\" height=\"%u\" href=\"data:image/png;base64,",
             image->width, image->height, image->width, image->height, image->width, image->height);
    tnp_text_put(&b, text);
    tnp_text_base64(&b, png, n);
    free(png);
    tnp_text_put(&b, "\"/>\n");
    put_boxes(&b, result);
    tnp_text_put(&b, "</svg>\n");
    st = put_tables(&b, result, err);
    tnp_text_put(&b, "</body></html>\n");
    if (st == TN_OK)
        return tnp_text_save(&b, path, err);
    free(b.p);
    return st;
}
