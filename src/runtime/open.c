/* SPDX-License-Identifier: Apache-2.0
 *
 * Opening plans: from checked views to tables that binding walks: kernels found by name, which dims a program reads, which of them are
 * known only while running. In: bytes. Out: an immutable TnPlan shared by contexts. */
#include "backend/device.h"
#include "backend/registry.h"
#include "runtime/device.h"

#define OOM_IF_NULL(p, n)                                                                                                                  \
    do {                                                                                                                                   \
        if (!(p))                                                                                                                          \
            return TN_OOM(err, n);                                                                                                         \
    } while (0)

/* Marks what the marked expressions are made of: operands have smaller ids, so one pass downwards is enough. */
static void need_operands(uint8_t *mark, const TnDimExpr *exprs, uint32_t n) {
    for (uint32_t i = n; i-- > 0;) {
        const TnDimExpr *e = &exprs[i];
        if (!mark[i] || e->op == TN_DIM_CONST || e->op == TN_DIM_SYMBOL)
            continue;
        mark[e->a] = mark[e->b] = 1;
        if (e->op == TN_DIM_SELECT)
            mark[e->c] = 1;
    }
}

/* Expressions that depend on symbols a step of this program defines become 2. */
static void mark_late(const Plan *p, RtProgram *r, uint8_t *defined) {
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        for (uint32_t i = 0; i < r->steps[s].n_symbols; i++)
            defined[p->operands[r->steps[s].first_symbol + 2 * i]] = 1;
    for (uint32_t i = 0; i < p->n_exprs; i++) {
        const TnDimExpr *e = &p->exprs[i];
        uint8_t *m = r->need_expr;
        if (!m[i] || e->op == TN_DIM_CONST)
            continue;
        bool late = e->op == TN_DIM_SYMBOL ? defined[e->value] : m[e->a] == 2 || m[e->b] == 2 || (e->op == TN_DIM_SELECT && m[e->c] == 2);
        if (late)
            m[i] = 2;
    }
}

static TnStatus need_dims_params(const Plan *p, RtProgram *r, const PlanStep *st, TnError *err) {
    TnDimsParams d;
    memcpy(&d, p->params + st->params, sizeof d);
    if (d.n > TN_DIMS_MAX)
        return TN_RAISE(err, TN_ERR_PLAN, "a step of operator dims has %u elements", d.n);
    for (uint32_t i = 0; i < d.n; i++) {
        if (d.dim[i] >= p->n_exprs)
            return TN_RAISE(err, TN_ERR_PLAN, "a step of operator dims names expression %u of %u", d.dim[i], p->n_exprs);
        r->need_expr[d.dim[i]] = 1;
    }
    return TN_OK;
}

static bool dims_params_late(const Plan *p, const RtProgram *r, const PlanStep *st) {
    TnDimsParams d;
    memcpy(&d, p->params + st->params, sizeof d);
    for (uint32_t i = 0; i < d.n; i++)
        if (r->need_expr[d.dim[i]] == 2)
            return true;
    return false;
}

/* late, check_run and the sizes of tables. */
static TnStatus prepare_step(const Plan *p, RtProgram *r, RtStep *rt, const PlanStep *st, TnError *err) {
    rt->data_mask = tni_plan_data_operands(rt->op);
    if (rt->memory == RT_DEVICE) { /* what the rule would read, but the host cannot */
        rt->hidden = rt->data_mask & ~tni_op_host_inputs(rt->op);
        rt->data_mask &= ~rt->hidden;
    }
    rt->late =
        st->n_symbols > 0 || (tni_op_info(rt->op)->flags & TN_OPF_DATA_SHAPE) || (rt->op == TN_OP_dims && dims_params_late(p, r, st));
    for (uint32_t i = 0; i < st->n_in + st->n_out; i++) {
        uint32_t id = p->operands[i < st->n_in ? st->first_in + i : st->first_out + (i - st->n_in)];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = r->values[id].place == PLAN_AT_ALIAS ? r->values[id].place_arg : id, place = r->values[root].place;
        rt->late |= r->late_value[id] || r->late_value[root] || place == PLAN_AT_DYNAMIC;
        if (i >= st->n_in || i >= 32 || !(rt->data_mask & 1u << i))
            continue;
        if (place == PLAN_AT_PACKED)
            return TN_RAISE(err, TN_ERR_PLAN, "node '%s': operand %u decides shapes or addresses, but has no plain form",
                            p->strings + st->name, i);
        rt->check_run |= place != PLAN_AT_WEIGHT;
    }
    r->max_in = TN_MAX(r->max_in, st->n_in);
    r->max_out = TN_MAX(r->max_out, st->n_out);
    r->n_operands += st->n_in + st->n_out;
    return TN_OK;
}

