/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a bound program on a device: enqueued step by step, or as a graph that was captured before. In: a frame whose operands have addresses.
 * Out: pending work; tni_rt_device_finish waits for it, looks for index faults and runs what comes after on the host.
 *
 * The first run with a key (shapes, addresses, contents that kernels read on the host) goes step by step, because that also brings what is made
 * on first use out of the way; the second is captured; all others launch what was captured. */
#include "runtime/device.h"

static const TnDeviceLibrary *library(const TnContext *ctx) {
    return ctx->plan->device->lib;
}

/* ---- keys ---- */

static TnStatus key_add(TnContext *ctx, const void *p, size_t n, TnError *err) {
    RtDeviceContext *d = ctx->device;
    if (d->key_bytes + n > d->key.cap) {
        RtBuffer bigger = {NULL, 0};
        TN_TRY(tni_rt_grow(ctx, &bigger, (d->key_bytes + n) * 2 + 256, false, err));
        if (d->key_bytes)
            memcpy(bigger.p, d->key.p, d->key_bytes);
        tni_free(ctx->alloc, d->key.p);
        d->key = bigger;
    }
    if (n)
        memcpy(d->key.p + d->key_bytes, p, n);
    d->key_bytes += n;
    return TN_OK;
}

/* Shapes and addresses that are not constant while the epoch is. */
static TnStatus key_of_binding(TnContext *ctx, const RtFrame *f, TnError *err) {
    uint32_t n_symbols = ctx->plan->p.n_symbols;
    ctx->device->key_bytes = 0;
    for (uint32_t i = 0; i < f->prog->g->n_inputs; i++) {
        const TnTensor *t = &f->bound_in[i];
        TN_TRY(key_add(ctx, &t->data, sizeof t->data, err));
        TN_TRY(key_add(ctx, t->dims, (size_t)t->rank * sizeof *t->dims, err));
    }
    TN_TRY(key_add(ctx, f->preset, n_symbols * sizeof *f->preset, err));
    TN_TRY(key_add(ctx, f->preset_known, n_symbols, err));
    if (f->device->then) {
        size_t n;
        const void *p = tni_rt_device_search_key(ctx, &n);
        TN_TRY(key_add(ctx, p, n, err));
    }
    return key_add(ctx, f->user_out, f->prog->g->n_outputs * sizeof *f->user_out, err);
}

/* What step s of the device reads on the host. */
static TnStatus key_of_contents(TnContext *ctx, const RtFrame *f, uint32_t s, TnError *err) {
    const RtCall *c = &f->calls[s];
    uint32_t host = tni_op_host_inputs(f->prog->rt[s].op);
    for (uint32_t i = 0; i < f->prog->steps[s].n_in && i < 32; i++)
        if ((host & 1u << i) && c->in[i].dtype != TN_UNDEFINED)
            TN_TRY(key_add(ctx, c->in[i].data, tn_tensor_bytes(&c->in[i]), err));
    return TN_OK;
}

/* ---- graphs that are kept ---- */

static void forget(TnContext *ctx, RtGraph *g) {
    if (g->exec)
        library(ctx)->graph_destroy(&g->exec);
    g->exec = NULL;
    g->refused = false;
    g->key_bytes = 0;
    g->used = 0;
}

void tni_rt_device_graphs_free(TnContext *ctx, RtFrame *f) {
    for (uint32_t i = 0; i < RT_MAX_GRAPHS; i++) {
        forget(ctx, &f->device->graphs[i]);
        tni_free(ctx->alloc, f->device->graphs[i].key.p);
        f->device->graphs[i].key = (RtBuffer){NULL, 0};
    }
}

/* The entry of the present key, *known; or the one to use for it. */
static RtGraph *find_graph(TnContext *ctx, RtFrame *f, bool *known) {
    RtDeviceContext *d = ctx->device;
    RtGraph *oldest = &f->device->graphs[0];
    for (uint32_t i = 0; i < RT_MAX_GRAPHS; i++) {
        RtGraph *g = &f->device->graphs[i];
        if (g->used && g->epoch != d->epoch)
            forget(ctx, g);
        if (g->used && g->key_bytes == d->key_bytes && memcmp(g->key.p, d->key.p, d->key_bytes) == 0) {
            g->used = ++d->clock;
            *known = true;
            return g;
        }
        if (g->used < oldest->used)
            oldest = g;
    }
    *known = false;
    return oldest;
}

