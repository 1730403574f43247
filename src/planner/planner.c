/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner's sequence. In: an inferred module. Out: every section of a plan in a writer; the module must live until the writer has
 * written, because weights are copied and packed only then. */
#include "backend/registry.h"
#include "base/cpu.h"
#include "planner/internal.h"

static TnStatus plan_all(Pn *pn, PlanWriter *w, PlanHeader *h, TnError *err) {
    TN_TRY(tni_planner_prepare(pn, err));
    TN_TRY(tni_planner_choices_init(pn, err));
    TN_TRY(tni_planner_timings_open(pn, err));
    TN_TRY(tni_planner_symbols(pn, err));
    TN_TRY(tni_planner_device_open(pn, err));
    TN_TRY(tni_planner_place(pn, err));
    TN_TRY(tni_planner_run(pn, err));
    TN_TRY(tni_planner_timings_save(pn, err));
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        TN_TRY(tni_planner_memory(pn, &pn->graphs[i], err));
    TN_TRY(tni_planner_emit(pn, w, h, err));
    return tni_planner_explain(pn, w, err);
}

TnStatus tni_planner_plan(IrModule *m, const PlannerOptions *o, PlanWriter *w, PlanHeader *header, TnError *err) {
    Pn pn = {.m = m, .o = o, .alloc = o->alloc, .cpu = o->cpu_flags ? o->cpu_flags & tni_cpu_flags() : tni_cpu_flags()};
    TnStatus st;
    memset(header, 0, sizeof *header);
    TN_TRY_GOTO(tni_arena_create(o->alloc, &pn.arena, err));
    TN_TRY_GOTO(tni_threads_create(o->alloc, o->threads, &pn.threads, err));
    pn.n_threads = tni_threads_count(pn.threads);
    header->model_hash = o->model_hash;
    header->kernel_identity = tni_kernel_identity();
    if (o->lib) {
        header->device = o->lib->kind;
        header->arch = o->device_info->arch;
        header->math = o->math;
        header->device_identity = o->lib->identity;
    }
    TN_TRY_GOTO(plan_all(&pn, w, header, err));
fail:
    if (o->lib)
        tni_planner_device_close(&pn);
    for (uint32_t i = 0; i < pn.n_states; i++)
        tni_free(pn.alloc, pn.states[i].sample.data);
    tni_threads_destroy(&pn.threads);
    tni_arena_destroy(&pn.arena);
    return st;
}
