/* SPDX-License-Identifier: Apache-2.0
 *
 * A reduction's shape as its kernels see it. Neighbouring dims of one kind are joined, so that kept and reduced dims alternate. */
#ifndef TENON_BACKEND_CUDA_REDUCE_SHAPE_H
#define TENON_BACKEND_CUDA_REDUCE_SHAPE_H

#include "backend/cuda/cuda.h"

#ifdef __cplusplus
extern "C" {
#endif

#define RD_BLOCK 256
#define RD_COLUMNS 32 /* of a block of the kernel by columns */
#define RD_ROWS (RD_BLOCK / RD_COLUMNS)

/* Functions that accumulate alike; they differ in how they finish. */
typedef enum RdClass { RD_SUM, RD_SQUARE, RD_L1, RD_MAX, RD_MIN, RD_PROD, RD_LSE, RD_CLASSES } RdClass;

typedef struct RdShape {
    const void *x;
    void *y;
    double *partial; /* [splits][outputs][2] when splits > 1 */
    int64_t outputs, count;
    int64_t keep[TN_MAX_RANK], keep_strides[TN_MAX_RANK]; /* innermost first */
    int64_t red[TN_MAX_RANK], red_strides[TN_MAX_RANK];
    TniDiv red_div[TN_MAX_RANK];
    int32_t n_keep, n_red;
    uint32_t wide;         /* more than 2^31 elements reduced into one: divide in 64 bits */
    int64_t splits, chunk; /* the reduced elements are cut into splits of chunk */
    uint32_t fn, x_type, y_type;
    uint32_t by_columns; /* the innermost dim is kept */
    uint32_t vec;        /* 16-byte loads (rows), four columns a thread (columns) */
} RdShape;

/* Everything but x, y and partial. false: parameters that do not fit. */
bool tni_cuda_rd_shape(const TnReduceParams *p, const TnTensor *x, RdShape *s);
RdClass tni_cuda_rd_class(uint32_t fn);
/* Bytes for `partial` of any shape with so many outputs; grows with them. */
size_t tni_cuda_rd_scratch(int64_t outputs);

/* Kernels of one element type. */
void tni_cuda_rd_f32(const TnStream *s, const RdShape *r);
void tni_cuda_rd_f16(const TnStream *s, const RdShape *r);
void tni_cuda_rd_bf16(const TnStream *s, const RdShape *r);
void tni_cuda_rd_any(const TnStream *s, const RdShape *r); /* any type, in double or int64 */

#ifdef __cplusplus
}
#endif
#endif
