/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing kernels: candidates from the registry, cheapest estimate first; each is run on the case and compared with the reference before
 * it may be timed or chosen. Cases with the same operator, parameters and shapes are decided once. */
#include "backend/registry.h"
#include "planner/internal.h"

#include <stdio.h>
#include <stdlib.h>

/* The reference computes about a billion products a second; beyond this many a part of the case is compared. */
#define MAX_MACS 1.5e8

TnStatus tni_planner_choices_init(Pn *pn, TnError *err) {
    pn->cap_choices = 256;
    PN_ALLOC(pn, pn->choices, pn->cap_choices, err);
    return TN_OK;
}

static TnStatus remember(Pn *pn, PnChoice *c, TnError *err) {
    if (pn->n_choices * 2 >= pn->cap_choices) {
        uint32_t cap = pn->cap_choices * 2;
        PnChoice **t;
        PN_ALLOC(pn, t, cap, err);
        for (uint32_t i = 0; i < pn->cap_choices; i++) {
            if (!pn->choices[i])
                continue;
            uint32_t h = (uint32_t)pn->choices[i]->key & (cap - 1);
            while (t[h])
                h = (h + 1) & (cap - 1);
            t[h] = pn->choices[i];
        }
        pn->choices = t;
        pn->cap_choices = cap;
    }
    uint32_t h = (uint32_t)c->key & (pn->cap_choices - 1);
    while (pn->choices[h])
        h = (h + 1) & (pn->cap_choices - 1);
    pn->choices[h] = c;
    pn->n_choices++;
    return TN_OK;
}

static const PnChoice *find(const Pn *pn, uint64_t key) {
    for (uint32_t h = (uint32_t)key & (pn->cap_choices - 1); pn->choices[h]; h = (h + 1) & (pn->cap_choices - 1))
        if (pn->choices[h]->key == key)
            return pn->choices[h];
    return NULL;
}

/* Operator, parameters, types, shapes, what is constant, the contents of small constants, and the device. */
static uint64_t signature(const Pn *pn, const PnCase *c) {
    const TnOpInfo *info = tni_op_info(c->op);
    uint64_t h = tni_hash(info->name, strlen(info->name), c->on == TN_DEVICE_CPU ? 0 : pn->device_seed);
    h = tni_hash(c->params, info->params_size, h);
    for (uint32_t i = 0; i < c->n_in + c->n_out; i++) {
        const TnTensor *t = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        int64_t head[3] = {t->dtype, t->rank, i < c->n_in && c->constant[i]};
        h = tni_hash(head, sizeof head, h);
        h = tni_hash(t->dims, (size_t)TN_MAX(t->rank, 0) * sizeof *t->dims, h);
        if (i < c->n_in && c->constant[i] && tn_tensor_bytes(t) <= 64 && t->data)
            h = tni_hash(t->data, tn_tensor_bytes(t), h);
    }
    return h;
}

void tni_planner_query(const Pn *pn, const PnCase *c, TnTensor *in, TnKernelQuery *q) {
    for (uint32_t i = 0; i < c->n_in; i++) {
        in[i] = c->in[i];
        if (!c->constant[i])
            in[i].data = NULL;
    }
    *q = (TnKernelQuery){c->op, c->params, in, c->n_in, c->out, c->n_out, pn->n_threads, NULL};
    tni_planner_query_on(pn, c->on, q);
}

void tni_planner_query_on(const Pn *pn, uint32_t on, TnKernelQuery *q) {
    if (on == TN_DEVICE_CPU)
        return;
    q->threads = 1;
    q->device = pn->o->device_info;
}

/* ---- one call ---- */

typedef struct Host {
    const TnAllocator *alloc;
} Host;

static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    Host *h = call->host;
    TnTensor *t = &call->out[i];
    size_t bytes;
    t->rank = rank;
    if (rank > 0)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    if (t->dtype == TN_UNDEFINED)
        return TN_OK;
    tni_free(h->alloc, t->data);
    t->data = NULL;
    if (!tni_shape_bytes(t->dtype, rank, t->dims, NULL, &bytes))
        return TN_RAISE(call->err, TN_ERR_SHAPE, "a result is too large");
    t->data = tni_alloc_aligned(h->alloc, bytes, 64);
    return t->data ? TN_OK : TN_OOM(call->err, bytes);
}