/* The kernels that a step has in buckets. */
static TnStatus find_bucket_kernels(const TnPlan *plan, uint32_t at, RtStep *rt, TnError *err) {
    const Plan *p = &plan->p;
    for (uint32_t b = 0; b < p->n_buckets && rt->kernel; b++) {
        const char *name = p->strings + p->kernels[(size_t)at * p->n_buckets + b];
        if (!name[0])
            continue;
        if (!rt->by_bucket)
            rt->by_bucket = tni_arena_calloc(plan->arena, p->n_buckets, sizeof *rt->by_bucket);
        OOM_IF_NULL(rt->by_bucket, p->n_buckets * sizeof *rt->by_bucket);
        rt->by_bucket[b] = rt->memory == RT_HOST ? tni_kernel_find(name) : tni_device_kernel_find(plan->device->lib, name);
    }
    return TN_OK;
}

static void find_kernel(const TnPlan *plan, const RtProgram *r, uint32_t s, RtStep *rt) {
    const Plan *p = &plan->p;
    const PlanStep *st = &r->steps[s];
    rt->control = (tni_op_info(rt->op)->flags & TN_OPF_CONTROL) != 0;
    if (tni_plan_is_transfer(p, r->g, s)) {
        rt->transfer = r->values[p->operands[st->first_out]].device ? RT_TO_DEVICE : RT_TO_HOST;
        rt->from_input = rt->transfer == RT_TO_HOST && r->values[p->operands[st->first_in]].place == PLAN_AT_INPUT;
        return;
    }
    rt->memory = st->device ? RT_DEVICE : RT_HOST;
    if (rt->control)
        return;
    if (rt->memory == RT_HOST)
        rt->kernel = tni_kernel_find(p->strings + st->kernel);
    else if (plan->device)
        rt->kernel = tni_device_kernel_find(plan->device->lib, p->strings + st->kernel);
}

