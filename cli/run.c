/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon run: inputs from files through a plan, outputs to a file. */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/cli.h"
#include "pipelines/npz.h"

static TnStatus run_context(Cli *cli, TnPlan *plan, TnContext *ctx, const TnTensor *inputs, uint32_t n_in, TnError *err) {
    uint32_t n_out = tn_plan_output_count(plan);
    const char **names = calloc(n_out + 1u, sizeof *names);
    TnTensor *outputs = calloc(n_out + 1u, sizeof *outputs);
    TnStatus st = names == NULL || outputs == NULL ? TN_ERR_MEMORY : TN_OK;
    for (uint32_t i = 0; st == TN_OK && i < n_in; i++)
        st = tn_context_set_input(ctx, i, &inputs[i], err);
    if (st == TN_OK && cli->args.warm)
        st = tn_context_warm(ctx, err);
    if (st == TN_OK)
        st = tn_context_run(ctx, err);
    for (uint32_t i = 0; st == TN_OK && i < n_out; i++) {
        TnIoInfo info;
        st = tn_plan_output(plan, i, &info, err);
        names[i] = info.name;
        if (st == TN_OK)
            st = tn_context_output(ctx, i, &outputs[i], err);
        if (st == TN_OK && !cli->args.quiet) {
            printf("%s %s [", names[i], tn_dtype_name(outputs[i].dtype));
            for (int32_t k = 0; k < outputs[i].rank; k++)
                printf("%s%" PRId64, k == 0 ? "" : ",", outputs[i].dims[k]);
            puts("]");
        }
    }
    if (st == TN_OK && cli->args.outputs != NULL)
        st = tn_npz_write(cli->args.outputs, names, outputs, n_out, err);
    free(names);
    free(outputs);
    return st;
}

static int run(Cli *cli) {
    TnError err = {0};
    CliPlan p;
    TnContext *ctx = NULL;
    TnTensor *inputs = NULL;
    uint32_t n = 0;
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one plan or model");
    if (cli_open(cli, cli->positional[0], &p, &err) != TN_OK)
        return cli_error(cli, &err);
    TnContextOptions co = tn_context_options_default();
    co.threads = cli->args.threads;
    TnStatus st = cli_inputs(cli, p.plan, false, 0, &inputs, &n, &err);
    if (st == TN_OK)
        st = tn_context_create(p.plan, &co, &ctx, &err);
    if (st == TN_OK)
        st = run_context(cli, p.plan, ctx, inputs, n, &err);
    int status = st == TN_OK ? 0 : cli_error(cli, &err);
    tn_context_destroy(&ctx);
    cli_inputs_free(inputs, n);
    cli_close(&p);
    return status;
}

static const CliOption options[] = {
    {"inputs", 'i', CLI_LIST, CLI_ARG(inputs), "FILE", "X.npz with one array an input, or name=FILE.npy (repeat)"},
    {"outputs", 'o', CLI_TEXT, CLI_ARG(outputs), "Y.npz", "write all outputs here (whole or not at all)"},
    {"warm", 0, CLI_FLAG, CLI_ARG(warm), NULL, "run as later runs do: with memory and (GPU) graphs made before"},
    CLI_BUILD,
    CLI_DEVICE,
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_run = {
    "run", "run a plan (or a model) on inputs from files", "PLAN|MODEL --inputs X.npz [--outputs Y.npz]", NULL, options, run,
};
