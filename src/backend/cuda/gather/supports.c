/* SPDX-License-Identifier: Apache-2.0
 *
 * Which calls the gathers and scatters take, and what they cost. */
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
