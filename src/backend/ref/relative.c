/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias: for every pair of a query and a key the sum of one row of each table, picked by the clipped difference of their positions. */
#include "backend/ref/ref.h"

typedef struct Relative {
    const TnKernelCall *call;
    const TnRelativeBiasParams *p;
    int64_t heads, queries, row; /* row: keys and the pad */
} Relative;

static int64_t position(const TnTensor *t, int64_t b, int64_t s) {
    return tni_load_i64(t->dtype, t->data, (t->dims[0] == 1 ? 0 : b) * t->dims[1] + s);
}

/* Row of term t's table for query i and key j. */
static int64_t row_of(const Relative *r, uint32_t t, int64_t b, int64_t i, int64_t j) {
    const TnTensor *pq = &r->call->in[3 * t], *pk = pq + 1;
    const uint64_t q = (uint64_t)position(pq, b, i), k = (uint64_t)position(pk, b, j);
    int64_t d = (int64_t)(r->p->minus ? q - k : k - q);
    if (pq->dtype == TN_I32)
        d = (int32_t)(uint32_t)(uint64_t)d; /* wraps as the subtraction of int32 does */
    return TN_MIN(TN_MAX(d, (int64_t)r->p->lo[t]), (int64_t)r->p->hi[t]) - r->p->lo[t];
}

/* Tasks: rows of queries of one sample. */
static void relative_task(void *ctx, int64_t task, uint32_t worker) {
    const Relative *r = ctx;
    const TnTensor *y = &r->call->out[0];
    const int64_t b = task / r->queries, i = task % r->queries, keys = r->call->in[1].dims[1];
    (void)worker;
    for (int64_t j = 0; j < r->row; j++) {
        int64_t rows[TN_RELATIVE_TERMS] = {0};
        for (uint32_t t = 0; t < r->p->n && j < keys; t++)
            rows[t] = row_of(r, t, b, i, j);
        for (int64_t h = 0; h < r->heads; h++) {
            double sum = 0;
            for (uint32_t t = 0; t < r->p->n && j < keys; t++)
                sum += tni_load_f64(r->call->in[3 * t + 2].dtype, r->call->in[3 * t + 2].data, rows[t] * r->heads + h);
            tni_store_f64(y->dtype, y->data, ((b * r->heads + h) * r->queries + i) * r->row + j, sum);
        }
    }
}

TnStatus tni_ref_relative_bias(TnKernelCall *call) {
    const TnRelativeBiasParams *p = call->params;
    const TnTensor *y = &call->out[0];
    if (p->n < 1 || p->n > TN_RELATIVE_TERMS || call->n_in != 3 * p->n || y->rank != 4)
        return tni_ref_bad_call(call, "relative_bias", "operands that do not fit its terms");
    Relative r = {call, p, y->dims[1], y->dims[2], y->dims[3]};
    for (uint32_t t = 0; t < p->n; t++) {
        const TnTensor *pq = &call->in[3 * t], *pk = pq + 1, *table = pq + 2;
        if (pq->rank != 2 || pk->rank != 2 || table->rank != 2 || pq->dims[1] != r.queries || pk->dims[1] != call->in[1].dims[1] ||
            (pq->dims[0] != 1 && pq->dims[0] != y->dims[0]) || (pk->dims[0] != 1 && pk->dims[0] != y->dims[0]) ||
            table->dims[1] != r.heads || table->dims[0] != (int64_t)p->hi[t] - p->lo[t] + 1)
            return tni_ref_bad_call(call, "relative_bias", "positions or tables of other sizes than its output and bounds");
    }
    if (tn_tensor_numel(y) > 0)
        tni_parallel_for(call->threads, y->dims[0] * r.queries, relative_task, &r);
    return TN_OK;
}
