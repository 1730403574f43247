/* SPDX-License-Identifier: Apache-2.0
 *
 * Reading plans, second half: every record. In: views whose sizes are right. After success every id, count, offset and name can be followed
 * without a check: operands are produced before they are used, lives cover uses, aliases are one level deep, programs call only later
 * ones, weights and slots lie inside, steps find their operands in their own memory (verify_device.c). Sizes of tensors are the business of
 * bind time (plan/check.h); kernels of a device are looked up when the plan is opened for running (tni_plan_verify_device). */
#include "backend/registry.h"
#include "base/cpu.h"
#include "base/dtype.h"
#include "plan/verify.h"

#define BAD(...) tni_raise(err, TN_ERR_PLAN, __VA_ARGS__)

typedef PlanProg Prog;

static bool string_ok(const Plan *p, uint32_t s) {
    return s < p->strings_bytes;
}

static bool operand_range(const Plan *p, uint32_t first, uint64_t n) {
    return n == 0 || (first < p->n_operands && n <= p->n_operands - first);
}

static TnStatus check_exprs(const Plan *p, TnError *err) {
    for (uint32_t i = 0; i < p->n_exprs; i++) {
        const TnDimExpr *e = &p->exprs[i];
        if (e->op >= TN_DIM_OP_COUNT)
            return BAD("exprs[%u]: operation %u does not exist", i, e->op);
        if (e->op == TN_DIM_CONST)
            continue;
        if (e->op == TN_DIM_SYMBOL) {
            if (e->value < 0 || e->value >= (int64_t)p->n_symbols)
                return BAD("exprs[%u]: symbol %lld of %u", i, (long long)e->value, p->n_symbols);
            continue;
        }
        if (e->a >= i || e->b >= i || (e->op == TN_DIM_SELECT && e->c >= i))
            return BAD("exprs[%u]: an operand is not an earlier expression", i);
    }
    return TN_OK;
}

static TnStatus check_symbols(const Plan *p, TnError *err) {
    for (uint32_t i = 0; i < p->n_symbols; i++) {
        const TnSymbol *s = &p->symbols[i];
        if (!memchr(s->name, 0, sizeof s->name))
            return BAD("symbols[%u]: the name is not terminated", i);
        if (s->data_dependent > 1)
            return BAD("symbols[%u]: data_dependent is %u", i, s->data_dependent);
        if (!s->data_dependent && (s->min < 0 || s->min > s->opt || s->opt > s->max))
            return BAD("symbols[%u] (%s): range %lld:%lld:%lld", i, s->name, (long long)s->min, (long long)s->opt, (long long)s->max);
        if (s->bound != TN_DIM_NONE && s->bound >= p->n_exprs)
            return BAD("symbols[%u] (%s): bound %u of %u expressions", i, s->name, s->bound, p->n_exprs);
    }
    return TN_OK;
}

static bool rank_dims_ok(const Plan *p, uint32_t dtype, int32_t rank, const TnDim *dims) {
    if (!tni_dtype_valid(dtype) || tn_dtype_bits((TnDtype)dtype) == 0 || rank < 0 || rank > TN_MAX_RANK)
        return false;
    for (int32_t i = 0; i < rank; i++)
        if (dims[i] >= p->n_exprs)
            return false;
    return true;
}

/* Bytes of constant dims; false when one is no constant. */
static bool const_bytes(const Plan *p, const PlanValue *v, size_t *bytes) {
    int64_t dims[TN_MAX_RANK];
    for (int32_t i = 0; i < v->rank; i++) {
        if (p->exprs[v->dims[i]].op != TN_DIM_CONST)
            return false;
        dims[i] = p->exprs[v->dims[i]].value;
    }
    return tni_shape_bytes((TnDtype)v->dtype, v->rank, dims, NULL, bytes);
}

static TnStatus check_states(const Plan *p, TnError *err) {
    for (uint32_t i = 0; i < p->n_states; i++) {
        const PlanState *s = &p->states[i];
        if (!string_ok(p, s->name) || !rank_dims_ok(p, s->dtype, s->rank, s->dims))
            return BAD("states[%u]: name, type, rank or dims are invalid", i);
    }
    return TN_OK;
}

