/* SPDX-License-Identifier: Apache-2.0
 *
 * Exchanges of two dims of which one may be short or odd: n runs of elements ("the runs") on one side, rows of n elements ("the mixed
 * side") on the other. In: an MvTurn of box.c. A block moves up to TURN_RUNS runs of `length` elements through shared memory.
 *
 * Invariants: shared memory holds the runs, each shifted so that its 16-byte pieces lie as they do in memory: pieces move whole whatever
 * the alignment of a run is, and only the first and the last piece of a run may be cut. Rows of the mixed side that touch each other are
 * moved as one line. 8 runs lie a piece further from the next 8, which spreads pieces of a row over the banks. */
#include "backend/cuda/move/box.h"

namespace {
#define PIECES 4 /* of a thread under way */

template <typename T> struct Turn {
    static constexpr int V = 16 / (int)sizeof(T);
    const MvTurn &p;
    const T *from; /* of the tile */
    T *to;
    T *tile;
    int runs, len, run_shift;

    __device__ T *place(int c, int r) const {
        const int shift = (run_shift + c * p.run_turn) & (V - 1);
        return tile + c * p.pitch + (c >> 3) * V + shift + r;
    }
    static __device__ int shift_of(const T *q) { return (int)(((uintptr_t)q / sizeof(T)) & (uintptr_t)(V - 1)); }

    /* Piece i of the runs: its run, its first element (may be negative). false: there is none. */
    __device__ bool run_piece(uint32_t i, int *c, int *r) const {
        uint32_t q, j;
        tni_divmod(i, p.run_pieces, &q, &j);
        *c = (int)q;
        *r = (int)j * V - ((run_shift + *c * p.run_turn) & (V - 1));
        return *c < runs && *r < len;
    }
    /* Piece i of the mixed side: its line's place in memory, where the line begins (element r, run 0) and ends, its first element. */
    __device__ bool mixed_piece(const T *base, uint32_t i, int64_t *at, int *line, int *end, int *e) const {
        uint32_t q = 0, j = i;
        if (p.dense == 0)
            tni_divmod(i, p.line_pieces, &q, &j);
        *line = (int)q;
        *at = (int64_t)q * p.mixed_step;
        *end = p.dense != 0 ? runs * len : runs;
        *e = (int)j * V - shift_of(base + *at);
        return *line < len && *e < *end;
    }
    static __device__ TniVec<T, V> load(const T *q, int e, int end) {
        TniVec<T, V> x;
        if (e >= 0 && e + V <= end) {
            x = *(const TniVec<T, V> *)(q + e);
        } else {
#pragma unroll
            for (int k = 0; k < V; k++)
                x.v[k] = e + k >= 0 && e + k < end ? q[e + k] : (T)0;
        }
        return x;
    }
    static __device__ void store(T *q, int e, int end, const TniVec<T, V> &x) {
        if (e >= 0 && e + V <= end) {
            *(TniVec<T, V> *)(q + e) = x;
        } else {
#pragma unroll
            for (int k = 0; k < V; k++)
                if (e + k >= 0 && e + k < end)
                    q[e + k] = x.v[k];
        }
    }
    /* Run and row of element e (at least 0) of a line. */
    __device__ void begin(int line, int e, int *c, int *r) const {
        *c = e;
        *r = line;
        if (p.dense != 0) {
            uint32_t q, rest;
            tni_divmod((uint32_t)e, p.width, &q, &rest);
            *c = (int)rest;
            *r = (int)q;
        }
    }
    __device__ void next(int *c, int *r) const {
        if (++*c == runs && p.dense != 0) {
            *c = 0;
            ++*r;
        }
    }

    __device__ void read_mixed(uint32_t total) const {
        for (uint32_t i0 = threadIdx.x; i0 < total; i0 += MV_BLOCK * PIECES) {
            TniVec<T, V> x[PIECES];
            int64_t at;
            int line, end, e, c, r;
#pragma unroll
            for (uint32_t u = 0; u < PIECES; u++)
                if (i0 + u * MV_BLOCK < total && mixed_piece(from, i0 + u * MV_BLOCK, &at, &line, &end, &e))
                    x[u] = load(from + at, e, end);
#pragma unroll
            for (uint32_t u = 0; u < PIECES; u++) {
                if (i0 + u * MV_BLOCK >= total || !mixed_piece(from, i0 + u * MV_BLOCK, &at, &line, &end, &e))
                    continue;
                begin(line, e < 0 ? 0 : e, &c, &r);
#pragma unroll
                for (int k = 0; k < V; k++) {
                    if (e + k >= 0 && e + k < end) {
                        *place(c, r) = x[u].v[k];
                        next(&c, &r);
                    }
                }
            }
        }
    }
    __device__ void write_mixed(uint32_t total) const {
        for (uint32_t i = threadIdx.x; i < total; i += MV_BLOCK) {
            int64_t at;
            int line, end, e, c, r;
            TniVec<T, V> x;
            if (!mixed_piece(to, i, &at, &line, &end, &e))
                continue;
            begin(line, e < 0 ? 0 : e, &c, &r);
#pragma unroll
            for (int k = 0; k < V; k++) {
                if (e + k >= 0 && e + k < end) {
                    x.v[k] = *place(c, r);
                    next(&c, &r);
                }
            }
            store(to + at, e, end, x);
        }
    }
    __device__ void read_runs(uint32_t total) const {
        for (uint32_t i0 = threadIdx.x; i0 < total; i0 += MV_BLOCK * PIECES) {
            TniVec<T, V> x[PIECES];
            int c, r;
#pragma unroll
            for (uint32_t u = 0; u < PIECES; u++)
                if (i0 + u * MV_BLOCK < total && run_piece(i0 + u * MV_BLOCK, &c, &r))
                    x[u] = load(from + (int64_t)c * p.run_step, r, len);
#pragma unroll
            for (uint32_t u = 0; u < PIECES; u++)
                if (i0 + u * MV_BLOCK < total && run_piece(i0 + u * MV_BLOCK, &c, &r))
                    *(TniVec<T, V> *)place(c, r) = x[u];
        }
    }
    __device__ void write_runs(uint32_t total) const {
        for (uint32_t i = threadIdx.x; i < total; i += MV_BLOCK) {
            int c, r;
            if (run_piece(i, &c, &r)) {
                const TniVec<T, V> x = *(const TniVec<T, V> *)place(c, r);
                store(to + (int64_t)c * p.run_step, r, len, x);
            }
        }
    }
};

template <typename T> __global__ void __launch_bounds__(MV_BLOCK, 4) turn_kernel(const __grid_constant__ MvTurn p) {
    tni_start();
    extern __shared__ uint4 turn_shared[];
    constexpr int V = Turn<T>::V;
    int64_t rest = blockIdx.x;
    const int64_t r0 = rest % p.len_tiles * p.tile;
    rest /= p.len_tiles;
    const int64_t c0 = rest % p.run_tiles * TURN_RUNS;
    rest /= p.run_tiles;
    int64_t to = 0, from = 0;
    for (int d = 0; d < p.n; d++) {
        const int64_t c = rest % p.dims[d];
        rest /= p.dims[d];
        to += c * p.to[d];
        from += c * p.from[d];
    }
    const int64_t in_runs = c0 * p.run_step + r0, in_mixed = r0 * p.mixed_step + c0;
    const T *src = (const T *)p.src + from + (p.gather != 0 ? in_runs : in_mixed);
    T *dst = (T *)p.dst + to + (p.gather != 0 ? in_mixed : in_runs);
    Turn<T> t = {p, src, dst, (T *)turn_shared, 0, 0, 0};
    t.runs = (int)(p.runs - c0 < TURN_RUNS ? p.runs - c0 : TURN_RUNS);
    t.len = (int)(p.length - r0 < p.tile ? p.length - r0 : p.tile);
    t.run_shift = Turn<T>::shift_of(p.gather != 0 ? src : dst);
    const uint32_t mixed = p.dense != 0 ? (uint32_t)(t.runs * t.len + 2 * V - 2) / V : (uint32_t)t.len * p.line_pieces.d;
    const uint32_t runs = (uint32_t)t.runs * p.run_pieces.d;
    if (p.gather != 0) {
        t.read_runs(runs);
        __syncthreads();
        t.write_mixed(mixed);
    } else {
        t.read_mixed(mixed);
        __syncthreads();
        t.write_runs(runs);
    }
}

template <typename T> void launch_turn(const TnStream *s, const MvTurn *p, unsigned blocks, size_t shared) {
    (void)tni_launch_early(s, turn_kernel<T>, blocks, MV_BLOCK, shared, *p);
}
} // namespace

void tni_cuda_mv_turn(const TnStream *s, const MvTurn *p, int64_t batch, size_t size) {
    const unsigned blocks = (unsigned)(p->len_tiles * p->run_tiles * batch);
    const int64_t runs = p->runs < TURN_RUNS ? p->runs : TURN_RUNS;
    const size_t shared = (size_t)(runs * p->pitch) * size + (size_t)(runs / 8 + 1) * 16;
    if (size == 1)
        launch_turn<uint8_t>(s, p, blocks, shared);
    else if (size == 2)
        launch_turn<uint16_t>(s, p, blocks, shared);
    else if (size == 4)
        launch_turn<uint32_t>(s, p, blocks, shared);
    else
        launch_turn<uint64_t>(s, p, blocks, shared);
}
