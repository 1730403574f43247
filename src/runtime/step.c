/* SPDX-License-Identifier: Apache-2.0
 *
 * One step on bound tensors: may its operands share memory, does its operator's contract hold, can its kernel do these shapes. After this a
 * kernel runs unchecked. */
#include <stdio.h>

#include "backend/registry.h"
#include "runtime/bind.h"
#include "runtime/device.h"

const char *tni_rt_step_name(const RtFrame *f, const TnContext *ctx, uint32_t step) {
    return ctx->plan->p.strings + f->prog->steps[step].name;
}

static bool overlap(const void *a, uint64_t na, const void *b, uint64_t nb) {
    uintptr_t pa = (uintptr_t)a, pb = (uintptr_t)b;
    return na > 0 && nb > 0 && pa < pb + nb && pb < pa + na;
}

/* Outputs share memory with inputs only as the operator allows, lie where writing is allowed, and apart from each other. */
static TnStatus check_memory(const TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const uint32_t *ops = ctx->plan->p.operands;
    uint32_t flags = tni_op_info(f->prog->rt[s].op)->flags;
    RtCall *c = &f->calls[s];
    c->skip = false;
    for (uint32_t j = 0; j < st->n_out; j++) {
        uint32_t id = ops[st->first_out + j];
        if (id == PLAN_NONE)
            continue;
        uint32_t root = tni_rt_root(f, id), place = f->prog->values[root].place;
        uint32_t first = st->n_in ? ops[st->first_in] : PLAN_NONE;
        if ((flags & TN_OPF_VIEW) && j == 0 && first != PLAN_NONE && tni_rt_root(f, first) == root && f->bytes[id] == f->bytes[first]) {
            c->skip = true;
            continue;
        }
        if (place != PLAN_AT_ARENA && place != PLAN_AT_DYNAMIC && place != PLAN_AT_STATE)
            return TN_RAISE(err, TN_ERR_PLAN, "output %u lies in memory that may not be written", j);
        for (uint32_t i = 0; i < st->n_in; i++) {
            uint32_t in = ops[st->first_in + i];
            if (in == PLAN_NONE || !overlap(f->t[id].data, f->bytes[id], f->t[in].data, f->bytes[in]))
                continue;
            if ((flags & TN_OPF_VIEW) && j == 0 && i == 0) /* one tensor by the plan, of two sizes by these inputs */
                return TN_RAISE(err, TN_ERR_SHAPE, "%zu bytes cannot take a shape of %zu: a size of the inputs is no multiple of what the model needs",
                                f->bytes[in], f->bytes[id]);
            if (!(flags & TN_OPF_INPLACE) || j != 0 || f->t[id].data != f->t[in].data || f->bytes[id] != f->bytes[in])
                return TN_RAISE(err, TN_ERR_PLAN, "output %u overlaps input %u", j, i);
        }
        for (uint32_t k = 0; k < j; k++) {
            uint32_t other = ops[st->first_out + k];
            if (other != PLAN_NONE && overlap(f->t[id].data, f->bytes[id], f->t[other].data, f->bytes[other]))
                return TN_RAISE(err, TN_ERR_PLAN, "outputs %u and %u overlap", k, j);
        }
    }
    if (f->prog->rt[s].op == TN_OP_cache_append) {
        uint32_t cache = tni_rt_root(f, ops[st->first_in + 1]);
        if (f->prog->values[cache].place != PLAN_AT_STATE)
            return TN_RAISE(err, TN_ERR_PLAN, "the cache is not a state");
        for (uint32_t i = 0; i < 3; i += 2)
            if (overlap(c->in[i].data, tn_tensor_bytes(&c->in[i]), c->in[1].data, tn_tensor_bytes(&c->in[1])))
                return TN_RAISE(err, TN_ERR_PLAN, "input %u overlaps the cache", i);
    }
    return TN_OK;
}

