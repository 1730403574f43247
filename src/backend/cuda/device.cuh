/* SPDX-License-Identifier: Apache-2.0
 *
 * Device code that all kernels share. T is float, __half or __nv_bfloat16; arithmetic is f32. Included by cuda.h.
 *
 * Conversions to a narrow type round to nearest even and saturate: finite values out of range become the largest finite value, infinities
 * and NaN stay. Reductions combine in an order that depends on the shape alone, so that results are the same on every run. */
#ifndef TENON_BACKEND_CUDA_DEVICE_CUH
#define TENON_BACKEND_CUDA_DEVICE_CUH

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define TNI_DEVICE static __device__ __forceinline__
#define TNI_WARP 32
#define TNI_ALL 0xffffffffu

/* ---- type names ---- */

/* Runs the statements with T as the C++ type of a floating dtype; nothing for another dtype. */
#define TNI_FLOAT_SWITCH(dtype, T, ...)     \
    do {                                    \
        if ((dtype) == TN_F32) {            \
            using T = float;                \
            __VA_ARGS__;                    \
        } else if ((dtype) == TN_F16) {     \
            using T = __half;               \
            __VA_ARGS__;                    \
        } else if ((dtype) == TN_BF16) {    \
            using T = __nv_bfloat16;        \
            __VA_ARGS__;                    \
        }                                   \
    } while (0)

/* The same with T as an unsigned integer of a size of 1, 2, 4, 8 or 16 bytes: for moving. */
#define TNI_SIZE_SWITCH(size, T, ...)       \
    do {                                    \
        if ((size) == 1) {                  \
            using T = uint8_t;              \
            __VA_ARGS__;                    \
        } else if ((size) == 2) {           \
            using T = uint16_t;             \
            __VA_ARGS__;                    \
        } else if ((size) == 4) {           \
            using T = uint32_t;             \
            __VA_ARGS__;                    \
        } else if ((size) == 8) {           \
            using T = uint2;                \
            __VA_ARGS__;                    \
        } else if ((size) == 16) {          \
            using T = uint4;                \
            __VA_ARGS__;                    \
        }                                   \
    } while (0)

/* ---- conversions ---- */
TNI_DEVICE float tni_f32(float v) { return v; }
TNI_DEVICE float tni_f32(__half v) { return __half2float(v); }
TNI_DEVICE float tni_f32(__nv_bfloat16 v) { return __bfloat162float(v); }

/* v within -limit .. limit, but infinities and NaN as they are. */
TNI_DEVICE float tni_saturate(float v, float limit) {
    float c = fminf(fmaxf(v, -limit), limit);
    return fabsf(v) < INFINITY ? c : v;
}

template <typename T> TNI_DEVICE T tni_from_f32(float v);
template <> __device__ __forceinline__ float tni_from_f32<float>(float v) { return v; }
template <> __device__ __forceinline__ __half tni_from_f32<__half>(float v) { return __float2half_rn(tni_saturate(v, 65504.0f)); }
template <> __device__ __forceinline__ __nv_bfloat16 tni_from_f32<__nv_bfloat16>(float v) {
    return __float2bfloat16_rn(tni_saturate(v, 3.38953139e38f));
}

/* ---- vectors: N elements loaded or stored at once, N * sizeof(T) in 1, 2, 4, 8, 16 ---- */
template <typename T, int N> struct alignas(sizeof(T) * N) TniVec {
    T v[N];
};

/* Elements of T in 16 bytes. */
template <typename T> struct TniWide {
    static constexpr int n = 16 / (int)sizeof(T);
};

/* N floats from p, in pieces of up to 16 bytes; p aligned to min(16, N * sizeof(T)). N is a power of two. */
template <int N, typename T> TNI_DEVICE void tni_load(float (&dst)[N], const T *p) {
    constexpr int W = N < TniWide<T>::n ? N : TniWide<T>::n;
#pragma unroll
    for (int i = 0; i < N; i += W) {
        const TniVec<T, W> x = *reinterpret_cast<const TniVec<T, W> *>(p + i);
#pragma unroll
        for (int j = 0; j < W; j++)
            dst[i + j] = tni_f32(x.v[j]);
    }
}

