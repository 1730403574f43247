/* SPDX-License-Identifier: Apache-2.0
 *
 * Run lengths: reading and writing them, polygons, union, intersection. Every TnRle that leaves this file has runs that add up to its
 * area, so the readers of runs need no checks. The polygon's arithmetic (fifths of a pixel, truncation towards zero) must stay as it is:
 * masks of ground truth depend on it. */
#include "pipelines/rle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pipelines/util.h"

#define STEPS 5.0 /* of the outline in a pixel */
#define MAX_CORNER 1e6
#define MAX_OUTLINE 5e7

void tn_rle_free(TnRle *rle) {
    free(rle->counts);
    *rle = (TnRle){0};
}

static TnStatus check_size(uint32_t height, uint32_t width, TnError *err) {
    if (height > TN_RLE_MAX_SIDE || width > TN_RLE_MAX_SIDE || (uint64_t)height * width > TN_RLE_MAX_PIXELS)
        return tnp_fail(err, TN_ERR_LIMIT, "a mask of %u x %u pixels; at most %u on a side and %u in all are possible", width, height,
                        TN_RLE_MAX_SIDE, TN_RLE_MAX_PIXELS);
    return TN_OK;
}

/* ---- writing ---- */

void tn_rle_append(TnRleWriter *w, bool value, uint32_t count) {
    if (count == 0 || w->failed)
        return;
    if (w->n == w->cap || w->n + 1 == w->cap) {
        uint32_t cap = w->cap == 0 ? 16 : w->cap * 2;
        uint32_t *grown = realloc(w->counts, cap * sizeof *grown);
        w->failed = grown == NULL;
        if (w->failed)
            return;
        w->counts = grown;
        w->cap = cap;
    }
    if (w->n == 0)
        w->counts[w->n++] = 0; /* the run of 0 that every mask begins with */
    if (value == w->value) {
        w->counts[w->n - 1] += count;
        return;
    }
    w->counts[w->n++] = count;
    w->value = value;
}

TnStatus tn_rle_finish(TnRleWriter *w, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    bool failed = w->failed;
    *out = failed ? (TnRle){0} : (TnRle){height, width, w->n, w->counts};
    if (failed)
        free(w->counts);
    *w = (TnRleWriter){0};
    return failed ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: the runs of a mask") : TN_OK;
}

/* ---- reading ---- */

static TnStatus wrong_sum(uint64_t sum, bool more, uint32_t height, uint32_t width, TnError *err) {
    return tnp_fail(err, TN_ERR_DATA, "the runs of the mask add up to %llu%s pixels, its size is %u x %u = %llu", (unsigned long long)sum,
                    more ? " or more" : "", width, height, (unsigned long long)height * width);
}