/* Where the host finds a constant. */
static void *on_host(const TnContext *ctx, const RtFrame *f, uint32_t id, void *data) {
    const PlanValue *v = id == PLAN_NONE ? NULL : &f->prog->values[id];
    return v && v->device ? (void *)(uintptr_t)(v->bytes ? (const void *)(ctx->plan->p.weights + v->offset) : ctx->plan->p.strings) : data;
}

/* What the kernel is asked: data of constants only, and that in the host's memory. */
static TnKernelQuery make_query(const TnContext *ctx, RtFrame *f, uint32_t s) {
    const PlanStep *st = &f->prog->steps[s];
    const RtCall *c = &f->calls[s];
    for (uint32_t i = 0; i < st->n_in; i++) {
        uint32_t id = ctx->plan->p.operands[st->first_in + i];
        f->query_in[i] = c->in[i];
        f->query_in[i].data = NULL;
        if (id == PLAN_NONE)
            continue;
        uint32_t place = f->prog->values[tni_rt_root(f, id)].place;
        if (place == PLAN_AT_WEIGHT)
            f->query_in[i].data = on_host(ctx, f, tni_rt_root(f, id), c->in[i].data);
        else if (place == PLAN_AT_PACKED && c->packed) /* a constant: there is no other form to show */
            f->query_in[i].data = on_host(ctx, f, ctx->plan->p.operands[st->first_packed + i], (void *)(uintptr_t)c->packed[i]);
    }
    return (TnKernelQuery){.op = f->prog->rt[s].op,
                           .params = ctx->plan->p.params + st->params,
                           .in = f->query_in,
                           .n_in = st->n_in,
                           .out = c->out,
                           .n_out = st->n_out,
                           .threads = tni_threads_count(ctx->threads),
                           .device = f->prog->rt[s].memory == RT_DEVICE ? &ctx->plan->device->info : NULL};
}

/* Packed bytes that the plan has of input i, 0 = none. */
static size_t packed_bytes(const TnContext *ctx, const RtFrame *f, uint32_t s, uint32_t i) {
    uint32_t id = f->calls[s].packed ? ctx->plan->p.operands[f->prog->steps[s].first_packed + i] : PLAN_NONE;
    return id == PLAN_NONE ? 0 : (size_t)f->prog->values[id].bytes;
}

/* The constants are stored as k wants them. */
static bool packing_fits(const TnContext *ctx, const RtFrame *f, uint32_t s, const TnKernel *k, const TnKernelQuery *q, uint32_t *bad) {
    for (*bad = 0; *bad < q->n_in; ++*bad) {
        bool constant = q->in[*bad].data != NULL;
        size_t want = k->packed_bytes && constant ? k->packed_bytes(q, *bad) : 0;
        if (want != packed_bytes(ctx, f, s, *bad))
            return false;
    }
    return true;
}

/* The kernel of the plan was chosen for other sizes and cannot do these: the cheapest of those that can, with constants as they are
 * stored. NULL: none. */
static const TnKernel *other_kernel(const TnContext *ctx, const RtFrame *f, uint32_t s, const TnKernelQuery *q) {
    const TnKernel *was = f->prog->rt[s].kernel, *best = NULL;
    double least = 0;
    uint32_t n, bad;
    const TnKernel *all = tni_kernels(&n);
    const PlanHeader *h = ctx->plan->p.header;
    if (q->device) {
        all = ctx->plan->device->lib->kernels;
        n = ctx->plan->device->lib->n_kernels;
    }
    for (uint32_t i = 0; i < n; i++) {
        const TnKernel *k = &all[i];
        bool packs = f->calls[s].packed != NULL;
        if (k->op != was->op || (k->cpu & ~h->cpu_flags) || (k->math & ~h->math) || k->source)
            continue;
        if (q->device && (q->device->arch < k->arch_min || (k->arch_max && q->device->arch > k->arch_max)))
            continue;
        if (k->supports && !k->supports(q))
            continue;
        if (packs && (!k->packing || !was->packing || strcmp(k->packing, was->packing) != 0))
            continue;
        double cost = k->cost ? k->cost(q) : 1e30;
        if (!packing_fits(ctx, f, s, k, q, &bad) || (best && cost >= least))
            continue;
        best = k;
        least = cost;
    }
    return best;
}

