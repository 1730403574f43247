/* SPDX-License-Identifier: Apache-2.0
 *
 * Finds what a generator consists of (plan/generation.h): its programs, control inputs, states and symbols. In: a checked plan. Out:
 * plan->gen, or nothing when the plan is none. */
#include "runtime/runtime.h"

#define BAD(...) tni_raise(err, TN_ERR_PLAN, "generation: " __VA_ARGS__)

static uint32_t find_program(const Plan *p, const char *name) {
    for (uint32_t i = 0; i < p->n_programs; i++)
        if (strcmp(p->strings + p->programs[i].name, name) == 0)
            return i;
    return PLAN_NONE;
}

static uint32_t find_symbol(const Plan *p, const char *name) {
    for (uint32_t i = 0; i < p->n_symbols; i++)
        if (strcmp(p->symbols[i].name, name) == 0)
            return i;
    return PLAN_NONE;
}

static uint32_t find_value(const Plan *p, const RtProgram *r, const uint32_t *ids, uint32_t n, const char *name) {
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(p->strings + r->values[ids[i]].name, name) == 0)
            return i;
    return PLAN_NONE;
}

/* Control inputs by name: the loop fills those it knows, so there must be no other. */
static TnStatus find_controls(const TnPlan *plan, RtGenerator *g, TnError *err) {
    const Plan *p = &plan->p;
    const RtProgram *d = &plan->programs[g->decoder];
    struct {
        const char *name;
        uint32_t *index;
        int32_t rank;
        bool wide; /* int64 allowed */
    } table[] = {
        {"tokens", &g->tokens, 2, true},
        {"positions", &g->positions, 1, true},
        {"where", &g->where, 2, false},
        {"lanes", &g->lanes, 2, false},
        {"length", &g->length, 1, false},
        {"cross_lanes", &g->cross_lanes, 2, false},
        {"cross_length", &g->cross_length, 1, false},
    };
    uint32_t found = 0;
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        uint32_t k = *table[i].index = find_value(p, d, d->inputs, d->g->n_inputs, table[i].name);
        if (k == PLAN_NONE)
            continue;
        const PlanValue *v = &d->values[d->inputs[k]];
        if (v->rank != table[i].rank || (v->dtype != TN_I32 && !(table[i].wide && v->dtype == TN_I64)))
            return BAD("input '%s' of the decoder has type %s and rank %d", table[i].name, tn_dtype_name((TnDtype)v->dtype), v->rank);
        found++;
    }
    if (g->tokens == PLAN_NONE || found != d->g->n_inputs)
        return BAD("the decoder has %u inputs, of which %u are known; 'tokens' must be one", d->g->n_inputs, found);
    g->logits = find_value(p, d, d->outputs, d->g->n_outputs, "logits");
    if (g->logits == PLAN_NONE)
        return BAD("the decoder has no output 'logits'");
    const PlanValue *v = &d->values[d->outputs[g->logits]];
    if (v->dtype != TN_F32 || (v->rank != 2 && v->rank != 3))
        return BAD("logits have type %s and rank %d; expected float32 [rows, vocabulary]", tn_dtype_name((TnDtype)v->dtype), v->rank);
    return TN_OK;
}

TnStatus tni_rt_generator_find(TnPlan *plan, TnError *err) {
    const Plan *p = &plan->p;
    uint64_t n;
    const uint8_t *blob = tni_plan_meta(p, PLAN_GENERATION_KEY, &n);
    if (!blob)
        return TN_OK;
    RtGenerator *g = tni_arena_calloc(plan->arena, 1, sizeof *g);
    if (!g)
        return TN_OOM(err, sizeof *g);
    TN_TRY(tni_plan_generation_read(blob, n, &g->g, err));
    g->encoder = find_program(p, g->g.encoder);
    g->decoder = find_program(p, g->g.decoder);
    if (g->encoder != 0 || g->decoder == PLAN_NONE || g->decoder == 0)
        return BAD("programs '%s' (the first) and '%s' are needed", g->g.encoder, g->g.decoder);
    TN_TRY(find_controls(plan, g, err));
    g->cross_state = PLAN_NONE;
    const RtProgram *e = &plan->programs[g->encoder];
    for (uint32_t s = 0; s < e->g->n_steps && g->cross_state == PLAN_NONE; s++) {
        for (uint32_t i = 0; i < e->steps[s].n_out; i++) {
            uint32_t id = p->operands[e->steps[s].first_out + i];
            if (id != PLAN_NONE && e->values[id].place == PLAN_AT_STATE && e->values[id].rank >= 2)
                g->cross_state = e->values[id].place_arg;
        }
    }
    if (g->cross_state == PLAN_NONE && g->cross_length != PLAN_NONE)
        return BAD("the encoder writes no state");
    if (e->g->n_inputs == 0 || e->values[e->inputs[0]].rank < 1)
        return BAD("the encoder needs an input whose first dimension is the number of lines");
    g->sym_batch = find_symbol(p, "batch");
    g->sym_rows = find_symbol(p, "rows");
    g->sym_lanes = find_symbol(p, "lanes");
    g->sym_positions = find_symbol(p, "positions");
    plan->gen = g;
    return TN_OK;
}
