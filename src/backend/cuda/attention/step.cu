/* SPDX-License-Identifier: Apache-2.0
 *
 * One step of generation: attention_step (one query a row against cached keys and values) and cache_append.
 *
 * The number of valid positions, the lanes and where to append are read on the device, and no launch depends on them, so that a captured
 * graph can be replayed while they change. attention_step: a block a (row, head); L lanes share a position, 16 bytes of its key and value
 * each (NV times); groups of lanes walk over the positions with four in flight, each with its own running maximum, sum and output, which are
 * combined in a fixed order: across the warp, then across the block. A lane outside the cache is noted as an index fault and clamped. */
#include "backend/cuda/attention/tile.cuh"

#define THREADS 128
#define AHEAD 4 /* positions a group of lanes loads before it uses them */
#define MOST 512 /* head size */

typedef struct StepArgs {
    const void *q, *k, *v;
    const int32_t *lanes, *length;
    void *out;
    TniFault *fault;
    int64_t q_row, n_lanes;
    int32_t positions, lane_cols, heads, d;
    float scale;
} StepArgs;

typedef struct StepState {
    float max, sum;
} StepState;

/* E elements at e of a row of d; zeros beyond. WIDE: all or none are there, 16 bytes at once. */
template <typename T, bool WIDE, int E> TNI_DEVICE TniVec<T, E> step_fetch(const T *row, int e, int d) {
    TniVec<T, E> x;
    if (WIDE && e < d)
        return *reinterpret_cast<const TniVec<T, E> *>(row + e);
#pragma unroll
    for (int i = 0; i < E; i++)
        x.v[i] = !WIDE && e + i < d ? row[e + i] : tni_from_f32<T>(0.0f);
    return x;
}

/* Merges another part (max2, sum2, o2) into this one. */
template <int N> TNI_DEVICE void step_merge(StepState *s, float (&o)[N], float max2, float sum2, const float (&o2)[N]) {
    const float m = fmaxf(s->max, max2), zero = m == -INFINITY ? 0.0f : m, f = expf(s->max - zero), f2 = expf(max2 - zero);
    s->max = m;
    s->sum = s->sum * f + sum2 * f2;
#pragma unroll
    for (int i = 0; i < N; i++)
        o[i] = o[i] * f + o2[i] * f2;
}

/* Positions base + group, base + group + GROUPS, ...: AHEAD of them. */
template <typename T, int L, int NV, bool WIDE>
TNI_DEVICE void step_positions(const StepArgs &a, int r, int h, int base, int n, const float (&q)[NV * TniWide<T>::n], StepState *s,
                               float (&o)[NV * TniWide<T>::n]) {
    constexpr int E = TniWide<T>::n, GROUPS = THREADS / L;
    const int group = (int)threadIdx.x / L, in_group = (int)threadIdx.x % L;
    TniVec<T, E> k[AHEAD][NV], v[AHEAD][NV];
    float score[AHEAD], m = s->max;
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
        const int j = min(base + group + u * GROUPS, n - 1);
        int64_t lane = a.lanes[(int64_t)r * a.lane_cols + (a.lane_cols == 1 ? 0 : j)];
        if (lane < 0 || lane >= a.n_lanes) {
            tni_fault_note(a.fault, lane, a.n_lanes);
            lane = lane < 0 ? 0 : a.n_lanes - 1;
        }
        const int64_t at = ((lane * a.positions + j) * a.heads + h) * a.d;
#pragma unroll
        for (int c = 0; c < NV; c++) {
            k[u][c] = step_fetch<T, WIDE, E>((const T *)a.k + at, (c * L + in_group) * E, a.d);
            v[u][c] = step_fetch<T, WIDE, E>((const T *)a.v + at, (c * L + in_group) * E, a.d);
        }
    }
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
        float dot = 0.0f;
#pragma unroll
        for (int c = 0; c < NV; c++)
#pragma unroll
            for (int i = 0; i < E; i++)
                dot = fmaf(q[c * E + i], tni_f32(k[u][c].v[i]), dot);
        dot = tni_warp_sum<L>(dot);
        score[u] = base + group + u * GROUPS < n ? dot * a.scale : -INFINITY;
        m = fmaxf(m, score[u]);
    }
    const float zero = m == -INFINITY ? 0.0f : m, fade = expf(s->max - zero);
    s->max = m;
    s->sum *= fade;
