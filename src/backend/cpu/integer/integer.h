/* SPDX-License-Identifier: Apache-2.0
 *
 * matmul_integer and conv_integer on the CPU: products of bytes with zero points, exact in 32 bits (wrapping, as the reference).
 *
 *   sum (a - za) (b - zb)  =  sum a' b'  -  za' * columns[n]  -  zb'[n] * (rows[m] - K * za')
 *
 * a' and b' are what the ISA multiplies: b' is signed bytes (unsigned ones minus 128, their zero points too), a' unsigned bytes with VNNI
 * (signed ones plus 128), else a - za in 16 bits, after which za' is 0. columns and rows are the sums of b' and a'.
 *
 * Packed B: panels of nr columns, each [ceil(K / group)][nr][group] bytes of b' and then the nr sums of its columns as int32; columns beyond
 * N and rows beyond K are zero. Prepared A: rows of ceil(K / group) * group elements, zero beyond K.
 *
 * A convolution's A is the weights, one row an output channel, with 16 bits without their zero points taken off (there may be one a row); its B
 * is the pixels of a panel under the kernel, made as they are needed. */
#ifndef TENON_CPU_INTEGER_H
#define TENON_CPU_INTEGER_H

#include "kernel/kernel.h"

/* c [m, n] of one panel: the rows of a tile after the other. */
typedef struct TniIntegerBlock {
    const void *a; /* first prepared row */
    int64_t groups, rows, cols; /* cols <= nr */
    const int8_t *b; /* panel */
    const int32_t *zb; /* [nr] zb' of the panel's columns */
    const int32_t *row_sums; /* [rows] rows[m] - K * za' */
    const int32_t *za;       /* za' of the first row */
    ptrdiff_t za_step;       /* from row to row: 0 or 1 */
    int32_t *c;
    ptrdiff_t ldc;
} TniIntegerBlock;

#define TNI_INTEGER_GROUP_BYTES 256 /* the largest nr * group */

typedef struct TniIntegerIsa {
    int32_t mr, nr, group;
    int32_t a_bytes;    /* of an element of a': 1: unsigned bytes; 2: 16 bits with the zero point taken off */
    double macs_per_ns; /* estimate for the cost function */
    void (*block)(const TniIntegerBlock *b);
    /* One row of A, k bytes, to dst of `padded` elements; zero is taken off where a' has 16 bits. Returns the sum of a'. */
    int32_t (*prepare)(const void *src, int64_t k, int64_t padded, bool is_signed, int32_t zero, void *dst);
    /* A group of rows of B, [group][nr] bytes, to [nr][group] of b' = byte ^ flip; adds to the sums of columns. */
    void (*interleave)(const uint8_t *rows, uint8_t flip, int8_t *dst, int32_t *sums);
} TniIntegerIsa;

extern const TniIntegerIsa tni_integer_isa_scalar, tni_integer_isa_avx2, tni_integer_isa_avx512, tni_integer_isa_vnni;

bool tni_integer_supports(const TnKernelQuery *q);

bool tni_conv_integer_supports(const TnKernelQuery *q);

TN_INLINE int64_t tni_integer_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

#define TNI_INTEGER_DECLARE(isa)                                                                                                           \
    TnStatus tni_integer_run_##isa(TnKernelCall *call);                                                                                    \
    size_t tni_integer_scratch_##isa(const TnKernelQuery *q);                                                                              \
    double tni_integer_cost_##isa(const TnKernelQuery *q);                                                                                 \
    size_t tni_integer_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i);                                                             \
    void tni_integer_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst);                                                            \
    TnStatus tni_conv_integer_run_##isa(TnKernelCall *call);                                                                               \
    size_t tni_conv_integer_scratch_##isa(const TnKernelQuery *q);                                                                         \
    double tni_conv_integer_cost_##isa(const TnKernelQuery *q);                                                                            \
    size_t tni_conv_integer_packed_bytes_##isa(const TnKernelQuery *q, uint32_t i);                                                        \
    void tni_conv_integer_pack_##isa(const TnKernelQuery *q, uint32_t i, void *dst);
TNI_INTEGER_DECLARE(scalar)
TNI_INTEGER_DECLARE(avx2)
TNI_INTEGER_DECLARE(avx512)
TNI_INTEGER_DECLARE(vnni)

#endif
