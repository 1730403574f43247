/* SPDX-License-Identifier: Apache-2.0
 *
 * Operators attention, attention_step and cache_append: what they accept, how much scratch they take, and their phases. */
#include "backend/cpu/attention/attention.h"

#define SCORE_FLOATS 65536 /* most of a block's scores: an eighth of a 2 MiB L2 cache */
#define LD_PAD 16

static bool is_f32(const TnTensor *t) {
    return t->dtype == TN_F32;
}

/* ---- attention ---- */

/* False when t does not have this layout with `heads` heads of d elements. */
static bool view_of(const TnTensor *t, uint32_t layout, uint32_t off, int64_t heads, int64_t d, TniAttnView *v, int64_t *s) {
    const int64_t *n = t->dims;
    *v = (TniAttnView){.p = t->data, .sd = 1};
    if (layout == TN_LAYOUT_BSHD) {
        int64_t w = t->rank == 3 ? n[2] : t->rank == 4 ? n[2] * n[3] : -1;
        if (t->rank == 4 && (n[2] != heads || n[3] != d || off != 0))
            return false;
        if (w < (int64_t)off + heads * d)
            return false;
        *s = n[1];
        v->sb = n[1] * w;
        v->ss = w;
        v->sh = d;
        if (v->p != NULL)
            v->p += off;
        return true;
    }
    bool swapped = layout == TN_LAYOUT_BHDS;
    if (t->rank != 4 || n[1] != heads || n[swapped ? 2 : 3] != d || off != 0 || (layout != TN_LAYOUT_BHSD && !swapped))
        return false;
    *s = n[swapped ? 3 : 2];
    v->sh = n[2] * n[3];
    v->sb = heads * v->sh;
    v->ss = swapped ? 1 : d;
    v->sd = swapped ? *s : 1;
    return true;
}

static bool bias_view(const TnTensor *t, const TniAttn *a, TniAttnView *v) {
    const int64_t want[4] = {a->b, a->h, a->sq, a->sk};
    int64_t stride[4] = {0, 0, 0, 0}, step = 1;
    if (!is_f32(t) || t->rank > 4)
        return false;
    for (int32_t i = t->rank - 1, at = 3; i >= 0; i--, at--) {
        if (t->dims[i] != 1 && t->dims[i] != want[at] && (at < 3 || t->dims[i] != tni_ceil_div(a->sk, TN_BIAS_PAD) * TN_BIAS_PAD))
            return false;
        stride[at] = t->dims[i] == 1 ? 0 : step;
        step *= t->dims[i];
    }
    *v = (TniAttnView){.p = t->data, .sb = stride[0], .sh = stride[1], .ss = stride[2], .sd = stride[3]};
    return true;
}

