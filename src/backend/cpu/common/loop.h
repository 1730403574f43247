/* SPDX-License-Identifier: Apache-2.0
 *
 * What every CPU family shares: collapsed broadcast loops, cutting work into tasks, and the elementwise driver. */
#ifndef TENON_BACKEND_CPU_COMMON_LOOP_H
#define TENON_BACKEND_CPU_COMMON_LOOP_H

#include "kernel/kernel.h"

#define TN_LOOP_OPERANDS 9 /* at most: 8 inputs and the output */

/* Nested loops over dims, outermost first, and for each operand its stride in elements (0: broadcast). Adjacent dims that all operands walk
 * as one are merged, dims of 1 are gone; rank >= 1 always (a scalar is one dim of 1). */
typedef struct TnLoop {
    int32_t rank;
    uint32_t n_operands;
    int64_t dims[TN_MAX_RANK];
    int64_t stride[TN_LOOP_OPERANDS][TN_MAX_RANK];
    int64_t numel;
} TnLoop;

/* Row-major strides of t, 0 where a dim of 1 meets a larger one, aligned to the right of `rank` dims. */
void tni_cpu_broadcast_strides(const TnTensor *t, int32_t rank, const int64_t *dims, int64_t *stride);
/* Loops over `dims` with n given stride arrays (each [rank]). */
void tni_cpu_loop_init(TnLoop *loop, int32_t rank, const int64_t *dims, uint32_t n, const int64_t (*strides)[TN_MAX_RANK]);
/* out's dims with operands in[0..n) broadcast to it; absent inputs (TN_UNDEFINED) have stride 0. */
void tni_cpu_loop_broadcast(TnLoop *loop, const TnTensor *out, const TnTensor *in, uint32_t n);
/* Offset in elements of operand i at flat position pos of the loop. */
int64_t tni_cpu_loop_offset(const TnLoop *loop, uint32_t i, int64_t pos);

/* Calls fn(ctx, begin, end) over [0, n) cut into pieces of `grain` (the last may be shorter); the cut depends on n and grain only. */
typedef void (*TnRangeFn)(void *ctx, int64_t begin, int64_t end);
void tni_cpu_parallel(TnThreads *threads, int64_t n, int64_t grain, TnRangeFn fn, void *ctx);
/* Items a task, so that one task moves about 32 KB and there are at most 256 tasks; bytes = memory touched an item. */
int64_t tni_cpu_grain(int64_t n, int64_t bytes_per_item);

/* Elementwise driver: y[i] = fn(x0[i], x1[i], ...) with broadcasting, tile by tile. */
#define TN_TILE 512
/* y and in[] have n <= TN_TILE elements each; y may be in[k] exactly. */
typedef void (*TnTileFn)(const void *ctx, void *y, const void *const *in, int64_t n);
typedef struct TnElementwise {
    TnTileFn fn;
    const void *ctx;
    uint32_t n_in;
    uint32_t in_bytes[8]; /* bytes an element: 1, 2, 4 or 8 */
    uint32_t out_bytes;
} TnElementwise;
void tni_cpu_elementwise(const TnElementwise *e, const TnTensor *in, const TnTensor *out, TnThreads *threads);

/* Bytes of one element where it is whole bytes (1, 2, 4, 8, 16), else 0. */
uint32_t tni_cpu_elem_bytes(TnDtype t);
/* Normalises a possibly negative axis. */
static inline int32_t tni_cpu_axis(int32_t axis, int32_t rank) {
    return axis < 0 ? axis + rank : axis;
}
/* Product of dims[begin..end). */
int64_t tni_cpu_span(const TnTensor *t, int32_t begin, int32_t end);
static inline bool tni_cpu_present(const TnTensor *t) {
    return t->dtype != TN_UNDEFINED;
}

/* Cost estimates in nanoseconds: elements of all outputs times ns, plus a fixed cost, plus memory traffic of all operands. */
double tni_cpu_cost(const TnKernelQuery *q, double ns_per_element);

#endif
