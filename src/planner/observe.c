/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking at the numbers of a model: every graph is run once in float32 with the cheapest CPU kernels, on the samples. In: an inferred module.
 * Out: the largest finite magnitude and the shape of every value; opt of symbols that nobody has given is settled. Nothing is verified: what is
 * learnt decides about types with a margin, and what is chosen later is verified then. One sample is enough for that, whatever the opt batch. With a timing cache the numbers of an earlier build of the
 * same model on the same samples are taken. */
#include "base/cpu.h"
#include "base/dtype.h"
#include "planner/internal.h"

#include <math.h>

void tni_planner_see(Pn *pn, IrGraphId g, IrValueId v, const TnTensor *t) {
    PnSeen *s = &pn->seen[g];
    s->shape[v] = *t;
    s->shape[v].data = NULL;
    if (t->dtype != TN_F32 || !t->data)
        return;
    /* Bodies of loops run more than once. */
    s->largest[v] = fmax(s->largest[v], tni_precision_largest(t->data, tn_tensor_numel(t), pn->threads));
}

void tni_planner_forget(Pn *pn) {
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        for (uint32_t v = 0; v < pn->m->graphs[i]->n_values; v++) {
            pn->seen[i].largest[v] = -1;
            tni_planner_dims(pn, &pn->m->graphs[i]->values[v], &pn->seen[i].shape[v]);
        }
    }
}

/* ---- the cache ---- */

static uint64_t samples_key(const Pn *pn) {
    const IrGraph *g = pn->m->graphs[0];
    uint64_t h = tni_hash(TENON_VERSION, sizeof TENON_VERSION, pn->o->model_hash);
    for (uint32_t i = 0; pn->o->samples && i < g->n_inputs; i++)
        h = tni_hash(pn->o->samples[i].data, tn_tensor_bytes(&pn->o->samples[i]), h);
    for (uint32_t s = 0; s < pn->m->n_symbols; s++) {
        int64_t range[4] = {pn->m->symbols[s].min, pn->symbols[s], pn->m->symbols[s].max, pn->guessed[s]};
        h = tni_hash(range, sizeof range, h);
    }
    return h;
}

static uint64_t value_key(uint64_t h, uint32_t graph, const IrValue *v) {
    return tni_hash(v->name, strlen(v->name), h + graph);
}

static bool wanted(const IrValue *v) {
    return v->dtype == TN_F32 && v->kind != IR_CONST;
}

static bool has_data_symbols(const IrModule *m) {
    for (uint32_t s = 0; s < m->n_symbols; s++)
        if (m->symbols[s].data_dependent)
            return true;
    return false;
}

/* false: something is missing, and the graphs have to run. */
static bool recall(Pn *pn, uint64_t h) {
    double guess;
    if (has_data_symbols(pn->m) || !tni_planner_number_find(pn, tni_hash("guess", 5, h), &guess))
        return false;
    if (guess >= 0 && guess < tni_planner_guesses(pn))
        tni_planner_guess(pn, (uint32_t)guess);
    tni_planner_forget(pn);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        for (uint32_t v = 0; v < pn->m->graphs[i]->n_values; v++)
            if (wanted(&pn->m->graphs[i]->values[v]) &&
                !tni_planner_number_find(pn, value_key(h, i, &pn->m->graphs[i]->values[v]), &pn->seen[i].largest[v]))
                return false;
    return true;
}

static TnStatus remember(Pn *pn, uint64_t h, TnError *err) {
    TN_TRY(tni_planner_number_add(pn, tni_hash("guess", 5, h), pn->guess, err));
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        for (uint32_t v = 0; v < pn->m->graphs[i]->n_values; v++)
            if (wanted(&pn->m->graphs[i]->values[v]))
                TN_TRY(tni_planner_number_add(pn, value_key(h, i, &pn->m->graphs[i]->values[v]), pn->seen[i].largest[v], err));
    return TN_OK;
}

/* ---- fewer samples ---- */

/* Magnitudes do not depend on how many made-up samples run side by side: of symbols that count samples (the first axis of an input) the least
 * is taken. Not with samples of the caller's, nor where contents decide sizes. */