template <int N, typename T> TNI_DEVICE void tni_store(T *p, const float (&src)[N]) {
    constexpr int W = N < TniWide<T>::n ? N : TniWide<T>::n;
#pragma unroll
    for (int i = 0; i < N; i += W) {
        TniVec<T, W> x;
#pragma unroll
        for (int j = 0; j < W; j++)
            x.v[j] = tni_from_f32<T>(src[i + j]);
        *reinterpret_cast<TniVec<T, W> *>(p + i) = x;
    }
}

/* 16 bytes; p aligned to 16. The second form goes past L1: for data read once. */
TNI_DEVICE uint4 tni_load16(const void *p) { return *reinterpret_cast<const uint4 *>(p); }
TNI_DEVICE uint4 tni_load16_once(const void *p) { return __ldcs(reinterpret_cast<const uint4 *>(p)); }
TNI_DEVICE void tni_store16(void *p, uint4 v) { *reinterpret_cast<uint4 *>(p) = v; }

/* ---- reductions: every lane or thread gets the result ---- */
struct TniSum {
    template <typename V> __device__ __forceinline__ V operator()(V a, V b) const { return a + b; }
    static __device__ __forceinline__ float neutral() { return 0.0f; }
};
/* NaN is ignored unless both are NaN, as fmaxf does. */
struct TniMax {
    __device__ __forceinline__ float operator()(float a, float b) const { return fmaxf(a, b); }
    static __device__ __forceinline__ float neutral() { return -INFINITY; }
};
struct TniMin {
    __device__ __forceinline__ float operator()(float a, float b) const { return fminf(a, b); }
    static __device__ __forceinline__ float neutral() { return INFINITY; }
};

/* Over groups of WIDTH neighbouring lanes (a power of two up to 32); all lanes of the warp take part. */
template <typename F, int WIDTH = TNI_WARP, typename V> TNI_DEVICE V tni_warp_reduce(V v, F f = F()) {
#pragma unroll
    for (int step = WIDTH / 2; step > 0; step /= 2)
        v = f(v, __shfl_xor_sync(TNI_ALL, v, step));
    return v;
}
template <int WIDTH = TNI_WARP> TNI_DEVICE float tni_warp_sum(float v) { return tni_warp_reduce<TniSum, WIDTH>(v); }
template <int WIDTH = TNI_WARP> TNI_DEVICE float tni_warp_max(float v) { return tni_warp_reduce<TniMax, WIDTH>(v); }

/* Over a block of blockDim.x threads, a multiple of 32 up to 1024. shared: 32 floats that may be used again at once (it ends with a
 * barrier). */
template <typename F> TNI_DEVICE float tni_block_reduce(float v, float *shared, F f = F()) {
    const int lane = (int)threadIdx.x & 31, warp = (int)threadIdx.x >> 5, warps = (int)blockDim.x >> 5;
    v = tni_warp_reduce<F>(v, f);
    if (lane == 0)
        shared[warp] = v;
    __syncthreads();
    v = lane < warps ? shared[lane] : F::neutral();
    v = tni_warp_reduce<F>(v, f);
    __syncthreads();
    return v;
}
TNI_DEVICE float tni_block_sum(float v, float *shared) { return tni_block_reduce<TniSum>(v, shared); }
TNI_DEVICE float tni_block_max(float v, float *shared) { return tni_block_reduce<TniMax>(v, shared); }

