/* SPDX-License-Identifier: Apache-2.0
 *
 * One step of greedy or beam search (kernel/search.h), three kernels: choose, a block a row; advance, a block a line; count. All sizes and
 * addresses are fixed, the position is read from device memory, so the three can stand in a graph behind the decoder.
 *
 * choose reads a row's logits twice: for the sum of exponentials, and for the best candidates. Thread t looks at tokens t, t + THREADS, ...
 * and keeps the best few of them; then the block picks the best of all heads n_keep times. A thread whose few are used up looks through its
 * tokens again, which is rare. Which tokens stand in the sequence and which must not come are two bits a token in shared memory. */
#include "backend/cuda/generate/generate.h"

#include "kernel/search.h"

#define THREADS 512
#define LINE_THREADS 128

/* ---- choose ---- */

/* What turns a logit into the score of a candidate. */
struct SearchRow {
    const float *x;        /* [vocabulary] */
    const uint32_t *marks; /* [2 * words]: in the sequence; forbidden */
    int words;             /* 0: there are no rules */
    float lse, base, repetition;
    bool greedy; /* logits are compared, else log probabilities of whole sequences */
};

TNI_DEVICE float search_value(const SearchRow &r, int i) {
    float v = r.greedy ? r.x[i] : r.x[i] - r.lse;
    if (r.words > 0) {
        const uint32_t bit = 1u << (i & 31);
        if (r.repetition != 1.0f && (r.marks[i >> 5] & bit))
            v = tns_penalise(v, r.repetition);
        if (r.marks[r.words + (i >> 5)] & bit)
            v = -INFINITY;
    }
    return r.greedy ? v : v + r.base;
}

/* Order of candidates as one number: higher scores first, then lower tokens. */
TNI_DEVICE unsigned long long search_key(float score, int token) {
    const uint32_t bits = __float_as_uint(score + 0.0f); /* minus zero is zero */
    const uint32_t up = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (unsigned long long)up << 32 | (0xffffffffu - (uint32_t)token);
}

TNI_DEVICE unsigned long long search_warp_best(unsigned long long key) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) {
        const unsigned long long other = __shfl_xor_sync(TNI_ALL, key, step);
        key = other > key ? other : key;
    }
    return key;
}

/* The best TOP of this thread's tokens that stand behind `after` in the order, best first; what is missing has score -inf. */
template <int TOP>
TNI_DEVICE void search_scan(const SearchRow &r, int vocabulary, unsigned long long after, float (&score)[TOP], int (&token)[TOP]) {
#pragma unroll
    for (int k = 0; k < TOP; k++) {
        score[k] = -INFINITY;
        token[k] = INT32_MAX;
    }
    for (int i = (int)threadIdx.x; i < vocabulary; i += THREADS) {
        const float v = search_value(r, i);
        if (!(v > score[TOP - 1]) || search_key(v, i) >= after)
            continue;
        score[TOP - 1] = v;
        token[TOP - 1] = i;
#pragma unroll
        for (int k = TOP - 1; k > 0; k--) {
            if (score[k] > score[k - 1]) {
                const float f = score[k];
                const int t = token[k];
                score[k] = score[k - 1];
                token[k] = token[k - 1];
                score[k - 1] = f;
                token[k - 1] = t;
            }
        }
    }
}

/* log(sum(exp(x))) of a row; every thread gets it. */
TNI_DEVICE float search_lse(const float *x, int vocabulary, float *shared) {
    float most = -INFINITY, sum = 0.0f;
    for (int i = (int)threadIdx.x; i < vocabulary; i += THREADS) {
        const float v = x[i];
        if (v > most) {
            sum = sum * expf(most - v) + 1.0f;
            most = v;
        } else if (v != -INFINITY) {
            sum += expf(v - most);
        }
    }
    const float all = tni_block_max(most, shared);
    return all + logf(tni_block_sum(most == -INFINITY && sum == 0.0f ? 0.0f : sum * expf(most - all), shared));
}

/* Marks the tokens of the sequence and those that the rules forbid. */
TNI_DEVICE void search_mark(const TnSearch &s, const int32_t *tokens, int n, uint32_t *marks, int words) {
    const int k = (int)s.no_repeat;
    for (int i = (int)threadIdx.x; i < 2 * words; i += THREADS)
        marks[i] = 0;
    __syncthreads();
    for (int i = (int)threadIdx.x; i < n; i += THREADS) {
        atomicOr(&marks[tokens[i] >> 5], 1u << (tokens[i] & 31));
        if (k > 0 && i + k <= n && tns_repeats(tokens, n, k, i))
            atomicOr(&marks[words + (tokens[i + k - 1] >> 5)], 1u << (tokens[i + k - 1] & 31));
    }
    for (int i = (int)threadIdx.x; n - 1 < (int)s.min_new && i < (int)s.n_stop; i += THREADS)
        atomicOr(&marks[words + (s.stop[i] >> 5)], 1u << (s.stop[i] & 31));
    __syncthreads();
}