/* Everything but pointers into scratch; false when the operands do not fit. Works for queries and calls alike. */
static bool describe(TniAttn *a, const TnAttentionParams *p, const TnTensor *in, uint32_t n_in, const TnTensor *out,
                     const TniGemmIsa *isa) {
    int64_t sv = 0;
    *a = (TniAttn){.isa = isa, .h = p->heads, .kv = p->kv_heads, .d = p->d_qk, .dv = p->d_v, .scale = p->scale, .causal = p->causal != 0};
    if (a->h == 0 || a->kv == 0 || a->h % a->kv != 0 || a->d == 0 || a->dv == 0)
        return false;
    if (!is_f32(&in[0]) || !is_f32(&in[1]) || !is_f32(&in[2]) || !is_f32(out) || p->q_layout == TN_LAYOUT_BHDS ||
        p->v_layout == TN_LAYOUT_BHDS)
        return false;
    if (!view_of(&in[0], p->q_layout, p->q_off, a->h, a->d, &a->q, &a->sq) ||
        !view_of(&in[1], p->k_layout, p->k_off, a->kv, a->d, &a->k, &a->sk) ||
        !view_of(&in[2], p->v_layout, p->v_off, a->kv, a->dv, &a->v, &sv))
        return false;
    a->b = in[0].dims[0];
    if (sv != a->sk || in[1].dims[0] != a->b || in[2].dims[0] != a->b)
        return false;
    for (uint32_t i = 3; i < n_in; i++)
        if (in[i].dtype != TN_UNDEFINED && !bias_view(&in[i], a, &a->bias[i - 3]))
            return false;
    if (p->out_layout == TN_LAYOUT_BSHD) {
        a->out_ss = a->h * a->dv;
        a->out_sh = a->dv;
    } else if (p->out_layout == TN_LAYOUT_BHSD) {
        a->out_ss = a->dv;
        a->out_sh = a->sq * a->dv;
    } else {
        return false;
    }
    a->out_sb = a->sq * a->h * a->dv;
    a->out = out->data;
    a->k_floats = tni_gemm_packed_floats(isa, a->d, a->sk);
    a->v_floats = tni_gemm_packed_floats(isa, a->sk, a->dv);
    a->ld = tni_ceil_div(a->sk, 32) * 32 + LD_PAD; /* whole panels of any ISA */
    a->rows = 4 * isa->mr;
    while (a->rows > isa->mr && a->rows * a->ld > SCORE_FLOATS)
        a->rows /= 2;
    a->blocks = tni_ceil_div(a->sq, a->rows);
    a->rows = a->blocks > 0 ? tni_ceil_div(a->sq, a->blocks) : 0;
    size_t most = 4 * (size_t)isa->mr * (size_t)a->ld; /* the bound that grows with sk, whatever rows is */
    a->work_floats = TN_MAX(TN_MIN(most, (size_t)SCORE_FLOATS), (size_t)isa->mr * (size_t)a->ld) + 64;
    return true;
}

static size_t pack_floats(const TniAttn *a) {
    return tni_align_up((size_t)(a->b * a->kv) * a->k_floats, 16) + tni_align_up((size_t)(a->b * a->kv) * a->v_floats, 16);
}

static void pack_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const TniAttn *a = ctx;
    int64_t which = task & 1, head = task >> 1, b = head / a->kv, h = head % a->kv;
    if (which == 0) {
        TniPackB k = {.b = a->k.p + b * a->k.sb + h * a->k.sh, .sk = a->k.sd, .sn = a->k.ss, .k = a->d, .n = a->sk};
        a->isa->pack_b(&k, 0, tni_ceil_div(a->sk, a->isa->nr), a->k_packed + (size_t)head * a->k_floats);
    } else {
        TniPackB v = {.b = a->v.p + b * a->v.sb + h * a->v.sh, .sk = a->v.ss, .sn = a->v.sd, .k = a->sk, .n = a->dv};
        a->isa->pack_b(&v, 0, tni_ceil_div(a->dv, a->isa->nr), a->v_packed + (size_t)head * a->v_floats);
    }
}

static TnStatus attention_run(TnKernelCall *call, const TniGemmIsa *isa, const TniAttnIsa *attn) {
    TniAttn a;
    if (!describe(&a, call->params, call->in, call->n_in, &call->out[0], isa))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: operands do not have the layouts of the parameters");
    size_t packs = pack_floats(&a), need = (packs + tni_threads_count(call->threads) * a.work_floats) * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    a.k_packed = call->scratch;
    a.v_packed = a.k_packed + tni_align_up((size_t)(a.b * a.kv) * a.k_floats, 16);
    a.work = a.k_packed + packs;
    tni_parallel_for(call->threads, 2 * a.b * a.kv, pack_task, &a);
    tni_parallel_for(call->threads, a.b * a.h * a.blocks, attn->compute, &a);
    return TN_OK;
}

bool tni_attention_supports(const TnKernelQuery *q) {
    TniAttn a;
    return describe(&a, q->params, q->in, q->n_in, &q->out[0], &tni_gemm_isa_scalar);
}

