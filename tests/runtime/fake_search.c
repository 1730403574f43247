/* SPDX-License-Identifier: Apache-2.0
 *
 * The step of a search in plain C: what the kernels of a device are to do, with the decisions of a line from kernel/search.h. */
#include "runtime/fake_search.h"

#include <stdlib.h>
#include <string.h>

typedef void *(*BehindFn)(const void *p, size_t n, const char *what);

static float log_sum_exp(const float *x, uint32_t n) {
    float most = -INFINITY;
    double sum = 0;
    for (uint32_t i = 0; i < n; i++)
        most = fmaxf(most, x[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += exp((double)x[i] - (double)most);
    return most + (float)log(sum);
}

/* Bit 0: stands in the sequence, bit 1: must not come. */
static void mark_tokens(const TnSearch *s, const int32_t *tokens, int32_t n, uint8_t *marks) {
    memset(marks, 0, s->vocabulary);
    for (int32_t i = 0; i < n; i++)
        marks[tokens[i]] |= 1;
    for (int32_t i = 0; s->no_repeat && n >= (int32_t)s->no_repeat && i + (int32_t)s->no_repeat <= n; i++)
        if (tns_repeats(tokens, n, (int32_t)s->no_repeat, i))
            marks[tokens[i + (int32_t)s->no_repeat - 1]] |= 2;
    for (uint32_t i = 0; n - 1 < (int32_t)s->min_new && i < s->n_stop; i++)
        marks[s->stop[i]] |= 2;
}

static void choose(const TnSearch *s, uint32_t row, const TnSearchBeams *run, uint8_t *marks) {
    TnSearchCandidate *best = s->best + (size_t)row * s->n_keep;
    const float *x = s->logits + (size_t)row * s->vocabulary;
    const float lse = log_sum_exp(x, s->vocabulary);
    const int32_t n = run->n[row], forced = tns_forced(s, n);
    const int greedy = s->beams == 1;
    for (uint32_t k = 0; k < s->n_keep; k++)
        best[k] = (TnSearchCandidate){-INFINITY, 0, 0, 0};
    mark_tokens(s, run->tokens + (size_t)row * s->max_length, n, marks);
    if (forced >= 0) {
        best[0] = (TnSearchCandidate){greedy ? 0 : run->score[row], x[forced] - lse, forced, 0};
        return;
    }
    if (greedy)
        best[0].log_prob = x[0] - lse;
    for (uint32_t i = 0; i < s->vocabulary; i++) {
        float v = greedy ? x[i] : x[i] - lse;
        if (s->repetition != 1 && (marks[i] & 1))
            v = tns_penalise(v, s->repetition);
        if (marks[i] & 2)
            v = -INFINITY;
        if (!greedy)
            v += run->score[row];
        if (!(v > best[s->n_keep - 1].score))
            continue;
        uint32_t k = s->n_keep - 1;
        for (; k > 0 && v > best[k - 1].score; k--)
            best[k] = best[k - 1];
        best[k] = (TnSearchCandidate){v, x[i] - lse, (int32_t)i, 0};
    }
}

/* Row `from` of one set of sequences with one more token becomes row `to` of another; token < 0: as it is. */
static void extend(const TnSearch *s, const TnSearchBeams *a, uint32_t from, const TnSearchBeams *b, uint32_t to, int32_t token, float log_prob,
                   float score) {
    const size_t length = s->max_length;
    int32_t n = a->n[from];
    memcpy(b->tokens + to * length, a->tokens + from * length, (size_t)n * sizeof *a->tokens);
    memcpy(b->log_probs + to * length, a->log_probs + from * length, (size_t)n * sizeof *a->log_probs);
    if (token >= 0) {
        b->tokens[to * length + (size_t)n] = token;
        b->log_probs[to * length + (size_t)n++] = log_prob;
    }
    b->n[to] = n;
    b->score[to] = token >= 0 ? score : a->score[from];
}

static void advance(const TnSearch *s, uint32_t line, int32_t at) {
    const TnSearchBeams *run = &s->half[at & 1], *next = &s->half[(at & 1) ^ 1];
    TnSearchLine *l = &s->line[line];
    TnSearchDecision d = {0};
    const uint32_t first = line * s->beams;
    if (l->active && s->beams == 1)
        tns_decide_greedy(s, l, run, line, &d);
    else if (l->active)
        tns_decide(s, l, run, line, at, &d);
    for (int32_t k = 0; k < d.n_finished; k++)
        extend(s, run, first + (uint32_t)d.finished_parent[k], &s->done, first + (uint32_t)d.finished_place[k], d.finished_token[k],
               d.finished_log_prob[k], d.finished_score[k]);
    for (uint32_t b = 0; b < s->beams; b++) {
        const uint32_t row = first + b;
        if (d.n_next == 0) {
            extend(s, run, row, next, row, -1, 0, 0);
            continue;
        }
        extend(s, run, first + (uint32_t)d.next_parent[b], next, row, d.next_token[b], d.next_log_prob[b], d.next_score[b]);
        tns_put_id(s->tokens, s->wide_tokens, row, d.next_token[b]);
    }
    for (uint32_t b = 0; b < s->beams; b++) {
        if (s->where)
            s->where[2 * (first + b) + 1] = at + 1;
        for (uint32_t p = 0; s->lanes && s->beams > 1 && d.n_next && p < s->positions; p++)
            s->old_lanes[(size_t)(first + b) * s->positions + p] = s->lanes[(size_t)(first + b) * s->positions + p];
    }
    for (uint32_t b = 0; s->lanes && s->beams > 1 && d.n_next && b < s->beams; b++)
        for (uint32_t p = 0; p < s->positions; p++)
            s->lanes[(size_t)(first + b) * s->positions + p] =
                (int32_t)p <= at ? s->old_lanes[(size_t)(first + (uint32_t)d.next_parent[b]) * s->positions + p] : (int32_t)(first + b);
}

static void seen_beams(TnSearchBeams *b, size_t rows, size_t length, BehindFn behind) {
    b->tokens = behind(b->tokens, rows * length * sizeof *b->tokens, "sequences are not in device memory");
    b->log_probs = behind(b->log_probs, rows * length * sizeof *b->log_probs, "sequences are not in device memory");
    b->n = behind(b->n, rows * sizeof *b->n, "sequences are not in device memory");
    b->score = behind(b->score, rows * sizeof *b->score, "sequences are not in device memory");
}

void fake_search(const TnSearch *g, BehindFn behind) {
    TnSearch s = *g;
    const size_t rows = (size_t)g->lines * g->beams;
#define SEE(field, n)                                                                                                                      \
    if (s.field)                                                                                                                           \
    s.field = behind(g->field, (n), "a search works outside device memory")
    SEE(logits, rows * g->vocabulary * sizeof *g->logits);
    SEE(tokens, rows * (g->wide_tokens ? 8 : 4));
    SEE(position, g->wide_position ? 8 : 4);
    SEE(where, rows * 8);
    SEE(lanes, rows * g->positions * 4);
    SEE(length, 4);
    SEE(at, 4);
    SEE(line, g->lines * sizeof *g->line);
    SEE(best, rows * g->n_keep * sizeof *g->best);
    SEE(old_lanes, g->beams > 1 ? rows * g->positions * 4 : 4);
    for (int k = 0; k < 2; k++)
        seen_beams(&s.half[k], rows, g->max_length, behind);
    if (g->beams > 1)
        seen_beams(&s.done, rows, g->max_length, behind);
    const int32_t at = *s.at;
    uint8_t *marks = malloc(g->vocabulary);
    for (uint32_t r = 0; r < rows; r++)
        if (s.line[r / g->beams].active && (at > 0 || r % g->beams == 0))
            choose(&s, r, &s.half[at & 1], marks);
    int32_t left = 0;
    for (uint32_t i = 0; i < g->lines; i++) {
        advance(&s, i, at);
        left += s.line[i].active != 0;
    }
    free(marks);
    if (s.position)
        tns_put_id(s.position, s.wide_position, 0, at + 1);
    if (s.length)
        *s.length = at + 2;
    *s.at = at + 1;
    g->left[at] = left;
}