TnStatus tn_rle_from_counts(const uint32_t *counts, uint32_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    uint64_t sum = 0, pixels = (uint64_t)height * width;
    *out = (TnRle){0};
    TnStatus st = check_size(height, width, err);
    if (st != TN_OK)
        return st;
    for (uint32_t i = 0; i < n && sum <= pixels; i++)
        sum += counts[i];
    if (sum != pixels)
        return wrong_sum(sum, sum > pixels, height, width, err);
    *out = (TnRle){height, width, n, malloc((n + 1u) * sizeof *counts)};
    if (out->counts == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u runs of a mask", n);
    if (n > 0)
        memcpy(out->counts, counts, n * sizeof *counts);
    return TN_OK;
}

TnStatus tn_rle_from_text(const char *text, size_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    *out = (TnRle){0};
    TnStatus st = check_size(height, width, err);
    if (st != TN_OK)
        return st;
    uint32_t *counts = malloc((n + 1) * sizeof *counts), m = 0;
    if (counts == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: a mask of %zu characters", n);
    for (size_t at = 0; at < n && st == TN_OK;) {
        int64_t value = 0;
        size_t first = at;
        for (uint32_t shift = 0;; shift += 5) {
            int c = at < n ? (unsigned char)text[at] - 48 : -1;
            if (c < 0 || c > 63 || shift > 30) {
                st = tnp_fail(err, TN_ERR_DATA,
                              at >= n      ? "the mask's text ends within a number"
                              : shift > 30 ? "the mask's text has a number of "
                                             "more than 35 bits at character %zu"
                                           : "character %zu of the mask's text is none of '0' to 'o'",
                              shift > 30 ? first : at);
                break;
            }
            at++;
            value |= (int64_t)(c & 31) << shift;
            if ((c & 32) == 0) {
                value -= (c & 16) != 0 ? (int64_t)1 << (shift + 5) : 0;
                break;
            }
        }
        value += st == TN_OK && m > 2 ? counts[m - 2] : 0;
        if (st == TN_OK && (value < 0 || value > TN_RLE_MAX_PIXELS))
            st = tnp_fail(err, TN_ERR_DATA, "run %u of the mask is %lld pixels long", m, (long long)value);
        if (st == TN_OK)
            counts[m++] = (uint32_t)value;
    }
    if (st == TN_OK)
        st = tn_rle_from_counts(counts, m, height, width, out, err);
    free(counts);
    return st;
}

char *tn_rle_to_text(const TnRle *rle) {
    char *text = malloc((size_t)rle->n * 7 + 1), *p = text;
    for (uint32_t i = 0; text != NULL && i < rle->n; i++) {
        int64_t x = (int64_t)rle->counts[i] - (i > 2 ? rle->counts[i - 2] : 0);
        for (bool more = true; more;) {
            int64_t low = x & 31;
            x = (x - low) / 32;
            more = (low & 16) != 0 ? x != -1 : x != 0;
            *p++ = (char)(48 + low + (more ? 32 : 0));
        }
    }
    if (text != NULL)
        *p = '\0';
    return text;
}

TnStatus tn_rle_from_mask(const uint8_t *bits, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    TnRleWriter w = {0};
    *out = (TnRle){0};
    TnStatus st = check_size(height, width, err);
    if (st != TN_OK)
        return st;
    for (uint32_t x = 0; x < width; x++) {
        for (uint32_t y = 0, from = 0; y < height; from = y) {
            bool v = bits[(size_t)y * width + x] != 0;
            while (y < height && (bits[(size_t)y * width + x] != 0) == v)
                y++;
            tn_rle_append(&w, v, y - from);
        }
    }
    return tn_rle_finish(&w, height, width, out, err);
}

void tn_rle_to_mask(const TnRle *rle, uint8_t *bits) {
    uint64_t at = 0;
    for (uint32_t i = 0; i < rle->n; i++) {
        for (uint32_t k = 0; k < rle->counts[i]; k++, at++)
            bits[at % rle->height * rle->width + at / rle->height] = i % 2;
    }
}

/* ---- measures ---- */

uint64_t tn_rle_area(const TnRle *rle) {
    uint64_t sum = 0;
    for (uint32_t i = 1; i < rle->n; i += 2)
        sum += rle->counts[i];
    return sum;
}

void tn_rle_box(const TnRle *rle, double box[4]) {
    uint32_t x0 = rle->width, y0 = rle->height, x1 = 0, y1 = 0, h = rle->height;
    uint64_t at = 0;
    for (uint32_t i = 0; i < rle->n; at += rle->counts[i++]) {
        if (i % 2 == 0 || rle->counts[i] == 0)
            continue;
        uint64_t last = at + rle->counts[i] - 1;
        uint32_t xa = (uint32_t)(at / h), xb = (uint32_t)(last / h), ya = (uint32_t)(at % h), yb = (uint32_t)(last % h);
        if (xa < xb) { /* over the end of a column */
            ya = 0;
            yb = h - 1;
        }
        x0 = xa < x0 ? xa : x0;
        x1 = xb > x1 ? xb : x1;
        y0 = ya < y0 ? ya : y0;
        y1 = yb > y1 ? yb : y1;
    }
    bool empty = x0 > x1;
    box[0] = empty ? 0 : x0;
    box[1] = empty ? 0 : y0;
    box[2] = empty ? 0 : x1 - x0 + 1;
    box[3] = empty ? 0 : y1 - y0 + 1;
}

uint64_t tn_rle_common(const TnRle *a, const TnRle *b) {
    uint64_t common = 0, end_a = 0, end_b = 0, at = 0;
    uint32_t i = 0, j = 0;
    for (;;) { /* i, j: runs begun; at: pixels seen */
        while (i < a->n && end_a <= at)
            end_a += a->counts[i++];
        while (j < b->n && end_b <= at)
            end_b += b->counts[j++];
        if (end_a <= at || end_b <= at)
            return common;
        uint64_t end = end_a < end_b ? end_a : end_b;
        if (i % 2 == 0 && j % 2 == 0)
            common += end - at;
        at = end;
    }
}

static TnStatus both(const TnRle *a, const TnRle *b, TnRle *out, TnError *err) {
    TnRleWriter w = {0};
    uint64_t end_a = 0, end_b = 0, at = 0;
    uint32_t i = 0, j = 0;
    for (;;) {
        while (i < a->n && end_a <= at)
            end_a += a->counts[i++];
        while (j < b->n && end_b <= at)
            end_b += b->counts[j++];
        if (end_a <= at || end_b <= at)
            break;
        uint64_t end = end_a < end_b ? end_a : end_b;
        tn_rle_append(&w, i % 2 == 0 || j % 2 == 0, (uint32_t)(end - at));
        at = end;
    }
    return tn_rle_finish(&w, a->height, a->width, out, err);
}

TnStatus tn_rle_union(const TnRle *rles, uint32_t n, TnRle *out, TnError *err) {
    TnRle sum;
    TnStatus st = tn_rle_from_counts(rles[0].counts, rles[0].n, rles[0].height, rles[0].width, out, err);
    for (uint32_t i = 1; st == TN_OK && i < n; i++) {
        if (rles[i].height != out->height || rles[i].width != out->width)
            st = tnp_fail(err, TN_ERR_ARGUMENT, "masks of %u x %u and %u x %u pixels cannot be joined", out->width, out->height,
                          rles[i].width, rles[i].height);
        else
            st = both(out, &rles[i], &sum, err);
        if (st == TN_OK) {
            tn_rle_free(out);
            *out = sum;
        }
    }
    if (st != TN_OK)
        tn_rle_free(out);
    return st;
}

/* ---- polygons ---- */

/* Where the outline crosses the middle of pixel columns: offsets into the mask at which 0 and 1 change. */
typedef struct Crossings {
    uint32_t *at;
    size_t n, cap;
    uint32_t height, width;
    int32_t u, v; /* the outline's last point, in steps */
    bool begun, failed;
} Crossings;

static void cross(Crossings *c, double column, double row) {
    if (c->n == c->cap) {
        size_t cap = c->cap == 0 ? 256 : c->cap * 2;
        uint32_t *grown = realloc(c->at, cap * sizeof *grown);
        c->failed = grown == NULL;
        if (c->failed)
            return;
        c->at = grown;
        c->cap = cap;
    }
    c->at[c->n++] = (uint32_t)column * c->height + (uint32_t)row;
}

/* The next point of the outline. Only a step from one u to the next can cross a column's middle. */
static void outline_to(Crossings *c, int32_t u, int32_t v) {
    if (c->begun && u != c->u && !c->failed) {
        double column = ((u < c->u ? u : u - 1) + 0.5) / STEPS - 0.5, row = ((v < c->v ? v : c->v) + 0.5) / STEPS - 0.5;
        if (floor(column) == column && column >= 0 && column <= (double)c->width - 1)
            cross(c, column, ceil(row < 0 ? 0 : row > c->height ? c->height : row));
    }
    c->begun = true;
    c->u = u;
    c->v = v;
}

/* From a to b along the longer axis; a line drawn from b to a has the same points, so it is always computed from its smaller end. */
static void outline_edge(Crossings *c, const int32_t a[2], const int32_t b[2]) {
    int32_t n[2] = {abs(b[0] - a[0]), abs(b[1] - a[1])}, major = n[0] >= n[1] ? 0 : 1, steps = n[major];
    bool back = a[major] > b[major];
    const int32_t *from = back ? b : a, *to = back ? a : b;
    double slope = steps == 0 ? 0 : (double)(to[1 - major] - from[1 - major]) / steps;
    for (int32_t i = 0; i <= steps && !c->failed; i++) {
        int32_t t = back ? steps - i : i, along = from[major] + t, across = (int32_t)(from[1 - major] + slope * t + 0.5);
        outline_to(c, major == 0 ? along : across, major == 0 ? across : along);
    }
}

static int by_offset(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static TnStatus check_corners(const double *xy, uint32_t n, TnError *err) {
    double steps = 0;
    for (uint32_t i = 0; i < n; i++) {
        const double *a = xy + 2 * (size_t)i, *b = xy + 2 * (size_t)(i + 1 == n ? 0 : i + 1);
        if (!(fabs(a[0]) <= MAX_CORNER && fabs(a[1]) <= MAX_CORNER))
            return tnp_fail(err, TN_ERR_DATA, "corner %u of the polygon is at (%g, %g)", i, a[0], a[1]);
        steps += STEPS * fmax(fabs(a[0] - b[0]), fabs(a[1] - b[1])) + 1;
    }
    if (!(steps <= MAX_OUTLINE))
        return tnp_fail(err, TN_ERR_LIMIT, "the polygon's outline is %.0f pixels long; at most %.0f are drawn", steps / STEPS,
                        MAX_OUTLINE / STEPS);
    return TN_OK;
}

TnStatus tn_rle_from_polygon(const double *xy, uint32_t n, uint32_t height, uint32_t width, TnRle *out, TnError *err) {
    Crossings c = {.height = height, .width = width};
    TnRleWriter w = {0};
    *out = (TnRle){0};
    TnStatus st = check_size(height, width, err);
    if (st == TN_OK)
        st = check_corners(xy, n, err);
    if (st != TN_OK)
        return st;
    for (uint32_t i = 0; i < n && !c.failed; i++) {
        uint32_t k = i + 1 == n ? 0 : i + 1;
        int32_t a[2], b[2];
        for (uint32_t d = 0; d < 2; d++) {
            a[d] = (int32_t)(STEPS * xy[2 * (size_t)i + d] + 0.5);
            b[d] = (int32_t)(STEPS * xy[2 * (size_t)k + d] + 0.5);
        }
        outline_edge(&c, a, b);
    }
    w.failed = c.failed;
    if (c.n > 0)
        qsort(c.at, c.n, sizeof *c.at, by_offset);
    uint32_t seen = 0;
    for (size_t i = 0; i < c.n; i++) {
        tn_rle_append(&w, i % 2 == 1, c.at[i] - seen);
        seen = c.at[i];
    }
    tn_rle_append(&w, c.n % 2 == 1, height * width - seen);
    free(c.at);
    return tn_rle_finish(&w, height, width, out, err);
}
