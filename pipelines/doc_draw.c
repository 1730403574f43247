/* SPDX-License-Identifier: Apache-2.0
 *
 * Results as pictures: boxes over the page as a PNG file, and one HTML file with picture, boxes and tables. */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <png.h>

#include "pipelines/doc_internal.h"
#include "pipelines/util.h"

static const uint8_t palette[][3] = {{31, 119, 180},  {214, 39, 40},  {44, 160, 44}, {127, 127, 127},
                                     {148, 103, 189}, {255, 127, 14}, {23, 190, 207}};

static const uint8_t *colour(const char *label) {
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

/* A third of the colour over the picture, or all of it. */
static void dot(TnImage *m, int64_t x, int64_t y, const uint8_t *c, bool tint) {
    if (x < 0 || y < 0 || x >= m->width || y >= m->height)
        return;
    uint8_t *p = m->rgb + ((size_t)y * m->width + (size_t)x) * 3;
    for (int k = 0; k < 3; k++)
        p[k] = tint ? (uint8_t)((p[k] * 4 + c[k]) / 5) : c[k];
}

static void draw_box(TnImage *m, const int32_t box[4], const uint8_t *c, int32_t width) {
    int32_t x0 = box[0] < 0 ? 0 : box[0], y0 = box[1] < 0 ? 0 : box[1];
    int32_t x1 = box[2] > (int32_t)m->width ? (int32_t)m->width : box[2], y1 = box[3] > (int32_t)m->height ? (int32_t)m->height : box[3];
    for (int32_t y = y0; y <= y1; y++) {
        for (int32_t x = x0; x <= x1; x++)
            dot(m, x, y, c, x >= x0 + width && x <= x1 - width && y >= y0 + width && y <= y1 - width);
    }
}

static void draw_line(TnImage *m, const int32_t a[2], const int32_t b[2], const uint8_t *c, int32_t width) {
    int64_t dx = b[0] - a[0], dy = b[1] - a[1], n = llabs(dx) > llabs(dy) ? llabs(dx) : llabs(dy);
    if (n > 200000)
        return;
    for (int64_t i = 0; i <= n; i++) {
        for (int32_t k = 0; k < width * width; k++)
            dot(m, a[0] + (n == 0 ? 0 : dx * i / n) + k % width, a[1] + (n == 0 ? 0 : dy * i / n) + k / width, c, false);
    }
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
    size_t bytes = (size_t)image->width * image->height * 3;
    *out = (TnImage){malloc(bytes), image->width, image->height};
    if (out->rgb == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu bytes for a picture", bytes);
    memcpy(out->rgb, image->rgb, bytes);
    int32_t width = 1 + (int32_t)(image->width > image->height ? image->width : image->height) / 1000;
    for (uint32_t i = 0; i < result->n; i++)
        draw_box(out, result->entities[i].box, colour(result->entities[i].label), width);
    for (uint32_t i = 0; i < result->n; i++) {
        const TnDocEntity *a = &result->entities[i];
        int32_t from[2], to[2];
        if (a->question == TN_DOC_NONE)
            continue;
        link_ends(&result->entities[a->question], a, from, to);
        draw_line(out, from, to, palette[5], width);
    }
    return TN_OK;
}

/* ---- PNG ---- */

typedef struct Bytes {
    uint8_t *p;
    size_t n, cap;
    bool failed;
} Bytes;

static void append_bytes(Bytes *b, const void *data, size_t n) {
    if (b->n + n > b->cap) {
        size_t cap = (b->n + n) * 2;
        uint8_t *grown = b->failed ? NULL : realloc(b->p, cap);
        b->failed = grown == NULL;
        if (b->failed)
            return;
        b->p = grown;
        b->cap = cap;
    }
    memcpy(b->p + b->n, data, n);
    b->n += n;
}

static void put(Bytes *b, const char *s) {
    append_bytes(b, s, strlen(s));
}

static void png_append(png_structp png, png_bytep data, size_t n) {
    Bytes *b = png_get_io_ptr(png);
    append_bytes(b, data, n);
    if (b->failed)
        png_error(png, "out of memory");
}

static void png_flushed(png_structp png) {
    (void)png;
}

/* false when libpng gave up; *bytes then holds what there is. */
static bool write_png(const TnImage *image, Bytes *bytes, png_structp png, png_infop info) {
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
    Bytes *bytes = calloc(1, sizeof *bytes);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
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

/* Whole or not at all: beside the file first, then in its place. */
static TnStatus write_file(const char *path, const void *data, size_t n, TnError *err) {
    char part[4200];
    if (snprintf(part, sizeof part, "%s.part%ld", path, (long)getpid()) >= (int)sizeof part)
        return tnp_fail(err, TN_ERR_IO, "the path '%.100s...' is too long", path);
    FILE *f = fopen(part, "wb");
    bool ok = f != NULL && fwrite(data, 1, n, f) == n;
    ok = f != NULL && fclose(f) == 0 && ok;
    if (ok && rename(part, path) == 0)
        return TN_OK;
    TnStatus st = tnp_fail(err, TN_ERR_IO, "'%s' cannot be written: %s", path, strerror(errno));
    remove(part);
    return st;
}

TnStatus tn_image_save_png(const TnImage *image, const char *path, TnError *err) {
    void *data;
    size_t n;
    TnStatus st = tnp_png_encode(image, &data, &n, err);
    if (st == TN_OK)
        st = write_file(path, data, n, err);
    free(data);
    return st;
}

/* ---- HTML ---- */

static void put_escaped(Bytes *b, const char *s) {
    for (; *s != '\0'; s++) {
        const char *name = *s == '&' ? "&amp;" : *s == '<' ? "&lt;" : *s == '>' ? "&gt;" : *s == '"' ? "&quot;" : NULL;
        append_bytes(b, name != NULL ? name : s, name != NULL ? strlen(name) : 1);
    }
}

static void put_base64(Bytes *b, const uint8_t *p, size_t n) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)p[i] << 16 | (uint32_t)(i + 1 < n ? p[i + 1] : 0) << 8 | (i + 2 < n ? p[i + 2] : 0u);
        char out[4] = {digits[v >> 18], digits[v >> 12 & 63], i + 1 < n ? digits[v >> 6 & 63] : '=', i + 2 < n ? digits[v & 63] : '='};
        append_bytes(b, out, 4);
    }
}

