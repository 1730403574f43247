/* SPDX-License-Identifier: Apache-2.0
 *
 * The recurrent operator on the CPU: sizes, packing, the products and the walk through the steps; gate functions are in cell_tmpl.h. */
#include "backend/cpu/recurrent/recurrent.h"

#define CHUNK_FLOATS ((int64_t)1 << 20) /* of gx: as many steps as stay near the core between product and recurrence */
#define CHUNK_STEPS 8                   /* and at least so many, that the product has rows */
#define LINES 14                        /* of a task: one row of tiles */

typedef struct Cell {
    const TnRecurrentParams *p;
    const TnKernelCall *call;
    const TniGemmIsa *isa;
    const TniCellIsa *cell;
    int64_t steps, lines, inputs, hidden, gates, width; /* width: gates * hidden */
    int64_t dirs, blocks;                               /* blocks of lines a direction */
    int64_t parts[2];                                   /* columns of the products of the state: one, or for a GRU that resets before, two */
    size_t w_floats, r_floats[2];                       /* of one direction */
    const float *w, *r;                                 /* packed */
    float *bias;                                        /* [dirs][2][width]: of the inputs' product, of the state's */
    float *gx, *h, *c, *work;
    int64_t chunk, first; /* steps of this chunk (at most), and how many came before */
    int64_t count;        /* steps of this chunk */
    TniGemmGrid grid;
    int64_t products; /* products of a direction: the lines, or one for all of them */
} Cell;

static bool absent(const TnTensor *in, uint32_t n_in, uint32_t k) {
    return k >= n_in || in[k].dtype == TN_UNDEFINED;
}

static const void *data_of(const TnKernelCall *call, uint32_t k) {
    return absent(call->in, call->n_in, k) ? NULL : call->in[k].data;
}

static bool usual_activations(const TnRecurrentParams *p) {
    for (uint32_t d = 0; d < p->directions; d++) {
        const uint32_t *act = &p->act[3 * d];
        if (p->kind == TN_CELL_RNN ? act[0] != TN_CELL_TANH && act[0] != TN_CELL_RELU : act[0] != TN_CELL_SIGMOID || act[1] != TN_CELL_TANH)
            return false;
        if (p->kind == TN_CELL_LSTM && act[2] != TN_CELL_TANH)
            return false;
    }
    return true;
}

bool tni_recurrent_supports(const TnKernelQuery *q) {
    const TnRecurrentParams *p = q->params;
    if (p->kind >= TN_CELL_COUNT || p->clip > 0 || (p->kind == TN_CELL_LSTM && p->input_forget != 0) || p->directions < 1 ||
        p->directions > 2 || !usual_activations(p) || !absent(q->in, q->n_in, 7))
        return false;
    for (uint32_t i = 0; i < q->n_in; i++)
        if (!absent(q->in, q->n_in, i) && q->in[i].dtype != (i == 4 ? TN_I32 : TN_F32))
            return false;
    for (uint32_t i = 0; i < q->n_out; i++)
        if (q->out[i].dtype != TN_F32 && q->out[i].dtype != TN_UNDEFINED)
            return false;
    return q->in[0].rank == 3 && q->in[1].rank == 3 && q->in[2].rank == 3;
}

