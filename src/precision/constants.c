/* SPDX-License-Identifier: Apache-2.0
 *
 * Constants: how large they are, and their form in a narrow type. In: float32 bytes (of a mapped file: any alignment). Out: a number, or the
 * same elements rounded to nearest even and saturated. Work is cut by size alone. */
#include <math.h>

#include "base/dtype.h"
#include "precision/internal.h"

enum { BLOCK = 1 << 16 };

double tni_precision_limit(TnDtype t) {
    switch (t) {
    case TN_F16:
        return 65504.0;
    case TN_BF16:
        return 0x1.fep127;
    case TN_F32:
        return 0x1.fffffep127;
    default:
        return HUGE_VAL;
    }
}

static float load(const uint8_t *src, int64_t i) {
    float f;
    memcpy(&f, src + i * (int64_t)sizeof f, sizeof f);
    return f;
}

/* ---- the largest ---- */

typedef struct Largest {
    const uint8_t *src;
    int64_t n, step;
    float result[256];
} Largest;

static void largest_block(void *ctx, int64_t task, uint32_t worker) {
    Largest *l = ctx;
    const int64_t first = task * l->step, last = TN_MIN(first + l->step, l->n);
    float most = 0;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        float a = fabsf(load(l->src, i));
        most = a > most && a <= 0x1.fffffep127f ? a : most;
    }
    l->result[task] = most;
}

double tni_precision_largest(const float *x, int64_t n, TnThreads *threads) {
    Largest l = {.src = (const uint8_t *)x, .n = n};
    l.step = TN_MAX((n + 255) / 256, (int64_t)BLOCK);
    const int64_t tasks = n > 0 ? (n + l.step - 1) / l.step : 0;
    float most = 0;
    tni_parallel_for(threads, tasks, largest_block, &l);
    for (int64_t i = 0; i < tasks; i++)
        most = l.result[i] > most ? l.result[i] : most;
    return (double)most;
}

/* ---- conversion ---- */

typedef struct Convert {
    TnDtype t;
    const uint8_t *src;
    uint16_t *dst;
    int64_t n, step;
    float limit;
    uint64_t saturated[256];
} Convert;

static void convert_block(void *ctx, int64_t task, uint32_t worker) {
    Convert *c = ctx;
    const int64_t first = task * c->step, last = TN_MIN(first + c->step, c->n);
    uint64_t saturated = 0;
    (void)worker;
    for (int64_t i = first; i < last; i++) {
        float f = load(c->src, i);
        if (fabsf(f) > c->limit && isfinite(f)) {
            f = f > 0 ? c->limit : -c->limit;
            saturated++;
        }
        c->dst[i] = c->t == TN_F16 ? tni_f32_to_f16(f) : tni_f32_to_bf16(f);
    }
    c->saturated[task] = saturated;
}

void tni_precision_convert(TnDtype t, const void *src, int64_t n, void *dst, TnThreads *threads, uint64_t *saturated) {
    Convert c = {.t = t, .src = src, .dst = dst, .n = n, .limit = (float)tni_precision_limit(t)};
    c.step = TN_MAX((n + 255) / 256, (int64_t)BLOCK);
    const int64_t tasks = n > 0 ? (n + c.step - 1) / c.step : 0;
    tni_parallel_for(threads, tasks, convert_block, &c);
    for (int64_t i = 0; i < tasks; i++)
        *saturated += c.saturated[i];
}
