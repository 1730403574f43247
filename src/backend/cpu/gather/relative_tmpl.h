/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias for one ISA: positions -> [B, H, Sq, Sp]. Included by scalar.c, avx2.c and avx512.c.
 *
 * A table's row holds all heads of one distance, so VL keys are VL rows that are loaded whole, added up term by term and turned, which makes a
 * vector of keys for each head: a third of the instructions of element-wise gathers. Distances of a row of queries are computed in int32
 * where all positions are small, which is nearly always; a task is a block of queries of one sample. */
#include "backend/cpu/gather/gather.h"
#include "backend/cpu/gemm/act.h"

#define COLUMNS 512 /* keys whose offsets are kept at a time */
#define SMALL_POSITION (1 << 30)

/* Keys' positions as int32; false when one is too large. */
TN_INLINE bool narrow_positions(const TnTensor *t, int64_t first, int64_t n, int32_t *dst) {
    uint64_t large = 0;
    if (t->dtype == TN_I64) {
        const int64_t *p = (const int64_t *)t->data + first;
        for (int64_t j = 0; j < n; j++) {
            large |= (uint64_t)p[j] + SMALL_POSITION - 1;
            dst[j] = (int32_t)(uint32_t)(uint64_t)p[j];
        }
        return large < UINT64_C(2) * SMALL_POSITION;
    }
    const int32_t *p = (const int32_t *)t->data + first;
    for (int64_t j = 0; j < n; j++) {
        large |= (uint64_t)(int64_t)p[j] + SMALL_POSITION - 1;
        dst[j] = p[j];
    }
    return large < UINT64_C(2) * SMALL_POSITION;
}

/* off[j]: where the row of key j begins in the table, for a query at position q. */
TN_INLINE void near_offsets(const int32_t *pk, int32_t q, bool minus, int32_t lo, int32_t hi, int32_t width, int64_t n, int32_t *off) {
    for (int64_t j = 0; j < n; j++) {
        int32_t d = minus ? q - pk[j] : pk[j] - q;
        d = d < lo ? lo : d;
        d = d > hi ? hi : d;
        off[j] = (d - lo) * width;
    }
}

TN_INLINE void far_offsets(const TnTensor *pk, int64_t first, int64_t q, bool minus, int32_t lo, int32_t hi, int32_t width, int64_t n,
                           int32_t *off) {
    for (int64_t j = 0; j < n; j++) {
        const uint64_t a = (uint64_t)q, b = (uint64_t)tni_cpu_index(pk, first + j);
        int64_t d = (int64_t)(minus ? a - b : b - a);
        if (pk->dtype == TN_I32)
            d = (int32_t)(uint32_t)(uint64_t)d;
        off[j] = ((int32_t)TN_MIN(TN_MAX(d, (int64_t)lo), (int64_t)hi) - lo) * width;
    }
}

/* Heads [h, h + n) of the keys [j, j + VL), of which `keys` exist and `cols` are written. */
TN_INLINE void heads_of_keys(const TniRelative *r, const int32_t (*off)[COLUMNS], int64_t j, int64_t keys, int64_t cols, int64_t h, int64_t n,
                             float *y, const uint32_t terms) {
    vf x[VL];
    for (int64_t l = 0; l < VL; l++) {
        x[l] = vf_zero();
        if (l >= keys)
            continue;
        for (uint32_t t = 0; t < terms; t++) {
            const float *row = r->table[t] + off[t][j + l] + h;
            const vf v = n == VL ? vf_load(row) : vf_loadn(row, n);
            x[l] = t == 0 ? v : vf_add(x[l], v);
        }
    }
    vf_transpose(x);
    for (int64_t k = 0; k < n; k++) {
        if (cols >= VL)
            vf_store(y + (h + k) * r->head_step, x[k]);
        else
            vf_storen(y + (h + k) * r->head_step, cols, x[k]);
    }
}

/* y: head 0 of the first of these columns. */
TN_INLINE void columns(const TniRelative *r, const int32_t (*off)[COLUMNS], int64_t keys, int64_t cols, float *y, const uint32_t terms) {
    for (int64_t j = 0; j < cols; j += VL)
        for (int64_t h = 0; h < r->heads; h += VL)
            heads_of_keys(r, off, j, keys - j, cols - j, h, TN_MIN((int64_t)VL, r->heads - h), y + j, terms);
}

static void relative_task(void *ctx, int64_t task, uint32_t worker) {
    const TniRelative *r = ctx;
    const int64_t b = task / r->blocks, i0 = task % r->blocks * r->rows, i1 = TN_MIN(i0 + r->rows, r->queries);
    int32_t pk[TN_RELATIVE_TERMS][COLUMNS], off[TN_RELATIVE_TERMS][COLUMNS];
    (void)worker;
    for (int64_t j0 = 0; j0 < r->row; j0 += COLUMNS) {
        const int64_t cols = TN_MIN(r->row - j0, (int64_t)COLUMNS), keys = TN_MAX(TN_MIN(r->keys - j0, cols), (int64_t)0);
        bool near[TN_RELATIVE_TERMS] = {0};
        for (uint32_t t = 0; t < r->terms; t++)
            near[t] = narrow_positions(r->pk[t], r->pk[t]->dims[0] == 1 ? j0 : b * r->keys + j0, keys, pk[t]);
        for (int64_t i = i0; i < i1; i++) {
            float *y = r->y + (b * r->heads * r->queries + i) * r->row + j0;
            for (uint32_t t = 0; t < r->terms; t++) {
                const int64_t q = tni_cpu_index(r->pq[t], (r->pq[t]->dims[0] == 1 ? 0 : b * r->queries) + i);
                if (near[t] && q > -SMALL_POSITION && q < SMALL_POSITION)
                    near_offsets(pk[t], (int32_t)q, r->minus, r->lo[t], r->hi[t], (int32_t)r->heads, keys, off[t]);
                else
                    far_offsets(r->pk[t], r->pk[t]->dims[0] == 1 ? j0 : b * r->keys + j0, q, r->minus, r->lo[t], r->hi[t],
                                (int32_t)r->heads, keys, off[t]);
            }
            const int32_t(*const at)[COLUMNS] = (const int32_t(*)[COLUMNS])off;
            switch (r->terms) {
            case 1:
                columns(r, at, keys, cols, y, 1);
                break;
            case 2:
                columns(r, at, keys, cols, y, 2);
                break;
            case 3:
                columns(r, at, keys, cols, y, 3);
                break;
            default:
                columns(r, at, keys, cols, y, 4);
                break;
            }
        }
    }
}

TnStatus TN_ISA(tni_cpu_relative_bias)(TnKernelCall *call) {
    TniRelative r;
    TN_TRY(tni_cpu_relative_describe(call, &r));
    tni_parallel_for(call->threads, tn_tensor_numel(&call->out[0]) > 0 ? call->out[0].dims[0] * r.blocks : 0, relative_task, &r);
    return TN_OK;
}
double TN_ISA(tni_cpu_relative_cost)(const TnKernelQuery *q) {
    const double terms = (double)((const TnRelativeBiasParams *)q->params)->n;
    return tni_cpu_cost(q, VL == 1 ? 0.5 + 0.5 * terms : 0.1 + 0.8 * terms / VL);
}
