/* SPDX-License-Identifier: Apache-2.0
 *
 * The strided copy: dims of 1 go, dims that both sides walk as one are merged, then one of three inner loops runs: contiguous runs,
 * transposed tiles (the source's contiguous dim is not the destination's), or single elements. */
#include "backend/cpu/common/copy.h"

typedef struct U128 {
    uint64_t v[2];
} U128;

void tni_cpu_row_strides(int32_t rank, const int64_t *dims, int64_t *stride) {
    int64_t step = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= dims[d];
    }
}

void tni_cpu_fill(void *dst, const void *value, uint32_t bytes, int64_t n) {
    char *p = dst;
    if (n <= 0)
        return;
    if (bytes == 1) {
        memset(p, *(const unsigned char *)value, (size_t)n);
        return;
    }
    memcpy(p, value, bytes);
    for (int64_t have = 1; have < n;) { /* doubling, until a piece is 4 KB */
        int64_t m = TN_MIN(TN_MIN(have, n - have), (int64_t)(4096 / bytes));
        memcpy(p + have * bytes, p, (size_t)m * bytes);
        have += m;
    }
}

typedef struct BytesCtx {
    char *dst;
    const char *src;
} BytesCtx;

static void bytes_range(void *ctx, int64_t begin, int64_t end) {
    const BytesCtx *c = ctx;
    memcpy(c->dst + begin, c->src + begin, (size_t)(end - begin));
}

void tni_cpu_copy_bytes(void *dst, const void *src, size_t n, TnThreads *threads) {
    BytesCtx c = {dst, src};
    if (n > 0 && dst != src)
        tni_cpu_parallel(threads, (int64_t)n, TN_MAX((tni_cpu_grain((int64_t)n, 2) + 63) / 64 * 64, 65536), bytes_range, &c);
}

#define PLAIN_TILE(name, T)                                                                                                                \
    static void name(void *pd, int64_t dst_step, const void *ps, int64_t src_step, int64_t rows, int64_t cols) {                           \
        T *d = pd;                                                                                                                         \
        const T *s = ps;                                                                                                                   \
        for (int64_t j0 = 0; j0 < cols; j0 += 8) {                                                                                         \
            const int64_t j1 = TN_MIN(j0 + 8, cols);                                                                                       \
            for (int64_t i = 0; i < rows; i++)                                                                                             \
                for (int64_t j = j0; j < j1; j++)                                                                                          \
                    d[i * dst_step + j] = s[j * src_step + i];                                                                             \
        }                                                                                                                                  \
    }
PLAIN_TILE(tile_1, uint8_t)
PLAIN_TILE(tile_2, uint16_t)
PLAIN_TILE(tile_4, uint32_t)
PLAIN_TILE(tile_8, uint64_t)
PLAIN_TILE(tile_16, U128)
const TnTransposeTiles tni_cpu_tiles_plain = {{tile_1, tile_2, tile_4, tile_8, tile_16}};

/* The copy after merging; inner dims are handled by the loop chosen, outer ones counted through. */
typedef struct Plan {
    TnCopy c;
    int32_t outer;  /* dims counted through by an item's number */
    int32_t turned; /* tile: the dim that is contiguous in the source */
    TnTransposeTile tile;
    int64_t strips; /* tile: pieces of the turned dim */
    int64_t pieces; /* tile: pieces of the last dim */
} Plan;

static int32_t log2_bytes(uint32_t bytes) {
    return bytes == 1 ? 0 : bytes == 2 ? 1 : bytes == 4 ? 2 : bytes == 8 ? 3 : 4;
}

static void merge(const TnCopy *in, TnCopy *out) {
    *out = *in;
    out->rank = 0;
    for (int32_t d = 0; d < in->rank; d++) {
        if (in->dims[d] == 1)
            continue;
        int32_t l = out->rank - 1;
        if (l >= 0 && out->dst_stride[l] == in->dst_stride[d] * in->dims[d] && out->src_stride[l] == in->src_stride[d] * in->dims[d]) {
            out->dims[l] *= in->dims[d];
        } else {
            l = out->rank++;
            out->dims[l] = in->dims[d];
        }
        out->dst_stride[l] = in->dst_stride[d];
        out->src_stride[l] = in->src_stride[d];
    }
    if (out->rank == 0) {
        out->dims[0] = out->dst_stride[0] = out->src_stride[0] = 1;
        out->rank = 1;
    }
}

