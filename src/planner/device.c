/* SPDX-License-Identifier: Apache-2.0
 *
 * Running kernels of a device while kernels are chosen. In: tensors on the host or the device. Out: results on the device, times. Operands are
 * copied to the device once, results stay there for the steps that follow; what is compared, or read by the host, is copied back. Buffers are
 * kept and used again. Generated code is compiled once a source. A kernel that does not come to an end is named instead of waited for. */
#include "backend/device.h"
#include "planner/internal.h"

#include <stdlib.h>

typedef struct Buffer {
    void *p;
    size_t bytes;
    bool used;
} Buffer;

struct PnDevice {
    TnStream *stream;
    TnMark *from, *to;
    bool hung; /* a kernel does not end: every call that waits would wait for ever */
    Buffer *buffers;
    uint32_t n_buffers, cap_buffers;
};

/* ---- buffers ---- */

static void drop_unused(Pn *pn) {
    PnDevice *d = pn->device;
    uint32_t n = 0;
    for (uint32_t i = 0; i < d->n_buffers; i++) {
        if (d->buffers[i].used)
            d->buffers[n++] = d->buffers[i];
        else
            pn->o->lib->free(pn->o->device, d->buffers[i].p);
    }
    d->n_buffers = n;
}

/* The smallest free buffer that holds `bytes` and is not much larger, else a new one. */
static TnStatus take(Pn *pn, size_t bytes, void **out, TnError *err) {
    PnDevice *d = pn->device;
    Buffer *best = NULL;
    bytes = TN_MAX(tni_align_up(bytes, 256), (size_t)256);
    for (uint32_t i = 0; i < d->n_buffers; i++) {
        Buffer *b = &d->buffers[i];
        if (!b->used && b->bytes >= bytes && b->bytes <= 2 * bytes + (1u << 20) && (!best || b->bytes < best->bytes))
            best = b;
    }
    if (!best) {
        TnError why = {0};
        void *p = NULL;
        if (!TN_RESERVE_ONE(pn->arena, d->buffers, d->n_buffers, d->cap_buffers))
            return TN_OOM(err, sizeof *d->buffers);
        if (pn->o->lib->alloc(pn->o->device, bytes, &p, &why) != TN_OK) {
            TN_TRY(pn->o->lib->synchronize(d->stream, err)); /* what is enqueued may still use them */
            drop_unused(pn);
            TN_TRY(pn->o->lib->alloc(pn->o->device, bytes, &p, err));
        }
        best = &d->buffers[d->n_buffers++];
        *best = (Buffer){.p = p, .bytes = bytes};
    }
    best->used = true;
    *out = best->p;
    return TN_OK;
}

void tni_planner_device_give(Pn *pn, void *p) {
    for (uint32_t i = 0; p && pn->device && i < pn->device->n_buffers; i++)
        if (pn->device->buffers[i].p == p)
            pn->device->buffers[i].used = false;
}

TnStatus tni_planner_device_open(Pn *pn, TnError *err) {
    const TnDeviceLibrary *lib = pn->o->lib;
    if (!lib)
        return TN_OK;
    const TnDeviceInfo *i = pn->o->device_info;
    const uint32_t numbers[5] = {i->arch, i->driver, i->runtime, pn->o->math, i->has_blaslt << 1 | i->has_compiler};
    pn->device_seed = tni_hash(i->name, strlen(i->name), tni_hash(numbers, sizeof numbers, lib->identity));
    if (!pn->o->device)
        return TN_OK;
    PN_ALLOC(pn, pn->device, 1, err);
    TN_TRY(lib->stream_create(pn->o->device, &pn->device->stream, err));
    TN_TRY(lib->mark_create(pn->o->device, true, &pn->device->from, err));
    return lib->mark_create(pn->o->device, true, &pn->device->to, err);
}

