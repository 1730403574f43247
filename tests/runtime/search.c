/* SPDX-License-Identifier: Apache-2.0
 *
 * The search of a device (TnDeviceLibrary.search_step) against the same steps in plain C (fake_search.c), on random logits: greedy and beams, small
 * vocabularies and large ones, every rule. Runs on the library that $TENON_CUDA_LIBRARY names or on the GPU; without either it is skipped. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/device.h"
#include "runtime/fake_search.h"

enum { SKIPPED = 77 };

static const TnDeviceLibrary *lib;
static TnDevice *device;
static TnStream *stream;
static TnError err;
static uint32_t seed = 1;

static void must(TnStatus st, const char *what) {
    if (st == TN_OK)
        return;
    printf("%s: %s\n", what, err.message);
    exit(1);
}

static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

/* One block on each side; the same offsets. */
typedef struct Memory {
    uint8_t *host, *back, *there;
    size_t n, cap;
} Memory;

static void *take(Memory *m, size_t bytes, void *device_field, size_t field) {
    size_t at = m->n;
    m->n += (bytes + 255) / 256 * 256;
    if (m->n > m->cap) {
        puts("the test's memory is too small");
        exit(1);
    }
    void *there = m->there + at;
    memcpy(device_field, &there, field);
    return m->host + at;
}
#define TAKE(h, d, field, bytes) (h)->field = take(m, (bytes), &(d)->field, sizeof (d)->field)

static void take_beams(Memory *m, TnSearchBeams *h, TnSearchBeams *d, size_t rows, size_t length) {
    TAKE(h, d, tokens, rows * length * 4);
    TAKE(h, d, log_probs, rows * length * 4);
    TAKE(h, d, n, rows * 4);
    TAKE(h, d, score, rows * 4);
}

static void lay_out(Memory *m, TnSearch *h, TnSearch *d) {
    size_t rows = (size_t)h->lines * h->beams;
    m->n = 0;
    TAKE(h, d, tokens, rows * 8);
    TAKE(h, d, position, 8);
    TAKE(h, d, where, rows * 8);
    TAKE(h, d, lanes, rows * h->positions * 4);
    TAKE(h, d, length, 4);
    TAKE(h, d, at, 4);
    TAKE(h, d, line, h->lines * sizeof *h->line);
    for (int k = 0; k < 2; k++)
        take_beams(m, &h->half[k], &d->half[k], rows, h->max_length);
    take_beams(m, &h->done, &d->done, rows, h->max_length);
    TAKE(h, d, best, rows * h->n_keep * sizeof *h->best);
    TAKE(h, d, old_lanes, rows * h->positions * 4);
}

static void start(const TnSearch *h, size_t bytes, uint8_t *host) {
    memset(host, 0, bytes);
    for (uint32_t r = 0; r < h->lines * h->beams; r++) {
        h->half[0].n[r] = 1;
        h->half[0].score[r] = r % h->beams == 0 ? 0 : TNS_NEVER;
        h->where[2 * r] = (int32_t)r;
        for (uint32_t p = 0; p < h->positions; p++)
            h->lanes[r * h->positions + p] = (int32_t)r;
        h->line[r / h->beams].active = 1;
    }
    *h->length = 1;
}

static void *same(const void *p, size_t n, const char *what) {
    (void)n, (void)what;
    return (void *)(uintptr_t)p;
}

static int wrong;

static void differs(const TnSearch *s, const char *what, size_t i, double want, double got) {
    if (wrong++ < 10)
        printf("%u lines, %u beams, %u tokens, step %d: %s %zu is %.9g, expected %.9g\n", s->lines, s->beams, s->vocabulary, *s->at - 1, what, i, got,
               want);
}

#define INTS(field, n)                                                                                                                     \
    for (size_t i = 0; i < (n); i++)                                                                                                       \
        if (((const int32_t *)(const void *)h->field)[i] != ((const int32_t *)(const void *)SEEN(h->field))[i])                            \
    differs(h, #field, i, ((const int32_t *)(const void *)h->field)[i], ((const int32_t *)(const void *)SEEN(h->field))[i])
#define SEEN(p) (m->back + ((const uint8_t *)(p) - m->host))

static void floats(const Memory *m, const TnSearch *h, const char *what, const float *want, size_t n) {
    const float *got = (const float *)(const void *)SEEN(want);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(want[i] - got[i]) <= 2e-5f * (1 + fabsf(want[i])) || want[i] == got[i]))
            differs(h, what, i, (double)want[i], (double)got[i]);
}