/* Copies of constants that are not aligned, and packed forms, for the time of a call. */
typedef struct Borrowed {
    TnTensor *in, *query_in;
    void **copies; /* [2 * n_in]: aligned, packed */
    const void **packed;
    void *scratch;
    size_t scratch_bytes;
} Borrowed;

static TnStatus borrow(Pn *pn, const TnKernel *k, const PnCase *c, Borrowed *b, TnError *err) {
    TnKernelQuery q;
    b->in = tni_calloc(pn->alloc, 2 * (size_t)c->n_in + 1, sizeof *b->in);
    b->copies = tni_calloc(pn->alloc, 2 * (size_t)c->n_in + 1, sizeof *b->copies);
    b->packed = tni_calloc(pn->alloc, (size_t)c->n_in + 1, sizeof *b->packed);
    if (!b->in || !b->copies || !b->packed)
        return TN_OOM(err, c->n_in * sizeof *b->in);
    b->query_in = b->in + c->n_in;
    for (uint32_t i = 0; i < c->n_in; i++) {
        b->in[i] = c->in[i];
        if (!c->in[i].data || tni_planner_aligned(c->in[i].data, c->in[i].dtype))
            continue;
        size_t bytes = tn_tensor_bytes(&c->in[i]);
        b->copies[i] = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!b->copies[i])
            return TN_OOM(err, bytes);
        memcpy(b->copies[i], c->in[i].data, bytes);
        b->in[i].data = b->copies[i];
    }
    PnCase aligned = *c;
    aligned.in = b->in;
    tni_planner_query(pn, &aligned, b->query_in, &q);
    for (uint32_t i = 0; i < c->n_in; i++) {
        size_t bytes = k->packed_bytes && c->constant[i] ? k->packed_bytes(&q, i) : 0;
        if (!bytes)
            continue;
        b->copies[c->n_in + i] = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!b->copies[c->n_in + i])
            return TN_OOM(err, bytes);
        memset(b->copies[c->n_in + i], 0, bytes);
        k->pack(&q, i, b->copies[c->n_in + i]);
        b->packed[i] = b->copies[c->n_in + i];
    }
    b->scratch_bytes = k->scratch ? k->scratch(&q) : 0;
    b->scratch = tni_alloc_aligned(pn->alloc, b->scratch_bytes, 64); /* never NULL, so that kernels may add to it */
    return b->scratch ? TN_OK : TN_OOM(err, b->scratch_bytes);
}

static void give_back(Pn *pn, const PnCase *c, Borrowed *b) {
    for (uint32_t i = 0; b->copies && i < 2 * c->n_in; i++)
        tni_free(pn->alloc, b->copies[i]);
    tni_free(pn->alloc, b->scratch);
    tni_free(pn->alloc, b->in);
    tni_free(pn->alloc, b->copies);
    tni_free(pn->alloc, b->packed);
}

TnStatus tni_planner_call(Pn *pn, const TnKernel *k, const PnCase *c, TnTensor *out, uint32_t repeat, double *ns, TnError *err) {
    if (k->device != TN_DEVICE_CPU)
        return tni_planner_device_call(pn, k, c, out, err);
    Borrowed b = {0};
    Host host = {pn->alloc};
    TnStatus st = borrow(pn, k, c, &b, err);
    uint64_t began = tni_now_ns();
    for (uint32_t r = 0; st == TN_OK && r < repeat && (r < 3 || tni_now_ns() - began < 20000000u); r++) {
        TnKernelCall call = {.params = c->params,
                             .in = b.in,
                             .n_in = c->n_in,
                             .out = out,
                             .n_out = c->n_out,
                             .packed = k->packed_bytes ? b.packed : NULL,
                             .scratch = b.scratch,
                             .scratch_bytes = b.scratch_bytes,
                             .threads = pn->threads,
                             .dim_values = c->dims,
                             .resize = resize,
                             .host = &host,
                             .err = err};
        uint64_t t = tni_now_ns();
        st = k->run(&call);
        t = tni_now_ns() - t;
        if (ns && (r == 0 || (double)t < *ns))
            *ns = (double)t;
    }
    give_back(pn, c, &b);
    return st;
}

/* ---- comparing ---- */

/* Reference results of up to two parts of a case. */
typedef struct Oracle {
    uint32_t n_parts;
    TnTensor *in[2], *out[2]; /* views of the case */
    size_t *in_at[2], *out_at[2];
    TnTensor *ref[2];         /* own memory */
    double ns;                /* of the reference when it computed everything, else 0 */
} Oracle;

