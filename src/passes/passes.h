/* SPDX-License-Identifier: Apache-2.0
 *
 * Rewrites. pipeline.c has the table and the drawing; one file a rewrite. Each keeps the module verifiable and fully inferred. */
#ifndef TENON_PASSES_PASSES_H
#define TENON_PASSES_PASSES_H

#include "base/threads.h"
#include "ir/graph.h"

typedef struct PassContext {
    const TnLog *log;
    TnThreads *threads;
    uint64_t fold_limit_bytes; /* constants larger than this are not made by folding; 0: default 64 MiB */
    bool device;               /* the plan is for a GPU */
} PassContext;

typedef struct Pass {
    const char *name;    /* "fuse_layer_norm" */
    const char *summary; /* one line for --help */
    /* Rewrites every graph of m; *changed counts the rewrites. */
    TnStatus (*run)(IrModule *m, const PassContext *ctx, uint32_t *changed, TnError *err);
} Pass;

const Pass *tni_passes(uint32_t *n);
/* Runs the pipeline: all passes, or up to and including stop_after (NULL: all; "import": none). Verifies after each.
 * after (may be NULL) is called after each pass that ran. TN_ERR_NAME for an unknown pass lists the names. */
typedef void (*PassHook)(void *ctx, const Pass *pass, uint32_t changed, const IrModule *m);
TnStatus tni_passes_run(IrModule *m, const PassContext *pc, const char *stop_after, PassHook after, void *hook_ctx, TnError *err);

#endif
