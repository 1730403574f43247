/* SPDX-License-Identifier: Apache-2.0
 *
 * Arena planning: from sizes and lives of buffers to offsets. Greedy: buffers in some order, each into the smallest gap that is free
 * throughout its life, either always from the bottom, or with a ceiling at the lower bound, to which what lies above others is pushed (a
 * chain of layers then alternates between floor and ceiling). The best of several orders is kept, and improved: the buffer that ends last
 * goes to the front of the order and all are placed again. Placing one buffer looks at every placed one, so n buffers cost n * n / 2 looks:
 * 3,000 buffers take a few milliseconds an order. */
#include "plan/plan.h"

#include <stdlib.h>

typedef struct Item {
    uint64_t key, tie;
    uint32_t id;
} Item;

typedef struct Job {
    uint32_t n;
    const uint64_t *sizes;
    const uint32_t *first, *last;
    Item *order;
    uint32_t *placed; /* ids by ascending offset */
    uint64_t *trial;
    PlanApartFn apart;
    const void *apart_ctx;
} Job;

static size_t rounded(uint64_t v) {
    return (v + PLAN_ALIGN - 1) & ~(uint64_t)(PLAN_ALIGN - 1);
}

size_t tni_plan_arena_scratch(uint32_t n, uint32_t n_steps) {
    return (size_t)n * (sizeof(Item) + sizeof(uint64_t) + sizeof(uint32_t)) + ((size_t)n_steps + 2) * sizeof(uint64_t) + 64;
}

/* Larger keys first, then larger ties, then smaller ids: a total order, so the result never depends on the sort. */
static int before(const void *pa, const void *pb) {
    const Item *a = pa, *b = pb;
    if (a->key != b->key)
        return a->key > b->key ? -1 : 1;
    if (a->tie != b->tie)
        return a->tie > b->tie ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Sifting sort in place: qsort may allocate, and the runtime plans without allocating. */
static void sort_items(Item *v, uint32_t n) {
    for (uint32_t start = n / 2, end = n; end > 1;) {
        Item tmp;
        if (start > 0) {
            start--;
        } else {
            end--;
            tmp = v[end];
            v[end] = v[0];
            v[0] = tmp;
        }
        uint32_t root = start;
        for (uint32_t child; (child = root * 2 + 1) < end; root = child) {
            if (child + 1 < end && before(&v[child], &v[child + 1]) < 0)
                child++;
            if (before(&v[root], &v[child]) >= 0)
                break;
            tmp = v[root];
            v[root] = v[child];
            v[child] = tmp;
        }
    }
}

/* Places all buffers in the given order; returns the arena's size. ceiling 0: none. */
static uint64_t place(Job *j, uint32_t n, uint64_t ceiling) {
    uint64_t total = 0;
    uint32_t n_placed = 0;
    for (uint32_t k = 0; k < n; k++) {
        uint32_t id = j->order[k].id;
        uint64_t size = rounded(j->sizes[id]), end = 0, best = UINT64_MAX, best_gap = UINT64_MAX;
        for (uint32_t i = 0; i < n_placed; i++) {
            uint32_t p = j->placed[i];
            if ((j->last[p] < j->first[id] || j->first[p] > j->last[id]) && (!j->apart || j->apart(j->apart_ctx, p, id)))
                continue;
            uint64_t at = j->trial[p];
            if (at > end && at - end >= size && at - end < best_gap) {
                best = end;
                best_gap = at - end;
            }
            end = TN_MAX(end, at + rounded(j->sizes[p]));
        }
        if (ceiling >= end && ceiling - end >= size && ceiling - end < best_gap)
            best = end == 0 ? 0 : ceiling - size;
        if (best == UINT64_MAX)
            best = end;
        j->trial[id] = best;
        total = TN_MAX(total, best + size);
        uint32_t at = n_placed++;
        while (at > 0 && j->trial[j->placed[at - 1]] > best) {
            j->placed[at] = j->placed[at - 1];
            at--;
        }
        j->placed[at] = id;
    }
    return total;
}

/* Fills the order by one of the heuristics; returns how many buffers take part (those with a size). */
static uint32_t make_order(Job *j, int heuristic) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < j->n; i++) {
        if (j->sizes[i] == 0)
            continue;
        uint64_t life = (uint64_t)(j->last[i] - j->first[i]) + 1, size = rounded(j->sizes[i]), area;
        Item *it = &j->order[n++];
        it->id = i;
        switch (heuristic) {
        case 0: /* large first */
            it->key = size;
            it->tie = life;
            break;
        case 1: /* large areas of bytes and steps first */
            it->key = __builtin_mul_overflow(size, life, &area) ? UINT64_MAX : area;
            it->tie = size;
            break;
        case 2: /* long lives first */
            it->key = life;
            it->tie = size;
            break;
        default: /* in the order of their birth */
            it->key = UINT64_MAX - j->first[i];
            it->tie = size;
            break;
        }
    }
    sort_items(j->order, n);
    return n;
}

