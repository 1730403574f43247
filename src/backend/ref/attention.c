/* SPDX-License-Identifier: Apache-2.0
 *
 * attention, attention_step, cache_append. Scores of a block of queries against all keys in double, softmax, product with v. */
#include <math.h>

#include "backend/ref/ref.h"

/* Where head h, token s, element d of an operand is: data[b * batch + h * head + s * token + d * elem + off]. */
typedef struct Heads {
    const TnTensor *t;
    int64_t batch, head, token, elem, off, tokens;
} Heads;

typedef struct Attention {
    const TnKernelCall *call;
    const TnAttentionParams *p;
    Heads q, k, v, y;
    RefView bias[2];
    bool has_bias[2];
    int64_t bias_row[2]; /* columns of a row of the view: keys, or their number rounded up */
    int64_t batch, row_blocks;
    uint8_t *scratch;
    size_t per_worker;
} Attention;

/* Score rows hold whole tiles, so that tiles can be written in place. */
static int64_t padded(int64_t sk) {
    return (sk + REF_TILE_N - 1) / REF_TILE_N * REF_TILE_N;
}

static size_t worker_bytes(int64_t sk) {
    return REF_TILE_BYTES + (size_t)padded(sk) * REF_TILE_M * sizeof(double);
}

static int64_t tokens_of(const TnTensor *t, uint32_t layout) {
    if (layout == TN_LAYOUT_BSHD)
        return t->rank >= 2 ? t->dims[1] : 0;
    return t->rank == 4 ? t->dims[layout == TN_LAYOUT_BHSD ? 2 : 3] : 0;
}

size_t tni_ref_attention_scratch(const TnKernelQuery *q) {
    const TnAttentionParams *p = q->params;
    return q->threads * worker_bytes(tokens_of(&q->in[1], p->k_layout));
}

static bool heads_of(const TnTensor *t, uint32_t layout, int64_t heads, int64_t d, int64_t off, Heads *h) {
    *h = (Heads){.t = t, .off = off, .elem = 1};
    if (layout == TN_LAYOUT_BSHD && (t->rank == 3 || t->rank == 4)) {
        int64_t width = tni_ref_product_of(t->dims, 2, t->rank);
        h->tokens = t->dims[1];
        h->token = width;
        h->head = d;
        h->batch = width * h->tokens;
        return off + heads * d <= width;
    }
    if (t->rank != 4 || off != 0 || t->dims[1] != heads || t->dims[layout == TN_LAYOUT_BHSD ? 3 : 2] != d || layout > TN_LAYOUT_BHDS)
        return false;
    h->tokens = t->dims[layout == TN_LAYOUT_BHSD ? 2 : 3];
    h->token = layout == TN_LAYOUT_BHSD ? d : 1;
    h->elem = layout == TN_LAYOUT_BHSD ? 1 : h->tokens;
    h->head = d * h->tokens;
    h->batch = h->head * heads;
    return true;
}

static int64_t at(const Heads *h, int64_t b, int64_t head, int64_t s, int64_t d) {
    return b * h->batch + head * h->head + s * h->token + d * h->elem + h->off;
}

/* scores[i][j] = scale * q_i k_j for m queries from i0. */
static void scores_of(const Attention *a, int64_t b, int64_t h, int64_t i0, int64_t m, double *tile, double *scores) {
    const int64_t hk = h / (a->p->heads / a->p->kv_heads), D = a->p->d_qk, sk = a->k.tokens, row = padded(sk);
    double *c = tile, *qa = c + REF_TILE_M * REF_TILE_N, *kb = qa + REF_TILE_M * REF_TILE_K;
    for (int64_t j0 = 0; j0 < sk; j0 += REF_TILE_N) {
        const int64_t n = TN_MIN(sk - j0, REF_TILE_N);
        memset(c, 0, REF_TILE_M * REF_TILE_N * sizeof(double));
        memset(kb, 0, REF_TILE_K * REF_TILE_N * sizeof(double));
        for (int64_t d0 = 0; d0 < D; d0 += REF_TILE_K) {
            const int64_t nd = TN_MIN(D - d0, REF_TILE_K);
            for (int64_t d = 0; d < nd; d++)
                tni_ref_load_f64(a->k.t->dtype, a->k.t->data, at(&a->k, b, hk, j0, d0 + d), a->k.token, n, kb + d * REF_TILE_N);
            for (int64_t i = 0; i < m; i++)
                tni_ref_load_f64(a->q.t->dtype, a->q.t->data, at(&a->q, b, h, i0 + i, d0), a->q.elem, nd, qa + i * REF_TILE_K);
            tni_ref_multiply(c, qa, kb, m, nd);
        }
        for (int64_t i = 0; i < m; i++)
            for (int64_t j = 0; j < n; j++)
                scores[i * row + j0 + j] = (double)a->p->scale * c[i * REF_TILE_N + j];
    }
}

