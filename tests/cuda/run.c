/* SPDX-License-Identifier: Apache-2.0
 *
 * One run of one device kernel on one case: operands placed between guards, outputs and scratch poisoned, constants packed, everything
 * brought over, the kernel enqueued, everything brought back. */
#include "cuda/checkcuda.h"

TnKernelQuery variant_query(const Variant *v, const Gpu *g, TnTensor *in, TnTensor *out) {
    for (uint32_t i = 0; i < v->c->n_in; i++) {
        in[i] = v->in[i];
        if (!v->c->constant[i])
            in[i].data = NULL;
    }
    for (uint32_t i = 0; i < v->c->n_out; i++) {
        out[i] = v->out[i];
        out[i].data = NULL;
    }
    return (TnKernelQuery){v->c->op, &v->c->params, in, v->c->n_in, out, v->c->n_out, 1, &g->info};
}

TnStatus program_load(Program *p, const TnKernelQuery *q, TnError *err) {
    const TnDeviceLibrary *lib = p->gpu->lib;
    void *binary = NULL;
    size_t bytes = 0;
    p->code = NULL;
    if (p->kernel->source == NULL)
        return TN_OK;
    size_t n = p->kernel->source(q, NULL, 0);
    char *source = tni_calloc(NULL, n + 1, 1);
    if (source == NULL)
        return TN_OOM(err, n + 1);
    size_t again = p->kernel->source(q, source, n + 1);
    TnStatus st = TN_OK;
    if (again != n || strlen(source) != n)
        st = TN_RAISE(err, TN_ERR_INTERNAL, "source() says %zu bytes, then %zu, and wrote %zu", n, again, strlen(source));
    if (st == TN_OK && n > 0)
        st = lib->compile(source, p->gpu->info.arch, NULL, &binary, &bytes, err);
    if (st == TN_OK && n > 0 && !p->gpu->dry)
        st = lib->module_load(p->gpu->dev, binary, bytes, &p->code, err);
    tni_free(NULL, binary);
    tni_free(NULL, source);
    return st;
}

void program_unload(Program *p) {
    if (!p->gpu->dry)
        p->gpu->lib->module_free(&p->code);
}

static size_t element_size(TnDtype t) {
    return TN_MAX(tn_dtype_bits(t) / 8, 1u);
}

typedef struct Layout {
    Piece *pieces[3 * CASE_IN + CASE_OUT];
    uint32_t n;
} Layout;

static TnStatus place(Gpu *g, Layout *l, Placement where, size_t bytes, size_t element, Piece *piece, TnError *err) {
    TN_TRY(gpu_piece(g, where, bytes, element, piece, err));
    l->pieces[l->n++] = piece;
    return TN_OK;
}

/* Slice bounds and the like: kernels read them while they are called. */
static bool on_host(const Case *c, uint32_t i) {
    return i < 32 && (tni_op_host_inputs(c->op) >> i & 1u) != 0;
}

static TnStatus place_inputs(Program *p, const Variant *v, const TnKernelQuery *q, int inplace, Layout *l, Result *r, TnError *err) {
    const Case *c = v->c;
    const TnKernel *k = p->kernel;
    for (uint32_t i = 0; i < c->n_in; i++) {
        size_t packed = c->constant[i] && k->packed_bytes != NULL ? k->packed_bytes(q, i) : 0;
        if (packed > 0) {
            TN_TRY(place(p->gpu, l, PLACE_ALIGNED, packed, 1, &r->packed[i], err));
            memset(r->packed[i].host, 0x5A, packed);
            k->pack(q, i, r->packed[i].host);
            continue; /* plans keep the packed form alone */
        }
        if (v->in[i].data == NULL || (int)i == inplace || on_host(c, i))
            continue;
        size_t bytes = tn_tensor_bytes(&v->in[i]);
        TN_TRY(place(p->gpu, l, c->place, bytes, element_size(v->in[i].dtype), &r->in[i], err));
        memcpy(r->in[i].host, v->in[i].data, bytes);
    }
    return TN_OK;
}

static TnStatus place_outputs(Program *p, const Variant *v, int byte, int inplace, Layout *l, Result *r, TnError *err) {
    const Case *c = v->c;
    for (uint32_t i = 0; i < c->n_out; i++) {
        const TnTensor t = variant_out(v, i);
        const size_t bytes = tn_tensor_bytes(&t);
        if (c->out[i].data == NULL)
            continue;
        TN_TRY(place(p->gpu, l, c->place, bytes, element_size(v->out[i].dtype), &r->out[i], err));
        if (i == 0 && inplace >= 0)
            memcpy(r->out[i].host, v->in[inplace].data, bytes);
        else if (p->options->poison)
            memset(r->out[i].host, byte, bytes);
        else
            r->out[i].host = NULL; /* nothing is brought over */
    }
    return TN_OK;
}

