/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps that depend on shapes alone: from constants and symbols, never from an input's contents (positions, masks of ones, expanded class tokens).
 * They run once a binding and their results are kept, in memory of the frame that no other step writes; runs, and graphs of a device, go
 * without them. In: prepared steps. Out: RtStep.kept, RtProgram.kept.
 *
 * A result is kept when every step that writes its bytes is kept, and every other step that reads them comes after the last of those (with
 * results written in place an earlier reader would see the later bytes in the second run). Outputs of a program are the caller's: never kept. */
#include "runtime/device.h"

typedef struct Find {
    const TnPlan *plan;
    const RtProgram *r;
    RtStep *rt;
    uint8_t *good;   /* [n_values]: of roots */
    uint32_t *last;  /* [n_values]: of roots: the last step that writes, plus one */
} Find;

static uint32_t root_of(const Find *f, uint32_t id) {
    const PlanValue *v = &f->r->values[id];
    return v->place == PLAN_AT_ALIAS ? v->place_arg : id;
}

/* Result j of step s is its operand, bytes and all. */
static bool is_view(const Find *f, uint32_t s, uint32_t j) {
    const PlanStep *st = &f->r->steps[s];
    const uint32_t *ops = f->plan->p.operands;
    if (j != 0 || !(tni_op_info(f->rt[s].op)->flags & TN_OPF_VIEW) || st->n_in == 0 || ops[st->first_in] == PLAN_NONE)
        return false;
    return root_of(f, ops[st->first_in]) == root_of(f, ops[st->first_out]);
}

static bool from_shapes(const Find *f, uint32_t s) {
    const PlanStep *st = &f->r->steps[s];
    const RtStep *rt = &f->rt[s];
    const uint32_t *ops = f->plan->p.operands;
    if (rt->late || rt->control || rt->transfer == RT_TO_HOST || st->n_out == 0 ||
        (tni_op_info(rt->op)->flags & (TN_OPF_STATE | TN_OPF_DATA_SHAPE | TN_OPF_CONTROL)))
        return false;
    for (uint32_t i = 0; i < st->n_in && rt->op != TN_OP_shape; i++) { /* whose operand's contents do not matter */
        if (ops[st->first_in + i] == PLAN_NONE)
            continue;
        const uint32_t root = root_of(f, ops[st->first_in + i]), place = f->r->values[root].place;
        if (place != PLAN_AT_WEIGHT && place != PLAN_AT_PACKED && !(place == PLAN_AT_ARENA && f->good[root]))
            return false;
    }
    for (uint32_t i = 0; i < st->n_out; i++)
        if (ops[st->first_out + i] != PLAN_NONE && !f->good[root_of(f, ops[st->first_out + i])])
            return false;
    return true;
}

/* A step that is not kept spoils what it writes, and what it reads before it is complete. */
static bool spoil(const Find *f, uint32_t s) {
    const PlanStep *st = &f->r->steps[s];
    const uint32_t *ops = f->plan->p.operands;
    bool changed = false;
    for (uint32_t i = 0; i < st->n_in + st->n_out; i++) {
        const bool in = i < st->n_in;
        const uint32_t id = ops[in ? st->first_in + i : st->first_out + (i - st->n_in)];
        if (id == PLAN_NONE)
            continue;
        const uint32_t root = root_of(f, id);
        if (!f->good[root] || (in ? s + 1 >= f->last[root] : is_view(f, s, i - st->n_in)))
            continue;
        f->good[root] = 0;
        changed = true;
    }
    return changed;
}

static void look_at_writers(const Find *f) {
    const uint32_t *ops = f->plan->p.operands;
    for (uint32_t v = 0; v < f->r->g->n_values; v++)
        f->good[v] = f->r->values[v].place == PLAN_AT_ARENA && !f->r->late_value[v];
    for (uint32_t i = 0; i < f->r->g->n_outputs; i++)
        f->good[root_of(f, f->r->outputs[i])] = 0;
    for (uint32_t s = 0; s < f->r->g->n_steps; s++)
        for (uint32_t i = 0; i < f->r->steps[s].n_out; i++)
            if (ops[f->r->steps[s].first_out + i] != PLAN_NONE && !is_view(f, s, i))
                f->last[root_of(f, ops[f->r->steps[s].first_out + i])] = s + 1;
}

TnStatus tni_rt_find_kept(TnPlan *plan, RtProgram *r, TnError *err) {
    const size_t n = (size_t)r->g->n_values + 1;
    Find f = {plan, r, plan->steps + r->g->first_step, tni_arena_calloc(plan->arena, n, 1), tni_calloc(plan->alloc, n, sizeof *f.last)};
    r->kept = f.good;
    if (!f.good || !f.last) {
        tni_free(plan->alloc, f.last);
        return TN_OOM(err, n * sizeof *f.last);
    }
    look_at_writers(&f);
    for (bool changed = true; changed;) { /* each round but the last spoils a value */
        changed = false;
        for (uint32_t s = 0; s < r->g->n_steps; s++)
            changed |= !from_shapes(&f, s) && spoil(&f, s);
    }
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        r->n_kept += f.rt[s].kept = from_shapes(&f, s);
    for (uint32_t v = 0; v < r->g->n_values; v++)
        f.good[v] = f.good[v] && f.last[v] > 0;
    tni_free(plan->alloc, f.last);
    return TN_OK;
}

/* ---- memory ---- */

TnStatus tni_rt_kept_memory(TnContext *ctx, RtFrame *f, TnError *err) {
    size_t n[RT_MEMORIES] = {0};
    for (uint32_t v = 0; v < f->prog->g->n_values && f->prog->n_kept; v++)
        if (f->prog->kept[v])
            n[f->prog->values[v].device ? RT_DEVICE : RT_HOST] += tni_align_up((size_t)f->bytes[v], RT_DEVICE_ALIGN);
    for (uint32_t m = 0; m < (ctx->device ? RT_MEMORIES : RT_DEVICE); m++)
        TN_TRY(tni_rt_grow_in(ctx, m, &f->kept[m], n[m], false, "what depends on shapes alone", err));
    f->kept_done = false;
    return TN_OK;
}

void tni_rt_kept_addresses(RtFrame *f) {
    size_t at[RT_MEMORIES] = {0};
    for (uint32_t v = 0; v < f->prog->g->n_values && f->prog->n_kept; v++) {
        if (!f->prog->kept[v])
            continue;
        const uint32_t m = f->prog->values[v].device ? RT_DEVICE : RT_HOST;
        f->t[v].data = f->kept[m].p ? f->kept[m].p + at[m] : NULL;
        at[m] += tni_align_up((size_t)f->bytes[v], RT_DEVICE_ALIGN);
    }
}

TnStatus tni_rt_keep(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t s = 0; s < f->prog->g->n_steps && f->prog->n_kept && !f->kept_done; s++) {
        if (!f->prog->rt[s].kept)
            continue;
        TN_TRY(tni_rt_run_step(ctx, f, s, err));
        if (ctx->device && f->prog->rt[s].memory == RT_DEVICE)
            TN_TRY(tni_rt_device_trail(ctx, f, s, err));
    }
    f->kept_done = true;
    return TN_OK;
}
