/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes and waits for steps that touch memory (branch.h). Lanes: every step, in order, goes where it can end first by the estimates; changing
 * lanes costs a wait. That follows the branches of a program, for which the greedy choice is enough. */
#include "runtime/branch.h"

#include <string.h>

/* Nanoseconds. A wait between lanes, compared with the next step of the same lane; a better lane must be better by more than CLOSE; a group
 * of steps that is shorter than SMALL is not worth its waits; a kernel's time apart from the work that fills a device. */
static const double WAIT = 1500, CLOSE = 500, SMALL = 8000, START = 2000;

/* ---- memory ---- */

TnStatus tni_rt_branches_create(const TnAllocator *a, uint32_t n, uint32_t n_accesses, RtBranches **out, TnError *err) {
    RtBranches *b = tni_calloc(a, 1, sizeof *b);
    *out = b;
    if (!b)
        return TN_OOM(err, sizeof *b);
    b->n = n;
    b->cap_accesses = n_accesses;
    b->steps = tni_calloc(a, (size_t)n + 1, sizeof *b->steps);
    b->accesses = tni_calloc(a, (size_t)n_accesses + 1, sizeof *b->accesses);
    b->lane = tni_calloc(a, (size_t)n + 1, sizeof *b->lane);
    b->told = tni_calloc(a, (size_t)n + 1, sizeof *b->told);
    b->known = tni_calloc(a, (size_t)n + 1, sizeof *b->known);
    b->waits = tni_calloc(a, (size_t)n + 1, sizeof *b->waits);
    if (b->steps && b->accesses && b->lane && b->told && b->known && b->waits)
        return TN_OK;
    tni_rt_branches_destroy(a, out);
    return TN_OOM(err, ((size_t)n + 1) * sizeof *b->known);
}

void tni_rt_branches_destroy(const TnAllocator *a, RtBranches **pb) {
    RtBranches *b = *pb;
    if (!b)
        return;
    tni_free(a, b->steps);
    tni_free(a, b->accesses);
    tni_free(a, b->lane);
    tni_free(a, b->told);
    tni_free(a, b->known);
    tni_free(a, b->waits);
    tni_free(a, b);
    *pb = NULL;
}

void tni_rt_branch_touch(RtBranches *b, uint32_t step, const void *p, size_t bytes, bool writes) {
    RtBranchStep *s = &b->steps[step];
    if (!p || bytes == 0 || b->n_accesses == b->cap_accesses)
        return;
    if (s->n == 0)
        s->first = b->n_accesses;
    b->accesses[b->n_accesses++] = (RtAccess){(uintptr_t)p, (uintptr_t)p + bytes, writes};
    s->n++;
}

/* ---- conflicts ---- */

bool tni_rt_branch_conflict(const RtBranches *b, uint32_t i, uint32_t j) {
    const RtAccess *x = b->accesses + b->steps[i].first, *y = b->accesses + b->steps[j].first;
    for (uint32_t k = 0; k < b->steps[i].n; k++)
        for (uint32_t l = 0; l < b->steps[j].n; l++)
            if ((x[k].writes || y[l].writes) && x[k].from < y[l].to && y[l].from < x[k].to)
                return true;
    return false;
}

/* ---- order ---- */

/* Step (or the end) j knows that i, number + 1 of a step on lane o, is done, and what i knew. */
static void learn(RtBranches *b, uint32_t j, uint32_t o, uint32_t i) {
    for (uint32_t k = 0; k < RT_MOST_LANES; k++)
        b->known[j][k] = TN_MAX(b->known[j][k], b->known[i - 1][k]);
    b->known[j][o] = TN_MAX(b->known[j][o], i);
}

void tni_rt_branch_order(RtBranches *b) {
    uint32_t last[RT_MOST_LANES] = {0}, lanes = 1;
    memset(b->known, 0, ((size_t)b->n + 1) * sizeof *b->known);
    memset(b->waits, 0, ((size_t)b->n + 1) * sizeof *b->waits);
    memset(b->told, 0, (size_t)b->n + 1);
    b->n_beside = b->n_waits = 0;
    for (uint32_t i = 0; i < b->n; i++)
        lanes = TN_MAX(lanes, b->lane[i] + 1u);
    for (uint32_t j = 0; j <= b->n; j++) {
        uint32_t own = j < b->n ? b->lane[j] : 0;
        if (last[own])
            learn(b, j, own, last[own]);
        /* The last step of a lane that conflicts: those before it there are done with it. */
        for (uint32_t o = 0; o < lanes; o++) {
            if (o == own)
                continue;
            for (uint32_t i = last[o]; i > b->known[j][o]; i--) {
                if (b->lane[i - 1] != o || (j < b->n && !tni_rt_branch_conflict(b, i - 1, j)))
                    continue;
                b->waits[j][o] = i;
                learn(b, j, o, i);
            }
        }
        /* A wait for a lane may bring what an earlier one here was for. */
        for (uint32_t o = 0; o < lanes; o++) {
            for (uint32_t p = 0; p < lanes && b->waits[j][o]; p++)
                if (p != o && b->waits[j][p] && b->known[b->waits[j][p] - 1][o] >= b->waits[j][o])
                    b->waits[j][o] = 0;
            if (b->waits[j][o]) {
                b->told[b->waits[j][o] - 1] = 1;
                b->n_waits++;
            }
        }
        if (j < b->n) {
            last[own] = j + 1;
            b->n_beside += own != 0;
        }
    }
}