void tni_planner_device_close(Pn *pn) {
    const TnDeviceLibrary *lib = pn->o->lib;
    const bool hung = pn->device && pn->device->hung; /* then everything is left to the end of the process */
    for (uint32_t i = 0; i < pn->n_codes; i++) {
        if (pn->codes[i]->module && !hung)
            lib->module_free(&pn->codes[i]->module);
        tni_free(pn->alloc, pn->codes[i]->binary);
    }
    if (!pn->device || hung) {
        pn->device = NULL;
        return;
    }
    if (pn->device->stream) /* what is enqueued still reads and writes the buffers */
        (void)lib->synchronize(pn->device->stream, NULL);
    for (uint32_t i = 0; i < pn->device->n_buffers; i++)
        pn->device->buffers[i].used = false;
    drop_unused(pn);
    if (pn->device->from)
        lib->mark_destroy(&pn->device->from);
    if (pn->device->to)
        lib->mark_destroy(&pn->device->to);
    if (pn->device->stream)
        lib->stream_destroy(&pn->device->stream);
    pn->device = NULL;
}

/* What a call has reported is over with the next one, unless the device is gone. */
bool tni_planner_device_lost(Pn *pn) {
    return pn->device->hung || pn->o->lib->synchronize(pn->device->stream, NULL) != TN_OK;
}

/* ---- generated code ---- */

static TnStatus compile(Pn *pn, PnCode *c, TnError *err) {
    TnError why = {0};
    TnStatus st = TN_ERR_UNSUPPORTED;
    if (pn->o->device_info->has_compiler)
        st = pn->o->lib->compile(c->source, pn->o->device_info->arch, pn->alloc, &c->binary, &c->binary_bytes, &why);
    if (st == TN_ERR_UNSUPPORTED || (st == TN_ERR_DEVICE && !pn->o->device)) { /* compiled when the plan is loaded */
        c->binary = NULL;
        c->binary_bytes = 0;
        return TN_OK;
    }
    if (st != TN_OK && err)
        *err = why;
    return st;
}

TnStatus tni_planner_code(Pn *pn, const TnKernel *k, const TnKernelQuery *q, const PnCode **out, TnError *err) {
    *out = NULL;
    if (!k->source)
        return TN_OK;
    size_t n = k->source(q, NULL, 0);
    char *text = tni_arena_calloc(pn->arena, n + 1, 1);
    if (!text)
        return TN_OOM(err, n + 1);
    if (n == 0 || k->source(q, text, n + 1) != n)
        return TN_RAISE(err, TN_ERR_INTERNAL, "kernel %s wrote no source", k->name);
    uint64_t hash = tni_hash(text, n, 0);
    for (uint32_t i = 0; i < pn->n_codes; i++) {
        if (pn->codes[i]->hash == hash && strcmp(pn->codes[i]->source, text) == 0) {
            *out = pn->codes[i];
            return TN_OK;
        }
    }
    PnCode *c;
    PN_ALLOC(pn, c, 1, err);
    *c = (PnCode){.hash = hash, .source = text, .source_bytes = n + 1};
    if (!TN_RESERVE_ONE(pn->arena, pn->codes, pn->n_codes, pn->cap_codes))
        return TN_OOM(err, sizeof *pn->codes);
    TN_TRY(compile(pn, c, err));
    pn->codes[pn->n_codes++] = c;
    *out = c;
    return TN_OK;
}

static TnStatus load_code(Pn *pn, const TnKernel *k, const TnKernelQuery *q, TnModule **out, TnError *err) {
    const PnCode *found;
    *out = NULL;
    TN_TRY(tni_planner_code(pn, k, q, &found, err));
    if (!found)
        return TN_OK;
    PnCode *c = NULL;
    for (uint32_t i = 0; i < pn->n_codes; i++)
        c = pn->codes[i] == found ? pn->codes[i] : c;
    if (!c->module && !c->binary)
        return TN_RAISE(err, TN_ERR_UNSUPPORTED, "kernel %s needs generated code, and there is no compiler (NVRTC) here", k->name);
    if (!c->module)
        TN_TRY(pn->o->lib->module_load(pn->o->device, c->binary, c->binary_bytes, &c->module, err));
    *out = c->module;
    return TN_OK;
}

/* ---- a call ---- */

typedef struct Call {
    Pn *pn;
    const TnKernel *k;
    const PnCase *c;
    TnTensor *in, *query_in, *out;
    void **kept; /* device copies of operands: the case's, or ours */
    bool own;    /* ours */
    bool fresh;  /* results are marked before the kernel writes them */
    const void **packed;
    void *scratch;
    TnKernelCall call;
} Call;

static bool on_host(const PnCase *c, uint32_t i) {
    return i < 32 && (tni_op_host_inputs(c->op) >> i & 1u);
}