/* What is left of a row's list. */
TNI_DEVICE void search_fill(TnSearchCandidate *best, int from, int n) {
    for (int k = from + (int)threadIdx.x; k < n; k += THREADS) {
        best[k].score = -INFINITY;
        best[k].log_prob = 0.0f;
        best[k].token = 0;
        best[k].pad = 0;
    }
}

TNI_DEVICE void search_put(TnSearchCandidate *best, float score, float log_prob, int token) {
    best->score = score;
    best->log_prob = log_prob;
    best->token = token;
    best->pad = 0;
}

template <int TOP> __global__ void __launch_bounds__(THREADS) tni_search_choose(const __grid_constant__ TnSearch s, int words) {
    tni_start();
    extern __shared__ uint32_t marks[];
    __shared__ float part[32];
    __shared__ unsigned long long heads[2][THREADS / 32];
    const int row = (int)blockIdx.x, at = *s.at, vocabulary = (int)s.vocabulary, n_keep = (int)s.n_keep, lane = (int)threadIdx.x & 31;
    if (!s.line[row / (int)s.beams].active || (at == 0 && row % (int)s.beams != 0))
        return;
    const TnSearchBeams &run = at & 1 ? s.half[1] : s.half[0];
    const int n = run.n[row];
    TnSearchCandidate *best = s.best + (int64_t)row * n_keep;
    SearchRow r;
    r.x = s.logits + (int64_t)row * vocabulary;
    r.marks = marks;
    r.words = words;
    r.greedy = s.beams == 1;
    r.base = r.greedy ? 0.0f : run.score[row];
    r.repetition = s.repetition;
    r.lse = search_lse(r.x, vocabulary, part);
    const int forced = tns_forced(&s, n);
    if (forced >= 0) {
        if (threadIdx.x == 0)
            search_put(best, r.base, r.x[forced] - r.lse, forced);
        search_fill(best, 1, n_keep);
        return;
    }
    if (words > 0)
        search_mark(s, run.tokens + (int64_t)row * s.max_length, n, marks, words);
    float score[TOP];
    int token[TOP], left = TOP;
    search_scan<TOP>(r, vocabulary, ~0ull, score, token);
    int k = 0;
    for (; k < n_keep; k++) {
        unsigned long long key = search_warp_best(search_key(score[0], token[0]));
        if (lane == 0)
            heads[k & 1][threadIdx.x >> 5] = key;
        __syncthreads(); /* one a round: the other half of heads is written next */
        key = search_warp_best(heads[k & 1][lane & (THREADS / 32 - 1)]);
        const int chosen = (int)(0xffffffffu - (uint32_t)key);
        if (chosen == INT32_MAX) /* nothing is left that may come */
            break;
        if ((int)threadIdx.x != chosen % THREADS)
            continue;
        search_put(&best[k], score[0], r.x[chosen] - r.lse, chosen);
#pragma unroll
        for (int i = 0; i + 1 < TOP; i++) {
            score[i] = score[i + 1];
            token[i] = token[i + 1];
        }
        score[TOP - 1] = -INFINITY;
        token[TOP - 1] = INT32_MAX;
        if (--left == 0 && k + 1 < n_keep) {
            search_scan<TOP>(r, vocabulary, key, score, token);
            left = TOP;
        }
    }
    if (k == 0 && r.greedy) { /* all is forbidden, or no number: the first token, as the host does */
        if (threadIdx.x == 0)
            search_put(best, -INFINITY, r.x[0] - r.lse, 0);
        k = 1;
    }
    search_fill(best, k, n_keep);
}

/* ---- advance ---- */

/* Row `from` of a with one more token becomes row `to` of b; token < 0: as it is. All threads of the block. */
TNI_DEVICE void search_extend(const TnSearch &s, const TnSearchBeams &a, int from, const TnSearchBeams &b, int to, int token,
                              float log_prob, float score) {
    const int64_t length = s.max_length;
    const int n = a.n[from];
    for (int p = (int)threadIdx.x; p < n; p += LINE_THREADS) {
        b.tokens[to * length + p] = a.tokens[from * length + p];
        b.log_probs[to * length + p] = a.log_probs[from * length + p];
    }
    if (threadIdx.x != 0)
        return;
    if (token >= 0) {
        b.tokens[to * length + n] = token;
        b.log_probs[to * length + n] = log_prob;
    }
    b.n[to] = token >= 0 ? n + 1 : n;
    b.score[to] = token >= 0 ? score : a.score[from];
}

