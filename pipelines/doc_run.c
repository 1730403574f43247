/* SPDX-License-Identifier: Apache-2.0
 *
 * Pages to labels: tokens -> windows -> logits -> a label for every token from the window that sees most around it. Pages read together are made ready side
 * by side, and their windows share batches. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pipelines/doc_internal.h"
#include "pipelines/util.h"

/* Windows over the tokens: window w holds [start(w), start(w) + cap) of them. */
typedef struct Windows {
    uint32_t n, cap, step, total;
    bool last_full; /* the last window ends with the page and is full */
} Windows;

static Windows plan_windows(const TnDoc *d) {
    Windows w = {.cap = d->window - 2, .total = (uint32_t)d->tokens.n};
    w.step = w.cap - d->options.overlap;
    w.n = w.total <= w.cap ? 1 : 1 + (w.total - w.cap + w.step - 1) / w.step;
    w.last_full = d->options.overlap > 0 && w.n > 1;
    return w;
}

static uint32_t window_start(const Windows *w, uint32_t i) {
    return w->last_full && i + 1 == w->n ? w->total - w->cap : i * w->step;
}

static uint32_t window_end(const Windows *w, uint32_t i) {
    uint32_t end = window_start(w, i) + w->cap;
    return end < w->total ? end : w->total;
}

/* Tokens that window i sees on the poorer side of token t; the page's own ends do not count. */
static uint32_t context_of(const Windows *w, uint32_t i, uint32_t t) {
    uint32_t from = window_start(w, i), to = window_end(w, i);
    uint32_t before = from == 0 ? UINT32_MAX : t - from, after = to == w->total ? UINT32_MAX : to - 1 - t;
    return before < after ? before : after;
}

static uint32_t best_window(const Windows *w, uint32_t t) {
    uint32_t best = 0, most = 0, last = t / w->step;
    bool found = false;
    for (uint32_t i = last > 2 + w->cap / w->step ? last - 2 - w->cap / w->step : 0; i < w->n && (i <= last || i + 1 == w->n); i++) {
        if (t < window_start(w, i) || t >= window_end(w, i))
            continue;
        uint32_t c = context_of(w, i, t);
        if (!found || c > most) {
            best = i;
            most = c;
            found = true;
        }
    }
    return best;
}

/* One row of the batch: <s> tokens </s> padding. */
static void fill_row(const TnDoc *d, const Windows *w, uint32_t window, uint32_t length, int64_t *ids, int64_t *mask, int64_t *boxes) {
    uint32_t from = window_start(w, window), n = window_end(w, window) - from;
    for (uint32_t i = 0; i < length; i++) {
        bool text = i >= 1 && i <= n;
        if (ids != NULL)
            ids[i] = i == 0 ? d->start_id : text ? d->tokens.ids[from + i - 1] : i == n + 1 ? d->end_id : d->pad_id;
        if (mask != NULL)
            mask[i] = i < n + 2;
        for (uint32_t k = 0; boxes != NULL && k < 4; k++)
            boxes[4 * i + k] = text ? d->box[4 * d->word[from + i - 1] + k] : 0;
    }
}

static TnStatus make_planes(const TnDoc *d, const TnImage *image, float *planes, TnError *err) {
    TnImage resized;
    TnStatus st = tn_image_resize(image, d->width, d->height, d->resample, &resized, err);
    if (st != TN_OK)
        return st;
    tn_image_normalize(&resized, d->scale, d->mean, d->std, planes);
    tn_image_free(&resized);
    return TN_OK;
}

static void take_labels(TnDoc *d, const Windows *w, uint32_t window, const float *logits) {
    uint32_t from = window_start(w, window), to = window_end(w, window);
    for (uint32_t t = from; t < to; t++) {
        const float *x = logits + (size_t)(t - from + 1) * d->n_labels;
        uint32_t best = 0;
        double sum = 0;
        if (best_window(w, t) != window)
            continue;
        for (uint32_t k = 1; k < d->n_labels; k++)
            best = x[k] > x[best] ? k : best;
        for (uint32_t k = 0; k < d->n_labels; k++)
            sum += exp((double)x[k] - (double)x[best]);
        d->label[t] = best;
        d->score[t] = (float)(1.0 / sum);
    }
}

/* A window of a page, a row of a batch. */
typedef struct Row {
    TnDoc *page;
    const float *plane; /* of its picture */
    uint32_t window;
} Row;

typedef struct Batch {
    uint32_t length; /* of a sequence */
    int64_t *ids, *mask, *boxes;
    float *planes;
} Batch;