static size_t attention_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    TniAttn a;
    if (!describe(&a, q->params, q->in, q->n_in, &q->out[0], isa))
        return 0;
    return (pack_floats(&a) + (size_t)TN_MAX(q->threads, 1u) * a.work_floats) * sizeof(float);
}

static double attention_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    TniAttn a;
    if (!describe(&a, q->params, q->in, q->n_in, &q->out[0], isa))
        return 1e30;
    double heads = (double)(a.b * a.h), scores = (double)a.sq * (double)a.sk;
    return 1000.0 + heads * scores * (2.0 * (double)(a.d + a.dv) / isa->flops_per_ns + 8.0 / isa->vl);
}

/* ---- attention_step ---- */

bool tni_attention_step_supports(const TnKernelQuery *q) {
    const TnAttentionStepParams *p = q->params;
    const TnTensor *x = &q->in[0], *k = &q->in[1], *v = &q->in[2], *lanes = &q->in[3], *len = &q->in[4], *y = &q->out[0];
    int64_t w = (int64_t)p->heads * p->d_head;
    if (!is_f32(x) || !is_f32(k) || !is_f32(v) || !is_f32(y) || lanes->dtype != TN_I32 || len->dtype != TN_I32)
        return false;
    if (w == 0 || x->rank != 2 || k->rank != 3 || v->rank != 3 || lanes->rank != 2 || y->rank != 2)
        return false;
    return x->dims[1] >= (int64_t)p->q_off + w && k->dims[2] == w && v->dims[2] == w && k->dims[0] == v->dims[0] &&
           k->dims[1] == v->dims[1] && lanes->dims[0] == x->dims[0] && (lanes->dims[1] == 1 || lanes->dims[1] == k->dims[1]) &&
           y->dims[0] == x->dims[0] && y->dims[1] == w && tn_tensor_numel(len) == 1;
}

static size_t step_floats(const TnTensor *cache) {
    return tni_align_up((size_t)cache->dims[1], 16) + 16;
}

size_t tni_attention_step_scratch(const TnKernelQuery *q) {
    return (size_t)TN_MAX(q->threads, 1u) * step_floats(&q->in[1]) * sizeof(float);
}

static TnStatus step_run(TnKernelCall *call, const TniAttnIsa *isa) {
    const TnAttentionStepParams *p = call->params;
    const TnTensor *cache = &call->in[1], *lanes = &call->in[3];
    TniAttnStep a = {.q = (const float *)call->in[0].data + p->q_off,
                     .k = cache->data,
                     .v = call->in[2].data,
                     .lanes = lanes->data,
                     .out = call->out[0].data,
                     .q_row = call->in[0].dims[1],
                     .rows = call->in[0].dims[0],
                     .lane_cols = lanes->dims[1],
                     .positions = cache->dims[1],
                     .length = *(const int32_t *)call->in[4].data,
                     .heads = p->heads,
                     .d = p->d_head,
                     .scale = p->scale,
                     .work = call->scratch,
                     .work_floats = step_floats(cache)};
    if (a.length < 1 || a.length > a.positions)
        return TN_RAISE(call->err, TN_ERR_RUN, "attention_step: length is %lld, expected 1 to %lld", (long long)a.length,
                        (long long)a.positions);
    int64_t used = a.lane_cols > 1 ? a.length : 1;
    for (int64_t r = 0; r < a.rows; r++)
        for (int64_t j = 0; j < used; j++)
            if (a.lanes[r * a.lane_cols + j] < 0 || a.lanes[r * a.lane_cols + j] >= cache->dims[0])
                return TN_RAISE(call->err, TN_ERR_RUN,
                                "attention_step: lane %d of row %lld, position %lld is outside the cache's %lld lanes",
                                (int)a.lanes[r * a.lane_cols + j], (long long)r, (long long)j, (long long)cache->dims[0]);
    if (call->scratch_bytes < tni_threads_count(call->threads) * a.work_floats * sizeof(float))
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "attention_step: %zu bytes of scratch are too few", call->scratch_bytes);
    /* A task should move at least 64 KB of cache. */
    a.per_group = TN_MIN(TN_MAX(8192 / TN_MAX(a.length * a.d, 1), 1), a.heads);
    a.groups = tni_ceil_div(a.heads, a.per_group);
    tni_parallel_for(call->threads, a.rows * a.groups, isa->step, &a);
    return TN_OK;
}

