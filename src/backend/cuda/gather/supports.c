/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the gathers, scatters and relative_bias take, what they cost, and the packed form of relative_bias' tables. */
#include "backend/cuda/gather/gather.h"

static bool operands(const TnKernelQuery *q) {
    return tn_dtype_bits(q->in[0].dtype) >= 8 && q->out[0].dtype == q->in[0].dtype &&
           (q->in[1].dtype == TN_I32 || q->in[1].dtype == TN_I64);
}

bool tni_cuda_gather_supports(const TnKernelQuery *q) {
    return operands(q);
}

static bool reduces(const TnKernelQuery *q) {
    return ((const TnScatterParams *)q->params)->reduction != TN_SCATTER_NONE;
}

bool tni_cuda_scatter_supports(const TnKernelQuery *q) {
    TnDtype t = q->in[0].dtype;
    return operands(q) && q->in[2].dtype == t && (!reduces(q) || tni_dtype_is_int(t) || t == TN_BOOL);
}

static bool rounds(const TnKernelQuery *q, TnDtype t) {
    return operands(q) && reduces(q) && q->in[0].dtype == t && q->in[2].dtype == t;
}

bool tni_cuda_scatter_floats(const TnKernelQuery *q) {
    return rounds(q, TN_F32) || rounds(q, TN_F64);
}

bool tni_cuda_scatter_halves(const TnKernelQuery *q) {
    return rounds(q, TN_F16);
}

bool tni_cuda_scatter_brains(const TnKernelQuery *q) {
    return rounds(q, TN_BF16);
}

/* What is gathered is read and written; of the table nothing else is. */
double tni_cuda_gather_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, 2.0 * (double)tn_tensor_bytes(&q->out[0]) + (double)tn_tensor_bytes(&q->in[1]), 0, 0);
}

/* A copy, and passes over indices and updates in launches of their own. */
double tni_cuda_scatter_cost(const TnKernelQuery *q) {
    return 4000.0 + tni_cuda_cost(q, tni_cuda_bytes(q) * (reduces(q) ? 4.0 : 1.5), 0, 0);
}

/* ---- relative_bias ---- */

static bool relative(const TnKernelQuery *q, TnDtype type) {
    const TnRelativeBiasParams *p = q->params;
    bool ok = p->n >= 1 && p->n <= TN_RELATIVE_TERMS && q->n_in == 3 * p->n && q->out[0].dtype == type && q->out[0].rank == 4;
    for (uint32_t t = 0; ok && t < p->n; t++) {
        const TnTensor *pq = &q->in[3 * t];
        ok = (pq->dtype == TN_I64 || pq->dtype == TN_I32) && pq->dtype == q->in[0].dtype && pq[1].dtype == pq->dtype && pq[2].dtype == type;
    }
    return ok;
}

bool tni_cuda_relative_floats(const TnKernelQuery *q) {
    return relative(q, TN_F32);
}

bool tni_cuda_relative_halves(const TnKernelQuery *q) {
    return relative(q, TN_F16);
}

bool tni_cuda_relative_brains(const TnKernelQuery *q) {
    return relative(q, TN_BF16);
}

/* The result is written; what is read are positions. */
double tni_cuda_relative_cost(const TnKernelQuery *q) {
    return tni_cuda_cost(q, 1.2 * (double)tn_tensor_bytes(&q->out[0]) + (double)tn_tensor_bytes(&q->in[0]), 0, 0);
}

int64_t tni_relative_units(int64_t heads) {
    return (heads + 3) / 4 | 1;
}

size_t tni_relative_bytes(const TnTensor *table) {
    return tni_align_up((size_t)(tni_relative_row(table->dims[0], tni_relative_units(table->dims[1])) * 4) * tni_size_of(table->dtype), 16);
}

size_t tni_cuda_relative_packed_bytes(const TnKernelQuery *q, uint32_t i) {
    return i % 3 == 2 && q->in[i].rank == 2 && tni_relative_bytes(&q->in[i]) <= 65536 * 4 ? tni_relative_bytes(&q->in[i]) : 0;
}

void tni_cuda_relative_pack(const TnKernelQuery *q, uint32_t i, void *dst) {
    const TnTensor *t = &q->in[i];
    const size_t size = tni_size_of(t->dtype), row = (size_t)t->dims[1] * size;
    const int64_t units = tni_relative_units(t->dims[1]);
    memset(dst, 0, tni_relative_bytes(t));
    for (int64_t r = 0; r < t->dims[0]; r++)
        memcpy((uint8_t *)dst + (size_t)tni_relative_row(r, units) * 4 * size, (const uint8_t *)t->data + (size_t)r * row, row);
}