/* ---- starting before the work in front is done (programmatic dependent launch, capability 9.0) ----
 *
 * A kernel launched by tni_launch_early may start while the kernel before it in the stream still runs. Every thread that touches global
 * memory which an earlier kernel may write, or read before this one writes it, calls tni_after() first; what no kernel of a run writes
 * (packed constants) may be fetched before it, and so may everything that touches no memory; operands that may be constants or not can be
 * brought nearer by tni_prefetch. A kernel calls tni_let_next() where its successor may come up beside it; memory is settled for the
 * successor at its own tni_after(), which waits for the whole kernel. At least one thread of every such kernel calls tni_after(): else its
 * successor would not wait for what was before it. In a kernel launched otherwise, and below 9.0, both do nothing. */
TNI_DEVICE void tni_after(void) {
#if __CUDA_ARCH__ >= 900 && TENON_CUDA_EARLY
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
TNI_DEVICE void tni_let_next(void) {
#if __CUDA_ARCH__ >= 900 && TENON_CUDA_EARLY
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
/* Both: for kernels that have nothing to do ahead. */
TNI_DEVICE void tni_start(void) {
    tni_after();
    tni_let_next();
}
/* Brings the line of p into L2. A hint that never gives old data, so that it may come before tni_after() whatever p points to. */
TNI_DEVICE void tni_prefetch(const void *p) { asm volatile("prefetch.global.L2 [%0];" ::"l"(p)); }

#ifdef __cplusplus
/* Launches a kernel that has tni_after() on the way to all of its accesses. Where the driver refuses the attribute, this and all later
 * launches of the process on the device go without it. */
template <typename... P, typename... A>
static inline cudaError_t tni_launch_early(const TnStream *s, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared, A &&...args) {
    cudaLaunchAttribute early = {};
    cudaLaunchConfig_t c = {};
    early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    early.val.programmaticStreamSerializationAllowed = 1;
    c.gridDim = grid;
    c.blockDim = block;
    c.dynamicSmemBytes = shared;
    c.stream = s->s;
    c.attrs = &early;
    c.numAttrs = s->dev->early != 0 ? 1 : 0;
    cudaError_t e = cudaLaunchKernelEx(&c, kernel, P(args)...);
    if (c.numAttrs != 0 && (e == cudaErrorNotSupported || e == cudaErrorStreamCaptureUnsupported)) {
        (void)cudaGetLastError();
        s->dev->early = 0;
        c.numAttrs = 0;
        e = cudaLaunchKernelEx(&c, kernel, P(args)...);
    }
    return e;
}
#endif

/* ---- division (TniDiv, cuda.h); n < 2^31 ---- */
TNI_DEVICE uint32_t tni_quot(uint32_t n, TniDiv d) { return (__umulhi(n, d.multiplier) + n) >> d.shift; }
TNI_DEVICE void tni_divmod(uint32_t n, TniDiv d, uint32_t *quot, uint32_t *rem) {
    *quot = tni_quot(n, d);
    *rem = n - *quot * d.d;
}

/* ---- index faults ---- */

/* Notes that `index` was outside 0 .. limit - 1 (or -limit .. limit - 1): the first one in the stream stays. */
TNI_DEVICE void tni_fault_note(TniFault *f, int64_t index, int64_t limit) {
    if (atomicCAS(&f->claimed, 0u, 1u) != 0u)
        return;
    f->note->index = index;
    f->note->limit = limit;
    __threadfence_system();
    *(volatile uint32_t *)&f->note->set = 1u;
}

/* ONNX index: negative counts from the end; out of range is noted and clamped. limit > 0. */
TNI_DEVICE int64_t tni_index(TniFault *f, int64_t index, int64_t limit) {
    if (index < -limit || index >= limit) {
        tni_fault_note(f, index, limit);
        return index < 0 ? 0 : limit - 1;
    }
    return index < 0 ? index + limit : index;
}

/* ---- global position of this thread, 64-bit ---- */
TNI_DEVICE int64_t tni_thread(void) { return (int64_t)blockIdx.x * blockDim.x + threadIdx.x; }
TNI_DEVICE int64_t tni_threads(void) { return (int64_t)gridDim.x * blockDim.x; }

#endif
