/* SPDX-License-Identifier: Apache-2.0
 *
 * Hopper's own instructions (sm_90a): barriers in shared memory, the copy engine, products of a warpgroup, registers of a warpgroup,
 * clusters. Names follow the PTX manual.
 *
 * Shared tiles here are always K-major rows of 128 bytes with the 128-byte swizzle: the 16-byte piece p of row r lies at piece p ^ (r & 7).
 * A tile starts at a multiple of 1024 bytes, 8 rows are one atom. So the descriptor's stride (from 8 rows to the next 8) is 1024, its
 * leading offset is not used, and a step of 32 bytes along K adds 2 to its address field. */
#ifndef TENON_BACKEND_CUDA_GEMM_HOPPER_CUH
#define TENON_BACKEND_CUDA_GEMM_HOPPER_CUH

#include "backend/cuda/cuda.h"

TNI_DEVICE uint32_t tni_smem(const void *p) { return (uint32_t)__cvta_generic_to_shared(p); }

/* ---- mbarrier; addresses in shared memory ---- */
TNI_DEVICE void tni_mbar_init(uint32_t bar, uint32_t count) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
}
TNI_DEVICE void tni_mbar_init_done(void) { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
TNI_DEVICE void tni_mbar_expect(uint32_t bar, uint32_t bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
}
TNI_DEVICE void tni_mbar_arrive(uint32_t bar) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(bar) : "memory"); }
/* On the same barrier of block `rank` of the cluster. It says that products, which have been waited for, have read a tile, not that this
 * thread has written something: so without a release at the cluster's scope, a fence of the whole GPU at every step. */
TNI_DEVICE void tni_mbar_arrive_at(uint32_t bar, uint32_t rank) {
    asm volatile("{\n.reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %0, %1;\n"
                 "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}" ::"r"(bar),
                 "r"(rank)
                 : "memory");
}
TNI_DEVICE void tni_mbar_wait(uint32_t bar, uint32_t parity) {
    uint32_t done;
    do {
        asm volatile("{\n.reg .pred p;\n"
                     "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
                     "selp.u32 %0, 1, 0, p;\n}"
                     : "=r"(done)
                     : "r"(bar), "r"(parity)
                     : "memory");
    } while (done == 0);
}

/* ---- copy engine ---- */
TNI_DEVICE void tni_tma_prefetch(const CUtensorMap *m) {
    asm volatile("prefetch.tensormap [%0];" ::"l"((uint64_t)m) : "memory");
}
TNI_DEVICE void tni_tma_load(uint32_t dst, const CUtensorMap *m, uint32_t bar, int32_t x, int32_t y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::"r"(dst),
                 "l"((uint64_t)m), "r"(bar), "r"(x), "r"(y)
                 : "memory");
}
/* To the same address of every block of the cluster in `mask`, completing on the same barrier there. */
TNI_DEVICE void tni_tma_load_multi(uint32_t dst, const CUtensorMap *m, uint32_t bar, uint16_t mask, int32_t x, int32_t y) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, {%4, %5}], "
                 "[%2], %3;" ::"r"(dst),
                 "l"((uint64_t)m), "r"(bar), "h"(mask), "r"(x), "r"(y)
                 : "memory");
}
TNI_DEVICE void tni_tma_store(const CUtensorMap *m, uint32_t src, int32_t x, int32_t y) {
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"((uint64_t)m), "r"(src), "r"(x), "r"(y)
                 : "memory");
}
TNI_DEVICE void tni_bulk_commit(void) { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
/* At most N groups of this thread still read shared memory. */
template <int N> TNI_DEVICE void tni_bulk_wait_read(void) { asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(N) : "memory"); }
template <int N> TNI_DEVICE void tni_bulk_wait(void) { asm volatile("cp.async.bulk.wait_group %0;" ::"n"(N) : "memory"); }
/* Shared memory written by this thread is seen by the copy engine after the next barrier. */
TNI_DEVICE void tni_proxy_fence(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/* ---- threads ---- */
/* The forms without .aligned: those count whole warps, and the compiler does not bring the lanes of a warp together again behind every
 * `if (lane == 0)`; then they come one after the other, and the warp counts twice. */
TNI_DEVICE void tni_bar(uint32_t id, uint32_t threads) { asm volatile("barrier.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
/* Counts for the barrier of `threads` without waiting. */
TNI_DEVICE void tni_bar_arrive(uint32_t id, uint32_t threads) { asm volatile("barrier.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory"); }
template <int N> TNI_DEVICE void tni_regs_more(void) { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N)); }
template <int N> TNI_DEVICE void tni_regs_less(void) { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N)); }

/* ---- clusters ---- */
TNI_DEVICE uint32_t tni_cluster_rank(void) {
    uint32_t r;
    asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(r));
    return r;
}
TNI_DEVICE void tni_cluster_arrive(void) { asm volatile("barrier.cluster.arrive.release;" ::: "memory"); }
TNI_DEVICE void tni_cluster_wait(void) { asm volatile("barrier.cluster.wait.acquire;" ::: "memory"); }
TNI_DEVICE float4 tni_cluster_load4(uint32_t addr, uint32_t rank) {
    float4 v;
    asm volatile("{\n.reg .b32 remote;\n"
                 "mapa.shared::cluster.u32 remote, %4, %5;\n"
                 "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n}"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(addr), "r"(rank)
                 : "memory");
    return v;
}

