/* SPDX-License-Identifier: Apache-2.0
 *
 * Loads a plan, runs it on inputs of ones, prints what comes out.
 *     cc run_plan.c -o run_plan -ltenon_rt && ./run_plan model.plan */
#include <stdio.h>
#include <stdlib.h>

#include "tenon/runtime.h"

static int stop(const TnError *err) {
    fprintf(stderr, "error (%s): %s\n", tn_status_name(err->code), err->message);
    return 2;
}

int main(int argc, char **argv) {
    TnPlan *plan = NULL;
    TnContext *ctx = NULL;
    TnError err = {0};
    TnIoInfo info;
    void *data[64] = {NULL};
    if (argc != 2)
        return fprintf(stderr, "usage: run_plan PLAN\n"), 2;
    if (tn_plan_open(argv[1], NULL, &plan, &err) || tn_context_create(plan, NULL, &ctx, &err))
        return stop(&err);
    for (uint32_t i = 0; i < tn_plan_input_count(plan) && i < 64; i++) {
        if (tn_plan_input(plan, i, &info, &err))
            return stop(&err);
        TnTensor x = {.dtype = info.dtype, .rank = info.rank};
        for (int32_t d = 0; d < info.rank; d++)
            x.dims[d] = info.opt[d];
        x.data = data[i] = calloc(1, tn_tensor_bytes(&x) + 1);
        for (int64_t k = 0; x.data && info.dtype == TN_F32 && k < tn_tensor_numel(&x); k++)
            ((float *)x.data)[k] = 1;
        if (!x.data || tn_context_set_input(ctx, i, &x, &err)) /* read during the run, not copied */
            return stop(&err);
    }
    if (tn_context_run(ctx, &err))
        return stop(&err);
    for (uint32_t i = 0; i < tn_plan_output_count(plan); i++) {
        TnTensor y;
        if (tn_plan_output(plan, i, &info, &err) || tn_context_output(ctx, i, &y, &err))
            return stop(&err);
        printf("%s %s [", info.name, tn_dtype_name(y.dtype));
        for (int32_t d = 0; d < y.rank; d++)
            printf("%s%lld", d ? "," : "", (long long)y.dims[d]);
        printf("]:");
        for (int64_t k = 0; y.dtype == TN_F32 && k < tn_tensor_numel(&y) && k < 8; k++)
            printf(" %g", (double)((const float *)y.data)[k]);
        printf("\n");
    }
    tn_context_destroy(&ctx);
    tn_plan_close(&plan);
    for (uint32_t i = 0; i < 64; i++)
        free(data[i]);
    return 0;
}