/* A DATA_SHAPE operator knows the size of a result. */
static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    Call *x = call->host;
    TnTensor *t = &call->out[i];
    size_t bytes;
    t->rank = rank;
    if (rank > 0)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    if (t->dtype == TN_UNDEFINED)
        return TN_OK;
    if (!tni_shape_bytes(t->dtype, rank, t->dims, NULL, &bytes))
        return TN_RAISE(call->err, TN_ERR_SHAPE, "a result is too large");
    tni_planner_device_give(x->pn, t->data);
    t->data = NULL;
    return take(x->pn, bytes, &t->data, call->err);
}

static TnStatus bring_operands(Call *x, TnError *err) {
    Pn *pn = x->pn;
    const PnCase *c = x->c;
    for (uint32_t i = 0; i < c->n_in; i++) {
        x->in[i] = c->in[i];
        size_t bytes = c->in[i].dtype == TN_UNDEFINED ? 0 : tn_tensor_bytes(&c->in[i]);
        if (c->in[i].dtype == TN_UNDEFINED || on_host(c, i))
            continue;
        if (!x->kept[i]) {
            TN_TRY(take(pn, bytes, &x->kept[i], err));
            if (bytes && c->in[i].data)
                TN_TRY(pn->o->lib->to_device(pn->device->stream, x->kept[i], c->in[i].data, bytes, err));
            else if (bytes)
                TN_TRY(pn->o->lib->fill(pn->device->stream, x->kept[i], 0, bytes, err));
        }
        x->in[i].data = x->kept[i];
    }
    return TN_OK;
}

/* The entry of the case that holds operand i in this packing, or a free one, or NULL. Bytes may depend on the kernel even so. */
static PnPacked *find_packed(const Call *x, uint32_t i, size_t bytes) {
    for (uint32_t k = 0; k < PN_PACKED && x->c->packed && x->k->packing; k++) {
        PnPacked *p = &x->c->packed[k];
        if (!p->on || (p->operand == i && p->bytes == bytes && strcmp(p->packing, x->k->packing) == 0))
            return p;
    }
    return NULL;
}

static bool is_kept(const Call *x, const void *packed) {
    for (uint32_t k = 0; k < PN_PACKED && x->c->packed; k++)
        if (x->c->packed[k].on == packed)
            return true;
    return false;
}

static TnStatus pack_operand(Call *x, const TnKernelQuery *q, uint32_t i, TnError *err) {
    Pn *pn = x->pn;
    size_t bytes = x->k->packed_bytes && x->c->constant[i] ? x->k->packed_bytes(q, i) : 0;
    void *to;
    if (!bytes)
        return TN_OK;
    PnPacked *known = find_packed(x, i, bytes);
    if (known && known->on) {
        x->packed[i] = known->on;
        return TN_OK;
    }
    void *host = tni_alloc_aligned(pn->alloc, bytes, 64);
    if (!host)
        return TN_OOM(err, bytes);
    memset(host, 0, bytes);
    x->k->pack(q, i, host);
    TnStatus st = take(pn, bytes, &to, err);
    if (st == TN_OK) {
        x->packed[i] = to;
        st = pn->o->lib->to_device(pn->device->stream, to, host, bytes, err);
    }
    if (st == TN_OK && known)
        *known = (PnPacked){x->k->packing, i, bytes, to};
    if (st == TN_OK)
        st = pn->o->lib->synchronize(pn->device->stream, err);
    tni_free(pn->alloc, host);
    return st;
}

/* Constants that lie unaligned in a model file are read by pack() as their type: an aligned copy, for the time of the query. */
static TnStatus align_operands(Call *x, void **copies, TnError *err) {
    for (uint32_t i = 0; i < x->c->n_in; i++) {
        TnTensor *t = &x->query_in[i];
        *t = x->c->in[i];
        if (!x->c->constant[i]) {
            t->data = on_host(x->c, i) ? t->data : NULL;
            continue;
        }
        if (!t->data || tni_planner_aligned(t->data, t->dtype))
            continue;
        size_t bytes = tn_tensor_bytes(t);
        copies[i] = tni_alloc_aligned(x->pn->alloc, bytes, 64);
        if (!copies[i])
            return TN_OOM(err, bytes);
        memcpy(copies[i], t->data, bytes);
        t->data = copies[i];
    }
    return TN_OK;
}

