/* SPDX-License-Identifier: Apache-2.0
 *
 * checkcuda --time: device time of every row on the shapes of shapes.c. Calls go round over copies of their operands larger than the L2
 * together, are recorded as one graph and launched; the median launch over its number of calls is the time of one. What was computed is
 * compared with the reference: all of it where that is not too much work, else some rows of a matrix product. With --repeat N no row is
 * timed: each runs N times, several calls under way at once, and must give the same bits every time, which a race within a kernel does not.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cuda/checkcuda.h"

#define BLOCK 4194301 /* elements of random data, a prime: repeated to fill operands */
#define MOST_SETS 12
#define MOST_CALLS 24 /* in a graph */
#define GRAPH_NS 3e6  /* that a graph should take */
#define LAUNCHES 7
#define SAMPLES 24      /* rows of a product that are compared */
#define MOST_FLOPS 3e10 /* that the reference is given */
#define MOST_VALUES 2.4e7

typedef struct Timer {
    Gpu *g;
    const Options *o;
    unsigned char *memory; /* device */
    size_t bytes, used;
    float *block;    /* host: normal numbers */
    void *typed[3];  /* host: the block in float32, float16, bfloat16 */
    void *filled[3]; /* device: the same */
    uint32_t failed;
    /* The last packed constant: rows of one packing share it. shape counts the (shape, type) pairs. */
    uint32_t shape, packed_shape, packed_input;
    const char *packing;
    void *packed;
    size_t packed_bytes;
} Timer;

/* A call with operands in device memory, several times over. */
typedef struct Sets {
    TnTensor in[MOST_SETS][CASE_IN], out[MOST_SETS][CASE_OUT];
    const void *packed[MOST_SETS][CASE_IN];
    bool any_packed;
    uint32_t n;
} Sets;

static const TnDtype types[] = {TN_F32, TN_F16, TN_BF16};

static int type_index(TnDtype t) {
    return t == TN_F32 ? 0 : t == TN_F16 ? 1 : t == TN_BF16 ? 2 : -1;
}

/* ---- data ---- */
static TnStatus make_block(Timer *t, TnError *err) {
    static Case c;
    c.rng = 12345;
    t->block = malloc(BLOCK * sizeof *t->block);
    for (int k = 0; k < 3; k++)
        t->typed[k] = malloc((size_t)BLOCK * 4);
    if (t->block == NULL || t->typed[0] == NULL || t->typed[1] == NULL || t->typed[2] == NULL)
        return TN_OOM(err, (size_t)BLOCK * 4);
    for (int64_t i = 0; i < BLOCK; i++)
        t->block[i] = (float)ck_normal(&c);
    for (int k = 0; k < 3; k++) {
        const size_t bytes = (size_t)BLOCK * (types[k] == TN_F32 ? 4 : 2);
        for (int64_t i = 0; i < BLOCK; i++)
            tni_store_f64(types[k], t->typed[k], i, (double)t->block[i]);
        TN_TRY(t->g->lib->alloc(t->g->dev, bytes, &t->filled[k], err));
        TN_TRY(t->g->lib->to_device(t->g->stream, t->filled[k], t->typed[k], bytes, err));
        TN_TRY(t->g->lib->synchronize(t->g->stream, err));
    }
    return TN_OK;
}

/* Where input i of a call starts in the block: every input has other numbers. */
static int64_t start_of(uint32_t i) {
    return (int64_t)(i * 1000003u % BLOCK);
}

/* Element j of input i as the device has it. */
static double element(const Timer *t, const Timed *s, uint32_t i, int64_t j) {
    const TnDtype d = s->in[i].dtype;
    int k = type_index(d);
    if (s->fill[i] == TIMED_VALUES)
        return (double)s->values[i][j];
    double v = k < 0 ? 0 : tni_load_f64(d, t->typed[k], (start_of(i) + j) % BLOCK);
    if (s->fill[i] == TIMED_INDEX)
        return (double)((uint64_t)j * 2654435761u % (uint64_t)s->limit[i]);
    return s->fill[i] == TIMED_NEGATIVE ? (j % 7 == 3 ? -10000.0 : 0.0) : v;
}

