/* SPDX-License-Identifier: Apache-2.0
 *
 * Runs one kernel call as a plan would: constants packed, scratch as asked for. */
#ifndef TENON_BENCH_OPS_H
#define TENON_BENCH_OPS_H

#include <stdio.h>
#include <stdlib.h>

#include "kernel/kernel.h"
#include "peak.h"

typedef struct BenchCall {
    const TnKernel *k;
    TnKernelCall call;
    TnTensor in[8], out[2];
    const void *packed[8];
    void *owned[80];
    uint32_t n_owned;
} BenchCall;

static inline void *bench_alloc(BenchCall *b, size_t bytes) {
    void *p = aligned_alloc(64, tni_align_up(bytes, 64) + 64);
    if (p == NULL || b->n_owned == TN_COUNT(b->owned))
        exit(1);
    return b->owned[b->n_owned++] = p;
}

/* A tensor of pseudo-random floats in [-1, 1). */
static inline TnTensor bench_tensor(BenchCall *b, int32_t rank, const int64_t *dims) {
    TnTensor t = {.dtype = TN_F32, .rank = rank};
    for (int32_t i = 0; i < rank; i++)
        t.dims[i] = dims[i];
    int64_t n = tn_tensor_numel(&t);
    float *p = bench_alloc(b, (size_t)n * sizeof *p);
    for (int64_t i = 0; i < n; i++)
        p[i] = (float)(i * 2654435761u % 2000u) * 1e-3f - 1.0f;
    t.data = p;
    return t;
}

static inline void bench_free(BenchCall *b) {
    while (b->n_owned > 0)
        free(b->owned[--b->n_owned]);
}

static inline void bench_call(void *ctx) {
    BenchCall *b = ctx;
    if (b->k->run(&b->call) != TN_OK)
        exit(1);
}

/* Bit i of constants: input i is known when the kernel is chosen. False when k does not take the operands. */
static inline bool bench_prepare(BenchCall *b, const TnKernel *k, const void *params, uint32_t n_in, uint32_t constants, uint32_t n_out,
                                 TnThreads *threads) {
    TnTensor known[8];
    for (uint32_t i = 0; i < n_in; i++) {
        known[i] = b->in[i];
        b->packed[i] = NULL;
        if ((constants >> i & 1) == 0)
            known[i].data = NULL;
    }
    TnKernelQuery q = {
        .op = k->op, .params = params, .in = known, .n_in = n_in, .out = b->out, .n_out = n_out, .threads = tni_threads_count(threads)};
    if (k->supports != NULL && !k->supports(&q))
        return false;
    for (uint32_t i = 0; i < n_in && k->packed_bytes != NULL; i++) {
        size_t bytes = k->packed_bytes(&q, i);
        if (bytes == 0)
            continue;
        void *p = bench_alloc(b, bytes);
        k->pack(&q, i, p);
        b->packed[i] = p;
    }
    size_t scratch = k->scratch != NULL ? k->scratch(&q) : 0;
    b->k = k;
    b->call = (TnKernelCall){.params = params,
                             .in = b->in,
                             .n_in = n_in,
                             .out = b->out,
                             .n_out = n_out,
                             .packed = b->packed,
                             .scratch = bench_alloc(b, scratch),
                             .scratch_bytes = scratch,
                             .threads = threads};
    return true;
}

static inline void bench_report(BenchCall *b, const char *what, double flops, TnThreads *threads) {
    uint32_t nt = tni_threads_count(threads);
    BenchTime r = bench_time(bench_call, b, flops, nt, b->k->cpu);
    printf("%-52s %-26s t=%u %10.1f us %7.1f GFLOP/s, p90 %5.1f%% of peak\n", what, b->k->name, nt, r.best_us, flops / r.best_us * 1e-3,
           100 * r.peak_fraction);
    fflush(stdout);
}

#endif
