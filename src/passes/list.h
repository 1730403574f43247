/* SPDX-License-Identifier: Apache-2.0
 *
 * The rewrites, one function each; pipeline.c puts them in order. Each rewrites every graph of m and counts what it did. */
#ifndef TENON_PASSES_LIST_H
#define TENON_PASSES_LIST_H

#include "passes/passes.h"

#define PASS(name) TnStatus tni_pass_##name(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err)
PASS(expand_integer);
PASS(fold);
PASS(materialize);
PASS(cse);
PASS(dce);
PASS(canonicalise);
PASS(sink_expand);
PASS(layout);
PASS(tabulate);
PASS(one_hot);
PASS(layer_norm);
PASS(rms_norm);
PASS(gelu);
PASS(silu);
PASS(softmax);
PASS(batch_norm);
PASS(gemm);
PASS(attention);
PASS(relative_bias);
PASS(projections);
PASS(channels_last);
PASS(conv_gemm);
PASS(epilogue);
PASS(add_layer_norm);
PASS(pointwise);
#undef PASS

#endif
