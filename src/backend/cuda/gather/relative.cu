/* SPDX-License-Identifier: Apache-2.0
 *
 * relative_bias: positions [B, S] and tables [R, H] -> [B, H, Sq, Sp], Sp = Sk rounded up to 8.
 *
 * The floor is writing the result; everything else must fit under it. Packed tables stand in shared memory, where a row (all heads of one
 * distance) is an odd number of units of four heads: a load takes a unit, and rows picked at random spread over all banks. So do rows eight
 * apart, which are what positions that count ask for: there is a unit more after every eighth row. A thread has eight
 * neighbouring keys, whose positions it keeps (in shared memory: there are not registers enough) over a few queries: for every query it finds the rows once, then adds up unit by unit
 * and writes 16 bytes (f32: 32) a head. (One element a load, the way of tables [H, R], would be four times the loads.) A row of zeros behind
 * the tables is what keys beyond Sk find.
 * Blocks stay and stride over the work, so that tables are copied once a block, before the kernel in front has ended.
 * Where a table is not packed, tables are too large or the result is not aligned, a thread has one key and reads tables where they are. Of a
 * packed table there is no other form (the operand has no data): its rows are longer. */
#include "backend/cuda/gather/gather.h"

namespace {
constexpr int BLOCK = 256, KEYS = TN_BIAS_PAD, UNIT = 4;
constexpr int64_t SMALL = INT64_C(1) << 28; /* differences of smaller positions, less a bound, are exact in int32 */

struct Term {
    const void *pq, *pk, *table; /* table: packed where it is, for the fast kernel always */
    int64_t pq_batch, pk_batch;  /* elements from a sample to the next: 0 where all share */
    int64_t step;                /* elements from a row of the table to the next; packed: and UNIT after every eighth */
    int32_t lo, hi;
    uint32_t packed;
    uint32_t unit, bytes16; /* where the table begins in shared memory, in units; its size in 16 bytes */
};

struct Relative {
    Term term[TN_RELATIVE_TERMS];
    void *y;
    uint32_t terms, minus, wide; /* wide: positions are int64 */
    int32_t heads, units;        /* units of a staged row */
    uint32_t zero;               /* unit of the row of zeros */
    int32_t queries, keys, row;
    int32_t per, chunks, groups; /* queries of a thread; eights of keys; groups of queries */
    TniDiv by_chunks, by_groups;
    int64_t items;
};

TNI_DEVICE int64_t position(const Relative &p, const void *data, int64_t i) {
    return p.wide != 0 ? ((const int64_t *)data)[i] : (int64_t)((const int32_t *)data)[i];
}

/* The clipped difference, wrapping as the type of the positions does, from 0. */
TNI_DEVICE int32_t distance(const Relative &p, const Term &t, int64_t q, int64_t k) {
    const uint64_t u = p.minus != 0 ? (uint64_t)q - (uint64_t)k : (uint64_t)k - (uint64_t)q;
    const int64_t d = p.wide != 0 ? (int64_t)u : (int64_t)(int32_t)(uint32_t)u;
    return (int32_t)(d < t.lo ? 0 : (d > t.hi ? (int64_t)t.hi : d) - t.lo);
}

/* Where the row of a distance from 0 begins in shared memory. */
TNI_DEVICE uint32_t row_at(const Relative &p, const Term &t, int32_t d) { return t.unit + (uint32_t)(d * p.units + (d >> 3)); }

/* min(max(a + b, 0), c); c is not negative. */
TNI_DEVICE int32_t clipped_sum(int32_t a, int32_t b, int32_t c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    return __viaddmin_s32_relu(a, b, c);
#else
    return min(max(a + b, 0), c);
#endif
}

/* The heads of a unit of one key, summed in f32; s: the tables from this unit of their first row on. */
template <typename T, int TERMS>
TNI_DEVICE void sum_unit(const TniVec<T, UNIT> *s, const uint32_t (&at)[TERMS][KEYS], int e, float (&sum)[UNIT]) {
#pragma unroll
    for (int t = 0; t < TERMS; t++) {
        const TniVec<T, UNIT> v = s[at[t][e]];
#pragma unroll
        for (int h = 0; h < UNIT; h++)
            sum[h] = t == 0 ? tni_f32(v.v[h]) : sum[h] + tni_f32(v.v[h]);
    }
}

TNI_DEVICE uint32_t pair_of(__half, float a, float b) {
    const __half2 v = __floats2half2_rn(a, b);
    return *reinterpret_cast<const uint32_t *>(&v);
}
TNI_DEVICE uint32_t pair_of(__nv_bfloat16, float a, float b) {
    const __nv_bfloat162 v = __floats2bfloat162_rn(a, b);
    return *reinterpret_cast<const uint32_t *>(&v);
}
template <typename T> TNI_DEVICE float largest_of(T) { return 65504.0f; }
TNI_DEVICE float largest_of(__nv_bfloat16) { return 3.38953139e38f; }

/* One unit of eight keys, of which `heads` exist from here on. Sums of 16-bit types are packed in pairs as they come; one that T cannot hold makes the thread do the unit again. */
template <typename T, int TERMS>
TNI_DEVICE void write_unit(const TniVec<T, UNIT> *s, const uint32_t (&at)[TERMS][KEYS], int heads, T *y, int64_t head_step) {
    uint32_t packed[UNIT][KEYS / 2];
    float most = 0.0f;
#pragma unroll
    for (int e = 0; e < KEYS; e += 2) {
        float a[UNIT], b[UNIT];
        sum_unit<T, TERMS>(s, at, e, a);
        sum_unit<T, TERMS>(s, at, e + 1, b);
#pragma unroll
        for (int h = 0; h < UNIT; h++) {
            most = fmaxf(fmaxf(most, fabsf(a[h])), fabsf(b[h]));
            packed[h][e / 2] = pair_of(T(), a[h], b[h]);
        }
    }
#pragma unroll
    for (int h = 0; h < UNIT; h++)
        if (h < heads)
            tni_store16(y + h * head_step, make_uint4(packed[h][0], packed[h][1], packed[h][2], packed[h][3]));
    if (most > largest_of(T())) {
        asm volatile("" ::: "memory"); /* sums are made again: kept for this they would fill the registers */
#pragma unroll
        for (int e = 0; e < KEYS; e++) {
            float a[UNIT];
            sum_unit<T, TERMS>(s, at, e, a);
#pragma unroll
            for (int h = 0; h < UNIT; h++)
                if (h < heads)
                    y[h * head_step + e] = tni_from_f32<T>(a[h]);
        }
    }
}

template <int TERMS>
TNI_DEVICE void write_unit(const TniVec<float, UNIT> *s, const uint32_t (&at)[TERMS][KEYS], int heads, float *y, int64_t head_step) {
#pragma unroll
    for (int half = 0; half < KEYS; half += 4) {
        float sum[4][UNIT];
        asm volatile("" ::: "memory"); /* one half after the other */
#pragma unroll
        for (int e = 0; e < 4; e++)
            sum_unit<float, TERMS>(s, at, half + e, sum[e]);
#pragma unroll
        for (int h = 0; h < UNIT; h++)
            if (h < heads)
                *reinterpret_cast<float4 *>(y + h * head_step + half) =
                    make_float4(sum[0][h], sum[1][h], sum[2][h], sum[3][h]);
    }
}

template <typename T, int TERMS> __global__ void __launch_bounds__(BLOCK, 2) relative_kernel(const __grid_constant__ Relative p) {
    extern __shared__ uint4 staged[];
    int4 *mine = reinterpret_cast<int4 *>(staged) + threadIdx.x; /* keys' positions: four of a term at every BLOCK */
    TniVec<T, UNIT> *s = reinterpret_cast<TniVec<T, UNIT> *>(staged + 2 * TERMS * BLOCK);
#pragma unroll
    for (int t = 0; t < TERMS; t++) {
        const uint4 *from = (const uint4 *)p.term[t].table;
        uint4 *to = reinterpret_cast<uint4 *>(s + p.term[t].unit);
#pragma unroll 4
        for (uint32_t i = threadIdx.x; i < p.term[t].bytes16; i += BLOCK)
            to[i] = from[i];
    }
    for (int i = (int)threadIdx.x; i < p.units * UNIT; i += BLOCK)
        s[p.zero + (uint32_t)(i / UNIT)].v[i % UNIT] = tni_from_f32<T>(0.0f);
    tni_after();
    tni_let_next();
    __syncthreads();
    for (int64_t item = tni_thread(); item < p.items; item += tni_threads()) {
        uint32_t rest, chunk, b, group;
        tni_divmod((uint32_t)item, p.by_chunks, &rest, &chunk);
        tni_divmod(rest, p.by_groups, &b, &group);
        const int j0 = (int)chunk * KEYS, i0 = (int)group * p.per, i1 = min(i0 + p.per, p.queries);
        const int64_t head_step = (int64_t)p.queries * p.row;
        bool small = true;
#pragma unroll
        for (int t = 0; t < TERMS; t++) {
            int32_t pk[KEYS];
#pragma unroll
            for (int e = 0; e < KEYS; e++) {
                const int64_t k = position(p, p.term[t].pk, (int64_t)b * p.term[t].pk_batch + min(j0 + e, p.keys - 1));
                small = small && k > -SMALL && k < SMALL;
                pk[e] = p.minus != 0 ? -(int32_t)k : (int32_t)k;
            }
            mine[2 * t * BLOCK] = make_int4(pk[0], pk[1], pk[2], pk[3]);
            mine[(2 * t + 1) * BLOCK] = make_int4(pk[4], pk[5], pk[6], pk[7]);
        }
        for (int i = i0; i < i1; i++) {
            uint32_t at[TERMS][KEYS];
#pragma unroll
            for (int t = 0; t < TERMS; t++) {
                const Term &m = p.term[t];
                const int64_t q = position(p, m.pq, (int64_t)b * m.pq_batch + i);
                if (small && q > -SMALL && q < SMALL) {
                    const int4 x = mine[2 * t * BLOCK], z = mine[(2 * t + 1) * BLOCK];
                    const int32_t pk[KEYS] = {x.x, x.y, x.z, x.w, z.x, z.y, z.z, z.w};
                    const int32_t from = (p.minus != 0 ? (int32_t)q : -(int32_t)q) - m.lo, span = m.hi - m.lo;
#pragma unroll
                    for (int e = 0; e < KEYS; e++)
                        at[t][e] = row_at(p, m, clipped_sum(pk[e], from, span));
                } else {
#pragma unroll 1
                    for (int e = 0; e < KEYS; e++) {
                        const int64_t k = position(p, m.pk, (int64_t)b * m.pk_batch + min(j0 + e, p.keys - 1));
                        const uint32_t found = row_at(p, m, distance(p, m, q, k));
#pragma unroll
                        for (int f = 0; f < KEYS; f++) /* registers have no index */
                            at[t][f] = f == e ? found : at[t][f];
                    }
                }
#pragma unroll
                for (int e = 0; e < KEYS; e++)
                    at[t][e] = j0 + e < p.keys ? at[t][e] : p.zero;
            }
            T *y = (T *)p.y + ((int64_t)b * p.heads * p.queries + i) * p.row + j0;
            const int units = (p.heads + UNIT - 1) / UNIT;
#pragma unroll 1 /* several at once do not fit the registers */
            for (int u = 0; u < units; u++)
                write_unit(s + u, at, p.heads - u * UNIT, y + (int64_t)(u * UNIT) * head_step, head_step);
        }
    }
}

/* A thread: one key (or a column of the pad) of one query, all heads. */
template <typename T> __global__ void __launch_bounds__(BLOCK) relative_plain_kernel(const __grid_constant__ Relative p) {
    tni_after();
    tni_let_next();
    for (int64_t item = tni_thread(); item < p.items; item += tni_threads()) {
        const int64_t rest = item / p.row, j = item - rest * p.row, b = rest / p.queries, i = rest - b * p.queries;
        const T *row[TN_RELATIVE_TERMS] = {nullptr, nullptr, nullptr, nullptr};
#pragma unroll
        for (int t = 0; t < TN_RELATIVE_TERMS; t++)
            if (t < (int)p.terms && j < p.keys) {
                const Term &m = p.term[t];
                const int64_t q = position(p, m.pq, b * m.pq_batch + i), k = position(p, m.pk, b * m.pk_batch + j);
                const int32_t d = distance(p, m, q, k);
                row[t] = (const T *)m.table + d * m.step + (m.packed != 0 ? d / 8 * UNIT : 0);
            }
        T *y = (T *)p.y + (b * p.heads * p.queries + i) * p.row + j;
        for (int h = 0; h < p.heads; h++) {
            float sum = row[0] != nullptr ? tni_f32(row[0][h]) : 0.0f;
#pragma unroll
            for (int t = 1; t < TN_RELATIVE_TERMS; t++)
                if (row[t] != nullptr)
                    sum += tni_f32(row[t][h]);
            y[(int64_t)h * p.queries * p.row] = tni_from_f32<T>(sum);
        }
    }
}

/* Queries of a thread: the more the less is read again, but the threads that fit the GPU at once should all have as much to do. */
int32_t queries_of_thread(const TnKernelCall *call, int64_t batch, const Relative *p) {
    const double at_once = (double)call->stream->dev->info.sm_count * 2 * BLOCK;
    double best = 0;
    int32_t per = 1;
    for (int32_t n = 1; n <= 8; n++) {
        const double rounds = (double)(batch * tni_div_up(p->queries, n) * p->chunks) / at_once, whole = (double)(int64_t)(rounds + 0.999999);
        const double score = (double)n / ((double)n + 0.6) / (whole * n);
        if (score > best * 1.001) {
            best = score;
            per = n;
        }
    }
    return per;
}

template <typename T, int TERMS> TnStatus launch_fast(TnKernelCall *call, const Relative &p, size_t bytes, unsigned blocks) {
    TN_TRY(tni_cuda_shared(call, (const void *)relative_kernel<T, TERMS>, bytes));
    (void)tni_launch_early(call->stream, relative_kernel<T, TERMS>, dim3(blocks), dim3(BLOCK), bytes, p);
    return tni_cuda_launched(call, "relative_bias");
}

/* Sets what the fast kernel wants; false: it cannot. */
bool plan_fast(const TnKernelCall *call, Relative *p, size_t size, size_t *bytes) {
    const int64_t batch = call->out[0].dims[0], unit_bytes = (int64_t)size * UNIT;
    int64_t at = 0;
    if (call->packed == NULL || !tni_is_aligned(p->y, 16))
        return false;
    p->units = (int32_t)tni_relative_units(p->heads);
    for (uint32_t t = 0; t < p->terms; t++) {
        const int64_t packed = (int64_t)tni_relative_bytes(&call->in[3 * t + 2]);
        if (call->packed[3 * t + 2] == NULL || !tni_is_aligned(p->term[t].table, 16))
            return false;
        p->term[t].unit = (uint32_t)(at / unit_bytes);
        p->term[t].bytes16 = (uint32_t)(packed / 16);
        at += packed;
    }
    p->zero = (uint32_t)(at / unit_bytes);
    at += (p->units * unit_bytes + 15) / 16 * 16 + (int64_t)p->terms * KEYS * BLOCK * (int64_t)sizeof(int32_t);
    p->chunks = p->row / KEYS;
    p->per = queries_of_thread(call, batch, p);
    p->groups = (int32_t)tni_div_up(p->queries, p->per);
    p->items = batch * p->groups * p->chunks;
    p->by_chunks = tni_div_make(p->chunks);
    p->by_groups = tni_div_make(p->groups);
    *bytes = (size_t)at;
    return at <= (int64_t)call->stream->dev->info.shared_bytes && p->items < INT64_C(1) << 31;
}

template <typename T> TnStatus run(TnKernelCall *call, Relative p) {
    size_t bytes = 0;
    Relative fast = p;
    if (plan_fast(call, &fast, sizeof(T), &bytes)) {
        const unsigned blocks = tni_grid(call, fast.items, BLOCK, bytes > 100 * 1024 ? 1 : 2);
        switch (fast.terms) {
        case 1:
            return launch_fast<T, 1>(call, fast, bytes, blocks);
        case 2:
            return launch_fast<T, 2>(call, fast, bytes, blocks);
        case 3:
            return launch_fast<T, 3>(call, fast, bytes, blocks);
        default:
            return launch_fast<T, 4>(call, fast, bytes, blocks);
        }
    }
    p.items = call->out[0].dims[0] * p.queries * p.row;
    const unsigned blocks = tni_grid(call, p.items, BLOCK, 16);
    (void)tni_launch_early(call->stream, relative_plain_kernel<T>, dim3(blocks), dim3(BLOCK), 0, p);
    return tni_cuda_launched(call, "relative_bias");
}
} // namespace