static void oracle_free(Pn *pn, const PnCase *c, Oracle *o) {
    for (uint32_t p = 0; p < 2; p++)
        for (uint32_t i = 0; o->ref[p] && i < c->n_out; i++)
            tni_free(pn->alloc, o->ref[p][i].data);
}

/* The part of operands that are on the device only. */
static TnStatus oracle_operands(Pn *pn, const PnCase *c, Oracle *o, uint32_t p, void **loaded, TnError *err) {
    for (uint32_t i = 0; i < c->n_in && c->on_in; i++) {
        TnTensor *t = &o->in[p][i];
        if (t->data || t->dtype == TN_UNDEFINED)
            continue;
        const size_t bytes = tn_tensor_bytes(t);
        t->data = loaded[i] = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!t->data)
            return TN_OOM(err, bytes);
        if (c->on_in[i])
            TN_TRY(tni_planner_device_read(pn, t->data, c->on_in[i], o->in_at[p][i], bytes, err));
        else
            memset(t->data, 0, bytes);
    }
    return TN_OK;
}

static TnStatus oracle_part(Pn *pn, const PnCase *c, Oracle *o, uint32_t p, bool whole, TnError *err) {
    PN_ALLOC(pn, o->ref[p], c->n_out, err);
    for (uint32_t i = 0; i < c->n_out; i++) {
        o->ref[p][i] = o->out[p][i];
        o->ref[p][i].data = NULL;
        if (o->out[p][i].dtype == TN_UNDEFINED)
            continue;
        size_t bytes = tn_tensor_bytes(&o->out[p][i]);
        o->ref[p][i].data = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!o->ref[p][i].data)
            return TN_OOM(err, bytes);
    }
    PnCase part = *c;
    void **loaded;
    PN_ALLOC(pn, loaded, c->n_in, err);
    part.in = o->in[p];
    part.out = o->out[p];
    part.on = TN_DEVICE_CPU;
    TnStatus st = oracle_operands(pn, c, o, p, loaded, err);
    const uint64_t began = tni_now_ns();
    if (st == TN_OK)
        st = tni_planner_call(pn, tni_kernel_ref(c->op), &part, o->ref[p], 1, whole ? &o->ns : NULL, err);
    pn->ns[PN_REFERENCE] += tni_now_ns() - began;
    for (uint32_t i = 0; i < c->n_in; i++) {
        if (loaded[i])
            o->in[p][i].data = NULL;
        tni_free(pn->alloc, loaded[i]);
    }
    return st;
}

static TnStatus oracle_make(Pn *pn, const PnCase *c, Oracle *o, TnError *err) {
    for (uint32_t p = 0; p < 2; p++) {
        PN_ALLOC(pn, o->in[p], c->n_in, err);
        PN_ALLOC(pn, o->out[p], c->n_out, err);
        PN_ALLOC(pn, o->in_at[p], c->n_in, err);
        PN_ALLOC(pn, o->out_at[p], c->n_out, err);
        bool part = tni_planner_crop(c, p, o->in[p], o->out[p], o->in_at[p], o->out_at[p], MAX_MACS);
        if (!part && p == 1)
            return TN_OK;
        TN_TRY(oracle_part(pn, c, o, p, !part, err));
        o->n_parts = p + 1;
        if (!part)
            return TN_OK;
    }
    return TN_OK;
}

/* Result i of part p as the candidate left it; *copy: memory to free. */
static TnStatus part_of_result(Pn *pn, const PnCase *c, const Oracle *o, uint32_t p, uint32_t i, TnTensor *y, void **copy, TnError *err) {
    *y = o->out[p][i];
    *copy = NULL;
    if (c->on == TN_DEVICE_CPU)
        return TN_OK;
    const size_t bytes = tn_tensor_bytes(y);
    y->data = *copy = tni_alloc_aligned(pn->alloc, bytes, 64);
    return y->data ? tni_planner_device_read(pn, y->data, c->on_out[i], o->out_at[p][i], bytes, err) : TN_OOM(err, bytes);
}