/* Counts through the first n dims (dim `but` left out), offsets kept up to date. */
typedef struct Walk {
    const TnCopy *c;
    int32_t n, but;
    int64_t idx[TN_COPY_MAX_DIMS], dst, src; /* elements */
} Walk;

static void walk_start(Walk *w, const TnCopy *c, int32_t n, int32_t but, int64_t item) {
    *w = (Walk){.c = c, .n = n, .but = but};
    for (int32_t d = n - 1; d >= 0; d--) {
        if (d == but)
            continue;
        w->idx[d] = item % c->dims[d];
        item /= c->dims[d];
        w->dst += w->idx[d] * c->dst_stride[d];
        w->src += w->idx[d] * c->src_stride[d];
    }
}

static void walk_next(Walk *w) {
    const TnCopy *c = w->c;
    for (int32_t d = w->n - 1; d >= 0; d--) {
        if (d == w->but)
            continue;
        w->dst += c->dst_stride[d];
        w->src += c->src_stride[d];
        if (++w->idx[d] < c->dims[d])
            return;
        w->dst -= w->idx[d] * c->dst_stride[d];
        w->src -= w->idx[d] * c->src_stride[d];
        w->idx[d] = 0;
    }
}

TN_INLINE void copy_small(char *d, const char *s, size_t n) {
    if (n == 4) {
        memcpy(d, s, 4);
    } else if (n == 8) {
        memcpy(d, s, 8);
    } else if (n % 16 == 0 && n <= 128) {
        for (size_t i = 0; i < n; i += 16)
            memcpy(d + i, s + i, 16);
    } else {
        memcpy(d, s, n);
    }
}

/* Items: all dims but the last two; the last is a run, the one before it the rows. */
static void copy_runs(void *ctx, int64_t begin, int64_t end) {
    const Plan *p = ctx;
    const TnCopy *c = &p->c;
    const int32_t last = c->rank - 1;
    const size_t run = (size_t)c->dims[last] * c->bytes;
    const int64_t rows = last > 0 ? c->dims[last - 1] : 1;
    const int64_t dstep = last > 0 ? c->dst_stride[last - 1] * c->bytes : 0, sstep = last > 0 ? c->src_stride[last - 1] * c->bytes : 0;
    Walk w;
    walk_start(&w, c, p->outer, -1, begin);
    for (int64_t i = begin; i < end; i++, walk_next(&w)) {
        char *to = (char *)c->dst + w.dst * c->bytes;
        const char *from = (const char *)c->src + w.src * c->bytes;
        for (int64_t r = 0; r < rows; r++)
            copy_small(to + r * dstep, from + r * sstep, run);
    }
}

#define ELEMENT_LOOP(T)                                                                                                                    \
    do {                                                                                                                                   \
        T *to = (T *)c->dst + d;                                                                                                           \
        const T *from = (const T *)c->src + s;                                                                                             \
        for (int64_t j = 0; j < n; j++)                                                                                                    \
            to[j * ds] = from[j * ss];                                                                                                     \
    } while (0)

static void copy_elements(void *ctx, int64_t begin, int64_t end) {
    const Plan *p = ctx;
    const TnCopy *c = &p->c;
    const int32_t last = c->rank - 1;
    const int64_t n = c->dims[last], ds = c->dst_stride[last], ss = c->src_stride[last];
    Walk w;
    walk_start(&w, c, p->outer, -1, begin);
    for (int64_t i = begin; i < end; i++, walk_next(&w)) {
        const int64_t d = w.dst, s = w.src;
        if (ss == 0 && ds == 1)
            tni_cpu_fill((char *)c->dst + d * c->bytes, (const char *)c->src + s * c->bytes, c->bytes, n);
        else if (c->bytes == 1)
            ELEMENT_LOOP(uint8_t);
        else if (c->bytes == 2)
            ELEMENT_LOOP(uint16_t);
        else if (c->bytes == 4)
            ELEMENT_LOOP(uint32_t);
        else if (c->bytes == 8)
            ELEMENT_LOOP(uint64_t);
        else
            ELEMENT_LOOP(U128);
    }
}