static void compare_beams(const Memory *m, const TnSearch *h, const TnSearchBeams *b) {
    size_t rows = (size_t)h->lines * h->beams;
    for (size_t r = 0; r < rows; r++) {
        int32_t n = b->n[r], seen = *(const int32_t *)(const void *)SEEN(&b->n[r]);
        if (n != seen) {
            differs(h, "n", r, n, seen);
            continue;
        }
        for (int32_t i = 0; i < n; i++) {
            const int32_t *want = &b->tokens[r * h->max_length + (size_t)i];
            if (*want != *(const int32_t *)(const void *)SEEN(want))
                differs(h, "token", r, *want, *(const int32_t *)(const void *)SEEN(want));
        }
        floats(m, h, "log prob", &b->log_probs[r * h->max_length], (size_t)n);
    }
    floats(m, h, "score", b->score, rows);
}

static void compare(const Memory *m, const TnSearch *h, int32_t left, int32_t left_seen) {
    size_t rows = (size_t)h->lines * h->beams;
    INTS(at, 1);
    INTS(tokens, rows * (h->wide_tokens ? 2 : 1));
    INTS(position, 1);
    INTS(where, rows * 2);
    INTS(lanes, rows * h->positions);
    INTS(length, 1);
    INTS(line, h->lines * sizeof *h->line / 4);
    compare_beams(m, h, &h->half[*h->at & 1]);
    if (h->beams > 1)
        compare_beams(m, h, &h->done);
    if (left != left_seen)
        differs(h, "left", 0, left, left_seen);
}

static void fill_logits(float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = noise() * 4 + (noise() > 0.98f ? 6 : 0);
}

/* A whole search on both sides, compared after each step. */
static void search(TnSearch *h, Memory *m, float *logits, float *logits_there, int32_t *left_there) {
    TnSearch d = *h;
    int32_t left[64] = {0};
    size_t n = (size_t)h->lines * h->beams * h->vocabulary;
    lay_out(m, h, &d);
    start(h, m->n, m->host);
    h->logits = logits;
    h->left = left;
    d.logits = logits_there;
    d.left = left_there;
    must(lib->to_device(stream, m->there, m->host, m->n, &err), "copy");
    for (uint32_t at = 0; at + 1 < h->max_length; at++) {
        fill_logits(logits, n);
        must(lib->to_device(stream, logits_there, logits, n * sizeof *logits, &err), "copy");
        must(lib->search_step(stream, &d, &err), "step");
        must(lib->to_host(stream, m->back, m->there, m->n, &err), "copy");
        must(lib->synchronize(stream, &err), "wait");
        fake_search(h, same);
        compare(m, h, left[at], left_there[at]);
    }
}

static void all_searches(Memory *m, float *logits, float *there, int32_t *left) {
    static const uint32_t vocabularies[] = {2, 20, 513, 5000, 64044, 131072}, beams[] = {1, 2, 4, 5, 16}, lines[] = {1, 3};
    uint32_t k = 0;
    for (size_t v = 0; v < TN_COUNT(vocabularies); v++)
        for (size_t b = 0; b < TN_COUNT(beams); b++)
            for (size_t l = 0; l < TN_COUNT(lines); l++)
                for (uint32_t rules = 0; rules < 8; rules++, k++) {
                    TnSearch s = {.lines = lines[l],
                                  .beams = beams[b],
                                  .vocabulary = vocabularies[v],
                                  .max_length = 4 + k % 5,
                                  .positions = 8 + k % 3,
                                  .n_keep = beams[b] == 1 ? 1 : 2 * beams[b] + (k & 1 ? beams[b] : 0),
                                  .min_new = rules & 1 ? 3 : 0,
                                  .no_repeat = rules & 2 ? 1 + k % 3 : 0,
                                  .early = k % 3,
                                  .n_stop = 1 + (k & 1),
                                  .stop = {1, (int32_t)vocabularies[v] - 1},
                                  .forced_first = rules == 5 ? 1 : -1,
                                  .forced_last = rules == 7 ? 0 : -1,
                                  .repetition = rules & 4 ? 1.5f : 1,
                                  .length_penalty = (float)(k % 4) - 1,
                                  .wide_tokens = k & 1,
                                  .wide_position = k >> 1 & 1};
                    if (s.n_keep > TNS_MAX_KEEP || (s.beams > 1 && s.n_keep > s.vocabulary) || (s.vocabulary > 5000 && s.beams * s.lines > 12))
                        continue;
                    search(&s, m, logits, there, left);
                }
    printf("%u searches\n", k);
}

