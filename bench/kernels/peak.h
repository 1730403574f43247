/* SPDX-License-Identifier: Apache-2.0
 *
 * Peak multiply-add rate of the core that runs this: the floor that kernel times are compared with. */
#ifndef TENON_BENCH_PEAK_H
#define TENON_BENCH_PEAK_H

#include <stdlib.h>
#include <time.h>

#include "base/base.h"
#include "base/cpu.h"

/* Nanoseconds that this thread has run: a busy neighbour on the core does not count. For timing one thread. */
static inline uint64_t bench_thread_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Twelve independent chains of fused multiply-adds hide the latency of 4 cycles on two units. Returns GFLOP/s of one run of about
 * 50 us; the best of several is the peak at the present clock, which changes with temperature and neighbours. */
#if defined(__x86_64__)
#define BENCH_FMA512(i) "vfmadd231ps %%zmm31, %%zmm30, %%zmm" #i "\n\t"
#define BENCH_FMA256(i) "vfmadd231ps %%ymm15, %%ymm14, %%ymm" #i "\n\t"
#define BENCH_TWELVE(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define BENCH_CLOBBER "xmm14", "xmm15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11"
#define BENCH_ZERO256(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n\t" /* subnormal leftovers would be slow */
static inline double bench_peak_avx512(void) {
    __asm__ volatile(BENCH_TWELVE(BENCH_ZERO256) "vpxord %%zmm30, %%zmm30, %%zmm30\n\tvpxord %%zmm31, %%zmm31, %%zmm31" ::: BENCH_CLOBBER);
    uint64_t t = bench_thread_ns();
    for (int i = 0; i < 20000; i++)
        __asm__ volatile(BENCH_TWELVE(BENCH_FMA512)::: BENCH_CLOBBER);
    return 20000.0 * 12 * 32 / (double)(bench_thread_ns() - t);
}
static inline double bench_peak_avx2(void) {
    __asm__ volatile(BENCH_TWELVE(BENCH_ZERO256) BENCH_ZERO256(14) BENCH_ZERO256(15)::: BENCH_CLOBBER);
    uint64_t t = bench_thread_ns();
    for (int i = 0; i < 20000; i++)
        __asm__ volatile(BENCH_TWELVE(BENCH_FMA256)::: BENCH_CLOBBER);
    return 20000.0 * 12 * 16 / (double)(bench_thread_ns() - t);
}
#endif

static inline int bench_ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

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

/* Times fn(ctx): the best of many runs in microseconds, and the 90th percentile of its rate against the peak measured just before and
 * after, so that changes of the clock cancel. flops is what one run computes. Thread time is used where there is one thread. */
typedef struct BenchTime {
    double best_us, peak_fraction, peak;
} BenchTime;
static inline BenchTime bench_time(void (*fn)(void *ctx), void *ctx, double flops, uint32_t threads, uint32_t flags) {
    enum { REPS = 300 };
    double fractions[REPS], total = 0, one = 1e6;
    int n = 0;
    BenchTime r = {1e30, 0, 0};
    for (int rep = 0; rep < REPS && (rep < 7 || total < 0.3e9); rep++) {
        double before = bench_peak(flags);
        int inner = 1 + (int)(2e5 / one);
        uint64_t t = threads > 1 ? tni_now_ns() : bench_thread_ns();
        for (int i = 0; i < inner; i++)
            fn(ctx);
        double ns = (double)((threads > 1 ? tni_now_ns() : bench_thread_ns()) - t);
        double after = bench_peak(flags);
        total += ns;
        one = ns / inner;
        if (rep == 0)
            continue; /* first touches of memory */
        r.best_us = TN_MIN(r.best_us, one * 1e-3);
        r.peak = TN_MAX(r.peak, TN_MAX(before, after));
        fractions[n++] = flops / one / TN_MAX(TN_MAX(before, after), 1e-9) / threads;
    }
    qsort(fractions, (size_t)n, sizeof fractions[0], bench_ascending);
    r.peak_fraction = fractions[n * 9 / 10];
    return r;
}

#endif