static TnStatus close_enough(Pn *pn, const PnCase *c, const Oracle *o, const TnKernel *k, double *error, bool *ok, TnError *err) {
    *ok = true;
    *error = 0;
    for (uint32_t p = 0; p < o->n_parts; p++) {
        for (uint32_t i = 0; i < c->n_out; i++) {
            double e = 0;
            TnTensor y;
            void *copy;
            if (c->out[i].dtype == TN_UNDEFINED)
                continue;
            TnStatus st = part_of_result(pn, c, o, p, i, &y, &copy, err);
            const uint64_t began = tni_now_ns();
            if (st == TN_OK)
                *ok &= tni_planner_close(&o->ref[p][i], &y, k->atol, k->rtol, &e);
            pn->ns[PN_COMPARE] += tni_now_ns() - began;
            tni_free(pn->alloc, copy);
            TN_TRY(st);
            *error = TN_MAX(*error, e);
        }
    }
    return TN_OK;
}

/* cache_append writes a state: the candidate and the reference each write a copy of it. */
static TnStatus try_append(Pn *pn, const PnCase *c, PnTried *t, TnError *err) {
    TnTensor in[3] = {c->in[0], c->in[1], c->in[2]}, ref = c->in[1];
    size_t bytes = tn_tensor_bytes(&c->in[1]);
    PnCase own = *c;
    own.in = in;
    own.on_in = own.on_out = NULL;
    TnStatus st = TN_OK;
    in[1].data = tni_alloc_aligned(pn->alloc, bytes, 64);
    ref.data = tni_alloc_aligned(pn->alloc, bytes, 64);
    if (!in[1].data || !ref.data) {
        st = TN_OOM(err, bytes);
        goto fail;
    }
    void *mine = in[1].data;
    memcpy(mine, c->in[1].data, bytes);
    memcpy(ref.data, c->in[1].data, bytes);
    TN_TRY_GOTO(tni_planner_call(pn, t->kernel, &own, NULL, 1, &t->time, err));
    in[1].data = ref.data;
    own.on = TN_DEVICE_CPU;
    st = tni_planner_call(pn, tni_kernel_ref(c->op), &own, NULL, 1, NULL, err);
    in[1].data = mine;
    if (st == TN_OK)
        t->note = tni_planner_close(&ref, &in[1], t->kernel->atol, t->kernel->rtol, &t->error) ? "ok" : "too inexact";
fail:
    tni_free(pn->alloc, in[1].data);
    tni_free(pn->alloc, ref.data);
    return st;
}

/* ---- candidates ---- */

static int cheaper(const void *pa, const void *pb) {
    const PnTried *a = pa, *b = pb;
    double x = a->cost < 0 ? 1e30 : a->cost, y = b->cost < 0 ? 1e30 : b->cost;
    if (x != y)
        return x < y ? -1 : 1;
    return strcmp(a->kernel->name, b->kernel->name);
}

static bool is_candidate(const Pn *pn, const PnCase *c, const TnKernelQuery *q, const TnKernel *k) {
    if (c->on != TN_DEVICE_CPU)
        return tni_precision_kernel_fits(k, q, pn->o->lib, pn->o->math);
    return k->op == c->op && k->device == TN_DEVICE_CPU && !(k->cpu & ~pn->cpu) && (!k->supports || k->supports(q));
}

TnStatus tni_planner_candidates(Pn *pn, const PnCase *c, PnChoice *choice, TnError *err) {
    uint32_t n_all, n = 0;
    const TnKernel *all = tni_kernels(&n_all);
    if (c->on != TN_DEVICE_CPU) {
        all = pn->o->lib->kernels;
        n_all = pn->o->lib->n_kernels;
    }
    TnTensor *in;
    TnKernelQuery q;
    PN_ALLOC(pn, in, c->n_in, err);
    tni_planner_query(pn, c, in, &q);
    for (uint32_t i = 0; i < n_all; i++)
        n += all[i].op == c->op;
    PN_ALLOC(pn, choice->tried, n + pn->o->n_extra, err);
    for (uint32_t i = 0; i < n_all + pn->o->n_extra; i++) {
        const TnKernel *k = i < n_all ? &all[i] : &pn->o->extra[i - n_all];
        if (!is_candidate(pn, c, &q, k) || !tni_planner_packs_alike(c, k, &q))
            continue;
        choice->tried[choice->n_tried++] =
            (PnTried){.kernel = k, .cost = k->cost ? k->cost(&q) : -1, .time = -1, .error = -1, .note = "not needed"};
    }
    qsort(choice->tried, choice->n_tried, sizeof *choice->tried, cheaper);
    return choice->n_tried ? TN_OK
                           : TN_RAISE(err, TN_ERR_UNSUPPORTED, "no kernel computes operator %s for these types", tni_op_info(c->op)->name);
}

