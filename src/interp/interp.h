/* SPDX-License-Identifier: Apache-2.0
 *
 * The reference interpreter: runs a graph node by node with the reference kernels, every tensor in memory of its own. Slow, obvious; the
 * oracle of compare, pass validation, constant folding and kernel verification. Level 6.5: above shape, below passes. */
#ifndef TENON_INTERP_INTERP_H
#define TENON_INTERP_INTERP_H

#include "base/threads.h"
#include "ir/graph.h"

/* Called with every tensor a node of graph 0 made (outer graph only). A failure stops the run. */
typedef TnStatus (*InterpHook)(void *ctx, IrNodeId node, uint32_t out_index, const TnTensor *t, TnError *err);

/* Runs graph `g` of m on inputs (in g's order; dtypes and dims are checked against the declared ones, symbols must agree) and returns
 * outputs as tensors whose data comes from a; free each with tni_free(a, out[i].data). */
TnStatus tni_interp_run(const IrModule *m, IrGraphId g, const TnTensor *inputs, TnTensor *outputs, const TnAllocator *a, TnThreads *threads,
                        InterpHook hook, void *hook_ctx, TnError *err);
/* One node on tensors: output data from a (also used for constant folding). CONTROL operators included. */
TnStatus tni_interp_node(const IrModule *m, const IrNode *node, const TnTensor *in, TnTensor *out, const TnAllocator *a, TnThreads *threads,
                         TnError *err);

#endif