/* How kernels here are launched: in clusters (of one: without); early: before the kernel in front is done (device.cuh). -> how many. */
static inline unsigned tni_launch_attributes(cudaLaunchAttribute (&attr)[2], int32_t cluster, int32_t early) {
    unsigned n = 0;
    if (cluster > 1) {
        attr[n].id = cudaLaunchAttributeClusterDimension;
        attr[n].val.clusterDim.x = (unsigned)cluster;
        attr[n].val.clusterDim.y = attr[n].val.clusterDim.z = 1;
        n++;
    }
    if (early != 0) {
        attr[n].id = cudaLaunchAttributeProgrammaticStreamSerialization;
        attr[n].val.programmaticStreamSerializationAllowed = 1;
        n++;
    }
    return n;
}

/* ---- 8 x 8 matrices of 16-bit elements ---- */
TNI_DEVICE void tni_stmatrix4(uint32_t addr, const uint32_t (&r)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(addr), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3])
                 : "memory");
}
TNI_DEVICE void tni_ldmatrix4(uint32_t (&r)[4], uint32_t addr) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(addr)
                 : "memory");
}

/* ---- wgmma ---- */
TNI_DEVICE void tni_wg_fence(void) { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
TNI_DEVICE void tni_wg_commit(void) { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int N> TNI_DEVICE void tni_wg_wait(void) { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory"); }
/* The compiler must not move uses of sums over the wait for them. */
template <int N> TNI_DEVICE void tni_wg_hold(float (&d)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : "+f"(d[i])::"memory");
}
/* Descriptor of a tile at a 1024-byte boundary (see above). */
TNI_DEVICE uint64_t tni_wg_desc(uint32_t addr) {
    return (uint64_t)((addr & 0x3ffffu) >> 4) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

#define TNI_WG_R16 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define TNI_WG_R32 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TNI_WG_R48 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TNI_WG_R64 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TNI_WG_R80 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define TNI_WG_R96 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
#define TNI_WG_R128 "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, " \
    "%96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, " \
    "%112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"
#define TNI_WG_O8(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), "+f"(d[i + 6]), "+f"(d[i + 7])
#define TNI_WG_O16 TNI_WG_O8(0), TNI_WG_O8(8)
#define TNI_WG_O32 TNI_WG_O16, TNI_WG_O8(16), TNI_WG_O8(24)
#define TNI_WG_O48 TNI_WG_O32, TNI_WG_O8(32), TNI_WG_O8(40)
#define TNI_WG_O64 TNI_WG_O48, TNI_WG_O8(48), TNI_WG_O8(56)
#define TNI_WG_O80 TNI_WG_O64, TNI_WG_O8(64), TNI_WG_O8(72)
#define TNI_WG_O96 TNI_WG_O80, TNI_WG_O8(80), TNI_WG_O8(88)
#define TNI_WG_O128 TNI_WG_O96, TNI_WG_O8(96), TNI_WG_O8(104), TNI_WG_O8(112), TNI_WG_O8(120)

/* d [64, N] (+)= a [64, 32 bytes of K] b [N, 32 bytes of K]^T; keep 0: what was in d does not count. Lane l of warp w has rows
 * 16 w + l / 4 and 8 further down; d[4 j + 2 i + e] is row + 8 i, column 8 j + 2 (l % 4) + e. */
template <typename T, int N> struct TniWgmma;
#define TNI_WG_DEFINE(TYPE, N, R, A, B, P, SHAPE, TAIL)                                                                                 \
    template <> struct TniWgmma<TYPE, N> {                                                                                             \
        static __device__ __forceinline__ void go(float (&d)[R], uint64_t a, uint64_t b, int32_t keep) {                               \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #P ", 0;\n"                                                              \
                         "wgmma.mma_async.sync.aligned.m64n" #N SHAPE " {" TNI_WG_R##R "}, %" #A ", %" #B ", p, 1, 1" TAIL ";\n}"      \
                         : TNI_WG_O##R                                                                                                 \
                         : "l"(a), "l"(b), "r"(keep));                                                                                 \
        }                                                                                                                              \
    };
#define TNI_WG_DEFINE_TYPES(N, R, A, B, P)                                                   \
    TNI_WG_DEFINE(__half, N, R, A, B, P, "k16.f32.f16.f16", ", 0, 0")                        \
    TNI_WG_DEFINE(__nv_bfloat16, N, R, A, B, P, "k16.f32.bf16.bf16", ", 0, 0")               \
    TNI_WG_DEFINE(float, N, R, A, B, P, "k8.f32.tf32.tf32", "")
TNI_WG_DEFINE_TYPES(32, 16, 16, 17, 18)
TNI_WG_DEFINE_TYPES(64, 32, 32, 33, 34)
TNI_WG_DEFINE_TYPES(96, 48, 48, 49, 50)
TNI_WG_DEFINE_TYPES(128, 64, 64, 65, 66)
TNI_WG_DEFINE_TYPES(160, 80, 80, 81, 82)
TNI_WG_DEFINE_TYPES(192, 96, 96, 97, 98)
TNI_WG_DEFINE_TYPES(256, 128, 128, 129, 130)

#endif
