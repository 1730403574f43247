/* SPDX-License-Identifier: Apache-2.0
 *
 * tenon build: from a model to a plan file. */
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "cli/cli.h"
#include "pipelines/npz.h"

static double seconds(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* The notes of every build, and for devices where steps and seconds went. */
typedef struct Notes {
    Cli *cli;
    TnLog usual;
} Notes;

static void show_notes(void *ctx, TnLogLevel level, const char *message) {
    const Notes *n = ctx;
    if (level == TN_LOG_INFO && n->cli->args.device != NULL && (strncmp(message, "time: ", 6) == 0 || strncmp(message, "steps: ", 7) == 0))
        cli_note(n->cli, "%s", message);
    else
        n->usual.fn(n->usual.ctx, level, message);
}

static int run(Cli *cli) {
    TnError err = {0};
    struct stat st;
    if (cli->n_positional != 1)
        return cli_fail(cli, "give one model: an .onnx file, a folder with a Hugging Face checkpoint, or a file of weights of an official UniFormer or ViLBERT");
    if (cli->args.output == NULL)
        return cli_fail(cli, "give the plan's name with -o PLAN");
    if (!cli_precision_ok(cli))
        return 2;
    TnBuildOptions o = cli_build_options(cli);
    Notes notes;
    TnLog log = {show_notes, &notes};
    if (o.log != NULL) {
        notes = (Notes){cli, *o.log};
        o.log = &log;
    }
    TnNpz samples = {0};
    double start = seconds();
    if (cli->args.samples != NULL && tn_npz_read(cli->args.samples, NULL, &samples, &err) != TN_OK)
        return cli_error(cli, &err);
    o.sample_names = (const char *const *)samples.names;
    o.samples = samples.tensors;
    o.n_samples = samples.n;
    TnStatus built = tn_build_file(cli->positional[0], cli->args.output, &o, &err);
    tn_npz_free(NULL, &samples);
    if (built != TN_OK)
        return cli_error(cli, &err);
    double took = seconds() - start;
    long long bytes = stat(cli->args.output, &st) == 0 ? (long long)st.st_size : 0;
    if (cli->args.json)
        printf("{\"plan\": \"%s\", \"bytes\": %lld, \"seconds\": %.3f}\n", cli->args.output, bytes, took);
    else if (!cli->args.quiet)
        printf("%s: %.1f MB, built in %.2f s\n", cli->args.output, (double)bytes / 1e6, took);
    return 0;
}

static const CliOption options[] = {
    {"output", 'o', CLI_TEXT, CLI_ARG(output), "PLAN", "the plan to write (whole or not at all)"},
    CLI_BUILD,
    CLI_DEVICE,
    {"samples", 0, CLI_TEXT, CLI_ARG(samples), "X.npz", "sample inputs on which kernels are verified and timed"},
    CLI_THREADS,
    CLI_COMMON,
    CLI_END,
};

const CliVerb cli_build = {
    "build", "compile a model into a plan", "MODEL -o PLAN [options]",
    "MODEL is an .onnx file (opsets 7 to 24), a folder with a Hugging Face checkpoint (config.json and\n"
    "*.safetensors or pytorch_model.bin), or a file of weights (.pth, .bin, .safetensors) of an official UniFormer classification\n"
    "model or ViLBERT (with --config bert_base_6layer_6conect.json).\n"
    "Without --shapes the plan takes any size of its symbols (tenon inspect PLAN shows them); with ranges its memory is laid\n"
    "out at build time and other sizes are refused.\n"
    "With --device cuda the plan is for a GPU, in float32 unless --tf32, --fp16 or --bf16 asks for less; kernels are verified on\n"
    "the GPU. Inputs and outputs keep the model's types; tenon explain PLAN says which steps stay float32 and why.",
    options, run,
};