static void host_fill(const Timer *t, const Timed *s, uint32_t i, TnDtype as, int64_t first, int64_t n, void *dst) {
    for (int64_t j = 0; j < n; j++) {
        double v = element(t, s, i, first + j);
        if (tni_dtype_is_float(as))
            tni_store_f64(as, dst, j, as == TN_F32 && s->in[i].dtype == TN_BF16 ? v : v);
        else
            tni_store_i64(as, dst, j, (int64_t)v);
    }
}

static TnStatus take(Timer *t, size_t bytes, void **out, TnError *err) {
    size_t need = tni_align_up(bytes, 256);
    if (need > t->bytes - t->used)
        return TN_RAISE(err, TN_ERR_MEMORY, "the call needs more than the %zu bytes that are set aside", t->bytes);
    *out = t->memory + t->used;
    t->used += need;
    return TN_OK;
}

static TnStatus device_fill(Timer *t, const Timed *s, uint32_t i, void *dst, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    const TnDtype d = s->in[i].dtype;
    const int64_t n = tn_tensor_numel(&s->in[i]);
    const int k = type_index(d);
    const size_t size = tn_dtype_bits(d) / 8;
    if (k < 0 || s->fill[i] != TIMED_NORMAL) {
        void *host = malloc((size_t)TN_MAX(n, 1) * size);
        if (host == NULL)
            return TN_OOM(err, (size_t)n * size);
        host_fill(t, s, i, d, 0, n, host);
        TnStatus st = lib->to_device(t->g->stream, dst, host, (size_t)n * size, err);
        if (st == TN_OK)
            st = lib->synchronize(t->g->stream, err);
        free(host);
        return st;
    }
    for (int64_t j = 0, from = start_of(i); j < n; from = 0) {
        int64_t run = TN_MIN(n - j, BLOCK - from);
        TN_TRY(lib->on_device(t->g->stream, (char *)dst + (size_t)j * size, (const char *)t->filled[k] + (size_t)from * size,
                              (size_t)run * size, err));
        j += run;
    }
    return TN_OK;
}

static double bytes_of(const Timed *s) {
    double sum = 0;
    for (uint32_t i = 0; i < s->n_in; i++)
        if (s->in[i].dtype != TN_UNDEFINED && !(s->op == TN_OP_gather && i == 0)) /* of a table only the rows that are picked */
            sum += (double)tn_tensor_bytes(&s->in[i]);
    for (uint32_t i = 0; i < s->n_out; i++)
        sum += (double)tn_tensor_bytes(&s->out[i]) * (s->op == TN_OP_gather ? 2.0 : 1.0);
    return sum;
}

/* Constants have data where the kernel is asked about them. */
static bool constants(const Timer *t, const Timed *s, TnTensor *in) {
    memcpy(in, s->in, sizeof s->in);
    for (uint32_t i = 0; i < s->n_in; i++) {
        if (!s->constant[i])
            continue;
        in[i].data = malloc(TN_MAX(tn_tensor_bytes(&s->in[i]), 1));
        if (in[i].data == NULL)
            return false;
        if (s->fill[i] == TIMED_NORMAL && type_index(s->in[i].dtype) >= 0) {
            const size_t size = tn_dtype_bits(s->in[i].dtype) / 8;
            const int64_t n = tn_tensor_numel(&s->in[i]);
            for (int64_t j = 0, from = start_of(i); j < n; from = 0) {
                int64_t run = TN_MIN(n - j, BLOCK - from);
                memcpy((char *)in[i].data + (size_t)j * size, (const char *)t->typed[type_index(s->in[i].dtype)] + (size_t)from * size,
                       (size_t)run * size);
                j += run;
            }
        } else {
            host_fill(t, s, i, s->in[i].dtype, 0, tn_tensor_numel(&s->in[i]), in[i].data);
        }
    }
    return true;
}

static void free_constants(const Timed *s, TnTensor *in) {
    for (uint32_t i = 0; i < s->n_in; i++)
        if (s->constant[i])
            free(in[i].data);
}

