/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels for several sizes in one plan. In: choices at the opt sizes, and lists of sizes by symbol ("batch=1:4:16,seq=128:512"). Out: a choice
 * for every node and combination of sizes. Every bucket is run like the opt sizes: its kernels are verified there, and timed with tune. A
 * constant is stored once, so candidates of a bucket are those that want the packed form chosen at opt. At binding the runtime takes the smallest
 * bucket that is large enough (plan/read.c). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "planner/internal.h"

/* The sizes of one symbol. */
typedef struct Sizes {
    uint32_t symbol, n;
    int64_t at[PLAN_MAX_BUCKETS];
} Sizes;

static TnStatus bad_item(const char *s, size_t n, TnError *err) {
    return TN_RAISE(err, TN_ERR_ARGUMENT, "buckets '%.*s': expected NAME=SIZE or NAME=SIZE:SIZE:... with sizes of 1 and more, at most %u",
                    (int)TN_MIN(n, (size_t)200), s, PLAN_MAX_BUCKETS);
}

static TnStatus parse_item(const Pn *pn, const char *s, size_t n, Sizes *out, TnError *err) {
    const char *eq = memchr(s, '=', n), *end = s + n;
    if (!eq)
        return bad_item(s, n, err);
    const size_t name = (size_t)(eq - s);
    uint32_t k = 0;
    while (k < pn->m->n_symbols && (pn->m->symbols[k].data_dependent || strlen(pn->m->symbols[k].name) != name ||
                                    memcmp(pn->m->symbols[k].name, s, name) != 0))
        k++;
    if (k == pn->m->n_symbols)
        return TN_RAISE(err, TN_ERR_NAME, "buckets: no dimension is named '%.*s'; tenon inspect MODEL shows those there are",
                        (int)TN_MIN(name, (size_t)100), s);
    const TnSymbol *x = &pn->m->symbols[k];
    *out = (Sizes){.symbol = k};
    for (const char *p = eq + 1;; p++) {
        char *next;
        const long long v = p < end && *p >= '0' && *p <= '9' ? strtoll(p, &next, 10) : 0;
        if (v < 1 || out->n == PLAN_MAX_BUCKETS || next > end || (next < end && *next != ':'))
            return bad_item(s, n, err);
        if (v < x->min || v > x->max)
            return TN_RAISE(err, TN_ERR_ARGUMENT, "buckets: %.*s=%lld is outside its range %" PRId64 "..%" PRId64 " (--shapes)",
                            (int)TN_MIN(name, (size_t)100), s, v, x->min, x->max);
        out->at[out->n++] = v;
        p = next;
        if (p == end)
            return TN_OK;
    }
}

static TnStatus parse(Pn *pn, const char *spec, Sizes *lists, uint32_t *n, TnError *err) {
    uint32_t all = 1;
    *n = 0;
    for (const char *s = spec; *s;) {
        const size_t len = strcspn(s, ",");
        if (*n == PLAN_MAX_BUCKETS)
            return bad_item(s, len, err);
        TN_TRY(parse_item(pn, s, len, &lists[*n], err));
        for (uint32_t i = 0; i < *n; i++)
            if (lists[i].symbol == lists[*n].symbol)
                return TN_RAISE(err, TN_ERR_ARGUMENT, "buckets name '%s' twice", pn->m->symbols[lists[i].symbol].name);
        all *= lists[(*n)++].n;
        if (all > PLAN_MAX_BUCKETS)
            return TN_RAISE(err, TN_ERR_LIMIT, "the buckets have more than %u combinations", PLAN_MAX_BUCKETS);
        s += len + (s[len] == ',');
    }
    pn->n_buckets = *n ? all : 0;
    return TN_OK;
}

/* All combinations. */
static TnStatus combine(Pn *pn, const Sizes *lists, uint32_t n, TnError *err) {
    const uint32_t n_symbols = pn->m->n_symbols;
    PN_ALLOC(pn, pn->buckets, (size_t)pn->n_buckets * n_symbols, err);
    for (uint32_t b = 0; b < pn->n_buckets; b++) {
        uint32_t rest = b;
        for (uint32_t i = n; i-- > 0; rest /= lists[i].n)
            pn->buckets[(size_t)b * n_symbols + lists[i].symbol] = lists[i].at[rest % lists[i].n];
    }
    return TN_OK;
}

void tni_planner_bucket_name(const Pn *pn, uint32_t b, char *text, size_t cap) {
    size_t at = 0;
    text[0] = 0;
    for (uint32_t s = 0; s < pn->m->n_symbols && at + 80 < cap; s++) {
        const int64_t size = pn->buckets[(size_t)b * pn->m->n_symbols + s];
        if (size)
            at += (size_t)snprintf(text + at, cap - at, "%s%.40s=%" PRId64, at ? "," : "", pn->m->symbols[s].name, size);
    }
}

