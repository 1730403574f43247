/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias: what its kernels take, and a call taken apart for them. */
#include "backend/cpu/gather/gather.h"

bool tni_cpu_relative_supports(const TnKernelQuery *q) {
    const TnRelativeBiasParams *p = q->params;
    bool ok = p->n >= 1 && p->n <= TN_RELATIVE_TERMS && q->n_in == 3 * p->n && q->out[0].dtype == TN_F32 && q->out[0].rank == 4;
    for (uint32_t t = 0; ok && t < p->n; t++)
        ok = q->in[3 * t + 2].dtype == TN_F32 && tn_tensor_numel(&q->in[3 * t + 2]) < INT32_MAX; /* offsets are int32 */
    return ok;
}

TnStatus tni_cpu_relative_describe(TnKernelCall *call, TniRelative *r) {
    const TnRelativeBiasParams *p = call->params;
    const TnTensor *y = &call->out[0];
    *r = (TniRelative){.terms = p->n,
                       .minus = p->minus != 0,
                       .heads = y->dims[1],
                       .queries = y->dims[2],
                       .row = y->dims[3],
                       .head_step = y->dims[2] * y->dims[3],
                       .y = y->data};
    if (p->n < 1 || p->n > TN_RELATIVE_TERMS || call->n_in != 3 * p->n)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "relative_bias: %u operands for %u terms", call->n_in, p->n);
    r->keys = call->in[1].dims[1];
    for (uint32_t t = 0; t < p->n; t++) {
        r->pq[t] = &call->in[3 * t];
        r->pk[t] = &call->in[3 * t + 1];
        r->table[t] = call->in[3 * t + 2].data;
        r->lo[t] = p->lo[t];
        r->hi[t] = p->hi[t];
    }
    /* A task writes about 256 KB, so that the narrowing of the keys' positions is nothing beside it. */
    r->rows = TN_MIN(TN_MAX(65536 / TN_MAX(r->row * r->heads, (int64_t)1), (int64_t)1), TN_MAX(r->queries, (int64_t)1));
    r->blocks = (r->queries + r->rows - 1) / r->rows;
    return TN_OK;
}
