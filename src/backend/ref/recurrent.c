/* SPDX-License-Identifier: Apache-2.0
 *
 * recurrent (RNN, GRU, LSTM) and linear_attention: one line after the other, step by step, states in double. */
#include <math.h>

#include "backend/ref/ref.h"

typedef struct Cell {
    const TnKernelCall *call;
    const TnRecurrentParams *p;
    const TnTensor *x;
    int64_t steps, lines, inputs, hidden, gates;
    double *scratch; /* [workers][16 * hidden] */
} Cell;

/* One direction of one line. */
typedef struct Lane {
    const Cell *m;
    int64_t d, b;
    double *g;         /* [gates * hidden] what goes into the activations */
    double *h, *c, *t; /* [hidden] state, cell, work */
} Lane;

static double activate(uint32_t act, double a, double b, double v) {
    switch (act) {
    case TN_CELL_TANH:
        return tanh(v);
    case TN_CELL_SIGMOID:
        return 1.0 / (1.0 + exp(-v));
    case TN_CELL_RELU:
        return v > 0 ? v : 0.0;
    case TN_CELL_AFFINE:
        return a * v + b;
    case TN_CELL_LEAKY_RELU:
        return v < 0 ? a * v : v;
    case TN_CELL_THRESHOLDED_RELU:
        return v > a ? v : 0.0;
    case TN_CELL_SCALED_TANH:
        return a * tanh(b * v);
    case TN_CELL_HARD_SIGMOID:
        return fmax(0.0, fmin(1.0, a * v + b));
    case TN_CELL_ELU:
        return v < 0 ? a * (exp(v) - 1.0) : v;
    case TN_CELL_SOFTSIGN:
        return v / (1.0 + fabs(v));
    default:
        return v > 0 ? v + log1p(exp(-v)) : log1p(exp(v));
    }
}

/* Activation k (0 f, 1 g, 2 h) of the lane's direction, clipped before. */
static double act(const Lane *l, int k, double v) {
    const TnRecurrentParams *p = l->m->p;
    const int64_t i = 3 * l->d + k;
    if (p->clip > 0)
        v = fmax(-(double)p->clip, fmin((double)p->clip, v));
    return activate(p->act[i], (double)p->alpha[i], (double)p->beta[i], v);
}

/* Element i of operand k of this direction, 0 when it is absent. */
static double at(const Lane *l, uint32_t k, int64_t width, int64_t i) {
    const TnTensor *t = &l->m->call->in[k];
    return tni_ref_has(l->m->call, k) ? tni_load_f64(t->dtype, t->data, l->d * width + i) : 0.0;
}

/* Row `row` of operand k (W or R) times v[n], or times the elements of X at `from`. */
static double row_product(const Lane *l, uint32_t k, int64_t row, int64_t n, const double *v, int64_t from) {
    const Cell *m = l->m;
    const TnTensor *w = &m->call->in[k];
    double a[REF_BLOCK], b[REF_BLOCK], sum = 0.0;
    const int64_t first = (l->d * m->gates * m->hidden + row) * n;
    for (int64_t i = 0; i < n; i += REF_BLOCK) {
        const int64_t len = TN_MIN(n - i, REF_BLOCK);
        tni_ref_load_f64(w->dtype, w->data, first + i, 1, len, a);
        if (v == NULL)
            tni_ref_load_f64(m->x->dtype, m->x->data, from + i, 1, len, b);
        for (int64_t j = 0; j < len; j++)
            sum += a[j] * (v == NULL ? b[j] : v[i + j]);
    }
    return sum;
}

/* Place of (step, line) in X, and of a state. */
static int64_t x_at(const Cell *m, int64_t s, int64_t b) {
    return (m->p->batch_first ? b * m->steps + s : s * m->lines + b) * m->inputs;
}
static int64_t state_at(const Cell *m, int64_t d, int64_t b) {
    return (m->p->batch_first ? b * m->p->directions + d : d * m->lines + b) * m->hidden;
}
static int64_t y_at(const Cell *m, int64_t s, int64_t d, int64_t b) {
    const int64_t D = m->p->directions;
    return (m->p->batch_first ? (b * m->steps + s) * D + d : (s * D + d) * m->lines + b) * m->hidden;
}

/* Gates without the state: W x + both biases. Gates [first, last) also get R h. */
static void gates(Lane *l, int64_t from, int64_t with_state) {
    const Cell *m = l->m;
    const int64_t H = m->hidden, G = m->gates;
    for (int64_t j = 0; j < G * H; j++) {
        double v = row_product(l, 1, j, m->inputs, NULL, from) + at(l, 3, 2 * G * H, j);
        if (j < with_state * H)
            v += at(l, 3, 2 * G * H, G * H + j) + row_product(l, 2, j, H, l->h, 0);
        l->g[j] = v;
    }
}

static void step_rnn(Lane *l, int64_t from) {
    gates(l, from, 1);
    for (int64_t j = 0; j < l->m->hidden; j++)
        l->h[j] = act(l, 0, l->g[j]);
}