TnStatus tni_rt_check_kernel(const TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const RtStep *rt = &f->prog->rt[s];
    const TnKernel *k = rt->kernel;
    TnKernelQuery q = make_query(ctx, f, s);
    uint32_t bad;
    if (rt->by_bucket && rt->by_bucket[f->bucket]) { /* for shapes between buckets it may not do, or want other constants */
        const TnKernel *here = rt->by_bucket[f->bucket];
        if ((!here->supports || here->supports(&q)) && packing_fits(ctx, f, s, here, &q, &bad))
            k = here;
    }
    if (k->supports && !k->supports(&q)) {
        const TnKernel *other = other_kernel(ctx, f, s, &q);
        if (!other)
            return TN_RAISE(err, TN_ERR_SHAPE,
                            "kernel %s was chosen when the plan was built and cannot do these shapes, nor can another; rebuild "
                            "with other --shapes",
                            k->name);
        k = other;
    } else if (!packing_fits(ctx, f, s, k, &q, &bad)) {
        return TN_RAISE(err, TN_ERR_PLAN, "kernel %s wants other packed bytes of input %u than the %zu that the plan has", k->name, bad,
                        packed_bytes(ctx, f, s, bad));
    }
    f->calls[s].kernel = k;
    size_t scratch = k->scratch ? k->scratch(&q) : 0;
    if (scratch > PTRDIFF_MAX)
        return TN_RAISE(err, TN_ERR_MEMORY, "kernel %s needs %zu bytes of scratch", k->name, scratch);
    size_t *most = &f->scratch[f->prog->rt[s].memory];
    *most = TN_MAX(*most, scratch);
    return TN_OK;
}

double tni_rt_step_ns(const TnContext *ctx, RtFrame *f, uint32_t s) {
    const TnKernel *k = f->calls[s].kernel;
    if (!k || !k->cost)
        return 0;
    TnKernelQuery q = make_query(ctx, f, s);
    double ns = k->cost(&q);
    return ns > 0 && ns < 1e12 ? ns : 0;
}

TnStatus tni_rt_check_step(const TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    const PlanStep *st = &f->prog->steps[s];
    const RtCall *c = &f->calls[s];
    PlanCheck pc = {.op = f->prog->rt[s].op,
                    .params = ctx->plan->p.params + st->params,
                    .in = c->in,
                    .n_in = st->n_in,
                    .out = c->out,
                    .n_out = st->n_out,
                    .n_exprs = ctx->plan->p.n_exprs,
                    .hidden = f->prog->rt[s].hidden,
                    .device = f->prog->rt[s].memory == RT_DEVICE,
                    .err = err};
    return tni_plan_check(&pc);
}

TnStatus tni_rt_name_step(const TnContext *ctx, const RtFrame *f, uint32_t s, TnStatus st, TnError *err) {
    if (st != TN_OK && err) {
        tni_error_prefix(err, st, "node '%s'", tni_rt_step_name(f, ctx, s));
        snprintf(err->node, sizeof err->node, "%s", tni_rt_step_name(f, ctx, s));
    }
    return st;
}

TnStatus tni_rt_bind_step(TnContext *ctx, RtFrame *f, uint32_t s, TnError *err) {
    const RtStep *rt = &f->prog->rt[s];
    TnStatus st = check_memory(ctx, f, s, err);
    if (st == TN_OK && !rt->control && !rt->check_run)
        st = tni_rt_check_step(ctx, f, s, err);
    if (st == TN_OK && rt->kernel && !f->calls[s].skip)
        st = tni_rt_check_kernel(ctx, f, s, err);
    return tni_rt_name_step(ctx, f, s, st, err);
}
