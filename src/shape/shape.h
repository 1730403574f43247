/* SPDX-License-Identifier: Apache-2.0
 *
 * Types and symbolic dims of every value. One rule an operator, used at build time on symbols and by the interpreter on numbers. */
#ifndef TENON_SHAPE_SHAPE_H
#define TENON_SHAPE_SHAPE_H

#include "ir/graph.h"

/* Infers dtype, rank, dims and known contents (elems) of all values of all graphs from the inputs' and constants' (which must be set).
 * Normalises negative axes in params. Contradictions give TN_ERR_SHAPE / TN_ERR_TYPE naming the node, the shapes and the rule broken.
 * A dim that cannot be known becomes a data-dependent symbol with a bound where there is one. After success every value has dtype, rank
 * and dims. Idempotent: passes call it again. */
TnStatus tni_shape_infer(IrModule *m, TnError *err);
/* One node, whose inputs are inferred. */
TnStatus tni_shape_infer_node(IrModule *m, IrGraph *g, IrNodeId n, TnError *err);

/* Output dtypes and dims of one operator for concrete tensors (the interpreter's use). in[i].data must be set for operands whose
 * contents decide the shape. out[i].data untouched. DATA_SHAPE operators: dims are upper bounds. Allocates in `scratch`. */
TnStatus tni_shape_concrete(TnOp op, void *params, const TnTensor *in, uint32_t n_in, TnTensor *out, uint32_t n_out, TnArena *scratch,
                            TnError *err);

/* Applies "batch=1:4:8,seq=128" (min:opt:max or one number or min:max) to the module's symbols. TN_ERR_NAME lists the symbols there are. */
TnStatus tni_shape_apply_ranges(IrModule *m, const char *spec, TnError *err);

/* Replaces every int64 / int32 tensor of rank <= 1 whose contents are known (elems) and which a node that needs its data still reads by a
 * node `dims` (a constant when all elements are numbers), and drops the shape operand of reshapes whose output dims are known, so that
 * chains of Shape, Gather, Concat, ... have no readers left (removing them is the caller's). Contents that depend on data-dependent symbols
 * stay as they are: a node `dims` without operands could run before its symbol is set. *changed counts the replacements. The module must
 * be inferred, and is so afterwards; graphs that changed are compacted (ids are renumbered). */
TnStatus tni_shape_materialize(IrModule *m, uint32_t *changed, TnError *err);

#endif