/* ---- lanes ---- */

typedef struct Assign {
    RtBranches *b;
    uint8_t *pairs;  /* bit j * n + i: steps i < j conflict */
    double *done;    /* [n] */
    uint32_t *group; /* [n] */
    double *group_ns;
} Assign;

static bool conflict(const Assign *a, uint32_t i, uint32_t j) {
    size_t bit = (size_t)j * a->b->n + i;
    return a->pairs[bit / 8] >> (bit % 8) & 1u;
}

/* When step j could start on each lane as far as others are concerned; the lane of what it waits for longest. */
static uint32_t ready(const Assign *a, uint32_t j, double *at) {
    uint32_t home = 0;
    double latest = 0;
    for (uint32_t k = 0; k < RT_MOST_LANES; k++)
        at[k] = 0;
    for (uint32_t i = 0; i < j; i++) {
        if (!conflict(a, i, j))
            continue;
        for (uint32_t k = 0; k < RT_MOST_LANES; k++)
            at[k] = TN_MAX(at[k], a->done[i] + (a->b->lane[i] != k ? WAIT : 0));
        if (a->done[i] > latest) {
            latest = a->done[i];
            home = a->b->lane[i];
        }
    }
    return home;
}

static void choose_lanes(const Assign *a, uint32_t lanes) {
    RtBranches *b = a->b;
    double free_at[RT_MOST_LANES] = {0}, at[RT_MOST_LANES];
    for (uint32_t j = 0; j < b->n; j++) {
        uint32_t home = ready(a, j, at), best = home;
        for (uint32_t k = 0; k < lanes; k++)
            at[k] = TN_MAX(at[k], free_at[k]);
        for (uint32_t k = 0; k < lanes; k++)
            if (at[k] + (best == home ? CLOSE : 0) < at[best])
                best = k;
        if (b->steps[j].first_lane)
            best = 0;
        b->lane[j] = (uint8_t)best;
        free_at[best] = a->done[j] = at[best] + b->steps[j].ns;
    }
}

/* The same with lanes as they are: when everything is done. */
static double makespan(const Assign *a) {
    const RtBranches *b = a->b;
    double free_at[RT_MOST_LANES] = {0}, at[RT_MOST_LANES], end = 0;
    for (uint32_t j = 0; j < b->n; j++) {
        uint32_t k = b->lane[j];
        ready(a, j, at);
        free_at[k] = a->done[j] = TN_MAX(at[k], free_at[k]) + b->steps[j].ns;
        end = TN_MAX(end, a->done[j]);
    }
    return end;
}

static uint32_t group_of(const Assign *a, uint32_t i) {
    while (a->group[i] != i)
        i = a->group[i];
    return i;
}

/* Steps beside lane 0 that hang together on their lane, if they are too short, go back. */
static void drop_small(const Assign *a) {
    RtBranches *b = a->b;
    for (uint32_t j = 0; j < b->n; j++) {
        a->group[j] = j;
        a->group_ns[j] = 0;
        for (uint32_t i = 0; i < j && b->lane[j]; i++)
            if (b->lane[i] == b->lane[j] && conflict(a, i, j))
                a->group[group_of(a, i)] = j;
    }
    for (uint32_t j = 0; j < b->n; j++)
        a->group_ns[group_of(a, j)] += b->steps[j].ns;
    for (uint32_t j = 0; j < b->n; j++)
        if (b->lane[j] && a->group_ns[group_of(a, j)] < SMALL)
            b->lane[j] = 0;
}

TnStatus tni_rt_branch_assign(RtBranches *b, uint32_t lanes, const TnAllocator *alloc, TnError *err) {
    size_t n = b->n, bytes = n * n / 8 + 1;
    Assign a = {b, tni_calloc(alloc, bytes, 1), tni_calloc(alloc, n + 1, sizeof *a.done), tni_calloc(alloc, n + 1, sizeof *a.group),
                tni_calloc(alloc, n + 1, sizeof *a.group_ns)};
    TnStatus st = a.pairs && a.done && a.group && a.group_ns ? TN_OK : TN_OOM(err, bytes);
    if (st == TN_OK) {
        double work = 0, end;
        b->chain_ns = 0;
        for (uint32_t j = 0; j < b->n; j++) {
            b->chain_ns += b->steps[j].ns;
            work += TN_MAX(b->steps[j].ns - START, 0.0);
            for (uint32_t i = 0; i < j; i++)
                if (tni_rt_branch_conflict(b, i, j))
                    a.pairs[((size_t)j * n + i) / 8] |= (uint8_t)(1u << (((size_t)j * n + i) % 8));
        }
        if (lanes > 0) {
            choose_lanes(&a, TN_MIN(lanes, RT_MOST_LANES));
            drop_small(&a);
        }
        end = makespan(&a);
        b->beside_ns = TN_MAX(end, work);
        tni_rt_branch_order(b);
    }
    tni_free(alloc, a.pairs);
    tni_free(alloc, a.done);
    tni_free(alloc, a.group);
    tni_free(alloc, a.group_ns);
    return st;
}