/* Sizes that do not depend on whether operands are known. */
static void plan(Cell *m, const TnRecurrentParams *p, const TnTensor *in, const TniGemmIsa *isa) {
    static const int64_t gate_count[TN_CELL_COUNT] = {1, 3, 4};
    *m = (Cell){.p = p, .isa = isa, .hidden = p->hidden, .gates = gate_count[p->kind], .dirs = p->directions, .inputs = in[0].dims[2]};
    m->steps = in[0].dims[p->batch_first != 0 ? 1 : 0];
    m->lines = in[0].dims[p->batch_first != 0 ? 0 : 1];
    m->width = m->gates * m->hidden;
    bool two = p->kind == TN_CELL_GRU && p->linear_before_reset == 0;
    m->parts[0] = two ? 2 * m->hidden : m->width;
    m->parts[1] = m->width - m->parts[0];
    m->w_floats = tni_gemm_packed_floats(isa, m->inputs, m->width);
    for (int i = 0; i < 2; i++)
        m->r_floats[i] = tni_gemm_packed_floats(isa, m->hidden, m->parts[i]);
    m->blocks = m->dirs == 1 && m->lines >= 8 && m->lines <= LINES ? 2 : tni_ceil_div(m->lines, LINES);
    m->chunk = TN_MIN(TN_MAX(CHUNK_FLOATS / TN_MAX(m->dirs * m->lines * m->width, 1), CHUNK_STEPS), m->steps);
}

/* Floats of gx for any chunk: grows with every dim, as chunk * lines does not. */
static size_t gx_floats(const Cell *m) {
    int64_t row = m->dirs * m->lines * m->width;
    return (size_t)TN_MIN(m->steps * row, TN_MAX(CHUNK_FLOATS, CHUNK_STEPS * row));
}

static size_t work_floats(const Cell *m) { /* of a worker */
    return tni_align_up((size_t)(LINES * (m->width + m->hidden)), 16);
}

/* Packed weights of all directions: W^T [inputs, width], then R^T [hidden, parts]. */
static size_t packed_floats(const Cell *m, uint32_t i) {
    return (size_t)m->dirs * (i == 1 ? m->w_floats : m->r_floats[0] + m->r_floats[1]);
}

static void pack_all(const Cell *m, uint32_t i, const float *src, float *dst) {
    const TniGemmIsa *isa = m->isa;
    int64_t k = i == 1 ? m->inputs : m->hidden;
    for (int64_t d = 0; d < m->dirs; d++, src += m->width * k) {
        int64_t columns[2] = {i == 1 ? m->width : m->parts[0], i == 1 ? 0 : m->parts[1]}, row = 0;
        for (int j = 0; j < 2; j++) {
            TniPackB s = {.b = src + row * k, .sk = 1, .sn = k, .k = k, .n = columns[j]};
            isa->pack_b(&s, 0, tni_ceil_div(columns[j], isa->nr), dst);
            dst += tni_gemm_packed_floats(isa, k, columns[j]);
            row += columns[j];
        }
    }
}

/* ---- the inputs of a chunk's steps ---- */

static bool backwards(const Cell *m, int64_t d) {
    return d == 1 || m->p->reverse != 0;
}

/* The first step of the chunk in X's order. */
static int64_t chunk_step(const Cell *m, int64_t d) {
    return backwards(m, d) ? m->steps - m->first - m->count : m->first;
}

static void input_task(void *ctx, int64_t task, uint32_t worker) {
    (void)worker;
    const Cell *m = ctx;
    int64_t per = m->grid.mb * m->grid.nb, product = task / per % m->products, d = task / per / m->products, r0, r1, c0, c1;
    tni_gemm_task(&m->grid, task % per, &r0, &r1, &c0, &c1);
    int64_t step = chunk_step(m, d), row = m->p->batch_first != 0 ? product * m->steps + step : step * m->lines;
    TniGemmEpi epi = {.alpha = 1, .beta = 1, .bias = m->bias + d * 2 * m->width + c0};
    TniGemmBlock blk = {.a = (const float *)m->call->in[0].data + (row + r0) * m->inputs,
                        .lda = m->inputs,
                        .b = m->w + (size_t)d * m->w_floats + c0 * m->inputs,
                        .ldp = m->inputs * m->isa->nr,
                        .c = m->gx + ((d * m->products + product) * m->grid.m + r0) * m->width + c0,
                        .ldc = m->width,
                        .m = r1 - r0,
                        .n = c1 - c0,
                        .k = m->inputs,
                        .epi = &epi};
    m->isa->block(&blk);
}

/* ---- the recurrence ---- */