static TnStatus prepare_program(TnPlan *plan, uint32_t index, uint8_t *defined, TnError *err) {
    const Plan *p = &plan->p;
    RtProgram *r = &plan->programs[index];
    r->g = &p->programs[index];
    r->values = p->values + r->g->first_value;
    r->steps = p->steps + r->g->first_step;
    r->rt = plan->steps + r->g->first_step;
    r->inputs = p->operands + r->g->first_input;
    r->outputs = p->operands + r->g->first_output;
    r->need_expr = tni_arena_calloc(plan->arena, p->n_exprs + 1, 1);
    r->late_value = tni_arena_calloc(plan->arena, r->g->n_values + 1, 1);
    OOM_IF_NULL(r->need_expr && r->late_value, p->n_exprs + r->g->n_values);
    for (uint32_t i = 0; i < r->g->n_values; i++)
        for (int32_t d = 0; d < r->values[i].rank; d++)
            r->need_expr[r->values[i].dims[d]] = 1;
    for (uint32_t s = 0; s < r->g->n_steps; s++) {
        RtStep *rt = &plan->steps[r->g->first_step + s];
        if (!tni_op_find(p->strings + r->steps[s].op, &rt->op))
            return TN_RAISE(err, TN_ERR_INTERNAL, "operator '%s' has gone", p->strings + r->steps[s].op);
        find_kernel(plan, r, s, rt);
        TN_TRY(find_bucket_kernels(plan, r->g->first_step + s, rt, err));
        if (rt->op == TN_OP_dims)
            TN_TRY(need_dims_params(p, r, &r->steps[s], err));
    }
    need_operands(r->need_expr, p->exprs, p->n_exprs);
    memset(defined, 0, p->n_symbols + 1);
    mark_late(p, r, defined);
    for (uint32_t i = 0; i < r->g->n_values; i++) {
        for (int32_t d = 0; d < r->values[i].rank; d++)
            if (r->need_expr[r->values[i].dims[d]] == 2)
                r->late_value[i] = 1;
        uint32_t place = r->values[i].place;
        r->n_slots[r->values[i].device ? RT_DEVICE : RT_HOST] += place == PLAN_AT_ARENA;
        r->dynamic |= place == PLAN_AT_DYNAMIC;
        if (r->late_value[i] && place != PLAN_AT_DYNAMIC && place != PLAN_AT_ALIAS)
            return TN_RAISE(err, TN_ERR_PLAN, "%s: value %u has dims known only while running, but a fixed place", p->strings + r->g->name,
                            i);
    }
    for (uint32_t s = 0; s < r->g->n_steps; s++)
        TN_TRY(prepare_step(p, r, &plan->steps[r->g->first_step + s], &r->steps[s], err));
    TN_TRY(tni_rt_find_kept(plan, r, err));
    return plan->device ? tni_rt_device_phases(plan, r, err) : TN_OK;
}

static TnStatus prepare(TnPlan *plan, TnError *err) {
    const Plan *p = &plan->p;
    plan->programs = tni_arena_calloc(plan->arena, p->n_programs, sizeof *plan->programs);
    plan->steps = tni_arena_calloc(plan->arena, p->n_steps + 1, sizeof *plan->steps);
    uint8_t *defined = tni_arena_calloc(plan->arena, p->n_symbols + 1, 1);
    OOM_IF_NULL(plan->programs && plan->steps && defined, p->n_steps * sizeof *plan->steps);
    for (uint32_t i = 0; i < p->n_programs; i++)
        TN_TRY(prepare_program(plan, i, defined, err));
    return tni_rt_generator_find(plan, err);
}

TnStatus tni_rt_open(TnSpan bytes, TnFileMap map, const TnPlanOptions *o, TnPlan **out, TnError *err) {
    const TnAllocator *a = o->allocator ? o->allocator : tni_default_allocator();
    TnPlan *plan = tni_calloc(a, 1, sizeof *plan);
    TnStatus st;
    if (!plan)
        return TN_OOM(err, sizeof *plan);
    plan->alloc = a;
    if (o->log)
        plan->log = *o->log;
    TN_TRY_GOTO(tni_arena_create(a, &plan->arena, err));
    TN_TRY_GOTO(tni_plan_read(bytes, o->verify_weights != 0, a, &plan->p, err));
    if (plan->p.header->device != TN_DEVICE_CPU && !o->inspect)
        TN_TRY_GOTO(tni_rt_device_open(plan, o->device_index, err));
    TN_TRY_GOTO(prepare(plan, err));
    if (plan->device)
        TN_TRY_GOTO(tni_rt_device_load(plan, err));
    plan->map = map;
    *out = plan;
    return TN_OK;
fail:
    tni_rt_close(&plan);
    return st;
}

void tni_rt_close(TnPlan **plan) {
    TnPlan *p = *plan;
    if (!p)
        return;
    if (p->device)
        tni_rt_device_close(p);
    tni_file_unmap(&p->map);
    tni_arena_destroy(&p->arena);
    tni_free(p->alloc, p);
    *plan = NULL;
}
