/* SPDX-License-Identifier: Apache-2.0
 *
 * Greedy and beam search. Beam search as transformers 5 defines it, line by line: of all continuations of the running beams the best
 * (stop tokens + 1) * beams are looked at; those among the first `beams` that stop enter the finished list with score / length^penalty; the
 * best that do not stop run on; a line ends when its finished list is full and nothing that runs can improve it (how that is judged is
 * early_stopping), or at max_length, where everything stops. */
#include "runtime/generation.h"

#include <math.h>

typedef struct RtGeneration Gen;

/* Score of what must not be chosen; sums of it stay far below every real score. */
#define NEVER (-1e9f)

/* Rows of the lines that are still active; `beams` of each line. */
static void gather_rows(Gen *s, uint32_t beams) {
    s->n_rows = 0;
    for (uint32_t i = 0; i < s->lines; i++) {
        for (uint32_t b = 0; s->line[i].active && b < beams; b++) {
            s->row[s->n_rows] = &s->line[i].running[b];
            s->row_line[s->n_rows++] = i;
        }
    }
}

/* ---- greedy ---- */

static void greedy_row(void *ctx, int64_t r, uint32_t worker) {
    Gen *s = ctx;
    GenSequence *q = s->row[r];
    size_t v = s->g->g.vocab_size;
    float *x = s->scores + (size_t)r * v;
    size_t best = 0;
    (void)worker;
    tni_rt_gen_rules(s, q, x);
    for (size_t i = 1; i < v; i++)
        if (x[i] > x[best])
            best = i;
    float lp = s->log_probs[(size_t)r * v + best];
    q->score += lp;
    tni_rt_gen_push(q, (int32_t)best, lp);
}

TnStatus tni_rt_greedy(TnContext *ctx, Gen *s, TnError *err) {
    for (uint32_t at = 0; at + 1 < s->max_length; at++) {
        gather_rows(s, 1);
        if (s->n_rows == 0)
            return TN_OK;
        TN_TRY(tni_rt_gen_step(ctx, s, at, err));
        tni_parallel_for(ctx->threads, s->n_rows, greedy_row, s);
        for (uint32_t r = 0; r < s->n_rows; r++)
            s->line[s->row_line[r]].active = !tni_rt_gen_is_stop(s, s->row[r]->tokens[s->row[r]->n - 1]);
    }
    return TN_OK;
}

/* ---- beams ---- */

/* a stands before b: a higher score, and among equals the earlier beam and token. NaN stands last. */
static bool better(const GenCandidate *a, const GenCandidate *b) {
    if (a->score > b->score)
        return true;
    if (a->score < b->score)
        return false;
    if (isnan(a->score) != isnan(b->score))
        return isnan(b->score);
    return a->beam != b->beam ? a->beam < b->beam : a->token < b->token;
}

/* Puts c into list[0, n) of at most cap, best first; returns the new n. */
static uint32_t insert(GenCandidate *list, uint32_t n, uint32_t cap, GenCandidate c) {
    if (n == cap && !better(&c, &list[n - 1]))
        return n;
    uint32_t at = n < cap ? n++ : cap - 1;
    for (; at > 0 && better(&c, &list[at - 1]); at--)
        list[at] = list[at - 1];
    list[at] = c;
    return n;
}

/* The best continuations of one row into best[row]. */
static void beam_row(void *ctx, int64_t r, uint32_t worker) {
    Gen *s = ctx;
    GenSequence *q = s->row[r];
    uint32_t v = s->g->g.vocab_size, n = 0, beam = (uint32_t)(q - s->line[s->row_line[r]].running);
    float *x = s->scores + (size_t)r * v;
    GenCandidate *best = s->best + (size_t)r * s->n_keep;
    (void)worker;
    memcpy(x, s->log_probs + (size_t)r * v, v * sizeof *x);
    tni_rt_gen_rules(s, q, x);
    for (uint32_t i = 0; i < v; i++) {
        GenCandidate c = {x[i] + q->score, beam, (int32_t)i};
        if (n < s->n_keep || c.score > best[n - 1].score)
            n = insert(best, n, s->n_keep, c);
    }
    for (; n < s->n_keep; n++)
        best[n] = (GenCandidate){-INFINITY, beam, s->g->g.start_id};
}