static TnStatus check_meta(const Plan *p, TnError *err) {
    for (uint32_t i = 0; i < p->n_meta; i++) {
        const PlanMeta *m = &p->meta[i];
        if (!string_ok(p, m->key) || m->offset > p->blobs_bytes || m->bytes > p->blobs_bytes - m->offset)
            return BAD("meta[%u]: key or blob lie outside", i);
    }
    return TN_OK;
}

/* Program ranges are consecutive and cover all values and steps. */
static TnStatus check_programs(const Plan *p, TnError *err) {
    uint64_t values = 0, steps = 0;
    if (p->n_programs == 0)
        return BAD("the plan has no program");
    for (uint32_t i = 0; i < p->n_programs; i++) {
        const PlanProgram *g = &p->programs[i];
        if (!string_ok(p, g->name))
            return BAD("programs[%u]: the name lies outside the strings", i);
        if (g->first_value != values || g->first_step != steps)
            return BAD("programs[%u]: values start at %u and steps at %u; expected %llu and %llu", i, g->first_value, g->first_step,
                       (unsigned long long)values, (unsigned long long)steps);
        values += g->n_values;
        steps += g->n_steps;
        if (values > p->n_values || steps > p->n_steps)
            return BAD("programs[%u]: more values or steps than there are", i);
        if (!operand_range(p, g->first_input, g->n_inputs) || !operand_range(p, g->first_output, g->n_outputs))
            return BAD("programs[%u]: inputs or outputs lie outside the operands", i);
        if (g->arena_bytes > INT64_MAX || g->device_arena_bytes > INT64_MAX)
            return BAD("programs[%u]: arenas of %llu and %llu bytes", i, (unsigned long long)g->arena_bytes,
                       (unsigned long long)g->device_arena_bytes);
    }
    if (values != p->n_values || steps != p->n_steps)
        return BAD("values or steps that belong to no program");
    return TN_OK;
}

/* Where a value lies, by its place. */
static TnStatus check_place(const Prog *g, uint32_t id, TnError *err) {
    const PlanValue *v = &g->values[id];
    const Plan *p = g->p;
    size_t bytes;
    switch (v->place) {
    case PLAN_AT_ARENA: {
        uint64_t arena = v->device ? g->g->device_arena_bytes : g->g->arena_bytes;
        if (v->offset % PLAN_ALIGN || v->offset > arena || v->bytes > arena - v->offset)
            return BAD("%s: value %u: slot of %llu bytes at %llu leaves the arena of %llu", g->name, id, (unsigned long long)v->bytes,
                       (unsigned long long)v->offset, (unsigned long long)arena);
        return TN_OK;
    }
    case PLAN_AT_WEIGHT:
        if (v->offset % PLAN_ALIGN || v->offset > p->weights_bytes || v->bytes > p->weights_bytes - v->offset)
            return BAD("%s: value %u: %llu bytes at %llu leave the weights of %llu", g->name, id, (unsigned long long)v->bytes,
                       (unsigned long long)v->offset, (unsigned long long)p->weights_bytes);
        if (!const_bytes(p, v, &bytes) || bytes != v->bytes)
            return BAD("%s: value %u: a constant whose dims do not give its %llu bytes", g->name, id, (unsigned long long)v->bytes);
        return TN_OK;
    case PLAN_AT_PACKED:
        return const_bytes(p, v, &bytes) ? TN_OK : BAD("%s: value %u: a packed constant with symbolic dims", g->name, id);
    case PLAN_AT_INPUT:
        if (v->place_arg >= g->g->n_inputs || p->operands[g->g->first_input + v->place_arg] != id)
            return BAD("%s: value %u: input %u is another value", g->name, id, v->place_arg);
        return TN_OK;
    case PLAN_AT_STATE: {
        const PlanState *s = v->place_arg < p->n_states ? &p->states[v->place_arg] : NULL;
        if (!s || s->dtype != v->dtype || s->rank != v->rank || memcmp(s->dims, v->dims, sizeof(TnDim) * (size_t)v->rank) != 0)
            return BAD("%s: value %u: state %u does not exist or has another type or shape", g->name, id, v->place_arg);
        return TN_OK;
    }
    case PLAN_AT_ALIAS:
        if (v->place_arg >= g->g->n_values || g->values[v->place_arg].place == PLAN_AT_ALIAS)
            return BAD("%s: value %u: shares the bytes of %u, which does not exist or shares bytes itself", g->name, id, v->place_arg);
        return TN_OK;
    case PLAN_AT_DYNAMIC:
        return TN_OK;
    default:
        return BAD("%s: value %u: place %u does not exist", g->name, id, v->place);
    }
}

