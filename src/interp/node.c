/* SPDX-License-Identifier: Apache-2.0
 *
 * One node: output dims from the shape rule, memory, scratch, the reference kernel. */
#include "backend/registry.h"
#include "interp/run.h"
#include "shape/shape.h"

TnStatus tni_interp_alloc(const Run *r, TnTensor *t) {
    size_t bytes = 0;
    if (!tni_shape_bytes(t->dtype, t->rank, t->dims, NULL, &bytes)) {
        char text[128];
        return TN_RAISE(r->err, TN_ERR_LIMIT, "a tensor of type %s and shape %s is too large", tn_dtype_name(t->dtype),
                        tni_shape_str(text, sizeof text, t->rank, t->dims));
    }
    t->data = tni_alloc_aligned(r->a, TN_MAX(bytes, 1), 64);
    return t->data == NULL ? TN_OOM(r->err, bytes) : TN_OK;
}

TnStatus tni_interp_copy(const Run *r, const TnTensor *from, TnTensor *to) {
    *to = *from;
    to->data = NULL;
    TN_TRY(tni_interp_alloc(r, to));
    if (tn_tensor_bytes(from) > 0)
        memcpy(to->data, from->data, tn_tensor_bytes(from));
    return TN_OK;
}

void tni_interp_free(const Run *r, TnTensor *t, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        if (t[i].data != NULL)
            tni_free(r->a, t[i].data);
        t[i].data = NULL;
    }
}

/* The call's host: what resize needs. */
typedef struct Host {
    const Run *r;
    const IrNode *node;
} Host;

static TnStatus resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    const Host *h = call->host;
    if (i >= call->n_out || rank < 0 || rank > TN_MAX_RANK)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "a kernel asked for output %u of rank %d", i, (int)rank);
    TnTensor *t = &call->out[i];
    t->rank = rank;
    memcpy(t->dims, dims, (size_t)rank * sizeof dims[0]);
    return h->node->out[i] == TN_NO_VALUE ? TN_OK : tni_interp_alloc(h->r, t);
}

static TnStatus check_dims_known(const Run *r, const TnDimsParams *p, const Env *env) {
    for (uint32_t i = 0; i < p->n && i < TN_DIMS_MAX; i++) {
        char text[256];
        if (p->dim[i] >= r->m->n_exprs || env->has_value[p->dim[i]] == 0)
            return TN_RAISE(r->err, TN_ERR_UNSUPPORTED, "dimension %u (%s) is not known here", i,
                            p->dim[i] >= r->m->n_exprs ? "?" : tni_dim_str(text, sizeof text, r->m->exprs, r->m->symbols, p->dim[i]));
    }
    return TN_OK;
}

static TnStatus call_kernel(const Run *r, const IrNode *node, const Env *env, const void *params, const TnTensor *in, TnTensor *out) {
    const TnKernel *k = tni_kernel_ref(node->op);
    if (k == NULL)
        return TN_RAISE(r->err, TN_ERR_INTERNAL, "there is no reference kernel");
    TnKernelQuery q = {node->op, params, in, node->n_in, out, node->n_out, tni_threads_count(r->threads), NULL};
    const size_t bytes = k->scratch == NULL ? 0 : k->scratch(&q);
    void *scratch = NULL;
    if (bytes > 0 && (scratch = tni_alloc_aligned(r->a, bytes, 64)) == NULL)
        return TN_OOM(r->err, bytes);
    Host host = {r, node};
    TnKernelCall call = {.params = params,
                         .in = in,
                         .n_in = node->n_in,
                         .out = out,
                         .n_out = node->n_out,
                         .scratch = scratch,
                         .scratch_bytes = bytes,
                         .threads = r->threads,
                         .dim_values = env->values,
                         .resize = resize,
                         .host = &host,
                         .err = r->err};
    TnStatus st = k->run(&call);
    tni_free(r->a, scratch);
    return st;
}

/* A failure of anything below names the innermost node, once. */
static TnStatus name_node(const Run *r, const IrNode *node, TnStatus st) {
    if (st == TN_OK || r->err->node[0] != 0)
        return st;
    char text[sizeof r->err->message];
    memcpy(text, r->err->message, sizeof text);
    return tni_raise_node(r->err, st, node->name, "%s", text);
}

static TnStatus run_plain(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out) {
    const TnOpInfo *info = tni_op_info(node->op);
    TnArena *arena = NULL;
    TnStatus st = tni_arena_create(r->a, &arena, r->err);
    if (st != TN_OK)
        return st;
    /* The shape rule may normalise axes: in a copy, since the graph may be read by others. */
    void *params = tni_arena_calloc(arena, 1, info->params_size);
    if (params == NULL) {
        st = TN_OOM(r->err, info->params_size);
        goto fail;
    }
    if (node->params != NULL)
        memcpy(params, node->params, info->params_size);
    if (node->op == TN_OP_dims)
        TN_TRY_GOTO(check_dims_known(r, params, env));
    TN_TRY_GOTO(tni_shape_concrete(node->op, params, in, node->n_in, out, node->n_out, arena, r->err));
    for (uint32_t i = 0; i < node->n_out; i++) {
        out[i].data = NULL;
        if (node->out[i] != TN_NO_VALUE && (info->flags & TN_OPF_DATA_SHAPE) == 0)
            TN_TRY_GOTO(tni_interp_alloc(r, &out[i]));
    }
    TN_TRY_GOTO(call_kernel(r, node, env, params, in, out));
fail:
    tni_arena_destroy(&arena);
    return st;
}

TnStatus tni_interp_step(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out) {
    memset(out, 0, node->n_out * sizeof *out);
    TnStatus st;
    if ((tni_op_info(node->op)->flags & TN_OPF_STATE) != 0)
        st = TN_RAISE(r->err, TN_ERR_UNSUPPORTED, "the interpreter runs no operators that change state; run the generation plan instead");
    else if (node->op == TN_OP_if_)
        st = tni_interp_if(r, node, env, in, out);
    else if (node->op == TN_OP_loop)
        st = tni_interp_loop(r, node, env, in, out);
    else
        st = run_plain(r, node, env, in, out);
    if (st != TN_OK)
        tni_interp_free(r, out, node->n_out);
    return name_node(r, node, st);
}

TnStatus tni_interp_node(const IrModule *m, const IrNode *node, const TnTensor *in, TnTensor *out, const TnAllocator *a, TnThreads *threads,
                         TnError *err) {
    TnError local = {0};
    const Run r = {m, a == NULL ? tni_default_allocator() : a, threads, err == NULL ? &local : err};
    Env env;
    TN_TRY(tni_interp_env_create(m, r.a, NULL, &env, r.err));
    TnStatus st = tni_interp_step(&r, node, &env, in, out);
    tni_interp_env_destroy(&env);
    return st;
}