/* Gates z, r, h. */
static void step_gru(Lane *l, int64_t from) {
    const Cell *m = l->m;
    const int64_t H = m->hidden;
    gates(l, from, 2);
    for (int64_t j = 0; j < 2 * H; j++)
        l->g[j] = act(l, 0, l->g[j]);
    for (int64_t j = 0; j < H; j++)
        l->t[j] = m->p->linear_before_reset ? l->h[j] : l->g[H + j] * l->h[j];
    for (int64_t j = 0; j < H; j++) {
        const double bias = at(l, 3, 6 * H, 5 * H + j), product = row_product(l, 2, 2 * H + j, H, l->t, 0);
        l->g[2 * H + j] += m->p->linear_before_reset ? l->g[H + j] * (product + bias) : product + bias;
    }
    for (int64_t j = 0; j < H; j++)
        l->h[j] = (1.0 - l->g[j]) * act(l, 1, l->g[2 * H + j]) + l->g[j] * l->h[j];
}

/* Gates i, o, f, c; peepholes i, o, f. */
static void step_lstm(Lane *l, int64_t from) {
    const Cell *m = l->m;
    const int64_t H = m->hidden;
    gates(l, from, 4);
    for (int64_t j = 0; j < H; j++) {
        const double i = act(l, 0, l->g[j] + at(l, 7, 3 * H, j) * l->c[j]);
        const double f = m->p->input_forget ? 1.0 - i : act(l, 0, l->g[2 * H + j] + at(l, 7, 3 * H, 2 * H + j) * l->c[j]);
        l->c[j] = f * l->c[j] + i * act(l, 1, l->g[3 * H + j]);
        l->h[j] = act(l, 0, l->g[H + j] + at(l, 7, 3 * H, H + j) * l->c[j]);
        const int64_t k = 3 * l->d + 2; /* of the cell: not clipped */
        l->h[j] *= activate(m->p->act[k], (double)m->p->alpha[k], (double)m->p->beta[k], l->c[j]);
    }
}

static void run_lane(Lane *l) {
    const Cell *m = l->m;
    const TnKernelCall *call = m->call;
    const int64_t H = m->hidden;
    const bool back = l->d == 1 || m->p->reverse;
    int64_t length = m->steps;
    if (tni_ref_has(call, 4))
        length = TN_MAX(0, TN_MIN(m->steps, tni_load_i64(call->in[4].dtype, call->in[4].data, l->b)));
    for (uint32_t k = 5; k < 7; k++) {
        double *to = k == 5 ? l->h : l->c;
        memset(to, 0, (size_t)H * sizeof *to);
        if (tni_ref_has(call, k))
            tni_ref_load_f64(call->in[k].dtype, call->in[k].data, state_at(m, l->d, l->b), 1, H, to);
    }
    for (int64_t n = 0; n < length; n++) {
        const int64_t s = back ? length - 1 - n : n, from = x_at(m, s, l->b);
        if (m->p->kind == TN_CELL_RNN)
            step_rnn(l, from);
        else if (m->p->kind == TN_CELL_GRU)
            step_gru(l, from);
        else
            step_lstm(l, from);
        if (tni_ref_wants(call, 0))
            tni_ref_store_f64(call->out[0].dtype, call->out[0].data, y_at(m, s, l->d, l->b), 1, H, l->h);
    }
    memset(l->t, 0, (size_t)H * sizeof *l->t);
    for (int64_t s = length; s < m->steps && tni_ref_wants(call, 0); s++)
        tni_ref_store_f64(call->out[0].dtype, call->out[0].data, y_at(m, s, l->d, l->b), 1, H, l->t);
    for (uint32_t k = 1; k < 3; k++)
        if (tni_ref_wants(call, k))
            tni_ref_store_f64(call->out[k].dtype, call->out[k].data, state_at(m, l->d, l->b), 1, H, k == 1 ? l->h : l->c);
}

static void lanes(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Cell *m = ctx;
    double *g = m->scratch + (int64_t)worker * 16 * m->hidden;
    for (int64_t i = first; i < last; i++) {
        Lane l = {.m = m, .d = i / m->lines, .b = i % m->lines, .g = g};
        l.h = g + 4 * m->hidden;
        l.c = l.h + m->hidden;
        l.t = l.c + m->hidden;
        run_lane(&l);
    }
}

TnStatus tni_ref_recurrent(TnKernelCall *call) {
    const TnRecurrentParams *p = call->params;
    const TnTensor *x = &call->in[0];
    static const int64_t gate_count[TN_CELL_COUNT] = {1, 3, 4};
    if (p->kind >= TN_CELL_COUNT || x->rank != 3 || call->in[1].rank != 3)
        return tni_ref_bad_call(call, "recurrent", "operands of other ranks");
    Cell m = {.call = call, .p = p, .x = x, .inputs = x->dims[2], .hidden = p->hidden, .gates = gate_count[p->kind]};
    m.steps = x->dims[p->batch_first ? 1 : 0];
    m.lines = x->dims[p->batch_first ? 0 : 1];
    m.scratch = call->scratch;
    TN_TRY(tni_ref_need_scratch(call, "recurrent", (size_t)(16 * m.hidden) * sizeof(double) * tni_threads_count(call->threads)));
    tni_ref_ranges(call->threads, m.lines * p->directions, 1, lanes, &m);
    return TN_OK;
}