static TnStatus take_entry(TnContext *ctx, RtGraph *g, TnError *err) {
    RtDeviceContext *d = ctx->device;
    forget(ctx, g);
    TN_TRY(tni_rt_grow(ctx, &g->key, d->key_bytes + 1, false, err));
    if (d->key_bytes)
        memcpy(g->key.p, d->key.p, d->key_bytes);
    g->key_bytes = d->key_bytes;
    g->epoch = d->epoch;
    g->used = ++d->clock;
    return TN_OK;
}

/* ---- staging ---- */

static TnStatus lay_out_stages(TnContext *ctx, RtFrame *f, TnError *err) {
    const uint8_t *was = f->device->stage.p;
    size_t at = 0;
    for (uint32_t s = 0; s < f->prog->g->n_steps && f->prog->n_stages; s++) {
        if (f->prog->stage[s] == PLAN_NONE)
            continue;
        f->device->stage_at[f->prog->stage[s]] = at;
        at = tni_align_up(at + tn_tensor_bytes(&f->calls[s].in[0]), RT_DEVICE_ALIGN);
    }
    TN_TRY(tni_rt_pinned_grow(ctx, &f->device->stage, at, "tensors between host and device", err));
    if (f->device->stage.p != was)
        ctx->device->epoch++; /* graphs know the address */
    return TN_OK;
}

static uint8_t *stage_of(const RtFrame *f, uint32_t s) {
    return f->device->stage.p + f->device->stage_at[f->prog->stage[s]];
}

/* ---- the three parts ---- */

/* An input of the device into the host's memory; fetch: it has not been fetched into its staging slot yet. */
static TnStatus take_input(TnContext *ctx, const RtFrame *f, uint32_t s, bool fetch, TnError *err) {
    const RtCall *c = &f->calls[s];
    const void *from = tni_rt_device_on_host(ctx, f, s);
    size_t bytes = tn_tensor_bytes(&c->in[0]);
    if (bytes && !from) {
        from = stage_of(f, s);
        if (fetch) {
            TN_TRY(library(ctx)->to_host(ctx->device->stream, stage_of(f, s), c->in[0].data, bytes, err));
            TN_TRY(tni_rt_device_wait(ctx, err));
        }
    }
    if (bytes)
        memcpy(c->out[0].data, from, bytes);
    return TN_OK;
}

/* Steps of the host that come before; staging memory is filled and the key completed on the way. */
static TnStatus run_before(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t k = 0; k < f->prog->n_before; k++) {
        uint32_t s = f->prog->before[k];
        const RtStep *rt = &f->prog->rt[s];
        size_t bytes = rt->transfer ? tn_tensor_bytes(&f->calls[s].in[0]) : 0;
        if (rt->from_input)
            TN_TRY(take_input(ctx, f, s, true, err));
        else if (bytes)
            memcpy(stage_of(f, s), f->calls[s].in[0].data, bytes);
        else if (rt->memory == RT_DEVICE)
            TN_TRY(key_of_contents(ctx, f, s, err));
        else if (!rt->transfer)
            TN_TRY(tni_rt_run_step(ctx, f, s, err));
    }
    return TN_OK;
}

/* Everything up to what comes after, in the order of the plan: the host's steps are run (again: kernels of the device read what they make
 * when they are enqueued), the device's enqueued or recorded. noted: for the case that one hangs. */
static TnStatus enqueue(TnContext *ctx, RtFrame *f, bool noted, TnError *err) {
    for (uint32_t s = 0; s < f->prog->g->n_steps; s++) {
        const RtStep *rt = &f->prog->rt[s];
        const RtCall *c = &f->calls[s];
        if (rt->kept)
            continue;
        size_t bytes = rt->transfer ? tn_tensor_bytes(&c->in[0]) : 0;
        TN_TRY(tni_rt_branch_enter(ctx, f, s, err));
        if (rt->from_input)
            TN_TRY(take_input(ctx, f, s, false, err));
        else if (rt->transfer == RT_TO_DEVICE && bytes)
            TN_TRY(library(ctx)->to_device(ctx->device->stream, c->out[0].data, stage_of(f, s), bytes, err));
        else if (rt->transfer == RT_TO_HOST && bytes)
            TN_TRY(library(ctx)->to_host(ctx->device->stream, stage_of(f, s), c->in[0].data, bytes, err));
        else if (!rt->transfer && rt->phase != RT_AFTER)
            TN_TRY(tni_rt_run_step(ctx, f, s, err));
        TN_TRY(tni_rt_branch_leave(ctx, f, s, err));
        if (noted && (rt->memory == RT_DEVICE || rt->transfer))
            TN_TRY(tni_rt_device_trail(ctx, f, s, err));
    }
    TN_TRY(tni_rt_branch_join(ctx, err));
    return f->device->then ? f->device->then(ctx, err) : TN_OK;
}

