/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products through mma.sync (sm_80 and newer) over operands that loaders describe: y[r][c] = sum over k of A[r][k] B[c][k], both
 * K-major in shared memory. A loader gives 16-byte pieces (PIECE elements of consecutive k, all inside or all outside), or single elements
 * where memory does not lie so. Convolutions are products with a loader that finds the pixels.
 *
 * Shared memory of a stage: rows of 64 bytes (A's BM, then B's BN); piece p of row r lies at p ^ ((r >> 1) & 3), so that the eight rows
 * that ldmatrix reads at once lie in different banks.
 *
 * A loader L over T has: L::ASYNC; L::Row; Row row(int r): what is needed of row r (any r >= 0);
 *   ASYNC (bytes that piece() points to, 16 or 8; 0: no pieces):  const T *piece(const Row &, int k): NULL outside
 *   else:   T elem(const Row &, int k): zero outside. */
#ifndef TENON_BACKEND_CUDA_GEMM_MMA_CUH
#define TENON_BACKEND_CUDA_GEMM_MMA_CUH

#include "backend/cuda/gemm/epilogue.cuh"

template <typename T> struct TniMmaOp;
template <> struct TniMmaOp<__half> {
    static __device__ __forceinline__ void go(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ __forceinline__ uint32_t operand(uint32_t u) { return u; }
};
template <> struct TniMmaOp<__nv_bfloat16> {
    static __device__ __forceinline__ void go(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ __forceinline__ uint32_t operand(uint32_t u) { return u; }
};
template <> struct TniMmaOp<float> { /* tf32 */
    static __device__ __forceinline__ void go(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
        asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
    static __device__ __forceinline__ uint32_t operand(uint32_t u) {
        uint32_t r;
        asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(__uint_as_float(u)));
        return r;
    }
};

TNI_DEVICE void tni_ldsm4(uint32_t (&r)[4], uint32_t addr) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(addr)
                 : "memory");
}
/* 16 bytes to shared memory; src NULL: zeros. any: some valid address. */
TNI_DEVICE void tni_copy16(uint32_t dst, const void *src, const void *any) {
    const int n = src != NULL ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(dst), "l"(src != NULL ? src : any), "r"(n) : "memory");
}
/* The same with 8 bytes. */
TNI_DEVICE void tni_copy8(uint32_t dst, const void *src, const void *any) {
    const int n = src != NULL ? 8 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(dst), "l"(src != NULL ? src : any), "r"(n) : "memory");
}
TNI_DEVICE void tni_copy_commit(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N> TNI_DEVICE void tni_copy_wait(void) { asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory"); }

/* ---- loaders of matrices ---- */

/* Rows of ld elements; ld and the start are multiples of 16 bytes, columns from k on are readable up to a multiple of 16 bytes. */
template <typename T> struct TniRows {
    static constexpr int ASYNC = 16;
    const T *p;
    int64_t ld;
    int32_t rows, k;
    static __device__ __forceinline__ TniRows make(const T *p, int64_t row_step, int64_t, int32_t rows, int32_t k) { return {p, row_step, rows, k}; }
    struct Row {
        const T *p;
    };
    __device__ __forceinline__ Row row(int32_t r) const { return {r < rows ? p + (int64_t)r * ld : (const T *)NULL}; }
    __device__ __forceinline__ const T *piece(const Row &r, int32_t at) const { return r.p != NULL && at < k ? r.p + at : (const T *)NULL; }
    __device__ __forceinline__ const T *any() const { return p; }
};
/* Element (r, k) at p[r * row_step + k * k_step]. */
template <typename T> struct TniStrided {
    static constexpr int ASYNC = 0;
    const T *p;
    int64_t row_step, k_step;
    int32_t rows, k;
    static __device__ __forceinline__ TniStrided make(const T *p, int64_t row_step, int64_t k_step, int32_t rows, int32_t k) {
        return {p, row_step, k_step, rows, k};
    }
    struct Row {
        const T *p;
    };
    __device__ __forceinline__ Row row(int32_t r) const { return {r < rows ? p + (int64_t)r * row_step : (const T *)NULL}; }
    __device__ __forceinline__ T elem(const Row &r, int32_t at) const {
        return r.p != NULL && at < k ? r.p[(int64_t)at * k_step] : tni_from_f32<T>(0.0f);
    }
};

/* 16 bytes from element `at` of a row on, in registers. */
template <typename T, typename L> TNI_DEVICE uint4 tni_fetch16(const L &l, const typename L::Row &r, int32_t at) {
    static_assert(L::ASYNC != 8, "pieces of 8 bytes are only copied");
    if constexpr (L::ASYNC == 16) {
        const T *src = l.piece(r, at);
        return src != NULL ? *reinterpret_cast<const uint4 *>(src) : make_uint4(0, 0, 0, 0);
    } else {
        TniVec<T, 16 / (int)sizeof(T)> v;
#pragma unroll
        for (int i = 0; i < 16 / (int)sizeof(T); i++)
            v.v[i] = l.elem(r, at + i);
        return *reinterpret_cast<uint4 *>(&v);
    }
}

/* ---- results ---- */

/* Rows r of y at r * ld. */
struct TniOutRows {
    int64_t ld;
    __device__ __forceinline__ int64_t at(int32_t r, int32_t c) const { return (int64_t)r * ld + c; }
};
/* Channels first: y [batch, N, positions]; row r is position r % positions of picture r / positions. */
struct TniOutPlanes {
    TniDiv positions;
    int64_t picture; /* elements of one */
    __device__ __forceinline__ int64_t at(int32_t r, int32_t c) const {
        uint32_t b, pos;
        tni_divmod((uint32_t)r, positions, &b, &pos);
        return (int64_t)b * picture + (int64_t)c * positions.d + pos;
    }
};

/* Bias, beta, of element (r, c) of m x n. */
template <typename T> TNI_DEVICE float tni_bias_at(const TniEpi &e, int32_t r, int32_t c, int32_t n) {
    if (e.bias_mode == TNI_BIAS_NONE)
        return 0.0f;
    const int64_t at = e.bias_mode == TNI_BIAS_COLUMN ? c
                       : e.bias_mode == TNI_BIAS_ROW  ? r
                       : e.bias_mode == TNI_BIAS_FULL ? (int64_t)r * n + c
                                                      : 0;
    return e.beta * tni_f32(((const T *)e.bias)[at]);
}

/* Finishes N / 4 groups of four sums: (r, c), (r, c + 1), (r + 8, c), (r + 8, c + 1), with c going on by 8 from group to group. pair: the
 * two of a row lie beside each other at a multiple of their size, and n is even. */
template <typename T, typename O, int N>
TNI_DEVICE void tni_finish(const TniEpi &e, const O &o, T *y, float (&v)[N], int32_t r0, int32_t c0, int32_t m, int32_t n, bool pair) {
    const T *res = (const T *)e.residual;
#pragma unroll
    for (int i = 0; i < N; i++) {
        const int32_t r = r0 + 8 * (i >> 1 & 1), c = c0 + 8 * (i >> 2) + (i & 1);
        v[i] = fmaf(v[i], e.alpha, r < m && c < n ? tni_bias_at<T>(e, r, c, n) : 0.0f);
    }
    tni_act_of<T>(e.act, v);
#pragma unroll
    for (int i = 0; i < N; i += 2) {
        const int32_t r = r0 + 8 * (i >> 1 & 1), c = c0 + 8 * (i >> 2);
        if (r >= m || c >= n)
            continue;
        const int64_t at = o.at(r, c);
        if (pair) {
            TniVec<T, 2> x;
            if (res != NULL) {
                x = *reinterpret_cast<const TniVec<T, 2> *>(res + at);
                v[i] += tni_f32(x.v[0]);
                v[i + 1] += tni_f32(x.v[1]);
            }
            x.v[0] = tni_from_f32<T>(v[i]);
            x.v[1] = tni_from_f32<T>(v[i + 1]);
            *reinterpret_cast<TniVec<T, 2> *>(y + at) = x;
            continue;
        }
        y[at] = tni_from_f32<T>(res != NULL ? v[i] + tni_f32(res[at]) : v[i]);
        if (c + 1 < n) {
            const int64_t next = o.at(r, c + 1);
            y[next] = tni_from_f32<T>(res != NULL ? v[i + 1] + tni_f32(res[next]) : v[i + 1]);
        }
    }
}

/* ---- the kernel ---- */

template <int BM_, int BN_, int WARPS_M_, int WARPS_N_, int STAGES_> struct TniMmaCfg {
    static constexpr int BM = BM_, BN = BN_, WARPS_M = WARPS_M_, WARPS_N = WARPS_N_, STAGES = STAGES_;
    static constexpr int THREADS = WARPS_M * WARPS_N * 32, WM = BM / WARPS_M, WN = BN / WARPS_N, MI = WM / 16, NI = WN / 8;
    static constexpr int A_PIECES = BM * 4 / THREADS, B_PIECES = BN * 4 / THREADS;
    static constexpr int STAGE_BYTES = (BM + BN) * 64, BYTES = STAGES * STAGE_BYTES;
    static_assert(A_PIECES >= 1 && B_PIECES >= 1 && NI % 2 == 0, "configuration");
};

template <typename T, int PIECES, int THREADS, typename L>
TNI_DEVICE void tni_mma_load(const L &l, const typename L::Row (&rows)[PIECES], uint8_t *smem, uint32_t at, int32_t k0) {
    const int p = (int)threadIdx.x & 3;
#pragma unroll
    for (int i = 0; i < PIECES; i++) {
        const int r = ((int)threadIdx.x >> 2) + i * (THREADS / 4);
        const uint32_t to = at + (uint32_t)(r * 64 + ((p ^ ((r >> 1) & 3)) << 4));
        const int32_t k = k0 + p * (16 / (int)sizeof(T));
        if constexpr (L::ASYNC == 16) {
            tni_copy16((uint32_t)__cvta_generic_to_shared(smem) + to, l.piece(rows[i], k), l.any());
        } else if constexpr (L::ASYNC == 8) {
            tni_copy8((uint32_t)__cvta_generic_to_shared(smem) + to, l.piece(rows[i], k), l.any());
            tni_copy8((uint32_t)__cvta_generic_to_shared(smem) + to + 8, l.piece(rows[i], k + 8 / (int)sizeof(T)), l.any());
        } else {
            *reinterpret_cast<uint4 *>(smem + to) = tni_fetch16<T>(l, rows[i], k);
        }
    }
}

/* One 64-byte step of K of a warp's tile. */
template <typename T, typename C> TNI_DEVICE void tni_mma_step(float (&acc)[C::MI][C::NI][4], uint32_t a, uint32_t b) {
    const uint32_t lane = threadIdx.x & 31;
#pragma unroll
    for (int ks = 0; ks < 2; ks++) {
        uint32_t fa[C::MI][4], fb[C::NI / 2][4];
#pragma unroll
        for (int i = 0; i < C::MI; i++) {
            const uint32_t r = i * 16 + (lane & 15), p = ks * 2 + (lane >> 4);
            tni_ldsm4(fa[i], a + r * 64 + ((p ^ ((r >> 1) & 3)) << 4));
        }
#pragma unroll
        for (int j = 0; j < C::NI / 2; j++) {
            const uint32_t r = j * 16 + (lane & 7) + ((lane >> 4) << 3), p = ks * 2 + ((lane >> 3) & 1);
            tni_ldsm4(fb[j], b + r * 64 + ((p ^ ((r >> 1) & 3)) << 4));
        }
        if constexpr (sizeof(T) == 4) {
#pragma unroll
            for (int q = 0; q < 4; q++) {
#pragma unroll
                for (int i = 0; i < C::MI; i++)
                    fa[i][q] = TniMmaOp<T>::operand(fa[i][q]);
#pragma unroll
                for (int j = 0; j < C::NI / 2; j++)
                    fb[j][q] = TniMmaOp<T>::operand(fb[j][q]);
            }
        }
#pragma unroll
        for (int i = 0; i < C::MI; i++) {
#pragma unroll
            for (int j = 0; j < C::NI; j++)
                TniMmaOp<T>::go(acc[i][j], fa[i], fb[j / 2][(j & 1) * 2], fb[j / 2][(j & 1) * 2 + 1]);
        }
    }
}

/* The tile of one product that starts at (row0, col0). Loaders bound k. */
template <typename T, typename C, typename LA, typename LB, typename O>
TNI_DEVICE void tni_mma_tile(const LA &la, const LB &lb, const O &o, const TniEpi &e, T *y, int32_t m, int32_t n, int32_t k, bool pair,
                             int32_t row0, int32_t col0, uint8_t *smem) {
    constexpr int BK = 64 / (int)sizeof(T);
    const int warp = (int)threadIdx.x >> 5, lane = (int)threadIdx.x & 31, wm = warp / C::WARPS_N, wn = warp % C::WARPS_N;
    typename LA::Row ra[C::A_PIECES];
    typename LB::Row rb[C::B_PIECES];
#pragma unroll
    for (int i = 0; i < C::A_PIECES; i++)
        ra[i] = la.row(row0 + ((int)threadIdx.x >> 2) + i * (C::THREADS / 4));
#pragma unroll
    for (int i = 0; i < C::B_PIECES; i++)
        rb[i] = lb.row(col0 + ((int)threadIdx.x >> 2) + i * (C::THREADS / 4));
    float acc[C::MI][C::NI][4] = {};
    const int32_t steps = (k + BK - 1) / BK;
#pragma unroll
    for (int s = 0; s < C::STAGES - 1; s++) {
        if (s < steps) {
            tni_mma_load<T, C::A_PIECES, C::THREADS>(la, ra, smem, (uint32_t)(s * C::STAGE_BYTES), s * BK);
            tni_mma_load<T, C::B_PIECES, C::THREADS>(lb, rb, smem, (uint32_t)(s * C::STAGE_BYTES + C::BM * 64), s * BK);
        }
        tni_copy_commit();
    }
    const uint32_t base = (uint32_t)__cvta_generic_to_shared(smem);
    int32_t stage = 0, fill = C::STAGES - 1;
    for (int32_t s = 0; s < steps; s++) {
        tni_copy_wait<C::STAGES - 2>();
        __syncthreads();
        if (s + C::STAGES - 1 < steps) {
            const uint32_t at = (uint32_t)(fill * C::STAGE_BYTES);
            tni_mma_load<T, C::A_PIECES, C::THREADS>(la, ra, smem, at, (s + C::STAGES - 1) * BK);
            tni_mma_load<T, C::B_PIECES, C::THREADS>(lb, rb, smem, at + C::BM * 64, (s + C::STAGES - 1) * BK);
        }
        tni_copy_commit();
        const uint32_t a = base + (uint32_t)(stage * C::STAGE_BYTES + wm * C::WM * 64),
                       b = base + (uint32_t)(stage * C::STAGE_BYTES + (C::BM + wn * C::WN) * 64);
        tni_mma_step<T, C>(acc, a, b);
        stage = stage + 1 == C::STAGES ? 0 : stage + 1;
        fill = fill + 1 == C::STAGES ? 0 : fill + 1;
    }
#pragma unroll
    for (int i = 0; i < C::MI; i++) {
        float v[C::NI * 4];
#pragma unroll
        for (int j = 0; j < C::NI * 4; j++)
            v[j] = acc[i][j / 4][j % 4];
        tni_finish<T, O>(e, o, y, v, row0 + wm * C::WM + i * 16 + (lane >> 2), col0 + wn * C::WN + (lane & 3) * 2, m, n, pair);
    }
}

#endif