static double step_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    const TnAttentionStepParams *p = q->params;
    double macs = (double)q->in[0].dims[0] * (double)q->in[1].dims[1] * p->heads * p->d_head * 2.0;
    return 300.0 + macs * (8.0 / 20.0 + 4.0 / isa->flops_per_ns);
}

/* ---- cache_append ---- */

bool tni_cache_append_supports(const TnKernelQuery *q) {
    const TnCacheAppendParams *p = q->params;
    const TnTensor *x = &q->in[0], *cache = &q->in[1], *where = &q->in[2];
    return is_f32(x) && is_f32(cache) && where->dtype == TN_I32 && x->rank == 2 && cache->rank == 3 && where->rank == 2 &&
           where->dims[0] == x->dims[0] && where->dims[1] == 2 && cache->dims[2] == (int64_t)p->width &&
           x->dims[1] >= (int64_t)p->off + (int64_t)p->width;
}

TnStatus tni_cache_append_run(TnKernelCall *call) {
    const TnCacheAppendParams *p = call->params;
    const TnTensor *x = &call->in[0], *cache = &call->in[1];
    const int32_t *where = call->in[2].data;
    for (int64_t r = 0; r < x->dims[0]; r++) {
        int64_t lane = where[2 * r], pos = where[2 * r + 1];
        if (lane < 0 || lane >= cache->dims[0] || pos < 0 || pos >= cache->dims[1])
            return TN_RAISE(call->err, TN_ERR_RUN, "cache_append: row %lld goes to lane %lld, position %lld of a cache of %lld x %lld",
                            (long long)r, (long long)lane, (long long)pos, (long long)cache->dims[0], (long long)cache->dims[1]);
        memcpy((float *)cache->data + (lane * cache->dims[1] + pos) * p->width, (const float *)x->data + r * x->dims[1] + p->off,
               p->width * sizeof(float));
    }
    return TN_OK;
}

double tni_cache_append_cost(const TnKernelQuery *q) {
    const TnCacheAppendParams *p = q->params;
    return 50.0 + (double)q->in[0].dims[0] * (20.0 + p->width * 0.5);
}

/* The functions that kernels.inc names: one set an ISA. */
#define ATTENTION_ENTRIES(isa)                                                                                                             \
    TnStatus tni_attention_run_##isa(TnKernelCall *call) {                                                                                 \
        return attention_run(call, &tni_gemm_isa_##isa, &tni_attention_isa_##isa);                                                         \
    }                                                                                                                                      \
    size_t tni_attention_scratch_##isa(const TnKernelQuery *q) {                                                                           \
        return attention_scratch(q, &tni_gemm_isa_##isa);                                                                                  \
    }                                                                                                                                      \
    double tni_attention_cost_##isa(const TnKernelQuery *q) {                                                                              \
        return attention_cost(q, &tni_gemm_isa_##isa);                                                                                     \
    }                                                                                                                                      \
    TnStatus tni_attention_step_run_##isa(TnKernelCall *call) {                                                                            \
        return step_run(call, &tni_attention_isa_##isa);                                                                                   \
    }                                                                                                                                      \
    double tni_attention_step_cost_##isa(const TnKernelQuery *q) {                                                                         \
        return step_cost(q, &tni_gemm_isa_##isa);                                                                                          \
    }

ATTENTION_ENTRIES(scalar)
#if defined(__x86_64__)
ATTENTION_ENTRIES(avx2)
ATTENTION_ENTRIES(avx512)
#endif
