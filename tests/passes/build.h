/* SPDX-License-Identifier: Apache-2.0
 *
 * Small graphs in a line each, one pass on them, and the same numbers before and after. */
#ifndef TESTS_PASSES_BUILD_H
#define TESTS_PASSES_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "passes/list.h"
#include "passes/passes.h"
#include "shape/shape.h"

typedef IrValueId V;
typedef TnStatus (*PassRun)(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err);

typedef struct Net {
    IrModule *m;
    IrGraph *g;
    uint32_t seed;
} Net;

/* A dim below 0 is symbol -dim ("s1", "s2", ...). */
void net_open(Net *t);
void net_close(Net *t);
V net_in(Net *t, TnDtype type, int n, ...);  /* input of n int dims */
V net_rand(Net *t, int n, ...);              /* constant f32, values in [-1, 1] */
V net_num(Net *t, double v);                 /* constant f32 scalar */
V net_ints(Net *t, int n, const int64_t *v); /* constant i64 vector */
V net_int(Net *t, int64_t v);                /* constant i64 scalar */
V net_node(Net *t, TnOp op, const void *params, int n_in, ...);
V net_un(Net *t, uint32_t fn, V x);
V net_bi(Net *t, uint32_t fn, V a, V b);
V net_reduce(Net *t, uint32_t fn, V x, int axis, bool keep);
V net_softmax(Net *t, V x, int axis);
V net_reshape(Net *t, V x, int n, ...); /* shape constant, -1 and 0 as in ONNX */
V net_transpose(Net *t, V x, int n, ...);
V net_cast(Net *t, V x, TnDtype to);
V net_gather(Net *t, V x, V ids, int axis);
void net_out(Net *t, V v);

uint32_t net_count(const Net *t, TnOp op);
uint32_t net_nodes(const Net *t);
const void *net_params(const Net *t, TnOp op); /* of the first node of this operator */
const IrNode *net_find(const Net *t, TnOp op);

/* Runs the passes (a NULL-terminated list); checks that outputs are the same to tol * max |y| on random inputs, with symbols at 2, 3, 5,
 * ... and once more at other numbers. Returns the number of rewrites. */
uint32_t net_run(Net *t, double tol, ...);
/* Compares two sets of tensors; fails the test with `what` in the message. */
void check_same(const char *what, const TnTensor *a, const TnTensor *b, uint32_t n, double tol);
void fail_error(const char *what, TnStatus st, const TnError *err);

#endif
