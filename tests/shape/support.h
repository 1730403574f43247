/* SPDX-License-Identifier: Apache-2.0
 *
 * A small language for tests of shape rules: build a graph node by node, each inferred as it is added, and compare types as text,
 * "float32[batch, 64]". Every node that is inferred on symbols is also run through tni_shape_concrete for several sets of sizes, and the
 * two must agree: the symbolic rules are checked against the numeric ones by each test. */
#ifndef TENON_TEST_SHAPE_SUPPORT_H
#define TENON_TEST_SHAPE_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/dtype.h"
#include "shape/shape.h"

extern IrModule *tm; /* the module of the running test */
extern IrGraph *tg;  /* its main graph */
extern TnError terr;

int shape_setup(void **state);
int shape_teardown(void **state);

/* dims: "batch, 3, h*2" is not parsed; entries are names or numbers: "batch,3,224". "" is a scalar. */
IrValueId t_in(const char *name, TnDtype t, const char *dims);
IrValueId t_vec(uint32_t n, ...);        /* int64 vector; pass int64_t values as (int64_t) or plain ints through I() */
IrValueId t_ints(const int64_t *v, uint32_t n);
IrValueId t_int(int64_t v);              /* int64 scalar */
IrValueId t_floats(const float *v, uint32_t n);
IrValueId t_float(float v);
IrValueId t_const(TnDtype t, int32_t rank, const int64_t *dims); /* zeros */

/* Adds a node and infers it: fails the test when that fails. Returns output 0. */
IrValueId t_node(TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out, IrValueId *outs);
/* Adds a node whose inference must fail with code and a message that holds `part`; the node is dropped again. */
void t_fails(TnOp op, const void *params, const IrValueId *in, uint32_t n_in, uint32_t n_out, TnStatus code, const char *part, int line);

#define IDS(...) (const IrValueId[]){__VA_ARGS__}, (uint32_t)(sizeof((IrValueId[]){__VA_ARGS__}) / sizeof(IrValueId))
#define NODE(op, params, ...) t_node(TN_OP_##op, params, IDS(__VA_ARGS__), 1, NULL)
#define FAILS(op, params, code, part, ...) t_fails(TN_OP_##op, params, IDS(__VA_ARGS__), 1, code, part, __LINE__)
#define VEC(...) t_ints((const int64_t[]){__VA_ARGS__}, (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)))
#define NONE TN_NO_VALUE

/* Type and dims as text, "float32[batch, 3]"; contents as text, "<batch, 3>" or "" when not known. */
void t_expect(IrValueId v, const char *type, int line);
void t_contents(IrValueId v, const char *elems, int line);
#define EXPECT(v, type) t_expect((v), (type), __LINE__)
#define CONTENTS(v, elems) t_contents((v), (elems), __LINE__)

/* Common operators, short. */
IrValueId op_shape(IrValueId x);
IrValueId op_pick(IrValueId x, int64_t i); /* gather of one element: a scalar */
IrValueId op_unsqueeze(IrValueId x, int32_t axis);
IrValueId op_squeeze(IrValueId x, int32_t axis);
IrValueId op_concat(const IrValueId *in, uint32_t n, int32_t axis);
IrValueId op_binary(TnBinaryFn fn, IrValueId a, IrValueId b);
IrValueId op_unary(TnUnaryFn fn, IrValueId a);
IrValueId op_cast(TnDtype t, IrValueId a);
IrValueId op_reshape(IrValueId x, IrValueId shape);
IrValueId op_dim(IrValueId x, int64_t i); /* size of axis i as a vector of one */

#endif
