/* SPDX-License-Identifier: Apache-2.0
 *
 * Files of boxes, and lines cut out of pages. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "pipelines/ocr.h"
#include "pipelines/util.h"

#define MAX_FILE ((size_t)256 << 20)
#define MAX_BOXES 100000
#define MAX_PAGES 100000
#define MAX_SIDE 65535.0
#define MAX_COORDINATE 1e6

/* Numbers of a list, pairs taken apart; 0 when it is something else. */
static size_t numbers(const json_t *list, double out[8]) {
    size_t n = json_array_size(list), k = 0, width = 0;
    for (size_t i = 0; i < n; i++) {
        const json_t *v = json_array_get(list, i);
        if (json_is_array(v))
            width = json_array_size(v);
        for (size_t j = 0; j < (json_is_array(v) ? width : 1); j++, k++) {
            const json_t *x = json_is_array(v) ? json_array_get(v, j) : v;
            if (k == 8 || !json_is_number(x) || (json_is_array(v) && width != 2))
                return 0;
            out[k] = json_number_value(x);
        }
    }
    return k;
}

static double area(const double c[8]) { /* twice; positive: clockwise on the screen */
    double a = 0;
    for (int i = 0; i < 4; i++)
        a += c[2 * i] * c[(2 * i + 3) % 8] - c[(2 * i + 2) % 8] * c[2 * i + 1];
    return a;
}

static double turn(const double c[8], int i) { /* at corner i: > 0 to the right */
    const double *a = c + 2 * ((i + 3) % 4), *b = c + 2 * i, *d = c + 2 * ((i + 1) % 4);
    return (b[0] - a[0]) * (d[1] - b[1]) - (b[1] - a[1]) * (d[0] - b[0]);
}

/* Clockwise from the corner that is nearest to the top left. false: it crosses itself or has no area. */
static bool order(double c[8]) {
    double sorted[8];
    int first = 0;
    if (!(fabs(area(c)) > 0))
        return false;
    if (area(c) < 0) { /* the other way round */
        double x = c[2], y = c[3];
        c[2] = c[6], c[3] = c[7];
        c[6] = x, c[7] = y;
    }
    for (int i = 0; i < 4; i++) {
        if (!(turn(c, i) >= 0))
            return false;
        double d = c[2 * i] + c[2 * i + 1] - c[2 * first] - c[2 * first + 1];
        if (d < 0 || (d == 0 && c[2 * i + 1] < c[2 * first + 1]))
            first = i;
    }
    for (int i = 0; i < 8; i++)
        sorted[i] = c[(2 * first + i) % 8];
    memcpy(c, sorted, sizeof sorted);
    return true;
}

static TnStatus read_box(const json_t *entry, const char *file, size_t row, size_t index, TnOcrBox *out, TnError *err) {
    const json_t *list = json_is_object(entry) ? json_object_get(entry, "box") : entry, *text = json_is_object(entry) ? json_object_get(entry, "text") : NULL;
    double v[8], *c = out->corner;
    size_t n = numbers(list, v);
    if (n != 4 && n != 8)
        return tnp_fail(err, TN_ERR_PARSE, "'%s' row %zu box %zu: expected [x0,y0,x1,y1], 8 numbers or 4 pairs, or an object with such a \"box\"", file, row,
                        index);
    for (size_t i = 0; i < n; i++) {
        if (!(fabs(v[i]) <= MAX_COORDINATE))
            return tnp_fail(err, TN_ERR_PARSE, "'%s' row %zu box %zu: coordinate %g is no pixel", file, row, index, v[i]);
    }
    if (n == 4 && !(v[2] > v[0] && v[3] > v[1]))
        return tnp_fail(err, TN_ERR_DATA, "'%s' row %zu box %zu: [%g,%g,%g,%g] is inverted or flat; give left, top, right, bottom", file, row, index, v[0], v[1],
                        v[2], v[3]);
    const double upright[8] = {v[0], v[1], v[2], v[1], v[2], v[3], v[0], v[3]};
    memcpy(c, n == 4 ? upright : v, sizeof upright);
    if (!order(c))
        return tnp_fail(err, TN_ERR_DATA, "'%s' row %zu box %zu: the quadrilateral crosses itself, is not convex, or is flat", file, row, index);
    if (text != NULL && !json_is_string(text))
        return tnp_fail(err, TN_ERR_PARSE, "'%s' row %zu box %zu: \"text\" must be a string", file, row, index);
    out->truth = text == NULL ? NULL : strdup(json_string_value(text));
    return text != NULL && out->truth == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: boxes") : TN_OK;
}