static TnStatus pack_once(Timer *t, const TnKernel *k, const TnKernelQuery *q, uint32_t i, size_t bytes, TnError *err) {
    if (t->packed != NULL && t->packed_shape == t->shape && t->packed_input == i && t->packed_bytes == bytes &&
        strcmp(t->packing, k->packing) == 0)
        return TN_OK;
    TN_TRY(t->g->lib->synchronize(t->g->stream, err)); /* a copy of the old one may be under way */
    free(t->packed);
    t->packed = aligned_alloc(64, tni_align_up(bytes, 64));
    if (t->packed == NULL)
        return TN_OOM(err, bytes);
    k->pack(q, i, t->packed);
    t->packed_shape = t->shape;
    t->packed_input = i;
    t->packed_bytes = bytes;
    t->packing = k->packing;
    return TN_OK;
}

static TnStatus make_set(Timer *t, const Timed *s, const TnKernel *k, const TnKernelQuery *q, Sets *sets, uint32_t n, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    void *p = NULL;
    memcpy(sets->in[n], s->in, sizeof sets->in[n]);
    memcpy(sets->out[n], s->out, sizeof sets->out[n]);
    memset(sets->packed[n], 0, sizeof sets->packed[n]);
    for (uint32_t i = 0; i < s->n_in; i++) {
        size_t packed = s->constant[i] && k->packed_bytes != NULL ? k->packed_bytes(q, i) : 0;
        if (s->in[i].dtype == TN_UNDEFINED)
            continue;
        if (tni_op_host_inputs(s->op) >> i & 1u) { /* a constant: it lives as long as the query */
            sets->in[n][i].data = q->in[i].data;
            continue;
        }
        TN_TRY(take(t, packed > 0 ? packed : tn_tensor_bytes(&s->in[i]), &p, err));
        if (packed == 0) {
            sets->in[n][i].data = p;
            TN_TRY(device_fill(t, s, i, p, err));
            continue;
        }
        sets->packed[n][i] = p;
        sets->any_packed = true;
        if (n > 0) { /* packing is slow: once */
            TN_TRY(lib->on_device(t->g->stream, p, sets->packed[0][i], packed, err));
            continue;
        }
        TN_TRY(pack_once(t, k, q, i, packed, err));
        TN_TRY(lib->to_device(t->g->stream, p, t->packed, packed, err));
    }
    for (uint32_t i = 0; i < s->n_out; i++) {
        TN_TRY(take(t, tn_tensor_bytes(&s->out[i]), &p, err));
        sets->out[n][i].data = p;
        TN_TRY(lib->fill(t->g->stream, p, 0xFF, tn_tensor_bytes(&s->out[i]), err));
    }
    return TN_OK;
}

