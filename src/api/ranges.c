/* SPDX-License-Identifier: Apache-2.0
 *
 * Ranges of a generator's own symbols (plan/generation.h): the user gives batch; those of rows, lanes and positions follow from it and from
 * the generation defaults. In: a module with the user's ranges. Out: the same with all ranges. */
#include "api/ranges.h"

#include "plan/generation.h"

static TnSymbol *find_symbol(IrModule *m, const char *name) {
    for (uint32_t i = 0; i < m->n_symbols; i++)
        if (strcmp(m->symbols[i].name, name) == 0)
            return &m->symbols[i];
    return NULL;
}

/* A range that nobody has set. */
static bool untouched(const TnSymbol *s) {
    return s && s->min == 1 && s->opt == 1 && s->max == INT64_MAX;
}

TnStatus tni_api_generator_ranges(IrModule *m, TnError *err) {
    PlanGeneration g;
    size_t n;
    const char *blob = tni_ir_meta_get(m, PLAN_GENERATION_KEY, &n);
    if (!blob)
        return TN_OK;
    TN_TRY(tni_plan_generation_read(blob, n, &g, err));
    const TnSymbol *batch = find_symbol(m, "batch");
    int64_t opt, max = INT64_MAX;
    if (!batch || !tni_mul_i64(batch->opt, g.num_beams, &opt))
        opt = g.num_beams;
    if (!batch || batch->max == INT64_MAX || !g.max_beams || !tni_mul_i64(batch->max, g.max_beams, &max))
        max = INT64_MAX;
    const char *names[2] = {"rows", "lanes"};
    for (int i = 0; i < 2; i++) {
        TnSymbol *s = find_symbol(m, names[i]);
        if (!untouched(s))
            continue;
        s->opt = opt;
        s->max = TN_MAX(max, opt);
    }
    TnSymbol *p = find_symbol(m, "positions");
    if (p) {
        p->max = TN_MIN(p->max, (int64_t)g.max_positions);
        if (p->opt == 1)
            p->opt = TN_MAX(p->min, TN_MIN(p->max, (int64_t)g.max_length - 1));
    }
    return TN_OK;
}