static TnStatus check_values(const Prog *g, TnError *err) {
    for (uint32_t i = 0; i < g->g->n_values; i++) {
        const PlanValue *v = &g->values[i];
        if (!string_ok(g->p, v->name) || !rank_dims_ok(g->p, v->dtype, v->rank, v->dims))
            return BAD("%s: value %u: name, type, rank or dims are invalid", g->name, i);
        if (v->first_step > v->last_step || v->last_step > g->g->n_steps)
            return BAD("%s: value %u: lives from step %u to %u of %u", g->name, i, v->first_step, v->last_step, g->g->n_steps);
        if (v->device != TN_DEVICE_CPU && v->device != g->p->header->device)
            return BAD("%s: value %u: lies in device kind %u; the plan is for %u", g->name, i, v->device, g->p->header->device);
        TN_TRY(check_place(g, i, err));
    }
    for (uint32_t i = 0; i < g->g->n_values; i++) {
        const PlanValue *v = &g->values[i], *r = v->place == PLAN_AT_ALIAS ? &g->values[v->place_arg] : v;
        if (v->first_step < r->first_step || v->last_step > r->last_step)
            return BAD("%s: value %u: lives longer than value %u, whose bytes it shares", g->name, i, v->place_arg);
        if (v->device != r->device)
            return BAD("%s: value %u: shares the bytes of value %u in another memory", g->name, i, v->place_arg);
    }
    for (uint32_t i = 0; i < g->g->n_inputs; i++) {
        uint32_t id = g->p->operands[g->g->first_input + i];
        if (id >= g->g->n_values || g->values[id].first_step != 0 || g->values[id].place != PLAN_AT_INPUT || g->values[id].place_arg != i)
            return BAD("%s: input %u is not an input value", g->name, i);
    }
    for (uint32_t i = 0; i < g->g->n_outputs; i++) {
        uint32_t id = g->p->operands[g->g->first_output + i];
        if (id >= g->g->n_values || g->values[id].last_step != g->g->n_steps || !g->values[id].is_output ||
            g->values[id].place == PLAN_AT_PACKED)
            return BAD("%s: output %u does not exist or dies before the end", g->name, i);
    }
    return TN_OK;
}

/* The value exists, has been made before step s and lives at s. */
static TnStatus check_use(const Prog *g, uint32_t s, uint32_t id, TnError *err) {
    if (id >= g->g->n_values)
        return BAD("%s: step %u: operand %u does not exist", g->name, s, id);
    const PlanValue *v = &g->values[id];
    bool made = v->place == PLAN_AT_ARENA || v->place == PLAN_AT_DYNAMIC || v->place == PLAN_AT_ALIAS;
    if (v->last_step < s || v->first_step > s || (made && v->first_step == s))
        return BAD("%s: step %u: value %u lives from step %u to %u", g->name, s, id, v->first_step, v->last_step);
    return TN_OK;
}

