/* SPDX-License-Identifier: Apache-2.0
 *
 * Peak multiply-add rate of the core that runs this: the floor that kernel times are compared with. */
#ifndef TENON_BENCH_PEAK_H
#define TENON_BENCH_PEAK_H

#include "base/base.h"
#include "base/cpu.h"

/* Twelve independent chains of fused multiply-adds hide the latency of 4 cycles on two units. Returns GFLOP/s of one run of about
 * 50 us; the best of several is the peak at the present clock, which changes with temperature and neighbours. */
#if defined(__x86_64__)
#define BENCH_FMA512(i) "vfmadd231ps %%zmm31, %%zmm30, %%zmm" #i "\n\t"
#define BENCH_FMA256(i) "vfmadd231ps %%ymm15, %%ymm14, %%ymm" #i "\n\t"
#define BENCH_TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define BENCH_CLOBBER \
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
static inline double bench_peak_avx512(void) {
    uint64_t t = tni_now_ns();
    for (int i = 0; i < 20000; i++)
        __asm__ volatile(BENCH_TWELVE(BENCH_FMA512)::: BENCH_CLOBBER);
    return 20000.0 * 12 * 32 / (double)(tni_now_ns() - t);
}
static inline double bench_peak_avx2(void) {
    uint64_t t = tni_now_ns();
    for (int i = 0; i < 20000; i++)
        __asm__ volatile(BENCH_TWELVE(BENCH_FMA256)::: BENCH_CLOBBER);
    return 20000.0 * 12 * 16 / (double)(tni_now_ns() - t);
}
#endif

/* Peak of the best ISA level in `flags`; 0 where it is not known. */
static inline double bench_peak(uint32_t flags) {
#if defined(__x86_64__)
    if (flags & TN_CPU_AVX512)
        return bench_peak_avx512();
    if (flags & TN_CPU_AVX2)
        return bench_peak_avx2();
#endif
    (void)flags;
    return 0;
}

#endif
