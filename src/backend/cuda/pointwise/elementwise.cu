/* SPDX-License-Identifier: Apache-2.0
 *
 * unary and binary: floats through the tables of kernels, one for a function and type; integers, bool and powers of mixed types through one
 * kernel that knows function and types at run time. Integer arithmetic is in 64 bits and wraps; x / 0 is 0. */
#define PW_FUNCTIONS
#include "backend/cuda/pointwise/code.cuh"
#include "backend/cuda/pointwise/element.cuh"
#include "backend/cuda/pointwise/pointwise.h"

#define TABLES(t)                                                                                                                          \
    extern const PwKernel tni_cuda_pw_unary_##t[TN_UNARY_COUNT];                                                                           \
    extern const PwKernel tni_cuda_pw_binary_##t[TN_BINARY_COUNT];
TABLES(f32)
TABLES(f16)
TABLES(bf16)
TABLES(f64)

namespace {
const PwKernel *unary_table(TnDtype t) {
    return t == TN_F32    ? tni_cuda_pw_unary_f32
           : t == TN_F16  ? tni_cuda_pw_unary_f16
           : t == TN_BF16 ? tni_cuda_pw_unary_bf16
           : t == TN_F64  ? tni_cuda_pw_unary_f64
                          : nullptr;
}

const PwKernel *binary_table(TnDtype t) {
    return t == TN_F32    ? tni_cuda_pw_binary_f32
           : t == TN_F16  ? tni_cuda_pw_binary_f16
           : t == TN_BF16 ? tni_cuda_pw_binary_bf16
           : t == TN_F64  ? tni_cuda_pw_binary_f64
                          : nullptr;
}

/* ---- integers ---- */
__device__ int64_t div_signed(int64_t a, int64_t b) {
    return b == 0 ? 0 : b == -1 ? (int64_t)(0u - (uint64_t)a) : a / b;
}

__device__ int64_t rem_signed(int64_t a, int64_t b) {
    return b == 0 || b == -1 ? 0 : a % b;
}

__device__ uint64_t power(uint64_t a, uint64_t b) {
    uint64_t r = 1;
    for (; b != 0; b >>= 1, a *= a)
        if ((b & 1u) != 0)
            r *= a;
    return r;
}

/* A negative exponent gives the true quotient cut towards zero (0 for base 0). */
__device__ int64_t power_signed(int64_t a, int64_t b) {
    if (b >= 0)
        return (int64_t)power((uint64_t)a, (uint64_t)b);
    return a == 1 ? 1 : a == -1 ? (b % 2 == 0 ? 1 : -1) : 0;
}

__device__ bool below(bool u, int64_t a, int64_t b) {
    return u ? (uint64_t)a < (uint64_t)b : a < b;
}

__device__ int64_t arithmetic(uint32_t fn, bool u, int64_t a, int64_t b) {
    const uint64_t x = (uint64_t)a, y = (uint64_t)b;
    switch (fn) {
    case TN_BINARY_add:
        return (int64_t)(x + y);
    case TN_BINARY_sub:
        return (int64_t)(x - y);
    case TN_BINARY_mul:
        return (int64_t)(x * y);
    case TN_BINARY_div:
        return u ? (int64_t)(y == 0 ? 0 : x / y) : div_signed(a, b);
    case TN_BINARY_pow:
        return u ? (int64_t)power(x, y) : power_signed(a, b);
    case TN_BINARY_mod: {
        if (u)
            return (int64_t)(y == 0 ? 0 : x % y);
        const int64_t r = rem_signed(a, b);
        return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    }
    case TN_BINARY_fmod:
        return u ? (int64_t)(y == 0 ? 0 : x % y) : rem_signed(a, b);
    case TN_BINARY_min:
        return below(u, a, b) ? a : b;
    case TN_BINARY_max:
        return below(u, b, a) ? a : b;
    case TN_BINARY_prelu:
        return !u && a < 0 ? (int64_t)(x * y) : a;
    default:
        return 0;
    }
}

__device__ int64_t integer_binary(uint32_t fn, bool u, int64_t a, int64_t b) {
    switch (fn) {
    case TN_BINARY_equal:
        return a == b;
    case TN_BINARY_less:
        return below(u, a, b);
    case TN_BINARY_less_equal:
        return !below(u, b, a);
    case TN_BINARY_greater:
        return below(u, b, a);
    case TN_BINARY_greater_equal:
        return !below(u, a, b);
    case TN_BINARY_and_:
        return a != 0 && b != 0;
    case TN_BINARY_or_:
        return a != 0 || b != 0;
    case TN_BINARY_xor_:
        return (a != 0) != (b != 0);
    case TN_BINARY_bitwise_and:
        return a & b;
    case TN_BINARY_bitwise_or:
        return a | b;
    case TN_BINARY_bitwise_xor:
        return a ^ b;
    case TN_BINARY_shift_left:
        return (uint64_t)b >= 64 ? 0 : (int64_t)((uint64_t)a << b);
    case TN_BINARY_shift_right:
        if (u || a >= 0)
            return (uint64_t)b >= 64 ? 0 : (int64_t)((uint64_t)a >> b);
        return (uint64_t)b >= 64 ? -1 : ~(int64_t)((uint64_t)~a >> b);
    default:
        return arithmetic(fn, u, a, b);
    }
}

__device__ int64_t integer_unary(uint32_t fn, bool u, double alpha, double beta, int64_t x) {
    switch (fn) {
    case TN_UNARY_abs:
        return !u && x < 0 ? (int64_t)(0u - (uint64_t)x) : x;
    case TN_UNARY_neg:
        return (int64_t)(0u - (uint64_t)x);
    case TN_UNARY_sign:
        return u ? x != 0 : (x > 0) - (x < 0);
    case TN_UNARY_relu:
        return !u && x < 0 ? 0 : x;
    case TN_UNARY_not_:
        return x == 0;
    case TN_UNARY_bitwise_not:
        return ~x;
    default: { /* shrink */
        const double v = pw_double::pw_un_shrink(u ? (double)(uint64_t)x : (double)x, alpha, beta);
        return el_truncate(v, -0x1p63, 0x1p63, INT64_MIN, INT64_MAX);
    }
    }
}

struct Types {
    uint32_t a, b, y;
};

template <int N> __global__ void __launch_bounds__(PW_BLOCK) integer_kernel(const __grid_constant__ PwArgs p, Types t) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    long long at[N];
    const int64_t col = (int64_t)pw_place<N>(p, unit, at);
    const int64_t a = el_load_i64(t.a, p.in[0], at[0] + (p.step[0] != 0 ? col : 0));
    int64_t y;
    if (N == 1) {
        y = integer_unary(p.fn, t.a == TN_U64, p.alpha, p.beta, a);
    } else {
        const int64_t b = el_load_i64(t.b, p.in[1], at[N - 1] + (p.step[1] != 0 ? col : 0));
        y = integer_binary(p.fn, t.a == TN_U64 && t.b == TN_U64, a, b);
    }
    el_store_i64(t.y, p.out, (int64_t)unit, y);
}

