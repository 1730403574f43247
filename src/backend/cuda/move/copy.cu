/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels behind box.h: strided copies in units, exchanges of two dims in square tiles (4 and 8 bytes; transpose.cu has the rest), rows
 * cut into parts. In: descriptions of box.c and parts.c, whose alignment and bounds hold. Elements are moved as unsigned integers of their
 * size. */
#include "backend/cuda/move/box.h"

namespace {
/* ---- strided ---- */
template <typename T> __device__ void move_unit(const MvWalk &w, int64_t i) {
    int64_t to = 0, from = 0;
    if (w.wide == 0) {
        uint32_t rest = (uint32_t)i;
        for (int d = 0; d + 1 < w.n; d++) {
            uint32_t q, c;
            tni_divmod(rest, w.div[d], &q, &c);
            to += c * w.to[d];
            from += c * w.from[d];
            rest = q;
        }
        if (w.n > 0) {
            to += rest * w.to[w.n - 1];
            from += rest * w.from[w.n - 1];
        }
    } else {
        int64_t rest = i;
        for (int d = 0; d < w.n; d++) {
            const int64_t q = rest / w.dims[d], c = rest - q * w.dims[d];
            to += c * w.to[d];
            from += c * w.from[d];
            rest = q;
        }
    }
    ((T *)w.dst)[to] = ((const T *)w.src)[from];
}

/* Each thread moves EACH units, MV_BLOCK apart, so that several loads are under way. */
template <typename T, int EACH> __global__ void __launch_bounds__(MV_BLOCK) strided_kernel(const __grid_constant__ MvWalk w) {
    tni_start();
    const int64_t first = (int64_t)blockIdx.x * (MV_BLOCK * EACH) + threadIdx.x;
#pragma unroll
    for (int k = 0; k < EACH; k++) {
        const int64_t i = first + k * MV_BLOCK;
        if (i < w.total)
            move_unit<T>(w, i);
    }
}

/* ---- tiles ---- */
template <typename T> struct Tile {
    static constexpr int n = sizeof(T) == 8 ? 32 : 64;
    static constexpr int pitch = n + 1; /* odd, so that columns spread over the banks */
};

template <typename T> __global__ void __launch_bounds__(MV_BLOCK) plane_kernel(const __grid_constant__ MvPlane p) {
    tni_start();
    constexpr int N = Tile<T>::n, V = 16 / (int)sizeof(T), CHUNKS = N / V;
    __shared__ T tile[N][Tile<T>::pitch];
    int64_t rest = blockIdx.x;
    const int64_t b0 = rest % p.b_tiles * N;
    rest /= p.b_tiles;
    const int64_t a0 = rest % p.a_tiles * N;
    rest /= p.a_tiles;
    int64_t to = 0, from = 0;
    for (int d = 0; d < p.n; d++) {
        const int64_t c = rest % p.dims[d];
        rest /= p.dims[d];
        to += c * p.to[d];
        from += c * p.from[d];
    }
    const T *src = (const T *)p.src + from + a0;
    T *dst = (T *)p.dst + to + b0;
    const int rows = p.b - b0 < N ? (int)(p.b - b0) : N, cols = p.a - a0 < N ? (int)(p.a - a0) : N;
#pragma unroll
    for (int i = (int)threadIdx.x; i < N * CHUNKS; i += MV_BLOCK) {
        const int r = i / CHUNKS, c = i % CHUNKS * V;
        if (r < rows && c < cols) {
            const TniVec<T, V> x = *(const TniVec<T, V> *)(src + (b0 + r) * p.b_from + c);
#pragma unroll
            for (int k = 0; k < V; k++)
                tile[r][c + k] = x.v[k];
        }
    }
    __syncthreads();
#pragma unroll
    for (int i = (int)threadIdx.x; i < N * CHUNKS; i += MV_BLOCK) {
        const int c = i / CHUNKS, r = i % CHUNKS * V;
        if (c < cols && r < rows) {
            TniVec<T, V> y;
#pragma unroll
            for (int k = 0; k < V; k++)
                y.v[k] = tile[r + k][c];
            *(TniVec<T, V> *)(dst + (a0 + c) * p.a_to + r) = y;
        }
    }
}

/* ---- parts ---- */
template <typename T> __global__ void __launch_bounds__(MV_BLOCK) parts_kernel(const __grid_constant__ MvParts p) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * MV_BLOCK + threadIdx.x;
    if (i >= p.total)
        return;
    int64_t row;
    uint32_t col;
    if (p.wide == 0) {
        uint32_t q;
        tni_divmod((uint32_t)i, p.width, &q, &col);
        row = q;
    } else {
        row = i / p.width.d;
        col = (uint32_t)(i - row * p.width.d);
    }
    uint32_t lo = 0, hi = p.n; /* start[lo] <= col < start[hi] */
    while (hi - lo > 1) {
        const uint32_t mid = (lo + hi) / 2;
        if (p.start[mid] <= col)
            lo = mid;
        else
            hi = mid;
    }
    T *part = (T *)p.part[lo], *whole = (T *)p.whole + row * p.pitch + p.first + col;
    if (part == nullptr)
        return;
    part += row * (p.start[lo + 1] - p.start[lo]) + (col - p.start[lo]);
    if (p.into_whole != 0)
        *whole = *part;
    else
        *part = *whole;
}

template <typename T> void launch_strided(const TnStream *s, const MvWalk *w) {
    if (w->total >= 1 << 20)
        (void)tni_launch_early(s, strided_kernel<T, 4>, (unsigned)tni_div_up(w->total, MV_BLOCK * 4), MV_BLOCK, 0, *w);
    else
        (void)tni_launch_early(s, strided_kernel<T, 1>, (unsigned)tni_div_up(w->total, MV_BLOCK), MV_BLOCK, 0, *w);
}

} // namespace

void tni_cuda_mv_strided(const TnStream *s, const MvWalk *w, size_t unit) {
    TNI_SIZE_SWITCH(unit, T, launch_strided<T>(s, w));
}

int64_t tni_cuda_mv_tile(size_t size) {
    return size == 8 ? 32 : 64;
}

void tni_cuda_mv_planes(const TnStream *s, const MvPlane *p, int64_t batch, size_t size) {
    const unsigned blocks = (unsigned)(p->a_tiles * p->b_tiles * batch);
    if (size == 4)
        (void)tni_launch_early(s, plane_kernel<uint32_t>, blocks, MV_BLOCK, 0, *p);
    else
        (void)tni_launch_early(s, plane_kernel<uint64_t>, blocks, MV_BLOCK, 0, *p);
}

void tni_cuda_mv_parts(const TnStream *s, const MvParts *p, size_t unit) {
    const unsigned blocks = (unsigned)tni_div_up(p->total, MV_BLOCK);
    TNI_SIZE_SWITCH(unit, T, ((void)tni_launch_early(s, parts_kernel<T>, blocks, MV_BLOCK, 0, *p)));
}
