/* SPDX-License-Identifier: Apache-2.0
 *
 * What the planner runs a graph on: shapes at the opt of the ranges and made-up values, or the caller's samples. Fixed seeds: the same
 * model gives the same plan. */
#include "base/dtype.h"
#include "planner/internal.h"

#include <ctype.h>

void tni_planner_evaluate(Pn *pn) {
    for (uint32_t i = 0; i < pn->m->n_exprs; i++) {
        const TnDimExpr *e = &pn->m->exprs[i];
        pn->opt_known[i] = 1;
        if (e->op == TN_DIM_CONST) {
            pn->opt[i] = e->value;
        } else if (e->op == TN_DIM_SYMBOL) {
            pn->opt[i] = pn->symbols[e->value];
            pn->opt_known[i] = pn->symbol_known[e->value];
        } else {
            bool third = e->op == TN_DIM_SELECT;
            pn->opt_known[i] = pn->opt_known[e->a] && pn->opt_known[e->b] && (!third || pn->opt_known[e->c]) &&
                               tni_dim_apply((TnDimOp)e->op, pn->opt[e->a], pn->opt[e->b], third ? pn->opt[e->c] : 0, &pn->opt[i]);
        }
        if (!pn->opt_known[i])
            pn->opt[i] = 1;
    }
}

/* ---- sizes that nobody has given ---- */

/* What a symbol of an input's axis probably is. A picture has one to four channels on axis 1. */
static uint8_t kind_of(const IrModule *m, const IrValue *v, int32_t axis) {
    const TnDimExpr *channels = v->rank >= 4 ? &m->exprs[v->dims[1]] : NULL;
    if (axis == 0 && v->rank > 1)
        return 3;
    if (axis >= 2 && channels && tni_dtype_is_float(v->dtype) && channels->op == TN_DIM_CONST && channels->value <= 4)
        return 1;
    return 2;
}

static TnStatus find_guesses(Pn *pn, TnError *err) {
    const IrModule *m = pn->m;
    const IrGraph *g = m->graphs[0];
    PN_ALLOC(pn, pn->guessed, m->n_symbols, err);
    for (uint32_t i = 0; i < g->n_inputs && !pn->o->samples && !pn->o->keep_sizes; i++) {
        const IrValue *v = &g->values[g->inputs[i]];
        for (int32_t d = 0; d < v->rank; d++) {
            const TnDimExpr *e = &m->exprs[v->dims[d]];
            if (e->op != TN_DIM_SYMBOL)
                continue;
            const TnSymbol *s = &m->symbols[e->value];
            if (!s->data_dependent && s->min == 1 && s->opt == 1 && s->max == INT64_MAX && !pn->guessed[e->value])
                pn->guessed[e->value] = kind_of(m, v, d);
        }
    }
    return TN_OK;
}

/* Sizes by guess and kind. Models limit their sizes in ways that only running them shows: tables of positions, multiples of patches. */
static const int64_t guesses[][4] = {{1, 224, 64, 1}, {1, 64, 16, 1}, {1, 448, 4, 1}, {1, 1, 1, 1}};

uint32_t tni_planner_guesses(const Pn *pn) {
    for (uint32_t s = 0; s < pn->m->n_symbols; s++)
        if (pn->guessed[s] == 1 || pn->guessed[s] == 2)
            return (uint32_t)TN_COUNT(guesses);
    return 1;
}

void tni_planner_guess(Pn *pn, uint32_t guess) {
    for (uint32_t s = 0; s < pn->m->n_symbols; s++) {
        if (pn->guessed[s])
            pn->symbols[s] = pn->m->symbols[s].opt = guesses[guess][pn->guessed[s]];
        pn->symbol_known[s] = !pn->m->symbols[s].data_dependent;
    }
    tni_planner_evaluate(pn);
}

TnStatus tni_planner_symbols(Pn *pn, TnError *err) {
    const IrModule *m = pn->m;
    PN_ALLOC(pn, pn->symbols, m->n_symbols, err);
    PN_ALLOC(pn, pn->symbol_known, m->n_symbols, err);
    PN_ALLOC(pn, pn->opt, m->n_exprs, err);
    PN_ALLOC(pn, pn->opt_known, m->n_exprs, err);
    for (uint32_t s = 0; s < m->n_symbols; s++) {
        pn->symbols[s] = m->symbols[s].opt;
        pn->symbol_known[s] = !m->symbols[s].data_dependent;
    }
    const IrGraph *g = m->graphs[0];
    for (uint32_t i = 0; pn->o->samples && i < g->n_inputs; i++) {
        const IrValue *v = &g->values[g->inputs[i]];
        for (int32_t d = 0; d < v->rank && d < pn->o->samples[i].rank; d++)
            if (m->exprs[v->dims[d]].op == TN_DIM_SYMBOL)
                pn->symbols[m->exprs[v->dims[d]].value] = pn->o->samples[i].dims[d];
    }
    TN_TRY(find_guesses(pn, err));
    tni_planner_evaluate(pn);
    return TN_OK;
}