__global__ void __launch_bounds__(LINE_THREADS) tni_search_advance(const __grid_constant__ TnSearch s) {
    tni_start();
    __shared__ TnSearchDecision d;
    const int line = (int)blockIdx.x, beams = (int)s.beams, first = line * beams, at = *s.at, positions = (int)s.positions;
    const TnSearchBeams &run = at & 1 ? s.half[1] : s.half[0], &next = at & 1 ? s.half[0] : s.half[1];
    if (threadIdx.x == 0) {
        TnSearchLine *l = &s.line[line];
        d.n_next = d.n_finished = 0;
        if (l->active && beams == 1)
            tns_decide_greedy(&s, l, &run, (uint32_t)line, &d);
        else if (l->active)
            tns_decide(&s, l, &run, (uint32_t)line, at, &d);
    }
    __syncthreads();
    for (int k = 0; k < d.n_finished; k++) { /* one after another: a place may be taken twice */
        search_extend(s, run, first + d.finished_parent[k], s.done, first + d.finished_place[k], d.finished_token[k],
                      d.finished_log_prob[k], d.finished_score[k]);
        __syncthreads();
    }
    const bool moves = d.n_next > 0;
    for (int b = 0; b < beams; b++) {
        if (moves)
            search_extend(s, run, first + d.next_parent[b], next, first + b, d.next_token[b], d.next_log_prob[b], d.next_score[b]);
        else
            search_extend(s, run, first + b, next, first + b, -1, 0.0f, 0.0f);
        if (threadIdx.x == 0 && moves)
            tns_put_id(s.tokens, s.wide_tokens, (uint32_t)(first + b), d.next_token[b]);
        if (threadIdx.x == 0 && s.where)
            s.where[2 * (first + b) + 1] = at + 1;
    }
    if (!s.lanes || beams == 1 || !moves)
        return;
    const int64_t all = (int64_t)beams * positions;
    int32_t *lanes = s.lanes + (int64_t)first * positions, *old = s.old_lanes + (int64_t)first * positions;
    for (int64_t i = threadIdx.x; i < all; i += LINE_THREADS)
        old[i] = lanes[i];
    __syncthreads();
    for (int b = 0; b < beams; b++)
        for (int p = (int)threadIdx.x; p < positions; p += LINE_THREADS)
            lanes[(int64_t)b * positions + p] = p <= at ? old[(int64_t)d.next_parent[b] * positions + p] : first + b;
}

/* ---- count ---- */

__global__ void __launch_bounds__(LINE_THREADS) tni_search_count(const __grid_constant__ TnSearch s) {
    tni_start();
    __shared__ int part[LINE_THREADS / 32];
    int n = 0;
    for (int i = (int)threadIdx.x; i < (int)s.lines; i += LINE_THREADS)
        n += s.line[i].active != 0;
#pragma unroll
    for (int step = 16; step > 0; step /= 2)
        n += __shfl_xor_sync(TNI_ALL, n, step);
    if ((threadIdx.x & 31) == 0)
        part[threadIdx.x >> 5] = n;
    __syncthreads();
    if (threadIdx.x != 0)
        return;
    for (int w = 1; w < LINE_THREADS / 32; w++)
        n += part[w];
    const int at = *s.at;
    if (s.position)
        tns_put_id(s.position, s.wide_position, 0, at + 1);
    if (s.length)
        *s.length = at + 2;
    *s.at = at + 1;
    *(volatile int32_t *)&s.left[at] = n;
    __threadfence_system();
}

/* ---- what the code is ---- */

int tni_cuda_code_arch(void) {
    cudaFuncAttributes a;
    if (cudaFuncGetAttributes(&a, tni_search_count) != cudaSuccess) {
        (void)cudaGetLastError();
        return 0;
    }
    return a.ptxVersion;
}

/* ---- the step ---- */

TnStatus tni_gpu_search_step(TnStream *s, const struct TnSearch *g, TnError *err) {
    const unsigned rows = g->lines * g->beams;
    const bool rules = g->repetition != 1.0f || g->no_repeat > 0 || g->min_new > 0;
    const int words = rules ? (int)((g->vocabulary + 31) / 32) : 0;
    const size_t shared = 2 * (size_t)words * sizeof(uint32_t);
    TN_TRY(tni_cuda_enter(s->dev, err));
    if (rows == 0)
        return TN_OK;
    if (g->beams > TNS_MAX_BEAMS || g->n_keep > TNS_MAX_KEEP || g->vocabulary > TNS_MAX_VOCABULARY || (g->beams == 1 && g->n_keep != 1))
        return TN_RAISE(err, TN_ERR_INTERNAL, "a search with %u beams, %u candidates, %u tokens", g->beams, g->n_keep, g->vocabulary);
    if (g->beams == 1)
        (void)tni_launch_early(s, tni_search_choose<1>, rows, THREADS, shared, *g, words);
    else
        (void)tni_launch_early(s, tni_search_choose<4>, rows, THREADS, shared, *g, words);
    (void)tni_launch_early(s, tni_search_advance, g->lines, LINE_THREADS, 0, *g);
    (void)tni_launch_early(s, tni_search_count, 1, LINE_THREADS, 0, *g);
    TNI_CUDA(err, cudaGetLastError(), "the step of a search");
    return TN_OK;
}