TnStatus tni_cuda_relative_bias(TnKernelCall *call) {
    const TnRelativeBiasParams *q = (const TnRelativeBiasParams *)call->params;
    const TnTensor *y = &call->out[0];
    Relative p;
    memset(&p, 0, sizeof p);
    bool fits = q->n >= 1 && q->n <= TN_RELATIVE_TERMS && call->n_in == 3 * q->n && y->rank == 4 && y->dims[3] % KEYS == 0;
    for (int32_t d = 1; fits && d < 4; d++)
        fits = y->dims[d] <= INT32_MAX - KEYS;
    if (!fits)
        return TN_RAISE(call->err, TN_ERR_INTERNAL, "relative_bias: operands that do not fit its terms");
    if (tn_tensor_numel(y) == 0)
        return TN_OK;
    p.y = y->data;
    p.terms = q->n;
    p.minus = q->minus;
    p.wide = call->in[0].dtype == TN_I64;
    p.heads = (int32_t)y->dims[1];
    p.queries = (int32_t)y->dims[2];
    p.keys = (int32_t)call->in[1].dims[1];
    p.row = (int32_t)y->dims[3];
    for (uint32_t t = 0; t < q->n; t++) {
        const TnTensor *pq = &call->in[3 * t], *pk = pq + 1, *table = pq + 2;
        if (pq->rank != 2 || pk->rank != 2 || table->rank != 2 || pq->dims[1] != p.queries || pk->dims[1] != p.keys ||
            (pq->dtype == TN_I64) != (p.wide != 0) || pk->dtype != pq->dtype)
            return TN_RAISE(call->err, TN_ERR_INTERNAL, "relative_bias: positions or tables of other sizes than the output");
        const void *packed = call->packed != NULL ? call->packed[3 * t + 2] : NULL;
        p.term[t] = {pq->data, pk->data, packed != NULL ? packed : table->data, pq->dims[0] == 1 ? 0 : pq->dims[1],
                     pk->dims[0] == 1 ? 0 : pk->dims[1], packed != NULL ? tni_relative_units(p.heads) * UNIT : p.heads, q->lo[t], q->hi[t],
                     packed != NULL, 0, 0};
    }
    TnStatus st = TN_OK;
    TNI_FLOAT_SWITCH(y->dtype, T, st = run<T>(call, p));
    return st;
}