typedef struct Check {
    Pn *pn;
    const PnCase *c;
    const Oracle *o;
    PnTried *t;
} Check;

static TnStatus check_result(void *ctx, bool *ok, TnError *err) {
    const Check *x = ctx;
    TN_TRY(close_enough(x->pn, x->c, x->o, x->t->kernel, &x->t->error, ok, err));
    x->t->note = *ok ? "ok" : "too inexact";
    return TN_OK;
}

static TnStatus run_on_device(Pn *pn, PnCase *c, Oracle *o, PnTried *t, TnError *err) {
    Check x = {pn, c, o, t};
    TnError why = {0};
    bool ok;
    tni_log(pn->o->log, TN_LOG_DEBUG, "node '%s': trying kernel %s", c->name, t->kernel->name);
    TnStatus st = tni_planner_device_try(pn, t->kernel, c, check_result, &x, &ok, pn->o->tune ? &t->time : NULL, &why);
    if (st == TN_ERR_RUN) { /* of the operands, not of the kernel */
        if (err)
            *err = why;
        return st;
    }
    return st == TN_OK ? TN_OK : tni_planner_note_failure(pn, c, t, &why, st, err);
}

/* Runs, compares and then times a candidate of a device. */
static TnStatus try_on_device(Pn *pn, PnCase *c, Oracle *o, PnTried *t, uint64_t sig, TnError *err) {
    bool ok;
    if (t->cached)
        return TN_OK;
    if (c->op == TN_OP_cache_append) {
        TnError why = {0};
        TnStatus st = try_append(pn, c, t, &why);
        if (st != TN_OK)
            TN_TRY(tni_planner_note_failure(pn, c, t, &why, st, err));
        t->time = -1;
    } else {
        TN_TRY(run_on_device(pn, c, o, t, err));
    }
    ok = strcmp(t->note, "ok") == 0;
    if (strcmp(t->note, "too inexact") == 0)
        tni_log(pn->o->log, TN_LOG_WARNING, "kernel %s is too inexact for node '%s' (error %.3g of the largest value) and is not used",
                t->kernel->name, c->name, t->error);
    else if (!ok)
        tni_log(pn->o->log, TN_LOG_WARNING, "kernel %s: %s (node '%s')", t->kernel->name, t->note, c->name);
    return pn->o->tune ? tni_planner_outcome_add(pn, t->kernel, sig, t->time, t->error, ok, err) : TN_OK;
}

/* Runs and compares candidate t; its note says how it went. Only memory and faults of ours are failures of this function. */
static TnStatus try_one(Pn *pn, PnCase *c, Oracle *o, PnTried *t, uint64_t sig, TnError *err) {
    TnError why = {0};
    if (c->on != TN_DEVICE_CPU)
        return try_on_device(pn, c, o, t, sig, err);
    uint32_t repeat = pn->o->tune && !tni_planner_timing_find(pn, t->kernel, sig, &t->time) ? 50 : 1;
    double ns = 0;
    TnStatus st = c->op == TN_OP_cache_append ? try_append(pn, c, t, &why) : tni_planner_call(pn, t->kernel, c, c->out, repeat, &ns, &why);
    if (st == TN_ERR_MEMORY || st == TN_ERR_INTERNAL) {
        if (err)
            *err = why;
        return st;
    }
    if (st != TN_OK) {
        char *text = tni_arena_printf(pn->arena, "failed: %.200s", why.message);
        t->note = text ? text : "failed";
        return TN_OK;
    }
    if (c->op == TN_OP_cache_append)
        return TN_OK;
    bool ok;
    TN_TRY(close_enough(pn, c, o, t->kernel, &t->error, &ok, err));
    t->note = ok ? "ok" : "too inexact";
    if (strcmp(t->note, "ok") != 0) {
        tni_log(pn->o->log, TN_LOG_WARNING, "kernel %s is too inexact for node '%s' (error %.3g of the largest value) and is not used",
                t->kernel->name, c->name, t->error);
        return TN_OK;
    }
    if (repeat > 1) {
        t->time = ns;
        return tni_planner_timing_add(pn, t->kernel, sig, ns, err);
    }
    return TN_OK;
}

