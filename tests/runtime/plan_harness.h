/* SPDX-License-Identifier: Apache-2.0
 *
 * For tests of plan, planner and runtime: modules made by hand, planned into memory, opened, run, and compared with the interpreter. */
#ifndef TENON_TESTS_PLAN_HARNESS_H
#define TENON_TESTS_PLAN_HARNESS_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/dtype.h"
#include "interp/interp.h"
#include "ir/graph.h"
#include "runtime/graphs.h"
#include "runtime/make_plan.h"
#include "runtime/runtime.h"
#include "shape/shape.h"

/* Fails the test with the error's text. */
#define OK(expr)                                                                                                                           \
    do {                                                                                                                                   \
        TnStatus ok_st = (expr);                                                                                                           \
        if (ok_st != TN_OK) {                                                                                                              \
            print_error("%s: %s: %s\n", #expr, tn_status_name(ok_st), err.message);                                                        \
            fail();                                                                                                                        \
        }                                                                                                                                  \
    } while (0)

/* ---- building and running ---- */

static inline TnStatus open_bytes(const uint8_t *bytes, size_t n, const TnAllocator *a, TnPlan **plan, TnError *err) {
    TnPlanOptions o = {.size = sizeof o, .allocator = a, .verify_weights = 1};
    return tni_rt_open((TnSpan){bytes, n, 0}, (TnFileMap){0}, &o, plan, err);
}

static inline TnTensor make_tensor(TnDtype t, int32_t rank, const int64_t *dims, uint32_t seed) {
    TnTensor x = {.dtype = t, .rank = rank};
    for (int32_t d = 0; d < rank; d++)
        x.dims[d] = dims[d];
    x.data = malloc(tn_tensor_bytes(&x) + 64);
    for (int64_t i = 0; i < tn_tensor_numel(&x); i++) {
        float v = noise(&seed);
        if (tni_dtype_is_float(t))
            tni_store_f64(t, x.data, i, (double)v);
        else
            tni_store_i64(t, x.data, i, v > 0 ? 1 : 0);
    }
    return x;
}

static inline void assert_close(const TnTensor *want, const TnTensor *got, double tol) {
    char a[96], b[96];
    if (want->dtype != got->dtype || want->rank != got->rank || memcmp(want->dims, got->dims, sizeof(int64_t) * (size_t)want->rank) != 0) {
        print_error("%s %s, expected %s %s\n", tn_dtype_name(got->dtype), tni_shape_str(a, sizeof a, got->rank, got->dims),
                    tn_dtype_name(want->dtype), tni_shape_str(b, sizeof b, want->rank, want->dims));
        fail();
    }
    for (int64_t i = 0; i < tn_tensor_numel(want); i++) {
        double x = tni_load_f64(want->dtype, want->data, i), y = tni_load_f64(got->dtype, got->data, i);
        if (!(fabs(x - y) <= tol * (1 + fabs(x)))) {
            print_error("element %lld is %.9g, expected %.9g\n", (long long)i, y, x);
            fail();
        }
    }
}

/* Runs program 0 of an open context on inputs and compares with the interpreter's run of graph 0. */
static inline void run_and_compare(const IrModule *m, TnContext *ctx, TnTensor *inputs, double tol) {
    TnError err = {0};
    const IrGraph *g = m->graphs[0];
    TnTensor want[16] = {0};
    assert_true(g->n_outputs <= 16);
    OK(tni_interp_run(m, 0, inputs, want, tni_default_allocator(), NULL, NULL, NULL, &err));
    for (uint32_t i = 0; i < g->n_inputs; i++)
        ctx->inputs[i] = inputs[i];
    OK(tni_rt_run(ctx, &err));
    for (uint32_t i = 0; i < g->n_outputs; i++) {
        assert_close(&want[i], &ctx->frames[0].t[ctx->frames[0].prog->outputs[i]], tol);
        tni_free(NULL, want[i].data);
    }
}

#endif