bool tni_planner_packs_alike(const PnCase *c, const TnKernel *k, const TnKernelQuery *q) {
    const TnKernel *was = c->at_opt ? c->at_opt->kernel : NULL;
    bool packs = false;
    if (!was || k == was)
        return true;
    if (k->source)
        return false;
    for (uint32_t i = 0; i < c->n_in; i++) {
        const size_t a = was->packed_bytes && c->constant[i] ? was->packed_bytes(q, i) : 0;
        if (a != (k->packed_bytes && c->constant[i] ? k->packed_bytes(q, i) : 0))
            return false;
        packs |= a > 0;
    }
    return !packs || (k->packing && was->packing && strcmp(k->packing, was->packing) == 0);
}

const PnChoice *tni_planner_in_bucket(const PnGraph *pg, uint32_t b, uint32_t k) {
    const PnChoice *c = pg->bucket[b] ? pg->bucket[b][k] : NULL, *opt = pg->choice[k];
    return c && opt && c->bound && c->bound == opt->kernel && c->kernel != opt->kernel && !c->unmet ? c : NULL;
}

/* The symbols' values, and what follows from them. */
typedef struct Sizing {
    const PlannerOptions *o;
    int64_t *symbols, *opt;
    uint8_t *symbol_known, *opt_known, *guessed;
} Sizing;

static TnStatus set_aside(Pn *pn, Sizing *was, TnError *err) {
    const uint32_t n = pn->m->n_symbols, e = pn->m->n_exprs;
    *was = (Sizing){pn->o, pn->symbols, pn->opt, pn->symbol_known, pn->opt_known, pn->guessed};
    PN_ALLOC(pn, pn->symbols, n, err);
    PN_ALLOC(pn, pn->symbol_known, n, err);
    PN_ALLOC(pn, pn->guessed, n, err);
    PN_ALLOC(pn, pn->opt, e, err);
    PN_ALLOC(pn, pn->opt_known, e, err);
    return TN_OK;
}

static void put_back(Pn *pn, const Sizing *was) {
    pn->o = was->o;
    pn->symbols = was->symbols;
    pn->opt = was->opt;
    pn->symbol_known = was->symbol_known;
    pn->opt_known = was->opt_known;
    pn->guessed = was->guessed;
}

static TnStatus run_bucket(Pn *pn, uint32_t b, TnError *err) {
    Sizing was;
    TN_TRY(set_aside(pn, &was, err));
    PlannerOptions o = *pn->o;
    o.samples = NULL; /* they have other sizes */
    o.keep_sizes = true;
    pn->o = &o;
    for (uint32_t s = 0; s < pn->m->n_symbols; s++) {
        const int64_t size = pn->buckets[(size_t)b * pn->m->n_symbols + s];
        pn->symbols[s] = size ? size : was.symbols[s];
        pn->symbol_known[s] = !pn->m->symbols[s].data_dependent;
    }
    tni_planner_evaluate(pn);
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < pn->m->n_graphs && st == TN_OK; i++) {
        PnGraph *pg = &pn->graphs[i];
        pg->bucket[b] = tni_arena_calloc(pn->arena, (size_t)pg->g->n_nodes + 1, sizeof *pg->choice);
        st = pg->bucket[b] ? TN_OK : TN_OOM(err, pg->g->n_nodes * sizeof *pg->choice);
    }
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        PnGraph *pg = &pn->graphs[i];
        pg->at_opt = pg->choice;
        pg->choice = pg->bucket[b];
    }
    if (st == TN_OK)
        st = tni_planner_run(pn, err);
    for (uint32_t i = 0; i < pn->m->n_graphs; i++) {
        PnGraph *pg = &pn->graphs[i];
        pg->choice = pg->at_opt;
        pg->at_opt = NULL;
    }
    put_back(pn, &was);
    if (st != TN_OK) {
        char name[200];
        tni_planner_bucket_name(pn, b, name, sizeof name);
        return tni_error_prefix(err, st, "bucket %s", name);
    }
    return TN_OK;
}

TnStatus tni_planner_buckets(Pn *pn, TnError *err) {
    Sizes *lists;
    uint32_t n;
    if (!pn->o->buckets || !pn->o->buckets[0] || pn->o->reference)
        return TN_OK;
    PN_ALLOC(pn, lists, PLAN_MAX_BUCKETS, err);
    TN_TRY(parse(pn, pn->o->buckets, lists, &n, err));
    TN_TRY(combine(pn, lists, n, err));
    for (uint32_t b = 0; b < pn->n_buckets; b++)
        TN_TRY(run_bucket(pn, b, err));
    return TN_OK;
}