static TnStatus read_page(const json_t *page, const char *file, size_t row, TnOcrPage *out, TnError *err) {
    const json_t *list = json_is_array(page) ? page : json_object_get(page, "annotations");
    const json_t *name = json_object_get(page, "file_name");
    if (!json_is_array(list))
        return tnp_fail(err, TN_ERR_PARSE, "'%s' row %zu: expected a list of boxes, or an object with a list \"annotations\"", file, row);
    size_t n = json_array_size(list);
    if (n > MAX_BOXES)
        return tnp_fail(err, TN_ERR_LIMIT, "'%s' row %zu: %zu boxes are more than %d", file, row, n, MAX_BOXES);
    out->box = calloc(n + 1, sizeof *out->box);
    out->picture = json_is_string(name) ? strdup(json_string_value(name)) : NULL;
    if (out->box == NULL || (json_is_string(name) && out->picture == NULL))
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu boxes", n);
    for (size_t i = 0; i < n; i++) {
        out->n = (uint32_t)i + 1;
        TnStatus st = read_box(json_array_get(list, i), file, row, i + 1, &out->box[i], err);
        if (st != TN_OK)
            return st;
    }
    return TN_OK;
}

/* JSON values one after another. */
TnStatus tn_ocr_pages_load(const char *path, TnOcrPages *out, TnError *err) {
    void *data;
    size_t n, at = 0, cap = 0;
    *out = (TnOcrPages){0};
    TnStatus st = tnp_read_file(path, MAX_FILE, &data, &n, err);
    if (st != TN_OK)
        return st;
    const char *text = data;
    while (st == TN_OK && (at += strspn(text + at, " \t\r\n")) < n) {
        json_error_t why;
        json_t *page = json_loadb(text + at, n - at, JSON_DISABLE_EOF_CHECK, &why);
        if (page == NULL) {
            st = tnp_fail(err, TN_ERR_PARSE, "'%s' row %u is no JSON: %s (line %d of it)", path, out->n + 1, why.text, why.line);
            break;
        }
        at += (size_t)why.position; /* jansson's way to say how much it read */
        if (out->n == cap) {
            cap = cap == 0 ? 8 : 2 * cap;
            TnOcrPage *grown = cap > MAX_PAGES ? NULL : realloc(out->page, cap * sizeof *grown);
            if (grown == NULL)
                st = tnp_fail(err, cap > MAX_PAGES ? TN_ERR_LIMIT : TN_ERR_MEMORY, "'%s': %zu pages are too many", path, cap);
            else
                out->page = grown;
        }
        if (st == TN_OK) {
            out->page[out->n] = (TnOcrPage){0};
            out->n++;
            st = read_page(page, path, out->n, &out->page[out->n - 1], err);
        }
        json_decref(page);
    }
    free(data);
    return st == TN_OK && out->n == 0 ? tnp_fail(err, TN_ERR_PARSE, "'%s' has no boxes", path) : st;
}

void tn_ocr_pages_free(TnOcrPages *pages) {
    for (uint32_t i = 0; i < pages->n; i++) {
        for (uint32_t k = 0; k < pages->page[i].n; k++)
            free(pages->page[i].box[k].truth);
        free(pages->page[i].box);
        free(pages->page[i].picture);
    }
    free(pages->page);
    *pages = (TnOcrPages){0};
}

/* ---- cutting ---- */

static TnStatus new_image(double w, double h, TnImage *out, TnError *err) {
    *out = (TnImage){0};
    if (!(w <= MAX_SIDE && h <= MAX_SIDE && w * h <= TN_IMAGE_MAX_PIXELS))
        return tnp_fail(err, TN_ERR_LIMIT, "a line of %g x %g pixels is too large", w, h);
    *out = (TnImage){.rgb = malloc((size_t)w * (size_t)h * 3), .width = (uint32_t)w, .height = (uint32_t)h};
    return out->rgb == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: a line of %g x %g pixels", w, h) : TN_OK;
}

static TnStatus cut_upright(const TnImage *page, const double c[8], TnImage *out, TnError *err) {
    uint32_t x0 = (uint32_t)floor(c[0]), y0 = (uint32_t)floor(c[1]), x1 = (uint32_t)ceil(c[4]), y1 = (uint32_t)ceil(c[5]);
    TnStatus st = new_image(x1 - x0, y1 - y0, out, err);
    for (uint32_t y = y0; st == TN_OK && y < y1; y++)
        memcpy(out->rgb + (size_t)(y - y0) * out->width * 3, page->rgb + ((size_t)y * page->width + x0) * 3, (size_t)out->width * 3);
    return st;
}