/* For outputs whose dims the kernel finds: the memory has the size that the reference needed. */
typedef struct Resize {
    const Variant *v;
    Result *r;
} Resize;

static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    const Resize *s = call->host;
    const TnTensor want = variant_out(s->v, i);
    if (rank != want.rank || memcmp(dims, want.dims, (size_t)rank * sizeof *dims) != 0) {
        char a[128], b[128];
        s->r->misshapen = true;
        return TN_RAISE(call->err, TN_ERR_SHAPE, "output %u was found to be %s, the reference has %s", i,
                        tni_shape_str(a, sizeof a, rank, dims), tni_shape_str(b, sizeof b, want.rank, want.dims));
    }
    call->out[i].rank = rank;
    memcpy(call->out[i].dims, dims, (size_t)rank * sizeof *dims);
    call->out[i].data = s->r->out[i].device;
    return TN_OK;
}

static TnStatus enqueue(Program *p, const Variant *v, int inplace, void *scratch, size_t scratch_bytes, Result *r) {
    TnTensor in[CASE_IN], out[CASE_OUT];
    const void *packed[CASE_IN] = {NULL};
    bool any = false;
    for (uint32_t i = 0; i < v->c->n_in; i++) {
        in[i] = v->in[i];
        in[i].data = (int)i == inplace ? r->out[0].device : on_host(v->c, i) ? v->in[i].data : r->in[i].device;
        packed[i] = r->packed[i].device;
        any = any || packed[i] != NULL;
    }
    for (uint32_t i = 0; i < v->c->n_out; i++) {
        out[i] = v->out[i];
        out[i].data = r->out[i].device;
    }
    Resize host = {v, r};
    TnKernelCall call = {.params = &v->c->params,
                         .dim_values = variant_dims,
                         .resize = resize,
                         .host = &host,
                         .in = in,
                         .n_in = v->c->n_in,
                         .out = out,
                         .n_out = v->c->n_out,
                         .packed = any ? packed : NULL,
                         .scratch = scratch,
                         .scratch_bytes = scratch_bytes,
                         .stream = p->gpu->stream,
                         .code = p->code,
                         .err = &r->err};
    return p->kernel->run(&call);
}

/* What must not change: inputs that are no state, packed constants. */
static bool kept(const Variant *v, const Result *r, int inplace) {
    for (uint32_t i = 0; i < v->c->n_in; i++)
        if (r->in[i].device != NULL && !v->c->state[i] && (int)i != inplace && memcmp(r->in[i].host, v->in[i].data, r->in[i].bytes) != 0)
            return false;
    return true;
}

TnStatus run_once(Program *p, const Variant *v, int byte, int inplace, Result *r, TnError *err) {
    Gpu *g = p->gpu;
    TnTensor qin[CASE_IN], qout[CASE_OUT];
    TnKernelQuery q = variant_query(v, g, qin, qout);
    Layout l = {.n = 0};
    void *scratch = NULL;
    int64_t index = 0, limit = 0;
    bool ok = true;
    memset(r, 0, sizeof *r);
    gpu_reset(g);
    TN_TRY(place_inputs(p, v, &q, inplace, &l, r, err));
    TN_TRY(place_outputs(p, v, byte, inplace, &l, r, err));
    size_t scratch_bytes = p->kernel->scratch != NULL ? p->kernel->scratch(&q) : 0;
    if (g->dry) /* packing and sizes are all there is to see */
        return gpu_guards_ok(g, l.pieces, l.n) ? TN_OK : TN_RAISE(err, TN_ERR_INTERNAL, "pack() wrote outside of its memory");
    TN_TRY(gpu_scratch(g, scratch_bytes, byte, p->options->poison, &scratch, err));
    TN_TRY(gpu_upload(g, l.pieces, l.n, err));
    r->status = enqueue(p, v, inplace, scratch, scratch_bytes, r);
    TN_TRY(gpu_download(g, l.pieces, l.n, err));
    TN_TRY(g->lib->take_fault(g->stream, &r->fault, &index, &limit, err));
    TN_TRY(gpu_scratch_ok(g, scratch_bytes, &ok, err));
    if (!ok)
        return TN_RAISE(err, TN_ERR_INTERNAL, "the kernel wrote behind its scratch memory of %zu bytes", scratch_bytes);
    if (!gpu_guards_ok(g, l.pieces, l.n))
        return TN_RAISE(err, TN_ERR_INTERNAL, "the kernel wrote outside of its operands");
    if (!kept(v, r, inplace))
        return TN_RAISE(err, TN_ERR_INTERNAL, "the kernel changed an input");
    return TN_OK;
}