static TnStatus run_batch(TnDoc *d, const Row *rows, uint32_t n, Batch *b, TnError *err) {
    const uint32_t all = n < d->least_batch ? d->least_batch : n; /* a plan for more gets the last window again */
    const size_t per = (size_t)3 * d->width * d->height;
    uint32_t longest = 0;
    for (uint32_t i = 0; i < n; i++) {
        Windows w = plan_windows(rows[i].page);
        uint32_t tokens = w.n > 1 ? w.cap : w.total;
        longest = tokens > longest ? tokens : longest;
    }
    b->length = (longest + 2 + 7) / 8 * 8;
    b->length = b->length < d->least ? d->least : b->length > d->window ? d->window : b->length;
    const int64_t s = b->length;
    for (uint32_t i = 0; i < all; i++) {
        const Row *r = &rows[i < n ? i : n - 1];
        Windows w = plan_windows(r->page);
        fill_row(r->page, &w, r->window, b->length, b->ids + i * s, b->mask + i * s, b->boxes + 4 * i * s);
        memcpy(b->planes + i * per, r->plane, per * sizeof *r->plane);
    }
    const TnTensor in[INPUTS] = {[IDS] = {.data = b->ids, .dtype = TN_I64, .rank = 2, .dims = {all, s}},
                                 [BOXES] = {.data = b->boxes, .dtype = TN_I64, .rank = 3, .dims = {all, s, 4}},
                                 [PIXELS] = {.data = b->planes, .dtype = TN_F32, .rank = 4, .dims = {all, 3, d->height, d->width}},
                                 [MASK] = {.data = b->mask, .dtype = TN_I64, .rank = 2, .dims = {all, s}}};
    TnStatus st = TN_OK;
    TnTensor y;
    for (uint32_t i = 0; i < INPUTS && st == TN_OK; i++)
        st = tn_context_set_input(d->context, d->input[i], &in[i], err);
    if (st == TN_OK)
        st = tn_context_run(d->context, err);
    if (st == TN_OK)
        st = tn_context_output(d->context, 0, &y, err);
    if (st == TN_OK && (y.rank != 3 || y.dims[0] != all || y.dims[1] < s || y.dims[2] != d->n_labels))
        st = tnp_fail(err, TN_ERR_REQUEST, "the plan's logits do not have a row for each of %lld tokens", (long long)s);
    for (uint32_t i = 0; i < n && st == TN_OK; i++) {
        Windows w = plan_windows(rows[i].page);
        take_labels(rows[i].page, &w, rows[i].window, (const float *)y.data + (size_t)i * (size_t)(y.dims[1] * y.dims[2]));
    }
    return st;
}

static TnStatus run_rows(TnDoc *d, const Row *rows, uint32_t n, TnError *err) {
    const size_t per = (size_t)3 * d->width * d->height;
    uint32_t most = n < d->batch ? n : d->batch;
    most = most < d->least_batch ? d->least_batch : most;
    Batch b = {.ids = malloc((size_t)most * d->window * 6 * sizeof *b.ids), .planes = malloc(most * per * sizeof *b.planes)};
    TnStatus st = b.ids == NULL || b.planes == NULL ? tnp_fail(err, TN_ERR_MEMORY, "out of memory: a batch of %u windows", most) : TN_OK;
    if (st == TN_OK) {
        b.mask = b.ids + (size_t)most * d->window;
        b.boxes = b.mask + (size_t)most * d->window;
    }
    for (uint32_t at = 0; at < n && st == TN_OK; at += d->batch)
        st = run_batch(d, rows + at, n - at < d->batch ? n - at : d->batch, &b, err);
    free(b.ids);
    free(b.planes);
    return st;
}

static double now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* Pages that are read together. */
typedef struct Reading {
    TnDoc *reader, *pages; /* pages: [n], the reader itself where there is one */
    const TnImage *images;
    const TnDocPage *words;
    float *planes; /* [n, 3, height, width] */
    uint32_t n;
} Reading;

static TnStatus prepare_one(void *context, uint32_t i, TnError *err) {
    const Reading *r = context;
    TnStatus st = tnp_doc_prepare(&r->pages[i], &r->images[i], &r->words[i], err);
    return st == TN_OK ? make_planes(r->reader, &r->images[i], r->planes + i * (size_t)3 * r->reader->width * r->reader->height, err) : st;
}