#pragma unroll
    for (int i = 0; i < NV * E; i++)
        o[i] *= fade;
#pragma unroll
    for (int u = 0; u < AHEAD; u++) {
        if (score[u] == -INFINITY) /* no weight, whatever the value is */
            continue;
        const float p = expf(score[u] - zero);
        s->sum += p;
#pragma unroll
        for (int c = 0; c < NV; c++)
#pragma unroll
            for (int i = 0; i < E; i++)
                o[c * E + i] = fmaf(p, tni_f32(v[u][c].v[i]), o[c * E + i]);
    }
}

template <typename T, int L, int NV, bool WIDE> __global__ void __launch_bounds__(THREADS) tni_attn_step_kernel(const StepArgs a) {
    constexpr int E = TniWide<T>::n, N = NV * E, WARPS = THREADS / 32;
    __shared__ float part[WARPS][NV * L * E], stats[WARPS][2];
    const int r = (int)blockIdx.x / a.heads, h = (int)blockIdx.x % a.heads, in_group = (int)threadIdx.x % L, warp = (int)threadIdx.x >> 5;
    tni_after();
    tni_let_next();
    int n = *a.length;
    if (n < 0 || n > a.positions) {
        if (blockIdx.x == 0 && threadIdx.x == 0)
            tni_fault_note(a.fault, n, a.positions + 1);
        n = n < 0 ? 0 : a.positions;
    }
    const T *qp = (const T *)a.q + r * a.q_row + h * a.d;
    float q[N], o[N];
#pragma unroll
    for (int c = 0; c < NV; c++) {
        const TniVec<T, E> x = step_fetch<T, false, E>(qp, (c * L + in_group) * E, a.d);
#pragma unroll
        for (int i = 0; i < E; i++) {
            q[c * E + i] = tni_f32(x.v[i]);
            o[c * E + i] = 0.0f;
        }
    }
    StepState s = {-INFINITY, 0.0f};
    for (int base = 0; base < n; base += THREADS / L * AHEAD) /* the same number of rounds for all lanes: they shuffle */
        step_positions<T, L, NV, WIDE>(a, r, h, base, n, q, &s, o);
#pragma unroll
    for (int step = L; step < 32; step *= 2) {
        float o2[N];
        const float max2 = __shfl_xor_sync(TNI_ALL, s.max, step), sum2 = __shfl_xor_sync(TNI_ALL, s.sum, step);
#pragma unroll
        for (int i = 0; i < N; i++)
            o2[i] = __shfl_xor_sync(TNI_ALL, o[i], step);
        step_merge<N>(&s, o, max2, sum2, o2);
    }
    if ((threadIdx.x & 31) < L) {
#pragma unroll
        for (int c = 0; c < NV; c++)
#pragma unroll
            for (int i = 0; i < E; i++)
                part[warp][(c * L + in_group) * E + i] = o[c * E + i];
        if (in_group == 0) {
            stats[warp][0] = s.max;
            stats[warp][1] = s.sum;
        }
    }
    __syncthreads();
    T *y = (T *)a.out + ((int64_t)r * a.heads + h) * a.d;
    for (int e = (int)threadIdx.x; e < a.d; e += THREADS) {
        StepState all = {stats[0][0], stats[0][1]};
        float x[1] = {part[0][e]};
        for (int w = 1; w < WARPS; w++) {
            const float x2[1] = {part[w][e]};
            step_merge<1>(&all, x, stats[w][0], stats[w][1], x2);
        }
        y[e] = tni_from_f32<T>(n == 0 ? 0.0f : x[0] / all.sum);
    }
}

template <typename T, int L, int NV, bool WIDE> static cudaError_t step_enqueue(const StepArgs &a, unsigned blocks, const TnStream *s) {
    return tni_launch_early(s, tni_attn_step_kernel<T, L, NV, WIDE>, dim3(blocks), dim3(THREADS), 0, a);
}

template <typename T, bool WIDE> static cudaError_t step_launch(const StepArgs &a, unsigned blocks, const TnStream *s) {
    const int lanes = (a.d + TniWide<T>::n - 1) / TniWide<T>::n;
    if (lanes <= 4)
        return step_enqueue<T, 4, 1, WIDE>(a, blocks, s);
    if (lanes <= 8)
        return step_enqueue<T, 8, 1, WIDE>(a, blocks, s);
    if (lanes <= 16)
        return step_enqueue<T, 16, 1, WIDE>(a, blocks, s);
    if (lanes <= 32)
        return step_enqueue<T, 32, 1, WIDE>(a, blocks, s);
    return step_enqueue<T, 32, MOST / 32 / TniWide<T>::n, WIDE>(a, blocks, s);
}