/* Candidate c of a line as a sequence. */
static void extend(const Gen *s, const GenLine *l, uint32_t first_row, const GenCandidate *c, GenSequence *out) {
    tni_rt_gen_copy(s, out, &l->running[c->beam]);
    uint32_t row = first_row + c->beam;
    tni_rt_gen_push(out, c->token, s->log_probs[(size_t)row * s->g->g.vocab_size + (size_t)c->token]);
    out->score = c->score;
}

/* Finished candidates into the line's list of the best `beams`; filler entries do not exist here, so a list may be short. */
static void finish(Gen *s, GenLine *l, uint32_t first_row, const GenCandidate *c) {
    float length = (float)l->running[c->beam].n, score = c->score / powf(length, s->length_penalty);
    uint32_t at = 0;
    while (at < l->n_done && !(score > l->done[at].score))
        at++;
    if (at >= s->beams)
        return;
    if (l->n_done < s->beams)
        l->n_done++;
    GenSequence last = l->done[l->n_done - 1];
    for (uint32_t i = l->n_done - 1; i > at; i--)
        l->done[i] = l->done[i - 1];
    l->done[at] = last;
    extend(s, l, first_row, c, &l->done[at]);
    l->done[at].score = score;
    l->done[at].finished = true;
}

/* Nothing that runs can enter the finished list any more. */
static bool settled(const Gen *s, const GenLine *l, uint32_t generated) {
    if (l->n_done < s->beams)
        return false;
    if (s->early == PLAN_EARLY_YES)
        return true;
    uint32_t length = s->early == PLAN_EARLY_NEVER && s->length_penalty > 0 ? s->max_length - 1 : generated;
    float best = l->running[0].score / powf((float)length, s->length_penalty);
    return !(best > l->done[s->beams - 1].score);
}

/* One line: from the candidates of its rows to its next running beams. */
static void advance(Gen *s, GenLine *l, uint32_t first_row, uint32_t n_rows, uint32_t at) {
    uint32_t n = 0, running = 0;
    GenCandidate *top = s->best + (size_t)first_row * s->n_keep; /* merged in place: row 0 is a sorted list of n_keep already */
    n = s->n_keep;
    for (uint32_t r = 1; r < n_rows; r++)
        for (uint32_t k = 0; k < s->n_keep; k++)
            insert(top, n, s->n_keep, top[(size_t)r * s->n_keep + k]);
    bool last = at + 2 >= s->max_length;
    for (uint32_t k = 0; k < n; k++) {
        if (!(top[k].score > -INFINITY))
            continue;
        if (last || tni_rt_gen_is_stop(s, top[k].token)) {
            if (k < s->beams)
                finish(s, l, first_row, &top[k]);
        } else if (running < s->beams) {
            extend(s, l, first_row, &top[k], &l->next[running]);
            running++;
        }
    }
    if (running == 0) {
        l->active = false;
        return;
    }
    for (; running < s->beams; running++) {
        tni_rt_gen_copy(s, &l->next[running], &l->next[0]);
        l->next[running].score = NEVER;
    }
    GenSequence *spare = l->running;
    l->running = l->next;
    l->next = spare;
    for (uint32_t b = 0; b < s->beams; b++)
        for (uint32_t p = at + 1; p < s->positions; p++)
            l->running[b].lanes[p] = (int32_t)(l->lane + b);
    l->active = !settled(s, l, at + 1);
}

TnStatus tni_rt_beams(TnContext *ctx, Gen *s, TnError *err) {
    for (uint32_t at = 0; at + 1 < s->max_length; at++) {
        /* All beams start equal: the first step needs one row a line. */
        uint32_t beams = at == 0 ? 1 : s->beams;
        gather_rows(s, beams);
        if (s->n_rows == 0)
            return TN_OK;
        TN_TRY(tni_rt_gen_step(ctx, s, at, err));
        tni_parallel_for(ctx->threads, s->n_rows, beam_row, s);
        for (uint32_t r = 0; r < s->n_rows; r += beams)
            advance(s, &s->line[s->row_line[r]], r, beams, at);
    }
    return TN_OK;
}