/* ---- linear attention ---- */
typedef struct Linear {
    const TnKernelCall *call;
    const TnLinearAttentionParams *p;
    int64_t t, dk, dv, hq, hk;
    double scale;
} Linear;

static double value(const Linear *m, uint32_t k, int64_t i) {
    return tni_load_f64(m->call->in[k].dtype, m->call->in[k].data, i);
}

/* One token: s [dk, dv] becomes the next state; e [dv] is for what the delta rules predict. */
static void update(const Linear *m, int64_t row, int64_t h, double *s, double *e) {
    const int64_t dk = m->dk, dv = m->dv, k0 = row * m->hk * dk + h * dk, v0 = row * m->hk * dv + h * dv;
    const bool delta = m->p->rule == TN_LINEAR_DELTA || m->p->rule == TN_LINEAR_GATED_DELTA;
    if (m->p->rule == TN_LINEAR_GATED || m->p->rule == TN_LINEAR_GATED_DELTA) {
        const bool each = m->call->in[4].dims[2] != m->hk; /* a decay for each element of the key */
        for (int64_t i = 0; i < dk; i++) {
            const double f = exp(value(m, 4, each ? row * m->hk * dk + h * dk + i : row * m->hk + h));
            for (int64_t j = 0; j < dv; j++)
                s[i * dv + j] *= f;
        }
    }
    double rate = 1.0;
    if (delta) {
        const int64_t n = m->call->in[5].dims[2];
        rate = value(m, 5, row * n + (n == 1 ? 0 : h));
    }
    for (int64_t j = 0; j < dv; j++) {
        e[j] = value(m, 2, v0 + j);
        for (int64_t i = 0; i < dk && delta; i++)
            e[j] -= s[i * dv + j] * value(m, 1, k0 + i);
    }
    for (int64_t i = 0; i < dk; i++)
        for (int64_t j = 0; j < dv; j++)
            s[i * dv + j] += rate * value(m, 1, k0 + i) * e[j];
}

static void linear_range(void *ctx, int64_t first, int64_t last, uint32_t worker) {
    const Linear *m = ctx;
    const TnKernelCall *call = m->call;
    const TnTensor *y = &call->out[0];
    const int64_t dk = m->dk, dv = m->dv, group = m->hq / m->hk;
    double *s = (double *)call->scratch + (int64_t)worker * (dk + 1) * dv, *e = s + dk * dv;
    for (int64_t lane = first; lane < last; lane++) {
        const int64_t b = lane / m->hk, h = lane % m->hk;
        for (int64_t i = 0; i < dk * dv; i++)
            s[i] = tni_ref_has(call, 3) ? value(m, 3, lane * dk * dv + i) : 0.0;
        for (int64_t t = 0; t < m->t; t++) {
            const int64_t row = b * m->t + t;
            update(m, row, h, s, e);
            for (int64_t q = h * group; q < (h + 1) * group && tni_ref_wants(call, 0); q++) {
                for (int64_t j = 0; j < dv; j++) {
                    double sum = 0.0;
                    for (int64_t i = 0; i < dk; i++)
                        sum += s[i * dv + j] * value(m, 0, row * m->hq * dk + q * dk + i);
                    tni_store_f64(y->dtype, y->data, row * m->hq * dv + q * dv + j, m->scale * sum);
                }
            }
        }
        if (tni_ref_wants(call, 1))
            tni_ref_store_f64(call->out[1].dtype, call->out[1].data, lane * dk * dv, 1, dk * dv, s);
    }
}

TnStatus tni_ref_linear_attention(TnKernelCall *call) {
    const TnLinearAttentionParams *p = call->params;
    const TnTensor *q = &call->in[0], *k = &call->in[1], *v = &call->in[2];
    if (q->rank != 3 || k->rank != 3 || v->rank != 3 || p->kv_heads == 0 || p->q_heads == 0)
        return tni_ref_bad_call(call, "linear_attention", "operands of other ranks");
    Linear m = {.call = call, .p = p, .t = q->dims[1], .hq = p->q_heads, .hk = p->kv_heads};
    m.dk = k->dims[2] / m.hk;
    m.dv = v->dims[2] / m.hk;
    m.scale = p->scale != 0.0f ? (double)p->scale : 1.0 / sqrt((double)m.dk);
    TN_TRY(tni_ref_need_scratch(call, "linear_attention", (size_t)((m.dk + 1) * m.dv) * sizeof(double) * tni_threads_count(call->threads)));
    tni_ref_ranges(call->threads, q->dims[0] * m.hk, 1, linear_range, &m);
    return TN_OK;
}
