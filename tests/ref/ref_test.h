/* SPDX-License-Identifier: Apache-2.0
 *
 * Calling one reference kernel on tensors that a test writes down. */
#ifndef TENON_TESTS_REF_TEST_H
#define TENON_TESTS_REF_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/registry.h"
#include "base/dtype.h"

/* T(TN_F32, values, 2, 3): a tensor of rank 2; T0: a scalar. */
#define T(t, values, ...)                                                                                                                  \
    ((TnTensor){.data = (void *)(uintptr_t)(values),                                                                                       \
                .dtype = (t),                                                                                                              \
                .rank = (int32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                                                     \
                .dims = {__VA_ARGS__}})
#define T0(t, values) ((TnTensor){.data = (void *)(uintptr_t)(values), .dtype = (t)})
#define NONE ((TnTensor){0})

#define LIST(type, ...) ((type[]){__VA_ARGS__})
#define F(...) LIST(float, __VA_ARGS__)
#define I(...) LIST(int64_t, __VA_ARGS__)

/* Output memory for DATA_SHAPE operators: filled by resize. */
typedef struct Outputs {
    void *data[4];
} Outputs;

static inline TnStatus test_resize(TnKernelCall *call, uint32_t i, int32_t rank, const int64_t *dims) {
    Outputs *o = call->host;
    call->out[i].rank = rank;
    memcpy(call->out[i].dims, dims, (size_t)rank * sizeof dims[0]);
    o->data[i] = malloc(tn_tensor_bytes(&call->out[i]) + 1);
    call->out[i].data = o->data[i];
    return o->data[i] == NULL ? TN_ERR_MEMORY : TN_OK;
}

static inline void free_outputs(Outputs *o) {
    for (int i = 0; i < 4; i++)
        free(o->data[i]);
}

/* Runs the reference kernel of op with exactly the scratch memory it asks for. */
static inline TnStatus call_ref(TnOp op, const void *params, const TnTensor *in, uint32_t n_in, TnTensor *out, uint32_t n_out, Outputs *o,
                                TnThreads *threads, TnError *err) {
    const TnKernel *k = tni_kernel_ref(op);
    assert_non_null(k);
    TnKernelQuery q = {op, params, in, n_in, out, n_out, tni_threads_count(threads), NULL};
    size_t bytes = k->scratch != NULL ? k->scratch(&q) : 0;
    void *scratch = bytes > 0 ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    TnKernelCall c = {.params = params,
                      .in = in,
                      .n_in = n_in,
                      .out = out,
                      .n_out = n_out,
                      .scratch = scratch,
                      .scratch_bytes = bytes,
                      .threads = threads,
                      .resize = test_resize,
                      .host = o,
                      .err = err};
    TnStatus st = k->run(&c);
    free(scratch);
    return st;
}

/* One output, must succeed. */
static inline void run_ref(TnOp op, const void *params, const TnTensor *in, uint32_t n_in, TnTensor out) {
    TnError err = {0};
    TnStatus st = call_ref(op, params, in, n_in, &out, 1, NULL, NULL, &err);
    if (st != TN_OK)
        fail_msg("%s: %s", tni_op_info(op)->name, err.message);
}
#define RUN(op, params, out, ...)                                                                                                          \
    run_ref(TN_OP_##op, params, (TnTensor[]){__VA_ARGS__}, (uint32_t)(sizeof((TnTensor[]){__VA_ARGS__}) / sizeof(TnTensor)), out)

/* Same value: NaN equals NaN, -0 differs from +0. */
static inline bool same_double(double a, double b) {
    return a != a ? b != b : a == b && signbit(a) == signbit(b);
}

#define SAME(t, got, want, n)                                                                                                              \
    do {                                                                                                                                   \
        for (int64_t i_ = 0; i_ < (n); i_++)                                                                                               \
            if (!same_double(tni_load_f64(t, got, i_), tni_load_f64(t, want, i_)))                                                         \
                fail_msg("%s:%d: element %d is %.9g, expected %.9g", __FILE__, __LINE__, (int)i_, tni_load_f64(t, got, i_),                \
                         tni_load_f64(t, want, i_));                                                                                       \
    } while (0)
#define SAME_F(got, n, ...) SAME(TN_F32, got, F(__VA_ARGS__), n)
#define SAME_I(got, n, ...)                                                                                                                \
    do {                                                                                                                                   \
        for (int64_t i_ = 0; i_ < (n); i_++)                                                                                               \
            if ((got)[i_] != I(__VA_ARGS__)[i_])                                                                                           \
                fail_msg("%s:%d: element %d is %lld, expected %lld", __FILE__, __LINE__, (int)i_, (long long)(got)[i_],                    \
                         (long long)I(__VA_ARGS__)[i_]);                                                                                   \
    } while (0)
#define NEAR(got, want, n, tol)                                                                                                            \
    do {                                                                                                                                   \
        for (int64_t i_ = 0; i_ < (n); i_++)                                                                                               \
            if (!(fabs((double)(got)[i_] - (double)(want)[i_]) <= (tol)))                                                                  \
                fail_msg("%s:%d: element %d is %.9g, expected %.9g", __FILE__, __LINE__, (int)i_, (double)(got)[i_], (double)(want)[i_]);  \
    } while (0)

/* A number in [-1, 1) from a fixed sequence. */
static inline float next_random(uint32_t *seed) {
    *seed = *seed * 1664525u + 1013904223u;
    return (float)((double)(*seed >> 8) / (double)(1u << 23) - 1.0);
}

static inline float *randoms(int64_t n, uint32_t seed) {
    float *v = malloc((size_t)n * sizeof *v + 1);
    for (int64_t i = 0; v != NULL && i < n; i++)
        v[i] = next_random(&seed);
    return v;
}

#endif
