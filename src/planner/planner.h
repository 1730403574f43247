/* SPDX-License-Identifier: Apache-2.0
 *
 * From a rewritten graph to a plan: candidate kernels a step, their verification and timing, memory, the file. */
#ifndef TENON_PLANNER_PLANNER_H
#define TENON_PLANNER_PLANNER_H

#include "base/threads.h"
#include "ir/graph.h"
#include "kernel/device.h"
#include "plan/plan.h"
#include "precision/precision.h"

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

    /* A device for the steps that it has kernels for; the others, and what decides shapes, stay on the CPU. */
    const TnDeviceLibrary *lib;      /* NULL: the CPU alone */
    const TnDeviceInfo *device_info; /* what kernels are chosen for */
    TnDevice *device;                /* where they are verified and timed; NULL: nowhere, they are chosen by estimate */
    uint32_t math;                   /* TN_MATH_* that kernels may use */
    bool allow_cpu_steps;            /* steps without a kernel of the device run on the CPU instead of failing the build */
    const char *buckets;             /* "batch=1:4:16,seq=128:512": kernels are chosen for each combination too; NULL: for opt alone */
    bool keep_sizes;                 /* opt of the symbols is settled: guess nothing */
    const PrecisionReport *precision; /* why steps are float32 (tenon explain); NULL: nobody asked for less */
} PlannerOptions;

/* Runs every graph once in float32 on the CPU, on the samples, and notes what it sees: *out [n_graphs] in `arena`, by the ids that the module has
 * afterwards (graphs are compacted). Settles opt of symbols that nobody has given. With a timing cache: from there if it has all of it. */
TnStatus tni_planner_observe(IrModule *m, const PlannerOptions *o, TnArena *arena, const PrecisionSeen **out, TnError *err);

/* Description of a device that is not here: "sm_90" (compute capability 9.0). TN_ERR_ARGUMENT lists those known. */
TnStatus tni_planner_target(const char *name, TnDeviceInfo *out, TnError *err);

/* Writes everything into w. Requires a fully inferred, verified module. */
TnStatus tni_planner_plan(IrModule *m, const PlannerOptions *o, PlanWriter *w, PlanHeader *header, TnError *err);

#endif