static TnStatus check_packed(const Prog *g, uint32_t s, const uint32_t *in, TnError *err) {
    const PlanStep *st = &g->steps[s];
    const Plan *p = g->p;
    bool any = st->first_packed != PLAN_NONE;
    if (any && !operand_range(p, st->first_packed, st->n_in))
        return BAD("%s: step %u: packed constants lie outside the operands", g->name, s);
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = any ? p->operands[st->first_packed + i] : PLAN_NONE;
        if (id != PLAN_NONE) {
            const PlanValue *v = id < g->g->n_values ? &g->values[id] : NULL;
            if (!v || v->place != PLAN_AT_WEIGHT || v->dtype != TN_U8 || in[i] == PLAN_NONE)
                return BAD("%s: step %u: packed form of operand %u is not a constant", g->name, s, i);
            uint32_t of = g->values[in[i]].place;
            if (of != PLAN_AT_WEIGHT && of != PLAN_AT_PACKED)
                return BAD("%s: step %u: operand %u is packed but not constant", g->name, s, i);
        } else if (in[i] != PLAN_NONE && g->values[in[i]].place == PLAN_AT_PACKED) {
            return BAD("%s: step %u: operand %u has no bytes and no packed form", g->name, s, i);
        }
    }
    return TN_OK;
}

static TnStatus check_outputs(const Prog *g, uint32_t s, const TnOpInfo *info, uint8_t *made, TnError *err) {
    const PlanStep *st = &g->steps[s];
    for (uint32_t i = 0; i < st->n_out; i++) {
        uint32_t id = g->p->operands[st->first_out + i];
        if (id == PLAN_NONE) {
            if (info->max_out == 1)
                return BAD("%s: step %u: %s without its output", g->name, s, info->name);
            continue;
        }
        const PlanValue *v = id < g->g->n_values ? &g->values[id] : NULL;
        if (!v || v->first_step != s || made[id])
            return BAD("%s: step %u: output %u does not exist, is made twice or does not start here", g->name, s, i);
        if (v->place != PLAN_AT_ARENA && v->place != PLAN_AT_DYNAMIC && v->place != PLAN_AT_STATE && v->place != PLAN_AT_ALIAS)
            return BAD("%s: step %u: output %u lies in memory that may not be written", g->name, s, i);
        made[id] = 1;
    }
    for (uint32_t i = 0; i < st->n_symbols; i++) {
        uint32_t sym = g->p->operands[st->first_symbol + 2 * i], at = g->p->operands[st->first_symbol + 2 * i + 1];
        uint32_t out = at >> 8, axis = at & 255;
        if (sym >= g->p->n_symbols || !g->p->symbols[sym].data_dependent || out >= st->n_out)
            return BAD("%s: step %u: symbol %u or its output do not exist", g->name, s, sym);
        uint32_t id = g->p->operands[st->first_out + out];
        if (id == PLAN_NONE || (int32_t)axis >= g->values[id].rank)
            return BAD("%s: step %u: symbol %u comes from an axis that does not exist", g->name, s, sym);
    }
    return TN_OK;
}

/* if_ and loop: later programs with the operands they need. */
static TnStatus check_control(const Prog *g, uint32_t s, TnOp op, TnError *err) {
    const PlanStep *st = &g->steps[s];
    const Plan *p = g->p;
    TnControlParams c;
    memcpy(&c, p->params + st->params, sizeof c);
    uint32_t n_sub = op == TN_OP_if_ ? 2 : 1;
    for (uint32_t k = 0; k < n_sub; k++) {
        if (c.graph[k] >= p->n_programs || c.graph[k] <= g->index)
            return BAD("%s: step %u: program %u does not exist or comes earlier", g->name, s, c.graph[k]);
        const PlanProgram *sub = &p->programs[c.graph[k]];
        if (op == TN_OP_if_) {
            if (sub->n_inputs != st->n_in - 1 || sub->n_outputs != st->n_out)
                return BAD("%s: step %u: program %u has %u inputs and %u outputs; expected %u and %u", g->name, s, c.graph[k],
                           sub->n_inputs, sub->n_outputs, st->n_in - 1, st->n_out);
        } else if (c.n_carried > 512 || c.n_scan > 512 || c.n_carried + c.n_scan != st->n_out || st->n_in < 2 + c.n_carried ||
                   sub->n_inputs != st->n_in || sub->n_outputs != 1 + c.n_carried + c.n_scan) {
            return BAD("%s: step %u: the body %u and its loop do not fit", g->name, s, c.graph[k]);
        }
    }
    return TN_OK;
}