static void put_boxes(Bytes *b, const TnDocResult *r) {
    char text[400];
    for (uint32_t i = 0; i < r->n; i++) {
        const TnDocEntity *e = &r->entities[i];
        const uint8_t *c = colour(e->label);
        snprintf(text, sizeof text,
                 "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"rgb(%d,%d,%d)\" stroke=\"rgb(%d,%d,%d)\"><title>", e->box[0],
                 e->box[1], e->box[2] - e->box[0], e->box[3] - e->box[1], c[0], c[1], c[2], c[0], c[1], c[2]);
        put(b, text);
        put_escaped(b, e->label);
        snprintf(text, sizeof text, " %.3f: ", (double)e->score);
        put(b, text);
        put_escaped(b, e->text);
        put(b, "</title></rect>\n");
    }
    for (uint32_t i = 0; i < r->n; i++) {
        const TnDocEntity *a = &r->entities[i];
        int32_t from[2], to[2];
        if (a->question == TN_DOC_NONE)
            continue;
        link_ends(&r->entities[a->question], a, from, to);
        snprintf(text, sizeof text, "<line x1=\"%d\" y1=\"%d\" x2=\"%d\" y2=\"%d\"/>\n", from[0], from[1], to[0], to[1]);
        put(b, text);
    }
}

/* Entities in reading order; pairs: questions with their answers. */
static TnStatus put_tables(Bytes *b, const TnDocResult *r, TnError *err) {
    uint32_t *at = malloc((r->n + 1u) * sizeof *at);
    char text[200];
    if (at == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u entities", r->n);
    for (uint32_t i = 0; i < r->n; i++)
        at[r->entities[i].order] = i;
    put(b, "<h2>Questions and answers</h2>\n<table><tr><th>question</th><th>answer</th></tr>\n");
    for (uint32_t k = 0; k < r->n; k++) {
        if (strcmp(r->entities[at[k]].label, "question") != 0)
            continue;
        put(b, "<tr><td>");
        put_escaped(b, r->entities[at[k]].text);
        put(b, "</td><td>");
        bool first = true;
        for (uint32_t j = 0; j < r->n; j++) {
            if (r->entities[at[j]].question != at[k])
                continue;
            put(b, first ? "" : "<br>");
            put_escaped(b, r->entities[at[j]].text);
            first = false;
        }
        put(b, "</td></tr>\n");
    }
    put(b, "</table>\n<h2>Entities</h2>\n<table><tr><th></th><th>label</th><th>score</th><th>text</th></tr>\n");
    for (uint32_t k = 0; k < r->n; k++) {
        const TnDocEntity *e = &r->entities[at[k]];
        const uint8_t *c = colour(e->label);
        snprintf(text, sizeof text, "<tr><td style=\"background:rgb(%d,%d,%d)\"></td><td>", c[0], c[1], c[2]);
        put(b, text);
        put_escaped(b, e->label);
        snprintf(text, sizeof text, "</td><td>%.3f</td><td>", (double)e->score);
        put(b, text);
        put_escaped(b, e->text);
        put(b, "</td></tr>\n");
    }
    put(b, "</table>\n");
    free(at);
    return TN_OK;
}

TnStatus tn_doc_save_html(const TnImage *image, const TnDocResult *result, const char *title, const char *path, TnError *err) {
    Bytes b = {0};
    void *png;
    size_t n;
    char text[400];
    TnStatus st = tnp_png_encode(image, &png, &n, err);
    if (st != TN_OK)
        return st;
    put(&b, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    put_escaped(&b, title);
    put(&b,
        "</title>\n<style>body{font:15px sans-serif;margin:2em;color:#222}table{border-collapse:collapse}td,th{border:1px solid "
        "#ccc;padding:.2em "
        ".6em;text-align:left;vertical-align:top}svg{max-width:100%;height:auto;border:1px solid #ccc}rect{fill-opacity:.2;stroke-width:2}"
        "rect:hover{fill-opacity:.5}line{stroke:#ff7f0e;stroke-width:2}</style></head><body>\n<h1>");
    put_escaped(&b, title);
    snprintf(text, sizeof text,
             "</h1>\n<svg viewBox=\"0 0 %u %u\" width=\"%u\" height=\"%u\"><image width=\"%u\" height=\"%u\" href=\"data:image/png;base64,",
             image->width, image->height, image->width, image->height, image->width, image->height);
    put(&b, text);
    put_base64(&b, png, n);
    free(png);
    put(&b, "\"/>\n");
    put_boxes(&b, result);
    put(&b, "</svg>\n");
    st = put_tables(&b, result, err);
    put(&b, "</body></html>\n");
    if (st == TN_OK)
        st = b.failed ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: the page '%s'", path) : write_file(path, b.p, b.n, err);
    free(b.p);
    return st;
}