/* a ** b of two types that are not both integers. */
__global__ void __launch_bounds__(PW_BLOCK) power_kernel(const __grid_constant__ PwArgs p, Types t) {
    tni_start();
    const unsigned long long unit = (unsigned long long)blockIdx.x * PW_BLOCK + threadIdx.x;
    if (unit >= p.units)
        return;
    long long at[2];
    const int64_t col = (int64_t)pw_place<2>(p, unit, at);
    const double a = el_load_f64(t.a, p.in[0], at[0] + (p.step[0] != 0 ? col : 0));
    const double b = el_load_f64(t.b, p.in[1], at[1] + (p.step[1] != 0 ? col : 0));
    el_put_f64(t.y, p.out, (int64_t)unit, pow(a, b));
}

bool exact(TnDtype t) {
    return tni_dtype_is_int(t) || t == TN_BOOL;
}
} // namespace

TnStatus tni_cuda_unary(TnKernelCall *call) {
    const TnUnaryParams *u = (const TnUnaryParams *)call->params;
    const TnTensor *x = &call->in[0], *y = &call->out[0];
    PwArgs a;
    unsigned blocks = 0;
    const bool integers = exact(x->dtype);
    TN_TRY(tni_cuda_pw_args(call, call->in, 1, y, integers ? 1 : tni_cuda_pw_width(call->in, 1, x), &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    a.fn = u->fn;
    a.alpha = (double)u->alpha;
    a.beta = (double)u->beta;
    if (integers) {
        (void)tni_launch_early(call->stream, integer_kernel<1>, blocks, PW_BLOCK, 0, a, Types{(uint32_t)x->dtype, 0, (uint32_t)y->dtype});
    } else {
        const PwKernel *table = unary_table(x->dtype);
        if (table == nullptr || u->fn >= TN_UNARY_COUNT || table[u->fn] == nullptr)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "unary: no CUDA kernel for function %u on %s", u->fn, tn_dtype_name(x->dtype));
        (void)tni_launch_early(call->stream, table[u->fn], blocks, PW_BLOCK, 0, a);
    }
    return tni_cuda_launched(call, "unary");
}

TnStatus tni_cuda_binary(TnKernelCall *call) {
    const uint32_t fn = ((const TnBinaryParams *)call->params)->fn;
    const TnTensor *x = &call->in[0], *b = &call->in[1], *y = &call->out[0];
    PwArgs a;
    unsigned blocks = 0;
    const bool integers = exact(x->dtype) && exact(b->dtype), mixed = !integers && x->dtype != b->dtype;
    TN_TRY(tni_cuda_pw_args(call, call->in, 2, y, integers || mixed ? 1 : tni_cuda_pw_width(call->in, 1, x), &a, &blocks));
    if (blocks == 0)
        return TN_OK;
    a.fn = fn;
    const Types t = {(uint32_t)x->dtype, (uint32_t)b->dtype, (uint32_t)y->dtype};
    if (integers) {
        (void)tni_launch_early(call->stream, integer_kernel<2>, blocks, PW_BLOCK, 0, a, t);
    } else if (mixed) {
        (void)tni_launch_early(call->stream, power_kernel, blocks, PW_BLOCK, 0, a, t);
    } else {
        const PwKernel *table = binary_table(x->dtype);
        if (table == nullptr || fn >= TN_BINARY_COUNT || table[fn] == nullptr)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "binary: no CUDA kernel for function %u on %s", fn, tn_dtype_name(x->dtype));
        (void)tni_launch_early(call->stream, table[fn], blocks, PW_BLOCK, 0, a);
    }
    return tni_cuda_launched(call, "binary");
}
