/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of the matrix kernels share: operands that end at a page without access (a read or write past the end faults), constant
 * operands packed as a plan would pack them, scratch of exactly the size asked for, and comparison with a reference in double. */
#ifndef TENON_TESTS_KERNELS_MATRIX_CHECK_H
#define TENON_TESTS_KERNELS_MATRIX_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/cpu.h"
#include "kernel/kernel.h"

typedef struct Guarded {
    void *map;
    size_t bytes;
} Guarded;

#define MC_MAX_MAPS 64
typedef struct Mc {
    Guarded maps[MC_MAX_MAPS];
    uint32_t n_maps;
    uint64_t rng;
} Mc;

static inline void *mc_alloc(Mc *mc, size_t bytes, size_t align) {
    size_t page = 4096, body = (bytes + align + page - 1) / page * page;
    char *map = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED && mc->n_maps < MC_MAX_MAPS);
    assert_int_equal(mprotect(map + body, page, PROT_NONE), 0);
    mc->maps[mc->n_maps++] = (Guarded){map, body + page};
    return map + (body - bytes) / align * align;
}

static inline void mc_free(Mc *mc) {
    for (uint32_t i = 0; i < mc->n_maps; i++)
        munmap(mc->maps[i].map, mc->maps[i].bytes);
    mc->n_maps = 0;
}

/* Uniform in [-1, 1). */
static inline float mc_random(Mc *mc) {
    mc->rng = mc->rng * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(mc->rng >> 40) / (double)(1u << 23) - 1.0);
}

static inline TnTensor mc_tensor(Mc *mc, int32_t rank, const int64_t *dims, bool fill) {
    TnTensor t = {.dtype = TN_F32, .rank = rank};
    for (int32_t i = 0; i < rank; i++)
        t.dims[i] = dims[i];
    int64_t n = tn_tensor_numel(&t);
    t.data = mc_alloc(mc, (size_t)n * 4, 4);
    for (int64_t i = 0; i < n; i++)
        ((float *)t.data)[i] = fill ? mc_random(mc) : NAN;
    return t;
}
#define MC_DIMS(...)                                                                                                                       \
    (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]) {                                                           \
        __VA_ARGS__                                                                                                                        \
    }

/* Runs k; inputs whose bit is set in `constants` are shown to supports(), scratch() and pack(). false when k refuses. */
static inline bool mc_run(Mc *mc, const TnKernel *k, const void *params, TnTensor *in, uint32_t n_in, uint32_t constants, TnTensor *out,
                          uint32_t n_out, TnThreads *threads) {
    TnTensor known[8];
    for (uint32_t i = 0; i < n_in; i++) {
        known[i] = in[i];
        if ((constants >> i & 1) == 0)
            known[i].data = NULL;
    }
    TnKernelQuery q = {
        .op = k->op, .params = params, .in = known, .n_in = n_in, .out = out, .n_out = n_out, .threads = tni_threads_count(threads)};
    if (k->supports != NULL && !k->supports(&q))
        return false;
    const void *packed[8] = {0};
    for (uint32_t i = 0; i < n_in && k->packed_bytes != NULL; i++) {
        size_t bytes = k->packed_bytes(&q, i);
        if (bytes > 0) {
            void *p = mc_alloc(mc, tni_align_up(bytes, 64), 64);
            k->pack(&q, i, p);
            packed[i] = p;
        }
    }
    size_t scratch = k->scratch != NULL ? k->scratch(&q) : 0;
    TnError err = {0};
    TnKernelCall call = {.params = params,
                         .in = in,
                         .n_in = n_in,
                         .out = out,
                         .n_out = n_out,
                         .packed = packed,
                         .scratch = scratch > 0 ? mc_alloc(mc, tni_align_up(scratch, 64), 64) : NULL,
                         .scratch_bytes = scratch,
                         .threads = threads,
                         .err = &err};
    TnStatus st = k->run(&call);
    if (st != TN_OK)
        fail_msg("%s: %s", k->name, err.message);
    assert_true(k->cost(&q) > 0);
    return true;
}

/* |y - ref| <= tol * max|ref| everywhere; NaN where and only where ref is NaN. */
static inline void mc_compare(const char *what, const float *y, const double *ref, int64_t n, double tol) {
    double scale = 0;
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, isfinite(ref[i]) ? fabs(ref[i]) : 0);
    for (int64_t i = 0; i < n; i++) {
        if (ref[i] != ref[i] && y[i] != y[i])
            continue;
        if (!(fabs((double)y[i] - ref[i]) <= tol * scale + 1e-30))
            fail_msg("%s: element %lld is %.9g, expected %.9g", what, (long long)i, (double)y[i], ref[i]);
    }
}

static inline double mc_act(uint32_t act, double alpha, double beta, double x) {
    switch (act) {
    case TN_ACT_RELU:
        return x > 0 ? x : 0;
    case TN_ACT_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case TN_ACT_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case TN_ACT_TANH:
        return tanh(x);
    case TN_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case TN_ACT_SILU:
        return x / (1 + exp(-x));
    case TN_ACT_CLIP:
        return fmin(beta, fmax(alpha, x));
    case TN_ACT_LEAKY_RELU:
        return x < 0 ? alpha * x : x;
    case TN_ACT_HARD_SWISH:
        return x * fmax(0, fmin(1, x / 6 + 0.5));
    default:
        return x;
    }
}

/* A worker pool of n threads for one test. */
static inline TnThreads *mc_threads(uint32_t n) {
    TnThreads *t = NULL;
    assert_int_equal(tni_threads_create(tni_default_allocator(), n, &t, NULL), TN_OK);
    return t;
}

#endif