static void take_few(Pn *pn) {
    const IrModule *m = pn->m;
    const IrGraph *g = m->graphs[0];
    for (uint32_t i = 0; i < g->n_inputs && !pn->o->samples && !has_data_symbols(m); i++) {
        const IrValue *v = &g->values[g->inputs[i]];
        const TnDimExpr *e = v->rank > 1 ? &m->exprs[v->dims[0]] : NULL;
        if (e && e->op == TN_DIM_SYMBOL && !pn->guessed[e->value])
            pn->symbols[e->value] = TN_MIN(TN_MAX(m->symbols[e->value].min, (int64_t)1), pn->symbols[e->value]);
    }
    tni_planner_evaluate(pn);
}

/* Back to the opt sizes; shapes are theirs. */
static void take_all(Pn *pn, const int64_t *symbols) {
    if (has_data_symbols(pn->m))
        return;
    for (uint32_t s = 0; s < pn->m->n_symbols; s++)
        if (!pn->guessed[s])
            pn->symbols[s] = symbols[s];
    tni_planner_evaluate(pn);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++)
        for (uint32_t v = 0; v < pn->m->graphs[i]->n_values; v++)
            tni_planner_dims(pn, &pn->m->graphs[i]->values[v], &pn->seen[i].shape[v]);
}

/* ---- the sequence ---- */

static TnStatus observe(Pn *pn, TnArena *arena, TnError *err) {
    pn->guess = -1;
    TN_TRY(tni_planner_prepare(pn, err));
    TN_TRY(tni_planner_choices_init(pn, err));
    TN_TRY(tni_planner_timings_open(pn, err));
    TN_TRY(tni_planner_symbols(pn, err));
    TN_TRY(tni_planner_place(pn, err));
    pn->seen = tni_arena_calloc(arena, pn->m->n_graphs, sizeof *pn->seen);
    for (uint32_t i = 0; pn->seen && i < pn->m->n_graphs; i++) {
        uint32_t n = pn->m->graphs[i]->n_values;
        pn->seen[i].largest = tni_arena_calloc(arena, n + 1u, sizeof(double));
        pn->seen[i].shape = tni_arena_calloc(arena, n + 1u, sizeof(TnTensor));
        if (!pn->seen[i].largest || !pn->seen[i].shape)
            return TN_OOM(err, n * sizeof(TnTensor));
    }
    if (!pn->seen)
        return TN_OOM(err, sizeof(PnSeen));
    uint64_t h = samples_key(pn);
    if (recall(pn, h))
        return TN_OK;
    int64_t *symbols;
    PN_ALLOC(pn, symbols, pn->m->n_symbols, err);
    if (pn->m->n_symbols)
        memcpy(symbols, pn->symbols, pn->m->n_symbols * sizeof *symbols);
    take_few(pn);
    TN_TRY(tni_planner_run(pn, err));
    take_all(pn, symbols);
    TN_TRY(remember(pn, h, err));
    return tni_planner_timings_save(pn, err);
}

TnStatus tni_planner_observe(IrModule *m, const PlannerOptions *o, TnArena *arena, const PrecisionSeen **out, TnError *err) {
    PlannerOptions cpu = *o;
    cpu.lib = NULL;
    cpu.reference = false;
    Pn pn = {.m = m, .o = &cpu, .alloc = o->alloc, .cpu = o->cpu_flags ? o->cpu_flags & tni_cpu_flags() : tni_cpu_flags()};
    TnStatus st;
    TN_TRY_GOTO(tni_arena_create(o->alloc, &pn.arena, err));
    TN_TRY_GOTO(tni_threads_create(o->alloc, o->threads, &pn.threads, err));
    pn.n_threads = tni_threads_count(pn.threads);
    TN_TRY_GOTO(observe(&pn, arena, err));
    PrecisionSeen *seen = tni_arena_calloc(arena, m->n_graphs, sizeof *seen);
    if (!seen)
        st = TN_OOM(err, m->n_graphs * sizeof *seen);
    for (uint32_t i = 0; seen && i < m->n_graphs; i++)
        seen[i] = (PrecisionSeen){pn.seen[i].largest, pn.seen[i].shape};
    *out = seen;
fail:
    for (uint32_t i = 0; i < pn.n_states; i++)
        tni_free(pn.alloc, pn.states[i].sample.data);
    tni_threads_destroy(&pn.threads);
    tni_arena_destroy(&pn.arena);
    return st;
}
