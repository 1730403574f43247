/* SPDX-License-Identifier: Apache-2.0
 *
 * Instructions of sm_90a that the attention kernel of wg.cuh needs beyond those of gemm/hopper.cuh: products of a warpgroup with the first
 * operand in registers, boxes of four dimensions, barriers that count bytes, shared memory by address.
 *
 * An operand in registers lies as the sums of a product do: lane l of warp w has rows 16 w + l / 4 (words 0 and 2) and 8 further down
 * (words 1 and 3), columns 2 (l % 4) and the next (words 0 and 1), 8 further right (words 2 and 3). So two groups of eight columns of
 * scores are one operand of the product with the values. */
#ifndef TENON_BACKEND_CUDA_ATTENTION_WGMMA_CUH
#define TENON_BACKEND_CUDA_ATTENTION_WGMMA_CUH

#include "backend/cuda/gemm/hopper.cuh"

/* ---- barriers ---- */

/* The current phase of the barrier also waits for `bytes` of copies; no arrival. */
TNI_DEVICE void attn_expect(uint32_t bar, uint32_t bytes) {
    asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}

/* ---- copy engine: a box at (x, y, z, w) ---- */
TNI_DEVICE void attn_tma_load(uint32_t dst, const CUtensorMap *m, uint32_t bar, int32_t x, int32_t y, int32_t z, int32_t w) {
    asm volatile(
        "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];" ::"r"(dst),
        "l"((uint64_t)m), "r"(bar), "r"(x), "r"(y), "r"(z), "r"(w)
        : "memory");
}

/* ---- shared memory ---- */
TNI_DEVICE float2 attn_lds_pair(uint32_t at) {
    float2 v;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(at));
    return v;
}
TNI_DEVICE void attn_sts(uint32_t at, float v) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(at), "f"(v) : "memory");
}

/* ---- arithmetic ---- */
TNI_DEVICE float attn_exp2(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

/* ---- products ---- */

/* The compiler must not give these registers to others before the wait for the products that read them. */
template <int N> TNI_DEVICE void attn_wg_keep(uint32_t (&r)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            asm volatile("" : "+r"(r[i][j])::"memory");
}

/* Descriptors of operands in shared memory, 128-byte rows with the 128-byte swizzle from a multiple of 1024 bytes on: low word of the first
 * step, and a step `bytes` further on.
 * K along the rows (TRANS 0): a step is 32 bytes. N along the rows (TRANS 1): a step is 16 rows, `next` bytes further on are the next 64
 * columns. From eight rows to the next eight there are 1024 bytes in both. */
TNI_DEVICE uint32_t attn_wg_desc(uint32_t addr, uint32_t next) {
    return (addr & 0x3ffffu) >> 4 | next >> 4 << 16;
}
TNI_DEVICE uint64_t attn_wg_step(uint32_t desc, uint32_t bytes) {
    return (uint64_t)0x40000040u << 32 | (desc + (bytes >> 4));
}

#define ATTN_WG_R8 "%0, %1, %2, %3, %4, %5, %6, %7"
#define ATTN_WG_R24 TNI_WG_R16 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define ATTN_WG_R32 TNI_WG_R32
#define ATTN_WG_R48 TNI_WG_R48
#define ATTN_WG_R64 TNI_WG_R64
#define ATTN_WG_R72 TNI_WG_R64 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define ATTN_WG_O8 TNI_WG_O8(0)
#define ATTN_WG_O24 TNI_WG_O16, TNI_WG_O8(16)
#define ATTN_WG_O32 TNI_WG_O32
#define ATTN_WG_O48 TNI_WG_O48
#define ATTN_WG_O64 TNI_WG_O64
#define ATTN_WG_O72 TNI_WG_O64, TNI_WG_O8(64)

/* d [64, N] (+)= a [64, 16] b; b [N, 16] with K along its rows (TRANS 0) or [16, N] (TRANS 1). keep 0: what was in d does not count. */
template <typename T, int N, int TRANS> struct AttnWgmma;
#define ATTN_WG_DEFINE(TYPE, N, R, A0, A1, A2, A3, B, P, SHAPE, TRANS)                                                                     \
    template <> struct AttnWgmma<TYPE, N, TRANS> {                                                                                         \
        static __device__ __forceinline__ void go(float (&d)[R], const uint32_t (&a)[4], uint64_t b, int32_t keep) {                       \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P ", 0;\n"                                                                  \
                         "wgmma.mma_async.sync.aligned.m64n" #N SHAPE " {" ATTN_WG_R##R "}, {%" #A0 ", %" #A1 ", %" #A2 ", %" #A3          \
                                                                                        "}, %" #B ", p, 1, 1, " #TRANS ";\n}"              \
                         : ATTN_WG_O##R                                                                                                    \
                         : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(keep));                                                 \
        }                                                                                                                                  \
    };
#define ATTN_WG_DEFINE_TYPES(N, R, A0, A1, A2, A3, B, P, TRANS)                                                                            \
    ATTN_WG_DEFINE(__half, N, R, A0, A1, A2, A3, B, P, "k16.f32.f16.f16", TRANS)                                                           \
    ATTN_WG_DEFINE(__nv_bfloat16, N, R, A0, A1, A2, A3, B, P, "k16.f32.bf16.bf16", TRANS)
ATTN_WG_DEFINE_TYPES(16, 8, 8, 9, 10, 11, 12, 13, 0)
ATTN_WG_DEFINE_TYPES(48, 24, 24, 25, 26, 27, 28, 29, 0)
ATTN_WG_DEFINE_TYPES(96, 48, 48, 49, 50, 51, 52, 53, 0)
ATTN_WG_DEFINE_TYPES(144, 72, 72, 73, 74, 75, 76, 77, 0)
ATTN_WG_DEFINE_TYPES(64, 32, 32, 33, 34, 35, 36, 37, 1)
ATTN_WG_DEFINE_TYPES(128, 64, 64, 65, 66, 67, 68, 69, 1)

#endif