/* The buffer that ends last goes to the front. */
static void promote_last(Job *j, uint32_t n) {
    uint32_t top = 0;
    for (uint32_t k = 1; k < n; k++) {
        uint32_t a = j->order[k].id, b = j->order[top].id;
        if (j->trial[a] + rounded(j->sizes[a]) > j->trial[b] + rounded(j->sizes[b]))
            top = k;
    }
    Item it = j->order[top];
    memmove(j->order + 1, j->order, top * sizeof it);
    j->order[0] = it;
}

/* Places in the present order; true when the result is better than *total, which it then replaces. */
static bool keep_best(Job *j, uint32_t n, uint64_t ceiling, uint64_t *offsets, uint64_t *total) {
    uint64_t t = place(j, n, ceiling);
    if (t >= *total)
        return false;
    *total = t;
    memcpy(offsets, j->trial, (size_t)j->n * sizeof *offsets);
    return true;
}

static uint64_t bound(const Job *j, uint32_t n_steps, uint64_t *delta) {
    memset(delta, 0, ((size_t)n_steps + 2) * sizeof *delta);
    for (uint32_t i = 0; i < j->n; i++) {
        delta[j->first[i]] += rounded(j->sizes[i]);
        delta[j->last[i] + 1] -= rounded(j->sizes[i]);
    }
    uint64_t live = 0, most = 0;
    for (uint32_t s = 0; s <= n_steps; s++) {
        live += delta[s];
        most = TN_MAX(most, live);
    }
    return most;
}

bool tni_plan_arena(uint32_t n, uint32_t n_steps, const uint64_t *sizes, const uint32_t *first, const uint32_t *last, bool quick,
                    void *scratch, uint64_t *offsets, uint64_t *total, uint64_t *lower_bound) {
    return tni_plan_arena_apart(n, n_steps, sizes, first, last, NULL, NULL, quick, scratch, offsets, total, lower_bound);
}

bool tni_plan_arena_apart(uint32_t n, uint32_t n_steps, const uint64_t *sizes, const uint32_t *first, const uint32_t *last, PlanApartFn apart,
                          const void *ctx, bool quick, void *scratch, uint64_t *offsets, uint64_t *total, uint64_t *lower_bound) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (sizes[i] > UINT64_MAX - PLAN_ALIGN || __builtin_add_overflow(sum, rounded(sizes[i]), &sum) || sum > INT64_MAX)
            return false;
        if (first[i] > last[i] || last[i] > n_steps)
            return false;
    }
    Job j = {.n = n, .sizes = sizes, .first = first, .last = last, .apart = apart, .apart_ctx = ctx};
    uint8_t *at = scratch;
    j.order = (Item *)(void *)at;
    at += (size_t)n * sizeof(Item);
    j.trial = (uint64_t *)(void *)at;
    at += (size_t)n * sizeof(uint64_t);
    uint64_t *delta = (uint64_t *)(void *)at;
    at += ((size_t)n_steps + 2) * sizeof(uint64_t);
    j.placed = (uint32_t *)(void *)at;
    *lower_bound = bound(&j, n_steps, delta);
    *total = UINT64_MAX;
    memset(j.trial, 0, (size_t)n * sizeof(uint64_t));
    /* Births under a ceiling suit chains, sizes from the floor suit the rest: the quick form tries only these two. */
    static const struct {
        int order;
        bool ceiling;
    } tries[] = {{3, true}, {0, false}, {0, true}, {1, false}, {1, true}, {2, false}, {2, true}, {3, false}};
    size_t best = 0;
    for (size_t h = 0; h < (quick ? 2 : TN_COUNT(tries)); h++) {
        if (keep_best(&j, make_order(&j, tries[h].order), tries[h].ceiling ? *lower_bound : 0, offsets, total))
            best = h;
        if (*total == *lower_bound)
            return true;
    }
    uint64_t rounds = quick ? 0 : TN_MIN((uint64_t)400, 20000000 / ((uint64_t)n * n / 2 + 1));
    uint32_t k = make_order(&j, tries[best].order);
    keep_best(&j, k, tries[best].ceiling ? *lower_bound : 0, offsets, total);
    for (; rounds > 0 && *total > *lower_bound; rounds--) {
        promote_last(&j, k);
        keep_best(&j, k, tries[best].ceiling ? *lower_bound : 0, offsets, total);
    }
    return true;
}