/* Items: outer dims, strips of the turned dim, pieces of the last dim. */
static void copy_tiles(void *ctx, int64_t begin, int64_t end) {
    const Plan *p = ctx;
    const TnCopy *c = &p->c;
    const int32_t last = c->rank - 1, t = p->turned;
    for (int64_t i = begin; i < end; i++) {
        const int64_t col = i % p->pieces * TN_TILE_COLS, row = i / p->pieces % p->strips * TN_TILE_ROWS;
        Walk w;
        walk_start(&w, c, last, t, i / p->pieces / p->strips);
        const int64_t d = w.dst + row * c->dst_stride[t] + col, s = w.src + row + col * c->src_stride[last];
        p->tile((char *)c->dst + d * c->bytes, c->dst_stride[t], (const char *)c->src + s * c->bytes, c->src_stride[last],
                TN_MIN(TN_TILE_ROWS, c->dims[t] - row), TN_MIN(TN_TILE_COLS, c->dims[last] - col));
    }
}

void tni_cpu_copy(const TnCopy *copy, const TnTransposeTiles *tiles, TnThreads *threads) {
    Plan p = {.turned = -1};
    int64_t total = 1;
    for (int32_t d = 0; d < copy->rank; d++)
        total *= copy->dims[d];
    if (total == 0)
        return;
    merge(copy, &p.c);
    const TnCopy *c = &p.c;
    const int32_t last = c->rank - 1;
    if (c->src_stride[last] == 1 && c->dst_stride[last] == 1) {
        if (last == 0) {
            tni_cpu_copy_bytes(c->dst, c->src, (size_t)c->dims[0] * c->bytes, threads);
            return;
        }
        p.outer = last - 1;
        /* rows of the second to last dim are counted through too where that alone gives enough tasks */
        if (c->dims[last] * c->bytes >= 1024 || p.outer == 0)
            p.outer = last;
        int64_t items = 1;
        for (int32_t d = 0; d < p.outer; d++)
            items *= c->dims[d];
        if (p.outer == last) { /* every row an item: give the run loop no inner rows */
            p.c.dims[last + 1] = p.c.dims[last];
            p.c.dst_stride[last + 1] = p.c.src_stride[last + 1] = 1;
            p.c.dims[last] = 1;
            p.c.dst_stride[last] = p.c.src_stride[last] = 0;
            p.c.rank++;
        }
        tni_cpu_parallel(threads, items, tni_cpu_grain(items, total / items * c->bytes * 2), copy_runs, &p);
        return;
    }
    for (int32_t d = 0; d < last && c->dst_stride[last] == 1; d++)
        if (c->src_stride[d] == 1 && c->dims[d] > 1)
            p.turned = d;
    p.outer = last;
    if (p.turned >= 0 && c->src_stride[last] > 1) {
        p.tile = (tiles != NULL ? tiles : &tni_cpu_tiles_plain)->by_log2[log2_bytes(c->bytes)];
        p.strips = (c->dims[p.turned] + TN_TILE_ROWS - 1) / TN_TILE_ROWS;
        p.pieces = (c->dims[last] + TN_TILE_COLS - 1) / TN_TILE_COLS;
        int64_t items = total / c->dims[last] / c->dims[p.turned] * p.strips * p.pieces;
        tni_cpu_parallel(threads, items, tni_cpu_grain(items, total / items * c->bytes * 2), copy_tiles, &p);
        return;
    }
    int64_t items = total / c->dims[last];
    tni_cpu_parallel(threads, items, tni_cpu_grain(items, c->dims[last] * c->bytes * 2), copy_elements, &p);
}