/* One direction's block of lines. */
typedef struct Lane {
    const Cell *m;
    int64_t d, l0, n;
    float *h, *c; /* [n][hidden] */
    float *g, *t; /* [n][width], [n][hidden] */
    const int32_t *lengths;
} Lane;

/* Part i of the state's product: columns of g. */
static void product(const Lane *l, int i, const float *state, const TniGemmEpi *epi) {
    const Cell *m = l->m;
    TniGemmBlock blk = {.a = state,
                        .lda = m->hidden,
                        .b = m->r + (size_t)l->d * (m->r_floats[0] + m->r_floats[1]) + (i == 0 ? 0 : m->r_floats[0]),
                        .ldp = m->hidden * m->isa->nr,
                        .c = l->g + (i == 0 ? 0 : m->parts[0]),
                        .ldc = m->width,
                        .m = l->n,
                        .n = m->parts[i],
                        .k = m->hidden,
                        .epi = epi};
    m->isa->block(&blk);
}

/* The gates of all lines, then the next state of those that have this step. gx: of the first line, next lines ldx apart. */
static void advance(const Lane *l, int64_t s, const float *gx, int64_t ldx) {
    const Cell *m = l->m;
    const int64_t H = m->hidden;
    const uint32_t kind = m->p->kind;
    const bool after = kind == TN_CELL_GRU && m->parts[1] == 0, before = m->parts[1] != 0;
    TniGemmEpi epi = {.alpha = 1, .beta = 1};
    if (after) {
        epi.bias = m->bias + (l->d * 2 + 1) * m->width;
    } else {
        epi.residual = gx;
        epi.ldr = ldx;
    }
    product(l, 0, l->h, &epi);
    if (before) {
        for (int64_t i = 0; i < l->n; i++)
            m->cell->gru_reset(l->g + i * m->width, H, l->h + i * H, l->t + i * H);
        epi.residual = gx + m->parts[0];
        product(l, 1, l->t, &epi);
    }
    for (int64_t i = 0; i < l->n; i++) {
        const float *g = l->g + i * m->width;
        float *h = l->h + i * H;
        if (l->lengths != NULL && s >= l->lengths[l->l0 + i])
            continue;
        if (kind == TN_CELL_LSTM)
            m->cell->lstm(g, H, l->c + i * H, h);
        else if (kind == TN_CELL_RNN)
            m->cell->rnn(g, H, m->p->act[3 * l->d] == TN_CELL_RELU, h);
        else if (after)
            m->cell->gru_after(gx + i * ldx, g, H, h);
        else
            m->cell->gru_join(g, H, h);
    }
}

static void lane_task(void *ctx, int64_t task, uint32_t worker) {
    const Cell *m = ctx;
    const bool first = m->p->batch_first != 0;
    const int64_t H = m->hidden, d = task / m->blocks, b = task % m->blocks, l0 = m->lines * b / m->blocks, l1 = m->lines * (b + 1) / m->blocks;
    float *work = m->work + (size_t)worker * work_floats(m), *y = m->call->out[0].data;
    Lane l = {.m = m, .d = d, .l0 = l0, .n = l1 - l0, .g = work, .t = work + LINES * m->width, .lengths = data_of(m->call, 4)};
    l.h = m->h + (d * m->lines + l0) * H;
    l.c = m->c + (d * m->lines + l0) * H;
    const int64_t s0 = chunk_step(m, d), ldx = (first ? m->count : 1) * m->width;
    const float *gx = m->gx + d * m->lines * m->count * m->width + l0 * ldx;
    for (int64_t k = 0; k < m->count; k++) {
        const int64_t at = backwards(m, d) ? m->count - 1 - k : k, s = s0 + at;
        advance(&l, s, gx + at * (first ? 1 : m->lines) * m->width, ldx);
        for (int64_t i = 0; i < l.n && y != NULL; i++) {
            const int64_t line = l0 + i;
            float *to = y + (first ? (line * m->steps + s) * m->dirs + d : (s * m->dirs + d) * m->lines + line) * H;
            if (l.lengths != NULL && s >= l.lengths[line])
                memset(to, 0, (size_t)H * sizeof *to);
            else
                memcpy(to, l.h + i * H, (size_t)H * sizeof *to);
        }
    }
}

