/* SPDX-License-Identifier: Apache-2.0
 *
 * The planner's sequence. In: an inferred module. Out: every section of a plan in a writer; the module must live until the writer has
 * written, because weights are copied and packed only then. */
#include "backend/registry.h"
#include "base/cpu.h"
#include "planner/internal.h"

#include <stdio.h>

/* How many steps of each operator run where. */
static void tell_steps(const Pn *pn) {
    uint32_t n[2][TN_OP_COUNT] = {{0}}, all[2] = {0}, copies = 0;
    char text[600] = "";
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        const PnGraph *pg = &pn->graphs[i];
        for (uint32_t k = 0; k < pg->g->n_nodes; k++) {
            const uint32_t there = pg->on[k] != TN_DEVICE_CPU;
            const bool copy = tni_planner_is_transfer(pg, k);
            copies += copy;
            n[there][pg->g->nodes[k].op] += !copy;
            all[there] += !copy;
        }
    }
    for (uint32_t listed = 0; listed < 12; listed++) {
        uint32_t most = 0;
        for (uint32_t op = 1; op < TN_OP_COUNT; op++)
            most = n[1][op] > n[1][most] ? op : most;
        if (n[1][most] == 0)
            break;
        const size_t at = strlen(text);
        snprintf(text + at, sizeof text - at, "%s%s %u", at ? ", " : "", tni_op_info((TnOp)most)->name, n[1][most]);
        n[1][most] = 0;
    }
    tni_log(pn->o->log, TN_LOG_INFO, "steps: %u on %s (most: %s), %u on the host, %u copies between", all[1], pn->o->lib->name, text, all[0],
            copies);
}

static void tell_times(const Pn *pn, uint64_t choosing, uint64_t rest) {
    double s[PN_PHASES];
    for (uint32_t i = 0; i < PN_PHASES; i++)
        s[i] = (double)pn->ns[i] * 1e-9;
    tni_log(pn->o->log, TN_LOG_INFO,
            "time: choosing %.2f s (reference %.2f, comparing %.2f, device %.2f, copies from it %.2f, timing %.2f), memory and records %.2f s",
            (double)choosing * 1e-9, s[PN_REFERENCE], s[PN_COMPARE], s[PN_DEVICE], s[PN_COPIES], s[PN_TIMING], (double)rest * 1e-9);
}

static TnStatus plan_all(Pn *pn, PlanWriter *w, PlanHeader *h, TnError *err) {
    const uint64_t began = tni_now_ns();
    TN_TRY(tni_planner_prepare(pn, err));
    TN_TRY(tni_planner_choices_init(pn, err));
    TN_TRY(tni_planner_timings_open(pn, err));
    TN_TRY(tni_planner_symbols(pn, err));
    TN_TRY(tni_planner_device_open(pn, err));
    TN_TRY(tni_planner_fuse(pn, err));
    TN_TRY(tni_planner_place(pn, err));
    TN_TRY(tni_planner_run(pn, err));
    TN_TRY(tni_planner_buckets(pn, err));
    TN_TRY(tni_planner_timings_save(pn, err));
    const uint64_t chosen = tni_now_ns();
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        TN_TRY(tni_planner_memory(pn, &pn->graphs[i], err));
    TN_TRY(tni_planner_emit(pn, w, h, err));
    TN_TRY(tni_planner_explain(pn, w, err));
    if (pn->o->lib)
        tell_steps(pn);
    tell_times(pn, chosen - began, tni_now_ns() - chosen);
    return TN_OK;
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