static TnStatus prepare_call(Call *x, void **copies, TnError *err) {
    Pn *pn = x->pn;
    const PnCase *c = x->c;
    TN_TRY(align_operands(x, copies, err));
    TnKernelQuery q = {c->op, c->params, x->query_in, c->n_in, c->out, c->n_out, pn->n_threads, NULL};
    for (uint32_t i = 0; i < c->n_in; i++)
        if (!c->constant[i])
            x->query_in[i].data = NULL;
    tni_planner_query_on(pn, c->on, &q);
    TN_TRY(bring_operands(x, err));
    for (uint32_t i = 0; i < c->n_in; i++)
        TN_TRY(pack_operand(x, &q, i, err));
    size_t scratch = x->k->scratch ? x->k->scratch(&q) : 0;
    TN_TRY(take(pn, scratch, &x->scratch, err));
    for (uint32_t i = 0; i < c->n_out; i++) {
        x->out[i] = c->out[i];
        x->out[i].data = NULL;
        if (c->out[i].dtype == TN_UNDEFINED || (tni_op_info(c->op)->flags & TN_OPF_DATA_SHAPE))
            continue;
        size_t bytes = tn_tensor_bytes(&c->out[i]);
        if (c->on_out && c->on_out[i]) {
            x->out[i].data = c->on_out[i];
        } else {
            TN_TRY(take(pn, bytes, &x->out[i].data, err));
            if (c->on_out)
                c->on_out[i] = x->out[i].data;
        }
        if (bytes && x->fresh) /* NaN: what the kernel leaves out is seen */
            TN_TRY(pn->o->lib->fill(pn->device->stream, x->out[i].data, 0xff, bytes, err));
    }
    x->call = (TnKernelCall){.params = c->params,
                             .in = x->in,
                             .n_in = c->n_in,
                             .out = x->out,
                             .n_out = c->n_out,
                             .packed = x->k->packed_bytes ? x->packed : NULL,
                             .scratch = x->scratch,
                             .scratch_bytes = scratch,
                             .dim_values = c->dims,
                             .stream = pn->device->stream,
                             .resize = resize,
                             .host = x,
                             .err = err};
    return load_code(pn, x->k, &q, &x->call.code, err);
}

static TnStatus call_create(Call *x, Pn *pn, const TnKernel *k, const PnCase *c, bool fresh, TnError *err) {
    void **copies;
    *x = (Call){.pn = pn, .k = k, .c = c, .fresh = fresh};
    PN_ALLOC(pn, x->in, c->n_in, err);
    PN_ALLOC(pn, x->query_in, c->n_in, err);
    PN_ALLOC(pn, x->out, c->n_out, err);
    PN_ALLOC(pn, x->packed, c->n_in, err);
    PN_ALLOC(pn, copies, c->n_in, err);
    x->own = !c->on_in || (tni_op_info(c->op)->flags & TN_OPF_STATE);
    x->kept = c->on_in;
    if (x->own)
        PN_ALLOC(pn, x->kept, c->n_in, err);
    TnStatus st = prepare_call(x, copies, err);
    for (uint32_t i = 0; i < c->n_in; i++)
        tni_free(pn->alloc, copies[i]);
    return st;
}

static void call_destroy(Call *x) {
    Pn *pn = x->pn;
    for (uint32_t i = 0; x->kept && x->own && i < x->c->n_in; i++)
        tni_planner_device_give(pn, x->kept[i]);
    for (uint32_t i = 0; x->packed && i < x->c->n_in; i++)
        if (!is_kept(x, x->packed[i]))
            tni_planner_device_give(pn, (void *)(uintptr_t)x->packed[i]);
    for (uint32_t i = 0; x->out && i < x->c->n_out && !x->c->on_out; i++)
        tni_planner_device_give(pn, x->out[i].data);
    tni_planner_device_give(pn, x->scratch);
}

/* Waits for a while; a kernel that hangs is named, and the device is given up. */
static TnStatus wait_for(Pn *pn, TnError *err) {
    TnStatus st = tni_device_wait(pn->o->lib, pn->device->stream, &pn->device->hung, err);
    if (pn->device->hung)
        pn->o->lib->give_up(pn->o->device);
    return st;
}

