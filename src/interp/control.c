/* SPDX-License-Identifier: Apache-2.0
 *
 * if_ and loop: subgraphs on tensors. Each run of a subgraph works on a copy of what is known of the symbols. */
#include "base/dtype.h"
#include "interp/run.h"

static TnStatus run_body(const Run *r, IrGraphId g, const Env *env, const TnTensor *in, TnTensor *out) {
    Env own;
    TN_TRY(tni_interp_env_create(r->m, r->a, env, &own, r->err));
    TnStatus st = tni_interp_graph(r, g, &own, in, out, NULL, NULL);
    tni_interp_env_destroy(&own);
    return st;
}

static TnStatus check_body(const Run *r, IrGraphId g, uint32_t n_in, uint32_t n_out) {
    if (g >= r->m->n_graphs)
        return TN_RAISE(r->err, TN_ERR_INTERNAL, "the node names graph %u of %u", g, r->m->n_graphs);
    const IrGraph *body = r->m->graphs[g];
    if (body->n_inputs != n_in || body->n_outputs != n_out)
        return TN_RAISE(r->err, TN_ERR_INTERNAL, "graph '%s' takes %u inputs and makes %u outputs, the node wants %u and %u", body->name,
                        body->n_inputs, body->n_outputs, n_in, n_out);
    return TN_OK;
}

/* A condition or trip count: one element. */
static TnStatus scalar(const Run *r, const TnTensor *t, const char *what, int64_t *out) {
    if (tn_tensor_numel(t) != 1)
        return TN_RAISE(r->err, TN_ERR_RUN, "the %s must be one element, found %lld", what, (long long)tn_tensor_numel(t));
    *out = tni_load_i64(t->dtype, t->data, 0);
    return TN_OK;
}

static void drop_unwanted(const Run *r, const IrNode *node, TnTensor *out) {
    for (uint32_t i = 0; i < node->n_out; i++)
        if (node->out[i] == TN_NO_VALUE)
            tni_interp_free(r, &out[i], 1);
}

TnStatus tni_interp_if(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out) {
    const TnControlParams *p = node->params;
    int64_t cond = 0;
    TN_TRY(scalar(r, &in[0], "condition", &cond));
    const IrGraphId g = p->graph[cond != 0 ? 0 : 1];
    TN_TRY(check_body(r, g, node->n_in - 1, node->n_out));
    TN_TRY(run_body(r, g, env, in + 1, out));
    drop_unwanted(r, node, out);
    return TN_OK;
}

/* ---- loop ---- */
typedef struct Loop {
    const Run *r;
    const IrNode *node;
    const IrGraph *body;
    uint32_t n_carried, n_scan;
    TnTensor *in, *out; /* of the body */
    TnTensor *scan;     /* [n_scan] stacked so far: dims[0] iterations in memory for `room` */
    int64_t *room;      /* [n_scan] */
    bool owned;         /* in's carried tensors are ours */
} Loop;

/* Appends the body's scan output i to its stack. */
static TnStatus append(Loop *l, uint32_t i) {
    const Run *r = l->r;
    const TnTensor *x = &l->out[1 + l->n_carried + i];
    TnTensor *s = &l->scan[i];
    if (x->rank >= TN_MAX_RANK)
        return TN_RAISE(r->err, TN_ERR_LIMIT, "scan output %u would have rank %d, the limit is %d", i, (int)x->rank + 1, TN_MAX_RANK);
    if (tn_dtype_bits(x->dtype) < 8)
        return TN_RAISE(r->err, TN_ERR_UNSUPPORTED, "scan output %u has type %s, whose elements are no whole bytes", i,
                        tn_dtype_name(x->dtype));
    const int64_t n = s->data == NULL ? 0 : s->dims[0];
    if (n > 0 &&
        (s->rank != x->rank + 1 || s->dtype != x->dtype || memcmp(s->dims + 1, x->dims, (size_t)x->rank * sizeof x->dims[0]) != 0)) {
        char a[128], b[128];
        return TN_RAISE(r->err, TN_ERR_RUN, "scan output %u has shape %s in one iteration and %s in the next; they cannot be stacked", i,
                        tni_shape_str(a, sizeof a, s->rank - 1, s->dims + 1), tni_shape_str(b, sizeof b, x->rank, x->dims));
    }
    if (n == l->room[i] || s->data == NULL) {
        TnTensor grown = {.dtype = x->dtype, .rank = x->rank + 1};
        grown.dims[0] = n == 0 ? 4 : 2 * n;
        memcpy(grown.dims + 1, x->dims, (size_t)x->rank * sizeof x->dims[0]);
        TN_TRY(tni_interp_alloc(r, &grown));
        l->room[i] = grown.dims[0];
        grown.dims[0] = n;
        if (n > 0 && tn_tensor_bytes(s) > 0)
            memcpy(grown.data, s->data, tn_tensor_bytes(s));
        tni_interp_free(r, s, 1);
        *s = grown;
    }
    const size_t bytes = tn_tensor_bytes(x);
    if (bytes > 0)
        memcpy((uint8_t *)s->data + (size_t)n * bytes, x->data, bytes);
    s->dims[0] = n + 1;
    return TN_OK;
}

