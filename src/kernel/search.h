/* SPDX-License-Identifier: Apache-2.0
 *
 * Greedy and beam search as work of a device: after each run of a generator's decoder (plan/generation.h) the best tokens are chosen, the sequences
 * are extended, and the decoder's control inputs are written for the next token, all in the device's memory, so that the host only enqueues.
 * The meaning is that of runtime/search.c: the same rules, the same order of candidates, the same judgement when a line is settled.
 *
 * Here: the memory that a search works in (TnSearch), and the decisions of one line as plain code, which a device's kernels and a host's
 * tests share. Rows are lines times beams throughout; rows of lines that are settled idle along. A step is
 *   choose   a row: log-sum-exp of its logits, then its n_keep best continuations under the rules
 *   advance  a line: from the candidates of its rows to its next beams (tns_decide), sequences copied from their parents
 *   count    once: lines still active, positions and lengths of the next step
 * Beams are double-buffered: step `at` reads half at & 1 and writes the other. */
#ifndef TENON_KERNEL_SEARCH_H
#define TENON_KERNEL_SEARCH_H

#include <math.h>
#include <stdint.h>

#ifdef __CUDACC__
#define TNS_FN static __device__ __forceinline__
#else
#define TNS_FN static inline
#endif

#define TNS_MAX_STOP 8
#define TNS_MAX_BEAMS 16
#define TNS_MAX_KEEP 64         /* candidates a row */
#define TNS_MAX_VOCABULARY 131072 /* two bits a token must fit into 48 KiB */
#define TNS_NEVER (-1e9f)       /* score of what must not be chosen; sums of it stay far below every real score */

/* A continuation of a row. */
typedef struct TnSearchCandidate {
    float score;    /* of the sequence with it */
    float log_prob; /* of the token alone, before the rules */
    int32_t token;
    int32_t pad;
} TnSearchCandidate;

typedef struct TnSearchLine {
    uint32_t active, n_done;
    int32_t order[TNS_MAX_BEAMS]; /* places of finished sequences, best first */
} TnSearchLine;

/* Sequences: [rows] each, tokens and log_probs [rows, max_length]. */
typedef struct TnSearchBeams {
    int32_t *tokens;
    float *log_probs;
    int32_t *n;
    float *score;
} TnSearchBeams;

/* Plain data: it is a kernel's argument and part of what a captured graph is for. Pointers are device memory but for `left`. */
typedef struct TnSearch {
    uint32_t lines, beams, vocabulary, max_length, positions, n_keep;
    uint32_t min_new, no_repeat, early, n_stop;
    int32_t stop[TNS_MAX_STOP];
    int32_t forced_first, forced_last; /* < 0: none */
    float repetition, length_penalty;
    uint32_t wide_tokens, wide_position; /* int64 instead of int32 */
    const float *logits;                 /* [rows, vocabulary] */
    /* control inputs of the decoder; NULL: it has none */
    void *tokens;                   /* [rows] */
    void *position;                 /* [1] */
    int32_t *where, *lanes, *length; /* [rows, 2], [rows, positions], [1] */
    /* the search's own */
    int32_t *at;                  /* [1]: tokens fed before this step */
    TnSearchLine *line;           /* [lines] */
    TnSearchBeams half[2], done;  /* running beams; finished ones */
    TnSearchCandidate *best;      /* [rows, n_keep], best first */
    int32_t *old_lanes;           /* [rows, positions]: scratch */
    int32_t *left;                /* pinned memory of the host, [max_length]: lines active after each step */
} TnSearch;

/* ---- rules ---- */

TNS_FN int tns_is_stop(const TnSearch *s, int32_t token) {
    for (uint32_t i = 0; i < s->n_stop; i++)
        if (s->stop[i] == token)
            return 1;
    return 0;
}

/* The one token that may follow n tokens; < 0: the rules below decide. */
TNS_FN int32_t tns_forced(const TnSearch *s, int32_t n) {
    if (s->forced_last >= 0 && n == (int32_t)s->max_length - 1)
        return s->forced_last;
    return s->forced_first >= 0 && n == 1 ? s->forced_first : -1;
}

/* tokens[i + k - 1] would complete a k-gram that stands at i already. */
TNS_FN int tns_repeats(const int32_t *tokens, int32_t n, int32_t k, int32_t i) {
    for (int32_t j = 0; j + 1 < k; j++)
        if (tokens[i + j] != tokens[n - (k - 1) + j])
            return 0;
    return 1;
}

/* Score of a token that is in the sequence already. */
TNS_FN float tns_penalise(float x, float penalty) {
    return x < 0 ? x * penalty : x / penalty;
}

/* a stands before b: higher scores first, NaN last; then, as the caller sees to it, earlier rows and tokens. */
TNS_FN int tns_better(float a, int32_t token_a, float b, int32_t token_b) {
    if (a > b)
        return 1;
    if (a < b)
        return 0;
    if ((a != a) != (b != b))
        return b != b;
    return token_a < token_b;
}

/* ---- one line ---- */

