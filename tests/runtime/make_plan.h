/* SPDX-License-Identifier: Apache-2.0
 *
 * From a module made by hand to a plan in memory. */
#ifndef TENON_TESTS_MAKE_PLAN_H
#define TENON_TESTS_MAKE_PLAN_H

#include "planner/planner.h"
#include "shape/shape.h"

typedef struct Built {
    IrModule *m;
    uint8_t *bytes;
    size_t n;
} Built;

/* Takes m, also when it fails: free with built_free. */
static inline TnStatus build_module(IrModule *m, const TnAllocator *a, bool tune, bool reference, Built *b, TnError *err) {
    TnArena *arena = NULL;
    PlanWriter *w;
    PlanHeader h;
    PlannerOptions o = {.alloc = a, .threads = 2, .tune = tune, .reference = reference};
    memset(b, 0, sizeof *b);
    b->m = m;
    TnStatus st = tni_shape_infer(m, err);
    if (st == TN_OK)
        st = tni_ir_verify(m, err);
    if (st == TN_OK)
        st = tni_arena_create(a, &arena, err);
    if (st == TN_OK)
        st = tni_plan_writer_create(arena, &w, err);
    if (st == TN_OK)
        st = tni_planner_plan(m, &o, w, &h, err);
    if (st == TN_OK)
        st = tni_plan_write_memory(w, &h, a, &b->bytes, &b->n, err);
    tni_arena_destroy(&arena);
    return st;
}

static inline void built_free(Built *b, const TnAllocator *a) {
    tni_free(a, b->bytes);
    tni_ir_module_destroy(&b->m);
}

#endif
