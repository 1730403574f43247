/* SPDX-License-Identifier: Apache-2.0
 *
 * Scratch memory of the reference kernels, from shapes alone. */
#include "backend/ref/ref.h"

static size_t tiles(const TnKernelQuery *q) {
    return REF_TILE_BYTES * q->threads;
}

static size_t step(const TnKernelQuery *q) {
    return (size_t)(q->in[1].rank == 3 ? q->in[1].dims[1] : 0) * sizeof(double) * q->threads;
}

static size_t topk(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0];
    int32_t axis = tni_ref_axis(((const TnTopkParams *)q->params)->axis, x->rank);
    return axis < 0 ? 0 : (size_t)x->dims[axis] * 2 * sizeof(int64_t) * q->threads;
}

static size_t unique(const TnKernelQuery *q) {
    return (size_t)tn_tensor_numel(&q->in[0]) * 7 * sizeof(int64_t);
}

static size_t nms(const TnKernelQuery *q) {
    const TnTensor *s = &q->in[1];
    if (s->rank != 3)
        return 0;
    return (size_t)(s->dims[0] * s->dims[1] * (s->dims[2] + 1)) * sizeof(int64_t) + (size_t)s->dims[2];
}

static size_t det(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0];
    return x->rank < 2 ? 0 : (size_t)(x->dims[x->rank - 1] * x->dims[x->rank - 1]) * sizeof(double);
}

/* Of one line: the gates of input and state, the state, the cell and the products of a reset state. */
static size_t recurrent(const TnKernelQuery *q) {
    return (size_t)((const TnRecurrentParams *)q->params)->hidden * 16 * sizeof(double) * q->threads;
}

/* The state of one head, and a prediction. */
static size_t linear_attention(const TnKernelQuery *q) {
    const TnLinearAttentionParams *p = q->params;
    if (q->in[1].rank != 3 || q->in[2].rank != 3 || p->kv_heads == 0)
        return 0;
    int64_t dk = q->in[1].dims[2] / p->kv_heads, dv = q->in[2].dims[2] / p->kv_heads;
    return (size_t)((dk + 1) * dv) * sizeof(double) * q->threads;
}

size_t tni_ref_scratch(const TnKernelQuery *q) {
    static size_t (*const table[TN_OP_COUNT])(const TnKernelQuery *q) = {[TN_OP_matmul] = tiles,
                                                                         [TN_OP_gemm] = tiles,
                                                                         [TN_OP_mlp] = tni_ref_mlp_scratch,
                                                                         [TN_OP_conv] = tiles,
                                                                         [TN_OP_conv_integer] = tiles,
                                                                         [TN_OP_conv_transpose] = tiles,
                                                                         [TN_OP_attention] = tni_ref_attention_scratch,
                                                                         [TN_OP_attention_step] = step,
                                                                         [TN_OP_resize] = tni_ref_resize_scratch,
                                                                         [TN_OP_det] = det,
                                                                         [TN_OP_recurrent] = recurrent,
                                                                         [TN_OP_linear_attention] = linear_attention,
                                                                         [TN_OP_topk] = topk,
                                                                         [TN_OP_unique] = unique,
                                                                         [TN_OP_non_max_suppression] = nms};
    return q->op < TN_OP_COUNT && table[q->op] != NULL ? table[q->op](q) : 0;
}