/* As bias[i] sees the scores; false when it does not broadcast to them. */
static bool view_bias(Attention *a, uint32_t i, const TnTensor *t, const int64_t *scores) {
    const int64_t whole = (scores[3] + TN_BIAS_PAD - 1) / TN_BIAS_PAD * TN_BIAS_PAD;
    const int64_t dims[4] = {scores[0], scores[1], scores[2], t->rank > 0 && t->dims[t->rank - 1] == whole ? whole : scores[3]};
    a->has_bias[i] = true;
    a->bias_row[i] = dims[3];
    return tni_ref_view(t, 4, dims, &a->bias[i]);
}

static void add_biases(const Attention *a, int64_t row, int64_t sk, double *s) {
    double t[REF_BLOCK];
    for (int w = 0; w < 2; w++)
        for (int64_t j = 0; a->has_bias[w] && j < sk; j += REF_BLOCK) {
            int64_t n = TN_MIN(sk - j, REF_BLOCK);
            tni_ref_view_f64(&a->bias[w], row * a->bias_row[w] + j, n, t);
            for (int64_t k = 0; k < n; k++)
                s[j + k] += t[k];
        }
}

/* In place; an all -inf row gives NaN. */
static void softmax(int64_t n, double *s) {
    double max = -INFINITY, sum = 0.0;
    for (int64_t j = 0; j < n; j++)
        max = max != max || s[j] <= max ? max : s[j]; /* the first NaN stays */
    for (int64_t j = 0; j < n; j++) {
        s[j] = exp(s[j] - max);
        sum += s[j];
    }
    for (int64_t j = 0; j < n; j++)
        s[j] /= sum;
}

/* y_i = sum_j scores[i][j] v_j. */
static void weighted(const Attention *a, int64_t b, int64_t h, int64_t i0, int64_t m, double *tile, const double *scores) {
    const int64_t hk = h / (a->p->heads / a->p->kv_heads), D = a->p->d_v, sk = a->k.tokens, row = padded(sk);
    double *c = tile, *sa = c + REF_TILE_M * REF_TILE_N, *vb = sa + REF_TILE_M * REF_TILE_K;
    for (int64_t d0 = 0; d0 < D; d0 += REF_TILE_N) {
        const int64_t nd = TN_MIN(D - d0, REF_TILE_N);
        memset(c, 0, REF_TILE_M * REF_TILE_N * sizeof(double));
        memset(vb, 0, REF_TILE_K * REF_TILE_N * sizeof(double));
        for (int64_t j0 = 0; j0 < sk; j0 += REF_TILE_K) {
            const int64_t nj = TN_MIN(sk - j0, REF_TILE_K);
            for (int64_t j = 0; j < nj; j++)
                tni_ref_load_f64(a->v.t->dtype, a->v.t->data, at(&a->v, b, hk, j0 + j, d0), a->v.elem, nd, vb + j * REF_TILE_N);
            for (int64_t i = 0; i < m; i++)
                memcpy(sa + i * REF_TILE_K, scores + i * row + j0, (size_t)nj * sizeof(double));
            tni_ref_multiply(c, sa, vb, m, nj);
        }
        for (int64_t i = 0; i < m; i++)
            tni_ref_store_f64(a->y.t->dtype, a->y.t->data, at(&a->y, b, h, i0 + i, d0), a->y.elem, nd, c + i * REF_TILE_N);
    }
}

