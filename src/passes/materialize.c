/* SPDX-License-Identifier: Apache-2.0
 *
 * materialize: integers that are dimensions in disguise become `dims` nodes (or constants), and what computed them dies.
 *
 *   x -> shape -> gather 0 -> unsqueeze -> concat(., [-1], [12], [64]) -> reshape(y, .)     =>     dims [batch, -1, 12, 64] -> reshape(y,
 * .)
 *
 * The knowledge is shape inference's (values' elems); the rewriting is too (src/shape). */
#include "passes/list.h"
#include "shape/shape.h"

TnStatus tni_pass_materialize(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    (void)pc;
    *changed = 0;
    TN_TRY(tni_shape_materialize(m, changed, err));
    for (uint32_t i = 0; *changed > 0 && i < m->n_graphs; i++)
        TN_TRY(tni_ir_compact(m, m->graphs[i], err));
    return TN_OK;
}
