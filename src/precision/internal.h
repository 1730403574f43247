/* SPDX-License-Identifier: Apache-2.0
 *
 * What the files of the folder share: classify.c decides a class for every step, rewrite.c carries it out, constants.c looks at constants
 * and converts them. */
#ifndef TENON_PRECISION_INTERNAL_H
#define TENON_PRECISION_INTERNAL_H

#include "precision/precision.h"

typedef enum PcClass {
    PC_NONE,   /* has no float32 operand or result, or does not look at their values */
    PC_NARROW, /* computes in T */
    PC_WIDE    /* computes in float32 */
} PcClass;

typedef struct PcGraph {
    IrGraph *g;
    IrGraphId id;
    uint8_t *step;    /* [n_nodes] PcClass */
    const char **why; /* [n_nodes] of PC_WIDE; NULL: nothing worth telling */
    uint8_t *exact;   /* [n_values] integers or booleans are computed from it */
    double *constant; /* [n_values] largest finite |x| of a constant, < 0: not looked at yet */
    uint8_t *narrow;  /* [n_values] the value has type T after the rewrite */
} PcGraph;

typedef struct Pc {
    IrModule *m;
    const PrecisionOptions *o;
    TnArena *scratch;
    PcGraph *graphs;
    bool wide_states; /* states stay float32 */
    double limit;     /* largest finite number of T */
    double whole;     /* integers up to here are exact in T */
    PrecisionReport *report;
    PrecisionNote *notes;
    uint32_t cap_notes;
} Pc;

#define PC_ALLOC(pc, p, n, err)                                                                                                            \
    do {                                                                                                                                   \
        (p) = tni_arena_calloc((pc)->scratch, (size_t)(n) + 1, sizeof *(p));                                                               \
        if (!(p))                                                                                                                          \
            return TN_OOM((err), ((size_t)(n) + 1) * sizeof *(p));                                                                         \
    } while (0)

/* Seen values times this must stay within T's range. */
#define PC_MARGIN 4.0

bool tni_precision_is_state(const char *name);
/* Operand i of n is read by value in the step's type: a float32 that is neither host memory nor an additive bias of attention. */
bool tni_precision_follows(const IrGraph *g, const IrNode *n, uint32_t i);
/* Is operand i an additive bias of attention, which may be float32 in a narrow step? */
bool tni_precision_is_bias(const IrNode *n, uint32_t i);

/* classify.c */
TnStatus tni_precision_classify(Pc *pc, TnError *err);

/* constants.c */
/* dst (T) from src (float32, may be unaligned): rounds to nearest, finite numbers beyond T's range become its largest; *saturated counts them. */
void tni_precision_convert(TnDtype t, const void *src, int64_t n, void *dst, TnThreads *threads, uint64_t *saturated);

/* rewrite.c */
TnStatus tni_precision_rewrite(Pc *pc, PcGraph *pg, TnError *err);

#endif