/* Waits, and turns what kernels noted into a status. */
static TnStatus finish(Pn *pn, const TnKernel *k, TnError *err) {
    const TnDeviceLibrary *lib = pn->o->lib;
    bool fault = false;
    int64_t index = 0, limit = 0;
    TnStatus st = wait_for(pn, err);
    if (st != TN_OK)
        return tni_error_prefix(err, st, "kernel %s", k->name);
    TN_TRY(lib->take_fault(pn->device->stream, &fault, &index, &limit, err));
    return fault ? TN_RAISE(err, TN_ERR_RUN, "index %lld is outside 0..%lld", (long long)index, (long long)limit - 1) : TN_OK;
}

static TnStatus fetch(Pn *pn, const TnTensor *from, TnTensor *to, bool allocate, TnError *err) {
    size_t bytes = tn_tensor_bytes(from);
    if (allocate) {
        void *p = tni_alloc_aligned(pn->alloc, bytes, 64);
        if (!p)
            return TN_OOM(err, bytes);
        tni_free(pn->alloc, to->data);
        *to = *from;
        to->data = p;
    }
    return bytes ? pn->o->lib->to_host(pn->device->stream, to->data, from->data, bytes, err) : TN_OK;
}

/* Results whose sizes the kernel has found, and states written in place, are the host's; other results stay where they are. */
static TnStatus call_run(Call *x, TnTensor *out, TnError *err) {
    Pn *pn = x->pn;
    const PnCase *c = x->c;
    const uint32_t flags = tni_op_info(c->op)->flags;
    const uint64_t began = tni_now_ns();
    TN_TRY(x->k->run(&x->call));
    TN_TRY(finish(pn, x->k, err));
    pn->ns[PN_DEVICE] += tni_now_ns() - began;
    for (uint32_t i = 0; i < c->n_out && (flags & TN_OPF_DATA_SHAPE); i++)
        if (x->out[i].data)
            TN_TRY(fetch(pn, &x->out[i], &out[i], true, err));
    for (uint32_t i = 0; i < c->n_in && (flags & TN_OPF_STATE) && c->n_out == 0; i++)
        if (c->in[i].data && !c->constant[i] && !on_host(c, i)) /* written in place */
            TN_TRY(fetch(pn, &x->in[i], &(TnTensor){.data = c->in[i].data}, false, err));
    return pn->o->lib->synchronize(pn->device->stream, err);
}

TnStatus tni_planner_device_call(Pn *pn, const TnKernel *k, const PnCase *c, TnTensor *out, TnError *err) {
    Call x;
    TnStatus st = call_create(&x, pn, k, c, false, err);
    if (st == TN_OK)
        st = call_run(&x, out, err);
    call_destroy(&x);
    return st;
}

TnStatus tni_planner_device_read(Pn *pn, void *to, const void *from, size_t at, size_t bytes, TnError *err) {
    const uint64_t began = tni_now_ns();
    if (bytes == 0)
        return TN_OK;
    TN_TRY(pn->o->lib->to_host(pn->device->stream, to, (const uint8_t *)from + at, bytes, err));
    TN_TRY(pn->o->lib->synchronize(pn->device->stream, err));
    pn->ns[PN_COPIES] += tni_now_ns() - began;
    return TN_OK;
}

TnStatus tni_planner_device_zero(Pn *pn, void *p, size_t bytes, TnError *err) {
    return bytes ? pn->o->lib->fill(pn->device->stream, p, 0, bytes, err) : TN_OK;
}

/* ---- timing ---- */

enum { ROUNDS = 7 };

static TnStatus elapsed(Call *x, TnGraphExec *graph, uint32_t n, double *ns, TnError *err) {
    const TnDeviceLibrary *lib = x->pn->o->lib;
    PnDevice *d = x->pn->device;
    TN_TRY(lib->mark_set(d->from, d->stream, err));
    if (graph)
        TN_TRY(lib->graph_launch(graph, d->stream, err));
    for (uint32_t i = 0; !graph && i < n; i++)
        TN_TRY(x->k->run(&x->call));
    TN_TRY(lib->mark_set(d->to, d->stream, err));
    TN_TRY(finish(x->pn, x->k, err));
    TN_TRY(lib->mark_elapsed(d->from, d->to, ns, err));
    *ns /= n;
    return TN_OK;
}