/* ---- the call ---- */

/* Copies states between [dirs, lines] inside and the operator's layout; from or to may be NULL. */
static void states(const Cell *m, float *inside, const float *from, float *to) {
    const int64_t H = m->hidden;
    for (int64_t d = 0; d < m->dirs; d++)
        for (int64_t b = 0; b < m->lines; b++) {
            float *s = inside + (d * m->lines + b) * H;
            const int64_t at = (m->p->batch_first != 0 ? b * m->dirs + d : d * m->lines + b) * H;
            if (to != NULL)
                memcpy(to + at, s, (size_t)H * sizeof *s);
            else if (from != NULL)
                memcpy(s, from + at, (size_t)H * sizeof *s);
            else
                memset(s, 0, (size_t)H * sizeof *s);
        }
}

/* What is added once a step: both biases, but for a GRU that resets after its product the state's share of the candidate. */
static void make_biases(const Cell *m) {
    const float *b = data_of(m->call, 3);
    const int64_t H = m->hidden, W = m->width;
    const bool after = m->p->kind == TN_CELL_GRU && m->parts[1] == 0;
    memset(m->bias, 0, (size_t)(m->dirs * 2 * W) * sizeof *m->bias);
    for (int64_t d = 0; d < m->dirs && b != NULL; d++, b += 2 * W) {
        float *of_x = m->bias + d * 2 * W, *of_h = of_x + W;
        for (int64_t j = 0; j < W; j++) {
            bool apart = after && j >= 2 * H;
            of_x[j] = apart ? b[j] : b[j] + b[W + j];
            of_h[j] = apart ? b[W + j] : 0.0f;
        }
    }
}

/* Scratch, in this order: packed W and R where they are not constants, biases, gx, h, c, work. Returns the floats; base NULL: only that. */
static size_t layout(Cell *m, bool w_packed, bool r_packed, size_t threads, float *base) {
    const size_t state = tni_align_up((size_t)(m->dirs * m->lines * m->hidden), 16);
    const size_t sizes[] = {w_packed ? 0 : packed_floats(m, 1), r_packed ? 0 : packed_floats(m, 2), (size_t)(m->dirs * 2 * m->width), gx_floats(m),
                            state, state, threads * work_floats(m)};
    float *parts[TN_COUNT(sizes)];
    size_t at = 0;
    for (size_t i = 0; i < TN_COUNT(sizes); i++) {
        parts[i] = base == NULL ? NULL : base + at;
        at += tni_align_up(sizes[i], 16);
    }
    m->w = parts[0];
    m->r = parts[1];
    m->bias = parts[2];
    m->gx = parts[3];
    m->h = parts[4];
    m->c = parts[5];
    m->work = parts[6];
    return at;
}

