/* SPDX-License-Identifier: Apache-2.0
 *
 * Which kernel copies a box. Dims of 1 vanish and neighbours that are contiguous on both sides are joined; then a box is one run (the copy
 * engine's), has a common innermost dim (copied in units of up to 16 bytes), or exchanges its innermost dims (tiles through shared memory).
 */
#include "backend/cuda/move/box.h"

void tni_cuda_mv_strides(int32_t rank, const int64_t *dims, int64_t *strides) {
    int64_t s = 1;
    for (int32_t d = rank - 1; d >= 0; d--) {
        strides[d] = s;
        s *= dims[d];
    }
}

void tni_cuda_mv_box(const TnTensor *y, int64_t src_first, const int64_t *src_strides, MvBox *b) {
    memset(b, 0, sizeof *b);
    b->n = y->rank;
    b->src_first = src_first;
    tni_cuda_mv_strides(y->rank, y->dims, b->dst);
    for (int32_t d = 0; d < y->rank; d++) {
        b->dims[d] = y->dims[d];
        b->src[d] = src_strides[d];
    }
}

/* false: nothing to copy. */
static bool simplify(const MvBox *in, MvBox *out) {
    *out = *in;
    out->n = 0;
    for (int32_t d = 0; d < in->n; d++) {
        int32_t p = out->n - 1;
        if (in->dims[d] <= 0)
            return false;
        if (in->dims[d] == 1)
            continue;
        if (p >= 0 && out->dst[p] == in->dst[d] * in->dims[d] && out->src[p] == in->src[d] * in->dims[d]) {
            out->dims[p] *= in->dims[d];
        } else {
            p = out->n++;
            out->dims[p] = in->dims[d];
        }
        out->dst[p] = in->dst[d];
        out->src[p] = in->src[d];
    }
    return true;
}

static int64_t count(const MvBox *b) {
    int64_t n = 1;
    for (int32_t d = 0; d < b->n; d++)
        n *= b->dims[d];
    return n;
}

/* Largest unit of bytes in which the innermost dim (stride 1 on both sides) can be copied. */
static size_t unit_of(const MvBox *b, const char *dst, const char *src, size_t size) {
    const int64_t e = (int64_t)size;
    const int32_t last = b->n - 1;
    for (size_t unit = 16; unit > size; unit /= 2) {
        const int64_t u = (int64_t)unit;
        bool ok = b->dims[last] * e % u == 0 && tni_is_aligned(dst, unit) && tni_is_aligned(src, unit);
        for (int32_t d = 0; d < last; d++)
            ok = ok && b->dst[d] * e % u == 0 && b->src[d] * e % u == 0;
        if (ok)
            return unit;
    }
    return size;
}

static void strided(const TnStream *s, const MvBox *b, char *dst, const char *src, size_t size) {
    MvWalk w = {.src = src, .dst = dst, .n = b->n, .total = 1};
    const int32_t last = b->n - 1;
    const bool runs = b->n > 0 && b->dst[last] == 1 && b->src[last] == 1;
    const size_t unit = runs ? unit_of(b, dst, src, size) : size;
    const int64_t k = (int64_t)(unit / size);
    for (int32_t d = 0; d < b->n; d++) {
        const int32_t at = last - d;
        w.dims[at] = d == last ? b->dims[d] / k : b->dims[d];
        w.to[at] = d == last ? b->dst[d] : b->dst[d] / k;
        w.from[at] = d == last ? b->src[d] : b->src[d] / k;
        w.total *= w.dims[at];
        w.wide |= w.dims[at] >= INT64_C(1) << 31;
    }
    w.wide |= w.total >= INT64_C(1) << 31;
    for (int32_t d = 0; d < w.n && w.wide == 0; d++)
        w.div[d] = tni_div_make(w.dims[d]);
    tni_cuda_mv_strided(s, &w, unit);
}

