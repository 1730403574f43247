/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the interpreter: what is known of the symbolic dimensions during a run, and the two functions that call each other
 * (a graph runs its nodes, a control node runs its graphs). */
#ifndef TENON_INTERP_RUN_H
#define TENON_INTERP_RUN_H

#include "interp/interp.h"

/* Numbers of symbols and expressions; those of data-dependent symbols become known as nodes run. A subgraph works on a copy, so
 * that every iteration of a loop may have its own. */
typedef struct Env {
    const IrModule *m;
    const TnAllocator *a;
    int64_t *symbols, *values; /* [n_symbols], [n_exprs] */
    uint8_t *has_symbol, *has_value;
    void *memory;
} Env;

/* from NULL: nothing is known. */
TnStatus tni_interp_env_create(const IrModule *m, const TnAllocator *a, const Env *from, Env *env, TnError *err);
void tni_interp_env_destroy(Env *env);
/* Evaluates what the known symbols allow. */
void tni_interp_env_update(Env *env);
/* Symbol of dim d, if it is just a symbol without a number yet. */
bool tni_interp_env_unbound(const Env *env, TnDim d, uint32_t *symbol);
/* Checks dtype and dims against the declared value v; unbound symbols take their numbers from t. On disagreement: false and a text
 * ("axis 1 is 7, expected 8 (seq + 1)") in why. */
bool tni_interp_env_agree(Env *env, const IrValue *v, const TnTensor *t, char *why, size_t n);

typedef struct Run {
    const IrModule *m;
    const TnAllocator *a;
    TnThreads *threads;
    TnError *err; /* never NULL */
} Run;

/* Runs graph g; env is changed. outputs come from r->a; on failure none remain. */
TnStatus tni_interp_graph(const Run *r, IrGraphId g, Env *env, const TnTensor *inputs, TnTensor *outputs, InterpHook hook, void *hook_ctx);
/* Runs one node; env gives the values of symbolic dims. Outputs that nobody wants have data NULL. On failure none remain. */
TnStatus tni_interp_step(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out);
/* if_ and loop. */
TnStatus tni_interp_if(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out);
TnStatus tni_interp_loop(const Run *r, const IrNode *node, const Env *env, const TnTensor *in, TnTensor *out);

/* Memory for t's dims and dtype; never NULL data on success. */
TnStatus tni_interp_alloc(const Run *r, TnTensor *t);
/* A copy in memory of its own. */
TnStatus tni_interp_copy(const Run *r, const TnTensor *from, TnTensor *to);
void tni_interp_free(const Run *r, TnTensor *t, uint32_t n);

#endif
