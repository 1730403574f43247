/* SPDX-License-Identifier: Apache-2.0
 *
 * What attention_step and cache_append of the GPU take, and what they are estimated to cost. */
#include "backend/cuda/attention/attention.h"

#define MOST 512 /* head size, as in step.cu */

static bool step_supports(const TnKernelQuery *q) {
    const TnAttentionStepParams *p = q->params;
    const TnTensor *x = &q->in[0], *k = &q->in[1], *v = &q->in[2], *lanes = &q->in[3], *len = &q->in[4], *y = &q->out[0];
    const int64_t w = (int64_t)p->heads * p->d_head;
    if (!tni_is_real(x->dtype) || k->dtype != x->dtype || v->dtype != x->dtype || y->dtype != x->dtype || lanes->dtype != TN_I32 ||
        len->dtype != TN_I32)
        return false;
    if (w == 0 || p->d_head > MOST || x->rank != 2 || k->rank != 3 || v->rank != 3 || lanes->rank != 2 || y->rank != 2)
        return false;
    return x->dims[1] >= (int64_t)p->q_off + w && k->dims[2] == w && v->dims[2] == w && k->dims[0] == v->dims[0] &&
           k->dims[1] == v->dims[1] && k->dims[1] < INT32_MAX / 2 && lanes->dims[0] == x->dims[0] &&
           (lanes->dims[1] == 1 || lanes->dims[1] == k->dims[1]) && y->dims[0] == x->dims[0] && y->dims[1] == w &&
           x->dims[0] * p->heads < INT32_MAX && tn_tensor_numel(len) == 1;
}

bool tni_cuda_attention_step_f32_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F32 && step_supports(q);
}
bool tni_cuda_attention_step_f16_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_F16 && step_supports(q);
}
bool tni_cuda_attention_step_bf16_supports(const TnKernelQuery *q) {
    return q->in[0].dtype == TN_BF16 && step_supports(q);
}

double tni_cuda_attention_step_cost(const TnKernelQuery *q) {
    const TnTensor *x = &q->in[0], *k = &q->in[1];
    const double bytes = 2.0 * (double)x->dims[0] * (double)k->dims[1] * (double)k->dims[2] * (double)tni_size_of(x->dtype);
    return 1000.0 + tni_cuda_cost(q, bytes, 0.0, 0.0);
}

bool tni_cuda_cache_append_supports(const TnKernelQuery *q) {
    const TnCacheAppendParams *p = q->params;
    const TnTensor *x = &q->in[0], *cache = &q->in[1], *where = &q->in[2];
    const uint32_t bits = tn_dtype_bits(x->dtype);
    return x->rank == 2 && cache->rank == 3 && where->rank == 2 && where->dtype == TN_I32 && x->dtype == cache->dtype &&
           (bits == 8 || bits == 16 || bits == 32 || bits == 64) && where->dims[0] == x->dims[0] && where->dims[1] == 2 &&
           cache->dims[2] == (int64_t)p->width && x->dims[1] >= (int64_t)p->off + (int64_t)p->width && x->dims[0] < INT32_MAX;
}

double tni_cuda_cache_append_cost(const TnKernelQuery *q) {
    const TnCacheAppendParams *p = q->params;
    return tni_cuda_cost(q, 2.0 * (double)q->in[0].dims[0] * (double)p->width * (double)tni_size_of(q->in[0].dtype), 0.0, 0.0);
}
