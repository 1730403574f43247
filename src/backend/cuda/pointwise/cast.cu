/* SPDX-License-Identifier: Apache-2.0
 *
 * cast: the common pairs of types in vectors, all others through double or int64. To the bit as ONNX has it: floats round half to even
 * once; a float becomes an integer by truncation and saturation, NaN 0; integers wrap; anything but zero is true. saturate 2: finite values
 * beyond the largest finite number of a float target become that number. */
#include "backend/cuda/pointwise/code.cuh"
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/pointwise/pointwise.h"

namespace {
template <typename T> struct Tag {};

/* ---- one element: source as float or int64, then to the target ---- */
__device__ float widen(float v) {
    return v;
}
__device__ float widen(PwHalf v) {
    float r;
    pw_to(v, r);
    return r;
}
__device__ float widen(PwBrain v) {
    float r;
    pw_to(v, r);
    return r;
}
__device__ int64_t widen(int64_t v) {
    return v;
}
__device__ int64_t widen(int32_t v) {
    return v;
}
__device__ int64_t widen(uint8_t v) {
    return v;
}
__device__ int64_t widen(PwBool v) {
    return v.v != 0;
}

template <bool CLAMP> __device__ float narrow(float v, Tag<float>) {
    return v;
}
template <bool CLAMP> __device__ PwHalf narrow(float v, Tag<PwHalf>) {
    PwHalf r;
    PwStore<CLAMP>::one(&r, v);
    return r;
}
template <bool CLAMP> __device__ PwBrain narrow(float v, Tag<PwBrain>) {
    PwBrain r;
    PwStore<CLAMP>::one(&r, v);
    return r;
}
template <bool CLAMP> __device__ int64_t narrow(float v, Tag<int64_t>) {
    return v != v ? 0 : v >= 0x1p63f ? INT64_MAX : v <= -0x1p63f ? INT64_MIN : (int64_t)v;
}
template <bool CLAMP> __device__ int32_t narrow(float v, Tag<int32_t>) {
    return v != v ? 0 : v >= 0x1p31f ? INT32_MAX : v <= -0x1p31f ? INT32_MIN : (int32_t)v;
}
template <bool CLAMP> __device__ uint8_t narrow(float v, Tag<uint8_t>) {
    return v != v || v <= 0.0f ? 0 : v >= 255.0f ? 255 : (uint8_t)(uint32_t)v;
}
template <bool CLAMP> __device__ PwBool narrow(float v, Tag<PwBool>) {
    return {(unsigned char)(v != 0.0f)};
}

template <bool CLAMP> __device__ float narrow(int64_t v, Tag<float>) {
    return __ll2float_rn(v);
}
/* Rounded once: an integer of more than 24 bits goes through double with a sticky bit. */
template <bool CLAMP, typename T> __device__ T narrow_integer(int64_t v, Tag<T> to) {
    const bool small = v > -(1 << 24) && v < 1 << 24;
    return narrow<CLAMP>(small ? (float)(int32_t)v : el_odd(el_wide_integer(v, false)), to);
}
template <bool CLAMP> __device__ PwHalf narrow(int64_t v, Tag<PwHalf> to) {
    return narrow_integer<CLAMP>(v, to);
}
template <bool CLAMP> __device__ PwBrain narrow(int64_t v, Tag<PwBrain> to) {
    return narrow_integer<CLAMP>(v, to);
}
template <bool CLAMP> __device__ int64_t narrow(int64_t v, Tag<int64_t>) {
    return v;
}
template <bool CLAMP> __device__ int32_t narrow(int64_t v, Tag<int32_t>) {
    return (int32_t)(uint32_t)(uint64_t)v;
}
template <bool CLAMP> __device__ uint8_t narrow(int64_t v, Tag<uint8_t>) {
    return (uint8_t)(uint64_t)v;
}
template <bool CLAMP> __device__ PwBool narrow(int64_t v, Tag<PwBool>) {
    return {(unsigned char)(v != 0)};
}

/* Elements a thread takes at once. */
template <size_t A, size_t B> struct Width {
    static constexpr int widest = (int)(A > B ? A : B);
    static constexpr int n = (A == 2 || B == 2) && widest <= 4 ? 8 : 16 / widest;
};

template <typename TI, typename TO, bool CLAMP>
__global__ void __launch_bounds__(PW_BLOCK) cast_kernel(const TI *__restrict__ x, TO *__restrict__ y, int64_t n, bool vec) {
    tni_start();
    constexpr int V = Width<sizeof(TI), sizeof(TO)>::n;
    const int64_t unit = (int64_t)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (vec) {
        const int64_t first = unit * V;
        if (first + V <= n) {
            const PwVec<TI, V> a = *(const PwVec<TI, V> *)(x + first);
            PwVec<TO, V> b;
#pragma unroll
            for (int i = 0; i < V; i++)
                b.v[i] = narrow<CLAMP>(widen(a.v[i]), Tag<TO>());
            *(PwVec<TO, V> *)(y + first) = b;
        } else {
            for (int64_t i = first; i < n; i++)
                y[i] = narrow<CLAMP>(widen(x[i]), Tag<TO>());
        }
    } else if (unit < n) {
        y[unit] = narrow<CLAMP>(widen(x[unit]), Tag<TO>());
    }
}

template <typename TI, typename TO> void launch(TnKernelCall *call, int64_t n, bool clamp) {
    constexpr int V = Width<sizeof(TI), sizeof(TO)>::n;
    const TI *x = (const TI *)call->in[0].data;
    TO *y = (TO *)call->out[0].data;
    const bool vec =
        tni_is_aligned(x, sizeof(TI) * V > 16 ? 16 : sizeof(TI) * V) && tni_is_aligned(y, sizeof(TO) * V > 16 ? 16 : sizeof(TO) * V);
    const unsigned blocks = (unsigned)tni_div_up(vec ? tni_div_up(n, V) : n, PW_BLOCK);
    if (clamp)
        (void)tni_launch_early(call->stream, cast_kernel<TI, TO, true>, blocks, PW_BLOCK, 0, x, y, n, vec);
    else
        (void)tni_launch_early(call->stream, cast_kernel<TI, TO, false>, blocks, PW_BLOCK, 0, x, y, n, vec);
}

/* ---- any pair ---- */
__device__ double clamped(uint32_t to, double v) {
    const double most = to == TN_F16                             ? 65504.0
                        : to == TN_BF16                          ? 0x1.fep127
                        : to == TN_F32                           ? 0x1.fffffep127
                        : to == TN_F8E4M3FN                      ? 448.0
                        : to == TN_F8E4M3FNUZ                    ? 240.0
                        : to == TN_F8E5M2 || to == TN_F8E5M2FNUZ ? 57344.0
                                                                 : (double)INFINITY;
    return v - v != 0.0 ? v : v > most ? most : v < -most ? -most : v;
}

__global__ void __launch_bounds__(PW_BLOCK) cast_any(uint32_t from, const void *x, uint32_t to, void *y, int64_t n, uint32_t saturate) {
    tni_start();
    const int64_t i = (int64_t)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (i >= n)
        return;
    double v;
    if (el_exact(from)) {
        const int64_t k = el_load_i64(from, x, i);
        if (el_exact(to)) {
            el_store_i64(to, y, i, k);
            return;
        }
        v = to == TN_F64 ? (from == TN_U64 ? (double)(uint64_t)k : (double)k) : el_wide_integer(k, from == TN_U64);
    } else {
        v = el_load_f64(from, x, i);
    }
    if (saturate == 2)
        v = clamped(to, v);
    if (saturate == 0 && to >= TN_F8E4M3FN && to <= TN_F8E5M2FNUZ)
        ((uint8_t *)y)[i] = (uint8_t)el_to_f8(to, v, false);
    else
        el_store_f64(to, y, i, v);
}

template <typename TI> bool launch_to(TnKernelCall *call, int64_t n, bool clamp) {
    switch (call->out[0].dtype) {
    case TN_F32:
        launch<TI, float>(call, n, clamp);
        return true;
    case TN_F16:
        launch<TI, PwHalf>(call, n, clamp);
        return true;
    case TN_BF16:
        launch<TI, PwBrain>(call, n, clamp);
        return true;
    case TN_I64:
        launch<TI, int64_t>(call, n, clamp);
        return true;
    case TN_I32:
        launch<TI, int32_t>(call, n, clamp);
        return true;
    case TN_U8:
        launch<TI, uint8_t>(call, n, clamp);
        return true;
    case TN_BOOL:
        launch<TI, PwBool>(call, n, clamp);
        return true;
    default:
        return false;
    }
}

bool launch_pair(TnKernelCall *call, int64_t n, bool clamp) {
    switch (call->in[0].dtype) {
    case TN_F32:
        return launch_to<float>(call, n, clamp);
    case TN_F16:
        return launch_to<PwHalf>(call, n, clamp);
    case TN_BF16:
        return launch_to<PwBrain>(call, n, clamp);
    case TN_I64:
        return launch_to<int64_t>(call, n, clamp);
    case TN_I32:
        return launch_to<int32_t>(call, n, clamp);
    case TN_U8:
        return launch_to<uint8_t>(call, n, clamp);
    case TN_BOOL:
        return launch_to<PwBool>(call, n, clamp);
    default:
        return false;
    }
}
} // namespace

TnStatus tni_cuda_cast(TnKernelCall *call) {
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    const uint32_t saturate = ((const TnCastParams *)call->params)->saturate;
    const int64_t n = tn_tensor_numel(y);
    if (n == 0 || (x->dtype == y->dtype && x->data == y->data))
        return TN_OK;
    if (x->dtype == y->dtype) {
        TNI_CUDA(call->err, cudaMemcpyAsync(y->data, x->data, tn_tensor_bytes(y), cudaMemcpyDeviceToDevice, call->stream->s), "cast");
        return TN_OK;
    }
    if (!launch_pair(call, n, saturate == 2))
        (void)tni_launch_early(call->stream, cast_any, (unsigned)tni_div_up(n, PW_BLOCK), PW_BLOCK, 0, (uint32_t)x->dtype, x->data,
                               (uint32_t)y->dtype, y->data, n, saturate);
    return tni_cuda_launched(call, "cast");
}