TnStatus tni_cuda_attention_step(TnKernelCall *call) {
    const TnAttentionStepParams *p = (const TnAttentionStepParams *)call->params;
    const TnTensor *q = &call->in[0], *cache = &call->in[1], *lanes = &call->in[3];
    const size_t es = tni_size_of(q->dtype);
    StepArgs a = {};
    a.q = (const char *)q->data + p->q_off * es;
    a.k = cache->data;
    a.v = call->in[2].data;
    a.lanes = (const int32_t *)lanes->data;
    a.length = (const int32_t *)call->in[4].data;
    a.out = call->out[0].data;
    a.fault = call->stream->fault;
    a.q_row = q->dims[1];
    a.n_lanes = cache->dims[0];
    a.positions = (int32_t)cache->dims[1];
    a.lane_cols = (int32_t)lanes->dims[1];
    a.heads = (int32_t)p->heads;
    a.d = (int32_t)p->d_head;
    a.scale = p->scale;
    const int64_t blocks = q->dims[0] * p->heads;
    if (blocks == 0 || a.n_lanes == 0 || a.positions == 0)
        return TN_OK;
    const bool wide = tni_is_aligned(a.k, 16) && tni_is_aligned(a.v, 16) && (size_t)a.d * es % 16 == 0;
    cudaError_t e = cudaSuccess;
    TNI_FLOAT_SWITCH(q->dtype, T, {
        e = wide ? step_launch<T, true>(a, (unsigned)blocks, call->stream) : step_launch<T, false>(a, (unsigned)blocks, call->stream);
    });
    TNI_CUDA(call->err, e, "attention_step");
    return tni_cuda_launched(call, "attention_step");
}

/* ---- cache_append ---- */

/* Rows of V: `width` of them from x at off of a row of `row` to cache[lane][position]. */
template <typename V>
__global__ void __launch_bounds__(THREADS) tni_cache_append_kernel(V *cache, const V *x, const int32_t *where, TniFault *fault, int64_t lanes,
                                                                   int64_t positions, int64_t width, int64_t row) {
    tni_after();
    tni_let_next();
    const int64_t r = blockIdx.x, lane = where[2 * r], position = where[2 * r + 1];
    if (lane < 0 || lane >= lanes || position < 0 || position >= positions) { /* nowhere to put it */
        if (threadIdx.x == 0)
            tni_fault_note(fault, lane < 0 || lane >= lanes ? lane : position, lane < 0 || lane >= lanes ? lanes : positions);
        return;
    }
    V *to = cache + (lane * positions + position) * width;
    for (int64_t i = threadIdx.x; i < width; i += THREADS)
        to[i] = x[r * row + i];
}

TnStatus tni_cuda_cache_append(TnKernelCall *call) {
    const TnCacheAppendParams *p = (const TnCacheAppendParams *)call->params;
    const TnTensor *x = &call->in[0], *cache = &call->in[1];
    const size_t es = tni_size_of(x->dtype);
    const char *from = (const char *)x->data + p->off * es;
    const int32_t *where = (const int32_t *)call->in[2].data;
    const int64_t bytes = (int64_t)p->width * (int64_t)es, row = x->dims[1] * (int64_t)es;
    if (x->dims[0] == 0 || bytes == 0)
        return TN_OK;
    const bool wide = tni_is_aligned(from, 16) && tni_is_aligned(cache->data, 16) && bytes % 16 == 0 && row % 16 == 0;
    const size_t unit = wide ? 16 : es;
    cudaError_t e = cudaSuccess;
    TNI_SIZE_SWITCH(unit, V,
                    e = tni_launch_early(call->stream, tni_cache_append_kernel<V>, dim3((unsigned)x->dims[0]), dim3(THREADS), 0,
                                         (V *)cache->data, (const V *)from, where, call->stream->fault, cache->dims[0], cache->dims[1],
                                         bytes / (int64_t)unit, row / (int64_t)unit));
    TNI_CUDA(call->err, e, "cache_append");
    return tni_cuda_launched(call, "cache_append");
}