/* A scan output of no iterations: its dims as far as they are known, else 0. */
static TnStatus empty_scan(const Loop *l, const Env *env, uint32_t i, TnTensor *t) {
    const IrValue *v = &l->body->values[l->body->outputs[1 + l->n_carried + i]];
    *t = (TnTensor){.dtype = v->dtype, .rank = TN_MIN(TN_MAX(v->rank, 0) + 1, TN_MAX_RANK)};
    for (int32_t d = 1; d < t->rank; d++) {
        TnDim dim = v->dims[d - 1];
        t->dims[d] = dim != TN_DIM_NONE && env->has_value[dim] != 0 ? env->values[dim] : 0;
    }
    return tni_interp_alloc(l->r, t);
}

/* One iteration; *go becomes the body's condition. */
static TnStatus iterate(Loop *l, const Env *env, const TnControlParams *p, int64_t k, uint8_t *go) {
    const Run *r = l->r;
    l->in[0] = (TnTensor){.data = &k, .dtype = TN_I64};
    l->in[1] = (TnTensor){.data = go, .dtype = TN_BOOL};
    TN_TRY(run_body(r, p->graph[0], env, l->in, l->out));
    int64_t cond = 0;
    TnStatus st = scalar(r, &l->out[0], "condition of the body", &cond);
    for (uint32_t i = 0; i < l->n_scan && st == TN_OK; i++)
        st = append(l, i);
    tni_interp_free(r, &l->out[0], 1);
    tni_interp_free(r, l->out + 1 + l->n_carried, l->n_scan);
    if (l->owned)
        tni_interp_free(r, l->in + 2, l->n_carried);
    memcpy(l->in + 2, l->out + 1, l->n_carried * sizeof *l->in);
    l->owned = true;
    *go = cond != 0;
    return st;
}

static TnStatus finish(Loop *l, const Env *env, TnTensor *out) {
    for (uint32_t i = 0; i < l->n_carried; i++) {
        if (l->owned) {
            out[i] = l->in[2 + i];
            l->in[2 + i].data = NULL;
        } else {
            TN_TRY(tni_interp_copy(l->r, &l->in[2 + i], &out[i]));
        }
    }
    for (uint32_t i = 0; i < l->n_scan; i++) {
        TnTensor *t = &out[l->n_carried + i];
        if (l->scan[i].data == NULL) {
            TN_TRY(empty_scan(l, env, i, t));
        } else {
            *t = l->scan[i];
            l->scan[i].data = NULL;
        }
    }
    return TN_OK;
}

static TnStatus run_loop(Loop *l, const Env *env, const TnTensor *in, TnTensor *out) {
    const Run *r = l->r;
    const TnControlParams *p = l->node->params;
    int64_t trips = INT64_MAX, start = 1;
    if (in[0].dtype != TN_UNDEFINED)
        TN_TRY(scalar(r, &in[0], "trip count", &trips));
    if (in[1].dtype != TN_UNDEFINED)
        TN_TRY(scalar(r, &in[1], "start condition", &start));
    memcpy(l->in + 2, in + 2, (l->node->n_in - 2) * sizeof *in);
    uint8_t go = start != 0;
    for (int64_t k = 0; k < trips && go != 0; k++)
        TN_TRY(iterate(l, env, p, k, &go));
    return finish(l, env, out);
}

TnStatus tni_interp_loop(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out) {
    const TnControlParams *p = node->params;
    if (node->n_in < 2 + p->n_carried || node->n_out != p->n_carried + p->n_scan)
        return TN_RAISE(r->err, TN_ERR_INTERNAL, "the loop's operands do not fit its %u carried values and %u scan outputs", p->n_carried,
                        p->n_scan);
    TN_TRY(check_body(r, p->graph[0], node->n_in, node->n_out + 1));
    const size_t n = (size_t)node->n_in + node->n_out + 1 + p->n_scan, bytes = n * sizeof(TnTensor) + p->n_scan * sizeof(int64_t);
    TnTensor *mem = tni_calloc(r->a, 1, bytes);
    if (mem == NULL)
        return TN_OOM(r->err, bytes);
    Loop l = {.r = r,
              .node = node,
              .body = r->m->graphs[p->graph[0]],
              .n_carried = p->n_carried,
              .n_scan = p->n_scan,
              .in = mem,
              .out = mem + node->n_in,
              .scan = mem + node->n_in + node->n_out + 1,
              .room = (int64_t *)(void *)(mem + n)};
    TnStatus st = run_loop(&l, env, in, out);
    if (l.owned)
        tni_interp_free(r, l.in + 2, l.n_carried);
    tni_interp_free(r, l.scan, l.n_scan);
    tni_free(r->a, mem);
    if (st == TN_OK)
        drop_unwanted(r, node, out);
    return st;
}