/* What becomes of a line: beams of the next step, and sequences that are finished. */
typedef struct TnSearchDecision {
    int32_t n_next, n_finished;
    int32_t next_parent[TNS_MAX_BEAMS], next_token[TNS_MAX_BEAMS];
    float next_score[TNS_MAX_BEAMS], next_log_prob[TNS_MAX_BEAMS];
    int32_t finished_parent[TNS_MAX_BEAMS], finished_token[TNS_MAX_BEAMS], finished_place[TNS_MAX_BEAMS];
    float finished_score[TNS_MAX_BEAMS], finished_log_prob[TNS_MAX_BEAMS];
} TnSearchDecision;

/* Candidate c of `parent` is finished: a place in the line's list of the best, or none. */
TNS_FN void tns_finish(const TnSearch *s, TnSearchLine *l, const TnSearchBeams *run, uint32_t line, int32_t parent, TnSearchCandidate c,
                       TnSearchDecision *d) {
    const uint32_t first = line * s->beams;
    const float score = c.score / powf((float)run->n[first + (uint32_t)parent], s->length_penalty);
    uint32_t rank = 0;
    while (rank < l->n_done && !(score > s->done.score[first + (uint32_t)l->order[rank]]))
        rank++;
    if (rank >= s->beams)
        return;
    const int32_t place = l->n_done < s->beams ? (int32_t)l->n_done++ : l->order[s->beams - 1];
    for (uint32_t i = l->n_done - 1; i > rank; i--)
        l->order[i] = l->order[i - 1];
    l->order[rank] = place;
    s->done.score[first + (uint32_t)place] = score;
    const int32_t k = d->n_finished++;
    d->finished_parent[k] = parent;
    d->finished_token[k] = c.token;
    d->finished_place[k] = place;
    d->finished_score[k] = score;
    d->finished_log_prob[k] = c.log_prob;
}

/* Nothing that runs can enter the finished list any more. early: 0 no, 1 yes, 2 never (plan/generation.h). */
TNS_FN int tns_settled(const TnSearch *s, const TnSearchLine *l, uint32_t line, float best, int32_t generated) {
    if (l->n_done < s->beams)
        return 0;
    if (s->early == 1)
        return 1;
    const int32_t length = s->early == 2 && s->length_penalty > 0 ? (int32_t)s->max_length - 1 : generated;
    return !(best / powf((float)length, s->length_penalty) > s->done.score[line * s->beams + (uint32_t)l->order[s->beams - 1]]);
}

/* Beam search, one line that is active: walks over the merged candidates of its rows, best first. */
TNS_FN void tns_decide(const TnSearch *s, TnSearchLine *l, const TnSearchBeams *run, uint32_t line, int32_t at, TnSearchDecision *d) {
    const uint32_t beams = s->beams, rows = at == 0 ? 1 : beams; /* all beams start equal: one row speaks for them */
    const TnSearchCandidate *best = s->best + (uint64_t)line * beams * s->n_keep;
    const int last = at + 2 >= (int32_t)s->max_length;
    uint32_t head[TNS_MAX_BEAMS];
    for (uint32_t b = 0; b < rows; b++)
        head[b] = 0;
    d->n_next = d->n_finished = 0;
    for (uint32_t k = 0; k < s->n_keep; k++) {
        uint32_t from = rows;
        for (uint32_t b = 0; b < rows; b++) /* of equal ones the earlier beam's */
            if (head[b] < s->n_keep &&
                (from == rows || tns_better(best[b * s->n_keep + head[b]].score, 0, best[from * s->n_keep + head[from]].score, 0)))
                from = b;
        if (from == rows)
            break;
        const TnSearchCandidate c = best[from * s->n_keep + head[from]++];
        if (!(c.score > -INFINITY))
            continue;
        if (last || tns_is_stop(s, c.token)) {
            if (k < beams)
                tns_finish(s, l, run, line, (int32_t)from, c, d);
        } else if (d->n_next < (int32_t)beams) {
            d->next_parent[d->n_next] = (int32_t)from;
            d->next_token[d->n_next] = c.token;
            d->next_score[d->n_next] = c.score;
            d->next_log_prob[d->n_next++] = c.log_prob;
        }
    }
    if (d->n_next == 0) {
        l->active = 0;
        return;
    }
    for (; d->n_next < (int32_t)beams; d->n_next++) {
        d->next_parent[d->n_next] = d->next_parent[0];
        d->next_token[d->n_next] = d->next_token[0];
        d->next_log_prob[d->n_next] = d->next_log_prob[0];
        d->next_score[d->n_next] = TNS_NEVER;
    }
    l->active = !tns_settled(s, l, line, d->next_score[0], at + 1);
}

/* Greedy search: the best token is the next one; a stop token is the last. */
TNS_FN void tns_decide_greedy(const TnSearch *s, TnSearchLine *l, const TnSearchBeams *run, uint32_t line, TnSearchDecision *d) {
    const TnSearchCandidate c = s->best[(uint64_t)line * s->n_keep];
    d->n_next = 1;
    d->n_finished = 0;
    d->next_parent[0] = 0;
    d->next_token[0] = c.token;
    d->next_log_prob[0] = c.log_prob;
    d->next_score[0] = run->score[line] + c.log_prob;
    l->active = !tns_is_stop(s, c.token);
}

TNS_FN void tns_put_id(void *ids, uint32_t wide, uint32_t i, int32_t v) {
    if (wide)
        ((int64_t *)ids)[i] = v;
    else
        ((int32_t *)ids)[i] = v;
}

#endif
