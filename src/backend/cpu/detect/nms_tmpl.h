/* SPDX-License-Identifier: Apache-2.0
 *
 * non_max_suppression of one ISA. */
#include <math.h>

#include "backend/cpu/detect/detect.h"
#include "backend/cpu/simd/simd.h"

/* Errors of the vector test are below 1e-6 of the overlap where the union is in this range. */
#define SLACK 1e-5
#define LEAST_UNION 1e-30f
#define MOST_UNION 1e38f

/* A box with sorted corners, and its area. */
typedef struct NmsBox {
    float y1, x1, y2, x2, area;
} NmsBox;

static NmsBox nms_box(const float *v) {
    NmsBox b = {fminf(v[0], v[2]), fminf(v[1], v[3]), fmaxf(v[0], v[2]), fmaxf(v[1], v[3]), 0.0f};
    b.area = (float)(((double)b.y2 - (double)b.y1) * ((double)b.x2 - (double)b.x1));
    return b;
}

/* Kept box number `at`. The rest of its vector is filled with boxes that meet nothing. */
static void nms_keep(TnNmsOwn *own, int64_t at, const NmsBox *b) {
    for (int64_t k = at; k < at + VL && at % VL == 0; k++) {
        own->y1[k] = own->x1[k] = INFINITY;
        own->y2[k] = own->x2[k] = -INFINITY;
        own->area[k] = 0.0f;
    }
    own->y1[at] = b->y1;
    own->x1[at] = b->x1;
    own->y2[at] = b->y2;
    own->x2[at] = b->x2;
    own->area[at] = b->area;
}

/* Of VL kept boxes from k on one may overlap b by more than the limit. Operands are in this order so that a NaN of b is passed over. */
TN_INLINE bool nms_maybe(const TnNmsOwn *own, int64_t k, const NmsBox *b, vf limit) {
    const vf h = vf_sub(vf_min(vf_set1(b->y2), vf_load(own->y2 + k)), vf_max(vf_set1(b->y1), vf_load(own->y1 + k)));
    const vf w = vf_sub(vf_min(vf_set1(b->x2), vf_load(own->x2 + k)), vf_max(vf_set1(b->x1), vf_load(own->x1 + k)));
    const vf meet = vf_mul(h, w), all = vf_sub(vf_add(vf_set1(b->area), vf_load(own->area + k)), meet);
    const vm near = vf_nlt(meet, vf_mul(limit, all)), odd = vm_or(vf_nlt(all, vf_set1(MOST_UNION)), vf_nlt(vf_set1(LEAST_UNION), all));
    return vm_any(vm_and(vm_and(vf_lt(vf_zero(), h), vf_lt(vf_zero(), w)), vm_or(near, odd)));
}

/* Task: one class of one picture. */
static void nms_task(void *ctx, int64_t row, uint32_t worker) {
    const TnNmsCall *c = ctx;
    TnNmsOwn own = tni_cpu_nms_own(c, worker);
    const float *boxes = c->boxes + row / c->classes * c->n * 4;
    const int64_t m = c->limit > 0 ? tni_cpu_nms_sort(c, row, &own) : 0;
    const bool quick = !c->center && c->iou >= 0; /* corners of centred boxes are no floats; below zero, boxes apart count */
    const vf limit = vf_set1((float)(c->iou * (1 - SLACK)));
    uint32_t *kept = c->kept + row * c->n;
    int64_t n = 0;
    for (int64_t i = 0; i < m && n < c->limit; i++) {
        const uint32_t at = (uint32_t)(own.keys[i] & UINT32_MAX);
        const float *v = boxes + 4 * (int64_t)at;
        const NmsBox b = nms_box(v);
        bool covered = false;
        for (int64_t k = 0; k < n && !covered; k += VL) {
            if (quick && !nms_maybe(&own, k, &b, limit))
                continue;
            for (int64_t j = k; j < TN_MIN(k + VL, n) && !covered; j++)
                covered = tni_cpu_nms_covers(c, v, boxes + 4 * (int64_t)kept[j]);
        }
        if (covered)
            continue;
        nms_keep(&own, n, &b);
        kept[n++] = at;
    }
    c->counts[row] = n;
}

TnStatus TN_ISA(tni_cpu_nms)(TnKernelCall *call) {
    TnNmsCall c;
    TN_TRY(tni_cpu_nms_begin(call, &c));
    if (c.n > 0)
        tni_parallel_for(c.batches * c.classes * c.n > 256 ? call->threads : NULL, c.batches * c.classes, nms_task, &c);
    return tni_cpu_nms_write(call, &c);
}