static TnStatus run_after(TnContext *ctx, RtFrame *f, TnError *err) {
    for (uint32_t k = 0; k < f->prog->n_after; k++) {
        uint32_t s = f->prog->after[k];
        if (f->prog->rt[s].transfer) {
            size_t bytes = tn_tensor_bytes(&f->calls[s].in[0]);
            if (bytes)
                memcpy(f->calls[s].out[0].data, stage_of(f, s), bytes);
        } else {
            TN_TRY(tni_rt_run_step(ctx, f, s, err));
        }
        if (f->prog->dynamic)
            tni_rt_give_dead(ctx, f, s);
    }
    return TN_OK;
}

static TnStatus record(TnContext *ctx, RtFrame *f, TnGraphExec **exec, TnError *why) {
    RtDeviceContext *d = ctx->device;
    const TnDeviceLibrary *lib = library(ctx);
    TnStream *stream = d->stream;
    *exec = NULL;
    d->stream = d->own;
    TnStatus st = lib->capture_begin(d->own, why);
    if (st == TN_OK) {
        st = enqueue(ctx, f, false, why);
        TnStatus ended = lib->capture_end(d->own, exec, st == TN_OK ? why : NULL);
        st = st == TN_OK ? ended : st;
    }
    d->stream = stream;
    if (st != TN_OK && *exec)
        lib->graph_destroy(exec);
    return st;
}

/* The program may go on without what could not be recorded. */
static bool is_refusal(TnStatus st) {
    return st == TN_ERR_DEVICE || st == TN_ERR_MEMORY || st == TN_ERR_UNSUPPORTED;
}

/* Records the program on the context's own stream, which nothing else is enqueued on meanwhile, and on others beside it where that pays. A
 * program that cannot be recorded is no failure: it goes on step by step, and the log says why. */
static TnStatus capture(TnContext *ctx, RtFrame *f, RtGraph *g, TnError *err) {
    RtDeviceContext *d = ctx->device;
    const char *name = ctx->plan->p.strings + f->prog->g->name;
    TnError why = {0};
    TnGraphExec *exec = NULL;
    TnStatus st = tni_rt_branch_begin(ctx, f, &why);
    bool branched = d->recording != NULL, began = st == TN_OK;
    if (began)
        st = record(ctx, f, &exec, &why);
    tni_rt_branch_end(ctx);
    if (is_refusal(st) && (branched || !began)) {
        tni_log(&ctx->plan->log, TN_LOG_WARNING, "program '%s' is captured on one stream: it could not be on several: %s", name, why.message);
        d->lanes = 1;
        branched = false;
        why = (TnError){0};
        st = record(ctx, f, &exec, &why);
    }
    if (st == TN_OK) {
        g->exec = exec;
        g->epoch = d->epoch;
        d->n_captured++;
        d->n_branched += branched;
        return TN_OK;
    }
    if (is_refusal(st)) {
        g->refused = true;
        tni_log(&ctx->plan->log, TN_LOG_WARNING, "program '%s' runs step by step: it could not be captured: %s", name, why.message);
        return TN_OK;
    }
    if (err)
        *err = why;
    return st;
}

static TnStatus run_graph(TnContext *ctx, RtFrame *f, TnError *err) {
    RtDeviceContext *d = ctx->device;
    bool known;
    TN_TRY(tni_rt_keep(ctx, f, err));
    TN_TRY(lay_out_stages(ctx, f, err));
    TN_TRY(key_of_binding(ctx, f, err));
    TN_TRY(run_before(ctx, f, err));
    RtGraph *g = find_graph(ctx, f, &known);
    if (!known)
        TN_TRY(take_entry(ctx, g, err));
    else if (!g->exec && !g->refused)
        TN_TRY(capture(ctx, f, g, err));
    f->device->after = true;
    if (!g->exec)
        return enqueue(ctx, f, true, err);
    d->n_launched++;
    return library(ctx)->graph_launch(g->exec, d->stream, err);
}

