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

static void strided(cudaStream_t s, const MvBox *b, char *dst, const char *src, size_t size) {
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

/* Tiles pay where both of the exchanged dims are long. */
static bool planes(cudaStream_t s, const MvBox *b, char *dst, const char *src, size_t size) {
    const int32_t last = b->n - 1;
    int32_t a = -1;
    if (last < 1 || size > 8 || b->dst[last] != 1 || b->src[last] < 2 || b->dims[last] < 8)
        return false;
    for (int32_t d = 0; d < last; d++)
        if (b->src[d] == 1 && b->dims[d] >= 8)
            a = d;
    if (a < 0)
        return false;
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
    if (p.a_tiles * p.b_tiles * batch > INT32_MAX)
        return false;
    tni_cuda_mv_planes(s, &p, batch, size, vec);
    return true;
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
    if (!planes(call->stream->s, &b, to, from, size))
        strided(call->stream->s, &b, to, from, size);
    return tni_cuda_launched(call, what);
}
