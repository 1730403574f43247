/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon inspect: the graph of a model after any rewrite, or the contents of a plan. tenon explain: why each kernel was chosen. */
#include "cli/cli.h"

static int run_inspect(Cli *cli) {
    TnError err = {0};
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one model or plan");
    const char *path = cli->positional[0];
    if (cli_is_plan(path)) {
        CliPlan p;
        if (cli->args.after != NULL)
            return cli_fail(cli, "--after is for models; '%s' is a plan, whose rewrites are done", path);
        if (cli_open(cli, path, &p, &err) != TN_OK)
            return cli_error(cli, &err);
        tn_plan_dump(p.plan, cli->args.json, cli_text_to_file, stdout);
        cli_close(&p);
        return 0;
    }
    TnBuildOptions o = cli_build_options(cli);
    if (tn_inspect_model(path, &o, cli->args.after, cli_text_to_file, stdout, &err) != TN_OK)
        return cli_error(cli, &err);
    return 0;
}

static const CliOption inspect_options[] = {
    {"after", 'a', CLI_TEXT, CLI_ARG(after), "PASS", "a model's graph after this rewrite; 'import': before any (default: after all)"},
    {"verify", 0, CLI_FLAG, CLI_ARG(verify), NULL, "a plan: also check the hash of its weights"},
    {"shapes", 's', CLI_TEXT, CLI_ARG(shapes), "SPEC", "ranges of symbols, as for build"},
    CLI_FILE,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_inspect = {
    "inspect", "print a model's graph or a plan", "MODEL|PLAN [options]", NULL, inspect_options, run_inspect,
};

static int run_explain(Cli *cli) {
    TnError err = {0};
    CliPlan p;
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one plan (or a model, which is then planned first)");
    if (cli_open(cli, cli->positional[0], &p, &err) != TN_OK)
        return cli_error(cli, &err);
    tn_plan_explain(p.plan, cli->args.json, cli_text_to_file, stdout);
    cli_close(&p);
    return 0;
}

static const CliOption explain_options[] = {CLI_BUILD, CLI_THREADS, CLI_COMMON, CLI_END};

const CliVerb cli_explain = {
    "explain", "which kernels each step considered, and why the winner won", "PLAN|MODEL [options]", NULL, explain_options, run_explain,
};
