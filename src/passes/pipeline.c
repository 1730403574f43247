/* SPDX-License-Identifier: Apache-2.0
 *
 * The pipeline: the order of the rewrites.
 *
 *   importer                                                                                                            precision, planner
 *      |                                                                                                                        ^
 *      v                                                                                                                        |
 *   CLEAN               ->  NAME                  ->  FOLD                 ->  FUSE                 ->  PLACE            ->  CLEAN
 *   fold                    tabulate                  fold_batch_norm          fuse_attention           channels_last        fold
 *   materialize             fuse_one_hot                 fuse_bias                fuse_relative_bias       conv_to_gemm         ...
 *   cse, dce                fuse_layer_norm                                    merge_projections        fuse_epilogue simplify_layout
 *   canonicalise            fuse_rms_norm                                                               fuse_add_layer_norm
 *   sink_expand             fuse_gelu, fuse_silu                                                        fuse_pointwise
 *   simplify_layout         fuse_softmax
 *   (until nothing
 *    changes)
 *
 * Why this order: what the target has no kernels for is spelled out before anything (expand_integer); then shapes, because reshapes by
 * computed shapes hide everything; one spelling before patterns; small patterns before the large ones that contain them; biases into products
 * before products merge; the layout of pictures before epilogues, because transposes stand between a convolution and its activation; what needs
 * memory traffic (add_layer_norm, pointwise chains) takes what is left. */
#include <stdio.h>

#include "passes/list.h"
#include "passes/passes.h"
#include "shape/shape.h"

static TnStatus run_clean(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err);

/* The order of the rows is the order of execution. */
static const Pass table[] = {
    {"expand_integer", "for a GPU: products of bytes -> products of integers", tni_pass_expand_integer},
    {"fold", "compute nodes whose operands are all constants", tni_pass_fold},
    {"materialize", "shapes and their arithmetic become symbolic dims", tni_pass_materialize},
    {"cse", "compute equal nodes once, keep equal constants once", tni_pass_cse},
    {"dce", "drop nodes and outputs that nobody needs", tni_pass_dce},
    {"canonicalise", "one spelling for what exporters write in many", tni_pass_canonicalise},
    {"sink_expand", "broadcasts move down to the operators that do them for nothing", tni_pass_sink_expand},
    {"simplify_layout", "transposes and reshapes that cancel or combine", tni_pass_layout},
    {"clean", "all of the above until nothing changes", run_clean},
    {"tabulate", "integers computed from one integer by way of floats -> gather", tni_pass_tabulate},
    {"fuse_one_hot", "one_hot x matrix -> gather", tni_pass_one_hot},
    {"fuse_layer_norm", "mean, subtract, square, mean, divide, scale, add -> layer_norm", tni_pass_layer_norm},
    {"fuse_rms_norm", "square, mean, divide, scale -> rms_norm", tni_pass_rms_norm},
    {"fuse_gelu", "x/2 (1 + erf(x / sqrt 2)), or with tanh -> gelu", tni_pass_gelu},
    {"fuse_silu", "x * sigmoid(a x) -> silu", tni_pass_silu},
    {"fuse_softmax", "exp / sum(exp), log(softmax), shifted and scaled softmax -> softmax", tni_pass_softmax},
    {"fold_batch_norm", "batch_norm into its neighbours' constants", tni_pass_batch_norm},
    {"fuse_bias", "constant additions move into matrix products and convolutions", tni_pass_gemm},
    {"fuse_attention", "products, scale, biases, softmax -> attention", tni_pass_attention},
    {"fuse_relative_bias", "sums of look-ups of differences of positions -> relative_bias", tni_pass_relative_bias},
    {"merge_projections", "the products that make q, k, v of one attention become one", tni_pass_projections},
    {"channels_last", "convolutions and what is between them work on [B, H, W, C]", tni_pass_channels_last},
    {"conv_to_gemm", "1 x 1 convolutions of channels-last pictures -> gemm", tni_pass_conv_gemm},
    {"fuse_epilogue", "activation and residual move into matrix products and convolutions", tni_pass_epilogue},
    {"fuse_add_layer_norm", "addition + layer_norm -> add_layer_norm", tni_pass_add_layer_norm},
    {"fuse_pointwise", "chains of element-wise operators become one step", tni_pass_pointwise},
    {"finish", "clean again, after the fusions", run_clean},
};

static TnStatus run_clean(IrModule *m, const PassContext *pc, uint32_t *changed, TnError *err) {
    typedef TnStatus (*Run)(IrModule * m, const PassContext *pc, uint32_t *changed, TnError *err);
    static const Run group[] = {tni_pass_fold,         tni_pass_materialize, tni_pass_cse,   tni_pass_dce,
                                tni_pass_canonicalise, tni_pass_sink_expand, tni_pass_layout};
    *changed = 0;
    for (int round = 0; round < 6; round++) {
        uint32_t total = 0;
        for (size_t i = 0; i < TN_COUNT(group); i++) {
            uint32_t n = 0;
            TN_TRY(group[i](m, pc, &n, err));
            total += n;
        }
        *changed += total;
        if (total == 0)
            break;
    }
    return TN_OK;
}

const Pass *tni_passes(uint32_t *n) {
    *n = (uint32_t)TN_COUNT(table);
    return table;
}

static TnStatus unknown_pass(const char *name, TnError *err) {
    char list[768] = "import";
    size_t at = strlen(list);
    for (size_t i = 0; i < TN_COUNT(table) && at < sizeof list; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, ", %s", table[i].name);
    return TN_RAISE(err, TN_ERR_NAME, "there is no pass '%s'; the passes are: %s", name, list);
}

TnStatus tni_passes_run(IrModule *m, const PassContext *pc, const char *stop_after, PassHook after, void *hook_ctx, TnError *err) {
    static const PassContext none;
    if (pc == NULL)
        pc = &none;
    if (stop_after != NULL && strcmp(stop_after, "import") == 0)
        return TN_OK;
    bool known = stop_after == NULL;
    for (size_t i = 0; i < TN_COUNT(table) && !known; i++)
        known = strcmp(stop_after, table[i].name) == 0;
    if (!known)
        return unknown_pass(stop_after, err);
    TN_TRY(tni_shape_infer(m, err));
    for (size_t i = 0; i < TN_COUNT(table); i++) {
        const Pass *p = &table[i];
        uint32_t changed = 0;
        TnStatus st = p->run(m, pc, &changed, err);
        if (st == TN_OK)
            st = tni_ir_verify(m, err);
        if (st != TN_OK)
            return tni_error_prefix(err, st, "pass %s", p->name);
        tni_log(pc->log, TN_LOG_DEBUG, "pass %s: %u rewrites", p->name, changed);
        if (after != NULL)
            after(hook_ctx, p, changed, m);
        if (stop_after != NULL && strcmp(stop_after, p->name) == 0)
            break;
    }
    return TN_OK;
}
