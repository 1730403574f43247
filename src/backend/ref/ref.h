/* SPDX-License-Identifier: Apache-2.0
 *
 * What the reference kernels share: typed element runs, broadcast views, strided copies, ranges of work, the matrix product core.
 * Floats are computed in double and rounded once when stored; integers are exact in 64 bits and wrap when stored. Work is cut by
 * shape alone, so results do not depend on the number of threads. */
#ifndef TENON_BACKEND_REF_REF_H
#define TENON_BACKEND_REF_REF_H

#include "base/dtype.h"
#include "kernel/kernel.h"

#define REF_BLOCK 256   /* elements in a block of doubles on the stack */
#define REF_MAX_DIMS 17 /* of a strided copy: dims may be split, plus one for a batch */

/* ---- runs of elements: element k of the run is data[first + k * stride] (elements.c) ---- */
void tni_ref_load_f64(TnDtype t, const void *data, int64_t first, int64_t stride, int64_t n, double *dst);
void tni_ref_load_i64(TnDtype t, const void *data, int64_t first, int64_t stride, int64_t n, int64_t *dst);
void tni_ref_store_f64(TnDtype t, void *data, int64_t first, int64_t stride, int64_t n, const double *src);
void tni_ref_store_i64(TnDtype t, void *data, int64_t first, int64_t stride, int64_t n, const int64_t *src);

/* Exact numbers (integers, bool) as opposed to floats. */
bool tni_ref_exact(TnDtype t);

/* ---- views: an input seen with the output's shape (numpy broadcasting) ---- */
typedef struct RefView {
    const void *data;
    TnDtype dtype;
    int32_t rank;
    bool dense;  /* same layout as the output */
    bool single; /* one element for all */
    int64_t dims[TN_MAX_RANK], strides[TN_MAX_RANK];
} RefView;
/* false when `in` does not broadcast to the dims of `out`. */
bool tni_ref_view(const TnTensor *in, int32_t rank, const int64_t *dims, RefView *v);
/* Elements [first, first + n) in the output's order. */
void tni_ref_view_f64(const RefView *v, int64_t first, int64_t n, double *dst);
void tni_ref_view_i64(const RefView *v, int64_t first, int64_t n, int64_t *dst);
/* Source index of every element [first, first + n) in the output's order. */
void tni_ref_view_index(const RefView *v, int64_t first, int64_t n, int64_t *dst);

/* Row-major strides in elements. */
void tni_ref_strides(int32_t rank, const int64_t *dims, int64_t *strides);
/* Product of dims [from, to). */
int64_t tni_ref_product_of(const int64_t *dims, int32_t from, int32_t to);
/* Axis counted from the front; -1 when out of range. */
int32_t tni_ref_axis(int64_t axis, int32_t rank);

/* ---- moving elements of any width (copy.c) ---- */
typedef struct RefCopy {
    uint32_t bits; /* of an element: 4, 8, 16, ... 128 */
    int32_t rank;
    int64_t dims[REF_MAX_DIMS];
    void *dst;
    const void *src;
    int64_t dst_first, src_first;                                 /* elements */
    int64_t dst_strides[REF_MAX_DIMS], src_strides[REF_MAX_DIMS]; /* elements */
} RefCopy;
void tni_ref_copy_box(const RefCopy *c);
/* n consecutive elements. */
void tni_ref_copy_run(uint32_t bits, void *dst, int64_t dst_first, const void *src, int64_t src_first, int64_t n);
/* Every element [first, first + n) of dst becomes element 0 of src. */
void tni_ref_fill(uint32_t bits, void *dst, int64_t first, int64_t n, const void *src);

/* ---- work: fn on ranges [first, last) of at most `grain` ---- */
typedef void (*RefRangeFn)(void *ctx, int64_t first, int64_t last, uint32_t worker);
void tni_ref_ranges(TnThreads *t, int64_t n, int64_t grain, RefRangeFn fn, void *ctx);

/* ---- functions of functions.inc on blocks (functions.c) ---- */
void tni_ref_unary_f64(uint32_t fn, double alpha, double beta, int64_t n, double *x);
void tni_ref_binary_f64(uint32_t fn, int64_t n, const double *a, const double *b, double *y);
void tni_ref_binary_i64(uint32_t fn, bool is_u64, int64_t n, const int64_t *a, const int64_t *b, int64_t *y);
void tni_ref_unary_i64(uint32_t fn, bool is_u64, double alpha, double beta, int64_t n, int64_t *x);
void tni_ref_act(uint32_t act, double alpha, double beta, int64_t n, double *x);

/* ---- matrix product core: c = a b for a batch, in tiles, k ascending for every element (product.c) ---- */
typedef struct RefProduct {
    int64_t batch, m, n, k;
    const void *ctx;
    /* a[i][k0 .. k0 + nk) */
    void (*load_a)(const void *ctx, int64_t batch, int64_t i, int64_t k0, int64_t nk, double *dst);
    /* b[k][j0 .. j0 + nj) */
    void (*load_b)(const void *ctx, int64_t batch, int64_t k, int64_t j0, int64_t nj, double *dst);
    /* finished sums of c[i][j0 .. j0 + nj); may change v */
    void (*store)(const void *ctx, int64_t batch, int64_t i, int64_t j0, int64_t nj, double *v);
} RefProduct;
#define REF_TILE_M 64
#define REF_TILE_N 128
#define REF_TILE_K 128
#define REF_TILE_BYTES ((REF_TILE_M * REF_TILE_N + REF_TILE_M * REF_TILE_K + REF_TILE_K * REF_TILE_N) * sizeof(double))
/* scratch: REF_TILE_BYTES a thread. */
void tni_ref_product(const RefProduct *p, TnThreads *threads, void *scratch);
/* c[m][REF_TILE_N] += a[m][REF_TILE_K] (first k columns) * b[k][REF_TILE_N]. */
void tni_ref_multiply(double *c, const double *a, const double *b, int64_t m, int64_t k);

/* ---- argument checks ---- */
TN_INLINE bool tni_ref_has(const TnKernelCall *call, uint32_t i) {
    return i < call->n_in && call->in[i].dtype != TN_UNDEFINED;
}
/* Somebody wants output i. (A tensor without elements may have no data, and needs no work.) */
TN_INLINE bool tni_ref_wants(const TnKernelCall *call, uint32_t i) {
    return i < call->n_out && call->out[i].data != NULL;
}
/* TN_ERR_INTERNAL: the caller broke the contract. */
TnStatus tni_ref_bad_call(const TnKernelCall *call, const char *op, const char *what);
/* TN_ERR_RUN naming index, axis and size. */
TnStatus tni_ref_bad_index(const TnKernelCall *call, const char *op, int64_t index, int32_t axis, int64_t size);
/* Checks that scratch has the bytes; TN_ERR_INTERNAL if not. */
TnStatus tni_ref_need_scratch(const TnKernelCall *call, const char *op, size_t bytes);

/* Scratch of every operator (scratch.c). */
size_t tni_ref_scratch(const TnKernelQuery *q);
size_t tni_ref_attention_scratch(const TnKernelQuery *q);
size_t tni_ref_mlp_scratch(const TnKernelQuery *q);
size_t tni_ref_resize_scratch(const TnKernelQuery *q);

/* ---- declarations of all kernels ---- */
#define KERNEL(op, name, cpu, run, supports, scratch, cost, packing, packed_bytes, pack, atol, rtol) TnStatus run(TnKernelCall *call);
#include "backend/ref/kernels.inc"
#undef KERNEL

#endif