/* How long a step takes: 64 lines, TrOCR's vocabulary. */
static void time_steps(Memory *m, float *logits, float *there, int32_t *left) {
    for (uint32_t beams = 1; beams < 5; beams += 3) {
        TnSearch h = {.lines = beams == 1 ? 64 : 16, .beams = beams, .vocabulary = 64044, .max_length = 40, .positions = 40,
                      .n_keep = beams == 1 ? 1 : 2 * beams, .n_stop = 0, .forced_first = -1, .forced_last = -1, .repetition = 1, .length_penalty = 1};
        TnSearch d = h;
        TnMark *from, *to;
        double ns = 0;
        lay_out(m, &h, &d);
        start(&h, m->n, m->host);
        fill_logits(logits, (size_t)h.lines * beams * h.vocabulary);
        d.logits = there;
        d.left = left;
        must(lib->mark_create(device, true, &from, &err), "mark");
        must(lib->mark_create(device, true, &to, &err), "mark");
        must(lib->to_device(stream, there, logits, (size_t)h.lines * beams * h.vocabulary * sizeof *logits, &err), "copy");
        must(lib->to_device(stream, m->there, m->host, m->n, &err), "copy");
        for (uint32_t i = 0; i < 30; i++) {
            if (i == 10)
                must(lib->mark_set(from, stream, &err), "mark");
            must(lib->search_step(stream, &d, &err), "step");
        }
        must(lib->mark_set(to, stream, &err), "mark");
        must(lib->synchronize(stream, &err), "wait");
        must(lib->mark_elapsed(from, to, &ns, &err), "time");
        printf("%u rows, %u beams, 64044 tokens: %.1f us a step\n", h.lines * beams, beams, ns / 20e3);
        lib->mark_destroy(&from);
        lib->mark_destroy(&to);
    }
}

int main(void) {
    Memory m = {.cap = (size_t)8 << 20};
    size_t logits_bytes = (size_t)64 * 64044 * sizeof(float);
    void *logits_there = NULL, *left = NULL, *there = NULL;
    if (tni_device_library(TN_DEVICE_CUDA, &lib, &err) != TN_OK || lib->open(0, &device, &err) != TN_OK) {
        printf("skipped: %s\n", err.message);
        return SKIPPED;
    }
    if (!lib->search_step) {
        puts("skipped: this library has no search");
        return SKIPPED;
    }
    float *logits = malloc(logits_bytes);
    m.host = malloc(m.cap);
    m.back = malloc(m.cap);
    if (!logits || !m.host || !m.back)
        return 1;
    must(lib->stream_create(device, &stream, &err), "stream");
    must(lib->alloc(device, m.cap, &there, &err), "memory");
    must(lib->alloc(device, logits_bytes, &logits_there, &err), "memory");
    must(lib->alloc_host(device, 64 * sizeof(int32_t), &left, &err), "memory");
    m.there = there;
    all_searches(&m, logits, logits_there, left);
    time_steps(&m, logits, logits_there, left);
    lib->free(device, there);
    lib->free(device, logits_there);
    lib->free_host(device, left);
    lib->stream_destroy(&stream);
    lib->close(&device);
    free(logits);
    free(m.host);
    free(m.back);
    printf("%d differences\n", wrong);
    return wrong != 0;
}