/* The reference as last resort: its result is the oracle's when that is whole. */
static void fall_back(const PnCase *c, PnChoice *choice) {
    choice->kernel = tni_kernel_ref(c->op);
    choice->verified = true;
    choice->reason = choice->n_tried > 1 ? "the other kernels failed or were too inexact" : "the only kernel";
    for (uint32_t i = 0; i < choice->n_tried; i++)
        if (choice->tried[i].kernel == choice->kernel)
            choice->tried[i].note = "reference";
}

static TnStatus decide(Pn *pn, PnCase *c, PnChoice *choice, Oracle *o, TnError *err) {
    const TnKernel *ref = tni_kernel_ref(c->op);
    PnTried *best = NULL, *last = NULL;
    double cheapest = choice->tried[0].cost;
    for (uint32_t i = 0; i < choice->n_tried; i++) {
        PnTried *t = &choice->tried[i];
        if (t->kernel == ref)
            continue;
        if (best && !pn->o->tune)
            break;
        if (best && t->cost > cheapest * PN_TIME_RATIO) {
            t->note = "not timed: its estimate is far behind";
            continue;
        }
        TN_TRY(try_one(pn, c, o, t, choice->signature, err));
        last = t;
        if (strcmp(t->note, "ok") == 0 && (!best || (t->time >= 0 && t->time < best->time)))
            best = t;
    }
    if (!best && c->on != TN_DEVICE_CPU)
        return tni_planner_fall_short(pn, c, choice, err);
    if (best && c->on != TN_DEVICE_CPU && pn->o->tune && c->op != TN_OP_cache_append) {
        TN_TRY(tni_planner_final_round(pn, c, choice, &best, err));
        last = NULL; /* the results may be another finalist's */
    }
    if (!best) {
        fall_back(c, choice);
        return TN_OK;
    }
    choice->kernel = best->kernel;
    choice->verified = true;
    choice->reason =
        pn->o->tune ? "fastest of those that agree with the reference" : "cheapest estimate of those that agree with the reference";
    c->done = last == best && c->op != TN_OP_cache_append && !best->cached;
    return TN_OK;
}

TnStatus tni_planner_choose(Pn *pn, PnCase *c, const PnChoice **out, TnError *err) {
    uint64_t sig = signature(pn, c);
    const TnKernel *bound = c->at_opt ? c->at_opt->kernel : NULL;
    const uint64_t key = bound ? tni_hash(bound->name, strlen(bound->name), sig) : sig;
    const PnChoice *known = bound && c->at_opt->signature == sig ? c->at_opt : find(pn, key);
    if (known) {
        *out = known;
        return TN_OK;
    }
    PnChoice *choice;
    PN_ALLOC(pn, choice, 1, err);
    choice->signature = sig;
    choice->key = key;
    choice->bound = bound;
    TN_TRY(tni_planner_candidates(pn, c, choice, err));
    Oracle o = {0};
    TnStatus st = TN_OK;
    bool all = false;
    if (pn->seen || (pn->dry && c->on != TN_DEVICE_CPU)) {
        TN_TRY(tni_planner_decide_dry(pn, choice, err));
        *out = choice;
        return remember(pn, choice, err);
    }
    if (c->on != TN_DEVICE_CPU && pn->o->tune)
        tni_planner_recall(pn, choice, &all);
    if (choice->n_tried == 1 && choice->tried[0].kernel == tni_kernel_ref(c->op)) {
        fall_back(c, choice);
    } else {
        st = c->op == TN_OP_cache_append || all ? TN_OK : oracle_make(pn, c, &o, err);
        if (st == TN_OK)
            st = decide(pn, c, choice, &o, err);
    }
    oracle_free(pn, c, &o);
    if (st != TN_OK)
        return st;
    *out = choice;
    return remember(pn, choice, err);
}

TnStatus tni_planner_choose_reference(Pn *pn, TnOp op, const char *reason, const PnChoice **out, TnError *err) {
    PnChoice *choice;
    PN_ALLOC(pn, choice, 1, err);
    choice->kernel = tni_kernel_ref(op);
    choice->reason = reason;
    if (!choice->kernel && !(tni_op_info(op)->flags & TN_OPF_CONTROL))
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "operator %s has no kernel", tni_op_info(op)->name);
    *out = choice;
    return TN_OK;
}