/* ---- timing ---- */
static TnStatus call_set(Timer *t, const Timed *s, const Program *p, Sets *sets, uint32_t n, void *scratch, size_t scratch_bytes,
                         TnError *err) {
    TnKernelCall call = {.params = &s->params,
                         .in = sets->in[n],
                         .n_in = s->n_in,
                         .out = sets->out[n],
                         .n_out = s->n_out,
                         .packed = sets->any_packed ? sets->packed[n] : NULL,
                         .scratch = scratch,
                         .scratch_bytes = scratch_bytes,
                         .stream = t->g->stream,
                         .code = p->code,
                         .err = err};
    return p->kernel->run(&call);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds between two marks around fn's work: a call, or a graph of several. */
static TnStatus once(Timer *t, TnMark *from, TnMark *to, TnGraphExec *graph, const Timed *s, const Program *p, Sets *sets, void *scratch,
                     size_t bytes, double *ns, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    TN_TRY(lib->mark_set(from, t->g->stream, err));
    if (graph != NULL)
        TN_TRY(lib->graph_launch(graph, t->g->stream, err));
    else
        TN_TRY(call_set(t, s, p, sets, 0, scratch, bytes, err));
    TN_TRY(lib->mark_set(to, t->g->stream, err));
    return lib->mark_elapsed(from, to, ns, err);
}

static TnStatus record(Timer *t, const Timed *s, const Program *p, Sets *sets, void *scratch, size_t bytes, uint32_t calls,
                       TnGraphExec **graph, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    TnStatus st = TN_OK;
    TN_TRY(lib->capture_begin(t->g->stream, err));
    for (uint32_t i = 0; i < calls && st == TN_OK; i++)
        st = call_set(t, s, p, sets, i % sets->n, scratch, bytes, err);
    TnStatus ended = lib->capture_end(t->g->stream, graph, st == TN_OK ? err : NULL);
    return st != TN_OK ? st : ended;
}

/* Median nanoseconds of one call. */
static TnStatus measure(Timer *t, const Timed *s, const Program *p, Sets *sets, void *scratch, size_t scratch_bytes, double *ns,
                        TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    TnGraphExec *graph = NULL;
    TnMark *from = NULL, *to = NULL;
    double times[LAUNCHES], first = 0;
    TnStatus st = TN_OK;
    TN_TRY_GOTO(call_set(t, s, p, sets, 0, scratch, scratch_bytes, err)); /* loads code, picks algorithms */
    TN_TRY_GOTO(lib->synchronize(t->g->stream, err));
    TN_TRY_GOTO(lib->mark_create(t->g->dev, true, &from, err));
    TN_TRY_GOTO(lib->mark_create(t->g->dev, true, &to, err));
    TN_TRY_GOTO(once(t, from, to, NULL, s, p, sets, scratch, scratch_bytes, &first, err));
    const double fit = GRAPH_NS / TN_MAX(first, 1.0);
    const uint32_t calls = fit < 2 ? 2 : fit > MOST_CALLS ? MOST_CALLS : (uint32_t)fit;
    TN_TRY_GOTO(record(t, s, p, sets, scratch, scratch_bytes, calls, &graph, err));
    for (int i = -1; i < LAUNCHES; i++) {
        double total = 0;
        TN_TRY_GOTO(once(t, from, to, graph, s, p, sets, scratch, scratch_bytes, &total, err));
        if (i >= 0)
            times[i] = total / calls;
    }
    qsort(times, LAUNCHES, sizeof times[0], by_value);
    *ns = times[LAUNCHES / 2];
fail:
    lib->graph_destroy(&graph);
    lib->mark_destroy(&from);
    lib->mark_destroy(&to);
    return st;
}

/* ---- repeating ---- */

/* Bits of the outputs of set n against want; says where they differ. */
static TnStatus same_bits(Timer *t, const Timed *s, const Sets *sets, uint32_t n, unsigned char *const *want, unsigned char *have,
                          bool *same, char *text, size_t text_bytes, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    *same = true;
    for (uint32_t i = 0; i < s->n_out && *same; i++) {
        const TnTensor *y = &s->out[i];
        const size_t bytes = tn_tensor_bytes(y), size = tn_dtype_bits(y->dtype) / 8;
        TN_TRY(lib->to_host(t->g->stream, have, sets->out[n][i].data, bytes, err));
        TN_TRY(lib->synchronize(t->g->stream, err));
        if (memcmp(have, want[i], bytes) == 0)
            continue;
        size_t count = 0, first = bytes, last = 0;
        for (size_t j = 0; j + size <= bytes; j += size) {
            if (memcmp(have + j, want[i] + j, size) == 0)
                continue;
            count++;
            first = TN_MIN(first, j / size);
            last = j / size;
        }
        *same = false;
        snprintf(text, text_bytes, "output %u: %zu elements differ, from %zu to %zu, the first is %.6g and was %.6g", i, count, first, last,
                 tni_load_f64(y->dtype, have, (int64_t)first), tni_load_f64(y->dtype, want[i], (int64_t)first));
    }
    return TN_OK;
}

/* differ: calls whose bits were not those of the first call. */
static TnStatus repeat(Timer *t, const Timed *s, const Program *p, Sets *sets, void *scratch, size_t scratch_bytes, uint32_t *differ,
                       TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    unsigned char *want[CASE_OUT] = {NULL}, *have = NULL;
    size_t most = 1;
    char text[200] = "";
    TnStatus st = TN_OK;
    for (uint32_t i = 0; i < s->n_out; i++)
        most = TN_MAX(most, tn_tensor_bytes(&s->out[i]));
    have = malloc(most);
    for (uint32_t i = 0; i < s->n_out; i++)
        want[i] = malloc(most);
    for (uint32_t i = 0; i < s->n_out; i++)
        if (have == NULL || want[i] == NULL)
            TN_TRY_GOTO(TN_OOM(err, most));
    TN_TRY_GOTO(call_set(t, s, p, sets, 0, scratch, scratch_bytes, err));
    for (uint32_t i = 0; i < s->n_out; i++)
        TN_TRY_GOTO(lib->to_host(t->g->stream, want[i], sets->out[0][i].data, tn_tensor_bytes(&s->out[i]), err));
    TN_TRY_GOTO(lib->synchronize(t->g->stream, err));
    for (uint32_t done = 0; done < t->o->repeat; done += sets->n) {
        for (uint32_t n = 0; n < sets->n; n++)
            TN_TRY_GOTO(call_set(t, s, p, sets, n, scratch, scratch_bytes, err));
        for (uint32_t n = 0; n < sets->n; n++) {
            bool same = true;
            TN_TRY_GOTO(same_bits(t, s, sets, n, want, have, &same, text, sizeof text, err));
            *differ += !same;
        }
    }
fail:
    printf("%-40s %-34s %5u of %u calls gave other bits%s%s\n", p->kernel->name, s->what, *differ, t->o->repeat,
           text[0] != 0 ? "; last: " : "", text);
    fflush(stdout);
    for (uint32_t i = 0; i < s->n_out; i++)
        free(want[i]);
    free(have);
    return st;
}

/* ---- comparing ---- */

/* The call on the host in float32: all of it, or SAMPLES rows of a product. rows[r] is the row that row r is. */
typedef struct Host {
    TnTensor in[CASE_IN], out[CASE_OUT];
    bool sampled;
    int64_t rows[SAMPLES];
} Host;

static bool host_make(const Timer *t, const Timed *s, Host *h) {
    double values = 0;
    memset(h, 0, sizeof *h);
    for (uint32_t i = 0; i < s->n_in + s->n_out; i++) {
        const TnTensor *x = i < s->n_in ? &s->in[i] : &s->out[i - s->n_in];
        values += x->dtype == TN_UNDEFINED ? 0.0 : (double)tn_tensor_numel(x);
    }
    h->sampled = s->op == TN_OP_gemm && s->out[0].dims[0] > 4 * SAMPLES;
    if (!h->sampled && (s->flops > MOST_FLOPS || values > MOST_VALUES || s->op == TN_OP_attention_step))
        return false;
    const int64_t m = s->out[0].dims[0];
    for (int64_t r = 0; r < SAMPLES; r++) /* the first, the last, and between */
        h->rows[r] = r == SAMPLES - 1 ? m - 1 : r * (m - 1) / (SAMPLES - 1);
    for (uint32_t i = 0; i < s->n_in; i++) {
        TnTensor *x = &h->in[i];
        *x = s->in[i];
        if (x->dtype == TN_UNDEFINED)
            continue;
        const bool by_row = h->sampled && (i == 0 || i == 3);
        x->dtype = tni_dtype_is_float(x->dtype) ? TN_F32 : x->dtype;
        if (by_row)
            x->dims[0] = SAMPLES;
        const int64_t n = tn_tensor_numel(x), width = by_row ? x->dims[1] : 0;
        const size_t size = tn_dtype_bits(x->dtype) / 8;
        x->data = malloc((size_t)TN_MAX(n, 1) * size);
        if (x->data == NULL)
            return false;
        for (int64_t r = 0; r < (by_row ? SAMPLES : 1); r++)
            host_fill(t, s, i, x->dtype, by_row ? h->rows[r] * width : 0, by_row ? width : n, (char *)x->data + (size_t)(r * width) * size);
    }
    for (uint32_t i = 0; i < s->n_out; i++) {
        TnTensor *y = &h->out[i];
        *y = s->out[i];
        y->dtype = tni_dtype_is_float(y->dtype) && s->op != TN_OP_cast ? TN_F32 : y->dtype;
        if (h->sampled)
            y->dims[0] = SAMPLES;
        y->data = malloc(TN_MAX(tn_tensor_bytes(y), 1));
        if (y->data == NULL)
            return false;
    }
    return true;
}

static void host_free(Host *h) {
    for (uint32_t i = 0; i < CASE_IN; i++)
        free(h->in[i].data);
    for (uint32_t i = 0; i < CASE_OUT; i++)
        free(h->out[i].data);
}

static TnStatus compare_set(Timer *t, const Timed *s, const TnKernel *k, const Host *h, Sets *sets, double *worst, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    for (uint32_t i = 0; i < s->n_out; i++) {
        TnTensor got = h->out[i];
        Worst w = {0, 0, 0, 0};
        got.dtype = s->out[i].dtype;
        const size_t bytes = tn_tensor_bytes(&got), row = h->sampled ? bytes / SAMPLES : bytes;
        got.data = malloc(TN_MAX(bytes, 1));
        if (got.data == NULL)
            return TN_OOM(err, bytes);
        TnStatus st = TN_OK;
        for (int64_t r = 0; r < (h->sampled ? SAMPLES : 1) && st == TN_OK; r++)
            st = lib->to_host(t->g->stream, (char *)got.data + (size_t)r * row,
                              (const char *)sets->out[0][i].data + (h->sampled ? (size_t)h->rows[r] * row : 0), row, err);
        if (st == TN_OK)
            st = lib->synchronize(t->g->stream, err);
        if (st == TN_OK)
            compare_output(&got, &h->out[i], k->atol, k->rtol, &w);
        free(got.data);
        TN_TRY(st);
        if (!(w.share <= *worst))
            *worst = w.share;
    }
    return TN_OK;
}

/* ---- all ---- */
static double rate_of(const TnDeviceInfo *d, const TnKernel *k, TnDtype real) {
    return real != TN_F32 ? d->half_flops : (k->math & TN_MATH_TF32) != 0 ? d->tf32_flops : d->float_flops;
}

/* in: the operands, with the data of constants. */
static TnStatus time_call(Timer *t, const Timed *s, const TnTensor *in, const TnKernel *k, TnDtype real, const Host *h, TnError *err) {
    TnKernelQuery q = {s->op, &s->params, in, s->n_in, s->out, s->n_out, 1, &t->g->info};
    Program p = {k, NULL, t->g, t->o};
    static Sets sets;
    void *scratch = NULL;
    double ns = 0, worst = -1, bytes = bytes_of(s);
    TnStatus st = TN_OK;
    memset(&sets, 0, sizeof sets);
    if ((k->supports != NULL && !k->supports(&q)))
        goto fail;
    t->used = 0;
    double want = 3.0 * (double)t->g->info.l2_bytes / (bytes + 1.0);
    sets.n = (uint32_t)(want < 1 ? 1 : want > MOST_SETS ? MOST_SETS : want);
    size_t scratch_bytes = k->scratch != NULL ? k->scratch(&q) : 0;
    TN_TRY_GOTO(program_load(&p, &q, err));
    if (scratch_bytes > 0)
        TN_TRY_GOTO(take(t, scratch_bytes, &scratch, err));
    for (uint32_t n = 0; n < sets.n; n++)
        TN_TRY_GOTO(make_set(t, s, k, &q, &sets, n, err));
    if (t->o->repeat > 0) {
        uint32_t differ = 0;
        st = repeat(t, s, &p, &sets, scratch, scratch_bytes, &differ, err);
        t->failed += differ > 0;
        goto fail;
    }
    TN_TRY_GOTO(measure(t, s, &p, &sets, scratch, scratch_bytes, &ns, err));
    if (h != NULL) {
        worst = 0;
        TN_TRY_GOTO(compare_set(t, s, k, h, &sets, &worst, err));
    }
    printf("%-40s %-34s %-8s %9.2f us %7.0f GB/s %3.0f%%", k->name, s->what, tn_dtype_name(real), ns * 1e-3, bytes / ns,
           100.0 * bytes / ns * 1e9 / t->g->info.bytes_per_second);
    if (s->flops > 0)
        printf(" %7.1f TFLOP/s %3.0f%%", s->flops / ns * 1e-3, 100.0 * s->flops / ns * 1e9 / rate_of(&t->g->info, k, real));
    printf("  est. %.1f us", k->cost != NULL ? k->cost(&q) * 1e-3 : 0.0);
    if (worst >= 0)
        printf("  error %.3f%s%s", worst, h->sampled ? " (rows)" : "", worst <= 1 ? "" : " FAIL");
    printf("\n");
    fflush(stdout);
    if (worst > 1 || worst != worst)
        t->failed++;
fail:
    program_unload(&p);
    return st;
}

static bool wanted(const Timer *t, const TnKernel *k, TnOp op) {
    const uint32_t arch = t->g->info.arch;
    return k->op == op && arch >= k->arch_min && (k->arch_max == 0 || arch <= k->arch_max) &&
           (t->o->kernel == NULL || strstr(k->name, t->o->kernel) != NULL);
}

static void time_shape(Timer *t, const Timed *s, TnDtype real) {
    static Host h;
    TnTensor in[CASE_IN];
    TnError err = {0};
    bool any = false;
    for (uint32_t i = 0; i < t->g->lib->n_kernels; i++)
        any = any || wanted(t, &t->g->lib->kernels[i], s->op);
    if (!any)
        return;
    t->shape++;
    bool made = constants(t, s, in);
    bool have =
        made && t->o->repeat == 0 && host_make(t, s, &h) && run_reference(s->op, &s->params, h.in, s->n_in, h.out, s->n_out, &err) == TN_OK;
    for (uint32_t i = 0; i < t->g->lib->n_kernels && made; i++) {
        const TnKernel *k = &t->g->lib->kernels[i];
        if (!wanted(t, k, s->op) || time_call(t, s, in, k, real, have ? &h : NULL, &err) == TN_OK)
            continue;
        printf("FAIL %s %s %s: %s\n", k->name, s->what, tn_dtype_name(real), err.message);
        t->failed++;
    }
    if (made)
        host_free(&h);
    free_constants(s, in);
}

static void time_op(Timer *t, TnOp op) {
    static Timed s;
    for (uint32_t shape = 0; timed_shape(op, shape, TN_F32, &s); shape++) {
        if ((t->o->only >= 0 && (int64_t)shape != t->o->only) || shape % t->o->stride != 0)
            continue;
        for (int type = 0; type < 3; type++)
            if ((t->o->type == TN_UNDEFINED || t->o->type == types[type]) && timed_shape(op, shape, types[type], &s))
                time_shape(t, &s, types[type]);
    }
}

/* What the memory really does: the ceiling to measure by. */
static TnStatus copy_rate(Timer *t, TnError *err) {
    const TnDeviceLibrary *lib = t->g->lib;
    const size_t half = t->bytes / 2 & ~(size_t)255;
    TnMark *from = NULL, *to = NULL;
    double best = 1e30, ns;
    TN_TRY(lib->mark_create(t->g->dev, true, &from, err));
    TN_TRY(lib->mark_create(t->g->dev, true, &to, err));
    for (int i = 0; i < 5; i++) {
        TN_TRY(lib->mark_set(from, t->g->stream, err));
        TN_TRY(lib->on_device(t->g->stream, t->memory, t->memory + half, half, err));
        TN_TRY(lib->mark_set(to, t->g->stream, err));
        TN_TRY(lib->mark_elapsed(from, to, &ns, err));
        best = TN_MIN(best, ns);
    }
    lib->mark_destroy(&from);
    lib->mark_destroy(&to);
    printf("copy on the device: %.0f GB/s read and written; ceiling by data sheet %.0f GB/s, half %.0f TFLOP/s\n",
           2.0 * (double)half / best, t->g->info.bytes_per_second * 1e-9, t->g->info.half_flops * 1e-12);
    return TN_OK;
}

uint32_t time_rows(Gpu *g, const Options *o) {
    static Timer t;
    TnError err = {0};
    uint64_t room = 0, total = 0;
    void *p = NULL;
    t.g = g;
    t.o = o;
    TnStatus st = g->lib->memory(g->dev, &room, &total, &err);
    t.bytes = (size_t)TN_MIN(room / 2, (uint64_t)8 << 30);
    if (st == TN_OK)
        st = g->lib->alloc(g->dev, t.bytes, &p, &err);
    t.memory = p;
    if (st == TN_OK)
        st = make_block(&t, &err);
    if (st == TN_OK)
        st = copy_rate(&t, &err);
    if (st != TN_OK) {
        printf("FAIL %s\n", err.message);
        return 1;
    }
    for (uint32_t op = 0; op < TN_OP_COUNT; op++)
        if (o->op == NULL || strcmp(o->op, tni_op_info((TnOp)op)->name) == 0)
            time_op(&t, (TnOp)op);
    g->lib->free(g->dev, t.memory);
    for (int k = 0; k < 3; k++) {
        g->lib->free(g->dev, t.filled[k]);
        free(t.typed[k]);
    }
    free(t.block);
    free(t.packed);
    return t.failed;
}