static void attention_task(void *ctx, int64_t task, uint32_t worker) {
    const Attention *a = ctx;
    const int64_t H = a->p->heads, sq = a->q.tokens, sk = a->k.tokens;
    const int64_t block = task % a->row_blocks, h = task / a->row_blocks % H, b = task / a->row_blocks / H;
    const int64_t i0 = block * REF_TILE_M, m = TN_MIN(sq - i0, REF_TILE_M), row = padded(sk);
    double *tile = (double *)(void *)(a->scratch + worker * a->per_worker);
    double *scores = tile + REF_TILE_BYTES / sizeof(double);
    scores_of(a, b, h, i0, m, tile, scores);
    for (int64_t i = 0; i < m; i++) {
        double *s = scores + i * row;
        add_biases(a, (b * H + h) * sq + i0 + i, sk, s);
        for (int64_t j = 0; a->p->causal != 0 && j < sk; j++)
            if (j > i0 + i + sk - sq)
                s[j] = -INFINITY;
        softmax(sk, s);
    }
    weighted(a, b, h, i0, m, tile, scores);
}

TnStatus tni_ref_attention(TnKernelCall *call) {
    const TnAttentionParams *p = call->params;
    Attention a = {.call = call, .p = p};
    if (p->heads == 0 || p->kv_heads == 0 || p->heads % p->kv_heads != 0 || p->v_layout == TN_LAYOUT_BHDS ||
        p->q_layout == TN_LAYOUT_BHDS || p->out_layout == TN_LAYOUT_BHDS ||
        !heads_of(&call->in[0], p->q_layout, p->heads, p->d_qk, p->q_off, &a.q) ||
        !heads_of(&call->in[1], p->k_layout, p->kv_heads, p->d_qk, p->k_off, &a.k) ||
        !heads_of(&call->in[2], p->v_layout, p->kv_heads, p->d_v, p->v_off, &a.v) ||
        !heads_of(&call->out[0], p->out_layout, p->heads, p->d_v, 0, &a.y) || a.v.tokens != a.k.tokens || a.y.tokens != a.q.tokens)
        return tni_ref_bad_call(call, "attention", "operands whose shapes do not fit its layouts");
    int64_t dims[4] = {call->in[0].dims[0], p->heads, a.q.tokens, a.k.tokens};
    if (call->in[1].dims[0] != dims[0] || call->in[2].dims[0] != dims[0] || call->out[0].dims[0] != dims[0])
        return tni_ref_bad_call(call, "attention", "operands of different batch sizes");
    for (uint32_t i = 0; i < 2; i++)
        if (tni_ref_has(call, 3 + i) && !view_bias(&a, i, &call->in[3 + i], dims))
            return tni_ref_bad_call(call, "attention", "a bias that does not broadcast to the scores");
    if (tn_tensor_numel(&call->out[0]) == 0)
        return TN_OK;
    a.batch = dims[0];
    a.row_blocks = (a.q.tokens - 1) / REF_TILE_M + 1;
    a.scratch = call->scratch;
    a.per_worker = worker_bytes(a.k.tokens);
    TN_TRY(tni_ref_need_scratch(call, "attention", a.per_worker * tni_threads_count(call->threads)));
    tni_parallel_for(call->threads, a.batch * p->heads * a.row_blocks, attention_task, &a);
    return TN_OK;
}

/* ---- one step of generation ---- */
typedef struct Step {
    const TnKernelCall *call;
    int64_t length, positions, width, q_width, lane_cols;
} Step;

static int64_t lane_of(const Step *s, int64_t row, int64_t pos) {
    const TnTensor *lanes = &s->call->in[3];
    return tni_load_i64(lanes->dtype, lanes->data, row * s->lane_cols + (s->lane_cols == 1 ? 0 : pos));
}

static void step_task(void *ctx, int64_t task, uint32_t worker) {
    const Step *s = ctx;
    const TnKernelCall *c = s->call;
    const TnAttentionStepParams *p = c->params;
    const int64_t H = p->heads, D = p->d_head, row = task / H, h = task % H;
    const TnTensor *q = &c->in[0], *k = &c->in[1], *v = &c->in[2], *y = &c->out[0];
    double *score = (double *)c->scratch + worker * s->positions;
    for (int64_t pos = 0; pos < s->length; pos++) {
        int64_t kv = (lane_of(s, row, pos) * s->positions + pos) * s->width + h * D;
        double sum = 0.0;
        for (int64_t d = 0; d < D; d++)
            sum += tni_load_f64(q->dtype, q->data, row * s->q_width + p->q_off + h * D + d) * tni_load_f64(k->dtype, k->data, kv + d);
        score[pos] = (double)p->scale * sum;
    }
    softmax(s->length, score);
    for (int64_t d = 0; d < D; d++) {
        double sum = 0.0;
        for (int64_t pos = 0; pos < s->length; pos++)
            sum += score[pos] * tni_load_f64(v->dtype, v->data, (lane_of(s, row, pos) * s->positions + pos) * s->width + h * D + d);
        tni_store_f64(y->dtype, y->data, row * H * D + h * D + d, sum);
    }
}

