/* SPDX-License-Identifier: Apache-2.0
 *
 * Collapsed broadcast loops, task cutting and the elementwise driver. ISA independent: the work is in the tile functions. */
#include "backend/cpu/common/loop.h"

#include <stdalign.h>

void tni_cpu_broadcast_strides(const TnTensor *t, int32_t rank, const int64_t *dims, int64_t *stride) {
    int64_t step = 1;
    int32_t shift = rank - t->rank;
    for (int32_t d = rank - 1; d >= 0; d--) {
        int64_t n = d >= shift ? t->dims[d - shift] : 1;
        stride[d] = n == 1 && dims[d] != 1 ? 0 : step;
        step *= n;
    }
}

void tni_cpu_loop_init(TnLoop *loop, int32_t rank, const int64_t *dims, uint32_t n, const int64_t (*strides)[TN_MAX_RANK]) {
    memset(loop, 0, sizeof *loop);
    loop->n_operands = n;
    loop->numel = 1;
    for (int32_t d = 0; d < rank; d++) {
        loop->numel *= dims[d];
        if (dims[d] == 1)
            continue;
        int32_t last = loop->rank - 1;
        bool merge = last >= 0;
        for (uint32_t i = 0; i < n && merge; i++)
            merge = loop->stride[i][last] == strides[i][d] * dims[d];
        if (merge) {
            loop->dims[last] *= dims[d];
        } else {
            last = loop->rank++;
            loop->dims[last] = dims[d];
        }
        for (uint32_t i = 0; i < n; i++)
            loop->stride[i][last] = strides[i][d];
    }
    if (loop->rank == 0) {
        loop->rank = 1;
        loop->dims[0] = 1;
    }
}

void tni_cpu_loop_broadcast(TnLoop *loop, const TnTensor *out, const TnTensor *in, uint32_t n) {
    int64_t strides[TN_LOOP_OPERANDS][TN_MAX_RANK] = {{0}};
    for (uint32_t i = 0; i < n && i < TN_LOOP_OPERANDS; i++) {
        if (tni_cpu_present(&in[i]))
            tni_cpu_broadcast_strides(&in[i], out->rank, out->dims, strides[i]);
    }
    tni_cpu_loop_init(loop, out->rank, out->dims, n, (const int64_t(*)[TN_MAX_RANK])strides);
}

int64_t tni_cpu_loop_offset(const TnLoop *loop, uint32_t i, int64_t pos) {
    int64_t off = 0;
    for (int32_t d = loop->rank - 1; d >= 0 && pos > 0; d--) {
        off += pos % loop->dims[d] * loop->stride[i][d];
        pos /= loop->dims[d];
    }
    return off;
}

typedef struct RangeCtx {
    TnRangeFn fn;
    void *ctx;
    int64_t n, grain;
} RangeCtx;

static void range_task(void *p, int64_t task, uint32_t worker) {
    (void)worker;
    const RangeCtx *r = p;
    int64_t begin = task * r->grain;
    r->fn(r->ctx, begin, TN_MIN(begin + r->grain, r->n));
}

void tni_cpu_parallel(TnThreads *threads, int64_t n, int64_t grain, TnRangeFn fn, void *ctx) {
    if (n <= 0)
        return;
    if (n <= grain || threads == NULL) {
        for (int64_t i = 0; i < n; i += grain)
            fn(ctx, i, TN_MIN(i + grain, n));
        return;
    }
    RangeCtx r = {fn, ctx, n, grain};
    tni_parallel_for(threads, (n + grain - 1) / grain, range_task, &r);
}

int64_t tni_cpu_grain(int64_t n, int64_t bytes_per_item) {
    int64_t by_bytes = (32768 + bytes_per_item - 1) / TN_MAX(bytes_per_item, 1);
    return TN_MAX(TN_MAX(by_bytes, (n + 255) / 256), 1);
}

uint32_t tni_cpu_elem_bytes(TnDtype t) {
    uint32_t bits = tn_dtype_bits(t);
    return bits >= 8 ? bits / 8 : 0;
}

int64_t tni_cpu_span(const TnTensor *t, int32_t begin, int32_t end) {
    int64_t n = 1;
    for (int32_t d = begin; d < end; d++)
        n *= t->dims[d];
    return n;
}

double tni_cpu_cost(const TnKernelQuery *q, double ns_per_element) {
    double elements = 0, bytes = 0;
    for (uint32_t i = 0; i < q->n_out; i++)
        elements += (double)tn_tensor_numel(&q->out[i]), bytes += (double)tn_tensor_bytes(&q->out[i]);
    for (uint32_t i = 0; i < q->n_in; i++)
        bytes += tni_cpu_present(&q->in[i]) ? (double)tn_tensor_bytes(&q->in[i]) : 0.0;
    return 100.0 + elements * ns_per_element + bytes * 0.05;
}

/* ---- elementwise ---- */

typedef struct EwiseCtx {
    const TnElementwise *e;
    TnLoop loop;
    const char *in[8];
    char *out;
    bool by_rows; /* tiles never cross a row of the innermost dim; else tiles are cut from the flat range */
} EwiseCtx;

static void fill(char *dst, const char *src, uint32_t bytes, int64_t n) {
    if (bytes == 1) {
        memset(dst, *(const unsigned char *)src, (size_t)n);
        return;
    }
    memcpy(dst, src, bytes);
    for (int64_t have = 1; have < n;) {
        int64_t m = TN_MIN(have, n - have);
        memcpy(dst + have * bytes, dst, (size_t)m * bytes);
        have += m;
    }
}