/* The kernel of a step on the CPU. */
static TnStatus check_kernel(const Prog *g, uint32_t s, TnOp op, uint32_t kernel, TnError *err) {
    const char *name = g->p->strings + kernel;
    const TnKernel *k = tni_kernel_find(name);
    if (!k)
        return tni_raise(err, TN_ERR_INCOMPATIBLE, "%s: step %u (%s): this library has no kernel '%s'; build the plan again", g->name, s,
                         g->p->strings + g->steps[s].name, name);
    if (k->op != op)
        return BAD("%s: step %u: kernel %s does not compute %s", g->name, s, k->name, tni_op_info(op)->name);
    if (k->cpu & ~tni_cpu_flags())
        return tni_raise(err, TN_ERR_INCOMPATIBLE, "%s: step %u: kernel %s needs %s; this machine has %s; build the plan again here",
                         g->name, s, k->name, tni_cpu_level_name(k->cpu), tni_cpu_level_name(tni_cpu_flags()));
    return TN_OK;
}

static TnStatus check_code(const Prog *g, uint32_t s, TnOp *op, TnError *err) {
    const PlanStep *st = &g->steps[s];
    const Plan *p = g->p;
    if (!string_ok(p, st->name) || !string_ok(p, st->op) || !string_ok(p, st->kernel))
        return BAD("%s: step %u: a name lies outside the strings", g->name, s);
    const char *name = p->strings + st->op;
    if (!tni_op_find(name, op))
        return tni_raise(err, TN_ERR_INCOMPATIBLE, "%s: step %u (%s): this library has no operator '%s'", g->name, s, p->strings + st->name,
                         name);
    const TnOpInfo *info = tni_op_info(*op);
    if (st->params_bytes != info->params_size || st->params % 8 || st->params > p->params_bytes ||
        st->params_bytes > p->params_bytes - st->params)
        return BAD("%s: step %u: %u bytes of parameters at %u; %s needs %zu", g->name, s, st->params_bytes, st->params, name,
                   info->params_size);
    if (st->n_in < info->min_in || st->n_in > info->max_in || st->n_out < info->min_out || st->n_out > info->max_out)
        return BAD("%s: step %u: %s with %u inputs and %u outputs", g->name, s, name, st->n_in, st->n_out);
    if (!operand_range(p, st->first_in, st->n_in) || !operand_range(p, st->first_out, st->n_out) || st->n_symbols > p->n_operands ||
        !operand_range(p, st->first_symbol, 2 * (uint64_t)st->n_symbols))
        return BAD("%s: step %u: operands lie outside the table", g->name, s);
    TN_TRY(tni_plan_check_step_device(g, s, *op, err));
    if ((info->flags & TN_OPF_CONTROL) || st->device != TN_DEVICE_CPU || tni_plan_is_transfer(p, g->g, s))
        return TN_OK;
    return check_kernel(g, s, *op, st->kernel, err);
}

/* Sizes of buckets, and the kernels that steps have there instead of their own. */
static TnStatus check_buckets(const Prog *g, uint32_t s, TnOp op, TnError *err) {
    const Plan *p = g->p;
    const PlanStep *st = &g->steps[s];
    if (p->n_buckets == 0)
        return TN_OK;
    const uint32_t *kernel = p->kernels + (size_t)(g->g->first_step + s) * p->n_buckets;
    for (uint32_t b = 0; b < p->n_buckets; b++) {
        if (kernel[b] == 0)
            continue;
        if (!string_ok(p, kernel[b]))
            return BAD("%s: step %u: a name lies outside the strings", g->name, s);
        if ((tni_op_info(op)->flags & TN_OPF_CONTROL) || tni_plan_is_transfer(p, g->g, s))
            return BAD("%s: step %u: the runtime does it, but bucket %u has a kernel for it", g->name, s, b);
        if (st->device != TN_DEVICE_CPU)
            TN_TRY(tni_plan_check_kernel_name(g, s, kernel[b], err));
        else
            TN_TRY(check_kernel(g, s, op, kernel[b], err));
    }
    return TN_OK;
}

