/* SPDX-License-Identifier: Apache-2.0
 *
 * From a rewritten graph to a plan: candidate kernels a step, their verification and timing, memory, the file. */
#ifndef TENON_PLANNER_PLANNER_H
#define TENON_PLANNER_PLANNER_H

#include "base/threads.h"
#include "ir/graph.h"
#include "plan/plan.h"

typedef struct PlannerOptions {
    uint32_t cpu_flags;       /* kernels may use these; 0: tni_cpu_flags() */
    bool tune;                /* time candidates (else rank by cost) */
    uint32_t threads;         /* for timing */
    const char *timing_cache; /* file read before and written after tuning; NULL: none */
    const TnTensor *samples;  /* inputs of graph 0 to verify and time on, or NULL: made from the opt shapes with a fixed seed */
    bool reference;           /* reference kernels only (tests, compare) */
    const TnAllocator *alloc;
    const TnLog *log;
    const TnProgress *progress;
    uint64_t model_hash;
    const TnKernel *extra; /* further candidates, not in the registry (tests) */
    uint32_t n_extra;
} PlannerOptions;

/* Writes everything into w. Requires a fully inferred, verified module. */
TnStatus tni_planner_plan(IrModule *m, const PlannerOptions *o, PlanWriter *w, PlanHeader *header, TnError *err);

#endif