/* Copies elements pos .. pos + n of operand i, broadcast, to dst. */
static void materialise(const EwiseCtx *c, uint32_t i, int64_t pos, int64_t n, char *dst) {
    const TnLoop *l = &c->loop;
    int32_t last = l->rank - 1;
    uint32_t bytes = c->e->in_bytes[i];
    int64_t idx[TN_MAX_RANK], rest = pos, off = 0;
    for (int32_t d = last; d >= 0; d--) {
        idx[d] = rest % l->dims[d];
        rest /= l->dims[d];
        off += idx[d] * l->stride[i][d];
    }
    while (n > 0) {
        int64_t run = TN_MIN(n, l->dims[last] - idx[last]);
        const char *src = c->in[i] + off * bytes;
        if (l->stride[i][last] == 0)
            fill(dst, src, bytes, run);
        else
            memcpy(dst, src, (size_t)run * bytes);
        dst += run * bytes;
        n -= run;
        off += run * l->stride[i][last];
        idx[last] += run;
        for (int32_t d = last; d > 0 && idx[d] == l->dims[d]; d--) {
            off += l->stride[i][d - 1] - l->dims[d] * l->stride[i][d];
            idx[d] = 0;
            idx[d - 1]++;
        }
    }
}

/* Tiles over the flat range [begin, end). full[i]: operand i is dense over the whole loop. */
static void run_flat(const EwiseCtx *c, int64_t begin, int64_t end, char (*buf)[TN_TILE * 8]) {
    const TnElementwise *e = c->e;
    const TnLoop *l = &c->loop;
    const void *ptr[8];
    bool dense[8];
    for (uint32_t i = 0; i < e->n_in; i++) {
        bool scalar = true;
        dense[i] = l->rank == 1 && l->stride[i][0] == 1;
        for (int32_t d = 0; d < l->rank; d++)
            scalar = scalar && l->stride[i][d] == 0;
        if (l->rank > 1) { /* dense under a loop that other operands keep from merging */
            int64_t step = 1;
            dense[i] = true;
            for (int32_t d = l->rank - 1; d >= 0; d--) {
                dense[i] = dense[i] && l->stride[i][d] == step;
                step *= l->dims[d];
            }
        }
        if (scalar && !dense[i]) {
            fill(buf[i], c->in[i], e->in_bytes[i], TN_TILE);
            ptr[i] = buf[i];
        } else {
            ptr[i] = NULL;
        }
    }
    for (int64_t pos = begin; pos < end; pos += TN_TILE) {
        int64_t n = TN_MIN(TN_TILE, end - pos);
        const void *in[8];
        for (uint32_t i = 0; i < e->n_in; i++) {
            in[i] = ptr[i];
            if (dense[i]) {
                in[i] = c->in[i] + pos * e->in_bytes[i];
            } else if (ptr[i] == NULL) {
                materialise(c, i, pos, n, buf[i]);
                in[i] = buf[i];
            }
        }
        e->fn(e->ctx, c->out + pos * e->out_bytes, in, n);
    }
}

/* Tiles inside rows [begin, end) of the innermost dim. */
static void run_rows(const EwiseCtx *c, int64_t begin, int64_t end, char (*buf)[TN_TILE * 8]) {
    const TnElementwise *e = c->e;
    const TnLoop *l = &c->loop;
    int32_t last = l->rank - 1;
    int64_t inner = l->dims[last];
    const char *filled[8] = {0};
    for (int64_t row = begin; row < end; row++) {
        const char *base[8];
        for (uint32_t i = 0; i < e->n_in; i++) {
            int64_t off = 0, rest = row;
            for (int32_t d = last - 1; d >= 0 && rest > 0; d--) {
                off += rest % l->dims[d] * l->stride[i][d];
                rest /= l->dims[d];
            }
            base[i] = c->in[i] + off * e->in_bytes[i];
            if (l->stride[i][last] == 0 && filled[i] != base[i]) {
                fill(buf[i], base[i], e->in_bytes[i], TN_MIN(TN_TILE, inner));
                filled[i] = base[i];
            }
        }
        for (int64_t pos = 0; pos < inner; pos += TN_TILE) {
            const void *in[8];
            for (uint32_t i = 0; i < e->n_in; i++)
                in[i] = l->stride[i][last] == 0 ? buf[i] : base[i] + pos * e->in_bytes[i];
            e->fn(e->ctx, c->out + (row * inner + pos) * e->out_bytes, in, TN_MIN(TN_TILE, inner - pos));
        }
    }
}

static void ewise_range(void *p, int64_t begin, int64_t end) {
    const EwiseCtx *c = p;
    alignas(64) char buf[8][TN_TILE * 8];
    if (c->by_rows)
        run_rows(c, begin, end, buf);
    else
        run_flat(c, begin, end, buf);
}

void tni_cpu_elementwise(const TnElementwise *e, const TnTensor *in, const TnTensor *out, TnThreads *threads) {
    EwiseCtx c = {.e = e, .out = out->data};
    tni_cpu_loop_broadcast(&c.loop, out, in, e->n_in);
    if (c.loop.numel == 0)
        return;
    int64_t bytes = e->out_bytes;
    for (uint32_t i = 0; i < e->n_in; i++) {
        c.in[i] = in[i].data;
        bytes += e->in_bytes[i];
    }
    int64_t inner = c.loop.dims[c.loop.rank - 1];
    c.by_rows = c.loop.rank > 1 && inner >= 128;
    int64_t items = c.by_rows ? c.loop.numel / inner : c.loop.numel;
    int64_t grain = tni_cpu_grain(items, c.by_rows ? bytes * inner : bytes);
    if (!c.by_rows)
        grain = (grain + TN_TILE - 1) / TN_TILE * TN_TILE;
    tni_cpu_parallel(threads, items, grain, ewise_range, &c);
}