/* n calls recorded, so that the host's part is not measured; NULL where that fails. */
static TnGraphExec *record(Call *x, uint32_t n) {
    const TnDeviceLibrary *lib = x->pn->o->lib;
    TnStream *s = x->pn->device->stream;
    TnGraphExec *graph = NULL;
    TnError why = {0};
    TnStatus st = lib->capture_begin(s, &why);
    if (st != TN_OK)
        return NULL;
    TnError *err = x->call.err;
    x->call.err = &why;
    for (uint32_t i = 0; i < n && st == TN_OK; i++)
        st = x->k->run(&x->call);
    x->call.err = err;
    TnStatus ended = lib->capture_end(s, &graph, &why);
    if (st == TN_OK && ended == TN_OK)
        return graph;
    if (graph)
        lib->graph_destroy(&graph);
    return NULL;
}

static int by_value(const void *pa, const void *pb) {
    double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* Calls that make up a recorded graph of about a millisecond. */
static TnStatus calls_of(Call *x, uint32_t *n, TnError *err) {
    double one = 0;
    TN_TRY(elapsed(x, NULL, 1, &one, err));
    TN_TRY(elapsed(x, NULL, 2, &one, err));
    *n = (uint32_t)TN_MAX(3.0, TN_MIN(40.0, 1e6 / TN_MAX(one, 1.0)));
    return TN_OK;
}

static double median(double *t) {
    qsort(t, ROUNDS, sizeof *t, by_value);
    return t[ROUNDS / 2];
}

static TnStatus time_call(Call *x, double *ns, TnError *err) {
    double t[ROUNDS], warm;
    uint32_t n;
    TN_TRY(calls_of(x, &n, err));
    TnGraphExec *graph = record(x, n);
    TnStatus st = TN_OK;
    if (graph)
        st = elapsed(x, graph, n, &warm, err);
    for (uint32_t i = 0; i < ROUNDS && st == TN_OK; i++)
        st = elapsed(x, graph, n, &t[i], err);
    if (graph)
        x->pn->o->lib->graph_destroy(&graph);
    if (st == TN_OK)
        *ns = median(t);
    return st;
}

TnStatus tni_planner_device_finals(Pn *pn, const PnCase *c, const TnKernel *const *k, uint32_t n, double *ns, TnError *err) {
    Call x[PN_FINALISTS];
    TnGraphExec *graph[PN_FINALISTS] = {NULL};
    uint32_t calls[PN_FINALISTS], made = 0;
    double t[PN_FINALISTS][ROUNDS], warm;
    TnStatus st = TN_OK;
    const uint64_t began = tni_now_ns();
    for (; made < n && st == TN_OK; made++)
        st = call_create(&x[made], pn, k[made], c, true, err);
    for (uint32_t i = 0; i < n && st == TN_OK; i++) {
        st = calls_of(&x[i], &calls[i], err);
        if (st == TN_OK)
            graph[i] = record(&x[i], calls[i]);
    }
    for (uint32_t round = 0; round < 2 * ROUNDS && st == TN_OK; round++) /* the first half warms up */
        for (uint32_t i = 0; i < n && st == TN_OK; i++)
            st = elapsed(&x[i], graph[i], calls[i], round < ROUNDS ? &warm : &t[i][round - ROUNDS], err);
    for (uint32_t i = 0; i < n; i++) {
        if (graph[i])
            pn->o->lib->graph_destroy(&graph[i]);
        if (st == TN_OK)
            ns[i] = median(t[i]);
    }
    while (made > 0)
        call_destroy(&x[--made]);
    pn->ns[PN_TIMING] += tni_now_ns() - began;
    return st;
}

TnStatus tni_planner_device_try(Pn *pn, const TnKernel *k, const PnCase *c, PnCheckFn check, void *ctx, bool *ok, double *ns, TnError *err) {
    Call x;
    TnStatus st = call_create(&x, pn, k, c, true, err);
    *ok = false;
    if (st == TN_OK)
        st = call_run(&x, c->out, err);
    if (st == TN_OK)
        st = check(ctx, ok, err);
    const uint64_t began = tni_now_ns();
    if (st == TN_OK && *ok && ns)
        st = time_call(&x, ns, err);
    pn->ns[PN_TIMING] += tni_now_ns() - began;
    call_destroy(&x);
    return st;
}
