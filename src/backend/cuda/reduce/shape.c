/* SPDX-License-Identifier: Apache-2.0
 *
 * reduce: from parameters to the kernels' shape, supports, scratch, costs. How the work is cut depends on the shape alone. */
#include "backend/cuda/reduce/shape.h"
#include "backend/cuda/reduce/reduce.h"

#define BLOCKS_WANTED 512 /* that fill a large GPU; with fewer, the reduced elements are split */

RdClass tni_cuda_rd_class(uint32_t fn) {
    switch (fn) {
    case TN_REDUCE_max:
        return RD_MAX;
    case TN_REDUCE_min:
        return RD_MIN;
    case TN_REDUCE_prod:
        return RD_PROD;
    case TN_REDUCE_sum_square:
    case TN_REDUCE_l2:
        return RD_SQUARE;
    case TN_REDUCE_l1:
        return RD_L1;
    case TN_REDUCE_log_sum_exp:
        return RD_LSE;
    default:
        return RD_SUM;
    }
}

static void add(int32_t *n, int64_t *dims, int64_t *strides, bool join, int64_t dim, int64_t stride) {
    if (join) {
        dims[*n - 1] *= dim;
        return;
    }
    dims[*n] = dim;
    strides[(*n)++] = stride;
}

/* Outputs of a block, and the least number of elements worth a split. */
static void split(RdShape *s) {
    int64_t per_block = s->by_columns != 0 ? RD_COLUMNS * (s->vec != 0 ? 4 : 1) : s->count <= 1024 ? RD_BLOCK / 32 : 1;
    int64_t least = s->by_columns != 0 ? 16 * RD_ROWS : 4096, blocks = tni_div_up(s->outputs, per_block);
    s->splits = TN_MIN(tni_div_up(BLOCKS_WANTED, TN_MAX(blocks, 1)), s->count / least);
    s->splits = TN_MIN(TN_MAX(s->splits, 1), 1024);
    s->chunk = (tni_div_up(s->count, s->splits) + 15) / 16 * 16; /* whole vectors */
    s->splits = TN_MAX(tni_div_up(s->count, TN_MAX(s->chunk, 1)), 1);
}

bool tni_cuda_rd_shape(const TnReduceParams *p, const TnTensor *x, RdShape *s) {
    bool reduced[TN_MAX_RANK] = {false};
    int32_t last = -1; /* kind of the dim before: 0 kept, 1 reduced */
    int64_t stride = 1;
    memset(s, 0, sizeof *s);
    if (p->fn >= TN_REDUCE_COUNT || p->n_axes > TN_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < p->n_axes; i++) {
        int32_t a = p->axes[i] < 0 ? p->axes[i] + x->rank : p->axes[i];
        if (a < 0 || a >= x->rank)
            return false;
        reduced[a] = true;
    }
    s->outputs = s->count = 1;
    s->fn = p->fn;
    s->x_type = (uint32_t)x->dtype;
    for (int32_t d = x->rank - 1; d >= 0; d--) {
        const int32_t kind = reduced[d];
        *(kind != 0 ? &s->count : &s->outputs) *= x->dims[d];
        if (x->dims[d] != 1) {
            if (kind != 0)
                add(&s->n_red, s->red, s->red_strides, last == kind, x->dims[d], stride);
            else
                add(&s->n_keep, s->keep, s->keep_strides, last == kind, x->dims[d], stride);
            last = kind;
        }
        stride *= x->dims[d];
    }
    s->by_columns = s->n_keep > 0 && s->keep_strides[0] == 1 && s->n_red > 0;
    s->wide = s->count >= INT64_C(1) << 31;
    for (int32_t d = 0; d < s->n_red && s->wide == 0 && s->count > 0; d++)
        s->red_div[d] = tni_div_make(s->red[d]);
    const int64_t v = s->by_columns != 0 ? 4 : 16 / (int64_t)TN_MAX(tni_size_of(x->dtype), 1);
    bool vec = s->by_columns != 0 ? s->keep[0] % v == 0 : s->n_red == 1 && s->red[0] % v == 0 && s->red_strides[0] == 1;
    for (int32_t d = s->by_columns != 0 ? 1 : 0; d < s->n_keep; d++)
        vec = vec && s->keep_strides[d] % v == 0;
    for (int32_t d = 0; d < s->n_red && s->by_columns != 0; d++)
        vec = vec && s->red_strides[d] % v == 0;
    s->vec = vec && tni_is_aligned(x->data, 16);
    split(s);
    return true;
}

/* splits is at most blocks wanted / blocks + 1, and a block has at most RD_COLUMNS * 4 outputs. */
size_t tni_cuda_rd_scratch(int64_t outputs) {
    return (size_t)(outputs + (int64_t)BLOCKS_WANTED * RD_COLUMNS * 4) * 2 * sizeof(double);
}

size_t tni_cuda_reduce_scratch(const TnKernelQuery *q) {
    return tni_cuda_rd_scratch(tn_tensor_numel(&q->out[0]));
}

static bool of_type(const TnKernelQuery *q, TnDtype t) {
    return q->in[0].dtype == t && q->out[0].dtype == t;
}

bool tni_cuda_reduce_floats(const TnKernelQuery *q) {
    return of_type(q, TN_F32);
}

bool tni_cuda_reduce_halves(const TnKernelQuery *q) {
    return of_type(q, TN_F16);
}

bool tni_cuda_reduce_brains(const TnKernelQuery *q) {
    return of_type(q, TN_BF16);
}

static bool integer(TnDtype t) {
    return (tni_dtype_is_int(t) || t == TN_BOOL) && tn_dtype_bits(t) >= 8;
}

bool tni_cuda_reduce_integers(const TnKernelQuery *q) {
    return (integer(q->in[0].dtype) || q->in[0].dtype == TN_F64) && q->out[0].dtype == q->in[0].dtype;
}

bool tni_cuda_arg_reduce_supports(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype;
    return (integer(t) || tni_is_real(t) || t == TN_F64) && q->out[0].dtype == TN_I64;
}

bool tni_cuda_cumsum_floats(const TnKernelQuery *q) {
    return q->out[0].dtype == q->in[0].dtype && (q->in[0].dtype == TN_F32 || q->in[0].dtype == TN_F64);
}

bool tni_cuda_cumsum_halves(const TnKernelQuery *q) {
    return of_type(q, TN_F16);
}

bool tni_cuda_cumsum_brains(const TnKernelQuery *q) {
    return of_type(q, TN_BF16);
}

bool tni_cuda_cumsum_integers(const TnKernelQuery *q) {
    return integer(q->in[0].dtype) && q->out[0].dtype == q->in[0].dtype;
}

double tni_cuda_reduce_cost(const TnKernelQuery *q) {
    return 1000.0 + tni_cuda_cost(q, (double)tn_tensor_bytes(&q->in[0]) + (double)tn_tensor_bytes(&q->out[0]), 0, 0);
}