static TnStatus run_pages(const Reading *r, TnError *err) {
    const size_t per = (size_t)3 * r->reader->width * r->reader->height;
    size_t n = 0, at = 0;
    for (uint32_t i = 0; i < r->n; i++)
        n += plan_windows(&r->pages[i]).n;
    Row *rows = n > UINT32_MAX ? NULL : malloc(n * sizeof *rows);
    if (rows == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %zu windows", n);
    for (uint32_t i = 0; i < r->n; i++) {
        uint32_t windows = plan_windows(&r->pages[i]).n;
        for (uint32_t k = 0; k < windows; k++)
            rows[at++] = (Row){&r->pages[i], r->planes + i * per, k};
    }
    TnStatus st = run_rows(r->reader, rows, (uint32_t)n, err);
    free(rows);
    return st;
}

static TnStatus finish(TnDoc *page, const TnDocPage *words, double prepare_ms, double run_ms, TnError *err) {
    for (uint32_t i = 0; i < words->n; i++) {
        page->word_label[i] = page->label[page->first[i]];
        page->word_score[i] = page->score[page->first[i]];
    }
    Windows w = plan_windows(page);
    page->result = (TnDocResult){
        .labels = page->word_label, .scores = page->word_score, .windows = w.n, .tokens = w.total, .preprocess_ms = prepare_ms, .run_ms = run_ms};
    return tnp_doc_entities(words, (const char *const *)page->tags, (const char *const *)page->types, &page->result, err);
}

static TnStatus read_pages(const Reading *given, TnDocResult *out, TnError *err) {
    Reading r = *given;
    double t0 = now_ms();
    r.planes = malloc((size_t)r.n * 3 * r.reader->width * r.reader->height * sizeof *r.planes);
    if (r.planes == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u pictures", r.n);
    TnStatus st = tnp_parallel(r.n, r.reader->options.threads, prepare_one, &r, err);
    double t1 = now_ms();
    if (st == TN_OK)
        st = run_pages(&r, err);
    free(r.planes);
    double t2 = now_ms();
    for (uint32_t i = 0; i < r.n && st == TN_OK; i++)
        st = finish(&r.pages[i], &r.words[i], (t1 - t0) / r.n, (t2 - t1) / r.n, err);
    for (uint32_t i = 0; i < r.n && st == TN_OK; i++)
        out[i] = r.pages[i].result;
    return st;
}

TnStatus tn_doc_read(TnDoc *d, const TnImage *image, const TnDocPage *page, TnDocResult *out, TnError *err) {
    *out = (TnDocResult){0};
    return read_pages(&(Reading){.reader = d, .pages = d, .images = image, .words = page, .n = 1}, out, err);
}

void tnp_doc_release_many(TnDoc *d) {
    for (uint32_t i = 0; i < d->n_many; i++) {
        tnp_doc_release(&d->many[i]);
        free(d->many[i].tokens.ids);
    }
    free(d->many);
    d->many = NULL;
    d->n_many = 0;
}

TnStatus tn_doc_read_many(TnDoc *d, const TnImage *images, const TnDocPage *pages, uint32_t n, TnDocResult *out, TnError *err) {
    tnp_doc_release(d);
    tnp_doc_release_many(d);
    if (n == 0)
        return tnp_fail(err, TN_ERR_ARGUMENT, "no page to read");
    TnDoc blank = *d; /* settings without a page */
    blank.tokens = (TnTokens){0};
    d->many = malloc(n * sizeof *d->many);
    if (d->many == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u pages", n);
    for (uint32_t i = 0; i < n; i++)
        d->many[i] = blank;
    d->n_many = n;
    memset(out, 0, n * sizeof *out);
    return read_pages(&(Reading){.reader = d, .pages = d->many, .images = images, .words = pages, .n = n}, out, err);
}

TnStatus tn_doc_window(TnDoc *d, const TnImage *image, const TnDocPage *page, uint32_t window, int64_t *ids, int64_t *mask, int64_t *boxes,
                       float *planes, uint32_t *windows, TnError *err) {
    TnStatus st = tnp_doc_prepare(d, image, page, err);
    if (st != TN_OK)
        return st;
    Windows w = plan_windows(d);
    if (windows != NULL)
        *windows = w.n;
    if (window >= w.n)
        return tnp_fail(err, TN_ERR_ARGUMENT, "there is no window %u; the page has %u", window, w.n);
    fill_row(d, &w, window, d->window, ids, mask, boxes);
    return planes == NULL ? TN_OK : make_planes(d, image, planes, err);
}

/* ---- evaluation ---- */

TnStatus tn_doc_score_page(TnDoc *d, const TnImage *image, const TnDocPage *page, TnDocScore *score, TnDocResult *out, TnError *err) {
    for (uint32_t i = 0; i < page->n; i++) {
        if (page->words[i].label == NULL)
            return tnp_fail(err, TN_ERR_DATA, "word %u ('%.60s') has no label to compare with; labels are in FUNSD's JSON", i,
                            page->words[i].text);
    }
    TnStatus st = tn_doc_read(d, image, page, out, err);
    if (st != TN_OK)
        return st;
    Windows w = plan_windows(d);
    if (d->options.overlap > 0)
        w = (Windows){.n = 1, .cap = w.total, .step = w.total, .total = w.total};
    const char **tags = malloc(2 * (size_t)w.total * sizeof *tags);
    if (tags == NULL)
        return tnp_fail(err, TN_ERR_MEMORY, "out of memory: %u tokens", w.total);
    for (uint32_t i = 0; i < w.n && st == TN_OK; i++) {
        uint32_t from = window_start(&w, i), n = 0;
        for (uint32_t t = from; t < window_end(&w, i); t++) {
            if (t > from && d->word[t] == d->word[t - 1])
                continue;
            tags[n] = page->words[d->word[t]].label;
            tags[w.total + n++] = d->tags[d->label[t]];
        }
        st = tn_doc_score_add(score, tags, tags + w.total, n, err);
    }
    free(tags);
    return st;
}