TnStatus tni_rt_device_run_frame(TnContext *ctx, RtFrame *f, TnError *err) {
    RtDeviceContext *d = ctx->device;
    const TnDeviceLibrary *lib = library(ctx);
    d->pending = f;
    f->device->after = false;
    TN_TRY(tni_rt_device_note(ctx, lib->activate(ctx->plan->device->dev, err), err));
    lib->range(ctx->plan->p.strings + f->prog->g->name);
    TnStatus st = f->prog->graph && !ctx->on_step && !ctx->profile && !d->naming ? run_graph(ctx, f, err) : tni_rt_run_frame(ctx, f, err);
    lib->range(NULL);
    return tni_rt_device_note(ctx, st, err);
}

/* ---- the end of a run ---- */

void tni_rt_device_abandon(TnContext *ctx) {
    RtDeviceContext *d = ctx->device;
    bool fault;
    int64_t index, limit;
    if (tni_rt_device_wait(ctx, NULL) == TN_OK)
        tni_rt_device_fault(ctx, &fault, &index, &limit, NULL);
    if (d->pending)
        d->pending->device->after = false;
    d->pending = NULL;
    d->copies = false;
}

static TnStatus finish(TnContext *ctx, RtFrame *f, TnError *err) {
    bool fault;
    int64_t index = 0, limit = 0;
    TN_TRY(tni_rt_device_wait(ctx, err));
    TN_TRY(tni_rt_device_fault(ctx, &fault, &index, &limit, err));
    if (fault)
        return tni_rt_device_name_fault(ctx, f, index, limit, err);
    if (f->device->after)
        TN_TRY(run_after(ctx, f, err));
    if (ctx->device->copies) {
        TN_TRY(tni_rt_device_outputs_end(ctx, f, err));
        ctx->ran = true;
    }
    return TN_OK;
}

TnStatus tni_rt_device_finish(TnContext *ctx, TnError *err) {
    RtDeviceContext *d = ctx->device;
    if (!d->pending)
        return TN_OK;
    TnStatus st = tni_rt_device_note(ctx, finish(ctx, d->pending, err), err);
    if (st != TN_OK)
        tni_rt_device_abandon(ctx);
    d->pending = NULL;
    d->copies = false;
    return st;
}

/* ---- program 0 ---- */

static TnStatus start(TnContext *ctx, TnError *err) {
    RtFrame *f = &ctx->frames[0];
    TN_TRY(tni_rt_check_set(ctx, err));
    TN_TRY(tni_rt_device_place(ctx, f, ctx->inputs, ctx->input_on_device, err));
    tni_rt_forget_outputs(ctx, f);
    TN_TRY(tni_rt_bind(ctx, f, f->device->placed, NULL, NULL, err));
    TN_TRY(tni_rt_place_outputs(ctx, f, f->device->placed, err));
    TN_TRY(tni_rt_device_bring(ctx, f, ctx->inputs, err));
    TN_TRY(tni_rt_device_run_frame(ctx, f, err));
    ctx->device->copies = true;
    return tni_rt_device_outputs_begin(ctx, f, err);
}

TnStatus tni_rt_device_start(TnContext *ctx, TnError *err) {
    TN_TRY(tni_rt_device_usable(ctx, err));
    TN_TRY(tni_rt_device_finish(ctx, err));
    ctx->ran = false;
    for (uint32_t i = 0; i < ctx->plan->p.n_programs; i++)
        tni_rt_release(ctx, &ctx->frames[i]); /* what a failed run left behind */
    TnStatus st = tni_rt_device_note(ctx, start(ctx, err), err);
    if (st != TN_OK)
        tni_rt_device_abandon(ctx);
    return st;
}

TnStatus tni_rt_device_warm(TnContext *ctx, TnError *err) {
    for (uint32_t i = 0; i < 3; i++) { /* memory, the graph, its first launch */
        TN_TRY(tni_rt_device_start(ctx, err));
        TN_TRY(tni_rt_device_finish(ctx, err));
    }
    return TN_OK;
}
