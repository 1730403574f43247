/* SPDX-License-Identifier: Apache-2.0
 *
 * Which programs can be captured as one unit of work, and how. In: prepared steps. Out: the phase of every step.
 *
 *   before   steps of the host that need nothing from the device; copies to the device go through staging memory, filled here; inputs that
 *            the host wants too are there, or are fetched
 *   in graph everything on the device, in the order of the plan
 *   after    copies to the host arrive in staging memory and are put in place here; steps of the host that need them
 *
 * Steps that depend on shapes alone (kept.c) are in none of these: they have run when the rest begins.
 *
 * Steps of the host keep their order among themselves, because the arena was planned for it: so all that come before must stand before all
 * that come after. What kernels of the device read on the host (slice bounds and the like) is read when they are enqueued, so it is part of what
 * a graph holds for. Not captured: shapes known only while running (but for steps that come after), control flow before, called programs. */
#include "runtime/device.h"

typedef struct Phases {
    const TnPlan *plan;
    RtProgram *r;
    uint8_t *made; /* [n_values]: RtPhase in which a value is there; what nobody makes is there before */
    bool after_seen, any;
} Phases;

static bool from_after(const Phases *p, uint32_t s) {
    const PlanStep *st = &p->r->steps[s];
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = p->plan->p.operands[st->first_in + i];
        if (id != PLAN_NONE && p->made[id] == RT_AFTER)
            return true;
    }
    return false;
}

static void makes(const Phases *p, uint32_t s, RtPhase phase) {
    const PlanStep *st = &p->r->steps[s];
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = p->plan->p.operands[st->first_out + i];
        if (id != PLAN_NONE)
            p->made[id] = (uint8_t)phase;
    }
}

/* An operand on the host that is no constant: its contents are baked into a graph. */
static bool reads_host(const Phases *p, uint32_t s) {
    const PlanStep *st = &p->r->steps[s];
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = p->plan->p.operands[st->first_in + i];
        if (id != PLAN_NONE && !p->r->values[id].device && p->r->values[id].place != PLAN_AT_WEIGHT &&
            p->r->values[id].place != PLAN_AT_PACKED)
            return true;
    }
    return false;
}

/* Phase of step s; false: the program cannot be captured. */
static bool phase_of(Phases *p, uint32_t s, RtStep *rt) {
    if (rt->kept) { /* has been run before anything else */
        rt->phase = RT_BEFORE;
        makes(p, s, RT_BEFORE);
        return true;
    }
    if (rt->transfer == RT_TO_DEVICE) {
        bool ok = !rt->late && !from_after(p, s) && !p->after_seen;
        rt->phase = RT_IN_GRAPH;
        makes(p, s, RT_IN_GRAPH);
        p->any = true;
        return ok;
    }
    if (rt->from_input) {
        rt->phase = RT_BEFORE;
        makes(p, s, RT_BEFORE);
        return !rt->late && !p->after_seen;
    }
    if (rt->transfer == RT_TO_HOST) {
        rt->phase = RT_IN_GRAPH;
        makes(p, s, RT_AFTER);
        p->after_seen = p->any = true;
        return !rt->late;
    }
    if (rt->memory == RT_DEVICE) {
        rt->phase = RT_IN_GRAPH;
        makes(p, s, RT_IN_GRAPH);
        p->any = true;
        return !rt->late && !from_after(p, s);
    }
    rt->phase = from_after(p, s) ? RT_AFTER : RT_BEFORE;
    makes(p, s, (RtPhase)rt->phase);
    if (rt->phase == RT_AFTER) {
        p->after_seen = true;
        return true;
    }
    return !p->after_seen && !rt->late && !rt->control && !(tni_op_info(rt->op)->flags & TN_OPF_STATE);
}

TnStatus tni_rt_device_phases(TnPlan *plan, RtProgram *r, TnError *err) {
    RtStep *rt = plan->steps + r->g->first_step;
    Phases p = {.plan = plan, .r = r, .made = tni_arena_calloc(plan->arena, (size_t)r->g->n_values + 1, 1)};
    size_t n = (size_t)r->g->n_steps + 1;
    r->before = tni_arena_calloc(plan->arena, n, sizeof *r->before);
    r->after = tni_arena_calloc(plan->arena, n, sizeof *r->after);
    r->stage = tni_arena_calloc(plan->arena, n, sizeof *r->stage);
    if (!p.made || !r->before || !r->after || !r->stage)
        return TN_OOM(err, n * sizeof *r->before);
    r->graph = true;
    for (uint32_t s = 0; s < r->g->n_steps; s++) {
        if (!phase_of(&p, s, &rt[s]))
            r->graph = false;
        r->stage[s] = rt[s].transfer && !rt[s].kept ? r->n_stages++ : PLAN_NONE;
        if (rt[s].kept)
            continue;
        bool host = rt[s].memory == RT_HOST && (!rt[s].transfer || rt[s].from_input);
        if ((host && rt[s].phase == RT_BEFORE) || rt[s].transfer == RT_TO_DEVICE || (rt[s].memory == RT_DEVICE && reads_host(&p, s)))
            r->before[r->n_before++] = s;
        if ((host && rt[s].phase == RT_AFTER) || (rt[s].transfer == RT_TO_HOST && !rt[s].from_input))
            r->after[r->n_after++] = s;
    }
    r->graph = r->graph && p.any;
    return TN_OK;
}