TnStatus tni_ref_attention_step(TnKernelCall *call) {
    const TnAttentionStepParams *p = call->params;
    const TnTensor *q = &call->in[0], *k = &call->in[1], *v = &call->in[2], *lanes = &call->in[3];
    const int64_t width = (int64_t)p->heads * p->d_head;
    if (q->rank != 2 || k->rank != 3 || v->rank != 3 || lanes->rank != 2 || tn_tensor_numel(&call->in[4]) != 1 || k->dims[2] != width ||
        memcmp(k->dims, v->dims, 3 * sizeof k->dims[0]) != 0 || lanes->dims[0] != q->dims[0] || q->dims[1] < (int64_t)p->q_off + width ||
        (lanes->dims[1] != 1 && lanes->dims[1] != k->dims[1]) || tn_tensor_numel(&call->out[0]) != q->dims[0] * width)
        return tni_ref_bad_call(call, "attention_step", "operands whose shapes do not fit");
    Step s = {call, tni_load_i64(call->in[4].dtype, call->in[4].data, 0), k->dims[1], width, q->dims[1], lanes->dims[1]};
    if (s.length < 0 || s.length > s.positions)
        return TN_RAISE(call->err, TN_ERR_RUN, "attention_step: length %lld is out of range: the cache has %lld positions",
                        (long long)s.length, (long long)s.positions);
    for (int64_t r = 0; r < q->dims[0]; r++)
        for (int64_t pos = 0; pos < (s.lane_cols == 1 ? TN_MIN(s.length, 1) : s.length); pos++) {
            int64_t lane = lane_of(&s, r, pos);
            if (lane < 0 || lane >= k->dims[0])
                return TN_RAISE(call->err, TN_ERR_RUN,
                                "attention_step: lane %lld of row %lld, position %lld is out of range: the cache has "
                                "%lld lanes",
                                (long long)lane, (long long)r, (long long)pos, (long long)k->dims[0]);
        }
    TN_TRY(tni_ref_need_scratch(call, "attention_step", (size_t)s.positions * sizeof(double) * tni_threads_count(call->threads)));
    tni_parallel_for(call->threads, q->dims[0] * p->heads, step_task, &s);
    return TN_OK;
}

TnStatus tni_ref_cache_append(TnKernelCall *call) {
    const TnCacheAppendParams *p = call->params;
    const TnTensor *x = &call->in[0], *cache = &call->in[1], *where = &call->in[2];
    if (x->rank != 2 || cache->rank != 3 || where->rank != 2 || where->dims[0] != x->dims[0] || where->dims[1] != 2 ||
        cache->dims[2] != p->width || x->dims[1] < (int64_t)p->off + p->width || x->dtype != cache->dtype)
        return tni_ref_bad_call(call, "cache_append", "operands whose shapes do not fit");
    for (int64_t r = 0; r < x->dims[0]; r++) {
        int64_t lane = tni_load_i64(where->dtype, where->data, 2 * r), pos = tni_load_i64(where->dtype, where->data, 2 * r + 1);
        if (lane < 0 || lane >= cache->dims[0] || pos < 0 || pos >= cache->dims[1])
            return TN_RAISE(call->err, TN_ERR_RUN,
                            "cache_append: row %lld goes to lane %lld, position %lld: the cache has %lld lanes of %lld "
                            "positions",
                            (long long)r, (long long)lane, (long long)pos, (long long)cache->dims[0], (long long)cache->dims[1]);
        tni_ref_copy_run(tn_dtype_bits(x->dtype), cache->data, (lane * cache->dims[1] + pos) * (int64_t)p->width, x->data,
                         r * x->dims[1] + p->off, p->width);
    }
    return TN_OK;
}