/* The dims a (contiguous in src) and the last one (contiguous in dst), odd or short. false: more blocks than a launch takes. */
static bool turn(const TnStream *s, const MvBox *b, int32_t a, char *dst, const char *src, size_t size) {
    const int32_t last = b->n - 1;
    const int64_t v = 16 / (int64_t)size, na = b->dims[a], nb = b->dims[last];
    MvTurn p = {.src = src, .dst = dst, .gather = nb <= TURN_RUNS && nb < na};
    p.runs = p.gather ? nb : na;
    p.length = p.gather ? na : nb;
    p.run_step = p.gather ? b->src[last] : b->dst[a];
    p.mixed_step = p.gather ? b->dst[a] : b->src[last];
    p.dense = p.runs <= TURN_RUNS && p.mixed_step == p.runs;
    bool runs_whole = p.run_step % v == 0 && tni_is_aligned(p.gather ? src : dst, 16);
    bool rows_whole = p.mixed_step % v == 0 && tni_is_aligned(p.gather ? dst : src, 16);
    int64_t batch = 1;
    for (int32_t d = last - 1; d >= 0; d--) {
        if (d == a)
            continue;
        p.dims[p.n] = b->dims[d];
        p.to[p.n] = b->dst[d];
        p.from[p.n++] = b->src[d];
        batch *= b->dims[d];
        runs_whole = runs_whole && (p.gather ? b->src[d] : b->dst[d]) % v == 0;
        rows_whole = rows_whole && (p.gather ? b->dst[d] : b->src[d]) % v == 0;
    }
    const int64_t wide = TN_MIN(p.runs, TURN_RUNS), fit = 16384 / (wide * (int64_t)size) / 32 * 32; /* 16 KiB a tile */
    p.tile = (int32_t)TN_MIN(TN_MAX(TN_MIN(fit, 2048), 32), tni_div_up(p.length, 32) * 32);
    p.pitch = p.tile + (int32_t)v; /* an odd number of 16-byte pieces */
    p.run_turn = (int32_t)(p.run_step % v);
    p.run_tiles = tni_div_up(p.runs, TURN_RUNS);
    p.len_tiles = tni_div_up(p.length, p.tile);
    p.run_pieces = tni_div_make(p.tile / v + (runs_whole ? 0 : 1));
    p.line_pieces = tni_div_make(tni_div_up(wide + (rows_whole ? 0 : v - 1), v));
    p.width = tni_div_make(wide);
    if (p.run_tiles > INT32_MAX || p.len_tiles > INT32_MAX / p.run_tiles || batch > INT32_MAX / (p.len_tiles * p.run_tiles))
        return false;
    tni_cuda_mv_turn(s, &p, batch, size);
    return true;
}

/* Whole pieces of 16 bytes on both sides, both dims long: the simplest tiles. */
static bool planes(const TnStream *s, const MvBox *b, int32_t a, char *dst, const char *src, size_t size) {
    const int32_t last = b->n - 1;
    MvPlane p = {.src = src, .dst = dst, .a = b->dims[a], .b = b->dims[last], .a_to = b->dst[a], .b_from = b->src[last]};
    const int64_t tile = tni_cuda_mv_tile(size), v = 16 / (int64_t)size;
    bool vec = p.a % v == 0 && p.b % v == 0 && p.a_to % v == 0 && p.b_from % v == 0 && tni_is_aligned(src, 16) && tni_is_aligned(dst, 16);
    int64_t batch = 1;
    p.a_tiles = tni_div_up(p.a, tile);
    p.b_tiles = tni_div_up(p.b, tile);
    for (int32_t d = last - 1; d >= 0; d--) {
        if (d == a)
            continue;
        p.dims[p.n] = b->dims[d];
        p.to[p.n] = b->dst[d];
        p.from[p.n++] = b->src[d];
        batch *= b->dims[d];
        vec = vec && b->dst[d] % v == 0 && b->src[d] % v == 0;
    }
    if (!vec || p.a < tile / 2 || p.b < tile / 2 || p.a_tiles * p.b_tiles * batch > INT32_MAX)
        return false;
    tni_cuda_mv_planes(s, &p, batch, size);
    return true;
}

/* Tiles pay where both of the exchanged dims are long, or a plane of them is large. */
static bool exchange(const TnStream *s, const MvBox *b, char *dst, const char *src, size_t size) {
    const int32_t last = b->n - 1;
    int32_t a = -1;
    if (last < 1 || size > 8 || b->dst[last] != 1 || b->src[last] < 2)
        return false;
    for (int32_t d = 0; d < last; d++)
        if (b->src[d] == 1)
            a = d;
    if (a < 0)
        return false;
    const int64_t shorter = TN_MIN(b->dims[a], b->dims[last]), longer = TN_MAX(b->dims[a], b->dims[last]);
    if (shorter < 8 && longer < 4096 / (shorter * (int64_t)size))
        return false;
    return (size >= 4 && planes(s, b, a, dst, src, size)) || turn(s, b, a, dst, src, size);
}

TnStatus tni_cuda_mv_copy(TnKernelCall *call, const MvBox *box, void *dst, const void *src, size_t size, const char *what) {
    MvBox b;
    if (!simplify(box, &b))
        return TN_OK;
    char *to = (char *)dst + b.dst_first * (int64_t)size;
    const char *from = (const char *)src + b.src_first * (int64_t)size;
    if (b.n == 0 || (b.n == 1 && b.dst[0] == 1 && b.src[0] == 1)) {
        if (to != from)
            TNI_CUDA(call->err, cudaMemcpyAsync(to, from, (size_t)count(&b) * size, cudaMemcpyDeviceToDevice, call->stream->s), what);
        return TN_OK;
    }
    if (!exchange(call->stream, &b, to, from, size))
        strided(call->stream, &b, to, from, size);
    return tni_cuda_launched(call, what);
}