bool tni_planner_dims(const Pn *pn, const IrValue *v, TnTensor *t) {
    bool known = true;
    *t = (TnTensor){.dtype = v->dtype, .rank = v->rank};
    for (int32_t d = 0; d < v->rank; d++) {
        known &= pn->opt_known[v->dims[d]] && pn->opt[v->dims[d]] >= 0;
        t->dims[d] = TN_MAX(pn->opt[v->dims[d]], (int64_t)0);
    }
    return known;
}

static uint64_t next(uint64_t *s) {
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return *s >> 33;
}

static bool has_word(const char *name, const char *word) {
    for (size_t n = strlen(word); *name; name++) {
        size_t k = 0;
        while (k < n && tolower((unsigned char)name[k]) == word[k])
            k++;
        if (k == n)
            return true;
    }
    return false;
}

TnStatus tni_planner_fill(const Pn *pn, TnTensor *t, const char *name, uint64_t seed, TnError *err) {
    size_t bytes;
    int64_t n;
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, &n, &bytes))
        return TN_RAISE(err, TN_ERR_LIMIT, "tensor '%s' is too large at the opt shapes", name);
    t->data = tni_alloc_aligned(pn->alloc, bytes, 64);
    if (!t->data)
        return TN_OOM(err, bytes);
    if (tn_dtype_bits(t->dtype) < 8) {
        memset(t->data, 0, bytes);
        return TN_OK;
    }
    uint64_t s = tni_hash(name, strlen(name), seed);
    bool is_float = tni_dtype_is_float(t->dtype), mask = has_word(name, "mask");
    for (int64_t i = 0; i < n; i++) {
        uint64_t r = next(&s);
        if (is_float)
            tni_store_f64(t->dtype, t->data, i, mask ? 1.0 : (double)r / (double)(1u << 30) - 1.0);
        else
            tni_store_i64(t->dtype, t->data, i, mask || t->dtype == TN_BOOL ? 1 : (int64_t)(r & 1));
    }
    return TN_OK;
}

/* Values of a decoder's control inputs (plan/generation.h) in the middle of a line, if it is one of them. */
static bool fill_control(const Pn *pn, const char *name, TnTensor *t) {
    int64_t rows = t->rank > 0 ? t->dims[0] : 1, n = tn_tensor_numel(t), cols = rows > 0 ? n / rows : 0;
    int64_t lanes = 1, positions = 1, cross = 1, lines = 1;
    for (uint32_t s = 0; s < pn->m->n_symbols; s++) {
        const char *sym = pn->m->symbols[s].name;
        lanes = strcmp(sym, "lanes") == 0 ? pn->symbols[s] : lanes;
        positions = strcmp(sym, "positions") == 0 ? pn->symbols[s] : positions;
        lines = strcmp(sym, "batch") == 0 ? pn->symbols[s] : lines;
    }
    for (uint32_t i = 0; i < pn->n_states; i++)
        if (pn->states[i].sample.rank >= 2 && has_word(pn->states[i].name, "cross"))
            cross = pn->states[i].sample.dims[1];
    int64_t at = (positions - 1) / 2;
    for (int64_t i = 0; i < n; i++) {
        int64_t r = cols ? i / cols : 0, v;
        if (strcmp(name, "tokens") == 0)
            v = (r * 7 + 2) % (int64_t)pn->gen.vocab_size;
        else if (strcmp(name, "positions") == 0)
            v = at;
        else if (strcmp(name, "where") == 0)
            v = i % 2 ? at : r % lanes;
        else if (strcmp(name, "lanes") == 0)
            v = r % lanes;
        else if (strcmp(name, "length") == 0)
            v = at + 1;
        else if (strcmp(name, "cross_lanes") == 0)
            v = r % lines;
        else if (strcmp(name, "cross_length") == 0)
            v = cross;
        else
            return false;
        tni_store_i64(t->dtype, t->data, i, v);
    }
    return true;
}

TnStatus tni_planner_state_samples(Pn *pn, TnError *err) {
    for (uint32_t i = 0; i < pn->n_states; i++) {
        PnState *s = &pn->states[i];
        tni_free(pn->alloc, s->sample.data);
        tni_planner_dims(pn, &pn->m->graphs[s->graph]->values[s->value], &s->sample);
        TN_TRY(tni_planner_fill(pn, &s->sample, s->name, 1, err));
    }
    return TN_OK;
}

TnStatus tni_planner_sample(Pn *pn, PnGraph *pg, uint32_t i, TnTensor *t, uint8_t *owned, TnError *err) {
    const IrValue *v = &pg->g->values[pg->g->inputs[i]];
    *owned = 0;
    if (tni_planner_is_state(v->name)) {
        *t = pn->states[tni_planner_find_state(pn, v->name)].sample;
        return TN_OK;
    }
    tni_planner_dims(pn, v, t);
    if (pg->id == 0 && pn->o->samples) {
        const TnTensor *s = &pn->o->samples[i];
        if (!tni_plan_same(s, t))
            return TN_RAISE(err, TN_ERR_SHAPE, "the sample for input '%s' has another type or shape than the model declares", v->name);
        *t = *s;
        return TN_OK;
    }
    TN_TRY(tni_planner_fill(pn, t, v->name, 2, err));
    *owned = 1;
    if (pn->is_generator && strcmp(pg->g->name, pn->gen.decoder) == 0)
        fill_control(pn, v->name, t);
    return TN_OK;
}
