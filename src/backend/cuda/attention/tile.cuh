/* SPDX-License-Identifier: Apache-2.0
 *
 * Pieces that the attention kernels share: copies that run in the background, matrix loads, products, conversions, reading biases. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_TILE_CUH
#define TENON_BACKEND_CUDA_ATTENTION_TILE_CUH

#include <float.h>

#include "backend/cuda/attention/attention.h"

TNI_DEVICE uint32_t attn_shared(const void *p) {
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* 16 bytes of shared memory from `from` (aligned to 16): its first `bytes` bytes, then zeros. */
TNI_DEVICE void attn_copy16(void *to, const void *from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(attn_shared(to)), "l"(from), "r"(bytes) : "memory");
}
TNI_DEVICE void attn_commit(void) {
    asm volatile("cp.async.commit_group;" ::: "memory");
}
TNI_DEVICE void attn_wait_all(void) {
    asm volatile("cp.async.wait_group 0;" ::: "memory");
}

/* Four 8x8 matrices; lanes 8m .. 8m + 7 give the rows of matrix m. */
TNI_DEVICE void attn_ldmatrix(uint32_t (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(attn_shared(row))
                 : "memory");
}
TNI_DEVICE void attn_ldmatrix_t(uint32_t (&r)[4], const void *row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(attn_shared(row))
                 : "memory");
}

template <typename T> TNI_DEVICE void attn_mma(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <> __device__ __forceinline__ void attn_mma<__half>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <> __device__ __forceinline__ void attn_mma<__nv_bfloat16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* e^x of a difference of scores: one product, one instruction of the special function unit. */
TNI_DEVICE float attn_exp(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.4426950408889634f));
    return y;
}

/* Two values as a pair of T, a in the low half; values that a weighted mean of finite values may take do not need saturation. */
template <typename T> TNI_DEVICE uint32_t attn_pack(float a, float b);
template <> __device__ __forceinline__ uint32_t attn_pack<__half>(float a, float b) {
    const __half2 v = __floats2half2_rn(a, b);
    return *reinterpret_cast<const uint32_t *>(&v);
}
template <> __device__ __forceinline__ uint32_t attn_pack<__nv_bfloat16>(float a, float b) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const uint32_t *>(&v);
}

/* Bits of an element of two bytes. */
template <typename T> TNI_DEVICE uint32_t attn_bits(const T *p) {
    return *reinterpret_cast<const uint16_t *>(p);
}

/* Elements col, col + 1 of a row of d; zeros beyond. pairs: both may be read at once. */
template <typename T> TNI_DEVICE uint32_t attn_pair(const T *row, int col, int d, bool pairs) {
    if (pairs)
        return col < d ? *reinterpret_cast<const uint32_t *>(row + col) : 0u;
    const uint32_t lo = col < d ? attn_bits(row + col) : 0u, hi = col + 1 < d ? attn_bits(row + col + 1) : 0u;
    return lo | hi << 16;
}

template <typename T> TNI_DEVICE void attn_put_pair(T *row, int col, int d, uint32_t w) {
    if (col < d)
        *reinterpret_cast<uint16_t *>(row + col) = (uint16_t)w;
    if (col + 1 < d)
        *reinterpret_cast<uint16_t *>(row + col + 1) = (uint16_t)(w >> 16);
}

/* Eight elements sd apart, those from n on zero. */
template <typename T> TNI_DEVICE uint4 attn_gather8(const T *p, int64_t sd, int n) {
    uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 4; i++) {
        const uint32_t lo = 2 * i < n ? attn_bits(p + 2 * i * sd) : 0u, hi = 2 * i + 1 < n ? attn_bits(p + (2 * i + 1) * sd) : 0u;
        w[i] = lo | hi << 16;
    }
    return make_uint4(w[0], w[1], w[2], w[3]);
}

/* Four lanes with four words each: word u of lane t goes to lane u as word t. */
TNI_DEVICE void attn_turn(uint32_t (&w)[4]) {
    const bool odd = (threadIdx.x & 1) != 0, high = (threadIdx.x & 2) != 0;
#pragma unroll
    for (int u = 0; u < 4; u += 2) {
        const uint32_t got = __shfl_xor_sync(TNI_ALL, odd ? w[u] : w[u + 1], 1);
        w[u] = odd ? got : w[u];
        w[u + 1] = odd ? w[u + 1] : got;
    }
#pragma unroll
    for (int u = 0; u < 2; u++) {
        const uint32_t got = __shfl_xor_sync(TNI_ALL, high ? w[u] : w[u + 2], 2);
        w[u] = high ? got : w[u];
        w[u + 2] = high ? w[u + 2] : got;
    }
}

template <typename T> TNI_DEVICE float attn_bias_at(const TniCudaAttnBias &v, int b, int h, int i, int j) {
    const int64_t at = b * v.sb + h * v.sh + i * v.si + j * v.sj;
    return v.f32 ? reinterpret_cast<const float *>(v.p)[at] : tni_f32(reinterpret_cast<const T *>(v.p)[at]);
}

/* Biases added up: those that differ between queries (varies), or those that do not. Two finite biases never give -inf. */
template <typename T> TNI_DEVICE float attn_bias_sum(const TniCudaAttn &a, int b, int h, int i, int j, bool varies) {
    float x[2] = {0.0f, 0.0f};
#pragma unroll
    for (int w = 0; w < 2; w++)
        if (a.bias[w].p != NULL && (a.bias[w].si != 0) == varies)
            x[w] = attn_bias_at<T>(a.bias[w], b, h, i, j);
    const float s = x[0] + x[1];
    return s == -INFINITY && x[0] > -INFINITY && x[1] > -INFINITY ? -FLT_MAX : s;
}

/* What is added to every score of key j; -inf beyond the last key. */
template <typename T> TNI_DEVICE float attn_bias_by_key(const TniCudaAttn &a, int b, int h, int j) {
    return j < a.sk ? attn_bias_sum<T>(a, b, h, 0, j, false) : -INFINITY;
}

#endif