/* From the unit square to the corners: (x, y) = (a u + b v + c, d u + e v + f) / (g u + h v + 1) (Heckbert 1989). */
static void projection(const double c[8], double m[8]) {
    double sx = c[0] - c[2] + c[4] - c[6], sy = c[1] - c[3] + c[5] - c[7];
    double dx1 = c[2] - c[4], dx2 = c[6] - c[4], dy1 = c[3] - c[5], dy2 = c[7] - c[5], det = dx1 * dy2 - dx2 * dy1;
    double g = det == 0 ? 0 : (sx * dy2 - dx2 * sy) / det, h = det == 0 ? 0 : (dx1 * sy - sx * dy1) / det;
    m[0] = c[2] - c[0] + g * c[2];
    m[1] = c[6] - c[0] + h * c[6];
    m[2] = c[0];
    m[3] = c[3] - c[1] + g * c[3];
    m[4] = c[7] - c[1] + h * c[7];
    m[5] = c[1];
    m[6] = g;
    m[7] = h;
}

/* Bilinear at x, y (pixel centres at halves); pixels outside are those at the edge. */
static void sample(const TnImage *m, double x, double y, uint8_t out[3]) {
    x = fmin(fmax(x - 0.5, 0), m->width - 1.0);
    y = fmin(fmax(y - 0.5, 0), m->height - 1.0);
    size_t x0 = (size_t)x, y0 = (size_t)y, x1 = x0 + 1 < m->width ? x0 + 1 : x0, y1 = y0 + 1 < m->height ? y0 + 1 : y0;
    double fx = x - (double)x0, fy = y - (double)y0;
    const uint8_t *a = m->rgb + 3 * (y0 * m->width + x0), *b = m->rgb + 3 * (y0 * m->width + x1), *c = m->rgb + 3 * (y1 * m->width + x0),
                  *d = m->rgb + 3 * (y1 * m->width + x1);
    for (int k = 0; k < 3; k++)
        out[k] = (uint8_t)((1 - fy) * ((1 - fx) * a[k] + fx * b[k]) + fy * ((1 - fx) * c[k] + fx * d[k]) + 0.5);
}

static TnStatus cut_straightened(const TnImage *page, const double c[8], TnImage *out, TnError *err) {
    double m[8], w = fmax(hypot(c[2] - c[0], c[3] - c[1]), hypot(c[4] - c[6], c[5] - c[7]));
    double h = fmax(hypot(c[6] - c[0], c[7] - c[1]), hypot(c[4] - c[2], c[5] - c[3]));
    projection(c, m);
    TnStatus st = new_image(fmax(round(w), 1), fmax(round(h), 1), out, err);
    for (uint32_t y = 0; st == TN_OK && y < out->height; y++) {
        for (uint32_t x = 0; x < out->width; x++) {
            double u = (x + 0.5) / out->width, v = (y + 0.5) / out->height, z = m[6] * u + m[7] * v + 1;
            sample(page, (m[0] * u + m[1] * v + m[2]) / z, (m[3] * u + m[4] * v + m[5]) / z, out->rgb + ((size_t)y * out->width + x) * 3);
        }
    }
    return st;
}

TnStatus tn_ocr_cut(const TnImage *page, const TnOcrBox *box, bool clip, TnImage *out, TnError *err) {
    double c[8];
    memcpy(c, box->corner, sizeof c);
    for (int i = 0; i < 8; i++) {
        double limit = i % 2 == 0 ? page->width : page->height, inside = fmin(fmax(c[i], 0), limit);
        if (inside != c[i] && !clip)
            return tnp_fail(err, TN_ERR_DATA, "the box leaves the picture: corner %g,%g of %u x %u pixels; --clip cuts such boxes", c[i - i % 2],
                            c[i - i % 2 + 1], page->width, page->height);
        c[i] = inside;
    }
    if (!order(c))
        return tnp_fail(err, TN_ERR_DATA, "the box lies outside of the picture of %u x %u pixels", page->width, page->height);
    bool upright = c[1] == c[3] && c[5] == c[7] && c[0] == c[6] && c[2] == c[4];
    return upright ? cut_upright(page, c, out, err) : cut_straightened(page, c, out, err);
}
