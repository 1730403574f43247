/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps on several lanes: which steps of a program run beside each other, and who waits for whom. Pure: no device, no plan.
 *
 * In: steps in an order in which they may run one after another, the bytes that each reads and writes, and estimates of their times. Out: a lane
 * for every step, and waits. A lane runs its steps in their order; a wait lets a step start when a step of another lane is done. Two steps that
 * touch the same bytes, one of them writing, are always ordered by lanes and waits: that is what tni_rt_branch_order guarantees for any
 * lanes. What bytes mean is the caller's business: addresses when a graph is recorded, one number a value when memory is still to be laid out. */
#ifndef TENON_RUNTIME_BRANCH_H
#define TENON_RUNTIME_BRANCH_H

#include "base/base.h"

#define RT_MOST_LANES 3u
#define RT_MOST_BRANCHED 2048u /* steps: the search for conflicts looks at pairs */

/* Bytes [from, to) that a step touches; an empty range touches nothing. */
typedef struct RtAccess {
    uintptr_t from, to;
    bool writes;
} RtAccess;

typedef struct RtBranchStep {
    uint32_t first, n; /* in accesses */
    double ns;         /* estimated time */
    bool first_lane;   /* must be on lane 0 */
} RtBranchStep;

/* Steps are named by their number + 1 in known and waits, so that 0 is none. Row n of both is the end, on lane 0, which knows every step. */
typedef struct RtBranches {
    uint32_t n, n_accesses, cap_accesses;
    RtBranchStep *steps;  /* [n] */
    RtAccess *accesses;   /* [n_accesses] */
    uint8_t *lane;        /* [n] */
    uint8_t *told;        /* [n]: another lane waits for it */
    uint32_t (*known)[RT_MOST_LANES]; /* [n + 1]: the last step of each lane that is done when this one starts, and so are all before it there */
    uint32_t (*waits)[RT_MOST_LANES]; /* [n + 1]: the step of each other lane that this one waits for */
    uint32_t n_beside, n_waits;       /* steps that are not on lane 0; waits of all */
    double chain_ns, beside_ns;       /* estimates: one after another, and on lanes */
} RtBranches;

/* Arrays for n steps with n_accesses in all; everything on lane 0. */
TnStatus tni_rt_branches_create(const TnAllocator *a, uint32_t n, uint32_t n_accesses, RtBranches **out, TnError *err);
void tni_rt_branches_destroy(const TnAllocator *a, RtBranches **b);
/* Adds a range to the step that is being filled in, which is the last one with accesses. */
void tni_rt_branch_touch(RtBranches *b, uint32_t step, const void *p, size_t bytes, bool writes);

/* Lanes from conflicts and times, at most `lanes` (0: those that are set); then order. Small groups of steps stay on lane 0. Sets the
 * estimates. Takes memory for a bit a pair of steps while it works. */
TnStatus tni_rt_branch_assign(RtBranches *b, uint32_t lanes, const TnAllocator *a, TnError *err);
/* known, told, waits for the lanes that are set. */
void tni_rt_branch_order(RtBranches *b);
/* Step i is done before step j starts, whatever the lanes do meanwhile. */
TN_INLINE bool tni_rt_branch_before(const RtBranches *b, uint32_t i, uint32_t j) {
    return i < j && b->known[j][b->lane[i]] > i;
}
/* They touch the same bytes, and not both only read. */
bool tni_rt_branch_conflict(const RtBranches *b, uint32_t i, uint32_t j);

#endif