static TnStatus recurrent_run(TnKernelCall *call, const TniGemmIsa *isa, const TniCellIsa *cell) {
    Cell m;
    plan(&m, call->params, call->in, isa);
    m.call = call;
    m.cell = cell;
    const void *packed[3] = {NULL, call->packed != NULL ? call->packed[1] : NULL, call->packed != NULL ? call->packed[2] : NULL};
    if (m.dirs * m.lines * m.hidden == 0)
        return TN_OK;
    size_t need = layout(&m, packed[1] != NULL, packed[2] != NULL, tni_threads_count(call->threads), call->scratch) * sizeof(float);
    if (need > call->scratch_bytes)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "recurrent: %zu bytes of scratch needed, %zu given", need, call->scratch_bytes);
    float *made[3] = {NULL, call->scratch, (float *)call->scratch + (packed[1] != NULL ? 0 : tni_align_up(packed_floats(&m, 1), 16))};
    for (uint32_t i = 1; i < 3; i++)
        if (packed[i] == NULL) {
            pack_all(&m, i, call->in[i].data, made[i]);
            packed[i] = made[i];
        }
    m.w = packed[1];
    m.r = packed[2];
    make_biases(&m);
    states(&m, m.h, data_of(call, 5), NULL);
    states(&m, m.c, data_of(call, 6), NULL);
    for (m.first = 0; m.first < m.steps; m.first += m.count) {
        m.count = TN_MIN(m.chunk, m.steps - m.first);
        m.products = m.p->batch_first != 0 && m.count < m.steps ? m.lines : 1;
        m.grid = tni_gemm_grid(isa, m.count * m.lines / m.products, m.width, m.inputs);
        tni_parallel_for(call->threads, m.dirs * m.products * m.grid.mb * m.grid.nb, input_task, &m);
        tni_parallel_for(call->threads, m.dirs * m.blocks, lane_task, &m);
    }
    for (uint32_t i = 1; i < call->n_out; i++)
        if (call->out[i].data != NULL)
            states(&m, i == 1 ? m.h : m.c, NULL, call->out[i].data);
    return TN_OK;
}

static size_t recurrent_scratch(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Cell m;
    plan(&m, q->params, q->in, isa);
    return layout(&m, q->in[1].data != NULL, q->in[2].data != NULL, TN_MAX(q->threads, 1u), NULL) * sizeof(float);
}

static double recurrent_cost(const TnKernelQuery *q, const TniGemmIsa *isa) {
    Cell m;
    plan(&m, q->params, q->in, isa);
    const double lines = (double)m.lines, width = (double)m.width, each = (double)(m.steps * m.dirs);
    return tni_gemm_cost(isa, lines * (double)m.steps, width * (double)m.dirs, (double)m.inputs) +
           each * (tni_gemm_cost(isa, lines, width, (double)m.hidden) - 200.0 + lines * width * 20.0 / isa->vl);
}

static size_t recurrent_packed_bytes(const TnKernelQuery *q, uint32_t i, const TniGemmIsa *isa) {
    Cell m;
    if ((i != 1 && i != 2) || q->in[i].data == NULL)
        return 0;
    plan(&m, q->params, q->in, isa);
    return packed_floats(&m, i) * sizeof(float);
}

static void recurrent_pack(const TnKernelQuery *q, uint32_t i, void *dst, const TniGemmIsa *isa) {
    Cell m;
    plan(&m, q->params, q->in, isa);
    pack_all(&m, i, q->in[i].data, dst);
}

/* The functions that kernels.inc names: one set an ISA. */
#define RECURRENT_ENTRIES(isa)                                                                                                             \
    TnStatus tni_recurrent_run_##isa(TnKernelCall *call) {                                                                                 \
        return recurrent_run(call, &tni_gemm_isa_##isa, &tni_cell_isa_##isa);                                                              \
    }                                                                                                                                      \
    size_t tni_recurrent_scratch_##isa(const TnKernelQuery *q) {                                                                           \
        return recurrent_scratch(q, &tni_gemm_isa_##isa);                                                                                  \
    }                                                                                                                                      \
    double tni_recurrent_cost_##isa(const TnKernelQuery *q) {                                                                              \
        return recurrent_cost(q, &tni_gemm_isa_##isa);                                                                                     \
    }                                                                                                                                      \
    size_t tni_recurrent_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i) {                                                          \
        return recurrent_packed_bytes(q, i, &tni_gemm_isa_##isa);                                                                          \
    }                                                                                                                                      \
    void tni_recurrent_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst) {                                                         \
        recurrent_pack(q, i, dst, &tni_gemm_isa_##isa);                                                                                    \
    }

RECURRENT_ENTRIES(scalar)
#if defined(__x86_64__)
RECURRENT_ENTRIES(avx2)
RECURRENT_ENTRIES(avx512)
#endif