static TnStatus check_bucket_sizes(const Plan *p, TnError *err) {
    if (p->n_bucket_sizes > (uint64_t)PLAN_MAX_BUCKETS * p->n_symbols || p->n_bucket_sizes != p->n_buckets * p->n_symbols ||
        p->n_kernels != (uint64_t)p->n_buckets * p->n_steps)
        return BAD("%u sizes of buckets and %u kernels for %u symbols and %u steps", p->n_bucket_sizes, p->n_kernels, p->n_symbols, p->n_steps);
    for (uint32_t i = 0; i < p->n_bucket_sizes; i++)
        if (p->buckets[i] < 0)
            return BAD("buckets[%u]: a size of %lld", i, (long long)p->buckets[i]);
    return TN_OK;
}

/* Values that a step must make exist and are made once: made[] is taken from the order of steps alone, with a bit a value. */
static TnStatus check_steps(const Prog *g, uint8_t *made, TnError *err) {
    const Plan *p = g->p;
    for (uint32_t s = 0; s < g->g->n_steps; s++) {
        const PlanStep *st = &g->steps[s];
        TnOp op;
        TN_TRY(check_code(g, s, &op, err));
        TN_TRY(check_buckets(g, s, op, err));
        const TnOpInfo *info = tni_op_info(op);
        const uint32_t *in = p->operands + st->first_in;
        for (uint32_t i = 0; i < st->n_in; i++) {
            if (in[i] == PLAN_NONE) {
                if (i < info->min_in && !(op == TN_OP_loop && i < 2))
                    return BAD("%s: step %u: %s without its operand %u", g->name, s, info->name, i);
                continue;
            }
            TN_TRY(check_use(g, s, in[i], err));
        }
        TN_TRY(check_packed(g, s, in, err));
        if (info->flags & TN_OPF_CONTROL)
            TN_TRY(check_control(g, s, op, err));
        TN_TRY(check_outputs(g, s, info, made, err));
        TN_TRY(tni_plan_check_step_memory(g, s, op, err));
    }
    for (uint32_t i = 0; i < g->g->n_values; i++) {
        uint32_t place = g->values[i].place;
        if (!made[i] && (place == PLAN_AT_ARENA || place == PLAN_AT_DYNAMIC || place == PLAN_AT_ALIAS))
            return BAD("%s: value %u is made by no step", g->name, i);
    }
    return TN_OK;
}

TnStatus tni_plan_verify(const Plan *p, const TnAllocator *a, TnError *err) {
    if (p->strings_bytes == 0 || p->strings[0] != 0 || p->strings[p->strings_bytes - 1] != 0)
        return BAD("strings: missing, or not terminated");
    TN_TRY(check_exprs(p, err));
    TN_TRY(check_symbols(p, err));
    TN_TRY(check_states(p, err));
    TN_TRY(check_meta(p, err));
    TN_TRY(check_programs(p, err));
    TN_TRY(check_bucket_sizes(p, err));
    TN_TRY(tni_plan_check_header_device(p, err));
    uint8_t *made = tni_calloc(a, p->n_values ? p->n_values : 1, 1);
    if (!made)
        return TN_OOM(err, p->n_values);
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < p->n_programs && st == TN_OK; i++) {
        const PlanProgram *g = &p->programs[i];
        Prog prog = {p, g, p->values + g->first_value, p->steps + g->first_step, p->strings + g->name, i};
        st = check_values(&prog, err);
        if (st == TN_OK)
            st = check_steps(&prog, made + g->first_value, err);
    }
    if (st == TN_OK)
        st = tni_plan_check_shared_memory(p, a, err);
    tni_free(a, made);
    return st;
}
